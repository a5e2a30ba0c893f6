//! How large a datagram each direct path takes: measured, for whoever sends more than fits a small one.
//!
//! A path begins with the default size. Probes are ECHOs filled up to a size and sent whole: not cut by us, and with IP told
//! not to fragment. An answer proves that this size arrives. Whoever answers in our own way is a ztnode and may be sent more
//! than the 1500 bytes another implementation has room for; whoever echoes the payload is not, and never gets more than the
//! default. Where even the default does not pass whole, the largest size that does is taken, so that our fragments fit and IP
//! has nothing to cut.
//!
//! The model is RFC 8899 (search, confirmation of what is in use, falling back when that fails), with a few sizes that make a
//! difference in place of a search for the exact one. Only packets larger than [`FLOOR`] cause probing, so an idle path, or one
//! that carries small packets, costs nothing.
//!
//! Specification: VL1 verbs, "ECHO"; packet format, "the 1500-byte receive limit". RFC 8899.

use protocol::packet::DEFAULT_MTU;
use protocol::{Address, Time};
use std::collections::BTreeMap;

use crate::ground::limits::{
    MAX_MEASURED_PATHS, PATH_MTU_CHECK, PATH_MTU_CHECK_LARGE, PATH_MTU_FORGET, PATH_MTU_PAUSE,
    PATH_MTU_PROBES, PATH_MTU_SEARCH, PATH_MTU_TRIES,
};
use crate::ground::work;
use crate::link::extension::{self};
use crate::link::path::PathKey;

/// What every path is supposed to take: the payload of a datagram in the smallest packet that IPv6 allows (1280 bytes).
pub(crate) const FLOOR: usize = 1_232;

/// Sizes that are tried, bytes of UDP payload. Below the default: what is left in tunnels with an MTU of 1400 and 1460. Above
/// it: a whole frame of a network with MTU 2800, half of one with MTU 9000, and what an underlay with MTU 9000 carries.
const LADDER: [usize; 7] = [FLOOR, 1_352, 1_412, DEFAULT_MTU, 2_896, 4_544, 8_952];

/// The next larger size.
fn above(size: usize) -> Option<usize> {
    LADDER.into_iter().find(|larger| *larger > size)
}

/// Who answered a probe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// A ztnode.
    Ours {
        /// The largest datagram it takes.
        room: usize,
        /// Whether it hands on the ECN bits of datagrams.
        ecn: bool,
    },
    /// Another implementation.
    Other,
}

/// A size that is being tried.
#[derive(Clone, Debug)]
struct Try {
    size: usize,
    /// Packet IDs of the probes so far; none for one that could not leave, which nobody can answer.
    probes: Vec<Option<u64>>,
    /// When the next probe or the end of the last one is due.
    due: Time,
}

/// What is known and being found out about one path.
#[derive(Clone, Debug)]
struct Measure {
    /// The size in use.
    size: usize,
    /// Whether the peer is a ztnode that hands on the ECN bits of datagrams.
    ecn: bool,
    /// The size being tried, if one is.
    trying: Option<Try>,
    /// Whether larger sizes are to be tried when one has passed.
    climbing: bool,
    /// A size that passed until the peer might have become another program; tried before others.
    hope: Option<usize>,
    /// From when on the next large packet causes a check of the size in use …
    check: Time,
    /// … and, after that, another search for a larger one.
    search: Time,
    /// The last large packet.
    used: Time,
}

impl Measure {
    fn new(now: Time) -> Self {
        let mut new = Self {
            size: DEFAULT_MTU,
            ecn: false,
            trying: None,
            climbing: true,
            hope: None,
            check: now,
            search: now + PATH_MTU_SEARCH,
            used: now,
        };
        new.begin(now, DEFAULT_MTU);
        new
    }

    fn begin(&mut self, due: Time, size: usize) {
        self.trying = Some(Try { size, probes: Vec::new(), due });
    }

    /// When the next probe or the end of the last one is due.
    fn due(&self) -> Option<Time> {
        self.trying.as_ref().map(|trying| trying.due)
    }

    /// A large packet goes out. Whether something is due earlier than before.
    fn note_use(&mut self, now: Time) -> bool {
        self.used = now;
        if self.trying.is_some() || now < self.check {
            return false;
        }
        if now >= self.search {
            self.climbing = true;
            self.search = now + PATH_MTU_SEARCH;
        }
        self.begin(now, self.size);
        true
    }

