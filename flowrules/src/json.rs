//! The JSON form of rules, as the controller API shows and accepts them.
//!
//! An object with `type` and, for matches, `not` and `or`. Reading is lenient in the way existing tools rely on:
//! numbers may be decimal strings, booleans may be numbers or strings, missing fields have defaults. Specification:
//! flow rules, JSON form; controller HTTP API, type coercion.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value, json};

use crate::rule::{ADDRESS_MASK, IntegerRange, Kind, Rule, Target};

impl Kind {
    /// The `type` of the JSON form; numbers without a name are `UNKNOWN_ACTION_n` and `UNKNOWN_MATCH_n`.
    pub fn name(&self) -> std::borrow::Cow<'static, str> {
        let name = match self {
            Kind::Drop => "ACTION_DROP",
            Kind::Accept => "ACTION_ACCEPT",
            Kind::Tee(_) => "ACTION_TEE",
            Kind::Watch(_) => "ACTION_WATCH",
            Kind::Redirect(_) => "ACTION_REDIRECT",
            Kind::Break => "ACTION_BREAK",
            Kind::Priority(_) => "ACTION_PRIORITY",
            Kind::SourceAddress(_) => "MATCH_SOURCE_ZEROTIER_ADDRESS",
            Kind::DestAddress(_) => "MATCH_DEST_ZEROTIER_ADDRESS",
            Kind::VlanId(_) => "MATCH_VLAN_ID",
            Kind::VlanPcp(_) => "MATCH_VLAN_PCP",
            Kind::VlanDei(_) => "MATCH_VLAN_DEI",
            Kind::MacSource(_) => "MATCH_MAC_SOURCE",
            Kind::MacDest(_) => "MATCH_MAC_DEST",
            Kind::Ipv4Source(..) => "MATCH_IPV4_SOURCE",
            Kind::Ipv4Dest(..) => "MATCH_IPV4_DEST",
            Kind::Ipv6Source(..) => "MATCH_IPV6_SOURCE",
            Kind::Ipv6Dest(..) => "MATCH_IPV6_DEST",
            Kind::IpTos { .. } => "MATCH_IP_TOS",
            Kind::IpProtocol(_) => "MATCH_IP_PROTOCOL",
            Kind::Ethertype(_) => "MATCH_ETHERTYPE",
            Kind::Icmp { .. } => "MATCH_ICMP",
            Kind::SourcePort(..) => "MATCH_IP_SOURCE_PORT_RANGE",
            Kind::DestPort(..) => "MATCH_IP_DEST_PORT_RANGE",
            Kind::Characteristics(_) => "MATCH_CHARACTERISTICS",
            Kind::FrameSize(..) => "MATCH_FRAME_SIZE_RANGE",
            Kind::Random(_) => "MATCH_RANDOM",
            Kind::TagsDifference(..) => "MATCH_TAGS_DIFFERENCE",
            Kind::TagsAnd(..) => "MATCH_TAGS_BITWISE_AND",
            Kind::TagsOr(..) => "MATCH_TAGS_BITWISE_OR",
            Kind::TagsXor(..) => "MATCH_TAGS_BITWISE_XOR",
            Kind::TagsEqual(..) => "MATCH_TAGS_EQUAL",
            Kind::TagSender(..) => "MATCH_TAG_SENDER",
            Kind::TagReceiver(..) => "MATCH_TAG_RECEIVER",
            Kind::IntegerRange(_) => "INTEGER_RANGE",
            Kind::Unknown { number, .. } => {
                let class = if self.is_action() { "ACTION" } else { "MATCH" };
                return format!("UNKNOWN_{class}_{number}").into();
            }
        };
        name.into()
    }
}

