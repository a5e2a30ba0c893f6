//! What is left of a deleted network.
//!
//! Its members have a configuration that would go on until their certificates no longer agree, and a node takes no network
//! down only because its controller does not know it: a controller restored from an old backup would end networks that
//! live. So a deleted network has a last configuration, without addresses, routes and certificate, whose rules drop
//! everything. It is pushed to every member, and given to whoever asks, for [`KEPT`]. Making the network anew ends that.

use std::collections::BTreeMap;

use flowrules::{Rule, rule::Kind};
use protocol::netconf::NetworkConfig;
use protocol::{Address, NetworkId, Span, Time};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::controller::{Action, CODE_NOT_FOUND};
use crate::signer::Signer;
use crate::store::{Change, Records, Store};
use api::DEFAULT_WINDOW;
use api::lenient;

/// How long a deleted network is remembered: thirty days.
pub(crate) const KEPT: Span = Span::secs(30 * 86_400);
/// Most deleted networks remembered; the one deleted first is forgotten for a new one.
const MAX_TOMBSTONES: usize = 16_384;

/// A deleted network.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct Tombstone {
    /// When it was deleted.
    #[serde(rename = "deletionTime", serialize_with = "write_time", deserialize_with = "read_time")]
    pub(crate) deleted: Time,
    /// Revision of its last configuration.
    #[serde(deserialize_with = "lenient::number::<1, _>")]
    revision: u64,
}

fn write_time<S: Serializer>(at: &Time, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_i64(at.as_ms())
}

fn read_time<'de, D: Deserializer<'de>>(field: D) -> Result<Time, D::Error> {
    lenient::time::<0, D>(field).map(Time::from_ms)
}

impl Default for Tombstone {
    fn default() -> Self {
        Self { deleted: Time::EPOCH, revision: 1 }
    }
}

impl Tombstone {
    pub(crate) fn new(deleted: Time, last_revision: u64) -> Self {
        Self { deleted, revision: last_revision + 1 }
    }

    /// The last configuration of a member.
    fn config(&self, network: NetworkId, member: Address) -> NetworkConfig {
        let mut config = NetworkConfig::new(network, member, self.deleted);
        config.revision = self.revision;
        config.public = false;
        config.credential_window = Span::ms(DEFAULT_WINDOW.cast_signed());
        config.rules = vec![Rule::new(Kind::Drop)];
        config
    }
}

/// The networks that were deleted.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    by_network: BTreeMap<NetworkId, Tombstone>,
}

impl Tombstones {
    /// Takes in what is stored.
    pub(crate) fn load(records: &Records) -> Self {
        let read = records.tombstones.iter().map(|(network, record)| (*network, api::read(record)));
        Self { by_network: read.collect() }
    }

    pub(crate) fn get(&self, network: NetworkId) -> Option<&Tombstone> {
        self.by_network.get(&network)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (NetworkId, Tombstone)> + '_ {
        self.by_network.iter().map(|(network, tombstone)| (*network, *tombstone))
    }

    /// What stores one more; [`Tombstones::put`] takes it in.
    pub(crate) fn changes(&self, network: NetworkId, tombstone: Tombstone) -> Vec<Change> {
        let crowded = self.crowded_out().map(|oldest| Change::DeleteTombstone { network: oldest });
        let put = Change::PutTombstone { network, record: api::json(&tombstone) };
        crowded.into_iter().chain([put]).collect()
    }

    /// Takes in what [`Tombstones::changes`] stored.
    pub(crate) fn put(&mut self, network: NetworkId, tombstone: Tombstone) {
        if let Some(oldest) = self.crowded_out() {
            self.by_network.remove(&oldest);
        }
        self.by_network.insert(network, tombstone);
    }

    /// Takes over what is stored of a controller before this one.
    pub(crate) fn inherit(&mut self, gone: Vec<(NetworkId, Tombstone)>) {
        self.by_network.extend(gone);
    }

    /// The network is made anew.
    pub(crate) fn remove(&mut self, network: NetworkId) {
        self.by_network.remove(&network);
    }

    /// The one to be forgotten for one more.
    fn crowded_out(&self) -> Option<NetworkId> {
        let full = self.by_network.len() >= MAX_TOMBSTONES;
        let oldest = self.by_network.iter().filter(|_| full).min_by_key(|(_, tombstone)| tombstone.deleted);
        oldest.map(|(network, _)| *network)
    }

    /// The answer to a member of a deleted network: its last configuration, unless it has that already (the configuration
    /// in force there is of the time `held`, if any is known), and that the network is no more.
    pub(crate) fn answer(
        &self,
        signer: &mut Signer,
        network: NetworkId,
        member: Address,
        packet_id: u64,
        held: Option<Time>,
    ) -> Option<Vec<Action>> {
        let tombstone = self.get(network)?;
        let mut actions = Vec::new();
        if held < Some(tombstone.deleted) {
            actions.extend(self.last_config(signer, network, member, Some(packet_id)));
        }
        let refusal =
            Action::Refuse { member, network, in_re: packet_id, code: CODE_NOT_FOUND, detail: None };
        actions.push(refusal);
        Some(actions)
    }

    /// The last configuration of a deleted network, as an answer or as a push.
    pub(crate) fn last_config(
        &self,
        signer: &mut Signer,
        network: NetworkId,
        member: Address,
        in_re: Option<u64>,
    ) -> Option<Action> {
        let dictionary = self.get(network)?.config(network, member).to_dictionary().into_bytes();
        let mut action = signer.config(member, network, in_re, dictionary);
        if let Action::Config { last, .. } = &mut action {
            *last = true;
        }
        Some(action)
    }

    /// Forgets the networks deleted long ago.
    pub(crate) fn prune(&mut self, store: &mut dyn Store, wall: Time) {
        let over = |tombstone: &Tombstone| wall - tombstone.deleted >= KEPT;
        let networks: Vec<NetworkId> =
            self.by_network.iter().filter(|(_, t)| over(t)).map(|(network, _)| *network).collect();
        let changes: Vec<Change> =
            networks.iter().map(|network| Change::DeleteTombstone { network: *network }).collect();
        if changes.is_empty() || store.commit(&changes).is_err() {
            return;
        }
        for network in networks {
            self.by_network.remove(&network);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn a_full_table_forgets_the_network_that_was_deleted_first() {
        let mut tombstones = Tombstones::default();
        let most = MAX_TOMBSTONES as u64;
        for n in 0..most {
            tombstones.put(NetworkId(n), Tombstone::new(Time::from_ms((most - n).cast_signed()), 1));
        }
        let (one_more, first) = (NetworkId(most), NetworkId(most - 1));
        let tombstone = Tombstone::new(Time::LAST, 1);
        assert_eq!(
            tombstones.changes(one_more, tombstone).first(),
            Some(&Change::DeleteTombstone { network: first })
        );
        tombstones.put(one_more, tombstone);
        assert_eq!((tombstones.get(first), tombstones.iter().count()), (None, MAX_TOMBSTONES));
    }

    #[test]
    fn a_deleted_network_is_remembered_for_its_time_and_no_longer() {
        let mut tombstones = Tombstones::default();
        let network = NetworkId(1);
        tombstones.put(network, Tombstone::new(Time::EPOCH, 1));
        tombstones.prune(&mut MemoryStore::new(), Time::EPOCH + KEPT - Span::ms(1));
        assert!(tombstones.get(network).is_some());
        tombstones.prune(&mut MemoryStore::new(), Time::EPOCH + KEPT);
        assert!(tombstones.get(network).is_none());
    }
}
