//! Knocking at addresses somebody told us for a peer, a few times over half a minute.
//!
//! One knock is rarely enough: both NATs must have been opened before either lets a knock through, a datagram may be lost, and a
//! root's introduction may come before we know who the peer is. The reference knocks once and waits for the next introduction.

use std::net::SocketAddr;

use protocol::Address;

use super::Core;
use super::path::SocketId;

/// Addresses knocked at, at once, for all peers together.
const MAX_KNOCKS: usize = 512;
/// Of these, for one peer.
const MAX_KNOCKS_PER_PEER: usize = 16;
/// Pauses before each knock, ms. The first is immediate.
const PAUSES: [i64; 6] = [0, 300, 700, 2_000, 6_000, 12_000];

/// An address to try for a peer.
#[derive(Clone, Copy, Debug)]
struct Knock {
    peer: Address,
    socket: Option<SocketId>,
    endpoint: SocketAddr,
    due: i64,
    tries: usize,
}

/// The addresses being tried.
#[derive(Debug, Default)]
pub(super) struct Knocks {
    knocks: Vec<Knock>,
}

impl Knocks {
    /// When the next knock is due.
    pub(super) fn next(&self) -> Option<i64> {
        self.knocks.iter().map(|k| k.due).min()
    }
}

impl Core {
    /// Begins to knock at an address of a peer, or does so again at once where it is being tried already. `patient` is for
    /// addresses told by a root or by a fellow member: others could make us knock at a third party's door for half a minute.
    pub(super) fn knock(
        &mut self,
        now: i64,
        peer: Address,
        socket: Option<SocketId>,
        endpoint: SocketAddr,
        patient: bool,
    ) {
        if !patient {
            self.contact(now, peer, socket, endpoint);
            return;
        }
        let knocks = &mut self.knocks.knocks;
        if let Some(known) = knocks.iter_mut().find(|k| k.peer == peer && k.endpoint == endpoint) {
            known.due = now;
            self.knock_where_due(now);
            return;
        }
        let of_peer = knocks.iter().filter(|k| k.peer == peer).count();
        if knocks.len() < MAX_KNOCKS && of_peer < MAX_KNOCKS_PER_PEER {
            knocks.push(Knock { peer, socket, endpoint, due: now, tries: 0 });
        }
        self.knock_where_due(now);
    }

    /// Knocks where it is due; gives up where a direct path has been found or patience has ended.
    pub(super) fn knock_where_due(&mut self, now: i64) {
        let mut knocks = std::mem::take(&mut self.knocks.knocks);
        knocks.retain_mut(|knock| {
            if knock.due > now {
                return true;
            }
            let direct = self.topology.direct_path(now, knock.peer).is_some_and(|(_, alive)| alive);
            if direct && knock.tries > 0 {
                return false;
            }
            self.contact(now, knock.peer, knock.socket, knock.endpoint);
            knock.tries += 1;
            match PAUSES.get(knock.tries) {
                Some(pause) => knock.due = now + pause,
                None => return false,
            }
            true
        });
        // Contacting somebody does not begin to knock, so nothing was added meanwhile.
        debug_assert!(self.knocks.knocks.is_empty());
        self.knocks.knocks = knocks;
    }
}
