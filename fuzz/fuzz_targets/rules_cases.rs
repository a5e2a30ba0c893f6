#![no_main]

use std::collections::BTreeMap;

use flowrules::cases::{Scenes, Vocabulary, parse};
use flowrules::explain::{Book, Rules, tell};
use flowrules::language::{Options, compile};
use libfuzzer_sys::fuzz_target;

// Rules, a zero byte, cases: both are refused with a place or every case has an outcome that can be told.
fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (source, cases) = text.split_once('\0').unwrap_or(("accept;", text));
    let Ok(program) = compile(source, &Options::default()) else { return };
    let file = match parse(cases) {
        Ok(file) => file,
        Err(error) => return drop(error.render("cases", cases)),
    };
    let book = Book::of_program(&program, source);
    let vocabulary = Vocabulary::from(&program);
    let capabilities: BTreeMap<_, _> =
        program.capabilities.iter().map(|one| (one.id, one.section.rules.clone())).collect();
    let rules = Rules { base: &program.base.rules, capabilities: &capabilities };
    let mac = |address: u64| [2, 0, 0, 0, 0, address as u8];
    let Ok(scenes) = Scenes::new(&file, rules, &book, &vocabulary, &mac) else { return };
    for case in &file.cases {
        match scenes.run(case) {
            Ok(outcome) => drop(tell(&outcome.walks, &rules, &book, &|address| file.name_of(address), true)),
            Err(error) => drop(error.render("cases", cases)),
        }
    }
});
