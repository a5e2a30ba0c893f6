#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::Reader;
use protocol::credential::{Coo, Signed, Verification};

fuzz_target!(|data: &[u8]| {
    let Ok(object) = Signed::<Coo>::read(&mut Reader::new(data)) else { return };
    let mut written = Vec::new();
    object.write(&mut written);
    assert_eq!(Signed::<Coo>::read(&mut Reader::new(&written)).as_ref(), Ok(&object));
    assert_ne!(object.verify(|_| None), Verification::Valid);
});
