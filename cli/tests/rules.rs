//! The commands for flow rules: those that need no node, and those that ask one.

#![allow(clippy::unwrap_used)] // A surprise is a failed test.

mod common;

use common::{Home, Ran};
use serde_json::{Value, json};

const ID: &str = "37f2b7c94f000001";

const RULES: &str = "\
# only IPv4, ARP and IPv6
drop
	not ethertype ipv4
	and not ethertype arp
	and not ethertype ipv6
;
tag department
	id 1000
	enum 100 sales
	enum 200 marketing
	default sales
;
cap ssh id 1
	accept ipprotocol tcp and dport 22;
;
tee -1 37f2b7c94f;
break
	chr tcp_syn
	and not chr tcp_ack
;
drop not tdiff department 0;
accept;
";

const CASES: &str = "\
network 37f2b7c94f000001
member aws 62f865ae71 ip 10.0.1.1   # in the middle
   tag department=sales capability ssh
member gcp 5aca06ff8e ip 10.0.3.1 fd00::3
member azure ip 10.0.2.1 tag department=marketing
member observer 37f2b7c94f

aws -> gcp tcp 5000 > 22 syn : accept by capability ssh, tee observer
aws -> gcp tcp 5000 > 22 syn : accept by line 14, tee observer by line 16
gcp -> aws tcp > 80 syn : drop by sender default, no copies
aws -> gcp icmp : accept by line 22
aws -> azure icmp : drop by sender line 21
aws -> azure first-contact icmp : drop by receiver line 21
aws -> * arp who-has 10.0.3.1 : accept by sender, tee 37f2b7c94f
aws -> gcp ether 0x88b5 : drop by line 2
";

/// A home without a node, and the two files.
fn files() -> Home {
    let home = Home::stopped();
    std::fs::remove_file(home.path().join("authtoken.secret")).unwrap();
    home.write("my.rules", RULES);
    home.write("my.cases", CASES);
    home
}

fn parsed(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn compile_prints_what_the_reference_prints_vector() {
    let folder = std::env::var("ZTNODE_VECTORS")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors").to_owned());
    let home = files();
    let mut count = 0;
    for entry in std::fs::read_dir(format!("{folder}/rules")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "ztrules") {
            continue;
        }
        count += 1;
        let ran = home.run_words(&["rules", "compile", "--strict", path.to_str().unwrap()]);
        if let Ok(expected) = std::fs::read_to_string(path.with_extension("json")) {
            assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{path:?}");
            assert_eq!(ran.out, expected, "{path:?}");
        } else {
            assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{path:?}");
            assert!(ran.err.starts_with("ERROR parsing "), "{path:?}: {}", ran.err);
        }
    }
    assert!(count > 0, "no programs in {folder}");
}

#[test]
fn what_does_not_compile_is_shown_where() {
    let home = files();
    home.write("bad.rules", "accept ethertype ipv4;\ndrop ipportocol tcp;\n");
    for line in ["rules compile bad.rules", "rules check bad.rules", "rules test bad.rules my.cases"] {
        let ran = home.run(line);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{line}");
        assert!(
            ran.err.starts_with("ERROR parsing bad.rules line 2 column 6: Unrecognized match type")
                && ran.err.contains("^^^^^^^^^^"),
            "{line}: {}",
            ran.err
        );
    }
    let ran = home.run("rules check bad.rules -j");
    assert_eq!(ran.code, 1);
    let answer = parsed(&ran);
    assert_eq!(
        (&answer["ok"], &answer["error"]["line"], &answer["error"]["column"]),
        (&json!(false), &json!(2), &json!(6))
    );
    let ran = home.run("rules compile nowhere.rules");
    assert!(ran.code == 1 && ran.err.contains("nowhere.rules: No such file"), "{ran:?}");
    home.write("latin1.rules", "accept; # ");
    std::fs::write(home.path().join("latin1.rules"), b"accept; # \xe9").unwrap();
    assert!(home.run("rules compile latin1.rules").err.contains("no UTF-8 text (byte 10)"));
}

