//! Reading the golden vectors.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::missing_panics_doc, clippy::unwrap_used)]

use std::path::PathBuf;

pub use serde_json::Value;

/// The folder of the vectors: `ZTNODE_VECTORS`, or the one in the repository.
pub fn folder() -> PathBuf {
    std::env::var_os("ZTNODE_VECTORS")
        .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors").into(), PathBuf::from)
}

/// A vector file.
pub fn load(name: &str) -> Value {
    let path = folder().join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The non-empty list `key`.
pub fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    let list = value[key].as_array().unwrap_or_else(|| panic!("no list {key}"));
    assert!(!list.is_empty(), "{key} is empty");
    list
}

/// The text `key`.
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key} in {value}"))
}

/// The number `key`.
pub fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("no number {key} in {value}"))
}

/// The truth value `key`.
pub fn flag(value: &Value, key: &str) -> bool {
    value[key].as_bool().unwrap_or_else(|| panic!("no truth value {key} in {value}"))
}

/// The hex number `key`.
pub fn id(value: &Value, key: &str) -> u64 {
    u64::from_str_radix(text(value, key), 16).unwrap_or_else(|_| panic!("{key} is no hex number"))
}

/// Decodes hex.
pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "odd hex {text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The bytes `key`.
pub fn bytes(value: &Value, key: &str) -> Vec<u8> {
    unhex(text(value, key))
}

/// The bytes `key`, of known length.
pub fn array<const N: usize>(value: &Value, key: &str) -> [u8; N] {
    bytes(value, key).try_into().unwrap_or_else(|_| panic!("{key} has not {N} bytes"))
}

/// Encodes hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The name of a case.
pub fn name(case: &Value) -> &str {
    case["name"].as_str().unwrap_or("unnamed")
}

/// The endpoint `key` in the notation `ip/port`; null is none.
pub fn endpoint(value: &Value, key: &str) -> Option<std::net::SocketAddr> {
    value[key].as_str().map(|text| protocol::inet::parse_endpoint(text).unwrap())
}
