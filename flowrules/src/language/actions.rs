//! Action programs: lists of actions and includes → entries.
//!
//! Specification: flow rules, rule language, action programs; errors.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::blocks::{Node, Tree, Word};
use super::definitions::Definitions;
use super::error::SourceError;
use super::numbers::number;
use super::{MAX_ENTRIES, MAX_EXPANSION, MAX_INCLUDE_DEPTH, MAX_INCLUDES, Place, Section, hints};
use crate::json::from_json;
use crate::kind::{Row, Syntax, action_row};
use crate::lint::Finding;

/// Most findings of one program; more would not be read.
const MAX_FINDINGS: usize = 1000;

/// Where a piece of program is compiled: the macro's parameters, and the line that included it.
#[derive(Default)]
pub(super) struct Scope<'a> {
    pub(super) parameters: BTreeMap<&'a str, &'a str>,
    pub(super) included_at: Option<u32>,
}

/// An action that is being compiled.
#[derive(Clone, Copy)]
pub(super) struct Statement<'s, 'a> {
    /// The action word.
    pub(super) action: &'s Word<'a>,
    /// What surrounds it.
    pub(super) scope: &'s Scope<'a>,
}

impl Statement<'_, '_> {
    /// Where a word of this statement stands.
    pub(super) fn place(&self, word: &Word<'_>) -> Place {
        Place { included_at: self.scope.included_at, ..word.place }
    }
}

/// A macro that is being expanded.
struct Expansion<'a> {
    name: &'a str,
    parameters: BTreeMap<&'a str, &'a str>,
}

/// Compiles the programs of one document.
pub(super) struct Compiler<'a, 'd> {
    pub(super) tree: &'a Tree<'a>,
    pub(super) definitions: &'d Definitions<'a>,
    findings: &'d mut Vec<Finding>,
    found: HashSet<(&'static str, u32, u32)>,
    used: HashSet<&'a str>,
    open: Vec<Expansion<'a>>,
    includes: usize,
    entries: usize,
    expanded: usize,
}

impl<'a, 'd: 'a> Compiler<'a, 'd> {
    pub(super) fn new(
        tree: &'a Tree<'a>,
        definitions: &'d Definitions<'a>,
        findings: &'d mut Vec<Finding>,
    ) -> Self {
        Self {
            tree,
            definitions,
            findings,
            found: HashSet::new(),
            used: HashSet::new(),
            open: Vec::new(),
            includes: 0,
            entries: 0,
            expanded: 0,
        }
    }

