//! Keeping in touch: greeting roots, heartbeats on paths in use, and finding direct paths through NATs.
//!
//! Specification: VL1 behaviour, "background: who is contacted when" and "NAT traversal". Two things differ from the reference
//! on purpose: roots get a heartbeat of their own instead of an accidental WHOIS every five seconds, and a heartbeat that stays
//! unanswered is followed by a HELLO at the next check, so that a restarted root knows us again within seconds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use protocol::inet::Scope;
use protocol::verb::Verb;
use protocol::verbs::{PushDirectPaths, PushedPath, Rendezvous};
use protocol::{Address, Result, Span, Time, packet, scope};
use rand::RngExt;
use rand::seq::IndexedRandom;

use crate::ground::event::{Event, Object};
use crate::ground::limits::{FIRST_GREETING, ONLINE_TIMEOUT, PING_CHECK};
use crate::ground::limits::{
    FULL_HELLO, MAX_PEERS, PATH_ALIVE, PATH_EXPIRY, PATH_HEARTBEAT, PATH_HEARTBEAT_UNNUMBERED, PEER_TIMEOUT,
    PROBE_ANSWER, PUSH_DIRECT, PUSH_PER_SCOPE, PUSH_RELAYED,
};
use crate::link::Link;
use crate::link::candidates::Candidates;
use crate::link::deaf::Deaf;
use crate::link::extension::{Known, MOVED};
use crate::link::path::PathKey;
use crate::link::ways::{Place, Ways};
use crate::link::{Handled, Incoming};

/// Time-to-live of the datagram that opens our NAT: it passes the NAT and dies before it reaches the other one.
const PUNCH_TTL: u8 = 2;
/// A heartbeat may go out so much before its time: the next check comes [`PING_CHECK`] later.
const HEARTBEAT_MARGIN: Span = Span::secs(4);

/// Whoever was active within this time is told at once that we have moved; of the others …
const JUST_NOW: Span = Span::secs(10);
/// … so many in a second, …
const TELLING_RATE: usize = 500;
/// … some at a time.
const TELLING_BATCH: usize = 25;

/// How we keep in touch.
pub(crate) struct Contacts {
    /// Whether a root answers, or we are one.
    pub(crate) online: bool,
    /// Whether that has become so since somebody last asked.
    came_online: bool,
    /// Whether a root was told of that accepted us.
    pub(crate) accepted: bool,
    /// Contact checks since a root was last heard.
    pub(crate) greetings: u32,
    /// When the next contact check is due.
    pub(crate) next_ping: Time,
    /// Endpoints that are tried again and again.
    pub(crate) candidates: Candidates,
    /// Sockets that send into nothing.
    pub(crate) deaf: Deaf,
    /// Who is to be told that we have moved, where it was, and when the next of them are.
    to_tell: VecDeque<(Address, Vec<SocketAddr>)>,
    next_telling: Option<Time>,
    /// When we last got new sockets.
    moved: Option<Time>,
}

impl Contacts {
    /// In touch with nobody; the first check is due at once.
    pub(crate) fn new(now: Time) -> Self {
        Self {
            online: false,
            came_online: false,
            accepted: false,
            greetings: 0,
            next_ping: now,
            candidates: Candidates::default(),
            deaf: Deaf::default(),
            to_tell: VecDeque::new(),
            next_telling: None,
            moved: None,
        }
    }

    /// When there is something to do by the clock, but for the contact check.
    pub(crate) fn next(&self) -> Option<Time> {
        self.candidates.next().into_iter().chain(self.next_telling).min()
    }

    /// Whether a root has begun to answer since this was last asked.
    pub(crate) fn take_came_online(&mut self) -> bool {
        std::mem::take(&mut self.came_online)
    }

