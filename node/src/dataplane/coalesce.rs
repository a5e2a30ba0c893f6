//! Frames on their way to virtual ports, and joining those of one flow: what came in as many segments is handed to the kernel as
//! one super-frame, which costs it little more than one small frame.
//!
//! Joined is only what the kernel's own generic receive offload would join, so that cutting the super-frame gives the segments
//! again: neighbours in sequence of one TCP flow with equal headers, or datagrams of equal size of one UDP flow, their checksums
//! verified. Whatever else a flow brings ends its super-frame, so the order inside a flow never changes; frames of *different*
//! flows of one batch may change places.

use std::ops::Range;

use protocol::{NetworkId, checksum};

use super::congestion;
use super::ecn;
use super::headers::{
    ETHERNET, Headers, IPV4, IPV6, IPV6_HEADER, TCP, TCP_CHECKSUM, UDP_CHECKSUM, locate, put_u16, u16_at,
    u32_at,
};
use super::vnet::{Checksum, Gso, Offload, Offloads};

/// Flows whose super-frame may grow at the same time.
const MAX_OPEN: usize = 8;
/// Longest IP packet.
const MAX_LENGTH: usize = 65_535;
/// UDP datagrams in one super-frame at most, the kernel's own limit.
const MAX_DATAGRAMS: usize = 64;
/// Segments in a super-frame that make its flow a bulk stream, which may lose one if somebody has to.
const BULK_SEGMENTS: usize = 8;
/// Payload bytes that make a frame for a port without offloads part of a bulk stream.
const BULK_PAYLOAD: usize = 512;
/// Buffers of super-frames kept for the next batch.
const MAX_SPARE: usize = 2 * MAX_OPEN;

const FIN: u8 = 0x01;
const PUSH: u8 = 0x08;
const ACK: u8 = 0x10;
const ECE: u8 = 0x40;
/// Offset of the flags in a TCP header.
const FLAGS: usize = 13;

/// Where the bytes of a frame lie.
#[derive(Clone, Debug)]
enum Place {
    /// In the common buffer.
    Common(Range<usize>),
    /// In a buffer of its own: it grew after other frames had followed it in the common one.
    Own(usize),
}

/// One frame for a port.
#[derive(Clone, Debug)]
struct Item {
    network: NetworkId,
    place: Place,
    offload: Offload,
}

/// How the IDs of an IPv4 flow go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ids {
    /// There is one segment yet, or the flow is IPv6.
    Open,
    Rising,
    /// All the same: allowed where fragmenting is forbidden, as IDs mean nothing then (RFC 6864).
    Same,
}

/// A super-frame that may grow.
#[derive(Clone, Debug)]
struct Open {
    item: usize,
    /// A quick first comparison: ports and the ends of the addresses.
    tag: u64,
    headers: Headers,
    /// Payload bytes of the first segment.
    size: usize,
    segments: usize,
    /// The sequence number that continues it.
    next: u32,
    ids: Ids,
    /// Sum of the pseudo header without length.
    pseudo: u32,
    /// It is to bear the mark "congestion experienced".
    marked: bool,
}

/// How streams were told to slow down; every number only grows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Signalled {
    /// Frames and super-frames that were marked.
    pub marked: u64,
    /// Frames that were dropped.
    pub dropped: u64,
}

/// A frame that is handed to a port.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The network whose port it belongs to.
    pub network: NetworkId,
    /// What the kernel is told about it.
    pub offload: Offload,
    /// The frame, Ethernet header first.
    pub frame: &'a [u8],
}

/// A batch of Ethernet frames for virtual ports, in delivery order. The buffers are used again and again.
#[derive(Debug, Default)]
pub struct FrameBatch {
    buffer: Vec<u8>,
    own: Vec<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    items: Vec<Item>,
    open: Vec<Open>,
    /// A bulk stream is to be told to slow down.
    signal_congestion: bool,
    signalled: Signalled,
}

/// A frame that could be joined with others, looked at.
#[derive(Clone, Copy)]
struct Candidate {
    headers: Headers,
    tag: u64,
    pseudo: u32,
    /// Nothing speaks against joining it.
    good: bool,
}

impl FrameBatch {
    /// Appends one frame: 14-byte Ethernet header (destination, source, ethertype) and payload.
    pub fn push(
        &mut self,
        network: NetworkId,
        dest: [u8; 6],
        source: [u8; 6],
        ethertype: u16,
        payload: &[u8],
    ) {
        self.close_all_of(network);
        self.append(network, dest, source, ethertype, payload, Offload::PLAIN);
    }

