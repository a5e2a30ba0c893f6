//! Keeps one UDP socket per usable local address and port, while addresses come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::Prefix;

use super::engine::Stopped;
use super::shared::Shared;
use crate::core::path::SocketId;
use crate::os::interfaces::{Bindable, Choice, Exclusions, InterfaceUse, MAX_ADDRESSES, choose, listed};
use crate::os::links::Links;
use crate::os::netlink::{Netlink, Surroundings};
use crate::os::udp::{Buffers, Tie, UdpSocket, WANTED_BUFFER};

/// Reasons for leaving an address out that pass by themselves, or that say nothing of how people reach others.
const PASSING: [&str; 5] = [
    "the loopback interface",
    "a port of this node",
    "the interface is down",
    "not usable yet",
    "reaches no further than its link",
];

/// Ports that no service has for its own (RFC 6335, section 6).
const EPHEMERAL: std::ops::RangeInclusive<u16> = 49_152..=65_535;

/// A second port that is no better stays so long before it is another one.
const SPARE: Duration = Duration::from_secs(120);

/// A socket in use.
struct Bound {
    id: SocketId,
    socket: Arc<UdpSocket>,
    tie: Option<Tie>,
}

/// The sockets in use.
pub(super) struct Binder {
    netlink: Option<Netlink>,
    sockets: BTreeMap<(IpAddr, u16), Bound>,
    next_id: u32,
    /// Addresses whose socket sends into nothing, with the port of a second one, and since when that is it.
    spares: BTreeMap<IpAddr, (u16, Instant)>,
    /// Those that could not be bound: reported once.
    failing: BTreeSet<(IpAddr, u16)>,
    /// Our own ports, by which nothing is received.
    own_ports: BTreeSet<u32>,
    /// What probing was confined to last.
    confined: Option<Vec<Prefix>>,
    /// What was said last about addresses that are missing.
    said: Option<String>,
}

/// What should be.
struct Wanted {
    choice: Choice,
    sockets: BTreeMap<(IpAddr, u16), Option<Tie>>,
    /// Whether the user named the addresses.
    listed: bool,
}

impl Binder {
    /// Without `netlink` the wildcard addresses are bound.
    pub(super) fn new(netlink: Option<Netlink>) -> Self {
        Binder {
            netlink,
            sockets: BTreeMap::new(),
            next_id: 1,
            spares: BTreeMap::new(),
            failing: BTreeSet::new(),
            own_ports: BTreeSet::new(),
            confined: None,
            said: None,
        }
    }

    /// Binds what should be bound now and closes the rest. `own_ports` are the indices of our own TAP devices.
    pub(super) async fn refresh(&mut self, shared: &Shared, own_ports: BTreeSet<u32>) -> Result<(), Stopped> {
        let Wanted { choice, sockets: wanted, listed } = self.wanted(shared, &own_ports).await;
        let before: Vec<SocketId> = self.sockets.values().map(|bound| bound.id).collect();
        let missing = self.missing(&choice, listed);
        self.confine(shared, choice)?;
        self.close(shared, &wanted).await?;
        if own_ports != self.own_ports {
            self.own_ports = own_ports;
            self.sockets.values().for_each(|bound| bound.socket.refuse_from(&self.own_ports));
        }
        for (key, tie) in wanted {
            match self.sockets.get_mut(&key) {
                Some(bound) if bound.tie == tie => {}
                Some(bound) => {
                    bound.socket.tie(tie.as_ref());
                    bound.tie = tie;
                }
                None => self.bind(key, tie, listed),
            }
        }
        self.say(missing);
        if self.sockets.values().map(|bound| bound.id).eq(before) {
            return Ok(());
        }
        let sockets = self.show(shared);
        let listening: Vec<_> = sockets.iter().map(|socket| socket.local()).collect();
        tracing::info!(addresses = %list(&listening), "listening on UDP");
        if let Some(Buffers { receive, send }) = Buffers::smallest(&sockets)
            && receive.min(send) < WANTED_BUFFER
        {
            tracing::info!(
                receive,
                send,
                wanted = WANTED_BUFFER,
                "UDP buffers are smaller than wanted, which may cost packets in bursts: raise net.core.rmem_max and wmem_max"
            );
        }
        shared.engine.set_sockets(self.in_use()).await
    }

