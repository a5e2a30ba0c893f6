//! The table of rule kinds: everything about a kind but what it means, which is in [`mod@crate::evaluate`].
//!
//! A row has its number in the binary form, its operands, its `type` and the names of its fields in the JSON form, its word in
//! the rule language and what is written behind that, and the layout of its operands. Specification: flow rules, binary encoding
//! (numbers and layouts) and JSON form (names).

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value};

use crate::layout::{
    Bucket, Bytes, CopyTo, IcmpMessage, Int, Integer, Layout, Mac, Mask, Node, Nothing, Pair, Prefix, Range,
    RedirectTo,
};
use crate::rule::{IntegerRange, Target};

/// What stands behind a word of the rule language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// The language has no word for it.
    None,
    /// An action without operands.
    Plain,
    /// An action with a length and the address of a node.
    Copy,
    /// An action with the address of a node.
    Redirect,
    /// A word for an action that no compiler makes anything of.
    Reserved,
    /// The address of a node.
    Address,
    /// A number up to this.
    Number(u16),
    /// The same, or the name of an ethertype.
    Ethertype,
    /// The same, or the name of a protocol.
    Protocol,
    /// A MAC address.
    Mac,
    /// An IPv4 address with its number of bits.
    Ipv4,
    /// An IPv6 address with its number of bits: the same word as for IPv4.
    Ipv6,
    /// A mask and a range of values.
    Tos,
    /// Type and code.
    Icmp,
    /// A number or a range of numbers.
    Range,
    /// Names of bits.
    Bits,
    /// A fraction of one.
    Fraction,
    /// A tag and a value.
    Tag,
}

impl Syntax {
    /// How many words a match wants.
    pub(crate) fn arguments(self) -> usize {
        match self {
            Syntax::Tos | Syntax::Icmp | Syntax::Tag => 2,
            _ => 1,
        }
    }

    fn is_action(self) -> bool {
        matches!(self, Syntax::Plain | Syntax::Copy | Syntax::Redirect | Syntax::Reserved)
    }

    fn is_match(self) -> bool {
        self != Syntax::None && !self.is_action()
    }
}

/// A row of the table, as the rule language needs it.
#[derive(Debug)]
pub(crate) struct Row {
    /// The `type` of the JSON form.
    pub(crate) name: &'static str,
    /// The names of the fields there.
    pub(crate) keys: &'static [&'static str],
    /// The word of the rule language; empty if there is none.
    pub(crate) word: &'static str,
    /// What stands behind it.
    pub(crate) syntax: Syntax,
}

impl Row {
    /// The JSON form with these fields, in the order of the row; `None` leaves one out.
    pub(crate) fn object(&self, fields: impl IntoIterator<Item = Option<Value>>) -> Map<String, Value> {
        let fields = self.keys.iter().zip(fields);
        let mut object: Map<_, _> =
            fields.filter_map(|(key, field)| Some(((*key).to_owned(), field?))).collect();
        object.insert("type".to_owned(), self.name.into());
        object
    }
}

/// The row of a match by its word; of the two of an IP address that for IPv4.
pub(crate) fn match_row(word: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.word == word && row.syntax.is_match())
}

/// The row of the same word with another syntax.
pub(crate) fn row_like(row: &Row, syntax: Syntax) -> Option<&'static Row> {
    ROWS.iter().find(|other| other.word == row.word && other.syntax == syntax)
}

/// The row of an action by its word.
pub(crate) fn action_row(word: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.word == word && row.syntax.is_action())
}

/// The words of actions.
pub(crate) fn action_words() -> impl Iterator<Item = &'static str> + Clone {
    ROWS.iter().filter(|row| row.syntax.is_action()).map(|row| row.word)
}

/// The words of matches, each once.
pub(crate) fn match_words() -> impl Iterator<Item = &'static str> + Clone {
    ROWS.iter().filter(|row| row.syntax.is_match() && row.syntax != Syntax::Ipv6).map(|row| row.word)
}

