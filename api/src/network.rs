//! A network of the controller: its record, which is what the API shows and the store keeps, and what a request may change.
//!
//! Specification: VL2 controller, network object.

use std::collections::BTreeMap;
use std::net::IpAddr;

use protocol::inet::Prefix;
use protocol::{NetworkId, Span, Time};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::lenient::{self, MAX_ARRAY};
use crate::rule_list::{self, RuleList};
use crate::text;

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
/// Receivers of one multicast frame when the network does not say.
const DEFAULT_MULTICAST_LIMIT: u64 = 32;

/// Keys of older or richer controllers that are never stored.
const DROPPED: [&str; 6] =
    ["clock", "authorizedMemberCount", "activeMemberCount", "totalMemberCount", "lastModified", "meta"];

/// Which IPv4 addresses members get by themselves.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct V4AssignMode {
    /// From the pools.
    pub zt: bool,
}

/// Which IPv6 addresses members get by themselves. A switch that was never given stays absent and means off.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct V6AssignMode {
    /// From the pools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zt: Option<bool>,
    /// The /88 derived from network and member (RFC 4193 space).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rfc4193: Option<bool>,
    /// The /40 address whose /80 belongs to the member.
    #[serde(rename = "6plane", skip_serializing_if = "Option::is_none")]
    pub six_plane: Option<bool>,
}

/// Both assignment modes as they may be written.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Switches {
    #[serde(deserialize_with = "lenient::some_flag")]
    zt: Option<bool>,
    #[serde(deserialize_with = "lenient::some_flag")]
    rfc4193: Option<bool>,
    #[serde(rename = "6plane", deserialize_with = "lenient::some_flag")]
    six_plane: Option<bool>,
}

impl V6AssignMode {
    const OFF: Self = Self { zt: Some(false), rfc4193: Some(false), six_plane: Some(false) };
}

impl<'de> Deserialize<'de> for V4AssignMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let zt = match &value {
            Value::Object(_) => Switches::deserialize(&value).unwrap_or_default().zt == Some(true),
            Value::String(word) => word == "zt",
            _ => false,
        };
        Ok(Self { zt })
    }
}

impl<'de> Deserialize<'de> for V6AssignMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Ok(match &value {
            Value::Object(_) => {
                let Switches { zt, rfc4193, six_plane } = Switches::deserialize(&value).unwrap_or_default();
                Self { zt, rfc4193, six_plane }
            }
            Value::String(list) => {
                let switch = |name: &str| Some(list.split(',').any(|word| word.trim() == name));
                Self { zt: switch("zt"), rfc4193: switch("rfc4193"), six_plane: switch("6plane") }
            }
            _ => Self::OFF,
        })
    }
}

/// One route that members install: on-link, or through a gateway of the same family.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Route {
    /// Where to; host bits are kept as given.
    #[serde(serialize_with = "text::serialize")]
    pub target: Prefix,
    /// Gateway, or none for an on-link route.
    pub via: Option<IpAddr>,
}

impl<'de> Deserialize<'de> for Route {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Written {
            target: String,
            #[serde(default, deserialize_with = "lenient::some_ip")]
            via: Option<IpAddr>,
        }
        let Written { target, via } = Written::deserialize(deserializer)?;
        let (ip, bits) = lenient::prefix(&target).ok_or_else(|| serde::de::Error::custom("no prefix"))?;
        Ok(Self { target: Prefix { ip, bits }, via: via.filter(|gateway| gateway.is_ipv4() == ip.is_ipv4()) })
    }
}

/// A range members get addresses from, both ends included and of one family.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Pool {
    /// First address.
    #[serde(rename = "ipRangeStart")]
    pub start: IpAddr,
    /// Last address.
    #[serde(rename = "ipRangeEnd")]
    pub end: IpAddr,
}

impl<'de> Deserialize<'de> for Pool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Written {
            #[serde(deserialize_with = "lenient::some_ip")]
            ip_range_start: Option<IpAddr>,
            #[serde(deserialize_with = "lenient::some_ip")]
            ip_range_end: Option<IpAddr>,
        }
        match Written::deserialize(deserializer)? {
            Written { ip_range_start: Some(start), ip_range_end: Some(end) }
                if start.is_ipv4() == end.is_ipv4() =>
            {
                Ok(Self { start, end })
            }
            _ => Err(serde::de::Error::custom("no range")),
        }
    }
}

/// A capability members may be given: a rule list of its own.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct CapabilityDefinition {
    /// Its number in the network.
    #[serde(deserialize_with = "lenient::id")]
    pub id: u32,
    /// Whether a member gets it at its first authorization.
    #[serde(deserialize_with = "lenient::flag::<false, _>")]
    pub default: bool,
    /// What it allows.
    pub rules: RuleList,
}

