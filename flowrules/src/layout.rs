//! The operands of rules in the binary and the JSON form: one type for each layout, both forms both ways.
//!
//! Specification: flow rules, binary encoding and JSON form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value, json};

use crate::json::{boolean, int, string};
use crate::rule::{ADDRESS_MASK, IntegerRange, Target};

/// How operands of type `V` are written and read; in the JSON form they have so many fields.
pub(crate) trait Layout<V, const KEYS: usize> {
    /// Appends the binary form.
    fn encode(operands: V, out: &mut Vec<u8>);
    /// Reads it from the start of `bytes`, which may go on.
    fn decode(bytes: &[u8]) -> Option<V>;
    /// Puts the fields of the JSON form.
    fn show(operands: V, keys: [&'static str; KEYS], object: &mut Map<String, Value>);
    /// Reads them, leniently; `None` if the API does not accept the kind at all.
    fn read(keys: [&'static str; KEYS], object: &Map<String, Value>) -> Option<V>;
}

fn put(object: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    object.insert(key.to_owned(), value.into());
}

/// An unsigned integer, big-endian.
trait Unsigned: Copy + Into<Value> {
    fn append(self, out: &mut Vec<u8>);
    fn at(bytes: &[u8], at: usize) -> Option<Self>;
    /// The low bits of a number.
    fn low(number: u64) -> Self;
}

macro_rules! unsigned {
    ($($type:ty),*) => { $(
        impl Unsigned for $type {
            fn append(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            fn at(bytes: &[u8], at: usize) -> Option<Self> {
                chunk(bytes, at).map(<$type>::from_be_bytes)
            }

            fn low(number: u64) -> Self {
                number as $type
            }
        }
    )* };
}
unsigned!(u8, u16, u32, u64);

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// No operands.
pub(crate) struct Nothing;

impl Layout<(), 0> for Nothing {
    fn encode((): (), _: &mut Vec<u8>) {}

    fn decode(_: &[u8]) -> Option<()> {
        Some(())
    }

    fn show((): (), _: [&'static str; 0], _: &mut Map<String, Value>) {}

    fn read(_: [&'static str; 0], _: &Map<String, Value>) -> Option<()> {
        Some(())
    }
}

/// An integer.
pub(crate) struct Int;

impl<T: Unsigned> Layout<T, 1> for Int {
    fn encode(number: T, out: &mut Vec<u8>) {
        number.append(out);
    }

    fn decode(bytes: &[u8]) -> Option<T> {
        T::at(bytes, 0)
    }

    fn show(number: T, [key]: [&'static str; 1], object: &mut Map<String, Value>) {
        put(object, key, number);
    }

    fn read([key]: [&'static str; 1], object: &Map<String, Value>) -> Option<T> {
        Some(T::low(int(object.get(key), 0)))
    }
}

/// Two integers.
pub(crate) struct Pair;

impl<T: Unsigned> Layout<(T, T), 2> for Pair {
    fn encode((first, second): (T, T), out: &mut Vec<u8>) {
        first.append(out);
        second.append(out);
    }

    fn decode(bytes: &[u8]) -> Option<(T, T)> {
        Some((T::at(bytes, 0)?, T::at(bytes, size_of::<T>())?))
    }

    fn show((first, second): (T, T), keys: [&'static str; 2], object: &mut Map<String, Value>) {
        put(object, keys[0], first);
        put(object, keys[1], second);
    }

    fn read(keys: [&'static str; 2], object: &Map<String, Value>) -> Option<(T, T)> {
        let [first, second] = keys.map(|key| T::low(int(object.get(key), 0)));
        Some((first, second))
    }
}

/// First and last of a range; the last is the first unless JSON says otherwise.
pub(crate) struct Range;

impl Layout<(u16, u16), 2> for Range {
    fn encode(range: (u16, u16), out: &mut Vec<u8>) {
        Pair::encode(range, out);
    }

    fn decode(bytes: &[u8]) -> Option<(u16, u16)> {
        Pair::decode(bytes)
    }

    fn show(range: (u16, u16), keys: [&'static str; 2], object: &mut Map<String, Value>) {
        Pair::show(range, keys, object);
    }

    fn read([start, end]: [&'static str; 2], object: &Map<String, Value>) -> Option<(u16, u16)> {
        let start = int(object.get(start), 0) as u16;
        Some((start, int(object.get(end), start.into()) as u16))
    }
}

/// Three octets.
pub(crate) struct Bytes;

impl Layout<(u8, u8, u8), 3> for Bytes {
    fn encode((a, b, c): (u8, u8, u8), out: &mut Vec<u8>) {
        out.extend_from_slice(&[a, b, c]);
    }

    fn decode(bytes: &[u8]) -> Option<(u8, u8, u8)> {
        let [a, b, c] = chunk(bytes, 0)?;
        Some((a, b, c))
    }

    fn show((a, b, c): (u8, u8, u8), keys: [&'static str; 3], object: &mut Map<String, Value>) {
        for (key, value) in keys.into_iter().zip([a, b, c]) {
            put(object, key, value);
        }
    }

    fn read(keys: [&'static str; 3], object: &Map<String, Value>) -> Option<(u8, u8, u8)> {
        let [a, b, c] = keys.map(|key| int(object.get(key), 0) as u8);
        Some((a, b, c))
    }
}

/// The address of a node, five octets.
pub(crate) struct Node;

impl Layout<u64, 1> for Node {
    fn encode(address: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&address.to_be_bytes()[3..]);
    }

    fn decode(bytes: &[u8]) -> Option<u64> {
        let [a, b, c, d, e] = chunk(bytes, 0)?;
        Some(u64::from_be_bytes([0, 0, 0, a, b, c, d, e]))
    }

    fn show(address: u64, [key]: [&'static str; 1], object: &mut Map<String, Value>) {
        put(object, key, format!("{:010x}", address & ADDRESS_MASK));
    }

    fn read([key]: [&'static str; 1], object: &Map<String, Value>) -> Option<u64> {
        Some(hex_u64(&string(object.get(key), "0")) & ADDRESS_MASK)
    }
}

fn encode_target(to: Target, out: &mut Vec<u8>) {
    (to.address & ADDRESS_MASK).append(out);
    to.flags.append(out);
    to.length.append(out);
}

fn decode_target(bytes: &[u8]) -> Option<Target> {
    let address = u64::at(bytes, 0)? & ADDRESS_MASK;
    Some(Target { address, flags: u32::at(bytes, 8)?, length: u16::at(bytes, 12)? })
}

/// Where copies go, and how much of a frame.
pub(crate) struct CopyTo;

impl Layout<Target, 3> for CopyTo {
    fn encode(to: Target, out: &mut Vec<u8>) {
        encode_target(to, out);
    }

    fn decode(bytes: &[u8]) -> Option<Target> {
        decode_target(bytes)
    }

    fn show(to: Target, [address, flags, length]: [&'static str; 3], object: &mut Map<String, Value>) {
        RedirectTo::show(to, [address, flags], object);
        put(object, length, to.length);
    }

    fn read([address, flags, length]: [&'static str; 3], object: &Map<String, Value>) -> Option<Target> {
        let to = RedirectTo::read([address, flags], object)?;
        Some(Target { length: int(object.get(length), 0) as u16, ..to })
    }
}

/// Where frames go. The binary form has a length, which means nothing and is not shown.
pub(crate) struct RedirectTo;

impl Layout<Target, 2> for RedirectTo {
    fn encode(to: Target, out: &mut Vec<u8>) {
        encode_target(to, out);
    }

    fn decode(bytes: &[u8]) -> Option<Target> {
        decode_target(bytes)
    }

    fn show(to: Target, [address, flags]: [&'static str; 2], object: &mut Map<String, Value>) {
        Node::show(to.address, [address], object);
        put(object, flags, to.flags);
    }

    fn read([address, flags]: [&'static str; 2], object: &Map<String, Value>) -> Option<Target> {
        let address = Node::read([address], object)?;
        Some(Target { address, flags: int(object.get(flags), 0) as u32, length: 0 })
    }
}

/// A queue. The binary form does not carry it, so the API refuses it, as the reference controller does: it could not be
/// delivered to members.
pub(crate) struct Bucket;

impl Layout<u8, 1> for Bucket {
    fn encode(_: u8, _: &mut Vec<u8>) {}

    fn decode(_: &[u8]) -> Option<u8> {
        Some(0)
    }

    fn show(queue: u8, [key]: [&'static str; 1], object: &mut Map<String, Value>) {
        put(object, key, queue);
    }

    fn read(_: [&'static str; 1], _: &Map<String, Value>) -> Option<u8> {
        None
    }
}

/// A MAC address.
pub(crate) struct Mac;

impl Layout<[u8; 6], 1> for Mac {
    fn encode(mac: [u8; 6], out: &mut Vec<u8>) {
        out.extend_from_slice(&mac);
    }

    fn decode(bytes: &[u8]) -> Option<[u8; 6]> {
        chunk(bytes, 0)
    }

    fn show(mac: [u8; 6], [key]: [&'static str; 1], object: &mut Map<String, Value>) {
        let [a, b, c, d, e, f] = mac;
        put(object, key, format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"));
    }

    fn read([key]: [&'static str; 1], object: &Map<String, Value>) -> Option<[u8; 6]> {
        Some(mac(&string(object.get(key), "0")))
    }
}

/// An address of IP with a number of bits.
pub(crate) struct Prefix;

impl Layout<(Ipv4Addr, u8), 1> for Prefix {
    fn encode((ip, bits): (Ipv4Addr, u8), out: &mut Vec<u8>) {
        out.extend_from_slice(&ip.octets());
        out.push(bits);
    }

    fn decode(bytes: &[u8]) -> Option<(Ipv4Addr, u8)> {
        Some((Ipv4Addr::from(chunk::<4>(bytes, 0)?), *bytes.get(4)?))
    }

    fn show((ip, bits): (Ipv4Addr, u8), [key]: [&'static str; 1], object: &mut Map<String, Value>) {
        put(object, key, format!("{ip}/{bits}"));
    }

    fn read([key]: [&'static str; 1], object: &Map<String, Value>) -> Option<(Ipv4Addr, u8)> {
        let (ip, bits) = prefix(&string(object.get(key), "0.0.0.0"));
        let ip = if let Some(IpAddr::V4(ip)) = ip { ip } else { Ipv4Addr::UNSPECIFIED };
        Some((ip, bits.min(32) as u8))
    }
}

impl Layout<(Ipv6Addr, u8), 1> for Prefix {
    fn encode((ip, bits): (Ipv6Addr, u8), out: &mut Vec<u8>) {
        out.extend_from_slice(&ip.octets());
        out.push(bits);
    }

    fn decode(bytes: &[u8]) -> Option<(Ipv6Addr, u8)> {
        Some((Ipv6Addr::from(chunk::<16>(bytes, 0)?), *bytes.get(16)?))
    }

    fn show((ip, bits): (Ipv6Addr, u8), [key]: [&'static str; 1], object: &mut Map<String, Value>) {
        put(object, key, format!("{ip}/{bits}"));
    }

    fn read([key]: [&'static str; 1], object: &Map<String, Value>) -> Option<(Ipv6Addr, u8)> {
        let (ip, bits) = prefix(&string(object.get(key), "::0"));
        let ip = if let Some(IpAddr::V6(ip)) = ip { ip } else { Ipv6Addr::UNSPECIFIED };
        Some((ip, bits.min(128) as u8))
    }
}

/// Type and code of ICMP.
pub(crate) struct IcmpMessage;

impl Layout<(u8, Option<u8>), 2> for IcmpMessage {
    fn encode((kind, code): (u8, Option<u8>), out: &mut Vec<u8>) {
        out.extend_from_slice(&[kind, code.unwrap_or(0), u8::from(code.is_some())]);
    }

    fn decode(bytes: &[u8]) -> Option<(u8, Option<u8>)> {
        let [kind, code, flags] = chunk(bytes, 0)?;
        Some((kind, (flags & 1 != 0).then_some(code)))
    }

    fn show((kind, code): (u8, Option<u8>), keys: [&'static str; 2], object: &mut Map<String, Value>) {
        put(object, keys[0], kind);
        put(object, keys[1], json!(code));
    }

    fn read(keys: [&'static str; 2], object: &Map<String, Value>) -> Option<(u8, Option<u8>)> {
        let [kind, code] = keys.map(|key| object.get(key).filter(|value| !value.is_null()));
        Some((int(kind, 0) as u8, code.map(|code| int(Some(code), 0) as u8)))
    }
}

/// A mask of 64 bits.
pub(crate) struct Mask;

impl Layout<u64, 1> for Mask {
    fn encode(mask: u64, out: &mut Vec<u8>) {
        mask.append(out);
    }

    fn decode(bytes: &[u8]) -> Option<u64> {
        u64::at(bytes, 0)
    }

    fn show(mask: u64, [key]: [&'static str; 1], object: &mut Map<String, Value>) {
        put(object, key, format!("{mask:016x}"));
    }

    fn read([key]: [&'static str; 1], object: &Map<String, Value>) -> Option<u64> {
        Some(hex_or_int(object.get(key)))
    }
}

/// An integer somewhere in the payload. The API of the reference shows it and refuses to read it back; ours accepts it.
pub(crate) struct Integer;

impl Layout<IntegerRange, 5> for Integer {
    fn encode(range: IntegerRange, out: &mut Vec<u8>) {
        range.start.append(out);
        range.end().append(out);
        range.index.append(out);
        range.format.append(out);
    }

    fn decode(bytes: &[u8]) -> Option<IntegerRange> {
        let (start, end) = (u64::at(bytes, 0)?, u64::at(bytes, 8)?);
        // The evaluator's range is 32 bits wide whatever the sender meant.
        let span = end.wrapping_sub(start) as u32;
        Some(IntegerRange { start, span, index: u16::at(bytes, 16)?, format: u8::at(bytes, 18)? })
    }

    fn show(range: IntegerRange, keys: [&'static str; 5], object: &mut Map<String, Value>) {
        let [start, end, index, little, bits] = keys;
        put(object, start, format!("{:016x}", range.start));
        put(object, end, format!("{:016x}", range.end()));
        put(object, index, range.index);
        put(object, little, range.little_endian());
        put(object, bits, range.bits());
    }

    fn read(keys: [&'static str; 5], object: &Map<String, Value>) -> Option<IntegerRange> {
        let [start, end, index, little, bits] = keys.map(|key| object.get(key));
        let (start, end) = (hex_or_int(start), hex_or_int(end));
        let bits = int(bits, 1).clamp(1, 64) as u8;
        Some(IntegerRange {
            start,
            span: end.wrapping_sub(start) as u32,
            index: int(index, 0) as u16,
            format: (bits - 1) | (u8::from(boolean(little, false)) << 7),
        })
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
