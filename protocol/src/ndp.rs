//! Answers to neighbour solicitations for addresses that embed the member's address, so that nobody need be asked.
//! Specification: VL2 frames, IPv6 NDP emulation; RFC 4861 for the packets.

use std::net::{IpAddr, Ipv6Addr};

use crate::derive::{RFC4193_BITS, SIX_PLANE_BITS, six_plane_fold};
use crate::netconf::NetworkConfig;
use crate::{Address, Mac, NetworkId};

/// Bytes of the answer, from the IPv6 header on.
pub const ADVERTISEMENT_LEN: usize = 72;

/// A forged neighbour advertisement, to be written to the TAP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// Source MAC of the frame: the member that has the address.
    pub source: Mac,
    /// The IPv6 packet.
    pub packet: [u8; ADVERTISEMENT_LEN],
}

/// The answer to the IPv6 packet `payload`, read from the TAP by the node `own`, if the network emulates neighbour discovery
/// and the packet solicits a neighbour whose address is derived from its member address.
#[must_use]
pub fn emulate(config: &NetworkConfig, own: Address, payload: &[u8]) -> Option<Advertisement> {
    if !config.ndp_emulation() {
        return None;
    }
    let network = config.network;
    if payload.len() < 64 || payload[6] != 58 || payload[40] != 135 {
        return None;
    }
    let target: [u8; 16] = payload[48..64].try_into().ok()?;
    let (member, matching) = config.addresses.iter().find_map(|prefix| {
        let IpAddr::V6(ip) = prefix.ip else { return None };
        Some((embedded(network, ip, prefix.bits, target)?, ip))
    })?;
    if member.is_null() || member == own {
        return None;
    }
    let source = Mac::for_member(network, member);
    Some(Advertisement { source, packet: advertisement(target, matching, source) })
}

/// The member address inside `target` if the managed address `own` with that prefix length is derived and `target` is in
/// the same range.
fn embedded(network: NetworkId, own: Ipv6Addr, bits: u8, target: [u8; 16]) -> Option<Address> {
    let own = own.octets();
    let at = match bits {
        RFC4193_BITS if own[0] == 0xfd && own[9..11] == [0x99, 0x93] => 11,
        SIX_PLANE_BITS if own[0] == 0xfc && own[1..5] == six_plane_fold(network).to_be_bytes() => 5,
        _ => return None,
    };
    if target[..at] != own[..at] {
        return None;
    }
    let t = &target[at..];
    Some(Address::from_bytes([t[0], t[1], t[2], t[3], t[4]]))
}

fn advertisement(target: [u8; 16], to: Ipv6Addr, mac: Mac) -> [u8; ADVERTISEMENT_LEN] {
    let mut p = [0; ADVERTISEMENT_LEN];
    // IPv6 header: version 6, 32 bytes of payload, ICMPv6, hop limit 255.
    p[0] = 0x60;
    p[5] = 32;
    p[6] = 58;
    p[7] = 255;
    p[8..24].copy_from_slice(&target);
    p[24..40].copy_from_slice(&to.octets());
    // Neighbour advertisement, solicited and override.
    p[40] = 136;
    p[44] = 0x60;
    p[48..64].copy_from_slice(&target);
    // Option: target link-layer address, one unit of eight bytes.
    p[64] = 2;
    p[65] = 1;
    p[66..72].copy_from_slice(&mac.0);
    let checksum = checksum(&p);
    p[42..44].copy_from_slice(&checksum.to_be_bytes());
    p
}

/// The checksum of ICMPv6 (RFC 4443, with the pseudo-header of RFC 8200) of a packet without extension headers.
fn checksum(p: &[u8; ADVERTISEMENT_LEN]) -> u16 {
    let words = p[8..].chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let mut sum: u32 = words.sum::<u32>() + (ADVERTISEMENT_LEN as u32 - 40) + 58;
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
