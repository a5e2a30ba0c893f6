//! Where in the source each entry stands, and how its statement reads.

use std::collections::BTreeMap;

use crate::evaluate::Entry;

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
