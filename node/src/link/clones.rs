//! Noticing that another machine runs with our identity: two machines made from one image, or a backup that woke up elsewhere.
//!
//! An extension of ours that others need not know of. A node now and then writes **to itself**: a packet sealed with the key that
//! an identity agrees upon with itself, which nobody can make or read who does not hold its secret. It goes inside an ordinary
//! application message to roots, controllers and a few members of common networks. One that is a ztnode hands it to every other
//! place at which it heard the sender; any other drops it. While there is one machine, nothing comes of it. With two, the other
//! one hears it within a round trip, and answers the same way and directly at the addresses told in it.
//!
//! The sealed packet is addressed to a reserved address and never to our own: a relay of another make need not cope with a packet
//! from an address to the same address, which no protocol message calls for.
//!
//! A run of a node has a random mark, so that a node knows its own packets. A packet recorded earlier proves nothing: another
//! run is believed when it repeats our mark, or when it spoke after we started (our own earlier run was over by then). So neither
//! a quick restart nor a replay, a new address or a NAT that forgets raises an alarm.
//!
//! Which of two should give way, both conclude from the same facts: the one that is not on the machine the identity belongs to;
//! else the one that started later.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use protocol::inet::{encode_inet, usable_for_paths};
use protocol::packet::{self, Sealed, SessionKeys, Suite};
use protocol::verb::Verb;
use protocol::verbs::UserMessage;
use protocol::{Address, Reader, Result, Span, Time};
use rand::RngExt;

use crate::ground::buckets::{Buckets, Keyed};
use crate::ground::event::{CloneSeen, Event, Machine};
use crate::ground::gate::Gate;
use crate::ground::limits::GATE_BUCKETS;
use crate::ground::work;
use crate::link::Incoming;
use crate::link::Link;
use crate::link::path::PathKey;
use crate::link::peer::Best;

/// Type of the message, far from the reserved ones: `ztnodeTW`.
pub(crate) const KIND: u64 = 0x7a74_6e6f_6465_5457;
/// Type of the message that asks to hand a sealed packet on: `ztnodeCA`.
pub(crate) const CARRY: u64 = 0x7a74_6e6f_6465_4341;
/// What a sealed packet is addressed to: reserved, so nobody has it and nobody relays to it.
const OURSELVES: [u8; 5] = [0xff, 0x7a, 0x74, 0x6e, 0x64];
/// Longest sealed packet handed on, bytes.
pub(crate) const MAX_SEALED: usize = 512;
/// Form of the message.
const FORM: u8 = 1;
/// Pauses before the first calls; the last repeats.
const PAUSES: [Span; 6] =
    [Span::ms(500), Span::secs(1), Span::secs(2), Span::secs(4), Span::secs(8), Span::secs(15)];
/// A clone that was not heard for this long is gone.
const GONE: Span = Span::secs(120);
/// Other runs kept in mind.
pub(crate) const MAX_CLONES: usize = 8;
/// Addresses told in a message, and tried when told.
const MAX_ENDPOINTS: usize = 8;
/// Nodes asked to hand a message on, and how many of them may be mere members.
const MAX_CARRIERS: usize = 12;
const MAX_MEMBERS: usize = 4;
/// Messages to ourselves opened: one in this time, and so many at once.
const OPEN_GATE: Span = Span::ms(100);
const OPEN_BURST: i64 = 20;
/// Answers: likewise.
const ANSWER_GATE: Span = Span::ms(500);
const ANSWER_BURST: i64 = 8;
/// How often the service is told that a clone is still there.
const REMIND: Span = Span::secs(60);
/// Addresses, and places of each, from which they wrote to themselves.
pub(crate) const MAX_REFLECTED: usize = 4_096;
const MAX_PLACES: usize = 4;
/// How long such a place is remembered.
const PLACE_LIFE: Span = Span::secs(60);
/// Packets of one address to itself handed on: one in this time, and so many at once.
const REFLECT_GATE: Span = Span::ms(250);
const REFLECT_BURST: i64 = 8;

