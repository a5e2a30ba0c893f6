//! Packets of credentials for nodes that drop one that comes within a second of another.

use std::collections::VecDeque;

use protocol::verbs::NetworkCredentials;
use protocol::{Address, Time};

use super::policy::Policy;
use crate::ground::limits::{CREDENTIALS_SPACING, MAX_CREDENTIALS_LATER};
use crate::link::Link;

/// What has to wait, and until when.
#[derive(Debug, Default)]
pub(super) struct Spaced {
    later: VecDeque<(Time, Address, NetworkCredentials)>,
}

impl Spaced {
    /// When the next packet may go.
    pub(super) fn due(&self) -> Option<Time> {
        self.later.front().map(|(at, ..)| *at)
    }

    /// Sends a packet of credentials, now or as soon as its receiver takes it.
    pub(super) fn send(&mut self, link: &mut Link, now: Time, to: Address, set: NetworkCredentials) {
        let last = link.topology.peers.get(&to).and_then(|peer| peer.credentials_sent);
        if last.is_none_or(|last| now - last >= CREDENTIALS_SPACING) {
            Policy::send(link, now, to, None, &set);
        } else {
            self.postpone(now, to, set);
        }
    }

    /// Sends a packet of credentials once a second has passed.
    fn postpone(&mut self, now: Time, to: Address, set: NetworkCredentials) {
        if self.later.len() < MAX_CREDENTIALS_LATER {
            self.later.push_back((now + CREDENTIALS_SPACING, to, set));
        }
    }

    /// Sends what has waited long enough.
    pub(super) fn send_due(&mut self, link: &mut Link, now: Time) {
        while self.due().is_some_and(|at| at <= now)
            && let Some((_, to, set)) = self.later.pop_front()
        {
            self.send(link, now, to, set);
        }
    }
}
