//! Carrying out what the core decided about frames for one member: cutting, checksums, protecting, fragments. Everything that
//! costs time by the octet happens here, and nothing is looked up: whoever has the [`SendPlan`] and the octets can do it.

use std::net::SocketAddr;
use std::sync::Arc;

use protocol::packet::{self, FRAGMENT_HEADER_LEN, HEADER_LEN, SessionKeys, Split, Suite};
use protocol::verbs::frame;
use rand::{Rng, RngExt};

use super::datagrams::{DatagramBatch, SocketId};
use super::ecn;
use super::segment::Cut;

/// Octets before the payload of a FRAME: packet header, network, ethertype.
pub const HEAD: usize = HEADER_LEN + frame::OVERHEAD;

/// How FRAMEs for one member of one network leave. `K` is a reference to the keys, or a share in them to take along.
#[derive(Clone, Debug)]
pub struct SendPlan<K> {
    /// What every packet begins with; the packet ID is still missing.
    pub head: [u8; HEAD],
    /// The keys of sender and receiver.
    pub keys: K,
    /// How packets are protected …
    pub suite: Suite,
    /// … unless they take a trusted path, by its ID.
    pub trusted: Option<u64>,
    /// Our socket.
    pub socket: SocketId,
    /// Their endpoint.
    pub remote: SocketAddr,
    /// Octets of a datagram at most (UDP payload).
    pub mtu: usize,
    /// ECN bits of the datagrams.
    pub ecn: u8,
}

/// Payloads (what stands behind the Ethernet header) of frames that differ in nothing else.
#[derive(Clone, Copy, Debug)]
pub enum Parts<'a> {
    /// One frame.
    One(&'a [u8]),
    /// The segments of a super-frame.
    Cut(&'a Cut<'a>),
}

/// What leaves.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Amount {
    /// Packets.
    pub packets: u64,
    /// Octets of their datagrams together.
    pub octets: u64,
    /// Frames too long for any receiver, which are not sent.
    pub too_long: u64,
}

impl Parts<'_> {
    /// How many frames there are.
    pub fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Cut(cut) => cut.count(),
        }
    }

    /// Octets of one payload.
    fn length(&self, index: usize) -> usize {
        match self {
            Self::One(payload) => payload.len(),
            Self::Cut(cut) => cut.length(index),
        }
    }

    /// Octets of the longest payload.
    pub fn longest(&self) -> usize {
        match self {
            Self::One(payload) => payload.len(),
            Self::Cut(cut) => cut.longest(),
        }
    }

    /// ECN bits of the frames.
    pub fn ecn(&self, ethertype: u16) -> u8 {
        let headers = match self {
            Self::One(payload) => payload,
            Self::Cut(cut) => cut.body(),
        };
        ecn::of(ethertype, headers)
    }

    /// Appends one payload.
    pub fn write(&self, index: usize, to: &mut Vec<u8>) {
        match self {
            Self::One(payload) => to.extend_from_slice(payload),
            Self::Cut(cut) => cut.write(index, to),
        }
    }
}

impl<K: AsRef<SessionKeys>> SendPlan<K> {
    /// What [`Self::carry_out`] will send.
    pub fn amount(&self, parts: &Parts<'_>) -> Amount {
        let longest = packet::max_packet(self.mtu);
        let mut amount = Amount::default();
        for index in 0..parts.count() {
            let length = HEAD + parts.length(index);
            if length > longest {
                amount.too_long += 1;
                continue;
            }
            amount.packets += 1;
            let datagrams = packet::pieces(length, self.mtu, Split::Halves).len();
            amount.octets += (length + (datagrams - 1) * FRAGMENT_HEADER_LEN) as u64;
        }
        amount
    }

    /// Whether each packet takes a number, which goes over the wire as ciphertext. Others have a packet ID that anybody reads.
    pub fn are_numbered(&self) -> bool {
        self.suite == Suite::AesGmacSiv && self.trusted.is_none()
    }

    /// Writes all frames where their datagrams leave from, each protected under the next number from `first` on, or, if they are
    /// not numbered, under a packet ID that `rng` draws.
    pub fn carry_out(
        &self,
        parts: &Parts<'_>,
        first: u64,
        rng: &mut impl Rng,
        datagrams: &mut DatagramBatch,
    ) -> Amount {
        let numbered = self.are_numbered();
        let longest = packet::max_packet(self.mtu);
        let keys = self.keys.as_ref();
        let mut amount = Amount::default();
        for index in 0..parts.count() {
            let length = HEAD + parts.length(index);
            if length > longest {
                amount.too_long += 1;
                continue;
            }
            let packet_id = if numbered { first + index as u64 } else { rng.random() };
            let octets =
                datagrams.push_packet(self.socket, self.remote, self.mtu, self.ecn, |buffer, start| {
                    buffer.extend_from_slice(&self.head);
                    buffer[start..start + 8].copy_from_slice(&packet_id.to_be_bytes());
                    parts.write(index, buffer);
                    let packet = &mut buffer[start..];
                    packet::set_fragmented(packet, length > self.mtu);
                    match self.trusted {
                        Some(path) => packet::mark_trusted(packet, path),
                        None => keys.armor(packet, self.suite),
                    }
                });
            amount.octets += octets as u64;
            amount.packets += 1;
        }
        amount
    }
}

