//! Forwarding for others, and introducing those who talk through us.
//!
//! Specification: VL1 behaviour, "relaying". We forward more carefully than the reference: a root only carries what comes from
//! an address at which it knows somebody, so a forged source address cannot make it an amplifier.

use protocol::inet::Scope;
use protocol::packet;
use protocol::verb::Verb;
use protocol::verbs::Rendezvous;
use protocol::{Address, Time, scope};
use rand::RngExt;

use crate::ground::gate::Gate;
use crate::ground::limits::{
    INTRODUCE_AGAIN, INTRODUCE_BURST, INTRODUCE_GATE, INTRODUCTION_BURST, INTRODUCTION_GATE, MAX_PAIRS,
    MAX_PAIRS_PER_SOURCE, PATH_EXPIRY,
};
use crate::ground::table::Table;
use crate::ground::work;
use crate::link::Link;
use crate::link::extension::Known;
use crate::link::path::PathKey;

/// What is kept in mind about those we relay for.
pub(crate) struct Relay {
    /// Who was introduced to whom, and how often; whose packet made us do so pays.
    pub(crate) pairs: Table<(Address, Address), Address, Gate>,
}

impl Default for Relay {
    fn default() -> Self {
        Self { pairs: Table::new(MAX_PAIRS, MAX_PAIRS_PER_SOURCE) }
    }
}

impl Relay {
    /// Whether we carry foreign traffic that came in on `via`.
    fn may_relay(&self, link: &Link, now: Time, via: PathKey) -> bool {
        if link.topology.am_root {
            link.topology.paths.knows_ip(via.socket, via.remote.ip())
                || link.topology.is_upstream_ip(via.remote.ip())
        } else {
            link.topology.paths.get(&via).is_some_and(|path| path.is_trusted(now))
        }
    }

    /// Forwards a packet or packet head addressed to `dest`.
    pub(crate) fn relay_packet(&mut self, link: &mut Link, now: Time, via: PathKey, data: &mut [u8]) {
        let (source, dest) = (packet::source(data), packet::dest(data));
        // A reserved address is nobody's. From an address to itself nothing needs a relay, and one may lock up over it.
        let nobody = dest.is_reserved() || source == dest;
        if nobody || packet::hops(data) >= packet::MAX_HOPS || !self.may_relay(link, now, via) {
            link.counters.dropped += 1;
            return;
        }
        packet::increment_hops(data);
        if let Some(direct) = link.topology.direct_path(now, dest) {
            self.forward(link, now, direct.key, data);
            self.introduce(link, now, via, source, dest);
        } else if let Some((root, relay)) =
            link.topology.relay_path(now, &[]).filter(|(root, _)| *root != source)
        {
            self.forward(link, now, relay.key, data);
            self.introduce(link, now, via, source, root);
        } else {
            link.counters.dropped += 1;
        }
    }

    /// Forwards a fragment addressed to `dest`.
    pub(crate) fn relay_fragment(&mut self, link: &mut Link, now: Time, via: PathKey, data: &mut [u8]) {
        let dest = packet::dest(data);
        if packet::fragment_hops(data) >= packet::MAX_HOPS || !self.may_relay(link, now, via) {
            link.counters.dropped += 1;
            return;
        }
        packet::increment_fragment_hops(data);
        let key = link
            .topology
            .direct_path(now, dest)
            .map(|direct| direct.key)
            .or_else(|| link.topology.relay_path(now, &[]).map(|(_, relay)| relay.key));
        match key {
            // Never back to where it came from.
            Some(key) if key != via => self.forward(link, now, key, data),
            _ => link.counters.dropped += 1,
        }
    }

    fn forward(&mut self, link: &mut Link, now: Time, key: PathKey, data: &[u8]) {
        link.counters.relayed += 1;
        link.put(now, Some(key.socket), key.remote, None, data);
    }

    /// Tells both ends where the other can be reached, once in a while per pair. Nobody vouches for the source that a packet names
    /// (its seal is for its destination), so only one is believed that is known on the very path the packet came by.
    fn introduce(&mut self, link: &mut Link, now: Time, via: PathKey, x: Address, y: Address) {
        if x == y || !link.topology.peers.contains_key(&y) {
            return;
        }
        let is_ours = |peer: Address| {
            let known = link.topology.peers.get(&peer);
            known.is_some_and(|peer| matches!(peer.extensions.known, Known::Ztnode(_)))
        };
        // A zerotier-one is told as seldom as its own roots do.
        let (spacing, burst) =
            if is_ours(x) && is_ours(y) { (INTRODUCE_AGAIN, INTRODUCE_BURST) } else { (INTRODUCE_GATE, 1) };
        let known = link.topology.peers.get_mut(&x).filter(|peer| peer.paths.iter().any(|p| p.key == via));
        let Some(source) = known else { return };
        let pair = (x.min(y), x.max(y));
        let mut gate = self.pairs.get(&pair).copied().unwrap_or_default();
        if !gate.allow(now, spacing, burst)
            || !source.gates.introductions.allow(now, INTRODUCTION_GATE, INTRODUCTION_BURST)
        {
            return;
        }
        let Some((at_x, at_y)) = self.matching_paths(link, now, x, y) else { return };
        self.pairs.insert(now, x, pair, gate);
        let mut steps = [(x, at_x, y, at_y), (y, at_y, x, at_x)];
        if link.rng.random() {
            steps.reverse();
        }
        for (to, path, other, endpoint) in steps {
            let mut packet = link.begin(to, Verb::Rendezvous);
            Rendezvous { peer: other, endpoint: endpoint.remote }.write(&mut packet);
            link.reply(now, path, packet);
        }
    }

    /// For each of two peers its best path in the nearest scope that both share, IPv6 before IPv4.
    fn matching_paths(&self, link: &Link, now: Time, x: Address, y: Address) -> Option<(PathKey, PathKey)> {
        let best = |address: Address, wanted: Scope, v6: bool| -> Option<PathKey> {
            let peer = link.topology.peers.get(&address)?;
            peer.paths
                .iter()
                .inspect(|_| work::step())
                .filter(|p| p.was_heard(now, PATH_EXPIRY))
                .filter(|p| p.key.remote.is_ipv6() == v6 && scope(p.key.remote.ip()) == wanted)
                .max_by_key(|p| p.last_received)
                .map(|p| p.key)
        };
        const NEAREST_FIRST: [Scope; 6] = [
            Scope::Private,
            Scope::Shared,
            Scope::LinkLocal,
            Scope::Global,
            Scope::PseudoPrivate,
            Scope::Loopback,
        ];
        NEAREST_FIRST
            .into_iter()
            .flat_map(|s| [(s, true), (s, false)])
            .find_map(|(s, v6)| Some((best(x, s, v6)?, best(y, s, v6)?)))
    }
}
