//! A clock that is wrong, and is set while the controller runs. Certificates never go back; what a person or a token meant
//! stays true.

use crate::common::{Answer, Fixture, NETWORK, NOW, at, member, member_path, open};
use controller::{Action, Origin};
use protocol::metadata::RequestMetadata;
use serde_json::{Value, json};

const YEAR: i64 = 365 * 86_400_000;

fn tokens() -> String {
    format!("/controller/network/{NETWORK}/token")
}

/// Asks, and says what time the certificate has.
fn issued(f: &mut Fixture, who: u64) -> i64 {
    f.now += 1500;
    f.ask(&member(who)).config().timestamp.as_ms()
}

/// Sets the clock to what it shows now and `by` more.
fn step(f: &mut Fixture, ahead: &mut i64, by: i64) -> Vec<Action> {
    f.now += 1000;
    *ahead += by;
    f.controller.set_wall(at(f.now), at(f.now + *ahead))
}

#[test]
fn a_step_forward_is_taken_at_once_and_pushed() {
    let mut f = Fixture::with(json!({}));
    let mut ahead = 0;
    f.controller.set_wall(at(f.now), at(f.now));
    for who in 1..=3 {
        f.authorize(who);
        assert_eq!(issued(&mut f, who), f.now);
    }
    assert!(step(&mut f, &mut ahead, 2000).is_empty(), "adjusted, not set");
    let pushed = step(&mut f, &mut ahead, YEAR);
    let mut told: Vec<_> = pushed
        .into_iter()
        .map(|action| {
            let (who, network, in_re, config) = open(action);
            assert_eq!((network, in_re, config.timestamp.as_ms()), (NETWORK, None, f.now + ahead));
            assert_eq!(config.com.unwrap().timestamp().as_ms(), f.now + ahead);
            who.to_u64()
        })
        .collect();
    told.sort_unstable();
    assert_eq!(told, [1, 2, 3]);
    f.authorize(4);
    assert_eq!(issued(&mut f, 4), f.now + ahead, "a new member agrees with them");
    assert_eq!(f.get("/controller")["clock"], f.now + ahead);
    assert!(f.get("/controller").get("certificateLead").is_none());
}

#[test]
fn certificates_never_go_back() {
    let mut f = Fixture::with(json!({}));
    let mut ahead = 0;
    f.controller.set_wall(at(f.now), at(f.now));
    f.authorize(1);
    step(&mut f, &mut ahead, 10 * YEAR);
    let high = issued(&mut f, 1);
    assert_eq!(high, f.now + 10 * YEAR);
    assert!(step(&mut f, &mut ahead, -10 * YEAR).is_empty());
    let next = issued(&mut f, 1);
    assert!(next >= high, "{next} {high}");
    // It runs on as time passes, or certificates of those who are put out would never become old.
    f.now += 3_600_000;
    let later = issued(&mut f, 1);
    assert_eq!(later - next, 3_601_500);
    let lead = f.get("/controller")["certificateLead"][NETWORK.to_string()].as_i64().unwrap();
    assert_eq!(lead, later - f.now, "how far it is ahead");
    assert!((10 * YEAR - 60_000..=10 * YEAR).contains(&lead), "{lead}");

    // Whoever is put out now is out for certificates of that time, and whoever is let in again has a later one.
    f.authorize(2);
    let theirs = issued(&mut f, 2);
    let (answer, _) = f.post_acting(&member_path(2), json!({"authorized": false}));
    let threshold = answer["revocation"]["threshold"].as_i64().unwrap();
    assert!(threshold >= theirs, "{threshold} {theirs}");
    f.authorize(2);
    f.now += 1500;
    assert!(f.ask(&member(2)).config().timestamp.as_ms() > threshold);

    // Killed and started again by the right clock: still not back.
    let last = issued(&mut f, 1);
    let mut f = f.restarted();
    f.controller.set_wall(at(f.now), at(f.now));
    assert!(issued(&mut f, 1) >= last);
    // Half of the way the clock catches up.
    step(&mut f, &mut ahead, 5 * YEAR);
    let (before, lead) =
        (issued(&mut f, 1), f.get("/controller")["certificateLead"][NETWORK.to_string()].clone());
    assert!(before >= last && lead.as_i64().unwrap() < 5 * YEAR + 3_600_000, "{lead}");
    step(&mut f, &mut ahead, 6 * YEAR);
    assert_eq!(issued(&mut f, 1), f.now + ahead, "the clock has overtaken it");
    assert!(f.get("/controller").get("certificateLead").is_none());
}

#[test]
fn a_network_made_anew_does_not_go_back_either() {
    let mut f = Fixture::with(json!({}));
    let mut ahead = 0;
    f.controller.set_wall(at(f.now), at(f.now));
    f.authorize(1);
    step(&mut f, &mut ahead, 10 * YEAR);
    let high = issued(&mut f, 1);
    f.http("DELETE", &format!("/controller/network/{NETWORK}"), "");
    step(&mut f, &mut ahead, -10 * YEAR);
    let mut f = f.restarted();
    f.controller.set_wall(at(f.now), at(f.now));
    f.post(&format!("/controller/network/{NETWORK}"), json!({}));
    f.authorize(1);
    assert!(issued(&mut f, 1) > high);
}

