//! What was found: the JSON, the table, and which bounds are missed.

use anyhow::Result;
use lab::Family;
use serde_json::{Value, json};

use super::LIMIT;
use super::fault::{Bound, Fault};
use super::row::Row;
use crate::report::render;

/// What one run of a fault did to the two directions, A to B and B to A.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Run {
    /// The longest time without delivery.
    pub(crate) seconds: [f64; 2],
    /// Datagrams that never arrived, from just before the fault on.
    pub(crate) lost: [u64; 2],
    /// Whether it flowed again before the limit.
    pub(crate) recovered: [bool; 2],
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way = |way: usize| {
            let open = if self.recovered[way] { "" } else { ", not over" };
            format!("{:.2} s ({} lost{open})", self.seconds[way], self.lost[way])
        };
        write!(f, "forth {}, back {}", way(0), way(1))
    }
}

/// What lies underneath.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Underlay {
    /// Which addresses the machines have.
    pub(crate) family: Family,
    /// Round trip between any two of them, milliseconds.
    pub(crate) rtt: f64,
}

impl std::fmt::Display for Underlay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let family = match self.family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
            Family::Both => "IPv4 and IPv6",
        };
        write!(f, "{family}, {} ms", self.rtt)
    }
}

/// All runs of a fault with a row.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// Who.
    pub(crate) row: Row,
    /// What.
    pub(crate) fault: Fault,
    /// Over what.
    pub(crate) underlay: Underlay,
    /// The runs.
    pub(crate) runs: Vec<Run>,
    /// Why there are no more.
    pub(crate) failed: Option<String>,
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} over {}", self.fault.name(), self.row.code(), self.underlay)
    }
}

/// Three figures of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    median: f64,
    p95: f64,
    worst: f64,
}

impl Spread {
    /// Of some seconds; `None` of none.
    fn of(samples: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = samples.collect();
        sorted.sort_by(f64::total_cmp);
        let worst = *sorted.last()?;
        // The nearest rank: of five runs it is the worst, of thirty the second worst.
        let p95 = sorted[(sorted.len() * 95).div_ceil(100) - 1];
        Some(Self { median: crate::statistics::summarize(sorted)?.median, p95, worst })
    }

    fn shown(self) -> String {
        let limit = LIMIT.as_secs_f64();
        let figure = |seconds: f64| {
            if seconds >= limit { format!("over {limit:.0}") } else { format!("{seconds:.2}") }
        };
        format!("{} / {} / {}", figure(self.median), figure(self.p95), figure(self.worst))
    }
}

impl Cell {
    /// Without runs.
    pub(crate) fn new(row: Row, fault: Fault, underlay: Underlay) -> Self {
        Self { row, fault, underlay, runs: Vec::new(), failed: None }
    }

    /// The bounds it misses, one a line: none where no bounds hold.
    pub(crate) fn missed(&self) -> Vec<String> {
        if !self.row.is_ours() {
            return Vec::new();
        }
        let name = self.fault.name();
        if let Some(why) = &self.failed {
            return vec![format!("{name}: not measured: {}", why.lines().next().unwrap_or_default())];
        }
        let (bound, mut missed) = (self.bound(), Vec::new());
        for (way, called) in ["A to B", "B to A"].into_iter().enumerate() {
            let Some(spread) = Spread::of(self.runs.iter().map(|run| run.seconds[way])) else { continue };
            for (what, found, bound) in
                [("median", spread.median, bound.median), ("p95", spread.p95, bound.p95)]
            {
                if found > bound {
                    missed.push(format!("{name}, {called}: {what} {found:.2} s, bound {bound:.2} s"));
                }
            }
            let lost: u64 = self.runs.iter().map(|run| run.lost[way]).sum();
            if self.fault == Fault::Root && lost > 0 {
                missed.push(format!("{name}, {called}: {lost} datagrams lost, bound 0"));
            }
        }
        missed
    }

    /// What it is held to: nobody gets over anything in less than a few round trips.
    fn bound(&self) -> Bound {
        let (Bound { median, p95 }, least) = (self.fault.bound(), 5.0 * self.underlay.rtt / 1e3);
        Bound { median: median.max(least), p95: p95.max(least) }
    }

    fn json(&self) -> Value {
        let [root, a, b] = self.row.seats().map(lab::Seat::name);
        let runs: Vec<Value> = self
            .runs
            .iter()
            .map(|run| json!({"seconds": run.seconds, "lost": run.lost, "recovered": run.recovered}))
            .collect();
        let bound = self.bound();
        json!({
            "fault": self.fault.name(), "row": self.row.code(), "root": root, "a": a, "b": b,
            "underlay": self.underlay.to_string(), "runs": runs,
            "failed": self.failed, "bound": self.row.is_ours().then(|| json!([bound.median, bound.p95])),
        })
    }
}

/// Everything, as it is written down.
pub(crate) fn json(cells: &[Cell], machine: &Value) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "machine": machine,
        "recovery": cells.iter().map(Cell::json).collect::<Vec<_>>(),
    })
}

