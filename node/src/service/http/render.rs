//! The node's state as JSON. Keys come out in byte order; times are milliseconds since the epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{
    Bond, BondLink, BufferLimits, Config, Health, Ignored, Interface, JoinedDns, JoinedNetwork, JoinedRoute,
    Moon, Offloads, Overlapping, Path, Peer, Planet, Profile, Refused, Root, Settings, Status, Subscription,
    UdpBuffers, UdpOffloads, Unsaved,
};
use protocol::inet::format_endpoint;
use protocol::metadata::ANNOUNCED_VERSION;
use protocol::netconf::{DEFAULT_MTU, NetworkConfig};
use protocol::permission::Managed;
use protocol::{Address, NetworkId, Span, Time, world::World};
use sha2::{Digest, Sha256};

use crate::core::info::{MoonInfo, NetworkInfo, NetworkStatus, PathInfo, PeerInfo, StatusInfo};
use crate::os::interfaces::InterfaceUse;
use crate::os::udp::{Buffers, UdpSocket, WANTED_BUFFER};
use crate::service::planets::Kept;
use crate::service::shared::{NetworkView, State};

/// The version that is spoken, by which tools decide whether we are recent enough.
fn spoken_version() -> [u16; 3] {
    let (major, minor, revision) = ANNOUNCED_VERSION;
    [major.into(), minor.into(), revision]
}

/// `GET /health`.
pub(super) fn health(online: bool, now: Time) -> Health {
    let [major, minor, revision] = spoken_version();
    Health {
        clock: now.as_ms(),
        online,
        version: format!("{major}.{minor}.{revision}"),
        version_major: major.into(),
        version_minor: minor.into(),
        version_rev: revision.into(),
        version_build: 0,
        ztnode_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
    }
}

/// `GET /status`. `leads`: networks of the controller whose certificates run ahead of the clock.
pub(super) fn status(
    status: &StatusInfo,
    state: &State,
    home: &str,
    now: Time,
    leads: BTreeMap<String, Span>,
) -> Status {
    let typed = &state.conf.typed.settings;
    let unsaved = |unsaved: &super::super::shared::Unsaved| Unsaved {
        path: unsaved.path.display().to_string(),
        error: unsaved.error.clone(),
    };
    Status {
        health: health(status.online, now),
        address: status.identity.address.to_string(),
        public_identity: status.identity.to_string(),
        tcp_fallback_active: false,
        planet_world_id: status.planet_id,
        planet_world_timestamp: status.planet_timestamp,
        config: Config { sections: state.conf.raw.clone(), settings: settings(status, state, home) },
        profile: Profile { name: state.profile.name().to_owned(), reason: state.profile.reason.to_string() },
        clones: state.clones.shown(typed.clones),
        collision: state.collision.shown(typed.collision),
        interfaces: Some(interfaces(&state.interfaces)),
        unknown_settings: state.conf.unknown_names(),
        unsaved: state.unsaved.iter().map(unsaved).collect(),
        refused: of_all(state, refused, |entry| &mut entry.network),
        overlapping: of_all(state, overlapping, |entry| &mut entry.network),
        certificate_lead: leads.into_iter().map(|(id, by)| (id, by.as_ms())).collect(),
    }
}

/// The settings in force over those that were written.
fn settings(status: &StatusInfo, state: &State, home: &str) -> Settings {
    let typed = &state.conf.typed.settings;
    let [primary, secondary, tertiary] = state.ports;
    let addresses = |list: &[std::net::SocketAddr]| list.iter().map(|a| format_endpoint(*a)).collect();
    Settings {
        written: state.conf.raw_settings(),
        // There is no TCP relay and no port mapping in this version, whatever is asked for.
        allow_tcp_fallback_relay: false,
        force_tcp_relay: false,
        port_mapping_enabled: false,
        home_dir: home.to_owned(),
        listening_on: addresses(&state.listening),
        udp_buffers: udp_buffers(&state.sockets),
        udp_offloads: udp_offloads(&state.sockets),
        surface_addresses: addresses(&status.surface_addresses),
        lanes: state.lanes as u64,
        primary_port: primary.into(),
        secondary_port: secondary.into(),
        tertiary_port: tertiary.into(),
        software_update: "disable".to_owned(),
        software_update_channel: typed.software_update_channel.as_deref().unwrap_or("release").to_owned(),
    }
}

