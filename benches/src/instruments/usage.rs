//! What daemons use up, from `/proc`.

use std::fs;

use anyhow::{Context, Result};

use crate::system::System;

/// Clock ticks a second in `/proc/PID/stat`: fixed by the kernel's interface to user space.
const TICKS: f64 = 100.0;

/// User and system time both daemons have used so far, seconds.
pub(crate) fn cpu_seconds(system: &System) -> Result<f64> {
    let mut sum = 0.0;
    for pid in system.sides.iter().filter_map(|side| side.pid) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("a daemon is not running")?;
        sum += ticks(&stat).context("`/proc/PID/stat` reads strangely")? / TICKS;
    }
    Ok(sum)
}

/// The same, finely: what the scheduler has given their threads, seconds.
pub(crate) fn fine_cpu_seconds(system: &System) -> Result<f64> {
    let mut sum = 0.0;
    for pid in system.sides.iter().filter_map(|side| side.pid) {
        for thread in fs::read_dir(format!("/proc/{pid}/task")).context("a daemon is not running")? {
            // A thread may end meanwhile.
            let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            let nanoseconds: f64 = text.split(' ').next().unwrap_or_default().parse().unwrap_or(0.0);
            sum += nanoseconds / 1e9;
        }
    }
    Ok(sum)
}

/// How often TCP in the namespace of a process, as the sender, found that its segments had overtaken each other. Losses
/// are not counted.
pub(crate) fn tcp_reordered(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/net/netstat")).context("a daemon is not running")?;
    reordered(&text).context("`/proc/PID/net/netstat` reads strangely")
}

/// All counters of the TCP extensions called `TCP…Reorder`: one for each way the kernel notices.
fn reordered(netstat: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let pairs = names.split(' ').zip(values.split(' ')).filter(|(name, _)| name.ends_with("Reorder"));
    pairs.map(|(_, value)| value.parse::<u64>().ok()).sum()
}

/// Resident memory of a process now, 10^6 octets.
pub(crate) fn memory(pid: u32) -> Result<f64> {
    status(pid, "VmRSS:")
}

/// The most it ever had.
pub(crate) fn peak_memory(pid: u32) -> Result<f64> {
    status(pid, "VmHWM:")
}

fn status(pid: u32, name: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).context("a daemon is not running")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0 / 1e6)
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
    fn netstat() {
        let text = "TcpExt: A TCPRenoReorder TCPSACKReorder B\nTcpExt: 1 2 30 4\nIpExt: X\nIpExt: 5\n";
        assert_eq!(reordered(text), Some(32));
        assert_eq!(reordered(""), None);
    }

    #[test]
    fn proc_stat() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 3";
        assert_eq!(ticks(stat), Some(300.0));
        assert_eq!(ticks("7 (x"), None);
    }
}
