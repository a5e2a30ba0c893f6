//! What it does by the clock, for others, and when it seems to be elsewhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use protocol::metadata::RequestMetadata;
use protocol::packet::{self, Datagram, MAX_HOPS};
use protocol::verb::Verb;
use protocol::verbs::{ConfigRequest, PushDirectPaths, PushedPath, Rendezvous};
use protocol::{Address, NetworkId, Span, Time, inet, scope};
use rand::RngExt;
use rand::seq::IndexedRandom;

use super::peers::{PathKey, within};
use super::{Double, HEARTBEAT, PATH_EXPIRY, Reporter, Surface, TRUST};

/// Whoever is to be kept in contact with is looked at so often.
pub const PING_CHECK: Span = Span::ms(5_000);
pub const HOUSEKEEPING: Span = Span::ms(30_000);
/// A peer is greeted on all paths so often, while it is active.
const FULL_HELLO: Span = Span::ms(60_000);
/// A root that is on a path is left alone for so long after it was greeted.
const QUIET: Span = Span::ms(224_000);
/// A configuration is asked for again after this.
const CONFIG: Span = Span::ms(60_000);
/// Addresses are pushed so often where a packet came directly, and where it was relayed.
const PUSH_DIRECT: Span = Span::ms(120_000);
const PUSH_RELAYED: Span = Span::ms(15_000);
/// A pair is introduced once in so long …
const INTRODUCTION: Span = Span::ms(30_000);
/// … and what it knows of a pair forgotten after this.
const PAIR: Span = Span::ms(240_000);
/// What somebody says of where it is holds so long.
const SURFACE: Span = Span::ms(600_000);

impl Double {
    pub(super) fn ping_check(&mut self, now: Time) {
        let mut wanted: BTreeMap<Address, Vec<SocketAddr>> = self
            .planet
            .roots
            .iter()
            .map(|root| (root.identity.address, root.endpoints.clone()))
            .filter(|(address, _)| *address != self.address())
            .collect();
        let others: Vec<Address> = self.peers.keys().copied().collect();
        for address in others {
            let Some(endpoints) = wanted.get(&address).cloned() else {
                if self.peers[&address].is_active(now) {
                    self.keep_alive(now, address);
                }
                continue;
            };
            let peer = &self.peers[&address];
            let quiet = if peer.paths.is_empty() { Span::ZERO } else { QUIET };
            if peer.full_hello.is_some_and(|at| now - at <= quiet) {
                continue;
            }
            if !self.keep_alive(now, address)
                && let Some(endpoint) = endpoints.choose(&mut self.rng).copied()
            {
                self.say_hello(address, endpoint, now);
            }
            wanted.remove(&address);
        }
        // Roots that were left alone are asked for, which is what keeps the way to the best root open.
        wanted.into_keys().for_each(|root| self.ask_who(now, root));
        let due = |updated: Option<Time>| !within(updated, now, CONFIG);
        let networks: Vec<NetworkId> =
            self.networks.iter().filter(|(_, joined)| due(joined.updated)).map(|(id, _)| *id).collect();
        networks.into_iter().for_each(|network| self.request_config(now, network));
    }

    fn request_config(&mut self, now: Time, network: NetworkId) {
        let controller = network.controller();
        let metadata = RequestMetadata { rule_lines: false, ..RequestMetadata::ours("") };
        let mut packet = self.begin(controller, Verb::NetworkConfigRequest);
        let metadata = metadata.to_dictionary();
        ConfigRequest { network, metadata: metadata.as_bytes(), revision: None, timestamp: None }
            .write(&mut packet);
        packet::compress(&mut packet, 0);
        self.send(now, controller, packet);
    }

    /// Heartbeats; whether any went out. Paths that are expired, or behind those of a higher priority, are dropped.
    fn keep_alive(&mut self, now: Time, address: Address) -> bool {
        let Some(peer) = self.peers.get_mut(&address) else { return false };
        let full = peer.full_hello.is_none_or(|at| now - at >= FULL_HELLO);
        if full {
            peer.full_hello = Some(now);
        }
        let highest = peer.paths.iter().map(|path| path.priority).max().unwrap_or(0);
        peer.paths.retain(|path| within(path.last, now, PATH_EXPIRY) && path.priority == highest);
        let keys: Vec<PathKey> = peer.paths.iter().map(|path| path.key).collect();
        let mut any = false;
        for key in keys {
            let path = self.paths.entry(key).or_default();
            if full || !within(path.last_out, now, HEARTBEAT) {
                path.last_out = Some(now);
                self.contact(address, key.remote, now, full);
                any = true;
            }
        }
        any
    }

    pub(super) fn clean(&mut self, now: Time) {
        let roots: Vec<Address> = self.peers.keys().copied().filter(|of| self.is_upstream(*of)).collect();
        self.peers.retain(|address, peer| roots.contains(address) || peer.is_alive(now));
        let peers = &self.peers;
        self.paths.retain(|key, _| peers.values().any(|peer| peer.paths.iter().any(|path| path.key == *key)));
        self.introduced.retain(|_, at| now - *at < PAIR);
        self.surfaces.retain(|_, surface| now - surface.at < SURFACE);
    }

