//! The record of a network: its fields, defaults, and how the API reads and shows them.
//!
//! Specification: VL2 controller, network object.

use std::collections::BTreeMap;
use std::net::IpAddr;

use protocol::NetworkId;
use protocol::inet::Prefix;
use serde_json::{Map, Value, json};

use crate::coerce::{self, array, boolean, int, int32, optional_string, signed, string};
use crate::rule_list::RuleList;

/// Smallest and largest MTU of a virtual network, bytes.
pub const MTU_RANGE: std::ops::RangeInclusive<u64> = 1280..=10000;
/// MTU of a network that does not say otherwise, bytes.
pub const DEFAULT_MTU: u64 = 2800;
/// How far apart two members' certificates may be issued, ms, when the network does not say.
pub const DEFAULT_WINDOW: u64 = 1_800_000;
/// How many members of a public network get addresses from the pools when it does not say.
pub const DEFAULT_AUTO_ASSIGN_LIMIT: u64 = 16_384;
/// Limits of that window, ms.
pub const WINDOW_RANGE: std::ops::RangeInclusive<u64> = 300_000..=7_200_000;

/// Keys of older or richer controllers that are never stored.
const DROPPED: [&str; 5] =
    ["clock", "authorizedMemberCount", "activeMemberCount", "totalMemberCount", "lastModified"];

/// Keys rendered from the typed fields.
const KNOWN: [&str; 29] = [
    "id",
    "nwid",
    "objtype",
    "name",
    "private",
    "enableBroadcast",
    "multicastLimit",
    "mtu",
    "v4AssignMode",
    "v6AssignMode",
    "routes",
    "ipAssignmentPools",
    "rules",
    "capabilities",
    "tags",
    "authTokens",
    "dns",
    "remoteTraceTarget",
    "remoteTraceLevel",
    "creationTime",
    "revision",
    "rulesSource",
    "ssoEnabled",
    "clientId",
    "authorizationEndpoint",
    "certificateTimeoutWindowSize",
    "autoAssignLimit",
    "meta",
    crate::time::MARK,
];

/// Which IPv6 addresses members get by themselves. A switch that was never given stays absent and means off.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct V6AssignMode {
    /// From the pools.
    pub zt: Option<bool>,
    /// The /88 derived from network and member (RFC 4193 space).
    pub rfc4193: Option<bool>,
    /// The /40 address whose /80 belongs to the member.
    pub six_plane: Option<bool>,
}

impl V6AssignMode {
    const OFF: Self = Self { zt: Some(false), rfc4193: Some(false), six_plane: Some(false) };

    fn read(value: Option<&Value>) -> Self {
        match value {
            Some(Value::Object(object)) => {
                let switch = |key: &str| object.get(key).map(|v| boolean(Some(v), false));
                Self { zt: switch("zt"), rfc4193: switch("rfc4193"), six_plane: switch("6plane") }
            }
            Some(Value::String(list)) => {
                let switch = |name: &str| Some(list.split(',').any(|word| word.trim() == name));
                Self { zt: switch("zt"), rfc4193: switch("rfc4193"), six_plane: switch("6plane") }
            }
            _ => Self::OFF,
        }
    }

    fn to_json(self) -> Value {
        let pairs = [("zt", self.zt), ("rfc4193", self.rfc4193), ("6plane", self.six_plane)];
        pairs
            .into_iter()
            .filter_map(|(key, on)| Some((key.to_owned(), Value::Bool(on?))))
            .collect::<Map<_, _>>()
            .into()
    }
}

/// One route that members install: on-link, or through a gateway of the same family.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Route {
    /// Where to; host bits are kept as given.
    pub target: Prefix,
    /// Gateway, or none for an on-link route.
    pub via: Option<IpAddr>,
}

impl Route {
    fn read(value: &Value) -> Option<Self> {
        let (ip, bits) = coerce::prefix(value.get("target")?.as_str()?)?;
        let via = value.get("via").and_then(Value::as_str).and_then(coerce::ip);
        Some(Self {
            target: Prefix { ip, bits },
            via: via.filter(|gateway| gateway.is_ipv4() == ip.is_ipv4()),
        })
    }

    fn to_json(self) -> Value {
        json!({
            "target": format!("{}/{}", self.target.ip, self.target.bits),
            "via": self.via.map(|ip| ip.to_string()),
        })
    }
}

/// A range members get addresses from, both ends included and of one family.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pool {
    /// First address.
    pub start: IpAddr,
    /// Last address.
    pub end: IpAddr,
}

