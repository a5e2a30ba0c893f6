#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

use protocol::packet::compress::decompress;
use protocol::packet::header::HEADER_LEN;
use protocol::packet::{SessionKeys, Suite, armor};

static KEYS: LazyLock<SessionKeys> = LazyLock::new(|| SessionKeys::new(&[7; 48]));

// Opening any bytes, and closing and opening again what could be a packet.
fuzz_target!(|data: &[u8]| {
    let mut packet = data.to_vec();
    let _ = armor::trusted_path_id(&packet);
    if KEYS.dearmor(&mut packet) {
        let _ = decompress(&mut packet);
    }
    if data.len() >= HEADER_LEN {
        for suite in [Suite::Clear, Suite::Salsa, Suite::AesGmacSiv] {
            let mut packet = data.to_vec();
            KEYS.armor(&mut packet, suite);
            assert!(KEYS.dearmor(&mut packet));
            assert_eq!(packet[27..], data[27..]);
        }
    }
});
