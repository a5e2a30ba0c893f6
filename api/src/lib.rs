//! What is asked of a node and its controller through the API, and what they answer, as types: each key of the JSON is
//! written here and nowhere else.
//!
//! The controller's records are these types, too, and so is what its store keeps. Fields that nobody here knows are kept
//! (`extra`), and values of another type than a field has are read as existing clients rely on ([`lenient`]), or are as if the
//! field were not there. Objects come out with their keys in byte order, as [`serde_json::Value`] has them.

mod controller;
mod joined;
pub mod lenient;
mod member;
mod network;
mod peer;
mod rule_list;
mod rules;
mod status;
pub mod text;
mod token;

pub use controller::{
    AllMembers, AllNetworks, Changed, ControllerStatus, CountedNetwork, Done, Empty, Imported, Lead, Listed,
    MembersMeta, NamedFile, NetworkMeta, NetworksMeta, Orbit, Problem, Reach, Revocation, SourceProblem,
};
pub use joined::{
    JoinRequest, JoinedDns, JoinedNetwork, JoinedRoute, NetworkStatus, Offloads, Overlapping, Ready, Refused,
    Subscription, WaitingFor,
};
pub use member::{AuthorizedBy, Member, MemberPatch, Version};
pub use network::{
    CapabilityDefinition, DEFAULT_AUTO_ASSIGN_LIMIT, DEFAULT_MTU, DEFAULT_WINDOW, Dns, MTU_RANGE, Network,
    NetworkPatch, Pool, Route, TagDefinition, V4AssignMode, V6AssignMode, WINDOW_RANGE,
};
pub use peer::{Bond, BondLink, Moon, Path, Peer, Planet, Root, Truth};
pub use rule_list::RuleList;
pub use rules::{
    Copied, Counters, EnforcedRules, Entry, HeldCapability, HeldTag, Line, Lists, OtherMember, RuleFlags,
    Trace,
};
pub use status::{
    BufferLimits, Clones, Collision, CollisionSeen, Config, GivesWay, Health, Ignored, Interface,
    KeptBecause, Profile, SeenClone, Settings, Status, UdpBuffers, UdpOffloads, Unsaved,
};
pub use token::{ShownToken, StoredToken, Token, TokenId, TokenRequest, TokenState};

/// A value as JSON, its keys in byte order.
#[must_use]
pub fn json(value: &impl serde::Serialize) -> serde_json::Value {
    // Only a map whose keys are no text could fail, and none of these types has one.
    serde_json::to_value(value).unwrap_or_default()
}

/// A value as it is read from JSON; the defaults for what is no object.
#[must_use]
pub fn read<T: serde::de::DeserializeOwned + Default>(
    fields: &serde_json::Map<String, serde_json::Value>,
) -> T {
    T::deserialize(serde::de::value::MapDeserializer::new(
        fields.iter().map(|(key, value)| (key.as_str(), value)),
    ))
    .unwrap_or_default()
}

/// A value as it is read from an answer; the defaults for what is none.
#[must_use]
pub fn of<T: serde::de::DeserializeOwned + Default>(value: &serde_json::Value) -> T {
    T::deserialize(value).unwrap_or_default()
}

/// A list of values as they are read from an answer. What is no object is left out.
#[must_use]
pub fn all<T: serde::de::DeserializeOwned + Default>(values: &[serde_json::Value]) -> Vec<T> {
    values.iter().filter_map(serde_json::Value::as_object).map(read).collect()
}
