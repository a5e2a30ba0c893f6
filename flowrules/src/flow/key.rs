//! What a verdict depends on, cut down to what the rules look at.

use super::reads::{MAX_RANGES, Reads, field};
use crate::evaluate::matches::{
    ARP, ICMP, ICMPV6, IPV4, IPV6, has_ports, integer, neighbor_discovery, tcp_bits, transport,
};
use crate::evaluate::{Context, Direction};

/// Words of a key.
pub(super) const WORDS: usize = 10;
/// The key of one frame. Layout (low bits first):
///
/// | word | bits | |
/// |---|---|---|
/// | 0 | 40 + 8 + 16 | sending node, TOS, what the frame is (`IS_…`) |
/// | 1 | 40 + 16 + 8 | receiving node, outcomes of integers and random matches, IP protocol |
/// | 2 | 4 × 16 | ethertype, VLAN, source port or ICMP type, destination port or ICMP code |
/// | 3 | 16 + 48 | TCP bits, class of the frame's size |
/// | 4, 5 | 128 | IPv6 source; IPv4 source and destination; protocol address of an ARP sender |
/// | 6, 7 | 128 | IPv6 destination |
/// | 8, 9 | 2 × 48 | source and destination MAC |
pub(super) type Key = [u64; WORDS];

/// Bits of a node's address.
const ADDRESS_BITS: u32 = 40;

const IS_INBOUND: u64 = 1 << 48;
const IS_V4: u64 = 1 << 49;
const IS_V6: u64 = 1 << 50;
const IS_TRANSPORT: u64 = 1 << 51;
/// There are ports, or an ICMP type and code.
const HAS_PORTS: u64 = 1 << 52;
const IS_MULTICAST: u64 = 1 << 53;
const IS_BROADCAST: u64 = 1 << 54;
const IS_SOLICITATION: u64 = 1 << 55;
const IS_ARP: u64 = 1 << 56;

/// The node that sent, as in a key.
pub(super) fn source(key: &Key) -> u64 {
    key[0] & ((1 << ADDRESS_BITS) - 1)
}

/// The node that receives, as in a key.
pub(super) fn dest(key: &Key) -> u64 {
    key[1] & ((1 << ADDRESS_BITS) - 1)
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

/// The key of a frame; `randoms` are the outcomes of the random matches, from bit [`MAX_RANGES`] on. `None` for the rare frame
/// whose verdict hangs on something a key has no room for.
#[inline]
pub(super) fn key(reads: &Reads, ctx: &Context<'_>, randoms: u64) -> Option<Key> {
    let frame = &ctx.frame;
    let p = frame.payload;
    if (ctx.source | ctx.dest) >> ADDRESS_BITS != 0 {
        return None;
    }
    let mut is = 0;
    if ctx.direction == Direction::Inbound {
        is |= IS_INBOUND;
    }
    let is_v4 = frame.ethertype == IPV4 && p.len() >= 20;
    let is_v6 = frame.ethertype == IPV6 && p.len() >= 40;
    if is_v4 {
        is |= IS_V4;
    } else if is_v6 {
        is |= IS_V6;
    }
    if reads.any(field::MULTICAST) && frame.dest[0] & 1 != 0 {
        is |= IS_MULTICAST;
        if frame.dest == [0xff; 6] {
            is |= IS_BROADCAST;
        }
    }

    let mut key = [0; WORDS];
    key[1] = ctx.dest | (randoms << 40);
    for (bit, range) in reads.ranges.iter().enumerate().take(MAX_RANGES) {
        let inside = (range.start..=range.end()).contains(&integer(p, range));
        key[1] |= u64::from(inside) << (40 + bit);
    }
    key[2] = u64::from(frame.ethertype);
    if reads.any(field::VLAN) {
        key[2] |= u64::from(frame.vlan) << 16;
    }
    if reads.any(field::PROTOCOL)
        && let Some((protocol, at)) = transport(frame)
    {
        is |= IS_TRANSPORT;
        key[1] |= u64::from(protocol) << 56;
        if reads.any(field::SOURCE_PORT | field::DEST_PORT) && has_ports(protocol, at, p) {
            is |= HAS_PORTS;
            if reads.any(field::SOURCE_PORT) {
                key[2] |= number(&p[at..at + 2]) << 32;
            }
            if reads.any(field::DEST_PORT) {
                key[2] |= number(&p[at + 2..at + 4]) << 48;
            }
        }
        if reads.any(field::ICMP)
            && protocol == (if frame.ethertype == IPV4 { ICMP } else { ICMPV6 })
            && let Some([kind, code]) = p.get(at..at + 2)
        {
            is |= HAS_PORTS;
            key[2] |= (u64::from(*kind) << 32) | (u64::from(*code) << 48);
        }
    }
    if reads.tcp != 0 {
        key[3] = tcp_bits(frame) & reads.tcp;
    }
    if !reads.sizes.is_empty() {
        let class = reads.sizes.partition_point(|size| *size as usize <= p.len());
        key[3] |= (class as u64) << 16;
    }

    let mut tos = 0;
    if is_v4 {
        tos = p[1] & reads.tos;
        if reads.any(field::IPV4_SOURCE) {
            key[4] = number(&p[12..16]);
        }
        if reads.any(field::IPV4_DEST) {
            key[4] |= number(&p[16..20]) << 32;
        }
    } else if is_v6 {
        tos = ((p[0] << 4) | (p[1] >> 4)) & reads.tos;
        if reads.any(field::IPV6_SOURCE) {
            (key[4], key[5]) = (number(&p[8..16]), number(&p[16..24]));
        }
        if reads.any(field::IPV6_DEST) {
            (key[6], key[7]) = (number(&p[24..32]), number(&p[32..40]));
        }
        if reads.any(field::SENDER_IP) {
            match neighbor_discovery(p) {
                Some(135) => is |= IS_SOLICITATION,
                // Whose address is to be authenticated stands elsewhere.
                Some(136) => return None,
                _ => {}
            }
        }
    } else if reads.any(field::SENDER_IP) && frame.ethertype == ARP && p.len() >= 28 {
        is |= IS_ARP;
        key[4] = number(&p[14..18]);
    }
    key[0] = ctx.source | (u64::from(tos) << 40) | is;
    if reads.any(field::MAC_SOURCE) {
        key[8] = number(&frame.source);
    }
    if reads.any(field::MAC_DEST) {
        key[9] = number(&frame.dest);
    }
    Some(key)
}
