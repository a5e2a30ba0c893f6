//! Who may talk to us on a network: what is held about the other members, and what was revoked of them.
//!
//! Specification: VL2 credentials.

use protocol::credential::membership::Added;
use protocol::credential::{Membership, Revocation, Verification, kind};
use protocol::netconf::NetworkConfig;
use protocol::verb::Verb;
use protocol::verbs::NetworkCredentials;
use protocol::{Address, Identity, packet};

use super::configuration::Configuration;
use super::revoked::{LONGEST, Revoked};
use super::rules::Rules;
use crate::ground::limits::{CREDENTIALS_PUSH, CREDENTIALS_SPACING, MAX_MEMBERS, TRUST};
use crate::ground::table::{Share, Table};
use crate::link::Link;

/// Bytes of payload of one credentials packet.
const MAX_CREDENTIALS: usize = 9_000;

/// What we hold about another member.
#[derive(Debug, Default)]
pub(super) struct Member {
    /// Its credentials and what was revoked of them.
    pub(super) record: Membership,
    /// When our credentials were last pushed to it.
    last_push: i64,
    /// When our groups were last announced to it.
    pub(super) last_announced: i64,
    /// Our configuration's epoch under which its certificate was last found to agree with ours, so that not every frame costs
    /// a comparison with a hash in it. Reset by every change of its record.
    agreed_in: Option<u64>,
    /// When the record last changed.
    changed: i64,
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
    pub(super) fn has_ours(&self, configuration: &Configuration, now: i64) -> bool {
        self.pushed_since(configuration, now, CREDENTIALS_PUSH)
    }

    fn pushed_since(&self, configuration: &Configuration, now: i64, interval: i64) -> bool {
        self.last_push != 0 && self.last_push >= configuration.last_update && now - self.last_push < interval
    }

    /// Whether forgetting the record could let something revoked in again.
    pub(super) fn is_memorable(&self, now: i64) -> bool {
        now - self.changed < 12 * TRUST
    }
}

/// The members of a network, as far as we have heard of them.
pub(in super::super) struct Members {
    table: Table<Address, Standing, Member>,
    pub(super) revoked: Revoked,
}

impl Default for Members {
    fn default() -> Self {
        Self { table: Table::new(MAX_MEMBERS, MAX_MEMBERS), revoked: Revoked::default() }
    }
}

impl Members {
    /// What is held about a member.
    pub(super) fn get(&self, address: Address) -> Option<&Member> {
        self.table.get(&address)
    }

    /// The same, to be changed in what is not about credentials.
    pub(super) fn get_mut(&mut self, address: Address) -> Option<&mut Member> {
        self.table.get_mut(&address)
    }

