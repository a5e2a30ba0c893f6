//! VL2: the virtual networks this node has joined.
//!
//! | module | subject |
//! |---|---|
//! | `config` | asking a controller, assembling and applying its answer |
//! | `membership` | who may talk to us here: credentials in and out, the gate |
//! | `filter` | the network's rules, applied to one frame |
//! | `rules` | what is kept about the rules: the flow cache, counters, the trace |
//! | `frames` | Ethernet frames from the port and from peers |
//! | `burst` | frames for one member, many at once |
//! | `multicast`, `directory` | groups, subscribers, sending to many |
//! | `bridge` | MAC addresses behind members that bridge |
//! | `revoked` | what was revoked, on disk too; what a controller wants acknowledged |
//! | `proof` | requests to our own controller wait until who asks has answered |
//! | `serve` | our own controller's answers on their way out |

mod bridge;
mod burst;
mod config;
mod directory;
mod filter;
mod frames;
mod membership;
mod multicast;
mod proof;
mod revoked;
mod rules;
mod serve;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::multicast_group::MulticastGroup;
use protocol::netconf::NetworkConfig;
use protocol::{Address, Mac, NetworkId};
use zeroize::Zeroizing;

use crate::dataplane::vnet::Offloads;
use crate::ground::buckets::{Buckets, Keyed};
use crate::ground::event::{Event, Object};
use crate::ground::gate::Gate;
use crate::ground::info::{FrameCounters, NetworkInfo, NetworkStatus};
use crate::ground::limits::{GATE_BUCKETS, MAX_MEMBERS, MAX_NETWORKS, MAX_OWN_GROUPS};
use crate::ground::table::Table;
use crate::link::Link;
use bridge::BridgeTable;
pub(super) use config::ASSEMBLIES;
use config::{Assembly, Requests};
pub(super) use directory::Directory;
use membership::{Member, Standing};
use multicast::Repeats;
pub(super) use proof::Requesters;
pub(super) use revoked::Later;
use revoked::Revoked;
use rules::Rules;

/// Why the controller did not give us a configuration last time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Failure {
    AccessDenied,
    NotFound,
    AuthenticationRequired,
}

/// One joined network.
pub(super) struct Network {
    id: NetworkId,
    mac: Mac,
    /// The configuration in force.
    pub(super) config: Option<Arc<NetworkConfig>>,
    /// Counts configurations, so that what was derived from one is known to be stale.
    epoch: u64,
    /// When the configuration in force was applied, 0 if it came from disk.
    last_update: i64,
    failure: Option<Failure>,
    port_error: i32,
    reported: NetworkStatus,
    requests: Requests,
    assembly: Assembly,
    members: Table<Address, Standing, Member>,
    revoked: Revoked,
    /// Groups the operating system listens to on the port.
    port_groups: BTreeSet<MulticastGroup>,
    bridges: BridgeTable,
    rules: Rules,
    last_announced: i64,
    repeats: Repeats,
    authentication_url: Option<String>,
    /// The join token sent along with requests until the controller lets us in.
    token: Option<Zeroizing<String>>,
    frames: FrameCounters,
    /// What the port takes unfinished.
    takes: Offloads,
}

impl Network {
    fn new(id: NetworkId, us: Address, now: i64) -> Self {
        Self {
            id,
            mac: Mac::for_member(id, us),
            config: None,
            epoch: 0,
            last_update: 0,
            failure: None,
            port_error: 0,
            reported: NetworkStatus::RequestingConfiguration,
            requests: Requests::starting(now),
            assembly: Assembly::default(),
            members: Table::new(MAX_MEMBERS, MAX_MEMBERS),
            revoked: Revoked::default(),
            port_groups: BTreeSet::new(),
            bridges: BridgeTable::default(),
            rules: Rules::default(),
            last_announced: 0,
            repeats: Repeats::default(),
            authentication_url: None,
            token: None,
            frames: FrameCounters::default(),
            takes: Offloads::default(),
        }
    }

