//! How the controller's JSON fields are read: the lenient conversions that existing clients rely on.
//!
//! Specification: VL2 controller, HTTP API, type coercion.

use std::net::IpAddr;

use serde_json::{Map, Value};

/// The most array elements that are looked at in any field; the rest is ignored.
pub(crate) const MAX_ARRAY: usize = 16384;

/// An integer: a number (negative ones wrap to `u64`, a fraction is cut), the leading decimal digits of a string
/// (none = 0), a boolean as 0/1, or else `default`.
pub(crate) fn int(value: Option<&Value>, default: u64) -> u64 {
    match value {
        Some(Value::Number(n)) => {
            if let Some(unsigned) = n.as_u64() {
                unsigned
            } else if let Some(signed) = n.as_i64() {
                signed.cast_unsigned()
            } else {
                // Float casts saturate, so no input is undefined here.
                n.as_f64().map_or(default, |f| if f < 0.0 { (f as i64).cast_unsigned() } else { f as u64 })
            }
        }
        Some(Value::String(text)) => {
            let text = text.trim_start();
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            text[..digits].parse().unwrap_or(if digits == 0 { 0 } else { u64::MAX })
        }
        Some(Value::Bool(b)) => u64::from(*b),
        _ => default,
    }
}

/// [`int`] for times and for values whose default is negative.
pub(crate) fn signed(value: Option<&Value>, default: i64) -> i64 {
    int(value, default.cast_unsigned()).cast_signed()
}

/// [`int`] cut to its low 32 bits: identifiers and values of tags, identifiers of capabilities.
pub(crate) fn int32(value: Option<&Value>) -> u32 {
    (int(value, 0) & 0xffff_ffff) as u32
}

/// A boolean: a number is true when positive, a string when it begins with `t`, `T` or `1`.
pub(crate) fn boolean(value: Option<&Value>, default: bool) -> bool {
    match value {
        Some(Value::Bool(b)) => *b,
        Some(Value::Number(n)) => n.as_f64().is_some_and(|f| f > 0.0),
        Some(Value::String(s)) => matches!(s.as_bytes().first(), Some(b't' | b'T' | b'1')),
        _ => default,
    }
}

/// A string: a number as its decimal text, a boolean as `1`/`0`, or else `default`.
pub(crate) fn string(value: Option<&Value>, default: &str) -> String {
    match value {
        Some(Value::String(s)) => s.clone(),
        Some(Value::Number(n)) => n.to_string(),
        Some(Value::Bool(b)) => String::from(if *b { "1" } else { "0" }),
        _ => default.to_owned(),
    }
}

/// A string or nothing: what is not text (null, absent, an object …) is nothing.
pub(crate) fn optional_string(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).map(str::to_owned)
}

/// The elements of an array field, cut at [`MAX_ARRAY`]; `None` when the field is no array.
pub(crate) fn array(value: Option<&Value>) -> Option<&[Value]> {
    value.and_then(Value::as_array).map(|list| &list[..list.len().min(MAX_ARRAY)])
}

/// The address part of `ip` or `ip/bits`, whatever the bits say. IPv4-mapped text stays IPv6, as given.
pub(crate) fn ip(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.trim().parse().ok()
}

/// `ip/bits`; missing bits mean 0. `None` for text that is no address and for bits that do not fit the family.
pub(crate) fn prefix(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/').unwrap_or((text, "0"));
    let address: IpAddr = address.trim().parse().ok()?;
    let bits: u8 = bits.trim().parse().ok()?;
    (bits <= width(address)).then_some((address, bits))
}

/// Bits in an address of this family.
pub(crate) fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// The fields of a stored record that its typed form does not know: they survive every later save.
///
/// `known` are the keys the typed form renders itself, `dropped` those that are never stored.
pub(crate) fn unknown(record: &Map<String, Value>, known: &[&str], dropped: &[&str]) -> Map<String, Value> {
    record
        .iter()
        .filter(|(key, _)| !known.contains(&key.as_str()) && !dropped.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn integers() {
        for (value, want) in [
            (json!(7), 7),
            (json!(-1), u64::MAX),
            (json!(2.9), 2),
            (json!("12ab"), 12),
            (json!("x"), 0),
            (json!(""), 0),
            (json!("99999999999999999999999"), u64::MAX),
            (json!(true), 1),
            (json!(null), 5),
            (json!([]), 5),
        ] {
            assert_eq!(int(Some(&value), 5), want, "{value}");
        }
        assert_eq!(int(None, 9), 9);
        assert_eq!(signed(Some(&json!(-1)), 0), -1);
        assert_eq!(signed(None, -1), -1);
    }

    #[test]
    fn booleans_and_strings() {
        for (value, want) in [
            (json!("true"), true),
            (json!("T"), true),
            (json!("1"), true),
            (json!("yes"), false),
            (json!(""), false),
            (json!(2), true),
            (json!(0), false),
            (json!(-3), false),
        ] {
            assert_eq!(boolean(Some(&value), !want), want, "{value}");
        }
        assert!(boolean(Some(&json!(null)), true));
        assert_eq!(string(Some(&json!(12)), ""), "12");
        assert_eq!(string(Some(&json!(false)), ""), "0");
        assert_eq!(string(Some(&json!({})), "d"), "d");
    }

    #[test]
    fn addresses() {
        assert_eq!(ip("10.1.2.3/8"), Some("10.1.2.3".parse().unwrap()));
        assert_eq!(ip("nonsense."), None);
        assert_eq!(prefix("10.0.0.0/16"), Some(("10.0.0.0".parse().unwrap(), 16)));
        assert_eq!(prefix("10.0.0.0"), Some(("10.0.0.0".parse().unwrap(), 0)));
        assert_eq!(prefix("10.0.0.0/33"), None);
        assert_eq!(prefix("fd00::/129"), None);
        assert_eq!(prefix("fd00::/x"), None);
    }
}
