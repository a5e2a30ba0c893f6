//! Who is put out stays out: what is kept of it, and whom it is told.

use controller::{Acknowledgement, Action, SqliteStore, store};
use protocol::Address;
use protocol::credential::{Revocation, Signed, Verification};
use serde_json::json;

use crate::common::{CONTROLLER, Fixture, NETWORK, at, member, member_path};

const ALICE: u64 = 0xa1;
const BOB: u64 = 0xb0;
const CAROL: u64 = 0xca;
const MINUTE: i64 = 60_000;

fn address(number: u64) -> Address {
    Address::from_u64(number)
}

fn report_path(member: u64) -> String {
    format!("/controller/network/{NETWORK}/revocation/{member:010x}")
}

fn names(list: &[u64]) -> serde_json::Value {
    list.iter().map(|member| json!(format!("{member:010x}"))).collect()
}

/// A private network of which all are members; `run` 0 asks as a zerotier-one does.
fn network(members: &[(u64, u64)]) -> Fixture {
    let mut f = Fixture::with(json!({}));
    for (who, run) in members {
        f.authorize(*who);
        assert_eq!(f.ask_as_run(&member(*who), *run).len(), 1);
    }
    f.now += 2_000;
    f
}

fn put_out(f: &mut Fixture, who: u64) -> Vec<Action> {
    f.post_acting(&member_path(who), json!({"authorized": false})).1
}

/// What was brought to whom: address, whether an answer is wanted, whose revocations.
fn brought(actions: &[Action]) -> Vec<(u64, Option<u64>, Vec<u64>)> {
    let signer = protocol::SecretIdentity::parse(CONTROLLER).unwrap().identity().clone();
    let good = |r: &Signed<Revocation>| {
        assert_eq!(r.verify(|_| Some(signer.clone())), Verification::Valid);
        assert!(!r.fast_propagate(), "nobody passes repeats on");
        r.target.to_u64()
    };
    let one = |action: &Action| match action {
        Action::Bring { member, network, revocations, ask } => {
            assert_eq!(*network, NETWORK);
            Some((member.to_u64(), *ask, revocations.iter().map(good).collect()))
        }
        _ => None,
    };
    actions.iter().filter_map(one).collect()
}

fn acknowledge(f: &mut Fixture, who: u64, run: u64, serial: u64) {
    let word = Acknowledgement { network: NETWORK, member: address(who), serial, run };
    f.controller.acknowledged(at(f.now), word);
}

