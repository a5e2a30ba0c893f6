//! What lies behind bridges: MAC addresses that other members bridge.
//!
//! Specification: VL2 frames, "bridging". The reference keeps them for ever; we forget what was not seen for twenty minutes.

use protocol::{Address, Mac, Time};

use crate::ground::limits::{BRIDGE_EXPIRY, MAX_BRIDGED_MACS};
use crate::ground::table::Table;

/// Routes to foreign MAC addresses of one network.
#[derive(Debug)]
pub(super) struct BridgeTable {
    routes: Table<Mac, Address, Address>,
}

impl Default for BridgeTable {
    fn default() -> Self {
        Self { routes: Table::new(MAX_BRIDGED_MACS, MAX_BRIDGED_MACS) }
    }
}

impl BridgeTable {
    /// Notes that `mac` was seen behind `bridge`. At the cap the bridge with the most addresses pays.
    pub(super) fn learn(&mut self, now: Time, mac: Mac, bridge: Address) {
        self.routes.insert(now, bridge, mac, bridge);
    }

    /// Behind whom `mac` was last seen.
    pub(super) fn route(&self, mac: Mac) -> Option<Address> {
        self.routes.get(&mac).copied()
    }

    /// Forgets what has not been seen for long.
    pub(super) fn expire(&mut self, now: Time) {
        self.routes.expire(now - BRIDGE_EXPIRY);
    }
}

#[cfg(feature = "work")]
impl BridgeTable {
    /// See `filling`.
    pub(super) fn fill(&mut self, now: Time, peer: impl Fn(u64) -> Address) {
        self.routes.fill(now, |number| {
            let [.., a, b, c, d] = number.to_be_bytes();
            (peer(number % 16), Mac([2, 0x77, a, b, c, d]), peer(number % 16))
        });
    }

    /// See `filling`.
    pub(super) fn len(&self) -> usize {
        self.routes.len()
    }
}
