//! A packet's way out: choosing a path, protecting, cutting into datagrams; and the queue for what cannot go yet.
//!
//! Specification: VL1 behaviour, "sending by address, queues, WHOIS"; packet format, "order of operations".

use std::net::SocketAddr;

use protocol::packet::{self, DEFAULT_MTU, Split, max_packet};
use protocol::verb::Verb;
use protocol::verbs::Frame;
use protocol::{Address, NetworkId, Time};
use rand::RngExt;

use super::{Incoming, Link};
use crate::dataplane::ecn;
use crate::dataplane::sending::{HEAD, Parts, SendPlan};
use crate::ground::limits::{ERROR_GATE, UNKNOWN_SOURCE_BURST, UNKNOWN_SOURCE_GATE, WHOIS_RETRY};
use crate::link::path::{PathKey, SocketId};
use crate::link::path_mtu::FLOOR;
use crate::link::queue::Outgoing;
use crate::link::ways::{Way, Ways};

/// How a packet leaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Manner {
    /// To whom it is addressed, by the path chosen for that.
    ByAddress,
    /// Back on the path something came by.
    Back,
    /// By address, but dispensable: a copy that rules asked for.
    Copy,
}

/// Verbs that carry what users send: the way of these is watched.
fn is_traffic(verb: u8) -> bool {
    [Verb::Frame, Verb::ExtFrame, Verb::MulticastFrame].iter().any(|v| *v as u8 == verb)
}

/// Verbs whose sender listens for an OK.
fn wants_reply(verb: u8) -> bool {
    const VERBS: [Verb; 7] = [
        Verb::Hello,
        Verb::Whois,
        Verb::Echo,
        Verb::NetworkConfigRequest,
        Verb::MulticastGather,
        Verb::MulticastFrame,
        Verb::NetworkConfig,
    ];
    VERBS.iter().any(|v| *v as u8 == verb)
}

impl Link {
    /// Begins a packet in the reusable buffer; hand it to [`Link::send`], [`Link::reply`] or [`Link::send_to`].
    pub(crate) fn begin(&mut self, dest: Address, verb: Verb) -> Vec<u8> {
        let mut packet = std::mem::take(&mut self.scratch);
        packet.clear();
        let id = self.rng.random();
        packet::start(&mut packet, id, dest, self.address(), verb);
        packet
    }

    /// Begins an OK to a packet: in-re verb and packet ID are written.
    pub(crate) fn begin_ok(&mut self, incoming: &Incoming<'_>, in_re: Verb) -> Vec<u8> {
        let mut packet = self.begin(incoming.source, Verb::Ok);
        packet.push(in_re as u8);
        packet.extend_from_slice(&incoming.id.to_be_bytes());
        packet
    }

    /// Sends a packet to whom it is addressed, by the best path there is, or lets it wait for one.
    pub(crate) fn send(&mut self, now: Time, mut packet: Vec<u8>) {
        let dest = packet::dest(&packet);
        if dest == self.address() {
            self.scratch = packet;
            return;
        }
        let traffic = is_traffic(packet::verb_byte(&packet) & packet::VERB_MASK);
        if let Some(way) = Ways::choose(self, now, dest, traffic) {
            self.emit(now, &mut packet, way.key, Manner::ByAddress);
            self.repeat(now, &packet, &way);
            self.scratch = packet;
        } else {
            self.await_route(now, dest, false, packet);
        }
    }

    fn await_route(&mut self, now: Time, dest: Address, copy: bool, packet: Vec<u8>) {
        if !self.topology.peers.contains_key(&dest) {
            self.whois(now, dest);
        }
        self.sending.push(Outgoing { since: now, to: dest, via: None, copy, packet });
        self.counters.copies.unreachable += self.sending.take_lost_copies();
    }

    /// Whether it makes sense to build a copy for `to`; counts the one that is not built otherwise.
    pub(crate) fn has_room_for_copy(&mut self, now: Time, to: Address) -> bool {
        if !self.outbox.datagrams.has_room_for_copies() {
            self.counters.copies.too_many += 1;
            return false;
        }
        if !self.topology.peers.contains_key(&to) && !self.sending.has_room_for_copy(to) {
            self.counters.copies.unreachable += 1;
            self.whois(now, to);
            return false;
        }
        true
    }

