//! Who may say that our address is another node's, and when: the core alone, on a virtual clock.

mod sim;

use std::net::SocketAddr;

use node::core::event::Event;
use node::core::path::SocketId;
use protocol::Span;
use protocol::packet::{self, SessionKeys, Suite};
use protocol::verb::Verb;
use protocol::verbs::error_code;
use sim::{Weather, World};

const CALM: Weather = Weather { latency: (10, 20), loss: 0 };
const VICTIM: usize = 1;

/// ERROR(IDENTITY_COLLISION) about a packet, as host `from` would seal it; each is a packet of its own.
fn error(world: &World, from: usize, in_re: Verb, id: u64) -> Vec<u8> {
    static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0x55);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let secret = sim::identity(from);
    let keys = SessionKeys::new(&secret.agree(sim::identity(VICTIM).identity()).expect("a good key"));
    let mut sealed = Vec::new();
    packet::start(&mut sealed, id ^ number, world.address(VICTIM), secret.address(), Verb::Error);
    sealed.push(in_re as u8);
    sealed.extend_from_slice(&id.to_be_bytes());
    sealed.push(error_code::IDENTITY_COLLISION);
    keys.armor(&mut sealed, Suite::Salsa);
    sealed
}

/// How often the victim passes on what it is told in this packet.
fn told(world: &mut World, from: usize, mut sealed: Vec<u8>) -> usize {
    let (now, remote) = (world.now, world.hosts[from].inside);
    let core = &mut world.hosts[VICTIM].core;
    core.datagram(now, SocketId(0), remote, &mut sealed);
    let is_collision = |event: &Event| matches!(event, Event::IdentityCollision { .. });
    std::mem::take(core.outbox()).events.iter().filter(|e| is_collision(e)).count()
}

/// The packet ID of a HELLO that the victim sends now to `to`.
fn greeting(world: &mut World, to: SocketAddr) -> u64 {
    let limit = world.now + Span::secs(200);
    while world.now < limit {
        world.now = world.hosts[VICTIM].core.next_deadline().max(world.now + Span::ms(1));
        let now = world.now;
        let core = &mut world.hosts[VICTIM].core;
        core.tick(now);
        let outbox = std::mem::take(core.outbox());
        let mut sent = outbox.datagrams.iter().filter(|(segment, _)| segment.to == to);
        if let Some((_, data)) = sent.find(|(_, data)| packet::verb(data) == Some(Verb::Hello)) {
            return packet::id(data);
        }
    }
    panic!("no HELLO to {to}");
}

#[test]
fn only_a_root_and_only_in_answer_to_a_greeting() {
    let mut world = World::new(5, CALM);
    world.add_host(None);
    let neighbour = world.add_host(None);
    let network = world.create_network(r#"{"private": false}"#);
    for host in [VICTIM, neighbour] {
        world.join(host, network);
    }
    world.run(20_000);
    let root = world.hosts[0].inside;

    let unasked = error(&world, 0, Verb::Hello, 4711);
    assert_eq!(told(&mut world, 0, unasked), 0, "nothing was asked");
    let id = greeting(&mut world, root);
    let from_neighbour = error(&world, neighbour, Verb::Hello, id);
    assert_eq!(told(&mut world, neighbour, from_neighbour), 0, "no root");
    let other_verb = error(&world, 0, Verb::Whois, id);
    assert_eq!(told(&mut world, 0, other_verb), 0, "about something else");
    let answer = error(&world, 0, Verb::Hello, id);
    assert_eq!(told(&mut world, 0, answer.clone()), 1, "this is an answer");
    for _ in 0..100 {
        let another = error(&world, 0, Verb::Hello, id);
        assert_eq!(told(&mut world, 0, another), 0, "said already");
    }
    world.now += Span::secs(10);
    assert_eq!(told(&mut world, 0, answer), 0, "a recorded one");
    let another = error(&world, 0, Verb::Hello, id);
    assert_eq!(told(&mut world, 0, another), 1, "still awaited, and some time later");
    world.now += Span::secs(30);
    let late = error(&world, 0, Verb::Hello, id);
    assert_eq!(told(&mut world, 0, late), 0, "too late");
}
