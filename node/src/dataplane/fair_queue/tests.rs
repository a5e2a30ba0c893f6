//! Properties of the queue.

use proptest::prelude::*;

use super::*;

/// An item: its flow, its number in the flow, its size and what telling its sender does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Thing {
    flow: u64,
    number: usize,
    octets: usize,
    congestion: CongestionSignal,
}

impl Item for Thing {
    fn octets(&self) -> usize {
        self.octets
    }

    fn signal_congestion(&mut self) -> CongestionSignal {
        if self.congestion == CongestionSignal::Shortened {
            self.octets /= 2;
        }
        self.congestion
    }
}

const LIMITS: Limits =
    Limits { octets: 20_000, items: 30, quantum: 2_000, codel: Params { target: 500, interval: 5_000 } };

fn thing(flow: u64, number: usize, octets: usize) -> Thing {
    Thing { flow, number, octets, congestion: CongestionSignal::Drop }
}

fn queue() -> FairQueue<Thing> {
    FairQueue::new(LIMITS)
}

fn drain(queue: &mut FairQueue<Thing>, now: u64) -> Vec<Thing> {
    std::iter::from_fn(|| queue.pop(now, |_| panic!("nobody waited"))).collect()
}

#[test]
fn flows_share_by_octets_and_not_by_items() {
    let mut queue = queue();
    (0..5).for_each(|number| queue.push(0, 1, thing(1, number, 2_000), |_| panic!("there is room")));
    (0..20).for_each(|number| queue.push(0, 2, thing(2, number, 500), |_| panic!("there is room")));
    let all = drain(&mut queue, 0);
    for round in all.chunks(5).take(4) {
        assert_eq!(round.iter().filter(|t| t.flow == 1).count(), 1, "{all:?}");
    }
}

#[test]
fn whoever_just_begins_goes_first() {
    let mut queue = queue();
    (0..8).for_each(|number| queue.push(0, 1, thing(1, number, 2_000), |_| panic!("there is room")));
    for number in 0..3 {
        assert_eq!(queue.pop(0, drop).unwrap().flow, 1);
        queue.push(0, 2, thing(2, number, 100), |_| panic!("there is room"));
        assert_eq!(queue.pop(0, drop).unwrap(), thing(2, number, 100));
    }
}

#[test]
fn coming_and_going_starves_nobody() {
    let mut queue = queue();
    (0..4).for_each(|number| queue.push(0, 1, thing(1, number, 2_000), drop));
    let mut turns = 0;
    for number in 0..20 {
        // Always one, gone at once: new each time, if it were not for the round it has to wait.
        queue.push(0, 2, thing(2, number, 2_000), drop);
        turns += usize::from(queue.pop(0, drop).unwrap().flow == 1);
    }
    assert_eq!(turns, 4);
}

#[test]
fn the_fattest_flow_loses_from_its_front() {
    let mut queue = queue();
    queue.push(0, 1, thing(1, 0, 500), drop);
    let mut lost = Vec::new();
    for number in 0..40 {
        queue.push(0, 2, thing(2, number, 1_000), |item| lost.push(item.number));
    }
    assert_eq!(lost, (0..lost.len()).collect::<Vec<_>>());
    assert_eq!(queue.losses(), Losses { full: lost.len() as u64, ..Losses::default() });
    assert!(!lost.is_empty());
    assert!(drain(&mut queue, 0).contains(&thing(1, 0, 500)));
}

