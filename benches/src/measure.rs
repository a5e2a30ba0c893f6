//! One part of one turn of one system.

use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::arguments::Underlay;
use crate::instruments::flow::{self, Flow, Outcome};
use crate::instruments::iperf::{self, Direction};
use crate::instruments::{ping, usage};
use crate::metric::{Metric, Sample};
use crate::plan::{Conditions, FLOOD, PING_PAUSE, PINGS, Part, STEADY, STEP, STEPS};
use crate::system::System;

/// Of this share of a flow's datagrams fewer may be lost at a rate that counts as carried.
const CLEAN: f64 = 0.001;
/// The rate at which the cost of a packet is measured, packets a second.
const RATE: f64 = 50_000.0;
/// How long a stream runs before pings beside it count, and for how long it goes on after them.
const RAMP: Duration = Duration::from_millis(500);
const REST: Duration = Duration::from_millis(250);

/// The figures of one system in one round, as far as they are known.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    sample: Sample,
    /// Numbered datagrams that arrived, and those of them that were late.
    received: u64,
    late: u64,
}

impl Turn {
    /// What was measured, with what follows from several parts.
    pub(crate) fn finish(self) -> Sample {
        let mut sample = self.sample;
        if let (Some(idle), Some(loaded)) = (sample.get(Metric::Rtt), sample.get(Metric::RttLoaded)) {
            sample.set(Metric::RttGrowth, loaded / idle);
        }
        if self.received > 0 {
            sample.set(Metric::Reordered, self.late as f64 * 1e6 / self.received as f64);
        }
        sample
    }

    fn count(&mut self, outcome: &Outcome) {
        self.received += outcome.received;
        self.late += outcome.late;
    }
}

/// Sets the circumstances, lets caches fill and TCP learn the path.
pub(crate) fn warm_up(system: &mut System, conditions: Conditions) -> Result<()> {
    system.set_underlay(conditions.underlay)?;
    system.pin(conditions.pinned)?;
    iperf::tcp(system, 1, Direction::Forth, Duration::from_secs(1)).map(drop)
}

/// Measures one part.
///
/// # Errors
/// When the system does not carry what is sent, or an instrument fails. The circumstances are as before all the same.
pub(crate) fn part(system: &mut System, part: Part, conditions: Conditions, turn: &mut Turn) -> Result<()> {
    let length = conditions.length;
    let tcp = |metric, streams, direction, turn: &mut Turn| -> Result<()> {
        turn.sample.set(metric, iperf::tcp(system, streams, direction, length)?.gbps);
        Ok(())
    };
    match part {
        Part::Rtt => turn.sample.set(Metric::Rtt, ping::median(system, PINGS)?),
        Part::Tcp1 => stream(system, length, Metric::Tcp1, Metric::Cpu, turn)?,
        Part::Tcp4 => tcp(Metric::Tcp4, 4, Direction::Forth, turn)?,
        Part::Flood => turn.sample.set(Metric::Udp64, flood(system, length)?),
        Part::Memory => {
            if let Some(pid) = system.sides[1].pid {
                turn.sample.set(Metric::Memory, usage::peak_memory(pid)?);
            }
        }
        Part::Tcp1Back => tcp(Metric::Tcp1Back, 1, Direction::Back, turn)?,
        Part::Tcp1Both => tcp(Metric::Tcp1Both, 1, Direction::Both, turn)?,
        Part::Tcp4Back => tcp(Metric::Tcp4Back, 4, Direction::Back, turn)?,
        Part::Tcp4Both => tcp(Metric::Tcp4Both, 4, Direction::Both, turn)?,
        Part::RttLoaded => turn.sample.set(Metric::RttLoaded, loaded(system, length)?),
        Part::Clean64 => clean(system, 64, Metric::Udp64Clean, turn)?,
        Part::Clean1400 => clean(system, 1400, Metric::Udp1400Clean, turn)?,
        Part::Steady => steady(system, turn)?,
        Part::Plain => {
            system.set_underlay(Underlay::Plain)?;
            let metrics = [Metric::Tcp1Plain, Metric::CpuPlain, Metric::Tcp4Plain, Metric::Udp64Plain];
            let measured = main_streams(system, length, metrics, turn);
            system.set_underlay(conditions.underlay)?;
            measured?;
        }
        Part::Pinned => {
            system.pin(true)?;
            let metrics = [Metric::Tcp1Pinned, Metric::CpuPinned, Metric::Tcp4Pinned, Metric::Udp64Pinned];
            let measured = main_streams(system, length, metrics, turn);
            system.pin(conditions.pinned)?;
            measured?;
        }
    }
    Ok(())
}

/// One TCP stream: what it carried, and the processor time it took.
fn stream(system: &System, length: Duration, gbps: Metric, cpu: Metric, turn: &mut Turn) -> Result<()> {
    let before = usage::cpu_seconds(system)?;
    let one = iperf::tcp(system, 1, Direction::Forth, length)?;
    turn.sample.set(gbps, one.gbps);
    if system.sides[1].pid.is_some() {
        turn.sample.set(cpu, (usage::cpu_seconds(system)? - before) / (one.octets / 1e9));
    }
    Ok(())
}

/// Thousands of small datagrams a second that arrive of a flood.
fn flood(system: &System, length: Duration) -> Result<f64> {
    Ok(iperf::udp_flood(system, length.min(FLOOD))? / 1e3)
}

/// One stream, its cost, four streams, a flood, in other circumstances.
fn main_streams(system: &System, length: Duration, metrics: [Metric; 4], turn: &mut Turn) -> Result<()> {
    let [one, cpu, four, udp] = metrics;
    stream(system, length, one, cpu, turn)?;
    turn.sample.set(four, iperf::tcp(system, 4, Direction::Forth, length)?.gbps);
    turn.sample.set(udp, flood(system, length)?);
    Ok(())
}

/// The median round trip beside a TCP stream.
fn loaded(system: &System, length: Duration) -> Result<f64> {
    let stream = length.max(Duration::from_secs(2));
    let pings = (stream - RAMP - REST).as_millis() / PING_PAUSE.as_millis();
    std::thread::scope(|scope| {
        let streaming = scope.spawn(|| iperf::tcp(system, 1, Direction::Forth, stream));
        std::thread::sleep(RAMP);
        let median = ping::median(system, pings as usize);
        streaming.join().map_err(|_| anyhow!("the streaming thread panicked"))??;
        median
    })
}

/// The rate at which datagrams of `size` octets arrive without loss.
fn clean(system: &System, size: usize, metric: Metric, turn: &mut Turn) -> Result<()> {
    let mut run = |rate: Option<f64>| -> Result<Outcome> {
        let outcome = flow::send(system, Flow { size, rate, packets: u64::MAX, length: STEP })?;
        turn.count(&outcome);
        Ok(outcome)
    };
    if let Some(rate) = clean_rate(&mut run)? {
        turn.sample.set(metric, rate / 1e3);
    }
    Ok(())
}

/// What a packet costs at a rate that every system bears.
fn steady(system: &System, turn: &mut Turn) -> Result<()> {
    let before = usage::cpu_seconds(system)?;
    let flow = Flow { size: 64, rate: Some(RATE), packets: u64::MAX, length: STEADY };
    let steady = flow::send(system, flow)?;
    turn.count(&steady);
    if system.sides[1].pid.is_some() {
        let cpu = usage::cpu_seconds(system)? - before;
        turn.sample.set(Metric::CpuPacket, cpu * 1e6 / steady.received.max(1) as f64);
    }
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