/// The table of a result, Markdown.
///
/// # Errors
/// When it is no result of this kind.
pub(crate) fn markdown(result: &Value) -> Result<String> {
    let mut rows = vec![
        ["fault", "root", "A", "B", "underlay", "A to B, s", "B to A, s", "lost", "bound"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let cells = result["recovery"].as_array();
    for cell in cells.into_iter().flatten() {
        let text = |key: &str| cell[key].as_str().unwrap_or_default().to_owned();
        let runs = cell["runs"].as_array().map(Vec::as_slice).unwrap_or_default();
        let way = |way: usize| spread(cell, way).map_or_else(|| "failed".to_owned(), Spread::shown);
        let most = |way: usize| runs.iter().filter_map(|run| run["lost"][way].as_u64()).max().unwrap_or(0);
        let fault = Fault::named(&text("fault"))?;
        let bound = match cell["bound"].as_array() {
            Some(bound) => bound.iter().map(Value::to_string).collect::<Vec<_>>().join(" / "),
            None => "–".to_owned(),
        };
        rows.push(vec![
            fault.title().to_owned(),
            text("root"),
            text("a"),
            text("b"),
            text("underlay"),
            way(0),
            way(1),
            format!("{} / {}", most(0), most(1)),
            bound,
        ]);
    }
    let worse = worse(result);
    let list = if worse.is_empty() {
        String::new()
    } else {
        format!(
            "\nWorse than a pair of zerotier-ones with a root of their own:\n\n- {}\n",
            worse.join("\n- ")
        )
    };
    Ok(render(&rows) + &list)
}

/// Where a pair with a zerotier-one and a ztnode in it is slower than zerotier-ones alone, by more than chance makes.
fn worse(result: &Value) -> Vec<String> {
    let cells = result["recovery"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut found = Vec::new();
    for cell in cells {
        let code = cell["row"].as_str().unwrap_or_default();
        if !(code.contains('z') && code.contains('o')) {
            continue;
        }
        let same = |other: &&Value| {
            other["row"] == "zzz" && ["fault", "underlay"].iter().all(|key| other[key] == cell[key])
        };
        let Some(theirs) = cells.iter().find(same) else { continue };
        for (way, called) in ["A to B", "B to A"].into_iter().enumerate() {
            let (Some(mixed), Some(theirs)) = (spread(cell, way), spread(theirs, way)) else { continue };
            if mixed.median > theirs.median * 1.1 + 0.1 {
                let [fault, root, a, b] =
                    ["fault", "root", "a", "b"].map(|k| cell[k].as_str().unwrap_or_default());
                let (ours, theirs) = (mixed.median, theirs.median);
                found.push(format!(
                    "{fault}, {called}, root {root}, A {a}, B {b}: {ours:.2} s beside {theirs:.2}"
                ));
            }
        }
    }
    found
}

/// The seconds of a direction of a cell.
fn spread(cell: &Value, way: usize) -> Option<Spread> {
    let runs = cell["runs"].as_array().map(Vec::as_slice).unwrap_or_default();
    Spread::of(runs.iter().filter_map(|run| run["seconds"][way].as_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Underlay = Underlay { family: Family::V4, rtt: 0.3 };

    fn cell(code: &str, fault: Fault, seconds: &[f64], lost: u64) -> Cell {
        let runs = seconds.iter().map(|s| Run { seconds: [*s, 0.01], lost: [lost, 0], recovered: [true; 2] });
        Cell { runs: runs.collect(), ..Cell::new(Row::parse(code).unwrap(), fault, USUAL) }
    }

    #[test]
    fn the_p95_of_thirty_is_the_second_worst() {
        let spread = Spread::of((1..=30).map(f64::from)).unwrap();
        assert_eq!(spread, Spread { median: 15.5, p95: 29.0, worst: 30.0 });
        assert_eq!(Spread::of([1.0, 3.0, 2.0].into_iter()).unwrap().p95, 3.0);
        assert!(Spread::of([].into_iter()).is_none());
    }

    #[test]
    fn bounds_hold_for_ours_alone() {
        assert_eq!(cell("ooo", Fault::Blind, &[0.4, 0.4, 0.9], 30).missed(), Vec::<String>::new());
        let missed = cell("ooo", Fault::Blind, &[0.6, 0.6, 1.9], 30).missed();
        assert!(missed.len() == 2 && missed[0].contains("A to B: median 0.60"), "{missed:?}");
        assert!(cell("zzz", Fault::Blind, &[40.0], 30).missed().is_empty());
        assert_eq!(cell("ooo", Fault::Root, &[0.01], 1).missed().len(), 1, "not one may be lost");
        let mut far = cell("ooo", Fault::Address, &[0.9], 30);
        assert_eq!(far.missed().len(), 1, "{:?}", far.missed());
        far.underlay.rtt = 200.0;
        assert_eq!(far.missed(), Vec::<String>::new(), "five round trips are a second");
        let mut cell = Cell::new(Row::parse("ooo").unwrap(), Fault::Kill, USUAL);
        cell.failed = Some("no reason".to_owned());
        assert_eq!(cell.missed().len(), 1);
    }

    #[test]
    fn mixed_pairs_are_held_against_zerotier_ones() {
        let theirs = cell("zzz", Fault::Blind, &[2.0], 0);
        let table =
            |mixed| markdown(&json(&[theirs.clone(), cell("zoz", Fault::Blind, &[mixed], 0)], &Value::Null));
        assert!(!table(2.2).unwrap().contains("Worse"));
        let text = table(2.4).unwrap();
        assert!(
            text.contains("- blind, A to B, root zerotier-one, A ztnode, B zerotier-one: 2.40 s"),
            "{text}"
        );
    }

    #[test]
    fn the_table_says_who_was_where() {
        let cells = [cell("ooz", Fault::Back, &[50.0], 7), cell("ooo", Fault::Address, &[0.1, 0.2], 1)];
        let text = markdown(&json(&cells, &Value::Null)).unwrap();
        assert!(text.contains("over 45 / over 45 / over 45"), "{text}");
        assert!(text.contains("0.15 / 0.20 / 0.20") && text.contains("0.3 / 1.0"), "{text}");
    }
}
