//! Datagram sizes by path, on a virtual clock.

mod sim;

use protocol::NetworkId;
use sim::{Weather, World, frame_between, reaches};

const CALM: Weather = Weather { latency: (10, 20), loss: 0 };

/// Root and controller, and two members who can reach each other directly. Between them nothing larger than `limit` passes
/// whole.
fn two(limit: usize) -> (World, NetworkId) {
    let mut world = World::new(23, CALM);
    world.add_host(None);
    world.add_host(None);
    let network = world.create_network(r#"{"name":"sizes","private":false,"mtu":9000}"#);
    world.narrow.insert((1, 2), limit);
    world.join(1, network);
    world.join(2, network);
    for (from, to) in [(1, 2), (2, 1)] {
        assert!(reaches(&mut world, network, from, to, 20_000), "{from} reaches {to}");
    }
    world.run(10_000);
    (world, network)
}

fn mtu(world: &World, from: usize, to: usize) -> usize {
    let to = world.address(to);
    let peers = world.hosts[from].core.view().peers(world.now);
    let peer = peers.iter().find(|peer| peer.address == to).expect("they know each other");
    peer.paths.iter().find(|path| path.preferred).expect("a direct path").mtu
}

/// Sends frames of this size for some seconds; whether the last one arrived.
fn send(world: &mut World, network: NetworkId, size: usize, seconds: usize) -> bool {
    let frame = frame_between(world, network, 1, 2, &vec![7; size]);
    for _ in 0..10 * seconds {
        world.hosts[2].received.clear();
        world.send_frame(1, network, &frame);
        world.run(100);
    }
    world.hosts[2].received.iter().any(|(_, bytes)| *bytes == frame)
}

#[test]
fn a_wide_path_takes_a_large_frame_in_one_datagram() {
    let (mut world, network) = two(8_972);
    assert!(world.largest[&(1, 2)] < 1_432, "nothing is probed while nothing large is sent");
    assert!(send(&mut world, network, 2_800, 5));
    assert_eq!((mtu(&world, 1, 2), mtu(&world, 2, 1)), (8_952, 1_432));
    let frame = frame_between(&world, network, 1, 2, &[7; 2_800]);
    // With the first one the path is asked whether it is heard.
    world.send_frame(1, network, &frame);
    world.run(50);
    let before = world.delivered;
    world.send_frame(1, network, &frame);
    world.run(50);
    assert_eq!(world.delivered - before, 1);
    assert!(send(&mut world, network, 9_000, 1));
    assert!(!world.fragmented.contains_key(&(1, 2)));
}

#[test]
fn an_ordinary_path_keeps_the_default() {
    let (mut world, network) = two(1_472);
    assert!(send(&mut world, network, 2_800, 30));
    assert_eq!(mtu(&world, 1, 2), 1_432);
    assert!(world.largest[&(1, 2)] <= 1_432);
    assert!(!world.fragmented.contains_key(&(1, 2)));
}

#[test]
fn a_narrow_path_gets_fragments_that_fit() {
    for fragments_pass in [true, false] {
        let (mut world, network) = two(1_272);
        world.fragments_pass = fragments_pass;
        assert!(send(&mut world, network, 2_800, 12), "fragments of IP pass: {fragments_pass}");
        assert_eq!(mtu(&world, 1, 2), 1_232);
        let before = world.fragmented.clone();
        assert!(send(&mut world, network, 2_800, 5) && send(&mut world, network, 1_400, 5));
        assert_eq!(world.fragmented, before, "IP has nothing to cut");
    }
    // Seven fragments of this size are less than the largest frame: then IP has to help.
    let (mut world, network) = two(1_272);
    assert!(send(&mut world, network, 2_800, 12) && send(&mut world, network, 9_000, 1));
}

#[test]
fn a_path_that_becomes_narrow_is_noticed() {
    let (mut world, network) = two(8_972);
    assert!(send(&mut world, network, 2_800, 5));
    world.narrow.insert((1, 2), 1_472);
    world.fragments_pass = false;
    assert!(!send(&mut world, network, 2_800, 1), "a black hole");
    assert!(send(&mut world, network, 2_800, 17));
    assert_eq!(mtu(&world, 1, 2), 1_432);
}

#[test]
fn loss_does_not_keep_a_path_from_being_measured() {
    let (mut world, network) = two(8_972);
    world.weather.loss = 100;
    send(&mut world, network, 2_800, 60);
    assert!(mtu(&world, 1, 2) >= 2_896);
}

#[test]
fn a_relayed_packet_stays_small() {
    let (mut world, network) = two(8_972);
    assert!(send(&mut world, network, 2_800, 5));
    world.cut.insert((1, 2));
    assert!(send(&mut world, network, 2_800, 60), "by way of the root");
    assert!(world.largest.get(&(0, 2)).is_none_or(|largest| *largest <= 1_432));
}

#[test]
fn what_is_configured_wins() {
    use node::core::event::{PhysicalNetwork, Settings};
    let (mut world, network) = two(8_972);
    let everywhere = "0.0.0.0/0".parse().unwrap();
    let physical = vec![(everywhere, PhysicalNetwork { mtu: 1_400, ..PhysicalNetwork::default() })];
    world.hosts[1].core.set_settings(Settings { physical, ..Settings::default() });
    assert!(send(&mut world, network, 2_800, 15));
    assert_eq!(mtu(&world, 1, 2), 1_400);
    assert!(world.largest[&(1, 2)] <= 1_400);
}
