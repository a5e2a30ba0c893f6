//! The record of a member: its fields, defaults, and how the API reads and shows them.
//!
//! Specification: VL2 controller, member object.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use protocol::{Address, NetworkId};
use serde_json::{Map, Value, json};

use crate::coerce::{self, array, boolean, int, int32, optional_string, signed, string};
use crate::network::read_trace_target;

/// Keys that are accepted or found in older records but never stored.
const DROPPED: [&str; 7] = [
    "clock",
    "physicalAddr",
    "recentLog",
    "lastModified",
    "lastRequestMetaData",
    "authenticationURL",
    "authenticationClientID",
];

/// Keys rendered from the typed fields.
const KNOWN: [&str; 29] = [
    "id",
    "address",
    "nwid",
    "objtype",
    "name",
    "authorized",
    "activeBridge",
    "noAutoAssignIps",
    "ipAssignments",
    "tags",
    "capabilities",
    "remoteTraceTarget",
    "remoteTraceLevel",
    "authenticationExpiryTime",
    "identity",
    "vMajor",
    "vMinor",
    "vRev",
    "vProto",
    "creationTime",
    "lastAuthorizedTime",
    "lastDeauthorizedTime",
    "lastAuthorizedCredentialType",
    "lastAuthorizedCredential",
    "ssoExempt",
    "acknowledges",
    "automaticAssignments",
    "revision",
    "meta",
];

/// What a member's node runs, as it said in its last request; -1 = never said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Version {
    /// Software version, first number.
    pub major: i64,
    /// Second number.
    pub minor: i64,
    /// Third number.
    pub revision: i64,
    /// Protocol version.
    pub protocol: i64,
}

/// How a member came to be authorized.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Authorizer {
    /// Somebody said so through the API.
    Api,
    /// The network is public.
    Public,
    /// It brought a join token.
    Token,
}

impl Authorizer {
    fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Public => "public",
            Self::Token => "token",
        }
    }
}

/// A member of a network: a node that asked to join, or that somebody announced through the API.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its network.
    pub network: NetworkId,
    /// Its address.
    pub address: Address,
    /// Free text.
    pub name: Option<String>,
    /// Whether it gets a configuration. On a public network asking is enough to become authorized.
    pub authorized: bool,
    /// Whether it may bridge foreign MACs.
    pub active_bridge: bool,
    /// Whether automatic addresses are withheld.
    pub no_auto_assign_ips: bool,
    /// Addresses it holds, without prefix, in order of assignment.
    pub ip_assignments: Vec<IpAddr>,
    /// Those of them that it got from the pools, and may have to give back.
    pub automatic: Vec<IpAddr>,
    /// Its tags by ID.
    pub tags: BTreeMap<u32, u32>,
    /// IDs of its capabilities.
    pub capabilities: BTreeSet<u32>,
    /// Ten hex digits.
    pub remote_trace_target: Option<String>,
    /// How much is traced.
    pub remote_trace_level: u64,
    /// Until when an SSO authentication holds, ms since the epoch.
    pub authentication_expiry: i64,
    /// Public identity, learned from its first request and pinned from then on.
    pub identity: Option<String>,
    /// What it runs.
    pub version: Version,
    /// ms since the epoch.
    pub creation_time: i64,
    /// ms since the epoch, 0 = never.
    pub last_authorized: i64,
    /// ms since the epoch, 0 = never.
    pub last_deauthorized: i64,
    /// `api`, `public` or `token`.
    pub credential_type: Option<String>,
    /// The join token it brought: the ID of one of ours, the text of one of the network's `authTokens`.
    pub credential: Option<String>,
    /// Whether it is spared SSO.
    pub sso_exempt: bool,
    /// Whether it acknowledges revocations, as ztnodes do.
    pub acknowledges: bool,
    /// Saves so far.
    pub revision: u64,
    /// Fields of a stored record that mean nothing here.
    extra: Map<String, Value>,
}

