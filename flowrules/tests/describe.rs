//! Packets in words: what is understood, what is refused and how, and that words and bytes agree.

#![allow(clippy::unwrap_used)] // A surprise is a failed test.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use flowrules::Frame;
use flowrules::describe::{Description, Known, Packet, describe, parse};
use proptest::prelude::*;

const AWS: Known = Known {
    ipv4: Some(Ipv4Addr::new(10, 0, 1, 1)),
    ipv6: Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)),
    mac: Some([2, 0, 0, 0, 0, 1]),
};
const GCP: Known = Known {
    ipv4: Some(Ipv4Addr::new(10, 0, 3, 1)),
    ipv6: Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 3)),
    mac: Some([2, 0, 0, 0, 0, 3]),
};

fn build(text: &str) -> Packet {
    parse(text).unwrap_or_else(|error| panic!("{}", error.render(text))).build(&AWS, &GCP).unwrap()
}

fn words(packet: &Packet) -> String {
    describe(&packet.frame(), packet.payload.len())
}

#[test]
fn what_is_said_is_what_is_shown() {
    for text in [
        "tcp 10.0.1.1:5000 > 10.0.3.1:80 syn",
        "tcp 10.0.1.1:5000 > 10.0.3.1:80 syn ack size 1400 tos 0xb8",
        "tcp [fd00::1]:5000 > [fd00::3]:80 fin ns rs0",
        "udp 10.0.1.1:68 > 255.255.255.255:67",
        "udp 10.0.1.1:1 > 10.0.255.255:2 broadcast",
        "sctp 10.0.1.1:1 > 10.0.3.1:2",
        "udplite [fd00::1]:1 > [fd00::3]:2 size 100",
        "icmp 10.0.1.1 > 10.0.2.1 echo-request",
        "icmp 10.0.1.1 > 10.0.2.1 unreachable/3 size 56",
        "icmp 10.0.1.1 > 10.0.2.1 42/7",
        "icmp6 fd00::1 > fd00::3 echo-reply",
        "icmp6 fe80::1 > ff02::1:ff00:3 neighbor-solicitation target fd00::3",
        "icmp6 fd00::3 > fd00::1 neighbor-advertisement target fd00::3",
        "ip esp 10.0.1.1 > 10.0.3.1 size 100",
        "ip 47 fd00::1 > fd00::3",
        "arp who-has 10.0.2.1 tell 10.0.1.1",
        "arp who-has 10.0.2.1 tell 10.0.1.1 to-mac 02:00:00:00:00:03",
        "arp reply 10.0.2.1 is-at 02:00:00:00:00:09 to 10.0.1.1",
        "ether 0x88b5 02:00:00:00:00:01 > 02:00:00:00:00:03 size 64",
        "ether wol 02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff",
        "tcp 10.0.1.1 > 10.0.3.1 size 24",
    ] {
        let shown = words(&build(text));
        // The order of options is fixed when shown.
        let sorted = |text: &str| {
            let mut words: Vec<_> = text.split(' ').map(str::to_owned).collect();
            words.sort();
            words
        };
        assert_eq!(sorted(&shown), sorted(text));
        assert_eq!(build(&shown), build(text), "{shown}");
    }
}

#[test]
fn what_is_left_out_comes_from_the_ends() {
    for (short, long) in [
        ("tcp 5000 > 22 syn", "tcp 10.0.1.1:5000 > 10.0.3.1:22 syn"),
        ("tcp > 22", "tcp 10.0.1.1:49152 > 10.0.3.1:22"),
        ("tcp * > *:22", "tcp 10.0.1.1:49152 > 10.0.3.1:22"),
        ("tcp aws:5000 > gcp:22", "tcp 10.0.1.1:5000 > 10.0.3.1:22"),
        ("tcp @5aca06ff8e > gcp:22 ipv6", "tcp [fd00::1]:49152 > [fd00::3]:22"),
        ("icmp", "icmp 10.0.1.1 > 10.0.3.1 echo-request"),
        ("icmp6 echo-reply", "icmp6 fd00::1 > fd00::3 echo-reply"),
        ("icmp6 neighbor-solicitation", "icmp6 fd00::1 > fd00::3 neighbor-solicitation target fd00::3"),
        ("ip tcp > 80", "tcp 10.0.1.1:49152 > 10.0.3.1:80"),
        ("arp", "arp who-has 10.0.3.1 tell 10.0.1.1"),
        ("arp reply", "arp reply 10.0.1.1 is-at 02:00:00:00:00:01 to 10.0.3.1"),
        ("ether 0x88b5", "ether 0x88b5 02:00:00:00:00:01 > 02:00:00:00:00:03"),
        ("ether 35093 from 02:00:00:00:00:09 to *", "ether 0x8915 02:00:00:00:00:09 > 02:00:00:00:00:03"),
        ("udp > 224.0.0.251:5353", "udp 10.0.1.1:49152 > 224.0.0.251:5353"),
    ] {
        assert_eq!(words(&build(short)), long);
    }
    assert_eq!(build("udp > 224.0.0.251:5353").dest, [1, 0, 0x5e, 0, 0, 251]);
    assert_eq!(build("udp > [ff02::fb]:5353").dest, [0x33, 0x33, 0, 0, 0, 0xfb]);
    assert_eq!(build("arp").dest, [0xff; 6]);
    let nobody = Known::default();
    let error = parse("tcp > 10.0.3.1:22").unwrap().build(&nobody, &nobody).unwrap_err();
    assert_eq!(error.message, "the IPv4 address of the sender is not known");
}

