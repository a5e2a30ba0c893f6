//! `doctor`: what is wrong with this node, what keeps it from being as fast or as reachable as it could be, and the remedy.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use api::{JoinedNetwork, Offloads, Peer, Status, UdpBuffers, UdpOffloads, Unsaved};
use serde_json::{Value, json};

use super::lack::Lack;
use super::printable;

/// Datagram size of a path on which nothing was found out, bytes of UDP payload.
const DEFAULT_MTU: i64 = 1432;

/// How many of a kind are named in a line.
const MOST_NAMED: usize = 4;

/// One thing that was looked at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Whether it is as it should be.
    pub level: Level,
    /// What was looked at.
    pub subject: String,
    /// What was found.
    pub text: String,
    /// What to do about it; empty when nothing has to be done.
    pub remedy: String,
}

/// How a thing stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// As it should be.
    Good,
    /// Worth knowing; nothing is broken.
    Note,
    /// Does not work, or costs speed or packets, and can be mended.
    Bad,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Good => "ok",
            Level::Note => "note",
            Level::Bad => "bad",
        }
    }
}

fn finding(level: Level, subject: &str, text: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { level, subject: subject.to_owned(), text: text.into(), remedy: remedy.into() }
}

/// Looks at `GET /status`, `/network` and `/peer`, and at what each network lacks (by its ID; `None`: it can be used). What an
/// older node does not tell is left out.
pub fn examine(
    status: &Status,
    networks: &[JoinedNetwork],
    peers: &[Peer],
    lacks: &[(String, Option<Lack>)],
) -> Vec<Finding> {
    let mut findings = vec![roots(status)];
    findings.extend(status.collision.seen.as_ref().and_then(super::info::collision).map(|text| {
        finding(
            Level::Note,
            "identity",
            text,
            "while the node is online it is no harm; if it stays offline, ask that root's operator which node has the address",
        )
    }));
    findings.extend(super::info::clones(status).into_iter().map(|text| {
        finding(
            Level::Bad,
            "identity",
            text,
            "stop one of the two, or give it an identity of its own: see \"Clones\" in docs/service.md",
        )
    }));
    findings.extend(networks.iter().flat_map(|network| usable(network, lacks)));
    let settings = &status.config.settings;
    findings.extend(settings.udp_buffers.iter().flat_map(buffers));
    findings.extend(settings.udp_offloads.iter().flat_map(offloads));
    findings.extend(certificates(&status.certificate_lead));
    findings.extend(unsaved(&status.unsaved));
    findings.extend(names(&status.unknown_settings));
    findings.extend(networks.iter().filter_map(port));
    findings.extend(peers.iter().flat_map(paths));
    findings
}

/// Networks of this controller whose certificates run ahead of a clock that was set back.
fn certificates(leads: &BTreeMap<String, i64>) -> Vec<Finding> {
    let of = |(network, lead): (&String, &i64)| {
        let text = format!(
            "certificates are {} ahead of this machine's clock, which was set back; members drop older ones, so they run on",
            span(*lead)
        );
        let remedy = format!(
            "nothing, unless the other members' clocks matter to you; to start over, `curl -X DELETE -H \"X-ZT1-Auth: $(cat authtoken.secret)\" http://127.0.0.1:9993/controller/network/{network}/lead`, after which every member has to leave and join again"
        );
        finding(Level::Note, &format!("network {network}"), text, remedy)
    };
    leads.iter().map(of).collect()
}

/// A time in the largest unit of which there are two.
fn span(milliseconds: i64) -> String {
    let seconds = milliseconds / 1000;
    for (unit, length) in [("days", 86_400), ("hours", 3600), ("minutes", 60)] {
        if seconds >= 2 * length {
            return format!("{} {unit}", seconds / length);
        }
    }
    format!("{seconds} seconds")
}

/// Files that cannot be written.
fn unsaved(files: &[Unsaved]) -> Vec<Finding> {
    let of = |file: &Unsaved| {
        let text = format!("{} cannot be written: {}", printable(&file.path), printable(&file.error));
        let remedy = "make room, or give the file and its folder back to the user that ztnode runs as; it is tried again every half minute";
        finding(Level::Bad, "state", text, remedy)
    };
    files.iter().map(of).collect()
}

/// Names in local.conf that mean nothing.
fn names(lines: &[String]) -> Vec<Finding> {
    let of = |line: &String| finding(Level::Note, "local.conf", line, "correct the name, or take it out");
    lines.iter().map(of).collect()
}

