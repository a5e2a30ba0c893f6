//! Other nodes that a node knows, and its roots.

use serde::{Deserialize, Serialize};

use crate::lenient;

/// One element of `GET /peer`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Peer {
    /// Its address.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub address: String,
    /// Its version; -1 for unknown.
    #[serde(deserialize_with = "lenient::or_default")]
    pub version_major: Option<i64>,
    /// Second number.
    #[serde(deserialize_with = "lenient::or_default")]
    pub version_minor: i64,
    /// Third number.
    #[serde(deserialize_with = "lenient::or_default")]
    pub version_rev: i64,
    /// All three.
    #[serde(deserialize_with = "lenient::or_default")]
    pub version: String,
    /// ms; -1 for unknown.
    #[serde(deserialize_with = "lenient::or_default")]
    pub latency: i64,
    /// `LEAF`, `MOON` or `PLANET`.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub role: String,
    /// Whether there is a bond.
    #[serde(deserialize_with = "lenient::or_default")]
    pub is_bonded: bool,
    /// Whether a TCP relay carries the traffic.
    #[serde(deserialize_with = "lenient::or_default")]
    pub tunneled: bool,
    /// The paths to it.
    #[serde(deserialize_with = "lenient::or_default")]
    pub paths: Vec<Path>,
    /// What else a bonded peer has.
    #[serde(flatten)]
    pub bond: Bond,
}

/// A path to a peer.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Path {
    /// Where it leads.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub address: String,
    /// ms since the epoch; 0 = never.
    #[serde(deserialize_with = "lenient::or_default")]
    pub last_send: i64,
    /// ms since the epoch; 0 = never.
    #[serde(deserialize_with = "lenient::or_default")]
    pub last_receive: i64,
    /// 0 = none.
    #[serde(deserialize_with = "lenient::or_default")]
    pub trusted_path_id: u64,
    /// Whether it is in use.
    #[serde(deserialize_with = "lenient::or_default")]
    pub active: bool,
    /// Whether it is not.
    #[serde(deserialize_with = "lenient::or_default")]
    pub expired: bool,
    /// Whether packets take it.
    #[serde(deserialize_with = "lenient::or_default")]
    pub preferred: bool,
    /// An opaque handle.
    #[serde(deserialize_with = "lenient::or_default")]
    pub local_socket: i64,
    /// Always 0 here.
    #[serde(deserialize_with = "lenient::or_default")]
    pub local_port: i64,
    /// UDP payload of its datagrams, octets.
    #[serde(deserialize_with = "lenient::or_default")]
    pub mtu: Option<i64>,
    /// Where that is from: `default`, `configured` or `measured`.
    #[serde(deserialize_with = "lenient::or_default")]
    pub mtu_source: String,
    /// What else a link of a bond has.
    #[serde(flatten)]
    pub link: BondLink,
}

/// What zerotier-one tells of a bond.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Bond {
    /// Which policy.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub bonding_policy_code: Option<i64>,
    /// The same as a word.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub bonding_policy_str: Option<String>,
    /// How links are chosen.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub link_select_method: Option<i64>,
    /// Links that are alive.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub num_alive_links: Option<i64>,
    /// All links.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub num_total_links: Option<i64>,
    /// ms.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub failover_interval: Option<i64>,
    /// ms.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub up_delay: Option<i64>,
    /// ms.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub down_delay: Option<i64>,
    /// Before the next one is taken.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub packets_per_link: Option<i64>,
}

/// What zerotier-one tells of a link of a bond.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BondLink {
    /// Its interface.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub ifname: Option<String>,
    /// ms.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub latency_mean: Option<f64>,
    /// ms.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub latency_variance: Option<f64>,
    /// Mbit/s.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub given_link_speed: Option<i64>,
    /// A share.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub relative_quality: Option<f64>,
    /// ms.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub last_in_age: Option<i64>,
    /// ms.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub last_out_age: Option<i64>,
    /// Whether it may be used.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub eligible: Option<Truth>,
    /// Whether it is.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub bonded: Option<Truth>,
    /// Flows that take it.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub assigned_flow_count: Option<i64>,
}

/// A truth value that some write as a number.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Truth {
    /// As a truth value.
    Flag(bool),
    /// As a number.
    Number(i64),
}

impl From<Truth> for i64 {
    fn from(truth: Truth) -> Self {
        match truth {
            Truth::Flag(flag) => flag.into(),
            Truth::Number(number) => number,
        }
    }
}

/// One element of `GET /moon`, and most of `GET /planet`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Moon {
    /// Its ID.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub id: String,
    /// When it was signed, ms since the epoch; 0 while it is waited for.
    #[serde(deserialize_with = "lenient::or_default")]
    pub timestamp: u64,
    /// Hexadecimal.
    #[serde(deserialize_with = "lenient::or_default")]
    pub signature: Option<String>,
    /// The key, hexadecimal.
    #[serde(deserialize_with = "lenient::or_default")]
    pub updates_must_be_signed_by: Option<String>,
    /// Its roots.
    #[serde(deserialize_with = "lenient::or_default")]
    pub roots: Vec<Root>,
    /// Whether it has not come yet.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub waiting: Option<bool>,
    /// Whom it is asked from until then.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub seed: Option<String>,
}

/// A root of a moon or planet.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Root {
    /// Its public identity.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub identity: String,
    /// Where it is.
    #[serde(deserialize_with = "lenient::or_default")]
    pub stable_endpoints: Vec<String>,
}

/// `GET /planet`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Planet {
    /// Its roots.
    #[serde(flatten)]
    pub world: Moon,
    /// SHA-256 of its file, hexadecimal.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub sha256: String,
    /// Whether another may take its place.
    #[serde(deserialize_with = "lenient::or_default")]
    pub replaceable: bool,
    /// Why not, in one word.
    #[serde(deserialize_with = "lenient::or_default")]
    pub kept_because: Option<String>,
}
