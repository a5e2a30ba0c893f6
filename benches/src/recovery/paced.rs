//! Two streams at a pace, one each way, while all faults happen one after the other: every octet arrives, and how long none does.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use lab::transfer::{Arrived, Order, Transfer};
use lab::{Family, tool};
use serde_json::{Value, json};

use super::fault::{Fault, Needs};
use super::row::Row;
use super::scene::Scene;
use super::store;
use super::table::Underlay;
use crate::report::render;

/// Octets a second each way: 40 Mbit/s.
const PACE: f64 = 40e6 / 8.0;
/// The streams last so long at least.
const LEAST: Duration = Duration::from_secs(240);
/// Between a fault and the next one at least.
const EVERY: Duration = Duration::from_secs(10);
/// A fault lasts so long at least, where it lasts.
const LASTS: Duration = Duration::from_secs(5);
/// A stream flows again when nothing longer than this was missing for as long as the second.
const HICCUP: Duration = Duration::from_millis(300);
const STEADY: Duration = Duration::from_secs(1);
/// Nothing is awaited for longer.
const LIMIT: Duration = Duration::from_secs(60);
/// What one stream may take in all.
const ALL: Duration = Duration::from_secs(3600);

/// What the pair is like: no way to have all faults in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ground {
    /// Both have addresses of both families.
    Open,
    /// A is behind a NAT router.
    Router,
}

impl Ground {
    const ALL: [Self; 2] = [Self::Open, Self::Router];

    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Router => "router",
        }
    }

    /// As the table calls it.
    fn title(self) -> &'static str {
        match self {
            Self::Open => "IPv4 and IPv6",
            Self::Router => "A behind NAT",
        }
    }

    fn needs(self) -> Needs {
        let open = self == Self::Open;
        Needs { nat: !open, relayed: false, two_roots: true, both_families: open }
    }

    fn underlay(self) -> Underlay {
        Underlay { family: if self == Self::Open { Family::Both } else { Family::V4 }, rtt: 0.3 }
    }

    /// One cycle: streams are never idle.
    fn faults(self) -> Vec<Fault> {
        let fits = |fault: &Fault| {
            let (needs, has) = (fault.needs(), self.needs());
            *fault != Fault::Idle && has.nat >= needs.nat && has.both_families >= needs.both_families
        };
        Fault::ALL.into_iter().filter(fits).collect()
    }
}

/// What a fault did to the two streams, A to B and B to A.
#[derive(Clone, Copy, Debug)]
struct Stall {
    fault: Fault,
    cycle: u32,
    /// The longest time without an octet from this fault to the next.
    seconds: [f64; 2],
    /// The pair was direct again before the next.
    direct: bool,
}

/// Measures all rows; both grounds of a row at once. Returns what did not arrive as it was sent.
///
/// # Errors
/// When the result cannot be written.
pub(super) fn run(rows: &[Row], cycles: u32, path: &Path) -> Result<Vec<String>> {
    let machine = crate::machine::describe();
    let (mut runs, mut missed) = (Vec::new(), Vec::new());
    for row in rows {
        let found = std::thread::scope(|scope| {
            let threads = Ground::ALL.map(|ground| scope.spawn(move || measure(*row, ground, cycles)));
            threads
                .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a measuring thread panicked"))))
        });
        for (ground, found) in Ground::ALL.into_iter().zip(found) {
            let (stalls, arrived) =
                found.unwrap_or_else(|error| (Vec::new(), [(); 2].map(|()| Err(anyhow!("{error:#}")))));
            let name = format!("paced, {}, {}", row.code(), ground.title());
            for (way, arrived) in ["A to B", "B to A"].into_iter().zip(&arrived).filter(|_| row.is_ours()) {
                match arrived {
                    Ok(arrived) if arrived.right => {}
                    Ok(_) => missed.push(format!("{name}, {way}: the SHA-256 is another")),
                    Err(error) => {
                        missed.push(format!("{name}, {way}: {}", first_line(&format!("{error:#}"))));
                    }
                }
            }
            runs.push(written(*row, ground, &stalls, &arrived));
            store::put(path, "paced", &machine, runs.clone())?;
        }
    }
    println!("{}", markdown(&runs));
    Ok(missed)
}

