//! What we say to ztnodes and nobody else needs to understand: one list of all of it, and how a ztnode is recognized.
//!
//! `docs/extensions.md` is the specification. Everything of ours travels in messages that any implementation takes without harm
//! (ECHO, USER_MESSAGE) and is marked by eight octets of ASCII that begin with `ztnode`. New messages get a line in
//! [`MESSAGES`]; a new ability gets a bit in [`Abilities`].

use protocol::packet::MAX_MTU;
use protocol::verb::Verb;
use protocol::{Address, Span, Time};

use crate::link::Link;
use crate::link::replay::ReplayMemory;

/// Begins the payload of a probe; zeros may follow.
pub(crate) const PROBE: [u8; 8] = *b"ztnodePM";
/// Begins a ztnode's answer; the largest datagram it takes follows, two octets, and what else it can do, one octet.
pub(crate) const ANSWER: [u8; 8] = *b"ztnodePA";

/// Begins the payload of an ECHO from where a node has moved.
pub(crate) const MOVED: [u8; 8] = *b"ztnodeMV";

/// Type of the message in which a node tells how far it is from roots: `ztnodeRT`.
pub(crate) const ROOTS: u64 = u64::from_be_bytes(*b"ztnodeRT");
/// Type of the message in which a controller brings revocations: `ztnodeRV`.
pub(crate) const BRING: u64 = u64::from_be_bytes(*b"ztnodeRV");
/// Type of its answer: `ztnodeRA`.
pub(crate) const KEPT: u64 = u64::from_be_bytes(*b"ztnodeRA");

/// Who may send a message of ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sender {
    /// Anybody whose identity we know.
    Peer,
    /// Whoever was asked.
    Asked,
    /// Ourselves, on another machine.
    Ourselves,
    /// The controller of a network the receiver has joined.
    Controller,
}

/// One kind of message of ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Message {
    /// The octets that mark it.
    pub mark: [u8; 8],
    /// The verb it travels in.
    pub verb: Verb,
    /// Who may send it.
    pub sender: Sender,
    /// Octets after the mark at most.
    pub size: usize,
    /// Whether it is sent to nodes that have not shown that they are ztnodes.
    pub to_unknown: bool,
    /// The fuzz target that tries its parser.
    pub fuzz: &'static str,
}

/// Everything there is. Marks are never used again for something else.
pub const MESSAGES: [Message; 8] = [
    // Answered by everybody: with ANSWER by a ztnode, with its own payload by others. One to each peer, and those that measure paths.
    Message {
        mark: PROBE,
        verb: Verb::Echo,
        sender: Sender::Peer,
        size: MAX_MTU,
        to_unknown: true,
        fuzz: "datagram",
    },
    Message {
        mark: ANSWER,
        verb: Verb::Ok,
        sender: Sender::Asked,
        size: 3,
        to_unknown: false,
        fuzz: "datagram",
    },
    // Answered like any other ECHO.
    Message {
        mark: MOVED,
        verb: Verb::Echo,
        sender: Sender::Peer,
        size: 0,
        to_unknown: false,
        fuzz: "datagram",
    },
    Message {
        mark: ROOTS.to_be_bytes(),
        verb: Verb::UserMessage,
        sender: Sender::Peer,
        size: crate::link::root_ways::MAX_BODY,
        to_unknown: false,
        fuzz: "datagram",
    },
    // A sealed message to ourselves, which the receiver hands on. Others drop it without a word.
    Message {
        mark: crate::link::clones::CARRY.to_be_bytes(),
        verb: Verb::UserMessage,
        sender: Sender::Peer,
        size: crate::link::clones::MAX_SEALED,
        to_unknown: true,
        fuzz: "datagram",
    },
    // To a member that has told in its configuration request that it acknowledges.
    Message {
        mark: BRING.to_be_bytes(),
        verb: Verb::UserMessage,
        sender: Sender::Controller,
        size: MAX_MTU,
        to_unknown: false,
        fuzz: "revocation",
    },
    Message {
        mark: KEPT.to_be_bytes(),
        verb: Verb::UserMessage,
        sender: Sender::Asked,
        size: 25,
        to_unknown: false,
        fuzz: "revocation",
    },
    Message {
        mark: crate::link::clones::KIND.to_be_bytes(),
        verb: Verb::UserMessage,
        sender: Sender::Ourselves,
        size: crate::link::clones::MAX_SEALED,
        to_unknown: true,
        fuzz: "datagram",
    },
];

