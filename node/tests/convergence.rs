//! Many nodes on a virtual clock: everybody joins, random pairs reach each other, and a run can be repeated exactly.

mod sim;

use node::core::info::NetworkStatus;
use protocol::NetworkId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sim::{Nat, Weather, World};

const KINDS: [Nat; 4] = [Nat::FullCone, Nat::Restricted, Nat::PortRestricted, Nat::Symmetric];

/// `nodes` hosts, most of them alone behind a NAT of some kind, in one public network.
fn crowd(seed: u64, nodes: usize, weather: Weather) -> (World, NetworkId) {
    let mut world = World::new(seed, weather);
    for index in 1..nodes {
        let nat = (index % 5 != 0).then(|| world.add_nat(KINDS[index % 4]));
        world.add_host(nat);
    }
    let network = world.create_network(
        r#"{"name":"crowd","private":false,"v4AssignMode":{"zt":true},
            "routes":[{"target":"10.0.0.0/16"}],
            "ipAssignmentPools":[{"ipRangeStart":"10.0.0.1","ipRangeEnd":"10.0.255.254"}]}"#,
    );
    for host in 1..nodes {
        world.join(host, network);
    }
    (world, network)
}

fn all_joined(world: &World, network: NetworkId) -> bool {
    world.hosts[1..].iter().all(|h| h.status.get(&network) == Some(&NetworkStatus::Ok))
}

fn converge(seed: u64, nodes: usize, pairs: usize, weather: Weather) -> (u64, u64) {
    let (mut world, network) = crowd(seed, nodes, weather);
    let joined = world
        .run_until(120_000, |w| w.now.as_ms() % 250 == 0 && all_joined(w, network) || all_joined(w, network));
    assert!(joined, "{} of {nodes} joined", world.hosts.iter().filter(|h| !h.status.is_empty()).count());
    let mut choice = StdRng::seed_from_u64(seed);
    for _ in 0..pairs {
        let (a, b) = (choice.random_range(1..nodes), choice.random_range(1..nodes));
        if a != b {
            assert!(sim::reaches(&mut world, network, a, b, 15_000), "{a} does not reach {b}");
        }
    }
    (world.trace, world.delivered)
}

#[test]
fn five_hundred_nodes_converge() {
    let weather = Weather { latency: (5, 60), loss: 10 };
    let (_, delivered) = converge(1, 500, 200, weather);
    assert!(delivered > 10_000);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let weather = Weather { latency: (5, 60), loss: 20 };
    assert_eq!(converge(7, 40, 30, weather), converge(7, 40, 30, weather));
    assert_ne!(converge(7, 40, 30, weather).0, converge(8, 40, 30, weather).0);
}

/// Announcements of groups are not acknowledged, so a lost one must not hide a member until the next regular round. The
/// lines lose a fifth of everything; an ARP request, repeated every second, has to arrive long before a minute is over.
#[test]
fn a_member_is_found_over_lossy_lines() {
    for seed in 0..60 {
        let (mut world, network) = crowd(seed, 3, Weather { latency: (5, 60), loss: 200 });
        assert!(world.run_until(60_000, |w| all_joined(w, network)), "seed {seed}: not joined");
        let target = world.hosts[2].core.view().networks()[0].config.as_ref().unwrap().addresses[0].ip;
        let request = arp_request(protocol::Mac::for_member(network, world.address(1)), target);
        let found = (0..25).any(|_| {
            world.send_frame(1, network, &request);
            world.run_until(1_000, |w| w.hosts[2].received.iter().any(|(_, f)| *f == request))
        });
        assert!(found, "seed {seed}: nobody heard the request");
    }
}

/// RFC 826: who has `target`?
fn arp_request(source: protocol::Mac, target: std::net::IpAddr) -> Vec<u8> {
    let std::net::IpAddr::V4(target) = target else { panic!("{target} has no ARP") };
    let mut frame = vec![0xff; 6];
    frame.extend_from_slice(&source.0);
    frame.extend_from_slice(&[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend_from_slice(&source.0);
    frame.extend_from_slice(&[10, 0, 0, 99, 0, 0, 0, 0, 0, 0]);
    frame.extend_from_slice(&target.octets());
    frame
}
