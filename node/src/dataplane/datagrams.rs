//! Datagrams that are to leave, laid end to end in one contiguous buffer with a small descriptor for each, so that a burst leaves in
//! one `sendmmsg` and nothing is allocated per packet once the buffers have grown to their working size.

use std::net::SocketAddr;
use std::ops::Range;

use protocol::packet::{Split, cut_in_place};

/// Number of a local UDP socket, given by the service. Opaque to whoever sends.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SocketId(pub u32);

/// One datagram of a [`DatagramBatch`].
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its bytes in the buffer.
    pub range: Range<usize>,
    /// The local socket to send from; `None` means from every socket of the destination's family.
    pub socket: Option<SocketId>,
    /// Where to.
    pub to: SocketAddr,
    /// IP time-to-live for this one datagram (hole punching), `None` for the socket's own.
    pub ttl: Option<u8>,
    /// ECN bits, see [`super::ecn`].
    pub ecn: u8,
}

/// One datagram as it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Where to.
    pub to: SocketAddr,
    /// Its octets.
    pub data: &'a [u8],
    /// Its ECN bits.
    pub ecn: u8,
}

impl<'a> From<(SocketAddr, &'a [u8])> for Datagram<'a> {
    fn from((to, data): (SocketAddr, &'a [u8])) -> Self {
        Datagram { to, data, ecn: 0 }
    }
}

impl Segment {
    /// The datagram with its bytes, for sending.
    pub fn datagram<'a>(&self, buffer: &'a [u8]) -> Datagram<'a> {
        Datagram { to: self.to, data: &buffer[self.range.clone()], ecn: self.ecn }
    }
}

/// Datagrams of copies in one batch. More would hold up what the copies are of; the batches of a busy node are smaller.
pub const MAX_COPIES: usize = 512;

/// A batch of datagrams in send order: ordinary ones, then copies of frames that somebody else is to see. Copies are
/// dispensable: they never go before an ordinary datagram of the batch, and there is only so much room for them.
#[derive(Debug, Default)]
pub struct DatagramBatch {
    buffer: Vec<u8>,
    segments: Vec<Segment>,
    copies: Vec<Segment>,
    whole: Vec<Segment>,
}

impl DatagramBatch {
    /// Appends one datagram made of two parts (a fragment header and its data, or an empty slice and a whole packet).
    pub fn push(
        &mut self,
        socket: Option<SocketId>,
        to: SocketAddr,
        ttl: Option<u8>,
        head: &[u8],
        data: &[u8],
    ) {
        let range = self.lay(head, data);
        self.segments.push(Segment { range, socket, to, ttl, ecn: 0 });
    }

    /// Appends one datagram that belongs to a copy; ask [`Self::has_room_for_copies`] before the first of a packet.
    pub fn push_copy(&mut self, socket: SocketId, to: SocketAddr, head: &[u8], data: &[u8]) {
        let range = self.lay(head, data);
        self.copies.push(Segment { range, socket: Some(socket), to, ttl: None, ecn: 0 });
    }

    /// Appends one datagram that IP is not to fragment: it arrives whole or not at all.
    pub fn push_whole(&mut self, socket: SocketId, to: SocketAddr, data: &[u8]) {
        let range = self.lay(&[], data);
        self.whole.push(Segment { range, socket: Some(socket), to, ttl: None, ecn: 0 });
    }

    /// Appends one packet that `build` writes to the end of the buffer it is given (the packet begins at the offset it is given)
    /// and armors there; the packet is cut where it lies, into datagrams of at most `mtu` bytes, each with these ECN bits, that lie
    /// end to end. Returns how many bytes the datagrams have together; zero for a packet no receiver would take, which is not sent.
    pub fn push_packet(
        &mut self,
        socket: SocketId,
        to: SocketAddr,
        mtu: usize,
        ecn: u8,
        build: impl FnOnce(&mut Vec<u8>, usize),
    ) -> usize {
        let start = self.buffer.len();
        build(&mut self.buffer, start);
        let segments = &mut self.segments;
        cut_in_place(&mut self.buffer, start, mtu, Split::Halves, |range| {
            segments.push(Segment { range, socket: Some(socket), to, ttl: None, ecn });
        });
        self.buffer.len() - start
    }

    fn lay(&mut self, head: &[u8], data: &[u8]) -> Range<usize> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(head);
        self.buffer.extend_from_slice(data);
        start..self.buffer.len()
    }

    /// The descriptors of the ordinary datagrams, in send order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The descriptors of the copies, in send order; they come after everything else.
    pub fn copies(&self) -> &[Segment] {
        &self.copies
    }

    /// The descriptors of datagrams that IP is not to fragment, apart from all others.
    pub fn whole(&self) -> &[Segment] {
        &self.whole
    }

    /// Whether one more packet may be copied in this batch.
    pub fn has_room_for_copies(&self) -> bool {
        self.copies.len() < MAX_COPIES
    }

    /// The bytes the descriptors refer to.
    pub fn buffer(&self) -> &[u8] {
        &self.buffer
    }

    /// The datagrams with their bytes, in send order, copies last; without those that must not be fragmented.
    pub fn iter(&self) -> impl Iterator<Item = (&Segment, &[u8])> {
        self.segments.iter().chain(&self.copies).map(|s| (s, &self.buffer[s.range.clone()]))
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.copies.is_empty() && self.whole.is_empty()
    }

    /// Forgets everything; the buffers stay allocated.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.segments.clear();
        self.copies.clear();
        self.whole.clear();
    }
}