impl Pool {
    fn read(value: &Value) -> Option<Self> {
        let ip = |key: &str| coerce::ip(value.get(key)?.as_str()?);
        let (start, end) = (ip("ipRangeStart")?, ip("ipRangeEnd")?);
        (start.is_ipv4() == end.is_ipv4()).then_some(Self { start, end })
    }

    fn to_json(self) -> Value {
        json!({"ipRangeStart": self.start.to_string(), "ipRangeEnd": self.end.to_string()})
    }
}

/// A capability members may be given: a rule list of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct CapabilityDefinition {
    /// Its number in the network.
    pub id: u32,
    /// Whether a member gets it at its first authorization.
    pub default: bool,
    /// What it allows.
    pub rules: RuleList,
}

/// A tag members may carry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TagDefinition {
    /// Its number in the network.
    pub id: u32,
    /// Value of members that have none, if any.
    pub default: Option<u32>,
}

/// Name resolution offered to members. Values are copied unchecked from what the client sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Dns {
    /// Search domain.
    pub domain: Value,
    /// Server addresses.
    pub servers: Value,
}

/// A network of this controller.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Its ID.
    pub id: NetworkId,
    /// Free text.
    pub name: String,
    /// Whether members need an authorization.
    pub private: bool,
    /// Whether ff:ff:ff:ff:ff:ff is delivered.
    pub enable_broadcast: bool,
    /// Receivers of one multicast frame.
    pub multicast_limit: u64,
    /// Bytes; clamped to [`MTU_RANGE`] when used.
    pub mtu: u64,
    /// IPv4 addresses from the pools.
    pub v4_zt: bool,
    /// IPv6 addresses.
    pub v6: V6AssignMode,
    /// In the order members get them.
    pub routes: Vec<Route>,
    /// In the order they are tried.
    pub pools: Vec<Pool>,
    /// Base rules.
    pub rules: RuleList,
    /// Ascending by ID.
    pub capabilities: Vec<CapabilityDefinition>,
    /// Ascending by ID.
    pub tags: Vec<TagDefinition>,
    /// Join tokens and when each expires, ms since the epoch (0 = never).
    pub auth_tokens: BTreeMap<String, u64>,
    /// Absent until set.
    pub dns: Option<Dns>,
    /// Ten hex digits.
    pub remote_trace_target: Option<String>,
    /// How much is traced.
    pub remote_trace_level: u64,
    /// ms since the epoch.
    pub creation_time: i64,
    /// Saves so far.
    pub revision: u64,
    /// Source text of the rules. Where the rules in force came from, unless a client posted its own lists beside or after
    /// it: then it is text for editors.
    pub rules_source: String,
    /// Whether members must authenticate elsewhere first.
    pub sso_enabled: bool,
    /// OIDC client, for clients of the API.
    pub client_id: String,
    /// URL a member's user must open to authenticate.
    pub authorization_endpoint: String,
    /// Certificate window, ms, if not [`DEFAULT_WINDOW`]; clamped to [`WINDOW_RANGE`] when used.
    pub certificate_window: Option<u64>,
    /// How many members that a public network let in by itself get addresses from the pools, if not
    /// [`DEFAULT_AUTO_ASSIGN_LIMIT`].
    pub auto_assign_limit: Option<u64>,
    /// Fields of a stored record that mean nothing here.
    extra: Map<String, Value>,
}

impl Network {
    /// A network with all defaults, revision 0 (the first save makes it 1).
    #[must_use]
    pub fn new(id: NetworkId, now: i64) -> Self {
        Self::from_stored(id, &Map::new(), now)
    }

