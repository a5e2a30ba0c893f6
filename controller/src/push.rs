//! Telling members about changes: configurations pushed unasked, and revocations.
//!
//! Specification: VL2 controller, change propagation.

use std::collections::BTreeSet;

use protocol::{Address, NetworkId, Time};

use crate::admission;
use crate::controller::{Action, Controller};
use crate::state::NetworkState;
use crate::time::Moment;
use api::Member;

/// Configurations built in one go. A change to a network of thousands is spread over several calls of
/// [`Controller::tick`], so that requests are answered in between.
const PUSH_BATCH: usize = 128;

/// Members to be sent their configuration unasked.
#[derive(Debug, Default)]
pub(crate) struct Pushes {
    waiting: BTreeSet<(NetworkId, Address)>,
    /// When they began to wait.
    since: Option<Time>,
}

impl Pushes {
    /// When there is something to be sent, if there is: at once.
    fn due(&self) -> Option<Time> {
        self.since.filter(|_| !self.waiting.is_empty())
    }

    /// Notes that all online members of a network need its new configuration.
    pub(crate) fn put_network(&mut self, now: Time, state: &NetworkState) {
        self.put(now, state.record.id, state.online(now));
    }

    /// Notes that some members need their new configuration.
    pub(crate) fn put(&mut self, now: Time, network: NetworkId, members: impl IntoIterator<Item = Address>) {
        if self.waiting.is_empty() {
            self.since = Some(now);
        }
        self.waiting.extend(members.into_iter().map(|member| (network, member)));
    }

    /// A member has its newest configuration.
    pub(crate) fn done(&mut self, network: NetworkId, member: Address) {
        self.waiting.remove(&(network, member));
    }

    fn pop(&mut self) -> Option<(NetworkId, Address)> {
        self.waiting.pop_first()
    }
}

impl Controller {
    /// Does what is due: waiting pushes, and revocations of members whose authentication ended. To be called at
    /// [`Controller::next_deadline`]; calling it more often does no harm.
    pub fn tick(&mut self, now: Time) -> Vec<Action> {
        let at = self.begin(now);
        let mut actions = self.expire(at);
        actions.extend(self.courier.bring(&self.signer.identity, &self.networks, now));
        actions.extend(self.drain_pushes(at));
        actions
    }

    /// When [`Controller::tick`] has something to do; at once when that is in the past.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let login = self.logins.next().map(|wall| self.clock.when(wall));
        [self.pushes.due(), login, self.courier.next()].into_iter().flatten().min()
    }

    /// Builds the configurations of the next waiting members. Who is offline or not authorized gets none.
    pub(crate) fn drain_pushes(&mut self, at: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        while actions.len() < PUSH_BATCH
            && let Some((network, member)) = self.pushes.pop()
        {
            if !self.signer.owns(network) {
                continue;
            }
            if self.tombstones.get(network).is_some() {
                actions.extend(self.tombstones.last_config(&mut self.signer, network, member, None));
                continue;
            }
            let Some(state) = self.networks.get(network) else { continue };
            let Some(live) = state.live(member).filter(|live| live.is_online(at.now)) else { continue };
            if !state.member(member).is_some_and(|member| admission::is_pushed(&state.record, member)) {
                continue;
            }
            let (identity, wants) = (live.identity.clone(), live.wants);
            if let Ok(dictionary) = self.decide(at, network, &identity, None, wants) {
                actions.push(self.signer.config(member, network, None, dictionary));
            }
        }
        actions
    }

    /// What follows from a saved member: a push to it, to all if it became or ceased to be a bridge (they all hold
    /// the list), and word of its revocation, which was saved with it, if it was authorized and is no more.
    pub(crate) fn member_changed(&mut self, at: Moment, old: Option<&Member>, new: &Member) -> Vec<Action> {
        let network = new.network;
        self.pushes.put(at.now, network, [new.address]);
        let Some(state) = self.networks.get(network) else { return Vec::new() };
        if old.is_some_and(|old| old.active_bridge) != new.active_bridge {
            self.pushes.put_network(at.now, state);
        }
        if !was_put_out(old, new) {
            return Vec::new();
        }
        let online = state.online(at.now);
        self.put_out(at, network, new.address, &online)
    }

    /// Word that a member is out for good, which was saved before; `online` are those who were there when it was.
    pub(crate) fn put_out(
        &mut self,
        at: Moment,
        network: NetworkId,
        member: Address,
        online: &[Address],
    ) -> Vec<Action> {
        self.courier.note(&mut self.signer, &mut self.networks, at, network, &[member]);
        self.courier.tell(&mut self.signer, &self.networks, at, network, member, online)
    }

    fn expire(&mut self, at: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some((network, member)) = self.logins.pop(at.wall) {
            self.counts.login_checks += 1;
            let Some(state) = self.networks.get(network) else { continue };
            let record = state.member(member);
            let ended = record.is_some_and(|record| admission::has_to_log_in(at.wall, &state.record, record));
            if ended {
                self.counts.login_ends += 1;
                let online = state.online(at.now);
                let changes = self.courier.changes(&self.networks, at, network, &[member]);
                if let Err(problem) = self.store.commit(&changes) {
                    // Who is there hears of it all the same.
                    tracing::error!(%network, %member, "the end of an authentication is not kept: {problem}");
                }
                actions.extend(self.put_out(at, network, member, &online));
            }
        }
        actions
    }
}

/// Whether a change put a member out.
pub(crate) fn was_put_out(old: Option<&Member>, new: &Member) -> bool {
    old.is_some_and(|old| old.authorized) && !new.authorized
}
