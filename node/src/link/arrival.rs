//! A datagram's way in: classify, reassemble or forward, authenticate, decompress, and, when it has been handled, credit.
//!
//! Specification: packet format, "receive"; VL1 behaviour, "when an authenticated packet arrives".

use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, DerefMut};

use protocol::packet::{self, Datagram, Reassembler};
use protocol::verb::Verb;
use protocol::verbs::OkHeader;
use protocol::{Address, Result};

use super::path::{PathKey, SocketId};
use super::queue::Waiting;
use super::replay::Judged;
use super::underlay::Underlay;
use super::{Handled, Incoming};

/// Octets of a packet: where they arrived, or in a buffer of ours.
pub(crate) enum Octets<'d> {
    Lent(&'d mut [u8]),
    Own(Vec<u8>),
}

impl Deref for Octets<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Lent(octets) => octets,
            Self::Own(octets) => octets,
        }
    }
}

impl DerefMut for Octets<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Lent(octets) => octets,
            Self::Own(octets) => octets,
        }
    }
}

/// How a packet came.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) via: PathKey,
    /// ECN bits of the datagrams it came in.
    pub(crate) ecn: u8,
    /// When it began to wait, if it did.
    pub(crate) since: Option<i64>,
}

/// A whole packet addressed to us, as it came.
pub(crate) struct Sealed<'d> {
    pub(crate) manner: Manner,
    octets: Octets<'d>,
}

/// An authentic packet, in clear. Only [`Underlay::open`] makes one, and what waited for something after it.
pub(crate) struct Opened<'d> {
    pub(crate) manner: Manner,
    pub(super) judged: Judged,
    pub(super) octets: Octets<'d>,
}

impl Opened<'_> {
    /// Its verb; `None` for one that nobody knows.
    #[inline]
    pub(crate) fn verb(&self) -> Option<Verb> {
        Verb::from_byte(packet::verb_byte(&self.octets) & packet::VERB_MASK)
    }
}

/// What a packet was.
pub(crate) enum Received<'d> {
    /// Nothing that anybody has to do anything about.
    Nothing,
    /// A HELLO of this peer, which has been answered.
    Greeted(Address),
    /// Something to be handled.
    Opened(Opened<'d>),
}

impl Underlay {
    /// Datagrams have arrived, of `octets` octets together. By which path.
    pub(crate) fn arrive(&mut self, socket: SocketId, remote: SocketAddr, octets: usize) -> PathKey {
        self.link.counters.bytes_in += octets as u64;
        self.credited = None;
        PathKey { socket, remote: canonical(remote) }
    }

    /// All that arrived together has been handled.
    pub(crate) fn arrived(&mut self) {
        self.credited = None;
        self.link.arrival = None;
    }

