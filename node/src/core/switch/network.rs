//! One joined network: its parts, the gate for what others send, and announcing our groups.
//!
//! Specification: VL2 credentials, "the gate"; VL2 frames, "multicast".

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::credential::membership::Added;
use protocol::credential::{Membership, Revocation};
use protocol::multicast_group::MulticastGroup;
use protocol::netconf::NetworkConfig;
use protocol::verb::Verb;
use protocol::verbs::MulticastLike;
use protocol::{Address, Identity, Mac, NetworkId, packet};
use zeroize::Zeroizing;

use super::bridge::BridgeTable;
use super::configuration::Configuration;
use super::groups::Groups;
use super::members::Members;
use super::rules::Rules;
use crate::dataplane::vnet::Offloads;
use crate::ground::event::{Event, Object};
use crate::ground::info::{FrameCounters, MemberRules, NetworkInfo, RuleCounters, RulesInfo};
use crate::ground::limits::{ANNOUNCE, CREDENTIALS_PUSH, MAX_SHOWN_MEMBERS};
use crate::link::Link;

/// Certificates pushed when asked for: at most one a second per member.
const PUSH_ON_REQUEST: i64 = 1_000;
/// Announcements in one packet, so that it needs no more fragments than a frame does.
const LIKES_PER_PACKET: usize = 150;

/// One joined network.
pub(in super::super) struct Network {
    pub(super) id: NetworkId,
    pub(super) mac: Mac,
    pub(super) configuration: Configuration,
    pub(in super::super) members: Members,
    pub(super) groups: Groups,
    pub(super) bridges: BridgeTable,
    pub(in super::super) rules: Rules,
    pub(super) frames: FrameCounters,
    /// What the port takes unfinished.
    pub(in super::super) takes: Offloads,
}

