//! Which time is which.
//!
//! A controller has three. *Now*, which every call brings along, never jumps and is what pauses, rate limits and "is it
//! online" are measured with. The *wall clock* is what the machine says it is, and may be set while the controller runs
//! ([`Controller::set_wall`]): it is in records, and decides when tokens and log-ins end. *Certificate time* is what is
//! written in certificates, tags and configurations. Members, zerotier-ones too, keep the newest certificate they saw and
//! drop what is older, so it must never go back: each network's is the wall clock, but not below the highest that was ever
//! issued there, which is stored. After the wall clock was set back it runs on from there as time passes, ahead of the wall
//! clock.

use api::{Network, lenient};
use serde::{Deserialize, Serialize};

use crate::state::NetworkState;
use crate::store::{Change, Store, StoreError};
use crate::token::JoinToken;

/// The mark in the store is so far ahead of what was issued, ms: it need not be written for every certificate.
const RESERVE: i64 = 60_000;
/// A clock that is set by less than this was only adjusted, ms.
const STEP: i64 = 10_000;
/// A clock that is set by more than this was wrong before, and with it whatever was written by it, ms.
const WRONG: i64 = 3_600_000;

/// A network as the store keeps it.
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct StoredNetwork<N> {
    #[serde(flatten)]
    pub(crate) network: N,
    /// Up to where its certificates may have been issued, ms since the epoch; 0 = none yet.
    #[serde(skip_serializing_if = "is_none_yet", deserialize_with = "lenient::time::<0, _>")]
    pub(crate) certificate_mark: i64,
}

fn is_none_yet(mark: &i64) -> bool {
    *mark <= 0
}

/// When something is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// What pauses are measured with.
    pub(crate) now: i64,
    /// What the machine says it is.
    pub(crate) wall: i64,
    /// When this process was first asked for anything.
    pub(crate) started: i64,
}

/// What *now* is by the wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    /// The wall clock less *now*, ms.
    correction: i64,
    /// When the wall clock was first told.
    told: Option<i64>,
    /// When this process was first asked for anything.
    started: Option<i64>,
}

impl Clock {
    /// The times of a call.
    pub(crate) fn begin(&mut self, now: i64) -> Moment {
        Moment { now, wall: self.wall(now), started: *self.started.get_or_insert(now) }
    }

    /// The wall clock at `now`.
    pub(crate) fn wall(&self, now: i64) -> i64 {
        now.saturating_add(self.correction)
    }

    /// When it is `wall` by the wall clock.
    pub(crate) fn when(&self, wall: i64) -> i64 {
        wall.saturating_sub(self.correction)
    }

    /// Takes in what the wall clock shows at `now`; whether it was set since, by more than it is ever adjusted. Until the
    /// first call it is taken to show `now`.
    pub(crate) fn set(&mut self, now: i64, wall: i64) -> Option<Step> {
        let before = self.wall(now);
        self.correction = wall.saturating_sub(now);
        let Some(told) = self.told else {
            self.told = Some(now);
            return None;
        };
        let by = wall.saturating_sub(before);
        let began = told.saturating_add(before.saturating_sub(now));
        (by.abs() >= STEP).then_some(Step { by, began, until: before })
    }

    /// Takes the place of another one.
    pub(crate) fn inherit(&mut self, legacy: Self) {
        if legacy.told.is_some() {
            (self.told, self.correction) = (legacy.told, legacy.correction);
        }
    }
}

/// The times of what is issued.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// What pauses are measured with.
    pub(crate) now: i64,
    /// What the machine says it is.
    pub(crate) wall: i64,
    /// What goes into certificates.
    pub(crate) issue: i64,
}

/// One network's certificate time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Certificates {
    /// The highest time that may have been issued, ms since the epoch.
    issued: i64,
    /// What the store has: nothing above it may be issued.
    reserved: i64,
    /// How far it runs ahead of a wall clock that was set back, ms.
    lead: i64,
}

impl Certificates {
    fn starting(wall: i64) -> Self {
        Self { issued: wall, reserved: wall, lead: 0 }
    }

    /// What was issued until `at` was issued before this process, or by a network of the same ID.
    pub(crate) fn not_before(&mut self, at: i64) {
        self.issued = self.issued.max(at);
    }

    /// The highest time that may have been issued.
    pub(crate) fn last(&self) -> i64 {
        self.issued
    }

    /// What a certificate made now has to say.
    pub(crate) fn time(&self, wall: i64) -> i64 {
        let at = wall.saturating_add(self.lead);
        // Close to the mark it stands still until the wall clock is there; far from it, nobody may wait for that.
        if self.issued > at.saturating_add(RESERVE) { self.issued } else { at.max(self.issued) }
    }

    fn issue(&mut self, wall: i64) -> i64 {
        let at = self.time(wall);
        if at > wall.saturating_add(self.lead).saturating_add(RESERVE) {
            self.lead = at.saturating_sub(wall);
        }
        self.issued = at;
        at
    }

    /// How far it is ahead of the wall clock, if that is more than a moment, ms.
    pub(crate) fn ahead(&self, wall: i64) -> Option<i64> {
        Some(self.time(wall).saturating_sub(wall)).filter(|ahead| *ahead > RESERVE)
    }

    /// The wall clock was set: forward, it comes closer.
    pub(crate) fn clock_set(&mut self, step: &Step) {
        self.lead = self.lead.saturating_sub(step.by.max(0)).max(0);
    }
}