/// Whether a root answers, and if not, what is the first thing to look at.
fn roots(status: &Status) -> Finding {
    let interfaces = status.interfaces.as_deref();
    let usable = interfaces.is_none_or(|interfaces| interfaces.iter().any(|interface| interface.used));
    // A node takes a while to notice that roots are silent.
    if usable && status.health.online {
        return finding(Level::Good, "roots", "online", "");
    }
    if usable {
        return finding(
            Level::Bad,
            "roots",
            "offline: no root answers",
            "let UDP through this machine's firewall and its cloud's security group; `ztnode-cli firewall` prints the rules",
        );
    }
    let ignored: Vec<String> = interfaces
        .unwrap_or_default()
        .iter()
        .flat_map(|interface| {
            let name = printable(&interface.name);
            interface.ignored.iter().map(move |ignored| {
                format!("{} on {name}: {}", printable(&ignored.address), printable(&ignored.reason))
            })
        })
        .take(MOST_NAMED)
        .collect();
    let why = match ignored.as_slice() {
        [] => "no interface but lo is up with an address".to_owned(),
        some => format!("no address is used ({})", some.join("; ")),
    };
    finding(
        Level::Bad,
        "roots",
        format!("there is no interface to send from: {why}"),
        "bring a link up and give it an address (`ip address`), or name the address in `bind` or the interface in `interfacePrefixAllow` of local.conf",
    )
}

/// Whether a network can be used, and what of it this machine does not take.
fn usable(network: &JoinedNetwork, lacks: &[(String, Option<Lack>)]) -> Vec<Finding> {
    let id = printable(&network.id);
    let subject = match network.name.as_str() {
        "" | "-" => format!("network {id}"),
        name => format!("network {id} ({})", printable(name)),
    };
    let mut findings = Vec::new();
    match lacks.iter().find(|(network, _)| *network == id) {
        Some((_, Some(lack))) => {
            findings.push(finding(Level::Bad, &subject, printable(&lack.what), printable(&lack.remedy)));
        }
        Some((_, None)) => findings.push(finding(Level::Good, &subject, "can be used", "")),
        None => {}
    }
    findings.extend(super::conflicts::findings(network, &subject));
    findings
}

fn buffers(buffers: &UdpBuffers) -> Vec<Finding> {
    let Some(wanted) = buffers.wanted else { return Vec::new() };
    let (receive, send) = (buffers.receive, buffers.send);
    let mut findings = Vec::new();
    findings.push(if receive.min(send) >= wanted {
        finding(
            Level::Good,
            "UDP buffers",
            format!("{receive} octets to receive, {send} to send, as asked for"),
            "",
        )
    } else {
        let limit = |limit: Option<u64>| limit.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
        finding(
            Level::Bad,
            "UDP buffers",
            format!(
                "{receive} octets to receive and {send} to send, of {wanted} asked for: bursts lose packets \
                 (net.core.rmem_max is {}, net.core.wmem_max {})",
                limit(buffers.limits.receive),
                limit(buffers.limits.send)
            ),
            format!(
                "`sysctl -w net.core.rmem_max={wanted} net.core.wmem_max={wanted}` and restart ztnode, or let it keep \
                 CAP_NET_ADMIN"
            ),
        )
    });
    match buffers.dropped {
        None => {}
        Some(0) => findings.push(finding(Level::Good, "UDP receiving", "no datagram was dropped", "")),
        Some(dropped) => findings.push(finding(
            Level::Bad,
            "UDP receiving",
            format!(
                "the kernel dropped {dropped} datagrams before ztnode could read them: its buffer was full, or \
                 they were damaged"
            ),
            "few after bursts are no harm; when the number grows steadily, ztnode has too little processor time or too small buffers",
        )),
    }
    findings
}

fn offloads(offloads: &UdpOffloads) -> Vec<Finding> {
    let one = |granted: Option<bool>, option: &str, does: &str| {
        Some(if granted? {
            finding(Level::Good, option, "in use", "")
        } else {
            finding(
                Level::Note,
                option,
                format!("not available: {does} one by one, which costs processor time"),
                "a kernel from Linux 5.0 on has it; an interface without checksum offload, or with IPsec, refuses it",
            )
        })
    };
    let segment = one(offloads.segment, "UDP_SEGMENT", "datagrams are sent");
    segment.into_iter().chain(one(offloads.merge, "UDP_GRO", "datagrams are received")).collect()
}