/// A run of a node.
type Mark = [u8; 16];

/// What a message is in the exchange that convinces both sides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    /// Is anybody there?
    Call,
    /// Yes; I heard the run named.
    Answer,
    /// I heard the answer of the run named.
    Confirm,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Message {
    step: Step,
    /// Whether the sender's machine is the one its identity belongs to.
    at_home: bool,
    mark: Mark,
    /// The run this answers; zeros in a call.
    heard: Mark,
    machine: [u8; 16],
    started: Time,
    sent: Time,
    endpoints: Vec<SocketAddr>,
}

impl Message {
    fn write(&self) -> Vec<u8> {
        let mut bytes = vec![FORM, self.step as u8, u8::from(self.at_home)];
        for part in [&self.mark, &self.heard, &self.machine] {
            bytes.extend_from_slice(part);
        }
        bytes.extend_from_slice(&self.started.as_ms().to_be_bytes());
        bytes.extend_from_slice(&self.sent.as_ms().to_be_bytes());
        bytes.push(self.endpoints.len() as u8);
        for endpoint in &self.endpoints {
            encode_inet(&mut bytes, Some(*endpoint));
        }
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        if reader.u8("form of a message to ourselves")? != FORM {
            return Err(reader.fail("another form of a message to ourselves"));
        }
        let step = match reader.u8("step of a message to ourselves")? {
            0 => Step::Call,
            1 => Step::Answer,
            2 => Step::Confirm,
            _ => return Err(reader.fail("unknown step of a message to ourselves")),
        };
        let at_home = reader.u8("flags of a message to ourselves")? & 1 != 0;
        let mark = reader.array("mark of a run")?;
        let heard = reader.array("mark of a heard run")?;
        let machine = reader.array("machine of a run")?;
        let started = Time::from_ms(reader.u64("start of a run")?.cast_signed());
        let sent = Time::from_ms(reader.u64("time of a message")?.cast_signed());
        let count = usize::from(reader.u8("number of addresses")?).min(MAX_ENDPOINTS);
        let mut endpoints = Vec::new();
        for _ in 0..count {
            endpoints.extend(reader.inet("address of a run")?);
        }
        Ok(Message { step, at_home, mark, heard, machine, started, sent, endpoints })
    }
}

/// Another run of our identity.
#[derive(Clone, Debug)]
struct Other {
    since: Time,
    last: Time,
    same_machine: bool,
    give_way: bool,
    started: Time,
    endpoints: Vec<SocketAddr>,
}

/// What is needed to notice clones; there only after [`Core::watch_for_clones`].
pub(crate) struct Watch {
    keys: SessionKeys,
    mark: Mark,
    machine: Machine,
    started: Time,
    next: Time,
    calls: usize,
    opened: Gate,
    answers: Gate,
    others: BTreeMap<Mark, Other>,
    told: Option<Time>,
}

impl Watch {
    /// When the next call or expiry is due.
    pub(crate) fn next(&self) -> Time {
        self.next
    }

    fn believes(&self, message: &Message) -> bool {
        message.heard == self.mark || message.sent > self.started
    }

    /// Whether we, rather than the sender, should give way. Both sides come to opposite answers.
    fn gives_way(&self, message: &Message) -> bool {
        match (self.machine.at_home, message.at_home) {
            (true, false) => false,
            (false, true) => true,
            _ => (self.started, self.mark) > (message.started, message.mark),
        }
    }
}

/// From where an address wrote: the path, and whether a relay stood between.
type Place = (PathKey, bool);

/// From where addresses wrote to themselves.
#[derive(Debug, Default)]
pub(crate) struct Reflections {
    places: BTreeMap<Address, Vec<(Place, Time)>>,
}

