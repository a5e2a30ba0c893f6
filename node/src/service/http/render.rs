//! The node's state as JSON. Keys come out in byte order; times are milliseconds since the epoch.

use std::sync::Arc;

use protocol::inet::format_endpoint;
use protocol::metadata::ANNOUNCED_VERSION;
use protocol::netconf::{DEFAULT_MTU, NetworkConfig};
use protocol::permission::Managed;
use protocol::{Address, NetworkId, world::World};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::core::info::{MoonInfo, NetworkInfo, PeerInfo, StatusInfo};
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
pub(super) fn health(online: bool, now: i64) -> Value {
    let [major, minor, revision] = spoken_version();
    json!({
        "clock": now,
        "online": online,
        "version": format!("{major}.{minor}.{revision}"),
        "versionMajor": major,
        "versionMinor": minor,
        "versionRev": revision,
        "versionBuild": 0,
        "ztnodeVersion": env!("CARGO_PKG_VERSION"),
    })
}

/// `GET /status`.
pub(super) fn status(status: &StatusInfo, state: &State, home: &str, now: i64) -> Value {
    let mut settings = state.conf.raw_settings();
    let typed = &state.conf.typed.settings;
    let [primary, secondary, tertiary] = state.ports;
    let addresses = |list: &[std::net::SocketAddr]| -> Value {
        list.iter().map(|a| Value::from(format_endpoint(*a))).collect()
    };
    for (key, value) in [
        // There is no TCP relay and no port mapping in this version, whatever is asked for.
        ("allowTcpFallbackRelay", json!(false)),
        ("forceTcpRelay", json!(false)),
        ("portMappingEnabled", json!(false)),
        ("homeDir", json!(home)),
        ("listeningOn", addresses(&state.listening)),
        ("udpBuffers", udp_buffers(&state.sockets)),
        ("udpOffloads", udp_offloads(&state.sockets)),
        ("surfaceAddresses", addresses(&status.surface_addresses)),
        ("lanes", json!(state.lanes)),
        ("primaryPort", json!(primary)),
        ("secondaryPort", json!(secondary)),
        ("tertiaryPort", json!(tertiary)),
        ("softwareUpdate", json!("disable")),
        ("softwareUpdateChannel", json!(typed.software_update_channel.as_deref().unwrap_or("release"))),
    ] {
        settings.insert(key.into(), value);
    }
    let mut config = state.conf.raw.clone();
    config.insert("settings".into(), Value::Object(settings));
    let mut object = health(status.online, now);
    if let Value::Object(fields) = &mut object {
        let more = json!({
            "address": status.identity.address.to_string(),
            "publicIdentity": status.identity.to_string(),
            "tcpFallbackActive": false,
            "planetWorldId": status.planet_id,
            "planetWorldTimestamp": status.planet_timestamp,
            "config": config,
            "profile": {"name": state.profile.name(), "reason": state.profile.reason},
            "clones": state.clones.to_json(typed.clones),
            "collision": state.collision.to_json(typed.collision),
            "interfaces": interfaces(&state.interfaces),
            "unknownSettings": state.conf.unknown_names(),
            "unsaved": state.unsaved.iter().map(|unsaved| json!({
                "path": unsaved.path.display().to_string(),
                "error": unsaved.error,
            })).collect::<Vec<_>>(),
            "refused": of_all(state, refused),
            "overlapping": of_all(state, overlapping),
        });
        if let Value::Object(more) = more {
            fields.extend(more);
        }
    }
    object
}

/// What was granted, beside what was asked for and what limits it, and what found no room; `null` while there is no socket.
fn udp_buffers(sockets: &[Arc<UdpSocket>]) -> Value {
    let Some(Buffers { receive, send }) = Buffers::smallest(sockets) else { return Value::Null };
    let limit = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok();
        text.and_then(|text| text.trim().parse::<u64>().ok())
    };
    let dropped: Option<u64> = sockets.iter().map(|socket| socket.dropped().map(u64::from)).sum();
    json!({
        "wanted": WANTED_BUFFER,
        "receive": receive,
        "send": send,
        "dropped": dropped,
        "limits": {"net.core.rmem_max": limit("rmem_max"), "net.core.wmem_max": limit("wmem_max")},
    })
}

