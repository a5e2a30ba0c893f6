//! What it answers, and how often.

use protocol::verbs::{Error, OkHeader, OkWhois, PushDirectPaths, PushedPath, Whois, error_code};

use super::*;

/// A member known on a path, at another /24 than everybody else.
fn met(scene: &mut Scene) -> Other {
    let mut other = Other::new(1, "100.64.1.1:9993", 9);
    scene.meet(&mut other);
    other
}

fn count(scene: &mut Scene, other: &Other, verb: Verb) -> usize {
    scene.taken(other).iter().filter(|packet| packet.verb == verb).count()
}

#[test]
fn of_a_path_one_echo_is_answered_in_166_ms() {
    let mut scene = Scene::new();
    let mut other = met(&mut scene);
    let mut answered = Vec::new();
    for ms in 0..=332 {
        let echo = other.seal(Verb::Echo, b"whatever it is");
        scene.feed(other.at, &echo);
        for answer in scene.taken(&other) {
            let ok = OkHeader::parse(&answer.payload).unwrap();
            assert_eq!((ok.in_re_id, ok.body), (packet::id(&echo), &b"whatever it is"[..]));
            answered.push(ms);
        }
        scene.now += Span::ms(1);
    }
    assert_eq!(answered, [0, 166, 332]);
    assert_eq!(scene.double.tally.of(other.address(), Verb::Echo), (3, 330));
    // Another path has a gate of its own.
    let echo = other.seal(Verb::Echo, b"");
    scene.feed(at("100.64.1.1:9994"), &echo);
    assert_eq!(count(&mut scene, &other, Verb::Ok), 1);
}

#[test]
fn what_its_gate_drops_is_no_sign_of_life() {
    for (verb, asks) in [(Verb::Echo, false), (Verb::Nop, true)] {
        let mut scene = Scene::new();
        let mut other = met(&mut scene);
        // From a new place, which it asks once in a second: what comes last comes when it would ask again.
        let mut asked = Vec::new();
        for (ms, verb) in [(0, Verb::Echo), (950, Verb::Echo), (1_050, verb)] {
            scene.now = START + Span::ms(ms);
            let packet = other.seal(verb, b"");
            scene.feed(at("100.64.2.1:9993"), &packet);
            asked.push(count(&mut scene, &other, Verb::Hello) > 0);
        }
        assert_eq!(asked, [true, false, asks], "{verb}");
    }
}

#[test]
fn every_hello_of_whom_it_knows_is_answered() {
    let mut scene = Scene::new();
    let mut other = met(&mut scene);
    for _ in 0..20 {
        let hello = other.hello(at(HERE));
        scene.feed(other.at, &hello);
    }
    assert_eq!(count(&mut scene, &other, Verb::Ok), 20);
}

#[test]
fn of_a_neighbourhood_it_gets_to_know_one_stranger_in_two_seconds() {
    let mut scene = Scene::new();
    let mut first = Other::new(1, "100.64.1.1:9993", 9);
    let mut second = Other::new(2, "100.64.1.2:9993", 9);
    let mut elsewhere = Other::new(3, "100.64.3.1:9993", 9);
    let hello = first.hello(at(HERE));
    scene.feed(first.at, &hello);
    for ms in [0, 1_999, 2_000] {
        scene.now = START + Span::ms(ms);
        let hello = second.hello(at(HERE));
        scene.feed(second.at, &hello);
        assert_eq!(scene.double.knows(second.address()), ms == 2_000, "after {ms} ms");
        if ms == 0 {
            let hello = elsewhere.hello(at(HERE));
            scene.feed(elsewhere.at, &hello);
            assert!(scene.double.knows(elsewhere.address()), "another neighbourhood");
        }
    }
    assert_eq!(scene.double.tally.of(second.address(), Verb::Hello), (1, 2));
}

