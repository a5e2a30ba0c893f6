//! What runs on a host: a core of ours, or a double of zerotier-one.

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};

use node::core::Core;
use node::core::info::NetworkStatus;
use protocol::{Span, Time};

use super::faults::planet;
use super::{Double, World};

/// See the module. A core is used as if there were nothing else.
pub enum Program {
    Core(Box<Core>),
    Double(Box<Double>),
}

impl Program {
    /// The double, if this is one.
    pub fn double(&self) -> Option<&Double> {
        if let Self::Double(double) = self { Some(double) } else { None }
    }

    pub fn double_mut(&mut self) -> Option<&mut Double> {
        if let Self::Double(double) = self { Some(double) } else { None }
    }

    pub(super) fn next_deadline(&self) -> Time {
        match self {
            Self::Core(core) => core.next_deadline(),
            Self::Double(double) => double.next_deadline(),
        }
    }

    pub(super) fn tick(&mut self, now: Time) {
        match self {
            Self::Core(core) => core.tick(now),
            Self::Double(double) => double.tick(now),
        }
    }
}

impl Deref for Program {
    type Target = Core;

    fn deref(&self) -> &Core {
        match self {
            Self::Core(core) => core,
            Self::Double(_) => panic!("a double of another implementation has no core"),
        }
    }
}

impl DerefMut for Program {
    fn deref_mut(&mut self) -> &mut Core {
        match self {
            Self::Core(core) => core,
            Self::Double(_) => panic!("a double of another implementation has no core"),
        }
    }
}

impl World {
    /// A host with a double of zerotier-one.
    pub fn add_double(&mut self, nat: Option<usize>) -> usize {
        let host = self.add_host(nat);
        self.make_double(host);
        host
    }

    /// Puts a double of zerotier-one in the place of a host's core: it has the same identity.
    pub fn make_double(&mut self, host: usize) {
        let (identity, now, at) = (super::identity(host), self.time(host), self.hosts[host].inside);
        let double = Double::new(identity, planet(self.roots), host as u64, now, at);
        self.hosts[host].core = Program::Double(Box::new(double));
        self.settle(host);
    }

    /// The double on a host.
    pub fn double(&self, host: usize) -> &Double {
        self.hosts[host].core.double().expect("a double is on it")
    }

    /// Whether what a double sends to a peer directly gets there, if nothing is cut: its path may lead to where the peer was.
    pub fn leads_there(&self, host: usize, to: usize) -> bool {
        let Some(at) = self.double(host).path_to(self.time(host), self.address(to)) else { return false };
        let (own, there) = (&self.hosts[host], &self.hosts[to]);
        let private = |ip: IpAddr| matches!(ip, IpAddr::V4(v4) if v4.octets()[0] == 192);
        if private(at.ip()) {
            return own.nat == there.nat && at == there.inside;
        }
        let from = own.nat.map_or(Some(own.inside), |nat| self.nats[nat].known(own.inside, at));
        match (from, there.nat) {
            (None, _) => false,
            (Some(_), None) => at == there.inside,
            (Some(from), Some(nat)) => {
                let nat = &self.nats[nat];
                at.ip() == IpAddr::V4(nat.public) && nat.enter(from, at.port()) == Some(there.inside)
            }
        }
    }

    /// Carries out what a double wants. Whether it wanted anything.
    pub(super) fn settle_double(&mut self, host: usize) -> bool {
        let Some(double) = self.hosts[host].core.double_mut() else { return false };
        let (sent, received) = (std::mem::take(&mut double.sent), std::mem::take(&mut double.received));
        let member: Vec<_> = double.memberships().collect();
        let busy = !sent.is_empty();
        self.hosts[host].received.extend(received);
        self.hosts[host].status.extend(member.into_iter().map(|network| (network, NetworkStatus::Ok)));
        for datagram in sent {
            self.hosts[host].contacted.insert(datagram.to);
            self.transmit(host, (datagram.to, datagram.ttl.is_some(), 0), &datagram.data, false);
        }
        busy
    }

    /// Has a core closed its socket and open one where the host is now; a double finds out itself.
    pub(super) fn tell_address(&mut self, host: usize) {
        let now = self.time(host);
        let h = &mut self.hosts[host];
        match &mut h.core {
            Program::Core(core) => core.set_local_addresses(now, vec![(h.socket, h.inside)]),
            Program::Double(double) => double.set_interface(h.inside),
        }
        self.settle(host);
    }
}

/// For a core that is made anew.
impl From<Core> for Program {
    fn from(core: Core) -> Self {
        Self::Core(Box::new(core))
    }
}

/// When a host's program wants to run, by the world's clock.
pub(super) fn deadline(program: &Program, ahead: Span) -> Time {
    program.next_deadline() - ahead
}
