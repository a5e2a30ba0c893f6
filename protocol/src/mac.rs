//! Ethernet addresses of members. Specification: VL2 networks, MAC addresses.

use core::fmt;
use core::str::FromStr;

use crate::{Address, Malformed, NetworkId, Result};

/// An Ethernet MAC address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// First octet of the MACs of all members of `network`: unicast and locally administered, and never `52`, which
    /// hypervisors use.
    #[inline]
    #[must_use]
    pub const fn first_octet(network: NetworkId) -> u8 {
        match (network.0 as u8) & 0xfe | 0x02 {
            0x52 => 0x32,
            octet => octet,
        }
    }

    /// The network ID's bytes 1 to 5, counted from the least significant one, which mask the member's address.
    const fn mask(network: NetworkId) -> [u8; 5] {
        let [_, a, b, c, d, e, _, _] = network.0.to_le_bytes();
        [a, b, c, d, e]
    }

    /// The MAC of `member` on `network`. A member's MACs differ from network to network.
    #[inline]
    #[must_use]
    pub const fn for_member(network: NetworkId, member: Address) -> Self {
        let n = Self::mask(network);
        let a = member.to_bytes();
        Self([Self::first_octet(network), a[0] ^ n[0], a[1] ^ n[1], a[2] ^ n[2], a[3] ^ n[3], a[4] ^ n[4]])
    }

    /// The member of `network` this MAC belongs to, or `None` if its first octet is not that of the network's
    /// members (a device behind a bridge, or a multicast address).
    #[inline]
    #[must_use]
    pub const fn member(self, network: NetworkId) -> Option<Address> {
        if self.0[0] != Self::first_octet(network) {
            return None;
        }
        let n = Self::mask(network);
        let m = self.0;
        Some(Address::from_bytes([m[1] ^ n[0], m[2] ^ n[1], m[3] ^ n[2], m[4] ^ n[3], m[5] ^ n[4]]))
    }

    /// Whether the group bit is set; true for broadcast too.
    #[inline]
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether this is [`Mac::BROADCAST`].
    #[inline]
    #[must_use]
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }

    /// Whether all six octets are zero.
    #[inline]
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == [0; 6]
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = Malformed;

    /// Six groups of two hex digits with colons between them, or twelve hex digits; of either case.
    fn from_str(text: &str) -> Result<Self> {
        let refuse = |at| Malformed { what: "MAC address", at };
        let step = match text.len() {
            17 => 3,
            12 => 2,
            length => return Err(refuse(length)),
        };
        let text = text.as_bytes();
        let mut octets = [0; 6];
        for (i, octet) in octets.iter_mut().enumerate() {
            for at in [i * step, i * step + 1] {
                let digit = char::from(text[at]).to_digit(16).ok_or_else(|| refuse(at))?;
                *octet = *octet << 4 | digit as u8;
            }
            if step == 3 && i < 5 && text[i * 3 + 2] != b':' {
                return Err(refuse(i * 3 + 2));
            }
        }
        Ok(Self(octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_member_and_back() {
        let network = NetworkId(0x1c33_c1ce_d07a_c85d);
        let member = Address::from_u64(0x89_e92c_eee5);
        let mac = Mac::for_member(network, member);
        assert_eq!(mac.to_string(), "5e:41:93:fc:20:24");
        assert_eq!(mac.member(network), Some(member));
        assert_eq!(Mac([0x02, 1, 2, 3, 4, 5]).member(network), None);
        assert_eq!(Mac::first_octet(NetworkId(0x1d71_9394_0491_2b52)), 0x32);
    }

    #[test]
    fn text() {
        let mac = Mac([0x5e, 0x41, 0x93, 0xfc, 0x20, 0x24]);
        assert_eq!("5E:41:93:fc:20:24".parse(), Ok(mac));
        assert_eq!("5e4193fc2024".parse(), Ok(mac));
        for bad in [
            "",
            "5e:41:93:fc:20",
            "5e:41:93:fc:20:2g",
            "5e-41-93-fc-20-24",
            "5e:41:93:fc:20:é",
            "5é4193fc2024",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
        assert!(Mac::BROADCAST.is_broadcast() && Mac::BROADCAST.is_multicast());
        assert!(!mac.is_multicast() && !mac.is_broadcast());
    }
}
