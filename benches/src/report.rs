//! The table and the JSON file.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::machine;
use crate::measure::{Metric, Sample};
use crate::statistics::{Summary, summarize};

/// The results of a run. The first system is ours, the second, if any, what ours is compared with.
pub(crate) struct Report {
    systems: Vec<String>,
    samples: Vec<Vec<Sample>>,
    length: Duration,
    machine: Value,
}

impl Report {
    /// A report without samples; `length` is that of each iperf3 run.
    pub(crate) fn new(systems: Vec<String>, length: Duration) -> Self {
        let samples = systems.iter().map(|_| Vec::new()).collect();
        Self { systems, samples, length, machine: machine::describe() }
    }

    /// Adds the figures of one round of system `index`.
    pub(crate) fn add(&mut self, index: usize, sample: Sample) {
        self.samples[index].push(sample);
    }

    fn summary(&self, index: usize, metric: Metric) -> Option<Summary> {
        summarize(self.samples[index].iter().filter_map(|sample| sample.get(metric)))
    }

    /// Ours divided by system `index`, formed in each round.
    fn ratio(&self, index: usize, metric: Metric) -> Option<Summary> {
        let pairs = self.samples[0].iter().zip(&self.samples[index]);
        summarize(pairs.filter_map(|(ours, theirs)| Some(ours.get(metric)? / theirs.get(metric)?)))
    }

    /// A Markdown table: a row a figure, a column a system (median and range), and the ratios to the second one.
    pub(crate) fn table(&self) -> String {
        let mut rows = vec![vec![String::new()]];
        rows[0].extend(self.systems.iter().cloned());
        rows[0].extend(self.systems.get(1).map(|name| format!("{} / {name}", self.systems[0])));
        for metric in Metric::ALL {
            let mut row = vec![metric.title().to_owned()];
            let range = |summary: Option<Summary>, show: &dyn Fn(f64) -> String| match summary {
                None => "–".to_owned(),
                Some(s) => format!("{} ({}–{})", show(s.median), show(s.min), show(s.max)),
            };
            let systems = 0..self.systems.len();
            row.extend(systems.clone().map(|i| range(self.summary(i, metric), &|v| metric.format(v))));
            row.extend(systems.skip(1).take(1).map(|i| range(self.ratio(i, metric), &|v| format!("{v:.2}"))));
            rows.push(row);
        }
        render(&rows)
    }

    fn json(&self) -> Value {
        let shown = |summary: Option<Summary>| match summary {
            None => Value::Null,
            Some(Summary { median, min, max }) => json!({"median": median, "min": min, "max": max}),
        };
        let metrics = |of: &dyn Fn(Metric) -> Value| -> Value {
            Metric::ALL.iter().map(|m| (m.key().to_owned(), of(*m))).collect::<Map<_, _>>().into()
        };
        let mut systems = Map::new();
        for (index, name) in self.systems.iter().enumerate() {
            let mut entry = json!({
                "summary": metrics(&|m| shown(self.summary(index, m))),
                "rounds": self.samples[index].iter().map(|s| metrics(&|m| json!(s.get(m)))).collect::<Vec<_>>(),
            });
            if index != 0 {
                entry["oursDividedByThis"] = metrics(&|m| shown(self.ratio(index, m)));
            }
            systems.insert(name.clone(), entry);
        }
        json!({
            "ours": self.systems[0],
            "version": env!("CARGO_PKG_VERSION"),
            "machine": self.machine,
            "iperfSeconds": self.length.as_secs(),
            "systems": systems,
        })
    }

    /// Writes everything as JSON.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let what = || format!("cannot write {}", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(what)?;
        }
        let text = serde_json::to_string_pretty(&self.json())? + "\n";
        fs::write(path, text).with_context(what)
    }
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
        let mut report = Report::new(vec!["ours".into(), "theirs".into()], Duration::from_secs(1));
        for (ours, theirs) in [(2.0, 1.0), (30.0, 10.0), (4.0, 1.0)] {
            report.add(0, Sample::of([Some(ours); 6]));
            report.add(1, Sample::of([Some(theirs), Some(theirs), Some(theirs), Some(theirs), None, None]));
        }
        assert_eq!(report.ratio(1, Metric::Tcp1), Some(Summary { median: 3.0, min: 2.0, max: 4.0 }));
        assert_eq!(report.ratio(1, Metric::Cpu), None);
        let table = report.table();
        assert!(table.contains("| 4.00 (2.00–30.00) | 1.00 (1.00–10.00) | 3.00 (2.00–4.00) |"), "{table}");
        let json = report.json();
        assert_eq!(json["systems"]["theirs"]["oursDividedByThis"]["tcp1Gbps"]["median"], 3.0);
        assert_eq!(json["systems"]["ours"]["rounds"][1]["rttMicroseconds"], 30.0);
    }
}
