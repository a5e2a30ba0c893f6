//! Credentials with a signature: made, checked, written and read in one place.
//!
//! Except for the certificate of membership, the signed message is the object without its signature, between two runs of eight
//! bytes `7f`, and what follows its fields is a signature block: type u8, length u16, 64 bytes of Ed25519, 32 bytes of message
//! hash; then the length of additional fields u16.

use std::ops::Deref;

use super::{Signature, Verification};
use crate::identity::{Identity, SecretIdentity};
use crate::{Address, NetworkId, Reader, Result};

/// Marks both ends of a signed message.
const MARKER: [u8; 8] = [0x7f; 8];
/// Ed25519, the only type of signature.
const SIGNATURE_TYPE: u8 = 1;

/// What the controller of a network puts its name to. One without a signature is worth nothing to others.
pub trait Credential: Sized {
    /// The network whose controller has to sign.
    fn network(&self) -> NetworkId;

    /// Appends the fields, the signer's address among them.
    fn write_fields(&self, signer: Address, out: &mut Vec<u8>);

    /// Reads the fields, and who is said to have signed.
    ///
    /// # Errors
    /// [`crate::Malformed`] if one of them is, or it is too short.
    fn read_fields(reader: &mut Reader<'_>) -> Result<(Self, Address)>;

    /// What a signature covers.
    fn message(&self, signer: Address) -> Vec<u8> {
        marked(|out| self.write_fields(signer, out))
    }

    /// Appends what follows the fields.
    fn write_signature(_signer: Address, signature: &Signature, out: &mut Vec<u8>) {
        write_signature_block(out, signature);
        write_no_additional(out);
    }

    /// Reads what follows the fields.
    ///
    /// # Errors
    /// [`crate::Malformed`] if the signature has a wrong length, or it is too short.
    fn read_signature(_signer: Address, reader: &mut Reader<'_>) -> Result<Signature> {
        let signature = read_signature_block(reader)?;
        skip_additional(reader)?;
        Ok(signature)
    }

    /// Signs as the controller.
    fn sign(self, controller: &SecretIdentity) -> Signed<Self> {
        let signer = controller.identity().address;
        let signature = controller.sign(&self.message(signer));
        Signed { credential: self, signer, signature }
    }
}

/// A credential as others see it: with a signature, which still has to be checked when it came from somebody.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Signed<T> {
    credential: T,
    signer: Address,
    signature: Signature,
}

impl<T> Deref for Signed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.credential
    }
}

impl<T: Credential> Signed<T> {
    /// Who is said to have signed; null if nobody.
    #[must_use]
    pub fn signer(&self) -> Address {
        self.signer
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Whether the controller of the network signed.
    pub fn verify(&self, lookup: impl FnOnce(Address) -> Option<Identity>) -> Verification {
        let message = || self.message(self.signer);
        verify(self.network().controller(), self.signer, &self.signature, message, lookup)
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// [`crate::Malformed`], as [`Credential::read_fields`] and [`Credential::read_signature`] say.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let (credential, signer) = T::read_fields(reader)?;
        let signature = T::read_signature(signer, reader)?;
        Ok(Signed { credential, signer, signature })
    }

    /// Appends the wire form.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_fields(self.signer, out);
        T::write_signature(self.signer, &self.signature, out);
    }
}

/// Whether `signer` is who has to sign, and did; the message is made only if it has to be looked at.
pub(super) fn verify<M: AsRef<[u8]>>(
    expected: Address,
    signer: Address,
    signature: &Signature,
    message: impl FnOnce() -> M,
    lookup: impl FnOnce(Address) -> Option<Identity>,
) -> Verification {
    if signer.is_null() || signer != expected {
        return Verification::Invalid;
    }
    match lookup(signer) {
        None => Verification::UnknownSigner(signer),
        Some(identity) if identity.verify(message().as_ref(), signature) => Verification::Valid,
        Some(_) => Verification::Invalid,
    }
}

/// Puts markers around what `write` appends, and that there are no additional fields.
pub(super) fn marked(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = MARKER.to_vec();
    write(&mut message);
    write_no_additional(&mut message);
    message.extend_from_slice(&MARKER);
    message
}

/// Appends type, length and signature.
pub(super) fn write_signature_block(out: &mut Vec<u8>, signature: &Signature) {
    out.push(SIGNATURE_TYPE);
    out.extend_from_slice(&(signature.len() as u16).to_be_bytes());
    out.extend_from_slice(signature);
}

/// Reads type, length and signature. A signature of another type is skipped and read as zeros, which never verify.
pub(super) fn read_signature_block(reader: &mut Reader<'_>) -> Result<Signature> {
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

/// Appends that there are no additional fields.
pub(super) fn write_no_additional(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0]);
}

/// Skips the additional fields at the end of an object.
pub(super) fn skip_additional(reader: &mut Reader<'_>) -> Result<()> {
    let length = reader.u16("length of additional fields")?;
    reader.bytes(length.into(), "additional fields")?;
    Ok(())
}