fn port(network: &JoinedNetwork) -> Option<Finding> {
    let Offloads { tso, uso, checksum } = *network.offloads.as_ref()?;
    let subject = format!("port {}", printable(&network.port_device_name));
    let names = [(tso, "TCP segments"), (uso, "UDP segments"), (checksum, "checksums")];
    let missing: Vec<&str> = names.iter().filter(|(granted, _)| !granted).map(|(_, name)| *name).collect();
    Some(match missing[..] {
        [] => finding(Level::Good, &subject, "TCP and UDP super-frames, checksums left to us", ""),
        ["UDP segments"] => finding(
            Level::Note,
            &subject,
            "TCP super-frames, checksums left to us; UDP datagrams pass one by one",
            "Linux 6.2 and later grant UDP segmentation too",
        ),
        _ => finding(
            Level::Bad,
            &subject,
            format!(
                "not granted: {}; frames pass one by one, several times as expensive",
                missing.join(", ")
            ),
            "remove `\"tap\": \"plain\"` from local.conf if it is there; otherwise the kernel's TUN driver does not grant them",
        ),
    })
}

fn paths(peer: &Peer) -> Vec<Finding> {
    let address = printable(&peer.address);
    let preferred = peer.paths.iter().filter(|path| path.preferred);
    preferred
        .filter_map(|path| {
            let mtu = path.mtu?;
            let source = path.mtu_source.as_str();
            (source != "default" && mtu != DEFAULT_MTU).then(|| {
                let to = printable(&path.address);
                let configured = if source == "configured" { ", as configured" } else { "" };
                let text = format!("datagrams of {mtu} octets{configured} (default {DEFAULT_MTU}), by way of {to}");
                let remedy = match (mtu < DEFAULT_MTU, source) {
                    (true, "measured") => {
                        "something on the way (a tunnel, PPPoE) has an MTU below 1500; packets are cut to fit, and \
                         a larger MTU there would make them fewer"
                    }
                    _ => "",
                };
                finding(Level::Note, &format!("path to {address}"), text, remedy)
            })
        })
        .collect()
}

/// For people: a line for each, and the remedy below.
pub fn report(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { level, subject, text: found, remedy } in findings {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<5} {subject}: {found}", level.name());
        if !remedy.is_empty() {
            let _ = writeln!(text, "      {remedy}");
        }
    }
    text
}

