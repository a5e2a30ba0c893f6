//! What a stranger with an identity of his own cannot do to one core: be an amplifier's aim, keep newcomers out, be relayed for, be
//! introduced in another's name, pose as a controller.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

#[path = "strangers/answers.rs"]
mod answers;
mod sim;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use node::core::event::{Errand, Settings};
use node::core::path::SocketId;
use node::core::{Core, CoreConfig};
use protocol::packet::{self, SessionKeys, Suite};
use protocol::verb::Verb;
use protocol::verbs::{
    Hello, MulticastGather, MulticastLike, OkGather, OkHeader, OkWhois, Rendezvous, error_code, write_hello,
};
use protocol::world::{Root, World, WorldKey, WorldKind};
use protocol::{Address, Identity, MulticastGroup, NetworkId, SecretIdentity, Span, Time};
use sim::{START, identity};

const SOCKET: SocketId = SocketId(0);
/// What one identity check costs the thread that makes it, ms.
const HASH: Span = Span::ms(20);

fn endpoint(a: u8, b: u8, c: u8, d: u8, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(a, b, c, d), port))
}

/// The same keys under another address, which does not belong to them.
fn made_up(secret: &SecretIdentity, address: u64) -> SecretIdentity {
    let text = secret.to_secret_string();
    SecretIdentity::parse(&format!("{:010x}{}", address, &text[10..])).unwrap()
}

/// Somebody outside the core.
#[derive(Clone)]
struct Other {
    secret: SecretIdentity,
    us: Address,
    keys: SessionKeys,
    at: SocketAddr,
    next_id: u64,
}

/// A packet of the core's, opened.
struct Opened {
    to: SocketAddr,
    id: u64,
    verb: Verb,
    payload: Vec<u8>,
}

/// One core, its checks of identities, and what it sent.
struct Scene {
    core: Core,
    now: Time,
    checks: Vec<Identity>,
    checking_until: Time,
    sent: Vec<(SocketAddr, Vec<u8>)>,
    /// Whether an identity is genuine is computed, or believed.
    believes: bool,
}

impl Scene {
    /// A core that is the root if `root`, else one under a root with the first identity.
    fn new(number: usize, root: usize) -> Self {
        let planet = Root {
            identity: identity(root).identity().clone(),
            endpoints: vec![endpoint(100, 64, 0, 1, 9993)],
        };
        let key = WorldKey::from_secret([7; 64]);
        let planet = World::new_signed(WorldKind::Planet, 4711, 7, &key, vec![planet]);
        let config =
            CoreConfig { identity: identity(number), planet, seed: [3; 32], settings: Settings::default() };
        let mut core = Core::new(config, START);
        core.set_local_addresses(START, vec![(SOCKET, endpoint(198, 18, 0, 1, 9993))]);
        let mut scene = Self {
            core,
            now: START,
            checks: Vec::new(),
            checking_until: START,
            sent: Vec::new(),
            believes: false,
        };
        scene.collect();
        scene
    }

    fn collect(&mut self) {
        for (segment, data) in self.core.outbox().datagrams.iter() {
            self.sent.push((segment.to, data.to_vec()));
        }
        self.core.outbox().datagrams.clear();
        self.core.outbox().events.clear();
        for errand in self.core.outbox().errands.drain(..) {
            if let Errand::CheckIdentity { identity, .. } = errand {
                self.checks.push(identity);
            }
        }
    }

    fn feed(&mut self, from: SocketAddr, datagram: &[u8]) {
        self.core.datagram(self.now, SOCKET, from, &mut datagram.to_vec());
        self.collect();
    }

    /// Lets a millisecond pass; one identity is checked at a time, as by the thread of the daemon.
    fn pass(&mut self) {
        self.now += Span::ms(1);
        if self.core.next_deadline() <= self.now {
            self.core.tick(self.now);
        }
        if self.now >= self.checking_until && !self.checks.is_empty() {
            let identity = self.checks.remove(0);
            self.checking_until = self.now + HASH;
            let valid = self.believes || identity.locally_valid();
            self.core.identity_checked(self.now, &identity, valid);
        }
        self.collect();
    }

