//! Whose certificates are void.
//!
//! A revocation that a member missed lets somebody in who was put out, for as long as the last certificate of theirs agrees
//! with the member's own: the network's window. So the controller keeps every revocation on disk for that time and
//! [`GRACE`], one threshold a member (a later one replaces an earlier one), through restarts, backups, and the end of the
//! network itself.
//!
//! Each has a serial number, by which members' knowledge is kept ([`crate::courier`]). Serial numbers are of this run only
//! and begin at random, so that an acknowledgement from before a restart fits nothing.

use std::collections::BTreeMap;

use protocol::credential::{Credential, Revocation, Signed, kind};
use protocol::{Address, NetworkId, SecretIdentity, Span, Time};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use api::WINDOW_RANGE;
use api::lenient;

/// How much longer than certificates could be used a revocation is kept.
pub(crate) const GRACE: Span = Span::secs(600);

/// Most revocations of a network; the oldest is forgotten for a new one.
pub(crate) const MAX_REVOKED: usize = 65_536;

/// The window that is taken for one that is not known.
pub(crate) const WIDEST: Span = Span::ms(WINDOW_RANGE.end().cast_signed());

/// Revocations in one message. They fit a packet over the smallest path.
pub(crate) const PER_MESSAGE: usize = 48;

/// One member's.
#[derive(Clone, Debug)]
pub(crate) struct Revoked {
    /// Certificates issued then or earlier are void.
    pub(crate) threshold: Time,
    /// The network's window then.
    pub(crate) window: Span,
    pub(crate) serial: u64,
    /// Signed for those who missed it: nobody passes that on.
    repeat: Option<Signed<Revocation>>,
}

impl Revoked {
    /// When it is of no more use. A window that was widened since reaches farther back.
    pub(crate) fn until(&self, window: Span) -> Time {
        self.threshold + self.window.max(window) + GRACE
    }

    /// As the store keeps it.
    pub(crate) fn record(threshold: Time, window: Span) -> Value {
        api::json(&Stored { threshold: threshold.as_ms(), window: window.as_ms() })
    }
}

/// One as the store keeps it.
#[derive(Deserialize, Serialize)]
#[serde(default)]
struct Stored {
    #[serde(deserialize_with = "lenient::time::<0, _>")]
    threshold: i64,
    #[serde(deserialize_with = "lenient::time::<{ WIDEST.as_ms() }, _>")]
    window: i64,
}

impl Default for Stored {
    fn default() -> Self {
        Self { threshold: 0, window: WIDEST.as_ms() }
    }
}

/// The revocations of one network that stand.
#[derive(Debug)]
pub(crate) struct Standing {
    by_member: BTreeMap<Address, Revoked>,
    by_serial: BTreeMap<u64, Address>,
    newest: u64,
}

