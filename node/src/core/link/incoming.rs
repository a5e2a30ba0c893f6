//! What an authentic packet is while it is handled, and what comes of it.

use protocol::Address;

use super::super::path::PathKey;

/// An authenticated, decrypted packet on its way to its handler.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Incoming<'a> {
    /// Where it came from, physically.
    pub(in super::super) via: PathKey,
    /// ECN bits of the datagrams it came in; they go on to the frames in it.
    pub(in super::super) ecn: u8,
    /// Who sent it.
    pub(in super::super) source: Address,
    /// Packet ID as on the wire.
    pub(in super::super) id: u64,
    /// How often it was relayed.
    pub(in super::super) hops: u8,
    /// Whether it is certain that the sender has just sent it: it cannot be the repetition of an older packet. Only that keeps a
    /// peer or a path alive. See [`Judged::fresh`](super::super::replay::Judged).
    pub(in super::super) fresh: bool,
    /// Whether it answers something of ours that was sent to where it came from: its sender is there.
    pub(in super::super) proves: bool,
    /// Whether it has waited for something, and been handled in vain before.
    pub(in super::super) waited: bool,
    /// See [`Judged::chosen`](super::super::replay::Judged).
    pub(in super::super) chosen: Option<u64>,
    /// What follows the verb byte.
    pub(in super::super) payload: &'a [u8],
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in super::super) enum Handled {
    /// Done; the sender is alive.
    Credit,
    /// Done; the sender is a member of a common network.
    Trust,
    /// Not acted upon; says nothing about the sender.
    Ignore,
    /// Cannot be judged yet: keep it and try again.
    Wait,
}
