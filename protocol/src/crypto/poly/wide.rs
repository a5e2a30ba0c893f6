//! Poly1305 with a block in each lane of the processor's vectors.
//!
//! Numbers have five limbs of 26 bits, each in a lane of 64 that has room for sums of products. Lane `j` takes every
//! `L`-th block and is multiplied by `r` to the power of `L` in between; the last multiplication is by a power of
//! its own, after which the lanes add up to the hash. Where the number of blocks is not a multiple of `L`, zeros come
//! *before* the first block.

use zeroize::Zeroize;

use super::{Factor, LOW, Number, TOP};
use crate::crypto::x86::{Words, Words256, Words512, WordsJob};

/// 26 ones.
const LIMB: u64 = (1 << 26) - 1;
/// Lanes of the widest vectors.
const MOST: usize = 8;

/// How many lanes, with the token that proves they can be used.
#[derive(Clone, Copy)]
pub(super) enum Width {
    Eight(Words512),
    Four(Words256),
}

impl Width {
    /// The hash of whole blocks, of which there are enough to be worth the preparation ([`Width::fewest`]).
    #[inline]
    pub(super) fn hash(self, r: Number, blocks: &[[u8; 16]]) -> Number {
        let job = Hash { r, blocks };
        match self {
            Self::Eight(simd) => simd.run(job),
            Self::Four(simd) => simd.run(job),
        }
    }

    /// From how many blocks on this is faster than one block after the other.
    #[inline]
    pub(super) fn fewest(self) -> usize {
        match self {
            Self::Eight(_) => 16,
            Self::Four(_) => 12,
        }
    }
}

/// The five limbs of a number.
#[inline(always)]
fn split(number: Number) -> [u64; 5] {
    let [a, b, c] = number.0;
    let c = c + (b >> 44);
    let b = b & LOW;
    [a & LIMB, (a >> 26 | b << 18) & LIMB, b >> 8 & LIMB, (b >> 34 | c << 10) & LIMB, c >> 16]
}

/// Joins limbs of at most 30 bits.
#[inline(always)]
fn join(limbs: [u64; 5]) -> Number {
    let [a, b, c, d, e] = limbs.map(u128::from);
    let low = a + (b << 26) + (c << 52) + (d << 78);
    let top = (low >> 88) as u64 + ((e as u64) << 16);
    Number([(low as u64 & LOW) + (top >> 42) * 5, (low >> 44) as u64 & LOW, top & TOP])
}

/// What lanes are multiplied by, with the upper limbs times 5, as they become where a product wraps.
#[derive(Clone, Copy)]
struct Factors<V> {
    r: [V; 5],
    wrapped: [V; 5],
}

impl<V: Copy> Factors<V> {
    #[inline(always)]
    fn new<S: Words<Vector = V>>(simd: S, r: [V; 5]) -> Self {
        let mut wrapped = r;
        for limb in &mut wrapped {
            *limb = simd.add_64(*limb, simd.left_64::<2>(*limb));
        }
        Self { r, wrapped }
    }

    /// The same in every lane.
    #[inline(always)]
    fn splat<S: Words<Vector = V>>(simd: S, number: Number) -> Self {
        let limbs = split(number);
        let mut r = [simd.splat_64(0); 5];
        for (r, limb) in r.iter_mut().zip(limbs) {
            *r = simd.splat_64(limb);
        }
        Self::new(simd, r)
    }

    /// Adds the products with `a` to a sum that is not carried.
    #[inline(always)]
    fn multiply<S: Words<Vector = V>>(&self, simd: S, sum: &mut [V; 5], a: &[V; 5]) {
        for (i, limb) in a.iter().enumerate() {
            for j in 0..5 {
                let (to, factor) = if i + j < 5 { (i + j, self.r[j]) } else { (i + j - 5, self.wrapped[j]) };
                sum[to] = simd.add_64(sum[to], simd.multiply(*limb, factor));
            }
        }
    }
}

