//! ztnode and zerotier-one side by side: each of root, controller and two members held by either, all 16 combinations.
//!
//! Runs when `ZEROTIER_ONE` names a zerotier-one 1.14.1 binary. `ZTNODE_INTEROP=ozzo` picks one combination (root,
//! controller, A, B: `o` is ours, `z` is zerotier-one). The table for docs/interop.md is printed, and written to the
//! file that `ZTNODE_INTEROP_TABLE` names.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::capture::Capture;
use lab::traffic::{self, Group};
use lab::{Access, Cluster, NatKind, Plan, Seat, binaries, testing, tool};

const LIMIT: Duration = Duration::from_secs(20);
const GATHER: Duration = Duration::from_secs(75);

/// What is tried in each combination, in this order.
const COLUMNS: [&str; 9] = [
    "join",
    "ping v4",
    "ping v6",
    "ARP, NDP",
    "TCP 10 MB",
    "multicast",
    "direct path",
    "deauthorize",
    "suites 1/3 A→ ←A",
];

fn seats(code: &str) -> Vec<Seat> {
    code.chars().map(|c| if c == 'z' { Seat::Reference } else { Seat::Ours }).collect()
}

fn both(mut step: impl FnMut(usize, usize) -> Result<()>) -> Result<()> {
    step(0, 1).context("A to B")?;
    step(1, 0).context("B to A")
}

/// Fills `row` as far as it gets.
fn combination(code: &str, row: &mut Vec<String>) -> Result<()> {
    let seats = seats(code);
    let plan = Plan::new()
        .root(seats[0])
        .controller(seats[1])
        .member("a", seats[2], Access::Nat(NatKind::PortRestricted))
        .member("b", seats[3], Access::Nat(NatKind::PortRestricted));
    let mut cluster = plan.prepare(lab::Lab::new()?)?;
    let outcome = steps(&mut cluster, row);
    outcome.map_err(|error| {
        if std::env::var_os("ZTNODE_INTEROP").is_some() { error.context(cluster.report()) } else { error }
    })
}

fn steps(cluster: &mut Cluster, row: &mut Vec<String>) -> Result<()> {
    let a = cluster.members[0].host.clone();
    let capture = Capture::start(&cluster.lab, &a)?;
    let done = |row: &mut Vec<String>| row.push("ok".to_owned());
    cluster.start().context("join")?;
    done(row);
    both(|from, to| cluster.ping(from, to, LIMIT).map(drop)).context("ping v4")?;
    done(row);
    both(|from, to| cluster.ping6(from, to, LIMIT)).context("ping v6")?;
    done(row);
    both(|from, to| {
        let namespace = &cluster.members[from].host.namespace;
        let mac = cluster.members[to].mac(&cluster.network)?;
        for ip in [IpAddr::V4(cluster.fixed(to)), IpAddr::V6(cluster.ip6(to)?[0])] {
            let found = traffic::neighbour(namespace, ip)?;
            ensure!(found.as_deref() == Some(&mac), "{ip} is at {found:?}, should be {mac}");
        }
        Ok(())
    })
    .context("ARP, NDP")?;
    done(row);
    both(|from, to| cluster.tcp(from, to, 10 << 20).map(drop)).context("TCP 10 MB")?;
    done(row);
    both(|from, _| {
        cluster.one_to_many(from, Group::V4(Ipv4Addr::new(239, 7, 7, 7)), GATHER)?;
        cluster.one_to_many(from, Group::V6(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 7, 7)), GATHER)?;
        cluster.one_to_many(from, Group::Broadcast(Ipv4Addr::BROADCAST), GATHER)
    })
    .context("multicast")?;
    done(row);
    both(|from, to| cluster.members[from].wait_direct(&cluster.members[to].address, LIMIT).map(drop))
        .context("direct path")?;
    done(row);
    let seen = capture.finish()?;
    cluster.authorize(1, false)?;
    both(|from, to| {
        let namespace = &cluster.members[from].host.namespace;
        let target = IpAddr::V4(cluster.fixed(to));
        tool::wait_for("the traffic to stop", LIMIT, Duration::from_millis(100), || {
            Ok(traffic::ping(namespace, target, Duration::from_millis(500))?.is_none().then_some(()))
        })?;
        let received = traffic::pings(namespace, target, 5, Duration::from_millis(100))?;
        ensure!(received == 0, "{received} of 5 pings came through");
        Ok(())
    })
    .context("deauthorize")?;
    done(row);
    let mut suites: BTreeMap<(bool, u8), u32> = BTreeMap::new();
    for datagram in &seen {
        if let Some(suite) = datagram.suite() {
            *suites.entry((datagram.from.0 == a.public, suite)).or_default() += 1;
        }
    }
    let count = |outward: bool, suite: u8| suites.get(&(outward, suite)).copied().unwrap_or(0);
    row.push(format!("{}/{} {}/{}", count(true, 1), count(true, 3), count(false, 1), count(false, 3)));
    for suite in [1, 3] {
        ensure!(
            count(true, suite) > 0 && count(false, suite) > 0,
            "suite {suite} was not used both ways: {suites:?}"
        );
    }
    Ok(())
}

