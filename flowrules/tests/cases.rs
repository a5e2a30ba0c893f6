//! Case files and the walk of a packet: what they mean, what is refused, and that nothing panics.

#![allow(clippy::unwrap_used)] // A surprise is a failed test.

use std::collections::BTreeMap;

use flowrules::cases::{File, Scenes, Vocabulary, expected_words, parse};
use flowrules::decompile::Names;
use flowrules::describe::{Known, parse as packet};
use flowrules::explain::{Book, Fate, Party, Rules, Scene, Side, fate, judge, tell};
use flowrules::language::{Options, Program, compile};
use flowrules::{Kind, Rule, decode};
use proptest::prelude::*;

struct World {
    program: Program,
    capabilities: BTreeMap<u32, Vec<Rule>>,
    book: Book,
    vocabulary: Vocabulary,
}

impl World {
    fn new(source: &str) -> Self {
        let program = compile(source, &Options::default()).unwrap();
        Self {
            capabilities: program
                .capabilities
                .iter()
                .map(|one| (one.id, one.section.rules.clone()))
                .collect(),
            book: Book::of_program(&program, source),
            vocabulary: Vocabulary::from(&program),
            program,
        }
    }

    fn rules(&self) -> Rules<'_> {
        Rules { base: &self.program.base.rules, capabilities: &self.capabilities }
    }

    /// Which cases fail, as `line: expectation`.
    fn failures(&self, file: &File) -> Vec<String> {
        let mac = |address: u64| [2, 0, 0, 0, 0, address as u8];
        let scenes = Scenes::new(file, self.rules(), &self.book, &self.vocabulary, &mac).unwrap();
        let mut failures = Vec::new();
        for case in &file.cases {
            let outcome = scenes.run(case).unwrap_or_else(|error| panic!("{error}"));
            failures.extend(outcome.unmet.iter().map(|unmet| format!("{}: {unmet}", case.line)));
        }
        failures
    }
}

#[track_caller]
fn check(rules: &str, cases: &str, failures: &[&str]) {
    assert_eq!(World::new(rules).failures(&parse(cases).unwrap()), failures);
}

#[test]
fn copies_and_redirections() {
    check(
        "tee 16 37f2b7c94f icmp 8 -1;\nwatch -1 @@@@@@@@@@ chr inbound dport 80;\nredirect 5aca06ff8e dport 25;\nACCEPT;"
            .replace("@@@@@@@@@@", "37f2b7c94f")
            .as_str(),
        "member a ip 10.0.0.1\nmember b ip 10.0.0.2\nmember observer 37f2b7c94f ip 10.0.0.3\nmember proxy 5aca06ff8e\n\
         a -> b icmp : accept by line 4, tee observer by sender line 1, tee observer by receiver, no copies\n\
         a -> b tcp > 80 : watch observer by receiver line 2, watch observer by sender, tee observer\n\
         a -> b tcp > 25 : redirect proxy by sender line 3, redirect observer, accept, drop\n\
         a -> b tcp > 26 : no copies, accept by default, accept by sender\n\
         a -> * arp who-has 10.0.0.9 : accept\n\
         a -> observer icmp : accept by line 1, no copies\n",
        &[
            "5: no copies",
            "6: watch observer by sender",
            "6: tee observer",
            "7: redirect observer",
            "7: accept",
            "7: drop",
            "8: accept by default",
        ],
    );
}

#[test]
fn tags_and_capabilities() {
    let rules = "tag role id 5 enum 1 server enum 2 client flag 4 admin default client;\n\
                 cap web id 9 accept dport 80; ;\ncap dns id 8 default accept dport 53; ;\n\
                 accept tseq role server;\nbreak;";
    check(
        rules,
        "member s ip 10.0.0.1 tag role=server\nmember c ip 10.0.0.2\nmember w ip 10.0.0.3 capability web no-capability dns\n\
         s -> c icmp : accept by line 4\nc -> s icmp : drop by default\nc -> s udp > 53 : accept by capability dns\n\
         w -> s udp > 53 : drop\nw -> s tcp > 80 : accept by line 2, accept by capability dns\nc -> s tcp > 80 : drop by line 5\n",
        &["8: accept by capability dns"],
    );
    let words = World::new(rules).vocabulary;
    assert_eq!(words.value(5, "server+admin"), Ok(1 | 16));
    assert_eq!((words.tag("role"), words.tag("7")), (Ok(5), Ok(7)));
    assert!(words.tag("rule").unwrap_err().contains("role"));
    assert_eq!(
        (words.tag_text(5, 2), words.tag_text(5, 7), words.tag_text(6, 7)),
        ("role=client".to_owned(), "role=7".to_owned(), "6=7".to_owned())
    );
}

