//! Salsa20/12 with a block in each lane of the processor's vectors.

use zeroize::Zeroize;

use crate::crypto::x86::{Words, Words128, Words256, Words512, WordsJob};

/// "expand 32-byte k", the constants of keys of 32 octets.
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// How many lanes, with the token that proves they can be used.
#[derive(Clone, Copy)]
pub(super) enum Width {
    Sixteen(Words512),
    Eight(Words256),
    Four(Words128),
}

/// The sixteen words that go into a block; those of the counter (8 and 9) are zero. Overwritten when dropped.
pub(super) struct Input([u32; 16]);

impl Drop for Input {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Input {
    #[inline(always)]
    pub(super) fn new(key: &[u8; 32], nonce: &[u8; 8]) -> Self {
        let k = |i: usize| u32::from_le_bytes([key[i * 4], key[i * 4 + 1], key[i * 4 + 2], key[i * 4 + 3]]);
        let n = |i: usize| {
            u32::from_le_bytes([nonce[i * 4], nonce[i * 4 + 1], nonce[i * 4 + 2], nonce[i * 4 + 3]])
        };
        let [a, b, c, d] = CONSTANTS;
        Self([a, k(0), k(1), k(2), k(3), b, n(0), n(1), 0, 0, c, k(4), k(5), k(6), k(7), d])
    }
}

/// A quarter round on four words of the state.
macro_rules! quarter {
    ($simd:ident, $x:ident, $a:literal, $b:literal, $c:literal, $d:literal) => {
        $x[$b] = $simd.xor($x[$b], $simd.rotate::<7, 25>($simd.add($x[$a], $x[$d])));
        $x[$c] = $simd.xor($x[$c], $simd.rotate::<9, 23>($simd.add($x[$b], $x[$a])));
        $x[$d] = $simd.xor($x[$d], $simd.rotate::<13, 19>($simd.add($x[$c], $x[$b])));
        $x[$a] = $simd.xor($x[$a], $simd.rotate::<18, 14>($simd.add($x[$d], $x[$c])));
    };
}

/// Exclusive or of a whole batch and the blocks from number `block` on.
#[inline(always)]
fn batch<S: Words>(simd: S, input: &Input, block: usize, data: &mut [u8]) {
    let mut start = [simd.splat(0); 16];
    for (lane, word) in start.iter_mut().zip(&input.0) {
        *lane = simd.splat(*word);
    }
    // Packets are far too short for the upper half of the counter.
    start[8] = simd.count_from(block as u32);
    let mut x = start;
    for _ in 0..6 {
        quarter!(simd, x, 0, 4, 8, 12);
        quarter!(simd, x, 5, 9, 13, 1);
        quarter!(simd, x, 10, 14, 2, 6);
        quarter!(simd, x, 15, 3, 7, 11);
        quarter!(simd, x, 0, 1, 2, 3);
        quarter!(simd, x, 5, 6, 7, 4);
        quarter!(simd, x, 10, 11, 8, 9);
        quarter!(simd, x, 15, 12, 13, 14);
    }
    for (x, start) in x.iter_mut().zip(start) {
        *x = simd.add(*x, start);
    }
    simd.apply(data, &x);
}

/// A batch of the narrowest width that covers `wanted` octets, if there is one: the blocks it has.
#[inline(always)]
fn fitting<S: Words>(simd: S, input: &Input, block: usize, data: &mut [u8], wanted: usize) -> usize {
    let half = simd.narrow();
    let quarter = half.narrow();
    if wanted > S::BATCH / 2 {
        batch(simd, input, block, data);
        S::LANES
    } else if wanted > S::BATCH / 4 {
        batch(half, input, block, data);
        <S::Narrow as Words>::LANES
    } else {
        batch(quarter, input, block, data);
        <<S::Narrow as Words>::Narrow as Words>::LANES
    }
}

struct Keystream<'a> {
    input: &'a Input,
    ahead: &'a mut [u8],
    wanted: usize,
}

impl WordsJob for Keystream<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<S: Words>(self, simd: S) -> usize {
        fitting(simd, self.input, 0, self.ahead, self.wanted)
    }
}

struct Apply<'a> {
    input: &'a Input,
    block: usize,
    data: &'a mut [u8],
}

impl WordsJob for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Words>(self, simd: S) {
        let Self { input, mut block, mut data } = self;
        while data.len() >= S::BATCH {
            let (head, rest) = data.split_at_mut(S::BATCH);
            batch(simd, input, block, head);
            (data, block) = (rest, block + S::LANES);
        }
        while !data.is_empty() {
            let mut keystream = [0; super::AHEAD];
            let blocks = fitting(simd, input, block, &mut keystream, data.len());
            let (head, rest) = data.split_at_mut(data.len().min(blocks * 64));
            for (octet, key) in head.iter_mut().zip(&keystream) {
                *octet ^= key;
            }
            (data, block) = (rest, block + blocks);
        }
    }
}

impl Width {
    /// Adds keystream from block 0 on to `ahead`, which has room for the widest batch: at least `wanted` octets or
    /// as much as is made in one go. Returns the number of blocks, at least four.
    #[inline]
    pub(super) fn keystream(self, input: &Input, ahead: &mut [u8; super::AHEAD], wanted: usize) -> usize {
        let job = Keystream { input, ahead, wanted };
        match self {
            Self::Sixteen(simd) => simd.run(job),
            Self::Eight(simd) => simd.run(job),
            Self::Four(simd) => simd.run(job),
        }
    }

    /// Exclusive or of `data` and the keystream from number `block` on.
    #[inline]
    pub(super) fn apply(self, input: &Input, block: usize, data: &mut [u8]) {
        let job = Apply { input, block, data };
        match self {
            Self::Sixteen(simd) => simd.run(job),
            Self::Eight(simd) => simd.run(job),
            Self::Four(simd) => simd.run(job),
        }
    }
}
