#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::derive::{rfc4193, six_plane};
use protocol::inet::Prefix;
use protocol::netconf::{FLAG_NDP_EMULATION, NetworkConfig};
use protocol::{Address, NetworkId, Time, ndp};

fuzz_target!(|data: &[u8]| {
    let (network, own) = (NetworkId(0x9d90_0623_7c79_ac01), Address::from_u64(0xd0_832d_ca6e));
    let mut config = NetworkConfig::new(network, own, Time::EPOCH);
    config.flags = FLAG_NDP_EMULATION;
    config.addresses.extend(Prefix::new(six_plane(network, own).into(), 40));
    config.addresses.extend(Prefix::new(rfc4193(network, own).into(), 88));
    if let Some(answer) = ndp::emulate(&config, own, data) {
        assert_eq!(answer.packet[48..64], data[48..64]);
        assert!(answer.source.member(network).is_some_and(|member| member != own));
    }
});
