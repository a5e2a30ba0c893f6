//! Whether the far end of a path hears us.
//!
//! What arrives by a path shows that one direction works; only an answer shows that the other does. So a path that carries traffic
//! is probed, and nothing but an answer to what was sent on it keeps it sound. An idle path is not probed here: keeping NATs open is
//! another matter (`contact`).
//!
//! | state | meaning | traffic |
//! |---|---|---|
//! | sound | answers come, or nothing was asked | goes this way |
//! | doubtful | several probes in a row had no answer | goes this way, and in copies by another |
//! | dead | doubtful for a while | goes another way, if there is one that is better |
//! | back | was dead and answers again | not yet this way, if there is another: it has to hold first |
//!
//! The machine knows nothing of packets: it is told what was sent and answered, and says what to do.

use protocol::{Span, Time};

/// How often a path is probed, and how long an answer is waited for at least.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Pace {
    /// From an answer to the next probe, while the path carries traffic.
    pub(crate) interval: Span,
    /// Shortest time to the next probe when there is no answer.
    pub(crate) floor: Span,
    /// Probes in a row without an answer that make a path doubtful, where hardly any get lost.
    pub(crate) misses: usize,
}

impl Pace {
    /// For a ztnode.
    pub(crate) const OURS: Self = Self { interval: Span::ms(200), floor: Span::ms(80), misses: 2 };
    /// For others. The reference answers one ECHO in 166 ms for each path and is silent otherwise; what measures the path may have taken
    /// the place of a probe.
    pub(crate) const OTHERS: Self = Self { interval: Span::ms(340), floor: Span::ms(175), misses: 3 };
    /// For roots that relay for us and many others.
    pub(crate) const ROOTS: Self = Self { interval: Span::ms(500), floor: Span::ms(175), misses: 2 };
}

/// How long the first answer of a path is waited for before it is asked again.
const UNMEASURED: Span = Span::ms(250);
/// Doubt lasts so long before a path is given up, if nothing else makes it end.
const PATIENCE: Span = Span::ms(700);
/// How long a path that was dead has to answer without a miss before it is preferred again.
const HOLD: Span = Span::secs(2);
/// A path that carried nothing for this long is not probed any more.
const IDLE: Span = Span::secs(10);
/// Pauses between the probes of a dead path double up to this.
const LONGEST_PAUSE: Span = Span::secs(4);
/// Probes without an answer that are kept in mind.
const MAX_OPEN: usize = 8;

/// How good a path is; the best first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Standing {
    /// To be used.
    Sound,
    /// To be used together with another.
    Doubtful,
    /// Answers again, but has not held yet.
    Back,
    /// Not to be used if there is anything better.
    Dead,
}

/// What has to be done about a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Act {
    /// Send a probe.
    Probe,
    /// The same, and it has just become doubtful: others may be needed.
    Doubt,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Sound,
    Doubtful { since: Time },
    Dead { probes: u32 },
    Back { since: Time },
}

/// Round-trip time and its variation, in eighths and quarters of a millisecond (RFC 6298).
#[derive(Clone, Copy, Debug)]
struct RoundTrip {
    smoothed: i64,
    variation: i64,
}

