//! Benchmarks of ztnode.
//!
//! `benches/*.rs` are micro benchmarks, one file a subject. The program `ztbench` measures two real daemons joined by a
//! cable, ours and zerotier-one in turn. What both need and is not measured itself is here.

pub mod pair;
