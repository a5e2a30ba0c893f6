//! JSON as the reference tool prints it.

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

/// A text, number or boolean as text (`1` and `0` for booleans); `None` for anything else.
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(u8::from(*flag).to_string()),
        _ => None,
    }
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
}
