//! Join tokens: who is let in by them, what they give, and when they end.

use controller::{MAX_TOKENS, MemoryStore, SqliteStore};
use proptest::prelude::*;
use protocol::metadata::RequestMetadata;
use serde_json::{Value, json};

use crate::common::{Answer, Fixture, NETWORK, NOW, member, member_path};

const ALICE: u64 = 0x11_2233_4455;
const HOUR: i64 = 3_600_000;

fn tokens() -> String {
    format!("/controller/network/{NETWORK}/token")
}

/// With a network `10.0.0.0/16` whose pool has 254 addresses.
fn lab() -> Fixture {
    Fixture::with(settings())
}

fn settings() -> Value {
    json!({
        "routes": [{"target": "10.0.0.0/16"}],
        "ipAssignmentPools": [{"ipRangeStart": "10.0.0.1", "ipRangeEnd": "10.0.0.254"}],
        "v4AssignMode": {"zt": true},
    })
}

/// A new token: its ID and its text.
fn create(f: &mut Fixture, body: Value) -> (String, String) {
    let made = f.post(&tokens(), body);
    (made["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
}

fn bring(f: &mut Fixture, who: u64, token: &str) -> Answer {
    f.ask_about(NETWORK, &member(who), &RequestMetadata::ours(&format!("token:{token}")))
}

fn get(f: &mut Fixture, id: &str) -> Value {
    f.get(&format!("{}/{id}", tokens()))
}

fn refused(f: &mut Fixture, body: Value) -> (u16, String) {
    let (reply, actions) = f.http("POST", &tokens(), &body.to_string());
    assert!(actions.is_empty());
    let said = reply.body.unwrap_or_default()["description"].as_str().unwrap_or_default().to_owned();
    (reply.status, said)
}

#[test]
fn a_token_lets_in_names_tags_and_addresses() {
    let mut f = lab();
    let terms =
        json!({"name": "aws", "tags": [[7, 9]], "ipAssignments": ["10.0.2.1", "10.0.2.2", "10.0.2.1"]});
    let (id, token) = create(&mut f, terms);
    let config = bring(&mut f, ALICE, &token).config();
    let addresses: Vec<_> = config.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.0.2.1/16", "10.0.2.2/16"]);
    assert_eq!(config.tags.iter().map(|tag| (tag.id, tag.value)).collect::<Vec<_>>(), [(7, 9)]);
    let record = f.get(&member_path(ALICE));
    assert_eq!(record["name"], "aws");
    assert_eq!(record["authorized"], true);
    assert_eq!(record["lastAuthorizedCredentialType"], "token");
    assert_eq!(record["lastAuthorizedCredential"], *id, "not the token itself");

    let shown = get(&mut f, &id);
    assert_eq!(
        shown,
        json!({
            "id": id, "nwid": NETWORK.to_string(), "objtype": "token", "name": "aws", "tags": [[7, 9]],
            "ipAssignments": ["10.0.2.1", "10.0.2.2"], "uses": 1, "used": 1, "creationTime": NOW,
            "expiryTime": NOW + HOUR, "revocationTime": 0, "lastUsedTime": NOW, "state": "spent",
            "members": [format!("{ALICE:010x}")],
        })
    );
    assert_eq!(f.get(&tokens()), json!([shown]));
}

#[test]
fn a_use_is_spent_once_a_member() {
    let mut f = lab();
    let (id, token) = create(&mut f, json!({}));
    bring(&mut f, ALICE, &token).config();
    f.now += 2000;
    bring(&mut f, ALICE, &token).config();
    assert_eq!(get(&mut f, &id)["used"], 1);
    assert_eq!(bring(&mut f, ALICE + 1, &token).code(), 0x07, "it is spent");
    assert_eq!(get(&mut f, &id)["used"], 1);

    // A member that is in already spends nothing.
    let (id, token) = create(&mut f, json!({}));
    f.authorize(5);
    bring(&mut f, 5, &token).config();
    assert_eq!(get(&mut f, &id)["state"], "good");
}

#[test]
fn several_uses_number_the_names() {
    let mut f = lab();
    f.post(&member_path(99), json!({"name": "web-2"}));
    let (id, token) = create(&mut f, json!({"name": "web", "uses": 3, "lifetime": 0}));
    f.now += 100 * 366 * 24 * HOUR;
    for (who, name) in [(1, "web-1"), (2, "web-3"), (3, "web-4")] {
        bring(&mut f, who, &token).config();
        assert_eq!(f.get(&member_path(who))["name"], name);
    }
    assert_eq!(bring(&mut f, 4, &token).code(), 0x07);
    assert_eq!(get(&mut f, &id)["members"], json!(["0000000001", "0000000002", "0000000003"]));

    let (id, token) = create(&mut f, json!({"uses": 0}));
    for who in 10..60 {
        bring(&mut f, who, &token).config();
    }
    assert_eq!(
        (get(&mut f, &id)["used"].clone(), get(&mut f, &id)["state"].clone()),
        (json!(50), json!("good"))
    );
}

#[test]
fn what_is_over_lets_nobody_in() {
    let mut f = lab();
    let (id, token) = create(&mut f, json!({"lifetime": 60_000}));
    f.now += 59_999;
    let (_, second) = create(&mut f, json!({"uses": 0}));
    bring(&mut f, 1, &token).config();
    f.now += 1;
    assert_eq!(get(&mut f, &id)["state"], "expired");

    let revoke = |f: &mut Fixture, id: &str| {
        let (reply, actions) = f.http("DELETE", &format!("{}/{id}", tokens()), "");
        assert!(actions.is_empty(), "members stay");
        (reply.status, reply.body.unwrap_or_default())
    };
    bring(&mut f, 2, &second).config();
    let (status, gone) = revoke(&mut f, &second[21..29]);
    assert_eq!(
        (status, gone["state"].clone(), gone["revocationTime"].clone()),
        (200, json!("revoked"), json!(f.now))
    );
    f.now += 5000;
    assert_eq!(revoke(&mut f, &second[21..29]).1, gone, "once is enough");
    assert_eq!(bring(&mut f, 3, &second).code(), 0x07);
    bring(&mut f, 2, &second).config();
    assert_eq!(revoke(&mut f, "00000000").0, 404);
    assert_eq!(revoke(&mut f, &second).0, 404);

    let (id, token) = create(&mut f, json!({"lifetime": 60_000}));
    f.now += 60_000;
    for text in ["", "x", "ztt_", &token, &token[..69], &format!("{token}0"), &token.to_uppercase()] {
        f.now += 2000;
        assert_eq!(bring(&mut f, 4, text).code(), 0x07, "{text}");
    }
    assert_eq!(get(&mut f, &id)["used"], 0);
}

#[test]
fn a_wrong_secret_is_no_token() {
    let mut f = lab();
    let (id, token) = create(&mut f, json!({}));
    let mut wrong = token.clone().into_bytes();
    for n in 4..wrong.len() {
        let old = std::mem::replace(&mut wrong[n], if token.as_bytes()[n] == b'0' { b'1' } else { b'0' });
        f.now += 2000;
        assert_eq!(bring(&mut f, ALICE, std::str::from_utf8(&wrong).unwrap()).code(), 0x07);
        wrong[n] = old;
    }
    // Those of another network are no better.
    let other = protocol::NetworkId(NETWORK.0 + 1);
    f.post(&format!("/controller/network/{other}"), json!({}));
    let metadata = RequestMetadata::ours(&format!("token:{token}"));
    assert_eq!(f.ask_about(other, &member(ALICE), &metadata).code(), 0x07);
    assert_eq!(get(&mut f, &id)["used"], 0);
    f.now += 2000;
    // Earlier versions make and give them without the network.
    bring(&mut f, ALICE, &format!("ztt_{}", &token[21..])).config();
}

#[test]
fn the_planet_in_a_token_is_passed_over() {
    let mut f = lab();
    let (id, token) = create(&mut f, json!({}));
    let planet = format!("_{}_https://example.com/planet", "0".repeat(64));
    f.now += 2000;
    assert_eq!(bring(&mut f, ALICE, &format!("{token}0{planet}")).code(), 0x07, "another secret");
    f.now += 2000;
    bring(&mut f, ALICE, &format!("{token}{planet}")).config();
    assert_eq!(get(&mut f, &id)["used"], 1);
}

#[test]
fn who_was_put_out_stays_out() {
    let mut f = lab();
    let (id, token) = create(&mut f, json!({"uses": 0}));
    bring(&mut f, ALICE, &token).config();
    f.now += 2000;
    f.post(&member_path(ALICE), json!({"authorized": false}));
    f.now += 2000;
    assert_eq!(bring(&mut f, ALICE, &token).code(), 0x07);
    // However it came in meanwhile.
    f.authorize(ALICE);
    f.now += 2000;
    f.post(&member_path(ALICE), json!({"authorized": false}));
    f.now += 2000;
    assert_eq!(bring(&mut f, ALICE, &token).code(), 0x07);
    bring(&mut f, ALICE + 1, &token).config();
    assert_eq!(get(&mut f, &id)["used"], 2);

    let (_, token) = create(&mut f, json!({"name": "again"}));
    f.now += 2000;
    bring(&mut f, ALICE, &token).config();
    assert_eq!(f.get(&member_path(ALICE))["name"], "again");
}

#[test]
fn addresses_are_kept_for_the_token() {
    let mut f = Fixture::with(json!({
        "routes": [{"target": "10.0.0.0/16"}],
        "ipAssignmentPools": [{"ipRangeStart": "10.0.0.1", "ipRangeEnd": "10.0.0.2"}],
        "v4AssignMode": {"zt": true},
    }));
    let (_, token) = create(&mut f, json!({"ipAssignments": ["10.0.0.1"]}));
    f.authorize(1);
    assert_eq!(f.ask(&member(1)).config().addresses[0].to_string(), "10.0.0.2/16");
    f.authorize(2);
    assert!(f.ask(&member(2)).config().addresses.is_empty(), "the other is kept");
    let (reply, _) = f.http("POST", &member_path(2), r#"{"ipAssignments":["10.0.0.1"]}"#);
    assert_eq!(reply.status, 409);
    assert_eq!(refused(&mut f, json!({"ipAssignments": ["10.0.0.1"]})).0, 409);
    assert_eq!(refused(&mut f, json!({"ipAssignments": ["10.0.0.2"]})).0, 409);
    let (status, said) = refused(&mut f, json!({"ipAssignments": ["10.1.0.1"]}));
    assert!(status == 400 && said.contains("10.1.0.1") && said.contains("10.0.0.0/16"), "{said}");
    let (status, said) = refused(&mut f, json!({"ipAssignments": ["10.0.0.9"], "uses": 2}));
    assert!(status == 400 && said.contains("uses"), "{said}");

    assert_eq!(bring(&mut f, 3, &token).config().addresses[0].to_string(), "10.0.0.1/16");

    // Once the token is over, its address is anybody's.
    let (_, _) = create(&mut f, json!({"ipAssignments": ["10.0.0.7"], "lifetime": 1000}));
    f.now += 1000;
    f.post(&member_path(2), json!({"ipAssignments": ["10.0.0.7"]}));
}

#[test]
fn what_is_mistyped_makes_no_token() {
    let mut f = lab();
    for body in [
        json!({"use": 1}),
        json!({"uses": "5"}),
        json!({"uses": -1}),
        json!({"uses": 1.5}),
        json!({"uses": 1_000_001}),
        json!({"uses": null}),
        json!({"lifetime": -1}),
        json!({"lifetime": 1e30}),
        json!({"lifetime": "1h"}),
        json!({"name": ""}),
        json!({"name": 5}),
        json!({"name": "a\nb"}),
        json!({"name": "x".repeat(129)}),
        json!({"tags": {"a": 1}}),
        json!({"tags": [[1]]}),
        json!({"tags": [[1, 4_294_967_296u64]]}),
        json!({"ipAssignments": "10.0.0.1"}),
        json!({"ipAssignments": ["10.0.0.1/16"]}),
        json!({"ipAssignments": [1]}),
        json!({"token": "mine"}),
    ] {
        let (status, said) = refused(&mut f, body.clone());
        assert!(status == 400 && said.len() > 20, "{body}: {status} {said}");
    }
    assert_eq!(f.get(&tokens()), json!([]));
    let (reply, _) = f.http("POST", "/controller/network/6ea36cee7f0000ff/token", "{}");
    assert_eq!(reply.status, 404);
    let (reply, _) = f.http("POST", &tokens(), "");
    assert_eq!(reply.status, 200, "all defaults");
}

#[test]
fn the_number_of_tokens_is_bounded() {
    let mut f = lab();
    let (first, _) = create(&mut f, json!({"lifetime": 1000}));
    for _ in 1..MAX_TOKENS {
        create(&mut f, json!({}));
    }
    let (status, said) = refused(&mut f, json!({}));
    assert!(status == 409 && said.contains("revoke"), "{said}");
    f.now += 1000;
    let (last, _) = create(&mut f, json!({"lifetime": 0}));
    let listed = f.get(&tokens());
    let listed: Vec<_> = listed.as_array().unwrap().iter().map(|token| token["id"].clone()).collect();
    assert_eq!(listed.len(), MAX_TOKENS);
    assert!(!listed.contains(&json!(first)) && listed.contains(&json!(last)));
    // Those that are over are forgotten after a while.
    f.now += 31 * 24 * HOUR;
    create(&mut f, json!({}));
    assert_eq!(f.get(&tokens()).as_array().unwrap().len(), 2);
}

#[test]
fn a_store_that_fails_spends_nothing() {
    let store = MemoryStore::new();
    let mut f = Fixture::over(Box::new(store.clone()));
    f.post(&format!("/controller/network/{NETWORK}"), settings());
    let (id, token) = create(&mut f, json!({}));
    store.refuse_commits(true);
    assert_eq!(bring(&mut f, ALICE, &token).code(), 0x03);
    assert_eq!(f.http("POST", &tokens(), "{}").0.status, 500);
    assert_eq!(f.http("DELETE", &format!("{}/{id}", tokens()), "").0.status, 500);
    store.refuse_commits(false);
    assert_eq!((get(&mut f, &id)["used"].clone(), f.get(&tokens()).as_array().unwrap().len()), (json!(0), 1));
    f.now += 2000;
    bring(&mut f, ALICE, &token).config();
}

#[test]
fn tokens_outlive_the_process_as_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("controller.sqlite");
    let mut f = Fixture::over(Box::new(SqliteStore::open(&path).unwrap()));
    f.post(&format!("/controller/network/{NETWORK}"), settings());
    let terms = json!({"uses": 2, "name": "n", "tags": [[1, 2]]});
    let (id, token) = create(&mut f, terms);
    let (_, held) = create(&mut f, json!({"ipAssignments": ["10.0.9.9"]}));
    bring(&mut f, 1, &token).config();
    let shown = get(&mut f, &id);
    drop(f);
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for secret in [&token[30..], &held[30..]] {
            assert!(!bytes.windows(40).any(|piece| piece == secret.as_bytes()), "a secret is on disk");
        }
    }

    let mut f = Fixture::over(Box::new(SqliteStore::open(&path).unwrap()));
    assert_eq!(get(&mut f, &id), shown);
    bring(&mut f, 2, &token).config();
    assert_eq!(bring(&mut f, 3, &token).code(), 0x07);
    assert_eq!(refused(&mut f, json!({"ipAssignments": ["10.0.9.9"]})).0, 409);
    f.http("DELETE", &format!("/controller/network/{NETWORK}"), "");
    f.post(&format!("/controller/network/{NETWORK}"), settings());
    assert_eq!(f.get(&tokens()), json!([]), "they go with their network");
    f.now += 2000;
    assert_eq!(bring(&mut f, 4, &held).code(), 0x07);
    drop(f);
    let mut f = Fixture::over(Box::new(SqliteStore::open(&path).unwrap()));
    assert_eq!(f.get(&tokens()), json!([]));
}

#[test]
fn a_public_network_takes_what_the_token_gives() {
    let mut f = Fixture::with(json!({"private": false}));
    let (_, token) = create(&mut f, json!({"name": "n"}));
    bring(&mut f, 1, &token).config();
    bring(&mut f, 2, &token).config();
    assert_eq!(f.get(&member_path(1))["name"], "n");
    assert_eq!(f.get(&member_path(2))["lastAuthorizedCredentialType"], "public");
}

/// The reference's own tokens, fields of the network, work beside ours.
#[test]
fn tokens_of_the_network_record_still_work() {
    let mut settings = settings();
    settings["authTokens"] = json!({"open": 0});
    let mut f = Fixture::with(settings);
    create(&mut f, json!({}));
    bring(&mut f, 1, "open").config();
    assert_eq!(f.get(&tokens())[0]["members"], json!([]));
}

proptest! {
    /// Whatever a node brings and whatever is posted: no panic, nobody is in who brought no token, and no more than the
    /// token allows.
    #[test]
    fn uses_are_counted(
        uses in 0u64..4,
        steps in prop::collection::vec((1u64..6, 0u8..6, "(token:)?[ -~]{0,60}"), 1..30),
    ) {
        let mut f = lab();
        let (id, token) = create(&mut f, json!({"uses": uses}));
        let mut by_hand = std::collections::BTreeSet::new();
        for (who, step, noise) in steps {
            f.now += 2000;
            match step {
                0 => {
                    f.authorize(who);
                    by_hand.insert(who);
                }
                1 => {
                    f.post(&member_path(who), json!({"authorized": false}));
                }
                2 => {
                    f.ask_about(NETWORK, &member(who), &RequestMetadata::ours(&noise));
                }
                _ => {
                    bring(&mut f, who, &token);
                }
            }
        }
        let shown = get(&mut f, &id);
        let used = shown["used"].as_u64().unwrap();
        prop_assert!(uses == 0 || used <= uses);
        prop_assert!(shown["members"].as_array().unwrap().len() as u64 <= used);
        for who in 1..6 {
            let (reply, _) = f.http("GET", &member_path(who), "");
            let Some(record) = reply.body else { continue };
            let by = record["lastAuthorizedCredentialType"].as_str();
            prop_assert!(by != Some("api") || by_hand.contains(&who));
            prop_assert!(record["authorized"] == false || by.is_some());
        }
    }
}
