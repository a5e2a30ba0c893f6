//! A network on a machine that has other plans: another VPN, tools that tidy up, a renamed interface, no IPv6, two networks with
//! one subnet, a bridge.

use std::fs;
use std::net::IpAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lab::{Access, Cluster, Daemon, Plan, Seat, testing, tool, traffic};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(20);

fn pair() -> Plan {
    Plan::new().member("a", Seat::Ours, Access::Public).member("b", Seat::Ours, Access::Public)
}

/// Runs `ip` in a node's machine.
fn ip(node: &Daemon, words: &str) -> Result<String> {
    node.host.namespace.run("ip", &words.split_whitespace().collect::<Vec<_>>())
}

/// Waits until a network's object of the API is as it should be.
fn wait_network(node: &Daemon, network: &str, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
    tool::wait_for(what, LIMIT, STEP, || {
        let found = node.network(network)?.context("not joined")?;
        if is(&found) { Ok(Some(found)) } else { bail!("it is {found}") }
    })
}

/// What `ztnode-cli wait` says at once: its exit code and its JSON.
fn wait_now(node: &Daemon, network: &str) -> Result<(i32, Value)> {
    let mut command = node.cli_command(&["wait", network, "--timeout", "0", "-j"])?;
    let output = command.stdin(Stdio::null()).output()?;
    Ok((
        output.status.code().context("a signal")?,
        serde_json::from_slice(&output.stdout).unwrap_or_default(),
    ))
}

/// Waits until `wait` ends with this code at once.
fn wait_code(node: &Daemon, network: &str, code: i32) -> Result<Value> {
    wait_why(node, network, code, &[])
}

/// The same, with all these words in the remedy.
fn wait_why(node: &Daemon, network: &str, code: i32, why: &[&str]) -> Result<Value> {
    tool::wait_for(&format!("`wait` to end with {code} and {why:?}"), LIMIT, STEP, || {
        let (found, said) = wait_now(node, network)?;
        let remedy = said["remedy"].as_str().unwrap_or_default();
        if found == code && why.iter().all(|word| remedy.contains(word)) {
            return Ok(Some(said));
        }
        bail!("it ends with {found}: {said}")
    })
}

/// Waits until what `ip` shows has a text, or has it no more.
fn wait_shown(node: &Daemon, words: &str, text: &str, there: bool) -> Result<Duration> {
    let begun = Instant::now();
    let what = format!("`ip {words}` to show {}{text}", if there { "" } else { "no " });
    tool::wait_for(&what, LIMIT, Duration::from_millis(5), || {
        Ok((ip(node, words)?.contains(text) == there).then_some(()))
    })?;
    Ok(begun.elapsed())
}

fn texts(list: &Value, field: &str) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry[field].as_str())
        .map(str::to_owned)
        .collect()
}

/// Another network of the same controller.
fn another(cluster: &Cluster, fields: &Value) -> Result<String> {
    let controller = cluster.controller();
    let path = format!("/controller/network/{}______", controller.address);
    Ok(controller.post(&path, fields)?["id"].as_str().context("no id")?.to_owned())
}

/// Lets a member into a network, with these addresses.
fn admit(cluster: &Cluster, network: &str, node: &Daemon, addresses: &[&str]) -> Result<()> {
    let path = format!("/controller/network/{network}/member/{}", node.address);
    cluster.controller().post(&path, &json!({"authorized": true, "ipAssignments": addresses}))?;
    node.join(network)
}

