//! What each match asks of a frame. Specification: flow rules, match semantics.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    BROADCAST, Context, Direction, Frame, INBOUND, MULTICAST, Observer, SENDER_IP_AUTHENTICATED,
    SENDER_MAC_AUTHENTICATED,
};
pub(crate) use crate::ethernet::{ARP, IPV4, IPV6};
use crate::rule::{IntegerRange, Kind};

const TCP: u8 = 6;
/// Protocol number of ICMP.
pub(crate) const ICMP: u8 = 1;
/// Protocol number of ICMPv6.
pub(crate) const ICMPV6: u8 = 58;
/// Characteristic bits that are TCP flags and reserved bits.
pub(crate) const TCP_BITS: u64 = 0xfff;

/// Outcome of one match.
pub(super) enum Match {
    /// NOT inverts it.
    Plain(bool),
    /// NOT does not.
    Forced(bool),
}

const NOT_APPLICABLE: Match = Match::Forced(false);

/// What matches and actions leave behind for later ones of the same list.
pub(super) struct State {
    /// An entry whose target is this node was passed by: what is accepted later is accepted without further checks.
    pub(super) super_accept: bool,
    /// Disarms one later DROP: the sender lets go what the receiver has to judge.
    pub(super) skip_drop: bool,
}

impl State {
    #[inline]
    pub(super) fn matches(
        &mut self,
        index: usize,
        kind: &Kind,
        ctx: &mut Context<'_>,
        observer: &mut impl Observer,
    ) -> Match {
        let frame = ctx.frame;
        let p = frame.payload;
        let is_v4 = frame.ethertype == IPV4 && p.len() >= 20;
        let is_v6 = frame.ethertype == IPV6 && p.len() >= 40;
        Match::Plain(match kind {
            Kind::SourceAddress(address) => *address == ctx.source,
            Kind::DestAddress(address) => *address == ctx.dest,
            Kind::VlanId(id) => *id == frame.vlan,
            // Tags of 802.1Q are not parsed.
            Kind::VlanPcp(v) | Kind::VlanDei(v) => *v == 0,
            Kind::MacSource(mac) => *mac == frame.source,
            Kind::MacDest(mac) => *mac == frame.dest,
            Kind::Ethertype(v) => *v == frame.ethertype,
            Kind::FrameSize(min, max) => (usize::from(*min)..=usize::from(*max)).contains(&p.len()),
            Kind::Random(probability) => observer.draw(index, ctx.random) <= *probability,
            Kind::Unknown { .. } => ctx.match_unknown,

            Kind::Ipv4Source(..) | Kind::Ipv4Dest(..) if !is_v4 => return NOT_APPLICABLE,
            Kind::Ipv4Source(ip, bits) => v4_matches(v4_at(p, 12), *ip, *bits),
            Kind::Ipv4Dest(ip, bits) => v4_matches(v4_at(p, 16), *ip, *bits),
            Kind::Ipv6Source(..) | Kind::Ipv6Dest(..) if !is_v6 => return NOT_APPLICABLE,
            Kind::Ipv6Source(ip, bits) => v6_matches(v6_at(p, 8), *ip, *bits),
            Kind::Ipv6Dest(ip, bits) => v6_matches(v6_at(p, 24), *ip, *bits),
            Kind::IpTos { mask, start, end } => {
                let value = if is_v4 {
                    p[1]
                } else if is_v6 {
                    (p[0] << 4) | (p[1] >> 4)
                } else {
                    return NOT_APPLICABLE;
                };
                (*start..=*end).contains(&(value & mask))
            }
            Kind::IpProtocol(v) => match transport(&frame) {
                Some((protocol, _)) => *v == protocol,
                None => return NOT_APPLICABLE,
            },
            Kind::Icmp { kind, code } => return icmp(&frame, *kind, *code),
            Kind::SourcePort(min, max) => return port(&frame, 0, *min, *max),
            Kind::DestPort(min, max) => return port(&frame, 2, *min, *max),
            Kind::Characteristics(mask) => has_characteristic(ctx, *mask),
            Kind::IntegerRange(range) => (range.start..=range.end()).contains(&integer(p, range)),

            Kind::TagsDifference(id, v) => return self.tags(ctx, *id, |l, r| l.abs_diff(r) <= *v),
            Kind::TagsAnd(id, v) => return self.tags(ctx, *id, |l, r| l & r == *v),
            Kind::TagsOr(id, v) => return self.tags(ctx, *id, |l, r| l | r == *v),
            Kind::TagsXor(id, v) => return self.tags(ctx, *id, |l, r| l ^ r == *v),
            Kind::TagsEqual(id, v) => return self.tags(ctx, *id, |l, r| l == *v && r == *v),
            Kind::TagSender(id, v) => return self.tag_sender(ctx, *id, *v),
            Kind::TagReceiver(id, v) => return self.tag_receiver(ctx, *id, *v),

            Kind::Drop
            | Kind::Accept
            | Kind::Tee(_)
            | Kind::Watch(_)
            | Kind::Redirect(_)
            | Kind::Break
            | Kind::Priority(_) => false,
        })
    }

