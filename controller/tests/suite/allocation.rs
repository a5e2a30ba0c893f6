//! No address is ever held by two members, whatever happens in whatever order.

use std::collections::BTreeMap;

use crate::common::{Answer, Fixture, NETWORK, member, member_path};
use controller::MemoryStore;
use proptest::prelude::*;
use serde_json::json;

#[derive(Clone, Debug)]
enum Step {
    Ask(u8),
    Delete(u8),
    Assign(u8, Vec<u8>),
    Deauthorize(u8),
    Pools(u8, u8),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u8..40).prop_map(Step::Ask),
        1 => (0u8..40).prop_map(Step::Delete),
        2 => (0u8..40, prop::collection::vec(0u8..30, 0..4)).prop_map(|(m, ips)| Step::Assign(m, ips)),
        1 => (0u8..40).prop_map(Step::Deauthorize),
        1 => (0u8..25, 0u8..12).prop_map(|(start, size)| Step::Pools(start, size)),
        1 => Just(Step::Restart),
    ]
}

fn check(f: &mut Fixture) {
    let mut holders = BTreeMap::new();
    let members = f.get(&format!("/unstable/controller/network/{NETWORK}/member"));
    for member in members["data"].as_array().unwrap() {
        if member["authorized"] == false {
            // What its record still has is not its own.
            continue;
        }
        for ip in member["ipAssignments"].as_array().unwrap() {
            let earlier = holders.insert(ip.to_string(), member["id"].to_string());
            assert_eq!(earlier, None, "{ip} is held by {} too", member["id"]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn an_address_has_one_holder(steps in prop::collection::vec(step(), 1..120)) {
        let store = MemoryStore::new();
        let mut f = Fixture::over(Box::new(store.clone()));
        let path = format!("/controller/network/{NETWORK}");
        f.post(&path, json!({
            "private": false, "v4AssignMode": {"zt": true}, "v6AssignMode": {"zt": true},
            "routes": [{"target": "10.0.0.0/24"}, {"target": "fd00::/64"}],
            "ipAssignmentPools": [
                {"ipRangeStart": "10.0.0.1", "ipRangeEnd": "10.0.0.9"},
                {"ipRangeStart": "fd00::1", "ipRangeEnd": "fd00::9"}],
        }));
        // Configurations in force, as the members see them.
        let mut given = BTreeMap::new();
        for step in steps {
            f.now += 1500;
            match step {
                Step::Ask(m) => {
                    if let Answer::Config(config) = f.ask(&member(u64::from(m) + 1)) {
                        let mine: Vec<_> = config.addresses.iter().map(|p| p.ip).collect();
                        given.insert(m, mine);
                    }
                }
                Step::Delete(m) => {
                    f.http("DELETE", &member_path(u64::from(m) + 1), "");
                    given.remove(&m);
                }
                Step::Assign(m, ips) => {
                    let ips: Vec<String> = ips.iter().map(|ip| format!("10.0.0.{ip}")).collect();
                    let body = json!({"ipAssignments": ips}).to_string();
                    let (reply, _) = f.http("POST", &member_path(u64::from(m) + 1), &body);
                    prop_assert!(matches!(reply.status, 200 | 409));
                    if reply.status == 200 {
                        given.remove(&m);
                    }
                }
                Step::Deauthorize(m) => {
                    f.post(&member_path(u64::from(m) + 1), json!({"authorized": false}));
                    given.remove(&m);
                }
                Step::Pools(start, size) => {
                    f.post(&path, json!({"ipAssignmentPools": [
                        {"ipRangeStart": format!("10.0.0.{start}"), "ipRangeEnd": format!("10.0.0.{}", start + size)},
                        {"ipRangeStart": format!("fd00::{start:x}"), "ipRangeEnd": format!("fd00::{:x}", start + size)}]}));
                }
                Step::Restart => {
                    let now = f.now;
                    f = Fixture::over(Box::new(store.clone()));
                    f.now = now;
                }
            }
            check(&mut f);
            let mut seen = BTreeMap::new();
            for (m, ips) in &given {
                for ip in ips {
                    prop_assert_eq!(seen.insert(*ip, *m), None, "{} was handed to two members", ip);
                }
            }
        }
    }
}

/// Thousands of members on one /16: every one served, in time that does not grow with their number.
#[test]
fn thousands_of_members() {
    let mut f = Fixture::new();
    f.post(
        &format!("/controller/network/{NETWORK}"),
        json!({
            "private": false, "v4AssignMode": {"zt": true}, "routes": [{"target": "10.0.0.0/16"}],
            "ipAssignmentPools": [{"ipRangeStart": "10.0.0.1", "ipRangeEnd": "10.0.255.254"}],
        }),
    );
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..5000u64 {
        // Addresses that all want the same place first.
        let config = f.ask(&member((n << 33) + 1 + (n << 16))).config();
        assert_eq!(config.addresses.len(), 1);
        assert!(seen.insert(config.addresses[0].ip));
    }
    check(&mut f);
}
