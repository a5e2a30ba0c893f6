//! Golden vectors of derived names and addresses, ad-hoc networks, and of answers to neighbour solicitations.
#![allow(clippy::unwrap_used)]

mod support;

use protocol::adhoc::{Adhoc, adhoc_config};
use protocol::derive::{interface_name, resolution_group, rfc4193, six_plane};
use protocol::inet::Prefix;
use protocol::netconf::{FLAG_NDP_EMULATION, NetworkConfig};
use protocol::{Address, Mac, NetworkId, Time, ndp};
use support::{Value, bytes, flag, hex, id, list, load, name, number, text};

fn network(case: &Value, key: &str) -> NetworkId {
    text(case, key).parse().unwrap()
}

fn address(case: &Value, key: &str) -> Address {
    text(case, key).parse().unwrap()
}

#[test]
fn vector_derive_mac() {
    for case in list(&load("derive.json"), "mac") {
        let network = network(case, "network_id");
        let mac = Mac::for_member(network, address(case, "address"));
        assert_eq!(mac.to_string(), text(case, "mac"));
        assert_eq!(mac.member(network), Some(address(case, "address_back")));
        assert_eq!(mac.is_multicast(), flag(case, "multicast"));
        assert_eq!(mac.0[0] & 2 != 0, flag(case, "locally_administered"));
    }
}

#[test]
fn vector_derive_network() {
    for case in list(&load("derive.json"), "network") {
        let network = network(case, "network_id");
        assert_eq!(network.controller(), address(case, "controller"));
        assert_eq!(u64::from(Mac::first_octet(network)), number(case, "first_mac_octet"));
        for (trial, expected) in list(case, "linux_interface_names").iter().enumerate() {
            assert_eq!(interface_name(network, trial as u64), expected.as_str().unwrap());
        }
    }
}

#[test]
fn vector_derive_ipv6() {
    for case in list(&load("derive.json"), "ipv6") {
        let (network, member) = (network(case, "network_id"), address(case, "address"));
        assert_eq!(format!("{}/88", rfc4193(network, member)), text(case, "rfc4193"));
        assert_eq!(format!("{}/40", six_plane(network, member)), text(case, "6plane"));
    }
}

#[test]
fn vector_derive_address_resolution_group() {
    for case in list(&load("derive.json"), "address_resolution_group") {
        let group = resolution_group(text(case, "ip").parse().unwrap());
        assert_eq!(group.mac.to_string(), text(case, "mac"));
        assert_eq!(u64::from(group.adi), id(case, "adi"));
    }
}

#[test]
fn vector_derive_adhoc_networks() {
    for case in list(&load("derive.json"), "adhoc_networks") {
        let network = network(case, "network_id");
        let member = address(case, "node_address");
        let made = adhoc_config(network, member, Time::from_ms(number(case, "clock") as i64));
        let config = match (made.expect("an ad-hoc network"), number(case, "status")) {
            (Adhoc::Config(config), 1) => config,
            (Adhoc::NotFound, 3) | (Adhoc::Never, 0) => {
                assert!(!flag(case, "has_config"), "{network}");
                continue;
            }
            (other, status) => panic!("{network}: {other:?} instead of status {status}"),
        };
        assert!(flag(case, "has_config"), "{network}");
        let expected = &case["config"];
        assert_eq!(config.network, network);
        assert_eq!(config.timestamp.as_ms(), number(expected, "timestamp") as i64, "{network}");
        assert_eq!(config.credential_window.as_ms(), number(expected, "credential_time_max_delta") as i64);
        assert_eq!(config.revision, number(expected, "revision"), "{network}");
        assert_eq!(config.issued_to, address(expected, "issued_to"), "{network}");
        assert_eq!(config.trace_target, address(expected, "remote_trace_target"), "{network}");
        assert_eq!(config.flags, id(expected, "flags"), "{network}");
        assert_eq!(u64::from(config.mtu), number(expected, "mtu"), "{network}");
        assert_eq!(u64::from(config.multicast_limit), number(expected, "multicast_limit"), "{network}");
        assert_eq!(u64::from(config.public), number(expected, "type"), "{network}");
        assert_eq!(config.name, text(expected, "name_text"), "{network}");
        let specialists: Vec<String> =
            config.specialists.iter().map(|s| format!("{:016x}", s.roles | s.address.to_u64())).collect();
        assert_eq!(serde_json::json!(specialists), expected["specialists"], "{network}");
        let addresses: Vec<String> = config.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(serde_json::json!(addresses), expected["static_ips"], "{network}");
        assert_eq!(hex(&flowrules::encode(&config.rules)), text(case, "rules_binary"), "{network}");
        let rules: Vec<Value> = config.rules.iter().map(flowrules::to_json).collect();
        assert_eq!(serde_json::json!(rules), expected["rules"], "{network}");
        assert_eq!(config.com, None);
        assert!(config.capabilities.is_empty() && config.tags.is_empty() && config.coos.is_empty());
        assert!(config.routes.is_empty() && config.dns.servers.is_empty() && !config.sso.enabled);
    }
}

