//! Replies we are waiting for: only an OK or ERROR that answers one of our own packets counts, and each counts once.
//!
//! Specification: VL1 behaviour, "expected replies". The reference remembers half of the packet ID and nothing else; we keep
//! the whole ID, what we asked and whom, and for how long, so that one peer cannot answer for another.

use std::net::SocketAddr;

use protocol::verb::Verb;
use protocol::{Address, Time};

use crate::ground::limits::{EXPECTED_LIFETIME, MAX_ANSWERS, MAX_EXPECTED, MAX_EXPECTED_PER_PEER};
use crate::ground::table::Table;

/// What was asked.
#[derive(Clone, Copy, Debug)]
struct Asked {
    peer: Address,
    /// Where it was sent.
    to: SocketAddr,
    verb: u8,
    sent: Time,
    /// Answers so far.
    answers: u16,
}

/// What an answer is to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    /// Nobody asked.
    Unasked,
    /// A packet that was not here before.
    First,
    /// A packet that came before, by another path.
    Elsewhere,
    /// A packet that came before by this path.
    Again,
}

/// The requests that may still be answered, and the answers that came. Whoever is asked most makes room for others.
#[derive(Debug)]
pub(crate) struct Expected {
    asked: Table<u64, Address, Asked>,
    /// Who answered with which packet; and by which path, mixed with the packet ID.
    seen: Table<(Address, u64), Address, ()>,
}

impl Default for Expected {
    fn default() -> Self {
        Self {
            asked: Table::new(MAX_EXPECTED, MAX_EXPECTED_PER_PEER),
            seen: Table::new(2 * MAX_EXPECTED, 2 * MAX_EXPECTED_PER_PEER),
        }
    }
}

impl Expected {
    /// Remembers that packet `id` (as on the wire) was sent to `peer` at `now`, to this endpoint.
    pub(crate) fn insert(&mut self, now: Time, id: u64, peer: Address, verb: u8, to: SocketAddr) {
        self.asked.insert(now, peer, id, Asked { peer, to, verb, sent: now, answers: 0 });
    }

    /// Whether packet `id` was sent to `peer` at this very endpoint, so that an answer from there shows that the peer is there. An
    /// answer that comes from elsewhere shows nothing: anybody can write any sender's address on it.
    pub(crate) fn was_asked_at(&self, now: Time, id: u64, peer: Address, endpoint: SocketAddr) -> bool {
        self.get(now, id, peer).is_some_and(|asked| asked.to == endpoint)
    }

    /// Forgets requests that nobody will answer any more.
    pub(crate) fn expire(&mut self, now: Time) {
        self.asked.expire(now - EXPECTED_LIFETIME);
        // Twice as long as a request lives: whatever one answers, its answers are remembered at least as long.
        self.seen.expire(now - EXPECTED_LIFETIME * 2);
    }

    /// When packet `id` was sent to `peer`, if its answer is still welcome and it asked what `verb` answers. Not consumed: one
    /// request may have several answers.
    pub(crate) fn sent_at(&self, now: Time, id: u64, peer: Address, verb: u8) -> Option<Time> {
        self.get(now, id, peer).filter(|asked| fits(asked.verb, verb)).map(|asked| asked.sent)
    }

    fn get(&self, now: Time, id: u64, peer: Address) -> Option<&Asked> {
        self.asked.get(&id).filter(|asked| asked.peer == peer && now - asked.sent < EXPECTED_LIFETIME)
    }

    /// Packet `answer` of `peer`, which came by `path`, says that it answers packet `id`.
    pub(crate) fn answered(&mut self, now: Time, id: u64, peer: Address, answer: u64, path: u64) -> Answer {
        if self.get(now, id, peer).is_none_or(|asked| asked.answers >= MAX_ANSWERS) {
            return Answer::Unasked;
        }
        if !self.note(now, peer, answer ^ path) {
            return Answer::Again;
        }
        if let Some(asked) = self.asked.get_mut(&id) {
            asked.answers += 1;
        }
        if self.note(now, peer, answer) { Answer::First } else { Answer::Elsewhere }
    }

