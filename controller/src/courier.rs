//! Who knows of the revocations, and whom they have to be brought.
//!
//! A ztnode acknowledges them: what it has acknowledged it keeps on disk, and what it has not is brought again, with
//! growing pauses, until it does or the revocation has outlived its use. A zerotier-one cannot say what it got, and drops
//! every packet of credentials that comes within a second of another: it is brought all of them after each configuration
//! it asks for, the latest first, one packet at a time.

use std::collections::BTreeMap;

use api::{Member, Reach, Revocation};
use protocol::{Address, NetworkId};

use crate::controller::{Action, Controller};
use crate::revoked::{self, GRACE, Revoked, Standing};
use crate::store::Change;

/// Least time between two packets of credentials to a zerotier-one, ms.
const SPACING: i64 = 1_100;
/// The first pause before something is brought again, ms; each is twice as long as the one before.
const FIRST_PAUSE: i64 = 1_000;
/// The longest.
const LAST_PAUSE: i64 = 300_000;
/// A member that was brought something counts as reachable so long without an answer, ms.
const PATIENCE: i64 = 5_000;
/// Members not heard lately that are told at once; the others one after another, for each may cost a look-up.
const AT_ONCE: usize = 64;
/// Of those others, so many …
const HANDFUL: usize = 16;
/// … in this time, ms.
const HANDFUL_TIME: i64 = 100;
/// Messages made in one go.
const BATCH: usize = 128;
/// How often is looked for revocations that are of no more use, ms.
const PRUNE: i64 = 600_000;

/// A member's word that it keeps revocations.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Acknowledgement {
    /// Of which network.
    pub network: NetworkId,
    /// Who says so.
    pub member: Address,
    /// The message it answers: [`Action::Bring`]'s `ask`.
    pub serial: u64,
    /// Which run of the member: what it told in its request.
    pub run: u64,
}

/// What one member was told.
#[derive(Debug, Default)]
struct Told {
    /// The run of a ztnode that acknowledges; `None` for others and for one not heard yet.
    run: Option<u64>,
    /// Everything up to this serial number it has acknowledged, or, if it cannot, was sent.
    done: u64,
    /// The highest serial number it was sent.
    sent: u64,
    /// How often it was brought something in vain, and since when.
    tries: u32,
    since: i64,
    /// A zerotier-one's round through the list, latest first: where it stands and where it began.
    cursor: u64,
    began: u64,
    /// When it was last sent credentials.
    last: i64,
    /// When something is brought next.
    due: Option<i64>,
}

/// What is known about one network's revocations.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) standing: Standing,
    told: BTreeMap<Address, Told>,
}

impl Ledger {
    pub(crate) fn new(base: u64) -> Self {
        Self { standing: Standing::new(base), told: BTreeMap::new() }
    }
}

/// Somebody who has to know.
struct Recipient {
    address: Address,
    /// It was heard a moment ago.
    online: bool,
    /// It acknowledges, as far as is known.
    acknowledges: bool,
    /// Which run of it that is; 0 if that is not known.
    run: u64,
}

impl Controller {
    /// What puts `members` out for good goes into the same batch as what deauthorizes or deletes them.
    pub(crate) fn revocation_changes(
        &self,
        now: i64,
        network: NetworkId,
        members: &[Address],
    ) -> Vec<Change> {
        if network.controller() != self.address() {
            return Vec::new();
        }
        let at = self.certificate_time(now, network);
        let window = self.window(network);
        let standing = self.revoked.get(&network).map(|ledger| &ledger.standing);
        let mut changes = Vec::new();
        for member in members {
            let threshold = standing.map_or(at, |standing| standing.threshold(*member, at));
            let crowded = standing.and_then(|standing| standing.crowded_out(*member));
            changes.extend(crowded.map(|oldest| Change::DeleteRevocation { network, member: oldest }));
            let record = Revoked::record(threshold, window);
            changes.push(Change::PutRevocation { network, member: *member, record });
        }
        changes
    }

