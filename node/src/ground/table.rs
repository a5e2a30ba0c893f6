//! A bounded table that strangers can write to: a cap on the sum, a share for each source, and a cost that does not grow with its
//! fill.
//!
//! Every entry belongs to a *share*, whoever is answerable for it: a peer, a prefix, a network. A share that is full makes room by
//! its own oldest entry. When the table is full, the share with the most entries gives up its oldest: whoever filled it pays, and
//! nobody who came before or comes later with little does. Shares are ordered first by rank, which is the first thing a share
//! type's `Ord` compares through [`Share::rank`]: those of a higher rank pay before any of a lower.

use std::collections::{BTreeMap, BTreeSet};

use protocol::Time;

use crate::ground::work;

/// Who is answerable for an entry.
pub(crate) trait Share: Ord + Copy {
    /// Shares of the highest rank present pay first when the table is full.
    fn rank(&self) -> u8 {
        0
    }
}

impl Share for () {}
impl Share for protocol::Address {}
impl Share for protocol::NetworkId {}
impl Share for crate::ground::sources::Source {}

#[derive(Debug)]
struct Slot<S, V> {
    share: S,
    /// When it was written, and in which order.
    stamp: (Time, u64),
    value: V,
}

/// See the module. `K` finds an entry, `S` is answerable for it.
#[derive(Debug)]
pub(crate) struct Table<K, S, V> {
    cap: usize,
    per_share: usize,
    slots: BTreeMap<K, Slot<S, V>>,
    /// The entries of each share, oldest first.
    ages: BTreeMap<(S, Time, u64), K>,
    counts: BTreeMap<S, usize>,
    /// The shares by rank and number of entries, the one that pays last.
    greed: BTreeSet<(u8, usize, S)>,
    serial: u64,
}

impl<K: Ord + Copy, S: Share, V> Table<K, S, V> {
    /// An empty table for at most `cap` entries, of which one share has at most `per_share`.
    pub(crate) fn new(cap: usize, per_share: usize) -> Self {
        Self {
            cap,
            per_share,
            slots: BTreeMap::new(),
            ages: BTreeMap::new(),
            counts: BTreeMap::new(),
            greed: BTreeSet::new(),
            serial: 0,
        }
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The entry of `key`.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        work::step();
        self.slots.get(key).map(|slot| &slot.value)
    }

    /// The entry of `key`, to change; its age stays.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        work::step();
        self.slots.get_mut(key).map(|slot| &mut slot.value)
    }

    /// Whether there is an entry of `key`.
    pub(crate) fn contains_key(&self, key: &K) -> bool {
        work::step();
        self.slots.contains_key(key)
    }

    /// The entries in the order of their keys.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.slots.iter().inspect(|_| work::step()).map(|(key, slot)| (key, &slot.value))
    }

    /// The entries in the order of their keys, to change; their ages stay.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.slots.iter_mut().inspect(|_| work::step()).map(|(key, slot)| (key, &mut slot.value))
    }

    /// The entries whose keys lie in a range, in order.
    pub(crate) fn range(
        &self,
        keys: impl std::ops::RangeBounds<K>,
    ) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.slots.range(keys).inspect(|_| work::step()).map(|(key, slot)| (key, &slot.value))
    }

    /// The keys in order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.slots.keys().inspect(|_| work::step())
    }

    /// The keys of one share, oldest first.
    pub(crate) fn of_share(&self, share: S) -> impl Iterator<Item = K> {
        self.ages
            .range((share, Time::FIRST, 0)..=(share, Time::LAST, u64::MAX))
            .inspect(|_| work::step())
            .map(|(_, key)| *key)
    }

    /// How many entries a share has.
    pub(crate) fn share_len(&self, share: S) -> usize {
        self.counts.get(&share).copied().unwrap_or(0)
    }

    /// Writes the entry of `key` at `now`: it is the newest of its share then. Gives what had to go for it, never the old entry
    /// of the same key.
    pub(crate) fn insert(&mut self, now: Time, share: S, key: K, value: V) -> Option<(K, V)> {
        self.remove(&key);
        let payer = if self.share_len(share) >= self.per_share {
            Some(share)
        } else if self.slots.len() >= self.cap {
            self.greed.last().map(|(.., share)| *share)
        } else {
            None
        };
        let gone = payer.and_then(|payer| self.pop_oldest(payer));
        work::step();
        self.serial += 1;
        let stamp = (now, self.serial);
        self.ages.insert((share, stamp.0, stamp.1), key);
        self.slots.insert(key, Slot { share, stamp, value });
        self.recount(share, |count| count + 1);
        gone
    }

    /// Takes the entry of `key` out.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        work::step();
        let slot = self.slots.remove(key)?;
        self.ages.remove(&(slot.share, slot.stamp.0, slot.stamp.1));
        self.recount(slot.share, |count| count - 1);
        Some(slot.value)
    }

    /// Takes the oldest entry of a share out.
    pub(crate) fn pop_oldest(&mut self, share: S) -> Option<(K, V)> {
        let key = self.of_share(share).next()?;
        self.remove(&key).map(|value| (key, value))
    }

    /// Takes out what was written before `before`.
    pub(crate) fn expire(&mut self, before: Time) -> Vec<(K, V)> {
        let shares: Vec<S> = self.counts.keys().copied().collect();
        let mut gone = Vec::new();
        for share in shares {
            work::step();
            while let Some((_, key)) = self.ages.range((share, Time::FIRST, 0)..(share, before, 0)).next() {
                let key = *key;
                gone.extend(self.remove(&key).map(|value| (key, value)));
            }
        }
        gone
    }

    /// Keeps the entries for which `wanted` holds.
    pub(crate) fn retain(&mut self, mut wanted: impl FnMut(&K, &mut V) -> bool) {
        let unwanted: Vec<K> = self
            .slots
            .iter_mut()
            .inspect(|_| work::step())
            .filter_map(|(k, slot)| (!wanted(k, &mut slot.value)).then_some(*k))
            .collect();
        for key in unwanted {
            self.remove(&key);
        }
    }

    fn recount(&mut self, share: S, change: impl FnOnce(usize) -> usize) {
        let before = self.share_len(share);
        let after = change(before);
        self.greed.remove(&(share.rank(), before, share));
        if after == 0 {
            self.counts.remove(&share);
        } else {
            self.counts.insert(share, after);
            self.greed.insert((share.rank(), after, share));
        }
    }
}

