//! How long a pair of nodes is without traffic when something happens to it or to the way between.
//!
//! Real daemons in namespaces: a root that is the controller too, and two ends, A and B, in one network. Numbered datagrams go in
//! both directions all the time. A fault is applied, the longest time without delivery is taken for each direction, the fault is
//! undone, the pair settles and rests, and all begins anew.
//!
//! Beside that streams over TCP: at a pace while all faults happen one after the other ([`paced`]), and over lines that lose ([`lossy`]).

mod fault;
mod lossy;
mod paced;
mod row;
mod scene;
mod store;
mod subject;
mod table;

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};
use clap::Args;
use lab::Family;
use lab::flow::Direction;
use serde_json::Value;

use fault::Fault;
use row::Row;
use scene::Scene;
use subject::Subject;
use table::{Cell, Run, Underlay, markdown};

/// A run is watched at least so long after its fault: what comes back may go away again.
const WATCHED: Duration = Duration::from_secs(5);
/// And at most so long.
pub(crate) const LIMIT: Duration = Duration::from_secs(45);
/// What is sent now has arrived after this, or is lost.
const UNDER_WAY: Duration = Duration::from_millis(500);
/// So many runs are one pair's: others make the rest at the same time.
const SHARE: usize = 5;
/// What a run takes besides resting where all goes well.
const USUALLY: Duration = Duration::from_secs(10);
/// So many attempts in a row at one run may fail.
const ATTEMPTS: u32 = 3;

/// The parts of a result, each with a table of its own.
pub(crate) const PARTS: [&str; 3] = ["recovery", "paced", "lossy"];

/// Whether something was measured by `--recovery`.
pub(crate) fn is_result(result: &Value) -> bool {
    PARTS.iter().any(|part| result.get(part).is_some())
}

/// The tables of a result: what it is called, the machine on which it was measured, and Markdown.
///
/// # Errors
/// When it is no result of this kind.
pub(crate) fn parts(result: &Value) -> Result<Vec<(&'static str, &Value, String)>> {
    let mut parts = Vec::new();
    if result["recovery"].is_array() {
        parts.push((PARTS[0], &result["machine"], markdown(result)?));
    }
    let tables: [fn(&[Value]) -> String; 2] = [paced::markdown, lossy::markdown];
    for (name, table) in PARTS[1..].iter().zip(tables) {
        if let Some(runs) = result[name]["runs"].as_array() {
            parts.push((name, &result[name]["machine"], table(runs)));
        }
    }
    Ok(parts)
}

/// What `--recovery` takes besides.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// With --recovery: runs of each fault and row [default: 30, with --quick 5]; cycles of `paced` (2), seeds of `lossy` (3).
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: Option<u32>,
    /// With --recovery: these alone, separated by commas: faults, `paced` (streams at 40 Mbit/s both ways while all faults happen one
    /// after the other, one every 10 s), `lossy` (streams over lines that lose, reorder and delay, and through a router that forgets
    /// every 10 s). What a result has of others already is kept.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = Subject::named)]
    only: Vec<Subject>,
    /// With --recovery: these rows alone, separated by commas; each is three letters, root, A and B: `o` ztnode, `p` the one in
    /// ZTNODE_OLD, `z` the one in ZEROTIER_ONE.
    #[arg(long, value_name = "ROWS", value_delimiter = ',', value_parser = Row::parse)]
    rows: Vec<Row>,
    /// With --recovery: seconds that a pair idles before the first packet [default: 600, with --quick 30].
    #[arg(long, value_name = "SECONDS")]
    idle_for: Option<u32>,
    /// With --recovery: seconds of undisturbed direct traffic before each fault, so that all that counts in half minutes (zerotier-one
    /// does) has begun anew.
    #[arg(long, value_name = "SECONDS", default_value_t = 31)]
    rest: u32,
    /// With --recovery: round trip underneath between any two machines, milliseconds, up to 1000. Below 1: as the kernel has it.
    #[arg(long, value_name = "MS", default_value_t = 0.3, value_parser = milliseconds)]
    rtt: f64,
    /// With --recovery: IPv6 underneath in place of IPv4. Faults of IPv4 NAT routers are left out.
    #[arg(long)]
    ipv6: bool,
    /// With --recovery: so many pairs are measured at the same time.
    #[arg(long, value_name = "PAIRS", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=16))]
    at_once: u32,
}

impl Options {
    fn runs(&self, quick: bool) -> u32 {
        self.runs.unwrap_or(if quick { 5 } else { 30 })
    }

    fn wants(&self, subject: Subject) -> bool {
        self.only.is_empty() || self.only.contains(&subject)
    }