    /// A network as stored: nothing is refused, missing fields get their defaults.
    #[must_use]
    pub fn from_stored(id: NetworkId, record: &Map<String, Value>, now: i64) -> Self {
        let field = |key: &str| record.get(key);
        let mut network = Self {
            id,
            name: string(field("name"), ""),
            private: boolean(field("private"), true),
            enable_broadcast: boolean(field("enableBroadcast"), true),
            multicast_limit: int(field("multicastLimit"), 32),
            mtu: int(field("mtu"), DEFAULT_MTU),
            v4_zt: read_v4(field("v4AssignMode")),
            v6: V6AssignMode::read(field("v6AssignMode")),
            routes: Vec::new(),
            pools: Vec::new(),
            rules: match coerce::array(field("rules")) {
                Some(list) => RuleList::from_stored(list),
                None => RuleList::accept_all(),
            },
            capabilities: Vec::new(),
            tags: Vec::new(),
            auth_tokens: read_tokens(field("authTokens")),
            dns: read_dns(field("dns")),
            remote_trace_target: read_trace_target(field("remoteTraceTarget")),
            remote_trace_level: int(field("remoteTraceLevel"), 0),
            creation_time: signed(field("creationTime"), now),
            revision: int(field("revision"), 0),
            rules_source: string(field("rulesSource"), ""),
            sso_enabled: boolean(field("ssoEnabled"), false),
            client_id: string(field("clientId"), ""),
            authorization_endpoint: string(field("authorizationEndpoint"), ""),
            certificate_window: field("certificateTimeoutWindowSize").map(|v| int(Some(v), DEFAULT_WINDOW)),
            auto_assign_limit: field("autoAssignLimit").map(|v| int(Some(v), DEFAULT_AUTO_ASSIGN_LIMIT)),
            extra: coerce::unknown(record, &KNOWN, &DROPPED),
        };
        network.read_lists(record, RuleList::from_stored_field);
        network
    }

    /// Applies the writable fields that `body` contains. Unknown fields are ignored, and `rulesSource` is only kept:
    /// compiling it is up to the caller.
    pub fn apply(&mut self, body: &Map<String, Value>) {
        let field = |key: &str| body.get(key);
        let has = |key: &str| body.contains_key(key);
        if has("name") {
            self.name = string(field("name"), "");
        }
        if has("private") {
            self.private = boolean(field("private"), true);
        }
        if has("enableBroadcast") {
            self.enable_broadcast = boolean(field("enableBroadcast"), false);
        }
        if has("multicastLimit") {
            self.multicast_limit = int(field("multicastLimit"), 32);
        }
        if has("mtu") {
            self.mtu = int(field("mtu"), DEFAULT_MTU).clamp(*MTU_RANGE.start(), *MTU_RANGE.end());
        }
        if has("v4AssignMode") {
            self.v4_zt = read_v4(field("v4AssignMode"));
        }
        if has("v6AssignMode") {
            self.v6 = V6AssignMode::read(field("v6AssignMode"));
        }
        if let Some(list) = array(field("rules")) {
            self.rules = RuleList::from_input(list);
        }
        self.read_lists(body, |value| RuleList::from_input(coerce::array(value).unwrap_or_default()));
        if has("authTokens") {
            self.auth_tokens = read_tokens(field("authTokens"));
        }
        if let Some(dns) = read_dns(field("dns")) {
            self.dns = Some(dns);
        }
        if has("remoteTraceTarget") {
            self.remote_trace_target = read_trace_target(field("remoteTraceTarget"));
        }
        if has("remoteTraceLevel") {
            self.remote_trace_level = int(field("remoteTraceLevel"), 0);
        }
        if has("rulesSource") {
            self.rules_source = string(field("rulesSource"), "");
        }
        if has("ssoEnabled") {
            self.sso_enabled = boolean(field("ssoEnabled"), false);
        }
        if has("clientId") {
            self.client_id = string(field("clientId"), "");
        }
        if has("authorizationEndpoint") {
            self.authorization_endpoint = string(field("authorizationEndpoint"), "");
        }
        if has("autoAssignLimit") {
            self.auto_assign_limit = Some(int(field("autoAssignLimit"), DEFAULT_AUTO_ASSIGN_LIMIT));
        }
        match field("certificateTimeoutWindowSize") {
            None => {}
            Some(Value::Null) => self.certificate_window = None,
            Some(value) => self.certificate_window = Some(int(Some(value), DEFAULT_WINDOW)),
        }
    }

    /// The list fields, whose reading differs between stored records and input only in their rules.
    fn read_lists(&mut self, from: &Map<String, Value>, rules: impl Fn(Option<&Value>) -> RuleList) {
        if let Some(list) = array(from.get("routes")) {
            self.routes = list.iter().filter_map(Route::read).collect();
        }
        if let Some(list) = array(from.get("ipAssignmentPools")) {
            self.pools = list.iter().filter_map(Pool::read).collect();
        }
        if let Some(list) = array(from.get("capabilities")) {
            // Last duplicate wins, ascending by ID: what a map does.
            let by_id: BTreeMap<u32, CapabilityDefinition> = list
                .iter()
                .filter(|entry| entry.is_object())
                .map(|entry| {
                    let id = int32(entry.get("id"));
                    let default = boolean(entry.get("default"), false);
                    (id, CapabilityDefinition { id, default, rules: rules(entry.get("rules")) })
                })
                .collect();
            self.capabilities = by_id.into_values().collect();
        }
        if let Some(list) = array(from.get("tags")) {
            let by_id: BTreeMap<u32, TagDefinition> = list
                .iter()
                .filter(|entry| entry.is_object())
                .map(|entry| {
                    let id = int32(entry.get("id"));
                    let default = entry.get("default").filter(|v| !v.is_null()).map(|v| int32(Some(v)));
                    (id, TagDefinition { id, default })
                })
                .collect();
            self.tags = by_id.into_values().collect();
        }
    }