/// Renders an entry.
pub fn to_json(rule: &Rule) -> Value {
    let mut out = Map::new();
    out.insert("type".into(), rule.kind.name().into());
    if !rule.kind.is_action() {
        out.insert("not".into(), rule.not.into());
        out.insert("or".into(), rule.or.into());
    }
    let mut put = |key: &str, value: Value| {
        out.insert(key.into(), value);
    };
    match &rule.kind {
        Kind::Drop | Kind::Accept | Kind::Break | Kind::Unknown { .. } => {}
        Kind::Tee(t) | Kind::Watch(t) => {
            put("address", address_text(t.address));
            put("flags", t.flags.into());
            put("length", t.length.into());
        }
        Kind::Redirect(t) => {
            put("address", address_text(t.address));
            put("flags", t.flags.into());
        }
        Kind::Priority(bucket) => put("qosBucket", (*bucket).into()),
        Kind::SourceAddress(a) | Kind::DestAddress(a) => put("zt", address_text(*a)),
        Kind::VlanId(v) => put("vlanId", (*v).into()),
        Kind::VlanPcp(v) => put("vlanPcp", (*v).into()),
        Kind::VlanDei(v) => put("vlanDei", (*v).into()),
        Kind::MacSource(m) | Kind::MacDest(m) => {
            let [a, b, c, d, e, f] = m;
            put("mac", format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}").into());
        }
        Kind::Ipv4Source(ip, bits) | Kind::Ipv4Dest(ip, bits) => put("ip", format!("{ip}/{bits}").into()),
        Kind::Ipv6Source(ip, bits) | Kind::Ipv6Dest(ip, bits) => put("ip", format!("{ip}/{bits}").into()),
        Kind::IpTos { mask, start, end } => {
            put("mask", (*mask).into());
            put("start", (*start).into());
            put("end", (*end).into());
        }
        Kind::IpProtocol(v) => put("ipProtocol", (*v).into()),
        Kind::Ethertype(v) => put("etherType", (*v).into()),
        Kind::Icmp { kind, code } => {
            put("icmpType", (*kind).into());
            put("icmpCode", json!(code));
        }
        Kind::SourcePort(a, b) | Kind::DestPort(a, b) | Kind::FrameSize(a, b) => {
            put("start", (*a).into());
            put("end", (*b).into());
        }
        Kind::Characteristics(mask) => put("mask", format!("{mask:016x}").into()),
        Kind::Random(p) => put("probability", (*p).into()),
        Kind::TagsDifference(id, v)
        | Kind::TagsAnd(id, v)
        | Kind::TagsOr(id, v)
        | Kind::TagsXor(id, v)
        | Kind::TagsEqual(id, v)
        | Kind::TagSender(id, v)
        | Kind::TagReceiver(id, v) => {
            put("id", (*id).into());
            put("value", (*v).into());
        }
        Kind::IntegerRange(r) => {
            put("start", format!("{:016x}", r.start).into());
            put("end", format!("{:016x}", r.end()).into());
            put("idx", r.index.into());
            put("little", r.little_endian().into());
            put("bits", r.bits().into());
        }
    }
    Value::Object(out)
}

fn address_text(address: u64) -> Value {
    format!("{:010x}", address & ADDRESS_MASK).into()
}

