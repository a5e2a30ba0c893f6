//! Who a node is: its address, its public keys, and, for ourselves, the secret keys. Specification: VL1 identities.
//!
//! An identity holds two key pairs side by side, X25519 for key agreement and Ed25519 for signatures. The address is
//! bound to the public keys by a memory-hard hash, checked by [`Identity::locally_valid`] and by nothing else.

use core::fmt;
use core::str::FromStr;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use subtle::ConstantTimeEq;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::crypto::kdf::{sha384, sha512};
use crate::crypto::memory_hard::Hasher;
use crate::{Address, Malformed, Reader, Result};

/// Bytes of a signature: 64 of Ed25519, then the 32 bytes that were signed (the first half of the message's SHA-512).
pub const SIGNATURE_LEN: usize = 96;

/// Longest text form that is read, as in the reference implementation.
const MAX_TEXT: usize = 383;

/// An address belongs to a key only if the first byte of the memory-hard hash is below this.
const HASHCASH_LIMIT: u8 = 17;

/// A node's public identity.
///
/// Binary form, 71 bytes: address (5), type `00`, X25519 key (32), Ed25519 key (32), `00`. Text form: address, `0`
/// and the 64 key bytes in hex, with colons between.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The address the identity claims; see [`Identity::locally_valid`].
    pub address: Address,
    /// X25519 public key (32 bytes), then Ed25519 public key (32 bytes).
    pub public: [u8; 64],
}

impl Identity {
    /// Reads the text form, public or secret (the secret part is checked for form and dropped).
    ///
    /// Tolerates what the reference tolerates: either case, characters after the 128th digit of a key, repeated
    /// colons, and white space or `0x` before the address. Refuses non-hex digits, which it reads as zeros.
    ///
    /// # Errors
    /// [`Malformed`] naming the field.
    pub fn parse(text: &str) -> Result<Self> {
        parse_text(text).map(|(identity, _)| identity)
    }

