#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::metadata::RequestMetadata;
use protocol::verbs::ConfigRequest;

fuzz_target!(|data: &[u8]| {
    let Ok(request) = ConfigRequest::parse(data) else { return };
    let mut written = Vec::new();
    request.write(&mut written);
    let again = ConfigRequest::parse(&written).expect("what was written can be read");
    assert_eq!((again.network, again.metadata), (request.network, request.metadata));
    let _ = RequestMetadata::from_dictionary(request.metadata);
});
