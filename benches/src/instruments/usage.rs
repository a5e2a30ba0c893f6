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

/// Resident memory of a process, 10^6 octets.
pub(crate) fn memory(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).context("a daemon is not running")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
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
    fn proc_stat() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 3";
        assert_eq!(ticks(stat), Some(300.0));
        assert_eq!(ticks("7 (x"), None);
    }
}
