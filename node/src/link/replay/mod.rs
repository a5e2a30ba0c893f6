//! What keeps a recorded packet from having its effect again.
//!
//! | module | subject |
//! |---|---|
//! | `counter` | the number that every packet of suite 3 carries where only its receiver finds it |
//! | `window` | which of these numbers have been seen |
//! | `recent` | packet IDs seen lately, for peers that do not count |
//! | `budget` | how much of either all peers hold together |
//! | `clock` | HELLOs whose clock is older than another that came |
//!
//! **Exact**: a peer that has told us that it counts is held to it. Its packets of suite 3 are taken once, and those that carry no
//! number of our form not at all. Exactness begins, and ends, with an answer to a probe of ours that can only be fresh: it quotes a
//! packet ID that nobody could foresee. Its own number is the base of the window. Whatever does not fit (a number far from the
//! window, no number, another suite) has a probe sent, and that peer's answer says what holds from now on: it was started anew,
//! its clock was set back, it was replaced by a program that does not count. A recorded packet says nothing.
//!
//! **By time**: packets of everybody else are known by their packet ID, for two seconds and for as much longer as there is room.
//! HELLO, ECHO and OK are known by ID and physical path: zerotier-one sends one and the same from all of its sockets, and each copy
//! may show that its path works.
//!
//! An answer to what we asked that is seen for the first time always counts: no earlier time can have brought it forth.

pub(crate) mod budget;
mod clock;
pub mod counter;
mod recent;
mod window;

use std::hash::{DefaultHasher, Hash, Hasher};

use protocol::packet::{self, Authentic};
use protocol::verb::Verb;
use protocol::{Address, Time};

use crate::ground::event::Cipher;
use crate::ground::limits::{MAX_RECENT, MAX_WINDOWS};
use crate::link::Link;
use crate::link::arrival::Octets;
use crate::link::expected::Answer;
use crate::link::extension::{Abilities, Known};
use crate::link::path::PathKey;
use crate::link::peer::Peer;
use budget::Budget;
use clock::Clock;
pub(crate) use clock::Greeting;
use recent::Recent;
use window::{Place, WIDE_OCTETS, Window};

/// What is known of an authentic packet besides what it says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Judged {
    /// Whether it cannot have been here, nor been recorded, before: its number is new, or it is the first answer to what we asked.
    pub(crate) fresh: bool,
    /// What its sender had in the place of the packet ID, see [`packet::Opened::chosen`].
    pub(crate) chosen: Option<u64>,
}

/// What is remembered of a peer's packets.
#[derive(Debug, Default)]
pub struct Replay {
    /// Its packets of suite 3 are held to their numbers.
    exact: bool,
    /// The numbers seen. It is kept from the first number on, before anybody is held to it: what is on its way when that begins may
    /// arrive in any order.
    window: Option<Window>,
    /// Whether it sends in another suite for the time being: its last fresh answer came so.
    other_suite: bool,
    /// A number has been taken since it was last asked.
    moved: bool,
    recent: Option<Recent>,
    /// When it was last heard; of those who hold much.
    used: Option<Time>,
    clock: Clock,
}

impl Replay {
    /// Whether recorded packets of the peer are told exactly.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// A probe goes out.
    pub(crate) fn asking(&mut self) {
        self.moved = false;
    }

    /// The peer answered a probe, for the first time, and in this way.
    pub(crate) fn answered(&mut self, counts: bool, suite_3: bool, number: Option<u64>) {
        self.other_suite = counts && !suite_3;
        let Some(number) = number.filter(|_| counts) else {
            // One that counts, and has not shown where it is, stays what it was.
            if !self.other_suite {
                (self.exact, self.window) = (false, None);
            }
            return;
        };
        match &mut self.window {
            Some(window) if number > window.top() => window.raise(number),
            // Near the top, or held back on its way: since we asked, numbers above it have come that we hold the peer to.
            Some(window) if window.top() - number < 64 || (self.exact && self.moved) => {}
            // It counts from lower down now.
            _ => self.window = Some(Window::at(number)),
        }
        self.exact = true;
    }

    /// Whether it is held to its numbers by a small window.
    #[inline]
    fn is_narrow(&self) -> bool {
        self.exact && self.window.as_ref().is_some_and(|window| !window.is_wide())
    }

    /// Whether a protected packet without a number of our form may be taken.
    fn takes_unnumbered(&self, chosen: Option<u64>) -> bool {
        !self.is_exact() || (self.other_suite && chosen.is_none())
    }

