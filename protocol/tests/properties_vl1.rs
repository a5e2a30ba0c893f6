//! Properties of VL1's formats: what is written is read again, and no input makes a parser panic.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use protocol::inet::{Prefix, encode_inet, format_endpoint, parse_endpoint};
use protocol::packet::compress::{compress, decompress};
use protocol::packet::fragment::{Reassembler, Split, datagrams, max_packet, pieces};
use protocol::packet::header::{self, Datagram, FRAGMENT_HEADER_LEN, HEADER_LEN};
use protocol::packet::{SessionKeys, Suite, armor, classify};
use protocol::verb::Verb;
use protocol::verbs::{
    Error, Hello, MoonEntry, OkHeader, OkHello, OkWhois, PathNegotiation, PushDirectPaths, PushedPath,
    QosMeasurement, QosRecord, RemoteTrace, Rendezvous, UserMessage, Whois, write_hello,
};
use protocol::world::{Root, World, WorldKind};
use protocol::{Address, Identity, Mac, NetworkId, Reader, SecretIdentity, Time};

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..max)
}

fn address() -> impl Strategy<Value = Address> {
    any::<u64>().prop_map(Address::from_u64)
}

fn endpoint() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<([u8; 4], u16)>().prop_map(SocketAddr::from),
        any::<([u8; 16], u16)>().prop_map(SocketAddr::from),
    ]
}

fn identity() -> impl Strategy<Value = Identity> {
    (address(), any::<[[u8; 32]; 2]>())
        .prop_map(|(address, halves)| Identity { address, public: halves.concat().try_into().unwrap() })
}

fn suite() -> impl Strategy<Value = Suite> {
    prop_oneof![Just(Suite::Clear), Just(Suite::Salsa), Just(Suite::AesGmacSiv)]
}

fn split() -> impl Strategy<Value = Split> {
    prop_oneof![Just(Split::Fill), Just(Split::Halves)]
}

fn keys() -> impl Strategy<Value = SessionKeys> {
    any::<[[u8; 16]; 3]>().prop_map(|parts| SessionKeys::new(&parts.concat().try_into().unwrap()))
}

