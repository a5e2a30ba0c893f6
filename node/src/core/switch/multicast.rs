//! Multicast: announcing our groups, learning who listens, sending to many.
//!
//! Specification: VL2 frames, "multicast".

use std::collections::BTreeSet;

use flowrules::evaluate::Accept;
use protocol::multicast_group::MulticastGroup;
use protocol::reader::Reader;
use protocol::verb::Verb;
use protocol::verbs::{Gathered, MulticastFrame, MulticastGather, MulticastLike, OkGather, OkMulticastFrame};
use protocol::{Address, Mac, NetworkId, Result, packet};
use rand::seq::SliceRandom;

use super::directory::{Announcer, Directory, Group, Pending};
use super::filter::Ethernet;
use super::frames::refuse;
use super::{Network, Switch};
use crate::ground::limits::{ANNOUNCE, ANNOUNCE_AGAIN, ANNOUNCE_REPEATS, GATHER, PATH_EXPIRY};
use crate::ground::sources::Source;
use crate::ground::work;
use crate::link::Link;
use crate::link::path::PathKey;
use crate::link::{Handled, Incoming};

/// Announcements in one packet, so that it needs no more fragments than a frame does.
const LIKES_PER_PACKET: usize = 150;
/// Nodes asked for subscribers at once.
const MAX_GATHER_TARGETS: usize = 16;
/// Addresses in one answer to a gather: the answer stays one datagram of the default size.
const MAX_GATHERED: usize = 250;

/// When groups announced a moment ago are announced again.
#[derive(Default)]
pub(super) struct Repeats {
    /// Repetitions still to come: the last ones of [`ANNOUNCE_REPEATS`].
    left: usize,
    at: i64,
}

impl Repeats {
    fn start(&mut self, now: i64) {
        *self = Self { left: ANNOUNCE_REPEATS.len(), at: now + ANNOUNCE_REPEATS[0] };
    }

    pub(super) fn due(&self) -> Option<i64> {
        (self.left > 0).then_some(self.at)
    }

    /// Whether it is time for the next one, which is then taken.
    fn take(&mut self, now: i64) -> bool {
        if self.left == 0 || now < self.at {
            return false;
        }
        self.left -= 1;
        if self.left > 0 {
            self.at = now + ANNOUNCE_REPEATS[ANNOUNCE_REPEATS.len() - self.left];
        }
        true
    }
}

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

impl Network {
    /// Announces groups just joined to everybody, at once and then again a few times.
    pub(super) fn announce_new(&mut self, link: &mut Link, now: i64, groups: &[MulticastGroup]) {
        self.repeats.start(now);
        self.announce_to_all(link, now, groups);
    }

    fn announce_to_all(&mut self, link: &mut Link, now: i64, groups: &[MulticastGroup]) {
        let mut to = self.directories_of(link);
        to.extend(self.members_allowed(link, now));
        for to in to {
            self.send_likes(link, now, to, groups);
        }
    }

    /// Announces all our groups to a member, once a minute.
    pub(super) fn announce_to_member(&mut self, link: &mut Link, now: i64, to: Address) {
        let Some(member) = self.members.get_mut(&to) else { return };
        if now - member.last_announced < ANNOUNCE {
            return;
        }
        member.last_announced = now;
        let groups: Vec<MulticastGroup> = self.own_groups().into_iter().collect();
        self.send_likes(link, now, to, &groups);
    }

    /// Who keeps a directory for a network: the roots, its controller, its anchors and replicators.
    fn directories_of(&self, link: &Link) -> BTreeSet<Address> {
        let mut to: BTreeSet<Address> = link.topology.upstreams.keys().copied().collect();
        if !self.id.is_adhoc() {
            to.insert(self.id.controller());
        }
        if let Some(config) = self.config.as_ref() {
            to.extend(config.anchors().chain(config.replicators()));
        }
        to.remove(&link.address());
        to
    }

    /// Members with a record that may talk to us.
    fn members_allowed(&mut self, link: &mut Link, now: i64) -> Vec<Address> {
        let known: Vec<Address> = self.members.keys().copied().collect();
        known
            .into_iter()
            .filter(|address| {
                link.topology.peers.get(address).is_some_and(|peer| self.allows(now, &peer.identity))
            })
            .collect()
    }

