//! What it knows of peers and paths, and the gates that are kept with them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use protocol::packet::{SessionKeys, Suite};
use protocol::verb::Verb;
use protocol::{Address, Identity, Span, Time, scope};

use super::{PATH_ALIVE, PATH_EXPIRY, PEER_TIMEOUT, TRUST};

/// One ECHO of a path is answered in so long.
pub const ECHO_GATE: Span = Span::ms(166);
/// One WHOIS of a peer is answered in so long, but by a root.
pub const WHOIS_GATE: Span = Span::ms(100);
/// One message with credentials of a peer is taken in so long.
pub const CREDENTIALS_GATE: Span = Span::ms(1_000);
/// Pushes that come no further apart are in a row, of which …
pub const PUSHES_IN_A_ROW: Span = Span::ms(30_000);
/// … so many are acted upon.
pub const PUSHES: u32 = 8;
/// A path of a peer is confirmed once in so long.
const CONFIRMATION: Span = Span::ms(1_000);
/// Paths of a peer that are kept.
const MAX_PATHS: usize = 64;
/// Silence counts against a path up to this, ms.
const MAX_SILENCE: i64 = 140_000;
/// Latency of a path that was not measured, ms.
const UNKNOWN_LATENCY: i64 = 65_535;

/// A socket of its own, and where the other is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct PathKey {
    pub socket: u64,
    pub remote: SocketAddr,
}

/// A path, whoever is there.
#[derive(Default)]
pub struct Path {
    pub last_in: Option<Time>,
    pub last_out: Option<Time>,
    pub trusted: Option<Time>,
    pub echo: Option<Time>,
    pub latency: Option<i64>,
}

/// Whether `at` is less than `span` ago.
pub fn within(at: Option<Time>, now: Time, span: Span) -> bool {
    at.is_some_and(|at| now - at < span)
}

/// What may happen once in a while: whether it may now.
pub fn gate(last: &mut Option<Time>, now: Time, span: Span) -> bool {
    let open = !within(*last, now, span);
    if open {
        *last = Some(now);
    }
    open
}

impl Path {
    pub fn is_alive(&self, now: Time) -> bool {
        within(self.last_in, now, PATH_ALIVE)
    }

    pub fn is_trusted(&self, now: Time) -> bool {
        within(self.trusted, now, TRUST)
    }

    /// The smaller the better.
    fn quality(&self, now: Time, remote: SocketAddr) -> i64 {
        let silent = self.last_in.map_or(MAX_SILENCE, |at| (now - at).as_ms().min(MAX_SILENCE));
        let latency = self.latency.unwrap_or(UNKNOWN_LATENCY);
        let cost = if self.is_alive(now) { latency } else { latency + UNKNOWN_LATENCY + silent };
        cost * (8 - scope(remote.ip()) as i64)
    }
}

/// A path of a peer.
pub struct PeerPath {
    pub key: PathKey,
    /// The peer's last packet on it; `None` when it has to speak again before it is used.
    pub last: Option<Time>,
    pub priority: i64,
}

pub struct Peer {
    pub identity: Identity,
    pub keys: SessionKeys,
    /// Protocol and software version; zeros until it told.
    pub protocol: u8,
    pub software: (u8, u8, u16),
    pub paths: Vec<PeerPath>,
    pub last_received: Option<Time>,
    pub last_active: Option<Time>,
    pub last_trusted: Option<Time>,
    pub full_hello: Option<Time>,
    pub push: Option<Time>,
    pub hint: Option<Time>,
    pub hints: Vec<SocketAddr>,
    pub whois: Option<Time>,
    pub credentials: Option<Time>,
    pushes: (Option<Time>, u32),
    tried: Vec<(PathKey, Time)>,
}

impl Peer {
    pub fn new(identity: Identity, keys: SessionKeys) -> Self {
        Self {
            identity,
            keys,
            protocol: 0,
            software: (0, 0, 0),
            paths: Vec::new(),
            last_received: None,
            last_active: None,
            last_trusted: None,
            full_hello: None,
            push: None,
            hint: None,
            hints: Vec::new(),
            whois: None,
            credentials: None,
            pushes: (None, 0),
            tried: Vec::new(),
        }
    }

    pub fn suite(&self) -> Suite {
        if self.protocol >= 12 { Suite::AesGmacSiv } else { Suite::Salsa }
    }

    pub fn answers_echo(&self) -> bool {
        self.protocol >= 5 && self.software != (1, 1, 0)
    }

    pub fn is_alive(&self, now: Time) -> bool {
        within(self.last_received, now, PEER_TIMEOUT)
    }

    pub fn is_active(&self, now: Time) -> bool {
        within(self.last_active, now, PEER_TIMEOUT)
    }

    pub fn is_trusted(&self, now: Time) -> bool {
        within(self.last_trusted, now, TRUST)
    }

