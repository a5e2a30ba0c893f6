#![no_main]

use libfuzzer_sys::fuzz_target;

// The file alone: the crate around it would bring SQLite's C code along.
#[allow(dead_code)]
#[path = "../../node/src/dataplane/vnet.rs"]
mod vnet;

use vnet::{HEADER, Offload};

// A header and the frame after it.
fuzz_target!(|data: &[u8]| {
    let Some((header, frame)) = data.split_first_chunk::<HEADER>() else { return };
    if let Ok(offload) = Offload::parse(header) {
        assert_eq!(Offload::parse(&offload.write()), Ok(offload));
        if let (Ok(()), vnet::Checksum::Partial { start, offset }) = (offload.check(frame.len()), offload.checksum) {
            let _ = &frame[usize::from(start) + usize::from(offset)..][..2];
        }
    }
});
