//! Revocations: credentials issued up to some time are void.
//!
//! Wire form, 152 bytes: zero u32 · id u32 · network u64 · zero u32 · credential id u32 · threshold u64 · flags u64 ·
//! target (5) · signer (5) · credential type u8 · signature block (1 + 2 + 96) · length of additional fields u16.
//! Specification: VL2 credentials, revocation.

use super::Credential;
use crate::{Address, NetworkId, Reader, Result, Time};

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
    /// Credentials with this timestamp or an earlier one are void.
    pub threshold: Time,
    /// See [`FAST_PROPAGATE`].
    pub flags: u64,
    /// Whose credential.
    pub target: Address,
    /// Which kind of credential, see [`super::kind`].
    pub kind: u8,
}

impl Revocation {
    /// Whether members pass it on.
    #[must_use]
    pub fn fast_propagate(&self) -> bool {
        self.flags & FAST_PROPAGATE != 0
    }
}

impl Credential for Revocation {
    fn network(&self) -> NetworkId {
        self.network
    }

    fn write_fields(&self, signer: Address, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(&self.network.0.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.credential_id.to_be_bytes());
        out.extend_from_slice(&self.threshold.as_ms().to_be_bytes());
        out.extend_from_slice(&self.flags.to_be_bytes());
        out.extend_from_slice(&self.target.to_bytes());
        out.extend_from_slice(&signer.to_bytes());
        out.push(self.kind);
    }

    fn read_fields(reader: &mut Reader<'_>) -> Result<(Self, Address)> {
        reader.u32("revocation")?;
        let id = reader.u32("revocation id")?;
        let network = NetworkId(reader.u64("revocation network")?);
        reader.u32("revocation")?;
        let credential_id = reader.u32("revoked credential")?;
        let threshold = Time::from_ms(reader.u64("revocation threshold")?.cast_signed());
        let flags = reader.u64("revocation flags")?;
        let target = reader.address("revocation target")?;
        let signer = reader.address("signer")?;
        let kind = reader.u8("revoked credential type")?;
        Ok((Self { id, network, credential_id, threshold, flags, target, kind }, signer))
    }
}
