//! One turn of one system.

use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::arguments::Underlay;
use crate::instruments::flow::{self, Flow, Outcome};
use crate::instruments::iperf::{self, Direction};
use crate::instruments::{ping, usage};
use crate::metric::{Metric, Sample};
use crate::system::{Scope, System};

/// Echo requests of one latency measurement.
const PINGS: usize = 200;
/// Of this share of a flow's datagrams fewer may be lost at a rate that counts as carried.
const CLEAN: f64 = 0.001;
/// Runs of one search for such a rate, and how long each is.
const STEPS: u32 = 6;
const STEP: Duration = Duration::from_millis(600);
/// The rate at which the cost of a packet is measured, packets a second.
const STEADY: f64 = 50_000.0;
/// How long a stream runs before pings beside it count.
const RAMP: Duration = Duration::from_millis(500);

/// In what circumstances.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    /// Length of each stream.
    pub(crate) length: Duration,
    /// What the cable does.
    pub(crate) underlay: Underlay,
    /// One core a side.
    pub(crate) pinned: bool,
    /// The main figures only, of every system.
    pub(crate) brief: bool,
}

/// Sets the circumstances, lets caches fill and TCP learn the path.
pub(crate) fn warm_up(system: &mut System, conditions: Conditions) -> Result<()> {
    system.set_underlay(conditions.underlay)?;
    system.pin(conditions.pinned)?;
    iperf::tcp(system, 1, Direction::Forth, Duration::from_secs(1)).map(drop)
}

/// One turn.
pub(crate) fn round(system: &mut System, conditions: Conditions) -> Result<Sample> {
    let mut sample = Sample::default();
    let length = conditions.length;
    let daemons = system.sides[1].pid.is_some();
    let before = usage::cpu_seconds(system)?;
    let one = iperf::tcp(system, 1, Direction::Forth, length)?;
    sample.set(Metric::Tcp1, one.gbps);
    if daemons {
        sample.set(Metric::Cpu, (usage::cpu_seconds(system)? - before) / (one.octets / 1e9));
    }
    sample.set(Metric::Tcp4, iperf::tcp(system, 4, Direction::Forth, length)?.gbps);
    sample.set(Metric::Udp64, iperf::udp_flood(system, length.min(Duration::from_secs(2)))? / 1e3);
    if let Some(pid) = system.sides[1].pid {
        sample.set(Metric::Memory, usage::memory(pid)?);
    }
    sample.set(Metric::Rtt, ping::median(system, PINGS)?);
    if conditions.brief {
        return Ok(sample);
    }
    if conditions.underlay == Underlay::Offloads {
        system.set_underlay(Underlay::Plain)?;
        let plain = iperf::tcp(system, 1, Direction::Forth, length);
        system.set_underlay(conditions.underlay)?;
        sample.set(Metric::Tcp1Plain, plain?.gbps);
    }
    if !conditions.pinned {
        system.pin(true)?;
        let pinned = iperf::tcp(system, 1, Direction::Forth, length);
        system.pin(false)?;
        sample.set(Metric::Tcp1Pinned, pinned?.gbps);
    }
    if system.scope == Scope::All {
        sample.set(Metric::Tcp1Back, iperf::tcp(system, 1, Direction::Back, length)?.gbps);
        sample.set(Metric::Tcp1Both, iperf::tcp(system, 1, Direction::Both, length)?.gbps);
        sample.set(Metric::Tcp4Back, iperf::tcp(system, 4, Direction::Back, length)?.gbps);
        sample.set(Metric::Tcp4Both, iperf::tcp(system, 4, Direction::Both, length)?.gbps);
        sample.set(Metric::RttLoaded, loaded(system, length)?);
        flows(system, &mut sample)?;
    }
    Ok(sample)
}

