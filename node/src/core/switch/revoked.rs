//! Revocations that outlive the run that heard them, and those that a controller brings and wants acknowledged.
//!
//! A member that was put out has certificates that look good until they are too old. Who hears of the revocation refuses
//! them; who forgets it by a restart would let their holder in again. So what was revoked is kept on disk, for twice the time
//! that certificates can be used, and put into force before the first packet of the network is looked at.
//!
//! A controller of ours sends revocations to a node that says in its configuration request that it keeps them
//! ([`RequestMetadata::run`](protocol::metadata::RequestMetadata::run)) as an application message until it is answered:
//!
//! | message | content |
//! |---|---|
//! | `ztnodeRV` | form u8 = 1 · network u64 · number u64 · count u8 · revocations as in NETWORK_CREDENTIALS |
//! | `ztnodeRA` | form u8 = 1 · network u64 · number u64 · run u64 |

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use controller::Acknowledgement;
use protocol::credential::membership::Added;
use protocol::credential::{Membership, Revocation, Verification, kind};
use protocol::verb::Verb;
use protocol::verbs::{NetworkCredentials, UserMessage};
use protocol::{Address, Identity, NetworkId, Reader, Result};
use rand::RngExt;

use super::Network;
use super::Switch;
use super::membership::{known, send_credentials};
use crate::ground::event::{Event, Object};
use crate::ground::limits::{CREDENTIALS_SPACING, MAX_CREDENTIALS_LATER, MAX_REVOKED};
use crate::link::Link;
use crate::link::extension;
use crate::link::{Handled, Incoming};

/// Form of both messages.
const FORM: u8 = 1;
/// First line of the file.
const HEADER: &str = "ztnode revocations 1";
/// A certificate's life when no configuration says: twice the longest there is, ms.
const LONGEST: i64 = 2 * 7_200_000;
/// Least time between two writings of the file, ms.
const STORE_PAUSE: i64 = 1_000;

/// Whose, which kind of credential, and its ID.
type Key = (Address, u8, u32);

/// Revocations of one network in force here.
#[derive(Debug, Default)]
pub(super) struct Revoked {
    /// Threshold, and until when it is kept.
    kept: BTreeMap<Key, (i64, i64)>,
    by_end: BTreeSet<(i64, Key)>,
    /// Told to the controller, so that it knows what this run can have acknowledged. 0 until it is drawn.
    pub(super) run: u64,
    changed: bool,
    stored: i64,
}

impl Revoked {
    fn knows(&self, revocation: &Revocation) -> bool {
        let key = (revocation.target, revocation.kind, revocation.credential_id);
        self.kept.get(&key).is_some_and(|(threshold, _)| *threshold >= revocation.threshold)
    }

    /// Keeps a threshold unless a higher one is kept. At the cap the one that ends first makes room.
    fn keep(&mut self, key: Key, threshold: i64, until: i64) {
        if let Some((old, end)) = self.kept.get(&key).copied() {
            if old >= threshold {
                return;
            }
            self.by_end.remove(&(end, key));
        } else if self.kept.len() >= MAX_REVOKED
            && let Some((_, first)) = self.by_end.pop_first()
        {
            self.kept.remove(&first);
        }
        self.kept.insert(key, (threshold, until));
        self.by_end.insert((until, key));
    }

    /// Forgets what has ended.
    pub(super) fn expire(&mut self, now: i64) {
        while let Some((end, key)) = self.by_end.first().copied()
            && end <= now
        {
            self.by_end.pop_first();
            self.kept.remove(&key);
            self.changed = true;
        }
    }

    /// Puts into force what is kept about one member.
    pub(super) fn apply(&self, member: Address, record: &mut Membership) {
        for ((_, kind, id), (threshold, _)) in self.kept.range((member, 0, 0)..=(member, u8::MAX, u32::MAX)) {
            record.raise_threshold(*kind, *id, *threshold);
        }
    }

    /// When the file has to be written.
    pub(super) fn due(&self) -> Option<i64> {
        self.changed.then_some(self.stored + STORE_PAUSE)
    }

    fn to_text(&self) -> String {
        let mut text = format!("{HEADER}\n");
        for ((member, kind, id), (threshold, until)) in &self.kept {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{member} {kind} {id} {threshold} {until}");
        }
        text
    }

    /// Takes in what an earlier run kept. Whether every line could be read; the others count all the same.
    fn read(&mut self, now: i64, bytes: &[u8]) -> bool {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines();
        let mut whole = lines.next() == Some(HEADER);
        for line in lines {
            match read_line(line) {
                // Ends beyond any window are damage, or of a clock that was wrong.
                Some((key, threshold, until)) if until > now => {
                    self.keep(key, threshold, until.min(now + LONGEST));
                }
                Some(_) => {}
                None => whole = false,
            }
        }
        whole
    }
}

fn read_line(line: &str) -> Option<(Key, i64, i64)> {
    let mut words = line.split(' ');
    let mut word = || words.next();
    let key = (word()?.parse().ok()?, word()?.parse().ok()?, word()?.parse().ok()?);
    let entry = (key, word()?.parse().ok()?, word()?.parse().ok()?);
    word().is_none().then_some(entry)
}

