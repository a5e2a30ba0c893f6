//! Who may talk to us on a network: credentials received and sent, and the gate.
//!
//! Specification: VL2 credentials.

use protocol::credential::membership::Added;
use protocol::credential::{Com, Membership, kind};
use protocol::verb::Verb;
use protocol::verbs::NetworkCredentials;
use protocol::{Address, Identity, NetworkId, Result, SecretIdentity, packet};

use super::super::Core;
use super::super::limits::{CREDENTIALS_GATE, CREDENTIALS_PUSH, CREDENTIALS_SPACING, MAX_MEMBERS, TRUST};
use super::super::receive::{Handled, Incoming};
use super::super::topology::Topology;
use super::Network;

/// Packets of credentials taken from one peer in a row before the rate gate closes.
const CREDENTIALS_BURST: i64 = 4;
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

impl Member {
    /// Whether forgetting the record could let something revoked in again.
    pub(super) fn is_memorable(&self, now: i64) -> bool {
        now - self.changed < 12 * TRUST
    }
}

impl Network {
    /// The record of a member, made if need be. At the cap the one unchanged for longest makes room.
    pub(super) fn member(&mut self, address: Address) -> &mut Member {
        if self.members.len() >= MAX_MEMBERS
            && !self.members.contains_key(&address)
            && let Some(oldest) = self.members.iter().min_by_key(|(_, m)| m.changed).map(|(a, _)| *a)
        {
            self.members.remove(&oldest);
            self.rules.credentials_changed(oldest);
        }
        self.members.entry(address).or_insert_with(|| {
            let mut member = Member::default();
            self.revoked.apply(address, &mut member.record);
            member
        })
    }

    /// Whether our own certificates went to a member within the time in which a zerotier-one takes no others.
    pub(super) fn has_just_pushed(&self, now: i64, member: Address) -> bool {
        self.members.get(&member).is_some_and(|m| m.last_push != 0 && now - m.last_push < CREDENTIALS_SPACING)
    }

