//! The routes as existing clients know them.

use crate::common::{Fixture, NETWORK, NOW, member, member_path};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The fresh network of the specification (with `{}` for the tokens instead of the reference's `[null]`).
#[test]
fn fresh_network() {
    let mut f = Fixture::new();
    let record = f.post("/controller/network/1122334455000001", json!({}));
    let want = r#"{"authTokens":{},"authorizationEndpoint":"","capabilities":[],"clientId":"","creationTime":1700000000000,"dns":[],"enableBroadcast":true,"id":"1122334455000001","ipAssignmentPools":[],"mtu":2800,"multicastLimit":32,"name":"","nwid":"1122334455000001","objtype":"network","private":true,"remoteTraceLevel":0,"remoteTraceTarget":null,"revision":1,"routes":[],"rules":[{"not":false,"or":false,"type":"ACTION_ACCEPT"}],"rulesSource":"","ssoEnabled":false,"tags":[],"v4AssignMode":{"zt":false},"v6AssignMode":{"6plane":false,"rfc4193":false,"zt":false}}"#;
    assert_eq!(record.to_string(), want, "compact, keys sorted");
}

#[test]
fn status() {
    let mut f = Fixture::new();
    let (reply, _) = f.http("GET", "/controller", "");
    assert_eq!((reply.status, reply.pretty), (200, true));
    let want = json!({"controller": true, "apiVersion": 4, "clock": NOW, "databaseReady": true});
    assert_eq!(reply.body, Some(want));
}

#[test]
fn networks_are_created_listed_and_deleted() {
    let mut f = Fixture::new();
    assert_eq!(f.get("/controller/network"), json!([]));
    let one = f.post("/controller/network", json!({"name": "one"}));
    let two = f.post("/controller/network/6ea36cee7f______", json!({"name": "two"}));
    for record in [&one, &two] {
        let id = record["id"].as_str().unwrap();
        assert!(id.starts_with("6ea36cee7f") && !id.ends_with("000000"));
        assert_eq!(record["revision"], 1);
    }
    let mut ids = vec![one["id"].clone(), two["id"].clone()];
    ids.sort_by_key(|id| id.as_str().unwrap().to_owned());
    assert_eq!(f.get("/controller/network"), json!(ids));
    assert_eq!(f.get("/unstable/controller/network")["meta"], json!({"networkCount": 2}));

    let path = format!("/controller/network/{}", one["id"].as_str().unwrap());
    assert_eq!(
        f.get(&path.to_uppercase().replace("CONTROLLER", "controller").replace("NETWORK", "network")),
        one
    );
    let (reply, _) = f.http("DELETE", &path, "");
    assert_eq!((reply.status, reply.body), (200, Some(one)));
    let (reply, _) = f.http("DELETE", &path, "");
    assert_eq!((reply.status, reply.body), (404, None));
}

#[test]
fn what_is_no_route() {
    let mut f = Fixture::with(json!({}));
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "", 404),
        ("GET", "/controller/", 404),
        ("GET", "/controller/network/123", 404),
        ("GET", "/controller/network/6ea36cee7f______", 404),
        ("POST", "/controller", 404),
        ("DELETE", "/controller/network", 404),
        ("PATCH", "/controller/network/6ea36cee7f000001", 404),
        ("GET", "/controller/network/6ea36cee7f000001/member/12345", 404),
        ("GET", "/controller/network/6ea36cee7f000002/member", 404),
        ("GET", "/unstable/controller/network/6ea36cee7f000002/member", 404),
        ("POST", "/controller/network/6EA36CEE7F______", 400),
        ("POST", "/controller/network/1122334455______", 400),
        ("POST", "/controller/network/6ea36cee7f000002/member/1122334455", 404),
    ] {
        let (reply, _) = f.http(method, path, "{}");
        assert_eq!((reply.status, reply.body), (status, None), "{method} {path}");
    }
}

