//! A request for a configuration counts when whoever asks can be reached.
//!
//! Anybody can make identities and ask with them from wherever they like; on a public network each would get an address and
//! leave a record. So a peer that has never answered anything of ours is asked by ECHO first, directly or through a relay as
//! any packet to it, and its request waits for the answer: one round trip, once. The requester need not know of it: it asks
//! again by itself when the answer is late.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use controller::Request;
use protocol::verb::Verb;
use protocol::{Address, NetworkId};

use super::super::Core;
use super::super::event::Event;
use super::super::limits::{MAX_UNPROVEN, MAX_UNPROVEN_RELAYED, MAX_UNPROVEN_SOURCE, UNPROVEN_LIFETIME};
use super::super::receive::Incoming;

/// Least time between two ECHOs to one requester, ms.
const ECHO_PAUSE: i64 = 250;

/// Where requests come from: a /24 or /48, or, relayed, the relay's.
type Source = (bool, [u8; 7]);

fn prefix(ip: IpAddr) -> [u8; 7] {
    let mut key = [0; 7];
    match ip {
        IpAddr::V4(ip) => key[1..4].copy_from_slice(&ip.octets()[..3]),
        IpAddr::V6(ip) => {
            key[0] = 6;
            key[1..7].copy_from_slice(&ip.octets()[..6]);
        }
    }
    key
}

#[derive(Debug)]
struct Held {
    request: Request,
    since: i64,
    asked: i64,
    source: Source,
}

/// Requests that wait for their sender's answer.
#[derive(Debug, Default)]
pub(in super::super) struct Unproven {
    held: BTreeMap<(Address, NetworkId), Held>,
    by_time: BTreeSet<(i64, Address, NetworkId)>,
    /// By source, oldest first: each has a share.
    by_source: BTreeMap<Source, BTreeSet<(i64, Address, NetworkId)>>,
}

impl Unproven {
    /// Lets a request wait, in place of an earlier one of that peer for that network. Whether an ECHO is due.
    fn hold(&mut self, now: i64, source: Source, request: Request) -> bool {
        let key = (request.member.address, request.network);
        if let Some(held) = self.held.get_mut(&key) {
            held.request = request;
            let due = now - held.asked >= ECHO_PAUSE;
            if due {
                held.asked = now;
            }
            return due;
        }
        let share = if source.0 { MAX_UNPROVEN_RELAYED } else { MAX_UNPROVEN_SOURCE };
        let greedy = self.by_source.get(&source).filter(|all| all.len() >= share);
        let full = (self.held.len() >= MAX_UNPROVEN).then_some(&self.by_time);
        let oldest = greedy.or(full).and_then(|all| all.first()).copied();
        if let Some((_, peer, network)) = oldest {
            self.remove((peer, network));
        }
        self.by_time.insert((now, key.0, key.1));
        self.by_source.entry(source).or_default().insert((now, key.0, key.1));
        self.held.insert(key, Held { request, since: now, asked: now, source });
        true
    }

    fn remove(&mut self, key: (Address, NetworkId)) -> Option<Request> {
        let held = self.held.remove(&key)?;
        let entry = (held.since, key.0, key.1);
        self.by_time.remove(&entry);
        if let Some(all) = self.by_source.get_mut(&held.source) {
            all.remove(&entry);
            if all.is_empty() {
                self.by_source.remove(&held.source);
            }
        }
        Some(held.request)
    }

    /// The requests of a peer that has answered.
    fn take(&mut self, peer: Address) -> Vec<Request> {
        let range = (peer, NetworkId(0))..=(peer, NetworkId(u64::MAX));
        let keys: Vec<_> = self.held.range(range).map(|(key, _)| *key).collect();
        keys.into_iter().filter_map(|key| self.remove(key)).collect()
    }

    /// Forgets those that waited too long.
    pub(in super::super) fn expire(&mut self, now: i64) {
        while let Some((since, peer, network)) = self.by_time.first().copied()
            && now - since >= UNPROVEN_LIFETIME
        {
            self.remove((peer, network));
        }
    }
}

impl Core {
    /// Hands a request to the controller, now or when its sender has answered.
    pub(super) fn request_arrived(&mut self, now: i64, incoming: &Incoming<'_>, request: Request) {
        let Some(peer) = self.topology.peers.get(&incoming.source) else { return };
        if peer.answered {
            self.outbox.events.push_back(Event::ConfigRequest(request));
            return;
        }
        let source = (incoming.hops > 0, prefix(incoming.via.remote.ip()));
        if self.unproven.hold(now, source, request) {
            let packet = self.begin(incoming.source, Verb::Echo);
            self.send(now, packet);
        }
    }

    /// A peer answered something that we sent it.
    pub(in super::super) fn has_answered(&mut self, peer: Address) {
        let Some(known) = self.topology.peers.get_mut(&peer) else { return };
        if std::mem::replace(&mut known.answered, true) {
            return;
        }
        for request in self.unproven.take(peer) {
            self.outbox.events.push_back(Event::ConfigRequest(request));
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::Identity;

    use super::*;

    fn request(peer: u64, network: u64) -> Request {
        let member = Identity { address: Address::from_u64(peer), public: [0; 64] };
        Request {
            network: NetworkId(network),
            member,
            metadata: Vec::new(),
            packet_id: 1,
            from: None,
            held: 0,
        }
    }

    #[test]
    fn the_latest_request_of_each_network_waits() {
        let mut unproven = Unproven::default();
        let source = (false, [1; 7]);
        assert!(unproven.hold(0, source, request(1, 1)));
        assert!(!unproven.hold(100, source, request(1, 1)), "an ECHO is on its way");
        assert!(unproven.hold(300, source, Request { packet_id: 2, ..request(1, 1) }));
        assert!(unproven.hold(300, source, request(1, 2)));
        let all = unproven.take(Address::from_u64(1));
        assert_eq!(all.iter().map(|r| r.packet_id).collect::<Vec<_>>(), [2, 1]);
        assert!(unproven.take(Address::from_u64(1)).is_empty() && unproven.by_source.is_empty());
    }

    #[test]
    fn each_source_has_its_share_and_all_have_an_end() {
        let mut unproven = Unproven::default();
        assert!(unproven.hold(0, (false, [2; 7]), request(1, 1)));
        for peer in 2..2 + 3 * MAX_UNPROVEN as u64 {
            assert!(unproven.hold(1, (false, [1; 7]), request(peer, 1)));
        }
        assert_eq!(unproven.held.len(), 1 + MAX_UNPROVEN_SOURCE, "the greedy one only pushed itself out");
        for n in 0..MAX_UNPROVEN as u64 {
            let source = (false, [3, (n >> 8) as u8, n as u8, 0, 0, 0, 0]);
            unproven.hold(2, source, request(1_000_000 + n, 1));
        }
        assert_eq!(unproven.held.len(), MAX_UNPROVEN);
        assert_eq!(unproven.by_time.len(), MAX_UNPROVEN);
        unproven.expire(2 + UNPROVEN_LIFETIME);
        assert!(unproven.held.is_empty() && unproven.by_time.is_empty() && unproven.by_source.is_empty());
    }
}
