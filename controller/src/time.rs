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

use protocol::{Span, Time};

use crate::state::NetworkState;
use crate::store::{Change, Store, StoreError};
use crate::token::JoinToken;

/// The mark in the store is so far ahead of what was issued: it need not be written for every certificate.
const RESERVE: Span = Span::secs(60);
/// A clock that is set by less than this was only adjusted.
const STEP: Span = Span::secs(10);
/// A clock that is set by more than this was wrong before, and with it whatever was written by it.
const WRONG: Span = Span::secs(3_600);

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
    pub(crate) now: Time,
    /// What the machine says it is.
    pub(crate) wall: Time,
    /// When this process was first asked for anything.
    pub(crate) started: Time,
}

/// What *now* is by the wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    /// The wall clock less *now*.
    correction: Span,
    /// When the wall clock was first told.
    told: Option<Time>,
    /// When this process was first asked for anything.
    started: Option<Time>,
}

impl Clock {
    /// The times of a call.
    pub(crate) fn begin(&mut self, now: Time) -> Moment {
        Moment { now, wall: self.wall(now), started: *self.started.get_or_insert(now) }
    }

    /// The wall clock at `now`.
    pub(crate) fn wall(&self, now: Time) -> Time {
        now + self.correction
    }

    /// When it is `wall` by the wall clock.
    pub(crate) fn when(&self, wall: Time) -> Time {
        wall - self.correction
    }

    /// Takes in what the wall clock shows at `now`; whether it was set since, by more than it is ever adjusted. Until the
    /// first call it is taken to show `now`.
    pub(crate) fn set(&mut self, now: Time, wall: Time) -> Option<Step> {
        let before = self.wall(now);
        self.correction = wall - now;
        let Some(told) = self.told else {
            self.told = Some(now);
            return None;
        };
        let by = wall - before;
        let began = told + (before - now);
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
    pub(crate) now: Time,
    /// What the machine says it is.
    pub(crate) wall: Time,
    /// What goes into certificates.
    pub(crate) issue: Time,
}

/// One network's certificate time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Certificates {
    /// The highest time that may have been issued.
    issued: Option<Time>,
    /// What the store has: nothing above it may be issued.
    reserved: Option<Time>,
    /// How far it runs ahead of a wall clock that was set back.
    lead: Span,
}

impl Certificates {
    fn starting(wall: Time) -> Self {
        Self { issued: Some(wall), reserved: Some(wall), lead: Span::ZERO }
    }

    /// What was issued until `at` was issued before this process, or by a network of the same ID.
    pub(crate) fn not_before(&mut self, at: Time) {
        self.issued = self.issued.max(Some(at));
    }

    /// The highest time that may have been issued.
    pub(crate) fn last(&self) -> Option<Time> {
        self.issued
    }

    /// What a certificate made now has to say.
    pub(crate) fn time(&self, wall: Time) -> Time {
        let at = wall + self.lead;
        self.issued.map_or(at, |issued| at.max(issued))
    }

    fn issue(&mut self, wall: Time) -> Time {
        let at = self.time(wall);
        // Close to the mark it stands still until the wall clock is there; far from it, nobody may wait for that.
        if at > wall + self.lead + RESERVE {
            self.lead = at - wall;
        }
        self.issued = Some(at);
        at
    }

    /// How far it is ahead of the wall clock, if that is more than a moment.
    pub(crate) fn ahead(&self, wall: Time) -> Option<Span> {
        Some(self.time(wall) - wall).filter(|ahead| *ahead > RESERVE)
    }

    /// The wall clock was set: forward, it comes closer.
    pub(crate) fn clock_set(&mut self, step: &Step) {
        self.lead = (self.lead - step.by.max(Span::ZERO)).max(Span::ZERO);
    }
}