    /// The frame may pass here because somebody else will judge it.
    fn lenient(&mut self) -> Match {
        self.skip_drop = true;
        Match::Forced(true)
    }

    fn tags(&mut self, ctx: &Context<'_>, id: u32, compare: impl FnOnce(u32, u32) -> bool) -> Match {
        let Some(local) = ctx.credentials.local_tag(id) else { return Match::Forced(false) };
        match ctx.credentials.remote_tag(id) {
            Some(remote) => Match::Plain(compare(local, remote)),
            None if ctx.direction == Direction::Inbound && !self.super_accept => Match::Forced(false),
            None => self.lenient(),
        }
    }

    fn tag_sender(&mut self, ctx: &Context<'_>, id: u32, value: u32) -> Match {
        if self.super_accept {
            return self.lenient();
        }
        let tag = match ctx.direction {
            Direction::Outbound => ctx.credentials.local_tag(id),
            Direction::Inbound => ctx.credentials.remote_tag(id),
        };
        tag.map_or(Match::Forced(false), |tag| Match::Plain(tag == value))
    }

    fn tag_receiver(&mut self, ctx: &Context<'_>, id: u32, value: u32) -> Match {
        if self.super_accept {
            return self.lenient();
        }
        match ctx.direction {
            Direction::Inbound => {
                ctx.credentials.local_tag(id).map_or(Match::Forced(false), |tag| Match::Plain(tag == value))
            }
            Direction::Outbound => match ctx.credentials.remote_tag(id) {
                Some(tag) => Match::Plain(tag == value),
                None => self.lenient(),
            },
        }
    }
}

/// Callers have checked the length.
pub(crate) fn v4_at(p: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(p[at], p[at + 1], p[at + 2], p[at + 3])
}

/// Callers have checked the length.
pub(crate) fn v6_at(p: &[u8], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&p[at..at + 16]);
    octets.into()
}

fn v4_matches(frame: Ipv4Addr, rule: Ipv4Addr, bits: u8) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
    frame.to_bits() & mask == rule.to_bits() & mask
}

/// Only the frame's address is masked: a rule with host bits set never matches, as in the reference.
fn v6_matches(frame: Ipv6Addr, rule: Ipv6Addr, bits: u8) -> bool {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
    frame.to_bits() & mask == rule.to_bits()
}

/// The transport protocol and where its header starts (possibly beyond the end for IPv4), `None` if the frame is
/// neither IPv4 nor an IPv6 packet whose extension headers can be walked.
pub(crate) fn transport(frame: &Frame<'_>) -> Option<(u8, usize)> {
    let p = frame.payload;
    match frame.ethertype {
        IPV4 if p.len() >= 20 => Some((p[9], usize::from(p[0] & 15) * 4)),
        IPV6 => ipv6_transport(p),
        _ => None,
    }
}

/// Walks hop-by-hop (0), routing (43), destination options (60) and mobility (135) headers, RFC 8200.
fn ipv6_transport(p: &[u8]) -> Option<(u8, usize)> {
    if p.len() < 40 {
        return None;
    }
    let (mut next, mut at) = (p[6], 40);
    while matches!(next, 0 | 43 | 60 | 135) {
        let header = p.get(at..at + 8)?;
        next = header[0];
        at += usize::from(header[1]) * 8 + 8;
        if at > p.len() {
            return None;
        }
    }
    Some((next, at))
}

fn icmp(frame: &Frame<'_>, kind: u8, code: Option<u8>) -> Match {
    let wanted = if frame.ethertype == IPV4 { ICMP } else { ICMPV6 };
    let header = match transport(frame) {
        Some((protocol, at)) if protocol == wanted => frame.payload.get(at..).unwrap_or_default(),
        _ => return NOT_APPLICABLE,
    };
    match (header, code) {
        ([k, _, ..], _) if *k != kind => NOT_APPLICABLE,
        // Forced, so that NOT does not turn it: a quirk rule sets live with.
        ([_, _, ..], None) => Match::Forced(true),
        ([_, c, ..], Some(code)) => Match::Plain(*c == code),
        _ => NOT_APPLICABLE,
    }
}

