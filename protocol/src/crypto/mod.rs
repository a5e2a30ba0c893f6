//! The cryptographic building blocks of VL1, over the primitives of the RustCrypto and dalek crates.
//!
//! | Module | What |
//! |---|---|
//! | [`salsa`] | Salsa20/12 with its per-packet keys, and the masking of HELLO |
//! | [`poly`] | the one-time authenticator of suites 0 and 1 |
//! | [`gmac_siv`] | AES-GMAC-SIV, suite 3 |
//! | [`kdf`] | SHA-2 and the derivation of AES keys |
//! | [`memory_hard`] | the hash that binds an address to a public key |

pub mod gmac_siv;
pub mod kdf;
pub mod memory_hard;
pub mod poly;
pub mod salsa;