#[cfg(feature = "work")]
impl<K: Ord + Copy, S: Share, V> Table<K, S, V> {
    /// See `filling`: made-up entries by number until the table is full, one for each share it may have.
    pub(crate) fn fill(&mut self, now: Time, entry: impl Fn(u64) -> (S, K, V)) {
        for number in 0..2 * self.cap as u64 {
            if self.len() >= self.cap {
                break;
            }
            let (share, key, value) = entry(number);
            if self.share_len(share) < self.per_share && !self.contains_key(&key) {
                self.insert(now, share, key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use protocol::Span;

    use super::*;

    impl Share for u8 {
        fn rank(&self) -> u8 {
            self / 100
        }
    }

    fn at(ms: i64) -> Time {
        Time::from_ms(ms)
    }

    #[test]
    fn the_greediest_share_pays_with_its_oldest_entry() {
        let mut table = Table::new(4, 4);
        for key in 0..3 {
            assert_eq!(table.insert(at(0), 1u8, key, ()), None);
        }
        assert_eq!(table.insert(at(0), 2, 10, ()), None);
        assert_eq!(table.insert(at(0), 2, 11, ()), Some((0, ())));
        assert_eq!(table.insert(at(0), 3, 20, ()), Some((10, ())), "as greedy as another: one of the two");
        assert_eq!(table.len(), 4);
    }

    #[test]
    fn a_full_share_pays_for_itself_and_a_higher_rank_before_the_greediest() {
        let mut table = Table::new(4, 2);
        table.insert(at(0), 1u8, 1, ());
        table.insert(at(0), 1, 2, ());
        assert_eq!(table.insert(at(0), 1, 3, ()), Some((1, ())));
        table.insert(at(0), 101, 4, ());
        table.insert(at(0), 2, 5, ());
        assert_eq!(table.insert(at(0), 3, 6, ()), Some((4, ())));
    }

    #[test]
    fn what_is_written_again_is_new_again() {
        let mut table = Table::new(2, 2);
        table.insert(at(0), 1u8, 1, ());
        table.insert(at(1), 1, 2, ());
        table.insert(at(2), 1, 1, ());
        assert_eq!(table.insert(at(3), 1, 3, ()), Some((2, ())));
        assert_eq!(table.expire(at(3)), [(1, ())]);
        assert_eq!(table.keys().copied().collect::<Vec<_>>(), [3]);
    }

    proptest! {
        #[test]
        fn caps_hold_and_the_indexes_agree(steps in proptest::collection::vec((0u8..4, 0u16..40, 0u8..8), 0..300)) {
            let mut table = Table::new(12, 5);
            for (now, (kind, key, share)) in steps.into_iter().enumerate() {
                let now = Time::from_ms(now as i64);
                match kind {
                    0 => drop(table.remove(&key)),
                    1 => drop(table.expire(now - Span::ms(20))),
                    _ => drop(table.insert(now, share, key, key)),
                }
                prop_assert!(table.len() <= 12);
                let mut counts: BTreeMap<u8, usize> = BTreeMap::new();
                for slot in table.slots.values() {
                    *counts.entry(slot.share).or_default() += 1;
                }
                prop_assert!(counts.values().all(|n| *n <= 5));
                prop_assert_eq!(&counts, &table.counts);
                prop_assert_eq!(table.ages.len(), table.len());
                prop_assert_eq!(table.greed.len(), counts.len());
            }
        }
    }
}
