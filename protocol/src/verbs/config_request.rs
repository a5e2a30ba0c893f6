//! NETWORK_CONFIG_REQUEST: a member asks the controller for its configuration.
//!
//! Payload: network u64 · length u16 · metadata dictionary · revision u64 · timestamp u64 of the configuration in force.
//! Specification: VL2 networks, NETWORK_CONFIG_REQUEST.

use crate::{NetworkId, Reader, Result};

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigRequest<'a> {
    /// The network.
    pub network: NetworkId,
    /// What the member says of itself, a dictionary; see [`crate::metadata::RequestMetadata`].
    pub metadata: &'a [u8],
    /// Revision of the configuration the member has, 0 if none; absent if the packet ends before.
    pub revision: Option<u64>,
    /// Timestamp (ms) of the configuration the member has, 0 if none; absent if the packet ends before.
    pub timestamp: Option<u64>,
}

impl<'a> ConfigRequest<'a> {
    /// Reads the payload of a packet, which may end after the network.
    ///
    /// # Errors
    /// [`crate::Malformed`] if the network or announced metadata is cut.
    pub fn parse(payload: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        let network = NetworkId(reader.u64("network ID")?);
        let length = if reader.remaining() < 2 { 0 } else { reader.u16("metadata length")? };
        let metadata = reader.bytes(length.into(), "metadata")?;
        Ok(Self {
            network,
            metadata,
            revision: reader.u64("revision").ok(),
            timestamp: reader.u64("timestamp").ok(),
        })
    }

    /// Appends the payload of a packet; what is absent is written as 0. Metadata beyond 65535 bytes is cut off.
    pub fn write(&self, out: &mut Vec<u8>) {
        let metadata = &self.metadata[..self.metadata.len().min(u16::MAX.into())];
        out.extend_from_slice(&self.network.0.to_be_bytes());
        out.extend_from_slice(&(metadata.len() as u16).to_be_bytes());
        out.extend_from_slice(metadata);
        out.extend_from_slice(&self.revision.unwrap_or(0).to_be_bytes());
        out.extend_from_slice(&self.timestamp.unwrap_or(0).to_be_bytes());
    }
}