/// What was granted, beside what was asked for and what limits it, and what found no room; none while there is no socket.
fn udp_buffers(sockets: &[Arc<UdpSocket>]) -> Option<UdpBuffers> {
    let Buffers { receive, send } = Buffers::smallest(sockets)?;
    let limit = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok();
        text.and_then(|text| text.trim().parse::<u64>().ok())
    };
    let octets = |octets: usize| i64::try_from(octets).unwrap_or(i64::MAX);
    Some(UdpBuffers {
        wanted: Some(octets(WANTED_BUFFER)),
        receive: octets(receive),
        send: octets(send),
        dropped: sockets.iter().map(|socket| socket.dropped().map(u64::from)).sum(),
        limits: BufferLimits { receive: limit("rmem_max"), send: limit("wmem_max") },
    })
}

/// What every socket can; none while there is none.
fn udp_offloads(sockets: &[Arc<UdpSocket>]) -> Option<UdpOffloads> {
    (!sockets.is_empty()).then(|| UdpOffloads {
        segment: Some(sockets.iter().all(|s| s.segments())),
        merge: Some(sockets.iter().all(|s| s.merges())),
    })
}

/// This machine's interfaces and what they are used for.
fn interfaces(interfaces: &[InterfaceUse]) -> Vec<Interface> {
    let one = |interface: &InterfaceUse| {
        let ignored = interface.ignored.iter();
        let ignored =
            ignored.map(|(ip, reason)| Ignored { address: ip.to_string(), reason: reason.to_string() });
        Interface {
            name: interface.name.clone(),
            kind: interface.kind.to_string(),
            used: !interface.bound.is_empty(),
            addresses: interface.bound.iter().map(ToString::to_string).collect(),
            ignored: ignored.collect(),
        }
    };
    interfaces.iter().map(one).collect()
}

/// Entries of all networks, each with its network.
fn of_all<T>(
    state: &State,
    entries: fn(&NetworkView) -> Vec<T>,
    network: fn(&mut T) -> &mut Option<String>,
) -> Vec<T> {
    let of_one = |(id, view): (&NetworkId, &NetworkView)| {
        let mut all = entries(view);
        all.iter_mut().for_each(|entry| *network(entry) = Some(id.to_string()));
        all
    };
    state.networks.iter().flat_map(of_one).collect()
}

/// What a network's configuration wants and this machine refuses, or has no use for.
fn refused(view: &NetworkView) -> Vec<Refused> {
    let refused = view.applied.iter().flat_map(|applied| &applied.refused);
    refused
        .map(|r| Refused {
            network: None,
            target: r.target.to_string(),
            kind: if r.address { "address" } else { "route" }.to_owned(),
            cause: r.cause.name().to_owned(),
            blocking: r.blocks(),
            reason: r.reason.to_string(),
        })
        .collect()
}

/// What of a network lies in wider routes of this machine.
fn overlapping(view: &NetworkView) -> Vec<Overlapping> {
    let overlapping = view.applied.iter().flat_map(|applied| &applied.overlapping);
    overlapping
        .map(|o| Overlapping {
            network: None,
            target: o.target.to_string(),
            with: o.with.to_string(),
            reason: o.text(),
        })
        .collect()
}

/// How a network stands, as the API says it.
pub(super) fn network_status(status: NetworkStatus) -> api::NetworkStatus {
    match status {
        NetworkStatus::RequestingConfiguration => api::NetworkStatus::RequestingConfiguration,
        NetworkStatus::Ok => api::NetworkStatus::Ok,
        NetworkStatus::AccessDenied => api::NetworkStatus::AccessDenied,
        NetworkStatus::NotFound => api::NetworkStatus::NotFound,
        NetworkStatus::PortError => api::NetworkStatus::PortError,
        NetworkStatus::AuthenticationRequired => api::NetworkStatus::AuthenticationRequired,
    }
}