    fn status(&self) -> NetworkStatus {
        match (self.port_error, self.failure, &self.config) {
            (0, None, Some(_)) => NetworkStatus::Ok,
            (0, None, None) => NetworkStatus::RequestingConfiguration,
            (0, Some(Failure::AccessDenied), _) => NetworkStatus::AccessDenied,
            (0, Some(Failure::NotFound), _) => NetworkStatus::NotFound,
            (0, Some(Failure::AuthenticationRequired), _) => NetworkStatus::AuthenticationRequired,
            _ => NetworkStatus::PortError,
        }
    }

    /// Everything we are subscribed to: the port's groups, those behind our bridge, and broadcast where it is enabled.
    fn own_groups(&self) -> BTreeSet<MulticastGroup> {
        let mut groups = self.port_groups.clone();
        groups.extend(self.bridges.groups());
        if self.config.as_ref().is_some_and(|c| c.broadcast()) {
            groups.insert(MulticastGroup::BROADCAST);
        }
        groups
    }

    fn is_subscribed(&self, group: &MulticastGroup) -> bool {
        self.port_groups.contains(group)
            || self.bridges.has_group(group)
            || (*group == MulticastGroup::BROADCAST && self.config.as_ref().is_some_and(|c| c.broadcast()))
    }

    /// When there is something to do for the network by the clock.
    pub(super) fn next_deadline(&self) -> i64 {
        self.repeats.due().into_iter().chain(self.revoked.due()).fold(self.requests.next(), i64::min)
    }

    /// What people see of it.
    pub(super) fn info(&self) -> NetworkInfo {
        NetworkInfo {
            network: self.id,
            mac: self.mac,
            status: self.status(),
            config: self.config.clone(),
            multicast_groups: self.own_groups().into_iter().collect(),
            port_error: self.port_error,
            authentication_url: self.authentication_url.clone(),
            has_token: self.token.is_some(),
            frames: self.frames,
        }
    }
}

/// VL2: the networks we have joined, and what belongs to all of them.
pub(super) struct Switch {
    pub(super) networks: BTreeMap<NetworkId, Network>,
    pub(super) directory: Directory,
    /// Configuration requests of peers that have not answered anything yet.
    pub(super) requesters: Requesters,
    /// Credentials whose receivers would drop them now.
    pub(super) later: Later,
    /// One segment of a super-frame that has to be treated by itself.
    segment: Vec<u8>,
    /// Gates for credentials of strangers that are not genuine, by prefix, and for all that come through relays.
    pub(super) forgeries: Buckets,
    relayed_forgeries: Gate,
}

impl Switch {
    /// No networks; `hash` keys its gates.
    pub(super) fn new(hash: Keyed) -> Self {
        Self {
            networks: BTreeMap::new(),
            directory: Directory::default(),
            requesters: Requesters::default(),
            later: Later::default(),
            segment: Vec::new(),
            forgeries: Buckets::new(GATE_BUCKETS, hash),
            relayed_forgeries: Gate::default(),
        }
    }

    /// Joins a network, with a token if there is one. False when too many are joined.
    pub(super) fn join(
        &mut self,
        link: &mut Link,
        now: i64,
        id: NetworkId,
        cached: Option<&[u8]>,
        token: Option<Zeroizing<String>>,
    ) -> bool {
        if let Some(network) = self.networks.get_mut(&id) {
            if token.is_some() {
                network.token = token;
                network.requests.hurry(now);
                self.request_configs(link, now);
            }
            return true;
        }
        if self.networks.len() >= MAX_NETWORKS {
            return false;
        }
        let mut network = Network::new(id, link.address(), now);
        network.token = token;
        self.networks.insert(id, network);
        self.tell_link(link);
        link.outbox.events.push_back(Event::PortUp { network: id });
        let restored = cached.and_then(|bytes| NetworkConfig::from_dictionary(bytes).ok());
        match restored.filter(|c| c.issued_to == link.address() && c.network == id) {
            Some(config) => self.apply_config(link, now, config, None),
            // An empty cache file marks the network as joined.
            None if cached.is_none() => link
                .outbox
                .events
                .push_back(Event::Store { object: Object::Network(id), bytes: b"\n".to_vec() }),
            None => {}
        }
        self.request_configs(link, now);
        true
    }