    fn send_likes(&self, link: &mut Link, now: i64, to: Address, groups: &[MulticastGroup]) {
        for chunk in groups.chunks(LIKES_PER_PACKET) {
            let mut packet = link.begin(to, Verb::MulticastLike);
            for group in chunk {
                MulticastLike::write(self.id, *group, &mut packet);
            }
            packet::compress(&mut packet, 0);
            link.send(now, packet);
        }
    }

    /// Sends a frame to the subscribers of a group.
    pub(super) fn send_multicast(
        &mut self,
        link: &mut Link,
        directory: &mut Directory,
        now: i64,
        multicast: Multicast<'_>,
    ) {
        let Multicast { group, frame, source, origin } = multicast;
        let us = link.address();
        let Some(config) = self.config.clone() else { return };
        if !config.is_active_bridge(us)
            && !config.replicators().any(|r| r == us)
            && let Some((replicator, path)) = self.nearest_replicator(link, now)
        {
            let mut packet = link.begin(replicator, Verb::MulticastFrame);
            MulticastFrame {
                network: self.id,
                replicate: true,
                com: None,
                gather_limit: None,
                source: Some(source.unwrap_or(frame.source)),
                group,
                ethertype: frame.ethertype,
                payload: frame.payload,
            }
            .write(&mut packet);
            if config.compress_multicast() {
                packet::compress(&mut packet, 0);
            }
            link.reply(now, path, packet);
            return;
        }
        let limit = config.multicast_limit as usize;
        let known = directory.group(self.id, group).map_or(0, Group::len);
        let enough = known >= limit;
        let gather_limit = if enough { 1 } else { limit - known + 1 };
        let mut members = Vec::new();
        if let Some(group) = directory.group(self.id, group) {
            // One more than are wanted, should the frame's origin be among them.
            group.sample(limit.saturating_add(1), origin.unwrap_or(us), &mut link.rng, &mut members);
        }
        members.shuffle(&mut link.rng);
        if !enough {
            self.gather(link, directory, now, group, gather_limit);
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
            self.send_multicast_copy(link, now, group, *receiver, frame, source, Some(wanted));
        }
        if !enough {
            sent.extend(origin);
            directory.enqueue(
                self.id,
                group,
                Pending {
                    since: now,
                    source,
                    ethertype: frame.ethertype,
                    payload: frame.payload.to_vec(),
                    sent,
                    limit,
                },
            );
        }
    }

    /// The closest designated replicator that can be reached directly.
    fn nearest_replicator(&self, link: &Link, now: i64) -> Option<(Address, PathKey)> {
        let config = self.config.as_deref()?;
        config
            .replicators()
            .filter_map(|address| {
                let peer = link.topology.peers.get(&address)?;
                let (key, alive) = peer.best_path(now, &link.topology.paths, PATH_EXPIRY)?;
                (alive && peer.is_alive(now)).then_some((
                    peer.latency(now, &link.topology.paths)?,
                    address,
                    key,
                ))
            })
            .min_by_key(|(latency, address, _)| (*latency, *address))
            .map(|(_, address, key)| (address, key))
    }

    #[expect(clippy::too_many_arguments, reason = "a frame, its group, its receiver and how it is sent")]
    fn send_multicast_copy(
        &mut self,
        link: &mut Link,
        now: i64,
        group: MulticastGroup,
        to: Address,
        frame: Ethernet<'_>,
        source: Option<Mac>,
        gather_limit: Option<u32>,
    ) {
        if !self.filter_out(link, now, to, frame, true) {
            return;
        }
        self.push_credentials_if_due(link, now, to);
        let compress = self.config.as_ref().is_some_and(|c| c.compress_multicast());
        let mut packet = link.begin(to, Verb::MulticastFrame);
        MulticastFrame {
            network: self.id,
            replicate: false,
            com: None,
            gather_limit,
            source,
            group,
            ethertype: frame.ethertype,
            payload: frame.payload,
        }
        .write(&mut packet);
        if compress {
            packet::compress(&mut packet, 0);
        }
        link.send(now, packet);
    }