    /// Sends a copy of a frame behind everything ordinary, or drops it if there is no room for it.
    pub(crate) fn send_copy(&mut self, now: Time, mut packet: Vec<u8>) {
        let dest = packet::dest(&packet);
        if dest == self.address() {
            self.scratch = packet;
        } else if let Some(way) = Ways::choose(self, now, dest, true) {
            self.emit(now, &mut packet, way.key, Manner::Copy);
            self.scratch = packet;
        } else {
            self.await_route(now, dest, true, packet);
        }
    }

    /// Answers on the path a request came by, relayed or not. What is too much for an endpoint that has not proven itself goes by
    /// another path, or waits until one has.
    pub(crate) fn reply(&mut self, now: Time, via: PathKey, mut packet: Vec<u8>) {
        if self.may_send(now, via, packet.len()) {
            self.emit(now, &mut packet, via, Manner::Back);
            self.scratch = packet;
        } else {
            let dest = packet::dest(&packet);
            self.confirm(now, dest, via);
            if let Some(key) = self.live_route(now, dest) {
                self.emit(now, &mut packet, key, Manner::ByAddress);
                self.scratch = packet;
            } else {
                let via = Some(via);
                self.sending.push(Outgoing { since: now, to: dest, via, copy: false, packet });
            }
        }
    }

    /// Sends an ERROR about a packet that concerns a network, now and then.
    pub(crate) fn answer_error(
        &mut self,
        now: Time,
        incoming: &Incoming<'_>,
        in_re: Verb,
        code: u8,
        network: NetworkId,
    ) {
        if !self.gates.errors.allow(&(incoming.source, network, code), now, ERROR_GATE, 1) {
            return;
        }
        self.counters.error_out(code);
        let mut packet = self.begin(incoming.source, Verb::Error);
        packet.push(in_re as u8);
        packet.extend_from_slice(&incoming.id.to_be_bytes());
        packet.push(code);
        packet.extend_from_slice(&network.0.to_be_bytes());
        self.reply(now, incoming.via, packet);
    }

    /// Sends to an explicit endpoint, from one socket or from all.
    pub(crate) fn send_to(
        &mut self,
        now: Time,
        socket: Option<SocketId>,
        to: SocketAddr,
        mut packet: Vec<u8>,
    ) {
        let dest = packet::dest(&packet);
        if let Some(peer) = self.topology.peers.get_mut(&dest) {
            let verb = packet::verb_byte(&packet) & packet::VERB_MASK;
            peer.seal(&mut packet, self.settings.cipher);
            peer.packets.sent += 1;
            if wants_reply(verb) {
                self.expected.insert(now, packet::id(&packet), dest, verb, to);
            }
            self.counters.packet_out(verb);
            self.put(now, socket, to, None, &packet);
        }
        self.scratch = packet;
    }

    /// Puts a finished datagram into the outbox.
    pub(crate) fn put(
        &mut self,
        now: Time,
        socket: Option<SocketId>,
        to: SocketAddr,
        ttl: Option<u8>,
        data: &[u8],
    ) {
        if let Some(socket) = socket {
            self.topology.paths.sent(&PathKey { socket, remote: to }, now);
        }
        self.counters.bytes_out += data.len() as u64;
        self.outbox.datagrams.push(socket, to, ttl, &[], data);
    }

    /// Protects a packet for its destination and puts it, cut as the path wants it, into the outbox.
    fn emit(&mut self, now: Time, packet: &mut [u8], key: PathKey, manner: Manner) {
        let dest = packet::dest(packet);
        let mtu = self.datagram_size(now, dest, &key, packet.len());
        let Some(peer) = self.topology.peers.get_mut(&dest) else { return };
        let ip = key.remote.ip();
        let copy = manner == Manner::Copy;
        if packet.len() > packet::max_packet(mtu) {
            self.counters.dropped += 1;
            self.counters.copies.too_large += u64::from(copy);
            return;
        }
        if copy && !self.outbox.datagrams.has_room_for_copies() {
            self.counters.copies.too_many += 1;
            return;
        }
        let verb = packet::verb_byte(packet) & packet::VERB_MASK;
        packet::set_fragmented(packet, packet.len() > mtu);
        match self.settings.trusted_path(ip).filter(|_| manner != Manner::Back) {
            Some(id) => packet::mark_trusted(packet, id),
            None => peer.seal(packet, self.settings.cipher),
        }
        peer.packets.sent += 1;
        if wants_reply(verb) {
            self.expected.insert(now, packet::id(packet), dest, verb, key.remote);
        }
        self.counters.packet_out(verb);
        self.topology.paths.sent(&key, now);
        let (datagrams, counters) = (&mut self.outbox.datagrams, &mut self.counters);
        packet::datagrams(packet, mtu, Split::Halves, |head, data| {
            counters.bytes_out += (head.len() + data.len()) as u64;
            if copy {
                datagrams.push_copy(key.socket, key.remote, head, data);
            } else {
                datagrams.push(Some(key.socket), key.remote, None, head, data);
            }
        });
        counters.copies.sent += u64::from(copy);
    }

