//! Streams over lines of poor quality and through a router that forgets, beside the same without any node.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use lab::emulator::Quality;
use lab::transfer::{Arrived, Order, Transfer};
use lab::{Access, Family, Host, Lab, NatKind};
use serde_json::{Value, json};

use super::fault::Needs;
use super::row::Row;
use super::scene::Scene;
use super::table::Underlay;
use super::{lock, store};
use crate::report::render;
use crate::statistics::summarize;

/// What has not arrived after this is given up.
const LIMIT: Duration = Duration::from_secs(600);
/// A router forgets so often.
const FORGETS: Duration = Duration::from_secs(10);
/// Outside ports that it has at a time.
const PORTS: u16 = 50;

/// One stream, from A to B, or from B to A where A asked for it.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    title: &'static str,
    octets: u64,
    /// Octets a second.
    pace: Option<f64>,
    back: bool,
    /// A is behind a router that forgets every 10 s.
    forgets: bool,
    /// The line in front of A, both ways.
    quality: Quality,
}

/// All of them.
fn cases() -> [Case; 4] {
    let good = Quality::default();
    let plain = Case {
        name: "loss",
        title: "2 MB, 20 % lost",
        octets: 2_000_000,
        pace: None,
        back: false,
        forgets: false,
        quality: Quality { loss: 0.2, ..good },
    };
    let rebind = Case {
        name: "rebind",
        title: "100 MB at 20 Mbit/s, A's NAT router makes new mappings every 10 s",
        octets: 100_000_000,
        pace: Some(20e6 / 8.0),
        forgets: true,
        quality: good,
        ..plain
    };
    let bursts = Quality { loss: 0.08, burst: 4.0, ..Quality::delayed(Duration::from_millis(225)) };
    [
        plain,
        Case {
            name: "bursts",
            title: "5 MB, 8 % lost in bursts of 4, 450 ms",
            octets: 5_000_000,
            quality: bursts,
            ..plain
        },
        rebind,
        Case { name: "rebind-back", title: "the same from B to A", back: true, ..rebind },
    ]
}

/// Who carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum System {
    Nodes(Row),
    /// Nobody: TCP between the machines themselves.
    Cable,
}

impl System {
    fn code(self) -> String {
        match self {
            Self::Nodes(row) => row.code(),
            Self::Cable => "cable".to_owned(),
        }
    }

    fn title(self) -> String {
        match self {
            Self::Nodes(row) => row.seats().map(lab::Seat::name).join(", "),
            Self::Cable => "cable".to_owned(),
        }
    }
}

/// Measures all cases with all rows and the cable, `runs` seeds each. Returns what did not arrive as it was sent through ztnode.
///
/// # Errors
/// When the result cannot be written.
pub(super) fn run(rows: &[Row], runs: u32, at_once: u32, path: &Path) -> Result<Vec<String>> {
    let machine = crate::machine::describe();
    let mut jobs = VecDeque::new();
    for seed in 1..=u64::from(runs) {
        for case in cases() {
            jobs.extend(rows.iter().map(|row| (case, System::Nodes(*row), seed)));
            jobs.push_back((case, System::Cable, seed));
        }
    }
    let (waiting, found, missed) = (Mutex::new(jobs), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let worker = || -> Result<()> {
        loop {
            let Some((case, system, seed)) = lock(&waiting).pop_front() else { return Ok(()) };
            let arrived = measure(case, system, seed);
            let text = match &arrived {
                Ok(arrived) if arrived.right => format!("{:.1} s", arrived.time.as_secs_f64()),
                Ok(_) => "the SHA-256 is another".to_owned(),
                Err(error) => format!("{error:#}").lines().next().unwrap_or_default().to_owned(),
            };
            let name = format!("lossy {}, {}, seed {seed}", case.name, system.code());
            eprintln!("{name}: {text}");
            let right = arrived.as_ref().is_ok_and(|arrived| arrived.right);
            if !right && system == System::Nodes(Row::ours()) {
                lock(&missed).push(format!("{name}: {text}"));
            }
            let mut found = lock(&found);
            found.push(json!({
                "case": case.name, "system": system.code(), "title": system.title(), "seed": seed, "right": right,
                "seconds": arrived.as_ref().ok().map(|arrived| arrived.time.as_secs_f64()),
                "failed": arrived.is_err().then_some(text),
            }));
            store::put(path, "lossy", &machine, found.clone())?;
        }
    };
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| anyhow!("a measuring thread panicked"))?)
    })?;
    println!("{}", markdown(&lock(&found)));
    Ok(std::mem::take(&mut lock(&missed)))
}

