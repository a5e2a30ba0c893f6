//! hello.json: what a receiver does with a HELLO. (`sent` is tested where HELLOs are written.)

use std::collections::BTreeMap;

use node::core::Core;
use protocol::packet::{self, SessionKeys, Suite};
use protocol::verb::Verb;
use protocol::verbs::{self, OkHeader, OkHello, error_code};
use protocol::world::World;
use protocol::{Address, Identity, SecretIdentity, Time};

use super::support::{Value, array, bytes, endpoint, flag, hex, id, list, load, name, number, text};
use super::{Opened, core, drain, feed, introduce, open, time};

#[test]
fn hello_received_vectors() {
    for case in list(&load("hello.json"), "received") {
        let name = name(case);
        let secret = SecretIdentity::parse(text(case, "receiver_secret")).unwrap();
        let steps = list(case, "steps");
        let start = time(&steps[0], "clock");
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
    let now = time(step, "clock");
    let from = endpoint(case, "source_physical").unwrap();
    let raw = bytes(step, "hello");
    feed(core, now, from, &raw);
    let output = drain(core);
    assert!(output.frames.is_empty(), "{name}");
    assert!(output.errands.is_empty() && output.events.is_empty(), "{name}");
    let outcome = text(step, "outcome");

    let known = raw.len() >= packet::HEADER_LEN
        && core.view().peers(now).iter().any(|p| p.address == packet::source(&raw));
    assert_eq!(known, flag(step, "sender_known_afterwards"), "{name}: sender known");
    if outcome == "ignored" {
        assert!(output.datagrams.is_empty(), "{name}: answered");
        return;
    }
    let keys: BTreeMap<Address, SessionKeys> =
        [(packet::source(&raw), SessionKeys::new(&array(case, "session_key")))].into();
    let mut replies = open(&output.datagrams, &keys);
    let worlds = answer_for_worlds(core, now, &keys, &replies);
    // Where the reference confirms a path by a HELLO, after its answer, we do so by an empty ECHO, before; and only until it has been
    // answered once.
    let confirmations = replies.iter().filter(|reply| reply.verb == Verb::Echo);
    assert!(confirmations.clone().all(|echo| echo.to == from && echo.payload.is_empty()), "{name}");
    let (expected, confirms): (Vec<Value>, Vec<Value>) = {
        let all = step["replies"].as_array().unwrap().iter().cloned();
        all.partition(|reply| text(reply, "verb") != "HELLO")
    };
    assert!(confirmations.count() <= confirms.len(), "{name}");
    replies.retain(|reply| reply.verb != Verb::Echo);
    assert_eq!(replies.len(), expected.len(), "{name}: {replies:?}");
    for (reply, expected) in replies.iter().zip(&expected) {
        let at = |what: &str| format!("{name}: {what}");
        assert_eq!(reply.verb.name(), text(expected, "verb"), "{}", at("verb"));
        assert_eq!(Some(reply.to), endpoint(expected, "dst"), "{}", at("destination"));
        assert_eq!(u64::from(reply.hops), number(expected, "hops"), "{}", at("hops"));
        assert_eq!(u64::from(reply.suite), number(expected, "cipher"), "{}", at("cipher"));
        match reply.verb {
            Verb::Ok => check_ok(name, reply, worlds.as_ref(), &expected["fields"]),
            // Ours is protected with the key of the one who asked, not of the one it collides with: it can be read.
            Verb::Error => check_collision(name, reply, &raw),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(outcome == "error_reply", replies.iter().any(|r| r.verb == Verb::Error), "{name}");
}

/// Answers the ECHO among replies, if there is one. Worlds are more than came from an endpoint that has not proven itself, so they
/// come now, in a second answer to the same HELLO.
fn answer_for_worlds(
    core: &mut Core,
    now: Time,
    keys: &BTreeMap<Address, SessionKeys>,
    replies: &[Opened],
) -> Option<Opened> {
    let echo = replies.iter().find(|reply| reply.verb == Verb::Echo)?;
    let mut answer = Vec::new();
    packet::start(&mut answer, !echo.id, core.address(), echo.dest, Verb::Ok);
    OkHeader { in_re_verb: Verb::Echo as u8, in_re_id: echo.id, body: &[] }.write(&mut answer);
    keys[&echo.dest].armor(&mut answer, Suite::Salsa);
    feed(core, now, echo.to, &answer);
    let is_second = |reply: &Opened| {
        reply.verb == Verb::Ok
            && OkHeader::parse(&reply.payload).is_ok_and(|header| header.in_re_verb == Verb::Hello as u8)
    };
    open(&drain(core).datagrams, keys).into_iter().find(is_second)
}

fn check_ok(name: &str, reply: &Opened, with_worlds: Option<&Opened>, fields: &Value) {
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
    let second = with_worlds.map(|second| OkHeader::parse(&second.payload).unwrap());
    let ok = match &second {
        Some(second) => {
            assert_eq!((second.in_re_id, ok.world_bytes), (header.in_re_id, &[][..]), "{name}");
            OkHello::parse(second.body).unwrap()
        }
        None => ok,
    };
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
