//! Round trips, by ping.

use anyhow::{Context, Result, ensure};
use lab::tool;

use crate::statistics::summarize;
use crate::system::System;

/// The median round trip of `count` echo requests, one every 10 ms, in microseconds.
///
/// # Errors
/// When fewer than half come back.
pub(crate) fn median(system: &System, count: usize) -> Result<f64> {
    let [from, to] = &system.sides;
    let mut command = from.namespace.command("ping");
    command.args(["-n", "-i", "0.01", "-c", &count.to_string(), "-W", "1", &to.address.to_string()]);
    let said = tool::finish(command, None, tool::LIMIT)?.stdout;
    let times = round_trips(&said);
    ensure!(times.len() > count / 2, "only {} of {count} pings came back", times.len());
    Ok(summarize(times).context("no pings")?.median * 1e3)
}

/// All round trips that ping prints, in milliseconds.
fn round_trips(text: &str) -> Vec<f64> {
    text.lines().filter_map(|line| line.split_once("time=")?.1.split(' ').next()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let text = "64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=0.312 ms\n\
                    64 bytes from 10.0.0.2: icmp_seq=2 ttl=64 time=1 ms\n\n2 packets transmitted, time 10ms\n";
        assert_eq!(round_trips(text), [0.312, 1.0]);
    }
}
