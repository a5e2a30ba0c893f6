//! Links, addresses and routes, by rtnetlink.
//!
//! Specification: frames, "managed addresses, routes and DNS on the host"; RFC 3549. Everything is idempotent: adding
//! what is there and removing what is gone succeed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures_util::stream::{StreamExt, TryStreamExt};
use protocol::Mac;
use protocol::inet::Prefix;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkInfo};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use rtnetlink::{
    AddressMessageBuilder, Handle, LinkUnspec, MulticastGroup, RouteMessageBuilder, new_connection,
    new_multicast_connection,
};
use tokio::sync::mpsc;

/// Metric of managed routes that have a gateway: high, so that what the administrator configures wins.
pub const GATEWAY_METRIC: u32 = 5000;

/// Changes that come within this time of one another are reported once.
const SETTLE: Duration = Duration::from_millis(100);

/// What went wrong, with the operation and its object.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}: {reason}")]
pub struct NetlinkError {
    action: String,
    reason: String,
    code: Option<i32>,
}

impl NetlinkError {
    pub(super) fn new(action: impl Into<String>, error: &rtnetlink::Error) -> Self {
        let (reason, code) = match error {
            rtnetlink::Error::NetlinkError(message) => {
                let io = message.to_io();
                (io.to_string(), io.raw_os_error())
            }
            other => (other.to_string(), None),
        };
        NetlinkError { action: action.into(), reason, code }
    }

    pub(super) fn because(action: &str, reason: &str) -> Self {
        NetlinkError { action: action.into(), reason: reason.into(), code: None }
    }

    pub(super) fn is(&self, code: i32) -> bool {
        self.code == Some(code)
    }

    /// Whether the reason is a missing privilege.
    pub fn is_permission(&self) -> bool {
        self.is(libc::EPERM) || self.is(libc::EACCES)
    }
}

/// An address of an interface of this machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InterfaceAddress {
    /// Interface name.
    pub interface: String,
    /// Interface index.
    pub index: u32,
    /// The address with its prefix length.
    pub prefix: Prefix,
    /// A temporary (privacy) IPv6 address.
    pub temporary: bool,
    /// Not usable yet or any more (duplicate address detection running or failed).
    pub tentative: bool,
    /// Another one is better as a source: an IPv4 address after the first of its subnet, an IPv6 address that is deprecated.
    pub lesser: bool,
    /// Whether the interface is up.
    pub up: bool,
    /// What the kernel calls the interface's kind (`bridge`, `veth`, `tun` …); empty for hardware.
    pub kind: String,
}

/// What one look at this network namespace gives.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// All addresses.
    pub addresses: Vec<InterfaceAddress>,
    /// Indices of the interfaces that carry a default route of the main table.
    pub uplinks: Vec<u32>,
    /// Gateways and preferred sources of those routes.
    pub default_ends: Vec<IpAddr>,
    /// Subnets reached without a gateway by routes of the main table, with the interface's index.
    pub on_link: Vec<(Prefix, u32)>,
}

/// A route through one of our ports.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// Destination.
    pub target: Prefix,
    /// Gateway; `None` = on link.
    pub via: Option<IpAddr>,
    /// Preferred source address.
    pub source: Option<IpAddr>,
}

/// A connection to the kernel; clones share it.
#[derive(Clone, Debug)]
pub struct Netlink {
    pub(super) handle: Handle,
}

