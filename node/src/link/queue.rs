//! Packets that wait: outgoing ones for their destination's identity or path, incoming ones for their sender's identity or
//! credentials.
//!
//! Specification: VL1 behaviour, "sending by address, queues, WHOIS".

use protocol::packet::{Authentic, Sealed};
use protocol::{Address, Time};

use crate::ground::limits::{
    MAX_PARKED, MAX_PARKED_PER_PEER, MAX_SEND_QUEUE, MAX_SEND_QUEUE_PER_PEER, MAX_WAITING_COPIES,
    MAX_WAITING_COPIES_PER_PEER, QUEUE_LIFETIME,
};
use crate::ground::table::Table;
use crate::link::arrival::Manner;
use crate::link::path::PathKey;

/// A packet on its way out that waits.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// When it began to wait.
    pub(crate) since: Time,
    /// For whom it is.
    pub(crate) to: Address,
    /// Where the request came from that it answers, if it waits until that or another path has proven itself.
    pub(crate) via: Option<PathKey>,
    /// Whether it is a copy made by rules, which never takes the place of anything else.
    pub(crate) copy: bool,
    /// The packet, in clear.
    pub(crate) packet: Vec<u8>,
}

/// A packet on its way in that waits.
pub(crate) struct Parked {
    /// How it came.
    pub(crate) manner: Manner,
    /// The packet.
    pub(crate) state: State,
}

/// What a packet waits for, and what it is until then.
pub(crate) enum State {
    /// For its sender's identity.
    Sealed(Sealed<Vec<u8>>),
    /// For its sender's credentials.
    Opened(Authentic<Vec<u8>>),
}

impl Parked {
    fn source(&self) -> Address {
        match &self.state {
            State::Sealed(packet) => packet.source(),
            State::Opened(packet) => packet.source(),
        }
    }
}

/// A bounded waiting room, in which each peer has a share: who has most packets waiting makes room by the oldest of them.
#[derive(Debug)]
struct Room<T> {
    waiting: Table<u64, Address, T>,
}

impl<T> Room<T> {
    fn new(capacity: usize, per_peer: usize) -> Self {
        Self { waiting: Table::new(capacity, per_peer) }
    }

    /// Takes out what waits for `peer` (or for anybody), with the serials.
    fn take(&mut self, peer: Option<Address>) -> Vec<(u64, T)> {
        let keys: Vec<u64> = match peer {
            Some(peer) => self.waiting.of_share(peer).collect(),
            None => self.waiting.keys().copied().collect(),
        };
        keys.into_iter().filter_map(|key| Some((key, self.waiting.remove(&key)?))).collect()
    }
}

/// Packets on their way out, for their destination's identity or path. Copies have a small room of their own, from which nothing is
/// pushed out.
#[derive(Debug)]
pub(crate) struct SendQueue {
    packets: Room<Outgoing>,
    copies: Room<Outgoing>,
    /// Counts all that ever waited, so that they leave in the order in which they came.
    serial: u64,
    /// Copies that waited in vain since somebody last asked.
    lost_copies: u64,
}

impl Default for SendQueue {
    fn default() -> Self {
        Self {
            packets: Room::new(MAX_SEND_QUEUE, MAX_SEND_QUEUE_PER_PEER),
            copies: Room::new(MAX_WAITING_COPIES, MAX_WAITING_COPIES_PER_PEER),
            serial: 0,
            lost_copies: 0,
        }
    }
}

impl SendQueue {
    /// Lets a packet wait. A copy that finds no free place is lost.
    pub(crate) fn push(&mut self, item: Outgoing) {
        self.serial += 1;
        if !item.copy {
            self.packets.waiting.insert(item.since, item.to, self.serial, item);
        } else if self.has_room_for_copy(item.to) {
            self.copies.waiting.insert(item.since, item.to, self.serial, item);
        } else {
            self.lost_copies += 1;
        }
    }

    /// Whether a copy for `peer` could wait now.
    pub(crate) fn has_room_for_copy(&self, peer: Address) -> bool {
        let copies = &self.copies.waiting;
        copies.len() < MAX_WAITING_COPIES && copies.share_len(peer) < MAX_WAITING_COPIES_PER_PEER
    }

    /// How many copies have waited in vain since the last call.
    pub(crate) fn take_lost_copies(&mut self) -> u64 {
        std::mem::take(&mut self.lost_copies)
    }

    /// Takes out what waits for `peer` (or for anybody) and is not too old, in order.
    pub(crate) fn take(&mut self, now: Time, peer: Option<Address>) -> Vec<Outgoing> {
        let mut taken = self.packets.take(peer);
        taken.extend(self.copies.take(peer));
        taken.sort_unstable_by_key(|(serial, _)| *serial);
        let fresh = |waiting: &Outgoing| now - waiting.since < QUEUE_LIFETIME;
        self.lost_copies += taken.iter().filter(|(_, w)| w.copy && !fresh(w)).count() as u64;
        taken.into_iter().map(|(_, waiting)| waiting).filter(fresh).collect()
    }

    /// Whether something waits for `peer`.
    pub(crate) fn waits_for(&self, peer: Address) -> bool {
        self.packets.waiting.share_len(peer) + self.copies.waiting.share_len(peer) > 0
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.packets.waiting.is_empty() && self.copies.waiting.is_empty()
    }
}

/// Packets on their way in, for their sender's identity or credentials.
pub(crate) struct Parking {
    packets: Room<Parked>,
    serial: u64,
}