    /// Takes the number of a packet; `None` unless the peer is held to it.
    #[inline]
    fn enter(&mut self, number: u64) -> Option<Place> {
        if !self.exact {
            self.follow(number);
            return None;
        }
        let place = self.window.as_mut()?.enter(number);
        self.moved |= place == Place::New;
        Some(place)
    }

    /// Whether a packet of a peer that does not count was not here lately. It was now.
    #[inline]
    fn enter_by_time(&mut self, now: Time, via: PathKey, id: u64, verb: u8) -> bool {
        let path = if comes_by_many(verb) { place_of(via) } else { 0 };
        self.used = Some(now);
        self.recent.get_or_insert_with(Recent::new).enter(now, id ^ path)
    }

    /// Whether more packets come than that remembers for two seconds.
    #[inline]
    fn wants_more(&self) -> bool {
        self.recent.as_ref().is_some_and(Recent::wants_more)
    }

    /// Notes the number of a packet of a peer that is not held to it.
    fn follow(&mut self, number: u64) {
        let window = self.window.get_or_insert_with(|| Window::at(number));
        if window.enter(number) == Place::Ahead {
            window.raise(number);
        }
    }
}

/// Suites, as they are numbered in packets.
const CLEAR: u8 = 0;
pub(super) const TRUSTED: u8 = 2;

/// A path in one number, to be mixed with a packet ID.
fn place_of(via: PathKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    (via.socket, via.remote).hash(&mut hasher);
    hasher.finish()
}

/// Whether packets of this verb carry frames for the port.
fn carries_frames(verb: u8) -> bool {
    [Verb::Frame, Verb::ExtFrame, Verb::MulticastFrame].iter().any(|v| *v as u8 == verb)
}

/// Whether a packet carries a sealed message of the clones of one identity. They count each for itself, with the same key, so
/// they must be heard whatever their numbers are; and their messages tell themselves what is a replay.
fn carries_sealed(data: &[u8]) -> bool {
    packet::verb(data) == Some(Verb::UserMessage)
        && data[packet::HEADER_LEN..].starts_with(&crate::link::clones::CARRY.to_be_bytes())
}

/// Whether the same packet may come by several paths, and each copy counts for its own.
fn comes_by_many(verb: u8) -> bool {
    [Verb::Hello, Verb::Echo, Verb::Ok].iter().any(|v| *v as u8 == verb)
}

/// How much may be remembered about the packets of all peers together, and who of them holds how much.
pub(crate) struct ReplayMemory {
    window_budget: Budget,
    recent_budget: Budget,
}

impl Default for ReplayMemory {
    fn default() -> Self {
        Self { window_budget: Budget::new(MAX_WINDOWS, false), recent_budget: Budget::new(MAX_RECENT, true) }
    }
}

impl ReplayMemory {
    /// Judges an authentic packet of a known peer before anything is done with it. `None`: it is a replay, or may be one.
    #[inline]
    pub(crate) fn judge_packet(
        &mut self,
        link: &mut Link,
        now: Time,
        via: PathKey,
        packet: &Authentic<Octets<'_>>,
    ) -> Option<Judged> {
        let (data, suite, chosen) = (packet.octets(), packet.suite(), packet.chosen());
        let source = packet.source();
        let verb = packet.verb_number();
        if verb == Verb::Ok as u8 || verb == Verb::Error as u8 {
            return self.judge_answer(link, now, via, data, source, chosen);
        }
        let us = link.secret.identity().address;
        let mut peer = link.topology.peers.get_mut(&source)?;
        let number = chosen.and_then(|chosen| counter::count(chosen, source, us));
        if carries_frames(verb) && peer.replay.is_narrow() {
            // Before the first number is taken: what lies between it and the last one is known not to have been here.
            self.widen(link, now, source);
            peer = link.topology.peers.get_mut(&source)?;
        }
        if let Some(number) = number
            && let Some(place) = peer.replay.enter(number)
        {
            if place == Place::New {
                peer.replay.used = Some(now);
                if verb == Verb::Echo as u8 {
                    peer.remember(now, via, packet::id(data));
                } else if peer.replay.other_suite {
                    self.ask_again(link, now, source);
                }
                return Some(Judged { fresh: true, chosen });
            }
            return self.judge_again(link, now, via, data, source, Some(place));
        }
        // The path of a trusted network protects nothing, and clear packets change nothing.
        let protected = suite != TRUSTED && suite != CLEAR;
        if protected && !peer.replay.takes_unnumbered(chosen) {
            // Not what it said it would send. It may be another program by now.
            self.ask_again(link, now, source);
            return carries_sealed(data).then(Judged::default);
        }
        let recognized = match peer.extensions.known {
            Known::Unknown => false,
            // It may be time to hold it to its numbers.
            Known::Ztnode(can) => !(can.counts() && number.is_some()),
            Known::Other => true,
        };
        let ask = !recognized && peer.extensions.may_ask(now);
        let new = peer.replay.enter_by_time(now, via, packet::id(data), verb);
        if peer.replay.wants_more() {
            self.remember_more(link, now, source);
        }
        if ask {
            self.ask_again(link, now, source);
        }
        new.then_some(Judged { fresh: false, chosen })
    }

