//! iperf3: TCP streams, and UDP floods.

use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Namespace;
use lab::tool::{self, wait_for};
use serde_json::Value;

use crate::system::System;

/// iperf3's usual port.
const PORT: u16 = 5201;
/// TCP's congestion control, whatever the machine's default is: one that paces itself measures its pacing.
const CONGESTION: &str = "cubic";
/// How long a run of iperf3 may take beyond its own length.
const GRACE: Duration = Duration::from_secs(15);

/// Which way streams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the first side to the second.
    Forth,
    /// From the second to the first.
    Back,
    /// As many in each direction at once.
    Both,
}

/// What TCP carried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carried {
    /// Received per second, both directions together, Gbit/s.
    pub(crate) gbps: f64,
    /// Received, octets, both directions together.
    pub(crate) octets: f64,
}

/// TCP streams (so many in each direction) for a while.
pub(crate) fn tcp(system: &System, streams: u32, direction: Direction, length: Duration) -> Result<Carried> {
    let streams = streams.to_string();
    let mut arguments = vec!["-C", CONGESTION, "-P", &streams];
    match direction {
        Direction::Forth => {}
        Direction::Back => arguments.push("-R"),
        Direction::Both => arguments.push("--bidir"),
    }
    let report = run(system, &arguments, length)?;
    let mut carried = Carried { gbps: 0.0, octets: 0.0 };
    let sums: &[&str] = match direction {
        Direction::Both => &["sum_received", "sum_received_bidir_reverse"],
        _ => &["sum_received"],
    };
    for sum in sums {
        carried.gbps += number(&report, &["end", sum, "bits_per_second"])? / 1e9;
        carried.octets += number(&report, &["end", sum, "bytes"])?;
    }
    Ok(carried)
}

/// UDP datagrams of 64 octets as fast as they go; how many arrived a second.
pub(crate) fn udp_flood(system: &System, length: Duration) -> Result<f64> {
    let report = run(system, &["-u", "-b", "0", "-l", "64"], length)?;
    let figure = |name| number(&report, &["end", "sum", name]);
    Ok((figure("packets")? - figure("lost_packets")?) / figure("seconds")?)
}

/// iperf3's report. A server may need a moment to be done with the run before.
fn run(system: &System, arguments: &[&str], length: Duration) -> Result<Value> {
    wait_for("iperf3's server to be free", GRACE, Duration::from_millis(100), || {
        let (command, report) = attempt(system, arguments, length)?;
        let error = report["error"].as_str();
        if error.is_some_and(|error| error.contains("server is busy")) {
            return Ok(None);
        }
        ensure!(error.is_none(), "`{command}`: {}", error.unwrap_or_default());
        Ok(Some(report))
    })
}

fn attempt(system: &System, arguments: &[&str], length: Duration) -> Result<(String, Value)> {
    let [from, to] = &system.sides;
    let mut command = match system.core(0)? {
        None => from.namespace.command("iperf3"),
        Some(core) => {
            let mut command = from.namespace.command("taskset");
            command.args(["-c", &core.to_string(), "iperf3"]);
            command
        }
    };
    command.args(["-J", "-c", &to.address.to_string(), "-p", &PORT.to_string()]);
    command.args(["-t", &length.as_secs().max(1).to_string()]).args(arguments);
    let said = tool::finish(command, None, length + GRACE)?;
    let report =
        serde_json::from_str(&said.stdout).with_context(|| format!("`{}`: {said:?}", said.command))?;
    Ok((said.command, report))
}

fn number(report: &Value, path: &[&str]) -> Result<f64> {
    let found = path.iter().fold(report, |value, key| &value[key]);
    found.as_f64().with_context(|| format!("iperf3 reports no {}", path.join(".")))
}

/// An iperf3 server; ends with this value.
pub(crate) struct Server(Child);

impl Server {
    /// Starts it and waits until it listens.
    pub(crate) fn start(namespace: &Namespace) -> Result<Self> {
        let mut command = namespace.command("iperf3");
        command.args(["-s", "-p", &PORT.to_string()]).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot run `{}`", tool::shown(&command)))?;
        let server = Self(child);
        let filter = format!("sport = :{PORT}");
        wait_for("iperf3 to listen", Duration::from_secs(20), Duration::from_millis(20), || {
            Ok((!namespace.run("ss", &["-Hltn", &filter])?.is_empty()).then_some(()))
        })
        .context("is the package iperf3 installed?")?;
        Ok(server)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