    fn knows(&self, address: Address) -> bool {
        self.core.view().peers(self.now).iter().any(|peer| peer.address == address)
    }

    /// Makes somebody a peer without a packet.
    fn introduce(&mut self, identity: &Identity) {
        self.core.identity_checked(self.now, identity, true);
        self.collect();
    }

    /// What went to an address since the last time, opened by it.
    fn take(&mut self, other: &Other) -> Vec<Opened> {
        let (theirs, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.sent)
            .into_iter()
            .partition(|(_, raw)| raw.len() >= packet::HEADER_LEN && packet::dest(raw) == other.address());
        self.sent = rest;
        let open = |(to, mut raw): (SocketAddr, Vec<u8>)| {
            if !other.keys.dearmor(&mut raw) {
                return None;
            }
            packet::decompress(&mut raw).unwrap();
            let (id, verb) = (packet::id(&raw), packet::verb(&raw).unwrap());
            Some(Opened { to, id, verb, payload: raw[packet::HEADER_LEN..].to_vec() })
        };
        theirs.into_iter().filter_map(open).collect()
    }

    /// Has somebody answer the core's ECHOs and HELLOs, as any node does; gives the other packets.
    fn answered_by(&mut self, other: &mut Other) -> Vec<Opened> {
        let mut rest = Vec::new();
        loop {
            let packets = self.take(other);
            if packets.is_empty() {
                return rest;
            }
            for packet in packets {
                if packet.to != other.at {
                    continue;
                }
                let mut body = match packet.verb {
                    Verb::Echo => packet.payload.clone(),
                    Verb::Hello => {
                        let ok = protocol::verbs::OkHello {
                            timestamp: 1,
                            protocol: 12,
                            major: 1,
                            minor: 14,
                            revision: 1,
                            seen_as: None,
                            world_bytes: &[],
                        };
                        let mut body = Vec::new();
                        ok.write(&mut body);
                        body
                    }
                    _ => {
                        rest.push(packet);
                        continue;
                    }
                };
                let mut payload = Vec::new();
                OkHeader { in_re_verb: packet.verb as u8, in_re_id: packet.id, body: &body }
                    .write(&mut payload);
                body.clear();
                let answer = other.seal(Verb::Ok, &payload);
                self.feed(other.at, &answer);
            }
        }
    }

    /// Octets sent to an IP address, all ports.
    fn octets_to(&self, at: SocketAddr) -> usize {
        self.sent.iter().filter(|(to, _)| to.ip() == at.ip()).map(|(_, raw)| raw.len()).sum()
    }
}

impl Other {
    fn new(scene: &Scene, secret: SecretIdentity, at: SocketAddr) -> Self {
        let us = scene.core.view().status().identity;
        let keys = SessionKeys::new(&secret.agree(&us).unwrap());
        Self { secret, us: us.address, keys, at, next_id: rand::random() }
    }

    fn address(&self) -> Address {
        self.secret.address()
    }

    fn start(&mut self, dest: Address, verb: Verb) -> Vec<u8> {
        self.next_id = self.next_id.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut packet = Vec::new();
        packet::start(&mut packet, self.next_id, dest, self.address(), verb);
        packet
    }

    fn seal_for(&mut self, us: Address, verb: Verb, payload: &[u8]) -> Vec<u8> {
        let mut packet = self.start(us, verb);
        packet.extend_from_slice(payload);
        self.keys.armor(&mut packet, Suite::AesGmacSiv);
        packet
    }

    fn seal(&mut self, verb: Verb, payload: &[u8]) -> Vec<u8> {
        self.seal_for(self.us, verb, payload)
    }

    fn hello(&mut self, us: Address, planet: Option<(u64, u64)>) -> Vec<u8> {
        let mut packet = self.start(us, Verb::Hello);
        let hello = Hello {
            protocol: 12,
            major: 1,
            minor: 14,
            revision: 1,
            timestamp: self.next_id >> 1,
            identity: self.secret.identity().clone(),
            sent_to: None,
            planet,
            masked_tail_at: None,
        };
        write_hello(&mut packet, 0, &hello, &[], &self.keys);
        packet
    }
}

