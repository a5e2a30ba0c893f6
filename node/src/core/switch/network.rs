//! One joined network: its parts, the gate for what others send, and announcing our groups.
//!
//! Specification: VL2 credentials, "the gate"; VL2 frames, "multicast".

use std::sync::Arc;

use protocol::netconf::NetworkConfig;
use protocol::verb::Verb;
use protocol::{Address, Mac, NetworkId, Time, packet};
use zeroize::Zeroizing;

use super::bridge::BridgeTable;
use super::groups::Groups;
use super::policy::Policy;
use crate::dataplane::vnet::Offloads;
use crate::ground::event::{Event, Object};
use crate::ground::info::{FrameCounters, MemberRules, NetworkInfo, RulesInfo};
use crate::ground::limits::MAX_SHOWN_MEMBERS;
use crate::ground::work;
use crate::link::{Incoming, Link};

/// One joined network.
pub(in super::super) struct Network {
    pub(super) id: NetworkId,
    pub(super) mac: Mac,
    pub(in super::super) policy: Policy,
    pub(in super::super) groups: Groups,
    pub(super) bridges: BridgeTable,
    pub(super) frames: FrameCounters,
    /// What the port takes unfinished.
    pub(in super::super) takes: Offloads,
}

impl Network {
    pub(super) fn new(id: NetworkId, us: Address, now: Time, token: Option<Zeroizing<String>>) -> Self {
        Self {
            id,
            mac: Mac::for_member(id, us),
            policy: Policy::new(id, now, token),
            groups: Groups::default(),
            bridges: BridgeTable::default(),
            frames: FrameCounters::default(),
            takes: Offloads::default(),
        }
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> Option<&NetworkConfig> {
        self.policy.config()
    }

    /// When there is something to do for the network by the clock.
    pub(super) fn next_deadline(&self) -> Time {
        let later = self.groups.repeats.due().into_iter().chain(self.policy.revoked.due());
        later.fold(self.policy.configuration.next_request(), Time::min)
    }

    /// What people see of it.
    pub(super) fn info(&self) -> NetworkInfo {
        NetworkInfo {
            network: self.id,
            mac: self.mac,
            status: self.policy.configuration.status(),
            config: self.policy.configuration.current.clone(),
            multicast_groups: self.groups.own(self.config()),
            port_error: self.policy.configuration.port_error,
            authentication_url: self.policy.configuration.authentication_url.clone(),
            has_token: self.policy.configuration.has_token(),
            frames: self.frames,
        }
    }

    /// See [`View::rules`](super::super::view::View::rules).
    pub(super) fn rules_info(&self) -> Option<RulesInfo> {
        let config = self.policy.configuration.current.clone()?;
        let window = config.window();
        let members =
            self.policy.members.iter().filter(|(_, m)| !m.record.is_empty()).map(|(address, member)| {
                let record = &member.record;
                MemberRules {
                    address: *address,
                    tags: record.tags(window).map(|t| (t.id, t.value)).collect(),
                    capabilities: record.capabilities(window).map(|c| (c.id, c.rules.clone())).collect(),
                }
            });
        Some(RulesInfo {
            counters: self.policy.rules.counters(),
            flows: self.policy.rules.cache.statistics(),
            members: members.take(MAX_SHOWN_MEMBERS).collect(),
            config,
        })
    }

    /// Tells whether the network's virtual port works: 0, or the error that PORT_ERROR is shown for.
    pub(in super::super) fn set_port_error(&mut self, link: &mut Link, error: i32) {
        self.policy.configuration.port_error = error;
        self.policy.configuration.report(link, self.id);
    }

    /// Asks for its configuration if that is due. Whether another is in force now: of an ad-hoc network it is known.
    pub(super) fn request_if_due(&mut self, link: &mut Link, now: Time) -> bool {
        if now < self.policy.configuration.next_request() {
            return false;
        }
        match self.policy.configuration.request(link, now, self.id) {
            Some(config) => self.apply(link, now, config, None),
            None => false,
        }
    }

    /// Puts a configuration into force, unless it is. `dictionary` is its text when it came from the network and has to be kept.
    pub(super) fn apply(
        &mut self,
        link: &mut Link,
        now: Time,
        config: NetworkConfig,
        dictionary: Option<Vec<u8>>,
    ) -> bool {
        if self.config() == Some(&config) {
            return false;
        }
        let from_disk = dictionary.is_none() && !self.id.is_adhoc();
        let config = Arc::new(config);
        let former = self.policy.configuration.replace(now, from_disk, Arc::clone(&config));
        self.policy.rules.configure(former.as_deref(), &config);
        link.outbox.events.push_back(Event::Config { network: self.id, config });
        if let Some(bytes) = dictionary {
            link.outbox.events.push_back(Event::Store { object: Object::Network(self.id), bytes });
        }
        self.policy.configuration.report(link, self.id);
        if former.is_none() {
            let groups = self.groups.own(self.policy.config());
            self.groups.announce_new(&mut self.policy, link, now, &groups);
        }
        true
    }

    /// Whether a peer may talk on a network. If so, it hears of our groups once in a while.
    pub(super) fn gate(&mut self, link: &mut Link, now: Time, peer: Address) -> bool {
        let Some(known) = link.topology.peers.get(&peer) else { return false };
        if !self.policy.allows(now, &known.identity) {
            return false;
        }
        self.groups.announce_to_member(&mut self.policy, link, now, peer);
        true
    }

    /// Announces all groups where that is due: to the roots, the controller and anchors, and to every member.
    pub(super) fn announce_where_due(&mut self, link: &mut Link, now: Time) {
        self.groups.announce_where_due(&mut self.policy, link, now);
    }

    /// Passes a chunk of a configuration on to the members we know, who may not hear the controller.
    pub(super) fn propagate_chunk(&self, link: &mut Link, now: Time, incoming: &Incoming<'_>, chunk: &[u8]) {
        let spared = [incoming.source, self.id.controller()];
        for (member, _) in self.policy.members.iter().filter(|(member, _)| !spared.contains(member)) {
            work::step();
            let mut packet = link.begin(*member, Verb::NetworkConfig);
            packet.extend_from_slice(chunk);
            packet::compress(&mut packet, 0);
            link.send(now, packet);
        }
    }

    /// Expires what is kept about others.
    pub(super) fn expire(&mut self, link: &Link, now: Time) {
        self.bridges.expire(now);
        self.groups.expire(now);
        self.policy.expire(link, now);
    }
}

#[cfg(feature = "work")]
impl Network {
    /// See `filling`.
    pub(in super::super) fn fill(&mut self, now: Time, peer: impl Fn(u64) -> Address) {
        self.policy.fill(now, &peer);
        self.bridges.fill(now, peer);
    }

    /// See `filling`.
    pub(in super::super) fn sizes(&self) -> [(&'static str, usize); 8] {
        let [kept, by_end] = self.policy.revoked.sizes();
        let [port, bridged] = self.groups.sizes();
        [
            ("Policy.members", self.policy.members.len()),
            ("Revoked.kept", kept),
            ("Revoked.by_end", by_end),
            ("Groups.port", port),
            ("BridgeTable.routes", self.bridges.len()),
            ("Groups.bridged", bridged),
            ("Assembly.updates", self.policy.configuration.assembling()),
            ("Rules.capabilities", self.policy.rules.len()),
        ]
    }
}