    /// The next bulk TCP stream of this batch is told to slow down: by a mark (RFC 3168) if it takes marks, else by the loss of
    /// one frame. Of a port with offloads a stream is bulk that brings several segments in one batch.
    pub fn signal_congestion(&mut self) {
        self.signal_congestion = true;
    }

    /// What became of [`Self::signal_congestion`].
    pub fn signalled(&self) -> Signalled {
        self.signalled
    }

    /// Appends one frame for a port that takes what `takes` says: if possible it becomes part of a super-frame.
    pub fn push_joining(
        &mut self,
        network: NetworkId,
        takes: Offloads,
        dest: [u8; 6],
        source: [u8; 6],
        ethertype: u16,
        payload: &[u8],
    ) {
        let headers = if takes.checksum { locate(ethertype, payload) } else { None };
        let Some(headers) = headers else {
            if self.signal_congestion
                && locate(ethertype, payload).is_some_and(|headers| is_bulk(&headers, payload))
            {
                self.push_signalled(network, dest, source, ethertype, payload);
                return;
            }
            // Whose order it must keep is unknown.
            self.push(network, dest, source, ethertype, payload);
            return;
        };
        let candidate = examine(headers, payload, takes);
        let flow = self.find(network, &candidate, (dest, source), payload);
        if let Some(flow) = flow {
            if self.signal_congestion && self.signal_flow(flow, payload) {
                return;
            }
            if candidate.good && self.join(flow, &candidate, payload) {
                return;
            }
            let ended = self.open.remove(flow);
            self.finish(&ended);
        }
        let checksum = if candidate.good { Checksum::Valid } else { Checksum::Whole };
        let offload = Offload { checksum, ..Offload::PLAIN };
        let item = self.append(network, dest, source, ethertype, payload, offload);
        if candidate.good && may_begin(&headers, payload) {
            if self.open.len() == MAX_OPEN {
                let ended = self.open.remove(0);
                self.finish(&ended);
            }
            let size = payload.len() - headers.data;
            let next = if headers.protocol == TCP {
                u32_at(payload, headers.transport + 4).wrapping_add(size as u32)
            } else {
                0
            };
            let Candidate { tag, pseudo, .. } = candidate;
            let marked = false;
            self.open.push(Open {
                item,
                tag,
                headers,
                size,
                segments: 1,
                next,
                ids: Ids::Open,
                pseudo,
                marked,
            });
        }
    }

    /// Tells the stream of an open super-frame to slow down if it is a bulk stream. True: this segment of it is dropped.
    fn signal_flow(&mut self, flow: usize, packet: &[u8]) -> bool {
        let open = &self.open[flow];
        if open.segments < BULK_SEGMENTS || !is_bulk(&open.headers, packet) {
            return false;
        }
        self.signal_congestion = false;
        let marked =
            takes_marks(if open.headers.v6 { IPV6 } else { IPV4 }, &self.bytes(open.item)[ETHERNET..]);
        let open = &mut self.open[flow];
        open.marked = marked;
        *(if open.marked { &mut self.signalled.marked } else { &mut self.signalled.dropped }) += 1;
        !open.marked
    }

    /// Marks a frame of a bulk stream, or drops it.
    fn push_signalled(
        &mut self,
        network: NetworkId,
        dest: [u8; 6],
        source: [u8; 6],
        ethertype: u16,
        payload: &[u8],
    ) {
        self.signal_congestion = false;
        if takes_marks(ethertype, payload) {
            let item = self.append(network, dest, source, ethertype, payload, Offload::PLAIN);
            congestion::mark(self.bytes_mut(item));
            self.signalled.marked += 1;
        } else {
            self.signalled.dropped += 1;
        }
    }

