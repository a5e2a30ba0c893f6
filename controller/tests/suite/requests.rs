//! What members are answered, and what they are told unasked.

use std::net::IpAddr;

use crate::common::{Answer, Fixture, NETWORK, NOW, at, member, member_path, open};
use controller::{Action, MAX_STRANGERS, MemoryStore};
use protocol::credential::Verification;
use protocol::metadata::RequestMetadata;
use protocol::{Address, NetworkId, derive};
use serde_json::{Value, json};

const ALICE: u64 = 0x11_2233_4455;
const BOB: u64 = 0x22_3344_5566;

fn lab() -> Fixture {
    Fixture::with(json!({
        "name": "lab",
        "routes": [{"target": "10.0.0.0/16"}, {"target": "0.0.0.0/0", "via": "10.0.0.1"}],
        "ipAssignmentPools": [{"ipRangeStart": "10.0.0.1", "ipRangeEnd": "10.0.0.254"}],
        "v4AssignMode": {"zt": true},
        "v6AssignMode": {"rfc4193": true, "6plane": true},
    }))
}

#[test]
fn private_network_lets_in_who_is_authorized() {
    let mut f = lab();
    let alice = member(ALICE);
    assert_eq!(f.ask(&alice).code(), 0x07);
    let path = member_path(ALICE);
    let mut want: Value = serde_json::from_str(
        r#"{"activeBridge":false,"address":"1122334455","authenticationExpiryTime":0,"authorized":false,"capabilities":[],"creationTime":1700000000000,"id":"1122334455",
        "identity":"","ipAssignments":[],"lastAuthorizedCredential":null,"lastAuthorizedCredentialType":null,"lastAuthorizedTime":0,
        "lastDeauthorizedTime":0,"noAutoAssignIps":false,"nwid":"6ea36cee7f000001","objtype":"member","remoteTraceLevel":0,"remoteTraceTarget":null,"revision":1,
        "ssoExempt":false,"tags":[],"vMajor":-1,"vMinor":-1,"vProto":-1,"vRev":-1}"#,
    )
    .unwrap();
    want["identity"] = json!(alice.to_string());
    assert_eq!(f.get(&path), want);

    // Authorizing pushes a configuration at once: the member need not wait for its next poll.
    f.now += 500;
    let mut actions = f.authorize(ALICE);
    assert_eq!(actions.len(), 1);
    let (to, _, in_re, pushed) = open(actions.remove(0));
    assert_eq!((to, in_re), (alice.address, None));
    assert_eq!(pushed.timestamp.as_ms(), f.now);

    f.now += 1000;
    let config = f.ask(&alice).config();
    assert_eq!(config.addresses, pushed.addresses);
    assert_eq!(config.name, "lab");
    assert!(!config.public && config.broadcast() && config.ndp_emulation());
    assert_eq!((config.mtu, config.multicast_limit, config.credential_window.as_ms()), (2800, 32, 1_800_000));
    assert_eq!(config.revision, 1);
    let texts: Vec<String> = config.addresses.iter().map(|p| format!("{}/{}", p.ip, p.bits)).collect();
    // 0x22334455 mod 253 = 236
    assert_eq!(
        texts,
        [
            format!("{}/88", derive::rfc4193(NETWORK, alice.address)),
            format!("{}/40", derive::six_plane(NETWORK, alice.address)),
            format!("10.0.0.{}/16", 1 + 0x2233_4455_u32 % 253),
        ]
    );
    let com = config.com.unwrap();
    assert_eq!(com.qualifiers.len(), 7);
    assert_eq!((com.timestamp().as_ms(), com.qualifiers[0].max_delta), (f.now, 1_800_000));
    let stored = f.get(&path);
    assert_eq!(stored["ipAssignments"], json!([texts[2].split('/').next().unwrap()]));
    assert_eq!(
        (&stored["vMajor"], &stored["vMinor"], &stored["vProto"]),
        (&json!(1), &json!(14), &json!(12))
    );
    assert_eq!(stored["lastAuthorizedCredentialType"], json!("api"));
}

