//! The virtual Ethernet ports of the joined networks: making them, and keeping MTU, addresses, routes and multicast groups as
//! the configurations say.

use std::collections::BTreeMap;
use std::sync::Arc;

use nix::net::if_::if_nametoindex;
use protocol::derive::interface_name;
use protocol::inet::{Prefix, Scope, scope};
use protocol::multicast_group::MulticastGroup;
use protocol::netconf::{DEFAULT_MTU, NetworkConfig};
use protocol::{Address, Mac, NetworkId};

use super::local_conf::TapSetting;
use super::managed::{self, Connected, NetworkSettings, Refused, addresses_clash, plan, routes_clash, steps};
use super::shared::{Applied, Shared};
use crate::dataplane::vnet::Offloads;
use crate::os::multicast;
use crate::os::netlink::{Netlink, NetlinkError, Route, Surroundings};
use crate::os::tap::{self, Backend, Tap};

/// What a port that could not be made is reported as.
const CREATION_FAILED: i32 = -999;
/// Names tried for a port.
const NAME_TRIALS: u64 = 64;
/// What `"tap": "auto"` opens.
const AUTOMATIC: Backend = Backend::Offload;

#[derive(Debug, Default)]
struct Port {
    /// Interface name and index while the device exists.
    device: Option<(String, u32)>,
    config: Option<Arc<NetworkConfig>>,
    addresses: Vec<Prefix>,
    routes: Vec<Route>,
    groups: Vec<MulticastGroup>,
    refused: Vec<Refused>,
    /// The last problem, so that it is reported once.
    problem: Option<String>,
}

/// All ports.
pub(super) struct Ports {
    shared: Arc<Shared>,
    netlink: Option<Netlink>,
    own: Address,
    ports: BTreeMap<NetworkId, Port>,
    online: bool,
}

impl Ports {
    pub(super) fn new(shared: Arc<Shared>, netlink: Option<Netlink>, own: Address) -> Self {
        Ports { shared, netlink, own, ports: BTreeMap::new(), online: false }
    }

    /// Names of our devices.
    pub(super) fn devices(&self) -> Vec<String> {
        self.ports.values().filter_map(|p| p.device.as_ref()).map(|(name, _)| name.clone()).collect()
    }

    /// Indices of our devices.
    pub(super) fn indices(&self) -> std::collections::BTreeSet<u32> {
        self.ports.values().filter_map(|p| p.device.as_ref()).map(|(_, index)| *index).collect()
    }

    /// Whether a default route leads through one of our ports, for IPv4 and for IPv6.
    pub(super) fn default_routes(&self) -> [bool; 2] {
        // They come in halves.
        let targets = self.ports.values().flat_map(|p| &p.routes).map(|r| r.target).filter(|t| t.bits <= 1);
        let mut families = [false; 2];
        targets.for_each(|target| families[usize::from(target.ip.is_ipv6())] = true);
        families
    }

    /// Makes a network's port.
    pub(super) async fn up(&mut self, network: NetworkId) {
        self.ports.entry(network).or_default();
        self.create(network).await;
    }

    async fn create(&mut self, network: NetworkId) {
        self.show(network, None, None);
        let result = self.try_create(network).await;
        let Some(port) = self.ports.get_mut(&network) else { return };
        match result {
            Ok((name, index, offloads)) => {
                tracing::info!(%network, port = %name, "port is up");
                port.device = Some((name.clone(), index));
                port.problem = None;
                {
                    let mut state = self.shared.state_mut();
                    let view = state.networks.entry(network).or_default();
                    (view.device, view.offloads) = (name, Some(offloads));
                }
                let _ = self.shared.engine.post(move |core, _| core.set_port_error(network, 0));
                self.sync(network).await;
            }
            Err(problem) => {
                if port.problem.as_ref() != Some(&problem) {
                    tracing::warn!(%network, "PORT_ERROR: {problem}");
                    port.problem = Some(problem.clone());
                }
                self.show(network, None, Some(problem));
                let _ = self.shared.engine.post(move |core, _| core.set_port_error(network, CREATION_FAILED));
            }
        }
    }

