//! bad_packets.json: what must have no effect, and its neighbours that have one.

use std::collections::BTreeMap;

use node::core::Core;
use node::core::event::Event;
use protocol::packet::SessionKeys;
use protocol::verb::Verb;
use protocol::{Address, SecretIdentity, Span};

use super::support::{Value, bytes, endpoint, flag, hex, list, load, name, number, text, unhex};
use super::{Opened, Other, Output, core, drain, feed, open, time};

/// Controls that have no effect on purpose.
const DEVIATIONS: &[(&str, &str)] = &[
    (
        "legacy_beacon_13_bytes_known_sender",
        "nobody sends the old beacons; answering a forgeable datagram helps nobody",
    ),
    ("echo_with_cipher_0", "suite 0 is for HELLO and the two bonding verbs; the rest has to be encrypted"),
    (
        "non_hello_in_the_clear",
        "suite 0 is for HELLO and the two bonding verbs; the rest has to be encrypted",
    ),
    ("REMOTE_TRACE_complete", "traces of others are not collected"),
    ("REMOTE_TRACE_21", "traces of others are not collected"),
];

struct Setting<'a> {
    file: &'a Value,
    victim: SecretIdentity,
    keys: BTreeMap<Address, SessionKeys>,
}

/// Runs one case; what happened after the setup.
fn run(setting: &Setting<'_>, case: &Value) -> (Output, Vec<Opened>) {
    let file = setting.file;
    let start = time(file, "clock_setup");
    let network = text(file, "network_id").parse().unwrap();
    let mut core: Core = core(&setting.victim, &bytes(file, "planet"), Default::default(), start);
    core.set_local_addresses(start, vec![(super::SOCKET, endpoint(file, "victim_physical").unwrap())]);
    assert!(core.join(start, network, Some(&bytes(file, "victim_network_config"))));
    assert!(core.view().networks()[0].config.is_some(), "the cached configuration is in force");
    if flag(case, "needs_setup") {
        for (index, step) in list(file, "setup").iter().enumerate() {
            feed(
                &mut core,
                start + Span::ms(100 * index as i64),
                endpoint(step, "src").unwrap(),
                &bytes(step, "raw"),
            );
        }
    }
    drain(&mut core);
    let now = time(file, "clock_test");
    let from = if case["from_root"].as_bool() == Some(true) { "root_physical" } else { "sender_physical" };
    let from = endpoint(file, from).unwrap();
    let datagrams = match case["datagrams"].as_array() {
        Some(several) => several.iter().map(|d| unhex(d.as_str().unwrap())).collect(),
        None => vec![bytes(case, "datagram")],
    };
    for datagram in datagrams {
        feed(&mut core, now, from, &datagram);
    }
    let mut output = drain(&mut core);
    let mut packets = open(&output.datagrams, &setting.keys);
    // What keeps a conversation going is no answer.
    packets.retain(|p| match p.verb {
        Verb::Hello | Verb::Echo => p.to != from,
        Verb::MulticastLike | Verb::PushDirectPaths => false,
        _ => true,
    });
    output.events.retain(|e| !matches!(e, Event::Online(_)));
    (output, packets)
}

fn effects(output: &Output, packets: &[Opened]) -> Vec<String> {
    let mut effects: Vec<String> = packets.iter().map(|p| format!("{} to {}", p.verb.name(), p.to)).collect();
    effects.extend(output.frames.iter().map(|(_, frame)| format!("frame {}", hex(frame))));
    effects.extend(output.errands.iter().map(|errand| format!("{errand:?}")));
    effects.extend(output.events.iter().map(|event| format!("{event:?}")));
    effects.extend(
        output.datagrams.iter().filter(|d| d.ttl.is_some()).map(|d| format!("opening packet to {}", d.to)),
    );
    effects
}