    /// The path it takes: the best of those that are not expired, or of all; of equals the later one.
    pub fn best_path(&self, now: Time, paths: &BTreeMap<PathKey, Path>, expired: bool) -> Option<PathKey> {
        let mut best: Option<(i64, PathKey)> = None;
        for path in self.paths.iter().filter(|path| expired || within(path.last, now, PATH_EXPIRY)) {
            let nothing = Path::default();
            let of = paths.get(&path.key).unwrap_or(&nothing);
            let quality = of.quality(now, path.key.remote) / path.priority;
            if best.is_none_or(|(least, _)| quality <= least) {
                best = Some((quality, path.key));
            }
        }
        best.map(|(_, key)| key)
    }

    /// The smaller the better a root it is.
    pub fn score(&self, now: Time, paths: &BTreeMap<PathKey, Path>) -> i64 {
        let Some(last) = self.last_received.filter(|_| self.is_alive(now)) else {
            return i64::from(u32::MAX);
        };
        let path = self.best_path(now, paths, false).and_then(|key| paths.get(&key));
        let latency = path.and_then(|path| path.latency).filter(|ms| *ms > 0).unwrap_or(UNKNOWN_LATENCY);
        latency * ((now - last).as_ms() / 61_000 + 1)
    }

    pub fn has_path_to(&self, now: Time, remote: SocketAddr) -> bool {
        self.paths.iter().any(|path| path.key.remote == remote && within(path.last, now, PATH_EXPIRY))
    }

    /// A packet came directly. Whether the path is known, or nothing is learned because the peer is alive at another port there.
    pub fn heard_on(&mut self, now: Time, paths: &BTreeMap<PathKey, Path>, via: PathKey) -> bool {
        for path in &mut self.paths {
            if path.key == via {
                path.last = Some(now);
                return true;
            }
            let same = path.key.remote.ip() == via.remote.ip() && path.key.socket == via.socket;
            if same && paths.get(&path.key).is_some_and(|of| of.is_alive(now)) {
                return true;
            }
        }
        false
    }

    /// An answer came by a new path.
    pub fn learn(&mut self, now: Time, paths: &BTreeMap<PathKey, Path>, via: PathKey) {
        let new = PeerPath { key: via, last: Some(now), priority: 1 };
        let alive = |key: &PathKey| paths.get(key).is_some_and(|of| of.is_alive(now));
        let same = |key: &PathKey| key.remote.ip() == via.remote.ip() && key.socket == via.socket;
        if let Some(dead) = self.paths.iter_mut().find(|path| same(&path.key) && !alive(&path.key)) {
            *dead = new;
        } else if self.paths.len() < MAX_PATHS {
            self.paths.push(new);
        } else {
            let age = |path: &&mut PeerPath| paths.get(&path.key).and_then(|of| of.last_in);
            *self.paths.iter_mut().min_by_key(age).expect("there are paths") = new;
        }
    }

    /// Whether it may be asked now whether it is there.
    pub fn may_confirm(&mut self, now: Time, via: PathKey) -> bool {
        self.tried.retain(|(_, at)| now - *at <= CONFIRMATION);
        let free = self.tried.iter().all(|(key, _)| *key != via);
        if free {
            self.tried.push((via, now));
        }
        free
    }

    /// A push of its addresses came. Whether it is acted upon.
    pub fn may_push(&mut self, now: Time) -> bool {
        let (last, count) = &mut self.pushes;
        *count = if last.is_some_and(|at| now - at <= PUSHES_IN_A_ROW) { *count + 1 } else { 0 };
        *last = Some(now);
        *count < PUSHES
    }
}

/// Packets whose answers are awaited: the upper halves of their IDs, 32 to a bucket.
pub struct Expected {
    buckets: Vec<([u32; 32], usize)>,
}

impl Default for Expected {
    fn default() -> Self {
        Self { buckets: vec![([0; 32], 0); 256] }
    }
}

impl Expected {
    pub fn add(&mut self, id: u64) {
        let half = (id >> 32) as u32;
        let (bucket, next) = &mut self.buckets[half as usize & 255];
        bucket[*next % 32] = half;
        *next += 1;
    }

    pub fn has(&self, id: u64) -> bool {
        let half = (id >> 32) as u32;
        self.buckets[half as usize & 255].0.contains(&half)
    }
}

/// What its gates let through and what not, of each peer.
#[derive(Default)]
pub struct Tally {
    /// Verbs by sender, with those that were dropped by a gate.
    of: BTreeMap<(Address, Verb), (u64, u64)>,
    /// The most pushes of a peer in a row.
    pub pushes: BTreeMap<Address, u32>,
}

impl Tally {
    pub fn count(&mut self, from: Address, verb: Verb, through: bool) {
        let (taken, dropped) = self.of.entry((from, verb)).or_default();
        *(if through { taken } else { dropped }) += 1;
    }

    /// How many were let through, and how many dropped.
    pub fn of(&self, from: Address, verb: Verb) -> (u64, u64) {
        self.of.get(&(from, verb)).copied().unwrap_or_default()
    }

    pub fn pushed(&mut self, from: Address, peer: &Peer) {
        let most = self.pushes.entry(from).or_default();
        *most = (peer.pushes.1 + 1).max(*most);
    }
}
