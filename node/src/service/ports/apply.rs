//! Brings one port to what its configuration and settings say, and keeps it there.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use protocol::inet::{Prefix, Scope, scope};
use protocol::permission::Managed;
use tokio::time::Instant;

use super::Port;
use super::around::{Around, Neighbour};
use super::damper::{Item, Verdict};
use crate::os::netlink::{HostRoute, Link, Netlink, NetlinkError, Picture, Route};
use crate::service::in_place::{has_others, has_subnet, static_routes};
use crate::service::managed::{Cause, Place, Plan, addresses_clash, plan, routes_clash, steps};
use crate::service::network_settings::NetworkSettings;

/// When something is looked at again that should be there.
const AGAIN: Duration = Duration::from_secs(1);

/// What a port is brought to order with.
pub(super) struct Tools<'a> {
    pub(super) netlink: &'a Netlink,
    pub(super) settings: &'a NetworkSettings,
    /// Indices of all our ports.
    pub(super) own: &'a BTreeSet<u32>,
    pub(super) others: &'a [Neighbour],
    pub(super) online: bool,
    /// Something of the routes that are wanted may have changed.
    pub(super) routes_changed: bool,
}

/// What a port looks like before.
struct Before {
    link: Link,
    addresses: Vec<Prefix>,
    wanted: Plan,
}

/// Why a port is not as it should be.
#[derive(Debug)]
pub(super) enum Lack {
    /// The kernel refuses something.
    Error(NetlinkError),
    /// Others take away what we put there.
    Damped(Item),
    /// Something is not there although the kernel took it.
    Missing(String),
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Lack::Error(error) => write!(f, "{error}; it is tried again every 30 s"),
            Lack::Damped(item) => write!(
                f,
                "{} by another program; it is put back once a minute: find that program, or let this network manage \
                 nothing here (allowManaged=0)",
                item.trouble()
            ),
            Lack::Missing(what) => write!(f, "{what} is not there; it is tried again"),
        }
    }
}

/// Brings the kernel's state of one port to what its configuration and settings say. Goes on after a trouble and returns the
/// first.
pub(super) async fn apply(port: &mut Port, tools: &Tools<'_>) -> Result<(), Lack> {
    let (Some((name, index)), Some(config)) = (port.device.clone(), port.config.clone()) else {
        return Ok(());
    };
    let netlink = tools.netlink;
    let failed = |error| Lack::Error(error);
    netlink.refresh().await.map_err(failed)?;
    let no_ipv6 = no_ipv6(&name);
    let look = |picture: &Picture| before(picture, port, tools, index, &config, no_ipv6.as_deref());
    let Some(Before { link, addresses: present, wanted }) = netlink.look(look) else {
        // If it was deleted, the packet thread tells soon.
        port.due = (tools.settings.managed != Managed::Nothing).then(|| Instant::now() + AGAIN);
        return Ok(());
    };
    let mut work = Work { port, netlink, index, now: Instant::now(), first: Ok(()) };

    if tools.settings.managed != Managed::Nothing {
        if link.mtu != u32::from(config.mtu) && work.may(Item::Mtu) {
            work.note(netlink.set_mtu(index, config.mtu.into()).await);
        }
        if !link.up && work.may(Item::Up) {
            work.note(netlink.bring_up(index).await);
        }
    }
    let addresses = steps(&work.port.addresses, &present, &wanted.addresses, addresses_clash);
    for address in addresses.remove {
        work.note(netlink.remove_address(index, address).await);
    }
    let mut unavailable = Vec::new();
    for address in addresses.add {
        if !work.may(Item::Address(address)) {
            continue;
        }
        match netlink.add_address(index, address).await {
            // Switched off in a way that does not show beforehand.
            Err(error) if error.is_unavailable() && address.ip.is_ipv6() => {
                unavailable.push((address, error));
            }
            result => work.note(result),
        }
    }
    let mut done = wanted;
    for (address, error) in unavailable {
        work.port.damper.forget_one(Item::Address(address));
        done.addresses.retain(|other| *other != address);
        done.refuse(address, true, Cause::Unavailable, error.to_string());
    }
    work.port.addresses.clone_from(&done.addresses);
    work.set_routes(std::mem::take(&mut done.routes)).await;
    work.find_rivals(tools.routes_changed).await;
    for (target, rival) in &work.port.rivals {
        let reason = netlink.look(|picture| describe(picture, rival));
        done.refuse(whole(*target), false, Cause::Taken, reason);
    }
    work.look_again();
    (work.port.refused, work.port.overlapping) = (done.refused, done.overlapping);
    work.first
}