    fn note(&mut self, now: Time, peer: Address, what: u64) -> bool {
        let new = !self.seen.contains_key(&(peer, what));
        if new {
            self.seen.insert(now, peer, (peer, what), ());
        }
        new
    }
}

/// Whether an answer to `answered` may answer a packet with the verb `asked`.
fn fits(asked: u8, answered: u8) -> bool {
    // The reference acknowledges a configuration that was pushed as if it had been an ECHO.
    asked == answered || (asked == Verb::NetworkConfig as u8 && answered == Verb::Echo as u8)
}

#[cfg(feature = "work")]
impl Expected {
    /// See `filling`.
    pub(crate) fn fill(&mut self, now: Time, peer: impl Fn(u64) -> Address) {
        let nowhere = SocketAddr::from(([192, 0, 2, 1], 9));
        for number in self.asked.len() as u64..MAX_EXPECTED as u64 {
            self.insert(now, !number, peer(number), Verb::Hello as u8, nowhere);
        }
        for number in self.seen.len() as u64..2 * MAX_EXPECTED as u64 {
            self.note(now, peer(number), number);
        }
    }

    /// See `filling`.
    pub(crate) fn sizes(&self) -> [usize; 2] {
        [self.asked.len(), self.seen.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_once_on_each_path_and_is_new_once() {
        let (peer, other) = (Address::from_u64(0x0102030405), Address::from_u64(0x0102030406));
        let mut expected = Expected::default();
        let [one, two] = [1 << 40, 1 << 41];
        expected.insert(at(1_000), 7, peer, Verb::Whois as u8, to("192.0.2.1:9993"));
        assert!(expected.was_asked_at(at(1_000), 7, peer, to("192.0.2.1:9993")));
        assert!(!expected.was_asked_at(at(1_000), 7, peer, to("192.0.2.1:9994")));
        assert_eq!(expected.answered(at(1_000), 8, peer, 100, one), Answer::Unasked);
        assert_eq!(expected.answered(at(1_000), 7, other, 100, one), Answer::Unasked);
        assert_eq!(expected.answered(at(1_000), 7, peer, 100, one), Answer::First);
        assert_eq!(expected.answered(at(1_001), 7, peer, 100, one), Answer::Again);
        assert_eq!(expected.answered(at(1_001), 7, peer, 100, two), Answer::Elsewhere);
        assert_eq!(expected.answered(at(1_001), 7, peer, 100, two), Answer::Again);
        assert_eq!(
            expected.answered(at(1_002), 7, peer, 101, one),
            Answer::First,
            "requests may have several answers"
        );
        assert_eq!(expected.answered(at(1_000) + EXPECTED_LIFETIME, 7, peer, 102, one), Answer::Unasked);
        assert!(expected.sent_at(at(1_002), 7, peer, Verb::Whois as u8).is_some());
        assert!(expected.sent_at(at(1_002), 7, peer, Verb::Hello as u8).is_none());
    }

    #[test]
    fn answers_are_capped_and_one_peer_leaves_room_for_others() {
        let (peer, other) = (Address::from_u64(0x0102030405), Address::from_u64(0x0102030406));
        let mut expected = Expected::default();
        expected.insert(at(1_000), u64::MAX, other, Verb::Echo as u8, to("192.0.2.2:9993"));
        for id in 0..2 * MAX_EXPECTED as u64 {
            expected.insert(at(1_000), id, peer, Verb::Echo as u8, to("192.0.2.1:9993"));
            for answer in 0..u64::from(MAX_ANSWERS).min(4) {
                expected.answered(at(1_000), id, peer, id << 32 | answer, 1 << 60);
            }
        }
        assert!(expected.seen.len() <= 2 * MAX_EXPECTED_PER_PEER);
        assert_eq!(expected.asked.len(), 1 + MAX_EXPECTED_PER_PEER);
        assert!(expected.sent_at(at(1_000), u64::MAX, other, Verb::Echo as u8).is_some());
        expected.expire(at(1_000) + EXPECTED_LIFETIME * 3);
        assert!(expected.asked.is_empty() && expected.seen.is_empty());
    }

    fn at(ms: i64) -> Time {
        Time::from_ms(ms)
    }

    fn to(endpoint: &str) -> SocketAddr {
        endpoint.parse().unwrap()
    }
}
