//! The plain evaluator of rule lists: entry after entry, as the specification reads.
//!
//! It is the reference for every faster form, so it favours being obvious over being quick; it does not allocate.
//! Specification: flow rules, evaluation of one rule list, filtering a frame, match semantics.

pub(crate) mod matches;

use std::net::{IpAddr, Ipv6Addr};

use crate::rule::{Kind, Rule};
use matches::{Match, State};

/// Characteristic bit: evaluated on the receiving side.
pub const INBOUND: u64 = 1 << 63;
/// Characteristic bit: the destination MAC has the group bit.
pub const MULTICAST: u64 = 1 << 62;
/// Characteristic bit: the destination MAC is all ones.
pub const BROADCAST: u64 = 1 << 61;
/// Characteristic bit: the sender's IP address is covered by a certificate of ownership.
pub const SENDER_IP_AUTHENTICATED: u64 = 1 << 60;
/// Characteristic bit: the source MAC is covered by a certificate of ownership.
pub const SENDER_MAC_AUTHENTICATED: u64 = 1 << 59;

/// Which side of the connection evaluates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The receiver.
    Inbound,
    /// The sender.
    Outbound,
}

/// An Ethernet frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Source MAC.
    pub source: [u8; 6],
    /// Destination MAC.
    pub dest: [u8; 6],
    /// Ethertype.
    pub ethertype: u16,
    /// VLAN number; 0 in practice.
    pub vlan: u16,
    /// Everything after the 14-byte header.
    pub payload: &'a [u8],
}

/// What rules may ask about the two ends. Credentials that are stale or revoked count as absent.
pub trait Credentials {
    /// The evaluating node's tag.
    fn local_tag(&self, id: u32) -> Option<u32>;
    /// The other side's tag.
    fn remote_tag(&self, id: u32) -> Option<u32>;
    /// Whether a certificate of ownership of the evaluating node covers the address.
    fn local_owns_ip(&self, ip: IpAddr) -> bool;
    /// Whether a certificate of ownership of the other side covers the address.
    fn remote_owns_ip(&self, ip: IpAddr) -> bool;
    /// Whether a certificate of ownership of the evaluating node covers the MAC.
    fn local_owns_mac(&self, mac: [u8; 6]) -> bool;
    /// Whether a certificate of ownership of the other side covers the MAC.
    fn remote_owns_mac(&self, mac: [u8; 6]) -> bool;
    /// Whether emulated neighbour discovery makes the (inbound) sender's address trustworthy.
    fn emulated(&self, ip: Ipv6Addr) -> bool;
}

/// Everything one evaluation may look at.
pub struct Context<'a> {
    /// Which side evaluates.
    pub direction: Direction,
    /// The evaluating node.
    pub self_address: u64,
    /// The sending node.
    pub source: u64,
    /// The receiving node, 0 = not known yet (multicast, unknown bridge).
    pub dest: u64,
    /// The frame.
    pub frame: Frame<'a>,
    /// Outcome of a match this version does not know (configuration flag 0x08).
    pub match_unknown: bool,
    /// Source of 32-bit random numbers.
    pub random: &'a mut dyn FnMut() -> u32,
    /// Tags and ownership.
    pub credentials: &'a dyn Credentials,
}

/// Which entry of which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entry {
    /// ID of the capability; `None` is the network's own list.
    pub capability: Option<u32>,
    /// Index in the list, from 0. Lists are far shorter than 2^16.
    pub index: u16,
}

impl Entry {
    fn new(capability: Option<u32>, index: usize) -> Self {
        Self { capability, index: u16::try_from(index).unwrap_or(u16::MAX) }
    }
}

/// A copy of the frame to be sent to somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Who gets it.
    pub target: u64,
    /// How many bytes of the payload.
    pub length: usize,
    /// WATCH (asks for an acknowledgement) instead of TEE.
    pub watch: bool,
    /// The entry that asks for it.
    pub by: Entry,
}

/// How a list ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Without a decision.
    NoMatch,
    /// Drop.
    Drop,
    /// Send to this node instead.
    Redirect(u64),
    /// Accept.
    Accept,
    /// Accept, even if the frame is not addressed to this node.
    SuperAccept,
}

/// Result of one list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// How the list ended.
    pub outcome: Outcome,
    /// The last copy asked for; to be sent only if the frame is accepted.
    pub copy: Option<Copy>,
    /// The queue (0–8) if PRIORITY decided.
    pub priority: Option<u8>,
    /// Index of the entry that decided, `None` if the list ran out.
    pub by: Option<usize>,
}

