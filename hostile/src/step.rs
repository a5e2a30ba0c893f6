//! One step of a play: something hostile arrives, or time passes, or friends talk.

use std::net::{Ipv4Addr, SocketAddr};

use protocol::packet::{self, HEADER_LEN, Split, Suite};
use protocol::verb::Verb;
use protocol::verbs::{
    ExtFrame, Frame, MulticastFrame, OkHeader, OkHello, PushDirectPaths, Rendezvous, write_hello,
};
use protocol::{Address, Reader, Span};

use crate::body::{self, Facts};
use crate::cast::{self, ACTORS, Actor};
use crate::choices::Choices;
use crate::ledger::{TOLD, allowance};
use crate::scene::{Role, START, Scene};

/// A play in which more time has passed is played to its end at once: it tests no more, and takes ever longer.
const LONGEST: Span = Span::secs(1_800);
/// Most copies of one packet.
const MAX_BURST: usize = 20;

/// Does the next step.
pub fn next(scene: &mut Scene, choices: &mut Choices<'_>) {
    match choices.below(16) {
        0 => pass(scene, choices),
        1 | 2 => scene.friends_talk(),
        3 | 4 => replay(scene, choices),
        5 | 6 => answer(scene, choices),
        7 => match choices.below(8) {
            0 => scene.friend_moves(choices.chance(128)),
            _ => noise(scene, choices),
        },
        8 => pieces(scene, choices),
        9 => greet(scene, choices),
        _ => speak(scene, choices),
    }
}

fn pass(scene: &mut Scene, choices: &mut Choices<'_>) {
    if scene.now - START > LONGEST {
        return;
    }
    let ms = choices.of(&[1, 10, 100, 500, 1_000, 1_000, 5_000, 20_000, 31_000, 125_000, 610_000]);
    scene.pass(ms);
}

/// Where an actor's datagram comes from.
fn place(scene: &Scene, actor: Actor, choices: &mut Choices<'_>) -> SocketAddr {
    match choices.below(10) {
        0..4 => actor.endpoint(0),
        4 => actor.endpoint(choices.below(4)),
        5 => scene.friend_endpoint(),
        6 => cast::home(choices.of(&[cast::ROOT, cast::CONTROLLER])),
        _ => body::endpoint(choices),
    }
}

/// What the actor knows.
fn facts(scene: &mut Scene, actor: Actor) -> Facts<'static> {
    let heard = scene.tape.last_heard(actor.endpoint(0)).filter(|data| data.len() >= HEADER_LEN);
    let heard = heard.map_or(0, packet::id);
    Facts {
        now: scene.now,
        actor,
        victim: scene.victim_address(),
        network: scene.network,
        heard,
        authority: cast::secret(cast::CONTROLLER),
        serial: scene.next_serial(),
    }
}

/// Begins a packet with some ID.
fn begin(scene: &mut Scene, source: Address, choices: &mut Choices<'_>) -> Vec<u8> {
    let id = if choices.chance(32) {
        choices.u64()
    } else {
        0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(scene.next_serial())
    };
    let mut packet = Vec::new();
    packet::start(&mut packet, id, scene.victim_address(), source, Verb::Nop);
    packet
}

/// A packet sealed as an actor, any verb.
fn speak(scene: &mut Scene, choices: &mut Choices<'_>) {
    let actor = choices.of(&ACTORS);
    let verb = choices.of(&body::VERBS);
    if verb == Verb::Hello as u8 {
        return greet(scene, choices);
    }
    let from = place(scene, actor, choices);
    let copies = if choices.chance(24) { 1 + choices.below(MAX_BURST) } else { 1 };
    let facts = facts(scene, actor);
    let mut body = body::of(verb, &facts, choices);
    if choices.chance(48) {
        body::mutate(&mut body, choices);
    }
    let mut packet = begin(scene, actor.address(), choices);
    packet[packet::VERB] = verb | choices.of(&[0, 0, 0, 0, 0, 0x20, 0x40]);
    packet.extend_from_slice(&body);
    if choices.chance(48) {
        packet::compress(&mut packet, 0);
    } else if choices.chance(8) {
        packet[packet::VERB] |= packet::VERB_COMPRESSED;
    }
    tell(scene, actor, verb, &body, copies);
    let counts = actor == Actor::Member && verb & packet::VERB_MASK == verb;
    let payload = if counts { frame_payload(verb, &body, scene) } else { None };
    for copy in 0..copies {
        let mut sealed = packet.clone();
        sealed[7] = sealed[7].wrapping_add(copy as u8);
        sealed[packet::FLAGS] |= if choices.chance(64) { choices.byte() & packet::HOPS_MASK } else { 0 };
        seal(scene, actor, &mut sealed, choices);
        // A copy that is the same datagram is a replay; one sealed anew is a frame of its own.
        if let Some(payload) = &payload {
            scene.expect_frame(payload);
        }
        send(scene, from, &sealed);
    }
}

