//! Neither root nor controller: members that know each other go on, and come back.

use std::time::Duration;

use anyhow::{Context, Result};
use lab::{Access, Cluster, Plan, Seat, flow, testing};

/// How long a pair may take to find each other.
const LIMIT: Duration = Duration::from_secs(20);
/// How long who was killed may take to be back.
const BACK: Duration = Duration::from_secs(60);
/// Datagrams each way of which none may be lost.
const COUNT: u64 = 500;

/// A direct pair of members with traffic both ways, whose root and controller are killed under it.
fn alone(name: &str, body: impl FnOnce(&mut Cluster, &[flow::Direction; 2]) -> Result<()>) {
    let plan = Plan::new().controller(Seat::Ours).member("a", Seat::Ours, Access::Public).member(
        "b",
        Seat::Ours,
        Access::Public,
    );
    testing::run(name, &plan, |cluster| {
        let flows = flow::both_ways(cluster, [0, 1])?;
        for (from, to) in [(0, 1), (1, 0)] {
            cluster.members[from].wait_direct(&cluster.members[to].address, LIMIT)?;
        }
        flow::wait_both(&flows, LIMIT).context("before")?;
        // Whom a node met within the last half minute it may not have written down yet; when it ends in order it does.
        cluster.members[0].stop()?;
        flows.iter().for_each(flow::Direction::restart);
        cluster.members[0].start()?;
        cluster.members[0].wait_ready()?;
        flow::wait_both(&flows, BACK).context("after an orderly end")?;
        let first = flows.each_ref().map(flow::Direction::sent);
        cluster.controller.as_mut().context("no controller")?.kill()?;
        cluster.root.kill()?;
        flow::wait_all(&flows, first, COUNT, LIMIT).context("when root and controller were killed")?;
        body(cluster, &flows)
    });
}

#[test]
fn who_is_killed_comes_back_without_root_and_controller() {
    alone("who_is_killed_comes_back_without_root_and_controller", |cluster, flows| {
        let member = &mut cluster.members[0];
        member.kill()?;
        flows.iter().for_each(flow::Direction::restart);
        member.start()?;
        member.wait_ready()?;
        flow::wait_both(flows, BACK).context("after it was started again")
    });
}

#[test]
fn a_direct_pair_loses_nothing_when_root_and_controller_come_back() {
    alone("a_direct_pair_loses_nothing_when_root_and_controller_come_back", |cluster, flows| {
        let first = flows.each_ref().map(flow::Direction::sent);
        cluster.root.start()?;
        cluster.root.wait_ready()?;
        let controller = cluster.controller.as_mut().context("no controller")?;
        controller.start()?;
        controller.wait_ready()?;
        flow::wait_all(flows, first, COUNT, LIMIT).context("when both came back")
    });
}