#[test]
fn public_networks_and_tokens_let_in_by_themselves() {
    let mut f = Fixture::with(json!({"private": false}));
    f.ask(&member(ALICE)).config();
    assert_eq!(f.get(&member_path(ALICE))["lastAuthorizedCredentialType"], json!("public"));

    let mut f = Fixture::with(json!({"authTokens": {"open": 0, "late": NOW - 1, "soon": NOW + 5000, "": 0}}));
    let tokens = [("late", false), ("nope", false), ("", false), ("open", true), ("soon", true)];
    for (n, (token, good)) in tokens.into_iter().enumerate() {
        let metadata = RequestMetadata::ours(&format!("token:{token}"));
        let who = member(BOB + n as u64);
        match f.ask_about(NETWORK, &who, &metadata) {
            Answer::Config(_) => assert!(good, "{token}"),
            other => assert!(!good && other.code() == 0x07, "{token}"),
        }
        if good {
            let record = f.get(&member_path(who.address.to_u64()));
            assert_eq!(record["lastAuthorizedCredential"], json!(token));
            assert_eq!(record["lastAuthorizedCredentialType"], json!("token"));
        }
    }
}

#[test]
fn foreign_and_unknown_networks() {
    let mut f = lab();
    let ours = RequestMetadata::ours("");
    let foreign = NetworkId(0x1234_5678_9a00_0001);
    f.post(&format!("/controller/network/{foreign}"), json!({"private": false}));
    assert!(
        matches!(f.ask_about(foreign, &member(ALICE), &ours), Answer::Silence),
        "stored but never served"
    );
    assert_eq!(f.ask_about(NetworkId(NETWORK.0 + 1), &member(ALICE), &ours).code(), 0x03);
}

#[test]
fn one_request_a_second() {
    let mut f = lab();
    assert_eq!(f.ask(&member(ALICE)).code(), 0x07);
    f.now += 1000;
    assert!(matches!(f.ask(&member(ALICE)), Answer::Silence));
    assert_eq!(f.ask(&member(BOB)).code(), 0x07, "others are not held up");
    f.now += 1;
    assert_eq!(f.ask(&member(ALICE)).code(), 0x07);
    f.now -= 3_600_000;
    assert_eq!(f.ask(&member(ALICE)).code(), 0x07, "a clock that is set back locks nobody out");
}

#[test]
fn identities_are_pinned() {
    let mut f = Fixture::with(json!({"private": false}));
    f.ask(&member(ALICE)).config();
    let mut impostor = member(ALICE);
    impostor.public[63] ^= 1;
    f.now += 2000;
    assert_eq!(f.ask(&impostor).code(), 0x07);
    assert_eq!(f.get(&member_path(ALICE))["identity"], json!(member(ALICE).to_string()));
    f.now += 2000;
    f.ask(&member(ALICE)).config();
}

#[test]
fn changes_are_pushed_to_who_is_online() {
    let mut f = Fixture::with(json!({"private": false}));
    f.ask(&member(ALICE)).config();
    f.now += 100_000;
    f.ask(&member(BOB)).config();
    f.now += 30_000;
    let path = format!("/controller/network/{NETWORK}");
    let (reply, mut actions) = f.post_acting(&path, json!({"name": "renamed"}));
    assert_eq!(reply["revision"], 2);
    assert_eq!(actions.len(), 1, "alice was last heard 130 s ago");
    let (to, _, in_re, config) = open(actions.remove(0));
    assert_eq!((to, in_re, config.name.as_str()), (Address::from_u64(BOB), None, "renamed"));
    let (reply, actions) = f.post_acting(&path, json!({"name": "renamed"}));
    assert_eq!((&reply["revision"], actions.len()), (&json!(2), 0), "nothing changed");

    // A new bridge is everybody's business.
    let (_, actions) = f.post_acting(&member_path(ALICE), json!({"activeBridge": true}));
    let (to, _, _, config) = open(actions.into_iter().next().unwrap());
    assert_eq!(to, Address::from_u64(BOB));
    assert!(config.is_active_bridge(Address::from_u64(ALICE)));
}

#[test]
fn large_networks_are_pushed_in_batches() {
    let mut f = Fixture::with(json!({"private": false}));
    for n in 0..300 {
        f.ask(&member(ALICE + n)).config();
    }
    assert_eq!(f.controller.next_deadline(), None);
    let (_, mut actions) = f.post_acting(&format!("/controller/network/{NETWORK}"), json!({"mtu": 1400}));
    assert!(actions.len() < 300);
    while f.controller.next_deadline().is_some_and(|due| due <= at(f.now)) {
        actions.extend(f.controller.tick(at(f.now)));
    }
    assert_eq!(actions.len(), 300);
    for action in actions {
        assert_eq!(open(action).3.mtu, 1400);
    }
}

