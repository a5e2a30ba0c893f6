//! How we look from outside: the addresses that peers report to see us under.
//!
//! Specification: VL1 behaviour, "self-awareness".

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use protocol::inet::Scope;
use protocol::{Address, Time, scope};

use crate::ground::limits::{MAX_SURFACES, MAX_SURFACES_PER_SOURCE, SURFACE_EXPIRY};
use crate::ground::sources::Source;
use crate::ground::table::{Share, Table};
use crate::link::path::{PathKey, SocketId};

/// Whose word it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Word {
    /// A root's, which is believed alone.
    Root,
    /// That of a member of a common network, which is believed when another prefix says the same.
    Member,
}

/// Who is answerable for a report.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Prefix {
    word: Word,
    source: Source,
}

impl Share for Prefix {
    fn rank(&self) -> u8 {
        self.word as u8
    }
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Reporter {
    peer: Address,
    socket: SocketId,
    endpoint: SocketAddr,
}

#[derive(Clone, Copy, Debug)]
struct Report {
    surface: SocketAddr,
    at: Time,
    by: Prefix,
}

/// What reporters said. Roots always have room; strangers are not asked.
#[derive(Debug)]
pub(crate) struct Surfaces {
    reports: Table<Reporter, Prefix, Report>,
    /// How many reports of each prefix say what.
    sayings: BTreeMap<SocketAddr, BTreeMap<Prefix, usize>>,
    /// What is worth telling others.
    believed: BTreeSet<SocketAddr>,
}

impl Default for Surfaces {
    fn default() -> Self {
        Self {
            reports: Table::new(MAX_SURFACES, MAX_SURFACES_PER_SOURCE),
            sayings: BTreeMap::new(),
            believed: BTreeSet::new(),
        }
    }
}

impl Surfaces {
    /// Takes in that `peer`, heard directly on `via`, sees us as `surface`. Answers with the scope and family whose paths have
    /// to be probed again, when a trusted reporter saw our address change.
    pub(crate) fn report(
        &mut self,
        now: Time,
        peer: Address,
        via: PathKey,
        surface: SocketAddr,
        word: Word,
    ) -> Option<(Scope, bool)> {
        let surface_scope = scope(surface.ip());
        if surface_scope != scope(via.remote.ip())
            || matches!(surface_scope, Scope::None | Scope::Loopback | Scope::Multicast)
        {
            return None;
        }
        let reporter = Reporter { peer, socket: via.socket, endpoint: via.remote };
        let by = Prefix { word, source: Source::of(via.remote.ip()) };
        let known = self.reports.get(&reporter).copied();
        let moved = word == Word::Root
            && known.is_some_and(|old| now - old.at < SURFACE_EXPIRY && old.surface.ip() != surface.ip());
        if moved {
            self.reports
                .retain(|r, old| scope(old.surface.ip()) != surface_scope || r.endpoint == via.remote);
            (self.sayings, self.believed) = (BTreeMap::new(), BTreeSet::new());
            let kept: Vec<Report> = self.reports.iter().map(|(_, report)| *report).collect();
            kept.iter().for_each(|report| self.say(report));
        }
        let report = Report { surface, at: now, by };
        if let Some(before) = self.reports.remove(&reporter) {
            self.unsay(&before);
        }
        if let Some((_, gone)) = self.reports.insert(now, by, reporter, report) {
            self.unsay(&gone);
        }
        self.say(&report);
        moved.then_some((surface_scope, surface.is_ipv4()))
    }

    fn say(&mut self, report: &Report) {
        *self.sayings.entry(report.surface).or_default().entry(report.by).or_default() += 1;
        self.judge(report.surface);
    }

    fn unsay(&mut self, report: &Report) {
        let Some(by) = self.sayings.get_mut(&report.surface) else { return };
        if let Some(count) = by.get_mut(&report.by) {
            *count -= 1;
            if *count == 0 {
                by.remove(&report.by);
            }
        }
        if by.is_empty() {
            self.sayings.remove(&report.surface);
        }
        self.judge(report.surface);
    }

    /// Whether a surface is worth telling others: if a root reported it, or if reporters of two prefixes agree on it, so that nobody
    /// alone can make us advertise somebody else's address.
    fn judge(&mut self, surface: SocketAddr) {
        let by = self.sayings.get(&surface);
        let root =
            |by: &BTreeMap<Prefix, usize>| by.first_key_value().is_some_and(|(by, _)| by.word == Word::Root);
        if by.is_some_and(|by| by.len() > 1 || root(by)) {
            self.believed.insert(surface);
        } else {
            self.believed.remove(&surface);
        }
    }

    /// Drops old reports.
    pub(crate) fn expire(&mut self, now: Time) {
        for (_, report) in self.reports.expire(now - SURFACE_EXPIRY) {
            self.unsay(&report);
        }
    }

    /// The addresses worth telling others.
    pub(crate) fn advertised(&self) -> Vec<SocketAddr> {
        self.believed.iter().copied().collect()
    }
}

#[cfg(feature = "work")]
impl Surfaces {
    /// See `filling`.
    pub(crate) fn fill(&mut self, now: Time, peer: impl Fn(u64) -> Address, via: impl Fn(u64) -> PathKey) {
        self.reports.fill(now, |number| {
            let PathKey { socket, remote: endpoint } = via(number);
            let by = Prefix { word: Word::Member, source: Source::of(endpoint.ip()) };
            let report = Report { surface: endpoint, at: now, by };
            (by, Reporter { peer: peer(number), socket, endpoint }, report)
        });
    }

    /// See `filling`.
    pub(crate) fn len(&self) -> usize {
        self.reports.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(ip: [u8; 4], port: u16) -> PathKey {
        PathKey { socket: SocketId(0), remote: SocketAddr::from((ip, port)) }
    }

    #[test]
    fn one_machine_with_many_ports_and_identities_makes_nobody_believe_anything() {
        let mut surfaces = Surfaces::default();
        let (ours, theirs) =
            (SocketAddr::from(([198, 51, 100, 9], 9)), SocketAddr::from(([203, 0, 113, 66], 1)));
        for n in 0..5_000u16 {
            let liar = Address::from_u64(1 + u64::from(n % 7));
            surfaces.report(Time::EPOCH, liar, via([192, 0, 2, n as u8], 1_000 + n), theirs, Word::Member);
        }
        assert_eq!(surfaces.advertised(), []);
        assert!(surfaces.reports.len() <= MAX_SURFACES_PER_SOURCE);
        surfaces.report(Time::EPOCH, Address::from_u64(99), via([198, 18, 0, 1], 1), ours, Word::Root);
        assert_eq!(surfaces.advertised(), [ours]);
        surfaces.report(Time::EPOCH, Address::from_u64(98), via([198, 51, 100, 1], 1), theirs, Word::Member);
        assert_eq!(surfaces.advertised(), [ours, theirs], "two prefixes");
    }

    #[test]
    fn roots_have_room_however_many_report() {
        let mut surfaces = Surfaces::default();
        let surface = SocketAddr::from(([198, 51, 100, 9], 9));
        surfaces.report(Time::EPOCH, Address::from_u64(99), via([198, 18, 0, 1], 1), surface, Word::Root);
        for n in 0..20_000u32 {
            let [_, a, b, c] = n.to_be_bytes();
            let member = Address::from_u64(1 + u64::from(n));
            surfaces.report(
                Time::from_ms(1),
                member,
                via([11, a, b, c], 1),
                SocketAddr::from(([1, a, b, c], 1)),
                Word::Member,
            );
        }
        assert_eq!(surfaces.advertised(), [surface]);
    }
}
