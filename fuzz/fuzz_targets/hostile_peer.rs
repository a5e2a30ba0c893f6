#![no_main]

//! A peer with a key and bad intentions in front of a core: the first octet chooses the core's role, the others tell the play.
//! What is promised to hold meanwhile: `hostile::Promise`.

use hostile::{PROMISES, ROLES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((role, octets)) = data.split_first() else { return };
    let role = ROLES[usize::from(*role) % ROLES.len()];
    let broken = hostile::play(role, octets, &PROMISES);
    assert!(broken.is_empty(), "{role:?}: {broken:?}");
});