#[test]
fn a_standing_queue_is_told_and_a_sparse_flow_beside_it_is_not() {
    for (congestion, shorter) in
        [(CongestionSignal::Drop, 0), (CongestionSignal::Shortened, 1), (CongestionSignal::Marked, 0)]
    {
        let mut queue = queue();
        let mut dropped = Vec::new();
        let mut sent = Vec::new();
        // Eight items stand for ever; each waits 800 µs.
        for number in 0..8 {
            queue.push(0, 1, Thing { congestion, ..thing(1, number, 1_000) }, |_| panic!("there is room"));
        }
        for number in 8..1_000 {
            let now = number as u64 * 100;
            queue.push(now, 1, Thing { congestion, ..thing(1, number, 1_000) }, |_| panic!("there is room"));
            queue.push(now, 2, thing(2, number, 60), |_| panic!("there is room"));
            sent.extend((0..2).filter_map(|_| queue.pop(now, |item| dropped.push(item))));
        }
        let losses = queue.losses();
        let told = if congestion == CongestionSignal::Marked { losses.marked } else { losses.late };
        // Three that are dropped make the wait short again.
        assert!(told > 2, "{losses:?}");
        assert!(dropped.iter().all(|item| item.flow == 1));
        assert_eq!(dropped.len() as u64, if congestion == CongestionSignal::Drop { told } else { 0 });
        let short = sent.iter().filter(|item| item.flow == 1 && item.octets < 1_000).count() as u64;
        assert_eq!(short, shorter * told);
        let sparse = sent.iter().filter(|item| item.flow == 2).count();
        assert!(sparse >= 990, "{sparse} of 992");
    }
}

proptest! {
    #[test]
    fn order_caps_and_accounts_hold(
        steps in prop::collection::vec(
            (0u64..6, 0usize..4_000, 0u64..3_000, 0usize..3, 0usize..3), 0..300,
        ),
    ) {
        let mut queue = queue();
        let (mut now, mut gone, mut out) = (0, Vec::new(), Vec::new());
        let mut pushed = Vec::new();
        for (number, (flow, octets, later, pops, congestion)) in steps.into_iter().enumerate() {
            now += later;
            let congestion = [CongestionSignal::Drop, CongestionSignal::Shortened, CongestionSignal::Marked][congestion];
            let item = Thing { congestion, ..thing(flow, number, octets) };
            pushed.push((flow, number));
            queue.push(now, flow, item, |item| gone.push((item.flow, item.number)));
            prop_assert!(queue.len() <= LIMITS.items);
            prop_assert!(queue.octets() <= LIMITS.octets + LIMITS.quantum);
            for _ in 0..pops {
                out.extend(queue.pop(now, |item| gone.push((item.flow, item.number))).map(|t| (t.flow, t.number)));
            }
        }
        while let Some(item) = queue.pop(now, |item| gone.push((item.flow, item.number))) {
            out.push((item.flow, item.number));
        }
        prop_assert!(queue.is_empty() && queue.octets() == 0);
        for flow in 0..6 {
            let numbers: Vec<usize> = out.iter().filter(|t| t.0 == flow).map(|t| t.1).collect();
            prop_assert!(numbers.is_sorted());
        }
        let losses = queue.losses();
        prop_assert!(gone.len() as u64 <= losses.late + losses.full);
        let mut all = [out, gone].concat();
        all.sort_unstable_by_key(|t| t.1);
        prop_assert_eq!(all, pushed);
    }

    #[test]
    fn a_sparse_flow_is_served_within_one_round(
        bulk in prop::collection::vec((0u64..5, 1usize..2_000), 1..25), served in 0usize..25,
    ) {
        let mut queue = queue();
        for (number, (flow, octets)) in bulk.into_iter().enumerate() {
            queue.push(0, flow, thing(flow, number, octets), |_| ());
        }
        for _ in 0..served {
            queue.pop(0, |_| ());
        }
        queue.push(0, 77, thing(77, 0, 60), |_| ());
        // Before it at most those that are new, too, each with one turn and the item that overdraws it.
        let mut before = 0;
        while let Some(item) = queue.pop(0, |_| ()) {
            if item.flow == 77 {
                break;
            }
            before += item.octets;
        }
        prop_assert!(before <= 5 * 2 * LIMITS.quantum);
    }
}

/// One TCP stream and a ping every millisecond, through the queue as the node serves it: what does not fit waits before it, as
/// in the kernel. The stream fills its window, which doubles each round trip until the first loss, grows by a segment a
/// round trip then, and shrinks to seven tenths when it is told (RFC 9438). Times are microseconds.
#[derive(Default)]
struct Line {
    /// What the kernel holds.
    before: VecDeque<Thing>,
    /// When what was sent is acknowledged, how much it is, and whether something of it is missing.
    acknowledgements: VecDeque<(u64, usize, bool)>,
    outstanding: usize,
    window: f64,
    lost_at: Option<u64>,
    free_at: u64,
    /// Octets that stood in the kernel and in the queue, at each millisecond.
    standing: Vec<usize>,
    /// How long pings waited.
    pings: Vec<u64>,
    sent: usize,
}