    /// Asks those who keep a directory for subscribers of a group, at most once a minute while some are known.
    fn gather(
        &mut self,
        link: &mut Link,
        directory: &mut Directory,
        now: i64,
        group: MulticastGroup,
        limit: usize,
    ) {
        let interval = if link.settings.low_bandwidth { 3 * GATHER } else { GATHER };
        let Some(entry) = directory.group_mut(self.id, group) else { return };
        // With nobody known ask again soon, but not once per frame of a burst.
        let pause = if entry.is_empty() { interval.min(1_000) } else { interval };
        if entry.last_gather != 0 && now - entry.last_gather < pause {
            return;
        }
        entry.last_gather = now;
        let com = self.config.as_ref().and_then(|c| c.com.clone());
        let best = link.topology.best_upstream(now).map(|(address, _)| address);
        let others = self.directories_of(link);
        let targets: Vec<Address> = best
            .into_iter()
            .chain(others.into_iter().filter(|a| Some(*a) != best && !link.topology.is_upstream(*a)))
            .take(MAX_GATHER_TARGETS)
            .collect();
        for to in targets {
            let mut packet = link.begin(to, Verb::MulticastGather);
            MulticastGather {
                network: self.id,
                group,
                limit: u32::try_from(limit).unwrap_or(u32::MAX),
                com: com.clone(),
            }
            .write(&mut packet);
            link.send(now, packet);
        }
    }
}

impl Switch {
    /// Announces all groups that are due for it: to the roots, the controller and anchors, and to every member.
    pub(in super::super) fn announce_groups(&mut self, link: &mut Link, now: i64) {
        if link.settings.low_bandwidth {
            return;
        }
        for network in self.networks.values_mut() {
            let groups: Vec<MulticastGroup> = network.own_groups().into_iter().collect();
            if now - network.last_announced >= ANNOUNCE {
                network.last_announced = now;
                for to in network.directories_of(link) {
                    network.send_likes(link, now, to, &groups);
                }
            }
            for to in network.members_allowed(link, now) {
                network.announce_to_member(link, now, to);
            }
        }
    }

    /// Repeats the announcements that are due for it.
    pub(in super::super) fn repeat_announcements(&mut self, link: &mut Link, now: i64) {
        for network in self.networks.values_mut() {
            if network.repeats.take(now) {
                let groups: Vec<MulticastGroup> = network.own_groups().into_iter().collect();
                network.announce_to_all(link, now, &groups);
            }
        }
    }

    /// Announces all our groups to a root, controller or anchor that says HELLO: it may have just started, with an empty
    /// directory, and would not find us for a minute.
    pub(in super::super) fn announce_to_greeter(&mut self, link: &mut Link, now: i64, greeter: Address) {
        let Some(peer) = link.topology.peers.get_mut(&greeter) else { return };
        if self.networks.is_empty() || !peer.announcements.allow(now, ANNOUNCE_AGAIN, 1) {
            return;
        }
        for network in self.networks.values() {
            if network.directories_of(link).contains(&greeter) {
                let groups: Vec<MulticastGroup> = network.own_groups().into_iter().collect();
                network.send_likes(link, now, greeter, &groups);
            }
        }
    }

    /// MULTICAST_LIKE: a peer listens to groups.
    pub(in super::super) fn receive_likes(
        &mut self,
        link: &mut Link,
        now: i64,
        incoming: &Incoming<'_>,
    ) -> Result<Handled> {
        let mut judged: Option<(NetworkId, Option<Announcer>)> = None;
        for (id, group) in MulticastLike::parse(incoming.payload)?.iter() {
            work::step();
            let announcer = match judged {
                Some((network, announcer)) if network == id => announcer,
                _ if self.may_use_directory(link, now, id, incoming.source) => {
                    Some(self.announcer(link, now, id, incoming.source, incoming.via))
                }
                _ => None,
            };
            judged = Some((id, announcer));
            if let Some(announcer) = announcer {
                self.add_subscriber(link, now, id, group, incoming.source, announcer);
            }
        }
        Ok(Handled::Credit)
    }

    fn may_use_directory(&mut self, link: &mut Link, now: i64, id: NetworkId, peer: Address) -> bool {
        self.networks.get_mut(&id).is_some_and(|network| network.gate(link, now, peer))
            || link.topology.am_root
            || self.directory.is_authorized(now, id, peer)
    }

