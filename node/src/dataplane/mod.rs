//! Moving packets: batches between the core and the operating system, what the kernel says about frames, cutting large
//! frames and joining small ones.

pub mod coalesce;
mod headers;
pub mod outbox;
pub mod segment;
#[cfg(test)]
mod testing;
pub mod vnet;

pub use coalesce::FrameBatch;
pub use outbox::Outbox;