/// Octets a microsecond that a node sends: 5.5 Gbit/s.
const RATE: usize = 690;
/// Everything of a round trip that is not waiting.
const ROUND_TRIP: u64 = 150;
const SUPER_FRAME: usize = 62_000;
const SEGMENT: f64 = 2_748.0;
const LARGEST_WINDOW: f64 = 4e6;

impl Line {
    fn run(&mut self, limits: Limits, until: u64) {
        let mut queue = FairQueue::new(limits);
        self.window = 10.0 * SEGMENT;
        for now in (0..until).step_by(10) {
            self.acknowledge(now);
            while (self.outstanding + SUPER_FRAME) as f64 <= self.window.max(SUPER_FRAME as f64) {
                self.outstanding += SUPER_FRAME;
                self.before
                    .push_back(Thing { congestion: CongestionSignal::Shortened, ..thing(1, 0, SUPER_FRAME) });
            }
            if now % 1_000 == 0 {
                self.standing.push(queue.octets() + self.before.iter().map(|t| t.octets).sum::<usize>());
                self.before.push_back(thing(2, now as usize, 98));
            }
            if now < self.free_at {
                continue;
            }
            while !queue.is_full()
                && let Some(item) = self.before.pop_front()
            {
                queue.push(now, item.flow, item, |_| panic!("there is room"));
            }
            self.send(now, queue.pop(now, |_| panic!("a segment is enough")));
        }
    }

    fn send(&mut self, now: u64, item: Option<Thing>) {
        let Some(item) = item else { return };
        self.free_at = now + (item.octets / RATE) as u64;
        if item.flow == 2 {
            self.pings.push(now - item.number as u64);
            return;
        }
        self.sent += item.octets;
        let told = item.octets < SUPER_FRAME;
        self.acknowledgements.push_back((self.free_at + ROUND_TRIP, SUPER_FRAME, told));
    }

    fn acknowledge(&mut self, now: u64) {
        while let Some((_, octets, told)) = self.acknowledgements.pop_front_if(|(at, ..)| *at <= now) {
            self.outstanding -= octets;
            let recovering =
                self.lost_at.is_some_and(|at| now - at < ROUND_TRIP + self.window as u64 / RATE as u64);
            if told && !recovering {
                self.window *= 0.7;
                self.lost_at = Some(now);
            } else if self.lost_at.is_none() {
                self.window += octets as f64;
            } else {
                self.window += SEGMENT * octets as f64 / self.window;
            }
            self.window = self.window.min(LARGEST_WINDOW);
        }
    }
}

#[test]
fn a_stream_settles_at_a_short_queue_without_running_dry_and_pings_do_not_wait() {
    let limits = Limits {
        octets: 1 << 20,
        items: 1_000,
        quantum: 1 << 16,
        codel: Params { target: 500, interval: 5_000 },
    };
    let mut line = Line::default();
    line.run(limits, 4_000_000);
    // Slow start has filled the kernel's queue by then.
    let mut settled = line.standing.split_off(200);
    settled.sort_unstable();
    let (median, most) = (settled[settled.len() / 2], settled[settled.len() - 1]);
    assert!((200_000..600_000).contains(&median) && most < 1 << 20, "{median} {most}");
    let share = line.sent as f64 / (4_000_000 * RATE) as f64;
    assert!(share > 0.98, "{share}");
    let mut pings = line.pings.split_off(200);
    pings.sort_unstable();
    // At most what is being sent.
    assert!(pings[pings.len() - 1] <= 2 * (SUPER_FRAME / RATE) as u64, "{:?}", pings.last());
    // Without a bound of the wait the largest window stands there.
    let mut line = Line::default();
    line.run(Limits { codel: Params { target: u64::MAX, ..limits.codel }, ..limits }, 2_000_000);
    assert!(line.standing.last() > Some(&3_000_000), "{:?}", line.standing.last());
}
