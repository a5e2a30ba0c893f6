//! A peer: another node whose identity we hold, the key we share with it, and the paths to it.
//!
//! Specification: VL1 behaviour, "peers" and "path state and selection".

use std::net::SocketAddr;
use std::sync::Arc;

use protocol::packet::SessionKeys;
use protocol::packet::Suite;
use protocol::verbs::MoonEntry;
use protocol::{Identity, Span, Time, scope};

use crate::ground::event::Cipher;
use crate::ground::gate::{Allowance, Gate};
use crate::ground::info::{Latencies, PeerPackets};
use crate::ground::limits::{
    MAX_PATHS_PER_PEER, PATH_ALIVE, PATH_EXPIRY, PATH_SETTLED, PEER_TIMEOUT, PUSH_BURST, PUSH_GATE,
    PUSH_WINDOW, PUSHES_IN_A_ROW, TRUST,
};
use crate::ground::work;
use crate::link::extension::{Extensions, Known};
use crate::link::liveness::{Liveness, Pace, Standing};
use crate::link::path::{PathKey, Paths, SocketId};
use crate::link::replay::Replay;
use crate::link::replay::counter::Counter;
use crate::link::root_ways::RootWays;

/// What counts as the latency of a path on which none was measured.
pub(crate) const UNKNOWN_LATENCY: Span = Span::ms(65_535);
/// Silence counted against a path at most.
const MAX_SILENCE: Span = Span::secs(140);

/// Version a peer told us in HELLO or OK(HELLO); all zero until then.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RemoteVersion {
    /// Protocol version.
    pub protocol: u8,
    /// Software version, major.
    pub major: u8,
    /// Software version, minor.
    pub minor: u8,
    /// Software version, revision.
    pub revision: u16,
}

impl RemoteVersion {
    /// Whether the peer answers ECHO (older ones are probed with HELLO).
    pub fn answers_echo(self) -> bool {
        self.protocol >= 5 && (self.major, self.minor, self.revision) != (1, 1, 0)
    }
}

/// What a HELLO said of the worlds its sender has, kept until worlds may be sent to where it came from.
#[derive(Clone, Debug)]
pub struct OwedWorlds {
    /// Packet ID of the HELLO.
    pub hello: u64,
    /// Its timestamp.
    pub timestamp: u64,
    /// Its sender's protocol version.
    pub protocol: u8,
    /// ID and timestamp of its sender's planet.
    pub planet: Option<(u64, u64)>,
    /// Its sender's moons.
    pub moons: Vec<MoonEntry>,
}

/// One path of one peer.
#[derive(Debug)]
pub struct PeerPath {
    /// Which path.
    pub key: PathKey,
    /// When this peer's last direct authentic packet arrived on it; `None` while it has to prove itself anew.
    pub last_received: Option<Time>,
    /// When we probed it (ECHO or HELLO), if there has been no answer since.
    pub probed_at: Option<Time>,
    /// When it was learned.
    pub(crate) since: Time,
    /// Whether the peer hears us there.
    pub(crate) liveness: Liveness,
    /// Whether the clock looks at it when that is due.
    pub(crate) timed: bool,
}

impl PeerPath {
    /// A path on which the peer has just been heard.
    pub(crate) fn new(now: Time, key: PathKey) -> Self {
        let liveness = Liveness::new(now);
        Self { key, last_received: Some(now), probed_at: None, since: now, liveness, timed: false }
    }

    /// Whether this peer was heard on it in that time.
    #[inline]
    pub fn was_heard(&self, now: Time, within: Span) -> bool {
        self.last_received.is_some_and(|at| now - at < within)
    }

    /// A probe went out. It is the first without an answer that counts.
    pub(crate) fn probed(&mut self, now: Time) {
        self.probed_at.get_or_insert(now);
    }
}

/// The path that packets to a peer take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    pub(crate) key: PathKey,
    /// Until when nobody has to think about it again; `None`: at once.
    pub(crate) until: Option<Time>,
    /// Whether frames have taken it since it was last probed.
    pub(crate) used: bool,
}

