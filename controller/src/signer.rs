//! Whose word everything is that a controller says.

use protocol::verbs::config_chunk;
use protocol::{Address, NetworkId, SecretIdentity};
use rand::Rng as _;
use rand::rngs::StdRng;

use crate::controller::Action;

/// The identity that signs, and the chance that numbers, addresses and tokens are taken from.
pub(crate) struct Signer {
    pub(crate) identity: SecretIdentity,
    pub(crate) random: StdRng,
}

impl Signer {
    /// The first ten digits of the IDs of its networks.
    pub(crate) fn address(&self) -> Address {
        self.identity.identity().address
    }

    /// Whether a network is one of those whose members believe this controller.
    pub(crate) fn owns(&self, network: NetworkId) -> bool {
        network.controller() == self.address()
    }

    /// Cuts and signs a configuration.
    pub(crate) fn config(
        &mut self,
        member: Address,
        network: NetworkId,
        in_re: Option<u64>,
        dictionary: Vec<u8>,
    ) -> Action {
        let update_id = self.random.next_u64().max(1);
        let chunks = config_chunk::cut(network, &dictionary, 0, update_id, &self.identity);
        Action::Config { member, network, in_re, chunks, dictionary, last: false }
    }
}
