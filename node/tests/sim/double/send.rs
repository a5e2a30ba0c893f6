//! How its packets leave.

use std::net::SocketAddr;

use protocol::packet::{self, DEFAULT_MTU, Split, Suite};
use protocol::verb::Verb;
use protocol::verbs::{Hello, Whois, write_hello};
use protocol::{Address, Identity, Span, Time, inet, scope};
use rand::RngExt;
use rand::seq::IndexedRandom;

use super::peers::{PathKey, Peer, gate};
use super::{Double, PROTOCOL, QUEUE, QUEUED, Sent, VERSION, Waiting};

/// An identity is asked for once in so long.
const WHOIS_RETRY: Span = Span::ms(500);
/// One hint of a peer is tried in so long.
const HINT: Span = Span::ms(30_000);

impl Double {
    pub(super) fn begin(&mut self, to: Address, verb: Verb) -> Vec<u8> {
        let mut packet = Vec::new();
        packet::start(&mut packet, self.rng.random(), to, self.secret.address(), verb);
        packet
    }

    /// Takes somebody in whose identity is known.
    pub(super) fn add_peer(&mut self, identity: &Identity) {
        if identity.address == self.address() || self.peers.contains_key(&identity.address) {
            return;
        }
        if let Some(agreed) = self.secret.agree(identity) {
            let peer = Peer::new(identity.clone(), protocol::packet::SessionKeys::new(&agreed));
            self.peers.insert(identity.address, peer);
        }
    }

    /// Whether an address may be one of a peer: a root is where its planet says, and nowhere else.
    pub(super) fn path_allowed(&self, peer: Address, remote: SocketAddr) -> bool {
        let root = self.planet.roots.iter().find(|root| root.identity.address == peer);
        let listed = root.is_none_or(|root| {
            root.endpoints.is_empty() || root.endpoints.iter().any(|endpoint| endpoint.ip() == remote.ip())
        });
        let tunnel =
            matches!(remote.ip(), std::net::IpAddr::V6(ip) if ip.segments()[..2] == [0x2001, 0x0470]);
        let usable = matches!(
            scope(remote.ip()),
            inet::Scope::Private | inet::Scope::PseudoPrivate | inet::Scope::Shared | inet::Scope::Global
        );
        listed && usable && !tunnel
    }

    /// A datagram leaves, if the socket is where the machine is. Paths of a socket that is closed leave by the one there is.
    pub(super) fn put(&mut self, to: SocketAddr, ttl: Option<u8>, data: Vec<u8>) {
        if self.seat.bound == self.seat.interface {
            self.sent.push(Sent { to, ttl, data });
        }
    }

    fn put_by(&mut self, now: Time, via: PathKey, data: Vec<u8>) {
        if let Some(path) = self.paths.get_mut(&via) {
            path.last_out = Some(now);
        }
        self.put(via.remote, None, data);
    }

    /// Something for others goes on by a path.
    pub(super) fn forward(&mut self, now: Time, via: PathKey, data: &[u8]) {
        self.put_by(now, via, data.to_vec());
    }

    /// An answer goes back where the question came from; nobody answers it.
    pub(super) fn reply(&mut self, now: Time, via: PathKey, to: Address, mut packet: Vec<u8>) {
        let Some(peer) = self.peers.get(&to) else { return };
        peer.keys.armor(&mut packet, peer.suite());
        self.put_by(now, via, packet);
    }

    /// Asks somebody whether he is there: by ECHO, or by HELLO.
    pub(super) fn contact(&mut self, to: Address, remote: SocketAddr, now: Time, full: bool) {
        let Some(peer) = self.peers.get(&to) else { return };
        if full || !peer.answers_echo() {
            return self.say_hello(to, remote, now);
        }
        let suite = peer.suite();
        let mut packet = self.begin(to, Verb::Echo);
        self.peers[&to].keys.armor(&mut packet, suite);
        self.expected.add(packet::id(&packet));
        self.put(remote, None, packet);
    }

    pub(super) fn say_hello(&mut self, to: Address, remote: SocketAddr, now: Time) {
        let hello = Hello {
            protocol: PROTOCOL,
            major: VERSION.0,
            minor: VERSION.1,
            revision: VERSION.2,
            timestamp: now.as_ms() as u64,
            identity: self.secret.identity().clone(),
            sent_to: Some(remote),
            planet: Some((self.planet.id, self.planet.timestamp)),
            masked_tail_at: None,
        };
        let mut packet = self.begin(to, Verb::Hello);
        let Some(peer) = self.peers.get(&to) else { return };
        write_hello(&mut packet, 0, &hello, &[], &peer.keys);
        self.expected.add(packet::id(&packet));
        self.put(remote, None, packet);
    }

