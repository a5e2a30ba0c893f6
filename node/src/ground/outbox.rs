//! What the core wants done to the outside world, collected in buffers that are used again and again.
//!
//! About frames the core only decides. Who carries that out, cutting, protecting and joining, is the outbox's business: at once and in
//! line, or lanes, later.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::NetworkId;
use protocol::packet::SessionKeys;
use rand::Rng;

use super::event::{Errand, Event};
use crate::dataplane::coalesce::FrameBatch;
use crate::dataplane::datagrams::DatagramBatch;
use crate::dataplane::lane_queues::LaneQueues;
use crate::dataplane::sending::{Amount, Parts, SendPlan};
use crate::dataplane::vnet::Offloads;

/// Who carries out what was decided about frames.
#[derive(Debug, Default)]
pub enum Carrier {
    /// Whoever decides, at once: what comes of it lies in the batches.
    #[default]
    Inline,
    /// Lanes, when they are handed it.
    Lanes(LaneQueues),
}

/// Everything the core has produced since it was last drained.
#[derive(Debug, Default)]
pub struct Outbox {
    /// UDP datagrams to send.
    pub datagrams: DatagramBatch,
    /// Ethernet frames to write into virtual ports.
    pub frames: FrameBatch,
    /// Frames of both directions, if lanes carry them, in place of most datagrams and frames above. What is above goes first.
    pub carrier: Carrier,
    /// What others are to find out or to answer, in order.
    pub errands: VecDeque<Errand>,
    /// Everything else, in order.
    pub events: VecDeque<Event>,
}

impl Outbox {
    /// Sends frames for a member. `first` and `rng`: see [`SendPlan::carry_out`].
    #[inline]
    pub(crate) fn send(
        &mut self,
        ethertype: u16,
        orders: &SendPlan<&Arc<SessionKeys>>,
        first: u64,
        rng: &mut impl Rng,
        parts: &Parts<'_>,
    ) -> Amount {
        match &mut self.carrier {
            Carrier::Inline => orders.carry_out(parts, first, rng, &mut self.datagrams),
            Carrier::Lanes(queues) => queues.send(ethertype, orders, first, parts),
        }
    }

    /// Delivers a frame to the port of a network, which takes that much unfinished.
    #[inline]
    pub(crate) fn deliver(
        &mut self,
        network: NetworkId,
        takes: Offloads,
        (dest, source): ([u8; 6], [u8; 6]),
        ethertype: u16,
        payload: &[u8],
    ) {
        match &mut self.carrier {
            Carrier::Inline => self.frames.push_joining(network, takes, dest, source, ethertype, payload),
            Carrier::Lanes(queues) => queues.deliver(network, takes, (dest, source), ethertype, payload),
        }
    }

    /// Takes over the memory of a super-frame that lanes are to cut, and puts other memory into its place.
    #[inline]
    pub(crate) fn take_over(&mut self, memory: &mut Box<[u8]>, start: usize) {
        if let Carrier::Lanes(queues) = &mut self.carrier {
            queues.take_over(memory, start);
        }
    }

    /// What lanes are to be handed.
    pub fn queues(&mut self) -> Option<&mut LaneQueues> {
        match &mut self.carrier {
            Carrier::Inline => None,
            Carrier::Lanes(queues) => Some(queues),
        }
    }

    /// Whether so much is to leave, in octets, or to be handed to a lane, that it should go before more comes.
    pub fn is_burst(&self, octets: usize) -> bool {
        self.datagrams.buffer().len() >= octets || self.is_due()
    }

    /// Whether some lane should not wait for more.
    pub fn is_due(&self) -> bool {
        matches!(&self.carrier, Carrier::Lanes(queues) if queues.is_due())
    }
}
