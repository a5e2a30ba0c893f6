//! Asking: which path reaches a peer, whether it is there, who an address is.
//!
//! Specification: VL1 behaviour, "sending by address, queues, WHOIS"; VL1 verbs, "HELLO" and "ECHO".

use std::net::SocketAddr;

use protocol::inet::Scope;
use protocol::packet::{self, HEADER_LEN, SessionKeys};
use protocol::verb::Verb;
use protocol::verbs::{Hello, MoonEntry, write_hello};
use protocol::{Address, Identity, Time, scope};
use rand::RngExt;

use super::Link;
use crate::ground::event::{Errand, Urgency};
use crate::ground::limits::{CONFIRM_GATE, HINT_GATE, PATH_EXPIRY, RELAYED_HELLO};
use crate::ground::work;
use crate::link::extension::{Known, PROBE};
use crate::link::path::{PathKey, SocketId};
use crate::link::ways::Ways;

impl Link {
    /// A path to `dest` on which answers come, direct or by the best root.
    pub(crate) fn live_route(&self, now: Time, dest: Address) -> Option<PathKey> {
        let direct = self.topology.direct_path(now, dest);
        let relay = || self.topology.relay_path(now, &[dest]).map(|(_, path)| path);
        let path = direct.filter(|path| path.is_alive()).or_else(|| relay().filter(|path| path.is_alive()));
        path.map(|path| path.key)
    }

    /// Says HELLO through a root to a peer that never told its version: its answer lets us use the faster suite, relayed or not.
    /// The reference does not, and stays with the slow one until there is a direct path.
    pub(super) fn greet_through(&mut self, now: Time, dest: Address, relay: PathKey) {
        let Some(peer) = self.topology.peers.get(&dest) else { return };
        if peer.version.protocol == 0 && peer.greeted.once.is_none_or(|at| now - at >= RELAYED_HELLO) {
            self.say_hello(now, dest, Some(relay.socket), relay.remote);
        }
    }

    /// Says HELLO to addresses somebody told us to try for a peer that cannot be reached directly.
    pub(super) fn try_hints(&mut self, now: Time, dest: Address) {
        let configured = self.settings.peers.get(&dest).map_or(&[][..], |p| &p.hints[..]);
        let cached = self.hints.get(&dest).map_or(&[][..], |h| &h[..]);
        if configured.is_empty() && cached.is_empty() {
            return;
        }
        let Some(peer) = self.topology.peers.get_mut(&dest) else { return };
        if !peer.gates.hints.allow(now, HINT_GATE, 1) {
            return;
        }
        let learned = cached.iter().filter(|to| self.may_probe(**to));
        let hints: Vec<SocketAddr> = configured.iter().chain(learned).copied().take(8).collect();
        for to in hints {
            self.say_hello(now, dest, None, to);
        }
    }

    /// Says HELLO to a known peer at an endpoint, from one socket or from all.
    pub(crate) fn say_hello(
        &mut self,
        now: Time,
        to: Address,
        socket: Option<SocketId>,
        endpoint: SocketAddr,
    ) {
        let Some(peer) = self.topology.peers.get_mut(&to) else { return };
        peer.greeted.once = Some(now);
        if let Some(path) = socket.and_then(|socket| peer.path_mut(&PathKey { socket, remote: endpoint })) {
            path.probed(now);
        }
        let held = self.topology.moons.values().map(|m| MoonEntry { id: m.id, timestamp: m.timestamp });
        let awaited = self.topology.seeds.keys().map(|id| MoonEntry { id: *id, timestamp: 0 });
        let moons: Vec<MoonEntry> = held.chain(awaited).collect();
        let id = self.rng.random();
        let Some(peer) = self.topology.peers.get_mut(&to) else { return };
        peer.packets.sent += 1;
        let keys = peer.keys.clone();
        let packet = self.hello_packet(now, id, to, endpoint, &moons, &keys);
        self.expected.insert(now, packet::id(&packet), to, Verb::Hello as u8, endpoint);
        self.put(now, socket, endpoint, None, &packet);
        self.scratch = packet;
    }

