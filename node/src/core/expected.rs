//! Replies we are waiting for: only an OK or ERROR that answers one of our own packets counts, and each counts once.
//!
//! Specification: VL1 behaviour, "expected replies". The reference remembers half of the packet ID and nothing else; we keep
//! the whole ID, what we asked and whom, and for how long, so that one peer cannot answer for another.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::Address;
use protocol::verb::Verb;

use super::limits::{EXPECTED_LIFETIME, MAX_ANSWERS, MAX_EXPECTED};
use super::work;

/// What was asked.
#[derive(Clone, Copy, Debug)]
struct Asked {
    peer: Address,
    verb: u8,
    sent: i64,
    /// Answers so far.
    answers: u16,
}

/// What an answer is to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    /// Nobody asked.
    Unasked,
    /// A packet that was not here before.
    First,
    /// A packet that came before, by another path.
    Elsewhere,
    /// A packet that came before by this path.
    Again,
}

/// The requests that may still be answered, and the answers that came.
#[derive(Debug, Default)]
pub(super) struct Expected {
    by_id: BTreeMap<u64, Asked>,
    order: VecDeque<(i64, u64)>,
    /// Who answered with which packet; and by which path, mixed with the packet ID.
    seen: BTreeSet<(Address, u64)>,
    seen_order: VecDeque<(i64, Address, u64)>,
}

impl Expected {
    /// Remembers that packet `id` (as on the wire) was sent to `peer` at `now`.
    pub(super) fn insert(&mut self, now: i64, id: u64, peer: Address, verb: u8) {
        while let Some(&(sent, old)) = self.order.front() {
            if self.order.len() < MAX_EXPECTED && now - sent < EXPECTED_LIFETIME {
                break;
            }
            work::step();
            self.order.pop_front();
            self.by_id.remove(&old);
        }
        work::step();
        self.by_id.insert(id, Asked { peer, verb, sent: now, answers: 0 });
        self.order.push_back((now, id));
    }

    /// When packet `id` was sent to `peer`, if its answer is still welcome and it asked what `verb` answers. Not consumed: one
    /// request may have several answers.
    pub(super) fn sent_at(&self, now: i64, id: u64, peer: Address, verb: u8) -> Option<i64> {
        self.get(now, id, peer).filter(|asked| fits(asked.verb, verb)).map(|asked| asked.sent)
    }

    fn get(&self, now: i64, id: u64, peer: Address) -> Option<&Asked> {
        work::step();
        self.by_id.get(&id).filter(|asked| asked.peer == peer && now - asked.sent < EXPECTED_LIFETIME)
    }

    /// Packet `answer` of `peer`, which came by `path`, says that it answers packet `id`.
    pub(super) fn answered(&mut self, now: i64, id: u64, peer: Address, answer: u64, path: u64) -> Answer {
        if self.get(now, id, peer).is_none_or(|asked| asked.answers >= MAX_ANSWERS) {
            return Answer::Unasked;
        }
        if !self.note(now, peer, answer ^ path) {
            return Answer::Again;
        }
        if let Some(asked) = self.by_id.get_mut(&id) {
            asked.answers += 1;
        }
        if self.note(now, peer, answer) { Answer::First } else { Answer::Elsewhere }
    }

    fn note(&mut self, now: i64, peer: Address, what: u64) -> bool {
        while let Some(&(at, peer, old)) = self.seen_order.front() {
            // Twice as long as a request lives: whatever one answers, its answers are remembered at least as long.
            if self.seen_order.len() < 2 * MAX_EXPECTED && now - at < 2 * EXPECTED_LIFETIME {
                break;
            }
            work::step();
            self.seen_order.pop_front();
            self.seen.remove(&(peer, old));
        }
        let new = self.seen.insert((peer, what));
        if new {
            self.seen_order.push_back((now, peer, what));
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
    pub(super) fn fill(&mut self, now: i64, peer: impl Fn(u64) -> Address) {
        for number in self.order.len() as u64..MAX_EXPECTED as u64 {
            self.insert(now, !number, peer(number), Verb::Hello as u8);
        }
        for number in self.seen_order.len() as u64..2 * MAX_EXPECTED as u64 {
            self.note(now, peer(number), number);
        }
    }

    /// See `filling`.
    pub(super) fn sizes(&self) -> [usize; 4] {
        [self.by_id.len(), self.order.len(), self.seen.len(), self.seen_order.len()]
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
        expected.insert(1_000, 7, peer, Verb::Whois as u8);
        assert_eq!(expected.answered(1_000, 8, peer, 100, one), Answer::Unasked);
        assert_eq!(expected.answered(1_000, 7, other, 100, one), Answer::Unasked);
        assert_eq!(expected.answered(1_000, 7, peer, 100, one), Answer::First);
        assert_eq!(expected.answered(1_001, 7, peer, 100, one), Answer::Again);
        assert_eq!(expected.answered(1_001, 7, peer, 100, two), Answer::Elsewhere);
        assert_eq!(expected.answered(1_001, 7, peer, 100, two), Answer::Again);
        assert_eq!(
            expected.answered(1_002, 7, peer, 101, one),
            Answer::First,
            "requests may have several answers"
        );
        assert_eq!(expected.answered(1_000 + EXPECTED_LIFETIME, 7, peer, 102, one), Answer::Unasked);
        assert!(expected.sent_at(1_002, 7, peer, Verb::Whois as u8).is_some());
        assert!(expected.sent_at(1_002, 7, peer, Verb::Hello as u8).is_none());
    }

    #[test]
    fn answers_are_capped() {
        let peer = Address::from_u64(0x0102030405);
        let mut expected = Expected::default();
        for id in 0..600 {
            expected.insert(1_000, id, peer, Verb::Echo as u8);
            for answer in 0..2 * u64::from(MAX_ANSWERS) {
                expected.answered(1_000, id, peer, id << 32 | answer, 1 << 60);
            }
        }
        assert_eq!(expected.seen.len(), 2 * MAX_EXPECTED);
        assert_eq!(expected.seen_order.len(), 2 * MAX_EXPECTED);
    }
}