/// A tag members may carry.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct TagDefinition {
    /// Its number in the network.
    #[serde(deserialize_with = "lenient::id")]
    pub id: u32,
    /// Value of members that have none, if any.
    #[serde(deserialize_with = "lenient::some_id")]
    pub default: Option<u32>,
}

/// Ascending by ID; of several with one ID the last.
fn by_id<T>(list: Vec<T>, id: impl Fn(&T) -> u32) -> Vec<T> {
    list.into_iter().map(|entry| (id(&entry), entry)).collect::<BTreeMap<_, _>>().into_values().collect()
}

fn some_capabilities<'de, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<Vec<CapabilityDefinition>>, D::Error> {
    Ok(lenient::some_objects(field)?
        .map(|list| by_id(list, |capability: &CapabilityDefinition| capability.id)))
}

fn capabilities<'de, D: Deserializer<'de>>(field: D) -> Result<Vec<CapabilityDefinition>, D::Error> {
    Ok(some_capabilities(field)?.unwrap_or_default())
}

fn posted_capabilities<'de, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<Vec<CapabilityDefinition>>, D::Error> {
    let mut list = some_capabilities(field)?;
    for capability in list.iter_mut().flatten() {
        capability.rules = RuleList::from_input(capability.rules.json());
    }
    Ok(list)
}

fn some_tags<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Vec<TagDefinition>>, D::Error> {
    Ok(lenient::some_objects(field)?.map(|list| by_id(list, |tag: &TagDefinition| tag.id)))
}

fn tags<'de, D: Deserializer<'de>>(field: D) -> Result<Vec<TagDefinition>, D::Error> {
    Ok(some_tags(field)?.unwrap_or_default())
}

/// Name resolution offered to members. Values are copied unchecked from what the client sent.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Dns {
    /// Search domain.
    pub domain: Value,
    /// Server addresses.
    pub servers: Value,
}

/// No name resolution is an empty list.
fn write_dns<S: Serializer>(dns: &Option<Dns>, serializer: S) -> Result<S::Ok, S::Error> {
    match dns {
        Some(dns) => dns.serialize(serializer),
        None => serializer.collect_seq(std::iter::empty::<Value>()),
    }
}

fn dns<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Dns>, D::Error> {
    let value = Value::deserialize(field)?;
    Ok(value.is_object().then(|| Dns::deserialize(value).unwrap_or_default()))
}

fn auth_tokens<'de, D: Deserializer<'de>>(field: D) -> Result<BTreeMap<String, u64>, D::Error> {
    let tokens: Map<String, Value> = lenient::or_default(field)?;
    let good = |expiry: &Value| expiry.as_f64().is_some_and(|number| number >= 0.0);
    let read =
        |(token, expiry): (String, Value)| good(&expiry).then(|| (token, lenient::int(Some(&expiry), 0)));
    Ok(tokens.into_iter().take(MAX_ARRAY).filter_map(read).collect())
}

fn some_auth_tokens<'de, D: Deserializer<'de>>(field: D) -> Result<Option<BTreeMap<String, u64>>, D::Error> {
    auth_tokens(field).map(Some)
}