/// `offset` in the transport header is 0 for the source port, 2 for the destination port.
fn port(frame: &Frame<'_>, offset: usize, min: u16, max: u16) -> Match {
    let Some((protocol, at)) = transport(frame) else { return NOT_APPLICABLE };
    let p = frame.payload;
    if !has_ports(protocol, at, p) {
        return Match::Plain(false);
    }
    let port = u16::from_be_bytes([p[at + offset], p[at + offset + 1]]);
    // Over IPv6 port 0 counts as "no port", as in the reference.
    let absent = frame.ethertype == IPV6 && port == 0;
    Match::Plain(!absent && (min..=max).contains(&port))
}

/// Whether the protocol has ports (TCP, UDP, SCTP, UDP-Lite) and the payload is long enough for both.
pub(crate) fn has_ports(protocol: u8, at: usize, p: &[u8]) -> bool {
    matches!(protocol, 6 | 17 | 132 | 136) && p.len() > at + 4
}

/// The integer an INTEGER_RANGE looks at; 0 where the payload is too short.
pub(crate) fn integer(p: &[u8], range: &IntegerRange) -> u64 {
    let bits = range.bits();
    let bytes = bits.div_ceil(8) as usize;
    let mut buffer = [0; 8];
    if range.little_endian() {
        let at = usize::from(range.index);
        let Some(field) = p.get(at..at + bytes) else { return 0 };
        buffer[..bytes].copy_from_slice(field);
        u64::from_le_bytes(buffer) >> (8 * bytes as u32 - bits)
    } else {
        // The index points to a 64-bit field of which the low bits are used.
        let at = usize::from(range.index) + 8 - bytes;
        let Some(field) = p.get(at..at + bytes) else { return 0 };
        buffer[8 - bytes..].copy_from_slice(field);
        u64::from_be_bytes(buffer) & (u64::MAX >> (64 - bits))
    }
}

/// Whether the frame has any characteristic of the mask. What costs a search in certificates is asked last.
fn has_characteristic(ctx: &Context<'_>, mask: u64) -> bool {
    let frame = &ctx.frame;
    let inbound = ctx.direction == Direction::Inbound;
    (mask & INBOUND != 0 && inbound)
        || (mask & MULTICAST != 0 && frame.dest[0] & 1 != 0)
        || (mask & BROADCAST != 0 && frame.dest == [0xff; 6])
        || (mask & TCP_BITS != 0 && tcp_bits(frame) & mask != 0)
        || (mask & SENDER_IP_AUTHENTICATED != 0 && sender_ip_authenticated(ctx))
        || (mask & SENDER_MAC_AUTHENTICATED != 0 && sender_mac_authenticated(ctx))
}

fn sender_mac_authenticated(ctx: &Context<'_>) -> bool {
    match ctx.direction {
        Direction::Inbound => ctx.credentials.remote_owns_mac(ctx.frame.source),
        Direction::Outbound => ctx.credentials.local_owns_mac(ctx.frame.source),
    }
}

/// Flags in bits 0–7, reserved bits and NS in bits 8–11 (RFC 9293).
pub(crate) fn tcp_bits(frame: &Frame<'_>) -> u64 {
    let p = frame.payload;
    match transport(frame) {
        Some((TCP, at)) if frame.ethertype == IPV4 || p.len() > at + 14 => {
            let byte = |offset: usize| u64::from(p.get(at + offset).copied().unwrap_or(0));
            byte(13) | ((byte(12) & 15) << 8)
        }
        _ => 0,
    }
}

fn sender_ip_authenticated(ctx: &Context<'_>) -> bool {
    let p = ctx.frame.payload;
    let ip: IpAddr = match ctx.frame.ethertype {
        IPV4 if p.len() >= 20 => v4_at(p, 12).into(),
        IPV6 if p.len() >= 40 => match neighbor_discovery(p) {
            // A solicitation may come from an address that is not assigned yet.
            Some(135) => return true,
            Some(136) => v6_at(p, 48).into(),
            _ => v6_at(p, 8).into(),
        },
        ARP if p.len() >= 28 => v4_at(p, 14).into(),
        _ => return false,
    };
    match ctx.direction {
        Direction::Outbound => ctx.credentials.local_owns_ip(ip),
        Direction::Inbound => {
            ctx.credentials.remote_owns_ip(ip) || matches!(ip, IpAddr::V6(ip) if ctx.credentials.emulated(ip))
        }
    }
}

/// The ICMPv6 type of a packet long enough to carry a neighbour discovery target (RFC 4861).
pub(crate) fn neighbor_discovery(p: &[u8]) -> Option<u8> {
    (p.len() >= 64 && p[6] == ICMPV6).then(|| p[40])
}