/// One element of `GET /network`.
pub(super) fn network(info: &NetworkInfo, view: &NetworkView, own: Address) -> JoinedNetwork {
    let id = info.network.to_string();
    let config = info.config.as_deref();
    let dns = config.map(|c| &c.dns);
    // While the port is being made scripts already want to know what it will be called.
    let device = if view.device.is_empty() && info.port_error == 0 {
        protocol::derive::interface_name(info.network, 0)
    } else {
        view.device.clone()
    };
    let route = |r: &protocol::netconf::Route| JoinedRoute {
        target: r.target.to_string(),
        via: r.via.map(|v| v.to_string()),
        flags: r.flags.into(),
        metric: r.metric.into(),
    };
    let sso = config.map(|c| &c.sso).filter(|s| s.enabled);
    let url = info.authentication_url.as_deref().or(sso.map(|s| s.authentication_url.as_str()));
    JoinedNetwork {
        nwid: id.clone(),
        id,
        mac: info.mac.to_string(),
        name: config.map_or("", |c| c.name.as_str()).to_owned(),
        status: network_status(info.status),
        kind: if config.is_some_and(|c| c.public) { "PUBLIC" } else { "PRIVATE" }.to_owned(),
        mtu: config.map_or(DEFAULT_MTU, |c| c.mtu).into(),
        dhcp: false,
        bridge: config.is_some_and(|c| c.is_active_bridge(own)),
        broadcast_enabled: config.is_some_and(NetworkConfig::broadcast),
        port_error: info.port_error.into(),
        netconf_revision: config.map_or(0, |c| c.revision),
        port_device_name: device,
        offloads: view.offloads.map(|o| Offloads { tso: o.tso, uso: o.uso, checksum: o.checksum }),
        allow_managed: view.settings.managed != Managed::Nothing,
        allow_managed_within: match &view.settings.managed {
            Managed::Within(list) => list.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        },
        settings_problem: view.settings_problem.clone(),
        allow_global: view.settings.allow_global,
        allow_default: view.settings.allow_default,
        allow_dns: view.settings.allow_dns,
        assigned_addresses: config.iter().flat_map(|c| &c.addresses).map(ToString::to_string).collect(),
        routes: config.iter().flat_map(|c| &c.routes).map(route).collect(),
        refused: refused(view),
        overlapping: overlapping(view),
        problem: view.problem.clone(),
        multicast_subscriptions: info
            .multicast_groups
            .iter()
            .map(|g| Subscription { mac: g.mac.to_string(), adi: g.adi.into() })
            .collect(),
        dns: JoinedDns {
            domain: dns.map_or("", |d| d.domain.as_str()).to_owned(),
            servers: dns.iter().flat_map(|d| &d.servers).map(ToString::to_string).collect(),
        },
        sso_enabled: url.map(|_| true),
        authentication_url: url.map(str::to_owned),
        authentication_expiry_time: url
            .map(|_| sso.and_then(|s| s.authentication_expiry).map_or(0, Time::as_ms)),
    }
}

/// One element of `GET /peer`.
pub(super) fn peer(info: &PeerInfo) -> Peer {
    let [major, minor, revision] = match info.version {
        Some((a, b, c)) => [i64::from(a), i64::from(b), i64::from(c)],
        None => [-1; 3],
    };
    let path = |p: &PathInfo| Path {
        address: format_endpoint(p.address),
        last_send: p.last_send.map_or(0, Time::as_ms),
        last_receive: p.last_receive.map_or(0, Time::as_ms),
        trusted_path_id: p.trusted_path_id,
        active: p.active,
        expired: !p.active,
        preferred: p.preferred,
        local_socket: p.socket.into(),
        local_port: 0,
        mtu: i64::try_from(p.mtu).ok(),
        mtu_source: p.mtu_source.name().to_owned(),
        link: BondLink::default(),
    };
    Peer {
        address: info.address.to_string(),
        version_major: Some(major),
        version_minor: minor,
        version_rev: revision,
        version: format!("{major}.{minor}.{revision}"),
        latency: info.latency.map_or(-1, Span::as_ms),
        role: info.role.name().to_owned(),
        is_bonded: false,
        tunneled: info.tunneled,
        paths: info.paths.iter().map(path).collect(),
        bond: Bond::default(),
    }
}

/// One element of `GET /moon`, and the answer while a moon is waited for.
pub(super) fn moon(info: &MoonInfo) -> Moon {
    let id = format!("{:016x}", info.id);
    match &info.world {
        Some(world) => Moon { waiting: Some(false), ..known(id, world) },
        None => Moon { id, waiting: Some(true), ..Moon::default() },
    }
}

fn known(id: String, world: &World) -> Moon {
    let root = |root: &protocol::world::Root| Root {
        identity: root.identity.to_string(),
        stable_endpoints: root.endpoints.iter().map(|e| format_endpoint(*e)).collect(),
    };
    Moon {
        id,
        timestamp: world.timestamp,
        signature: Some(hex(&world.signature)),
        updates_must_be_signed_by: Some(hex(&world.must_sign)),
        roots: world.roots.iter().map(root).collect(),
        waiting: None,
        seed: None,
    }
}

/// `GET /planet`.
pub(super) fn planet(world: &World, kept: Option<Kept>) -> Planet {
    Planet {
        world: known(format!("{:016x}", world.id), world),
        sha256: hex(&Sha256::digest(world.to_bytes())),
        replaceable: kept.is_none(),
        kept_because: kept.map(|kept| kept.name().to_owned()),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
