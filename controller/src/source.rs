//! Rules from their source: compiled when a client posts `rulesSource`, and the lines that members are told about.
//!
//! Specification: VL2 flow rules, rule language; limits of its model.

use api::{CapabilityDefinition, Network, NetworkPatch, RuleList, SourceProblem};
use flowrules::language::{self, Options, Place, Program, Section};
use protocol::netconf::{self, RuleLines, StatementLine};
use serde_json::Value;

/// Why a source is refused, and where. Lines and columns count from 1.
#[derive(Debug)]
pub(crate) struct Problem {
    message: String,
    hint: Option<String>,
    line: u32,
    column: u32,
    word: Option<String>,
    rendered: Option<String>,
}

impl Problem {
    /// One about a statement of the program as a whole, which the compiler had nothing against.
    fn at(place: Option<&Place>, message: String, hint: &str) -> Self {
        Self {
            message,
            hint: Some(hint.to_owned()),
            line: place.map_or(1, |place| place.line),
            column: place.map_or(1, |place| place.column),
            word: None,
            rendered: None,
        }
    }

    /// The answer to the client.
    pub(crate) fn answer(&self, source: &str) -> SourceProblem {
        let place = format!("rulesSource, line {}, column {}", self.line, self.column);
        SourceProblem {
            problem: api::Problem::new(400, format!("{place}: {}", self.message)),
            message: self.message.clone(),
            line: self.line.into(),
            column: self.column.into(),
            hint: self.hint.clone(),
            source_line: source_line(source, self.line).to_owned(),
            word: self.word.clone(),
            rendered: self.rendered.clone(),
        }
    }
}

/// A line of the source without its end, for people.
fn source_line(source: &str, line: u32) -> &str {
    source.lines().nth(line.saturating_sub(1) as usize).unwrap_or_default()
}

/// Puts what a request's `rulesSource` says beside it, as if it had been posted: `rules`, `capabilities` and `tags`. A request
/// that brings one of these lists itself says what is in force; its source is then text for editors.
pub(crate) fn compile_into(asked: &mut NetworkPatch) -> Result<(), Box<SourceProblem>> {
    let explicit = asked.rules.is_some() || asked.capabilities.is_some() || asked.tags.is_some();
    let Some(source) = asked.rules_source.as_deref().filter(|source| !explicit && !source.trim().is_empty())
    else {
        return Ok(());
    };
    let program = compile(source).map_err(|problem| Box::new(problem.answer(source)))?;
    check(&program).map_err(|problem| Box::new(problem.answer(source)))?;
    if let Value::Object(config) = program.config() {
        let compiled: NetworkPatch = api::read(&config);
        (asked.rules, asked.capabilities, asked.tags) =
            (compiled.rules, compiled.capabilities, compiled.tags);
    }
    Ok(())
}

fn compile(source: &str) -> Result<Program, Problem> {
    language::compile(source, &Options::default()).map_err(|error| {
        let place = error.place(source);
        Problem {
            line: place.line,
            column: place.column,
            word: source.get(error.span.clone()).filter(|word| !word.is_empty()).map(str::to_owned),
            rendered: Some(error.render("rulesSource", source)),
            message: error.message,
            hint: error.hint,
        }
    })
}

/// What no member could be given is refused, not cut.
fn check(program: &Program) -> Result<(), Problem> {
    let base = &program.base;
    check_section(base, flowrules::MAX_RULES, "the base rules have")?;
    for capability in &program.capabilities {
        let what = format!("capability {} has", capability.name);
        check_section(&capability.section, flowrules::MAX_CAPABILITY_RULES, &what)?;
    }
    for (count, most, what) in [
        (program.capabilities.len(), netconf::MAX_CAPABILITIES, "capabilities"),
        (program.tags.len(), netconf::MAX_TAGS, "tags"),
    ] {
        if count > most {
            let message = format!("{count} {what}; a network can have {most}");
            return Err(Problem::at(None, message, "a member could not be given them all"));
        }
    }
    Ok(())
}

fn check_section(section: &Section, most: usize, what: &str) -> Result<(), Problem> {
    let count = section.rules.len();
    if count > most {
        let message = format!("{what} {count} entries (matches and actions); {most} is the most");
        let hint =
            "fewer matches do: ranges, prefixes, macros without repetition, tags in place of addresses";
        return Err(Problem::at(section.places.get(most), message, hint));
    }
    // What the API would drop from a posted list must not be dropped silently from a program.
    let dropped = section.json.iter().position(|rule| flowrules::json::from_json(rule).is_none());
    if let Some(index) = dropped {
        let message = String::from("this statement has no form that members understand");
        return Err(Problem::at(section.places.get(index), message, "leave it out"));
    }
    Ok(())
}

/// The source lines of the rules in force, if the network's source is where they came from: if it compiles to exactly
/// the base rules and capabilities that members enforce.
pub(crate) fn lines(network: &Network) -> RuleLines {
    if network.rules_source.trim().is_empty() {
        return RuleLines::default();
    }
    let Ok(program) = compile(&network.rules_source) else { return RuleLines::default() };
    let same =
        |section: &Section, list: &RuleList| RuleList::from_input(&section.json).rules() == list.rules();
    let mut capabilities: Vec<_> = program.capabilities.iter().collect();
    capabilities.sort_by_key(|capability| capability.id);
    let all_same = capabilities.len() == network.capabilities.len()
        && same(&program.base, &network.rules)
        && std::iter::zip(&capabilities, &network.capabilities).all(
            |(written, defined): (_, &CapabilityDefinition)| {
                written.id == defined.id && same(&written.section, &defined.rules)
            },
        );
    if !all_same {
        return RuleLines::default();
    }
    let mut lines = RuleLines {
        base: statements(&program.base),
        capabilities: capabilities.iter().map(|c| (c.id, statements(&c.section))).collect(),
    };
    lines.fit();
    lines
}

/// One line for each action.
fn statements(section: &Section) -> Vec<StatementLine> {
    std::iter::zip(&section.rules, &section.places)
        .filter(|(rule, _)| rule.kind.is_action())
        .map(|(_, place)| StatementLine { line: place.line, included_at: place.included_at })
        .collect()
}
