//! The JSON form of rules, as the controller API shows and accepts them.
//!
//! An object with `type` and, for matches, `not` and `or`. Reading is lenient in the way existing tools rely on:
//! numbers may be decimal strings, booleans may be numbers or strings, missing fields have defaults. Specification:
//! flow rules, JSON form; controller HTTP API, type coercion.

use serde_json::{Map, Value};

use crate::rule::{Kind, Rule};

/// Renders an entry.
pub fn to_json(rule: &Rule) -> Value {
    let mut out = Map::new();
    out.insert("type".into(), rule.kind.name().into());
    if !rule.kind.is_action() {
        out.insert("not".into(), rule.not.into());
        out.insert("or".into(), rule.or.into());
    }
    rule.kind.show(&mut out);
    Value::Object(out)
}

/// Reads an entry; `None` if it is not an object or its `type` is not one the API accepts.
pub fn from_json(value: &Value) -> Option<Rule> {
    let object = value.as_object()?;
    let kind = Kind::read(&string(object.get("type"), ""), object)?;
    let match_bit = |key: &str| !kind.is_action() && boolean(object.get(key), false);
    Some(Rule { not: match_bit("not"), or: match_bit("or"), kind })
}

/// A JSON value where an integer is wanted: a number (negative wraps to 64 bits, a fraction is cut), the leading
/// decimal digits of a string, a boolean as 0 or 1, else `default`.
pub fn int(value: Option<&Value>, default: u64) -> u64 {
    match value {
        Some(Value::Number(n)) => n.as_u64().or_else(|| n.as_i64().map(|v| v as u64)).unwrap_or_else(|| {
            n.as_f64().map_or(default, |v| if v < 0.0 { v as i64 as u64 } else { v as u64 })
        }),
        Some(Value::String(s)) => {
            let s = s.trim_start();
            let digits = s.len() - s.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            if digits == 0 { 0 } else { s[..digits].parse().unwrap_or(u64::MAX) }
        }
        Some(Value::Bool(b)) => u64::from(*b),
        _ => default,
    }
}

/// A JSON value where a boolean is wanted: a number is true above zero, a string if it begins with `t`, `T` or `1`.
pub fn boolean(value: Option<&Value>, default: bool) -> bool {
    match value {
        Some(Value::Bool(b)) => *b,
        Some(Value::Number(n)) => n.as_f64().is_some_and(|v| v > 0.0),
        Some(Value::String(s)) => matches!(s.as_bytes().first(), Some(b't' | b'T' | b'1')),
        _ => default,
    }
}

/// A JSON value where a string is wanted: a number as decimal text, a boolean as `1` or `0`.
pub fn string<'a>(value: Option<&'a Value>, default: &'a str) -> std::borrow::Cow<'a, str> {
    match value {
        Some(Value::String(s)) => s.as_str().into(),
        Some(Value::Number(n)) => n.to_string().into(),
        Some(Value::Bool(b)) => if *b { "1" } else { "0" }.into(),
        _ => default.into(),
    }
}
