//! `ztbench`: what two nodes that are joined by a cable carry, ours and others in turn, in one run.
//!
//! Two network namespaces, a veth pair between them, a daemon in each; of ztnode and zerotier-one the first is root and
//! controller too. iperf3, ping, /proc and a flow of numbered datagrams are the instruments. Systems take turns within a
//! round, and ratios are formed within a round, so that a change of the machine's mood hits both.

mod arguments;
mod document;
mod idle;
mod instruments;
mod integrity;
mod machine;
mod measure;
mod metric;
mod mixed;
mod picture;
mod reordering;
mod report;
mod rules;
mod statistics;
mod system;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use lab::{Seat, binaries, registry, testing};

use arguments::Arguments;
use measure::Conditions;
use report::Report;
use system::System;
use system::peers::Peer;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(file) = &arguments.report {
        return document::update(file);
    }
    testing::possible()?;
    registry::sweep()?;
    let peers = arguments.peers()?;
    // Before the first lab: this may have to build them.
    binaries::ours()?;
    let conditions = Conditions {
        length: Duration::from_secs(if arguments.quick { 2 } else { arguments.seconds.into() }),
        underlay: arguments.underlay,
        pinned: arguments.pin,
        brief: arguments.quick,
    };
    let rounds = if arguments.quick { arguments.rounds.min(3) } else { arguments.rounds };
    let path = results(&arguments.name);
    if let Some(octets) = arguments.integrity {
        return integrity::run(octets, &path);
    }
    if let Some(packets) = arguments.reordering {
        return reordering::run(packets, &path);
    }
    if arguments.idle {
        return idle::run(&path);
    }
    if arguments.mixed {
        return compare(mixed::systems()?, rounds, conditions, &path);
    }
    let mut systems = nodes()?;
    if arguments.rules {
        return rules::run(&systems, rounds, conditions.length, &path);
    }
    for peer in peers {
        systems.push(peer.start()?);
    }
    if !arguments.no_probe && Peer::Probe.missing().is_none() {
        systems.push(Peer::Probe.start()?);
    }
    if !arguments.no_cable {
        systems.push(System::cable()?);
    }
    compare(systems, rounds, conditions, &path)
}

/// ztnode, and zerotier-one where there is one.
fn nodes() -> Result<Vec<System>> {
    let mut systems = vec![System::nodes([Seat::Ours; 2]).context("ztnode")?];
    if binaries::reference().is_some() {
        systems.push(System::nodes([Seat::Reference; 2]).context("zerotier-one")?);
    } else {
        eprintln!("ZEROTIER_ONE names no zerotier-one binary: measuring without it");
    }
    Ok(systems)
}

/// Measures all systems in turn, shows a table and writes everything down.
fn compare(
    mut systems: Vec<System>,
    rounds: u32,
    conditions: Conditions,
    path: &std::path::Path,
) -> Result<()> {
    let mut report = Report::new(&systems, conditions);
    for system in &mut systems {
        measure::warm_up(system, conditions).with_context(|| system.name.clone())?;
    }
    for round in 1..=rounds {
        let mut order: Vec<usize> = (0..systems.len()).collect();
        if round % 2 == 0 {
            order.reverse();
        }
        for index in order {
            let system = &mut systems[index];
            let sample = measure::round(system, conditions).with_context(|| system.name.clone())?;
            eprintln!("round {round} of {rounds}: {}: {}", system.name, sample.line());
            report.add(index, sample);
        }
        // After every round: a run that is cut short keeps what it has.
        report.write(path)?;
    }
    println!("{}", document::tables(&report.json())?);
    println!("written to {}", path.display());
    Ok(())
}

/// Where results are kept.
fn results(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/results")).join(format!("{name}.json"))
}