/// What a ztnode can do, as its answer to a probe says. Unknown bits are left alone.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Abilities(u8);

impl Abilities {
    /// It hands on to frames what the ECN bits of datagrams say.
    const HANDS_ON_ECN: u8 = 0x01;
    /// Its packets of suite 3 are numbered: see `link/replay`.
    const COUNTS: u8 = 0x02;
    /// What we can do.
    pub const OURS: Self = Self(Self::HANDS_ON_ECN | Self::COUNTS);

    /// Whether it hands on the ECN bits of datagrams.
    pub fn hands_on_ecn(self) -> bool {
        self.0 & Self::HANDS_ON_ECN != 0
    }

    /// Whether its packets of suite 3 are numbered.
    pub fn counts(self) -> bool {
        self.0 & Self::COUNTS != 0
    }
}

/// What a ztnode answers to an ECHO with this payload, if it is a probe.
pub(crate) fn answer(payload: &[u8]) -> Option<[u8; 11]> {
    payload.starts_with(&PROBE).then(|| {
        let mut answer = [0; 11];
        answer[..8].copy_from_slice(&ANSWER);
        answer[8..10].copy_from_slice(&(MAX_MTU as u16).to_be_bytes());
        answer[10] = Abilities::OURS.0;
        answer
    })
}

/// What the answer to a probe says: the largest datagram a ztnode takes and what it can do; `None` if it is no ztnode's.
pub(crate) fn read_answer(body: &[u8]) -> Option<(usize, Abilities)> {
    match body.split_first_chunk::<8>() {
        Some((&ANSWER, &[high, low, can, ..])) => {
            Some((usize::from(u16::from_be_bytes([high, low])), Abilities(can)))
        }
        _ => None,
    }
}

/// What is known about a peer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Known {
    /// Nothing.
    #[default]
    Unknown,
    /// It is a ztnode.
    Ztnode(Abilities),
    /// It is something else.
    Other,
}

/// Probes that may still be answered, per peer.
const PROBES: usize = 4;
/// Pause after a probe that found what was expected, and after the first of those without an answer, which doubles …
const PAUSE: Span = Span::secs(1);
/// … so often.
const DOUBLINGS: u32 = 3;

/// How far a peer is recognized.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extensions {
    pub(crate) known: Known,
    /// IDs of probes, the oldest first.
    asked: [u64; PROBES],
    /// When the last went out, and how many have since the last answer.
    last: Option<Time>,
    tries: u32,
}

impl Extensions {
    /// Whether it may be asked now.
    pub(crate) fn may_ask(&self, now: Time) -> bool {
        let pause = PAUSE * (1 << self.tries.saturating_sub(1).min(DOUBLINGS));
        self.last.is_none_or(|last| now - last >= pause)
    }

    pub(crate) fn try_at(&mut self, now: Time) {
        (self.last, self.tries) = (Some(now), self.tries.saturating_add(1));
    }

    pub(crate) fn asked(&mut self, id: u64) {
        self.asked.rotate_left(1);
        self.asked[PROBES - 1] = id;
    }

    /// Whether `id` is a probe that has not been answered. Those before it are not awaited any more: an answer that was held back
    /// says how things were.
    fn take_answer(&mut self, id: u64) -> bool {
        let Some(at) = self.asked.iter().position(|asked| *asked == id && id != 0) else { return false };
        self.asked[..=at].fill(0);
        self.tries = 0;
        true
    }
}