/// Which way packets to a peer go.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// The path they take.
    pub(crate) choice: Option<Choice>,
    /// From where the peer said that it has moved: where it was is no place of it any more unless it answers there.
    pub(crate) moved_to: Option<PathKey>,
    /// What may be sent to it twice.
    pub(crate) copies: Allowance,
    /// What is relayed to it.
    pub(crate) roots: RootWays,
    /// Whether its record on disk lacks a path.
    pub(crate) unsaved: bool,
}

/// When we last said HELLO to a peer.
#[derive(Debug, Default)]
pub(crate) struct Greeted {
    /// On all its paths.
    pub(crate) everywhere: Option<Time>,
    /// Through a relay, or at one address.
    pub(crate) once: Option<Time>,
}

/// A path that may be taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Best {
    pub(crate) key: PathKey,
    pub(crate) standing: Standing,
    /// Whether it brought something lately.
    pub(crate) heard: bool,
    /// Whether it has not answered yet since another of the peer's paths came into doubt.
    pub(crate) questioned: bool,
}

impl Best {
    /// Whether it may be taken alone.
    pub(crate) fn is_sound(self) -> bool {
        self.heard && self.standing == Standing::Sound && !self.questioned
    }

    /// Whether what is sent there is likely to arrive.
    pub(crate) fn is_alive(self) -> bool {
        self.heard && self.standing <= Standing::Doubtful
    }
}

/// How often a peer may do what, and how often we do for it.
#[derive(Debug, Default)]
pub struct PeerGates {
    /// For WHOIS from it.
    pub whois: Gate,
    /// For ECHO from it.
    pub echo: Gate,
    /// For introducing it to others.
    pub introductions: Gate,
    /// For credentials from it that are not genuine or of no use.
    pub forgeries: Gate,
    /// For credentials from it that are known.
    pub repeats: Gate,
    /// For telling it our multicast groups again.
    pub announcements: Gate,
    /// For trying hints.
    pub hints: Gate,
    /// For addresses it pushes.
    pushes: Gate,
    /// Our addresses pushed to it: when last, and how many in a row.
    told: (Option<Time>, u32),
    /// Paths of it that were confirmed, and when.
    confirmations: Vec<(PathKey, Time)>,
}

impl PeerGates {
    /// Whether a received push of addresses may be acted upon.
    pub fn allow_push(&mut self, now: Time) -> bool {
        self.pushes.allow(now, PUSH_GATE, PUSH_BURST)
    }

    /// Whether our addresses may be pushed to it. The reference acts on eight pushes in a row, and is deaf from then on until none has
    /// come for half a minute: it gets seven at most, and the next when it hears again.
    pub(crate) fn allow_telling(&mut self, now: Time, is_ours: bool) -> bool {
        let (last, count) = &mut self.told;
        let in_a_row = last.is_some_and(|last| now - last <= PUSH_WINDOW);
        if !is_ours && in_a_row && *count >= PUSHES_IN_A_ROW {
            return false;
        }
        *count = if in_a_row { *count + 1 } else { 1 };
        *last = Some(now);
        true
    }

    /// Whether a path may be confirmed by HELLO now (once a second each).
    pub fn allow_confirmation(&mut self, now: Time, key: PathKey, interval: Span) -> bool {
        self.confirmations.retain(|(_, at)| now - *at < interval);
        if self.confirmations.len() >= MAX_PATHS_PER_PEER || self.confirmations.iter().any(|(k, _)| *k == key)
        {
            return false;
        }
        self.confirmations.push((key, now));
        true
    }
}

