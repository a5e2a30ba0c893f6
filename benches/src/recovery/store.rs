//! The file of results: what is measured anew takes the place of what it said of the same, and the rest stays.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

/// What there is already; nothing where there is no file, or one of another kind.
pub(super) fn read(path: &Path) -> Value {
    let earlier = fs::read_to_string(path).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
    earlier.filter(Value::is_object).unwrap_or_else(|| json!({}))
}

/// A result with cells of faults, with those in it that are missing there or have not been measured yet.
pub(super) fn merged(earlier: &Value, mut result: Value) -> Value {
    let is_same = |a: &Value, b: &Value| ["fault", "row", "underlay"].iter().all(|key| a[key] == b[key]);
    let is_measured = |cell: &Value| {
        cell["failed"].is_string() || cell["runs"].as_array().is_some_and(|runs| !runs.is_empty())
    };
    let list = |value: &Value| value["recovery"].as_array().cloned().unwrap_or_default();
    let mut new: Vec<Value> = list(&result);
    let mut cells = list(earlier);
    new.retain(is_measured);
    for cell in &mut cells {
        if let Some(at) = new.iter().position(|other| is_same(cell, other)) {
            *cell = new.remove(at);
        }
    }
    cells.append(&mut new);
    result["recovery"] = cells.into();
    for (key, value) in earlier.as_object().into_iter().flatten() {
        if result.get(key).is_none() {
            result[key] = value.clone();
        }
    }
    result
}

/// Writes one part of the result anew, with the machine on which it was measured.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn put(path: &Path, key: &str, machine: &Value, runs: Vec<Value>) -> Result<()> {
    let mut result = read(path);
    result[key] = json!({"version": env!("CARGO_PKG_VERSION"), "machine": machine, "runs": runs});
    crate::report::write(path, &result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_measured_anew_stays() {
        let cell = |fault: &str, runs: &[u32]| json!({"fault": fault, "row": "ooo", "runs": runs});
        let earlier = json!({"recovery": [cell("a", &[1]), cell("b", &[2])], "paced": 5, "machine": 1});
        let new = json!({"recovery": [cell("b", &[3]), cell("a", &[]), cell("c", &[4])], "machine": 2});
        let all = json!({"recovery": [cell("a", &[1]), cell("b", &[3]), cell("c", &[4])], "paced": 5, "machine": 2});
        assert_eq!(merged(&earlier, new.clone()), all);
        let all = json!({"recovery": [cell("b", &[3]), cell("c", &[4])], "machine": 2});
        assert_eq!(merged(&json!({}), new), all);
    }
}
