//! Whose an address is: a member that is out holds nothing against somebody who is given it on purpose.

use std::net::IpAddr;

use crate::common::{Fixture, NETWORK, member, member_path};
use serde_json::{Value, json};

fn pooled(first: u8, last: u8) -> Fixture {
    let range = |n: u8| format!("10.0.0.{n}");
    Fixture::with(json!({
        "v4AssignMode": {"zt": true}, "routes": [{"target": "10.0.0.0/24"}],
        "ipAssignmentPools": [{"ipRangeStart": range(first), "ipRangeEnd": range(last)}],
    }))
}

fn assigned(f: &mut Fixture, who: u64) -> Value {
    f.get(&member_path(who))["ipAssignments"].clone()
}

/// What a member is told, after a pause.
fn given(f: &mut Fixture, who: u64) -> Vec<IpAddr> {
    f.now += 1500;
    f.ask(&member(who)).config().addresses.iter().map(|prefix| prefix.ip).collect()
}

fn refused(f: &mut Fixture, who: u64, body: Value) -> String {
    let before = f.http("GET", &member_path(who), "").0.body;
    let (reply, actions) = f.http("POST", &member_path(who), &body.to_string());
    assert_eq!((reply.status, actions.len()), (409, 0), "{body}");
    assert_eq!(f.http("GET", &member_path(who), "").0.body, before, "nothing of it is applied");
    reply.body.unwrap()["description"].as_str().unwrap().to_owned()
}

#[test]
fn a_successor_gets_the_address_of_a_member_that_is_out() {
    let mut f = pooled(1, 200);
    f.post(&member_path(1), json!({"authorized": true, "ipAssignments": ["10.0.0.7"]}));
    f.ask(&member(1)).config();
    f.post(&member_path(1), json!({"authorized": false}));
    // As a web UI does it: one request for the new machine.
    f.post(&member_path(2), json!({"authorized": true, "ipAssignments": ["10.0.0.7"]}));
    let seven: IpAddr = "10.0.0.7".parse().unwrap();
    assert_eq!(given(&mut f, 2), [seven]);
    assert_eq!(assigned(&mut f, 1), json!(["10.0.0.7"]), "its record is not touched");

    let said = refused(&mut f, 1, json!({"authorized": true}));
    assert!(said.contains("10.0.0.7") && said.contains("0000000002"), "{said}");
    let said = refused(&mut f, 1, json!({"authorized": true, "name": "old", "ipAssignments": ["10.0.0.7"]}));
    assert!(said.contains("0000000002"), "{said}");
    f.post(&member_path(1), json!({"authorized": true, "ipAssignments": []}));
    let back = given(&mut f, 1);
    assert!(back.len() == 1 && back[0] != seven, "{back:?}");
    // And over a restart.
    let mut f = f.restarted();
    f.post(&member_path(2), json!({"authorized": false}));
    f.post(&member_path(3), json!({"authorized": true, "ipAssignments": ["10.0.0.7"]}));
    let said = refused(&mut f, 2, json!({"authorized": true}));
    assert!(said.contains("0000000003"), "{said}");
}

#[test]
fn two_that_are_in_do_not_share_one() {
    let mut f = pooled(1, 200);
    f.post(&member_path(1), json!({"authorized": true, "ipAssignments": ["10.0.0.7"]}));
    let said = refused(&mut f, 2, json!({"authorized": true, "ipAssignments": ["10.0.0.7"]}));
    assert!(said.starts_with("10.0.0.7 is already assigned to member 0000000001"), "{said}");
}

#[test]
fn two_members_swap_their_addresses() {
    // Their addresses are those that the pool would give them first of all.
    let mut f = pooled(1, 200);
    let [mut one, mut two] = [1, 2].map(|who| {
        f.authorize(who);
        given(&mut f, who)[0]
    });
    for _ in 0..2 {
        // The first is online, and the change is pushed to it: the pool must not give it the same address again.
        f.post(&member_path(1), json!({"ipAssignments": []}));
        let meanwhile = assigned(&mut f, 1);
        assert!(meanwhile[0] != json!(one) && meanwhile[0] != json!(two), "{meanwhile}");
        f.post(&member_path(2), json!({"ipAssignments": [one]}));
        f.post(&member_path(1), json!({"ipAssignments": [two]}));
        assert_eq!((assigned(&mut f, 1), assigned(&mut f, 2)), (json!([two]), json!([one])));
        (one, two) = (two, one);
    }
}

