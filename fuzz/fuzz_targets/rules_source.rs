#![no_main]

use flowrules::Rule;
use flowrules::decompile::{Names, decompile};
use flowrules::language::{Options, compile, statement_text};
use flowrules::lint::lint;
use libfuzzer_sys::fuzz_target;

// Any text gives a program or an error that can be shown; the modes agree on what the strict one accepts; a program's
// decompiled form compiles to the same rules.
fuzz_target!(|data: &[u8]| {
    let source = String::from_utf8_lossy(data);
    let strict = compile(&source, &Options { strict: true });
    let lenient = compile(&source, &Options::default());
    if let Ok(program) = &strict {
        assert_eq!(lenient.as_ref().ok(), Some(program));
        assert!(program.leniencies.is_empty());
        let capabilities: Vec<(u32, &[Rule])> =
            program.capabilities.iter().map(|c| (c.id, c.section.rules.as_slice())).collect();
        let out = decompile(&program.base.rules, &capabilities, &Names::from(program));
        assert!(out.exact, "{}", out.text);
    }
    for result in [strict, lenient] {
        match result {
            Ok(program) => {
                serde_json::from_str::<serde_json::Value>(&program.to_json()).expect("JSON is printed");
                assert_eq!(program.base.rules.len(), program.base.json.len());
                for place in program.base.places.iter().take(100) {
                    assert!(!statement_text(&source, place).is_empty());
                }
                lint(&program, &source, &Default::default());
            }
            Err(error) => {
                assert!(source.get(error.span.clone()).is_some());
                assert!(error.hint.is_some());
                error.render("fuzz", &source);
            }
        }
    }
});
