//! Golden vectors of the dictionary format.
#![allow(clippy::unwrap_used)]

mod support;

use protocol::dictionary::Dictionary;
use support::{array, bytes, flag, hex, id, list, load, name, text, unhex};

/// What a reader with a buffer of `size` bytes, one of them for a NUL, would keep.
fn cut(mut value: Vec<u8>, size: u64) -> String {
    value.truncate(size as usize - 1);
    hex(&value)
}

#[test]
fn vector_dictionary_build() {
    for case in list(&load("dictionary.json"), "build") {
        let mut d = Dictionary::new();
        for pair in list(case, "add") {
            d.push_bytes(text(pair, "key"), &bytes(pair, "value"));
        }
        assert!(flag(case, "ok"));
        assert_eq!(hex(d.as_bytes()), text(case, "bytes"), "{}", name(case));
        for pair in list(case, "get") {
            let value = d.get(text(pair, "key")).map(|value| hex(&value));
            assert_eq!(value.as_deref(), Some(text(pair, "value")), "{}", name(case));
        }
    }
}

#[test]
fn vector_dictionary_typed() {
    for case in list(&load("dictionary.json"), "typed") {
        let d = Dictionary::from_bytes(&bytes(case, "bytes"));
        assert_eq!(d.get_hex("k", 0xdead), id(case, "getUI"), "{}", name(case));
        assert_eq!(d.get_signed("k", -57005).to_string(), text(case, "getI"), "{}", name(case));
        assert_eq!(d.get_bool("k", false), flag(case, "getB"), "{}", name(case));

        let how = text(case, "how");
        let mut written = Dictionary::new();
        if let Some(value) = how.strip_prefix("add unsigned 0x") {
            written.push_hex("k", u64::from_str_radix(value, 16).unwrap());
        } else if let Some(value) = how.strip_prefix("add unsigned ") {
            written.push_hex("k", value.parse().unwrap());
        } else if let Some(value) = how.strip_prefix("add bool ") {
            written.push_bool("k", value.parse().unwrap());
        } else if let Some(value) = how.strip_prefix("add signed ") {
            // The reference loses the sign of negative numbers when writing; this crate keeps it.
            let value: i64 = value.parse().unwrap();
            written.push_signed("k", value);
            assert_eq!(written.get_signed("k", 0), value, "{}", name(case));
            if value < 0 {
                continue;
            }
        } else {
            continue;
        }
        assert_eq!(written, d, "{}", name(case));
    }
}

#[test]
fn vector_dictionary_get() {
    for case in list(&load("dictionary.json"), "get") {
        let d = Dictionary::from_bytes(&bytes(case, "bytes"));
        let size = support::number(case, "dest_size");
        for get in list(case, "get") {
            let key = text(get, "key");
            let value = d.get(key).map(|value| cut(value, size));
            assert_eq!(value.as_deref(), get["value"].as_str(), "{} {key}", name(case));
            assert_eq!(d.get_hex(key, 7), id(get, "getUI_default_7"), "{} {key}", name(case));
            assert_eq!(d.get_bool(key, false), flag(get, "getB"), "{} {key}", name(case));
        }
    }
}

#[test]
fn vector_vl2_dictionary() {
    let file = load("vl2/dictionary.json");
    for case in list(&file, "encode") {
        let mut d = Dictionary::new();
        d.push_bytes("k", &bytes(case, "value"));
        d.push_hex("second", 0x1234);
        assert_eq!(hex(d.as_bytes()), text(case, "dictionary"));
        assert_eq!(d.get("k"), Some(bytes(case, "value")));
        assert_eq!(d.get_hex("second", 0), 0x1234);
    }
    for case in list(&file, "get") {
        let d = Dictionary::from_bytes(&bytes(case, "dictionary"));
        assert_eq!(d.get(text(case, "key")), case["result"].as_str().map(unhex), "{case}");
    }
    for case in list(&file, "getUint") {
        let d = Dictionary::from_bytes(format!("k={}", text(case, "value")).as_bytes());
        assert_eq!(d.get_hex("k", u64::from_be_bytes(array(case, "default"))), id(case, "result"), "{case}");
    }
    for case in list(&file, "getBool") {
        let d = Dictionary::from_bytes(format!("k={}", text(case, "value")).as_bytes());
        assert_eq!(d.get_bool("k", false), flag(case, "resultDefaultFalse"), "{case}");
        assert_eq!(d.get_bool("k", true), flag(case, "resultDefaultTrue"), "{case}");
    }
}
