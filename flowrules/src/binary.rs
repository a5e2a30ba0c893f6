//! The binary form of rule lists.
//!
//! Each entry: type byte (0x80 NOT, 0x40 OR, low six bits the number), length byte n, n bytes of value, integers
//! big-endian. A reader takes the layout it knows from the start of the value and goes on n bytes after that start,
//! whatever the layout needs. Specification: flow rules, binary encoding.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::rule::{ADDRESS_MASK, IntegerRange, Kind, Rule, Target};

/// Most entries in the base rules of a network.
pub const MAX_RULES: usize = 1024;
/// Most entries in one capability.
pub const MAX_CAPABILITY_RULES: usize = 64;

/// A rule list that ends in the middle of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule list ends inside {what} at byte {at}")]
pub struct DecodeError {
    /// The part that is missing.
    pub what: &'static str,
    /// Offset of the first byte that is missing, from the start of the list.
    pub at: usize,
}

/// Serializes a list, entry after entry, without a count.
pub fn encode(rules: &[Rule]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rules.len() * 8);
    for rule in rules {
        encode_one(rule, &mut out);
    }
    out
}

/// Appends one entry.
pub fn encode_one(rule: &Rule, out: &mut Vec<u8>) {
    out.push(rule.kind.number() | (u8::from(rule.not) << 7) | (u8::from(rule.or) << 6));
    let length_at = out.len();
    out.push(0);
    encode_value(&rule.kind, out);
    out[length_at] = (out.len() - length_at - 1) as u8;
}

fn encode_value(kind: &Kind, out: &mut Vec<u8>) {
    match kind {
        Kind::Drop | Kind::Accept | Kind::Break | Kind::Priority(_) => {}
        Kind::Tee(t) | Kind::Watch(t) | Kind::Redirect(t) => {
            out.extend_from_slice(&(t.address & ADDRESS_MASK).to_be_bytes());
            out.extend_from_slice(&t.flags.to_be_bytes());
            out.extend_from_slice(&t.length.to_be_bytes());
        }
        Kind::SourceAddress(a) | Kind::DestAddress(a) => out.extend_from_slice(&a.to_be_bytes()[3..]),
        Kind::VlanId(v) | Kind::Ethertype(v) => out.extend_from_slice(&v.to_be_bytes()),
        Kind::VlanPcp(v) | Kind::VlanDei(v) | Kind::IpProtocol(v) => out.push(*v),
        Kind::MacSource(mac) | Kind::MacDest(mac) => out.extend_from_slice(mac),
        Kind::Ipv4Source(ip, bits) | Kind::Ipv4Dest(ip, bits) => {
            out.extend_from_slice(&ip.octets());
            out.push(*bits);
        }
        Kind::Ipv6Source(ip, bits) | Kind::Ipv6Dest(ip, bits) => {
            out.extend_from_slice(&ip.octets());
            out.push(*bits);
        }
        Kind::IpTos { mask, start, end } => out.extend_from_slice(&[*mask, *start, *end]),
        Kind::Icmp { kind, code } => {
            out.extend_from_slice(&[*kind, code.unwrap_or(0), u8::from(code.is_some())]);
        }
        Kind::SourcePort(a, b) | Kind::DestPort(a, b) | Kind::FrameSize(a, b) => {
            out.extend_from_slice(&a.to_be_bytes());
            out.extend_from_slice(&b.to_be_bytes());
        }
        Kind::Characteristics(mask) => out.extend_from_slice(&mask.to_be_bytes()),
        Kind::Random(p) => out.extend_from_slice(&p.to_be_bytes()),
        Kind::TagsDifference(id, v)
        | Kind::TagsAnd(id, v)
        | Kind::TagsOr(id, v)
        | Kind::TagsXor(id, v)
        | Kind::TagsEqual(id, v)
        | Kind::TagSender(id, v)
        | Kind::TagReceiver(id, v) => {
            out.extend_from_slice(&id.to_be_bytes());
            out.extend_from_slice(&v.to_be_bytes());
        }
        Kind::IntegerRange(r) => {
            out.extend_from_slice(&r.start.to_be_bytes());
            out.extend_from_slice(&r.end().to_be_bytes());
            out.extend_from_slice(&r.index.to_be_bytes());
            out.push(r.format);
        }
        Kind::Unknown { value, .. } => out.extend_from_slice(&value[..value.len().min(255)]),
    }
}

/// Reads a list that runs to the end of `bytes`; entries beyond [`MAX_RULES`] are ignored.
///
/// # Errors
/// When the list ends inside an entry.
pub fn decode(bytes: &[u8]) -> Result<Vec<Rule>, DecodeError> {
    decode_limited(bytes, MAX_RULES).map(|(rules, _)| rules)
}

/// Reads at most `max` entries and says how many bytes they claim (see [`decode_one`]).
///
/// # Errors
/// When the list ends inside an entry.
pub fn decode_limited(bytes: &[u8], max: usize) -> Result<(Vec<Rule>, usize), DecodeError> {
    let mut rules = Vec::new();
    let mut at = 0;
    while at < bytes.len() && rules.len() < max {
        let (rule, length) =
            decode_one(&bytes[at..]).map_err(|e| DecodeError { what: e.what, at: at + e.at })?;
        rules.push(rule);
        at += length;
    }
    Ok((rules, at))
}