/// What a control lacks, if anything.
fn lacking(case: &Value, output: &Output, packets: &[Opened]) -> Option<String> {
    let entries = |key: &str| case[key].as_array().cloned().unwrap_or_default();
    for reply in entries("replies") {
        let to = endpoint(&reply, "dst").unwrap();
        let found = if text(&reply, "verb") == "low_ttl_junk" {
            output.datagrams.iter().any(|d| d.to == to && d.ttl.is_some() && d.raw.len() == 4)
        } else {
            packets
                .iter()
                .any(|p| p.to == to && p.verb.name() == text(&reply, "verb") && answers(p, &reply["fields"]))
        };
        if !found {
            return Some(format!("no reply {reply}"));
        }
    }
    for frame in entries("frames") {
        let expected = ethernet(&frame);
        if !output
            .frames
            .iter()
            .any(|(network, f)| network.to_string() == text(&frame, "network_id") && *f == expected)
        {
            return Some(format!("no frame {frame}"));
        }
    }
    for event in entries("events") {
        let found = output.events.iter().any(|e| match e {
            Event::UserMessage { from, kind, body } => {
                text(&event, "name") == "user_message"
                    && from.to_string() == text(&event, "origin")
                    && format!("{kind:016x}") == text(&event, "type_id")
                    && hex(body) == text(&event, "data")
            }
            _ => false,
        });
        if !found {
            return Some(format!("no event {}", text(&event, "name")));
        }
    }
    // Only the probes that the packet itself asks for; the others depend on when somebody was last greeted.
    let asked = entries("probes").into_iter().next();
    if let Some(probe) = asked {
        let to = endpoint(&probe, "dst").unwrap();
        let found = packets.iter().any(|p| {
            p.to == to
                && p.dest.to_string() == text(&probe, "to")
                && matches!(p.verb, Verb::Echo | Verb::Hello)
        });
        if !found {
            return Some(format!("no probe {probe}"));
        }
    }
    None
}

/// The bytes of a frame of the vectors as they leave the port.
pub(super) fn ethernet(frame: &Value) -> Vec<u8> {
    let mac = |key: &str| unhex(&text(frame, key).replace(':', ""));
    let mut bytes = [mac("dest_mac"), mac("source_mac")].concat();
    bytes.extend_from_slice(&u16::try_from(number(frame, "ethertype")).unwrap().to_be_bytes());
    bytes.extend_from_slice(&unhex(text(frame, "frame")));
    bytes
}

/// Whether an OK or ERROR says what the vector wants.
fn answers(packet: &Opened, fields: &Value) -> bool {
    let verb = packet.payload[0];
    let mut body = &packet.payload[9..];
    let verb_fits = Verb::from_byte(verb).is_some_and(|v| v.name() == text(fields, "in_re_verb"));
    if packet.verb == Verb::Error {
        if u64::from(body[0]) != number(fields, "error_code") {
            return false;
        }
        body = &body[1..];
    }
    let body_fits = match (&fields["payload"], &fields["identities"]) {
        (Value::String(payload), _) => hex(body) == *payload,
        (_, Value::Array(identities)) => {
            let found = protocol::verbs::OkWhois::parse(body).unwrap().0;
            found
                .iter()
                .map(ToString::to_string)
                .eq(identities.iter().map(|i| i.as_str().unwrap().to_owned()))
        }
        _ => true,
    };
    verb_fits && hex(&packet.payload[1..9]) == text(fields, "in_re_packet_id") && body_fits
}

fn setting(file: &Value) -> Setting<'_> {
    let secret = |key: &str| SecretIdentity::parse(text(file, key)).unwrap();
    let victim = secret("victim_secret");
    let others = [secret("sender_secret"), secret("unknown_sender_secret"), secret("root_secret")];
    let keys = Other::keys(&others.iter().collect::<Vec<_>>(), victim.identity());
    Setting { file, victim, keys }
}

#[test]
fn bad_packet_vectors_have_no_effect() {
    let file = load("bad_packets.json");
    let setting = setting(&file);
    let mut failures = Vec::new();
    for case in list(&file, "cases") {
        let (output, packets) = run(&setting, case);
        let effects = effects(&output, &packets);
        if !effects.is_empty() {
            failures.push((name(case).to_owned(), effects.join(", ")));
        }
    }
    super::judge("bad_packets.json", &[], failures);
}

#[test]
fn bad_packet_control_vectors_have_their_effect() {
    let file = load("bad_packets.json");
    let setting = setting(&file);
    let mut failures = Vec::new();
    for case in list(&file, "controls") {
        let (output, packets) = run(&setting, case);
        if let Some(what) = lacking(case, &output, &packets) {
            failures.push((
                name(case).to_owned(),
                format!("{what}; but {}", effects(&output, &packets).join(", ")),
            ));
        }
    }
    super::judge("bad_packets.json", DEVIATIONS, failures);
}
