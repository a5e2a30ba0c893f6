//! VL2: the virtual networks this node has joined. It sends through a [`Link`], which knows nothing of it.
//!
//! | module | subject |
//! |---|---|
//! | `network` | one network: its parts, the gate, announcing our groups |
//! | `configuration` | asking a controller, assembling its answer, the state that comes of it |
//! | `policy`, `revoked` | who may talk, what is held about members; what was revoked, on disk too |
//! | `egress`, `ingress` | frames from the port to members, and from members to the port |
//! | `filter`, `rules` | the network's rules applied to a frame; the flow cache, counters, the trace |
//! | `multicast`, `directory`, `subscribers` | sending to many; who listens to what; what others tell of it and ask |
//! | `groups`, `bridge` | groups of our own; MAC addresses behind members that bridge |
//! | `credentials` | credentials that others bring, and what forged ones cost them |
//! | `serve`, `proof` | our own controller: requests that wait for a proof, answers on their way out |
//! | `acknowledged`, `spaced` | revocations that want an answer; credentials that want a pause |

mod acknowledged;
mod bridge;
mod configuration;
mod credentials;
mod directory;
mod egress;
mod ethernet;
mod filter;
mod groups;
mod ingress;
mod multicast;
mod network;
mod policy;
mod proof;
mod revoked;
mod rules;
mod serve;
mod spaced;
mod subscribers;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use protocol::credential::{Com, Signed};
use protocol::netconf::NetworkConfig;
use protocol::verb::Verb;
use protocol::verbs::{
    self, ConfigChunk, ExtFrame, Frame, MulticastFrame, MulticastGather, OkGather, OkHeader,
    OkMulticastFrame, UserMessage, error_code,
};
use protocol::{Address, NetworkId, Result, Time};
use rand::RngExt;
use zeroize::Zeroizing;

use super::joined::Joined;
use crate::dataplane::vnet::Offload;
use crate::ground::buckets::Keyed;
use crate::ground::event::{Event, Object};
use crate::ground::info::{NetworkInfo, RuleCounters, RulesInfo};
use crate::ground::limits::{ANNOUNCE_AGAIN, MAX_NETWORKS};
use crate::ground::work;
use crate::link::path::PathKey;
use crate::link::{Handled, Incoming, Link, extension};
use acknowledged::{Brought, Kept};
pub(super) use configuration::ASSEMBLIES;
use configuration::Configuration;
use credentials::{Credentials, known};
pub(super) use directory::Directory;
pub(super) use network::Network;
use serve::OwnController;
use spaced::Spaced;

/// The joined networks.
type Networks = BTreeMap<NetworkId, Network>;

/// VL2: the networks we have joined, and what belongs to all of them.
pub(super) struct Switch {
    networks: BTreeMap<NetworkId, Network>,
    directory: Directory,
    credentials: Credentials,
    controller: OwnController,
    spaced: Spaced,
    /// Room for one segment of a super-frame that has to be treated by itself.
    segment: Vec<u8>,
}

impl Switch {
    /// No networks; `hash` keys its gates.
    pub(super) fn new(hash: Keyed) -> Self {
        Self {
            networks: BTreeMap::new(),
            directory: Directory::default(),
            credentials: Credentials::new(hash),
            controller: OwnController::default(),
            spaced: Spaced::default(),
            segment: Vec::new(),
        }
    }

