//! VL1: the link to every other node. Who is known, how each is reached, and a packet's way out.
//!
//! A [`Link`] knows peers, paths and roots; it knows no network. Whoever needs to send something gets it as an argument.
//! What it has to know of the networks above it is told as data: who their controllers are
//! ([`Link::controllers`]) and which addresses are theirs ([`Link::virtual_addresses`]).

mod arrival;
mod ask;
pub(crate) mod candidates;
pub(crate) mod clones;
pub(crate) mod contact;
mod deaf;
pub(crate) mod expected;
pub mod extension;
pub(crate) mod hello;
mod incoming;
pub(crate) mod liveness;
pub(crate) mod newcomers;
pub mod path;
pub(crate) mod path_mtu;
pub mod peer;
pub(crate) mod peer_cache;
pub(crate) mod queue;
pub(crate) mod relay;
pub mod replay;
mod root_ways;
mod send;
pub(crate) mod surface;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod topology;
mod underlay;
pub(crate) mod unproven;
mod verbs;
pub(crate) mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use protocol::world::World;
use protocol::{Address, Prefix, SecretIdentity, Time};
use rand::rngs::StdRng;

use crate::ground::buckets::{Buckets, Keyed};
use crate::ground::event::Settings;
use crate::ground::gate::Gate;
use crate::ground::info::Counters;
use crate::ground::limits::GATE_BUCKETS;
use crate::ground::outbox::Outbox;
use crate::link::expected::Expected;
use crate::link::path::{PathKey, SocketId};
use crate::link::path_mtu::PathMtus;
use crate::link::queue::SendQueue;
use crate::link::surface::Surfaces;
use crate::link::topology::Topology;
use crate::link::unproven::Unproven;
use crate::link::ways::Ways;
pub(crate) use arrival::{Opened, Received};
pub(crate) use incoming::{Handled, Incoming};
pub(crate) use underlay::Underlay;

/// What keeps us from asking and complaining too often.
pub(crate) struct Gates {
    /// WHOIS, by address asked for.
    pub(crate) whois: Buckets,
    /// WHOIS of those who claim to have sent something.
    pub(crate) unknown_sources: Gate,
    /// ERRORs, by receiver, network and code.
    pub(crate) errors: Buckets,
}

/// See the module.
pub(crate) struct Link {
    /// Who we are.
    pub(crate) secret: SecretIdentity,
    /// For packet IDs and choices.
    pub(crate) rng: StdRng,
    /// What the user wants.
    pub(crate) settings: Settings,
    /// Peers, paths and roots.
    pub(crate) topology: Topology,
    /// Packets that are to be answered.
    pub(crate) expected: Expected,
    /// How large a datagram each path takes.
    pub(crate) path_mtus: PathMtus,
    /// Which ways packets take.
    pub(crate) ways: Ways,
    /// Packets that wait for a path or an identity.
    pub(crate) sending: SendQueue,
    /// How often we ask and complain.
    pub(crate) gates: Gates,
    /// What endpoints that have not proven themselves may be sent.
    pub(crate) unproven: Unproven,
    /// Where the datagram being handled came from and how many octets it has, until that has been accounted for.
    pub(crate) arrival: Option<(PathKey, usize)>,
    /// Private addresses are probed only inside these; `None` = everywhere.
    pub(crate) on_link: Option<Vec<Prefix>>,
    /// Our sockets, and the local address under which each can be reached.
    pub(crate) local: Vec<(SocketId, SocketAddr)>,
    /// How others see us.
    pub(crate) surfaces: Surfaces,
    /// Where others said that peers might be.
    pub(crate) hints: BTreeMap<Address, Vec<SocketAddr>>,
    /// Controllers of the networks above: to know them is urgent.
    pub(crate) controllers: BTreeSet<Address>,
    /// Addresses inside the networks above: nobody is reached there by this link.
    pub(crate) virtual_addresses: Vec<Prefix>,
    /// What has happened.
    pub(crate) counters: Counters,
    /// One packet, used again and again.
    pub(crate) scratch: Vec<u8>,
    /// What has to be done outside.
    pub(crate) outbox: Outbox,
}

impl Link {
    /// A link at time `now`; `hash` keys its gates.
    pub(crate) fn new(
        identity: SecretIdentity,
        planet: World,
        settings: Settings,
        rng: StdRng,
        hash: Keyed,
        now: Time,
    ) -> Self {
        Self {
            topology: Topology::new(&identity, planet, now),
            secret: identity,
            rng,
            settings,
            expected: Expected::default(),
            path_mtus: PathMtus::default(),
            ways: Ways::default(),
            sending: SendQueue::default(),
            gates: Gates {
                whois: Buckets::new(GATE_BUCKETS, hash),
                unknown_sources: Gate::default(),
                errors: Buckets::new(GATE_BUCKETS, hash),
            },
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
    pub(crate) fn address(&self) -> Address {
        self.secret.identity().address
    }
}
