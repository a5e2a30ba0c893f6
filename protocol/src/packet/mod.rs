//! Packets outside their payload: header, protection, compression, fragments. Specification: VL1 packets.

pub mod armor;
pub mod compress;
pub mod fragment;
pub mod header;
pub mod sealed;

pub use armor::{Opened, SessionKeys, Suite, mark_trusted, trusted_path_id};
pub use compress::{compress, decompress};
pub use fragment::{Reassembler, Split, cut_in_place, datagrams, join_in_place, max_packet, pieces};
pub use header::*;
pub use sealed::{Authentic, Sealed};
