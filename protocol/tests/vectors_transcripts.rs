//! Golden transcripts: every packet real nodes exchanged is opened with either side's secret, compared with the
//! recorded plaintext, and, for the verbs of VL1, parsed, compared field by field, and written again.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;

use protocol::packet::compress::decompress;
use protocol::packet::fragment::Reassembler;
use protocol::packet::header::{self, Datagram, HEADER_LEN};
use protocol::packet::{SessionKeys, armor};
use protocol::verb::Verb;
use protocol::verbs::{
    Error, Hello, OkHeader, OkHello, OkWhois, PushDirectPaths, RemoteTrace, Rendezvous, UserMessage, Whois,
};
use protocol::{Address, SecretIdentity, Time};
use support::{Value, bytes, endpoint, hex, id, list, number, text};

/// All transcripts, with their names.
fn transcripts() -> Vec<(String, Value)> {
    let mut names: Vec<_> = std::fs::read_dir(support::folder().join("transcripts"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .collect();
    names.sort();
    assert!(!names.is_empty());
    names.into_iter().map(|name| (name.clone(), support::load(&format!("transcripts/{name}")))).collect()
}

/// The session keys of every pair of nodes, as each of the two computes them.
fn sessions(file: &Value) -> HashMap<(Address, Address), SessionKeys> {
    let secrets: Vec<_> = list(file, "nodes")
        .iter()
        .map(|node| SecretIdentity::parse(text(node, "identity_secret")).unwrap())
        .collect();
    let mut keys = HashMap::new();
    for a in &secrets {
        for b in &secrets {
            let agreed = a.agree(b.identity()).unwrap();
            keys.insert((a.address(), b.address()), SessionKeys::new(&agreed));
            for pair in list(file, "session_secrets") {
                if text(pair, "a") == a.address().to_string() && text(pair, "b") == b.address().to_string() {
                    assert_eq!(hex(&agreed[..]), text(pair, "session_key"));
                }
            }
        }
    }
    keys
}

/// Opens a packet as its receiver (or, the other way round, its sender) would, tail of HELLO included.
fn open(raw: &[u8], keys: &SessionKeys) -> Vec<u8> {
    let mut packet = raw.to_vec();
    if header::suite(&packet) == 2 {
        assert!(armor::trusted_path_id(&packet).is_some());
    } else {
        assert!(keys.dearmor(&mut packet));
    }
    decompress(&mut packet).unwrap();
    if header::verb(&packet) == Some(Verb::Hello) {
        let tail = Hello::parse(&packet[HEADER_LEN..]).unwrap().masked_tail_at.unwrap();
        keys.mask_hello(&mut packet, HEADER_LEN + tail);
    }
    packet
}

/// Compares a packet with its record.
fn check(what: &str, raw: &[u8], record: &Value, sessions: &HashMap<(Address, Address), SessionKeys>) {
    let (source, dest) = (header::source(raw), header::dest(raw));
    assert_eq!(source.to_string(), text(record, "zt_source"), "{what}");
    assert_eq!(dest.to_string(), text(record, "zt_dest"), "{what}");
    assert_eq!(header::id(raw), id(record, "packet_id"), "{what}");
    assert_eq!(u64::from(header::suite(raw)), number(record, "cipher"), "{what}");
    assert_eq!(u64::from(header::hops(raw)), number(record, "hops"), "{what}");
    let packet = open(raw, &sessions[&(dest, source)]);
    assert_eq!(packet, open(raw, &sessions[&(source, dest)]), "{what}");
    assert_eq!(hex(&packet), text(record, "plaintext"), "{what}");
    let verb = header::verb(&packet).unwrap();
    assert_eq!(verb.name(), text(record, "verb"), "{what}");
    check_fields(what, verb, &packet[HEADER_LEN..], &record["fields"]);
}

/// Asserts that writing gives back what was read.
fn same(what: &str, payload: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
    let mut written = Vec::new();
    write(&mut written);
    assert_eq!(hex(&written), hex(payload), "{what}");
}

/// Compares the fields of a verb of VL1.
fn check_fields(what: &str, verb: Verb, payload: &[u8], fields: &Value) {
    let strings = |key: &str| -> Vec<String> {
        fields[key].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    match verb {
        Verb::Hello => {
            let hello = Hello::parse(payload).unwrap();
            assert_eq!(u64::from(hello.protocol), number(fields, "protocol_version"), "{what}");
            assert_eq!(u64::from(hello.major), number(fields, "major"), "{what}");
            assert_eq!(u64::from(hello.minor), number(fields, "minor"), "{what}");
            assert_eq!(u64::from(hello.revision), number(fields, "revision"), "{what}");
            assert_eq!(hello.timestamp, number(fields, "timestamp"), "{what}");
            assert_eq!(hello.identity.to_string(), text(fields, "identity"), "{what}");
            assert_eq!(hello.sent_to, endpoint(fields, "physical_destination"), "{what}");
            let planet = (id(fields, "planet_id"), number(fields, "planet_timestamp"));
            assert_eq!(hello.planet, Some(planet), "{what}");
            let tail = hello.masked_tail_at.unwrap();
            assert_eq!((HEADER_LEN + tail) as u64, number(fields, "masked_tail_offset"), "{what}");
            let moons = Hello::parse_tail(&payload[tail..]).unwrap();
            let expected = fields["moons"].as_array().unwrap();
            assert_eq!(moons.len(), expected.len(), "{what}");
            for (moon, expected) in moons.iter().zip(expected) {
                assert_eq!((moon.id, moon.timestamp), (id(expected, "id"), number(expected, "timestamp")));
            }
        }
        Verb::Ok => {
            let ok = OkHeader::parse(payload).unwrap();
            let in_re = Verb::from_byte(ok.in_re_verb).unwrap();
            assert_eq!(in_re.name(), text(fields, "in_re_verb"), "{what}");
            assert_eq!(ok.in_re_id, id(fields, "in_re_packet_id"), "{what}");
            same(what, payload, |to| ok.write(to));
            match in_re {
                Verb::Hello => {
                    let hello = OkHello::parse(ok.body).unwrap();
                    assert_eq!(hello.timestamp, number(fields, "timestamp_echo"), "{what}");
                    assert_eq!(u64::from(hello.protocol), number(fields, "protocol_version"), "{what}");
                    assert_eq!(hello.seen_as, endpoint(fields, "physical_destination"), "{what}");
                    let worlds = hello.worlds().unwrap();
                    let expected = fields["world_updates"].as_array().unwrap();
                    assert_eq!(worlds.len(), expected.len(), "{what}");
                    for (world, expected) in worlds.iter().zip(expected) {
                        assert_eq!(hex(&world.to_bytes()), text(expected, "bytes"), "{what}");
                        assert_eq!(world.kind as u64, number(expected, "type"), "{what}");
                        assert_eq!(world.id, id(expected, "id"), "{what}");
                        assert_eq!(world.timestamp, number(expected, "timestamp"), "{what}");
                    }
                    same(what, ok.body, |to| hello.write(to));
                }
                Verb::Whois => {
                    let whois = OkWhois::parse(ok.body).unwrap();
                    let identities: Vec<_> = whois.0.iter().map(ToString::to_string).collect();
                    assert_eq!(identities, strings("identities"), "{what}");
                    same(what, ok.body, |to| whois.write(to));
                }
                Verb::Echo => assert_eq!(hex(ok.body), text(fields, "payload"), "{what}"),
                _ => {}
            }
        }
        Verb::Error => {
            let error = Error::parse(payload).unwrap();
            let in_re = Verb::from_byte(error.in_re_verb).unwrap();
            assert_eq!(in_re.name(), text(fields, "in_re_verb"), "{what}");
            assert_eq!(error.in_re_id, id(fields, "in_re_packet_id"), "{what}");
            assert_eq!(u64::from(error.code), number(fields, "error_code"), "{what}");
            let mut rest = Vec::new();
            if let Some(network) = error.network {
                rest.extend_from_slice(&network.0.to_be_bytes());
            }
            rest.extend_from_slice(error.body);
            assert_eq!(hex(&rest), text(fields, "payload"), "{what}");
            same(what, payload, |to| error.write(to));
        }
        Verb::Whois => {
            let whois = Whois::parse(payload).unwrap();
            let addresses: Vec<_> = whois.0.iter().map(ToString::to_string).collect();
            assert_eq!(addresses, strings("addresses"), "{what}");
            same(what, payload, |to| whois.write(to));
        }
        Verb::Rendezvous => {
            let rendezvous = Rendezvous::parse(payload).unwrap();
            assert_eq!(rendezvous.peer.to_string(), text(fields, "peer"), "{what}");
            assert_eq!(Some(rendezvous.endpoint), endpoint(fields, "endpoint"), "{what}");
            same(what, payload, |to| rendezvous.write(to));
        }
        Verb::PushDirectPaths => {
            let paths = PushDirectPaths::parse(payload).unwrap();
            let expected = list(fields, "paths");
            assert_eq!(paths.0.len(), expected.len(), "{what}");
            for (path, expected) in paths.0.iter().zip(expected) {
                assert_eq!(u64::from(path.flags), number(expected, "flags"), "{what}");
                assert_eq!(Some(path.endpoint), endpoint(expected, "address"), "{what}");
            }
            same(what, payload, |to| paths.write(to));
        }
        Verb::UserMessage => {
            let message = UserMessage::parse(payload).unwrap();
            assert_eq!(message.kind, id(fields, "type_id"), "{what}");
            match fields["data"].as_str() {
                Some(data) => assert_eq!(hex(message.body), data, "{what}"),
                None => assert_eq!(message.body.len() as u64, number(fields, "data_length"), "{what}"),
            }
            same(what, payload, |to| message.write(to));
        }
        Verb::RemoteTrace => {
            let trace = RemoteTrace::parse(payload);
            assert!(!trace.0.is_empty(), "{what}");
            let length = fields["data_length"].as_u64().unwrap_or_else(|| bytes(fields, "data").len() as u64);
            assert_eq!(payload.len() as u64, length, "{what}");
            same(what, payload, |to| trace.write(to));
        }
        Verb::Echo => assert_eq!(hex(payload), text(fields, "payload"), "{what}"),
        _ => {}
    }
}

#[test]
fn transcript_vectors() {
    for (name, file) in transcripts() {
        let sessions = sessions(&file);
        let log = list(&file, "log");
        let (mut packets, mut pieces) = (0, 0);
        let mut whole = HashMap::new();
        let mut reassembler = Reassembler::new(32);
        for entry in log {
            if text(entry, "type") != "datagram" {
                continue;
            }
            let what = format!("{name}, entry {}", entry["n"]);
            let raw = bytes(entry, "raw");
            let source = endpoint(entry, "src");
            let kind = header::classify(&raw);
            match text(entry, "kind") {
                "packet" => {
                    assert_eq!(kind, Datagram::Packet, "{what}");
                    assert!(!header::is_fragmented(&raw), "{what}");
                    check(&what, &raw, entry, &sessions);
                    packets += 1;
                }
                "fragment_head" => {
                    assert_eq!(kind, Datagram::Packet, "{what}");
                    assert!(header::is_fragmented(&raw), "{what}");
                    pieces += 1;
                    if let Some(packet) = reassembler.insert_head(Time::EPOCH, source, &raw) {
                        whole.insert((header::id(&packet), u64::from(header::hops(&packet))), packet);
                    }
                }
                "fragment" => {
                    assert_eq!(kind, Datagram::Fragment, "{what}");
                    assert_eq!(
                        u64::from(header::fragment_number(&raw)),
                        number(entry, "fragment_no"),
                        "{what}"
                    );
                    assert_eq!(
                        u64::from(header::fragment_total(&raw)),
                        number(entry, "fragment_total"),
                        "{what}"
                    );
                    assert_eq!(u64::from(header::fragment_hops(&raw)), number(entry, "hops"), "{what}");
                    assert_eq!(header::id(&raw), id(entry, "packet_id"), "{what}");
                    pieces += 1;
                    if let Some(packet) = reassembler.insert_fragment(Time::EPOCH, source, &raw) {
                        whole.insert((header::id(&packet), u64::from(header::hops(&packet))), packet);
                    }
                }
                "junk" => assert_eq!(kind, Datagram::Junk, "{what}"),
                other => panic!("{what}: {other}"),
            }
        }
        assert!(packets > 0, "{name}");
        assert_eq!(pieces > 0, file["reassembled"].is_array(), "{name}");
        if let Some(records) = file["reassembled"].as_array() {
            for record in records {
                // A relayed packet was recorded before and after the relay.
                let packet = &whole[&(id(record, "packet_id"), number(record, "hops"))];
                check(
                    &format!("{name}, fragmented {}", text(record, "packet_id")),
                    packet,
                    record,
                    &sessions,
                );
            }
        }
    }
}
