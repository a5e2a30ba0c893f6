//! Which paths it learns, keeps and takes.

use protocol::NetworkId;
use protocol::verbs::{OkHeader, PushDirectPaths, PushedPath, Rendezvous};

use super::*;

const LATER: &str = "100.64.1.1:4000";

fn met(scene: &mut Scene) -> Other {
    let mut other = Other::new(1, "100.64.1.1:9993", 9);
    scene.meet(&mut other);
    other
}

/// A packet that makes the other one worth keeping in contact with.
fn request(other: &mut Other) -> Vec<u8> {
    other.seal(Verb::NetworkConfigRequest, &[0; 28])
}

#[test]
fn a_path_is_known_when_it_has_answered_there() {
    let mut scene = Scene::new();
    let mut other = Other::new(1, "100.64.1.1:9993", 9);
    let hello = other.hello(at(HERE));
    scene.feed(other.at, &hello);
    assert_eq!(scene.double.path_to(scene.now, other.address()), None, "who greets may be anywhere");
    // An answer to something that it did not ask is none.
    let mut forged = Vec::new();
    OkHeader { in_re_verb: Verb::Echo as u8, in_re_id: 0x1234 << 40, body: &[] }.write(&mut forged);
    let forged = other.seal(Verb::Ok, &forged);
    scene.feed(other.at, &forged);
    assert_eq!(scene.double.path_to(scene.now, other.address()), None);
    scene.answer_all(&mut other);
    assert_eq!(scene.double.path_to(scene.now, other.address()), Some(other.at));
}

#[test]
fn another_port_of_an_address_is_learned_when_the_first_has_been_silent_for_19_s() {
    let mut scene = Scene::new();
    let mut other = met(&mut scene);
    let before = other.at;
    other.at = at(LATER);
    let begun = scene.now;
    let mut learned = None;
    while learned.is_none() && scene.now - begun < Span::ms(30_000) {
        let nop = other.seal(Verb::Nop, b"");
        scene.feed(other.at, &nop);
        scene.answer_all(&mut other);
        if scene.double.path_to(scene.now, other.address()) == Some(other.at) {
            learned = Some((scene.now - begun).as_ms());
        } else {
            assert_eq!(scene.double.path_to(scene.now, other.address()), Some(before));
        }
        scene.pass(100);
        scene.sent.clear();
    }
    assert_eq!(learned, Some(19_000));
    let paths = scene.double.paths_of(other.address());
    assert_eq!(paths, [(other.at, 1)], "it is in the place of the other");
}

#[test]
fn another_address_is_learned_at_once_beside_the_first() {
    let mut scene = Scene::new();
    let mut other = met(&mut scene);
    other.at = at("100.64.2.1:9993");
    let nop = other.seal(Verb::Nop, b"");
    scene.feed(other.at, &nop);
    scene.answer_all(&mut other);
    assert_eq!(scene.double.paths_of(other.address()).len(), 2);
}

#[test]
fn a_path_that_died_is_taken_for_243_s_and_then_the_root() {
    let mut scene = Scene::new();
    let mut root = Other::new(0, ROOT, 9);
    scene.meet(&mut root);
    let other = met(&mut scene);
    let begun = scene.now;
    let network = NetworkId(other.address().to_u64() << 24 | 1);
    scene.double.join(network);
    while scene.now - begun < Span::ms(250_000) {
        scene.pass(100);
        for question in scene.taken(&root) {
            if matches!(question.verb, Verb::Hello | Verb::Echo) {
                let answer = root.ok(&question);
                scene.feed(root.at, &answer);
            }
        }
        let silent = (scene.now - begun).as_ms();
        let path = scene.double.path_to(scene.now, other.address());
        assert_eq!(path, (silent < 243_000).then_some(other.at), "after {silent} ms");
    }
    scene.sent.clear();
    scene.pass(60_000);
    let asked = scene.verbs(&other);
    assert!(asked.contains(&(Verb::NetworkConfigRequest, root.at)), "by the root: {asked:?}");
    assert!(!asked.iter().any(|(_, to)| *to == other.at), "{asked:?}");
}

#[test]
fn an_active_peer_gets_heartbeats_of_14_s_and_a_greeting_every_minute() {
    let mut scene = Scene::new();
    let mut other = met(&mut scene);
    let active = request(&mut other);
    scene.feed(other.at, &active);
    let begun = scene.now;
    scene.sent.clear();
    let mut seen = Vec::new();
    while scene.now - begun < Span::ms(120_000) {
        scene.pass(500);
        for question in scene.taken(&other) {
            seen.push((question.verb, (scene.now - begun).as_ms()));
            let answer = other.ok(&question);
            scene.feed(other.at, &answer);
        }
    }
    // The check comes every 5 s, so 14 s are 15.
    let hellos: Vec<i64> = seen.iter().filter(|(verb, _)| *verb == Verb::Hello).map(|(_, ms)| *ms).collect();
    let echos: Vec<i64> = seen.iter().filter(|(verb, _)| *verb == Verb::Echo).map(|(_, ms)| *ms).collect();
    assert_eq!(hellos.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>(), [60_000], "{seen:?}");
    assert!(echos.windows(2).all(|pair| [15_000, 30_000].contains(&(pair[1] - pair[0]))), "{seen:?}");
    assert!(echos.len() >= 5, "{seen:?}");
}

#[test]
fn nobody_who_is_not_active_gets_any() {
    let mut scene = Scene::new();
    let other = met(&mut scene);
    scene.pass(120_000);
    assert!(scene.taken(&other).is_empty());
}

