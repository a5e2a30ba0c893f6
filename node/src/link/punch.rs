//! Knocking at addresses somebody told us for a peer, a few times over half a minute.
//!
//! One knock is rarely enough: both NATs must have been opened before either lets a knock through, a datagram may be lost, and a
//! root's introduction may come before we know who the peer is. The reference knocks once and waits for the next introduction.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use protocol::Address;
use protocol::verb::Verb;

use crate::ground::table::Table;
use crate::link::Link;
use crate::link::contact::Contacts;
#[cfg(feature = "work")]
use crate::link::path::PathKey;
use crate::link::path::SocketId;

/// Addresses knocked at, at once, for all peers together.
pub(crate) const MAX_KNOCKS: usize = 512;
/// Of these, for one peer.
const MAX_KNOCKS_PER_PEER: usize = 16;
/// Pauses before each knock, ms. The first is immediate.
const PAUSES: [i64; 6] = [0, 300, 700, 2_000, 6_000, 12_000];

/// An address to try for a peer.
#[derive(Clone, Copy, Debug)]
struct Knock {
    socket: Option<SocketId>,
    due: i64,
    tries: usize,
}

/// Whom to try where.
type Door = (Address, SocketAddr);

/// The addresses being tried.
#[derive(Debug)]
pub(crate) struct Knocks {
    knocks: Table<Door, Address, Knock>,
    by_due: BTreeSet<(i64, Door)>,
}

impl Default for Knocks {
    fn default() -> Self {
        Self { knocks: Table::new(MAX_KNOCKS, MAX_KNOCKS_PER_PEER), by_due: BTreeSet::new() }
    }
}

impl Knocks {
    /// When the next knock is due.
    pub(crate) fn next(&self) -> Option<i64> {
        self.by_due.first().map(|(due, _)| *due)
    }

    /// Begins, or does so again at once where an address is being tried already.
    fn begin(&mut self, now: i64, door: Door, socket: Option<SocketId>) {
        if let Some(known) = self.knocks.get_mut(&door) {
            self.by_due.remove(&(known.due, door));
            known.due = now;
        } else if self.knocks.len() >= MAX_KNOCKS || self.knocks.share_len(door.0) >= MAX_KNOCKS_PER_PEER {
            // What is being tried is tried to its end.
            return;
        } else {
            self.knocks.insert(now, door.0, door, Knock { socket, due: now, tries: 0 });
        }
        self.by_due.insert((now, door));
    }

    /// Takes out one that is due.
    fn take_due(&mut self, now: i64) -> Option<(Door, Knock)> {
        let (due, door) = *self.by_due.first().filter(|(due, _)| *due <= now)?;
        self.by_due.remove(&(due, door));
        self.knocks.remove(&door).map(|knock| (door, knock))
    }

    /// Waits for the next try, if there is one.
    fn again(&mut self, now: i64, door: Door, knock: Knock) {
        let tries = knock.tries + 1;
        if let Some(pause) = PAUSES.get(tries) {
            let due = now + pause;
            self.knocks.insert(now, door.0, door, Knock { due, tries, ..knock });
            self.by_due.insert((due, door));
        }
    }
}

impl Contacts {
    /// Begins to knock at an address of a peer, or does so again at once where it is being tried already. `patient` is for
    /// addresses told by a root or by a fellow member: others could make us knock at a third party's door for half a minute.
    pub(crate) fn knock(
        &mut self,
        link: &mut Link,
        now: i64,
        peer: Address,
        socket: Option<SocketId>,
        endpoint: SocketAddr,
        patient: bool,
    ) {
        if !patient {
            // By ECHO or not at all: a HELLO is larger than the packet that may have brought this address, and whoever lives there
            // has not asked for it.
            let known = link.topology.peers.get(&peer).map(|known| known.version);
            if known.is_some_and(|version| version.protocol == 0 || version.answers_echo()) {
                let packet = link.begin(peer, Verb::Echo);
                link.send_to(now, socket, endpoint, packet);
            }
            return;
        }
        self.knocks.begin(now, (peer, endpoint), socket);
        self.knock_where_due(link, now);
    }

    /// Knocks where it is due; gives up where a direct path has been found or patience has ended.
    pub(crate) fn knock_where_due(&mut self, link: &mut Link, now: i64) {
        while let Some((door, knock)) = self.knocks.take_due(now) {
            let direct = link.topology.direct_path(now, door.0).is_some_and(|(_, alive)| alive);
            if !direct || knock.tries == 0 {
                link.contact(now, door.0, knock.socket, door.1);
                self.knocks.again(now, door, knock);
            }
        }
    }
}

#[cfg(feature = "work")]
impl Knocks {
    /// See `filling`. Nothing becomes due while a test goes on.
    pub(crate) fn fill(&mut self, now: i64, peer: impl Fn(u64) -> Address, via: impl Fn(u64) -> PathKey) {
        let due = now + 1_000_000_000;
        self.knocks.fill(now, |number| {
            let peer = peer(number / MAX_KNOCKS_PER_PEER as u64);
            (peer, (peer, via(number).remote), Knock { socket: None, due, tries: 1 })
        });
        for (door, knock) in self.knocks.iter() {
            self.by_due.insert((knock.due, *door));
        }
    }

    /// See `filling`.
    pub(crate) fn sizes(&self) -> [usize; 2] {
        [self.knocks.len(), self.by_due.len()]
    }
}