impl Member {
    /// A member with all defaults, revision 0 (the first save makes it 1).
    #[must_use]
    pub fn new(network: NetworkId, address: Address, now: i64) -> Self {
        Self::from_stored(network, address, &Map::new(), now)
    }

    /// A member as stored: nothing is refused, missing fields get their defaults.
    #[must_use]
    pub fn from_stored(network: NetworkId, address: Address, record: &Map<String, Value>, now: i64) -> Self {
        let field = |key: &str| record.get(key);
        let ips = |key: &str| {
            array(field(key)).unwrap_or_default().iter().filter_map(|v| coerce::ip(v.as_str()?)).collect()
        };
        Self {
            network,
            address,
            name: field("name").map(|v| string(Some(v), "")),
            authorized: boolean(field("authorized"), false),
            active_bridge: boolean(field("activeBridge"), false),
            no_auto_assign_ips: boolean(field("noAutoAssignIps"), false),
            ip_assignments: ips("ipAssignments"),
            automatic: ips("automaticAssignments"),
            tags: read_tags(array(field("tags")).unwrap_or_default()),
            capabilities: array(field("capabilities"))
                .unwrap_or_default()
                .iter()
                .map(|v| int32(Some(v)))
                .collect(),
            remote_trace_target: read_trace_target(field("remoteTraceTarget")),
            remote_trace_level: int(field("remoteTraceLevel"), 0),
            authentication_expiry: signed(field("authenticationExpiryTime"), 0),
            identity: optional_string(field("identity")).filter(|text| !text.is_empty()),
            version: Version {
                major: signed(field("vMajor"), -1),
                minor: signed(field("vMinor"), -1),
                revision: signed(field("vRev"), -1),
                protocol: signed(field("vProto"), -1),
            },
            creation_time: signed(field("creationTime"), now),
            last_authorized: signed(field("lastAuthorizedTime"), 0),
            last_deauthorized: signed(field("lastDeauthorizedTime"), 0),
            credential_type: optional_string(field("lastAuthorizedCredentialType")),
            credential: optional_string(field("lastAuthorizedCredential")),
            sso_exempt: boolean(field("ssoExempt"), false),
            acknowledges: boolean(field("acknowledges"), false),
            revision: int(field("revision"), 0),
            extra: coerce::unknown(record, &KNOWN, &DROPPED),
        }
    }

