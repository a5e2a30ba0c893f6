#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::verbs::ConfigChunk;

// A chunk fits into what it announces, and its own bytes are the same chunk.
fuzz_target!(|data: &[u8]| {
    let Ok(chunk) = ConfigChunk::parse(data) else { return };
    assert!(chunk.offset as usize + chunk.data.len() <= chunk.total as usize);
    assert_eq!(ConfigChunk::parse(chunk.as_bytes()), Ok(chunk));
});