/// What every socket can; `null` while there is none.
fn udp_offloads(sockets: &[Arc<UdpSocket>]) -> Value {
    if sockets.is_empty() {
        return Value::Null;
    }
    json!({"segment": sockets.iter().all(|s| s.segments()), "merge": sockets.iter().all(|s| s.merges())})
}

/// This machine's interfaces and what they are used for.
fn interfaces(interfaces: &[InterfaceUse]) -> Value {
    interfaces
        .iter()
        .map(|interface| {
            let ignored = interface.ignored.iter();
            json!({
                "name": interface.name,
                "kind": interface.kind,
                "used": !interface.bound.is_empty(),
                "addresses": interface.bound.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "ignored": ignored.map(|(ip, reason)| json!({"address": ip.to_string(), "reason": reason})).collect::<Vec<_>>(),
            })
        })
        .collect()
}

/// Entries of all networks, each with its network.
fn of_all(state: &State, entries: fn(&NetworkView) -> Vec<Value>) -> Vec<Value> {
    let of_one = |(id, view): (&NetworkId, &NetworkView)| {
        let mut all = entries(view);
        all.iter_mut().for_each(|entry| entry["network"] = json!(id.to_string()));
        all
    };
    state.networks.iter().flat_map(of_one).collect()
}

/// What a network's configuration wants and this machine refuses, or has no use for.
fn refused(view: &NetworkView) -> Vec<Value> {
    let refused = view.applied.iter().flat_map(|applied| &applied.refused);
    let kind = |address| if address { "address" } else { "route" };
    refused
        .map(|r| {
            json!({
                "target": r.target.to_string(),
                "kind": kind(r.address),
                "cause": r.cause.name(),
                "blocking": r.blocks(),
                "reason": r.reason,
            })
        })
        .collect()
}

/// What of a network lies in wider routes of this machine.
fn overlapping(view: &NetworkView) -> Vec<Value> {
    let overlapping = view.applied.iter().flat_map(|applied| &applied.overlapping);
    overlapping
        .map(|o| json!({"target": o.target.to_string(), "with": o.with.to_string(), "reason": o.text()}))
        .collect()
}

/// One element of `GET /network`.
pub(super) fn network(info: &NetworkInfo, view: &NetworkView, own: Address) -> Value {
    let id = info.network.to_string();
    let config = info.config.as_deref();
    let strings = |items: Vec<String>| Value::from(items);
    let dns = config.map(|c| &c.dns);
    // While the port is being made scripts already want to know what it will be called.
    let device = if view.device.is_empty() && info.port_error == 0 {
        protocol::derive::interface_name(info.network, 0)
    } else {
        view.device.clone()
    };
    let mut object = json!({
        "id": id,
        "nwid": id,
        "mac": info.mac.to_string(),
        "name": config.map_or("", |c| c.name.as_str()),
        "status": info.status.name(),
        "type": if config.is_some_and(|c| c.public) { "PUBLIC" } else { "PRIVATE" },
        "mtu": config.map_or(DEFAULT_MTU, |c| c.mtu),
        "dhcp": false,
        "bridge": config.is_some_and(|c| c.is_active_bridge(own)),
        "broadcastEnabled": config.is_some_and(NetworkConfig::broadcast),
        "portError": info.port_error,
        "netconfRevision": config.map_or(0, |c| c.revision),
        "portDeviceName": device,
        "offloads": view.offloads.map(|o| json!({"tso": o.tso, "uso": o.uso, "checksum": o.checksum})),
        "allowManaged": view.settings.managed != Managed::Nothing,
        "allowManagedWithin": match &view.settings.managed {
            Managed::Within(list) => strings(list.iter().map(ToString::to_string).collect()),
            _ => json!([]),
        },
        "settingsProblem": view.settings_problem,
        "allowGlobal": view.settings.allow_global,
        "allowDefault": view.settings.allow_default,
        "allowDNS": view.settings.allow_dns,
        "assignedAddresses": strings(config.iter().flat_map(|c| &c.addresses).map(ToString::to_string).collect()),
        "routes": config.iter().flat_map(|c| &c.routes).map(|r| json!({
            "target": r.target.to_string(),
            "via": r.via.map(|v| v.to_string()),
            "flags": r.flags,
            "metric": r.metric,
        })).collect::<Vec<_>>(),
        "refused": refused(view),
        "overlapping": overlapping(view),
        "problem": view.problem,
        "multicastSubscriptions": info.multicast_groups.iter().map(|g| json!({
            "mac": g.mac.to_string(),
            "adi": g.adi,
        })).collect::<Vec<_>>(),
        "dns": {
            "domain": dns.map_or("", |d| d.domain.as_str()),
            "servers": strings(dns.iter().flat_map(|d| &d.servers).map(ToString::to_string).collect()),
        },
    });
    let sso = config.map(|c| &c.sso).filter(|s| s.enabled);
    if let Value::Object(fields) = &mut object
        && (sso.is_some() || info.authentication_url.is_some())
    {
        let url = info.authentication_url.as_deref().or(sso.map(|s| s.authentication_url.as_str()));
        fields.insert("ssoEnabled".into(), true.into());
        fields.insert("authenticationURL".into(), url.unwrap_or_default().into());
        fields.insert("authenticationExpiryTime".into(), sso.map_or(0, |s| s.authentication_expiry).into());
    }
    object
}

