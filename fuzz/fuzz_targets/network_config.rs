#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::netconf::{MAX_ADDRESSES, MAX_ROUTES, MAX_SPECIALISTS, MAX_TAGS, NetworkConfig};

// A configuration stays within the limits and is the same after it was written and read once more.
fuzz_target!(|data: &[u8]| {
    let Ok(config) = NetworkConfig::from_dictionary(data) else { return };
    assert!(config.routes.len() <= MAX_ROUTES && config.addresses.len() <= MAX_ADDRESSES);
    assert!(config.tags.len() <= MAX_TAGS && config.specialists.len() <= MAX_SPECIALISTS);
    let once = NetworkConfig::from_dictionary(config.to_dictionary().as_bytes());
    let once = once.expect("what was written can be read");
    let twice = NetworkConfig::from_dictionary(once.to_dictionary().as_bytes());
    assert_eq!(twice, Ok(once));
});
