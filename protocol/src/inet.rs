//! Physical and managed IP addresses: their wire form, their scope, and prefixes. Specification: VL1 verbs, address
//! encodings; VL1 behaviour, IP scopes.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

use crate::{Malformed, Reader, Result};

/// Appends an address in wire form: `00` for none, `04`, four bytes and the port, or `06`, sixteen bytes and the
/// port. Scope IDs and flow labels are not carried.
pub fn encode_inet(to: &mut Vec<u8>, address: Option<SocketAddr>) {
    match address {
        None => to.push(0),
        Some(SocketAddr::V4(v4)) => {
            to.push(4);
            to.extend_from_slice(&v4.ip().octets());
            to.extend_from_slice(&v4.port().to_be_bytes());
        }
        Some(SocketAddr::V6(v6)) => {
            to.push(6);
            to.extend_from_slice(&v6.ip().octets());
            to.extend_from_slice(&v6.port().to_be_bytes());
        }
    }
}

impl Reader<'_> {
    /// An address in wire form. The reserved forms for other media (types 1, 2 and 3) read as none.
    ///
    /// # Errors
    /// [`Malformed`] if truncated or of an unknown type.
    pub fn inet(&mut self, what: &'static str) -> Result<Option<SocketAddr>> {
        let start = self.clone();
        Ok(match self.u8(what)? {
            0 => None,
            1 | 2 => {
                self.bytes(6, what)?;
                None
            }
            3 => {
                let length = self.u16(what)?;
                self.bytes(length.into(), what)?;
                None
            }
            4 => {
                let ip = Ipv4Addr::from(self.array::<4>(what)?);
                Some(SocketAddr::new(ip.into(), self.u16(what)?))
            }
            6 => {
                let ip = Ipv6Addr::from(self.array::<16>(what)?);
                Some(SocketAddr::new(ip.into(), self.u16(what)?))
            }
            _ => return Err(start.fail(what)),
        })
    }
}

/// How far an IP address reaches. Larger is preferred when paths are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Scope {
    /// No usable address.
    None = 0,
    /// Multicast, and so no address of a node.
    Multicast = 1,
    /// This machine.
    Loopback = 2,
    /// Officially global space of organisations that use it internally.
    PseudoPrivate = 3,
    /// The Internet.
    Global = 4,
    /// This link.
    LinkLocal = 5,
    /// Shared between sites; nothing maps to it.
    Shared = 6,
    /// Private networks, including the space of carrier-grade NAT and that of documentation.
    Private = 7,
}

/// The scope of an address.
#[must_use]
pub fn scope(ip: IpAddr) -> Scope {
    match ip {
        IpAddr::V4(ip) => scope_v4(ip),
        IpAddr::V6(ip) => scope_v6(ip),
    }
}

fn scope_v4(ip: Ipv4Addr) -> Scope {
    match ip.octets() {
        [0 | 255, ..] => Scope::None,
        [127, ..] => Scope::Loopback,
        [169, 254, ..] => Scope::LinkLocal,
        [10, ..]
        | [100, 64..=127, ..]
        | [172, 16..=31, ..]
        | [192, 168, ..]
        | [192, 0, 2, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Scope::Private,
        [6 | 11 | 21 | 22 | 25 | 26 | 28 | 29 | 30 | 51 | 55 | 56 | 240..=254, ..] => Scope::PseudoPrivate,
        [224..=239, ..] => Scope::Multicast,
        _ => Scope::Global,
    }
}

fn scope_v6(ip: Ipv6Addr) -> Scope {
    if ip.is_unspecified() {
        return Scope::None;
    }
    if ip.is_loopback() {
        return Scope::Loopback;
    }
    if ip.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()) {
        return Scope::Loopback;
    }
    let [first, second, ..] = ip.octets();
    match first {
        0xff => Scope::Multicast,
        // fe80::1 names the loopback interface of some systems; the reference ignores the six bits between prefix and
        // host.
        0xfe if second & 0xc0 == 0x80 && ip.to_bits() << 16 == 1 << 16 => Scope::Loopback,
        0xfe if second & 0xc0 == 0x80 => Scope::LinkLocal,
        0xfc | 0xfd => Scope::Private,
        _ => Scope::Global,
    }
}

/// Whether a physical path may lead to this address at all: a scope that reaches another machine, and not the
/// tunnel broker 2001:470::/32.
#[must_use]
pub fn usable_for_paths(ip: IpAddr) -> bool {
    let reaches = matches!(scope(ip), Scope::PseudoPrivate | Scope::Global | Scope::Shared | Scope::Private);
    let tunnel = matches!(ip, IpAddr::V6(v6) if v6.octets().starts_with(&[0x20, 0x01, 0x04, 0x70]));
    reaches && !tunnel
}

