//! Replies we are waiting for: only an OK that answers one of our own packets counts.
//!
//! Specification: VL1 behaviour, "expected replies". The reference remembers half of the packet ID and nothing else; we keep
//! the whole ID, whom we asked, and for how long, so that one peer cannot answer for another.

use std::collections::{BTreeMap, VecDeque};

use protocol::Address;

use super::limits::{EXPECTED_LIFETIME, MAX_EXPECTED};

/// The requests that may still be answered.
#[derive(Debug, Default)]
pub(super) struct Expected {
    by_id: BTreeMap<u64, (Address, i64)>,
    order: VecDeque<(i64, u64)>,
}

impl Expected {
    /// Remembers that packet `id` (as on the wire) was sent to `peer` at `now`.
    pub(super) fn insert(&mut self, now: i64, id: u64, peer: Address) {
        while let Some(&(sent, old)) = self.order.front() {
            if self.order.len() < MAX_EXPECTED && now - sent < EXPECTED_LIFETIME {
                break;
            }
            self.order.pop_front();
            self.by_id.remove(&old);
        }
        self.by_id.insert(id, (peer, now));
        self.order.push_back((now, id));
    }

    /// When packet `id` was sent to `peer`, if its answer is still welcome. Not consumed: one request may have several answers.
    pub(super) fn sent_at(&self, now: i64, id: u64, peer: Address) -> Option<i64> {
        self.by_id
            .get(&id)
            .filter(|(to, sent)| *to == peer && now - sent < EXPECTED_LIFETIME)
            .map(|(_, sent)| *sent)
    }
}