fn before(
    picture: &Picture,
    port: &Port,
    tools: &Tools<'_>,
    index: u32,
    config: &protocol::netconf::NetworkConfig,
    no_ipv6: Option<&str>,
) -> Option<Before> {
    let link = picture.link(index)?.clone();
    let bridge = link.master.and_then(|master| picture.link(master).map(|bridge| (master, bridge)));
    let bridge = bridge.filter(|(_, bridge)| bridge.kind == "bridge" && bridge.up);
    let around = Around {
        picture,
        own: tools.own,
        bridge: bridge.map(|(master, _)| master),
        others: tools.others,
        addresses: &port.addresses,
        routes: &port.routes,
    };
    let addresses: Vec<_> = picture.addresses_of(index).collect();
    // Addresses that are about to go must not be chosen as a source.
    let by_hand: Vec<_> = addresses.iter().filter(|a| !port.addresses.contains(a)).copied().collect();
    let of_bridge: Vec<_> = bridge.iter().flat_map(|(master, _)| picture.addresses_of(*master)).collect();
    let place = Place {
        present: &by_hand,
        holders: &|target| around.holders(target),
        online: tools.online,
        no_ipv6,
        bridge: bridge.map(|(_, bridge)| (bridge.name.as_str(), of_bridge.as_slice())),
    };
    let wanted = plan(tools.settings, config, &place);
    Some(Before { link, addresses, wanted })
}

/// Bringing one port to order.
struct Work<'a> {
    port: &'a mut Port,
    netlink: &'a Netlink,
    index: u32,
    now: Instant,
    first: Result<(), Lack>,
}

impl Work<'_> {
    fn note(&mut self, result: Result<(), NetlinkError>) {
        if let (Ok(()), Err(error)) = (&self.first, result) {
            self.first = Err(Lack::Error(error));
        }
    }

    /// Whether something may be put there now, or was too often already.
    fn may(&mut self, item: Item) -> bool {
        match self.port.damper.ask(item, self.now) {
            Verdict::Put => true,
            Verdict::PutBack => {
                tracing::info!(port = %self.port.name(), "{}", item.change());
                true
            }
            Verdict::Wait(until) => {
                let due = self.port.due.map_or(until, |due| due.min(until));
                self.port.due = Some(due);
                if self.first.is_ok() {
                    self.first = Err(Lack::Damped(item));
                }
                false
            }
        }
    }

    /// Puts the routes there: those that belong to the addresses, and `wanted`.
    async fn set_routes(&mut self, wanted: Vec<Route>) {
        let (netlink, index) = (self.netlink, self.index);
        // Only now: removing an address takes the routes with it that use it as their source.
        let (present, bare) = netlink.look(|picture| {
            let bare = |address: &&Prefix| !has_subnet(picture, index, **address);
            let bare: Vec<_> = self.port.addresses.iter().filter(bare).copied().collect();
            (static_routes(picture, index), bare)
        });
        for address in bare {
            if self.may(Item::Route(address.network())) {
                let added = netlink.add_subnet(index, address).await;
                self.note(added);
            }
        }
        let routes = steps(&self.port.routes, &present, &wanted, routes_clash);
        for route in routes.remove {
            let removed = netlink.remove_route(index, &route).await;
            self.note(removed);
        }
        for route in routes.add {
            if self.may(Item::Route(route.target)) {
                let added = netlink.add_route(index, &route).await;
                self.note(added);
            }
        }
        self.port.routes = wanted;
    }

    /// Looks which packets to our targets go another way, unless nothing can have changed.
    async fn find_rivals(&mut self, changed: bool) {
        let subnets = self.port.addresses.iter().filter(|a| has_others(a)).map(Prefix::network);
        let targets: BTreeSet<Prefix> = subnets.chain(self.port.routes.iter().map(|r| r.target)).collect();
        if self.port.looked_at == targets && !changed && self.port.rivals.is_empty() {
            return;
        }
        self.port.rivals.clear();
        for target in &targets {
            if let Some(rival) = rival(self.netlink, self.index, *target).await {
                self.port.rivals.push((*target, rival));
            }
        }
        self.port.looked_at = targets;
    }

    /// Sees whether everything is there now that has not lost to somebody else's.
    fn look_again(&mut self) {
        if self.first.is_err() {
            return;
        }
        let missing = self.netlink.look(|picture| self.port.in_place(self.index).missing(picture));
        if let Some(what) = missing {
            self.netlink.doubt();
            self.port.due = Some(self.now + AGAIN);
            self.first = Err(Lack::Missing(what));
        }
    }
}

