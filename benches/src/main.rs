//! `ztbench`: what two nodes that are joined by a cable carry, ours and zerotier-one in turn, in one run.
//!
//! Two network namespaces, a veth pair between them, a daemon in each; the first is root and controller too. iperf3, ping
//! and /proc are the instruments. Systems take turns within a round, and ratios are formed within a round, so that a change
//! of the machine's mood hits both. zerotier-one takes part when `ZEROTIER_ONE` names its binary. With `--rules` it is one
//! TCP stream under rule sets of different sizes.

mod machine;
mod measure;
mod report;
mod rules;
mod statistics;
mod system;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use lab::{Seat, binaries, registry, testing};

use measure::Metric;
use report::Report;
use system::System;

#[derive(Parser)]
#[command(
    about = "Throughput, latency and cost of two joined nodes, ztnode and zerotier-one in turn (as root)"
)]
struct Arguments {
    /// How often each system is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Length of each iperf3 run in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// The result goes to benches/results/NAME.json.
    #[arg(long, default_value = "latest")]
    name: String,
    /// Instead: one TCP stream with rule sets of 1, 100 and 1000 rules.
    #[arg(long)]
    rules: bool,
    /// Leave out the cable without any VPN.
    #[arg(long)]
    no_cable: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    testing::possible()?;
    registry::sweep()?;
    // Before the first lab: this may have to build them.
    binaries::ours()?;
    let mut systems = vec![System::daemons(Seat::Ours).context("ztnode")?];
    if binaries::reference().is_some() {
        systems.push(System::daemons(Seat::Reference).context("zerotier-one")?);
    } else {
        eprintln!("ZEROTIER_ONE names no zerotier-one binary: measuring ztnode alone");
    }
    let length = Duration::from_secs(arguments.seconds.into());
    if arguments.rules {
        return rules::run(&systems, arguments.rounds, length, &results(&arguments.name));
    }
    if !arguments.no_cable {
        systems.push(System::cable()?);
    }
    let mut report = Report::new(systems.iter().map(|system| system.name.to_owned()).collect(), length);
    for system in &systems {
        measure::warm_up(system).with_context(|| system.name.to_owned())?;
    }
    for round in 1..=arguments.rounds {
        for (index, system) in systems.iter().enumerate() {
            let sample = measure::round(system, length).with_context(|| system.name.to_owned())?;
            let shown: Vec<String> = Metric::ALL.iter().map(|m| m.shown(sample.get(*m))).collect();
            eprintln!("round {round} of {}: {:<12} {}", arguments.rounds, system.name, shown.join(", "));
            report.add(index, sample);
        }
    }
    println!("{}", report.table());
    let path = results(&arguments.name);
    report.write(&path)?;
    println!("written to {}", path.display());
    Ok(())
}

/// Where results are kept.
fn results(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/results")).join(format!("{name}.json"))
}
