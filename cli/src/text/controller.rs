//! Networks, members and the state of the controller, for people.

use std::fmt::Write as _;

use flowrules::cases::Vocabulary;
use protocol::{Address, NetworkId, derive};
use serde_json::Value;

use super::{json, printable, table};

/// All networks; each item a network record with its member counts in `meta`.
pub fn networks(networks: &[Value]) -> String {
    if networks.is_empty() {
        return "This controller keeps no networks yet. Create one: ztnode-cli network create NAME --subnet 10.20.0.0/16\n"
            .to_owned();
    }
    let rows: Vec<[String; 6]> = networks
        .iter()
        .map(|network| {
            let count = |field| json::int(&network["meta"], field);
            let members = format!("{}/{}", count("authorizedMemberCount"), count("totalMemberCount"));
            let name = dash(json::text(network, "name"));
            [
                id(network),
                name,
                access(network).to_owned(),
                members,
                dash(routes(network)),
                dash(pools(network)),
            ]
        })
        .collect();
    table::layout(["NETWORK", "NAME", "ACCESS", "MEMBERS", "ROUTES", "POOLS"], &rows)
}

/// One network in full.
pub fn network(network: &Value) -> String {
    let mut assign = Vec::new();
    for (mode, field, name) in [
        ("v4AssignMode", "zt", "IPv4 from the pools"),
        ("v6AssignMode", "zt", "IPv6 from the pools"),
        ("v6AssignMode", "rfc4193", "RFC 4193"),
        ("v6AssignMode", "6plane", "6PLANE"),
    ] {
        if json::flag(&network[mode], field) {
            assign.push(name);
        }
    }
    let dns = &network["dns"];
    let servers: Vec<String> = json::items(dns, "servers").iter().filter_map(json::scalar).collect();
    let dns = match dns["domain"].as_str() {
        Some(domain) if !domain.is_empty() => format!("{domain}: {}", servers.join(", ")),
        _ => String::new(),
    };
    let rules = json::items(network, "rules").len();
    let mut text = String::new();
    for (name, value) in [
        ("network", id(network)),
        ("name", dash(json::text(network, "name"))),
        ("access", access(network).to_owned()),
        ("routes", dash(routes(network))),
        ("pools", dash(pools(network))),
        ("assigns", dash(assign.join(", "))),
        ("dns", dash(printable(&dns))),
        ("mtu", json::text(network, "mtu")),
        ("multicast limit", json::text(network, "multicastLimit")),
        ("broadcast", if json::flag(network, "enableBroadcast") { "yes" } else { "no" }.to_owned()),
        ("rules", rules.to_string()),
        ("revision", json::text(network, "revision")),
    ] {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<17}{value}");
    }
    text
}

/// How a member stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    Authorized,
    /// It has asked, and nobody has decided.
    Asking,
    /// Somebody put it out.
    Deauthorized,
    /// There is a record, but the node has never asked: a mistyped address, perhaps.
    NeverAsked,
}

impl Standing {
    fn of(member: &Value) -> Self {
        if json::flag(member, "authorized") {
            Self::Authorized
        } else if json::int(member, "lastDeauthorizedTime") > 0 {
            Self::Deauthorized
        } else if member["identity"].is_string() || version(member) != "-" {
            Self::Asking
        } else {
            Self::NeverAsked
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Authorized => "authorized",
            Self::Asking => "asking",
            Self::Deauthorized => "deauthorized",
            Self::NeverAsked => "never asked",
        }
    }
}

/// The members of a network, given by its record; those who ask to be let in last.
pub fn members(network: &Value, members: &[Value]) -> String {
    let id = id(network);
    if members.is_empty() {
        return format!("Nobody has asked to join {id} yet. On another machine: ztnode-cli join {id}\n");
    }
    let place = |standing| match standing {
        Standing::Authorized => 0,
        Standing::Deauthorized => 1,
        Standing::NeverAsked => 2,
        Standing::Asking => 3,
    };
    let mut members: Vec<(&Value, Standing)> =
        members.iter().map(|member| (member, Standing::of(member))).collect();
    members.sort_by_key(|(member, standing)| (place(*standing), json::text(member, "address")));
    let rows: Vec<[String; 6]> = members
        .iter()
        .map(|(member, standing)| {
            let mut ips: Vec<String> = json::items(member, "ipAssignments")
                .iter()
                .filter_map(Value::as_str)
                .map(printable)
                .collect();
            if *standing == Standing::Authorized {
                ips.extend(derived(network, member));
            }
            let bridge = if json::flag(member, "activeBridge") { "yes" } else { "-" };
            let name = dash(json::scalar(&member["name"]).map(|name| printable(&name)).unwrap_or_default());
            [
                json::text(member, "address"),
                name,
                standing.name().to_owned(),
                dash(ips.join(",")),
                bridge.to_owned(),
                version(member),
            ]
        })
        .collect();
    let mut text = table::layout(["ADDRESS", "NAME", "STATE", "IPS", "BRIDGE", "PROTOCOL"], &rows);
    if let Some((asking, _)) = members.iter().find(|(_, standing)| *standing == Standing::Asking) {
        let address = json::text(asking, "address");
        let _ = writeln!(text, "\nAuthorize one: ztnode-cli member authorize {id} {address}");
    }
    text
}

/// Whether a member's record is one of a node that asks to be let in, and of which nobody has decided.
pub fn asks(member: &Value) -> bool {
    Standing::of(member) == Standing::Asking
}

