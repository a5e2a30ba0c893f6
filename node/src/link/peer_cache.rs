//! The record of a peer that outlives the process: who it is and where it was last reached. It saves a WHOIS and finds a
//! neighbour again when every root is away.
//!
//! Format (specification: VL1 behaviour, "peer cache"): u8 2 · 71-byte public identity · four u16 (protocol version, major,
//! minor, revision) · u16 number of paths · that many InetAddresses.

use std::net::SocketAddr;

use protocol::inet::encode_inet;
use protocol::reader::Reader;
use protocol::{Identity, Result};

use crate::ground::limits::MAX_PATHS_PER_PEER;
use crate::link::peer::{Peer, RemoteVersion};

const FORMAT: u8 = 2;

/// The record of a peer.
pub(crate) fn write(peer: &Peer) -> Vec<u8> {
    let mut out = vec![FORMAT];
    peer.identity.write(&mut out);
    let v = peer.version;
    for field in [u16::from(v.protocol), u16::from(v.major), u16::from(v.minor), v.revision] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out.extend_from_slice(&(peer.paths.len() as u16).to_be_bytes());
    for path in &peer.paths {
        encode_inet(&mut out, Some(path.key.remote));
    }
    out
}

pub(crate) fn read(bytes: &[u8]) -> Result<(Identity, RemoteVersion, Vec<SocketAddr>)> {
    let mut reader = Reader::new(bytes);
    if reader.u8("format of the peer record")? != FORMAT {
        return Err(reader.fail("format of the peer record"));
    }
    let identity = Identity::read(&mut reader)?;
    let protocol = reader.u16("protocol version")? as u8;
    let major = reader.u16("major version")? as u8;
    let minor = reader.u16("minor version")? as u8;
    let revision = reader.u16("revision")?;
    let count = usize::from(reader.u16("number of paths")?).min(MAX_PATHS_PER_PEER);
    let mut paths = Vec::with_capacity(count);
    for _ in 0..count {
        paths.extend(reader.inet("path")?);
    }
    Ok((identity, RemoteVersion { protocol, major, minor, revision }, paths))
}

/// What is known of a peer from an earlier run, until its identity has been checked.
#[derive(Debug)]
pub(crate) struct Restored {
    /// What it told about itself.
    pub(crate) version: RemoteVersion,
    /// Where it was.
    pub(crate) paths: Vec<SocketAddr>,
}
