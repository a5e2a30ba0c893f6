//! Protection of whole packets. Specification: VL1 packets, suites 0 to 3.
//!
//! Nothing here allocates; what depends on the session key alone is computed once per peer, in
//! [`SessionKeys::new`].

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::header::{FLAG_ENCRYPTED, FLAG_FRAGMENTED, FLAGS, HEADER_LEN, HOPS_MASK, MAC, VERB, suite};
use crate::crypto::gmac_siv::GmacSiv;
use crate::crypto::poly::Poly;
use crate::crypto::salsa::{Ahead, PacketCipher, Salsa};
use crate::crypto::{Backend, kdf, salsa};

/// How a packet is protected, among the suites that need a session key. Trusted paths (suite 2) need none:
/// [`mark_trusted`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Suite {
    /// Suite 0: authenticated with Poly1305, readable by all.
    Clear = 0,
    /// Suite 1: Salsa20/12 and Poly1305, understood by every version.
    Salsa = 1,
    /// Suite 3: AES-GMAC-SIV, for peers of protocol version 12 and later.
    AesGmacSiv = 3,
}

/// Number of the suite of trusted paths.
const TRUSTED: u8 = 2;

/// What an authentic packet tells its receiver besides its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Opened {
    /// In suite 3 what its sender had in the place of the packet ID before it armored the packet. On the wire it is
    /// ciphertext. `None` in other suites, whose packet ID anybody can read.
    pub chosen: Option<u64>,
}

/// Everything derived from the session key of one peer. Overwritten when dropped.
#[derive(Clone)]
pub struct SessionKeys {
    /// The first 32 bytes of the agreed key, for suites 0 and 1.
    base: Base,
    /// How suites 0 and 1 are computed.
    salsa: Salsa,
    poly: Poly,
    /// Both AES keys, expanded.
    siv: GmacSiv,
}

#[derive(Clone, Zeroize, ZeroizeOnDrop)]
struct Base([u8; 32]);

impl core::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SessionKeys(…)")
    }
}

impl SessionKeys {
    /// Derives and expands all keys from an agreed key ([`SecretIdentity::agree`](crate::SecretIdentity::agree)).
    #[must_use]
    pub fn new(agreed: &[u8; 48]) -> Self {
        let mut base = Base([0; 32]);
        base.0.copy_from_slice(&agreed[..32]);
        let siv = GmacSiv::new(&aes_key(agreed, b'0'), &aes_key(agreed, b'1'));
        Self { base, salsa: Salsa::fastest(), poly: Poly::fastest(), siv }
    }

    /// The same keys, used by way of a certain back end wherever this processor has it: for tests and benchmarks.
    #[must_use]
    pub fn with_backend(agreed: &[u8; 48], backend: Backend) -> Self {
        let mut keys = Self::new(agreed);
        keys.salsa = Salsa::with(backend).unwrap_or(keys.salsa);
        keys.poly = Poly::with(backend).unwrap_or(keys.poly);
        let [k0, k1] = [b'0', b'1'].map(|label| aes_key(agreed, label));
        if let Some(siv) = GmacSiv::with(backend, &k0, &k1) {
            keys.siv = siv;
        }
        keys
    }

    /// Protects a complete packet in place. The fragmented flag and the hop count are kept; suite bits and the
    /// legacy encryption flag are set here. In suite 3 the packet ID changes: what stands in the first eight bytes
    /// afterwards is the ID by which replies will quote it.
    ///
    /// # Panics
    /// If `packet` is shorter than a header.
    pub fn armor(&self, packet: &mut [u8], suite: Suite) {
        let (header, payload) = split(packet);
        let legacy = if suite == Suite::Salsa { FLAG_ENCRYPTED } else { 0 };
        header[FLAGS] = header[FLAGS] & (FLAG_FRAGMENTED | HOPS_MASK) | (suite as u8) << 3 | legacy;
        match suite {
            Suite::Clear | Suite::Salsa => {
                let encrypted = suite == Suite::Salsa;
                let mut ahead = Ahead::new();
                let cipher = self.salsa(&mut ahead, header, payload, encrypted);
                let authenticator = cipher.authenticator();
                if encrypted {
                    cipher.apply(payload);
                }
                header[MAC..VERB].copy_from_slice(&self.poly.tag(&authenticator, payload)[..8]);
            }
            Suite::AesGmacSiv => {
                let tag = self.siv.seal(&packet_id(header), &associated(header), payload);
                header[..8].copy_from_slice(&tag[..8]);
                header[MAC..VERB].copy_from_slice(&tag[8..]);
            }
        }
    }

