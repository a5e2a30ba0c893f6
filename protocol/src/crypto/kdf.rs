//! Hashes and the key derivation of suite 3. Specification: VL1 packets, AES keys.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha384, Sha512};
use zeroize::Zeroizing;

/// SHA-512 (FIPS 180-4).
#[must_use]
pub fn sha512(message: &[u8]) -> [u8; 64] {
    Sha512::digest(message).into()
}

/// SHA-384 (FIPS 180-4).
#[must_use]
pub fn sha384(message: &[u8]) -> [u8; 48] {
    Sha384::digest(message).into()
}

/// HMAC-SHA-384 (RFC 2104) with a 48-byte key.
#[must_use]
pub fn hmac_sha384(key: &[u8; 48], message: &[u8]) -> [u8; 48] {
    let mut block = Zeroizing::new([0; 128]);
    block[..48].copy_from_slice(key);
    let mut mac = Hmac::<Sha384>::new((&*block).into());
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// One block of the KBKDF in counter mode (NIST SP 800-108) with HMAC-SHA-384: counter, the letters `ZT`, a label
/// byte, a zero, a context byte, and the output length of 384 bits.
#[must_use]
pub fn kbkdf(key: &[u8; 48], label: u8, context: u8, counter: u32) -> [u8; 48] {
    let [a, b, c, d] = counter.to_be_bytes();
    hmac_sha384(key, &[a, b, c, d, b'Z', b'T', label, 0, context, 0, 0, 0x01, 0x80])
}
