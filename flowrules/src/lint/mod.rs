//! Findings about programs that compile: what is probably not what its author wants.
//!
//! A finding has a place, a short name that stays the same (its code), a sentence about what is the case and one about what
//! to do. Nothing here changes what a program means.
//!
//! Whether frames of a kind can get through is decided by walking the rules with what is certain about such frames and
//! *maybe* for everything else, so a finding of this sort holds whatever addresses, tags and members there are.

mod answers;
mod program;
mod reach;
mod sets;

use std::collections::HashSet;

use crate::language::{Place, Program, Section};

/// What is known besides the program.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Addresses of the network's members; without them targets are not checked.
    pub members: Option<&'a [u64]>,
}

/// Something worth a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// What kind of finding, a short name that stays the same.
    pub code: &'static str,
    /// What is the case.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Place { line, column, .. } = self.place;
        write!(f, "line {line} column {column}: {} [{}]", self.message, self.code)
    }
}

/// Most findings given; more would not be read, and quoting a statement takes time.
pub const MAX_FINDINGS: usize = 2000;

/// Looks a program over; findings in the order of their places, at most [`MAX_FINDINGS`].
///
/// `source` is the text the program was compiled from; statements are quoted from it.
pub fn lint(program: &Program, source: &str, known: &Known<'_>) -> Vec<Finding> {
    let mut report = Report { source, findings: program.findings.clone(), seen: HashSet::new() };
    for place in program.leniencies.iter().take(MAX_FINDINGS) {
        let word = crate::language::statement_text(source, place);
        report.add(
            *place,
            "bare-action",
            format!("the reference compiler refuses a bare `{word}` before another statement"),
            format!("write `{}` if the program should compile there too", word.to_uppercase()),
        );
    }
    program::check(program, &mut report);
    answers::check(program, &mut report);
    for section in sections(program) {
        sets::check(section, known, &mut report);
    }
    report.findings.sort_by_key(|finding| (finding.place, finding.code));
    report.findings
}

/// The base rules, then the capabilities.
fn sections(program: &Program) -> impl Iterator<Item = &Section> {
    std::iter::once(&program.base).chain(program.capabilities.iter().map(|capability| &capability.section))
}

/// Findings, once per code and place.
struct Report<'s> {
    source: &'s str,
    findings: Vec<Finding>,
    seen: HashSet<(&'static str, u32, u32)>,
}

impl Report<'_> {
    /// Notes something. What a macro says in several places is noted once.
    fn add(&mut self, place: Place, code: &'static str, message: String, hint: impl Into<String>) {
        if self.findings.len() < MAX_FINDINGS && self.seen.insert((code, place.line, place.column)) {
            self.findings.push(Finding { place, code, message, hint: hint.into() });
        }
    }

    /// A statement quoted, shortened if long.
    fn quote(&self, place: &Place) -> String {
        if self.findings.len() >= MAX_FINDINGS {
            return String::new();
        }
        let text = crate::language::statement_text(self.source, place);
        if text.chars().count() <= 60 {
            return text;
        }
        let short: String = text.chars().take(57).collect();
        format!("{short}…")
    }
}
