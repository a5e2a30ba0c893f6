//! Payloads of the verbs: one parsed form for each, with `parse` over the bytes after the verb byte and `write`
//! that appends them.

pub mod config_chunk;
pub mod config_request;
pub mod ext_frame;
pub mod frame;
pub mod multicast;
pub mod network_credentials;