    /// Reads the binary form. A secret key that follows is skipped: nobody has a reason to send one.
    ///
    /// # Errors
    /// [`Malformed`] if truncated, of an unknown type, or followed by a secret of a wrong length.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let address = reader.address("identity address")?;
        let kind = reader.clone();
        if reader.u8("identity type")? != 0 {
            return Err(kind.fail("identity type"));
        }
        let public = reader.array("identity public key")?;
        let length = reader.clone();
        match reader.u8("identity secret length")? {
            0 => {}
            64 => {
                reader.bytes(64, "identity secret key")?;
            }
            _ => return Err(length.fail("identity secret length")),
        }
        Ok(Self { address, public })
    }

    /// Appends the binary public form, 71 bytes.
    pub fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.address.to_bytes());
        to.push(0);
        to.extend_from_slice(&self.public);
        to.push(0);
    }

    /// Whether the address is one a node may own and belongs to the public key. Costs tens of milliseconds.
    #[must_use]
    pub fn locally_valid(&self) -> bool {
        if self.address.is_reserved() {
            return false;
        }
        derive_address(&mut Hasher::new(), &self.public) == Some(self.address)
    }

    /// SHA-384 over address and public key, as certificates of membership carry it.
    #[must_use]
    pub fn hash384(&self) -> [u8; 48] {
        let mut bytes = [0; 69];
        bytes[..5].copy_from_slice(&self.address.to_bytes());
        bytes[5..].copy_from_slice(&self.public);
        sha384(&bytes)
    }

    /// Whether `signature` is this identity's signature of `message`.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        verify(&self.public, message, signature)
    }

    fn x25519(&self) -> PublicKey {
        let mut key = [0; 32];
        key.copy_from_slice(&self.public[..32]);
        PublicKey::from(key)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:0:", self.address)?;
        self.public.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Identity {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// An identity with its secret keys. The keys are overwritten when it is dropped, and never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretIdentity {
    #[zeroize(skip)]
    identity: Identity,
    /// X25519 scalar, unclamped (32 bytes), then Ed25519 seed (32 bytes).
    secret: [u8; 64],
}

impl SecretIdentity {
    /// Makes a new identity with a random address. Takes about fifteen memory-hard hashes, under a second.
    #[must_use]
    pub fn generate() -> Self {
        let mut hasher = Hasher::new();
        let mut secret = Zeroizing::new([0; 64]);
        rand::fill(&mut secret[..]);
        let mut public = public_of(&secret);
        loop {
            if let Some(address) =
                derive_address(&mut hasher, &public).filter(|address| !address.is_reserved())
            {
                return Self { identity: Identity { address, public }, secret: *secret };
            }
            // The Ed25519 half need not change: a new scalar gives a new hash.
            rand::fill(&mut secret[..32]);
            public[..32].copy_from_slice(&x25519_public(&secret));
        }
    }

    /// Makes identities until the top `bits` (at most 40) of an address equal those of `prefix`: on average two to
    /// the power of `bits` generations. `progress` is told the count after every failure and stops the search by
    /// returning false.
    pub fn generate_vanity(prefix: Address, bits: u8, mut progress: impl FnMut(u64) -> bool) -> Option<Self> {
        let shift = 40 - u32::from(bits.min(40));
        let mut tried = 0;
        loop {
            let made = Self::generate();
            if made.identity.address.to_u64() >> shift == prefix.to_u64() >> shift {
                return Some(made);
            }
            tried += 1;
            if !progress(tried) {
                return None;
            }
        }
    }

    /// Reads the secret text form. Whether the secret belongs to the public key is not checked, as the reference
    /// does not; see [`SecretIdentity::is_consistent`].
    ///
    /// # Errors
    /// [`Malformed`] naming the field; also if the secret is missing.
    pub fn parse(text: &str) -> Result<Self> {
        let (identity, secret) = parse_text(text)?;
        let secret = secret.ok_or(Malformed { what: "identity secret key", at: text.len() })?;
        Ok(Self { identity, secret: *secret })
    }

    /// Whether the public keys are those of the secret keys.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        public_of(&self.secret) == self.identity.public
    }

    /// The secret text form: the public one, a colon, and the 64 secret bytes in hex.
    #[must_use]
    pub fn to_secret_string(&self) -> Zeroizing<String> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // Room for everything at once, so that no partial copy is left behind by growing.
        let mut text = Zeroizing::new(String::with_capacity(300));
        text.push_str(&self.identity.to_string());
        text.push(':');
        for byte in &self.secret {
            for nibble in [byte >> 4, byte & 0x0f] {
                text.push(char::from(DIGITS[usize::from(nibble)]));
            }
        }
        text
    }

    /// The public part.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.identity.address
    }

    /// Signs a message; the same message always gives the same signature.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        sign(&self.secret, message)
    }

    /// The 48-byte session key shared with `peer`, or `None` if its key is a point of small order, which no honest
    /// identity has and which would make the key known to everybody.
    #[must_use]
    pub fn agree(&self, peer: &Identity) -> Option<Zeroizing<[u8; 48]>> {
        let mut scalar = Zeroizing::new([0; 32]);
        scalar.copy_from_slice(&self.secret[..32]);
        let shared = StaticSecret::from(*scalar).diffie_hellman(&peer.x25519());
        if !shared.was_contributory() {
            return None;
        }
        let hash = Zeroizing::new(sha512(shared.as_bytes()));
        let mut key = Zeroizing::new([0; 48]);
        key.copy_from_slice(&hash[..48]);
        Some(key)
    }
}

impl fmt::Debug for SecretIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:0:…:…", self.identity.address)
    }
}

/// Signs with the Ed25519 half of a 64-byte secret.
pub(crate) fn sign(secret: &[u8; 64], message: &[u8]) -> [u8; SIGNATURE_LEN] {
    let mut seed = Zeroizing::new([0; 32]);
    seed.copy_from_slice(&secret[32..]);
    let digest = sha512(message);
    let mut signature = [0; SIGNATURE_LEN];
    signature[..64].copy_from_slice(&SigningKey::from_bytes(&seed).sign(&digest[..32]).to_bytes());
    signature[64..].copy_from_slice(&digest[..32]);
    signature
}

/// Verifies, strictly, with the Ed25519 half of a 64-byte public key.
pub(crate) fn verify(public: &[u8; 64], message: &[u8], signature: &[u8]) -> bool {
    let Ok(signature) = <&[u8; SIGNATURE_LEN]>::try_from(signature) else { return false };
    let digest = sha512(message);
    if !bool::from(digest[..32].ct_eq(&signature[64..])) {
        return false;
    }
    let Ok(key) = <&[u8; 32]>::try_from(&public[32..]) else { return false };
    let Ok(key) = VerifyingKey::from_bytes(key) else { return false };
    Signature::from_slice(&signature[..64])
        .is_ok_and(|signature| key.verify_strict(&digest[..32], &signature).is_ok())
}