impl NetworkState {
    /// Makes sure that nothing which is issued from now on can be forgotten, and says what time it is there.
    pub(crate) fn certificate_time(&mut self, store: &mut dyn Store, wall: Time) -> Time {
        let at = self.certificates.issue(wall);
        if Some(at) > self.certificates.reserved {
            self.certificates.reserved = Some(at + RESERVE);
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
        if certificates.reserved == certificates.issued || certificates.reserved.is_none() {
            return None;
        }
        certificates.reserved = certificates.issued;
        Some(self.put_network())
    }

    /// Lets certificates follow the wall clock again, however far they have come. `also` is stored in the same step.
    pub(crate) fn restart_certificates(
        &mut self,
        store: &mut dyn Store,
        wall: Time,
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
        let mine = |token: &JoinToken| {
            self.tokens().is_fresh(token.id) || step.is_to_come(Time::from_ms(token.created))
        };
        let moved = self.tokens().iter().filter(|token| mine(token)).map(|token| token.shifted(step.by));
        let mut changes = self.put_tokens(moved.collect());
        let mut members = Vec::new();
        for member in self.members().values() {
            let mut moved = member.clone();
            for at in [&mut moved.creation_time, &mut moved.last_authorized, &mut moved.last_deauthorized] {
                if *at > 0 && step.concerns(Time::from_ms(*at)) {
                    *at = at.saturating_add(step.by.as_ms());
                }
            }
            if self.logins_here.contains(&member.address) {
                moved.authentication_expiry = moved.authentication_expiry.saturating_add(step.by.as_ms());
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
    let certificate_mark = certificates.reserved.max(certificates.issued).map_or(0, Time::as_ms);
    let stored = StoredNetwork { network: record, certificate_mark };
    Change::PutNetwork { network: record.id, record: api::json(&stored) }
}

/// A wall clock that was set.
pub(crate) struct Step {
    /// By how much.
    pub(crate) by: Span,
    /// When this process began and when the clock was set, by the clock as it was.
    began: Time,
    until: Time,
}

impl Step {
    /// Whether the clock was wrong before, and with it whatever was written by it.
    pub(crate) fn was_wrong(&self) -> bool {
        self.by.abs() >= WRONG
    }

    fn concerns(&self, at: Time) -> bool {
        (self.began..=self.until).contains(&at) || self.is_to_come(at)
    }

    /// Whether a time of the past lies in the future by the right clock.
    fn is_to_come(&self, at: Time) -> bool {
        self.by < Span::ZERO && at > self.until + self.by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Time {
        Time::from_ms(ms)
    }

    #[test]
    fn a_clock_that_is_only_adjusted_was_not_set() {
        let mut clock = Clock::default();
        let just = STEP - Span::ms(1);
        assert_eq!(clock.wall(at(100)), at(100), "nobody has told the time");
        assert!(clock.set(at(100), at(1_000_100)).is_none(), "the first time is no step");
        assert!(clock.set(at(200), at(1_000_200) + just).is_none());
        assert_eq!(clock.wall(at(300)), at(1_000_300) + just);
        let step = clock.set(at(300), clock.wall(at(300)) - WRONG).unwrap();
        assert!(step.by == -WRONG && step.was_wrong());
        assert_eq!(clock.when(clock.wall(at(400))), at(400));
    }

    #[test]
    fn a_call_knows_when_the_first_one_was() {
        let mut clock = Clock::default();
        assert_eq!(clock.begin(at(5)).started, at(5));
        assert_eq!(clock.begin(at(9)).started, at(5));
    }

    #[test]
    fn a_clock_that_was_never_told_the_time_leaves_nothing() {
        let mut told = Clock::default();
        told.set(at(0), at(1_000));
        told.inherit(Clock::default());
        assert_eq!(told.wall(at(0)), at(1_000));
        let mut fresh = Clock::default();
        fresh.inherit(told);
        assert_eq!(fresh.wall(at(0)), at(1_000));
        assert!(fresh.set(at(1), at(1_001) - STEP).is_some(), "a step since is noticed");
    }
}