#[test]
fn a_member_that_acknowledges_is_told_until_it_does_and_again_when_it_has_restarted() {
    let mut f = network(&[(ALICE, 7), (BOB, 8)]);
    let actions = put_out(&mut f, BOB);
    let Action::Revoke { to, revocation } = &actions[0] else { panic!("{actions:?}") };
    assert_eq!((to.as_slice(), revocation.fast_propagate()), (&[address(ALICE), address(BOB)][..], true));
    let told = brought(&actions);
    let [(ALICE, Some(serial), who)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(*who, [BOB]);
    let report = f.get(&report_path(BOB));
    assert_eq!((&report["waiting"], &report["acknowledged"]), (&names(&[ALICE]), &json!([])));

    // Repeated with growing pauses until it answers.
    let mut pauses = Vec::new();
    let mut last = f.now;
    for _ in 0..5 {
        f.now = f.controller.next_deadline().unwrap().as_ms();
        pauses.push(f.now - last);
        last = f.now;
        assert_eq!(brought(&f.controller.tick(at(f.now))), told);
    }
    assert_eq!(pauses, [1_000, 2_000, 4_000, 8_000, 16_000]);
    assert_eq!(f.get(&report_path(BOB))["unreachable"], names(&[ALICE]));
    // An answer to what was never sent, of another node, or of another run is none.
    acknowledge(&mut f, ALICE, 7, serial + 1);
    acknowledge(&mut f, CAROL, 7, *serial);
    acknowledge(&mut f, ALICE, 9, *serial);
    assert!(f.controller.next_deadline().is_some());
    acknowledge(&mut f, ALICE, 7, *serial);
    assert_eq!(f.controller.next_deadline(), None);
    assert_eq!(f.get(&report_path(BOB))["acknowledged"], names(&[ALICE]));

    // The same run is not told again, another is.
    f.now += 2_000;
    assert_eq!(f.ask_as_run(&member(ALICE), 7).len(), 1);
    f.now += 2_000;
    let actions = f.ask_as_run(&member(ALICE), 9);
    assert!(matches!(actions[0], Action::Config { .. }));
    assert_eq!(brought(&actions), told);
    // Who is out is told nothing.
    f.now += 2_000;
    assert_eq!(f.ask_as_run(&member(BOB), 8).len(), 1);
}

#[test]
fn it_is_kept_for_the_window_and_ten_minutes_through_restarts() {
    for by_deletion in [false, true] {
        let mut f = network(&[(ALICE, 7), (BOB, 8)]);
        let out = f.now;
        if by_deletion {
            f.http("DELETE", &member_path(BOB), "");
        } else {
            put_out(&mut f, BOB);
        }
        let mut f = f.restarted();
        f.now = out + 40 * MINUTE - 1;
        assert_eq!(brought(&f.ask_as_run(&member(ALICE), 9))[0].2, [BOB]);
        let report = f.get(&report_path(BOB));
        assert_eq!((&report["threshold"], &report["until"]), (&json!(out), &json!(out + 40 * MINUTE)));
        let mut f = f.restarted();
        f.now = out + 40 * MINUTE;
        assert_eq!(f.ask_as_run(&member(ALICE), 9).len(), 1, "its last certificate is too old by now");
        assert_eq!(f.http("GET", &report_path(BOB), "").0.status, 404);
    }
}

#[test]
fn a_window_that_is_widened_reaches_back() {
    let mut f = network(&[(ALICE, 7), (BOB, 8)]);
    put_out(&mut f, BOB);
    f.post(&format!("/controller/network/{NETWORK}"), json!({"certificateTimeoutWindowSize": 7_200_000}));
    f.now += 129 * MINUTE;
    assert_eq!(brought(&f.ask_as_run(&member(ALICE), 9))[0].2, [BOB]);
}

#[test]
fn one_threshold_a_member() {
    let mut f = network(&[(ALICE, 7), (BOB, 8)]);
    for _ in 0..3 {
        put_out(&mut f, BOB);
        f.authorize(BOB);
        f.now += 1_000;
    }
    put_out(&mut f, BOB);
    let all = f.get(&format!("/controller/network/{NETWORK}/revocation"));
    assert_eq!((all.as_array().unwrap().len(), &all[0]["threshold"]), (1, &json!(f.now)));
    let mut f = f.restarted();
    assert_eq!(f.get(&report_path(BOB))["threshold"], json!(f.now));
    f.now += 2_000;
    let told = brought(&f.ask_as_run(&member(ALICE), 9));
    assert_eq!(told[0].2, [BOB]);
}

/// A restarted controller has heard nobody yet; it tells all on record.
#[test]
fn a_restarted_controller_tells_those_it_has_not_heard_yet() {
    let mut f = network(&[(ALICE, 7), (BOB, 8), (CAROL, 0)]).restarted();
    f.now += 1_000;
    let actions = put_out(&mut f, BOB);
    let Action::Revoke { to, .. } = &actions[0] else { panic!("{actions:?}") };
    assert_eq!(*to, [address(ALICE), address(CAROL)]);
    assert_eq!(brought(&actions).len(), 1, "it is on record that alice acknowledges");
    let report = f.get(&report_path(BOB));
    assert_eq!((&report["waiting"], &report["unreachable"]), (&names(&[ALICE]), &names(&[CAROL])));
    // Deleting is the same.
    let mut f = f.restarted();
    let (_, actions) = f.http("DELETE", &member_path(ALICE), "");
    let Action::Revoke { to, .. } = &actions[0] else { panic!("{actions:?}") };
    assert_eq!(*to, [address(CAROL)]);
    // Who has not been heard for longer than a certificate lasts is gone.
    f.now += 41 * MINUTE;
    f.authorize(BOB);
    assert!(!put_out(&mut f, BOB).iter().any(|action| matches!(action, Action::Revoke { .. })));
}

#[test]
fn the_many_on_record_are_told_one_after_another() {
    let mut f = Fixture::with(json!({}));
    for n in 0..1_000 {
        f.authorize(ALICE + n);
        f.ask(&member(ALICE + n)).config();
    }
    let mut f = f.restarted();
    let actions = put_out(&mut f, ALICE);
    let Action::Revoke { to, .. } = &actions[0] else { panic!("{actions:?}") };
    assert!(to.len() <= 64, "{}", to.len());
    let mut told: std::collections::BTreeSet<Address> = to.iter().copied().collect();
    let begun = f.now;
    while let Some(due) = f.controller.next_deadline() {
        f.now = due.as_ms().max(f.now);
        let brought = brought(&f.controller.tick(at(f.now)));
        assert!(brought.len() <= 16, "{} at once", brought.len());
        told.extend(brought.iter().map(|(member, ..)| address(*member)));
    }
    assert_eq!(told.len(), 999);
    let report = f.get(&report_path(ALICE));
    assert_eq!((report["unreachable"].as_array().unwrap().len(), &report["sent"]), (999, &json!([])));
    assert!(f.now - begun < 10_000, "{} ms", f.now - begun);
}

#[test]
fn a_zerotier_one_gets_one_packet_in_1100_ms_the_latest_first() {
    let mut f = Fixture::with(json!({}));
    for n in 0..201 {
        f.authorize(ALICE + n);
        f.ask(&member(ALICE + n)).config();
    }
    f.now += 2_000;
    // A hundred are put out at once: the first by a packet of its own, the others when it takes them.
    let mut times = Vec::new();
    let mut known = std::collections::BTreeSet::new();
    for n in 1..=100 {
        for action in put_out(&mut f, ALICE + n) {
            if let Action::Revoke { to, revocation } = action
                && to.contains(&address(ALICE))
            {
                times.push(f.now);
                known.insert(revocation.target.to_u64());
            }
        }
    }
    assert_eq!(times.len(), 1);
    while let Some(due) = f.controller.next_deadline() {
        f.now = due.as_ms().max(f.now);
        for (member, ask, who) in brought(&f.controller.tick(at(f.now))) {
            assert_eq!((ask, who.len() <= 60), (None, true));
            if member == ALICE {
                times.push(f.now);
                known.extend(who);
            }
        }
    }
    assert_eq!(known.len(), 100);
    assert_eq!(times.len(), 4);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 1_100), "{times:?}");
    assert!(times[3] - times[0] < 5_000);
    assert!(
        f.get(&report_path(ALICE + 50))["sent"]
            .as_array()
            .unwrap()
            .contains(&json!(address(ALICE).to_string()))
    );

    // With every configuration it asks for, for nobody knows what it has kept.
    f.now += 60_000;
    let actions = f.ask_as_run(&member(ALICE), 0);
    assert!(matches!(&actions[..], [Action::Config { .. }, Action::Bring { ask: None, .. }]));
    assert_eq!(brought(&actions)[0].2[0], ALICE + 100, "the latest first");
}