impl Reflections {
    /// Notes a place; gives the other recent ones.
    fn note(&mut self, now: Time, address: Address, from: Place) -> Vec<Place> {
        if self.places.len() >= MAX_REFLECTED && !self.places.contains_key(&address) {
            self.expire(now);
            if self.places.len() >= MAX_REFLECTED {
                return Vec::new();
            }
        }
        let places = self.places.entry(address).or_default();
        places.retain(|(place, at)| *place != from && now - *at < PLACE_LIFE);
        let others = places.iter().map(|(place, _)| *place).collect();
        if places.len() >= MAX_PLACES {
            places.remove(0);
        }
        places.push((from, now));
        others
    }

    /// Forgets old places.
    pub(crate) fn expire(&mut self, now: Time) {
        self.places.retain(|_, places| {
            work::step();
            places.retain(|(_, at)| now - *at < PLACE_LIFE);
            !places.is_empty()
        });
    }
}

/// Looking out for other machines with our identity, and for others who may have such.
pub(crate) struct Clones {
    watch: Option<Watch>,
    pub(crate) reflections: Reflections,
    /// Gates for handing on what addresses write to themselves.
    pub(crate) reflecting: Buckets,
}

impl Clones {
    /// Nobody is looked out for; `hash` keys its gates.
    pub(crate) fn new(hash: Keyed) -> Self {
        Self {
            watch: None,
            reflections: Reflections::default(),
            reflecting: Buckets::new(GATE_BUCKETS, hash),
        }
    }

    /// When there is something to do by the clock.
    pub(crate) fn next(&self) -> Option<Time> {
        self.watch.as_ref().map(Watch::next)
    }

    /// Begins to look out for other machines with our identity; again: the machine turned out to be another (or the identity
    /// was bound to it).
    pub(crate) fn watch_for_clones(&mut self, link: &mut Link, now: Time, machine: Machine) {
        if let Some(watch) = &mut self.watch {
            watch.machine = machine;
            return;
        }
        // An identity whose key is of small order cannot agree with anybody.
        let Some(agreed) = link.secret.agree(link.secret.identity()) else { return };
        self.watch = Some(Watch {
            keys: SessionKeys::new(&agreed),
            mark: link.rng.random(),
            machine,
            started: now,
            next: now + PAUSES[0],
            calls: 0,
            opened: Gate::default(),
            answers: Gate::default(),
            others: BTreeMap::new(),
            told: None,
        });
    }

    /// Calls when it is due, and forgets clones that fell silent.
    pub(crate) fn call_clones(&mut self, link: &mut Link, now: Time) {
        let Some(watch) = self.watch.as_mut().filter(|w| now >= w.next) else { return };
        let before = watch.others.len();
        watch.others.retain(|_, other| now - other.last < GONE);
        let gone = before != watch.others.len();
        let reachable = !self.carriers(link, now).is_empty();
        let Some(watch) = &mut self.watch else { return };
        // Calls into the void do not count: the quick ones come when somebody can carry them.
        watch.calls = if reachable { (watch.calls + 1).min(PAUSES.len() - 1) } else { 0 };
        watch.next = now + if reachable { PAUSES[watch.calls] } else { PAUSES[1] };
        if reachable {
            self.say_to_clones(link, now, Step::Call, [0; 16], &[]);
        }
        if gone {
            self.tell_of_clones(link, now);
        }
    }

    /// Those who may know of other places of our address, and can be reached.
    fn carriers(&self, link: &Link, now: Time) -> Vec<Address> {
        // A controller may know the other place only, and then answers us there: so it is asked by way of a root, if need be.
        let controllers = link.controllers.iter().copied();
        let direct = |address: &Address| link.topology.direct_path(now, *address).is_some_and(Best::is_alive);
        let members = link
            .topology
            .peers
            .iter()
            .inspect(|_| work::step())
            .filter(|(_, peer)| peer.is_trusted(now))
            .map(|(address, _)| *address);
        let mut chosen: Vec<Address> = Vec::new();
        let upstreams = link.topology.upstreams.keys().copied().filter(direct);
        let members: Vec<Address> = members.filter(direct).take(MAX_MEMBERS).collect();
        if upstreams.clone().next().is_none() && members.is_empty() {
            return chosen;
        }
        for address in upstreams.chain(controllers).chain(members) {
            if address != link.address() && !chosen.contains(&address) && chosen.len() < MAX_CARRIERS {
                chosen.push(address);
            }
        }
        chosen
    }

