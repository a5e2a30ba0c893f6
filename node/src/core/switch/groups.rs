//! The multicast groups of our own on a network: those of the port, and those that hosts behind our bridge use. The reference keeps
//! the latter for ever; we forget what was not seen for twenty minutes.

use std::collections::{BTreeMap, BTreeSet};

use protocol::multicast_group::MulticastGroup;
use protocol::netconf::NetworkConfig;
use protocol::verb::Verb;
use protocol::verbs::MulticastLike;
use protocol::{Address, NetworkId, Time, packet};

use super::policy::Policy;
use crate::ground::limits::{ANNOUNCE, ANNOUNCE_REPEATS, BRIDGE_EXPIRY, MAX_OWN_GROUPS};
use crate::link::Link;
use crate::link::path::PathKey;

/// Announcements in one packet, so that it needs no more fragments than a frame does.
const LIKES_PER_PACKET: usize = 150;

/// When groups announced a moment ago are announced again.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// When the next is due, and how many are still to come: the last ones of [`ANNOUNCE_REPEATS`].
    next: Option<(Time, usize)>,
}

impl Repeats {
    pub(super) fn start(&mut self, now: Time) {
        self.next = Some((now + ANNOUNCE_REPEATS[0], ANNOUNCE_REPEATS.len()));
    }

    pub(super) fn due(&self) -> Option<Time> {
        self.next.map(|(at, _)| at)
    }

    /// Whether it is time for the next one, which is then taken.
    pub(super) fn take(&mut self, now: Time) -> bool {
        let Some((_, left)) = self.next.filter(|(at, _)| *at <= now) else { return false };
        let left = left - 1;
        self.next = (left > 0).then(|| (now + ANNOUNCE_REPEATS[ANNOUNCE_REPEATS.len() - left], left));
        true
    }
}

/// What we are subscribed to, and when that was last announced.
#[derive(Debug, Default)]
pub(in super::super) struct Groups {
    /// What the operating system listens to on the port.
    port: BTreeSet<MulticastGroup>,
    /// What is used behind our own bridge, and when it was last.
    bridged: BTreeMap<MulticastGroup, Time>,
    /// When all groups were last announced to who keeps a directory.
    pub(super) last_announced: Option<Time>,
    pub(super) repeats: Repeats,
}

impl Groups {
    /// Everything we are subscribed to: the port's groups, those behind our bridge, and broadcast where it is enabled.
    pub(super) fn own(&self, config: Option<&NetworkConfig>) -> Vec<MulticastGroup> {
        let mut groups = self.port.clone();
        groups.extend(self.bridged.keys());
        if config.is_some_and(NetworkConfig::broadcast) {
            groups.insert(MulticastGroup::BROADCAST);
        }
        groups.into_iter().collect()
    }

    /// Whether we are subscribed to a group.
    pub(super) fn has(&self, config: Option<&NetworkConfig>, group: &MulticastGroup) -> bool {
        self.port.contains(group)
            || self.bridged.contains_key(group)
            || (*group == MulticastGroup::BROADCAST && config.is_some_and(NetworkConfig::broadcast))
    }

    /// The operating system listens to these groups now. Those that are new are given back.
    pub(in super::super) fn listen(&mut self, groups: &[MulticastGroup]) -> Vec<MulticastGroup> {
        let groups: BTreeSet<MulticastGroup> = groups.iter().copied().take(MAX_OWN_GROUPS).collect();
        let new = groups.difference(&self.port).copied().collect();
        self.port = groups;
        new
    }

    /// Notes a group used behind our own bridge; true when it was not known.
    pub(super) fn use_bridged(&mut self, now: Time, group: MulticastGroup) -> bool {
        if self.bridged.len() >= MAX_OWN_GROUPS && !self.bridged.contains_key(&group) {
            return false;
        }
        self.bridged.insert(group, now).is_none()
    }

    /// Forgets what has not been used for long.
    pub(super) fn expire(&mut self, now: Time) {
        self.bridged.retain(|_, seen| now - *seen < BRIDGE_EXPIRY);
    }

    /// Announces groups just joined to everybody, at once and then again a few times.
    pub(in super::super) fn announce_new(
        &mut self,
        policy: &mut Policy,
        link: &mut Link,
        now: Time,
        groups: &[MulticastGroup],
    ) {
        self.repeats.start(now);
        self.announce_to_all(policy, link, now, groups);
    }

    fn announce_to_all(&self, policy: &mut Policy, link: &mut Link, now: Time, groups: &[MulticastGroup]) {
        let mut to = policy.directories(link);
        to.extend(policy.allowed(link, now));
        for to in to {
            Self::send(policy.network, link, now, to, None, groups);
        }
    }

    /// Repeats the last announcement if that is due.
    pub(super) fn repeat_announcement(&mut self, policy: &mut Policy, link: &mut Link, now: Time) {
        if self.repeats.take(now) {
            let groups = self.own(policy.config());
            self.announce_to_all(policy, link, now, &groups);
        }
    }

    /// Announces all groups where that is due: to the roots, the controller and anchors, and to every member.
    pub(super) fn announce_where_due(&mut self, policy: &mut Policy, link: &mut Link, now: Time) {
        if self.last_announced.is_none_or(|at| now - at >= ANNOUNCE) {
            self.last_announced = Some(now);
            let groups = self.own(policy.config());
            for to in policy.directories(link) {
                Self::send(policy.network, link, now, to, None, &groups);
            }
        }
        for to in policy.allowed(link, now) {
            self.announce_to_member(policy, link, now, to);
        }
    }

    /// Announces all our groups to who keeps a directory, or to a member, and may have just started.
    pub(super) fn announce_to_greeter(
        &self,
        policy: &mut Policy,
        link: &mut Link,
        now: Time,
        greeter: Address,
        via: Option<PathKey>,
    ) {
        let keeps_directory = policy.directories(link).contains(&greeter);
        if !keeps_directory {
            // Of strangers no record is begun.
            let peer = link.topology.peers.get(&greeter).filter(|_| policy.members.contains_key(&greeter));
            if !peer.is_some_and(|peer| policy.allows(now, &peer.identity)) {
                return;
            }
            let Some(member) = policy.members.get_mut(&greeter) else { return };
            member.last_announced = Some(now);
        }
        Self::send(policy.network, link, now, greeter, via, &self.own(policy.config()));
    }

    /// Announces all our groups to a member, once a minute.
    #[inline]
    pub(super) fn announce_to_member(&self, policy: &mut Policy, link: &mut Link, now: Time, to: Address) {
        let Some(member) = policy.members.get_mut(&to) else { return };
        if member.last_announced.is_some_and(|at| now - at < ANNOUNCE) {
            return;
        }
        member.last_announced = Some(now);
        Self::send(policy.network, link, now, to, None, &self.own(policy.config()));
    }

    fn send(
        network: NetworkId,
        link: &mut Link,
        now: Time,
        to: Address,
        via: Option<PathKey>,
        groups: &[MulticastGroup],
    ) {
        for chunk in groups.chunks(LIKES_PER_PACKET) {
            let mut packet = link.begin(to, Verb::MulticastLike);
            for group in chunk {
                MulticastLike::write(network, *group, &mut packet);
            }
            packet::compress(&mut packet, 0);
            match via {
                Some(via) => link.reply(now, via, packet),
                None => link.send(now, packet),
            }
        }
    }
}

#[cfg(feature = "work")]
impl Groups {
    /// See `filling`.
    pub(super) fn sizes(&self) -> [usize; 2] {
        [self.port.len(), self.bridged.len()]
    }
}