    /// Sends a packet that has just been emitted once more by another way, if the one it took is in doubt. What would have to be cut
    /// differently there is not sent.
    fn repeat(&mut self, now: Time, packet: &[u8], way: &Way) {
        let Some(copy) = way.copy else { return };
        let dest = packet::dest(packet);
        let mtu = self.settings.configured_mtu(copy.remote.ip()).unwrap_or(DEFAULT_MTU);
        if packet::is_fragmented(packet) != (packet.len() > mtu)
            || !Ways::may_copy(self, now, dest, way, packet.len())
        {
            return;
        }
        self.topology.paths.sent(&copy, now);
        let (datagrams, counters) = (&mut self.outbox.datagrams, &mut self.counters);
        packet::datagrams(packet, mtu, Split::Halves, |head, data| {
            counters.bytes_out += (head.len() + data.len()) as u64;
            datagrams.push_copy(copy.socket, copy.remote, head, data);
        });
    }

    /// Size of the datagrams into which a packet of `length` bytes to `dest` is cut on its way over `path`.
    pub(crate) fn datagram_size(&mut self, now: Time, dest: Address, path: &PathKey, length: usize) -> usize {
        if let Some(size) = self.settings.configured_mtu(path.remote.ip()) {
            return size;
        }
        if length <= FLOOR {
            return DEFAULT_MTU;
        }
        // On the way over somebody else nobody knows what comes after him.
        let direct = self.topology.peers.get(&dest).is_some_and(|peer| {
            peer.version.answers_echo() && peer.paths.iter().any(|known| known.key == *path)
        });
        let size = if direct { self.path_mtus.size_for(now, dest, path) } else { DEFAULT_MTU };
        // A packet has so many fragments at most; rather let IP cut them once more.
        if length > max_packet(size) { size.max(DEFAULT_MTU) } else { size }
    }

