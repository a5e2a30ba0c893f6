//! The controller's side: requests of members on their way to the controller in this process, its answers on their way out.
//!
//! Specification: VL2 controller.

use controller::{Acknowledgement, Action, Request};
use protocol::netconf::NetworkConfig;
use protocol::verb::Verb;
use protocol::verbs::{ConfigRequest, NetworkCredentials, UserMessage, error_code};
use protocol::{Address, NetworkId, Reader, Result, Time, packet};

use super::Switch;
use super::acknowledged::{Brought, Kept};
use super::credentials::known;
use super::policy::Policy;
use super::proof::{Requesters, Way};
use crate::ground::event::Errand;
use crate::link::{Incoming, Link, extension};

/// What waits for our own controller.
#[derive(Debug, Default)]
pub(super) struct OwnController {
    /// Configuration requests of peers that have not answered anything yet.
    pub(super) requesters: Requesters,
}

impl OwnController {
    /// NETWORK_CONFIG_REQUEST: a member wants a configuration of a network of ours.
    pub(super) fn config_requested(
        &mut self,
        link: &mut Link,
        now: Time,
        incoming: &Incoming<'_>,
    ) -> Result<()> {
        if !link.settings.controller {
            // Whatever the request says, the answer needs only the network's ID.
            let network = NetworkId(Reader::new(incoming.payload).u64("network of a configuration request")?);
            let code = error_code::UNSUPPORTED_OPERATION;
            link.answer_error(now, incoming, Verb::NetworkConfigRequest, code, network);
            return Ok(());
        }
        let asked = ConfigRequest::parse(incoming.payload)?;
        if asked.network.controller() != link.address() {
            return Ok(());
        }
        let Some(peer) = link.topology.peers.get(&incoming.source) else { return Ok(()) };
        let request = Request {
            network: asked.network,
            member: peer.identity.clone(),
            metadata: asked.metadata.to_vec(),
            packet_id: incoming.id,
            held: asked.timestamp.filter(|at| *at != 0).map(|at| Time::from_ms(at.cast_signed())),
        };
        if peer.answered {
            link.outbox.errands.push_back(Errand::ConfigRequest(request));
        } else if self.requesters.hold(now, Way::of(incoming), request) {
            let packet = link.begin(incoming.source, Verb::Echo);
            link.send(now, packet);
        }
        Ok(())
    }

    /// A peer answered something that we sent it.
    pub(super) fn has_answered(&mut self, link: &mut Link, peer: Address) {
        let Some(known) = link.topology.peers.get_mut(&peer) else { return };
        if std::mem::replace(&mut known.answered, true) {
            return;
        }
        for request in self.requesters.take(peer) {
            link.outbox.errands.push_back(Errand::ConfigRequest(request));
        }
    }

    /// A member says that it keeps what was brought.
    pub(super) fn kept(&self, link: &mut Link, incoming: &Incoming<'_>, body: &[u8]) -> Result<()> {
        let Some(Kept { network, number, run }) = Kept::read(body)? else { return Ok(()) };
        if link.settings.controller && network.controller() == link.address() {
            let word = Acknowledgement { network, member: incoming.source, serial: number, run };
            link.outbox.errands.push_back(Errand::Acknowledged(word));
        }
        Ok(())
    }
}

impl Switch {
    /// Carries out what the controller decided.
    pub(in super::super) fn controller_action(&mut self, link: &mut Link, now: Time, action: Action) {
        let us = link.address();
        match action {
            Action::Config { member, network, in_re, chunks, dictionary, last } => {
                if !last {
                    self.directory.authorize(now, network, member);
                }
                if member == us {
                    self.configured_by_ourselves(link, now, network, in_re.is_some(), dictionary);
                    return;
                }
                for chunk in chunks {
                    let verb = if in_re.is_some() { Verb::Ok } else { Verb::NetworkConfig };
                    let mut packet = link.begin(member, verb);
                    if let Some(id) = in_re {
                        packet.push(Verb::NetworkConfigRequest as u8);
                        packet.extend_from_slice(&id.to_be_bytes());
                    }
                    packet.extend_from_slice(&chunk);
                    packet::compress(&mut packet, 0);
                    link.send(now, packet);
                }
            }
            Action::Refuse { member, network, in_re, code, detail } => {
                if member == us {
                    if let Some(joined) = self.networks.get_mut(&network) {
                        joined.policy.configuration.refused(link, network, code, None);
                    }
                    return;
                }
                link.counters.error_out(code);
                let mut packet = link.begin(member, Verb::Error);
                packet.push(Verb::NetworkConfigRequest as u8);
                packet.extend_from_slice(&in_re.to_be_bytes());
                packet.push(code);
                packet.extend_from_slice(&network.0.to_be_bytes());
                if let Some(detail) = detail
                    && let Ok(length) = u16::try_from(detail.len())
                {
                    packet.extend_from_slice(&length.to_be_bytes());
                    packet.extend_from_slice(&detail);
                }
                link.send(now, packet);
            }
            Action::Revoke { to, revocation } => {
                let network = revocation.network;
                let set =
                    NetworkCredentials { revocations: vec![revocation], ..NetworkCredentials::default() };
                for member in to {
                    if member == us {
                        self.revoked_by_ourselves(link, now, &set);
                        continue;
                    }
                    // A zerotier-one drops it when our own certificate has just gone there.
                    let pushed =
                        self.networks.get(&network).is_some_and(|n| n.policy.has_just_pushed(now, member));
                    Policy::send(link, now, member, None, &set);
                    if pushed {
                        self.spaced.send(link, now, member, set.clone());
                    }
                }
            }
            Action::Bring { member, network, revocations, ask } => match ask {
                Some(number) => {
                    let body = Brought::write(network, number, &revocations);
                    let mut packet = link.begin(member, Verb::UserMessage);
                    UserMessage { kind: extension::BRING, body: &body }.write(&mut packet);
                    link.send(now, packet);
                }
                None => {
                    // What a member needs of us to talk to us goes first.
                    if let Some(network) = self.networks.get_mut(&network)
                        && network.policy.members.get(&member).is_some()
                    {
                        network.policy.push_if_due(link, now, member);
                    }
                    let set = NetworkCredentials { revocations, ..NetworkCredentials::default() };
                    self.spaced.send(link, now, member, set);
                }
            },
        }
    }

    /// A configuration of our own controller for this node.
    fn configured_by_ourselves(
        &mut self,
        link: &mut Link,
        now: Time,
        id: NetworkId,
        asked: bool,
        dictionary: Vec<u8>,
    ) {
        let Some(network) = self.networks.get_mut(&id) else { return };
        let Ok(config) = NetworkConfig::from_dictionary(&dictionary) else { return };
        if config.network != id {
            return;
        }
        if asked {
            network.policy.configuration.answered(now);
        }
        network.apply(link, now, config, Some(dictionary));
        if asked {
            network.policy.configuration.forget_token(link, id);
        }
        self.tell_link(link);
    }

    /// A revocation of our own controller for a network this node is a member of, too.
    fn revoked_by_ourselves(&mut self, link: &mut Link, now: Time, set: &NetworkCredentials) {
        for revocation in &set.revocations {
            if let Some(network) = self.networks.get_mut(&revocation.network) {
                network.policy.add_revocation(now, revocation, known(&link.topology, &link.secret));
            }
        }
    }
}
