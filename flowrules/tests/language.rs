//! The rule language: errors and how they are shown, liberties, bounds, places, decompiling.
#![allow(missing_docs, clippy::unwrap_used)]

use flowrules::decompile::{Names, decompile, statement};
use flowrules::language::{
    MAX_ENTRIES, MAX_INCLUDE_DEPTH, MAX_SOURCE, Options, Place, Program, SourceError, compile, statement_text,
};
use flowrules::rule::{IntegerRange, Target};
use flowrules::{Kind, Rule};
use proptest::prelude::*;

const STRICT: Options = Options { strict: true };
const LENIENT: Options = Options { strict: false };

fn good(source: &str) -> Program {
    compile(source, &STRICT).unwrap_or_else(|error| panic!("{}", error.render("test", source)))
}

fn bad(source: &str) -> SourceError {
    compile(source, &LENIENT).expect_err(source)
}

fn place(line: u32, column: u32) -> Place {
    Place { line, column, included_at: None }
}

fn kinds(program: &Program) -> Vec<&Kind> {
    program.base.rules.iter().map(|rule| &rule.kind).collect()
}

// --- errors ---

#[test]
fn an_error_shows_line_word_and_hint() {
    let source = "accept ethertype arp;\ndrop etherytpe ipv4;\n";
    assert_eq!(
        bad(source).render("my.rules", source),
        "ERROR parsing my.rules line 2 column 6: Unrecognized match type \"etherytpe\".\n\
         2 | drop etherytpe ipv4;\n  |      ^^^^^^^^^\n\
         hint: did you mean `ethertype`?"
    );
}

#[test]
fn the_underline_follows_tabs_wide_characters_and_crlf() {
    let source = "# header\r\n\tdrop\tfoo 1;\r\n";
    let error = bad(source);
    let rendered = error.render("f", source);
    let lines: Vec<&str> = rendered.lines().collect();
    assert_eq!(lines[1], "2 |     drop    foo 1;");
    assert_eq!(lines[2], "  |             ^^^");
    // The comment that ended with CRLF counted twice.
    assert_eq!((error.line, error.column), (3, 7));
    assert_eq!(error.place(source), place(2, 7));

    let source = "tag 部署 id 1 enum 1 é; accept teq 部署 été;";
    let rendered = bad(source).render("f", source);
    let lines: Vec<&str> = rendered.lines().collect();
    let cells_before = lines[2].find('^').unwrap() - "1 | ".len();
    // 部 and 署 are two cells each, twice.
    assert_eq!(cells_before, "tag 部署 id 1 enum 1 é; accept teq 部署 ".chars().count() + 4);
    assert_eq!(lines[2].matches('^').count(), 3);
}

#[test]
fn very_long_lines_are_cut_around_the_word() {
    let source = format!("drop {}bogus 1 {};", "dport 1 and ".repeat(1000), "and dport 2 ".repeat(1000));
    let rendered = bad(&source).render("f", &source);
    let lines: Vec<&str> = rendered.lines().collect();
    assert!(lines[1].chars().count() < 120, "{}", lines[1]);
    let at = lines[2].chars().position(|c| c == '^').unwrap();
    let shown: String = lines[1].chars().skip(at).take(5).collect();
    assert_eq!(shown, "bogus");
    assert!(lines[1].starts_with("1 | …") && lines[1].ends_with('…'));
    // A word longer than a line is cut, too.
    let source = format!("drop dport {};", "x".repeat(100_000));
    assert!(bad(&source).render("f", &source).len() < 2000);
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let source = "drop \u{1b}[31mfoo\u{7} 1;";
    let rendered = bad(source).render("f", source);
    assert!(!rendered.contains('\u{1b}') && !rendered.contains('\u{7}'), "{rendered:?}");
}

#[test]
fn errors_in_macros_name_the_include() {
    let source = "macro m($p)\n  drop dport $p;\n;\n\ninclude m(70000)\naccept;";
    let error = bad(source);
    assert_eq!(error.message, "Invalid numeric range.");
    assert_eq!(error.place(source), Place { line: 2, column: 14, included_at: Some(5) });
    assert!(error.render("f", source).contains("included at line 5"));
}

