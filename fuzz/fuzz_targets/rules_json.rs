#![no_main]

use flowrules::{decode, encode, from_json, to_json};
use libfuzzer_sys::fuzz_target;

// An accepted rule is shown in a form that reads back as the same rule, and travels.
fuzz_target!(|data: &[u8]| {
    let Ok(value) = serde_json::from_slice(data) else { return };
    let Some(rule) = from_json(&value) else { return };
    assert_eq!(from_json(&to_json(&rule)).as_ref(), Some(&rule));
    assert_eq!(decode(&encode(std::slice::from_ref(&rule))), Ok(vec![rule]));
});