    /// Members are told where it may be reached, now and then.
    pub(super) fn push_addresses(&mut self, now: Time, via: PathKey, to: Address, hops: u8) {
        let every = if hops == 0 { PUSH_DIRECT } else { PUSH_RELAYED };
        let (bound, surfaces) = (self.seat.bound, &self.surfaces);
        let Some(peer) = self.peers.get_mut(&to) else { return };
        if !peer.is_trusted(now) || within(peer.push, now, every) {
            return;
        }
        peer.push = Some(now);
        let mut addresses = vec![bound];
        let mut seen: Vec<SocketAddr> = surfaces.values().map(|surface| surface.address).collect();
        seen.sort_unstable();
        seen.dedup();
        addresses.extend(seen);
        let pushed: Vec<PushedPath> =
            addresses.into_iter().map(|endpoint| PushedPath { flags: 0, endpoint }).collect();
        for records in PushDirectPaths::packets(&pushed).map(<[PushedPath]>::to_vec).collect::<Vec<_>>() {
            let mut packet = self.begin(to, Verb::PushDirectPaths);
            PushDirectPaths(records).write(&mut packet);
            packet::compress(&mut packet, 0);
            self.reply(now, via, to, packet);
        }
    }

    /// Somebody says where it is seen. When a root sees it at another IP address, all paths have to prove themselves anew.
    pub(super) fn seen_as(&mut self, now: Time, who: Address, via: PathKey, address: SocketAddr) {
        let of = scope(address.ip());
        let unusable = [inet::Scope::None, inet::Scope::Loopback, inet::Scope::Multicast];
        if of != scope(via.remote.ip()) || unusable.contains(&of) {
            return;
        }
        let before = self.surfaces.insert(Reporter { who, via }, Surface { address, at: now });
        let elsewhere =
            before.is_some_and(|before| now - before.at < SURFACE && before.address.ip() != address.ip());
        if !elsewhere || !self.is_upstream(who) {
            return;
        }
        self.surfaces.retain(|other, seen| other.via.remote == via.remote || scope(seen.address.ip()) != of);
        let mut reset = Vec::new();
        for (peer, known) in &mut self.peers {
            for path in known.paths.iter_mut().filter(|path| {
                path.key.remote.is_ipv4() == address.is_ipv4() && scope(path.key.remote.ip()) == of
            }) {
                path.last = None;
                reset.push((*peer, path.key));
            }
        }
        for (peer, key) in reset {
            self.contact(peer, key.remote, now, false);
            self.paths.entry(key).or_default().last_out = Some(now);
        }
    }

    /// A packet or a fragment for somebody else.
    pub(super) fn relay(&mut self, now: Time, via: PathKey, data: &[u8]) {
        let trusted = self.paths.get(&via).is_some_and(|path| path.is_trusted(now));
        if !self.am_root() && !trusted {
            return;
        }
        let mut data = data.to_vec();
        let is_packet = packet::classify(&data) == Datagram::Packet;
        let hops = if is_packet { packet::hops(&data) } else { packet::fragment_hops(&data) };
        if hops >= MAX_HOPS {
            return;
        }
        if is_packet {
            packet::increment_hops(&mut data);
        } else {
            packet::increment_fragment_hops(&mut data);
        }
        let to = packet::dest(&data);
        let from = if is_packet { Some(packet::source(&data)) } else { None };
        let direct = self.peers.get(&to).and_then(|peer| peer.best_path(now, &self.paths, false));
        if let Some(key) = direct {
            self.forward(now, key, &data);
            if let Some(from) = from {
                let pair = (from.min(to), from.max(to));
                if self.introduced.get(&pair).is_none_or(|at| now - *at >= INTRODUCTION) {
                    self.introduced.insert(pair, now);
                    self.introduce(now, to, from);
                }
            }
        } else if let Some(root) = self.best_root(now).filter(|root| Some(*root) != from)
            && let Some(key) = self.peers[&root].best_path(now, &self.paths, true)
        {
            self.forward(now, key, &data);
            if let Some(from) = from {
                self.introduce(now, root, from);
            }
        }
    }

    /// Tells two peers of each other: of the closest scope and the newest family in which it knows both.
    fn introduce(&mut self, now: Time, a: Address, b: Address) {
        let best = |of: Address, near: u8, v6: bool| {
            let peer = self.peers.get(&of)?;
            let mut few = super::peers::Peer::new(peer.identity.clone(), peer.keys.clone());
            few.paths.extend(peer.paths.iter().filter_map(|path| {
                let remote = path.key.remote;
                let fits = scope(remote.ip()) as u8 == near && remote.is_ipv6() == v6;
                fits.then_some(super::peers::PeerPath { ..*path })
            }));
            few.best_path(now, &self.paths, true)
        };
        let pair = (0..=7u8)
            .rev()
            .flat_map(|near| [(near, true), (near, false)])
            .find_map(|(near, v6)| Some((best(a, near, v6)?, best(b, near, v6)?)));
        let Some((of_a, of_b)) = pair else { return };
        let mut told = [(a, of_a, b, of_b), (b, of_b, a, of_a)];
        if self.rng.random() {
            told.reverse();
        }
        for (to, via, peer, at) in told {
            let mut packet = self.begin(to, Verb::Rendezvous);
            Rendezvous { peer, endpoint: at.remote }.write(&mut packet);
            self.reply(now, via, to, packet);
        }
    }

    /// Whether it takes a peer for trusted: a member of a common network was heard.
    pub fn trusts(&self, now: Time, peer: Address) -> bool {
        self.peers.get(&peer).is_some_and(|peer| within(peer.last_trusted, now, TRUST))
    }
}
