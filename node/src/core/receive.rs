//! A datagram's way in: classify, reassemble or forward, authenticate, decompress, dispatch, credit.
//!
//! Specification: packet format, "receive"; VL1 behaviour, "when an authenticated packet arrives".

use std::net::{IpAddr, SocketAddr};

use protocol::Address;
use protocol::packet::{self, Datagram, Opened, Reassembler};
use protocol::verb::Verb;
use protocol::verbs::OkHeader;

use super::Core;
use crate::dataplane::ecn;
use crate::link::path::{PathKey, SocketId};
use crate::link::queue::Waiting;
use crate::link::replay::Judged;
use crate::link::{Handled, Incoming};

impl Core {
    /// Takes in one UDP datagram. The buffer is used as scratch space.
    pub fn datagram(&mut self, now: i64, socket: SocketId, remote: SocketAddr, data: &mut [u8]) {
        self.datagrams(now, socket, remote, data, data.len());
    }

    /// Takes in datagrams of one sender that arrived together: they lie end to end, each of `size` bytes, of which only the
    /// last may have fewer. The buffer is used as scratch space. It is the same as one after the other, but cheaper.
    pub fn datagrams(
        &mut self,
        now: i64,
        socket: SocketId,
        remote: SocketAddr,
        data: &mut [u8],
        size: usize,
    ) {
        self.marked_datagrams(now, socket, remote, data, size, ecn::NOT_CAPABLE);
    }

    /// [`Self::datagrams`] that arrived with these ECN bits, which go on to the frames in them.
    pub fn marked_datagrams(
        &mut self,
        now: i64,
        socket: SocketId,
        remote: SocketAddr,
        data: &mut [u8],
        size: usize,
        ecn: u8,
    ) {
        self.link.counters.bytes_in += data.len() as u64;
        let via = PathKey { socket, remote: canonical(remote) };
        self.credited = None;
        let mut rest = data;
        while !rest.is_empty() {
            let length = if size == 0 { rest.len() } else { size.min(rest.len()) };
            let joined = if length < rest.len() && self.begins_here(&rest[..length]) {
                packet::join_in_place(rest, length)
            } else {
                None
            };
            let used = joined.map_or(length, |(_, used)| used);
            self.link.arrival = Some((via, used));
            let (these, later) = rest.split_at_mut(used);
            match joined {
                Some((whole, _)) => self.packet(now, via, ecn, &mut these[..whole], false, None),
                None => self.single(now, via, ecn, these),
            }
            rest = later;
        }
        self.credited = None;
        self.link.arrival = None;
        self.after_contact(now);
    }

    /// Whether a datagram is the head of a fragmented packet for us.
    fn begins_here(&self, data: &[u8]) -> bool {
        packet::classify(data) == Datagram::Packet
            && packet::is_fragmented(data)
            && packet::dest(data) == self.link.address()
            && packet::source(data) != self.link.address()
    }

    /// Takes in one datagram.
    fn single(&mut self, now: i64, via: PathKey, ecn: u8, data: &mut [u8]) {
        match packet::classify(data) {
            Datagram::Beacon | Datagram::Junk => {}
            Datagram::Fragment if packet::dest(data) == self.link.address() => {
                self.assemble(now, via, ecn, |room| room.insert_fragment(now, via, data));
            }
            Datagram::Fragment => self.relay.relay_fragment(&mut self.link, now, via, data),
            Datagram::Packet if packet::source(data) == self.link.address() => {
                self.link.counters.dropped += 1;
                self.clones.hear_clone(&mut self.link, now, data);
            }
            Datagram::Packet if packet::dest(data) != self.link.address() => {
                self.relay.relay_packet(&mut self.link, now, via, data);
            }
            Datagram::Packet if packet::is_fragmented(data) => {
                self.assemble(now, via, ecn, |room| room.insert_head(now, via, data));
            }
            Datagram::Packet => self.packet(now, via, ecn, data, false, None),
        }
    }

    /// Adds a datagram to the packet it is a part of, and handles that if it is complete. Strangers have a room of their own, so
    /// that their fragments push out nobody's who is known.
    fn assemble(
        &mut self,
        now: i64,
        via: PathKey,
        ecn: u8,
        insert: impl FnOnce(&mut Reassembler<PathKey>) -> Option<Vec<u8>>,
    ) {
        let known = self.link.topology.paths.get(&via).is_some();
        let room = if known { &mut self.reassembler } else { &mut self.stranger_parts };
        room.set_mark(ecn);
        let Some(mut whole) = insert(room) else { return };
        // Those of all its datagrams.
        let ecn = room.mark();
        self.packet(now, via, ecn, &mut whole, false, None);
        let room = if known { &mut self.reassembler } else { &mut self.stranger_parts };
        room.recycle(whole);
    }

