//! What an idle daemon costs, what it sends, and how fast the command line answers.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::{Seat, binaries, tool};
use serde_json::{Map, json};

use crate::chatter;
use crate::instruments::usage;
use crate::machine;
use crate::report;
use crate::statistics::{Summary, summarize};
use crate::system::System;

/// Runs of `ztnode-cli info`.
const RUNS: usize = 100;
/// For how long the daemons are watched doing nothing.
const WATCHED: Duration = Duration::from_secs(10);

/// Measures ztnode, and zerotier-one where there is one: memory of a joined daemon that carried a few pings, processor time
/// in ten seconds without traffic, and the time `ztnode-cli info` takes; then what idle pairs send.
pub(crate) fn run(path: &Path) -> Result<()> {
    let machine = machine::describe();
    let mut systems = Map::new();
    let seats = [Seat::Ours, Seat::Reference];
    for seat in seats.into_iter().filter(|seat| *seat == Seat::Ours || binaries::reference().is_some()) {
        let system = System::nodes([seat; 2])?;
        let before = usage::cpu_seconds(&system)?;
        std::thread::sleep(WATCHED);
        let cpu = (usage::cpu_seconds(&system)? - before) / 2.0 / WATCHED.as_secs_f64();
        let member = system.daemons.last().context("two daemons")?;
        let memory = usage::memory(member.pid().context("a daemon is not running")?)?;
        let mut times = Vec::new();
        for _ in 0..RUNS {
            let command = member.cli_command(&["info"])?;
            times.push(milliseconds(command)?);
        }
        let Summary { median, min, max } = summarize(times).context("no runs")?;
        println!(
            "{}: {memory:.1} MB resident, {:.2} % of a core idle, `ztnode-cli info` {median:.1} ms ({min:.1}–{max:.1})",
            system.name,
            cpu * 100.0
        );
        systems.insert(
            system.name.clone(),
            json!({
                "version": system.version,
                "memoryMegabytes": memory,
                "idleCores": cpu,
                "infoMilliseconds": {"median": median, "min": min, "max": max},
            }),
        );
    }
    let chatter = chatter::measure()?;
    println!("{}", chatter::tables(&chatter));
    let result = json!({"version": env!("CARGO_PKG_VERSION"), "machine": machine, "idle": systems, "chatter": chatter});
    report::write(path, &result)?;
    println!("written to {}", path.display());
    Ok(())
}

/// From starting a command to its end, `ip netns exec` in front of it included.
fn milliseconds(mut command: std::process::Command) -> Result<f64> {
    let shown = tool::shown(&command);
    let start = Instant::now();
    let output = command.output().with_context(|| format!("cannot run `{shown}`"))?;
    let time = start.elapsed().as_secs_f64() * 1e3;
    anyhow::ensure!(output.status.success(), "`{shown}`: {}", output.status);
    Ok(time)
}
