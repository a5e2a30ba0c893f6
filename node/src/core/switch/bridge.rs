//! What lies behind bridges: MAC addresses that other members bridge, and groups that hosts behind our own bridge use.
//!
//! Specification: VL2 frames, "bridging". The reference keeps both for ever; we forget what was not seen for twenty minutes.

use std::collections::BTreeMap;

use protocol::multicast_group::MulticastGroup;
use protocol::{Address, Mac};

use crate::ground::limits::{BRIDGE_EXPIRY, MAX_BRIDGED_MACS, MAX_OWN_GROUPS};
use crate::ground::table::Table;

/// Routes to foreign MAC addresses of one network.
#[derive(Debug)]
pub(super) struct BridgeTable {
    routes: Table<Mac, Address, Address>,
    groups: BTreeMap<MulticastGroup, i64>,
}

impl Default for BridgeTable {
    fn default() -> Self {
        Self { routes: Table::new(MAX_BRIDGED_MACS, MAX_BRIDGED_MACS), groups: BTreeMap::new() }
    }
}

impl BridgeTable {
    /// Notes that `mac` was seen behind `bridge`. At the cap the bridge with the most addresses pays.
    pub(super) fn learn(&mut self, now: i64, mac: Mac, bridge: Address) {
        self.routes.insert(now, bridge, mac, bridge);
    }

    /// Behind whom `mac` was last seen.
    pub(super) fn route(&self, mac: Mac) -> Option<Address> {
        self.routes.get(&mac).copied()
    }

    /// Notes a group used behind our own bridge; true when it was not known.
    pub(super) fn use_group(&mut self, now: i64, group: MulticastGroup) -> bool {
        if self.groups.len() >= MAX_OWN_GROUPS && !self.groups.contains_key(&group) {
            return false;
        }
        self.groups.insert(group, now).is_none()
    }

    /// Whether a group is used behind our own bridge.
    pub(super) fn has_group(&self, group: &MulticastGroup) -> bool {
        self.groups.contains_key(group)
    }

    /// The groups used behind our own bridge.
    pub(super) fn groups(&self) -> impl Iterator<Item = MulticastGroup> {
        self.groups.keys().copied()
    }

    /// Forgets what has not been seen for long.
    pub(super) fn expire(&mut self, now: i64) {
        self.routes.expire(now - BRIDGE_EXPIRY);
        self.groups.retain(|_, seen| now - *seen < BRIDGE_EXPIRY);
    }
}

#[cfg(feature = "work")]
impl BridgeTable {
    /// See `filling`.
    pub(super) fn fill(&mut self, now: i64, peer: impl Fn(u64) -> Address) {
        self.routes.fill(now, |number| {
            let [.., a, b, c, d] = number.to_be_bytes();
            (peer(number % 16), Mac([2, 0x77, a, b, c, d]), peer(number % 16))
        });
    }

    /// See `filling`.
    pub(super) fn sizes(&self) -> [usize; 2] {
        [self.routes.len(), self.groups.len()]
    }
}
