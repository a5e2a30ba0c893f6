//! From result files to `docs/performance.md` and its picture, and to `docs/reliability.md`.

mod others;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::goals;
use crate::metric::Metric;
use crate::picture;
use crate::recovery;
use crate::report::render;

/// Between two such lines, with the name of a result after the first word, the document is ours.
const BEGIN: &str = "<!-- ztbench: begin";
const END: &str = "<!-- ztbench: end -->";
/// Results that have a place of their own in the document, when they lie beside the main one.
const OTHERS: [&str; 7] = ["plain", "mixed", "mtus", "rules", "integrity", "reordering", "idle"];
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance.md");
const RELIABILITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reliability.md");
const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance.svg");

/// Cells without a figure: where none is to be had, and where one should have been.
const NONE: &str = "–";
const FAILED: &str = "failed";

/// Prints the tables of a result, puts them between the marks in the document, and draws the picture. So it does with other
/// results that lie beside it, as far as the document has a place for them.
pub(crate) fn update(file: &Path) -> Result<()> {
    let result = read(file)?;
    if recovery::is_result(&result) {
        return update_reliability(file, &result);
    }
    let tables = tables(&result).with_context(|| format!("{} is no result of ztbench", file.display()))?;
    println!("{tables}");
    let document = fs::read_to_string(DOCUMENT).with_context(|| format!("cannot read {DOCUMENT}"))?;
    let block = format!(
        "{} {}\n\n![Throughput and cost beside other systems](performance.svg)\n\n{tables}",
        description(&result),
        link(file)
    );
    let mut document = replaced(&document, None, &block)
        .with_context(|| format!("no lines `{BEGIN} -->` and `{END}` in {DOCUMENT}"))?;
    for name in OTHERS {
        let beside = file.with_file_name(format!("{name}.json"));
        if !beside.is_file() {
            continue;
        }
        let block = others::block(&read(&beside)?).map(|block| format!("{block}\n{}", link(&beside)));
        if let Some(new) = block.and_then(|block| replaced(&document, Some(name), &block)) {
            document = new;
        }
    }
    fs::write(DOCUMENT, document).with_context(|| format!("cannot write {DOCUMENT}"))?;
    fs::write(PICTURE, picture::draw(&result)?).with_context(|| format!("cannot write {PICTURE}"))?;
    Ok(())
}

/// Puts the tables of how pairs recover between the marks with the names of the parts in `docs/reliability.md`.
fn update_reliability(file: &Path, result: &Value) -> Result<()> {
    let mut document =
        fs::read_to_string(RELIABILITY).with_context(|| format!("cannot read {RELIABILITY}"))?;
    for (name, machine, table) in recovery::parts(result)? {
        println!("{table}");
        let block = format!("{}.\n\n{}\n\n{}", on(machine), table.trim_end(), link(file));
        document = replaced(&document, Some(name), &block)
            .with_context(|| format!("no lines `{BEGIN} {name} -->` and `{END}` in {RELIABILITY}"))?;
    }
    fs::write(RELIABILITY, document).with_context(|| format!("cannot write {RELIABILITY}"))
}

fn read(file: &Path) -> Result<Value> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))
}

fn link(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    format!("All rounds: [benches/results/{name}](../benches/results/{name}).")
}

