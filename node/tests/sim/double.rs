//! A double of zerotier-one 1.14.1: how it behaves on VL1 as the peer of a node, with its gates and timers, in a few hundred lines.
//!
//! It is written from what zerotier-one does, on the `protocol` crate (packets, verbs, identities), and shares no decision with the
//! node it is there to try. It sits in either seat: whether it is a root, its planet says.
//!
//! What is like the original: which packets it answers and how often, what keeps a path alive, which path it learns and takes, when it
//! greets, asks, pushes its addresses, relays and introduces, and what it does when it seems to be elsewhere. What it lacks, because
//! no test here needs it: moons, bonding, trusted paths, TCP relays, port mapping, more than one socket, the peer cache, multicast,
//! rules and credentials. So it is a member of public networks only, where no certificate is asked for; their configuration it gets by
//! NETWORK_CONFIG_REQUEST from the controller like any member.

mod peers;
mod receive;
mod send;
mod upkeep;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use peers::{Expected, Path, Peer};
pub use peers::{PathKey, Tally};
use protocol::packet::{self, Datagram, Reassembler};
use protocol::verb::Verb;
use protocol::world::World as Planet;
use protocol::{Address, Mac, NetworkId, SecretIdentity, Span, Time};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// What it announces.
const PROTOCOL: u8 = 12;
const VERSION: (u8, u8, u16) = (1, 14, 1);
/// A path is alive so long after the last datagram.
pub const PATH_ALIVE: Span = Span::ms(19_000);
/// A path is used for a peer so long after the peer's last packet on it.
pub const PATH_EXPIRY: Span = Span::ms(243_000);
/// A path that carried nothing for so long gets a heartbeat.
pub const HEARTBEAT: Span = Span::ms(14_000);
/// The network cards are looked at so often.
pub const BINDING: Span = Span::ms(30_000);
/// A main loop that is held up for longer takes that for a sleep.
const ASLEEP: Span = Span::ms(10_000);
/// Queues are looked at so often.
const QUEUES: Span = Span::ms(500);
/// What waits in a queue is dropped after this.
const QUEUED: Span = Span::ms(5_000);
/// A queue has room for so many.
const QUEUE: usize = 32;
/// A peer that is silent for longer is not alive.
const PEER_TIMEOUT: Span = Span::ms(500_000);
/// Trust in a peer, and in a path, lasts so long.
const TRUST: Span = Span::ms(600_000);

/// A datagram it sends.
pub struct Sent {
    pub to: SocketAddr,
    pub ttl: Option<u8>,
    pub data: Vec<u8>,
}

/// A packet for a receiver that cannot be reached yet.
struct Waiting {
    since: Time,
    to: Address,
    packet: Vec<u8>,
}

/// A packet that authenticates to nobody yet.
struct Parked {
    since: Time,
    via: PathKey,
    packet: Vec<u8>,
}

/// Where its machine is, and where its socket is.
struct Seat {
    interface: SocketAddr,
    bound: SocketAddr,
    /// Counts up with each socket.
    socket: u64,
}

/// When what was last done.
struct Clock {
    run: Time,
    ping: Option<Time>,
    queues: Time,
    housekeeping: Time,
    binding: Time,
}

/// Where it is seen by others: who says so, and from where.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
struct Reporter {
    who: Address,
    via: PathKey,
}

/// What a reporter sees.
#[derive(Clone, Copy)]
struct Surface {
    address: SocketAddr,
    at: Time,
}

/// A network it has joined.
#[derive(Default)]
struct Joined {
    /// Whether it has a configuration, and of a public network.
    public: Option<bool>,
    updated: Option<Time>,
}

/// See the module.
pub struct Double {
    secret: SecretIdentity,
    planet: Planet,
    rng: StdRng,
    seat: Seat,
    clock: Clock,
    peers: BTreeMap<Address, Peer>,
    paths: BTreeMap<PathKey, Path>,
    expected: Expected,
    waiting: Vec<Waiting>,
    parked: Vec<Parked>,
    fragments: Reassembler<PathKey>,
    /// When it last asked for an identity.
    asked: BTreeMap<Address, Time>,
    /// When it last introduced a pair.
    introduced: BTreeMap<(Address, Address), Time>,
    surfaces: BTreeMap<Reporter, Surface>,
    /// When it last agreed on a key with a stranger of a /24.
    strangers: BTreeMap<[u8; 3], Time>,
    networks: BTreeMap<NetworkId, Joined>,
    /// What it sends and its interface gets, until somebody takes it.
    pub sent: Vec<Sent>,
    pub received: Vec<(NetworkId, Vec<u8>)>,
    /// What its gates let through and what not.
    pub tally: Tally,
    beacon: Option<Time>,
}

impl Double {
    pub fn new(secret: SecretIdentity, planet: Planet, seed: u64, now: Time, at: SocketAddr) -> Self {
        let clock = Clock { run: now, ping: None, queues: now, housekeeping: now, binding: now };
        let mut double = Self {
            secret,
            planet,
            rng: StdRng::seed_from_u64(seed),
            seat: Seat { interface: at, bound: at, socket: 0 },
            clock,
            peers: BTreeMap::new(),
            paths: BTreeMap::new(),
            expected: Expected::default(),
            waiting: Vec::new(),
            parked: Vec::new(),
            fragments: Reassembler::new(QUEUE),
            asked: BTreeMap::new(),
            introduced: BTreeMap::new(),
            surfaces: BTreeMap::new(),
            strangers: BTreeMap::new(),
            networks: BTreeMap::new(),
            sent: Vec::new(),
            received: Vec::new(),
            tally: Tally::default(),
            beacon: None,
        };
        for root in double.planet.roots.clone() {
            double.add_peer(&root.identity);
        }
        double
    }

