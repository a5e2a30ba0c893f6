//! Moving packets: batches between the core and the operating system, what the kernel says about frames, cutting large
//! frames and joining small ones, and the queue in which frames wait for us.

pub mod coalesce;
pub mod codel;
pub mod congestion;
pub mod datagrams;
pub mod ecn;
pub mod fair_queue;
pub mod flow;
pub mod frame_pool;
mod headers;
pub mod lane_batch;
pub mod lane_queues;
pub mod segment;
pub mod sending;
#[cfg(test)]
pub(crate) mod testing;
pub mod vnet;

pub use coalesce::FrameBatch;
