//! A packet's way out: choosing a path, protecting, cutting into datagrams; and the queue for what cannot go yet.
//!
//! Specification: VL1 behaviour, "sending by address, queues, WHOIS"; packet format, "order of operations".

use std::net::SocketAddr;

use protocol::packet::{self, Split};
use protocol::verb::Verb;
use protocol::{Address, Identity};
use rand::RngExt;

use super::Core;
use super::event::Urgency;
use super::info::QueueCounters;
use super::limits::{
    HINT_GATE, PATH_EXPIRY, RELAYED_HELLO, UNKNOWN_SOURCE_BURST, UNKNOWN_SOURCE_GATE, WHOIS_RETRY,
};
use super::path::{PathKey, SocketId};
use super::queue::Waiting;

/// How a packet leaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// To whom it is addressed, by the path chosen for that.
    ByAddress,
    /// Back on the path something came by.
    Back,
    /// By address, but dispensable: a copy that rules asked for.
    Copy,
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

impl Core {
    /// Begins a packet in the reusable buffer; hand it to [`Core::send`], [`Core::reply`] or [`Core::send_to`].
    pub(super) fn begin(&mut self, dest: Address, verb: Verb) -> Vec<u8> {
        let mut packet = std::mem::take(&mut self.scratch);
        packet.clear();
        let id = self.rng.random();
        packet::start(&mut packet, id, dest, self.address(), verb);
        packet
    }

    /// Sends a packet to whom it is addressed, by the best path there is, or lets it wait for one.
    pub(super) fn send(&mut self, now: i64, mut packet: Vec<u8>) {
        let dest = packet::dest(&packet);
        if dest == self.address() {
            self.scratch = packet;
            return;
        }
        if let Some(key) = self.route(now, dest) {
            self.emit(now, &mut packet, key, Way::ByAddress);
            self.scratch = packet;
        } else {
            self.await_route(now, dest, false, packet);
        }
    }

    fn await_route(&mut self, now: i64, dest: Address, copy: bool, packet: Vec<u8>) {
        if !self.topology.peers.contains_key(&dest) {
            self.whois(now, dest);
        }
        self.sending.push(Waiting { since: now, peer: dest, via: None, open: false, copy, packet });
        self.count_lost_copies();
    }

    fn count_lost_copies(&mut self) {
        self.counters.copies.unreachable += self.sending.take_lost_copies();
    }

    /// Whether it makes sense to build a copy for `to`; counts the one that is not built otherwise.
    pub(super) fn has_room_for_copy(&mut self, now: i64, to: Address) -> bool {
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
    pub(super) fn send_copy(&mut self, now: i64, mut packet: Vec<u8>) {
        let dest = packet::dest(&packet);
        if dest == self.address() {
            self.scratch = packet;
        } else if let Some(key) = self.route(now, dest) {
            self.emit(now, &mut packet, key, Way::Copy);
            self.scratch = packet;
        } else {
            self.await_route(now, dest, true, packet);
        }
    }

    /// Counts datagrams of copies that the operating system had no room for.
    pub fn copies_congested(&mut self, datagrams: u64) {
        self.counters.copies.congested += datagrams;
    }

    /// The counters of what waits outside of the core.
    pub fn queues_mut(&mut self) -> &mut QueueCounters {
        &mut self.counters.queues
    }

    /// Answers on the path a request came by, relayed or not. What is too much for an endpoint that has not proven itself goes by
    /// another path, or waits until one has.
    pub(super) fn reply(&mut self, now: i64, via: PathKey, mut packet: Vec<u8>) {
        if self.may_send(now, via, packet.len()) {
            self.emit(now, &mut packet, via, Way::Back);
            self.scratch = packet;
        } else {
            let dest = packet::dest(&packet);
            self.confirm(now, dest, via);
            if let Some(key) = self.live_route(now, dest) {
                self.emit(now, &mut packet, key, Way::ByAddress);
                self.scratch = packet;
            } else {
                self.sending.push(Waiting {
                    since: now,
                    peer: dest,
                    via: Some(via),
                    open: false,
                    copy: false,
                    packet,
                });
            }
        }
    }

    /// A path to `dest` on which answers come, direct or by the best root.
    fn live_route(&self, now: i64, dest: Address) -> Option<PathKey> {
        let direct = self.topology.direct_path(now, dest).filter(|(_, alive)| *alive).map(|(key, _)| key);
        direct.or_else(|| {
            let relay = self.topology.relay_path(now).filter(|(root, _, alive)| *alive && *root != dest);
            relay.map(|(_, key, _)| key)
        })
    }

    /// Sends to an explicit endpoint, from one socket or from all.
    pub(super) fn send_to(
        &mut self,
        now: i64,
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
            self.count_out(verb);
            self.put(now, socket, to, None, &packet);
        }
        self.scratch = packet;
    }