    /// Whether there is to be another socket beside one that sends into nothing, or in place of one that was bound beside it.
    pub(super) fn spare(&mut self, shared: &Shared, local: SocketAddr) -> bool {
        let (ip, now) = (local.ip(), Instant::now());
        let may = shared.state().conf.may_choose_port()
            && match self.spares.get(&ip) {
                None => self.spares.len() < MAX_ADDRESSES,
                Some((spare, since)) => *spare == local.port() && now - *since >= SPARE,
            };
        if may {
            let port = rand::random_range(EPHEMERAL);
            self.spares.insert(ip, (port, now));
            tracing::warn!(%local, port, "what leaves by this port stays without an answer: another one is used beside it; is it blocked?");
        }
        may
    }

    /// Closes sockets that broke; the next refresh binds others in their place.
    pub(super) async fn close_broken(
        &mut self,
        shared: &Shared,
        broken: &BTreeSet<SocketId>,
    ) -> Result<(), Stopped> {
        self.sockets.retain(|_, bound| !broken.contains(&bound.id));
        self.show(shared);
        // The threads that use them let go; then nobody holds their ports.
        shared.engine.set_sockets(self.in_use()).await
    }

    /// The sockets, each with the index of the interface that it cannot but send by.
    pub(super) fn ways(&self) -> Vec<(SocketAddr, Option<u32>)> {
        let way = |bound: &Bound| match &bound.tie {
            // IPv6 takes that for a preference.
            Some(Tie::Sending(index)) => Some(*index).filter(|_| bound.socket.local().is_ipv4()),
            Some(Tie::Both(index, _)) => Some(*index),
            None => None,
        };
        self.sockets.values().map(|bound| (bound.socket.local(), way(bound))).collect()
    }

    /// Closes what is not wanted any more, before others may need its port: a socket of all addresses keeps one of a single address
    /// out, and the other way round.
    async fn close(
        &mut self,
        shared: &Shared,
        wanted: &BTreeMap<(IpAddr, u16), Option<Tie>>,
    ) -> Result<(), Stopped> {
        self.failing.retain(|key| wanted.contains_key(key));
        let count = self.sockets.len();
        self.sockets.retain(|key, _| wanted.contains_key(key));
        if self.sockets.len() == count {
            return Ok(());
        }
        self.show(shared);
        // The threads that use them let go; then nobody holds them open.
        shared.engine.set_sockets(self.in_use()).await
    }

    fn in_use(&self) -> Vec<(SocketId, Arc<UdpSocket>)> {
        self.sockets.values().map(|bound| (bound.id, bound.socket.clone())).collect()
    }

    /// Lets people see the sockets.
    fn show(&self, shared: &Shared) -> Vec<Arc<UdpSocket>> {
        let sockets: Vec<_> = self.sockets.values().map(|bound| bound.socket.clone()).collect();
        let mut state = shared.state_mut();
        state.listening = sockets.iter().map(|socket| socket.local()).collect();
        state.sockets.clone_from(&sockets);
        sockets
    }

    /// Lets people see which interfaces are used, and keeps a node in a cloud from trying private addresses elsewhere.
    fn confine(&mut self, shared: &Shared, choice: Choice) -> Result<(), Stopped> {
        let cloud = {
            let mut state = shared.state_mut();
            if state.interfaces != choice.interfaces {
                for interface in &choice.interfaces {
                    for (ip, reason) in &interface.ignored {
                        tracing::debug!(interface = %interface.name, %ip, reason, "not listened on");
                    }
                }
                state.interfaces = choice.interfaces;
            }
            state.profile.cloud
        };
        let confined = cloud.then_some(choice.on_link);
        if confined != self.confined {
            self.confined.clone_from(&confined);
            shared.engine.post(move |core, _| core.confine_probes(confined))?;
        }
        Ok(())
    }

    async fn wanted(&self, shared: &Shared, own_ports: &BTreeSet<u32>) -> Wanted {
        let (exclusions, bind, ports) = {
            let state = shared.state();
            let settings = &state.conf.typed.settings;
            let exclusions = Exclusions {
                ports: own_ports.clone(),
                interface_prefixes: settings.interface_prefix_blacklist.clone(),
                allowed_prefixes: settings.interface_prefix_allow.clone(),
                prefixes: state.conf.blacklisted(),
            };
            let bind: Vec<IpAddr> = settings.bind.iter().map(|b| b.0).collect();
            let ports: Vec<u16> = state.ports.iter().copied().filter(|p| *p != 0).collect();
            (exclusions, bind, ports)
        };
        let found = self.look().await;
        let (choice, found, links) = match found {
            Some((found, links)) if bind.is_empty() => (choose(&found, &links, &exclusions), found, links),
            Some((found, links)) => (listed(&found, &exclusions, &bind), found, links),
            None => {
                let wildcards = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
                let ips = if bind.is_empty() { wildcards.to_vec() } else { bind.clone() };
                let bindable = ips.into_iter().map(|ip| Bindable { ip, interface: None }).collect();
                let choice = Choice { bindable, ..Choice::default() };
                (choice, Surroundings::default(), Links::default())
            }
        };
        let mut sockets = BTreeMap::new();
        for bindable in &choice.bindable {
            let tie = tie(bindable, &found, &links);
            let spare = self.spares.get(&bindable.ip).map(|(port, _)| port);
            sockets.extend(ports.iter().chain(spare).map(|port| ((bindable.ip, *port), tie.clone())));
        }
        Wanted { choice, sockets, listed: !bind.is_empty() }
    }

