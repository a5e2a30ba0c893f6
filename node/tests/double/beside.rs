//! A node of ours and a double as members of one network: what we ask of it, and what happens when the way between them changes.

use node::core::info::NetworkStatus;
use protocol::NetworkId;
use sim::{Nat, Weather, World, frame_between, is_direct, reaches, stream};

use super::*;

const CALM: Weather = Weather { latency: (5, 15), loss: 0 };

/// Host 0 is root and controller, host 1 a node of ours, host 2 a double; they have a direct path, unless `apart`.
fn pair(weather: Weather, nats: [Option<Nat>; 2], apart: bool) -> (World, NetworkId) {
    let mut world = World::new(7, weather);
    for nat in nats {
        let nat = nat.map(|kind| world.add_nat(kind));
        world.add_host(nat);
    }
    world.make_double(2);
    let network = world.create_network(r#"{"private":false}"#);
    for host in [1, 2] {
        world.join(host, network);
    }
    let all =
        |w: &mut World| [1, 2].iter().all(|h| w.hosts[*h].status.get(&network) == Some(&NetworkStatus::Ok));
    assert!(world.run_until(20_000, all), "both have their configuration");
    if apart {
        world.cut.insert((1, 2));
    }
    assert!(reaches(&mut world, network, 1, 2, 5_000) && reaches(&mut world, network, 2, 1, 5_000));
    if !apart {
        assert!(world.run_until(70_000, |w| is_direct(w, 1, 2) && is_direct(w, 2, 1)));
    }
    (world, network)
}

/// What the double's gates made of host 1's packets of a verb: let through, dropped.
fn tally(world: &World, verb: Verb) -> (u64, u64) {
    world.double(2).tally.of(world.address(1), verb)
}

#[test]
fn in_a_steady_flow_none_of_our_echos_falls_to_its_gate() {
    let (mut world, network) = pair(CALM, [Some(Nat::PortRestricted), None], false);
    // What it is has been asked by then.
    stream(&mut world, network, 10_000);
    let before = tally(&world, Verb::Echo);
    // Small frames both ways and large ones one way, which have the path measured.
    for number in 0..3_000u32 {
        for (from, to, length) in [(1, 2, 60), (2, 1, 60), (1, 2, 1_900)] {
            let frame = frame_between(&world, network, from, to, &vec![number as u8; length]);
            world.send_frame(from, network, &frame);
        }
        world.run(100);
    }
    let after = tally(&world, Verb::Echo);
    assert_eq!(after.1 - before.1, 0, "{before:?} {after:?}");
    // One in 340 ms at most, and those that measure.
    assert!((600..=900).contains(&(after.0 - before.0)), "{before:?} {after:?}");
}

#[test]
fn it_is_never_told_our_addresses_more_often_than_it_listens() {
    let (mut world, network) = pair(CALM, [Some(Nat::Symmetric), Some(Nat::Symmetric)], true);
    for _ in 0..600 {
        for (from, to) in [(1, 2), (2, 1)] {
            let frame = frame_between(&world, network, from, to, b"by the root");
            world.send_frame(from, network, &frame);
        }
        world.run(1_000);
    }
    let (acted, deaf) = tally(&world, Verb::PushDirectPaths);
    let most = world.double(2).tally.pushes[&world.address(1)];
    assert_eq!((most, deaf), (7, 0), "{acted} were acted upon");
    assert!(acted >= 14, "{acted}");
}

#[test]
fn when_the_way_there_dies_blind_what_we_send_arrives_again_within_two_seconds() {
    for cut in [vec![(1, 2)], vec![(1, 2), (2, 1)]] {
        let (mut world, network) = pair(CALM, [Some(Nat::PortRestricted), Some(Nat::PortRestricted)], false);
        stream(&mut world, network, 5_000);
        world.one_way.extend(cut.iter().copied());
        let seen = stream(&mut world, network, 20_000);
        assert!(seen.gaps[1] <= 2_000, "{cut:?}: {seen:?}");
    }
}

#[test]
fn what_it_sends_by_a_way_that_died_is_lost_until_its_timers_say_so() {
    let (mut world, network) = pair(CALM, [Some(Nat::PortRestricted), Some(Nat::PortRestricted)], false);
    stream(&mut world, network, 5_000);
    world.one_way.extend([(1, 2), (2, 1)]);
    let seen = stream(&mut world, network, 300_000);
    // Four greetings and three seconds after the last packet that came there.
    assert!((240_000..=250_000).contains(&seen.gaps[0]), "{seen:?}");
}

#[test]
fn a_new_mapping_of_its_nat_router_is_followed() {
    let (mut world, network) = pair(CALM, [None, Some(Nat::PortRestricted)], false);
    stream(&mut world, network, 5_000);
    world.rebind(2);
    let seen = stream(&mut world, network, 20_000);
    assert!(seen.gaps[1] <= 2_000 && seen.gaps[0] <= 100, "{seen:?}");
}

#[test]
fn a_new_mapping_of_our_nat_router_it_follows_when_the_old_one_has_been_silent_for_19_s() {
    let (mut world, network) = pair(CALM, [Some(Nat::PortRestricted), None], false);
    stream(&mut world, network, 5_000);
    world.rebind(1);
    let seen = stream(&mut world, network, 40_000);
    assert!(seen.gaps[1] <= 100, "what we send arrives from there: {seen:?}");
    assert!((18_500..=20_000).contains(&seen.gaps[0]), "{seen:?}");
}
