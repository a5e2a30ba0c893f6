//! Moving packets: batches between the core and the operating system.

pub mod outbox;

pub use outbox::Outbox;
