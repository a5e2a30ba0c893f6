//! The record of a peer that outlives the process: who it is and where it was last reached. It saves a WHOIS and finds a
//! neighbour again when every root is away.
//!
//! Format (specification: VL1 behaviour, "peer cache"): u8 2 · 71-byte public identity · four u16 (protocol version, major,
//! minor, revision) · u16 number of paths · that many InetAddresses.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use protocol::inet::encode_inet;
use protocol::reader::Reader;
use protocol::{Address, Identity, Result, Time};

use crate::ground::event::Urgency;
use crate::ground::limits::{MAX_PATHS_PER_PEER, MAX_PEERS};
use crate::link::Link;
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

/// So many peers of an earlier run are greeted at once, so that they tell what we have forgotten even if there is no root; the others
/// when there is something to send to them.
const GREETED_AT_START: usize = 64;

/// What is known of a peer from an earlier run, until its identity has been checked.
#[derive(Debug)]
pub(crate) struct Restored {
    /// What it told about itself.
    pub(crate) version: RemoteVersion,
    /// Where it was.
    pub(crate) paths: Vec<SocketAddr>,
}

/// Peers of an earlier run whose identities have not been checked yet.
#[derive(Default)]
pub(crate) struct Earlier {
    peers: BTreeMap<Address, Restored>,
    /// To how many of them HELLO was said.
    greeted: usize,
}

impl Earlier {
    /// Takes in a peer's record from an earlier run; it is a peer when its identity has been checked. Its addresses are tried when
    /// there is something to send to it.
    pub(crate) fn restore(&mut self, link: &mut Link, record: &[u8]) -> Result<()> {
        let (identity, version, paths) = read(record)?;
        let address = identity.address;
        if self.peers.len() < MAX_PEERS && !link.topology.peers.contains_key(&address) {
            let urgency = link.urgency_of(address, Urgency::Restored);
            self.peers.insert(address, Restored { version, paths });
            link.check_identity(identity, urgency);
        }
        Ok(())
    }

    /// An identity has turned out to be genuine: its owner is a peer now, and what was known of it earlier counts.
    pub(crate) fn welcome(&mut self, link: &mut Link, now: Time, identity: &Identity) {
        if !link.topology.add_peer(&link.secret, identity, now) {
            return;
        }
        if let Some(restored) = self.peers.remove(&identity.address) {
            if let Some(peer) = link.topology.peers.get_mut(&identity.address) {
                peer.version = restored.version;
            }
            if self.greeted < GREETED_AT_START {
                self.greeted += 1;
                for endpoint in &restored.paths {
                    if link.may_probe(*endpoint) {
                        link.say_hello(now, identity.address, None, *endpoint);
                    }
                }
            }
            link.hints.insert(identity.address, restored.paths);
        }
    }

    /// An identity has turned out not to be genuine.
    pub(crate) fn forget(&mut self, address: Address) {
        self.peers.remove(&address);
    }
}

#[cfg(feature = "work")]
impl Earlier {
    /// See `filling`.
    pub(crate) fn fill(&mut self, peer: impl Fn(u64) -> Address, at: impl Fn(u64) -> SocketAddr) {
        for number in 0..2 * MAX_PEERS as u64 {
            if self.peers.len() >= MAX_PEERS {
                break;
            }
            let restored = Restored { version: RemoteVersion::default(), paths: vec![at(number)] };
            self.peers.entry(peer(4_000_000 + number)).or_insert(restored);
        }
    }

    /// See `filling`.
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }
}