/// A known node.
#[derive(Debug)]
pub struct Peer {
    /// Who it is.
    pub identity: Identity,
    /// The key we share.
    pub keys: Arc<SessionKeys>,
    /// Numbers the packets to it.
    pub sent: Counter,
    /// What is remembered of its packets, so that none has its effect twice.
    pub replay: Replay,
    /// Whether it is a ztnode, and what it can do.
    pub extensions: Extensions,
    /// What it told about itself.
    pub version: RemoteVersion,
    /// Round-trip times to it.
    pub latencies: Latencies,
    /// How many packets came from it and went to it.
    pub packets: PeerPackets,
    /// Where it was reached.
    pub paths: Vec<PeerPath>,
    /// Which of these is taken.
    pub(crate) course: Course,
    /// Last credited packet, direct or relayed.
    pub last_received: Option<Time>,
    /// Last packet that makes it worth keeping in contact.
    pub last_active: Option<Time>,
    /// Last packet of a common network.
    pub last_trusted: Option<Time>,
    /// When we last said HELLO to it.
    pub(crate) greeted: Greeted,
    /// When our addresses were last pushed to it.
    pub last_push: Option<Time>,
    /// When the peer was made.
    pub since: Time,
    /// Whether it has ever answered something of ours: it is where it says, or behind a relay that reaches it.
    pub answered: bool,
    /// When credentials were last sent to it.
    pub credentials_sent: Option<Time>,
    /// How often it may do what, and how often we do for it.
    pub gates: PeerGates,
    /// Worlds that go to it as soon as it has a path, in a second answer to this HELLO.
    pub owed_worlds: Option<Box<OwedWorlds>>,
}

impl Peer {
    /// A peer just learned of.
    pub fn new(identity: Identity, keys: SessionKeys, now: Time, sent: Counter) -> Self {
        Self {
            identity,
            keys: Arc::new(keys),
            sent,
            replay: Replay::default(),
            latencies: Latencies::default(),
            packets: PeerPackets::default(),
            extensions: Extensions::default(),
            version: RemoteVersion::default(),
            paths: Vec::new(),
            course: Course::default(),
            last_received: None,
            last_active: None,
            last_trusted: None,
            greeted: Greeted::default(),
            last_push: None,
            since: now,
            answered: false,
            credentials_sent: None,
            owed_worlds: None,
            gates: PeerGates::default(),
        }
    }

    /// The suite for packets to it, by what we want and what it is known to understand.
    pub fn suite(&self, cipher: Cipher) -> Suite {
        cipher.suite(self.version.protocol)
    }

    /// Whether anything credited came from it in that time.
    pub fn was_heard(&self, now: Time, within: Span) -> bool {
        self.last_received.is_some_and(|at| now - at < within)
    }

    /// Since when it has been silent.
    pub(crate) fn silent_since(&self) -> Time {
        self.last_received.map_or(self.since, |at| at.max(self.since))
    }

    /// Whether anything credited came from it lately.
    pub fn is_alive(&self, now: Time) -> bool {
        self.was_heard(now, PEER_TIMEOUT)
    }

    /// Whether it is worth keeping in contact.
    pub fn is_active(&self, now: Time) -> bool {
        self.last_active.is_some_and(|at| now - at < PEER_TIMEOUT)
    }

    /// Whether packets of a common network came from it lately.
    pub fn is_trusted(&self, now: Time) -> bool {
        self.last_trusted.is_some_and(|at| now - at < TRUST)
    }

    /// The peer's entry for a path.
    pub fn path_mut(&mut self, key: &PathKey) -> Option<&mut PeerPath> {
        self.paths.iter_mut().inspect(|_| work::step()).find(|p| p.key == *key)
    }

    /// Whether the peer has an unexpired path to exactly this endpoint.
    pub fn has_path_to(&self, now: Time, remote: SocketAddr) -> bool {
        self.paths
            .iter()
            .inspect(|_| work::step())
            .any(|p| p.key.remote == remote && p.was_heard(now, PATH_EXPIRY))
    }

    /// A path by another port of the same address on the same socket that is in use and alive.
    pub(crate) fn live_sibling(&mut self, now: Time, paths: &Paths, key: &PathKey) -> Option<&mut PeerPath> {
        self.paths.iter_mut().inspect(|_| work::step()).find(|p| {
            p.key.socket == key.socket
                && p.key.remote.ip() == key.remote.ip()
                && p.key.remote.port() != key.remote.port()
                && p.liveness.standing() <= Standing::Doubtful
                && p.was_heard(now, PATH_ALIVE)
                && paths.get(&p.key).is_some_and(|path| path.is_alive(now))
        })
    }

