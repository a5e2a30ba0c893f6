//! Who says HELLO and is not known yet: what has to be paid, and by whom, before we believe that an address belongs to a key.
//!
//! Making sure takes a memory-hard hash of some 20 ms, so whoever may cause one at will can keep a node busy. Three gates stand
//! before it, each cheaper than what it protects:
//!
//! 1. so many octets a second from one prefix, whatever they are: one look into a table of fixed size;
//! 2. a key agreement (60 µs) and the MAC of the HELLO, with a budget of its own. A MAC proves nothing, as anybody makes key pairs,
//!    but it costs the sender as much as us;
//! 3. while many come, a proof that the sender is where it says: we greet it with a HELLO of our own, and only a sealed OK that
//!    quotes our packet ID, from the same endpoint, counts. Any implementation gives that proof without knowing. Those who have
//!    given it have a budget of their own, counted by single address, so that neither forged senders nor a neighbour keep them out.
//!
//! The hash itself is computed elsewhere ([`Errand::CheckIdentity`]), and the HELLO waits meanwhile: nothing but waiting is done with
//! an identity that has not been checked. The same goes for identities that roots tell us in answer to WHOIS, and for those in
//! records of an earlier run.

use std::net::IpAddr;

use protocol::packet::{self, Authentic, Sealed, SessionKeys};
use protocol::verb::Verb;
use protocol::verbs::{Hello, OkHeader};
use protocol::{Address, Identity, Span, Time};
use rand::RngExt;

use crate::ground::buckets::{Buckets, Keyed};
use crate::ground::event::Urgency;
use crate::ground::gate::Gate;
use crate::ground::limits::{
    AGREEMENT_BURST, AGREEMENT_GATE, AGREEMENT_SOURCE_BURST, AGREEMENT_SOURCE_GATE, GATE_BUCKETS, HASH_BURST,
    HASH_GATE, HASH_SOURCE_BURST, HASH_SOURCE_GATE, HASH_UNPROVEN_BURST, HASH_UNPROVEN_GATE, MAX_NEWCOMERS,
    MAX_NEWCOMERS_PER_SOURCE, NEWCOMER_ASK, NEWCOMER_LIFETIME, NEWCOMER_OCTETS, NEWCOMER_OCTETS_BURST,
};
use crate::ground::sources::Source;
use crate::ground::table::Table;
use crate::link::Link;
use crate::link::arrival::Octets;
use crate::link::path::PathKey;

/// Octets that count as one event of the first gate.
const OCTETS: i64 = 64;
/// Longest HELLO kept while its sender is being checked.
const MAX_KEPT: usize = 1_432;

/// How far somebody has got.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    /// Is greeted with a HELLO of this packet ID: when that went out last, if it could.
    Asked { id: u64, at: Option<Time> },
    /// Its identity is being checked; whether it has proven where it is.
    Checked { proven: bool },
}

/// Somebody who is not a peer yet, at one endpoint.
pub(crate) struct Newcomer {
    identity: Identity,
    keys: SessionKeys,
    pub(crate) stage: Stage,
    /// Its HELLO, authentic.
    pub(crate) hello: Authentic<Vec<u8>>,
}

/// The gates, and those between them.
pub(crate) struct Newcomers {
    octets: Buckets,
    agreements: Gate,
    agreements_of: Buckets,
    unproven: Gate,
    proven: Gate,
    unproven_of: Buckets,
    proven_of: Buckets,
    /// By endpoint, so that nobody takes another's place.
    waiting: Table<(Address, PathKey), Source, Newcomer>,
}

/// Endpoints at which one newcomer is waited for at once: an implementation may greet from several ports.
const ENDPOINTS: usize = 16;

impl Newcomers {
    /// Nobody yet.
    pub(crate) fn new(hash: Keyed) -> Self {
        Self {
            octets: Buckets::new(GATE_BUCKETS, hash),
            agreements: Gate::default(),
            agreements_of: Buckets::new(GATE_BUCKETS, hash),
            unproven: Gate::default(),
            proven: Gate::default(),
            unproven_of: Buckets::new(GATE_BUCKETS, hash),
            proven_of: Buckets::new(GATE_BUCKETS, hash),
            waiting: Table::new(MAX_NEWCOMERS, MAX_NEWCOMERS_PER_SOURCE),
        }
    }

    /// Forgets those who did not answer.
    pub(crate) fn expire(&mut self, now: Time) {
        self.waiting.expire(now - NEWCOMER_LIFETIME);
    }

