//! The plain evaluator of rule lists: entry after entry, as the specification reads.
//!
//! It is the reference for every faster form, so it favours being obvious over being quick; it does not allocate.
//! Specification: flow rules, evaluation of one rule list, filtering a frame, match semantics.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::rule::{IntegerRange, Kind, Rule, Target};

/// Ethertype of IPv4.
const IPV4: u16 = 0x0800;
/// Ethertype of ARP.
const ARP: u16 = 0x0806;
/// Ethertype of IPv6.
const IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Characteristic bit: evaluated on the receiving side.
pub const INBOUND: u64 = 1 << 63;
/// Characteristic bit: the destination MAC has the group bit.
pub const MULTICAST: u64 = 1 << 62;
/// Characteristic bit: the destination MAC is all ones.
pub const BROADCAST: u64 = 1 << 61;
/// Characteristic bit: the sender's IP address is covered by a certificate of ownership.
pub const SENDER_IP_AUTHENTICATED: u64 = 1 << 60;
/// Characteristic bit: the source MAC is covered by a certificate of ownership.
pub const SENDER_MAC_AUTHENTICATED: u64 = 1 << 59;

/// Which side of the connection evaluates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The receiver.
    Inbound,
    /// The sender.
    Outbound,
}

/// An Ethernet frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Source MAC.
    pub source: [u8; 6],
    /// Destination MAC.
    pub dest: [u8; 6],
    /// Ethertype.
    pub ethertype: u16,
    /// VLAN number; 0 in practice.
    pub vlan: u16,
    /// Everything after the 14-byte header.
    pub payload: &'a [u8],
}

/// What rules may ask about the two ends. Credentials that are stale or revoked count as absent.
pub trait Credentials {
    /// The evaluating node's tag.
    fn local_tag(&self, id: u32) -> Option<u32>;
    /// The other side's tag.
    fn remote_tag(&self, id: u32) -> Option<u32>;
    /// Whether a certificate of ownership of the evaluating node covers the address.
    fn local_owns_ip(&self, ip: IpAddr) -> bool;
    /// Whether a certificate of ownership of the other side covers the address.
    fn remote_owns_ip(&self, ip: IpAddr) -> bool;
    /// Whether a certificate of ownership of the evaluating node covers the MAC.
    fn local_owns_mac(&self, mac: [u8; 6]) -> bool;
    /// Whether a certificate of ownership of the other side covers the MAC.
    fn remote_owns_mac(&self, mac: [u8; 6]) -> bool;
    /// Whether emulated neighbour discovery makes the (inbound) sender's address trustworthy.
    fn emulated(&self, ip: Ipv6Addr) -> bool;
}

/// Everything one evaluation may look at.
pub struct Context<'a> {
    /// Which side evaluates.
    pub direction: Direction,
    /// The evaluating node.
    pub self_address: u64,
    /// The sending node.
    pub source: u64,
    /// The receiving node, 0 = not known yet (multicast, unknown bridge).
    pub dest: u64,
    /// The frame.
    pub frame: Frame<'a>,
    /// Outcome of a match this version does not know (configuration flag 0x08).
    pub match_unknown: bool,
    /// Source of 32-bit random numbers.
    pub random: &'a mut dyn FnMut() -> u32,
    /// Tags and ownership.
    pub credentials: &'a dyn Credentials,
}

/// A copy of the frame to be sent to somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Who gets it.
    pub target: u64,
    /// How many bytes of the payload.
    pub length: usize,
    /// WATCH (asks for an acknowledgement) instead of TEE.
    pub watch: bool,
}

/// How a list ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Without a decision.
    NoMatch,
    /// Drop.
    Drop,
    /// Send to this node instead.
    Redirect(u64),
    /// Accept.
    Accept,
    /// Accept, even if the frame is not addressed to this node.
    SuperAccept,
}

/// Result of one list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// How the list ended.
    pub outcome: Outcome,
    /// The last copy asked for; to be sent only if the frame is accepted.
    pub copy: Option<Copy>,
    /// The queue (0–8) if PRIORITY decided.
    pub priority: Option<u8>,
    /// Index of the entry that decided, `None` if the list ran out.
    pub by: Option<usize>,
}

