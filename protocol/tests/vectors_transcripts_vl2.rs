//! Golden transcripts, the verbs of virtual networks: every packet real nodes exchanged is parsed, compared field by field
//! with its record, and written again. (That packets can be opened is tested with the verbs of VL1.)
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;

use protocol::credential::{Com, HeldCapability, Signed};
use protocol::multicast_group::MulticastGroup;
use protocol::netconf::NetworkConfig;
use protocol::packet::compress::decompress;
use protocol::packet::header::{self, HEADER_LEN};
use protocol::verb::Verb;
use protocol::verbs::{
    ConfigChunk, ConfigRequest, ExtFrame, Frame, MulticastFrame, MulticastGather, MulticastLike,
    NetworkCredentials, OkGather, OkHeader, OkMulticastFrame,
};
use protocol::{Address, NetworkId, SecretIdentity};
use support::{Value, hex, id, list, number, text};

fn same(what: &str, payload: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
    let mut written = Vec::new();
    write(&mut written);
    assert_eq!(hex(&written), hex(payload), "{what}");
}

fn written<T>(objects: &[T], write: impl Fn(&T, &mut Vec<u8>)) -> Value {
    let one = |object| {
        let mut out = Vec::new();
        write(object, &mut out);
        hex(&out)
    };
    objects.iter().map(one).collect()
}

/// A field that may be given by its length only.
fn check_long(what: &str, fields: &Value, key: &str, bytes: &[u8]) {
    match fields[key].as_str() {
        Some(expected) => assert_eq!(hex(bytes), expected, "{what}"),
        None => assert_eq!(bytes.len() as u64, number(fields, &format!("{key}_length")), "{what}"),
    }
}

fn check_group(what: &str, fields: &Value, group: MulticastGroup) {
    assert_eq!(group.mac.to_string(), text(fields, "group_mac"), "{what}");
    assert_eq!(u64::from(group.adi), id(fields, "group_adi"), "{what}");
}

fn check_com(what: &str, fields: &Value, com: Option<&Signed<Com>>) {
    let made = com.map(|com| {
        let mut out = Vec::new();
        com.write(&mut out);
        hex(&out)
    });
    assert_eq!(made.as_deref(), fields["com"].as_str(), "{what}");
}

fn check_members(what: &str, fields: &Value, total: u32, members: &[Address]) {
    assert_eq!(u64::from(total), number(fields, "total_known"), "{what}");
    let members: Value = members.iter().map(ToString::to_string).collect();
    assert_eq!(members, fields["members"], "{what}");
}

/// Everything the configurations that went by were cut into.
#[derive(Default)]
struct Configs {
    updates: HashMap<u64, (Vec<u8>, usize)>,
    complete: usize,
}

impl Configs {
    fn check(&mut self, what: &str, fields: &Value, body: &[u8], secrets: &[SecretIdentity]) {
        let chunk = ConfigChunk::parse(body).unwrap();
        assert_eq!(chunk.network.to_string(), text(fields, "network_id"), "{what}");
        assert_eq!(chunk.data.len() as u64, number(fields, "chunk_length"), "{what}");
        assert_eq!(u64::from(chunk.flags), number(fields, "flags"), "{what}");
        assert_eq!(chunk.update_id, id(fields, "update_id"), "{what}");
        assert_eq!(u64::from(chunk.total), number(fields, "total_length"), "{what}");
        assert_eq!(u64::from(chunk.offset), number(fields, "chunk_index"), "{what}");
        assert_eq!(hex(&chunk.signature.unwrap()), text(fields, "signature"), "{what}");
        assert_eq!(chunk.as_bytes(), body, "{what}");
        let controller = secrets.iter().find(|s| s.address() == chunk.network.controller()).unwrap();
        assert!(chunk.verify(controller.identity()), "{what}");

        let (dictionary, received) =
            self.updates.entry(chunk.update_id).or_insert_with(|| (vec![0; chunk.total as usize], 0));
        let at = chunk.offset as usize;
        dictionary[at..at + chunk.data.len()].copy_from_slice(chunk.data);
        *received += chunk.data.len();
        if *received == dictionary.len() {
            let config = NetworkConfig::from_dictionary(dictionary).unwrap();
            assert_eq!(config.network, chunk.network, "{what}");
            assert_eq!(hex(config.to_dictionary().as_bytes()), hex(dictionary), "{what}");
            self.complete += 1;
        }
    }
}

