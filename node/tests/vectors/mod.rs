//! A core under test, and the other side of its conversations.

mod bad_packets;
mod fragmentation;
mod hello;
mod tap_frames;
mod transcripts;
mod world;

#[path = "../../../protocol/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use node::core::event::{Errand, Event, Settings};
use node::core::path::SocketId;
use node::core::{Core, CoreConfig};
use protocol::packet::{self, Datagram, Reassembler, SessionKeys, Suite};
use protocol::verb::Verb;
use protocol::verbs::{Hello, OkHeader, OkHello, write_hello};
use protocol::world::World;
use protocol::{Address, Identity, NetworkId, SecretIdentity, Time};

/// The only socket of a core under test.
const SOCKET: SocketId = SocketId(0);

/// A datagram that the core wants sent.
#[derive(Clone, Debug)]
struct Sent {
    to: SocketAddr,
    socket: Option<SocketId>,
    ttl: Option<u8>,
    raw: Vec<u8>,
}

/// Everything a core wants done.
#[derive(Debug, Default)]
struct Output {
    datagrams: Vec<Sent>,
    frames: Vec<(NetworkId, Vec<u8>)>,
    errands: Vec<Errand>,
    events: Vec<Event>,
}

/// A packet of the core's, opened by whom it is addressed to.
#[derive(Clone, Debug)]
struct Opened {
    to: SocketAddr,
    socket: Option<SocketId>,
    dest: Address,
    id: u64,
    suite: u8,
    hops: u8,
    verb: Verb,
    payload: Vec<u8>,
}

/// A moment in a vector: milliseconds.
fn time(value: &support::Value, key: &str) -> Time {
    Time::from_ms(support::number(value, key).cast_signed())
}

/// A core under a planet, with a fixed seed.
fn core(secret: &SecretIdentity, planet: &[u8], settings: Settings, now: Time) -> Core {
    let planet = World::parse(planet).unwrap();
    Core::new(CoreConfig { identity: secret.clone(), planet, seed: [42; 32], settings }, now)
}

/// Makes an identity known without any packet, as the cache of an earlier run does.
fn introduce(core: &mut Core, now: Time, identity: &Identity) {
    let mut record = vec![2];
    identity.write(&mut record);
    record.extend_from_slice(&[0; 10]);
    core.restore_peer(&record).unwrap();
    check_identities(core, now, |_| true);
}

/// Feeds one datagram.
fn feed(core: &mut Core, now: Time, from: SocketAddr, datagram: &[u8]) {
    core.datagram(now, SOCKET, from, &mut datagram.to_vec());
    check_identities(core, now, Identity::locally_valid);
}

/// Checks the identities that the core wants checked, as another thread of the daemon does.
fn check_identities(core: &mut Core, now: Time, valid: impl Fn(&Identity) -> bool) {
    let (checks, others): (Vec<Errand>, Vec<Errand>) =
        core.outbox().errands.drain(..).partition(|errand| matches!(errand, Errand::CheckIdentity { .. }));
    core.outbox().errands.extend(others);
    for errand in checks {
        if let Errand::CheckIdentity { identity, .. } = errand {
            core.identity_checked(now, &identity, valid(&identity));
        }
    }
}

/// Takes out what the core has produced.
fn drain(core: &mut Core) -> Output {
    let outbox = core.outbox();
    let output = Output {
        datagrams: outbox
            .datagrams
            .iter()
            .map(|(s, raw)| Sent { to: s.to, socket: s.socket, ttl: s.ttl, raw: raw.to_vec() })
            .collect(),
        frames: outbox.frames.iter().map(|(network, frame)| (network, frame.to_vec())).collect(),
        errands: outbox.errands.drain(..).collect(),
        events: outbox.events.drain(..).collect(),
    };
    outbox.datagrams.clear();
    outbox.frames.clear();
    output
}

/// Opens the packets among datagrams with the keys of those they are addressed to, fragments put together. Packets to
/// others and beacons are left out.
fn open(datagrams: &[Sent], others: &BTreeMap<Address, SessionKeys>) -> Vec<Opened> {
    let mut opened = Vec::new();
    let mut fragments = Reassembler::new(32);
    for sent in datagrams {
        let whole = match packet::classify(&sent.raw) {
            Datagram::Packet if packet::is_fragmented(&sent.raw) => {
                fragments.insert_head(Time::EPOCH, sent.to, &sent.raw)
            }
            Datagram::Packet => Some(sent.raw.clone()),
            Datagram::Fragment => fragments.insert_fragment(Time::EPOCH, sent.to, &sent.raw),
            Datagram::Beacon | Datagram::Junk => None,
        };
        let Some(mut raw) = whole else { continue };
        let Some(keys) = others.get(&packet::dest(&raw)) else { continue };
        let (id, suite) = (packet::id(&raw), packet::suite(&raw));
        if others.contains_key(&packet::source(&raw)) {
            // Carried for somebody else.
            continue;
        }
        assert!(suite == 2 || keys.dearmor(&mut raw), "a packet that its receiver cannot open");
        packet::decompress(&mut raw).unwrap();
        opened.push(Opened {
            to: sent.to,
            socket: sent.socket,
            dest: packet::dest(&raw),
            id,
            suite,
            hops: packet::hops(&raw),
            verb: packet::verb(&raw).unwrap(),
            payload: raw[packet::HEADER_LEN..].to_vec(),
        });
    }
    opened
}

