//! Who may say what to whom on a network: the configuration in force, what is held about the other members and was revoked of
//! them, and the rules.
//!
//! Specification: VL2 credentials.

use std::collections::BTreeSet;

use flowrules::evaluate::{Direction, Verdict};
use protocol::credential::membership::Added;
use protocol::credential::{Membership, Revocation, Signed, Verification, kind};
use protocol::netconf::NetworkConfig;
use protocol::verb::Verb;
use protocol::verbs::NetworkCredentials;
use protocol::{Address, Identity, NetworkId, Span, Time, packet};
use zeroize::Zeroizing;

use super::configuration::Configuration;
use super::ethernet::Ethernet;
use super::filter::Case;
use super::revoked::{LONGEST, Revoked};
use super::rules::Rules;
use crate::ground::limits::{CREDENTIALS_PUSH, CREDENTIALS_SPACING, MAX_MEMBERS, TRUST};
use crate::ground::table::{Share, Table};
use crate::link::Link;
use crate::link::path::PathKey;

/// Certificates pushed when asked for: at most one a second per member.
const PUSH_ON_REQUEST: Span = Span::secs(1);
/// Bytes of payload of one credentials packet.
const MAX_CREDENTIALS: usize = 9_000;

/// What we hold about another member.
#[derive(Debug, Default)]
pub(super) struct Member {
    /// Its credentials and what was revoked of them.
    pub(super) record: Membership,
    /// When our credentials were last pushed to it.
    last_push: Option<Time>,
    /// When our groups were last announced to it.
    pub(super) last_announced: Option<Time>,
    /// Our configuration's epoch under which its certificate was last found to agree with ours, so that not every frame costs
    /// a comparison with a hash in it. Reset by every change of its record.
    agreed_in: Option<u64>,
    /// When the record last changed.
    changed: Option<Time>,
}

/// Which records go first when there are too many: those of whom nothing was ever proven.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Standing {
    /// Its controller has signed something about it.
    Credentials,
    /// It was merely heard, on a public network, or is one we send to.
    Heard,
}

impl Share for Standing {
    fn rank(&self) -> u8 {
        *self as u8
    }
}

impl Member {
    /// Whether it has our present credentials, sent lately enough. Every frame asks; mostly they are.
    #[inline]
    pub(super) fn has_ours(&self, configuration: &Configuration, now: Time) -> bool {
        self.pushed_since(configuration, now, CREDENTIALS_PUSH)
    }

    fn pushed_since(&self, configuration: &Configuration, now: Time, interval: Span) -> bool {
        self.last_push.is_some_and(|at| Some(at) >= configuration.last_update && now - at < interval)
    }

    /// Whether forgetting the record could let something revoked in again.
    pub(super) fn is_memorable(&self, now: Time) -> bool {
        self.changed.is_some_and(|at| now - at < TRUST * 12)
    }
}

/// What decides on a network.
pub(in super::super) struct Policy {
    pub(super) network: NetworkId,
    pub(super) configuration: Configuration,
    /// What is held about the other members, as far as we have heard of them.
    pub(super) members: Table<Address, Standing, Member>,
    pub(super) revoked: Revoked,
    pub(in super::super) rules: Rules,
}

impl Policy {
    /// Nothing is known yet but perhaps a token.
    pub(super) fn new(network: NetworkId, now: Time, token: Option<Zeroizing<String>>) -> Self {
        Self {
            network,
            configuration: Configuration::wanted(now, token),
            members: Table::new(MAX_MEMBERS, MAX_MEMBERS),
            revoked: Revoked::default(),
            rules: Rules::default(),
        }
    }

    /// The configuration in force.
    #[inline]
    pub(super) fn config(&self) -> Option<&NetworkConfig> {
        self.configuration.current.as_deref()
    }

    /// The verdict over a frame to or from `them` (null while unknown), counted and perhaps traced. `no_tee`: copies were made
    /// already. And whether the other end has our present credentials. `None` without a configuration.
    #[inline]
    pub(super) fn verdict(
        &mut self,
        link: &mut Link,
        now: Time,
        direction: Direction,
        them: Address,
        frame: Ethernet<'_>,
        no_tee: bool,
    ) -> Option<(Verdict, bool)> {
        let config = self.configuration.current.as_deref()?;
        let member = self.members.get(&them);
        let record = member.map(|member| &member.record);
        let has_ours = member.is_some_and(|member| member.has_ours(&self.configuration, now));
        let case = Case { direction, them, record, frame, no_tee };
        Some((self.rules.verdict(link, now, config, &case), has_ours))
    }