#[test]
fn hints_say_what_to_write() {
    for (source, hint) in [
        ("drop ipprotocol icmp;", "icmp4"),
        ("drop ethertype IPv4;", "`ipv4`"),
        ("drop ethertype ipv5;", "`ipv4`"),
        ("drop tcp and dport 5;", "ipprotocol tcp"),
        ("drop arp;", "ethertype arp"),
        ("drop tcp_syn;", "chr tcp_syn"),
        ("drop chr syn;", "tcp_syn"),
        ("drop chr Inbound;", "inbound"),
        ("permit dport 5;", "`accept`"),
        ("deny;", "`drop`"),
        ("acept dport 5;", "`accept`"),
        ("drop port 5;", "`dport`"),
        ("drop dport 5\naccept dport 6;", "`;`"),
        ("dport 5;", "accept dport"),
        ("macro m drop dport 1; ;\nm", "include m"),
        ("macro mail drop dport 25; ;\ninclude mial", "`mail`"),
        ("include m (1)", "macro"),
        ("macro m($a) drop dport $a; ;\ninclude m (1)", "without blanks"),
        ("macro m($port) drop dport $prot; ;\ninclude m(1)", "`$port`"),
        ("tag server id 1;\naccept teq sever 1;", "`server`"),
        ("tag t id 1 enum 1 sales;\naccept teq t sale;", "`sales`"),
        ("tag t id 1 enum sales 1;", "enum 1 sales"),
        ("tag t\n id 1;\n enum 1 x;", "ended"),
        ("tag t id 1 flags 1 x;", "`flag`"),
        ("TAG t id 1;", "lower case"),
        ("accept;;", "blank"),
        ("accept; // all", "comment"),
        ("DROP dport 5;", "`drop`"),
        ("drop ipsrc 10.0.0.1;", "10.0.0.1/32"),
        ("drop ipsrc fd00::1;", "fd00::1/128"),
        ("tee -1;", "tee -1 ADDRESS"),
        ("macro m($a) tee -1 $a; ;\ninclude m(0123456789)", "parameters"),
        ("accept;drop dport 5;", "blank"),
        ("drop && dport 5;", "`and`"),
    ] {
        let error = bad(source);
        let given = error.hint.clone().unwrap_or_default();
        assert!(given.contains(hint), "{source}: {error}: {given}");
    }
}

#[test]
fn strict_errors_about_bare_actions_say_so() {
    let error = compile("drop;\naccept ethertype arp;", &STRICT).unwrap_err();
    assert_eq!(error.to_string(), "line 2 column 1: Unrecognized match type \"accept\".");
    assert!(error.hint.unwrap().contains("`DROP;`"));
    let error = bad("tee -1 0123456789\naccept;");
    assert!(error.hint.unwrap().contains("`;` missing"));
}

#[test]
fn a_reserved_argument_is_underlined_though_the_position_is_before_it() {
    let source = "drop ipprotocol icmp;";
    let error = bad(source);
    assert_eq!((error.line, error.column), (1, 5));
    assert_eq!(&source[error.span], "icmp");
}

// --- liberties ---

#[test]
fn bare_actions_may_stand_anywhere() {
    for (source, expected) in [
        ("drop;\naccept ethertype arp;", "DROP;\naccept ethertype arp;"),
        ("accept ;\ndrop chr broadcast;", "ACCEPT;\ndrop chr broadcast;"),
        ("break ; include m\nmacro m drop dport 9; ;", "BREAK; include m\nmacro m drop dport 9; ;"),
        ("cap a id 1\n drop ;\n accept ;\n;", "cap a id 1\n DROP\n ACCEPT\n;"),
        ("cap a\n accept ;\n id 1\n;", "cap a\n ACCEPT\n id 1\n;"),
        ("drop; accept", "DROP; accept"),
    ] {
        assert!(compile(source, &STRICT).is_err(), "{source}");
        let program = compile(source, &LENIENT).unwrap_or_else(|e| panic!("{}", e.render("f", source)));
        assert!(!program.leniencies.is_empty());
        assert_eq!(program.to_json(), good(expected).to_json(), "{source}");
    }
}

#[test]
fn the_default_mode_never_changes_what_the_reference_accepts() {
    // Bare in form, but the reference reads matches behind them, and so do both modes.
    for source in ["drop; ethertype arp;\naccept;", "drop ;\n;\nethertype arp;", "accept; not chr inbound"] {
        let program = compile(source, &LENIENT).unwrap();
        assert_eq!(program, good(source));
        assert!(program.leniencies.is_empty());
        assert_eq!(program.base.rules.iter().filter(|rule| !rule.kind.is_action()).count(), 1);
    }
}

// --- bounds ---

