//! `migrate`: takes over the home of a zerotier-one. It copies and never moves: the old home stays as it is, so that going
//! back is starting the old service again.

mod busy;
mod files;
mod source;
mod target;

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde_json::json;

use self::source::{Source, failed, survey};
use self::target::{Plan, State, carry_out, compare, suitable};
use super::node::print_json;
use crate::args::Common;
use crate::args::migrate::Migrate;
use crate::failure::{Failure, Io, Outcome};
use crate::home::PACKAGED_HOME;
use crate::text::printable;

/// Exit code: a daemon runs there.
const BUSY: u8 = 3;
/// Exit code: the new home has something else.
const OCCUPIED: u8 = 4;
/// Longest list that is printed, in lines.
const MAX_LINES: usize = 200;

/// Takes over a home.
///
/// # Errors
/// The exit codes that the help lists.
pub fn run(common: &Common, wanted: &Migrate, io: &mut Io<'_>) -> Outcome {
    let from = wanted.from.as_path();
    let to = target_home(common, wanted)?;
    let (old, new) = (directory(from)?, fs::metadata(&to).ok());
    if new.as_ref().is_some_and(|new| (new.dev(), new.ino()) == (old.dev(), old.ino())) {
        return Err(Failure::usage(format!(
            "ztnode-cli: {} and {} are the same directory: there is nothing to take over",
            from.display(),
            to.display()
        )));
    }
    if new.is_some() {
        suitable(&to).map_err(|what| Failure::usage(format!("ztnode-cli: {} {what}", to.display())))?;
    }
    let mut locks = Vec::new();
    let busy = [Some(to.as_path()).filter(|_| new.is_some()), Some(from)]
        .into_iter()
        .flatten()
        .find_map(|home| claim(home, &mut locks).err());
    if let Some(busy) = busy.as_ref().filter(|_| !wanted.dry_run) {
        return Err(busy.clone());
    }
    let source = survey(from, wanted.with_tokens)?;
    let plan = compare(&source, &to)?;
    let occupied = (!plan.aside.is_empty() && !wanted.replace).then(|| occupied(&source, &plan, &to));
    let obstacle = busy.or(occupied);
    let mut report = Report { source: &source, plan: &plan, to: &to, done: !wanted.dry_run, kept: None };
    if wanted.dry_run {
        report.print(common, obstacle.as_ref(), io)?;
        return obstacle.map_or(Ok(()), Err);
    }
    if let Some(obstacle) = obstacle {
        return Err(obstacle);
    }
    if new.is_none() {
        DirBuilder::new().recursive(true).mode(0o750).create(&to).map_err(failed(&to))?;
        claim(&to, &mut locks)?;
    }
    let stamp = stamp(super::now() / 1000);
    report.kept = carry_out(&source, &plan, &to, &stamp).map_err(|failure| {
        let hint = "Not all of it is done; run this again (with the same switches) to go on.";
        failure.hint(format!("{hint} {} is as it was.", from.display()))
    })?;
    report.print(common, None, io)
}

fn claim(home: &Path, locks: &mut Vec<Option<File>>) -> Result<(), Failure> {
    let lock = busy::claim(home).map_err(|who| {
        let service = if who.contains("zerotier") { "zerotier-one" } else { "ztnode" };
        Failure::error(format!("ztnode-cli: {who} uses {}", home.display()))
            .hint(format!("Stop it first, for good: systemctl disable --now {service}"))
            .with_code(BUSY)
    })?;
    locks.push(lock);
    Ok(())
}

fn target_home(common: &Common, wanted: &Migrate) -> Result<PathBuf, Failure> {
    let variable = || std::env::var_os("ZEROTIER_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let packaged = || Some(PathBuf::from(PACKAGED_HOME)).filter(|home| home.is_dir());
    let named = wanted.to.clone().or_else(|| common.home.as_ref().map(PathBuf::from));
    named.or_else(variable).or_else(packaged).ok_or_else(|| {
        Failure::usage(format!("ztnode-cli: there is no {PACKAGED_HOME}, the home of an installed package"))
            .hint("Install the package, or name the home to fill with --to DIR.")
    })
}

fn directory(home: &Path) -> Result<fs::Metadata, Failure> {
    let wrong = |what: &str| Failure::usage(format!("ztnode-cli: {}: {what}", home.display()));
    match fs::metadata(home) {
        Ok(meta) if meta.is_dir() => Ok(meta),
        Ok(_) => Err(wrong("is no directory")),
        Err(error) => {
            Err(wrong(&error.to_string()).hint("Name the home of the zerotier-one with --from DIR."))
        }
    }
}

fn occupied(source: &Source, plan: &Plan, to: &Path) -> Failure {
    let what = match &plan.other {
        Some(other) => {
            format!("is the home of another node ({other}); this would make it {}", source.identity.address())
        }
        None => format!("has another {}", plan.aside.join(", ")),
    };
    Failure::error(format!("ztnode-cli: {} {what}", to.display()))
        .hint("--replace does it, and keeps what is there in a dated folder in that home.")
        .with_code(OCCUPIED)
}

/// Date and time in UTC as part of a file name, `20260131T235959Z`, of seconds since the Unix epoch.
fn stamp(seconds: i64) -> String {
    // Days since 1 March of the year 0, in cycles of 400 years, with the leap day as the last of its year.
    let days = seconds.div_euclid(86_400) + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + carry;
    let time = seconds.rem_euclid(86_400);
    format!("{year:04}{month:02}{date:02}T{:02}{:02}{:02}Z", time / 3600, time / 60 % 60, time % 60)
}

/// What is said at the end, or instead of doing it.
struct Report<'a> {
    source: &'a Source,
    plan: &'a Plan,
    to: &'a Path,
    done: bool,
    kept: Option<PathBuf>,
}

