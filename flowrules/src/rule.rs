//! One entry of a rule list: an action or a match.
//!
//! Specification: flow rules, binary encoding (numbers and layouts) and JSON form (names).

use std::net::{Ipv4Addr, Ipv6Addr};

/// The 40 bits an address of a node has.
pub const ADDRESS_MASK: u64 = 0xff_ffff_ffff;

/// One entry of a rule list.
///
/// `not` and `or` mean something only on matches; on actions they are carried (they survive a round trip through the
/// binary form) and ignored by the evaluator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Invert the outcome of the match, unless the outcome is forced.
    pub not: bool,
    /// Combine with the set so far by OR instead of AND.
    pub or: bool,
    /// What the entry does or asks.
    pub kind: Kind,
}

impl Rule {
    /// An entry without NOT and OR bits.
    pub fn new(kind: Kind) -> Self {
        Self { not: false, or: false, kind }
    }
}

impl From<Kind> for Rule {
    fn from(kind: Kind) -> Self {
        Self::new(kind)
    }
}

/// The operand of TEE, WATCH and REDIRECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Address of the node that gets the frame, 40 bits.
    pub address: u64,
    /// Carried, without meaning.
    pub flags: u32,
    /// How many bytes of the payload to copy; 0 = all. Carried and ignored for REDIRECT.
    pub length: u16,
}

impl Target {
    /// A target that gets whole frames.
    pub fn new(address: u64) -> Self {
        Self { address: address & ADDRESS_MASK, flags: 0, length: 0 }
    }
}

/// The operand of INTEGER_RANGE: an integer somewhere in the payload compared with a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IntegerRange {
    /// First value that matches.
    pub start: u64,
    /// Last value that matches minus `start`; the binary form carries the sum.
    pub span: u32,
    /// Byte offset in the payload.
    pub index: u16,
    /// Bits 0–5: number of bits minus one; bit 7: little-endian.
    pub format: u8,
}

impl IntegerRange {
    /// The last value that matches (wraps at 2^64 like the binary form).
    pub fn end(&self) -> u64 {
        self.start.wrapping_add(u64::from(self.span))
    }

    /// Width of the integer, 1..=64 bits.
    pub fn bits(&self) -> u32 {
        u32::from(self.format & 0x3f) + 1
    }

    /// Whether the integer is stored little-endian.
    pub fn little_endian(&self) -> bool {
        self.format & 0x80 != 0
    }
}

/// What an entry does (numbers 0–15) or asks (numbers 16–63).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Drop the frame.
    Drop,
    /// Accept the frame.
    Accept,
    /// Send a copy to another node and go on.
    Tee(Target),
    /// Like TEE; the copy asks for an acknowledgement.
    Watch(Target),
    /// Send the frame to another node instead.
    Redirect(Target),
    /// Stop this list without a decision.
    Break,
    /// Accept into a queue, 0–8. The binary form does not carry the queue.
    Priority(u8),
    /// The sending node, 40 bits.
    SourceAddress(u64),
    /// The receiving node, 40 bits.
    DestAddress(u64),
    /// VLAN number.
    VlanId(u16),
    /// VLAN priority code point.
    VlanPcp(u8),
    /// VLAN drop eligible indicator.
    VlanDei(u8),
    /// Source MAC.
    MacSource([u8; 6]),
    /// Destination MAC.
    MacDest([u8; 6]),
    /// IPv4 source, prefix length.
    Ipv4Source(Ipv4Addr, u8),
    /// IPv4 destination, prefix length.
    Ipv4Dest(Ipv4Addr, u8),
    /// IPv6 source, prefix length.
    Ipv6Source(Ipv6Addr, u8),
    /// IPv6 destination, prefix length.
    Ipv6Dest(Ipv6Addr, u8),
    /// IPv4 TOS or IPv6 traffic class: `start ≤ value & mask ≤ end`.
    IpTos {
        /// Bits looked at.
        mask: u8,
        /// Least value.
        start: u8,
        /// Greatest value.
        end: u8,
    },
    /// IP protocol (RFC 791) or the last next-header (RFC 8200).
    IpProtocol(u8),
    /// Ethertype.
    Ethertype(u16),
    /// ICMP or ICMPv6 type, and code if asked.
    Icmp {
        /// Message type.
        kind: u8,
        /// Message code, `None` = any.
        code: Option<u8>,
    },
    /// Source port between the two, inclusive.
    SourcePort(u16, u16),
    /// Destination port between the two, inclusive.
    DestPort(u16, u16),
    /// Any of these characteristic bits.
    Characteristics(u64),
    /// Payload length in bytes between the two, inclusive.
    FrameSize(u16, u16),
    /// True with probability `value / 2^32`.
    Random(u32),
    /// Tag (id, value): difference of both sides' tags is at most the value.
    TagsDifference(u32, u32),
    /// Tag (id, value): AND of both sides' tags equals the value.
    TagsAnd(u32, u32),
    /// Tag (id, value): OR of both sides' tags equals the value.
    TagsOr(u32, u32),
    /// Tag (id, value): XOR of both sides' tags equals the value.
    TagsXor(u32, u32),
    /// Tag (id, value): both sides' tags equal the value.
    TagsEqual(u32, u32),
    /// Tag (id, value): the sender's tag equals the value.
    TagSender(u32, u32),
    /// Tag (id, value): the receiver's tag equals the value.
    TagReceiver(u32, u32),
    /// An integer in the payload.
    IntegerRange(IntegerRange),
    /// A number this version does not know, kept with its value.
    Unknown {
        /// 7–15 an action, 16–63 a match.
        number: u8,
        /// The bytes that came with it, at most 255.
        value: Vec<u8>,
    },
}

impl Kind {
    /// The number in the binary form, 0–63.
    pub fn number(&self) -> u8 {
        match self {
            Kind::Drop => 0,
            Kind::Accept => 1,
            Kind::Tee(_) => 2,
            Kind::Watch(_) => 3,
            Kind::Redirect(_) => 4,
            Kind::Break => 5,
            Kind::Priority(_) => 6,
            Kind::SourceAddress(_) => 24,
            Kind::DestAddress(_) => 25,
            Kind::VlanId(_) => 26,
            Kind::VlanPcp(_) => 27,
            Kind::VlanDei(_) => 28,
            Kind::MacSource(_) => 29,
            Kind::MacDest(_) => 30,
            Kind::Ipv4Source(..) => 31,
            Kind::Ipv4Dest(..) => 32,
            Kind::Ipv6Source(..) => 33,
            Kind::Ipv6Dest(..) => 34,
            Kind::IpTos { .. } => 35,
            Kind::IpProtocol(_) => 36,
            Kind::Ethertype(_) => 37,
            Kind::Icmp { .. } => 38,
            Kind::SourcePort(..) => 39,
            Kind::DestPort(..) => 40,
            Kind::Characteristics(_) => 41,
            Kind::FrameSize(..) => 42,
            Kind::Random(_) => 43,
            Kind::TagsDifference(..) => 44,
            Kind::TagsAnd(..) => 45,
            Kind::TagsOr(..) => 46,
            Kind::TagsXor(..) => 47,
            Kind::TagsEqual(..) => 48,
            Kind::TagSender(..) => 49,
            Kind::TagReceiver(..) => 50,
            Kind::IntegerRange(_) => 51,
            Kind::Unknown { number, .. } => number & 0x3f,
        }
    }

    /// Whether this is an action (a match otherwise).
    pub fn is_action(&self) -> bool {
        self.number() < 16
    }
}
