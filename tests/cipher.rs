//! `settings.cipher`: a node that wants Salsa20/12 gets and sends nothing else, from and to ztnode and zerotier-one.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::capture::Capture;
use lab::{Access, Lab, Plan, Seat, binaries, testing};

const LIMIT: Duration = Duration::from_secs(20);
/// Suites of packets: Salsa20/12 with Poly1305, AES-GMAC-SIV.
const SALSA: u8 = 1;
const AES: u8 = 3;

/// Packets of suite 1 and 3 that host `a` sent and got, while pings and a stream went both ways.
fn suites(other: Seat, cipher: &str) -> Result<[[usize; 2]; 2]> {
    let plan =
        Plan::new().root(other).member("a", Seat::Ours, Access::Public).member("b", other, Access::Public);
    let mut cluster = plan.prepare(Lab::new()?)?;
    cluster.members[0].set("cipher", cipher)?;
    let a = cluster.members[0].host.clone();
    let capture = Capture::start(&cluster.lab, &a)?;
    cluster.start()?;
    for (from, to) in [(0, 1), (1, 0)] {
        cluster.ping(from, to, LIMIT)?;
        cluster.tcp(from, to, 1 << 20)?;
        cluster.members[from].wait_direct(&cluster.members[to].address, LIMIT)?;
        cluster.tcp(from, to, 1 << 20)?;
    }
    let seen = capture.finish()?;
    let count = |outward: bool, suite: u8| {
        let ours = seen.iter().filter(|datagram| (datagram.from.0 == a.public) == outward);
        ours.filter(|datagram| datagram.suite() == Some(suite)).count()
    };
    Ok([true, false].map(|outward| [count(outward, SALSA), count(outward, AES)]))
}

fn check(other: Seat) -> Result<()> {
    let salsa = suites(other, "salsa20")?;
    for [salsa, aes] in salsa {
        ensure!(salsa > 100 && aes == 0, "asked for Salsa20: {salsa} packets so, {aes} by AES");
    }
    let aes = suites(other, "aes-gmac-siv")?;
    for [salsa, aes] in aes {
        ensure!(aes > 100, "asked for AES: {aes} packets so, {salsa} by Salsa20");
    }
    Ok(())
}

#[test]
fn ztnode_and_ztnode() {
    if testing::ready("ztnode_and_ztnode") {
        check(Seat::Ours).unwrap_or_else(|error| panic!("{error:#}"));
    }
}

#[test]
fn ztnode_and_zerotier_one() {
    const NAME: &str = "ztnode_and_zerotier_one";
    if !testing::ready(NAME) {
        return;
    }
    if binaries::reference().is_none() {
        testing::say(&format!("SKIPPED {NAME}: ZEROTIER_ONE names no zerotier-one binary"));
        return;
    }
    check(Seat::Reference).unwrap_or_else(|error| panic!("{error:#}"));
}
