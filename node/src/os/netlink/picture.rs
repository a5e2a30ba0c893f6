//! What this network namespace looks like: its links, its addresses, and of its main routing table what somebody here asks for.
//!
//! Made once from the kernel's lists, then kept up to date by the kernel's messages, so that no decision has to read a routing
//! table, however long it is. Of routes it keeps those without a gateway (whoever has one has neighbours), default routes, and
//! all that lead through our own ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use protocol::inet::{Prefix, Scope, scope};
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteProtocol, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::InterfaceAddress;

/// At most this many targets of routes are known; those of our own ports have room besides.
pub const MAX_TARGETS: usize = 65_536;

/// At most this many routes to one target are known.
const MAX_ROUTES: usize = 64;

/// An interface.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// What the kernel calls its kind (`bridge`, `veth`, `tun` …); empty for hardware.
    pub kind: String,
    /// Whether it is up.
    pub up: bool,
    /// The largest packet, octets.
    pub mtu: u32,
    /// The bridge, bond or VRF that it belongs to, by index.
    pub master: Option<u32>,
    /// Whether it finds its neighbours by asking, as Ethernet does: a tunnel with one end here and one there does not.
    pub asks: bool,
}

/// A unicast route of the main table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostRoute {
    /// Destination.
    pub target: Prefix,
    /// The interface it leads through.
    pub index: u32,
    /// Gateway; `None` = on link.
    pub via: Option<IpAddr>,
    /// Preferred source address.
    pub source: Option<IpAddr>,
    /// Of two to the same destination the one with the lower metric counts.
    pub metric: u32,
    /// Type of service.
    pub tos: u8,
    /// Whether its protocol is "static", as that of the routes we set.
    pub is_static: bool,
}

/// What changed since somebody asked last.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Noticed {
    /// Links, addresses or default routes.
    pub links: bool,
    /// Routes that keep neighbours, lead through our own ports, or have a target we want.
    pub routes: bool,
}

impl Noticed {
    /// Everything.
    pub const ALL: Noticed = Noticed { links: true, routes: true };

    /// Whether there is anything.
    pub fn any(self) -> bool {
        self.links || self.routes
    }
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct AddressState {
    temporary: bool,
    tentative: bool,
    lesser: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    links: BTreeMap<u32, Link>,
    addresses: BTreeMap<(u32, Prefix), AddressState>,
    /// Which interfaces have an address in a subnet.
    subnets: BTreeMap<Prefix, BTreeSet<u32>>,
    routes: BTreeMap<Prefix, Vec<HostRoute>>,
    by_index: BTreeMap<u32, BTreeSet<Prefix>>,
    by_source: BTreeMap<IpAddr, BTreeSet<Prefix>>,
    own: BTreeSet<u32>,
    wanted: BTreeSet<Prefix>,
    noticed: Noticed,
    /// Something did not find room.
    overfull: bool,
    /// Messages taken in.
    messages: u64,
}

impl Picture {
    /// An empty one with the ports and targets of another.
    pub(super) fn anew(&self) -> Self {
        Picture {
            own: self.own.clone(),
            wanted: self.wanted.clone(),
            noticed: Noticed::ALL,
            messages: self.messages,
            ..Picture::default()
        }
    }

    /// An interface.
    pub fn link(&self, index: u32) -> Option<&Link> {
        self.links.get(&index)
    }

    /// The addresses of an interface.
    pub fn addresses_of(&self, index: u32) -> impl Iterator<Item = Prefix> {
        let least = Prefix { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), bits: 0 };
        self.addresses
            .range((index, least)..)
            .take_while(move |((i, _), _)| *i == index)
            .map(|((_, a), _)| *a)
    }

    /// The interfaces that have an address in exactly this subnet.
    pub fn interfaces_in(&self, subnet: Prefix) -> impl Iterator<Item = u32> {
        self.subnets.get(&subnet).into_iter().flatten().copied()
    }

    /// The known routes to exactly this target.
    pub fn routes_to(&self, target: Prefix) -> &[HostRoute] {
        self.routes.get(&target).map_or(&[], Vec::as_slice)
    }

    /// The known routes through an interface.
    pub fn routes_of(&self, index: u32) -> impl Iterator<Item = &HostRoute> {
        let targets = self.by_index.get(&index).into_iter().flatten();
        targets.flat_map(|target| self.routes_to(*target)).filter(move |route| route.index == index)
    }