    /// Whether `peer` may be on this network with us.
    pub(super) fn allows(&mut self, peer: &Identity) -> bool {
        let Some(config) = self.config.as_ref() else { return false };
        if config.public {
            if !self.members.contains_key(&peer.address) {
                self.member(peer.address);
            }
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

impl Core {
    /// Whether a peer may talk on a network. If so, it hears of our groups once in a while.
    pub(super) fn gate(&mut self, now: i64, id: NetworkId, peer: Address) -> bool {
        let (Some(network), Some(known)) = (self.networks.get_mut(&id), self.topology.peers.get(&peer))
        else {
            return false;
        };
        if !network.allows(&known.identity) {
            return false;
        }
        self.announce_to_member(now, id, peer);
        true
    }

    /// A certificate that came inside another packet.
    pub(super) fn offer_com(&mut self, now: i64, id: NetworkId, com: Com) -> Added {
        let lookup = known(&self.topology, &self.secret);
        let Some(network) = self.networks.get_mut(&id).filter(|_| com.network() == id) else {
            return Added::Rejected;
        };
        let subject = com.issued_to();
        let added = network.member(subject).record.add_com(com, lookup);
        network.note(now, subject, added);
        added
    }

    /// NETWORK_CREDENTIALS: certificates, capabilities, tags, revocations, ownership; of anybody, for any network.
    pub(in super::super) fn receive_credentials(
        &mut self,
        now: i64,
        incoming: &Incoming<'_>,
        retry: bool,
    ) -> Result<Handled> {
        let set = NetworkCredentials::parse(incoming.payload)?;
        let only_revocations = !set.revocations.is_empty()
            && set.coms.is_empty()
            && set.tags.is_empty()
            && set.capabilities.is_empty()
            && set.coos.is_empty();
        let gate = self.topology.peers.get_mut(&incoming.source).map(|p| &mut p.credentials);
        if !retry
            && !only_revocations
            && !gate.is_some_and(|gate| gate.allow(now, CREDENTIALS_GATE, CREDENTIALS_BURST))
        {
            return Ok(Handled::Ignore);
        }
        let mut accepted = false;
        for com in set.coms {
            match self.offer_com(now, com.network(), com) {
                Added::UnknownSigner(signer) => return Ok(self.await_signer(now, signer)),
                added => accepted |= added.is_accepted(),
            }
        }
        macro_rules! offer {
            ($items:expr, $subject:expr, $add:ident) => {
                for item in $items {
                    let lookup = known(&self.topology, &self.secret);
                    let Some(network) = self.networks.get_mut(&item.network) else { continue };
                    let subject: Address = $subject(&item);
                    let added = network.member(subject).record.$add(item, lookup);
                    network.note(now, subject, added);
                    match added {
                        Added::UnknownSigner(signer) => return Ok(self.await_signer(now, signer)),
                        added => accepted |= added.is_accepted(),
                    }
                }
            };
        }
        offer!(set.capabilities, |c: &protocol::credential::Capability| c.issued_to(), add_capability);
        offer!(set.tags, |t: &protocol::credential::Tag| t.issued_to, add_tag);
        for revocation in set.revocations {
            let lookup = known(&self.topology, &self.secret);
            let Some(network) = self.networks.get_mut(&revocation.network) else { continue };
            let added = network.add_revocation(now, &revocation, lookup);
            match added {
                Added::UnknownSigner(signer) => return Ok(self.await_signer(now, signer)),
                added => accepted |= added.is_accepted(),
            }
            if added == Added::New && revocation.fast_propagate() {
                let except = [incoming.source, revocation.signer];
                self.propagate_revocation(now, &revocation, &except);
            }
        }
        offer!(set.coos, |c: &protocol::credential::Coo| c.issued_to, add_coo);
        Ok(if accepted { Handled::Trust } else { Handled::Credit })
    }

    fn await_signer(&mut self, now: i64, signer: Address) -> Handled {
        self.whois(now, signer);
        Handled::Wait
    }

    /// Passes a revocation on to every member we know. Those who know it already stop there.
    fn propagate_revocation(
        &mut self,
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
            self.send_credentials(now, member, &set);
        }
    }

    /// Sends a set of credentials in as many packets as it takes.
    pub(super) fn send_credentials(&mut self, now: i64, to: Address, set: &NetworkCredentials) {
        if let Some(peer) = self.topology.peers.get_mut(&to) {
            peer.credentials_sent = now;
        }
        for payload in set.packets(MAX_CREDENTIALS) {
            let mut packet = self.begin(to, Verb::NetworkCredentials);
            packet.extend_from_slice(&payload);
            packet::compress(&mut packet, 0);
            self.send(now, packet);
        }
    }

    /// Pushes our credentials to a member we are about to talk to, when it cannot have the present ones.
    pub(super) fn push_credentials_if_due(&mut self, now: i64, id: NetworkId, to: Address) {
        self.push_credentials(now, id, to, CREDENTIALS_PUSH);
    }

    /// A peer refused a frame of ours for want of our certificate.
    pub(in super::super) fn credentials_wanted(&mut self, now: i64, id: NetworkId, by: Address) {
        if self.networks.get(&id).and_then(|n| n.config.as_ref()).is_some_and(|c| c.com.is_some()) {
            self.push_credentials(now, id, by, PUSH_ON_REQUEST);
        }
    }

    fn push_credentials(&mut self, now: i64, id: NetworkId, to: Address, interval: i64) {
        let Some(network) = self.networks.get_mut(&id) else { return };
        let changed = network.last_update;
        let Some(config) = network.config.clone() else { return };
        let member = network.member(to);
        if member.last_push != 0 && member.last_push >= changed && now - member.last_push < interval {
            return;
        }
        member.last_push = now;
        let set = NetworkCredentials {
            coms: config.com.iter().cloned().collect(),
            capabilities: config.capabilities.clone(),
            tags: config.tags.clone(),
            revocations: Vec::new(),
            coos: config.coos.clone(),
        };
        self.send_credentials(now, to, &set);
    }
}

impl Network {
    /// Notes what became of a credential or revocation offered for a member's record. What was derived from the record before
    /// is not valid any more.
    pub(super) fn note(&mut self, now: i64, address: Address, added: Added) {
        if added != Added::New {
            return;
        }
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