    /// Applies the writable fields that `body` contains. Unknown fields are ignored.
    ///
    /// # Errors
    /// A text about the field when an element of `ipAssignments` is no string; nothing has been applied then.
    pub fn apply(&mut self, body: &Map<String, Value>, now: i64) -> Result<(), String> {
        let field = |key: &str| body.get(key);
        let has = |key: &str| body.contains_key(key);
        let assignments = match array(field("ipAssignments")) {
            Some(list) => Some(read_assignments(list)?),
            None => None,
        };
        // Many tools post the whole record back. A list that somebody changed is meant as it stands.
        if let Some(list) = assignments
            && list != self.ip_assignments
        {
            self.ip_assignments = list;
            self.automatic.clear();
        }
        if has("name") {
            self.name = Some(string(field("name"), ""));
        }
        if has("activeBridge") {
            self.active_bridge = boolean(field("activeBridge"), false);
        }
        if has("noAutoAssignIps") {
            self.no_auto_assign_ips = boolean(field("noAutoAssignIps"), false);
        }
        if let Some(list) = array(field("tags")) {
            self.tags = read_tags(list);
        }
        if let Some(list) = array(field("capabilities")) {
            self.capabilities = list.iter().map(|v| int32(Some(v))).collect();
        }
        if has("remoteTraceTarget") {
            self.remote_trace_target = read_trace_target(field("remoteTraceTarget"));
        }
        if has("remoteTraceLevel") {
            self.remote_trace_level = int(field("remoteTraceLevel"), 0);
        }
        if has("authenticationExpiryTime") {
            self.authentication_expiry = signed(field("authenticationExpiryTime"), 0);
        }
        if has("ssoExempt") {
            self.sso_exempt = boolean(field("ssoExempt"), false);
        }
        if has("authorized") {
            match (self.authorized, boolean(field("authorized"), false)) {
                (false, true) => self.authorize(now, Authorizer::Api, None),
                (true, false) => {
                    self.authorized = false;
                    self.last_deauthorized = now;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes it a member in full.
    pub(crate) fn authorize(&mut self, now: i64, by: Authorizer, credential: Option<String>) {
        self.authorized = true;
        self.last_authorized = now;
        self.credential_type = Some(by.name().to_owned());
        self.credential = credential;
    }

    /// Whether nobody but a public network let it in.
    pub(crate) fn came_by_itself(&self) -> bool {
        self.authorized && self.credential_type.as_deref() == Some(Authorizer::Public.name())
    }

    /// The ID of the join token that let it in, if one did and nothing else since.
    pub(crate) fn join_token(&self) -> Option<&str> {
        let by_token = self.credential_type.as_deref() == Some(Authorizer::Token.name());
        self.credential.as_deref().filter(|_| by_token)
    }

    /// Whether all that is known about it came from its own requests and it was never let in: such a record may be
    /// forgotten when there are too many of them.
    pub(crate) fn is_stranger(&self) -> bool {
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

    /// The record as the API shows it and the store keeps it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut record = self.extra.clone();
        let mut set = |key: &str, value: Value| {
            record.insert(key.to_owned(), value);
        };
        set("id", json!(self.address.to_string()));
        set("address", json!(self.address.to_string()));
        set("nwid", json!(self.network.to_string()));
        set("objtype", json!("member"));
        if let Some(name) = &self.name {
            set("name", json!(name));
        }
        set("authorized", json!(self.authorized));
        set("activeBridge", json!(self.active_bridge));
        set("noAutoAssignIps", json!(self.no_auto_assign_ips));
        set("ipAssignments", self.ip_assignments.iter().map(|ip| json!(ip.to_string())).collect());
        if !self.automatic.is_empty() {
            set("automaticAssignments", self.automatic.iter().map(|ip| json!(ip.to_string())).collect());
        }
        set("tags", self.tags.iter().map(|(id, value)| json!([id, value])).collect());
        set("capabilities", self.capabilities.iter().map(|id| json!(id)).collect());
        set("remoteTraceTarget", json!(self.remote_trace_target));
        set("remoteTraceLevel", json!(self.remote_trace_level));
        set("authenticationExpiryTime", json!(self.authentication_expiry));
        if let Some(identity) = &self.identity {
            set("identity", json!(identity));
        }
        set("vMajor", json!(self.version.major));
        set("vMinor", json!(self.version.minor));
        set("vRev", json!(self.version.revision));
        set("vProto", json!(self.version.protocol));
        set("creationTime", json!(self.creation_time));
        set("lastAuthorizedTime", json!(self.last_authorized));
        set("lastDeauthorizedTime", json!(self.last_deauthorized));
        set("lastAuthorizedCredentialType", json!(self.credential_type));
        set("lastAuthorizedCredential", json!(self.credential));
        set("ssoExempt", json!(self.sso_exempt));
        if self.acknowledges {
            set("acknowledges", json!(true));
        }
        set("revision", json!(self.revision));
        Value::Object(record)
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
        if let Some(ip) = coerce::ip(text).filter(|ip| seen.insert(*ip)) {
            kept.push(ip);
        }
    }
    Ok(kept)
}

/// Pairs `[id, value]`; anything else is ignored and the last duplicate wins.
fn read_tags(list: &[Value]) -> BTreeMap<u32, u32> {
    list.iter()
        .filter_map(|entry| match entry.as_array()?.as_slice() {
            [id, value] => Some((int32(Some(id)), int32(Some(value)))),
            _ => None,
        })
        .collect()
}
