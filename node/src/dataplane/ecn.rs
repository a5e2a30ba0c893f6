//! Explicit congestion notification of the frames that datagrams carry: what of it a datagram shows to the underlay, and what
//! the underlay says comes back to the frame. Sources: RFC 3168; RFC 6040 (normal mode), whose tables hold for frames as well
//! (RFC 9599).
//!
//! The two bits: 0 = not capable, 1 and 2 = capable (ECT(1), ECT(0)), 3 = congestion experienced. DSCP stays where it is.

use protocol::checksum;

use super::headers::{IPV4, IPV6, IPV6_HEADER, put_u16, u16_at};

/// The ends do not understand ECN.
pub const NOT_CAPABLE: u8 = 0;
/// The packet met congestion.
pub const CONGESTED: u8 = 3;

/// Bytes of the shortest IPv4 header.
const IPV4_HEADER: usize = 20;

/// The ECN bits of an IP packet (what stands behind the Ethernet header); 0 for everything else, tagged frames included.
#[inline]
pub fn of(ethertype: u16, packet: &[u8]) -> u8 {
    match (ethertype, packet) {
        (IPV4, [_, tos, ..]) => tos & 3,
        (IPV6, [_, class, ..]) => class >> 4 & 3,
        _ => NOT_CAPABLE,
    }
}

/// Sets the ECN bits of an IP packet and adjusts its checksum. False, and nothing has changed, for anything else.
pub fn set(ethertype: u16, packet: &mut [u8], ecn: u8) -> bool {
    let ecn = ecn & 3;
    match ethertype {
        IPV4 if packet.len() >= IPV4_HEADER => {
            let old = u16_at(packet, 0);
            packet[1] = packet[1] & !3 | ecn;
            let sum = checksum::update(u16_at(packet, 10), old, u16_at(packet, 0));
            put_u16(packet, 10, sum);
            true
        }
        IPV6 if packet.len() >= IPV6_HEADER => {
            packet[1] = packet[1] & !0x30 | ecn << 4;
            true
        }
        _ => false,
    }
}

/// What becomes of a packet on its way out of a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arrival {
    /// It stays as it is.
    Unchanged,
    /// It gets these ECN bits.
    Set(u8),
    /// It met congestion and cannot say so: the sender has to learn of it by the loss.
    Drop,
}

/// Combines the ECN bits of a datagram with those of the packet in it (RFC 6040, figure 4).
pub fn arrival(outer: u8, ethertype: u16, packet: &[u8]) -> Arrival {
    if outer == NOT_CAPABLE || !matches!(ethertype, IPV4 | IPV6) {
        return Arrival::Unchanged;
    }
    match (of(ethertype, packet), outer) {
        (NOT_CAPABLE, CONGESTED) => Arrival::Drop,
        (1 | 2, CONGESTED) => Arrival::Set(CONGESTED),
        (2, 1) => Arrival::Set(1),
        _ => Arrival::Unchanged,
    }
}

/// The ECN bits of a packet that came in several datagrams (RFC 3168, section 5.3).
pub fn join(a: u8, b: u8) -> u8 {
    if a == CONGESTED || b == CONGESTED { CONGESTED } else { a.max(b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(tos: u8) -> Vec<u8> {
        let mut packet = vec![0x45, tos, 0, 20, 1, 2, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let sum = checksum::finish(checksum::sum(0, &packet));
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    fn v6(class: u8) -> Vec<u8> {
        let mut packet = vec![0x60 | class >> 4, class << 4 | 7, 1, 2];
        packet.resize(40, 9);
        packet
    }

    #[test]
    fn bits_are_read_and_set_and_nothing_else_changes() {
        for class in 0..=255u8 {
            for ecn in 0..4 {
                let mut packet = v4(class);
                assert_eq!(of(IPV4, &packet), class & 3);
                assert!(set(IPV4, &mut packet, ecn));
                assert_eq!(packet, v4(class & !3 | ecn), "with its checksum");
                let mut packet = v6(class);
                assert_eq!(of(IPV6, &packet), class & 3);
                assert!(set(IPV6, &mut packet, ecn));
                assert_eq!(packet, v6(class & !3 | ecn));
            }
        }
    }

    #[test]
    fn other_frames_have_none() {
        let mut arp = vec![3; 40];
        assert_eq!(of(0x0806, &arp), 0);
        assert!(!set(0x0806, &mut arp, 3));
        assert_eq!(arp, vec![3; 40]);
        assert_eq!(arrival(CONGESTED, 0x0806, &arp), Arrival::Unchanged);
        for length in 0..20 {
            assert!(!set(IPV4, &mut vec![0x45; length], 3));
            assert!(!set(IPV6, &mut vec![0x60; length], 3));
        }
        assert_eq!((of(IPV4, &[0x45]), of(IPV6, &[])), (0, 0));
    }

    #[test]
    fn the_table_of_rfc_6040() {
        use Arrival::{Drop, Set, Unchanged};
        // Rows: inner 0 (not ECT), 2 (ECT(0)), 1 (ECT(1)), 3 (CE); columns: outer in the same order.
        let table = [
            (0, [Unchanged, Unchanged, Unchanged, Drop]),
            (2, [Unchanged, Unchanged, Set(1), Set(3)]),
            (1, [Unchanged, Unchanged, Unchanged, Set(3)]),
            (3, [Unchanged; 4]),
        ];
        for (inner, row) in table {
            for (outer, expected) in [0, 2, 1, 3].into_iter().zip(row) {
                assert_eq!(arrival(outer, IPV4, &v4(inner)), expected, "{inner} in {outer}");
                assert_eq!(arrival(outer, IPV6, &v6(inner)), expected, "{inner} in {outer}");
            }
        }
        assert_eq!((join(0, 3), join(2, 2), join(2, 1), join(3, 1), join(0, 0)), (3, 2, 2, 3, 0));
    }
}
