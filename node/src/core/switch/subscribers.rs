//! Who listens to which group, as others tell it, and telling others.
//!
//! Specification: VL2 frames, "multicast".

use protocol::multicast_group::MulticastGroup;
use protocol::reader::Reader;
use protocol::verb::Verb;
use protocol::verbs::{Gathered, MulticastGather, MulticastLike, OkGather, OkMulticastFrame};
use protocol::{Address, Mac, NetworkId, Result, Time};

use super::Networks;
use super::directory::{Announcer, Directory};
use super::ethernet::Ethernet;
use super::multicast::Multicast;
use super::network::Network;
use crate::ground::limits::MULTICAST_LIFETIME;
use crate::ground::sources::Source;
use crate::ground::work;
use crate::link::path::PathKey;
use crate::link::{Handled, Incoming, Link};

/// Addresses in one answer to a gather: the answer stays one datagram of the default size.
const MAX_GATHERED: usize = 250;

impl Directory {
    /// MULTICAST_LIKE: a peer listens to groups. What it says of a network of ours waits for its certificate: where we have just been
    /// started again it believes that we have that, and would not say it again for a minute.
    pub(super) fn receive_likes(
        &mut self,
        networks: &mut Networks,
        link: &mut Link,
        now: Time,
        incoming: &Incoming<'_>,
    ) -> Result<Handled> {
        let mut handled = Handled::Credit;
        let mut judged: Option<(NetworkId, Option<Announcer>)> = None;
        for (id, group) in MulticastLike::parse(incoming.payload)?.iter() {
            work::step();
            let announcer = match judged {
                Some((network, announcer)) if network == id => announcer,
                _ if self.is_open_to(networks, link, now, id, incoming.source) => {
                    Some(self.announcer(networks, link, now, id, incoming.source, incoming.via))
                }
                _ => {
                    if let Some(network) = networks.get(&id).filter(|_| handled == Handled::Credit) {
                        handled = network.refuse(link, now, incoming, Verb::MulticastLike);
                    }
                    None
                }
            };
            judged = Some((id, announcer));
            if let Some(announcer) = announcer {
                self.subscribe(networks.get_mut(&id), link, now, (id, group), incoming.source, announcer);
            }
        }
        Ok(handled)
    }

    /// Whether a peer may use the directory of a network.
    fn is_open_to(
        &mut self,
        networks: &mut Networks,
        link: &mut Link,
        now: Time,
        id: NetworkId,
        peer: Address,
    ) -> bool {
        networks.get_mut(&id).is_some_and(|network| network.gate(link, now, peer))
            || link.topology.am_root
            || self.is_authorized(now, id, peer)
    }

    /// Who is answerable for a subscription that was told on a path: members of our own networks go before strangers, of whom
    /// one prefix is one.
    fn announcer(
        &self,
        networks: &mut Networks,
        link: &Link,
        now: Time,
        id: NetworkId,
        member: Address,
        via: PathKey,
    ) -> Announcer {
        let known = link.topology.peers.get(&member);
        let is_member = self.is_authorized(now, id, member)
            || known.is_some_and(|peer| {
                networks.get_mut(&id).is_some_and(|network| network.policy.allows(now, &peer.identity))
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
    fn subscribe(
        &mut self,
        network: Option<&mut Network>,
        link: &mut Link,
        now: Time,
        (id, group): (NetworkId, MulticastGroup),
        member: Address,
        announcer: Announcer,
    ) {
        if member == link.address() || member.is_reserved() || !self.add(now, id, group, member, announcer) {
            return;
        }
        let Some(network) = network else { return };
        let Some(entry) = self.group_mut(id, group) else { return };
        for item in &mut entry.pending {
            let fresh = now - item.since < MULTICAST_LIFETIME;
            if fresh && item.sent.len() < item.limit && !item.sent.contains(&member) {
                item.sent.push(member);
                let frame = Ethernet {
                    dest: group.mac,
                    source: item.source.unwrap_or(Mac::for_member(id, link.address())),
                    ethertype: item.ethertype,
                    payload: &item.payload,
                };
                let multicast = Multicast { group, frame, source: item.source, origin: None };
                multicast.send_to(network, link, now, member, None);
            }
        }
    }

    /// MULTICAST_GATHER: who listens to a group?
    pub(super) fn answer_gather(
        &mut self,
        networks: &mut Networks,
        link: &mut Link,
        now: Time,
        incoming: &Incoming<'_>,
        asked: &MulticastGather,
    ) {
        let id = asked.network;
        if asked.limit == 0 || !self.is_open_to(networks, link, now, id, incoming.source) {
            return;
        }
        let ours = networks
            .get(&id)
            .is_some_and(|network| network.groups.has(network.policy.config(), &asked.group));
        let gathered = self.gathered(link, ours, (id, asked.group), asked.limit as usize, incoming.source);
        if !gathered.members.is_empty() {
            let mut packet = link.begin_ok(incoming, Verb::MulticastGather);
            OkGather { network: id, group: asked.group, total: gathered.total, members: gathered.members }
                .write(&mut packet);
            link.reply(now, incoming.via, packet);
        }
    }

    /// Answers a frame for a group with more of its subscribers.
    pub(super) fn tell_more(
        &self,
        network: &Network,
        link: &mut Link,
        now: Time,
        incoming: &Incoming<'_>,
        group: MulticastGroup,
        limit: usize,
    ) {
        let ours = network.groups.has(network.policy.config(), &group);
        let gathered = self.gathered(link, ours, (network.id, group), limit, incoming.source);
        if !gathered.members.is_empty() {
            let mut answer = link.begin_ok(incoming, Verb::MulticastFrame);
            OkMulticastFrame { network: network.id, group, com: None, gathered: Some(gathered) }
                .write(&mut answer);
            link.reply(now, incoming.via, answer);
        }
    }

    /// Up to `limit` subscribers of a group, ourselves first if we are one, then at random; never the asker.
    fn gathered(
        &self,
        link: &mut Link,
        ours: bool,
        (id, group): (NetworkId, MulticastGroup),
        limit: usize,
        asker: Address,
    ) -> Gathered {
        let limit = limit.min(MAX_GATHERED);
        let mut members: Vec<Address> = ours.then_some(link.address()).into_iter().collect();
        let mut total = members.len();
        if let Some(group) = self.group(id, group) {
            total += group.len() - usize::from(group.contains(asker));
            group.sample(limit.saturating_sub(members.len()), asker, &mut link.rng, &mut members);
        }
        Gathered { total: u32::try_from(total).unwrap_or(u32::MAX), members }
    }

    /// Members whom the answer to a question or a multicast of ours names.
    pub(super) fn told(
        &mut self,
        networks: &mut Networks,
        link: &mut Link,
        now: Time,
        incoming: &Incoming<'_>,
        of: (NetworkId, MulticastGroup),
        members: Vec<Address>,
    ) {
        if !networks.contains_key(&of.0) {
            return;
        }
        for member in members {
            let announcer = self.announcer(networks, link, now, of.0, member, incoming.via);
            self.subscribe(networks.get_mut(&of.0), link, now, of, member, announcer);
        }
    }

    /// ERROR(unwanted multicast): a member does not want to hear a group from us any more.
    pub(super) fn unwanted(
        &mut self,
        networks: &mut Networks,
        link: &mut Link,
        now: Time,
        id: NetworkId,
        by: Address,
        body: &[u8],
    ) -> Result<()> {
        let group = MulticastGroup::read(&mut Reader::new(body))?;
        if networks.get_mut(&id).is_some_and(|network| network.gate(link, now, by)) {
            self.remove(id, group, by);
        }
        Ok(())
    }
}
