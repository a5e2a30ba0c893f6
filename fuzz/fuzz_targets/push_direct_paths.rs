#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::verbs::PushDirectPaths;

fuzz_target!(|data: &[u8]| {
    let Ok(paths) = PushDirectPaths::parse(data) else { return };
    let mut written = Vec::new();
    paths.write(&mut written);
    assert_eq!(PushDirectPaths::parse(&written).as_ref(), Ok(&paths));
    let divided: Vec<_> = PushDirectPaths::packets(&paths.0).flatten().copied().collect();
    assert_eq!(divided, paths.0);
});
