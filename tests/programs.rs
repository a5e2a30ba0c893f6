//! What programs that were written for zerotier-one ask of a node, and what they need to find in its answers and files: web
//! interfaces for controllers, client libraries with fixed types, desktop and router integrations, configuration management,
//! containers and monitoring.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Cluster, Daemon, Plan, binaries, testing, tool};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);

/// How a program shows the token.
#[derive(Clone, Copy)]
enum Shown {
    Header,
    Bearer,
    Query,
    Nothing,
}

/// A plain HTTP request as a program writes it: the status, and what follows the head.
fn ask(
    node: &Daemon,
    shown: Shown,
    token: &str,
    method: &str,
    path: &str,
    body: &str,
) -> Result<(u16, String)> {
    let limit = Duration::from_secs(10);
    let connect = || TcpStream::connect_timeout(&([127, 0, 0, 1], lab::daemon::PORT).into(), limit);
    let mut stream = node.host.namespace.inside(connect)??;
    stream.set_read_timeout(Some(limit))?;
    let (query, header) = match shown {
        Shown::Header => (String::new(), format!("X-ZT1-Auth: {token}\r\n")),
        Shown::Bearer => (String::new(), format!("Authorization: Bearer {token}\r\n")),
        Shown::Query => (format!("?auth={token}"), String::new()),
        Shown::Nothing => Default::default(),
    };
    write!(
        stream,
        "{method} {path}{query} HTTP/1.1\r\nHost: 127.0.0.1:9993\r\n{header}User-Agent: program\r\nAccept: */*\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut said = Vec::new();
    stream.read_to_end(&mut said)?;
    let said = String::from_utf8_lossy(&said).into_owned();
    let (head, body) = said.split_once("\r\n\r\n").context("no head")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}

/// Asks with the token in the header, which must be taken, and returns the answer.
fn json_of(node: &Daemon, method: &str, path: &str, body: &Value) -> Result<Value> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, said) = ask(node, Shown::Header, &token(node)?, method, path, &body)?;
    ensure!(status == 200, "{method} {path} {body}: {status} {said}");
    serde_json::from_str(&said).with_context(|| format!("{method} {path}: {said}"))
}

fn token(node: &Daemon) -> Result<String> {
    Ok(fs::read_to_string(node.home().join("authtoken.secret"))?.trim().to_owned())
}

/// Whether a value is of the type that a template names (`text`, `number`, `flag`, `list`, `object`, `any`), and has all of its
/// fields. A list in a template holds the type of every element.
fn fits(at: &str, template: &Value, value: &Value) -> Result<()> {
    match template {
        Value::Object(fields) => {
            for (key, template) in fields {
                let value = value.get(key).with_context(|| format!("{at}: no field {key} in {value}"))?;
                fits(&format!("{at}.{key}"), template, value)?;
            }
        }
        Value::Array(of) => {
            let list = value.as_array().with_context(|| format!("{at} is no list: {value}"))?;
            for (value, template) in list.iter().flat_map(|value| of.iter().map(move |t| (value, t))) {
                fits(&format!("{at}[]"), template, value)?;
            }
        }
        _ => {
            let right = match template.as_str().unwrap_or_default() {
                "text" => value.is_string(),
                "number" => value.is_i64() || value.is_u64(),
                "flag" => value.is_boolean(),
                "list" => value.is_array(),
                "object" => value.is_object(),
                other => other == "any",
            };
            ensure!(right, "{at} is no {template}: {value}");
        }
    }
    Ok(())
}

/// The types that client libraries in Rust and Go insist on.
fn status_types() -> Value {
    json!({
        "address": "text", "clock": "number", "config": {"settings": {"primaryPort": "number", "portMappingEnabled": "flag",
        "softwareUpdate": "text", "softwareUpdateChannel": "text", "allowTcpFallbackRelay": "flag", "listeningOn": ["text"],
        "surfaceAddresses": ["text"]}}, "online": "flag", "planetWorldId": "number", "planetWorldTimestamp": "number",
        "publicIdentity": "text", "tcpFallbackActive": "flag", "version": "text", "versionBuild": "number",
        "versionMajor": "number", "versionMinor": "number", "versionRev": "number"
    })
}