/// What becomes of the frame itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Do not deliver (it may have been redirected).
    Drop,
    /// Deliver, subject to the checks of MACs and bridging.
    Accept,
    /// Deliver without those checks.
    SuperAccept,
}

/// Up to two copies: one from the base rules, one from the deciding capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    slots: [Option<Copy>; 2],
}

impl Copies {
    fn push(&mut self, copy: Option<Copy>) {
        if let Some(slot) = self.slots.iter_mut().find(|s| s.is_none()) {
            *slot = copy;
        }
    }

    /// The copies in the order they are sent.
    pub fn iter(&self) -> impl Iterator<Item = &Copy> {
        self.slots.iter().flatten()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.slots[0].is_none()
    }
}

/// Result of base rules and capabilities together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What becomes of the frame itself; `Drop` if it is redirected.
    pub accept: Accept,
    /// Send the whole frame to this node instead.
    pub redirect: Option<u64>,
    /// Copies to send.
    pub copies: Copies,
    /// Queue, 0–8; 0 unless the deciding entry is PRIORITY.
    pub priority: u8,
}

/// Base rules first, then, if they do not decide, each capability (pass them in ascending ID order) from scratch.
///
/// With `no_tee` no copies are made (sending to one of several recipients); it has a meaning outbound only.
pub fn filter(
    base: &[Rule],
    capabilities: &mut dyn Iterator<Item = &[Rule]>,
    ctx: &mut Context<'_>,
    no_tee: bool,
) -> Verdict {
    let mut verdict =
        Verdict { accept: Accept::Drop, redirect: None, copies: Copies::default(), priority: 0 };
    let first = evaluate(base, ctx);
    verdict.priority = first.priority.unwrap_or(0);

    let mut from_capability = None;
    let decided = match first.outcome {
        Outcome::Drop => return verdict,
        Outcome::NoMatch => {
            let mut decided = None;
            for rules in capabilities {
                let evaluation = evaluate(rules, ctx);
                if !matches!(evaluation.outcome, Outcome::NoMatch | Outcome::Drop) {
                    from_capability = evaluation.copy;
                    verdict.priority = evaluation.priority.unwrap_or(0);
                    decided = Some(evaluation.outcome);
                    break;
                }
            }
            let Some(decided) = decided else { return verdict };
            decided
        }
        decided => decided,
    };

    if !no_tee {
        if from_capability.is_some() {
            verdict.copies.push(from_capability);
        }
        verdict.copies.push(first.copy);
    }
    match decided {
        // A redirection to nobody leaves the frame where it is.
        Outcome::Redirect(target) if target != 0 => verdict.redirect = Some(target),
        Outcome::SuperAccept => verdict.accept = Accept::SuperAccept,
        _ => verdict.accept = Accept::Accept,
    }
    verdict
}

