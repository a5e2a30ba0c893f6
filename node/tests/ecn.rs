//! Congestion marks of the underlay reach the frames, on a virtual clock.

mod sim;

use node::dataplane::ecn;
use protocol::{NetworkId, checksum};
use sim::{Weather, World, frame_between, reaches};

const CALM: Weather = Weather { latency: (10, 20), loss: 0 };
const IPV4: u16 = 0x0800;
const ETHERNET: usize = 14;

fn two() -> (World, NetworkId) {
    let mut world = World::new(29, CALM);
    world.add_host(None);
    world.add_host(None);
    let network = world.create_network(r#"{"name":"marks","private":false}"#);
    // A frame of 2800 bytes takes two datagrams.
    world.narrow.insert((1, 2), 1_472);
    world.join(1, network);
    world.join(2, network);
    for (from, to) in [(1, 2), (2, 1)] {
        assert!(reaches(&mut world, network, from, to, 20_000), "{from} reaches {to}");
    }
    world.run(10_000);
    (world, network)
}

/// An IPv4 packet of `length` bytes with these ECN bits from one host to another.
fn packet(world: &World, network: NetworkId, from: usize, to: usize, bits: u8, length: usize) -> Vec<u8> {
    let mut ip = vec![0x45, bits, 0, 0, 0, 1, 0, 0, 64, 253, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    ip[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    let sum = checksum::finish(checksum::sum(0, &ip));
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip.resize(length, 7);
    let mut frame = frame_between(world, network, from, to, &ip);
    frame[12..14].copy_from_slice(&IPV4.to_be_bytes());
    frame
}

/// Sends packets and returns the ECN bits of those that arrived; their checksums are right.
fn send(
    world: &mut World,
    network: NetworkId,
    (from, to): (usize, usize),
    bits: u8,
    length: usize,
) -> Vec<u8> {
    let frame = packet(world, network, from, to, bits, length);
    world.hosts[to].received.clear();
    for _ in 0..10 {
        world.send_frame(from, network, &frame);
        world.run(200);
    }
    let received = world.hosts[to].received.iter();
    received
        .map(|(_, got)| {
            let ip = &got[ETHERNET..];
            assert_eq!(checksum::finish(checksum::sum(0, &ip[..20])), 0);
            let bits = ecn::of(IPV4, ip);
            assert_eq!(*got, packet(world, network, from, to, bits, length), "nothing else has changed");
            bits
        })
        .collect()
}

#[test]
fn a_mark_on_any_datagram_of_a_packet_reaches_the_frame() {
    let (mut world, network) = two();
    // Shown only when the other end is known to hand marks on.
    send(&mut world, network, (1, 2), 2, 100);
    assert_eq!(world.ecn[&(1, 2)][2], 0);
    send(&mut world, network, (1, 2), 0, 2_800);
    assert_eq!(world.ecn[&(1, 2)][1..], [0; 3], "nothing to show");
    assert_eq!(send(&mut world, network, (1, 2), 2, 100), [2; 10]);
    assert_eq!(world.ecn[&(1, 2)][1..], [0, 10, 0]);

    world.congested.insert((1, 2));
    assert_eq!(send(&mut world, network, (1, 2), 2, 2_800), [3; 10], "one of two datagrams is marked");
    assert_eq!(send(&mut world, network, (1, 2), 2, 100), [2, 3].repeat(5));
    assert_eq!(send(&mut world, network, (1, 2), 1, 100).iter().filter(|bits| **bits == 3).count(), 5);
    assert_eq!(send(&mut world, network, (1, 2), 3, 100), [3; 10]);
    assert_eq!(send(&mut world, network, (1, 2), 0, 2_800), [0; 10], "nothing to mark");
    assert_eq!(send(&mut world, network, (2, 1), 2, 2_800), [2; 10], "the other way is free");
}

#[test]
fn a_mark_that_a_frame_cannot_bear_drops_it() {
    let (mut world, network) = two();
    let frame = packet(&world, network, 1, 2, 0, 100);
    let now = world.now;
    let from = world.hosts[1].inside;
    for (bits, arrives) in [(1, true), (2, true), (3, false)] {
        if let Some(joined) = world.hosts[1].core.joined(network) {
            joined.frame(now, &frame);
        }
        let outbox = std::mem::take(world.hosts[1].core.outbox());
        let core = &mut world.hosts[2].core;
        for (segment, data) in outbox.datagrams.iter() {
            assert_eq!(segment.ecn, 0);
            let mut data = data.to_vec();
            let length = data.len();
            core.marked_datagrams(now, node::core::path::SocketId(0), from, &mut data, length, bits);
        }
        let got: Vec<_> = core.outbox().frames.iter().map(|(_, frame)| frame.to_vec()).collect();
        core.outbox().frames.clear();
        assert_eq!(got, if arrives { vec![frame.clone()] } else { vec![] }, "{bits}");
    }
}

/// A frame that has to wait for its sender's certificate keeps the mark it came with.
#[test]
fn a_mark_waits_with_its_packet() {
    let mut world = World::new(31, CALM);
    world.add_host(None);
    world.add_host(None);
    let network = world.create_network(r#"{"name":"marks","private":true}"#);
    for host in [1, 2] {
        let path = format!("/controller/network/{network}/member/{}", world.address(host));
        world.http("POST", &path, r#"{"authorized":true}"#);
        world.join(host, network);
    }
    assert!(reaches(&mut world, network, 1, 2, 20_000) && reaches(&mut world, network, 2, 1, 20_000));
    world.run(2_000);
    // It forgets what the other has shown; the other does not know.
    assert!(world.hosts[2].core.leave(network));
    world.run(100);
    world.join(2, network);
    let configured =
        |w: &mut World| w.hosts[2].core.view().networks().iter().any(|known| known.config.is_some());
    assert!(world.run_until(3_000, configured));
    world.hosts[2].received.clear();
    let frame = packet(&world, network, 1, 2, 2, 100);
    let (now, from) = (world.now, world.hosts[1].inside);
    if let Some(joined) = world.hosts[1].core.joined(network) {
        joined.frame(now, &frame);
    }
    let outbox = std::mem::take(world.hosts[1].core.outbox());
    for (_, data) in outbox.datagrams.iter() {
        let (mut data, length) = (data.to_vec(), data.len());
        let core = &mut world.hosts[2].core;
        core.marked_datagrams(now, node::core::path::SocketId(0), from, &mut data, length, 3);
        assert_eq!(core.outbox().frames.iter().count(), 0, "it has to wait");
    }
    world.run(3_000);
    let marked = packet(&world, network, 1, 2, 3, 100);
    let got: Vec<_> = world.hosts[2].received.iter().map(|(_, frame)| frame.clone()).collect();
    assert_eq!(got, [marked]);
}
