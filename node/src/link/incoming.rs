//! What an authentic packet is while it is handled, and what comes of it.

use protocol::Address;

use crate::link::path::PathKey;

/// An authenticated, decrypted packet on its way to its handler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming<'a> {
    /// Where it came from, physically.
    pub(crate) via: PathKey,
    /// ECN bits of the datagrams it came in; they go on to the frames in it.
    pub(crate) ecn: u8,
    /// Who sent it.
    pub(crate) source: Address,
    /// Packet ID as on the wire.
    pub(crate) id: u64,
    /// How often it was relayed.
    pub(crate) hops: u8,
    /// Whether it is certain that the sender has just sent it: it cannot be the repetition of an older packet. Only that keeps a
    /// peer or a path alive. See [`Judged::fresh`](crate::link::replay::Judged).
    pub(crate) fresh: bool,
    /// Whether it answers something of ours that was sent to where it came from: its sender is there.
    pub(crate) proves: bool,
    /// Whether it has waited for something, and been handled in vain before.
    pub(crate) waited: bool,
    /// See [`Judged::chosen`](crate::link::replay::Judged).
    pub(crate) chosen: Option<u64>,
    /// What follows the verb byte.
    pub(crate) payload: &'a [u8],
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Handled {
    /// Done; the sender is alive.
    Credit,
    /// Done; the sender is a member of a common network.
    Trust,
    /// Not acted upon; says nothing about the sender.
    Ignore,
    /// Cannot be judged yet: keep it and try again.
    Wait,
}