/// Packets of credentials for nodes that would drop them now.
pub(in super::super) type Later = VecDeque<(i64, Address, NetworkCredentials)>;

impl Network {
    /// Whether we have anything to do with a member.
    pub(super) fn has_met(&self, member: Address) -> bool {
        self.members.contains_key(&member)
    }

    /// Takes in a revocation: verified first, put into force, and kept.
    pub(super) fn add_revocation(
        &mut self,
        now: i64,
        revocation: &Revocation,
        lookup: impl Fn(Address) -> Option<Identity>,
    ) -> Added {
        if !matches!(revocation.kind, kind::COM | kind::CAPABILITY | kind::TAG | kind::COO) {
            return Added::Rejected;
        }
        // What would change nothing is not worth looking at its signature.
        if self.revoked.knows(revocation) {
            return Added::Redundant;
        }
        match revocation.verify(lookup) {
            Verification::Invalid => return Added::Rejected,
            Verification::UnknownSigner(signer) => return Added::UnknownSigner(signer),
            Verification::Valid => {}
        }
        let (kind, id, threshold) = (revocation.kind, revocation.credential_id, revocation.threshold);
        let added = self.offer(now, revocation.target, |record| record.raise_threshold(kind, id, threshold));
        let window = self.config.as_ref().map_or(LONGEST, |config| 2 * config.credential_window);
        self.revoked.keep((revocation.target, kind, id), threshold, now + window.clamp(0, LONGEST));
        self.revoked.changed = true;
        added
    }
}

impl Switch {
    /// Puts into force what an earlier run kept of a network's revocations; to be called with [`Core::join`]. False when
    /// the file was damaged: what could be read of it counts all the same.
    pub(in super::super) fn restore_revocations(&mut self, now: i64, id: NetworkId, bytes: &[u8]) -> bool {
        let Some(network) = self.networks.get_mut(&id) else { return true };
        let whole = network.revoked.read(now, bytes);
        let Network { revoked, members, .. } = network;
        for (address, member) in members.iter_mut() {
            revoked.apply(*address, &mut member.record);
        }
        whole
    }

    /// Which run this is, as far as the network's controller is concerned.
    pub(super) fn run_of(&mut self, link: &mut Link, id: NetworkId) -> u64 {
        let run = link.rng.random_range(1..=u64::MAX);
        let Some(network) = self.networks.get_mut(&id) else { return run };
        if network.revoked.run == 0 {
            network.revoked.run = run;
        }
        network.revoked.run
    }

    /// Has the files written that have changed, and what had to wait sent.
    pub(in super::super) fn attend_to_revocations(&mut self, link: &mut Link, now: i64) {
        for network in self.networks.values_mut() {
            if network.revoked.due().is_some_and(|at| at <= now) {
                network.revoked.changed = false;
                network.revoked.stored = now;
                let object = Object::Revocations(network.id);
                let event = if network.revoked.kept.is_empty() {
                    Event::Delete { object }
                } else {
                    Event::Store { object, bytes: network.revoked.to_text().into_bytes() }
                };
                link.outbox.events.push_back(event);
            }
        }
        while self.later.front().is_some_and(|(at, ..)| *at <= now)
            && let Some((_, to, set)) = self.later.pop_front()
        {
            self.send_credentials_spaced(link, now, to, set);
        }
    }

    /// Sends a packet of credentials to a node that drops one that comes within a second of another.
    pub(super) fn send_credentials_spaced(
        &mut self,
        link: &mut Link,
        now: i64,
        to: Address,
        set: NetworkCredentials,
    ) {
        let last = link.topology.peers.get(&to).map_or(0, |peer| peer.credentials_sent);
        if now - last >= CREDENTIALS_SPACING {
            send_credentials(link, now, to, &set);
        } else if self.later.len() < MAX_CREDENTIALS_LATER {
            self.later.push_back((now + CREDENTIALS_SPACING, to, set));
        }
    }

    /// Our controller brings a member revocations, and wants to hear that it keeps them.
    pub(super) fn bring_revocations(
        &mut self,
        link: &mut Link,
        now: i64,
        to: Address,
        network: NetworkId,
        number: u64,
        revocations: &[Revocation],
    ) {
        let mut body = vec![FORM];
        body.extend_from_slice(&network.0.to_be_bytes());
        body.extend_from_slice(&number.to_be_bytes());
        let count = u8::try_from(revocations.len()).unwrap_or(u8::MAX);
        body.push(count);
        for revocation in revocations.iter().take(usize::from(count)) {
            revocation.write(&mut body);
        }
        let mut packet = link.begin(to, Verb::UserMessage);
        UserMessage { kind: extension::BRING, body: &body }.write(&mut packet);
        link.send(now, packet);
    }