/// A packet of an actor as it should be sealed, with whatever the choices put into it.
pub fn sealed(scene: &mut Scene, actor: Actor, verb: u8, choices: &mut Choices<'_>) -> Vec<u8> {
    let facts = facts(scene, actor);
    let keys = cast::keys(actor.number(), scene.victim());
    let mut packet = begin(scene, actor.address(), choices);
    packet[packet::VERB] = verb;
    if verb == Verb::Hello as u8 {
        write_hello(&mut packet, 0, &body::hello(&facts, choices), &[], keys);
    } else {
        packet.extend(body::of(verb, &facts, choices));
        keys.armor(&mut packet, Suite::AesGmacSiv);
    }
    packet
}

/// Protects a packet: mostly as it should be, seldom in a suite that is not for it, or not at all.
fn seal(scene: &Scene, actor: Actor, packet: &mut [u8], choices: &mut Choices<'_>) {
    let keys = cast::keys(actor.number(), scene.victim());
    match choices.below(16) {
        0..8 => keys.armor(packet, Suite::AesGmacSiv),
        8..14 => keys.armor(packet, Suite::Salsa),
        14 => keys.armor(packet, Suite::Clear),
        _ => packet::mark_trusted(packet, choices.of(&[0, 1, 0x5a5a])),
    }
}

/// Sends a packet whole, or in fragments where it is too long.
fn send(scene: &mut Scene, from: SocketAddr, packet: &[u8]) {
    let mtu = packet::DEFAULT_MTU;
    if packet.len() <= mtu {
        scene.attack(from, packet);
        return;
    }
    let mut whole = packet.to_vec();
    packet::set_fragmented(&mut whole, true);
    let mut all = Vec::new();
    packet::datagrams(&whole, mtu, Split::Halves, |head, data| all.push([head, data].concat()));
    for datagram in all {
        scene.attack(from, &datagram);
    }
}

/// The payload of a frame for the network with the honest controller, if that is what the body holds.
fn frame_payload(verb: u8, body: &[u8], scene: &Scene) -> Option<Vec<u8>> {
    let (network, payload) = match Verb::from_byte(verb)? {
        Verb::Frame => Frame::parse(body).ok().map(|f| (f.network, f.payload.to_vec()))?,
        Verb::ExtFrame => ExtFrame::parse(body).ok().map(|f| (f.network, f.payload.to_vec()))?,
        Verb::MulticastFrame => MulticastFrame::parse(body).ok().map(|f| (f.network, f.payload.to_vec()))?,
        _ => return None,
    };
    (network == scene.network && scene.role != Role::Root).then_some(payload)
}

/// Notes which endpoints a body tells the node to try.
fn tell(scene: &mut Scene, actor: Actor, verb: u8, body: &[u8], copies: usize) {
    match Verb::from_byte(verb) {
        Some(Verb::Rendezvous) if actor.is_root() => {
            if let Ok(told) = Rendezvous::parse(body) {
                scene.tell(told.endpoint, TOLD);
            }
        }
        Some(Verb::PushDirectPaths) => {
            let fellow = matches!(actor, Actor::Member | Actor::Controller);
            for path in PushDirectPaths::parse(body).map(|p| p.0).unwrap_or_default() {
                if fellow {
                    scene.tell(path.endpoint, TOLD);
                } else {
                    // No more is to go there than came for it.
                    scene.point_at(path.endpoint, copies * allowance(HEADER_LEN + body.len()));
                }
            }
        }
        _ => {}
    }
}

/// HELLO.
fn greet(scene: &mut Scene, choices: &mut Choices<'_>) {
    let actor = choices.of(&ACTORS);
    let from = place(scene, actor, choices);
    let facts = facts(scene, actor);
    let hello = body::hello(&facts, choices);
    // The source of a HELLO is the address in it, or nobody looks further.
    let source = if choices.chance(16) { actor.address() } else { hello.identity.address };
    let mut packet = begin(scene, source, choices);
    packet[packet::VERB] = Verb::Hello as u8;
    let keys = cast::keys(actor.number(), scene.victim());
    write_hello(&mut packet, 0, &hello, &[], keys);
    match choices.below(8) {
        0 => {
            // Sealed by nobody.
            let at = packet::MAC + choices.below(8);
            packet[at] ^= 1;
        }
        1 => {
            // The identity only, or less.
            packet.truncate(HEADER_LEN + choices.below(110));
            keys.armor(&mut packet, Suite::Clear);
        }
        2 => seal(scene, actor, &mut packet, choices),
        _ => {}
    }
    let copies = if choices.chance(24) { 1 + choices.below(MAX_BURST) } else { 1 };
    for _ in 0..copies {
        send(scene, from, &packet);
    }
}

