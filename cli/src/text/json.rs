//! JSON as the reference tool prints it, and tolerant access to fields of a reply nobody vouches for.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize as _;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value};

/// One-space indentation, sorted keys, no final newline.
pub fn dump(value: &Value) -> String {
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b" "));
    if sorted(value).serialize(&mut serializer).is_err() {
        // Only a failing writer or a key that is no string could do this; a vector and a map of strings are neither.
        return value.to_string();
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The same value with the keys of every object in byte order, however the JSON library keeps them.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort();
            Value::Object(
                keys.into_iter().map(|key| (key.clone(), sorted(&fields[key]))).collect::<Map<_, _>>(),
            )
        }
        other => other.clone(),
    }
}

/// The items of an array field; empty when it is no array.
pub fn items<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

/// A text, number or boolean as text (`1` and `0` for booleans); `None` for anything else.
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(u8::from(*flag).to_string()),
        _ => None,
    }
}

/// A field as printable text, `-` when it has none.
pub fn text(value: &Value, field: &str) -> String {
    scalar(&value[field]).map_or_else(|| "-".to_owned(), |text| super::printable(&text))
}

/// A field as an integer; 0 when it has none. Fractions are cut.
pub fn int(value: &Value, field: &str) -> i64 {
    match &value[field] {
        // A float outside the range saturates, which is what a display wants.
        Value::Number(number) => number.as_i64().unwrap_or_else(|| number.as_f64().unwrap_or(0.0) as i64),
        Value::Bool(flag) => i64::from(*flag),
        Value::String(text) => text.parse().unwrap_or(0),
        _ => 0,
    }
}

/// A field as a fraction; 0 when it has none.
pub fn float(value: &Value, field: &str) -> f64 {
    value[field].as_f64().unwrap_or(0.0)
}

/// A field as a truth: `true`, or a number other than 0.
pub fn flag(value: &Value, field: &str) -> bool {
    match &value[field] {
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64().is_some_and(|number| number != 0.0),
        _ => false,
    }
}

/// `[{"id", "value"}]` or `[[id, value]]` of an object's `tags`.
pub fn tags(object: &Value) -> BTreeMap<u32, u32> {
    let number = |value: &Value| value.as_i64().map(|value| value as u32);
    items(object, "tags")
        .iter()
        .filter_map(|tag| match tag {
            Value::Array(pair) => Some((number(pair.first()?)?, number(pair.get(1)?)?)),
            tag => Some((number(&tag["id"])?, number(&tag["value"])?)),
        })
        .collect()
}

/// An array of 32-bit IDs; what is none is left out.
pub fn ids(object: &Value, field: &str) -> BTreeSet<u32> {
    items(object, field).iter().filter_map(|id| u32::try_from(id.as_i64()?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_space_sorted_and_compact_when_empty() {
        let value = json!({"b": [], "a": {"z": 1, "y": [true, null, "é"]}, "c": {}});
        let expected = "{\n \"a\": {\n  \"y\": [\n   true,\n   null,\n   \"é\"\n  ],\n  \"z\": 1\n },\n \"b\": [],\n \"c\": {}\n}";
        assert_eq!(dump(&value), expected);
    }

    #[test]
    fn odd_types_never_panic() {
        for value in
            [json!(null), json!([]), json!("x"), json!({"f": {}}), json!({"f": 1e300}), json!({"f": -1})]
        {
            let _ = (
                text(&value, "f"),
                int(&value, "f"),
                float(&value, "f"),
                flag(&value, "f"),
                items(&value, "f"),
            );
        }
        assert_eq!(int(&json!({"f": 1e300}), "f"), i64::MAX);
        assert_eq!(text(&json!({"f": "a\u{1b}[2J\nb"}), "f"), "a?[2J?b");
    }
}
