//! A network's configuration: asking the controller, assembling the signed chunks of its answer, and what has come of it.
//!
//! Specification: VL2 networks, "NETWORK_CONFIG_REQUEST", "configuration chunks", "applying, persisting and refreshing".

use std::sync::Arc;

use controller::Request;
use protocol::adhoc::{Adhoc, adhoc_config};
use protocol::metadata::RequestMetadata;
use protocol::netconf::{NetworkConfig, Sso};
use protocol::verb::Verb;
use protocol::verbs::{ConfigChunk, ConfigRequest, error_code};
use protocol::{NetworkId, Result, Span, Time, packet};
use rand::RngExt;
use zeroize::{Zeroize, Zeroizing};

use crate::ground::event::{Errand, Event, Object};
use crate::ground::info::NetworkStatus;
use crate::ground::limits::{CONFIG_REFRESH, PING_CHECK};
use crate::ground::work;
use crate::link::{Incoming, Link};

/// Largest configuration taken in, bytes. The reference stops at 484,519.
const MAX_CONFIG: usize = 1 << 20;
/// Configurations being assembled at once.
pub(in super::super) const ASSEMBLIES: usize = 3;
/// Pauses between the first requests of a network without a configuration; the last repeats.
const FIRST_REQUESTS: [Span; 4] = [Span::ms(300), Span::secs(1), Span::secs(2), PING_CHECK];

/// When to ask.
#[derive(Debug)]
pub(super) struct Requests {
    due: Time,
    asked: usize,
}

impl Requests {
    /// Due at once.
    pub(super) fn starting(now: Time) -> Self {
        Self { due: now, asked: 0 }
    }

    /// Ask again at once: something changed that may make the answer better.
    pub(super) fn hurry(&mut self, now: Time) {
        *self = Self::starting(now);
    }

    /// When the next request is due.
    pub(super) fn next(&self) -> Time {
        self.due
    }

    /// The controller has answered. Configurations it pushes do not count: it takes who stops asking for gone.
    pub(super) fn answered(&mut self, now: Time) {
        self.due = now + CONFIG_REFRESH;
    }

    /// What the controller said last may be too old although the clock does not say so. It is asked no more often than one that does
    /// not answer.
    fn doubt(&mut self, now: Time) {
        if self.due - now > PING_CHECK {
            self.due = now.max(self.due - CONFIG_REFRESH + PING_CHECK);
        }
    }

    fn asked(&mut self, now: Time, configured: bool) {
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

/// Why the controller did not give us a configuration last time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Failure {
    AccessDenied,
    NotFound,
    AuthenticationRequired,
}

impl Failure {
    /// What an ERROR with this code means.
    fn of(code: u8) -> Self {
        match code {
            error_code::ACCESS_DENIED => Self::AccessDenied,
            error_code::AUTHENTICATION_REQUIRED => Self::AuthenticationRequired,
            _ => Self::NotFound,
        }
    }
}

/// A configuration that has arrived whole.
pub(super) struct Arrived {
    /// ID of the update it came by.
    pub(super) update: u64,
    /// The configuration; `None` when an older one than is in force.
    pub(super) news: Option<(NetworkConfig, Vec<u8>)>,
    /// Whether the controller itself sent it, because we asked.
    pub(super) asked: bool,
}

/// What the controller has said of a network, and what it is still to be asked.
pub(super) struct Configuration {
    /// The configuration in force.
    pub(super) current: Option<Arc<NetworkConfig>>,
    /// Counts configurations, so that what was derived from one is known to be stale.
    pub(super) epoch: u64,
    /// When the configuration in force was applied, unless it came from disk.
    pub(super) last_update: Option<Time>,
    failure: Option<Failure>,
    /// The error for which PORT_ERROR is shown, or 0.
    pub(super) port_error: i32,
    reported: NetworkStatus,
    requests: Requests,
    assembly: Assembly,
    /// Where to log in.
    pub(super) authentication_url: Option<String>,
    /// The join token sent along with requests until the controller lets us in.
    token: Option<Zeroizing<String>>,
    /// Told to the controller, so that it knows what this run can have acknowledged. 0 until it is drawn.
    run: u64,
}

impl Configuration {
    /// None yet; it is asked for at once.
    pub(super) fn wanted(now: Time, token: Option<Zeroizing<String>>) -> Self {
        Self {
            current: None,
            epoch: 0,
            last_update: None,
            failure: None,
            port_error: 0,
            reported: NetworkStatus::RequestingConfiguration,
            requests: Requests::starting(now),
            assembly: Assembly::default(),
            authentication_url: None,
            token,
            run: 0,
        }
    }

