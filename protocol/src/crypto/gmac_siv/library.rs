//! Suite 3 over the `aes` and `ghash` crates: for every processor, and what the vectors are measured against.
//!
//! The crates look for AES instructions themselves (ARMv8's among them) and otherwise compute in constant time
//! without tables.

use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes256, Aes256Enc, Block};
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use zeroize::Zeroize;

use super::Opened;

/// Keystream blocks made at a time: what the widest back end (AVX-512 with VAES) takes in one go. Half of it makes
/// the cipher fall back to a narrower one.
const BATCH: usize = 64;

/// Both keys with their schedules expanded and the authenticator's tables prepared.
#[derive(Clone)]
pub(super) struct Keys {
    /// GHASH under the hash key of `k0`, nothing absorbed yet.
    ghash: GHash,
    k0: Aes256Enc,
    k1: Aes256,
}

impl Keys {
    /// `k0` authenticates, `k1` encrypts.
    pub(super) fn new(k0: &[u8; 32], k1: &[u8; 32]) -> Self {
        let k0 = Aes256Enc::new(k0.into());
        let mut hash_key = Block::default();
        k0.encrypt_block(&mut hash_key);
        let ghash = GHash::new(&hash_key);
        hash_key.as_mut_slice().zeroize();
        Self { ghash, k0, k1: Aes256::new(k1.into()) }
    }

    /// Half-width GMAC over the associated data (padded with zeros to whole blocks) and the payload: the two halves
    /// of the standard tag XORed together.
    ///
    /// The nonce is the packet's random ID followed by four zero bytes, and the length block counts the padding of
    /// the associated data as data, since to GMAC both are one message.
    #[inline]
    fn gmac8(&self, id: &[u8; 8], aad: &[u8], payload: &[u8]) -> [u8; 8] {
        let mut nonce = Block::default();
        nonce[..8].copy_from_slice(id);
        nonce[15] = 1;
        let mut whitening = nonce;
        self.k0.encrypt_block(&mut whitening);

        let mut hash = self.ghash.clone();
        hash.update_padded(aad);
        hash.update_padded(payload);
        let mut lengths = Block::default();
        let bits = (aad.len().next_multiple_of(16) + payload.len()) as u64 * 8;
        lengths[..8].copy_from_slice(&bits.to_be_bytes());
        hash.update(&[lengths]);
        let tag = hash.finalize();
        core::array::from_fn(|i| tag[i] ^ whitening[i] ^ tag[i + 8] ^ whitening[i + 8])
    }

    /// Encrypts or decrypts in place with the counter that follows from a wire tag.
    #[inline]
    fn ctr(&self, tag: &[u8; 16], data: &mut [u8]) {
        let mut prefix = *tag;
        // Keeps the 32-bit counter in the last four bytes from wrapping within a packet, so that counting in all 128
        // bits is the same.
        prefix[12] &= 0x7f;
        let mut counter = u128::from_be_bytes(prefix);
        let mut keystream = [Block::default(); BATCH];
        for batch in data.chunks_mut(BATCH * 16) {
            let blocks = &mut keystream[..batch.len().div_ceil(16)];
            for block in &mut *blocks {
                *block = counter.to_be_bytes().into();
                counter = counter.wrapping_add(1);
            }
            self.k1.encrypt_blocks(blocks);
            let (whole, rest) = batch.as_chunks_mut::<16>();
            for (piece, key) in whole.iter_mut().zip(&*blocks) {
                // As numbers, because the compiler turns that into one instruction a block.
                *piece = (u128::from_ne_bytes(*piece) ^ u128::from_ne_bytes((*key).into())).to_ne_bytes();
            }
            if let Some(key) = blocks.last() {
                for (byte, k) in rest.iter_mut().zip(key) {
                    *byte ^= k;
                }
            }
        }
    }

    /// Encrypts `payload` in place and returns the 16-byte tag: its first half replaces the packet ID, its second
    /// half is the packet's MAC.
    #[inline]
    pub(super) fn seal(&self, id: &[u8; 8], aad: &[u8], payload: &mut [u8]) -> [u8; 16] {
        let mut tag = Block::default();
        tag[..8].copy_from_slice(id);
        tag[8..].copy_from_slice(&self.gmac8(id, aad, payload));
        self.k1.encrypt_block(&mut tag);
        let tag = tag.into();
        self.ctr(&tag, payload);
        tag
    }

    /// Decrypts `payload` in place.
    #[inline]
    pub(super) fn open(&self, tag: &[u8; 16], aad: &[u8], payload: &mut [u8]) -> Opened {
        self.ctr(tag, payload);
        let mut opened: Block = (*tag).into();
        self.k1.decrypt_block(&mut opened);
        let (mut id, mut expected) = ([0; 8], [0; 8]);
        id.copy_from_slice(&opened[..8]);
        expected.copy_from_slice(&opened[8..]);
        let difference = u64::from_le_bytes(self.gmac8(&id, aad, payload)) ^ u64::from_le_bytes(expected);
        Opened { difference, id }
    }
}