/// Reads an entry; `None` if it is not an object or its `type` is not one the API accepts.
///
/// ACTION_PRIORITY is refused as in the reference controller (its queue could not be delivered to members).
/// INTEGER_RANGE, which the reference renders and refuses to read back, is accepted.
pub fn from_json(value: &Value) -> Option<Rule> {
    let object = value.as_object()?;
    let int = |key: &str| int(object.get(key), 0);
    let range = || {
        let start = int("start") as u16;
        (start, self::int(object.get("end"), u64::from(start)) as u16)
    };
    let target = |length: u16| Target {
        address: hex_u64(&string(object.get("address"), "0")) & ADDRESS_MASK,
        flags: int("flags") as u32,
        length,
    };
    let zt = || hex_u64(&string(object.get("zt"), "0")) & ADDRESS_MASK;
    let tag = || (int("id") as u32, int("value") as u32);
    let ipv4 = || prefix_v4(&string(object.get("ip"), "0.0.0.0"));
    let ipv6 = || prefix_v6(&string(object.get("ip"), "::0"));
    let mac = || mac(&string(object.get("mac"), "0"));
    let kind = match string(object.get("type"), "").as_ref() {
        "ACTION_DROP" => Kind::Drop,
        "ACTION_ACCEPT" => Kind::Accept,
        "ACTION_TEE" => Kind::Tee(target(int("length") as u16)),
        "ACTION_WATCH" => Kind::Watch(target(int("length") as u16)),
        "ACTION_REDIRECT" => Kind::Redirect(target(0)),
        "ACTION_BREAK" => Kind::Break,
        "MATCH_SOURCE_ZEROTIER_ADDRESS" => Kind::SourceAddress(zt()),
        "MATCH_DEST_ZEROTIER_ADDRESS" => Kind::DestAddress(zt()),
        "MATCH_VLAN_ID" => Kind::VlanId(int("vlanId") as u16),
        "MATCH_VLAN_PCP" => Kind::VlanPcp(int("vlanPcp") as u8),
        "MATCH_VLAN_DEI" => Kind::VlanDei(int("vlanDei") as u8),
        "MATCH_MAC_SOURCE" => Kind::MacSource(mac()),
        "MATCH_MAC_DEST" => Kind::MacDest(mac()),
        "MATCH_IPV4_SOURCE" => {
            let (ip, bits) = ipv4();
            Kind::Ipv4Source(ip, bits)
        }
        "MATCH_IPV4_DEST" => {
            let (ip, bits) = ipv4();
            Kind::Ipv4Dest(ip, bits)
        }
        "MATCH_IPV6_SOURCE" => {
            let (ip, bits) = ipv6();
            Kind::Ipv6Source(ip, bits)
        }
        "MATCH_IPV6_DEST" => {
            let (ip, bits) = ipv6();
            Kind::Ipv6Dest(ip, bits)
        }
        "MATCH_IP_TOS" => {
            Kind::IpTos { mask: int("mask") as u8, start: int("start") as u8, end: int("end") as u8 }
        }
        "MATCH_IP_PROTOCOL" => Kind::IpProtocol(int("ipProtocol") as u8),
        "MATCH_ETHERTYPE" => Kind::Ethertype(int("etherType") as u16),
        "MATCH_ICMP" => Kind::Icmp {
            kind: int("icmpType") as u8,
            code: match object.get("icmpCode") {
                None | Some(Value::Null) => None,
                Some(_) => Some(int("icmpCode") as u8),
            },
        },
        "MATCH_IP_SOURCE_PORT_RANGE" => {
            let (start, end) = range();
            Kind::SourcePort(start, end)
        }
        "MATCH_IP_DEST_PORT_RANGE" => {
            let (start, end) = range();
            Kind::DestPort(start, end)
        }
        "MATCH_FRAME_SIZE_RANGE" => {
            let (start, end) = range();
            Kind::FrameSize(start, end)
        }
        "MATCH_CHARACTERISTICS" => Kind::Characteristics(hex_or_int(object.get("mask"))),
        "MATCH_RANDOM" => Kind::Random(int("probability") as u32),
        "MATCH_TAGS_DIFFERENCE" => Kind::TagsDifference(tag().0, tag().1),
        "MATCH_TAGS_BITWISE_AND" => Kind::TagsAnd(tag().0, tag().1),
        "MATCH_TAGS_BITWISE_OR" => Kind::TagsOr(tag().0, tag().1),
        "MATCH_TAGS_BITWISE_XOR" => Kind::TagsXor(tag().0, tag().1),
        "MATCH_TAGS_EQUAL" => Kind::TagsEqual(tag().0, tag().1),
        "MATCH_TAG_SENDER" => Kind::TagSender(tag().0, tag().1),
        "MATCH_TAG_RECEIVER" => Kind::TagReceiver(tag().0, tag().1),
        "INTEGER_RANGE" => {
            let start = hex_or_int(object.get("start"));
            let end = hex_or_int(object.get("end"));
            let bits = self::int(object.get("bits"), 1).clamp(1, 64) as u8;
            Kind::IntegerRange(IntegerRange {
                start,
                span: end.wrapping_sub(start) as u32,
                index: int("idx") as u16,
                format: (bits - 1) | (u8::from(boolean(object.get("little"), false)) << 7),
            })
        }
        _ => return None,
    };
    let match_bit = |key: &str| !kind.is_action() && boolean(object.get(key), false);
    Some(Rule { not: match_bit("not"), or: match_bit("or"), kind })
}

