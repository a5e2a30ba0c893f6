//! `rules check`: what is probably not meant.

use std::path::Path;

use api::Member;
use flowrules::language::{Options, Place, compile};
use flowrules::lint::{Finding, Known, lint};
use serde_json::{Value, json};

use super::{Compiled, Source};
use crate::args::Common;
use crate::commands::Session;
use crate::commands::controller::{all_members, network_id, print};
use crate::failure::{Failure, Io, Outcome};

pub(super) fn run(
    program: &str,
    common: Common,
    file: &Path,
    network: Option<&str>,
    strict: bool,
    io: &mut Io<'_>,
) -> Outcome {
    let source = Source::read(program, file)?;
    let json = common.json;
    let members = match network {
        Some(network) => {
            let session = Session::open(program, common)?;
            Some(addresses(&session, &network_id(&session, network)?)?)
        }
        None => None,
    };
    if json && let Err(error) = compile(&source.text, &Options { strict }) {
        let place = error.place(&source.text);
        print(
            &json!({
                "ok": false,
                "error": {
                    "line": place.line, "column": place.column, "includedAt": place.included_at,
                    "message": error.message, "hint": error.hint,
                },
                "warnings": [],
            }),
            io,
        )?;
        return Err(Failure::error(""));
    }
    let compiled = source.compile(strict)?;
    let findings = findings(&compiled, members.as_deref());
    let ok = findings.is_empty() || !strict;
    if json {
        let warnings: Vec<Value> = findings.iter().map(finding_json).collect();
        print(&json!({"ok": ok, "error": null, "warnings": warnings}), io)?;
    } else {
        write!(io.err, "{}", warnings(&compiled, &findings))?;
        let many = match findings.len() {
            0 => "no warnings".to_owned(),
            many => count(many, "warning"),
        };
        writeln!(io.out, "{}: {}; {many}", compiled.source.name, in_words(counts(&compiled)))?;
    }
    if ok { Ok(()) } else { Err(Failure::error("")) }
}

/// The same in words.
pub(super) fn in_words((entries, capabilities, tags): (usize, usize, usize)) -> String {
    [count(entries, "entry"), count(capabilities, "capability"), count(tags, "tag")].join(", ")
}

fn count(number: usize, noun: &str) -> String {
    crate::text::count(i64::try_from(number).unwrap_or(i64::MAX), noun)
}

/// How many entries of the network's own list, capabilities and tags.
pub(super) fn counts(compiled: &Compiled) -> (usize, usize, usize) {
    let program = &compiled.program;
    (program.base.rules.len(), program.capabilities.len(), program.tags.len())
}

/// The lints, with the targets of copies held against the members if they are known.
pub(super) fn findings(compiled: &Compiled, members: Option<&[u64]>) -> Vec<Finding> {
    lint(&compiled.program, &compiled.source.text, &Known { members })
}

/// The addresses of all members of a network of the controller here that are let in.
pub(super) fn addresses(session: &Session, network: &str) -> Result<Vec<u64>, Failure> {
    let members: Vec<Member> = api::all(&all_members(session, network)?);
    let inside = members.iter().filter(|member| member.authorized);
    Ok(inside.map(|member| member.address.to_u64()).collect())
}

pub(super) fn finding_json(finding: &Finding) -> Value {
    json!({
        "code": finding.code, "line": finding.place.line, "column": finding.place.column,
        "includedAt": finding.place.included_at, "message": finding.message, "hint": finding.hint,
    })
}

/// The findings for people, each on four lines like an error.
pub(super) fn warnings(compiled: &Compiled, findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { place, code, message, hint } in findings {
        let Source { name, text: source } = &compiled.source;
        text += &format!("warning: {name} line {} column {}: {message} [{code}]\n", place.line, place.column);
        text += &underlined(source, place);
        text += &format!("hint: {hint}\n");
    }
    text
}

/// The line a place is on, with the word underlined.
fn underlined(source: &str, place: &Place) -> String {
    let number = usize::try_from(place.line).unwrap_or(1).saturating_sub(1);
    let line = source.lines().nth(number).unwrap_or_default();
    let before = usize::try_from(place.column).unwrap_or(1).saturating_sub(1);
    let shown: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let word = line.chars().skip(before).take_while(|c| !c.is_whitespace() && *c != ';').count();
    format!("  {shown}\n  {:before$}{}\n", "", "^".repeat(word.max(1)))
}
