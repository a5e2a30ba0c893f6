#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::dictionary::Dictionary;
use protocol::metadata::RequestMetadata;
use protocol::netconf::Sso;

// Whatever a value decodes to is found again after it was written.
fuzz_target!(|data: &[u8]| {
    let d = Dictionary::from_bytes(data);
    let keys = ["a", "v", "nwid", "n", "C", ""];
    let mut again = Dictionary::new();
    for key in keys {
        if let Some(value) = d.get(key) {
            again.push_bytes(key, &value);
        }
    }
    for key in keys {
        assert_eq!(again.get(key), d.get(key));
        assert_eq!(again.get_hex(key, 7), d.get_hex(key, 7));
        assert_eq!(again.get_signed(key, 7), d.get_signed(key, 7));
        assert_eq!(again.get_bool(key, true), d.get_bool(key, true));
    }
    let _ = RequestMetadata::from_dictionary(data);
    let _ = Sso::from_error(data);
});