impl Report<'_> {
    /// Names of the files in this state, and the controller's folder if it is.
    fn in_state(&self, state: State) -> Vec<String> {
        let files = self.source.files.iter().zip(&self.plan.files);
        let mut names: Vec<_> =
            files.filter(|(_, is)| **is == state).map(|(taken, _)| taken.name.clone()).collect();
        let records = &self.source.records;
        if !records.files.is_empty() && self.plan.records == state {
            names.push("controller.d".to_owned());
        }
        names.sort();
        names
    }

    fn about(&self, name: &str) -> String {
        let records = &self.source.records;
        match name {
            "identity.secret" => format!("the node's address, {}", self.source.identity.address()),
            "planet" => "the roots".to_owned(),
            "local.conf" => "settings".to_owned(),
            "controller.d" => format!(
                "{} and {}; a node that has no database imports them at its start",
                count(records.networks, "network"),
                count(records.members, "member")
            ),
            _ if name.ends_with(".local.conf") => "what that network may do here".to_owned(),
            _ if name.starts_with("networks.d/") => "a joined network".to_owned(),
            _ if name.starts_with("moons.d/") => "a moon".to_owned(),
            _ => String::new(),
        }
    }

    fn going_back(&self) -> Vec<String> {
        let from = self.source.home.display();
        let mut lines = vec![
            "systemctl disable --now ztnode; systemctl enable --now zerotier-one".to_owned(),
            format!(
                "{from} is as it was. Changes made meanwhile (networks joined, members let in) are not in it."
            ),
            "Never let both run: they are one node, and the others would lose it again and again.".to_owned(),
        ];
        if !self.plan.aside.is_empty() {
            let kept = self.kept.as_ref().map_or_else(
                || self.to.join("before-migration-DATE").display().to_string(),
                |kept| kept.display().to_string(),
            );
            lines.push(format!(
                "What {} was before is in {kept}: stop ztnode and move those files back for it.",
                self.to.display()
            ));
        }
        lines
    }

    fn print(&self, common: &Common, obstacle: Option<&Failure>, io: &mut Io<'_>) -> Outcome {
        let (copied, same, newer) =
            (self.in_state(State::Copy), self.in_state(State::Same), self.in_state(State::Newer));
        let source = self.source;
        if common.json {
            let left: Vec<_> =
                source.left.iter().map(|(name, why)| json!({"file": name, "why": why})).collect();
            return print_json(
                &json!({
                    "from": source.home.display().to_string(),
                    "to": self.to.display().to_string(),
                    "address": source.identity.address().to_string(),
                    "dryRun": !self.done,
                    "taken": copied,
                    "alreadyThere": same,
                    "newerThere": newer,
                    "notTaken": left,
                    "controllerNetworks": source.records.networks,
                    "controllerMembers": source.records.members,
                    "putAside": self.plan.aside,
                    "keptIn": self.kept.as_ref().map(|kept| kept.display().to_string()),
                    "obstacle": obstacle.map(|failure| failure.err.trim_end()),
                    "notes": source.notes,
                    "goingBack": self.going_back(),
                }),
                io,
            );
        }
        let did = |past: &str, dry: &str| if self.done { past.to_owned() } else { dry.to_owned() };
        let address = source.identity.address();
        writeln!(io.out, "{}: node {address} from {}", self.to.display(), source.home.display())?;
        let plain = |names: Vec<String>| names.into_iter().map(|name| (self.about(&name), name));
        let swap = |(about, name): (String, String)| (name, about);
        list(
            &did("Put aside", "Would be put aside"),
            self.plan.aside.iter().map(|name| (name.clone(), String::new())),
            io,
        )?;
        list(&did("Taken", "Would be taken"), plain(copied).map(swap), io)?;
        list("Already there", plain(same).map(swap), io)?;
        list("Already there, and newer", plain(newer).map(swap), io)?;
        list("Not taken", source.left.iter().cloned(), io)?;
        for note in &source.notes {
            writeln!(io.out, "\nNote: {note}")?;
        }
        writeln!(io.out, "\nNext:\n  systemctl enable --now ztnode\n\nTo go back:")?;
        for line in self.going_back() {
            writeln!(io.out, "  {line}")?;
        }
        if !self.done {
            writeln!(io.out, "\nNothing was changed.")?;
        }
        Ok(())
    }
}

fn list(title: &str, lines: impl Iterator<Item = (String, String)>, io: &mut Io<'_>) -> Outcome {
    let lines: Vec<_> = lines.map(|(name, about)| (printable(&name), about)).collect();
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(io.out, "\n{title}:")?;
    let width = lines.iter().take(MAX_LINES).map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, about) in lines.iter().take(MAX_LINES) {
        writeln!(io.out, "{}", format!("  {name:<width$}  {about}").trim_end())?;
    }
    if lines.len() > MAX_LINES {
        writeln!(io.out, "  and {} more; -j shows all", lines.len() - MAX_LINES)?;
    }
    Ok(())
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(stamp(0), "19700101T000000Z");
        assert_eq!(stamp(951_782_400), "20000229T000000Z");
        assert_eq!(stamp(1_798_761_599), "20261231T235959Z");
    }
}
