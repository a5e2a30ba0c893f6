//! No direct way: the root carries the traffic, until there is one.

use std::time::Duration;

use anyhow::{Context, ensure};
use lab::{Plan, testing};

const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn blocked_udp_goes_through_the_root() {
    let plan = Plan::new().cloud("aws").cloud("gcp");
    testing::run("blocked_udp_goes_through_the_root", &plan, |cluster| {
        let (aws, gcp) = (cluster.members[0].host.clone(), cluster.members[1].host.clone());
        cluster.lab.block_udp(&aws, &gcp)?;
        // A path that was found before the block has to be noticed as dead first.
        cluster.ping(0, 1, Duration::from_secs(40)).context("ping over the root")?;
        cluster.ping6(1, 0, LIMIT).context("ping6 over the root")?;
        let before = cluster.lab.sent_bytes(&cluster.root.host)?;
        cluster.tcp(0, 1, 10 << 20).context("10 MB over the root")?;
        let carried = cluster.lab.sent_bytes(&cluster.root.host)? - before;
        ensure!(carried > 10 << 20, "the root carried only {carried} bytes of a relayed stream of 10 MB");
        cluster.lab.unblock_udp(&aws, &gcp)?;
        // Relayed traffic makes the two push their addresses to each other every 15 s.
        for (from, to) in [(0, 1), (1, 0)] {
            keep_pinging_until_direct(cluster, from, to)?;
        }
        Ok(())
    });
}

/// A fresh pair that never had a direct path.
#[test]
fn members_that_never_meet_directly() {
    let plan = Plan::new().cloud("aws").cloud("gcp");
    if !testing::ready("members_that_never_meet_directly") {
        return;
    }
    let lab = lab::Lab::new().unwrap();
    let mut cluster = plan.prepare(lab).unwrap();
    let (aws, gcp) = (cluster.members[0].host.clone(), cluster.members[1].host.clone());
    cluster.lab.block_udp(&aws, &gcp).unwrap();
    let outcome = cluster.start().and_then(|()| {
        cluster.ping(0, 1, LIMIT)?;
        let path = cluster.members[0].path_to(&cluster.members[1].address)?;
        ensure!(path.is_none(), "{path:?} cannot be");
        cluster.tcp(0, 1, 1 << 20)?;
        cluster.tcp(1, 0, 1 << 20)?;
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error:#}\n{}", cluster.report());
    }
}

/// A tenth of all datagrams is lost on both sides; everything still works, only slower.
#[test]
fn lossy_lines() {
    let plan = Plan::new().cloud("aws").cloud("gcp");
    if !testing::ready("lossy_lines") {
        return;
    }
    let mut cluster = plan.prepare(lab::Lab::new().unwrap()).unwrap();
    let outcome = (|| {
        for index in 0..2 {
            cluster.lab.loss(&cluster.members[index].host.clone(), 10)?;
        }
        cluster.start()?;
        cluster.ping(0, 1, Duration::from_secs(20))?;
        cluster.tcp(0, 1, 1 << 20)?;
        Ok::<(), anyhow::Error>(())
    })();
    if let Err(error) = outcome {
        panic!("{error:#}\n{}", cluster.report());
    }
}

fn keep_pinging_until_direct(cluster: &lab::Cluster, from: usize, to: usize) -> anyhow::Result<()> {
    let far = cluster.members[to].address.clone();
    let what = format!("a direct path from {} to {far} after the block", cluster.members[from].name());
    lab::tool::wait_for(&what, Duration::from_secs(40), Duration::from_millis(200), || {
        cluster.ping(from, to, LIMIT)?;
        cluster.members[from].path_to(&far)
    })?;
    Ok(())
}
