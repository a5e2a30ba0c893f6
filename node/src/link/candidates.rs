//! Candidates: addresses that somebody told us for a peer, probed a few times over half a minute. This is our hole punching: probes
//! from both sides open both NATs.
//!
//! One probe is rarely enough: both NATs must have been opened before either lets a probe through, a datagram may be lost, and a
//! root's introduction may come before we know who the peer is. The reference probes once and waits for the next introduction.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use protocol::verb::Verb;
use protocol::{Address, Span, Time};

use crate::ground::table::Table;
use crate::link::Link;
use crate::link::contact::Contacts;
#[cfg(feature = "work")]
use crate::link::path::PathKey;
use crate::link::path::SocketId;
use crate::link::peer::Best;

/// Candidates that are probed at once, of all peers together.
pub(crate) const MAX_CANDIDATES: usize = 512;
/// Of these, of one peer.
const MAX_CANDIDATES_PER_PEER: usize = 16;
/// Pauses before each probe. The first is immediate.
const PAUSES: [Span; 6] =
    [Span::ZERO, Span::ms(300), Span::ms(700), Span::secs(2), Span::secs(6), Span::secs(12)];

/// An address to try for a peer.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    socket: Option<SocketId>,
    due: Time,
    tries: usize,
}

/// Whom to try where.
type Place = (Address, SocketAddr);

/// The addresses being tried.
#[derive(Debug)]
pub(crate) struct Candidates {
    candidates: Table<Place, Address, Candidate>,
    by_due: BTreeSet<(Time, Place)>,
}

impl Default for Candidates {
    fn default() -> Self {
        Self { candidates: Table::new(MAX_CANDIDATES, MAX_CANDIDATES_PER_PEER), by_due: BTreeSet::new() }
    }
}

impl Candidates {
    /// When the next probe is due.
    pub(crate) fn next(&self) -> Option<Time> {
        self.by_due.first().map(|(due, _)| *due)
    }

    /// Begins, or does so again at once where an address is being tried already.
    fn begin(&mut self, now: Time, place: Place, socket: Option<SocketId>) {
        if let Some(known) = self.candidates.get_mut(&place) {
            self.by_due.remove(&(known.due, place));
            known.due = now;
        } else if self.candidates.len() >= MAX_CANDIDATES
            || self.candidates.share_len(place.0) >= MAX_CANDIDATES_PER_PEER
        {
            // What is being tried is tried to its end.
            return;
        } else {
            self.candidates.insert(now, place.0, place, Candidate { socket, due: now, tries: 0 });
        }
        self.by_due.insert((now, place));
    }

    /// Takes out one that is due.
    fn take_due(&mut self, now: Time) -> Option<(Place, Candidate)> {
        let (due, place) = *self.by_due.first().filter(|(due, _)| *due <= now)?;
        self.by_due.remove(&(due, place));
        self.candidates.remove(&place).map(|candidate| (place, candidate))
    }

    /// Waits for the next try, if there is one.
    fn again(&mut self, now: Time, place: Place, candidate: Candidate) {
        let tries = candidate.tries + 1;
        if let Some(pause) = PAUSES.get(tries) {
            let due = now + *pause;
            self.candidates.insert(now, place.0, place, Candidate { due, tries, ..candidate });
            self.by_due.insert((due, place));
        }
    }
}

impl Contacts {
    /// Begins to probe a candidate of a peer, or does so again at once where it is being tried already. `patient` is for
    /// addresses told by a root or by a fellow member: others could make us send to a third party for half a minute.
    pub(crate) fn probe_candidate(
        &mut self,
        link: &mut Link,
        now: Time,
        peer: Address,
        socket: Option<SocketId>,
        endpoint: SocketAddr,
        patient: bool,
    ) {
        if !patient {
            // By ECHO or not at all: a HELLO is larger than the packet that may have brought this address, and whoever lives there
            // has not asked for it.
            let known = link.topology.peers.get(&peer).map(|known| known.version);
            if known.is_some_and(|version| version.protocol == 0 || version.answers_echo()) {
                let packet = link.begin(peer, Verb::Echo);
                link.send_to(now, socket, endpoint, packet);
            }
            return;
        }
        self.candidates.begin(now, (peer, endpoint), socket);
        self.probe_candidates(link, now);
    }

    /// Probes the candidates that are due; gives up where a direct path has been found or patience has ended.
    pub(crate) fn probe_candidates(&mut self, link: &mut Link, now: Time) {
        while let Some((place, candidate)) = self.candidates.take_due(now) {
            let direct = link.topology.direct_path(now, place.0).is_some_and(Best::is_alive);
            if !direct || candidate.tries == 0 {
                link.contact(now, place.0, candidate.socket, place.1);
                self.candidates.again(now, place, candidate);
            }
        }
    }
}

#[cfg(feature = "work")]
impl Candidates {
    /// See `filling`. Nothing becomes due while a test goes on.
    pub(crate) fn fill(&mut self, now: Time, peer: impl Fn(u64) -> Address, via: impl Fn(u64) -> PathKey) {
        let due = now + Span::secs(1_000_000);
        self.candidates.fill(now, |number| {
            let peer = peer(number / MAX_CANDIDATES_PER_PEER as u64);
            (peer, (peer, via(number).remote), Candidate { socket: None, due, tries: 1 })
        });
        for (place, candidate) in self.candidates.iter() {
            self.by_due.insert((candidate.due, *place));
        }
    }

    /// See `filling`.
    pub(crate) fn sizes(&self) -> [usize; 2] {
        [self.candidates.len(), self.by_due.len()]
    }
}
