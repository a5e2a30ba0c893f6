//! What the data plane aims at, and what a result says about it.

use lab::Seat;
use serde_json::Value;

use crate::document::{median, order};
use crate::metric::Metric;
use crate::report::render;

/// Whether more or less is better, and from where on it is enough.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    AtLeast(f64),
    AtMost(f64),
}

/// An aim: a figure of ours divided by that of another system, or by itself.
struct Goal {
    metric: Metric,
    against: Option<&'static str>,
    wanted: Wanted,
}

const fn at_least(metric: Metric, against: &'static str, value: f64) -> Goal {
    Goal { metric, against: Some(against), wanted: Wanted::AtLeast(value) }
}

const fn at_most(metric: Metric, against: Option<&'static str>, value: f64) -> Goal {
    Goal { metric, against, wanted: Wanted::AtMost(value) }
}

const REFERENCE: &str = "zerotier-one";

const GOALS: [Goal; 12] = [
    at_least(Metric::Tcp1, REFERENCE, 3.0),
    at_least(Metric::Tcp1, "wireguard-go", 2.0),
    at_least(Metric::Tcp1, "ceiling probe", 0.65),
    at_least(Metric::Tcp4, REFERENCE, 3.3),
    at_least(Metric::Tcp1Plain, REFERENCE, 1.6),
    at_least(Metric::Udp64, REFERENCE, 2.8),
    at_most(Metric::CpuPacket, Some(REFERENCE), 0.6),
    at_most(Metric::Rtt, Some(REFERENCE), 0.75),
    at_most(Metric::RttGrowth, None, 5.0),
    at_most(Metric::Cpu, Some(REFERENCE), 0.3),
    at_most(Metric::Memory, None, 64.0),
    at_most(Metric::Reordered, None, 0.0),
];

/// What has to be at least what the baseline has, when there is one.
const NOT_SLOWER: [Metric; 5] =
    [Metric::Tcp1, Metric::Tcp1Back, Metric::Tcp4, Metric::Tcp4Back, Metric::Udp64];

/// A system is as fast as another when it has so much of its figure: smaller differences are the machine's.
const TIE: f64 = 0.9;

impl Wanted {
    fn verdict(self, value: f64) -> &'static str {
        match self {
            Self::AtLeast(limit) if value >= limit => "reached",
            // Nobody asks to be faster than one's equal.
            Self::AtLeast(1.0) if value >= TIE => "a tie",
            Self::AtMost(limit) if value <= limit => "reached",
            _ => "missed",
        }
    }
}

/// A table of the aims that the result has figures for; `None` when it has none.
pub(crate) fn table(result: &Value) -> Option<String> {
    let ours = result["ours"].as_str()?;
    let mut rows = vec![["", "wanted", "median", ""].map(str::to_owned).to_vec()];
    let row = |what: String, wanted: Wanted, value: f64| {
        let limit = match wanted {
            Wanted::AtLeast(limit) => format!("≥ {limit}"),
            Wanted::AtMost(limit) => format!("≤ {limit}"),
        };
        vec![what, limit, format!("{value:.2}"), wanted.verdict(value).to_owned()]
    };
    if let Some(baseline) = result["baseline"].as_str() {
        // Beside a system to itself nobody should be slower for having us at one end.
        for (name, metric) in
            order(result).iter().flat_map(|name| NOT_SLOWER.map(|metric| (name.clone(), metric)))
        {
            let ratio = &result["systems"][&name]["dividedByBaseline"][metric.key()]["median"];
            if let Some(value) = ratio.as_f64() {
                let what = format!("{name}: {}, to {baseline}", metric.title());
                rows.push(row(what, Wanted::AtLeast(1.0), value));
            }
        }
        return (rows.len() > 1).then(|| render(&rows));
    }
    // The aims are those of two nodes of ours.
    if ours != Seat::Ours.name() {
        return None;
    }
    for Goal { metric, against, wanted } in GOALS {
        let value = match against {
            None => median(result, ours, metric),
            Some(other) => result["systems"][other]["oursDividedByThis"][metric.key()]["median"].as_f64(),
        };
        let Some(value) = value else { continue };
        let beside = against.map_or(String::new(), |other| format!(", to {other}'s"));
        rows.push(row(format!("{}{beside}", metric.title()), wanted, value));
    }
    (rows.len() > 1).then(|| render(&rows))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn aims_are_held_against_ratios_and_own_figures() {
        let result = json!({
            "ours": "ztnode",
            "systems": {
                "ztnode": {"summary": {"rttLoadedPerIdle": {"median": 7.0}}},
                "zerotier-one": {"oursDividedByThis": {"tcp1Gbps": {"median": 3.5}}},
            },
        });
        let text = table(&result).unwrap();
        let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap().to_owned();
        assert!(line("TCP, 1 stream").contains("reached"), "{text}");
        assert!(line("idle RTT").contains("missed"), "{text}");
        assert_eq!(text.lines().count(), 4);
        assert!(table(&json!({})).is_none());
        let mixed = json!({
            "ours": "mixed", "baseline": "alone", "order": ["mixed", "alone"],
            "systems": {"mixed": {"dividedByBaseline": {"tcp1BackGbps": {"median": 0.8}, "tcp1Gbps": {"median": 0.95}}}, "alone": {}},
        });
        let text = table(&mixed).unwrap();
        assert!(text.contains("missed") && text.contains("a tie"), "{text}");
    }
}