/// For programs: an array of objects.
pub fn json(findings: &[Finding]) -> Value {
    let one = |f: &Finding| json!({"level": f.level.name(), "subject": f.subject, "text": f.text, "remedy": f.remedy});
    findings.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_healthy_node() {
        let status = json!({"online": true, "config": {"settings": {
            "udpBuffers": {"wanted": 100, "receive": 100, "send": 200, "dropped": 0, "limits": {}},
            "udpOffloads": {"segment": true, "merge": true}}}});
        let networks =
            [json!({"portDeviceName": "zt0", "offloads": {"tso": true, "uso": true, "checksum": true}})];
        let peers = [json!({"address": "0102030405", "paths": [
            {"address": "192.0.2.1/9993", "preferred": true, "mtu": 1432, "mtuSource": "measured"}]})];
        let findings = examine(&api::of(&status), &api::all(&networks), &api::all(&peers), &[]);
        assert!(findings.iter().all(|f| f.level == Level::Good && f.remedy.is_empty()), "{findings:?}");
        assert_eq!(findings.len(), 6);
        assert!(report(&findings).starts_with("ok    roots: online\nok    UDP buffers: 100 octets"));
    }

    #[test]
    fn each_trouble_has_a_remedy() {
        let status = json!({"online": false, "collision": {"seen": {"root": "a11c3411ce", "count": 1}}, "config": {"settings": {
            "udpBuffers": {"wanted": 4194304, "receive": 212992, "send": 212992, "dropped": 7,
                "limits": {"net.core.rmem_max": 212992, "net.core.wmem_max": null}},
            "udpOffloads": {"segment": false, "merge": false}}}});
        let networks = [
            json!({"portDeviceName": "zt0", "offloads": {"tso": false, "uso": false, "checksum": false}}),
            json!({"portDeviceName": "zt1", "offloads": {"tso": true, "uso": false, "checksum": true}}),
            json!({"portDeviceName": "", "offloads": null}),
        ];
        let path = |mtu: i64, source: &str| {
            json!({"address": "0102030405", "paths": [
                {"address": "192.0.2.1/9993", "preferred": true, "mtu": mtu, "mtuSource": source}]})
        };
        let peers = [path(1232, "measured"), path(8952, "measured"), path(1400, "configured")];
        let findings = examine(&api::of(&status), &api::all(&networks), &api::all(&peers), &[]);
        let text = report(&findings);
        assert!(text.contains("(net.core.rmem_max is 212992, net.core.wmem_max unknown)\n      `sysctl -w net.core.rmem_max=4194304"));
        assert!(text.contains("dropped 7 datagrams"));
        assert!(text.contains("note  identity: the root a11c3411ce said once that another node"));
        assert!(text.contains("bad   port zt0: not granted: TCP segments, UDP segments, checksums;"));
        assert!(text.contains("note  path to 0102030405: datagrams of 1232 octets (default 1432), by way of 192.0.2.1/9993\n      something"));
        assert!(text.contains("datagrams of 8952 octets (default"));
        assert!(text.contains("datagrams of 1400 octets, as configured"));
        assert_eq!(json(&findings).as_array().unwrap().len(), findings.len());
    }

    #[test]
    fn what_the_node_cannot_help_is_told() {
        let status = json!({"online": true,
            "certificateLead": {"1c33c1ced07ac85d": 315_360_000_000_i64},
            "unsaved": [{"path": "/var/lib/ztnode/planet", "error": "No space left on device"}],
            "unknownSettings": ["settings.lowBandwidthMod is no setting and has no effect; did you mean lowBandwidthMode?"]});
        let findings = examine(&api::of(&status), &[], &[], &[]);
        let text = report(&findings);
        assert!(
            text.contains("note  network 1c33c1ced07ac85d: certificates are 3650 days ahead of"),
            "{text}"
        );
        assert!(text.contains("/controller/network/1c33c1ced07ac85d/lead"), "{text}");
        assert!(text.contains("state: /var/lib/ztnode/planet cannot be written: No space left"), "{text}");
        assert!(text.contains("local.conf: settings.lowBandwidthMod is no setting"), "{text}");
    }

    #[test]
    fn an_older_node_tells_less() {
        let findings = examine(
            &api::of(&json!({"online": true})),
            &api::all(&[json!({})]),
            &api::all(&[json!({"paths": [{"preferred": true}]})]),
            &[],
        );
        assert_eq!(findings.len(), 1);
    }

    #[test]
    fn what_does_not_work_is_said_with_the_remedy() {
        let refused =
            json!([{"kind": "route", "target": "80.9.0.0/16", "reason": "eth0 is connected to it"}]);
        let networks = [
            json!({"id": "37f2b7c94f000001", "name": "demo", "refused": refused}),
            json!({"id": "37f2b7c94f000002", "name": ""}),
        ];
        let state =
            json!({"network": "37f2b7c94f000002", "address": "5aca06ff8e", "waitingFor": "authorization"});
        let lacks = [
            ("37f2b7c94f000001".to_owned(), None),
            ("37f2b7c94f000002".to_owned(), Some(Lack::of(&api::of(&state)))),
        ];
        let mut status = json!({"online": false, "interfaces": [], "clones": {"seen": [
            {"addresses": ["192.0.2.1/9993"], "sameMachineId": false, "givesWay": "this"}]}});
        let text = report(&examine(&api::of(&status), &api::all(&networks), &[], &lacks));
        for line in [
            "bad   roots: there is no interface to send from: no interface but lo is up with an address\n",
            "bad   identity: another machine runs with this identity (192.0.2.1/9993); this one should give way\n",
            "ok    network 37f2b7c94f000001 (demo): can be used\n",
            "bad   network 37f2b7c94f000001 (demo): the route 80.9.0.0/16 is not used: eth0 is connected to it\n",
            "bad   network 37f2b7c94f000002: this node, 5aca06ff8e, is not authorized\n      the network's owner runs on the \
             controller: ztnode-cli member authorize 37f2b7c94f000002 5aca06ff8e\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        let state = json!({"network": "1", "waitingFor": "port", "problem": "/dev/net/tun cannot be opened: run it as root"});
        let text = report(&examine(
            &api::of(&json!({"online": true})),
            &api::all(&[json!({"id": "1"})]),
            &[],
            &[("1".into(), Some(Lack::of(&api::of(&state))))],
        ));
        assert!(
            text.contains(
                "bad   network 1: port error: the network interface cannot be made\n      /dev/net/tun"
            ),
            "{text}"
        );
        let ignored = json!([{"address": "10.0.0.1", "reason": "a tap interface"}]);
        status["interfaces"] = json!([{"name": "tap0", "used": false, "ignored": ignored}]);
        let text = report(&examine(&api::of(&status), &[], &[], &[]));
        assert!(text.contains("no address is used (10.0.0.1 on tap0: a tap interface)\n"), "{text}");
    }
}
