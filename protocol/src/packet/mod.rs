//! Packets outside their payload: header, protection, compression, fragments. Specification: VL1 packets.

pub mod armor;
pub mod compress;
pub mod fragment;
pub mod header;

pub use armor::{SessionKeys, Suite};
pub use header::{Datagram, classify};