    /// What people are told of the network.
    pub(super) fn status(&self) -> NetworkStatus {
        match (self.port_error, self.failure, &self.current) {
            (0, None, Some(_)) => NetworkStatus::Ok,
            (0, None, None) => NetworkStatus::RequestingConfiguration,
            (0, Some(Failure::AccessDenied), _) => NetworkStatus::AccessDenied,
            (0, Some(Failure::NotFound), _) => NetworkStatus::NotFound,
            (0, Some(Failure::AuthenticationRequired), _) => NetworkStatus::AuthenticationRequired,
            _ => NetworkStatus::PortError,
        }
    }

    /// Tells the service when the status has changed.
    pub(super) fn report(&mut self, link: &mut Link, network: NetworkId) {
        let status = self.status();
        if status != self.reported {
            self.reported = status;
            link.outbox.events.push_back(Event::NetworkStatus { network, status });
        }
    }

    /// When the next request is due.
    pub(super) fn next_request(&self) -> Time {
        self.requests.next()
    }

    /// Ask again at once: something changed that may make the answer better.
    pub(super) fn hurry(&mut self, now: Time) {
        self.requests.hurry(now);
    }

    /// Somebody who has our credentials does not take them: ask soon.
    pub(super) fn doubt(&mut self, now: Time) {
        self.requests.doubt(now);
    }

    /// The controller has answered a request of ours.
    pub(super) fn answered(&mut self, now: Time) {
        self.requests.answered(now);
    }

    /// Another join token is to be sent along, at once.
    pub(super) fn try_token(&mut self, now: Time, token: Zeroizing<String>) {
        self.token = Some(token);
        self.requests.hurry(now);
    }

    /// Whether a join token waits for the controller to let us in.
    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The controller has let us in: the join token has done what it was for. A certificate lasts for as long as it is
    /// renewed, and whoever puts us out later does not want us back by the same token.
    pub(super) fn forget_token(&mut self, link: &mut Link, network: NetworkId) {
        if self.token.take().is_some() {
            link.outbox.events.push_back(Event::Delete { object: Object::Token(network) });
        }
    }

    /// Which run this is, as far as the network's controller is concerned; `drawn` is a number for it if there is none.
    pub(super) fn run(&mut self, drawn: u64) -> u64 {
        if self.run == 0 {
            self.run = drawn;
        }
        self.run
    }

    /// Asks for a configuration. Of an ad-hoc network it is known without asking.
    pub(super) fn request(&mut self, link: &mut Link, now: Time, id: NetworkId) -> Option<NetworkConfig> {
        let us = link.secret.identity().clone();
        let run = self.run(link.rng.random_range(1..=u64::MAX));
        self.requests.asked(now, self.current.is_some());
        if id.is_adhoc() {
            self.requests.answered(now);
            match adhoc_config(id, us.address, now) {
                Some(Adhoc::Config(config)) => return Some(*config),
                Some(Adhoc::NotFound) => self.fail(link, id, Failure::NotFound),
                Some(Adhoc::Never) | None => {}
            }
            return None;
        }
        let token = self.token.as_ref().map(|token| Zeroizing::new(format!("token:{}", **token)));
        let mut said = RequestMetadata::ours(token.as_ref().map_or("", |token| token));
        said.run = run;
        let metadata = Zeroizing::new(said.to_dictionary().into_bytes());
        said.authorization.zeroize();
        let held = self.current.as_ref().map(|config| config.timestamp);
        let revision = self.current.as_ref().map_or(0, |config| config.revision);
        if id.controller() == us.address {
            if link.settings.controller {
                let request = Request {
                    network: id,
                    member: us,
                    metadata: metadata.to_vec(),
                    packet_id: u64::MAX,
                    held,
                };
                link.outbox.errands.push_back(Errand::ConfigRequest(request));
            } else {
                self.fail(link, id, Failure::NotFound);
            }
            return None;
        }
        let mut packet = link.begin(id.controller(), Verb::NetworkConfigRequest);
        ConfigRequest {
            network: id,
            metadata: &metadata,
            revision: Some(revision),
            timestamp: Some(held.map_or(0, |at| at.as_ms().cast_unsigned())),
        }
        .write(&mut packet);
        packet::compress(&mut packet, 0);
        link.send(now, packet);
        None
    }

