//! Reading the golden vectors.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use std::path::PathBuf;

use flowrules::{Kind, Rule, from_json};
pub use serde_json::Value;

/// A vector file, from the folder `ZTNODE_VECTORS` or the one in the repository.
pub fn load(name: &str) -> Value {
    let folder: PathBuf = std::env::var_os("ZTNODE_VECTORS")
        .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors").into(), PathBuf::from);
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A list that is not empty.
pub fn cases(value: &Value) -> &[Value] {
    let list = value.as_array().expect("a list");
    assert!(!list.is_empty(), "no cases");
    list
}

pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key} in {value}"))
}

pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "odd hex {text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

pub fn bytes(value: &Value, key: &str) -> Vec<u8> {
    unhex(text(value, key))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn hex_number(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap()
}

pub fn mac(text: &str) -> [u8; 6] {
    unhex(&text.replace(':', "")).try_into().unwrap()
}

/// A rule in the vectors' JSON: the API's, and what the API cannot say.
pub fn rule(value: &Value) -> Rule {
    let name = text(value, "type");
    let mut rule = if name == "ACTION_PRIORITY" {
        Rule::new(Kind::Priority(value["qosBucket"].as_u64().unwrap() as u8))
    } else if let Some(number) = name.strip_prefix("UNKNOWN_ACTION_").or(name.strip_prefix("UNKNOWN_MATCH_"))
    {
        Rule::new(Kind::Unknown { number: number.parse().unwrap(), value: Vec::new() })
    } else {
        from_json(value).unwrap_or_else(|| panic!("not a rule: {value}"))
    };
    rule.not = value["not"] == true;
    rule.or = value["or"] == true;
    if let Kind::Redirect(target) = &mut rule.kind {
        target.length = value["length"].as_u64().unwrap_or(0) as u16;
    }
    // The API clamps the prefix length, the binary form carries any.
    let bits = || text(value, "ip").rsplit('/').next().unwrap().parse().unwrap();
    match &mut rule.kind {
        Kind::Ipv4Source(_, length) | Kind::Ipv4Dest(_, length) => *length = bits(),
        Kind::Ipv6Source(_, length) | Kind::Ipv6Dest(_, length) => *length = bits(),
        _ => {}
    }
    rule
}

pub fn rules(value: &Value) -> Vec<Rule> {
    value.as_array().expect("a rule list").iter().map(rule).collect()
}
