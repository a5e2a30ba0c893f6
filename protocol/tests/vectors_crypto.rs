//! Golden vectors of identities, key agreement, signatures and the primitives.
#![allow(clippy::unwrap_used)]

mod support;

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use protocol::crypto::Backend;
use protocol::crypto::gmac_siv::GmacSiv;
use protocol::crypto::memory_hard::Hasher;
use protocol::crypto::{kdf, poly};
use protocol::{Identity, Reader, SecretIdentity};
use salsa20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use salsa20::{Salsa12, Salsa20};
use support::{array, bytes, flag, hex, list, load, name, number, text};

#[test]
fn identity_vectors() {
    let file = load("identity.json");
    let mut hasher = Hasher::new();
    for case in list(&file, "identities") {
        let name = name(case);
        let binary = bytes(case, "binary_public");
        let mut reader = Reader::new(&binary);
        let identity = Identity::read(&mut reader).unwrap();
        assert!(reader.is_empty(), "{name}");
        let mut written = Vec::new();
        identity.write(&mut written);
        assert_eq!(hex(&written), text(case, "binary_public"), "{name}");
        assert_eq!(identity.to_string(), text(case, "identity_public"), "{name}");
        assert_eq!(identity.address.to_string(), text(case, "address"), "{name}");

        let hash = hasher.hash(&identity.public);
        assert_eq!(hex(&hash), text(case, "mem_hard_digest"), "{name}");
        assert_eq!(hex(&hash[59..]), text(case, "derived_address"), "{name}");
        assert_eq!(u64::from(hash[0]), number(case, "hash_first_byte"), "{name}");
        assert_eq!(hex(&identity.hash384()), text(case, "address_and_public_key_sha384"), "{name}");
        assert_eq!(identity.locally_valid(), flag(case, "locally_valid"), "{name}");

        let with_secret = bytes(case, "binary_secret");
        let mut reader = Reader::new(&with_secret);
        assert_eq!(Identity::read(&mut reader).as_ref(), Ok(&identity), "{name}");
        assert!(reader.is_empty(), "{name}");

        // The text form does not exist for reserved addresses.
        if identity.address.is_reserved() {
            assert!(Identity::parse(text(case, "identity_public")).is_err(), "{name}");
        } else {
            assert_eq!(Identity::parse(text(case, "identity_public")).as_ref(), Ok(&identity), "{name}");
            let secret = SecretIdentity::parse(text(case, "identity_secret")).unwrap();
            assert_eq!(secret.identity(), &identity, "{name}");
            assert_eq!(secret.to_secret_string().as_str(), text(case, "identity_secret"), "{name}");
        }
    }
    for case in list(&file, "private_mismatch") {
        let secret = SecretIdentity::parse(text(case, "identity_secret")).unwrap();
        assert_eq!(secret.identity().locally_valid(), flag(case, "locally_valid"));
        assert!(!secret.is_consistent());
    }
}

#[test]
fn identity_parsing_vectors() {
    let file = load("identity.json");
    for case in list(&file, "string_parsing") {
        let name = name(case);
        let input = text(case, "input");
        let parsed = Identity::parse(input);
        let key = input.split(':').nth(2).unwrap_or("");
        if flag(case, "parse_ok") && key.chars().any(|c| !c.is_ascii_hexdigit() && !c.is_ascii_whitespace()) {
            // The reference reads such digits as zeros; we refuse them.
            assert!(parsed.is_err(), "{name}");
            continue;
        }
        assert_eq!(parsed.is_ok(), flag(case, "parse_ok"), "{name}: {parsed:?}");
        let secret = SecretIdentity::parse(input);
        if let Ok(identity) = parsed {
            assert_eq!(identity.address.to_string(), text(case, "address"), "{name}");
            assert_eq!(identity.to_string(), text(case, "canonical_public"), "{name}");
            assert_eq!(identity.locally_valid(), flag(case, "locally_valid"), "{name}");
            assert_eq!(secret.is_ok(), flag(case, "has_private"), "{name}");
            if let Ok(secret) = secret {
                assert_eq!(secret.to_secret_string().as_str(), text(case, "canonical_secret"), "{name}");
            }
        } else {
            assert!(secret.is_err(), "{name}");
        }
    }
    for case in list(&file, "binary_parsing") {
        let name = name(case);
        let input = bytes(case, "input");
        let mut reader = Reader::new(&input);
        let parsed = Identity::read(&mut reader);
        assert_eq!(parsed.is_ok(), flag(case, "parse_ok"), "{name}: {parsed:?}");
        if let Ok(identity) = parsed {
            assert_eq!(reader.at() as u64, number(case, "consumed"), "{name}");
            assert_eq!(identity.address.to_string(), text(case, "address"), "{name}");
            assert_eq!(identity.locally_valid(), flag(case, "locally_valid"), "{name}");
        }
    }
}