    /// The root everything goes by.
    pub(super) fn best_root(&self, now: Time) -> Option<Address> {
        let roots = self.peers.iter().filter(|(address, _)| self.is_upstream(**address));
        roots
            .min_by_key(|(address, peer)| (peer.score(now, &self.paths), std::cmp::Reverse(address.to_u64())))
            .map(|(address, _)| *address)
    }

    /// Sends a packet by address, or lets it wait.
    pub(super) fn send(&mut self, now: Time, to: Address, packet: Vec<u8>) {
        if self.try_send(now, to, &packet) {
            return;
        }
        if self.waiting.len() >= QUEUE {
            self.waiting.remove(0);
        }
        self.waiting.push(Waiting { since: now, to, packet });
        if !self.peers.contains_key(&to) {
            self.ask_who(now, to);
        }
    }

    fn try_send(&mut self, now: Time, to: Address, packet: &[u8]) -> bool {
        let Some(peer) = self.peers.get(&to) else { return false };
        let via = peer.best_path(now, &self.paths, false).or_else(|| {
            self.try_hint(now, to);
            let root =
                self.best_root(now).and_then(|root| self.peers[&root].best_path(now, &self.paths, false));
            root.or_else(|| self.peers[&to].best_path(now, &self.paths, true))
        });
        let Some(via) = via else { return false };
        let mut packet = packet.to_vec();
        let fragmented = packet.len() > DEFAULT_MTU;
        packet::set_fragmented(&mut packet, fragmented);
        let peer = &self.peers[&to];
        let suite = if packet::verb(&packet) == Some(Verb::Hello) { Suite::Clear } else { peer.suite() };
        peer.keys.armor(&mut packet, suite);
        self.expected.add(packet::id(&packet));
        let mut pieces = Vec::new();
        packet::datagrams(&packet, DEFAULT_MTU, Split::Fill, |head, data| pieces.push([head, data].concat()));
        pieces.into_iter().for_each(|piece| self.put_by(now, via, piece));
        true
    }

    /// The user may have told where a peer is.
    fn try_hint(&mut self, now: Time, to: Address) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        if gate(&mut peer.hint, now, HINT)
            && let Some(at) = peer.hints.choose(&mut self.rng).copied()
        {
            self.say_hello(to, at, now);
        }
    }

    /// Where the user says that a peer is.
    pub fn set_hints(&mut self, peer: Address, hints: Vec<SocketAddr>) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.hints = hints;
        }
    }

    /// Asks the best root who somebody is.
    pub(super) fn ask_who(&mut self, now: Time, whom: Address) {
        if whom == self.address() || self.asked.get(&whom).is_some_and(|at| now - *at < WHOIS_RETRY) {
            return;
        }
        self.asked.insert(whom, now);
        if let Some(root) = self.best_root(now) {
            let mut packet = self.begin(root, Verb::Whois);
            Whois(vec![whom]).write(&mut packet);
            self.send(now, root, packet);
        }
    }

    /// Tries again what waits to be sent and what waits to be understood.
    pub(super) fn retry(&mut self, now: Time) {
        let mut unknown = Vec::new();
        for waiting in std::mem::take(&mut self.waiting) {
            if self.try_send(now, waiting.to, &waiting.packet) || now - waiting.since > QUEUED {
                continue;
            }
            if !self.peers.contains_key(&waiting.to) {
                unknown.push(waiting.to);
            }
            self.waiting.push(waiting);
        }
        unknown.into_iter().for_each(|whom| self.ask_who(now, whom));
        self.read_again(now);
        self.asked.retain(|_, at| now - *at <= WHOIS_RETRY * 2);
    }

    /// Tries again what was not understood.
    pub(super) fn read_again(&mut self, now: Time) {
        for parked in std::mem::take(&mut self.parked) {
            if !self.decode(now, parked.via, &parked.packet) && now - parked.since <= QUEUED {
                self.parked.push(parked);
            }
        }
    }

    /// Somebody was found: what waits for him goes.
    pub(super) fn release(&mut self, now: Time, peer: Address) {
        self.read_again(now);
        for waiting in std::mem::take(&mut self.waiting) {
            if waiting.to != peer || !self.try_send(now, waiting.to, &waiting.packet) {
                self.waiting.push(waiting);
            }
        }
    }
}