#[test]
fn check_counts() {
    let home = files();
    let ran = home.run("rules check my.rules");
    assert!(ran.code == 0 && ran.out.starts_with("my.rules: 11 entries, 1 capability, 1 tag; "), "{ran:?}");
    let answer = parsed(&home.run("rules check my.rules -j"));
    assert!(answer["ok"] == true && answer["error"].is_null() && answer["warnings"].is_array(), "{answer}");
}

#[test]
fn cases_that_hold() {
    let home = files();
    home.run("rules test my.rules my.cases").prints("8 of 8 cases as expected\n");
    let ran = home.run("rules test my.rules my.cases --tap");
    assert_eq!(ran.code, 0);
    assert!(
        ran.out.starts_with("TAP version 14\n1..8\nok 1 - line 8: aws -> gcp tcp 5000 > 22 syn\n"),
        "{ran:?}"
    );
    let answer = parsed(&home.run("rules test my.rules my.cases -j"));
    assert_eq!((&answer["passed"], &answer["failed"]), (&json!(8), &json!(0)));
    let last = &answer["cases"][7];
    assert_eq!((&last["fate"], &last["sides"][0]["line"]), (&json!("dropped"), &json!(2)));
    assert_eq!(last["sides"][0]["verdict"], "dropped");
}

#[test]
fn cases_that_do_not_hold() {
    let home = files();
    home.write(
        "bad.cases",
        "member a ip 10.0.0.1\nmember b ip 10.0.0.2\na -> b icmp : drop\na -> b icmp : accept by line 20\na -> b icmp : accept\n",
    );
    let ran = home.run("rules test my.rules bad.cases");
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    assert_eq!(
        ran.out,
        "FAILED bad.cases:3: a -> b icmp\n  expected  drop\n  actual\n    \
         sender, outbound: accepted by line 22\n        accept;\n      copied to 37f2b7c94f (28 bytes) by line 16\n        tee -1 37f2b7c94f;\n    \
         receiver, inbound: accepted by line 22\n        accept;\n      copied to 37f2b7c94f (28 bytes) by line 16\n        tee -1 37f2b7c94f;\n\
         FAILED bad.cases:4: a -> b icmp\n  expected  accept by line 20\n  actual\n    \
         sender, outbound: accepted by line 22\n        accept;\n      copied to 37f2b7c94f (28 bytes) by line 16\n        tee -1 37f2b7c94f;\n    \
         receiver, inbound: accepted by line 22\n        accept;\n      copied to 37f2b7c94f (28 bytes) by line 16\n        tee -1 37f2b7c94f;\n\
         1 of 3 cases as expected\n"
    );
    assert_eq!(parsed(&home.run("rules test my.rules bad.cases -j"))["failed"], 2);
    let ran = home.run("rules test my.rules bad.cases --tap");
    assert!(
        ran.code == 1 && ran.out.contains("\nnot ok 1 - line 3: a -> b icmp\n#   expected  drop\n"),
        "{ran:?}"
    );
}

#[test]
fn a_case_file_that_is_none_ends_with_2() {
    let home = files();
    for (text, error) in [
        ("", "ztnode-cli: empty"),
        ("member a\na -> b icmp : drop\n", "line 2 column 6: there is no member b"),
        ("member a\na -> a imcp : drop\n", "line 2 column 8: imcp is no kind of packet"),
        ("member a\na -> a icmp : drop\n", "line 2 column 8: the IPv4 address of the sender is not known"),
        ("member a ip 10.0.0.1\na -> a icmp : dorp\n", "line 2 column 15: dorp is no expectation"),
        ("member a tag colour=red\na -> a arp : drop\n", "line 1 column 14: there is no tag colour"),
        ("member a tag department=red\na -> a arp : drop\n", "line 1 column 14: there is no value red"),
        ("member a capability root\na -> a arp : drop\n", "line 1 column 21: there is no capability root"),
    ] {
        home.write("x.cases", text);
        let ran = home.run("rules test my.rules x.cases");
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{text}: {ran:?}");
        if !text.is_empty() {
            assert!(ran.err.starts_with(&format!("ERROR in x.cases {error}")), "{text}: {ran:?}");
        }
    }
}

