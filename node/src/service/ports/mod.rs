//! The virtual Ethernet ports of the joined networks: making them, and keeping MTU, addresses, routes and multicast groups as
//! the configurations say.

mod apply;
mod around;
mod damper;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use nix::net::if_::if_nametoindex;
use protocol::derive::interface_name;
use protocol::inet::Prefix;
use protocol::multicast_group::MulticastGroup;
use protocol::netconf::{DEFAULT_MTU, NetworkConfig};
use protocol::permission::Managed;
use protocol::{Address, Mac, NetworkId};
use tokio::time::Instant;

use self::apply::{Lack, Tools, apply};
use self::around::Neighbour;
use self::damper::Damper;
use super::in_place::InPlace;
use super::local_conf::TapSetting;
use super::managed::{self, Overlap, Refused};
use super::shared::{Applied, Shared};
use crate::dataplane::vnet::Offloads;
use crate::os::multicast;
use crate::os::netlink::{HostRoute, Netlink, Noticed, Route};
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
    overlapping: Vec<Overlap>,
    /// Targets whose packets go another way, and which.
    rivals: Vec<(Prefix, HostRoute)>,
    /// The targets for which that was looked at.
    looked_at: BTreeSet<Prefix>,
    damper: Damper,
    /// When something is to be tried again.
    due: Option<Instant>,
    /// The last problem, so that it is reported once.
    problem: Option<String>,
}

impl Port {
    fn name(&self) -> &str {
        self.device.as_ref().map_or("", |(name, _)| name.as_str())
    }

    fn in_place(&self, index: u32) -> InPlace {
        InPlace {
            index,
            addresses: self.addresses.clone(),
            routes: self.routes.clone(),
            lost: self.rivals.iter().map(|(target, _)| *target).collect(),
        }
    }

    /// Everything a route to which may take traffic away.
    fn targets(&self) -> BTreeSet<Prefix> {
        let Some(config) = &self.config else { return BTreeSet::new() };
        let width = |ip: IpAddr| if ip.is_ipv4() { 32 } else { 128 };
        let addresses =
            config.addresses.iter().flat_map(|a| [a.network(), Prefix { ip: a.ip, bits: width(a.ip) }]);
        let routes = config.routes.iter().flat_map(|route| managed::halves(route.target.network()));
        addresses.chain(routes).collect()
    }
}

/// All ports.
pub(super) struct Ports {
    shared: Arc<Shared>,
    netlink: Option<Netlink>,
    own: Address,
    ports: BTreeMap<NetworkId, Port>,
    online: bool,
    /// Something of the routes that are wanted may have changed.
    routes_changed: bool,
}

impl Ports {
    pub(super) fn new(shared: Arc<Shared>, netlink: Option<Netlink>, own: Address) -> Self {
        Ports { shared, netlink, own, ports: BTreeMap::new(), online: false, routes_changed: false }
    }

    /// Indices of our devices.
    pub(super) fn indices(&self) -> BTreeSet<u32> {
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
                let _ = self.shared.engine.post(move |core, _| {
                    if let Some(joined) = core.joined(network) {
                        joined.set_port_error(0);
                    }
                });
                self.sync(network).await;
            }
            Err(problem) => {
                if port.problem.as_ref() != Some(&problem) {
                    tracing::warn!(%network, "PORT_ERROR: {problem}");
                    port.problem = Some(problem.clone());
                }
                self.show(network, None, Some(problem));
                let _ = self.shared.engine.post(move |core, _| {
                    if let Some(joined) = core.joined(network) {
                        joined.set_port_error(CREATION_FAILED);
                    }
                });
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
        netlink.adopt(index);
        let mtu = self.ports.get(&network).and_then(|p| p.config.as_ref()).map_or(DEFAULT_MTU, |c| c.mtu);
        let mac = Mac::for_member(network, self.own);
        netlink.configure_link(index, mac, mtu.into()).await.map_err(|e| e.to_string())?;
        self.shared.engine.add_port(network, tap).await.map_err(|e| e.to_string())?;
        Ok((name, index, offloads))
    }

    fn free_name(&self, network: NetworkId) -> Option<String> {
        let mapped = self.shared.home.networks.mapped_device(network);
        let derived = (0..NAME_TRIALS).map(|trial| interface_name(network, trial));
        mapped.into_iter().chain(derived).find(|name| !tap::exists(name))
    }