/// A root with somebody it knows and has a path to.
fn root_with(number: usize, at: SocketAddr) -> (Scene, Other) {
    let mut scene = Scene::new(0, 0);
    let mut other = Other::new(&scene, identity(number), at);
    scene.introduce(other.secret.identity());
    greet(&mut scene, &mut other);
    (scene, other)
}

fn greet(scene: &mut Scene, other: &mut Other) {
    let hello = other.hello(scene.core.address(), Some((4711, 7)));
    scene.feed(other.at, &hello);
    scene.answered_by(other);
    let address = other.address();
    let peers = scene.core.view().peers(scene.now);
    assert!(peers.iter().any(|p| p.address == address && !p.paths.is_empty()), "{address} has a path");
}

#[test]
fn an_endpoint_that_has_not_proven_itself_gets_no_more_than_came_from_it() {
    let (mut scene, mut stranger) = root_with(1, endpoint(192, 0, 2, 1, 9993));
    for n in 2..30 {
        scene.introduce(identity(n).identity());
    }
    scene.sent.clear();
    let us = scene.core.address();
    let victim = endpoint(203, 0, 113, 66, 5_000);
    let mut whois = Vec::new();
    (2..21).for_each(|n| whois.extend_from_slice(&identity(n).address().to_bytes()));
    let one = identity(2).address().to_bytes().repeat(19);
    let mut came = 0;
    for round in 0..200u16 {
        scene.now += Span::ms(7);
        let network = NetworkId(u64::from(round) << 32);
        let mut config = network.0.to_be_bytes().to_vec();
        config.extend_from_slice(&[0, 0]);
        let mut gather = Vec::new();
        MulticastGather { network, group: MulticastGroup::BROADCAST, limit: 250, com: None }
            .write(&mut gather);
        let forged = [
            stranger.seal(Verb::Whois, &whois),
            stranger.seal(Verb::Whois, &one),
            stranger.seal(Verb::Echo, &[]),
            stranger.seal(Verb::Echo, b"some payload to be echoed"),
            stranger.seal(Verb::Nop, &[]),
            stranger.seal(Verb::NetworkConfigRequest, &config),
            stranger.seal(Verb::MulticastGather, &gather),
            stranger.seal(Verb::Frame, &config),
            stranger.seal(Verb::PushDirectPaths, &[0, 0]),
            stranger.hello(us, Some((4711, 1))),
        ];
        for datagram in forged {
            let port = SocketAddr::new(victim.ip(), victim.port() + round % 3);
            came += datagram.len().max(96.min(3 * datagram.len()));
            scene.feed(port, &datagram);
            let went = scene.octets_to(victim);
            assert!(went <= came, "{went} octets went to who sent {came}");
        }
    }
    assert!(scene.octets_to(victim) > 0, "it is answered all the same");
}

#[test]
fn what_is_too_much_for_an_unproven_endpoint_comes_when_it_has_answered() {
    let (mut scene, mut mover) = root_with(1, endpoint(192, 0, 2, 1, 9993));
    for n in 2..30 {
        scene.introduce(identity(n).identity());
    }
    mover.at = endpoint(198, 51, 100, 1, 4_000);
    let mut whois = Vec::new();
    (2..21).for_each(|n| whois.extend_from_slice(&identity(n).address().to_bytes()));
    // The old path has died meanwhile.
    for _ in 0..25_000 {
        scene.pass();
    }
    scene.sent.clear();
    let packet = mover.seal(Verb::Whois, &whois);
    scene.feed(mover.at, &packet);
    let answers = scene.answered_by(&mut mover);
    let identities: usize = answers
        .iter()
        .filter(|p| p.verb == Verb::Ok && p.payload[0] == Verb::Whois as u8)
        .map(|p| OkWhois::parse(&p.payload[9..]).unwrap().0.len())
        .sum();
    assert_eq!(identities, 19);
}

