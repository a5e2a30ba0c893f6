//! The multicast directory: who listens to which group, on our own networks and, as a root or controller, on everybody's.
//!
//! Specification: VL2 frames, "subscriber table".

use std::collections::{BTreeMap, VecDeque};

use protocol::multicast_group::MulticastGroup;
use protocol::{Address, Mac, NetworkId};

use super::super::limits::{
    CONTROLLER_AUTHORIZATION, MAX_GROUP_MEMBERS, MAX_MEMBERS, MAX_MULTICAST_GROUPS, MAX_PENDING_MULTICASTS,
    MULTICAST_EXPIRY, MULTICAST_LIFETIME,
};

/// A multicast that still waits for receivers.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// When it was sent first.
    pub(super) since: i64,
    /// Explicit source address, for a bridged frame.
    pub(super) source: Option<Mac>,
    /// Ethernet type.
    pub(super) ethertype: u16,
    /// Payload.
    pub(super) payload: Vec<u8>,
    /// Who has it already.
    pub(super) sent: Vec<Address>,
    /// How many may get it.
    pub(super) limit: usize,
}

/// One group of one network.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Subscribers and when each last said so.
    pub(super) members: BTreeMap<Address, i64>,
    /// Multicasts waiting for more subscribers.
    pub(super) pending: VecDeque<Pending>,
    /// When others were last asked for subscribers.
    pub(super) last_gather: i64,
}

/// All groups, and who may use our directory on our own controller's word.
#[derive(Debug, Default)]
pub(in super::super) struct Directory {
    groups: BTreeMap<(NetworkId, MulticastGroup), Group>,
    authorized: BTreeMap<(NetworkId, Address), i64>,
}

impl Directory {
    /// The group, if anybody is known in it.
    pub(super) fn group(&self, network: NetworkId, group: MulticastGroup) -> Option<&Group> {
        self.groups.get(&(network, group))
    }

    /// The group, made if need be; `None` at the cap.
    pub(super) fn group_mut(&mut self, network: NetworkId, group: MulticastGroup) -> Option<&mut Group> {
        let full = self.groups.len() >= MAX_MULTICAST_GROUPS;
        match self.groups.entry((network, group)) {
            std::collections::btree_map::Entry::Vacant(_) if full => None,
            entry => Some(entry.or_default()),
        }
    }

    /// Adds or refreshes a subscriber. True when it is new.
    pub(super) fn add(
        &mut self,
        now: i64,
        network: NetworkId,
        group: MulticastGroup,
        member: Address,
    ) -> bool {
        let Some(group) = self.group_mut(network, group) else { return false };
        if group.members.len() >= MAX_GROUP_MEMBERS && !group.members.contains_key(&member) {
            return false;
        }
        group.members.insert(member, now).is_none()
    }

    /// Removes a subscriber.
    pub(super) fn remove(&mut self, network: NetworkId, group: MulticastGroup, member: Address) {
        if let Some(group) = self.groups.get_mut(&(network, group)) {
            group.members.remove(&member);
        }
    }

    /// Queues a multicast for subscribers yet to come.
    pub(super) fn enqueue(&mut self, network: NetworkId, group: MulticastGroup, pending: Pending) {
        if let Some(group) = self.group_mut(network, group) {
            if group.pending.len() >= MAX_PENDING_MULTICASTS {
                group.pending.pop_front();
            }
            group.pending.push_back(pending);
        }
    }

    /// Our controller has just given `member` a configuration of `network`.
    pub(super) fn authorize(&mut self, now: i64, network: NetworkId, member: Address) {
        if self.authorized.len() < MAX_MEMBERS || self.authorized.contains_key(&(network, member)) {
            self.authorized.insert((network, member), now);
        }
    }

    /// Whether our controller has given `member` a configuration of `network` lately.
    pub(super) fn is_authorized(&self, now: i64, network: NetworkId, member: Address) -> bool {
        self.authorized.get(&(network, member)).is_some_and(|at| now - at < CONTROLLER_AUTHORIZATION)
    }

    /// Forgets subscribers that went silent, multicasts nobody came for, and old authorizations.
    pub(super) fn expire(&mut self, now: i64) {
        self.groups.retain(|_, group| {
            group.members.retain(|_, seen| now - *seen < MULTICAST_EXPIRY);
            group.pending.retain(|p| now - p.since < MULTICAST_LIFETIME);
            !group.members.is_empty() || !group.pending.is_empty()
        });
        self.authorized.retain(|_, at| now - *at < CONTROLLER_AUTHORIZATION);
    }
}