    /// Verifies a complete packet of suite 0, 1 or 3 and decrypts it in place; the header stays as received. False
    /// means drop: not authentic, of another suite, or too short. The buffer may then hold garbage.
    #[must_use]
    pub fn dearmor(&self, packet: &mut [u8]) -> bool {
        self.open(packet).is_some()
    }

    /// [`Self::dearmor`] that tells what only the receiver learns of an authentic packet.
    #[inline]
    #[must_use]
    pub fn open(&self, packet: &mut [u8]) -> Option<Opened> {
        if packet.len() < HEADER_LEN {
            return None;
        }
        let number = suite(packet);
        let (header, payload) = split(packet);
        match number {
            0 | 1 => {
                let encrypted = number == 1;
                let mut ahead = Ahead::new();
                let cipher = self.salsa(&mut ahead, header, payload, encrypted);
                let tag = self.poly.tag(&cipher.authenticator(), payload);
                let authentic: bool = tag[..8].ct_eq(&header[MAC..VERB]).into();
                if authentic && encrypted {
                    cipher.apply(payload);
                }
                authentic.then_some(Opened { chosen: None })
            }
            3 => {
                let mut tag = [0; 16];
                tag[..8].copy_from_slice(&header[..8]);
                tag[8..].copy_from_slice(&header[MAC..VERB]);
                let id = self.siv.open(&tag, &associated(header), payload)?;
                Some(Opened { chosen: Some(u64::from_be_bytes(id)) })
            }
            _ => None,
        }
    }

    /// Masks or unmasks the tail of a HELLO, from offset `from` of the packet to its end. Before armoring on send,
    /// after verification on receipt.
    ///
    /// # Panics
    /// If `packet` is shorter than a packet ID. An offset past the end masks nothing.
    pub fn mask_hello(&self, packet: &mut [u8], from: usize) {
        let id = packet_id(packet);
        if let Some(tail) = packet.get_mut(from..) {
            salsa::mask(&self.base.0, &id, tail);
        }
    }

    /// The cipher of a packet of suite 0 or 1.
    #[inline]
    fn salsa<'a>(
        &self,
        ahead: &'a mut Ahead,
        header: &[u8],
        payload: &[u8],
        encrypted: bool,
    ) -> PacketCipher<'a> {
        let covered = header.first_chunk().expect("invariant: the header has 27 bytes before the verb");
        let key = salsa::packet_key(&self.base.0, covered, VERB + payload.len());
        let len = if encrypted { payload.len() } else { 0 };
        self.salsa.start(ahead, &key, &packet_id(header), len)
    }
}

/// One of the keys of suite 3. Specification: VL1 packets, AES keys.
fn aes_key(agreed: &[u8; 48], label: u8) -> Zeroizing<[u8; 32]> {
    let output = Zeroizing::new(kdf::kbkdf(agreed, label, 0, 0));
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(&output[..32]);
    key
}

/// The header proper, and the protected part that begins with the verb byte.
#[inline]
fn split(packet: &mut [u8]) -> (&mut [u8], &mut [u8]) {
    assert!(packet.len() >= HEADER_LEN, "a packet has a header of 28 bytes");
    packet.split_at_mut(VERB)
}

/// The first eight bytes.
#[inline]
fn packet_id(header: &[u8]) -> [u8; 8] {
    *header.first_chunk().expect("invariant: callers have at least a header")
}

/// What suite 3 authenticates besides the payload: addresses and flags without hops, padded to one block.
#[inline]
fn associated(header: &[u8]) -> [u8; 16] {
    let mut data = [0; 16];
    data[..11].copy_from_slice(&header[8..19]);
    data[10] &= !HOPS_MASK;
    data
}

/// Marks a complete packet as sent over the trusted path `path_id` (suite 2): nothing is encrypted or authenticated.
///
/// # Panics
/// If `packet` is shorter than a header.
pub fn mark_trusted(packet: &mut [u8], path_id: u64) {
    let (header, _) = split(packet);
    header[FLAGS] = header[FLAGS] & (FLAG_FRAGMENTED | HOPS_MASK) | TRUSTED << 3;
    header[MAC..VERB].copy_from_slice(&path_id.to_be_bytes());
}

/// The ID a packet of suite 2 carries. `None` for other suites, and for ID 0: no legitimate sender uses it, and
/// accepting it would let anyone in who sends from a network configured without a trusted path.
#[must_use]
pub fn trusted_path_id(packet: &[u8]) -> Option<u64> {
    if packet.len() < HEADER_LEN || suite(packet) != TRUSTED {
        return None;
    }
    let id = packet[MAC..VERB].first_chunk().map(|bytes| u64::from_be_bytes(*bytes))?;
    (id != 0).then_some(id)
}
