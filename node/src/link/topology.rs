//! Who is who: peers, the planet, the moons, and which of the peers are roots.
//!
//! Specification: VL1 behaviour, "worlds", "peers", "choosing the upstream".

use std::collections::BTreeMap;
use std::net::SocketAddr;

use protocol::packet::SessionKeys;
use protocol::world::{PUBLIC_PLANET_ID, World, WorldKind};
use protocol::{Address, Identity, SecretIdentity, Span, Time};

use crate::ground::info::Role;
use crate::ground::limits::{MAX_PATHS, MAX_PEERS, PATH_ALIVE, PEER_TIMEOUT};
use crate::ground::work;
use crate::link::path::{PathKey, Paths};
use crate::link::peer::{Best, Peer, UNKNOWN_LATENCY};
use crate::link::peer_cache;
use crate::link::replay::counter::{Counter, Origin};

/// Moons orbited or awaited at once.
pub(crate) const MAX_MOONS: usize = 64;
/// Records of peers stored at a contact check: the disk is not kept busy by them.
const SAVED_AT_ONCE: usize = 64;

/// A world that was taken in and has to be stored.
pub(crate) enum Accepted {
    /// Nothing changed.
    No,
    /// The planet in force is new.
    Planet,
    /// This moon is new.
    Moon(u64),
}

/// Peers and worlds.
#[derive(Debug)]
pub(crate) struct Topology {
    /// Everybody whose identity we hold.
    pub(crate) peers: BTreeMap<Address, Peer>,
    /// Physical paths.
    pub(crate) paths: Paths,
    /// The planet in force.
    pub(crate) planet: World,
    /// The moons in force, by ID.
    pub(crate) moons: BTreeMap<u64, World>,
    /// Moons we wait for, with the node that will tell us.
    pub(crate) seeds: BTreeMap<u64, Address>,
    /// Roots of planet and moons except ourselves, with their stable endpoints.
    pub(crate) upstreams: BTreeMap<Address, Vec<SocketAddr>>,
    /// Whether we are a root ourselves.
    pub(crate) am_root: bool,
    /// From where on the next peer to forget is looked for.
    hand: Address,
    us: Identity,
    /// Where the numbers of packets to a new peer begin.
    pub(crate) origin: Origin,
}

impl Topology {
    /// An empty topology under a planet. The roots become peers.
    pub(crate) fn new(secret: &SecretIdentity, planet: World, now: Time) -> Self {
        let mut topology = Self {
            peers: BTreeMap::new(),
            paths: Paths::default(),
            planet,
            moons: BTreeMap::new(),
            seeds: BTreeMap::new(),
            upstreams: BTreeMap::new(),
            am_root: false,
            hand: Address::from_u64(0),
            us: secret.identity().clone(),
            origin: Origin::default(),
        };
        topology.recompute_upstreams(secret, now);
        topology
    }

    /// Adds a peer unless its address is already known (the known one wins) or its key is unusable. Whether it is known now.
    pub(crate) fn add_peer(&mut self, secret: &SecretIdentity, identity: &Identity, now: Time) -> bool {
        if identity.address == self.us.address || identity.address.is_reserved() {
            return false;
        }
        if self.peers.contains_key(&identity.address) {
            return true;
        }
        let Some(agreed) = secret.agree(identity) else { return false };
        self.insert_peer(identity.clone(), SessionKeys::new(&agreed), now);
        true
    }

    /// Adds a peer whose key is already agreed.
    pub(crate) fn insert_peer(&mut self, identity: Identity, keys: SessionKeys, now: Time) {
        if self.peers.len() >= MAX_PEERS {
            self.make_room(now);
        }
        let sent = Counter::new(self.us.address, identity.address, self.origin.at(now));
        self.peers.insert(identity.address, Peer::new(identity, keys, now, sent));
    }

    /// Forgets the peer silent for longest among a few that the hand comes by, so that it costs the same however many there are.
    /// Roots and those who talk on a common network stay.
    fn make_room(&mut self, now: Time) {
        const LOOKED_AT: usize = 16;
        let upstreams = &self.upstreams;
        let round = self.peers.range(self.hand..).chain(self.peers.range(..self.hand));
        let mut last = self.hand;
        let victim = round
            .take(LOOKED_AT)
            .inspect(|_| work::step())
            .inspect(|(address, _)| last = **address)
            .filter(|(address, _)| !upstreams.contains_key(address))
            .min_by_key(|(_, peer)| (peer.is_trusted(now), peer.silent_since()))
            .map(|(address, _)| *address);
        self.hand = Address::from_u64(last.to_u64() + 1);
        if let Some(victim) = victim {
            self.peers.remove(&victim);
        }
    }

