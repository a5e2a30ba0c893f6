//! VL1 as a whole: the [`Link`], and what keeps it alive beside what is sent through it.
//!
//! | module | subject |
//! |---|---|
//! | `arrival` | a datagram's way in: classify, reassemble or forward, authenticate, decompress |
//! | `verbs` | what the verbs of VL1 do; how somebody becomes a peer |
//!
//! Whoever owns an [`Underlay`] hands every datagram to [`Underlay::sort`], what comes out to [`Underlay::open`], and what comes out
//! of that to its own verbs or to [`Underlay::handle`]; and says by [`Underlay::settle`] what became of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use protocol::packet::Reassembler;
use protocol::world::{World, WorldKind};
use protocol::{Address, SecretIdentity, Time};
use rand::RngExt;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::Link;
use super::clones::Clones;
use super::contact::Contacts;
use super::newcomers::Newcomers;
use super::path::{PathKey, SocketId};
use super::peer_cache::Earlier;
use super::queue::Parking;
use super::relay::Relay;
use super::replay::ReplayMemory;
use super::ways::Ways;
use crate::dataplane::ecn;
use crate::ground::buckets::Keyed;
use crate::ground::event::{Event, Object, Settings};
#[cfg(feature = "work")]
use crate::ground::gate::Gate;
use crate::ground::limits::{INTRODUCE_GATE, PATH_EXPIRY, REASSEMBLY_SLOTS, STRANGER_REASSEMBLY_SLOTS};

/// See the module.
pub(crate) struct Underlay {
    pub(crate) link: Link,
    pub(crate) contacts: Contacts,
    pub(crate) clones: Clones,
    pub(super) relay: Relay,
    pub(super) memory: ReplayMemory,
    pub(super) newcomers: Newcomers,
    /// Packets that wait for their sender's identity or credentials.
    pub(crate) parked: Parking,
    pub(super) reassembler: Reassembler<PathKey>,
    /// The same for datagrams that came by a path nobody is known on.
    pub(super) stranger_parts: Reassembler<PathKey>,
    /// Room for a packet that was compressed.
    pub(super) inflated: Vec<u8>,
    /// The frame credited last among datagrams that arrived together: when, by which path, from whom, after how many hops.
    pub(super) credited: Option<(Time, PathKey, Address, u8)>,
    pub(crate) earlier: Earlier,
    /// When a root's report of a collision was passed on last.
    pub(super) collision_told: Option<Time>,
}

impl Underlay {
    /// In touch with nobody, at time `now`. Gives the key of its gates as well.
    pub(crate) fn new(
        identity: SecretIdentity,
        planet: World,
        settings: Settings,
        seed: [u8; 32],
        now: Time,
    ) -> (Self, Keyed) {
        let mut rng = StdRng::from_seed(seed);
        let hash = Keyed::new(rng.random());
        let underlay = Self {
            link: Link::new(identity, planet, settings, rng, hash, now),
            contacts: Contacts::new(now),
            clones: Clones::new(hash),
            relay: Relay::default(),
            memory: ReplayMemory::default(),
            newcomers: Newcomers::new(hash),
            parked: Parking::default(),
            reassembler: Reassembler::new(REASSEMBLY_SLOTS).joining_marks(ecn::join),
            stranger_parts: Reassembler::new(STRANGER_REASSEMBLY_SLOTS).joining_marks(ecn::join),
            inflated: Vec::new(),
            credited: None,
            earlier: Earlier::default(),
            collision_told: None,
        };
        (underlay, hash)
    }