fn other_vpn(cluster: &mut Cluster) -> Result<()> {
    let network = cluster.network.clone();
    cluster.ping(0, 1, LIMIT)?;
    let a = &cluster.members[0];
    let device = a.device(&network)?;
    let before = ip(a, &format!("-o addr show dev {device}"))?;

    ip(a, "tuntap add mode tun wgx")?;
    ip(a, "link set wgx up")?;
    ip(a, "addr add 10.200.0.2/32 dev wgx")?;
    for route in ["0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8"] {
        ip(a, &format!("route add {route} dev wgx"))?;
    }
    for route in ["::/1", "8000::/1"] {
        ip(a, &format!("-6 route add {route} dev wgx"))?;
    }
    let told = wait_network(a, &network, "what overlaps", |network| {
        let with = texts(&network["overlapping"], "with");
        with.iter().any(|with| with == "10.0.0.0/8") && with.iter().any(|with| with == "8000::/1")
    })?;
    ensure!(told["refused"] == json!([]), "{told}");
    ensure!(ip(a, &format!("-o addr show dev {device}"))? == before, "addresses were taken away");
    ensure!(wait_now(a, &network)?.0 == 0, "not ready");
    for (words, text) in [(vec!["info"], "wgx"), (vec!["doctor"], "lies in 10.0.0.0/8")] {
        let output = a.cli_command(&words)?.output()?;
        let said = [output.stdout, output.stderr].concat();
        ensure!(
            String::from_utf8_lossy(&said).contains(text),
            "{words:?}: {}",
            String::from_utf8_lossy(&said)
        );
    }
    let logged = a.log_tail(1000);
    ensure!(logged.matches("lies in 10.0.0.0/8").count() == 1, "the log says it more or less than once");
    ensure!(!logged.contains("is not there"), "what was just set is missed: {logged}");
    cluster.ping(0, 1, LIMIT)?;
    cluster.ping6(0, 1, LIMIT)?;

    // Halves alone are told, too.
    let a = &cluster.members[0];
    ip(a, "route del 10.0.0.0/8 dev wgx")?;
    wait_network(a, &network, "the halves to be told", |network| {
        texts(&network["overlapping"], "with").iter().any(|with| with == "0.0.0.0/1")
    })?;
    // Neighbours on a link are another matter: they are not hidden.
    ip(a, "link add lan0 type veth peer name lan1")?;
    ip(a, "link set lan0 up")?;
    ip(a, "addr add 10.0.0.77/8 dev lan0")?;
    wait_why(a, &network, 9, &["lan0 is connected to"])?;
    ip(a, "link del lan0")?;
    wait_code(a, &network, 0)?;
    ip(a, "link del wgx")?;
    wait_network(a, &network, "nothing to overlap", |network| network["overlapping"] == json!([]))?;
    ensure!(ip(a, &format!("-o addr show dev {device}"))?.contains("10.0.1.1/16"), "no address at the end");
    Ok(())
}

#[test]
fn another_vpn_takes_no_network_away() {
    testing::run("another_vpn_takes_no_network_away", &pair(), other_vpn);
}

fn kept(cluster: &mut Cluster) -> Result<()> {
    let network = cluster.network.clone();
    cluster.ping(0, 1, LIMIT)?;
    let a = &cluster.members[0];
    let device = a.device(&network)?;
    wait_shown(a, "-4 route show", "10.77.0.0/16 via 10.0.2.1", true)?;
    let mut took = Vec::new();
    for (undo, show, text) in [
        ("route del 10.0.0.0/16 dev DEV", "-4 route show dev DEV", "10.0.0.0/16"),
        ("route del 10.77.0.0/16 via 10.0.2.1", "-4 route show dev DEV", "10.77.0.0/16 via 10.0.2.1"),
        ("addr del 10.0.1.1/16 dev DEV", "-4 addr show dev DEV", "10.0.1.1/16"),
        ("-6 route del fd0e:10::/64 dev DEV", "-6 route show dev DEV", "fd0e:10::/64"),
        ("link set DEV mtu 1400", "link show dev DEV", "mtu 2800"),
        ("link set DEV down", "link show dev DEV", ",UP"),
        ("addr flush dev DEV", "-4 addr show dev DEV", "10.0.1.1/16"),
    ] {
        ip(a, &undo.replace("DEV", &device))?;
        took.push(wait_shown(a, &show.replace("DEV", &device), text, true)?.as_millis());
        for text in ["10.0.0.0/16", "10.77.0.0/16 via 10.0.2.1"] {
            wait_shown(a, &format!("-4 route show dev {device}"), text, true)?;
        }
    }
    wait_code(a, &network, 0)?;
    testing::say(&format!("put back after {took:?} ms"));
    cluster.ping(0, 1, LIMIT)?;
    cluster.ping6(0, 1, LIMIT)?;

    // Somebody who removes it as soon as it is there is not fought with for ever.
    let a = &cluster.members[0];
    let route = "10.78.0.0/16";
    let show = format!("-4 route show dev {device}");
    wait_shown(a, &show, route, true)?;
    let mut removed = 0;
    while removed < 20 {
        ip(a, &format!("route del {route} dev {device}"))?;
        removed += 1;
        let patience = Instant::now();
        while !ip(a, &show)?.contains(route) && patience.elapsed() < LIMIT {
            if a.network(&network)?.is_some_and(|n| n["problem"].is_string()) {
                break;
            }
        }
        if !ip(a, &show)?.contains(route) {
            break;
        }
    }
    ensure!((3..=7).contains(&removed), "it came back {removed} times");
    wait_why(a, &network, 9, &["10.78.0.0/16 is removed again and again", "allowManaged=0"])?;
    let logged = a.log_tail(1000);
    ensure!(logged.matches("is removed again and again").count() == 1, "{logged}");
    // The user has the last word.
    a.post(&format!("/network/{network}"), &json!({"allowManaged": false}))?;
    wait_code(a, &network, 0)?;
    ensure!(ip(a, &show)?.is_empty() && !ip(a, &format!("addr show dev {device}"))?.contains("10.0.1.1"));
    a.post(&format!("/network/{network}"), &json!({"allowManaged": true}))?;
    wait_code(a, &network, 0)?;
    ensure!(ip(a, &show)?.contains(route), "it does not begin anew");
    Ok(())
}