/// Evaluates one list.
pub fn evaluate(rules: &[Rule], ctx: &mut Context<'_>) -> Evaluation {
    let inbound = ctx.direction == Direction::Inbound;
    let mut state = State { super_accept: false, skip_drop: false };
    let mut set = true;
    let mut copy = None;
    for (index, rule) in rules.iter().enumerate() {
        if !rule.kind.is_action() {
            if !set && !rule.or {
                continue;
            }
            let outcome = match state.matches(&rule.kind, ctx) {
                Match::Plain(outcome) => outcome != rule.not,
                Match::Forced(outcome) => outcome,
            };
            set = if rule.or { set || outcome } else { set && outcome };
            continue;
        }

        if !set {
            if let Kind::Tee(target) | Kind::Watch(target) | Kind::Redirect(target) = &rule.kind {
                state.super_accept |= inbound && target.address == ctx.self_address;
            }
            set = true;
            continue;
        }
        let mut priority = None;
        let outcome = match &rule.kind {
            Kind::Drop if state.skip_drop => {
                state.skip_drop = false;
                continue;
            }
            Kind::Drop => Outcome::Drop,
            Kind::Accept if state.super_accept => Outcome::SuperAccept,
            Kind::Accept => Outcome::Accept,
            Kind::Priority(bucket) => {
                priority = Some(if *bucket <= 8 { *bucket } else { 4 });
                Outcome::Accept
            }
            Kind::Break => Outcome::NoMatch,
            Kind::Tee(target) | Kind::Watch(target) | Kind::Redirect(target) => {
                if target.address == ctx.source {
                    continue;
                }
                if target.address == ctx.self_address {
                    if !inbound {
                        continue;
                    }
                    Outcome::SuperAccept
                } else if target.address == ctx.dest {
                    continue;
                } else if matches!(rule.kind, Kind::Redirect(_)) {
                    Outcome::Redirect(target.address)
                } else {
                    let watch = matches!(rule.kind, Kind::Watch(_));
                    copy = Some(copy_for(target, ctx.frame.payload.len(), watch));
                    continue;
                }
            }
            _ => continue,
        };
        return Evaluation { outcome, copy, priority, by: Some(index) };
    }
    Evaluation { outcome: Outcome::NoMatch, copy, priority: None, by: None }
}

fn copy_for(target: &Target, payload: usize, watch: bool) -> Copy {
    let length = if target.length == 0 { payload } else { payload.min(usize::from(target.length)) };
    Copy { target: target.address, length, watch }
}

/// Outcome of one match.
enum Match {
    /// NOT inverts it.
    Plain(bool),
    /// NOT does not.
    Forced(bool),
}

const NOT_APPLICABLE: Match = Match::Forced(false);

struct State {
    super_accept: bool,
    /// Disarms one later DROP: the sender lets go what the receiver has to judge.
    skip_drop: bool,
}

impl State {
    fn matches(&mut self, kind: &Kind, ctx: &mut Context<'_>) -> Match {
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
            Kind::Random(probability) => (ctx.random)() <= *probability,
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
            Kind::Characteristics(mask) => characteristics(ctx) & mask != 0,
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
fn v4_at(p: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(p[at], p[at + 1], p[at + 2], p[at + 3])
}

/// Callers have checked the length.
fn v6_at(p: &[u8], at: usize) -> Ipv6Addr {
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
fn transport(frame: &Frame<'_>) -> Option<(u8, usize)> {
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
    // TCP, UDP, SCTP, UDP-Lite
    if !matches!(protocol, 6 | 17 | 132 | 136) || p.len() <= at + 4 {
        return Match::Plain(false);
    }
    let port = u16::from_be_bytes([p[at + offset], p[at + offset + 1]]);
    // Over IPv6 port 0 counts as "no port", as in the reference.
    let absent = frame.ethertype == IPV6 && port == 0;
    Match::Plain(!absent && (min..=max).contains(&port))
}

fn integer(p: &[u8], range: &IntegerRange) -> u64 {
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

fn characteristics(ctx: &Context<'_>) -> u64 {
    let frame = &ctx.frame;
    let inbound = ctx.direction == Direction::Inbound;
    let mut value = 0;
    if inbound {
        value |= INBOUND;
    }
    if frame.dest[0] & 1 != 0 {
        value |= MULTICAST;
    }
    if frame.dest == [0xff; 6] {
        value |= BROADCAST;
    }
    if sender_ip_authenticated(ctx) {
        value |= SENDER_IP_AUTHENTICATED;
    }
    let owns_mac = if inbound {
        ctx.credentials.remote_owns_mac(frame.source)
    } else {
        ctx.credentials.local_owns_mac(frame.source)
    };
    if owns_mac {
        value |= SENDER_MAC_AUTHENTICATED;
    }
    value | tcp_bits(frame)
}

/// Flags in bits 0–7, reserved bits and NS in bits 8–11 (RFC 9293).
fn tcp_bits(frame: &Frame<'_>) -> u64 {
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
fn neighbor_discovery(p: &[u8]) -> Option<u8> {
    (p.len() >= 64 && p[6] == ICMPV6).then(|| p[40])
}
