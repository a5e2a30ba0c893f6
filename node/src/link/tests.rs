//! The underlay by itself: nobody above it knows a network.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::VecDeque;
use std::net::SocketAddr;

use protocol::packet::{self, Suite};
use protocol::verb::Verb;
use protocol::verbs::Frame;
use protocol::world::{Root, World, WorldKey, WorldKind};
use protocol::{NetworkId, SecretIdentity, Span, Time};

use super::{Opened, Received, Underlay};
use crate::dataplane::sending::Parts;
use crate::ground::event::{Errand, Settings};
use crate::link::path::SocketId;

const SOCKET: SocketId = SocketId(0);
const START: Time = Time::from_ms(1_700_000_000_000);
const NETWORK: NetworkId = NetworkId(0x8056_c2e2_1c00_0001);

/// Identities made beforehand: making one costs a fifth of a second.
pub(crate) fn identity(index: usize) -> SecretIdentity {
    let text = include_str!("../../tests/fixtures/identities.txt");
    SecretIdentity::parse(text.lines().nth(index).unwrap()).unwrap()
}

/// What came to somebody who knows only that something came: its verb, its payload, its ECN bits.
type Came = (Option<Verb>, Vec<u8>, u8);

/// A root and another node, and the wire between them.
struct Two {
    nodes: [Underlay; 2],
    at: [SocketAddr; 2],
    now: Time,
    came: [VecDeque<Came>; 2],
    greeted: [usize; 2],
}

impl Two {
    fn new() -> Self {
        let identities = [identity(0), identity(1)];
        let at = ["192.0.2.1:9993".parse().unwrap(), "192.0.2.2:9993".parse().unwrap()];
        let root = Root { identity: identities[0].identity().clone(), endpoints: vec![at[0]] };
        let planet = World::new_signed(WorldKind::Planet, 1, 1, &WorldKey::from_secret([7; 64]), vec![root]);
        let mut seed = 0;
        let nodes = identities.map(|identity| {
            seed += 1;
            let (mut node, _) =
                Underlay::new(identity, planet.clone(), Settings::default(), [seed; 32], START);
            node.set_local_addresses(START, vec![(SOCKET, at[usize::from(seed) - 1])]);
            node
        });
        let mut two = Self { nodes, at, now: START, came: Default::default(), greeted: [0; 2] };
        for _ in 0..40 {
            two.now += Span::ms(250);
            for node in &mut two.nodes {
                let Underlay { link, contacts, .. } = node;
                if two.now >= contacts.next_ping {
                    contacts.ping_check(link, two.now, Vec::new());
                }
                node.tick(two.now);
            }
            two.settle(0);
        }
        two
    }

