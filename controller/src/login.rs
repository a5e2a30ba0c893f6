//! When whose log-in ends.

use std::collections::BTreeSet;

use api::Member;
use protocol::{Address, NetworkId, Time};

use crate::networks::Networks;

/// Ends of log-ins, by the wall clock. A member that has logged in again meanwhile has an early one here still: who is told
/// of an end looks into the record.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    ends: BTreeSet<(Time, NetworkId, Address)>,
}

impl Logins {
    /// Notes when a member that has been let in has to log in again.
    pub(crate) fn note(&mut self, member: &Member) {
        self.ends.insert((Time::from_ms(member.authentication_expiry), member.network, member.address));
    }

    /// The first end.
    pub(crate) fn next(&self) -> Option<Time> {
        self.ends.first().map(|(at, _, _)| *at)
    }

    /// The first that is over.
    pub(crate) fn pop(&mut self, wall: Time) -> Option<(NetworkId, Address)> {
        self.ends.first().filter(|(at, _, _)| *at <= wall)?;
        self.ends.pop_first().map(|(_, network, member)| (network, member))
    }

    /// Takes the ends over from records whose times were moved.
    pub(crate) fn follow(&mut self, networks: &Networks) {
        for (at, network, member) in std::mem::take(&mut self.ends) {
            let record = networks.get(network).and_then(|state| state.member(member));
            let end = record.map_or(at, |record| Time::from_ms(record.authentication_expiry));
            self.ends.insert((end, network, member));
        }
    }
}

#[cfg(test)]
mod tests {
    use api::Network;

    use super::*;
    use crate::state::NetworkState;

    #[test]
    fn ends_come_in_order_and_move_with_the_record() {
        let (network, at) = (NetworkId(1), Time::from_ms);
        let member = |address, end| {
            let mut member = Member::new(network, Address::from_u64(address), Time::EPOCH);
            member.authentication_expiry = end;
            member
        };
        let mut logins = Logins::default();
        logins.note(&member(1, 300));
        logins.note(&member(2, 200));
        assert_eq!((logins.next(), logins.pop(at(199))), (Some(at(200)), None));
        assert_eq!(logins.pop(at(200)), Some((network, Address::from_u64(2))));

        logins.note(&member(3, 400));
        let mut state = NetworkState::new(Network::new(network, Time::EPOCH));
        state.put(member(1, 500));
        let mut networks = Networks::default();
        networks.put(state);
        logins.follow(&networks);
        assert_eq!(logins.pop(at(400)), Some((network, Address::from_u64(3))), "one without a record stays");
        assert_eq!((logins.pop(at(499)), logins.next()), (None, Some(at(500))));
    }
}