#[test]
fn explain_from_files() {
    let home = files();
    let ran = home.run_words(&[
        "rules",
        "explain",
        "--rules",
        "my.rules",
        "--cases",
        "my.cases",
        "icmp aws > azure",
    ]);
    ran.prints(
        "packet    icmp 10.0.1.1 > 10.0.2.1 echo-request\n\
         sender    aws (62f865ae71), tags department=sales, capabilities ssh\n\
         receiver  azure (a000000001), tags department=marketing, no capabilities\n\
         \n\
         sender, outbound: dropped by line 21\n    drop not tdiff department 0;\n\
         \n\
         dropped by the sender\n",
    );
    let ran = home.run_words(&[
        "rules",
        "explain",
        "--rules",
        "my.rules",
        "tcp 10.0.1.1:1 > 10.0.3.1:80 syn",
        "-v",
    ]);
    assert!(ran.code == 0 && ran.out.contains("assumed   no members are known"), "{ran:?}");
    assert!(ran.out.contains("break ended the network's rules") && ran.out.contains("TAKEN"), "{ran:?}");
    let ran = home.run_words(&[
        "rules",
        "explain",
        "-j",
        "--rules",
        "my.rules",
        "--cases",
        "my.cases",
        "-v",
        "tcp aws > gcp:22",
    ]);
    let answer = parsed(&ran);
    assert_eq!(answer["fate"], "accepted");
    assert_eq!(answer["sender"]["address"], "62f865ae71");
    assert_eq!(answer["sides"][1]["side"], "receiver");
    assert_eq!(answer["sides"][1]["copies"][0]["to"], "37f2b7c94f");
    assert!(answer["sides"][0]["steps"].as_array().unwrap().len() > 3);
    for words in [
        &["rules", "explain", "--rules", "my.rules", "tcp 10.0.1.1 > 10.0.3.1"][..],
        &["rules", "explain", "--rules", "my.rules", "demo.lab", "icmp"],
        &["rules", "explain", "demo.lab"],
        &["rules", "explain", "--rules", "my.rules", "--cases", "my.cases", "icmp aws > nobody"],
    ] {
        let ran = home.run_words(words);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{words:?}: {ran:?}");
    }
}

/// A node with a controller that keeps the network.
fn controller() -> Home {
    let home = Home::tcp();
    home.write("my.rules", RULES);
    let compiled = parsed(&home.run("rules compile my.rules"));
    let config = &compiled["config"];
    let record = json!({
        "id": ID, "nwid": ID, "name": "demo.lab", "rulesSource": RULES, "rules": config["rules"],
        "capabilities": config["capabilities"], "tags": config["tags"], "v6AssignMode": {"rfc4193": true},
    });
    home.service.answer("GET /unstable/controller/network", 200, json!({"data": [record]}));
    home.service.answer(&format!("GET /controller/network/{ID}"), 200, &record);
    home.service.answer(&format!("POST /controller/network/{ID}"), 200, &record);
    let aws = json!({
        "address": "62f865ae71", "nwid": ID, "name": "aws", "authorized": true, "ipAssignments": ["10.0.1.1"],
        "tags": [[1000, 100], [7, 7]], "capabilities": [1],
    });
    let gcp = json!({
        "address": "5aca06ff8e", "nwid": ID, "name": "gcp", "authorized": true, "ipAssignments": ["10.0.3.1"],
        "tags": [[1000, 200]], "capabilities": [],
    });
    let waits = json!({"address": "1122334455", "nwid": ID, "authorized": false});
    home.service.answer(
        &format!("GET /unstable/controller/network/{ID}/member"),
        200,
        json!({"data": [aws, gcp, waits]}),
    );
    for member in [&aws, &gcp, &waits] {
        let path = format!("/controller/network/{ID}/member/{}", member["address"].as_str().unwrap());
        home.service.answer(&format!("GET {path}"), 200, member);
        home.service.answer(&format!("POST {path}"), 200, member);
    }
    home.service.answer("GET /network", 200, "[]");
    home
}

