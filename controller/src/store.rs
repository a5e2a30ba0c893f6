//! Where records live between runs.
//!
//! The controller keeps every record in memory and decides there; a store only has to load them all at start and to
//! take batches of changes that are kept entirely or not at all.

use std::path::PathBuf;

use protocol::{Address, NetworkId};
use serde_json::{Map, Value};

mod import;
mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use import::{ImportReport, import_json_dir};
pub use memory::MemoryStore;
#[cfg(feature = "sqlite")]
pub use sqlite::{SCHEMA_VERSION, SqliteStore, backup, restore};

/// One change of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Create or replace a network's record.
    PutNetwork {
        /// Its ID.
        network: NetworkId,
        /// The whole record.
        record: Value,
    },
    /// Create or replace a member's record; its network exists or comes earlier in the batch.
    PutMember {
        /// Its network.
        network: NetworkId,
        /// Its address.
        member: Address,
        /// The whole record.
        record: Value,
    },
    /// Create or replace a join token's record; its network exists or comes earlier in the batch.
    PutToken {
        /// Its network.
        network: NetworkId,
        /// Its ID, eight hexadecimal digits.
        token: String,
        /// The whole record.
        record: Value,
    },
    /// Create or replace the revocation of a member, who may be gone, as the network may.
    PutRevocation {
        /// Its network.
        network: NetworkId,
        /// Whose certificate is void.
        member: Address,
        /// The whole record.
        record: Value,
    },
    /// Note that a network was deleted.
    PutTombstone {
        /// Its ID.
        network: NetworkId,
        /// The whole record.
        record: Value,
    },
    /// Remove a network with all its members and join tokens; revocations stay.
    DeleteNetwork {
        /// Its ID.
        network: NetworkId,
    },
    /// Remove one member.
    DeleteMember {
        /// Its network.
        network: NetworkId,
        /// Its address.
        member: Address,
    },
    /// Remove the revocation of one member.
    DeleteRevocation {
        /// Its network.
        network: NetworkId,
        /// Whose certificate was void.
        member: Address,
    },
    /// Forget that a network was deleted.
    DeleteTombstone {
        /// Its ID.
        network: NetworkId,
    },
    /// Remove one join token.
    DeleteToken {
        /// Its network.
        network: NetworkId,
        /// Its ID.
        token: String,
    },
}

/// Everything a store holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records {
    /// All networks.
    pub networks: Vec<(NetworkId, Map<String, Value>)>,
    /// All members; every network named here is among `networks`.
    pub members: Vec<(NetworkId, Address, Map<String, Value>)>,
    /// All join tokens by their IDs; every network named here is among `networks`.
    pub tokens: Vec<(NetworkId, String, Map<String, Value>)>,
    /// All revocations by whose certificates are void.
    pub revocations: Vec<(NetworkId, Address, Map<String, Value>)>,
    /// All deleted networks.
    pub tombstones: Vec<(NetworkId, Map<String, Value>)>,
}

/// Keeps records. Implementations must be durable: a batch whose `commit` returned `Ok` survives a crash.
pub trait Store: Send {
    /// Reads everything.
    ///
    /// # Errors
    /// [`StoreError`] naming the place and the remedy.
    fn load(&mut self) -> Result<Records, StoreError>;

    /// Keeps all changes, in order, or none of them.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has changed then.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError>;
}

/// Why a store cannot be used. The text is one line for a person: what, where, what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is no database, is cut short, or holds nonsense.
    #[error(
        "controller database {} is damaged ({detail}): nothing was changed; restore a backup over it, or move it \
         (and its -wal file) away to start with an empty controller", .path.display()
    )]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// A later release wrote it.
    #[error(
        "controller database {} has schema version {found}, this program knows versions up to {known}: nothing was \
         changed; run the release that wrote it, or restore an older backup", .path.display()
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Version in the file.
        found: i64,
        /// Version of this program.
        known: i64,
    },
    /// Another process has it open.
    #[error("controller database {} is in use by another process: stop it first", .path.display())]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// The file does not exist.
    #[error("there is no controller database {}", .path.display())]
    Missing {
        /// The database file.
        path: PathBuf,
    },
    /// The operating system refused something.
    #[error("cannot {doing} {}: {source}; check that the folder exists, is writable and not full", .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Its answer.
        source: std::io::Error,
    },
    /// The database refused something.
    #[cfg(feature = "sqlite")]
    #[error("cannot {doing} the controller database {}: {source}", .path.display())]
    Database {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Its answer.
        source: rusqlite::Error,
    },
    /// A record of a zerotier-one controller cannot be taken over.
    #[error(
        "cannot import controller record {}: {detail}; nothing was imported: repair the file or move it away, then \
         start again", .path.display()
    )]
    Import {
        /// The JSON file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}
