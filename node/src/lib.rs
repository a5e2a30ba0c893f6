//! The ztnode daemon as a library: a deciding core, a data plane, the operating system and the service around them.
//!
//! * [`core`]: the deterministic state machine of VL1 and VL2; no clock, no sockets, no threads.
//! * `link`: VL1, the link to every other node; `ground`: what both machines of the core stand on.
//! * [`dataplane`]: what moves packets: batches, outbox.
//! * [`os`]: TAP devices, netlink, UDP sockets, multicast groups of the kernel.
//! * [`service`]: home directory, `local.conf`, HTTP control API, packet loop thread, start and stop.

pub mod core;
pub mod dataplane;
mod ground;
mod link;
#[cfg(feature = "service")]
pub mod os;
#[cfg(feature = "service")]
pub mod service;