    /// A peer has answered a packet of ours on a path: both are known from now on. False when there are too many paths.
    pub(crate) fn learn_path(&mut self, now: Time, address: Address, key: PathKey) -> bool {
        let Some(peer) = self.peers.get_mut(&address) else { return false };
        if self.paths.get(&key).is_none() && self.paths.len() >= MAX_PATHS {
            return false;
        }
        peer.learn(now, &self.paths, key);
        self.paths.prove(now, key);
        true
    }

    /// What `address` is to us.
    pub(crate) fn role(&self, address: Address) -> Role {
        if self.planet.roots.iter().any(|r| r.identity.address == address) {
            Role::Planet
        } else if self.upstreams.contains_key(&address) {
            Role::Moon
        } else {
            Role::Leaf
        }
    }

    /// Whether `address` is a root of the planet or of a moon we orbit.
    pub(crate) fn is_upstream(&self, address: Address) -> bool {
        self.upstreams.contains_key(&address)
    }

    /// Whether a path leads to a root that is somebody else's: of the public planet, or of a moon.
    pub(crate) fn is_foreign_root_at(&self, key: &PathKey) -> bool {
        let is_there = |root: &Address| {
            self.peers.get(root).is_some_and(|peer| peer.paths.iter().any(|path| path.key == *key))
        };
        let own_planet = self.planet.id != PUBLIC_PLANET_ID;
        self.upstreams
            .keys()
            .find(|root| is_there(root))
            .is_some_and(|root| !own_planet || self.role(*root) != Role::Planet)
    }

    /// Whether some upstream lists this IP address among its stable endpoints.
    pub(crate) fn is_upstream_ip(&self, ip: std::net::IpAddr) -> bool {
        self.upstreams.values().flatten().any(|e| e.ip() == ip)
    }

    /// The upstream that carries our WHOIS and relayed traffic: the one with the best mix of latency and freshness, and the
    /// path to it.
    pub(crate) fn best_upstream(&self, now: Time) -> Option<(Address, Option<Best>)> {
        self.best_upstream_for(now, None, &[])
    }

    /// The same for what goes to a peer, and none of these.
    fn best_upstream_for(
        &self,
        now: Time,
        dest: Option<Address>,
        not: &[Address],
    ) -> Option<(Address, Option<Best>)> {
        let ways = dest.and_then(|dest| self.peers.get(&dest)).map(|peer| &peer.course.roots);
        self.upstreams
            .keys()
            .inspect(|_| work::step())
            .filter(|address| !not.contains(address))
            .filter_map(|address| self.peers.get(address).map(|peer| (*address, peer)))
            .map(|(address, peer)| {
                let path = peer.any_path(now, &self.paths);
                let age = peer.last_received.map(|at| now - at).filter(|age| *age < PEER_TIMEOUT);
                let latency = self.latency_of(path);
                let latency = ways.map_or(latency, |ways| ways.length(now, address, latency));
                // A root that has stopped answering must not win against one that answers.
                let cost = match age {
                    None => UNKNOWN_LATENCY,
                    Some(_) if path.is_some_and(Best::is_sound) => latency,
                    Some(_) if path.is_some_and(Best::is_alive) => latency + UNKNOWN_LATENCY,
                    Some(age) => latency.max(UNKNOWN_LATENCY) * (age / PATH_ALIVE + 2),
                };
                let score = (age.is_none(), cost);
                (score, std::cmp::Reverse(address), path)
            })
            .min_by_key(|(score, address, _)| (*score, *address))
            .map(|(_, address, path)| (address.0, path))
    }

    fn latency_of(&self, path: Option<Best>) -> Span {
        path.and_then(|best| self.paths.get(&best.key)?.latency)
            .filter(|latency| *latency > Span::ZERO)
            .unwrap_or(UNKNOWN_LATENCY)
    }

    /// How far a root is, if it answers.
    pub(crate) fn way_to_root(&self, now: Time, root: Address) -> Span {
        let path = self.peers.get(&root).and_then(|peer| peer.any_path(now, &self.paths));
        self.latency_of(path.filter(|best| best.is_alive()))
    }

    /// The root by which packets to a peer go best, none of these, and the path to it.
    pub(crate) fn relay_for(&self, now: Time, dest: Address, not: &[Address]) -> Option<(Address, Best)> {
        let (address, path) = self.best_upstream_for(now, Some(dest), not)?;
        path.map(|best| (address, best))
    }

    /// A path to the best upstream that is none of these.
    pub(crate) fn relay_path(&self, now: Time, not: &[Address]) -> Option<(Address, Best)> {
        let (address, path) = self.best_upstream_for(now, None, not)?;
        path.map(|best| (address, best))
    }

    /// A direct path to `address` confirmed lately enough.
    pub(crate) fn direct_path(&self, now: Time, address: Address) -> Option<Best> {
        self.peers.get(&address)?.best_path(now, &self.paths)
    }

