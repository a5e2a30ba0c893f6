#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::verbs::Rendezvous;

fuzz_target!(|data: &[u8]| {
    let Ok(rendezvous) = Rendezvous::parse(data) else { return };
    let mut written = Vec::new();
    rendezvous.write(&mut written);
    assert_eq!(written[1..], data[1..written.len()]);
});
