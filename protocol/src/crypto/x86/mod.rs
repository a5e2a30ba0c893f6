//! Vectors of AES blocks and of words on x86-64, in three widths each.
//!
//! The only place of the crate that names instructions. Each width is a token that exists only where the processor
//! has its instructions ([`Sse::detect`] and so on), so that what is built on [`Blocks`] is ordinary safe code: the
//! `unsafe` of an operation is justified by the token it takes.
//!
//! A function that works on vectors has to be compiled *for* the instructions, or else each operation becomes a
//! call. Hence [`Job`]: [`Blocks::run`] compiles a job's `run`, which is always inlined, once for each width.

#![allow(unsafe_code, reason = "SIMD instructions, each justified by the token of its width")]

mod avx2;
mod avx512;
mod sse;
mod words;

pub(super) use avx2::Avx2;
pub(super) use avx512::Avx512;
pub(super) use sse::Sse;
pub(super) use words::{Words, Words128, Words256, Words512, WordsJob};

/// Work that is compiled once for each width.
pub(super) trait Job {
    /// What it results in.
    type Output;

    /// Does the work, best with `GROUP` vectors in flight. Implementations are `#[inline(always)]`.
    fn run<S: Blocks, const GROUP: usize>(self, simd: S) -> Self::Output;
}

/// Vectors of [`Blocks::BLOCKS`] blocks of 16 octets. As a number, a block is little-endian: octet 0 is the lowest.
pub(super) trait Blocks: Copy {
    /// A vector.
    type Vector: Copy;
    /// Blocks in a vector.
    const BLOCKS: usize;
    /// Octets in a vector.
    const OCTETS: usize = Self::BLOCKS * 16;

    /// Runs a job that is compiled for this width.
    fn run<J: Job>(self, job: J) -> J::Output;
    /// The token of single blocks.
    fn single(self) -> Sse;

    /// All zeros.
    fn zero(self) -> Self::Vector;
    /// `block` in every place.
    fn broadcast(self, block: u128) -> Self::Vector;
    /// `block` in the first place, zeros behind it.
    fn first(self, block: u128) -> Self::Vector;
    /// `block` in the first place, `block + 1` in the second, and so on; only the lowest 32 bits count.
    fn count_from(self, block: u128) -> Self::Vector;
    /// The first blocks of a slice that has at least as many as a vector.
    fn load_blocks(self, from: &[u128]) -> Self::Vector;
    /// The first octets of a slice that has at least as many as a vector.
    fn load(self, from: &[u8]) -> Self::Vector;
    /// Overwrites the first octets of a slice that has at least as many as a vector.
    fn store(self, to: &mut [u8], vector: Self::Vector);
    /// A slice shorter than a vector, with zeros behind it.
    fn load_part(self, from: &[u8]) -> Self::Vector;
    /// Overwrites a slice shorter than a vector with the vector's first octets.
    fn store_part(self, to: &mut [u8], vector: Self::Vector);
    /// The first `len` octets, fewer than a vector has; zeros behind them.
    fn keep(self, vector: Self::Vector, len: usize) -> Self::Vector;

    /// Exclusive or.
    fn xor(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Adds in the lowest 32 bits of each block, without a carry beyond.
    fn add_32(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Reverses the octets of each block.
    fn reverse(self, a: Self::Vector) -> Self::Vector;
    /// Exchanges the halves of each block.
    fn swap(self, a: Self::Vector) -> Self::Vector;
    /// Each block shifted by 64 bits towards octet 15.
    fn shift_up(self, a: Self::Vector) -> Self::Vector;
    /// Each block shifted by 64 bits towards octet 0.
    fn shift_down(self, a: Self::Vector) -> Self::Vector;
    /// All blocks of a vector XORed together.
    fn fold(self, a: Self::Vector) -> u128;

    /// A round of AES.
    fn aes_round(self, state: Self::Vector, key: Self::Vector) -> Self::Vector;
    /// The last round of AES.
    fn aes_last(self, state: Self::Vector, key: Self::Vector) -> Self::Vector;

    /// Carry-less products of the lower halves.
    fn multiply_low(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Carry-less products of the upper halves.
    fn multiply_high(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Sums of both carry-less products of unlike halves.
    fn multiply_cross(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
}

/// All ones, then all zeros: any window of 32 octets is a mask for [`Blocks::keep`].
static MASKS: [u8; 64] = {
    let mut masks = [0; 64];
    let mut at = 0;
    while at < 32 {
        masks[at] = 0xff;
        at += 1;
    }
    masks
};