/// One stream.
fn measure(case: Case, system: System, seed: u64) -> Result<Arrived> {
    match system {
        System::Nodes(row) => {
            let needs = Needs { nat: case.forgets, ..Needs::default() };
            let mut scene =
                Scene::build(row, needs, Underlay { family: Family::V4, rtt: 0.3 }, Duration::ZERO)?;
            scene.settle()?;
            scene.silence();
            let [a, b] = scene.hosts();
            let cluster = scene.cluster_mut();
            let address = cluster.fixed(1);
            carry(&mut cluster.lab, [&a, &b], address, case, seed)
        }
        System::Cable => {
            let mut lab = Lab::new()?;
            let access = if case.forgets { Access::Nat(NatKind::PortRestricted) } else { Access::Public };
            let (a, b) = (lab.add("a", access)?, lab.add("b", Access::Public)?);
            carry(&mut lab, [&a, &b], b.public, case, seed)
        }
    }
}

fn carry(lab: &mut Lab, [a, b]: [&Host; 2], address: Ipv4Addr, case: Case, seed: u64) -> Result<Arrived> {
    lab.line(a, case.quality, case.quality, seed)?;
    let order = Order { octets: case.octets, back: case.back, pace: case.pace, limit: LIMIT };
    let stream = Transfer::start(&a.namespace, &b.namespace, IpAddr::V4(address), order)?;
    let (mut due, mut first) = (Instant::now() + FORGETS, 20_000);
    while !stream.is_over() {
        std::thread::sleep(Duration::from_millis(20));
        if case.forgets && Instant::now() >= due {
            a.rebind(&(first..=first + PORTS - 1))?;
            (due, first) = (due + FORGETS, first + PORTS);
        }
    }
    let arrived = stream.finish()?;
    ensure!(arrived.octets == case.octets, "{} octets arrived", arrived.octets);
    Ok(arrived)
}

/// The table: a case a line and system, beside the cable.
pub(super) fn markdown(runs: &[Value]) -> String {
    let mut rows = vec![
        ["stream", "root, A, B", "seconds", "without a node", "ratio", "SHA-256"].map(str::to_owned).to_vec(),
    ];
    let mut systems: Vec<(&str, &str)> =
        runs.iter().filter_map(|run| Some((run["system"].as_str()?, run["title"].as_str()?))).collect();
    systems.sort_unstable();
    systems.dedup();
    systems.retain(|(code, _)| *code != "cable");
    let shown = |seconds: f64| if seconds < 10.0 { format!("{seconds:.1}") } else { format!("{seconds:.0}") };
    for case in cases() {
        let of = |system: &str| -> Vec<&Value> {
            runs.iter().filter(|run| run["case"] == case.name && run["system"] == system).collect()
        };
        let spread = |runs: &[&Value]| {
            let failed = runs.iter().filter(|run| run["seconds"].is_null()).count();
            let seconds = summarize(runs.iter().filter_map(|run| run["seconds"].as_f64()));
            match seconds {
                None => "breaks off".to_owned(),
                Some(all) if failed == 0 => {
                    format!("{} ({}–{})", shown(all.median), shown(all.min), shown(all.max))
                }
                Some(all) => format!(
                    "{} ({}–{}), {failed} of {} break off",
                    shown(all.median),
                    shown(all.min),
                    shown(all.max),
                    runs.len()
                ),
            }
        };
        let cable = of("cable");
        for (code, title) in &systems {
            let nodes = of(code);
            if nodes.is_empty() {
                continue;
            }
            // Of the same seed.
            let ratios = nodes.iter().filter_map(|run| {
                let beside = cable.iter().find(|other| other["seed"] == run["seed"])?;
                Some(run["seconds"].as_f64()? / beside["seconds"].as_f64()?)
            });
            let ratio = summarize(ratios).map_or_else(|| "–".to_owned(), |all| format!("{:.2}", all.median));
            let right = nodes.iter().filter(|run| run["right"] == true).count();
            rows.push(vec![
                case.title.to_owned(),
                (*title).to_owned(),
                spread(&nodes),
                spread(&cable),
                ratio,
                format!("{right} of {} right", nodes.len()),
            ]);
        }
    }
    render(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_ratios_of_the_same_seed() {
        let run = |system: &str, seed: u64, seconds: Option<f64>| json!({"case": "loss", "system": system, "title": "t", "seed": seed, "right": seconds.is_some(), "seconds": seconds});
        let runs = [
            run("ooo", 1, Some(30.0)),
            run("cable", 1, Some(20.0)),
            run("ooo", 2, Some(8.0)),
            run("cable", 2, Some(4.0)),
            run("ooo", 3, None),
        ];
        let text = markdown(&runs);
        assert!(text.contains("| 19 (8.0–30), 1 of 3 break off "), "{text}");
        assert!(text.contains("| 12 (4.0–20) ") && text.contains("| 1.75 "), "{text}");
        assert!(text.contains("2 of 3 right"), "{text}");
    }
}