/// The median round trip beside a TCP stream.
fn loaded(system: &System, length: Duration) -> Result<f64> {
    let stream = length.max(Duration::from_secs(2));
    // One every 10 ms, within the stream.
    let pings = ((stream - RAMP).as_millis() / 10).saturating_sub(25) as usize;
    std::thread::scope(|scope| {
        let streaming = scope.spawn(|| iperf::tcp(system, 1, Direction::Forth, stream));
        std::thread::sleep(RAMP);
        let median = ping::median(system, pings);
        streaming.join().map_err(|_| anyhow!("the streaming thread panicked"))??;
        median
    })
}

/// Everything about UDP flows but the flood.
fn flows(system: &System, sample: &mut Sample) -> Result<()> {
    let (mut received, mut late) = (0, 0);
    for (metric, size) in [(Metric::Udp64Clean, 64), (Metric::Udp1400Clean, 1400)] {
        let mut run = |rate: Option<f64>| -> Result<Outcome> {
            let outcome = flow::send(system, Flow { size, rate, packets: u64::MAX, length: STEP })?;
            received += outcome.received;
            late += outcome.late;
            Ok(outcome)
        };
        if let Some(rate) = clean_rate(&mut run)? {
            sample.set(metric, rate / 1e3);
        }
    }
    let before = usage::cpu_seconds(system)?;
    let length = Duration::from_secs(2);
    let steady = flow::send(system, Flow { size: 64, rate: Some(STEADY), packets: u64::MAX, length })?;
    if system.sides[1].pid.is_some() {
        let cpu = usage::cpu_seconds(system)? - before;
        sample.set(Metric::CpuPacket, cpu * 1e6 / steady.received.max(1) as f64);
    }
    received += steady.received;
    late += steady.late;
    sample.set(Metric::Reordered, late as f64 * 1e6 / received.max(1) as f64);
    Ok(())
}

/// The highest rate, datagrams a second, of which less than 0.1 % was lost; `None` when every rate tried lost more.
fn clean_rate(run: &mut impl FnMut(Option<f64>) -> Result<Outcome>) -> Result<Option<f64>> {
    let flood = run(None)?;
    if flood.loss() < CLEAN {
        return Ok(Some(flood.rate()));
    }
    // Beside a flood the receiver gets less of the processor than beside a sender that carries on slowly.
    let offered = flood.sent as f64 / flood.seconds;
    let (mut low, mut high) = (flood.rate() / 8.0, offered.min(flood.rate() * 2.0));
    let mut best = None;
    for _ in 0..STEPS {
        let rate = (low * high).sqrt();
        let outcome = run(Some(rate))?;
        if outcome.loss() < CLEAN {
            best = Some(outcome.rate());
            low = rate;
        } else {
            high = rate;
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path that carries so many a second and a sender that can offer twice as many.
    fn path(capacity: f64) -> impl FnMut(Option<f64>) -> Result<Outcome> {
        move |rate| {
            let sent = rate.unwrap_or(2.0 * capacity);
            let received = sent.min(capacity) as u64;
            Ok(Outcome { sent: sent as u64, received, late: 0, seconds: 1.0 })
        }
    }

    #[test]
    fn the_search_comes_close() {
        let found = clean_rate(&mut path(100_000.0)).unwrap().unwrap();
        assert!((90_000.0..=100_000.0).contains(&found), "{found}");
    }

    #[test]
    fn a_path_that_loses_nothing_is_measured_once() {
        let mut runs = 0;
        let found = clean_rate(&mut |_| {
            runs += 1;
            Ok(Outcome { sent: 7, received: 7, late: 0, seconds: 1.0 })
        });
        assert_eq!((found.unwrap(), runs), (Some(7.0), 1));
    }

    #[test]
    fn a_path_that_always_loses_has_no_clean_rate() {
        let found = clean_rate(&mut |_| Ok(Outcome { sent: 100, received: 50, late: 0, seconds: 1.0 }));
        assert_eq!(found.unwrap(), None);
    }
}
