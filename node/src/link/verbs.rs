//! What each verb of VL1 does, and how somebody becomes a peer: HELLOs, identities that have been checked.
//!
//! Specification: VL1 verbs.

use std::ops::DerefMut;

use protocol::packet::{self, Authentic, Sealed};
use protocol::verb::Verb;
use protocol::verbs::{self, Hello, OkHeader, OkWhois, UserMessage, Whois};
use protocol::{Address, Identity, Result, Time};

use super::arrival::{Octets, Received};
use super::extension;
use super::hello::{MIN_PROTOCOL, version_of};
use super::newcomers::Stage;
use super::path::PathKey;
use super::replay::Greeting;
use super::underlay::Underlay;
use super::ways::Ways;
use super::{Handled, Incoming};
use crate::ground::event::Event;
use crate::ground::limits::{COLLISION_PAUSE, ECHO_BURST, ECHO_GATE, WHOIS_GATE};

/// Identities in one OK(WHOIS), so that the answer stays one datagram of the default size.
const MAX_WHOIS_ANSWERS: usize = 19;
/// Payload echoed at most; nobody sends more than an empty one, but for probes of a path.
const MAX_ECHO: usize = 1_200;

impl Underlay {
    /// Handles a packet whose verb is of VL1 alone.
    pub(crate) fn handle(&mut self, now: Time, verb: Verb, incoming: &Incoming<'_>) -> Result<Handled> {
        match verb {
            Verb::Nop | Verb::RemoteTrace => Ok(Handled::Credit),
            Verb::Whois => self.answer_whois(now, incoming),
            Verb::Rendezvous => self.contacts.rendezvous(&mut self.link, now, incoming),
            Verb::Echo => self.answer_echo(now, incoming),
            Verb::PushDirectPaths => self.contacts.pushed_paths(&mut self.link, now, incoming),
            // Link bonding reports say nothing about the sender's life, as in the reference.
            _ => Ok(Handled::Ignore),
        }
    }

    /// Handles an OK to a request sent at `sent_at`; the answers of VL2 are somebody else's.
    pub(crate) fn handle_ok(
        &mut self,
        now: Time,
        incoming: &Incoming<'_>,
        ok: &OkHeader<'_>,
        sent_at: Time,
    ) -> Result<Handled> {
        if self.memory.settle_clock(&mut self.link, incoming.source, incoming.via, sent_at) {
            // What it is now, its answer tells.
            self.link.say_hello(now, incoming.source, Some(incoming.via.socket), incoming.via.remote);
        }
        if incoming.proves && incoming.hops == 0 {
            Ways::answered(&mut self.link, now, incoming.source, incoming.via, sent_at);
        }
        match Verb::from_byte(ok.in_re_verb) {
            Some(Verb::Hello) => self.contacts.ok_hello(&mut self.link, now, incoming, ok.body, sent_at),
            Some(Verb::Whois) => {
                if self.link.topology.is_upstream(incoming.source) {
                    for identity in OkWhois::parse(ok.body)?.0 {
                        self.link.learn_identity(identity);
                    }
                }
                Ok(Handled::Credit)
            }
            Some(Verb::Echo) => {
                let (source, id) = (incoming.source, ok.in_re_id);
                let measured = self.link.path_mtus.answered(now, source, id, ok.body);
                self.memory.recognized(&mut self.link, source, incoming.chosen, id, ok.body, measured);
                Ok(Handled::Credit)
            }
            _ => Ok(Handled::Credit),
        }
    }

    /// Whether an ERROR answers something of ours that waits. Frames are not kept in mind; everything else has to answer us: an
    /// error recorded earlier does not.
    pub(crate) fn is_awaited(
        &mut self,
        now: Time,
        incoming: &Incoming<'_>,
        error: &verbs::Error<'_>,
    ) -> bool {
        self.link.counters.errors_in[usize::from(error.code & 0x0f)] += 1;
        self.link.expected.sent_at(now, error.in_re_id, incoming.source, error.in_re_verb).is_some()
    }

    /// A root says that another node owns our address. It counts only as the answer to a HELLO of ours, and proves nothing even
    /// then: a HELLO that somebody else sends in our name may quote any packet ID, and a root of another make answers it under
    /// the key it shares with us.
    pub(crate) fn collision_reported(&mut self, now: Time, from: Address, error: &verbs::Error<'_>) {
        let answers = error.in_re_verb == Verb::Hello as u8
            && self.link.topology.is_upstream(from)
            && self.link.expected.sent_at(now, error.in_re_id, from, Verb::Hello as u8).is_some();
        if answers && self.collision_told.is_none_or(|told| now - told >= COLLISION_PAUSE) {
            self.collision_told = Some(now);
            self.link.outbox.events.push_back(Event::IdentityCollision { root: from });
        }
    }

