//! HELLO and OK(HELLO): how nodes learn of each other, agree on a key and find their outside address. What a HELLO of somebody
//! unknown has to pass stands in `newcomers`.
//!
//! Specification: VL1 verbs, "HELLO".

use std::net::SocketAddr;

use protocol::packet::{Sealed, Suite};
use protocol::verb::Verb;
use protocol::verbs::{Hello, MoonEntry, OkHello, error_code};
use protocol::{Address, Result, Span, Time};

use crate::ground::event::Event;
use crate::ground::event::Object;
use crate::link::Link;
use crate::link::arrival::Octets;
use crate::link::contact::Contacts;
use crate::link::newcomers::Newcomers;
use crate::link::path::PathKey;
use crate::link::peer::{OwedWorlds, RemoteVersion};
use crate::link::surface::Word;
use crate::link::topology::Accepted;
use crate::link::{Handled, Incoming};

/// Lowest protocol version spoken to; older nodes agree on keys differently.
pub(crate) const MIN_PROTOCOL: u8 = 4;
/// World updates in one OK(HELLO), bytes: the answer stays one datagram of the default size.
const MAX_WORLD_UPDATES: usize = 1_200;
/// Moons of a peer kept in mind until worlds may be sent to it.
const MAX_OWED_MOONS: usize = 8;

impl Newcomers {
    /// A stranger claims a known address. Proves that it holds the key it shows, then tells it under that key: under the
    /// known peer's, which the reference uses, it could not read the message.
    pub(crate) fn refuse_collision(
        &mut self,
        link: &mut Link,
        now: Time,
        via: PathKey,
        packet: Sealed<Octets<'_>>,
        hello: &Hello,
    ) -> Option<()> {
        let (keys, opened) = self.agree_with_newcomer(link, now, via, packet, hello)?;
        let mut answer = link.begin(hello.identity.address, Verb::Error);
        answer.push(Verb::Hello as u8);
        answer.extend_from_slice(&opened.id().to_be_bytes());
        answer.push(error_code::IDENTITY_COLLISION);
        link.counters.error_out(error_code::IDENTITY_COLLISION);
        keys.armor(&mut answer, Suite::Salsa);
        if link.may_send(now, via, answer.len()) {
            link.put(now, Some(via.socket), via.remote, None, &answer);
        }
        link.scratch = answer;
        Some(())
    }
}

impl Contacts {
    /// Answers a HELLO: with newer worlds if we have some, which an endpoint that has not proven itself gets later.
    pub(crate) fn answer_hello(
        &mut self,
        link: &mut Link,
        now: Time,
        via: PathKey,
        id: u64,
        hello: &Hello,
        moons: &[MoonEntry],
    ) {
        let mut worlds = self.newer_worlds(link, hello.planet, moons);
        if !worlds.is_empty() && !link.is_proven(now, &via) {
            worlds.clear();
            if let Some(peer) = link.topology.peers.get_mut(&hello.identity.address) {
                peer.owed_worlds = Some(Box::new(OwedWorlds {
                    hello: id,
                    timestamp: hello.timestamp,
                    protocol: hello.protocol,
                    planet: hello.planet,
                    moons: moons.iter().take(MAX_OWED_MOONS).copied().collect(),
                }));
            }
        }
        self.send_ok_hello(
            link,
            now,
            hello.identity.address,
            via,
            id,
            hello.timestamp,
            hello.protocol,
            &worlds,
        );
    }

    /// A path has proven itself: what worlds its peer lacks go there.
    pub(crate) fn send_owed_worlds(&mut self, link: &mut Link, now: Time, peer: Address, via: PathKey) {
        let Some(owed) = link.topology.peers.get_mut(&peer).and_then(|peer| peer.owed_worlds.take()) else {
            return;
        };
        let worlds = self.newer_worlds(link, owed.planet, &owed.moons);
        self.send_ok_hello(link, now, peer, via, owed.hello, owed.timestamp, owed.protocol, &worlds);
    }

    #[expect(clippy::too_many_arguments, reason = "what a HELLO said, and where it came from")]
    fn send_ok_hello(
        &mut self,
        link: &mut Link,
        now: Time,
        to: Address,
        via: PathKey,
        in_re: u64,
        timestamp: u64,
        theirs: u8,
        worlds: &[u8],
    ) {
        let (major, minor, revision) = protocol::metadata::ANNOUNCED_VERSION;
        let port = if theirs < 5 { 0 } else { via.remote.port() };
        let answer = OkHello {
            timestamp,
            protocol: link.settings.cipher.announced(),
            major,
            minor,
            revision,
            seen_as: Some(SocketAddr::new(via.remote.ip(), port)),
            world_bytes: worlds,
        };
        let mut packet = link.begin(to, Verb::Ok);
        packet.push(Verb::Hello as u8);
        packet.extend_from_slice(&in_re.to_be_bytes());
        answer.write(&mut packet);
        link.reply(now, via, packet);
    }

