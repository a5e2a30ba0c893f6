//! What becomes of one packet and why: the walk through the rules on the sender and on the receiver, with the
//! statement that decided.
//!
//! [`judge`] evaluates as the nodes do (the very evaluator) and keeps every step; a [`Book`] says where in the source
//! each entry stands and what the statement reads, so that a [`Walk`] can be told in the words of who wrote the rules.
//! Specification: flow rules, filtering a frame; VL2 frames, sending of unicast and multicast frames.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::evaluate::{
    Accept, Context, Credentials, Direction, Entry, Evaluation, Frame, Observer, Outcome, Step, Verdict,
    filter_with,
};
use crate::rule::{Kind, Rule};

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

/// Where a statement stands and what it reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// Line of its action word in the source, if there is a source.
    pub line: Option<u32>,
    /// Line of the `include` that brings it in, if it stands in a macro.
    pub included_at: Option<u32>,
    /// The statement on one line.
    pub text: String,
}

impl Statement {
    /// Whether somebody who says "line `line`" can mean this statement.
    pub fn is_at(&self, line: u32) -> bool {
        self.line == Some(line) || self.included_at == Some(line)
    }

    /// `line 12`, `line 3, included at line 9`, or the empty string.
    pub fn place(&self) -> String {
        match (self.line, self.included_at) {
            (Some(line), Some(at)) => format!("line {line}, included at line {at}"),
            (Some(line), None) => format!("line {line}"),
            (None, Some(at)) => format!("included at line {at}"),
            (None, None) => String::new(),
        }
    }
}

/// For every entry its statement, and for every match its words.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// The network's own list.
    pub base: Chapter,
    /// The capabilities, by id.
    pub capabilities: BTreeMap<u32, Chapter>,
}

/// The part of a [`Book`] about one list.
#[derive(Clone, Debug, Default)]
pub struct Chapter {
    /// Name of the capability.
    pub name: Option<String>,
    /// One per entry: the statement it belongs to.
    pub statements: Vec<Statement>,
    /// One per entry: its own words (a match with its NOT and OR, or the bare action).
    pub words: Vec<String>,
}

impl Book {
    /// The chapter about a list.
    pub fn chapter(&self, capability: Option<u32>) -> Option<&Chapter> {
        match capability {
            None => Some(&self.base),
            Some(id) => self.capabilities.get(&id),
        }
    }

    /// The statement an entry belongs to.
    pub fn statement(&self, entry: Entry) -> Option<&Statement> {
        self.chapter(entry.capability)?.statements.get(usize::from(entry.index))
    }

    /// ` of capability ssh` or the empty string.
    fn of_capability(&self, capability: Option<u32>) -> String {
        match (capability, self.chapter(capability).and_then(|chapter| chapter.name.as_ref())) {
            (None, _) => String::new(),
            (Some(_), Some(name)) => format!(" of capability {name}"),
            (Some(id), None) => format!(" of capability {id}"),
        }
    }

    /// Which entry it was: `line 12 of capability ssh`, `entry 3`, or, when every list ran out, `the end of the rules`.
    pub fn name(&self, by: Option<Entry>) -> String {
        let Some(entry) = by else { return "the end of the rules".to_owned() };
        let place = match self.statement(entry).map(Statement::place) {
            Some(place) if !place.is_empty() => place,
            _ => format!("entry {}", entry.index),
        };
        place + &self.of_capability(entry.capability)
    }

    /// The text of the statement an entry belongs to, or the empty string.
    pub fn text(&self, by: Option<Entry>) -> &str {
        by.and_then(|entry| self.statement(entry)).map_or("", |statement| statement.text.as_str())
    }
}

/// How [`tell`] calls a node.
pub type Naming<'a> = dyn Fn(u64) -> String + 'a;

