//! Datagrams as large as each path takes: jumbo frames underneath, a narrow router on the way, a zerotier-one at the far end.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::capture::Capture;
use lab::{Access, Cluster, NatKind, Plan, Seat, testing, tool, traffic};

const LIMIT: Duration = Duration::from_secs(30);

/// Every cable of the lab, the internet's included, takes packets of 9000 octets.
fn widen(cluster: &Cluster) -> Result<()> {
    for (number, host) in cluster.lab.hosts().iter().enumerate() {
        cluster.lab.internet().ip(&format!("link set p{} mtu 9000\n", number + 1))?;
        host.border.ip(&format!("link set {} mtu 9000\n", host.outside()))?;
    }
    cluster.lab.internet().ip("link set br0 mtu 9000\n")
}

/// A ping that fills a frame of 2800 octets.
fn large_ping(cluster: &Cluster, from: usize, to: usize) -> Result<bool> {
    let target = cluster.fixed(to).to_string();
    let words = ["-n", "-q", "-c", "1", "-W", "1", "-s", "2772", &target];
    Ok(cluster.members[from].host.namespace.said("ping", &words)?.ok())
}

/// Sends large frames until datagrams towards another member have this size.
fn wait_mtu(cluster: &Cluster, from: usize, to: usize, mtu: u64) -> Result<()> {
    let (member, address) = (&cluster.members[from], &cluster.members[to].address);
    tool::wait_for(&format!("datagrams of {mtu} octets"), LIMIT, Duration::from_millis(200), || {
        large_ping(cluster, from, to)?;
        let peer = member.get(&format!("/peer/{address}"))?;
        let paths = peer["paths"].as_array().context("paths")?;
        let found = paths.iter().find(|path| path["preferred"] == true).context("no direct path")?;
        ensure!(found["mtu"] == mtu, "{found}");
        Ok(Some(()))
    })
}

/// Lengths of the datagrams that leave member `from` for member `to` meanwhile.
fn lengths(
    cluster: &Cluster,
    from: usize,
    to: usize,
    work: impl FnOnce() -> Result<()>,
) -> Result<Vec<usize>> {
    let (from, to) = (&cluster.members[from].host, &cluster.members[to].host);
    let capture = Capture::start(&cluster.lab, from)?;
    work()?;
    let seen = capture.finish()?;
    Ok(seen
        .iter()
        .filter(|d| (d.from.0, d.to.0) == (from.public, to.public))
        .map(|d| d.payload.len())
        .collect())
}

#[test]
fn jumbo_frames_underneath_carry_a_frame_in_one_datagram() {
    let plan = Plan::new().member("a", Seat::Ours, Access::Public).member("b", Seat::Ours, Access::Public);
    testing::run("jumbo_frames_underneath_carry_a_frame_in_one_datagram", &plan, |cluster| {
        widen(cluster)?;
        wait_mtu(cluster, 0, 1, 8952)?;
        wait_mtu(cluster, 1, 0, 8952)?;
        let seen = lengths(cluster, 0, 1, || cluster.tcp(0, 1, 4 << 20).map(drop))?;
        ensure!(seen.iter().any(|length| *length > 2700), "no large datagram among {}", seen.len());
        let cut = seen.iter().filter(|length| (1426..=1432).contains(*length)).count();
        ensure!(cut <= seen.len() / 10, "{cut} of {} datagrams are halves of a frame", seen.len());
        cluster.tcp(1, 0, 4 << 20).map(drop)
    });
}

#[test]
fn a_narrow_router_gets_fragments_that_fit() {
    let plan = Plan::new().member("a", Seat::Ours, Access::Nat(NatKind::PortRestricted)).member(
        "b",
        Seat::Ours,
        Access::Public,
    );
    testing::run("a_narrow_router_gets_fragments_that_fit", &plan, |cluster| {
        let router = &cluster.members[0].host.border;
        router.ip("route replace 80.0.0.0/16 dev wan mtu lock 1300\n")?;
        ensure!(large_ping(cluster, 0, 1)?, "fragments of IP carry it at first");
        wait_mtu(cluster, 0, 1, 1232)?;
        wait_mtu(cluster, 1, 0, 1432)?;
        let seen = lengths(cluster, 0, 1, || cluster.tcp(0, 1, 4 << 20).map(drop))?;
        ensure!(!seen.is_empty() && seen.iter().all(|length| *length <= 1232), "{:?}", seen.iter().max());
        cluster.tcp(1, 0, 4 << 20)?;
        let said = cluster.members[0].cli(&["doctor"])?;
        ensure!(said.contains("datagrams of 1232 octets (default 1432)"), "{said}");
        // Where fragments of IP are lost, too.
        router.nft(
            "table ip whole {\n  chain f {\n    type filter hook postrouting priority -500;\n    \
             ip frag-off & 0x3fff != 0 drop\n  }\n}\n",
        )?;
        cluster.tcp(0, 1, 4 << 20).map(drop)
    });
}

#[test]
fn a_zerotier_one_gets_no_more_than_it_takes() {
    let plan =
        Plan::new().member("a", Seat::Ours, Access::Public).member("z", Seat::Reference, Access::Public);
    testing::run("a_zerotier_one_gets_no_more_than_it_takes", &plan, |cluster| {
        widen(cluster)?;
        let target = IpAddr::V4(cluster.fixed(1));
        traffic::first_ping(&cluster.members[0].host.namespace, target, LIMIT)?;
        cluster.members[0].wait_direct(&cluster.members[1].address, LIMIT)?;
        let seen = lengths(cluster, 0, 1, || {
            for _ in 0..30 {
                ensure!(large_ping(cluster, 0, 1)?, "a frame of 2800 octets");
                std::thread::sleep(Duration::from_millis(200));
            }
            cluster.tcp(0, 1, 4 << 20).map(drop)
        })?;
        let largest = seen.iter().max().copied().unwrap_or_default();
        ensure!(
            (1400..=1432).contains(&largest),
            "the largest of {} datagrams has {largest} octets",
            seen.len()
        );
        wait_mtu(cluster, 0, 1, 1432)?;
        cluster.tcp(1, 0, 4 << 20).map(drop)
    });
}
