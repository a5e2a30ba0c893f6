//! What a node says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::joined::{Overlapping, Refused};
use crate::lenient;

/// `GET /health`, and the beginning of `GET /status`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Health {
    /// ms since the epoch.
    #[serde(deserialize_with = "lenient::or_default")]
    pub clock: i64,
    /// Whether a root answers.
    #[serde(deserialize_with = "lenient::or_default")]
    pub online: bool,
    /// The version that is spoken, as text.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub version: String,
    /// Its first number.
    #[serde(deserialize_with = "lenient::or_default")]
    pub version_major: u64,
    /// Its second number.
    #[serde(deserialize_with = "lenient::or_default")]
    pub version_minor: u64,
    /// Its third number.
    #[serde(deserialize_with = "lenient::or_default")]
    pub version_rev: u64,
    /// Its build.
    #[serde(deserialize_with = "lenient::or_default")]
    pub version_build: u64,
    /// The version of the program.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub ztnode_version: Option<String>,
}

/// `GET /status`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The beginning.
    #[serde(flatten)]
    pub health: Health,
    /// Its address.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub address: String,
    /// Its public identity.
    #[serde(deserialize_with = "lenient::or_default")]
    pub public_identity: String,
    /// Whether a TCP relay carries its traffic.
    #[serde(deserialize_with = "lenient::or_default")]
    pub tcp_fallback_active: bool,
    /// The ID of its planet.
    #[serde(deserialize_with = "lenient::or_default")]
    pub planet_world_id: u64,
    /// When that was signed, ms since the epoch.
    #[serde(deserialize_with = "lenient::or_default")]
    pub planet_world_timestamp: u64,
    /// The settings in force.
    #[serde(deserialize_with = "lenient::or_default")]
    pub config: Config,
    /// How kind it is to the network around.
    #[serde(deserialize_with = "lenient::or_default")]
    pub profile: Profile,
    /// Other machines that run with its identity.
    #[serde(deserialize_with = "lenient::or_default")]
    pub clones: Clones,
    /// What roots said of its address.
    #[serde(deserialize_with = "lenient::or_default")]
    pub collision: Collision,
    /// The interfaces of its machine; none of a node that does not tell.
    #[serde(deserialize_with = "lenient::or_default")]
    pub interfaces: Option<Vec<Interface>>,
    /// What means nothing in its settings.
    #[serde(deserialize_with = "lenient::or_default")]
    pub unknown_settings: Vec<String>,
    /// Files that cannot be written.
    #[serde(deserialize_with = "lenient::or_default")]
    pub unsaved: Vec<Unsaved>,
    /// What networks want and this machine refuses.
    #[serde(deserialize_with = "lenient::or_default")]
    pub refused: Vec<Refused>,
    /// What of networks lies in wider routes.
    #[serde(deserialize_with = "lenient::or_default")]
    pub overlapping: Vec<Overlapping>,
    /// Networks of its controller whose certificates run ahead of the clock, and by how much, ms.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::or_default")]
    pub certificate_lead: BTreeMap<String, i64>,
}

/// `local.conf` as it is in force.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    /// The sections as they were written.
    #[serde(flatten)]
    pub sections: Map<String, Value>,
    /// The section `settings`.
    #[serde(deserialize_with = "lenient::or_default")]
    pub settings: Settings,
}

/// The section `settings`: what was written, and over it what is in force.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// As it was written.
    #[serde(flatten)]
    pub written: Map<String, Value>,
    /// Whether a TCP relay may be used.
    #[serde(deserialize_with = "lenient::or_default")]
    pub allow_tcp_fallback_relay: bool,
    /// Whether only that is used.
    #[serde(deserialize_with = "lenient::or_default")]
    pub force_tcp_relay: bool,
    /// Whether ports are mapped.
    #[serde(deserialize_with = "lenient::or_default")]
    pub port_mapping_enabled: bool,
    /// Its home.
    #[serde(deserialize_with = "lenient::or_default")]
    pub home_dir: String,
    /// Its UDP sockets.
    #[serde(deserialize_with = "lenient::or_default")]
    pub listening_on: Vec<String>,
    /// Their buffers; none while there is no socket.
    #[serde(deserialize_with = "lenient::or_default")]
    pub udp_buffers: Option<UdpBuffers>,
    /// What they all can; none while there is none.
    #[serde(deserialize_with = "lenient::or_default")]
    pub udp_offloads: Option<UdpOffloads>,
    /// Its addresses as others see them.
    #[serde(deserialize_with = "lenient::or_default")]
    pub surface_addresses: Vec<String>,
    /// Workers in force.
    #[serde(deserialize_with = "lenient::or_default")]
    pub lanes: u64,
    /// The main UDP port, and the port of the API.
    #[serde(deserialize_with = "lenient::or_default")]
    pub primary_port: u64,
    /// The second UDP port; 0 for none.
    #[serde(deserialize_with = "lenient::or_default")]
    pub secondary_port: u64,
    /// The third; 0 for none.
    #[serde(deserialize_with = "lenient::or_default")]
    pub tertiary_port: u64,
    /// Always `disable`.
    #[serde(deserialize_with = "lenient::or_default")]
    pub software_update: String,
    /// As it was written.
    #[serde(deserialize_with = "lenient::or_default")]
    pub software_update_channel: String,
}

