//! Keywords and the names of values.
//!
//! Specification: flow rules, rule language, document structure (reserved words) and matches (names).

pub(crate) use super::letters::is_name_character;
use crate::ethernet;
use crate::kind::{action_row, match_row};

/// Reserved words that are neither definitions, actions nor matches.
const OTHER_RESERVED: [&str; 15] = [
    "default", "type", "enum", "class", "define", "import", "include", "log", "not", "xor", "or", "and",
    "set", "var", "let",
];

/// Names of ethertypes.
pub(crate) const ETHERTYPES: [(&str, u16); 9] = [
    ("ipv4", ethernet::IPV4),
    ("arp", ethernet::ARP),
    ("wol", 0x0842),
    ("rarp", 0x8035),
    ("ipv6", ethernet::IPV6),
    ("atalk", 0x809b),
    ("aarp", 0x80f3),
    ("ipx_a", 0x8137),
    ("ipx_b", 0x8138),
];

/// Names of IP protocols; where there are several for a number, the first is the one to write. `icmp` works only as a
/// macro argument, since it is a reserved word.
pub(crate) const IP_PROTOCOLS: [(&str, u8); 17] = [
    ("icmp4", 1),
    ("icmpv4", 1),
    ("icmp", 1),
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

/// Names of the bits of `chr`.
pub(crate) const CHARACTERISTICS: [(&str, u8); 17] = [
    ("inbound", 63),
    ("multicast", 62),
    ("broadcast", 61),
    ("ipauth", 60),
    ("macauth", 59),
    ("tcp_rs0", 11),
    ("tcp_rs1", 10),
    ("tcp_rs2", 9),
    ("tcp_ns", 8),
    ("tcp_cwr", 7),
    ("tcp_ece", 6),
    ("tcp_urg", 5),
    ("tcp_ack", 4),
    ("tcp_psh", 3),
    ("tcp_rst", 2),
    ("tcp_syn", 1),
    ("tcp_fin", 0),
];

/// The value of a name in one of the tables above.
pub(crate) fn lookup<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// Whether a word (exact, so lower case) opens a block.
pub(crate) fn opens_block(word: &str) -> bool {
    matches!(word, "macro" | "tag" | "cap") || action_row(word).is_some() || is_inherited(word)
}

/// Whether a word (exact, so lower case) cannot be an argument of a match, nor the name of a definition.
pub(crate) fn is_reserved(word: &str) -> bool {
    opens_block(word) || match_row(word).is_some() || OTHER_RESERVED.contains(&word)
}

/// Names that every table of the reference has without being asked: what all objects of its implementation language
/// inherit. It therefore finds them wherever it looks a word up.
pub(crate) fn is_inherited(word: &str) -> bool {
    matches!(
        word,
        "constructor"
            | "__proto__"
            | "__defineGetter__"
            | "__defineSetter__"
            | "__lookupGetter__"
            | "__lookupSetter__"
            | "hasOwnProperty"
            | "isPrototypeOf"
            | "propertyIsEnumerable"
            | "toLocaleString"
            | "toString"
            | "valueOf"
    )
}

/// Whether a name follows the rules for names; whether it is reserved is another question.
pub(crate) fn is_valid_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(is_name_character)
}
