//! How often something is put back that others take away.
//!
//! Another program may remove what we set as soon as it is there. Then the two must not keep each other busy for ever: after a
//! few times it is put back once a minute, and somebody is told.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::inet::Prefix;
use tokio::time::Instant;

/// So often in [`WINDOW`], the first time included, without anybody being told.
const FREE: usize = 6;
const WINDOW: Duration = Duration::from_secs(60);
/// After so long a time of quiet everything is as at the beginning.
const QUIET: Duration = Duration::from_secs(300);
/// More things than this are not told apart.
const MAX_ITEMS: usize = 1024;

/// Something of a port that is kept as it should be.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Item {
    /// An address.
    Address(Prefix),
    /// A route to this target.
    Route(Prefix),
    /// Its MTU.
    Mtu,
    /// That it is up.
    Up,
}

impl Item {
    /// What became of it, for people.
    pub(super) fn change(self) -> String {
        match self {
            Item::Address(address) => format!("somebody removed the address {address}; it is put back"),
            Item::Route(target) => format!("somebody removed the route to {target}; it is put back"),
            Item::Mtu => "somebody changed the port's MTU; it is set again".to_owned(),
            Item::Up => "somebody took the port down; it is brought up again".to_owned(),
        }
    }

    /// What becomes of it again and again, for people.
    pub(super) fn trouble(self) -> String {
        match self {
            Item::Address(address) => format!("the address {address} is removed again and again"),
            Item::Route(target) => format!("the route to {target} is removed again and again"),
            Item::Mtu => "the port's MTU is changed again and again".to_owned(),
            Item::Up => "the port is taken down again and again".to_owned(),
        }
    }
}

/// What the damper says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// Put it there.
    Put,
    /// The same, for the first time after a while that it has to be put back.
    PutBack,
    /// Not before then.
    Wait(Instant),
}

/// How often something was put there.
#[derive(Debug)]
enum Record {
    /// At these times, lately.
    Patient(Vec<Instant>),
    /// Too often; the last time then.
    Tired(Instant),
}

impl Record {
    fn is_quiet(&self, now: Instant) -> bool {
        let last = match self {
            Record::Patient(times) => times.last(),
            Record::Tired(last) => Some(last),
        };
        last.is_none_or(|last| now - *last >= QUIET)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Damper(BTreeMap<Item, Record>);

impl Damper {
    /// Whether to put something there now; if so, that counts.
    pub(super) fn ask(&mut self, item: Item, now: Instant) -> Verdict {
        if self.0.len() >= MAX_ITEMS {
            self.0.retain(|_, record| !record.is_quiet(now));
        }
        if self.0.len() >= MAX_ITEMS && !self.0.contains_key(&item) {
            return Verdict::Wait(now + WINDOW);
        }
        let record = self.0.entry(item).or_insert_with(|| Record::Patient(Vec::new()));
        if record.is_quiet(now) {
            *record = Record::Patient(vec![now]);
            return Verdict::Put;
        }
        match record {
            Record::Tired(last) if now < *last + WINDOW => Verdict::Wait(*last + WINDOW),
            Record::Tired(last) => {
                *last = now;
                Verdict::Put
            }
            Record::Patient(times) => {
                let last = times.last().copied().unwrap_or(now);
                times.retain(|time| now - *time < WINDOW);
                if times.len() >= FREE {
                    *record = Record::Tired(last);
                    return Verdict::Wait(last + WINDOW);
                }
                times.push(now);
                if times.len() <= 2 { Verdict::PutBack } else { Verdict::Put }
            }
        }
    }

    /// Does not count what was never there.
    pub(super) fn forget_one(&mut self, item: Item) {
        self.0.remove(&item);
    }

    /// Begins anew: somebody wants something else now.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_few_times_then_once_a_minute() {
        let mut damper = Damper::default();
        let item = Item::Address("10.0.0.1/16".parse().unwrap());
        let mut put = Vec::new();
        let begun = Instant::now();
        // Somebody removes it ten times a second, for ten minutes.
        for tenth in 0..6000 {
            let verdict = damper.ask(item, begun + Duration::from_millis(tenth * 100));
            if !matches!(verdict, Verdict::Wait(_)) {
                put.push(tenth / 10);
            }
        }
        assert_eq!(put[..FREE], [0; FREE]);
        assert_eq!(put.len(), FREE + 9, "{put:?}");
        // Others are not touched by that, and after a quiet time all is well.
        let later = begun + Duration::from_secs(599);
        assert_eq!(damper.ask(Item::Mtu, later), Verdict::Put);
        assert!(matches!(damper.ask(item, later), Verdict::Wait(_)));
        for _ in 0..FREE {
            assert!(!matches!(damper.ask(item, later + QUIET), Verdict::Wait(_)));
        }
        damper.forget();
        assert_eq!(damper.ask(item, later + QUIET), Verdict::Put);
    }

    #[tokio::test(start_paused = true)]
    async fn bounded() {
        let mut damper = Damper::default();
        let now = Instant::now();
        for n in 0..5000u32 {
            damper.ask(Item::Address(Prefix { ip: std::net::Ipv4Addr::from_bits(n).into(), bits: 32 }), now);
        }
        assert_eq!(damper.0.len(), MAX_ITEMS);
    }
}
