//! Names of numbers in packets: those of the rule language, and those of ICMP (RFC 792, RFC 4443, RFC 4861, RFC 3810).

use crate::language::{ETHERTYPES, IP_PROTOCOLS};

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
    IP_PROTOCOLS.iter().find(|(_, n)| *n == number).map(|(name, _)| *name)
}

pub(super) fn ethertype(text: &str) -> Option<u16> {
    let named = ETHERTYPES.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    named.or_else(|| super::parse::number(text))
}

pub(super) fn protocol(text: &str) -> Option<u8> {
    let named = IP_PROTOCOLS.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
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