    fn append(
        &mut self,
        network: NetworkId,
        dest: [u8; 6],
        source: [u8; 6],
        ethertype: u16,
        payload: &[u8],
        offload: Offload,
    ) -> usize {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&dest);
        self.buffer.extend_from_slice(&source);
        self.buffer.extend_from_slice(&ethertype.to_be_bytes());
        self.buffer.extend_from_slice(payload);
        let place = Place::Common(start..self.buffer.len());
        self.items.push(Item { network, place, offload });
        self.items.len() - 1
    }

    fn bytes(&self, item: usize) -> &[u8] {
        match &self.items[item].place {
            Place::Common(range) => &self.buffer[range.clone()],
            Place::Own(at) => &self.own[*at],
        }
    }

    /// The open super-frame of the same flow.
    fn find(
        &self,
        network: NetworkId,
        candidate: &Candidate,
        (dest, source): ([u8; 6], [u8; 6]),
        packet: &[u8],
    ) -> Option<usize> {
        self.open.iter().position(|open| {
            if open.tag != candidate.tag || self.items[open.item].network != network {
                return false;
            }
            let frame = self.bytes(open.item);
            let first = &frame[ETHERNET..];
            let (ours, theirs) = (open.headers, candidate.headers);
            ours.v6 == theirs.v6
                && ours.protocol == theirs.protocol
                && frame[..6] == dest
                && frame[6..12] == source
                && ours.addresses(first) == theirs.addresses(packet)
                && first[ours.transport..ours.transport + 4] == packet[theirs.transport..theirs.transport + 4]
        })
    }

    /// Adds a segment to the super-frame of its flow if it continues it.
    fn join(&mut self, flow: usize, candidate: &Candidate, packet: &[u8]) -> bool {
        let open = &self.open[flow];
        let Headers { v6, protocol, transport, data } = candidate.headers;
        let frame = self.bytes(open.item);
        let first = &frame[ETHERNET..];
        let length = packet.len() - data;
        if open.headers != candidate.headers || length > open.size || first.len() + length > MAX_LENGTH {
            return false;
        }
        let ids = if v6 {
            // Version, traffic class and flow label; hop limit.
            if first[..4] != packet[..4] || first[7] != packet[7] {
                return false;
            }
            Ids::Open
        } else {
            // Version and TOS; the flag that forbids fragmenting, TTL.
            if first[..2] != packet[..2] || first[6..9] != packet[6..9] {
                return false;
            }
            let (before, id) = (u16_at(first, 4), u16_at(packet, 4));
            let rising = id == before.wrapping_add(open.segments as u16);
            let same = id == before && first[6] & 0x40 != 0;
            match open.ids {
                Ids::Open | Ids::Rising if rising => Ids::Rising,
                Ids::Open | Ids::Same if same => Ids::Same,
                _ => return false,
            }
        };
        let (one, other) = (&first[transport..], &packet[transport..]);
        let mut last = length < open.size;
        let mut flags = 0;
        if protocol == TCP {
            flags = other[FLAGS] & (FIN | PUSH);
            let equal = u32_at(other, 4) == open.next
                && one[8..13] == other[8..13]
                && one[FLAGS] == other[FLAGS] & !(FIN | PUSH)
                && one[14..16] == other[14..16]
                && one[18..data - transport] == other[18..data - transport];
            if !equal {
                return false;
            }
            last |= flags != 0;
        } else if open.segments == MAX_DATAGRAMS {
            return false;
        }
        let item = open.item;
        self.extend(item, &packet[data..]);
        if flags != 0 {
            self.bytes_mut(item)[ETHERNET + transport + FLAGS] |= flags;
        }
        let open = &mut self.open[flow];
        open.segments += 1;
        open.next = open.next.wrapping_add(length as u32);
        open.ids = ids;
        if last {
            let ended = self.open.remove(flow);
            self.finish(&ended);
        }
        true
    }

    fn bytes_mut(&mut self, item: usize) -> &mut [u8] {
        match &self.items[item].place {
            Place::Common(range) => &mut self.buffer[range.clone()],
            Place::Own(at) => &mut self.own[*at],
        }
    }

    /// Adds bytes to a frame; one that is not the last in the common buffer moves into a buffer of its own.
    fn extend(&mut self, item: usize, data: &[u8]) {
        match &mut self.items[item].place {
            Place::Own(at) => self.own[*at].extend_from_slice(data),
            Place::Common(range) if range.end == self.buffer.len() => {
                self.buffer.extend_from_slice(data);
                range.end = self.buffer.len();
            }
            place @ Place::Common(_) => {
                let Place::Common(range) = place.clone() else { return };
                let mut own = self.spare.pop().unwrap_or_default();
                own.extend_from_slice(&self.buffer[range]);
                own.extend_from_slice(data);
                *place = Place::Own(self.own.len());
                self.own.push(own);
            }
        }
    }

    /// Makes the headers of a super-frame say what it has become. A frame that stayed alone is left as it is.
    fn finish(&mut self, open: &Open) {
        if open.marked {
            congestion::mark(self.bytes_mut(open.item));
        }
        if open.segments < 2 {
            return;
        }
        let Headers { v6, protocol, transport, data } = open.headers;
        let (size, pseudo) = (open.size as u16, open.pseudo);
        let packet = &mut self.bytes_mut(open.item)[ETHERNET..];
        let length = packet.len();
        if v6 {
            put_u16(packet, 4, (length - IPV6_HEADER) as u16);
        } else {
            put_u16(packet, 2, length as u16);
            put_u16(packet, 10, 0);
            let sum = checksum::finish(checksum::sum(0, &packet[..transport]));
            put_u16(packet, 10, sum);
        }
        let segment = (length - transport) as u32;
        let (offset, gso) = match (protocol, v6) {
            (TCP, false) => (TCP_CHECKSUM, Gso::Tcp4 { size, ecn: false }),
            (TCP, true) => (TCP_CHECKSUM, Gso::Tcp6 { size, ecn: false }),
            _ => {
                put_u16(packet, transport + 4, segment as u16);
                (UDP_CHECKSUM, Gso::Udp { size })
            }
        };
        // Not inverted: whoever cuts or completes it goes on summing.
        put_u16(packet, transport + offset, !checksum::finish(pseudo + segment));
        let start = (ETHERNET + transport) as u16;
        let checksum = Checksum::Partial { start, offset: offset as u16 };
        self.items[open.item].offload = Offload { checksum, gso, header_len: (ETHERNET + data) as u16 };
    }

    fn close_all_of(&mut self, network: NetworkId) {
        let mut at = 0;
        while at < self.open.len() {
            if self.items[self.open[at].item].network == network {
                let ended = self.open.remove(at);
                self.finish(&ended);
            } else {
                at += 1;
            }
        }
    }

    fn close(&mut self) {
        while let Some(ended) = self.open.pop() {
            self.finish(&ended);
        }
    }

    /// Everything to be delivered. What is appended later begins super-frames anew.
    pub fn deliveries(&mut self) -> impl Iterator<Item = Delivery<'_>> {
        self.close();
        self.items.iter().enumerate().map(|(index, item)| Delivery {
            network: item.network,
            offload: item.offload,
            frame: self.bytes(index),
        })
    }

    /// The frames with the network whose port they belong to, without what is to be told about them: for ports without
    /// offloads.
    pub fn iter(&mut self) -> impl Iterator<Item = (NetworkId, &[u8])> {
        self.deliveries().map(|delivery| (delivery.network, delivery.frame))
    }

    /// How many bytes there are to deliver.
    pub fn octets(&self) -> usize {
        self.buffer.len() + self.own.iter().map(Vec::len).sum::<usize>()
    }

    /// Whether there is nothing to deliver.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Forgets everything; the buffers stay allocated.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.items.clear();
        self.open.clear();
        self.signal_congestion = false;
        for mut own in self.own.drain(..) {
            if self.spare.len() < MAX_SPARE {
                own.clear();
                self.spare.push(own);
            }
        }
    }
}

