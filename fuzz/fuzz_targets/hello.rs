#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::verbs::Hello;

fuzz_target!(|data: &[u8]| {
    let start = Hello::parse_start(data);
    if let Ok(hello) = Hello::parse(data) {
        assert!(start.is_ok());
        if let Some(at) = hello.masked_tail_at {
            let _ = Hello::parse_tail(&data[at..]);
        }
    }
    let _ = Hello::parse_tail(data);
});
