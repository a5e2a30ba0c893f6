//! Rate gates for any number of keys in a fixed amount of memory: what a call costs is the same whether a flood of keys is going on
//! or nobody has called before.
//!
//! Keys are hashed under a random key into an array of leaky buckets. Two keys that fall into one bucket share its rate; a stranger
//! cannot arrange for that, because nobody outside knows the hash.

use std::hash::{BuildHasher, Hash};

use protocol::{Span, Time};

use crate::ground::gate::Gate;
use crate::ground::work;

/// A hash under a key of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keyed([u64; 2]);

impl Keyed {
    /// A hash under this key.
    pub(crate) fn new(key: [u64; 2]) -> Self {
        Self(key)
    }

    /// The hash of a value.
    pub(crate) fn of(self, value: &impl Hash) -> u64 {
        self.hash_one(value)
    }
}

impl BuildHasher for Keyed {
    type Hasher = siphasher::sip::SipHasher13;

    fn build_hasher(&self) -> Self::Hasher {
        siphasher::sip::SipHasher13::new_with_keys(self.0[0], self.0[1])
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Buckets {
    /// One [`Gate`] each, as a number: the pages of buckets that nobody has used cost no memory.
    gates: Vec<i64>,
    hash: Keyed,
}

impl Buckets {
    /// `count` buckets, at least one.
    pub(crate) fn new(count: usize, hash: Keyed) -> Self {
        Self { gates: vec![0; count.max(1)], hash }
    }

    /// [`Gate::allow`] for the gate of `key`.
    pub(crate) fn allow(&mut self, key: &impl Hash, now: Time, interval: Span, burst: i64) -> bool {
        self.take(key, now, interval, 1, burst)
    }

    /// [`Gate::take`] for the gate of `key`.
    pub(crate) fn take(
        &mut self,
        key: &impl Hash,
        now: Time,
        interval: Span,
        amount: i64,
        burst: i64,
    ) -> bool {
        work::step();
        let at = (self.hash.of(key) % self.gates.len() as u64) as usize;
        let mut gate = Gate::from_raw(self.gates[at]);
        let allowed = gate.take(now, interval, amount, burst);
        self.gates[at] = gate.raw();
        allowed
    }

    /// [`Gate::is_open`] for the gate of `key`.
    pub(crate) fn is_open(&self, key: &impl Hash, now: Time, interval: Span, burst: i64) -> bool {
        work::step();
        let at = (self.hash.of(key) % self.gates.len() as u64) as usize;
        Gate::from_raw(self.gates[at]).is_open(now, interval, burst)
    }

    /// Lets the next event of `key` through.
    pub(crate) fn forget(&mut self, key: &impl Hash) {
        work::step();
        let at = (self.hash.of(key) % self.gates.len() as u64) as usize;
        self.gates[at] = 0;
    }
}

#[cfg(feature = "work")]
impl Buckets {
    /// See `filling`: as many as there are.
    pub(crate) fn len(&self) -> usize {
        self.gates.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_rate_and_a_flood_of_keys_costs_no_memory() {
        let mut buckets = Buckets::new(1 << 14, Keyed::new([1, 2]));
        let (now, second) = (Time::EPOCH, Span::secs(1));
        assert!(buckets.allow(&1, now, second, 2) && buckets.allow(&1, now, second, 2));
        assert!(!buckets.allow(&1, now, second, 2));
        assert!(buckets.allow(&2, now, second, 2));
        let allowed = (0..1_000_000).filter(|key| buckets.allow(key, now, second, 2)).count();
        assert!(allowed <= 2 << 14, "{allowed}");
        let now = now + second * 5;
        assert!(buckets.allow(&1, now, second, 2), "time heals");
        buckets.forget(&1);
        assert!(buckets.allow(&1, now, second, 1));
    }
}