impl Network {
    pub(super) fn new(id: NetworkId, us: Address, now: i64, token: Option<Zeroizing<String>>) -> Self {
        Self {
            id,
            mac: Mac::for_member(id, us),
            configuration: Configuration::wanted(now, token),
            members: Members::default(),
            groups: Groups::default(),
            bridges: BridgeTable::default(),
            rules: Rules::default(),
            frames: FrameCounters::default(),
            takes: Offloads::default(),
        }
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> Option<&NetworkConfig> {
        self.configuration.current.as_deref()
    }

    /// When there is something to do for the network by the clock.
    pub(super) fn next_deadline(&self) -> i64 {
        let later = self.groups.repeats.due().into_iter().chain(self.members.revoked.due());
        later.fold(self.configuration.next_request(), i64::min)
    }

    /// What people see of it.
    pub(super) fn info(&self) -> NetworkInfo {
        NetworkInfo {
            network: self.id,
            mac: self.mac,
            status: self.configuration.status(),
            config: self.configuration.current.clone(),
            multicast_groups: self.groups.own(self.config()).into_iter().collect(),
            port_error: self.configuration.port_error,
            authentication_url: self.configuration.authentication_url.clone(),
            has_token: self.configuration.has_token(),
            frames: self.frames,
        }
    }

    /// See [`Core::rules`](super::super::Core::rules).
    pub(super) fn rules_info(&self) -> Option<RulesInfo> {
        let config = self.configuration.current.clone()?;
        let window = config.window();
        let members = self.members.iter().filter(|(_, m)| !m.record.is_empty()).map(|(address, member)| {
            let record = &member.record;
            MemberRules {
                address: *address,
                tags: record.tags(window).map(|t| (t.id, t.value)).collect(),
                capabilities: record.capabilities(window).map(|c| (c.id, c.rules.clone())).collect(),
            }
        });
        Some(RulesInfo {
            counters: self.rules.counters(),
            flows: self.rules.cache.statistics(),
            members: members.take(MAX_SHOWN_MEMBERS).collect(),
            config,
        })
    }

    /// See [`Core::rule_counters`](super::super::Core::rule_counters).
    pub(super) fn rule_counters(&self) -> RuleCounters {
        self.rules.counters()
    }

    /// Tells whether the network's virtual port works: 0, or the error that PORT_ERROR is shown for.
    pub(in super::super) fn set_port_error(&mut self, link: &mut Link, error: i32) {
        self.configuration.port_error = error;
        self.configuration.report(link, self.id);
    }

    /// Asks for its configuration if that is due. Whether another is in force now: of an ad-hoc network it is known.
    pub(super) fn request_if_due(&mut self, link: &mut Link, now: i64) -> bool {
        if now < self.configuration.next_request() {
            return false;
        }
        match self.configuration.request(link, now, self.id) {
            Some(config) => self.apply(link, now, config, None),
            None => false,
        }
    }

    /// Puts a configuration into force, unless it is. `dictionary` is its text when it came from the network and has to be kept.
    pub(super) fn apply(
        &mut self,
        link: &mut Link,
        now: i64,
        config: NetworkConfig,
        dictionary: Option<Vec<u8>>,
    ) -> bool {
        if self.config() == Some(&config) {
            return false;
        }
        let from_disk = dictionary.is_none() && !self.id.is_adhoc();
        let config = Arc::new(config);
        let former = self.configuration.replace(now, from_disk, Arc::clone(&config));
        self.rules.configure(former.as_deref(), &config);
        link.outbox.events.push_back(Event::Config { network: self.id, config });
        if let Some(bytes) = dictionary {
            link.outbox.events.push_back(Event::Store { object: Object::Network(self.id), bytes });
        }
        self.configuration.report(link, self.id);
        if former.is_none() {
            let groups: Vec<_> = self.groups.own(self.config()).into_iter().collect();
            self.announce_new(link, now, &groups);
        }
        true
    }

    /// Offers something about a member to its record.
    pub(super) fn offer(
        &mut self,
        now: i64,
        subject: Address,
        add: impl FnOnce(&mut Membership) -> Added,
    ) -> Added {
        let config = self.configuration.current.as_deref();
        self.members.offer(&mut self.rules, config, now, subject, add)
    }

    /// Takes in a revocation: verified first, put into force, and kept.
    pub(super) fn add_revocation(
        &mut self,
        now: i64,
        revocation: &Revocation,
        lookup: impl Fn(Address) -> Option<Identity>,
    ) -> Added {
        let config = self.configuration.current.as_deref();
        self.members.add_revocation(&mut self.rules, config, now, revocation, lookup)
    }

    /// Whether a peer may talk to us here.
    #[inline]
    pub(super) fn allows(&mut self, now: i64, peer: &Identity) -> bool {
        self.members.allows(&mut self.rules, &self.configuration, now, peer)
    }

    /// Whether a peer may talk on a network. If so, it hears of our groups once in a while.
    pub(super) fn gate(&mut self, link: &mut Link, now: i64, peer: Address) -> bool {
        let Some(known) = link.topology.peers.get(&peer) else { return false };
        if !self.allows(now, &known.identity) {
            return false;
        }
        self.announce_to_member(link, now, peer);
        true
    }

    /// Pushes our credentials to a member we are about to talk to, when it cannot have the present ones.
    #[inline]
    pub(super) fn push_credentials_if_due(&mut self, link: &mut Link, now: i64, to: Address) {
        self.members.push(&mut self.rules, &self.configuration, link, now, to, CREDENTIALS_PUSH);
    }

    /// A peer refused a frame of ours for want of our certificate.
    pub(super) fn credentials_wanted(&mut self, link: &mut Link, now: i64, by: Address) {
        if self.config().is_some_and(|c| c.com.is_some()) {
            self.members.push(&mut self.rules, &self.configuration, link, now, by, PUSH_ON_REQUEST);
        }
    }

    /// The operating system listens to these groups on the port now, and to no other.
    pub(in super::super) fn listen(&mut self, link: &mut Link, now: i64, groups: &[MulticastGroup]) {
        let new = self.groups.listen(groups);
        if !new.is_empty() {
            self.announce_new(link, now, &new);
        }
    }

    /// Announces groups just joined to everybody, at once and then again a few times.
    pub(super) fn announce_new(&mut self, link: &mut Link, now: i64, groups: &[MulticastGroup]) {
        self.groups.repeats.start(now);
        self.announce_to_all(link, now, groups);
    }

    fn announce_to_all(&mut self, link: &mut Link, now: i64, groups: &[MulticastGroup]) {
        let mut to = self.directories(link);
        to.extend(self.members.allowed(&mut self.rules, &self.configuration, link, now));
        for to in to {
            self.send_likes(link, now, to, groups);
        }
    }

    /// Repeats the last announcement if that is due.
    pub(super) fn repeat_announcement(&mut self, link: &mut Link, now: i64) {
        if self.groups.repeats.take(now) {
            let groups: Vec<MulticastGroup> = self.groups.own(self.config()).into_iter().collect();
            self.announce_to_all(link, now, &groups);
        }
    }

    /// Announces all groups where that is due: to the roots, the controller and anchors, and to every member.
    pub(super) fn announce_where_due(&mut self, link: &mut Link, now: i64) {
        let groups: Vec<MulticastGroup> = self.groups.own(self.config()).into_iter().collect();
        if now - self.groups.last_announced >= ANNOUNCE {
            self.groups.last_announced = now;
            for to in self.directories(link) {
                self.send_likes(link, now, to, &groups);
            }
        }
        for to in self.members.allowed(&mut self.rules, &self.configuration, link, now) {
            self.announce_to_member(link, now, to);
        }
    }

    /// Announces all our groups to who keeps a directory and may have just started.
    pub(super) fn announce_to_directory(&self, link: &mut Link, now: i64, greeter: Address) {
        if self.directories(link).contains(&greeter) {
            let groups: Vec<MulticastGroup> = self.groups.own(self.config()).into_iter().collect();
            self.send_likes(link, now, greeter, &groups);
        }
    }

    /// Announces all our groups to a member, once a minute.
    fn announce_to_member(&mut self, link: &mut Link, now: i64, to: Address) {
        let Some(member) = self.members.get_mut(to) else { return };
        if now - member.last_announced < ANNOUNCE {
            return;
        }
        member.last_announced = now;
        let groups: Vec<MulticastGroup> = self.groups.own(self.config()).into_iter().collect();
        self.send_likes(link, now, to, &groups);
    }

    /// Who keeps a directory for the network: the roots, its controller, its anchors and replicators.
    pub(super) fn directories(&self, link: &Link) -> BTreeSet<Address> {
        let mut to: BTreeSet<Address> = link.topology.upstreams.keys().copied().collect();
        if !self.id.is_adhoc() {
            to.insert(self.id.controller());
        }
        if let Some(config) = self.config() {
            to.extend(config.anchors().chain(config.replicators()));
        }
        to.remove(&link.address());
        to
    }

    fn send_likes(&self, link: &mut Link, now: i64, to: Address, groups: &[MulticastGroup]) {
        for chunk in groups.chunks(LIKES_PER_PACKET) {
            let mut packet = link.begin(to, Verb::MulticastLike);
            for group in chunk {
                MulticastLike::write(self.id, *group, &mut packet);
            }
            packet::compress(&mut packet, 0);
            link.send(now, packet);
        }
    }

    /// Expires what is kept about others.
    pub(super) fn expire(&mut self, link: &Link, now: i64) {
        self.bridges.expire(now);
        self.groups.expire(now);
        self.members.expire(&mut self.rules, link, now);
    }
}

#[cfg(feature = "work")]
impl Network {
    /// See `filling`.
    pub(in super::super) fn fill(&mut self, now: i64, peer: impl Fn(u64) -> Address) {
        self.members.fill(now, &peer);
        self.bridges.fill(now, peer);
        self.configuration.fill();
        self.rules.fill();
    }

    /// See `filling`.
    pub(in super::super) fn sizes(&self) -> [(&'static str, usize); 8] {
        let [kept, by_end] = self.members.revoked.sizes();
        let [port, bridged] = self.groups.sizes();
        [
            ("Members.table", self.members.len()),
            ("Revoked.kept", kept),
            ("Revoked.by_end", by_end),
            ("Groups.port", port),
            ("BridgeTable.routes", self.bridges.len()),
            ("Groups.bridged", bridged),
            ("Assembly.updates", self.configuration.assembling()),
            ("Rules.capabilities", self.rules.len()),
        ]
    }
}