/// An IP address with a prefix length: a managed address or the target of a route.
///
/// Wire form: that of an address, with the prefix length where the port stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// The address; host bits may be set.
    pub ip: IpAddr,
    /// Length of the prefix, at most 32 or 128.
    pub bits: u8,
}

impl Prefix {
    /// A prefix, unless `bits` is more than the address has.
    #[must_use]
    pub fn new(ip: IpAddr, bits: u8) -> Option<Self> {
        (bits <= width(ip)).then_some(Self { ip, bits })
    }

    /// From the wire form; `None` if the number in place of the port is no prefix length of the family.
    #[must_use]
    pub fn from_socket_addr(address: SocketAddr) -> Option<Self> {
        Self::new(address.ip(), u8::try_from(address.port()).ok()?)
    }

    /// For the wire form: the prefix length as port.
    #[must_use]
    pub fn to_socket_addr(self) -> SocketAddr {
        SocketAddr::new(self.ip, self.bits.into())
    }

    /// Whether `ip` is of the same family and its first `bits` bits are those of this prefix.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(ours), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits.min(32))).unwrap_or(0);
                (ours.to_bits() ^ ip.to_bits()) & mask == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits.min(128))).unwrap_or(0);
                (ours.to_bits() ^ ip.to_bits()) & mask == 0
            }
            _ => false,
        }
    }

    /// The same prefix with all host bits cleared.
    #[must_use]
    pub fn network(&self) -> Self {
        let ip = match self.ip {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits.min(32))).unwrap_or(0);
                Ipv4Addr::from_bits(ip.to_bits() & mask).into()
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits.min(128))).unwrap_or(0);
                Ipv6Addr::from_bits(ip.to_bits() & mask).into()
            }
        };
        Self { ip, bits: self.bits }
    }

    /// Whether this is `0.0.0.0/0` or `::/0`.
    #[must_use]
    pub fn is_default_route(&self) -> bool {
        self.bits == 0 && self.ip.is_unspecified()
    }
}

/// Bits of an address of this family.
fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.bits)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Prefix {
    type Err = Malformed;

    /// `ip/bits`; both parts are required.
    fn from_str(text: &str) -> Result<Self> {
        let what = "prefix";
        let (ip, number) = ip_and_number(text, what)?;
        u8::try_from(number)
            .ok()
            .and_then(|bits| Self::new(ip, bits))
            .ok_or(Malformed { what, at: text.find('/').map_or(0, |slash| slash + 1) })
    }
}

/// An IP address with a port, in the notation of ZeroTier's tools: `192.0.2.1/9993`, `2001:db8::1/9993`.
#[must_use]
pub fn format_endpoint(endpoint: SocketAddr) -> String {
    format!("{}/{}", endpoint.ip(), endpoint.port())
}

/// The inverse of [`format_endpoint`].
///
/// # Errors
/// [`Malformed`] unless both parts are there and valid.
pub fn parse_endpoint(text: &str) -> Result<SocketAddr> {
    let (ip, port) = ip_and_number(text, "endpoint")?;
    Ok(SocketAddr::new(ip, port))
}

/// `ip/number`.
fn ip_and_number(text: &str, what: &'static str) -> Result<(IpAddr, u16)> {
    let (ip, number) = text.split_once('/').ok_or(Malformed { what, at: text.len() })?;
    let at = ip.len() + 1;
    let ip = ip.parse().map_err(|_| Malformed { what, at: 0 })?;
    if !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(Malformed { what, at });
    }
    Ok((ip, number.parse().map_err(|_| Malformed { what, at })?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn prefixes() {
        assert!(prefix("10.1.2.3/8").contains("10.200.0.1".parse().unwrap()));
        assert!(!prefix("10.1.2.3/32").contains("10.1.2.4".parse().unwrap()));
        assert!(prefix("10.1.2.3/0").contains("255.1.2.4".parse().unwrap()));
        assert!(!prefix("10.1.2.3/0").contains("::1".parse().unwrap()));
        assert!(prefix("::/0").contains("ffff::1".parse().unwrap()));
        assert!(prefix("2001:db8::1/128").contains("2001:db8::1".parse().unwrap()));
        assert!(prefix("0.0.0.0/0").is_default_route() && prefix("::/0").is_default_route());
        assert!(!prefix("10.0.0.0/0").is_default_route());
        assert_eq!(prefix("10.1.2.3/8").network(), prefix("10.0.0.0/8"));
        for bad in ["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/+8", "10.0.0/8", "/8"] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn endpoints() {
        for text in ["192.0.2.1/9993", "2001:db8::1/0"] {
            assert_eq!(format_endpoint(parse_endpoint(text).unwrap()), text);
        }
        assert!(parse_endpoint("192.0.2.1/65536").is_err());
        assert!(parse_endpoint("192.0.2.1:9993").is_err());
    }
}
