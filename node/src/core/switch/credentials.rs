//! Credentials that others bring: of themselves or of anybody, for any network. Forged and useless ones are charged to who brings
//! them; who brings new and genuine ones is never held up.
//!
//! Specification: VL2 credentials.

use protocol::credential::membership::Added;
use protocol::credential::{Com, Coo, HeldCapability, Membership, Revocation, Signed, Tag, kind};
use protocol::verbs::NetworkCredentials;
use protocol::{Address, Identity, NetworkId, Result, SecretIdentity, Time};

use super::Networks;
use super::policy::Policy;
use crate::ground::buckets::{Buckets, Keyed};
use crate::ground::gate::Gate;
use crate::ground::limits::{
    FORGERY_BURST, FORGERY_GATE, GATE_BUCKETS, MEMBER_FORGERY_BURST, RELAYED_FORGERY_BURST,
    RELAYED_FORGERY_GATE, REPEAT_BURST, REPEAT_GATE, SOURCE_FORGERY_BURST, SOURCE_FORGERY_GATE,
};
use crate::ground::sources::Source;
use crate::ground::work;
use crate::link::Link;
use crate::link::topology::Topology;
use crate::link::{Handled, Incoming};

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

/// Gates for credentials of strangers that are not genuine.
pub(super) struct Credentials {
    /// By prefix.
    pub(super) forgeries: Buckets,
    /// For all that come through relays.
    relayed: Gate,
}

impl Credentials {
    /// Nobody has brought any; `hash` keys the gates.
    pub(super) fn new(hash: Keyed) -> Self {
        Self { forgeries: Buckets::new(GATE_BUCKETS, hash), relayed: Gate::default() }
    }

    /// A certificate that came inside another packet.
    pub(super) fn offer_com(
        &mut self,
        networks: &mut Networks,
        link: &mut Link,
        now: Time,
        incoming: &Incoming<'_>,
        id: NetworkId,
        com: Signed<Com>,
    ) {
        if com.network() == id && self.may_offer(link, now, incoming) {
            let subject = com.issued_to();
            self.offer(networks, link, now, incoming, id, subject, |record, lookup| {
                record.add_com(com, lookup)
            });
        }
    }

