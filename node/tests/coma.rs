//! Nodes that were not there for a while, or whose clock is wrong, in simulated time: nobody has to restart one.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod sim;

use std::net::SocketAddr;

use node::core::info::NetworkStatus;
use protocol::{NetworkId, Span};
use sim::{Nat, Weather, World, frame_between, is_direct, reaches};

const CALM: Weather = Weather { latency: (5, 15), loss: 0 };
/// A frame goes each way so often while somebody waits for one to arrive, ms.
const EVERY: i64 = 50;
/// How long a pair may be without traffic once what was in the way has gone, ms.
const SOON: i64 = 1_500;
/// The same where a root is needed, which is asked every five seconds.
const RELAYED: i64 = 8_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
/// What a node may send to a dead root in an hour, octets: a HELLO every few seconds.
const MOST_ASKED: usize = 250_000;
const DAY: Span = Span::secs(24 * 60 * 60);

/// A root with the controller, and two members of a network behind routers of this kind, which both have traffic.
fn pair(kind: Nat) -> (World, NetworkId) {
    let mut world = World::new(11, CALM);
    for _ in 0..2 {
        let nat = world.add_nat(kind);
        world.add_host(Some(nat));
    }
    let network = world.create_network(r#"{"private":true}"#);
    for host in [1, 2] {
        let path = format!("/controller/network/{network}/member/{}", world.address(host));
        world.http("POST", &path, r#"{"authorized":true}"#);
        world.join(host, network);
    }
    assert!(world.run_until(10_000, |world| joined(world, network, 1) && joined(world, network, 2)));
    assert!(reaches(&mut world, network, 1, 2, 5_000) && reaches(&mut world, network, 2, 1, 5_000));
    if kind != Nat::Symmetric {
        assert!(world.run_until(70_000, |w| is_direct(w, 1, 2) && is_direct(w, 2, 1)));
    }
    talk(&mut world, network, 5_000, SOON);
    (world, network)
}

fn joined(world: &World, network: NetworkId, host: usize) -> bool {
    world.hosts[host].status.get(&network) == Some(&NetworkStatus::Ok)
}

/// Frames go both ways for so long, and neither side may be without one for longer than `longest`, ms.
fn talk(world: &mut World, network: NetworkId, ms: i64, longest: i64) {
    let begun = world.now;
    let mut last = [begun; 2];
    let mut gaps = [0; 2];
    let mut number = 0u32;
    while (world.now - begun).as_ms() < ms {
        number += 1;
        for (from, to) in [(1, 2), (2, 1)] {
            let frame = frame_between(world, network, from, to, &number.to_be_bytes());
            world.send_frame(from, network, &frame);
        }
        world.run(EVERY);
        for (side, host) in [1, 2].into_iter().enumerate() {
            if !std::mem::take(&mut world.hosts[host].received).is_empty() {
                last[side] = world.now;
            }
            gaps[side] = gaps[side].max((world.now - last[side]).as_ms());
        }
    }
    assert!(gaps.iter().all(|gap| *gap <= longest), "{gaps:?} ms without a frame");
}

/// What a host has sent to its root, octets.
fn asked(world: &World, host: usize) -> usize {
    let root: SocketAddr = world.hosts[0].inside;
    world.sent.get(&(host, root)).copied().unwrap_or(0)
}

#[test]
fn who_stood_still_for_ten_minutes_goes_on_at_once() {
    for kind in [Nat::PortRestricted, Nat::Symmetric] {
        for still in [vec![1], vec![1, 2]] {
            let (mut world, network) = pair(kind);
            still.iter().for_each(|host| world.stop(*host));
            world.run(10 * MINUTE);
            still.iter().for_each(|host| world.wake(*host));
            talk(&mut world, network, 20_000, SOON);
        }
    }
}

/// A machine that sleeps knows afterwards how long (its clock went on), or does not (a virtual machine that was halted), and its
/// router has forgotten it meanwhile.
#[test]
fn who_slept_for_an_hour_is_back_in_seconds() {
    for kind in [Nat::PortRestricted, Nat::Symmetric] {
        for asleep in [vec![1], vec![1, 2]] {
            for knows in [true, false] {
                let (mut world, network) = pair(kind);
                asleep.iter().for_each(|host| world.stop(*host));
                world.run(HOUR);
                for host in &asleep {
                    world.rebind(*host);
                    if !knows {
                        world.hosts[*host].ahead = world.hosts[*host].ahead - Span::ms(HOUR);
                    }
                    world.wake(*host);
                }
                talk(&mut world, network, 30_000, RELAYED);
            }
        }
    }
}

#[test]
fn roots_may_be_dead_for_an_hour() {
    let (mut world, network) = pair(Nat::PortRestricted);
    world.stop(0);
    let before = asked(&world, 1);
    // All the hour: a direct pair needs nobody.
    talk(&mut world, network, HOUR, SOON);
    let octets = asked(&world, 1) - before;
    assert!((1_000..MOST_ASKED).contains(&octets), "{octets} octets to a dead root");
    world.wake(0);
    talk(&mut world, network, MINUTE, SOON);
}

#[test]
fn a_relayed_pair_is_back_when_its_root_is() {
    let (mut world, network) = pair(Nat::Symmetric);
    world.stop(0);
    let before = asked(&world, 1);
    // There is something to send all the hour, and nobody to send it by.
    for _ in 0..60 {
        for (from, to) in [(1, 2), (2, 1)] {
            let frame = frame_between(&world, network, from, to, b"into the void");
            world.send_frame(from, network, &frame);
        }
        world.run(MINUTE);
    }
    let octets = asked(&world, 1) - before;
    assert!((1_000..MOST_ASKED).contains(&octets), "{octets} octets to a dead root");
    world.wake(0);
    talk(&mut world, network, MINUTE, RELAYED);
}

/// A clock that was a day off when the node started, which then goes on from there, whatever is set later.
#[test]
fn a_clock_that_is_a_day_off_matters_to_nobody() {
    for off in [DAY, -DAY] {
        for both in [false, true] {
            let (mut world, network) = pair(Nat::PortRestricted);
            let hosts: &[usize] = if both { &[1, 2] } else { &[1] };
            for host in hosts {
                let config = world.hosts[*host].configs.get(&network).cloned();
                world.hosts[*host].ahead = off;
                world.restart(*host, *host);
                let now = world.time(*host);
                world.hosts[*host].core.join_with(now, network, config.as_deref(), None);
                world.wake(*host);
            }
            world.run(2_000);
            talk(&mut world, network, 20_000, RELAYED);
            // Beyond the next renewal of certificates.
            talk(&mut world, network, 30 * MINUTE, SOON);
        }
    }
}

/// The controller's machine gets its clock set by a day while everything runs.
#[test]
fn a_controller_may_have_its_clock_set_by_a_day() {
    for off in [DAY, -DAY] {
        let (mut world, network) = pair(Nat::PortRestricted);
        let now = world.now;
        let actions = world.hosts[0].controller.as_mut().unwrap().set_wall(now, now + off);
        for action in actions {
            world.hosts[0].core.controller_action(now, action);
        }
        world.wake(0);
        talk(&mut world, network, 30 * MINUTE, SOON);
        let host = world.add_host(None);
        let path = format!("/controller/network/{network}/member/{}", world.address(host));
        world.http("POST", &path, r#"{"authorized":true}"#);
        world.join(host, network);
        assert!(world.run_until(10_000, |world| joined(world, network, host)));
        assert!(reaches(&mut world, network, host, 1, 5_000) && reaches(&mut world, network, 1, host, 5_000));
    }
}
