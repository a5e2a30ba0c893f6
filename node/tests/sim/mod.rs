//! A seeded network emulator on a virtual clock: any number of cores, hosts behind NATs of every kind, latency, loss,
//! reordering, partitions. The same seed gives the same run, which [`World::trace`] proves.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of the emulator")]

mod control;
mod double;
mod faults;
mod flow;
mod nat;
mod program;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use controller::{Controller, MemoryStore};
#[allow(unused_imports, reason = "not every test file has doubles")]
pub use double::{BINDING, Double, PathKey, Tally};
use faults::planet;
#[allow(unused_imports, reason = "not every test file has streams")]
pub use flow::{Seen, stream};
#[allow(unused_imports, reason = "not every test file puts hosts behind NATs")]
pub use nat::Nat;
use nat::Router;
use node::core::event::{CloneSeen, Event, Object, Settings};
use node::core::info::NetworkStatus;
use node::core::path::SocketId;
use node::core::{Core, CoreConfig};
pub use program::Program;
use protocol::{Address, MulticastGroup, NetworkId, SecretIdentity, Span, Time, derive};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// When the virtual clock starts.
pub const START: Time = Time::from_ms(1_700_000_000_000);
/// The first socket of every node.
const SOCKET: SocketId = SocketId(0);
/// The port everybody uses inside.
const PORT: u16 = 9993;

/// How the network behaves between any two public addresses.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// One-way delay in ms, least and most; the spread reorders.
    pub latency: (i64, i64),
    /// Datagrams lost, per thousand.
    pub loss: u32,
}

/// One host with its node.
pub struct Host {
    pub core: Program,
    pub controller: Option<Controller>,
    pub inside: SocketAddr,
    socket: SocketId,
    nat: Option<usize>,
    /// Frames that came out of the node's ports.
    pub received: Vec<(NetworkId, Vec<u8>)>,
    /// The latest status of each network.
    pub status: BTreeMap<NetworkId, NetworkStatus>,
    /// What the node keeps on disk: cached configurations, and revocations.
    pub configs: BTreeMap<NetworkId, Vec<u8>>,
    pub revocations: BTreeMap<NetworkId, Vec<u8>>,
    /// What the node says of other machines with its identity.
    pub clones: Vec<CloneSeen>,
    /// Where datagrams were sent to, hole punching included.
    pub contacted: BTreeSet<SocketAddr>,
    pub up: bool,
    /// How far its clock is ahead of the world's.
    pub ahead: Span,
    deadline: Time,
}

#[derive(Eq, Ord, PartialEq, PartialOrd)]
struct InFlight {
    at: Reverse<Time>,
    serial: Reverse<u64>,
    from: SocketAddr,
    to: SocketAddr,
    /// The NAT the sender sits behind: hosts of one NAT reach each other by their inside addresses.
    realm: Option<usize>,
    /// Whether IP must not fragment it.
    whole: bool,
    ecn: u8,
    data: Vec<u8>,
}

/// Everything.
pub struct World {
    pub now: Time,
    pub hosts: Vec<Host>,
    pub weather: Weather,
    /// Hosts that no datagram reaches.
    pub deaf: BTreeSet<usize>,
    /// What the controller on host 0 has stored.
    store: MemoryStore,
    /// Pairs of hosts that cannot reach each other directly.
    pub cut: BTreeSet<(usize, usize)>,
    /// From one host to another: nothing arrives directly.
    pub one_way: BTreeSet<(usize, usize)>,
    /// Pairs of hosts, the smaller number first, between which everything takes so many ms longer.
    pub far: BTreeMap<(usize, usize), i64>,
    /// Pairs of hosts between which no datagram larger than this passes whole.
    pub narrow: BTreeMap<(usize, usize), usize>,
    /// Whether what does not pass whole passes in fragments of IP, as it should.
    pub fragments_pass: bool,
    /// From one host to another: every second datagram whose sender understands ECN is marked as having met congestion.
    pub congested: BTreeSet<(usize, usize)>,
    /// From one host to another: datagrams by their ECN bits when they were sent.
    pub ecn: BTreeMap<(usize, usize), [u64; 4]>,
    /// From one host to another: datagrams sent that had to be fragmented, and the largest that arrived.
    pub fragmented: BTreeMap<(usize, usize), u64>,
    pub largest: BTreeMap<(usize, usize), usize>,
    /// Octets that a host has sent to an endpoint.
    pub sent: BTreeMap<(usize, SocketAddr), usize>,
    /// What arrived, if it is recorded: at which host, from where.
    pub recorded: Option<Vec<(usize, SocketAddr, Vec<u8>)>>,
    roots: usize,
    nats: Vec<Router>,
    flying: BinaryHeap<InFlight>,
    deadlines: BTreeSet<(Time, usize)>,
    rng: StdRng,
    serial: u64,
    /// Identities found genuine.
    genuine: BTreeSet<String>,
    /// A running hash of everything that was delivered: when, where, how long.
    pub trace: u64,
    pub delivered: u64,
}

