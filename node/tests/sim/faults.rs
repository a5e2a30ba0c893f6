//! What happens to hosts: they are elsewhere of a sudden, or sleep.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use node::core::path::SocketId;
use protocol::world::{Root, World as Planet, WorldKey, WorldKind};

use super::{PORT, World, identity};

/// The planet all nodes of a world live under: its first hosts, at fixed addresses.
pub(super) fn planet(roots: usize) -> Planet {
    let endpoint = |host: u8| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(100, 64, host, 1)), PORT);
    let root = |host: u8| Root {
        identity: identity(usize::from(host)).identity().clone(),
        endpoints: vec![endpoint(host)],
    };
    let key = WorldKey::from_secret([7; 64]);
    Planet::new_signed(WorldKind::Planet, 4711, 1, &key, (0..roots as u8).map(root).collect())
}

impl World {
    /// A host gets another address: its node closes its socket and opens one there. Behind a NAT it is another NAT's as well.
    pub fn change_address(&mut self, host: usize) {
        let h = &mut self.hosts[host];
        h.socket = SocketId(h.socket.0 + 1);
        let IpAddr::V4(ip) = h.inside.ip() else { return };
        let mut octets = ip.octets();
        // Of all hosts an emulated world has no two whose addresses differ by that only.
        let changes = usize::from(h.nat.is_none()) + 2;
        octets[changes] = octets[changes].wrapping_add(40);
        h.inside.set_ip(IpAddr::V4(octets.into()));
        if let Some(before) = h.nat {
            let kind = self.nats[before].kind();
            self.hosts[host].nat = Some(self.add_nat(kind));
        }
        self.tell_address(host);
    }

    /// A NAT router forgets what it knows about a host, and about all others behind it. Whether there is one.
    pub fn rebind(&mut self, host: usize) -> bool {
        let nat = self.hosts[host].nat;
        nat.into_iter().for_each(|nat| self.forget_mappings(nat));
        nat.is_some()
    }

    /// Wakes a host that was stopped: it remembers everything, and has heard nothing meanwhile.
    pub fn wake(&mut self, host: usize) {
        self.hosts[host].up = true;
        self.settle(host);
    }
}
