//! Golden vectors of the binary and the JSON form.
#![allow(clippy::unwrap_used)]

mod support;

use flowrules::binary::decode_limited;
use flowrules::{Kind, Rule, decode, encode, from_json, to_json};
use support::{bytes, cases, hex, load, rules, text};

/// The value of an unknown entry is kept by this crate and not shown by the vectors.
fn without_unknown_values(mut rules: Vec<Rule>) -> Vec<Rule> {
    for rule in &mut rules {
        if let Kind::Unknown { value, .. } = &mut rule.kind {
            value.clear();
        }
    }
    rules
}

#[test]
fn vector_rules_binary_cases() {
    for case in cases(&load("rules_binary.json")["cases"]) {
        let name = text(case, "name");
        let binary = bytes(case, "binary");
        let expected = rules(&case["rules"]);
        assert_eq!(hex(&encode(&expected)), hex(&binary), "{name}");
        let back = case.get("parsed_back").map_or(expected, rules);
        let decoded = decode(&binary).unwrap();
        assert_eq!(decoded, back, "{name}");
        for rule in &decoded {
            if let Some(read) = from_json(&to_json(rule)) {
                let mut rule = rule.clone();
                if rule.kind.is_action() {
                    (rule.not, rule.or) = (false, false);
                }
                if let Kind::Redirect(target) = &mut rule.kind {
                    target.length = 0;
                }
                assert_eq!(read, rule, "{name}");
            }
        }
    }
}

#[test]
fn vector_rules_binary_parsing() {
    for case in cases(&load("rules_binary.json")["parsing"]) {
        let name = text(case, "name");
        let max = case["max_rules"].as_u64().unwrap() as usize;
        let decoded = decode_limited(&bytes(case, "binary"), max);
        assert_eq!(decoded.is_ok(), case["ok"].as_bool().unwrap(), "{name}: {decoded:?}");
        if let Ok((decoded, consumed)) = decoded {
            assert_eq!(consumed as u64, case["consumed"].as_u64().unwrap(), "{name}");
            assert_eq!(without_unknown_values(decoded), rules(&case["rules"]), "{name}");
        }
    }
}

#[test]
fn vector_rules_api_to_wire() {
    for case in cases(&load("vl2/rules-api-wire.json")) {
        let input = &case["input"];
        // Accepted on purpose: the reference shows it and cannot read it back.
        if input["type"] == "INTEGER_RANGE" {
            continue;
        }
        let rule = from_json(input);
        assert_eq!(rule.is_some(), case["accepted"].as_bool().unwrap(), "{input}");
        let Some(rule) = rule else { continue };
        assert_eq!(to_json(&rule), case["stored"], "{input}");
        assert_eq!(hex(&encode(&[rule])), text(case, "wire"), "{input}");
    }
}
