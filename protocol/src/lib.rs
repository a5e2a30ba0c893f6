//! What is on the wire of a ZeroTier network, and nothing else: identities, cryptography, packets, verbs, worlds
//! (VL1) and dictionaries, credentials, network configurations (VL2).
//!
//! Bytes and values go in, bytes and values come out. There is no clock, no I/O, no thread and no global state in
//! this crate; time is always passed in by the caller ([`Time`]). Parsers accept any
//! input without panicking and report where and why they refused it ([`Malformed`]).

pub mod address;
pub mod checksum;
pub mod crypto;
pub mod error;
pub mod identity;
pub mod inet;
pub mod mac;
pub mod network_id;
pub mod packet;
pub mod public_planet;
pub mod reader;
pub mod time;
pub mod verb;
pub mod verbs;
pub mod world;

pub mod adhoc;
pub mod credential;
pub mod derive;
pub mod dictionary;
pub mod join_token;
pub mod metadata;
pub mod multicast_group;
pub mod ndp;
pub mod netconf;
pub mod permission;

pub use address::Address;
pub use error::{Malformed, Result};
pub use identity::{Identity, SecretIdentity};
pub use inet::{Prefix, Scope, scope};
pub use mac::Mac;
pub use multicast_group::MulticastGroup;
pub use network_id::NetworkId;
pub use reader::Reader;
pub use time::{Span, Time};
pub use world::World;
