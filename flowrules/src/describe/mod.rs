//! Packets in words: `tcp 10.0.1.1:5000 > 10.0.3.1:80 syn` to a packet and back.
//!
//! One notation serves everywhere a person and a packet meet: in case files, in the question "what happens to …", and
//! in the live trace. [`parse`] reads it into a [`Description`], [`Description::build`] makes the bytes of the packet,
//! and [`describe`] writes the words for any frame. A packet holds exactly what rules can ask about; everything else
//! (checksums, TTL, identification) is zero or usual.
//!
//! ```text
//! packet  = kind [ END ">" END ] { option }
//! kind    = "tcp" | "udp" | "sctp" | "udplite" | "icmp" | "icmp6" | "ip" PROTOCOL
//!         | "arp" "who-has" IP ["tell" IP] | "arp" "reply" IP "is-at" MAC ["to" IP]
//!         | "ether" TYPE                                    ends are MACs
//! END     = IP | IP ":" PORT | "[" IPV6 "]:" PORT | NAME | NAME ":" PORT | PORT | "*" | MAC
//! option  = a TCP flag (syn ack fin rst psh urg ece cwr ns, or rs0 rs1 rs2) | an ICMP type, TYPE or TYPE "/" CODE
//!         | "size" N | "tos" N | "target" IP | "from-mac" MAC | "to-mac" MAC | "broadcast" | "ipv4" | "ipv6"
//! ```
//!
//! `size` is the length of the payload of the frame (IP header included, Ethernet header not), which is what
//! `framesize` compares.

mod build;
mod names;
mod parse;
mod write;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

pub(crate) use crate::ethernet::{ARP, IPV4, IPV6};
use crate::evaluate::Frame;

pub use names::{ethertype_name, protocol_name};
pub(crate) use parse::mac;
pub use parse::parse;
pub use write::{describe, mac_text};

/// Longest text that is read, in bytes. A description is one line.
pub const MAX_TEXT: usize = 1024;
/// Largest payload that is built, in bytes: more than any network's MTU.
pub const MAX_SIZE: u16 = 10_000;
/// The port of an end of TCP and the like for which none is given.
pub const EPHEMERAL_PORT: u16 = 49_152;

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMP6: u8 = 58;
pub(crate) const SCTP: u8 = 132;
pub(crate) const UDPLITE: u8 = 136;

/// An Ethernet frame that owns its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Source MAC.
    pub source: [u8; 6],
    /// Destination MAC.
    pub dest: [u8; 6],
    /// Ethertype.
    pub ethertype: u16,
    /// Everything after the 14-byte header.
    pub payload: Vec<u8>,
}

impl Packet {
    /// The frame as the evaluator takes it.
    pub fn frame(&self) -> Frame<'_> {
        Frame {
            source: self.source,
            dest: self.dest,
            ethertype: self.ethertype,
            vlan: 0,
            payload: &self.payload,
        }
    }
}

/// The MAC that belongs to a destination that is a group (RFC 1112, RFC 2464) or the limited broadcast address.
pub(crate) fn group_mac(ip: IpAddr) -> Option<[u8; 6]> {
    match ip {
        IpAddr::V4(ip) if ip.is_broadcast() => Some([0xff; 6]),
        IpAddr::V4(ip) if ip.is_multicast() => {
            let [_, b, c, d] = ip.octets();
            Some([0x01, 0, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(ip) if ip.is_multicast() => {
            let o = ip.octets();
            Some([0x33, 0x33, o[12], o[13], o[14], o[15]])
        }
        _ => None,
    }
}

/// A packet as a person said it; what was left out is filled in by [`Description::build`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Protocol and what belongs to it.
    pub what: What,
    /// Who sends.
    pub source: End,
    /// Who is to get it.
    pub dest: End,
    /// Payload length in bytes; `None` = as long as the headers.
    pub size: Option<u16>,
    /// IPv4 TOS or IPv6 traffic class.
    pub tos: u8,
    /// Source MAC other than the sender's.
    pub from_mac: Option<[u8; 6]>,
    /// Destination MAC other than the one that belongs to the destination.
    pub to_mac: Option<[u8; 6]>,
    /// `Some(true)`: IPv6, `Some(false)`: IPv4, where the ends leave it open.
    pub ipv6: Option<bool>,
}

/// Protocol and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// TCP with the low 12 bits of its flag field: reserved bits and NS (11–8), CWR … FIN (7–0).
    Tcp {
        /// The flags.
        flags: u16,
    },
    /// UDP, SCTP or UDP-Lite, by protocol number.
    Ports(u8),
    /// ICMP.
    Icmp {
        /// Type and code, [`None`] in a packet too short for them.
        message: Option<(u8, u8)>,
    },
    /// ICMPv6.
    Icmp6 {
        /// Type and code, [`None`] in a packet too short for them.
        message: Option<(u8, u8)>,
        /// The address a neighbour solicitation or advertisement is about.
        target: Option<Ipv6Addr>,
    },
    /// Any other IP protocol.
    Ip(u8),
    /// ARP request: who has `dest`? tell `source`.
    ArpRequest,
    /// ARP reply: `source` is at this MAC, told to `dest`.
    ArpReply {
        /// The answer; [`None`] = the sender's MAC.
        at: Option<[u8; 6]>,
    },
    /// Any other Ethernet frame, by ethertype.
    Ether(u16),
}

/// One end of a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Who it is.
    pub who: Who,
    /// Port, for the protocols that have ports.
    pub port: Option<u16>,
    /// Where in the text it stands, in bytes.
    pub at: Range<usize>,
}

/// Who an end of a packet is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Who {
    /// Not said: what the context knows.
    #[default]
    Unsaid,
    /// By IP address.
    Ip(IpAddr),
    /// By MAC.
    Mac([u8; 6]),
    /// By a name (or, with `@`, an address of a node) that somebody else has to look up.
    Name(String),
}

/// What is known about one end: fills in what a description leaves open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// An IPv4 address of it.
    pub ipv4: Option<Ipv4Addr>,
    /// An IPv6 address of it.
    pub ipv6: Option<Ipv6Addr>,
    /// Its MAC.
    pub mac: Option<[u8; 6]>,
}

/// Why a text is no packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribeError {
    /// Which bytes of the text are to blame.
    pub at: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl DescribeError {
    pub(crate) fn new(at: Range<usize>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { at, message: message.into(), hint: hint.into() }
    }

    /// The complaint, the text with the place underlined, and the hint, on four lines without a final newline.
    pub fn render(&self, text: &str) -> String {
        let shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let columns = |end: usize| text.char_indices().filter(|(at, _)| *at < end).count();
        let before = columns(self.at.start);
        let width = columns(self.at.end).saturating_sub(before).max(1);
        let Self { message, hint, .. } = self;
        format!("{message}\n  {shown}\n  {:before$}{}\nhint: {hint}", "", "^".repeat(width))
    }
}

impl fmt::Display for DescribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.hint)
    }
}

impl std::error::Error for DescribeError {}