    /// A network's configuration changed.
    pub(super) async fn configure(&mut self, network: NetworkId, config: Arc<NetworkConfig>) {
        let Some(port) = self.ports.get_mut(&network) else { return };
        let mtu_changed = port.config.as_ref().map_or(DEFAULT_MTU, |c| c.mtu) != config.mtu;
        tracing::debug!(%network, name = %config.name, revision = config.revision, "configuration");
        port.config = Some(config.clone());
        port.damper.forget();
        if let Some(netlink) = &self.netlink {
            netlink.want(self.ports.values().flat_map(Port::targets).collect());
        }
        let Some(port) = self.ports.get_mut(&network) else { return };
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
        self.sync_those_that_gave_way(network).await;
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

    /// Looks after everything: makes missing ports, and repairs what somebody changed, if that was not noticed at once.
    pub(super) async fn sync_all(&mut self) {
        if let Some(netlink) = &self.netlink {
            netlink.make_sure();
        }
        self.routes_changed = true;
        let networks: Vec<_> = self.ports.keys().copied().collect();
        for network in networks {
            if self.ports.get(&network).is_some_and(|p| p.device.is_none()) {
                self.create(network).await;
            } else {
                self.sync(network).await;
            }
        }
        self.routes_changed = false;
    }

    /// The kernel's state changed.
    pub(super) async fn noticed(&mut self, noticed: Noticed) {
        self.routes_changed = noticed.routes;
        let present = self.ports.iter().filter(|(_, port)| port.device.is_some());
        for network in present.map(|(network, _)| *network).collect::<Vec<_>>() {
            self.put_right(network).await;
        }
        self.routes_changed = false;
    }

    /// When something has to be tried again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.ports.values().filter_map(|port| port.due).min()
    }

    /// Tries what is due.
    pub(super) async fn sync_due(&mut self) {
        let now = Instant::now();
        let due = self.ports.iter().filter(|(_, port)| port.due.is_some_and(|due| due <= now));
        for network in due.map(|(network, _)| *network).collect::<Vec<_>>() {
            if self.has_left(network).await {
                tracing::info!(%network, "somebody moved the port to another namespace; another is made here");
                self.lost(network).await;
            } else {
                self.sync(network).await;
            }
        }
    }

    /// Whether a network's interface is not in this namespace any more. Who has it manage nothing there may have put it elsewhere.
    async fn has_left(&self, network: NetworkId) -> bool {
        let (Some(netlink), Some(port)) = (&self.netlink, self.ports.get(&network)) else { return false };
        let Some((_, index)) = port.device else { return false };
        let settings = self.shared.state().networks.get(&network).map(|view| view.settings.managed.clone());
        settings != Some(Managed::Nothing)
            && netlink.refresh().await.is_ok()
            && netlink.look(|picture| picture.link(index).is_none())
    }

    /// The user allows something else: whatever was tried in vain is tried anew.
    pub(super) async fn settings_changed(&mut self, network: NetworkId) {
        if let Some(port) = self.ports.get_mut(&network) {
            port.damper.forget();
        }
        self.sync(network).await;
    }

    /// Puts addresses and routes of one network right, and looks which groups the machine listens to there.
    pub(super) async fn sync(&mut self, network: NetworkId) {
        self.put_right(network).await;
        match multicast::table() {
            Ok(table) => self.take_groups(network, &table),
            Err(error) => tracing::debug!(%network, %error, "cannot read the kernel's multicast groups"),
        }
    }

    async fn put_right(&mut self, network: NetworkId) {
        let held =
            |port: Option<&Port>| port.map(|p| (p.addresses.clone(), p.routes.clone())).unwrap_or_default();
        let before = held(self.ports.get(&network));
        self.sync_one(network).await;
        let after = held(self.ports.get(&network));
        let kept =
            before.0.iter().all(|a| after.0.contains(a)) && before.1.iter().all(|r| after.1.contains(r));
        if !kept {
            self.sync_those_that_gave_way(network).await;
        }
    }

    /// What one network gave up may be what others wait for.
    async fn sync_those_that_gave_way(&mut self, network: NetworkId) {
        let others = self.ports.iter().filter(|(other, port)| **other != network && !port.refused.is_empty());
        for other in others.map(|(other, _)| *other).collect::<Vec<_>>() {
            self.sync_one(other).await;
        }
    }