    /// Takes in what [`Controller::revocation_changes`] stored.
    pub(crate) fn note_revoked(&mut self, now: i64, network: NetworkId, members: &[Address]) {
        if network.controller() != self.address() {
            return;
        }
        let at = self.certificate_time(now, network);
        let window = self.window(network);
        let standing = &mut self.ledger(network).standing;
        for member in members {
            if let Some(oldest) = standing.crowded_out(*member) {
                standing.remove(oldest);
            }
            let threshold = standing.threshold(*member, at);
            standing.put(*member, threshold, window);
        }
        // Who is let in again at once gets a certificate that is not void.
        if let Some(state) = self.networks.get_mut(&network) {
            state.certificates.not_before(at.saturating_add(1));
        }
    }

    pub(crate) fn ledger(&mut self, network: NetworkId) -> &mut Ledger {
        use rand::Rng as _;
        let random = &mut self.random;
        self.revoked.entry(network).or_insert_with(|| Ledger::new(random.next_u64()))
    }

    /// The window of a network, or the widest there may have been when it is gone.
    fn window(&self, network: NetworkId) -> i64 {
        let window = self.networks.get(&network).map_or(*api::WINDOW_RANGE.end(), |s| s.record.window());
        i64::try_from(window).unwrap_or(i64::MAX)
    }

    /// Members whose certificates may be in use: authorized, and heard in the last window, or not yet since this process
    /// began, which may be a moment ago.
    fn recipients(&self, now: i64, network: NetworkId) -> Vec<Recipient> {
        let Some(state) = self.networks.get(&network) else { return Vec::new() };
        let lately = self.window(network).saturating_add(GRACE);
        let young = self.started.is_none_or(|at| now.saturating_sub(at) < lately);
        let own = self.address();
        let member = |(address, member): (&Address, &Member)| {
            let live = state.live(*address);
            let recent = live.map_or(young && member.identity.is_some(), |live| {
                now.saturating_sub(live.last_request) < lately
            });
            (member.authorized && recent && *address != own).then(|| Recipient {
                address: *address,
                online: live.is_some_and(|live| live.is_online(now)),
                acknowledges: live.map_or(member.acknowledges, |live| live.wants.run != 0),
                run: live.map_or(0, |live| live.wants.run),
            })
        };
        state.members().iter().filter_map(member).collect()
    }

    /// Tells everybody that a member was put out: at once whoever may be there, by a message that they pass on; and those who
    /// acknowledge by one that is repeated. `online` are those who were there before.
    pub(crate) fn tell_of(
        &mut self,
        now: i64,
        network: NetworkId,
        target: Address,
        online: &[Address],
    ) -> Vec<Action> {
        if network.controller() != self.address() {
            return Vec::new();
        }
        let recipients = self.recipients(now, network);
        let id = {
            use rand::Rng as _;
            self.random.next_u32()
        };
        let own = self.address();
        let Some(ledger) = self.revoked.get_mut(&network) else { return Vec::new() };
        let Some(revoked) = ledger.standing.get(target) else { return Vec::new() };
        let (threshold, serial) = (revoked.threshold, revoked.serial);
        let mut to: Vec<Address> = online.iter().copied().filter(|a| *a == target || *a == own).collect();
        let mut absent = 0;
        for recipient in recipients.iter().filter(|r| r.address != target) {
            let told = ledger.told.entry(recipient.address).or_default();
            (told.tries, told.since) = (0, now);
            if recipient.run != 0 && told.run != Some(recipient.run) {
                *told = Told { run: Some(recipient.run), since: now, due: told.due, ..Told::default() };
            }
            let due = if !recipient.online && absent >= AT_ONCE {
                let wait = (absent - AT_ONCE) / HANDFUL + 1;
                (told.cursor, told.began) = (u64::MAX, serial);
                Some(now + wait as i64 * HANDFUL_TIME)
            } else if recipient.acknowledges {
                to.push(recipient.address);
                Some(now)
            } else if told.due.is_none() && now.saturating_sub(told.last) >= SPACING {
                to.push(recipient.address);
                told.last = now;
                if recipient.online && ledger.standing.none_between(told.done, serial) {
                    told.done = serial;
                }
                None
            } else {
                (told.cursor, told.began) = (u64::MAX, serial);
                Some(told.last.saturating_add(SPACING).max(now))
            };
            absent += usize::from(!recipient.online);
            if due.is_some() {
                if let Some(old) = std::mem::replace(&mut told.due, due) {
                    self.due.remove(&(old, network, recipient.address));
                }
                self.due.extend(due.map(|at| (at, network, recipient.address)));
            }
        }
        if to.is_empty() {
            return Vec::new();
        }
        to.sort_unstable();
        to.dedup();
        let flags = protocol::credential::revocation::FAST_PROPAGATE;
        let revocation = revoked::sign(&self.identity, network, target, threshold, id, flags);
        vec![Action::Revoke { to, revocation }]
    }