    /// The record as the API shows it and the store keeps it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut record = self.extra.clone();
        let mut set = |key: &str, value: Value| {
            record.insert(key.to_owned(), value);
        };
        set("id", json!(self.id.to_string()));
        set("nwid", json!(self.id.to_string()));
        set("objtype", json!("network"));
        set("name", json!(self.name));
        set("private", json!(self.private));
        set("enableBroadcast", json!(self.enable_broadcast));
        set("multicastLimit", json!(self.multicast_limit));
        set("mtu", json!(self.mtu));
        set("v4AssignMode", json!({"zt": self.v4_zt}));
        set("v6AssignMode", self.v6.to_json());
        set("routes", self.routes.iter().map(|route| route.to_json()).collect());
        set("ipAssignmentPools", self.pools.iter().map(|pool| pool.to_json()).collect());
        set("rules", self.rules.to_json());
        set(
            "capabilities",
            self.capabilities
                .iter()
                .map(|c| json!({"id": c.id, "default": c.default, "rules": c.rules.to_json()}))
                .collect(),
        );
        set("tags", self.tags.iter().map(|t| json!({"id": t.id, "default": t.default})).collect());
        set("authTokens", json!(self.auth_tokens));
        set(
            "dns",
            self.dns
                .as_ref()
                .map_or_else(|| json!([]), |d| json!({"domain": d.domain, "servers": d.servers})),
        );
        set("remoteTraceTarget", json!(self.remote_trace_target));
        set("remoteTraceLevel", json!(self.remote_trace_level));
        set("creationTime", json!(self.creation_time));
        set("revision", json!(self.revision));
        set("rulesSource", json!(self.rules_source));
        set("ssoEnabled", json!(self.sso_enabled));
        set("clientId", json!(self.client_id));
        set("authorizationEndpoint", json!(self.authorization_endpoint));
        if let Some(window) = self.certificate_window {
            set("certificateTimeoutWindowSize", json!(window));
        }
        if let Some(limit) = self.auto_assign_limit {
            set("autoAssignLimit", json!(limit));
        }
        Value::Object(record)
    }

    /// How far apart certificates may be issued, ms: the `ctmd` of configurations and certificates.
    #[must_use]
    pub fn window(&self) -> u64 {
        self.certificate_window.unwrap_or(DEFAULT_WINDOW).clamp(*WINDOW_RANGE.start(), *WINDOW_RANGE.end())
    }

    /// Whether a join token is good at `now`.
    #[must_use]
    pub fn accepts_token(&self, token: &str, now: i64) -> bool {
        !token.is_empty()
            && self
                .auth_tokens
                .get(token)
                .is_some_and(|&expiry| expiry == 0 || i128::from(expiry) > i128::from(now))
    }
}

fn read_v4(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Object(object)) => boolean(object.get("zt"), false),
        Some(Value::String(word)) => word == "zt",
        _ => false,
    }
}

fn read_tokens(value: Option<&Value>) -> BTreeMap<String, u64> {
    let Some(object) = value.and_then(Value::as_object) else { return BTreeMap::new() };
    object
        .iter()
        .take(coerce::MAX_ARRAY)
        .filter(|(_, expiry)| expiry.as_f64().is_some_and(|number| number >= 0.0))
        .map(|(token, expiry)| (token.clone(), int(Some(expiry), 0)))
        .collect()
}

fn read_dns(value: Option<&Value>) -> Option<Dns> {
    let object = value?.as_object()?;
    let copy = |key: &str| object.get(key).cloned().unwrap_or(Value::Null);
    Some(Dns { domain: copy("domain"), servers: copy("servers") })
}

/// A trace target is exactly ten characters long; anything else is none.
pub(crate) fn read_trace_target(value: Option<&Value>) -> Option<String> {
    optional_string(value).filter(|target| target.len() == 10)
}
