//! Who else has a subnet or a route that a network wants: this machine's other interfaces, and our other networks.

use std::collections::BTreeSet;

use protocol::NetworkId;
use protocol::inet::{Prefix, Scope, scope};

use crate::os::netlink::{Picture, Route};
use crate::service::managed::{Held, Holder};

/// What another of our networks has.
#[derive(Clone, Debug)]
pub(super) struct Neighbour {
    pub(super) network: NetworkId,
    pub(super) device: String,
    pub(super) addresses: Vec<Prefix>,
    pub(super) routes: Vec<Route>,
}

/// A port among the others.
pub(super) struct Around<'a> {
    pub(super) picture: &'a Picture,
    /// Indices of all our ports.
    pub(super) own: &'a BTreeSet<u32>,
    /// The bridge that the port belongs to: it is no stranger.
    pub(super) bridge: Option<u32>,
    pub(super) others: &'a [Neighbour],
    /// What the port has already: who came later does not take it away.
    pub(super) addresses: &'a [Prefix],
    pub(super) routes: &'a [Route],
}

impl Around<'_> {
    /// Who has `target` or a subnet around it, the longest first.
    pub(super) fn holders(&self, target: Prefix) -> Vec<Held> {
        let mut held = Vec::new();
        for bits in (1..=target.bits).rev() {
            let subnet = Prefix { ip: target.ip, bits }.network();
            self.by_addresses(subnet, &mut held);
            self.by_routes(subnet, &mut held);
        }
        let have = self.addresses.iter().any(|a| a.ip == target.ip)
            || self.routes.iter().any(|route| route.target == target);
        for other in self.others {
            let by = || Holder::Network(other.network, other.device.clone());
            let subnets = other.addresses.iter().map(|address| (address.network(), true));
            let targets = other.routes.iter().map(|route| (route.target, false));
            for (subnet, by_address) in subnets.chain(targets) {
                let around = subnet.bits <= target.bits && subnet.contains(target.ip) && subnet.bits > 0;
                let neighbours = by_address && !have;
                if around && !(have && subnet == target) {
                    held.push(Held { subnet, by: by(), by_address, neighbours });
                }
            }
        }
        held.sort_by_key(|held| std::cmp::Reverse(held.subnet.bits));
        held
    }

    fn by_addresses(&self, subnet: Prefix, held: &mut Vec<Held>) {
        let up = |index: &u32| self.picture.link(*index).is_some_and(|link| link.up);
        for index in self.picture.interfaces_in(subnet).filter(up) {
            self.hold(subnet, index, true, held);
        }
    }

    fn by_routes(&self, subnet: Prefix, held: &mut Vec<Held>) {
        for route in self.picture.routes_to(subnet).iter().filter(|route| route.via.is_none()) {
            self.hold(subnet, route.index, false, held);
        }
    }

    fn hold(&self, subnet: Prefix, index: u32, by_address: bool, held: &mut Vec<Held>) {
        let Some(link) = self.picture.link(index) else { return };
        // A zerotier-one beside us has ports too; which of the two serves a network is the user's affair.
        let foreign = link.name != "lo" && !link.name.starts_with("zt") && !self.own.contains(&index);
        if foreign && self.bridge != Some(index) && scope(subnet.ip) != Scope::LinkLocal {
            let neighbours = Held::has_neighbours(subnet, link.asks, by_address);
            held.push(Held { subnet, by: Holder::Interface(link.name.clone()), by_address, neighbours });
        }
    }
}
