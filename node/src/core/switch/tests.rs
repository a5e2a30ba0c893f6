//! The switch by itself, over a link on which nobody answers.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use flowrules::{Kind, Rule};
use protocol::packet::{self, SessionKeys};
use protocol::verb::Verb;
use protocol::verbs::Frame;
use protocol::world::{Root, World, WorldKey, WorldKind};
use protocol::{Mac, Time};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::dataplane::vnet::Offload;
use crate::ground::event::Settings;
use crate::link::path::{PathKey, SocketId};
use crate::link::tests::identity;

const NOW: Time = Time::from_ms(1_700_000_000_000);
const NETWORK: NetworkId = NetworkId(0x8056_c2e2_1c00_0001);

/// A switch that has joined one network, and a link with one peer on a live path.
struct Bench {
    switch: Switch,
    link: Link,
    peer: Address,
    via: PathKey,
}

impl Bench {
    /// A network with these rules, public or with certificates that nobody has.
    fn new(rules: Vec<Rule>, public: bool) -> Self {
        let (ours, theirs, root) = (identity(0), identity(1), identity(2));
        let via = PathKey { socket: SocketId(0), remote: "192.0.2.7:9993".parse().unwrap() };
        let root =
            Root { identity: root.identity().clone(), endpoints: vec!["192.0.2.1:9993".parse().unwrap()] };
        let planet = World::new_signed(WorldKind::Planet, 1, 1, &WorldKey::from_secret([7; 64]), vec![root]);
        let (us, them) = (ours.identity().address, theirs.identity().clone());
        let (rng, hash) = (StdRng::from_seed([1; 32]), Keyed::new([2; 2]));
        let mut link = Link::new(ours, planet, Settings::default(), rng, hash, NOW);
        link.local = vec![(SocketId(0), "192.0.2.2:9993".parse().unwrap())];
        link.topology.insert_peer(them.clone(), SessionKeys::new(&[3; 48]), NOW);
        assert!(link.topology.learn_path(NOW, them.address, via));
        let peer = link.topology.peers.get_mut(&them.address).unwrap();
        (peer.last_received, peer.answered) = (Some(NOW), true);
        let mut switch = Switch::new(hash);
        let config = NetworkConfig { public, mtu: 2_800, rules, ..NetworkConfig::new(NETWORK, us, NOW) };
        let cached = config.to_dictionary().into_bytes();
        assert!(switch.join(&mut link, NOW, NETWORK, Some(&cached), None));
        link.outbox.datagrams.clear();
        link.outbox.errands.clear();
        link.outbox.events.clear();
        Self { switch, link, peer: them.address, via }
    }

    /// A frame with 100 octets from the port to the peer.
    fn port_gives(&mut self) {
        let mut frame = Mac::for_member(NETWORK, self.peer).0.to_vec();
        frame.extend_from_slice(&Mac::for_member(NETWORK, self.link.address()).0);
        frame.extend_from_slice(&[0x88, 0xb5]);
        frame.extend_from_slice(&[9; 100]);
        self.switch.port_frame(&mut self.link, NOW, NETWORK, &Offload::PLAIN, &mut frame);
    }

    /// A FRAME of the peer.
    fn peer_sends(&mut self) -> Handled {
        let mut payload = Vec::new();
        Frame { network: NETWORK, ethertype: 0x88b5, payload: &[9; 100] }.write(&mut payload);
        let incoming = Incoming {
            via: self.via,
            ecn: 0,
            source: self.peer,
            id: 1,
            hops: 0,
            fresh: true,
            proves: false,
            waited: false,
            chosen: None,
            payload: &payload,
        };
        self.switch.handle(&mut self.link, NOW, Verb::Frame, &incoming).unwrap().unwrap()
    }

    /// Verbs of the packets that leave, opened by whom they are for.
    fn sent(&mut self) -> Vec<Verb> {
        let keys = SessionKeys::new(&[3; 48]);
        let verbs = self.link.outbox.datagrams.iter().map(|(segment, octets)| {
            assert_eq!(segment.to, self.via.remote);
            let mut octets = octets.to_vec();
            assert!(keys.open(&mut octets).is_some());
            packet::verb(&octets).unwrap()
        });
        let verbs = verbs.collect();
        self.link.outbox.datagrams.clear();
        verbs
    }

    fn frames(&self) -> crate::ground::info::FrameCounters {
        self.switch.info()[0].frames
    }
}

fn accept() -> Vec<Rule> {
    vec![Rule::new(Kind::Accept)]
}

#[test]
fn a_frame_of_the_port_goes_to_the_member_in_its_address_after_our_credentials() {
    let mut bench = Bench::new(accept(), true);
    bench.port_gives();
    assert_eq!(bench.sent().last(), Some(&Verb::Frame));
    bench.port_gives();
    assert_eq!(bench.sent(), [Verb::Frame], "credentials go once");
    assert_eq!((bench.frames().out_accepted, bench.frames().out_dropped), (2, 0));
}

#[test]
fn what_the_rules_refuse_goes_nowhere_in_either_direction() {
    let mut bench = Bench::new(vec![Rule::new(Kind::Drop)], true);
    bench.port_gives();
    assert_eq!(bench.peer_sends(), Handled::Trust, "who sent it is a member all the same");
    assert!(bench.sent().is_empty() && bench.link.outbox.frames.is_empty());
    let frames = bench.frames();
    assert_eq!((frames.out_dropped, frames.in_dropped), (1, 1));
    assert_eq!((frames.out_accepted, frames.in_accepted), (0, 0));
}

#[test]
fn a_frame_of_a_member_comes_to_the_port_and_one_of_a_stranger_waits_for_a_certificate() {
    let mut bench = Bench::new(accept(), true);
    assert_eq!(bench.peer_sends(), Handled::Trust);
    assert!(!bench.link.outbox.frames.is_empty());
    assert_eq!(bench.frames().in_accepted, 1);
    let mut bench = Bench::new(accept(), false);
    assert_eq!(bench.peer_sends(), Handled::Wait);
    assert!(bench.link.outbox.frames.is_empty());
    assert_eq!(bench.sent(), [Verb::Error], "it is told what is missing");
}

#[test]
fn frames_for_whom_nobody_knows_wait_in_the_link() {
    let mut bench = Bench::new(accept(), true);
    bench.link.topology.peers.remove(&bench.peer);
    bench.port_gives();
    assert!(bench.link.outbox.datagrams.is_empty() && !bench.link.sending.is_empty());
}
