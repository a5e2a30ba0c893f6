//! Links that a node uses or leaves alone: a router's bridge, interfaces with unlucky names, hundreds of addresses, and lists of
//! addresses that change.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Access, Cluster, Daemon, Namespace, Plan, Seat, testing, tool, traffic};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(50);

/// What the status says of an interface.
fn interface(daemon: &Daemon, name: &str) -> Result<Option<Value>> {
    let status = daemon.status()?;
    let all = status["interfaces"].as_array().cloned().unwrap_or_default();
    Ok(all.into_iter().find(|interface| interface["name"] == name))
}

fn wait_logged(daemon: &Daemon, text: &str) -> Result<()> {
    tool::wait_for(&format!("{} to say: {text}", daemon.name()), LIMIT, STEP, || {
        Ok(daemon.log_tail(200).contains(text).then_some(()))
    })
}

fn listening(daemon: &Daemon) -> Result<Value> {
    Ok(daemon.status()?["config"]["settings"]["listeningOn"].clone())
}

fn wait_listening(daemon: &Daemon, wanted: &Value) -> Result<()> {
    tool::wait_for(&format!("{} to listen on {wanted}", daemon.name()), LIMIT, STEP, || {
        Ok((listening(daemon)? == *wanted).then_some(()))
    })
}

/// A router: `br-lan` over a port, the internet at the other side, and a bridge of containers.
fn behind_a_router(cluster: &mut Cluster) -> Result<()> {
    let (router, peer) = (cluster.members[0].host.clone(), cluster.members[1].host.clone());
    cluster.members[1].stop()?;
    peer.namespace.ip("link del eth0\n")?;
    let container = Namespace::create(cluster.lab.name(), "container")?;
    router.namespace.ip(&format!(
        "link add br-lan type bridge\n\
         link add lan1 type veth peer name eth0 netns {}\n\
         link set lan1 master br-lan\nlink set lan1 up\n\
         addr add 192.168.7.1/24 dev br-lan\nlink set br-lan up\n\
         route add default via {} dev eth0\n\
         link add docker0 type bridge\n\
         link add vethc type veth peer name eth0 netns {}\n\
         link set vethc master docker0\nlink set vethc up\n\
         addr add 172.17.0.1/16 dev docker0\nlink set docker0 up\n",
        peer.namespace.name(),
        cluster.root.host.public,
        container.name(),
    ))?;
    router.namespace.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
    // The peer's port is not to be taken for the router's own.
    router.namespace.nft(
        "table ip nat {\n  chain post {\n    type nat hook postrouting priority 100;\n    oifname \"eth0\" ip saddr 192.168.7.0/24 udp dport 1-65535 masquerade to :20000-30000\n  }\n}\n",
    )?;
    peer.namespace
        .ip("addr add 192.168.7.10/24 dev eth0\nlink set eth0 up\nroute add default via 192.168.7.1\n")?;
    cluster.members[1].start()?;
    cluster.members[1].wait_ready()?;
    cluster.members[1].wait_online(LIMIT)?;

    cluster.ping(0, 1, LIMIT)?;
    let direct = |from: usize, to: usize, wanted: &str| {
        let address = cluster.members[to].address.clone();
        tool::wait_for(&format!("a path to {wanted}"), LIMIT, STEP, || {
            Ok((cluster.members[from].path_to(&address)?.as_deref() == Some(wanted)).then_some(()))
        })
    };
    direct(0, 1, "192.168.7.10/9993")?;
    direct(1, 0, "192.168.7.1/9993")?;
    let wan = format!("{}/9993", router.public);
    wait_listening(&cluster.members[0], &json!(["80.0.2.1/9993", "192.168.7.1/9993"]))
        .or_else(|_| wait_listening(&cluster.members[0], &json!(["192.168.7.1/9993", wan])))?;
    let docker = interface(&cluster.members[0], "docker0")?.context("docker0 is not shown")?;
    ensure!(docker["used"] == false, "{docker}");
    ensure!(docker["ignored"][0]["reason"].to_string().contains("interfacePrefixAllow"), "{docker}");

    cluster.lab.cable(&router, false)?;
    cluster.ping(0, 1, LIMIT).context("without the internet")?;
    cluster.ping(1, 0, LIMIT).context("without the internet")?;
    cluster.lab.cable(&router, true)?;

    // By name, whatever the links lead to.
    cluster.members[0].post("/config/settings", &json!({"interfacePrefixAllow": ["docker"]}))?;
    tool::wait_for("docker0 to be used", LIMIT, STEP, || {
        let docker = interface(&cluster.members[0], "docker0")?.context("docker0 is not shown")?;
        Ok((docker["used"] == true).then_some(()))
    })?;
    cluster.members[0].post("/config/settings", &json!({"interfacePrefixBlacklist": ["docker", "br-"]}))?;
    wait_listening(&cluster.members[0], &json!([wan]))
}

#[test]
fn a_router_reaches_its_lan_by_its_bridge() {
    let plan =
        Plan::new().member("router", Seat::Ours, Access::Public).member("peer", Seat::Ours, Access::Public);
    testing::run("a_router_reaches_its_lan_by_its_bridge", &plan, behind_a_router);
}

