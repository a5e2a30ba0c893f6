//! The record of a peer that outlives the process: who it is and where it was last reached. It saves a WHOIS and finds a
//! neighbour again when every root is away.
//!
//! Format (specification: VL1 behaviour, "peer cache"): u8 2 · 71-byte public identity · four u16 (protocol version, major,
//! minor, revision) · u16 number of paths · that many InetAddresses.

use std::net::SocketAddr;

use protocol::inet::encode_inet;
use protocol::reader::Reader;
use protocol::{Identity, Result};

use super::Core;
use super::event::{Event, Object, Urgency};
use super::limits::{MAX_PATHS_PER_PEER, MAX_PEERS};
use super::peer::{Peer, RemoteVersion};

const FORMAT: u8 = 2;

/// The record of a peer.
pub(super) fn write(peer: &Peer) -> Vec<u8> {
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

fn read(bytes: &[u8]) -> Result<(Identity, RemoteVersion, Vec<SocketAddr>)> {
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
pub(super) struct Restored {
    /// What it told about itself.
    pub(super) version: RemoteVersion,
    /// Where it was.
    pub(super) paths: Vec<SocketAddr>,
}

impl Core {
    /// Takes in a peer's record from an earlier run; it is a peer when its identity has been checked. Its addresses are tried when
    /// there is something to send to it.
    pub fn restore_peer(&mut self, record: &[u8]) -> Result<()> {
        let (identity, version, paths) = read(record)?;
        let address = identity.address;
        if self.restored.len() < MAX_PEERS && !self.link.topology.peers.contains_key(&address) {
            let urgency = self.link.urgency_of(address, Urgency::Restored);
            self.restored.insert(address, Restored { version, paths });
            self.link.check_identity(identity, urgency);
        }
        Ok(())
    }

    /// Puts the records of all live peers into the outbox: the last thing to do before the process ends.
    pub fn save_peers(&mut self, now: i64) {
        for (address, peer) in &self.link.topology.peers {
            if peer.is_alive(now) && !self.link.topology.is_upstream(*address) {
                let object = Object::Peer(*address);
                self.link.outbox.events.push_back(Event::Store { object, bytes: write(peer) });
            }
        }
    }
}
