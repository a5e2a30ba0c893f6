//! Two blocks a vector: AVX2 with VAES and VPCLMULQDQ (AMD Zen 3, Intel Alder Lake and later).

use core::arch::x86_64::*;

use super::{Blocks, Job, MASKS, Sse};

/// Exists only where the processor has AVX2, VAES and VPCLMULQDQ.
#[derive(Clone, Copy)]
pub(in crate::crypto) struct Avx2(Sse);

impl Avx2 {
    /// The token, if the processor and the operating system have the instructions.
    pub(in crate::crypto) fn detect() -> Option<Self> {
        let has = std::is_x86_feature_detected!("avx2")
            && std::is_x86_feature_detected!("vaes")
            && std::is_x86_feature_detected!("vpclmulqdq");
        if has { Sse::detect().map(Self) } else { None }
    }
}

impl Blocks for Avx2 {
    type Vector = __m256i;
    const BLOCKS: usize = 2;

    #[inline(always)]
    fn run<J: Job>(self, job: J) -> J::Output {
        #[target_feature(enable = "avx2,vaes,vpclmulqdq,aes,pclmulqdq")]
        fn compiled<J: Job>(simd: Avx2, job: J) -> J::Output {
            job.run::<Avx2, 8>(simd)
        }
        // SAFETY: the token proves all of the features.
        unsafe { compiled(self, job) }
    }

    #[inline(always)]
    fn single(self) -> Sse {
        self.0
    }

    #[inline(always)]
    fn zero(self) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    fn broadcast(self, block: u128) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_broadcastsi128_si256(self.0.broadcast(block)) }
    }

    #[inline(always)]
    fn first(self, block: u128) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_zextsi128_si256(self.0.broadcast(block)) }
    }

    #[inline(always)]
    fn count_from(self, block: u128) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_add_epi32(self.broadcast(block), _mm256_set_epi64x(0, 1, 0, 0)) }
    }

    #[inline(always)]
    fn load_blocks(self, from: &[u128]) -> __m256i {
        let from = &from[..Self::BLOCKS];
        // SAFETY: two blocks are there, as just checked; the instruction needs no alignment.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn load(self, from: &[u8]) -> __m256i {
        let from = &from[..Self::OCTETS];
        // SAFETY: 32 octets are there, as just checked; the instruction needs no alignment.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, to: &mut [u8], vector: __m256i) {
        let to = &mut to[..Self::OCTETS];
        // SAFETY: 32 octets are there, as just checked; the instruction needs no alignment.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), vector) }
    }

    #[inline(always)]
    fn load_part(self, from: &[u8]) -> __m256i {
        let mut whole = [0; Self::OCTETS];
        whole[..from.len()].copy_from_slice(from);
        self.load(&whole)
    }

    #[inline(always)]
    fn store_part(self, to: &mut [u8], vector: __m256i) {
        let mut whole = [0; Self::OCTETS];
        self.store(&mut whole, vector);
        to.copy_from_slice(&whole[..to.len()]);
    }

    #[inline(always)]
    fn keep(self, vector: __m256i, len: usize) -> __m256i {
        let mask = self.load(&MASKS[32 - len..]);
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_and_si256(vector, mask) }
    }

    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_xor_si256(a, b) }
    }

    #[inline(always)]
    fn add_32(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_add_epi32(a, b) }
    }

    #[inline(always)]
    fn reverse(self, a: __m256i) -> __m256i {
        let order = self.broadcast(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f);
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_shuffle_epi8(a, order) }
    }

    #[inline(always)]
    fn swap(self, a: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_shuffle_epi32::<0x4e>(a) }
    }

    #[inline(always)]
    fn shift_up(self, a: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_slli_si256::<8>(a) }
    }

    #[inline(always)]
    fn shift_down(self, a: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_srli_si256::<8>(a) }
    }

    #[inline(always)]
    fn fold(self, a: __m256i) -> u128 {
        // SAFETY: the token proves AVX2.
        let (low, high) = unsafe { (_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a)) };
        self.0.fold(self.0.xor(low, high))
    }

    #[inline(always)]
    fn aes_round(self, state: __m256i, key: __m256i) -> __m256i {
        // SAFETY: the token proves VAES.
        unsafe { _mm256_aesenc_epi128(state, key) }
    }

    #[inline(always)]
    fn aes_last(self, state: __m256i, key: __m256i) -> __m256i {
        // SAFETY: the token proves VAES.
        unsafe { _mm256_aesenclast_epi128(state, key) }
    }

    #[inline(always)]
    fn multiply_low(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves VPCLMULQDQ.
        unsafe { _mm256_clmulepi64_epi128::<0x00>(a, b) }
    }

    #[inline(always)]
    fn multiply_high(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves VPCLMULQDQ.
        unsafe { _mm256_clmulepi64_epi128::<0x11>(a, b) }
    }

    #[inline(always)]
    fn multiply_cross(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves VPCLMULQDQ.
        unsafe {
            _mm256_xor_si256(_mm256_clmulepi64_epi128::<0x01>(a, b), _mm256_clmulepi64_epi128::<0x10>(a, b))
        }
    }
}