#[test]
fn what_is_set_comes_back_and_nobody_is_fought_with() {
    let routes = json!({"routes": [
        {"target": "10.0.0.0/16", "via": null}, {"target": "fd0e:10::/64", "via": null},
        {"target": "10.77.0.0/16", "via": "10.0.2.1"}, {"target": "10.78.0.0/16", "via": "10.0.2.1"}]});
    testing::run("what_is_set_comes_back_and_nobody_is_fought_with", &pair().network(routes), kept);
}

fn renamed(cluster: &mut Cluster) -> Result<()> {
    let network = cluster.network.clone();
    cluster.ping(0, 1, LIMIT)?;
    let a = &cluster.members[0];
    let device = a.device(&network)?;
    ip(a, &format!("link set {device} name office0"))?;
    let mut monitor = a.host.namespace.command("timeout");
    let watching = monitor.args(["2", "ip", "-o", "monitor", "address"]).stdout(Stdio::piped()).spawn()?;
    wait_network(a, &network, "the new name", |network| network["portDeviceName"] == "office0")?;
    let said = String::from_utf8_lossy(&watching.wait_with_output()?.stdout).into_owned();
    ensure!(said.matches("office0").count() < 6, "addresses come and go: {said}");
    ensure!(wait_now(a, &network)?.0 == 0 && ip(a, "-4 addr show dev office0")?.contains("10.0.1.1/16"));
    // What it does by the name goes on.
    ip(a, "addr add 10.0.99.9/16 dev office0")?;
    wait_network(a, &network, "the group of the new address", |network| {
        let groups = network["multicastSubscriptions"].as_array();
        groups.into_iter().flatten().any(|group| group["adi"] == 0x0a00_6309)
    })?;
    ip(a, "route del 10.0.0.0/16 dev office0")?;
    wait_shown(a, "-4 route show dev office0", "10.0.0.0/16", true)?;
    cluster.ping(0, 1, LIMIT)?;
    cluster.ping(1, 0, LIMIT)?;
    Ok(())
}

#[test]
fn a_renamed_interface_is_followed() {
    testing::run("a_renamed_interface_is_followed", &pair(), renamed);
}

fn no_ipv6(cluster: &mut Cluster) -> Result<()> {
    let network = cluster.network.clone();
    let a = &cluster.members[0];
    a.request("DELETE", &format!("/network/{network}"), None)?;
    a.host.namespace.run("sysctl", &["-qw", "net.ipv6.conf.all.disable_ipv6=1"])?;
    let mut command = a.cli_command(&["join", &network, "--wait=20", "-j"])?;
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(output.status.code() == Some(0), "{output:?}");
    let found = a.network(&network)?.context("not joined")?;
    let reasons = texts(&found["refused"], "reason");
    ensure!(
        reasons.len() == 3 && reasons.iter().all(|why| why.contains("IPv6 is switched off on this machine")),
        "{found}"
    );
    ensure!(texts(&found["refused"], "cause").iter().all(|cause| cause == "unavailable"), "{found}");
    ensure!(found["refused"][0]["blocking"] == false, "{found}");
    cluster.ping(0, 1, LIMIT)?;
    // When it is switched on, everything comes.
    let a = &cluster.members[0];
    a.host.namespace.run("sysctl", &["-qw", "net.ipv6.conf.all.disable_ipv6=0"])?;
    wait_network(a, &network, "nothing to be refused", |network| network["refused"] == json!([]))?;
    cluster.ping6(0, 1, LIMIT)?;
    // And off again, with the network joined.
    let a = &cluster.members[0];
    a.host.namespace.run("sysctl", &["-qw", "net.ipv6.conf.all.disable_ipv6=1"])?;
    wait_network(a, &network, "IPv6 to be refused", |network| {
        texts(&network["refused"], "cause").len() == 3
    })?;
    ensure!(wait_now(a, &network)?.0 == 0, "not ready");
    Ok(())
}