impl SendPlan<&Arc<SessionKeys>> {
    /// The same to take along.
    pub fn kept(&self) -> SendPlan<Arc<SessionKeys>> {
        let Self { head, keys, suite, trusted, socket, remote, mtu, ecn } = *self;
        SendPlan { head, keys: keys.clone(), suite, trusted, socket, remote, mtu, ecn }
    }

    /// Whether `kept` says the same.
    pub fn is(&self, kept: &SendPlan<Arc<SessionKeys>>) -> bool {
        self.head == kept.head
            && Arc::ptr_eq(self.keys, &kept.keys)
            && (self.suite, self.trusted) == (kept.suite, kept.trusted)
            && (self.socket, self.remote, self.mtu, self.ecn)
                == (kept.socket, kept.remote, kept.mtu, kept.ecn)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::packet::join_in_place;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::super::testing::shape;
    use super::*;

    proptest! {
        #[test]
        fn what_leaves_is_what_was_said(
            shape in shape(), data in prop::collection::vec(any::<u8>(), 1..9_000), size in 100u16..3_000,
            mtu in 1400usize..3_000, clear: bool, seed: u64, number in 0..u64::MAX / 2,
        ) {
            let keys = Arc::new(SessionKeys::new(&[7; 48]));
            let suite = if clear { Suite::Clear } else { Suite::AesGmacSiv };
            let orders = SendPlan {
                head: [3; HEAD], keys: &keys, suite, trusted: None, socket: SocketId(1),
                remote: "192.0.2.1:9993".parse().unwrap(), mtu, ecn: 0,
            };
            let (frame, offload) = shape.unfinished(shape.frame(&data), size, true);
            let cut = Cut::new(&offload, &frame).unwrap();
            let parts = Parts::Cut(&cut);
            let mut datagrams = DatagramBatch::default();
            let kept = orders.kept();
            prop_assert!(orders.is(&kept));
            let amount = kept.carry_out(&parts, number, &mut StdRng::seed_from_u64(seed), &mut datagrams);
            prop_assert_eq!(amount, orders.amount(&parts));
            prop_assert_eq!((amount.packets, amount.octets), (cut.count() as u64, datagrams.buffer().len() as u64));
            // Opened and put together again, it is the segments in their order.
            let mut rest = datagrams.buffer().to_vec();
            let mut sizes = datagrams.segments().iter().map(|s| s.range.len());
            for index in 0..cut.count() {
                let pieces = packet::pieces(HEAD + cut.length(index), mtu, Split::Halves).len();
                let first = sizes.next().unwrap();
                let used = first + sizes.by_ref().take(pieces - 1).sum::<usize>();
                let length = join_in_place(&mut rest[..used], first).map_or(used, |(length, _)| length);
                let opened = keys.open(&mut rest[..length]).unwrap();
                prop_assert_eq!(opened.chosen, (!clear).then_some(number + index as u64));
                let mut expected = Vec::new();
                cut.write(index, &mut expected);
                prop_assert_eq!(&rest[HEAD..length], &expected[..]);
                rest.drain(..used);
            }
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn what_no_receiver_takes_is_not_sent() {
        let keys = Arc::new(SessionKeys::new(&[7; 48]));
        let remote = "[2001:db8::1]:9993".parse().unwrap();
        let (suite, socket) = (Suite::Salsa, SocketId(0));
        let orders = SendPlan {
            head: [0; HEAD],
            keys: &keys,
            suite,
            trusted: None,
            socket,
            remote,
            mtu: 1400,
            ecn: 0,
        };
        let payload = vec![1; packet::max_packet(1400) - HEAD + 1];
        let mut datagrams = DatagramBatch::default();
        let amount =
            orders.carry_out(&Parts::One(&payload), 0, &mut StdRng::seed_from_u64(1), &mut datagrams);
        assert_eq!(amount, Amount { packets: 0, octets: 0, too_long: 1 });
        assert_eq!(orders.amount(&Parts::One(&payload)), amount);
        assert!(datagrams.is_empty());
        let fits = orders.amount(&Parts::One(&payload[1..]));
        assert_eq!((fits.packets, fits.too_long), (1, 0));
    }
}
