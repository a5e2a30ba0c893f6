//! The same hostile peer in front of a real daemon: it seals with a key of its own whatever a string of octets says.

use protocol::metadata::{ANNOUNCED_VERSION, PROTOCOL_VERSION};
use protocol::packet::{self, SessionKeys, Split, Suite};
use protocol::verb::Verb;
use protocol::verbs::{OkHeader, OkHello, write_hello};
use protocol::{Address, Identity, NetworkId, SecretIdentity, Time};

use crate::body::{self, Facts};
use crate::cast::Actor;
use crate::choices::Choices;

/// An actor and the node it attacks.
pub struct Attacker {
    actor: Actor,
    keys: SessionKeys,
    victim: Address,
    network: NetworkId,
    authority: SecretIdentity,
    serial: u64,
}

impl Attacker {
    /// `network` is one that the victim has joined; `authority` its controller, by whom a member's certificate is signed.
    ///
    /// # Panics
    /// If nobody can agree upon a key with the victim.
    pub fn new(actor: Actor, victim: &Identity, network: NetworkId, authority: &SecretIdentity) -> Self {
        let agreed = actor.secret().agree(victim).expect("invariant: a running node has a usable key");
        let (keys, victim) = (SessionKeys::new(&agreed), victim.address);
        // Another process is not to repeat what this one says.
        let serial = u64::from(std::process::id()) << 32;
        Self { actor, keys, victim, network, authority: authority.clone(), serial }
    }

    fn facts(&mut self, now: Time) -> Facts<'_> {
        self.serial += 1;
        Facts {
            now,
            actor: self.actor,
            victim: self.victim,
            network: self.network,
            heard: self.serial,
            authority: &self.authority,
            serial: self.serial,
        }
    }

    fn begin(&self, verb: u8) -> Vec<u8> {
        let id = (self.serial ^ u64::from(verb) << 56).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut packet = Vec::new();
        packet::start(&mut packet, id, self.victim, self.actor.address(), Verb::Nop);
        packet[packet::VERB] = verb;
        packet
    }

    /// A HELLO in order, by which the victim comes to know the actor.
    pub fn hello(&mut self, now: Time) -> Vec<u8> {
        let mut hello = body::hello(&self.facts(now), &mut Choices::new(&[]));
        hello.timestamp = now.as_ms().cast_unsigned();
        let mut packet = self.begin(Verb::Hello as u8);
        write_hello(&mut packet, 0, &hello, &[], &self.keys);
        packet
    }

    /// A packet of that verb with this body, sealed.
    pub fn packet(&mut self, verb: Verb, body: &[u8]) -> Vec<u8> {
        self.serial += 1;
        let mut packet = self.begin(verb as u8);
        packet.extend_from_slice(body);
        self.keys.armor(&mut packet, Suite::AesGmacSiv);
        packet
    }

    /// Answers a HELLO or an ECHO of the victim, as any node would; `None` if it is something else.
    pub fn answer(&mut self, heard: &mut [u8]) -> Option<Vec<u8>> {
        let own = heard.len() >= packet::HEADER_LEN && packet::dest(heard) == self.actor.address();
        if !own || !self.keys.dearmor(heard) {
            return None;
        }
        let body = &heard[packet::HEADER_LEN..];
        let mut inner = Vec::new();
        let verb = packet::verb(heard)?;
        match verb {
            Verb::Hello => {
                let timestamp = body.get(5..13)?.try_into().map(u64::from_be_bytes).ok()?;
                let (major, minor, revision) = ANNOUNCED_VERSION;
                let protocol = PROTOCOL_VERSION;
                OkHello { timestamp, protocol, major, minor, revision, seen_as: None, world_bytes: &[] }
                    .write(&mut inner);
            }
            Verb::Echo => inner.extend_from_slice(body),
            _ => return None,
        }
        let mut ok = Vec::new();
        OkHeader { in_re_verb: verb as u8, in_re_id: packet::id(heard), body: &inner }.write(&mut ok);
        Some(self.packet(Verb::Ok, &ok))
    }

    /// The datagrams of whatever packet the octets tell.
    pub fn datagrams(&mut self, now: Time, octets: &[u8]) -> Vec<Vec<u8>> {
        let mut choices = Choices::new(octets);
        let verb = choices.of(&body::VERBS);
        let facts = self.facts(now);
        let mut body = Vec::new();
        let hello = (verb == Verb::Hello as u8).then(|| body::hello(&facts, &mut choices));
        if hello.is_none() {
            body = body::of(verb, &facts, &mut choices);
            if choices.chance(64) {
                body::mutate(&mut body, &mut choices);
            }
        }
        let mut packet = self.begin(verb);
        match hello {
            Some(hello) => write_hello(&mut packet, 0, &hello, &[], &self.keys),
            None => {
                packet.extend_from_slice(&body);
                if choices.chance(48) {
                    packet::compress(&mut packet, 0);
                }
                let long = packet.len() > packet::DEFAULT_MTU;
                packet::set_fragmented(&mut packet, long);
                let suite = choices.of(&[Suite::AesGmacSiv, Suite::AesGmacSiv, Suite::Salsa, Suite::Clear]);
                self.keys.armor(&mut packet, suite);
            }
        }
        let mut all = Vec::new();
        packet::datagrams(&packet, packet::DEFAULT_MTU, Split::Halves, |head, data| {
            all.push([head, data].concat());
        });
        all
    }
}
