//! The figures of a run, and the JSON file they go to.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::machine;
use crate::metric::{Metric, Sample};
use crate::plan::Conditions;
use crate::statistics::{Summary, summarize};

/// The results of a run. Ratios are the first system's to each other one's.
pub(crate) struct Report {
    systems: Vec<Entry>,
    samples: Vec<Vec<Sample>>,
    /// The system all others are divided by, in place of ours by each.
    baseline: Option<usize>,
    failures: Vec<Value>,
    notes: Vec<String>,
    conditions: Value,
    machine: Value,
}

/// A system that takes part.
struct Entry {
    name: String,
    version: String,
    /// Why it does not any more.
    out: Option<String>,
}

impl Report {
    /// A report without samples.
    pub(crate) fn new(systems: &[&str], conditions: Conditions) -> Self {
        let conditions = json!({
            "streamSeconds": conditions.length.as_secs(),
            "underlay": conditions.underlay.name(),
            "oneCoreASide": conditions.pinned,
        });
        Self::of(systems, conditions)
    }

    fn of(systems: &[&str], conditions: Value) -> Self {
        let entry = |name: &&str| Entry { name: (*name).to_owned(), version: String::new(), out: None };
        Self {
            systems: systems.iter().map(entry).collect(),
            samples: systems.iter().map(|_| Vec::new()).collect(),
            baseline: None,
            failures: Vec::new(),
            notes: Vec::new(),
            conditions,
            machine: machine::describe(),
        }
    }

    /// Divides every system by the one called `name`, in place of the first by each other.
    pub(crate) fn set_baseline(&mut self, name: &str) {
        self.baseline = self.systems.iter().position(|system| system.name == name);
    }

    /// System `index` runs, and says it is this version.
    pub(crate) fn started(&mut self, index: usize, version: &str) {
        version.clone_into(&mut self.systems[index].version);
    }

    /// A measurement failed.
    pub(crate) fn failed(&mut self, index: usize, round: u32, part: &str, why: &str) {
        let system = &self.systems[index].name;
        self.failures.push(json!({"system": system, "round": round, "part": part, "why": why}));
    }

    /// System `index` takes part no more.
    pub(crate) fn give_up(&mut self, index: usize, why: &str) {
        self.systems[index].out = Some(why.to_owned());
    }

    /// Something that readers of the tables should know.
    pub(crate) fn note(&mut self, text: &str) {
        eprintln!("{text}");
        self.notes.push(text.to_owned());
    }

    /// Adds the figures of one round of system `index`.
    pub(crate) fn add(&mut self, index: usize, sample: Sample) {
        self.samples[index].push(sample);
    }

    fn summary(&self, index: usize, metric: Metric) -> Option<Summary> {
        summarize(self.samples[index].iter().filter_map(|sample| sample.get(metric)))
    }

    /// System `above` divided by system `below`, formed in each round.
    fn ratio(&self, above: usize, below: usize, metric: Metric) -> Option<Summary> {
        if !metric.is_compared() {
            return None;
        }
        let pairs = self.samples[above].iter().zip(&self.samples[below]);
        let ratios = pairs.filter_map(|(ours, theirs)| Some(ours.get(metric)? / theirs.get(metric)?));
        // Nothing is divided by nothing.
        summarize(ratios.filter(|ratio| ratio.is_finite()))
    }

    /// Everything, as it is written down.
    pub(crate) fn json(&self) -> Value {
        let shown = |summary: Option<Summary>| match summary {
            None => Value::Null,
            Some(Summary { median, min, max }) => json!({"median": median, "min": min, "max": max}),
        };
        let metrics = |of: &dyn Fn(Metric) -> Value| -> Value {
            let all = Metric::ALL.iter().map(|metric| (metric.key().to_owned(), of(*metric)));
            all.filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>().into()
        };
        let mut systems = Map::new();
        for (index, system) in self.systems.iter().enumerate() {
            let mut entry = json!({
                "version": system.version,
                "summary": metrics(&|m| shown(self.summary(index, m))),
                "rounds": self.samples[index].iter().map(|s| metrics(&|m| json!(s.get(m)))).collect::<Vec<_>>(),
            });
            match self.baseline {
                Some(baseline) if baseline != index => {
                    entry["dividedByBaseline"] = metrics(&|m| shown(self.ratio(index, baseline, m)));
                }
                None if index != 0 => {
                    entry["oursDividedByThis"] = metrics(&|m| shown(self.ratio(0, index, m)));
                }
                _ => {}
            }
            if let Some(why) = &system.out {
                entry["failed"] = json!(why);
            }
            systems.insert(system.name.clone(), entry);
        }
        json!({
            "ours": self.systems[0].name,
            "order": self.systems.iter().map(|system| &system.name).collect::<Vec<_>>(),
            "baseline": self.baseline.map(|index| &self.systems[index].name),
            "failures": self.failures,
            "notes": self.notes,
            "version": env!("CARGO_PKG_VERSION"),
            "machine": self.machine,
            "conditions": self.conditions,
            "systems": systems,
        })
    }

    /// Writes everything as JSON.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        write(path, &self.json())
    }
}

/// Writes a result, and its folder where that is missing.
pub(crate) fn write(path: &Path, result: &Value) -> Result<()> {
    let what = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(what)?;
    }
    let text = serde_json::to_string_pretty(result)? + "\n";
    fs::write(path, text).with_context(what)
}

/// Columns that line up, in Markdown.
pub(crate) fn render(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            text.push_str(&format!("| {cell:<width$} "));
        }
        text.push_str("|\n");
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                let end = if column == 0 { '-' } else { ':' };
                text.push_str(&format!("|{:-<fill$}{end}", "", fill = width + 1));
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_formed_within_a_round() {
        let mut report = Report::of(&["ours", "theirs"], Value::Null);
        for (ours, theirs) in [(2.0, 1.0), (30.0, 10.0), (4.0, 1.0)] {
            for (index, value) in [(0, ours), (1, theirs)] {
                let mut sample = Sample::default();
                sample.set(Metric::Tcp1, value);
                sample.set(Metric::Reordered, 0.0);
                if index == 0 {
                    sample.set(Metric::Cpu, 1.0);
                }
                report.add(index, sample);
            }
        }
        assert_eq!(report.ratio(0, 1, Metric::Tcp1), Some(Summary { median: 3.0, min: 2.0, max: 4.0 }));
        assert_eq!(report.ratio(0, 1, Metric::Cpu), None);
        assert_eq!(report.ratio(0, 1, Metric::Reordered), None);
        let json = report.json();
        assert_eq!(json["systems"]["theirs"]["oursDividedByThis"]["tcp1Gbps"]["median"], 3.0);
        assert_eq!(json["systems"]["ours"]["rounds"][1]["tcp1Gbps"], 30.0);
        assert_eq!(json["order"], json!(["ours", "theirs"]));
        report.set_baseline("theirs");
        let json = report.json();
        assert_eq!(json["systems"]["ours"]["dividedByBaseline"]["tcp1Gbps"]["median"], 3.0);
        assert_eq!(json["baseline"], "theirs");
    }

    #[test]
    fn failures_are_written_down() {
        let mut report = Report::of(&["ours", "theirs"], Value::Null);
        report.failed(1, 2, "TCP, 1 stream", "no route");
        report.give_up(1, "gone");
        let json = report.json();
        assert_eq!(json["failures"][0]["system"], "theirs");
        assert_eq!(json["systems"]["theirs"]["failed"], "gone");
        assert_eq!(json["systems"]["ours"]["failed"], Value::Null);
    }
}