/// A network of a controller.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Network {
    /// Its ID.
    #[serde(serialize_with = "text::serialize", deserialize_with = "lenient::parsed")]
    pub id: NetworkId,
    /// Its ID.
    #[serde(serialize_with = "text::serialize", deserialize_with = "lenient::parsed")]
    pub nwid: NetworkId,
    /// Always `network`.
    #[serde(skip_deserializing)]
    pub objtype: &'static str,
    /// Free text.
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// Whether members need an authorization.
    #[serde(deserialize_with = "lenient::flag::<true, _>")]
    pub private: bool,
    /// Whether ff:ff:ff:ff:ff:ff is delivered.
    #[serde(deserialize_with = "lenient::flag::<true, _>")]
    pub enable_broadcast: bool,
    /// Receivers of one multicast frame.
    #[serde(deserialize_with = "lenient::number::<DEFAULT_MULTICAST_LIMIT, _>")]
    pub multicast_limit: u64,
    /// Bytes; clamped to [`MTU_RANGE`] when used.
    #[serde(deserialize_with = "lenient::number::<DEFAULT_MTU, _>")]
    pub mtu: u64,
    /// IPv4 addresses.
    pub v4_assign_mode: V4AssignMode,
    /// IPv6 addresses.
    pub v6_assign_mode: V6AssignMode,
    /// In the order members get them.
    #[serde(deserialize_with = "lenient::objects")]
    pub routes: Vec<Route>,
    /// In the order they are tried.
    #[serde(rename = "ipAssignmentPools", deserialize_with = "lenient::objects")]
    pub pools: Vec<Pool>,
    /// Base rules.
    #[serde(deserialize_with = "rule_list::stored")]
    pub rules: RuleList,
    /// Ascending by ID.
    #[serde(deserialize_with = "capabilities")]
    pub capabilities: Vec<CapabilityDefinition>,
    /// Ascending by ID.
    #[serde(deserialize_with = "tags")]
    pub tags: Vec<TagDefinition>,
    /// Join tokens and when each expires, ms since the epoch (0 = never).
    #[serde(deserialize_with = "auth_tokens")]
    pub auth_tokens: BTreeMap<String, u64>,
    /// Absent until set.
    #[serde(serialize_with = "write_dns", deserialize_with = "dns")]
    pub dns: Option<Dns>,
    /// Ten hex digits.
    #[serde(deserialize_with = "lenient::trace_target")]
    pub remote_trace_target: Option<String>,
    /// How much is traced.
    #[serde(deserialize_with = "lenient::number::<0, _>")]
    pub remote_trace_level: u64,
    /// ms since the epoch.
    #[serde(deserialize_with = "lenient::time::<0, _>")]
    pub creation_time: i64,
    /// Saves so far.
    #[serde(deserialize_with = "lenient::number::<0, _>")]
    pub revision: u64,
    /// Source text of the rules. Where the rules in force came from, unless a client posted its own lists beside or after
    /// it: then it is text for editors.
    #[serde(deserialize_with = "lenient::text")]
    pub rules_source: String,
    /// Whether members must authenticate elsewhere first.
    #[serde(deserialize_with = "lenient::flag::<false, _>")]
    pub sso_enabled: bool,
    /// OIDC client, for clients of the API.
    #[serde(deserialize_with = "lenient::text")]
    pub client_id: String,
    /// URL a member's user must open to authenticate.
    #[serde(deserialize_with = "lenient::text")]
    pub authorization_endpoint: String,
    /// Certificate window, ms, if not [`DEFAULT_WINDOW`]; clamped to [`WINDOW_RANGE`] when used.
    #[serde(
        rename = "certificateTimeoutWindowSize",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::some_number::<DEFAULT_WINDOW, _>"
    )]
    pub certificate_window: Option<u64>,
    /// How many members that a public network let in by itself get addresses from the pools, if not
    /// [`DEFAULT_AUTO_ASSIGN_LIMIT`].
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::some_number::<DEFAULT_AUTO_ASSIGN_LIMIT, _>"
    )]
    pub auto_assign_limit: Option<u64>,
    /// Fields of a stored record that mean nothing here.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            id: NetworkId::default(),
            nwid: NetworkId::default(),
            objtype: "network",
            name: String::new(),
            private: true,
            enable_broadcast: true,
            multicast_limit: DEFAULT_MULTICAST_LIMIT,
            mtu: DEFAULT_MTU,
            v4_assign_mode: V4AssignMode::default(),
            v6_assign_mode: V6AssignMode::OFF,
            routes: Vec::new(),
            pools: Vec::new(),
            rules: RuleList::accept_all(),
            capabilities: Vec::new(),
            tags: Vec::new(),
            auth_tokens: BTreeMap::new(),
            dns: None,
            remote_trace_target: None,
            remote_trace_level: 0,
            creation_time: 0,
            revision: 0,
            rules_source: String::new(),
            sso_enabled: false,
            client_id: String::new(),
            authorization_endpoint: String::new(),
            certificate_window: None,
            auto_assign_limit: None,
            extra: Map::new(),
        }
    }
}

