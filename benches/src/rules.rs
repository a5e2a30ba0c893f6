//! What a network's rules cost end to end: one TCP stream that goes on while rule sets of 1 and of 1000 rules take turns.
//!
//! Single runs on a shared machine differ by a tenth. So the two are compared in pairs of short slots next to each other,
//! many of them, and what is reported is the mean of the pairs' ratios with its standard error. Pairs of which both have
//! one rule, pushed anew, show what the method would find where there is nothing to be found.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::Seat;
use serde_json::{Value, json};

use crate::instruments::stream::Stream;
use crate::instruments::usage;
use crate::machine;
use crate::progress::Progress;
use crate::report::{self, render};
use crate::statistics::{Mean, mean, summarize};
use crate::system::System;

/// Entries of the rule sets that are compared with [`ONE`]; the first is the control. A network has 1024 at most.
const SIZES: [usize; 2] = [ONE, 1_000];
const ONE: usize = 1;
/// How long a slot is, and how long new rules have before it.
const SLOT: Duration = Duration::from_secs(1);
const SETTLE: Duration = Duration::from_millis(200);
/// What pushing rules takes.
const PUSH: Duration = Duration::from_millis(300);
/// Pairs of each kind for a round that was asked for.
const PAIRS_A_ROUND: u32 = 12;

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

/// What one slot showed.
#[derive(Clone, Copy, Debug)]
struct Slot {
    gbps: f64,
    /// Processor time of both daemons, seconds for 10^9 octets.
    cpu: f64,
}

fn slot(system: &System, stream: &Stream, entries: usize) -> Result<Slot> {
    system.set_rules(&rule_set(entries))?;
    std::thread::sleep(SETTLE);
    let (begin, octets, cpu) = (Instant::now(), stream.octets(), usage::fine_cpu_seconds(system)?);
    std::thread::sleep(SLOT);
    let (octets, cpu) = (stream.octets() - octets, usage::fine_cpu_seconds(system)? - cpu);
    ensure!(octets > 0, "the stream has stopped");
    let octets = octets as f64;
    Ok(Slot { gbps: octets * 8.0 / 1e9 / begin.elapsed().as_secs_f64(), cpu: cpu / (octets / 1e9) })
}

/// Measures ztnode in `rounds` times a dozen pairs of each kind, shows a table and writes everything to `path`.
pub(crate) fn run(rounds: u32, path: &Path) -> Result<()> {
    let machine = machine::describe();
    let system = System::nodes([Seat::Ours; 2])?;
    let pairs = rounds * PAIRS_A_ROUND;
    let one = 2 * (SLOT + SETTLE + PUSH);
    let mut progress = Progress::new(one * pairs * SIZES.len() as u32);
    let stream = Stream::start(&system)?;
    // Lets TCP learn the path.
    slot(&system, &stream, ONE)?;
    let mut found: [Vec<[Slot; 2]>; SIZES.len()] = Default::default();
    for pair in 0..pairs {
        for (index, size) in SIZES.into_iter().enumerate() {
            // Every other pair the other way round: what drifts hits both.
            let order = if pair % 2 == 0 { [ONE, size] } else { [size, ONE] };
            let first = slot(&system, &stream, order[0])?;
            let second = slot(&system, &stream, order[1])?;
            found[index].push(if pair % 2 == 0 { [first, second] } else { [second, first] });
            progress.add(one);
        }
        if pair % PAIRS_A_ROUND == PAIRS_A_ROUND - 1 {
            eprintln!("{} {}", progress.line(), said(&found[SIZES.len() - 1]));
            report::write(path, &written(&found, &machine))?;
        }
    }
    let result = written(&found, &machine);
    println!("{}", table(result["rulesPaired"].as_array().map(Vec::as_slice).unwrap_or_default()));
    report::write(path, &result)?;
    println!("written to {}", path.display());
    Ok(())
}

/// The ratio of the second to the first of each pair, of one figure.
fn ratios(pairs: &[[Slot; 2]], figure: fn(&Slot) -> f64) -> Option<Mean> {
    mean(pairs.iter().map(|[one, many]| figure(many) / figure(one)))
}

fn said(pairs: &[[Slot; 2]]) -> String {
    match (ratios(pairs, |slot| slot.gbps), ratios(pairs, |slot| slot.cpu)) {
        (Some(rate), Some(cpu)) => format!("throughput {rate}, CPU {cpu}"),
        _ => "too few pairs".to_owned(),
    }
}

/// The result as Markdown, from what was written down.
pub(crate) fn table(list: &[Value]) -> String {
    let head = ["", "Gbit/s, median", "pairs", "throughput to 1 rule", "CPU per GB to 1 rule"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mean = |value: &Value| match (value["mean"].as_f64(), value["standardError"].as_f64()) {
        (Some(mean), Some(error)) => Mean { mean, error }.to_string(),
        _ => "–".to_owned(),
    };
    for entry in list {
        let pairs = entry["gbpsOneAndMany"].as_array().map(Vec::as_slice).unwrap_or_default();
        let many = summarize(pairs.iter().filter_map(|pair| pair[1].as_f64()));
        rows.push(vec![
            if entry["rules"] == ONE {
                "1 rule (control)".to_owned()
            } else {
                format!("{} rules", entry["rules"])
            },
            many.map_or_else(|| "–".to_owned(), |summary| format!("{:.2}", summary.median)),
            pairs.len().to_string(),
            mean(&entry["throughputToOneRule"]),
            mean(&entry["cpuPerGigabyteToOneRule"]),
        ]);
    }
    render(&rows)
}

fn written(found: &[Vec<[Slot; 2]>], machine: &Value) -> Value {
    let shown = |mean: Option<Mean>| {
        mean.map_or(Value::Null, |mean| json!({"mean": mean.mean, "standardError": mean.error}))
    };
    let of = |pairs: &Vec<[Slot; 2]>, figure: fn(&Slot) -> f64| -> Vec<Value> {
        pairs.iter().map(|pair| json!(pair.each_ref().map(figure))).collect()
    };
    let sizes = SIZES.iter().zip(found).map(|(size, pairs)| {
        json!({
            "rules": size,
            "throughputToOneRule": shown(ratios(pairs, |slot| slot.gbps)),
            "cpuPerGigabyteToOneRule": shown(ratios(pairs, |slot| slot.cpu)),
            "gbpsOneAndMany": of(pairs, |slot| slot.gbps),
            "cpuSecondsPerGigabyteOneAndMany": of(pairs, |slot| slot.cpu),
        })
    });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "machine": machine,
        "slotSeconds": SLOT.as_secs_f64(),
        "rulesPaired": sizes.collect::<Vec<_>>(),
    })
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

    #[test]
    fn pairs_are_compared_within_themselves() {
        let slot = |gbps| Slot { gbps, cpu: 2.0 };
        let pairs: Vec<_> = [1.0, 10.0, 5.0].map(|gbps| [slot(gbps), slot(gbps * 0.98)]).into();
        let found = ratios(&pairs, |slot| slot.gbps).unwrap();
        assert!((found.mean - 0.98).abs() < 1e-9 && found.error < 1e-9, "{found}");
        let result = written(&[pairs.clone(), pairs], &Value::Null);
        let text = table(result["rulesPaired"].as_array().unwrap());
        assert!(text.contains("0.980 ± 0.000") && text.contains("1 rule (control)"), "{text}");
    }
}
