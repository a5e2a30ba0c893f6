//! Whether a joined network may have the machine's default route: not while no root answers, and not again at once after the
//! roots went away because of it.

use std::time::Duration;

/// Time for a root to answer after the default route was set; it is asked twice.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// A node that goes offline within this time after the default route was set lost its roots because of it.
const SETTLED: Duration = Duration::from_secs(180);
/// The first pause, which doubles with each failure …
const PAUSE: Duration = Duration::from_secs(30);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// How far a default route is. Times are since any fixed moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    /// There is none.
    #[default]
    Absent,
    /// The roots were asked so many times and have to answer until then.
    Asked(u8, Duration),
    /// They answered. It is proven when the node is still online then.
    Watched(Duration),
    /// Nothing was lost by it.
    Proven,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Nothing.
    Wait,
    /// Greet the roots, and look at [`ANSWER`] later whether one has answered.
    Ask,
    /// Take the default route away for so long.
    Withdraw(Duration),
    /// The pause is over: it may be set again.
    Retry,
}

/// The state of the default route.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trial {
    online: bool,
    stage: Stage,
    failures: u32,
    paused_until: Option<Duration>,
}

impl Trial {
    /// Whether a default route may be there.
    pub(super) fn allows(&self) -> bool {
        self.online && self.paused_until.is_none()
    }

    /// The node is online now, or not.
    pub(super) fn set_online(&mut self, now: Duration, online: bool) -> Step {
        self.online = online;
        match self.stage {
            Stage::Asked(..) | Stage::Watched(_) if !online => self.fail(now),
            _ => Step::Wait,
        }
    }

    /// A default route is there now, or not.
    pub(super) fn set_present(&mut self, now: Duration, present: bool) -> Step {
        match (self.stage, present) {
            (Stage::Absent, true) => {
                self.stage = Stage::Asked(1, now + ANSWER);
                Step::Ask
            }
            (_, false) => {
                self.stage = Stage::Absent;
                Step::Wait
            }
            _ => Step::Wait,
        }
    }

    /// When to look next.
    pub(super) fn due(&self) -> Option<Duration> {
        let stage = match self.stage {
            Stage::Absent | Stage::Proven => None,
            Stage::Asked(_, until) | Stage::Watched(until) => Some(until),
        };
        stage.into_iter().chain(self.paused_until).min()
    }

    /// Looks at what is due. `heard`: whether a root was heard since it was asked.
    pub(super) fn look(&mut self, now: Duration, heard: bool) -> Step {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
            return Step::Retry;
        }
        match self.stage {
            Stage::Asked(_, until) if until <= now && heard => {
                self.stage = Stage::Watched(now + SETTLED);
                Step::Wait
            }
            Stage::Asked(1, until) if until <= now => {
                self.stage = Stage::Asked(2, now + ANSWER);
                Step::Ask
            }
            Stage::Asked(_, until) if until <= now => self.fail(now),
            Stage::Watched(until) if until <= now => {
                (self.stage, self.failures) = (Stage::Proven, 0);
                Step::Wait
            }
            _ => Step::Wait,
        }
    }

    /// Somebody changed what networks may do, or the machine has other links: what was is forgotten.
    pub(super) fn begin_anew(&mut self) {
        (self.failures, self.paused_until) = (0, None);
    }

    fn fail(&mut self, now: Duration) -> Step {
        let pause = PAUSE.saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.paused_until = Some(now + pause);
        self.stage = Stage::Absent;
        Step::Withdraw(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_default_route_that_costs_the_roots_is_withdrawn_with_growing_pauses() {
        let mut trial = Trial::default();
        assert!(!trial.allows());
        trial.set_online(at(0), true);
        let mut now = 1;
        for pause in [30, 60, 120, 240, 480, 960, 1920, 3600, 3600] {
            assert!(trial.allows());
            assert_eq!(trial.set_present(at(now), true), Step::Ask);
            assert_eq!(trial.set_present(at(now), true), Step::Wait, "it was there");
            assert_eq!(trial.look(at(now + 4), false), Step::Wait);
            assert_eq!(trial.look(at(now + 5), false), Step::Ask, "the greeting may have been lost");
            assert_eq!(trial.due(), Some(at(now + 10)));
            assert_eq!(trial.look(at(now + 10), false), Step::Withdraw(at(pause)));
            assert!(!trial.allows());
            assert_eq!(trial.set_present(at(now + 10), false), Step::Wait);
            now += 10 + pause;
            assert_eq!(trial.look(at(now - 1), false), Step::Wait);
            assert_eq!(trial.due(), Some(at(now)));
            assert_eq!(trial.look(at(now), false), Step::Retry);
        }
        trial.set_present(at(now), true);
        trial.look(at(now + 10), false);
        trial.look(at(now + 20), false);
        assert!(!trial.allows());
        trial.begin_anew();
        assert!(trial.allows());
    }

    #[test]
    fn what_happens_later_is_not_its_fault() {
        let mut trial = Trial::default();
        trial.set_online(at(0), true);
        trial.set_present(at(0), true);
        assert_eq!(trial.look(at(5), true), Step::Wait);
        assert_eq!(trial.set_online(at(65), false), Step::Withdraw(PAUSE), "within a minute it is");
        trial.set_present(at(65), false);
        assert_eq!(trial.look(at(95), false), Step::Retry);
        assert!(!trial.allows(), "the node is still offline");
        trial.set_online(at(100), true);
        trial.set_present(at(100), true);
        trial.look(at(105), true);
        assert_eq!(trial.look(at(285), true), Step::Wait);
        assert_eq!(trial.due(), None);
        assert_eq!(trial.set_online(at(1000), false), Step::Wait);
        assert!(!trial.allows());
        trial.set_present(at(1000), false);
        trial.set_online(at(1001), true);
        assert!(trial.allows());
    }
}