    /// The verdict over all `frames` frames that a super-frame for a member becomes, see [`Rules::verdict_for_all`].
    pub(super) fn verdict_for_all(
        &mut self,
        link: &mut Link,
        now: Time,
        them: Address,
        frame: Ethernet<'_>,
        frames: u64,
    ) -> Option<(bool, bool)> {
        let config = self.configuration.current.as_deref()?;
        let member = self.members.get(&them);
        let record = member.map(|member| &member.record);
        let has_ours = member.is_some_and(|member| member.has_ours(&self.configuration, now));
        let case = Case { direction: Direction::Outbound, them, record, frame, no_tee: false };
        Some((self.rules.verdict_for_all(link, config, &case, frames)?, has_ours))
    }

    /// Who keeps a directory for the network: the roots, its controller, its anchors and replicators.
    pub(super) fn directories(&self, link: &Link) -> BTreeSet<Address> {
        let mut to: BTreeSet<Address> = link.topology.upstreams.keys().copied().collect();
        if !self.network.is_adhoc() {
            to.insert(self.network.controller());
        }
        if let Some(config) = self.config() {
            to.extend(config.anchors().chain(config.replicators()));
        }
        to.remove(&link.address());
        to
    }

    /// The record of a member, made if need be. At the cap one of whom nothing was proven makes room, else the one unchanged for
    /// longest.
    fn made(&mut self, now: Time, address: Address) -> Option<&mut Member> {
        if !self.members.contains_key(&address) {
            let member = self.fresh_record(address);
            self.keep_record(now, address, Standing::Heard, member);
        }
        self.members.get_mut(&address)
    }

    /// A record of a member of whom none is kept. What an earlier run kept as revoked is so from the beginning.
    fn fresh_record(&self, address: Address) -> Member {
        let mut member = Member::default();
        self.revoked.apply(address, &mut member.record);
        member
    }

    fn keep_record(&mut self, now: Time, address: Address, standing: Standing, member: Member) {
        if let Some((gone, _)) = self.members.insert(now, standing, address, member) {
            self.rules.credentials_changed(gone);
        }
    }

    /// Offers something about a member to its record. Nothing is remembered of somebody before something about him has proven
    /// genuine.
    pub(super) fn offer(
        &mut self,
        now: Time,
        subject: Address,
        add: impl FnOnce(&mut Membership) -> Added,
    ) -> Added {
        let (added, member) = if let Some(member) = self.members.get_mut(&subject) {
            let added = add(&mut member.record);
            (added, if added == Added::New { self.members.remove(&subject) } else { None })
        } else {
            let mut member = self.fresh_record(subject);
            let added = add(&mut member.record);
            (added, (added == Added::New).then_some(member))
        };
        if let Some(member) = member {
            self.keep_record(now, subject, Standing::Credentials, member);
            self.note(now, subject);
        }
        added
    }

    /// Whether our own certificates went to a member within the time in which a zerotier-one takes no others.
    pub(super) fn has_just_pushed(&self, now: Time, member: Address) -> bool {
        self.members.get(&member).and_then(|m| m.last_push).is_some_and(|at| now - at < CREDENTIALS_SPACING)
    }

    /// Whether `peer` may be on the network with us.
    pub(super) fn allows(&mut self, now: Time, peer: &Identity) -> bool {
        let Self { configuration, members, .. } = self;
        let Some(config) = configuration.current.as_deref() else { return false };
        if config.public {
            self.made(now, peer.address);
            return true;
        }
        let (Some(ours), Some(member)) = (&config.com, members.get_mut(&peer.address)) else {
            return false;
        };
        if member.agreed_in != Some(configuration.epoch) {
            member.agreed_in = member.record.agrees(ours, peer).then_some(configuration.epoch);
        }
        member.agreed_in.is_some()
    }

    /// Members with a record that may talk to us.
    pub(super) fn allowed(&mut self, link: &Link, now: Time) -> Vec<Address> {
        let known: Vec<Address> = self.members.keys().copied().collect();
        let peers = &link.topology.peers;
        let may_talk =
            |address: &Address| peers.get(address).is_some_and(|peer| self.allows(now, &peer.identity));
        known.into_iter().filter(may_talk).collect()
    }

    /// Pushes our credentials to a member that cannot have the present ones, unless that was done in the last `interval`.
    #[inline]
    fn push(&mut self, link: &mut Link, now: Time, to: Address, via: Option<PathKey>, interval: Span) {
        let has_them = |member: &Member| member.pushed_since(&self.configuration, now, interval);
        if self.members.get(&to).is_some_and(has_them) {
            return;
        }
        let Some(config) = self.configuration.current.clone() else { return };
        let Some(member) = self.made(now, to) else { return };
        member.last_push = Some(now);
        let set = NetworkCredentials {
            coms: config.com.iter().cloned().collect(),
            capabilities: config.capabilities.clone(),
            tags: config.tags.clone(),
            revocations: Vec::new(),
            coos: config.coos.clone(),
        };
        Self::send(link, now, to, via, &set);
    }

