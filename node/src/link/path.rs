//! Physical paths: a local socket and a remote endpoint, shared by all peers seen there.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

pub use crate::dataplane::datagrams::SocketId;
use protocol::{Span, Time};

use crate::ground::limits::{PATH_ALIVE, TRUST};
use crate::ground::work;

/// What identifies a path.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct PathKey {
    /// Our socket.
    pub socket: SocketId,
    /// Their endpoint.
    pub remote: SocketAddr,
}

impl PathKey {
    /// Comes before all others.
    pub(crate) const FIRST: Self =
        Self { socket: SocketId(0), remote: SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0) };
}

/// State of a path. There is one only after somebody answered a packet of ours from there, so nobody can make us keep one for an
/// address that is not his.
#[derive(Clone, Debug)]
pub struct Path {
    /// When something last arrived that cannot be a repetition.
    pub last_in: Time,
    /// When an answer last came from where it was asked, which shows that whoever is there wants what we send.
    pub proven_at: Time,
    /// When something was last sent.
    pub last_out: Option<Time>,
    /// When a packet of a common network last arrived.
    pub last_trusted: Option<Time>,
    /// Round-trip time by direct HELLO and OK, `None` until measured.
    pub latency: Option<Span>,
}

impl Path {
    /// A path that an answer has just come by.
    fn proven(now: Time) -> Self {
        Self { last_in: now, proven_at: now, last_out: None, last_trusted: None, latency: None }
    }

    /// Whether something arrived recently enough to believe in the path.
    pub fn is_alive(&self, now: Time) -> bool {
        now - self.last_in < PATH_ALIVE
    }

    /// Whether a member of a common network was heard here lately.
    pub fn is_trusted(&self, now: Time) -> bool {
        self.last_trusted.is_some_and(|at| now - at < TRUST)
    }

    /// Takes one round-trip sample into the moving value.
    pub fn sample_latency(&mut self, rtt: Span) {
        self.latency = Some(self.latency.map_or(rtt, |old| (old + rtt) / 2));
    }
}

/// All paths that a peer of ours uses or has just been heard on.
#[derive(Debug, Default)]
pub struct Paths {
    paths: BTreeMap<PathKey, Path>,
}

impl Paths {
    /// The path, if known.
    pub fn get(&self, key: &PathKey) -> Option<&Path> {
        work::step();
        self.paths.get(key)
    }

    /// The path, if known, to change.
    pub fn get_mut(&mut self, key: &PathKey) -> Option<&mut Path> {
        work::step();
        self.paths.get_mut(key)
    }

    /// An answer has just come by the path, which is known from now on.
    pub fn prove(&mut self, now: Time, key: PathKey) {
        work::step();
        let path = self.paths.entry(key).or_insert_with(|| Path::proven(now));
        (path.last_in, path.proven_at) = (now, now);
    }

    /// Notes that something was sent.
    pub fn sent(&mut self, key: &PathKey, now: Time) {
        work::step();
        if let Some(path) = self.paths.get_mut(key) {
            path.last_out = Some(now);
        }
    }

    /// Notes that something is sent, if the path is alive. Whether it is.
    #[inline]
    pub fn take_live(&mut self, key: &PathKey, now: Time) -> bool {
        work::step();
        let Some(path) = self.paths.get_mut(key).filter(|path| path.is_alive(now)) else { return false };
        path.last_out = Some(now);
        true
    }

    /// Whether an answer to a packet of ours ever came from this IP address (any port) on this socket and is still remembered.
    pub fn knows_ip(&self, socket: SocketId, ip: IpAddr) -> bool {
        let from = PathKey { socket, remote: SocketAddr::new(ip, 0) };
        let to = PathKey { socket, remote: SocketAddr::new(ip, u16::MAX) };
        self.paths.range(from..=to).next().is_some()
    }

    /// Whether anything arrived by a socket lately.
    pub fn hears(&self, socket: SocketId, now: Time) -> bool {
        let from = PathKey { socket, remote: SocketAddr::from(([0, 0, 0, 0], 0)) };
        self.paths
            .range(from..)
            .inspect(|_| work::step())
            .take_while(|(key, _)| key.socket == socket)
            .any(|(_, path)| path.is_alive(now))
    }

    /// Keeps the paths for which `wanted` holds and those that brought something in that time.
    pub fn retain(&mut self, now: Time, keep: Span, wanted: impl Fn(&PathKey) -> bool) {
        self.paths.retain(|key, path| {
            work::step();
            now - path.last_in < keep || wanted(key)
        });
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }
}
