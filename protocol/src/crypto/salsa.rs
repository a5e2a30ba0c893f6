//! Salsa20/12 as suites 0 and 1 use it, and the masking of the tail of HELLO. Specification: VL1 packets, keys and
//! suites 0 and 1.

use salsa20::Salsa12;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use zeroize::Zeroizing;

/// Mixes a packet's header into the base key: packet ID, addresses, flags without the hops, and the length of the
/// whole packet, so that a tag covers them all. `header` is the first 19 bytes of the packet as they will travel.
#[must_use]
pub fn packet_key(base: &[u8; 32], header: &[u8; 19], packet_len: usize) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new(*base);
    for (k, h) in key.iter_mut().zip(&header[..18]) {
        *k ^= h;
    }
    key[18] ^= header[18] & 0xf8;
    key[19] ^= packet_len as u8;
    key[20] ^= (packet_len >> 8) as u8;
    key
}

/// Starts the cipher of one packet: the first half of keystream block 0 becomes the Poly1305 key, the second half
/// is thrown away, and the returned cipher continues with block 1.
#[must_use]
pub fn start(key: &[u8; 32], nonce: &[u8; 8]) -> (Zeroizing<[u8; 32]>, Salsa12) {
    let mut cipher = Salsa12::new(key.into(), nonce.into());
    let mut block = Zeroizing::new([0; 64]);
    cipher.apply_keystream(&mut *block);
    let mut authenticator = Zeroizing::new([0; 32]);
    authenticator.copy_from_slice(&block[..32]);
    (authenticator, cipher)
}

/// Masks or unmasks the tail of a HELLO: Salsa20/12 under the unmixed base key, with the packet ID less its three
/// lowest bits as the nonce.
pub fn mask(base: &[u8; 32], packet_id: &[u8; 8], tail: &mut [u8]) {
    let mut nonce = *packet_id;
    nonce[7] &= 0xf8;
    Salsa12::new(base.into(), &nonce.into()).apply_keystream(tail);
}
