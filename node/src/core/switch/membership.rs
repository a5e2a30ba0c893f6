//! Who may talk to us on a network: credentials received and sent, and the gate.
//!
//! Specification: VL2 credentials.

use protocol::credential::membership::Added;
use protocol::credential::{Capability, Com, Coo, Membership, Tag, kind};
use protocol::verb::Verb;
use protocol::verbs::NetworkCredentials;
use protocol::{Address, Identity, NetworkId, Result, SecretIdentity, packet};

use super::Network;
use super::Switch;
use crate::ground::limits::{
    CREDENTIALS_PUSH, CREDENTIALS_SPACING, FORGERY_BURST, FORGERY_GATE, MEMBER_FORGERY_BURST,
    RELAYED_FORGERY_BURST, RELAYED_FORGERY_GATE, REPEAT_BURST, REPEAT_GATE, SOURCE_FORGERY_BURST,
    SOURCE_FORGERY_GATE, TRUST,
};
use crate::ground::sources::Source;
use crate::ground::table::Share;
use crate::ground::work;
use crate::link::Link;
use crate::link::topology::Topology;
use crate::link::{Handled, Incoming};

/// Bytes of payload of one credentials packet.
const MAX_CREDENTIALS: usize = 9_000;
/// Certificates pushed when asked for: at most one a second per member.
const PUSH_ON_REQUEST: i64 = 1_000;

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
    /// Whether forgetting the record could let something revoked in again.
    pub(super) fn is_memorable(&self, now: i64) -> bool {
        now - self.changed < 12 * TRUST
    }
}

