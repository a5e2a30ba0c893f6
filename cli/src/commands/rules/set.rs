//! `rules set`: new rules for a network of the controller here.

use std::path::Path;

use api::{Network, RuleList};
use flowrules::{Rule, from_json};
use hyper::Method;
use serde_json::{Value, json};

use super::check::{addresses, counts, finding_json, findings, warnings};
use super::{Compiled, Source, on_controller};
use crate::commands::Session;
use crate::commands::controller::{print, request};
use crate::failure::{Failure, Io, Outcome};
use crate::text;

pub(super) fn run(session: &Session, network: &str, file: &Path, dry_run: bool, io: &mut Io<'_>) -> Outcome {
    // What does not compile is refused before anybody is asked.
    let compiled = Source::read(&session.program, file)?.compile(false)?;
    let record = on_controller(session, network)?.ok_or_else(|| {
        Failure::usage(format!(
            "{}: the controller here keeps no network {}",
            session.program,
            text::printable(network)
        ))
        .hint("Rules are set on the controller of a network; see `ztnode-cli network list`.")
    })?;
    let id = record.id.to_string();
    let members = addresses(session, &id)?;
    let findings = findings(&compiled, Some(&members));
    if !dry_run {
        put(session, &id, &compiled)?;
    }
    let (entries, capabilities, tags) = counts(&compiled);
    if session.common.json {
        let warnings: Vec<Value> = findings.iter().map(finding_json).collect();
        return print(
            &json!({
                "network": id, "rules": entries, "capabilities": capabilities, "tags": tags,
                "members": members.len(), "warnings": warnings, "applied": !dry_run,
            }),
            io,
        );
    }
    write!(io.err, "{}", warnings(&compiled, &findings))?;
    let what = super::check::in_words((entries, capabilities, tags));
    let who = match members.len() {
        0 => "no member yet".to_owned(),
        1 => "1 member".to_owned(),
        many => format!("{many} members"),
    };
    if dry_run {
        return Ok(writeln!(
            io.out,
            "network {id}: {what} would go to {who}; nothing is changed (--dry-run)"
        )?);
    }
    Ok(writeln!(io.out, "network {id}: {what} in force; they go to {who}")?)
}

/// Posts the source, which our controller compiles. One that only keeps it (the reference does) gets the compiled rules
/// as well.
fn put(session: &Session, id: &str, compiled: &Compiled) -> Outcome {
    let path = format!("/controller/network/{id}");
    let mut body = json!({"rulesSource": compiled.source.text});
    let record = request(session, Method::POST, &path, Some(&body))?;
    if in_force(&api::of(&record), compiled) {
        return Ok(());
    }
    if let (Value::Object(body), Value::Object(config)) = (&mut body, compiled.program.config()) {
        body.extend(config);
    }
    let record = request(session, Method::POST, &path, Some(&body))?;
    if in_force(&api::of(&record), compiled) {
        return Ok(());
    }
    Err(Failure::error(format!(
        "{}: the controller did not take the rules as they are; what is in force now: ztnode-cli rules show {id}",
        session.program
    )))
}

/// Whether the rules of a network's record are those of a program.
pub(super) fn in_force(record: &Network, compiled: &Compiled) -> bool {
    let program = &compiled.program;
    let same = |list: &RuleList, rules: &[Rule]| {
        let list = list.json();
        list.len() == rules.len()
            && list.iter().zip(rules).all(|(value, rule)| from_json(value).as_ref() == Some(rule))
    };
    same(&record.rules, &program.base.rules)
        && record.capabilities.len() == program.capabilities.len()
        && program.capabilities.iter().all(|one| {
            let mut kept = record.capabilities.iter();
            kept.any(|kept| kept.id == one.id && same(&kept.rules, &one.section.rules))
        })
}
