//! Golden vectors of addresses on the wire and their scopes.
#![allow(clippy::unwrap_used)]

mod support;

use protocol::inet::{encode_inet, format_endpoint, parse_endpoint, scope, usable_for_paths};
use protocol::{Address, Mac, NetworkId, Reader};
use support::{bytes, flag, hex, list, load, name, number, text};

#[test]
fn inet_address_vectors() {
    let file = load("derive.json");
    for case in list(&file, "inet_address") {
        let written = text(case, "address");
        let address = parse_endpoint(written).unwrap();
        let mut wire = Vec::new();
        encode_inet(&mut wire, Some(address));
        assert_eq!(hex(&wire), text(case, "serialized"), "{written}");
        let mut reader = Reader::new(&wire);
        assert_eq!(reader.inet("address"), Ok(Some(address)), "{written}");
        assert!(reader.is_empty(), "{written}");
        assert_eq!(scope(address.ip()) as u64, number(case, "scope"), "{written}");
        assert_eq!(usable_for_paths(address.ip()), flag(case, "usable_as_path"), "{written}");
    }
}

#[test]
fn inet_address_parsing_vectors() {
    for case in list(&load("derive.json"), "inet_address_parsing") {
        let name = name(case);
        let input = bytes(case, "input");
        let mut reader = Reader::new(&input);
        let parsed = reader.inet("address");
        assert_eq!(parsed.is_ok(), flag(case, "ok"), "{name}: {parsed:?}");
        if let Ok(address) = parsed {
            assert_eq!(reader.at() as u64, number(case, "consumed"), "{name}");
            assert_eq!(address.map(format_endpoint).as_deref(), case["address"].as_str(), "{name}");
        }
    }
}

#[test]
fn mac_vectors() {
    let file = load("derive.json");
    for case in list(&file, "mac") {
        let network: NetworkId = text(case, "network_id").parse().unwrap();
        let address: Address = text(case, "address").parse().unwrap();
        let mac = Mac::for_member(network, address);
        assert_eq!(mac.to_string(), text(case, "mac"));
        assert_eq!(text(case, "mac").parse(), Ok(mac));
        assert_eq!(
            mac.member(network).map(|back| back.to_string()).as_deref(),
            Some(text(case, "address_back"))
        );
        assert_eq!(mac.is_multicast(), flag(case, "multicast"));
    }
    for case in list(&file, "network") {
        let network: NetworkId = text(case, "network_id").parse().unwrap();
        assert_eq!(network.controller().to_string(), text(case, "controller"));
        assert_eq!(u64::from(Mac::first_octet(network)), number(case, "first_mac_octet"));
    }
}