/// One element of `GET /peer`.
pub(super) fn peer(info: &PeerInfo) -> Value {
    let [major, minor, revision] = match info.version {
        Some((a, b, c)) => [i32::from(a), i32::from(b), i32::from(c)],
        None => [-1; 3],
    };
    json!({
        "address": info.address.to_string(),
        "versionMajor": major,
        "versionMinor": minor,
        "versionRev": revision,
        "version": format!("{major}.{minor}.{revision}"),
        "latency": info.latency_ms.map_or(-1, i64::from),
        "role": info.role.name(),
        "isBonded": false,
        "tunneled": info.tunneled,
        "paths": info.paths.iter().map(|p| json!({
            "address": format_endpoint(p.address),
            "lastSend": p.last_send,
            "lastReceive": p.last_receive,
            "trustedPathId": p.trusted_path_id,
            "active": p.active,
            "expired": !p.active,
            "preferred": p.preferred,
            "localSocket": p.socket,
            "localPort": 0,
            "mtu": p.mtu,
            "mtuSource": p.mtu_source.name(),
        })).collect::<Vec<_>>(),
    })
}

/// One element of `GET /moon`, and the answer while a moon is waited for.
pub(super) fn moon(info: &MoonInfo) -> Value {
    let id = format!("{:016x}", info.id);
    match &info.world {
        Some(world) => known_moon(&id, world),
        None => json!({
            "id": id,
            "timestamp": 0,
            "signature": null,
            "updatesMustBeSignedBy": null,
            "roots": [],
            "waiting": true,
        }),
    }
}

fn known_moon(id: &str, world: &World) -> Value {
    json!({
        "id": id,
        "timestamp": world.timestamp,
        "signature": hex(&world.signature),
        "updatesMustBeSignedBy": hex(&world.must_sign),
        "roots": world.roots.iter().map(|root| json!({
            "identity": root.identity.to_string(),
            "stableEndpoints": root.endpoints.iter().map(|e| format_endpoint(*e)).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "waiting": false,
    })
}

/// `GET /planet`.
pub(super) fn planet(world: &World, kept: Option<Kept>) -> Value {
    let mut object = known_moon(&format!("{:016x}", world.id), world);
    if let Value::Object(fields) = &mut object {
        fields.remove("waiting");
        fields.insert("sha256".into(), hex(&Sha256::digest(world.to_bytes())).into());
        fields.insert("replaceable".into(), kept.is_none().into());
        fields.insert("keptBecause".into(), kept.map(Kept::name).into());
    }
    object
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// `GET /config`.
pub(super) fn config(raw: &Map<String, Value>) -> Value {
    Value::Object(raw.clone())
}
