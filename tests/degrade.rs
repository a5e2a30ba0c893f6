//! Lines of poor quality: what is lost is lost, the rest arrives once, and a pair does not give up its direct way for it.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::emulator::Quality;
use lab::transfer::{Order, Transfer};
use lab::{Access, Cluster, Plan, Seat, flow, testing, tool};

/// How long a pair may take to find each other.
const MEETING: Duration = Duration::from_secs(20);
/// How long a stream, or a number of datagrams, may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Datagrams each way that are counted over each line.
const COUNT: u64 = 200;
/// Up to this loss a pair keeps its direct way.
const DIRECT: f64 = 0.1;
const MS: Duration = Duration::from_millis(1);

/// Two members on the same segment; the line in front of the first is like each of these in turn, both ways.
fn gets_through(name: &str, seed: u64, qualities: &[Quality]) {
    let plan = Plan::new().member("a", Seat::Ours, Access::Public).member("b", Seat::Ours, Access::Public);
    testing::run(name, &plan, |cluster| {
        let host = cluster.members[0].host.clone();
        for member in &cluster.members {
            member.host.limit_pauses()?;
        }
        cluster.lab.line(&host, Quality::default(), Quality::default(), seed)?;
        cluster.ping(0, 1, MEETING)?;
        for (from, to) in [(0, 1), (1, 0)] {
            cluster.members[from].wait_direct(&cluster.members[to].address, MEETING)?;
        }
        let flows = flow::both_ways(cluster, [0, 1])?;
        flow::wait_both(&flows, MEETING)?;
        for quality in qualities {
            cluster.lab.line(&host, *quality, *quality, seed)?;
            passes(cluster, &flows, quality).with_context(|| format!("{quality:?}"))?;
        }
        Ok(())
    });
}

fn passes(cluster: &Cluster, flows: &[flow::Direction; 2], quality: &Quality) -> Result<()> {
    let first = flows.each_ref().map(flow::Direction::sent);
    let carried = || cluster.lab.sent_bytes(&cluster.root.host);
    let before = carried()?;
    tool::wait_for("datagrams to be sent", LIMIT, 100 * MS, || {
        Ok((0..2).all(|way| flows[way].sent() >= first[way] + COUNT).then_some(()))
    })?;
    // Lost at most: twice as many as should be, and a burst besides.
    let most = (2.0 * quality.loss * COUNT as f64) as u64 + 30;
    let lost = || [0, 1].map(|way: usize| flows[way].lost(first[way], first[way] + COUNT));
    // Those that are under way still come.
    tool::wait_for("datagrams to arrive", LIMIT, 100 * MS, || {
        let lost = lost();
        ensure!(lost.iter().all(|lost| *lost <= most), "{lost:?} of {COUNT} are lost, at most {most} may be");
        Ok(Some(()))
    })?;
    let octets = carried()? - before;
    if quality.loss <= DIRECT {
        ensure!(octets < COUNT * 64, "the root sent {octets} octets: the pair was relayed");
    }
    for (from, to) in [(0, 1), (1, 0)] {
        let (near, far) = (&cluster.members[from], &cluster.members[to]);
        if quality.loss <= DIRECT {
            let path = near.path_to(&far.address)?;
            ensure!(path.is_some(), "{} has no direct path", near.name());
        }
        let order = Order { octets: 200_000, back: false, pace: None, limit: LIMIT };
        let (here, there) = (&near.host.namespace, &far.host.namespace);
        let arrived = Transfer::start(here, there, IpAddr::V4(cluster.fixed(to)), order)?.finish()?;
        ensure!(arrived.right, "a stream of {} has another SHA-256", near.name());
    }
    let repeated = flows.each_ref().map(flow::Direction::repeated);
    ensure!(repeated == [0; 2], "{repeated:?} datagrams arrived twice");
    Ok(())
}

#[test]
fn lines_that_lose() {
    let loss = |loss, burst| Quality { loss, burst, ..Quality::default() };
    let qualities =
        [loss(0.001, 1.0), loss(0.01, 1.0), loss(0.05, 4.0), loss(0.1, 1.0), loss(0.1, 3.0), loss(0.25, 1.0)];
    gets_through("lines_that_lose", 11, &qualities);
}

#[test]
fn lines_that_delay_reorder_and_repeat() {
    let good = Quality::default();
    let qualities = [
        Quality { reorder: 0.2, ..good },
        Quality { duplicate: 0.2, ..good },
        Quality { jitter: 60 * MS, ..Quality::delayed(100 * MS) },
        Quality {
            loss: 0.02,
            burst: 3.0,
            reorder: 0.1,
            duplicate: 0.1,
            jitter: 10 * MS,
            ..Quality::delayed(20 * MS)
        },
    ];
    gets_through("lines_that_delay_reorder_and_repeat", 12, &qualities);
}