#[test]
fn a_redirection_is_obeyed_at_once_whoever_says_so() {
    let mut scene = Scene::new();
    let mut other = met(&mut scene);
    let target = at("100.64.7.1:9993");
    let mut body = Vec::new();
    PushDirectPaths(vec![PushedPath { flags: 0x02, endpoint: target }]).write(&mut body);
    let push = other.seal(Verb::PushDirectPaths, &body);
    scene.feed(other.at, &push);
    assert_eq!(scene.double.path_to(scene.now, other.address()), Some(target), "before it has answered");
    assert_eq!(scene.double.paths_of(other.address()), [(target, 3)], "others are gone");
    assert_eq!(scene.verbs(&other), [(Verb::Hello, target)]);
    // A record that says "forget" has no effect.
    let mut body = Vec::new();
    PushDirectPaths(vec![PushedPath { flags: 0x01, endpoint: target }]).write(&mut body);
    let push = other.seal(Verb::PushDirectPaths, &body);
    scene.feed(target, &push);
    assert_eq!(scene.double.path_to(scene.now, other.address()), Some(target));
}

#[test]
fn a_root_that_introduces_somebody_is_believed_and_nobody_else() {
    let mut scene = Scene::new();
    let mut root = Other::new(0, ROOT, 9);
    scene.meet(&mut root);
    let mut other = met(&mut scene);
    let third = Other::new(2, "100.64.2.1:9993", 9);
    let mut body = Vec::new();
    let endpoint = at("100.64.1.1:7777");
    Rendezvous { peer: other.address(), endpoint }.write(&mut body);
    let of_other = other.seal(Verb::Rendezvous, &body);
    scene.feed(other.at, &of_other);
    assert!(scene.taken(&other).is_empty(), "from a member it is nothing");
    let of_root = root.seal(Verb::Rendezvous, &body);
    scene.feed(root.at, &of_root);
    let punched: Vec<_> = scene
        .sent
        .iter()
        .filter(|(to, ttl, data)| (*to, *ttl, data.len()) == (endpoint, Some(2), 4))
        .collect();
    assert_eq!(punched.len(), 1, "its NAT is opened");
    assert_eq!(scene.verbs(&other), [(Verb::Echo, endpoint)]);
    let mut body = Vec::new();
    Rendezvous { peer: third.address(), endpoint }.write(&mut body);
    let of_stranger = root.seal(Verb::Rendezvous, &body);
    scene.feed(root.at, &of_stranger);
    assert!(scene.sent.iter().all(|(to, ..)| *to != endpoint), "of whom it does not know it makes nothing");
}

#[test]
fn when_a_root_sees_it_elsewhere_every_path_has_to_prove_itself() {
    let mut scene = Scene::new();
    let mut root = Other::new(0, ROOT, 9);
    scene.meet(&mut root);
    let mut other = met(&mut scene);
    let told = |scene: &mut Scene, root: &mut Other, seen_as: &str| {
        let hello = root.hello(at(seen_as));
        scene.feed(root.at, &hello);
    };
    told(&mut scene, &mut root, "100.64.9.1:1234");
    assert!(scene.double.path_to(scene.now, other.address()).is_some(), "another port is no move");
    scene.sent.clear();
    told(&mut scene, &mut root, "100.64.10.1:9993");
    assert_eq!(scene.double.path_to(scene.now, other.address()), None);
    let asked = scene.sent.clone();
    assert_eq!(other.open(&asked).len(), 1);
    scene.answer_all(&mut other);
    assert_eq!(scene.double.path_to(scene.now, other.address()), Some(other.at), "it has answered");
}

#[test]
fn its_network_card_gets_another_address_and_it_finds_out_within_half_a_minute() {
    let mut scene = Scene::new();
    let mut other = met(&mut scene);
    scene.pass(12_000);
    scene.sent.clear();
    scene.double.set_interface(at("100.64.9.41:9993"));
    let echo = other.seal(Verb::Echo, b"");
    scene.feed(other.at, &echo);
    assert!(scene.sent.is_empty(), "its socket is bound to what is no address any more");
    scene.pass(18_500);
    let echo = other.seal(Verb::Echo, b"");
    scene.feed(other.at, &echo);
    assert!(scene.verbs(&other).iter().any(|(verb, _)| *verb == Verb::Ok));
}

#[test]
fn members_are_told_its_addresses_every_15_s_by_relay_and_every_2_min_directly() {
    for (hops, every) in [(0, 120_000), (1, 15_000)] {
        let mut scene = Scene::new();
        let mut root = Other::new(0, ROOT, 9);
        scene.meet(&mut root);
        let mut other = Other::new(1, "100.64.1.1:9993", 9);
        let network = super::roles::join(&mut scene, &mut root);
        let mut hello = other.hello(at(HERE));
        packet::increment_hops(&mut hello);
        scene.feed(root.at, &hello);
        let mut pushes = Vec::new();
        let begun = scene.now;
        while scene.now - begun < Span::ms(245_000) {
            let body = [&network.0.to_be_bytes()[..], &[0x88, 0xb5], &[0; 20]].concat();
            let mut frame = other.seal(Verb::Frame, &body);
            let from = if hops == 0 { other.at } else { root.at };
            if hops > 0 {
                packet::increment_hops(&mut frame);
            }
            scene.feed(from, &frame);
            let pushed = scene.taken(&other).iter().any(|packet| packet.verb == Verb::PushDirectPaths);
            if pushed {
                pushes.push((scene.now - begun).as_ms());
            }
            scene.pass(1_000);
        }
        let gaps: Vec<i64> = pushes.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(!gaps.is_empty() && gaps.iter().all(|gap| *gap == every), "{hops} hops: {pushes:?}");
        assert!(scene.double.trusts(scene.now, other.address()));
    }
}
