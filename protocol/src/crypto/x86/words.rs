//! Vectors of 32-bit words, one lane a block of a stream cipher, in three widths.
//!
//! The same word of 4, 8 or 16 blocks lies in one vector, so that a round needs no exchange between lanes; the
//! blocks are turned into octets at the end.

use core::arch::x86_64::*;

/// Work on words that is compiled once for each width.
pub(in crate::crypto) trait WordsJob {
    /// What it results in.
    type Output;

    /// Does the work. Implementations are `#[inline(always)]`.
    fn run<S: Words>(self, simd: S) -> Self::Output;
}

/// Vectors of [`Words::LANES`] words.
pub(in crate::crypto) trait Words: Copy {
    /// A vector.
    type Vector: Copy;
    /// The next narrower width, for what does not fill a vector; the narrowest has itself.
    type Narrow: Words;
    /// Words in a vector.
    const LANES: usize;
    /// Octets in a batch of [`Words::LANES`] blocks.
    const BATCH: usize = Self::LANES * 64;

    /// Runs a job that is compiled for this width.
    fn run<J: WordsJob>(self, job: J) -> J::Output;
    /// The token of the next narrower width.
    fn narrow(self) -> Self::Narrow;
    /// `word` in every lane.
    fn splat(self, word: u32) -> Self::Vector;
    /// `word` in the first lane, `word + 1` in the second, and so on.
    fn count_from(self, word: u32) -> Self::Vector;
    /// Sum modulo 2³².
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Exclusive or.
    fn xor(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Rotates each word left by `LEFT` bits; `RIGHT` is 32 less `LEFT`.
    fn rotate<const LEFT: i32, const RIGHT: i32>(self, a: Self::Vector) -> Self::Vector;
    /// Exclusive or of a batch's octets and its blocks, given as vectors of their words.
    fn apply(self, batch: &mut [u8], words: &[Self::Vector; 16]);

    /// Half as many lanes of 64 bits: `word` in every one.
    fn splat_64(self, word: u64) -> Self::Vector;
    /// The first [`Words::LANES`] / 2 words of a slice that has at least as many.
    fn load_64(self, from: &[u64]) -> Self::Vector;
    /// The sum of all 64-bit lanes, modulo 2⁶⁴.
    fn fold_64(self, a: Self::Vector) -> u64;
    /// Sum of 64-bit lanes, modulo 2⁶⁴.
    fn add_64(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Products of the lower halves of 64-bit lanes.
    fn multiply(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Bitwise and.
    fn and(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Bitwise or.
    fn or(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Each 64-bit lane shifted towards its lowest bit.
    fn right_64<const BITS: u32>(self, a: Self::Vector) -> Self::Vector;
    /// Each 64-bit lane shifted towards its highest bit.
    fn left_64<const BITS: u32>(self, a: Self::Vector) -> Self::Vector;
    /// The lower and the upper halves of as many 16-octet blocks as there are 64-bit lanes, in the order of
    /// [`Words::ORDER`].
    fn halves(self, blocks: &[u8]) -> (Self::Vector, Self::Vector);
    /// Which block each lane of [`Words::halves`] has. Only as many as there are lanes count.
    const ORDER: [usize; 8];
}

/// Four lanes: SSE2, which every x86-64 has.
#[derive(Clone, Copy)]
pub(in crate::crypto) struct Words128(());

/// Eight lanes; exists only where the processor has AVX2.
#[derive(Clone, Copy)]
pub(in crate::crypto) struct Words256(Words128);

/// Sixteen lanes; exists only where the processor has AVX-512 (F, BW, DQ, VL).
#[derive(Clone, Copy)]
pub(in crate::crypto) struct Words512(Words256);

impl Words128 {
    /// The token.
    pub(in crate::crypto) fn new() -> Self {
        Self(())
    }
}

impl Words256 {
    /// The token, if the processor and the operating system have the instructions.
    pub(in crate::crypto) fn detect() -> Option<Self> {
        std::is_x86_feature_detected!("avx2").then_some(Self(Words128(())))
    }
}

impl Words512 {
    /// The token, if the processor and the operating system have the instructions.
    pub(in crate::crypto) fn detect() -> Option<Self> {
        let has = std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512bw")
            && std::is_x86_feature_detected!("avx512dq")
            && std::is_x86_feature_detected!("avx512vl");
        if has { Words256::detect().map(Self) } else { None }
    }
}

impl Words for Words128 {
    type Vector = __m128i;
    type Narrow = Self;
    const LANES: usize = 4;

    #[inline(always)]
    fn run<J: WordsJob>(self, job: J) -> J::Output {
        job.run(self)
    }

    #[inline(always)]
    fn narrow(self) -> Self {
        self
    }

    #[inline(always)]
    fn splat(self, word: u32) -> __m128i {
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { _mm_set1_epi32(word as i32) }
    }

    #[inline(always)]
    fn count_from(self, word: u32) -> __m128i {
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { _mm_add_epi32(_mm_set1_epi32(word as i32), _mm_set_epi32(3, 2, 1, 0)) }
    }

    #[inline(always)]
    fn add(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { _mm_add_epi32(a, b) }
    }

    #[inline(always)]
    fn xor(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { _mm_xor_si128(a, b) }
    }

    #[inline(always)]
    fn rotate<const LEFT: i32, const RIGHT: i32>(self, a: __m128i) -> __m128i {
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { _mm_or_si128(_mm_slli_epi32::<LEFT>(a), _mm_srli_epi32::<RIGHT>(a)) }
    }

    #[inline(always)]
    fn apply(self, batch: &mut [u8], words: &[__m128i; 16]) {
        let batch = &mut batch[..Self::BATCH];
        for quarter in 0..4 {
            let [a, b, c, d] = [0, 1, 2, 3].map(|i| words[quarter * 4 + i]);
            // SAFETY: SSE2 belongs to every x86-64.
            let rows = unsafe {
                let (ab, cd) = (_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
                let (ab_high, cd_high) = (_mm_unpackhi_epi32(a, b), _mm_unpackhi_epi32(c, d));
                [
                    _mm_unpacklo_epi64(ab, cd),
                    _mm_unpackhi_epi64(ab, cd),
                    _mm_unpacklo_epi64(ab_high, cd_high),
                    _mm_unpackhi_epi64(ab_high, cd_high),
                ]
            };
            for (block, row) in rows.into_iter().enumerate() {
                let octets = &mut batch[block * 64 + quarter * 16..][..16];
                let at: *mut __m128i = octets.as_mut_ptr().cast();
                // SAFETY: 16 octets are there, as the slice says; the instructions need no alignment.
                unsafe { _mm_storeu_si128(at, _mm_xor_si128(_mm_loadu_si128(at), row)) }
            }
        }
    }

    const ORDER: [usize; 8] = [0, 1, 0, 0, 0, 0, 0, 0];

    #[inline(always)]
    fn splat_64(self, word: u64) -> __m128i {
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { _mm_set1_epi64x(word as i64) }
    }

    #[inline(always)]
    fn load_64(self, from: &[u64]) -> __m128i {
        let from = &from[..Self::LANES / 2];
        // SAFETY: as many words are there, as just checked; the instruction needs no alignment.
        unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn fold_64(self, a: __m128i) -> u64 {
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { (_mm_cvtsi128_si64(_mm_add_epi64(a, _mm_unpackhi_epi64(a, a)))) as u64 }
    }

    #[inline(always)]
    fn add_64(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { _mm_add_epi64(a, b) }
    }

    #[inline(always)]
    fn multiply(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { _mm_mul_epu32(a, b) }
    }

    #[inline(always)]
    fn and(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { _mm_and_si128(a, b) }
    }

    #[inline(always)]
    fn or(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { _mm_or_si128(a, b) }
    }

    #[inline(always)]
    fn right_64<const BITS: u32>(self, a: __m128i) -> __m128i {
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { _mm_srl_epi64(a, _mm_cvtsi32_si128(BITS as i32)) }
    }

    #[inline(always)]
    fn left_64<const BITS: u32>(self, a: __m128i) -> __m128i {
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { _mm_sll_epi64(a, _mm_cvtsi32_si128(BITS as i32)) }
    }

    #[inline(always)]
    fn halves(self, blocks: &[u8]) -> (__m128i, __m128i) {
        let blocks = &blocks[..Self::LANES * 8];
        let from: *const __m128i = blocks.as_ptr().cast();
        // SAFETY: two vectors of octets are there, as just checked; the instructions need no alignment.
        let (a, b) = unsafe { (_mm_loadu_si128(from), _mm_loadu_si128(from.add(1))) };
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { (_mm_unpacklo_epi64(a, b), _mm_unpackhi_epi64(a, b)) }
    }
}

impl Words for Words256 {
    type Vector = __m256i;
    type Narrow = Words128;
    const LANES: usize = 8;

    #[inline(always)]
    fn run<J: WordsJob>(self, job: J) -> J::Output {
        #[target_feature(enable = "avx2")]
        fn compiled<J: WordsJob>(simd: Words256, job: J) -> J::Output {
            job.run(simd)
        }
        // SAFETY: the token proves AVX2.
        unsafe { compiled(self, job) }
    }

    #[inline(always)]
    fn narrow(self) -> Words128 {
        self.0
    }

    #[inline(always)]
    fn splat(self, word: u32) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_set1_epi32(word as i32) }
    }

    #[inline(always)]
    fn count_from(self, word: u32) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_add_epi32(_mm256_set1_epi32(word as i32), _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0)) }
    }

    #[inline(always)]
    fn add(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_add_epi32(a, b) }
    }

    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_xor_si256(a, b) }
    }

    #[inline(always)]
    fn rotate<const LEFT: i32, const RIGHT: i32>(self, a: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_or_si256(_mm256_slli_epi32::<LEFT>(a), _mm256_srli_epi32::<RIGHT>(a)) }
    }

    #[inline(always)]
    fn apply(self, batch: &mut [u8], words: &[__m256i; 16]) {
        let batch = &mut batch[..Self::BATCH];
        let mut quarters = [[self.splat(0); 4]; 4];
        for (quarter, rows) in quarters.iter_mut().enumerate() {
            let [a, b, c, d] = [0, 1, 2, 3].map(|i| words[quarter * 4 + i]);
            // SAFETY: the token proves AVX2.
            *rows = unsafe {
                let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
                let (ab_high, cd_high) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
                [
                    _mm256_unpacklo_epi64(ab, cd),
                    _mm256_unpackhi_epi64(ab, cd),
                    _mm256_unpacklo_epi64(ab_high, cd_high),
                    _mm256_unpackhi_epi64(ab_high, cd_high),
                ]
            };
        }
        // Row `i` has blocks `i` and `i + 4` in its halves.
        for half in 0..2 {
            for i in 0..4 {
                let (a, b) = (quarters[half * 2][i], quarters[half * 2 + 1][i]);
                // SAFETY: the token proves AVX2.
                let rows = unsafe {
                    [_mm256_permute2x128_si256::<0x20>(a, b), _mm256_permute2x128_si256::<0x31>(a, b)]
                };
                for (upper, row) in rows.into_iter().enumerate() {
                    let octets = &mut batch[(upper * 4 + i) * 64 + half * 32..][..32];
                    let at: *mut __m256i = octets.as_mut_ptr().cast();
                    // SAFETY: 32 octets are there, as the slice says; the instructions need no alignment.
                    unsafe { _mm256_storeu_si256(at, _mm256_xor_si256(_mm256_loadu_si256(at), row)) }
                }
            }
        }
    }

    const ORDER: [usize; 8] = [0, 2, 1, 3, 0, 0, 0, 0];

    #[inline(always)]
    fn splat_64(self, word: u64) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_set1_epi64x(word as i64) }
    }

    #[inline(always)]
    fn load_64(self, from: &[u64]) -> __m256i {
        let from = &from[..Self::LANES / 2];
        // SAFETY: as many words are there, as just checked; the instruction needs no alignment.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn fold_64(self, a: __m256i) -> u64 {
        // SAFETY: the token proves AVX2.
        let (low, high) = unsafe { (_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a)) };
        self.0.fold_64(self.0.add_64(low, high))
    }

    #[inline(always)]
    fn add_64(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_add_epi64(a, b) }
    }

    #[inline(always)]
    fn multiply(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_mul_epu32(a, b) }
    }

    #[inline(always)]
    fn and(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_and_si256(a, b) }
    }

    #[inline(always)]
    fn or(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_or_si256(a, b) }
    }

    #[inline(always)]
    fn right_64<const BITS: u32>(self, a: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_srl_epi64(a, _mm_cvtsi32_si128(BITS as i32)) }
    }

    #[inline(always)]
    fn left_64<const BITS: u32>(self, a: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_sll_epi64(a, _mm_cvtsi32_si128(BITS as i32)) }
    }

    #[inline(always)]
    fn halves(self, blocks: &[u8]) -> (__m256i, __m256i) {
        let blocks = &blocks[..Self::LANES * 8];
        let from: *const __m256i = blocks.as_ptr().cast();
        // SAFETY: two vectors of octets are there, as just checked; the instructions need no alignment.
        let (a, b) = unsafe { (_mm256_loadu_si256(from), _mm256_loadu_si256(from.add(1))) };
        // SAFETY: the token proves AVX2.
        unsafe { (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b)) }
    }
}