    /// All addresses.
    pub fn all_addresses(&self) -> Vec<InterfaceAddress> {
        let all = self.addresses.iter().filter_map(|((index, prefix), state)| {
            let link = self.links.get(index)?;
            Some(InterfaceAddress {
                interface: link.name.clone(),
                index: *index,
                prefix: *prefix,
                temporary: state.temporary,
                tentative: state.tentative,
                lesser: state.lesser,
                up: link.up,
                kind: link.kind.clone(),
            })
        });
        all.collect()
    }

    /// The interfaces that carry a default route, sorted.
    pub fn uplinks(&self) -> Vec<u32> {
        let all: BTreeSet<u32> = self.default_routes().map(|route| route.index).collect();
        all.into_iter().collect()
    }

    /// Gateways and preferred sources of default routes, sorted.
    pub fn default_ends(&self) -> Vec<IpAddr> {
        let all: BTreeSet<IpAddr> = self
            .default_routes()
            .flat_map(|route| [route.via, route.source])
            .flatten()
            .filter(|ip| !ip.is_unspecified())
            .collect();
        all.into_iter().collect()
    }

    fn default_routes(&self) -> impl Iterator<Item = &HostRoute> {
        let families = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        families.into_iter().flat_map(|ip| self.routes_to(Prefix { ip, bits: 0 }))
    }

    /// How many messages it was made of.
    #[cfg(test)]
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// Whether there are more routes without a gateway than [`MAX_TARGETS`].
    pub fn is_overfull(&self) -> bool {
        self.overfull
    }

    /// From now on everything about this interface, one of our ports, matters. It must have no routes yet.
    pub(super) fn adopt(&mut self, index: u32) {
        self.own.insert(index);
    }

    /// Takes over which ports are ours, and what is wanted.
    pub(super) fn adopt_all_of(&mut self, other: &Picture) {
        self.own.clone_from(&other.own);
        self.wanted.clone_from(&other.wanted);
    }

    /// From now on a route to one of these targets, whatever it leads through, is noticed.
    pub(super) fn want(&mut self, targets: BTreeSet<Prefix>) {
        self.wanted = targets;
    }

    /// What changed since the last call.
    pub(super) fn take_noticed(&mut self) -> Noticed {
        std::mem::take(&mut self.noticed)
    }

    pub(super) fn noticed(&self) -> Noticed {
        self.noticed
    }

    pub(super) fn notice_all(&mut self) {
        self.noticed = Noticed::ALL;
    }

    /// Takes in a message of the kernel; `replaces`: a new route stands for the one there was.
    pub(super) fn apply(&mut self, message: &RouteNetlinkMessage, replaces: bool) {
        self.messages += 1;
        match message {
            RouteNetlinkMessage::NewLink(link) => self.set_link(link),
            // Other families speak of what a bridge does with it.
            RouteNetlinkMessage::DelLink(link) if link.header.interface_family == AddressFamily::Unspec => {
                self.remove_link(link.header.index);
            }
            RouteNetlinkMessage::NewAddress(address) => self.set_address(address),
            RouteNetlinkMessage::DelAddress(address) => self.remove_address(address),
            RouteNetlinkMessage::NewRoute(route) => {
                for route in host_routes(route) {
                    self.set_route(route, replaces);
                }
            }
            RouteNetlinkMessage::DelRoute(route) => {
                for route in host_routes(route) {
                    self.remove_route(&route);
                }
            }
            _ => {}
        }
    }

    fn set_link(&mut self, message: &LinkMessage) {
        if message.header.interface_family != AddressFamily::Unspec {
            return;
        }
        let index = message.header.index;
        let Some(link) = link_of(message) else { return };
        let before = self.links.get(&index);
        if before == Some(&link) {
            return;
        }
        let went_down = before.is_some_and(|b| b.up) && !link.up;
        self.links.insert(index, link);
        self.noticed.links = true;
        if went_down {
            // The kernel says nothing of the IPv4 routes that go with it.
            self.forget_routes(index);
        }
    }

    fn remove_link(&mut self, index: u32) {
        self.noticed.links |= self.links.remove(&index).is_some();
        let addresses: Vec<Prefix> = self.addresses_of(index).collect();
        for address in addresses {
            self.forget_address(index, address);
        }
        self.forget_routes(index);
        self.own.remove(&index);
    }

