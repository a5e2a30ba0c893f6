//! Who is put out stays out, whoever restarts: members keep what they heard, and the controller tells everybody.

#![allow(clippy::unwrap_used)] // A surprise is a failed test.

mod sim;

use node::core::info::NetworkStatus;
use protocol::{NetworkId, Span};
use sim::{Weather, World, reaches};

const CALM: Weather = Weather { latency: (10, 20), loss: 0 };
const LOSSY: Weather = Weather { latency: (10, 200), loss: 200 };

/// Hosts 1 to 3 on a private network; all have talked.
fn world(weather: Weather) -> (World, NetworkId) {
    let mut world = World::new(11, weather);
    for _ in 0..3 {
        world.add_host(None);
    }
    let network = world.create_network(r#"{"routes":[{"target":"10.0.0.0/16"}]}"#);
    for host in 1..=3 {
        authorize(&mut world, network, host, true);
        world.join(host, network);
    }
    assert!(world.run_until(60_000, |w| {
        (1..=3).all(|host| w.hosts[host].status.get(&network) == Some(&NetworkStatus::Ok))
    }));
    for (from, to) in [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)] {
        assert!(reaches(&mut world, network, from, to, 60_000), "{from} to {to}");
    }
    (world, network)
}

fn authorize(world: &mut World, network: NetworkId, host: usize, yes: bool) -> serde_json::Value {
    let path = format!("/controller/network/{network}/member/{}", world.address(host));
    world.http("POST", &path, &format!(r#"{{"authorized":{yes}}}"#))
}

fn report(world: &mut World, network: NetworkId, host: usize) -> serde_json::Value {
    let path = format!("/controller/network/{network}/revocation/{}", world.address(host));
    world.http("GET", &path, "")
}

/// Starts a host anew with what it had on disk.
fn restart_from_disk(world: &mut World, network: NetworkId, host: usize) {
    world.restart(host, host);
    let (config, revoked) = (
        world.hosts[host].configs.get(&network).cloned(),
        world.hosts[host].revocations.get(&network).cloned(),
    );
    let now = world.now;
    world.hosts[host].core.join(now, network, config.as_deref());
    if let Some(bytes) = revoked {
        assert!(
            world.hosts[host]
                .core
                .joined(network)
                .is_none_or(|joined| joined.restore_revocations(now, &bytes))
        );
    }
    world.run(1);
}

#[test]
fn a_member_that_restarts_remembers_who_was_put_out() {
    for weather in [CALM, LOSSY] {
        let (mut world, network) = world(weather);
        authorize(&mut world, network, 2, false);
        world.run(20_000);
        assert_eq!(report(&mut world, network, 2)["acknowledged"].as_array().unwrap().len(), 2);
        // The controller is gone: what is on disk has to do.
        world.stop(0);
        restart_from_disk(&mut world, network, 1);
        assert!(!reaches(&mut world, network, 2, 1, 60_000), "b is refused by a that has restarted");
        assert!(reaches(&mut world, network, 3, 1, 60_000), "others are not");
    }
}

/// Budgets against forged revocations must not stand in an administrator's way.
#[test]
fn two_hundred_put_out_at_once_are_known_to_everybody_within_two_seconds() {
    let (mut world, network) = world(CALM);
    let path = |n: u64| format!("/controller/network/{network}/member/{:010x}", 0x10_0000_0000 + n);
    for n in 0..200 {
        world.http("POST", &path(n), r#"{"authorized":true}"#);
    }
    world.run(120_000);
    for n in 0..200 {
        world.http("POST", &path(n), r#"{"authorized":false}"#);
    }
    world.run(2_000);
    for n in 0..200 {
        let report = world.http("GET", &path(n).replace("/member/", "/revocation/"), "");
        assert_eq!(report["acknowledged"].as_array().map(Vec::len), Some(3), "number {n}: {report}");
    }
}

#[test]
fn a_member_that_was_away_learns_with_its_next_configuration() {
    let (mut world, network) = world(CALM);
    world.stop(1);
    world.run(10_000);
    authorize(&mut world, network, 2, false);
    world.run(600_000);
    let seen = report(&mut world, network, 2);
    assert_eq!(seen["unreachable"], serde_json::json!([world.address(1).to_string()]));
    assert_eq!(seen["acknowledged"], serde_json::json!([world.address(3).to_string()]));
    restart_from_disk(&mut world, network, 1);
    world.run(5_000);
    assert_eq!(report(&mut world, network, 2)["acknowledged"].as_array().unwrap().len(), 2);
    assert!(!reaches(&mut world, network, 2, 1, 60_000));
    assert!(reaches(&mut world, network, 3, 1, 60_000));
}

/// All memory of who is there is lost by a restart of the controller.
#[test]
fn a_controller_that_has_just_restarted_tells_everybody() {
    for weather in [CALM, LOSSY] {
        for delete in [false, true] {
            let (mut world, network) = world(weather);
            world.restart_controller();
            world.run(500);
            if delete {
                let path = format!("/controller/network/{network}/member/{}", world.address(2));
                world.http("DELETE", &path, "");
            } else {
                authorize(&mut world, network, 2, false);
            }
            world.run(if weather.loss == 0 { 1_000 } else { 20_000 });
            for other in [1, 3] {
                assert!(
                    !reaches(&mut world, network, 2, other, 20_000),
                    "{other} refuses, deleted: {delete}"
                );
            }
            assert!(reaches(&mut world, network, 3, 1, 20_000));
        }
    }
}

#[test]
fn let_in_again_is_in_again() {
    let (mut world, network) = world(LOSSY);
    authorize(&mut world, network, 2, false);
    world.run(5_000);
    authorize(&mut world, network, 2, true);
    assert!(reaches(&mut world, network, 2, 1, 90_000));
    restart_from_disk(&mut world, network, 1);
    assert!(
        reaches(&mut world, network, 2, 1, 90_000),
        "the threshold on disk is older than the new certificate"
    );
}

#[test]
fn a_deleted_network_ends_and_an_unknown_one_does_not() {
    let (mut world, network) = world(CALM);
    world.stop(3);
    // A controller that does not know the network, as one restored from an old backup: it goes on.
    let kept = world.forget_networks();
    assert!(world.run_until(120_000, |w| w.hosts[1].status.get(&network) == Some(&NetworkStatus::NotFound)));
    assert!(reaches(&mut world, network, 1, 2, 20_000), "NOT_FOUND alone takes nothing down");
    world.hosts[0].controller = Some(kept);
    let both =
        |w: &mut World| [1, 2].iter().all(|h| w.hosts[*h].status.get(&network) == Some(&NetworkStatus::Ok));
    assert!(world.run_until(120_000, both));

    world.http("DELETE", &format!("/controller/network/{network}"), "");
    world.run(1_000);
    for host in [1, 2] {
        let config = world.hosts[host].core.view().networks()[0].config.clone().unwrap();
        assert!(config.addresses.is_empty() && config.routes.is_empty() && config.com.is_none());
    }
    assert!(!reaches(&mut world, network, 1, 2, 20_000));
    // One that was away gets it when it is back, and is told that the network is no more.
    world.run(3_600_000);
    restart_from_disk(&mut world, network, 3);
    let ended = |w: &mut World| w.hosts[3].core.view().networks()[0].status == NetworkStatus::NotFound;
    assert!(world.run_until(70_000, ended));
    assert!(world.hosts[3].core.view().networks()[0].config.as_ref().unwrap().addresses.is_empty());

    // Made anew under its ID, it is a network again.
    world.http("POST", &format!("/controller/network/{network}"), r#"{"routes":[{"target":"10.0.0.0/16"}]}"#);
    for host in 1..=3 {
        authorize(&mut world, network, host, true);
    }
    assert!(reaches(&mut world, network, 1, 2, 180_000));
}

#[test]
fn leaving_forgets_and_what_has_ended_is_pruned() {
    let (mut world, network) = world(CALM);
    authorize(&mut world, network, 2, false);
    world.run(5_000);
    assert!(world.hosts[1].revocations.contains_key(&network));
    // Two windows of half an hour, and the house-keeping.
    world.run(3_600_000 + 60_000);
    assert!(!world.hosts[1].revocations.contains_key(&network), "pruned");
    authorize(&mut world, network, 2, true);
    authorize(&mut world, network, 2, false);
    world.run(5_000);
    assert!(world.hosts[3].revocations.contains_key(&network));
    let now = world.now;
    world.hosts[3].core.leave(network);
    world.hosts[3].core.tick(now);
    world.run(40_000);
    assert!(!world.hosts[3].revocations.contains_key(&network), "gone with the network");
}

/// What a stranger sends that cannot hear us (a forged source, or nobody behind the relay) reaches no controller.
#[test]
fn who_cannot_be_reached_gets_nothing_and_who_can_is_not_held_up() {
    let mut world = World::new(3, CALM);
    for _ in 0..3 {
        world.add_host(None);
    }
    let network = world.create_network(r#"{"private":false}"#);
    let path = format!("/controller/network/{network}/member");
    world.run(2_000);
    // The controller has forgotten everybody, and from here on its packets do not reach host 1.
    world.restart_as_stranger(0);
    world.deaf.insert(1);
    world.join(1, network);
    world.run(30_000);
    assert_eq!(world.http("GET", &path, ""), serde_json::json!({}), "nobody is on record");
    world.deaf.remove(&1);
    assert!(world.run_until(10_000, |w| w.hosts[1].status.get(&network) == Some(&NetworkStatus::Ok)));
    // One that has answered before is not asked again: a single round trip.
    let begun = world.now;
    world.join(2, network);
    assert!(world.run_until(10_000, |w| w.hosts[2].status.get(&network) == Some(&NetworkStatus::Ok)));
    assert!(world.now - begun <= Span::ms(45), "{:?}", world.now - begun);
}