    pub fn address(&self) -> Address {
        self.secret.address()
    }

    /// Whether it is a root itself.
    fn am_root(&self) -> bool {
        self.planet.roots.iter().any(|root| root.identity == *self.secret.identity())
    }

    fn is_upstream(&self, address: Address) -> bool {
        address != self.address() && self.planet.roots.iter().any(|root| root.identity.address == address)
    }

    /// Its machine has another address, which it finds out when it next looks.
    pub fn set_interface(&mut self, at: SocketAddr) {
        self.seat.interface = at;
    }

    /// Joins a network: its configuration is asked for at the next check.
    pub fn join(&mut self, network: NetworkId) {
        self.networks.entry(network).or_default();
    }

    /// Whether it has the configuration of a network.
    pub fn is_member(&self, network: NetworkId) -> bool {
        self.networks.get(&network).is_some_and(|joined| joined.public.is_some())
    }

    /// The networks whose configuration it has.
    pub fn memberships(&self) -> impl Iterator<Item = NetworkId> {
        self.networks.iter().filter(|(_, joined)| joined.public.is_some()).map(|(network, _)| *network)
    }

    /// Whether frames may pass between it and any other node of a network: without certificates if it is public.
    fn is_open(&self, network: NetworkId) -> bool {
        self.networks.get(&network).is_some_and(|joined| joined.public == Some(true))
    }

    /// Its interface sends an Ethernet frame.
    pub fn frame(&mut self, now: Time, network: NetworkId, frame: &[u8]) {
        let mac = |at: usize| Mac(frame[at..at + 6].try_into().expect("six octets"));
        let own = Mac::for_member(network, self.address());
        let Some(to) = mac(0).member(network).filter(|to| *to != self.address()) else { return };
        if !self.is_open(network) || mac(6) != own {
            return;
        }
        let mut packet = self.begin(to, Verb::Frame);
        packet.extend_from_slice(&network.0.to_be_bytes());
        packet.extend_from_slice(&frame[12..]);
        packet::compress(&mut packet, 0);
        self.send(now, to, packet);
    }

    /// A datagram arrives at its machine.
    pub fn datagram(&mut self, now: Time, from: SocketAddr, data: &[u8]) {
        if self.seat.bound != self.seat.interface {
            return;
        }
        let via = PathKey { socket: self.seat.socket, remote: from };
        self.paths.entry(via).or_default().last_in = Some(now);
        match packet::classify(data) {
            Datagram::Junk => {}
            Datagram::Beacon => self.answer_beacon(now, via, data),
            Datagram::Fragment if packet::dest(data) != self.address() => self.relay(now, via, data),
            Datagram::Fragment => {
                if let Some(whole) = self.fragments.insert_fragment(now, via, data) {
                    self.take(now, via, whole);
                }
            }
            Datagram::Packet if packet::source(data) == self.address() => {}
            Datagram::Packet if packet::dest(data) != self.address() => self.relay(now, via, data),
            Datagram::Packet if packet::is_fragmented(data) => {
                if let Some(whole) = self.fragments.insert_head(now, via, data) {
                    self.take(now, via, whole);
                }
            }
            Datagram::Packet => self.take(now, via, data.to_vec()),
        }
    }

    fn take(&mut self, now: Time, via: PathKey, packet: Vec<u8>) {
        if !self.decode(now, via, &packet) {
            if self.parked.len() >= QUEUE {
                self.parked.remove(0);
            }
            self.parked.push(Parked { since: now, via, packet });
        }
    }

    /// When [`Self::tick`] wants to run.
    pub fn next_deadline(&self) -> Time {
        self.clock.run + QUEUES
    }

    /// What is due by the clock.
    pub fn tick(&mut self, now: Time) {
        let slept = now - self.clock.run >= ASLEEP + QUEUES;
        self.clock.run = now;
        if slept || now - self.clock.binding >= BINDING {
            self.clock.binding = now;
            if self.seat.bound != self.seat.interface {
                self.seat.bound = self.seat.interface;
                self.seat.socket += 1;
            }
        }
        if now - self.clock.queues >= QUEUES {
            self.clock.queues = now;
            self.retry(now);
        }
        if self.clock.ping.is_none_or(|at| now - at >= upkeep::PING_CHECK) {
            self.clock.ping = Some(now);
            self.ping_check(now);
        }
        if now - self.clock.housekeeping >= upkeep::HOUSEKEEPING {
            self.clock.housekeeping = now;
            self.clean(now);
        }
    }

    /// Where it sends what is for a peer directly: the path it takes, if that is not expired.
    pub fn path_to(&self, now: Time, peer: Address) -> Option<SocketAddr> {
        let peer = self.peers.get(&peer)?;
        peer.best_path(now, &self.paths, false).map(|key| key.remote)
    }

    /// All that it has as paths of a peer: where, and with which priority.
    pub fn paths_of(&self, peer: Address) -> Vec<(SocketAddr, i64)> {
        let Some(peer) = self.peers.get(&peer) else { return Vec::new() };
        peer.paths.iter().map(|path| (path.key.remote, path.priority)).collect()
    }

    /// Whether it knows somebody, which it has to before it says anything to him.
    pub fn knows(&self, peer: Address) -> bool {
        self.peers.contains_key(&peer)
    }
}