#[test]
fn an_unlucky_name_or_a_slip_of_the_pen() {
    let plan = Plan::new().member("tapped", Seat::Ours, Access::Public).cloud("aws");
    testing::run("an_unlucky_name_or_a_slip_of_the_pen", &plan, |cluster| {
        let tapped = cluster.members[0].host.clone();
        cluster.members[0].stop()?;
        tapped.namespace.ip("link set eth0 down\nlink set eth0 name tap0\nlink set tap0 up\n")?;
        cluster.members[0].start()?;
        cluster.members[0].wait_ready()?;
        cluster.members[0].wait_online(LIMIT).context("the only interface is called tap0")?;
        cluster.ping(0, 1, LIMIT)?;

        // A tunnel that carries no default route is not used, and it is said.
        cluster.members[0].stop()?;
        tapped.namespace.ip(
            "link set tap0 down\ntuntap add dev tap1 mode tap\naddr add 10.9.9.1/24 dev tap1\nlink set tap1 up\n",
        )?;
        cluster.members[0].start()?;
        cluster.members[0].wait_ready()?;
        wait_logged(&cluster.members[0], "WARN")?;
        wait_logged(&cluster.members[0], "there is no UDP address to listen on")?;
        let log = cluster.members[0].log_tail(200);
        for text in ["tap1 10.9.9.1", "settings.bind", "settings.interfacePrefixAllow"] {
            ensure!(log.contains(text), "no {text}:\n{log}");
        }
        cluster.members[0].post("/config/settings", &json!({"interfacePrefixAllow": ["tap"]}))?;
        wait_listening(&cluster.members[0], &json!(["10.9.9.1/9993"]))?;
        tapped.namespace.ip("route add default dev tap1\n")?;
        cluster.members[0].post("/config/settings", &json!({"interfacePrefixAllow": []}))?;
        wait_listening(&cluster.members[0], &json!(["10.9.9.1/9993"])).context("the default route's link")?;

        cluster.members[0].post("/config/settings", &json!({"bind": ["80.0.2.11"]}))?;
        wait_logged(&cluster.members[0], "settings.bind in local.conf names 80.0.2.11, which no interface")?;
        ensure!(listening(&cluster.members[0])? == json!([]));
        Ok(())
    });
}

#[test]
fn three_hundred_addresses() {
    let plan = Plan::new().member("crowded", Seat::Ours, Access::Public).cloud("aws");
    testing::run("three_hundred_addresses", &plan, |cluster| {
        let host = cluster.members[0].host.clone();
        cluster.members[0].stop()?;
        let batch: String =
            (0..300).map(|n| format!("addr add 10.77.{}.{}/32 dev eth0\n", n / 250, n % 250 + 1)).collect();
        host.namespace.ip(&batch)?;
        cluster.members[0].start()?;
        cluster.members[0].wait_ready()?;
        cluster.members[0].wait_online(LIMIT).context("with 301 addresses")?;
        let bound = listening(&cluster.members[0])?;
        let bound = bound.as_array().context("no list")?;
        ensure!(bound.len() == 256 && bound.contains(&json!(format!("{}/9993", host.public))), "{bound:?}");
        let eth0 = interface(&cluster.members[0], "eth0")?.context("eth0 is not shown")?;
        let ignored = eth0["ignored"].as_array().context("no list")?;
        let cut = ignored.iter().filter(|i| i["reason"].to_string().contains("more than 256 addresses"));
        ensure!(cut.count() == 45, "{ignored:?}");
        wait_logged(&cluster.members[0], "45 addresses of this machine are not listened on")?;
        cluster.ping(0, 1, LIMIT).map(drop)
    });
}

#[test]
fn another_list_of_addresses_while_running() {
    let plan = Plan::new().member("listed", Seat::Ours, Access::Public).cloud("aws");
    testing::run("another_list_of_addresses_while_running", &plan, |cluster| {
        cluster.ping(0, 1, LIMIT)?;
        let own = cluster.members[0].host.public.to_string();
        for (bind, shown) in
            [(&own[..], &own[..]), ("0.0.0.0", "0.0.0.0"), (&own, &own), ("0.0.0.0", "0.0.0.0")]
        {
            cluster.members[0].post("/config/settings", &json!({"bind": [bind]}))?;
            ensure!(
                listening(&cluster.members[0])? == json!([format!("{shown}/9993")]),
                "{bind}: {}",
                listening(&cluster.members[0])?
            );
            let log = cluster.members[0].log_tail(200);
            ensure!(!log.contains("cannot listen on this UDP address"), "{log}");
            cluster.ping(0, 1, LIMIT).with_context(|| format!("bound to {bind}"))?;
        }
        cluster.members[0].post("/config/settings", &json!({"bind": []}))?;
        wait_listening(&cluster.members[0], &json!([format!("{own}/9993")]))?;
        let target = IpAddr::V4(cluster.fixed(1));
        cluster.ping(0, 1, LIMIT)?;
        let pings = traffic::pings(&cluster.members[0].host.namespace, target, 10, STEP)?;
        ensure!(pings >= 8, "{pings} of 10 pings");
        Ok(())
    });
}