    /// Whether somebody has said HELLO here and is waiting.
    pub(crate) fn expects(&self, address: Address, via: PathKey) -> bool {
        self.waiting.contains_key(&(address, via))
    }

    /// Takes out those who showed this identity, with the endpoints they did so from.
    pub(crate) fn take(&mut self, identity: &Identity) -> Vec<(PathKey, Newcomer)> {
        let first = (identity.address, PathKey::FIRST);
        let heard = self.waiting.range(first..).take_while(|((address, _), _)| *address == identity.address);
        let keys: Vec<_> =
            heard.filter(|(_, n)| n.identity == *identity).map(|(key, _)| *key).take(ENDPOINTS).collect();
        keys.into_iter().filter_map(|key| Some((key.1, self.waiting.remove(&key)?))).collect()
    }

    /// The first gate.
    fn admits(&mut self, now: Time, from: Source, octets: usize) -> bool {
        let events = octets.div_ceil(OCTETS as usize) as i64;
        let pass = |gates: &mut Buckets, of: Source, times: i64| {
            // By a clock sixteen times as fast, so that the wider gate's spacing is a whole number.
            let spacing = Span::secs(16) * OCTETS / (NEWCOMER_OCTETS * times);
            gates.take(
                &of,
                Time::EPOCH + (now - Time::EPOCH) * 16,
                spacing,
                events,
                times * NEWCOMER_OCTETS_BURST / OCTETS,
            )
        };
        pass(&mut self.octets, from, 1) && pass(&mut self.octets, from.wide(), 16)
    }

    /// Whether an identity may be checked now, for somebody who has proven where he is or not.
    fn may_check(&mut self, now: Time, ip: IpAddr, proven: bool) -> bool {
        if proven {
            self.proven_of.allow(&ip, now, HASH_SOURCE_GATE, HASH_SOURCE_BURST)
                && self.proven.allow(now, HASH_GATE, HASH_BURST)
        } else {
            self.unproven.is_open(now, HASH_UNPROVEN_GATE, HASH_UNPROVEN_BURST)
                && self.unproven_of.allow(&Source::of(ip), now, HASH_SOURCE_GATE, HASH_SOURCE_BURST)
                && self.unproven.allow(now, HASH_UNPROVEN_GATE, HASH_UNPROVEN_BURST)
        }
    }
}

impl Newcomers {
    /// The key shared with somebody whose HELLO we hold, if the gates let us compute it and the HELLO is sealed with it.
    pub(crate) fn agree_with_newcomer(
        &mut self,
        link: &mut Link,
        now: Time,
        via: PathKey,
        packet: Sealed<Octets<'_>>,
        hello: &Hello,
    ) -> Option<(SessionKeys, Authentic<Vec<u8>>)> {
        let source = Source::of(via.remote.ip());
        let newcomers = self;
        if !newcomers.admits(now, source, packet.octets().len())
            || !newcomers.agreements_of.allow(&source, now, AGREEMENT_SOURCE_GATE, AGREEMENT_SOURCE_BURST)
            || !newcomers.agreements.allow(now, AGREEMENT_GATE, AGREEMENT_BURST)
        {
            return None;
        }
        let keys = SessionKeys::new(&*link.secret.agree(&hello.identity)?);
        let packet = packet.open(&keys).ok()?;
        Some((keys, packet.map(|octets| octets.to_vec())))
    }

    /// A HELLO of somebody we do not know.
    pub(crate) fn hear_newcomer(
        &mut self,
        link: &mut Link,
        now: Time,
        via: PathKey,
        packet: Sealed<Octets<'_>>,
        hello: &Hello,
    ) -> Option<()> {
        let address = hello.identity.address;
        if packet.octets().len() > MAX_KEPT || address.is_reserved() {
            return None;
        }
        let key = (address, via);
        if self.waiting.get(&key).is_some_and(|known| known.identity == hello.identity) {
            // It repeats itself. What was agreed once need not be agreed again.
            return self.hear_again(link, now, key);
        }
        let (keys, opened) = self.agree_with_newcomer(link, now, via, packet, hello)?;
        let identity = hello.identity.clone();
        let stage = if self.may_check(now, via.remote.ip(), false) {
            Stage::Checked { proven: false }
        } else {
            Stage::Asked { id: link.rng.random(), at: None }
        };
        let newcomer = Newcomer { identity: identity.clone(), keys, stage, hello: opened };
        self.waiting.insert(now, Source::of(via.remote.ip()), key, newcomer);
        match stage {
            Stage::Checked { .. } => link.check_identity(identity, Urgency::Newcomer),
            Stage::Asked { .. } => self.ask_newcomer(link, now, key),
        }
        Some(())
    }

