#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::verbs::Error;

fuzz_target!(|data: &[u8]| {
    let Ok(error) = Error::parse(data) else { return };
    let _ = error.authentication();
    let mut written = Vec::new();
    error.write(&mut written);
    assert_eq!(written, data);
});
