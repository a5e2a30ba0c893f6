//! Telling members about changes: configurations pushed unasked, and revocations.
//!
//! Specification: VL2 controller, change propagation.

use protocol::{Address, NetworkId};

use crate::admission;
use crate::controller::{Action, Controller};
use api::Member;

/// Configurations built in one go. A change to a network of thousands is spread over several calls of
/// [`Controller::tick`], so that requests are answered in between.
const PUSH_BATCH: usize = 128;

impl Controller {
    /// Does what is due: waiting pushes, and revocations of members whose authentication ended. To be called at
    /// [`Controller::next_deadline`]; calling it more often does no harm.
    pub fn tick(&mut self, now: i64) -> Vec<Action> {
        self.prune_revoked(now);
        let mut actions = self.expire(now);
        actions.extend(self.bring(now));
        actions.extend(self.drain_pushes(now));
        actions
    }

    /// When [`Controller::tick`] has something to do, ms since the epoch; at once when that is in the past.
    #[must_use]
    pub fn next_deadline(&self) -> Option<i64> {
        if !self.pushes.is_empty() {
            return Some(0);
        }
        let expiry = self.expiries.first().map(|(at, _, _)| at.saturating_sub(self.correction));
        let due = self.due.first().map(|(at, _, _)| *at);
        expiry.into_iter().chain(due).min()
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
            if self.tombstones.contains_key(&network) {
                actions.extend(self.last_config(network, member, None));
                continue;
            }
            let Some(state) = self.networks.get(&network) else { continue };
            let Some(live) = state.live(member).filter(|live| live.is_online(now)) else { continue };
            if !state.member(member).is_some_and(|member| admission::is_pushed(&state.record, member)) {
                continue;
            }
            let (identity, wants) = (live.identity.clone(), live.wants);
            if let Ok(dictionary) = self.decide(now, network, &identity, None, wants) {
                actions.push(self.config_action(member, network, None, dictionary));
            }
        }
        actions
    }

    /// What follows from a saved member: a push to it, to all if it became or ceased to be a bridge (they all hold
    /// the list), and word of its revocation, which was saved with it, if it was authorized and is no more.
    pub(crate) fn member_changed(&mut self, now: i64, old: Option<&Member>, new: &Member) -> Vec<Action> {
        let network = new.network;
        self.push_member(network, new.address);
        if old.is_some_and(|old| old.active_bridge) != new.active_bridge {
            self.push_network(now, network);
        }
        if was_put_out(old, new) {
            self.note_revoked(now, network, &[new.address]);
            let online = self.networks.get(&network).map(|state| state.online(now)).unwrap_or_default();
            return self.tell_of(now, network, new.address, &online);
        }
        Vec::new()
    }

    fn expire(&mut self, now: i64) -> Vec<Action> {
        let wall = self.wall(now);
        let mut actions = Vec::new();
        while let Some((at, network, member)) = self.expiries.first().copied()
            && at <= wall
        {
            self.expiries.pop_first();
            self.counts.login_checks += 1;
            let Some(state) = self.networks.get(&network) else { continue };
            let record = state.member(member);
            let ended = record.is_some_and(|record| admission::has_to_log_in(wall, &state.record, record));
            if ended {
                self.counts.login_ends += 1;
                let online = state.online(now);
                let changes = self.revocation_changes(now, network, &[member]);
                if let Err(problem) = self.store.commit(&changes) {
                    // Who is there hears of it all the same.
                    tracing::error!(%network, %member, "the end of an authentication is not kept: {problem}");
                }
                self.note_revoked(now, network, &[member]);
                actions.extend(self.tell_of(now, network, member, &online));
            }
        }
        actions
    }
}

/// Whether a change put a member out.
pub(crate) fn was_put_out(old: Option<&Member>, new: &Member) -> bool {
    old.is_some_and(|old| old.authorized) && !new.authorized
}
