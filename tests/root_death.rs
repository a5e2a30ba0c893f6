//! Roots that die: who is relayed goes by another, and who is direct does not notice.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Access, Cluster, Daemon, Plan, Seat, flow, testing, tool};

/// How long a pair may take to find each other, or to be over what befell it.
const LIMIT: Duration = Duration::from_secs(20);
/// A root that answers nothing is asked again within a minute.
const ONLINE: Duration = Duration::from_secs(75);
/// Datagrams each way of which none may be lost.
const COUNT: u64 = 500;
/// Octets that a root sends between two looks when it carries one direction.
const CARRIES: u64 = 5_000;

fn pair() -> Plan {
    Plan::new().member("a", Seat::Ours, Access::Public).member("b", Seat::Ours, Access::Public)
}

/// A pair without a direct way from the beginning on.
fn relayed(name: &str, plan: &Plan, body: impl FnOnce(&mut Cluster, &[flow::Direction; 2]) -> Result<()>) {
    if !testing::ready(name) {
        return;
    }
    let mut cluster = match lab::Lab::new().and_then(|lab| plan.prepare(lab)) {
        Ok(cluster) => cluster,
        Err(error) => panic!("{name}: {error:#}"),
    };
    let outcome = (|| {
        let [a, b] = [0, 1].map(|index: usize| cluster.members[index].host.clone());
        cluster.lab.forbid(&a, &b)?;
        cluster.start()?;
        let flows = flow::both_ways(&cluster, [0, 1])?;
        flow::wait_both(&flows, LIMIT).context("before")?;
        body(&mut cluster, &flows)
    })();
    if let Err(error) = outcome {
        panic!("{name}: {error:#}\n{}", cluster.report());
    }
}

fn roots(cluster: &Cluster) -> impl Iterator<Item = &Daemon> {
    std::iter::once(&cluster.root).chain(&cluster.second_root)
}

/// Whether the first of two roots is the one that carries what the pair sends, or more of it.
fn first_carries(cluster: &Cluster) -> Result<bool> {
    let sent =
        || -> Result<Vec<u64>> { roots(cluster).map(|root| cluster.lab.sent_bytes(&root.host)).collect() };
    let before = sent()?;
    tool::wait_for("a root that carries the traffic", LIMIT, Duration::from_millis(100), || {
        let carried: Vec<u64> = sent()?.iter().zip(&before).map(|(after, before)| after - before).collect();
        let most = carried.iter().max().is_some_and(|most| *most > CARRIES);
        Ok(most.then_some(carried.first() == carried.iter().max()))
    })
}

#[test]
fn who_is_relayed_goes_by_the_other_root() {
    relayed("who_is_relayed_goes_by_the_other_root", &pair().second_root(Seat::Ours), |cluster, flows| {
        let first = first_carries(cluster)?;
        let root = if first { Some(&mut cluster.root) } else { cluster.second_root.as_mut() };
        let root = root.context("no second root")?;
        // A dead machine does not say that nobody listens.
        cluster.lab.isolate(&root.host)?;
        root.kill()?;
        flows.iter().for_each(flow::Direction::restart);
        flow::wait_both(flows, LIMIT).context("by the other root")
    });
}

#[test]
fn a_root_that_comes_back_to_its_address_relays_again() {
    relayed("a_root_that_comes_back_to_its_address_relays_again", &pair(), |cluster, flows| {
        cluster.root.kill()?;
        flows.iter().for_each(flow::Direction::restart);
        cluster.root.start()?;
        cluster.root.wait_ready()?;
        flow::wait_both(flows, ONLINE).context("after the root came back")?;
        cluster.members.iter_mut().try_for_each(|member| member.wait_online(ONLINE))
    });
}

#[test]
fn without_any_root_a_direct_pair_loses_nothing() {
    let plan = pair().second_root(Seat::Ours);
    testing::run("without_any_root_a_direct_pair_loses_nothing", &plan, |cluster| {
        let flows = flow::both_ways(cluster, [0, 1])?;
        for (from, to) in [(0, 1), (1, 0)] {
            cluster.members[from].wait_direct(&cluster.members[to].address, LIMIT)?;
        }
        flow::wait_both(&flows, LIMIT).context("before")?;
        let first = flows.each_ref().map(flow::Direction::sent);
        cluster.root.kill()?;
        cluster.second_root.as_mut().context("no second root")?.kill()?;
        flow::wait_all(&flows, first, COUNT, LIMIT).context("without roots")?;
        let second = flows.each_ref().map(flow::Direction::sent);
        cluster.root.start()?;
        cluster.root.wait_ready()?;
        flow::wait_all(&flows, second, COUNT / 5, LIMIT).context("with the first again")?;
        for member in &mut cluster.members {
            member.wait_online(ONLINE)?;
        }
        ensure!(cluster.second_root.as_mut().is_some_and(|root| !root.running()), "the second is dead");
        Ok(())
    });
}
