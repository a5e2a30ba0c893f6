//! A door for tests: every table filled to its cap with made-up entries, and how full each is. Making real ones would take a
//! memory-hard hash each.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use protocol::packet::SessionKeys;
use protocol::{Address, Identity, NetworkId};

use super::Core;
use super::limits::{MAX_PATHS, MAX_PEERS, REASSEMBLY_SLOTS};
use super::path::{PathKey, SocketId};
use super::peer::{Peer, PeerPath};

/// An address of nobody, by number.
fn nobody(number: u64) -> Address {
    Address::from_u64(0x77_0000_0000 + number)
}

/// A path to nobody, by number.
fn nowhere(number: u64) -> PathKey {
    let ip = Ipv4Addr::from(0x3200_0000 + (number as u32) * 16);
    PathKey { socket: SocketId(0), remote: SocketAddr::from((ip, 9_993)) }
}

impl Core {
    /// Fills every table to its cap with entries of nobody in particular, beside what is there. What is full stays as it is.
    pub fn fill_for_test(&mut self, now: i64) {
        let keys = Arc::new(SessionKeys::new(&[7; 48]));
        let peers = &mut self.topology.peers;
        for number in 0..2 * MAX_PEERS as u64 {
            if peers.len() >= MAX_PEERS {
                break;
            }
            let address = nobody(number);
            peers.entry(address).or_insert_with(|| {
                let mut peer =
                    Peer::new(Identity { address, public: [9; 64] }, SessionKeys::new(&[7; 48]), now);
                peer.keys = Arc::clone(&keys);
                let heard = now - 10_000 - (number % 100_000).cast_signed();
                (peer.last_received, peer.since, peer.last_trusted) = (heard, heard, heard);
                peer.paths = vec![PeerPath { key: nowhere(number), last_received: heard, probed_at: 0 }];
                peer
            });
        }
        let paths = &mut self.topology.paths;
        for number in 0..2 * MAX_PATHS as u64 {
            if paths.len() >= MAX_PATHS {
                break;
            }
            let path = paths.entry(nowhere(number));
            path.last_in = path.last_in.max(now - 10_000);
        }
        for number in 0..2 * MAX_PEERS as u64 {
            if self.hints.len() >= MAX_PEERS {
                break;
            }
            self.hints.entry(nobody(number)).or_insert_with(|| vec![nowhere(number).remote]);
        }
        self.path_mtus.fill(now, nobody, nowhere);
        self.sending.fill(now, |n| nobody(1_000_000 + n), None);
        self.parked.fill(now, |n| nobody(1_000_000 + n), Some(nowhere(0)));
        for number in 0..2 * REASSEMBLY_SLOTS as u64 {
            if self.reassembler.len() >= REASSEMBLY_SLOTS {
                break;
            }
            let mut fragment = [0; 100];
            fragment[..8].copy_from_slice(&number.to_be_bytes());
            fragment[13..16].copy_from_slice(&[0xff, 0x21, 0]);
            let _ = self.reassembler.insert_fragment(now, nowhere(number), &fragment);
        }
        self.expected.fill(now, nobody);
        self.surfaces.fill(now, nobody, nowhere);
        self.pairs.fill(now, |n| (nobody(n), nobody(n + 1)));
        self.identities.fill(now, |n| [0, 50, (n >> 8) as u8, n as u8, 0, 0, 0]);
        self.whois.fill(now, |n| nobody(2_000_000 + n));
        self.knocks.fill(now, nobody, nowhere);
        self.reflections.fill(now, nobody, nowhere);
        for network in self.networks.values_mut() {
            network.fill(now, nobody);
        }
        let network = self.networks.keys().next().copied().unwrap_or(NetworkId(0x77_0000_0000_0000_01));
        self.directory.fill(now, network, nobody);
    }

    /// How full each table is; of tables there are several of, each of them.
    pub fn table_sizes(&self) -> Vec<(&'static str, usize)> {
        let [by_id, order] = self.expected.sizes();
        let [groups, members, pending, authorized] = self.directory.sizes();
        let peers = self.topology.peers.values();
        let mut sizes = vec![
            ("Topology.peers", self.topology.peers.len()),
            ("Topology.moons", self.topology.moons.len()),
            ("Topology.seeds", self.topology.seeds.len()),
            ("Peer.paths", peers.map(|peer| peer.paths.len()).max().unwrap_or(0)),
            ("Paths.paths", self.topology.paths.len()),
            ("PathMtus.paths", self.path_mtus.len()),
            ("Core.hints", self.hints.len()),
            ("Core.sending", self.sending.len()),
            ("Core.parked", self.parked.len()),
            ("Core.reassembler", self.reassembler.len()),
            ("Expected.by_id", by_id),
            ("Expected.order", order),
            ("Surfaces.reports", self.surfaces.len()),
            ("Core.pairs", self.pairs.len()),
            ("Core.identities", self.identities.len()),
            ("Core.whois", self.whois.len()),
            ("Knocks.knocks", self.knocks.len()),
            ("Reflections.places", self.reflections.len()),
            ("Core.networks", self.networks.len()),
            ("Directory.groups", groups),
            ("Group.members", members),
            ("Group.pending", pending),
            ("Directory.authorized", authorized),
        ];
        sizes.extend(self.networks.values().flat_map(super::Network::sizes));
        sizes
    }
}
