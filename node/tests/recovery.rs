//! Ways that die, and nodes that are elsewhere of a sudden, in simulated time: how long nothing arrives, and that nothing arrives twice.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod sim;

use std::net::SocketAddr;

use node::core::info::NetworkStatus;
use protocol::NetworkId;
use sim::{Nat, Weather, World, frame_between, is_direct, reaches, stream};

const CALM: Weather = Weather { latency: (5, 15), loss: 0 };

/// A root with the controller, and two members of a network that have a direct path to each other.
fn pair(weather: Weather) -> (World, NetworkId) {
    let mut world = World::new(7, weather);
    for _ in 0..2 {
        let nat = world.add_nat(Nat::PortRestricted);
        world.add_host(Some(nat));
    }
    let network = world.create_network(r#"{"private":true}"#);
    for host in [1, 2] {
        let path = format!("/controller/network/{network}/member/{}", world.address(host));
        world.http("POST", &path, r#"{"authorized":true}"#);
        world.join(host, network);
    }
    let all =
        |w: &mut World| [1, 2].iter().all(|h| w.hosts[*h].status.get(&network) == Some(&NetworkStatus::Ok));
    assert!(world.run_until(10_000, all));
    assert!(reaches(&mut world, network, 1, 2, 5_000) && reaches(&mut world, network, 2, 1, 5_000));
    assert!(world.run_until(70_000, |w| is_direct(w, 1, 2) && is_direct(w, 2, 1)));
    (world, network)
}

#[test]
fn nothing_is_lost_late_or_twice_while_nothing_happens() {
    let (mut world, network) = pair(Weather { latency: (10, 10), loss: 0 });
    let seen = stream(&mut world, network, 60_000);
    assert_eq!((seen.lost, seen.twice, seen.late), ([0, 0], 0, 0), "{seen:?}");
}

#[test]
fn a_way_that_dies_is_bridged_within_half_a_second() {
    for cut in [vec![(1, 2), (2, 1)], vec![(1, 2)], vec![(2, 1)]] {
        let (mut world, network) = pair(CALM);
        stream(&mut world, network, 5_000);
        world.one_way.extend(cut.iter().copied());
        let seen = stream(&mut world, network, 20_000);
        assert!(seen.gaps.iter().all(|gap| *gap <= 600), "{cut:?}: {seen:?}");
        assert_eq!(seen.twice, 0, "{cut:?}: {seen:?}");
        assert!(seen.lost.iter().all(|lost| *lost <= 30), "{cut:?}: {seen:?}");
        // And it is taken again when it is free.
        world.one_way.clear();
        stream(&mut world, network, 10_000);
        let relayed = world.hosts[0].core.view().counters().relayed;
        let seen = stream(&mut world, network, 5_000);
        assert_eq!((seen.lost, seen.twice), ([0, 0], 0), "{cut:?}: {seen:?}");
        assert!(world.hosts[0].core.view().counters().relayed - relayed < 10, "direct again: {cut:?}");
    }
}

#[test]
fn who_gets_another_address_outside_is_followed_in_a_round_trip_or_two() {
    let (mut world, network) = pair(CALM);
    stream(&mut world, network, 5_000);
    world.forget_mappings(0);
    let seen = stream(&mut world, network, 10_000);
    assert!(seen.gaps.iter().all(|gap| *gap <= 500) && seen.twice == 0, "a new port: {seen:?}");
    let elsewhere = world.add_nat(Nat::PortRestricted);
    world.move_to(1, elsewhere);
    let seen = stream(&mut world, network, 10_000);
    assert!(seen.gaps.iter().all(|gap| *gap <= 1_000) && seen.twice == 0, "a new address: {seen:?}");
}

#[test]
fn loss_is_no_reason_to_go_another_way() {
    let (mut world, network) = pair(CALM);
    world.weather.loss = 100;
    stream(&mut world, network, 5_000);
    let before = world.hosts[0].core.view().counters().relayed;
    let seen = stream(&mut world, network, 120_000);
    let relayed = world.hosts[0].core.view().counters().relayed - before;
    // Copies while in doubt; the flow stays where it is.
    assert!(relayed < 600, "{relayed} of 12,000 went by the root: {seen:?}");
    assert_eq!(seen.twice, 0);
}

#[test]
fn a_direct_pair_does_not_notice_that_its_root_is_gone() {
    let (mut world, network) = pair(CALM);
    stream(&mut world, network, 2_000);
    world.stop(0);
    let seen = stream(&mut world, network, 60_000);
    assert_eq!((seen.lost, seen.twice), ([0, 0], 0), "{seen:?}");
}

/// Somebody on the way who is faster: what host 1 sends reaches host 2 from elsewhere first.
#[test]
fn nobody_is_followed_to_where_he_has_not_answered() {
    let (mut world, network) = pair(CALM);
    stream(&mut world, network, 2_000);
    let elsewhere: SocketAddr = "203.0.113.66:4000".parse().unwrap();
    let known = world.hosts[2].core.view().peers(world.now);
    let outside = known.iter().find(|peer| peer.address == world.address(1)).unwrap().paths[0].address;
    // Another port of the same address as well: that is what a NAT router with a new mapping looks like.
    for from in [elsewhere, SocketAddr::new(outside.ip(), 4_000)] {
        // It would have arrived, and does so by somebody else.
        let frame = frame_between(&world, network, 1, 2, b"a frame that arrives from elsewhere");
        let sent = world.intercept(|world| world.send_frame(1, network, &frame));
        assert!(!sent.is_empty());
        let before = world.sent.get(&(2, from)).copied().unwrap_or(0);
        for datagram in &sent {
            world.inject(2, from, datagram);
        }
        assert!(world.hosts[2].received.iter().any(|(_, bytes)| *bytes == frame), "it is genuine");
        let seen = stream(&mut world, network, 5_000);
        assert_eq!((seen.lost, seen.twice), ([0, 0], 0), "{from}: {seen:?}");
        let octets: usize = sent.iter().map(Vec::len).sum();
        let answered = world.sent.get(&(2, from)).copied().unwrap_or(0) - before;
        assert!(answered <= 3 * octets, "{answered} octets went where {octets} came from");
    }
}

/// Neither root nor controller is there, and the other end may or may not have found out yet that the way to the killed node is dead:
/// who speaks by multicast first, as ARP does, finds the other all the same.
#[test]
fn a_killed_node_finds_others_by_multicast_without_root_and_controller() {
    for dead in [50, 300, 600, 900, 1_200, 2_000, 20_000] {
        let (mut world, network) = pair(CALM);
        stream(&mut world, network, 40_000);
        let records = world.peer_records(1);
        world.stop(0);
        world.stop(1);
        for _ in 0..dead / 20 {
            let frame = frame_between(&world, network, 2, 1, b"still there?");
            world.send_frame(2, network, &frame);
            world.run(20);
        }
        world.restart(1, 1);
        let (config, now) = (world.hosts[1].configs.get(&network).cloned(), world.now);
        world.hosts[1].core.join(now, network, config.as_deref());
        world.restore_peers(1, &records);
        world.hosts[2].received.clear();
        let mut frame = frame_between(&world, network, 1, 2, b"who has");
        frame[..6].fill(0xff);
        // A kernel asks once a second.
        let begun = world.now;
        let arrived = (0..5).any(|_| {
            world.send_frame(1, network, &frame);
            world.run_until(1_000, |w| !w.hosts[2].received.is_empty())
        });
        let after = (world.now - begun).as_ms();
        assert!(arrived && after <= 1_500, "dead for {dead} ms: {after} ms, arrived: {arrived}");
    }
}

/// Of two roots one is near to one end and far from the other: each by itself would take another, and neither the shortest way.
#[test]
fn what_is_relayed_takes_the_root_with_the_shortest_whole_way() {
    let mut world = World::with_roots(7, CALM, 2);
    for _ in 0..2 {
        let nat = world.add_nat(Nat::Symmetric);
        world.add_host(Some(nat));
    }
    world.far.extend([((0, 3), 300), ((1, 2), 50), ((1, 3), 10)]);
    let network = world.create_network(r#"{"private":false}"#);
    for host in [2, 3] {
        world.join(host, network);
    }
    assert!(reaches(&mut world, network, 2, 3, 20_000) && reaches(&mut world, network, 3, 2, 20_000));
    let frames = |world: &mut World, from: usize, to: usize| {
        let frame = frame_between(world, network, from, to, b"by a root");
        world.hosts[to].received.clear();
        let begun = world.now;
        world.send_frame(from, network, &frame);
        assert!(world.run_until(2_000, |w| !w.hosts[to].received.is_empty()));
        (world.now - begun).as_ms()
    };
    for _ in 0..100 {
        for (from, to) in [(2, 3), (3, 2)] {
            frames(&mut world, from, to);
        }
        world.run(300);
    }
    assert!(!is_direct(&world, 2, 3) && !is_direct(&world, 3, 2));
    for (from, to) in [(2, 3), (3, 2)] {
        let ms = frames(&mut world, from, to);
        assert!(ms <= 2 * 15 + 50 + 10, "{from} to {to}: {ms} ms");
    }
}
