//! Packets that wait: outgoing ones for their destination's identity or path, incoming ones for their sender's identity or
//! credentials.
//!
//! Specification: VL1 behaviour, "sending by address, queues, WHOIS".

use std::collections::VecDeque;

use protocol::Address;

use super::limits::{
    MAX_PARKED, MAX_PARKED_PER_PEER, MAX_SEND_QUEUE, MAX_SEND_QUEUE_PER_PEER, MAX_WAITING_COPIES,
    MAX_WAITING_COPIES_PER_PEER, QUEUE_LIFETIME,
};
use super::path::PathKey;

/// A waiting packet.
#[derive(Debug)]
pub(super) struct Waiting {
    /// When it began to wait.
    pub(super) since: i64,
    /// Whom it waits for: destination of an outgoing packet, source of an incoming one.
    pub(super) peer: Address,
    /// Where an incoming packet came from.
    pub(super) via: Option<PathKey>,
    /// Whether an incoming packet is already authenticated and decrypted.
    pub(super) open: bool,
    /// Whether an outgoing packet is a copy made by rules, which never takes the place of anything else.
    pub(super) copy: bool,
    /// The packet.
    pub(super) packet: Vec<u8>,
}

/// A bounded waiting room; the oldest makes room, and nobody may fill it alone. Copies have a few places for themselves while
/// there are free ones, and are the first to go.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    capacity: usize,
    per_peer: usize,
    copies: usize,
    /// Copies that waited in vain since somebody last asked.
    lost_copies: u64,
}

impl Queue {
    /// For outgoing packets.
    pub(super) fn sending() -> Self {
        Self::new(MAX_SEND_QUEUE, MAX_SEND_QUEUE_PER_PEER)
    }

    /// For incoming packets.
    pub(super) fn parking() -> Self {
        Self::new(MAX_PARKED, MAX_PARKED_PER_PEER)
    }

    fn new(capacity: usize, per_peer: usize) -> Self {
        Self { waiting: VecDeque::new(), capacity, per_peer, copies: 0, lost_copies: 0 }
    }

    /// Lets a packet wait. A copy that finds no free place is lost.
    pub(super) fn push(&mut self, item: Waiting) {
        if item.copy {
            if self.has_room_for_copy(item.peer) {
                self.copies += 1;
                self.waiting.push_back(item);
            } else {
                self.lost_copies += 1;
            }
            return;
        }
        let peers = self.waiting.iter().filter(|w| w.peer == item.peer && !w.copy).count();
        if peers >= self.per_peer {
            if let Some(oldest) = self.waiting.iter().position(|w| w.peer == item.peer && !w.copy) {
                self.waiting.remove(oldest);
            }
        } else if self.waiting.len() >= self.capacity {
            let copy = if self.copies > 0 { self.waiting.iter().position(|w| w.copy) } else { None };
            if copy.is_some() {
                self.copies -= 1;
                self.lost_copies += 1;
            }
            self.waiting.remove(copy.unwrap_or(0));
        }
        self.waiting.push_back(item);
    }

    /// Whether a copy for `peer` could wait now.
    pub(super) fn has_room_for_copy(&self, peer: Address) -> bool {
        self.copies < MAX_WAITING_COPIES
            && self.waiting.len() < self.capacity
            && self.waiting.iter().filter(|w| w.peer == peer && w.copy).count() < MAX_WAITING_COPIES_PER_PEER
    }

    /// How many copies have waited in vain since the last call.
    pub(super) fn take_lost_copies(&mut self) -> u64 {
        std::mem::take(&mut self.lost_copies)
    }

    /// Takes out what waits for `peer` (or for anybody) and is not too old, in order.
    pub(super) fn take(&mut self, now: i64, peer: Option<Address>) -> Vec<Waiting> {
        let lost = &mut self.lost_copies;
        self.waiting.retain(|w| {
            let fresh = now - w.since < QUEUE_LIFETIME;
            *lost += u64::from(w.copy && !fresh);
            fresh
        });
        let all = std::mem::take(&mut self.waiting);
        let (taken, left): (VecDeque<_>, VecDeque<_>) =
            all.into_iter().partition(|w| peer.is_none_or(|p| p == w.peer));
        self.waiting = left;
        self.copies = self.waiting.iter().filter(|w| w.copy).count();
        taken.into()
    }

    /// Whether something waits for `peer`.
    pub(super) fn waits_for(&self, peer: Address) -> bool {
        self.waiting.iter().any(|w| w.peer == peer)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(peer: u64, copy: bool) -> Waiting {
        Waiting { since: 0, peer: Address::from_u64(peer), via: None, open: false, copy, packet: Vec::new() }
    }

    #[test]
    fn copies_take_no_place_from_others_and_give_theirs() {
        let mut queue = Queue::sending();
        for n in 0..200 {
            queue.push(waiting(1_000 + n % 5, true));
        }
        assert_eq!((queue.copies, queue.waiting.len()), (MAX_WAITING_COPIES, MAX_WAITING_COPIES));
        for n in 0..MAX_SEND_QUEUE as u64 {
            queue.push(waiting(1 + n % 100, false));
        }
        assert_eq!((queue.copies, queue.waiting.len()), (0, MAX_SEND_QUEUE));
        assert!(queue.waiting.iter().all(|w| !w.copy));
        queue.push(waiting(7, true));
        assert_eq!((queue.copies, queue.waiting.len()), (0, MAX_SEND_QUEUE));
        assert_eq!(queue.take_lost_copies(), 201);
        assert_eq!(queue.take(1, None).len(), MAX_SEND_QUEUE);
    }

    #[test]
    fn one_target_of_copies_leaves_room_for_others() {
        let mut queue = Queue::sending();
        for _ in 0..200 {
            queue.push(waiting(1_000, true));
        }
        assert_eq!(queue.copies, MAX_WAITING_COPIES_PER_PEER);
        assert!(queue.has_room_for_copy(Address::from_u64(1_001)));
        queue.push(waiting(1_000, false));
        assert_eq!(queue.take(QUEUE_LIFETIME, None).len(), 0);
        assert_eq!((queue.copies, queue.take_lost_copies()), (0, 200));
    }
}
