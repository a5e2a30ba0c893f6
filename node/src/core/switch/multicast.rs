//! A frame for a group, sent to many.
//!
//! Specification: VL2 frames, "multicast".

use protocol::multicast_group::MulticastGroup;
use protocol::verb::Verb;
use protocol::verbs::{MulticastFrame, MulticastGather};
use protocol::{Address, Mac, Span, Time, packet};
use rand::seq::SliceRandom;

use super::directory::{Directory, Group, Pending};
use super::ethernet::Ethernet;
use super::network::Network;
use crate::ground::limits::GATHER;
use crate::link::Link;
use crate::link::path::PathKey;

/// Nodes asked for subscribers at once.
const MAX_GATHER_TARGETS: usize = 16;

/// A frame for a group.
#[derive(Clone, Copy)]
pub(super) struct Multicast<'a> {
    /// Whose subscribers get it.
    pub(super) group: MulticastGroup,
    /// The frame.
    pub(super) frame: Ethernet<'a>,
    /// Its source, if that is bridged.
    pub(super) source: Option<Mac>,
    /// From whom it came: who must not get it back.
    pub(super) origin: Option<Address>,
}

impl Multicast<'_> {
    /// Sends it to the subscribers of its group, or to a replicator that does.
    pub(super) fn send(self, network: &mut Network, link: &mut Link, directory: &mut Directory, now: Time) {
        let Multicast { group, frame, origin, .. } = self;
        let us = link.address();
        let Some(config) = network.policy.configuration.current.clone() else { return };
        if !config.is_active_bridge(us)
            && !config.replicators().any(|r| r == us)
            && let Some((replicator, path)) = nearest_replicator(network, link, now)
        {
            let packet = MulticastFrame {
                replicate: true,
                source: Some(self.source.unwrap_or(frame.source)),
                ..self.packet(network)
            };
            let packet = Self::write(network, link, replicator, &packet);
            link.reply(now, path, packet);
            return;
        }
        let limit = config.multicast_limit as usize;
        let known = directory.group(network.id, group).map_or(0, Group::len);
        let enough = known >= limit;
        let gather_limit = if enough { 1 } else { limit - known + 1 };
        let mut members = Vec::new();
        if let Some(group) = directory.group(network.id, group) {
            // One more than are wanted, should the frame's origin be among them.
            group.sample(limit.saturating_add(1), origin.unwrap_or(us), &mut link.rng, &mut members);
        }
        members.shuffle(&mut link.rng);
        if !enough {
            self.gather(network, link, directory, now, gather_limit);
        }
        let bridges: Vec<Address> = config.active_bridges().filter(|b| *b != us).collect();
        let receivers = bridges
            .iter()
            .copied()
            .chain(members.into_iter().filter(|m| !bridges.contains(m)))
            .filter(|m| Some(*m) != origin);
        let mut sent: Vec<Address> = receivers.take(limit).collect();
        let wanted = u32::try_from(gather_limit).unwrap_or(u32::MAX);
        for receiver in &sent {
            self.send_to(network, link, now, *receiver, Some(wanted));
        }
        if !enough {
            sent.extend(origin);
            let pending = Pending {
                since: now,
                source: self.source,
                ethertype: frame.ethertype,
                payload: frame.payload.to_vec(),
                sent,
                limit,
            };
            directory.enqueue(network.id, group, pending);
        }
    }

    /// Sends it to one subscriber, if the rules let it. `gather_limit`: how many more the receiver is asked for.
    pub(super) fn send_to(
        &self,
        network: &mut Network,
        link: &mut Link,
        now: Time,
        to: Address,
        gather_limit: Option<u32>,
    ) {
        if !network.filter_out(link, now, to, self.frame, true) {
            return;
        }
        network.policy.push_if_due(link, now, to);
        let packet = MulticastFrame { gather_limit, ..self.packet(network) };
        let packet = Self::write(network, link, to, &packet);
        link.send(now, packet);
    }

    fn packet(&self, network: &Network) -> MulticastFrame<'_> {
        MulticastFrame {
            network: network.id,
            replicate: false,
            com: None,
            gather_limit: None,
            source: self.source,
            group: self.group,
            ethertype: self.frame.ethertype,
            payload: self.frame.payload,
        }
    }

    fn write(network: &Network, link: &mut Link, to: Address, said: &MulticastFrame<'_>) -> Vec<u8> {
        let mut packet = link.begin(to, Verb::MulticastFrame);
        said.write(&mut packet);
        if network.policy.config().is_some_and(|config| config.compress_multicast()) {
            packet::compress(&mut packet, 0);
        }
        packet
    }

    /// Asks those who keep a directory for subscribers of a group, at most once a minute while some are known.
    fn gather(&self, network: &Network, link: &mut Link, directory: &mut Directory, now: Time, limit: usize) {
        let interval = if link.settings.low_bandwidth { GATHER * 3 } else { GATHER };
        let Some(entry) = directory.group_mut(network.id, self.group) else { return };
        // With nobody known ask again soon, but not once per frame of a burst.
        let pause = if entry.is_empty() { interval.min(Span::secs(1)) } else { interval };
        if entry.last_gather.is_some_and(|at| now - at < pause) {
            return;
        }
        entry.last_gather = Some(now);
        let com = network.policy.config().and_then(|config| config.com.clone());
        let best = link.topology.best_upstream(now).map(|(address, _)| address);
        let others = network.policy.directories(link);
        let targets: Vec<Address> = best
            .into_iter()
            .chain(others.into_iter().filter(|a| Some(*a) != best && !link.topology.is_upstream(*a)))
            .take(MAX_GATHER_TARGETS)
            .collect();
        for to in targets {
            let mut packet = link.begin(to, Verb::MulticastGather);
            MulticastGather {
                network: network.id,
                group: self.group,
                limit: u32::try_from(limit).unwrap_or(u32::MAX),
                com: com.clone(),
            }
            .write(&mut packet);
            link.send(now, packet);
        }
    }
}

/// The closest designated replicator that can be reached directly.
fn nearest_replicator(network: &Network, link: &Link, now: Time) -> Option<(Address, PathKey)> {
    network
        .config()?
        .replicators()
        .filter_map(|address| {
            let peer = link.topology.peers.get(&address)?;
            let best = peer.best_path(now, &link.topology.paths)?;
            let latency = peer.latency(now, &link.topology.paths)?;
            (best.is_alive() && peer.is_alive(now)).then_some((latency, address, best.key))
        })
        .min_by_key(|(latency, address, _)| (*latency, *address))
        .map(|(_, address, key)| (address, key))
}
