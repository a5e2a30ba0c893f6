//! Payloads of the verbs: one parsed form for each, with `parse` over the bytes after the verb byte and `write`
//! that appends them.
//!
//! ECHO and NOP have none: the payload of ECHO is arbitrary and returned as it is.

pub mod bonding;
pub mod error;
pub mod hello;
pub mod ok;
pub mod push_direct_paths;
pub mod remote_trace;
pub mod rendezvous;
pub mod user_message;
pub mod whois;

pub mod config_chunk;
pub mod config_request;
pub mod ext_frame;
pub mod frame;
pub mod multicast;
pub mod network_credentials;

pub use bonding::{PathNegotiation, QosMeasurement, QosRecord};
pub use error::{Error, error_code};
pub use hello::{Hello, MoonEntry, write_hello};
pub use ok::{OkHeader, OkHello, OkWhois};
pub use push_direct_paths::{PushDirectPaths, PushedPath};
pub use remote_trace::RemoteTrace;
pub use rendezvous::Rendezvous;
pub use user_message::UserMessage;
pub use whois::Whois;

pub use config_chunk::ConfigChunk;
pub use config_request::ConfigRequest;
pub use ext_frame::ExtFrame;
pub use frame::Frame;
pub use multicast::{Gathered, MulticastFrame, MulticastGather, MulticastLike, OkGather, OkMulticastFrame};
pub use network_credentials::NetworkCredentials;