fn sent(home: &Home) -> Value {
    let seen = home.service.seen();
    serde_json::from_str(&seen.iter().rev().find(|one| one.line.starts_with("POST")).unwrap().body).unwrap()
}

#[test]
fn set_posts_the_source() {
    let home = controller();
    let ran = home.run("rules set demo.lab my.rules --dry-run");
    assert!(ran.code == 0 && ran.out.contains("would go to 2 members; nothing is changed"), "{ran:?}");
    assert!(home.service.seen().iter().all(|one| one.line.starts_with("GET")));
    let ran = home.run("rules set demo.lab my.rules");
    assert_eq!(
        ran.out,
        format!("network {ID}: 11 entries, 1 capability, 1 tag in force; they go to 2 members\n")
    );
    assert_eq!(sent(&home), json!({"rulesSource": RULES}));
    let answer = parsed(&home.run("rules set demo.lab my.rules -j"));
    assert!(answer["applied"] == true && answer["members"] == 2, "{answer}");
    // A controller that does not compile gets the compiled rules as well; one that takes neither is reported.
    home.write("other.rules", "accept ethertype ipv4;");
    let ran = home.run("rules set demo.lab other.rules");
    assert!(ran.code == 1 && ran.err.contains("did not take the rules"), "{ran:?}");
    assert_eq!(sent(&home)["rules"].as_array().unwrap().len(), 2);
    home.write("bad.rules", "accpet;");
    let posts = home.service.seen().len();
    assert_eq!(home.run("rules set demo.lab bad.rules").code, 1);
    assert_eq!(home.service.seen().len(), posts, "nobody is asked");
    let ran = home.run("rules set nobody my.rules");
    assert!(ran.code == 2 && ran.err.contains("keeps no network nobody"), "{ran:?}");
}

#[test]
fn show_on_the_controller() {
    let home = controller();
    home.run("rules show demo.lab").prints(RULES);
    let answer = parsed(&home.run("rules show demo.lab -j"));
    assert!(answer["sourceInForce"] == true && answer["text"] == RULES, "{answer}");
    let other = json!({
        "id": ID, "name": "demo.lab", "rulesSource": RULES, "rules": [{"type": "ACTION_ACCEPT"}], "capabilities": [], "tags": [],
    });
    home.service.answer(&format!("GET /controller/network/{ID}"), 200, &other);
    let ran = home.run("rules show demo.lab");
    assert!(
        ran.out
            .starts_with("# decompiled: the source kept with the network does not give the rules in force\n"),
        "{ran:?}"
    );
    assert!(ran.out.contains("accept;"), "{ran:?}");
}

#[test]
fn explain_on_the_controller() {
    let home = controller();
    let ran = home.run_words(&["rules", "explain", "demo.lab", "tcp 10.0.1.1:5000 > 10.0.3.1:22 syn"]);
    ran.prints(
        "packet    tcp 10.0.1.1:5000 > 10.0.3.1:22 syn\n\
         sender    aws (62f865ae71), tags 7=7 department=sales, capabilities ssh\n\
         receiver  gcp (5aca06ff8e), tags department=marketing, no capabilities\n\
         \n\
         sender, outbound: accepted by line 14 of capability ssh\n    accept ipprotocol tcp and dport 22;\n  \
         copied to 37f2b7c94f (40 bytes) by line 16\n    tee -1 37f2b7c94f;\n\
         receiver, inbound: accepted by line 14 of capability ssh\n    accept ipprotocol tcp and dport 22;\n  \
         copied to 37f2b7c94f (40 bytes) by line 16\n    tee -1 37f2b7c94f;\n\
         \n\
         delivered\n",
    );
    let ran = home.run_words(&["rules", "explain", "demo.lab", "icmp 10.0.1.1 > 10.9.9.9"]);
    assert!(ran.out.contains("assumed   nobody known here has 10.9.9.9"), "{ran:?}");
    let ran = home.run_words(&["rules", "explain", "demo.lab", "icmp6 @62f865ae71 > @5aca06ff8e"]);
    assert!(ran.out.contains("line 21") && ran.out.contains("fd37:f2b7:c94f:0:199:93"), "{ran:?}");
}

