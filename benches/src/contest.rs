//! Several systems, measured in turn: one that fails is noted, and the others go on.

use std::path::Path;

use anyhow::{Result, ensure};
use lab::{Seat, binaries};

use crate::document;
use crate::measure::{self, Turn};
use crate::plan::{Conditions, Part};
use crate::progress::Progress;
use crate::report::Report;
use crate::system::peers::Peer;
use crate::system::{Scope, System};

/// A system that fails so many measurements in a row is given up.
const STRIKES: u32 = 3;

/// A system that is to take part.
pub(crate) struct Contestant {
    /// As tables show it.
    pub(crate) name: String,
    /// How much of it is measured.
    pub(crate) scope: Scope,
    start: Box<dyn Fn() -> Result<System>>,
}

impl Contestant {
    /// Called `name`, started by `start`.
    pub(crate) fn new(
        name: impl Into<String>,
        scope: Scope,
        start: impl Fn() -> Result<System> + 'static,
    ) -> Self {
        Self { name: name.into(), scope, start: Box::new(start) }
    }

    /// ztnode; an older one where there is one, to measure before and after in one run; and zerotier-one where there is one.
    pub(crate) fn nodes() -> Vec<Self> {
        let node = |seat: Seat| Self::new(seat.name(), Scope::All, move || System::nodes([seat; 2]));
        let mut list = vec![node(Seat::Ours)];
        if binaries::older().is_some() {
            list.push(node(Seat::Older));
        }
        if binaries::reference().is_some() {
            list.push(node(Seat::Reference));
        } else {
            eprintln!("ZEROTIER_ONE names no zerotier-one binary: measuring without it");
        }
        list
    }

    /// Somebody else's.
    pub(crate) fn peer(peer: Peer) -> Self {
        Self::new(peer.name(), peer.scope(), move || peer.start())
    }

    /// The cable alone.
    pub(crate) fn cable() -> Self {
        Self::new(System::CABLE, Scope::Main, System::cable)
    }
}

/// A system that takes part, until it was given up.
struct Running {
    system: Option<System>,
    scope: Scope,
    strikes: u32,
}

/// Measures all in turn, shows tables and writes everything down.
///
/// # Errors
/// When the first, ours, does not start or had to be given up, or the result cannot be written. Others may fail: the
/// tables say so.
///
/// All are divided by `baseline` where one is named, else ours by each of the others.
pub(crate) fn run(
    contestants: &[Contestant],
    conditions: Conditions,
    baseline: Option<&str>,
    path: &Path,
) -> Result<()> {
    let scopes: Vec<Scope> = contestants.iter().map(|contestant| contestant.scope).collect();
    let mut progress = Progress::new(conditions.estimate(&scopes));
    let names: Vec<&str> = contestants.iter().map(|contestant| contestant.name.as_str()).collect();
    eprintln!("{} {}", progress.line(), names.join(", "));
    let mut report = Report::new(&names, conditions);
    if let Some(name) = baseline {
        report.set_baseline(name);
    }
    let mut running = Vec::new();
    for (index, contestant) in contestants.iter().enumerate() {
        let started = (contestant.start)().and_then(|mut system| {
            measure::warm_up(&mut system, conditions)?;
            Ok(system)
        });
        progress.add(Conditions::start(1));
        let system = match started {
            Ok(system) => Some(system),
            Err(error) if index == 0 => return Err(error.context(contestant.name.clone())),
            Err(error) => {
                eprintln!("{} {} does not start: {error:#}", progress.line(), contestant.name);
                report.give_up(index, &format!("does not start: {error:#}"));
                None
            }
        };
        if let Some(system) = &system {
            report.started(index, &system.version);
        }
        running.push(Running { system, scope: contestant.scope, strikes: 0 });
    }
    let rounds = conditions.rounds;
    for round in 1..=rounds {
        if round > 1 && progress.is_late() {
            report.note(&format!("{} of {rounds} rounds: they took too long", round - 1));
            break;
        }
        let mut order: Vec<usize> = (0..running.len()).collect();
        if round % 2 == 0 {
            order.reverse();
        }
        for index in order {
            let mut turn = Turn::default();
            for part in conditions.parts(running[index].scope, round) {
                running[index].measure(part, conditions, &mut turn, &mut |why, out| {
                    let name = names[index];
                    eprintln!("{} {name}: {}: {why}", progress.line(), part.name());
                    report.failed(index, round, part.name(), why);
                    if out {
                        report.give_up(index, &format!("given up in round {round}: {why}"));
                    }
                });
                progress.add(part.estimate(conditions.length));
            }
            let sample = turn.finish();
            if running[index].system.is_some() {
                eprintln!(
                    "{} round {round} of {rounds}: {}: {}",
                    progress.line(),
                    names[index],
                    sample.line()
                );
            }
            report.add(index, sample);
        }
        // After every round: a run that is cut short keeps what it has.
        report.write(path)?;
    }
    println!("{}", document::tables(&report.json())?);
    println!("written to {}", path.display());
    ensure!(running.first().is_some_and(|ours| ours.system.is_some()), "{} had to be given up", names[0]);
    Ok(())
}

impl Running {
    /// Measures one part. `failed` is told why not, and whether the system was given up for it.
    fn measure(
        &mut self,
        part: Part,
        conditions: Conditions,
        turn: &mut Turn,
        failed: &mut dyn FnMut(&str, bool),
    ) {
        let Some(system) = &mut self.system else { return };
        match measure::part(system, part, conditions, turn) {
            Ok(()) => self.strikes = 0,
            Err(error) => {
                self.strikes += 1;
                let out = self.strikes >= STRIKES;
                if out {
                    self.system = None;
                }
                failed(&format!("{error:#}"), out);
            }
        }
    }
}
