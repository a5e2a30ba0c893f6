//! Properties of the queue.

use proptest::prelude::*;

use super::*;

/// An item: its flow, its number in the flow, its size and what telling its sender does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Thing {
    flow: u64,
    number: usize,
    octets: usize,
    relief: Relief,
}

impl Item for Thing {
    fn octets(&self) -> usize {
        self.octets
    }

    fn relieve(&mut self) -> Relief {
        if self.relief == Relief::Shortened {
            self.octets /= 2;
        }
        self.relief
    }
}

const LIMITS: Limits =
    Limits { octets: 20_000, items: 30, quantum: 2_000, codel: Params { target: 500, interval: 5_000 } };

fn thing(flow: u64, number: usize, octets: usize) -> Thing {
    Thing { flow, number, octets, relief: Relief::Drop }
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
    for (relief, shorter) in [(Relief::Drop, 0), (Relief::Shortened, 1), (Relief::Marked, 0)] {
        let mut queue = queue();
        let mut dropped = Vec::new();
        let mut sent = Vec::new();
        // Eight items stand for ever; each waits 800 µs.
        for number in 0..8 {
            queue.push(0, 1, Thing { relief, ..thing(1, number, 1_000) }, |_| panic!("there is room"));
        }
        for number in 8..1_000 {
            let now = number as u64 * 100;
            queue.push(now, 1, Thing { relief, ..thing(1, number, 1_000) }, |_| panic!("there is room"));
            queue.push(now, 2, thing(2, number, 60), |_| panic!("there is room"));
            sent.extend((0..2).filter_map(|_| queue.pop(now, |item| dropped.push(item))));
        }
        let losses = queue.losses();
        let told = if relief == Relief::Marked { losses.marked } else { losses.late };
        assert!(told > 4, "{losses:?}");
        assert!(dropped.iter().all(|item| item.flow == 1));
        assert_eq!(dropped.len() as u64, if relief == Relief::Drop { told } else { 0 });
        let short = sent.iter().filter(|item| item.flow == 1 && item.octets < 1_000).count() as u64;
        assert_eq!(short, shorter * told);
        assert_eq!(sent.iter().filter(|item| item.flow == 2).count(), 992);
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
        for (number, (flow, octets, later, pops, relief)) in steps.into_iter().enumerate() {
            now += later;
            let relief = [Relief::Drop, Relief::Shortened, Relief::Marked][relief];
            let item = Thing { relief, ..thing(flow, number, octets) };
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
