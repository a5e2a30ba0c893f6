//! Super-frames from port to port on a virtual clock: cut, sent as one burst, joined again; and judged one by one where rules ask.

mod sim;

use node::core::path::SocketId;
use node::dataplane::frame_pool::PortFrame;
use node::dataplane::vnet::{Checksum, Gso, Offload, Offloads};
use protocol::{Mac, NetworkId, checksum};
use sim::{Weather, World, reaches};

const CALM: Weather = Weather { latency: (10, 20), loss: 0 };
/// Payload of one segment: with its headers it fills the network's MTU of 2800.
const SEGMENT: usize = 2_748;
const SEGMENTS: usize = 22;
const PUSH: u8 = 0x08;

/// Root and controller, and two members who can reach each other directly.
fn two(rules: &str) -> (World, NetworkId) {
    let mut world = World::new(17, CALM);
    world.add_host(None);
    world.add_host(None);
    let network = world.create_network(&format!(r#"{{"name":"offload","private":false,"rules":[{rules}]}}"#));
    world.join(1, network);
    world.join(2, network);
    for (from, to) in [(1, 2), (2, 1)] {
        assert!(reaches(&mut world, network, from, to, 20_000), "{from} reaches {to}");
    }
    world.run(10_000);
    (world, network)
}

/// A super-frame as the kernel hands it over, from host 1 to host 2.
fn super_frame(world: &World, network: NetworkId) -> (Offload, Vec<u8>) {
    let mac = |host| Mac::for_member(network, world.address(host)).0;
    let mut frame = [&mac(2)[..], &mac(1)[..], &[0x08, 0x00]].concat();
    let length = 20 + 32 + SEGMENT * SEGMENTS;
    let mut ip = vec![0x45, 0];
    ip.extend((length as u16).to_be_bytes());
    ip.extend([0xff, 0xfe, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    let sum = checksum::finish(checksum::sum(0, &ip));
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut tcp = vec![0x12, 0x34, 0x56, 0x78, 0xff, 0xff, 0xf0, 0x00, 0, 0, 0, 1, 0x80, 0x10 | PUSH, 1, 0];
    let pseudo = checksum::pseudo_header(&ip[12..20], 6, (length - 20) as u32);
    tcp.extend((!checksum::finish(pseudo)).to_be_bytes());
    tcp.extend([0, 0, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    frame.extend(ip);
    frame.extend(tcp);
    frame.extend((0..SEGMENT * SEGMENTS).map(|i| (i / 7) as u8));
    let checksum = Checksum::Partial { start: 34, offset: 16 };
    let gso = Gso::Tcp4 { size: SEGMENT as u16, ecn: false };
    (Offload { checksum, gso, header_len: 66 }, frame)
}

/// Sends the super-frame and returns the datagrams it has become.
fn send(world: &mut World, network: NetworkId) -> Vec<Vec<u8>> {
    let (offload, frame) = super_frame(world, network);
    let range = 0..frame.len();
    let mut memory = frame.into_boxed_slice();
    let (now, to) = (world.now, world.hosts[2].inside);
    let core = &mut world.hosts[1].core;
    core.port_frame(now, network, PortFrame { memory: &mut memory, range, offload });
    let outbox = std::mem::take(core.outbox());
    outbox
        .datagrams
        .iter()
        // Beside the frames the path is asked whether they are heard.
        .filter(|(_, bytes)| bytes.len() > 28)
        .map(|(segment, bytes)| {
            assert_eq!(segment.to, to);
            bytes.to_vec()
        })
        .collect()
}

#[test]
fn a_super_frame_crosses_as_one_burst_and_arrives_as_one() {
    let (mut world, network) = two(r#"{"type":"ACTION_ACCEPT"}"#);
    let (_, sent) = super_frame(&world, network);
    let before = world.hosts[1].core.view().counters().packets_out[6];
    // Bursts of an odd number tear packets apart; a burst of one is a lone datagram.
    for (round, per_burst) in [64, 9, 1].into_iter().enumerate() {
        let datagrams = send(&mut world, network);
        assert_eq!(datagrams.iter().map(Vec::len).collect::<Vec<_>>(), vec![1_427; 2 * SEGMENTS]);
        let packets = world.hosts[1].core.view().counters().packets_out[6] - before;
        assert_eq!(packets, ((round + 1) * SEGMENTS) as u64);
        let (now, from) = (world.now, world.hosts[1].inside);
        let core = &mut world.hosts[2].core;
        if let Some(joined) = core.joined(network) {
            joined.set_port_offloads(Offloads { tso: true, uso: true, checksum: true });
        }
        for chunk in datagrams.chunks(per_burst) {
            core.datagrams(now, SocketId(0), from, &mut chunk.concat(), 1_427);
        }
        let mut outbox = std::mem::take(core.outbox());
        let mut all = outbox.frames.deliveries();
        let one = all.next().expect("something arrives");
        assert_eq!(one.offload, super_frame(&world, network).0, "{per_burst}");
        assert_eq!(one.frame, &sent[..], "headers, partial checksum and stream are as they were");
        assert!(all.next().is_none());
    }
}

#[test]
fn a_port_without_offloads_gets_every_frame_by_itself() {
    let (mut world, network) = two(r#"{"type":"ACTION_ACCEPT"}"#);
    let datagrams = send(&mut world, network);
    let (now, from) = (world.now, world.hosts[1].inside);
    let core = &mut world.hosts[2].core;
    core.datagrams(now, SocketId(0), from, &mut datagrams.concat(), 1_427);
    let mut outbox = std::mem::take(core.outbox());
    let frames: Vec<Vec<u8>> = outbox.frames.iter().map(|(_, frame)| frame.to_vec()).collect();
    assert_eq!(frames.len(), SEGMENTS);
    for (index, frame) in frames.iter().enumerate() {
        assert_eq!(frame.len(), 66 + SEGMENT);
        let pseudo = checksum::pseudo_header(&frame[26..34], 6, (frame.len() - 34) as u32);
        assert!(checksum::verifies(checksum::sum(pseudo, &frame[34..])));
        assert!(checksum::verifies(checksum::sum(0, &frame[14..34])));
        assert_eq!(frame[47] & PUSH != 0, index + 1 == SEGMENTS);
    }
}

#[test]
fn rules_about_what_varies_see_every_segment() {
    let push = r#"{"type":"MATCH_CHARACTERISTICS","mask":"0000000000000008"},{"type":"ACTION_DROP"},{"type":"ACTION_ACCEPT"}"#;
    let (mut world, network) = two(push);
    assert_eq!(send(&mut world, network).len(), 2 * (SEGMENTS - 1), "the last one has the flag");
    let drop =
        r#"{"type":"MATCH_IP_PROTOCOL","ipProtocol":6},{"type":"ACTION_DROP"},{"type":"ACTION_ACCEPT"}"#;
    let (mut world, network) = two(drop);
    assert_eq!(send(&mut world, network).len(), 0);
}