/// Until no more than its first line is left, a message may be a whole report.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// All faults, again and again, under two streams.
fn measure(row: Row, ground: Ground, cycles: u32) -> Result<(Vec<Stall>, [Result<Arrived>; 2])> {
    let mut scene = Scene::build(row, ground.needs(), ground.underlay(), Duration::ZERO)?;
    scene.settle()?;
    // From here on nothing but the streams is in the way of anything.
    scene.silence();
    let order = Order { octets: u64::MAX, back: false, pace: Some(PACE), limit: ALL };
    let members = &scene.cluster_mut().members;
    let space = |end: usize| members[end].host.namespace.clone();
    let (spaces, cluster) = ([space(0), space(1)], scene.cluster_mut());
    let forth = Transfer::start(&spaces[0], &spaces[1], IpAddr::V4(cluster.fixed(1)), order)?;
    let back = Transfer::start(&spaces[1], &spaces[0], IpAddr::V4(cluster.fixed(0)), order)?;
    let (streams, begin) = ([forth, back], Instant::now());
    let mut stalls: Vec<Stall> = Vec::new();
    let outcome = (|| -> Result<()> {
        wait_direct(&mut scene, &streams)?;
        for cycle in 1..=cycles {
            for fault in ground.faults() {
                let stall = one(&mut scene, &streams, fault, cycle)
                    .with_context(|| format!("{} of cycle {cycle}", fault.name()))?;
                eprintln!(
                    "paced {} {}, {} {cycle}: {:.2} / {:.2} s{}",
                    row.code(),
                    ground.title(),
                    fault.name(),
                    stall.seconds[0],
                    stall.seconds[1],
                    if stall.direct { "" } else { ", not direct again" }
                );
                stalls.push(stall);
            }
        }
        Ok(())
    })();
    if let Err(error) = &outcome {
        eprintln!("paced {} {}: {error:#}\n{}", row.code(), ground.title(), scene.cluster_mut().report());
    }
    if outcome.is_ok() {
        std::thread::sleep(LEAST.saturating_sub(begin.elapsed()));
    }
    streams.iter().for_each(Transfer::enough);
    // What is under way may take as long as anything else.
    let ended = tool::wait_for("the ends of the streams", LIMIT, Duration::from_millis(50), || {
        Ok(streams.iter().all(Transfer::is_over).then_some(()))
    });
    let arrived = streams
        .map(|stream| if stream.is_over() { stream.finish() } else { Err(anyhow!("it has not ended")) });
    outcome.and(ended)?;
    Ok((stalls, arrived))
}

/// One fault from its beginning to the moment at which the next one may come.
fn one(scene: &mut Scene, streams: &[Transfer; 2], fault: Fault, cycle: u32) -> Result<Stall> {
    let [a, b] = scene.hosts();
    if fault.needs().relayed {
        scene.lab().forbid(&a, &b)?;
        tool::wait_for("the streams to be relayed", LIMIT, Duration::from_millis(100), || {
            Ok((flow(streams) && scene.is_relayed()?).then_some(()))
        })?;
    }
    let begin = Instant::now();
    // Another address each time, and other ports.
    fault.strike(scene, 20 * cycle + fault as u32)?;
    wait(begin + LASTS);
    let over =
        tool::wait_for("the streams", LIMIT, Duration::from_millis(50), || Ok(flow(streams).then_some(())));
    if let Err(error) = over {
        // It may yet when the fault is undone; if not, the streams tell.
        eprintln!("{}: {error:#}\n{}", fault.name(), scene.cluster_mut().report());
    }
    fault.heal(scene)?;
    if fault.needs().relayed {
        scene.lab().allow(&a, &b)?;
    }
    let direct = wait_direct(scene, streams).is_ok();
    ensure!(streams.iter().all(|stream| !stream.is_over()), "a stream has ended");
    wait(begin + EVERY);
    let end = Instant::now();
    let seconds = streams.each_ref().map(|stream| stream.gap(begin, end).as_secs_f64());
    Ok(Stall { fault, cycle, seconds, direct })
}

fn wait(until: Instant) {
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
}

/// Whether both streams flow, and have for a while.
fn flow(streams: &[Transfer; 2]) -> bool {
    let now = Instant::now();
    let begin = now.checked_sub(STEADY).unwrap_or(now);
    streams.iter().all(|stream| stream.gap(begin, now) <= HICCUP)
}

/// Waits until both streams flow and no root carries them.
fn wait_direct(scene: &mut Scene, streams: &[Transfer; 2]) -> Result<()> {
    tool::wait_for("a direct way for the streams", LIMIT, Duration::from_millis(100), || {
        ensure!(streams.iter().all(|stream| !stream.is_over()), "a stream has ended");
        let direct = flow(streams) && !scene.is_relayed()?;
        scene.introduce()?;
        Ok(direct.then_some(()))
    })
}