/// The other side: a node that does what a test tells it to.
struct Other {
    secret: SecretIdentity,
    us: Address,
    keys: SessionKeys,
    at: SocketAddr,
    next_id: u64,
}

impl Other {
    fn new(secret: &SecretIdentity, us: &Identity, at: SocketAddr) -> Self {
        let keys = SessionKeys::new(&secret.agree(us).unwrap());
        Self { secret: secret.clone(), us: us.address, keys, at, next_id: secret.address().to_u64() << 16 }
    }

    fn address(&self) -> Address {
        self.secret.address()
    }

    /// The keys of several others, for [`open`].
    fn keys(others: &[&SecretIdentity], us: &Identity) -> BTreeMap<Address, SessionKeys> {
        others.iter().map(|s| (s.address(), SessionKeys::new(&s.agree(us).unwrap()))).collect()
    }

    /// Sends a packet to the core.
    fn send(&mut self, core: &mut Core, now: Time, verb: Verb, payload: &[u8]) {
        self.next_id += 1;
        let mut packet = Vec::new();
        packet::start(&mut packet, self.next_id, self.us, self.address(), verb);
        packet.extend_from_slice(payload);
        self.keys.armor(&mut packet, Suite::AesGmacSiv);
        feed(core, now, self.at, &packet);
    }

    /// Says HELLO to the core.
    fn hello(&mut self, core: &mut Core, now: Time) {
        self.next_id += 1;
        let mut packet = Vec::new();
        packet::start(&mut packet, self.next_id, self.us, self.address(), Verb::Hello);
        let hello = Hello {
            protocol: 12,
            major: 1,
            minor: 14,
            revision: 1,
            timestamp: now.as_ms().cast_unsigned(),
            identity: self.secret.identity().clone(),
            sent_to: None,
            planet: None,
            masked_tail_at: None,
        };
        write_hello(&mut packet, 0, &hello, &[], &self.keys);
        feed(core, now, self.at, &packet);
    }

    /// Answers the latest HELLO of the core among `output`, with worlds. Whether there was one.
    fn answer_hello(&mut self, core: &mut Core, now: Time, output: &Output, world_bytes: &[u8]) -> bool {
        let hello = output.datagrams.iter().rev().find(|sent| {
            sent.raw.len() > packet::HEADER_LEN
                && packet::classify(&sent.raw) == Datagram::Packet
                && packet::dest(&sent.raw) == self.address()
                && packet::suite(&sent.raw) == 0
                && packet::verb(&sent.raw) == Some(Verb::Hello)
        });
        let Some(hello) = hello else { return false };
        let ok = OkHello {
            timestamp: now.as_ms().cast_unsigned(),
            protocol: 12,
            major: 1,
            minor: 14,
            revision: 1,
            seen_as: None,
            world_bytes,
        };
        let mut body = Vec::new();
        ok.write(&mut body);
        let mut payload = Vec::new();
        let in_re_id = packet::id(&hello.raw);
        OkHeader { in_re_verb: Verb::Hello as u8, in_re_id, body: &body }.write(&mut payload);
        self.send(core, now, Verb::Ok, &payload);
        true
    }

    /// HELLO and OK in one direction, ECHO and OK in the other: afterwards the core has a direct path here.
    fn meet(&mut self, core: &mut Core, now: Time) {
        drain(core);
        self.hello(core, now);
        let output = drain(core);
        assert!(self.answer_echo(core, now, &output), "the core confirms the path");
        // It has asked for the version if it did not know it.
        let output = drain(core);
        self.answer_hello(core, now, &output, &[]);
    }

    /// Answers the latest ECHO of the core among `output`. Whether there was one.
    fn answer_echo(&mut self, core: &mut Core, now: Time, output: &Output) -> bool {
        let keys = BTreeMap::from([(self.address(), self.keys.clone())]);
        let echo = open(&output.datagrams, &keys).into_iter().rfind(|packet| packet.verb == Verb::Echo);
        let Some(echo) = echo else { return false };
        let mut payload = Vec::new();
        OkHeader { in_re_verb: Verb::Echo as u8, in_re_id: echo.id, body: &echo.payload }.write(&mut payload);
        self.send(core, now, Verb::Ok, &payload);
        true
    }
}

/// A name in `deviations` excuses a difference, which has to be there then.
fn judge(file: &str, deviations: &[(&str, &str)], failures: Vec<(String, String)>) {
    let excused = |name: &str| deviations.iter().any(|(pattern, _)| *pattern == name);
    let unexpected: Vec<String> = failures
        .iter()
        .filter(|(name, _)| !excused(name))
        .map(|(name, what)| format!("{name}: {what}"))
        .collect();
    assert!(unexpected.is_empty(), "{file}:\n{}", unexpected.join("\n"));
    // Other files of the same format need not have our cases.
    if std::env::var_os("ZTNODE_VECTORS").is_none() {
        for (name, reason) in deviations {
            assert!(failures.iter().any(|(n, _)| n == name), "{file}: {name} no longer differs ({reason})");
        }
    }
}