    /// The rows of streams: ztnode alone where nothing else is asked for.
    fn streams(&self) -> Vec<Row> {
        if self.rows.is_empty() { vec![Row::ours()] } else { self.rows.clone() }
    }

    fn idle(&self, quick: bool) -> Duration {
        Duration::from_secs(self.idle_for.unwrap_or(if quick { 30 } else { 600 }).into())
    }

    /// All cells of the table, still empty: each fault for each row.
    fn cells(&self) -> Vec<Cell> {
        let rows = if self.rows.is_empty() { Row::usual() } else { self.rows.clone() };
        let mut faults: Vec<Fault> =
            Fault::ALL.into_iter().filter(|f| self.wants(Subject::Fault(*f))).collect();
        let family = if self.ipv6 { Family::V6 } else { Family::V4 };
        faults.retain(|fault| !fault.needs().nat || family == Family::V4);
        let of = |fault: &Fault, row: &Row| {
            let family = if fault.needs().both_families { Family::Both } else { family };
            Cell::new(*row, *fault, Underlay { family, rtt: self.rtt })
        };
        faults.iter().flat_map(|fault| rows.iter().map(move |row| of(fault, row))).collect()
    }
}

fn milliseconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..=1000.0).contains(&number) => Ok(number),
        _ => Err("a number of milliseconds from 0 to 1000".to_owned()),
    }
}

/// Some runs of a cell, which one pair makes one after the other.
struct Job {
    cell: usize,
    runs: Range<u32>,
}

/// Measures all that is asked for, shows the tables and writes everything down.
///
/// # Errors
/// When a bound is missed, or something with ztnode alone could not be measured, or did not arrive as it was sent.
pub(crate) fn run(options: &Options, quick: bool, path: &Path) -> Result<()> {
    let cells = options.cells();
    let streams = [Subject::Paced, Subject::Lossy].map(|subject| options.wants(subject));
    ensure!(
        !cells.is_empty() || streams.contains(&true),
        "none of these faults can be had over IPv6: routers with a NAT are for IPv4"
    );
    let (mut missed, runs) = (Vec::new(), |usual| options.runs.unwrap_or(usual));
    if !cells.is_empty() {
        missed.extend(faults(options, quick, cells, path)?);
    }
    if streams[0] {
        missed.extend(paced::run(&options.streams(), runs(2), path)?);
    }
    if streams[1] {
        missed.extend(lossy::run(
            &options.streams(),
            runs(if quick { 1 } else { 3 }),
            options.at_once,
            path,
        )?);
    }
    println!("written to {}", path.display());
    if !missed.is_empty() {
        bail!("{} bounds are missed:\n  {}", missed.len(), missed.join("\n  "));
    }
    Ok(())
}

/// Measures all runs of all cells. Returns which bounds are missed.
fn faults(options: &Options, quick: bool, cells: Vec<Cell>, path: &Path) -> Result<Vec<String>> {
    let machine = crate::machine::describe();
    let earlier = store::read(path);
    let (runs, idle) = (options.runs(quick), options.idle(quick));
    let jobs: VecDeque<Job> = (0..cells.len())
        .flat_map(|cell| (0..runs).step_by(SHARE).map(move |run| (cell, run)))
        .map(|(cell, run)| Job { cell, runs: run..runs.min(run + SHARE as u32) })
        .collect();
    let once = |cell: &Cell| {
        let idles = if cell.fault == Fault::Idle { idle } else { Duration::ZERO };
        USUALLY + idles + Duration::from_secs(options.rest.into())
    };
    let all: Duration = cells.iter().map(|cell| once(cell) * runs).sum();
    let (count, at_once) = (cells.len(), options.at_once);
    let minutes = (all / at_once).as_secs().div_ceil(60);
    eprintln!(
        "{count} cells of {runs} runs, {at_once} pairs at once: {minutes} min where all recover quickly"
    );
    let (waiting, cells) = (Mutex::new(jobs), Mutex::new(cells));
    std::thread::scope(|scope| -> Result<()> {
        let worker = || -> Result<()> {
            loop {
                let Some(job) = lock(&waiting).pop_front() else { return Ok(()) };
                let cell = lock(&cells)[job.cell].clone();
                let mut found = Vec::new();
                let measured = measure(&cell, job.runs, idle, options.rest, &mut found);
                let mut cells = lock(&cells);
                cells[job.cell].runs.append(&mut found);
                if let Err(error) = measured {
                    eprintln!("{cell}: given up: {error:#}");
                    cells[job.cell].failed = Some(error.root_cause().to_string());
                }
                crate::report::write(path, &store::merged(&earlier, table::json(&cells, &machine)))?;
            }
        };
        let workers: Vec<_> = (0..options.at_once).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            worker.join().map_err(|_| anyhow!("a measuring thread panicked"))??;
        }
        Ok(())
    })?;
    let cells = cells.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{}", markdown(&table::json(&cells, &machine))?);
    Ok(cells.iter().flat_map(Cell::missed).collect())
}