#[test]
fn without_ipv6_the_rest_works_and_is_not_waited_for() {
    testing::run("without_ipv6_the_rest_works_and_is_not_waited_for", &pair(), no_ipv6);
}

fn conflicts(cluster: &mut Cluster) -> Result<()> {
    let first = cluster.network.clone();
    let subnet = |subnet: &str, route: Option<(&str, &str)>| {
        let route = route.map(|(target, via)| json!({"target": target, "via": via}));
        let routes: Vec<Value> = [json!({"target": subnet})].into_iter().chain(route).collect();
        json!({"private": true, "v4AssignMode": {"zt": true}, "routes": routes, "ipAssignmentPools": []})
    };
    let a = &cluster.members[0];
    wait_shown(a, "-4 route show", "10.77.0.0/16 via 10.0.2.1", true)?;

    // One subnet twice.
    let second = another(cluster, &subnet("10.0.0.0/16", None))?;
    admit(cluster, &second, a, &["10.0.200.144"])?;
    wait_why(a, &second, 9, &[&format!("which this node's network {first}")])?;
    let shown = a.network(&second)?.context("joined")?;
    ensure!(texts(&shown["refused"], "target").contains(&"10.0.200.144/16".to_owned()), "{shown}");
    wait_code(a, &first, 0)?;
    ensure!(a.network(&first)?.context("joined")?["refused"] == json!([]));
    ensure!(ip(a, "-4 route show 10.0.0.0/16")?.lines().count() == 1, "two routes to one subnet");

    // One route twice.
    let third = another(cluster, &subnet("10.20.0.0/16", Some(("10.77.0.0/16", "10.20.0.9"))))?;
    admit(cluster, &third, a, &["10.20.0.1"])?;
    wait_why(a, &third, 9, &["has a route to 10.77.0.0/16 already"])?;
    let info = a.status()?;
    let refused: Vec<&Value> = info["refused"].as_array().into_iter().flatten().collect();
    ensure!(
        refused.iter().any(|r| r["network"] == third.as_str() && r["target"] == "10.77.0.0/16"),
        "{info}"
    );

    // What the first one leaves, the others take.
    ensure!(a.request("DELETE", &format!("/network/{first}"), None)?.status == 200);
    for network in [&second, &third] {
        wait_code(a, network, 0)?;
    }
    ensure!(ip(a, "-4 route show")?.contains("10.77.0.0/16 via 10.20.0.9"));

    // An administrator's route to the same place comes first, whatever it leads through.
    for by in ["via 80.0.2.1", "dev eth0"] {
        ip(a, &format!("route add 10.77.0.0/16 {by}"))?;
        wait_why(a, &third, 9, &["10.77.0.0/16", "eth0"])?;
        ip(a, &format!("route del 10.77.0.0/16 {by}"))?;
        wait_code(a, &third, 0)?;
    }
    // One to the network's own subnet, as well.
    ip(a, "route prepend 10.20.0.0/16 via 80.0.2.1")?;
    wait_why(a, &third, 9, &["10.20.0.0/16 via 80.0.2.1"])?;
    ip(a, "route del 10.20.0.0/16 via 80.0.2.1")?;
    wait_code(a, &third, 0)?;
    Ok(())
}

#[test]
fn what_somebody_else_has_is_named_and_not_called_ready() {
    let routes = json!({"routes": [
        {"target": "10.0.0.0/16", "via": null}, {"target": "fd0e:10::/64", "via": null},
        {"target": "10.77.0.0/16", "via": "10.0.2.1"}]});
    testing::run("what_somebody_else_has_is_named_and_not_called_ready", &pair().network(routes), conflicts);
}

/// `kill -HUP`.
fn hang_up(node: &Daemon) -> Result<()> {
    let pid = node.pid().context("not running")?.to_string();
    ensure!(std::process::Command::new("kill").args(["-HUP", &pid]).status()?.success());
    Ok(())
}