#[test]
fn bounds_are_named() {
    let error = bad(&" ".repeat(MAX_SOURCE + 1));
    assert!(error.message.contains(&MAX_SOURCE.to_string()), "{error}");
    assert_eq!((error.line, error.column, error.span), (0, 0, 0..0));

    let many = format!("macro m {} ;\n{}", "drop dport 1;\n".repeat(1000), "include m\n".repeat(40));
    let error = bad(&many);
    assert!(error.message.contains(&MAX_ENTRIES.to_string()), "{error}");

    // 2^40 includes, each of nothing.
    let mut bomb = String::from("macro m0 ;\n");
    for level in 1..=40 {
        bomb += &format!("macro m{level} include m{0} include m{0} ;\n", level - 1);
    }
    let error = bad(&format!("{bomb}include m40"));
    assert!(error.message.starts_with("Too large"), "{error}");

    let mut chain = String::from("macro m0 drop dport 1; ;\n");
    for level in 1..=MAX_INCLUDE_DEPTH {
        chain += &format!("macro m{level} include m{} ;\n", level - 1);
    }
    assert_eq!(good(&format!("{chain}include m{}", MAX_INCLUDE_DEPTH - 1)).base.rules.len(), 2);
    let error = bad(&format!("{chain}include m{MAX_INCLUDE_DEPTH}"));
    assert!(error.message.contains("nested deeper"), "{error}");

    // A long argument used again and again.
    let long = format!(
        "macro m($a) accept chr $a,$a; ;\nmacro n($a) {} ;\ninclude n(x)",
        format!("drop chr {};\n", "1,".repeat(200_000)).as_str()
    );
    let repeated = format!("{}\n{}", long.replace("include n(x)", ""), "include n(x)\n".repeat(2000));
    assert!(bad(&repeated).message.starts_with("Too large"));
}

#[test]
fn deep_nesting_costs_no_stack() {
    for word in ["drop ", "cap ", "macro ", "tag "] {
        let source = word.repeat(MAX_SOURCE / word.len());
        let _ = compile(&source, &LENIENT);
        let source = format!("{}{}", word.repeat(50_000), "x; ".repeat(50_000));
        let error = compile(&source, &LENIENT).unwrap_err();
        error.render("f", &source);
    }
}

#[test]
fn time_grows_with_the_source() {
    // What would take hours if anything were looked at once per word and not once.
    for source in [
        format!("bogus drop {}", "; ".repeat(MAX_SOURCE / 2 - 10)),
        format!("drop; accept {}", "drop ; ".repeat(MAX_SOURCE / 7 - 10)),
        format!("include x {}", "macro a ; ".repeat(MAX_SOURCE / 10 - 10)),
        (0..50_000).map(|index| format!("macro a{index} ;\n")).collect::<String>() + "include b",
        format!(
            "tag t id 1 {}",
            (0..40_000).map(|index| format!("enum {index} a{index}\n")).collect::<String>()
        ),
        "tee -1 0123456789 ".repeat(MAX_SOURCE / 18),
    ] {
        check_any(&source);
    }
}

#[test]
fn recursion_is_an_error_only_if_nothing_else_is() {
    let error = bad("macro a include b ;\nmacro b include a ;\ninclude a");
    assert!(error.message.contains("includes itself"), "{error}");
    assert_eq!((error.line, error.column), (2, 17));
    // The second round has another argument and fails before it could go on forever, as in the reference.
    let error = bad("macro m($a) drop dport $a; include m(x) ;\ninclude m(80)");
    assert_eq!(error.message, "Invalid numeric range.");
}

// --- places and statements ---

#[test]
fn entries_know_their_statement() {
    let source = "# two\r\ndrop\r\n\tnot ethertype ipv4 # and so on\r\n\tand not ethertype arp\r\n;\r\nmacro m($p)\n \
                  accept dport $p;\n;\ninclude m(80)\ntee -1 0123456789;\nACCEPT;\naccept";
    let program = good(source);
    let first = place(2, 1);
    let included = Place { line: 7, column: 2, included_at: Some(9) };
    assert_eq!(
        program.base.places,
        [first, first, first, included, included, place(10, 1), place(11, 1), place(12, 1)]
    );
    let texts: Vec<String> =
        [0, 3, 5, 6, 7].iter().map(|at| statement_text(source, &program.base.places[*at])).collect();
    assert_eq!(
        texts,
        [
            "drop not ethertype ipv4 and not ethertype arp;",
            "accept dport $p;",
            "tee -1 0123456789;",
            "ACCEPT;",
            "accept;"
        ]
    );
    assert_eq!(statement_text(source, &place(99, 1)), "");
    assert_eq!(statement_text("é", &place(1, 9)), "");
}

