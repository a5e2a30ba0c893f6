//! Revocations: credentials issued up to some time are void.
//!
//! Wire form, 152 bytes: zero u32 · id u32 · network u64 · zero u32 · credential id u32 · threshold u64 · flags u64 ·
//! target (5) · signer (5) · credential type u8 · signature block (1 + 2 + 96) · length of additional fields u16.
//! Specification: VL2 credentials, revocation.

use super::{Signature, Verification, marked, read_signature, skip_additional, write_signature};
use crate::identity::{Identity, SecretIdentity};
use crate::{Address, NetworkId, Reader, Result};

/// Flag: pass it on to the other members.
pub const FAST_PROPAGATE: u64 = 1;

/// A revocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revocation {
    /// Random number.
    pub id: u32,
    /// The network it is of.
    pub network: NetworkId,
    /// Which credential of that kind, 0 for the certificate of membership.
    pub credential_id: u32,
    /// Credentials with this timestamp (ms) or an earlier one are void.
    pub threshold: i64,
    /// See [`FAST_PROPAGATE`].
    pub flags: u64,
    /// Whose credential.
    pub target: Address,
    /// Who signed, null if nobody.
    pub signer: Address,
    /// Which kind of credential, see [`super::kind`].
    pub kind: u8,
    /// All zero if unsigned.
    pub signature: Signature,
}

impl Revocation {
    /// Whether members pass it on.
    #[must_use]
    pub fn fast_propagate(&self) -> bool {
        self.flags & FAST_PROPAGATE != 0
    }

    fn write_head(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(&self.network.0.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.credential_id.to_be_bytes());
        out.extend_from_slice(&self.threshold.to_be_bytes());
        out.extend_from_slice(&self.flags.to_be_bytes());
        out.extend_from_slice(&self.target.to_bytes());
        out.extend_from_slice(&self.signer.to_bytes());
        out.push(self.kind);
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
        reader.u32("revocation")?;
        let id = reader.u32("revocation id")?;
        let network = NetworkId(reader.u64("revocation network")?);
        reader.u32("revocation")?;
        let revocation = Self {
            id,
            network,
            credential_id: reader.u32("revoked credential")?,
            threshold: reader.u64("revocation threshold")? as i64,
            flags: reader.u64("revocation flags")?,
            target: reader.address("revocation target")?,
            signer: reader.address("signer")?,
            kind: reader.u8("revoked credential type")?,
            signature: read_signature(reader)?,
        };
        skip_additional(reader)?;
        Ok(revocation)
    }

    /// Appends the wire form.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_head(out);
        write_signature(out, &self.signature);
        out.extend_from_slice(&[0, 0]);
    }
}
