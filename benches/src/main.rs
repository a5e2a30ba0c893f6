//! `ztbench`: what two nodes that are joined by a cable carry, ours and others in turn, in one run.
//!
//! Two network namespaces, a veth pair between them, a daemon in each; of ztnode and zerotier-one the first is root and
//! controller too. iperf3, ping, /proc and a flow of numbered datagrams are the instruments. Systems take turns within a
//! round, and ratios are formed within a round, so that a change of the machine's mood hits both.

mod arguments;
mod chatter;
mod contest;
mod document;
mod goals;
mod idle;
mod instruments;
mod integrity;
mod machine;
mod measure;
mod metric;
mod mixed;
mod mtus;
mod picture;
mod plan;
mod progress;
mod recovery;
mod reordering;
mod report;
mod rules;
mod statistics;
mod system;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use lab::{binaries, registry, testing};

use arguments::{Arguments, Mode};
use contest::Contestant;
use system::peers::Peer;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mode = arguments.mode();
    if let Mode::Report(file) = &mode {
        return document::update(file);
    }
    let conditions = arguments.conditions();
    let contestants = match mode {
        Mode::Compare => everybody(&arguments)?,
        Mode::Mixed => mixed::contestants()?,
        _ => Vec::new(),
    };
    if arguments.dry_run {
        let systems: Vec<_> = contestants.iter().map(|c| (c.name.as_str(), c.scope)).collect();
        println!("{}", conditions.table(&systems));
        return Ok(());
    }
    testing::possible()?;
    registry::sweep()?;
    // Before the first lab: this may have to build them.
    binaries::ours()?;
    let path = results(arguments.name());
    match mode {
        Mode::Compare => contest::run(&contestants, conditions, None, &path),
        Mode::Mixed => contest::run(&contestants, conditions, Some(mixed::BASELINE), &path),
        Mode::Rules => rules::run(conditions.rounds, &path),
        Mode::Mtus => mtus::run(conditions.rounds, conditions.length, &path),
        Mode::Idle => idle::run(&path),
        Mode::Integrity(octets) => integrity::run(octets, &path),
        Mode::Reordering(packets) => reordering::run(packets, &path),
        Mode::Recovery => recovery::run(&arguments.recovery_options, arguments.quick, &path),
        Mode::Report(_) => Ok(()),
    }
}

/// All that take part: ours, zerotier-one, others, the ceiling probe and the cable, as far as they are there and wanted.
fn everybody(arguments: &Arguments) -> Result<Vec<Contestant>> {
    let mut list = Contestant::nodes();
    list.extend(arguments.peers()?.into_iter().map(Contestant::peer));
    if !arguments.no_probe && Peer::Probe.missing().is_none() {
        list.push(Contestant::peer(Peer::Probe));
    }
    if !arguments.no_cable {
        list.push(Contestant::cable());
    }
    Ok(list)
}

/// Where results are kept.
fn results(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/results")).join(format!("{name}.json"))
}