    /// Joins a network, with a token if there is one. False when too many are joined.
    pub(super) fn join(
        &mut self,
        link: &mut Link,
        now: Time,
        id: NetworkId,
        cached: Option<&[u8]>,
        token: Option<Zeroizing<String>>,
    ) -> bool {
        if let Some(network) = self.networks.get_mut(&id) {
            if let Some(token) = token {
                network.policy.configuration.try_token(now, token);
                self.request_configs(link, now);
            }
            return true;
        }
        if self.networks.len() >= MAX_NETWORKS {
            return false;
        }
        let network = self.networks.entry(id).or_insert(Network::new(id, link.address(), now, token));
        link.outbox.events.push_back(Event::PortUp { network: id });
        let restored = cached.and_then(|bytes| NetworkConfig::from_dictionary(bytes).ok());
        match restored.filter(|c| c.issued_to == link.address() && c.network == id) {
            Some(config) => drop(network.apply(link, now, config, None)),
            // An empty cache file marks the network as joined.
            None if cached.is_none() => link
                .outbox
                .events
                .push_back(Event::Store { object: Object::Network(id), bytes: b"\n".to_vec() }),
            None => {}
        }
        self.tell_link(link);
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
    fn tell_link(&self, link: &mut Link) {
        link.controllers = self.networks.keys().map(|id| id.controller()).collect();
        let configs = self.networks.values().filter_map(|network| network.policy.config());
        link.virtual_addresses = configs.flat_map(|config| config.addresses.iter().copied()).collect();
    }

    /// A joined network, to be told about its port.
    pub(super) fn joined<'a>(&'a mut self, link: &'a mut Link, id: NetworkId) -> Option<Joined<'a>> {
        let network = self.networks.get_mut(&id)?;
        Some(Joined { link, directory: &mut self.directory, network })
    }

    /// What people see of the networks, by ID.
    pub(super) fn info(&self) -> Vec<NetworkInfo> {
        self.networks.values().map(Network::info).collect()
    }

    /// What a network's rules are and what they have done.
    pub(super) fn rules(&self, id: NetworkId) -> Option<RulesInfo> {
        self.networks.get(&id)?.rules_info()
    }

    /// What the rules of all networks have done.
    pub(super) fn rule_counters(&self) -> Vec<(NetworkId, RuleCounters)> {
        self.networks.iter().map(|(id, network)| (*id, network.policy.rules.counters())).collect()
    }

    /// Takes in what the port of a network gave, with what the kernel left undone about it.
    pub(super) fn port_frame(
        &mut self,
        link: &mut Link,
        now: Time,
        id: NetworkId,
        offload: &Offload,
        octets: &mut [u8],
    ) {
        if let Some(network) = self.networks.get_mut(&id) {
            network.port_frame(link, &mut self.directory, &mut self.segment, now, offload, octets);
        }
    }

    /// Members whom networks want us to stay in contact with.
    pub(super) fn always_contact(&self) -> Vec<Address> {
        self.networks
            .values()
            .filter_map(|network| network.policy.config())
            .flat_map(|c| c.always_contact())
            .collect()
    }

    /// When there is something to do by the clock.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.networks.values().map(Network::next_deadline).chain(self.spaced.due()).min()
    }

    /// Does what is due: repeated announcements, configuration requests, files to be written, credentials that had to wait.
    pub(super) fn tick(&mut self, link: &mut Link, now: Time) {
        for network in self.networks.values_mut() {
            network.groups.repeat_announcement(&mut network.policy, link, now);
        }
        self.request_configs(link, now);
        for network in self.networks.values_mut() {
            if let Some(content) = network.policy.revoked.store(now) {
                let object = Object::Revocations(network.id);
                link.outbox.events.push_back(match content {
                    Some(bytes) => Event::Store { object, bytes },
                    None => Event::Delete { object },
                });
            }
        }
        self.spaced.send_due(link, now);
    }

    /// Sends the configuration requests that are due.
    fn request_configs(&mut self, link: &mut Link, now: Time) {
        let mut changed = false;
        for network in self.networks.values_mut() {
            work::step();
            changed |= network.request_if_due(link, now);
        }
        if changed {
            self.tell_link(link);
        }
    }

    /// Asks for every network that lacks a configuration now: a root has just become reachable.
    pub(super) fn hurry_requests(&mut self, link: &mut Link, now: Time) {
        for network in self.networks.values_mut().filter(|network| network.policy.config().is_none()) {
            network.policy.configuration.hurry(now);
        }
        self.request_configs(link, now);
    }

