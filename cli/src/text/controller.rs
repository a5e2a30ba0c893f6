//! Networks, members and the state of the controller, for people.

use std::fmt::Write as _;

use api::{CountedNetwork, Member, Network, Revocation, Version};
use flowrules::cases::Vocabulary;
use protocol::derive;

use super::{json, printable, table};

/// All networks; each item a network record with its member counts in `meta`.
pub fn networks(networks: &[CountedNetwork]) -> String {
    if networks.is_empty() {
        return "This controller keeps no networks yet. Create one: ztnode-cli network create NAME --subnet 10.20.0.0/16\n"
            .to_owned();
    }
    let rows: Vec<[String; 6]> = networks
        .iter()
        .map(|CountedNetwork { record: network, meta }| {
            let members = format!("{}/{}", meta.authorized_member_count, meta.total_member_count);
            [
                network.id.to_string(),
                dash(printable(&network.name)),
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
pub fn network(network: &Network) -> String {
    let (v4, v6) = (network.v4_assign_mode, network.v6_assign_mode);
    let modes = [
        (v4.zt, "IPv4 from the pools"),
        (v6.zt == Some(true), "IPv6 from the pools"),
        (v6.rfc4193 == Some(true), "RFC 4193"),
        (v6.six_plane == Some(true), "6PLANE"),
    ];
    let assign: Vec<&str> = modes.into_iter().filter_map(|(on, name)| on.then_some(name)).collect();
    let dns = network.dns.as_ref().and_then(|dns| {
        let domain = dns.domain.as_str().filter(|domain| !domain.is_empty())?;
        let servers = dns.servers.as_array().map_or(&[][..], Vec::as_slice);
        let servers: Vec<String> = servers.iter().filter_map(json::scalar).collect();
        Some(format!("{domain}: {}", servers.join(", ")))
    });
    let rules = network.rules.json().len();
    let mut text = String::new();
    for (name, value) in [
        ("network", network.id.to_string()),
        ("name", dash(printable(&network.name))),
        ("access", access(network).to_owned()),
        ("routes", dash(routes(network))),
        ("pools", dash(pools(network))),
        ("assigns", dash(assign.join(", "))),
        ("dns", dash(printable(&dns.unwrap_or_default()))),
        ("mtu", network.mtu.to_string()),
        ("multicast limit", network.multicast_limit.to_string()),
        ("broadcast", if network.enable_broadcast { "yes" } else { "no" }.to_owned()),
        ("rules", rules.to_string()),
        ("revision", network.revision.to_string()),
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
    fn of(member: &Member) -> Self {
        if member.authorized {
            Self::Authorized
        } else if member.last_deauthorized > 0 {
            Self::Deauthorized
        } else if member.identity.is_some() || version(member) != "-" {
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
pub fn members(network: &Network, members: &[Member]) -> String {
    let id = network.id;
    if members.is_empty() {
        return format!("Nobody has asked to join {id} yet. On another machine: ztnode-cli join {id}\n");
    }
    let place = |standing| match standing {
        Standing::Authorized => 0,
        Standing::Deauthorized => 1,
        Standing::NeverAsked => 2,
        Standing::Asking => 3,
    };
    let mut members: Vec<(&Member, Standing)> =
        members.iter().map(|member| (member, Standing::of(member))).collect();
    members.sort_by_key(|(member, standing)| (place(*standing), member.address));
    let rows: Vec<[String; 6]> = members
        .iter()
        .map(|(member, standing)| {
            let mut ips = ips(member);
            if *standing == Standing::Authorized {
                ips.extend(derived(network, member));
            }
            let bridge = if member.active_bridge { "yes" } else { "-" };
            [
                member.address.to_string(),
                called(member),
                standing.name().to_owned(),
                dash(ips.join(",")),
                bridge.to_owned(),
                version(member),
            ]
        })
        .collect();
    let mut text = table::layout(["ADDRESS", "NAME", "STATE", "IPS", "BRIDGE", "PROTOCOL"], &rows);
    if let Some((asking, _)) = members.iter().find(|(_, standing)| *standing == Standing::Asking) {
        let address = asking.address;
        let _ = writeln!(text, "\nAuthorize one: ztnode-cli member authorize {id} {address}");
    }
    text
}

/// Whether a member's record is one of a node that asks to be let in, and of which nobody has decided.
pub fn asks(member: &Member) -> bool {
    Standing::of(member) == Standing::Asking
}

/// The nodes that ask, each with its network's record.
pub fn asking(found: &[(Network, Member)]) -> String {
    let Some((network, member)) = found.first() else {
        return "No node asks to be let into a network here.\n".to_owned();
    };
    let row = |(network, member): &(Network, Member)| {
        [
            network.id.to_string(),
            dash(printable(&network.name)),
            member.address.to_string(),
            called(member),
            version(member),
        ]
    };
    let rows: Vec<[String; 5]> = found.iter().map(row).collect();
    let mut text = table::layout(["NETWORK", "CALLED", "ADDRESS", "NAME", "PROTOCOL"], &rows);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\nAuthorize one: ztnode-cli member authorize {} {}", network.id, member.address);
    text
}

/// The addresses that a member has in this network without anybody giving them.
fn derived(network: &Network, member: &Member) -> Vec<String> {
    let (mode, id, address) = (network.v6_assign_mode, network.id, member.address);
    let rfc4193 = (mode.rfc4193 == Some(true)).then(|| derive::rfc4193(id, address).to_string());
    let six_plane = (mode.six_plane == Some(true)).then(|| derive::six_plane(id, address).to_string());
    rfc4193.into_iter().chain(six_plane).collect()
}

/// One member in full, with the names its network's rules give to its tags and capabilities.
pub fn member(member: &Member, vocabulary: &Vocabulary) -> String {
    let list = |items: Vec<String>| dash(items.join(", "));
    let tags = member.tags.iter().map(|(id, value)| vocabulary.tag_text(*id, *value)).collect();
    let capabilities = member.capabilities.iter().map(|id| vocabulary.capability_text(*id)).collect();
    let mut text = String::new();
    for (name, value) in [
        ("member", member.address.to_string()),
        ("name", called(member)),
        ("network", member.network.to_string()),
        ("state", Standing::of(member).name().to_owned()),
        ("ips", list(ips(member))),
        ("tags", list(tags)),
        ("capabilities", list(capabilities)),
        ("bridge", if member.active_bridge { "yes" } else { "no" }.to_owned()),
        ("protocol", version(member)),
        ("revision", member.revision.to_string()),
    ] {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<17}{value}");
    }
    text
}

/// One line on a member after a change; `done` says what was done.
pub fn member_line(member: &Member, done: &str) -> String {
    let mut line = format!("member {}", member.address);
    if let Some(name) = member.name.as_deref().filter(|name| !name.is_empty()) {
        let _ = write!(line, " ({})", printable(name));
    }
    let _ = write!(line, " {done} {}", member.network);
    if !member.ip_assignments.is_empty() {
        let _ = write!(line, ": {}", ips(member).join(", "));
    }
    line + "\n"
}

/// How far the word has got that a member was put out; nothing if the controller does not say.
pub fn revocation(revocation: Option<&Revocation>) -> String {
    let Some(revocation) = revocation else { return String::new() };
    let reach = revocation.reach.clone().unwrap_or_default();
    let missing: Vec<String> =
        reach.unreachable.iter().chain(&reach.waiting).map(|member| printable(member)).collect();
    let mut line = format!("the other members: acknowledged by {}", reach.acknowledged.len());
    if !reach.sent.is_empty() {
        let _ = write!(line, ", sent to {} (zerotier-one cannot confirm)", reach.sent.len());
    }
    let _ = write!(line, ", not reachable {}", missing.len());
    if !missing.is_empty() {
        let _ = write!(line, ": {} (told when they ask again)", missing.join(", "));
    }
    line + "\n"
}

fn access(network: &Network) -> &'static str {
    if network.private { "private" } else { "public" }
}

fn routes(network: &Network) -> String {
    let routes = network.routes.iter().map(|route| match route.via {
        Some(via) => format!("{} via {via}", route.target),
        None => route.target.to_string(),
    });
    routes.collect::<Vec<_>>().join(", ")
}

fn pools(network: &Network) -> String {
    let pools = network.pools.iter().map(|pool| format!("{}-{}", pool.start, pool.end));
    pools.collect::<Vec<_>>().join(", ")
}

fn ips(member: &Member) -> Vec<String> {
    member.ip_assignments.iter().map(ToString::to_string).collect()
}

fn called(member: &Member) -> String {
    dash(member.name.as_deref().map(printable).unwrap_or_default())
}

fn version(member: &Member) -> String {
    match member.version {
        Version { major: ..0, .. } => "-".to_owned(),
        Version { major, minor, revision, .. } => format!("{major}.{minor}.{revision}"),
    }
}

fn dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}