    /// Nothing more to be tried for now.
    fn settle(&mut self, now: Time) {
        (self.trying, self.hope, self.climbing) = (None, None, false);
        let pause = if self.size > DEFAULT_MTU { PATH_MTU_CHECK_LARGE } else { PATH_MTU_CHECK };
        self.check = now + pause;
    }

    /// The size being tried has passed.
    fn passed(&mut self, now: Time, tried: usize, kind: Kind) {
        let (room, ecn) = match kind {
            Kind::Ours { room, ecn } => (room, ecn),
            Kind::Other => (DEFAULT_MTU, false),
        };
        self.ecn = ecn;
        self.size = tried.min(room.max(FLOOR));
        let next = match self.hope {
            Some(hope) if hope > self.size => self.hope.take(),
            _ => above(self.size).filter(|_| self.climbing),
        };
        match next.filter(|size| *size <= room) {
            // Not at once: receivers let only so many ECHOs through.
            Some(next) => self.begin(now + PATH_MTU_PAUSE, next),
            None => self.settle(now),
        }
    }

    /// No probe of this size was answered.
    fn failed(&mut self, now: Time, failed: usize) {
        if failed > self.size {
            match above(self.size).filter(|size| *size < failed) {
                // It was a hope; what lies between may pass.
                Some(next) => {
                    self.climbing = true;
                    self.begin(now, next);
                }
                None => self.settle(now),
            }
        } else if failed > DEFAULT_MTU {
            // What has worked does so no longer.
            self.size = DEFAULT_MTU;
            self.climbing = true;
            self.begin(now, DEFAULT_MTU);
        } else if failed > FLOOR {
            self.climbing = true;
            self.begin(now, FLOOR);
        } else {
            // Nobody answers, or nothing useful passes whole: as if nobody had asked, and IP may cut what we send.
            self.size = DEFAULT_MTU;
            self.settle(now);
            self.check = now + PATH_MTU_SEARCH;
        }
    }

    /// The program at the other end may be another one by now.
    fn distrust(&mut self, now: Time) -> bool {
        let tried = self.trying.as_ref().map_or(0, |trying| trying.size);
        if !self.ecn && self.size <= DEFAULT_MTU && tried <= DEFAULT_MTU {
            return false;
        }
        let hope = self.hope.max(Some(self.size));
        self.ecn = false;
        self.size = self.size.min(DEFAULT_MTU);
        if now - self.used >= PATH_MTU_CHECK {
            // The next large packet has it asked.
            self.settle(now);
            (self.check, self.search) = (now, now);
            return false;
        }
        self.hope = hope;
        self.begin(now, self.size);
        true
    }
}

/// The paths that carry large packets, by peer.
#[derive(Debug, Default)]
pub(crate) struct PathMtus {
    paths: BTreeMap<(Address, PathKey), Measure>,
    /// When a probe is due.
    next: Option<Time>,
}

impl PathMtus {
    /// When a probe is due, if one is.
    pub(crate) fn next(&self) -> Option<Time> {
        self.next
    }

    /// Something is due then, if not before.
    fn hurry(&mut self, at: Time) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// The size in use on a path that is known to belong to the peer, for a packet that goes out now.
    pub(crate) fn size_for(&mut self, now: Time, peer: Address, path: &PathKey) -> usize {
        self.in_use(now, peer, path).0
    }

    /// Size in use, for a large packet that goes out now, and whether ECN bits may be shown; see [`Self::size_for`] and
    /// [`Self::takes_ecn`].
    pub(crate) fn in_use(&mut self, now: Time, peer: Address, path: &PathKey) -> (usize, bool) {
        work::step();
        if let Some(measure) = self.paths.get_mut(&(peer, *path)) {
            let (due, in_use) = (measure.note_use(now), (measure.size, measure.ecn));
            if due {
                self.hurry(now);
            }
            return in_use;
        }
        if self.paths.len() < MAX_MEASURED_PATHS {
            self.paths.insert((peer, *path), Measure::new(now));
            self.hurry(now);
        }
        (DEFAULT_MTU, false)
    }

    /// The size in use, if it has been measured or is being measured.
    pub(crate) fn size(&self, peer: Address, path: &PathKey) -> Option<usize> {
        self.paths.get(&(peer, *path)).map(|measure| measure.size)
    }