    fn set_address(&mut self, message: &AddressMessage) {
        let (index, Some(ip)) = (message.header.index, own_address(message)) else { return };
        let flags = message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Flags(flags) => Some(*flags),
            _ => None,
        });
        let flags = flags.unwrap_or(AddressFlags::from_bits_retain(u32::from(message.header.flags.bits())));
        let state = AddressState {
            // The same bit means "secondary" for IPv4 and "temporary" for IPv6.
            temporary: ip.is_ipv6() && flags.contains(AddressFlags::Secondary),
            lesser: flags.contains(if ip.is_ipv4() {
                AddressFlags::Secondary
            } else {
                AddressFlags::Deprecated
            }),
            tentative: flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed),
        };
        self.put_address(index, Prefix { ip, bits: message.header.prefix_len }, state);
    }

    /// The kernel took an address: of one of IPv6 it tells only a while later.
    pub(super) fn took_address(&mut self, index: u32, address: Prefix) {
        if self.links.contains_key(&index) && !self.addresses.contains_key(&(index, address)) {
            self.put_address(index, address, AddressState::default());
        }
    }

    fn put_address(&mut self, index: u32, address: Prefix, state: AddressState) {
        if self.addresses.insert((index, address), state) != Some(state) {
            self.subnets.entry(address.network()).or_default().insert(index);
            self.noticed.links = true;
        }
    }

    fn remove_address(&mut self, message: &AddressMessage) {
        let (index, Some(ip)) = (message.header.index, own_address(message)) else { return };
        self.forget_address(index, Prefix { ip, bits: message.header.prefix_len });
    }

    fn forget_address(&mut self, index: u32, address: Prefix) {
        if self.addresses.remove(&(index, address)).is_none() {
            return;
        }
        self.noticed.links = true;
        let subnet = address.network();
        if !self.addresses_of(index).any(|other| other.network() == subnet)
            && let Some(interfaces) = self.subnets.get_mut(&subnet)
        {
            interfaces.remove(&index);
            if interfaces.is_empty() {
                self.subnets.remove(&subnet);
            }
        }
        if address.ip.is_ipv6() {
            return;
        }
        // Without a word go: all IPv4 routes of an interface with its last IPv4 address, and with the last address of its
        // kind the routes that have it as their source.
        if !self.addresses_of(index).any(|other| other.ip.is_ipv4()) {
            for target in self.by_index.get(&index).cloned().unwrap_or_default() {
                self.retain_routes(target, |route| route.index != index || route.target.ip.is_ipv6());
            }
        }
        if !self.has_ip(address.ip) {
            for target in self.by_source.get(&address.ip).cloned().unwrap_or_default() {
                self.retain_routes(target, |route| route.source != Some(address.ip));
            }
        }
    }

    fn has_ip(&self, ip: IpAddr) -> bool {
        // The prefix length is one of a few.
        let bits = 0..=if ip.is_ipv4() { 32 } else { 128 };
        bits.map(|bits| Prefix { ip, bits }).any(|address| {
            self.interfaces_in(address.network()).any(|index| self.addresses.contains_key(&(index, address)))
        })
    }

    fn set_route(&mut self, route: HostRoute, replaces: bool) {
        self.note_route(&route);
        let target = route.target;
        if replaces {
            let same = |r: &HostRoute| r.metric == route.metric && r.tos == route.tos;
            self.retain_routes(target, |r| !same(r));
        }
        let own = self.own.contains(&route.index);
        let local = matches!(scope(target.ip), Scope::LinkLocal | Scope::Multicast) && target.bits > 0;
        if !own && (local || (route.via.is_some() && target.bits > 0)) {
            return;
        }
        let known = self.routes.get(&target);
        if known.is_some_and(|known| known.contains(&route)) {
            return;
        }
        let full = known.map_or(self.routes.len() >= MAX_TARGETS, |known| known.len() >= MAX_ROUTES);
        if full && !own {
            self.overfull = true;
            return;
        }
        self.by_index.entry(route.index).or_default().insert(target);
        if let Some(source) = route.source {
            self.by_source.entry(source).or_default().insert(target);
        }
        self.note_kept(&route);
        self.routes.entry(target).or_default().push(route);
    }

    fn remove_route(&mut self, route: &HostRoute) {
        self.note_route(route);
        self.retain_routes(route.target, |known| known != route);
    }

    /// The routes of an interface are gone.
    fn forget_routes(&mut self, index: u32) {
        for target in self.by_index.get(&index).cloned().unwrap_or_default() {
            self.retain_routes(target, |route| route.index != index);
        }
    }

    fn retain_routes(&mut self, target: Prefix, keep: impl Fn(&HostRoute) -> bool) {
        let Some(routes) = self.routes.get_mut(&target) else { return };
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(routes).into_iter().partition(|r| keep(r));
        if kept.is_empty() {
            self.routes.remove(&target);
        } else {
            routes.clone_from(&kept);
        }
        for route in gone {
            self.note_kept(&route);
            if !kept.iter().any(|r| r.index == route.index) {
                drop_entry(&mut self.by_index, &route.index, &target);
            }
            if let Some(source) = route.source
                && !kept.iter().any(|r| r.source == Some(source))
            {
                drop_entry(&mut self.by_source, &source, &target);
            }
        }
    }

    /// Any route to a target that somebody wants may take the traffic away.
    fn note_route(&mut self, route: &HostRoute) {
        self.noticed.routes |= self.wanted.contains(&route.target);
    }

    /// A route that is known came or went.
    fn note_kept(&mut self, route: &HostRoute) {
        if route.target.bits == 0 {
            self.noticed.links = true;
        }
        self.noticed.routes |= self.own.contains(&route.index) || self.touches_wanted(route.target);
    }

    /// Whether a target is one of those that are wanted, or a wider one around one of them.
    fn touches_wanted(&self, target: Prefix) -> bool {
        // Sorted by address: the first one at or behind the target's beginning is inside it, or none is.
        let begin = Prefix { ip: target.network().ip, bits: 0 };
        self.wanted.range(begin..).next().is_some_and(|first| target.contains(first.ip))
    }
}

