//! Poly1305 (RFC 8439), of which packets carry the first half of the tag.
//!
//! The key is a packet's own, so tables pay only as far as one packet uses them: none for short packets, a few powers
//! of `r` for others. On processors with AVX2 or AVX-512 blocks go through lanes of vectors (`poly/wide.rs`). What is
//! here does the rest, and all of it elsewhere: numbers modulo 2¹³⁰ − 5 are three limbs of 44, 44 and 42 bits; four blocks are multiplied by
//! descending powers and summed before a carry is passed on, which leaves the multiplier always something to do.

#[cfg(target_arch = "x86_64")]
mod wide;

use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use zeroize::Zeroize;

use super::Backend;
#[cfg(target_arch = "x86_64")]
use super::x86::{Words256, Words512};

/// 44 ones.
const LOW: u64 = (1 << 44) - 1;
/// 42 ones.
const TOP: u64 = (1 << 42) - 1;
/// The 129th bit of a block, in its third limb: what is set behind each whole block.
const WHOLE: u64 = 1 << 40;

/// A way to compute Poly1305.
#[derive(Debug, Clone, Copy)]
pub struct Poly(Way);

#[derive(Clone, Copy)]
enum Way {
    #[cfg(target_arch = "x86_64")]
    Wide(wide::Width),
    Limbs,
    Library,
}

impl core::fmt::Debug for Way {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            #[cfg(target_arch = "x86_64")]
            Self::Wide(_) => "Wide",
            Self::Limbs => "Limbs",
            Self::Library => "Library",
        })
    }
}

impl Poly {
    /// The fastest way there is.
    #[must_use]
    pub fn fastest() -> Self {
        Backend::ALL.into_iter().find_map(Self::with).unwrap_or(Self(Way::Limbs))
    }

    /// The way of a certain back end. `None` if there is none.
    #[must_use]
    pub fn with(backend: Backend) -> Option<Self> {
        match backend {
            #[cfg(target_arch = "x86_64")]
            Backend::Wide512 => Words512::detect().map(|simd| Self(Way::Wide(wide::Width::Eight(simd)))),
            #[cfg(target_arch = "x86_64")]
            Backend::Wide256 => Words256::detect().map(|simd| Self(Way::Wide(wide::Width::Four(simd)))),
            #[cfg(not(target_arch = "x86_64"))]
            Backend::Wide512 | Backend::Wide256 => None,
            // Two lanes would not beat the processor's own multiplier.
            Backend::Wide128 => Some(Self(Way::Limbs)),
            Backend::Portable => Some(Self(Way::Library)),
        }
    }

    /// The 16-byte tag of `message` under a key that must never be used for a second message.
    #[inline]
    #[must_use]
    pub fn tag(self, key: &[u8; 32], message: &[u8]) -> [u8; 16] {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Way::Wide(width) => limbs(key, message, Some(width)),
            Way::Limbs => limbs(key, message, None),
            Way::Library => Poly1305::new(key.into()).compute_unpadded(message).into(),
        }
    }
}

/// The 16-byte tag of `message` under a key that must never be used for a second message, by the fastest way.
#[must_use]
pub fn tag(key: &[u8; 32], message: &[u8]) -> [u8; 16] {
    Poly::fastest().tag(key, message)
}

/// A number below 2¹³¹, hardly more than 2¹³⁰ after a carry.
#[derive(Clone, Copy, Default, Zeroize)]
struct Number([u64; 3]);

/// A number to multiply by, with its upper limbs times 20: what they become where a product wraps (5, and 4 since
/// three limbs have two bits more than 130).
#[derive(Clone, Copy, Default, Zeroize)]
struct Factor {
    r: [u64; 3],
    wrapped: [u64; 2],
}

impl Factor {
    #[inline(always)]
    fn new(number: Number) -> Self {
        let r = number.0;
        Self { r, wrapped: [r[1] * 20, r[2] * 20] }
    }
}

/// A sum of products: three limbs, not carried.
#[derive(Clone, Copy, Default)]
struct Sum([u128; 3]);

impl Sum {
    #[inline(always)]
    fn add(&mut self, a: Number, b: &Factor) {
        let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
        let ([a0, a1, a2], [r0, r1, r2], [s1, s2]) = (a.0, b.r, b.wrapped);
        self.0[0] += product(a0, r0) + product(a1, s2) + product(a2, s1);
        self.0[1] += product(a0, r1) + product(a1, r0) + product(a2, s2);
        self.0[2] += product(a0, r2) + product(a1, r1) + product(a2, r0);
    }

    /// Passes the carries on, once around.
    #[inline(always)]
    fn carry(self) -> Number {
        let [d0, mut d1, mut d2] = self.0;
        d1 += u128::from((d0 >> 44) as u64);
        d2 += u128::from((d1 >> 44) as u64);
        let around = (d0 as u64 & LOW) + (d2 >> 42) as u64 * 5;
        Number([around & LOW, (d1 as u64 & LOW) + (around >> 44), d2 as u64 & TOP])
    }
}

impl Number {
    /// Sixteen octets with `last` behind them.
    #[inline(always)]
    fn block(octets: &[u8; 16], last: u64) -> Self {
        let block = u128::from_le_bytes(*octets);
        Self([block as u64 & LOW, (block >> 44) as u64 & LOW, (block >> 88) as u64 | last])
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self([self.0[0] + other.0[0], self.0[1] + other.0[1], self.0[2] + other.0[2]])
    }

    #[inline(always)]
    fn times(self, factor: &Factor) -> Self {
        let mut sum = Sum::default();
        sum.add(self, factor);
        sum.carry()
    }

