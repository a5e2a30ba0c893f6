//! What the node here enforces on a network it has joined: the answer to `GET /network/<id>/rules`.

use std::collections::BTreeMap;

use api::{Counters, EnforcedRules, HeldCapability, HeldTag, Line, Lists, Network, OtherMember};
use flowrules::decompile::Names;
use flowrules::explain::{Book, Rules};
use flowrules::{Entry, Kind, Rule, from_json};
use hyper::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::commands::Session;
use crate::commands::controller::request;
use crate::failure::Failure;

/// Rules in force on the node here, and what it knows of the other members.
pub(super) struct Enforced {
    /// The node's own address.
    pub(super) address: u64,
    pub(super) base: Vec<Rule>,
    /// Its own capabilities.
    pub(super) capabilities: BTreeMap<u32, Vec<Rule>>,
    /// Its own tags.
    pub(super) tags: BTreeMap<u32, u32>,
    pub(super) match_unknown: bool,
    pub(super) members: Vec<Neighbour>,
    lines: Lists<Option<Line>>,
    counters: Counters,
}

/// What the node here has been shown by another member.
pub(super) struct Neighbour {
    pub(super) address: u64,
    pub(super) tags: BTreeMap<u32, u32>,
    pub(super) capabilities: BTreeMap<u32, Vec<Rule>>,
}

impl Enforced {
    /// Asks the node; `network` is the ID of a network it has joined.
    pub(super) fn ask(session: &Session, network: &str) -> Result<Self, Failure> {
        let path = format!("/network/{network}/rules");
        let reply = session.send(Method::GET, &path, None);
        if matches!(&reply, Ok(reply) if reply.status == 404) {
            return Err(Failure::error(format!(
                "{}: the node has no rules of {network} yet",
                session.program
            ))
            .hint(
                "They come with the network's configuration; see `ztnode-cli listnetworks` for its status.",
            ));
        }
        let told: EnforcedRules = api::of(&request(session, Method::GET, &path, None)?);
        let neighbour = |member: &OtherMember| Neighbour {
            address: address(&member.address),
            tags: tags(&member.tags),
            capabilities: held(&member.capabilities),
        };
        Ok(Self {
            address: address(&told.address),
            base: rules(&told.rules),
            capabilities: held(&told.capabilities),
            tags: tags(&told.tags),
            match_unknown: told.flags.match_unknown,
            members: told.members.iter().map(neighbour).collect(),
            lines: told.lines,
            counters: told.counters,
        })
    }

    /// The rules a controller keeps of a network.
    pub(super) fn of_record(record: &Network) -> Self {
        Self {
            address: 0,
            base: rules(record.rules.json()),
            capabilities: capabilities(record),
            tags: BTreeMap::new(),
            match_unknown: false,
            members: Vec::new(),
            lines: Lists::default(),
            counters: Counters::default(),
        }
    }

    /// Line and `include` line of an entry, as far as the controller told them.
    pub(super) fn place(&self, entry: Entry) -> (Option<u32>, Option<u32>) {
        let Some(Some(Line { line, included_at })) = of_entry(&self.lines, entry) else {
            return (None, None);
        };
        let real = |line: &u32| *line > 0;
        (Some(*line).filter(real), included_at.filter(real))
    }

    /// How often an entry decided.
    pub(super) fn hits(&self, entry: Entry) -> u64 {
        of_entry(&self.counters.lists, entry).copied().unwrap_or(0)
    }

    /// How often no entry decided.
    pub(super) fn nothing_matched(&self) -> u64 {
        self.counters.nothing_matched
    }

    /// The statements with their places.
    pub(super) fn book(&self) -> Book {
        self.book_with(std::iter::empty())
    }

    /// As [`Enforced::book`], with capabilities of others as well.
    pub(super) fn book_with<'a>(
        &'a self,
        others: impl Iterator<Item = &'a BTreeMap<u32, Vec<Rule>>>,
    ) -> Book {
        let mut capabilities = self.capabilities.clone();
        for (id, rules) in others.flatten().chain(self.members.iter().flat_map(|member| &member.capabilities))
        {
            capabilities.entry(*id).or_insert_with(|| rules.clone());
        }
        let rules = Rules { base: &self.base, capabilities: &capabilities };
        Book::of_rules(&rules, &Names::default(), |entry| self.place(entry))
    }
}

/// What there is of an entry.
fn of_entry<T>(lists: &Lists<T>, entry: Entry) -> Option<&T> {
    let list = match entry.capability {
        None => &lists.base,
        Some(id) => lists.capabilities.get(&id.to_string())?,
    };
    list.get(usize::from(entry.index))
}

fn address(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap_or(0) & 0xff_ffff_ffff
}

fn tags(held: &[HeldTag]) -> BTreeMap<u32, u32> {
    held.iter().map(|tag| (tag.id, tag.value)).collect()
}

fn held(list: &[HeldCapability]) -> BTreeMap<u32, Vec<Rule>> {
    list.iter().map(|one| (one.id, rules(&one.rules))).collect()
}

/// A list in JSON; an entry of a kind this version does not know keeps its place.
pub(super) fn rules(list: &[Value]) -> Vec<Rule> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Unknown {
        #[serde(rename = "type")]
        kind: String,
        not: bool,
        or: bool,
    }
    let unknown = |value: &Value| {
        let Unknown { kind, not, or } = api::of(value);
        let number = if kind.contains("ACTION") { 15 } else { 63 };
        Rule { not, or, kind: Kind::Unknown { number, value: Vec::new() } }
    };
    list.iter().map(|value| from_json(value).unwrap_or_else(|| unknown(value))).collect()
}

/// The capabilities of a network and their rules.
pub(super) fn capabilities(network: &Network) -> BTreeMap<u32, Vec<Rule>> {
    network.capabilities.iter().map(|one| (one.id, rules(one.rules.json()))).collect()
}