fn written(row: Row, ground: Ground, stalls: &[Stall], arrived: &[Result<Arrived>; 2]) -> Value {
    let [root, a, b] = row.seats().map(lab::Seat::name);
    let stalls: Vec<Value> = stalls
        .iter()
        .map(|stall| {
            json!({"fault": stall.fault.name(), "cycle": stall.cycle, "seconds": stall.seconds, "directAgain": stall.direct})
        })
        .collect();
    let streams = arrived.each_ref().map(|arrived| match arrived {
        Ok(arrived) => {
            json!({"octets": arrived.octets, "seconds": arrived.time.as_secs_f64(), "right": arrived.right})
        }
        Err(error) => json!({"failed": first_line(&format!("{error:#}"))}),
    });
    json!({"row": row.code(), "root": root, "a": a, "b": b, "ground": ground.name(), "underlay": ground.underlay().to_string(),
           "megabitsPerSecond": PACE * 8.0 / 1e6, "streams": streams, "stalls": stalls})
}

/// The table: a fault a line, with the stalls of all cycles.
pub(super) fn markdown(runs: &[Value]) -> String {
    let mut text = String::new();
    let mut codes: Vec<&str> = runs.iter().filter_map(|run| run["row"].as_str()).collect();
    codes.dedup();
    for code in codes {
        let of =
            |ground: Ground| runs.iter().find(|run| run["row"] == code && run["ground"] == ground.name());
        let mut rows = vec![vec!["fault".to_owned()]];
        for ground in Ground::ALL {
            rows[0].extend(["A to B", "B to A"].map(|way| format!("{}: {way}, s", ground.title())));
        }
        for fault in Fault::ALL {
            let stalls = |ground: Ground, way: usize| {
                let all = of(ground)
                    .and_then(|run| run["stalls"].as_array())
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                let of_fault = all.iter().filter(|stall| stall["fault"] == fault.name());
                let shown: Vec<String> = of_fault
                    .filter_map(|stall| Some(format!("{:.2}", stall["seconds"][way].as_f64()?)))
                    .collect();
                if shown.is_empty() { "–".to_owned() } else { shown.join(" / ") }
            };
            let cells: Vec<String> =
                Ground::ALL.iter().flat_map(|ground| [0, 1].map(|way| stalls(*ground, way))).collect();
            if cells.iter().any(|cell| cell != "–") {
                rows.push([vec![fault.title().to_owned()], cells].concat());
            }
        }
        let seat = |key: &str| {
            runs.iter().find(|run| run["row"] == code).and_then(|run| run[key].as_str()).unwrap_or_default()
        };
        // A String takes whatever is written to it.
        let _ =
            writeln!(text, "Roots {}, A {}, B {}:\n\n{}", seat("root"), seat("a"), seat("b"), render(&rows));
        for ground in Ground::ALL {
            for (way, called) in ["A to B", "B to A"].into_iter().enumerate() {
                let Some(stream) = of(ground).map(|run| &run["streams"][way]) else { continue };
                let end = match (stream["octets"].as_f64(), stream["seconds"].as_f64()) {
                    (Some(octets), Some(seconds)) => {
                        let right = if stream["right"] == true { "the right" } else { "**another**" };
                        format!("{:.2} GB in {seconds:.0} s, {right} SHA-256", octets / 1e9)
                    }
                    _ => format!("**{}**", stream["failed"].as_str().unwrap_or("failed")),
                };
                let _ = writeln!(text, "- {}, {called}: {end}", ground.title());
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_grounds_have_all_faults_that_streams_can_have() {
        let all: Vec<Fault> = Ground::ALL.into_iter().flat_map(Ground::faults).collect();
        assert!(Fault::ALL.into_iter().all(|fault| fault == Fault::Idle || all.contains(&fault)));
        assert!(!Ground::Open.faults().contains(&Fault::Rebind));
    }

    #[test]
    fn the_table_has_all_cycles() {
        let stall =
            |cycle, seconds| Stall { fault: Fault::Blind, cycle, seconds: [seconds; 2], direct: true };
        let arrived = || Ok(Arrived { octets: 1_200_000_000, time: LEAST, right: true });
        let run = written(
            Row::ours(),
            Ground::Open,
            &[stall(1, 0.5), stall(2, 0.75)],
            &[arrived(), Err(anyhow!("late\nlog"))],
        );
        let text = markdown(&[run]);
        assert!(text.contains("| 0.50 / 0.75 "), "{text}");
        assert!(text.contains("1.20 GB in 240 s, the right") && text.contains("**late**"), "{text}");
        assert!(!text.contains("NAT router makes"), "{text}");
    }
}
