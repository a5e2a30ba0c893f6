//! Revocations that outlive the run that heard them.
//!
//! A member that was put out has certificates that look good until they are too old. Who hears of the revocation refuses
//! them; who forgets it by a restart would let their holder in again. So what was revoked is kept on disk, for twice the time
//! that certificates can be used, and put into force before the first packet of the network is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use protocol::credential::{Membership, Revocation};
use protocol::{Address, Span, Time};

use crate::ground::limits::MAX_REVOKED;

/// First line of the file.
const HEADER: &str = "ztnode revocations 1";
/// A certificate's life when no configuration says: twice the longest there is.
pub(super) const LONGEST: Span = Span::secs(2 * 7_200);
/// Least time between two writings of the file.
const STORE_PAUSE: Span = Span::secs(1);

/// Whose, which kind of credential, and its ID.
type Key = (Address, u8, u32);

/// Revocations of one network in force here.
#[derive(Debug, Default)]
pub(super) struct Revoked {
    /// Threshold, and until when it is kept.
    kept: BTreeMap<Key, (Time, Time)>,
    by_end: BTreeSet<(Time, Key)>,
    /// When the file has to be written, if it has.
    due: Option<Time>,
    /// When it was written last.
    stored: Option<Time>,
}

impl Revoked {
    /// Whether that much is kept already.
    pub(super) fn knows(&self, revocation: &Revocation) -> bool {
        let key = (revocation.target, revocation.kind, revocation.credential_id);
        self.kept.get(&key).is_some_and(|(threshold, _)| *threshold >= revocation.threshold)
    }

    /// Keeps a threshold unless a higher one is kept. At the cap the one that ends first makes room.
    pub(super) fn keep(&mut self, key: Key, threshold: Time, until: Time) {
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
    pub(super) fn expire(&mut self, now: Time) {
        while let Some((end, key)) = self.by_end.first().copied()
            && end <= now
        {
            self.by_end.pop_first();
            self.kept.remove(&key);
            self.is_to_be_stored(now);
        }
    }

    /// Puts into force what is kept about one member.
    pub(super) fn apply(&self, member: Address, record: &mut Membership) {
        for ((_, kind, id), (threshold, _)) in self.kept.range((member, 0, 0)..=(member, u8::MAX, u32::MAX)) {
            record.raise_threshold(*kind, *id, *threshold);
        }
    }

    /// When the file has to be written.
    pub(super) fn due(&self) -> Option<Time> {
        self.due
    }

    /// What is kept is to be written down.
    pub(super) fn is_to_be_stored(&mut self, now: Time) {
        self.due.get_or_insert(self.stored.map_or(now, |at| now.max(at + STORE_PAUSE)));
    }

    /// The file's new content, if it has to be written now; none for no file.
    pub(super) fn store(&mut self, now: Time) -> Option<Option<Vec<u8>>> {
        self.due.take_if(|at| *at <= now)?;
        self.stored = Some(now);
        Some((!self.kept.is_empty()).then(|| self.to_text().into_bytes()))
    }

    fn to_text(&self) -> String {
        let mut text = format!("{HEADER}\n");
        for ((member, kind, id), (threshold, until)) in &self.kept {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{member} {kind} {id} {} {}", threshold.as_ms(), until.as_ms());
        }
        text
    }

    /// Takes in what an earlier run kept. Whether every line could be read; the others count all the same.
    pub(super) fn read(&mut self, now: Time, bytes: &[u8]) -> bool {
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

fn read_line(line: &str) -> Option<(Key, Time, Time)> {
    let mut words = line.split(' ');
    let mut word = || words.next();
    let key = (word()?.parse().ok()?, word()?.parse().ok()?, word()?.parse().ok()?);
    let mut time = || word()?.parse().ok().map(Time::from_ms);
    let entry = (key, time()?, time()?);
    word().is_none().then_some(entry)
}

#[cfg(feature = "work")]
impl Revoked {
    /// See `filling`.
    pub(super) fn fill(&mut self, now: Time, peer: impl Fn(u64) -> Address) {
        for number in self.kept.len() as u64..MAX_REVOKED as u64 {
            self.keep((peer(number), protocol::credential::kind::COM, !0), now, now + LONGEST);
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
    use protocol::credential::kind;
    use protocol::credential::membership::Added;

    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn at(ms: i64) -> Time {
        Time::from_ms(ms)
    }

    fn key(address: u64) -> Key {
        (Address::from_u64(address), kind::COM, 0)
    }

    #[test]
    fn what_is_kept_comes_back_until_it_ends() {
        let mut revoked = Revoked::default();
        revoked.keep(key(1), at(NOW), at(NOW + 1_000));
        revoked.keep(key(2), at(NOW), at(NOW + 2_000));
        revoked.keep(key(2), at(NOW - 5), at(NOW + 9_000));
        let text = revoked.to_text();
        let mut again = Revoked::default();
        assert!(again.read(at(NOW + 1_000), text.as_bytes()));
        assert_eq!(again.kept, BTreeMap::from([(key(2), (at(NOW), at(NOW + 2_000)))]));
        let mut record = Membership::default();
        again.apply(Address::from_u64(2), &mut record);
        assert_eq!(record.raise_threshold(kind::COM, 0, at(NOW)), Added::Redundant);
        again.expire(at(NOW + 2_000));
        assert!(again.kept.is_empty() && again.by_end.is_empty() && again.due().is_some());
    }

    #[test]
    fn the_table_is_bounded_and_the_first_to_end_goes() {
        let mut revoked = Revoked::default();
        for n in 0..=MAX_REVOKED as u64 {
            revoked.keep(key(n + 1), at(NOW), at(NOW + n as i64 + 1));
        }
        assert_eq!((revoked.kept.len(), revoked.by_end.len()), (MAX_REVOKED, MAX_REVOKED));
        assert!(!revoked.kept.contains_key(&key(1)) && revoked.kept.contains_key(&key(2)));
    }

    #[test]
    fn a_damaged_line_spoils_no_other() {
        let text = format!("{HEADER}\nnonsense\n000000000a 1 0 5 {}\n000000000b 1 0 5\n", NOW + 1);
        let mut revoked = Revoked::default();
        assert!(!revoked.read(at(NOW), text.as_bytes()));
        assert_eq!(revoked.kept.len(), 1);
    }

    proptest! {
        #[test]
        fn any_file_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            Revoked::default().read(at(NOW), &bytes);
        }

        #[test]
        fn any_line_is_survived(line in "[0-9a-f]{0,12} [0-9-]{0,22} [0-9]{0,12} -?[0-9]{0,22} -?[0-9]{0,22}") {
            Revoked::default().read(at(NOW), format!("{HEADER}\n{line}\n").as_bytes());
        }
    }
}