    /// A member has just been given a configuration it asked for: it gets what it may not know.
    pub(crate) fn bring_after_request(&mut self, now: i64, network: NetworkId, member: Address, run: u64) {
        if member == self.address() {
            return;
        }
        let Some(ledger) = self.revoked.get_mut(&network).filter(|l| !l.standing.is_empty()) else { return };
        let newest = ledger.standing.newest();
        let told = ledger.told.entry(member).or_default();
        let due = if run != 0 {
            if told.run != Some(run) {
                *told = Told { run: Some(run), due: told.due, ..Told::default() };
            }
            if told.done >= newest {
                return;
            }
            (told.tries, told.since) = (0, now);
            now
        } else {
            if told.run.is_some() {
                *told = Told { due: told.due, ..Told::default() };
            }
            if told.due.is_some() && told.began == newest {
                // Still at it.
                return;
            }
            (told.cursor, told.began) = (u64::MAX, newest);
            told.last.saturating_add(SPACING).max(now)
        };
        if let Some(old) = told.due.replace(due) {
            self.due.remove(&(old, network, member));
        }
        self.due.insert((due, network, member));
    }

    /// Brings what is due.
    pub(crate) fn bring(&mut self, now: i64) -> Vec<Action> {
        let mut actions = Vec::new();
        while actions.len() < BATCH
            && let Some((at, network, member)) = self.due.first().copied()
            && at <= now
        {
            self.due.pop_first();
            let state = self.networks.get(&network);
            let record = state.and_then(|state| state.member(member)).filter(|record| record.authorized);
            let live = state.and_then(|state| state.live(member));
            let acknowledges = record.map(|r| live.map_or(r.acknowledges, |live| live.wants.run != 0));
            let online = live.is_some_and(|live| live.is_online(now));
            let Some(ledger) = self.revoked.get_mut(&network) else { continue };
            let Ledger { standing, told } = ledger;
            let Some(told) = told.get_mut(&member) else { continue };
            told.due = None;
            // Who is out meanwhile is none of its business.
            let Some(acknowledges) = acknowledges else { continue };
            let due = if acknowledges {
                let Some((revocations, last)) = standing.after(told.done, network, &self.identity) else {
                    continue;
                };
                told.sent = told.sent.max(last);
                let pause = FIRST_PAUSE.saturating_mul(1 << told.tries.min(16)).min(LAST_PAUSE);
                told.tries += 1;
                actions.push(Action::Bring { member, network, revocations, ask: Some(last) });
                Some(now + pause)
            } else {
                let next = standing.before(told.cursor, network, &self.identity);
                let more = next.as_ref().is_some_and(|(list, _)| list.len() >= revoked::PER_MESSAGE);
                if let Some((revocations, last)) = next {
                    (told.cursor, told.last) = (last, now);
                    actions.push(Action::Bring { member, network, revocations, ask: None });
                }
                // What is sent to one that is not there has not reached it.
                if !more && online {
                    told.done = told.began;
                }
                more.then_some(now + SPACING)
            };
            told.due = due;
            self.due.extend(due.map(|at| (at, network, member)));
        }
        actions
    }