    /// Announces all groups where that is due.
    pub(super) fn announce_groups(&mut self, link: &mut Link, now: Time) {
        if link.settings.low_bandwidth {
            return;
        }
        for network in self.networks.values_mut() {
            network.announce_where_due(link, now);
        }
    }

    /// Announces all our groups to a root, controller, anchor or member that says HELLO: it may have just started, with an empty
    /// directory, and would not find us for a minute. It hears us by the path on which it did so: another may not have been found dead
    /// yet.
    pub(super) fn greeted(&mut self, link: &mut Link, now: Time, greeter: Address, via: Option<PathKey>) {
        let Some(peer) = link.topology.peers.get_mut(&greeter) else { return };
        if self.networks.is_empty() || !peer.gates.announcements.allow(now, ANNOUNCE_AGAIN, 1) {
            return;
        }
        for network in self.networks.values_mut() {
            network.groups.announce_to_greeter(&mut network.policy, link, now, greeter, via);
        }
    }

    /// A peer answered something that we sent it.
    pub(super) fn has_answered(&mut self, link: &mut Link, peer: Address) {
        self.controller.has_answered(link, peer);
    }

    /// Expires what is kept about others.
    pub(super) fn expire(&mut self, link: &Link, now: Time) {
        self.controller.requesters.expire(now);
        self.directory.expire(now);
        for network in self.networks.values_mut() {
            network.expire(link, now);
        }
    }

    /// Handles an authentic packet; `None` if its verb is none of VL2.
    #[inline]
    pub(super) fn handle(
        &mut self,
        link: &mut Link,
        now: Time,
        verb: Verb,
        incoming: &Incoming<'_>,
    ) -> Option<Result<Handled>> {
        Some(match verb {
            Verb::Frame => Frame::parse(incoming.payload).map(|packet| {
                let network = self.networks.get_mut(&packet.network);
                network.map_or(Handled::Credit, |network| network.receive_frame(link, now, incoming, &packet))
            }),
            Verb::ExtFrame => ExtFrame::parse(incoming.payload).map(|packet| {
                self.offer_com(link, now, incoming, packet.network, packet.com.as_ref());
                let network = self.networks.get_mut(&packet.network);
                network.map_or(Handled::Credit, |network| {
                    network.receive_ext_frame(link, now, incoming, &packet)
                })
            }),
            Verb::MulticastFrame => MulticastFrame::parse(incoming.payload).map(|packet| {
                self.offer_com(link, now, incoming, packet.network, packet.com.as_ref());
                let (network, directory) = (self.networks.get_mut(&packet.network), &mut self.directory);
                network.map_or(Handled::Credit, |network| {
                    network.receive_multicast(link, directory, now, incoming, &packet)
                })
            }),
            Verb::MulticastLike => self.directory.receive_likes(&mut self.networks, link, now, incoming),
            Verb::MulticastGather => MulticastGather::parse(incoming.payload).map(|asked| {
                if let Some(com) = &asked.com {
                    let networks = &mut self.networks;
                    self.credentials.offer_com(networks, link, now, incoming, asked.network, com.clone());
                }
                self.directory.answer_gather(&mut self.networks, link, now, incoming, &asked);
                Handled::Credit
            }),
            Verb::NetworkCredentials => self.credentials.receive(&mut self.networks, link, now, incoming),
            Verb::NetworkConfigRequest => {
                self.controller.config_requested(link, now, incoming).map(|()| Handled::Credit)
            }
            Verb::NetworkConfig => self.config_pushed(link, now, incoming),
            _ => return None,
        })
    }