#[test]
fn agree_vectors() {
    let file = load("agree.json");
    for case in list(&file, "cases") {
        let name = name(case);
        let a = SecretIdentity::parse(text(case, "a_secret")).unwrap();
        let b = Identity::parse(text(case, "b_public")).unwrap();
        assert_eq!(a.identity().public.len(), 64);
        let key = a.agree(&b);
        if bytes(case, "x25519_raw").iter().all(|byte| *byte == 0) {
            assert!(key.is_none(), "{name}: everybody knows this key");
        } else {
            assert_eq!(hex(&key.unwrap()[..]), text(case, "session_key"), "{name}");
        }
        let key = array(case, "session_key");
        assert_eq!(hex(&kdf::sha512(&bytes(case, "x25519_raw"))), text(case, "sha512_of_raw"), "{name}");
        assert_eq!(hex(&kdf::kbkdf(&key, b'0', 0, 0)), text(case, "aes_k0"), "{name}");
        assert_eq!(hex(&kdf::kbkdf(&key, b'1', 0, 0)), text(case, "aes_k1"), "{name}");
    }
}

#[test]
fn sign_vectors() {
    let file = load("sign.json");
    for case in list(&file, "cases") {
        let name = name(case);
        let signer = Identity::parse(text(case, "identity_public")).unwrap();
        let (message, signature) = (bytes(case, "message"), bytes(case, "signature"));
        let verified = signer.verify(&message, &signature);
        if name.contains("quirk") && !verified {
            // Signatures that are not canonical: the reference accepts them, we verify strictly.
            continue;
        }
        assert_eq!(verified, flag(case, "verify"), "{name}");
        if case["identity_secret"].is_string() && flag(case, "verify") {
            let secret = SecretIdentity::parse(text(case, "identity_secret")).unwrap();
            assert_eq!(hex(&secret.sign(&message)), hex(&signature), "{name}");
        }
    }
}

#[test]
fn salsa20_vectors() {
    fn run<C: KeyIvInit + StreamCipher + StreamCipherSeek>(case: &support::Value) {
        let mut cipher = C::new_from_slices(&bytes(case, "key"), &bytes(case, "iv")).unwrap();
        let mut block = number(case, "initial_counter");
        for chunk in list(case, "chunks") {
            let mut data = bytes(chunk, "in");
            cipher.seek(block * 64);
            cipher.apply_keystream(&mut data);
            assert_eq!(hex(&data), text(chunk, "out"), "{}", name(case));
            block += (data.len() as u64).div_ceil(64);
        }
    }
    for case in list(&load("salsa20.json"), "cases") {
        match number(case, "rounds") {
            12 => run::<Salsa12>(case),
            20 => run::<Salsa20>(case),
            rounds => panic!("{rounds} rounds"),
        }
    }
}

#[test]
fn poly1305_vectors() {
    for case in list(&load("poly1305.json"), "cases") {
        let tag = poly::tag(&array(case, "key"), &bytes(case, "message"));
        assert_eq!(hex(&tag), text(case, "tag"), "{}", name(case));
    }
}

#[test]
fn sha512_vectors() {
    let file = load("sha512.json");
    for case in list(&file, "hash") {
        let message = bytes(case, "message");
        assert_eq!(hex(&kdf::sha512(&message)), text(case, "sha512"));
        assert_eq!(hex(&kdf::sha384(&message)), text(case, "sha384"));
    }
    for case in list(&file, "hmac_sha384") {
        let mac = kdf::hmac_sha384(&array(case, "key"), &bytes(case, "message"));
        assert_eq!(hex(&mac), text(case, "hmac_sha384"));
    }
    for case in list(&file, "kbkdf") {
        let small = |key| u8::try_from(number(case, key)).unwrap();
        let counter = u32::try_from(number(case, "iter")).unwrap();
        let out = kdf::kbkdf(&array(case, "key"), small("label"), small("context"), counter);
        assert_eq!(hex(&out), text(case, "out"));
    }
}

#[test]
fn aes_gmac_siv_vectors() {
    let file = load("aes_gmac_siv.json");
    for case in list(&file, "block") {
        let mut block = array::<16>(case, "plaintext").into();
        Aes256::new(&array::<32>(case, "key").into()).encrypt_block(&mut block);
        assert_eq!(hex(&block), text(case, "ciphertext"));
    }
    for case in list(&file, "gmac_siv") {
        let name = name(case);
        for backend in Backend::ALL {
            let Some(siv) = GmacSiv::with(backend, &array(case, "k0"), &array(case, "k1")) else { continue };
            let (aad, tag) = (bytes(case, "aad"), array(case, "tag"));
            if case["plaintext"].is_string() && flag(case, "decrypt_ok") {
                let mut data = bytes(case, "plaintext");
                assert_eq!(hex(&siv.seal(&array(case, "iv"), &aad, &mut data)), text(case, "tag"), "{name}");
                assert_eq!(hex(&data), text(case, "ciphertext"), "{name}");
            }
            let mut data = bytes(case, "ciphertext");
            assert_eq!(siv.open(&tag, &aad, &mut data).is_some(), flag(case, "decrypt_ok"), "{name}");
            if case["plaintext"].is_string() && flag(case, "decrypt_ok") {
                assert_eq!(hex(&data), text(case, "plaintext"), "{name}");
            }
        }
    }
}
