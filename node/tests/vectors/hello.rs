//! hello.json: what a receiver does with a HELLO. (`sent` is tested where HELLOs are written.)

use std::collections::BTreeMap;

use node::core::Core;
use protocol::packet::{self, SessionKeys};
use protocol::verb::Verb;
use protocol::verbs::{self, OkHeader, OkHello, error_code};
use protocol::world::World;
use protocol::{Address, Identity, SecretIdentity};

use super::support::{Value, array, bytes, endpoint, flag, hex, id, list, load, name, number, text};
use super::{Opened, core, drain, feed, introduce, open};

#[test]
fn hello_received_vectors() {
    for case in list(&load("hello.json"), "received") {
        let name = name(case);
        let secret = SecretIdentity::parse(text(case, "receiver_secret")).unwrap();
        let steps = list(case, "steps");
        let start = number(&steps[0], "clock").cast_signed();
        let mut core = core(&secret, &bytes(case, "receiver_planet"), Default::default(), start);
        if !case["receiver_moon"].is_null() {
            let moon = World::parse(&bytes(case, "receiver_moon")).unwrap();
            core.orbit(start, moon.id, None, Some(moon));
        }
        if !case["receiver_already_knows"].is_null() {
            introduce(&mut core, start, &Identity::parse(text(case, "receiver_already_knows")).unwrap());
        }
        drain(&mut core);
        for step in steps {
            check_step(name, &mut core, case, step);
        }
    }
}

fn check_step(name: &str, core: &mut Core, case: &Value, step: &Value) {
    let now = number(step, "clock").cast_signed();
    let from = endpoint(case, "source_physical").unwrap();
    let raw = bytes(step, "hello");
    feed(core, now, from, &raw);
    let output = drain(core);
    assert!(output.frames.is_empty() && output.events.is_empty(), "{name}");
    let outcome = text(step, "outcome");

    let known =
        raw.len() >= packet::HEADER_LEN && core.peers(now).iter().any(|p| p.address == packet::source(&raw));
    assert_eq!(known, flag(step, "sender_known_afterwards"), "{name}: sender known");
    if outcome == "ignored" {
        assert!(output.datagrams.is_empty(), "{name}: answered");
        return;
    }
    let keys: BTreeMap<Address, SessionKeys> =
        [(packet::source(&raw), SessionKeys::new(&array(case, "session_key")))].into();
    let mut replies = open(&output.datagrams, &keys);
    // Where the reference confirms a path by a HELLO, after its answer, we do so by an empty ECHO, before.
    replies.sort_by_key(|reply| reply.verb == Verb::Echo);
    let expected = step["replies"].as_array().unwrap();
    assert_eq!(replies.len(), expected.len(), "{name}: {replies:?}");
    for (reply, expected) in replies.iter().zip(expected) {
        let at = |what: &str| format!("{name}: {what}");
        if reply.verb == Verb::Echo {
            assert_eq!(("HELLO", 0), (text(expected, "verb"), reply.payload.len()), "{}", at("confirmation"));
            assert_eq!(Some(reply.to), endpoint(expected, "dst"), "{}", at("destination"));
            continue;
        }
        assert_eq!(reply.verb.name(), text(expected, "verb"), "{}", at("verb"));
        assert_eq!(Some(reply.to), endpoint(expected, "dst"), "{}", at("destination"));
        assert_eq!(u64::from(reply.hops), number(expected, "hops"), "{}", at("hops"));
        assert_eq!(u64::from(reply.suite), number(expected, "cipher"), "{}", at("cipher"));
        match reply.verb {
            Verb::Ok => check_ok(name, reply, &expected["fields"]),
            // Ours is protected with the key of the one who asked, not of the one it collides with: it can be read.
            Verb::Error => check_collision(name, reply, &raw),
            _ => assert_eq!(reply.verb, Verb::Hello, "{name}"),
        }
    }
    assert_eq!(outcome == "error_reply", replies.iter().any(|r| r.verb == Verb::Error), "{name}");
}

fn check_ok(name: &str, reply: &Opened, fields: &Value) {
    let header = OkHeader::parse(&reply.payload).unwrap();
    assert_eq!(header.in_re_verb, Verb::Hello as u8, "{name}");
    assert_eq!(header.in_re_id, id(fields, "in_re_packet_id"), "{name}");
    let ok = OkHello::parse(header.body).unwrap();
    assert_eq!(ok.timestamp, number(fields, "timestamp_echo"), "{name}");
    assert_eq!(u64::from(ok.protocol), number(fields, "protocol_version"), "{name}");
    assert_eq!(u64::from(ok.major), number(fields, "major"), "{name}");
    assert_eq!(u64::from(ok.minor), number(fields, "minor"), "{name}");
    assert_eq!(u64::from(ok.revision), number(fields, "revision"), "{name}");
    assert_eq!(ok.seen_as, endpoint(fields, "physical_destination"), "{name}");
    let worlds: Vec<String> = ok.worlds().unwrap().iter().map(|w| hex(&w.to_bytes())).collect();
    let expected: Vec<&str> =
        fields["world_updates"].as_array().unwrap().iter().map(|w| text(w, "bytes")).collect();
    assert_eq!(worlds, expected, "{name}");
}

fn check_collision(name: &str, reply: &Opened, hello: &[u8]) {
    let error = verbs::Error::parse(&reply.payload).unwrap();
    assert_eq!(error.in_re_verb, Verb::Hello as u8, "{name}");
    assert_eq!(error.in_re_id, packet::id(hello), "{name}");
    assert_eq!(error.code, error_code::IDENTITY_COLLISION, "{name}");
}
