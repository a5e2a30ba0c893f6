//! What the controller answers, beside its records.

use std::collections::BTreeMap;

use protocol::{Address, NetworkId, Time};
use serde::{Deserialize, Serialize};

use crate::lenient;
use crate::member::Member;
use crate::network::Network;
use crate::text;

/// `GET /controller`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ControllerStatus {
    /// Whether there is one.
    #[serde(deserialize_with = "lenient::flag::<false, _>")]
    pub controller: bool,
    /// Version of this API.
    #[serde(deserialize_with = "lenient::number::<0, _>")]
    pub api_version: u64,
    /// ms since the epoch.
    #[serde(deserialize_with = "lenient::time::<0, _>")]
    pub clock: i64,
    /// Whether its records are there.
    #[serde(deserialize_with = "lenient::flag::<false, _>")]
    pub database_ready: bool,
    /// Networks whose certificates run ahead of the clock, and by how much, ms.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::or_default")]
    pub certificate_lead: BTreeMap<String, i64>,
}

/// `…/lead`: how far a network's certificates run ahead of the clock, ms.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Lead {
    /// Now.
    pub lead: i64,
    /// Before this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<i64>,
}

/// A record as it is after a request, with what else there is to say.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Changed<T> {
    /// What is in force now.
    #[serde(flatten)]
    pub record: T,
    /// How far the word of a member that was put out has got.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub revocation: Option<Revocation>,
    /// What was taken as it was asked for, but is hardly what was meant.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    pub warnings: Vec<String>,
}

impl<T> Changed<T> {
    /// Nothing more is to be said.
    pub fn plain(record: T) -> Self {
        Self { record, revocation: None, warnings: Vec::new() }
    }
}

/// A member's certificate that is void, and who knows.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct Revocation {
    /// Of which network.
    #[serde(rename = "nwid", serialize_with = "text::serialize", deserialize_with = "lenient::parsed")]
    pub network: NetworkId,
    /// Whose.
    #[serde(serialize_with = "text::serialize", deserialize_with = "lenient::parsed")]
    pub address: Address,
    /// Always `revocation`.
    #[serde(skip_deserializing)]
    pub objtype: &'static str,
    /// Certificates issued then or earlier are void, ms since the epoch.
    #[serde(deserialize_with = "lenient::time::<0, _>")]
    pub threshold: i64,
    /// When it is of no more use, ms since the epoch.
    #[serde(deserialize_with = "lenient::time::<0, _>")]
    pub until: i64,
    /// How far the word of it has got, where one is asked for.
    #[serde(flatten)]
    pub reach: Option<Reach>,
}

impl Default for Revocation {
    fn default() -> Self {
        Self::new(NetworkId::default(), Address::NULL, Time::EPOCH, Time::EPOCH)
    }
}

impl Revocation {
    /// One that stands.
    #[must_use]
    pub fn new(network: NetworkId, address: Address, threshold: Time, until: Time) -> Self {
        let (threshold, until) = (threshold.as_ms(), until.as_ms());
        Self { network, address, objtype: "revocation", threshold, until, reach: None }
    }
}

/// Members by what they know of a revocation: their addresses.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Reach {
    /// They said that they keep it.
    #[serde(deserialize_with = "lenient::list")]
    pub acknowledged: Vec<String>,
    /// They were sent it, and cannot say whether they got it.
    #[serde(deserialize_with = "lenient::list")]
    pub sent: Vec<String>,
    /// They are being told.
    #[serde(deserialize_with = "lenient::list")]
    pub waiting: Vec<String>,
    /// They do not answer.
    #[serde(deserialize_with = "lenient::list")]
    pub unreachable: Vec<String>,
}

/// A list with what there is to say of the whole.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, bound(deserialize = "T: Deserialize<'de>, M: Deserialize<'de> + Default"))]
pub struct Listed<T, M> {
    /// The records.
    pub data: Vec<T>,
    /// About all of them.
    pub meta: M,
}

impl<T, M: Default> Default for Listed<T, M> {
    fn default() -> Self {
        Self { data: Vec::new(), meta: M::default() }
    }
}

/// `GET /unstable/controller/network`.
pub type AllNetworks = Listed<CountedNetwork, NetworksMeta>;
/// `GET /unstable/controller/network/…/member`.
pub type AllMembers = Listed<Member, MembersMeta>;

/// How many networks there are.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworksMeta {
    /// All of them.
    pub network_count: usize,
}

/// How many members there are.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MembersMeta {
    /// All of them.
    pub total_count: usize,
    /// Those that are let in.
    pub authorized_count: usize,
}

/// A network with the number of its members.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct CountedNetwork {
    /// Its record.
    #[serde(flatten)]
    pub record: Network,
    /// Its members.
    #[serde(deserialize_with = "lenient::or_default")]
    pub meta: NetworkMeta,
}

/// How many members a network has.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkMeta {
    /// All of them.
    pub total_member_count: usize,
    /// Those that are let in.
    pub authorized_member_count: usize,
}

/// A request that was refused.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Problem {
    /// The status code.
    #[serde(deserialize_with = "lenient::number::<0, _>")]
    pub error: u64,
    /// What is wrong, where, and what to do.
    #[serde(deserialize_with = "lenient::text")]
    pub description: String,
}

impl Problem {
    /// One for people.
    pub fn new(status: u16, description: impl Into<String>) -> Self {
        Self { error: status.into(), description: description.into() }
    }
}

/// A source of rules that was refused, and where. Lines and columns count from 1.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceProblem {
    /// The whole in one line.
    #[serde(flatten)]
    pub problem: Problem,
    /// What is wrong.
    #[serde(deserialize_with = "lenient::text")]
    pub message: String,
    /// Where.
    #[serde(deserialize_with = "lenient::number::<0, _>")]
    pub line: u64,
    /// Where in the line.
    #[serde(deserialize_with = "lenient::number::<0, _>")]
    pub column: u64,
    /// What helps.
    #[serde(deserialize_with = "lenient::only_text")]
    pub hint: Option<String>,
    /// The line.
    #[serde(deserialize_with = "lenient::text")]
    pub source_line: String,
    /// The word that is wrong.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::only_text")]
    pub word: Option<String>,
    /// All of it as the compiler shows it.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::only_text")]
    pub rendered: Option<String>,
}

/// What a zerotier-one controller's files gave.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Imported {
    /// Networks taken over.
    #[serde(deserialize_with = "lenient::or_default")]
    pub networks: u64,
    /// Members taken over.
    #[serde(deserialize_with = "lenient::or_default")]
    pub members: u64,
    /// Files that are no records.
    #[serde(deserialize_with = "lenient::list")]
    pub skipped: Vec<String>,
}

/// Which file a backup is written to or read from.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct NamedFile {
    /// Its absolute path.
    #[serde(deserialize_with = "lenient::only_text")]
    pub path: Option<String>,
}

/// It was done.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Done {
    /// Always true.
    #[serde(deserialize_with = "lenient::or_default")]
    pub result: bool,
}

/// An object that says nothing.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Empty {}

/// From whom a moon is to be had.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Orbit {
    /// The address of one of its roots.
    #[serde(deserialize_with = "lenient::only_text")]
    pub seed: Option<String>,
}