    fn hear_again(&mut self, link: &mut Link, now: Time, key: (Address, PathKey)) -> Option<()> {
        let newcomer = self.waiting.get(&key)?;
        if let Stage::Asked { at, .. } = newcomer.stage {
            let identity = newcomer.identity.clone();
            if self.may_check(now, key.1.remote.ip(), false) {
                self.waiting.get_mut(&key)?.stage = Stage::Checked { proven: false };
                link.check_identity(identity, Urgency::Newcomer);
            } else if at.is_none_or(|at| now - at >= NEWCOMER_ASK) {
                self.ask_newcomer(link, now, key);
            }
        }
        Some(())
    }

    /// Greets somebody whose identity has not been checked. Its answer proves where it is.
    fn ask_newcomer(&mut self, link: &mut Link, now: Time, key: (Address, PathKey)) {
        let Some(newcomer) = self.waiting.get(&key) else { return };
        let Stage::Asked { id, .. } = newcomer.stage else { return };
        let ((address, via), keys) = (key, newcomer.keys.clone());
        // Without moons ours is no longer than the one it answers.
        let packet = link.hello_packet(now, id, address, via.remote, &[], &keys);
        if link.may_send(now, via, packet.len()) {
            link.put(now, Some(via.socket), via.remote, None, &packet);
            if let Some(newcomer) = self.waiting.get_mut(&key) {
                newcomer.stage = Stage::Asked { id, at: Some(now) };
            }
        }
        link.scratch = packet;
    }

    /// A packet of somebody who is no peer: whether it is a newcomer's answer to our HELLO. Anything else waits until its sender's
    /// identity has been checked.
    pub(crate) fn newcomer_answers(&mut self, link: &mut Link, now: Time, via: PathKey, data: &[u8]) -> bool {
        let key = (packet::source(data), via);
        let Some(newcomer) = self.waiting.get(&key) else { return false };
        let Stage::Asked { id, .. } = newcomer.stage else { return false };
        if data.len() > MAX_KEPT {
            return false;
        }
        // A copy, because what is no answer has to wait as it came.
        let copy = Sealed::new(data.to_vec()).ok();
        let opened = copy.and_then(|packet| packet.open(&newcomer.keys).ok());
        let answers = opened.is_some_and(|packet| {
            packet.verb() == Some(Verb::Ok)
                && OkHeader::parse(packet.payload())
                    .is_ok_and(|ok| ok.in_re_verb == Verb::Hello as u8 && ok.in_re_id == id)
        });
        let identity = newcomer.identity.clone();
        if answers && self.may_check(now, via.remote.ip(), true) {
            if let Some(newcomer) = self.waiting.get_mut(&key) {
                newcomer.stage = Stage::Checked { proven: true };
            }
            link.check_identity(identity, Urgency::Newcomer);
        }
        answers
    }
}

#[cfg(feature = "work")]
impl Newcomers {
    /// See `filling`.
    pub(crate) fn fill(&mut self, now: Time, peer: impl Fn(u64) -> Address, via: impl Fn(u64) -> PathKey) {
        let keys = SessionKeys::new(&[7; 48]);
        let mut octets = Vec::new();
        packet::start(&mut octets, 1, peer(0), peer(1), Verb::Hello);
        keys.armor(&mut octets, protocol::packet::Suite::Clear);
        let Some(hello) = Sealed::new(octets).ok().and_then(|sealed| sealed.open(&keys).ok()) else { return };
        self.waiting.fill(now, |number| {
            let (address, via) = (peer(number), via(number));
            let stage = Stage::Asked { id: number, at: Some(now) };
            let identity = Identity { address, public: [9; 64] };
            let newcomer = Newcomer { identity, keys: keys.clone(), stage, hello: hello.clone() };
            (Source::of(via.remote.ip()), (address, via), newcomer)
        });
    }

    /// See `filling`: those waiting, and gates of each kind.
    pub(crate) fn sizes(&self) -> [usize; 5] {
        let gates = [&self.octets, &self.agreements_of, &self.unproven_of, &self.proven_of].map(Buckets::len);
        [self.waiting.len(), gates[0], gates[1], gates[2], gates[3]]
    }
}