/// A packet with any payload.
fn packet(max: usize) -> impl Strategy<Value = Vec<u8>> {
    (any::<u64>(), address(), address(), bytes(max)).prop_map(|(id, dest, source, payload)| {
        let mut packet = Vec::new();
        header::start(&mut packet, id, dest, source, Verb::UserMessage);
        packet.extend(payload);
        packet
    })
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(data in bytes(600), moon in any::<bool>()) {
        let mut data = data;
        let _ = Identity::read(&mut Reader::new(&data));
        let _ = Reader::new(&data).inet("address");
        let _ = Hello::parse(&data);
        let _ = Hello::parse_start(&data);
        let _ = Hello::parse_tail(&data);
        let _ = OkHeader::parse(&data);
        let _ = OkHello::parse(&data).map(|ok| ok.worlds());
        let _ = OkWhois::parse(&data);
        let _ = Error::parse(&data).map(|error| error.authentication().is_ok());
        let _ = Whois::parse(&data);
        let _ = Rendezvous::parse(&data);
        let _ = PushDirectPaths::parse(&data);
        let _ = UserMessage::parse(&data);
        let _ = RemoteTrace::parse(&data);
        let _ = QosMeasurement::parse(&data);
        let _ = PathNegotiation::parse(&data);
        let _ = armor::trusted_path_id(&data);
        // A type that is known lets the parser of worlds get further.
        if let Some(first) = data.first_mut() {
            *first = if moon { 127 } else { 1 };
        }
        let _ = World::parse(&data);
        let _ = decompress(&mut data);
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in "\\PC*") {
        let _ = Identity::parse(&text);
        let _ = SecretIdentity::parse(&text);
        let _ = text.parse::<Address>();
        let _ = text.parse::<NetworkId>();
        let _ = text.parse::<Mac>();
        let _ = text.parse::<Prefix>();
        let _ = parse_endpoint(&text);
    }

    #[test]
    fn nearly_identities_make_no_parser_panic(
        text in "[ 0-9a-fx]{8,12}:{1,2}[01]:[0-9a-fg\u{e9}]{120,130}(:[0-9a-f]{0,130}:?\n?)?",
    ) {
        let _ = Identity::parse(&text);
        let _ = SecretIdentity::parse(&text);
    }

    #[test]
    fn text_forms(
        address in address(),
        network in any::<u64>(),
        mac in any::<[u8; 6]>(),
        at in endpoint(),
        bits in 0..=32_u8,
    ) {
        prop_assert_eq!(address.to_string().parse(), Ok(address));
        prop_assert_eq!(NetworkId(network).to_string().parse(), Ok(NetworkId(network)));
        prop_assert_eq!(Mac(mac).to_string().parse(), Ok(Mac(mac)));
        prop_assert_eq!(parse_endpoint(&format_endpoint(at)), Ok(at));
        let prefix = Prefix::new(at.ip(), bits).unwrap();
        prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
        prop_assert_eq!(Prefix::from_socket_addr(prefix.to_socket_addr()), Some(prefix));
        prop_assert!(prefix.contains(prefix.ip) && prefix.contains(prefix.network().ip));
    }

    #[test]
    fn members_and_macs(network in any::<u64>().prop_map(NetworkId), member in address()) {
        let mac = Mac::for_member(network, member);
        prop_assert_eq!(mac.member(network), Some(member));
        prop_assert!(!mac.is_multicast());
    }

    #[test]
    fn identities_survive(identity in identity(), secret in any::<Option<[[u8; 32]; 2]>>()) {
        let mut wire = Vec::new();
        identity.write(&mut wire);
        prop_assert_eq!(wire.len(), 71);
        if let Some(secret) = secret {
            *wire.last_mut().unwrap() = 64;
            wire.extend(secret.concat());
        }
        let mut reader = Reader::new(&wire);
        prop_assert!(Identity::read(&mut reader).as_ref() == Ok(&identity));
        prop_assert!(reader.is_empty());
        if !identity.address.is_reserved() {
            prop_assert_eq!(Identity::parse(&identity.to_string()), Ok(identity));
        }
    }

    #[test]
    fn verbs_survive(
        peer in address(),
        at in endpoint(),
        addresses in vec(address(), 1..40),
        identities in vec(identity(), 1..4),
        paths in vec((any::<u8>(), endpoint()), 0..60),
        records in vec((any::<u64>(), any::<u16>()), 1..=140),
        kind in any::<u64>(),
        code in any::<u8>(),
        body in bytes(300),
    ) {
        let mut wire = Vec::new();
        let mut written = |write: &dyn Fn(&mut Vec<u8>)| {
            wire.clear();
            write(&mut wire);
            wire.clone()
        };
        let rendezvous = Rendezvous { peer, endpoint: at };
        prop_assert!(Rendezvous::parse(&written(&|to| rendezvous.write(to))) == Ok(rendezvous));
        let whois = Whois(addresses);
        prop_assert!(Whois::parse(&written(&|to| whois.write(to))).as_ref() == Ok(&whois));
        let ok = OkWhois(identities);
        prop_assert!(OkWhois::parse(&written(&|to| ok.write(to))).as_ref() == Ok(&ok));
        let paths = paths.into_iter().map(|(flags, endpoint)| PushedPath { flags, endpoint });
        let paths = PushDirectPaths(paths.collect());
        prop_assert!(PushDirectPaths::parse(&written(&|to| paths.write(to))).as_ref() == Ok(&paths));
        let records = records.into_iter().map(|(packet_id, held)| QosRecord { packet_id, held });
        let report = QosMeasurement(records.collect());
        prop_assert!(QosMeasurement::parse(&written(&|to| report.write(to))).as_ref() == Ok(&report));
        let path = PathNegotiation { utility: kind as i16 };
        prop_assert!(PathNegotiation::parse(&written(&|to| path.write(to))) == Ok(path));
        let message = UserMessage { kind, body: &body };
        prop_assert!(UserMessage::parse(&written(&|to| message.write(to))) == Ok(message));
        let header = OkHeader { in_re_verb: code, in_re_id: kind, body: &body };
        prop_assert!(OkHeader::parse(&written(&|to| header.write(to))) == Ok(header));
        let named = matches!(code, 3 | 5..=9);
        let network = named.then_some(NetworkId(kind));
        let error = Error { in_re_verb: 1, in_re_id: kind, code, network, body: &body };
        prop_assert!(Error::parse(&written(&|to| error.write(to))) == Ok(error));
        let wire = written(&|to| encode_inet(to, Some(at)));
        prop_assert_eq!(Reader::new(&wire).inet("address"), Ok(Some(at)));
    }

    #[test]
    fn worlds_survive(
        moon in any::<bool>(),
        id in any::<u64>(),
        timestamp in any::<u64>(),
        key in any::<[[u8; 32]; 5]>(),
        roots in vec((identity(), vec(endpoint(), 0..5)), 0..=4),
        seen_as in proptest::option::of(endpoint()),
    ) {
        let world = World {
            kind: if moon { WorldKind::Moon } else { WorldKind::Planet },
            id,
            timestamp,
            must_sign: key[..2].concat().try_into().unwrap(),
            signature: key[2..].concat().try_into().unwrap(),
            roots: roots.into_iter().map(|(identity, endpoints)| Root { identity, endpoints }).collect(),
        };
        let wire = world.to_bytes();
        let mut reader = Reader::new(&wire);
        prop_assert!(World::read(&mut reader).as_ref() == Ok(&world));
        prop_assert!(reader.is_empty());
        prop_assert!(!world.may_replace(&World { timestamp: 0, id: id.max(1), ..world.clone() }), "not signed");

        let twice = wire.repeat(2);
        let ok = OkHello { timestamp, protocol: 12, major: 1, minor: 2, revision: 3, seen_as, world_bytes: &twice };
        let mut wire = Vec::new();
        ok.write(&mut wire);
        prop_assert_eq!(OkHello::parse(&wire), Ok(ok));
        prop_assert_eq!(ok.worlds(), Ok(vec![world; 2]));
    }

    #[test]
    fn hellos_survive(
        keys in keys(),
        identity in identity(),
        version in any::<(u8, u8, u8, u16)>(),
        timestamp in any::<u64>(),
        sent_to in proptest::option::of(endpoint()),
        planet in any::<(u64, u64)>(),
        packet_id in any::<u64>(),
        moons in vec(any::<(u64, u64)>(), 0..10),
        before in bytes(20),
    ) {
        let (protocol, major, minor, revision) = version;
        let planet = Some(planet);
        let masked_tail_at = None;
        let hello =
            Hello { protocol, major, minor, revision, timestamp, identity, sent_to, planet, masked_tail_at };
        let moons: Vec<_> = moons.into_iter().map(|(id, timestamp)| MoonEntry { id, timestamp }).collect();
        let mut buffer = before.clone();
        header::start(&mut buffer, packet_id, Address::from_u64(1), hello.identity.address, Verb::Hello);
        write_hello(&mut buffer, before.len(), &hello, &moons, &keys);
        let mut packet = buffer.split_off(before.len());
        prop_assert_eq!(buffer, before);
        prop_assert!(keys.dearmor(&mut packet));
        let parsed = Hello::parse(&packet[HEADER_LEN..]).unwrap();
        let tail = HEADER_LEN + parsed.masked_tail_at.unwrap();
        prop_assert_eq!(Hello { masked_tail_at: None, ..parsed }, hello);
        keys.mask_hello(&mut packet, tail);
        prop_assert_eq!(Hello::parse_tail(&packet[tail..]), Ok(moons));
    }

    #[test]
    fn armor_opens_again_and_only_unchanged(
        keys in keys(),
        other in keys(),
        packet in packet(3000),
        suite in suite(),
        hops in 0..8_u8,
        bit in any::<prop::sample::Index>(),
    ) {
        let mut wire = packet.clone();
        keys.armor(&mut wire, suite);
        prop_assert_eq!(header::suite(&wire), suite as u8);
        for _ in 0..hops {
            header::increment_hops(&mut wire);
        }
        let mut opened = wire.clone();
        prop_assert!(keys.dearmor(&mut opened));
        prop_assert_eq!(&opened[27..], &packet[27..]);
        prop_assert!(!other.dearmor(&mut wire.clone()));

        let bit = bit.index(wire.len() * 8);
        let mut damaged = wire;
        damaged[bit / 8] ^= 1 << (bit % 8);
        let hop_bit = bit / 8 == 18 && bit % 8 < 3;
        prop_assert_eq!(keys.dearmor(&mut damaged), hop_bit);
    }

    #[test]
    fn dearmor_survives_anything(keys in keys(), data in bytes(100)) {
        let mut data = data;
        let _ = keys.dearmor(&mut data);
    }

    #[test]
    fn compression_is_undone(packet in packet(2000), repeat in 1..4_usize) {
        let mut packet = packet;
        let payload = packet.split_off(HEADER_LEN).repeat(repeat);
        packet.extend(payload);
        let original = packet.clone();
        let shrunk = compress(&mut packet, 0);
        prop_assert_eq!(shrunk, packet.len() < original.len());
        prop_assert_eq!(decompress(&mut packet), Ok(()));
        prop_assert_eq!(packet, original);
    }

    #[test]
    fn pieces_cover_a_packet_in_order(len in 0..12_000_usize, mtu in 0..12_000_usize, split in split()) {
        let pieces: Vec<_> = pieces(len, mtu, split).collect();
        let mut at = 0;
        for (number, piece) in pieces.iter().enumerate() {
            prop_assert_eq!(piece.start, at);
            at = piece.end;
            let header = if number == 0 { 0 } else { FRAGMENT_HEADER_LEN };
            prop_assert!(piece.len() + header <= mtu.max(17));
        }
        prop_assert_eq!(at, len);
        if mtu >= header::MIN_MTU {
            prop_assert_eq!(pieces.len() <= 7, len <= max_packet(mtu) || len <= mtu + 6 * (mtu - 16));
            prop_assert!(pieces.iter().all(|piece| len == 0 || !piece.is_empty()));
        }
    }

    #[test]
    fn fragments_join_in_any_order(
        packet in packet(9600),
        mtu in 1400..2000_usize,
        split in split(),
        order in any::<prop::sample::Index>(),
        duplicates in any::<bool>(),
    ) {
        let mut packet = packet;
        header::set_fragmented(&mut packet, true);
        let mut all = Vec::new();
        datagrams(&packet, mtu, split, |header, data| all.push([header, data].concat()));
        prop_assume!(all.len() > 1);
        let permutation = order.index(5040);
        let mut left: Vec<_> = all.iter().collect();
        let mut reassembler = Reassembler::new(2);
        let mut seed = permutation;
        let mut done = None;
        while !left.is_empty() {
            prop_assert!(done.is_none());
            let next = left.swap_remove(seed % left.len());
            seed /= left.len() + 1;
            for _ in 0..=usize::from(duplicates && !left.is_empty()) {
                done = match classify(next) {
                    Datagram::Fragment => reassembler.insert_fragment(Time::EPOCH, 'x', next),
                    Datagram::Packet => reassembler.insert_head(Time::EPOCH, 'x', next),
                    other => panic!("{other:?}"),
                };
            }
        }
        // The head may look like a fragment if the source is a reserved address.
        prop_assume!(!header::source(&packet).is_reserved());
        prop_assert_eq!(done, Some(packet));
        prop_assert!(reassembler.is_empty());
    }

    #[test]
    fn the_reassembler_survives_anything(
        inputs in vec((0..4_u64, any::<u8>(), 0..3_u8, 0..2000_usize, any::<bool>()), 0..60),
    ) {
        let mut reassembler = Reassembler::new(3);
        for (id, piece, source, length, is_head) in inputs {
            let mut datagram = id.to_be_bytes().to_vec();
            datagram.extend([0, 0, 0, 0, 1, 0xff, piece, 0]);
            datagram.resize(16 + length, piece);
            let done = if is_head {
                reassembler.insert_head(Time::from_ms(id as i64 * 2000), source, &datagram)
            } else {
                reassembler.insert_fragment(Time::from_ms(id as i64 * 2000), source, &datagram)
            };
            if let Some(packet) = done {
                prop_assert!(packet.len() <= header::MAX_PACKET);
                reassembler.recycle(packet);
            }
            prop_assert!(reassembler.len() <= 3);
        }
    }
}
