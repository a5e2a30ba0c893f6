//! What a controller leaves to the one that takes its place over a restored backup: word that is out stays true.

use protocol::{Address, NetworkId, Span, Time};

use crate::revoked::Revoked;
use crate::store::Change;
use crate::time::Clock;
use crate::tombstone::Tombstone;

/// Whom it put out, which networks it deleted, and how far its time has come.
#[derive(Debug, Default)]
pub struct Legacy {
    pub(crate) revocations: Vec<KeptRevocation>,
    pub(crate) tombstones: Vec<(NetworkId, Tombstone)>,
    /// How far the certificates of each network have come.
    pub(crate) certificates: Vec<(NetworkId, Time)>,
    pub(crate) clock: Clock,
}

/// A revocation as it is handed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeptRevocation {
    pub(crate) network: NetworkId,
    pub(crate) member: Address,
    pub(crate) threshold: Time,
    pub(crate) window: Span,
}

impl KeptRevocation {
    /// What stores it.
    pub(crate) fn change(&self) -> Change {
        let record = Revoked::record(self.threshold, self.window);
        Change::PutRevocation { network: self.network, member: self.member, record }
    }
}