#[test]
fn nested_macros_name_the_outermost_include() {
    let program = good("macro a drop dport 1; ;\nmacro b\n include a\n;\n\ninclude b\n");
    assert_eq!(program.base.places[0], Place { line: 1, column: 9, included_at: Some(6) });
}

#[test]
fn rules_are_cut_to_their_fields_and_json_is_not() {
    let program = good("accept ethertype 70000; tee -1 0123456789;");
    assert_eq!(program.base.rules[0].kind, Kind::Ethertype(4464));
    assert_eq!(program.base.json[0]["etherType"], 70000);
    assert_eq!(program.base.json[2]["length"], -1);
    assert_eq!(
        program.base.rules[2].kind,
        Kind::Tee(Target { address: 0x0123456789, flags: 0, length: 65535 })
    );
    assert_eq!(program.config()["rules"][0]["etherType"], 70000);
}

#[test]
fn tags_and_capabilities_by_name() {
    let program = good("tag T id 4 flag 0 a enum 7 b default b;\ncap C id 5 default accept dport 1; ;");
    let tag = program.tag("t").unwrap();
    assert_eq!((tag.id, tag.default), (4, Some(7)));
    assert_eq!(tag.flags, [("a".to_owned(), 1)]);
    assert!(program.capability("c").unwrap().default);
    assert!(program.tag("T").is_none() && program.capability("x").is_none());
}

// --- the manual ---

#[test]
fn programs_of_the_manual_compile() {
    let manual = include_str!("../../docs/rules.md");
    let programs: Vec<&str> =
        manual.split("```rules\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(programs.len() >= 5);
    for program in &programs {
        good(program);
    }
    assert_eq!(flowrules::lint::lint(&good(programs[0]), programs[0], &Default::default()), []);
}

// --- decompiling ---

#[test]
fn readable_source() {
    let source = "tag server id 2 default no\n\tenum 0 no\n\tenum 1 yes\n;\ncap ssh id 1000 default\n\taccept ipprotocol \
                  tcp and dport 22;\n\tACCEPT\n\tdrop dport 5;\n;\ndrop\n\tnot ethertype ipv4\n\tand not ethertype \
                  arp\n\tand not ethertype ipv6\n\tor not chr ipauth\n\tand not random 0.25\n;\nBREAK;\ntee -1 \
                  0123456789 chr tcp_syn,tcp_ack;\naccept tor server yes or icmp 8 -1;\naccept;\n";
    let program = good(source);
    let capability = &program.capabilities[0];
    let out =
        decompile(&program.base.rules, &[(capability.id, &capability.section.rules)], &Names::from(&program));
    assert_eq!(out.text, source);
    assert!(out.exact);
    assert_eq!(out.base_lines, [10, 10, 10, 10, 10, 10, 17, 18, 18, 19, 19, 19, 20]);
    assert_eq!(out.capability_lines, [(1000, vec![6, 6, 6, 7, 8, 8])]);
    assert_eq!(
        statement(&program.base.rules, 11, &Names::from(&program)),
        "accept tor server yes or icmp 8 -1;"
    );
    assert_eq!(statement(&program.base.rules, 9, &Names::default()), "accept tor 2 1 or icmp 8 -1;");
    assert_eq!(statement(&program.base.rules, 99, &Names::default()), "");
}

#[test]
fn what_cannot_be_said_is_a_comment() {
    let range = IntegerRange { start: 1, span: 4, index: 12, format: 7 };
    let rules: Vec<Rule> = vec![
        Kind::Ethertype(0x800).into(),
        Kind::IntegerRange(range).into(),
        Kind::Drop.into(),
        Kind::Priority(3).into(),
        Kind::DestPort(9, 3).into(),
        Kind::Accept.into(),
        Kind::Characteristics(3 << 62).into(),
        Kind::Unknown { number: 60, value: vec![1] }.into(),
        Kind::Break.into(),
        Kind::Accept.into(),
        Kind::Ethertype(0x806).into(),
    ];
    let out = decompile(&rules, &[], &Names::default());
    assert!(!out.exact);
    assert_eq!(
        out.text,
        "# not possible in this language: drop ethertype ipv4 and <integer at byte 12, 8 bits, 1 to 5>;\n\
         # not possible in this language: <priority 3>;\n\
         # not possible in this language: accept <dport 9-3, never>;\n\
         # not possible in this language: break <chr inbound,multicast> and <UNKNOWN_MATCH_60>;\n\
         ACCEPT;\n\
         # not possible in this language: <no action> ethertype arp;\n"
    );
    assert_eq!(out.base_lines, [1, 1, 1, 2, 3, 3, 4, 4, 4, 5, 6]);
    assert_eq!(kinds(&good(&out.text)), [&Kind::Accept]);
}

#[test]
fn capabilities_with_the_same_number_are_not_exact() {
    let rules = [Rule::new(Kind::Accept)];
    let out = decompile(&rules, &[(1, &rules), (1, &rules)], &Names::default());
    assert!(!out.exact);
    assert_eq!(good(&out.text).capabilities.len(), 1);
}

// --- properties ---

/// Words that mean something, with ends of statements and lines.
fn soup() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "drop",
        "accept",
        "break",
        "tee",
        "watch",
        "redirect",
        "include",
        "macro",
        "tag",
        "cap",
        "not",
        "or",
        "and",
        "ethertype",
        "ipv4",
        "dport",
        "80",
        "80-90",
        "chr",
        "tcp_syn,inbound",
        "teq",
        "t",
        "m",
        "m(1,2)",
        "m($a)",
        "$a",
        "id",
        "5",
        "default",
        "flag",
        "enum",
        "-1",
        "0123456789",
        "ipsrc",
        "10.0.0.0/8",
        "fd00::/8",
        "icmp",
        "DROP",
        "random",
        "0.5",
        "macsrc",
        "02:00:00:00:00:01",
        "# note",
        "é",
        "\u{1d49c}",
        "\u{0}",
    ]);
    let ends = prop::sample::select(vec![" ", "; ", ";\n", "\n", "\t", "\r\n", "", " ; "]);
    prop::collection::vec((words, ends), 0..40)
        .prop_map(|pairs| pairs.into_iter().flat_map(|(word, end)| [word, end]).collect())
}

