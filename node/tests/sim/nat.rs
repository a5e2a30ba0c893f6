//! A NAT router: what it maps, and whom it lets in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// How a NAT maps and filters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Nat {
    /// One mapping for all destinations; lets anybody in.
    FullCone,
    /// One mapping; lets in addresses that were sent to.
    Restricted,
    /// One mapping; lets in endpoints that were sent to.
    PortRestricted,
    /// A mapping per destination; lets in endpoints that were sent to.
    Symmetric,
}

/// A router with a public address.
pub struct Router {
    kind: Nat,
    pub public: Ipv4Addr,
    next_port: u16,
    /// (inside endpoint, destination for symmetric NATs) → public port.
    out: BTreeMap<(SocketAddr, Option<SocketAddr>), u16>,
    /// Public port → inside endpoint.
    back: BTreeMap<u16, SocketAddr>,
    /// Endpoints each public port has sent to.
    sent: BTreeSet<(u16, SocketAddr)>,
}

impl Router {
    pub fn new(kind: Nat, public: Ipv4Addr) -> Self {
        let (out, back, sent) = Default::default();
        Router { kind, public, next_port: 20_000, out, back, sent }
    }

    /// A datagram leaves; returns where it comes from for those outside.
    pub fn leave(&mut self, inside: SocketAddr, to: SocketAddr) -> SocketAddr {
        let key = (inside, (self.kind == Nat::Symmetric).then_some(to));
        let port = *self.out.entry(key).or_insert_with(|| {
            self.next_port += 1;
            self.next_port
        });
        self.back.insert(port, inside);
        self.sent.insert((port, to));
        SocketAddr::new(IpAddr::V4(self.public), port)
    }

    /// Where a datagram for one of its ports goes inside, if it is let in.
    pub fn enter(&self, from: SocketAddr, port: u16) -> Option<SocketAddr> {
        let inside = *self.back.get(&port)?;
        let allowed = match self.kind {
            Nat::FullCone => true,
            Nat::Restricted => self.sent.iter().any(|(sender, to)| *sender == port && to.ip() == from.ip()),
            Nat::PortRestricted | Nat::Symmetric => self.sent.contains(&(port, from)),
        };
        allowed.then_some(inside)
    }

    /// Where a datagram would come from for those outside, if one has been sent there already.
    pub fn known(&self, inside: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
        let port = self.out.get(&(inside, (self.kind == Nat::Symmetric).then_some(to)))?;
        Some(SocketAddr::new(IpAddr::V4(self.public), *port))
    }

    /// Whether an inside endpoint is seen as this one from outside.
    pub fn is_seen_as(&self, inside: SocketAddr, outside: SocketAddr) -> bool {
        IpAddr::V4(self.public) == outside.ip() && self.back.get(&outside.port()) == Some(&inside)
    }

    pub fn kind(&self) -> Nat {
        self.kind
    }

    /// As after a restart, or a long silence.
    pub fn forget(&mut self) {
        self.out.clear();
        self.back.clear();
        self.sent.clear();
    }
}
