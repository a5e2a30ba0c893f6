//! HELLOs whose clock is older than another that came.
//!
//! A HELLO is readable, carries no number, and changes much: version, suite, outside address, path. What dates it is the clock in
//! it. One that is older than the newest of its sender is answered like any other (a node set back needs the answer), and changes
//! nothing, until the sender has answered something of ours on that path: then its clock is what others are measured by.

use std::ops::DerefMut;

use protocol::packet::Authentic;
use protocol::{Address, Time};

use super::ReplayMemory;
use super::place_of;
use super::recent::Recent;
use crate::link::Link;
use crate::link::path::PathKey;

/// Older clocks of a peer that may be the true one, at once. Somebody who repeats old HELLOs must not drive out the true one.
const CLAIMS: usize = 4;

/// The clock of a peer by its HELLOs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    /// The newest.
    newest: u64,
    /// Older ones that may be the true one: what they showed, on which path, and when. The oldest first.
    claims: Vec<(u64, u64, Time)>,
}

/// What a HELLO is to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Greeting {
    /// Newer than all before.
    New,
    /// As new as the newest: one of several, or a copy by another path.
    Same,
    /// Older: to be answered, and to change nothing.
    Old,
    /// It was here before, by this very path.
    Replay,
}

impl ReplayMemory {
    /// Judges an authentic HELLO of a known peer by the clock in it.
    pub(crate) fn judge_greeting<O: DerefMut<Target = [u8]>>(
        &mut self,
        link: &mut Link,
        now: Time,
        via: PathKey,
        packet: &Authentic<O>,
        timestamp: u64,
    ) -> Greeting {
        let Some(peer) = link.topology.peers.get_mut(&packet.source()) else { return Greeting::Old };
        let recent = peer.replay.recent.get_or_insert_with(Recent::new);
        // Packets of other suites have been judged before.
        if packet.suite() == super::CLEAR && !recent.enter(now, packet.id() ^ place_of(via)) {
            return Greeting::Replay;
        }
        let clock = &mut peer.replay.clock;
        if timestamp < clock.newest {
            let place = place_of(via);
            clock.claims.retain(|(_, other, _)| *other != place);
            if clock.claims.len() >= CLAIMS {
                clock.claims.remove(0);
            }
            clock.claims.push((timestamp, place, now));
            return Greeting::Old;
        }
        let new = timestamp > clock.newest;
        clock.newest = timestamp;
        clock.claims.clear();
        if new { Greeting::New } else { Greeting::Same }
    }

    /// A peer answered, by `via`, what we sent at `sent_at`: a clock it showed there before is its clock. Whether it was so.
    pub(crate) fn settle_clock(
        &mut self,
        link: &mut Link,
        source: Address,
        via: PathKey,
        sent_at: Time,
    ) -> bool {
        let Some(peer) = link.topology.peers.get_mut(&source) else { return false };
        let clock = &mut peer.replay.clock;
        if clock.claims.is_empty() {
            return false;
        }
        let place = place_of(via);
        let claim = clock.claims.iter().find(|(_, p, at)| *p == place && sent_at >= *at);
        let Some((timestamp, ..)) = claim else { return false };
        clock.newest = *timestamp;
        clock.claims.clear();
        true
    }
}
