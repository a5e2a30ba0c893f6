//! What the node tells about itself.

use protocol::packet::DEFAULT_MTU;
use protocol::world::World;
use protocol::{Address, NetworkId, Time};

use super::switch::Switch;
use crate::ground::info::{
    Counters, MoonInfo, MtuSource, NetworkInfo, PathInfo, PeerInfo, RuleCounters, RulesInfo, StatusInfo,
};
use crate::ground::limits::PATH_EXPIRY;
use crate::link::Link;
use crate::link::contact::Contacts;
use crate::link::path::PathKey;

/// A look at a [`Core`](super::Core).
pub struct View<'a> {
    pub(super) link: &'a Link,
    pub(super) contacts: &'a Contacts,
    pub(super) switch: &'a Switch,
}

impl<'a> View<'a> {
    /// The node's own state.
    pub fn status(&self) -> StatusInfo {
        StatusInfo {
            identity: self.link.secret.identity().clone(),
            online: self.contacts.online,
            planet_id: self.link.topology.planet.id,
            planet_timestamp: self.link.topology.planet.timestamp,
            surface_addresses: self.link.surfaces.advertised(),
            counters: self.link.counters.clone(),
        }
    }

    /// The planet in force.
    pub fn planet(&self) -> &'a World {
        &self.link.topology.planet
    }

    /// Traffic counters.
    pub fn counters(&self) -> &'a Counters {
        &self.link.counters
    }

    /// Everybody we know, by address.
    pub fn peers(&self, now: Time) -> Vec<PeerInfo> {
        let paths = &self.link.topology.paths;
        self.link
            .topology
            .peers
            .iter()
            .map(|(address, peer)| {
                let best = peer.best_path(now, paths).filter(|best| best.is_alive()).map(|best| best.key);
                let v = peer.version;
                PeerInfo {
                    address: *address,
                    version: (v.protocol != 0).then_some((v.major.into(), v.minor.into(), v.revision)),
                    protocol: v.protocol.into(),
                    latency: peer.latency(now, paths),
                    latencies: peer.latencies,
                    packets: peer.packets,
                    role: self.link.topology.role(*address),
                    tunneled: false,
                    paths: peer
                        .paths
                        .iter()
                        .map(|p| (p, self.path_mtu(*address, &p.key)))
                        .map(|(p, (mtu, mtu_source))| PathInfo {
                            address: p.key.remote,
                            socket: p.key.socket.0,
                            last_send: paths.get(&p.key).and_then(|path| path.last_out),
                            last_receive: p.last_received,
                            trusted_path_id: self.link.settings.trusted_path(p.key.remote.ip()).unwrap_or(0),
                            mtu,
                            mtu_source,
                            active: p.was_heard(now, PATH_EXPIRY),
                            preferred: best == Some(p.key),
                        })
                        .collect(),
                }
            })
            .collect()
    }

    fn path_mtu(&self, peer: Address, path: &PathKey) -> (usize, MtuSource) {
        if let Some(size) = self.link.settings.configured_mtu(path.remote.ip()) {
            return (size, MtuSource::Configured);
        }
        match self.link.path_mtus.size(peer, path) {
            Some(size) => (size, MtuSource::Measured),
            None => (DEFAULT_MTU, MtuSource::Default),
        }
    }

    /// The networks we joined, by ID.
    pub fn networks(&self) -> Vec<NetworkInfo> {
        self.switch.info()
    }

    /// What a network's rules are and what they have done; `None` before there is a configuration.
    pub fn rules(&self, id: NetworkId) -> Option<RulesInfo> {
        self.switch.rules(id)
    }

    /// The counters of [`Self::rules`] alone, of all networks.
    pub fn rule_counters(&self) -> Vec<(NetworkId, RuleCounters)> {
        self.switch.rule_counters()
    }

    /// The moons we orbit or wait for.
    pub fn moons(&self) -> Vec<MoonInfo> {
        let held = self.link.topology.moons.values().map(|w| MoonInfo {
            id: w.id,
            world: Some(w.clone()),
            seed: None,
        });
        let awaited = self.link.topology.seeds.iter().map(|(id, seed)| MoonInfo {
            id: *id,
            world: None,
            seed: Some(*seed),
        });
        held.chain(awaited).collect()
    }
}