    /// Handles a whole packet addressed to us. `open` means that it is authenticated and decrypted already; `since` when it
    /// began to wait, if it did.
    pub(super) fn packet(
        &mut self,
        now: i64,
        via: PathKey,
        ecn: u8,
        data: &mut [u8],
        open: bool,
        since: Option<i64>,
    ) {
        let source = packet::source(data);
        let mut judged = Judged::default();
        if !open {
            let suite = packet::suite(data);
            let verb = packet::verb_byte(data) & 0x1f;
            if suite == 0 && verb == Verb::Hello as u8 {
                self.receive_hello(now, via, data, false);
                return;
            }
            let Some(peer) = self.link.topology.peers.get_mut(&source) else {
                if source.is_reserved() || self.newcomers.newcomer_answers(&mut self.link, now, via, data) {
                    return;
                }
                if !self.newcomers.expects(source, via) {
                    self.link.whois_source(now, source);
                }
                self.park(now, via, ecn, data, false, since);
                return;
            };
            let opened = match suite {
                // Clear text is for HELLO and the two bonding verbs alone; everything else has to be encrypted.
                0 if verb != Verb::QosMeasurement as u8 && verb != Verb::PathNegotiationRequest as u8 => None,
                2 => {
                    let id = packet::trusted_path_id(data);
                    let trusted = id.is_some() && id == self.link.settings.trusted_path(via.remote.ip());
                    trusted.then_some(Opened { chosen: None })
                }
                _ => peer.keys.open(data),
            };
            *(if opened.is_some() { &mut peer.packets.received } else { &mut peer.packets.refused }) += 1;
            let accepted = opened
                .and_then(|o| self.memory.judge_packet(&mut self.link, now, via, data, suite, o.chosen));
            let Some(accepted) = accepted else {
                self.link.counters.dropped += 1;
                return;
            };
            judged = accepted;
        }
        let verb = packet::verb_byte(data);
        self.link.counters.packets_in[usize::from(verb & 0x1f)] += 1;
        if verb & packet::VERB_COMPRESSED != 0 {
            let mut inflated = std::mem::take(&mut self.inflated);
            inflated.clear();
            inflated.extend_from_slice(data);
            if packet::decompress(&mut inflated).is_ok() {
                self.dispatch(now, via, ecn, &mut inflated, judged, since);
            } else {
                self.link.counters.dropped += 1;
            }
            self.inflated = inflated;
        } else {
            self.dispatch(now, via, ecn, data, judged, since);
        }
    }

    /// Tries again to handle what waits for the identity or credentials of `peer`, or of anybody.
    pub(super) fn retry_parked(&mut self, now: i64, peer: Option<Address>) {
        for mut waiting in self.parked.take(now, peer) {
            let Some(via) = waiting.via else { continue };
            self.packet(now, via, waiting.ecn, &mut waiting.packet, waiting.open, Some(waiting.since));
        }
    }

    fn park(&mut self, now: i64, via: PathKey, ecn: u8, data: &[u8], open: bool, since: Option<i64>) {
        let peer = packet::source(data);
        let since = since.unwrap_or(now);
        self.parked.push(Waiting {
            since,
            peer,
            via: Some(via),
            ecn,
            open,
            copy: false,
            packet: data.to_vec(),
        });
    }

    fn dispatch(
        &mut self,
        now: i64,
        via: PathKey,
        ecn: u8,
        data: &mut [u8],
        judged: Judged,
        since: Option<i64>,
    ) {
        let verb = packet::verb_byte(data) & 0x1f;
        if verb == Verb::Hello as u8 {
            self.receive_hello(now, via, data, true);
            return;
        }
        let known = Verb::from_byte(verb);
        let (source, payload) = (packet::source(data), &data[packet::HEADER_LEN..]);
        let proves = judged.fresh
            && known == Some(Verb::Ok)
            && OkHeader::parse(payload)
                .is_ok_and(|ok| self.link.expected.was_asked_at(now, ok.in_re_id, source, via.remote));
        let incoming = Incoming {
            via,
            ecn,
            source,
            id: packet::id(data),
            hops: packet::hops(data),
            fresh: judged.fresh,
            proves,
            waited: since.is_some(),
            chosen: judged.chosen,
            payload,
        };
        // A malformed payload says nothing about the sender and changes nothing.
        let handled = match known {
            None => Ok(Handled::Credit),
            Some(verb) => self.handle(now, verb, &incoming),
        };
        match handled {
            Ok(Handled::Credit) => self.contacts.credit(&mut self.link, now, &incoming, known, false),
            Ok(Handled::Trust) if matches!(known, Some(Verb::Frame | Verb::ExtFrame)) => {
                // Crediting twice in a millisecond changes nothing that once did not.
                let credit = Some((now, incoming.via, incoming.source, incoming.hops));
                if self.credited != credit {
                    self.contacts.credit(&mut self.link, now, &incoming, known, true);
                    self.credited = credit;
                }
                return;
            }
            Ok(Handled::Trust) => self.contacts.credit(&mut self.link, now, &incoming, known, true),
            Ok(Handled::Ignore) => {}
            Ok(Handled::Wait) => self.park(now, via, ecn, data, true, since),
            Err(_) => self.link.counters.dropped += 1,
        }
        self.credited = None;
    }
}

/// IPv4-mapped IPv6 addresses become IPv4, scope and flow labels vanish, so that one endpoint has one name.
fn canonical(remote: SocketAddr) -> SocketAddr {
    match remote.ip() {
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(IpAddr::V4(v4), remote.port()),
            None => SocketAddr::new(IpAddr::V6(ip), remote.port()),
        },
        IpAddr::V4(_) => remote,
    }
}