fn check_any(source: &str) {
    let strict = compile(source, &STRICT);
    let lenient = compile(source, &LENIENT);
    if let Ok(program) = &strict {
        assert_eq!(lenient.as_ref().ok(), Some(program));
        assert!(serde_json::from_str::<serde_json::Value>(&program.to_json()).is_ok());
        let names = Names::from(program);
        let capabilities: Vec<(u32, &[Rule])> =
            program.capabilities.iter().map(|c| (c.id, c.section.rules.as_slice())).collect();
        let out = decompile(&program.base.rules, &capabilities, &names);
        assert!(out.exact, "{source}\n{}", out.text);
    }
    for result in [strict, lenient] {
        match result {
            Ok(program) => {
                flowrules::lint::lint(&program, source, &Default::default());
                for place in &program.base.places {
                    assert!(!statement_text(source, place).is_empty());
                }
            }
            Err(error) => {
                assert!(error.hint.is_some(), "{error}");
                error.render("f", source);
            }
        }
    }
}

fn any_rule() -> impl Strategy<Value = Rule> {
    prop::collection::vec(any::<u8>(), 2..40).prop_map(|mut bytes| {
        bytes[1] = (bytes.len() - 2) as u8;
        flowrules::decode(&bytes).ok().and_then(|rules| rules.into_iter().next()).unwrap_or(Kind::Drop.into())
    })
}

proptest! {
    #[test]
    fn words_in_any_order_never_panic(source in soup()) {
        check_any(&source);
    }

    #[test]
    fn any_text_never_panics(source in ".{0,200}") {
        check_any(&source);
    }

    #[test]
    fn any_rules_decompile(
        base in prop::collection::vec(any_rule(), 0..12),
        capability in prop::collection::vec(any_rule(), 0..6),
    ) {
        let capabilities: Vec<(u32, &[Rule])> = vec![(7, &capability)];
        let out = decompile(&base, &capabilities, &Names::default());
        prop_assert_eq!(out.base_lines.len(), base.len());
        let program = good(&out.text);
        if out.exact {
            prop_assert_eq!(&program.base.rules, &base);
            prop_assert_eq!(&program.capabilities[0].section.rules, &capability);
        }
        for index in 0..base.len() {
            prop_assert!(!statement(&base, index, &Names::default()).is_empty());
        }
    }

    #[test]
    fn probabilities_come_back(probability in any::<u32>()) {
        let rules = [Kind::Random(probability).into(), Kind::Drop.into()];
        prop_assert!(decompile(&rules, &[], &Names::default()).exact);
    }
}