/// Passes carries on until limbs have hardly more than 26 bits.
#[inline(always)]
fn carry<S: Words>(simd: S, d: &mut [S::Vector; 5]) {
    let mask = simd.splat_64(LIMB);
    // Two chains side by side: from limb 3 around to 1, and from 0 to 4.
    for from in [3, 0, 4, 1, 2, 0, 3] {
        let over = simd.right_64::<26>(d[from]);
        d[from] = simd.and(d[from], mask);
        if from == 4 {
            d[0] = simd.add_64(d[0], simd.add_64(over, simd.left_64::<2>(over)));
        } else {
            d[from + 1] = simd.add_64(d[from + 1], over);
        }
    }
}

/// The limbs of a batch of blocks, with `last` added to their uppermost limbs.
#[inline(always)]
fn load<S: Words>(simd: S, blocks: &[u8], last: S::Vector) -> [S::Vector; 5] {
    let (low, high) = simd.halves(blocks);
    let mask = simd.splat_64(LIMB);
    [
        simd.and(low, mask),
        simd.and(simd.right_64::<26>(low), mask),
        simd.and(simd.or(simd.right_64::<52>(low), simd.left_64::<12>(high)), mask),
        simd.and(simd.right_64::<14>(high), mask),
        simd.or(simd.right_64::<40>(high), last),
    ]
}

struct Hash<'a> {
    r: Number,
    blocks: &'a [[u8; 16]],
}

impl WordsJob for Hash<'_> {
    type Output = Number;

    #[inline(always)]
    fn run<S: Words>(self, simd: S) -> Number {
        let lanes = S::LANES / 2;
        // Powers 1 to `lanes`, each the product of two of which the larger is a power of two.
        let mut powers = [self.r; MOST];
        let mut double = 1;
        while double < lanes {
            let factor = Factor::new(powers[double - 1]);
            for i in 0..double {
                powers[double + i] = powers[i].times(&factor);
            }
            double *= 2;
        }
        let step = powers[lanes - 1];
        let one = Factors::splat(simd, step);
        let two = Factors::splat(simd, step.times(&Factor::new(step)));
        let mut own = [[0; MOST]; 5];
        for lane in 0..lanes {
            let limbs = split(powers[lanes - 1 - S::ORDER[lane]]);
            for (own, limb) in own.iter_mut().zip(limbs) {
                own[lane] = limb;
            }
        }

        let bit = 1 << 24;
        let whole = simd.splat_64(bit);
        let odd = self.blocks.len() % lanes;
        let (first, rest) = self.blocks.split_at(if odd == 0 { lanes } else { odd });
        let mut padded = [[0; 16]; MOST];
        padded[lanes - first.len()..lanes].copy_from_slice(first);
        let mut bits = [0; MOST];
        for (lane, bits) in bits[..lanes].iter_mut().enumerate() {
            *bits = if S::ORDER[lane] >= lanes - first.len() { bit } else { 0 };
        }
        let mut hash = load(simd, padded.as_flattened(), simd.load_64(&bits));

        let mut rest = rest.as_flattened();
        let batch = lanes * 16;
        while rest.len() >= 2 * batch {
            let mut sum = load(simd, &rest[batch..2 * batch], whole);
            let middle = load(simd, &rest[..batch], whole);
            one.multiply(simd, &mut sum, &middle);
            two.multiply(simd, &mut sum, &hash);
            carry(simd, &mut sum);
            (hash, rest) = (sum, &rest[2 * batch..]);
        }
        if rest.len() >= batch {
            let mut sum = load(simd, &rest[..batch], whole);
            one.multiply(simd, &mut sum, &hash);
            carry(simd, &mut sum);
            hash = sum;
        }

        let mut factors = [simd.splat_64(0); 5];
        for (factor, own) in factors.iter_mut().zip(&own) {
            *factor = simd.load_64(own);
        }
        let mut sum = [simd.splat_64(0); 5];
        Factors::new(simd, factors).multiply(simd, &mut sum, &hash);
        carry(simd, &mut sum);
        powers.zeroize();
        own.zeroize();
        let mut limbs = [0; 5];
        for (limb, sum) in limbs.iter_mut().zip(sum) {
            *limb = simd.fold_64(sum);
        }
        join(limbs)
    }
}
