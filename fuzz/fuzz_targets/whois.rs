#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::verbs::Whois;

fuzz_target!(|data: &[u8]| {
    let Ok(whois) = Whois::parse(data) else { return };
    let mut written = Vec::new();
    whois.write(&mut written);
    assert_eq!(written, data[..data.len() / 5 * 5]);
});