/// The route that packets to a target take, if it is not ours.
async fn rival(netlink: &Netlink, index: u32, target: Prefix) -> Option<HostRoute> {
    for destination in probes(target) {
        // A longer route inside the target says nothing of the target itself, nor does one of another table.
        if let Some(route) = netlink.route_to(destination).await
            && route.target == target
        {
            return (route.index != index).then_some(route);
        }
    }
    None
}

/// Some destinations in a target: one of them may be our own address, or have a longer route.
fn probes(target: Prefix) -> Vec<IpAddr> {
    let Prefix { ip, bits } = target.network();
    let mut probes: Vec<IpAddr> = match ip {
        IpAddr::V4(ip) => {
            let (first, rest) = (ip.to_bits(), u32::MAX.checked_shr(bits.into()).unwrap_or(0));
            let at = |offset: u32| IpAddr::V4((first | (offset & rest)).into());
            [1, 2, rest / 3 * 2, rest.saturating_sub(1)].map(at).into()
        }
        IpAddr::V6(ip) => {
            let (first, rest) = (ip.to_bits(), u128::MAX.checked_shr(bits.into()).unwrap_or(0));
            let at = |offset: u128| IpAddr::V6((first | (offset & rest)).into());
            [1, 2, rest / 3 * 2, rest.saturating_sub(1)].map(at).into()
        }
    };
    probes.retain(|ip| !matches!(scope(*ip), Scope::Multicast | Scope::None | Scope::Loopback));
    probes.dedup();
    probes
}

/// A default route is set as two halves.
fn whole(target: Prefix) -> Prefix {
    if target.bits != 1 {
        return target;
    }
    let ip = if target.ip.is_ipv4() {
        std::net::Ipv4Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    };
    Prefix { ip, bits: 0 }
}

fn describe(picture: &Picture, rival: &HostRoute) -> String {
    let name = picture.link(rival.index).map_or("an interface", |link| link.name.as_str());
    let via = rival.via.map(|via| format!(" via {via}")).unwrap_or_default();
    format!("this machine's route to {}{via} by {name} comes first", rival.target)
}

/// Why there can be no IPv6 on an interface; `None` if there can.
fn no_ipv6(name: &str) -> Option<String> {
    const FOLDER: &str = "/proc/sys/net/ipv6";
    match fs::read_to_string(format!("{FOLDER}/conf/{name}/disable_ipv6")) {
        Ok(text) if text.trim() == "1" => {
            Some(format!("IPv6 is switched off on this machine (net.ipv6.conf.{name}.disable_ipv6 is 1)"))
        }
        Err(_) if fs::metadata("/proc/sys/net").is_ok() && fs::metadata(FOLDER).is_err() => {
            Some("this machine's kernel has no IPv6".to_owned())
        }
        _ => None,
    }
}