    /// An authentic packet arrived: note it, learn or confirm the path, tell the peer our addresses. What may be a repetition
    /// of an older packet keeps nothing alive, and no path is known before it brought an answer to something of ours.
    pub(crate) fn credit(
        &mut self,
        link: &mut Link,
        now: Time,
        incoming: &Incoming<'_>,
        verb: Option<Verb>,
        trust: bool,
    ) {
        let &Incoming { via, source, hops, fresh, proves, .. } = incoming;
        let Some(peer) = link.topology.peers.get_mut(&source) else { return };
        if fresh {
            peer.last_received = Some(now);
        }
        if matches!(
            verb,
            Some(
                Verb::Frame
                    | Verb::ExtFrame
                    | Verb::NetworkConfigRequest
                    | Verb::NetworkConfig
                    | Verb::MulticastFrame
            )
        ) {
            peer.last_active = Some(now);
        }
        if trust {
            peer.last_trusted = Some(now);
        }
        if hops == 0 {
            if let Some(known) = peer.path_mut(&via) {
                if fresh {
                    (known.last_received, known.probed_at) = (Some(now), None);
                }
                if let Some(path) = link.topology.paths.get_mut(&via) {
                    if fresh {
                        path.last_in = now;
                    }
                    if proves {
                        path.proven_at = now;
                    }
                    if trust {
                        path.last_trusted = Some(now);
                    }
                }
            } else if link.path_allowed(source, via.remote) {
                match Ways::newcomer(link, now, source, via, (proves, fresh), verb) {
                    Place::Proven => self.learn_path(link, now, source, via, trust),
                    Place::Possible => link.confirm(now, source, via),
                    Place::Another => {}
                }
            }
        }
        self.push_addresses(link, now, via, source, hops);
    }

    /// A peer has answered a packet of ours on a path.
    pub(crate) fn learn_path(
        &mut self,
        link: &mut Link,
        now: Time,
        source: Address,
        via: PathKey,
        trust: bool,
    ) {
        if !link.topology.learn_path(now, source, via) {
            return;
        }
        if trust && let Some(path) = link.topology.paths.get_mut(&via) {
            path.last_trusted = Some(now);
        }
        if link.topology.peers.get(&source).is_some_and(|peer| peer.course.moved_to == Some(via)) {
            Ways::moved(link, now, source, &via);
        } else {
            // It may be there because it is no longer where it was, and those who are relayed to it cannot find that out.
            Ways::ask_others(link, now, source, &via);
        }
        self.path_learned(link, now, source, via);
    }

    fn path_learned(&mut self, link: &mut Link, now: Time, peer: Address, via: PathKey) {
        self.send_owed_worlds(link, now, peer, via);
        if link.topology.peers.get(&peer).is_some_and(|peer| peer.version.protocol == 0) {
            // Its answer tells the version, and with it the cipher.
            link.say_hello(now, peer, Some(via.socket), via.remote);
        }
        if link.topology.is_upstream(peer) {
            self.update_online(link, now);
            link.retry_sending(now, None);
        } else {
            link.retry_sending(now, Some(peer));
        }
    }

    fn update_online(&mut self, link: &mut Link, now: Time) {
        let online = link.topology.am_root
            || link.topology.upstreams.keys().chain(link.topology.seeds.values()).any(|address| {
                link.topology.peers.get(address).is_some_and(|peer| peer.was_heard(now, ONLINE_TIMEOUT))
            });
        if online != self.online {
            self.online = online;
            link.outbox.events.push_back(Event::Online(online));
            self.came_online |= online;
        }
    }

    /// Time to the next contact check. Without a root the first ones come in quick succession: a HELLO may have been lost,
    /// or the root may be starting at the same moment as we.
    fn ping_interval(&mut self, link: &Link) -> Span {
        let regular = if link.settings.low_bandwidth { PING_CHECK * 5 } else { PING_CHECK };
        let heard = self.moved.is_none_or(|at| self.heard_root_since(link, Some(at)));
        if self.online && heard || link.topology.upstreams.is_empty() {
            self.greetings = 0;
            return regular;
        }
        self.greetings += 1;
        (FIRST_GREETING * (1 << self.greetings.min(8))).min(regular)
    }

    /// Looks after everybody we want to stay in contact with.
    pub(crate) fn ping_check(&mut self, link: &mut Link, now: Time, anchors: Vec<Address>) {
        let mut wanted: BTreeMap<Address, Vec<SocketAddr>> = link.topology.upstreams.clone();
        for address in link.topology.seeds.values().copied().chain(anchors) {
            if address != link.address() {
                wanted.entry(address).or_default();
            }
        }
        for (address, endpoints) in &wanted {
            self.keep_wanted(link, now, *address, endpoints);
        }
        let active: Vec<Address> = link
            .topology
            .peers
            .iter()
            .filter(|(address, peer)| !wanted.contains_key(address) && peer.is_active(now))
            .map(|(address, _)| *address)
            .collect();
        for address in active {
            self.keep_alive(link, now, address);
        }
        self.update_online(link, now);
        self.deaf.look(link, now);
        for (address, bytes) in link.topology.unsaved_records(now) {
            link.outbox.events.push_back(Event::Store { object: Object::Peer(address), bytes });
        }
        self.next_ping = now + self.ping_interval(link);
    }

