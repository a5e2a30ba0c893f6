//! What each authenticated verb does on VL1; VL2 verbs go on to `network/`.
//!
//! Specification: VL1 verbs.

use protocol::verb::Verb;
use protocol::verbs::{self, OkHeader, OkWhois, UserMessage, Whois, error_code};
use protocol::{Address, Result};

use super::Core;
use crate::ground::event::Event;
use crate::ground::limits::{COLLISION_PAUSE, ECHO_BURST, ECHO_GATE, WHOIS_GATE};
use crate::link::extension;
use crate::link::{Handled, Incoming};

/// Identities in one OK(WHOIS), so that the answer stays one datagram of the default size.
const MAX_WHOIS_ANSWERS: usize = 19;
/// Payload echoed at most; nobody sends more than an empty one, but for probes of a path.
const MAX_ECHO: usize = 1_200;

impl Core {
    /// Dispatches one authenticated packet.
    pub(super) fn handle(&mut self, now: i64, verb: Verb, incoming: &Incoming<'_>) -> Result<Handled> {
        match verb {
            Verb::Hello => Ok(Handled::Ignore),
            Verb::Nop | Verb::RemoteTrace => Ok(Handled::Credit),
            // Link bonding reports say nothing about the sender's life, as in the reference.
            Verb::Ack | Verb::QosMeasurement | Verb::PathNegotiationRequest => Ok(Handled::Ignore),
            Verb::Ok => self.ok(now, incoming),
            Verb::Error => self.error(now, incoming),
            Verb::Whois => self.answer_whois(now, incoming),
            Verb::Rendezvous => self.contacts.rendezvous(&mut self.link, now, incoming),
            Verb::Echo => self.answer_echo(now, incoming),
            Verb::PushDirectPaths => self.contacts.pushed_paths(&mut self.link, now, incoming),
            Verb::UserMessage => self.user_message(now, incoming),
            Verb::Frame => self.switch.receive_frame(&mut self.link, now, incoming),
            Verb::ExtFrame => self.switch.receive_ext_frame(&mut self.link, now, incoming),
            Verb::MulticastLike => self.switch.receive_likes(&mut self.link, now, incoming),
            Verb::MulticastGather => self.switch.answer_gather(&mut self.link, now, incoming),
            Verb::MulticastFrame => self.switch.receive_multicast(&mut self.link, now, incoming),
            Verb::NetworkCredentials => {
                let handled = self.switch.receive_credentials(&mut self.link, now, incoming)?;
                if handled == Handled::Trust && !incoming.waited {
                    // What it sent before its certificate is good now.
                    self.retry_parked(now, Some(incoming.source));
                }
                Ok(handled)
            }
            Verb::NetworkConfigRequest => self.switch.config_requested(&mut self.link, now, incoming),
            Verb::NetworkConfig => self.switch.config_pushed(&mut self.link, now, incoming),
        }
    }

    fn ok(&mut self, now: i64, incoming: &Incoming<'_>) -> Result<Handled> {
        let ok = OkHeader::parse(incoming.payload)?;
        let Some(sent_at) = self.link.expected.sent_at(now, ok.in_re_id, incoming.source, ok.in_re_verb)
        else {
            return Ok(Handled::Ignore);
        };
        self.switch.has_answered(&mut self.link, incoming.source);
        if self.memory.settle_clock(&mut self.link, incoming.source, incoming.via, sent_at) {
            // What it is now, its answer tells.
            self.link.say_hello(now, incoming.source, Some(incoming.via.socket), incoming.via.remote);
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
            Some(Verb::NetworkConfigRequest) => self
                .switch
                .config_chunk(&mut self.link, now, incoming, ok.body, ok.in_re_id)
                .map(|_| Handled::Credit),
            Some(Verb::Echo) => self.memory.ok_echo(&mut self.link, now, incoming, ok.in_re_id, ok.body),
            Some(Verb::MulticastGather) => self.switch.ok_gather(&mut self.link, now, incoming, ok.body),
            Some(Verb::MulticastFrame) => {
                self.switch.ok_multicast_frame(&mut self.link, now, incoming, ok.body)
            }
            _ => Ok(Handled::Credit),
        }
    }

