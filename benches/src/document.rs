//! From a result file to `docs/performance.md` and its picture.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::metric::Metric;
use crate::picture;
use crate::report::render;

/// Between these lines the tables of the document are ours.
const BEGIN: &str = "<!-- ztbench: begin -->";
const END: &str = "<!-- ztbench: end -->";
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance.md");
const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance.svg");

/// Prints the tables of a result, puts them between the marks in the document, and draws the picture.
pub(crate) fn update(file: &Path) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let result: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))?;
    let tables = tables(&result).with_context(|| format!("{} is no result of ztbench", file.display()))?;
    println!("{tables}");
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let described = description(&result);
    let block = format!(
        "{described} All rounds: [benches/results/{name}](../benches/results/{name}).\n\n\
         ![Throughput and cost beside other systems](performance.svg)\n\n{tables}"
    );
    let document = fs::read_to_string(DOCUMENT).with_context(|| format!("cannot read {DOCUMENT}"))?;
    fs::write(DOCUMENT, replaced(&document, &block)?).with_context(|| format!("cannot write {DOCUMENT}"))?;
    fs::write(PICTURE, picture::draw(&result)?).with_context(|| format!("cannot write {PICTURE}"))?;
    Ok(())
}

/// The document with `block` between the marks.
fn replaced(document: &str, block: &str) -> Result<String> {
    let parts = document.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.with_context(|| format!("no lines `{BEGIN}` and `{END}` in {DOCUMENT}"))?;
    Ok(format!("{before}{BEGIN}\n{}\n{END}{after}", block.trim_end()))
}

/// What was measured on what, a sentence.
fn description(result: &Value) -> String {
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
        "{}. {} rounds of {} s a stream, underlay: {}{pinned}; {} cores of {}, Linux {}, load before: {}.",
        versions.join(", "),
        rounds,
        result["conditions"]["streamSeconds"],
        text(&result["conditions"]["underlay"]),
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
    let cell = |summary: &Value, show: &dyn Fn(f64) -> String| {
        let figure = |name| summary[name].as_f64().map(show);
        match (figure("median"), figure("min"), figure("max")) {
            (Some(median), Some(min), Some(max)) => format!("{median} ({min}–{max})"),
            _ => "–".to_owned(),
        }
    };
    let table = |systems: &[String], title: &dyn Fn(&String) -> String, of: &str, ratio: bool| {
        let mut rows = vec![vec![String::new()]];
        rows[0].extend(systems.iter().map(title));
        for metric in Metric::ALL {
            let show = |value: f64| if ratio { format!("{value:.2}") } else { metric.format(value) };
            let cells: Vec<String> =
                systems.iter().map(|name| cell(&result["systems"][name][of][metric.key()], &show)).collect();
            if cells.iter().any(|cell| cell != "–") {
                rows.push([vec![metric.title().to_owned()], cells].concat());
            }
        }
        render(&rows)
    };
    let medians = table(&systems, &String::clone, "summary", false);
    let ours = &systems[0];
    let ratios = table(&systems[1..], &|name| format!("{ours} / {name}"), "oursDividedByThis", true);
    Ok(format!("{medians}\nRatios, formed in each round:\n\n{ratios}"))
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
    fn only_what_is_between_the_marks_changes() {
        let document = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = replaced(&document, "new\n").unwrap();
        assert_eq!(new, format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert_eq!(replaced(&new, "new\n").unwrap(), new);
        assert!(replaced("nothing", "new").is_err());
    }

    #[test]
    fn the_document_has_the_marks() {
        assert!(replaced(&fs::read_to_string(DOCUMENT).unwrap(), "").is_ok());
    }
}