fn network_types() -> Value {
    json!({
        "id": "text", "nwid": "text", "mac": "text", "name": "text", "status": "text", "type": "text", "mtu": "number",
        "dhcp": "flag", "bridge": "flag", "broadcastEnabled": "flag", "portError": "number", "netconfRevision": "number",
        "assignedAddresses": ["text"], "routes": [{"target": "text", "via": "any", "flags": "number", "metric": "number"}],
        "portDeviceName": "text", "allowManaged": "flag", "allowGlobal": "flag", "allowDefault": "flag", "allowDNS": "flag",
        "dns": {"domain": "text", "servers": ["text"]}, "multicastSubscriptions": [{"mac": "text", "adi": "number"}]
    })
}

fn peer_types() -> Value {
    json!({
        "address": "text", "version": "text", "versionMajor": "number", "versionMinor": "number", "versionRev": "number",
        "latency": "number", "role": "text", "isBonded": "flag", "paths": [{"address": "text", "lastSend": "number",
        "lastReceive": "number", "active": "flag", "expired": "flag", "preferred": "flag", "trustedPathId": "number"}]
    })
}

fn controller_network_types() -> Value {
    json!({
        "id": "text", "nwid": "text", "objtype": "text", "name": "text", "private": "flag", "creationTime": "number",
        "revision": "number", "multicastLimit": "number", "enableBroadcast": "flag", "mtu": "number", "routes": ["object"],
        "ipAssignmentPools": ["object"], "v4AssignMode": {"zt": "flag"}, "v6AssignMode": {"zt": "flag", "rfc4193": "flag",
        "6plane": "flag"}, "rules": ["object"], "capabilities": ["any"], "tags": ["any"], "dns": "any",
        "remoteTraceLevel": "number", "ssoEnabled": "flag"
    })
}

fn member_types() -> Value {
    json!({
        "id": "text", "address": "text", "nwid": "text", "objtype": "text", "authorized": "flag", "activeBridge": "flag",
        "noAutoAssignIps": "flag", "ipAssignments": ["text"], "capabilities": ["any"], "tags": ["any"], "revision": "number",
        "creationTime": "number", "lastAuthorizedTime": "number", "lastDeauthorizedTime": "number", "vMajor": "number",
        "vMinor": "number", "vRev": "number", "vProto": "number", "ssoExempt": "flag", "remoteTraceLevel": "number"
    })
}

