//! An Ethernet frame, taken apart.

use flowrules::ethernet::ARP;
pub(super) use flowrules::ethernet::{HEADER, IPV6};
use protocol::Mac;

/// An Ethernet frame with its addresses.
#[derive(Clone, Copy)]
pub(super) struct Ethernet<'a> {
    pub(super) dest: Mac,
    pub(super) source: Mac,
    pub(super) ethertype: u16,
    pub(super) payload: &'a [u8],
}

impl<'a> Ethernet<'a> {
    /// A frame as it stands on the port, without what is beyond `mtu` octets of payload; `None` if it is too short to be one.
    #[inline]
    pub(super) fn parse(octets: &'a [u8], mtu: u16) -> Option<Self> {
        let (header, payload) = octets.split_first_chunk::<HEADER>()?;
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, e0, e1] = *header;
        Some(Self {
            dest: Mac([d0, d1, d2, d3, d4, d5]),
            source: Mac([s0, s1, s2, s3, s4, s5]),
            ethertype: u16::from_be_bytes([e0, e1]),
            payload: &payload[..payload.len().min(usize::from(mtu))],
        })
    }

    /// The address an ARP request for IPv4 asks for.
    pub(super) fn arp_request_target(&self) -> Option<u32> {
        let p = self.payload;
        let is_request = self.ethertype == ARP && p.len() >= 28 && p[2..6] == [0x08, 0x00, 6, 4] && p[7] == 1;
        is_request.then(|| u32::from_be_bytes([p[24], p[25], p[26], p[27]]))
    }

    /// Whether its source is one that no member has: nobody's, a group's, or `ours` of a network.
    pub(super) fn is_forged(&self, ours: Mac) -> bool {
        self.source == Mac([0; 6]) || self.source == ours
    }
}
