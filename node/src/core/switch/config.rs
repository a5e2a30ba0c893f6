//! Network configurations: asking the controller, assembling the signed chunks of its answer, applying the result.
//!
//! Specification: VL2 networks, "NETWORK_CONFIG_REQUEST", "configuration chunks", "applying, persisting and refreshing".

use std::sync::Arc;

use controller::Request;
use protocol::adhoc::{Adhoc, adhoc_config};
use protocol::dictionary::Dictionary;
use protocol::metadata::RequestMetadata;
use protocol::netconf::NetworkConfig;
use protocol::reader::Reader;
use protocol::verb::Verb;
use protocol::verbs::{ConfigChunk, ConfigRequest, error_code};
use protocol::{NetworkId, Result, packet};
use zeroize::{Zeroize, Zeroizing};

use super::Failure;
use super::Switch;
use crate::ground::event::{Event, Object};
use crate::ground::limits::{CONFIG_REFRESH, PING_CHECK};
use crate::ground::work;
use crate::link::Link;
use crate::link::{Handled, Incoming};

/// Largest configuration taken in, bytes. The reference stops at 484,519.
const MAX_CONFIG: usize = 1 << 20;
/// Configurations being assembled at once.
pub(in super::super) const ASSEMBLIES: usize = 3;
/// Pauses between the first requests of a network without a configuration, ms; the last repeats.
const FIRST_REQUESTS: [i64; 4] = [300, 1_000, 2_000, PING_CHECK];

/// When to ask.
#[derive(Debug)]
pub(super) struct Requests {
    due: i64,
    asked: usize,
}

impl Requests {
    /// Due at once.
    pub(super) fn starting(now: i64) -> Self {
        Self { due: now, asked: 0 }
    }

    /// Ask again at once: something changed that may make the answer better.
    pub(super) fn hurry(&mut self, now: i64) {
        *self = Self::starting(now);
    }

    /// When the next request is due.
    pub(super) fn next(&self) -> i64 {
        self.due
    }

    /// The controller has answered. Configurations it pushes do not count: it takes who stops asking for gone.
    pub(super) fn answered(&mut self, now: i64) {
        self.due = now + CONFIG_REFRESH;
    }

    fn asked(&mut self, now: i64, configured: bool) {
        let pause =
            if configured { PING_CHECK } else { FIRST_REQUESTS[self.asked.min(FIRST_REQUESTS.len() - 1)] };
        self.asked += 1;
        self.due = now + pause;
    }
}

/// A configuration that arrives in pieces.
#[derive(Debug)]
struct Update {
    id: u64,
    data: Vec<u8>,
    /// Offsets and lengths received, not overlapping.
    pieces: Vec<(usize, usize)>,
}

/// The configurations being assembled, the latest last.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    updates: Vec<Update>,
}

impl Assembly {
    /// Takes in a verified piece; gives the whole dictionary when it was the last one. Pieces that overlap others without
    /// being the same are refused.
    fn insert(&mut self, id: u64, total: usize, offset: usize, piece: &[u8]) -> Option<Vec<u8>> {
        let index = match self.updates.iter().position(|u| u.id == id && u.data.len() == total) {
            Some(index) => index,
            None => {
                if self.updates.len() >= ASSEMBLIES {
                    self.updates.remove(0);
                }
                self.updates.push(Update { id, data: vec![0; total], pieces: Vec::new() });
                self.updates.len() - 1
            }
        };
        let update = &mut self.updates[index];
        let end = offset + piece.len();
        if update.pieces.iter().inspect(|_| work::step()).any(|(o, n)| offset < o + n && *o < end)
            || piece.is_empty()
        {
            return None;
        }
        update.data.get_mut(offset..end)?.copy_from_slice(piece);
        update.pieces.push((offset, piece.len()));
        let received: usize = update.pieces.iter().map(|(_, n)| n).sum();
        (received == total).then(|| self.updates.remove(index).data)
    }
}

impl Switch {
    /// Sends the configuration requests that are due.
    pub(in super::super) fn request_configs(&mut self, link: &mut Link, now: i64) {
        let due: Vec<NetworkId> = self
            .networks
            .values()
            .inspect(|_| work::step())
            .filter(|n| now >= n.requests.next())
            .map(|n| n.id)
            .collect();
        for id in due {
            self.request_config(link, now, id);
        }
    }

    /// Asks for every network that lacks a configuration now: a root has just become reachable.
    pub(in super::super) fn hurry_requests(&mut self, link: &mut Link, now: i64) {
        for network in self.networks.values_mut().filter(|n| n.config.is_none()) {
            network.requests.hurry(now);
        }
        self.request_configs(link, now);
    }

