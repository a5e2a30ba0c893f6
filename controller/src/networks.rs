//! All networks of a controller.

use std::collections::BTreeMap;

use api::{Member, Network};
use protocol::{NetworkId, Span, Time};

use crate::revoked::WIDEST;
use crate::state::NetworkState;
use crate::store::{Change, Records};
use crate::time::{Step, StoredNetwork};
use crate::token::JoinToken;

/// There is no such network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoSuchNetwork;

/// Networks by their IDs.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    by_id: BTreeMap<NetworkId, NetworkState>,
}

impl Networks {
    /// Takes in what is stored.
    pub(crate) fn load(records: &Records) -> Self {
        let mut networks = Self::default();
        for (id, record) in &records.networks {
            // A record without a creation time is older than all that have one.
            let StoredNetwork::<Network> { network, certificate_mark } = api::read(record);
            let mut state = NetworkState::new(network.kept_as(*id));
            if certificate_mark > 0 {
                state.certificates.not_before(Time::from_ms(certificate_mark));
            }
            networks.put(state);
        }
        for (network, address, record) in &records.members {
            if let Some(state) = networks.by_id.get_mut(network) {
                state.put(api::read::<Member>(record).kept_as(*network, *address));
            }
        }
        for (network, id, record) in &records.tokens {
            let token = id.parse().ok().and_then(|id| JoinToken::from_stored(*network, id, record));
            match (token, networks.by_id.get_mut(network)) {
                (Some(token), Some(state)) => state.put_token(token),
                _ => {
                    tracing::warn!(%network, token = id, "the record of a join token is damaged; it lets nobody in");
                }
            }
        }
        networks
    }

    pub(crate) fn get(&self, id: NetworkId) -> Option<&NetworkState> {
        self.by_id.get(&id)
    }

    pub(crate) fn find(&self, id: NetworkId) -> Result<&NetworkState, NoSuchNetwork> {
        self.by_id.get(&id).ok_or(NoSuchNetwork)
    }

    pub(crate) fn find_mut(&mut self, id: NetworkId) -> Result<&mut NetworkState, NoSuchNetwork> {
        self.by_id.get_mut(&id).ok_or(NoSuchNetwork)
    }

    /// IDs of all networks, ascending.
    pub(crate) fn ids(&self) -> impl Iterator<Item = NetworkId> + '_ {
        self.by_id.keys().copied()
    }

    /// All networks by ascending IDs.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &NetworkState> {
        self.by_id.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn put(&mut self, state: NetworkState) {
        self.by_id.insert(state.record.id, state);
    }

    pub(crate) fn remove(&mut self, id: NetworkId) -> Result<NetworkState, NoSuchNetwork> {
        self.by_id.remove(&id).ok_or(NoSuchNetwork)
    }

    /// The window of a network, or the widest there may have been when it is gone.
    pub(crate) fn window(&self, id: NetworkId) -> Span {
        self.get(id).map_or(WIDEST, |state| state.record.window())
    }

    /// The time of a network's certificates; nothing is issued yet.
    pub(crate) fn certificate_time(&self, wall: Time, id: NetworkId) -> Time {
        self.get(id).map_or(wall, |state| state.certificates.time(wall))
    }

    /// Whatever a network issues is later than `at`.
    pub(crate) fn issue_after(&mut self, id: NetworkId, at: Time) {
        if let Some(state) = self.by_id.get_mut(&id) {
            state.certificates.not_before(at + Span::ms(1));
        }
    }

    /// How far the certificates of each have come.
    pub(crate) fn issued(&self) -> impl Iterator<Item = (NetworkId, Time)> + '_ {
        self.by_id.iter().filter_map(|(id, state)| Some((*id, state.certificates.last()?)))
    }

    /// Takes over how far the certificates of a network have come.
    pub(crate) fn issued_until(&mut self, id: NetworkId, at: Time) {
        if let Some(state) = self.by_id.get_mut(&id) {
            state.certificates.not_before(at);
        }
    }

    /// Those whose certificates run ahead of the wall clock, and by how much.
    pub(crate) fn leads(&self, wall: Time) -> BTreeMap<String, Span> {
        let ahead =
            |state: &NetworkState| Some((state.record.id.to_string(), state.certificates.ahead(wall)?));
        self.iter().filter_map(ahead).collect()
    }

    /// What stores exactly how far certificates have come.
    pub(crate) fn settle(&mut self) -> Vec<Change> {
        self.by_id.values_mut().filter_map(NetworkState::settle).collect()
    }

    /// The wall clock was set. Gives what has to be stored of it.
    pub(crate) fn clock_set(&mut self, step: &Step) -> Vec<Change> {
        let mut changes = Vec::new();
        for state in self.by_id.values_mut() {
            state.certificates.clock_set(step);
            if step.was_wrong() {
                changes.extend(state.shift(step));
            }
        }
        changes
    }
}