    /// Leaves a network. False when it was not joined.
    pub(super) fn leave(&mut self, link: &mut Link, id: NetworkId) -> bool {
        if self.networks.remove(&id).is_none() {
            return false;
        }
        self.tell_link(link);
        link.outbox.events.push_back(Event::PortDown { network: id });
        link.outbox.events.push_back(Event::Delete { object: Object::Network(id) });
        true
    }

    /// Tells the link what it has to know of the networks above it.
    fn tell_link(&mut self, link: &mut Link) {
        link.controllers = self.networks.keys().map(|id| id.controller()).collect();
        let configs = self.networks.values().filter_map(|network| network.config.as_ref());
        link.virtual_addresses = configs.flat_map(|config| config.addresses.iter().copied()).collect();
    }

    /// The controller has let us in: the join token has done what it was for. A certificate lasts for as long as it is
    /// renewed, and whoever puts us out later does not want us back by the same token.
    fn forget_token(&mut self, link: &mut Link, id: NetworkId) {
        let token = self.networks.get_mut(&id).and_then(|network| network.token.take());
        if token.is_some() {
            link.outbox.events.push_back(Event::Delete { object: Object::Token(id) });
        }
    }

    /// Tells which multicast groups the operating system listens to on a network's port, addresses' own groups included.
    pub(super) fn set_multicast_groups(
        &mut self,
        link: &mut Link,
        now: i64,
        id: NetworkId,
        groups: &[MulticastGroup],
    ) {
        let Some(network) = self.networks.get_mut(&id) else { return };
        let groups: BTreeSet<MulticastGroup> = groups.iter().copied().take(MAX_OWN_GROUPS).collect();
        let new: Vec<MulticastGroup> = groups.difference(&network.port_groups).copied().collect();
        network.port_groups = groups;
        if !new.is_empty() {
            network.announce_new(link, now, &new);
        }
    }

    /// Tells whether the network's virtual port works: 0, or the error that PORT_ERROR is shown for.
    pub(super) fn set_port_error(&mut self, link: &mut Link, id: NetworkId, error: i32) {
        if let Some(network) = self.networks.get_mut(&id) {
            network.port_error = error;
        }
        self.report_status(link, id);
    }

    /// Tells what a network's port takes unfinished: frames for it are joined to super-frames accordingly. Nothing until told.
    pub(super) fn set_port_offloads(&mut self, id: NetworkId, takes: Offloads) {
        if let Some(network) = self.networks.get_mut(&id) {
            network.takes = takes;
        }
    }

    /// Tells the service when a network's status has changed.
    fn report_status(&mut self, link: &mut Link, id: NetworkId) {
        let Some(network) = self.networks.get_mut(&id) else { return };
        let status = network.status();
        if status != network.reported {
            network.reported = status;
            link.outbox.events.push_back(Event::NetworkStatus { network: id, status });
        }
    }

    /// Members whom networks want us to stay in contact with.
    pub(super) fn always_contact(&self) -> Vec<Address> {
        self.networks.values().filter_map(|n| n.config.as_ref()).flat_map(|c| c.always_contact()).collect()
    }

    /// Expires what networks keep about others.
    pub(super) fn housekeep_networks(&mut self, link: &mut Link, now: i64) {
        self.directory.expire(now);
        let peers = &link.topology.peers;
        for network in self.networks.values_mut() {
            network.bridges.expire(now);
            network.revoked.expire(now);
            // A record with a revocation outlives the peer: forgetting it would let a revoked certificate in again.
            let Network { members, rules, .. } = network;
            members.retain(|address, member| {
                let kept = peers.contains_key(address) || member.is_memorable(now);
                if !kept && !member.record.is_empty() {
                    rules.credentials_changed(*address);
                }
                kept
            });
        }
    }
}
