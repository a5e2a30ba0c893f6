//! PUSH_DIRECT_PATHS: physical addresses under which the sender may be reached. Specification: VL1 verbs,
//! PUSH_DIRECT_PATHS.
//!
//! A count (2), then records: flags (1), length of an extension (2), the extension, type 4 or 6 (1), length 6 or 18
//! (1), IP address, port (2).

use core::net::{IpAddr, SocketAddr};

use crate::packet::header::HEADER_LEN;
use crate::{Reader, Result};

/// Record flag: forget this path.
pub const FORGET: u8 = 0x01;
/// No record is added to a packet that has reached this size.
const FULL: usize = 1176;

/// One address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PushedPath {
    /// [`FORGET`]; 0 in all that is sent today.
    pub flags: u8,
    /// The physical address.
    pub endpoint: SocketAddr,
}

/// All records of one packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushDirectPaths(pub Vec<PushedPath>);

impl PushDirectPaths {
    /// Reads the payload; records of other types than IP addresses are skipped.
    ///
    /// # Errors
    /// [`Malformed`](crate::Malformed) if there are fewer records than announced.
    pub fn parse(payload: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        let count = reader.u16("number of paths")?;
        let mut paths = Vec::new();
        for _ in 0..count {
            let flags = reader.u8("flags of a path")?;
            let extension = reader.u16("length of a path's extension")?;
            reader.bytes(extension.into(), "extension of a path")?;
            let kind = reader.u8("type of a path")?;
            let length = reader.u8("length of a path")?;
            // The content has a size of its own; the length only says where the next record begins.
            let mut content = reader.clone();
            let ip = match kind {
                4 => Some(IpAddr::from(content.array::<4>("IPv4 address of a path")?)),
                6 => Some(IpAddr::from(content.array::<16>("IPv6 address of a path")?)),
                _ => None,
            };
            if let Some(ip) = ip {
                let endpoint = SocketAddr::new(ip, content.u16("port of a path")?);
                paths.push(PushedPath { flags, endpoint });
            }
            reader.bytes(length.into(), "path")?;
        }
        Ok(Self(paths))
    }

    /// Appends the payload. At most 65 535 records are written; see [`PushDirectPaths::packets`].
    pub fn write(&self, to: &mut Vec<u8>) {
        write(&self.0, to);
    }

    /// Divides `paths` into as many packets as they need, each no longer than one datagram.
    pub fn packets(paths: &[PushedPath]) -> impl Iterator<Item = &[PushedPath]> {
        let mut rest = paths;
        core::iter::from_fn(move || {
            let mut size = HEADER_LEN + 2;
            let mut count = 0;
            while count < rest.len() && size < FULL {
                size += if rest[count].endpoint.is_ipv4() { 11 } else { 23 };
                count += 1;
            }
            let (packet, remaining) = rest.split_at(count);
            rest = remaining;
            (!packet.is_empty()).then_some(packet)
        })
    }
}

/// Appends the payload for these records, of which at most 65 535 are written.
pub fn write(paths: &[PushedPath], to: &mut Vec<u8>) {
    let count = u16::try_from(paths.len()).unwrap_or(u16::MAX);
    to.extend_from_slice(&count.to_be_bytes());
    for path in &paths[..count.into()] {
        to.extend_from_slice(&[path.flags, 0, 0]);
        match path.endpoint.ip() {
            IpAddr::V4(ip) => {
                to.extend_from_slice(&[4, 6]);
                to.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                to.extend_from_slice(&[6, 18]);
                to.extend_from_slice(&ip.octets());
            }
        }
        to.extend_from_slice(&path.endpoint.port().to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_stay_below_a_datagram_and_lose_nothing() {
        let path = |n: u16| {
            let ip: IpAddr = if n.is_multiple_of(3) { [10, 0, 0, 1].into() } else { [1_u16; 8].into() };
            PushedPath { flags: 0, endpoint: (ip, n).into() }
        };
        let paths: Vec<_> = (0..500).map(path).collect();
        let mut seen = Vec::new();
        for packet in PushDirectPaths::packets(&paths) {
            let mut payload = Vec::new();
            write(packet, &mut payload);
            assert!(payload.len() + HEADER_LEN < FULL + 23);
            seen.extend(PushDirectPaths::parse(&payload).unwrap().0);
        }
        assert_eq!(seen, paths);
        assert_eq!(PushDirectPaths::packets(&[]).count(), 0);
    }

    #[test]
    fn unknown_types_and_extensions_are_skipped() {
        let payload = [
            0, 2, // two records
            0, 0, 1, 0xee, 9, 3, 1, 2, 3, // one byte of extension, type 9, three bytes
            2, 0, 0, 4, 7, 192, 0, 2, 1, 0x27, 0x09, 0xaa, // type 4, one byte longer than needed
        ];
        let paths = PushDirectPaths::parse(&payload).unwrap().0;
        assert_eq!(paths, [PushedPath { flags: 2, endpoint: ([192, 0, 2, 1], 9993).into() }]);
        assert!(PushDirectPaths::parse(&payload[..payload.len() - 1]).is_err());
    }
}
