//! Machines that move: a pulled cable, a new address, a NAT router that forgets.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Access, Cluster, Lab, NatKind, Plan, Seat, flow, testing, traffic};

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

/// Its far end: the machine keeps its interface and its addresses.
#[test]
fn a_cable_that_is_pulled_far_away() {
    let plan = Plan::new().cloud("aws").member("server", Seat::Ours, Access::Public);
    testing::run("a_cable_that_is_pulled_far_away", &plan, |cluster| {
        let flows = flow::both_ways(cluster, [0, 1])?;
        flow::wait_both(&flows, REBIND)?;
        let aws = cluster.members[0].host.clone();
        cluster.lab.carrier(&aws, false)?;
        flows.iter().for_each(flow::Direction::restart);
        cluster.lab.carrier(&aws, true)?;
        flow::wait_both(&flows, REBIND).context("after the cable was plugged in again")
    });
}

/// A cloud behind a router that makes new mappings again and again, and a server without one.
fn a_nat_router_rebinds(name: &str, relayed: bool) {
    let plan = Plan::new().member("aws", Seat::Ours, Access::Nat(NatKind::PortRestricted)).member(
        "server",
        Seat::Ours,
        Access::Public,
    );
    if !testing::ready(name) {
        return;
    }
    let mut cluster = match Lab::new().and_then(|lab| plan.prepare(lab)) {
        Ok(cluster) => cluster,
        Err(error) => panic!("{name}: {error:#}"),
    };
    let outcome = (|| {
        let [aws, server] = [0, 1].map(|index: usize| cluster.members[index].host.clone());
        if relayed {
            cluster.lab.forbid(&aws, &server)?;
        }
        cluster.start()?;
        let flows = flow::both_ways(&cluster, [0, 1])?;
        flow::wait_both(&flows, REBIND)?;
        for ports in [20_000..=20_049, 20_050..=20_099] {
            aws.rebind(&ports)?;
            flows.iter().for_each(flow::Direction::restart);
            flow::wait_both(&flows, REBIND).with_context(|| format!("with ports {ports:?}"))?;
        }
        Ok::<(), anyhow::Error>(())
    })();
    if let Err(error) = outcome {
        panic!("{name}: {error:#}\n{}", cluster.report());
    }
}

#[test]
fn a_nat_router_makes_new_mappings() {
    a_nat_router_rebinds("a_nat_router_makes_new_mappings", false);
}

#[test]
fn a_nat_router_makes_new_mappings_for_a_relayed_pair() {
    a_nat_router_rebinds("a_nat_router_makes_new_mappings_for_a_relayed_pair", true);
}