/// What was granted, beside what was asked for and what limits it, octets.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UdpBuffers {
    /// Asked for.
    #[serde(deserialize_with = "lenient::or_default")]
    pub wanted: Option<i64>,
    /// Granted for receiving.
    #[serde(deserialize_with = "lenient::or_default")]
    pub receive: i64,
    /// Granted for sending.
    #[serde(deserialize_with = "lenient::or_default")]
    pub send: i64,
    /// Datagrams that found no room.
    #[serde(deserialize_with = "lenient::or_default")]
    pub dropped: Option<u64>,
    /// What limits them.
    #[serde(deserialize_with = "lenient::or_default")]
    pub limits: BufferLimits,
}

/// The kernel's limits, octets.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct BufferLimits {
    /// For receiving.
    #[serde(rename = "net.core.rmem_max", deserialize_with = "lenient::or_default")]
    pub receive: Option<u64>,
    /// For sending.
    #[serde(rename = "net.core.wmem_max", deserialize_with = "lenient::or_default")]
    pub send: Option<u64>,
}

/// What the kernel does for many datagrams at once.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct UdpOffloads {
    /// It cuts what is sent.
    #[serde(deserialize_with = "lenient::or_default")]
    pub segment: Option<bool>,
    /// It joins what comes in.
    #[serde(deserialize_with = "lenient::or_default")]
    pub merge: Option<bool>,
}

/// How kind a node is to the network around.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Profile {
    /// `cloud` or `plain`.
    #[serde(deserialize_with = "lenient::or_default")]
    pub name: String,
    /// Why.
    #[serde(deserialize_with = "lenient::or_default")]
    pub reason: String,
}

/// Other machines that run with a node's identity.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Clones {
    /// What this node does about them.
    #[serde(deserialize_with = "lenient::or_default")]
    pub policy: String,
    /// Whether the identity belongs to this machine: `home`, `moved` or `unknown`.
    #[serde(deserialize_with = "lenient::or_default")]
    pub machine: String,
    /// Those that are there now.
    #[serde(deserialize_with = "lenient::or_default")]
    pub seen: Vec<SeenClone>,
    /// Addresses this node gave up for them earlier.
    #[serde(deserialize_with = "lenient::or_default")]
    pub former_addresses: Vec<String>,
}

/// A machine that runs with a node's identity.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeenClone {
    /// When it was seen first, ms since the epoch.
    #[serde(deserialize_with = "lenient::or_default")]
    pub since: i64,
    /// When it was heard last.
    #[serde(deserialize_with = "lenient::or_default")]
    pub last_heard: i64,
    /// When it says that it started.
    #[serde(deserialize_with = "lenient::or_default")]
    pub started_at: i64,
    /// Whether it has the same machine-id.
    #[serde(deserialize_with = "lenient::or_default")]
    pub same_machine_id: bool,
    /// Who of the two should give way.
    #[serde(deserialize_with = "lenient::or_default")]
    pub gives_way: GivesWay,
    /// Where it is.
    #[serde(deserialize_with = "lenient::or_default")]
    pub addresses: Vec<String>,
}

/// Who of two machines with one identity should give way.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum GivesWay {
    /// The one that is asked.
    This,
    /// The other one.
    #[default]
    Other,
}

/// What roots said of a node's address.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Collision {
    /// What the node does about it.
    #[serde(deserialize_with = "lenient::or_default")]
    pub policy: String,
    /// The last of it.
    #[serde(deserialize_with = "lenient::or_default")]
    pub seen: Option<CollisionSeen>,
}

/// A root said that another node owns the address.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CollisionSeen {
    /// Which root.
    #[serde(deserialize_with = "lenient::or_default")]
    pub root: Option<String>,
    /// When it was said first, ms since the epoch.
    #[serde(deserialize_with = "lenient::or_default")]
    pub first: i64,
    /// When it was said last.
    #[serde(deserialize_with = "lenient::or_default")]
    pub last: i64,
    /// How often.
    #[serde(deserialize_with = "lenient::or_default")]
    pub count: i64,
    /// Why the identity stays.
    #[serde(deserialize_with = "lenient::or_default")]
    pub kept_because: Option<KeptBecause>,
}

/// Why an identity stays though a root says that its address is another node's.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum KeptBecause {
    /// A root accepted it, it was put here, or it replaced another one.
    Accepted,
    /// It came from another machine.
    Moved,
    /// It joined a network.
    Joined,
    /// It controls a network, or nobody can tell whether it does.
    Controls,
    /// The settings say so.
    Setting,
    /// It cannot be put away.
    Failed,
}

/// An interface of the machine and what it is used for.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Interface {
    /// Its name.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub name: String,
    /// What the kernel calls its kind.
    #[serde(deserialize_with = "lenient::or_default")]
    pub kind: String,
    /// Whether anything is bound to it.
    #[serde(deserialize_with = "lenient::or_default")]
    pub used: bool,
    /// What is bound.
    #[serde(deserialize_with = "lenient::or_default")]
    pub addresses: Vec<String>,
    /// What is not, and why.
    #[serde(deserialize_with = "lenient::or_default")]
    pub ignored: Vec<Ignored>,
}

/// An address that is not used.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Ignored {
    /// Which.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub address: String,
    /// Why.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub reason: String,
}

/// A file that cannot be written.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Unsaved {
    /// Which.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub path: String,
    /// Why.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub error: String,
}