fn settings(cluster: &mut Cluster) -> Result<()> {
    let network = cluster.network.clone();
    let a = &cluster.members[0];
    let (path, device) = (format!("/network/{network}"), a.device(&network)?);
    let file = a.home().join(format!("networks.d/{network}.local.conf"));
    let lists = |node: &Daemon| -> Result<Value> {
        Ok(node.network(&network)?.context("joined")?["allowManagedWithin"].clone())
    };

    // A list keeps out what is outside it, wherever it is said.
    a.post(&path, &json!({"allowManaged": "fd0e::/16, fc00::/7"}))?;
    wait_shown(a, &format!("addr show dev {device}"), "10.0.1.1", false)?;
    ensure!(lists(a)? == json!(["fd0e::/16", "fc00::/7"]));
    ensure!(fs::read_to_string(&file)?.contains("allowManaged=fd0e::/16,fc00::/7\n"));
    ensure!(wait_now(a, &network)?.0 == 0, "not ready");
    a.post(&path, &json!({"allowManaged": "on", "allowGlobal": "Yes", "allowDNS": 1}))?;
    wait_shown(a, &format!("addr show dev {device}"), "10.0.1.1", true)?;
    ensure!(fs::read_to_string(&file)? == "allowManaged=1\nallowGlobal=1\nallowDefault=0\nallowDNS=1\n");

    // What cannot be understood changes nothing.
    let before = (fs::read_to_string(&file)?, a.get(&path)?["allowDNS"].clone());
    for body in [
        json!({"allowDNS": false, "allowGlobal": "perhaps"}),
        json!({"allowDNS": false, "allowManaged": "10.0.0.0/33"}),
        json!({"allowDNS": false, "allowManaged": ""}),
        json!({"allowDNS": false, "allowDefault": [true]}),
    ] {
        let reply = a.request("POST", &path, Some(&body))?;
        ensure!(reply.status == 400, "{body}: {} {}", reply.status, reply.body);
        ensure!(
            reply.body["description"].as_str().is_some_and(|why| why.starts_with("allow")),
            "{}",
            reply.body
        );
        ensure!(
            (fs::read_to_string(&file)?, a.get(&path)?["allowDNS"].clone()) == before,
            "{body} changed something"
        );
    }

    // An edit by hand counts at the next change, is not overwritten, and what else stands there stays.
    fs::write(&file, "# for the branch\nallowManaged=10.9.0.0/16\n")?;
    a.post(&path, &json!({"allowGlobal": "on"}))?;
    let expected = "# for the branch\nallowManaged=10.9.0.0/16\nallowGlobal=1\nallowDefault=0\nallowDNS=0\n";
    ensure!(fs::read_to_string(&file)? == expected, "{}", fs::read_to_string(&file)?);
    ensure!(lists(a)? == json!(["10.9.0.0/16"]) && a.get(&path)?["allowDNS"] == false);
    wait_shown(a, &format!("addr show dev {device}"), "10.0.1.1", false)?;

    // By SIGHUP it counts at once.
    fs::write(&file, "allowManaged=10.0.0.0/8\n")?;
    hang_up(a)?;
    wait_shown(a, &format!("addr show dev {device}"), "10.0.1.1", true)?;
    ensure!(lists(a)? == json!(["10.0.0.0/8"]));

    // A bad file changes nothing, is told, and not overwritten.
    fs::write(&file, "allowManaged=10.9.0.0/61\nallowGlobal=perhaps\n")?;
    hang_up(a)?;
    let told = wait_network(a, &network, "the complaint", |network| network["settingsProblem"].is_string())?;
    let why = told["settingsProblem"].as_str().unwrap_or_default();
    ensure!(why.contains("line 1: allowManaged") && why.contains("line 2: allowGlobal=perhaps"), "{told}");
    ensure!(lists(a)? == json!(["10.0.0.0/8"]), "a bad file changed something");
    let reply = a.request("POST", &path, Some(&json!({"allowDNS": true})))?;
    ensure!(
        reply.status == 400 && reply.body.to_string().contains("line 1"),
        "{} {}",
        reply.status,
        reply.body
    );
    ensure!(fs::read_to_string(&file)?.contains("perhaps"), "the file was overwritten");
    // It is closed at a start, not wide open.
    let a = &mut cluster.members[0];
    a.stop()?;
    a.start()?;
    a.wait_ready()?;
    let shown = a.network(&network)?.context("joined")?;
    ensure!(shown["allowManaged"] == false && shown["settingsProblem"].is_string(), "{shown}");
    fs::write(&file, "\u{feff}allowManaged=yes\r\n")?;
    hang_up(a)?;
    let shown = wait_network(a, &network, "the good file", |network| network["allowManaged"] == true)?;
    ensure!(shown["settingsProblem"].is_null(), "{shown}");
    Ok(())
}

