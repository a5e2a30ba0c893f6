//! Some hundred random plays of a hostile peer with a key against a core in every role: one test a promise.

use std::net::SocketAddr;

use hostile::cast::{self, Actor};
use hostile::ledger::allowance;
use hostile::{PROMISES, Promise, ROLES, Scene, play_watched};
use node::core::bounds::TABLES;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use protocol::packet::{self, Suite};
use protocol::verb::Verb;
use protocol::verbs::{Hello, PushDirectPaths, PushedPath, write_hello};

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

/// A stranger says that it speaks a protocol too old for ECHO, and points at somebody: what is sent there is a HELLO, and may be no
/// larger than what came for it.
#[test]
fn a_stranger_cannot_point_large_packets_at_somebody() {
    for role in ROLES {
        let mut scene = Scene::new(role);
        let actor = Actor::Stranger;
        let keys = cast::keys(actor.number(), scene.victim());
        let hello = Hello {
            protocol: 4,
            major: 1,
            minor: 0,
            revision: 0,
            timestamp: scene.now.as_ms().cast_unsigned(),
            identity: actor.secret().identity().clone(),
            sent_to: None,
            planet: None,
            masked_tail_at: None,
        };
        let begin = |scene: &mut Scene, verb| {
            let mut packet = Vec::new();
            let id = scene.next_serial() << 32 | 7;
            packet::start(&mut packet, id, scene.victim_address(), actor.address(), verb);
            packet
        };
        let mut greeting = begin(&mut scene, Verb::Hello);
        write_hello(&mut greeting, 0, &hello, &[], keys);
        scene.attack(actor.endpoint(0), &greeting);
        for port in 1..40 {
            let endpoint = SocketAddr::from(([82, 0, 0, 9], port));
            let mut push = begin(&mut scene, Verb::PushDirectPaths);
            PushDirectPaths(vec![PushedPath { flags: 0, endpoint }]).write(&mut push);
            keys.armor(&mut push, Suite::Salsa);
            scene.point_at(endpoint, allowance(push.len()));
            scene.attack(actor.endpoint(0), &push);
            scene.pass(500);
        }
        scene.violations.retain(|violation| violation.promise == Promise::Amplification);
        assert!(scene.violations.is_empty(), "{role:?}: {:?}", scene.violations);
    }
}

/// The corpus of the fuzz target: what was found earlier is not found again.
#[test]
fn what_was_found_before_stays_mended() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/hostile_peer");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let data = std::fs::read(&path).unwrap();
        let Some((role, octets)) = data.split_first() else { continue };
        let role = ROLES[usize::from(*role) % ROLES.len()];
        let broken = play_watched(role, octets, &PROMISES, caps_hold);
        assert!(broken.is_empty(), "{}, {role:?}: {broken:?}", path.display());
        count += 1;
    }
    assert!(count > 0, "no corpus");
}