    /// Puts a finished datagram into the outbox.
    pub(super) fn put(
        &mut self,
        now: i64,
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
    fn emit(&mut self, now: i64, packet: &mut [u8], key: PathKey, way: Way) {
        let dest = packet::dest(packet);
        let mtu = self.datagram_size(now, dest, &key, packet.len());
        let Some(peer) = self.topology.peers.get_mut(&dest) else { return };
        let ip = key.remote.ip();
        let copy = way == Way::Copy;
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
        match self.settings.trusted_path(ip).filter(|_| way != Way::Back) {
            Some(id) => packet::mark_trusted(packet, id),
            None => peer.seal(packet, self.settings.cipher),
        }
        peer.packets.sent += 1;
        if wants_reply(verb) {
            self.expected.insert(now, packet::id(packet), dest, verb, key.remote);
        }
        self.count_out(verb);
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

    /// The path a packet to `dest` takes now: a live direct one; else the best root, while the direct one is probed; else
    /// whatever might still work.
    pub(super) fn route(&mut self, now: i64, dest: Address) -> Option<PathKey> {
        let direct = self.topology.peers.get(&dest)?.best_path(now, &self.topology.paths, PATH_EXPIRY);
        if let Some((key, true)) = direct {
            return Some(key);
        }
        match direct {
            Some((key, _)) => self.confirm(now, dest, key),
            None => self.try_hints(now, dest),
        }
        let relay = self.topology.relay_path(now).filter(|(root, ..)| *root != dest);
        if let Some((_, key, true)) = relay {
            self.greet_through(now, dest, key);
        }
        match (direct, relay) {
            (_, Some((_, key, true))) => Some(key),
            (Some((key, _)), _) | (None, Some((_, key, _))) => Some(key),
            (None, None) => {
                let peer = self.topology.peers.get(&dest)?;
                peer.best_path(now, &self.topology.paths, i64::MAX).map(|(key, _)| key)
            }
        }
    }

    /// Says HELLO through a root to a peer that never told its version: its answer lets us use the faster suite, relayed or not.
    /// The reference does not, and stays with the slow one until there is a direct path.
    fn greet_through(&mut self, now: i64, dest: Address, relay: PathKey) {
        let Some(peer) = self.topology.peers.get(&dest) else { return };
        if peer.version.protocol == 0 && now - peer.last_attempt >= RELAYED_HELLO {
            self.say_hello(now, dest, Some(relay.socket), relay.remote);
        }
    }

    /// Says HELLO to addresses somebody told us to try for a peer that cannot be reached directly.
    fn try_hints(&mut self, now: i64, dest: Address) {
        let configured = self.settings.peers.get(&dest).map_or(&[][..], |p| &p.hints[..]);
        let cached = self.hints.get(&dest).map_or(&[][..], |h| &h[..]);
        if configured.is_empty() && cached.is_empty() {
            return;
        }
        let Some(peer) = self.topology.peers.get_mut(&dest) else { return };
        if !peer.hints.allow(now, HINT_GATE, 1) {
            return;
        }
        let learned = cached.iter().filter(|to| self.may_probe(**to));
        let hints: Vec<SocketAddr> = configured.iter().chain(learned).copied().take(8).collect();
        for to in hints {
            self.say_hello(now, dest, None, to);
        }
    }

    /// Asks the best root who `address` is, at most twice a second.
    pub(super) fn whois(&mut self, now: i64, address: Address) {
        if address.is_reserved() || address == self.address() {
            return;
        }
        let Some((root, _)) = self.topology.best_upstream(now) else { return };
        if root == address || !self.whois.allow(&address, now, WHOIS_RETRY, 1) {
            return;
        }
        let mut packet = self.begin(root, Verb::Whois);
        packet.extend_from_slice(&address.to_bytes());
        self.send(now, packet);
    }

    /// WHOIS for the claimed sender of a packet nobody vouches for; bounded for all of them together, since anyone can forge
    /// senders.
    pub(super) fn whois_source(&mut self, now: i64, address: Address) {
        if self.unknown_sources.allow(now, UNKNOWN_SOURCE_GATE, UNKNOWN_SOURCE_BURST) {
            self.whois(now, address);
        }
    }

    /// Takes in an identity a root told us: it becomes a peer when it has been checked.
    pub(super) fn learn_identity(&mut self, identity: Identity) {
        let address = identity.address;
        let unusable = address == self.address() || address.is_reserved();
        if !unusable && !self.topology.peers.contains_key(&address) {
            let urgency = self.urgency_of(address, Urgency::Told);
            self.check_identity(identity, urgency);
        }
    }

    /// How urgent it is to know a peer: more than otherwise if a network or a packet of ours waits for it.
    pub(super) fn urgency_of(&self, address: Address, otherwise: Urgency) -> Urgency {
        let controls = self.networks.keys().any(|id| id.controller() == address);
        if controls || self.sending.waits_for(address) { Urgency::Awaited } else { otherwise }
    }

    /// Tries again to send what waits for `peer`, or for anybody.
    pub(super) fn retry_sending(&mut self, now: i64, peer: Option<Address>) {
        for mut waiting in self.sending.take(now, peer) {
            let is_answer = waiting.via.is_some();
            let key =
                if is_answer { self.live_route(now, waiting.peer) } else { self.route(now, waiting.peer) };
            if let Some(key) = key {
                let way = if waiting.copy { Way::Copy } else { Way::ByAddress };
                self.emit(now, &mut waiting.packet, key, way);
            } else {
                if !self.topology.peers.contains_key(&waiting.peer) {
                    self.whois(now, waiting.peer);
                }
                self.sending.push(waiting);
            }
        }
        self.count_lost_copies();
    }

    /// Tries again to handle what waits for the identity or credentials of `peer`, or of anybody.
    pub(super) fn retry_parked(&mut self, now: i64, peer: Option<Address>) {
        for mut waiting in self.parked.take(now, peer) {
            let Some(via) = waiting.via else { continue };
            self.packet(now, via, &mut waiting.packet, waiting.open, Some(waiting.since));
        }
    }

    /// Counts an ERROR that is sent.
    pub(super) fn count_error(&mut self, code: u8) {
        self.counters.errors_out[usize::from(code & 0x0f)] += 1;
    }

    fn count_out(&mut self, verb: u8) {
        self.counters.packets_out[usize::from(verb & 0x1f)] += 1;
    }
}
