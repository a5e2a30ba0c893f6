//! ztnode and zerotier-one side by side: each of root, controller and two members held by either, all 16 combinations;
//! and flow rules with each of controller, two members and an observer held by either, again 16.
//!
//! Besides, an older ztnode, from the folder that `ZTNODE_OLD` names, in every role beside the present one (`p` in codes).
//!
//! Runs when `ZEROTIER_ONE` names a zerotier-one 1.14.1 binary. `ZTNODE_INTEROP=ozzo` picks one combination (root,
//! controller, A, B: `o` is ours, `z` is zerotier-one), `ZTNODE_INTEROP_RULES=ozoo` one of the rules (controller, A, B,
//! observer). The tables for docs/interop.md are printed, and written to the files that `ZTNODE_INTEROP_TABLE` and
//! `ZTNODE_INTEROP_RULES_TABLE` name.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::capture::Capture;
use lab::rules::{self, Example, Observed};
use lab::traffic::{self, Group};
use lab::{Access, Cluster, NatKind, Plan, Seat, binaries, testing, tool};
use serde_json::json;

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
    let seat = |c| match c {
        'z' => Seat::Reference,
        'p' => Seat::Older,
        _ => Seat::Ours,
    };
    code.chars().map(seat).collect()
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
    outcome.map_err(|error| with_report(error, "ZTNODE_INTEROP", &mut cluster))
}

