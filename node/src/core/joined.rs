//! One joined network, as the service sees it.

use protocol::Time;
use protocol::multicast_group::MulticastGroup;

use super::switch::{Directory, Network};
use crate::dataplane::vnet::Offloads;
use crate::link::Link;

/// A joined network, to be told about its port.
pub struct Joined<'a> {
    pub(super) link: &'a mut Link,
    pub(super) directory: &'a mut Directory,
    pub(super) network: &'a mut Network,
}

impl Joined<'_> {
    /// Takes in one whole Ethernet frame from the port.
    pub fn frame(self, now: Time, octets: &[u8]) {
        self.network.frame(self.link, self.directory, now, octets);
    }

    /// Tells which multicast groups the operating system listens to on the port, addresses' own groups included.
    pub fn set_multicast_groups(self, now: Time, groups: &[MulticastGroup]) {
        let Network { groups: own, policy, .. } = self.network;
        let new = own.listen(groups);
        if !new.is_empty() {
            own.announce_new(policy, self.link, now, &new);
        }
    }

    /// Tells whether the port works: 0, or the error that PORT_ERROR is shown for.
    pub fn set_port_error(self, error: i32) {
        self.network.set_port_error(self.link, error);
    }

    /// Tells what the port takes unfinished: frames for it are joined to super-frames accordingly. Nothing until told.
    pub fn set_port_offloads(self, takes: Offloads) {
        self.network.takes = takes;
    }

    /// Puts into force what an earlier run kept of the network's revocations; to be called when it has been joined. False when
    /// the file was damaged: what could be read of it counts all the same.
    pub fn restore_revocations(self, now: Time, kept: &[u8]) -> bool {
        self.network.policy.restore_revocations(now, kept)
    }

    /// Traces the network's frames: up to `per_second` [`Event::RuleTrace`](crate::ground::event::Event::RuleTrace) a second, at
    /// most [`MAX_TRACE_RATE`](crate::ground::limits::MAX_TRACE_RATE); 0 for none, which costs nothing.
    pub fn set_trace(self, per_second: u32) {
        self.network.policy.rules.set_trace(per_second);
    }
}
