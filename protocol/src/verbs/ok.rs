//! OK: a request was served. Specification: VL1 verbs, OK.
//!
//! In front of what the verb in question returns stand its number (1) and the ID of the request as it was on the
//! wire (8).

use core::net::SocketAddr;

use crate::inet::encode_inet;
use crate::world::World;
use crate::{Identity, Reader, Result};

/// Any OK: what it answers, and the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OkHeader<'a> {
    /// Number of the verb that is answered.
    pub in_re_verb: u8,
    /// Packet ID of the request.
    pub in_re_id: u64,
    /// What the verb returns.
    pub body: &'a [u8],
}

impl<'a> OkHeader<'a> {
    /// Reads the payload.
    ///
    /// # Errors
    /// [`Malformed`](crate::Malformed) if shorter than nine bytes.
    pub fn parse(payload: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        let in_re_verb = reader.u8("verb in question")?;
        let in_re_id = reader.u64("packet in question")?;
        Ok(Self { in_re_verb, in_re_id, body: reader.rest() })
    }

    /// Appends the payload.
    pub fn write(&self, to: &mut Vec<u8>) {
        to.push(self.in_re_verb);
        to.extend_from_slice(&self.in_re_id.to_be_bytes());
        to.extend_from_slice(self.body);
    }
}

/// The body of OK(HELLO): the HELLO's clock (8), the responder's protocol (1) and software version (1, 1, 2), the
/// address the HELLO came from, the size of all worlds (2), and newer worlds back to back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OkHello<'a> {
    /// The clock value from the HELLO, in ms.
    pub timestamp: u64,
    /// The responder's protocol version.
    pub protocol: u8,
    /// The responder's major software version.
    pub major: u8,
    /// The responder's minor software version.
    pub minor: u8,
    /// The responder's software revision.
    pub revision: u16,
    /// The HELLO sender's physical address as seen by the responder.
    pub seen_as: Option<SocketAddr>,
    /// Serialized worlds; see [`OkHello::worlds`]. Left as bytes because they concern only those who trust the
    /// responder. At most 65 535 bytes can be written.
    pub world_bytes: &'a [u8],
}

impl<'a> OkHello<'a> {
    /// Reads the body. The fields after the version may be missing.
    ///
    /// # Errors
    /// [`Malformed`](crate::Malformed) if truncated within a field.
    pub fn parse(body: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(body);
        let mut ok = Self {
            timestamp: reader.u64("timestamp")?,
            protocol: reader.u8("protocol version")?,
            major: reader.u8("major version")?,
            minor: reader.u8("minor version")?,
            revision: reader.u16("revision")?,
            seen_as: None,
            world_bytes: &[],
        };
        if !reader.is_empty() {
            ok.seen_as = reader.inet("surface address")?;
        }
        if reader.remaining() >= 2 {
            let length = reader.u16("length of worlds")?;
            ok.world_bytes = reader.bytes(length.into(), "worlds")?;
        }
        Ok(ok)
    }

    /// The worlds in it.
    ///
    /// # Errors
    /// As [`World::read`].
    pub fn worlds(&self) -> Result<Vec<World>> {
        World::parse_all(self.world_bytes)
    }

    /// Appends the body. No worlds are written if they are too long to be counted.
    pub fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.timestamp.to_be_bytes());
        to.extend_from_slice(&[self.protocol, self.major, self.minor]);
        to.extend_from_slice(&self.revision.to_be_bytes());
        encode_inet(to, self.seen_as);
        let (length, worlds) = match u16::try_from(self.world_bytes.len()) {
            Ok(length) => (length, self.world_bytes),
            Err(_) => (0, &[][..]),
        };
        to.extend_from_slice(&length.to_be_bytes());
        to.extend_from_slice(worlds);
    }
}

/// The body of OK(WHOIS): identities, back to back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OkWhois(pub Vec<Identity>);

impl OkWhois {
    /// Most identities that fit a datagram of default size, for replies are not fragmented.
    pub const MAX: usize = 19;

    /// Reads the body up to its end or the first byte after at least one identity that begins none.
    ///
    /// # Errors
    /// [`Malformed`](crate::Malformed) if not even the first identity can be read.
    pub fn parse(body: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(body);
        let mut identities = vec![Identity::read(&mut reader)?];
        while !reader.is_empty() {
            let Ok(identity) = Identity::read(&mut reader) else { break };
            identities.push(identity);
        }
        Ok(Self(identities))
    }

    /// Appends the body.
    pub fn write(&self, to: &mut Vec<u8>) {
        for identity in &self.0 {
            identity.write(to);
        }
    }
}