impl Netlink {
    /// Connects and spawns the connection's task on the current tokio runtime.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn connect() -> std::io::Result<Self> {
        let (connection, handle, _) = new_connection()?;
        tokio::spawn(connection);
        Ok(Netlink { handle })
    }

    /// Sets the MAC and the MTU of an interface and brings it up. The MAC is only touched when it differs.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub async fn configure_link(&self, index: u32, mac: Mac, mtu: u32) -> Result<(), NetlinkError> {
        let message = LinkUnspec::new_with_index(index).address(mac.0.to_vec()).mtu(mtu).up().build();
        let result = self.handle.link().set(message).execute().await;
        result
            .map_err(|e| NetlinkError::new(format!("set MAC {mac} and MTU {mtu} and bring the port up"), &e))
    }

    /// Sets the MTU of an interface.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub async fn set_mtu(&self, index: u32, mtu: u32) -> Result<(), NetlinkError> {
        let message = LinkUnspec::new_with_index(index).mtu(mtu).build();
        let result = self.handle.link().set(message).execute().await;
        result.map_err(|e| NetlinkError::new(format!("set MTU {mtu}"), &e))
    }

    /// All addresses of this network namespace.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub async fn addresses(&self) -> Result<Vec<InterfaceAddress>, NetlinkError> {
        let mut links = Vec::new();
        let mut stream = std::pin::pin!(self.handle.link().get().execute());
        while let Some(link) =
            stream.try_next().await.map_err(|e| NetlinkError::new("list interfaces", &e))?
        {
            let name = link.attributes.iter().find_map(|a| match a {
                LinkAttribute::IfName(name) => Some(name.clone()),
                _ => None,
            });
            if let Some(name) = name {
                let kind = link_kind(&link.attributes);
                links.push((link.header.index, name, link.header.flags.contains(LinkFlags::Up), kind));
            }
        }
        let mut found = Vec::new();
        let mut stream = std::pin::pin!(self.handle.address().get().execute());
        while let Some(message) =
            stream.try_next().await.map_err(|e| NetlinkError::new("list addresses", &e))?
        {
            let Some((index, name, up, kind)) = links.iter().find(|l| l.0 == message.header.index) else {
                continue;
            };
            let Some(ip) = own_address(&message) else { continue };
            let flags = message.attributes.iter().find_map(|a| match a {
                AddressAttribute::Flags(flags) => Some(*flags),
                _ => None,
            });
            let flags =
                flags.unwrap_or(AddressFlags::from_bits_retain(u32::from(message.header.flags.bits())));
            found.push(InterfaceAddress {
                interface: name.clone(),
                index: *index,
                prefix: Prefix { ip, bits: message.header.prefix_len },
                // The same bit means "secondary" for IPv4 and "temporary" for IPv6.
                temporary: ip.is_ipv6() && flags.contains(AddressFlags::Secondary),
                lesser: if ip.is_ipv4() {
                    flags.contains(AddressFlags::Secondary)
                } else {
                    flags.contains(AddressFlags::Deprecated)
                },
                tentative: flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed),
                up: *up,
                kind: kind.clone(),
            });
        }
        Ok(found)
    }

    /// Addresses, and what the main routing table says of them.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub async fn surroundings(&self) -> Result<Surroundings, NetlinkError> {
        let mut found = Surroundings { addresses: self.addresses().await?, ..Surroundings::default() };
        for query in all_routes() {
            let mut stream = std::pin::pin!(self.handle.route().get(query).execute());
            while let Some(message) =
                stream.try_next().await.map_err(|e| NetlinkError::new("list routes", &e))?
            {
                found.note(&message);
            }
        }
        found.uplinks.sort_unstable();
        found.uplinks.dedup();
        Ok(found)
    }

    /// Adds an address. IPv6 duplicate address detection is skipped: the controller hands out each address once, and
    /// without it the address is usable at once.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub async fn add_address(&self, index: u32, address: Prefix) -> Result<(), NetlinkError> {
        let mut request = self.handle.address().add(index, address.ip, address.bits).replace();
        if address.ip.is_ipv6() {
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        }
        match request.execute().await.map_err(|e| NetlinkError::new(format!("add the address {address}"), &e))
        {
            Err(e) if e.is(libc::EEXIST) => Ok(()),
            other => other,
        }
    }

    /// Removes an address.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub async fn remove_address(&self, index: u32, address: Prefix) -> Result<(), NetlinkError> {
        let message = match address.ip {
            IpAddr::V4(ip) => {
                AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(ip, address.bits).build()
            }
            IpAddr::V6(ip) => {
                AddressMessageBuilder::<Ipv6Addr>::new().index(index).address(ip, address.bits).build()
            }
        };
        let result = self.handle.address().del(message).execute().await;
        match result.map_err(|e| NetlinkError::new(format!("remove the address {address}"), &e)) {
            Err(e) if e.is(libc::EADDRNOTAVAIL) || e.is(libc::ENODEV) => Ok(()),
            other => other,
        }
    }

    /// Adds a route through interface `index`: main table, protocol static.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub async fn add_route(&self, index: u32, route: &Route) -> Result<(), NetlinkError> {
        let action = || match route.via {
            Some(via) => format!("add the route {} via {via}", route.target),
            None => format!("add the route {}", route.target),
        };
        let message = route_message(index, route).map_err(|reason| NetlinkError {
            action: action(),
            reason,
            code: None,
        })?;
        let result = self.handle.route().add(message).execute().await;
        match result.map_err(|e| NetlinkError::new(action(), &e)) {
            Err(e) if e.is(libc::EEXIST) => Ok(()),
            other => other,
        }
    }

    /// Removes a route.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub async fn remove_route(&self, index: u32, route: &Route) -> Result<(), NetlinkError> {
        let action = format!("remove the route {}", route.target);
        let message = route_message(index, route).map_err(|reason| NetlinkError {
            action: action.clone(),
            reason,
            code: None,
        })?;
        let result = self.handle.route().del(message).execute().await;
        match result.map_err(|e| NetlinkError::new(action, &e)) {
            Err(e) if e.is(libc::ESRCH) || e.is(libc::ENODEV) => Ok(()),
            other => other,
        }
    }

    /// The static routes of the main table through interface `index`.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub async fn routes(&self, index: u32) -> Result<Vec<Route>, NetlinkError> {
        let mut found = Vec::new();
        for query in all_routes() {
            let mut stream = std::pin::pin!(self.handle.route().get(query).execute());
            while let Some(message) =
                stream.try_next().await.map_err(|e| NetlinkError::new("list routes", &e))?
            {
                found.extend(own_route(index, &message));
            }
        }
        Ok(found)
    }
}

