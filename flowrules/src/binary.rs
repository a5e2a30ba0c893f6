//! The binary form of rule lists.
//!
//! Each entry: type byte (0x80 NOT, 0x40 OR, low six bits the number), length byte n, n bytes of value, integers
//! big-endian. A reader takes the layout it knows from the start of the value and goes on n bytes after that start,
//! whatever the layout needs. Specification: flow rules, binary encoding.

use crate::rule::{Kind, Rule};

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
    rule.kind.encode(out);
    out[length_at] = (out.len() - length_at - 1) as u8;
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
        // A length byte that is too small does not hide what is behind it.
        kind: Kind::decode(number, value, length)
            .ok_or(DecodeError { what: "an entry's value", at: bytes.len() })?,
    };
    Ok((rule, 2 + length))
}
