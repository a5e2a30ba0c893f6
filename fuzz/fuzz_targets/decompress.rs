#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::packet::compress::{compress, decompress};
use protocol::packet::header::MAX_PACKET;

fuzz_target!(|data: &[u8]| {
    let mut packet = data.to_vec();
    if decompress(&mut packet).is_ok() {
        assert!(packet.len() <= MAX_PACKET.max(data.len()));
        let expanded = packet.clone();
        if packet.len() <= MAX_PACKET && compress(&mut packet, 0) {
            decompress(&mut packet).expect("what we compress can be expanded");
        }
        assert_eq!(packet, expanded);
    } else {
        assert_eq!(packet, data);
    }
});
