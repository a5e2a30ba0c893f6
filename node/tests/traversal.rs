//! NATs, relaying and failures on a virtual clock.

mod sim;

use node::core::info::NetworkStatus;
use protocol::NetworkId;
use sim::{Nat, Weather, World, is_direct, reaches};

const CALM: Weather = Weather { latency: (10, 20), loss: 0 };

/// Root and controller, and two hosts behind NATs, in one private network with both authorized.
fn pair(a: Nat, b: Nat, weather: Weather) -> (World, NetworkId) {
    let mut world = World::new(3, weather);
    for kind in [a, b] {
        let nat = world.add_nat(kind);
        world.add_host(Some(nat));
    }
    let network = world.create_network(r#"{"name":"pair"}"#);
    for host in [1, 2] {
        let path = format!("/controller/network/{network}/member/{}", world.address(host));
        world.http("POST", &path, r#"{"authorized":true}"#);
        world.join(host, network);
    }
    let joined = world.run_until(10_000, |w| {
        [1, 2].iter().all(|h| w.hosts[*h].status.get(&network) == Some(&NetworkStatus::Ok))
    });
    assert!(joined, "both join within ten seconds");
    (world, network)
}

/// Whether hole punching can work between two kinds of NAT without guessing ports.
fn can_go_direct(a: Nat, b: Nat) -> bool {
    let (easy, hard) = (a.min(b), a.max(b));
    hard != Nat::Symmetric || easy <= Nat::Restricted
}

#[test]
fn every_pair_of_nats_talks_and_goes_direct_where_that_is_possible() {
    let kinds = [Nat::FullCone, Nat::Restricted, Nat::PortRestricted, Nat::Symmetric];
    for a in kinds {
        for b in kinds {
            let (mut world, network) = pair(a, b, CALM);
            assert!(reaches(&mut world, network, 1, 2, 5_000), "{a:?} reaches {b:?}");
            assert!(reaches(&mut world, network, 2, 1, 5_000), "{b:?} reaches {a:?}");
            let direct = world.run_until(60_000, |w| is_direct(w, 1, 2) && is_direct(w, 2, 1));
            assert_eq!(direct, can_go_direct(a, b), "{a:?} and {b:?}");
        }
    }
}

#[test]
fn a_direct_path_outlives_the_root() {
    let (mut world, network) = pair(Nat::PortRestricted, Nat::PortRestricted, CALM);
    assert!(reaches(&mut world, network, 1, 2, 5_000));
    assert!(world.run_until(70_000, |w| is_direct(w, 1, 2) && is_direct(w, 2, 1)));
    world.stop(0);
    for _ in 0..20 {
        world.run(30_000);
        assert!(reaches(&mut world, network, 1, 2, 2_000), "still direct at {:?}", world.now);
        assert!(reaches(&mut world, network, 2, 1, 2_000));
    }
}

#[test]
fn without_a_direct_way_the_root_relays() {
    let (mut world, network) = pair(Nat::FullCone, Nat::FullCone, CALM);
    world.cut.insert((1, 2));
    for _ in 0..5 {
        assert!(reaches(&mut world, network, 1, 2, 5_000));
        assert!(reaches(&mut world, network, 2, 1, 5_000));
        world.run(20_000);
    }
    assert!(!is_direct(&world, 1, 2));
}

#[test]
fn a_direct_way_that_breaks_falls_back_to_the_root_at_once() {
    let (mut world, network) = pair(Nat::FullCone, Nat::PortRestricted, CALM);
    assert!(reaches(&mut world, network, 1, 2, 5_000));
    assert!(world.run_until(70_000, |w| is_direct(w, 1, 2) && is_direct(w, 2, 1)));
    world.cut.insert((1, 2));
    assert!(reaches(&mut world, network, 1, 2, 3_500), "relayed after the direct path died");
    world.cut.clear();
    let direct = world.run_until(90_000, |w| {
        let now = w.now;
        let _ = reaches(w, network, 1, 2, 1_000);
        assert!(w.now > now);
        is_direct(w, 1, 2)
    });
    assert!(direct, "direct again when the way is free");
}

#[test]
fn heavy_loss_and_reordering_only_cost_time() {
    let (mut world, network) =
        pair(Nat::PortRestricted, Nat::Restricted, Weather { latency: (10, 200), loss: 0 });
    world.weather.loss = 200;
    for _ in 0..10 {
        assert!(reaches(&mut world, network, 1, 2, 20_000));
        assert!(reaches(&mut world, network, 2, 1, 20_000));
    }
}

#[test]
fn deauthorization_stops_traffic_at_once() {
    let (mut world, network) = pair(Nat::FullCone, Nat::FullCone, CALM);
    assert!(reaches(&mut world, network, 1, 2, 5_000));
    let path = format!("/controller/network/{network}/member/{}", world.address(1));
    world.http("POST", &path, r#"{"authorized":false}"#);
    world.run(1_000);
    assert!(!reaches(&mut world, network, 1, 2, 10_000), "the revoked member is not heard");
    assert!(
        world.run_until(70_000, |w| w.hosts[1].status.get(&network) == Some(&NetworkStatus::AccessDenied))
    );
    world.http("POST", &path, r#"{"authorized":true}"#);
    assert!(world.run_until(70_000, |w| w.hosts[1].status.get(&network) == Some(&NetworkStatus::Ok)));
    assert!(reaches(&mut world, network, 1, 2, 10_000), "authorized again");
}

#[test]
fn two_hosts_behind_one_nat_find_each_other_inside() {
    let mut world = World::new(5, CALM);
    let nat = world.add_nat(Nat::Symmetric);
    world.add_host(Some(nat));
    world.add_host(Some(nat));
    let network = world.create_network(r#"{"name":"neighbours","private":false}"#);
    world.join(1, network);
    world.join(2, network);
    assert!(world.run_until(10_000, |w| [1, 2].iter().all(|h| w.hosts[*h].status.contains_key(&network))));
    assert!(reaches(&mut world, network, 1, 2, 5_000));
    assert!(reaches(&mut world, network, 2, 1, 5_000));
    assert!(world.run_until(30_000, |w| is_direct(w, 1, 2)), "by their inside addresses");
}

/// Where a host behind NATs sent datagrams that no provider should see: private addresses that are not on its link.
fn private_probes(world: &World, host: usize) -> Vec<std::net::SocketAddr> {
    let away = |e: &&std::net::SocketAddr| matches!(e.ip(), std::net::IpAddr::V4(ip) if ip.octets()[..3] == [192, 168, 1]);
    world.hosts[host].contacted.iter().filter(away).copied().collect()
}

#[test]
fn in_a_cloud_no_private_address_off_the_link_is_tried() {
    for cloud in [false, true] {
        let mut world = World::new(8, CALM);
        let nats = [Nat::PortRestricted, Nat::FullCone].map(|kind| world.add_nat(kind));
        for nat in nats {
            world.add_host(Some(nat));
        }
        let network = world.create_network(r#"{"name":"kind","private":false}"#);
        // The emulator's internet is made of shared addresses, so that counts as a link here; 192.168.1.0/24 does not.
        let on_link =
            cloud.then(|| vec!["100.64.0.0/10".parse().unwrap(), "192.168.7.0/24".parse().unwrap()]);
        world.hosts[1].core.confine_probes(on_link);
        for host in [1, 2] {
            world.join(host, network);
        }
        assert!(
            world.run_until(10_000, |w| [1, 2].iter().all(|h| w.hosts[*h].status.contains_key(&network)))
        );
        assert!(reaches(&mut world, network, 1, 2, 5_000) && reaches(&mut world, network, 2, 1, 5_000));
        assert!(world.run_until(60_000, |w| is_direct(w, 1, 2)), "by the outside addresses");
        world.run(300_000);
        assert_eq!(private_probes(&world, 1).is_empty(), cloud, "{:?}", private_probes(&world, 1));
        assert!(!private_probes(&world, 2).is_empty(), "the other one is no cloud");
    }
}

#[test]
fn in_a_cloud_neighbours_on_the_link_are_still_found() {
    let mut world = World::new(5, CALM);
    let nat = world.add_nat(Nat::Symmetric);
    for host in [1, 2] {
        world.add_host(Some(nat));
        world.hosts[host].core.confine_probes(Some(vec!["192.168.1.0/24".parse().unwrap()]));
    }
    let network = world.create_network(r#"{"name":"neighbours","private":false}"#);
    world.join(1, network);
    world.join(2, network);
    assert!(world.run_until(10_000, |w| [1, 2].iter().all(|h| w.hosts[*h].status.contains_key(&network))));
    assert!(reaches(&mut world, network, 1, 2, 5_000));
    assert!(world.run_until(30_000, |w| is_direct(w, 1, 2)), "by their inside addresses");
}
