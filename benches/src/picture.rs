//! The picture: bars of throughput and cost, as SVG.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::document::{median, order};
use crate::metric::Metric;

/// What is drawn, a panel each.
const PANELS: [(Metric, &str); 4] = [
    (Metric::Tcp1, "TCP, 1 stream: Gbit/s, more is better"),
    (Metric::Udp64, "UDP, 64 octets, flood: 1000 packets/s received, more is better"),
    (Metric::Cpu, "Processor seconds per GB, both daemons: less is better"),
    (Metric::RttLoaded, "Round trip beside a TCP stream: µs, less is better"),
];
const WIDTH: usize = 760;
/// Where bars begin, and how long the longest is.
const LEFT: usize = 150;
const LONGEST: f64 = 520.0;
const BAR: usize = 18;
const STEP: usize = 24;
const TITLE: usize = 34;

/// Draws a result. The cable without VPN is left out: beside it all others would be dots.
pub(crate) fn draw(result: &Value) -> Result<String> {
    let systems = order(result);
    let (mut body, mut y) = (String::new(), 8);
    for (metric, title) in PANELS {
        let bars: Vec<(&str, f64)> = systems
            .iter()
            .filter(|name| !name.starts_with("cable"))
            .filter_map(|name| Some((name.as_str(), median(result, name, metric)?)))
            .collect();
        let largest = bars.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        if bars.is_empty() || largest <= 0.0 {
            continue;
        }
        writeln!(body, r#"<text x="8" y="{}" class="t">{}</text>"#, y + 18, escaped(title))?;
        y += TITLE;
        for (name, value) in bars {
            let class = if *name == systems[0] { "ours" } else { "theirs" };
            let (length, text) = (value / largest * LONGEST, y + BAR - 5);
            writeln!(
                body,
                r#"<text x="{}" y="{text}" text-anchor="end">{}</text><rect x="{LEFT}" y="{y}" width="{length:.1}" height="{BAR}" class="{class}"/><text x="{:.1}" y="{text}">{}</text>"#,
                LEFT - 8,
                escaped(name),
                LEFT as f64 + length + 6.0,
                metric.format(value)
            )?;
            y += STEP;
        }
        y += 10;
    }
    ensure!(!body.is_empty(), "nothing to draw");
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y}\" viewBox=\"0 0 {WIDTH} {y}\">\n\
         <style>text{{font:13px sans-serif;fill:#333}}.t{{font-weight:bold}}.ours{{fill:#0b7a75}}.theirs{{fill:#b8c4c9}}\
         </style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
    ))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bars_are_as_long_as_their_figures() {
        let summary = |value: f64| json!({"summary": {"tcp1Gbps": {"median": value}}});
        let result = json!({
            "order": ["ours", "a<b", "cable, no VPN"],
            "systems": {"ours": summary(4.0), "a<b": summary(1.0), "cable, no VPN": summary(99.0)},
        });
        let svg = draw(&result).unwrap();
        assert!(svg.contains(r#"width="520.0" height="18" class="ours""#), "{svg}");
        assert!(svg.contains(r#"width="130.0" height="18" class="theirs""#), "{svg}");
        assert!(svg.contains("a&lt;b") && !svg.contains("cable"), "{svg}");
        assert!(draw(&json!({})).is_err());
    }
}
