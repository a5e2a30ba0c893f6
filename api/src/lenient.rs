//! How JSON fields are read: the lenient conversions that existing clients rely on. Nothing here refuses anything.
//!
//! Specification: VL2 controller, HTTP API, type coercion.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// The most array elements that are looked at in any field; the rest is ignored.
pub const MAX_ARRAY: usize = 16384;

/// An integer: a number (negative ones wrap to `u64`, a fraction is cut), the leading decimal digits of a string
/// (none = 0), a boolean as 0/1, or else `default`.
pub fn int(value: Option<&Value>, default: u64) -> u64 {
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
pub fn signed(value: Option<&Value>, default: i64) -> i64 {
    int(value, default.cast_unsigned()).cast_signed()
}

/// [`int`] cut to its low 32 bits: identifiers and values of tags, identifiers of capabilities.
pub fn int32(value: Option<&Value>) -> u32 {
    (int(value, 0) & 0xffff_ffff) as u32
}

/// A boolean: a number is true when positive, a string when it begins with `t`, `T` or `1`.
pub fn boolean(value: Option<&Value>, default: bool) -> bool {
    match value {
        Some(Value::Bool(b)) => *b,
        Some(Value::Number(n)) => n.as_f64().is_some_and(|f| f > 0.0),
        Some(Value::String(s)) => matches!(s.as_bytes().first(), Some(b't' | b'T' | b'1')),
        _ => default,
    }
}

/// A string: a number as its decimal text, a boolean as `1`/`0`, or else `default`.
pub fn string(value: Option<&Value>, default: &str) -> String {
    match value {
        Some(Value::String(s)) => s.clone(),
        Some(Value::Number(n)) => n.to_string(),
        Some(Value::Bool(b)) => String::from(if *b { "1" } else { "0" }),
        _ => default.to_owned(),
    }
}

/// A string or nothing: what is not text (null, absent, an object …) is nothing.
pub fn optional_string(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).map(str::to_owned)
}

/// The elements of an array field, cut at [`MAX_ARRAY`]; `None` when the field is no array.
pub fn array(value: Option<&Value>) -> Option<&[Value]> {
    value.and_then(Value::as_array).map(|list| &list[..list.len().min(MAX_ARRAY)])
}

/// The address part of `ip` or `ip/bits`, whatever the bits say. IPv4-mapped text stays IPv6, as given.
pub fn ip(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.trim().parse().ok()
}

/// `ip/bits`; missing bits mean 0. `None` for text that is no address and for bits that do not fit the family.
pub fn prefix(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/').unwrap_or((text, "0"));
    let address: IpAddr = address.trim().parse().ok()?;
    let bits: u8 = bits.trim().parse().ok()?;
    (bits <= width(address)).then_some((address, bits))
}

/// Bits in an address of this family.
pub fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// Whatever a field holds, `null` too.
///
/// # Errors
/// What the deserializer says.
pub fn some_value<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(field).map(Some)
}

/// [`int`] as a field; `DEFAULT` for what is no number.
///
/// # Errors
/// What the deserializer says.
pub fn number<'de, const DEFAULT: u64, D: Deserializer<'de>>(field: D) -> Result<u64, D::Error> {
    Ok(int(Some(&Value::deserialize(field)?), DEFAULT))
}

/// [`int`] of a field that may be absent.
///
/// # Errors
/// What the deserializer says.
pub fn some_number<'de, const DEFAULT: u64, D: Deserializer<'de>>(field: D) -> Result<Option<u64>, D::Error> {
    number::<DEFAULT, D>(field).map(Some)
}

/// [`some_number`] of a field that `null` takes away.
///
/// # Errors
/// What the deserializer says.
pub fn some_number_or_null<'de, const DEFAULT: u64, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<Option<u64>>, D::Error> {
    let value = Value::deserialize(field)?;
    Ok(Some((!value.is_null()).then(|| int(Some(&value), DEFAULT))))
}

/// [`signed`] as a field.
///
/// # Errors
/// What the deserializer says.
pub fn time<'de, const DEFAULT: i64, D: Deserializer<'de>>(field: D) -> Result<i64, D::Error> {
    Ok(signed(Some(&Value::deserialize(field)?), DEFAULT))
}

/// [`signed`] of a field that may be absent; 0 for what is no number.
///
/// # Errors
/// What the deserializer says.
pub fn some_time<'de, D: Deserializer<'de>>(field: D) -> Result<Option<i64>, D::Error> {
    time::<0, D>(field).map(Some)
}

/// [`int32`] as a field.
///
/// # Errors
/// What the deserializer says.
pub fn id<'de, D: Deserializer<'de>>(field: D) -> Result<u32, D::Error> {
    Ok(int32(Some(&Value::deserialize(field)?)))
}

/// [`int32`] of a field; none for `null`.
///
/// # Errors
/// What the deserializer says.
pub fn some_id<'de, D: Deserializer<'de>>(field: D) -> Result<Option<u32>, D::Error> {
    let value = Value::deserialize(field)?;
    Ok((!value.is_null()).then(|| int32(Some(&value))))
}

/// [`boolean`] as a field; `DEFAULT` for what is no truth value.
///
/// # Errors
/// What the deserializer says.
pub fn flag<'de, const DEFAULT: bool, D: Deserializer<'de>>(field: D) -> Result<bool, D::Error> {
    Ok(boolean(Some(&Value::deserialize(field)?), DEFAULT))
}