#[test]
fn hellos_from_forged_addresses_keep_no_newcomer_out() {
    for sealed in [false, true] {
        let mut scene = Scene::new(0, 0);
        let us = scene.core.address();
        let mut liar = Other::new(&scene, made_up(&identity(40), 0x55_0000_0000), endpoint(10, 0, 0, 1, 1));
        let mut arrived = None;
        let mut newcomer = Other::new(&scene, identity(1), endpoint(198, 51, 100, 77, 9993));
        for ms in 0..12_000u32 {
            // Sixty a second and ten times as many in turns, each from a prefix and with an identity of its own.
            let every = if ms < 8_000 { 16 } else { 2 };
            if ms % every == 0 {
                liar.secret = made_up(&identity(40), 0x55_0000_0000 + u64::from(ms));
                let mut hello = liar.hello(us, None);
                if !sealed {
                    hello[packet::MAC] ^= 1;
                }
                let [_, a, b, c] = (ms << 8).to_be_bytes();
                scene.feed(endpoint(11, a, b, c | 1, 9), &hello);
            }
            if ms >= 2_000 && ms % 500 == 0 && arrived.is_none() {
                let hello = newcomer.hello(us, None);
                scene.feed(newcomer.at, &hello);
            }
            scene.pass();
            if ms >= 2_000 {
                scene.answered_by(&mut newcomer);
            }
            if arrived.is_none() && scene.knows(newcomer.address()) {
                arrived = Some(ms);
            }
            if ms == 8_000 {
                // Another one, while ten times as many come.
                assert!(arrived.is_some_and(|at| at < 4_000), "sealed {sealed}: known at {arrived:?}");
                newcomer = Other::new(&scene, identity(2), endpoint(198, 51, 101, 77, 9993));
                arrived = None;
            }
            scene.sent.clear();
        }
        assert!(arrived.is_some(), "sealed {sealed}: the second one came late");
        assert!(!scene.knows(Address::from_u64(0x55_0000_0000)), "nobody is believed unchecked");
    }
}

#[test]
fn a_neighbour_does_not_use_up_what_his_prefix_may_cost() {
    let mut scene = Scene::new(0, 0);
    let us = scene.core.address();
    let mut liar = Other::new(&scene, identity(40), endpoint(198, 51, 100, 5, 1));
    let mut newcomer = Other::new(&scene, identity(1), endpoint(198, 51, 100, 77, 9993));
    let mut known = None;
    for ms in 0..10_000u32 {
        if ms % 16 == 0 {
            liar.secret = made_up(&identity(40), 0x55_0000_0000 + u64::from(ms));
            let hello = liar.hello(us, None);
            let port = 1_000 + (ms % 60_000) as u16;
            scene.feed(SocketAddr::new(liar.at.ip(), port), &hello);
        }
        if ms >= 3_000 && ms % 500 == 0 && known.is_none() {
            let hello = newcomer.hello(us, None);
            scene.feed(newcomer.at, &hello);
        }
        scene.pass();
        scene.answered_by(&mut newcomer);
        if known.is_none() && scene.knows(newcomer.address()) {
            known = Some(ms);
        }
        scene.sent.clear();
    }
    assert!(known.is_some_and(|at| at < 6_000), "known at {known:?}");
}

#[test]
fn a_replayed_frame_keeps_no_path_alive() {
    let (mut scene, mut peer) = root_with(1, endpoint(192, 0, 2, 1, 9993));
    let recorded = peer.seal(Verb::Nop, &[]);
    let preferred = |scene: &Scene| {
        scene.core.view().peers(scene.now).iter().any(|p| p.paths.iter().any(|p| p.preferred))
    };
    assert!(preferred(&scene));
    for ms in 0..25_000 {
        if ms % 500 == 0 {
            scene.feed(peer.at, &recorded);
        }
        scene.pass();
    }
    assert!(!preferred(&scene), "nobody has answered for 25 seconds");
}

