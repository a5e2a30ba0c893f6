//! Which root carries what has to be relayed: the one by which the whole way is the shortest, ours to it and the other's.
//!
//! Two ztnodes that talk through a root, and know more than one, tell each other how far they are from each. Both add up the same
//! numbers and so use the same root. With everybody else our own way decides, as in the reference.
//!
//! A message is a list of records, as many as fit:
//!
//! | octets | content |
//! |---|---|
//! | 5 | address of a root |
//! | 2 | round-trip time to it, milliseconds; 65,535: none is known |

use protocol::verb::Verb;
use protocol::verbs::UserMessage;
use protocol::{Address, Span, Time};

use crate::link::Link;
use crate::link::extension::{Known, ROOTS};
use crate::link::peer::UNKNOWN_LATENCY;

/// Roots in a message at most.
const MAX_ROOTS: usize = 8;
/// Octets of a record.
const RECORD: usize = 7;
/// Octets of a message at most.
pub(crate) const MAX_BODY: usize = MAX_ROOTS * RECORD;
/// How often a peer is told while packets to it are relayed.
const TELL: Span = Span::secs(10);
/// What was told so long ago says nothing any more.
const FORGET: Span = Span::secs(35);
/// A root relays for so long before another takes over that is only nearer.
const KEEP: Span = Span::secs(10);

/// How far a peer is from roots.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Told {
    ways: [Option<(Address, Span)>; MAX_ROOTS],
    at: Time,
}

impl Told {
    fn read(now: Time, body: &[u8]) -> Self {
        let mut told = Self { ways: [None; MAX_ROOTS], at: now };
        for (way, record) in told.ways.iter_mut().zip(body.chunks_exact(RECORD)) {
            let (address, rtt) = record.split_at(5);
            let address = address.iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet));
            let rtt = Span::ms(i64::from(rtt[0]) << 8 | i64::from(rtt[1]));
            *way = Some((Address::from_u64(address), rtt));
        }
        told
    }
}

/// What is relayed to a peer.
#[derive(Debug, Default)]
pub(crate) struct RootWays {
    /// By which root, and since when.
    by: Option<(Address, Time)>,
    /// What the peer told last.
    told: Option<Box<Told>>,
    /// When we told it last.
    last_told: Option<Time>,
}

impl RootWays {
    /// A root carries what goes to the peer from now on.
    pub(crate) fn relayed_by(&mut self, now: Time, root: Address) {
        if self.by.is_none_or(|(by, _)| by != root) {
            self.by = Some((root, now));
        }
    }

    /// What counts as the length of the way by a root to which ours takes `ours`.
    pub(crate) fn length(&self, now: Time, root: Address, ours: Span) -> Span {
        let told = self.told.as_ref().filter(|told| now - told.at < FORGET);
        let theirs = told.map_or(Span::ZERO, |told| {
            let way = told.ways.iter().flatten().find(|(address, _)| *address == root);
            // A root that it does not tell of may know nothing of it.
            way.map_or(UNKNOWN_LATENCY, |(_, rtt)| *rtt)
        });
        match self.by {
            Some((by, since)) if by == root && now - since < KEEP => Span::ZERO,
            Some((by, _)) if by == root => (ours + theirs) * 4 / 5,
            _ => ours + theirs,
        }
    }
}

impl RootWays {
    /// Something goes to a peer by a root: tells it of our ways to all of them, now and then, if there is a choice.
    pub(crate) fn relays(link: &mut Link, now: Time, dest: Address, root: Address) {
        let several = link.topology.upstreams.len() > 1;
        let Some(peer) = link.topology.peers.get_mut(&dest) else { return };
        let ways = &mut peer.course.roots;
        ways.relayed_by(now, root);
        if !several
            || !matches!(peer.extensions.known, Known::Ztnode(_))
            || ways.last_told.is_some_and(|last| now - last < TELL)
        {
            return;
        }
        ways.last_told = Some(now);
        let mut body = Vec::with_capacity(MAX_BODY);
        for root in link.topology.upstreams.keys().take(MAX_ROOTS) {
            let rtt = link.topology.way_to_root(now, *root).as_ms().clamp(0, 65_535) as u16;
            body.extend_from_slice(&root.to_u64().to_be_bytes()[3..]);
            body.extend_from_slice(&rtt.to_be_bytes());
        }
        let mut packet = link.begin(dest, Verb::UserMessage);
        UserMessage { kind: ROOTS, body: &body }.write(&mut packet);
        link.send(now, packet);
    }

    /// A peer tells how far it is from roots.
    pub(crate) fn told_by(link: &mut Link, now: Time, peer: Address, body: &[u8]) {
        if let Some(peer) = link.topology.peers.get_mut(&peer) {
            peer.course.roots.told = Some(Box::new(Told::read(now, body)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Time {
        Time::from_ms(ms)
    }

    #[test]
    fn both_ways_count_and_the_root_in_use_is_kept_for_a_while() {
        let [near, far] = [1, 2].map(Address::from_u64);
        let mut ways = RootWays::default();
        let length = |ways: &RootWays, now, root, ours| ways.length(at(now), root, Span::ms(ours)).as_ms();
        assert_eq!((length(&ways, 0, near, 10), length(&ways, 0, far, 60)), (10, 60));
        let body = [&[0, 0, 0, 0, 1, 1, 44][..], &[0, 0, 0, 0, 2, 0, 20]].concat();
        ways.told = Some(Box::new(Told::read(at(0), &body)));
        assert_eq!((length(&ways, 0, near, 10), length(&ways, 0, far, 60)), (310, 80));
        ways.relayed_by(at(0), near);
        assert_eq!(length(&ways, 9_999, near, 10), 0, "kept");
        assert_eq!(length(&ways, 10_000, near, 10), 248, "a fifth has to be gained");
        ways.relayed_by(at(20_000), far);
        assert_eq!(length(&ways, 35_000, near, 10), 10, "told long ago");
    }

    #[test]
    fn whatever_is_told_is_read() {
        let body = [0xff; 200];
        let told = Told::read(at(0), &body);
        assert!(told.ways.iter().all(|way| way.is_some_and(|(_, rtt)| rtt == UNKNOWN_LATENCY)));
        assert_eq!(Told::read(at(0), &body[..6]).ways, [None; MAX_ROOTS]);
    }
}