    /// Writes to our own address: by those who hand it on, and straight to `endpoints`.
    fn say_to_clones(
        &mut self,
        link: &mut Link,
        now: Time,
        step: Step,
        heard: Mark,
        endpoints: &[SocketAddr],
    ) {
        let mut own: Vec<SocketAddr> = link.surfaces.advertised();
        own.extend(link.local.iter().map(|(_, address)| *address));
        own.retain(|e| e.port() != 0 && usable_for_paths(e.ip()));
        own.dedup();
        own.truncate(MAX_ENDPOINTS);
        let carriers = self.carriers(link, now);
        let id = link.rng.random();
        let us = link.address();
        let Some(watch) = &self.watch else { return };
        let message = Message {
            step,
            at_home: watch.machine.at_home,
            mark: watch.mark,
            heard,
            machine: watch.machine.id,
            started: watch.started,
            sent: now,
            endpoints: own.clone(),
        };
        let mut sealed = Vec::new();
        packet::start(&mut sealed, id, Address::from_bytes(OURSELVES), us, Verb::UserMessage);
        UserMessage { kind: KIND, body: &message.write() }.write(&mut sealed);
        watch.keys.armor(&mut sealed, Suite::AesGmacSiv);
        for carrier in carriers {
            let mut packet = link.begin(carrier, Verb::UserMessage);
            UserMessage { kind: CARRY, body: &sealed }.write(&mut packet);
            link.send(now, packet);
        }
        for endpoint in endpoints {
            if !own.contains(endpoint) && link.may_probe(*endpoint) {
                link.put(now, None, *endpoint, None, &sealed);
            }
        }
    }

    /// A packet that names us as its sender: ours that came back, that of a clone, or a forgery.
    pub(crate) fn hear_clone(&mut self, link: &mut Link, now: Time, data: &mut [u8]) {
        let Some(watch) = &mut self.watch else { return };
        if packet::dest(data) != Address::from_bytes(OURSELVES) {
            return;
        }
        if !watch.opened.allow(now, OPEN_GATE, OPEN_BURST) {
            return;
        }
        let Ok(packet) = Sealed::new(data) else { return };
        let Ok(packet) = packet.open(&watch.keys) else { return };
        let Ok(UserMessage { kind: KIND, body }) = UserMessage::parse(packet.payload()) else { return };
        let Ok(message) = Message::parse(body) else { return };
        if message.mark == watch.mark || (message.heard != [0; 16] && message.heard != watch.mark) {
            return;
        }
        let mut endpoints = message.endpoints.clone();
        endpoints.retain(|e| e.port() != 0 && usable_for_paths(e.ip()));
        if watch.believes(&message) {
            let give_way = watch.gives_way(&message);
            let other = Other {
                since: watch.others.get(&message.mark).map_or(now, |o| o.since),
                last: now,
                same_machine: watch.machine.id == message.machine,
                give_way,
                started: message.started,
                endpoints: endpoints.clone(),
            };
            let known = watch.others.get(&message.mark).is_some_and(|o| o.give_way == give_way);
            if known || watch.others.len() < MAX_CLONES {
                watch.others.insert(message.mark, other);
            }
            if !known || watch.told.is_none_or(|at| now - at >= REMIND) {
                self.tell_of_clones(link, now);
            }
        }
        let Some(watch) = &mut self.watch else { return };
        let step = match message.step {
            Step::Call => Step::Answer,
            Step::Answer => Step::Confirm,
            Step::Confirm => return,
        };
        if watch.answers.allow(now, ANSWER_GATE, ANSWER_BURST) {
            self.say_to_clones(link, now, step, message.mark, &endpoints);
        }
    }