    /// Takes in a chunk that its signature, or who sent it, vouches for. `in_re` is the packet ID of our request, if it
    /// answers one.
    pub(super) fn take_chunk(
        &mut self,
        link: &Link,
        now: Time,
        incoming: &Incoming<'_>,
        chunk: &ConfigChunk<'_>,
        in_re: Option<u64>,
    ) -> Result<Option<Arrived>> {
        let from_controller = incoming.source == chunk.network.controller();
        let (update, total, offset) = match &chunk.signature {
            Some(_) => (chunk.update_id, chunk.total as usize, chunk.offset as usize),
            // The old unsigned form is good only from the controller itself.
            None if from_controller => (in_re.unwrap_or(0), chunk.data.len(), 0),
            None => return Ok(None),
        };
        let Some(dictionary) = self.assembly.insert(update, total, offset, chunk.data) else {
            return Ok(None);
        };
        let config = NetworkConfig::from_dictionary(&dictionary)?;
        if config.issued_to != link.address() || config.network != chunk.network {
            return Ok(None);
        }
        // Anybody may repeat an old signed configuration; only the controller, asked by us, may set the clock back.
        let asked = from_controller && in_re.is_some();
        if asked {
            self.requests.answered(now);
        }
        // Two changes in quick succession may arrive in either order.
        let older = |c: &Arc<NetworkConfig>| (config.timestamp, config.revision) < (c.timestamp, c.revision);
        let news = asked || !self.current.as_ref().is_some_and(older);
        Ok(Some(Arrived { update, news: news.then_some((config, dictionary)), asked }))
    }

    /// Puts a configuration into force and gives back the former one.
    pub(super) fn replace(
        &mut self,
        now: Time,
        from_disk: bool,
        config: Arc<NetworkConfig>,
    ) -> Option<Arc<NetworkConfig>> {
        let former = self.current.replace(config);
        self.epoch += 1;
        self.last_update = (!from_disk).then_some(now);
        self.failure = None;
        self.authentication_url = None;
        former
    }

    /// The controller refused us.
    pub(super) fn refused(&mut self, link: &mut Link, id: NetworkId, code: u8, details: Option<&[u8]>) {
        let failure = Failure::of(code);
        if failure == Failure::AuthenticationRequired {
            // Version 0 names the page to open, version 1 the issuer to log in with.
            let url = details.and_then(Sso::from_error).map(|sso| match sso.version {
                0 => sso.authentication_url,
                _ => sso.issuer_url,
            });
            self.authentication_url = url.filter(|url| !url.is_empty());
        }
        self.fail(link, id, failure);
    }

    fn fail(&mut self, link: &mut Link, id: NetworkId, failure: Failure) {
        self.failure = Some(failure);
        self.report(link, id);
    }

    /// Whether a signed chunk is one of the controller's, and fits into a configuration.
    pub(super) fn is_genuine(link: &mut Link, now: Time, chunk: &ConfigChunk<'_>) -> bool {
        let controller = chunk.network.controller();
        let Some(controller) = link.topology.peers.get(&controller) else {
            link.whois(now, controller);
            return false;
        };
        let (total, offset) = (chunk.total as usize, chunk.offset as usize);
        let fits =
            total <= MAX_CONFIG && offset.checked_add(chunk.data.len()).is_some_and(|end| end <= total);
        fits && chunk.verify(&controller.identity)
    }
}

#[cfg(feature = "work")]
impl Assembly {
    /// See `filling`.
    fn fill(&mut self) {
        for id in self.updates.len() as u64..ASSEMBLIES as u64 {
            let pieces = (0..1_000).map(|number| (2 * number, 1)).collect();
            self.updates.push(Update { id: !id, data: vec![0; MAX_CONFIG], pieces });
        }
    }

    /// See `filling`.
    fn len(&self) -> usize {
        self.updates.len()
    }
}

#[cfg(feature = "work")]
impl Configuration {
    /// See `filling`.
    pub(super) fn fill(&mut self) {
        self.assembly.fill();
    }

    /// See `filling`: configurations being assembled.
    pub(super) fn assembling(&self) -> usize {
        self.assembly.len()
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
