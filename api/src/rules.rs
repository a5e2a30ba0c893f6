//! Flow rules that a node enforces, and what it decides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lenient;

/// `GET /network/…/rules`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct EnforcedRules {
    /// The node.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub address: String,
    /// The network.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub network: String,
    /// Revision of its configuration.
    #[serde(deserialize_with = "lenient::or_default")]
    pub revision: u64,
    /// The base rules.
    #[serde(deserialize_with = "lenient::or_default")]
    pub rules: Vec<Value>,
    /// Capabilities of the node.
    #[serde(deserialize_with = "lenient::or_default")]
    pub capabilities: Vec<HeldCapability>,
    /// Its tags.
    #[serde(deserialize_with = "lenient::or_default")]
    pub tags: Vec<HeldTag>,
    /// Where each entry is in the network's source.
    #[serde(deserialize_with = "lenient::or_default")]
    pub lines: Lists<Option<Line>>,
    /// How often each entry decided.
    #[serde(deserialize_with = "lenient::or_default")]
    pub counters: Counters,
    /// What others presented.
    #[serde(deserialize_with = "lenient::or_default")]
    pub members: Vec<OtherMember>,
    /// What else decides.
    #[serde(deserialize_with = "lenient::or_default")]
    pub flags: RuleFlags,
}

/// A capability of a node.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct HeldCapability {
    /// Its ID.
    #[serde(deserialize_with = "lenient::or_default")]
    pub id: u32,
    /// Its rules.
    #[serde(deserialize_with = "lenient::or_default")]
    pub rules: Vec<Value>,
}

/// A tag of a node.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct HeldTag {
    /// Its ID.
    #[serde(deserialize_with = "lenient::or_default")]
    pub id: u32,
    /// Its value.
    #[serde(deserialize_with = "lenient::or_default")]
    pub value: u32,
}

/// Something for each entry of all lists of rules.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, bound(deserialize = "T: Deserialize<'de>"))]
pub struct Lists<T> {
    /// Of the base rules.
    pub base: Vec<T>,
    /// Of each capability, by its ID.
    pub capabilities: BTreeMap<String, Vec<T>>,
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Self { base: Vec::new(), capabilities: BTreeMap::new() }
    }
}

/// A line of the source.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Line {
    /// Which.
    #[serde(deserialize_with = "lenient::or_default")]
    pub line: u32,
    /// Where the macro that it is in was included.
    #[serde(deserialize_with = "lenient::or_default")]
    pub included_at: Option<u32>,
}

/// How often entries decided.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counters {
    /// Each.
    #[serde(flatten)]
    pub lists: Lists<u64>,
    /// Frames for which none did.
    #[serde(deserialize_with = "lenient::or_default")]
    pub nothing_matched: u64,
}

/// What another member presented.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct OtherMember {
    /// Who.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub address: String,
    /// Its tags.
    #[serde(deserialize_with = "lenient::or_default")]
    pub tags: Vec<HeldTag>,
    /// Its capabilities.
    #[serde(deserialize_with = "lenient::or_default")]
    pub capabilities: Vec<HeldCapability>,
}

/// What decides beside the rules.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuleFlags {
    /// Whether matches that are not known match.
    #[serde(deserialize_with = "lenient::or_default")]
    pub match_unknown: bool,
}

/// A line of `GET /network/…/trace`: one decision.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Trace {
    /// ms since the epoch.
    #[serde(deserialize_with = "lenient::or_default")]
    pub at: i64,
    /// `in` or `out`.
    #[serde(deserialize_with = "lenient::or_default")]
    pub direction: String,
    /// The other member.
    #[serde(deserialize_with = "lenient::or_default")]
    pub peer: Option<String>,
    /// MAC.
    #[serde(deserialize_with = "lenient::or_default")]
    pub source: String,
    /// MAC.
    #[serde(deserialize_with = "lenient::or_default")]
    pub dest: String,
    /// EtherType.
    #[serde(deserialize_with = "lenient::or_default")]
    pub ether_type: u16,
    /// Octets of the frame's payload.
    #[serde(deserialize_with = "lenient::or_default")]
    pub length: u64,
    /// The first of them, hexadecimal.
    #[serde(deserialize_with = "lenient::or_default")]
    pub head: String,
    /// `drop`, `accept` or `super-accept`.
    #[serde(deserialize_with = "lenient::or_default")]
    pub accept: String,
    /// To whom it goes instead.
    #[serde(deserialize_with = "lenient::or_default")]
    pub redirect: Option<String>,
    /// To whom copies go.
    #[serde(deserialize_with = "lenient::or_default")]
    pub copies: Vec<Copied>,
    /// What decided.
    #[serde(deserialize_with = "lenient::or_default")]
    pub entry: Option<Entry>,
    /// Its line in the source.
    #[serde(deserialize_with = "lenient::or_default")]
    pub line: Option<u32>,
    /// Where the macro that it is in was included.
    #[serde(deserialize_with = "lenient::or_default")]
    pub included_at: Option<u32>,
    /// Decisions that were not shown before this.
    #[serde(deserialize_with = "lenient::or_default")]
    pub skipped: u64,
}

/// A copy of a frame.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Copied {
    /// To whom.
    #[serde(deserialize_with = "lenient::or_default")]
    pub to: String,
    /// Whether only to look at.
    #[serde(deserialize_with = "lenient::or_default")]
    pub watch: bool,
    /// How many octets.
    #[serde(deserialize_with = "lenient::or_default")]
    pub length: Option<u64>,
    /// What asked for it.
    #[serde(deserialize_with = "lenient::or_default")]
    pub entry: Entry,
    /// Its line in the source.
    #[serde(deserialize_with = "lenient::or_default")]
    pub line: Option<u32>,
    /// Where the macro that it is in was included.
    #[serde(deserialize_with = "lenient::or_default")]
    pub included_at: Option<u32>,
}

/// An entry of a list of rules.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Entry {
    /// Of which capability; none = of the base rules.
    #[serde(deserialize_with = "lenient::or_default")]
    pub capability: Option<u32>,
    /// Which, from 0.
    #[serde(deserialize_with = "lenient::or_default")]
    pub index: u64,
}
