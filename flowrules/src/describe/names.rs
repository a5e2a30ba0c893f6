//! Names of numbers in packets: those of the rule language, and those of ICMP (RFC 792, RFC 4443, RFC 4861, RFC 3810).

/// Names of ethertypes, as the rule language has them.
pub(super) const ETHERTYPES: [(&str, u16); 9] = [
    ("ipv4", 0x0800),
    ("arp", 0x0806),
    ("wol", 0x0842),
    ("rarp", 0x8035),
    ("ipv6", 0x86dd),
    ("atalk", 0x809b),
    ("aarp", 0x80f3),
    ("ipx_a", 0x8137),
    ("ipx_b", 0x8138),
];

/// Names of IP protocols, as the rule language has them; of several names the first is written.
const PROTOCOLS: [(&str, u8); 16] = [
    ("icmp4", 1),
    ("icmpv4", 1),
    ("igmp", 2),
    ("ipip", 4),
    ("tcp", 6),
    ("egp", 8),
    ("igp", 9),
    ("udp", 17),
    ("rdp", 27),
    ("esp", 50),
    ("ah", 51),
    ("icmp6", 58),
    ("icmpv6", 58),
    ("l2tp", 115),
    ("sctp", 132),
    ("udplite", 136),
];

const ICMP_TYPES: [(&str, u8); 9] = [
    ("echo-reply", 0),
    ("unreachable", 3),
    ("redirect", 5),
    ("echo-request", 8),
    ("router-advertisement", 9),
    ("router-solicitation", 10),
    ("time-exceeded", 11),
    ("parameter-problem", 12),
    ("timestamp", 13),
];

const ICMP6_TYPES: [(&str, u8); 15] = [
    ("unreachable", 1),
    ("packet-too-big", 2),
    ("time-exceeded", 3),
    ("parameter-problem", 4),
    ("echo-request", 128),
    ("echo-reply", 129),
    ("listener-query", 130),
    ("listener-report", 131),
    ("listener-done", 132),
    ("router-solicitation", 133),
    ("router-advertisement", 134),
    ("neighbor-solicitation", 135),
    ("neighbor-advertisement", 136),
    ("redirect", 137),
    ("listener-report-2", 143),
];

/// TCP's flags by the bit they have in the low 12 bits of bytes 12 and 13 of the header.
pub(super) const TCP_FLAGS: [(&str, u32); 12] = [
    ("syn", 1),
    ("ack", 4),
    ("fin", 0),
    ("rst", 2),
    ("psh", 3),
    ("urg", 5),
    ("ece", 6),
    ("cwr", 7),
    ("ns", 8),
    ("rs2", 9),
    ("rs1", 10),
    ("rs0", 11),
];

/// The rule language's name of an ethertype.
pub fn ethertype_name(number: u16) -> Option<&'static str> {
    ETHERTYPES.iter().find(|(_, n)| *n == number).map(|(name, _)| *name)
}

/// The rule language's name of an IP protocol.
pub fn protocol_name(number: u8) -> Option<&'static str> {
    PROTOCOLS.iter().find(|(_, n)| *n == number).map(|(name, _)| *name)
}

pub(super) fn ethertype(text: &str) -> Option<u16> {
    let named = ETHERTYPES.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    named.or_else(|| super::parse::number(text))
}

pub(super) fn protocol(text: &str) -> Option<u8> {
    let named = PROTOCOLS.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    named.or_else(|| super::parse::number(text))
}

fn icmp_table(v6: bool) -> &'static [(&'static str, u8)] {
    if v6 { &ICMP6_TYPES } else { &ICMP_TYPES }
}

pub(super) fn icmp_type(text: &str, v6: bool) -> Option<u8> {
    icmp_table(v6).iter().find(|(name, _)| *name == text).map(|(_, number)| *number)
}

pub(super) fn icmp_name(number: u8, v6: bool) -> Option<&'static str> {
    icmp_table(v6).iter().find(|(_, n)| *n == number).map(|(name, _)| *name)
}
