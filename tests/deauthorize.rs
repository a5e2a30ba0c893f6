//! Putting a member out: its traffic stops, the others' goes on, and it may come back.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use lab::{Plan, testing, tool, traffic};

const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn traffic_stops_and_returns() {
    let plan = Plan::new().cloud("aws").cloud("gcp").cloud("azu");
    testing::run("traffic_stops_and_returns", &plan, |cluster| {
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            cluster.ping(from, to, LIMIT)?;
        }
        cluster.authorize(1, false)?;
        for (from, to) in [(0, 1), (1, 0)] {
            let namespace = cluster.members[from].host.namespace.clone();
            let target = IpAddr::V4(cluster.fixed(to));
            tool::wait_for("the end of the traffic", LIMIT, Duration::from_millis(100), || {
                Ok(traffic::ping(&namespace, target, Duration::from_millis(500))?.is_none().then_some(()))
            })?;
            let received = traffic::pings(&namespace, target, 10, Duration::from_millis(100))?;
            ensure!(received == 0, "{received} pings of a deauthorized member came through");
        }
        ensure!(cluster.tcp(0, 2, 1 << 20).is_ok(), "the others must not notice");
        cluster.authorize(1, true)?;
        cluster.ping(0, 1, Duration::from_secs(30)).context("after it was let in again")?;
        cluster.ping(1, 2, Duration::from_secs(30)).context("after it was let in again")?;
        Ok(())
    });
}

#[test]
fn a_stranger_stays_out_of_a_private_network() {
    let plan = Plan::new().cloud("aws").cloud("gcp");
    testing::run("a_stranger_stays_out_of_a_private_network", &plan, |cluster| {
        cluster.authorize(1, false)?;
        let network = cluster.network.clone();
        cluster.members[1].request("DELETE", &format!("/network/{network}"), None)?;
        cluster.members[1].join(&network)?;
        let seen = cluster.members[1].wait_status(&network, "ACCESS_DENIED", LIMIT)?;
        ensure!(
            seen["assignedAddresses"].as_array().is_none_or(Vec::is_empty),
            "a stranger got addresses: {seen}"
        );
        Ok(())
    });
}