impl ReplayMemory {
    /// A peer sent a probe: it is a ztnode, and if we took it for something else it is another program by now.
    pub(crate) fn probed_by(&mut self, link: &mut Link, now: Time, source: Address) {
        let Some(peer) = link.topology.peers.get(&source) else { return };
        // Two that know each other to count do not ask each other in turn.
        let again = !matches!(peer.extensions.known, Known::Ztnode(can) if can.counts());
        link.recognize(now, source, again);
    }

    /// An ECHO of ours was answered for the first time; `measured`: it was a probe that measures a path.
    pub(crate) fn recognized(
        &mut self,
        link: &mut Link,
        source: Address,
        chosen: Option<u64>,
        id: u64,
        body: &[u8],
        measured: bool,
    ) {
        let Some(peer) = link.topology.peers.get_mut(&source) else { return };
        if !peer.extensions.take_answer(id) && !measured {
            return;
        }
        let can = read_answer(body).map(|(_, can)| can);
        peer.extensions.known = can.map_or(Known::Other, Known::Ztnode);
        self.hold_to_answer(link, source, chosen, can);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_ours_and_nobody_uses_one_twice() {
        for (at, message) in MESSAGES.iter().enumerate() {
            assert!(message.mark.starts_with(b"ztnode"), "{message:?}");
            assert!(MESSAGES[..at].iter().all(|other| other.mark != message.mark), "{message:?}");
            // What goes to whom we do not know travels in what every implementation takes without an answer or a word, but for ECHO.
            let quiet = matches!(message.verb, Verb::UserMessage | Verb::Echo | Verb::Ok);
            assert!(quiet && (!message.to_unknown || message.verb != Verb::Ok), "{message:?}");
        }
    }

    #[test]
    fn every_message_is_specified_and_fuzzed() {
        let specification = include_str!("../../../docs/extensions.md");
        let targets = include_str!("../../../fuzz/Cargo.toml");
        for message in MESSAGES {
            let mark = std::str::from_utf8(&message.mark).unwrap();
            assert!(specification.contains(&format!("`{mark}`")), "{mark} is not in docs/extensions.md");
            assert!(
                targets.contains(&format!("name = \"{}\"", message.fuzz)),
                "{} is no fuzz target",
                message.fuzz
            );
        }
    }

    #[test]
    fn a_probe_is_answered_and_nothing_else() {
        assert_eq!(answer(b"ztnodeP"), None);
        let said = answer(b"ztnodePM\0\0").unwrap();
        assert_eq!(read_answer(&said), Some((MAX_MTU, Abilities::OURS)));
        assert_eq!(read_answer(b"ztnodePM\0\0"), None, "another implementation echoes");
        assert_eq!(read_answer(&said[..10]), None);
        let [mut later, mut longer] = [said.to_vec(), said.to_vec()];
        later[10] = 0xff;
        longer.extend_from_slice(b"of a later version");
        assert!(read_answer(&later).is_some_and(|(_, can)| can.counts() && can.hands_on_ecn()));
        assert_eq!(read_answer(&longer), Some((MAX_MTU, Abilities::OURS)));
    }

    #[test]
    fn an_answer_that_was_held_back_does_not_count() {
        let mut extensions = Extensions::default();
        for (id, ms) in [(1, 1_000), (2, 2_000), (3, 4_000)] {
            let now = Time::from_ms(ms);
            assert!(extensions.may_ask(now));
            extensions.try_at(now);
            extensions.asked(id);
            assert!(!extensions.may_ask(now + Span::ms(999)));
        }
        assert!(!extensions.take_answer(0) && !extensions.take_answer(9));
        assert!(extensions.take_answer(2));
        assert!(!extensions.take_answer(1), "asked before the one that was answered");
        assert!(!extensions.take_answer(2), "once");
        assert!(extensions.take_answer(3));
    }
}
