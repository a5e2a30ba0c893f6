//! Some hundred random plays of a hostile peer with a key against a core in every role: one test a promise.

use hostile::{Promise, ROLES, Scene, play_watched};
use node::core::bounds::TABLES;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

/// Plays for each promise and role; `ZTNODE_PLAYS` overrides it.
const PLAYS: u32 = 40;
/// Octets that tell a play at most.
const LENGTH: usize = 700;

#[test]
fn honest_nodes_get_along() {
    for role in ROLES {
        let mut scene = Scene::new(role);
        scene.friends_talk();
        scene.pass(700_000);
        scene.friends_talk();
        scene.friend_moves(false);
        assert!(scene.violations.is_empty(), "{role:?}: {:?}", scene.violations);
    }
}

/// Notes the tables that hold more than they may.
fn caps_hold(scene: &mut Scene) {
    for (holder, size) in scene.core().table_sizes() {
        let declared = TABLES.iter().find(|bound| bound.holders.contains(&holder));
        let cap = declared.unwrap_or_else(|| panic!("{holder} is not in core::bounds")).cap;
        if size > cap {
            scene.broken(Promise::Caps, format!("{holder}: {size} of {cap}"));
        }
    }
}

fn keeps(promise: Promise) {
    let cases = std::env::var("ZTNODE_PLAYS").ok().and_then(|n| n.parse().ok()).unwrap_or(PLAYS);
    for role in ROLES {
        let config = Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
        let octets = proptest::collection::vec(any::<u8>(), 0..LENGTH);
        let outcome = TestRunner::new(config).run(&octets, |octets| {
            let look = |scene: &mut Scene| {
                if promise == Promise::Caps {
                    caps_hold(scene);
                }
            };
            let broken = play_watched(role, &octets, &[promise], look);
            prop_assert!(broken.is_empty(), "{}", broken[0].what);
            Ok(())
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(why, octets)) => {
                panic!("{role:?} breaks {promise:?}: {why}\nplay({role:?}, &{octets:?})")
            }
            Err(TestError::Abort(why)) => panic!("{role:?}: {why}"),
        }
    }
}

#[test]
fn no_more_goes_to_an_unproven_endpoint_than_came() {
    keeps(Promise::Amplification);
}

#[test]
fn nobody_without_a_certificate_gets_a_frame_through() {
    keeps(Promise::Authorization);
}

#[test]
fn no_frame_gets_through_twice() {
    keeps(Promise::Once);
}

#[test]
fn frames_of_friends_flow() {
    keeps(Promise::Service);
}

#[test]
fn a_friend_that_moved_is_found_again() {
    keeps(Promise::Path);
}

#[test]
fn the_identity_stays() {
    keeps(Promise::Identity);
}

#[test]
fn nobody_but_the_controller_closes_a_network() {
    keeps(Promise::Status);
}

#[test]
fn everything_comes_to_an_end() {
    keeps(Promise::End);
}

#[test]
fn tables_stay_within_their_caps() {
    keeps(Promise::Caps);
}
