//! What a lane is to do: frames of its flows, decided about by the core, in both directions.
//!
//! Frames on their way out are small ones, one behind the other in a common buffer, and super-frames, whose buffers change hands
//! without being copied. What every frame needs besides its octets ([`SendPlan`]) is kept once for neighbours that share it.

use std::ops::Range;
use std::sync::Arc;

use protocol::NetworkId;
use protocol::packet::SessionKeys;
use rand::Rng;

use super::coalesce::FrameBatch;
use super::datagrams::DatagramBatch;
use super::headers::{ETHERNET, u16_at};
use super::segment::Cutting;
use super::sending::{Amount, Parts, SendPlan};
use super::vnet::Offloads;

/// Octets of a load that is worth handing over at once: outgoing ones, about a super-frame …
const ENOUGH_OUT: usize = 1 << 16;
/// … and incoming ones: more than one super-frame, which this would cut short.
const ENOUGH_IN: usize = 4 << 16;
/// Octets and frames of a load that is not worth waking anybody.
const SMALL: (usize, usize) = (8 << 10, 8);

/// Frames for one lane. The buffers are used again and again.
#[derive(Debug, Default)]
pub struct LaneBatch {
    bytes: Vec<u8>,
    /// Memory of super-frames that are done.
    memory: Vec<Box<[u8]>>,
    orders: Vec<SendPlan<Arc<SessionKeys>>>,
    outgoing: Vec<Outgoing>,
    incoming: Vec<Incoming>,
    octets_out: usize,
    octets_in: usize,
    packets: u64,
}

/// A frame, or a super-frame, on its way to a member.
#[derive(Debug)]
struct Outgoing {
    orders: usize,
    /// The first of its numbers.
    first: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    /// A payload in the common buffer.
    One(Range<usize>),
    /// That many octets of a super-frame, cut in this way; where it lies and begins, once that is ours.
    Cut(Cutting, usize, Option<(Box<[u8]>, usize)>),
}

/// A frame on its way to a port, with its Ethernet header in the common buffer.
#[derive(Debug)]
struct Incoming {
    network: NetworkId,
    takes: Offloads,
    range: Range<usize>,
}

impl LaneBatch {
    /// Adds frames for a member. The memory of a super-frame is given afterwards: [`Self::give`].
    pub(super) fn send(
        &mut self,
        orders: &SendPlan<&Arc<SessionKeys>>,
        first: u64,
        parts: &Parts<'_>,
    ) -> Amount {
        let amount = orders.amount(parts);
        if amount.packets > 0 {
            if !self.orders.last().is_some_and(|last| orders.is(last)) {
                self.orders.push(orders.kept());
            }
            let what = match parts {
                Parts::One(payload) => What::One(self.lay(&[payload])),
                Parts::Cut(cut) => What::Cut(cut.how(), ETHERNET + cut.body().len(), None),
            };
            self.outgoing.push(Outgoing { orders: self.orders.len() - 1, first, what });
            self.octets_out += amount.octets as usize;
            self.packets += amount.packets;
        }
        amount
    }

    /// Takes over the memory in which the frame that was added last, a super-frame, begins at `start`.
    pub(super) fn give(&mut self, memory: Box<[u8]>, start: usize) {
        match self.outgoing.last_mut() {
            Some(Outgoing { what: What::Cut(.., place), .. }) => *place = Some((memory, start)),
            _ => self.memory.push(memory),
        }
    }

    /// The memory of super-frames that are done.
    pub(super) fn memory(&mut self) -> impl Iterator<Item = Box<[u8]>> {
        self.memory.drain(..)
    }

    /// Adds a frame for a port: its Ethernet header and its payload.
    pub(super) fn deliver(
        &mut self,
        network: NetworkId,
        takes: Offloads,
        header: [&[u8]; 3],
        payload: &[u8],
    ) {
        let [dest, source, ethertype] = header;
        let range = self.lay(&[dest, source, ethertype, payload]);
        self.octets_in += range.len();
        self.packets += 1;
        self.incoming.push(Incoming { network, takes, range });
    }

    fn lay(&mut self, parts: &[&[u8]]) -> Range<usize> {
        let start = self.bytes.len();
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        start..self.bytes.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.outgoing.is_empty() && self.incoming.is_empty()
    }

    /// Whether it should be handed over without waiting for more.
    pub fn is_enough(&self) -> bool {
        self.octets_out >= ENOUGH_OUT || self.octets_in >= ENOUGH_IN
    }

    /// Whether doing it takes less than waking somebody who does it.
    pub fn is_small(&self) -> bool {
        self.octets_out + self.octets_in <= SMALL.0 && self.packets <= SMALL.1 as u64
    }

    /// How many frames it is, segments counted one by one.
    pub fn frames(&self) -> u64 {
        self.packets
    }

    /// Protects all that leaves, in order, and hands it to `send` in bursts of about a super-frame.
    pub fn send_all(
        &self,
        rng: &mut impl Rng,
        datagrams: &mut DatagramBatch,
        mut send: impl FnMut(&DatagramBatch),
    ) {
        datagrams.clear();
        for Outgoing { orders, first, what } in &self.outgoing {
            let orders = &self.orders[*orders];
            match what {
                What::One(range) => {
                    orders.carry_out(&Parts::One(&self.bytes[range.clone()]), *first, rng, datagrams);
                }
                What::Cut(how, length, place) => {
                    let lying = place.as_ref();
                    let body = lying.and_then(|(memory, start)| memory.get(start + ETHERNET..start + length));
                    if let Some(body) = body {
                        orders.carry_out(&Parts::Cut(&how.of(body)), *first, rng, datagrams);
                    }
                }
            }
            if datagrams.buffer().len() >= ENOUGH_OUT {
                send(datagrams);
                datagrams.clear();
            }
        }
        if !datagrams.is_empty() {
            send(datagrams);
            datagrams.clear();
        }
    }

    /// Joins all that came in, in order, into `frames`.
    pub fn join_all(&self, frames: &mut FrameBatch) {
        for Incoming { network, takes, range } in &self.incoming {
            let frame = &self.bytes[range.clone()];
            let (Some((dest, rest)), ethertype) = (frame.split_first_chunk(), u16_at(frame, 12)) else {
                continue;
            };
            let Some((source, _)) = rest.split_first_chunk() else { continue };
            frames.push_joining(*network, *takes, *dest, *source, ethertype, &frame[ETHERNET..]);
        }
    }

    /// Forgets everything; buffers stay allocated.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.orders.clear();
        for Outgoing { what, .. } in self.outgoing.drain(..) {
            if let What::Cut(.., Some((memory, _))) = what {
                self.memory.push(memory);
            }
        }
        self.incoming.clear();
        (self.octets_out, self.octets_in, self.packets) = (0, 0, 0);
    }
}
