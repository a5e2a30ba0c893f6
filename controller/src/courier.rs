//! Who knows of the revocations, and whom they have to be brought.
//!
//! A ztnode acknowledges them: what it has acknowledged it keeps on disk, and what it has not is brought again, with
//! growing pauses, until it does or the revocation has outlived its use. A zerotier-one cannot say what it got, and drops
//! every packet of credentials that comes within a second of another: it is brought all of them after each configuration
//! it asks for, the latest first, one packet at a time.

use std::collections::{BTreeMap, BTreeSet};

use api::{Member, Reach, Revocation};
use protocol::{Address, NetworkId, SecretIdentity, Span, Time};
use rand::Rng as _;

use crate::controller::Action;
use crate::legacy::KeptRevocation;
use crate::networks::Networks;
use crate::revoked::{self, GRACE, Revoked, Standing};
use crate::signer::Signer;
use crate::store::{Change, Records, Store};
use crate::time::Moment;

/// Least time between two packets of credentials to a zerotier-one.
const SPACING: Span = Span::ms(1_100);
/// The first pause before something is brought again; each is twice as long as the one before.
const FIRST_PAUSE: Span = Span::secs(1);
/// The longest.
const LAST_PAUSE: Span = Span::secs(300);
/// A member that was brought something counts as reachable so long without an answer.
const PATIENCE: Span = Span::secs(5);
/// Members not heard lately that are told at once; the others one after another, for each may cost a look-up.
const AT_ONCE: usize = 64;
/// Of those others, so many …
const HANDFUL: usize = 16;
/// … in this time.
const HANDFUL_TIME: Span = Span::ms(100);
/// Messages made in one go.
const BATCH: usize = 128;

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
    since: Option<Time>,
    /// A zerotier-one's round through the list, latest first: where it stands and where it began.
    cursor: u64,
    began: u64,
    /// When it was last sent credentials.
    last: Option<Time>,
    /// When something is brought next.
    due: Option<Time>,
}

impl Told {
    /// When it takes the next packet of credentials.
    fn takes_more(&self, now: Time) -> Time {
        self.last.map_or(now, |last| now.max(last + SPACING))
    }
}

/// What is known about one network's revocations.
#[derive(Debug)]
struct Ledger {
    standing: Standing,
    told: BTreeMap<Address, Told>,
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

/// Revocations that stand, also of networks that are gone; who knows of them; and whom they are to be brought, and when.
#[derive(Debug)]
pub(crate) struct Courier {
    own: Address,
    ledgers: BTreeMap<NetworkId, Ledger>,
    due: BTreeSet<(Time, NetworkId, Address)>,
}

impl Courier {
    /// Takes in what is stored.
    pub(crate) fn load(signer: &mut Signer, records: &Records) -> Self {
        let mut courier = Self { own: signer.address(), ledgers: BTreeMap::new(), due: BTreeSet::new() };
        for (network, member, record) in &records.revocations {
            courier.ledger(signer, *network).standing.put_stored(*member, record);
        }
        courier
    }

    /// What stores that `members` are out for good, in the same batch as what deauthorizes or deletes them.
    pub(crate) fn changes(
        &self,
        networks: &Networks,
        at: Moment,
        network: NetworkId,
        members: &[Address],
    ) -> Vec<Change> {
        if network.controller() != self.own {
            return Vec::new();
        }
        let time = networks.certificate_time(at.wall, network);
        let window = networks.window(network);
        let standing = self.ledgers.get(&network).map(|ledger| &ledger.standing);
        let mut changes = Vec::new();
        for member in members {
            let threshold = standing.map_or(time, |standing| standing.threshold(*member, time));
            let crowded = standing.and_then(|standing| standing.crowded_out(*member));
            changes.extend(crowded.map(|oldest| Change::DeleteRevocation { network, member: oldest }));
            let record = Revoked::record(threshold, window);
            changes.push(Change::PutRevocation { network, member: *member, record });
        }
        changes
    }