    /// Sends FRAMEs of a network to a member, by the best path there is; without one they wait. This is the one place where a
    /// frame's peer, path and datagram size are looked up, once for all that leave together.
    pub(crate) fn send_frames(
        &mut self,
        now: Time,
        to: Address,
        network: NetworkId,
        ethertype: u16,
        parts: &Parts<'_>,
    ) {
        let us = self.address();
        let chosen = |link: &mut Self| {
            let peer = link.topology.peers.get_mut(&to)?;
            peer.take_chosen_path(now, &mut link.topology.paths)
        };
        let (way, is_noted) = match chosen(self) {
            Some(key) => (Way { key, direct: true, copy: None }, true),
            None => match Ways::choose(self, now, to, true).filter(|_| to != us) {
                Some(way) => (way, false),
                None => return self.let_frames_wait(now, to, network, ethertype, parts),
            },
        };
        let key = way.key;
        let octets = if way.copy.is_some() { parts.count() * (HEAD + parts.longest()) } else { 0 };
        let copy = way.copy.filter(|_| Ways::may_copy(self, now, to, &way, octets));
        let Some(peer) = self.topology.peers.get_mut(&to) else { return };
        let physical = self.settings.physical(key.remote.ip());
        let bits = parts.ecn(ethertype);
        let length = HEAD + parts.longest();
        // On the way over somebody else nobody knows what comes after him.
        let configured = physical.and_then(|physical| physical.datagram_size());
        let is_measured = configured.is_none() && length > FLOOR && way.direct && peer.version.answers_echo();
        let (measured, takes_ecn) = if is_measured {
            self.path_mtus.in_use(now, to, &key)
        } else {
            (DEFAULT_MTU, bits != ecn::NOT_CAPABLE && self.path_mtus.takes_ecn(to, &key))
        };
        let mtu = match configured {
            Some(size) => size,
            // A packet has so many fragments at most; rather let IP cut them once more.
            None if length > packet::max_packet(measured) => measured.max(DEFAULT_MTU),
            None => measured,
        };
        let mut head = [0; HEAD];
        head[..packet::HEADER_LEN].copy_from_slice(&packet::header(0, to, us, Verb::Frame));
        head[packet::HEADER_LEN..].copy_from_slice(&Frame::head(network, ethertype));
        let orders = SendPlan {
            head,
            keys: &peer.keys,
            suite: peer.suite(self.settings.cipher),
            trusted: physical.and_then(|physical| physical.trusted_path()),
            socket: key.socket,
            remote: key.remote,
            mtu,
            ecn: if takes_ecn { bits } else { ecn::NOT_CAPABLE },
        };
        let first = if orders.are_numbered() { peer.sent.take(parts.count()) } else { 0 };
        if let Some(PathKey { socket, remote }) = copy {
            // Before the original, which lanes may protect where it lies.
            let again =
                SendPlan { socket, remote, mtu: DEFAULT_MTU, ecn: ecn::NOT_CAPABLE, ..orders.clone() };
            let amount = again.carry_out(parts, first, &mut self.rng, &mut self.outbox.datagrams);
            self.counters.bytes_out += amount.octets;
        }
        let amount = self.outbox.send(ethertype, &orders, first, &mut self.rng, parts);
        peer.packets.sent += amount.packets;
        self.counters.dropped += amount.too_long;
        self.counters.bytes_out += amount.octets;
        self.counters.packets_out[Verb::Frame as usize] += amount.packets;
        if amount.packets > 0 && !is_noted {
            self.topology.paths.sent(&key, now);
        }
    }

    /// Frames for a member that cannot be reached yet.
    fn let_frames_wait(
        &mut self,
        now: Time,
        to: Address,
        network: NetworkId,
        ethertype: u16,
        parts: &Parts<'_>,
    ) {
        for index in 0..parts.count() {
            let mut packet = self.begin(to, Verb::Frame);
            Frame { network, ethertype, payload: &[] }.write(&mut packet);
            parts.write(index, &mut packet);
            self.send(now, packet);
        }
    }

    /// Tries again to send what waits for `peer`, or for anybody.
    pub(crate) fn retry_sending(&mut self, now: Time, peer: Option<Address>) {
        for mut waiting in self.sending.take(now, peer) {
            let is_answer = waiting.via.is_some();
            let key = if is_answer {
                self.live_route(now, waiting.to)
            } else {
                Ways::choose(self, now, waiting.to, true).map(|way| way.key)
            };
            if let Some(key) = key {
                let manner = if waiting.copy { Manner::Copy } else { Manner::ByAddress };
                self.emit(now, &mut waiting.packet, key, manner);
            } else {
                if !self.topology.peers.contains_key(&waiting.to) {
                    self.whois(now, waiting.to);
                }
                self.sending.push(waiting);
            }
        }
        self.counters.copies.unreachable += self.sending.take_lost_copies();
    }

    /// Asks the best root who `address` is, at most twice a second.
    pub(crate) fn whois(&mut self, now: Time, address: Address) {
        if address.is_reserved() || address == self.address() {
            return;
        }
        let Some((root, _)) = self.topology.best_upstream(now) else { return };
        if root == address || !self.gates.whois.allow(&address, now, WHOIS_RETRY, 1) {
            return;
        }
        let mut packet = self.begin(root, Verb::Whois);
        packet.extend_from_slice(&address.to_bytes());
        self.send(now, packet);
    }

    /// WHOIS for the claimed sender of a packet nobody vouches for; bounded for all of them together, since anyone can forge
    /// senders.
    pub(crate) fn whois_source(&mut self, now: Time, address: Address) {
        if self.gates.unknown_sources.allow(now, UNKNOWN_SOURCE_GATE, UNKNOWN_SOURCE_BURST) {
            self.whois(now, address);
        }
    }
}