/// What a request may say about a network.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the fields of Network, each if it is there")]
pub struct NetworkPatch {
    #[serde(deserialize_with = "lenient::some_text")]
    pub name: Option<String>,
    #[serde(deserialize_with = "lenient::some_flag")]
    pub private: Option<bool>,
    #[serde(deserialize_with = "lenient::some_flag")]
    pub enable_broadcast: Option<bool>,
    #[serde(deserialize_with = "lenient::some_number::<DEFAULT_MULTICAST_LIMIT, _>")]
    pub multicast_limit: Option<u64>,
    /// As it was asked for.
    #[serde(deserialize_with = "lenient::some_number::<DEFAULT_MTU, _>")]
    pub mtu: Option<u64>,
    #[serde(deserialize_with = "given")]
    pub v4_assign_mode: Option<V4AssignMode>,
    #[serde(deserialize_with = "given")]
    pub v6_assign_mode: Option<V6AssignMode>,
    #[serde(deserialize_with = "lenient::some_objects")]
    pub routes: Option<Vec<Route>>,
    #[serde(rename = "ipAssignmentPools", deserialize_with = "lenient::some_objects")]
    pub pools: Option<Vec<Pool>>,
    #[serde(deserialize_with = "rule_list::posted")]
    pub rules: Option<RuleList>,
    #[serde(deserialize_with = "posted_capabilities")]
    pub capabilities: Option<Vec<CapabilityDefinition>>,
    #[serde(deserialize_with = "some_tags")]
    pub tags: Option<Vec<TagDefinition>>,
    #[serde(deserialize_with = "some_auth_tokens")]
    pub auth_tokens: Option<BTreeMap<String, u64>>,
    #[serde(deserialize_with = "dns")]
    pub dns: Option<Dns>,
    #[serde(deserialize_with = "lenient::some_trace_target")]
    pub remote_trace_target: Option<Option<String>>,
    #[serde(deserialize_with = "lenient::some_number::<0, _>")]
    pub remote_trace_level: Option<u64>,
    #[serde(deserialize_with = "lenient::some_text")]
    pub rules_source: Option<String>,
    #[serde(deserialize_with = "lenient::some_flag")]
    pub sso_enabled: Option<bool>,
    #[serde(deserialize_with = "lenient::some_text")]
    pub client_id: Option<String>,
    #[serde(deserialize_with = "lenient::some_text")]
    pub authorization_endpoint: Option<String>,
    #[serde(
        rename = "certificateTimeoutWindowSize",
        deserialize_with = "lenient::some_number_or_null::<DEFAULT_WINDOW, _>"
    )]
    pub certificate_window: Option<Option<u64>>,
    #[serde(deserialize_with = "lenient::some_number::<DEFAULT_AUTO_ASSIGN_LIMIT, _>")]
    pub auto_assign_limit: Option<u64>,
}

/// A field that is there.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(field: D) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

impl Network {
    /// A network with all defaults, revision 0 (the first save makes it 1).
    #[must_use]
    pub fn new(id: NetworkId, now: Time) -> Self {
        Self { id, nwid: id, creation_time: now.as_ms(), ..Self::default() }
    }

    /// The network as a record that was read, under the ID by which it is kept.
    #[must_use]
    pub fn kept_as(mut self, id: NetworkId) -> Self {
        (self.id, self.nwid) = (id, id);
        self.extra.retain(|key, _| !DROPPED.contains(&key.as_str()));
        self
    }

    /// Takes over what a request says. `rulesSource` is only kept: compiling it is up to the caller.
    pub fn apply(&mut self, patch: NetworkPatch) {
        fn set<T>(field: &mut T, given: Option<T>) {
            if let Some(value) = given {
                *field = value;
            }
        }
        set(&mut self.name, patch.name);
        set(&mut self.private, patch.private);
        set(&mut self.enable_broadcast, patch.enable_broadcast);
        set(&mut self.multicast_limit, patch.multicast_limit);
        set(&mut self.mtu, patch.mtu.map(|mtu| mtu.clamp(*MTU_RANGE.start(), *MTU_RANGE.end())));
        set(&mut self.v4_assign_mode, patch.v4_assign_mode);
        set(&mut self.v6_assign_mode, patch.v6_assign_mode);
        set(&mut self.routes, patch.routes);
        set(&mut self.pools, patch.pools);
        set(&mut self.rules, patch.rules);
        set(&mut self.capabilities, patch.capabilities);
        set(&mut self.tags, patch.tags);
        set(&mut self.auth_tokens, patch.auth_tokens);
        set(&mut self.dns, patch.dns.map(Some));
        set(&mut self.remote_trace_target, patch.remote_trace_target);
        set(&mut self.remote_trace_level, patch.remote_trace_level);
        set(&mut self.rules_source, patch.rules_source);
        set(&mut self.sso_enabled, patch.sso_enabled);
        set(&mut self.client_id, patch.client_id);
        set(&mut self.authorization_endpoint, patch.authorization_endpoint);
        set(&mut self.certificate_window, patch.certificate_window);
        set(&mut self.auto_assign_limit, patch.auto_assign_limit.map(Some));
    }

    /// How far apart certificates may be issued: the `ctmd` of configurations and certificates.
    #[must_use]
    pub fn window(&self) -> Span {
        let window = self.certificate_window.unwrap_or(DEFAULT_WINDOW);
        Span::ms(window.clamp(*WINDOW_RANGE.start(), *WINDOW_RANGE.end()).cast_signed())
    }

    /// Whether a join token is good at `now`.
    #[must_use]
    pub fn accepts_token(&self, token: &str, now: Time) -> bool {
        !token.is_empty()
            && self
                .auth_tokens
                .get(token)
                .is_some_and(|&expiry| expiry == 0 || i128::from(expiry) > i128::from(now.as_ms()))
    }
}
