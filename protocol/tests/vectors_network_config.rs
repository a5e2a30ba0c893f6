//! Golden vectors of network configurations, their chunks, and of requests.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::IpAddr;

use protocol::inet::Prefix;
use protocol::metadata::RequestMetadata;
use protocol::netconf::{NetworkConfig, Route, Sso};
use protocol::verbs::{ConfigChunk, config_chunk};
use protocol::{NetworkId, SecretIdentity, Time};
use support::{Value, bytes, flag, hex, id, list, load, name, number, text};

fn written<T>(objects: &[T], write: impl Fn(&T, &mut Vec<u8>)) -> Vec<String> {
    let one = |object| {
        let mut out = Vec::new();
        write(object, &mut out);
        hex(&out)
    };
    objects.iter().map(one).collect()
}

fn serialized(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|object| text(object, "serialized").to_owned()).collect()
}

/// An address of the notation `ip/n`.
fn ip(value: &Value) -> Option<IpAddr> {
    value.as_str().map(|text| text.split('/').next().unwrap().parse().unwrap())
}

fn sso(value: &Value) -> Sso {
    let field = |key| text(value, key).to_owned();
    Sso {
        enabled: flag(value, "enabled"),
        version: number(value, "version"),
        authentication_url: field("authentication_url"),
        authentication_expiry: value["authentication_expiry_time"]
            .as_i64()
            .filter(|at| *at != 0)
            .map(Time::from_ms),
        issuer_url: field("issuer_url"),
        central_url: field("central_auth_url"),
        nonce: field("nonce"),
        state: field("state"),
        client_id: field("client_id"),
        provider: field("provider"),
    }
}

fn check(what: &str, config: &NetworkConfig, expected: &Value) {
    assert_eq!(config.network.to_string(), text(expected, "network_id"), "{what}");
    assert_eq!(Some(config.timestamp.as_ms()), expected["timestamp"].as_i64(), "{what}");
    assert_eq!(
        Some(config.credential_window.as_ms()),
        expected["credential_time_max_delta"].as_i64(),
        "{what}"
    );
    assert_eq!(config.revision, number(expected, "revision"), "{what}");
    assert_eq!(config.issued_to.to_string(), text(expected, "issued_to"), "{what}");
    assert_eq!(config.trace_target.to_string(), text(expected, "remote_trace_target"), "{what}");
    assert_eq!(u64::from(config.trace_level), number(expected, "remote_trace_level"), "{what}");
    assert_eq!(config.flags, id(expected, "flags"), "{what}");
    assert_eq!(u64::from(config.mtu), number(expected, "mtu"), "{what}");
    assert_eq!(u64::from(config.multicast_limit), number(expected, "multicast_limit"), "{what}");
    assert_eq!(u64::from(config.public), number(expected, "type"), "{what}");
    assert_eq!(hex(config.name.as_bytes()), text(expected, "name"), "{what}");

    let specialists: Vec<String> =
        config.specialists.iter().map(|s| format!("{:016x}", s.roles | s.address.to_u64())).collect();
    assert_eq!(serde_json::json!(specialists), expected["specialists"], "{what}");
    let routes: Vec<Route> = expected["routes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|route| Route {
            target: text(route, "target").parse().unwrap(),
            via: ip(&route["via"]),
            flags: number(route, "flags") as u16,
            metric: number(route, "metric") as u16,
        })
        .collect();
    assert_eq!(config.routes, routes, "{what}");
    let addresses: Vec<Prefix> = expected["static_ips"]
        .as_array()
        .unwrap()
        .iter()
        .map(|address| address.as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(config.addresses, addresses, "{what}");

    match expected["rules"].as_array() {
        Some(rules) => {
            let rules: Vec<_> = rules.iter().map(|rule| flowrules::from_json(rule).unwrap()).collect();
            assert_eq!(flowrules::encode(&config.rules), flowrules::encode(&rules), "{what}");
        }
        None => {
            assert_eq!(config.rules.len() as u64, number(expected, "rule_count"), "{what}");
            assert_eq!(hex(&flowrules::encode(&config.rules)), text(expected, "rules_binary"), "{what}");
        }
    }
    use protocol::credential::{HeldCapability, Signed};
    assert_eq!(
        written(&config.capabilities, HeldCapability::write),
        serialized(&expected["capabilities"]),
        "{what}"
    );
    assert_eq!(written(&config.tags, Signed::write), serialized(&expected["tags"]), "{what}");
    assert_eq!(
        written(&config.coos, Signed::write),
        serialized(&expected["certificates_of_ownership"]),
        "{what}"
    );
    let com = config.com.as_slice();
    let expected_com = expected["com"]["serialized"].as_str().map(str::to_owned);
    assert_eq!(written(com, Signed::write).pop(), expected_com, "{what}");

    let dns = &expected["dns"];
    assert_eq!(config.dns.domain, text(dns, "domain"), "{what}");
    let servers: Vec<IpAddr> = list(dns, "servers").iter().filter_map(ip).collect();
    assert_eq!(config.dns.servers, servers, "{what}");
    assert_eq!(config.sso, sso(&expected["sso"]), "{what}");
}