    async fn try_create(&self, network: NetworkId) -> Result<(String, u32, Offloads), String> {
        let netlink = self.netlink.as_ref().ok_or("the kernel's netlink interface is not available")?;
        let name = self.free_name(network).ok_or("no interface name is free")?;
        let backend = match self.shared.state().conf.typed.settings.tap {
            TapSetting::Auto => AUTOMATIC,
            TapSetting::Plain => Backend::Plain,
        };
        let lanes = self.shared.state().lanes;
        let tap = Tap::open_for(&name, backend, lanes).map_err(|e| e.to_string())?;
        tracing::debug!(%network, port = %tap.name(), offloads = ?tap.offloads(), writers = tap.writers(), "TAP device");
        let (name, offloads) = (tap.name().to_owned(), tap.offloads());
        let index = if_nametoindex(name.as_str()).map_err(|e| format!("the port {name} vanished: {e}"))?;
        let mtu = self.ports.get(&network).and_then(|p| p.config.as_ref()).map_or(DEFAULT_MTU, |c| c.mtu);
        let mac = Mac::for_member(network, self.own);
        netlink.configure_link(index, mac, mtu.into()).await.map_err(|e| e.to_string())?;
        self.shared.engine.add_port(network, tap).await.map_err(|e| e.to_string())?;
        Ok((name, index, offloads))
    }

    fn free_name(&self, network: NetworkId) -> Option<String> {
        let mapped = self.shared.home.mapped_device(network);
        let derived = (0..NAME_TRIALS).map(|trial| interface_name(network, trial));
        mapped.into_iter().chain(derived).find(|name| !tap::exists(name))
    }

    /// A network's configuration changed.
    pub(super) async fn configure(&mut self, network: NetworkId, config: Arc<NetworkConfig>) {
        let Some(port) = self.ports.get_mut(&network) else { return };
        let mtu_changed = port.config.as_ref().map_or(DEFAULT_MTU, |c| c.mtu) != config.mtu;
        tracing::debug!(%network, name = %config.name, revision = config.revision, "configuration");
        port.config = Some(config.clone());
        if mtu_changed
            && let (Some((_, index)), Some(netlink)) = (&port.device, &self.netlink)
            && let Err(error) = netlink.set_mtu(*index, config.mtu.into()).await
        {
            tracing::warn!(%network, %error, "the port keeps its old MTU");
        }
        self.sync(network).await;
    }

    /// Takes a network's port away.
    pub(super) async fn down(&mut self, network: NetworkId) {
        self.ports.remove(&network);
        self.shared.state_mut().networks.remove(&network);
        let _ = self.shared.engine.remove_port(network).await;
    }

    /// A network's device went away under us: make it again.
    pub(super) async fn lost(&mut self, network: NetworkId) {
        if let Some(port) = self.ports.get_mut(&network) {
            *port = Port { config: port.config.take(), ..Port::default() };
            self.create(network).await;
        }
    }

    /// Whether the node is online: default routes wait for that.
    pub(super) async fn set_online(&mut self, online: bool) {
        if self.online != online {
            self.online = online;
            self.sync_all().await;
        }
    }

    /// Looks after everything: makes missing ports, and repairs addresses and routes that somebody removed.
    pub(super) async fn sync_all(&mut self) {
        let networks: Vec<_> = self.ports.keys().copied().collect();
        for network in networks {
            if self.ports.get(&network).is_some_and(|p| p.device.is_none()) {
                self.create(network).await;
            } else {
                self.sync(network).await;
            }
        }
    }

    /// Looks after the ports that there are.
    pub(super) async fn sync_present(&mut self) {
        let present = self.ports.iter().filter(|(_, port)| port.device.is_some());
        for network in present.map(|(network, _)| *network).collect::<Vec<_>>() {
            self.sync(network).await;
        }
    }

    /// Puts addresses and routes of one network right.
    pub(super) async fn sync(&mut self, network: NetworkId) {
        let settings = self.shared.state().networks.get(&network).map(|v| v.settings.clone());
        let settings = settings.unwrap_or_default();
        let devices = self.devices();
        let (Some(port), Some(netlink)) = (self.ports.get_mut(&network), &self.netlink) else { return };
        let before = std::mem::take(&mut port.refused);
        match apply(port, netlink, &settings, &devices, self.online).await {
            Ok(()) => {
                port.problem = None;
                let config = port.config.clone().filter(|_| port.device.is_some());
                let applied = config.map(|config| Applied {
                    config,
                    addresses: port.addresses.clone(),
                    refused: port.refused.clone(),
                });
                for refused in port.refused.iter().filter(|r| !before.contains(r)) {
                    let what = if refused.address { "address" } else { "route" };
                    tracing::warn!(%network, target = %refused.target, "the managed {what} is not used: {}", refused.reason);
                }
                // While the port could not be made, that is what people should see.
                if applied.is_some() {
                    self.show(network, applied, None);
                }
            }
            Err(error) => {
                let problem = error.to_string();
                if port.problem.as_ref() != Some(&problem) {
                    tracing::warn!(%network, "{problem}; it is tried again every 30 s");
                    port.problem = Some(problem.clone());
                }
                self.show(network, None, Some(problem));
            }
        }
        self.scan_groups(network).await;
    }

