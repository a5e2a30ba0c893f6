//! Links, addresses and routes, by rtnetlink.
//!
//! Specification: frames, "managed addresses, routes and DNS on the host"; RFC 3549. Everything is idempotent: adding
//! what is there and removing what is gone succeed.

mod picture;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use futures_util::stream::TryStreamExt;
use protocol::Mac;
use protocol::inet::Prefix;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressHeaderFlags;
use rtnetlink::packet_route::route::{RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteScope};
use rtnetlink::{AddressMessageBuilder, Handle, LinkUnspec, RouteMessageBuilder, new_connection};

pub use picture::{HostRoute, Link, MAX_TARGETS, Noticed, Picture};
use watch::Watch;

/// Metric of managed routes that have a gateway: high, so that what the administrator configures wins.
pub const GATEWAY_METRIC: u32 = 5000;

/// What the kernel itself gives IPv6 routes to subnets.
const SUBNET_METRIC_V6: u32 = 256;

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

    /// Whether the reason is that this machine has no such protocol, or has it switched off on the interface.
    pub fn is_unavailable(&self) -> bool {
        [libc::EACCES, libc::EOPNOTSUPP, libc::EAFNOSUPPORT].into_iter().any(|code| self.is(code))
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

/// A connection to the kernel, and what it tells; clones share both.
#[derive(Clone, Debug)]
pub struct Netlink {
    pub(super) handle: Handle,
    watch: Arc<Watch>,
}

impl Netlink {
    /// Connects and spawns the connection's task on the current tokio runtime.
    ///
    /// # Errors
    /// When the sockets cannot be made.
    pub fn connect() -> std::io::Result<Self> {
        let watch = Arc::new(Watch::begin()?);
        let (connection, handle, _) = new_connection()?;
        tokio::spawn(connection);
        Ok(Netlink { handle, watch })
    }

    /// Makes the picture of this namespace what the kernel's is now.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub async fn refresh(&self) -> Result<(), NetlinkError> {
        self.watch.refresh(&self.handle).await
    }

    /// Reads everything anew, if that was long ago: should a message of the kernel have been missed, that mends it.
    pub fn make_sure(&self) {
        self.watch.make_sure();
    }

    /// What is known may be wrong: everything is read anew soon.
    pub fn doubt(&self) {
        self.watch.doubt();
    }

    /// Looks at the picture of this namespace, after taking in what the kernel said meanwhile.
    pub fn look<T>(&self, at: impl FnOnce(&Picture) -> T) -> T {
        self.watch.look(at)
    }

    /// Waits for a change that matters, and a little longer for those that come with it. Nothing is lost when the future is
    /// dropped.
    pub async fn changed(&self) -> Noticed {
        self.watch.changed().await
    }

    /// From now on everything about this interface, one of our ports, matters. It must have no routes yet.
    pub fn adopt(&self, index: u32) {
        self.watch.tell(|picture| picture.adopt(index));
    }

    /// From now on a route to one of these targets matters, whatever it leads through.
    pub fn want(&self, targets: BTreeSet<Prefix>) {
        self.watch.tell(|picture| picture.want(targets));
    }

    /// How often everything was read anew.
    #[cfg(test)]
    fn readings(&self) -> u64 {
        self.watch.work().0
    }

    /// How many messages of the kernel were taken in, those of the readings included.
    #[cfg(test)]
    fn messages(&self) -> u64 {
        self.watch.work().1
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

    /// Brings an interface up.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub async fn bring_up(&self, index: u32) -> Result<(), NetlinkError> {
        let result = self.handle.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await;
        result.map_err(|e| NetlinkError::new("bring the port up", &e))
    }

    /// Addresses, and which interfaces carry a default route.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub async fn surroundings(&self) -> Result<Surroundings, NetlinkError> {
        self.refresh().await?;
        Ok(self.look(|p| Surroundings {
            addresses: p.all_addresses(),
            uplinks: p.uplinks(),
            default_ends: p.default_ends(),
        }))
    }

    /// The route that packets to `destination` take now, and whether it is one of the main table; `None` when there is none,
    /// or none that leads anywhere.
    pub async fn route_to(&self, destination: IpAddr) -> Option<HostRoute> {
        let mut message = RouteMessage::default();
        let (family, bits) = match destination {
            IpAddr::V4(_) => (AddressFamily::Inet, 32),
            IpAddr::V6(_) => (AddressFamily::Inet6, 128),
        };
        message.header.address_family = family;
        message.header.destination_prefix_length = bits;
        // The entry of the table itself, not what it makes of this destination.
        message.header.flags = RouteFlags::FibMatch;
        message.attributes.push(RouteAttribute::Destination(destination.into()));
        let mut stream = std::pin::pin!(self.handle.route().get(message).execute());
        let found = stream.try_next().await.ok()??;
        picture::host_routes(&found).into_iter().next()
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
            Err(e) if !e.is(libc::EEXIST) => return Err(e),
            _ => {}
        }
        self.watch.tell(|picture| picture.took_address(index, address));
        Ok(())
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
        self.add(route, route_message(index, route)).await
    }

    /// Adds the route that the kernel makes for an address with a prefix by itself, and removes with the address.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub async fn add_subnet(&self, index: u32, address: Prefix) -> Result<(), NetlinkError> {
        let route = Route { target: address.network(), via: None, source: Some(address.ip) };
        let message = route_message(index, &route).map(|mut message| {
            message.header.protocol = RouteProtocol::Kernel;
            match address.ip {
                IpAddr::V4(_) => message.header.scope = RouteScope::Link,
                IpAddr::V6(_) => message.attributes.push(RouteAttribute::Priority(SUBNET_METRIC_V6)),
            }
            message
        });
        self.add(&route, message).await
    }

    async fn add(&self, route: &Route, message: Result<RouteMessage, String>) -> Result<(), NetlinkError> {
        let action = || match route.via {
            Some(via) => format!("add the route {} via {via}", route.target),
            None => format!("add the route {}", route.target),
        };
        let message = message.map_err(|reason| NetlinkError { action: action(), reason, code: None })?;
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
