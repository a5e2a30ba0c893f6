//! One block a vector: SSE with AES-NI and PCLMULQDQ (2010 and later).

use core::arch::x86_64::*;

use super::{Blocks, Job, MASKS};

/// Exists only where the processor has SSE4.1, AES-NI and PCLMULQDQ.
#[derive(Clone, Copy)]
pub(in crate::crypto) struct Sse(());

impl Sse {
    /// The token, if the processor has the instructions.
    pub(in crate::crypto) fn detect() -> Option<Self> {
        let has = std::is_x86_feature_detected!("sse4.1")
            && std::is_x86_feature_detected!("ssse3")
            && std::is_x86_feature_detected!("aes")
            && std::is_x86_feature_detected!("pclmulqdq");
        has.then_some(Self(()))
    }

    /// A round of the equivalent inverse cipher.
    #[inline(always)]
    pub(in crate::crypto) fn aes_inverse_round(self, state: __m128i, key: __m128i) -> __m128i {
        // SAFETY: the token proves AES-NI.
        unsafe { _mm_aesdec_si128(state, key) }
    }

    /// The last round of the equivalent inverse cipher.
    #[inline(always)]
    pub(in crate::crypto) fn aes_inverse_last(self, state: __m128i, key: __m128i) -> __m128i {
        // SAFETY: the token proves AES-NI.
        unsafe { _mm_aesdeclast_si128(state, key) }
    }

    /// A round key of the equivalent inverse cipher from one of the cipher.
    #[inline(always)]
    pub(in crate::crypto) fn aes_inverse_key(self, key: __m128i) -> __m128i {
        // SAFETY: the token proves AES-NI.
        unsafe { _mm_aesimc_si128(key) }
    }
}

impl Blocks for Sse {
    type Vector = __m128i;
    const BLOCKS: usize = 1;

    #[inline(always)]
    fn run<J: Job>(self, job: J) -> J::Output {
        #[target_feature(enable = "sse4.1,ssse3,aes,pclmulqdq")]
        fn compiled<J: Job>(simd: Sse, job: J) -> J::Output {
            job.run::<Sse, 8>(simd)
        }
        // SAFETY: the token proves all of the features.
        unsafe { compiled(self, job) }
    }

    #[inline(always)]
    fn single(self) -> Sse {
        self
    }

    #[inline(always)]
    fn zero(self) -> __m128i {
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { _mm_setzero_si128() }
    }

    #[inline(always)]
    fn broadcast(self, block: u128) -> __m128i {
        // SAFETY: both are 16 octets of which every pattern is valid.
        unsafe { core::mem::transmute::<u128, __m128i>(block) }
    }

    #[inline(always)]
    fn first(self, block: u128) -> __m128i {
        self.broadcast(block)
    }

    #[inline(always)]
    fn count_from(self, block: u128) -> __m128i {
        self.broadcast(block)
    }

    #[inline(always)]
    fn load_blocks(self, from: &[u128]) -> __m128i {
        self.broadcast(from[0])
    }

    #[inline(always)]
    fn load(self, from: &[u8]) -> __m128i {
        let from = &from[..Self::OCTETS];
        // SAFETY: 16 octets are there, as just checked; the instruction needs no alignment.
        unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, to: &mut [u8], vector: __m128i) {
        let to = &mut to[..Self::OCTETS];
        // SAFETY: 16 octets are there, as just checked; the instruction needs no alignment.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), vector) }
    }

    #[inline(always)]
    fn load_part(self, from: &[u8]) -> __m128i {
        let mut whole = [0; Self::OCTETS];
        whole[..from.len()].copy_from_slice(from);
        self.load(&whole)
    }

    #[inline(always)]
    fn store_part(self, to: &mut [u8], vector: __m128i) {
        let mut whole = [0; Self::OCTETS];
        self.store(&mut whole, vector);
        to.copy_from_slice(&whole[..to.len()]);
    }

    #[inline(always)]
    fn keep(self, vector: __m128i, len: usize) -> __m128i {
        let mask = self.load(&MASKS[32 - len..]);
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { _mm_and_si128(vector, mask) }
    }

    #[inline(always)]
    fn xor(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { _mm_xor_si128(a, b) }
    }

    #[inline(always)]
    fn add_32(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { _mm_add_epi32(a, b) }
    }

    #[inline(always)]
    fn reverse(self, a: __m128i) -> __m128i {
        // SAFETY: the token proves SSSE3.
        unsafe { _mm_shuffle_epi8(a, _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f)) }
    }

    #[inline(always)]
    fn swap(self, a: __m128i) -> __m128i {
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { _mm_shuffle_epi32::<0x4e>(a) }
    }

    #[inline(always)]
    fn shift_up(self, a: __m128i) -> __m128i {
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { _mm_slli_si128::<8>(a) }
    }

    #[inline(always)]
    fn shift_down(self, a: __m128i) -> __m128i {
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { _mm_srli_si128::<8>(a) }
    }

    #[inline(always)]
    fn fold(self, a: __m128i) -> u128 {
        // SAFETY: both are 16 octets of which every pattern is valid.
        unsafe { core::mem::transmute::<__m128i, u128>(a) }
    }

    #[inline(always)]
    fn aes_round(self, state: __m128i, key: __m128i) -> __m128i {
        // SAFETY: the token proves AES-NI.
        unsafe { _mm_aesenc_si128(state, key) }
    }

    #[inline(always)]
    fn aes_last(self, state: __m128i, key: __m128i) -> __m128i {
        // SAFETY: the token proves AES-NI.
        unsafe { _mm_aesenclast_si128(state, key) }
    }

    #[inline(always)]
    fn multiply_low(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: the token proves PCLMULQDQ.
        unsafe { _mm_clmulepi64_si128::<0x00>(a, b) }
    }

    #[inline(always)]
    fn multiply_high(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: the token proves PCLMULQDQ.
        unsafe { _mm_clmulepi64_si128::<0x11>(a, b) }
    }

    #[inline(always)]
    fn multiply_cross(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: the token proves PCLMULQDQ.
        unsafe { _mm_xor_si128(_mm_clmulepi64_si128::<0x01>(a, b), _mm_clmulepi64_si128::<0x10>(a, b)) }
    }
}
