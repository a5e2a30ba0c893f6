//! RENDEZVOUS: a relay tells two peers of each other's physical addresses. Specification: VL1 verbs, RENDEZVOUS.
//!
//! | Offset | Size | Field |
//! |---|---|---|
//! | 0 | 1 | flags, 0 |
//! | 1 | 5 | the peer to contact |
//! | 6 | 2 | its port |
//! | 8 | 1 | length of its IP address, 4 or 16 |
//! | 9 | 4, 16 | its IP address |

use core::net::{IpAddr, SocketAddr};

use crate::{Address, Reader, Result};

/// A peer and where it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rendezvous {
    /// The peer to contact.
    pub peer: Address,
    /// Its physical address; the port may be 0, which nobody can be contacted at.
    pub endpoint: SocketAddr,
}

impl Rendezvous {
    /// Reads the payload.
    ///
    /// # Errors
    /// [`Malformed`](crate::Malformed) if truncated or the length is neither 4 nor 16.
    pub fn parse(payload: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        reader.u8("flags")?;
        let peer = reader.address("peer to contact")?;
        let port = reader.u16("port of a peer")?;
        let before = reader.clone();
        let ip = match reader.u8("length of an IP address")? {
            4 => IpAddr::from(reader.array::<4>("IPv4 address of a peer")?),
            16 => IpAddr::from(reader.array::<16>("IPv6 address of a peer")?),
            _ => return Err(before.fail("length of an IP address")),
        };
        Ok(Self { peer, endpoint: SocketAddr::new(ip, port) })
    }

    /// Appends the payload.
    pub fn write(&self, to: &mut Vec<u8>) {
        to.push(0);
        to.extend_from_slice(&self.peer.to_bytes());
        to.extend_from_slice(&self.endpoint.port().to_be_bytes());
        match self.endpoint.ip() {
            IpAddr::V4(ip) => {
                to.push(4);
                to.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                to.push(16);
                to.extend_from_slice(&ip.octets());
            }
        }
    }
}