    /// A peer may have to be told that we are elsewhere, at these addresses of it.
    pub(crate) fn may_have_to_tell(&mut self, peer: Address, endpoints: Vec<SocketAddr>) {
        if !endpoints.is_empty() && self.to_tell.len() < MAX_PEERS {
            self.to_tell.push_back((peer, endpoints));
        }
    }

    /// We have new sockets: whoever we talked with a moment ago is told from them at once; the rest in turn, not too many in a second.
    pub(crate) fn tell_moved(&mut self, link: &mut Link, now: Time) {
        self.moved = Some(now);
        for (address, endpoints) in std::mem::take(&mut self.to_tell) {
            let last = link.topology.peers.get(&address).and_then(|peer| peer.last_active);
            if last.is_some_and(|at| now - at < JUST_NOW) {
                self.tell_one_moved(link, now, address, &endpoints);
            } else {
                self.to_tell.push_back((address, endpoints));
            }
        }
        self.next_telling = Some(now);
    }

    /// Tells some of those that have not been told yet.
    pub(crate) fn tell_more_moved(&mut self, link: &mut Link, now: Time) {
        if self.next_telling.is_none_or(|due| now < due) {
            return;
        }
        for _ in 0..TELLING_BATCH {
            let Some((address, endpoints)) = self.to_tell.pop_front() else { break };
            self.tell_one_moved(link, now, address, &endpoints);
        }
        let pause = Span::secs(1) * TELLING_BATCH as i64 / TELLING_RATE as i64;
        self.next_telling = (!self.to_tell.is_empty()).then_some(now + pause);
    }

    fn tell_one_moved(&mut self, link: &mut Link, now: Time, address: Address, endpoints: &[SocketAddr]) {
        let Some(peer) = link.topology.peers.get_mut(&address) else { return };
        // Where we can be reached now is told again as soon as it is heard of.
        peer.last_push = None;
        let is_ours = matches!(peer.extensions.known, Known::Ztnode(_));
        for endpoint in endpoints {
            if !link.path_allowed(address, *endpoint) {
                continue;
            }
            if is_ours {
                let mut packet = link.begin(address, Verb::Echo);
                packet.extend_from_slice(&MOVED);
                link.send_to(now, None, *endpoint, packet);
            } else {
                link.say_hello(now, address, None, *endpoint);
            }
        }
    }

    /// Greets all roots at once, on every path and at every address that is known of them: whether they still answer is to be seen.
    pub(crate) fn greet_roots(&mut self, link: &mut Link, now: Time) {
        for (address, endpoints) in link.topology.upstreams.clone() {
            let Some(peer) = link.topology.peers.get(&address) else { continue };
            let paths: Vec<PathKey> = peer.paths.iter().map(|path| path.key).collect();
            for key in &paths {
                link.say_hello(now, address, Some(key.socket), key.remote);
            }
            for endpoint in endpoints {
                if !paths.iter().any(|key| key.remote == endpoint) {
                    link.say_hello(now, address, None, endpoint);
                }
            }
        }
    }

    /// Whether a root was heard since then, or ever. A root asks nobody.
    pub(crate) fn heard_root_since(&self, link: &Link, then: Option<Time>) -> bool {
        let heard = |address| link.topology.peers.get(address).is_some_and(|peer| peer.last_received > then);
        link.topology.am_root || link.topology.upstreams.keys().any(heard)
    }

