//! Rate gates: a leaky bucket in one integer, and a bounded set of them.

use std::collections::BTreeMap;

/// Allows one event per interval with a burst allowance (generic cell rate algorithm).
#[derive(Clone, Copy, Debug, Default)]
pub struct Gate {
    /// The time at which the bucket will be empty again; 0 at first.
    empty_at: i64,
}

impl Gate {
    /// Whether an event at `now` (ms) is allowed when events come `interval` ms apart at most, `burst` at once.
    pub fn allow(&mut self, now: i64, interval: i64, burst: i64) -> bool {
        let empty_at = self.empty_at.max(now);
        if empty_at - now > interval * (burst - 1) {
            return false;
        }
        self.empty_at = empty_at + interval;
        true
    }

    /// Whether the gate has forgotten its past.
    fn is_idle(&self, now: i64) -> bool {
        self.empty_at <= now
    }
}

/// One gate per key, at most `capacity` of them. When full and nothing can be forgotten, unknown keys are refused: under a
/// flood of sources the sources already known keep their service.
#[derive(Debug)]
pub(super) struct Gates<K> {
    gates: BTreeMap<K, Gate>,
    capacity: usize,
}

impl<K: Ord + Copy> Gates<K> {
    /// No gates yet, never more than `capacity`.
    pub(super) fn new(capacity: usize) -> Self {
        Self { gates: BTreeMap::new(), capacity }
    }

    /// [`Gate::allow`] for the gate of `key`.
    pub(super) fn allow(&mut self, key: K, now: i64, interval: i64, burst: i64) -> bool {
        if !self.gates.contains_key(&key) && self.gates.len() >= self.capacity {
            self.forget_idle(now);
            if self.gates.len() >= self.capacity {
                return false;
            }
        }
        self.gates.entry(key).or_default().allow(now, interval, burst)
    }

    /// Drops the gates that no longer hold anything back.
    pub(super) fn forget_idle(&mut self, now: i64) {
        self.gates.retain(|_, gate| !gate.is_idle(now));
    }

    /// Forgets one key, so that its next event is allowed.
    pub(super) fn remove(&mut self, key: K) {
        self.gates.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_lets_a_burst_through_and_then_one_per_interval() {
        let mut gate = Gate::default();
        assert!((0..3).all(|_| gate.allow(1_000, 100, 3)));
        assert!(!gate.allow(1_000, 100, 3));
        assert!(!gate.allow(1_099, 100, 3));
        assert!(gate.allow(1_100, 100, 3));
        assert!(!gate.allow(1_100, 100, 3));
    }

    #[test]
    fn a_full_set_refuses_strangers_but_serves_the_known() {
        let mut gates = Gates::new(2);
        assert!(gates.allow(1, 0, 1_000, 2));
        assert!(gates.allow(2, 0, 1_000, 2));
        assert!(!gates.allow(3, 0, 1_000, 2));
        assert!(gates.allow(1, 0, 1_000, 2));
        assert!(gates.allow(3, 5_000, 1_000, 2), "idle gates make room");
    }
}
