//! What becomes of one packet and why: the walk through the rules on the sender and on the receiver, with the
//! statement that decided.
//!
//! [`judge`] evaluates as the nodes do (the very evaluator) and keeps every step; a [`Book`] says where in the source
//! each entry stands and what the statement reads, so that a [`Walk`] can be told in the words of who wrote the rules.
//! Specification: flow rules, filtering a frame; VL2 frames, sending of unicast and multicast frames.

mod book;
mod tell;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::evaluate::{
    Accept, Context, Credentials, Direction, Evaluation, Frame, Observer, Outcome, Step, Verdict, filter_with,
};
use crate::rule::Rule;

pub use book::{Book, Chapter, Statement};
pub use tell::{Naming, step_words, tell, verdict_words};

/// The number that stands for all random ones: in the middle, so that `random` matches if its probability is one half
/// or more.
pub const MIDDLE: u32 = u32::MAX / 2;

/// One node, as far as rules ask about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party {
    /// Address of the node, 40 bits.
    pub address: u64,
    /// Its tags, id to value.
    pub tags: BTreeMap<u32, u32>,
    /// The capabilities it holds, id to rules.
    pub capabilities: BTreeMap<u32, Vec<Rule>>,
    /// IP addresses a certificate of ownership names.
    pub owns: Vec<IpAddr>,
}

/// Everything the verdict on one packet depends on.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The network's own list.
    pub base: &'a [Rule],
    /// Who sends.
    pub sender: &'a Party,
    /// Who is to get it; `None` = everybody or not known, so that only the sender is walked.
    pub receiver: Option<&'a Party>,
    /// The packet.
    pub frame: Frame<'a>,
    /// The sender has not heard from the receiver yet, so it does not know the receiver's tags.
    pub first_contact: bool,
    /// Outcome of matches this version does not know.
    pub match_unknown: bool,
}

/// Which evaluation a walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The sender, about a frame to a group, before any receiver is chosen: here copies are made.
    SenderToAll,
    /// The sender.
    Sender,
    /// The receiver.
    Receiver,
}

impl Side {
    /// Which way the packet goes for who evaluates.
    pub fn direction(self) -> Direction {
        match self {
            Self::SenderToAll | Self::Sender => Direction::Outbound,
            Self::Receiver => Direction::Inbound,
        }
    }

    /// `sender` or `receiver`.
    pub fn who(self) -> &'static str {
        if self == Self::Receiver { "receiver" } else { "sender" }
    }
}

/// One evaluation, step by step.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Whose.
    pub side: Side,
    /// The result.
    pub verdict: Verdict,
    /// The lists that were looked at, in order.
    pub lists: Vec<List>,
    /// A `random` match was met: the packet's fate is left to chance, and [`MIDDLE`] stands for the dice.
    pub by_chance: bool,
}

/// One list of a walk.
#[derive(Clone, Debug)]
pub struct List {
    /// Whose list: a capability's, or the network's own.
    pub capability: Option<u32>,
    /// What happened at the entries from the first to the one that decided.
    pub steps: Vec<Step>,
    /// How it ended.
    pub outcome: Outcome,
}

/// What becomes of a packet in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Dropped on this side.
    Dropped(Side),
    /// Sent to another node instead, by this side.
    Redirected(Side, u64),
    /// Delivered; or, without a receiver to ask, sent.
    Accepted,
}

/// Walks the packet: on the sender, and if it lets it go, on the receiver. The last walk decides.
pub fn judge(scene: &Scene<'_>) -> Vec<Walk> {
    let group = scene.frame.dest[0] & 1 != 0;
    let mut sides = Vec::new();
    if group || scene.receiver.is_none() {
        sides.push(Side::SenderToAll);
    }
    if scene.receiver.is_some() {
        sides.extend([Side::Sender, Side::Receiver]);
    }
    let mut walks = Vec::new();
    for side in sides {
        let one = walk(scene, side, group);
        let over = one.verdict.accept == Accept::Drop;
        walks.push(one);
        if over {
            break;
        }
    }
    walks
}