/// The nodes that ask, each with its network's record.
pub fn asking(found: &[(Value, Value)]) -> String {
    let Some((network, member)) = found.first() else {
        return "No node asks to be let into a network here.\n".to_owned();
    };
    let row = |(network, member): &(Value, Value)| {
        let name = |record: &Value| {
            dash(json::scalar(&record["name"]).map(|name| printable(&name)).unwrap_or_default())
        };
        [id(network), name(network), json::text(member, "address"), name(member), version(member)]
    };
    let rows: Vec<[String; 5]> = found.iter().map(row).collect();
    let mut text = table::layout(["NETWORK", "CALLED", "ADDRESS", "NAME", "PROTOCOL"], &rows);
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "\nAuthorize one: ztnode-cli member authorize {} {}",
        id(network),
        json::text(member, "address")
    );
    text
}

/// The addresses that a member has in this network without anybody giving them.
fn derived(network: &Value, member: &Value) -> Vec<String> {
    let parsed =
        (json::text(network, "id").parse::<NetworkId>(), json::text(member, "address").parse::<Address>());
    let (Ok(id), Ok(address)) = parsed else { return Vec::new() };
    let mode = &network["v6AssignMode"];
    let rfc4193 = json::flag(mode, "rfc4193").then(|| derive::rfc4193(id, address).to_string());
    let six_plane = json::flag(mode, "6plane").then(|| derive::six_plane(id, address).to_string());
    rfc4193.into_iter().chain(six_plane).collect()
}

/// One member in full, with the names its network's rules give to its tags and capabilities.
pub fn member(member: &Value, vocabulary: &Vocabulary) -> String {
    let list = |items: Vec<String>| dash(items.join(", "));
    let tags = json::tags(member);
    let tags = tags.iter().map(|(id, value)| vocabulary.tag_text(*id, *value)).collect();
    let capabilities = json::ids(member, "capabilities");
    let capabilities = capabilities.iter().map(|id| vocabulary.capability_text(*id)).collect();
    let ips = json::items(member, "ipAssignments").iter().filter_map(Value::as_str).map(printable).collect();
    let yes = |field| if json::flag(member, field) { "yes" } else { "no" }.to_owned();
    let mut text = String::new();
    for (name, value) in [
        ("member", json::text(member, "address")),
        ("name", dash(json::scalar(&member["name"]).map(|name| printable(&name)).unwrap_or_default())),
        ("network", json::text(member, "nwid")),
        ("state", Standing::of(member).name().to_owned()),
        ("ips", list(ips)),
        ("tags", list(tags)),
        ("capabilities", list(capabilities)),
        ("bridge", yes("activeBridge")),
        ("protocol", version(member)),
        ("revision", json::text(member, "revision")),
    ] {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<17}{value}");
    }
    text
}

/// One line on a member after a change; `done` says what was done.
pub fn member_line(member: &Value, done: &str) -> String {
    let address = json::text(member, "address");
    let ips: Vec<String> =
        json::items(member, "ipAssignments").iter().filter_map(Value::as_str).map(printable).collect();
    let mut line = format!("member {address}");
    if let Some(name) = member["name"].as_str().filter(|name| !name.is_empty()) {
        let _ = write!(line, " ({})", printable(name));
    }
    let _ = write!(line, " {done} {}", json::text(member, "nwid"));
    if !ips.is_empty() {
        let _ = write!(line, ": {}", ips.join(", "));
    }
    line + "\n"
}

/// How far the word has got that a member was put out; nothing if the controller does not say.
pub fn revocation(revocation: &Value) -> String {
    if !revocation.is_object() {
        return String::new();
    }
    let members = |field| -> Vec<String> {
        json::items(revocation, field).iter().filter_map(Value::as_str).map(printable).collect()
    };
    let mut missing = members("unreachable");
    missing.extend(members("waiting"));
    let mut line = format!("the other members: acknowledged by {}", members("acknowledged").len());
    let sent = members("sent");
    if !sent.is_empty() {
        let _ = write!(line, ", sent to {} (zerotier-one cannot confirm)", sent.len());
    }
    let _ = write!(line, ", not reachable {}", missing.len());
    if !missing.is_empty() {
        let _ = write!(line, ": {} (told when they ask again)", missing.join(", "));
    }
    line + "\n"
}

fn id(network: &Value) -> String {
    json::text(network, "id")
}

/// A network without the field is private: that is the default.
fn access(network: &Value) -> &'static str {
    if network["private"] == Value::Bool(false) { "public" } else { "private" }
}

fn routes(network: &Value) -> String {
    let routes: Vec<String> = json::items(network, "routes")
        .iter()
        .map(|route| match route["via"].as_str() {
            Some(via) => format!("{} via {}", json::text(route, "target"), printable(via)),
            None => json::text(route, "target"),
        })
        .collect();
    routes.join(", ")
}

fn pools(network: &Value) -> String {
    let pools: Vec<String> = json::items(network, "ipAssignmentPools")
        .iter()
        .map(|pool| format!("{}-{}", json::text(pool, "ipRangeStart"), json::text(pool, "ipRangeEnd")))
        .collect();
    pools.join(", ")
}

fn version(member: &Value) -> String {
    if !member["vMajor"].is_number() || json::int(member, "vMajor") < 0 {
        return "-".to_owned();
    }
    let part = |field| json::int(member, field);
    format!("{}.{}.{}", part("vMajor"), part("vMinor"), part("vRev"))
}

fn dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}
