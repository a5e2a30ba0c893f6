//! The controller's side: requests of members on their way to the controller in this process, its answers on their way out.
//!
//! Specification: VL2 controller.

use controller::{Action, Request};
use protocol::netconf::NetworkConfig;
use protocol::verb::Verb;
use protocol::verbs::{ConfigRequest, NetworkCredentials, error_code};
use protocol::{NetworkId, Reader, Result, packet};

use super::super::Core;
use super::super::link::{Handled, Incoming};
use super::Failure;
use super::membership::known;

impl Core {
    /// NETWORK_CONFIG_REQUEST: a member wants a configuration of a network of ours.
    pub(in super::super) fn config_requested(
        &mut self,
        now: i64,
        incoming: &Incoming<'_>,
    ) -> Result<Handled> {
        if !self.link.settings.controller {
            // Whatever the request says, the answer needs only the network's ID.
            let network = NetworkId(Reader::new(incoming.payload).u64("network of a configuration request")?);
            let code = error_code::UNSUPPORTED_OPERATION;
            self.link.answer_error(now, incoming, Verb::NetworkConfigRequest, code, network);
            return Ok(Handled::Credit);
        }
        let asked = ConfigRequest::parse(incoming.payload)?;
        if asked.network.controller() == self.link.address()
            && let Some(peer) = self.link.topology.peers.get(&incoming.source)
        {
            let request = Request {
                network: asked.network,
                member: peer.identity.clone(),
                metadata: asked.metadata.to_vec(),
                packet_id: incoming.id,
                from: (incoming.hops == 0).then_some(incoming.via.remote),
                held: asked.timestamp.map_or(0, |at| i64::try_from(at).unwrap_or(0)),
            };
            self.request_arrived(now, incoming, request);
        }
        Ok(Handled::Credit)
    }

    /// Carries out what the controller decided.
    pub fn controller_action(&mut self, now: i64, action: Action) {
        match action {
            Action::Config { member, network, in_re, chunks, dictionary, last } => {
                if !last {
                    self.directory.authorize(now, network, member);
                }
                if member == self.link.address() {
                    if let Ok(config) = NetworkConfig::from_dictionary(&dictionary)
                        && config.network == network
                    {
                        if in_re.is_some()
                            && let Some(network) = self.networks.get_mut(&network)
                        {
                            network.requests.answered(now);
                        }
                        self.apply_config(now, config, Some(dictionary));
                        if in_re.is_some() {
                            self.forget_token(network);
                        }
                    }
                    return;
                }
                for chunk in chunks {
                    let verb = if in_re.is_some() { Verb::Ok } else { Verb::NetworkConfig };
                    let mut packet = self.link.begin(member, verb);
                    if let Some(id) = in_re {
                        packet.push(Verb::NetworkConfigRequest as u8);
                        packet.extend_from_slice(&id.to_be_bytes());
                    }
                    packet.extend_from_slice(&chunk);
                    packet::compress(&mut packet, 0);
                    self.link.send(now, packet);
                }
            }
            Action::Refuse { member, network, in_re, code, detail } => {
                if member == self.link.address() {
                    self.refused_by_ourselves(network, code);
                    return;
                }
                self.link.count_error(code);
                let mut packet = self.link.begin(member, Verb::Error);
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
                self.link.send(now, packet);
            }
            Action::Revoke { to, revocation } => {
                let us = self.link.address();
                let network = revocation.network;
                let set =
                    NetworkCredentials { revocations: vec![revocation], ..NetworkCredentials::default() };
                for member in to {
                    if member == us {
                        self.revoked_by_ourselves(now, &set);
                    } else {
                        // A zerotier-one drops it when our own certificate has just gone there.
                        let pushed =
                            self.networks.get(&network).is_some_and(|n| n.has_just_pushed(now, member));
                        self.send_credentials(now, member, &set);
                        if pushed {
                            self.send_credentials_spaced(now, member, set.clone());
                        }
                    }
                }
            }
            Action::Bring { member, network, revocations, ask } => match ask {
                Some(number) => self.bring_revocations(now, member, network, number, &revocations),
                None => {
                    // What a member needs of us to talk to us goes first.
                    let known = self.networks.get(&network).is_some_and(|n| n.has_met(member));
                    if known {
                        self.push_credentials_if_due(now, network, member);
                    }
                    let set = NetworkCredentials { revocations, ..NetworkCredentials::default() };
                    self.send_credentials_spaced(now, member, set);
                }
            },
        }
    }

    fn refused_by_ourselves(&mut self, network: NetworkId, code: u8) {
        let failure = match code {
            error_code::ACCESS_DENIED => Failure::AccessDenied,
            error_code::AUTHENTICATION_REQUIRED => Failure::AuthenticationRequired,
            _ => Failure::NotFound,
        };
        self.fail(network, failure);
    }

    /// A revocation of our own controller for a network this node is a member of, too.
    fn revoked_by_ourselves(&mut self, now: i64, set: &NetworkCredentials) {
        for revocation in &set.revocations {
            if let Some(network) = self.networks.get_mut(&revocation.network) {
                network.add_revocation(now, revocation, known(&self.link.topology, &self.link.secret));
            }
        }
    }
}
