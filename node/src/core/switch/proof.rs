//! A request for a configuration counts when whoever asks can be reached.
//!
//! Anybody can make identities and ask with them from wherever they like; on a public network each would get an address and
//! leave a record. So a peer that has never answered anything of ours is asked by ECHO first, directly or through a relay as
//! any packet to it, and its request waits for the answer: one round trip, once. The requester need not know of it: it asks
//! again by itself when the answer is late.

use controller::Request;
use protocol::{Address, NetworkId, Span, Time};

use crate::ground::limits::{MAX_REQUESTERS, MAX_REQUESTERS_PER_SOURCE, REQUESTER_LIFETIME};
use crate::ground::sources::Source;
use crate::ground::table::{Share, Table};
use crate::link::Incoming;

/// Least time between two ECHOs to one requester.
const ECHO_PAUSE: Span = Span::ms(250);

/// From where requests came: directly from a prefix, or through the relays in one.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Way {
    relayed: bool,
    source: Source,
}

impl Share for Way {}

impl Way {
    /// How a packet came.
    pub(super) fn of(incoming: &Incoming<'_>) -> Self {
        Self { relayed: incoming.hops > 0, source: Source::of(incoming.via.remote.ip()) }
    }
}

#[derive(Debug)]
struct Held {
    request: Request,
    asked: Time,
}

/// Requests that wait for their sender's answer.
#[derive(Debug)]
pub(super) struct Requesters {
    held: Table<(Address, NetworkId), Way, Held>,
}

impl Default for Requesters {
    fn default() -> Self {
        Self { held: Table::new(MAX_REQUESTERS, MAX_REQUESTERS_PER_SOURCE) }
    }
}

impl Requesters {
    /// Lets a request wait, in place of an earlier one of that peer for that network. Whether an ECHO is due.
    pub(super) fn hold(&mut self, now: Time, way: Way, request: Request) -> bool {
        let key = (request.member.address, request.network);
        if let Some(held) = self.held.get_mut(&key) {
            held.request = request;
            let due = now - held.asked >= ECHO_PAUSE;
            if due {
                held.asked = now;
            }
            return due;
        }
        self.held.insert(now, way, key, Held { request, asked: now });
        true
    }

    /// The requests of a peer that has answered.
    pub(super) fn take(&mut self, peer: Address) -> Vec<Request> {
        let range = (peer, NetworkId(0))..=(peer, NetworkId(u64::MAX));
        let keys: Vec<_> = self.held.range(range).map(|(key, _)| *key).collect();
        keys.into_iter().filter_map(|key| self.held.remove(&key)).map(|held| held.request).collect()
    }

    /// Forgets those that waited too long.
    pub(super) fn expire(&mut self, now: Time) {
        self.held.expire(now - REQUESTER_LIFETIME);
    }
}

#[cfg(feature = "work")]
impl Requesters {
    /// See `filling`.
    pub(super) fn fill(&mut self, now: Time, peer: impl Fn(u64) -> Address) {
        self.held.fill(now, |number| {
            let ip = std::net::Ipv4Addr::from(0x3200_0000 + (number as u32) * 16);
            let way = Way { relayed: false, source: Source::of(ip.into()) };
            let (address, network) = (peer(number), NetworkId(number));
            let member = protocol::Identity { address, public: [9; 64] };
            let request = Request { network, member, metadata: Vec::new(), packet_id: number, held: None };
            (way, (address, network), Held { request, asked: now })
        });
    }

    /// See `filling`.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use protocol::Identity;

    use super::*;

    fn request(peer: u64, network: u64) -> Request {
        let member = Identity { address: Address::from_u64(peer), public: [0; 64] };
        Request { network: NetworkId(network), member, metadata: Vec::new(), packet_id: 1, held: None }
    }

    fn way(relayed: bool, n: u16) -> Way {
        let [high, low] = n.to_be_bytes();
        Way { relayed, source: Source::of(std::net::IpAddr::from([192, high, low, 1])) }
    }

    #[test]
    fn the_latest_request_of_each_network_waits() {
        let mut requesters = Requesters::default();
        assert!(requesters.hold(Time::EPOCH, way(false, 1), request(1, 1)));
        assert!(!requesters.hold(Time::from_ms(100), way(false, 1), request(1, 1)), "an ECHO is on its way");
        assert!(requesters.hold(
            Time::from_ms(300),
            way(false, 1),
            Request { packet_id: 2, ..request(1, 1) }
        ));
        assert!(requesters.hold(Time::from_ms(300), way(false, 1), request(1, 2)));
        let all = requesters.take(Address::from_u64(1));
        assert_eq!(all.iter().map(|r| r.packet_id).collect::<Vec<_>>(), [2, 1]);
        assert!(requesters.take(Address::from_u64(1)).is_empty());
    }

    #[test]
    fn each_source_has_its_share_and_all_have_an_end() {
        let mut requesters = Requesters::default();
        assert!(requesters.hold(Time::EPOCH, way(false, 2), request(1, 1)));
        for peer in 2..2 + 3 * MAX_REQUESTERS as u64 {
            assert!(requesters.hold(Time::from_ms(1), way(true, 1), request(peer, 1)));
        }
        assert_eq!(
            requesters.held.len(),
            1 + MAX_REQUESTERS_PER_SOURCE,
            "the greedy one only pushed itself out"
        );
        for n in 0..MAX_REQUESTERS as u16 {
            requesters.hold(Time::from_ms(2), way(false, 100 + n), request(1_000_000 + u64::from(n), 1));
        }
        assert_eq!(requesters.held.len(), MAX_REQUESTERS);
        assert_eq!(requesters.take(Address::from_u64(1)).len(), 1, "the first one is still there");
        requesters.expire(Time::from_ms(3) + REQUESTER_LIFETIME);
        assert!(requesters.held.is_empty());
    }
}