/// Reads the entry at the start of `bytes` and says how long it claims to be.
///
/// The length may exceed `bytes.len()` for an entry whose value is not looked at: the reference implementation reads
/// such a list without complaint, so a list that ends this way is accepted, and whoever expects more after the entry
/// finds the overrun.
///
/// # Errors
/// When the header or the layout of a known number does not fit into `bytes`.
pub fn decode_one(bytes: &[u8]) -> Result<(Rule, usize), DecodeError> {
    let [kind, length, value @ ..] = bytes else {
        return Err(DecodeError { what: "an entry header", at: bytes.len() });
    };
    let number = kind & 0x3f;
    let length = usize::from(*length);
    let rule = Rule {
        not: kind & 0x80 != 0,
        or: kind & 0x40 != 0,
        kind: decode_value(number, value, length)
            .ok_or(DecodeError { what: "an entry's value", at: bytes.len() })?,
    };
    Ok((rule, 2 + length))
}

/// `rest` is everything from the start of the value: a length byte that is too small does not hide the bytes behind it.
fn decode_value(number: u8, rest: &[u8], length: usize) -> Option<Kind> {
    let u16_at = |at: usize| rest.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]));
    let u32_at = |at: usize| rest.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    let u64_at = |at: usize| rest.first_chunk_at::<8>(at).map(u64::from_be_bytes);
    let target =
        || Some(Target { address: u64_at(0)? & ADDRESS_MASK, flags: u32_at(8)?, length: u16_at(12)? });
    let address = || {
        let b = rest.first_chunk_at::<5>(0)?;
        Some(u64::from_be_bytes([0, 0, 0, b[0], b[1], b[2], b[3], b[4]]))
    };
    let mac = || rest.first_chunk_at::<6>(0);
    let ipv4 = || Some((Ipv4Addr::from(rest.first_chunk_at::<4>(0)?), *rest.get(4)?));
    let ipv6 = || Some((Ipv6Addr::from(rest.first_chunk_at::<16>(0)?), *rest.get(16)?));
    let range = || Some((u16_at(0)?, u16_at(2)?));
    let tag = || Some((u32_at(0)?, u32_at(4)?));

    Some(match number {
        0 => Kind::Drop,
        1 => Kind::Accept,
        2 => Kind::Tee(target()?),
        3 => Kind::Watch(target()?),
        4 => Kind::Redirect(target()?),
        5 => Kind::Break,
        6 => Kind::Priority(0),
        24 => Kind::SourceAddress(address()?),
        25 => Kind::DestAddress(address()?),
        26 => Kind::VlanId(u16_at(0)?),
        27 => Kind::VlanPcp(*rest.first()?),
        28 => Kind::VlanDei(*rest.first()?),
        29 => Kind::MacSource(mac()?),
        30 => Kind::MacDest(mac()?),
        31 => pair(Kind::Ipv4Source, ipv4()?),
        32 => pair(Kind::Ipv4Dest, ipv4()?),
        33 => pair(Kind::Ipv6Source, ipv6()?),
        34 => pair(Kind::Ipv6Dest, ipv6()?),
        35 => {
            let [mask, start, end] = rest.first_chunk_at::<3>(0)?;
            Kind::IpTos { mask, start, end }
        }
        36 => Kind::IpProtocol(*rest.first()?),
        37 => Kind::Ethertype(u16_at(0)?),
        38 => {
            let [kind, code, flags] = rest.first_chunk_at::<3>(0)?;
            Kind::Icmp { kind, code: (flags & 1 != 0).then_some(code) }
        }
        39 => pair(Kind::SourcePort, range()?),
        40 => pair(Kind::DestPort, range()?),
        41 => Kind::Characteristics(u64_at(0)?),
        42 => pair(Kind::FrameSize, range()?),
        43 => Kind::Random(u32_at(0)?),
        44 => pair(Kind::TagsDifference, tag()?),
        45 => pair(Kind::TagsAnd, tag()?),
        46 => pair(Kind::TagsOr, tag()?),
        47 => pair(Kind::TagsXor, tag()?),
        48 => pair(Kind::TagsEqual, tag()?),
        49 => pair(Kind::TagSender, tag()?),
        50 => pair(Kind::TagReceiver, tag()?),
        51 => {
            let (start, end) = (u64_at(0)?, u64_at(8)?);
            // The evaluator's range is 32 bits wide whatever the sender meant.
            let span = end.wrapping_sub(start) as u32;
            Kind::IntegerRange(IntegerRange { start, span, index: u16_at(16)?, format: *rest.get(18)? })
        }
        number => Kind::Unknown { number, value: rest[..length.min(rest.len())].to_vec() },
    })
}

fn pair<A, B>(kind: impl FnOnce(A, B) -> Kind, (a, b): (A, B)) -> Kind {
    kind(a, b)
}

/// Fixed-size pieces of a slice.
trait ChunkAt {
    fn first_chunk_at<const N: usize>(&self, at: usize) -> Option<[u8; N]>;
}

impl ChunkAt for [u8] {
    fn first_chunk_at<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.get(at..)?.first_chunk::<N>().copied()
    }
}
