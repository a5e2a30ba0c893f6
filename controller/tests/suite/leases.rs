//! Addresses of public networks' pools are lent, not given.

use serde_json::json;

use crate::common::{Fixture, NETWORK, member, member_path};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn public(extra: serde_json::Value) -> Fixture {
    let mut settings = json!({
        "private": false,
        "v4AssignMode": {"zt": true},
        "routes": [{"target": "10.0.0.0/24"}],
        "ipAssignmentPools": [{"ipRangeStart": "10.0.0.1", "ipRangeEnd": "10.0.0.4"}],
    });
    settings.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    Fixture::with(settings)
}

fn addresses(f: &mut Fixture, who: u64) -> usize {
    f.ask(&member(who)).config().addresses.len()
}

#[test]
fn idle_members_make_room_when_there_is_none() {
    let mut f = public(json!({}));
    for who in 1..=4 {
        assert_eq!(addresses(&mut f, who), 1);
    }
    assert_eq!(addresses(&mut f, 5), 0, "the pool is empty");
    // One stays, three are gone for an hour; what somebody assigned stays, whoever holds it.
    f.post(&member_path(2), json!({"ipAssignments": ["10.0.0.77"]}));
    f.now += 59 * MINUTE;
    assert_eq!(addresses(&mut f, 1), 1);
    assert_eq!(addresses(&mut f, 6), 1, "what member 2 had");
    assert_eq!(addresses(&mut f, 7), 0);
    f.now += 2 * MINUTE;
    assert_eq!(addresses(&mut f, 7), 1);
    assert_eq!(f.get(&member_path(2))["ipAssignments"], json!(["10.0.0.77"]));
    for gone in [3, 4] {
        let record = f.get(&member_path(gone));
        assert_eq!((&record["ipAssignments"], record["authorized"].as_bool()), (&json!([]), Some(true)));
        assert!(record.get("automaticAssignments").is_none());
    }
    assert_eq!(f.get(&member_path(1))["ipAssignments"].as_array().unwrap().len(), 1, "it was there");
    // And whoever comes back gets one again.
    f.now += 2_000;
    assert_eq!(addresses(&mut f, 3), 1);
}

#[test]
fn after_a_day_they_are_given_back_without_need() {
    let mut f = public(json!({}));
    assert_eq!(addresses(&mut f, 1), 1);
    f.now += 23 * HOUR;
    addresses(&mut f, 2);
    assert_eq!(f.get(&member_path(1))["ipAssignments"].as_array().unwrap().len(), 1);
    f.now += 2 * HOUR;
    addresses(&mut f, 2);
    assert_eq!(f.get(&member_path(1))["ipAssignments"], json!([]));
    // A restarted controller has heard nobody: the day begins anew.
    let mut f = f.restarted();
    addresses(&mut f, 3);
    assert_eq!(f.get(&member_path(2))["ipAssignments"].as_array().unwrap().len(), 1);
}

#[test]
fn what_somebody_decided_is_not_lent() {
    let mut f = public(json!({}));
    f.authorize(1);
    assert_eq!(addresses(&mut f, 1), 1, "let in by a person");
    assert_eq!(addresses(&mut f, 2), 1);
    // A tool that posts the whole record back decides nothing.
    let record = f.get(&member_path(2));
    f.post(&member_path(2), record);
    f.post(&member_path(3), json!({"noAutoAssignIps": true}));
    assert_eq!(addresses(&mut f, 3), 0);
    f.now += 48 * HOUR;
    addresses(&mut f, 9);
    assert_eq!(f.get(&member_path(1))["ipAssignments"].as_array().unwrap().len(), 1);
    assert_eq!(f.get(&member_path(2))["ipAssignments"], json!([]));
}

#[test]
fn a_network_lends_to_so_many() {
    let mut f = public(json!({"autoAssignLimit": 2}));
    assert_eq!([1, 2, 3].map(|who| addresses(&mut f, who)), [1, 1, 0]);
    f.post(&member_path(4), json!({"authorized": true}));
    assert_eq!(addresses(&mut f, 4), 1, "who was let in by a person is not counted");
    f.now += 2_000;
    f.post(&format!("/controller/network/{NETWORK}"), json!({"autoAssignLimit": 3}));
    assert_eq!(addresses(&mut f, 3), 1);
    assert_eq!(f.get(&format!("/controller/network/{NETWORK}"))["autoAssignLimit"], 3);
}