#[test]
fn what_one_types_first() {
    for (short, long) in [
        ("ping 10.0.1.1 > 10.0.3.1", "icmp 10.0.1.1 > 10.0.3.1"),
        ("10.0.1.1 > 10.0.3.1", "icmp 10.0.1.1 > 10.0.3.1"),
        ("ping fd00::1 > fd00::3", "icmp6 fd00::1 > fd00::3"),
        ("10.0.1.1 > 10.0.3.1:22 syn", "tcp 10.0.1.1 > 10.0.3.1:22 syn"),
        ("aws > gcp:22", "tcp aws > gcp:22"),
        ("aws > gcp", "icmp aws > gcp"),
        ("[fd00::1]:5 > [fd00::3]:22", "tcp [fd00::1]:5 > [fd00::3]:22"),
    ] {
        let read = |text: &str| {
            let read = parse(text).unwrap();
            (read.what, read.source.who, read.source.port, read.dest.who, read.dest.port)
        };
        assert_eq!(read(short), read(long), "{short}");
    }
    assert!(parse("quic 1 > 2").is_err());
}

#[test]
fn what_is_wrong_is_underlined() {
    for (text, at, message) in [
        ("", "", "the packet is missing"),
        ("tpc 10.0.1.1:5 > 10.0.3.1:80", "tpc", "tpc is no kind of packet"),
        ("tcp 10.0.1.1:5 > 10.0.3.1:80000", "10.0.3.1:80000", "10.0.3.1:80000 is no end of a packet"),
        ("tcp 10.0.1.256:5 > 10.0.3.1:80", "10.0.1.256:5", "10.0.1.256:5 is no end of a packet"),
        ("tcp 10.0.1.1:5 > 10.0.3.1:80 sin", "sin", "sin does not belong here"),
        ("tcp 10.0.1.1:5 > 10.0.3.1", "10.0.3.1", "the destination port is missing"),
        ("tcp 10.0.1.1:5 > [fd00::1]:3", "[fd00::1]:3", "one end is IPv4 and the other IPv6"),
        ("icmp 10.0.1.1:5 > 10.0.3.1", "10.0.1.1:5", "this kind of packet has no ports"),
        ("icmp fd00::1 > fd00::2", "icmp fd00::1 > fd00::2", "this packet must be IPv4"),
        ("arp who-is 10.0.1.1", "who-is", "arp who-is is unknown"),
        ("arp who-has fd00::1", "fd00::1", "fd00::1 is no IPv4 address"),
        ("ether 0x1ffff", "0x1ffff", "0x1ffff is no ethertype"),
        ("icmp echo-request size 10001", "10001", "10001 is no size"),
        ("tcp 10.0.1.1:5 >", "", "the other end is missing"),
        ("tcp 10.0.1.1:5 10.0.3.1:80", "10.0.1.1:5", "10.0.1.1:5 does not belong here"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!((&text[error.at.clone()], error.message.as_str()), (at, message), "{text}");
        assert!(!error.hint.is_empty());
        let _ = error.render(text);
    }
    let text = "tcp é:1 > 10.0.0.1:x";
    let rendered = parse(text).unwrap_err().render(text);
    assert!(rendered.contains("\n            ^^^^^^^^^^\n"), "{rendered}");
    assert!(parse(&"x".repeat(5000)).is_err());
}

fn descriptions() -> impl Strategy<Value = String> {
    let ends = prop_oneof![
        (any::<[u8; 4]>(), any::<[u8; 4]>())
            .prop_map(|(a, b)| [IpAddr::from(Ipv4Addr::from(a)), IpAddr::from(Ipv4Addr::from(b))]),
        (any::<[u8; 16]>(), any::<[u8; 16]>())
            .prop_map(|(a, b)| [IpAddr::from(Ipv6Addr::from(a)), IpAddr::from(Ipv6Addr::from(b))]),
    ];
    let options = prop::collection::vec(
        prop_oneof![
            Just("syn".to_owned()),
            Just("ack".to_owned()),
            Just("rs1".to_owned()),
            (100u16..2000).prop_map(|size| format!("size {size}")),
            any::<u8>().prop_map(|tos| format!("tos {tos}")),
            Just("broadcast".to_owned()),
        ],
        0..4,
    );
    (ends, any::<[u16; 2]>(), 0usize..6, any::<[u8; 2]>(), options).prop_map(
        |([a, b], [from, to], kind, [icmp, code], options)| {
            let v6 = a.is_ipv6();
            let end =
                |ip: IpAddr, port: u16| if v6 { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
            let flags = options.iter().filter(|option| kind == 0 || option.len() > 4 || !is_flag(option));
            let options: Vec<_> = flags.map(String::as_str).collect();
            let head = match kind {
                0 => format!("tcp {} > {}", end(a, from), end(b, to)),
                1 => format!("udp {} > {}", end(a, from), end(b, to)),
                2 => format!("sctp {} > {}", end(a, from), end(b, to)),
                3 if v6 => format!("icmp6 {a} > {b} {icmp}/{code}"),
                3 => format!("icmp {a} > {b} {icmp}/{code}"),
                4 => format!("ip 47 {a} > {b}"),
                _ => format!("ether {from} 02:00:00:00:00:{icmp:02x} > 02:00:00:00:00:{code:02x}"),
            };
            format!("{head} {}", options.join(" "))
        },
    )
}

fn is_flag(option: &str) -> bool {
    ["syn", "ack", "rs1"].contains(&option)
}

#[test]
fn a_header_longer_than_the_packet_leaves_no_ports() {
    // 28 bytes, as long as IPv4 and UDP-Lite usually are, but the IPv4 header claims 32.
    let mut payload = [0; 28];
    (payload[0], payload[9]) = (0x48, 136);
    for (length, words) in
        [(28, "udplite 0.0.0.0 > 0.0.0.0 size 28"), (20, "udplite 0.0.0.0 > 0.0.0.0 size 20")]
    {
        let frame =
            Frame { source: [2; 6], dest: [2; 6], ethertype: 0x0800, vlan: 0, payload: &payload[..length] };
        assert_eq!(describe(&frame, length), words);
        assert!(parse(words).is_ok());
    }
}

proptest! {
    /// Words → bytes → words → bytes: the second bytes are the first.
    #[test]
    fn descriptions_round_trip(text in descriptions()) {
        let packet = build(&text);
        let shown = words(&packet);
        // MACs of IP packets are not shown, other than broadcast; those of the ends fill them in.
        prop_assert_eq!(build(&shown), packet, "{} -> {}", text, shown);
    }

    /// Whatever arrives is described in words that can be read and mean the same from then on.
    #[test]
    fn every_frame_has_a_description(
        ethertype in prop_oneof![Just(0x0800), Just(0x86dd), Just(0x0806), any::<u16>()],
        source: [u8; 6],
        dest: [u8; 6],
        mut payload in prop::collection::vec(any::<u8>(), 0..130),
        protocol in prop::sample::select(vec![0u8, 1, 6, 17, 43, 58, 60, 132, 135, 136, 47]),
        usual: bool,
        more in 0usize..20_000,
    ) {
        if usual {
            if let Some(first) = payload.first_mut() {
                *first = 0x45;
            }
            if let Some(field) = payload.get_mut(if ethertype == 0x0800 { 9 } else { 6 }) {
                *field = protocol;
            }
        }
        let first = describe(&Frame { source, dest, ethertype, vlan: 0, payload: &payload }, payload.len() + more);
        let again = |text: &str| words(&build(text));
        let second = again(&first);
        prop_assert_eq!(again(&second), second);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,60}", kind in "(tcp|udp|icmp6|arp|ether|ip) ([a-z0-9.:@>*\\[\\]/ -]{0,40})") {
        for text in [text, kind] {
            match parse(&text) {
                Ok(description) => drop(Description::build(&description, &AWS, &GCP)),
                Err(error) => drop(error.render(&text)),
            }
        }
    }
}