/// A JSON value where an integer is wanted: a number (negative wraps to 64 bits, a fraction is cut), the leading
/// decimal digits of a string, a boolean as 0 or 1, else `default`.
pub fn int(value: Option<&Value>, default: u64) -> u64 {
    match value {
        Some(Value::Number(n)) => n.as_u64().or_else(|| n.as_i64().map(|v| v as u64)).unwrap_or_else(|| {
            n.as_f64().map_or(default, |v| if v < 0.0 { v as i64 as u64 } else { v as u64 })
        }),
        Some(Value::String(s)) => {
            let s = s.trim_start();
            let digits = s.len() - s.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            if digits == 0 { 0 } else { s[..digits].parse().unwrap_or(u64::MAX) }
        }
        Some(Value::Bool(b)) => u64::from(*b),
        _ => default,
    }
}

/// A JSON value where a boolean is wanted: a number is true above zero, a string if it begins with `t`, `T` or `1`.
pub fn boolean(value: Option<&Value>, default: bool) -> bool {
    match value {
        Some(Value::Bool(b)) => *b,
        Some(Value::Number(n)) => n.as_f64().is_some_and(|v| v > 0.0),
        Some(Value::String(s)) => matches!(s.as_bytes().first(), Some(b't' | b'T' | b'1')),
        _ => default,
    }
}

/// A JSON value where a string is wanted: a number as decimal text, a boolean as `1` or `0`.
pub fn string<'a>(value: Option<&'a Value>, default: &'a str) -> std::borrow::Cow<'a, str> {
    match value {
        Some(Value::String(s)) => s.as_str().into(),
        Some(Value::Number(n)) => n.to_string().into(),
        Some(Value::Bool(b)) => if *b { "1" } else { "0" }.into(),
        _ => default.into(),
    }
}

fn hex_or_int(value: Option<&Value>) -> u64 {
    match value {
        Some(Value::String(s)) => hex_u64(s),
        other => int(other, 0),
    }
}

/// The leading hex digits of a text after blanks and an optional `0x`, saturating.
fn hex_u64(text: &str) -> u64 {
    let text = text.trim_start();
    let text = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let mut value: u64 = 0;
    for digit in text.chars().map_while(|c| c.to_digit(16)) {
        if value >> 60 != 0 {
            return u64::MAX;
        }
        value = (value << 4) | u64::from(digit);
    }
    value
}

/// Twelve hex digits after dropping `:` and `-`; missing digits are zero, surplus ones are ignored.
fn mac(text: &str) -> [u8; 6] {
    let mut digits = text.chars().filter(|c| *c != ':' && *c != '-');
    let mut out = [0; 6];
    for byte in &mut out {
        let (Some(high), Some(low)) = (digits.next(), digits.next()) else { break };
        *byte = ((high.to_digit(16).unwrap_or(0) << 4) | low.to_digit(16).unwrap_or(0)) as u8;
    }
    out
}

/// `address/bits`: missing bits are 0, an unparsable address or one of the other family is the all-zero address.
fn prefix(text: &str) -> (Option<IpAddr>, u64) {
    let (address, bits) = text.split_once('/').unwrap_or((text, ""));
    let digits = bits.len() - bits.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let bits = if digits == 0 { 0 } else { bits[..digits].parse().unwrap_or(u64::MAX) };
    (address.parse().ok(), bits)
}

fn prefix_v4(text: &str) -> (Ipv4Addr, u8) {
    let (ip, bits) = prefix(text);
    let ip = if let Some(IpAddr::V4(ip)) = ip { ip } else { Ipv4Addr::UNSPECIFIED };
    (ip, bits.min(32) as u8)
}

fn prefix_v6(text: &str) -> (Ipv6Addr, u8) {
    let (ip, bits) = prefix(text);
    let ip = if let Some(IpAddr::V6(ip)) = ip { ip } else { Ipv6Addr::UNSPECIFIED };
    (ip, bits.min(128) as u8)
}