#[test]
fn macros_are_found_at_either_line() {
    check(
        "macro quiet($port)\n\tdrop dport $port;\n;\n\ninclude quiet(25)\naccept;",
        "member a ip 10.0.0.1\nmember b ip 10.0.0.2\na -> b tcp > 25 : drop by line 2, drop by line 5, drop by line 3\n",
        &["3: drop by line 3"],
    );
}

#[test]
fn first_contact_leaves_it_to_the_receiver() {
    check(
        "tag t id 1;\ndrop not teq t 1;\naccept;",
        "member a ip 10.0.0.1 tag t=1\nmember b ip 10.0.0.2 tag t=2\n\
         a -> b icmp : drop by sender line 2\na -> b first-contact icmp : drop by receiver line 2\n",
        &[],
    );
}

#[test]
fn mistakes_are_shown_where() {
    for (text, line, word) in [
        ("membr a\n", 1, "membr"),
        ("member\n", 1, ""),
        ("member 1a\n", 1, "1a"),
        ("member a\nmember a\n", 2, "a"),
        ("member a 62f865ae71\nmember b 62F865AE71\n", 2, "62F865AE71"),
        ("member a ip 10.0.0.0/8\n", 1, "10.0.0.0/8"),
        ("member a tag x\n", 1, "x"),
        ("member a tag\n", 1, "tag"),
        ("member a mac 1\n", 1, "1"),
        ("member a colour red\n", 1, "colour"),
        (" ip 1.2.3.4\n", 1, "ip"),
        ("network 1\n", 1, "1"),
        ("member a\na - a icmp : drop\n", 2, "-"),
        ("member a\nb -> a icmp : drop\n", 2, "b"),
        ("member a\n* -> a icmp : drop\n", 2, "*"),
        ("member a\na -> a icmp drop\n", 2, ""),
        ("member a\na -> a icmp : drop by\n", 2, ""),
        ("member a\na -> a icmp : drop by line x\n", 2, "x"),
        ("member a\na -> a icmp : drop by luck\n", 2, "luck"),
        ("member a\na -> a icmp : drop accept\n", 2, "accept"),
        ("member a\na -> a icmp : tee\n", 2, ""),
        ("member a\na -> a icmp : no copy\n", 2, "no"),
        ("member a\na -> a icmp : drop,\n", 2, ""),
        ("member a\na -> a icmp bogus : drop\n", 2, "bogus"),
        ("member a\na -> a é : drop\n", 2, "é"),
    ] {
        let error = parse(text).unwrap_err();
        let shown = text.lines().nth(error.at.line as usize - 1).unwrap();
        assert_eq!((error.at.line, &shown[error.at.columns.clone()]), (line, word), "{text}: {error}");
        assert!(!error.hint.is_empty() && error.render("x", text).contains('^'));
    }
}

#[test]
fn expectations_read_as_they_are_written() {
    let all = "accept, drop by line 3, tee a by sender, watch a by receiver line 9, redirect a by capability x, no copies, \
               drop by sender default";
    let file = parse(&format!("member a ip 1.2.3.4\na -> a icmp : {all}")).unwrap();
    let words: Vec<String> = file.cases[0].expected.iter().map(expected_words).collect();
    assert_eq!(words.join(", "), all);
}

