//! Clouds behind NATs on one machine.
//!
//! A [`Lab`] is a set of Linux network namespaces: one bridge that plays the internet, hosts that stand on it directly,
//! and hosts behind a NAT router of a chosen [`NatKind`]. All NATed hosts have the **same** private address in the
//! **same** 192.168.1.0/24, as machines in separate clouds do, so nothing can work by accident of routing.
//! A [`Daemon`] is one real node process in such a host, ours or the reference implementation ([`Seat`]): both are
//! driven through the same JSON control API. A [`Cluster`] is the usual combination: root, controller, members and a
//! network they have joined.
//!
//! The demo (`make lab`) and the whole-system tests stand on this crate. Everything a lab makes carries its name:
//! namespaces `ztlab-<lab>-<host>`, files below `/run/ztlab/<lab>`. [`registry::down`] removes a lab by that name alone,
//! so labs can run side by side and a crashed one can be cleaned up later.
//!
//! Needs root and the Debian packages iproute2, nftables, iputils-ping and curl.

pub mod api;
pub mod binaries;
pub mod capture;
pub mod cloud_init;
pub mod cluster;
pub mod daemon;
pub mod emulator;
pub mod fault;
pub mod flow;
pub mod host;
pub mod namespace;
pub mod nat;
pub mod page;
pub mod planet;
pub mod registry;
pub mod rules;
pub mod tap;
pub mod testing;
pub mod tool;
pub mod traffic;
pub mod transfer;

pub use cluster::{Cluster, Plan};
pub use daemon::{Daemon, Seat};
pub use host::{Access, Family, Host, Lab};
pub use namespace::Namespace;
pub use nat::NatKind;