/// Something seen before is sent again, from where it came or from elsewhere, a little later or at once.
fn replay(scene: &mut Scene, choices: &mut Choices<'_>) {
    let early = choices.chance(64);
    let number = choices.below(64);
    let found = if early { scene.tape.refusal(number) } else { scene.tape.recorded(number) };
    let Some((from, data)) = found else { return };
    let actor = choices.of(&ACTORS);
    let from = if choices.chance(128) { place(scene, actor, choices) } else { from };
    scene.pass(choices.of(&[0, 0, 1, 100, 10_000]));
    for _ in 0..1 + choices.below(MAX_BURST) {
        scene.attack(from, &data);
    }
}

/// An actor answers what the node sent to an endpoint of its own, as an honest node would, or nearly.
fn answer(scene: &mut Scene, choices: &mut Choices<'_>) {
    let actor = choices.of(&ACTORS);
    let endpoint = actor.endpoint(choices.below(4) & choices.below(4));
    let Some(data) = scene.tape.last_heard(endpoint) else { return };
    let mut heard = data.to_vec();
    let keys = cast::keys(actor.number(), scene.victim());
    if heard.len() < HEADER_LEN || packet::dest(&heard) != actor.address() || !keys.dearmor(&mut heard) {
        return;
    }
    let in_re_id = packet::id(&heard);
    let in_re_verb = packet::verb_byte(&heard) & packet::VERB_MASK;
    let mut inner = Vec::new();
    match Verb::from_byte(in_re_verb) {
        Some(Verb::Hello) => {
            let mut reader = Reader::new(heard.get(HEADER_LEN + 5..).unwrap_or_default());
            let seen_as = if choices.chance(64) { body::endpoint(choices) } else { scene.victim_endpoint() };
            OkHello {
                timestamp: reader.u64("the clock of a HELLO").unwrap_or_default(),
                protocol: choices.of(&[12, 12, 11, 9, 4, 1]),
                major: 1,
                minor: 14,
                revision: 1,
                seen_as: Some(seen_as),
                world_bytes: &[],
            }
            .write(&mut inner);
        }
        Some(Verb::Echo) => inner.extend_from_slice(&heard[HEADER_LEN..]),
        _ => inner = choices.bytes(60),
    }
    let mut packet = begin(scene, actor.address(), choices);
    packet[packet::VERB] = Verb::Ok as u8;
    OkHeader { in_re_verb, in_re_id, body: &inner }.write(&mut packet);
    keys.armor(&mut packet, if choices.chance(128) { Suite::Salsa } else { Suite::AesGmacSiv });
    scene.prove(endpoint);
    send(scene, endpoint, &packet);
}

/// What no key protects: noise with and without a header.
fn noise(scene: &mut Scene, choices: &mut Choices<'_>) {
    let actor = choices.of(&ACTORS);
    let from = place(scene, actor, choices);
    let mut data = choices.bytes(200);
    if choices.chance(200) && data.len() >= HEADER_LEN {
        data[8..13].copy_from_slice(&scene.victim_address().to_bytes());
        let source = match choices.below(4) {
            0 => actor.address(),
            1 => cast::secret(cast::FRIEND).address(),
            2 => scene.victim_address(),
            _ => Address::from_u64(choices.u64() & 0xff_ffff_ffff),
        };
        if choices.chance(64) {
            // For somebody else: to be relayed.
            data[8..13].copy_from_slice(&cast::secret(choices.below(5)).address().to_bytes());
        }
        data[13..18].copy_from_slice(&source.to_bytes());
    }
    for _ in 0..1 + choices.below(3) {
        scene.attack(from, &data);
    }
}

/// Pieces of fragmented packets: some missing, some twice, in any order, from several places.
fn pieces(scene: &mut Scene, choices: &mut Choices<'_>) {
    let actor = choices.of(&ACTORS);
    let from = place(scene, actor, choices);
    let facts = facts(scene, actor);
    let verb = choices.of(&body::VERBS);
    let mut packet = begin(scene, actor.address(), choices);
    packet[packet::VERB] = verb;
    packet.extend(body::of(verb, &facts, choices));
    packet.resize(1_500 + 20 * choices.below(256), 0x33);
    packet::set_fragmented(&mut packet, true);
    let body = packet[HEADER_LEN..].to_vec();
    tell(scene, actor, verb, &body, 1);
    if actor == Actor::Member
        && let Some(payload) = frame_payload(verb, &body, scene)
    {
        scene.expect_frame(&payload);
    }
    cast::keys(actor.number(), scene.victim()).armor(&mut packet, Suite::AesGmacSiv);
    let mut all = Vec::new();
    packet::datagrams(&packet, packet::DEFAULT_MTU, Split::Halves, |head, data| {
        all.push([head, data].concat());
    });
    for _ in 0..all.len() + choices.below(4) {
        let mut piece = all[choices.below(all.len())].clone();
        if choices.chance(24) && piece.len() > 16 {
            piece[14] = choices.byte();
        }
        let elsewhere = SocketAddr::from((Ipv4Addr::new(82, 0, 0, choices.byte() | 1), cast::PORT));
        let from = if choices.chance(32) { elsewhere } else { from };
        scene.attack(from, &piece);
    }
}
