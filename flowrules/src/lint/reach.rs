//! Three-valued walks through a rule list: what can happen to frames of a kind.
//!
//! Specification: flow rules, evaluation of one rule list and match semantics.

use std::ops::Not;

use crate::ethernet::{ARP, IPV4, IPV6};
use crate::rule::{Kind, Rule};

/// An outcome as far as it is certain. Ordered, so that AND is the lesser and OR the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Truth {
    No,
    Maybe,
    Yes,
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Truth::Yes } else { Truth::No }
    }
}

impl Not for Truth {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Truth::No => Truth::Yes,
            Truth::Maybe => Truth::Maybe,
            Truth::Yes => Truth::No,
        }
    }
}

/// Kinds of frames to ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Anything.
    Any,
    /// Address resolution for IPv4.
    Arp,
    /// Any IPv4 packet.
    Ipv4,
    /// An IPv6 packet that is not ICMPv6.
    Ipv6,
    /// Neighbor discovery for IPv6: an ICMPv6 message of this type.
    Neighbor(u8),
    /// A packet from a client's port to `port` of a server, or the other way round.
    Packet {
        /// IPv6, else IPv4.
        ipv6: bool,
        /// TCP or UDP.
        protocol: u8,
        /// The server's.
        port: u16,
        /// From the server; in TCP such packets have ACK.
        answer: bool,
    },
}

/// Ports that clients send from: the widest range of the systems there are.
const CLIENTS: std::ops::RangeInclusive<u16> = 32_768..=u16::MAX;

const NEIGHBOR_SOLICITATION: u8 = 135;
const ICMPV6: u8 = 58;
const TCP_BITS: u64 = 0xfff;
const TCP_ACK: u64 = 1 << 4;
const IP_AUTHENTICATED: u64 = 1 << 60;

impl Frame {
    fn ethertype(self) -> Option<u16> {
        match self {
            Frame::Any => None,
            Frame::Arp => Some(ARP),
            Frame::Ipv4 => Some(IPV4),
            Frame::Ipv6 | Frame::Neighbor(_) | Frame::Packet { ipv6: true, .. } => Some(IPV6),
            Frame::Packet { ipv6: false, .. } => Some(IPV4),
        }
    }

    fn is_ipv4(self) -> Truth {
        self.ethertype().map_or(Truth::Maybe, |ethertype| (ethertype == IPV4).into())
    }

    fn is_ipv6(self) -> Truth {
        self.ethertype().map_or(Truth::Maybe, |ethertype| (ethertype == IPV6).into())
    }

    fn is_ip(self) -> Truth {
        self.is_ipv4().max(self.is_ipv6())
    }

    fn has_protocol(self, protocol: u8) -> Truth {
        match self {
            Frame::Any | Frame::Ipv4 => Truth::Maybe,
            Frame::Arp => Truth::No,
            Frame::Ipv6 if protocol == ICMPV6 => Truth::No,
            Frame::Ipv6 => Truth::Maybe,
            Frame::Neighbor(_) => (protocol == ICMPV6).into(),
            Frame::Packet { protocol: its, .. } => (protocol == its).into(),
        }
    }

    fn has_tcp(self) -> Truth {
        self.has_protocol(6)
    }

