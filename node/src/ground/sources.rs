//! Where something came from, as far as one machine or one owner of addresses can be told from another: the unit in which strangers
//! are counted.
//!
//! Somebody on the Internet has as many ports as he likes, as many addresses as his prefix has, and as many identities as he has
//! patience. So what strangers may cost is measured by prefix: /24 and, for IPv6, /48.

use std::net::IpAddr;

use rand::{Rng, RngExt};

/// A /24 of IPv4 or a /48 of IPv6.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Source([u8; 7]);

impl Source {
    /// The prefix of an address.
    pub(crate) fn of(ip: IpAddr) -> Self {
        let mut key = [0u8; 7];
        match ip {
            IpAddr::V4(ip) => {
                key[0] = 4;
                key[1..4].copy_from_slice(&ip.octets()[..3]);
            }
            IpAddr::V6(ip) => {
                key[0] = 6;
                key[1..].copy_from_slice(&ip.octets()[..6]);
            }
        }
        Self(key)
    }

    /// Those of whom no physical address is known, all together: who was only heard through a relay.
    pub(crate) const RELAYED: Self = Self([0; 7]);

    /// Comes after all others.
    pub(crate) const LAST: Self = Self([0xff; 7]);

    /// Any, to begin a round of all of them anywhere.
    pub(crate) fn random(rng: &mut impl Rng) -> Self {
        let mut key: [u8; 7] = rng.random();
        key[0] = if key[0] & 1 == 0 { 4 } else { 6 };
        Self(key)
    }

    /// The wider prefix that owners of many prefixes have: /16 of IPv4, /32 of IPv6.
    pub(crate) fn wide(self) -> Self {
        let mut key = self.0;
        let kept = if key[0] == 4 { 3 } else { 5 };
        key[kept..].fill(0);
        key[0] |= 0x80;
        Self(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_prefix_is_one_source() {
        let of = |ip: &str| Source::of(ip.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("192.0.2.255"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("2001:db8:1::1"), of("2001:db8:1:ffff::2"));
        assert_ne!(of("2001:db8:1::1"), of("2001:db8:2::1"));
        assert_eq!(of("192.0.2.1").wide(), of("192.0.77.1").wide());
        assert_eq!(of("2001:db8:1::1").wide(), of("2001:db8:2::1").wide());
        assert_ne!(of("192.0.2.1").wide(), of("192.1.2.1").wide());
        assert_ne!(of("0.0.0.0"), Source::RELAYED);
    }
}
