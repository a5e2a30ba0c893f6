#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::verbs::{OkHeader, OkHello, OkWhois};

fuzz_target!(|data: &[u8]| {
    let Ok(ok) = OkHeader::parse(data) else { return };
    let mut written = Vec::new();
    ok.write(&mut written);
    assert_eq!(written, data);
    if let Ok(hello) = OkHello::parse(ok.body) {
        let _ = hello.worlds();
        let mut written = Vec::new();
        hello.write(&mut written);
        assert_eq!(OkHello::parse(&written), Ok(hello));
    }
    if let Ok(whois) = OkWhois::parse(ok.body) {
        let mut written = Vec::new();
        whois.write(&mut written);
        assert_eq!(OkWhois::parse(&written), Ok(whois));
    }
});
