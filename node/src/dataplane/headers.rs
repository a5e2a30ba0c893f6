//! Where the headers of a TCP or UDP packet stand. Specification: RFC 791, RFC 8200, RFC 9293, RFC 768.

pub(crate) use flowrules::ethernet::{HEADER as ETHERNET, IPV4, IPV6};
use flowrules::ethernet::{SERVICE_VLAN, VLAN};

/// Protocol number of TCP.
pub(crate) const TCP: u8 = 6;
/// Protocol number of UDP.
pub(crate) const UDP: u8 = 17;

/// Offset of the checksum in a TCP header.
pub(crate) const TCP_CHECKSUM: usize = 16;
/// Offset of the checksum in a UDP header.
pub(crate) const UDP_CHECKSUM: usize = 6;
/// Bytes of a UDP header.
pub(crate) const UDP_HEADER: usize = 8;
/// Bytes of the fixed part of an IPv6 header.
pub(crate) const IPV6_HEADER: usize = 40;

/// IPv6 extension headers passed over at most.
const MAX_EXTENSIONS: usize = 8;

/// The headers of a whole (not fragmented) TCP or UDP packet. Offsets count from the IP header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Headers {
    pub(crate) v6: bool,
    pub(crate) protocol: u8,
    /// Where the transport header begins.
    pub(crate) transport: usize,
    /// Where the payload begins, at most at the end of the packet.
    pub(crate) data: usize,
}

impl Headers {
    /// Source and destination, neighbours in both versions.
    pub(crate) fn addresses<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        if self.v6 { &packet[8..40] } else { &packet[12..20] }
    }

    /// Where the checksum of the transport header stands.
    pub(crate) fn checksum(&self) -> usize {
        self.transport + if self.protocol == TCP { TCP_CHECKSUM } else { UDP_CHECKSUM }
    }

    /// Bytes of the packet that the IP header speaks of.
    pub(crate) fn stated_len(&self, packet: &[u8]) -> usize {
        if self.v6 { IPV6_HEADER + usize::from(u16_at(packet, 4)) } else { usize::from(u16_at(packet, 2)) }
    }
}

/// A big-endian number.
///
/// # Panics
/// If it reaches beyond the end.
#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// A big-endian number.
///
/// # Panics
/// If it reaches beyond the end.
#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Writes a big-endian number.
///
/// # Panics
/// If it reaches beyond the end.
#[inline]
pub(crate) fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// The headers of a packet of that ethertype; `None` if it is not a whole TCP or UDP packet.
pub(crate) fn locate(ethertype: u16, packet: &[u8]) -> Option<Headers> {
    let (v6, protocol, transport) = match ethertype {
        IPV4 => {
            let head = packet.get(..20)?;
            let length = usize::from(head[0] & 0x0f) * 4;
            let fragment = u16_at(head, 6) & 0x3fff != 0;
            if head[0] >> 4 != 4 || length < 20 || fragment {
                return None;
            }
            (false, head[9], length)
        }
        IPV6 => {
            let head = packet.get(..IPV6_HEADER)?;
            if head[0] >> 4 != 6 {
                return None;
            }
            let (protocol, transport) = skip_extensions(packet, head[6], IPV6_HEADER)?;
            (true, protocol, transport)
        }
        _ => return None,
    };
    let header = match protocol {
        TCP => {
            let length = usize::from(packet.get(transport + 12)? >> 4) * 4;
            if length < 20 {
                return None;
            }
            length
        }
        UDP => UDP_HEADER,
        _ => return None,
    };
    let data = transport + header;
    (data <= packet.len()).then_some(Headers { v6, protocol, transport, data })
}

/// Passes VLAN tags (IEEE 802.1Q and 802.1ad): the ethertype behind them, and where in `body` it leads.
pub(crate) fn skip_tags(mut ethertype: u16, body: &[u8]) -> Option<(u16, usize)> {
    let mut at = 0;
    for _ in 0..=2 {
        match ethertype {
            IPV4 | IPV6 => return Some((ethertype, at)),
            VLAN | SERVICE_VLAN if body.len() >= at + 4 => {
                ethertype = u16_at(body, at + 2);
                at += 4;
            }
            _ => return None,
        }
    }
    None
}

/// Passes IPv6 extension headers from offset `at` of the packet on, `first` being the number of the one that stands there: the
/// first header that is none, and where it stands.
pub(crate) fn skip_extensions(packet: &[u8], first: u8, at: usize) -> Option<(u8, usize)> {
    let (mut next, mut at) = (first, at);
    for _ in 0..MAX_EXTENSIONS {
        match next {
            // Hop-by-hop options, routing, destination options.
            0 | 43 | 60 => {
                let [following, length] = *packet.get(at..)?.first_chunk()?;
                (next, at) = (following, at + 8 * (usize::from(length) + 1));
            }
            _ => return Some((next, at)),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn extension_headers_are_passed_over_and_fragments_left_alone() {
        let mut packet = vec![0; 40 + 16 + 8];
        packet[0] = 0x60;
        packet[6] = 0;
        packet[40] = 60;
        packet[48] = UDP;
        let found = locate(IPV6, &packet).unwrap();
        assert_eq!((found.protocol, found.transport, found.data), (UDP, 56, 64));
        packet[48] = 44;
        assert_eq!(locate(IPV6, &packet), None);
        assert_eq!(locate(IPV6, &packet[..41]), None);
    }

    proptest! {
        #[test]
        fn never_panics(version in 0u8..16, mut packet in prop::collection::vec(any::<u8>(), 0..120), v6: bool) {
            if let Some(first) = packet.first_mut() {
                *first = version << 4 | *first & 0x0f;
            }
            if let Some(found) = locate(if v6 { IPV6 } else { IPV4 }, &packet) {
                prop_assert!(found.transport < found.data && found.data <= packet.len());
                prop_assert!(found.checksum() + 2 <= found.data);
            }
        }
    }
}
