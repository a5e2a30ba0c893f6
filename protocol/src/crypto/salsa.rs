//! Salsa20/12 as suites 0 and 1 use it, and the masking of the tail of HELLO. Specification: VL1 packets, keys and
//! suites 0 and 1.
//!
//! Each packet has a key of its own, so what counts is how little is done before the first octet: block 0, from
//! which the authenticator's key comes, is computed beside the first blocks that encrypt, in lanes of the same
//! vectors.

#[cfg(target_arch = "x86_64")]
mod wide;

use salsa20::Salsa12;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use zeroize::{Zeroize, Zeroizing};

use super::Backend;
#[cfg(target_arch = "x86_64")]
use super::x86::{Words128, Words256, Words512};

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

/// A way to compute Salsa20/12 that this processor has.
#[derive(Debug, Clone, Copy)]
pub struct Salsa(Way);

#[derive(Clone, Copy)]
enum Way {
    #[cfg(target_arch = "x86_64")]
    Wide(wide::Width),
    Library,
}

impl core::fmt::Debug for Way {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            #[cfg(target_arch = "x86_64")]
            Self::Wide(_) => "Wide",
            Self::Library => "Library",
        })
    }
}

impl Default for Salsa {
    fn default() -> Self {
        Self::fastest()
    }
}

impl Salsa {
    /// The fastest way there is.
    #[must_use]
    pub fn fastest() -> Self {
        Backend::ALL.into_iter().find_map(Self::with).unwrap_or(Self(Way::Library))
    }

    /// The way of a certain back end. `None` if this processor does not have it.
    #[must_use]
    pub fn with(backend: Backend) -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            use wide::Width;
            let width = match backend {
                Backend::Wide512 => Words512::detect().map(Width::Sixteen),
                Backend::Wide256 => Words256::detect().map(Width::Eight),
                Backend::Wide128 => Some(Width::Four(Words128::new())),
                Backend::Portable => None,
            };
            if let Some(width) = width {
                return Some(Self(Way::Wide(width)));
            }
        }
        (backend == Backend::Portable).then_some(Self(Way::Library))
    }

    /// Starts the cipher of one packet whose protected part has `len` octets to be encrypted or decrypted (0 if it
    /// stays as it is): the first half of keystream block 0 becomes the Poly1305 key, the second half is thrown
    /// away, and [`PacketCipher::apply`] continues with block 1. `ahead` is fresh room for keystream.
    #[inline]
    #[must_use]
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(unused_variables, reason = "the crate needs no hint of the length")
    )]
    pub fn start<'a>(
        self,
        ahead: &'a mut Ahead,
        key: &[u8; 32],
        nonce: &[u8; 8],
        len: usize,
    ) -> PacketCipher<'a> {
        let rest = match self.0 {
            #[cfg(target_arch = "x86_64")]
            Way::Wide(width) => {
                let input = wide::Input::new(key, nonce);
                let blocks = width.keystream(&input, &mut ahead.0, len + 64);
                Rest::Wide(width, input, blocks)
            }
            Way::Library => {
                let mut cipher = Salsa12::new(key.into(), nonce.into());
                cipher.apply_keystream(&mut ahead.0[..64]);
                Rest::Library(cipher)
            }
        };
        PacketCipher { ahead, rest }
    }
}

/// Keystream that is made in one go: the widest vectors' lanes.
const AHEAD: usize = 16 * 64;

/// Room for the first keystream of one packet, from block 0 on. Aligned so that no vector lies across two cache
/// lines.
#[repr(align(64))]
pub struct Ahead([u8; AHEAD]);

impl Ahead {
    /// Zeros.
    #[inline]
    #[must_use]
    pub fn new() -> Self {
        Self([0; AHEAD])
    }
}

impl Default for Ahead {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Ahead {
    /// Overwrites the authenticator's key. What is behind it tells no more than the packet's plaintext, which lies in
    /// memory as well.
    fn drop(&mut self) {
        self.0[..32].zeroize();
    }
}

/// The cipher of one packet.
pub struct PacketCipher<'a> {
    ahead: &'a Ahead,
    rest: Rest,
}

enum Rest {
    /// The number of blocks that are ready.
    #[cfg(target_arch = "x86_64")]
    Wide(wide::Width, wide::Input, usize),
    Library(Salsa12),
}

impl PacketCipher<'_> {
    /// The key of the packet's authenticator.
    #[inline]
    #[must_use]
    pub fn authenticator(&self) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(&self.ahead.0[..32]);
        key
    }

    /// Encrypts or decrypts the packet's protected part in place.
    #[inline]
    pub fn apply(self, data: &mut [u8]) {
        match self.rest {
            #[cfg(target_arch = "x86_64")]
            Rest::Wide(width, input, blocks) => {
                let ready = ((blocks - 1) * 64).min(data.len());
                let (now, later) = data.split_at_mut(ready);
                for (octet, key) in now.iter_mut().zip(&self.ahead.0[64..]) {
                    *octet ^= key;
                }
                if !later.is_empty() {
                    width.apply(&input, blocks, later);
                }
            }
            Rest::Library(mut cipher) => cipher.apply_keystream(data),
        }
    }
}

/// Masks or unmasks the tail of a HELLO: Salsa20/12 under the unmixed base key, with the packet ID less its three
/// lowest bits as the nonce.
pub fn mask(base: &[u8; 32], packet_id: &[u8; 8], tail: &mut [u8]) {
    let mut nonce = *packet_id;
    nonce[7] &= 0xf8;
    Salsa12::new(base.into(), &nonce.into()).apply_keystream(tail);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn back_ends_agree_with_the_crate(
            key: [u8; 32], nonce: [u8; 8], data in prop::collection::vec(any::<u8>(), 0..4200), skip in 0usize..64,
        ) {
            let data = &data[skip.min(data.len())..];
            let mut cipher = Salsa12::new((&key).into(), (&nonce).into());
            let (mut first, mut expected) = ([0; 64], data.to_vec());
            cipher.apply_keystream(&mut first);
            cipher.apply_keystream(&mut expected);
            for salsa in Backend::ALL.into_iter().filter_map(Salsa::with) {
                let mut ahead = Ahead::new();
                let cipher = salsa.start(&mut ahead, &key, &nonce, data.len());
                prop_assert_eq!(&cipher.authenticator()[..], &first[..32]);
                let mut ours = data.to_vec();
                cipher.apply(&mut ours);
                prop_assert_eq!(&ours, &expected);
                // More data than was said is a matter of speed alone.
                let mut ours = data.to_vec();
                salsa.start(&mut Ahead::new(), &key, &nonce, 0).apply(&mut ours);
                prop_assert_eq!(&ours, &expected);
            }
        }
    }

    #[test]
    fn every_length_agrees_with_the_crate() {
        let (key, nonce) = ([0x31; 32], [7; 8]);
        for len in (0..1300).chain([2_048, 2_811, 9_000, 10_000]) {
            let mut cipher = Salsa12::new((&key).into(), (&nonce).into());
            let mut expected = vec![0; len + 64];
            cipher.apply_keystream(&mut expected);
            for backend in Backend::ALL {
                let Some(salsa) = Salsa::with(backend) else { continue };
                let mut ours = vec![0; len];
                salsa.start(&mut Ahead::new(), &key, &nonce, len).apply(&mut ours);
                assert_eq!(ours, expected[64..], "{backend:?}, {len}");
            }
        }
    }
}
