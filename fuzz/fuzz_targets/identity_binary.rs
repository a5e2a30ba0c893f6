#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::{Identity, Reader};

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(data);
    let Ok(identity) = Identity::read(&mut reader) else { return };
    assert!(matches!(reader.at(), 71 | 135));
    let mut written = Vec::new();
    identity.write(&mut written);
    assert_eq!(written[..70], data[..70]);
});