    /// An application message that is none of VL2's.
    pub(crate) fn handle_message(&mut self, now: Time, incoming: &Incoming<'_>, message: &UserMessage<'_>) {
        /// ZeroTier's own software update messages; not ours to act on.
        const SOFTWARE_UPDATE: u64 = 100;
        match message.kind {
            super::clones::CARRY => self.clones.hand_on(&mut self.link, now, incoming, message.body),
            super::extension::ROOTS => {
                super::root_ways::RootWays::told_by(&mut self.link, now, incoming.source, message.body);
            }
            SOFTWARE_UPDATE => {}
            kind => self.link.outbox.events.push_back(Event::UserMessage {
                from: incoming.source,
                kind,
                body: message.body.to_vec(),
            }),
        }
    }

    fn answer_whois(&mut self, now: Time, incoming: &Incoming<'_>) -> Result<Handled> {
        let am_root = self.link.topology.am_root;
        let Some(peer) = self.link.topology.peers.get_mut(&incoming.source) else {
            return Ok(Handled::Ignore);
        };
        if !am_root && !peer.gates.whois.allow(now, WHOIS_GATE, 1) {
            return Ok(Handled::Ignore);
        }
        let mut found = Vec::new();
        for address in Whois::parse(incoming.payload)?.0.into_iter().take(MAX_WHOIS_ANSWERS) {
            if address == self.link.address() {
                found.push(self.link.secret.identity().clone());
            } else if let Some(peer) = self.link.topology.peers.get(&address) {
                found.push(peer.identity.clone());
            } else if !self.link.topology.is_upstream(incoming.source) || am_root {
                self.link.whois_source(now, address);
            }
        }
        if !found.is_empty() {
            let mut packet = self.link.begin_ok(incoming, Verb::Whois);
            OkWhois(found).write(&mut packet);
            self.link.reply(now, incoming.via, packet);
        }
        Ok(Handled::Credit)
    }

    fn answer_echo(&mut self, now: Time, incoming: &Incoming<'_>) -> Result<Handled> {
        let Some(peer) = self.link.topology.peers.get_mut(&incoming.source) else {
            return Ok(Handled::Ignore);
        };
        let probe = extension::answer(incoming.payload);
        if !peer.gates.echo.allow(now, ECHO_GATE, ECHO_BURST)
            || (probe.is_none() && incoming.payload.len() > MAX_ECHO)
        {
            return Ok(Handled::Ignore);
        }
        let mut packet = self.link.begin_ok(incoming, Verb::Echo);
        packet.extend_from_slice(probe.as_ref().map_or(incoming.payload, |answer| answer));
        self.link.reply(now, incoming.via, packet);
        if incoming.payload == extension::MOVED && incoming.fresh && incoming.hops == 0 {
            Ways::moved(&mut self.link, now, incoming.source, &incoming.via);
        }
        if probe.is_some() {
            self.memory.probed_by(&mut self.link, now, incoming.source);
        }
        Ok(Handled::Credit)
    }

