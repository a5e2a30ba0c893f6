//! Findings: each where it belongs, none about sensible programs.
#![allow(missing_docs, clippy::unwrap_used)]

use flowrules::language::{Options, compile};
use flowrules::lint::{Finding, Known, lint};

fn findings_with(source: &str, known: &Known<'_>) -> Vec<Finding> {
    let program = compile(source, &Options::default())
        .unwrap_or_else(|error| panic!("{}", error.render("test", source)));
    let findings = lint(&program, source, known);
    for finding in &findings {
        assert!(!finding.message.is_empty() && !finding.hint.is_empty());
        assert!(finding.place.line >= 1 && finding.place.column >= 1);
    }
    findings
}

fn codes(source: &str) -> Vec<&'static str> {
    findings_with(source, &Known::default()).into_iter().map(|finding| finding.code).collect()
}

/// The one finding of a code, as line and column.
fn at(source: &str, code: &str) -> (u32, u32) {
    let found: Vec<Finding> =
        findings_with(source, &Known::default()).into_iter().filter(|finding| finding.code == code).collect();
    assert_eq!(found.len(), 1, "{source}: {code}: {found:?}");
    (found[0].place.line, found[0].place.column)
}

#[test]
fn sensible_programs_have_no_findings() {
    for source in [
        "accept;",
        "drop not ethertype ipv4 and not ethertype arp and not ethertype ipv6; tee -1 37f2b7c94f; accept;",
        "drop not ethertype ipv4 and not ethertype arp and not ethertype ipv6;\ntee -1 37f2b7c94f;\nwatch -1 \
         37f2b7c94f chr inbound;\naccept;",
        "drop\n\tnot ethertype ipv4\n\tand not ethertype arp\n\tand not ethertype ipv6\n;\ndrop\n\tchr tcp_syn\n\tand \
         not chr tcp_ack\n\tand not dport 22\n;\naccept;",
        "macro ok($port)\n accept ipprotocol tcp and chr tcp_syn and not chr tcp_ack and dport $port;\n;\ndrop not \
         ethertype ipv4 and not ethertype arp and not ethertype ipv6 or not chr ipauth;\ninclude ok(22)\ninclude \
         ok(443)\ncap superuser id 1 accept;\n;\nbreak chr tcp_syn and not chr tcp_ack;\naccept;",
        "tag server\n id 2\n enum 0 no\n enum 1 yes\n default no\n;\naccept ethertype arp;\nbreak not tor server \
         1;\naccept;",
        "tag classification\n id 2\n flag 0 public\n flag 1 internal\n default public\n;\nbreak not tand \
         classification internal;\naccept;",
        "drop not ethertype ipv4 and not ethertype arp;\ncap ssh\n id 1000\n accept ipprotocol tcp and dport \
         22;\n;\naccept ethertype arp;\naccept chr tcp_ack;",
        "accept ethertype arp; accept ipprotocol tcp and dport 80-443; accept ipprotocol tcp and sport 80-443;",
        "accept ipprotocol icmp6; accept ethertype ipv6 and ipsrc fd00::/8;",
        "redirect 37f2b7c94f ipprotocol tcp and dport 25; accept;",
    ] {
        assert_eq!(findings_with(source, &Known::default()), [], "{source}");
    }
}

#[test]
fn requests_without_answers() {
    let arp = "accept ethertype arp;\n";
    for source in [
        "accept ipprotocol tcp and dport 80;",
        "accept dport 8080;",
        "accept ipprotocol udp and dport 53; accept ipprotocol tcp and chr tcp_ack;",
        "accept ipprotocol tcp and dport 22 and chr tcp_syn; accept ipprotocol icmp4;",
        "drop not ethertype ipv4 and not ethertype arp; cap web id 1 accept ipprotocol tcp and dport 80; ;",
        "accept ipprotocol tcp and dport 80; accept ipprotocol tcp and sport 443;",
        "drop chr tcp_ack; accept dport 80 and ipprotocol tcp; accept sport 80 and ipprotocol tcp;",
    ] {
        assert!(codes(&format!("{arp}{source}")).contains(&"no-answer"), "{source}");
    }
    for source in [
        "accept ipprotocol tcp and dport 80; accept ipprotocol tcp and sport 80;",
        "accept ipprotocol tcp and dport 80; accept ipprotocol tcp and chr tcp_ack;",
        "accept dport 80; accept chr tcp_ack;",
        "accept ipprotocol udp and dport 53; accept ipprotocol udp and sport 53;",
        "accept ipprotocol tcp and dport 80; accept dport 1024-65535 and ipprotocol tcp;",
        "break chr tcp_syn and not chr tcp_ack and not dport 22; accept;",
        "drop not dport 22 and ipprotocol tcp; accept;",
        "accept ipprotocol tcp and dport 80; accept ipsrc 10.0.0.1/32;",
    ] {
        assert!(!codes(&format!("{arp}{source}")).contains(&"no-answer"), "{source}");
    }
    assert_eq!(at(&format!("{arp}accept ipprotocol tcp and dport 80;"), "no-answer"), (2, 1));
    let all = "accept ipprotocol tcp and dport 1;".repeat(5_000);
    assert_eq!(codes(&all).iter().filter(|code| **code == "no-answer").count(), 1);
}