#[test]
fn tags_and_capabilities_by_name() {
    let home = controller();
    let ran = home.run("member set demo.lab aws --tag department=marketing --no-tag 7 --no-capability ssh");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(sent(&home), json!({"tags": [[1000, 200]], "capabilities": []}));
    let ran = home.run("member authorize demo.lab 99aabbccdd --tag 5=0x10 --capability ssh");
    assert_eq!(ran.code, 1, "the fake controller does not know it: {ran:?}");
    assert_eq!(sent(&home), json!({"authorized": true, "tags": [[5, 16]], "capabilities": [1]}));
    let ran = home.run("member set demo.lab aws --tag department=sails");
    assert!(ran.code == 2 && ran.err.contains("no value sails of tag department"), "{ran:?}");
    assert!(ran.err.contains("marketing sales"), "{ran:?}");
    let ran = home.run("member show demo.lab aws");
    assert!(ran.out.contains("tags             7=7, department=sales\ncapabilities     ssh\n"), "{ran:?}");
}

/// A node that is only a member.
fn member() -> Home {
    let home = Home::unix();
    home.write("my.rules", RULES);
    let config = parsed(&home.run("rules compile my.rules"))["config"].clone();
    let network = json!([{
        "id": ID, "name": "demo.lab", "status": "OK", "portDeviceName": "zt0", "assignedAddresses": ["10.0.1.1/16"],
    }]);
    home.service.answer("GET /network", 200, network);
    home.service.answer("GET /unstable/controller/network", 200, json!({"data": []}));
    let lines = json!([
        {"line": 2}, {"line": 2}, {"line": 2}, {"line": 2}, {"line": 16}, {"line": 17}, {"line": 17}, {"line": 17},
        {"line": 20, "includedAt": 33}, {"line": 20, "includedAt": 33}, null,
    ]);
    let enforced = json!({
        "address": "62f865ae71", "network": ID, "rules": config["rules"],
        "capabilities": [{"id": 1, "rules": config["capabilities"][0]["rules"]}],
        "tags": [{"id": 1000, "value": 100}],
        "lines": {"base": lines, "capabilities": {"1": [{"line": 14}, {"line": 14}, {"line": 14}]}},
        "counters": {"base": [0, 0, 0, 12, 345, 0, 0, 6, 0, 7, 8], "capabilities": {"1": [0, 0, 9]}, "nothingMatched": 10},
        "members": [{"address": "5aca06ff8e", "tags": [{"id": 1000, "value": 200}], "capabilities": []}],
        "flags": {"matchUnknown": false},
    });
    home.service.answer(&format!("GET /network/{ID}/rules"), 200, enforced);
    home
}