impl RoundTrip {
    fn sample(before: Option<Self>, rtt: Span) -> Self {
        let rtt = rtt.as_ms().clamp(1, 60_000);
        match before {
            None => Self { smoothed: 8 * rtt, variation: 2 * rtt },
            Some(Self { smoothed, variation }) => {
                let error = rtt - smoothed / 8;
                Self { smoothed: smoothed + error, variation: variation + error.abs() - variation / 4 }
            }
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Liveness {
    state: State,
    /// When the probes that have no answer yet were sent, the oldest first.
    open: Vec<Time>,
    /// When the last probe's answer is due, or the next probe of a path that has to prove itself.
    due: Option<Time>,
    /// Until when a sound path without an open probe is not asked again.
    calm: Time,
    /// When it was last asked, for whatever reason.
    asked: Option<Time>,
    /// When traffic last went out this way.
    used: Time,
    /// Whether traffic has gone out since the last probe: whatever it was, the last of it may not have arrived.
    unconfirmed: bool,
    /// Whether what happened to another path of the peer may have happened to this one, too.
    questioned: bool,
    round_trip: Option<RoundTrip>,
    /// When our own loop was last found to be late: how long the answers to what was sent before took says nothing.
    late: Option<Time>,
    /// Share of probes that are not answered in time, of 65,536.
    loss: u32,
}

impl Liveness {
    /// A path that is believed to be sound.
    pub(crate) fn new(now: Time) -> Self {
        Self {
            state: State::Sound,
            open: Vec::new(),
            due: None,
            calm: now + Pace::OURS.interval,
            asked: None,
            used: now,
            unconfirmed: false,
            questioned: false,
            round_trip: None,
            late: None,
            loss: 0,
        }
    }

    /// How good the path is.
    pub(crate) fn standing(&self) -> Standing {
        match self.state {
            State::Sound => Standing::Sound,
            State::Doubtful { .. } => Standing::Doubtful,
            State::Back { .. } => Standing::Back,
            State::Dead { .. } => Standing::Dead,
        }
    }

    /// Another path of the peer is in doubt: until this one answers it may be so, too.
    pub(crate) fn question(&mut self) {
        self.questioned = true;
    }

    /// Whether that is so.
    pub(crate) fn is_questioned(&self) -> bool {
        self.questioned
    }

    /// Whether a probe is open.
    pub(crate) fn is_asking(&self) -> bool {
        !self.open.is_empty()
    }

    /// When [`Self::tick`] wants to run.
    pub(crate) fn due(&self) -> Option<Time> {
        self.due
    }

    /// How long an answer is waited for before the next probe.
    pub(crate) fn timeout(&self, pace: Pace) -> Span {
        let measured = self.round_trip.map_or(UNMEASURED, |of| Span::ms(3 * of.smoothed / 8 + of.variation));
        measured.max(pace.floor)
    }

    /// How long the answer to the last of several probes is waited for: they were sent far enough apart, and it is due after a round trip.
    fn last_wait(&self, pace: Pace) -> Span {
        let half_more = |of: RoundTrip| Span::ms(3 * of.smoothed / 16 + of.variation);
        self.round_trip.map_or(UNMEASURED, half_more).max(pace.floor)
    }

    /// Probes in a row without an answer that make a path doubtful: more where many get lost anyway.
    fn limit(&self, pace: Pace) -> usize {
        let more = match self.loss * 100 / 65_536 {
            0..=7 => 0,
            8..=17 => 1,
            18..=32 => 2,
            _ => 3,
        };
        pace.misses + more
    }

    /// Traffic goes out this way. Until when it need not be told again, and what to do.
    pub(crate) fn sent(&mut self, now: Time, pace: Pace) -> (Time, Option<Act>) {
        (self.used, self.unconfirmed) = (now, true);
        self.catch_up(now, pace);
        let act = if now < self.due.unwrap_or(self.calm) { None } else { self.step(now, pace) };
        (self.calm_until(now), act)
    }

    /// Until when traffic may go this way without a look at anything: not at all unless it is sound.
    pub(crate) fn calm_until(&self, now: Time) -> Time {
        if matches!(self.state, State::Sound) { self.due.unwrap_or(self.calm) } else { now }
    }

    /// What is due, if the time has come: `has_other` says whether there is a better way, `used` that traffic took this one without
    /// a word.
    pub(crate) fn tick(&mut self, now: Time, pace: Pace, has_other: bool, used: bool) -> Option<Act> {
        if self.due.is_none_or(|due| now < due) {
            return None;
        }
        if used {
            (self.used, self.unconfirmed) = (now, true);
        }
        if matches!(self.state, State::Sound) && self.open.is_empty() && !self.unconfirmed {
            self.due = None;
            return None;
        }
        if let State::Doubtful { since } = self.state
            && has_other
            && now - since >= PATIENCE.max(self.timeout(pace) * 2)
        {
            self.give_up();
        }
        let idle = now - self.used >= IDLE;
        // Doubt that nobody needs an answer to is left open: the next traffic goes on with it.
        if idle && (self.open.is_empty() || !matches!(self.state, State::Sound)) {
            self.due = None;
            self.open.clear();
            return None;
        }
        self.step(now, pace)
    }

    /// From when on another question is heard: the far end may let through but one in a while.
    pub(crate) fn hears_from(&self, pace: Pace) -> Option<Time> {
        self.asked.map(|asked| asked + pace.floor)
    }

    /// Something else asks on this path now: the next probe leaves room for it.
    pub(crate) fn make_room(&mut self, now: Time, pace: Pace) {
        self.asked = Some(now);
        let next = self.due.as_mut().unwrap_or(&mut self.calm);
        *next = (*next).max(now + pace.floor);
    }

    /// Probes now, whether or not it is due: something is known to have changed.
    pub(crate) fn ask(&mut self, now: Time, pace: Pace) -> bool {
        let soon = self.open.last().is_some_and(|last| now - *last < pace.floor / 2);
        if !soon {
            self.probe(now, pace);
        }
        !soon
    }

    /// Something else says that this may be no way any more: it is one again when it answers.
    pub(crate) fn suspect(&mut self, now: Time) {
        if matches!(self.state, State::Sound) {
            self.state = State::Doubtful { since: now };
        }
    }

    /// How long it has been in doubt, if it is.
    pub(crate) fn doubted_for(&self, now: Time) -> Option<Span> {
        match self.state {
            State::Doubtful { since } => Some(now - since),
            _ => None,
        }
    }

    /// There is a better way.
    pub(crate) fn give_up(&mut self) {
        if !matches!(self.state, State::Dead { .. }) {
            self.state = State::Dead { probes: 0 };
        }
    }

    /// Our own clock or loop was late: what was not heard meanwhile says nothing, and may lie in a socket.
    pub(crate) fn excuse(&mut self, now: Time, pace: Pace) {
        self.late = Some(now);
        if self.due.is_some() {
            self.due = Some(now + self.timeout(pace));
        }
    }

    /// After a pause of ours, traffic or an answer may come before the clock is looked at.
    fn catch_up(&mut self, now: Time, pace: Pace) {
        if !self.open.is_empty() && self.due.is_some_and(|due| now - due >= self.timeout(pace) / 2) {
            self.excuse(now, pace);
        }
    }

    fn step(&mut self, now: Time, pace: Pace) -> Option<Act> {
        let (missed, limit) = (!self.open.is_empty(), self.limit(pace));
        let mut act = Act::Probe;
        match &mut self.state {
            State::Sound if missed => {
                self.loss += (65_536 - self.loss) / 16;
                if self.open.len() >= limit {
                    self.state = State::Doubtful { since: now };
                    act = Act::Doubt;
                }
            }
            State::Back { since } if missed => {
                if self.open.len() >= 2 {
                    self.state = State::Dead { probes: 0 };
                } else {
                    *since = now;
                }
            }
            State::Dead { probes } => *probes = probes.saturating_add(1),
            _ => {}
        }
        self.probe(now, pace);
        Some(act)
    }

    fn probe(&mut self, now: Time, pace: Pace) {
        if self.open.len() >= MAX_OPEN {
            self.open.remove(0);
        }
        self.open.push(now);
        self.unconfirmed = false;
        self.asked = Some(now);
        let wait = match self.state {
            State::Dead { probes } => (self.timeout(pace) * (1 << probes.min(6))).min(LONGEST_PAUSE),
            State::Sound if self.open.len() >= self.limit(pace) => self.last_wait(pace),
            _ => self.timeout(pace),
        };
        self.due = Some(now + wait);
    }

    /// What was sent this way at `sent` has been answered from there. Until when traffic may go this way without a look.
    pub(crate) fn answered(&mut self, now: Time, sent: Time, pace: Pace) -> Time {
        self.catch_up(now, pace);
        if self.late.is_none_or(|late| sent >= late) {
            self.round_trip = Some(RoundTrip::sample(self.round_trip, now - sent));
        }
        self.open.retain(|open| *open > sent);
        self.questioned = false;
        match self.state {
            State::Sound => self.loss -= self.loss / 16,
            State::Doubtful { .. } => self.state = State::Sound,
            State::Dead { .. } => self.state = State::Back { since: now },
            State::Back { since } if now - since >= HOLD => self.state = State::Sound,
            State::Back { .. } => {}
        }
        if self.open.is_empty() {
            self.calm = now + pace.interval;
            self.due = Some(self.calm);
        }
        self.calm_until(now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A path with traffic every millisecond; `answers` says whether what is sent at a moment is answered, `rtt` later.
    fn run(
        path: &mut Liveness,
        from: i64,
        to: i64,
        rtt: i64,
        has_other: bool,
        mut answers: impl FnMut(i64) -> bool,
    ) -> Vec<(i64, Standing)> {
        let mut calm = Time::from_ms(from);
        let mut flying: Vec<(i64, i64)> = Vec::new();
        let mut seen = vec![(from, path.standing())];
        for at in from..to {
            let now = Time::from_ms(at);
            for (sent, _) in flying.extract_if(.., |(_, back)| *back <= at) {
                calm = path.answered(now, Time::from_ms(sent), Pace::OURS);
            }
            let mut probes = usize::from(path.tick(now, Pace::OURS, has_other, false).is_some());
            if now >= calm {
                let (until, act) = path.sent(now, Pace::OURS);
                calm = until;
                probes += usize::from(act.is_some());
            }
            for _ in 0..probes {
                if answers(at) {
                    flying.push((at, at + rtt));
                }
            }
            if seen.last().is_none_or(|(_, last)| *last != path.standing()) {
                seen.push((at, path.standing()));
            }
        }
        seen
    }

    #[test]
    fn a_dead_path_is_in_doubt_within_half_a_second_and_dead_within_two() {
        for rtt in [1, 60] {
            for dies in (2_000..2_300).step_by(37) {
                let mut path = Liveness::new(Time::from_ms(0));
                let seen = run(&mut path, 0, 6_000, rtt, true, |at| at < dies);
                let [(_, Standing::Sound), (doubt, Standing::Doubtful), (dead, Standing::Dead)] = seen[..]
                else {
                    panic!("{seen:?}");
                };
                let waits = [3 * rtt, 3 * rtt / 2].map(|wait| Pace::OURS.floor.as_ms().max(wait + rtt / 4));
                let bound = rtt + 200 + waits.iter().sum::<i64>() + 10;
                assert!(doubt > dies && doubt - dies <= bound, "rtt {rtt}: {} ms", doubt - dies);
                assert!(dead - doubt <= 1_500, "rtt {rtt}: {} ms", dead - doubt);
            }
        }
    }

    #[test]
    fn without_another_way_a_path_stays_in_doubt_and_comes_back_at_once() {
        let mut path = Liveness::new(Time::from_ms(0));
        let seen = run(&mut path, 0, 20_000, 5, false, |at| !(5_000..15_000).contains(&at));
        let [_, (_, Standing::Doubtful), (back, Standing::Sound)] = seen[..] else { panic!("{seen:?}") };
        assert!((15_000..15_200).contains(&back), "{back}");
    }

    #[test]
    fn a_path_that_was_dead_has_to_hold_before_it_is_preferred() {
        let mut path = Liveness::new(Time::from_ms(0));
        let seen = run(&mut path, 0, 40_000, 5, true, |at| !(5_000..15_000).contains(&at));
        let [.., (dead, Standing::Dead), (back, Standing::Back), (sound, Standing::Sound)] = seen[..] else {
            panic!("{seen:?}");
        };
        assert!(dead < 7_000 && (15_000..19_100).contains(&back));
        assert!((HOLD.as_ms()..HOLD.as_ms() + 500).contains(&(sound - back)), "{seen:?}");
    }

    #[test]
    fn what_is_lost_at_random_is_no_flapping() {
        for percent in [10, 20] {
            let mut random = 88_172_645_463_325_252u64;
            let mut path = Liveness::new(Time::from_ms(0));
            let seen = run(&mut path, 0, 600_000, 20, true, |_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                // Lost there or back.
                random % 100 >= percent
            });
            let doubts = seen.iter().filter(|(_, standing)| *standing == Standing::Doubtful).count();
            assert!(doubts <= 12, "{percent} %: {doubts} in ten minutes");
            assert!(seen.iter().all(|(_, standing)| *standing != Standing::Dead));
        }
    }

    #[test]
    fn a_late_loop_doubts_nobody() {
        let mut path = Liveness::new(Time::from_ms(0));
        run(&mut path, 0, 1_000, 5, true, |_| true);
        let (_, act) = path.sent(Time::from_ms(2_000), Pace::OURS);
        assert_eq!(act, Some(Act::Probe));
        let due = path.due().unwrap();
        path.excuse(due + Span::secs(3), Pace::OURS);
        assert_eq!(path.tick(due + Span::ms(3_050), Pace::OURS, true, false), None);
        assert_eq!(path.standing(), Standing::Sound);
    }

    #[test]
    fn how_long_we_were_held_up_is_no_round_trip() {
        for traffic_first in [true, false] {
            let mut path = Liveness::new(Time::from_ms(0));
            run(&mut path, 0, 1_000, 5, true, |_| true);
            let asked = Time::from_ms(2_000);
            path.sent(asked, Pace::OURS);
            let (before, back) = (path.timeout(Pace::OURS), asked + Span::secs(5));
            if traffic_first {
                assert_eq!(path.sent(back, Pace::OURS).1, None, "what came meanwhile is to be read first");
            }
            path.answered(back, asked, Pace::OURS);
            assert_eq!(path.timeout(Pace::OURS), before);
            path.sent(back + Span::secs(1), Pace::OURS);
            path.answered(back + Span::ms(1_006), back + Span::secs(1), Pace::OURS);
            assert!(path.timeout(Pace::OURS) <= before + Span::ms(5), "and what is asked later counts again");
        }
    }

    #[test]
    fn an_idle_path_is_left_alone() {
        let mut path = Liveness::new(Time::from_ms(0));
        run(&mut path, 0, 1_000, 5, true, |_| true);
        let mut probes = 0;
        for at in (1_000..100_000).map(Time::from_ms) {
            if path.tick(at, Pace::OURS, true, false).is_some() {
                probes += 1;
                path.answered(at, at, Pace::OURS);
            }
        }
        assert_eq!((probes, path.due(), path.standing()), (0, None, Standing::Sound));
    }

    proptest! {
        /// Whatever is answered when: what is due lies ahead, probes are spaced, and answers make it sound in the end.
        #[test]
        fn probes_are_spaced_and_answers_heal(steps in proptest::collection::vec((1i64..400, any::<bool>(), any::<bool>()), 1..200)) {
            let mut path = Liveness::new(Time::from_ms(0));
            let (mut now, mut last) = (Time::from_ms(0), None::<Time>);
            for (pause, traffic, answer) in steps {
                now += Span::ms(pause);
                let act = if traffic { path.sent(now, Pace::OTHERS).1 } else { path.tick(now, Pace::OTHERS, answer, traffic) };
                if act.is_some() {
                    prop_assert!(last.is_none_or(|last| now - last >= Pace::OTHERS.floor), "{last:?} {now:?}");
                    last = Some(now);
                }
                if answer {
                    path.answered(now, last.unwrap_or(now), Pace::OTHERS);
                }
                prop_assert!(path.open.len() <= MAX_OPEN);
            }
            let from = now.as_ms() + 1;
            run(&mut path, from, from + 20_000, 3, true, |_| true);
            prop_assert_eq!(path.standing(), Standing::Sound);
        }
    }
}