    /// An OK or ERROR: the first answer to what we asked can't have been recorded earlier, whatever number it carries.
    fn judge_answer(
        &mut self,
        link: &mut Link,
        now: Time,
        via: PathKey,
        data: &[u8],
        source: Address,
        chosen: Option<u64>,
    ) -> Option<Judged> {
        let us = link.secret.identity().address;
        let id = packet::id(data);
        let in_re = data.get(packet::HEADER_LEN + 1..)?.first_chunk().map(|id| u64::from_be_bytes(*id))?;
        let answer = link.expected.answered(now, in_re, source, id, place_of(via));
        let peer = link.topology.peers.get_mut(&source)?;
        let number = chosen.and_then(|chosen| counter::count(chosen, source, us));
        let place = number.and_then(|number| peer.replay.enter(number));
        if place == Some(Place::Ahead)
            && answer == Answer::First
            && let (Some(number), Some(window)) = (number, &mut peer.replay.window)
        {
            window.raise(number);
        }
        peer.replay.used = Some(now);
        match (answer, place) {
            (Answer::First, _) => Some(Judged { fresh: true, chosen }),
            (Answer::Again, _) => None,
            (_, Some(Place::New)) => Some(Judged { fresh: true, chosen }),
            // By another path: each copy may show that its path works.
            (Answer::Elsewhere, None) => Some(Judged { fresh: false, chosen }),
            (_, Some(_)) => self.judge_again(link, now, via, data, source, place),
            (_, None) if !peer.replay.takes_unnumbered(chosen) => {
                self.ask_again(link, now, source);
                None
            }
            (_, None) => {
                let verb = packet::verb_byte(data) & packet::VERB_MASK;
                let new = peer.replay.enter_by_time(now, via, id, verb);
                if peer.replay.wants_more() {
                    self.remember_more(link, now, source);
                }
                new.then_some(Judged { fresh: false, chosen })
            }
        }
    }

    /// A packet with a number that is not new.
    #[cold]
    fn judge_again(
        &mut self,
        link: &mut Link,
        now: Time,
        via: PathKey,
        data: &[u8],
        source: Address,
        place: Option<Place>,
    ) -> Option<Judged> {
        if place != Some(Place::Seen) {
            self.ask_again(link, now, source);
        }
        if carries_sealed(data) {
            return Some(Judged::default());
        }
        if place != Some(Place::Seen) {
            return None;
        }
        // A probe that goes out by all sockets comes by several paths, and shall be answered on each.
        let echo = packet::verb_byte(data) & packet::VERB_MASK == Verb::Echo as u8;
        let peer = link.topology.peers.get_mut(&source)?;
        let copy = echo && peer.is_copy(now, via, packet::id(data));
        copy.then_some(Judged { fresh: false, chosen: None })
    }

    /// More packets of a peer come than its table remembers for two seconds.
    #[cold]
    fn remember_more(&mut self, link: &mut Link, now: Time, source: Address) {
        let upstream = link.topology.is_upstream(source);
        let Some(peer) = link.topology.peers.get_mut(&source) else { return };
        let known = peer.is_trusted(now) || upstream;
        let Some(recent) = &mut peer.replay.recent else { return };
        let most = if known { recent::LARGEST } else { recent::STRANGERS };
        let wanted = recent.size() + 1;
        recent.refused();
        // The smaller table stays for a while.
        let octets = recent::octets(wanted) + recent::octets(wanted - 1);
        if wanted > most {
            return;
        }
        let peers = std::cell::RefCell::new(&mut link.topology.peers);
        let used = |peer| peers.borrow().get(&peer).and_then(|peer: &Peer| peer.replay.used);
        let evict = |peer| {
            if let Some(recent) = peers.borrow_mut().get_mut(&peer).and_then(|p| p.replay.recent.as_mut()) {
                recent.shrink();
            }
        };
        if self.recent_budget.ask(now, source, octets, used, evict)
            && let Some(recent) = peers.borrow_mut().get_mut(&source).and_then(|p| p.replay.recent.as_mut())
        {
            recent.grow(now);
        }
    }