/// The walks in words, several lines, each with its newline. `verbose` adds what every match gave.
pub fn tell(walks: &[Walk], rules: &Rules<'_>, book: &Book, naming: &Naming<'_>, verbose: bool) -> String {
    let mut text = String::new();
    for walk in walks {
        let verdict = &walk.verdict;
        let about = match walk.side {
            Side::SenderToAll => "sender, outbound, to whom is not decided yet",
            Side::Sender => "sender, outbound",
            Side::Receiver => "receiver, inbound",
        };
        let what = verdict_words(verdict, naming);
        text += &format!("{about}: {what} by {}\n", book.name(verdict.by));
        line_of(&mut text, book.text(verdict.by));
        if verdict.by.is_none() {
            line_of(&mut text, "(no statement decided, and what nothing accepts is dropped)");
        } else if verdict.accept == Accept::Drop && ended_by_break(walk) {
            line_of(&mut text, "(break ended the network's rules, and no capability accepted)");
        }
        for copy in verdict.copies.iter() {
            let what = if copy.watch { "watched by" } else { "copied to" };
            let target = naming(copy.target);
            text += &format!("  {what} {target} ({} bytes) by {}\n", copy.length, book.name(Some(copy.by)));
            line_of(&mut text, book.text(Some(copy.by)));
        }
        if walk.by_chance {
            text +=
                "  left to chance: a random match took part; it counts as matching from probability 0.5 on\n";
        }
        if verbose {
            steps(&mut text, walk, rules, book);
        }
    }
    text
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

/// `accepted`, `dropped`, `redirected to …`.
pub fn verdict_words(verdict: &Verdict, naming: &Naming<'_>) -> String {
    match (verdict.redirect, verdict.accept) {
        (Some(target), _) => format!("redirected to {}", naming(target)),
        (None, Accept::Drop) => "dropped".to_owned(),
        (None, Accept::Accept) => "accepted".to_owned(),
        (None, Accept::SuperAccept) => "accepted, whatever its MACs are,".to_owned(),
    }
}

fn ended_by_break(walk: &Walk) -> bool {
    walk.lists.first().is_some_and(|list| list.outcome == Outcome::NoMatch)
}

fn line_of(text: &mut String, statement: &str) {
    if !statement.is_empty() {
        *text += &format!("    {statement}\n");
    }
}

fn steps(text: &mut String, walk: &Walk, rules: &Rules<'_>, book: &Book) {
    for list in &walk.lists {
        let whose = match list.capability {
            None => "the network's rules".to_owned(),
            Some(_) => book.of_capability(list.capability).replacen(" of ", "", 1),
        };
        *text += &format!("  {whose}:\n");
        let entries = rules.list(list.capability);
        let chapter = book.chapter(list.capability);
        for (index, (step, rule)) in list.steps.iter().zip(entries).enumerate() {
            let words = chapter.and_then(|chapter| chapter.words.get(index)).map_or("?", String::as_str);
            let place = chapter
                .and_then(|chapter| chapter.statements.get(index))
                .and_then(|statement| statement.line)
                .map_or(String::new(), |line| line.to_string());
            let first = index == 0 || entries.get(index - 1).is_some_and(|rule| rule.kind.is_action());
            let place = if first || rule.kind.is_action() { place } else { String::new() };
            *text += &format!("    {place:>4}  {words:<44} {}\n", step_words(*step, rule));
        }
        let ended = match list.outcome {
            Outcome::NoMatch => "ended without a decision",
            Outcome::Drop => "ended in drop",
            Outcome::Redirect(_) => "ended in redirect",
            Outcome::Accept | Outcome::SuperAccept => "ended in accept",
        };
        *text += &format!("          {ended}\n");
    }
}

/// What a step comes to, for a table.
pub fn step_words(step: Step, rule: &Rule) -> &'static str {
    let about_tags = matches!(rule.kind.number(), 44..=50);
    match step {
        Step::Skipped => "not looked at",
        Step::Match { outcome: true, forced: true, .. } if about_tags => {
            "yes, for the tag is not known on this side: the receiver will judge"
        }
        Step::Match { outcome: true, forced: true, .. } if rule.not => "yes: \"not\" does not turn this one",
        Step::Match { outcome: true, .. } => "yes",
        Step::Match { outcome: false, forced: true, .. } if about_tags => "no: a tag is missing",
        Step::Match { outcome: false, forced: true, .. } if !matches!(rule.kind, Kind::Icmp { .. }) => {
            "no: cannot be asked of this packet"
        }
        Step::Match { outcome: false, .. } => "no",
        Step::Taken if matches!(rule.kind, Kind::Tee(_) | Kind::Watch(_)) => "TAKEN, and on",
        Step::Taken => "TAKEN",
        Step::NotTaken => "not taken",
        Step::Disarmed => "passed over: a tag is not known on this side, the receiver will judge",
        Step::Ignored => "means nothing here",
    }
}
