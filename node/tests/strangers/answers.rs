//! What goes back to an endpoint that has not proven itself, whatever comes from there: the table in SECURITY.md.

use super::*;

/// One kind of answer: what comes, from an endpoint that has not proven itself.
type Kind = (&'static str, fn(&mut Scene, &mut Other) -> Vec<u8>);

const KINDS: [Kind; 12] = [
    ("HELLO of a peer", |scene, other| other.hello(scene.core.address(), Some((4711, 7)))),
    ("HELLO of a peer with an older planet", |scene, other| {
        other.hello(scene.core.address(), Some((4711, 1)))
    }),
    ("HELLO of somebody new", |scene, other| {
        let mut newcomer = Other::new(scene, identity(33), other.at);
        newcomer.hello(scene.core.address(), None)
    }),
    ("HELLO of another key under a known address", |scene, other| {
        let liar = made_up(&identity(34), other.address().to_u64());
        let mut liar = Other::new(scene, liar, other.at);
        liar.hello(scene.core.address(), None)
    }),
    ("ECHO, empty", |_, other| other.seal(Verb::Echo, &[])),
    ("ECHO of 1,000 octets", |_, other| other.seal(Verb::Echo, &[7; 1_000 - packet::HEADER_LEN])),
    ("WHOIS of one address", |_, other| other.seal(Verb::Whois, &identity(2).address().to_bytes())),
    ("WHOIS of nineteen addresses", |_, other| {
        let addresses: Vec<u8> = (2..21).flat_map(|n| identity(n).address().to_bytes()).collect();
        other.seal(Verb::Whois, &addresses)
    }),
    ("MULTICAST_GATHER", |_, other| {
        let mut gather = Vec::new();
        let (network, group) = (NetworkId(0x1122_3344_5500_0001), MulticastGroup::BROADCAST);
        MulticastGather { network, group, limit: 250, com: None }.write(&mut gather);
        other.seal(Verb::MulticastGather, &gather)
    }),
    ("NETWORK_CONFIG_REQUEST to who is no controller", |_, other| {
        other.seal(Verb::NetworkConfigRequest, &[0x11, 0x22, 0x33, 0x44, 0x55, 0, 0, 1, 0, 0])
    }),
    ("FRAME without a certificate", |scene, other| {
        let network = scene.core.view().networks()[0].network;
        let mut payload = network.0.to_be_bytes().to_vec();
        payload.extend_from_slice(&[0x08, 0, 1]);
        other.seal(Verb::Frame, &payload)
    }),
    ("anything else, the shortest", |_, other| other.seal(Verb::Nop, &[])),
];

#[test]
fn the_manual_tells_what_goes_to_an_endpoint_that_has_not_proven_itself() {
    let mut table =
        String::from("| what comes | octets | octets that go back | factor |\n|---|---|---|---|\n");
    for (what, make) in KINDS {
        let (mut scene, mut other) = root_with(1, endpoint(192, 0, 2, 1, 9993));
        (2..30).for_each(|n| scene.introduce(identity(n).identity()));
        let network = NetworkId(scene.core.address().to_u64() << 24 | 0x77);
        assert!(scene.core.join(scene.now, network, None));
        let mut like = Vec::new();
        MulticastLike::write(NetworkId(0x1122_3344_5500_0001), MulticastGroup::BROADCAST, &mut like);
        for n in 0..200u64 {
            let mut member = Other::new(&scene, made_up(&identity(4), 0x77_0000_0000 + n), other.at);
            scene.introduce(member.secret.identity());
            let packet = member.seal(Verb::MulticastLike, &like);
            scene.feed(other.at, &packet);
        }
        // The path that is known has died, so that nothing can go by it.
        (0..25_000).for_each(|_| scene.pass());
        scene.sent.clear();
        other.at = endpoint(203, 0, 113, 66, 5_000);
        let datagram = make(&mut scene, &mut other);
        scene.feed(other.at, &datagram);
        (0..3_000).for_each(|_| scene.pass());
        let (came, went) = (datagram.len(), scene.octets_to(other.at));
        assert!(went <= came.max(96.min(3 * came)), "{what}: {went} octets for {came}");
        table += &format!("| {what} | {came} | {went} | {:.1} |\n", went as f64 / came as f64);
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../SECURITY.md");
    let manual = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- answers: begin -->\n", "<!-- answers: end -->");
    let (before, rest) = manual.split_once(begin).expect("the manual has the table");
    let (told, after) = rest.split_once(end).expect("the table has an end");
    if std::env::var_os("ACCEPT").is_some() {
        std::fs::write(path, format!("{before}{begin}{table}{end}{after}")).unwrap();
    } else {
        assert_eq!(told, table, "ACCEPT=1 writes what is true");
    }
}
