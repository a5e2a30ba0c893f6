//! What an Ethernet header consists of: the one home of these numbers.

/// Octets of a header without tags: destination, source, ethertype.
pub const HEADER: usize = 14;
/// Ethertype of IPv4.
pub const IPV4: u16 = 0x0800;
/// Ethertype of ARP.
pub const ARP: u16 = 0x0806;
/// Ethertype of IPv6.
pub const IPV6: u16 = 0x86dd;
/// Ethertype of a VLAN tag (IEEE 802.1Q).
pub const VLAN: u16 = 0x8100;
/// Ethertype of a service tag (IEEE 802.1ad).
pub const SERVICE_VLAN: u16 = 0x88a8;
