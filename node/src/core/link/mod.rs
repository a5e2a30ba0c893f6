//! VL1: the link to every other node. Who is known, how each is reached, and a packet's way out.
//!
//! A [`Link`] knows peers, paths and roots; it knows no network. Whoever needs to send something gets it as an argument.
//! What it has to know of the networks above it is told as data: who their controllers are
//! ([`Link::controllers`]) and which addresses are theirs ([`Link::virtual_addresses`]).

mod ask;
mod incoming;
mod send;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use protocol::{Address, Prefix, SecretIdentity};
use rand::rngs::StdRng;

use super::CoreConfig;
use super::buckets::{Buckets, Keyed};
use super::event::Settings;
use super::expected::Expected;
use super::gate::Gate;
use super::info::Counters;
use super::limits::GATE_BUCKETS;
use super::path::{PathKey, SocketId};
use super::path_mtu::PathMtus;
use super::queue::Queue;
use super::surface::Surfaces;
use super::topology::Topology;
use super::unproven::Unproven;
use crate::dataplane::Outbox;
pub(super) use incoming::{Handled, Incoming};

/// See the module.
pub(super) struct Link {
    /// Who we are.
    pub(super) secret: SecretIdentity,
    /// For packet IDs and choices.
    pub(super) rng: StdRng,
    /// What the user wants.
    pub(super) settings: Settings,
    /// Peers, paths and roots.
    pub(super) topology: Topology,
    /// Packets that are to be answered.
    pub(super) expected: Expected,
    /// How large a datagram each path takes.
    pub(super) path_mtus: PathMtus,
    /// Packets that wait for a path or an identity.
    pub(super) sending: Queue,
    /// Gates for WHOIS, by address asked for.
    pub(super) whois: Buckets,
    /// Gate for WHOIS of those who claim to have sent something.
    pub(super) unknown_sources: Gate,
    /// Gates for ERRORs, by receiver, network and code.
    pub(super) errors: Buckets,
    /// What endpoints that have not proven themselves may be sent.
    pub(super) unproven: Unproven,
    /// Where the datagram being handled came from and how many octets it has, until that has been accounted for.
    pub(super) arrival: Option<(PathKey, usize)>,
    /// Private addresses are probed only inside these; `None` = everywhere.
    pub(super) on_link: Option<Vec<Prefix>>,
    /// Our sockets, and the local address under which each can be reached.
    pub(super) local: Vec<(SocketId, SocketAddr)>,
    /// How others see us.
    pub(super) surfaces: Surfaces,
    /// Where others said that peers might be.
    pub(super) hints: BTreeMap<Address, Vec<SocketAddr>>,
    /// Controllers of the networks above: to know them is urgent.
    pub(super) controllers: BTreeSet<Address>,
    /// Addresses inside the networks above: nobody is reached there by this link.
    pub(super) virtual_addresses: Vec<Prefix>,
    /// What has happened.
    pub(super) counters: Counters,
    /// One packet, used again and again.
    pub(super) scratch: Vec<u8>,
    /// What has to be done outside.
    pub(super) outbox: Outbox,
}

impl Link {
    /// A link at time `now`; `hash` keys its gates.
    pub(super) fn new(config: CoreConfig, rng: StdRng, hash: Keyed, now: i64) -> Self {
        Self {
            topology: Topology::new(&config.identity, config.planet, now),
            secret: config.identity,
            rng,
            settings: config.settings,
            expected: Expected::default(),
            path_mtus: PathMtus::default(),
            sending: Queue::sending(),
            whois: Buckets::new(GATE_BUCKETS, hash),
            unknown_sources: Gate::default(),
            errors: Buckets::new(GATE_BUCKETS, hash),
            unproven: Unproven::new(hash),
            arrival: None,
            on_link: None,
            local: Vec::new(),
            surfaces: Surfaces::default(),
            hints: BTreeMap::new(),
            controllers: BTreeSet::new(),
            virtual_addresses: Vec::new(),
            counters: Counters::default(),
            scratch: Vec::new(),
            outbox: Outbox::default(),
        }
    }

    /// Our address.
    pub(super) fn address(&self) -> Address {
        self.secret.identity().address
    }
}