    /// Compiles the base program or a capability's.
    pub(super) fn section(&mut self, program: &[Node<'a>]) -> Result<Section, SourceError> {
        let mut section = Section::default();
        self.program(program, &Scope::default(), &mut section)?;
        Ok(section)
    }

    /// Notes what can be said only at the end.
    pub(super) fn finish(mut self) {
        let definitions = self.definitions;
        for (name, definition) in &definitions.macros {
            if !self.used.contains(name.as_str()) {
                self.find(
                    definition.name.place,
                    "unused-macro",
                    format!("the macro `{name}` is never included"),
                    format!("write `include {name}` where it belongs, or remove it"),
                );
            }
        }
    }

    /// Notes something, once per place.
    pub(super) fn find(&mut self, place: Place, code: &'static str, message: String, hint: String) {
        if self.findings.len() < MAX_FINDINGS && self.found.insert((code, place.line, place.column)) {
            self.findings.push(Finding { place, code, message, hint });
        }
    }

    /// Counts what a word costs.
    pub(super) fn charge(&mut self, word: &Word<'_>, text: &str) -> Result<(), SourceError> {
        self.expanded += text.len() + 1;
        if self.expanded > MAX_EXPANSION {
            let message =
                format!("Too large: with its macros expanded the program exceeds {MAX_EXPANSION} bytes.");
            return Err(SourceError::at(word, message).hint("macros that include macros multiply quickly"));
        }
        Ok(())
    }

    /// Appends an entry; `word` is its match keyword or action.
    pub(super) fn push(
        &mut self,
        section: &mut Section,
        value: Value,
        word: &Word<'_>,
        statement: Statement<'_, '_>,
    ) -> Result<(), SourceError> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            let message = format!("Too large: the program compiles to more than {MAX_ENTRIES} entries.");
            return Err(
                SourceError::at(word, message).hint("members take 1024 base rules and 64 per capability")
            );
        }
        section.rules.push(from_json(&value).expect("the compiler writes only types that can be read"));
        section.json.push(value);
        section.places.push(statement.place(statement.action));
        section.words.push(statement.place(word));
        Ok(())
    }

    fn program(
        &mut self,
        program: &[Node<'a>],
        scope: &Scope<'a>,
        section: &mut Section,
    ) -> Result<(), SourceError> {
        let mut at = 0;
        let mut previous = None;
        while let Some(node) = program.get(at) {
            at += 1;
            // A block that follows no action means nothing.
            let Node::Word(word) = node else { continue };
            let lower = word.text.to_lowercase();
            self.charge(word, word.text)?;
            let block = match program.get(at) {
                Some(Node::Block(number)) => Some(self.tree.block(*number)),
                _ => None,
            };
            let statement = Statement { action: word, scope };
            let row = action_row(&lower).filter(|row| row.syntax != Syntax::Reserved);
            let result = match row {
                Some(row) => {
                    at += usize::from(block.is_some());
                    match row.syntax {
                        Syntax::Copy => self.copy(row, block, statement, section),
                        Syntax::Redirect => self.redirect(row, block, statement, section),
                        _ => self.plain(row, block, statement, section),
                    }
                }
                None if lower == "include" => {
                    let target = program.get(at);
                    at += 1;
                    self.include(word, target, scope, section)
                }
                None => {
                    let names = self.definitions.macros.keys().map(String::as_str);
                    Err(SourceError::at(word, "Unrecognized action or directive in rule set.")
                        .hint(hints::action(word.text, previous, names)))
                }
            };
            result.map_err(|mut error| {
                error.included_at = error.included_at.or(scope.included_at);
                error
            })?;
            previous = Some(word.text);
        }
        Ok(())
    }

    fn plain(
        &mut self,
        row: &Row,
        block: Option<&'a [Node<'a>]>,
        statement: Statement<'_, 'a>,
        section: &mut Section,
    ) -> Result<(), SourceError> {
        self.matches(block.unwrap_or(&[]), statement, section)?;
        self.push(section, Value::Object(row.object([])), statement.action, statement)
    }

    fn copy(
        &mut self,
        row: &Row,
        block: Option<&'a [Node<'a>]>,
        statement: Statement<'_, 'a>,
        section: &mut Section,
    ) -> Result<(), SourceError> {
        let action = row.word;
        let Some((length, rest)) = block.and_then(<[_]>::split_first) else {
            let message =
                "The tee and watch actions require two paremters (max length or 0 for all, target).";
            return Err(SourceError::at(statement.action, message).hint(format!(
                "write `{action} LENGTH ADDRESS`, LENGTH -1 for whole frames: `{action} -1 0123456789 …;`"
            )));
        };
        let length = self.tree.first_word(length).unwrap_or(*statement.action);
        let Some((target, matches)) = rest.split_first() else {
            // The reference fails in its own way here.
            let message = "Missing or invalid ZeroTier address target for tee/watch.";
            return Err(SourceError::at(&length, message).hint(format!(
                "the member that gets the copies is missing: `{action} {} ADDRESS;`",
                length.text
            )));
        };
        let bytes = number(length.text);
        let address = self.tree.first_word(target).unwrap_or(length);
        if !(-1..=0xffff).contains(&bytes) {
            let message = "Tee/watch max packet length to forward invalid or out of range.";
            let mut error = SourceError::at(&length, message)
                .hint("a length is 1 to 65535 bytes, or -1 (or 0) for whole frames");
            // The reference mixes the two positions.
            error.column = address.position.column;
            return Err(error);
        }
        if target.word().is_none() || address.text.encode_utf16().count() != 10 {
            let message = "Missing or invalid ZeroTier address target for tee/watch.";
            return Err(SourceError::at(&address, message).hint(address_hint(address.text, action)));
        }
        self.check_length(&length, bytes, statement);
        self.check_address(&address, statement);
        self.charge(&address, address.text)?;
        self.matches(matches, statement, section)?;
        // Flags are left to the controllers.
        let fields = [Some(address.text.into()), None, Some(bytes.into())];
        self.push(section, Value::Object(row.object(fields)), statement.action, statement)
    }

    fn redirect(
        &mut self,
        row: &Row,
        block: Option<&'a [Node<'a>]>,
        statement: Statement<'_, 'a>,
        section: &mut Section,
    ) -> Result<(), SourceError> {
        let Some((target, matches)) = block.and_then(<[_]>::split_first) else {
            return Err(SourceError::at(
                statement.action,
                "The redirect action requires a target parameter.",
            )
            .hint("write `redirect ADDRESS …;`: `redirect 0123456789 dport 25;`"));
        };
        let address = self.tree.first_word(target).unwrap_or(*statement.action);
        if target.word().is_none() || address.text.encode_utf16().count() != 10 {
            let message = "Missing or invalid ZeroTier address target for redirect.";
            return Err(SourceError::at(&address, message).hint(address_hint(address.text, "redirect")));
        }
        self.check_address(&address, statement);
        self.charge(&address, address.text)?;
        self.matches(matches, statement, section)?;
        let fields = [Some(address.text.into())];
        self.push(section, Value::Object(row.object(fields)), statement.action, statement)
    }

    fn check_length(&mut self, word: &Word<'_>, bytes: i64, statement: Statement<'_, '_>) {
        if super::numbers::is_clean(word.text) {
            return;
        }
        self.find(
            statement.place(word),
            "odd-number",
            format!("the length `{}` is read as {bytes}", word.text),
            "write a number of bytes, or -1 for whole frames".into(),
        );
    }

    fn check_address(&mut self, word: &Word<'_>, statement: Statement<'_, '_>) {
        if word.text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return;
        }
        self.find(
            statement.place(word),
            "odd-address",
            format!("`{}` is no address: nothing can be sent there", word.text),
            "an address is ten hex digits; parameters of macros cannot stand here".into(),
        );
    }

    fn include(
        &mut self,
        include: &Word<'a>,
        target: Option<&Node<'a>>,
        scope: &Scope<'a>,
        section: &mut Section,
    ) -> Result<(), SourceError> {
        let Some(target) = target else {
            return Err(SourceError::at(include, "Include directive is missing a macro name.")
                .hint("write `include NAME` or `include NAME(ARGUMENT,…)`"));
        };
        let word = self.tree.first_word(target).unwrap_or(*include);
        self.charge(&word, word.text)?;
        let (name, list) = match word.text.find('(') {
            Some(at) if at > 0 => (&word.text[..at], &word.text[at + 1..]),
            _ => (word.text, ""),
        };
        let definitions = self.definitions;
        let found = definitions.macros.get_key_value(name).filter(|_| target.word().is_some());
        let Some((name, definition)) = found else {
            let names = definitions.macros.keys().map(String::as_str);
            return Err(SourceError::at(&word, "Macro name not found.").hint(hints::undefined(
                "macros",
                name,
                names,
                "a macro is defined by `macro NAME …;`",
            )));
        };
        let arguments: Vec<&'a str> = list.split([',', ')']).filter(|piece| !piece.is_empty()).collect();
        let mut parameters: BTreeMap<&'a str, &'a str> = BTreeMap::new();
        for (parameter, index) in &definition.parameters {
            self.charge(&word, parameter)?;
            let Some(argument) = arguments.get(*index) else {
                let wanted = definition.parameters.values().max().map_or(0, |most| most + 1);
                return Err(SourceError::at(&word, "Missing one or more required macro parameter.").hint(format!(
                    "`{}` takes {wanted} argument(s), here are {}; they belong to the same word, without blanks",
                    definition.name.text,
                    arguments.len()
                )));
            };
            parameters.insert(parameter, argument);
        }
        self.used.insert(name);
        if self.open.iter().any(|open| open.name == name && open.parameters == parameters) {
            return Err(SourceError::at(&word, format!("Macro \"{name}\" includes itself."))
                .hint("there are no conditions in macros, so this would never end"));
        }
        if self.open.len() >= MAX_INCLUDE_DEPTH {
            let message = format!("Too large: includes are nested deeper than {MAX_INCLUDE_DEPTH}.");
            return Err(SourceError::at(&word, message).hint("include the innermost macros directly"));
        }
        self.includes += 1;
        if self.includes > MAX_INCLUDES {
            let message = format!(
                "Too large: the program has more than {MAX_INCLUDES} includes, nested ones included."
            );
            return Err(SourceError::at(&word, message).hint("macros that include macros multiply quickly"));
        }
        let inner = Scope {
            parameters: parameters.clone(),
            included_at: Some(scope.included_at.unwrap_or(include.place.line)),
        };
        self.open.push(Expansion { name, parameters });
        let result = self.program(definition.program, &inner, section);
        self.open.pop();
        result
    }
}

fn address_hint(text: &str, action: &str) -> String {
    if text.starts_with('$') {
        return format!("parameters of macros are not replaced here: write the address into the `{action}`");
    }
    if text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return format!("an address is ten hex digits, `{text}` has {}", text.len());
    }
    format!(
        "an address (ten hex digits) stands here: `{}`",
        match action {
            "redirect" => "redirect 0123456789 …;".to_owned(),
            _ => format!("{action} -1 0123456789 …;"),
        }
    )
}
