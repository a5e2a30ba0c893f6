//! A door for tests: every table filled to its cap with made-up entries, and how full each is. Making real ones would take a
//! memory-hard hash each.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use protocol::packet::SessionKeys;
use protocol::{Address, Identity, NetworkId};

use super::Core;
use crate::ground::limits::{MAX_PATHS, MAX_PEERS, REASSEMBLY_SLOTS, STRANGER_REASSEMBLY_SLOTS};
use crate::link::path::{PathKey, SocketId};
use crate::link::peer::{Peer, PeerPath, RemoteVersion};
use crate::link::peer_cache::Restored;
use crate::link::replay::counter::Counter;

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
        let us = self.link.secret.identity().address;
        let keys = Arc::new(SessionKeys::new(&[7; 48]));
        let peers = &mut self.link.topology.peers;
        for number in 0..2 * MAX_PEERS as u64 {
            if peers.len() >= MAX_PEERS {
                break;
            }
            let address = nobody(number);
            peers.entry(address).or_insert_with(|| {
                let sent = Counter::new(us, address, 1);
                let mut peer =
                    Peer::new(Identity { address, public: [9; 64] }, SessionKeys::new(&[7; 48]), now, sent);
                peer.keys = Arc::clone(&keys);
                let heard = now - 10_000 - (number % 100_000).cast_signed();
                (peer.last_received, peer.since, peer.last_trusted) = (heard, heard, heard);
                peer.paths = vec![PeerPath { key: nowhere(number), last_received: heard, probed_at: 0 }];
                peer
            });
        }
        let paths = &mut self.link.topology.paths;
        for number in 0..2 * MAX_PATHS as u64 {
            if paths.len() >= MAX_PATHS {
                break;
            }
            let path = paths.entry(nowhere(number));
            path.last_in = path.last_in.max(now - 10_000);
        }
        for number in 0..2 * MAX_PEERS as u64 {
            if self.link.hints.len() >= MAX_PEERS {
                break;
            }
            self.link.hints.entry(nobody(number)).or_insert_with(|| vec![nowhere(number).remote]);
        }
        for number in 0..2 * MAX_PEERS as u64 {
            if self.restored.len() >= MAX_PEERS {
                break;
            }
            let restored =
                Restored { version: RemoteVersion::default(), paths: vec![nowhere(number).remote] };
            self.restored.entry(nobody(4_000_000 + number)).or_insert(restored);
        }
        self.link.path_mtus.fill(now, nobody, nowhere);
        self.link.sending.fill(now, |n| nobody(1_000_000 + n), None);
        self.parked.fill(now, |n| nobody(1_000_000 + n), Some(nowhere(0)));
        let rooms = [
            (&mut self.reassembler, REASSEMBLY_SLOTS),
            (&mut self.stranger_parts, STRANGER_REASSEMBLY_SLOTS),
        ];
        for (room, slots) in rooms {
            for number in 0..2 * slots as u64 {
                if room.len() >= slots {
                    break;
                }
                let mut fragment = [0; 100];
                fragment[..8].copy_from_slice(&number.to_be_bytes());
                fragment[13..16].copy_from_slice(&[0xff, 0x21, 0]);
                let _ = room.insert_fragment(now, nowhere(number), &fragment);
            }
        }
        self.switch.requesters.fill(now, nobody);
        self.link.expected.fill(now, nobody);
        self.link.surfaces.fill(now, nobody, nowhere);
        self.relay.pairs.fill(now, |n| (nobody(n), (nobody(n), nobody(n + 1)), now));
        self.newcomers.fill(now, |n| nobody(3_000_000 + n), nowhere);
        self.contacts.knocks.fill(now, nobody, nowhere);
        self.clones.reflections.fill(now, nobody, nowhere);
        for network in self.switch.networks.values_mut() {
            network.fill(now, nobody);
        }
        let network = self.switch.networks.keys().next().copied().unwrap_or(NetworkId(0x7700_0000_0000_0001));
        self.switch.directory.fill(now, network, nobody);
    }

    /// How full each table is; of tables there are several of, each of them.
    pub fn table_sizes(&self) -> Vec<(&'static str, usize)> {
        let [asked, seen] = self.link.expected.sizes();
        let [sending, sending_copies] = self.link.sending.sizes();
        let [parked, _] = self.parked.sizes();
        let [knocks, by_due] = self.contacts.knocks.sizes();
        let [subscriptions, groups, of_member, members, pending, authorized] = self.switch.directory.sizes();
        let [waiting, octets, agreements_of, unproven_of, proven_of] = self.newcomers.sizes();
        let [endpoints, prefixes] = self.link.unproven.sizes();
        let peers = self.link.topology.peers.values();
        let mut sizes = vec![
            ("Topology.peers", self.link.topology.peers.len()),
            ("Topology.moons", self.link.topology.moons.len()),
            ("Topology.seeds", self.link.topology.seeds.len()),
            ("Peer.paths", peers.map(|peer| peer.paths.len()).max().unwrap_or(0)),
            ("Paths.paths", self.link.topology.paths.len()),
            ("PathMtus.paths", self.link.path_mtus.len()),
            ("Link.hints", self.link.hints.len()),
            ("Core.restored", self.restored.len()),
            ("Link.sending", sending),
            ("Queue.copies", sending_copies),
            ("Core.parked", parked),
            ("Core.reassembler", self.reassembler.len()),
            ("Core.stranger_parts", self.stranger_parts.len()),
            ("Requesters.held", self.switch.requesters.len()),
            ("Expected.asked", asked),
            ("Expected.seen", seen),
            ("Surfaces.reports", self.link.surfaces.len()),
            ("Relay.pairs", self.relay.pairs.len()),
            ("Link.whois", self.link.whois.len()),
            ("Link.errors", self.link.errors.len()),
            ("Switch.forgeries", self.switch.forgeries.len()),
            ("Clones.reflecting", self.clones.reflecting.len()),
            ("Newcomers.waiting", waiting),
            ("Newcomers.octets", octets),
            ("Newcomers.agreements_of", agreements_of),
            ("Newcomers.unproven_of", unproven_of),
            ("Newcomers.proven_of", proven_of),
            ("Unproven.endpoints", endpoints),
            ("Unproven.prefixes", prefixes),
            ("Knocks.knocks", knocks),
            ("Knocks.by_due", by_due),
            ("Reflections.places", self.clones.reflections.len()),
            ("Switch.networks", self.switch.networks.len()),
            ("Directory.subscriptions", subscriptions),
            ("Directory.groups", groups),
            ("Directory.of_member", of_member),
            ("Group.members", members),
            ("Group.pending", pending),
            ("Directory.authorized", authorized),
        ];
        sizes.extend(self.switch.networks.values().flat_map(super::Network::sizes));
        sizes
    }
}
