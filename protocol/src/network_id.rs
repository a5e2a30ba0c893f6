//! The 64-bit ID of a virtual network. Specification: VL2 networks.

use core::fmt;
use core::str::FromStr;

use crate::address::hex_number;
use crate::{Address, Malformed, Result};

/// A virtual network's ID: 64 bits, eight bytes big-endian on the wire, sixteen lower-case hex digits in text. The
/// upper 40 bits are the address of its controller.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NetworkId(pub u64);

impl NetworkId {
    /// Address of the node that decides about this network (meaningless for ad-hoc networks).
    #[inline]
    #[must_use]
    pub const fn controller(self) -> Address {
        Address::from_u64(self.0 >> 24)
    }

    /// Whether the network has no controller: the top byte is `ff`, an address no node can own, and members make
    /// up the configuration themselves.
    #[inline]
    #[must_use]
    pub const fn is_adhoc(self) -> bool {
        self.0 >> 56 == 0xff
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NetworkId {
    type Err = Malformed;

    /// Exactly sixteen hex digits, of either case.
    fn from_str(text: &str) -> Result<Self> {
        hex_number(text, 16, "network ID").map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_text() {
        let network: NetworkId = "1c33c1ced07ac85d".parse().unwrap();
        assert_eq!(network.controller().to_string(), "1c33c1ced0");
        assert_eq!(network.to_string(), "1c33c1ced07ac85d");
        assert!(!network.is_adhoc());
        assert!(NetworkId(0xff00_1600_1600_0000).is_adhoc());
        assert!("1c33c1ced07ac85".parse::<NetworkId>().is_err());
        assert!("1c33c1ced07ac85d0".parse::<NetworkId>().is_err());
    }
}