    /// Pushes our credentials to a member we are about to talk to, when it cannot have the present ones.
    #[inline]
    pub(super) fn push_if_due(&mut self, link: &mut Link, now: Time, to: Address) {
        self.push(link, now, to, None, CREDENTIALS_PUSH);
    }

    /// A peer refused a packet of ours for want of our certificate. That goes where it was refused from.
    pub(super) fn push_where_wanted(&mut self, link: &mut Link, now: Time, by: Address, via: PathKey) {
        if self.config().is_some_and(|c| c.com.is_some()) {
            // A virtual machine that was halted for hours has an old certificate, and a clock that does not know.
            if self.members.get(&by).is_some_and(|member| member.has_ours(&self.configuration, now)) {
                self.configuration.doubt(now);
            }
            self.push(link, now, by, Some(via), PUSH_ON_REQUEST);
        }
    }

    /// Sends a set of credentials in as many packets as it takes, by a path if one is given.
    pub(super) fn send(
        link: &mut Link,
        now: Time,
        to: Address,
        via: Option<PathKey>,
        set: &NetworkCredentials,
    ) {
        if let Some(peer) = link.topology.peers.get_mut(&to) {
            peer.credentials_sent = Some(now);
        }
        for payload in set.packets(MAX_CREDENTIALS) {
            let mut packet = link.begin(to, Verb::NetworkCredentials);
            packet.extend_from_slice(&payload);
            packet::compress(&mut packet, 0);
            match via {
                Some(via) => link.reply(now, via, packet),
                None => link.send(now, packet),
            }
        }
    }

    /// Something new is known about a member. What was derived from its record before is not valid any more.
    fn note(&mut self, now: Time, address: Address) {
        self.rules.credentials_changed(address);
        let Some(member) = self.members.get_mut(&address) else { return };
        member.agreed_in = None;
        member.changed = Some(now);
        if let Some(config) = self.configuration.current.as_deref() {
            for capability in member.record.capabilities(config.window()) {
                self.rules.presented(capability.id, &capability.rules);
            }
        }
    }

    /// Takes in a revocation: verified first, put into force, and kept.
    pub(super) fn add_revocation(
        &mut self,
        now: Time,
        revocation: &Signed<Revocation>,
        lookup: impl Fn(Address) -> Option<Identity>,
    ) -> Added {
        if !matches!(revocation.kind, kind::COM | kind::CAPABILITY | kind::TAG | kind::COO) {
            return Added::Rejected;
        }
        // What would change nothing is not worth looking at its signature.
        if self.revoked.knows(revocation) {
            return Added::Redundant;
        }
        match revocation.verify(lookup) {
            Verification::Invalid => return Added::Rejected,
            Verification::UnknownSigner(signer) => return Added::UnknownSigner(signer),
            Verification::Valid => {}
        }
        let (kind, id, threshold) = (revocation.kind, revocation.credential_id, revocation.threshold);
        let added = self.offer(now, revocation.target, |record| record.raise_threshold(kind, id, threshold));
        let window = self.config().map_or(LONGEST, |config| config.credential_window * 2);
        self.revoked.keep((revocation.target, kind, id), threshold, now + window.clamp(Span::ZERO, LONGEST));
        self.revoked.is_to_be_stored(now);
        added
    }

    /// Puts into force what an earlier run kept of revocations. False when the file was damaged: what could be read of it counts
    /// all the same.
    pub(in super::super) fn restore_revocations(&mut self, now: Time, bytes: &[u8]) -> bool {
        let whole = self.revoked.read(now, bytes);
        for (address, member) in self.members.iter_mut() {
            self.revoked.apply(*address, &mut member.record);
        }
        whole
    }

    /// Forgets those who are gone. A record with a revocation outlives the peer: forgetting it would let a revoked certificate in
    /// again.
    pub(super) fn expire(&mut self, link: &Link, now: Time) {
        self.revoked.expire(now);
        let rules = &mut self.rules;
        self.members.retain(|address, member| {
            let kept = link.topology.peers.contains_key(address) || member.is_memorable(now);
            if !kept && !member.record.is_empty() {
                rules.credentials_changed(*address);
            }
            kept
        });
    }
}

#[cfg(feature = "work")]
impl Policy {
    /// See `filling`.
    pub(super) fn fill(&mut self, now: Time, peer: impl Fn(u64) -> Address) {
        self.members.fill(now, |number| {
            let member = Member { changed: Some(now), last_announced: Some(now), ..Member::default() };
            (Standing::Heard, peer(number), member)
        });
        self.revoked.fill(now, peer);
        self.configuration.fill();
        self.rules.fill();
    }
}
