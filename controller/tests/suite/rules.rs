//! Rules from their source: compiled on write, refused whole, and the lines that members are told.

use controller::{Controller, MemoryStore};
use protocol::SecretIdentity;
use protocol::metadata::RequestMetadata;
use protocol::netconf::{RuleLines, StatementLine};
use serde_json::{Value, json};

use crate::common::{Answer, CONTROLLER, Fixture, NETWORK, member, member_path, open};

const ALICE: u64 = 0x11_1111_1111;
const BOB: u64 = 0x22_2222_2222;

const SOURCE: &str = "\
# Departments.
tag department
	id 100
	enum 1 sales
	default sales
;
cap superuser
	id 9
	default
	accept;
;
macro odd($type)
	drop ethertype $type;
;
accept
	tdiff department 0
;
include odd(0x88b5)
tee -1 0123456789
	not chr inbound
;
drop;
";

fn path() -> String {
    format!("/controller/network/{NETWORK}")
}

fn refused(f: &mut Fixture, body: &Value) -> Value {
    let (reply, actions) = f.http("POST", &path(), &body.to_string());
    assert_eq!(reply.status, 400, "{body}: {:?}", reply.body);
    assert!(actions.is_empty());
    reply.body.unwrap()
}

fn at(line: u32) -> StatementLine {
    StatementLine { line, included_at: None }
}

fn lines() -> RuleLines {
    let base = vec![at(15), StatementLine { line: 13, included_at: Some(18) }, at(19), at(22)];
    RuleLines { base, capabilities: vec![(9, vec![at(10)])] }
}

#[test]
fn a_source_becomes_rules_capabilities_and_tags() {
    let mut f = Fixture::with(json!({"tags": [{"id": 1, "default": 5}]}));
    let record = f.post(&path(), json!({"name": "n", "rulesSource": SOURCE}));
    assert_eq!((&record["name"], &record["rulesSource"]), (&json!("n"), &json!(SOURCE)));
    assert_eq!(record["tags"], json!([{"id": 100, "default": 1}]), "replaced, not merged");
    let capability = json!([{"id": 9, "default": true, "rules": [{"type": "ACTION_ACCEPT"}]}]);
    assert_eq!(record["capabilities"], capability);
    let kinds: Vec<&str> =
        record["rules"].as_array().unwrap().iter().map(|rule| rule["type"].as_str().unwrap()).collect();
    let wanted = "MATCH_TAGS_DIFFERENCE ACTION_ACCEPT MATCH_ETHERTYPE ACTION_DROP MATCH_CHARACTERISTICS \
                  ACTION_TEE ACTION_DROP";
    assert_eq!(kinds.join(" "), wanted);
    assert_eq!(record["rules"][5]["length"], 65535, "as if it had been posted");
    assert_eq!(
        f.post(&path(), json!({"rulesSource": SOURCE}))["revision"],
        record["revision"],
        "nothing new"
    );

    // As with a definition that was posted: the default capability at the first authorization, the tag's default.
    f.authorize(ALICE);
    let config = f.ask(&member(ALICE)).config();
    assert_eq!(config.capabilities.iter().map(|c| c.id).collect::<Vec<_>>(), [9]);
    assert_eq!(config.tags.iter().map(|t| (t.id, t.value)).collect::<Vec<_>>(), [(100, 1)]);
}

#[test]
fn lists_in_the_same_body_win_over_the_source() {
    for key in ["rules", "capabilities", "tags"] {
        let mut f = Fixture::with(json!({"rulesSource": SOURCE}));
        let before = f.get(&path());
        let mut body = json!({"rulesSource": "this is no program"});
        body[key] = json!([]);
        let record = f.post(&path(), body);
        assert_eq!(record["rulesSource"], "this is no program", "text for editors");
        for other in ["rules", "capabilities", "tags"] {
            let wanted = if other == key { json!([]) } else { before[other].clone() };
            assert_eq!(record[other], wanted, "{key}: {other}");
        }
    }
    let mut f = Fixture::with(json!({"rulesSource": SOURCE}));
    let before = f.get(&path());
    let record = f.post(&path(), json!({"rulesSource": " \n"}));
    assert_eq!(record["rules"], before["rules"], "an empty source says nothing");
    // What other tools do to rename a network: read, change, write back whole.
    let mut whole = before.clone();
    whole["name"] = json!("renamed");
    let record = f.post(&path(), whole);
    assert_eq!((&record["rules"], &record["rulesSource"]), (&before["rules"], &json!(SOURCE)));
}

#[test]
fn a_refused_source_changes_nothing_at_all() {
    let mut f = Fixture::new();
    let bad = "drop\n\tethertype ipv4\n\tand dprot 80\n;\naccept;\n";
    let error = refused(&mut f, &json!({"rulesSource": bad}));
    let (reply, _) = f.http("GET", &path(), "");
    assert_eq!(reply.status, 404, "the network was not created either");
    assert_eq!(error["message"], "Unrecognized match type \"dprot\".");
    assert_eq!((&error["line"], &error["column"], &error["error"]), (&json!(3), &json!(6), &json!(400)));
    assert_eq!((&error["sourceLine"], &error["word"]), (&json!("\tand dprot 80"), &json!("dprot")));
    let description = error["description"].as_str().unwrap();
    assert!(description.starts_with("rulesSource, line 3, column 6: Unrecognized"), "{description}");
    assert!(error["rendered"].as_str().unwrap().contains("dprot"), "{error}");

    let before = f.post(&path(), json!({"rulesSource": SOURCE}));
    refused(&mut f, &json!({"rulesSource": bad, "name": "renamed", "private": false, "mtu": 1400}));
    assert_eq!(f.get(&path()), before);
}

