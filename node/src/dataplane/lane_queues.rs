//! Where the core lays what lanes are to do, sorted by lane. All frames of a flow go to the same lane and stay in order.

use std::sync::Arc;

use protocol::NetworkId;
use protocol::packet::SessionKeys;

use super::flow::{Flows, share};
use super::lane_batch::LaneBatch;
use super::sending::{Amount, Parts, SendPlan};
use super::vnet::{Offloads, SUPER_FRAME_ROOM};

/// Buffers of super-frames kept for later.
const MAX_SPARE: usize = 64;

/// A load for each lane, growing.
#[derive(Debug)]
pub struct LaneQueues {
    batches: Vec<LaneBatch>,
    leaving: Flows,
    arriving: Flows,
    /// The lane whose latest frame is a super-frame that still lies where it came.
    awaiting: Option<usize>,
    spare: Vec<Box<[u8]>>,
}

impl LaneQueues {
    /// For that many lanes, at least one. `key`: see [`Flows::new`].
    pub fn new(lanes: usize, key: u64) -> Self {
        Self {
            batches: (0..lanes.max(1)).map(|_| LaneBatch::default()).collect(),
            leaving: Flows::new(key),
            arriving: Flows::new(key),
            awaiting: None,
            spare: Vec::new(),
        }
    }

    /// Lays frames for a member to those of their flow. Of a super-frame only the description is kept; its memory is taken over as
    /// soon as nobody looks into it any more ([`Self::take_over`]). `first`: see [`SendPlan::carry_out`].
    pub fn send(
        &mut self,
        ethertype: u16,
        orders: &SendPlan<&Arc<SessionKeys>>,
        first: u64,
        parts: &Parts<'_>,
    ) -> Amount {
        let payload = match parts {
            Parts::One(payload) => payload,
            Parts::Cut(cut) => cut.body(),
        };
        let lane = share(self.leaving.of(ethertype, payload), self.batches.len());
        let amount = self.batches[lane].send(orders, first, parts);
        if amount.packets > 0 && matches!(parts, Parts::Cut(_)) {
            self.awaiting = Some(lane);
        }
        amount
    }

    /// If the frame that begins at `start` of this memory became part of a load, takes the memory over and puts other memory into
    /// its place, of [`SUPER_FRAME_ROOM`] octets.
    pub fn take_over(&mut self, memory: &mut Box<[u8]>, start: usize) {
        if let Some(lane) = self.awaiting.take() {
            let other = self.spare.pop().unwrap_or_else(|| vec![0; SUPER_FRAME_ROOM].into());
            self.batches[lane].give(std::mem::replace(memory, other), start);
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
        let lane = share(self.arriving.of(ethertype, payload), self.batches.len());
        self.batches[lane].deliver(network, takes, [&dest, &source, &ethertype.to_be_bytes()], payload);
    }

    /// Whether some lane should not wait for more.
    pub fn is_due(&self) -> bool {
        self.batches.iter().any(LaneBatch::is_enough)
    }

    /// The load of each lane, to be taken away.
    pub fn batches(&mut self) -> &mut [LaneBatch] {
        &mut self.batches
    }

    /// Empties a load that is done, and keeps its buffers of super-frames.
    pub fn recycle(&mut self, load: &mut LaneBatch) {
        load.clear();
        for buffer in load.memory() {
            if self.spare.len() < MAX_SPARE && buffer.len() == SUPER_FRAME_ROOM {
                self.spare.push(buffer);
            }
        }
    }
}