    fn request_config(&mut self, link: &mut Link, now: i64, id: NetworkId) {
        let us = link.secret.identity().clone();
        let run = self.run_of(link, id);
        let Some(network) = self.networks.get_mut(&id) else { return };
        network.requests.asked(now, network.config.is_some());
        if id.is_adhoc() {
            network.requests.answered(now);
            match adhoc_config(id, us.address, now) {
                Some(Adhoc::Config(config)) => self.apply_config(link, now, *config, None),
                Some(Adhoc::NotFound) => self.fail(link, id, Failure::NotFound),
                Some(Adhoc::Never) | None => {}
            }
            return;
        }
        let token = network.token.as_ref().map(|token| Zeroizing::new(format!("token:{}", **token)));
        let mut said = RequestMetadata::ours(token.as_ref().map_or("", |token| token));
        said.run = run;
        let metadata = Zeroizing::new(said.to_dictionary().into_bytes());
        said.authorization.zeroize();
        let (revision, timestamp) = network.config.as_ref().map_or((0, 0), |c| (c.revision, c.timestamp));
        if id.controller() == us.address {
            if link.settings.controller {
                let request = Request {
                    network: id,
                    member: us,
                    metadata: metadata.to_vec(),
                    packet_id: u64::MAX,
                    from: None,
                    held: timestamp,
                };
                link.outbox.events.push_back(Event::ConfigRequest(request));
            } else {
                self.fail(link, id, Failure::NotFound);
            }
            return;
        }
        let mut packet = link.begin(id.controller(), Verb::NetworkConfigRequest);
        ConfigRequest {
            network: id,
            metadata: &metadata,
            revision: Some(revision),
            timestamp: Some(timestamp.cast_unsigned()),
        }
        .write(&mut packet);
        packet::compress(&mut packet, 0);
        link.send(now, packet);
    }

    /// A chunk that answers our request. The network it belongs to and its update ID when it completed a configuration.
    pub(in super::super) fn config_chunk(
        &mut self,
        link: &mut Link,
        now: i64,
        incoming: &Incoming<'_>,
        body: &[u8],
        in_re: u64,
    ) -> Result<Option<(NetworkId, u64)>> {
        let chunk = ConfigChunk::parse(body)?;
        let id = chunk.network;
        if !self.networks.contains_key(&id) {
            return Ok(None);
        }
        let from_controller = incoming.source == id.controller();
        let (update, total, offset) = match &chunk.signature {
            Some(_) => {
                let Some(controller) = link.topology.peers.get(&id.controller()) else {
                    link.whois(now, id.controller());
                    return Ok(None);
                };
                let (total, offset) = (chunk.total as usize, chunk.offset as usize);
                let fits = total <= MAX_CONFIG
                    && offset.checked_add(chunk.data.len()).is_some_and(|end| end <= total);
                if !fits || !chunk.verify(&controller.identity) {
                    return Ok(None);
                }
                if chunk.fast_propagate() {
                    self.propagate_chunk(link, now, id, incoming, body);
                }
                (chunk.update_id, total, offset)
            }
            // The old unsigned form is good only from the controller itself.
            None if from_controller => (in_re, chunk.data.len(), 0),
            None => return Ok(None),
        };
        let us = link.address();
        let Some(network) = self.networks.get_mut(&id) else { return Ok(None) };
        let Some(dictionary) = network.assembly.insert(update, total, offset, chunk.data) else {
            return Ok(None);
        };
        let config = NetworkConfig::from_dictionary(&dictionary)?;
        if config.issued_to != us || config.network != id {
            return Ok(None);
        }
        // Anybody may repeat an old signed configuration; only the controller, asked by us, may set the clock back.
        let asked = from_controller && in_re != 0;
        if asked {
            network.requests.answered(now);
        }
        // Two changes in quick succession may arrive in either order.
        let older = |c: &Arc<NetworkConfig>| (config.timestamp, config.revision) < (c.timestamp, c.revision);
        if asked || !network.config.as_ref().is_some_and(older) {
            self.apply_config(link, now, config, Some(dictionary));
        }
        // One that was pushed says as well that we are in, but may be older than the token.
        if asked {
            self.forget_token(link, id);
        }
        Ok(Some((id, update)))
    }

    /// NETWORK_CONFIG: a configuration we did not ask for.
    pub(in super::super) fn config_pushed(
        &mut self,
        link: &mut Link,
        now: i64,
        incoming: &Incoming<'_>,
    ) -> Result<Handled> {
        if let Some((network, update)) = self.config_chunk(link, now, incoming, incoming.payload, 0)? {
            // The reference acknowledges a configuration as if it had been an ECHO.
            let mut packet = link.begin_ok(incoming, Verb::Echo);
            packet.extend_from_slice(&network.0.to_be_bytes());
            packet.extend_from_slice(&update.to_be_bytes());
            link.reply(now, incoming.via, packet);
        }
        Ok(Handled::Credit)
    }