#[test]
fn packets_count_for_a_peer_when_they_are_authentic() {
    let (mut scene, mut peer) = root_with(1, endpoint(192, 0, 2, 1, 9993));
    let counts = |scene: &Scene, of: Address| {
        scene.core.view().peers(scene.now).into_iter().find(|p| p.address == of).unwrap().packets
    };
    let before = counts(&scene, peer.address());
    assert!(before.received > 0 && before.sent > 0 && before.refused == 0, "{before:?}");
    let echo = peer.seal(Verb::Echo, b"there?");
    scene.feed(peer.at, &echo);
    let after = counts(&scene, peer.address());
    assert_eq!((after.received, after.refused), (before.received + 1, 0));
    assert!(after.sent > before.sent, "it was answered");
    for verb in [Verb::Echo, Verb::Hello] {
        let mut forged =
            if verb == Verb::Hello { peer.hello(peer.us, None) } else { peer.seal(verb, b"there?") };
        *forged.last_mut().unwrap() ^= 1;
        scene.feed(peer.at, &forged);
    }
    let forged = counts(&scene, peer.address());
    assert_eq!((forged.received, forged.sent, forged.refused), (after.received, after.sent, 2));
}

#[test]
fn an_unconfirmed_address_is_not_relayed_for() {
    let (mut scene, mut stranger) = root_with(1, endpoint(192, 0, 2, 1, 9993));
    let mut receiver = Other::new(&scene, identity(2), endpoint(198, 51, 100, 1, 9993));
    scene.introduce(receiver.secret.identity());
    greet(&mut scene, &mut receiver);
    scene.sent.clear();
    let forged = endpoint(203, 0, 113, 66, 5_000);
    let nop = stranger.seal(Verb::Nop, &[]);
    scene.feed(forged, &nop);
    let through = stranger.seal_for(receiver.address(), Verb::Nop, &[]);
    scene.feed(forged, &through);
    assert_eq!(scene.octets_to(receiver.at), 0, "relayed for an address that never answered");
    scene.feed(stranger.at, &through);
    assert!(scene.octets_to(receiver.at) > 0, "relayed for one that has");
}

#[test]
fn nobody_is_introduced_in_anothers_name_and_a_flood_of_pairs_hides_no_introduction() {
    let (mut scene, mut liar) = root_with(1, endpoint(192, 0, 2, 1, 9993));
    let mut x = Other::new(&scene, identity(2), endpoint(100, 65, 0, 1, 9993));
    let mut y = Other::new(&scene, identity(3), endpoint(100, 66, 0, 1, 9993));
    for other in [&mut x, &mut y] {
        scene.introduce(other.secret.identity());
        greet(&mut scene, other);
    }
    scene.sent.clear();
    // The liar writes x's name on his packets, and those of thousands who do not exist.
    for n in 0..3_000u64 {
        liar.secret =
            made_up(&identity(1), if n % 2 == 0 { x.address().to_u64() } else { 0x66_0000_0000 + n });
        let forged = liar.seal_for(y.address(), Verb::Nop, &[]);
        scene.feed(liar.at, &forged);
    }
    let told = |packets: Vec<Opened>| packets.iter().filter(|p| p.verb == Verb::Rendezvous).count();
    assert_eq!((told(scene.take(&x)), told(scene.take(&y))), (0, 0), "introduced on a forger's word");
    let honest = x.seal_for(y.address(), Verb::Nop, &[]);
    scene.feed(x.at, &honest);
    let to_x = scene.take(&x);
    assert!(to_x.iter().any(|p| {
        p.verb == Verb::Rendezvous && Rendezvous::parse(&p.payload).is_ok_and(|r| r.endpoint == y.at)
    }));
}

