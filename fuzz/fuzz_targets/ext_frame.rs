#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::verbs::ExtFrame;

fuzz_target!(|data: &[u8]| {
    let Ok(parsed) = ExtFrame::parse(data) else { return };
    let mut written = Vec::new();
    parsed.write(&mut written);
    assert_eq!(ExtFrame::parse(&written).as_ref(), Ok(&parsed));
});