/// Identities made beforehand: making one costs a fifth of a second.
pub fn identity(index: usize) -> SecretIdentity {
    let text = include_str!("../fixtures/identities.txt");
    let line = text.lines().nth(index).expect("the fixture has enough identities");
    SecretIdentity::parse(line).expect("the fixture holds identities")
}

impl World {
    /// A world whose host 0 is root and controller at a public address.
    pub fn new(seed: u64, weather: Weather) -> Self {
        Self::with_roots(seed, weather, 1)
    }

    /// The same with so many roots, the first hosts.
    pub fn with_roots(seed: u64, weather: Weather, roots: usize) -> Self {
        let mut world = Self {
            now: START,
            hosts: Vec::new(),
            weather,
            deaf: BTreeSet::new(),
            store: MemoryStore::new(),
            cut: BTreeSet::new(),
            one_way: BTreeSet::new(),
            far: BTreeMap::new(),
            narrow: BTreeMap::new(),
            congested: BTreeSet::new(),
            ecn: BTreeMap::new(),
            fragments_pass: true,
            fragmented: BTreeMap::new(),
            largest: BTreeMap::new(),
            sent: BTreeMap::new(),
            recorded: None,
            roots,
            nats: Vec::new(),
            flying: BinaryHeap::new(),
            deadlines: BTreeSet::new(),
            rng: StdRng::seed_from_u64(seed),
            serial: 0,
            genuine: BTreeSet::new(),
            trace: 0,
            delivered: 0,
        };
        let root = world.add_host(None);
        let identity = identity(0);
        let controller = Controller::open_with_seed(identity, Box::new(world.store.clone()), [9; 32])
            .expect("an empty store opens");
        world.hosts[root].controller = Some(controller);
        for _ in 1..roots {
            world.add_host(None);
        }
        world
    }

    /// A NAT with a public address of its own.
    pub fn add_nat(&mut self, kind: Nat) -> usize {
        let n = self.nats.len() as u32;
        let public = Ipv4Addr::from(u32::from(Ipv4Addr::new(100, 70, 0, 1)) + n * 256);
        self.nats.push(Router::new(kind, public));
        self.nats.len() - 1
    }

    /// A host, behind a NAT or with an address of its own.
    pub fn add_host(&mut self, nat: Option<usize>) -> usize {
        self.add_host_as(self.hosts.len(), nat)
    }