#[test]
fn a_group_has_a_sender_first() {
    let world = World::new("tee 0 37f2b7c94f;\ndrop chr inbound and chr multicast;\naccept;");
    let sender = Party { address: 1, ..Party::default() };
    let receiver = Party { address: 2, ..Party::default() };
    let known = Known { ipv4: Some([10, 0, 0, 1].into()), mac: Some([2; 6]), ..Known::default() };
    let packet = packet("udp > 224.0.0.1:1").unwrap().build(&known, &known).unwrap();
    let scene = Scene {
        base: &world.program.base.rules,
        sender: &sender,
        receiver: Some(&receiver),
        frame: packet.frame(),
        first_contact: false,
        match_unknown: false,
    };
    let walks = judge(&scene);
    let sides: Vec<_> = walks.iter().map(|walk| (walk.side, walk.verdict.copies.iter().count())).collect();
    assert_eq!(sides, [(Side::SenderToAll, 1), (Side::Sender, 0), (Side::Receiver, 0)]);
    assert_eq!(fate(&walks), Fate::Dropped(Side::Receiver));
    let text = tell(&walks, &world.rules(), &world.book, &|address| format!("<{address:x}>"), true);
    assert!(text.contains("copied to <37f2b7c94f> (28 bytes) by line 1\n    tee 0 37f2b7c94f;\n"), "{text}");
    assert!(
        text.contains("receiver, inbound: dropped by line 2\n    drop chr inbound and chr multicast;\n"),
        "{text}"
    );
}

#[test]
fn chance_is_said() {
    let world = World::new("drop random 0.4;\naccept random 0.6;");
    let party = Party::default();
    let known = Known { ipv4: Some([10, 0, 0, 1].into()), ..Known::default() };
    let packet = packet("icmp").unwrap().build(&known, &known).unwrap();
    let scene = Scene {
        base: &world.program.base.rules,
        sender: &party,
        receiver: Some(&party),
        frame: packet.frame(),
        first_contact: false,
        match_unknown: false,
    };
    let walks = judge(&scene);
    assert!(walks.iter().all(|walk| walk.by_chance));
    assert_eq!(fate(&walks), Fate::Accepted);
}

proptest! {
    #[test]
    fn no_case_file_panics(
        text in "\\PC{0,80}",
        lines in prop::collection::vec("(member|network|a|b| ip)? ?[a-z0-9 :.=,>*-]{0,30}( : (drop|accept|tee|no copies)?( by)? [a-z0-9, ]{0,10})?", 0..6),
    ) {
        let lines = format!("member a ip 10.0.0.1\nmember b\n{}", lines.join("\n"));
        for text in [text, lines] {
            match parse(&text) {
                Ok(file) => drop(file),
                Err(error) => drop(error.render("x", &text)),
            }
        }
    }

    /// Whatever the rules are, the walk agrees with the verdict, and can be told.
    #[test]
    fn every_walk_can_be_told(bytes in prop::collection::vec(any::<u8>(), 0..80), text in "(tcp > 80|icmp6|arp|ether wol)") {
        let mut rules = decode(&bytes).unwrap_or_default();
        rules.push(Rule::new(Kind::Accept));
        let parties = [Party { address: 1, ..Party::default() }, Party { address: 2, ..Party::default() }];
        let known = Known { ipv4: Some([10, 0, 0, 1].into()), ipv6: Some([1; 16].into()), mac: Some([2; 6]) };
        let packet = packet(&text).unwrap().build(&known, &known).unwrap();
        let [sender, receiver] = &parties;
        let scene = Scene {
            base: &rules, sender, receiver: Some(receiver), frame: packet.frame(), first_contact: true, match_unknown: true,
        };
        let walks = judge(&scene);
        let none = BTreeMap::new();
        let all = Rules { base: &rules, capabilities: &none };
        let book = Book::of_rules(&all, &Names::default(), |_| (None, None));
        prop_assert_eq!(book.base.statements.len(), rules.len());
        prop_assert_eq!(book.base.words.len(), rules.len());
        for walk in &walks {
            let decided = walk.verdict.by.map(|entry| usize::from(entry.index) + 1);
            prop_assert_eq!(walk.lists[0].steps.len(), decided.unwrap_or(rules.len()));
        }
        drop(tell(&walks, &all, &book, &|address| address.to_string(), true));
    }
}
