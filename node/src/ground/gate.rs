//! Rate gates: a leaky bucket in one integer. [`crate::ground::buckets`] has one for each of any number of keys.

/// Allows one event per interval with a burst allowance (generic cell rate algorithm).
#[derive(Clone, Copy, Debug, Default)]
pub struct Gate {
    /// The time at which the bucket will be empty again; 0 at first.
    empty_at: i64,
}

impl Gate {
    /// Whether an event at `now` (ms) is allowed when events come `interval` ms apart at most, `burst` at once.
    pub fn allow(&mut self, now: i64, interval: i64, burst: i64) -> bool {
        self.take(now, interval, 1, burst)
    }

    /// Whether something that counts for `amount` events is allowed. It is not if that is more than `burst`.
    pub fn take(&mut self, now: i64, interval: i64, amount: i64, burst: i64) -> bool {
        let empty_at = self.empty_at.max(now);
        if empty_at - now > interval * (burst - amount) {
            return false;
        }
        self.empty_at = empty_at + interval * amount;
        true
    }

    /// Whether [`Self::allow`] would say so; nothing is taken.
    pub fn is_open(&self, now: i64, interval: i64, burst: i64) -> bool {
        self.empty_at.max(now) - now <= interval * (burst - 1)
    }

    /// As a number, for storage.
    pub(crate) fn raw(self) -> i64 {
        self.empty_at
    }

    /// From [`Self::raw`].
    pub(crate) fn from_raw(empty_at: i64) -> Self {
        Self { empty_at }
    }
}

/// Octets that may be spent: so many at once, and so many more with each millisecond.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allowance {
    spent: i64,
    at: i64,
}

impl Allowance {
    /// Whether so much may be spent; it is then.
    pub(crate) fn take(&mut self, now: i64, amount: usize, rate: i64, burst: i64) -> bool {
        let passed = now.saturating_sub(self.at).max(0);
        let spent = self.spent.saturating_sub(passed.saturating_mul(rate)).max(0);
        let after = spent.saturating_add(i64::try_from(amount).unwrap_or(i64::MAX));
        let may = after <= burst;
        (self.spent, self.at) = (if may { after } else { spent }, now);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_a_burst_and_then_a_rate() {
        let mut copies = Allowance::default();
        assert!(copies.take(1_000, 900, 10, 1_000) && !copies.take(1_000, 101, 10, 1_000));
        assert!(copies.take(1_000, 100, 10, 1_000) && !copies.take(1_000, 1, 10, 1_000));
        assert!(copies.take(1_050, 500, 10, 1_000) && !copies.take(1_050, 1, 10, 1_000));
        assert!(!copies.take(9_000, 1_001, 10, 1_000), "never more than the burst");
    }

    #[test]
    fn a_gate_lets_a_burst_through_and_then_one_per_interval() {
        let mut gate = Gate::default();
        assert!((0..3).all(|_| gate.allow(1_000, 100, 3)));
        assert!(!gate.allow(1_000, 100, 3));
        assert!(!gate.allow(1_099, 100, 3));
        assert!(gate.allow(1_100, 100, 3));
        assert!(!gate.allow(1_100, 100, 3));
    }
}