/// What becomes of the frame itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Accept {
    /// Do not deliver (it may have been redirected).
    Drop,
    /// Deliver, subject to the checks of MACs and bridging.
    Accept,
    /// Deliver without those checks.
    SuperAccept,
}

/// Up to two copies: one from the base rules, one from the deciding capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    slots: [Option<Copy>; 2],
}

impl Copies {
    pub(crate) fn push(&mut self, copy: Option<Copy>) {
        if let Some(slot) = self.slots.iter_mut().find(|s| s.is_none()) {
            *slot = copy;
        }
    }

    /// The copies in the order they are sent.
    pub fn iter(&self) -> impl Iterator<Item = &Copy> {
        self.slots.iter().flatten()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.slots[0].is_none()
    }
}

/// Result of base rules and capabilities together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What becomes of the frame itself; `Drop` if it is redirected.
    pub accept: Accept,
    /// Send the whole frame to this node instead.
    pub redirect: Option<u64>,
    /// Copies to send.
    pub copies: Copies,
    /// Queue, 0–8; 0 unless the deciding entry is PRIORITY.
    pub priority: u8,
    /// The entry that decided. For a frame that nothing accepted it is the DROP or BREAK that ended the base rules; a DROP in
    /// a capability ends only the capability. `None` when the lists ran out, which drops.
    pub by: Option<Entry>,
}

/// What happened at one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A match whose set has failed already, without OR: not looked at.
    Skipped,
    /// A match that was looked at.
    Match {
        /// Its outcome, NOT included.
        outcome: bool,
        /// Whether NOT did not apply.
        forced: bool,
        /// The set so far, this match included.
        set: bool,
    },
    /// An action whose set matched, and that took effect.
    Taken,
    /// An action whose set did not match.
    NotTaken,
    /// A DROP whose set matched, passed over because a tag was not known here.
    Disarmed,
    /// An action whose set matched but that means nothing here: a copy or redirection to the sender, to the receiver or (outbound)
    /// to this node, or a number this version does not know.
    Ignored,
}

/// Watches an evaluation. The methods do nothing by default, which costs nothing.
pub trait Observer {
    /// A list begins: that of a capability, or the network's own (`None`).
    fn list(&mut self, capability: Option<u32>) {
        let _ = capability;
    }
    /// The entry at `index` of the list has been passed.
    fn step(&mut self, index: usize, step: Step) {
        let _ = (index, step);
    }
    /// The list has ended.
    fn end(&mut self, evaluation: &Evaluation) {
        let _ = evaluation;
    }
    /// The random match at `index` of the list needs a number; a fresh one by default.
    fn draw(&mut self, index: usize, random: &mut dyn FnMut() -> u32) -> u32 {
        let _ = index;
        random()
    }
}

/// Watches nothing.
struct Blind;

impl Observer for Blind {}

/// Base rules first, then, if they do not decide, each capability (pass them with their IDs, in ascending order) from scratch.
///
/// With `no_tee` no copies are made (sending to one of several recipients); it has a meaning outbound only.
pub fn filter(
    base: &[Rule],
    capabilities: &mut dyn Iterator<Item = (u32, &[Rule])>,
    ctx: &mut Context<'_>,
    no_tee: bool,
) -> Verdict {
    filter_with(base, capabilities, ctx, no_tee, &mut Blind)
}

/// [`filter`] with somebody watching.
pub fn filter_with(
    base: &[Rule],
    capabilities: &mut dyn Iterator<Item = (u32, &[Rule])>,
    ctx: &mut Context<'_>,
    no_tee: bool,
    observer: &mut impl Observer,
) -> Verdict {
    let first = evaluate_list(None, base, ctx, observer);
    let mut verdict = Verdict {
        accept: Accept::Drop,
        redirect: None,
        copies: Copies::default(),
        priority: first.priority.unwrap_or(0),
        by: first.by.map(|index| Entry::new(None, index)),
    };

    let mut from_capability = None;
    let decided = match first.outcome {
        Outcome::Drop => return verdict,
        Outcome::NoMatch => {
            let mut decided = None;
            for (id, rules) in capabilities {
                let evaluation = evaluate_list(Some(id), rules, ctx, observer);
                if !matches!(evaluation.outcome, Outcome::NoMatch | Outcome::Drop) {
                    from_capability = evaluation.copy;
                    verdict.priority = evaluation.priority.unwrap_or(0);
                    verdict.by = evaluation.by.map(|index| Entry::new(Some(id), index));
                    decided = Some(evaluation.outcome);
                    break;
                }
            }
            let Some(decided) = decided else { return verdict };
            decided
        }
        decided => decided,
    };

    if !no_tee {
        if from_capability.is_some() {
            verdict.copies.push(from_capability);
        }
        verdict.copies.push(first.copy);
    }
    match decided {
        // A redirection to nobody leaves the frame where it is.
        Outcome::Redirect(target) if target != 0 => verdict.redirect = Some(target),
        Outcome::SuperAccept => verdict.accept = Accept::SuperAccept,
        _ => verdict.accept = Accept::Accept,
    }
    verdict
}