#[test]
fn the_lead_can_be_given_up() {
    let mut f = Fixture::with(json!({}));
    let mut ahead = 0;
    f.controller.set_wall(at(f.now), at(f.now));
    for who in 1..=2 {
        f.authorize(who);
    }
    step(&mut f, &mut ahead, 10 * YEAR);
    issued(&mut f, 1);
    f.post(&member_path(2), json!({"authorized": false}));
    step(&mut f, &mut ahead, -10 * YEAR);
    issued(&mut f, 1);
    let path = format!("/controller/network/{NETWORK}/lead");
    assert!(f.get(&path)["lead"].as_i64().unwrap() > 9 * YEAR);
    let (reply, _) = f.http("DELETE", &path, "");
    assert_eq!((reply.status, &reply.body.unwrap()["lead"]), (200, &json!(0)));
    assert_eq!(f.get(&path)["lead"], 0);
    assert!((0..=2000).contains(&(issued(&mut f, 1) - f.now)));
    f.authorize(2);
    assert!(issued(&mut f, 2) - f.now <= 2000, "and no revocation of that time is left");
    assert_eq!(f.get(&format!("/controller/network/{NETWORK}/revocation")), json!([]));
}

#[test]
fn a_crash_costs_at_most_a_moment() {
    let mut f = Fixture::with(json!({}));
    f.controller.set_wall(at(f.now), at(f.now));
    f.authorize(1);
    let before = issued(&mut f, 1);
    let mut f = f.restarted();
    f.controller.set_wall(at(f.now), at(f.now));
    let after = issued(&mut f, 1);
    assert!((before..=f.now + 60_000).contains(&after), "{before} {after}");
    f.now += 60_000;
    assert_eq!(issued(&mut f, 1), f.now);
    // In good order not even that.
    f.controller.settle().unwrap();
    let mut f = f.restarted();
    f.controller.set_wall(at(f.now), at(f.now));
    assert_eq!(issued(&mut f, 1), f.now);
}

fn token(f: &mut Fixture, body: Value) -> (String, String) {
    let made = f.post(&tokens(), body);
    (made["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
}

fn brings(f: &mut Fixture, who: u64, token: &str) -> bool {
    f.now += 1500;
    let metadata = RequestMetadata::ours(&format!("token:{token}"));
    matches!(f.ask_about(NETWORK, &member(who), &metadata), Answer::Config(_))
}

#[test]
fn a_token_lasts_as_long_as_was_said() {
    for by in [5 * YEAR, -5 * YEAR] {
        let mut f = Fixture::with(json!({}));
        let mut ahead = 0;
        f.controller.set_wall(at(f.now), at(f.now));
        let (id, text) = token(&mut f, json!({"uses": 0, "lifetime": 7_200_000}));
        step(&mut f, &mut ahead, by);
        let shown = f.get(&format!("{}/{id}", tokens()));
        assert_eq!((&shown["state"], &shown["expiryTime"]), (&json!("good"), &json!(NOW + by + 7_200_000)));
        assert!(brings(&mut f, 1, &text), "good for two hours");
        f.now += 7_200_000;
        assert!(!brings(&mut f, 2, &text), "not for five years");
        // And so it is kept.
        let mut f = f.restarted();
        f.controller.set_wall(at(f.now), at(f.now + ahead));
        assert_eq!(f.get(&format!("{}/{id}", tokens()))["state"], "expired");
    }
}

#[test]
fn a_token_of_an_earlier_run_is_held_against_the_right_clock() {
    let mut f = Fixture::with(json!({}));
    f.controller.set_wall(at(f.now), at(f.now));
    let (id, _) = token(&mut f, json!({"uses": 0, "lifetime": 7_200_000}));
    let mut f = f.restarted();
    let mut ahead = 0;
    f.controller.set_wall(at(f.now), at(f.now));
    step(&mut f, &mut ahead, 2 * 3_600_000);
    assert_eq!(
        f.get(&format!("{}/{id}", tokens()))["state"],
        "expired",
        "its clock was right then, for all we know"
    );
}

#[test]
fn a_log_in_told_by_the_same_clock_lasts_as_long_as_was_said() {
    let mut f = Fixture::with(json!({"ssoEnabled": true, "authorizationEndpoint": "https://login.example"}));
    let mut ahead = 0;
    f.controller.set_wall(at(f.now), at(f.now));
    for (who, here) in [(1, true), (2, false)] {
        let body = json!({"authorized": true, "authenticationExpiryTime": NOW + 3_600_000}).to_string();
        let origin = Origin { by: "somebody".into(), here };
        f.controller.http_by(at(f.now), "POST", &member_path(who), body.as_bytes(), origin);
        f.ask(&member(who)).config();
    }
    let acted = step(&mut f, &mut ahead, YEAR);
    assert!(
        acted.iter().any(
            |action| matches!(action, Action::Revoke { revocation, .. } if revocation.target.to_u64() == 2)
        ),
        "over by the right clock: {acted:?}"
    );
    f.now += 1500;
    assert_eq!(f.ask(&member(2)).code(), controller::CODE_AUTHENTICATION_REQUIRED);
    assert_eq!(f.ask(&member(1)).config().sso.authentication_expiry.unwrap().as_ms(), NOW + YEAR + 3_600_000);
    f.now += 3_600_000;
    f.controller.tick(at(f.now));
    assert_eq!(f.ask(&member(1)).code(), controller::CODE_AUTHENTICATION_REQUIRED);
}
