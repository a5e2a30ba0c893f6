//! The double of zerotier-one does what zerotier-one does: one test for each of its gates and for the rules of its paths, by packets
//! made by hand. And how a node of ours gets on with it.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

#[path = "double/beside.rs"]
mod beside;
#[path = "double/gates.rs"]
mod gates;
#[path = "double/paths.rs"]
mod paths;
#[path = "double/roles.rs"]
mod roles;
mod sim;

use std::net::SocketAddr;

use protocol::packet::{self, SessionKeys, Suite};
use protocol::verb::Verb;
use protocol::verbs::{Hello, OkHeader, OkHello, write_hello};
use protocol::world::{Root, World as Planet, WorldKey, WorldKind};
use protocol::{Address, SecretIdentity, Span, Time};
use sim::{Double, START, identity};

/// Where the double is, and its root.
const HERE: &str = "100.64.9.1:9993";
const ROOT: &str = "100.64.0.1:9993";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Somebody who talks to the double.
struct Other {
    secret: SecretIdentity,
    double: Address,
    keys: SessionKeys,
    at: SocketAddr,
    next: u64,
}

/// A packet of the double's, opened.
#[derive(Clone, Debug)]
struct Opened {
    to: SocketAddr,
    id: u64,
    verb: Verb,
    payload: Vec<u8>,
}

impl Other {
    fn new(number: usize, at_text: &str, double: usize) -> Self {
        let (secret, double) = (identity(number), identity(double));
        let keys = SessionKeys::new(&secret.agree(double.identity()).unwrap());
        Self { secret, double: double.address(), keys, at: at(at_text), next: (number as u64 + 1) << 40 }
    }

    fn address(&self) -> Address {
        self.secret.address()
    }

    fn begin(&mut self, verb: Verb) -> Vec<u8> {
        self.next += 1 << 33;
        let mut packet = Vec::new();
        packet::start(&mut packet, self.next, self.double, self.address(), verb);
        packet
    }

    fn seal(&mut self, verb: Verb, payload: &[u8]) -> Vec<u8> {
        let mut packet = self.begin(verb);
        packet.extend_from_slice(payload);
        self.keys.armor(&mut packet, Suite::Salsa);
        packet
    }

    fn hello(&mut self, sent_to: SocketAddr) -> Vec<u8> {
        let hello = Hello {
            protocol: 12,
            major: 1,
            minor: 14,
            revision: 1,
            timestamp: 1,
            identity: self.secret.identity().clone(),
            sent_to: Some(sent_to),
            planet: Some((4711, 1)),
            masked_tail_at: None,
        };
        let mut packet = self.begin(Verb::Hello);
        write_hello(&mut packet, 0, &hello, &[], &self.keys);
        packet
    }

    /// The answer to a HELLO or an ECHO of the double.
    fn ok(&mut self, question: &Opened) -> Vec<u8> {
        let mut body = Vec::new();
        if question.verb == Verb::Hello {
            let timestamp = Hello::parse(&question.payload).unwrap().timestamp;
            let seen_as = Some(at(HERE));
            let world_bytes = &[];
            OkHello { timestamp, protocol: 12, major: 1, minor: 14, revision: 1, seen_as, world_bytes }
                .write(&mut body);
        } else {
            body.clone_from(&question.payload);
        }
        let mut payload = Vec::new();
        OkHeader { in_re_verb: question.verb as u8, in_re_id: question.id, body: &body }.write(&mut payload);
        self.seal(Verb::Ok, &payload)
    }

    /// What the double has sent to it of late.
    fn open(&self, sent: &[(SocketAddr, Option<u8>, Vec<u8>)]) -> Vec<Opened> {
        let mut opened = Vec::new();
        for (to, _, data) in sent {
            if data.len() < packet::HEADER_LEN || packet::dest(data) != self.address() {
                continue;
            }
            let (mut octets, id) = (data.clone(), packet::id(data));
            assert!(self.keys.open(&mut octets).is_some(), "it seals what it sends");
            packet::decompress(&mut octets).unwrap();
            let (verb, payload) = (packet::verb(&octets).unwrap(), octets[packet::HEADER_LEN..].to_vec());
            opened.push(Opened { to: *to, id, verb, payload });
        }
        opened
    }
}

/// A double and the time.
struct Scene {
    double: Double,
    now: Time,
    sent: Vec<(SocketAddr, Option<u8>, Vec<u8>)>,
}

impl Scene {
    /// A double with identity 9 under a root with identity 0, which does not answer.
    fn new() -> Self {
        Self::with(9)
    }

    /// The same in the seat of the root.
    fn root() -> Self {
        Self::with(0)
    }

    fn with(number: usize) -> Self {
        let root = Root { identity: identity(0).identity().clone(), endpoints: vec![at(ROOT)] };
        let key = WorldKey::from_secret([7; 64]);
        let planet = Planet::new_signed(WorldKind::Planet, 4711, 1, &key, vec![root]);
        let place = if number == 0 { ROOT } else { HERE };
        let mut double = Double::new(identity(number), planet, 3, START, at(place));
        double.tick(START);
        Self { double, now: START, sent: Vec::new() }
    }

    fn feed(&mut self, from: SocketAddr, data: &[u8]) {
        self.double.datagram(self.now, from, data);
        self.collect();
    }

    fn collect(&mut self) {
        self.sent.extend(self.double.sent.drain(..).map(|sent| (sent.to, sent.ttl, sent.data)));
    }

    fn pass(&mut self, ms: i64) {
        let end = self.now + Span::ms(ms);
        while self.double.next_deadline() <= end {
            self.now = self.double.next_deadline().max(self.now);
            self.double.tick(self.now);
        }
        self.now = end;
        self.collect();
    }

    /// What has been sent to somebody since this was last asked; what went to others is forgotten.
    fn taken(&mut self, other: &Other) -> Vec<Opened> {
        other.open(&std::mem::take(&mut self.sent))
    }

    /// The verbs of it, by where they went.
    fn verbs(&mut self, other: &Other) -> Vec<(Verb, SocketAddr)> {
        self.taken(other).into_iter().map(|packet| (packet.verb, packet.to)).collect()
    }

    /// Somebody greets from where he is, and answers the greeting that comes back: a path is known.
    fn meet(&mut self, other: &mut Other) {
        let hello = other.hello(at(HERE));
        self.feed(other.at, &hello);
        self.answer_all(other);
        assert!(self.double.path_to(self.now, other.address()).is_some(), "a path is known");
    }

    /// Answers what was asked of somebody, from where he is.
    fn answer_all(&mut self, other: &mut Other) {
        for question in self.taken(other) {
            if matches!(question.verb, Verb::Hello | Verb::Echo) && question.to == other.at {
                let answer = other.ok(&question);
                self.feed(other.at, &answer);
            }
        }
    }
}
