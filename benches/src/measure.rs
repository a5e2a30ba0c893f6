//! The instruments: iperf3, ping, /proc.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::tool;
use serde_json::Value;

use crate::statistics::summarize;
use crate::system::System;

/// Clock ticks a second in `/proc/PID/stat`: fixed by the kernel's interface to user space.
const TICKS: f64 = 100.0;
/// Echo requests of one latency measurement, one every 10 ms.
const PINGS: usize = 200;
/// TCP's congestion control, whatever the machine's default is: one that paces itself measures its pacing.
const CONGESTION: &str = "cubic";
/// How long a run of iperf3 may take beyond its own length.
const GRACE: Duration = Duration::from_secs(15);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    /// TCP, one stream.
    Tcp1,
    /// TCP, four streams together.
    Tcp4,
    /// UDP datagrams with 64 octets that arrive while the sender sends all it can.
    Udp64,
    /// Round trip, pinged every 10 ms on an idle network.
    Rtt,
    /// Processor time of both daemons during the TCP stream, per 10^9 octets carried.
    Cpu,
    /// Resident memory of the daemon that is neither root nor controller.
    Memory,
}

impl Metric {
    /// All of them, in the order of the tables.
    pub(crate) const ALL: [Self; 6] =
        [Self::Tcp1, Self::Tcp4, Self::Udp64, Self::Rtt, Self::Cpu, Self::Memory];

    /// The name in JSON.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Tcp1 => "tcp1Gbps",
            Self::Tcp4 => "tcp4Gbps",
            Self::Udp64 => "udp64Kpps",
            Self::Rtt => "rttMicroseconds",
            Self::Cpu => "cpuSecondsPerGigabyte",
            Self::Memory => "memoryMegabytes",
        }
    }

    /// The name in tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Tcp1 => "TCP, 1 stream, Gbit/s",
            Self::Tcp4 => "TCP, 4 streams, Gbit/s",
            Self::Udp64 => "UDP 64 B received, kpps",
            Self::Rtt => "RTT median, µs",
            Self::Cpu => "daemon CPU-s per GB, both ends",
            Self::Memory => "RSS, MB",
        }
    }

    /// A value with as many digits as mean something.
    pub(crate) fn format(self, value: f64) -> String {
        match self {
            Self::Tcp1 | Self::Tcp4 | Self::Cpu => format!("{value:.2}"),
            Self::Memory => format!("{value:.1}"),
            Self::Udp64 | Self::Rtt => format!("{value:.0}"),
        }
    }

    /// A value with its unit, for progress lines.
    pub(crate) fn shown(self, value: Option<f64>) -> String {
        let unit = match self {
            Self::Tcp1 => "Gbit/s",
            Self::Tcp4 => "Gbit/s (4)",
            Self::Udp64 => "kpps",
            Self::Rtt => "µs",
            Self::Cpu => "s/GB",
            Self::Memory => "MB",
        };
        value.map_or_else(|| format!("- {unit}"), |value| format!("{} {unit}", self.format(value)))
    }
}

/// The figures of one system in one round; `None` where a figure makes no sense.
#[derive(Clone, Debug)]
pub(crate) struct Sample([Option<f64>; Metric::ALL.len()]);

impl Sample {
    /// A figure.
    pub(crate) fn get(&self, metric: Metric) -> Option<f64> {
        self.0[metric as usize]
    }

    #[cfg(test)]
    pub(crate) fn of(values: [Option<f64>; Metric::ALL.len()]) -> Self {
        Self(values)
    }
}

/// Lets caches fill and TCP learn the path.
pub(crate) fn warm_up(system: &System) -> Result<()> {
    iperf(system, &["-t", "1"], Duration::from_secs(1)).map(drop)
}

