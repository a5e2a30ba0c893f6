//! The memory-hard hash that binds an address to a public key. Specification: VL1 identities.

use salsa20::Salsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};

use super::kdf::sha512;

/// Scratch memory of one hash.
const MEMORY: usize = 2 * 1024 * 1024;
/// Words of eight bytes in it.
const WORDS: u64 = (MEMORY / 8) as u64;

/// The memory one hash needs, to be used for many.
pub struct Hasher {
    memory: Vec<u8>,
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl Hasher {
    /// Allocates two mebibytes.
    #[must_use]
    pub fn new() -> Self {
        Self { memory: vec![0; MEMORY] }
    }

    /// Fills the memory with the keystream chained block by block; returns the start of the digest and the cipher
    /// where it stands.
    fn fill(&mut self, public: &[u8; 64]) -> ([u8; 64], Salsa20) {
        let digest = sha512(public);
        let (key, nonce) = (&digest[..32], &digest[32..40]);
        let mut cipher =
            Salsa20::new_from_slices(key, nonce).expect("invariant: key of 32 and nonce of 8 bytes");
        let (first, rest) = self.memory.split_at_mut(64);
        first.fill(0);
        cipher.apply_keystream(first);
        let mut previous = &*first;
        for block in rest.chunks_exact_mut(64) {
            block.copy_from_slice(previous);
            cipher.apply_keystream(block);
            previous = block;
        }
        (digest, cipher)
    }

    /// The word at `index`, as a number.
    fn word(&self, index: u64) -> u64 {
        let at = index as usize * 8;
        let bytes =
            self.memory[at..].first_chunk().expect("invariant: indices are reduced modulo the word count");
        u64::from_be_bytes(*bytes)
    }

    /// The hash of a public key. Takes some tens of milliseconds.
    #[must_use]
    pub fn hash(&mut self, public: &[u8; 64]) -> [u8; 64] {
        let (mut digest, mut cipher) = self.fill(public);
        for pair in 0..WORDS / 2 {
            // Both words are read from memory that earlier rounds have changed.
            let a = (self.word(pair * 2) % 8) as usize * 8;
            let b = (self.word(pair * 2 + 1) % WORDS) as usize * 8;
            digest[a..a + 8].swap_with_slice(&mut self.memory[b..b + 8]);
            cipher.apply_keystream(&mut digest);
        }
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_after_filling_vector() {
        let folder = std::env::var("ZTNODE_VECTORS")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors").to_owned());
        let text = std::fs::read_to_string(format!("{folder}/identity.json")).unwrap();
        let file: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut hasher = Hasher::new();
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let cases = file["identities"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let identity: crate::Identity =
                case["identity_public"].as_str().unwrap().parse().unwrap_or_else(|_| {
                    let (mut bytes, binary) = (Vec::new(), case["binary_public"].as_str().unwrap());
                    for i in (0..binary.len()).step_by(2) {
                        bytes.push(u8::from_str_radix(&binary[i..i + 2], 16).unwrap());
                    }
                    crate::Identity::read(&mut crate::Reader::new(&bytes)).unwrap()
                });
            let (digest, _) = hasher.fill(&identity.public);
            assert_eq!(hex(&digest), case["sha512_of_public_key"].as_str().unwrap());
            assert_eq!(hex(&hasher.memory[..64]), case["mem_fill_first_64"].as_str().unwrap());
            assert_eq!(hex(&hasher.memory[MEMORY - 64..]), case["mem_fill_last_64"].as_str().unwrap());
            assert_eq!(hex(&sha512(&hasher.memory)), case["mem_fill_sha512"].as_str().unwrap());
        }
    }
}
