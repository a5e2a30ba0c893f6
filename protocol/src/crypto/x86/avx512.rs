//! Four blocks a vector: AVX-512 with VAES and VPCLMULQDQ (Intel Ice Lake, AMD Zen 4 and later).

use core::arch::x86_64::*;

use super::{Blocks, Job, Sse};

/// Exists only where the processor has AVX-512 (F, BW, DQ, VL), VAES and VPCLMULQDQ.
#[derive(Clone, Copy)]
pub(in crate::crypto) struct Avx512(Sse);

impl Avx512 {
    /// The token, if the processor and the operating system have the instructions.
    pub(in crate::crypto) fn detect() -> Option<Self> {
        let has = std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512bw")
            && std::is_x86_feature_detected!("avx512dq")
            && std::is_x86_feature_detected!("avx512vl")
            && std::is_x86_feature_detected!("avx2")
            && std::is_x86_feature_detected!("vaes")
            && std::is_x86_feature_detected!("vpclmulqdq");
        if has { Sse::detect().map(Self) } else { None }
    }
}

/// A mask of the first `len` octets, or of all if that is more than a vector has.
#[inline(always)]
fn first(len: usize) -> u64 {
    if len < 64 { (1 << len) - 1 } else { u64::MAX }
}

impl Blocks for Avx512 {
    type Vector = __m512i;
    const BLOCKS: usize = 4;

    #[inline(always)]
    fn run<J: Job>(self, job: J) -> J::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,vaes,vpclmulqdq,aes,pclmulqdq")]
        fn compiled<J: Job>(simd: Avx512, job: J) -> J::Output {
            job.run::<Avx512, 4>(simd)
        }
        // SAFETY: the token proves all of the features.
        unsafe { compiled(self, job) }
    }

    #[inline(always)]
    fn single(self) -> Sse {
        self.0
    }

    #[inline(always)]
    fn zero(self) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn broadcast(self, block: u128) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_broadcast_i32x4(self.0.broadcast(block)) }
    }

    #[inline(always)]
    fn first(self, block: u128) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_zextsi128_si512(self.0.broadcast(block)) }
    }

    #[inline(always)]
    fn count_from(self, block: u128) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_add_epi32(self.broadcast(block), _mm512_set_epi64(0, 3, 0, 2, 0, 1, 0, 0)) }
    }

    #[inline(always)]
    fn load_blocks(self, from: &[u128]) -> __m512i {
        let from = &from[..Self::BLOCKS];
        // SAFETY: four blocks are there, as just checked; the instruction needs no alignment.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn load(self, from: &[u8]) -> __m512i {
        let from = &from[..Self::OCTETS];
        // SAFETY: 64 octets are there, as just checked; the instruction needs no alignment.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, to: &mut [u8], vector: __m512i) {
        let to = &mut to[..Self::OCTETS];
        // SAFETY: 64 octets are there, as just checked; the instruction needs no alignment.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), vector) }
    }

    #[inline(always)]
    fn load_part(self, from: &[u8]) -> __m512i {
        let mask = first(from.len());
        // SAFETY: the token proves AVX-512BW; only octets inside the slice are touched, for the mask has no more ones.
        unsafe { _mm512_maskz_loadu_epi8(mask, from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_part(self, to: &mut [u8], vector: __m512i) {
        let mask = first(to.len());
        // SAFETY: the token proves AVX-512BW; only octets inside the slice are touched, for the mask has no more ones.
        unsafe { _mm512_mask_storeu_epi8(to.as_mut_ptr().cast(), mask, vector) }
    }

    #[inline(always)]
    fn keep(self, vector: __m512i, len: usize) -> __m512i {
        // SAFETY: the token proves AVX-512BW.
        unsafe { _mm512_maskz_mov_epi8(first(len), vector) }
    }

    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_xor_si512(a, b) }
    }

    #[inline(always)]
    fn add_32(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    fn reverse(self, a: __m512i) -> __m512i {
        let order = self.broadcast(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f);
        // SAFETY: the token proves AVX-512BW.
        unsafe { _mm512_shuffle_epi8(a, order) }
    }

    #[inline(always)]
    fn swap(self, a: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_shuffle_epi32::<_MM_PERM_BADC>(a) }
    }

    #[inline(always)]
    fn shift_up(self, a: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_bslli_epi128::<8>(a) }
    }

    #[inline(always)]
    fn shift_down(self, a: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_bsrli_epi128::<8>(a) }
    }

    #[inline(always)]
    fn fold(self, a: __m512i) -> u128 {
        // SAFETY: the token proves AVX-512F and AVX2.
        let pair = unsafe { _mm256_xor_si256(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64::<1>(a)) };
        // SAFETY: the token proves AVX2.
        let (low, high) = unsafe { (_mm256_castsi256_si128(pair), _mm256_extracti128_si256::<1>(pair)) };
        self.0.fold(self.0.xor(low, high))
    }

    #[inline(always)]
    fn aes_round(self, state: __m512i, key: __m512i) -> __m512i {
        // SAFETY: the token proves VAES and AVX-512F.
        unsafe { _mm512_aesenc_epi128(state, key) }
    }

    #[inline(always)]
    fn aes_last(self, state: __m512i, key: __m512i) -> __m512i {
        // SAFETY: the token proves VAES and AVX-512F.
        unsafe { _mm512_aesenclast_epi128(state, key) }
    }

    #[inline(always)]
    fn multiply_low(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves VPCLMULQDQ and AVX-512F.
        unsafe { _mm512_clmulepi64_epi128::<0x00>(a, b) }
    }

    #[inline(always)]
    fn multiply_high(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves VPCLMULQDQ and AVX-512F.
        unsafe { _mm512_clmulepi64_epi128::<0x11>(a, b) }
    }

    #[inline(always)]
    fn multiply_cross(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves VPCLMULQDQ and AVX-512F.
        unsafe {
            _mm512_xor_si512(_mm512_clmulepi64_epi128::<0x01>(a, b), _mm512_clmulepi64_epi128::<0x10>(a, b))
        }
    }
}
