//! Tags: numbers a controller gives to members for rules to look at.
//!
//! Wire form, 135 bytes: network u64 · timestamp u64 · id u32 · value u32 · issued to (5) · signer (5) · signature block
//! (1 + 2 + 96) · length of additional fields u16. Specification: VL2 credentials, tag.

use super::Credential;
use crate::{Address, NetworkId, Reader, Result, Time};

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    /// The network it is of.
    pub network: NetworkId,
    /// Time of issue.
    pub timestamp: Time,
    /// Which tag.
    pub id: u32,
    /// Its value.
    pub value: u32,
    /// The member that has it.
    pub issued_to: Address,
}

impl Tag {
    /// A tag, still to be signed.
    #[must_use]
    pub fn new(network: NetworkId, timestamp: Time, id: u32, value: u32, issued_to: Address) -> Self {
        Self { network, timestamp, id, value, issued_to }
    }
}

impl Credential for Tag {
    fn network(&self) -> NetworkId {
        self.network
    }

    fn write_fields(&self, signer: Address, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.network.0.to_be_bytes());
        out.extend_from_slice(&self.timestamp.as_ms().to_be_bytes());
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(&self.value.to_be_bytes());
        out.extend_from_slice(&self.issued_to.to_bytes());
        out.extend_from_slice(&signer.to_bytes());
    }

    fn read_fields(reader: &mut Reader<'_>) -> Result<(Self, Address)> {
        let tag = Self {
            network: NetworkId(reader.u64("tag network")?),
            timestamp: Time::from_ms(reader.u64("tag timestamp")?.cast_signed()),
            id: reader.u32("tag id")?,
            value: reader.u32("tag value")?,
            issued_to: reader.address("tag holder")?,
        };
        Ok((tag, reader.address("signer")?))
    }
}
