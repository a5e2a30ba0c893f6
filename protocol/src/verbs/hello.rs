//! HELLO: who the sender is, which version it runs, and where it thinks it is sending to. Specification: VL1 verbs,
//! HELLO.
//!
//! | Offset | Size | Field |
//! |---|---|---|
//! | 0 | 1 | protocol version |
//! | 1 | 1, 1, 2 | software version: major, minor, revision |
//! | 5 | 8 | the sender's clock, echoed in the reply |
//! | 13 | 71 | the sender's identity |
//! | 84 | … | the address this packet is sent to |
//! | | 8, 8 | the sender's planet: ID and timestamp |
//! | | … | masked tail: number of moons (2), each: type `7f`, ID (8), timestamp (8) |
//!
//! Everything after the identity may be missing.

use core::net::SocketAddr;

use crate::inet::encode_inet;
use crate::packet::armor::{SessionKeys, Suite};
use crate::packet::header::HEADER_LEN;
use crate::world::WorldKind;
use crate::{Identity, Reader, Result};

/// Lowest protocol version a node still talks to.
pub const MIN_PROTOCOL: u8 = 4;

/// The fields of a HELLO up to the masked tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Protocol version.
    pub protocol: u8,
    /// Major software version.
    pub major: u8,
    /// Minor software version.
    pub minor: u8,
    /// Software revision.
    pub revision: u16,
    /// The sender's clock in ms; means nothing to the receiver, who returns it.
    pub timestamp: u64,
    /// Who the sender claims to be.
    pub identity: Identity,
    /// The receiver's physical address as the sender uses it.
    pub sent_to: Option<SocketAddr>,
    /// ID and timestamp of the planet the sender follows.
    pub planet: Option<(u64, u64)>,
    /// Where the masked tail begins, counted from the start of the payload; `None` if there is none. Ignored by
    /// [`write_hello`].
    pub masked_tail_at: Option<usize>,
}

/// A moon the sender has, or (with timestamp 0) wants to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MoonEntry {
    /// The moon's world ID.
    pub id: u64,
    /// Timestamp of the revision the sender has.
    pub timestamp: u64,
}

impl Hello {
    /// Reads the payload. Works on packets that are not authenticated yet.
    ///
    /// # Errors
    /// [`Malformed`](crate::Malformed) if it ends before the identity does, or a field that is there is wrong.
    pub fn parse(payload: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        let mut hello = Self::read_start(&mut reader)?;
        if !reader.is_empty() {
            hello.sent_to = reader.inet("destination of HELLO")?;
        }
        if reader.remaining() >= 16 {
            hello.planet = Some((reader.u64("planet ID")?, reader.u64("planet timestamp")?));
        }
        if !reader.is_empty() {
            hello.masked_tail_at = Some(reader.at());
        }
        Ok(hello)
    }

    /// Reads the fields up to the identity only. The reference gets to know a sender by these even if what follows
    /// is malformed, but does not answer it then.
    ///
    /// # Errors
    /// [`Malformed`](crate::Malformed) if it ends before the identity does or the identity is wrong.
    pub fn parse_start(payload: &[u8]) -> Result<Self> {
        Self::read_start(&mut Reader::new(payload))
    }

    fn read_start(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            protocol: reader.u8("protocol version")?,
            major: reader.u8("major version")?,
            minor: reader.u8("minor version")?,
            revision: reader.u16("revision")?,
            timestamp: reader.u64("timestamp")?,
            identity: Identity::read(reader)?,
            sent_to: None,
            planet: None,
            masked_tail_at: None,
        })
    }

    /// Reads the unmasked tail. Entries that are no moons are skipped, and so is what follows the last one. A tail
    /// too short for a count lists no moons.
    ///
    /// # Errors
    /// [`Malformed`](crate::Malformed) if there are fewer entries than announced.
    pub fn parse_tail(tail: &[u8]) -> Result<Vec<MoonEntry>> {
        let mut reader = Reader::new(tail);
        if reader.remaining() < 2 {
            return Ok(Vec::new());
        }
        let count = reader.u16("number of moons")?;
        let mut moons = Vec::new();
        for _ in 0..count {
            let kind = reader.u8("type of a world")?;
            let entry = MoonEntry { id: reader.u64("moon ID")?, timestamp: reader.u64("moon timestamp")? };
            if kind == WorldKind::Moon as u8 {
                moons.push(entry);
            }
        }
        Ok(moons)
    }

    /// Appends the payload up to where the masked tail begins.
    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&[self.protocol, self.major, self.minor]);
        to.extend_from_slice(&self.revision.to_be_bytes());
        to.extend_from_slice(&self.timestamp.to_be_bytes());
        self.identity.write(to);
        encode_inet(to, self.sent_to);
        let (id, timestamp) = self.planet.unwrap_or_default();
        to.extend_from_slice(&id.to_be_bytes());
        to.extend_from_slice(&timestamp.to_be_bytes());
    }
}

/// Completes a HELLO whose header is the last thing in `buffer`, at offset `packet_start`: appends the payload with
/// all moons, masks the tail and armors the packet (suite 0). It can be sent then as it is.
///
/// At most 65 535 moons are listed.
///
/// # Panics
/// If there is no header at `packet_start`.
pub fn write_hello(
    buffer: &mut Vec<u8>,
    packet_start: usize,
    hello: &Hello,
    moons: &[MoonEntry],
    keys: &SessionKeys,
) {
    assert!(buffer.len() >= packet_start + HEADER_LEN, "the header comes first");
    hello.write(buffer);
    let tail = buffer.len() - packet_start;
    let count = u16::try_from(moons.len()).unwrap_or(u16::MAX);
    buffer.extend_from_slice(&count.to_be_bytes());
    for moon in &moons[..count.into()] {
        buffer.push(WorldKind::Moon as u8);
        buffer.extend_from_slice(&moon.id.to_be_bytes());
        buffer.extend_from_slice(&moon.timestamp.to_be_bytes());
    }
    let packet = &mut buffer[packet_start..];
    keys.mask_hello(packet, tail);
    keys.armor(packet, Suite::Clear);
}