macro_rules! rule_kinds {
    ($(
        $(#[$doc:meta])*
        $number:literal
        $variant:ident $( ( $($field:ident: $type:ty),* ) )? $( {
            $( $(#[$inner_doc:meta])* $inner:ident: $inner_type:ty ),* $(,)?
        } )?
        = $name:literal [$($key:literal),*], $word:literal $syntax:expr, $layout:ty;
    )*) => {
        /// What an entry does (numbers 0–15) or asks (numbers 16–63).
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Kind {
            $(
                $(#[$doc])*
                $variant $( ( $($type),* ) )? $( { $( $(#[$inner_doc])* $inner: $inner_type ),* } )?,
            )*
            /// A number this version does not know, kept with its value.
            Unknown {
                /// 7–15 an action, 16–63 a match.
                number: u8,
                /// The bytes that came with it, at most 255.
                value: Vec<u8>,
            },
        }

        const ROWS: &[Row] = &[$(
            Row { name: $name, keys: &[$($key),*], word: $word, syntax: $syntax },
        )*];

        impl Kind {
            /// The number in the binary form, 0–63.
            pub fn number(&self) -> u8 {
                match *self {
                    $( Kind::$variant { .. } => $number, )*
                    Kind::Unknown { number, .. } => number & 0x3f,
                }
            }

            /// The `type` of the JSON form; numbers without a name are `UNKNOWN_ACTION_n` and `UNKNOWN_MATCH_n`.
            pub fn name(&self) -> Cow<'static, str> {
                match *self {
                    $( Kind::$variant { .. } => $name.into(), )*
                    Kind::Unknown { number, .. } => {
                        let class = if self.is_action() { "ACTION" } else { "MATCH" };
                        format!("UNKNOWN_{class}_{number}").into()
                    }
                }
            }

            /// The word of the rule language; empty if there is none.
            pub(crate) fn word(&self) -> &'static str {
                match *self {
                    $( Kind::$variant { .. } => $word, )*
                    Kind::Unknown { .. } => "",
                }
            }

            /// Appends the operands in the binary form.
            #[allow(unused_parens, reason = "one operand is not a tuple")]
            pub(crate) fn encode(&self, out: &mut Vec<u8>) {
                match *self {
                    $( Kind::$variant $( ( $($field),* ) )? $( { $($inner),* } )? => {
                        <$layout as Layout<_, _>>::encode(( $( $($field),* )? $( $($inner),* )? ), out);
                    } )*
                    Kind::Unknown { ref value, .. } => out.extend_from_slice(&value[..value.len().min(255)]),
                }
            }

            /// Reads the operands of a number from the start of `rest`; `None` if they do not fit in. What is not known is as
            /// long as it says.
            #[allow(unused_parens, reason = "one operand is not a tuple")]
            pub(crate) fn decode(number: u8, rest: &[u8], length: usize) -> Option<Self> {
                Some(match number {
                    $( $number => {
                        let ( $( $($field),* )? $( $($inner),* )? ) = <$layout as Layout<_, _>>::decode(rest)?;
                        Kind::$variant $( ( $($field),* ) )? $( { $($inner),* } )?
                    } )*
                    number => Kind::Unknown { number, value: rest[..length.min(rest.len())].to_vec() },
                })
            }

            /// Puts the operands into the JSON form.
            #[allow(unused_parens, reason = "one operand is not a tuple")]
            pub(crate) fn show(&self, object: &mut Map<String, Value>) {
                match *self {
                    $( Kind::$variant $( ( $($field),* ) )? $( { $($inner),* } )? => {
                        let operands = ( $( $($field),* )? $( $($inner),* )? );
                        <$layout as Layout<_, _>>::show(operands, [$($key),*], object);
                    } )*
                    Kind::Unknown { .. } => {}
                }
            }

            /// Reads the operands of a `type` from the JSON form; `None` if the API does not accept it.
            #[allow(unused_parens, reason = "one operand is not a tuple")]
            pub(crate) fn read(name: &str, object: &Map<String, Value>) -> Option<Self> {
                Some(match name {
                    $( $name => {
                        let ( $( $($field),* )? $( $($inner),* )? ) =
                            <$layout as Layout<_, _>>::read([$($key),*], object)?;
                        Kind::$variant $( ( $($field),* ) )? $( { $($inner),* } )?
                    } )*
                    _ => return None,
                })
            }
        }
    };
}

impl Kind {
    /// Whether this is an action (a match otherwise).
    pub fn is_action(&self) -> bool {
        self.number() < 16
    }

    /// The tag that is asked about, if that is what this is.
    pub(crate) fn tag(&self) -> Option<u32> {
        match self {
            Kind::TagsDifference(id, _)
            | Kind::TagsAnd(id, _)
            | Kind::TagsOr(id, _)
            | Kind::TagsXor(id, _)
            | Kind::TagsEqual(id, _)
            | Kind::TagSender(id, _)
            | Kind::TagReceiver(id, _) => Some(*id),
            _ => None,
        }
    }
}

rule_kinds! {
    /// Drop the frame.
    0 Drop = "ACTION_DROP" [], "drop" Syntax::Plain, Nothing;
    /// Accept the frame.
    1 Accept = "ACTION_ACCEPT" [], "accept" Syntax::Plain, Nothing;
    /// Send a copy to another node and go on.
    2 Tee(to: Target) = "ACTION_TEE" ["address", "flags", "length"], "tee" Syntax::Copy, CopyTo;
    /// Like TEE; the copy asks for an acknowledgement.
    3 Watch(to: Target) = "ACTION_WATCH" ["address", "flags", "length"], "watch" Syntax::Copy, CopyTo;
    /// Send the frame to another node instead.
    4 Redirect(to: Target) = "ACTION_REDIRECT" ["address", "flags"], "redirect" Syntax::Redirect, RedirectTo;
    /// Stop this list without a decision.
    5 Break = "ACTION_BREAK" [], "break" Syntax::Plain, Nothing;
    /// Accept into a queue, 0–8. The binary form does not carry the queue.
    6 Priority(queue: u8) = "ACTION_PRIORITY" ["qosBucket"], "priority" Syntax::Reserved, Bucket;
    /// The sending node, 40 bits.
    24 SourceAddress(node: u64) = "MATCH_SOURCE_ZEROTIER_ADDRESS" ["zt"], "ztsrc" Syntax::Address, Node;
    /// The receiving node, 40 bits.
    25 DestAddress(node: u64) = "MATCH_DEST_ZEROTIER_ADDRESS" ["zt"], "ztdest" Syntax::Address, Node;
    /// VLAN number.
    26 VlanId(id: u16) = "MATCH_VLAN_ID" ["vlanId"], "vlan" Syntax::Number(0xffff), Int;
    /// VLAN priority code point.
    27 VlanPcp(pcp: u8) = "MATCH_VLAN_PCP" ["vlanPcp"], "vlanpcp" Syntax::Number(0xff), Int;
    /// VLAN drop eligible indicator.
    28 VlanDei(dei: u8) = "MATCH_VLAN_DEI" ["vlanDei"], "vlandei" Syntax::Number(0xff), Int;
    /// Ethertype.
    37 Ethertype(ethertype: u16) = "MATCH_ETHERTYPE" ["etherType"], "ethertype" Syntax::Ethertype, Int;
    /// Source MAC.
    29 MacSource(mac: [u8; 6]) = "MATCH_MAC_SOURCE" ["mac"], "macsrc" Syntax::Mac, Mac;
    /// Destination MAC.
    30 MacDest(mac: [u8; 6]) = "MATCH_MAC_DEST" ["mac"], "macdest" Syntax::Mac, Mac;
    /// IPv4 source, prefix length.
    31 Ipv4Source(ip: Ipv4Addr, bits: u8) = "MATCH_IPV4_SOURCE" ["ip"], "ipsrc" Syntax::Ipv4, Prefix;
    /// IPv4 destination, prefix length.
    32 Ipv4Dest(ip: Ipv4Addr, bits: u8) = "MATCH_IPV4_DEST" ["ip"], "ipdest" Syntax::Ipv4, Prefix;
    /// IPv6 source, prefix length.
    33 Ipv6Source(ip: Ipv6Addr, bits: u8) = "MATCH_IPV6_SOURCE" ["ip"], "ipsrc" Syntax::Ipv6, Prefix;
    /// IPv6 destination, prefix length.
    34 Ipv6Dest(ip: Ipv6Addr, bits: u8) = "MATCH_IPV6_DEST" ["ip"], "ipdest" Syntax::Ipv6, Prefix;
    /// IPv4 TOS or IPv6 traffic class: `start ≤ value & mask ≤ end`.
    35 IpTos {
        /// Bits looked at.
        mask: u8,
        /// Least value.
        start: u8,
        /// Greatest value.
        end: u8,
    } = "MATCH_IP_TOS" ["mask", "start", "end"], "iptos" Syntax::Tos, Bytes;
    /// IP protocol (RFC 791) or the last next-header (RFC 8200).
    36 IpProtocol(protocol: u8) = "MATCH_IP_PROTOCOL" ["ipProtocol"], "ipprotocol" Syntax::Protocol, Int;
    /// ICMP or ICMPv6 type, and code if asked.
    38 Icmp {
        /// Message type.
        kind: u8,
        /// Message code, `None` = any.
        code: Option<u8>,
    } = "MATCH_ICMP" ["icmpType", "icmpCode"], "icmp" Syntax::Icmp, IcmpMessage;
    /// Source port between the two, inclusive.
    39 SourcePort(start: u16, end: u16)
        = "MATCH_IP_SOURCE_PORT_RANGE" ["start", "end"], "sport" Syntax::Range, Range;
    /// Destination port between the two, inclusive.
    40 DestPort(start: u16, end: u16)
        = "MATCH_IP_DEST_PORT_RANGE" ["start", "end"], "dport" Syntax::Range, Range;
    /// Any of these characteristic bits.
    41 Characteristics(mask: u64) = "MATCH_CHARACTERISTICS" ["mask"], "chr" Syntax::Bits, Mask;
    /// Payload length in bytes between the two, inclusive.
    42 FrameSize(start: u16, end: u16)
        = "MATCH_FRAME_SIZE_RANGE" ["start", "end"], "framesize" Syntax::Range, Range;
    /// True with probability `value / 2^32`.
    43 Random(probability: u32) = "MATCH_RANDOM" ["probability"], "random" Syntax::Fraction, Int;
    /// Tag (id, value): AND of both sides' tags equals the value.
    45 TagsAnd(id: u32, value: u32) = "MATCH_TAGS_BITWISE_AND" ["id", "value"], "tand" Syntax::Tag, Pair;
    /// Tag (id, value): OR of both sides' tags equals the value.
    46 TagsOr(id: u32, value: u32) = "MATCH_TAGS_BITWISE_OR" ["id", "value"], "tor" Syntax::Tag, Pair;
    /// Tag (id, value): XOR of both sides' tags equals the value.
    47 TagsXor(id: u32, value: u32) = "MATCH_TAGS_BITWISE_XOR" ["id", "value"], "txor" Syntax::Tag, Pair;
    /// Tag (id, value): difference of both sides' tags is at most the value.
    44 TagsDifference(id: u32, value: u32)
        = "MATCH_TAGS_DIFFERENCE" ["id", "value"], "tdiff" Syntax::Tag, Pair;
    /// Tag (id, value): both sides' tags equal the value.
    48 TagsEqual(id: u32, value: u32) = "MATCH_TAGS_EQUAL" ["id", "value"], "teq" Syntax::Tag, Pair;
    /// Tag (id, value): the sender's tag equals the value.
    49 TagSender(id: u32, value: u32) = "MATCH_TAG_SENDER" ["id", "value"], "tseq" Syntax::Tag, Pair;
    /// Tag (id, value): the receiver's tag equals the value.
    50 TagReceiver(id: u32, value: u32) = "MATCH_TAG_RECEIVER" ["id", "value"], "treq" Syntax::Tag, Pair;
    /// An integer in the payload.
    51 IntegerRange(range: IntegerRange)
        = "INTEGER_RANGE" ["start", "end", "idx", "little", "bits"], "" Syntax::None, Integer;
}