    /// Worlds we have in a newer version than the asker, serialized, as many as fit.
    fn newer_worlds(&self, link: &Link, planet: Option<(u64, u64)>, moons: &[MoonEntry]) -> Vec<u8> {
        let ours = &link.topology.planet;
        let newer_planet =
            planet.filter(|(id, at)| *id != 0 && *id == ours.id && *at < ours.timestamp).map(|_| ours);
        let newer_moons = moons
            .iter()
            .filter_map(|entry| link.topology.moons.get(&entry.id).filter(|m| m.timestamp > entry.timestamp));
        let mut bytes = Vec::new();
        for world in newer_planet.into_iter().chain(newer_moons) {
            let start = bytes.len();
            world.write(&mut bytes);
            if bytes.len() > MAX_WORLD_UPDATES {
                bytes.truncate(start);
            }
        }
        bytes
    }

    /// Handles the answer to a HELLO of ours.
    pub(crate) fn ok_hello(
        &mut self,
        link: &mut Link,
        now: Time,
        incoming: &Incoming<'_>,
        body: &[u8],
        sent_at: Time,
    ) -> Result<Handled> {
        let ok = OkHello::parse(body)?;
        if ok.protocol < MIN_PROTOCOL {
            return Ok(Handled::Ignore);
        }
        let source = incoming.source;
        let upstream = link.topology.is_upstream(source);
        let seed = link.topology.seeds.values().any(|s| *s == source);
        if upstream || seed {
            for world in ok.worlds()? {
                let accepted = link.topology.offer_world(&link.secret, now, world, Some(source));
                self.store_world(link, now, accepted);
            }
        }
        if incoming.hops == 0 {
            // Our own clock at sending, not the echoed one: a peer cannot lie about it.
            let rtt = (now - sent_at).clamp(Span::ms(1), Span::ms(65_534));
            // A path that is not known yet is measured the next time.
            if let Some(path) = link.topology.paths.get_mut(&incoming.via) {
                path.sample_latency(rtt);
            }
            if let Some(peer) = link.topology.peers.get_mut(&source) {
                peer.latencies.add(rtt);
            }
            if let Some(surface) = ok.seen_as {
                self.surface_reported(link, now, source, incoming.via, surface);
            }
        }
        if upstream && !self.accepted {
            self.accepted = true;
            link.outbox.events.push_back(Event::Accepted);
        }
        if let Some(peer) = link.topology.peers.get_mut(&source) {
            peer.version = version_of(ok.protocol, ok.major, ok.minor, ok.revision);
        }
        link.recognize(now, source, false);
        Ok(Handled::Credit)
    }

    pub(crate) fn store_world(&mut self, link: &mut Link, now: Time, accepted: Accepted) {
        let (object, world) = match accepted {
            Accepted::No => return,
            Accepted::Planet => (Object::Planet, &link.topology.planet),
            Accepted::Moon(id) => match link.topology.moons.get(&id) {
                Some(moon) => (Object::Moon(id), moon),
                None => return,
            },
        };
        let mut bytes = Vec::new();
        world.write(&mut bytes);
        link.outbox.events.push_back(Event::Store { object, bytes });
        self.next_ping = now;
    }

    pub(crate) fn surface_reported(
        &mut self,
        link: &mut Link,
        now: Time,
        peer: Address,
        via: PathKey,
        surface: SocketAddr,
    ) {
        let word = if link.topology.is_upstream(peer) {
            Word::Root
        } else if link.topology.peers.get(&peer).is_some_and(|peer| peer.is_trusted(now)) {
            Word::Member
        } else {
            return;
        };
        let Some((scope, v4)) = link.surfaces.report(now, peer, via, surface, word) else { return };
        // Our outside address changed: every path of that kind has to prove itself again.
        let stale: Vec<(Address, PathKey)> = link
            .topology
            .peers
            .iter_mut()
            .flat_map(|(address, peer)| peer.paths.iter_mut().map(|p| (*address, p)))
            .filter(|(_, p)| p.key.remote.is_ipv4() == v4 && protocol::scope(p.key.remote.ip()) == scope)
            .map(|(address, p)| {
                p.last_received = None;
                (address, p.key)
            })
            .collect();
        for (address, key) in stale {
            link.contact(now, address, Some(key.socket), key.remote);
        }
    }
}

pub(crate) fn version_of(protocol: u8, major: u8, minor: u8, revision: u16) -> RemoteVersion {
    RemoteVersion { protocol, major, minor, revision }
}
