//! A member of a network of the controller: its record, which is what the API shows and the store keeps, and what a request may
//! change.
//!
//! Specification: VL2 controller, member object.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use protocol::{Address, NetworkId, Time};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::lenient::{self, array, int32};
use crate::text;

/// Keys that are accepted or found in older records but never stored.
const DROPPED: [&str; 8] = [
    "clock",
    "physicalAddr",
    "recentLog",
    "lastModified",
    "lastRequestMetaData",
    "authenticationURL",
    "authenticationClientID",
    "meta",
];

/// What a member's node runs, as it said in its last request; -1 = never said.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Version {
    /// Software version, first number.
    #[serde(rename = "vMajor", deserialize_with = "lenient::time::<-1, _>")]
    pub major: i64,
    /// Second number.
    #[serde(rename = "vMinor", deserialize_with = "lenient::time::<-1, _>")]
    pub minor: i64,
    /// Third number.
    #[serde(rename = "vRev", deserialize_with = "lenient::time::<-1, _>")]
    pub revision: i64,
    /// Protocol version.
    #[serde(rename = "vProto", deserialize_with = "lenient::time::<-1, _>")]
    pub protocol: i64,
}

impl Default for Version {
    fn default() -> Self {
        Self { major: -1, minor: -1, revision: -1, protocol: -1 }
    }
}

/// How a member came to be authorized.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AuthorizedBy {
    /// Somebody said so through the API.
    Api,
    /// The network is public.
    Public,
    /// It brought a join token.
    Token,
    /// What another controller knows.
    #[serde(untagged)]
    Other(String),
}

/// A member of a network: a node that asked to join, or that somebody announced through the API.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Member {
    /// Its address.
    #[serde(serialize_with = "text::serialize", deserialize_with = "lenient::parsed")]
    pub id: Address,
    /// Its address.
    #[serde(serialize_with = "text::serialize", deserialize_with = "lenient::parsed")]
    pub address: Address,
    /// Its network.
    #[serde(rename = "nwid", serialize_with = "text::serialize", deserialize_with = "lenient::parsed")]
    pub network: NetworkId,
    /// Always `member`.
    #[serde(skip_deserializing)]
    pub objtype: &'static str,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::some_text")]
    pub name: Option<String>,
    /// Whether it gets a configuration. On a public network asking is enough to become authorized.
    #[serde(deserialize_with = "lenient::flag::<false, _>")]
    pub authorized: bool,
    /// Whether it may bridge foreign MACs.
    #[serde(deserialize_with = "lenient::flag::<false, _>")]
    pub active_bridge: bool,
    /// Whether automatic addresses are withheld.
    #[serde(deserialize_with = "lenient::flag::<false, _>")]
    pub no_auto_assign_ips: bool,
    /// Addresses it holds, without prefix, in order of assignment.
    #[serde(deserialize_with = "lenient::ips")]
    pub ip_assignments: Vec<IpAddr>,
    /// Those of them that it got from the pools, and may have to give back.
    #[serde(
        rename = "automaticAssignments",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "lenient::ips"
    )]
    pub automatic: Vec<IpAddr>,
    /// Its tags by ID.
    #[serde(serialize_with = "write_tags", deserialize_with = "tags")]
    pub tags: BTreeMap<u32, u32>,
    /// IDs of its capabilities.
    #[serde(deserialize_with = "lenient::ids")]
    pub capabilities: BTreeSet<u32>,
    /// Ten hex digits.
    #[serde(deserialize_with = "lenient::trace_target")]
    pub remote_trace_target: Option<String>,
    /// How much is traced.
    #[serde(deserialize_with = "lenient::number::<0, _>")]
    pub remote_trace_level: u64,
    /// Until when an SSO authentication holds, ms since the epoch.
    #[serde(rename = "authenticationExpiryTime", deserialize_with = "lenient::time::<0, _>")]
    pub authentication_expiry: i64,
    /// Public identity, learned from its first request and pinned from then on.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::filled_text")]
    pub identity: Option<String>,
    /// What it runs.
    #[serde(flatten)]
    pub version: Version,
    /// ms since the epoch.
    #[serde(deserialize_with = "lenient::time::<0, _>")]
    pub creation_time: i64,
    /// ms since the epoch, 0 = never.
    #[serde(rename = "lastAuthorizedTime", deserialize_with = "lenient::time::<0, _>")]
    pub last_authorized: i64,
    /// ms since the epoch, 0 = never.
    #[serde(rename = "lastDeauthorizedTime", deserialize_with = "lenient::time::<0, _>")]
    pub last_deauthorized: i64,
    /// How it came to be authorized last.
    #[serde(rename = "lastAuthorizedCredentialType", deserialize_with = "lenient::or_default")]
    pub authorized_by: Option<AuthorizedBy>,
    /// The join token it brought: the ID of one of ours, the text of one of the network's `authTokens`.
    #[serde(rename = "lastAuthorizedCredential", deserialize_with = "lenient::only_text")]
    pub credential: Option<String>,
    /// Whether it is spared SSO.
    #[serde(deserialize_with = "lenient::flag::<false, _>")]
    pub sso_exempt: bool,
    /// Whether it acknowledges revocations, as ztnodes do.
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "lenient::flag::<false, _>")]
    pub acknowledges: bool,
    /// Saves so far.
    #[serde(deserialize_with = "lenient::number::<0, _>")]
    pub revision: u64,
    /// Fields of a stored record that mean nothing here.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Default for Member {
    fn default() -> Self {
        Self {
            id: Address::NULL,
            address: Address::NULL,
            network: NetworkId::default(),
            objtype: "member",
            name: None,
            authorized: false,
            active_bridge: false,
            no_auto_assign_ips: false,
            ip_assignments: Vec::new(),
            automatic: Vec::new(),
            tags: BTreeMap::new(),
            capabilities: BTreeSet::new(),
            remote_trace_target: None,
            remote_trace_level: 0,
            authentication_expiry: 0,
            identity: None,
            version: Version::default(),
            creation_time: 0,
            last_authorized: 0,
            last_deauthorized: 0,
            authorized_by: None,
            credential: None,
            sso_exempt: false,
            acknowledges: false,
            revision: 0,
            extra: Map::new(),
        }
    }
}