    /// The lowest 128 bits of the remainder modulo 2¹³⁰ − 5.
    #[inline(always)]
    fn remainder(self) -> u128 {
        let [mut a, mut b, mut c] = self.0;
        // Two rounds leave each limb within its bits.
        for _ in 0..2 {
            b += a >> 44;
            c += b >> 44;
            a = (a & LOW) + (c >> 42) * 5;
            b &= LOW;
            c &= TOP;
        }
        b += a >> 44;
        a &= LOW;
        // Plus 5: if that reaches 2¹³⁰, it is the remainder.
        let more_a = a + 5;
        let more_b = b + (more_a >> 44);
        let more_c = c + (more_b >> 44);
        let reached = (more_c >> 42).wrapping_neg();
        let choose = |less: u64, more: u64| less & !reached | more & reached;
        let (a, b, c) = (choose(a, more_a & LOW), choose(b, more_b & LOW), choose(c, more_c & TOP));
        u128::from(a) | u128::from(b) << 44 | u128::from(c) << 88
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod wide {
    //! No vectors here.
    use super::Number;

    #[derive(Clone, Copy)]
    pub(super) enum Width {}

    impl Width {
        pub(super) fn hash(self, _: Number, _: &[[u8; 16]]) -> Number {
            match self {}
        }

        pub(super) fn fewest(self) -> usize {
            match self {}
        }
    }
}

/// Own code: for whole packets several times as fast as the crate, whose vectors take a microsecond to prepare.
fn limbs(key: &[u8; 32], message: &[u8], width: Option<wide::Width>) -> [u8; 16] {
    let (r, s) = key.split_at(16);
    let r = u128::from_le_bytes(*r.first_chunk().expect("invariant: 16 octets were split off"));
    let s = u128::from_le_bytes(*s.first_chunk().expect("invariant: 16 octets are left"));
    let r = Number::block(&(r & 0x0fff_fffc_0fff_fffc_0fff_fffc_0fff_ffff).to_le_bytes(), 0);
    let mut powers = [Factor::new(r); 4];
    let mut hash = Number::default();

    let (mut blocks, last) = message.as_chunks::<16>();
    if let Some(width) = width
        && blocks.len() >= width.fewest()
    {
        hash = width.hash(r, blocks);
        blocks = &[];
    }
    let (mut groups, mut rest) = blocks.as_chunks::<4>();
    if groups.len() < 2 {
        // Its powers would cost as much as they save.
        (groups, rest) = (&[], blocks);
    } else {
        let square = r.times(&powers[3]);
        powers[2] = Factor::new(square);
        powers[1] = Factor::new(square.times(&powers[3]));
        powers[0] = Factor::new(square.times(&powers[2]));
    }
    for group in groups {
        let mut sum = Sum::default();
        // The one that waits for the group before comes last.
        for i in [1, 2, 3] {
            sum.add(Number::block(&group[i], WHOLE), &powers[i]);
        }
        sum.add(hash.plus(Number::block(&group[0], WHOLE)), &powers[0]);
        hash = sum.carry();
    }
    for block in rest {
        hash = hash.plus(Number::block(block, WHOLE)).times(&powers[3]);
    }
    if !last.is_empty() {
        let mut block = [0; 16];
        block[..last.len()].copy_from_slice(last);
        block[last.len()] = 1;
        hash = hash.plus(Number::block(&block, 0)).times(&powers[3]);
    }
    powers.zeroize();
    hash.remainder().wrapping_add(s).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn agree(key: &[u8; 32], message: &[u8]) {
        let expected = Poly::with(Backend::Portable).unwrap().tag(key, message);
        for backend in Backend::ALL {
            let Some(poly) = Poly::with(backend) else { continue };
            assert_eq!(poly.tag(key, message), expected, "{backend:?}, {}", message.len());
        }
        assert_eq!(tag(key, message), expected);
    }

    #[test]
    fn every_length_agrees_with_the_crate() {
        let key = core::array::from_fn(|i| (i as u8).wrapping_mul(37) ^ 0x5c);
        for len in (0..700).chain([1_400, 2_811, 9_000, 10_000]) {
            let message: Vec<u8> = (0..len).map(|i| (i * 11 + len) as u8).collect();
            agree(&key, &message);
        }
    }

    /// Numbers near the modulus and limbs full of ones, where a lost carry shows.
    #[test]
    fn extremes_agree_with_the_crate() {
        let octets = [0x00, 0x01, 0x04, 0x05, 0x7f, 0x80, 0xfa, 0xfb, 0xfc, 0xff];
        for r in octets {
            for s in [0, 0xff] {
                let mut key = [r; 32];
                key[16..].fill(s);
                for fill in octets {
                    for len in [1, 15, 16, 17, 32, 48, 63, 64, 65, 128, 1_024, 2_811] {
                        agree(&key, &vec![fill; len]);
                    }
                }
            }
        }
        // r = 1 adds the blocks up: remainders around the modulus itself.
        let mut key = [0; 32];
        key[0] = 1;
        for low in 0xf0..=0xff {
            for blocks in 1..9 {
                let mut message = vec![0xff; blocks * 16];
                message[0] = low;
                agree(&key, &message);
            }
        }
    }

    proptest! {
        #[test]
        fn back_ends_agree_with_the_crate(
            key: [u8; 32], message in prop::collection::vec(any::<u8>(), 0..2000), skip in 0usize..16,
        ) {
            agree(&key, &message[skip.min(message.len())..]);
        }

        #[test]
        fn sparse_numbers_agree(key in prop::collection::vec(prop_oneof![Just(0), Just(0xff), any::<u8>()], 32),
                                message in prop::collection::vec(prop_oneof![Just(0), Just(0xff), any::<u8>()], 0..300)) {
            agree(key[..].try_into().unwrap(), &message);
        }
    }
}
