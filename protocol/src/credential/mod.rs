//! Credentials of network members: small objects signed by a network's controller.
//!
//! Except for the certificate of membership, the signed message is the object without its signature blocks, between two
//! runs of eight bytes `7f`. Specification: VL2 credentials.

pub mod capability;
pub mod com;
pub mod coo;
pub mod membership;
pub mod revocation;
pub mod tag;

pub use capability::Capability;
pub use com::Com;
pub use coo::Coo;
pub use membership::Membership;
pub use revocation::Revocation;
pub use tag::Tag;

use crate::identity::Identity;
use crate::{Address, NetworkId, Reader, Result};

/// A signature in the form all credentials carry: 64 bytes of Ed25519, 32 bytes of message hash.
pub type Signature = [u8; 96];

/// The number of each kind of credential, as revocations name it.
pub mod kind {
    /// Certificate of membership.
    pub const COM: u8 = 1;
    /// Capability.
    pub const CAPABILITY: u8 = 2;
    /// Tag.
    pub const TAG: u8 = 3;
    /// Certificate of ownership.
    pub const COO: u8 = 4;
    /// Revocation.
    pub const REVOCATION: u8 = 6;
}

/// What looking at a credential's signature gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Signed by the controller of its network.
    Valid,
    /// Not.
    Invalid,
    /// Cannot be told before the identity of this node is known.
    UnknownSigner(Address),
}

/// Marks both ends of a signed message.
const MARKER: [u8; 8] = [0x7f; 8];

/// Ed25519, the only type of signature.
const SIGNATURE_TYPE: u8 = 1;

/// Puts the markers around what `write` appends.
fn marked(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = MARKER.to_vec();
    write(&mut message);
    message.extend_from_slice(&MARKER);
    message
}

/// Whether the controller of `network` signed; the message is made only if it has to be looked at.
fn verify(
    network: NetworkId,
    signer: Address,
    signature: &Signature,
    message: impl FnOnce() -> Vec<u8>,
    lookup: impl FnOnce(Address) -> Option<Identity>,
) -> Verification {
    if signer.is_null() || signer != network.controller() {
        return Verification::Invalid;
    }
    match lookup(signer) {
        None => Verification::UnknownSigner(signer),
        Some(identity) if identity.verify(&message(), signature) => Verification::Valid,
        Some(_) => Verification::Invalid,
    }
}

/// Appends type, length and signature.
fn write_signature(out: &mut Vec<u8>, signature: &Signature) {
    out.push(SIGNATURE_TYPE);
    out.extend_from_slice(&(signature.len() as u16).to_be_bytes());
    out.extend_from_slice(signature);
}

/// Reads type, length and signature. A signature of another type is skipped and read as zeros, which never verify.
fn read_signature(reader: &mut Reader<'_>) -> Result<Signature> {
    let kind = reader.u8("signature type")?;
    let at_length = reader.fail("signature length");
    let length = usize::from(reader.u16("signature length")?);
    if kind != SIGNATURE_TYPE {
        reader.bytes(length, "signature")?;
        return Ok([0; 96]);
    }
    if length != 96 {
        return Err(at_length);
    }
    reader.array("signature")
}

/// Skips the additional fields at the end of an object.
fn skip_additional(reader: &mut Reader<'_>) -> Result<()> {
    let length = reader.u16("length of additional fields")?;
    reader.bytes(length.into(), "additional fields")?;
    Ok(())
}