/// [`boolean`] of a field that may be absent.
///
/// # Errors
/// What the deserializer says.
pub fn some_flag<'de, D: Deserializer<'de>>(field: D) -> Result<Option<bool>, D::Error> {
    flag::<false, D>(field).map(Some)
}

/// [`string`] as a field.
///
/// # Errors
/// What the deserializer says.
pub fn text<'de, D: Deserializer<'de>>(field: D) -> Result<String, D::Error> {
    Ok(string(Some(&Value::deserialize(field)?), ""))
}

/// [`string`] of a field that may be absent.
///
/// # Errors
/// What the deserializer says.
pub fn some_text<'de, D: Deserializer<'de>>(field: D) -> Result<Option<String>, D::Error> {
    text(field).map(Some)
}

/// What people are shown of a text that is not there.
#[must_use]
pub fn absent() -> String {
    "-".to_owned()
}

/// A text, number or boolean (as 1 and 0) as text; `-` for anything else, as people are shown it.
///
/// # Errors
/// What the deserializer says.
pub fn shown<'de, D: Deserializer<'de>>(field: D) -> Result<String, D::Error> {
    Ok(string(Some(&Value::deserialize(field)?), "-"))
}

/// [`optional_string`] as a field.
///
/// # Errors
/// What the deserializer says.
pub fn only_text<'de, D: Deserializer<'de>>(field: D) -> Result<Option<String>, D::Error> {
    Ok(optional_string(Some(&Value::deserialize(field)?)))
}

/// [`only_text`], and nothing for an empty text.
///
/// # Errors
/// What the deserializer says.
pub fn filled_text<'de, D: Deserializer<'de>>(field: D) -> Result<Option<String>, D::Error> {
    Ok(only_text(field)?.filter(|text| !text.is_empty()))
}

/// Whom traces go to: exactly ten characters; anything else is nobody.
///
/// # Errors
/// What the deserializer says.
pub fn trace_target<'de, D: Deserializer<'de>>(field: D) -> Result<Option<String>, D::Error> {
    Ok(only_text(field)?.filter(|target| target.len() == 10))
}

/// [`trace_target`] of a field that may be absent.
///
/// # Errors
/// What the deserializer says.
pub fn some_trace_target<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<String>>, D::Error> {
    trace_target(field).map(Some)
}

/// Text that can be read as a `T`; its default for anything else.
///
/// # Errors
/// What the deserializer says.
pub fn parsed<'de, T: FromStr + Default, D: Deserializer<'de>>(field: D) -> Result<T, D::Error> {
    Ok(only_text(field)?.and_then(|text| text.parse().ok()).unwrap_or_default())
}

/// An IP address, as [`ip`]; none for anything else.
///
/// # Errors
/// What the deserializer says.
pub fn some_ip<'de, D: Deserializer<'de>>(field: D) -> Result<Option<IpAddr>, D::Error> {
    Ok(only_text(field)?.as_deref().and_then(ip))
}

/// The elements of an array that are a `T`, cut at [`MAX_ARRAY`]; none when it is no array.
///
/// # Errors
/// What the deserializer says.
pub fn some_list<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let value = Value::deserialize(field)?;
    let list = array(Some(&value));
    Ok(list.map(|list| list.iter().filter_map(|element| T::deserialize(element).ok()).collect()))
}

/// [`some_list`], empty when it is no array.
///
/// # Errors
/// What the deserializer says.
pub fn list<'de, T: DeserializeOwned, D: Deserializer<'de>>(field: D) -> Result<Vec<T>, D::Error> {
    Ok(some_list(field)?.unwrap_or_default())
}

/// The objects of a list that are a `T`; none when it is no array. A derived reader would take an array for an object, too.
///
/// # Errors
/// What the deserializer says.
pub fn some_objects<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let list = some_list::<Map<String, Value>, D>(field)?;
    let read = |object: Map<String, Value>| T::deserialize(Value::Object(object)).ok();
    Ok(list.map(|list| list.into_iter().filter_map(read).collect()))
}

/// [`some_objects`], empty when it is no array.
///
/// # Errors
/// What the deserializer says.
pub fn objects<'de, T: DeserializeOwned, D: Deserializer<'de>>(field: D) -> Result<Vec<T>, D::Error> {
    Ok(some_objects(field)?.unwrap_or_default())
}

/// The addresses of a list, as [`ip`].
///
/// # Errors
/// What the deserializer says.
pub fn ips<'de, D: Deserializer<'de>>(field: D) -> Result<Vec<IpAddr>, D::Error> {
    Ok(list::<String, D>(field)?.iter().filter_map(|text| ip(text)).collect())
}

/// IDs in a list, as [`int32`].
///
/// # Errors
/// What the deserializer says.
pub fn some_ids<'de, D: Deserializer<'de>>(field: D) -> Result<Option<BTreeSet<u32>>, D::Error> {
    let list = some_list::<Value, D>(field)?;
    Ok(list.map(|list| list.iter().map(|value| int32(Some(value))).collect()))
}

/// [`some_ids`], empty when it is no array.
///
/// # Errors
/// What the deserializer says.
pub fn ids<'de, D: Deserializer<'de>>(field: D) -> Result<BTreeSet<u32>, D::Error> {
    Ok(some_ids(field)?.unwrap_or_default())
}

/// A `T`, or its default for what is none.
///
/// # Errors
/// What the deserializer says.
pub fn or_default<'de, T: DeserializeOwned + Default, D: Deserializer<'de>>(field: D) -> Result<T, D::Error> {
    Ok(T::deserialize(Value::deserialize(field)?).unwrap_or_default())
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
