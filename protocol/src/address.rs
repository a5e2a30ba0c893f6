//! The 40-bit address of a node. Specification: VL1 addresses.

use core::fmt;
use core::str::FromStr;

use crate::{Malformed, Result};

/// A node's address: 40 bits, five bytes big-endian on the wire, ten lower-case hex digits in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Address(u64);

impl Address {
    /// "No address".
    pub const NULL: Self = Self(0);

    /// Bytes an address takes on the wire.
    pub const LEN: usize = 5;

    /// The low 40 bits of `value`.
    #[inline]
    #[must_use]
    pub const fn from_u64(value: u64) -> Self {
        Self(value & 0xff_ffff_ffff)
    }

    /// The address as a number below 2^40.
    #[inline]
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// From the wire form.
    #[inline]
    #[must_use]
    pub const fn from_bytes(b: [u8; 5]) -> Self {
        Self(u64::from_be_bytes([0, 0, 0, b[0], b[1], b[2], b[3], b[4]]))
    }

    /// The wire form.
    #[inline]
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 5] {
        let [_, _, _, a, b, c, d, e] = self.0.to_be_bytes();
        [a, b, c, d, e]
    }

    /// Whether no node may own this address: it is null, or its first byte is `ff` (the mark of a fragment on the
    /// wire).
    #[inline]
    #[must_use]
    pub const fn is_reserved(self) -> bool {
        self.0 == 0 || self.0 >> 32 == 0xff
    }

    /// Whether this is [`Address::NULL`].
    #[inline]
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010x}", self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Address {
    type Err = Malformed;

    /// Exactly ten hex digits, of either case. Null and reserved addresses are not refused here.
    fn from_str(text: &str) -> Result<Self> {
        hex_number(text, 10, "address").map(Self)
    }
}

/// Exactly `digits` (at most 16) hex digits as a number.
pub(crate) fn hex_number(text: &str, digits: usize, what: &'static str) -> Result<u64> {
    if let Some(at) = text.bytes().position(|c| !c.is_ascii_hexdigit()) {
        return Err(Malformed { what, at });
    }
    if text.len() != digits {
        return Err(Malformed { what, at: text.len().min(digits) });
    }
    u64::from_str_radix(text, 16).map_err(|_| Malformed { what, at: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_wire_forms() {
        let address: Address = "89E92ceee5".parse().unwrap();
        assert_eq!(address.to_string(), "89e92ceee5");
        assert_eq!(address.to_bytes(), [0x89, 0xe9, 0x2c, 0xee, 0xe5]);
        assert_eq!(Address::from_bytes(address.to_bytes()), address);
        assert_eq!(Address::from_u64(0xffab_cd89_e92c_eee5), address);
        for bad in ["", "89e92ceee", "89e92ceee55", "+9e92ceee5", "89e92ceeeg", "89e92ceeé"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn reserved() {
        assert!(Address::NULL.is_reserved());
        assert!(Address::from_u64(0xff_0000_0001).is_reserved());
        assert!(!Address::from_u64(0xfe_ffff_ffff).is_reserved());
    }
}
