//! What the node here enforces on a network it has joined: the answer to `GET /network/<id>/rules`.

use std::collections::BTreeMap;

use flowrules::decompile::Names;
use flowrules::explain::{Book, Rules};
use flowrules::{Entry, Kind, Rule, from_json};
use hyper::Method;
use serde_json::Value;

use crate::commands::Session;
use crate::commands::controller::request;
use crate::failure::Failure;
use crate::text::json::{flag, int, items, tags, text};

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
    lines: Value,
    counters: Value,
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
        let value = request(session, Method::GET, &path, None)?;
        Ok(Self {
            address: address(&value["address"]),
            base: rules(&value["rules"]),
            capabilities: capabilities(&value),
            tags: tags(&value),
            match_unknown: flag(&value["flags"], "matchUnknown"),
            members: items(&value, "members")
                .iter()
                .map(|member| Neighbour {
                    address: address(&member["address"]),
                    tags: tags(member),
                    capabilities: capabilities(member),
                })
                .collect(),
            lines: value["lines"].clone(),
            counters: value["counters"].clone(),
        })
    }

    /// The rules a controller keeps of a network.
    pub(super) fn of_record(record: &Value) -> Self {
        Self {
            address: 0,
            base: rules(&record["rules"]),
            capabilities: capabilities(record),
            tags: BTreeMap::new(),
            match_unknown: false,
            members: Vec::new(),
            lines: Value::Null,
            counters: Value::Null,
        }
    }

    /// Line and `include` line of an entry, as far as the controller told them.
    pub(super) fn place(&self, entry: Entry) -> (Option<u32>, Option<u32>) {
        let place = &of_entry(&self.lines, entry);
        let number = |field: &str| u32::try_from(int(place, field)).ok().filter(|line| *line > 0);
        (number("line"), number("includedAt"))
    }

    /// How often an entry decided.
    pub(super) fn hits(&self, entry: Entry) -> u64 {
        of_entry(&self.counters, entry).as_u64().unwrap_or(0)
    }

    /// How often no entry decided.
    pub(super) fn nothing_matched(&self) -> u64 {
        self.counters["nothingMatched"].as_u64().unwrap_or(0)
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

/// The item of an entry in an object with `base` and `capabilities.<id>`.
fn of_entry(lists: &Value, entry: Entry) -> Value {
    let list = match entry.capability {
        None => &lists["base"],
        Some(id) => &lists["capabilities"][id.to_string()],
    };
    list[usize::from(entry.index)].clone()
}

fn address(value: &Value) -> u64 {
    value.as_str().and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0) & 0xff_ffff_ffff
}

/// A list in JSON; an entry of a kind this version does not know keeps its place.
pub(super) fn rules(list: &Value) -> Vec<Rule> {
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    let unknown = |value: &Value| {
        let number = if text(value, "type").contains("ACTION") { 15 } else { 63 };
        Rule {
            not: flag(value, "not"),
            or: flag(value, "or"),
            kind: Kind::Unknown { number, value: Vec::new() },
        }
    };
    list.iter().map(|value| from_json(value).unwrap_or_else(|| unknown(value))).collect()
}

/// `[{"id", "rules"}]` of an object's `capabilities`.
pub(super) fn capabilities(object: &Value) -> BTreeMap<u32, Vec<Rule>> {
    items(object, "capabilities")
        .iter()
        .filter_map(|one| Some((u32::try_from(int(one, "id")).ok()?, rules(&one["rules"]))))
        .collect()
}