    fn tell_of_clones(&mut self, link: &mut Link, now: Time) {
        let Some(watch) = &mut self.watch else { return };
        watch.told = Some(now);
        let clones = watch.others.values().map(|o| CloneSeen {
            since: o.since,
            last: o.last,
            started: o.started,
            same_machine: o.same_machine,
            give_way: o.give_way,
            endpoints: o.endpoints.clone(),
        });
        link.outbox.events.push_back(Event::Clones(clones.collect()));
    }

    /// Hands what an address wrote to itself to all other places where that address was heard. The sender is authentic.
    pub(crate) fn hand_on(&mut self, link: &mut Link, now: Time, incoming: &Incoming<'_>, sealed: &[u8]) {
        let (via, source) = (incoming.via, incoming.source);
        if sealed.len() >= packet::HEADER_LEN && packet::source(sealed) == link.address() {
            // Handed on to us.
            self.hear_clone(link, now, &mut sealed.to_vec());
            return;
        }
        let fits = (packet::HEADER_LEN..=MAX_SEALED).contains(&sealed.len());
        if !fits || packet::source(sealed) != source || packet::dest(sealed) != Address::from_bytes(OURSELVES)
        {
            return;
        }
        let Some(peer) = link.topology.peers.get(&source) else { return };
        let alive = |key: &PathKey| link.topology.paths.get(key).is_some_and(|path| path.is_alive(now));
        let mut places: Vec<Place> =
            peer.paths.iter().map(|p| p.key).filter(alive).map(|key| (key, false)).collect();
        if !self.reflecting.allow(&source, now, REFLECT_GATE, REFLECT_BURST) {
            link.counters.dropped += 1;
            return;
        }
        // Two machines behind one NAT are one path to us, the latest port of it: where they write from tells them apart.
        let from = (via, incoming.hops > 0);
        places.extend(self.reflections.note(now, source, from));
        places.sort_unstable();
        places.dedup();
        for (key, relayed) in places.into_iter().filter(|place| *place != from).take(2 * MAX_PLACES) {
            if relayed {
                // The relay carries only what is addressed to somebody.
                let mut packet = link.begin(source, Verb::UserMessage);
                UserMessage { kind: CARRY, body: sealed }.write(&mut packet);
                link.reply(now, key, packet);
            } else {
                // Where it was merely heard, it may never have been.
                if link.may_send(now, key, sealed.len()) {
                    link.put(now, Some(key.socket), key.remote, None, sealed);
                }
            }
        }
    }
}

#[cfg(feature = "work")]
impl Reflections {
    /// See `filling`.
    pub(crate) fn fill(&mut self, now: Time, peer: impl Fn(u64) -> Address, via: impl Fn(u64) -> PathKey) {
        for number in 0..2 * MAX_REFLECTED as u64 {
            if self.places.len() >= MAX_REFLECTED {
                break;
            }
            self.places.entry(peer(number)).or_insert_with(|| vec![((via(number), false), now)]);
        }
    }

    /// See `filling`.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message() -> Message {
        Message {
            step: Step::Answer,
            at_home: true,
            mark: [1; 16],
            heard: [2; 16],
            machine: [3; 16],
            started: Time::from_ms(1_700_000_000_000),
            sent: Time::from_ms(1_700_000_001_000),
            endpoints: vec!["192.0.2.1:9993".parse().unwrap(), "[2001:db8::1]:9993".parse().unwrap()],
        }
    }

    #[test]
    fn messages_round_trip_and_cut_ones_are_refused() {
        let bytes = message().write();
        assert_eq!(Message::parse(&bytes).unwrap(), message());
        for length in 0..bytes.len() {
            assert!(Message::parse(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::parse(&bytes);
        }
    }
}
