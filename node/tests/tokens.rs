//! Join tokens on a virtual clock: a node that brings a good one is in without anybody doing anything, others are not.

#![allow(clippy::unwrap_used)] // A surprise is a failed test.

mod sim;

use node::core::info::{NetworkInfo, NetworkStatus};
use protocol::NetworkId;
use serde_json::Value;
use sim::{Weather, World, reaches};

const CALM: Weather = Weather { latency: (10, 20), loss: 0 };
const LOSSY: Weather = Weather { latency: (10, 200), loss: 200 };

fn world(weather: Weather) -> (World, NetworkId) {
    let mut world = World::new(5, weather);
    for _ in 0..3 {
        world.add_host(None);
    }
    let network = world.create_network(r#"{"routes":[{"target":"10.0.0.0/16"}]}"#);
    (world, network)
}

/// A new token: ID and text.
fn create(world: &mut World, network: NetworkId, terms: &str) -> (String, String) {
    let made = world.http("POST", &format!("/controller/network/{network}/token"), terms);
    (made["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
}

fn token(world: &mut World, network: NetworkId, id: &str) -> Value {
    world.http("GET", &format!("/controller/network/{network}/token/{id}"), "")
}

fn info(world: &World, host: usize) -> NetworkInfo {
    world.hosts[host].core.view().networks().remove(0)
}

fn becomes(world: &mut World, host: usize, status: NetworkStatus) -> bool {
    world.run_until(30_000, |world| info(world, host).status == status)
}

#[test]
fn the_first_is_in_and_the_second_comes_too_late() {
    for weather in [CALM, LOSSY] {
        let (mut world, network) = world(weather);
        let (id, text) =
            create(&mut world, network, r#"{"name":"aws","tags":[[7,9]],"ipAssignments":["10.0.2.1"]}"#);
        world.join_with(1, network, &text);
        assert!(info(&world, 1).has_token);
        assert!(becomes(&mut world, 1, NetworkStatus::Ok));
        let config = info(&world, 1).config.unwrap();
        assert_eq!(config.addresses[0].to_string(), "10.0.2.1/16");
        assert_eq!((config.tags[0].id, config.tags[0].value), (7, 9));
        // A configuration that is pushed may be the first to arrive; the token goes with the first that was asked for.
        assert!(world.run_until(120_000, |world| !info(world, 1).has_token), "it is of no more use");

        world.join_with(2, network, &text);
        assert!(becomes(&mut world, 2, NetworkStatus::AccessDenied));
        world.run(60_000);
        assert_eq!(info(&world, 2).status, NetworkStatus::AccessDenied);
        assert!(info(&world, 2).has_token, "so that people can be told");
        assert_eq!(token(&mut world, network, &id)["used"], 1, "however often the answer got lost");

        // Another token, and they meet.
        let (_, text) = create(&mut world, network, "{}");
        world.join_with(2, network, &text);
        assert!(becomes(&mut world, 2, NetworkStatus::Ok));
        assert!(reaches(&mut world, network, 1, 2, 30_000));
    }
}

#[test]
fn the_controllers_clock_decides_about_expiry() {
    let (mut world, network) = world(CALM);
    let (id, text) = create(&mut world, network, r#"{"uses":0,"lifetime":600000}"#);
    world.join_with(1, network, &text);
    assert!(becomes(&mut world, 1, NetworkStatus::Ok));
    world.run(590_000 - 30_000);
    assert_eq!(token(&mut world, network, &id)["state"], "good");
    world.run(60_000);
    assert_eq!(token(&mut world, network, &id)["state"], "expired");
    world.join_with(2, network, &text);
    assert!(becomes(&mut world, 2, NetworkStatus::AccessDenied));
    world.run(120_000);
    assert_eq!(info(&world, 1).status, NetworkStatus::Ok, "who is in stays in");
}

#[test]
fn revoked_and_put_out() {
    let (mut world, network) = world(CALM);
    let (id, text) = create(&mut world, network, r#"{"uses":0}"#);
    world.join_with(1, network, &text);
    assert!(becomes(&mut world, 1, NetworkStatus::Ok));
    let path = format!("/controller/network/{network}/member/{}", world.address(1));
    world.http("POST", &path, r#"{"authorized":false}"#);
    assert!(world.run_until(120_000, |world| info(world, 1).status == NetworkStatus::AccessDenied));
    world.join_with(1, network, &text);
    world.run(30_000);
    assert_eq!(info(&world, 1).status, NetworkStatus::AccessDenied, "the same token does not bring it back");

    world.http("DELETE", &format!("/controller/network/{network}/token/{id}"), "");
    world.join_with(2, network, &text);
    assert!(becomes(&mut world, 2, NetworkStatus::AccessDenied));
    // By hand it works all the same.
    let path = format!("/controller/network/{network}/member/{}", world.address(2));
    world.http("POST", &path, r#"{"authorized":true}"#);
    assert!(becomes(&mut world, 2, NetworkStatus::Ok));
    assert!(world.run_until(120_000, |world| !info(world, 2).has_token));
}

/// A node may be a member of its own network.
#[test]
fn the_controller_itself() {
    let (mut world, network) = world(CALM);
    let (_, text) = create(&mut world, network, r#"{"ipAssignments":["10.0.0.1"]}"#);
    world.join_with(0, network, &text);
    assert!(becomes(&mut world, 0, NetworkStatus::Ok));
    assert!(!info(&world, 0).has_token);
}
