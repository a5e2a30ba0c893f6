//! Which addresses and routes of a network's configuration are put on its port.
//!
//! Specification: frames, "managed addresses, routes and DNS on the host".
//! Pure decisions; the daemon carries them out over netlink.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use protocol::NetworkId;
use protocol::derive::six_plane;
use protocol::inet::{Prefix, Scope, scope};
use protocol::netconf::NetworkConfig;

use super::network_settings::NetworkSettings;
use crate::os::netlink::Route;

/// Who has a subnet, or a route, beside the network in question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Holder {
    /// An interface of this machine, by name.
    Interface(String),
    /// Another network of this node, with its interface's name.
    Network(NetworkId, String),
}

/// A subnet that this machine reaches without us and without a gateway, or a route that another of our networks has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Held {
    /// The subnet, or the route's target.
    pub subnet: Prefix,
    /// Who has it.
    pub by: Holder,
    /// Whether it follows from an address there, and not from a route alone.
    pub by_address: bool,
    /// Whether there are neighbours in it, whom a longer route would hide.
    pub neighbours: bool,
}

impl Held {
    /// Whether a subnet that is reached without a gateway has neighbours in it. `asks`: by a link on which they are asked for, as
    /// on Ethernet.
    ///
    /// A link with one end here and one there has no others on it: only what its own address says is a subnet, for that is how
    /// a tunnel names those beyond it. Wide ones are no subnets but the way to everything else, such as `0.0.0.0/1`.
    pub fn has_neighbours(subnet: Prefix, asks: bool, by_address: bool) -> bool {
        let (wide, wide_tunnel) = if subnet.ip.is_ipv4() { (8, 16) } else { (32, 64) };
        match (asks, by_address) {
            (true, _) => subnet.bits >= wide,
            (false, true) => subnet.bits >= wide_tunnel,
            (false, false) => false,
        }
    }
}

/// Why something of a configuration is not on the port, or does nothing there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// It would take a subnet of this machine, or of another network, away.
    Shadows,
    /// Somebody has it already, and wins.
    Taken,
    /// This machine has no such protocol, or has it switched off.
    Unavailable,
    /// The port belongs to a bridge, by which this machine is in the network.
    Bridged,
}

impl Cause {
    /// As programs are told.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Shadows => "shadows",
            Cause::Taken => "taken",
            Cause::Unavailable => "unavailable",
            Cause::Bridged => "bridged",
        }
    }
}

/// Something of a configuration that is not on the port, or does nothing there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// The managed address, or the target of the managed route.
    pub target: Prefix,
    /// Whether it is an address.
    pub address: bool,
    /// The kind of reason.
    pub cause: Cause,
    /// Why, for people.
    pub reason: String,
}

impl Refused {
    /// Whether the network cannot be used as its owner meant it. A route that gives way to a subnet of this machine, or what this
    /// machine cannot have, leaves a usable one.
    pub fn blocks(&self) -> bool {
        match self.cause {
            Cause::Taken => true,
            Cause::Shadows => self.address,
            Cause::Unavailable | Cause::Bridged => false,
        }
    }
}

/// Something of a configuration that is on the port although a wider route of this machine covers it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Overlap {
    /// The managed address's subnet, or the target of the managed route.
    pub target: Prefix,
    /// The wider route's target.
    pub with: Prefix,
    /// Whose that is.
    pub by: Holder,
}

impl Overlap {
    /// For people.
    pub fn text(&self) -> String {
        let Overlap { target, with, by } = self;
        match by {
            Holder::Interface(name) => {
                format!(
                    "{target} lies in {with}, a route of this machine by {name}: the network's is the longer one and wins"
                )
            }
            Holder::Network(id, name) => {
                format!("{target} lies in {with} of this node's network {id} ({name}): the longer one wins")
            }
        }
    }
}

/// What should be on a port.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    /// Managed addresses, in the configuration's order. Each with a prefix brings a route to its subnet.
    pub addresses: Vec<Prefix>,
    /// Managed routes: on-link ones first.
    pub routes: Vec<Route>,
    /// What is left out.
    pub refused: Vec<Refused>,
    /// What lies in wider routes of this machine.
    pub overlapping: Vec<Overlap>,
}

/// What a plan is made for.
pub struct Place<'a> {
    /// The port's addresses now, without those that we put there.
    pub present: &'a [Prefix],
    /// Who else has the given subnet, or a wider one around it: the longest first.
    pub holders: &'a dyn Fn(Prefix) -> Vec<Held>,
    /// Whether a root answers. A default route through a gateway waits for that: before, it would cut off the roots.
    pub online: bool,
    /// Why there can be no IPv6 on the port.
    pub no_ipv6: Option<&'a str>,
    /// The bridge that the port belongs to, and its addresses.
    pub bridge: Option<(&'a str, &'a [Prefix])>,
}

