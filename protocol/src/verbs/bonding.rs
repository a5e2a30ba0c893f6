//! QOS_MEASUREMENT and PATH_NEGOTIATION_REQUEST: what bonded peers tell each other about their paths.
//! Specification: VL1 verbs.

use crate::{Malformed, Reader, Result};

/// When one packet was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QosRecord {
    /// ID of a packet received earlier on this path.
    pub packet_id: u64,
    /// Ms between its receipt and the sending of the report.
    pub held: u16,
}

/// A report: records of ten bytes, both fields **little-endian**.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QosMeasurement(pub Vec<QosRecord>);

impl QosMeasurement {
    /// Most records of one report.
    pub const MAX: usize = 140;

    /// Reads the payload; up to nine bytes that are left over are ignored.
    ///
    /// # Errors
    /// [`Malformed`] if there is not one record, or if there are more than [`QosMeasurement::MAX`].
    pub fn parse(payload: &[u8]) -> Result<Self> {
        let (records, _) = payload.as_chunks::<10>();
        if records.is_empty() || payload.len() > Self::MAX * 10 {
            return Err(Malformed { what: "quality report", at: payload.len() });
        }
        let record = |[a, b, c, d, e, f, g, h, i, j]: &[u8; 10]| QosRecord {
            packet_id: u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
            held: u16::from_le_bytes([*i, *j]),
        };
        Ok(Self(records.iter().map(record).collect()))
    }

    /// Appends the payload.
    pub fn write(&self, to: &mut Vec<u8>) {
        for record in &self.0 {
            to.extend_from_slice(&record.packet_id.to_le_bytes());
            to.extend_from_slice(&record.held.to_le_bytes());
        }
    }
}

/// What the path it is sent on is worth to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PathNegotiation {
    /// Larger is better.
    pub utility: i16,
}

impl PathNegotiation {
    /// Reads the payload.
    ///
    /// # Errors
    /// [`Malformed`] unless it has exactly two bytes.
    pub fn parse(payload: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        let utility = i16::from_be_bytes(reader.array("utility of a path")?);
        if reader.is_empty() { Ok(Self { utility }) } else { Err(reader.fail("utility of a path")) }
    }

    /// Appends the payload.
    pub fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.utility.to_be_bytes());
    }
}