#[test]
fn unreachable() {
    assert_eq!(at("DROP;\naccept dport 1 and ipprotocol tcp;", "unreachable"), (2, 1));
    assert_eq!(at("accept not vlan 5;\n drop chr broadcast;", "unreachable"), (2, 2));
    assert_eq!(
        at("cap a id 1\n ACCEPT\n drop chr broadcast;\n;\naccept ethertype arp;", "unreachable"),
        (3, 2)
    );
    // A tag match may disarm the drop, so what follows is reached now and then.
    assert!(!codes("tag t id 1 default 0; accept teq t 1; DROP; accept;").contains(&"unreachable"));
    assert!(!codes("drop dport 5; accept;").contains(&"unreachable"));
}

#[test]
fn nothing_gets_through() {
    assert_eq!(codes(""), ["nothing-accepted"]);
    assert_eq!(at("drop chr broadcast;\ntee -1 0123456789;", "nothing-accepted"), (2, 1));
    assert_eq!(at("DROP;\naccept;", "nothing-accepted"), (1, 1));
    assert_eq!(at("accept ethertype arp;\ndrop chr broadcast;", "no-final-accept"), (2, 1));
    assert!(
        codes("accept ethertype arp; cap a id 1 accept ipprotocol tcp; ; drop chr broadcast;").is_empty()
    );
}

#[test]
fn address_resolution() {
    assert_eq!(at("drop not ethertype ipv4;\naccept;", "arp-missing"), (1, 1));
    assert_eq!(at("accept ipprotocol tcp and dport 22;", "arp-missing"), (1, 1));
    assert_eq!(at("accept ethertype arp;\naccept ethertype ipv6 and ipprotocol tcp;", "ndp-missing"), (2, 1));
    assert_eq!(
        codes("accept ethertype ipv6 and ipprotocol tcp; accept icmp 135 -1 or icmp 136 -1;"),
        [""; 0]
    );
    // One direction of neighbor discovery is not enough.
    assert!(codes("accept ethertype ipv6 and ipprotocol tcp; accept icmp 135 -1;").contains(&"ndp-missing"));
    // A capability may let it through.
    assert!(!codes("accept ethertype ipv4; cap a id 1 accept ethertype arp; ;").contains(&"arp-missing"));
}

#[test]
fn targets() {
    let source = "tee -1 0123456789;\nwatch -1 37f2b7c94f;\nredirect abcdefabcd dport 5;\naccept;";
    let known = Known { members: Some(&[0x37f2b7c94f]) };
    let found: Vec<(&str, u32)> =
        findings_with(source, &known).iter().map(|finding| (finding.code, finding.place.line)).collect();
    assert_eq!(found, [("target-no-member", 1), ("target-no-member", 3)]);
    assert_eq!(codes(source), [""; 0]);
    assert_eq!(at("tee -1 zzzzzzzzzz; accept;", "odd-address"), (1, 8));
}

