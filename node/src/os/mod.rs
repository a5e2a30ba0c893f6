//! What only this operating system (Linux) can tell or do: TAP devices, addresses and routes, UDP sockets in batches.
//!
//! Nothing here knows the protocol's state; the engine and the daemon in [`crate::service`] put the pieces together.

pub mod batch;
pub mod interfaces;
pub mod links;
pub mod memory;
pub mod multicast;
pub mod netlink;
pub mod packet_filter;
pub mod priority;
pub mod privileges;
pub mod rules;
pub mod tap;
pub mod tcp;
#[cfg(test)]
pub(crate) mod testing;
pub mod udp;