    /// A controller brings us revocations.
    pub(in super::super) fn revocations_brought(
        &mut self,
        link: &mut Link,
        now: i64,
        incoming: &Incoming<'_>,
        body: &[u8],
    ) -> Result<Handled> {
        let mut reader = Reader::new(body);
        if reader.u8("form of a message of revocations")? != FORM {
            return Ok(Handled::Credit);
        }
        let id = NetworkId(reader.u64("network of a message of revocations")?);
        let number = reader.u64("number of a message of revocations")?;
        let count = reader.u8("count of revocations")?;
        if id.controller() != incoming.source {
            return Ok(Handled::Credit);
        }
        let lookup = known(&link.topology, &link.secret);
        let Some(network) = self.networks.get_mut(&id) else { return Ok(Handled::Credit) };
        for _ in 0..count {
            let revocation = Revocation::read(&mut reader)?;
            // The controller itself says so, on a sealed channel: what is known need not be verified again.
            let fits = revocation.network == id
                && (network.revoked.knows(&revocation)
                    || network.add_revocation(now, &revocation, &lookup).is_accepted());
            if !fits {
                return Ok(Handled::Credit);
            }
        }
        drop(lookup);
        let mut answer = vec![FORM];
        answer.extend_from_slice(&id.0.to_be_bytes());
        answer.extend_from_slice(&number.to_be_bytes());
        answer.extend_from_slice(&self.run_of(link, id).to_be_bytes());
        let mut packet = link.begin(incoming.source, Verb::UserMessage);
        UserMessage { kind: extension::KEPT, body: &answer }.write(&mut packet);
        link.reply(now, incoming.via, packet);
        Ok(Handled::Trust)
    }

    /// A member says that it keeps what our controller brought.
    pub(in super::super) fn revocations_kept(
        &mut self,
        link: &mut Link,
        incoming: &Incoming<'_>,
        body: &[u8],
    ) -> Result<Handled> {
        let mut reader = Reader::new(body);
        if reader.u8("form of an acknowledgement")? != FORM {
            return Ok(Handled::Credit);
        }
        let network = NetworkId(reader.u64("network of an acknowledgement")?);
        let serial = reader.u64("number of an acknowledgement")?;
        let run = reader.u64("run of an acknowledgement")?;
        if link.settings.controller && network.controller() == link.address() {
            let word = Acknowledgement { network, member: incoming.source, serial, run };
            link.outbox.events.push_back(Event::Acknowledged(word));
        }
        Ok(Handled::Credit)
    }
}

#[cfg(feature = "work")]
impl Revoked {
    /// See `filling`.
    pub(super) fn fill(&mut self, now: i64, peer: impl Fn(u64) -> Address) {
        for number in self.kept.len() as u64..MAX_REVOKED as u64 {
            self.keep((peer(number), kind::COM, !0), now, now + LONGEST);
        }
    }

    /// See `filling`.
    pub(super) fn sizes(&self) -> [usize; 2] {
        [self.kept.len(), self.by_end.len()]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn key(address: u64) -> Key {
        (Address::from_u64(address), kind::COM, 0)
    }

    #[test]
    fn what_is_kept_comes_back_until_it_ends() {
        let mut revoked = Revoked::default();
        revoked.keep(key(1), NOW, NOW + 1_000);
        revoked.keep(key(2), NOW, NOW + 2_000);
        revoked.keep(key(2), NOW - 5, NOW + 9_000);
        let text = revoked.to_text();
        let mut again = Revoked::default();
        assert!(again.read(NOW + 1_000, text.as_bytes()));
        assert_eq!(again.kept, BTreeMap::from([(key(2), (NOW, NOW + 2_000))]));
        let mut record = Membership::default();
        again.apply(Address::from_u64(2), &mut record);
        assert_eq!(record.raise_threshold(kind::COM, 0, NOW), Added::Redundant);
        again.expire(NOW + 2_000);
        assert!(again.kept.is_empty() && again.by_end.is_empty() && again.due().is_some());
    }

    #[test]
    fn the_table_is_bounded_and_the_first_to_end_goes() {
        let mut revoked = Revoked::default();
        for n in 0..=MAX_REVOKED as u64 {
            revoked.keep(key(n + 1), NOW, NOW + n as i64 + 1);
        }
        assert_eq!((revoked.kept.len(), revoked.by_end.len()), (MAX_REVOKED, MAX_REVOKED));
        assert!(!revoked.kept.contains_key(&key(1)) && revoked.kept.contains_key(&key(2)));
    }

    #[test]
    fn a_damaged_line_spoils_no_other() {
        let text = format!("{HEADER}\nnonsense\n000000000a 1 0 5 {}\n000000000b 1 0 5\n", NOW + 1);
        let mut revoked = Revoked::default();
        assert!(!revoked.read(NOW, text.as_bytes()));
        assert_eq!(revoked.kept.len(), 1);
    }

    proptest! {
        #[test]
        fn any_file_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            Revoked::default().read(NOW, &bytes);
        }

        #[test]
        fn any_line_is_survived(line in "[0-9a-f]{0,12} [0-9-]{0,22} [0-9]{0,12} -?[0-9]{0,22} -?[0-9]{0,22}") {
            Revoked::default().read(NOW, format!("{HEADER}\n{line}\n").as_bytes());
        }
    }
}
