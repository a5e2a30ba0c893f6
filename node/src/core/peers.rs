//! How somebody becomes a peer, in this run or again: HELLOs, identities that have been checked, records of an earlier run.

use protocol::packet;
use protocol::verb::Verb;
use protocol::verbs::Hello;
use protocol::{Address, Identity, Result};

use super::Core;
use crate::ground::event::{Event, Object, Urgency};
use crate::ground::limits::MAX_PEERS;
use crate::link::Incoming;
use crate::link::hello::{MIN_PROTOCOL, version_of};
use crate::link::newcomers::Stage;
use crate::link::path::PathKey;
use crate::link::peer_cache::{self, Restored};
use crate::link::replay::Greeting;

impl Core {
    /// Handles a HELLO. `authentic` means that it came from a known peer in an encrypting suite.
    pub(super) fn receive_hello(&mut self, now: i64, via: PathKey, data: &mut [u8], authentic: bool) {
        if self.try_hello(now, via, data, authentic).is_none() {
            self.link.counters.dropped += 1;
        }
    }

    fn try_hello(&mut self, now: i64, via: PathKey, data: &mut [u8], authentic: bool) -> Option<()> {
        let source = packet::source(data);
        let payload = &data[packet::HEADER_LEN..];
        // What follows the identity may be garbage: its owner becomes known by it all the same, but gets no answer.
        let (hello, whole) = match Hello::parse(payload) {
            Ok(hello) => (hello, true),
            Err(_) => (Hello::parse_start(payload).ok()?, false),
        };
        if hello.protocol < MIN_PROTOCOL || hello.identity.address != source {
            return None;
        }
        match self.link.topology.peers.get_mut(&source) {
            // Counted already.
            Some(_) if authentic => {}
            Some(peer) if peer.identity == hello.identity => {
                if !peer.keys.dearmor(data) {
                    peer.packets.refused += 1;
                    return None;
                }
                peer.packets.received += 1;
            }
            Some(_) => return self.newcomers.refuse_collision(&mut self.link, now, via, data, &hello),
            None if authentic => return None,
            // It is heard again when its identity has been checked.
            None => return self.newcomers.hear_newcomer(&mut self.link, now, via, data, &hello),
        }
        if !whole {
            return None;
        }
        let hops = packet::hops(data);
        let greeting = self.memory.judge_greeting(&mut self.link, now, via, data, source, hello.timestamp);
        if greeting == Greeting::Replay {
            return None;
        }
        self.link.counters.packets_in[Verb::Hello as usize] += 1;
        if let Some(surface) = hello.sent_to.filter(|_| hops == 0 && greeting != Greeting::Old) {
            self.contacts.surface_reported(&mut self.link, now, source, via, surface);
        }
        let mut moons = Vec::new();
        if let Some(at) = hello.masked_tail_at {
            let from = packet::HEADER_LEN + at;
            self.link.topology.peers.get(&source)?.keys.mask_hello(data, from);
            moons = Hello::parse_tail(data.get(from..)?).ok()?;
        }
        let id = packet::id(data);
        if greeting == Greeting::Old {
            self.link.confirm(now, source, via);
            self.contacts.answer_hello(&mut self.link, now, via, id, &hello, &moons);
            return Some(());
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
            payload: &data[packet::HEADER_LEN..],
        };
        // The question whether it is there goes before the answer, so that the path is known when the sender makes use of the
        // answer.
        self.contacts.credit(&mut self.link, now, &incoming, Some(Verb::Hello), false);
        self.contacts.answer_hello(&mut self.link, now, via, id, &hello, &moons);
        if let Some(peer) = self.link.topology.peers.get_mut(&source) {
            peer.version = version_of(hello.protocol, hello.major, hello.minor, hello.revision);
        }
        self.link.retry_sending(now, Some(source));
        self.switch.announce_to_greeter(&mut self.link, now, source);
        Some(())
    }

