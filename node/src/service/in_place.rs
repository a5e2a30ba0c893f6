//! What was put on a port, and whether it is still there.

use std::collections::BTreeSet;

use protocol::inet::Prefix;

use crate::os::netlink::{HostRoute, Picture, Route};

/// What was put on a port.
#[derive(Clone, Debug, Default)]
pub struct InPlace {
    /// The interface's index.
    pub index: u32,
    /// Managed addresses.
    pub addresses: Vec<Prefix>,
    /// Managed routes.
    pub routes: Vec<Route>,
    /// Targets of routes that another one of this machine wins.
    pub lost: Vec<Prefix>,
}

impl InPlace {
    /// What is not there any more, for people.
    pub fn missing(&self, picture: &Picture) -> Option<String> {
        let present: BTreeSet<Prefix> = picture.addresses_of(self.index).collect();
        if let Some(address) = self.addresses.iter().find(|a| !present.contains(a)) {
            return Some(format!("the address {address}"));
        }
        let bare = |a: &&Prefix| !self.lost.contains(&a.network()) && !has_subnet(picture, self.index, **a);
        if let Some(address) = self.addresses.iter().find(bare) {
            return Some(format!("the route to {}", address.network()));
        }
        let present = static_routes(picture, self.index);
        let gone = |route: &&Route| !self.lost.contains(&route.target) && !present.contains(route);
        self.routes.iter().find(gone).map(|route| format!("the route to {}", route.target))
    }
}

/// Whether others can have an address in its subnet.
pub(super) fn has_others(address: &Prefix) -> bool {
    address.bits < if address.ip.is_ipv4() { 32 } else { 128 } && address.bits > 0
}

/// Whether the route that belongs to an address is there, whoever put it there.
pub(super) fn has_subnet(picture: &Picture, index: u32, address: Prefix) -> bool {
    let there = |route: &HostRoute| route.index == index && route.via.is_none();
    !has_others(&address) || picture.routes_to(address.network()).iter().any(there)
}

/// The static routes through an interface: ours are such.
pub(super) fn static_routes(picture: &Picture, index: u32) -> Vec<Route> {
    let routes = picture.routes_of(index).filter(|route| route.is_static);
    routes.map(|r| Route { target: r.target, via: r.via, source: r.source }).collect()
}
