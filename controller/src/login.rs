//! When whose log-in ends.

use std::collections::BTreeSet;

use api::Member;
use protocol::{Address, NetworkId};

use crate::networks::Networks;

/// Ends of log-ins, by the wall clock. A member that has logged in again meanwhile has an early one here still: who is told
/// of an end looks into the record.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    ends: BTreeSet<(i64, NetworkId, Address)>,
}

impl Logins {
    /// Notes when a member that has been let in has to log in again.
    pub(crate) fn note(&mut self, member: &Member) {
        self.ends.insert((member.authentication_expiry, member.network, member.address));
    }

    /// The first end.
    pub(crate) fn next(&self) -> Option<i64> {
        self.ends.first().map(|(at, _, _)| *at)
    }

    /// The first that is over.
    pub(crate) fn pop(&mut self, wall: i64) -> Option<(NetworkId, Address)> {
        self.ends.first().filter(|(at, _, _)| *at <= wall)?;
        self.ends.pop_first().map(|(_, network, member)| (network, member))
    }

    /// Takes the ends over from records whose times were moved.
    pub(crate) fn follow(&mut self, networks: &Networks) {
        for (at, network, member) in std::mem::take(&mut self.ends) {
            let record = networks.get(network).and_then(|state| state.member(member));
            let end = record.map_or(at, |record| record.authentication_expiry);
            self.ends.insert((end, network, member));
        }
    }
}
