//! Putting a member out: its traffic stops, the others' goes on, and it may come back.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Access, Cluster, NatKind, Plan, Seat, testing, tool, traffic};
use serde_json::{Value, json};

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

/// How many of the pings of a member that was put out come through to another.
fn gets_through(cluster: &Cluster, from: usize, to: usize) -> Result<u32> {
    let namespace = &cluster.members[from].host.namespace;
    traffic::pings(namespace, IpAddr::V4(cluster.fixed(to)), 20, Duration::from_millis(100))
}

fn revocation(cluster: &Cluster, of: usize) -> Result<Value> {
    let path = format!("/controller/network/{}/revocation/{}", cluster.network, cluster.members[of].address);
    cluster.controller().get(&path)
}

#[test]
fn who_restarts_remembers_who_was_put_out() {
    let plan = Plan::new().cloud("aws").cloud("gcp").cloud("azu");
    testing::run("who_restarts_remembers_who_was_put_out", &plan, |cluster| {
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            cluster.ping(from, to, LIMIT)?;
        }
        cluster.authorize(1, false)?;
        let others = [0, 2].map(|n| cluster.members[n].address.clone());
        tool::wait_for("the acknowledgements of the others", LIMIT, Duration::from_millis(100), || {
            let seen = revocation(cluster, 1)?;
            let all =
                others.iter().all(|a| seen["acknowledged"].as_array().is_some_and(|l| l.contains(&json!(a))));
            Ok(all.then_some(()))
        })?;
        let file = cluster.members[0].home().join(format!("networks.d/{}.revoked", cluster.network));
        tool::wait_for("the file of revocations", LIMIT, Duration::from_millis(100), || {
            Ok(file.is_file().then_some(()))
        })?;
        cluster.members[0].stop()?;
        cluster.members[0].start()?;
        cluster.members[0].wait_ready()?;
        cluster.members[0].wait_status(&cluster.network.clone(), "OK", LIMIT)?;
        let received = gets_through(cluster, 1, 0)?;
        ensure!(
            received == 0,
            "{received} of 20 pings of a deauthorized member reach one that has restarted"
        );
        cluster.ping(2, 0, Duration::from_secs(75)).context("the others reach it")?;
        let received = gets_through(cluster, 1, 0)?;
        ensure!(received == 0, "{received} of 20 pings of a deauthorized member came through later");
        Ok(())
    });
}

#[test]
fn a_controller_that_has_just_started_tells_everybody() {
    let plan = Plan::new().controller(Seat::Ours).cloud("aws").cloud("gcp").cloud("azu");
    testing::run("a_controller_that_has_just_started_tells_everybody", &plan, |cluster| {
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            cluster.ping(from, to, LIMIT)?;
        }
        let controller = cluster.controller.as_mut().context("the plan has one")?;
        controller.stop()?;
        controller.start()?;
        controller.wait_ready()?;
        cluster.authorize(1, false)?;
        for other in [0, 2] {
            let namespace = cluster.members[1].host.namespace.clone();
            let target = IpAddr::V4(cluster.fixed(other));
            tool::wait_for("the end of the traffic", LIMIT, Duration::from_millis(100), || {
                Ok(traffic::ping(&namespace, target, Duration::from_millis(500))?.is_none().then_some(()))
            })?;
            let received = gets_through(cluster, 1, other)?;
            ensure!(received == 0, "{received} of 20 pings of a deauthorized member reach {other}");
        }
        ensure!(cluster.tcp(0, 2, 1 << 20).is_ok(), "the others must not notice");
        Ok(())
    });
}

#[test]
fn a_deleted_network_ends_for_everybody() {
    let plan = Plan::new().cloud("aws").cloud("gcp");
    testing::run("a_deleted_network_ends_for_everybody", &plan, |cluster| {
        cluster.ping(0, 1, LIMIT)?;
        let path = format!("/controller/network/{}", cluster.network);
        cluster.members[1].stop()?;
        cluster.controller().request("DELETE", &path, None)?;
        let network = cluster.network.clone();
        let ended = |cluster: &Cluster, index: usize| {
            tool::wait_for(
                "the last configuration",
                Duration::from_secs(75),
                Duration::from_millis(200),
                || {
                    let seen = cluster.members[index].get(&format!("/network/{network}"))?;
                    Ok(seen["assignedAddresses"].as_array().is_some_and(Vec::is_empty).then_some(()))
                },
            )
        };
        ended(cluster, 0)?;
        cluster.members[1].start()?;
        cluster.members[1].wait_ready()?;
        ended(cluster, 1).context("one that was away")
    });
}

/// A zerotier-one keeps nothing of revocations over a restart: it is told again with the configuration it asks for.
#[test]
fn a_zerotier_one_that_restarts_is_told_again() {
    let access = Access::Nat(NatKind::PortRestricted);
    let plan =
        Plan::new().controller(Seat::Ours).member("aws", Seat::Reference, access).cloud("gcp").cloud("azu");
    testing::run("a_zerotier_one_that_restarts_is_told_again", &plan, |cluster| {
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            cluster.ping(from, to, LIMIT)?;
        }
        cluster.authorize(1, false)?;
        let (theirs, ours) = (cluster.members[0].address.clone(), cluster.members[2].address.clone());
        tool::wait_for("word of how far it got", LIMIT, Duration::from_millis(100), || {
            let seen = revocation(cluster, 1)?;
            let all = seen["sent"] == json!([theirs]) && seen["acknowledged"] == json!([ours]);
            Ok(all.then_some(()))
        })?;
        cluster.members[0].stop()?;
        cluster.members[0].start()?;
        cluster.members[0].wait_ready()?;
        cluster.ping(2, 0, Duration::from_secs(75)).context("the others reach it")?;
        let namespace = cluster.members[1].host.namespace.clone();
        let target = IpAddr::V4(cluster.fixed(0));
        tool::wait_for("the end of the traffic", LIMIT, Duration::from_millis(100), || {
            Ok(traffic::ping(&namespace, target, Duration::from_millis(500))?.is_none().then_some(()))
        })?;
        let received = gets_through(cluster, 1, 0)?;
        ensure!(received == 0, "{received} of 20 pings of a deauthorized member came through");

        let path = format!("/controller/network/{}", cluster.network);
        cluster.controller().request("DELETE", &path, None)?;
        let network = cluster.network.clone();
        tool::wait_for("the last configuration", LIMIT, Duration::from_millis(200), || {
            let seen = cluster.members[0].get(&format!("/network/{network}"))?;
            Ok(seen["assignedAddresses"].as_array().is_some_and(Vec::is_empty).then_some(()))
        })
    });
}