/// What is behind it is whole whatever happened to a thread that had it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Some runs, with the same pair as long as it settles again.
fn measure(cell: &Cell, runs: Range<u32>, idle: Duration, rest: u32, all: &mut Vec<Run>) -> Result<()> {
    let mut scene = None;
    let mut attempts = 0;
    let mut run = runs.start;
    while run < runs.end {
        let once = (|| -> Result<Run> {
            let scene = match &mut scene {
                Some(scene) => scene,
                none => none.insert(Scene::build(cell.row, cell.fault.needs(), cell.underlay, idle)?),
            };
            one(scene, cell.fault, run, rest)
        })();
        match once {
            Ok(found) => {
                eprintln!("{cell}, run {}: {found}", run + 1);
                if found.recovered != [true; 2] {
                    // It would take long to settle, if it ever did.
                    scene = None;
                }
                all.push(found);
                (run, attempts) = (run + 1, 0);
            }
            Err(error) => {
                attempts += 1;
                scene = None;
                if attempts >= ATTEMPTS {
                    return Err(error);
                }
                eprintln!("{cell}: built anew: {}", error.root_cause());
            }
        }
    }
    Ok(())
}

/// One run: the pair settles and rests, the fault strikes, and is undone when it has been got over.
fn one(scene: &mut Scene, fault: Fault, run: u32, rest: u32) -> Result<Run> {
    scene.settle()?;
    std::thread::sleep(Duration::from_secs(rest.into()));
    scene.settle()?;
    let flows = scene.flows()?;
    flows.iter().for_each(Direction::forget);
    let mut first: [u64; 2] = [0, 1].map(|way: usize| flows[way].sent());
    let begin = fault.strike(scene, run)?;
    if fault == Fault::Idle {
        first = [0; 2];
    }
    let (struck, flows) = (Instant::now(), scene.flows()?);
    let recovered = loop {
        let recovered = [0, 1].map(|way: usize| flows[way].flows());
        let over = struck.elapsed() >= WATCHED && recovered == [true; 2];
        if over || begin.elapsed() >= LIMIT {
            break recovered;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let end = Instant::now();
    let last = [0, 1].map(|way: usize| flows[way].sent());
    std::thread::sleep(UNDER_WAY);
    let found = Run {
        seconds: [0, 1].map(|way: usize| flows[way].gap(begin, end).as_secs_f64()),
        lost: [0, 1].map(|way: usize| flows[way].lost(first[way], last[way])),
        recovered,
    };
    fault.heal(scene)?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn options(words: &[&str]) -> Options {
        let all = ["ztbench", "--recovery"].iter().chain(words);
        crate::arguments::Arguments::try_parse_from(all).unwrap().recovery_options
    }

    #[test]
    fn every_fault_meets_every_row() {
        let cells = options(&["--rows", "ooo,zzz"]).cells();
        assert_eq!(cells.len(), 2 * Fault::ALL.len());
        assert!(
            cells.iter().all(|cell| (cell.underlay.family == Family::Both) == (cell.fault == Fault::Family))
        );
        let cells = options(&["--rows", "ooo", "--only", "blind,lossy,rebind", "--rtt", "60"]).cells();
        assert_eq!(cells.iter().map(|cell| cell.fault).collect::<Vec<_>>(), [Fault::Blind, Fault::Rebind]);
        assert_eq!(cells[0].underlay.rtt, 60.0);
    }

    #[test]
    fn no_router_translates_ipv6() {
        let cells = options(&["--rows", "ooo", "--ipv6"]).cells();
        assert!(cells.iter().all(|cell| !cell.fault.needs().nat), "{}", cells.len());
        assert!(options(&["--ipv6", "--rows", "ooo", "--only", "rebind,paced"]).cells().is_empty());
    }

    #[test]
    fn words_that_mean_nothing_are_refused() {
        for words in
            [["--only", "fire"], ["--rows", "oo"], ["--rtt", "-1"], ["--rtt", "soon"], ["--runs", "0"]]
        {
            let all = ["ztbench", "--recovery"].iter().chain(&words);
            assert!(crate::arguments::Arguments::try_parse_from(all).is_err(), "{words:?}");
        }
    }
}
