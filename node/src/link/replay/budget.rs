//! A cap on what peers hold together, and who has to give back first.
//!
//! Holders are kept in the order in which they give back: the greediest first, and of those who hold the same the one that was
//! idle for longest, as far as that is known: use is not noted here packet by packet, but looked at when somebody is about to give
//! back, and then only for a few.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use protocol::{Address, Time};

/// Holders that are looked at before one has to give back although it was in use.
const LOOKS: usize = 8;

/// What peers hold of one kind.
#[derive(Debug)]
pub(crate) struct Budget {
    cap: usize,
    /// Whether who holds something and is busy keeps it when another asks for as much: where few can have the largest share, and
    /// would take turns.
    keeps: bool,
    held: usize,
    holders: BTreeMap<Address, (usize, Time)>,
    /// The first gives back first.
    order: BTreeSet<(Reverse<usize>, Time, Address)>,
}

impl Budget {
    /// Nobody holds anything, and never more than `cap` octets together. `keeps`: whoever is busy keeps what it has when another
    /// asks for as much.
    pub(crate) fn new(cap: usize, keeps: bool) -> Self {
        Self { cap, keeps, held: 0, holders: BTreeMap::new(), order: BTreeSet::new() }
    }

    /// Octets held by all together.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// `peer` holds nothing any more.
    pub(crate) fn release(&mut self, peer: Address) {
        if let Some((old, used)) = self.holders.remove(&peer) {
            self.order.remove(&(Reverse(old), used, peer));
            self.held -= old;
        }
    }

    /// From now on `peer` holds that many octets.
    fn set(&mut self, now: Time, peer: Address, octets: usize) {
        self.release(peer);
        self.holders.insert(peer, (octets, now));
        self.order.insert((Reverse(octets), now, peer));
        self.held += octets;
    }

    /// Forgets those that are gone.
    pub(crate) fn forget(&mut self, exists: impl Fn(Address) -> bool) {
        let gone: Vec<Address> = self.holders.keys().copied().filter(|peer| !exists(*peer)).collect();
        gone.into_iter().for_each(|peer| self.release(peer));
    }

    /// Whether `peer` may hold that many octets; if so, it does. Others may have to give all back for it, as `evict` is told, unless
    /// they hold less than it would. `used` tells when somebody made use of what it holds, `None` if it is gone.
    pub(crate) fn ask(
        &mut self,
        now: Time,
        peer: Address,
        octets: usize,
        used: impl Fn(Address) -> Option<Time>,
        mut evict: impl FnMut(Address),
    ) -> bool {
        if octets > self.cap {
            return false;
        }
        let own = self.holders.get(&peer).map_or(0, |(own, _)| *own);
        let mut looks = 0;
        while self.held - own + octets > self.cap {
            let mut candidates = self.order.iter();
            let Some(&(Reverse(theirs), noted, other)) = candidates.find(|(.., other)| *other != peer) else {
                return false;
            };
            if theirs < octets {
                return false;
            }
            looks += 1;
            let last = used(other);
            match last.filter(|used| *used > noted) {
                Some(used) if looks < LOOKS => self.set(used, other, theirs),
                _ => {
                    let busy = last.is_some_and(|used| now - used < super::recent::KEPT);
                    if busy && theirs == octets && self.keeps {
                        return false;
                    }
                    self.release(other);
                    evict(other);
                }
            }
        }
        self.set(now, peer, octets);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u64) -> Address {
        Address::from_u64(n)
    }

    fn at(ms: i64) -> Time {
        Time::from_ms(ms)
    }

    #[test]
    fn the_greediest_gives_back_first() {
        let mut budget = Budget::new(100, false);
        let mut evicted = Vec::new();
        for (n, octets) in [(1, 50), (2, 20), (3, 20)] {
            assert!(budget.ask(Time::EPOCH, peer(n), octets, |_| Some(Time::EPOCH), |_| unreachable!()));
        }
        assert!(budget.ask(at(5_000), peer(4), 20, |_| Some(at(5_000)), |other| evicted.push(other)));
        assert_eq!((evicted.as_slice(), budget.held()), ([peer(1)].as_slice(), 60));
        assert!(
            !budget.ask(at(5_000), peer(5), 90, |_| Some(Time::EPOCH), |_| unreachable!()),
            "nobody else holds so much"
        );
        assert!(!budget.ask(at(5_000), peer(5), 101, |_| Some(Time::EPOCH), |_| unreachable!()));
        budget.release(peer(2));
        assert_eq!(budget.held(), 40);
    }

    #[test]
    fn of_equals_the_one_idle_for_longest_gives_back() {
        let mut budget = Budget::new(1_000, false);
        for n in 0..100 {
            assert!(budget.ask(at(n), peer(n as u64), 10, |_| None, |_| unreachable!()));
        }
        // The first three were used again since.
        let used = |other: Address| Some(at(if other < peer(3) { 9_000 } else { other.to_u64() as i64 }));
        let mut evicted = Vec::new();
        assert!(budget.ask(at(10_000), peer(200), 10, used, |other| evicted.push(other)));
        assert_eq!((evicted.as_slice(), budget.held()), ([peer(3)].as_slice(), 1_000));
    }

    #[test]
    fn asking_costs_the_same_however_many_are_busy() {
        let mut budget = Budget::new(10_000, false);
        for n in 0..1_000 {
            assert!(budget.ask(Time::EPOCH, peer(n), 10, |_| None, |_| unreachable!()));
        }
        let looks = std::cell::Cell::new(0);
        let used = |_| {
            looks.set(looks.get() + 1);
            Some(at(60_000))
        };
        let mut evicted = 0;
        assert!(budget.ask(at(60_000), peer(5_000), 10, used, |_| evicted += 1));
        assert_eq!(evicted, 1);
        assert!(looks.get() <= LOOKS, "{}", looks.get());
    }
}
