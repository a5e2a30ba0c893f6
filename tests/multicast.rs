//! One to many: multicast of both IP versions, broadcast, and a bridge with machines behind it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context, ensure};
use lab::traffic::{self, Group};
use lab::{Plan, testing};
use serde_json::json;

/// A sender gathers a group's members once a minute: who was missed the first time is heard after that.
const LIMIT: Duration = Duration::from_secs(75);

#[test]
fn multicast_and_broadcast_reach_all() {
    let plan = Plan::new().cloud("aws").cloud("gcp").cloud("azu");
    testing::run("multicast_and_broadcast_reach_all", &plan, |cluster| {
        cluster.one_to_many(0, Group::V4(Ipv4Addr::new(239, 1, 2, 3)), LIMIT)?;
        cluster.one_to_many(0, Group::V6(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 7)), LIMIT)?;
        cluster.one_to_many(0, Group::Broadcast(Ipv4Addr::new(10, 0, 255, 255)), LIMIT)?;
        cluster.one_to_many(0, Group::Broadcast(Ipv4Addr::BROADCAST), LIMIT)?;
        Ok(())
    });
}

#[test]
fn broadcast_can_be_switched_off() {
    let plan = Plan::new().cloud("aws").cloud("gcp").network(json!({"enableBroadcast": false}));
    testing::run("broadcast_can_be_switched_off", &plan, |cluster| {
        // ARP does not depend on it.
        cluster.ping(0, 1, LIMIT)?;
        let heard = cluster.one_to_many(0, Group::Broadcast(Ipv4Addr::BROADCAST), Duration::from_secs(3));
        ensure!(heard.is_err(), "a broadcast came through");
        Ok(())
    });
}

/// A machine on an ordinary Ethernet behind one member is reached from another member, and reaches it.
#[test]
fn a_bridge_and_a_machine_behind_it() {
    let plan = Plan::new().cloud("aws").cloud("gcp");
    testing::run("a_bridge_and_a_machine_behind_it", &plan, |cluster| {
        cluster.set_member(0, &json!({"activeBridge": true}))?;
        // A change of the network goes to all members at once, that of a member to the others at their next refresh.
        cluster
            .controller()
            .post(&format!("/controller/network/{}", cluster.network), &json!({"name": "bridged"}))?;
        let network = cluster.network.clone();
        let device = cluster.members[0].device(&network)?;
        let bridge = cluster.members[0].host.namespace.clone();
        lab::tool::wait_for("the bridge flag", LIMIT, Duration::from_millis(100), || {
            Ok((cluster.members[0].network(&network)?.context("joined")?["bridge"] == true).then_some(()))
        })?;
        let printer = lab::Namespace::create(cluster.lab.name(), "printer")?;
        bridge.ip(&format!(
            "link add br0 type bridge\nlink set {device} master br0\nlink add lan0 type veth peer name eth0 netns {}\n\
             link set lan0 master br0\nlink set lan0 up\nlink set br0 up\n",
            printer.name()
        ))?;
        printer.ip("addr add 10.0.77.7/16 dev eth0\nlink set eth0 up\n")?;
        let gcp = cluster.members[1].host.namespace.clone();
        traffic::first_ping(&gcp, IpAddr::V4(Ipv4Addr::new(10, 0, 77, 7)), LIMIT)
            .context("member to printer")?;
        traffic::first_ping(&printer, IpAddr::V4(cluster.fixed(1)), LIMIT).context("printer to member")?;
        traffic::tcp(&printer, &gcp, IpAddr::V4(cluster.fixed(1)), 1 << 20, LIMIT)?;
        Ok(())
    });
}

/// Without the controller's leave nobody bridges: frames with a foreign source address go nowhere.
#[test]
fn no_bridging_without_leave() {
    let plan = Plan::new().cloud("aws").cloud("gcp");
    testing::run("no_bridging_without_leave", &plan, |cluster| {
        cluster.ping(0, 1, LIMIT)?;
        let device = cluster.members[0].device(&cluster.network)?;
        let bridge = cluster.members[0].host.namespace.clone();
        let printer = lab::Namespace::create(cluster.lab.name(), "printer")?;
        bridge.ip(&format!(
            "link add br0 type bridge\nlink set {device} master br0\nlink add lan0 type veth peer name eth0 netns {}\n\
             link set lan0 master br0\nlink set lan0 up\nlink set br0 up\n",
            printer.name()
        ))?;
        printer.ip("addr add 10.0.77.7/16 dev eth0\nlink set eth0 up\n")?;
        let answer = traffic::first_ping(&printer, IpAddr::V4(cluster.fixed(1)), Duration::from_secs(3));
        ensure!(answer.is_err(), "a frame from behind a member that may not bridge came through");
        Ok(())
    });
}