#[test]
fn vector_vl2_derivations() {
    let file = load("vl2/derivations.json");
    for case in list(&file, "addresses") {
        let (network, member) = (network(case, "networkId"), address(case, "address"));
        let mac = Mac::for_member(network, member);
        assert_eq!(mac.to_string(), text(case, "mac"));
        assert_eq!(mac.member(network), Some(address(case, "addressFromMac")));
        assert_eq!(u64::from(Mac::first_octet(network)), number(case, "firstOctet"));
        assert_eq!(network.controller(), address(case, "controller"));
        assert_eq!(format!("{}/40", six_plane(network, member)), text(case, "ipv6_6plane"));
        assert_eq!(format!("{}/88", rfc4193(network, member)), text(case, "ipv6_rfc4193"));
    }
    for case in list(&file, "interfaceNames") {
        let made = interface_name(network(case, "networkId"), number(case, "trial"));
        assert_eq!(made, text(case, "name"));
    }
    for case in list(&file, "addressResolutionGroups") {
        let group = resolution_group(text(case, "ip").parse().unwrap());
        assert_eq!(group.mac.to_string(), text(case, "mac"));
        assert_eq!(u64::from(group.adi), number(case, "adi"));
    }
}

/// The part of the TAP vectors that needs no node: whether a solicitation is answered locally, and how.
#[test]
fn vector_tap_frames_neighbour_discovery() {
    let file = load("tap_frames.json");
    let (network, own) = (network(&file, "network_id"), address(&file, "my_address"));
    assert_eq!(Mac::for_member(network, own).to_string(), text(&file, "my_mac"));
    let mut answered = 0;
    for case in list(&file, "cases") {
        let addresses: Vec<Prefix> = case["my_static_ips"]
            .as_array()
            .unwrap()
            .iter()
            .map(|address| address.as_str().unwrap().parse().unwrap())
            .collect();
        let dest: Mac = text(case, "dest_mac").parse().unwrap();
        let mut config = NetworkConfig::new(network, own, Time::EPOCH);
        config.flags = if flag(case, "ndp_emulation") { FLAG_NDP_EMULATION } else { 0 };
        config.addresses = addresses;
        let asked = dest.is_multicast() && !dest.is_broadcast() && number(case, "ethertype") == 0x86dd;
        let frame = bytes(case, "frame");
        let answer = asked.then(|| ndp::emulate(&config, own, &frame)).flatten();
        let expected =
            (text(case, "outcome") == "local_reply" && dest.is_multicast()).then_some(&case["reply"]);
        assert_eq!(answer.is_some(), expected.is_some(), "{}", name(case));
        if let (Some(answer), Some(reply)) = (answer, expected) {
            assert_eq!(answer.source.to_string(), text(reply, "source_mac"), "{}", name(case));
            assert_eq!(hex(&answer.packet), text(reply, "frame"), "{}", name(case));
            answered += 1;
        }
    }
    assert!(answered > 0);
}