    /// NETWORK_CREDENTIALS: certificates, capabilities, tags, revocations, ownership; of anybody, for any network.
    pub(super) fn receive(
        &mut self,
        networks: &mut Networks,
        link: &mut Link,
        now: Time,
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
                    let added =
                        self.offer(networks, link, now, incoming, network, subject, |record, known| {
                            $add(record, item, known)
                        });
                    match added {
                        Added::UnknownSigner(signer) => return Ok(Self::await_signer(link, now, signer)),
                        added => trusted |= added.is_accepted() && subject == incoming.source,
                    }
                }
            };
        }
        offer!(set.coms, |c: &Com| c.network(), |c: &Com| c.issued_to(), Membership::add_com);
        offer!(
            set.capabilities,
            |c: &HeldCapability| c.network,
            HeldCapability::issued_to,
            Membership::add_capability
        );
        offer!(set.tags, |t: &Tag| t.network, |t: &Tag| t.issued_to, Membership::add_tag);
        for revocation in set.revocations {
            if !self.may_offer(link, now, incoming) {
                return Ok(Handled::Ignore);
            }
            let added = match networks.get_mut(&revocation.network) {
                Some(network) => {
                    network.policy.add_revocation(now, &revocation, known(&link.topology, &link.secret))
                }
                None => Added::Rejected,
            };
            self.charge(link, now, incoming, added);
            match added {
                Added::UnknownSigner(signer) => return Ok(Self::await_signer(link, now, signer)),
                Added::New if revocation.fast_propagate() => {
                    Self::propagate(
                        networks,
                        link,
                        now,
                        &revocation,
                        &[incoming.source, revocation.signer()],
                    );
                }
                _ => {}
            }
        }
        offer!(set.coos, |c: &Coo| c.network, |c: &Coo| c.issued_to, Membership::add_coo);
        Ok(if trusted { Handled::Trust } else { Handled::Credit })
    }

    /// Whether one more credential of a sender is looked at: not when those before were forged or known too often. Who brings
    /// new and genuine ones is never held up.
    fn may_offer(&mut self, link: &mut Link, now: Time, incoming: &Incoming<'_>) -> bool {
        let source = Source::of(incoming.via.remote.ip());
        let Some(peer) = link.topology.peers.get(&incoming.source) else { return false };
        let burst = if peer.is_trusted(now) { MEMBER_FORGERY_BURST } else { FORGERY_BURST };
        peer.gates.repeats.is_open(now, REPEAT_GATE, REPEAT_BURST)
            && peer.gates.forgeries.is_open(now, FORGERY_GATE, burst)
            && (peer.is_trusted(now)
                || if incoming.hops == 0 {
                    self.forgeries.is_open(&source, now, SOURCE_FORGERY_GATE, SOURCE_FORGERY_BURST)
                } else {
                    self.relayed.is_open(now, RELAYED_FORGERY_GATE, RELAYED_FORGERY_BURST)
                })
    }

    /// Offers a credential to the record of whom it is about.
    #[expect(clippy::too_many_arguments, reason = "a credential, whose it is, and who brought it")]
    fn offer(
        &mut self,
        networks: &mut Networks,
        link: &mut Link,
        now: Time,
        incoming: &Incoming<'_>,
        id: NetworkId,
        subject: Address,
        add: impl FnOnce(&mut Membership, &dyn Fn(Address) -> Option<Identity>) -> Added,
    ) -> Added {
        let added = match networks.get_mut(&id) {
            Some(network) => {
                let known = known(&link.topology, &link.secret);
                network.policy.offer(now, subject, |record| add(record, &known))
            }
            None => Added::Rejected,
        };
        self.charge(link, now, incoming, added);
        added
    }

    /// Charges a sender for a credential that was not new and genuine.
    fn charge(&mut self, link: &mut Link, now: Time, incoming: &Incoming<'_>, added: Added) {
        let Some(peer) = link.topology.peers.get_mut(&incoming.source) else { return };
        match added {
            Added::New => {}
            Added::Redundant => drop(peer.gates.repeats.allow(now, REPEAT_GATE, REPEAT_BURST)),
            // A packet that has waited was charged when it came.
            Added::UnknownSigner(_) if incoming.waited => {}
            Added::Rejected | Added::UnknownSigner(_) => {
                peer.gates.forgeries.allow(now, FORGERY_GATE, MEMBER_FORGERY_BURST);
                if !peer.is_trusted(now) && incoming.hops == 0 {
                    let source = Source::of(incoming.via.remote.ip());
                    self.forgeries.allow(&source, now, SOURCE_FORGERY_GATE, SOURCE_FORGERY_BURST);
                } else if !peer.is_trusted(now) {
                    self.relayed.allow(now, RELAYED_FORGERY_GATE, RELAYED_FORGERY_BURST);
                }
            }
        }
    }

    fn await_signer(link: &mut Link, now: Time, signer: Address) -> Handled {
        link.whois(now, signer);
        Handled::Wait
    }

    /// Passes a revocation on to every member we know. Those who know it already stop there.
    fn propagate(
        networks: &Networks,
        link: &mut Link,
        now: Time,
        revocation: &Signed<Revocation>,
        except: &[Address],
    ) {
        debug_assert!(revocation.kind <= kind::REVOCATION);
        let Some(network) = networks.get(&revocation.network) else { return };
        let set =
            NetworkCredentials { revocations: vec![revocation.clone()], ..NetworkCredentials::default() };
        let members = network.policy.members.iter().map(|(member, _)| member);
        for member in members.filter(|member| !except.contains(member)) {
            work::step();
            Policy::send(link, now, *member, None, &set);
        }
    }
}