    /// A peer we always want to reach: a root, a moon's seed, an anchor.
    fn keep_wanted(&mut self, link: &mut Link, now: Time, address: Address, endpoints: &[SocketAddr]) {
        if !link.topology.peers.contains_key(&address) {
            link.whois(now, address);
            return;
        }
        let (reached_v4, reached_v6) = self.keep_alive(link, now, address);
        for (reached, v6) in [(reached_v4, false), (reached_v6, true)] {
            let candidates: Vec<SocketAddr> =
                endpoints.iter().filter(|e| e.is_ipv6() == v6).copied().collect();
            if !reached && let Some(endpoint) = candidates.choose(&mut link.rng).copied() {
                link.say_hello(now, address, None, endpoint);
                self.deaf.asked(v6);
            }
        }
        if endpoints.is_empty() && !reached_v4 && !reached_v6 {
            // No address of its own is known: ask through the best root.
            if let Some((_, relay)) = link.topology.relay_path(now, &[address]) {
                link.say_hello(now, address, Some(relay.key.socket), relay.key.remote);
            }
        }
    }

    /// Heartbeats on a peer's paths; expired ones are dropped. Tells whether a live IPv4 and a live IPv6 path remain.
    fn keep_alive(&mut self, link: &mut Link, now: Time, address: Address) -> (bool, bool) {
        let Some(peer) = link.topology.peers.get_mut(&address) else { return (false, false) };
        peer.paths.retain(|p| p.was_heard(now, PATH_EXPIRY));
        let full = peer.greeted.everywhere.is_none_or(|at| now - at >= FULL_HELLO);
        if full {
            peer.greeted.everywhere = Some(now);
        }
        // Packets of a peer that does not number them keep nothing alive, so that it is asked more often.
        let heartbeat = if peer.replay.is_exact() { PATH_HEARTBEAT } else { PATH_HEARTBEAT_UNNUMBERED };
        peer.reconsider();
        let paths: Vec<(PathKey, Option<Time>, Option<Time>)> =
            peer.paths.iter().map(|path| (path.key, path.last_received, path.probed_at)).collect();
        let (mut v4, mut v6) = (false, false);
        for (key, last_received, probed_at) in paths {
            let was_heard = |within| last_received.is_some_and(|at| now - at < within);
            let last_out = link.topology.paths.get(&key).and_then(|p| p.last_out);
            let alive = was_heard(PATH_ALIVE);
            if alive {
                *(if key.remote.is_ipv4() { &mut v4 } else { &mut v6 }) = true;
            }
            let unanswered = probed_at.is_some_and(|at| now - at >= PROBE_ANSWER);
            let silent = !was_heard(heartbeat - HEARTBEAT_MARGIN)
                || last_out.is_none_or(|at| now - at >= PATH_HEARTBEAT);
            if full || unanswered {
                link.say_hello(now, address, Some(key.socket), key.remote);
            } else if silent {
                link.contact(now, address, Some(key.socket), key.remote);
            }
        }
        (v4, v6)
    }

    /// Forgets peers that have been silent for long; their identities go to the cache.
    pub(crate) fn forget_silent_peers(&mut self, link: &mut Link, now: Time) {
        let silent: Vec<Address> = link
            .topology
            .peers
            .iter()
            .filter(|(address, peer)| {
                !link.topology.is_upstream(**address)
                    && peer.greeted.once.is_none_or(|at| now - at >= PEER_TIMEOUT)
                    && now - peer.silent_since() >= PEER_TIMEOUT
                    // Of a relayed peer that does not number its packets nothing counts as fresh, but it is there, and so are its gates.
                    && !peer.is_active(now)
            })
            .map(|(address, _)| *address)
            .collect();
        for address in silent {
            if let Some(peer) = link.topology.peers.remove(&address)
                && peer.last_received.is_some()
            {
                let bytes = crate::link::peer_cache::write(&peer);
                link.outbox.events.push_back(Event::Store { object: Object::Peer(address), bytes });
            }
        }
    }

    /// A root tells us where a peer can be found: open our NAT towards it and probe that address.
    pub(crate) fn rendezvous(
        &mut self,
        link: &mut Link,
        now: Time,
        incoming: &Incoming<'_>,
    ) -> Result<Handled> {
        let rendezvous = Rendezvous::parse(incoming.payload)?;
        let (peer, endpoint) = (rendezvous.peer, rendezvous.endpoint);
        if link.topology.is_upstream(incoming.source)
            && peer != link.address()
            && link.path_allowed(peer, endpoint)
            && link.may_probe(endpoint)
        {
            if link.topology.peers.contains_key(&peer) {
                let junk: [u8; 4] = link.rng.random();
                link.put(now, Some(incoming.via.socket), endpoint, Some(PUNCH_TTL), &junk);
            }
            // An introduction may come before we have been told who that is; then later candidates help.
            self.probe_candidate(link, now, peer, Some(incoming.via.socket), endpoint, true);
        }
        Ok(Handled::Credit)
    }

