//! How we look from outside: the addresses that peers report to see us under.
//!
//! Specification: VL1 behaviour, "self-awareness".

use std::collections::BTreeMap;
use std::net::SocketAddr;

use protocol::inet::Scope;
use protocol::{Address, scope};

use super::limits::{MAX_SURFACES, SURFACE_EXPIRY};
use super::path::{PathKey, SocketId};

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Reporter {
    peer: Address,
    socket: SocketId,
    endpoint: SocketAddr,
}

#[derive(Clone, Copy, Debug)]
struct Report {
    surface: SocketAddr,
    at: i64,
    trusted: bool,
}

/// What reporters said.
#[derive(Debug, Default)]
pub(super) struct Surfaces {
    reports: BTreeMap<Reporter, Report>,
}

impl Surfaces {
    /// Takes in that `peer`, heard directly on `via`, sees us as `surface`. Answers with the scope and family whose paths have
    /// to be probed again, when a trusted reporter saw our address change.
    pub(super) fn report(
        &mut self,
        now: i64,
        peer: Address,
        via: PathKey,
        surface: SocketAddr,
        trusted: bool,
    ) -> Option<(Scope, bool)> {
        let surface_scope = scope(surface.ip());
        if surface_scope != scope(via.remote.ip())
            || matches!(surface_scope, Scope::None | Scope::Loopback | Scope::Multicast)
        {
            return None;
        }
        let reporter = Reporter { peer, socket: via.socket, endpoint: via.remote };
        let report = Report { surface, at: now, trusted };
        let known = self.reports.get(&reporter).copied();
        let moved = trusted
            && known.is_some_and(|old| now - old.at < SURFACE_EXPIRY && old.surface.ip() != surface.ip());
        if moved {
            self.reports
                .retain(|r, old| scope(old.surface.ip()) != surface_scope || r.endpoint == via.remote);
        }
        if known.is_none() && self.reports.len() >= MAX_SURFACES {
            self.expire(now);
            if self.reports.len() >= MAX_SURFACES {
                return None;
            }
        }
        self.reports.insert(reporter, report);
        moved.then_some((surface_scope, surface.is_ipv4()))
    }

    /// Drops old reports.
    pub(super) fn expire(&mut self, now: i64) {
        self.reports.retain(|_, report| now - report.at < SURFACE_EXPIRY);
    }

    /// The addresses worth telling others: those an upstream reported, and those two reporters agree on, so that a single peer
    /// cannot make us advertise somebody else's address.
    pub(super) fn advertised(&self) -> Vec<SocketAddr> {
        let mut seen: BTreeMap<SocketAddr, (bool, Vec<Address>)> = BTreeMap::new();
        for (reporter, report) in &self.reports {
            let (trusted, peers) = seen.entry(report.surface).or_default();
            *trusted |= report.trusted;
            if !peers.contains(&reporter.peer) {
                peers.push(reporter.peer);
            }
        }
        seen.into_iter().filter(|(_, (trusted, peers))| *trusted || peers.len() > 1).map(|(a, _)| a).collect()
    }
}
