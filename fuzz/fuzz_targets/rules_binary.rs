#![no_main]

use flowrules::{MAX_RULES, decode, encode, from_json, to_json};
use libfuzzer_sys::fuzz_target;

// What decodes is stable, and everything the API knows survives its JSON.
fuzz_target!(|data: &[u8]| {
    let Ok(rules) = decode(data) else { return };
    assert!(rules.len() <= MAX_RULES);
    assert_eq!(decode(&encode(&rules)).as_ref(), Ok(&rules));
    for rule in &rules {
        if let Some(read) = from_json(&to_json(rule)) {
            assert_eq!(read.kind.number(), rule.kind.number());
        }
    }
});