    /// Offers a world. `trusted` means from our own disk or asked for by orbiting; else a world that replaces none is refused
    /// unless `from` is the seed we wait for.
    pub(crate) fn offer_world(
        &mut self,
        secret: &SecretIdentity,
        now: Time,
        world: World,
        from: Option<Address>,
    ) -> Accepted {
        let accepted = match world.kind {
            WorldKind::Planet => {
                if !world.may_replace(&self.planet) {
                    return Accepted::No;
                }
                self.planet = world;
                Accepted::Planet
            }
            WorldKind::Null => return Accepted::No,
            WorldKind::Moon => {
                let id = world.id;
                match self.moons.get(&id) {
                    Some(current) if !world.may_replace(current) => return Accepted::No,
                    Some(_) => {}
                    None => {
                        let awaited = self
                            .seeds
                            .get(&id)
                            .is_some_and(|seed| world.roots.iter().any(|r| r.identity.address == *seed));
                        if (from.is_some() && !awaited) || self.moons.len() >= MAX_MOONS {
                            return Accepted::No;
                        }
                    }
                }
                self.seeds.remove(&id);
                self.moons.insert(id, world);
                Accepted::Moon(id)
            }
        };
        self.recompute_upstreams(secret, now);
        accepted
    }

    /// Puts another planet in force, whoever signed it, and gives back the former one. Of that one's roots those that were never
    /// heard are forgotten: nothing is known of them but what it said.
    pub(crate) fn replace_planet(&mut self, secret: &SecretIdentity, now: Time, planet: World) -> World {
        let former = std::mem::replace(&mut self.planet, planet);
        for root in &former.roots {
            let address = root.identity.address;
            if self.peers.get(&address).is_some_and(|peer| peer.last_received.is_none()) {
                self.peers.remove(&address);
            }
        }
        self.recompute_upstreams(secret, now);
        former
    }

    /// Waits for a moon that `seed` will tell us about. False when too many are awaited.
    pub(crate) fn await_moon(&mut self, id: u64, seed: Address) -> bool {
        if self.seeds.len() >= MAX_MOONS && !self.seeds.contains_key(&id) {
            return false;
        }
        self.seeds.insert(id, seed);
        true
    }

    /// Forgets a moon.
    pub(crate) fn forget_moon(&mut self, secret: &SecretIdentity, now: Time, id: u64) {
        self.seeds.remove(&id);
        self.moons.remove(&id);
        self.recompute_upstreams(secret, now);
    }

    /// Takes in what an earlier run kept of the numbers of its packets. Anything else is as good as nothing.
    pub(crate) fn resume_counting(&mut self, now: Time, kept: &[u8]) {
        let text = std::str::from_utf8(kept).unwrap_or_default();
        let Ok(reserved) = text.trim().parse() else { return };
        self.origin.resume(now, reserved);
        let start = self.origin.at(now);
        for peer in self.peers.values_mut() {
            peer.sent.raise(start);
        }
    }

    /// The records of live peers that have changed since they were last asked for, some at a time: a run that ends without a word leaves
    /// them to the next.
    pub(crate) fn unsaved_records(&mut self, now: Time) -> Vec<(Address, Vec<u8>)> {
        let Self { peers, upstreams, .. } = self;
        let unsaved = peers.iter_mut().filter(|(address, peer)| {
            peer.course.unsaved && peer.is_alive(now) && !upstreams.contains_key(address)
        });
        let record = |(address, peer): (&Address, &mut Peer)| {
            peer.course.unsaved = false;
            (*address, peer_cache::write(peer))
        };
        unsaved.take(SAVED_AT_ONCE).map(record).collect()
    }

    /// The records of all live peers, for the next run.
    pub(crate) fn records(&self, now: Time) -> impl Iterator<Item = (Address, Vec<u8>)> {
        let live =
            move |(address, peer): &(&Address, &Peer)| peer.is_alive(now) && !self.is_upstream(**address);
        self.peers.iter().filter(live).map(|(address, peer)| (*address, peer_cache::write(peer)))
    }

    fn recompute_upstreams(&mut self, secret: &SecretIdentity, now: Time) {
        self.upstreams.clear();
        self.am_root = false;
        let mut roots = Vec::new();
        for root in std::iter::once(&self.planet).chain(self.moons.values()).flat_map(|w| &w.roots) {
            if root.identity == self.us {
                self.am_root = true;
            } else {
                let endpoints = self.upstreams.entry(root.identity.address).or_default();
                endpoints.extend(root.endpoints.iter().filter(|e| e.port() != 0));
                roots.push(root.identity.clone());
            }
        }
        for identity in roots {
            if !self.add_peer(secret, &identity, now) {
                self.upstreams.remove(&identity.address);
            }
        }
    }
}