#[test]
fn sixteen_combinations() {
    if !testing::ready("interop") {
        return;
    }
    if binaries::reference().is_none() {
        testing::say("SKIPPED interop: set ZEROTIER_ONE to a zerotier-one 1.14.1 binary to run it");
        return;
    }
    binaries::ours().unwrap();
    let only = std::env::var("ZTNODE_INTEROP").ok();
    let codes: Vec<String> = (0..16u8)
        .map(|bits| {
            (0..4).map(|seat| if bits >> (3 - seat) & 1 == 1 { 'z' } else { 'o' }).collect::<String>()
        })
        .filter(|code| only.as_ref().is_none_or(|only| only.split(',').any(|one| one == code)))
        .collect();
    let queue = Mutex::new(codes.iter());
    let results = Mutex::new(BTreeMap::new());
    // Two at a time: most of a combination is waiting.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().map(|mut codes| codes.next()).ok().flatten();
                    let Some(code) = next else { break };
                    let mut row = Vec::new();
                    let outcome = catch_unwind(AssertUnwindSafe(|| combination(code, &mut row)))
                        .unwrap_or_else(|_| Err(anyhow::anyhow!("panicked")));
                    let error = outcome.err().map(|error| format!("{error:#}"));
                    testing::say(&format!("interop {code}: {}", error.as_deref().unwrap_or("ok")));
                    if let Ok(mut results) = results.lock() {
                        results.insert(code.clone(), (row, error));
                    }
                }
            });
        }
    });
    let results = results.into_inner().unwrap();
    let table = table(&results);
    testing::say(&table);
    if let Some(path) = std::env::var_os("ZTNODE_INTEROP_TABLE") {
        std::fs::write(path, &table).unwrap();
    }
    let failed: Vec<&String> =
        results.iter().filter(|(_, (_, error))| error.is_some()).map(|(code, _)| code).collect();
    assert!(!results.is_empty(), "no combination was run");
    assert!(failed.is_empty(), "failed combinations: {failed:?}");
}

fn table(results: &BTreeMap<String, (Vec<String>, Option<String>)>) -> String {
    let mut text = format!("| root | controller | A | B | {} |\n", COLUMNS.join(" | "));
    text.push_str(&format!("|{}\n", "---|".repeat(4 + COLUMNS.len())));
    for (code, (row, error)) in results {
        text.push('|');
        for seat in seats(code) {
            text.push_str(&format!(" {} |", seat.name()));
        }
        for column in 0..COLUMNS.len() {
            let cell = match row.get(column) {
                Some(cell) => cell.as_str(),
                None if column == row.len() && error.is_some() => "**failed**",
                None => "–",
            };
            text.push_str(&format!(" {cell} |"));
        }
        text.push('\n');
    }
    text
}