#[test]
fn show_on_a_member() {
    let home = member();
    let ran = home.run("rules show demo.lab");
    assert!(ran.out.starts_with(&format!("# what this node (62f865ae71) enforces on {ID}")), "{ran:?}");
    assert!(
        ran.out.contains("# line 16\n") && ran.out.contains("# line 20, included at line 33\n"),
        "{ran:?}"
    );
    let ran = home.run("rules show demo.lab --counters");
    let rows: Vec<Vec<&str>> =
        ran.out.lines().skip(3).map(|line| line.split_whitespace().take(3).collect()).collect();
    assert_eq!(
        rows,
        [
            vec!["12", "2", "drop"],
            vec!["345", "16", "tee"],
            vec!["6", "17", "break"],
            vec!["7", "20", "drop"],
            vec!["8", "accept;"],
            vec!["9", "capability", "1:"],
            vec!["9", "14", "accept"],
            vec!["10", "(no", "statement"],
        ],
        "{}",
        ran.out
    );
    let answer = parsed(&home.run("rules show demo.lab -j"));
    assert_eq!(answer["statements"][1]["hits"], 345);
    assert_eq!(answer["statements"][1]["line"], 16);
    home.service.answer(&format!("GET /network/{ID}/rules"), 404, "{}");
    let ran = home.run("rules show demo.lab");
    assert!(ran.code == 1 && ran.err.contains("no rules of 37f2b7c94f000001 yet"), "{ran:?}");
}

#[test]
fn what_is_shown_compiles_to_the_same() {
    let home = member();
    let shown = home.run("rules show demo.lab");
    home.write("shown.rules", &shown.out);
    let again = parsed(&home.run("rules compile shown.rules"));
    let first = parsed(&home.run("rules compile my.rules"));
    // Names are gone, and with them what the capability is called.
    assert_eq!(again["config"]["rules"], first["config"]["rules"]);
    assert_eq!(again["config"]["capabilities"][0]["rules"], first["config"]["capabilities"][0]["rules"]);
}

#[test]
fn explain_on_a_member() {
    let home = member();
    let ran = home.run_words(&["rules", "explain", "demo.lab", "icmp 10.0.1.1 > @5aca06ff8e"]);
    // The address of the other end is in no table here.
    assert!(ran.code == 2 && ran.err.contains("the IPv4 address of the receiver is not known"), "{ran:?}");
    let ran =
        home.run_words(&["rules", "explain", "demo.lab", "icmp 10.0.1.1 > 10.0.3.1", "--to", "5aca06ff8e"]);
    assert!(ran.out.contains("assumed   this node is only a member"), "{ran:?}");
    assert!(
        ran.out.contains("sender, outbound: dropped by line 20, included at line 33\n    drop not "),
        "{ran:?}"
    );
    let ran =
        home.run_words(&["rules", "explain", "demo.lab", "icmp 10.0.1.1 > 10.0.3.1", "--to", "99aabbccdd"]);
    assert!(ran.out.contains("has seen no tags of the receiver"), "{ran:?}");
}

