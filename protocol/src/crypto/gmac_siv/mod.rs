//! AES-GMAC-SIV: AES-256-CTR whose counter is an encrypted GMAC tag over the plaintext. Specification: VL1 packets,
//! suite 3.

mod library;
#[cfg(target_arch = "x86_64")]
mod wide;

use subtle::ConstantTimeEq;

use super::Backend;
#[cfg(target_arch = "x86_64")]
use super::x86::{Avx2, Avx512, Sse};

/// Both keys of suite 3 with their schedules expanded, and what the authenticator multiplies by. Overwritten when
/// dropped.
#[derive(Clone)]
pub struct GmacSiv(Keys);

// One by one in the tables of peers: a pointer less on the way counts more than the difference in size.
#[allow(clippy::large_enum_variant, reason = "looked at for each packet")]
#[derive(Clone)]
enum Keys {
    #[cfg(target_arch = "x86_64")]
    Wide(wide::Width, wide::Keys),
    Library(library::Keys),
}

impl GmacSiv {
    /// `k0` authenticates, `k1` encrypts. Takes the fastest way that this processor has.
    #[must_use]
    pub fn new(k0: &[u8; 32], k1: &[u8; 32]) -> Self {
        let fastest = Backend::ALL.into_iter().find_map(|backend| Self::with(backend, k0, k1));
        fastest.unwrap_or_else(|| Self(Keys::Library(library::Keys::new(k0, k1))))
    }

    /// Whether this processor has instructions for it. Without them it takes several times as long as Salsa20/12 and
    /// Poly1305.
    #[must_use]
    pub fn is_accelerated() -> bool {
        #[cfg(target_arch = "x86_64")]
        return Sse::detect().is_some();
        #[cfg(target_arch = "aarch64")]
        return std::arch::is_aarch64_feature_detected!("aes");
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        false
    }

    /// The same by a certain back end. `None` if this processor does not have it.
    #[must_use]
    pub fn with(backend: Backend, k0: &[u8; 32], k1: &[u8; 32]) -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            use wide::Width;
            let width = match backend {
                Backend::Wide512 => Avx512::detect().map(Width::Four),
                Backend::Wide256 => Avx2::detect().map(Width::Two),
                Backend::Wide128 => Sse::detect().map(Width::One),
                Backend::Portable => None,
            };
            if let Some(width) = width {
                return Some(Self(Keys::Wide(width, wide::Keys::new(width.single(), k0, k1))));
            }
        }
        (backend == Backend::Portable).then(|| Self(Keys::Library(library::Keys::new(k0, k1))))
    }

    /// Encrypts `payload` in place and returns the 16-byte tag: its first half replaces the packet ID, its second
    /// half is the packet's MAC. `associated` is what is authenticated besides, and padded with zeros to whole
    /// blocks; packets have one block.
    #[inline]
    #[must_use]
    pub fn seal(&self, id: &[u8; 8], associated: &[u8], payload: &mut [u8]) -> [u8; 16] {
        match &self.0 {
            #[cfg(target_arch = "x86_64")]
            Keys::Wide(width, keys) => width.seal(keys, id, associated, payload),
            Keys::Library(keys) => keys.seal(id, associated, payload),
        }
    }

    /// Decrypts `payload` in place and gives the `id` it was sealed with if it is authentic; if not, it holds garbage and
    /// must not be used.
    #[inline]
    #[must_use]
    pub fn open(&self, tag: &[u8; 16], associated: &[u8], payload: &mut [u8]) -> Option<[u8; 8]> {
        let opened = match &self.0 {
            #[cfg(target_arch = "x86_64")]
            Keys::Wide(width, keys) => width.open(keys, tag, associated, payload),
            Keys::Library(keys) => keys.open(tag, associated, payload),
        };
        bool::from(opened.difference.ct_eq(&0)).then_some(opened.id)
    }
}

/// What opening finds besides the plain text.
struct Opened {
    /// How the half of the tag found differs from the one that came: zero if all is authentic.
    difference: u64,
    /// What was sealed as packet ID.
    id: [u8; 8],
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every length around the borders of blocks, vectors and groups, and the largest packets.
    fn lengths() -> impl Iterator<Item = usize> {
        (0..700).chain([1_400, 1_427, 2_811, 9_000, 10_000])
    }

    #[test]
    fn every_back_end_agrees_with_the_portable_one() {
        let (k0, k1) = ([0x5a; 32], core::array::from_fn(|i| i as u8 ^ 0x77));
        let portable = GmacSiv::with(Backend::Portable, &k0, &k1).unwrap();
        for backend in Backend::ALL {
            let Some(siv) = GmacSiv::with(backend, &k0, &k1) else { continue };
            for len in lengths() {
                let plain: Vec<u8> = (0..len).map(|i| (i * 7 + len) as u8).collect();
                let (id, associated) =
                    ((len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes(), [len as u8; 16]);
                let (mut expected, mut data) = (plain.clone(), plain.clone());
                let tag = portable.seal(&id, &associated, &mut expected);
                assert_eq!(siv.seal(&id, &associated, &mut data), tag, "{backend:?}, {len}");
                assert_eq!(data, expected, "{backend:?}, {len}");
                assert_eq!(siv.open(&tag, &associated, &mut data), Some(id), "{backend:?}, {len}");
                assert_eq!(data, plain, "{backend:?}, {len}");
            }
        }
    }

    proptest! {
        #[test]
        fn back_ends_agree_on_anything(
            k0: [u8; 32], k1: [u8; 32], id: [u8; 8], associated in prop::collection::vec(any::<u8>(), 0..50),
            plain in prop::collection::vec(any::<u8>(), 0..1500), skip in 0usize..64, flip: prop::sample::Index,
        ) {
            let plain = &plain[skip.min(plain.len())..];
            let portable = GmacSiv::with(Backend::Portable, &k0, &k1).unwrap();
            let mut sealed = plain.to_vec();
            let tag = portable.seal(&id, &associated, &mut sealed);
            for backend in Backend::ALL {
                let Some(siv) = GmacSiv::with(backend, &k0, &k1) else { continue };
                let mut data = plain.to_vec();
                prop_assert_eq!(siv.seal(&id, &associated, &mut data), tag);
                prop_assert_eq!(&data, &sealed);
                // Whatever is wrong, and whatever comes out then, comes out alike.
                let mut all = [&tag[..], &associated, &sealed].concat();
                let bit = flip.index(all.len() * 8);
                all[bit / 8] ^= 1 << (bit % 8);
                let (tag, rest) = all.split_first_chunk().unwrap();
                let (associated, rest) = rest.split_at(associated.len());
                let (mut ours, mut theirs) = (rest.to_vec(), rest.to_vec());
                prop_assert_eq!(portable.open(tag, associated, &mut theirs), None);
                prop_assert_eq!(siv.open(tag, associated, &mut ours), None);
                prop_assert_eq!(ours, theirs);
            }
        }
    }
}