    /// Everybody of whom something is held.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Address, &Member)> {
        self.table.iter()
    }

    /// The record of a member, made if need be. At the cap one of whom nothing was proven makes room, else the one unchanged for
    /// longest.
    fn made(&mut self, rules: &mut Rules, now: i64, address: Address) -> Option<&mut Member> {
        if !self.table.contains_key(&address) {
            let member = self.fresh_record(address);
            self.keep_record(rules, now, address, Standing::Heard, member);
        }
        self.table.get_mut(&address)
    }

    /// A record of a member of whom none is kept. What an earlier run kept as revoked is so from the beginning.
    fn fresh_record(&self, address: Address) -> Member {
        let mut member = Member::default();
        self.revoked.apply(address, &mut member.record);
        member
    }

    fn keep_record(
        &mut self,
        rules: &mut Rules,
        now: i64,
        address: Address,
        standing: Standing,
        member: Member,
    ) {
        if let Some((gone, _)) = self.table.insert(now, standing, address, member) {
            rules.credentials_changed(gone);
        }
    }

    /// Offers something about a member to its record. Nothing is remembered of somebody before something about him has proven
    /// genuine.
    pub(super) fn offer(
        &mut self,
        rules: &mut Rules,
        config: Option<&NetworkConfig>,
        now: i64,
        subject: Address,
        add: impl FnOnce(&mut Membership) -> Added,
    ) -> Added {
        let (added, member) = if let Some(member) = self.table.get_mut(&subject) {
            let added = add(&mut member.record);
            (added, if added == Added::New { self.table.remove(&subject) } else { None })
        } else {
            let mut member = self.fresh_record(subject);
            let added = add(&mut member.record);
            (added, (added == Added::New).then_some(member))
        };
        if let Some(member) = member {
            self.keep_record(rules, now, subject, Standing::Credentials, member);
            self.note(rules, config, now, subject);
        }
        added
    }

    /// Whether our own certificates went to a member within the time in which a zerotier-one takes no others.
    pub(super) fn has_just_pushed(&self, now: i64, member: Address) -> bool {
        self.table.get(&member).is_some_and(|m| m.last_push != 0 && now - m.last_push < CREDENTIALS_SPACING)
    }

    /// Whether `peer` may be on the network with us.
    pub(super) fn allows(
        &mut self,
        rules: &mut Rules,
        configuration: &Configuration,
        now: i64,
        peer: &Identity,
    ) -> bool {
        let Some(config) = configuration.current.as_deref() else { return false };
        if config.public {
            self.made(rules, now, peer.address);
            return true;
        }
        let (Some(ours), Some(member)) = (&config.com, self.table.get_mut(&peer.address)) else {
            return false;
        };
        if member.agreed_in != Some(configuration.epoch) {
            member.agreed_in = member.record.agrees(ours, peer).then_some(configuration.epoch);
        }
        member.agreed_in.is_some()
    }

    /// Members with a record that may talk to us.
    pub(super) fn allowed(
        &mut self,
        rules: &mut Rules,
        configuration: &Configuration,
        link: &Link,
        now: i64,
    ) -> Vec<Address> {
        let known: Vec<Address> = self.table.keys().copied().collect();
        let peers = &link.topology.peers;
        let may_talk = |address: &Address| {
            peers.get(address).is_some_and(|peer| self.allows(rules, configuration, now, &peer.identity))
        };
        known.into_iter().filter(may_talk).collect()
    }

    /// Pushes our credentials to a member that cannot have the present ones, unless that was done in the last `interval` ms.
    #[inline]
    pub(super) fn push(
        &mut self,
        rules: &mut Rules,
        configuration: &Configuration,
        link: &mut Link,
        now: i64,
        to: Address,
        interval: i64,
    ) {
        if self.table.get(&to).is_some_and(|member| member.pushed_since(configuration, now, interval)) {
            return;
        }
        let Some(config) = configuration.current.as_deref() else { return };
        let Some(member) = self.made(rules, now, to) else { return };
        member.last_push = now;
        let set = NetworkCredentials {
            coms: config.com.iter().cloned().collect(),
            capabilities: config.capabilities.clone(),
            tags: config.tags.clone(),
            revocations: Vec::new(),
            coos: config.coos.clone(),
        };
        send_credentials(link, now, to, &set);
    }

    /// Something new is known about a member. What was derived from its record before is not valid any more.
    fn note(&mut self, rules: &mut Rules, config: Option<&NetworkConfig>, now: i64, address: Address) {
        rules.credentials_changed(address);
        let Some(member) = self.table.get_mut(&address) else { return };
        member.agreed_in = None;
        member.changed = now;
        if let Some(config) = config {
            for capability in member.record.capabilities(config.window()) {
                rules.presented(capability.id, &capability.rules);
            }
        }
    }

    /// Takes in a revocation: verified first, put into force, and kept.
    pub(super) fn add_revocation(
        &mut self,
        rules: &mut Rules,
        config: Option<&NetworkConfig>,
        now: i64,
        revocation: &Revocation,
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
        let added = self.offer(rules, config, now, revocation.target, |record| {
            record.raise_threshold(kind, id, threshold)
        });
        let window = config.map_or(LONGEST, |config| 2 * config.credential_window);
        self.revoked.keep((revocation.target, kind, id), threshold, now + window.clamp(0, LONGEST));
        self.revoked.is_to_be_stored();
        added
    }

    /// Puts into force what an earlier run kept of revocations. False when the file was damaged: what could be read of it counts
    /// all the same.
    pub(in super::super) fn restore_revocations(&mut self, now: i64, bytes: &[u8]) -> bool {
        let whole = self.revoked.read(now, bytes);
        for (address, member) in self.table.iter_mut() {
            self.revoked.apply(*address, &mut member.record);
        }
        whole
    }

    /// Forgets those who are gone. A record with a revocation outlives the peer: forgetting it would let a revoked certificate in
    /// again.
    pub(super) fn expire(&mut self, rules: &mut Rules, link: &Link, now: i64) {
        self.revoked.expire(now);
        self.table.retain(|address, member| {
            let kept = link.topology.peers.contains_key(address) || member.is_memorable(now);
            if !kept && !member.record.is_empty() {
                rules.credentials_changed(*address);
            }
            kept
        });
    }
}

/// Sends a set of credentials in as many packets as it takes.
pub(super) fn send_credentials(link: &mut Link, now: i64, to: Address, set: &NetworkCredentials) {
    if let Some(peer) = link.topology.peers.get_mut(&to) {
        peer.credentials_sent = now;
    }
    for payload in set.packets(MAX_CREDENTIALS) {
        let mut packet = link.begin(to, Verb::NetworkCredentials);
        packet.extend_from_slice(&payload);
        packet::compress(&mut packet, 0);
        link.send(now, packet);
    }
}

#[cfg(feature = "work")]
impl Members {
    /// See `filling`.
    pub(super) fn fill(&mut self, now: i64, peer: impl Fn(u64) -> Address) {
        self.table.fill(now, |number| {
            let member = Member { changed: now, last_announced: now, ..Member::default() };
            (Standing::Heard, peer(number), member)
        });
        self.revoked.fill(now, peer);
    }

    /// See `filling`.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}
