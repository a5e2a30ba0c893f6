//! Machines that move: a pulled cable, a new address, a NAT router that forgets.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Access, Cluster, Plan, Seat, testing, traffic};

const LIMIT: Duration = Duration::from_secs(10);
/// Interfaces are looked at every 30 s.
const REBIND: Duration = Duration::from_secs(60);

fn steady(cluster: &Cluster) -> Result<()> {
    let received = traffic::pings(
        &cluster.members[0].host.namespace,
        IpAddr::V4(cluster.fixed(1)),
        20,
        Duration::from_millis(50),
    )?;
    ensure!(received >= 18, "{received} of 20 pings");
    cluster.tcp(0, 1, 1 << 20).map(drop)
}

#[test]
fn a_pulled_cable() {
    testing::run("a_pulled_cable", &Plan::new().cloud("aws").cloud("gcp"), |cluster| {
        cluster.ping(0, 1, LIMIT)?;
        let aws = cluster.members[0].host.clone();
        cluster.lab.cable(&aws, false)?;
        let target = IpAddr::V4(cluster.fixed(1));
        let received = traffic::pings(&aws.namespace, target, 20, Duration::from_millis(100))?;
        ensure!(received == 0, "{received} pings came back over a pulled cable");
        cluster.lab.cable(&aws, true)?;
        cluster.ping(0, 1, LIMIT).context("after the cable was plugged in again")?;
        steady(cluster)
    });
}

#[test]
fn a_laptop_gets_another_address() {
    let plan = Plan::new().cloud("aws").member("laptop", Seat::Ours, Access::Public);
    testing::run("a_laptop_gets_another_address", &plan, |cluster| {
        cluster.ping(0, 1, LIMIT)?;
        let laptop = cluster.members[1].host.clone();
        laptop
            .namespace
            .ip(&format!("addr del {}/16 dev eth0\naddr add 80.0.77.7/16 dev eth0\n", laptop.public))?;
        cluster.ping(1, 0, REBIND).context("after the address changed")?;
        cluster.ping(0, 1, REBIND).context("after the address changed")?;
        steady(cluster)
    });
}

/// The router loses its table (a restart): the outside port of the cloud becomes another one.
#[test]
fn a_nat_router_forgets() {
    testing::run("a_nat_router_forgets", &Plan::new().cloud("aws").cloud("gcp"), |cluster| {
        cluster.ping(0, 1, LIMIT)?;
        let aws = cluster.members[0].host.clone();
        // Down first: a router that starts passes nothing on untranslated, whose conntrack entry the node's own packets would keep.
        aws.border.ip("link set wan down\n")?;
        aws.border.nft("flush ruleset\n")?;
        aws.border.nft(&lab::NatKind::Symmetric.ruleset())?;
        aws.border.ip("link set wan up\n")?;
        cluster.ping(0, 1, REBIND).context("after the router restarted")?;
        steady(cluster)
    });
}