    /// Whether packets wait, to be tried again once in a while.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.link.sending.is_empty() || !self.parked.is_empty()
    }

    /// When there is something to do by the clock, but for what waits.
    pub(crate) fn next_deadline(&self) -> Time {
        let measures = self.link.path_mtus.next().into_iter();
        let others = [self.contacts.next(), self.clones.next(), self.link.ways.next()];
        let others = others.into_iter().flatten();
        measures.chain(others).fold(self.contacts.next_ping, Time::min)
    }

    /// Does what is due, but for the contact check.
    pub(crate) fn tick(&mut self, now: Time) {
        // About once an hour: from where the next run must count.
        if let Some(reserved) = self.link.topology.origin.reserve(now) {
            let (object, bytes) = (Object::Counts, format!("{reserved}\n").into_bytes());
            self.link.outbox.events.push_back(Event::Store { object, bytes });
        }
        self.link.measure_paths(now);
        Ways::tick(&mut self.link, now);
        self.contacts.probe_candidates(&mut self.link, now);
        self.contacts.tell_more_moved(&mut self.link, now);
        self.clones.call_clones(&mut self.link, now);
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&mut self, now: Time) {
        self.link.surfaces.expire(now);
        self.clones.reflections.expire(now);
        self.memory.expire_replay_memory(&mut self.link, now);
        self.link.expected.expire(now);
        self.newcomers.expire(now);
        self.relay.pairs.expire(now - INTRODUCE_GATE);
        self.contacts.forget_silent_peers(&mut self.link, now);
        let mut used: Vec<PathKey> =
            self.link.topology.peers.values().flat_map(|p| p.paths.iter().map(|path| path.key)).collect();
        used.sort_unstable();
        self.link.topology.paths.retain(now, PATH_EXPIRY, |key| used.binary_search(key).is_ok());
        let peers = &self.link.topology.peers;
        let exists = |peer: Address, path: &PathKey| {
            peers.get(&peer).is_some_and(|known| known.paths.iter().any(|p| p.key == *path))
        };
        self.link.path_mtus.expire(now, exists);
    }

    /// Tells which sockets exist and under which local address each can be reached. Paths over sockets that are gone are
    /// forgotten and the roots are greeted at once over the new ones.
    pub(crate) fn set_local_addresses(&mut self, now: Time, local: Vec<(SocketId, SocketAddr)>) {
        if local == self.link.local {
            return;
        }
        let before = std::mem::replace(&mut self.link.local, local);
        let is_new = self.link.local.iter().any(|new| !before.contains(new));
        let local = &self.link.local;
        let exists = |socket| local.iter().any(|(id, _)| *id == socket);
        for (address, peer) in &mut self.link.topology.peers {
            if is_new || peer.paths.iter().any(|path| !exists(path.key.socket)) {
                let places: BTreeSet<SocketAddr> = peer.paths.iter().map(|path| path.key.remote).collect();
                self.contacts.may_have_to_tell(*address, places.into_iter().collect());
                peer.forget_sockets(exists);
            }
        }
        if is_new {
            self.contacts.tell_moved(&mut self.link, now);
        }
        self.contacts.greetings = 0;
        self.contacts.next_ping = now;
    }

    /// Orbits a moon: `cached` is its definition from our own disk, `seed` a node that will tell it otherwise.
    pub(crate) fn orbit(&mut self, now: Time, id: u64, seed: Option<Address>, cached: Option<World>) {
        if let Some(world) = cached.filter(|w| w.id == id && w.kind == WorldKind::Moon) {
            let accepted = self.link.topology.offer_world(&self.link.secret, now, world, None);
            self.contacts.store_world(&mut self.link, now, accepted);
        }
        if !self.link.topology.moons.contains_key(&id)
            && let Some(seed) = seed.filter(|s| !s.is_reserved())
        {
            self.link.topology.await_moon(id, seed);
        }
        self.contacts.next_ping = now;
    }

    /// Leaves a moon and forgets its file.
    pub(crate) fn deorbit(&mut self, now: Time, id: u64) {
        self.link.topology.forget_moon(&self.link.secret, now, id);
        self.link.outbox.events.push_back(Event::Delete { object: Object::Moon(id) });
    }

    /// Puts another planet in force, whoever signed it, greets its roots and gives back the former one.
    pub(crate) fn replace_planet(&mut self, now: Time, planet: World) -> World {
        let former = self.link.topology.replace_planet(&self.link.secret, now, planet);
        self.contacts.greetings = 0;
        self.contacts.next_ping = now;
        former
    }
}

/// A path to nobody, by number.
#[cfg(feature = "work")]
fn nowhere(number: u64) -> PathKey {
    let ip = std::net::Ipv4Addr::from(0x3200_0000 + (number as u32) * 16);
    PathKey { socket: SocketId(0), remote: SocketAddr::from((ip, 9_993)) }
}