#[test]
fn trace_shows_what_comes() {
    let home = member();
    let line = |direction: &str, accept: &str, index: u16, line: u32, head: &str| {
        json!({
            "at": 1_700_000_000_123_i64, "direction": direction, "peer": "5aca06ff8e", "source": "02:00:00:00:00:01",
            "dest": "02:00:00:00:00:02", "etherType": 2048, "length": 28, "head": head, "accept": accept, "redirect": null,
            "copies": [{"to": "37f2b7c94f", "watch": false, "length": 28, "entry": {"capability": null, "index": 4}, "line": 16}],
            "entry": {"capability": null, "index": index}, "line": line, "includedAt": null, "skipped": 0,
        })
        .to_string()
    };
    let icmp = "4500001c000040004001000 00a0001010a0003010800000000000000".replace(' ', "");
    let tcp = "450000280000400040060000 0a0003010a000101c0000050 0000000000000000 5002ffff00000000"
        .replace(' ', "");
    let body = [line("out", "accept", 4, 16, &icmp), line("in", "drop", 7, 17, &tcp), "nonsense".to_owned()]
        .join("\n");
    home.service.answer(&format!("GET /network/{ID}/trace?rate=100"), 200, format!("{body}\n"));
    let ran = home.run("rules trace demo.lab");
    assert_eq!(ran.code, 1, "the stream ended: {ran:?}");
    assert_eq!(
        ran.out,
        "22:13:20.123000Z out 5aca06ff8e  icmp 10.0.1.1 > 10.0.3.1 echo-request  accept by line 16: tee -1 37f2b7c94f; copied to 37f2b7c94f by line 16\n\
         22:13:20.123000Z in  5aca06ff8e  tcp 10.0.3.1:49152 > 10.0.1.1:80 syn  drop by line 17: break chr tcp_syn and not chr tcp_ack; copied to 37f2b7c94f by line 16\n"
    );
    for (filter, lines) in [
        ("--drops", 1),
        ("in", 1),
        ("out port 80", 0),
        ("port 80 in", 1),
        ("host 10.0.3.1", 2),
        ("host 10.0.3.1 host 10.0.3.9", 0),
        ("host 5aca06ff8e", 2),
        ("--drops host 02-00-00-00-00-02", 1),
        ("--count 1", 1),
    ] {
        let ran = home.run(&format!("rules trace demo.lab {filter}"));
        assert_eq!(ran.out.lines().count(), lines, "{filter}: {ran:?}");
        assert_eq!(ran.code, i32::from(!filter.starts_with("--count")), "{filter}");
    }
    let ran = home.run("rules trace demo.lab -j --count 2");
    let second: Value = serde_json::from_str(ran.out.lines().nth(1).unwrap()).unwrap();
    assert_eq!(second["packet"], "tcp 10.0.3.1:49152 > 10.0.1.1:80 syn");
    assert!(second["statement"].as_str().unwrap().starts_with("break"), "{second}");
    for filter in ["host what", "host", "port x", "in out", "syn"] {
        let ran = home.run(&format!("rules trace demo.lab {filter}"));
        assert!(ran.code == 2 && ran.err.contains("host IP"), "{filter}: {ran:?}");
    }
    home.service.answer(&format!("GET /network/{ID}/trace?rate=5"), 503, "{}");
    assert!(home.run("rules trace demo.lab --rate 5").err.contains("as many traces as it can"));
}

#[test]
fn every_help_teaches_with_an_example() {
    let home = Home::stopped();
    for command in ["init", "compile", "check", "set", "show", "test", "explain", "trace"] {
        let ran = home.run(&format!("rules {command} --help"));
        assert!(
            ran.code == 0 && ran.out.contains(&format!("ztnode-cli rules {command}")),
            "{command}: {ran:?}"
        );
    }
    assert!(home.run("help").out.contains("flow rules: init, compile, check"));
}

#[test]
fn rules_and_cases_are_made_that_pass_their_own_test() {
    let home = Home::stopped();
    for (name, allow) in
        [("my", "web,ssh,dns"), ("all", "http,https,ntp,smb,rdp,postgres,mysql,prometheus,tcp/8080,udp/23")]
    {
        let line = format!("rules init {name} --allow {allow}");
        let ran = home.run(&line);
        assert!(
            ran.code == 0 && ran.out.contains(&format!("ztnode-cli rules test {name}.rules {name}.cases")),
            "{ran:?}"
        );
        let checked = home.run(&format!("rules check {name}.rules --strict"));
        assert_eq!(checked.code, 0, "{checked:?}");
        let tested = home.run(&format!("rules test {name}.rules {name}.cases"));
        assert!(tested.code == 0 && tested.out.contains("as expected"), "{tested:?}");
        let again = home.run(&line);
        assert!(again.code == 1 && again.err.contains("is there already"), "{again:?}");
    }
    let rules = std::fs::read_to_string(home.path().join("my.rules")).unwrap();
    assert!(rules.contains("accept ipprotocol udp and sport 53;\n"), "{rules}");
    for (allow, says) in
        [("web,sssh", "did you mean ssh?"), ("tcp/0", "write tcp/PORT"), ("../x", "unknown service")]
    {
        let ran = home.run(&format!("rules init other --allow {allow}"));
        assert!(ran.code == 2 && ran.err.contains(says), "{allow}: {ran:?}");
    }
    assert_eq!(home.run("rules init ../other --allow ssh").code, 2);
    assert!(!home.path().join("other.rules").exists());
}