    /// Takes a confirmed path in: in place of a dead one to the same address, else in a free place, else in place of the one
    /// silent for longest.
    pub fn learn(&mut self, now: Time, paths: &Paths, key: PathKey) {
        let entry = PeerPath::new(now, key);
        let same = |p: &PeerPath| {
            p.key.socket == key.socket
                && p.key.remote.ip() == key.remote.ip()
                && (p.liveness.standing() == Standing::Dead
                    || !paths.get(&p.key).is_some_and(|path| path.is_alive(now)))
        };
        self.reconsider();
        self.course.unsaved = true;
        if let Some(dead) = self.paths.iter_mut().inspect(|_| work::step()).find(|p| same(p)) {
            *dead = entry;
        } else if self.paths.len() < MAX_PATHS_PER_PEER {
            self.paths.push(entry);
        } else if let Some(oldest) = self.paths.iter_mut().min_by_key(|p| p.last_received) {
            *oldest = entry;
        }
    }

    /// The best path among those confirmed lately enough. One in use stays unless another is better by a quarter: two that are nearly
    /// the same must not take turns, which would reorder what goes by them. A new one has to hold for a while first.
    pub(crate) fn best_path(&self, now: Time, paths: &Paths) -> Option<Best> {
        self.best_of(now, paths, |path| path.was_heard(now, PATH_EXPIRY))
    }

    /// The best path there is, however long it has been silent.
    pub(crate) fn any_path(&self, now: Time, paths: &Paths) -> Option<Best> {
        self.best_of(now, paths, |_| true)
    }

    fn best_of(&self, now: Time, paths: &Paths, usable: impl Fn(&PeerPath) -> bool) -> Option<Best> {
        let in_use = self.course.choice.map(|choice| choice.key);
        self.paths
            .iter()
            .inspect(|_| work::step())
            .filter(|p| usable(p))
            .filter_map(|p| paths.get(&p.key).map(|path| (p, path)))
            .map(|(p, path)| {
                // Both the shared path and this peer on it must have been heard: one socket may carry several peers.
                let last = p.last_received.map(|at| at.min(path.last_in));
                let silence = last.map_or(MAX_SILENCE, |at| (now - at).min(MAX_SILENCE));
                let heard = silence < PATH_ALIVE;
                let latency = path.latency.unwrap_or(UNKNOWN_LATENCY);
                let cost = if heard { latency } else { latency + UNKNOWN_LATENCY + silence };
                let kept = in_use == Some(p.key) && now - p.since >= PATH_SETTLED;
                let weight = if kept { 3 } else { 4 } * (8 - scope(p.key.remote.ip()) as i64);
                let (standing, questioned) = (p.liveness.standing(), p.liveness.is_questioned());
                let best = Best { key: p.key, standing, heard, questioned };
                ((!heard, best.standing, cost * weight, p.since), best)
            })
            .min_by_key(|(quality, _)| *quality)
            .map(|(_, best)| best)
    }

    /// Something is different: which path is taken has to be thought about again.
    pub(crate) fn reconsider(&mut self) {
        if let Some(choice) = &mut self.course.choice {
            choice.until = None;
        }
    }

    /// How its paths are probed.
    pub(crate) fn pace(&self, is_root: bool) -> Pace {
        match self.extensions.known {
            _ if is_root => Pace::ROOTS,
            Known::Ztnode(_) => Pace::OURS,
            _ => Pace::OTHERS,
        }
    }

    /// The path in use, if nobody has to think about it, for something that is sent on it now.
    #[inline]
    pub(crate) fn take_chosen_path(&mut self, now: Time, paths: &mut Paths) -> Option<PathKey> {
        let Choice { key, until, used } = self.course.choice.as_mut()?;
        *used = true;
        (until.is_some_and(|until| now < until) && paths.take_live(key, now)).then_some(*key)
    }

    /// Round-trip time over the best path, if measured.
    pub fn latency(&self, now: Time, paths: &Paths) -> Option<Span> {
        paths.get(&self.best_path(now, paths)?.key)?.latency
    }

    /// Drops paths over a socket that no longer exists.
    pub fn forget_sockets(&mut self, exists: impl Fn(SocketId) -> bool) {
        self.paths.retain(|p| exists(p.key.socket));
        self.reconsider();
    }
}
