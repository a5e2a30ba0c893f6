//! Where in the source each entry stands, and how its statement reads.

use std::collections::BTreeMap;

use super::Rules;
use crate::decompile::{self, Names};
use crate::evaluate::Entry;
use crate::language::{Program, Section, statement_text};
use crate::rule::{Kind, Rule};

/// Where a statement stands and what it reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// Line of its action word in the source, if there is a source.
    pub line: Option<u32>,
    /// Line of the `include` that brings it in, if it stands in a macro.
    pub included_at: Option<u32>,
    /// The statement on one line.
    pub text: String,
}

impl Statement {
    /// Whether somebody who says "line `line`" can mean this statement.
    pub fn is_at(&self, line: u32) -> bool {
        self.line == Some(line) || self.included_at == Some(line)
    }

    /// `line 12`, `line 3, included at line 9`, or the empty string.
    pub fn place(&self) -> String {
        match (self.line, self.included_at) {
            (Some(line), Some(at)) => format!("line {line}, included at line {at}"),
            (Some(line), None) => format!("line {line}"),
            (None, Some(at)) => format!("included at line {at}"),
            (None, None) => String::new(),
        }
    }
}

/// For every entry its statement, and for every match its words.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// The network's own list.
    pub base: Chapter,
    /// The capabilities, by id.
    pub capabilities: BTreeMap<u32, Chapter>,
}

/// The part of a [`Book`] about one list.
#[derive(Clone, Debug, Default)]
pub struct Chapter {
    /// Name of the capability.
    pub name: Option<String>,
    /// One per entry: the statement it belongs to.
    pub statements: Vec<Statement>,
    /// One per entry: its own words (a match with its NOT and OR, or the bare action).
    pub words: Vec<String>,
}

impl Book {
    /// The chapter about a list.
    pub fn chapter(&self, capability: Option<u32>) -> Option<&Chapter> {
        match capability {
            None => Some(&self.base),
            Some(id) => self.capabilities.get(&id),
        }
    }

    /// The statement an entry belongs to.
    pub fn statement(&self, entry: Entry) -> Option<&Statement> {
        self.chapter(entry.capability)?.statements.get(usize::from(entry.index))
    }

    /// ` of capability ssh` or the empty string.
    pub(super) fn of_capability(&self, capability: Option<u32>) -> String {
        match (capability, self.chapter(capability).and_then(|chapter| chapter.name.as_ref())) {
            (None, _) => String::new(),
            (Some(_), Some(name)) => format!(" of capability {name}"),
            (Some(id), None) => format!(" of capability {id}"),
        }
    }

    /// Which entry it was: `line 12 of capability ssh`, `entry 3`, or, when every list ran out, `the end of the rules`.
    pub fn name(&self, by: Option<Entry>) -> String {
        let Some(entry) = by else { return "the end of the rules".to_owned() };
        let place = match self.statement(entry).map(Statement::place) {
            Some(place) if !place.is_empty() => place,
            _ => format!("entry {}", entry.index),
        };
        place + &self.of_capability(entry.capability)
    }

    /// The text of the statement an entry belongs to, or the empty string.
    pub fn text(&self, by: Option<Entry>) -> &str {
        by.and_then(|entry| self.statement(entry)).map_or("", |statement| statement.text.as_str())
    }
}

impl Book {
    /// The book on a program: every statement as its author wrote it, with its line.
    pub fn of_program(program: &Program, source: &str) -> Self {
        let names = Names::from(program);
        let chapter = |section: &Section, name: Option<&str>| Chapter {
            name: name.map(str::to_owned),
            statements: section
                .places
                .iter()
                .map(|place| Statement {
                    line: Some(place.line),
                    included_at: place.included_at,
                    text: statement_text(source, place),
                })
                .collect(),
            words: words(&section.rules, &names),
        };
        let capabilities = program.capabilities.iter();
        Self {
            base: chapter(&program.base, None),
            capabilities: capabilities.map(|one| (one.id, chapter(&one.section, Some(&one.name)))).collect(),
        }
    }

    /// The book on rules without their source: statements are decompiled, `place` tells line and `include` line of an
    /// entry if somebody knows them.
    pub fn of_rules(
        rules: &Rules<'_>,
        names: &Names,
        place: impl Fn(Entry) -> (Option<u32>, Option<u32>),
    ) -> Self {
        let chapter = |capability: Option<u32>, list: &[Rule]| Chapter {
            name: names
                .capabilities
                .iter()
                .find(|(_, id, _)| Some(*id) == capability)
                .map(|(name, ..)| name.clone()),
            statements: statements(list, names, |index| {
                u16::try_from(index).map_or((None, None), |index| place(Entry { capability, index }))
            }),
            words: words(list, names),
        };
        Self {
            base: chapter(None, rules.base),
            capabilities: rules
                .capabilities
                .iter()
                .map(|(id, list)| (*id, chapter(Some(*id), list)))
                .collect(),
        }
    }
}

fn statements(
    list: &[Rule],
    names: &Names,
    place: impl Fn(usize) -> (Option<u32>, Option<u32>),
) -> Vec<Statement> {
    let mut all: Vec<Statement> = Vec::with_capacity(list.len());
    let mut begin = 0;
    while begin < list.len() {
        let end = (begin..list.len()).find(|index| list[*index].kind.is_action()).unwrap_or(list.len() - 1);
        let (line, included_at) = place(end);
        let one = Statement { line, included_at, text: decompile::statement(list, end, names) };
        all.resize(end + 1, one);
        begin = end + 1;
    }
    all
}

/// Each entry in words of its own: what [`decompile::statement`] says of it alone.
fn words(list: &[Rule], names: &Names) -> Vec<String> {
    let mut first = true;
    list.iter()
        .map(|rule| {
            let action = rule.kind.is_action();
            let mut alone = vec![rule.clone()];
            // A connective means something between two matches only.
            let or = rule.or && !action && !first;
            if let Some(rule) = alone.first_mut() {
                rule.or = false;
            }
            if !action {
                alone.push(Rule::new(Kind::Accept));
            }
            first = action;
            let text = decompile::statement(&alone, 0, names);
            let text = text.trim_end_matches(';').trim_end();
            let text = if action { text } else { text.strip_prefix("accept ").unwrap_or(text) };
            if or { format!("or {text}") } else { text.to_owned() }
        })
        .collect()
}
