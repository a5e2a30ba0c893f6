//! Which time is which.
//!
//! A controller has three. *Now*, which every call brings along, never jumps and is what pauses, rate limits and "is it
//! online" are measured with. The *wall clock* is what the machine says it is, and may be set while the controller runs
//! ([`Controller::set_wall`]): it is in records, and decides when tokens and log-ins end. *Certificate time* is what is
//! written in certificates, tags and configurations. Members, zerotier-ones too, keep the newest certificate they saw and
//! drop what is older, so it must never go back: each network's is the wall clock, but not below the highest that was ever
//! issued there, which is stored. After the wall clock was set back it runs on from there as time passes, ahead of the wall
//! clock.

use std::collections::BTreeMap;

use api::{Lead, Network, lenient};
use protocol::{Address, NetworkId};
use serde::{Deserialize, Serialize};

use crate::controller::{Action, Controller};
use crate::http::{HttpReply, Outcome};
use crate::revoked::Revoked;
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

/// The times of one call.
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
    fn ahead(&self, wall: i64) -> Option<i64> {
        Some(self.time(wall).saturating_sub(wall)).filter(|ahead| *ahead > RESERVE)
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
    fn settle(&mut self) -> Option<Change> {
        let certificates = &mut self.certificates;
        if certificates.reserved == certificates.issued || certificates.reserved == 0 {
            return None;
        }
        certificates.reserved = certificates.issued;
        Some(self.put_network())
    }

    /// Moves the times in its records that were written by a clock which was wrong by `by` until now: tokens made by it, and
    /// what it said of members. Gives what has to be stored.
    fn shift(&mut self, shift: &Shift) -> Vec<Change> {
        let network = self.record.id;
        let mine = |token: &JoinToken| self.tokens().is_fresh(token.id) || shift.is_to_come(token.created);
        let moved = self.tokens().iter().filter(|token| mine(token)).map(|token| token.shifted(shift.by));
        let mut changes = self.put_tokens(moved.collect());
        let mut members = Vec::new();
        for member in self.members().values() {
            let mut moved = member.clone();
            for at in [&mut moved.creation_time, &mut moved.last_authorized, &mut moved.last_deauthorized] {
                if *at > 0 && shift.concerns(*at) {
                    *at = at.saturating_add(shift.by);
                }
            }
            if self.logins_here.contains(&member.address) {
                moved.authentication_expiry = moved.authentication_expiry.saturating_add(shift.by);
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

/// A correction of a clock that was wrong.
struct Shift {
    by: i64,
    /// When this process began and when the clock was set, by the wrong clock.
    began: i64,
    until: i64,
}

impl Shift {
    fn concerns(&self, at: i64) -> bool {
        (self.began..=self.until).contains(&at) || self.is_to_come(at)
    }

    /// Whether a time of the past lies in the future by the right clock.
    fn is_to_come(&self, at: i64) -> bool {
        self.by < 0 && at > self.until.saturating_add(self.by)
    }
}

impl Controller {
    /// The wall clock at `now`.
    pub(crate) fn wall(&self, now: i64) -> i64 {
        now.saturating_add(self.correction)
    }

    /// All times of a network at `now`; nothing is issued yet.
    pub(crate) fn certificate_time(&self, now: i64, network: NetworkId) -> i64 {
        let wall = self.wall(now);
        self.networks.get(&network).map_or(wall, |state| state.certificates.time(wall))
    }

    /// Says what the wall clock shows at `now`, ms since the epoch. To be called at the start, often, and before a change:
    /// a clock that was set is noticed here. Until the first call the wall clock is taken to show `now`.
    ///
    /// A step forward is taken at once, and all members get certificates of the new time. After a step back, certificate
    /// time runs on where it was.
    pub fn set_wall(&mut self, now: i64, wall: i64) -> Vec<Action> {
        let before = self.wall(now);
        self.correction = wall.saturating_sub(now);
        let Some(began) = self.clock_began else {
            self.clock_began = Some(now);
            return Vec::new();
        };
        let by = wall.saturating_sub(before);
        if by.abs() < STEP {
            return Vec::new();
        }
        for state in self.networks.values_mut() {
            let certificates = &mut state.certificates;
            certificates.lead = certificates.lead.saturating_sub(by.max(0)).max(0);
        }
        if by.abs() >= WRONG {
            let began = began.saturating_add(before.saturating_sub(now));
            self.shift(&Shift { by, began, until: before });
        }
        let (seconds, networks) = (by.abs() / 1000, self.networks.len());
        if by < 0 {
            tracing::warn!(
                seconds,
                networks,
                "the clock was set back; certificates run on from the time they had, since members drop older ones"
            );
            return Vec::new();
        }
        tracing::info!(seconds, networks, "the clock was set forward; all members get new certificates");
        let ids: Vec<NetworkId> = self.networks.keys().copied().collect();
        for network in ids {
            self.push_network(now, network);
        }
        self.tick(now)
    }

    fn shift(&mut self, shift: &Shift) {
        let mut changes = Vec::new();
        for state in self.networks.values_mut() {
            changes.extend(state.shift(shift));
        }
        let moved: Vec<(i64, NetworkId, Address)> = self.expiries.iter().copied().collect();
        for (at, network, member) in moved {
            let state = self.networks.get(&network);
            let expiry = state.and_then(|state| state.member(member)).map(|m| m.authentication_expiry);
            if let Some(expiry) = expiry.filter(|expiry| *expiry != at) {
                self.expiries.remove(&(at, network, member));
                self.expiries.insert((expiry, network, member));
            }
        }
        if changes.is_empty() {
            return;
        }
        let records = changes.len();
        match self.store.commit(&changes) {
            Ok(()) => tracing::info!(records, "times that the wrong clock had written were corrected"),
            Err(problem) => {
                tracing::error!(
                    "times that the wrong clock had written come back at the next start: {problem}"
                );
            }
        }
    }

    /// Networks whose certificates run ahead of the wall clock, and by how much, ms.
    #[must_use]
    pub fn leads(&self, now: i64) -> BTreeMap<String, i64> {
        let wall = self.wall(now);
        let ahead = |(id, state): (&NetworkId, &NetworkState)| {
            Some((id.to_string(), state.certificates.ahead(wall)?))
        };
        self.networks.iter().filter_map(ahead).collect()
    }

    /// Stores exactly how far certificates have come. Without it, after a crash, they stand still for a minute at most.
    ///
    /// # Errors
    /// What the store says.
    pub fn settle(&mut self) -> Result<(), StoreError> {
        let changes: Vec<Change> = self.networks.values_mut().filter_map(NetworkState::settle).collect();
        if changes.is_empty() { Ok(()) } else { self.store.commit(&changes) }
    }

    /// Forgets how far a network's certificates have come: they follow the wall clock again, and members that saw later ones
    /// accept none of them until they leave the network and join again.
    pub(crate) fn reset_certificates(&mut self, now: i64, network: NetworkId) -> Outcome {
        let wall = self.wall(now);
        let lead = self.certificate_time(now, network).saturating_sub(wall);
        let state = self.networks.get_mut(&network).ok_or_else(|| HttpReply::empty(404))?;
        let ledger = self.revoked.get(&network).into_iter().flat_map(|ledger| ledger.standing.iter());
        // Of the time that never was; kept, they would make void what is issued from now on.
        let ahead = |(member, revoked): (Address, &Revoked)| (revoked.threshold > wall).then_some(member);
        let over: Vec<Address> = ledger.filter_map(ahead).collect();
        let before = std::mem::replace(&mut state.certificates, Certificates::starting(wall));
        let gone = over.iter().map(|member| Change::DeleteRevocation { network, member: *member });
        let changes: Vec<Change> = std::iter::once(state.put_network()).chain(gone).collect();
        if let Err(problem) = self.store.commit(&changes) {
            state.certificates = before;
            return Err(problem.into());
        }
        for member in over {
            self.ledger(network).standing.remove(member);
        }
        self.push_network(now, network);
        let by = &self.origin.by;
        tracing::info!(%network, seconds = lead / 1000, by, "certificates follow the clock again; its members have to leave and join again");
        Ok(HttpReply::ok(&Lead { lead: 0, was: Some(lead) }))
    }
}

impl Certificates {
    fn starting(wall: i64) -> Self {
        Self { issued: wall, reserved: wall, lead: 0 }
    }
}
