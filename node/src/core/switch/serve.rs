//! The controller's side: requests of members on their way to the controller in this process, its answers on their way out.
//!
//! Specification: VL2 controller.

use controller::{Action, Request};
use protocol::netconf::NetworkConfig;
use protocol::verb::Verb;
use protocol::verbs::{ConfigRequest, NetworkCredentials, error_code};
use protocol::{NetworkId, Reader, Result, packet};

use super::Failure;
use super::Switch;
use super::membership::{known, send_credentials};
use crate::link::Link;
use crate::link::{Handled, Incoming};

impl Switch {
    /// NETWORK_CONFIG_REQUEST: a member wants a configuration of a network of ours.
    pub(in super::super) fn config_requested(
        &mut self,
        link: &mut Link,
        now: i64,
        incoming: &Incoming<'_>,
    ) -> Result<Handled> {
        if !link.settings.controller {
            // Whatever the request says, the answer needs only the network's ID.
            let network = NetworkId(Reader::new(incoming.payload).u64("network of a configuration request")?);
            let code = error_code::UNSUPPORTED_OPERATION;
            link.answer_error(now, incoming, Verb::NetworkConfigRequest, code, network);
            return Ok(Handled::Credit);
        }
        let asked = ConfigRequest::parse(incoming.payload)?;
        if asked.network.controller() == link.address()
            && let Some(peer) = link.topology.peers.get(&incoming.source)
        {
            let request = Request {
                network: asked.network,
                member: peer.identity.clone(),
                metadata: asked.metadata.to_vec(),
                packet_id: incoming.id,
                from: (incoming.hops == 0).then_some(incoming.via.remote),
                held: asked.timestamp.map_or(0, |at| i64::try_from(at).unwrap_or(0)),
            };
            self.request_arrived(link, now, incoming, request);
        }
        Ok(Handled::Credit)
    }

    /// Carries out what the controller decided.
    pub(in super::super) fn controller_action(&mut self, link: &mut Link, now: i64, action: Action) {
        match action {
            Action::Config { member, network, in_re, chunks, dictionary, last } => {
                if !last {
                    self.directory.authorize(now, network, member);
                }
                if member == link.address() {
                    if let Ok(config) = NetworkConfig::from_dictionary(&dictionary)
                        && config.network == network
                    {
                        if in_re.is_some()
                            && let Some(network) = self.networks.get_mut(&network)
                        {
                            network.requests.answered(now);
                        }
                        self.apply_config(link, now, config, Some(dictionary));
                        if in_re.is_some() {
                            self.forget_token(link, network);
                        }
                    }
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
                if member == link.address() {
                    self.refused_by_ourselves(link, network, code);
                    return;
                }
                link.count_error(code);
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
                let us = link.address();
                let network = revocation.network;
                let set =
                    NetworkCredentials { revocations: vec![revocation], ..NetworkCredentials::default() };
                for member in to {
                    if member == us {
                        self.revoked_by_ourselves(link, now, &set);
                    } else {
                        // A zerotier-one drops it when our own certificate has just gone there.
                        let pushed =
                            self.networks.get(&network).is_some_and(|n| n.has_just_pushed(now, member));
                        send_credentials(link, now, member, &set);
                        if pushed {
                            self.send_credentials_spaced(link, now, member, set.clone());
                        }
                    }
                }
            }
            Action::Bring { member, network, revocations, ask } => match ask {
                Some(number) => self.bring_revocations(link, now, member, network, number, &revocations),
                None => {
                    // What a member needs of us to talk to us goes first.
                    if let Some(network) = self.networks.get_mut(&network).filter(|n| n.has_met(member)) {
                        network.push_credentials_if_due(link, now, member);
                    }
                    let set = NetworkCredentials { revocations, ..NetworkCredentials::default() };
                    self.send_credentials_spaced(link, now, member, set);
                }
            },
        }
    }

    fn refused_by_ourselves(&mut self, link: &mut Link, network: NetworkId, code: u8) {
        let failure = match code {
            error_code::ACCESS_DENIED => Failure::AccessDenied,
            error_code::AUTHENTICATION_REQUIRED => Failure::AuthenticationRequired,
            _ => Failure::NotFound,
        };
        self.fail(link, network, failure);
    }

    /// A revocation of our own controller for a network this node is a member of, too.
    fn revoked_by_ourselves(&mut self, link: &mut Link, now: i64, set: &NetworkCredentials) {
        for revocation in &set.revocations {
            if let Some(network) = self.networks.get_mut(&revocation.network) {
                network.add_revocation(now, revocation, known(&link.topology, &link.secret));
            }
        }
    }
}
