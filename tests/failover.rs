//! A way that dies without a word is left for another one, and a machine that moves is found again. How fast exactly is for
//! `ztbench --recovery` to say; here the limit is what nobody can miss on a busy machine, and half of what a path lives after its
//! last answer.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Access, Cluster, Plan, Seat, testing, traffic};

/// How long a pair may take to find each other at first.
const MEETING: Duration = Duration::from_secs(20);
/// How long it may be without traffic.
const FAILOVER: Duration = Duration::from_secs(10);

/// Two members on the same segment, with a direct path that is in use both ways; `fault` befalls them, and they have to be over it.
fn gets_over(name: &str, fault: impl FnOnce(&Cluster) -> Result<()>) {
    let plan = Plan::new().member("a", Seat::Ours, Access::Public).member("b", Seat::Ours, Access::Public);
    testing::run(name, &plan, |cluster| {
        cluster.ping(0, 1, MEETING)?;
        for (from, to) in [(0, 1), (1, 0)] {
            cluster.members[from].wait_direct(&cluster.members[to].address, MEETING)?;
        }
        steady(cluster).context("before")?;
        fault(cluster)?;
        for (from, to) in [(0, 1), (1, 0)] {
            cluster.ping(from, to, FAILOVER).context("after")?;
        }
        steady(cluster).context("after")
    });
}

fn steady(cluster: &Cluster) -> Result<()> {
    let (from, to) = (&cluster.members[0].host.namespace, IpAddr::V4(cluster.fixed(1)));
    let received = traffic::pings(from, to, 20, Duration::from_millis(50))?;
    ensure!(received >= 18, "{received} of 20 pings");
    Ok(())
}

#[test]
fn a_direct_path_that_dies_blind_is_left() {
    gets_over("a_direct_path_that_dies_blind_is_left", |cluster| {
        cluster.lab.forbid(&cluster.members[0].host, &cluster.members[1].host)
    });
}

#[test]
fn a_direct_path_on_which_nothing_leaves_is_left() {
    gets_over("a_direct_path_on_which_nothing_leaves_is_left", |cluster| {
        cluster.lab.cut(&cluster.members[0].host, &cluster.members[1].host)
    });
}

#[test]
fn a_direct_path_on_which_nothing_comes_back_is_left() {
    gets_over("a_direct_path_on_which_nothing_comes_back_is_left", |cluster| {
        cluster.lab.cut(&cluster.members[1].host, &cluster.members[0].host)
    });
}

#[test]
fn a_machine_that_gets_another_address_is_found_there() {
    gets_over("a_machine_that_gets_another_address_is_found_there", |cluster| {
        let [a, b, c, _] = cluster.members[0].host.public.octets();
        cluster.members[0].host.set_address(IpAddr::V4(Ipv4Addr::new(a, b, c, 77))).map(drop)
    });
}