    /// A HELLO with that packet ID, in the reusable buffer.
    pub(crate) fn hello_packet(
        &mut self,
        now: Time,
        id: u64,
        to: Address,
        endpoint: SocketAddr,
        moons: &[MoonEntry],
        keys: &SessionKeys,
    ) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.scratch);
        buffer.clear();
        packet::start(&mut buffer, id, to, self.secret.identity().address, Verb::Hello);
        let (major, minor, revision) = protocol::metadata::ANNOUNCED_VERSION;
        let hello = Hello {
            protocol: self.settings.cipher.announced(),
            major,
            minor,
            revision,
            timestamp: now.as_ms().cast_unsigned(),
            identity: self.secret.identity().clone(),
            sent_to: Some(endpoint),
            planet: Some((self.topology.planet.id, self.topology.planet.timestamp)),
            masked_tail_at: None,
        };
        write_hello(&mut buffer, 0, &hello, moons, keys);
        self.counters.packets_out[Verb::Hello as usize] += 1;
        buffer
    }

    /// Probes an endpoint of a peer: ECHO if it is known to answer that, else HELLO. From one socket or from all.
    pub(crate) fn contact(&mut self, now: Time, to: Address, socket: Option<SocketId>, endpoint: SocketAddr) {
        let Some(peer) = self.topology.peers.get(&to) else { return };
        if peer.version.answers_echo() {
            self.ask(now, to, socket, endpoint);
        } else {
            self.say_hello(now, to, socket, endpoint);
        }
    }

    /// Sends an empty ECHO to an endpoint of a peer.
    pub(crate) fn ask(&mut self, now: Time, to: Address, socket: Option<SocketId>, endpoint: SocketAddr) {
        let Some(peer) = self.topology.peers.get_mut(&to) else { return };
        if let Some(path) = socket.and_then(|socket| peer.path_mut(&PathKey { socket, remote: endpoint })) {
            path.probed(now);
        }
        let packet = self.begin(to, Verb::Echo);
        self.send_to(now, socket, endpoint, packet);
    }

    /// Asks a peer by an empty ECHO, the smallest packet there is, whether it is behind a path; the answer makes the path usable.
    pub(crate) fn confirm(&mut self, now: Time, source: Address, key: PathKey) {
        self.account_for_arrival(now);
        let Some(peer) = self.topology.peers.get_mut(&source) else { return };
        if peer.gates.allow_confirmation(now, key, CONFIRM_GATE)
            && self.may_send(now, key, packet::HEADER_LEN)
        {
            self.ask(now, source, Some(key.socket), key.remote);
        }
    }

    /// Sends the probes that are due.
    pub(crate) fn measure_paths(&mut self, now: Time) {
        if self.path_mtus.next().is_none_or(|due| now < due) {
            return;
        }
        for (peer, path, size) in self.path_mtus.due(now) {
            if let Some(later) = Ways::make_room(self, now, peer, &path) {
                self.path_mtus.put_off(peer, path, later);
                continue;
            }
            let id = self.probe(now, peer, path, size);
            self.path_mtus.tried(peer, path, id);
        }
    }

    /// Sends an ECHO that fills one datagram; gives its packet ID.
    pub(crate) fn probe(&mut self, now: Time, dest: Address, path: PathKey, size: usize) -> Option<u64> {
        if !self.topology.peers.contains_key(&dest) {
            return None;
        }
        let mut packet = self.begin(dest, Verb::Echo);
        packet.extend_from_slice(&PROBE);
        packet.resize(size.max(HEADER_LEN + PROBE.len()), 0);
        if let Some(peer) = self.topology.peers.get_mut(&dest) {
            peer.seal(&mut packet, self.settings.cipher);
            peer.packets.sent += 1;
        }
        let id = packet::id(&packet);
        self.expected.insert(now, id, dest, Verb::Echo as u8, path.remote);
        self.counters.packets_out[Verb::Echo as usize] += 1;
        self.counters.bytes_out += packet.len() as u64;
        self.topology.paths.sent(&path, now);
        self.outbox.datagrams.push_whole(path.socket, path.remote, &packet);
        self.scratch = packet;
        Some(id)
    }

    /// Finds out whether a peer is a ztnode and what it can do, unless that is known. `again`: although it is known, for what
    /// came from it does not fit.
    pub(crate) fn recognize(&mut self, now: Time, source: Address, again: bool) {
        let Some(peer) = self.topology.peers.get_mut(&source) else { return };
        let wanted = again || peer.extensions.known == Known::Unknown;
        if !wanted || !peer.version.answers_echo() || !peer.extensions.may_ask(now) {
            return;
        }
        // Looking for a way costs something as well, found or not.
        peer.extensions.try_at(now);
        // Never to where something came from just now: anybody can send from anywhere.
        let Some(way) = Ways::choose(self, now, source, false) else { return };
        let Some(id) = self.probe(now, source, way.key, 0) else { return };
        if let Some(peer) = self.topology.peers.get_mut(&source) {
            peer.extensions.asked(id);
            peer.replay.asking();
        }
    }

    /// Whether somebody behind a path has answered a packet of ours lately.
    pub(crate) fn is_proven(&self, now: Time, key: &PathKey) -> bool {
        self.topology.paths.get(key).is_some_and(|path| now - path.proven_at < PATH_EXPIRY)
    }

    /// Whether a datagram of `octets` may go to where something came from: to an endpoint that has not proven itself no more
    /// than came from it. It is written off then.
    pub(crate) fn may_send(&mut self, now: Time, key: PathKey, octets: usize) -> bool {
        self.is_proven(now, &key) || {
            self.account_for_arrival(now);
            self.unproven.spend(now, key.remote, octets)
        }
    }

    /// The datagram being handled lets out so much to where it came from, if that endpoint has not proven itself.
    fn account_for_arrival(&mut self, now: Time) {
        if let Some((via, octets)) = self.arrival.take() {
            self.unproven.received(now, via.remote, octets);
        }
    }

    /// Whether an address that somebody told us may be tried at all.
    pub(crate) fn may_probe(&self, remote: SocketAddr) -> bool {
        let Some(on_link) = &self.on_link else { return true };
        let kept =
            matches!(scope(remote.ip()), Scope::Private | Scope::Shared | Scope::LinkLocal | Scope::Loopback);
        !kept || on_link.iter().any(|prefix| prefix.contains(remote.ip()))
    }

    /// Whether a physical address may be used for a peer: usable in itself, listed if the peer is a root, not inside a virtual
    /// network of ours, not blacklisted.
    pub(crate) fn path_allowed(&self, peer: Address, remote: SocketAddr) -> bool {
        let ip = remote.ip();
        if remote.port() == 0 || !protocol::inet::usable_for_paths(ip) {
            return false;
        }
        if let Some(endpoints) = self.topology.upstreams.get(&peer)
            && !endpoints.is_empty()
            && !endpoints.iter().any(|e| e.ip() == ip)
        {
            return false;
        }
        if self.virtual_addresses.iter().inspect(|_| work::step()).any(|of| of.bits > 0 && of.contains(ip)) {
            return false;
        }
        !self.settings.physical(ip).is_some_and(|n| n.blacklist)
            && !self.settings.peers.get(&peer).is_some_and(|p| p.blacklist.iter().any(|b| b.contains(ip)))
    }

    /// Takes in an identity a root told us: it becomes a peer when it has been checked.
    pub(crate) fn learn_identity(&mut self, identity: Identity) {
        let address = identity.address;
        let unusable = address == self.address() || address.is_reserved();
        if !unusable && !self.topology.peers.contains_key(&address) {
            let urgency = self.urgency_of(address, Urgency::Told);
            self.check_identity(identity, urgency);
        }
    }

    /// How urgent it is to know a peer: more than otherwise if a network or a packet of ours waits for it.
    pub(crate) fn urgency_of(&self, address: Address, otherwise: Urgency) -> Urgency {
        let controls = self.controllers.contains(&address);
        if controls || self.sending.waits_for(address) { Urgency::Awaited } else { otherwise }
    }

    /// Has an identity checked against its memory-hard hash; [`Core::identity_checked`] tells the outcome.
    pub(crate) fn check_identity(&mut self, identity: Identity, urgency: Urgency) {
        self.outbox.errands.push_back(Errand::CheckIdentity { identity, urgency });
    }
}