    fn propagate_chunk(
        &mut self,
        link: &mut Link,
        now: i64,
        id: NetworkId,
        incoming: &Incoming<'_>,
        body: &[u8],
    ) {
        let members: Vec<_> = self
            .networks
            .get(&id)
            .map(|n| {
                n.members.keys().copied().filter(|m| *m != incoming.source && *m != id.controller()).collect()
            })
            .unwrap_or_default();
        for member in members {
            work::step();
            let mut packet = link.begin(member, Verb::NetworkConfig);
            packet.extend_from_slice(body);
            packet::compress(&mut packet, 0);
            link.send(now, packet);
        }
    }

    /// Puts a configuration into force. `dictionary` is its text when it came from the network and has to be kept.
    pub(super) fn apply_config(
        &mut self,
        link: &mut Link,
        now: i64,
        config: NetworkConfig,
        dictionary: Option<Vec<u8>>,
    ) {
        let id = config.network;
        let Some(network) = self.networks.get_mut(&id) else { return };
        let from_disk = dictionary.is_none() && !id.is_adhoc();
        if network.config.as_deref() == Some(&config) {
            return;
        }
        let config = Arc::new(config);
        let before = network.config.replace(Arc::clone(&config));
        network.rules.configure(before.as_deref(), &config);
        let first = before.is_none();
        network.epoch += 1;
        network.last_update = if from_disk { 0 } else { now };
        network.failure = None;
        network.authentication_url = None;
        self.tell_link(link);
        link.outbox.events.push_back(Event::Config { network: id, config });
        if let Some(bytes) = dictionary {
            link.outbox.events.push_back(Event::Store { object: Object::Network(id), bytes });
        }
        self.report_status(link, id);
        if first {
            let Some(network) = self.networks.get_mut(&id) else { return };
            let groups: Vec<_> = network.own_groups().into_iter().collect();
            network.announce_new(link, now, &groups);
        }
    }

    /// The controller refused us.
    pub(in super::super) fn config_refused(
        &mut self,
        link: &mut Link,
        _now: i64,
        id: NetworkId,
        code: u8,
        detail: &[u8],
    ) {
        let failure = match code {
            error_code::ACCESS_DENIED => Failure::AccessDenied,
            error_code::AUTHENTICATION_REQUIRED => Failure::AuthenticationRequired,
            _ => Failure::NotFound,
        };
        if failure == Failure::AuthenticationRequired
            && let Some(network) = self.networks.get_mut(&id)
        {
            let mut reader = Reader::new(detail);
            let dictionary = reader
                .u16("length of the authentication details")
                .and_then(|n| reader.bytes(usize::from(n), "authentication details"))
                .map(Dictionary::from_bytes);
            // Version 0 names the page to open, version 1 the issuer to log in with.
            let url =
                dictionary.map(|d| if d.get_hex("aV", 0) == 0 { d.get_str("aU") } else { d.get_str("iU") });
            network.authentication_url = url.ok().filter(|u| !u.is_empty() && u.len() < 2_048);
        }
        self.fail(link, id, failure);
    }

    pub(super) fn fail(&mut self, link: &mut Link, id: NetworkId, failure: Failure) {
        if let Some(network) = self.networks.get_mut(&id) {
            network.failure = Some(failure);
        }
        self.report_status(link, id);
    }
}

#[cfg(feature = "work")]
impl Assembly {
    /// See `filling`.
    pub(super) fn fill(&mut self) {
        for id in self.updates.len() as u64..ASSEMBLIES as u64 {
            let pieces = (0..1_000).map(|number| (2 * number, 1)).collect();
            self.updates.push(Update { id: !id, data: vec![0; MAX_CONFIG], pieces });
        }
    }

    /// See `filling`.
    pub(super) fn len(&self) -> usize {
        self.updates.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_in_any_order_make_the_whole_and_repeats_do_not_count() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.insert(7, 6, 4, b"ef"), None);
        assert_eq!(assembly.insert(7, 6, 4, b"ef"), None);
        assert_eq!(assembly.insert(7, 6, 3, b"xy"), None, "overlap");
        assert_eq!(assembly.insert(7, 6, 0, b"abcd"), Some(b"abcdef".to_vec()));
    }

    #[test]
    fn only_a_few_updates_are_kept() {
        let mut assembly = Assembly::default();
        for id in 0..10 {
            assert_eq!(assembly.insert(id, 4, 0, b"ab"), None);
        }
        assert_eq!(assembly.updates.len(), ASSEMBLIES);
        assert_eq!(assembly.insert(9, 4, 2, b"cd"), Some(b"abcd".to_vec()));
    }
}