#[test]
fn what_members_could_not_be_given_is_refused() {
    let mut f = Fixture::with(json!({}));
    let matches = |count: usize| "drop ethertype 1;\n".repeat(count / 2);
    let tags = |count: u32| (0..count).map(|id| format!("tag t{id} id {id};\n")).collect::<String>();
    let caps =
        |count: u32| (0..count).map(|id| format!("cap c{id} id {id} drop vlan 1; ;\n")).collect::<String>();
    let cap = |count: usize| format!("cap c id 1 {};\n", matches(count));
    for (source, good) in [
        (matches(1024), true),
        (matches(1026), false),
        (cap(64), true),
        (cap(66), false),
        (tags(128), true),
        (tags(129), false),
        (caps(128), true),
        (caps(129), false),
    ] {
        if good {
            f.post(&path(), json!({"rulesSource": source}));
            continue;
        }
        let before = f.get(&path());
        let error = refused(&mut f, &json!({"rulesSource": source}));
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("1024") || message.contains("64") || message.contains("128"), "{message}");
        assert!(!error["hint"].as_str().unwrap().is_empty());
        assert_eq!(f.get(&path()), before);
    }
    let error = refused(&mut f, &json!({"rulesSource": matches(1026)}));
    assert_eq!((&error["line"], &error["sourceLine"]), (&json!(513), &json!("drop ethertype 1;")));
}

#[test]
fn members_that_ask_are_told_the_lines() {
    let mut f = Fixture::with(json!({"rulesSource": SOURCE}));
    f.authorize(ALICE);
    f.authorize(BOB);
    let config = f.ask(&member(ALICE)).config();
    assert_eq!(config.rule_lines, lines());
    assert_eq!(config.rule_lines.of(None, &config.rules, 2), Some(lines().base[1]));
    // What the reference's members ask is all they get.
    let simple = RequestMetadata { rule_lines: false, ..RequestMetadata::ours("") };
    let Answer::Config(config) = f.ask_about(NETWORK, &member(BOB), &simple) else {
        panic!("no configuration")
    };
    assert!(config.rule_lines.is_empty());
    assert!(!String::from_utf8_lossy(config.to_dictionary().as_bytes()).contains("ztnode"));

    // Pushes are made for what each asked, with what is in force then.
    let pushed = |f: &mut Fixture, body: Value| {
        let (_, actions) = f.post_acting(&path(), body);
        let mut all: Vec<_> =
            actions.into_iter().map(open).map(|(to, _, _, config)| (to, config.rule_lines)).collect();
        all.sort_by_key(|(to, _)| *to);
        assert_eq!(all.len(), 2);
        assert!(all[1].1.is_empty(), "Bob did not ask");
        all.swap_remove(0).1
    };
    assert_eq!(pushed(&mut f, json!({"name": "x"})), lines());
    assert_eq!(pushed(&mut f, json!({"rulesSource": "\naccept;"})).base, [at(2)]);
    let accept = json!([{"type": "ACTION_ACCEPT"}]);
    assert!(pushed(&mut f, json!({"rules": accept, "name": "y"})).base == [at(2)], "the very same rules");
    assert!(
        pushed(&mut f, json!({"rules": [{"type": "ACTION_DROP"}]})).is_empty(),
        "no longer from the source"
    );
    assert!(pushed(&mut f, json!({"rules": accept, "rulesSource": "accept"})).base == [at(1)], "again");
    assert!(pushed(&mut f, json!({"capabilities": [{"id": 1, "rules": accept}]})).is_empty());
}

#[test]
fn the_lines_are_known_again_after_a_restart() {
    let mut f = Fixture::with(json!({"rulesSource": SOURCE}));
    let record = f.get(&path());
    let mut store = MemoryStore::new();
    controller::Store::commit(
        &mut store,
        &[controller::store::Change::PutNetwork { network: NETWORK, record }],
    )
    .unwrap();
    let identity = SecretIdentity::parse(CONTROLLER).unwrap();
    f.controller = Controller::open_with_seed(identity, Box::new(store), [7; 32]).unwrap();
    f.authorize(ALICE);
    assert_eq!(f.ask(&member(ALICE)).config().rule_lines, lines());
}

#[test]
fn tags_and_capabilities_of_members_are_pushed_at_once() {
    let mut f = Fixture::with(json!({"rulesSource": SOURCE}));
    f.authorize(ALICE);
    f.ask(&member(ALICE)).config();
    let (record, actions) = f.post_acting(
        &member_path(ALICE),
        json!({"tags": [[100, 2], [7, 4294967295u32], ["8", "9"], [1], "x"], "capabilities": []}),
    );
    assert_eq!(
        (&record["tags"], &record["capabilities"]),
        (&json!([[7, 4294967295u32], [8, 9], [100, 2]]), &json!([]))
    );
    let [action] = <[_; 1]>::try_from(actions).unwrap();
    let (to, _, in_re, config) = open(action);
    assert_eq!((to, in_re), (member(ALICE).address, None));
    let tags: Vec<_> = config.tags.iter().map(|tag| (tag.id, tag.value)).collect();
    assert_eq!((tags, config.capabilities.len()), (vec![(7, u32::MAX), (8, 9), (100, 2)], 0));
    let (_, actions) = f.post_acting(&member_path(ALICE), json!({"capabilities": [9, 9, 77]}));
    let (_, _, _, config) = open(<[_; 1]>::try_from(actions).unwrap().into_iter().next().unwrap());
    assert_eq!(
        config.capabilities.iter().map(|c| c.id).collect::<Vec<_>>(),
        [9],
        "what is not defined is not issued"
    );
}