#[test]
fn what_a_network_may_do_is_read_strictly_everywhere() {
    testing::run("what_a_network_may_do_is_read_strictly_everywhere", &pair(), settings);
}

fn bridge(cluster: &mut Cluster) -> Result<()> {
    let network = cluster.network.clone();
    cluster.set_member(0, &json!({"activeBridge": true}))?;
    let a = &cluster.members[0];
    let device = a.device(&network)?;
    wait_network(a, &network, "the right to bridge", |network| network["bridge"] == true)?;
    ip(a, "link add br0 type bridge")?;
    ip(a, &format!("link set {device} master br0"))?;
    ip(a, "link set br0 up")?;
    ip(a, "addr add 10.0.50.1/16 dev br0")?;
    let shown = wait_network(a, &network, "the bridge to be told", |network| {
        texts(&network["refused"], "cause").iter().any(|cause| cause == "bridged")
    })?;
    ensure!(texts(&shown["refused"], "reason").iter().all(|why| why.contains("br0")), "{shown}");
    ensure!(wait_now(a, &network)?.0 == 0, "not ready");
    let there: IpAddr = cluster.fixed(1).into();
    traffic::first_ping(&a.host.namespace, there, LIMIT)?;
    ip(a, &format!("link set {device} nomaster"))?;
    ip(a, "link del br0")?;
    wait_shown(a, &format!("addr show dev {device}"), "10.0.1.1/16", true)?;
    wait_code(a, &network, 0)?;
    cluster.ping(0, 1, LIMIT)?;
    Ok(())
}

#[test]
fn a_port_of_a_bridge_is_ready() {
    testing::run("a_port_of_a_bridge_is_ready", &pair(), bridge);
}

/// Processor time that a node has used.
fn used(node: &Daemon) -> Result<Duration> {
    let pid = node.pid().context("not running")?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(") ").next().context("no fields")?.split(' ').collect();
    let ticks: u64 = [11, 12].into_iter().filter_map(|at| fields.get(at)?.parse::<u64>().ok()).sum();
    // The kernel's clock for this has 100 ticks a second everywhere.
    Ok(Duration::from_millis(ticks * 10))
}

/// What it costs a node when links come and go.
fn churn(node: &Daemon, name: &str) -> Result<Duration> {
    let before = used(node)?;
    for number in 0..40 {
        ip(node, &format!("link add {name}{number} type veth peer name x{name}{number}"))?;
        ip(node, &format!("addr add 172.20.{number}.1/24 dev {name}{number}"))?;
        ip(node, &format!("link set {name}{number} up"))?;
        // So that each is an event of its own.
        wait_interfaces(node, &format!("{name}{number}"), true)?;
        ip(node, &format!("link del {name}{number}"))?;
        wait_interfaces(node, &format!("{name}{number}"), false)?;
    }
    Ok(used(node)? - before)
}

/// Waits until the node knows an interface, or knows it no more.
fn wait_interfaces(node: &Daemon, name: &str, there: bool) -> Result<()> {
    tool::wait_for(&format!("{name} to be known: {there}"), LIMIT, Duration::from_millis(100), || {
        let status = node.status()?;
        let known = texts(&status["interfaces"], "name").iter().any(|known| known == name);
        Ok((known == there).then_some(()))
    })
}

fn crowded(cluster: &mut Cluster) -> Result<()> {
    let a = &cluster.members[0];
    let few = churn(a, "f")?;
    let routes: String = (0..20_000u32)
        .map(|n| {
            let way = if n % 3 == 0 { "dev eth0" } else { "via 80.0.9.9" };
            format!("route add 11.{}.{}.{}/32 {way}\n", n >> 16, n >> 8 & 255, n & 255)
        })
        .collect();
    a.host.namespace.ip(&routes)?;
    let many = churn(a, "m")?;
    testing::say(&format!("80 link events cost {few:?} of processor time, beside 20,000 routes {many:?}"));
    ensure!(
        many < few + few / 2 + Duration::from_millis(500),
        "{few:?} with few routes, {many:?} with 20,000"
    );
    Ok(())
}

#[test]
fn a_long_routing_table_costs_nothing() {
    let plan = Plan::new().member("a", Seat::Ours, Access::Public);
    testing::run("a_long_routing_table_costs_nothing", &plan, crowded);
}