fn drop_entry<K: Ord>(index: &mut BTreeMap<K, BTreeSet<Prefix>>, key: &K, target: &Prefix) {
    if let Some(targets) = index.get_mut(key) {
        targets.remove(target);
        if targets.is_empty() {
            index.remove(key);
        }
    }
}

fn link_of(message: &LinkMessage) -> Option<Link> {
    let flags = message.header.flags;
    let mut link = Link {
        up: flags.contains(LinkFlags::Up),
        asks: !flags.intersects(LinkFlags::Pointopoint | LinkFlags::Noarp | LinkFlags::Loopback),
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(index) => link.master = Some(*index).filter(|index| *index != 0),
            LinkAttribute::LinkInfo(infos) => {
                let kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
                link.kind = kind.unwrap_or_default();
            }
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}

fn own_address(message: &AddressMessage) -> Option<IpAddr> {
    // On point-to-point links LOCAL is ours and ADDRESS the other end's; elsewhere both are ours or LOCAL is absent.
    let local = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        })
    })
}

/// The route of a message, once for each interface it leads through; none if it is not a unicast route of the main table.
pub(super) fn host_routes(message: &RouteMessage) -> Vec<HostRoute> {
    let header = &message.header;
    let unspecified = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return Vec::new(),
    };
    if header.table != RouteHeader::RT_TABLE_MAIN || header.kind != RouteType::Unicast {
        return Vec::new();
    }
    let target = Prefix { ip: unspecified, bits: header.destination_prefix_length };
    let is_static = header.protocol == RouteProtocol::Static;
    let mut route =
        HostRoute { target, index: 0, via: None, source: None, metric: 0, tos: header.tos, is_static };
    let mut hops = Vec::new();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => route.target.ip = as_ip(address).unwrap_or(unspecified),
            RouteAttribute::Oif(index) => route.index = *index,
            RouteAttribute::Gateway(address) => route.via = as_ip(address),
            // A gateway of the other family: which one does not matter to anybody here.
            RouteAttribute::Via(_) => route.via = Some(unspecified),
            RouteAttribute::PrefSource(address) => route.source = as_ip(address),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::MultiPath(several) => hops.clone_from(several),
            _ => {}
        }
    }
    if hops.is_empty() {
        return if route.index == 0 { Vec::new() } else { vec![route] };
    }
    // With several there is a choice: none of them is simply a link with neighbours.
    let hop = |hop: &RouteNextHop| {
        let gateway = hop.attributes.iter().find_map(|a| match a {
            RouteAttribute::Gateway(address) => as_ip(address),
            _ => None,
        });
        HostRoute { index: hop.interface_index, via: gateway.or(Some(unspecified)), ..route.clone() }
    };
    hops.iter().map(hop).collect()
}

pub(super) fn as_ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}