    /// The outcome of an [`Event::CheckIdentity`]: whether the address belongs to the key.
    pub fn identity_checked(&mut self, now: i64, identity: &Identity, valid: bool) {
        let heard = self.newcomers.take(identity);
        if !valid {
            self.link.counters.dropped += 1;
            self.restored.remove(&identity.address);
            return;
        }
        self.add_checked(now, identity);
        if self.link.topology.peers.get(&identity.address).is_none_or(|peer| peer.identity != *identity) {
            return;
        }
        for (via, mut newcomer) in heard {
            if newcomer.stage == (Stage::Checked { proven: true })
                && self.link.path_allowed(identity.address, via.remote)
            {
                self.contacts.learn_path(&mut self.link, now, identity.address, via, false);
            }
            // What its HELLO lets out went to nobody yet, or has come back with its answer.
            self.link.arrival = Some((via, newcomer.hello.len()));
            self.receive_hello(now, via, &mut newcomer.hello, true);
            self.link.arrival = None;
        }
        self.welcome(now, identity.address);
        self.after_contact(now);
    }

    /// An identity that somebody told us, or that we knew in an earlier run, has turned out to be genuine.
    fn add_checked(&mut self, now: i64, identity: &Identity) {
        if !self.link.topology.add_peer(&self.link.secret, identity, now) {
            return;
        }
        if let Some(restored) = self.restored.remove(&identity.address) {
            if let Some(peer) = self.link.topology.peers.get_mut(&identity.address) {
                peer.version = restored.version;
            }
            self.link.hints.insert(identity.address, restored.paths);
        }
    }

    /// Lets go what waited for the identity of a peer.
    fn welcome(&mut self, now: i64, address: Address) {
        self.link.whois.forget(&address);
        self.link.retry_sending(now, Some(address));
        // For a controller's identity its members' credentials wait as well.
        let controls = self.link.controllers.contains(&address);
        self.retry_parked(now, (!controls).then_some(address));
    }

    /// Takes in a peer's record from an earlier run; it is a peer when its identity has been checked. Its addresses are tried when
    /// there is something to send to it.
    pub fn restore_peer(&mut self, record: &[u8]) -> Result<()> {
        let (identity, version, paths) = peer_cache::read(record)?;
        let address = identity.address;
        if self.restored.len() < MAX_PEERS && !self.link.topology.peers.contains_key(&address) {
            let urgency = self.link.urgency_of(address, Urgency::Restored);
            self.restored.insert(address, Restored { version, paths });
            self.link.check_identity(identity, urgency);
        }
        Ok(())
    }

    /// Puts the records of all live peers into the outbox: the last thing to do before the process ends.
    pub fn save_peers(&mut self, now: i64) {
        for (address, peer) in &self.link.topology.peers {
            if peer.is_alive(now) && !self.link.topology.is_upstream(*address) {
                let object = Object::Peer(*address);
                self.link.outbox.events.push_back(Event::Store { object, bytes: peer_cache::write(peer) });
            }
        }
    }

    /// Takes in what an earlier run kept as [`Object::Counts`]. Anything else is as good as
    /// nothing.
    pub fn resume_counting(&mut self, now: i64, kept: &[u8]) {
        let text = std::str::from_utf8(kept).unwrap_or_default();
        let Ok(reserved) = text.trim().parse() else { return };
        self.link.topology.origin.resume(now, reserved);
        let start = self.link.topology.origin.at(now);
        for peer in self.link.topology.peers.values_mut() {
            peer.sent.raise(start);
        }
    }

    /// Has it written down, about once an hour, from where the next run must count.
    pub(super) fn reserve_counts(&mut self, now: i64) {
        if let Some(reserved) = self.link.topology.origin.reserve(now) {
            let (object, bytes) =
                (crate::ground::event::Object::Counts, format!("{reserved}\n").into_bytes());
            self.link.outbox.events.push_back(crate::ground::event::Event::Store { object, bytes });
        }
    }
}