    /// A peer tells us its addresses: probe each.
    pub(crate) fn pushed_paths(
        &mut self,
        link: &mut Link,
        now: Time,
        incoming: &Incoming<'_>,
    ) -> Result<Handled> {
        const FORGET: u8 = 0x01;
        let pushed = PushDirectPaths::parse(incoming.payload)?;
        let allowed =
            link.topology.peers.get_mut(&incoming.source).is_some_and(|peer| peer.gates.allow_push(now));
        if !allowed {
            return Ok(Handled::Credit);
        }
        let fellow = link.topology.peers.get(&incoming.source).is_some_and(|peer| peer.is_trusted(now));
        let mut tried: BTreeMap<(Scope, bool), usize> = BTreeMap::new();
        let mut told = BTreeSet::new();
        for path in pushed.0 {
            let endpoint = path.endpoint;
            // Each once: a list of one address is not to make us its pest.
            if !told.insert(endpoint) {
                continue;
            }
            if path.flags & FORGET != 0
                || !link.path_allowed(incoming.source, endpoint)
                || !link.may_probe(endpoint)
            {
                continue;
            }
            if link.topology.peers.get(&incoming.source).is_some_and(|peer| peer.has_path_to(now, endpoint)) {
                continue;
            }
            let count = tried.entry((scope(endpoint.ip()), endpoint.is_ipv4())).or_default();
            if *count < PUSH_PER_SCOPE {
                *count += 1;
                self.probe_candidate(link, now, incoming.source, None, endpoint, fellow);
            }
        }
        Ok(Handled::Credit)
    }

    /// Tells a member of a common network our addresses, now and then.
    pub(crate) fn push_addresses(&mut self, link: &mut Link, now: Time, via: PathKey, to: Address, hops: u8) {
        let interval = match (hops, link.settings.low_bandwidth) {
            (0, false) => PUSH_DIRECT,
            (0, true) => PUSH_DIRECT * 16,
            _ => PUSH_RELAYED,
        };
        let Some(peer) = link.topology.peers.get_mut(&to) else { return };
        if !peer.is_trusted(now) || peer.last_push.is_some_and(|at| now - at < interval) {
            return;
        }
        let mut candidates: Vec<SocketAddr> = link.local.iter().map(|(_, address)| *address).collect();
        candidates.extend(link.surfaces.advertised());
        candidates.retain(|c| c.port() != 0 && protocol::inet::usable_for_paths(c.ip()));
        candidates.sort_unstable();
        candidates.dedup();
        let is_ours = matches!(peer.extensions.known, Known::Ztnode(_));
        if candidates.is_empty() || !peer.gates.allow_telling(now, is_ours) {
            return;
        }
        peer.last_push = Some(now);
        let paths: Vec<PushedPath> =
            candidates.into_iter().map(|endpoint| PushedPath { flags: 0, endpoint }).collect();
        // 32 records of the larger kind stay below the 1176 bytes a push may have.
        for chunk in paths.chunks(32) {
            let mut packet = link.begin(to, Verb::PushDirectPaths);
            PushDirectPaths(chunk.to_vec()).write(&mut packet);
            packet::compress(&mut packet, 0);
            link.reply(now, via, packet);
        }
    }
}

#[cfg(feature = "work")]
impl Contacts {
    /// See `filling`. Nobody's turn comes while a test goes on.
    pub(crate) fn fill(&mut self, now: Time, peer: impl Fn(u64) -> Address, via: impl Fn(u64) -> PathKey) {
        self.next_telling = Some(now + Span::secs(1_000_000));
        for number in self.to_tell.len() as u64..MAX_PEERS as u64 {
            self.to_tell.push_back((peer(number), vec![via(number).remote]));
        }
    }

    /// See `filling`.
    pub(crate) fn len(&self) -> usize {
        self.to_tell.len()
    }
}