#[test]
fn a_second_owner_of_an_address_is_told_so_as_rarely() {
    let mut scene = Scene::new();
    let other = met(&mut scene);
    // Other keys under the same address.
    let text = identity(2).to_secret_string();
    let secret = SecretIdentity::parse(&format!("{}{}", other.address(), &text[10..])).unwrap();
    let keys = SessionKeys::new(&secret.agree(identity(9).identity()).unwrap());
    let mut clone = Other { secret, double: other.double, keys, at: at("100.64.5.1:9993"), next: 77 << 40 };
    let mut told = 0;
    for _ in 0..5 {
        let hello = clone.hello(at(HERE));
        scene.feed(clone.at, &hello);
        for packet in scene.taken(&other) {
            assert_eq!((packet.verb, packet.to), (Verb::Error, clone.at));
            assert_eq!(Error::parse(&packet.payload).unwrap().code, error_code::IDENTITY_COLLISION);
            told += 1;
        }
    }
    assert_eq!(told, 1);
}

#[test]
fn of_a_peer_one_whois_is_answered_in_100_ms_and_by_a_root_every_one() {
    for (mut scene, number, expected) in
        [(Scene::new(), 9, vec![0, 100, 200]), (Scene::root(), 0, (0..=200).collect())]
    {
        let mut other = Other::new(1, "100.64.1.1:9993", number);
        let hello = other.hello(at(HERE));
        scene.feed(other.at, &hello);
        scene.taken(&other);
        let own = scene.double.address();
        let mut answered = Vec::new();
        for ms in 0..=200 {
            let mut body = Vec::new();
            Whois(vec![own, other.address()]).write(&mut body);
            let whois = other.seal(Verb::Whois, &body);
            scene.feed(other.at, &whois);
            for packet in scene.taken(&other).iter().filter(|packet| packet.verb == Verb::Ok) {
                let found = OkWhois::parse(OkHeader::parse(&packet.payload).unwrap().body).unwrap();
                assert_eq!(found.0.len(), 2, "itself and whom it knows");
                answered.push(ms);
            }
            scene.now += Span::ms(1);
        }
        assert_eq!(answered, expected);
    }
}

fn push(other: &mut Other, endpoints: &[SocketAddr]) -> Vec<u8> {
    let mut body = Vec::new();
    PushDirectPaths(endpoints.iter().map(|endpoint| PushedPath { flags: 0, endpoint: *endpoint }).collect())
        .write(&mut body);
    other.seal(Verb::PushDirectPaths, &body)
}

#[test]
fn it_acts_on_eight_pushes_in_a_row_and_is_deaf_until_none_has_come_for_half_a_minute() {
    let mut scene = Scene::new();
    let mut other = met(&mut scene);
    let mut acts = |scene: &mut Scene, wait: i64| {
        scene.pass(wait);
        scene.taken(&other);
        let push = push(&mut other, &[at("100.64.1.77:4000")]);
        scene.feed(other.at, &push);
        scene.verbs(&other).contains(&(Verb::Echo, at("100.64.1.77:4000")))
    };
    for number in 0..8 {
        assert!(acts(&mut scene, 1_000), "push {number}");
    }
    for wait in [1_000, 29_000, 30_000] {
        assert!(!acts(&mut scene, wait), "{wait} ms after the last one it is deaf");
    }
    assert!(acts(&mut scene, 30_001));
    assert_eq!(scene.double.tally.of(other.address(), Verb::PushDirectPaths), (9, 3));
    assert_eq!(scene.double.tally.pushes[&other.address()], 11);
}

#[test]
fn of_a_push_it_tries_eight_addresses_of_a_scope() {
    let mut scene = Scene::new();
    let mut other = met(&mut scene);
    let private: Vec<SocketAddr> = (1..20).map(|n| SocketAddr::from(([10, 0, 0, n], 9993))).collect();
    let global: Vec<SocketAddr> = (1..20).map(|n| SocketAddr::from(([8, 0, 0, n], 9993))).collect();
    // What nobody may be reached at, and where it is known already, is not tried.
    let never = [at("127.0.0.1:9993"), at("224.0.0.1:9993"), other.at];
    let push = push(&mut other, &[&never[..], &private, &global].concat());
    scene.feed(other.at, &push);
    let tried: Vec<SocketAddr> = scene.verbs(&other).into_iter().map(|(_, to)| to).collect();
    assert_eq!(tried, [&private[..8], &global[..8]].concat());
}