    /// Takes the first of several datagrams that lie end to end, each of `size` octets, and those after it that are fragments of
    /// the same packet; advances `rest` past them. What is not a packet for us has been dealt with.
    #[inline]
    pub(crate) fn sort<'d>(
        &mut self,
        now: i64,
        via: PathKey,
        ecn: u8,
        rest: &mut &'d mut [u8],
        size: usize,
    ) -> Option<Sealed<'d>> {
        let length = if size == 0 { rest.len() } else { size.min(rest.len()) };
        let joined = if length < rest.len() && self.begins_here(&rest[..length]) {
            packet::join_in_place(rest, length)
        } else {
            None
        };
        let used = joined.map_or(length, |(_, used)| used);
        self.link.arrival = Some((via, used));
        let (these, later) = std::mem::take(rest).split_at_mut(used);
        *rest = later;
        let (octets, ecn) = match joined {
            Some((whole, _)) => (Octets::Lent(&mut these[..whole]), ecn),
            None => self.sort_one(now, via, ecn, these)?,
        };
        Some(Sealed { manner: Manner { via, ecn, since: None }, octets })
    }

    /// Whether a datagram is the head of a fragmented packet for us.
    fn begins_here(&self, data: &[u8]) -> bool {
        packet::classify(data) == Datagram::Packet
            && packet::is_fragmented(data)
            && packet::dest(data) == self.link.address()
            && packet::source(data) != self.link.address()
    }

    fn sort_one<'d>(
        &mut self,
        now: i64,
        via: PathKey,
        ecn: u8,
        data: &'d mut [u8],
    ) -> Option<(Octets<'d>, u8)> {
        let us = self.link.address();
        match packet::classify(data) {
            Datagram::Beacon | Datagram::Junk => {}
            Datagram::Fragment if packet::dest(data) == us => {
                return self.assemble(via, ecn, |room| room.insert_fragment(now, via, data));
            }
            Datagram::Fragment => self.relay.relay_fragment(&mut self.link, now, via, data),
            Datagram::Packet if packet::source(data) == us => {
                self.link.counters.dropped += 1;
                self.clones.hear_clone(&mut self.link, now, data);
            }
            Datagram::Packet if packet::dest(data) != us => {
                self.relay.relay_packet(&mut self.link, now, via, data);
            }
            Datagram::Packet if packet::is_fragmented(data) => {
                return self.assemble(via, ecn, |room| room.insert_head(now, via, data));
            }
            Datagram::Packet => return Some((Octets::Lent(data), ecn)),
        }
        None
    }

    /// Adds a datagram to the packet it is a part of, and gives that, with the marks of all its datagrams, if it is complete.
    /// Strangers have a room of their own, so that their fragments push out nobody's who is known.
    fn assemble<'d>(
        &mut self,
        via: PathKey,
        ecn: u8,
        insert: impl FnOnce(&mut Reassembler<PathKey>) -> Option<Vec<u8>>,
    ) -> Option<(Octets<'d>, u8)> {
        let known = self.link.topology.paths.get(&via).is_some();
        let room = if known { &mut self.reassembler } else { &mut self.stranger_parts };
        room.set_mark(ecn);
        let whole = insert(room)?;
        Some((Octets::Own(whole), room.mark()))
    }

    /// Authenticates and decrypts a packet: whatever its verb is, it becomes authentic here or, a HELLO, in [`Self::hear_hello`].
    #[inline]
    pub(crate) fn open<'d>(&mut self, now: i64, sealed: Sealed<'d>) -> Received<'d> {
        let Sealed { manner, mut octets } = sealed;
        let via = manner.via;
        let source = packet::source(&octets);
        let suite = packet::suite(&octets);
        let verb = packet::verb_byte(&octets) & packet::VERB_MASK;
        if suite == 0 && verb == Verb::Hello as u8 {
            return self.hear_hello(now, via, &mut octets, false);
        }
        let Some(peer) = self.link.topology.peers.get_mut(&source) else {
            self.hear_stranger(now, manner, source, octets);
            return Received::Nothing;
        };
        let opened = match suite {
            // Clear text is for HELLO and the two bonding verbs alone; everything else has to be encrypted.
            0 if verb != Verb::QosMeasurement as u8 && verb != Verb::PathNegotiationRequest as u8 => None,
            2 => {
                let id = packet::trusted_path_id(&octets);
                let trusted = id.is_some() && id == self.link.settings.trusted_path(via.remote.ip());
                trusted.then_some(packet::Opened { chosen: None })
            }
            _ => peer.keys.open(&mut octets),
        };
        *(if opened.is_some() { &mut peer.packets.received } else { &mut peer.packets.refused }) += 1;
        let judged =
            opened.and_then(|o| self.memory.judge_packet(&mut self.link, now, via, &octets, suite, o.chosen));
        match judged {
            Some(judged) => self.unpack(now, Opened { manner, judged, octets }),
            None => {
                self.link.counters.dropped += 1;
                self.recycle(octets);
                Received::Nothing
            }
        }
    }

    /// A packet of somebody who is no peer.
    fn hear_stranger(&mut self, now: i64, manner: Manner, source: Address, octets: Octets<'_>) {
        let via = manner.via;
        if source.is_reserved() || self.newcomers.newcomer_answers(&mut self.link, now, via, &octets) {
            return;
        }
        if !self.newcomers.expects(source, via) {
            self.link.whois_source(now, source);
        }
        self.park(now, manner, false, octets);
    }

    /// Counts an authentic packet, and decompresses it.
    #[inline]
    fn unpack<'d>(&mut self, now: i64, mut opened: Opened<'d>) -> Received<'d> {
        let byte = packet::verb_byte(&opened.octets);
        let verb = byte & packet::VERB_MASK;
        self.link.counters.packets_in[usize::from(verb)] += 1;
        if byte & packet::VERB_COMPRESSED != 0 {
            let mut inflated = std::mem::take(&mut self.inflated);
            inflated.clear();
            inflated.extend_from_slice(&opened.octets);
            let whole = packet::decompress(&mut inflated).is_ok();
            let packed = std::mem::replace(&mut opened.octets, Octets::Own(inflated));
            self.recycle(packed);
            if !whole {
                self.link.counters.dropped += 1;
                self.recycle(opened.octets);
                return Received::Nothing;
            }
        }
        if verb == Verb::Hello as u8 {
            return self.hear_hello(now, opened.manner.via, &mut opened.octets, true);
        }
        Received::Opened(opened)
    }

    /// A packet has been handled: what room of ours it took can be used again.
    #[inline]
    pub(crate) fn done(&mut self, opened: Opened<'_>) {
        self.recycle(opened.octets);
    }

    #[inline]
    fn recycle(&mut self, octets: Octets<'_>) {
        match octets {
            Octets::Lent(_) => {}
            Octets::Own(buffer) if self.inflated.capacity() == 0 => self.inflated = buffer,
            Octets::Own(buffer) => self.reassembler.recycle(buffer),
        }
    }

    /// What a handler of a verb has to know of a packet.
    #[inline]
    pub(crate) fn incoming<'a>(&self, now: i64, opened: &'a Opened<'_>) -> Incoming<'a> {
        let Opened { manner: Manner { via, ecn, since }, judged, octets } = opened;
        let (source, payload) = (packet::source(octets), &octets[packet::HEADER_LEN..]);
        let is_answer = packet::verb_byte(octets) & packet::VERB_MASK == Verb::Ok as u8;
        let proves = judged.fresh
            && is_answer
            && OkHeader::parse(payload)
                .is_ok_and(|ok| self.link.expected.was_asked_at(now, ok.in_re_id, source, via.remote));
        Incoming {
            via: *via,
            ecn: *ecn,
            source,
            id: packet::id(octets),
            hops: packet::hops(octets),
            fresh: judged.fresh,
            proves,
            waited: since.is_some(),
            chosen: judged.chosen,
            payload,
        }
    }

    /// Draws the consequences for a packet's sender from what became of the packet. Whether that has to wait.
    #[inline]
    pub(crate) fn settle(
        &mut self,
        now: i64,
        verb: Option<Verb>,
        incoming: &Incoming<'_>,
        handled: Result<Handled>,
    ) -> bool {
        match handled {
            Ok(Handled::Trust) if matches!(verb, Some(Verb::Frame | Verb::ExtFrame)) => {
                // Crediting twice in a millisecond changes nothing that once did not.
                let credit = Some((now, incoming.via, incoming.source, incoming.hops));
                if self.credited != credit {
                    self.contacts.credit(&mut self.link, now, incoming, verb, true);
                    self.credited = credit;
                }
                return false;
            }
            Ok(Handled::Credit) => self.contacts.credit(&mut self.link, now, incoming, verb, false),
            Ok(Handled::Trust) => self.contacts.credit(&mut self.link, now, incoming, verb, true),
            Ok(Handled::Ignore) => {}
            Ok(Handled::Wait) => {
                self.credited = None;
                return true;
            }
            // A malformed payload says nothing about the sender and changes nothing.
            Err(_) => self.link.counters.dropped += 1,
        }
        self.credited = None;
        false
    }

    /// Lets a packet wait for its sender's credentials.
    pub(crate) fn let_wait(&mut self, now: i64, opened: Opened<'_>) {
        self.park(now, opened.manner, true, opened.octets);
    }

    /// Lets a packet wait for its sender's identity or credentials.
    fn park(&mut self, now: i64, manner: Manner, open: bool, octets: Octets<'_>) {
        let Manner { via, ecn, since } = manner;
        self.parked.push(Waiting {
            since: since.unwrap_or(now),
            peer: packet::source(&octets),
            via: Some(via),
            ecn,
            open,
            copy: false,
            packet: octets.to_vec(),
        });
        self.recycle(octets);
    }

    /// What waits for the identity or credentials of `peer`, or of anybody: to be tried again.
    pub(crate) fn take_parked(&mut self, now: i64, peer: Option<Address>) -> Vec<Waiting> {
        self.parked.take(now, peer)
    }

    /// Opens a packet that has waited.
    pub(crate) fn open_again(&mut self, now: i64, waiting: Waiting) -> Received<'static> {
        let Some(via) = waiting.via else { return Received::Nothing };
        let manner = Manner { via, ecn: waiting.ecn, since: Some(waiting.since) };
        let octets = Octets::Own(waiting.packet);
        if waiting.open {
            self.unpack(now, Opened { manner, judged: Judged::default(), octets })
        } else {
            self.open(now, Sealed { manner, octets })
        }
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