/// The web interfaces for controllers: make a network, give it addresses, let members in, name them, delete it all.
fn web_interfaces(cluster: &mut Cluster) -> Result<()> {
    let node = cluster.controller();
    fits("/status", &status_types(), &json_of(node, "GET", "/status", &Value::Null)?)?;
    fits(
        "/controller",
        &json!({"controller": "flag", "apiVersion": "number"}),
        &json_of(node, "GET", "/controller", &Value::Null)?,
    )?;
    let made = json_of(
        node,
        "POST",
        &format!("/controller/network/{}______", node.address),
        &json!({"name": "lan"}),
    )?;
    fits("a new network", &controller_network_types(), &made)?;
    let id = made["nwid"].as_str().context("no nwid")?.to_owned();
    let path = format!("/controller/network/{id}");
    let listed = json_of(node, "GET", "/controller/network", &Value::Null)?;
    ensure!(listed.as_array().is_some_and(|ids| ids.contains(&json!(id))), "{listed}");
    // As they are sent, some fields a request.
    for body in [
        json!({"ipAssignmentPools": [{"ipRangeStart": "10.21.0.10", "ipRangeEnd": "10.21.0.250"}]}),
        json!({"routes": [{"target": "10.21.0.0/16", "via": null}]}),
        json!({"v4AssignMode": {"zt": true}}),
        json!({"v6AssignMode": {"zt": false, "rfc4193": false, "6plane": false}}),
        json!({"private": true, "enableBroadcast": true, "multicastLimit": 32, "mtu": 2800}),
        json!({"dns": {"domain": "lan.example", "servers": ["10.21.0.1"]}}),
        json!({"rules": [{"type": "ACTION_ACCEPT"}], "capabilities": [], "tags": []}),
        json!({"config": {"private": true}, "description": "kept by the interface", "id": id, "ui": {"color": "red"}}),
    ] {
        let answer = json_of(node, "POST", &path, &body)?;
        fits("a changed network", &controller_network_types(), &answer)?;
        for (key, value) in body.as_object().into_iter().flatten() {
            let kept = &answer[key];
            let same = kept == value
                || !controller_network_types().as_object().is_some_and(|known| known.contains_key(key));
            ensure!(same, "{key}: {kept} instead of {value}");
        }
    }
    let member = cluster.members[0].address.clone();
    cluster.members[0].join(&id)?;
    let at = format!("{path}/member/{member}");
    tool::wait_for("the member's request", LIMIT, Duration::from_millis(100), || {
        let list = json_of(cluster.controller(), "GET", &format!("{path}/member"), &Value::Null)?;
        list.get(&member).map(|revision| fits("revision", &json!("number"), revision)).transpose()
    })?;
    let node = cluster.controller();
    for body in [
        json!({"authorized": true}),
        json!({"name": "one"}),
        json!({"ipAssignments": ["10.21.0.77"]}),
        json!({"activeBridge": true, "noAutoAssignIps": true}),
        json!({"tags": [], "capabilities": []}),
    ] {
        let answer = json_of(node, "POST", &at, &body)?;
        fits("a changed member", &member_types(), &answer)?;
        for (key, value) in body.as_object().into_iter().flatten() {
            ensure!(&answer[key] == value, "{key}: {} instead of {value}", answer[key]);
        }
    }
    let peer = json_of(node, "GET", &format!("/peer/{member}"), &Value::Null)?;
    fits("/peer/ID", &peer_types(), &peer)?;
    let joined = cluster.members[0].wait_status(&id, "OK", LIMIT)?;
    ensure!(
        joined["assignedAddresses"].as_array().is_some_and(|ips| ips.contains(&json!("10.21.0.77/16"))),
        "{joined}"
    );
    let node = cluster.controller();
    fits("a deleted member", &member_types(), &json_of(node, "DELETE", &at, &Value::Null)?)?;
    fits("a deleted network", &controller_network_types(), &json_of(node, "DELETE", &path, &Value::Null)?)?;
    let (status, _) = ask(node, Shown::Header, &token(node)?, "GET", &path, "")?;
    ensure!(status == 404, "a deleted network: {status}");
    cluster.members[0].request("DELETE", &format!("/network/{id}"), None)?;
    Ok(())
}

/// Libraries with fixed types, the desktop program, name servers and managers of resolvers: the node's own side.
fn clients(cluster: &mut Cluster) -> Result<()> {
    let network = cluster.network.clone();
    let node = &cluster.members[0];
    let port = fs::read_to_string(node.home().join("zerotier-one.port"))?;
    ensure!(port == lab::daemon::PORT.to_string(), "zerotier-one.port holds {port:?}");
    fits("/status", &status_types(), &json_of(node, "GET", "/status", &Value::Null)?)?;
    fits("/network", &json!([network_types()]), &json_of(node, "GET", "/network", &Value::Null)?)?;
    fits("/peer", &json!([peer_types()]), &json_of(node, "GET", "/peer", &Value::Null)?)?;
    let path = format!("/network/{network}");
    for (key, value) in
        [("allowGlobal", true), ("allowGlobal", false), ("allowDefault", false), ("allowManaged", true)]
    {
        let answer = json_of(node, "POST", &path, &json!({key: value}))?;
        fits("settings", &network_types(), &answer)?;
        ensure!(answer[key] == value, "{answer}");
    }
    // A whole network object comes back, as programs send it that change one field of what they read.
    let mut whole = json_of(node, "GET", &path, &Value::Null)?;
    whole["allowDNS"] = json!(true);
    ensure!(json_of(node, "POST", &path, &whole)?["allowDNS"] == true, "allowDNS in a whole object");
    ensure!(json_of(node, "POST", &path, &json!({"allowDNS": false}))?["allowDNS"] == false, "and back");
    let secret = token(node)?;
    for shown in [Shown::Header, Shown::Bearer, Shown::Query] {
        ensure!(ask(node, shown, &secret, "GET", "/status", "")?.0 == 200, "a way to show the token");
    }
    for (shown, token) in [(Shown::Header, "wrong"), (Shown::Nothing, "")] {
        let refused = ask(node, shown, token, "GET", "/status", "")?;
        ensure!(refused == (401, "{}".to_owned()), "{refused:?}");
    }
    Ok(())
}