impl Default for Parking {
    fn default() -> Self {
        Self { packets: Room::new(MAX_PARKED, MAX_PARKED_PER_PEER), serial: 0 }
    }
}

impl Parking {
    /// Lets a packet wait, that began to do so at `since`.
    pub(crate) fn push(&mut self, since: Time, item: Parked) {
        self.serial += 1;
        self.packets.waiting.insert(since, item.source(), self.serial, item);
    }

    /// Takes out what waits for `peer` (or for anybody) and is not too old, in order.
    pub(crate) fn take(&mut self, now: Time, peer: Option<Address>) -> Vec<Parked> {
        let mut taken = self.packets.take(peer);
        taken.sort_unstable_by_key(|(serial, _)| *serial);
        let fresh = |parked: &Parked| parked.manner.since.is_none_or(|since| now - since < QUEUE_LIFETIME);
        taken.into_iter().map(|(_, parked)| parked).filter(fresh).collect()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.packets.waiting.is_empty()
    }
}

#[cfg(feature = "work")]
impl SendQueue {
    /// See `filling`.
    pub(crate) fn fill(&mut self, now: Time, peer: impl Fn(u64) -> Address) {
        let waiting = |to, copy| Outgoing { since: now, to, via: None, copy, packet: vec![0; 100] };
        self.packets.waiting.fill(now, |number| {
            let peer = peer(number / 16);
            (peer, !number, waiting(peer, false))
        });
        self.copies.waiting.fill(now, |number| {
            let peer = peer(number / 16);
            (peer, !number, waiting(peer, true))
        });
    }

    /// See `filling`: packets and copies.
    pub(crate) fn sizes(&self) -> [usize; 2] {
        [self.packets.waiting.len(), self.copies.waiting.len()]
    }
}

#[cfg(feature = "work")]
impl Parking {
    /// See `filling`.
    pub(crate) fn fill(&mut self, now: Time, peer: impl Fn(u64) -> Address, via: PathKey) {
        self.packets.waiting.fill(now, |number| {
            let peer = peer(number / 16);
            let mut octets = vec![0; 100];
            octets[13..18].copy_from_slice(&peer.to_bytes());
            let manner = Manner { via, ecn: 0, since: Some(now) };
            let state = Sealed::new(octets)
                .map_or_else(|_| unreachable!("a hundred octets are enough"), State::Sealed);
            (peer, !number, Parked { manner, state })
        });
    }

    /// See `filling`.
    pub(crate) fn len(&self) -> usize {
        self.packets.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(to: u64, copy: bool) -> Outgoing {
        Outgoing { since: Time::EPOCH, to: Address::from_u64(to), via: None, copy, packet: Vec::new() }
    }

    fn parked(from: u64) -> Parked {
        let mut octets = vec![0; 100];
        octets[13..18].copy_from_slice(&Address::from_u64(from).to_bytes());
        let remote = "192.0.2.1:9993".parse().unwrap();
        let via = PathKey { socket: crate::link::path::SocketId(0), remote };
        let state = State::Sealed(Sealed::new(octets).ok().unwrap());
        Parked { manner: Manner { via, ecn: 0, since: Some(Time::EPOCH) }, state }
    }

    #[test]
    fn copies_take_no_place_from_others() {
        let mut queue = SendQueue::default();
        for n in 0..200 {
            queue.push(waiting(1_000 + n % 5, true));
        }
        for n in 0..2 * MAX_SEND_QUEUE as u64 {
            queue.push(waiting(1 + n % 100, false));
        }
        assert_eq!(
            (queue.copies.waiting.len(), queue.packets.waiting.len()),
            (MAX_WAITING_COPIES, MAX_SEND_QUEUE)
        );
        assert_eq!(queue.take_lost_copies(), 200 - MAX_WAITING_COPIES as u64);
        assert_eq!(queue.take(Time::from_ms(1), None).len(), MAX_SEND_QUEUE + MAX_WAITING_COPIES);
        assert!(queue.is_empty());
    }

    #[test]
    fn one_target_of_copies_leaves_room_for_others() {
        let mut queue = SendQueue::default();
        for _ in 0..200 {
            queue.push(waiting(1_000, true));
        }
        assert_eq!(queue.copies.waiting.len(), MAX_WAITING_COPIES_PER_PEER);
        assert!(queue.has_room_for_copy(Address::from_u64(1_001)));
        queue.push(waiting(1_000, false));
        assert_eq!(queue.take(Time::EPOCH + QUEUE_LIFETIME, None).len(), 0);
        assert_eq!(queue.take_lost_copies(), 200);
    }

    #[test]
    fn a_flood_for_many_does_not_push_out_the_only_packet_of_one() {
        let mut queue = Parking::default();
        queue.push(Time::EPOCH, parked(7));
        for n in 0..10_000 {
            queue.push(Time::EPOCH, parked(1_000 + n % 40));
        }
        assert_eq!(queue.take(Time::EPOCH, Some(Address::from_u64(7))).len(), 1);
    }

    #[test]
    fn what_waits_leaves_in_order() {
        let mut queue = SendQueue::default();
        for (peer, copy) in [(1, false), (2, false), (1, true), (1, false)] {
            queue.push(waiting(peer, copy));
        }
        let copies: Vec<bool> =
            queue.take(Time::EPOCH, Some(Address::from_u64(1))).iter().map(|w| w.copy).collect();
        assert_eq!(copies, [false, true, false]);
    }
}
