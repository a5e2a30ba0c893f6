#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::Reader;
use protocol::inet::{Prefix, encode_inet, format_endpoint, parse_endpoint, scope, usable_for_paths};

// The wire form, and, where it is text, the text forms.
fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(data);
    if let Ok(Some(address)) = reader.inet("address") {
        let mut written = Vec::new();
        encode_inet(&mut written, Some(address));
        assert_eq!(written, data[..reader.at()]);
        assert_eq!(parse_endpoint(&format_endpoint(address)), Ok(address));
        let _ = (scope(address.ip()), usable_for_paths(address.ip()));
        if let Some(prefix) = Prefix::from_socket_addr(address) {
            assert!(prefix.contains(prefix.network().ip));
        }
    }
    if let Ok(text) = core::str::from_utf8(data) {
        if let Ok(endpoint) = parse_endpoint(text) {
            assert_eq!(parse_endpoint(&format_endpoint(endpoint)), Ok(endpoint));
        }
        if let Ok(prefix) = text.parse::<Prefix>() {
            assert_eq!(prefix.to_string().parse(), Ok(prefix));
        }
    }
});