impl Standing {
    /// None yet; `base` is random.
    pub(crate) fn new(base: u64) -> Self {
        Self { by_member: BTreeMap::new(), by_serial: BTreeMap::new(), newest: base >> 2 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_member.is_empty()
    }

    pub(crate) fn get(&self, member: Address) -> Option<&Revoked> {
        self.by_member.get(&member)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Address, &Revoked)> {
        self.by_member.iter().map(|(member, revoked)| (*member, revoked))
    }

    /// The serial number given last.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// Whether none stands between two serial numbers, both excluded.
    pub(crate) fn none_between(&self, after: u64, before: u64) -> bool {
        after >= before || self.by_serial.range(after + 1..before).next().is_none()
    }

    /// The one to be forgotten for `member`'s, at the cap.
    pub(crate) fn crowded_out(&self, member: Address) -> Option<Address> {
        let full = self.by_member.len() >= MAX_REVOKED && !self.by_member.contains_key(&member);
        self.by_serial.first_key_value().filter(|_| full).map(|(_, oldest)| *oldest)
    }

    /// The threshold to be kept when `member` is put out at `now`: a clock that was set back lets nobody in again.
    pub(crate) fn threshold(&self, member: Address, now: Time) -> Time {
        self.get(member).map_or(now, |old| old.threshold.max(now))
    }

    /// Takes one in, in place of an earlier one of the same member.
    pub(crate) fn put(&mut self, member: Address, threshold: Time, window: Span) {
        self.remove(member);
        self.newest += 1;
        let serial = self.newest;
        self.by_serial.insert(serial, member);
        self.by_member.insert(member, Revoked { threshold, window, serial, repeat: None });
    }

    /// One as stored.
    pub(crate) fn put_stored(&mut self, member: Address, record: &Map<String, Value>) {
        let Stored { threshold, window } = api::read(record);
        self.put(member, Time::from_ms(threshold), Span::ms(window));
    }

    pub(crate) fn remove(&mut self, member: Address) {
        if let Some(old) = self.by_member.remove(&member) {
            self.by_serial.remove(&old.serial);
        }
    }

    /// Those that are of no more use.
    pub(crate) fn over(&self, now: Time, window: Span) -> Vec<Address> {
        self.iter().filter(|(_, revoked)| revoked.until(window) <= now).map(|(member, _)| member).collect()
    }

    /// The next few after a serial number, oldest first, and the last one's number.
    pub(crate) fn after(
        &mut self,
        serial: u64,
        network: NetworkId,
        signer: &SecretIdentity,
    ) -> Option<(Vec<Signed<Revocation>>, u64)> {
        let next = self.by_serial.range(serial.saturating_add(1)..).take(PER_MESSAGE);
        let next: Vec<(u64, Address)> = next.map(|(serial, member)| (*serial, *member)).collect();
        self.signed(&next, network, signer)
    }

    /// The next few before a serial number, latest first, and the last one's number.
    pub(crate) fn before(
        &mut self,
        serial: u64,
        network: NetworkId,
        signer: &SecretIdentity,
    ) -> Option<(Vec<Signed<Revocation>>, u64)> {
        let next = self.by_serial.range(..serial).rev().take(PER_MESSAGE);
        let next: Vec<(u64, Address)> = next.map(|(serial, member)| (*serial, *member)).collect();
        self.signed(&next, network, signer)
    }

    fn signed(
        &mut self,
        list: &[(u64, Address)],
        network: NetworkId,
        signer: &SecretIdentity,
    ) -> Option<(Vec<Signed<Revocation>>, u64)> {
        let last = list.last()?.0;
        let revocations = list.iter().filter_map(|(serial, member)| {
            let revoked = self.by_member.get_mut(member)?;
            let threshold = revoked.threshold;
            let make = || sign(signer, network, *member, threshold, *serial as u32, 0);
            Some(revoked.repeat.get_or_insert_with(make).clone())
        });
        Some((revocations.collect(), last))
    }
}

/// A signed revocation of a member's certificate.
pub(crate) fn sign(
    signer: &SecretIdentity,
    network: NetworkId,
    target: Address,
    threshold: Time,
    id: u32,
    flags: u64,
) -> Signed<Revocation> {
    Revocation { id, network, credential_id: 0, threshold, flags, target, kind: kind::COM }.sign(signer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_one_replaces_an_earlier_one_and_a_clock_set_back_does_not() {
        let (member, at, window) = (Address::from_u64(1), Time::from_ms, Span::ms(1_800_000));
        let mut standing = Standing::new(40);
        standing.put(member, standing.threshold(member, at(100)), window);
        let first = standing.newest();
        standing.put(member, standing.threshold(member, at(50)), window);
        assert_eq!((standing.iter().count(), standing.newest()), (1, first + 1));
        let kept = standing.get(member).unwrap();
        assert_eq!((kept.threshold, kept.until(Span::ZERO)), (at(100), at(100) + window + GRACE));
        assert_eq!(kept.until(WIDEST), at(100) + WIDEST + GRACE);
        assert!(standing.over(at(99) + window + GRACE, Span::ZERO).is_empty());
        assert_eq!(standing.over(at(100) + window + GRACE, Span::ZERO), [member]);
    }

    #[test]
    fn a_full_table_forgets_the_oldest() {
        let mut standing = Standing::new(0);
        for n in 0..MAX_REVOKED as u64 {
            assert_eq!(standing.crowded_out(Address::from_u64(n)), None);
            standing.put(Address::from_u64(n), Time::EPOCH, WIDEST);
        }
        assert_eq!(standing.crowded_out(Address::from_u64(7)), None, "it has its place");
        assert_eq!(standing.crowded_out(Address::from_u64(1 << 30)), Some(Address::from_u64(0)));
    }
}