    /// Takes in what [`Courier::changes`] stored.
    pub(crate) fn note(
        &mut self,
        signer: &mut Signer,
        networks: &mut Networks,
        at: Moment,
        network: NetworkId,
        members: &[Address],
    ) {
        if network.controller() != self.own {
            return;
        }
        let time = networks.certificate_time(at.wall, network);
        let window = networks.window(network);
        let standing = &mut self.ledger(signer, network).standing;
        for member in members {
            if let Some(oldest) = standing.crowded_out(*member) {
                standing.remove(oldest);
            }
            let threshold = standing.threshold(*member, time);
            standing.put(*member, threshold, window);
        }
        // Who is let in again at once gets a certificate that is not void.
        networks.issue_after(network, time);
    }

    fn ledger(&mut self, signer: &mut Signer, network: NetworkId) -> &mut Ledger {
        let random = &mut signer.random;
        self.ledgers
            .entry(network)
            .or_insert_with(|| Ledger { standing: Standing::new(random.next_u64()), told: BTreeMap::new() })
    }

    fn standing(&self, network: NetworkId) -> impl Iterator<Item = (Address, &Revoked)> {
        self.ledgers.get(&network).into_iter().flat_map(|ledger| ledger.standing.iter())
    }

    /// The latest time of which certificates of a network are void.
    pub(crate) fn latest(&self, network: NetworkId) -> Option<Time> {
        self.standing(network).map(|(_, revoked)| revoked.threshold).max()
    }

    /// Networks with revocations, and the latest time of which certificates are void there.
    pub(crate) fn thresholds(&self) -> impl Iterator<Item = (NetworkId, Time)> + '_ {
        self.ledgers.keys().filter_map(|network| Some((*network, self.latest(*network)?)))
    }

    /// Whose revocations are of a time that is still to come.
    pub(crate) fn ahead(&self, network: NetworkId, wall: Time) -> Vec<Address> {
        let ahead = |(member, revoked): (Address, &Revoked)| (revoked.threshold > wall).then_some(member);
        self.standing(network).filter_map(ahead).collect()
    }

    /// Forgets revocations that are no longer stored.
    pub(crate) fn forget(&mut self, network: NetworkId, members: &[Address]) {
        if let Some(ledger) = self.ledgers.get_mut(&network) {
            members.iter().for_each(|member| ledger.standing.remove(*member));
        }
    }

    /// All revocations, for whoever takes this one's place.
    pub(crate) fn legacy(&self) -> Vec<KeptRevocation> {
        let of = |network: &NetworkId| {
            let network = *network;
            self.standing(network).map(move |(member, revoked)| KeptRevocation {
                network,
                member,
                threshold: revoked.threshold,
                window: revoked.window,
            })
        };
        self.ledgers.keys().flat_map(of).collect()
    }

    /// Whether a revocation puts somebody out who is not out yet.
    pub(crate) fn is_news(&self, kept: &KeptRevocation) -> bool {
        let known = self.ledgers.get(&kept.network).and_then(|ledger| ledger.standing.get(kept.member));
        known.is_none_or(|revoked| revoked.threshold < kept.threshold)
    }

    /// Takes over what is stored of a controller before this one.
    pub(crate) fn inherit(&mut self, signer: &mut Signer, news: Vec<KeptRevocation>) {
        for KeptRevocation { network, member, threshold, window } in news {
            self.ledger(signer, network).standing.put(member, threshold, window);
        }
    }

    /// When something is brought next.
    pub(crate) fn next(&self) -> Option<Time> {
        self.due.first().map(|(at, _, _)| *at)
    }

