//! Where the core lays what lanes are to do, sorted by lane. All frames of a flow go to the same lane and stay in order.

use std::sync::Arc;

use protocol::NetworkId;
use protocol::packet::SessionKeys;

use super::flow::{Flows, share};
use super::load::Load;
use super::sending::{Amount, Orders, Parts};
use super::vnet::{Offloads, SUPER_FRAME_ROOM};

/// Buffers of super-frames kept for later.
const MAX_SPARE: usize = 64;

/// A load for each lane, growing.
#[derive(Debug)]
pub struct Staging {
    loads: Vec<Load>,
    leaving: Flows,
    arriving: Flows,
    /// The lane that waits for the buffer of a super-frame.
    awaiting: Option<usize>,
    spare: Vec<Box<[u8]>>,
}

impl Staging {
    /// For that many lanes, at least one. `key`: see [`Flows::new`].
    pub fn new(lanes: usize, key: u64) -> Self {
        Self {
            loads: (0..lanes.max(1)).map(|_| Load::default()).collect(),
            leaving: Flows::new(key),
            arriving: Flows::new(key),
            awaiting: None,
            spare: Vec::new(),
        }
    }

    /// Lays frames for a member to those of their flow. Of a super-frame only the description is kept: whoever has its buffer
    /// gives it right afterwards ([`Self::adopt`]), or it is lost. `first`: see [`Orders::carry_out`].
    pub fn send(
        &mut self,
        ethertype: u16,
        orders: &Orders<&Arc<SessionKeys>>,
        first: u64,
        parts: &Parts<'_>,
    ) -> Amount {
        self.fill_gap(|| (Box::default(), 0));
        let payload = match parts {
            Parts::One(payload) => payload,
            Parts::Cut(cut) => cut.body(),
        };
        let lane = share(self.leaving.of(ethertype, payload), self.loads.len());
        let amount = self.loads[lane].send(orders, first, parts);
        if amount.packets > 0 && matches!(parts, Parts::Cut(_)) {
            self.awaiting = Some(lane);
        }
        amount
    }

    /// If the frame that begins at `start` of this buffer became part of a load, takes the buffer over and puts another one into
    /// its place, of [`SUPER_FRAME_ROOM`] octets.
    pub fn adopt(&mut self, buffer: &mut Box<[u8]>, start: usize) {
        if self.awaiting.is_some() {
            let other = self.spare.pop().unwrap_or_else(|| vec![0; SUPER_FRAME_ROOM].into());
            self.fill_gap(|| (std::mem::replace(buffer, other), start));
        }
    }

    fn fill_gap(&mut self, buffer: impl FnOnce() -> (Box<[u8]>, usize)) {
        if let Some(lane) = self.awaiting.take() {
            let (buffer, start) = buffer();
            self.loads[lane].give(buffer, start);
        }
    }

    /// Lays a frame for a port to those of its flow.
    pub fn deliver(
        &mut self,
        network: NetworkId,
        takes: Offloads,
        (dest, source): ([u8; 6], [u8; 6]),
        ethertype: u16,
        payload: &[u8],
    ) {
        let lane = share(self.arriving.of(ethertype, payload), self.loads.len());
        self.loads[lane].deliver(network, takes, [&dest, &source, &ethertype.to_be_bytes()], payload);
    }

    /// Whether some lane should not wait for more.
    pub fn is_due(&self) -> bool {
        self.loads.iter().any(Load::is_enough)
    }

    /// The load of each lane, to be taken away.
    pub fn loads(&mut self) -> &mut [Load] {
        &mut self.loads
    }

    /// Empties a load that is done, and keeps its buffers of super-frames.
    pub fn recycle(&mut self, load: &mut Load) {
        load.clear();
        for buffer in load.supers() {
            if self.spare.len() < MAX_SPARE && buffer.len() == SUPER_FRAME_ROOM {
                self.spare.push(buffer);
            }
        }
    }
}
