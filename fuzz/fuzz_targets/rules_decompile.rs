#![no_main]

use flowrules::decode;
use flowrules::decompile::{Names, decompile, statement};
use flowrules::language::{Options, compile};
use libfuzzer_sys::fuzz_target;

// Any rules can be written as source that compiles, and gives them back if it says so.
fuzz_target!(|data: &[u8]| {
    let Ok(rules) = decode(data) else { return };
    // The first half as a capability, the rest as base rules.
    let (capability, base) = rules.split_at(rules.len() / 2);
    let out = decompile(base, &[(1, capability)], &Names::default());
    assert_eq!(out.base_lines.len(), base.len());
    assert_eq!(out.capability_lines[0].1.len(), capability.len());
    let lines = out.text.lines().count() as u32;
    assert!(out.base_lines.iter().all(|line| (1..=lines).contains(line)));
    let program = compile(&out.text, &Options { strict: true }).expect("what is written compiles");
    if out.exact {
        assert_eq!(program.base.rules, base);
        assert_eq!(program.capabilities[0].section.rules, capability);
    }
    for index in 0..base.len() {
        assert!(!statement(base, index, &Names::default()).is_empty());
    }
});
