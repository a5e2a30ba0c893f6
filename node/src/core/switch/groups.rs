//! The multicast groups of our own on a network: those of the port, and those that hosts behind our bridge use. The reference keeps
//! the latter for ever; we forget what was not seen for twenty minutes.

use std::collections::{BTreeMap, BTreeSet};

use protocol::multicast_group::MulticastGroup;
use protocol::netconf::NetworkConfig;

use crate::ground::limits::{ANNOUNCE_REPEATS, BRIDGE_EXPIRY, MAX_OWN_GROUPS};

/// When groups announced a moment ago are announced again.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// Repetitions still to come: the last ones of [`ANNOUNCE_REPEATS`].
    left: usize,
    at: i64,
}

impl Repeats {
    pub(super) fn start(&mut self, now: i64) {
        *self = Self { left: ANNOUNCE_REPEATS.len(), at: now + ANNOUNCE_REPEATS[0] };
    }

    pub(super) fn due(&self) -> Option<i64> {
        (self.left > 0).then_some(self.at)
    }

    /// Whether it is time for the next one, which is then taken.
    pub(super) fn take(&mut self, now: i64) -> bool {
        if self.left == 0 || now < self.at {
            return false;
        }
        self.left -= 1;
        if self.left > 0 {
            self.at = now + ANNOUNCE_REPEATS[ANNOUNCE_REPEATS.len() - self.left];
        }
        true
    }
}

/// What we are subscribed to, and when that was last announced.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// What the operating system listens to on the port.
    port: BTreeSet<MulticastGroup>,
    /// What is used behind our own bridge, and when it was last.
    bridged: BTreeMap<MulticastGroup, i64>,
    /// When all groups were last announced to who keeps a directory.
    pub(super) last_announced: i64,
    pub(super) repeats: Repeats,
}

impl Groups {
    /// Everything we are subscribed to: the port's groups, those behind our bridge, and broadcast where it is enabled.
    pub(super) fn own(&self, config: Option<&NetworkConfig>) -> BTreeSet<MulticastGroup> {
        let mut groups = self.port.clone();
        groups.extend(self.bridged.keys());
        if config.is_some_and(NetworkConfig::broadcast) {
            groups.insert(MulticastGroup::BROADCAST);
        }
        groups
    }

    /// Whether we are subscribed to a group.
    pub(super) fn has(&self, config: Option<&NetworkConfig>, group: &MulticastGroup) -> bool {
        self.port.contains(group)
            || self.bridged.contains_key(group)
            || (*group == MulticastGroup::BROADCAST && config.is_some_and(NetworkConfig::broadcast))
    }

    /// The operating system listens to these groups now. Those that are new are given back.
    pub(super) fn listen(&mut self, groups: &[MulticastGroup]) -> Vec<MulticastGroup> {
        let groups: BTreeSet<MulticastGroup> = groups.iter().copied().take(MAX_OWN_GROUPS).collect();
        let new = groups.difference(&self.port).copied().collect();
        self.port = groups;
        new
    }

    /// Notes a group used behind our own bridge; true when it was not known.
    pub(super) fn use_bridged(&mut self, now: i64, group: MulticastGroup) -> bool {
        if self.bridged.len() >= MAX_OWN_GROUPS && !self.bridged.contains_key(&group) {
            return false;
        }
        self.bridged.insert(group, now).is_none()
    }

    /// Forgets what has not been used for long.
    pub(super) fn expire(&mut self, now: i64) {
        self.bridged.retain(|_, seen| now - *seen < BRIDGE_EXPIRY);
    }
}

#[cfg(feature = "work")]
impl Groups {
    /// See `filling`.
    pub(super) fn sizes(&self) -> [usize; 2] {
        [self.port.len(), self.bridged.len()]
    }
}
