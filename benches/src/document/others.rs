//! Results other than systems beside each other.

use serde_json::Value;

use super::{description, on, tables};
use crate::chatter;
use crate::mtus;
use crate::report::render;
use crate::rules;

/// What the document says of a result; `None` when it is of no kind that is known.
pub(super) fn block(result: &Value) -> Option<String> {
    if result["order"].is_array() {
        return Some(format!("{}\n\n{}", description(result), tables(result).ok()?));
    }
    let machine = on(&result["machine"]);
    let list = |key: &str| result[key].as_array().map(Vec::as_slice);
    let table = if let Some(list) = list("rulesPaired") {
        rules::table(list)
    } else if result["mtus"].is_array() {
        mtus::tables(&result["mtus"])
    } else if let Some(list) = list("integrity") {
        integrity(list)
    } else if let Some(list) = list("reordering") {
        reordering(list)
    } else if result["idle"].is_object() {
        let sent = list("chatter").map(|list| format!("\n{}", chatter::tables(list))).unwrap_or_default();
        idle(&result["idle"]) + &sent
    } else {
        return None;
    };
    Some(format!("{machine}.\n\n{table}"))
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn integrity(list: &[Value]) -> String {
    let mut rows =
        vec![row(["interface", "underlay", "loss", "octets", "right", "Gbit/s forth", "Gbit/s back"])];
    for run in list {
        // Written before the interface could be chosen, a run counted what it sent each way.
        let each_way = run["octetsEachWay"].as_f64().or_else(|| Some(run["octets"].as_f64()? / 2.0));
        let pace = |way: usize| match (each_way, run["seconds"][way].as_f64()) {
            (Some(octets), Some(seconds)) => format!("{:.2}", octets * 8.0 / 1e9 / seconds),
            _ => "–".to_owned(),
        };
        let right = if run["right"] == true { "all" } else { "no" };
        rows.push(vec![
            run["tap"].as_str().unwrap_or("auto").to_owned(),
            run["underlay"].as_str().unwrap_or_default().to_owned(),
            format!("{} %", run["lossPercent"]),
            format!("{:.1e}", each_way.unwrap_or_default() * 2.0),
            right.to_owned(),
            pace(0),
            pace(1),
        ]);
    }
    render(&rows)
}

fn reordering(list: &[Value]) -> String {
    let mut rows = vec![row(["underlay", "what", "arrived", "late"])];
    let (mut all, mut late) = (0, 0);
    for run in list {
        let number = |key: &str| run[key].as_u64();
        let underlay = run["underlay"].as_str().unwrap_or_default().to_owned();
        if let Some(streams) = number("tcpStreams") {
            let octets = run["octets"].as_f64().unwrap_or_default() / 1e9;
            let (what, arrived) = (format!("TCP, {streams} streams"), format!("{octets:.1} GB"));
            rows.push(vec![underlay, what, arrived, number("reordered").unwrap_or_default().to_string()]);
            continue;
        }
        let how = if run["bursts"] == true { "bursts" } else { "single" };
        let (arrived, overtaken) =
            (number("received").unwrap_or_default(), number("late").unwrap_or_default());
        all += arrived;
        late += overtaken;
        let what = format!("UDP, {} octets, {how}", run["size"]);
        rows.push(vec![underlay, what, arrived.to_string(), overtaken.to_string()]);
    }
    rows.push(vec!["all".to_owned(), "UDP".to_owned(), all.to_string(), late.to_string()]);
    render(&rows)
}

fn idle(systems: &Value) -> String {
    let mut rows = vec![row(["", "RSS, MB", "% of a core", "`ztnode-cli info`, ms"])];
    for (name, found) in systems.as_object().into_iter().flatten() {
        let shown = |value: &Value, times: f64, digits: usize| {
            value.as_f64().map_or_else(|| "–".to_owned(), |value| format!("{:.digits$}", value * times))
        };
        rows.push(vec![
            name.clone(),
            shown(&found["memoryMegabytes"], 1.0, 1),
            shown(&found["idleCores"], 100.0, 2),
            shown(&found["infoMilliseconds"]["median"], 1.0, 1),
        ]);
    }
    render(&rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_has_its_table() {
        let run = json!({"integrity": [{"tap": "plain", "underlay": "offloads", "lossPercent": 1, "octets": 2e9,
                                        "seconds": [4.0, 2.0], "right": true}]});
        assert!(block(&run).unwrap().contains("| 2.00 "), "{run}");
        let run = json!({"reordering": [{"underlay": "plain", "size": 64, "bursts": true, "received": 7, "late": 1},
                                        {"underlay": "plain", "tcpStreams": 4, "octets": 1e9, "reordered": 3}]});
        let text = block(&run).unwrap();
        assert!(text.contains("UDP, 64 octets, bursts") && text.contains("TCP, 4 streams"), "{text}");
        let run = json!({"idle": {"ztnode": {"memoryMegabytes": 10.5, "idleCores": 0.001}}});
        assert!(block(&run).unwrap().contains("10.5"), "{run}");
        assert!(block(&json!({"tcp1GbpsByRules": {}})).is_none());
    }
}
