//! Packets that wait: outgoing ones for their destination's identity or path, incoming ones for their sender's identity or
//! credentials.
//!
//! Specification: VL1 behaviour, "sending by address, queues, WHOIS".

use std::collections::VecDeque;

use protocol::Address;

use super::limits::{
    MAX_PARKED, MAX_PARKED_PER_PEER, MAX_SEND_QUEUE, MAX_SEND_QUEUE_PER_PEER, QUEUE_LIFETIME,
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
    /// The packet.
    pub(super) packet: Vec<u8>,
}

/// A bounded waiting room; the oldest makes room, and nobody may fill it alone.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    capacity: usize,
    per_peer: usize,
}

impl Queue {
    /// For outgoing packets.
    pub(super) fn sending() -> Self {
        Self { waiting: VecDeque::new(), capacity: MAX_SEND_QUEUE, per_peer: MAX_SEND_QUEUE_PER_PEER }
    }

    /// For incoming packets.
    pub(super) fn parking() -> Self {
        Self { waiting: VecDeque::new(), capacity: MAX_PARKED, per_peer: MAX_PARKED_PER_PEER }
    }

    /// Lets a packet wait.
    pub(super) fn push(&mut self, item: Waiting) {
        let peers = self.waiting.iter().filter(|w| w.peer == item.peer).count();
        if peers >= self.per_peer {
            if let Some(oldest) = self.waiting.iter().position(|w| w.peer == item.peer) {
                self.waiting.remove(oldest);
            }
        } else if self.waiting.len() >= self.capacity {
            self.waiting.pop_front();
        }
        self.waiting.push_back(item);
    }

    /// Takes out what waits for `peer` (or for anybody) and is not too old, in order.
    pub(super) fn take(&mut self, now: i64, peer: Option<Address>) -> Vec<Waiting> {
        self.waiting.retain(|w| now - w.since < QUEUE_LIFETIME);
        let all = std::mem::take(&mut self.waiting);
        let (taken, left): (VecDeque<_>, VecDeque<_>) =
            all.into_iter().partition(|w| peer.is_none_or(|p| p == w.peer));
        self.waiting = left;
        taken.into()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