/// Compares the fields of a verb of VL2; false for the others.
fn check_fields(
    what: &str,
    verb: Verb,
    payload: &[u8],
    fields: &Value,
    secrets: &[SecretIdentity],
    configs: &mut Configs,
) -> bool {
    let network = |network: NetworkId| assert_eq!(network.to_string(), text(fields, "network_id"), "{what}");
    match verb {
        Verb::Frame => {
            let frame = Frame::parse(payload).unwrap();
            network(frame.network);
            assert_eq!(u64::from(frame.ethertype), number(fields, "ethertype"), "{what}");
            check_long(what, fields, "frame", frame.payload);
            same(what, payload, |out| frame.write(out));
        }
        Verb::ExtFrame => {
            let frame = ExtFrame::parse(payload).unwrap();
            network(frame.network);
            assert_eq!(u64::from(frame.flags), number(fields, "flags"), "{what}");
            assert_eq!(frame.dest.to_string(), text(fields, "dest_mac"), "{what}");
            assert_eq!(frame.source.to_string(), text(fields, "source_mac"), "{what}");
            assert_eq!(u64::from(frame.ethertype), number(fields, "ethertype"), "{what}");
            check_com(what, fields, frame.com.as_ref());
            check_long(what, fields, "frame", frame.payload);
            same(what, payload, |out| frame.write(out));
        }
        Verb::MulticastLike => {
            let like = MulticastLike::parse(payload).unwrap();
            let groups: Value = like
                .iter()
                .map(|(network, group)| {
                    serde_json::json!({
                        "network_id": network.to_string(),
                        "mac": group.mac.to_string(),
                        "adi": format!("{:08x}", group.adi),
                    })
                })
                .collect();
            assert_eq!(groups, fields["groups"], "{what}");
            same(what, payload, |out| {
                for (network, group) in like.iter() {
                    MulticastLike::write(network, group, out);
                }
            });
        }
        Verb::MulticastGather => {
            let gather = MulticastGather::parse(payload).unwrap();
            network(gather.network);
            check_group(what, fields, gather.group);
            assert_eq!(u64::from(gather.limit), number(fields, "limit"), "{what}");
            assert_eq!(u64::from(gather.com.is_some()), number(fields, "flags"), "{what}");
            check_com(what, fields, gather.com.as_ref());
            same(what, payload, |out| gather.write(out));
        }
        Verb::MulticastFrame => {
            let frame = MulticastFrame::parse(payload).unwrap();
            network(frame.network);
            assert_eq!(frame.replicate, number(fields, "flags") & 8 != 0, "{what}");
            assert_eq!(frame.gather_limit.map(u64::from), fields["gather_limit"].as_u64(), "{what}");
            let source = frame.source.map(|mac| mac.to_string());
            assert_eq!(source.as_deref(), fields["source_mac"].as_str(), "{what}");
            check_group(what, fields, frame.group);
            assert_eq!(u64::from(frame.ethertype), number(fields, "ethertype"), "{what}");
            check_com(what, fields, frame.com.as_ref());
            check_long(what, fields, "frame", frame.payload);
            same(what, payload, |out| frame.write(out));
        }
        Verb::NetworkCredentials => {
            let set = NetworkCredentials::parse(payload).unwrap();
            assert_eq!(written(&set.coms, Signed::write), fields["coms"], "{what}");
            assert_eq!(written(&set.capabilities, HeldCapability::write), fields["capabilities"], "{what}");
            assert_eq!(written(&set.tags, Signed::write), fields["tags"], "{what}");
            assert_eq!(written(&set.revocations, Signed::write), fields["revocations"], "{what}");
            assert_eq!(written(&set.coos, Signed::write), fields["certificates_of_ownership"], "{what}");
            same(what, payload, |out| set.write(out));
            assert_eq!(set.packets(payload.len()), [payload], "{what}");
        }
        Verb::NetworkConfigRequest => {
            let request = ConfigRequest::parse(payload).unwrap();
            network(request.network);
            assert_eq!(request.metadata, text(fields, "metadata").as_bytes(), "{what}");
            assert_eq!(request.revision, fields["have_revision"].as_u64(), "{what}");
            assert_eq!(request.timestamp, fields["have_timestamp"].as_u64(), "{what}");
            same(what, payload, |out| request.write(out));
        }
        Verb::NetworkConfig => configs.check(what, fields, payload, secrets),
        Verb::Ok => {
            let ok = OkHeader::parse(payload).unwrap();
            match Verb::from_byte(ok.in_re_verb).unwrap() {
                Verb::NetworkConfigRequest => configs.check(what, fields, ok.body, secrets),
                Verb::MulticastGather => {
                    let gathered = OkGather::parse(ok.body).unwrap();
                    network(gathered.network);
                    check_group(what, fields, gathered.group);
                    check_members(what, fields, gathered.total, &gathered.members);
                    same(what, ok.body, |out| gathered.write(out));
                }
                Verb::MulticastFrame => {
                    let reply = OkMulticastFrame::parse(ok.body).unwrap();
                    network(reply.network);
                    check_group(what, fields, reply.group);
                    check_com(what, fields, reply.com.as_ref());
                    if let Some(gathered) = &reply.gathered {
                        check_members(what, fields, gathered.total, &gathered.members);
                    }
                    same(what, ok.body, |out| reply.write(out));
                }
                _ => return false,
            }
        }
        _ => return false,
    }
    true
}

#[test]
fn vector_transcripts_vl2() {
    let mut names: Vec<_> = std::fs::read_dir(support::folder().join("transcripts"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .collect();
    names.sort();
    let (mut checked, mut complete) = (0, 0);
    for name in names {
        let file = support::load(&format!("transcripts/{name}"));
        let secrets: Vec<_> = list(&file, "nodes")
            .iter()
            .map(|node| SecretIdentity::parse(text(node, "identity_secret")).unwrap())
            .collect();
        let mut configs = Configs::default();
        let log = list(&file, "log").iter().filter(|entry| entry["kind"] == "packet");
        for record in log.chain(file["reassembled"].as_array().into_iter().flatten()) {
            let mut packet = support::bytes(record, "plaintext");
            let what = format!("{name}, packet {}", text(record, "packet_id"));
            decompress(&mut packet).unwrap();
            let verb = header::verb(&packet).unwrap();
            let payload = &packet[HEADER_LEN..];
            checked +=
                usize::from(check_fields(&what, verb, payload, &record["fields"], &secrets, &mut configs));
        }
        complete += configs.complete;
    }
    assert!(checked > 0 && complete > 0);
}