    /// A host with the identity of that number, which another may have as well.
    pub fn add_host_as(&mut self, number: usize, nat: Option<usize>) -> usize {
        let index = self.hosts.len();
        let ip = match nat {
            None => Ipv4Addr::from(u32::from(Ipv4Addr::new(100, 64, 0, 1)) + index as u32 * 256),
            // Every cloud uses the same addresses inside.
            Some(nat) => {
                let neighbours = self.hosts.iter().filter(|h| h.nat == Some(nat)).count() as u8;
                Ipv4Addr::new(192, 168, 1, 10 + neighbours)
            }
        };
        let inside = SocketAddr::new(IpAddr::V4(ip), PORT);
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&(index as u64).to_be_bytes());
        let config = CoreConfig {
            identity: identity(number),
            planet: planet(self.roots),
            seed,
            settings: Settings { controller: index == 0, ..Settings::default() },
        };
        let mut core = Core::new(config, self.now);
        core.set_local_addresses(self.now, vec![(SOCKET, inside)]);
        self.deadlines.insert((self.now, index));
        self.hosts.push(Host {
            core: core.into(),
            controller: None,
            inside,
            socket: SOCKET,
            nat,
            received: Vec::new(),
            status: BTreeMap::new(),
            configs: BTreeMap::new(),
            revocations: BTreeMap::new(),
            clones: Vec::new(),
            contacted: BTreeSet::new(),
            up: true,
            ahead: Span::ZERO,
            deadline: self.now,
        });
        index
    }

    /// Lets a host join.
    pub fn join(&mut self, host: usize, network: NetworkId) {
        let now = self.time(host);
        match &mut self.hosts[host].core {
            Program::Core(core) => drop(core.join(now, network, None)),
            Program::Double(double) => double.join(network),
        }
        self.settle(host);
    }

    /// Lets a host join with a join token.
    pub fn join_with(&mut self, host: usize, network: NetworkId, token: &str) {
        let token = Some(zeroize::Zeroizing::new(token.to_owned()));
        let now = self.time(host);
        self.hosts[host].core.join_with(now, network, None, token);
        self.settle(host);
    }

    /// Address of a host.
    pub fn address(&self, host: usize) -> Address {
        match &self.hosts[host].core {
            Program::Core(core) => core.address(),
            Program::Double(double) => double.address(),
        }
    }

    /// Stops a host: it neither sends nor hears.
    pub fn stop(&mut self, host: usize) {
        self.hosts[host].up = false;
    }

    /// What the clock of a host shows.
    pub fn time(&self, host: usize) -> Time {
        self.now + self.hosts[host].ahead
    }

    /// What is sent while something is done: it does not arrive.
    pub fn intercept(&mut self, done: impl FnOnce(&mut Self)) -> Vec<Vec<u8>> {
        let before = self.serial;
        done(self);
        let (taken, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.flying).into_iter().partition(|f| f.serial.0 > before);
        self.flying = kept.into();
        taken.into_iter().map(|flight| flight.data).collect()
    }

    /// Hands a host a datagram that somebody recorded.
    pub fn inject(&mut self, host: usize, from: SocketAddr, data: &[u8]) {
        self.hand(host, from, &mut data.to_vec(), 0);
    }

    /// Starts a host anew: the same identity and place, nothing remembered.
    pub fn restart(&mut self, host: usize, number: usize) {
        self.restart_with(host, number, Settings::default());
    }

    /// The same with other settings.
    pub fn restart_with(&mut self, host: usize, number: usize, settings: Settings) {
        let now = self.time(host);
        let h = &mut self.hosts[host];
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&(self.now.as_ms() as u64).to_be_bytes());
        let config = CoreConfig { identity: identity(number), planet: planet(self.roots), seed, settings };
        h.core = Core::new(config, now).into();
        h.core.set_local_addresses(now, vec![(h.socket, h.inside)]);
        h.up = true;
        h.clones.clear();
        self.settle(host);
    }

    /// Moves a host behind another NAT.
    pub fn move_to(&mut self, host: usize, nat: usize) {
        self.hosts[host].nat = Some(nat);
    }

    /// Forgets a NAT's mappings: its hosts get other outside ports.
    pub fn forget_mappings(&mut self, nat: usize) {
        self.nats[nat].forget();
    }

    /// Sends an Ethernet frame from the port of one host.
    pub fn send_frame(&mut self, host: usize, network: NetworkId, frame: &[u8]) {
        let now = self.time(host);
        match &mut self.hosts[host].core {
            Program::Core(core) => {
                core.joined(network).into_iter().for_each(|joined| joined.frame(now, frame));
            }
            Program::Double(double) => double.frame(now, network, frame),
        }
        self.settle(host);
    }

    /// Runs until `done` holds, at most `limit` ms. Whether it did.
    pub fn run_until(&mut self, limit: i64, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + Span::ms(limit);
        loop {
            if done(self) {
                return true;
            }
            if !self.step(end) {
                self.now = end;
                return done(self);
            }
        }
    }

    /// Runs for some time.
    pub fn run(&mut self, ms: i64) {
        let end = self.now + Span::ms(ms);
        while self.step(end) {}
        self.now = end;
    }

    /// The next thing that happens, if it happens by `end`.
    fn step(&mut self, end: Time) -> bool {
        let flight = self.flying.peek().map(|f| f.at.0);
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let Some(next) = flight.into_iter().chain(deadline).min().filter(|at| *at <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        if flight == Some(next) {
            let Some(datagram) = self.flying.pop() else { return false };
            self.arrive(datagram);
        } else if let Some((_, host)) = self.deadlines.pop_first() {
            if self.hosts[host].up {
                let now = self.time(host);
                self.hosts[host].core.tick(now);
                self.tick_controller(host);
            }
            self.settle(host);
        }
        true
    }

    /// Carries out what a host's core asks for.
    fn settle(&mut self, host: usize) {
        while self.settle_double(host) {}
        while let Program::Core(core) = &mut self.hosts[host].core {
            let mut outbox = std::mem::take(core.outbox());
            let quiet = outbox.errands.is_empty() && outbox.events.is_empty();
            if quiet && outbox.datagrams.is_empty() && outbox.frames.is_empty() {
                break;
            }
            for (segment, data) in outbox.datagrams.iter() {
                // A relay of another make need not cope with a packet from an address to the same address.
                assert!(data.len() < 18 || data[8..13] != data[13..18], "a packet from {host} to itself");
                self.hosts[host].contacted.insert(segment.to);
                // Hole-punching junk does its work in the sender's NAT and dies on the way.
                self.transmit(host, (segment.to, segment.ttl.is_some(), segment.ecn), data, false);
            }
            for segment in outbox.datagrams.whole() {
                let data = &outbox.datagrams.buffer()[segment.range.clone()];
                self.transmit(host, (segment.to, segment.ttl.is_some(), segment.ecn), data, true);
            }
            for (network, frame) in outbox.frames.iter() {
                self.hosts[host].received.push((network, frame.to_vec()));
            }
            for errand in outbox.errands {
                self.run_errand(host, errand);
            }
            for event in outbox.events {
                self.event(host, event);
            }
        }
        let h = &mut self.hosts[host];
        self.deadlines.remove(&(h.deadline, host));
        let controller = h.controller.as_ref().and_then(Controller::next_deadline);
        h.deadline = controller
            .into_iter()
            .fold(program::deadline(&h.core, h.ahead), Time::min)
            .max(self.now + Span::ms(1));
        if h.up {
            self.deadlines.insert((h.deadline, host));
        }
    }

    fn event(&mut self, host: usize, event: Event) {
        let now = self.time(host);
        match event {
            Event::Store { object: Object::Revocations(network), bytes } => {
                self.hosts[host].revocations.insert(network, bytes);
            }
            Event::Delete { object: Object::Revocations(network) | Object::Network(network) } => {
                self.hosts[host].revocations.remove(&network);
            }
            Event::Store { object: Object::Network(network), bytes } => {
                self.hosts[host].configs.insert(network, bytes);
            }
            Event::Clones(clones) => self.hosts[host].clones = clones,
            Event::NetworkStatus { network, status } => {
                self.hosts[host].status.insert(network, status);
            }
            Event::Config { network, config } => {
                let groups: Vec<MulticastGroup> =
                    config.addresses.iter().map(|a| derive::resolution_group(a.ip)).collect();
                if let Some(joined) = self.hosts[host].core.joined(network) {
                    joined.set_multicast_groups(now, &groups);
                }
            }
            _ => {}
        }
    }

    /// A datagram leaves a host, through its NAT if it has one.
    fn transmit(&mut self, host: usize, (to, dies, ecn): (SocketAddr, bool, u8), data: &[u8], whole: bool) {
        let (inside, nat) = (self.hosts[host].inside, self.hosts[host].nat);
        let private = |ip: IpAddr| matches!(ip, IpAddr::V4(v4) if v4.octets()[0] == 192);
        let from = match nat.filter(|_| !private(to.ip())) {
            None => inside,
            Some(nat) => self.nats[nat].leave(inside, to),
        };
        *self.sent.entry((host, to)).or_default() += data.len();
        if dies || self.rng.random_range(0..1000) < self.weather.loss {
            return;
        }
        let (least, most) = self.weather.latency;
        let at = self.now + Span::ms(self.rng.random_range(least..=most) + self.longer(host, to));
        self.serial += 1;
        let realm = if private(to.ip()) { nat } else { None };
        self.flying.push(InFlight {
            at: Reverse(at),
            serial: Reverse(self.serial),
            from,
            to,
            realm,
            whole,
            ecn,
            data: data.to_vec(),
        });
    }

    /// By how much what a host sends somewhere is longer under way than between others.
    fn longer(&self, host: usize, to: SocketAddr) -> i64 {
        if self.far.is_empty() {
            return 0;
        }
        let other = self.hosts.iter().position(|other| match other.nat {
            None => other.inside == to,
            Some(nat) => IpAddr::V4(self.nats[nat].public) == to.ip(),
        });
        other.and_then(|other| self.far.get(&(host.min(other), host.max(other)))).copied().unwrap_or(0)
    }

    /// A datagram reaches its destination, if there is one that lets it in.
    fn arrive(&mut self, datagram: InFlight) {
        let InFlight { from, to, realm, whole, mut ecn, mut data, .. } = datagram;
        let at_nat = self.nats.iter().position(|n| IpAddr::V4(n.public) == to.ip());
        let (inside, nat) = match at_nat {
            Some(index) => {
                let Some(inside) = self.nats[index].enter(from, to.port()) else { return };
                (inside, Some(index))
            }
            None => (to, realm),
        };
        let Some(host) = self.hosts.iter().position(|h| h.inside == inside && h.nat == nat) else { return };
        let sender = self.hosts.iter().position(|h| match h.nat {
            None => h.inside == from,
            Some(n) => self.nats[n].is_seen_as(h.inside, from),
        });
        if let Some(sender) = sender
            && (self.cut.contains(&(sender.min(host), sender.max(host)))
                || self.one_way.contains(&(sender, host)))
        {
            return;
        }
        if let Some(sender) = sender {
            let pair = (sender.min(host), sender.max(host));
            if self.narrow.get(&pair).is_some_and(|limit| data.len() > *limit) {
                if whole {
                    return;
                }
                *self.fragmented.entry((sender, host)).or_default() += 1;
                if !self.fragments_pass {
                    return;
                }
            }
            let seen = self.ecn.entry((sender, host)).or_default();
            seen[usize::from(ecn)] += 1;
            if ecn != 0
                && self.congested.contains(&(sender, host))
                && seen[usize::from(ecn)].is_multiple_of(2)
            {
                ecn = 3;
            }
            let largest = self.largest.entry((sender, host)).or_default();
            *largest = data.len().max(*largest);
        }
        if !self.hosts[host].up || self.deaf.contains(&host) {
            return;
        }
        self.delivered += 1;
        self.trace = (self.trace.rotate_left(7)
            ^ (self.now.as_ms() as u64)
            ^ ((host as u64) << 32)
            ^ data.len() as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if let Some(recorded) = &mut self.recorded {
            recorded.push((host, from, data.clone()));
        }
        self.hand(host, from, &mut data, ecn);
    }

    fn hand(&mut self, host: usize, from: SocketAddr, data: &mut [u8], ecn: u8) {
        let (now, socket, length) = (self.time(host), self.hosts[host].socket, data.len());
        match &mut self.hosts[host].core {
            Program::Core(core) => core.marked_datagrams(now, socket, from, data, length, ecn),
            Program::Double(double) => double.datagram(now, from, data),
        }
        self.settle(host);
    }
}

/// An Ethernet frame from one member to another, with an ethertype nobody answers.
pub fn frame_between(world: &World, network: NetworkId, from: usize, to: usize, text: &[u8]) -> Vec<u8> {
    let mac = |host| protocol::Mac::for_member(network, world.address(host));
    let mut frame = Vec::new();
    frame.extend_from_slice(&mac(to).0);
    frame.extend_from_slice(&mac(from).0);
    frame.extend_from_slice(&[0x88, 0xb5]);
    frame.extend_from_slice(text);
    frame
}

/// Sends a frame and waits for it at the other end; repeats as a person would.
pub fn reaches(world: &mut World, network: NetworkId, from: usize, to: usize, limit: i64) -> bool {
    let end = world.now + Span::ms(limit);
    let text = format!("{from}>{to}@{}", world.now.as_ms());
    let frame = frame_between(world, network, from, to, text.as_bytes());
    while world.now < end {
        world.send_frame(from, network, &frame);
        let wait = (end - world.now).as_ms().min(1_000);
        if world.run_until(wait, |w| w.hosts[to].received.iter().any(|(n, f)| *n == network && *f == frame)) {
            return true;
        }
    }
    false
}

/// Whether a host has a live direct path to another.
pub fn is_direct(world: &World, from: usize, to: usize) -> bool {
    let to = world.address(to);
    let core = match &world.hosts[from].core {
        Program::Core(core) => core,
        Program::Double(double) => return double.path_to(world.time(from), to).is_some(),
    };
    core.view().peers(world.now).iter().any(|p| p.address == to && p.paths.iter().any(|path| path.preferred))
}