#[test]
fn statements() {
    for (source, code, place) in [
        ("drop chr inbound,multicast; accept;", "chr-sign", (1, 10)),
        ("drop chr 20; accept;", "chr-never", (1, 6)),
        ("drop ipsrc fe80::1/64; accept;", "ipv6-host-bits", (1, 6)),
        ("accept or ethertype ipv4 or ethertype arp;", "or-first", (1, 11)),
        ("drop not icmp 8 -1; accept;", "not-icmp", (1, 10)),
        ("drop not ethertype ipv4 or not ethertype arp; accept;", "always-true", (1, 32)),
        ("drop not dport 22; accept;", "not-port", (1, 10)),
        ("accept dport 22; accept ethertype arp;", "port-any-protocol", (1, 8)),
        ("drop ethertype ipv4 and ethertype arp; accept;", "never-matches", (1, 25)),
        ("drop ethertype arp and dport 5; accept;", "never-matches", (1, 24)),
        ("drop ipprotocol icmp4 and dport 5; accept;", "never-matches", (1, 27)),
        ("drop ipsrc 10.0.0.0/8 and ipdest fd00::/8; accept;", "never-matches", (1, 27)),
        ("drop vlan 5; accept;", "vlan-never", (1, 6)),
        ("drop ethertype 70000; accept;", "number-too-large", (1, 16)),
        ("drop ethertype 12abc; accept;", "odd-number", (1, 16)),
        ("drop ipsrc x10.0.0.1/8; accept;", "odd-address", (1, 12)),
        ("drop ipsrc 10.0.0.0/33; accept;", "odd-address", (1, 12)),
        ("drop;\naccept dport 5 and ipprotocol tcp;", "bare-action", (1, 1)),
    ] {
        assert_eq!(at(source, code), place, "{source}");
    }
    assert!(!codes("drop icmp 8 -1 or not icmp 3 0; accept;").contains(&"not-icmp"));
    assert!(!codes("drop not ethertype ipv4 or not chr ipauth; accept;").contains(&"always-true"));
}

#[test]
fn definitions() {
    for (source, code, place) in [
        ("tag a id 5 default 0; tag b id 5 default 0; accept;", "duplicate-tag-id", (1, 27)),
        ("accept teq 7 1; accept teq 7 2;", "undefined-tag", (1, 8)),
        ("tag a id 1 default nosuch; accept;", "default-value", (1, 20)),
        ("tag a id 1 default -9; accept;", "default-value", (1, 20)),
        ("tag a id 1 flag 31 x; accept;", "flag-bit-31", (1, 17)),
        ("macro m drop dport 1; ; accept;", "unused-macro", (1, 7)),
        ("cap a id 1 drop chr broadcast; ; accept ethertype arp;", "capability-without-accept", (1, 5)),
        ("cap a id 1 accept; ; accept;", "capabilities-unused", (1, 5)),
        (
            "cap ssh\n id 1000;\n accept ipprotocol tcp and dport 22;\n;\naccept ethertype arp;",
            "closed-early",
            (2, 5),
        ),
        ("cap a\n id 1\n accept;\n drop dport 5;\n;\naccept ethertype arp;", "closed-early", (3, 2)),
        ("accept ethertype ipv4; drop ethertype arp and drop ;", "lost-block", (1, 24)),
    ] {
        assert_eq!(at(source, code), place, "{source}");
    }
    assert!(!codes("cap a id 1 accept;\n;\nbreak chr tcp_syn; accept;").contains(&"closed-early"));
    assert!(!codes("cap a id 1 accept;\nbreak chr tcp_syn; accept;").contains(&"closed-early"));
    assert!(!codes("cap a id 1 accept; ; break; ").contains(&"capabilities-unused"));
}

#[test]
fn limits() {
    let base = format!("{}accept;", "drop ethertype wol;\n".repeat(512));
    assert_eq!(at(&base, "too-many-rules"), (513, 1));
    assert_eq!(
        at(&format!("cap a id 1\n{};\nbreak;", "accept dport 1;\n".repeat(33)), "too-many-rules"),
        (34, 1)
    );
    let many: String = (0..129).map(|id| format!("cap c{id} id {id} accept ethertype arp; ;\n")).collect();
    assert_eq!(at(&format!("{many}break;"), "too-many-capabilities"), (129, 5));
    let many: String = (0..129).map(|id| format!("tag c{id} id {id} default 0;\n")).collect();
    assert_eq!(at(&format!("{many}accept;"), "too-many-tags"), (129, 5));
}

#[test]
fn findings_are_bounded() {
    for (word, times) in
        [("drop;\n", 60_000), ("cap c# id # ACCEPT drop; ;\n", 20_000), ("drop vlan 5;\n", 30_000)]
    {
        let source: String = (0..times).map(|index: usize| word.replace('#', &index.to_string())).collect();
        let found = findings_with(&source, &Known::default());
        assert!((1000..=flowrules::lint::MAX_FINDINGS).contains(&found.len()), "{word}: {}", found.len());
    }
}

#[test]
fn a_macro_is_blamed_once() {
    let source = "macro m($p) accept dport $p; ;\ninclude m(1)\ninclude m(2)\naccept ethertype arp; accept chr tcp_ack;";
    let found = findings_with(source, &Known::default());
    assert_eq!(found.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["port-any-protocol"]);
    assert_eq!(found[0].place.included_at, Some(2));
    assert_eq!(
        found[0].to_string(),
        "line 1 column 20: without a protocol this port is accepted for TCP, UDP, SCTP and UDP-Lite alike \
         [port-any-protocol]"
    );
}
