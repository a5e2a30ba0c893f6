//! Two clouds behind NATs with the same private subnet: everything a pair of machines does on an Ethernet.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Access, Cluster, Plan, Seat, testing, traffic};

const LIMIT: Duration = Duration::from_secs(10);

/// Both ways: IPv4, every kind of managed IPv6 address, ARP, NDP, and a checked TCP stream.
fn everything(cluster: &mut Cluster) -> Result<()> {
    for (from, to) in [(0, 1), (1, 0)] {
        cluster.ping(from, to, LIMIT).context("IPv4")?;
        cluster.ping6(from, to, LIMIT).context("IPv6")?;
        let namespace = &cluster.members[from].host.namespace;
        let mac = cluster.members[to].mac(&cluster.network)?;
        let arp = traffic::neighbour(namespace, IpAddr::V4(cluster.fixed(to)))?;
        ensure!(arp.as_deref() == Some(&mac), "ARP says {arp:?}, the interface has {mac}");
        let pool =
            cluster.ip6(to)?.into_iter().find(|ip| ip.segments()[0] == 0xfd0e).context("no pool address")?;
        let ndp = traffic::neighbour(namespace, IpAddr::V6(pool))?;
        ensure!(ndp.as_deref() == Some(&mac), "NDP says {ndp:?} for {pool}, the interface has {mac}");
        cluster.tcp(from, to, 10 << 20).context("10 MB over TCP")?;
    }
    Ok(())
}

#[test]
fn two_clouds() {
    testing::run("two_clouds", &Plan::new().cloud("aws").cloud("gcp"), everything);
}

#[test]
fn a_laptop_without_nat_and_a_cloud() {
    let plan = Plan::new().cloud("aws").member("laptop", Seat::Ours, Access::Public);
    testing::run("a_laptop_without_nat_and_a_cloud", &plan, everything);
}

#[test]
fn the_controller_on_a_host_of_its_own() {
    let plan = Plan::new().controller(Seat::Ours).cloud("aws").cloud("gcp");
    testing::run("the_controller_on_a_host_of_its_own", &plan, everything);
}

/// Frames of every size around the borders of datagrams, fragments and the virtual MTU.
#[test]
fn pings_of_all_sizes() {
    testing::run("pings_of_all_sizes", &Plan::new().cloud("aws").cloud("gcp"), |cluster| {
        cluster.ping(0, 1, LIMIT)?;
        let target = cluster.fixed(1).to_string();
        for size in [
            0, 1, 56, 1300, 1370, 1371, 1372, 1400, 1401, 1402, 1403, 1404, 2000, 2771, 2772, 2773, 9000,
            60000,
        ] {
            let size = size.to_string();
            let namespace = &cluster.members[0].host.namespace;
            // Three tries: a lost datagram is no fault of the size.
            namespace.run("ping", &["-n", "-q", "-c", "3", "-i", "0.02", "-W", "2", "-s", &size, &target])?;
        }
        Ok(())
    });
}

/// A member that is not authorized sees that, and gets in without a command of its own when it is.
#[test]
fn authorization_takes_effect_by_itself() {
    testing::run("authorization_takes_effect_by_itself", &Plan::new().cloud("aws").cloud("gcp"), |cluster| {
        let made = cluster.controller().post(
            &format!("/controller/network/{}______", cluster.controller().address),
            &serde_json::json!({"name": "late", "private": true}),
        )?;
        let late = made["id"].as_str().context("no id")?.to_owned();
        cluster.members[0].join(&late)?;
        cluster.members[0].wait_status(&late, "ACCESS_DENIED", LIMIT)?;
        let path = format!("/controller/network/{late}/member/{}", cluster.members[0].address);
        cluster.controller().post(&path, &serde_json::json!({"authorized": true}))?;
        cluster.members[0].wait_status(&late, "OK", LIMIT)?;
        let gone = format!("{}ffffff", cluster.controller().address);
        cluster.members[0].join(&gone)?;
        cluster.members[0].wait_status(&gone, "NOT_FOUND", LIMIT)?;
        Ok(())
    });
}