/// Evaluates one list, as if it were the network's own.
pub fn evaluate(rules: &[Rule], ctx: &mut Context<'_>) -> Evaluation {
    evaluate_list(None, rules, ctx, &mut Blind)
}

#[inline]
fn evaluate_list(
    capability: Option<u32>,
    rules: &[Rule],
    ctx: &mut Context<'_>,
    observer: &mut impl Observer,
) -> Evaluation {
    observer.list(capability);
    let evaluation = run_list(capability, rules, ctx, observer);
    observer.end(&evaluation);
    evaluation
}

#[inline]
fn run_list(
    capability: Option<u32>,
    rules: &[Rule],
    ctx: &mut Context<'_>,
    observer: &mut impl Observer,
) -> Evaluation {
    let inbound = ctx.direction == Direction::Inbound;
    let mut state = State { super_accept: false, skip_drop: false };
    let mut set = true;
    let mut copy = None;
    for (index, rule) in rules.iter().enumerate() {
        if !rule.kind.is_action() {
            if !set && !rule.or {
                observer.step(index, Step::Skipped);
                continue;
            }
            let (outcome, forced) = match state.matches(index, &rule.kind, ctx, observer) {
                Match::Plain(outcome) => (outcome != rule.not, false),
                Match::Forced(outcome) => (outcome, true),
            };
            set = if rule.or { set || outcome } else { set && outcome };
            observer.step(index, Step::Match { outcome, forced, set });
            continue;
        }

        if !set {
            if let Kind::Tee(target) | Kind::Watch(target) | Kind::Redirect(target) = &rule.kind {
                state.super_accept |= inbound && target.address == ctx.self_address;
            }
            set = true;
            observer.step(index, Step::NotTaken);
            continue;
        }
        let mut priority = None;
        let outcome = match &rule.kind {
            Kind::Drop if state.skip_drop => {
                state.skip_drop = false;
                observer.step(index, Step::Disarmed);
                continue;
            }
            Kind::Drop => Outcome::Drop,
            Kind::Accept if state.super_accept => Outcome::SuperAccept,
            Kind::Accept => Outcome::Accept,
            Kind::Priority(bucket) => {
                priority = Some(if *bucket <= 8 { *bucket } else { 4 });
                Outcome::Accept
            }
            Kind::Break => Outcome::NoMatch,
            Kind::Tee(target) | Kind::Watch(target) | Kind::Redirect(target) => {
                let ours = target.address == ctx.self_address;
                if target.address == ctx.source || (ours && !inbound) || (!ours && target.address == ctx.dest)
                {
                    observer.step(index, Step::Ignored);
                    continue;
                }
                if ours {
                    Outcome::SuperAccept
                } else if matches!(rule.kind, Kind::Redirect(_)) {
                    Outcome::Redirect(target.address)
                } else {
                    copy = Some(Copy {
                        target: target.address,
                        length: copied(target.length, ctx.frame.payload.len()),
                        watch: matches!(rule.kind, Kind::Watch(_)),
                        by: Entry::new(capability, index),
                    });
                    observer.step(index, Step::Taken);
                    continue;
                }
            }
            _ => {
                observer.step(index, Step::Ignored);
                continue;
            }
        };
        observer.step(index, Step::Taken);
        return Evaluation { outcome, copy, priority, by: Some(index) };
    }
    Evaluation { outcome: Outcome::NoMatch, copy, priority: None, by: None }
}

/// How much of a payload a copy with a length limit (0 = none) carries.
pub(crate) fn copied(limit: u16, payload: usize) -> usize {
    if limit == 0 { payload } else { payload.min(usize::from(limit)) }
}
