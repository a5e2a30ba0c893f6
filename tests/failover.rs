//! A way that dies without a word is left for another one, and a machine that moves is found again. How fast exactly is for
//! `ztbench --recovery` to say; here the limit is what nobody can miss on a busy machine, and half of what a path lives after its
//! last answer.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Access, Cluster, Family, Plan, Seat, testing, tool, traffic};

/// How long a pair may take to find each other at first.
const MEETING: Duration = Duration::from_secs(20);
/// How long it may be without traffic.
const FAILOVER: Duration = Duration::from_secs(10);

/// Two members on the same segment, with a direct path that is in use both ways; `fault` befalls them, and they have to be over it.
fn gets_over(name: &str, fault: impl FnOnce(&Cluster) -> Result<()>) {
    gets_over_with(name, Family::V4, fault);
}

fn gets_over_with(name: &str, family: Family, fault: impl FnOnce(&Cluster) -> Result<()>) {
    let plan = Plan::new().member("a", Seat::Ours, Access::Public).member("b", Seat::Ours, Access::Public);
    testing::run(name, &plan.family(family), |cluster| {
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

#[test]
fn two_machines_that_get_other_addresses_at_once_find_each_other() {
    gets_over("two_machines_that_get_other_addresses_at_once_find_each_other", |cluster| {
        for member in &cluster.members {
            let [a, b, c, _] = member.host.public.octets();
            member.host.set_address(IpAddr::V4(Ipv4Addr::new(a, b, c, 77)))?;
        }
        Ok(())
    });
}

#[test]
fn of_two_families_the_one_that_dies_is_left() {
    gets_over_with("of_two_families_the_one_that_dies_is_left", Family::Both, |cluster| {
        let [a, b] = [&cluster.members[0], &cluster.members[1]];
        let family = |path: &str| if path.contains(':') { Family::V6 } else { Family::V4 };
        let dead = family(&a.path_to(&b.address)?.context("no direct path")?);
        cluster.lab.lose_family(&a.host, dead)?;
        cluster.ping(0, 1, FAILOVER)?;
        // The root could carry it: what is left between the two has to be found.
        tool::wait_for("a path over the other family", MEETING, Duration::from_millis(100), || {
            cluster.ping(0, 1, FAILOVER)?;
            Ok(a.path_to(&b.address)?.filter(|path| family(path) != dead).map(drop))
        })
    });
}

#[test]
fn a_way_that_dies_while_nobody_speaks_is_left() {
    gets_over("a_way_that_dies_while_nobody_speaks_is_left", |cluster| {
        cluster.lab.forbid(&cluster.members[0].host, &cluster.members[1].host)?;
        // Silence has no event. After two seconds what was under way when it began is over.
        std::thread::sleep(Duration::from_secs(2));
        Ok(())
    });
}