/// Decides what to put on a port.
///
/// Nothing that would draw traffic away from neighbours of this machine is taken: the longest prefix wins, so a route inside
/// their subnet, or to the same one, would, and an address inside it hides the neighbour that has it. A wider route is
/// harmless: the subnet's own wins. Where there are no neighbours, as behind another VPN's `0.0.0.0/1`, ours is the longer one
/// and stays; that they overlap is told.
pub fn plan(settings: &NetworkSettings, config: &NetworkConfig, place: &Place<'_>) -> Plan {
    let mut plan = Plan::default();
    let wanted = |target: &Prefix| settings.allows(*target);
    if let Some(bridged) = bridged(config, place) {
        for address in config.addresses.iter().filter(|address| wanted(address)) {
            plan.refuse(*address, true, Cause::Bridged, bridged.clone());
        }
        for route in config.routes.iter().filter(|route| wanted(&route.target.network())) {
            plan.refuse(route.target.network(), false, Cause::Bridged, bridged.clone());
        }
        return plan;
    }
    for address in &config.addresses {
        if !wanted(address) || plan.addresses.iter().any(|a| a.ip == address.ip) {
            continue;
        }
        if let Some(why) = place.no_ipv6.filter(|_| address.ip.is_ipv6()) {
            plan.refuse(*address, true, Cause::Unavailable, why.to_owned());
            continue;
        }
        let width = if address.ip.is_ipv4() { 32 } else { 128 };
        let hidden = (place.holders)(Prefix { ip: address.ip, bits: width })
            .into_iter()
            .find(|held| held.neighbours && !machines_own(config, address, held));
        match hidden {
            None => {
                plan.addresses.push(*address);
                plan.overlap(place, address.network());
            }
            Some(held) => plan.refuse(*address, true, Cause::Shadows, held.reason_against_address()),
        }
    }
    let mut own: Vec<Prefix> = plan.addresses.iter().chain(place.present).copied().collect();
    own.sort_unstable();
    own.dedup();

    let mut decided: Vec<Prefix> = Vec::new();
    for route in &config.routes {
        let target = route.target.network();
        let via = route.via.filter(|v| !v.is_unspecified());
        if !wanted(&target)
            || via.is_some_and(|v| v.is_ipv4() != target.ip.is_ipv4() || own.iter().any(|a| a.ip == v))
            || (target.is_default_route() && via.is_some() && !place.online)
            || plan.addresses.iter().any(|a| a.bits == target.bits && target.contains(a.ip))
            || decided.contains(&target)
        {
            continue;
        }
        if let Some(why) = place.no_ipv6.filter(|_| target.ip.is_ipv6()) {
            // That of an address's subnet goes with the address.
            if !config.addresses.iter().any(|a| a.network() == target) {
                decided.push(target);
                plan.refuse(target, false, Cause::Unavailable, why.to_owned());
            }
            continue;
        }
        let halves = halves(target);
        if let Some((held, cause)) = halves.iter().find_map(|half| against_route(place, *half)) {
            decided.push(target);
            plan.refuse(target, false, cause, held.reason_against_route(cause));
            continue;
        }
        let Some(source) = source_for(target, &own) else { continue };
        decided.push(target);
        plan.overlap(place, target);
        for target in halves {
            plan.routes.push(Route { target, via, source: Some(source) });
        }
    }
    plan.routes.sort_by_key(|r| r.via.is_some());
    plan
}

impl Plan {
    /// Notes what is left out; two of one kind are told once.
    pub fn refuse(&mut self, target: Prefix, address: bool, cause: Cause, reason: String) {
        let refused = Refused { target, address, cause, reason };
        if !self.refused.contains(&refused) {
            self.refused.push(refused);
        }
    }

    /// Notes the next wider route around a target.
    fn overlap(&mut self, place: &Place<'_>, target: Prefix) {
        let wider = |held: &Held| held.subnet.bits < target.bits && !held.neighbours;
        if let Some(held) = (place.holders)(target).into_iter().find(wider) {
            self.overlapping.push(Overlap { target, with: held.subnet, by: held.by });
        }
    }
}

/// Why nothing is put on a port: the bridge that it belongs to is in the network.
fn bridged(config: &NetworkConfig, place: &Place<'_>) -> Option<String> {
    let (name, addresses) = place.bridge?;
    let onlink = config.routes.iter().filter(|route| route.via.is_none()).map(|route| route.target);
    let subnets: Vec<Prefix> = config.addresses.iter().copied().chain(onlink).collect();
    let inside = |a: &&Prefix| {
        subnets.iter().any(|s| s.bits > 0 && s.contains(a.ip)) && scope(a.ip) != Scope::LinkLocal
    };
    let address = addresses.iter().find(inside)?;
    Some(format!(
        "the port belongs to the bridge {name}, by which this machine is in the network as {address}"
    ))
}