/// What a request may say about a member.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the fields of Member, each if it is there")]
pub struct MemberPatch {
    #[serde(deserialize_with = "lenient::some_text")]
    pub name: Option<String>,
    #[serde(deserialize_with = "lenient::some_flag")]
    pub authorized: Option<bool>,
    #[serde(deserialize_with = "lenient::some_flag")]
    pub active_bridge: Option<bool>,
    #[serde(deserialize_with = "lenient::some_flag")]
    pub no_auto_assign_ips: Option<bool>,
    /// Read when it is applied: what is no text is refused.
    #[serde(deserialize_with = "lenient::some_list")]
    pub ip_assignments: Option<Vec<Value>>,
    #[serde(deserialize_with = "some_tags")]
    pub tags: Option<BTreeMap<u32, u32>>,
    #[serde(deserialize_with = "lenient::some_ids")]
    pub capabilities: Option<BTreeSet<u32>>,
    #[serde(deserialize_with = "lenient::some_trace_target")]
    pub remote_trace_target: Option<Option<String>>,
    #[serde(deserialize_with = "lenient::some_number::<0, _>")]
    pub remote_trace_level: Option<u64>,
    #[serde(rename = "authenticationExpiryTime", deserialize_with = "lenient::some_time")]
    pub authentication_expiry: Option<i64>,
    #[serde(deserialize_with = "lenient::some_flag")]
    pub sso_exempt: Option<bool>,
}

impl Member {
    /// A member with all defaults, revision 0 (the first save makes it 1).
    #[must_use]
    pub fn new(network: NetworkId, address: Address, now: Time) -> Self {
        Self { id: address, address, network, creation_time: now.as_ms(), ..Self::default() }
    }

    /// The member as a record that was read, under the names by which it is kept.
    #[must_use]
    pub fn kept_as(mut self, network: NetworkId, address: Address) -> Self {
        (self.id, self.address, self.network) = (address, address, network);
        self.extra.retain(|key, _| !DROPPED.contains(&key.as_str()));
        self
    }