impl Words for Words512 {
    type Vector = __m512i;
    type Narrow = Words256;
    const LANES: usize = 16;

    #[inline(always)]
    fn run<J: WordsJob>(self, job: J) -> J::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2")]
        fn compiled<J: WordsJob>(simd: Words512, job: J) -> J::Output {
            job.run(simd)
        }
        // SAFETY: the token proves all of the features.
        unsafe { compiled(self, job) }
    }

    #[inline(always)]
    fn narrow(self) -> Words256 {
        self.0
    }

    #[inline(always)]
    fn splat(self, word: u32) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_set1_epi32(word as i32) }
    }

    #[inline(always)]
    fn count_from(self, word: u32) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe {
            let lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
            _mm512_add_epi32(_mm512_set1_epi32(word as i32), lanes)
        }
    }

    #[inline(always)]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_xor_si512(a, b) }
    }

    #[inline(always)]
    fn rotate<const LEFT: i32, const RIGHT: i32>(self, a: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_rol_epi32::<LEFT>(a) }
    }

    #[inline(always)]
    fn apply(self, batch: &mut [u8], words: &[__m512i; 16]) {
        let batch = &mut batch[..Self::BATCH];
        let mut quarters = [[self.splat(0); 4]; 4];
        for (quarter, rows) in quarters.iter_mut().enumerate() {
            let [a, b, c, d] = [0, 1, 2, 3].map(|i| words[quarter * 4 + i]);
            // SAFETY: the token proves AVX-512F.
            *rows = unsafe {
                let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
                let (ab_high, cd_high) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
                [
                    _mm512_unpacklo_epi64(ab, cd),
                    _mm512_unpackhi_epi64(ab, cd),
                    _mm512_unpacklo_epi64(ab_high, cd_high),
                    _mm512_unpackhi_epi64(ab_high, cd_high),
                ]
            };
        }
        // Row `i` has blocks `i`, `i + 4`, `i + 8` and `i + 12` in its quarters: a second transposition.
        for i in 0..4 {
            let [a, b, c, d] = quarters.map(|rows| rows[i]);
            // SAFETY: the token proves AVX-512F.
            let rows = unsafe {
                let (ab, cd) = (_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0x44>(c, d));
                let (ab_high, cd_high) =
                    (_mm512_shuffle_i32x4::<0xee>(a, b), _mm512_shuffle_i32x4::<0xee>(c, d));
                [
                    _mm512_shuffle_i32x4::<0x88>(ab, cd),
                    _mm512_shuffle_i32x4::<0xdd>(ab, cd),
                    _mm512_shuffle_i32x4::<0x88>(ab_high, cd_high),
                    _mm512_shuffle_i32x4::<0xdd>(ab_high, cd_high),
                ]
            };
            for (four, row) in rows.into_iter().enumerate() {
                let octets = &mut batch[(four * 4 + i) * 64..][..64];
                let at: *mut __m512i = octets.as_mut_ptr().cast();
                // SAFETY: 64 octets are there, as the slice says; the instructions need no alignment.
                unsafe { _mm512_storeu_si512(at, _mm512_xor_si512(_mm512_loadu_si512(at), row)) }
            }
        }
    }

    const ORDER: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

    #[inline(always)]
    fn splat_64(self, word: u64) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_set1_epi64(word as i64) }
    }

    #[inline(always)]
    fn load_64(self, from: &[u64]) -> __m512i {
        let from = &from[..Self::LANES / 2];
        // SAFETY: as many words are there, as just checked; the instruction needs no alignment.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn fold_64(self, a: __m512i) -> u64 {
        // SAFETY: the token proves AVX-512F.
        let (low, high) = unsafe { (_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64::<1>(a)) };
        self.0.fold_64(self.0.add_64(low, high))
    }

    #[inline(always)]
    fn add_64(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_add_epi64(a, b) }
    }

    #[inline(always)]
    fn multiply(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_mul_epu32(a, b) }
    }

    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_and_si512(a, b) }
    }

    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_or_si512(a, b) }
    }

    #[inline(always)]
    fn right_64<const BITS: u32>(self, a: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_srli_epi64::<BITS>(a) }
    }

    #[inline(always)]
    fn left_64<const BITS: u32>(self, a: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_slli_epi64::<BITS>(a) }
    }

    #[inline(always)]
    fn halves(self, blocks: &[u8]) -> (__m512i, __m512i) {
        let blocks = &blocks[..Self::LANES * 8];
        let from: *const __m512i = blocks.as_ptr().cast();
        // SAFETY: two vectors of octets are there, as just checked; the instructions need no alignment.
        let (a, b) = unsafe { (_mm512_loadu_si512(from), _mm512_loadu_si512(from.add(1))) };
        // SAFETY: the token proves AVX-512F.
        unsafe { (_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b)) }
    }
}