/// Whoever picks combinations wants to know more about those that fail.
fn with_report(error: anyhow::Error, picked: &str, cluster: &mut Cluster) -> anyhow::Error {
    if std::env::var_os(picked).is_some() { error.context(cluster.report()) } else { error }
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

const A: usize = 0;
const B: usize = 1;
const OBSERVER: usize = 2;

/// What is tried with the rules, in this order.
const RULE_COLUMNS: [&str; 9] = [
    "join",
    "drop",
    "tee",
    "watch",
    "redirect by sender",
    "redirect by receiver",
    "tags",
    "capability",
    "rules in force after, at most",
];

/// Fills `row` as far as it gets.
fn rules_combination(code: &str, row: &mut Vec<String>) -> Result<()> {
    let seats = seats(code);
    let plan = Plan::new()
        .controller(seats[0])
        .member("a", seats[1], Access::Nat(NatKind::PortRestricted))
        .member("b", seats[2], Access::Nat(NatKind::PortRestricted))
        .member("observer", seats[3], Access::Public);
    let mut cluster = plan.prepare(lab::Lab::new()?)?;
    let outcome = rules_steps(&mut cluster, row);
    outcome.map_err(|error| with_report(error, "ZTNODE_INTEROP_RULES", &mut cluster))
}

fn rules_steps(cluster: &mut Cluster, row: &mut Vec<String>) -> Result<()> {
    cluster.start().context("join")?;
    for (from, to) in [(A, B), (B, A), (A, OBSERVER), (OBSERVER, A), (B, OBSERVER), (OBSERVER, B)] {
        cluster.ping(from, to, LIMIT).context("join")?;
    }
    let mut done = || row.push("ok".to_owned());
    done();
    let mut slowest = Duration::ZERO;
    let observer = cluster.members[OBSERVER].address.clone();
    let mut set = |source: &str| -> Result<()> {
        slowest = slowest.max(cluster.set_rules(source)?);
        Ok(())
    };
    let pings = |from: usize, to: usize| {
        let namespace = &cluster.members[from].host.namespace;
        traffic::pings(namespace, IpAddr::V4(cluster.fixed(to)), 5, Duration::from_millis(50))
    };

    set("drop icmp 8 -1;\naccept;\n")?;
    both(|from, to| {
        ensure!(pings(from, to)? == 0, "echo requests should be dropped");
        ensure!(cluster.connects(from, to)?, "TCP should pass");
        Ok(())
    })
    .context("drop")?;
    done();

    let seen: [(Example, Observed); 4] = [
        (rules::TEE, Observed::new(2, 2, true)),
        (rules::WATCH, Observed::new(1, 1, true)),
        (rules::REDIRECT, Observed::new(1, 0, false)),
        (rules::REDIRECT_INBOUND, Observed::new(1, 0, false)),
    ];
    for (example, expected) in seen {
        set(&example.source(&observer))?;
        both(|from, to| cluster.expect_observed(OBSERVER, from, to, expected)).context(example.file)?;
        done();
    }

    for (index, department) in [(A, 1), (B, 1), (OBSERVER, 2)] {
        cluster.set_tags(index, &[(rules::DEPARTMENT, department)])?;
    }
    set(&rules::SEGMENTS.source(&observer))?;
    both(|from, to| cluster.ping(from, to, LIMIT).map(drop)).context("tags: one department")?;
    for member in [A, B] {
        ensure!(pings(member, OBSERVER)? == 0 && pings(OBSERVER, member)? == 0, "tags: another department");
    }
    cluster.set_tags(B, &[(rules::DEPARTMENT, 2)])?;
    shown(cluster, B, |limit| cluster.ping(B, OBSERVER, limit).map(drop))
        .context("tags: the new department")?;
    cluster.ping(OBSERVER, B, LIMIT).context("tags: the new department")?;
    both(|from, to| {
        ensure!(pings(from, to)? == 0, "{from} reaches {to}");
        Ok(())
    })
    .context("tags: the old department")?;
    done();

    set(&rules::CAPABILITY.source(&observer))?;
    both(|from, to| {
        ensure!(!cluster.connects(from, to)?, "nobody holds it yet");
        Ok(())
    })
    .context("capability")?;
    cluster.set_capabilities(A, &[rules::WEB_CLIENT])?;
    let connects = |wanted: bool, limit: Duration| {
        tool::wait_for("the capability to act", limit, Duration::from_millis(50), || {
            Ok((cluster.connects(A, B)? == wanted).then_some(()))
        })
    };
    shown(cluster, A, |limit| connects(true, limit)).context("capability: granted")?;
    ensure!(!cluster.connects(B, A)?, "capability: the other does not hold it");
    cluster.set_capabilities(A, &[])?;
    connects(false, LIMIT).context("capability: taken away")?;
    done();
    row.push(format!("{} ms", slowest.as_millis()));
    Ok(())
}

/// Waits for what follows when `member` shows its new tags or capabilities to the others.
///
/// zerotier-one drops credentials that come within a second of the same sender's last ones, and as a sender does not repeat
/// them before its next configuration, up to a minute later. A change of its name gives the member one sooner.
fn shown(cluster: &Cluster, member: usize, mut check: impl FnMut(Duration) -> Result<()>) -> Result<()> {
    let mut outcome = Ok(());
    for attempt in 1..=4 {
        outcome = check(LIMIT / 4);
        if outcome.is_ok() {
            break;
        }
        testing::say(&format!("{} shows its credentials again", cluster.members[member].name()));
        cluster.set_member(member, &json!({"name": format!("attempt {attempt}")}))?;
    }
    outcome
}

#[test]
fn sixteen_combinations() {
    let outcome = run_all("interop", "ZTNODE_INTEROP", &of_two('z'), combination);
    report(outcome, ["root", "controller", "A", "B"], &COLUMNS, "ZTNODE_INTEROP_TABLE");
}

#[test]
fn rules_in_sixteen_combinations() {
    let outcome = run_all("interop of rules", "ZTNODE_INTEROP_RULES", &of_two('z'), rules_combination);
    report(outcome, ["controller", "A", "B", "observer"], &RULE_COLUMNS, "ZTNODE_INTEROP_RULES_TABLE");
}

/// Who may sit where: us or `other`.
fn of_two(other: char) -> Vec<String> {
    let seat = |bits: u8, seat: u8| if bits >> (3 - seat) & 1 == 1 { other } else { 'o' };
    (0..16u8).map(|bits| (0..4).map(|n| seat(bits, n)).collect()).collect()
}

/// Nothing, and said aloud, where the older programs are missing.
fn older_is_there(name: &str) -> bool {
    if !testing::ready(name) {
        return false;
    }
    let there = binaries::older().is_some_and(|program| program.is_file());
    if !there {
        testing::say(&format!(
            "SKIPPED {name}: set ZTNODE_OLD to a folder with the ztnode of an earlier release to run it"
        ));
    }
    there
}

#[test]
fn an_older_ztnode_in_every_role() {
    const NAME: &str = "interop with an older ztnode";
    if !older_is_there(NAME) {
        return;
    }
    // Each role once alone among the present ones, once alone among the older ones, and all three makes together.
    let codes = ["pooo", "opoo", "oopo", "ooop", "oppp", "popp", "ppop", "pppo", "zpop", "pzpo"];
    let there = |code: &&str| !code.contains('z') || binaries::reference().is_some();
    let codes: Vec<String> = codes.into_iter().filter(there).map(str::to_owned).collect();
    let outcome = run_all(NAME, "ZTNODE_INTEROP_OLD", &codes, combination);
    report(outcome, ["root", "controller", "A", "B"], &COLUMNS, "ZTNODE_INTEROP_OLD_TABLE");
}

#[test]
fn a_member_is_upgraded_and_downgraded_while_the_other_goes_on() {
    const NAME: &str = "upgrade and downgrade of a member";
    if !older_is_there(NAME) {
        return;
    }
    let plan = Plan::new().member("a", Seat::Ours, Access::Nat(NatKind::PortRestricted)).member(
        "b",
        Seat::Older,
        Access::Nat(NatKind::PortRestricted),
    );
    testing::run(NAME, &plan, |cluster| {
        for seat in [Seat::Older, Seat::Ours, Seat::Older, Seat::Ours] {
            if cluster.members[B].seat != seat {
                cluster.members[B].stop()?;
                let home = cluster.members[B].home().to_owned();
                cluster.members[B].seat_on(seat, &home)?;
                cluster.members[B].start()?;
                cluster.members[B].wait_ready()?;
            }
            let start = std::time::Instant::now();
            both(|from, to| cluster.ping(from, to, LIMIT).map(drop)).context(seat.name())?;
            let pinged = start.elapsed();
            both(|from, to| cluster.tcp(from, to, 1 << 20).map(drop)).context(seat.name())?;
            testing::say(&format!(
                "{NAME}: {}: pings after {pinged:?}, TCP after {:?}",
                seat.name(),
                start.elapsed()
            ));
        }
        Ok(())
    });
}

/// What host b has sent, in datagrams and all else.
fn datagrams(cluster: &Cluster) -> Result<u64> {
    let said = cluster.members[1].host.namespace.run("cat", &["/proc/net/dev"])?;
    let eth = said.lines().find_map(|line| line.trim().strip_prefix("eth0:")).context("no eth0")?;
    Ok(eth.split_whitespace().nth(9).context("no counter of packets")?.parse()?)
}

/// A zerotier-one sends a HELLO from all its ports, and with this bonding policy each frame on all its paths.
#[test]
fn what_a_zerotier_one_sends_by_all_its_ports_arrives_once() {
    const NAME: &str = "a zerotier-one with three ports";
    for policy in ["none", "broadcast"] {
        let plan = Plan::new()
            .member("a", Seat::Ours, Access::Public)
            .member("b", Seat::Reference, Access::Public)
            .settings(json!({
                "allowSecondaryPort": true, "secondaryPort": 29_994, "portMappingEnabled": true, "tertiaryPort": 29_995,
                "defaultBondingPolicy": policy
            }));
        testing::run(&format!("{NAME}, bonding {policy}"), &plan, |cluster| {
            both(|from, to| cluster.ping(from, to, LIMIT).map(drop))?;
            both(|from, to| {
                cluster.members[from].wait_direct(&cluster.members[to].address, LIMIT).map(drop)
            })?;
            let path = format!("/peer/{}", cluster.members[1].address);
            tool::wait_for("paths to its ports", GATHER, Duration::from_millis(200), || {
                let peer = cluster.members[0].get(&path)?;
                Ok(peer["paths"].as_array().is_some_and(|paths| paths.len() > 1).then_some(()))
            })?;
            // By all of its paths it sends when it has several itself.
            let target = cluster.fixed(0);
            let enough = if policy == "broadcast" { 40 } else { 0 };
            tool::wait_for("each frame on all paths", GATHER, Duration::from_millis(200), || {
                let before = datagrams(cluster)?;
                let namespace = &cluster.members[1].host.namespace;
                traffic::pings(namespace, IpAddr::V4(target), 20, Duration::from_millis(20))?;
                Ok((datagrams(cluster)? - before >= enough).then_some(()))
            })?;
            let before = datagrams(cluster)?;
            for (from, to) in [(0, 1), (1, 0)] {
                let target = cluster.fixed(to).to_string();
                let said =
                    cluster.members[from].host.namespace.run("ping", &["-c100", "-i0.02", "-W2", &target])?;
                ensure!(said.contains(" 100 received"), "{policy}, from {from}: {said}");
                ensure!(!said.contains("duplicates"), "{policy}, from {from}: {said}");
            }
            let sent = datagrams(cluster)? - before;
            ensure!((sent >= 400) == (policy == "broadcast"), "{policy}: {sent} datagrams for 200 pings");
            both(|from, to| cluster.tcp(from, to, 10 << 20).map(drop)).context(policy)
        });
    }
}

/// The cells of each combination that was run, and why it failed.
type Results = BTreeMap<String, (Vec<String>, Option<String>)>;

/// Runs all combinations, or those that the variable `picked` names. Nothing where labs or the reference are missing.
fn run_all(
    name: &str,
    picked: &str,
    codes: &[String],
    combination: impl Fn(&str, &mut Vec<String>) -> Result<()> + Sync,
) -> Option<Results> {
    // Both tests at once would be more than a small machine can do in time.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    if !testing::ready(name) {
        return None;
    }
    if codes.iter().any(|code| code.contains('z')) && binaries::reference().is_none() {
        testing::say(&format!("SKIPPED {name}: set ZEROTIER_ONE to a zerotier-one 1.14.1 binary to run it"));
        return None;
    }
    binaries::ours().expect("our programs can be found or built");
    let only = std::env::var(picked).ok();
    let codes: Vec<String> = codes
        .iter()
        .filter(|code| only.as_ref().is_none_or(|only| only.split(',').any(|one| one == code.as_str())))
        .cloned()
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
                    testing::say(&format!("{name} {code}: {}", error.as_deref().unwrap_or("ok")));
                    if let Ok(mut results) = results.lock() {
                        results.insert(code.clone(), (row, error));
                    }
                }
            });
        }
    });
    Some(results.into_inner().expect("whoever panicked did not hold the lock"))
}

/// Shows the table, writes it where the variable `file` says, and fails if a combination did.
fn report(results: Option<Results>, roles: [&str; 4], columns: &[&str], file: &str) {
    let Some(results) = results else { return };
    let table = table(&results, roles, columns);
    testing::say(&table);
    if let Some(path) = std::env::var_os(file) {
        std::fs::write(path, &table).expect("the named file can be written");
    }
    let failed: Vec<&String> =
        results.iter().filter(|(_, (_, error))| error.is_some()).map(|(code, _)| code).collect();
    assert!(!results.is_empty(), "no combination was run");
    assert!(failed.is_empty(), "failed combinations: {failed:?}");
}

fn table(results: &Results, roles: [&str; 4], columns: &[&str]) -> String {
    let mut text = format!("| {} | {} |\n", roles.join(" | "), columns.join(" | "));
    text.push_str(&format!("|{}\n", "---|".repeat(4 + columns.len())));
    for (code, (row, error)) in results {
        text.push('|');
        for seat in seats(code) {
            text.push_str(&format!(" {} |", seat.name()));
        }
        for column in 0..columns.len() {
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
