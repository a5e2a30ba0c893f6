//! Keeps one UDP socket per usable local address and port, while addresses come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use protocol::Prefix;

use super::engine::Stopped;
use super::shared::Shared;
use crate::core::path::SocketId;
use crate::os::interfaces::{Bindable, Choice, Exclusions, choose};
use crate::os::netlink::Netlink;
use crate::os::udp::{Buffers, UdpSocket, WANTED_BUFFER};

/// The sockets in use.
pub(super) struct Binder {
    netlink: Option<Netlink>,
    sockets: BTreeMap<(Bindable, u16), (SocketId, Arc<UdpSocket>)>,
    next_id: u32,
    /// Those that could not be bound: reported once.
    failing: BTreeSet<(Bindable, u16)>,
    /// What probing was confined to last.
    confined: Option<Vec<Prefix>>,
}

impl Binder {
    /// Without `netlink` the wildcard addresses are bound.
    pub(super) fn new(netlink: Option<Netlink>) -> Self {
        Binder { netlink, sockets: BTreeMap::new(), next_id: 1, failing: BTreeSet::new(), confined: None }
    }

    /// Binds what should be bound now and closes the rest. `own_ports` are the names of our own TAP devices.
    pub(super) async fn refresh(&mut self, shared: &Shared, own_ports: Vec<String>) -> Result<(), Stopped> {
        let (choice, ports) = self.wanted(shared, own_ports).await;
        let addresses = &choice.bindable;
        let wanted: BTreeSet<_> =
            addresses.iter().flat_map(|a| ports.iter().map(move |port| (a.clone(), *port))).collect();
        let before: Vec<_> = self.sockets.keys().cloned().collect();
        self.confine(shared, choice)?;
        self.sockets.retain(|key, _| wanted.contains(key));
        self.failing.retain(|key| wanted.contains(key));
        for key in wanted {
            if !self.sockets.contains_key(&key) {
                self.bind(key);
            }
        }
        if before.iter().eq(self.sockets.keys()) {
            return Ok(());
        }
        let listening: Vec<_> = self.sockets.values().map(|(_, socket)| socket.local()).collect();
        tracing::info!(addresses = %list(&listening), "listening on UDP");
        let sockets: Vec<_> = self.sockets.values().map(|(_, socket)| socket.clone()).collect();
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
        {
            let mut state = shared.state_mut();
            (state.listening, state.sockets) = (listening, sockets);
        }
        shared.engine.set_sockets(self.sockets.values().cloned().collect()).await
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

    async fn wanted(&self, shared: &Shared, own_ports: Vec<String>) -> (Choice, Vec<u16>) {
        let (exclusions, bind, ports) = {
            let state = shared.state();
            let settings = &state.conf.typed.settings;
            let exclusions = Exclusions {
                ports: own_ports,
                interface_prefixes: settings.interface_prefix_blacklist.clone(),
                prefixes: state.conf.blacklisted(),
            };
            let bind: Vec<IpAddr> = settings.bind.iter().map(|b| b.0).collect();
            (exclusions, bind, state.ports.iter().copied().filter(|p| *p != 0).collect())
        };
        let anywhere = |ip| Bindable { ip, interface: None };
        let found = match &self.netlink {
            Some(netlink) => netlink.surroundings().await.ok(),
            None => None,
        };
        let mut choice = found.as_ref().map(|found| choose(found, &exclusions)).unwrap_or_default();
        if !bind.is_empty() {
            choice.bindable = bind.into_iter().map(anywhere).collect();
        } else if found.is_none() {
            let wildcards = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
            choice.bindable = wildcards.map(anywhere).into();
        }
        (choice, ports)
    }

    fn bind(&mut self, key: (Bindable, u16)) {
        let local = SocketAddr::new(key.0.ip, key.1);
        let interface = key.0.interface.as_ref().map(|(name, _)| name.as_str());
        match UdpSocket::bind(local, interface) {
            Ok(socket) => {
                self.failing.remove(&key);
                self.sockets.insert(key, (SocketId(self.next_id), Arc::new(socket)));
                self.next_id = self.next_id.wrapping_add(1);
            }
            Err(error) => {
                // A vanished address is no news: the next change brings another refresh.
                if self.failing.insert(key) && error.kind() != io::ErrorKind::AddrNotAvailable {
                    tracing::warn!(%local, %error, "cannot listen on this UDP address; is another program using the port?");
                }
            }
        }
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    let texts: Vec<_> = addresses.iter().map(|a| protocol::inet::format_endpoint(*a)).collect();
    texts.join(" ")
}
