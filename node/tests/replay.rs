//! Recorded packets: from where and whenever they come again, they have no effect; and whoever has a reason to look like a recording
//! (it was started anew, its clock was set back, it is another program now) is heard again within one probe.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod sim;

use std::net::SocketAddr;

use node::core::event::{Cipher, Settings};
use node::core::info::NetworkStatus;
use protocol::packet;
use protocol::verb::Verb;
use protocol::{NetworkId, Span};
use sim::{Nat, Weather, World, frame_between, reaches};

const CALM: Weather = Weather { latency: (10, 12), loss: 0 };
const YEAR: Span = Span::secs(365 * 86_400);
/// A frame, a probe and its answer there and back, and the frame once more a second later.
const ONE_PROBE: i64 = 1_100;

fn settings(cipher: Cipher) -> Settings {
    Settings { cipher, ..Settings::default() }
}

/// Two members at public addresses that have talked for some time.
fn talking(cipher: Cipher) -> (World, NetworkId) {
    let mut world = World::new(5, CALM);
    for _ in 0..2 {
        world.add_host(None);
    }
    let network = world.create_network(r#"{"name":"replay"}"#);
    for host in [1, 2] {
        world.hosts[host].core.set_settings(settings(cipher));
        let path = format!("/controller/network/{network}/member/{}", world.address(host));
        world.http("POST", &path, r#"{"authorized":true}"#);
        world.join(host, network);
    }
    let up =
        |w: &mut World| [1, 2].iter().all(|h| w.hosts[*h].status.get(&network) == Some(&NetworkStatus::Ok));
    assert!(world.run_until(10_000, up));
    assert!(reaches(&mut world, network, 1, 2, 5_000) && reaches(&mut world, network, 2, 1, 5_000));
    world.run(5_000);
    (world, network)
}

/// The datagrams that bring one frame from host 1 to host 2, and from where.
fn recorded(world: &mut World, network: NetworkId, text: &[u8]) -> (SocketAddr, Vec<u8>) {
    let frame = frame_between(world, network, 1, 2, text);
    world.recorded = Some(Vec::new());
    world.send_frame(1, network, &frame);
    world.run(100);
    let mut seen = world.recorded.take().unwrap();
    seen.retain(|(host, _, data)| *host == 2 && data.len() > 28 + text.len());
    assert_eq!(seen.len(), 1);
    let (_, from, data) = seen.remove(0);
    (from, data)
}

/// How often a frame with this text came out of the port of host 2.
fn times(world: &World, text: &[u8]) -> usize {
    world.hosts[2].received.iter().filter(|(_, frame)| frame.ends_with(text)).count()
}

fn elsewhere() -> SocketAddr {
    "203.0.113.7:6666".parse().unwrap()
}

#[test]
fn a_hundred_replays_of_one_datagram_are_one_frame() {
    for cipher in [Cipher::AesGmacSiv, Cipher::Salsa20] {
        let (mut world, network) = talking(cipher);
        let (from, data) = recorded(&mut world, network, b"once");
        for n in 0..100 {
            world.inject(2, if n % 2 == 0 { from } else { elsewhere() }, &data);
        }
        assert_eq!(times(&world, b"once"), 1, "{cipher:?}");
        let known = world.hosts[2].core.view().peers(world.now);
        assert!(known.iter().flat_map(|p| &p.paths).all(|path| path.address != elsewhere()), "{cipher:?}");
        assert!(reaches(&mut world, network, 1, 2, ONE_PROBE));
    }
}

#[test]
fn a_replay_has_no_effect_whenever_it_comes() {
    for (cipher, exact) in [(Cipher::AesGmacSiv, true), (Cipher::Salsa20, false)] {
        for after in [1, 100, 1_900, 10_000, 600_000] {
            let (mut world, network) = talking(cipher);
            let (from, data) = recorded(&mut world, network, b"once");
            // Whatever else is said pushes IDs out that are older than two seconds.
            let end = world.now + Span::ms(after - 100);
            while world.now < end {
                let frame = frame_between(&world, network, 1, 2, b"more");
                for _ in 0..8 {
                    world.send_frame(1, network, &frame);
                }
                world.run((end - world.now).as_ms().min(after / 4 + 1));
            }
            for from in [from, elsewhere()] {
                world.inject(2, from, &data);
            }
            let seen = times(&world, b"once");
            if exact || after < 2_000 {
                assert_eq!(seen, 1, "{cipher:?} after {after} ms");
            } else {
                // What remains where packets carry no number: two seconds later it passes once more, and no more often.
                assert!(seen <= 2, "{cipher:?} after {after} ms");
            }
        }
    }
}

#[test]
fn a_large_window_takes_what_is_reordered_and_each_once() {
    let (mut world, network) = talking(Cipher::AesGmacSiv);
    world.recorded = Some(Vec::new());
    world.stop(2);
    world.hosts[2].up = true;
    for n in 0..500u32 {
        let frame = frame_between(&world, network, 1, 2, format!("frame {n:04}").as_bytes());
        if let Some(joined) = world.hosts[1].core.joined(network) {
            joined.frame(world.now, &frame);
        }
    }
    let sent = std::mem::take(world.hosts[1].core.outbox());
    let mut datagrams: Vec<Vec<u8>> = sent.datagrams.iter().map(|(_, data)| data.to_vec()).collect();
    datagrams.reverse();
    let from = world.hosts[1].inside;
    for data in datagrams.iter().chain(&datagrams) {
        world.inject(2, from, data);
    }
    for n in 0..500u32 {
        assert_eq!(times(&world, format!("frame {n:04}").as_bytes()), 1, "{n}");
    }
}

#[test]
fn a_peer_started_anew_is_heard_within_one_probe() {
    for pause in [0, 60_000, 3 * 3_600_000] {
        let (mut world, network) = talking(Cipher::AesGmacSiv);
        world.stop(1);
        world.run(pause);
        world.restart(1, 1);
        world.join(1, network);
        let ok = |w: &mut World| w.hosts[1].status.get(&network) == Some(&NetworkStatus::Ok);
        assert!(world.run_until(10_000, ok));
        assert!(reaches(&mut world, network, 1, 2, 2 * ONE_PROBE), "after {pause} ms");
        assert!(reaches(&mut world, network, 2, 1, 2 * ONE_PROBE), "after {pause} ms");
    }
}

#[test]
fn a_peer_whose_clock_went_back_a_year_is_heard_within_one_probe_and_its_past_is_not() {
    let (mut world, network) = talking(Cipher::AesGmacSiv);
    let (from, data) = recorded(&mut world, network, b"before");
    world.hosts[1].ahead = -YEAR;
    world.hosts[1].status.clear();
    world.restart(1, 1);
    world.join(1, network);
    let ok = |w: &mut World| w.hosts[1].status.get(&network) == Some(&NetworkStatus::Ok);
    // Its certificate is from the future, by its clock, and its controller says that all is well.
    assert!(world.run_until(10_000, ok));
    assert!(reaches(&mut world, network, 1, 2, 2 * ONE_PROBE));
    assert!(reaches(&mut world, network, 2, 1, 2 * ONE_PROBE));
    world.inject(2, from, &data);
    world.inject(2, elsewhere(), &data);
    assert_eq!(times(&world, b"before"), 1);
    assert!(reaches(&mut world, network, 1, 2, ONE_PROBE));
}

#[test]
fn another_cipher_after_a_restart_is_taken_within_one_probe_both_ways() {
    let (mut world, network) = talking(Cipher::AesGmacSiv);
    for (round, cipher) in [Cipher::Salsa20, Cipher::AesGmacSiv, Cipher::Salsa20].into_iter().enumerate() {
        world.restart_with(1, 1, settings(cipher));
        world.join(1, network);
        let ok = |w: &mut World| w.hosts[1].status.get(&network) == Some(&NetworkStatus::Ok);
        assert!(world.run_until(10_000, ok));
        assert!(reaches(&mut world, network, 1, 2, 2 * ONE_PROBE), "{cipher:?}");
        assert!(reaches(&mut world, network, 2, 1, 2 * ONE_PROBE), "{cipher:?}");
        world.run(30_000);
        let text = format!("round {round}");
        let (from, data) = recorded(&mut world, network, text.as_bytes());
        world.inject(2, from, &data);
        world.inject(2, elsewhere(), &data);
        assert_eq!(times(&world, text.as_bytes()), 1);
    }
}

#[test]
fn an_old_hello_is_answered_and_changes_nothing() {
    let mut world = World::new(6, CALM);
    world.add_host(None);
    world.hosts[1].core.set_settings(settings(Cipher::Salsa20));
    world.recorded = Some(Vec::new());
    world.run(10_000);
    let old = world.recorded.take().unwrap();
    let hello = |(host, _, data): &&(usize, SocketAddr, Vec<u8>)| {
        *host == 0 && packet::suite(data) == 0 && packet::verb(data) == Some(Verb::Hello)
    };
    let (_, _, data) = old.iter().find(hello).unwrap();
    world.hosts[1].core.set_settings(settings(Cipher::AesGmacSiv));
    world.run(120_000);
    let us = world.address(1);
    let before = world.hosts[0].core.view().peers(world.now).into_iter().find(|p| p.address == us).unwrap();
    assert_eq!(before.protocol, 12);
    world.recorded = Some(Vec::new());
    let answers = world.hosts[0].core.view().counters().packets_out[Verb::Ok as usize];
    world.inject(0, elsewhere(), data);
    assert!(world.hosts[0].core.view().counters().packets_out[Verb::Ok as usize] > answers, "it is answered");
    world.run(1_000);
    let after = world.hosts[0].core.view().peers(world.now).into_iter().find(|p| p.address == us).unwrap();
    assert_eq!((after.protocol, after.paths.len()), (12, before.paths.len()));
}

#[test]
fn a_refusal_recorded_at_join_time_does_not_shut_out_later() {
    let mut world = World::new(7, CALM);
    world.add_host(None);
    let network = world.create_network(r#"{"name":"private"}"#);
    world.recorded = Some(Vec::new());
    world.join(1, network);
    let refused = |w: &mut World| w.hosts[1].status.get(&network) == Some(&NetworkStatus::AccessDenied);
    assert!(world.run_until(10_000, refused));
    let recorded = world.recorded.take().unwrap();
    let path = format!("/controller/network/{network}/member/{}", world.address(1));
    world.http("POST", &path, r#"{"authorized":true}"#);
    let ok = |w: &mut World| w.hosts[1].status.get(&network) == Some(&NetworkStatus::Ok);
    assert!(world.run_until(90_000, ok));
    for wait in [0, 40_000] {
        world.run(wait);
        for (host, from, data) in &recorded {
            if *host == 1 {
                world.inject(1, *from, data);
                assert!(ok(&mut world), "shut out by a recording");
            }
        }
    }
}

#[test]
fn behind_a_nat_that_changes_its_ports_a_peer_that_counts_stays_heard() {
    let mut world = World::new(8, Weather { latency: (10, 60), loss: 20 });
    for kind in [Nat::PortRestricted, Nat::FullCone] {
        let nat = world.add_nat(kind);
        world.add_host(Some(nat));
    }
    let network = world.create_network(r#"{"name":"roam"}"#);
    for host in [1, 2] {
        let path = format!("/controller/network/{network}/member/{}", world.address(host));
        world.http("POST", &path, r#"{"authorized":true}"#);
        world.join(host, network);
    }
    assert!(reaches(&mut world, network, 1, 2, 20_000));
    for _ in 0..5 {
        world.forget_mappings(0);
        assert!(reaches(&mut world, network, 1, 2, 30_000));
        assert!(reaches(&mut world, network, 2, 1, 30_000));
        world.run(30_000);
    }
}
