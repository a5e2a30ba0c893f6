//! `rules show`: the rules of a network, where they are kept and where they are enforced.

use std::collections::BTreeMap;

use api::Network;
use flowrules::decompile::{Decompiled, Names, decompile};
use flowrules::{Entry, Rule};
use serde_json::{Value, json};

use super::enforced::{Enforced, capabilities, rules};
use super::set::in_force;
use super::{Compiled, Found, find};
use crate::commands::Session;
use crate::commands::controller::print;
use crate::failure::{Io, Outcome};
use crate::text;

pub(super) fn run(
    session: &Session,
    network: &str,
    counters: bool,
    source: bool,
    io: &mut Io<'_>,
) -> Outcome {
    // Counters are those of a node, which the controller of a network need not be.
    let found =
        if counters { super::joined(session, network).map(Found::Member) } else { find(session, network) };
    match found? {
        Found::Controller(record) => kept(session, &record, source, io),
        Found::Member(network) => {
            let id = text::printable(&network.id);
            let enforced = Enforced::ask(session, &id)?;
            if session.common.json {
                return print(&enforced_json(&id, &enforced), io);
            }
            if counters {
                return Ok(write!(io.out, "{}", table(&id, &enforced))?);
            }
            let decompiled = decompiled(&enforced.base, &enforced.capabilities, &Names::default());
            if source {
                return Ok(write!(io.out, "{}", ended(&decompiled.text))?);
            }
            writeln!(io.out, "# what this node ({:010x}) enforces on {id}, decompiled", enforced.address)?;
            Ok(write!(io.out, "{}", annotated(&decompiled, &enforced))?)
        }
    }
}

/// What the controller keeps.
fn kept(session: &Session, record: &Network, only_source: bool, io: &mut Io<'_>) -> Outcome {
    let id = record.id.to_string();
    let source = Some(record.rules_source.as_str()).filter(|source| !source.trim().is_empty());
    let compiled = Compiled::of_network(record);
    let named = compiled.as_ref().filter(|compiled| in_force(record, compiled));
    let shown = match (named, source) {
        (Some(compiled), _) => ended(&compiled.source.text),
        (None, kept) => {
            let names = compiled.as_ref().map(|compiled| Names::from(&compiled.program)).unwrap_or_default();
            let text = ended(&decompiled(&rules(record.rules.json()), &capabilities(record), &names).text);
            let why = match kept {
                None => "the controller keeps no source of them",
                Some(_) => "the source kept with the network does not give the rules in force",
            };
            if only_source { text } else { format!("# decompiled: {why}\n{text}") }
        }
    };
    if session.common.json {
        return print(
            &json!({
                "network": id, "from": "controller", "source": source, "sourceInForce": named.is_some(),
                "text": shown, "rules": record.rules, "capabilities": record.capabilities,
                "tags": record.tags,
            }),
            io,
        );
    }
    Ok(write!(io.out, "{shown}")?)
}

fn decompiled(base: &[Rule], capabilities: &BTreeMap<u32, Vec<Rule>>, names: &Names) -> Decompiled {
    let lists: Vec<(u32, &[Rule])> = capabilities.iter().map(|(id, list)| (*id, list.as_slice())).collect();
    decompile(base, &lists, names)
}

fn ended(text: &str) -> String {
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{newline}")
}

/// Every statement of one list: the entry of its action, and the first of its entries.
fn statements(capability: Option<u32>, list: &[Rule]) -> Vec<(Entry, usize)> {
    let mut all = Vec::new();
    let mut begin = 0;
    for (index, rule) in list.iter().enumerate() {
        if rule.kind.is_action() {
            let Ok(index) = u16::try_from(index) else { break };
            all.push((Entry { capability, index }, begin));
            begin = usize::from(index) + 1;
        }
    }
    all
}

fn lists(enforced: &Enforced) -> impl Iterator<Item = (Option<u32>, &[Rule])> {
    let capabilities = enforced.capabilities.iter().map(|(id, list)| (Some(*id), list.as_slice()));
    std::iter::once((None, enforced.base.as_slice())).chain(capabilities)
}

/// The decompiled text with the line in the network's source behind each statement.
fn annotated(decompiled: &Decompiled, enforced: &Enforced) -> String {
    let mut notes = BTreeMap::new();
    for (capability, list) in lists(enforced) {
        let lines = match capability {
            None => Some(&decompiled.base_lines),
            Some(id) => {
                decompiled.capability_lines.iter().find(|(known, _)| *known == id).map(|(_, lines)| lines)
            }
        };
        for (entry, first) in statements(capability, list) {
            let place = match enforced.place(entry) {
                (Some(line), Some(at)) => format!("line {line}, included at line {at}"),
                (Some(line), None) => format!("line {line}"),
                (None, _) => continue,
            };
            if let Some(line) = lines.and_then(|lines| lines.get(first)) {
                notes.insert(*line, place);
            }
        }
    }
    let mut text = String::new();
    for (number, line) in (1..).zip(decompiled.text.lines()) {
        match notes.get(&number) {
            Some(note) => text += &format!("{line:<60} # {note}\n"),
            None => text += &format!("{line}\n"),
        }
    }
    text
}

/// Hits beside statements.
fn table(id: &str, enforced: &Enforced) -> String {
    let book = enforced.book();
    let mut text = format!(
        "network {id} on this node ({:010x}), packets since the rules changed:\n\n",
        enforced.address
    );
    let mut row = |hits: u64, line: &str, statement: &str| {
        text += &format!("{hits:>12}  {line:>5}  {statement}\n");
    };
    let mut heads: Vec<u32> = Vec::new();
    for (capability, list) in lists(enforced) {
        for (entry, _) in statements(capability, list) {
            if let Some(id) = capability.filter(|id| !heads.contains(id)) {
                heads.push(id);
                row(
                    statements(capability, list).iter().map(|(entry, _)| enforced.hits(*entry)).sum(),
                    "",
                    &format!("capability {id}:"),
                );
            }
            let line = enforced.place(entry).0.map_or(String::new(), |line| line.to_string());
            row(enforced.hits(entry), &line, book.text(Some(entry)));
        }
    }
    row(enforced.nothing_matched(), "", "(no statement decided: dropped)");
    text.replacen("\n\n", "\n\n        HITS   LINE  STATEMENT\n", 1)
}

fn enforced_json(id: &str, enforced: &Enforced) -> Value {
    let book = enforced.book();
    let all: Vec<Value> = lists(enforced)
        .flat_map(|(capability, list)| statements(capability, list))
        .map(|(entry, _)| {
            let mut one = super::place_json(&book, Some(entry));
            super::put(&mut one, "hits", enforced.hits(entry));
            one
        })
        .collect();
    let text = decompiled(&enforced.base, &enforced.capabilities, &Names::default()).text;
    json!({
        "network": id, "from": "member", "address": format!("{:010x}", enforced.address), "text": text,
        "statements": all, "nothingMatched": enforced.nothing_matched(),
    })
}
