//! What a network's rules cost end to end: one TCP stream with rule sets of 1, 100 and 1000 rules.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::instruments::iperf::{self, Direction};
use crate::machine;
use crate::report::{self, render};
use crate::statistics::{Summary, summarize};
use crate::system::System;

/// Entries of the rule sets. A network has 1024 at most.
const SIZES: [usize; 3] = [1, 100, 1_000];

/// A rule set: matches that no frame of the measurement meets, each with a DROP, then ACCEPT.
fn rule_set(entries: usize) -> Vec<Value> {
    let mut list = Vec::new();
    for n in 1..=(entries - 1) / 2 {
        list.push(json!({"type": "MATCH_IP_DEST_PORT_RANGE", "start": n, "end": n}));
        list.push(json!({"type": "ACTION_DROP"}));
    }
    if entries.is_multiple_of(2) {
        list.insert(0, json!({"type": "MATCH_ETHERTYPE", "etherType": 1}));
    }
    list.push(json!({"type": "ACTION_ACCEPT"}));
    list
}

/// Gbit/s by system, size and round.
struct Results<'a> {
    systems: &'a [System],
    samples: Vec<[Vec<f64>; SIZES.len()]>,
}

/// Measures each system with each rule set in turn, shows a table and writes everything to `path`.
pub(crate) fn run(systems: &[System], rounds: u32, length: Duration, path: &Path) -> Result<()> {
    let machine = machine::describe();
    let mut results = Results { systems, samples: systems.iter().map(|_| Default::default()).collect() };
    for system in systems {
        iperf::tcp(system, 1, Direction::Forth, Duration::from_secs(1))
            .with_context(|| system.name.clone())?;
    }
    for round in 0..rounds as usize {
        for step in 0..SIZES.len() {
            // Every round begins with another size, so that no size is always first.
            let size = (step + round) % SIZES.len();
            for (index, system) in systems.iter().enumerate() {
                system.set_rules(&rule_set(SIZES[size])).with_context(|| system.name.to_owned())?;
                let carried =
                    iperf::tcp(system, 1, Direction::Forth, length).with_context(|| system.name.clone())?;
                let value = carried.gbps;
                eprintln!(
                    "round {} of {rounds}: {:<12} {:>4} rules: {value:.2} Gbit/s",
                    round + 1,
                    system.name,
                    SIZES[size]
                );
                results.samples[index][size].push(value);
            }
        }
    }
    println!("{}", results.table());
    report::write(path, &results.json(&machine, length))?;
    println!("written to {}", path.display());
    Ok(())
}

impl Results<'_> {
    /// One list divided by another, formed in each round.
    fn ratio(a: &[f64], b: &[f64]) -> Option<Summary> {
        summarize(a.iter().zip(b).map(|(a, b)| a / b))
    }

    fn table(&self) -> String {
        let show = |summary: Option<Summary>| match summary {
            None => "–".to_owned(),
            Some(s) => format!("{:.2} ({:.2}–{:.2})", s.median, s.min, s.max),
        };
        let mut rows = vec![vec!["TCP, 1 stream, Gbit/s".to_owned()]];
        for system in self.systems {
            rows[0].extend([system.name.to_owned(), "to 1 rule".to_owned()]);
        }
        rows[0].extend(self.systems.get(1).map(|s| format!("{} / {}", self.systems[0].name, s.name)));
        for (size, entries) in SIZES.iter().enumerate() {
            let mut row = vec![format!("{entries} rules")];
            for samples in &self.samples {
                row.push(show(summarize(samples[size].iter().copied())));
                row.push(show(Self::ratio(&samples[size], &samples[0])));
            }
            if let [ours, theirs, ..] = &self.samples[..] {
                row.push(show(Self::ratio(&ours[size], &theirs[size])));
            }
            rows.push(row);
        }
        render(&rows)
    }

    fn json(&self, machine: &Value, length: Duration) -> Value {
        let mut systems = Map::new();
        for (system, samples) in self.systems.iter().zip(&self.samples) {
            let sizes: Map<String, Value> =
                SIZES.iter().zip(samples).map(|(size, values)| (size.to_string(), json!(values))).collect();
            systems.insert(system.name.to_owned(), sizes.into());
        }
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "machine": machine,
            "iperfSeconds": length.as_secs(),
            "tcp1GbpsByRules": systems,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_sets_have_the_size_they_are_called_by() {
        for size in SIZES {
            let list = rule_set(size);
            assert_eq!(list.len(), size);
            assert_eq!(list.last(), Some(&json!({"type": "ACTION_ACCEPT"})));
        }
    }
}
