//! Golden vectors of HELLO and OK(HELLO): what they look like. What a receiver does belongs to the core.
#![allow(clippy::unwrap_used)]

mod support;

use protocol::packet::header::{self, HEADER_LEN};
use protocol::packet::{SessionKeys, Suite};
use protocol::verb::Verb;
use protocol::verbs::{Hello, MoonEntry, OkHeader, OkHello, write_hello};
use protocol::world::World;
use protocol::{Identity, SecretIdentity};
use support::{Value, array, bytes, endpoint, flag, hex, id, list, load, name, number, text};

/// The HELLO that the `fields` of a vector describe.
fn hello(fields: &Value) -> Hello {
    let small = |key| u8::try_from(number(fields, key)).unwrap();
    Hello {
        protocol: small("protocol_version"),
        major: small("major"),
        minor: small("minor"),
        revision: u16::try_from(number(fields, "revision")).unwrap(),
        timestamp: number(fields, "timestamp"),
        identity: Identity::parse(text(fields, "identity")).unwrap(),
        sent_to: endpoint(fields, "physical_destination"),
        planet: Some((id(fields, "planet_id"), number(fields, "planet_timestamp"))),
        masked_tail_at: Some(number(fields, "masked_tail_offset") as usize - HEADER_LEN),
    }
}

fn moons(fields: &Value) -> Vec<MoonEntry> {
    let entry = |moon: &Value| MoonEntry { id: id(moon, "id"), timestamp: number(moon, "timestamp") };
    fields["moons"].as_array().unwrap().iter().map(entry).collect()
}

#[test]
fn hello_sent_vectors() {
    for case in list(&load("hello.json"), "sent") {
        let name = name(case);
        let sender = SecretIdentity::parse(text(case, "sender_secret")).unwrap();
        let receiver = SecretIdentity::parse(text(case, "receiver_secret")).unwrap();
        let agreed = receiver.agree(sender.identity()).unwrap();
        assert_eq!(hex(&agreed[..]), text(case, "session_key"), "{name}");
        let keys = SessionKeys::new(&agreed);
        let (hello, moons) = (hello(&case["fields"]), moons(&case["fields"]));

        let mut buffer = vec![0xee; 5];
        header::start(&mut buffer, id(case, "packet_id"), receiver.address(), sender.address(), Verb::Hello);
        write_hello(&mut buffer, 5, &hello, &moons, &keys);
        assert_eq!(hex(&buffer[5..]), text(case, "raw"), "{name}");

        let mut raw = bytes(case, "raw");
        assert!(keys.dearmor(&mut raw), "{name}");
        let parsed = Hello::parse(&raw[HEADER_LEN..]).unwrap();
        assert_eq!(parsed, hello, "{name}");
        let tail = HEADER_LEN + parsed.masked_tail_at.unwrap();
        keys.mask_hello(&mut raw, tail);
        assert_eq!(hex(&raw), text(case, "plaintext"), "{name}");
        assert_eq!(Hello::parse_tail(&raw[tail..]).unwrap(), moons, "{name}");
    }
}

#[test]
fn hello_received_vectors() {
    let file = load("hello.json");
    let mut replies = 0;
    for case in list(&file, "received") {
        let name = name(case);
        let receiver = SecretIdentity::parse(text(case, "receiver_secret")).unwrap();
        for step in list(case, "steps") {
            let mut raw = bytes(step, "hello");
            let answered = text(step, "outcome") == "ok_reply";
            let parsed = if raw.len() < HEADER_LEN { None } else { Hello::parse(&raw[HEADER_LEN..]).ok() };
            assert!(!answered || parsed.is_some(), "{name}");
            if flag(step, "sender_known_afterwards")
                && raw.len() >= HEADER_LEN
                && case["receiver_already_knows"].is_null()
            {
                Hello::parse_start(&raw[HEADER_LEN..]).unwrap();
            }
            let Some(hello) = parsed else { continue };
            let Some(agreed) = receiver.agree(&hello.identity) else { continue };
            let keys = SessionKeys::new(&agreed);
            let authentic = keys.dearmor(&mut raw);
            assert!(!answered || authentic, "{name}");
            if !authentic {
                continue;
            }
            if answered {
                assert_eq!(hello.identity.address, header::source(&raw), "{name}");
                if let Some(tail) = hello.masked_tail_at {
                    keys.mask_hello(&mut raw, HEADER_LEN + tail);
                    Hello::parse_tail(&raw[HEADER_LEN + tail..]).unwrap();
                }
            } else if name == "moon_count_beyond_data" {
                let tail = HEADER_LEN + hello.masked_tail_at.unwrap();
                keys.mask_hello(&mut raw, tail);
                assert!(Hello::parse_tail(&raw[tail..]).is_err());
            }
            for reply in step["replies"].as_array().unwrap() {
                check_reply(name, &keys, reply);
                replies += 1;
            }
        }
    }
    assert!(replies > 0);
}

/// Opens a reply, reads it, and writes it again.
fn check_reply(name: &str, keys: &SessionKeys, reply: &Value) {
    let mut raw = bytes(reply, "raw");
    if !keys.dearmor(&mut raw) {
        // A collision is reported under the key of the node that had the address first.
        assert_eq!(text(reply, "verb"), "ERROR", "{name}");
        return;
    }
    if text(reply, "verb") != "OK" {
        return;
    }
    assert_eq!(hex(&raw), text(reply, "plaintext"), "{name}");
    let fields = &reply["fields"];
    let header = OkHeader::parse(&raw[HEADER_LEN..]).unwrap();
    assert_eq!(header.in_re_verb, Verb::Hello as u8);
    assert_eq!(header.in_re_id, id(fields, "in_re_packet_id"));
    let ok = OkHello::parse(header.body).unwrap();
    assert_eq!(ok.timestamp, number(fields, "timestamp_echo"), "{name}");
    assert_eq!(u64::from(ok.protocol), number(fields, "protocol_version"), "{name}");
    assert_eq!(
        (u64::from(ok.major), u64::from(ok.minor)),
        (number(fields, "major"), number(fields, "minor"))
    );
    assert_eq!(u64::from(ok.revision), number(fields, "revision"), "{name}");
    assert_eq!(ok.seen_as, endpoint(fields, "physical_destination"), "{name}");
    assert_eq!(ok.world_bytes.len() as u64, number(fields, "world_update_length"), "{name}");
    let worlds = ok.worlds().unwrap();
    let expected = fields["world_updates"].as_array().unwrap();
    assert_eq!(worlds.len(), expected.len(), "{name}");
    for (world, expected) in worlds.iter().zip(expected) {
        assert_eq!(hex(&world.to_bytes()), text(expected, "bytes"), "{name}");
        assert_eq!(World::parse(&bytes(expected, "bytes")).as_ref(), Ok(world), "{name}");
    }

    let mut again = raw[..HEADER_LEN].to_vec();
    let mut body = Vec::new();
    ok.write(&mut body);
    OkHeader { body: &body, ..header }.write(&mut again);
    assert_eq!(hex(&again), hex(&raw), "{name}");
}

#[test]
fn hello_is_never_armored_twice_vector() {
    // The mask depends on the packet ID less three bits, the armor on all of it.
    let file = load("hello.json");
    let case = &list(&file, "sent")[0];
    let keys = SessionKeys::new(&array(case, "session_key"));
    let mut raw = bytes(case, "raw");
    let expected = raw.clone();
    assert!(keys.dearmor(&mut raw));
    keys.armor(&mut raw, Suite::Clear);
    assert_eq!(hex(&raw), hex(&expected));
}
