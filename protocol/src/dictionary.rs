//! The key/value text format of configurations and metadata.
//!
//! Lines `key=value`, separated by LF, ended by the end of the bytes or the first NUL. In values NUL, CR, LF, `\` and `=`
//! are written `\0 \r \n \\ \e`. The first line of a key counts. Specification: VL2 networks, dictionary text format.

use crate::Address;

/// A dictionary, being built or received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dictionary {
    bytes: Vec<u8>,
}

impl Dictionary {
    /// Without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A received one: everything before the first NUL.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        Self { bytes: bytes[..end].to_vec() }
    }

    /// The text, without a NUL at the end.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The text, without a NUL at the end.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends an entry. The key is written as it is and must not contain NUL, CR, LF or `=`.
    pub fn push_bytes(&mut self, key: &str, value: &[u8]) {
        debug_assert!(!key.contains(['\0', '\r', '\n', '=']), "not a key: {key:?}");
        if !self.bytes.is_empty() {
            self.bytes.push(b'\n');
        }
        self.bytes.extend_from_slice(key.as_bytes());
        self.bytes.push(b'=');
        self.bytes.reserve(value.len());
        for byte in value {
            let escaped = match byte {
                0 => b'0',
                b'\r' => b'r',
                b'\n' => b'n',
                b'\\' => b'\\',
                b'=' => b'e',
                plain => {
                    self.bytes.push(*plain);
                    continue;
                }
            };
            self.bytes.extend_from_slice(&[b'\\', escaped]);
        }
    }

    /// Appends a text.
    pub fn push_str(&mut self, key: &str, value: &str) {
        self.push_bytes(key, value.as_bytes());
    }

    /// Appends an unsigned integer: 16 hex digits.
    pub fn push_hex(&mut self, key: &str, value: u64) {
        self.push_str(key, &format!("{value:016x}"));
    }

    /// Appends a signed integer: 16 hex digits of the magnitude, after a `-` if negative.
    pub fn push_signed(&mut self, key: &str, value: i64) {
        let sign = if value < 0 { "-" } else { "" };
        self.push_str(key, &format!("{sign}{:016x}", value.unsigned_abs()));
    }

    /// Appends an address: 10 hex digits.
    pub fn push_address(&mut self, key: &str, value: Address) {
        self.push_str(key, &value.to_string());
    }

    /// Appends a boolean: `1` or `0`.
    pub fn push_bool(&mut self, key: &str, value: bool) {
        self.push_str(key, if value { "1" } else { "0" });
    }

    /// The value of a key, unescaped. A lone backslash at the end of the line is dropped, one before a character that needs
    /// none yields that character.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let raw = self.raw(key)?;
        let mut value = Vec::with_capacity(raw.len());
        let mut bytes = raw.iter();
        while let Some(byte) = bytes.next() {
            value.push(match (byte, bytes.as_slice().first()) {
                (b'\\', None) => break,
                (b'\\', Some(escaped)) => {
                    bytes.next();
                    match escaped {
                        b'0' => 0,
                        b'r' => b'\r',
                        b'n' => b'\n',
                        b'e' => b'=',
                        other => *other,
                    }
                }
                (plain, _) => *plain,
            });
        }
        Some(value)
    }

    /// The value of a key as text: up to its first NUL, what is not UTF-8 replaced; empty if the key is missing.
    #[must_use]
    pub fn get_str(&self, key: &str) -> String {
        self.get_text(key, usize::MAX)
    }

    /// Like [`Dictionary::get_str`], of at most `max` bytes of the value.
    #[must_use]
    pub fn get_text(&self, key: &str, max: usize) -> String {
        let value = self.get(key).unwrap_or_default();
        let end = value.iter().position(|b| *b == 0).unwrap_or(value.len()).min(max);
        String::from_utf8_lossy(&value[..end]).into_owned()
    }

    /// The value of a key as an unsigned integer in hex: blanks, a sign and `0x` may precede the digits, the first other
    /// character ends them, too large a number saturates. `default` if the key is missing or its value empty.
    #[must_use]
    pub fn get_hex(&self, key: &str, default: u64) -> u64 {
        match self.get(key).as_deref().map(parse_hex) {
            None | Some(None) => default,
            Some(Some((negative, magnitude))) => match u64::try_from(magnitude) {
                Ok(value) if negative => value.wrapping_neg(),
                Ok(value) => value,
                Err(_) => u64::MAX,
            },
        }
    }

    /// The value of a key as a signed integer in hex, read like [`Dictionary::get_hex`].
    #[must_use]
    pub fn get_signed(&self, key: &str, default: i64) -> i64 {
        match self.get(key).as_deref().map(parse_hex) {
            None | Some(None) => default,
            Some(Some((true, magnitude))) => i64::try_from(magnitude).map_or(i64::MIN, |v| v.wrapping_neg()),
            Some(Some((false, magnitude))) => i64::try_from(magnitude).unwrap_or(i64::MAX),
        }
    }

    /// The value of a key as an address (the low 40 bits of the number), null if missing.
    #[must_use]
    pub fn get_address(&self, key: &str) -> Address {
        Address::from_u64(self.get_hex(key, 0))
    }

    /// Whether the value of a key begins with `1`, `t` or `T`; `default` if the key is missing.
    #[must_use]
    pub fn get_bool(&self, key: &str, default: bool) -> bool {
        self.get(key).map_or(default, |value| matches!(value.first(), Some(b'1' | b't' | b'T')))
    }

    fn raw(&self, key: &str) -> Option<&[u8]> {
        self.bytes
            .split(|b| matches!(b, b'\n' | b'\r'))
            .find_map(|line| line.strip_prefix(key.as_bytes())?.strip_prefix(b"="))
    }
}

/// Sign and magnitude (capped at 2^64) of a hex number as C's `strtoull` reads it; `None` for an empty value.
fn parse_hex(value: &[u8]) -> Option<(bool, u128)> {
    if value.is_empty() {
        return None;
    }
    let blank = |b: &u8| matches!(b, b' ' | b'\t'..=b'\r');
    let mut rest = &value[value.iter().take_while(|b| blank(b)).count()..];
    let negative = rest.first() == Some(&b'-');
    if matches!(rest.first(), Some(b'+' | b'-')) {
        rest = &rest[1..];
    }
    if let [b'0', b'x' | b'X', digit, ..] = rest
        && digit.is_ascii_hexdigit()
    {
        rest = &rest[2..];
    }
    let mut magnitude: u128 = 0;
    for digit in rest.iter().map_while(|b| char::from(*b).to_digit(16)) {
        magnitude = (magnitude * 16 + u128::from(digit)).min(1 << 64);
    }
    Some((negative, magnitude))
}