    /// Who is answerable for a subscription that was told on a path: members of our own networks go before strangers, of whom
    /// one prefix is one.
    fn announcer(
        &mut self,
        link: &mut Link,
        now: i64,
        id: NetworkId,
        member: Address,
        via: PathKey,
    ) -> Announcer {
        let known = link.topology.peers.get(&member);
        let is_member = self.directory.is_authorized(now, id, member)
            || known.is_some_and(|peer| {
                self.networks.get_mut(&id).is_some_and(|network| network.allows(now, &peer.identity))
            });
        let source =
            if link.is_proven(now, &via) && known.is_some_and(|p| p.paths.iter().any(|p| p.key == via)) {
                Source::of(via.remote.ip())
            } else {
                Source::RELAYED
            };
        Announcer { stranger: !is_member, source }
    }

    /// Notes a subscriber; a new one gets the multicasts that wait for it.
    fn add_subscriber(
        &mut self,
        link: &mut Link,
        now: i64,
        id: NetworkId,
        group: MulticastGroup,
        member: Address,
        announcer: Announcer,
    ) {
        if member == link.address()
            || member.is_reserved()
            || !self.directory.add(now, id, group, member, announcer)
        {
            return;
        }
        let Some(network) = self.networks.get_mut(&id) else { return };
        let Some(entry) = self.directory.group_mut(id, group) else { return };
        for item in &mut entry.pending {
            let fresh = now - item.since < crate::ground::limits::MULTICAST_LIFETIME;
            if fresh && item.sent.len() < item.limit && !item.sent.contains(&member) {
                item.sent.push(member);
                let frame = Ethernet {
                    dest: group.mac,
                    source: item.source.unwrap_or(Mac::for_member(id, link.address())),
                    ethertype: item.ethertype,
                    payload: &item.payload,
                };
                network.send_multicast_copy(link, now, group, member, frame, item.source, None);
            }
        }
    }

    /// MULTICAST_GATHER: who listens to a group?
    pub(in super::super) fn answer_gather(
        &mut self,
        link: &mut Link,
        now: i64,
        incoming: &Incoming<'_>,
    ) -> Result<Handled> {
        let asked = MulticastGather::parse(incoming.payload)?;
        if let Some(com) = asked.com {
            self.offer_com(link, now, incoming, asked.network, com);
        }
        if asked.limit > 0 && self.may_use_directory(link, now, asked.network, incoming.source) {
            let gathered =
                self.subscribers(link, asked.network, asked.group, asked.limit as usize, incoming.source);
            if !gathered.members.is_empty() {
                let mut packet = link.begin_ok(incoming, Verb::MulticastGather);
                OkGather {
                    network: asked.network,
                    group: asked.group,
                    total: gathered.total,
                    members: gathered.members,
                }
                .write(&mut packet);
                link.reply(now, incoming.via, packet);
            }
        }
        Ok(Handled::Credit)
    }

    /// Up to `limit` subscribers of a group, ourselves first, then at random; never the asker.
    fn subscribers(
        &mut self,
        link: &mut Link,
        id: NetworkId,
        group: MulticastGroup,
        limit: usize,
        asker: Address,
    ) -> Gathered {
        let limit = limit.min(MAX_GATHERED);
        let ours = self.networks.get(&id).is_some_and(|n| n.is_subscribed(&group));
        let mut members: Vec<Address> = ours.then_some(link.address()).into_iter().collect();
        let mut total = members.len();
        if let Some(group) = self.directory.group(id, group) {
            total += group.len() - usize::from(group.contains(asker));
            group.sample(limit.saturating_sub(members.len()), asker, &mut link.rng, &mut members);
        }
        Gathered { total: u32::try_from(total).unwrap_or(u32::MAX), members }
    }

    /// The answer to a gather of ours.
    pub(in super::super) fn ok_gather(
        &mut self,
        link: &mut Link,
        now: i64,
        incoming: &Incoming<'_>,
        body: &[u8],
    ) -> Result<Handled> {
        let ok = OkGather::parse(body)?;
        if self.networks.contains_key(&ok.network) {
            for member in ok.members {
                let announcer = self.announcer(link, now, ok.network, member, incoming.via);
                self.add_subscriber(link, now, ok.network, ok.group, member, announcer);
            }
        }
        Ok(Handled::Credit)
    }

