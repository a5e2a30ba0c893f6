//! `rules test`: cases against rules.

use std::path::Path;

use flowrules::cases::{self, Case, File, Outcome as CaseOutcome, Scenes, expected_words};
use flowrules::explain::{Fate, fate, tell, verdict_words};
use protocol::{Address, Mac, NetworkId};
use serde_json::{Value, json};

use super::{Compiled, Source, place_json, put, read_text};
use crate::args::Common;
use crate::commands::controller::print;
use crate::failure::{Failure, Io, Outcome};

pub(super) fn run(
    program: &str,
    common: &Common,
    rules: &Path,
    cases: &Path,
    tap: bool,
    io: &mut Io<'_>,
) -> Outcome {
    let compiled = Source::read(program, rules)?.compile(false)?;
    let (name, text) = read_text(program, cases, cases::MAX_FILE)?;
    let wrong = |error: cases::CaseError| Failure::error(error.render(&name, &text).trim_end()).with_code(2);
    let file = cases::parse(&text).map_err(wrong)?;
    if file.cases.is_empty() {
        return Err(Failure::usage(format!("{program}: {name} has no case"))
            .hint("A case is a line such as: aws -> gcp tcp > 22 syn : drop by line 4"));
    }
    let mac = |address| member_mac(file.network, address);
    let scenes =
        Scenes::new(&file, compiled.rules(), &compiled.book, &compiled.vocabulary, &mac).map_err(wrong)?;
    let mut done = Vec::new();
    for case in &file.cases {
        done.push((case, scenes.run(case).map_err(wrong)?));
    }
    let failed = done.iter().filter(|(_, outcome)| !outcome.unmet.is_empty()).count();
    if common.json {
        let cases: Vec<Value> =
            done.iter().map(|(case, outcome)| case_json(&compiled, case, outcome)).collect();
        print(&json!({"passed": done.len() - failed, "failed": failed, "cases": cases}), io)?;
    } else if tap {
        writeln!(io.out, "TAP version 14\n1..{}", done.len())?;
        for (number, (case, outcome)) in (1..).zip(&done) {
            let ok = if outcome.unmet.is_empty() { "ok" } else { "not ok" };
            // A # would begin a directive.
            writeln!(io.out, "{ok} {number} - line {}: {}", case.line, case.text.replace('#', " "))?;
            if !outcome.unmet.is_empty() {
                for line in failure(&compiled, &file, case, outcome).lines() {
                    writeln!(io.out, "# {line}")?;
                }
            }
        }
    } else {
        for (case, outcome) in done.iter().filter(|(_, outcome)| !outcome.unmet.is_empty()) {
            writeln!(io.out, "FAILED {name}:{}: {}", case.line, case.text)?;
            write!(io.out, "{}", failure(&compiled, &file, case, outcome))?;
        }
        writeln!(io.out, "{} of {} cases as expected", done.len() - failed, done.len())?;
    }
    if failed == 0 { Ok(()) } else { Err(Failure::error("")) }
}

/// The MAC of a member of that network; without a network one that is as good as any.
pub(super) fn member_mac(network: Option<u64>, address: u64) -> [u8; 6] {
    match network.map(NetworkId) {
        Some(network) => Mac::for_member(network, Address::from_u64(address)).0,
        None => {
            let [_, _, _, a, b, c, d, e] = address.to_be_bytes();
            [2, a, b, c, d, e]
        }
    }
}

/// Expected and actual, with the statements that decided.
fn failure(compiled: &Compiled, file: &File, case: &Case, outcome: &CaseOutcome) -> String {
    let all: Vec<String> = case.expected.iter().map(expected_words).collect();
    let mut text = format!("  expected  {}\n", all.join(", "));
    if all.len() > 1 {
        text += &format!("  not met   {}\n", outcome.unmet.join(", "));
    }
    let naming = |address| file.name_of(address);
    text += "  actual\n";
    for line in tell(&outcome.walks, &compiled.rules(), &compiled.book, &naming, false).lines() {
        text += &format!("    {line}\n");
    }
    text
}

fn case_json(compiled: &Compiled, case: &Case, outcome: &CaseOutcome) -> Value {
    json!({
        "line": case.line,
        "case": case.text,
        "expected": case.expected.iter().map(expected_words).collect::<Vec<_>>(),
        "ok": outcome.unmet.is_empty(),
        "failure": (!outcome.unmet.is_empty()).then_some(&outcome.unmet),
        "fate": fate_json(&outcome.walks),
        "sides": sides_json(compiled, outcome),
    })
}

fn sides_json(compiled: &Compiled, outcome: &CaseOutcome) -> Vec<Value> {
    outcome.walks.iter().map(|walk| side_json(&compiled.book, walk)).collect()
}

/// `accepted`, `dropped` or `redirected`.
pub(super) fn fate_json(walks: &[flowrules::explain::Walk]) -> &'static str {
    match fate(walks) {
        Fate::Accepted => "accepted",
        Fate::Dropped(_) => "dropped",
        Fate::Redirected(..) => "redirected",
    }
}

/// One walk: `side`, `verdict`, the place of what decided, `redirect`, `copies`, `byChance`.
pub(super) fn side_json(book: &flowrules::explain::Book, walk: &flowrules::explain::Walk) -> Value {
    use flowrules::explain::Side;
    let side = match walk.side {
        Side::SenderToAll => "sender-to-all",
        Side::Sender => "sender",
        Side::Receiver => "receiver",
    };
    let address = |address: u64| format!("{address:010x}");
    let copies: Vec<Value> = walk
        .verdict
        .copies
        .iter()
        .map(|copy| {
            let mut one = place_json(book, Some(copy.by));
            put(&mut one, "to", address(copy.target));
            put(&mut one, "watch", copy.watch);
            put(&mut one, "length", copy.length);
            one
        })
        .collect();
    let mut value = place_json(book, walk.verdict.by);
    put(&mut value, "side", side);
    put(&mut value, "verdict", verdict_words(&walk.verdict, &address).split([' ', ',']).next());
    put(&mut value, "redirect", walk.verdict.redirect.map(address));
    put(&mut value, "copies", copies);
    put(&mut value, "byChance", walk.by_chance);
    value
}