/// Whether somebody holds part of the /80 that a 6PLANE address gives to this machine alone: its containers, which are no
/// neighbours that the address could hide.
fn machines_own(config: &NetworkConfig, address: &Prefix, held: &Held) -> bool {
    let own = Prefix { ip: six_plane(config.network, config.issued_to).into(), bits: 80 };
    address.ip == own.ip && held.subnet.bits >= own.bits && own.network().contains(held.subnet.ip)
}

/// Who stands against a route, and why.
fn against_route(place: &Place<'_>, target: Prefix) -> Option<(Held, Cause)> {
    let holders = (place.holders)(target);
    let same = |held: &&Held| held.subnet == target && !held.by_address;
    // The same route of another network of ours, or of somebody who put it there.
    if let Some(held) = holders.iter().find(same)
        && (held.neighbours || matches!(held.by, Holder::Network(..)))
        && !holders.iter().any(|held| held.subnet == target && held.by_address)
    {
        return Some((held.clone(), Cause::Taken));
    }
    holders.into_iter().find(|held| held.neighbours).map(|held| (held, Cause::Shadows))
}

impl Held {
    fn reason_against_address(&self) -> String {
        match &self.by {
            Holder::Interface(name) => format!("it lies in {}, which {name} is connected to", self.subnet),
            Holder::Network(id, name) => {
                format!("it lies in {}, which this node's network {id} ({name}) has already", self.subnet)
            }
        }
    }

    fn reason_against_route(&self, cause: Cause) -> String {
        match (&self.by, cause) {
            (Holder::Interface(name), Cause::Taken) => {
                format!("this machine has a route to {} by {name} already", self.subnet)
            }
            (Holder::Interface(name), _) => {
                format!("it would shadow {}, which {name} is connected to", self.subnet)
            }
            (Holder::Network(id, name), Cause::Taken) => {
                format!("this node's network {id} ({name}) has a route to {} already", self.subnet)
            }
            (Holder::Network(id, name), _) => {
                format!("it would shadow {}, which this node's network {id} ({name}) has", self.subnet)
            }
        }
    }
}

/// The own address of the target's family that shares the longest prefix with it; of equals the last.
fn source_for(target: Prefix, own: &[Prefix]) -> Option<IpAddr> {
    let usable = own.iter().filter(|a| a.ip.is_ipv4() == target.ip.is_ipv4());
    let usable = usable.filter(|a| scope(a.ip) != Scope::LinkLocal);
    usable.max_by_key(|a| common_bits(a.ip, target.ip)).map(|a| a.ip)
}

fn common_bits(a: IpAddr, b: IpAddr) -> u32 {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => 0,
    }
}

/// A default route becomes two routes of prefix length 1, so that it wins over the system's own without replacing it.
pub fn halves(target: Prefix) -> Vec<Prefix> {
    if !target.is_default_route() {
        return vec![target];
    }
    let high = match target.ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(128, 0, 0, 0)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x8000, 0, 0, 0, 0, 0, 0, 0)),
    };
    vec![Prefix { ip: target.ip, bits: 1 }, Prefix { ip: high, bits: 1 }]
}

/// Steps from what is there to what should be; to be done in the order of the fields.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Steps<T> {
    /// To be removed.
    pub remove: Vec<T>,
    /// To be added.
    pub add: Vec<T>,
}

/// `ours` is what we put there earlier, `present` what is there now (ours or not), `wanted` what should be. What is not
/// ours is left alone, unless it `clashes` with something wanted.
pub fn steps<T: Clone + PartialEq>(
    ours: &[T],
    present: &[T],
    wanted: &[T],
    clashes: impl Fn(&T, &T) -> bool,
) -> Steps<T> {
    let remove = present
        .iter()
        .filter(|p| !wanted.contains(p) && (ours.contains(p) || wanted.iter().any(|w| clashes(w, p))))
        .cloned()
        .collect();
    Steps { remove, add: wanted.iter().filter(|w| !present.contains(w)).cloned().collect() }
}

/// Whether two addresses are the same with different prefix lengths.
pub fn addresses_clash(a: &Prefix, b: &Prefix) -> bool {
    a.ip == b.ip && a.bits != b.bits
}

/// Whether two routes go to the same place by different ways.
pub fn routes_clash(a: &Route, b: &Route) -> bool {
    a.target == b.target && a != b
}

#[cfg(test)]
mod tests;
