//! Hole punching: which NATs let two nodes talk directly, and what happens to the traffic when the root goes away.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Access, Cluster, NatKind, Plan, Seat, testing, traffic};

const LIMIT: Duration = Duration::from_secs(10);
const DIRECT: Duration = Duration::from_secs(15);

fn direct_both_ways(cluster: &Cluster) -> Result<()> {
    for (from, to) in [(0, 1), (1, 0)] {
        let path = cluster.members[from].wait_direct(&cluster.members[to].address, DIRECT)?;
        let public = cluster.members[to].host.public.to_string();
        ensure!(path.starts_with(&format!("{public}/")), "the path {path} does not lead to {public}");
    }
    Ok(())
}

#[test]
fn the_root_is_not_needed_once_a_direct_path_is_found() {
    let plan = Plan::new().cloud("aws").cloud("gcp");
    testing::run("the_root_is_not_needed_once_a_direct_path_is_found", &plan, |cluster| {
        cluster.ping(0, 1, LIMIT)?;
        direct_both_ways(cluster)?;
        let carried = |cluster: &Cluster| cluster.lab.sent_bytes(&cluster.root.host);
        let before = carried(cluster)?;
        cluster.tcp(0, 1, 10 << 20)?;
        let through_the_root = carried(cluster)? - before;
        ensure!(through_the_root < 1 << 20, "the root carried {through_the_root} bytes of a direct stream");
        cluster.root.stop().context("stopping the root")?;
        let namespace = &cluster.members[0].host.namespace;
        let received =
            traffic::pings(namespace, IpAddr::V4(cluster.fixed(1)), 50, Duration::from_millis(100))?;
        ensure!(received >= 48, "{received} of 50 pings came back without the root");
        cluster.tcp(1, 0, 1 << 20).context("TCP without the root")?;
        Ok(())
    });
}

/// Traffic flows for every pair of NATs; it is direct exactly where hole punching can work.
fn pair(name: &str, a: Access, b: Access, direct: bool) {
    let plan = Plan::new().member("here", Seat::Ours, a).member("there", Seat::Ours, b);
    testing::run(name, &plan, |cluster| {
        cluster.ping(0, 1, LIMIT).context("first ping")?;
        if direct {
            direct_both_ways(cluster)?;
        } else {
            // Time enough for a direct path, were there one.
            let namespace = &cluster.members[0].host.namespace;
            traffic::pings(namespace, IpAddr::V4(cluster.fixed(1)), 40, Duration::from_millis(100))?;
            let path = cluster.members[0].path_to(&cluster.members[1].address)?;
            ensure!(path.is_none(), "a direct path {path:?} where none can be");
        }
        cluster.tcp(0, 1, 1 << 20)?;
        cluster.tcp(1, 0, 1 << 20)?;
        Ok(())
    });
}

fn nats(name: &str, a: NatKind, b: NatKind) {
    pair(name, Access::Nat(a), Access::Nat(b), a.punches(b));
}

#[test]
fn full_cone_and_full_cone() {
    nats("full_cone_and_full_cone", NatKind::FullCone, NatKind::FullCone);
}

#[test]
fn full_cone_and_symmetric() {
    nats("full_cone_and_symmetric", NatKind::FullCone, NatKind::Symmetric);
}

#[test]
fn restricted_and_port_restricted() {
    nats("restricted_and_port_restricted", NatKind::Restricted, NatKind::PortRestricted);
}

#[test]
fn restricted_and_symmetric() {
    nats("restricted_and_symmetric", NatKind::Restricted, NatKind::Symmetric);
}

#[test]
fn port_restricted_and_port_restricted() {
    nats("port_restricted_and_port_restricted", NatKind::PortRestricted, NatKind::PortRestricted);
}

#[test]
fn port_restricted_and_symmetric_stays_relayed() {
    nats("port_restricted_and_symmetric_stays_relayed", NatKind::PortRestricted, NatKind::Symmetric);
}

#[test]
fn symmetric_and_symmetric_stays_relayed() {
    nats("symmetric_and_symmetric_stays_relayed", NatKind::Symmetric, NatKind::Symmetric);
}

#[test]
fn symmetric_and_no_nat() {
    pair("symmetric_and_no_nat", Access::Nat(NatKind::Symmetric), Access::Public, true);
}
