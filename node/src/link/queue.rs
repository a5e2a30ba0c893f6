//! Packets that wait: outgoing ones for their destination's identity or path, incoming ones for their sender's identity or
//! credentials.
//!
//! Specification: VL1 behaviour, "sending by address, queues, WHOIS".

use protocol::Address;

use crate::ground::limits::{
    MAX_PARKED, MAX_PARKED_PER_PEER, MAX_SEND_QUEUE, MAX_SEND_QUEUE_PER_PEER, MAX_WAITING_COPIES,
    MAX_WAITING_COPIES_PER_PEER, QUEUE_LIFETIME,
};
use crate::ground::table::Table;
use crate::link::path::PathKey;

/// A waiting packet.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// When it began to wait.
    pub(crate) since: i64,
    /// Whom it waits for: destination of an outgoing packet, source of an incoming one.
    pub(crate) peer: Address,
    /// Where an incoming packet came from; of an outgoing one, where its request came from, if it waits until that or another path
    /// has proven itself.
    pub(crate) via: Option<PathKey>,
    /// ECN bits of the datagrams an incoming packet came in.
    pub(crate) ecn: u8,
    /// Whether an incoming packet is already authenticated and decrypted.
    pub(crate) open: bool,
    /// Whether an outgoing packet is a copy made by rules, which never takes the place of anything else.
    pub(crate) copy: bool,
    /// The packet.
    pub(crate) packet: Vec<u8>,
}

/// A bounded waiting room, in which each peer has a share: who has most packets waiting makes room by the oldest of them. Copies have
/// a small room of their own, from which nothing is pushed out.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Table<u64, Address, Waiting>,
    copies: Table<u64, Address, Waiting>,
    /// Counts all that ever waited, so that they leave in the order in which they came.
    serial: u64,
    /// Copies that waited in vain since somebody last asked.
    lost_copies: u64,
}

impl Queue {
    /// For outgoing packets.
    pub(crate) fn sending() -> Self {
        Self::new(MAX_SEND_QUEUE, MAX_SEND_QUEUE_PER_PEER)
    }

    /// For incoming packets.
    pub(crate) fn parking() -> Self {
        Self::new(MAX_PARKED, MAX_PARKED_PER_PEER)
    }

    fn new(capacity: usize, per_peer: usize) -> Self {
        Self {
            waiting: Table::new(capacity, per_peer),
            copies: Table::new(MAX_WAITING_COPIES, MAX_WAITING_COPIES_PER_PEER),
            serial: 0,
            lost_copies: 0,
        }
    }

    /// Lets a packet wait. A copy that finds no free place is lost.
    pub(crate) fn push(&mut self, item: Waiting) {
        self.serial += 1;
        if !item.copy {
            self.waiting.insert(item.since, item.peer, self.serial, item);
        } else if self.has_room_for_copy(item.peer) {
            self.copies.insert(item.since, item.peer, self.serial, item);
        } else {
            self.lost_copies += 1;
        }
    }

    /// Whether a copy for `peer` could wait now.
    pub(crate) fn has_room_for_copy(&self, peer: Address) -> bool {
        self.copies.len() < MAX_WAITING_COPIES && self.copies.share_len(peer) < MAX_WAITING_COPIES_PER_PEER
    }

    /// How many copies have waited in vain since the last call.
    pub(crate) fn take_lost_copies(&mut self) -> u64 {
        std::mem::take(&mut self.lost_copies)
    }

    /// Takes out what waits for `peer` (or for anybody) and is not too old, in order.
    pub(crate) fn take(&mut self, now: i64, peer: Option<Address>) -> Vec<Waiting> {
        let mut taken: Vec<(u64, Waiting)> = Vec::new();
        for room in [&mut self.waiting, &mut self.copies] {
            let keys: Vec<u64> = match peer {
                Some(peer) => room.of_share(peer).collect(),
                None => room.keys().copied().collect(),
            };
            taken.extend(keys.into_iter().filter_map(|key| Some((key, room.remove(&key)?))));
        }
        taken.sort_unstable_by_key(|(serial, _)| *serial);
        let fresh = |waiting: &Waiting| now - waiting.since < QUEUE_LIFETIME;
        self.lost_copies += taken.iter().filter(|(_, w)| w.copy && !fresh(w)).count() as u64;
        taken.into_iter().map(|(_, waiting)| waiting).filter(fresh).collect()
    }

    /// Whether something waits for `peer`.
    pub(crate) fn waits_for(&self, peer: Address) -> bool {
        self.waiting.share_len(peer) + self.copies.share_len(peer) > 0
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.copies.is_empty()
    }
}

#[cfg(feature = "work")]
impl Queue {
    /// See `filling`.
    pub(crate) fn fill(&mut self, now: i64, peer: impl Fn(u64) -> Address, via: Option<PathKey>) {
        let waiting =
            |peer, copy| Waiting { since: now, peer, via, ecn: 0, open: false, copy, packet: vec![0; 100] };
        self.waiting.fill(now, |number| {
            let peer = peer(number / 16);
            (peer, !number, waiting(peer, false))
        });
        self.copies.fill(now, |number| {
            let peer = peer(number / 16);
            (peer, !number, waiting(peer, true))
        });
    }

    /// See `filling`: packets and copies.
    pub(crate) fn sizes(&self) -> [usize; 2] {
        [self.waiting.len(), self.copies.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(peer: u64, copy: bool) -> Waiting {
        Waiting {
            since: 0,
            peer: Address::from_u64(peer),
            via: None,
            ecn: 0,
            open: false,
            copy,
            packet: Vec::new(),
        }
    }

    #[test]
    fn copies_take_no_place_from_others() {
        let mut queue = Queue::sending();
        for n in 0..200 {
            queue.push(waiting(1_000 + n % 5, true));
        }
        for n in 0..2 * MAX_SEND_QUEUE as u64 {
            queue.push(waiting(1 + n % 100, false));
        }
        assert_eq!((queue.copies.len(), queue.waiting.len()), (MAX_WAITING_COPIES, MAX_SEND_QUEUE));
        assert_eq!(queue.take_lost_copies(), 200 - MAX_WAITING_COPIES as u64);
        assert_eq!(queue.take(1, None).len(), MAX_SEND_QUEUE + MAX_WAITING_COPIES);
        assert!(queue.is_empty());
    }

    #[test]
    fn one_target_of_copies_leaves_room_for_others() {
        let mut queue = Queue::sending();
        for _ in 0..200 {
            queue.push(waiting(1_000, true));
        }
        assert_eq!(queue.copies.len(), MAX_WAITING_COPIES_PER_PEER);
        assert!(queue.has_room_for_copy(Address::from_u64(1_001)));
        queue.push(waiting(1_000, false));
        assert_eq!(queue.take(QUEUE_LIFETIME, None).len(), 0);
        assert_eq!(queue.take_lost_copies(), 200);
    }

    #[test]
    fn a_flood_for_many_does_not_push_out_the_only_packet_of_one() {
        let mut queue = Queue::parking();
        queue.push(waiting(7, false));
        for n in 0..10_000 {
            queue.push(waiting(1_000 + n % 40, false));
        }
        assert_eq!(queue.take(0, Some(Address::from_u64(7))).len(), 1);
    }

    #[test]
    fn what_waits_leaves_in_order() {
        let mut queue = Queue::sending();
        for (peer, copy) in [(1, false), (2, false), (1, true), (1, false)] {
            queue.push(waiting(peer, copy));
        }
        let copies: Vec<bool> = queue.take(0, Some(Address::from_u64(1))).iter().map(|w| w.copy).collect();
        assert_eq!(copies, [false, true, false]);
    }
}