#[test]
fn vector_network_config_cases() {
    for case in list(&load("network_config.json"), "cases") {
        let what = name(case);
        let dictionary = bytes(case, "dictionary");
        assert!(flag(case, "to_dictionary_ok"), "{what}");
        let config = NetworkConfig::from_dictionary(&dictionary);
        assert_eq!(config.is_ok(), flag(case, "parse_ok"), "{what}: {config:?}");
        let Ok(mut config) = config else { continue };
        check(what, &config, &case["parsed"]);
        // Put back what reading changed, then writing must give the same bytes.
        let input = &case["input_where_different"];
        for (key, value) in input.as_object().into_iter().flatten() {
            let position = |id: u32| {
                let id = u64::from(id);
                value.as_array().unwrap().iter().position(|v| v.as_u64() == Some(id)).unwrap()
            };
            match key.as_str() {
                "mtu" => config.mtu = value.as_u64().unwrap() as u16,
                "name" => config.name = String::from_utf8(support::unhex(value.as_str().unwrap())).unwrap(),
                "name_text" => {}
                "sso" => config.sso = sso(value),
                "tags_ids_in_input_order" => config.tags.sort_by_key(|tag| position(tag.id)),
                "capabilities_ids_in_input_order" => config.capabilities.sort_by_key(|c| position(c.id)),
                other => panic!("{what}: {other}"),
            }
        }
        assert_eq!(hex(config.to_dictionary().as_bytes()), hex(&dictionary), "{what}");
    }
}

#[test]
fn vector_network_config_hand_made() {
    for case in list(&load("network_config.json"), "hand_made") {
        let config = NetworkConfig::from_dictionary(&bytes(case, "dictionary"));
        assert_eq!(config.is_ok(), flag(case, "parse_ok"), "{}: {config:?}", name(case));
        if let Ok(config) = config {
            check(name(case), &config, &case["parsed"]);
            let again = NetworkConfig::from_dictionary(config.to_dictionary().as_bytes());
            assert_eq!(again, Ok(config), "{}", name(case));
        }
    }
}

#[test]
fn vector_vl2_netconf() {
    let file = load("vl2/netconf.json");
    let credentials = load("vl2/credentials.json");
    let controller = SecretIdentity::parse(text(&credentials["identities"], "controller")).unwrap();
    let network: NetworkId = text(&credentials, "networkId").parse().unwrap();
    let dictionary = bytes(&file, "dictionary");
    let config = NetworkConfig::from_dictionary(&dictionary).unwrap();
    assert_eq!(hex(config.to_dictionary().as_bytes()), hex(&dictionary));

    let check_chunks = |case: &Value, payloads: &[Vec<u8>]| {
        let mut assembled = vec![0; dictionary.len()];
        for payload in payloads {
            let chunk = ConfigChunk::parse(payload).unwrap();
            assert_eq!(chunk.network, network);
            assert_eq!(chunk.update_id, id(case, "configUpdateId"));
            assert_eq!(chunk.total as usize, dictionary.len());
            assert_eq!(chunk.as_bytes(), &payload[..]);
            assert!(chunk.verify(controller.identity()));
            let at = chunk.offset as usize;
            assembled[at..at + chunk.data.len()].copy_from_slice(chunk.data);
            let made = config_chunk::sign(
                network,
                chunk.data,
                chunk.flags,
                chunk.update_id,
                chunk.total,
                chunk.offset,
                &controller,
            );
            assert_eq!(hex(&made), hex(payload));
            // One changed byte anywhere, and the signature does not fit.
            let mut forged = payload.clone();
            forged[12] ^= 1;
            assert!(!ConfigChunk::parse(&forged).unwrap().verify(controller.identity()));
        }
        assert_eq!(hex(&assembled), hex(&dictionary));
    };
    let single = bytes(&file["singleChunk"], "payload");
    check_chunks(&file["singleChunk"], std::slice::from_ref(&single));
    let fast = bytes(&file["fastPropagateChunk"], "payload");
    assert!(ConfigChunk::parse(&fast).unwrap().fast_propagate());
    check_chunks(&file["fastPropagateChunk"], &[fast]);
    let two: Vec<Vec<u8>> = list(&file["twoChunks"], "payloads")
        .iter()
        .map(|payload| support::unhex(payload.as_str().unwrap()))
        .collect();
    check_chunks(&file["twoChunks"], &two);
    let update_id = id(&file["singleChunk"], "configUpdateId");
    assert_eq!(config_chunk::cut(network, &dictionary, 0, update_id, &controller), [single]);

    let metadata = text(&file, "requestMetaData");
    let read = RequestMetadata::from_dictionary(metadata.as_bytes());
    assert_eq!(read.to_dictionary().as_bytes(), metadata.as_bytes());
    assert_eq!(read.to_dictionary().as_bytes().len() as u64, number(&file, "requestMetaDataLength"));
    // But for the one key of our own.
    let ours =
        RequestMetadata { platform: read.platform.clone(), rule_lines: false, ..RequestMetadata::ours("") };
    assert_eq!(ours, read);
}
