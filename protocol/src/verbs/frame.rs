//! FRAME: an Ethernet frame between two members whose MACs are those derived from their addresses.
//!
//! Payload: network u64 · ethertype u16 · Ethernet payload. Specification: VL2 frames, FRAME.

use crate::{NetworkId, Reader, Result};

/// Bytes before the Ethernet payload.
pub const OVERHEAD: usize = 10;

/// A frame; its MACs follow from the sender and receiver of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The network it is on.
    pub network: NetworkId,
    /// Ethertype.
    pub ethertype: u16,
    /// What follows the Ethernet header; may be empty.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the payload of a packet.
    ///
    /// # Errors
    /// [`crate::Malformed`] if it is shorter than [`OVERHEAD`].
    pub fn parse(payload: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        Ok(Self {
            network: NetworkId(reader.u64("network ID")?),
            ethertype: reader.u16("ethertype")?,
            payload: reader.rest(),
        })
    }

    /// Appends the payload of a packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&Self::head(self.network, self.ethertype));
        out.extend_from_slice(self.payload);
    }

    /// What a packet's payload begins with, before the frame's own.
    #[inline]
    pub fn head(network: NetworkId, ethertype: u16) -> [u8; OVERHEAD] {
        let mut head = [0; OVERHEAD];
        head[..8].copy_from_slice(&network.0.to_be_bytes());
        head[8..].copy_from_slice(&ethertype.to_be_bytes());
        head
    }
}