#[test]
fn a_backup_has_them_and_a_restored_one_inherits() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("db"), folder.path().join("copy"));
    let mut f = Fixture::over(Box::new(SqliteStore::open(&path).unwrap()));
    f.post(&format!("/controller/network/{NETWORK}"), json!({}));
    for who in [ALICE, BOB, CAROL] {
        f.authorize(who);
        f.ask_as_run(&member(who), who);
    }
    put_out(&mut f, BOB);
    store::backup(&path, &copy).unwrap();
    f.now += 1_000;
    put_out(&mut f, CAROL);
    let legacy = f.controller.into_legacy();
    store::restore(&copy, &path).unwrap();
    let mut f = Fixture::over(Box::new(SqliteStore::open(&path).unwrap()));
    assert_eq!(f.get(&report_path(BOB))["address"], names(&[BOB])[0]);
    f.controller.inherit(&legacy).unwrap();
    f.controller.inherit(&legacy).unwrap();
    drop(f);
    let mut f = Fixture::over(Box::new(SqliteStore::open(&path).unwrap()));
    let all = f.get(&format!("/controller/network/{NETWORK}/revocation"));
    assert_eq!(all.as_array().unwrap().len(), 2, "{all}");
}

#[test]
fn a_store_that_fails_puts_nobody_out() {
    let store = controller::MemoryStore::new();
    let mut f = Fixture::over(Box::new(store.clone()));
    f.post(&format!("/controller/network/{NETWORK}"), json!({}));
    f.authorize(ALICE);
    f.authorize(BOB);
    f.ask(&member(ALICE)).config();
    store.refuse_commits(true);
    for (method, body) in [("POST", r#"{"authorized":false}"#), ("DELETE", "")] {
        let (reply, actions) = f.http(method, &member_path(BOB), body);
        assert_eq!((reply.status, actions.len()), (500, 0), "{method}");
    }
    assert_eq!(f.http("DELETE", &format!("/controller/network/{NETWORK}"), "").0.status, 500);
    assert_eq!(f.http("GET", &report_path(BOB), "").0.status, 404);
    assert_eq!(f.get(&member_path(BOB))["authorized"], true);
}