/// Tells when links or addresses of this namespace changed.
#[derive(Debug)]
pub struct Changes {
    receiver: mpsc::Receiver<()>,
}

impl Changes {
    /// Subscribes; a task on the current tokio runtime listens until the value is dropped.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn subscribe() -> std::io::Result<Self> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (connection, handle, mut messages) = new_multicast_connection(&groups)?;
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(connection);
        tokio::spawn(async move {
            // The connection lives as long as its handle.
            let _handle = handle;
            loop {
                tokio::select! {
                    message = messages.next() => if message.is_none() { break },
                    () = sender.closed() => break,
                }
                // One waiting notice is as good as many.
                let _ = sender.try_send(());
            }
        });
        Ok(Changes { receiver })
    }

    /// Waits for a change, and a little longer for those that come with it. `None`: the kernel closed the socket.
    pub async fn next(&mut self) -> Option<()> {
        self.receiver.recv().await?;
        tokio::time::sleep(SETTLE).await;
        let _ = self.receiver.try_recv();
        Some(())
    }
}

impl Surroundings {
    /// Takes in a route.
    fn note(&mut self, message: &RouteMessage) {
        if message.header.table != RouteHeader::RT_TABLE_MAIN || message.header.kind != RouteType::Unicast {
            return;
        }
        let bits = message.header.destination_prefix_length;
        let (mut ip, mut interfaces, mut direct) = (None, Vec::new(), true);
        let mut ends = Vec::new();
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => ip = as_ip(address),
                RouteAttribute::Oif(index) => interfaces.push(*index),
                RouteAttribute::Gateway(address) => {
                    direct = false;
                    ends.extend(as_ip(address));
                }
                RouteAttribute::Via(_) => direct = false,
                RouteAttribute::PrefSource(address) => ends.extend(as_ip(address)),
                RouteAttribute::MultiPath(hops) => {
                    direct = false;
                    interfaces.extend(hops.iter().map(|hop| hop.interface_index));
                }
                _ => {}
            }
        }
        if bits == 0 {
            self.uplinks.extend(interfaces);
            self.default_ends.extend(ends);
        } else if let (true, Some(ip)) = (direct, ip) {
            self.on_link.extend(interfaces.into_iter().map(|index| (Prefix { ip, bits }, index)));
        }
    }
}

fn all_routes() -> [RouteMessage; 2] {
    [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()]
}

pub(super) fn link_kind(attributes: &[LinkAttribute]) -> String {
    let infos = attributes.iter().find_map(|a| match a {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    let kind = infos.into_iter().flatten().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    });
    kind.unwrap_or_default()
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

fn route_message(index: u32, route: &Route) -> Result<RouteMessage, String> {
    let mut builder = RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(route.target.ip, route.target.bits)
        .map_err(|e| e.to_string())?
        .output_interface(index)
        .protocol(RouteProtocol::Static);
    if let Some(via) = route.via {
        builder = builder.gateway(via).map_err(|e| e.to_string())?.priority(GATEWAY_METRIC);
    }
    if let Some(source) = route.source {
        builder = builder.pref_source(source).map_err(|e| e.to_string())?;
    }
    Ok(builder.build())
}

fn own_route(index: u32, message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    if header.protocol != RouteProtocol::Static
        || header.kind != RouteType::Unicast
        || header.table != RouteHeader::RT_TABLE_MAIN
    {
        return None;
    }
    let (mut ip, mut via, mut source, mut interface) = (None, None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => ip = as_ip(address),
            RouteAttribute::Gateway(address) => via = as_ip(address),
            RouteAttribute::PrefSource(address) => source = as_ip(address),
            RouteAttribute::Oif(index) => interface = Some(*index),
            _ => {}
        }
    }
    if interface != Some(index) {
        return None;
    }
    let unspecified = match header.address_family {
        rtnetlink::packet_route::AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        rtnetlink::packet_route::AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let target = Prefix { ip: ip.unwrap_or(unspecified), bits: header.destination_prefix_length };
    Some(Route { target, via, source })
}

fn as_ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}