    /// Lets people see how far a port is.
    fn show(&self, network: NetworkId, applied: Option<Applied>, problem: Option<String>) {
        if let Some(view) = self.shared.state_mut().networks.get_mut(&network) {
            (view.applied, view.problem) = (applied, problem);
        }
        self.shared.waits.tell();
    }

    /// Tells the core which multicast groups each port listens to.
    pub(super) async fn scan_all_groups(&mut self) {
        let networks: Vec<_> = self.ports.keys().copied().collect();
        for network in networks {
            self.scan_groups(network).await;
        }
    }

    async fn scan_groups(&mut self, network: NetworkId) {
        let (Some(port), Some(netlink)) = (self.ports.get_mut(&network), &self.netlink) else { return };
        let Some((name, index)) = &port.device else { return };
        let Ok(all) = netlink.addresses().await else { return };
        let addresses = all.iter().filter(|a| a.index == *index).map(|a| a.prefix.ip);
        match multicast::groups(name, addresses) {
            Ok(groups) if groups != port.groups => {
                port.groups.clone_from(&groups);
                let _ = self
                    .shared
                    .engine
                    .post(move |core, now| core.set_multicast_groups(now, network, &groups));
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%network, %error, "cannot read the kernel's multicast groups"),
        }
    }
}

/// The subnets that other interfaces than our ports are connected to, by their addresses or by routes without a gateway.
fn connected(found: &Surroundings, devices: &[String]) -> Vec<Connected> {
    // A zerotier-one beside us has ports too; which of the two serves a network is the user's affair.
    let foreign = |name: &String| name != "lo" && !name.starts_with("zt") && !devices.contains(name);
    let by_address = found.addresses.iter().filter(|a| a.up).map(|a| (a.prefix.network(), a.index));
    let mut subnets: Vec<Connected> = by_address
        .chain(found.on_link.iter().copied())
        .filter_map(|(subnet, index)| {
            let interface = found.addresses.iter().find(|a| a.index == index)?.interface.clone();
            Some(Connected { subnet, interface })
        })
        .filter(|c| foreign(&c.interface) && scope(c.subnet.ip) != Scope::LinkLocal)
        .collect();
    subnets.dedup();
    subnets
}

/// Brings the kernel's state of one port to what its configuration and settings say. Goes on after an error and returns the
/// first.
async fn apply(
    port: &mut Port,
    netlink: &Netlink,
    settings: &NetworkSettings,
    devices: &[String],
    online: bool,
) -> Result<(), NetlinkError> {
    let (Some((_, index)), Some(config)) = (&port.device, &port.config) else { return Ok(()) };
    let index = *index;
    let mut first = Ok(());
    let mut note = |result: Result<(), NetlinkError>| {
        if first.is_ok() {
            first = result;
        }
    };
    let found = netlink.surroundings().await?;
    let connected = connected(&found, devices);
    let present: Vec<_> =
        found.addresses.into_iter().filter(|a| a.index == index).map(|a| a.prefix).collect();
    // Addresses that are about to go must not be chosen as a source.
    let kept: Vec<_> = present.iter().filter(|a| !port.addresses.contains(a)).copied().collect();
    let wanted = plan(settings, config, &kept, &connected, online);

    let addresses = steps(&port.addresses, &present, &wanted.addresses, addresses_clash);
    for address in addresses.remove {
        note(netlink.remove_address(index, address).await);
    }
    for address in addresses.add {
        note(netlink.add_address(index, address).await);
    }
    port.addresses.clone_from(&wanted.addresses);

    // Only now: removing an address takes the routes with it that use it as their source.
    let present = netlink.routes(index).await?;
    let routes = managed::steps(&port.routes, &present, &wanted.routes, routes_clash);
    for route in routes.remove {
        note(netlink.remove_route(index, &route).await);
    }
    for route in routes.add {
        note(netlink.add_route(index, &route).await);
    }
    port.routes = wanted.routes;
    port.refused = wanted.refused;
    first
}