    /// The outcome of a match, its NOT applied.
    fn asked(self, rule: &Rule) -> Truth {
        use Truth::{Maybe, No, Yes};
        // What is not applicable is false with or without NOT.
        let applicable = match &rule.kind {
            Kind::Ipv4Source(..) | Kind::Ipv4Dest(..) => self.is_ipv4(),
            Kind::Ipv6Source(..) | Kind::Ipv6Dest(..) => self.is_ipv6(),
            Kind::IpTos { .. } | Kind::IpProtocol(_) | Kind::SourcePort(..) | Kind::DestPort(..) => {
                self.is_ip()
            }
            Kind::Icmp { kind, .. } => match self {
                Frame::Neighbor(message) => (message == *kind).into(),
                Frame::Any | Frame::Ipv4 => Maybe,
                Frame::Arp | Frame::Ipv6 | Frame::Packet { .. } => No,
            },
            _ => Yes,
        };
        if applicable == No {
            return No;
        }
        let plain = match &rule.kind {
            Kind::Icmp { code: None, .. } => return applicable,
            Kind::Ethertype(value) => {
                self.ethertype().map_or(Maybe, |ethertype| (ethertype == *value).into())
            }
            Kind::VlanId(value) => (*value == 0).into(),
            Kind::VlanPcp(value) | Kind::VlanDei(value) => (*value == 0).into(),
            Kind::Ipv4Source(_, bits) | Kind::Ipv4Dest(_, bits) => {
                if *bits == 0 {
                    Yes
                } else {
                    Maybe
                }
            }
            Kind::Ipv6Source(ip, bits) | Kind::Ipv6Dest(ip, bits) => {
                if super::sets::has_host_bits(*ip, *bits) {
                    No
                } else if *bits == 0 {
                    Yes
                } else {
                    Maybe
                }
            }
            Kind::IpProtocol(protocol) => self.has_protocol(*protocol),
            Kind::SourcePort(..) | Kind::DestPort(..) if matches!(self, Frame::Neighbor(_)) => No,
            Kind::SourcePort(first, last) | Kind::DestPort(first, last)
                if let Frame::Packet { port, answer, .. } = self =>
            {
                let servers = answer == matches!(rule.kind, Kind::SourcePort(..));
                if servers {
                    (*first..=*last).contains(&port).into()
                } else if first <= CLIENTS.start() && last == CLIENTS.end() {
                    Yes
                } else if last < CLIENTS.start() {
                    No
                } else {
                    Maybe
                }
            }
            Kind::Characteristics(mask)
                if mask & TCP_ACK != 0 && matches!(self, Frame::Packet { protocol: 6, answer: true, .. }) =>
            {
                Yes
            }
            Kind::Characteristics(mask) => {
                if self == Frame::Neighbor(NEIGHBOR_SOLICITATION) && mask & IP_AUTHENTICATED != 0 {
                    Yes
                } else if mask & !TCP_BITS == 0 && (mask & TCP_BITS == 0 || self.has_tcp() == No) {
                    No
                } else {
                    Maybe
                }
            }
            Kind::Random(u32::MAX) => Yes,
            _ => Maybe,
        };
        let outcome = if rule.not { !plain } else { plain };
        outcome.min(applicable)
    }
}

/// What can happen in one list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    /// Whether some frame of the kind may be accepted (or redirected).
    pub(super) accepts: bool,
    /// Whether some may leave the list undecided: by BREAK or by its end.
    pub(super) undecided: bool,
    /// The action no frame of the kind gets past.
    pub(super) ends_at: Option<usize>,
}

/// Walks a list with frames of a kind.
pub(super) fn walk(rules: &[Rule], frame: Frame) -> Walk {
    let mut out = Walk { accepts: false, undecided: false, ends_at: None };
    let mut set = Truth::Yes;
    // Matches on tags the other side has not shown yet disarm one later DROP.
    let mut drop_may_be_disarmed = false;
    for (index, rule) in rules.iter().enumerate() {
        if !rule.kind.is_action() {
            let outcome = frame.asked(rule);
            set = if rule.or { set.max(outcome) } else { set.min(outcome) };
            drop_may_be_disarmed |= rule.kind.tag().is_some();
            continue;
        }
        let certain = set == Truth::Yes;
        let possible = set != Truth::No;
        set = Truth::Yes;
        let ends = match rule.kind {
            Kind::Accept | Kind::Priority(_) => {
                out.accepts |= possible;
                certain
            }
            Kind::Redirect(_) => {
                out.accepts |= possible;
                false
            }
            Kind::Break => {
                out.undecided |= possible;
                certain
            }
            Kind::Drop => certain && !drop_may_be_disarmed,
            _ => false,
        };
        if ends {
            out.ends_at = Some(index);
            return out;
        }
    }
    out.undecided = true;
    out
}