#[test]
fn a_place_that_is_new_is_asked_once_in_a_second() {
    let mut scene = Scene::new();
    let mut other = met(&mut scene);
    let mut asked = Vec::new();
    for ms in 0..2_500 {
        if ms % 10 == 0 {
            let nop = other.seal(Verb::Nop, b"");
            scene.feed(at("100.64.8.1:9993"), &nop);
            asked.extend(scene.verbs(&other).into_iter().map(|(verb, to)| (ms, verb, to)));
        }
        scene.now += Span::ms(1);
    }
    let place = at("100.64.8.1:9993");
    assert_eq!(asked, [0, 1_010, 2_020].map(|ms| (ms, Verb::Hello, place)));
}

#[test]
fn of_a_peer_credentials_are_taken_once_in_a_second() {
    let mut scene = Scene::new();
    let mut other = met(&mut scene);
    for wait in [0, 999, 1, 1] {
        scene.now += Span::ms(wait);
        let credentials = other.seal(Verb::NetworkCredentials, &[0; 9]);
        scene.feed(other.at, &credentials);
    }
    assert_eq!(scene.double.tally.of(other.address(), Verb::NetworkCredentials), (2, 2));
}

#[test]
fn one_beacon_is_answered_in_two_and_a_half_seconds_whoever_sends_it() {
    let mut scene = Scene::new();
    let other = met(&mut scene);
    let beacon = [&[0; 8][..], &other.address().to_bytes()].concat();
    let mut answered = Vec::new();
    for ms in [0, 1, 2_499, 2_500] {
        scene.now = START + Span::ms(ms);
        scene.feed(at(&format!("100.64.1.1:{}", 5_000 + ms)), &beacon);
        answered.extend(scene.verbs(&other).into_iter().map(|(verb, _)| (ms, verb)));
    }
    assert_eq!(answered, [(0, Verb::Nop), (2_500, Verb::Nop)]);
}

#[test]
fn without_a_bond_its_messages_are_nothing() {
    let mut scene = Scene::new();
    let mut other = met(&mut scene);
    for verb in [Verb::Ack, Verb::QosMeasurement, Verb::PathNegotiationRequest] {
        let packet = other.seal(verb, &[0; 10]);
        scene.feed(at("100.64.8.1:9993"), &packet);
        assert!(scene.taken(&other).is_empty(), "{verb}: not even a sign of life");
    }
}

#[test]
fn it_asks_who_somebody_is_once_in_half_a_second() {
    let mut scene = Scene::new();
    let mut root = Other::new(0, ROOT, 9);
    scene.meet(&mut root);
    let mut stranger = Other::new(1, "100.64.1.1:9993", 9);
    let begun = scene.now;
    let mut asked = Vec::new();
    while scene.now - begun < Span::ms(1_600) {
        let nop = stranger.seal(Verb::Nop, b"");
        scene.feed(stranger.at, &nop);
        for packet in scene.taken(&root).into_iter().filter(|packet| packet.verb == Verb::Whois) {
            if Whois::parse(&packet.payload).unwrap().0 == [stranger.address()] {
                asked.push((scene.now - begun).as_ms());
            }
        }
        scene.now += Span::ms(20);
    }
    assert_eq!(asked, [0, 500, 1_000, 1_500]);
}

#[test]
fn a_hint_of_its_user_is_tried_once_in_half_a_minute() {
    let mut scene = Scene::new();
    let mut root = Other::new(0, ROOT, 9);
    scene.meet(&mut root);
    let mut other = Other::new(1, "100.64.1.1:9993", 9);
    // By a relay: there is no direct path.
    let mut hello = other.hello(at(HERE));
    packet::increment_hops(&mut hello);
    scene.feed(root.at, &hello);
    let hint = at("100.64.1.99:9993");
    scene.double.set_hints(other.address(), vec![hint]);
    let network = protocol::NetworkId(other.address().to_u64() << 24 | 1);
    let answers = |scene: &mut Scene| {
        scene.double.join(network);
        scene.pass(60_000);
        scene.verbs(&other).iter().filter(|(verb, to)| *verb == Verb::Hello && *to == hint).count()
    };
    assert_eq!(answers(&mut scene), 2, "it asks its controller every five seconds");
}