/// The public keys of a 64-byte secret.
pub(crate) fn public_of(secret: &[u8; 64]) -> [u8; 64] {
    let mut seed = Zeroizing::new([0; 32]);
    seed.copy_from_slice(&secret[32..]);
    let mut public = [0; 64];
    public[..32].copy_from_slice(&x25519_public(secret));
    public[32..].copy_from_slice(SigningKey::from_bytes(&seed).verifying_key().as_bytes());
    public
}

fn x25519_public(secret: &[u8; 64]) -> [u8; 32] {
    let mut scalar = Zeroizing::new([0; 32]);
    scalar.copy_from_slice(&secret[..32]);
    PublicKey::from(&StaticSecret::from(*scalar)).to_bytes()
}

/// The address a public key gives, if it passes the hashcash condition.
fn derive_address(hasher: &mut Hasher, public: &[u8; 64]) -> Option<Address> {
    let hash = hasher.hash(public);
    let tail = hash.last_chunk::<5>().expect("invariant: the hash has 64 bytes");
    (hash[0] < HASHCASH_LIMIT).then(|| Address::from_bytes(*tail))
}

/// Both text forms.
fn parse_text(text: &str) -> Result<(Identity, Option<Zeroizing<[u8; 64]>>)> {
    if text.len() > MAX_TEXT {
        return Err(Malformed { what: "identity, too long", at: MAX_TEXT });
    }
    let offset = |field: &str| field.as_ptr().addr() - text.as_ptr().addr();
    let mut fields = text.split(':').filter(|field| !field.is_empty());
    let mut next = |what| fields.next().ok_or(Malformed { what, at: text.len() });

    let field = next("identity address")?;
    let digits = field.trim_ascii_start();
    let digits = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")).unwrap_or(digits);
    let refuse = || Malformed { what: "identity address", at: offset(field) };
    let mut address = 0_u64;
    for digit in digits.chars() {
        address = address << 4 | u64::from(digit.to_digit(16).ok_or_else(refuse)?);
    }
    let address = Address::from_u64(address);
    if address.is_reserved() {
        return Err(refuse());
    }

    let field = next("identity type")?;
    if field != "0" {
        return Err(Malformed { what: "identity type", at: offset(field) });
    }
    let field = next("identity public key")?;
    let public = *hex64(field, "identity public key", offset(field))?;
    let secret = match fields.next() {
        Some(field) => {
            // A newline after the last colon is no key.
            let field = field.trim_ascii_end();
            if field.is_empty() { None } else { Some(hex64(field, "identity secret key", offset(field))?) }
        }
        None => None,
    };
    if let Some(extra) = fields.next() {
        return Err(Malformed { what: "identity, too many fields", at: offset(extra) });
    }
    Ok((Identity { address, public }, secret))
}

/// The first 128 hex digits of `text`, which stands at `at`.
fn hex64(text: &str, what: &'static str, at: usize) -> Result<Zeroizing<[u8; 64]>> {
    let mut bytes = Zeroizing::new([0; 64]);
    let text = text.as_bytes();
    for (i, byte) in bytes.iter_mut().enumerate() {
        for i in [2 * i, 2 * i + 1] {
            let digit = text.get(i).and_then(|c| char::from(*c).to_digit(16));
            *byte = *byte << 4 | digit.ok_or(Malformed { what, at: at + i })? as u8;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_identity_is_valid_and_survives_its_text_form() {
        let made = SecretIdentity::generate();
        assert!(made.identity().locally_valid() && made.is_consistent());
        let text = made.to_secret_string();
        let back = SecretIdentity::parse(&text).unwrap();
        assert_eq!(back.identity(), made.identity());
        assert_eq!(back.secret, made.secret);
        assert_eq!(Identity::parse(&text).as_ref(), Ok(made.identity()));
        assert!(SecretIdentity::parse(&made.identity().to_string()).is_err());
        assert!(!format!("{made:?}").contains(&text[142..]));
        assert!(made.identity().verify(b"message", &made.sign(b"message")));
    }

    #[test]
    fn vanity_stops_when_told() {
        let mut calls = 0;
        let found = SecretIdentity::generate_vanity(Address::from_u64(0xff_0000_0000), 40, |n| {
            calls = n;
            false
        });
        assert!(found.is_none());
        assert_eq!(calls, 1);
        assert!(SecretIdentity::generate_vanity(Address::NULL, 0, |_| false).is_some());
    }
}
