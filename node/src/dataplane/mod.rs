//! Moving packets: batches between the core and the operating system, and what the kernel says about frames.

pub mod outbox;
pub mod vnet;

pub use outbox::Outbox;