/// The document with `block` between the marks of `name`; `None` when there are none.
fn replaced(document: &str, name: Option<&str>, block: &str) -> Option<String> {
    let begin = name.map_or_else(|| format!("{BEGIN} -->"), |name| format!("{BEGIN} {name} -->"));
    let (before, rest) = document.split_once(&begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{begin}\n{}\n{END}{after}", block.trim_end()))
}

/// What was measured on what, a sentence.
pub(crate) fn description(result: &Value) -> String {
    let machine = &result["machine"];
    let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let versions: Vec<String> = order(result)
        .iter()
        .filter_map(|name| {
            let version =
                result["systems"][name]["version"].as_str().filter(|version| !version.is_empty())?;
            Some(format!("{name} ({version})"))
        })
        .collect();
    let rounds = result["systems"][text(&result["ours"])]["rounds"].as_array().map_or(0, Vec::len);
    let pinned = if result["conditions"]["oneCoreASide"] == true { ", one core a side" } else { "" };
    format!(
        "{}. {} rounds of {} s a stream, underlay: {}{pinned}; {}.",
        versions.join(", "),
        rounds,
        result["conditions"]["streamSeconds"],
        text(&result["conditions"]["underlay"]),
        on(machine)
    )
}

/// The machine, in words.
fn on(machine: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    format!(
        "{} cores of {}, Linux {}, load before: {}",
        machine["cores"],
        text(&machine["cpu"]),
        text(&machine["kernel"]),
        text(&machine["loadAverage"]).split(' ').next().unwrap_or_default(),
    )
}

/// The names of the systems, ours first.
pub(crate) fn order(result: &Value) -> Vec<String> {
    let list = result["order"].as_array().cloned().unwrap_or_default();
    list.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
}

/// The median of a figure of a system.
pub(crate) fn median(result: &Value, system: &str, metric: Metric) -> Option<f64> {
    result["systems"][system]["summary"][metric.key()]["median"].as_f64()
}

/// Two Markdown tables: medians with their ranges, a row a figure and a column a system; and our ratios to the others.
pub(crate) fn tables(result: &Value) -> Result<String> {
    let systems = order(result);
    ensure!(systems.len() > 1, "it names fewer than two systems");
    let cell = |name: &String, summary: &Value, show: &dyn Fn(f64) -> String| {
        let figure = |name| summary[name].as_f64().map(show);
        match (figure("median"), figure("min"), figure("max")) {
            (Some(median), Some(min), Some(max)) => format!("{median} ({min}–{max})"),
            _ if result["systems"][name]["failed"].is_string() => FAILED.to_owned(),
            _ => NONE.to_owned(),
        }
    };
    let table = |systems: &[String], title: &dyn Fn(&String) -> String, of: &str, ratio: bool| {
        let mut rows = vec![vec![String::new()]];
        rows[0].extend(systems.iter().map(title));
        for metric in Metric::ALL {
            let show = |value: f64| if ratio { format!("{value:.2}") } else { metric.format(value) };
            let cells: Vec<String> = systems
                .iter()
                .map(|name| cell(name, &result["systems"][name][of][metric.key()], &show))
                .collect();
            if cells.iter().any(|cell| cell != NONE && cell != FAILED) {
                rows.push([vec![metric.title().to_owned()], cells].concat());
            }
        }
        render(&rows)
    };
    let medians = table(&systems, &String::clone, "summary", false);
    let ratios = if let Some(baseline) = result["baseline"].as_str() {
        let others: Vec<String> = systems.iter().filter(|name| *name != baseline).cloned().collect();
        table(&others, &|name| format!("{name} / {baseline}"), "dividedByBaseline", true)
    } else {
        let ours = &systems[0];
        table(&systems[1..], &|name| format!("{ours} / {name}"), "oursDividedByThis", true)
    };
    let aims =
        goals::table(result).map(|table| format!("\nWhat is aimed at:\n\n{table}")).unwrap_or_default();
    Ok(format!("{medians}\nRatios, formed in each round:\n\n{ratios}{aims}{}", troubles(result)))
}

/// What did not go as planned, a list; empty when everything did.
fn troubles(result: &Value) -> String {
    let mut lines = Vec::new();
    for name in order(result) {
        if let Some(why) = result["systems"][&name]["failed"].as_str() {
            lines.push(format!("{name} {}", one_line(why)));
        }
    }
    for failure in result["failures"].as_array().into_iter().flatten() {
        let text = |key: &str| one_line(failure[key].as_str().unwrap_or_default());
        let (system, part, why) = (text("system"), text("part"), text("why"));
        lines.push(format!("{system}, round {}, {part}: {why}", failure["round"]));
    }
    for note in result["notes"].as_array().into_iter().flatten() {
        lines.push(note.as_str().unwrap_or_default().to_owned());
    }
    if lines.is_empty() {
        return String::new();
    }
    format!("\nNot as planned:\n\n- {}\n", lines.join("\n- "))
}

/// The first line of a message, not longer than a reader wants.
fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn result() -> Value {
        let summary = |median: f64| json!({"tcp1Gbps": {"median": median, "min": 1.0, "max": 9.0}});
        json!({
            "ours": "ztnode", "order": ["ztnode", "other"], "conditions": {"streamSeconds": 3},
            "systems": {
                "ztnode": {"summary": summary(4.0), "rounds": [{}, {}]},
                "other": {"summary": summary(2.0), "oursDividedByThis": summary(2.0), "rounds": [{}, {}]},
            },
        })
    }

    #[test]
    fn tables_show_what_there_is() {
        let text = tables(&result()).unwrap();
        assert!(text.contains("| 4.00 (1.00–9.00) | 2.00 (1.00–9.00) |"), "{text}");
        assert!(text.contains("ztnode / other"), "{text}");
        assert!(!text.contains("RTT"), "{text}");
        assert!(tables(&json!({})).is_err());
    }

    #[test]
    fn tables_say_what_failed() {
        let mut result = result();
        result["order"] = json!(["ztnode", "other", "gone"]);
        result["systems"]["gone"] = json!({"failed": "does not start: no such device\nlog", "rounds": []});
        result["failures"] =
            json!([{"system": "other", "round": 2, "part": "TCP, 4 streams", "why": "no route"}]);
        let text = tables(&result).unwrap();
        assert!(text.contains("| failed "), "{text}");
        assert!(text.contains("- gone does not start: no such device\n"), "{text}");
        assert!(text.contains("- other, round 2, TCP, 4 streams: no route\n"), "{text}");
    }

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let document = format!("a\n{BEGIN} -->\nold\n{END}\nb\n{BEGIN} mixed -->\nold\n{END}\nc\n");
        let new = replaced(&document, None, "new\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN} -->\nnew\n{END}\nb\n{BEGIN} mixed -->\nold\n{END}\nc\n"));
        assert_eq!(replaced(&new, None, "new\n").unwrap(), new);
        let new = replaced(&new, Some("mixed"), "other").unwrap();
        assert_eq!(new, format!("a\n{BEGIN} -->\nnew\n{END}\nb\n{BEGIN} mixed -->\nother\n{END}\nc\n"));
        assert!(replaced(&document, Some("rules"), "new").is_none());
    }

    #[test]
    fn the_document_has_the_marks() {
        assert!(replaced(&fs::read_to_string(DOCUMENT).unwrap(), None, "").is_some());
        let reliability = fs::read_to_string(RELIABILITY).unwrap();
        for name in recovery::PARTS {
            assert!(replaced(&reliability, Some(name), "").is_some(), "{name}");
        }
    }
}
