//! Sockets that send into nothing: whatever goes out by one stays without an answer, though roots are asked. A NAT router or a firewall
//! may have taken a dislike to the port, for as long as anything is sent from it; from another one everything may be well.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use protocol::{Span, Time};

use crate::ground::event::Event;
use crate::link::Link;
use crate::link::path::SocketId;

/// A socket is in vain that has asked roots for so long and heard nobody.
const DEAF_AFTER: Span = Span::secs(10);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Deaf {
    /// Since when a socket hears nobody, or when that was told last.
    since: BTreeMap<SocketId, Time>,
    /// Whether a root was asked by IPv4 and by IPv6 at the last check.
    asked: [bool; 2],
}

impl Deaf {
    /// A root is asked, from all sockets of a family.
    pub(crate) fn asked(&mut self, ipv6: bool) {
        self.asked[usize::from(ipv6)] = true;
    }

    /// A contact check has been made. A root waits for others to ask, and needs no second port that nobody knows.
    pub(crate) fn look(&mut self, link: &mut Link, now: Time) {
        let asked = std::mem::take(&mut self.asked);
        let in_vain: Vec<(SocketId, SocketAddr)> = link
            .local
            .iter()
            .filter(|(socket, local)| {
                asked[usize::from(local.is_ipv6())] && !link.topology.paths.hears(*socket, now)
            })
            .copied()
            .collect();
        self.since.retain(|socket, _| in_vain.iter().any(|(other, _)| other == socket));
        for (socket, local) in in_vain {
            let since = self.since.entry(socket).or_insert(now);
            if !link.topology.am_root && now - *since >= DEAF_AFTER {
                *since = now;
                link.outbox.events.push_back(Event::Deaf(local));
            }
        }
    }
}