#[test]
fn deauthorized_and_deleted_members_are_revoked() {
    let mut f = lab();
    for who in [ALICE, BOB] {
        f.authorize(who);
        f.ask(&member(who)).config();
    }
    f.now += 5000;
    let both = vec![Address::from_u64(ALICE), Address::from_u64(BOB)];
    let (_, actions) = f.post_acting(&member_path(ALICE), json!({"authorized": false}));
    let [Action::Revoke { to, revocation }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(*to, both, "the target included");
    assert_eq!((revocation.target, revocation.kind, revocation.credential_id), (both[0], 1, 0));
    assert_eq!((revocation.threshold.as_ms(), revocation.fast_propagate()), (f.now, true));
    let signer = protocol::SecretIdentity::parse(crate::common::CONTROLLER).unwrap().identity().clone();
    assert_eq!(revocation.verify(|_| Some(signer.clone())), Verification::Valid);
    assert_eq!(f.ask(&member(ALICE)).code(), 0x07);

    let (_, actions) = f.http("DELETE", &member_path(ALICE), "");
    assert!(actions.is_empty(), "it held nothing any more");
    let (reply, actions) = f.http("DELETE", &member_path(BOB), "");
    assert_eq!(reply.status, 200);
    let [Action::Revoke { to, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(*to, vec![both[1]]);
    assert_eq!(f.http("DELETE", &member_path(BOB), "").0.status, 404);
}

#[test]
fn deauthorizing_on_a_public_network_lasts_until_the_next_request() {
    let mut f = Fixture::with(json!({"private": false}));
    f.ask(&member(ALICE)).config();
    f.now += 5000;
    let (record, actions) = f.post_acting(&member_path(ALICE), json!({"authorized": false}));
    assert_eq!(record["authorized"], false);
    assert!(matches!(&actions[..], [Action::Revoke { .. }]), "{actions:?}");
    f.now += 1;
    f.ask(&member(ALICE)).config();
}

#[test]
fn a_deleted_network_has_a_last_configuration() {
    let mut f = lab();
    for who in [ALICE, BOB] {
        f.authorize(who);
        f.ask(&member(who)).config();
    }
    let path = format!("/controller/network/{NETWORK}");
    f.now += 2000;
    let (reply, actions) = f.http("DELETE", &path, "");
    assert_eq!((reply.status, actions.len()), (200, 2));
    for (action, who) in actions.into_iter().zip([ALICE, BOB]) {
        let (to, _, in_re, config) = last(action);
        assert_eq!((to, in_re, config.timestamp.as_ms()), (Address::from_u64(who), None, f.now));
    }
    assert_eq!(f.http("GET", &path, "").0.status, 404);
    assert_eq!(f.http("GET", &member_path(ALICE), "").0.status, 404);
    assert_eq!(f.get("/controller/network"), json!([]));
    // Who was not there gets it when it asks, for thirty days and through restarts; who has it is told no more than that.
    f.now += 29 * 86_400_000;
    let mut f = f.restarted();
    let actions = f.ask_holding(&member(ALICE), NOW);
    let [config, Action::Refuse { code: 0x03, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert!(last(config.clone()).2.is_some());
    f.now += 2000;
    let actions = f.ask_holding(&member(ALICE), NOW + 2000);
    assert!(matches!(&actions[..], [Action::Refuse { code: 0x03, .. }]), "{actions:?}");
    // Made anew, it is a network again, and old certificates stay void.
    f.post(&path, json!({"name": "again"}));
    assert_eq!(f.get(&path)["name"], "again");
    f.now += 2000;
    assert_eq!(f.ask(&member(ALICE)).code(), 0x07);
    let mut f = f.restarted();
    f.now += 2000;
    assert_eq!(f.ask(&member(BOB)).code(), 0x07, "also after a restart");

    f.http("DELETE", &path, "");
    f.now += 30 * 86_400_000;
    let actions = f.ask_holding(&member(ALICE), NOW);
    assert!(matches!(&actions[..], [Action::Refuse { code: 0x03, .. }]), "thirty days are over: {actions:?}");
}

/// A deleted network's configuration: nobody can talk by it.
fn last(action: Action) -> (Address, NetworkId, Option<u64>, protocol::netconf::NetworkConfig) {
    let Action::Config { member, network, in_re, dictionary, last: true, .. } = action else {
        panic!("{action:?}")
    };
    let config = protocol::netconf::NetworkConfig::from_dictionary(&dictionary).unwrap();
    assert!(
        config.addresses.is_empty() && config.routes.is_empty() && config.com.is_none() && !config.public
    );
    assert_eq!(config.rules, [flowrules::Rule::new(flowrules::rule::Kind::Drop)]);
    assert_eq!((config.issued_to, config.network), (member, network));
    (member, network, in_re, config)
}

#[test]
fn tags_and_capabilities() {
    let mut f = Fixture::with(json!({
        "tags": [{"id": 1, "default": 5}, {"id": 2, "default": null}, {"id": 3}],
        "capabilities": [
            {"id": 9, "default": true, "rules": [{"type": "ACTION_ACCEPT"}]},
            {"id": 4, "default": false, "rules": [{"type": "ACTION_DROP"}]},
        ],
    }));
    f.post(&member_path(ALICE), json!({"tags": [[2, 7], [8, 8]]}));
    assert_eq!(f.ask(&member(ALICE)).code(), 0x07, "the record exists before the member is let in");
    f.authorize(ALICE);
    f.now += 2000;
    let config = f.ask(&member(ALICE)).config();
    assert_eq!(config.tags.iter().map(|t| (t.id, t.value)).collect::<Vec<_>>(), [(1, 5), (2, 7), (8, 8)]);
    assert_eq!(
        config.capabilities.iter().map(|c| c.id).collect::<Vec<_>>(),
        [9],
        "defaults at first authorization"
    );
    assert_eq!(f.get(&member_path(ALICE))["tags"], json!([[1, 5], [2, 7], [8, 8]]));
    f.post(&member_path(ALICE), json!({"capabilities": [4, 77]}));
    f.now += 2000;
    let config = f.ask(&member(ALICE)).config();
    assert_eq!(config.capabilities.iter().map(|c| c.id).collect::<Vec<_>>(), [4]);

    let mut simple = RequestMetadata::ours("");
    simple.rules_engine = 0;
    f.now += 2000;
    let config = f.ask_about(NETWORK, &member(ALICE), &simple).config();
    assert!(config.tags.is_empty() && config.capabilities.is_empty());
    assert_eq!(flowrules::encode(&config.rules), [1, 0]);
}

#[test]
fn full_lists_reach_the_member() {
    let rules: Vec<Value> =
        (0..1100).map(|n| json!({"type": "MATCH_IPV6_DEST", "ip": format!("fd00::{n:x}/128")})).collect();
    let caps: Vec<Value> =
        (0..130).map(|id| json!({"id": id, "default": true, "rules": &rules[..70]})).collect();
    let routes: Vec<Value> =
        (0..130).map(|n| json!({"target": format!("10.{n}.0.0/16"), "via": "10.0.0.1"})).collect();
    let mut f = Fixture::with(json!({
        "private": false, "rules": rules, "capabilities": caps, "routes": routes,
        "name": "n".repeat(126) + "ü", "mtu": 99999,
        "dns": {"domain": "x".repeat(200), "servers": ["10.0.0.1", "bad", 5, "fd00::1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]},
    }));
    f.post(
        &member_path(ALICE),
        json!({"tags": (0..200).map(|n| [n, n]).collect::<Vec<_>>(), "activeBridge": true,
        "ipAssignments": (0..40).map(|n| format!("10.0.1.{n}")).collect::<Vec<_>>()}),
    );
    for n in 0..260 {
        f.post(&member_path(BOB + n), json!({"activeBridge": true}));
    }
    let config = f.ask(&member(ALICE)).config();
    assert_eq!((config.rules.len(), config.capabilities.len(), config.tags.len()), (1024, 128, 128));
    assert_eq!((config.routes.len(), config.addresses.len(), config.specialists.len()), (128, 32, 256));
    assert_eq!(config.capabilities[0].rules.len(), 64);
    assert_eq!((config.name.len(), config.mtu), (126, 10000), "cut between characters");
    assert_eq!((config.dns.domain.len(), config.dns.servers.len()), (127, 4));
}

#[test]
fn sso_asks_for_authentication_and_ends_with_it() {
    let mut f = Fixture::with(json!({"ssoEnabled": true, "authorizationEndpoint": "https://login.example/"}));
    f.authorize(ALICE);
    let Answer::Refused(0x09, Some(detail)) = f.ask(&member(ALICE)) else { panic!() };
    let sso = protocol::netconf::Sso::from_error(&detail).unwrap();
    assert_eq!(sso.authentication_url, "https://login.example/");
    let expiry = f.now + 10_000;
    let (_, actions) = f.post_acting(&member_path(ALICE), json!({"authenticationExpiryTime": expiry}));
    let config = open(actions.into_iter().next().unwrap()).3;
    assert!(config.sso.enabled);
    assert_eq!(config.sso.authentication_expiry.unwrap().as_ms(), expiry);
    assert_eq!(f.controller.next_deadline(), Some(at(expiry)));
    f.now = expiry;
    let actions = f.controller.tick(at(f.now));
    assert!(matches!(&actions[..], [Action::Revoke { .. }]));
    assert_eq!(f.ask(&member(ALICE)).code(), 0x09);
    assert_eq!(f.controller.next_deadline(), None);
}

#[test]
fn a_store_that_fails_hands_out_nothing() {
    let store = MemoryStore::new();
    let mut f = Fixture::over(Box::new(store.clone()));
    let path = format!("/controller/network/{NETWORK}");
    f.post(
        &path,
        json!({"private": false, "v4AssignMode": "zt", "routes": [{"target": "10.0.0.0/24"}],
        "ipAssignmentPools": [{"ipRangeStart": "10.0.0.1", "ipRangeEnd": "10.0.0.9"}]}),
    );
    f.ask(&member(BOB)).config();
    store.refuse_commits(true);
    f.now += 2000;
    assert_eq!(f.ask(&member(ALICE)).code(), 0x03);
    assert_eq!(f.http("GET", &member_path(ALICE), "").0.status, 404);
    assert_eq!(f.http("POST", &path, r#"{"name":"x"}"#).0.status, 500);
    assert_eq!(f.get(&path)["name"], "");
    let before = store.commits();
    f.ask(&member(BOB)).config();
    assert_eq!(store.commits(), before, "a member whose record stays as it is costs no write");
    store.refuse_commits(false);
    f.now += 2000;
    f.ask(&member(ALICE)).config();

    // What was handed out is what a restart finds.
    let held = f.get(&member_path(ALICE))["ipAssignments"].clone();
    drop(f);
    let mut again = Fixture::over(Box::new(store));
    assert_eq!(again.get(&member_path(ALICE))["ipAssignments"], held);
}

#[test]
fn strangers_are_bounded() {
    let mut f = lab();
    f.post(&member_path(1), json!({"name": "announced"}));
    f.now += 1;
    for n in 0..=MAX_STRANGERS as u64 {
        f.now += 1;
        assert_eq!(f.ask(&member(ALICE + n)).code(), 0x07);
    }
    assert_eq!(f.controller.strangers(NETWORK), MAX_STRANGERS);
    assert_eq!(f.http("GET", &member_path(ALICE), "").0.status, 404, "the oldest made room");
    assert_eq!(f.http("GET", &member_path(1), "").0.status, 200, "who was announced stays");
}

#[test]
fn derived_space_is_not_given_to_others() {
    let mut f = Fixture::new();
    let first = derive::rfc4193(NETWORK, Address::from_u64(ALICE));
    let last = IpAddr::V6((first.to_bits() + 3).into());
    f.post(
        &format!("/controller/network/{NETWORK}"),
        json!({"private": false, "v6AssignMode": {"zt": true, "rfc4193": true},
            "routes": [{"target": format!("{first}/64")}],
            "ipAssignmentPools": [{"ipRangeStart": first.to_string(), "ipRangeEnd": last.to_string()}]}),
    );
    // The pool consists of addresses that belong to ALICE … ALICE+3 by derivation.
    let config = f.ask(&member(BOB)).config();
    assert_eq!(config.addresses.len(), 1);
    let config = f.ask(&member(ALICE + 1)).config();
    assert_eq!(config.addresses.len(), 1);
}
