//! A store that forgets: for tests and simulations.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::{Address, NetworkId};
use serde_json::{Map, Value};

use super::{Change, Records, Store, StoreError};

#[derive(Debug, Default)]
struct Content {
    networks: BTreeMap<NetworkId, Map<String, Value>>,
    members: BTreeMap<(NetworkId, Address), Map<String, Value>>,
    tokens: BTreeMap<(NetworkId, String), Map<String, Value>>,
    revocations: BTreeMap<(NetworkId, Address), Map<String, Value>>,
    tombstones: BTreeMap<NetworkId, Map<String, Value>>,
    commits: u64,
    refuse: bool,
}

/// Records in memory. Clones share them, so a test can look behind a controller, or open a second one over what the
/// first left.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    content: Arc<Mutex<Content>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Batches taken so far.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.content().commits
    }

    /// Makes every later commit fail (`true`) or succeed again, as a full disk would.
    pub fn refuse_commits(&self, refuse: bool) {
        self.content().refuse = refuse;
    }

    fn content(&self) -> std::sync::MutexGuard<'_, Content> {
        // The content is consistent whenever the lock is free: a panic elsewhere does not spoil it.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Records, StoreError> {
        let content = self.content();
        Ok(Records {
            networks: content.networks.iter().map(|(id, record)| (*id, record.clone())).collect(),
            members: content
                .members
                .iter()
                .map(|((nw, member), record)| (*nw, *member, record.clone()))
                .collect(),
            tokens: content
                .tokens
                .iter()
                .map(|((nw, token), record)| (*nw, token.clone(), record.clone()))
                .collect(),
            revocations: content
                .revocations
                .iter()
                .map(|((nw, member), record)| (*nw, *member, record.clone()))
                .collect(),
            tombstones: content.tombstones.iter().map(|(id, record)| (*id, record.clone())).collect(),
        })
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut content = self.content();
        if content.refuse {
            return Err(StoreError::Io {
                doing: "write",
                path: "memory".into(),
                source: std::io::ErrorKind::StorageFull.into(),
            });
        }
        let object = |record: &Value| record.as_object().cloned().unwrap_or_default();
        for change in changes {
            match change {
                Change::PutNetwork { network, record } => {
                    content.networks.insert(*network, object(record));
                }
                Change::PutMember { network, member, record } => {
                    content.members.insert((*network, *member), object(record));
                }
                Change::DeleteNetwork { network } => {
                    content.networks.remove(network);
                    content.members.retain(|(of, _), _| of != network);
                    content.tokens.retain(|(of, _), _| of != network);
                }
                Change::DeleteMember { network, member } => {
                    content.members.remove(&(*network, *member));
                }
                Change::PutToken { network, token, record } => {
                    content.tokens.insert((*network, token.clone()), object(record));
                }
                Change::PutRevocation { network, member, record } => {
                    content.revocations.insert((*network, *member), object(record));
                }
                Change::DeleteRevocation { network, member } => {
                    content.revocations.remove(&(*network, *member));
                }
                Change::PutTombstone { network, record } => {
                    content.tombstones.insert(*network, object(record));
                }
                Change::DeleteTombstone { network } => {
                    content.tombstones.remove(network);
                }
                Change::DeleteToken { network, token } => {
                    content.tokens.remove(&(*network, token.clone()));
                }
            }
        }
        content.commits += 1;
        Ok(())
    }
}