    /// The answer to a multicast of ours: more subscribers.
    pub(in super::super) fn ok_multicast_frame(
        &mut self,
        link: &mut Link,
        now: i64,
        incoming: &Incoming<'_>,
        body: &[u8],
    ) -> Result<Handled> {
        let ok = OkMulticastFrame::parse(body)?;
        if let Some(com) = ok.com {
            self.offer_com(link, now, incoming, ok.network, com);
        }
        if self.networks.contains_key(&ok.network) {
            for member in ok.gathered.into_iter().flat_map(|g| g.members) {
                let announcer = self.announcer(link, now, ok.network, member, incoming.via);
                self.add_subscriber(link, now, ok.network, ok.group, member, announcer);
            }
        }
        Ok(Handled::Credit)
    }

    /// MULTICAST_FRAME: a frame for a group.
    pub(in super::super) fn receive_multicast(
        &mut self,
        link: &mut Link,
        now: i64,
        incoming: &Incoming<'_>,
    ) -> Result<Handled> {
        let packet = MulticastFrame::parse(incoming.payload)?;
        let (id, from) = (packet.network, incoming.source);
        if let Some(com) = packet.com
            && self.networks.contains_key(&id)
        {
            self.offer_com(link, now, incoming, id, com);
        }
        let Some(network) = self.networks.get_mut(&id) else { return Ok(Handled::Credit) };
        if !network.gate(link, now, from) {
            return Ok(refuse(link, now, incoming, Verb::MulticastFrame, id));
        }
        let Some(config) = network.config.clone() else { return Ok(Handled::Credit) };
        if config.multicast_limit == 0 {
            return Ok(Handled::Trust);
        }
        let derived = Mac::for_member(id, from);
        let frame = Ethernet {
            dest: packet.group.mac,
            source: packet.source.unwrap_or(derived),
            ethertype: packet.ethertype,
            payload: packet.payload,
        };
        if !frame.payload.is_empty() {
            let impossible = !frame.dest.is_multicast()
                || frame.source == Mac([0; 6])
                || frame.source.is_multicast()
                || frame.source == network.mac
                || frame.payload.len() > 10_000;
            if impossible {
                network.deliver(link, incoming.ecn, frame, false);
                return Ok(Handled::Trust);
            }
            if packet.replicate && config.replicators().any(|r| r == link.address()) {
                let directory = &mut self.directory;
                let source = Some(frame.source);
                let multicast = Multicast { group: packet.group, frame, source, origin: Some(from) };
                network.send_multicast(link, directory, now, multicast);
            }
            if frame.source != derived {
                if !config.is_active_bridge(from) {
                    network.deliver(link, incoming.ecn, frame, false);
                    return Ok(Handled::Trust);
                }
                network.bridges.learn(now, frame.source, from);
            }
            let accepted = network.filter_in(link, now, from, frame) != Accept::Drop;
            network.deliver(link, incoming.ecn, frame, accepted);
        }
        if let Some(limit) = packet.gather_limit.filter(|l| *l > 0) {
            let gathered = self.subscribers(link, id, packet.group, limit as usize, from);
            if !gathered.members.is_empty() {
                let mut answer = link.begin_ok(incoming, Verb::MulticastFrame);
                OkMulticastFrame { network: id, group: packet.group, com: None, gathered: Some(gathered) }
                    .write(&mut answer);
                link.reply(now, incoming.via, answer);
            }
        }
        Ok(Handled::Trust)
    }

    /// ERROR(unwanted multicast): a member does not want to hear a group from us any more.
    pub(in super::super) fn multicast_unwanted(
        &mut self,
        link: &mut Link,
        now: i64,
        id: NetworkId,
        by: Address,
        body: &[u8],
    ) -> Result<()> {
        let group = MulticastGroup::read(&mut Reader::new(body))?;
        if self.networks.get_mut(&id).is_some_and(|network| network.gate(link, now, by)) {
            self.directory.remove(id, group, by);
        }
        Ok(())
    }
}
