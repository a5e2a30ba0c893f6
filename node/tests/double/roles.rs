//! What it does as a member of a network, under a root, and as a root.

use protocol::netconf::NetworkConfig;
use protocol::verbs::{ConfigRequest, OkHeader, OkWhois, Rendezvous, Whois, config_chunk};
use protocol::{Mac, NetworkId};

use super::*;

/// The double joins a public network whose controller is its root.
pub(super) fn join(scene: &mut Scene, root: &mut Other) -> NetworkId {
    let network = NetworkId(root.address().to_u64() << 24 | 1);
    scene.double.join(network);
    scene.sent.clear();
    scene.pass(5_000);
    let requests: Vec<Opened> =
        scene.taken(root).into_iter().filter(|packet| packet.verb == Verb::NetworkConfigRequest).collect();
    let [request] = &requests[..] else { panic!("one request at the next check: {requests:?}") };
    assert_eq!(ConfigRequest::parse(&request.payload).unwrap().network, network);
    let mut config = NetworkConfig::new(network, scene.double.address(), scene.now);
    config.public = true;
    let dictionary = config.to_dictionary();
    let chunk = &config_chunk::cut(network, dictionary.as_bytes(), 0, 7, &root.secret)[0];
    let mut payload = Vec::new();
    OkHeader { in_re_verb: Verb::NetworkConfigRequest as u8, in_re_id: request.id, body: chunk }
        .write(&mut payload);
    let answer = root.seal(Verb::Ok, &payload);
    scene.feed(root.at, &answer);
    assert!(scene.double.is_member(network));
    network
}

#[test]
fn a_member_sends_and_gets_frames() {
    let mut scene = Scene::new();
    let mut root = Other::new(0, ROOT, 9);
    scene.meet(&mut root);
    let network = join(&mut scene, &mut root);
    let mut other = Other::new(1, "100.64.1.1:9993", 9);
    scene.meet(&mut other);
    let mac = |address| Mac::for_member(network, address).0;
    let (own, theirs) = (mac(scene.double.address()), mac(other.address()));
    let frame = [&theirs[..], &own, &[0x88, 0xb5], b"out"].concat();
    scene.double.frame(scene.now, network, &frame);
    scene.collect();
    let sent = scene.taken(&other);
    let [packet] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((packet.verb, packet.to), (Verb::Frame, other.at));
    assert_eq!(packet.payload, [&network.0.to_be_bytes()[..], &[0x88, 0xb5], b"out"].concat());
    let body = [&network.0.to_be_bytes()[..], &[0x88, 0xb5], b"in"].concat();
    let incoming = other.seal(Verb::Frame, &body);
    scene.feed(other.at, &incoming);
    // It does not know which packets it has had.
    scene.feed(other.at, &incoming);
    let expected = [&own[..], &theirs, &[0x88, 0xb5], b"in"].concat();
    assert_eq!(scene.double.received, [(network, expected.clone()), (network, expected)]);
    assert_eq!(scene.double.memberships().collect::<Vec<_>>(), [network]);
}

#[test]
fn what_a_stranger_says_waits_until_its_root_tells_who_that_is() {
    let mut scene = Scene::new();
    let mut root = Other::new(0, ROOT, 9);
    scene.meet(&mut root);
    let mut stranger = Other::new(1, "100.64.1.1:9993", 9);
    let echo = stranger.seal(Verb::Echo, b"who am I");
    scene.feed(stranger.at, &echo);
    let asked = scene.taken(&root);
    let [question] = &asked[..] else { panic!("{asked:?}") };
    scene.pass(2_000);
    assert!(scene.taken(&stranger).is_empty());
    let mut body = Vec::new();
    OkWhois(vec![stranger.secret.identity().clone()]).write(&mut body);
    let mut payload = Vec::new();
    OkHeader { in_re_verb: Verb::Whois as u8, in_re_id: question.id, body: &body }.write(&mut payload);
    // Only a root is believed.
    let mut liar = Other::new(2, "100.64.2.1:9993", 9);
    scene.meet(&mut liar);
    let lie = liar.seal(Verb::Ok, &payload);
    scene.feed(liar.at, &lie);
    assert!(!scene.double.knows(stranger.address()));
    let answer = root.seal(Verb::Ok, &payload);
    scene.feed(root.at, &answer);
    let said = scene.verbs(&stranger);
    assert_eq!(said, [(Verb::Ok, stranger.at), (Verb::Hello, stranger.at)]);
}