    /// A member keeps what it was brought.
    pub fn acknowledged(&mut self, now: i64, word: Acknowledgement) {
        let Acknowledgement { network, member, serial, run } = word;
        let Some(ledger) = self.revoked.get_mut(&network) else { return };
        let newest = ledger.standing.newest();
        let Some(told) = ledger.told.get_mut(&member) else { return };
        // What it was never sent it cannot have, and what an earlier run of it had is on disk, or not.
        if serial <= told.done || serial > told.sent || told.run.is_some_and(|known| known != run) {
            return;
        }
        (told.run, told.done, told.tries, told.since) = (Some(run), serial, 0, now);
        let due = (serial < newest).then_some(now);
        if let Some(old) = std::mem::replace(&mut told.due, due) {
            self.due.remove(&(old, network, member));
        }
        self.due.extend(due.map(|at| (at, network, member)));
    }

    /// Forgets what is of no more use.
    pub(crate) fn prune_revoked(&mut self, now: i64) {
        self.started.get_or_insert(now);
        if (0..PRUNE).contains(&now.saturating_sub(self.pruned)) {
            return;
        }
        self.pruned = now;
        let ids: Vec<NetworkId> = self.revoked.keys().copied().collect();
        for network in ids {
            // A network that is gone has no window to be widened.
            let window = if self.networks.contains_key(&network) { self.window(network) } else { 0 };
            let at = self.certificate_time(now, network);
            let Some(ledger) = self.revoked.get_mut(&network) else { continue };
            let over = ledger.standing.over(at, window);
            let changes: Vec<Change> =
                over.iter().map(|member| Change::DeleteRevocation { network, member: *member }).collect();
            if !changes.is_empty()
                && let Err(problem) = self.store.commit(&changes)
            {
                tracing::warn!(%network, "old revocations are kept for now: {problem}");
                continue;
            }
            for member in over {
                ledger.standing.remove(member);
            }
            if ledger.standing.is_empty() {
                for (member, told) in std::mem::take(&mut ledger.told) {
                    if let Some(at) = told.due {
                        self.due.remove(&(at, network, member));
                    }
                }
                self.revoked.remove(&network);
            }
        }
        self.prune_tombstones(self.wall(now));
    }

    /// How far the word of one revocation has got; `None` when there is none that stands.
    pub(crate) fn revocation_report(
        &self,
        now: i64,
        network: NetworkId,
        target: Address,
    ) -> Option<Revocation> {
        let ledger = self.revoked.get(&network)?;
        let revoked = ledger.standing.get(target)?;
        let mut reach = Reach::default();
        for recipient in self.recipients(now, network).iter().filter(|r| r.address != target) {
            let told = ledger.told.get(&recipient.address);
            let done = told.is_some_and(|told| told.done >= revoked.serial);
            let patient = told.is_some_and(|told| {
                told.due.is_some() && (!recipient.acknowledges || now.saturating_sub(told.since) < PATIENCE)
            });
            let list = match (done, recipient.acknowledges) {
                (true, true) => &mut reach.acknowledged,
                (true, false) => &mut reach.sent,
                (false, true) if patient => &mut reach.waiting,
                (false, false) if patient && recipient.online => &mut reach.waiting,
                (false, _) => &mut reach.unreachable,
            };
            list.push(recipient.address.to_string());
        }
        Some(Revocation { reach: Some(reach), ..self.shown(network, target, revoked) })
    }

    /// The revocations of a network that stand. Whom each has reached is told of one at a time: there may be many of both.
    pub(crate) fn revocation_list(&self, network: NetworkId) -> Vec<Revocation> {
        let standing = self.revoked.get(&network).into_iter().flat_map(|ledger| ledger.standing.iter());
        standing.map(|(target, revoked)| self.shown(network, target, revoked)).collect()
    }

    fn shown(&self, network: NetworkId, target: Address, revoked: &Revoked) -> Revocation {
        Revocation::new(network, target, revoked.threshold, revoked.until(self.window(network)))
    }
}