#[test]
fn bad_bodies() {
    let mut f = Fixture::with(json!({}));
    let network = format!("/controller/network/{NETWORK}");
    let member = member_path(1);
    for (path, body) in [
        (network.as_str(), ""),
        (&network, "{"),
        (&network, "[1]"),
        (&network, "7"),
        (&network, "\"x\""),
        (&network, "true"),
        (&member, "7"),
        ("/controller/network", "nope"),
        (&member, ""),
        (&member, r#"{"ipAssignments":["10.0.0.1",5]}"#),
    ] {
        let (reply, actions) = f.http("POST", path, body);
        let text = reply.body.unwrap();
        assert_eq!((reply.status, &text["error"]), (400, &json!(400)), "{path} {body}");
        let said = text["description"].as_str().unwrap();
        assert!(said.contains("expected") || said.contains("JSON"), "{said}");
        assert!(said.ends_with("nothing was changed"), "{said}");
        assert!(actions.is_empty());
    }
    assert_eq!(f.get("/controller/network").as_array().unwrap().len(), 1);
    assert_eq!(f.http("GET", &member, "").0.status, 404, "nothing was created");
    // To zerotier-one, and so to tools that write an empty object like this, these say nothing.
    for body in ["null", "[]", "{}"] {
        let before = f.get(&network);
        let (reply, _) = f.http("POST", &network, body);
        assert_eq!((reply.status, reply.body), (200, Some(before)), "{body}");
        assert_eq!(f.http("POST", &member, body).0.status, 200, "{body}");
    }
}

#[test]
fn network_fields() {
    let mut f = Fixture::new();
    let path = format!("/controller/network/{NETWORK}");
    for (field, input, want) in [
        ("name", json!(12), json!("12")),
        ("private", json!(false), json!(false)),
        ("private", json!(null), json!(false)),
        ("private", json!(true), json!(true)),
        ("enableBroadcast", json!(0), json!(false)),
        ("multicastLimit", json!("64"), json!(64)),
        ("mtu", json!(100), json!(1280)),
        ("mtu", json!(1_000_000), json!(10000)),
        ("v4AssignMode", json!("zt"), json!({"zt": true})),
        ("v4AssignMode", json!({"zt": 1}), json!({"zt": true})),
        ("v4AssignMode", json!(5), json!({"zt": false})),
        ("v6AssignMode", json!({"6plane": true}), json!({"6plane": true})),
        ("v6AssignMode", json!("zt,rfc4193"), json!({"6plane": false, "rfc4193": true, "zt": true})),
        ("v6AssignMode", json!(null), json!({"6plane": false, "rfc4193": false, "zt": false})),
        (
            "routes",
            json!([
                {"target": "10.1.2.3/16", "via": "10.0.0.1/32"},
                {"target": "10.0.0.0/33"},
                {"target": "nonsense."},
                {"target": "fd00::/64", "via": "10.0.0.1"},
                {"target": 7}, {}, 3,
            ]),
            json!([{"target": "10.1.2.3/16", "via": "10.0.0.1"}, {"target": "fd00::/64", "via": null}]),
        ),
        (
            "ipAssignmentPools",
            json!([
                {"ipRangeStart": "10.0.0.1/24", "ipRangeEnd": "10.0.0.9"},
                {"ipRangeStart": "10.0.0.1"},
                {"ipRangeStart": "10.0.0.1", "ipRangeEnd": "fd00::1"},
                {"ipRangeStart": "FD00::1", "ipRangeEnd": "fd00::9"},
            ]),
            json!([
                {"ipRangeStart": "10.0.0.1", "ipRangeEnd": "10.0.0.9"},
                {"ipRangeStart": "fd00::1", "ipRangeEnd": "fd00::9"},
            ]),
        ),
        (
            "rules",
            json!([{"type": "ACTION_DROP", "not": true}, {"type": "NOPE"}, 5]),
            json!([{"type": "ACTION_DROP"}]),
        ),
        (
            "capabilities",
            json!([{"id": 5}, {"id": "2", "default": true, "rules": [{"type": "ACTION_ACCEPT"}]}, {"id": 5, "default": true}]),
            json!([
                {"id": 2, "default": true, "rules": [{"type": "ACTION_ACCEPT"}]},
                {"id": 5, "default": true, "rules": []},
            ]),
        ),
        (
            "tags",
            json!([{"id": 7, "default": 1}, {"id": 3}, {"id": 7, "default": null}, [1]]),
            json!([{"id": 3, "default": null}, {"id": 7, "default": null}]),
        ),
        ("authTokens", json!({"a": 0, "d": 9}), json!({"a": 0, "d": 9})),
        ("authTokens", json!(null), json!({"a": 0, "d": 9})),
        ("authTokens", json!([null]), json!({})),
        (
            "dns",
            json!({"domain": "lab", "servers": ["10.0.0.1"], "x": 1}),
            json!({"domain": "lab", "servers": ["10.0.0.1"]}),
        ),
        ("dns", json!([]), json!({"domain": "lab", "servers": ["10.0.0.1"]})),
        ("remoteTraceTarget", json!("1122334455"), json!("1122334455")),
        ("remoteTraceTarget", json!("short"), json!(null)),
        ("remoteTraceLevel", json!(10), json!(10)),
        ("ssoEnabled", json!(true), json!(true)),
        ("ssoEnabled", json!(false), json!(false)),
        ("certificateTimeoutWindowSize", json!(600_000), json!(600_000)),
    ] {
        let before = f.http("GET", &path, "").0.body;
        let record = f.post(&path, json!({field: input, "unknown": 1, "id": "x", "revision": 99}));
        assert_eq!(record[field], want, "{field} {input}");
        assert_eq!(record["id"], json!(NETWORK.to_string()));
        assert!(record.get("unknown").is_none());
        if let Some(mut before) = before {
            assert_eq!(record["revision"] == before["revision"], record == before);
            before[field] = want.clone();
            before["revision"] = record["revision"].clone();
            assert_eq!(record, before, "only {field} changes");
        }
    }
    assert_eq!(f.post(&path, json!({"mtu": 1500}))["remoteTraceLevel"], 10, "kept by a POST without it");
}

/// What decides who gets in is read strictly: one 400 that says field, value and what is wanted, and nothing is changed.
#[test]
fn a_wrong_type_opens_no_door() {
    let mut f = Fixture::with(json!({"name": "kept"}));
    let network = format!("/controller/network/{NETWORK}");
    f.authorize(1);
    let cases = [
        (
            &network,
            "private",
            json!("yes"),
            "private: true or false is expected, not the text \"yes\"; nothing was changed",
        ),
        (
            &network,
            "private",
            json!(-1),
            "private: true or false is expected, not the number -1; nothing was changed",
        ),
        (
            &network,
            "ssoEnabled",
            json!([]),
            "ssoEnabled: true or false is expected, not a list; nothing was changed",
        ),
        (
            &network,
            "authTokens",
            json!("open"),
            "authTokens: an object of tokens and the time when each expires is expected, not the text \"open\"; nothing was changed",
        ),
        (
            &network,
            "authTokens",
            json!({"secret": "x"}),
            "authTokens[token of 6 bytes]: the time when it expires, ms since the epoch (0 = never), is expected, not the text \"x\"; nothing was changed",
        ),
        (
            &network,
            "certificateTimeoutWindowSize",
            json!("10 min"),
            "certificateTimeoutWindowSize: a whole number of at least 0 is expected, not the text \"10 min\"; nothing was changed",
        ),
        (
            &network,
            "capabilities",
            json!([{"id": 1, "default": "no"}]),
            "capabilities[0].default: true or false is expected, not the text \"no\"; nothing was changed",
        ),
        (
            &network,
            "rules",
            json!("none"),
            "rules: a list is expected, not the text \"none\"; nothing was changed",
        ),
        (
            &member_path(1),
            "authorized",
            json!("no"),
            "authorized: true or false is expected, not the text \"no\"; nothing was changed",
        ),
        (
            &member_path(1),
            "activeBridge",
            json!(2),
            "activeBridge: true or false is expected, not the number 2; nothing was changed",
        ),
        (
            &member_path(1),
            "noAutoAssignIps",
            json!({}),
            "noAutoAssignIps: true or false is expected, not an object; nothing was changed",
        ),
        (
            &member_path(1),
            "ssoExempt",
            json!("x".repeat(41)),
            "ssoExempt: true or false is expected, not a longer text; nothing was changed",
        ),
        (
            &member_path(1),
            "authenticationExpiryTime",
            json!(-1),
            "authenticationExpiryTime: a whole number of at least 0 is expected, not the number -1; nothing was changed",
        ),
        (
            &member_path(1),
            "capabilities",
            json!([1, "x"]),
            "capabilities[1]: a number of 32 bits is expected, not the text \"x\"; nothing was changed",
        ),
        (
            &member_path(2),
            "authorized",
            json!("t"),
            "authorized: true or false is expected, not the text \"t\"; nothing was changed",
        ),
    ];
    for (path, field, value, complaint) in cases {
        let before = f.http("GET", path, "").0;
        let (reply, actions) = f.http("POST", path, &json!({"name": "other", field: value}).to_string());
        assert_eq!(reply.status, 400, "{field} {value}");
        assert_eq!(reply.body, Some(json!({"error": 400, "description": complaint})));
        assert!(actions.is_empty());
        assert_eq!(f.http("GET", path, "").0, before, "{field} {value}");
    }
    // `null` is not given: it neither opens nor closes anything.
    f.post(&member_path(1), json!({"authorized": null, "name": "one"}));
    assert_eq!(f.get(&member_path(1))["authorized"], true);
    f.post(&network, json!({"private": null, "ssoEnabled": null, "rules": null}));
    assert_eq!(f.get(&network)["private"], true);
}

#[test]
fn member_fields() {
    let mut f = Fixture::with(json!({}));
    let path = member_path(0xab_cdef_0123).to_uppercase();
    let path =
        path.replace("CONTROLLER", "controller").replace("NETWORK", "network").replace("MEMBER", "member");
    for (field, input, want) in [
        ("name", json!("laptop"), json!("laptop")),
        ("authorized", json!(true), json!(true)),
        ("activeBridge", json!(true), json!(true)),
        ("noAutoAssignIps", json!(true), json!(true)),
        (
            "ipAssignments",
            json!(["10.0.0.1/24", "FD00::0:1", "nothing", "10.0.0.1", "bad.ip"]),
            json!(["10.0.0.1", "fd00::1"]),
        ),
        ("tags", json!([[5, 1], [2, "3"], [5, 2], [1], 7, [1, 2, 3]]), json!([[2, 3], [5, 2]])),
        ("capabilities", json!([9, "3", 9]), json!([3, 9])),
        ("remoteTraceTarget", json!("1122334455"), json!("1122334455")),
        ("remoteTraceLevel", json!(5), json!(5)),
        ("authenticationExpiryTime", json!(77), json!(77)),
        ("authorized", json!(false), json!(false)),
    ] {
        f.now += 1;
        let record =
            f.post(&path, json!({field: input, "authenticationURL": "x", "vMajor": 9, "identity": "y"}));
        assert_eq!(record[field], want, "{field}");
        assert_eq!(record["address"], json!("abcdef0123"), "lower case");
        assert!(record.get("authenticationURL").is_none() && record.get("identity").is_none());
        assert_eq!(record["vMajor"], -1);
    }
    let record = f.get(&path);
    assert_eq!(record["lastAuthorizedTime"], NOW + 2);
    assert_eq!(record["lastDeauthorizedTime"], NOW + 11);
    assert_eq!(record["lastAuthorizedCredentialType"], "api");
    assert_eq!(f.get(&format!("/controller/network/{NETWORK}/member")), json!({"abcdef0123": 11}));

    f.post(&path, json!({"authorized": true}));
    let (reply, _) = f.http("POST", &member_path(7), r#"{"ipAssignments":["10.0.0.1"]}"#);
    assert_eq!(reply.status, 409);
    assert_eq!(
        reply.body.unwrap()["description"],
        "10.0.0.1 is already assigned to member abcdef0123; take it from that member first; nothing was changed"
    );
}

#[test]
fn counts() {
    let mut f = Fixture::with(json!({}));
    for who in 1..=3 {
        f.ask(&member(who));
    }
    f.authorize(2);
    let all = f.get(&format!("/unstable/controller/network/{NETWORK}/member"));
    assert_eq!(all["meta"], json!({"totalCount": 3, "authorizedCount": 1}));
    assert_eq!(all["data"].as_array().unwrap().len(), 3);
    let networks = f.get("/unstable/controller/network");
    assert_eq!(networks["data"][0]["meta"], json!({"totalMemberCount": 3, "authorizedMemberCount": 1}));
    f.http("DELETE", &member_path(2), "");
    let all = f.get(&format!("/unstable/controller/network/{NETWORK}/member"));
    assert_eq!(all["meta"], json!({"totalCount": 2, "authorizedCount": 0}));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[0-9a-f.:/]{0,12}".prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(
                "(id|target|via|default|rules|zt|ipRangeStart|ipRangeEnd|type|domain|servers)",
                inner,
                0..5
            )
            .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever is posted: no panic, a member still gets an answer, and what was stored loads as itself.
    #[test]
    fn any_body_is_survived(
        fields in prop::collection::btree_map("(name|private|mtu|multicastLimit|v4AssignMode|v6AssignMode|routes|ipAssignmentPools|rules|capabilities|tags|authTokens|dns|remoteTraceTarget|remoteTraceLevel|ssoEnabled|certificateTimeoutWindowSize|authorized|ipAssignments|activeBridge)", any_json(), 0..12),
    ) {
        let mut f = Fixture::new();
        let body = Value::Object(fields.into_iter().collect());
        let network = format!("/controller/network/{NETWORK}");
        let (reply, _) = f.http("POST", &network, &body.to_string());
        prop_assert!(matches!(reply.status, 200 | 400));
        if reply.status == 400 {
            prop_assert_eq!(f.http("GET", &network, "").0.status, 404, "nothing was made");
            f.post(&network, json!({}));
        }
        let (reply, _) = f.http("POST", &member_path(9), &body.to_string());
        prop_assert!(matches!(reply.status, 200 | 400));
        f.ask(&member(9));
        let record = f.get(&network);
        let again = api::json(&api::read::<api::Network>(record.as_object().unwrap()).kept_as(NETWORK));
        prop_assert_eq!(again, record);
    }
}
