//! Telling members about changes: configurations pushed unasked, and revocations.
//!
//! Specification: VL2 controller, change propagation.

use protocol::credential::{Revocation, kind, revocation};
use protocol::{Address, NetworkId};
use rand::Rng;

use crate::controller::{Action, Controller};
use crate::member::Member;

/// Configurations built in one go. A change to a network of thousands is spread over several calls of
/// [`Controller::tick`], so that requests are answered in between.
const PUSH_BATCH: usize = 128;

impl Controller {
    /// Does what is due: waiting pushes, and revocations of members whose authentication ended. To be called at
    /// [`Controller::next_deadline`]; calling it more often does no harm.
    pub fn tick(&mut self, now: i64) -> Vec<Action> {
        let mut actions = self.expire(now);
        actions.extend(self.drain_pushes(now));
        actions
    }

    /// When [`Controller::tick`] has something to do, ms since the epoch; at once when that is in the past.
    #[must_use]
    pub fn next_deadline(&self) -> Option<i64> {
        if !self.pushes.is_empty() {
            return Some(0);
        }
        self.expiries.first().map(|(at, _, _)| *at)
    }

    /// Notes that all online members of a network need its new configuration.
    pub(crate) fn push_network(&mut self, now: i64, network: NetworkId) {
        if let Some(state) = self.networks.get(&network) {
            self.pushes.extend(state.online(now).into_iter().map(|member| (network, member)));
        }
    }

    /// Notes that one member needs its new configuration.
    pub(crate) fn push_member(&mut self, network: NetworkId, member: Address) {
        self.pushes.insert((network, member));
    }

    /// Builds the configurations of the next waiting members. Who is offline or not authorized gets none.
    pub(crate) fn drain_pushes(&mut self, now: i64) -> Vec<Action> {
        let mut actions = Vec::new();
        while actions.len() < PUSH_BATCH
            && let Some((network, member)) = self.pushes.pop_first()
        {
            if network.controller() != self.address() {
                continue;
            }
            let Some(state) = self.networks.get(&network) else { continue };
            let Some(live) = state.live(member).filter(|live| live.is_online(now)) else { continue };
            // A public network lets everybody in, but not by the very push that follows a deauthorization: that
            // certificate would be as old as the revocation.
            let open = !state.record.private;
            if !state.member(member).is_some_and(|m| m.authorized || open && m.last_deauthorized == 0) {
                continue;
            }
            let (identity, wants) = (live.identity.clone(), live.wants);
            if let Ok(dictionary) = self.decide(now, network, &identity, None, wants) {
                actions.push(self.config_action(member, network, None, dictionary));
            }
        }
        actions
    }

    /// The revocation of a member's certificate, for everybody who is online in its network, itself included.
    pub(crate) fn revoke(
        &mut self,
        now: i64,
        network: NetworkId,
        member: Address,
        to: Vec<Address>,
    ) -> Option<Action> {
        if to.is_empty() || network.controller() != self.address() {
            return None;
        }
        let mut revocation = Revocation {
            id: self.random.next_u32(),
            network,
            credential_id: 0,
            threshold: now,
            flags: revocation::FAST_PROPAGATE,
            target: member,
            signer: self.address(),
            kind: kind::COM,
            signature: [0; 96],
        };
        revocation.sign(&self.identity);
        Some(Action::Revoke { to, revocation })
    }

    /// What follows from a saved member: a push to it, to all if it became or ceased to be a bridge (they all hold
    /// the list), and a revocation if it was authorized and is no more.
    pub(crate) fn member_changed(&mut self, now: i64, old: Option<&Member>, new: &Member) -> Option<Action> {
        let network = new.network;
        self.push_member(network, new.address);
        if old.is_some_and(|old| old.active_bridge) != new.active_bridge {
            self.push_network(now, network);
        }
        if old.is_some_and(|old| old.authorized) && !new.authorized {
            let to = self.networks.get(&network)?.online(now);
            return self.revoke(now, network, new.address, to);
        }
        None
    }

    fn expire(&mut self, now: i64) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some((at, network, member)) = self.expiries.first().copied()
            && at <= now
        {
            self.expiries.pop_first();
            let Some(state) = self.networks.get(&network) else { continue };
            let ended = state.record.sso_enabled
                && state
                    .member(member)
                    .is_some_and(|record| !record.sso_exempt && record.authentication_expiry <= now);
            if ended {
                let to = state.online(now);
                actions.extend(self.revoke(now, network, member, to));
            }
        }
        actions
    }
}