impl Network {
    /// The record of a member, made if need be. At the cap one of whom nothing was proven makes room, else the one unchanged for
    /// longest.
    pub(super) fn member(&mut self, now: i64, address: Address) -> Option<&mut Member> {
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

    fn keep_record(&mut self, now: i64, address: Address, standing: Standing, member: Member) {
        if let Some((gone, _)) = self.members.insert(now, standing, address, member) {
            self.rules.credentials_changed(gone);
        }
    }

    /// Offers something about a member to its record. Nothing is remembered of somebody before something about him has proven
    /// genuine.
    pub(super) fn offer(
        &mut self,
        now: i64,
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
    pub(super) fn has_just_pushed(&self, now: i64, member: Address) -> bool {
        self.members.get(&member).is_some_and(|m| m.last_push != 0 && now - m.last_push < CREDENTIALS_SPACING)
    }

    /// Whether `peer` may be on this network with us.
    pub(super) fn allows(&mut self, now: i64, peer: &Identity) -> bool {
        let Some(config) = self.config.as_ref() else { return false };
        if config.public {
            self.member(now, peer.address);
            return true;
        }
        let epoch = self.epoch;
        let (Some(ours), Some(member)) = (&config.com, self.members.get_mut(&peer.address)) else {
            return false;
        };
        if member.agreed_in != Some(epoch) {
            member.agreed_in = member.record.agrees(ours, peer).then_some(epoch);
        }
        member.agreed_in.is_some()
    }
}

/// Identities that signatures can be checked with: our peers' and, when we are the controller, our own.
pub(super) fn known(topology: &Topology, secret: &SecretIdentity) -> impl Fn(Address) -> Option<Identity> {
    move |address| {
        if address == secret.identity().address {
            Some(secret.identity().clone())
        } else {
            topology.peers.get(&address).map(|peer| peer.identity.clone())
        }
    }
}

impl Network {
    /// Whether a peer may talk on a network. If so, it hears of our groups once in a while.
    pub(super) fn gate(&mut self, link: &mut Link, now: i64, peer: Address) -> bool {
        let Some(known) = link.topology.peers.get(&peer) else { return false };
        if !self.allows(now, &known.identity) {
            return false;
        }
        self.announce_to_member(link, now, peer);
        true
    }

    fn push_credentials(&mut self, link: &mut Link, now: i64, to: Address, interval: i64) {
        let changed = self.last_update;
        // Every frame comes by here; mostly there is nothing to do.
        let has_them = |member: &Member| {
            member.last_push != 0 && member.last_push >= changed && now - member.last_push < interval
        };
        if self.members.get(&to).is_some_and(has_them) {
            return;
        }
        let Some(config) = self.config.clone() else { return };
        let Some(member) = self.member(now, to) else { return };
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

    /// Pushes our credentials to a member we are about to talk to, when it cannot have the present ones.
    pub(super) fn push_credentials_if_due(&mut self, link: &mut Link, now: i64, to: Address) {
        self.push_credentials(link, now, to, CREDENTIALS_PUSH);
    }

    /// A peer refused a frame of ours for want of our certificate.
    pub(in super::super) fn credentials_wanted(&mut self, link: &mut Link, now: i64, by: Address) {
        if self.config.as_ref().is_some_and(|c| c.com.is_some()) {
            self.push_credentials(link, now, by, PUSH_ON_REQUEST);
        }
    }
}

impl Switch {
    /// A certificate that came inside another packet.
    pub(super) fn offer_com(
        &mut self,
        link: &mut Link,
        now: i64,
        incoming: &Incoming<'_>,
        id: NetworkId,
        com: Com,
    ) {
        if com.network() == id && self.may_offer(link, now, incoming) {
            let subject = com.issued_to();
            self.offer(link, now, incoming, id, subject, |record, lookup| record.add_com(com, lookup));
        }
    }

    /// NETWORK_CREDENTIALS: certificates, capabilities, tags, revocations, ownership; of anybody, for any network.
    pub(in super::super) fn receive_credentials(
        &mut self,
        link: &mut Link,
        now: i64,
        incoming: &Incoming<'_>,
    ) -> Result<Handled> {
        let set = NetworkCredentials::parse(incoming.payload)?;
        // Only what was issued to the sender makes it somebody to talk to: anybody can pass on what others have.
        let mut trusted = false;
        macro_rules! offer {
            ($items:expr, $network:expr, $subject:expr, $add:expr) => {
                for item in $items {
                    if !self.may_offer(link, now, incoming) {
                        return Ok(Handled::Ignore);
                    }
                    let (network, subject): (NetworkId, Address) = ($network(&item), $subject(&item));
                    let added = self.offer(link, now, incoming, network, subject, |record, known| {
                        $add(record, item, known)
                    });
                    match added {
                        Added::UnknownSigner(signer) => return Ok(self.await_signer(link, now, signer)),
                        added => trusted |= added.is_accepted() && subject == incoming.source,
                    }
                }
            };
        }
        offer!(set.coms, Com::network, Com::issued_to, Membership::add_com);
        offer!(
            set.capabilities,
            |c: &Capability| c.network,
            Capability::issued_to,
            Membership::add_capability
        );
        offer!(set.tags, |t: &Tag| t.network, |t: &Tag| t.issued_to, Membership::add_tag);
        for revocation in set.revocations {
            if !self.may_offer(link, now, incoming) {
                return Ok(Handled::Ignore);
            }
            let added = match self.networks.get_mut(&revocation.network) {
                Some(network) => {
                    network.add_revocation(now, &revocation, known(&link.topology, &link.secret))
                }
                None => Added::Rejected,
            };
            self.charge(link, now, incoming, added);
            match added {
                Added::UnknownSigner(signer) => return Ok(self.await_signer(link, now, signer)),
                Added::New if revocation.fast_propagate() => {
                    self.propagate_revocation(link, now, &revocation, &[incoming.source, revocation.signer]);
                }
                _ => {}
            }
        }
        offer!(set.coos, |c: &Coo| c.network, |c: &Coo| c.issued_to, Membership::add_coo);
        Ok(if trusted { Handled::Trust } else { Handled::Credit })
    }

    /// Whether one more credential of a sender is looked at: not when those before were forged or known too often. Who brings
    /// new and genuine ones is never held up.
    fn may_offer(&mut self, link: &mut Link, now: i64, incoming: &Incoming<'_>) -> bool {
        let source = Source::of(incoming.via.remote.ip());
        let Some(peer) = link.topology.peers.get(&incoming.source) else { return false };
        let burst = if peer.is_trusted(now) { MEMBER_FORGERY_BURST } else { FORGERY_BURST };
        peer.repeats.is_open(now, REPEAT_GATE, REPEAT_BURST)
            && peer.forgeries.is_open(now, FORGERY_GATE, burst)
            && (peer.is_trusted(now)
                || if incoming.hops == 0 {
                    self.forgeries.is_open(&source, now, SOURCE_FORGERY_GATE, SOURCE_FORGERY_BURST)
                } else {
                    self.relayed_forgeries.is_open(now, RELAYED_FORGERY_GATE, RELAYED_FORGERY_BURST)
                })
    }

    /// Offers a credential to the record of whom it is about.
    fn offer(
        &mut self,
        link: &mut Link,
        now: i64,
        incoming: &Incoming<'_>,
        id: NetworkId,
        subject: Address,
        add: impl FnOnce(&mut Membership, &dyn Fn(Address) -> Option<Identity>) -> Added,
    ) -> Added {
        let added = match self.networks.get_mut(&id) {
            Some(network) => {
                let known = known(&link.topology, &link.secret);
                network.offer(now, subject, |record| add(record, &known))
            }
            None => Added::Rejected,
        };
        self.charge(link, now, incoming, added);
        added
    }

    /// Charges a sender for a credential that was not new and genuine.
    fn charge(&mut self, link: &mut Link, now: i64, incoming: &Incoming<'_>, added: Added) {
        let Some(peer) = link.topology.peers.get_mut(&incoming.source) else { return };
        match added {
            Added::New => {}
            Added::Redundant => drop(peer.repeats.allow(now, REPEAT_GATE, REPEAT_BURST)),
            // A packet that has waited was charged when it came.
            Added::UnknownSigner(_) if incoming.waited => {}
            Added::Rejected | Added::UnknownSigner(_) => {
                peer.forgeries.allow(now, FORGERY_GATE, MEMBER_FORGERY_BURST);
                if !peer.is_trusted(now) && incoming.hops == 0 {
                    let source = Source::of(incoming.via.remote.ip());
                    self.forgeries.allow(&source, now, SOURCE_FORGERY_GATE, SOURCE_FORGERY_BURST);
                } else if !peer.is_trusted(now) {
                    self.relayed_forgeries.allow(now, RELAYED_FORGERY_GATE, RELAYED_FORGERY_BURST);
                }
            }
        }
    }

    fn await_signer(&mut self, link: &mut Link, now: i64, signer: Address) -> Handled {
        link.whois(now, signer);
        Handled::Wait
    }

    /// Passes a revocation on to every member we know. Those who know it already stop there.
    fn propagate_revocation(
        &mut self,
        link: &mut Link,
        now: i64,
        revocation: &protocol::credential::Revocation,
        except: &[Address],
    ) {
        debug_assert!(revocation.kind <= kind::REVOCATION);
        let Some(network) = self.networks.get(&revocation.network) else { return };
        let members: Vec<Address> = network.members.keys().copied().filter(|m| !except.contains(m)).collect();
        let set =
            NetworkCredentials { revocations: vec![revocation.clone()], ..NetworkCredentials::default() };
        for member in members {
            work::step();
            send_credentials(link, now, member, &set);
        }
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

impl Network {
    /// Something new is known about a member. What was derived from its record before is not valid any more.
    fn note(&mut self, now: i64, address: Address) {
        self.rules.credentials_changed(address);
        let Some(member) = self.members.get_mut(&address) else { return };
        member.agreed_in = None;
        member.changed = now;
        if let Some(config) = &self.config {
            for capability in member.record.capabilities(config.window()) {
                self.rules.presented(capability.id, &capability.rules);
            }
        }
    }
}

#[cfg(feature = "work")]
impl Network {
    /// See `filling`.
    pub(in super::super) fn fill(&mut self, now: i64, peer: impl Fn(u64) -> Address) {
        self.members.fill(now, |number| {
            let member = Member { changed: now, last_announced: now, ..Member::default() };
            (Standing::Heard, peer(number), member)
        });
        self.revoked.fill(now, &peer);
        self.bridges.fill(now, peer);
        self.assembly.fill();
        self.rules.fill();
    }

    /// See `filling`.
    pub(in super::super) fn sizes(&self) -> [(&'static str, usize); 8] {
        let [kept, by_end] = self.revoked.sizes();
        let [routes, groups] = self.bridges.sizes();
        [
            ("Network.members", self.members.len()),
            ("Revoked.kept", kept),
            ("Revoked.by_end", by_end),
            ("Network.port_groups", self.port_groups.len()),
            ("BridgeTable.routes", routes),
            ("BridgeTable.groups", groups),
            ("Assembly.updates", self.assembly.len()),
            ("Rules.capabilities", self.rules.len()),
        ]
    }
}