#[cfg(feature = "work")]
impl Underlay {
    /// See `filling`.
    pub(crate) fn fill(&mut self, now: Time, nobody: fn(u64) -> Address) {
        use std::sync::Arc;

        use protocol::packet::SessionKeys;
        use protocol::{Identity, Span};

        use super::peer::{Peer, PeerPath};
        use super::replay::counter::Counter;
        use crate::ground::limits::{MAX_PATHS, MAX_PEERS};

        let us = self.link.secret.identity().address;
        let keys = Arc::new(SessionKeys::new(&[7; 48]));
        let peers = &mut self.link.topology.peers;
        for number in 0..2 * MAX_PEERS as u64 {
            if peers.len() >= MAX_PEERS {
                break;
            }
            let address = nobody(number);
            peers.entry(address).or_insert_with(|| {
                let sent = Counter::new(us, address, 1);
                let mut peer =
                    Peer::new(Identity { address, public: [9; 64] }, SessionKeys::new(&[7; 48]), now, sent);
                peer.keys = Arc::clone(&keys);
                let heard = now - Span::secs(10) - Span::ms((number % 100_000).cast_signed());
                (peer.last_received, peer.since, peer.last_trusted) = (Some(heard), heard, Some(heard));
                peer.paths = vec![PeerPath::new(heard, nowhere(number))];
                peer
            });
        }
        let paths = &mut self.link.topology.paths;
        for number in 0..2 * MAX_PATHS as u64 {
            if paths.len() >= MAX_PATHS {
                break;
            }
            let key = nowhere(number);
            if paths.get(&key).is_none() {
                paths.prove(now - Span::secs(10), key);
            }
        }
        for number in 0..2 * MAX_PEERS as u64 {
            if self.link.hints.len() >= MAX_PEERS {
                break;
            }
            self.link.hints.entry(nobody(number)).or_insert_with(|| vec![nowhere(number).remote]);
        }
        self.earlier.fill(nobody, |number| nowhere(number).remote);
        self.link.path_mtus.fill(now, nobody, nowhere);
        self.link.sending.fill(now, |n| nobody(1_000_000 + n));
        self.parked.fill(now, |n| nobody(1_000_000 + n), nowhere(0));
        let rooms = [
            (&mut self.reassembler, REASSEMBLY_SLOTS),
            (&mut self.stranger_parts, STRANGER_REASSEMBLY_SLOTS),
        ];
        for (room, slots) in rooms {
            for number in 0..2 * slots as u64 {
                if room.len() >= slots {
                    break;
                }
                let mut fragment = [0; 100];
                fragment[..8].copy_from_slice(&number.to_be_bytes());
                fragment[13..16].copy_from_slice(&[0xff, 0x21, 0]);
                let _ = room.insert_fragment(now, nowhere(number), &fragment);
            }
        }
        self.link.expected.fill(now, nobody);
        self.link.surfaces.fill(now, nobody, nowhere);
        self.relay.pairs.fill(now, |n| (nobody(n), (nobody(n), nobody(n + 1)), Gate::default()));
        self.newcomers.fill(now, |n| nobody(3_000_000 + n), nowhere);
        self.contacts.candidates.fill(now, nobody, nowhere);
        self.contacts.fill(now, nobody, nowhere);
        self.link.ways.fill(now, nobody, nowhere);
        self.clones.reflections.fill(now, nobody, nowhere);
    }

    /// How full each table is; of tables there are several of, each of them.
    pub(crate) fn sizes(&self) -> Vec<(&'static str, usize)> {
        let [asked, seen] = self.link.expected.sizes();
        let [sending, sending_copies] = self.link.sending.sizes();
        let [candidates, by_due] = self.contacts.candidates.sizes();
        let [waiting, octets, agreements_of, unproven_of, proven_of] = self.newcomers.sizes();
        let [endpoints, prefixes] = self.link.unproven.sizes();
        let peers = self.link.topology.peers.values();
        vec![
            ("Topology.peers", self.link.topology.peers.len()),
            ("Topology.moons", self.link.topology.moons.len()),
            ("Topology.seeds", self.link.topology.seeds.len()),
            ("Peer.paths", peers.map(|peer| peer.paths.len()).max().unwrap_or(0)),
            ("Paths.paths", self.link.topology.paths.len()),
            ("PathMtus.paths", self.link.path_mtus.len()),
            ("Link.hints", self.link.hints.len()),
            ("Ways.due", self.link.ways.len()),
            ("Contacts.to_tell", self.contacts.len()),
            ("Earlier.peers", self.earlier.len()),
            ("Link.sending", sending),
            ("SendQueue.copies", sending_copies),
            ("Underlay.parked", self.parked.len()),
            ("Underlay.reassembler", self.reassembler.len()),
            ("Underlay.stranger_parts", self.stranger_parts.len()),
            ("Expected.asked", asked),
            ("Expected.seen", seen),
            ("Surfaces.reports", self.link.surfaces.len()),
            ("Relay.pairs", self.relay.pairs.len()),
            ("Gates.whois", self.link.gates.whois.len()),
            ("Gates.errors", self.link.gates.errors.len()),
            ("Clones.reflecting", self.clones.reflecting.len()),
            ("Newcomers.waiting", waiting),
            ("Newcomers.octets", octets),
            ("Newcomers.agreements_of", agreements_of),
            ("Newcomers.unproven_of", unproven_of),
            ("Newcomers.proven_of", proven_of),
            ("Unproven.endpoints", endpoints),
            ("Unproven.prefixes", prefixes),
            ("Candidates.candidates", candidates),
            ("Candidates.by_due", by_due),
            ("Reflections.places", self.clones.reflections.len()),
        ]
    }
}
