//! The deciding core: VL1 and VL2 as a deterministic state machine.
//!
//! Time, randomness, datagrams, Ethernet frames and commands come in as arguments; datagrams, frames and [`event::Event`]s go
//! out through [`Core::outbox`]; [`Core::next_deadline`] says when [`Core::tick`] wants to run next. There is no socket, no
//! clock, no lock and no thread in here, so the same code runs in the daemon, in the simulator (thousands of nodes on a virtual
//! clock) and under the fuzzers, and the same inputs always give the same outputs.
//!
//! | module | subject |
//! |---|---|
//! | `topology`, [`peer`], [`path`] | who is known, how to reach them, who is a root |
//! | `receive`, `relay` | a datagram's way in: classify, reassemble, forward, authenticate, dispatch |
//! | `hello`, `newcomers`, `verbs` | the VL1 verbs, and what strangers have to pass before they are peers |
//! | `table`, `buckets`, `gate`, `unproven`, `sources` | what strangers may make us keep, do and send |
//! | `send` | a packet's way out: path, suite, fragments, queue, WHOIS |
//! | `clones` | noticing other machines with our identity |
//! | `contact` | keeping in touch and finding direct paths |
//! | `path_mtu` | how large a datagram each path takes |
//! | [`replay`] | recorded packets have no effect |
//! | [`extension`] | what we say to ztnodes alone |
//! | `network/` | VL2: joining, configurations, credentials, frames, multicast, bridging |
//!
//! Times are milliseconds since the Unix epoch and must not run backwards.

pub mod bounds;
#[cfg(feature = "work")]
mod filling;
mod peers;
mod queries;
mod receive;
mod switch;

pub use crate::ground::{event, info, limits, work};
pub use crate::link::{extension, path, peer, replay};
mod verbs;

use crate::link::relay::Relay;
use crate::link::replay::ReplayMemory;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use controller::Action;
use protocol::multicast_group::MulticastGroup;
use protocol::packet::Reassembler;
use protocol::world::World;
use protocol::{Address, NetworkId, Prefix, SecretIdentity};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use zeroize::Zeroizing;

use crate::dataplane::vnet::{Offload, Offloads};
use crate::dataplane::{Outbox, ecn};
use crate::ground::buckets::Keyed;
use crate::ground::event::{Event, Machine, Object, Settings};
use crate::ground::info::QueueCounters;
use crate::ground::limits::{
    BACKGROUND, HOUSEKEEPING, INTRODUCE_GATE, PATH_EXPIRY, REASSEMBLY_SLOTS, STRANGER_REASSEMBLY_SLOTS,
};
use crate::link::Link;
use crate::link::clones::Clones;
use crate::link::contact::Contacts;
use crate::link::newcomers::Newcomers;
use crate::link::path::{PathKey, SocketId};
use crate::link::peer_cache::Restored;
use crate::link::queue::Queue;
use switch::{Network, Switch};

/// What a node is made of.
pub struct CoreConfig {
    /// Who we are.
    pub identity: SecretIdentity,
    /// The roots to use until a newer planet is learned.
    pub planet: World,
    /// Seed of the generator for packet IDs and choices. Must come from the operating system's generator except in simulations.
    pub seed: [u8; 32],
    /// Initial settings.
    pub settings: Settings,
}

/// One node.
pub struct Core {
    link: Link,
    switch: Switch,
    contacts: Contacts,
    relay: Relay,
    memory: ReplayMemory,
    clones: Clones,
    parked: Queue,
    reassembler: Reassembler<PathKey>,
    /// The same for datagrams that came by a path nobody is known on.
    stranger_parts: Reassembler<PathKey>,
    newcomers: Newcomers,
    /// Peers of an earlier run whose identities have not been checked yet.
    restored: BTreeMap<Address, Restored>,
    /// When a root's report of a collision was passed on last.
    collision_told: Option<i64>,
    next_housekeeping: i64,
    next_background: i64,
    inflated: Vec<u8>,
    /// The frame credited last among datagrams that arrived together: when, by which path, from whom, after how many hops.
    credited: Option<(i64, PathKey, Address, u8)>,
}

impl Core {
    /// A node at time `now`. It does nothing until it is ticked and given sockets.
    pub fn new(config: CoreConfig, now: i64) -> Self {
        let mut rng = StdRng::from_seed(config.seed);
        let hash = Keyed::new(rng.random());
        Self {
            link: Link::new(config.identity, config.planet, config.settings, rng, hash, now),
            switch: Switch::new(hash),
            contacts: Contacts::new(now),
            relay: Relay::default(),
            memory: ReplayMemory::default(),
            clones: Clones::new(hash),
            parked: Queue::parking(),
            reassembler: Reassembler::new(REASSEMBLY_SLOTS).joining_marks(ecn::join),
            stranger_parts: Reassembler::new(STRANGER_REASSEMBLY_SLOTS).joining_marks(ecn::join),
            newcomers: Newcomers::new(hash),
            restored: BTreeMap::new(),
            collision_told: None,
            next_housekeeping: now + HOUSEKEEPING,
            next_background: now + BACKGROUND,
            inflated: Vec::new(),
            credited: None,
        }
    }

