//! Addresses of the pools of public networks are lent: whoever knows the ID of such a network gets one for asking, so one
//! who is gone must not keep it.
//!
//! It concerns members that a public network let in by itself, and of their addresses only those from the pools. What a
//! person or a join token assigned stays, and so does what is shown in records of earlier releases, which do not tell the
//! one from the other.

use protocol::{Address, Span, Time};

use crate::revoked::GRACE;
use crate::state::NetworkState;
use crate::store::{Change, Store, StoreError};
use api::DEFAULT_AUTO_ASSIGN_LIMIT;

/// A member that has not asked for this long gives its addresses back: a day …
pub(crate) const IDLE: Span = Span::secs(86_400);
/// … and when there are no more, for this long: an hour.
pub(crate) const IDLE_WHEN_FULL: Span = Span::secs(3_600);
/// How often a network's members are looked through for a need, and without one.
const AGAIN_WHEN_FULL: Span = Span::secs(60);
const AGAIN: Span = Span::secs(3_600);

/// Who counts as idle.
#[derive(Clone, Copy)]
pub(crate) struct Idle {
    /// By the time of this call.
    pub(crate) now: Time,
    /// When this process began: nobody can have been heard before.
    pub(crate) started: Time,
    /// Who is not.
    pub(crate) except: Address,
}

impl Idle {
    /// Takes the addresses of idle members back, as [`NetworkState::reclaim`]; whether there were any.
    pub(crate) fn reclaim(self, state: &mut NetworkState, store: &mut dyn Store, needed: bool) -> bool {
        state.reclaim(store, self, needed).unwrap_or_else(|problem| {
            let network = state.record.id;
            tracing::warn!(%network, "addresses of idle members stay with them: {problem}");
            false
        })
    }
}

impl NetworkState {
    /// Whether one more member that let itself in may have addresses from the pools.
    pub(crate) fn has_auto_assign_room(&self) -> bool {
        let limit = self.record.auto_assign_limit.unwrap_or(DEFAULT_AUTO_ASSIGN_LIMIT);
        (self.lent() as u64) < limit
    }

    /// Takes the addresses of idle members back; whether there were any. The members are looked through once in a while only.
    fn reclaim(
        &mut self,
        store: &mut dyn Store,
        Idle { now, started, except }: Idle,
        needed: bool,
    ) -> Result<bool, StoreError> {
        let (pause, idle) = if needed {
            // A certificate that says who owns an address must have ended before another gets that.
            (AGAIN_WHEN_FULL, IDLE_WHEN_FULL.max(self.record.window() + GRACE))
        } else {
            (AGAIN, IDLE)
        };
        let just_done = self.reclaimed.is_some_and(|at| (Span::ZERO..pause).contains(&(now - at)));
        if self.record.private || self.lent() == 0 || just_done {
            return Ok(false);
        }
        self.reclaimed = Some(now);
        let mut changes = Vec::new();
        let mut members = Vec::new();
        for member in self.members().values() {
            let heard = self.live(member.address).map_or(started, |live| live.last_request);
            if member.automatic.is_empty()
                || !member.came_by_itself()
                || member.address == except
                || now - heard < idle
            {
                continue;
            }
            let mut member = member.clone();
            let lent = std::mem::take(&mut member.automatic);
            member.ip_assignments.retain(|ip| !lent.contains(ip));
            member.revision += 1;
            let network = self.record.id;
            changes.push(Change::PutMember { network, member: member.address, record: api::json(&member) });
            members.push(member);
        }
        if members.is_empty() {
            return Ok(false);
        }
        store.commit(&changes)?;
        tracing::info!(network = %self.record.id, members = members.len(), "addresses of idle members are free again");
        for member in members {
            self.put(member);
        }
        Ok(true)
    }
}