    /// Handles an answer to what we asked; nothing happens if that is not of VL2.
    pub(super) fn handle_ok(
        &mut self,
        link: &mut Link,
        now: Time,
        incoming: &Incoming<'_>,
        in_re: Verb,
        ok: &OkHeader<'_>,
    ) -> Result<()> {
        match in_re {
            Verb::NetworkConfigRequest => {
                self.take_chunk(link, now, incoming, ok.body, Some(ok.in_re_id))?;
            }
            Verb::MulticastGather => {
                let ok = OkGather::parse(ok.body)?;
                let of = (ok.network, ok.group);
                self.directory.told(&mut self.networks, link, now, incoming, of, ok.members);
            }
            Verb::MulticastFrame => {
                let ok = OkMulticastFrame::parse(ok.body)?;
                if let Some(com) = ok.com {
                    self.credentials.offer_com(&mut self.networks, link, now, incoming, ok.network, com);
                }
                let members = ok.gathered.map(|gathered| gathered.members).unwrap_or_default();
                let of = (ok.network, ok.group);
                self.directory.told(&mut self.networks, link, now, incoming, of, members);
            }
            _ => {}
        }
        Ok(())
    }

    /// Handles an ERROR that concerns a network.
    pub(super) fn handle_error(
        &mut self,
        link: &mut Link,
        now: Time,
        incoming: &Incoming<'_>,
        id: NetworkId,
        error: &verbs::Error<'_>,
    ) -> Result<()> {
        let asked_config = error.in_re_verb == Verb::NetworkConfigRequest as u8;
        let network = self.networks.get_mut(&id);
        match error.code {
            error_code::OBJECT_NOT_FOUND | error_code::UNSUPPORTED_OPERATION if !asked_config => {}
            error_code::OBJECT_NOT_FOUND
            | error_code::UNSUPPORTED_OPERATION
            | error_code::ACCESS_DENIED
            | error_code::AUTHENTICATION_REQUIRED => {
                if let Some(network) = network.filter(|_| id.controller() == incoming.source) {
                    let details = error.authentication().ok().flatten();
                    network.policy.configuration.refused(link, id, error.code, details);
                }
            }
            error_code::NEED_MEMBERSHIP_CERTIFICATE => {
                if let Some(network) = network {
                    network.policy.push_where_wanted(link, now, incoming.source, incoming.via);
                }
            }
            error_code::UNWANTED_MULTICAST => {
                let by = incoming.source;
                self.directory.unwanted(&mut self.networks, link, now, id, by, error.body)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Handles an application message; `None` if it is none of ours.
    pub(super) fn handle_message(
        &mut self,
        link: &mut Link,
        now: Time,
        incoming: &Incoming<'_>,
        message: &UserMessage<'_>,
    ) -> Option<Result<Handled>> {
        match message.kind {
            extension::BRING => Some(self.revocations_brought(link, now, incoming, message.body)),
            extension::KEPT => {
                Some(self.controller.kept(link, incoming, message.body).map(|()| Handled::Credit))
            }
            _ => None,
        }
    }

    /// A certificate that came inside another packet of a joined network.
    fn offer_com(
        &mut self,
        link: &mut Link,
        now: Time,
        incoming: &Incoming<'_>,
        id: NetworkId,
        com: Option<&Signed<Com>>,
    ) {
        if let Some(com) = com
            && self.networks.contains_key(&id)
        {
            self.credentials.offer_com(&mut self.networks, link, now, incoming, id, com.clone());
        }
    }

    /// A chunk of a configuration. The network it belongs to and its update ID when it completed one.
    fn take_chunk(
        &mut self,
        link: &mut Link,
        now: Time,
        incoming: &Incoming<'_>,
        body: &[u8],
        in_re: Option<u64>,
    ) -> Result<Option<(NetworkId, u64)>> {
        let chunk = ConfigChunk::parse(body)?;
        let id = chunk.network;
        let Some(network) = self.networks.get_mut(&id) else { return Ok(None) };
        if chunk.signature.is_some() {
            if !Configuration::is_genuine(link, now, &chunk) {
                return Ok(None);
            }
            if chunk.fast_propagate() {
                network.propagate_chunk(link, now, incoming, body);
            }
        }
        let Some(arrived) = network.policy.configuration.take_chunk(link, now, incoming, &chunk, in_re)?
        else {
            return Ok(None);
        };
        let changed = match arrived.news {
            Some((config, dictionary)) => network.apply(link, now, config, Some(dictionary)),
            None => false,
        };
        // One that was pushed says as well that we are in, but may be older than the token.
        if arrived.asked {
            network.policy.configuration.forget_token(link, id);
        }
        if changed {
            self.tell_link(link);
        }
        Ok(Some((id, arrived.update)))
    }

    /// NETWORK_CONFIG: a configuration we did not ask for.
    fn config_pushed(&mut self, link: &mut Link, now: Time, incoming: &Incoming<'_>) -> Result<Handled> {
        if let Some((network, update)) = self.take_chunk(link, now, incoming, incoming.payload, None)? {
            // The reference acknowledges a configuration as if it had been an ECHO.
            let mut packet = link.begin_ok(incoming, Verb::Echo);
            packet.extend_from_slice(&network.0.to_be_bytes());
            packet.extend_from_slice(&update.to_be_bytes());
            link.reply(now, incoming.via, packet);
        }
        Ok(Handled::Credit)
    }

    /// A controller brings us revocations.
    fn revocations_brought(
        &mut self,
        link: &mut Link,
        now: Time,
        incoming: &Incoming<'_>,
        body: &[u8],
    ) -> Result<Handled> {
        let Some(brought) = Brought::read(body)? else { return Ok(Handled::Credit) };
        let id = brought.network;
        let network = self.networks.get_mut(&id).filter(|_| id.controller() == incoming.source);
        let Some(network) = network else { return Ok(Handled::Credit) };
        for revocation in &brought.revocations {
            // The controller itself says so, on a sealed channel: what is known need not be verified again.
            let fits = revocation.network == id
                && (network.policy.revoked.knows(revocation)
                    || network
                        .policy
                        .add_revocation(now, revocation, known(&link.topology, &link.secret))
                        .is_accepted());
            if !fits {
                return Ok(Handled::Credit);
            }
        }
        let run = network.policy.configuration.run(link.rng.random_range(1..=u64::MAX));
        let body = Kept { network: id, number: brought.number, run }.write();
        let mut packet = link.begin(incoming.source, Verb::UserMessage);
        UserMessage { kind: extension::KEPT, body: &body }.write(&mut packet);
        link.reply(now, incoming.via, packet);
        Ok(Handled::Trust)
    }
}

#[cfg(feature = "work")]
impl Switch {
    /// See `filling`.
    pub(super) fn fill(&mut self, now: Time, peer: impl Fn(u64) -> Address) {
        self.controller.requesters.fill(now, &peer);
        for network in self.networks.values_mut() {
            network.fill(now, &peer);
        }
        let network = self.networks.keys().next().copied().unwrap_or(NetworkId(0x7700_0000_0000_0001));
        self.directory.fill(now, network, peer);
    }

    /// See `filling`.
    pub(super) fn sizes(&self) -> Vec<(&'static str, usize)> {
        let [subscriptions, groups, of_member, members, pending, authorized] = self.directory.sizes();
        let mut sizes = vec![
            ("Requesters.held", self.controller.requesters.len()),
            ("Credentials.forgeries", self.credentials.forgeries.len()),
            ("Switch.networks", self.networks.len()),
            ("Directory.subscriptions", subscriptions),
            ("Directory.groups", groups),
            ("Directory.of_member", of_member),
            ("Group.members", members),
            ("Group.pending", pending),
            ("Directory.authorized", authorized),
        ];
        sizes.extend(self.networks.values().flat_map(Network::sizes));
        sizes
    }
}