    fn error(&mut self, now: i64, incoming: &Incoming<'_>) -> Result<Handled> {
        let error = verbs::Error::parse(incoming.payload)?;
        self.link.counters.errors_in[usize::from(error.code & 0x0f)] += 1;
        let from_controller = error.network.filter(|n| n.controller() == incoming.source);
        let asked_config = error.in_re_verb == Verb::NetworkConfigRequest as u8;
        // Frames are not kept in mind, and to send credentials once more changes nothing. Everything else has to answer us: one
        // recorded earlier does not.
        let awaited =
            self.link.expected.sent_at(now, error.in_re_id, incoming.source, error.in_re_verb).is_some();
        if !awaited && error.code != error_code::NEED_MEMBERSHIP_CERTIFICATE {
            return Ok(Handled::Ignore);
        }
        match error.code {
            error_code::OBJECT_NOT_FOUND | error_code::UNSUPPORTED_OPERATION if asked_config => {
                if let Some(network) = from_controller {
                    self.switch.config_refused(&mut self.link, now, network, error.code, error.body);
                }
            }
            error_code::ACCESS_DENIED | error_code::AUTHENTICATION_REQUIRED => {
                if let Some(network) = from_controller {
                    self.switch.config_refused(&mut self.link, now, network, error.code, error.body);
                }
            }
            error_code::IDENTITY_COLLISION => self.collision_reported(now, incoming.source, &error),
            error_code::NEED_MEMBERSHIP_CERTIFICATE => {
                let network = error.network.and_then(|id| self.switch.networks.get_mut(&id));
                if let Some(network) = network {
                    network.credentials_wanted(&mut self.link, now, incoming.source);
                }
            }
            error_code::UNWANTED_MULTICAST => {
                if let Some(network) = error.network {
                    self.switch.multicast_unwanted(
                        &mut self.link,
                        now,
                        network,
                        incoming.source,
                        error.body,
                    )?;
                }
            }
            _ => {}
        }
        Ok(Handled::Credit)
    }

    /// A root says that another node owns our address. It counts only as the answer to a HELLO of ours, and proves nothing even
    /// then: a HELLO that somebody else sends in our name may quote any packet ID, and a root of another make answers it under
    /// the key it shares with us.
    fn collision_reported(&mut self, now: i64, from: Address, error: &verbs::Error<'_>) {
        let answers = error.in_re_verb == Verb::Hello as u8
            && self.link.topology.is_upstream(from)
            && self.link.expected.sent_at(now, error.in_re_id, from, Verb::Hello as u8).is_some();
        if answers && self.collision_told.is_none_or(|told| now - told >= COLLISION_PAUSE) {
            self.collision_told = Some(now);
            self.link.outbox.events.push_back(Event::IdentityCollision { root: from });
        }
    }

    fn answer_whois(&mut self, now: i64, incoming: &Incoming<'_>) -> Result<Handled> {
        let am_root = self.link.topology.am_root;
        let Some(peer) = self.link.topology.peers.get_mut(&incoming.source) else {
            return Ok(Handled::Ignore);
        };
        if !am_root && !peer.whois.allow(now, WHOIS_GATE, 1) {
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

    fn answer_echo(&mut self, now: i64, incoming: &Incoming<'_>) -> Result<Handled> {
        let Some(peer) = self.link.topology.peers.get_mut(&incoming.source) else {
            return Ok(Handled::Ignore);
        };
        let probe = extension::answer(incoming.payload);
        if !peer.echo.allow(now, ECHO_GATE, ECHO_BURST)
            || (probe.is_none() && incoming.payload.len() > MAX_ECHO)
        {
            return Ok(Handled::Ignore);
        }
        let mut packet = self.link.begin_ok(incoming, Verb::Echo);
        packet.extend_from_slice(probe.as_ref().map_or(incoming.payload, |answer| answer));
        self.link.reply(now, incoming.via, packet);
        if probe.is_some() {
            self.memory.probed_by(&mut self.link, now, incoming.source);
        }
        Ok(Handled::Credit)
    }

    fn user_message(&mut self, now: i64, incoming: &Incoming<'_>) -> Result<Handled> {
        /// ZeroTier's own software update messages; not ours to act on.
        const SOFTWARE_UPDATE: u64 = 100;
        let message = UserMessage::parse(incoming.payload);
        if let Ok(UserMessage { kind: crate::link::clones::CARRY, body }) = message {
            self.clones.hand_on(&mut self.link, now, incoming, body);
        } else if let Ok(UserMessage { kind: extension::BRING, body }) = message {
            return self.switch.revocations_brought(&mut self.link, now, incoming, body);
        } else if let Ok(UserMessage { kind: extension::KEPT, body }) = message {
            return self.switch.revocations_kept(&mut self.link, incoming, body);
        } else if let Ok(message) = message
            && message.kind != SOFTWARE_UPDATE
        {
            self.link.outbox.events.push_back(Event::UserMessage {
                from: incoming.source,
                kind: message.kind,
                body: message.body.to_vec(),
            });
        }
        Ok(Handled::Credit)
    }
}
