//! Walks in words.

use super::{Book, Rules, Side, Walk};
use crate::evaluate::{Accept, Outcome, Step, Verdict};
use crate::rule::{Kind, Rule};

/// How [`tell`] calls a node.
pub type Naming<'a> = dyn Fn(u64) -> String + 'a;

/// The walks in words, several lines, each with its newline. `verbose` adds what every match gave.
pub fn tell(walks: &[Walk], rules: &Rules<'_>, book: &Book, naming: &Naming<'_>, verbose: bool) -> String {
    let mut text = String::new();
    for walk in walks {
        let verdict = &walk.verdict;
        let about = match walk.side {
            Side::SenderToAll => "sender, outbound, to whom is not decided yet",
            Side::Sender => "sender, outbound",
            Side::Receiver => "receiver, inbound",
        };
        let what = verdict_words(verdict, naming);
        text += &format!("{about}: {what} by {}\n", book.name(verdict.by));
        line_of(&mut text, book.text(verdict.by));
        if verdict.by.is_none() {
            line_of(&mut text, "(no statement decided, and what nothing accepts is dropped)");
        } else if verdict.accept == Accept::Drop && ended_by_break(walk) {
            line_of(&mut text, "(break ended the network's rules, and no capability accepted)");
        }
        for copy in verdict.copies.iter() {
            let what = if copy.watch { "watched by" } else { "copied to" };
            let target = naming(copy.target);
            text += &format!("  {what} {target} ({} bytes) by {}\n", copy.length, book.name(Some(copy.by)));
            line_of(&mut text, book.text(Some(copy.by)));
        }
        if walk.by_chance {
            text +=
                "  left to chance: a random match took part; it counts as matching from probability 0.5 on\n";
        }
        if verbose {
            steps(&mut text, walk, rules, book);
        }
    }
    text
}

/// `accepted`, `dropped`, `redirected to …`.
pub fn verdict_words(verdict: &Verdict, naming: &Naming<'_>) -> String {
    match (verdict.redirect, verdict.accept) {
        (Some(target), _) => format!("redirected to {}", naming(target)),
        (None, Accept::Drop) => "dropped".to_owned(),
        (None, Accept::Accept) => "accepted".to_owned(),
        (None, Accept::SuperAccept) => "accepted, whatever its MACs are,".to_owned(),
    }
}

fn ended_by_break(walk: &Walk) -> bool {
    walk.lists.first().is_some_and(|list| list.outcome == Outcome::NoMatch)
}

fn line_of(text: &mut String, statement: &str) {
    if !statement.is_empty() {
        *text += &format!("    {statement}\n");
    }
}

fn steps(text: &mut String, walk: &Walk, rules: &Rules<'_>, book: &Book) {
    for list in &walk.lists {
        let whose = match list.capability {
            None => "the network's rules".to_owned(),
            Some(_) => book.of_capability(list.capability).replacen(" of ", "", 1),
        };
        *text += &format!("  {whose}:\n");
        let entries = rules.list(list.capability);
        let chapter = book.chapter(list.capability);
        for (index, (step, rule)) in list.steps.iter().zip(entries).enumerate() {
            let words = chapter.and_then(|chapter| chapter.words.get(index)).map_or("?", String::as_str);
            let place = chapter
                .and_then(|chapter| chapter.statements.get(index))
                .and_then(|statement| statement.line)
                .map_or(String::new(), |line| line.to_string());
            let first = index == 0 || entries.get(index - 1).is_some_and(|rule| rule.kind.is_action());
            let place = if first || rule.kind.is_action() { place } else { String::new() };
            *text += &format!("    {place:>4}  {words:<44} {}\n", step_words(*step, rule));
        }
        let ended = match list.outcome {
            Outcome::NoMatch => "ended without a decision",
            Outcome::Drop => "ended in drop",
            Outcome::Redirect(_) => "ended in redirect",
            Outcome::Accept | Outcome::SuperAccept => "ended in accept",
        };
        *text += &format!("          {ended}\n");
    }
}

/// What a step comes to, for a table.
pub fn step_words(step: Step, rule: &Rule) -> &'static str {
    let about_tags = matches!(rule.kind.number(), 44..=50);
    match step {
        Step::Skipped => "not looked at",
        Step::Match { outcome: true, forced: true, .. } if about_tags => {
            "yes, for the tag is not known on this side: the receiver will judge"
        }
        Step::Match { outcome: true, forced: true, .. } if rule.not => "yes: \"not\" does not turn this one",
        Step::Match { outcome: true, .. } => "yes",
        Step::Match { outcome: false, forced: true, .. } if about_tags => "no: a tag is missing",
        Step::Match { outcome: false, forced: true, .. } if !matches!(rule.kind, Kind::Icmp { .. }) => {
            "no: cannot be asked of this packet"
        }
        Step::Match { outcome: false, .. } => "no",
        Step::Taken if matches!(rule.kind, Kind::Tee(_) | Kind::Watch(_)) => "TAKEN, and on",
        Step::Taken => "TAKEN",
        Step::NotTaken => "not taken",
        Step::Disarmed => "passed over: a tag is not known on this side, the receiver will judge",
        Step::Ignored => "means nothing here",
    }
}
