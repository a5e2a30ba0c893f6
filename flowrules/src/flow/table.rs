//! A set-associative table from keys to small numbers.
//!
//! Its hash is NH (RFC 4418, UMAC): for keys chosen without knowledge of the secrets, which are drawn at random for each
//! table, any two collide with a probability near that of chance, so nobody can pick flows that push each other out. A
//! newcomer replaces an entry that was not asked for since it was last passed over: a scan of many flows, each seen once,
//! leaves those in use alone.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::key::{Key, WORDS};

/// Entries of one set.
const WAYS: usize = 4;
/// Sets of a table that was just made.
const FIRST_SETS: usize = 64;
/// Most sets of a table: 4096 × 4 entries of 88 bytes are 1.4 MB.
const MAX_SETS: usize = 4_096;

#[derive(Clone, Copy, Debug)]
struct Slot {
    key: Key,
    /// 0 for an empty slot.
    tag: u32,
    /// The number in the low 31 bits; the highest bit says that it was asked for.
    value: u32,
}

const EMPTY: Slot = Slot { key: [0; WORDS], tag: 0, value: 0 };
const USED: u32 = 1 << 31;

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<Slot>,
    secrets: [u64; WORDS + 2],
    /// Entries pushed out since the table last grew.
    displaced: usize,
}

/// A key's hash: which set, and the tag that entries of the set are compared by first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashed(u64);

impl Hashed {
    fn tag(self) -> u32 {
        (self.0 >> 32) as u32 | 1
    }
}

impl Table {
    /// An empty table. It has no memory of its own before the first entry.
    pub(super) fn new() -> Self {
        // The standard library's hashers are keyed at random for each process and each state.
        let secret = |n: usize| {
            let mut hasher = RandomState::new().build_hasher();
            hasher.write_usize(n);
            hasher.finish()
        };
        Self { slots: Vec::new(), secrets: std::array::from_fn(secret), displaced: 0 }
    }

    /// Hashes the first `words` words of a key; the others are zero.
    #[inline]
    pub(super) fn hash(&self, key: &Key, words: usize) -> Hashed {
        let s = &self.secrets;
        let mut sum = 0u128;
        for at in (0..words.min(WORDS)).step_by(2) {
            let (a, b) = (key[at].wrapping_add(s[at]), key[at + 1].wrapping_add(s[at + 1]));
            sum = sum.wrapping_add(u128::from(a) * u128::from(b));
        }
        let (low, high) = (sum as u64, (sum >> 64) as u64);
        let mixed = u128::from(low ^ s[WORDS]) * u128::from(high ^ s[WORDS + 1] | 1);
        Hashed((mixed as u64) ^ ((mixed >> 64) as u64))
    }

    fn set(&self, hashed: Hashed) -> usize {
        let sets = self.slots.len() / WAYS;
        (hashed.0 as usize & (sets - 1)) * WAYS
    }

    /// The number kept for a key.
    #[inline]
    pub(super) fn get(&mut self, hashed: Hashed, key: &Key) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let (at, tag) = (self.set(hashed), hashed.tag());
        let slot = self.slots[at..at + WAYS].iter_mut().find(|slot| slot.tag == tag && slot.key == *key)?;
        slot.value |= USED;
        Some(slot.value & !USED)
    }

    /// Keeps a number (below 2^31) for a key that is not in the table.
    pub(super) fn insert(&mut self, hashed: Hashed, key: &Key, value: u32) {
        if self.slots.is_empty() {
            self.slots = vec![EMPTY; FIRST_SETS * WAYS];
        } else if self.displaced >= self.slots.len() && self.slots.len() < MAX_SETS * WAYS {
            // Too small for the flows there are: start again with twice the room.
            self.slots = vec![EMPTY; self.slots.len() * 2];
            self.displaced = 0;
        }
        let at = self.set(hashed);
        let ways = &mut self.slots[at..at + WAYS];
        let way = match ways.iter().position(|slot| slot.tag == 0) {
            Some(empty) => empty,
            None => {
                self.displaced += 1;
                // Everybody passed over has to be asked for again.
                let mut idle = |slot: &mut Slot| {
                    let used = slot.value & USED != 0;
                    slot.value &= !USED;
                    !used
                };
                match ways.iter_mut().position(&mut idle) {
                    Some(idle) => idle,
                    None => (hashed.0 >> 20) as usize % WAYS,
                }
            }
        };
        ways[way] = Slot { key: *key, tag: hashed.tag(), value };
    }

    /// Forgets the entries whose key fits.
    pub(super) fn remove(&mut self, mut fits: impl FnMut(&Key) -> bool) {
        for slot in &mut self.slots {
            if slot.tag != 0 && fits(&slot.key) {
                slot.tag = 0;
            }
        }
    }

    /// Forgets everything; the memory stays.
    pub(super) fn clear(&mut self) {
        for slot in &mut self.slots {
            slot.tag = 0;
        }
        self.displaced = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Key {
        let mut key = [0; WORDS];
        (key[0], key[3], key[9]) = (n, n ^ 5, n << 7);
        key
    }

    fn put(table: &mut Table, n: u64) {
        let key = key(n);
        let hashed = table.hash(&key, WORDS);
        table.insert(hashed, &key, n as u32);
    }

    fn get(table: &mut Table, n: u64) -> Option<u32> {
        let key = key(n);
        let hashed = table.hash(&key, WORDS);
        table.get(hashed, &key)
    }

    #[test]
    fn what_is_kept_is_found_until_it_is_forgotten() {
        let mut table = Table::new();
        for n in 0..100 {
            assert_eq!(get(&mut table, n), None);
            put(&mut table, n);
            assert_eq!(get(&mut table, n), Some(n as u32));
        }
        table.remove(|key| key[0] == 99);
        assert_eq!((get(&mut table, 99), get(&mut table, 98)), (None, Some(98)));
        table.clear();
        assert_eq!(get(&mut table, 98), None);
    }

    #[test]
    fn the_table_grows_up_to_its_cap_and_stays_right() {
        let mut table = Table::new();
        for n in 0..200_000 {
            put(&mut table, n);
            assert_eq!(get(&mut table, n), Some(n as u32));
        }
        assert_eq!(table.slots.len(), MAX_SETS * WAYS);
        assert!(
            (0..200_000).filter_map(|n| get(&mut table, n).map(|v| (n, v))).all(|(n, v)| n == u64::from(v))
        );
    }

    #[test]
    fn a_scan_leaves_the_flows_in_use_alone() {
        let mut table = Table::new();
        for n in 0..32 {
            put(&mut table, n);
        }
        let mut lost = 0;
        for n in 1_000..20_000 {
            for flow in 0..32 {
                if get(&mut table, flow).is_none() {
                    lost += 1;
                    put(&mut table, flow);
                }
            }
            put(&mut table, n);
        }
        // The table starts empty whenever it grows, at most six times.
        assert!(lost <= 6 * 32 + 60, "{lost}");
    }
}
