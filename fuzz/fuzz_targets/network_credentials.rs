#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::verbs::NetworkCredentials;

fuzz_target!(|data: &[u8]| {
    let Ok(set) = NetworkCredentials::parse(data) else { return };
    let mut written = Vec::new();
    set.write(&mut written);
    assert_eq!(NetworkCredentials::parse(&written).as_ref(), Ok(&set));
    for packet in set.packets(1200) {
        assert!(packet.len() <= 1200);
        assert!(NetworkCredentials::parse(&packet).is_ok());
    }
});
