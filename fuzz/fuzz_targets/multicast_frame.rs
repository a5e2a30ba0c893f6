#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::verbs::MulticastFrame;

fuzz_target!(|data: &[u8]| {
    let Ok(parsed) = MulticastFrame::parse(data) else { return };
    let mut written = Vec::new();
    parsed.write(&mut written);
    assert_eq!(MulticastFrame::parse(&written).as_ref(), Ok(&parsed));
});