/// What has to be known about a frame, and whether it may be joined at all.
fn examine(headers: Headers, packet: &[u8], takes: Offloads) -> Candidate {
    let Headers { v6, protocol, transport, data } = headers;
    let addresses = headers.addresses(packet);
    let half = addresses.len() / 2;
    let ends = u32_at(addresses, half - 4) ^ u32_at(addresses, 2 * half - 4).rotate_left(7);
    let tag = u64::from(u32_at(packet, transport)) << 32 | u64::from(ends);
    let segment = &packet[transport..];
    let wanted = if protocol == TCP {
        const ALLOWED: u8 = FIN | PUSH | ACK | ECE;
        takes.tso && segment[FLAGS] & ACK != 0 && segment[FLAGS] & !ALLOWED == 0
    } else {
        // Without a checksum it may be anything.
        takes.uso && usize::from(u16_at(segment, 4)) == segment.len() && u16_at(segment, UDP_CHECKSUM) != 0
    };
    let plain = if v6 { transport == IPV6_HEADER } else { transport == 20 && packet[6] & 0x80 == 0 };
    let mut pseudo = 0;
    let good = wanted && plain && data < packet.len() && headers.stated_len(packet) == packet.len() && {
        pseudo = checksum::pseudo_header(addresses, protocol, 0);
        (v6 || checksum::verifies(checksum::sum(0, &packet[..transport])))
            && checksum::verifies(checksum::sum(pseudo + segment.len() as u32, segment))
    };
    Candidate { headers, tag, pseudo, good }
}

/// Whether a frame may be lost without much harm if a bulk stream has to lose one: TCP in the midst of much data.
fn is_bulk(headers: &Headers, packet: &[u8]) -> bool {
    const ENDS: u8 = FIN | 0x02 | 0x04;
    headers.protocol == TCP
        && packet.len() - headers.data >= BULK_PAYLOAD
        && packet[headers.transport + FLAGS] & ENDS == 0
}

/// Whether something may follow it in a super-frame.
fn may_begin(headers: &Headers, packet: &[u8]) -> bool {
    headers.protocol != TCP || packet[headers.transport + FLAGS] & (FIN | PUSH) == 0
}

// The path is spelled out for the fuzz target that takes this file in from elsewhere.
/// Whether the ends of an IP packet take marks for losses.
fn takes_marks(ethertype: u16, packet: &[u8]) -> bool {
    ecn::of(ethertype, packet) != ecn::NOT_CAPABLE
}

#[cfg(test)]
mod tests;