fn monitoring(cluster: &mut Cluster) -> Result<()> {
    let node = &cluster.members[0];
    let secret = fs::read_to_string(node.home().join("metricstoken.secret"))?;
    for shown in [Shown::Header, Shown::Bearer, Shown::Query] {
        let (status, page) = ask(node, shown, secret.trim(), "GET", "/metrics", "")?;
        ensure!(status == 200, "/metrics: {status}");
        for name in
            ["zt_packet{", "zt_data{", "zt_num_networks", "zt_network_packets{", "zt_peer_path_count{"]
        {
            ensure!(page.contains(name), "no {name} in {page}");
        }
    }
    ensure!(
        ask(node, Shown::Header, secret.trim(), "GET", "/status", "")?.0 == 401,
        "the metrics token opens nothing else"
    );
    ensure!(ask(node, Shown::Nothing, "", "GET", "/health", "")?.0 == 200, "/health needs no token");
    Ok(())
}

#[test]
fn requests_of_other_programs() {
    let plan = Plan::new().cloud("aws").cloud("gcp");
    testing::run("requests_of_other_programs", &plan, |cluster| {
        web_interfaces(cluster).context("web interfaces")?;
        clients(cluster).context("clients")?;
        monitoring(cluster).context("monitoring")
    });
}

/// `zerotier-cli` and its kind under the names that scripts call.
fn called(node: &Daemon, name: &str, words: &[&str]) -> Result<tool::Said> {
    let folder = node.home().join("bin");
    fs::create_dir_all(&folder)?;
    let link = folder.join(name);
    if !link.exists() {
        let ours = binaries::ours()?;
        symlink(if name == "zerotier-one" { &ours.ztnode } else { &ours.cli }, &link)?;
    }
    let mut command: Command = node.host.namespace.command(&link.to_string_lossy());
    command.args(words);
    tool::finish(command, None, tool::LIMIT)
}