    /// Whether the ECN bits of frames may be shown on the datagrams of a path: what comes back on them must not get lost.
    pub(crate) fn takes_ecn(&self, peer: Address, path: &PathKey) -> bool {
        self.paths.get(&(peer, *path)).is_some_and(|measure| measure.ecn)
    }

    /// A packet came that a freshly started node would send: sizes only a ztnode takes have to be shown again.
    pub(crate) fn distrust(&mut self, now: Time, peer: Address) {
        let first = (peer, PathKey::FIRST);
        let paths = self.paths.range_mut(first..).take_while(|((of, _), _)| *of == peer);
        let due = paths.fold(false, |due, (_, measure)| due | measure.distrust(now));
        if due {
            self.hurry(now);
        }
    }

    /// Forgets what has not been used for long, and paths for which `exists` does not hold.
    pub(crate) fn expire(&mut self, now: Time, exists: impl Fn(Address, &PathKey) -> bool) {
        self.paths
            .retain(|(peer, path), measure| now - measure.used < PATH_MTU_FORGET && exists(*peer, path));
    }

    /// Tries that have had no answer for long enough have failed; the probes that are due now, by size.
    pub(crate) fn due(&mut self, now: Time) -> Vec<(Address, PathKey, usize)> {
        let mut probes = Vec::new();
        self.next = None;
        for ((peer, path), measure) in &mut self.paths {
            work::step();
            if let Some(tried) = &measure.trying
                && tried.due <= now
                && tried.probes.len() >= PATH_MTU_TRIES.len()
            {
                let size = tried.size;
                measure.failed(now, size);
            }
            if let Some(trying) = &mut measure.trying {
                if trying.due <= now && probes.len() < PATH_MTU_PROBES {
                    probes.push((*peer, *path, trying.size));
                    trying.due = now + PATH_MTU_TRIES[trying.probes.len()];
                }
                self.next = Some(self.next.map_or(trying.due, |next| next.min(trying.due)));
            }
        }
        probes
    }

    /// A probe that is due has to wait.
    pub(crate) fn put_off(&mut self, peer: Address, path: PathKey, until: Time) {
        if let Some(Measure { trying: Some(trying), .. }) = self.paths.get_mut(&(peer, path)) {
            trying.due = until;
            self.hurry(until);
        }
    }

    /// A probe went out, or could not.
    pub(crate) fn tried(&mut self, peer: Address, path: PathKey, id: Option<u64>) {
        if let Some(Measure { trying: Some(trying), .. }) = self.paths.get_mut(&(peer, path)) {
            trying.probes.push(id);
        }
    }

    /// A packet of ours was answered by `peer`. Whether it was a probe.
    pub(crate) fn answered(&mut self, now: Time, peer: Address, id: u64, body: &[u8]) -> bool {
        let first = (peer, PathKey::FIRST);
        let paths = self.paths.range_mut(first..).take_while(|((of, _), _)| *of == peer);
        let tried = |measure: &Measure| {
            let trying = measure.trying.as_ref()?;
            trying.probes.contains(&Some(id)).then_some(trying.size)
        };
        let Some((measure, size)) =
            paths.into_iter().find_map(|(_, measure)| tried(measure).map(|size| (measure, size)))
        else {
            return false;
        };
        let kind = match extension::read_answer(body) {
            Some((room, can)) => Kind::Ours { room, ecn: can.hands_on_ecn() },
            None => Kind::Other,
        };
        measure.passed(now, size, kind);
        if let Some(due) = measure.due() {
            self.hurry(due);
        }
        true
    }
}

#[cfg(feature = "work")]
impl PathMtus {
    /// See `filling`.
    pub(crate) fn fill(&mut self, now: Time, peer: impl Fn(u64) -> Address, via: impl Fn(u64) -> PathKey) {
        for number in 0..2 * MAX_MEASURED_PATHS as u64 {
            if self.paths.len() >= MAX_MEASURED_PATHS {
                break;
            }
            let mut measure = Measure::new(now);
            measure.settle(now);
            self.paths.entry((peer(number), via(number))).or_insert(measure);
        }
    }

    /// See `filling`.
    pub(crate) fn len(&self) -> usize {
        self.paths.len()
    }
}

#[cfg(test)]
mod tests;