#[test]
fn refused_frames_cause_one_error() {
    let (mut scene, mut stranger) = root_with(1, endpoint(192, 0, 2, 1, 9993));
    let network = NetworkId(scene.core.address().to_u64() << 24 | 0x77);
    assert!(scene.core.join(scene.now, network, None));
    scene.collect();
    scene.sent.clear();
    for n in 0..16u8 {
        let mut payload = network.0.to_be_bytes().to_vec();
        payload.extend_from_slice(&[0x08, 0, n]);
        let frame = stranger.seal(Verb::Frame, &payload);
        scene.feed(stranger.at, &frame);
    }
    for _ in 0..6_000 {
        scene.pass();
    }
    let errors = scene.take(&stranger).iter().filter(|p| p.verb == Verb::Error).count();
    assert_eq!(errors, 1);
    assert_eq!(error_code::NEED_MEMBERSHIP_CERTIFICATE, 6);
}

#[test]
fn strangers_on_one_machine_do_not_hide_who_joins_later() {
    let (mut scene, mut asker) = root_with(1, endpoint(192, 0, 2, 1, 9993));
    let (network, group) = (NetworkId(0x1122_3344_5500_0001), MulticastGroup::BROADCAST);
    let mut like = Vec::new();
    MulticastLike::write(network, group, &mut like);
    for n in 0..400u64 {
        let at = endpoint(203, 0, 113, 1, 10_000 + n as u16);
        let mut stranger = Other::new(&scene, made_up(&identity(4), 0x77_0000_0000 + n), at);
        scene.introduce(stranger.secret.identity());
        greet(&mut scene, &mut stranger);
        let packet = stranger.seal(Verb::MulticastLike, &like);
        scene.feed(at, &packet);
    }
    let mut late = Other::new(&scene, identity(5), endpoint(198, 51, 100, 9, 9993));
    scene.introduce(late.secret.identity());
    greet(&mut scene, &mut late);
    let packet = late.seal(Verb::MulticastLike, &like);
    scene.feed(late.at, &packet);
    for _ in 0..20 {
        let mut gather = Vec::new();
        MulticastGather { network, group, limit: 8, com: None }.write(&mut gather);
        let packet = asker.seal(Verb::MulticastGather, &gather);
        scene.now += Span::secs(1);
        scene.feed(asker.at, &packet);
        let answer = scene.take(&asker).into_iter().find(|p| p.verb == Verb::Ok).expect("an answer");
        let found = OkGather::parse(&answer.payload[9..]).unwrap();
        assert!(found.members.contains(&late.address()), "{:?}", found.members);
    }
}

#[test]
fn a_root_that_lies_about_a_controller_gets_no_token() {
    let mut scene = Scene::new(1, 0);
    let us = scene.core.address();
    let mut root = Other::new(&scene, identity(0), endpoint(100, 64, 0, 1, 9993));
    scene.core.tick(scene.now);
    scene.collect();
    let hello = root.hello(us, None);
    scene.feed(root.at, &hello);
    scene.answered_by(&mut root);
    let controller = identity(2);
    let network = NetworkId(controller.address().to_u64() << 24 | 1);
    let token = Some(zeroize::Zeroizing::new("a secret token of mine".to_owned()));
    assert!(scene.core.join_with(scene.now, network, None, token));
    scene.collect();
    let asked = scene.answered_by(&mut root);
    let whois = asked.iter().find(|p| p.verb == Verb::Whois).expect("the root is asked");
    // The root's own keys under the controller's address.
    let lie = made_up(&identity(3), controller.address().to_u64());
    let mut body = Vec::new();
    OkWhois(vec![lie.identity().clone()]).write(&mut body);
    let mut payload = Vec::new();
    OkHeader { in_re_verb: Verb::Whois as u8, in_re_id: whois.id, body: &body }.write(&mut payload);
    let answer = root.seal_for(us, Verb::Ok, &payload);
    scene.feed(root.at, &answer);
    for _ in 0..3_000 {
        scene.pass();
        scene.answered_by(&mut root);
    }
    assert!(!scene.knows(controller.address()), "an identity taken on a root's word");
    let liar = Other::new(&scene, lie, root.at);
    let read: BTreeMap<u8, usize> = scene.take(&liar).iter().fold(BTreeMap::new(), |mut n, p| {
        *n.entry(p.verb as u8).or_default() += 1;
        n
    });
    assert!(read.is_empty(), "sent to who posed as the controller: {read:?}");
}