#[test]
fn the_pool_gives_what_an_out_member_had_last() {
    // Four addresses. Two members are put out, and their records go on having theirs.
    let mut f = pooled(1, 4);
    for who in 1..=2 {
        f.authorize(who);
        f.ask(&member(who)).config();
        f.post(&member_path(who), json!({"authorized": false}));
    }
    let out = [assigned(&mut f, 1)[0].clone(), assigned(&mut f, 2)[0].clone()];
    let mut given = Vec::new();
    for who in 3..=6 {
        f.authorize(who);
        f.ask(&member(who)).config();
        given.push(assigned(&mut f, who)[0].clone());
    }
    assert!(given[..2].iter().all(|ip| !out.contains(ip)), "{given:?} {out:?}");
    assert!(given[2..].iter().all(|ip| out.contains(ip)), "nothing else was free: {given:?} {out:?}");
    f.authorize(7);
    assert!(f.ask(&member(7)).config().addresses.is_empty(), "those that are in keep theirs");
    let said = refused(&mut f, 1, json!({"authorized": true}));
    assert!(said.contains(out[0].as_str().unwrap()), "{said}");
}

#[test]
fn who_comes_back_by_itself_does_not_take_it_away_again() {
    let mut f = pooled(1, 200);
    f.post(&format!("/controller/network/{NETWORK}"), json!({"private": false}));
    let had = f.ask(&member(1)).config().addresses[0].ip;
    f.post(&member_path(1), json!({"authorized": false}));
    f.post(&member_path(2), json!({"authorized": true, "ipAssignments": [had]}));
    let now = given(&mut f, 1);
    assert!(now.len() == 1 && now[0] != had, "{now:?}");
    assert_eq!(given(&mut f, 2), [had]);
}

#[test]
fn what_is_hardly_meant_is_said() {
    let mut f = Fixture::new();
    let path = format!("/controller/network/{NETWORK}");
    let says = |warnings: Vec<String>, what: &str| {
        assert!(warnings.len() == 1 && warnings[0].contains(what), "{what}: {warnings:?}");
    };
    says(f.warned(&path, json!({"name": "lab"})), "members get no addresses");
    let answer = f.warned(&path, json!({"routes": [{"target": "10.0.0.0/24"}], "mtu": 99}));
    says(answer, "99 is not from 1280 to 10000; it is 1280 now");
    assert!(f.get(&path).get("warnings").is_none(), "it is about the request, not in the record");
    let pool = |net: u8| {
        let range = json!({"ipRangeStart": format!("10.{net}.0.1"), "ipRangeEnd": format!("10.{net}.0.9")});
        json!({"v4AssignMode": {"zt": true}, "ipAssignmentPools": [range]})
    };
    says(f.warned(&path, pool(9)), "10.9.0.1 to 10.9.0.9 lies in no route");
    assert!(f.warned(&path, pool(0)).is_empty());
    let made = json!({"name": "lab", "routes": [{"target": "10.0.0.0/24"}]});
    says(f.warned("/controller/network", made), &NETWORK.to_string());

    let answer = f.warned(&member_path(1), json!({"ipAssignments": ["10.5.0.1"], "name": "b"}));
    says(
        answer,
        "10.5.0.1 is in no route of the network, so that the member cannot use it; its routes: 10.0.0.0/24",
    );
    let answer = f.warned(&member_path(2), json!({"ipAssignments": ["10.0.0.1"], "name": "b"}));
    says(answer, "member 0000000001 has the name \"b\" too");
    assert!(f.warned(&member_path(2), json!({"authorized": true})).is_empty());

    // Rules of which every line is commented out.
    says(
        f.warned(&path, json!({"rulesSource": "# accept;\n"})),
        "every frame is dropped; end the rules with `accept;`",
    );
    assert!(f.warned(&path, json!({"rulesSource": "accept;"})).is_empty());
}

#[test]
fn flags_are_taken_as_tools_write_them() {
    let mut f = Fixture::with(json!({}));
    let path = format!("/controller/network/{NETWORK}");
    for (given, want) in [
        (json!(0), false),
        (json!(1), true),
        (json!("false"), false),
        (json!("true"), true),
        (json!("False"), false),
        (json!("TRUE"), true),
        (json!("0"), false),
        (json!("1"), true),
        (json!(1.0), true),
    ] {
        f.post(&path, json!({"private": !want}));
        assert_eq!(f.post(&path, json!({"private": given}))["private"], want, "{given}");
        assert_eq!(f.post(&member_path(1), json!({"authorized": given}))["authorized"], want, "{given}");
    }
    for given in [json!("yes"), json!(2), json!(-1), json!(""), json!("t"), json!([]), json!({}), json!(0.5)]
    {
        let (reply, _) = f.http("POST", &path, &json!({"private": given, "name": "x"}).to_string());
        let said = reply.body.unwrap()["description"].as_str().unwrap().to_owned();
        assert!(reply.status == 400 && said.starts_with("private: true or false is expected, not"), "{said}");
        assert_eq!(f.get(&path)["name"], "", "nothing of it is applied");
    }
}