#[test]
fn its_root_is_greeted_at_each_check_until_it_answers_and_asked_for_every_5_s_then() {
    let mut scene = Scene::new();
    let mut root = Other::new(0, ROOT, 9);
    scene.pass(16_000);
    let hellos =
        scene.verbs(&root).iter().filter(|(verb, to)| (*verb, *to) == (Verb::Hello, at(ROOT))).count();
    assert_eq!(hellos, 4);
    scene.meet(&mut root);
    let begun = scene.now;
    let mut asked = 0;
    let mut greeted = Vec::new();
    while scene.now - begun < Span::ms(300_000) {
        scene.pass(1_000);
        for packet in scene.taken(&root) {
            match packet.verb {
                Verb::Whois => {
                    assert_eq!(Whois::parse(&packet.payload).unwrap().0, [root.address()]);
                    asked += 1;
                }
                Verb::Hello => {
                    greeted.push((scene.now - begun).as_ms());
                    let answer = root.ok(&packet);
                    scene.feed(root.at, &answer);
                }
                other => panic!("{other}"),
            }
        }
    }
    assert!((58..=60).contains(&asked), "{asked}");
    assert!(matches!(greeted[..], [ms] if (205_000..=230_000).contains(&ms)), "once in 224 s: {greeted:?}");
}

#[test]
fn a_root_relays_for_everybody_and_introduces_a_pair_once_in_half_a_minute() {
    let mut scene = Scene::root();
    let mut a = Other::new(1, "100.64.1.1:9993", 0);
    let mut b = Other::new(2, "100.64.2.1:9993", 0);
    scene.meet(&mut a);
    scene.meet(&mut b);
    let mut introduced = Vec::new();
    for second in 0..70 {
        let mut packet = Vec::new();
        packet::start(&mut packet, second as u64, b.address(), a.address(), Verb::Nop);
        let hops = (second % 4) as u8;
        (0..hops).for_each(|_| packet::increment_hops(&mut packet));
        scene.feed(a.at, &packet);
        let relayed = scene
            .sent
            .iter()
            .filter(|(to, _, data)| *to == b.at && packet::source(data) == a.address())
            .map(|(_, _, data)| packet::hops(data))
            .collect::<Vec<_>>();
        assert_eq!(relayed, if hops < 3 { vec![hops + 1] } else { Vec::new() });
        let told: Vec<Vec<Opened>> = [&a, &b]
            .map(|of| {
                let sealed: Vec<_> = scene
                    .sent
                    .iter()
                    .filter(|(.., data)| packet::source(data) == scene.double.address())
                    .cloned()
                    .collect();
                of.open(&sealed)
            })
            .into();
        scene.sent.clear();
        if !told[0].is_empty() {
            introduced.push(second);
            for (packets, (here, there)) in told.iter().zip([(&a, &b), (&b, &a)]) {
                let [packet] = &packets[..] else { panic!("{packets:?}") };
                assert_eq!((packet.verb, packet.to), (Verb::Rendezvous, here.at));
                let expected = Rendezvous { peer: there.address(), endpoint: there.at };
                assert_eq!(Rendezvous::parse(&packet.payload).unwrap(), expected);
            }
        }
        scene.pass(1_000);
        scene.sent.clear();
    }
    assert_eq!(introduced, [0, 30, 60]);
}

#[test]
fn a_member_relays_only_where_a_member_was_heard() {
    let mut scene = Scene::new();
    let mut root = Other::new(0, ROOT, 9);
    scene.meet(&mut root);
    let network = join(&mut scene, &mut root);
    let mut a = Other::new(1, "100.64.1.1:9993", 9);
    let mut b = Other::new(2, "100.64.2.1:9993", 9);
    scene.meet(&mut a);
    scene.meet(&mut b);
    let relays = |scene: &mut Scene| {
        let mut packet = Vec::new();
        packet::start(&mut packet, 5, b.address(), a.address(), Verb::Nop);
        scene.sent.clear();
        scene.feed(a.at, &packet);
        scene.sent.iter().any(|(to, _, data)| *to == b.at && packet::source(data) == a.address())
    };
    assert!(!relays(&mut scene));
    let body = [&network.0.to_be_bytes()[..], &[0x88, 0xb5], b"in"].concat();
    let mut member = Other::new(1, "100.64.1.1:9993", 9);
    member.next = 99 << 40;
    let frame = member.seal(Verb::Frame, &body);
    scene.feed(member.at, &frame);
    assert!(relays(&mut scene));
}
