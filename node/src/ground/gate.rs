//! Rate gates: a leaky bucket in one integer. [`crate::ground::buckets`] has one for each of any number of keys.

use protocol::{Span, Time};

/// Allows one event per interval with a burst allowance (generic cell rate algorithm).
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    /// When the bucket will be empty again, or was.
    empty_at: Time,
}

impl Default for Gate {
    /// A bucket that has long been empty.
    fn default() -> Self {
        Self::from_raw(0)
    }
}

impl Gate {
    /// Whether an event at `now` is allowed when events come an `interval` apart at most, `burst` at once.
    pub fn allow(&mut self, now: Time, interval: Span, burst: i64) -> bool {
        self.take(now, interval, 1, burst)
    }

    /// Whether something that counts for `amount` events is allowed. It is not if that is more than `burst`.
    pub fn take(&mut self, now: Time, interval: Span, amount: i64, burst: i64) -> bool {
        let empty_at = self.empty_at.max(now);
        if empty_at - now > interval * (burst - amount) {
            return false;
        }
        self.empty_at = empty_at + interval * amount;
        true
    }

    /// Whether [`Self::allow`] would say so; nothing is taken.
    pub fn is_open(&self, now: Time, interval: Span, burst: i64) -> bool {
        self.empty_at.max(now) - now <= interval * (burst - 1)
    }

    /// As a number, for storage.
    pub(crate) fn raw(self) -> i64 {
        self.empty_at.as_ms()
    }

    /// From [`Self::raw`].
    pub(crate) fn from_raw(empty_at: i64) -> Self {
        Self { empty_at: Time::from_ms(empty_at) }
    }
}

/// Octets that may be spent: so many at once, and so many more with each millisecond.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allowance {
    spent: i64,
    at: Option<Time>,
}

impl Allowance {
    /// Whether so much may be spent; it is then.
    pub(crate) fn take(&mut self, now: Time, amount: usize, rate: i64, burst: i64) -> bool {
        let passed = self.at.map_or(Span::ZERO, |at| now - at).max(Span::ZERO);
        let spent = self.spent.saturating_sub(passed.as_ms().saturating_mul(rate)).max(0);
        let after = spent.saturating_add(i64::try_from(amount).unwrap_or(i64::MAX));
        let may = after <= burst;
        (self.spent, self.at) = (if may { after } else { spent }, Some(now));
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Time {
        Time::from_ms(ms)
    }

    #[test]
    fn an_allowance_is_a_burst_and_then_a_rate() {
        let mut copies = Allowance::default();
        assert!(copies.take(at(1_000), 900, 10, 1_000) && !copies.take(at(1_000), 101, 10, 1_000));
        assert!(copies.take(at(1_000), 100, 10, 1_000) && !copies.take(at(1_000), 1, 10, 1_000));
        assert!(copies.take(at(1_050), 500, 10, 1_000) && !copies.take(at(1_050), 1, 10, 1_000));
        assert!(!copies.take(at(9_000), 1_001, 10, 1_000), "never more than the burst");
    }

    #[test]
    fn a_gate_lets_a_burst_through_and_then_one_per_interval() {
        let mut gate = Gate::default();
        let mut allow = |ms| gate.allow(at(ms), Span::ms(100), 3);
        assert!((0..3).all(|_| allow(1_000)));
        assert!(!allow(1_000));
        assert!(!allow(1_099));
        assert!(allow(1_100));
        assert!(!allow(1_100));
    }
}