    async fn sync_one(&mut self, network: NetworkId) {
        let settings = self.shared.state().networks.get(&network).map(|v| v.settings.clone());
        let settings = settings.unwrap_or_default();
        let own = self.indices();
        let others: Vec<Neighbour> = self
            .ports
            .iter()
            .filter(|(other, port)| **other != network && port.device.is_some())
            .map(|(other, port)| Neighbour {
                network: *other,
                device: port.name().to_owned(),
                addresses: port.addresses.clone(),
                routes: port.routes.clone(),
            })
            .collect();
        self.follow_name(network);
        let (Some(port), Some(netlink)) = (self.ports.get_mut(&network), &self.netlink) else { return };
        let before = (std::mem::take(&mut port.refused), std::mem::take(&mut port.overlapping));
        port.due = None;
        let tools = Tools {
            netlink,
            settings: &settings,
            own: &own,
            others: &others,
            online: self.online,
            routes_changed: self.routes_changed,
        };
        let result = apply(port, &tools).await;
        for refused in port.refused.iter().filter(|r| !before.0.contains(r)) {
            let what = if refused.address { "address" } else { "route" };
            tracing::warn!(%network, target = %refused.target, "the managed {what} is not used: {}", refused.reason);
        }
        for overlap in port.overlapping.iter().filter(|o| !before.1.contains(o)) {
            tracing::warn!(%network, target = %overlap.target, "{}", overlap.text());
        }
        let config = port.config.clone().filter(|_| port.device.is_some());
        let applied = config.map(|config| Applied {
            config,
            in_place: port.in_place(port.device.as_ref().map_or(0, |(_, index)| *index)),
            refused: port.refused.clone(),
            overlapping: port.overlapping.clone(),
        });
        match result {
            Ok(()) => {
                port.problem = None;
                // While the port could not be made, that is what people should see.
                if applied.is_some() {
                    self.show(network, applied, None);
                }
            }
            Err(lack) => {
                let problem = lack.to_string();
                if port.problem.as_ref() != Some(&problem) {
                    tracing::warn!(%network, "{problem}");
                    port.problem = Some(problem.clone());
                }
                // What others take away is refused all the same.
                let applied = applied.filter(|_| !matches!(lack, Lack::Error(_)));
                self.show(network, applied, Some(problem));
            }
        }
    }

    /// Somebody may have renamed the interface.
    fn follow_name(&mut self, network: NetworkId) {
        let (Some(port), Some(netlink)) = (self.ports.get_mut(&network), &self.netlink) else { return };
        let Some((name, index)) = &mut port.device else { return };
        let Some(now) = netlink.look(|picture| picture.link(*index).map(|link| link.name.clone())) else {
            return;
        };
        if *name == now {
            return;
        }
        tracing::info!(%network, from = %name, to = %now, "the port was renamed");
        name.clone_from(&now);
        if let Some(view) = self.shared.state_mut().networks.get_mut(&network) {
            view.device = now;
        }
    }

    /// Lets people see how far a port is.
    fn show(&self, network: NetworkId, applied: Option<Applied>, problem: Option<String>) {
        if let Some(view) = self.shared.state_mut().networks.get_mut(&network) {
            (view.applied, view.problem) = (applied, problem);
        }
        self.shared.waits.tell();
    }

    /// Tells the core which multicast groups each port listens to.
    pub(super) fn scan_all_groups(&mut self) {
        let Ok(table) = multicast::table() else { return };
        let networks: Vec<_> = self.ports.keys().copied().collect();
        for network in networks {
            self.take_groups(network, &table);
        }
    }

    fn take_groups(&mut self, network: NetworkId, table: &str) {
        let (Some(port), Some(netlink)) = (self.ports.get_mut(&network), &self.netlink) else { return };
        let Some((_, index)) = port.device else { return };
        let addresses: Vec<_> = netlink.look(|picture| picture.addresses_of(index).map(|a| a.ip).collect());
        let groups = multicast::groups(table, index, addresses);
        if groups != port.groups {
            port.groups.clone_from(&groups);
            let _ = self.shared.engine.post(move |core, now| {
                if let Some(joined) = core.joined(network) {
                    joined.set_multicast_groups(now, &groups);
                }
            });
        }
    }
}
