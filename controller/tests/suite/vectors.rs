//! Rules posted to the API, as stored and as they reach a member, against the golden data.

use crate::common::{Fixture, NETWORK, member};
use serde_json::{Value, json};

#[test]
fn vector_rules_from_api_to_wire() {
    let folder = std::env::var("ZTNODE_VECTORS")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors").to_owned());
    let text = std::fs::read_to_string(format!("{folder}/vl2/rules-api-wire.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(!cases.is_empty());
    let mut checked = 0;
    for case in &cases {
        let kind = case["input"]["type"].as_str().unwrap();
        // Specification, MAY IMPROVE: the reference controller refuses rules it knows how to enforce.
        if case["accepted"] == false && matches!(kind, "ACTION_PRIORITY" | "INTEGER_RANGE") {
            continue;
        }
        let mut fixture = Fixture::with(json!({"private": false, "rules": [case["input"]]}));
        let stored = fixture.get(&format!("/controller/network/{NETWORK}"))["rules"].clone();
        let config = fixture.ask(&member(0x11_2233_4455)).config();
        if case["accepted"] == true {
            assert_eq!(stored, json!([case["stored"]]), "{case}");
        } else {
            assert_eq!(stored, json!([]), "{case}");
        }
        let wire: String = flowrules::encode(&config.rules).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(wire, case["wire"].as_str().unwrap(), "{case}");
        checked += 1;
    }
    assert!(checked > 0);
}