    /// Frames flow from a peer that counts: give it a large window.
    #[cold]
    fn widen(&mut self, link: &mut Link, now: Time, source: Address) {
        let peers = std::cell::RefCell::new(&mut link.topology.peers);
        let used = |peer| peers.borrow().get(&peer).and_then(|peer: &Peer| peer.replay.used);
        let evict = |peer| {
            if let Some(window) = peers.borrow_mut().get_mut(&peer).and_then(|p| p.replay.window.as_mut()) {
                window.narrow();
            }
        };
        if self.window_budget.ask(now, source, WIDE_OCTETS, used, evict)
            && let Some(window) = peers.borrow_mut().get_mut(&source).and_then(|p| p.replay.window.as_mut())
        {
            window.widen();
        }
    }

    /// Settles what peers hold with what the budgets say: those that are gone or have been idle hold nothing.
    pub(crate) fn expire_replay_memory(&mut self, link: &mut Link, now: Time) {
        for (address, peer) in &mut link.topology.peers {
            if peer.replay.used.is_none_or(|at| now - at >= crate::ground::limits::REPLAY_IDLE) {
                if let Some(window) = &mut peer.replay.window
                    && window.is_wide()
                {
                    window.narrow();
                    self.window_budget.release(*address);
                }
                if let Some(recent) = &mut peer.replay.recent
                    && recent.size() > 0
                {
                    recent.shrink();
                    self.recent_budget.release(*address);
                }
            }
        }
        let peers = &link.topology.peers;
        for budget in [&mut self.window_budget, &mut self.recent_budget] {
            budget.forget(|peer| peers.contains_key(&peer));
        }
    }

    /// Something came that does not fit what a peer told about itself: it is asked again, now and then.
    #[cold]
    fn ask_again(&mut self, link: &mut Link, now: Time, source: Address) {
        link.recognize(now, source, true);
    }

    /// A peer answered a probe of ours for the first time: from now on it is held to what it says.
    pub(crate) fn hold_to_answer(
        &mut self,
        link: &mut Link,
        source: Address,
        chosen: Option<u64>,
        can: Option<Abilities>,
    ) {
        let us = link.secret.identity().address;
        let Some(peer) = link.topology.peers.get_mut(&source) else { return };
        let counts = can.is_some_and(Abilities::counts);
        let number = chosen.and_then(|chosen| counter::count(chosen, source, us));
        // Suite 3 without our form, and yet it says that it counts: somebody else's idea of counting.
        let counts = counts && (number.is_some() || chosen.is_none());
        peer.replay.answered(counts, chosen.is_some(), number);
        if peer.replay.window.as_ref().is_none_or(|window| !window.is_wide()) {
            self.window_budget.release(source);
        }
        // Held to its numbers, it needs no memory of IDs but for a few probes.
        let numbered = peer.replay.is_exact() && !peer.replay.other_suite;
        if let Some(recent) = peer.replay.recent.as_mut().filter(|recent| numbered && recent.size() > 0) {
            recent.shrink();
            self.recent_budget.release(source);
        }
    }
}

impl Peer {
    /// Protects a packet for it. In suite 3 the packet gets the next number, in others it keeps its ID.
    pub(crate) fn seal(&mut self, packet: &mut [u8], cipher: Cipher) {
        let suite = self.suite(cipher);
        if suite == packet::Suite::AesGmacSiv {
            packet[..8].copy_from_slice(&self.sent.take(1).to_be_bytes());
        }
        self.keys.armor(packet, suite);
    }

    /// Notes a numbered packet that may come by other paths as well.
    fn remember(&mut self, now: Time, via: PathKey, id: u64) {
        let recent = self.replay.recent.get_or_insert_with(Recent::new);
        recent.enter(now, id);
        recent.enter(now, id ^ place_of(via));
    }

    /// Whether a packet that was noted comes by another path for the first time.
    fn is_copy(&mut self, now: Time, via: PathKey, id: u64) -> bool {
        let Some(recent) = &mut self.replay.recent else { return false };
        recent.knows(now, id) && recent.enter(now, id ^ place_of(via))
    }
}