/// One turn of one system.
pub(crate) fn round(system: &System, length: Duration) -> Result<Sample> {
    let seconds = length.as_secs().to_string();
    let before = cpu_seconds(system)?;
    let one = iperf(system, &["-t", &seconds, "-C", CONGESTION], length)?;
    let cpu = cpu_seconds(system)? - before;
    let octets = number(&one, &["end", "sum_received", "bytes"])?;
    let four = iperf(system, &["-t", &seconds, "-C", CONGESTION, "-P", "4"], length)?;
    let udp = iperf(system, &["-t", &seconds, "-u", "-b", "0", "-l", "64"], length)?;
    let arrived = number(&udp, &["end", "sum", "packets"])? - number(&udp, &["end", "sum", "lost_packets"])?;
    let udp_seconds = number(&udp, &["end", "sum", "seconds"])?;
    let rtt = ping(system)?;
    let memory = match system.daemons.last() {
        Some(daemon) => Some(daemon.memory_kib()? as f64 * 1024.0 / 1e6),
        None => None,
    };
    let cpu = (!system.daemons.is_empty()).then_some(cpu / (octets / 1e9));
    let tcp = |run: &Value| number(run, &["end", "sum_received", "bits_per_second"]);
    Ok(Sample([
        Some(tcp(&one)? / 1e9),
        Some(tcp(&four)? / 1e9),
        Some(arrived / udp_seconds / 1e3),
        Some(rtt),
        cpu,
        memory,
    ]))
}

/// One TCP stream, Gbit/s received.
pub(crate) fn tcp(system: &System, length: Duration) -> Result<f64> {
    let seconds = length.as_secs().to_string();
    let run = iperf(system, &["-t", &seconds, "-C", CONGESTION], length)?;
    Ok(number(&run, &["end", "sum_received", "bits_per_second"])? / 1e9)
}

/// iperf3's report.
fn iperf(system: &System, arguments: &[&str], length: Duration) -> Result<Value> {
    let mut command = system.from.command("iperf3");
    command.args(["-J", "-c", &system.target.to_string(), "-p", &system.port().to_string()]);
    command.args(arguments);
    let said = tool::finish(command, None, length + GRACE)?;
    let report: Value =
        serde_json::from_str(&said.stdout).with_context(|| format!("`{}`: {said:?}", said.command))?;
    ensure!(report["error"].is_null(), "`{}`: {}", said.command, report["error"]);
    Ok(report)
}

fn number(report: &Value, path: &[&str]) -> Result<f64> {
    let found = path.iter().fold(report, |value, key| &value[key]);
    found.as_f64().with_context(|| format!("iperf3 reports no {}", path.join(".")))
}

/// The median round trip in microseconds.
fn ping(system: &System) -> Result<f64> {
    let mut command = system.from.command("ping");
    command.args(["-n", "-i", "0.01", "-c", &PINGS.to_string(), "-W", "1", &system.target.to_string()]);
    let said = tool::finish(command, None, tool::LIMIT)?.stdout()?;
    let times = round_trips(&said);
    ensure!(times.len() > PINGS / 2, "only {} of {PINGS} pings came back", times.len());
    let summary = summarize(times).context("no pings")?;
    Ok(summary.median * 1e3)
}

/// All round trips that ping prints, in milliseconds.
fn round_trips(text: &str) -> Vec<f64> {
    text.lines().filter_map(|line| line.split_once("time=")?.1.split(' ').next()?.parse().ok()).collect()
}

/// User and system time all daemons have used so far.
fn cpu_seconds(system: &System) -> Result<f64> {
    let mut sum = 0.0;
    for daemon in &system.daemons {
        let pid = daemon.pid().context("a daemon is not running")?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        sum += ticks(&stat).context("`/proc/PID/stat` reads strangely")? / TICKS;
    }
    Ok(sum)
}

/// Fields 14 and 15 of `/proc/PID/stat`. The second field, the name, may hold anything but ends at the last parenthesis.
fn ticks(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_stat() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 3";
        assert_eq!(ticks(stat), Some(300.0));
        assert_eq!(ticks("7 (x"), None);
    }

    #[test]
    fn ping_lines() {
        let text = "64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=0.312 ms\n\
                    64 bytes from 10.0.0.2: icmp_seq=2 ttl=64 time=1 ms\n\n2 packets transmitted, time 10ms\n";
        assert_eq!(round_trips(text), [0.312, 1.0]);
    }
}
