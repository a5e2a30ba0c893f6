//! What the figures were measured on.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// Processor, kernel, load and time, as far as they can be read.
pub(crate) fn describe() -> Value {
    let first = |path: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().next().unwrap_or_default().trim().to_owned()
    };
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    json!({
        "cpu": model,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": first("/proc/sys/kernel/osrelease"),
        "loadAverage": first("/proc/loadavg"),
        "time": SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs()),
    })
}
