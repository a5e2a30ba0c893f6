//! Poly1305 (RFC 8439), of which packets carry the first half of the tag.

use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;

/// The 16-byte tag of `message` under a key that must never be used for a second message.
#[must_use]
pub fn tag(key: &[u8; 32], message: &[u8]) -> [u8; 16] {
    Poly1305::new(key.into()).compute_unpadded(message).into()
}
