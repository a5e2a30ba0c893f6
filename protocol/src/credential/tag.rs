//! Tags: numbers a controller gives to members for rules to look at.
//!
//! Wire form, 135 bytes: network u64 · timestamp u64 · id u32 · value u32 · issued to (5) · signer (5) · signature block
//! (1 + 2 + 96) · length of additional fields u16. Specification: VL2 credentials, tag.

use super::{Signature, Verification, marked, read_signature, skip_additional, write_signature};
use crate::identity::{Identity, SecretIdentity};
use crate::{Address, NetworkId, Reader, Result};

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    /// The network it is of.
    pub network: NetworkId,
    /// Time of issue, ms.
    pub timestamp: i64,
    /// Which tag.
    pub id: u32,
    /// Its value.
    pub value: u32,
    /// The member that has it.
    pub issued_to: Address,
    /// Who signed, null if nobody.
    pub signer: Address,
    /// All zero if unsigned.
    pub signature: Signature,
}

impl Tag {
    /// An unsigned tag.
    #[must_use]
    pub fn new(network: NetworkId, timestamp: i64, id: u32, value: u32, issued_to: Address) -> Self {
        Self { network, timestamp, id, value, issued_to, signer: Address::NULL, signature: [0; 96] }
    }

    fn write_head(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.network.0.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(&self.value.to_be_bytes());
        out.extend_from_slice(&self.issued_to.to_bytes());
        out.extend_from_slice(&self.signer.to_bytes());
    }

    /// The signed message.
    #[must_use]
    pub fn sign_data(&self) -> Vec<u8> {
        marked(|out| {
            self.write_head(out);
            out.extend_from_slice(&[0, 0]);
        })
    }

    /// Signs as the controller.
    pub fn sign(&mut self, controller: &SecretIdentity) {
        self.signer = controller.identity().address;
        self.signature = controller.sign(&self.sign_data());
    }

    /// Whether the controller of the network signed.
    pub fn verify(&self, lookup: impl FnOnce(Address) -> Option<Identity>) -> Verification {
        super::verify(self.network, self.signer, &self.signature, || self.sign_data(), lookup)
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// [`crate::Malformed`] if it is too short or the signature has a wrong length.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let tag = Self {
            network: NetworkId(reader.u64("tag network")?),
            timestamp: reader.u64("tag timestamp")? as i64,
            id: reader.u32("tag id")?,
            value: reader.u32("tag value")?,
            issued_to: reader.address("tag holder")?,
            signer: reader.address("signer")?,
            signature: read_signature(reader)?,
        };
        skip_additional(reader)?;
        Ok(tag)
    }

    /// Appends the wire form.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_head(out);
        write_signature(out, &self.signature);
        out.extend_from_slice(&[0, 0]);
    }
}