    /// A HELLO in clear: it shows who its sender is. Of a peer it becomes authentic here, of anybody else when that has been checked.
    pub(super) fn hear_clear_hello<'d>(
        &mut self,
        now: Time,
        via: PathKey,
        packet: Sealed<Octets<'d>>,
    ) -> Received<'d> {
        self.try_clear_hello(now, via, packet).unwrap_or_else(|| {
            self.link.counters.dropped += 1;
            Received::Nothing
        })
    }

    fn try_clear_hello(
        &mut self,
        now: Time,
        via: PathKey,
        packet: Sealed<Octets<'_>>,
    ) -> Option<Received<'static>> {
        let source = packet.source();
        let (hello, whole) = shown(&packet.octets()[packet::HEADER_LEN..], source)?;
        match self.link.topology.peers.get_mut(&source) {
            Some(peer) if peer.identity == hello.identity => {
                let Ok(mut packet) = packet.open(&peer.keys) else {
                    peer.packets.refused += 1;
                    return None;
                };
                peer.packets.received += 1;
                let greeted = whole.then(|| self.greet(now, via, &hello, &mut packet, false))?;
                self.recycle(packet.into_octets());
                greeted
            }
            Some(_) => {
                self.newcomers.refuse_collision(&mut self.link, now, via, packet, &hello)?;
                Some(Received::Nothing)
            }
            // It is heard again when its identity has been checked.
            None => {
                self.newcomers.hear_newcomer(&mut self.link, now, via, packet, &hello)?;
                Some(Received::Nothing)
            }
        }
    }

    /// A HELLO that has been found authentic: of a known peer in an encrypting suite, or of one whose identity has just been checked.
    /// `counted`: see [`Self::greet`].
    pub(super) fn hear_sealed_hello<'d, O: DerefMut<Target = [u8]>>(
        &mut self,
        now: Time,
        via: PathKey,
        mut packet: Authentic<O>,
        counted: bool,
    ) -> Received<'d> {
        let heard = match shown(packet.payload(), packet.source()) {
            Some((hello, true)) if self.link.topology.peers.contains_key(&packet.source()) => {
                self.greet(now, via, &hello, &mut packet, counted)
            }
            _ => None,
        };
        heard.unwrap_or_else(|| {
            self.link.counters.dropped += 1;
            Received::Nothing
        })
    }

    /// Answers an authentic HELLO of a peer. `counted`: it was counted when it was opened.
    fn greet<O: DerefMut<Target = [u8]>>(
        &mut self,
        now: Time,
        via: PathKey,
        hello: &Hello,
        packet: &mut Authentic<O>,
        counted: bool,
    ) -> Option<Received<'static>> {
        let (source, hops, id) = (packet.source(), packet.hops(), packet.id());
        let greeting = self.memory.judge_greeting(&mut self.link, now, via, packet, hello.timestamp);
        if greeting == Greeting::Replay {
            return None;
        }
        self.link.counters.packets_in[Verb::Hello as usize] += u64::from(!counted);
        if let Some(surface) = hello.sent_to.filter(|_| hops == 0 && greeting != Greeting::Old) {
            self.contacts.surface_reported(&mut self.link, now, source, via, surface);
        }
        let mut moons = Vec::new();
        if let Some(at) = hello.masked_tail_at {
            let from = packet::HEADER_LEN + at;
            let octets = packet.octets_mut();
            self.link.topology.peers.get(&source)?.keys.mask_hello(octets, from);
            moons = Hello::parse_tail(octets.get(from..)?).ok()?;
        }
        if greeting == Greeting::Old {
            self.link.confirm(now, source, via);
            self.contacts.answer_hello(&mut self.link, now, via, id, hello, &moons);
            return Some(Received::Nothing);
        }
        self.link.path_mtus.distrust(now, source);
        let incoming = Incoming {
            via,
            ecn: 0,
            source,
            id,
            hops,
            fresh: greeting == Greeting::New,
            proves: false,
            waited: false,
            chosen: None,
            payload: packet.payload(),
        };
        // The question whether it is there goes before the answer, so that the path is known when the sender makes use of the
        // answer.
        self.contacts.credit(&mut self.link, now, &incoming, Some(Verb::Hello), false);
        self.contacts.answer_hello(&mut self.link, now, via, id, hello, &moons);
        if let Some(peer) = self.link.topology.peers.get_mut(&source) {
            peer.version = version_of(hello.protocol, hello.major, hello.minor, hello.revision);
        }
        self.link.retry_sending(now, Some(source));
        Some(Received::Greeted(source, via))
    }

    /// The outcome of an [`Errand::CheckIdentity`](crate::ground::event::Errand::CheckIdentity): whether the address belongs to the key. `None` if nobody becomes known by it;
    /// else whether somebody has greeted us by it.
    pub(crate) fn identity_checked(&mut self, now: Time, identity: &Identity, valid: bool) -> Option<bool> {
        let heard = self.newcomers.take(identity);
        if !valid {
            self.link.counters.dropped += 1;
            self.earlier.forget(identity.address);
            return None;
        }
        self.earlier.welcome(&mut self.link, now, identity);
        if self.link.topology.peers.get(&identity.address).is_none_or(|peer| peer.identity != *identity) {
            return None;
        }
        let mut greeted = false;
        for (via, newcomer) in heard {
            if newcomer.stage == (Stage::Checked { proven: true })
                && self.link.path_allowed(identity.address, via.remote)
            {
                self.contacts.learn_path(&mut self.link, now, identity.address, via, false);
            }
            // What its HELLO lets out went to nobody yet, or has come back with its answer.
            self.link.arrival = Some((via, newcomer.hello.octets().len()));
            let received = self.hear_sealed_hello(now, via, newcomer.hello, false);
            greeted |= matches!(received, Received::Greeted(..));
            self.link.arrival = None;
        }
        self.link.gates.whois.forget(&identity.address);
        self.link.retry_sending(now, Some(identity.address));
        Some(greeted)
    }
}

/// What a HELLO shows of its sender, and whether all of it makes sense. What follows the identity may be garbage: its owner becomes
/// known by it all the same, but gets no answer.
fn shown(payload: &[u8], source: Address) -> Option<(Hello, bool)> {
    let (hello, whole) = match Hello::parse(payload) {
        Ok(hello) => (hello, true),
        Err(_) => (Hello::parse_start(payload).ok()?, false),
    };
    (hello.protocol >= MIN_PROTOCOL && hello.identity.address == source).then_some((hello, whole))
}