    /// Carries all that waits, with these ECN bits, until nothing does.
    fn settle(&mut self, ecn: u8) {
        loop {
            let mut quiet = true;
            for from in 0..2 {
                let link = &mut self.nodes[from].link;
                let datagrams: Vec<Vec<u8>> =
                    link.outbox.datagrams.iter().map(|(_, octets)| octets.to_vec()).collect();
                link.outbox.datagrams.clear();
                link.outbox.events.clear();
                for errand in std::mem::take(&mut link.outbox.errands) {
                    if let Errand::CheckIdentity { identity, .. } = errand {
                        let greeted = self.nodes[from].identity_checked(self.now, &identity, true);
                        self.greeted[from] += usize::from(greeted == Some(true));
                        quiet = false;
                    }
                }
                for datagram in datagrams {
                    quiet = false;
                    self.arrive(1 - from, self.at[from], datagram, ecn);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn arrive(&mut self, to: usize, from: SocketAddr, mut datagram: Vec<u8>, ecn: u8) {
        let node = &mut self.nodes[to];
        let via = node.arrive(SOCKET, from, datagram.len());
        let mut rest = &mut datagram[..];
        while !rest.is_empty() {
            let Some(sealed) = node.sort(self.now, via, ecn, &mut rest, 0) else { continue };
            match node.open(self.now, sealed) {
                Received::Nothing => {}
                Received::Greeted(..) => self.greeted[to] += 1,
                Received::Opened(opened) => self.came[to].extend(handle(node, self.now, opened)),
            }
        }
        node.arrived();
    }
}

/// What the shell of the core does, without a switch: frames are noted.
fn handle(node: &mut Underlay, now: Time, opened: Opened<'_>) -> Option<Came> {
    let verb = opened.verb();
    let incoming = node.incoming(now, &opened);
    let came = (verb, incoming.payload.to_vec(), incoming.ecn);
    let handled = match verb {
        Some(Verb::Ok) => {
            let ok = protocol::verbs::OkHeader::parse(incoming.payload).unwrap();
            match node.link.expected.sent_at(now, ok.in_re_id, incoming.source, ok.in_re_verb) {
                Some(sent_at) => node.handle_ok(now, &incoming, &ok, sent_at),
                None => Ok(super::Handled::Ignore),
            }
        }
        Some(Verb::Frame) => Ok(super::Handled::Trust),
        Some(verb) => node.handle(now, verb, &incoming),
        None => Ok(super::Handled::Credit),
    };
    assert!(!node.settle(now, verb, &incoming, handled));
    node.done(opened);
    (verb == Some(Verb::Frame)).then_some(came)
}

#[test]
fn two_underlays_meet_and_carry_what_they_do_not_understand() {
    let mut two = Two::new();
    assert!(two.greeted[0] > 0, "the root was greeted");
    for from in 0..2 {
        let to = two.nodes[1 - from].link.address();
        assert_eq!(two.nodes[from].link.live_route(two.now, to).unwrap().remote, two.at[1 - from]);
        for length in [1, 1_000, 2_800, 9_000] {
            let payload = vec![length as u8; length];
            two.nodes[from].link.send_frames(two.now, to, NETWORK, 0x88b5, &Parts::One(&payload));
            two.settle(2);
            let (verb, octets, ecn) = two.came[1 - from].pop_front().unwrap();
            let frame = Frame::parse(&octets).unwrap();
            assert_eq!((verb, frame.network, frame.ethertype), (Some(Verb::Frame), NETWORK, 0x88b5));
            assert_eq!((frame.payload, ecn), (&payload[..], 2), "with the mark of its datagrams");
            assert!(two.came[1 - from].is_empty());
        }
    }
}

#[test]
fn only_what_its_sender_has_sealed_is_opened_and_once() {
    let mut two = Two::new();
    let (sender, receiver) = (two.nodes[1].link.address(), two.nodes[0].link.address());
    let keys = two.nodes[1].link.topology.peers[&receiver].keys.clone();
    let packet = |id: u64| {
        let mut packet = Vec::new();
        packet::start(&mut packet, id, receiver, sender, Verb::Frame);
        Frame { network: NETWORK, ethertype: 0x88b5, payload: b"frame" }.write(&mut packet);
        packet
    };
    let at = two.at[1];
    let refused = |two: &Two| two.nodes[0].link.topology.peers[&sender].packets.refused;
    // In clear: that is for HELLO alone.
    two.arrive(0, at, packet(1), 0);
    // Sealed, and changed on its way.
    let mut sealed = packet(2);
    keys.armor(&mut sealed, Suite::Salsa);
    for at_octet in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at_octet] ^= 0x10;
        two.arrive(0, at, changed, 0);
    }
    assert!(two.came[0].is_empty() && refused(&two) > 20, "{} refused", refused(&two));
    // As it was sent; and, for a peer that counts by another cipher, again.
    let mut own = Parts::One(b"frame");
    two.nodes[1].link.send_frames(two.now, receiver, NETWORK, 0x88b5, &own);
    own = Parts::One(b"other");
    two.nodes[1].link.send_frames(two.now, receiver, NETWORK, 0x88b5, &own);
    let datagrams: Vec<Vec<u8>> =
        two.nodes[1].link.outbox.datagrams.iter().map(|(_, octets)| octets.to_vec()).collect();
    two.nodes[1].link.outbox.datagrams.clear();
    for datagram in datagrams.iter().chain(&datagrams) {
        two.arrive(0, at, datagram.clone(), 0);
    }
    assert_eq!(two.came[0].len(), 2, "a recording has no effect");
}

#[test]
fn what_is_clear_on_a_trusted_path_is_copied_nowhere_else() {
    use crate::ground::event::PhysicalNetwork;
    use crate::link::path::PathKey;
    use crate::link::ways::{Way, Ways};

    let mut two = Two::new();
    let (now, peer) = (two.now, two.nodes[0].link.address());
    let path = |remote: &str| PathKey { socket: SOCKET, remote: remote.parse().unwrap() };
    let way = Way { key: path("192.0.2.1:9993"), direct: true, copy: Some(path("198.51.100.1:9993")) };
    let link = &mut two.nodes[1].link;
    assert!(Ways::may_copy(link, now, peer, &way, 100));
    let trusted = PhysicalNetwork { trusted_path_id: 7, ..PhysicalNetwork::default() };
    link.settings.physical = vec![("192.0.2.0/24".parse().unwrap(), trusted)];
    assert!(!Ways::may_copy(link, now, peer, &way, 100));
}

#[test]
fn copies_have_the_budgets_that_are_set() {
    use crate::ground::event::CopyLimits;
    use crate::link::path::PathKey;
    use crate::link::ways::{Way, Ways};

    /// How many packets of a thousand octets are copied in a second, one a millisecond.
    fn copies(two: &mut Two, limits: CopyLimits, way: Way) -> usize {
        let peer = two.nodes[0].link.address();
        let link = &mut two.nodes[1].link;
        link.settings.copies = limits;
        two.now += Span::secs(1_000);
        (0..1_000)
            .filter(|_| {
                two.now += Span::ms(1);
                Ways::may_copy(link, two.now, peer, &way, 1_000)
            })
            .count()
    }

    let mut two = Two::new();
    let root = PathKey { socket: SOCKET, remote: two.at[0] };
    let elsewhere = PathKey { socket: SOCKET, remote: "198.51.100.1:9993".parse().unwrap() };
    let relayed = Way { key: root, direct: true, copy: Some(elsewhere) };
    assert_eq!(copies(&mut two, CopyLimits::megabits(Some(0), None, None), relayed), 0);
    assert_eq!(copies(&mut two, CopyLimits::megabits(None, Some(0), None), relayed), 0);
    let usual = copies(&mut two, CopyLimits::default(), relayed);
    assert!((340..=350).contains(&usual), "{usual}: the burst, and two megabits");
    let eight = copies(&mut two, CopyLimits::megabits(Some(8), None, None), relayed);
    assert_eq!(eight, 1_000);
    // The root's own path is no relay to it; that it is somebody else's counts for those it relays to.
    assert!(!two.nodes[1].link.topology.is_foreign_root_at(&root));
    assert!(!two.nodes[1].link.topology.is_foreign_root_at(&elsewhere));
    two.nodes[1].link.topology.planet.id = protocol::world::PUBLIC_PLANET_ID;
    assert!(two.nodes[1].link.topology.is_foreign_root_at(&root));
}