/// What the walks of [`judge`] come to.
pub fn fate(walks: &[Walk]) -> Fate {
    match walks.last() {
        Some(Walk { side, verdict: Verdict { redirect: Some(target), .. }, .. }) => {
            Fate::Redirected(*side, *target)
        }
        Some(Walk { side, verdict: Verdict { accept: Accept::Drop, .. }, .. }) => Fate::Dropped(*side),
        _ => Fate::Accepted,
    }
}

fn walk(scene: &Scene<'_>, side: Side, group: bool) -> Walk {
    let nobody = Party::default();
    let receiver = scene.receiver.unwrap_or(&nobody);
    let (local, remote) = match side {
        Side::Receiver => (receiver, scene.sender),
        Side::Sender | Side::SenderToAll => (scene.sender, receiver),
    };
    // Before a receiver is chosen nobody's tags are there to ask; the receiver has the sender's with the packet.
    let remote_known = match side {
        Side::SenderToAll => false,
        Side::Sender => !scene.first_contact,
        Side::Receiver => true,
    };
    let mut recorder = Recorder::default();
    let mut random = || MIDDLE;
    let mut context = Context {
        direction: side.direction(),
        self_address: local.address,
        source: scene.sender.address,
        dest: if side == Side::SenderToAll { 0 } else { receiver.address },
        frame: scene.frame,
        match_unknown: scene.match_unknown,
        random: &mut random,
        credentials: &Known { local, remote: remote_known.then_some(remote) },
    };
    // The receiver applies the capabilities that the sender has shown.
    let mut capabilities = scene.sender.capabilities.iter().map(|(id, rules)| (*id, rules.as_slice()));
    // The copies of a frame to a group have been made before its receivers were chosen.
    let no_tee = side == Side::Sender && group;
    let verdict = filter_with(scene.base, &mut capabilities, &mut context, no_tee, &mut recorder);
    Walk { side, verdict, lists: recorder.lists, by_chance: recorder.by_chance }
}

/// The rules a [`Walk`] went through.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The network's own list.
    pub base: &'a [Rule],
    /// The capabilities by id.
    pub capabilities: &'a BTreeMap<u32, Vec<Rule>>,
}

impl<'a> Rules<'a> {
    fn list(&self, capability: Option<u32>) -> &'a [Rule] {
        match capability {
            None => self.base,
            Some(id) => self.capabilities.get(&id).map_or(&[], Vec::as_slice),
        }
    }
}

/// Keeps every step.
#[derive(Default)]
struct Recorder {
    lists: Vec<List>,
    by_chance: bool,
}

impl Observer for Recorder {
    fn list(&mut self, capability: Option<u32>) {
        self.lists.push(List { capability, steps: Vec::new(), outcome: Outcome::NoMatch });
    }

    fn step(&mut self, _: usize, step: Step) {
        if let Some(list) = self.lists.last_mut() {
            list.steps.push(step);
        }
    }

    fn end(&mut self, evaluation: &Evaluation) {
        if let Some(list) = self.lists.last_mut() {
            list.outcome = evaluation.outcome;
        }
    }

    fn draw(&mut self, _: usize, random: &mut dyn FnMut() -> u32) -> u32 {
        self.by_chance = true;
        random()
    }
}

struct Known<'a> {
    local: &'a Party,
    remote: Option<&'a Party>,
}

impl Credentials for Known<'_> {
    fn local_tag(&self, id: u32) -> Option<u32> {
        self.local.tags.get(&id).copied()
    }

    fn remote_tag(&self, id: u32) -> Option<u32> {
        self.remote?.tags.get(&id).copied()
    }

    fn local_owns_ip(&self, ip: IpAddr) -> bool {
        self.local.owns.contains(&ip)
    }

    fn remote_owns_ip(&self, ip: IpAddr) -> bool {
        self.remote.is_some_and(|remote| remote.owns.contains(&ip))
    }

    // Controllers certify IP addresses only.
    fn local_owns_mac(&self, _: [u8; 6]) -> bool {
        false
    }

    fn remote_owns_mac(&self, _: [u8; 6]) -> bool {
        false
    }

    // Whoever has a derived address is also certified to own it.
    fn emulated(&self, _: Ipv6Addr) -> bool {
        false
    }
}
