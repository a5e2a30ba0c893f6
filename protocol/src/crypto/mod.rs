//! The cryptographic building blocks of VL1.
//!
//! | Module | What |
//! |---|---|
//! | [`salsa`] | Salsa20/12 with its per-packet keys, and the masking of HELLO |
//! | [`poly`] | the one-time authenticator of suites 0 and 1 |
//! | [`gmac_siv`] | AES-GMAC-SIV, suite 3 |
//! | [`kdf`] | SHA-2 and the derivation of AES keys |
//! | [`memory_hard`] | the hash that binds an address to a public key |
//!
//! What every packet goes through is our own code on vectors of the processor where it has them, and the RustCrypto
//! crates elsewhere; these are also what our own code is checked against. All else are RustCrypto's and dalek's
//! crates.

pub mod gmac_siv;
pub mod kdf;
pub mod memory_hard;
pub mod poly;
pub mod salsa;
#[cfg(target_arch = "x86_64")]
mod x86;

/// How packets' ciphers are computed. Results are the same; this exists so that tests and benchmarks can go through
/// all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    /// Vectors of 512 bits: AVX-512, with VAES and VPCLMULQDQ for suite 3.
    Wide512,
    /// Vectors of 256 bits: AVX2, with VAES and VPCLMULQDQ for suite 3.
    Wide256,
    /// Vectors of 128 bits: SSE4.1, with AES-NI and PCLMULQDQ for suite 3.
    Wide128,
    /// No instructions of a certain processor named: the crates `aes`, `ghash`, which may find some themselves.
    Portable,
}

impl Backend {
    /// From fast to slow.
    pub const ALL: [Self; 4] = [Self::Wide512, Self::Wide256, Self::Wide128, Self::Portable];
}
