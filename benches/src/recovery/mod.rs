//! How long a pair of nodes is without traffic when something happens to it or to the way between.
//!
//! Real daemons in namespaces: a root that is the controller too, and two ends, A and B, in one network. Numbered datagrams go in
//! both directions all the time. A fault is applied, the longest time without delivery is taken for each direction, the fault is
//! undone, the pair settles and rests, and all begins anew.

mod fault;
mod row;
mod scene;
mod table;
mod watch;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use lab::Family;

use fault::Fault;
use row::Row;
use scene::Scene;
pub(crate) use table::markdown;
use table::{Cell, Run, Underlay};
use watch::Direction;

/// A run is watched at least so long after its fault: what comes back may go away again.
const WATCHED: Duration = Duration::from_secs(5);
/// And at most so long.
pub(crate) const LIMIT: Duration = Duration::from_secs(45);
/// What is sent now has arrived after this, or is lost.
const UNDER_WAY: Duration = Duration::from_millis(500);
/// So many attempts in a row at one run may fail.
const ATTEMPTS: u32 = 3;

/// What `--recovery` takes besides.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// With --recovery: runs of each fault and row [default: 30, with --quick 5].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: Option<u32>,
    /// With --recovery: these faults alone, separated by commas.
    #[arg(long, value_name = "FAULTS", value_delimiter = ',', value_parser = Fault::named)]
    only: Vec<Fault>,
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
    #[arg(long, value_name = "PAIRS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=16))]
    at_once: u32,
}

impl Options {
    fn runs(&self, quick: bool) -> u32 {
        self.runs.unwrap_or(if quick { 5 } else { 30 })
    }

    fn idle(&self, quick: bool) -> Duration {
        Duration::from_secs(self.idle_for.unwrap_or(if quick { 30 } else { 600 }).into())
    }

    /// All cells of the table, still empty: each fault for each row.
    fn cells(&self) -> Vec<Cell> {
        let rows = if self.rows.is_empty() { Row::usual() } else { self.rows.clone() };
        let mut faults = if self.only.is_empty() { Fault::ALL.to_vec() } else { self.only.clone() };
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

/// Measures all, shows the table and writes everything down.
///
/// # Errors
/// When a bound is missed, or a cell of a ztnode row could not be measured.
pub(crate) fn run(options: &Options, quick: bool, path: &Path) -> Result<()> {
    let machine = crate::machine::describe();
    let jobs = options.cells();
    let (runs, idle) = (options.runs(quick), options.idle(quick));
    eprintln!("{} cells of {runs} runs, {} at once", jobs.len(), options.at_once);
    let waiting: Mutex<VecDeque<usize>> = Mutex::new((0..jobs.len()).collect());
    let cells: Mutex<Vec<Option<Cell>>> = Mutex::new(vec![None; jobs.len()]);
    let save = |cells: &[Option<Cell>]| {
        let done: Vec<Cell> = cells.iter().flatten().cloned().collect();
        crate::report::write(path, &table::json(&done, &machine))
    };
    std::thread::scope(|scope| -> Result<()> {
        let worker = || -> Result<()> {
            loop {
                let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(index) = next else { return Ok(()) };
                let mut cell = jobs[index].clone();
                if let Err(error) = measure(&mut cell, runs, idle, options.rest) {
                    eprintln!("{cell}: given up: {error:#}");
                    cell.failed = Some(format!("{error:#}"));
                }
                let mut cells = cells.lock().unwrap_or_else(PoisonError::into_inner);
                cells[index] = Some(cell);
                save(&cells)?;
            }
        };
        let workers: Vec<_> = (0..options.at_once).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a measuring thread panicked"))??;
        }
        Ok(())
    })?;
    let cells = cells.into_inner().unwrap_or_else(PoisonError::into_inner);
    let cells: Vec<Cell> = cells.into_iter().flatten().collect();
    println!("{}", markdown(&table::json(&cells, &machine)).context("no table")?);
    println!("written to {}", path.display());
    let missed: Vec<String> = cells.iter().flat_map(Cell::missed).collect();
    if !missed.is_empty() {
        bail!("{} bounds are missed:\n  {}", missed.len(), missed.join("\n  "));
    }
    Ok(())
}

/// One cell: all its runs, with the same pair as long as it settles again.
fn measure(cell: &mut Cell, runs: u32, idle: Duration, rest: u32) -> Result<()> {
    let mut scene = None;
    let mut attempts = 0;
    let mut run = 0;
    while run < runs {
        let once = (|| -> Result<Run> {
            let scene = match &mut scene {
                Some(scene) => scene,
                none => none.insert(Scene::build(cell, idle)?),
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
                cell.runs.push(found);
                (run, attempts) = (run + 1, 0);
            }
            Err(error) => {
                attempts += 1;
                scene = None;
                if attempts >= ATTEMPTS {
                    return Err(error);
                }
                let first = format!("{error:#}").lines().next().unwrap_or_default().to_owned();
                eprintln!("{cell}: built anew: {first}");
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
    let flows = scene.flows()?;
    loop {
        let after = begin.elapsed();
        let over = after >= WATCHED && flows.iter().all(Direction::flows);
        if over || after >= LIMIT {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let end = Instant::now();
    let last = [0, 1].map(|way: usize| flows[way].sent());
    std::thread::sleep(UNDER_WAY);
    let found = Run {
        seconds: [0, 1].map(|way: usize| flows[way].gap(begin, end).as_secs_f64()),
        lost: [0, 1].map(|way: usize| flows[way].lost(first[way], last[way])),
        recovered: [0, 1].map(|way: usize| flows[way].flows()),
    };
    fault.heal(scene)?;
    Ok(found)
}