/// Routers, declarative systems, add-ons and containers place files before the first start: an identity, a token, settings
/// behind a link, and an empty file for each network. Configuration management then reads what the tool says.
fn placed_files(cluster: &mut Cluster) -> Result<()> {
    let network = cluster.network.clone();
    cluster.members[0].stop()?;
    let home = cluster.members[0].home().to_owned();
    fs::remove_dir_all(home.join("networks.d"))?;
    fs::remove_file(home.join("identity.public"))?;
    fs::create_dir(home.join("networks.d"))?;
    fs::File::create(home.join(format!("networks.d/{network}.conf")))?;
    let store = home.join("store");
    fs::create_dir(&store)?;
    fs::rename(home.join("local.conf"), store.join("local.conf"))?;
    symlink(store.join("local.conf"), home.join("local.conf"))?;
    cluster.members[0].start()?;
    cluster.members[0].wait_ready()?;
    cluster.members[0].wait_status(&network, "OK", LIMIT)?;
    let node = &cluster.members[0];
    let at = format!("-D{}", home.display());
    // What playbooks and health checks look for, word by word.
    let info = called(node, "zerotier-cli", &[&at, "info"])?.stdout()?;
    let words: Vec<&str> = info.split_whitespace().collect();
    ensure!(words[..3] == ["200", "info", node.address.as_str()] && words[4] == "ONLINE", "{info}");
    let listed = called(node, "zerotier-cli", &[&at, "listnetworks"])?.stdout()?;
    let line = listed.lines().find(|line| line.contains(&network)).context("the network is not listed")?;
    let words: Vec<&str> = line.split_whitespace().collect();
    ensure!(words[..3] == ["200", "listnetworks", network.as_str()] && words.contains(&"OK"), "{line}");
    let listed: Value =
        serde_json::from_str(&called(node, "zerotier-cli", &[&at, "-j", "listnetworks"])?.stdout()?)?;
    fits("listnetworks -j", &json!([network_types()]), &listed)?;
    let status = called(node, "zerotier-cli", &[&at, "get", &network, "status"])?.stdout()?;
    ensure!(status.trim() == "OK", "{status}");
    let set = called(node, "zerotier-cli", &[&at, "set", &network, "allowGlobal=0"])?;
    ensure!(set.ok(), "{set:?}");
    let joined = called(node, "zerotier-cli", &[&at, "join", &network])?.stdout()?;
    ensure!(joined.trim() == "200 join OK", "{joined}");
    let peers: Value = serde_json::from_str(&called(node, "zerotier-cli", &[&at, "-j", "peers"])?.stdout()?)?;
    fits("peers -j", &json!([peer_types()]), &peers)?;
    ensure!(
        fs::symlink_metadata(home.join(format!("networks.d/{network}.conf")))?.is_file(),
        "the file that tells who has joined"
    );
    ensure!(
        fs::metadata(home.join("identity.secret"))?.permissions().mode() & 0o077 == 0,
        "the secret is open to others"
    );
    // A backup of the directory is one of the node.
    let copy = cluster.lab.dir().join("copy");
    let mut cp = Command::new("cp");
    cp.arg("-a").arg(&home).arg(&copy);
    tool::finish(cp, None, LIMIT)?.stdout()?;
    for file in ["identity.secret", "authtoken.secret", "local.conf"] {
        ensure!(fs::read(copy.join(file))? == fs::read(home.join(file))?, "{file} in the copy");
    }
    Ok(())
}

/// Identities are made and read by the tool of that name.
fn identities(cluster: &Cluster) -> Result<()> {
    let node = &cluster.members[1];
    let folder = cluster.lab.dir().join("made");
    fs::create_dir_all(&folder)?;
    let (secret, public) = (folder.join("identity.secret"), folder.join("identity.public"));
    let (secret, public) = (secret.to_string_lossy().into_owned(), public.to_string_lossy().into_owned());
    ensure!(called(node, "zerotier-idtool", &["generate", &secret, &public])?.ok(), "generate");
    let valid = called(node, "zerotier-idtool", &["validate", &public])?;
    ensure!(valid.ok() && valid.stdout.contains("valid"), "{valid:?}");
    let shown = called(node, "zerotier-idtool", &["getpublic", &secret])?.stdout()?;
    ensure!(shown.trim() == fs::read_to_string(&public)?.trim(), "{shown}");
    let moon = called(node, "zerotier-idtool", &["initmoon", &public])?.stdout()?;
    fits(
        "initmoon",
        &json!({"id": "text", "objtype": "text", "roots": [{"identity": "text", "stableEndpoints": "list"}],
        "signingKey": "text", "signingKey_SECRET": "text", "worldType": "text"}),
        &serde_json::from_str(&moon)?,
    )
}

#[test]
fn files_and_commands_of_other_programs() {
    let plan = Plan::new().cloud("aws").cloud("gcp");
    testing::run("files_and_commands_of_other_programs", &plan, |cluster| {
        placed_files(cluster).context("placed files")?;
        identities(cluster).context("identities")
    });
}