    async fn look(&self) -> Option<(Surroundings, Links)> {
        let netlink = self.netlink.as_ref()?;
        Some((netlink.surroundings().await.ok()?, netlink.links().await.ok()?))
    }

    fn bind(&mut self, key: (IpAddr, u16), tie: Option<Tie>, listed: bool) {
        let local = SocketAddr::new(key.0, key.1);
        match UdpSocket::bind(local, tie.as_ref()) {
            Ok(socket) => {
                socket.mark();
                socket.refuse_from(&self.own_ports);
                self.failing.remove(&key);
                let id = SocketId(self.next_id);
                self.sockets.insert(key, Bound { id, socket: Arc::new(socket), tie });
                self.next_id = self.next_id.wrapping_add(1);
            }
            Err(error) => {
                if !self.failing.insert(key) {
                    return;
                }
                match error.kind() {
                    io::ErrorKind::AddrNotAvailable if listed => tracing::warn!(
                        "settings.bind in local.conf names {}, which no interface of this machine has: correct it, or wait until it comes",
                        key.0
                    ),
                    // A vanished address is no news: the next change brings another refresh.
                    io::ErrorKind::AddrNotAvailable => {}
                    io::ErrorKind::AddrInUse => {
                        tracing::warn!(%local, %error, "cannot listen on this UDP address; is another program using the port?");
                    }
                    _ => tracing::warn!(%local, %error, "cannot listen on this UDP address"),
                }
            }
        }
    }

    /// What a person should know about addresses that are not used.
    fn missing(&self, choice: &Choice, listed: bool) -> Option<String> {
        if choice.cut > 0 {
            let cut = choice.cut;
            return Some(format!(
                "{cut} addresses of this machine are not listened on: at most {MAX_ADDRESSES} are; name those that matter in settings.bind"
            ));
        }
        let unused = unused(&choice.interfaces);
        if !choice.bindable.is_empty() || (unused.is_empty() && !listed) {
            return None;
        }
        Some(format!(
            "there is no UDP address to listen on, so that nobody can be reached ({}): name an address in settings.bind, or an interface in settings.interfacePrefixAllow, in local.conf",
            if unused.is_empty() {
                "settings.bind names none that can be used".to_owned()
            } else {
                unused.join("; ")
            }
        ))
    }

    /// Says it, unless it was said.
    fn say(&mut self, missing: Option<String>) {
        if let Some(text) = missing.as_ref().filter(|_| missing != self.said) {
            tracing::warn!("{text}");
        }
        self.said = missing;
    }
}

/// How a socket is tied to the interface that has its address.
///
/// IPv6 takes the interface of [`Tie::Sending`] for a preference among equals. With several ways to the internet that is too little.
fn tie(bindable: &Bindable, found: &Surroundings, links: &Links) -> Option<Tie> {
    let index = bindable.interface?;
    let name = || links.get(index).map(|link| link.name.clone());
    let several = found.uplinks.len() > 1 && found.uplinks.contains(&index);
    if links.in_vrf(index) || (bindable.ip.is_ipv6() && several) {
        return name().map(|name| Tie::Both(index, name));
    }
    Some(Tie::Sending(index))
}

/// Addresses that are left out for a reason that somebody can do something about.
fn unused(interfaces: &[InterfaceUse]) -> Vec<String> {
    let mut lines = Vec::new();
    for interface in interfaces {
        let lasting = |reason: &str| !PASSING.iter().any(|passing| reason.starts_with(passing));
        if let Some((ip, reason)) = interface.ignored.iter().find(|(_, reason)| lasting(reason)) {
            lines.push(format!("{} {ip}: {reason}", interface.name));
        }
    }
    // One line has to do.
    lines.truncate(4);
    lines
}

fn list(addresses: &[SocketAddr]) -> String {
    let texts: Vec<_> = addresses.iter().map(|a| protocol::inet::format_endpoint(*a)).collect();
    texts.join(" ")
}