impl NetworkState {
    /// Makes sure that nothing which is issued from now on can be forgotten, and says what time it is there.
    pub(crate) fn certificate_time(&mut self, store: &mut dyn Store, wall: i64) -> i64 {
        let at = self.certificates.issue(wall);
        if at > self.certificates.reserved {
            self.certificates.reserved = at.saturating_add(RESERVE);
            if let Err(problem) = store.commit(&[self.put_network()]) {
                // A controller that can store nothing still serves those it knows. It is tried again with the next reserve.
                tracing::warn!(network = %self.record.id, "the time of certificates is not kept: {problem}");
            }
        }
        at
    }

    /// The network's record as it is now, for the store.
    pub(crate) fn put_network(&self) -> Change {
        put_network(&self.record, &self.certificates)
    }

    /// The same of a record that takes the present one's place.
    pub(crate) fn put_record(&self, record: &Network) -> Change {
        put_network(record, &self.certificates)
    }

    /// The exact mark, for a controller that ends in good order.
    pub(crate) fn settle(&mut self) -> Option<Change> {
        let certificates = &mut self.certificates;
        if certificates.reserved == certificates.issued || certificates.reserved == 0 {
            return None;
        }
        certificates.reserved = certificates.issued;
        Some(self.put_network())
    }

    /// Lets certificates follow the wall clock again, however far they have come. `also` is stored in the same step.
    pub(crate) fn restart_certificates(
        &mut self,
        store: &mut dyn Store,
        wall: i64,
        also: impl IntoIterator<Item = Change>,
    ) -> Result<(), StoreError> {
        let before = std::mem::replace(&mut self.certificates, Certificates::starting(wall));
        let changes: Vec<Change> = std::iter::once(self.put_network()).chain(also).collect();
        store.commit(&changes).inspect_err(|_| self.certificates = before)
    }

    /// Moves the times in its records that were written by a clock which was wrong by `by` until now: tokens made by it, and
    /// what it said of members. Gives what has to be stored.
    pub(crate) fn shift(&mut self, step: &Step) -> Vec<Change> {
        let network = self.record.id;
        let mine = |token: &JoinToken| self.tokens().is_fresh(token.id) || step.is_to_come(token.created);
        let moved = self.tokens().iter().filter(|token| mine(token)).map(|token| token.shifted(step.by));
        let mut changes = self.put_tokens(moved.collect());
        let mut members = Vec::new();
        for member in self.members().values() {
            let mut moved = member.clone();
            for at in [&mut moved.creation_time, &mut moved.last_authorized, &mut moved.last_deauthorized] {
                if *at > 0 && step.concerns(*at) {
                    *at = at.saturating_add(step.by);
                }
            }
            if self.logins_here.contains(&member.address) {
                moved.authentication_expiry = moved.authentication_expiry.saturating_add(step.by);
            }
            if moved != *member {
                moved.revision += 1;
                changes.push(Change::PutMember { network, member: moved.address, record: api::json(&moved) });
                members.push(moved);
            }
        }
        for member in members {
            self.put(member);
        }
        changes
    }
}

fn put_network(record: &Network, certificates: &Certificates) -> Change {
    let certificate_mark = certificates.reserved.max(certificates.issued);
    let stored = StoredNetwork { network: record, certificate_mark };
    Change::PutNetwork { network: record.id, record: api::json(&stored) }
}

/// A wall clock that was set.
pub(crate) struct Step {
    /// By how much, ms.
    pub(crate) by: i64,
    /// When this process began and when the clock was set, by the clock as it was.
    began: i64,
    until: i64,
}

impl Step {
    /// Whether the clock was wrong before, and with it whatever was written by it.
    pub(crate) fn was_wrong(&self) -> bool {
        self.by.abs() >= WRONG
    }

    fn concerns(&self, at: i64) -> bool {
        (self.began..=self.until).contains(&at) || self.is_to_come(at)
    }

    /// Whether a time of the past lies in the future by the right clock.
    fn is_to_come(&self, at: i64) -> bool {
        self.by < 0 && at > self.until.saturating_add(self.by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_only_adjusted_was_not_set() {
        let mut clock = Clock::default();
        assert_eq!(clock.wall(100), 100, "nobody has told the time");
        assert!(clock.set(100, 1_000_100).is_none(), "the first time is no step");
        assert!(clock.set(200, 1_000_200 + STEP - 1).is_none());
        assert_eq!(clock.wall(300), 1_000_300 + STEP - 1);
        let step = clock.set(300, clock.wall(300) - WRONG).unwrap();
        assert!(step.by == -WRONG && step.was_wrong());
        assert_eq!(clock.when(clock.wall(400)), 400);
    }

    #[test]
    fn a_call_knows_when_the_first_one_was() {
        let mut clock = Clock::default();
        assert_eq!(clock.begin(5).started, 5);
        assert_eq!(clock.begin(9).started, 5);
    }

    #[test]
    fn a_clock_that_was_never_told_the_time_leaves_nothing() {
        let mut told = Clock::default();
        told.set(0, 1_000);
        told.inherit(Clock::default());
        assert_eq!(told.wall(0), 1_000);
        let mut fresh = Clock::default();
        fresh.inherit(told);
        assert_eq!(fresh.wall(0), 1_000);
        assert!(fresh.set(1, 1_001 - STEP).is_some(), "a step since is noticed");
    }
}