    /// Our address.
    pub fn address(&self) -> Address {
        self.link.address()
    }

    /// What has to be done outside; the caller drains it after every call.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.link.outbox
    }

    /// Counts datagrams of copies that the operating system had no room for.
    pub fn copies_congested(&mut self, datagrams: u64) {
        self.link.counters.copies.congested += datagrams;
    }

    /// The counters of what waits outside of the core.
    pub fn queues_mut(&mut self) -> &mut QueueCounters {
        &mut self.link.counters.queues
    }

    /// When [`Core::tick`] wants to run next.
    pub fn next_deadline(&self) -> i64 {
        let mut next = self.contacts.next_ping.min(self.next_housekeeping).min(self.link.path_mtus.next());
        if !self.link.sending.is_empty() || !self.parked.is_empty() {
            next = next.min(self.next_background);
        }
        let networks = self.switch.networks.values().map(Network::next_deadline);
        let networks = networks.chain(self.switch.later.front().map(|(at, ..)| *at));
        networks.chain(self.contacts.knocks.next()).chain(self.clones.next()).fold(next, i64::min)
    }

    /// Does what is due: queue retries, contact checks, configuration requests, expiry. Calling it early is harmless.
    pub fn tick(&mut self, now: i64) {
        if now >= self.next_background {
            self.next_background = now + BACKGROUND;
            self.link.retry_sending(now, None);
            self.retry_parked(now, None);
        }
        if now >= self.contacts.next_ping {
            let anchors = self.switch.always_contact();
            self.contacts.ping_check(&mut self.link, now, anchors);
            self.after_contact(now);
            self.switch.announce_groups(&mut self.link, now);
        }
        self.reserve_counts(now);
        self.link.measure_paths(now);
        self.contacts.knock_where_due(&mut self.link, now);
        self.clones.call_clones(&mut self.link, now);
        self.switch.repeat_announcements(&mut self.link, now);
        self.switch.request_configs(&mut self.link, now);
        self.switch.attend_to_revocations(&mut self.link, now);
        if now >= self.next_housekeeping {
            self.next_housekeeping = now + HOUSEKEEPING;
            self.housekeeping(now);
        }
    }

    /// Replaces the settings.
    pub fn set_settings(&mut self, settings: Settings) {
        self.link.settings = settings;
    }

    /// Confines probing to be kind to clouds: of private, shared and link-local addresses that others tell us only those inside
    /// `prefixes` are tried. `None` = no such limit. Addresses that the user or a planet names are not concerned, nor are
    /// those from which an authentic packet came.
    pub fn confine_probes(&mut self, prefixes: Option<Vec<Prefix>>) {
        self.link.on_link = prefixes;
    }

    /// Tells which sockets exist and under which local address each can be reached. Paths over sockets that are gone are
    /// forgotten and the roots are greeted at once over the new ones.
    pub fn set_local_addresses(&mut self, now: i64, local: Vec<(SocketId, SocketAddr)>) {
        if local == self.link.local {
            return;
        }
        self.link.local = local;
        let local = &self.link.local;
        for peer in self.link.topology.peers.values_mut() {
            peer.forget_sockets(|s| local.iter().any(|(id, _)| *id == s));
        }
        self.contacts.greetings = 0;
        self.contacts.next_ping = now;
    }

    /// Orbits a moon: `cached` is its definition from our own disk, `seed` a node that will tell it otherwise.
    pub fn orbit(&mut self, now: i64, id: u64, seed: Option<Address>, cached: Option<World>) {
        if let Some(world) = cached.filter(|w| w.id == id && w.kind == protocol::world::WorldKind::Moon) {
            let accepted = self.link.topology.offer_world(&self.link.secret, now, world, None);
            self.contacts.store_world(&mut self.link, accepted);
        }
        if !self.link.topology.moons.contains_key(&id)
            && let Some(seed) = seed.filter(|s| !s.is_reserved())
        {
            self.link.topology.await_moon(id, seed);
        }
        self.contacts.next_ping = now;
    }

    /// Leaves a moon and forgets its file.
    pub fn deorbit(&mut self, now: i64, id: u64) {
        self.link.topology.forget_moon(&self.link.secret, now, id);
        self.link.outbox.events.push_back(Event::Delete { object: Object::Moon(id) });
    }

    /// Puts another planet in force, whoever signed it, greets its roots and gives back the former one. Whether it may be replaced,
    /// and storing it, is the caller's business.
    pub fn replace_planet(&mut self, now: i64, planet: World) -> World {
        let former = self.link.topology.replace_planet(&self.link.secret, now, planet);
        self.contacts.greetings = 0;
        self.contacts.next_ping = now;
        former
    }

    fn housekeeping(&mut self, now: i64) {
        self.link.surfaces.expire(now);
        self.clones.reflections.expire(now);
        self.memory.expire_replay_memory(&mut self.link, now);
        self.link.expected.expire(now);
        self.newcomers.expire(now);
        self.relay.pairs.expire(now - INTRODUCE_GATE);
        self.switch.requesters.expire(now);
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
        self.switch.housekeep_networks(&mut self.link, now);
    }

    /// Joins a network: its port is wanted at once, its configuration is asked for. `cached` is the configuration dictionary
    /// an earlier run kept; it is in force until the controller answers. False when too many networks are joined.
    pub fn join(&mut self, now: i64, id: NetworkId, cached: Option<&[u8]>) -> bool {
        self.switch.join(&mut self.link, now, id, cached, None)
    }

    /// [`Core::join`] with a join token for the controller. It goes with every request until one is answered by a
    /// configuration; then [`Object::Token`] is to be deleted. On a network that is joined
    /// already it takes the place of an earlier one, and the controller is asked at once.
    pub fn join_with(
        &mut self,
        now: i64,
        id: NetworkId,
        cached: Option<&[u8]>,
        token: Option<Zeroizing<String>>,
    ) -> bool {
        self.switch.join(&mut self.link, now, id, cached, token)
    }

    /// Leaves a network. False when it was not joined.
    pub fn leave(&mut self, id: NetworkId) -> bool {
        self.switch.leave(&mut self.link, id)
    }

    /// Tells which multicast groups the operating system listens to on a network's port, addresses' own groups included.
    pub fn set_multicast_groups(&mut self, now: i64, id: NetworkId, groups: &[MulticastGroup]) {
        self.switch.set_multicast_groups(&mut self.link, now, id, groups);
    }

    /// Tells whether the network's virtual port works: 0, or the error that PORT_ERROR is shown for.
    pub fn set_port_error(&mut self, id: NetworkId, error: i32) {
        self.switch.set_port_error(&mut self.link, id, error);
    }

    /// Tells what a network's port takes unfinished: frames for it are joined to super-frames accordingly. Nothing until told.
    pub fn set_port_offloads(&mut self, id: NetworkId, takes: Offloads) {
        self.switch.set_port_offloads(id, takes);
    }

    /// Takes in one Ethernet frame from the port of a network with what the kernel left undone about it: a checksum to be
    /// completed, or several frames' worth of data to be cut. A frame that is not what `offload` says is dropped.
    pub fn port_frame(&mut self, now: i64, id: NetworkId, offload: &Offload, bytes: &mut [u8]) {
        self.switch.port_frame(&mut self.link, now, id, offload, bytes);
    }

    /// Takes in one whole Ethernet frame from the port of a network.
    pub fn frame(&mut self, now: i64, id: NetworkId, bytes: &[u8]) {
        if let Some(network) = self.switch.networks.get_mut(&id) {
            network.frame(&mut self.link, &mut self.switch.directory, now, bytes);
        }
    }

    /// Puts into force what an earlier run kept of a network's revocations; to be called with [`Core::join`]. False when
    /// the file was damaged: what could be read of it counts all the same.
    pub fn restore_revocations(&mut self, now: i64, id: NetworkId, bytes: &[u8]) -> bool {
        self.switch.restore_revocations(now, id, bytes)
    }

    /// Greets all roots at once, on every path and at every address that is known of them: whether they still answer is to be seen.
    pub fn greet_roots(&mut self, now: i64) {
        self.contacts.greet_roots(&mut self.link, now);
    }

    /// Whether a root was heard since then. A root asks nobody.
    pub fn heard_root_since(&self, then: i64) -> bool {
        self.contacts.heard_root_since(&self.link, then)
    }

    /// A root has begun to answer: networks without a configuration ask at once.
    fn after_contact(&mut self, now: i64) {
        if self.contacts.take_came_online() {
            self.switch.hurry_requests(&mut self.link, now);
        }
    }

    /// Begins to look out for other machines with our identity; again: the machine turned out to be another (or the identity
    /// was bound to it).
    pub fn watch_for_clones(&mut self, now: i64, machine: Machine) {
        self.clones.watch_for_clones(&mut self.link, now, machine);
    }

    /// Carries out what our own controller has decided.
    pub fn controller_action(&mut self, now: i64, action: Action) {
        self.switch.controller_action(&mut self.link, now, action);
    }
}