    /// Takes over what a request says.
    ///
    /// # Errors
    /// A text about the field when an element of `ipAssignments` is no text; nothing has been applied then.
    pub fn apply(&mut self, patch: MemberPatch, now: Time) -> Result<(), String> {
        fn set<T>(field: &mut T, given: Option<T>) {
            if let Some(value) = given {
                *field = value;
            }
        }
        let assignments = patch.ip_assignments.as_deref().map(read_assignments).transpose()?;
        // Many tools post the whole record back. A list that somebody changed is meant as it stands.
        if let Some(list) = assignments
            && list != self.ip_assignments
        {
            self.ip_assignments = list;
            self.automatic.clear();
        }
        set(&mut self.name, patch.name.map(Some));
        set(&mut self.active_bridge, patch.active_bridge);
        set(&mut self.no_auto_assign_ips, patch.no_auto_assign_ips);
        set(&mut self.tags, patch.tags);
        set(&mut self.capabilities, patch.capabilities);
        set(&mut self.remote_trace_target, patch.remote_trace_target);
        set(&mut self.remote_trace_level, patch.remote_trace_level);
        set(&mut self.authentication_expiry, patch.authentication_expiry);
        set(&mut self.sso_exempt, patch.sso_exempt);
        match (self.authorized, patch.authorized) {
            (false, Some(true)) => self.authorize(now, AuthorizedBy::Api, None),
            (true, Some(false)) => {
                self.authorized = false;
                self.last_deauthorized = now.as_ms();
            }
            _ => {}
        }
        Ok(())
    }

    /// Makes it a member in full.
    pub fn authorize(&mut self, now: Time, by: AuthorizedBy, credential: Option<String>) {
        self.authorized = true;
        self.last_authorized = now.as_ms();
        self.authorized_by = Some(by);
        self.credential = credential;
    }

    /// Whether nobody but a public network let it in.
    #[must_use]
    pub fn came_by_itself(&self) -> bool {
        self.authorized && self.authorized_by == Some(AuthorizedBy::Public)
    }

    /// The ID of the join token that let it in, if one did and nothing else since.
    #[must_use]
    pub fn join_token(&self) -> Option<&str> {
        self.credential.as_deref().filter(|_| self.authorized_by == Some(AuthorizedBy::Token))
    }

    /// Whether all that is known about it came from its own requests and it was never let in: such a record may be
    /// forgotten when there are too many of them.
    #[must_use]
    pub fn is_stranger(&self) -> bool {
        !self.authorized
            && self.last_authorized == 0
            && self.last_deauthorized == 0
            && self.name.is_none()
            && self.ip_assignments.is_empty()
            && self.tags.is_empty()
            && self.capabilities.is_empty()
            && !self.active_bridge
            && !self.no_auto_assign_ips
            && !self.sso_exempt
            && self.authentication_expiry == 0
            && self.remote_trace_target.is_none()
            && self.extra.is_empty()
            && self.identity.is_some()
    }
}

/// Addresses of a request body: bits removed, text that is no address dropped, each kept once.
fn read_assignments(list: &[Value]) -> Result<Vec<IpAddr>, String> {
    let mut seen = BTreeSet::new();
    let mut kept = Vec::new();
    for (index, value) in list.iter().enumerate() {
        let text = value.as_str().ok_or_else(|| {
            format!("ipAssignments[{index}]: a text such as \"10.0.1.1\" is expected; nothing was changed")
        })?;
        if let Some(ip) = lenient::ip(text).filter(|ip| seen.insert(*ip)) {
            kept.push(ip);
        }
    }
    Ok(kept)
}

/// Tags as the pairs they are written in.
pub(crate) fn write_tags<S: Serializer>(tags: &BTreeMap<u32, u32>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(tags)
}

/// Pairs `[id, value]`; anything else is ignored and the last duplicate wins.
fn some_tags<'de, D: Deserializer<'de>>(field: D) -> Result<Option<BTreeMap<u32, u32>>, D::Error> {
    let value = Value::deserialize(field)?;
    let pair = |entry: &Value| match entry.as_array()?.as_slice() {
        [id, value] => Some((int32(Some(id)), int32(Some(value)))),
        _ => None,
    };
    Ok(array(Some(&value)).map(|list| list.iter().filter_map(pair).collect()))
}

fn tags<'de, D: Deserializer<'de>>(field: D) -> Result<BTreeMap<u32, u32>, D::Error> {
    Ok(some_tags(field)?.unwrap_or_default())
}
