//! EXT_FRAME: an Ethernet frame with explicit MACs, for bridges and for the copies rules make.
//!
//! Payload: network u64 · flags u8 · certificate of membership if flag 0x01 · destination MAC · source MAC · ethertype u16 ·
//! Ethernet payload. Specification: VL2 frames, EXT_FRAME.

use crate::credential::{Com, Signed};
use crate::{Mac, NetworkId, Reader, Result};

/// Bytes before the Ethernet payload, without a certificate.
pub const OVERHEAD: usize = 23;

/// Flag: a certificate of membership is inside. Set by [`ExtFrame::write`] as needed.
pub const FLAG_COM: u8 = 0x01;
/// Flag: an OK is wanted.
pub const FLAG_ACKNOWLEDGE: u8 = 0x10;
/// Flags of a copy made by TEE on the sending side.
pub const TEE_OUTBOUND: u8 = 0x02;
/// Flags of a frame redirected on the sending side.
pub const REDIRECT_OUTBOUND: u8 = 0x04;
/// Flags of a copy made by WATCH on the sending side.
pub const WATCH_OUTBOUND: u8 = 0x16;
/// Flags of a copy made by TEE on the receiving side.
pub const TEE_INBOUND: u8 = 0x08;
/// Flags of a frame redirected on the receiving side.
pub const REDIRECT_INBOUND: u8 = 0x0a;
/// Flags of a copy made by WATCH on the receiving side.
pub const WATCH_INBOUND: u8 = 0x1c;

/// A frame with its MACs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtFrame<'a> {
    /// The network it is on.
    pub network: NetworkId,
    /// Flags as received; when writing, [`FLAG_COM`] follows `com`.
    pub flags: u8,
    /// The sender's certificate of membership (deprecated).
    pub com: Option<Signed<Com>>,
    /// Destination MAC.
    pub dest: Mac,
    /// Source MAC.
    pub source: Mac,
    /// Ethertype.
    pub ethertype: u16,
    /// What follows the Ethernet header; may be empty.
    pub payload: &'a [u8],
}

impl<'a> ExtFrame<'a> {
    /// Reads the payload of a packet.
    ///
    /// # Errors
    /// [`crate::Malformed`] if a field or the certificate is.
    pub fn parse(payload: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        let network = NetworkId(reader.u64("network ID")?);
        let flags = reader.u8("flags")?;
        let com = if flags & FLAG_COM != 0 { Some(Signed::read(&mut reader)?) } else { None };
        Ok(Self {
            network,
            flags,
            com,
            dest: Mac(reader.array("destination MAC")?),
            source: Mac(reader.array("source MAC")?),
            ethertype: reader.u16("ethertype")?,
            payload: reader.rest(),
        })
    }

    /// Whether the sender wants an OK.
    #[must_use]
    pub fn wants_acknowledgement(&self) -> bool {
        self.flags & FLAG_ACKNOWLEDGE != 0
    }

    /// Appends the payload of a packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.network.0.to_be_bytes());
        out.push(self.flags & !FLAG_COM | u8::from(self.com.is_some()));
        if let Some(com) = &self.com {
            com.write(out);
        }
        out.extend_from_slice(&self.dest.0);
        out.extend_from_slice(&self.source.0);
        out.extend_from_slice(&self.ethertype.to_be_bytes());
        out.extend_from_slice(self.payload);
    }
}