    /// Members whose certificates may be in use: authorized, and heard in the last window, or not yet since this process
    /// began, which may be a moment ago.
    fn recipients(&self, networks: &Networks, at: Moment, network: NetworkId) -> Vec<Recipient> {
        let Some(state) = networks.get(network) else { return Vec::new() };
        let Moment { now, started, .. } = at;
        let lately = networks.window(network) + GRACE;
        let young = now - started < lately;
        let own = self.own;
        let member = |(address, member): (&Address, &Member)| {
            let live = state.live(*address);
            let recent =
                live.map_or(young && member.identity.is_some(), |live| now - live.last_request < lately);
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
    pub(crate) fn tell(
        &mut self,
        signer: &mut Signer,
        networks: &Networks,
        at: Moment,
        network: NetworkId,
        target: Address,
        online: &[Address],
    ) -> Vec<Action> {
        if network.controller() != self.own {
            return Vec::new();
        }
        let recipients = self.recipients(networks, at, network);
        let (now, own, id) = (at.now, self.own, signer.random.next_u32());
        let Some(ledger) = self.ledgers.get_mut(&network) else { return Vec::new() };
        let Some(revoked) = ledger.standing.get(target) else { return Vec::new() };
        let (threshold, serial) = (revoked.threshold, revoked.serial);
        let mut to: Vec<Address> = online.iter().copied().filter(|a| *a == target || *a == own).collect();
        let mut absent = 0;
        for recipient in recipients.iter().filter(|r| r.address != target) {
            let told = ledger.told.entry(recipient.address).or_default();
            (told.tries, told.since) = (0, Some(now));
            if recipient.run != 0 && told.run != Some(recipient.run) {
                *told = Told { run: Some(recipient.run), since: Some(now), due: told.due, ..Told::default() };
            }
            let due = if !recipient.online && absent >= AT_ONCE {
                let wait = (absent - AT_ONCE) / HANDFUL + 1;
                (told.cursor, told.began) = (u64::MAX, serial);
                Some(now + HANDFUL_TIME * wait as i64)
            } else if recipient.acknowledges {
                to.push(recipient.address);
                Some(now)
            } else if told.due.is_none() && told.takes_more(now) <= now {
                to.push(recipient.address);
                told.last = Some(now);
                if recipient.online && ledger.standing.none_between(told.done, serial) {
                    told.done = serial;
                }
                None
            } else {
                (told.cursor, told.began) = (u64::MAX, serial);
                Some(told.takes_more(now))
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
        let revocation = revoked::sign(&signer.identity, network, target, threshold, id, flags);
        vec![Action::Revoke { to, revocation }]
    }

    /// A member has just been given a configuration it asked for: it gets what it may not know.
    pub(crate) fn asked(&mut self, now: Time, network: NetworkId, member: Address, run: u64) {
        if member == self.own {
            return;
        }
        let Some(ledger) = self.ledgers.get_mut(&network).filter(|l| !l.standing.is_empty()) else { return };
        let newest = ledger.standing.newest();
        let told = ledger.told.entry(member).or_default();
        let due = if run != 0 {
            if told.run != Some(run) {
                *told = Told { run: Some(run), due: told.due, ..Told::default() };
            }
            if told.done >= newest {
                return;
            }
            (told.tries, told.since) = (0, Some(now));
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
            told.takes_more(now)
        };
        if let Some(old) = told.due.replace(due) {
            self.due.remove(&(old, network, member));
        }
        self.due.insert((due, network, member));
    }

    /// Brings what is due.
    pub(crate) fn bring(&mut self, signer: &SecretIdentity, networks: &Networks, now: Time) -> Vec<Action> {
        let mut actions = Vec::new();
        while actions.len() < BATCH
            && let Some((at, network, member)) = self.due.first().copied()
            && at <= now
        {
            self.due.pop_first();
            let state = networks.get(network);
            let record = state.and_then(|state| state.member(member)).filter(|record| record.authorized);
            let live = state.and_then(|state| state.live(member));
            let acknowledges = record.map(|r| live.map_or(r.acknowledges, |live| live.wants.run != 0));
            let online = live.is_some_and(|live| live.is_online(now));
            let Some(ledger) = self.ledgers.get_mut(&network) else { continue };
            let Ledger { standing, told } = ledger;
            let Some(told) = told.get_mut(&member) else { continue };
            told.due = None;
            // Who is out meanwhile is none of its business.
            let Some(acknowledges) = acknowledges else { continue };
            let due = if acknowledges {
                let Some((revocations, last)) = standing.after(told.done, network, signer) else {
                    continue;
                };
                told.sent = told.sent.max(last);
                let pause = (FIRST_PAUSE * (1 << told.tries.min(16))).min(LAST_PAUSE);
                told.tries += 1;
                actions.push(Action::Bring { member, network, revocations, ask: Some(last) });
                Some(now + pause)
            } else {
                let next = standing.before(told.cursor, network, signer);
                let more = next.as_ref().is_some_and(|(list, _)| list.len() >= revoked::PER_MESSAGE);
                if let Some((revocations, last)) = next {
                    (told.cursor, told.last) = (last, Some(now));
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
    pub(crate) fn acknowledged(&mut self, now: Time, word: Acknowledgement) {
        let Acknowledgement { network, member, serial, run } = word;
        let Some(ledger) = self.ledgers.get_mut(&network) else { return };
        let newest = ledger.standing.newest();
        let Some(told) = ledger.told.get_mut(&member) else { return };
        // What it was never sent it cannot have, and what an earlier run of it had is on disk, or not.
        if serial <= told.done || serial > told.sent || told.run.is_some_and(|known| known != run) {
            return;
        }
        (told.run, told.done, told.tries, told.since) = (Some(run), serial, 0, Some(now));
        let due = (serial < newest).then_some(now);
        if let Some(old) = std::mem::replace(&mut told.due, due) {
            self.due.remove(&(old, network, member));
        }
        self.due.extend(due.map(|at| (at, network, member)));
    }

    /// Forgets what is of no more use.
    pub(crate) fn prune(&mut self, store: &mut dyn Store, networks: &Networks, wall: Time) {
        let ids: Vec<NetworkId> = self.ledgers.keys().copied().collect();
        for network in ids {
            // A network that is gone has no window to be widened.
            let window = networks.get(network).map_or(Span::ZERO, |_| networks.window(network));
            let time = networks.certificate_time(wall, network);
            let Some(ledger) = self.ledgers.get_mut(&network) else { continue };
            let over = ledger.standing.over(time, window);
            let changes: Vec<Change> =
                over.iter().map(|member| Change::DeleteRevocation { network, member: *member }).collect();
            if !changes.is_empty()
                && let Err(problem) = store.commit(&changes)
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
                self.ledgers.remove(&network);
            }
        }
    }

    /// How far the word of one revocation has got; `None` when there is none that stands.
    pub(crate) fn report(
        &self,
        networks: &Networks,
        at: Moment,
        network: NetworkId,
        target: Address,
    ) -> Option<Revocation> {
        let ledger = self.ledgers.get(&network)?;
        let revoked = ledger.standing.get(target)?;
        let mut reach = Reach::default();
        for recipient in self.recipients(networks, at, network).iter().filter(|r| r.address != target) {
            let told = ledger.told.get(&recipient.address);
            let done = told.is_some_and(|told| told.done >= revoked.serial);
            let patient = told.is_some_and(|told| {
                told.due.is_some()
                    && (!recipient.acknowledges || told.since.is_some_and(|since| at.now - since < PATIENCE))
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
        Some(Revocation { reach: Some(reach), ..shown(networks, network, target, revoked) })
    }

    /// The revocations of a network that stand. Whom each has reached is told of one at a time: there may be many of both.
    pub(crate) fn list(&self, networks: &Networks, network: NetworkId) -> Vec<Revocation> {
        self.standing(network).map(|(target, revoked)| shown(networks, network, target, revoked)).collect()
    }
}

fn shown(networks: &Networks, network: NetworkId, target: Address, revoked: &Revoked) -> Revocation {
    Revocation::new(network, target, revoked.threshold, revoked.until(networks.window(network)))
}
