//! How long frames may wait: CoDel, the controlled delay of RFC 8289.
//!
//! A queue that is full for a moment absorbs a burst and does good; one that stays filled only makes everything late. So what
//! counts is not how long the queue is but the least time anybody had to wait during an interval: while that stays above a
//! target, the sender is told, first once an interval, then more and more often until the wait is gone.
//!
//! No clock and no frames in here: times are microseconds of any clock that does not run backwards.

/// What is a good wait, in microseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Params {
    /// Who waits less than this stands in a good queue.
    pub target: u64,
    /// How long the wait may stay above the target before somebody is told. The time a sender needs to react: a round trip
    /// of the streams that matter.
    pub interval: u64,
}

/// Intervals after which an earlier episode of telling is forgotten (RFC 8289, section 5.5: times 16).
const MEMORY: u64 = 16;

/// The state of one queue.
#[derive(Clone, Debug, Default)]
pub struct Codel {
    /// When the wait will have been above the target for an interval; `None` while it is below.
    above_at: Option<u64>,
    /// Whether senders are being told.
    telling: bool,
    /// When the next one is to be told.
    next: u64,
    /// How often one was told in this episode …
    count: u64,
    /// … and at its beginning.
    first_count: u64,
}

impl Codel {
    /// Judges a frame at the moment it leaves the queue, after `waited` microseconds in it. `almost_empty` says that so
    /// little is left that no wait can come of it. True: tell its sender, by a mark or a loss.
    pub fn judge(&mut self, params: &Params, now: u64, waited: u64, almost_empty: bool) -> bool {
        let standing = self.stands(params, now, waited, almost_empty);
        if self.telling {
            if !standing {
                self.telling = false;
                return false;
            }
            if now < self.next {
                return false;
            }
            self.count += 1;
            self.next = law(params, self.next, self.count);
            return true;
        }
        if !standing {
            return false;
        }
        // Soon after the last episode: begin about where that ended, the senders are the same.
        let delta = self.count.saturating_sub(self.first_count);
        let recent = now.saturating_sub(self.next) < MEMORY * params.interval;
        self.count = if delta > 1 && recent { delta } else { 1 };
        self.first_count = self.count;
        self.next = law(params, now, self.count);
        self.telling = true;
        true
    }

    /// The queue ran empty.
    pub fn emptied(&mut self) {
        self.above_at = None;
        self.telling = false;
    }

    /// Whether the wait has been above the target for an interval.
    fn stands(&mut self, params: &Params, now: u64, waited: u64, almost_empty: bool) -> bool {
        if waited < params.target || almost_empty {
            self.above_at = None;
            return false;
        }
        now >= *self.above_at.get_or_insert(now + params.interval)
    }
}

/// The control law: telling `count` times has the effect on a TCP sender's rate of its inverse square root.
fn law(params: &Params, from: u64, count: u64) -> u64 {
    from + (params.interval as f64 / (count as f64).sqrt()) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARAMS: Params = Params { target: 5_000, interval: 100_000 };

    /// Frames leave every millisecond, each having waited as long as `wait` says for its time; when somebody was told.
    fn told(until: u64, wait: impl Fn(u64) -> u64) -> Vec<u64> {
        let mut codel = Codel::default();
        (0..until).step_by(1_000).filter(|now| codel.judge(&PARAMS, *now, wait(*now), false)).collect()
    }

    #[test]
    fn a_good_queue_is_left_alone() {
        assert_eq!(told(10_000_000, |_| 4_999), Vec::<u64>::new());
    }

    #[test]
    fn one_short_wait_an_interval_is_a_good_queue() {
        // RFC 8289, section 3.1: a burst that drains within the interval is no standing queue.
        assert_eq!(told(10_000_000, |now| if now % 99_000 == 0 { 0 } else { 90_000 }), Vec::<u64>::new());
    }

    #[test]
    fn a_standing_queue_is_told_after_an_interval_and_then_by_the_square_root() {
        // Section 4.1: drop times follow interval / sqrt(count).
        let all = told(600_000, |_| 5_000);
        let mut expected = vec![100_000.0];
        for count in 1..all.len() {
            expected.push(expected[count - 1] + 100_000.0 / (count as f64).sqrt());
        }
        assert!(all.len() > 8);
        for (at, expected) in all.iter().zip(expected) {
            // Frames leave once a millisecond.
            assert!((*at as f64 - expected) < 1_010.0 && *at as f64 > expected - 10.0, "{at} for {expected}");
        }
    }

    #[test]
    fn one_short_wait_ends_the_episode() {
        let all = told(1_000_000, |now| if now == 350_000 { 4_000 } else { 9_000 });
        assert!(all.iter().all(|at| !(350_000..451_000).contains(at)), "{all:?}");
        assert!(all.iter().any(|at| (451_000..453_000).contains(at)), "{all:?}");
    }

    #[test]
    fn an_episode_soon_after_another_goes_on_at_its_rate() {
        // Section 4.3 and 5.5: re-entering soon takes up the previous count; late it begins anew.
        let gap = |pause: u64| {
            let wait = move |now| if (3_000_000..3_000_000 + pause).contains(&now) { 0 } else { 9_000 };
            let again =
                told(6_000_000, wait).into_iter().filter(|at| *at > 3_000_000).take(2).collect::<Vec<_>>();
            again[1] - again[0]
        };
        assert!(gap(10_000) < 40_000);
        assert_eq!(gap(2_000_000), 100_000);
    }

    #[test]
    fn an_empty_queue_does_not_stand() {
        let mut codel = Codel::default();
        for now in (0..1_000_000).step_by(1_000) {
            assert!(!codel.judge(&PARAMS, now, 50_000, true));
        }
        assert!(!codel.judge(&PARAMS, 1_000_000, 9_000, false));
        codel.emptied();
        assert!(!codel.judge(&PARAMS, 1_100_000, 9_000, false));
        assert!(codel.judge(&PARAMS, 1_200_000, 9_000, false));
    }

    proptest! {
        #[test]
        fn any_times_are_survived(
            steps in prop::collection::vec((any::<u32>(), any::<u64>(), any::<bool>()), 0..200),
            target in any::<u32>(), interval in 1u32..,
        ) {
            let params = Params { target: target.into(), interval: interval.into() };
            let (mut codel, mut now) = (Codel::default(), 0);
            for (later, waited, almost_empty) in steps {
                now += u64::from(later);
                let told = codel.judge(&params, now, waited, almost_empty);
                prop_assert!(!told || (waited >= params.target && !almost_empty));
            }
        }
    }
}
