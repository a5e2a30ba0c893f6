//! A datagram's way in: classify, reassemble or forward, authenticate, decompress, and, when it has been handled, credit.
//!
//! Specification: packet format, "receive"; VL1 behaviour, "when an authenticated packet arrives".

use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, DerefMut};

use protocol::packet::{self, Authentic, Datagram, Reassembler, Sealed};
use protocol::verb::Verb;
use protocol::verbs::OkHeader;
use protocol::{Address, Result, Time};

use super::path::{PathKey, SocketId};
use super::queue::{Parked, State};
use super::replay::{Judged, TRUSTED};
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
    pub(crate) since: Option<Time>,
}

/// A whole packet addressed to us, as it came.
pub(crate) struct Arrived<'d> {
    pub(crate) manner: Manner,
    packet: Sealed<Octets<'d>>,
}

/// An authentic packet, in clear.
pub(crate) struct Opened<'d> {
    pub(crate) manner: Manner,
    pub(super) judged: Judged,
    pub(super) packet: Authentic<Octets<'d>>,
}

impl Opened<'_> {
    /// Its verb; `None` for one that nobody knows.
    #[inline]
    pub(crate) fn verb(&self) -> Option<Verb> {
        self.packet.verb()
    }
}

/// What a packet was.
pub(crate) enum Received<'d> {
    /// Nothing that anybody has to do anything about.
    Nothing,
    /// A HELLO of this peer, which has been answered, and by which path it came.
    Greeted(Address, PathKey),
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
        now: Time,
        via: PathKey,
        ecn: u8,
        rest: &mut &'d mut [u8],
        size: usize,
    ) -> Option<Arrived<'d>> {
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
        let packet = Sealed::new(octets).ok()?;
        Some(Arrived { manner: Manner { via, ecn, since: None }, packet })
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
        now: Time,
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

    /// Authenticates and decrypts a packet.
    #[inline]
    pub(crate) fn open<'d>(&mut self, now: Time, arrived: Arrived<'d>) -> Received<'d> {
        let Arrived { manner, packet } = arrived;
        if packet.is_clear_hello() {
            return self.hear_clear_hello(now, manner.via, packet);
        }
        let source = packet.source();
        let Some(peer) = self.link.topology.peers.get_mut(&source) else {
            self.hear_stranger(now, manner, packet);
            return Received::Nothing;
        };
        let opened = match packet.suite() {
            TRUSTED => packet.open_trusted(self.link.settings.trusted_path(manner.via.remote.ip())),
            _ => packet.open(&peer.keys),
        };
        let packet = match opened {
            Ok(packet) => packet,
            Err(packet) => {
                peer.packets.refused += 1;
                return self.drop_it(packet.into_octets());
            }
        };
        peer.packets.received += 1;
        match self.memory.judge_packet(&mut self.link, now, manner.via, &packet) {
            Some(judged) => self.unpack(now, Opened { manner, judged, packet }),
            None => self.drop_it(packet.into_octets()),
        }
    }

    #[cold]
    fn drop_it<'d>(&mut self, octets: Octets<'_>) -> Received<'d> {
        self.link.counters.dropped += 1;
        self.recycle(octets);
        Received::Nothing
    }

    /// A packet of somebody who is no peer.
    fn hear_stranger(&mut self, now: Time, manner: Manner, packet: Sealed<Octets<'_>>) {
        let (source, via) = (packet.source(), manner.via);
        if source.is_reserved() || self.newcomers.newcomer_answers(&mut self.link, now, via, packet.octets())
        {
            return;
        }
        if !self.newcomers.expects(source, via) {
            self.link.whois_source(now, source);
        }
        if let Ok(packet) = Sealed::new(packet.octets().to_vec()) {
            self.park(now, manner, State::Sealed(packet));
        }
        self.recycle(packet.into_octets());
    }

    /// Counts an authentic packet, and decompresses it.
    #[inline]
    fn unpack<'d>(&mut self, now: Time, mut opened: Opened<'d>) -> Received<'d> {
        self.link.counters.packets_in[usize::from(opened.packet.verb_number())] += 1;
        if opened.packet.is_compressed() {
            let inflated = opened.packet.inflate(std::mem::take(&mut self.inflated));
            self.recycle(opened.packet.into_octets());
            opened.packet = match inflated {
                Ok(packet) => packet.map(Octets::Own),
                Err(memory) => return self.drop_it(Octets::Own(memory)),
            };
        }
        if opened.verb() == Some(Verb::Hello) {
            return self.hear_sealed_hello(now, opened.manner.via, opened.packet, true);
        }
        Received::Opened(opened)
    }

    /// A packet has been handled: what room of ours it took can be used again.
    #[inline]
    pub(crate) fn done(&mut self, opened: Opened<'_>) {
        self.recycle(opened.packet.into_octets());
    }

    #[inline]
    pub(super) fn recycle(&mut self, octets: Octets<'_>) {
        match octets {
            Octets::Lent(_) => {}
            Octets::Own(buffer) if self.inflated.capacity() == 0 => self.inflated = buffer,
            Octets::Own(buffer) => self.reassembler.recycle(buffer),
        }
    }

    /// What a handler of a verb has to know of a packet.
    #[inline]
    pub(crate) fn incoming<'a>(&self, now: Time, opened: &'a Opened<'_>) -> Incoming<'a> {
        let Opened { manner: Manner { via, ecn, since }, judged, packet } = opened;
        let (source, payload) = (packet.source(), packet.payload());
        let proves = judged.fresh
            && packet.verb_number() == Verb::Ok as u8
            && OkHeader::parse(payload)
                .is_ok_and(|ok| self.link.expected.was_asked_at(now, ok.in_re_id, source, via.remote));
        Incoming {
            via: *via,
            ecn: *ecn,
            source,
            id: packet.id(),
            hops: packet.hops(),
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
        now: Time,
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
    pub(crate) fn let_wait(&mut self, now: Time, opened: Opened<'_>) {
        let packet = opened.packet.map(|octets| match octets {
            Octets::Own(octets) => octets,
            Octets::Lent(octets) => octets.to_vec(),
        });
        self.park(now, opened.manner, State::Opened(packet));
    }

    fn park(&mut self, now: Time, manner: Manner, state: State) {
        let since = manner.since.unwrap_or(now);
        self.parked.push(since, Parked { manner: Manner { since: Some(since), ..manner }, state });
    }

    /// Opens a packet that has waited.
    pub(crate) fn open_again(&mut self, now: Time, parked: Parked) -> Received<'static> {
        let manner = parked.manner;
        match parked.state {
            State::Sealed(packet) => match Sealed::new(Octets::Own(packet.into_octets())) {
                Ok(packet) => self.open(now, Arrived { manner, packet }),
                Err(_) => Received::Nothing,
            },
            State::Opened(packet) => {
                let packet = packet.map(Octets::Own);
                self.unpack(now, Opened { manner, judged: Judged::default(), packet })
            }
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
