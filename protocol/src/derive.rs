//! Names and addresses derived from network IDs and member addresses. Specification: VL2 networks (interface names),
//! VL2 frames (groups, derived IPv6 addresses).

use std::net::{IpAddr, Ipv6Addr};

use crate::multicast_group::MulticastGroup;
use crate::{Address, Mac, NetworkId};

/// Prefix length of the addresses of [`rfc4193`].
pub const RFC4193_BITS: u8 = 88;
/// Prefix length of the addresses of [`six_plane`].
pub const SIX_PLANE_BITS: u8 = 40;

/// The name of the TAP device of a network: `zt` and eight base32 digits. `trial` counts up from 0 while a name is taken.
#[must_use]
pub fn interface_name(network: NetworkId, trial: u64) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let value = (network.0 ^ (network.0 >> 24)).wrapping_add(trial);
    let digit = |group: u32| char::from(DIGITS[(value >> (5 * group)) as usize & 31]);
    let mut name = String::from("zt");
    name.extend((0..8).rev().map(digit));
    name
}

/// The member's address in the network's RFC 4193 range, used with prefix length 88: `fd`, network ID, `9993`, member.
#[must_use]
pub fn rfc4193(network: NetworkId, member: Address) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..9].copy_from_slice(&network.0.to_be_bytes());
    octets[9..11].copy_from_slice(&[0x99, 0x93]);
    octets[11..].copy_from_slice(&member.to_bytes());
    octets.into()
}

/// The member's address in the network's 6plane range, used with prefix length 40: `fc`, fold, member, then 1. Every
/// address that agrees in the first 80 bits is the member's.
#[must_use]
pub fn six_plane(network: NetworkId, member: Address) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets[0] = 0xfc;
    octets[1..5].copy_from_slice(&six_plane_fold(network).to_be_bytes());
    octets[5..10].copy_from_slice(&member.to_bytes());
    octets[15] = 1;
    octets.into()
}

/// The 32 bits of 6plane addresses that stand for the network: the halves of its ID, XORed.
#[must_use]
pub fn six_plane_fold(network: NetworkId) -> u32 {
    (network.0 ^ (network.0 >> 32)) as u32
}

/// The group in which the owner of an address hears who looks for it: ARP requests, or neighbour solicitations (RFC 4291
/// solicited-node address).
#[must_use]
pub fn resolution_group(ip: IpAddr) -> MulticastGroup {
    match ip {
        IpAddr::V4(ip) => MulticastGroup { mac: Mac::BROADCAST, adi: ip.to_bits() },
        IpAddr::V6(ip) => {
            let o = ip.octets();
            MulticastGroup::of_mac(Mac([0x33, 0x33, 0xff, o[13], o[14], o[15]]))
        }
    }
}
