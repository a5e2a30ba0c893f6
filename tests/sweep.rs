//! Every end point and every line of the tool, asked of a zerotier-one and of a ztnode in the same place: what differs, in
//! status, shape or value, stands with its reason in the table "What a client sees otherwise" of docs/architecture.md, and what
//! stands there differs.
//!
//! Runs when `ZEROTIER_ONE` names a zerotier-one 1.14.1 binary.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::api::Reply;
use lab::{Access, Cluster, Daemon, Plan, Seat, binaries, testing, tool};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);
/// The two nodes that are compared.
const OURS: usize = 0;
const REFERENCE: usize = 1;

/// A request of the sweep: method, path and body, in which `NET` stands for a network of the node's own, `JOINED` for one it has
/// joined, `SELF` for its address and `PEER` for that of the other.
type Request = (&'static str, &'static str, Option<&'static str>);

/// In the order in which they are sent: later ones see what earlier ones did.
const REQUESTS: &[Request] = &[
    ("GET", "/status", None),
    ("GET", "/status/", None),
    ("GET", "/status?jsonp=callback", None),
    ("POST", "/status", Some("{}")),
    ("PUT", "/status", Some("{}")),
    ("DELETE", "/status", None),
    ("HEAD", "/status", None),
    ("OPTIONS", "/status", None),
    ("GET", "/health", None),
    ("GET", "/info", None),
    ("GET", "/", None),
    ("GET", "/nothing", None),
    ("GET", "/config", None),
    ("GET", "/config/settings", None),
    ("POST", "/config/settings", Some(r#"{"ztnodeSweep":1}"#)),
    ("POST", "/config/settings", Some("[]")),
    ("POST", "/config/settings", Some("null")),
    ("GET", "/peer", None),
    ("GET", "/peer/PEER", None),
    ("GET", "/peer/SELF", None),
    ("GET", "/peer/0000000001", None),
    ("GET", "/peer/xyz", None),
    ("POST", "/peer/PEER", Some("{}")),
    ("GET", "/network", None),
    ("GET", "/network/JOINED", None),
    ("GET", "/network/0000000000000001", None),
    ("GET", "/network/xyz", None),
    ("POST", "/network/JOINED", Some("{}")),
    ("POST", "/network/JOINED", Some("")),
    ("POST", "/network/JOINED", None),
    ("PUT", "/network/JOINED", Some(r#"{"allowGlobal":true}"#)),
    (
        "POST",
        "/network/JOINED",
        Some(r#"{"allowGlobal":false,"allowDNS":true,"allowDefault":false,"allowManaged":true}"#),
    ),
    ("POST", "/network/JOINED", Some(r#"{"allowDNS":false,"something":"else"}"#)),
    ("POST", "/network/JOINED", Some(r#"{"allowGlobal":"yes"}"#)),
    ("POST", "/network/JOINED", Some(r#"{"allowGlobal":false}"#)),
    ("POST", "/network/JOINED", Some("[]")),
    ("POST", "/network/JOINED", Some("null")),
    ("POST", "/network/JOINED", Some("{")),
    ("POST", "/network/xyz", Some("{}")),
    ("DELETE", "/network/00000000000000ff", None),
    ("GET", "/moon", None),
    ("GET", "/moon/SELF", None),
    ("POST", "/moon/PEER", Some(r#"{"seed":"PEER"}"#)),
    ("POST", "/moon/PEER", Some("{}")),
    ("POST", "/moon/PEER", Some("[]")),
    ("DELETE", "/moon/PEER", None),
    ("DELETE", "/moon/xyz", None),
    ("GET", "/bond/show/PEER", None),
    ("POST", "/bond/rotate/PEER", Some("{}")),
    ("POST", "/bond/setmtu/1400/eth0/10.0.0.1", Some("{}")),
    ("GET", "/sso", None),
    ("GET", "/app", None),
    ("GET", "/controller", None),
    ("GET", "/controller/network", None),
    ("GET", "/controller/network/0000000000000001", None),
    ("GET", "/controller/network/xyz", None),
    ("GET", "/controller/nothing", None),
    ("POST", "/controller", Some("{}")),
    ("GET", "/controller/network/NET", None),
    ("POST", "/controller/network/NET", Some("{}")),
    ("POST", "/controller/network/NET", Some("[]")),
    ("POST", "/controller/network/NET", Some("null")),
    ("POST", "/controller/network/NET", Some("5")),
    ("POST", "/controller/network/NET", Some("{")),
    ("POST", "/controller/network/NET", Some("")),
    (
        "POST",
        "/controller/network/NET",
        Some(r#"{"name":"sweep","private":true,"enableBroadcast":true,"multicastLimit":64,"mtu":2800}"#),
    ),
    (
        "POST",
        "/controller/network/NET",
        Some(r#"{"routes":[{"target":"10.77.0.0/16"},{"target":"10.78.0.0/16","via":"10.77.0.1"}]}"#),
    ),
    (
        "POST",
        "/controller/network/NET",
        Some(r#"{"ipAssignmentPools":[{"ipRangeStart":"10.77.0.10","ipRangeEnd":"10.77.0.99"}]}"#),
    ),
    (
        "POST",
        "/controller/network/NET",
        Some(r#"{"v4AssignMode":{"zt":true},"v6AssignMode":{"6plane":true,"rfc4193":true,"zt":false}}"#),
    ),
    ("POST", "/controller/network/NET", Some(r#"{"v4AssignMode":"zt","v6AssignMode":"rfc4193,6plane"}"#)),
    ("POST", "/controller/network/NET", Some(r#"{"dns":{"domain":"lab.example","servers":["10.77.0.53"]}}"#)),
    ("POST", "/controller/network/NET", Some(r#"{"dns":[]}"#)),
    (
        "POST",
        "/controller/network/NET",
        Some(
            r#"{"rules":[{"type":"MATCH_ETHERTYPE","etherType":2048,"not":true,"or":false},{"type":"ACTION_DROP"},{"type":"ACTION_ACCEPT"}]}"#,
        ),
    ),
    (
        "POST",
        "/controller/network/NET",
        Some(r#"{"rules":[{"type":"NO_SUCH_RULE"},{"type":"ACTION_ACCEPT"}]}"#),
    ),
    ("POST", "/controller/network/NET", Some(r#"{"rules":[]}"#)),
    (
        "POST",
        "/controller/network/NET",
        Some(
            r#"{"capabilities":[{"id":1,"default":false,"rules":[{"type":"ACTION_ACCEPT"}]}],"tags":[{"id":1,"default":2}]}"#,
        ),
    ),
    ("POST", "/controller/network/NET", Some(r#"{"rulesSource":"accept;"}"#)),
    (
        "POST",
        "/controller/network/NET",
        Some(r#"{"rulesSource":"accept;","rules":[{"type":"ACTION_ACCEPT"}],"capabilities":[],"tags":[]}"#),
    ),
    ("POST", "/controller/network/NET", Some(r#"{"mtu":99,"multicastLimit":-1,"name":5}"#)),
    ("POST", "/controller/network/NET", Some(r#"{"private":"yes"}"#)),
    ("POST", "/controller/network/NET", Some(r#"{"private":1}"#)),
    (
        "POST",
        "/controller/network/NET",
        Some(
            r#"{"name":"sweep","mtu":2800,"private":true,"remoteTraceTarget":null,"somethingElse":{"a":1}}"#,
        ),
    ),
    ("PUT", "/controller/network/NET", Some(r#"{"multicastLimit":32}"#)),
    ("GET", "/controller/network/NET/member", None),
    ("GET", "/controller/network/NET/member/SELF", None),
    ("GET", "/controller/network/NET/member/0123456789", None),
    ("GET", "/controller/network/NET/member/xyz", None),
    ("POST", "/controller/network/NET/member/0123456789", Some("{}")),
    (
        "POST",
        "/controller/network/NET/member/0123456789",
        Some(r#"{"authorized":true,"name":"one","activeBridge":false,"noAutoAssignIps":false}"#),
    ),
    (
        "POST",
        "/controller/network/NET/member/0123456789",
        Some(r#"{"ipAssignments":["10.77.0.20","rubbish"]}"#),
    ),
    ("POST", "/controller/network/NET/member/0123456789", Some(r#"{"capabilities":[1],"tags":[[1,2]]}"#)),
    ("POST", "/controller/network/NET/member/0123456789", Some(r#"{"tags":[],"capabilities":[]}"#)),
    ("POST", "/controller/network/NET/member/0123456789", Some("[]")),
    ("POST", "/controller/network/NET/member/0123456789", Some("null")),
    ("POST", "/controller/network/NET/member/0123456789", Some("{")),
    ("POST", "/controller/network/NET/member/0123456789", Some(r#"{"authorized":"maybe"}"#)),
    ("POST", "/controller/network/NET/member/0123456789", Some(r#"{"authorized":false}"#)),
    ("PUT", "/controller/network/NET/member/0123456789", Some(r#"{"authorized":true}"#)),
    ("GET", "/controller/network/NET/member/0123456789", None),
    ("GET", "/controller/network/NET/member", None),
    ("DELETE", "/controller/network/NET/member/0123456789", None),
    ("DELETE", "/controller/network/NET/member/0123456789", None),
    ("GET", "/controller/network", None),
    ("GET", "/unstable/controller/network", None),
    ("GET", "/unstable/controller/network/NET/member", None),
    ("DELETE", "/controller/network/NET", None),
    ("DELETE", "/controller/network/NET", None),
    ("DELETE", "/network/JOINED", None),
    ("DELETE", "/network/JOINED", None),
];

/// Lines of the tool under the old name.
const LINES: &[&[&str]] = &[
    &["info"],
    &["-j", "info"],
    &["status"],
    &["listpeers"],
    &["peers"],
    &["-j", "listpeers"],
    &["listnetworks"],
    &["-j", "listnetworks"],
    &["listmoons"],
    &["join"],
    &["join", "xyz"],
    &["join", "0000000000000000"],
    &["join", "JOINED"],
    &["join", "JOINED", "allowDNS=1"],
    &["get", "JOINED", "allowDNS"],
    &["get", "JOINED", "mac"],
    &["get", "JOINED", "ip"],
    &["get", "JOINED", "nosuch"],
    &["get", "JOINED"],
    &["get", "00000000000000ff", "mac"],
    &["set", "JOINED", "allowGlobal=1"],
    &["set", "JOINED", "allowGlobal=0"],
    &["set", "JOINED"],
    &["set", "00000000000000ff", "allowDNS=1"],
    &["leave", "00000000000000ff"],
    &["leave"],
    &["orbit", "PEER", "PEER"],
    &["orbit"],
    &["deorbit", "PEER"],
    &["bond", "list"],
    &["bond", "show"],
    &["dump", "nowhere/there"],
    &["nosuchcommand"],
    &[],
    &["-h"],
    &["-v"],
    &["leave", "JOINED"],
];

/// What is another number, or another text of its kind, at each moment and in each process.
const CHANGING: [&str; 23] = [
    "clock",
    "uptime",
    "lastReceive",
    "lastSend",
    "lastSendTime",
    "lastReceiveTime",
    "latency",
    "creationTime",
    "revision",
    "lastAuthorizedTime",
    "lastDeauthorizedTime",
    "assignedAddresses",
    "mac",
    "portDeviceName",
    "netconfRevision",
    "multicastSubscriptions",
    "planetWorldTimestamp",
    "trustedPathId",
    "localPort",
    "localSocket",
    "publicIdentity",
    "packetErrorRatio",
    "authenticationExpiryTime",
];

/// The words that stand for what is another one at each node.
struct Words(Vec<(String, &'static str)>);

impl Words {
    /// The node with this number, the other, and the network that it has joined.
    fn of(cluster: &Cluster, index: usize) -> Self {
        let node = &cluster.members[index].address;
        let other = &cluster.members[1 - index].address;
        Self(vec![
            (cluster.network.clone(), "JOINED"),
            (format!("{node}abcdef"), "NET"),
            (node.clone(), "SELF"),
            (other.clone(), "PEER"),
            (cluster.members[index].host.public.to_string(), "OWN_IP"),
            (cluster.members[1 - index].host.public.to_string(), "PEER_IP"),
            (cluster.members[index].home().display().to_string(), "HOME"),
        ])
    }

    /// What is meant.
    fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (value, word)| text.replace(word, value))
    }

    /// What is meant, for both nodes alike.
    fn blank(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (value, word)| text.replace(value, word))
    }
}

/// A difference: what was asked, and where in the answer they differ.
type Difference = (String, String);

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "flag",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// Whether what stands there may be anything of its kind.
fn changes(at: &str) -> bool {
    CHANGING.iter().any(|key| at.ends_with(&format!(".{key}")) || at.contains(&format!(".{key}[")))
}

/// Where two answers differ, in shape or in what does not change by itself.
fn compare(at: &str, reference: &Value, ours: &Value, found: &mut BTreeSet<String>) {
    match (reference, ours) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in a {
                let at = format!("{at}.{}", name(key));
                match b.get(key) {
                    Some(other) => compare(&at, value, other, found),
                    None => drop(found.insert(format!("{at} missing"))),
                }
            }
            let new = b.keys().filter(|key| !a.contains_key(*key));
            found.extend(new.map(|key| format!("{at}.{} added", name(key))));
        }
        (Value::Array(a), Value::Array(b)) => {
            if a.len() != b.len() && !changes(at) {
                found.insert(format!("{at}[] count"));
            }
            for (a, b) in a.iter().zip(b) {
                compare(&format!("{at}[]"), a, b, found);
            }
        }
        _ if kind(reference) != kind(ours) => {
            found.insert(format!("{at} {} instead of {}", kind(ours), kind(reference)));
        }
        _ if changes(at) => {}
        _ if reference != ours => {
            found.insert(format!("{at} value"));
        }
        _ => {}
    }
}

/// Keys that are addresses are alike.
fn name(key: &str) -> &str {
    if key.len() >= 10 && key.bytes().all(|b| b.is_ascii_hexdigit()) { "ID" } else { key }
}

/// An answer in which both nodes are alike.
fn blanked(reply: Reply, words: &Words) -> (u16, Value) {
    let call = reply.body.as_str().and_then(|text| text.strip_prefix("callback(")?.strip_suffix(");"));
    let text = words.blank(&call.map_or_else(|| reply.body.to_string(), str::to_owned));
    let mut body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    // Peers come in any order.
    if let Some(list) = body.as_array_mut() {
        list.sort_by_key(|one| one["address"].to_string());
    }
    (reply.status, body)
}

fn requests(cluster: &Cluster, found: &mut BTreeSet<Difference>) -> Result<()> {
    for (method, path, body) in REQUESTS {
        let [(old, reference), (new, ours)] = [REFERENCE, OURS].map(|index| {
            let words = Words::of(cluster, index);
            let body = body.map(|body| words.fill(body));
            let reply = cluster.members[index].request_text(method, &words.fill(path), body.as_deref());
            reply.map_or((0, Value::Null), |reply| blanked(reply, &words))
        });
        let asked = format!("{method} {path}{}", body.map(|body| format!(" {body}")).unwrap_or_default());
        ensure!(old != 0 || new != 0, "{asked}: neither answers");
        if old != new {
            found.insert((asked.clone(), format!("status {new} instead of {old}")));
        }
        // A refusal says something else than an answer, and that it refuses is told already.
        if (old == 200) == (new == 200) {
            let mut at = BTreeSet::new();
            compare("", &reference, &ours, &mut at);
            found.extend(at.into_iter().map(|at| (asked.clone(), at)));
        }
    }
    Ok(())
}

/// How a program is called as `zerotier-cli`: the reference looks at the name it is started by.
fn tool_of(node: &Daemon, folder: &std::path::Path) -> Result<Command> {
    let program = match node.seat {
        Seat::Reference => binaries::reference().context("no reference")?,
        _ => binaries::ours()?.cli.clone(),
    };
    let link = folder.join(format!("{}/zerotier-cli", node.name()));
    if !link.exists() {
        std::fs::create_dir_all(folder.join(node.name()))?;
        std::os::unix::fs::symlink(program, &link)?;
    }
    let mut command = node.host.namespace.command(&link.to_string_lossy());
    // `dump` writes to where it is.
    command.arg(format!("-D{}", node.home().display())).current_dir(folder);
    Ok(command)
}

/// What of a line of output does not change by itself: its first words.
fn shape(text: &str, words: &Words) -> String {
    let text = words.blank(text);
    let word = |word: &str| match word {
        _ if word.starts_with(['{', '[']) => "JSON".to_owned(),
        _ if word.parse::<IpAddr>().is_ok() => "IP".to_owned(),
        _ if word.len() == 17 && word.split(':').count() == 6 => "MAC".to_owned(),
        _ => word.to_owned(),
    };
    text.lines().next().unwrap_or_default().split_whitespace().take(3).map(word).collect::<Vec<_>>().join(" ")
}

fn lines(cluster: &Cluster, found: &mut BTreeSet<Difference>) -> Result<()> {
    let folder = cluster.lab.dir().join("names");
    for line in LINES {
        let mut said = Vec::new();
        for index in [REFERENCE, OURS] {
            let (node, words) = (&cluster.members[index], Words::of(cluster, index));
            let mut command = tool_of(node, &folder)?;
            command.args(line.iter().map(|word| words.fill(word)));
            let outcome = tool::finish(command, None, tool::LIMIT)?;
            said.push((outcome.code, shape(&outcome.stdout, &words), outcome.stderr.is_empty()));
        }
        let asked = format!("zerotier-cli {}", line.join(" ")).trim().to_owned();
        let (old, new) = (&said[0], &said[1]);
        if old.0 != new.0 {
            found.insert((asked.clone(), format!("exit code {:?} instead of {:?}", new.0, old.0)));
        }
        if old.1 != new.1 {
            found.insert((asked.clone(), format!("says `{}` instead of `{}`", new.1, old.1)));
        }
        if old.2 != new.2 {
            found.insert((asked.clone(), format!("stderr {}", if new.2 { "silent" } else { "used" })));
        }
    }
    Ok(())
}

/// Whether a text is meant by a pattern, in which `*` stands for any text.
fn means(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(tail) = text.strip_prefix(first) else { return false };
    (0..=tail.len()).filter(|at| tail.is_char_boundary(*at)).any(|at| means(rest, &tail[at..]))
}

/// The rows of the table in docs/architecture.md: what is asked, and where they differ.
fn listed() -> Vec<(String, String)> {
    let text = include_str!("../docs/architecture.md");
    let section = text.split("## What a client sees otherwise").nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let unquoted = |cell: &str| cell.trim().trim_matches('`').replace("\\|", "|");
    section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| {
            let mut cells = line.trim_matches('|').split(" | ");
            Some((unquoted(cells.next()?), unquoted(cells.next()?)))
        })
        .collect()
}

#[test]
fn nothing_differs_but_what_is_listed() {
    let plan = Plan::new().member("ours", Seat::Ours, Access::Public).member(
        "reference",
        Seat::Reference,
        Access::Public,
    );
    testing::run("nothing_differs_but_what_is_listed", &plan, |cluster| {
        cluster.ping(OURS, REFERENCE, LIMIT)?;
        let mut found = BTreeSet::new();
        lines(cluster, &mut found)?;
        for index in [OURS, REFERENCE] {
            let network = cluster.network.clone();
            cluster.members[index].post(&format!("/network/{network}"), &json!({}))?;
            cluster.members[index].wait_status(&network, "OK", LIMIT)?;
        }
        requests(cluster, &mut found)?;
        let listed = listed();
        let unlisted: Vec<String> = found
            .iter()
            .filter(|(asked, at)| !listed.iter().any(|(what, place)| means(what, asked) && means(place, at)))
            .map(|(asked, at)| format!("| `{asked}` | `{at}` |"))
            .collect();
        let stale: Vec<String> = listed
            .iter()
            .filter(|(what, place)| !found.iter().any(|(asked, at)| means(what, asked) && means(place, at)))
            .map(|(what, place)| format!("| `{what}` | `{place}` |"))
            .collect();
        ensure!(
            unlisted.is_empty(),
            "differences that docs/architecture.md does not list:\n{}",
            unlisted.join("\n")
        );
        ensure!(stale.is_empty(), "docs/architecture.md lists what does not differ:\n{}", stale.join("\n"));
        Ok(())
    });
}

#[test]
fn patterns_mean_what_they_say() {
    assert!(means("GET /status*", "GET /status?jsonp=callback") && means("a*c*e", "abcde") && means("*", ""));
    assert!(!means("GET /status", "GET /status/") && !means("a*c", "abcd"));
}
