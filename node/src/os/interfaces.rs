//! Which local addresses get UDP sockets.
//!
//! Specification: node behaviour, "binding". Addresses of virtual interfaces and of our own ports are left out, so that
//! the node never runs over itself.

use std::net::IpAddr;

use protocol::inet::{Prefix, Scope, scope};

use super::netlink::InterfaceAddress;

/// Interface names that start like this never carry the node's packets.
const NEVER: [&str; 4] = ["lo", "zt", "tun", "tap"];

/// At most this many addresses are bound.
pub const MAX_ADDRESSES: usize = 256;

/// An address to bind, with the interface that has it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Bindable {
    /// The address.
    pub ip: IpAddr,
    /// The interface to tie the socket to, by name and index (a new one of the old name is another one); `None` = any.
    pub interface: Option<(String, u32)>,
}

/// What the user and our own ports exclude.
#[derive(Clone, Debug, Default)]
pub struct Exclusions {
    /// Names of our own ports.
    pub ports: Vec<String>,
    /// Interface name prefixes from `interfacePrefixBlacklist`.
    pub interface_prefixes: Vec<String>,
    /// Blacklisted physical prefixes.
    pub prefixes: Vec<Prefix>,
}

/// Selects the addresses to bind, sorted, each once.
pub fn bindable(addresses: &[InterfaceAddress], exclusions: &Exclusions) -> Vec<Bindable> {
    let own = |ip| addresses.iter().any(|a| a.prefix.ip == ip && exclusions.ports.contains(&a.interface));
    let mut chosen: Vec<_> = addresses
        .iter()
        .filter(|a| a.up && !a.temporary && !a.tentative)
        .filter(|a| !NEVER.iter().any(|p| a.interface.starts_with(p)))
        .filter(|a| !exclusions.interface_prefixes.iter().any(|p| a.interface.starts_with(p.as_str())))
        .filter(|a| !exclusions.ports.contains(&a.interface) && !own(a.prefix.ip))
        .filter(|a| {
            matches!(
                scope(a.prefix.ip),
                Scope::Private | Scope::PseudoPrivate | Scope::Shared | Scope::Global
            )
        })
        .filter(|a| !exclusions.prefixes.iter().any(|p| p.contains(a.prefix.ip)))
        .map(|a| Bindable { ip: a.prefix.ip, interface: Some((a.interface.clone(), a.index)) })
        .collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen.truncate(MAX_ADDRESSES);
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(interface: &str, prefix: &str) -> InterfaceAddress {
        InterfaceAddress {
            interface: interface.into(),
            index: 1,
            prefix: prefix.parse().unwrap(),
            temporary: false,
            tentative: false,
            up: true,
        }
    }

    #[test]
    fn leaves_out_virtual_link_local_and_blacklisted() {
        let mut addresses = vec![
            address("lo", "127.0.0.1/8"),
            address("eth0", "192.168.1.10/24"),
            address("eth0", "fe80::1234/64"),
            address("eth0", "2a01:db8::10/64"),
            address("zt2lr3wbun", "10.0.0.1/16"),
            address("tun0", "10.8.0.2/24"),
            address("tap7", "10.9.0.2/24"),
            address("docker0", "172.17.0.1/16"),
            address("ppp0", "10.200.0.1/32"),
            address("wlan0", "169.254.3.4/16"),
            address("myport", "10.1.2.3/16"),
            address("eth1", "198.51.100.7/24"),
        ];
        addresses.push(InterfaceAddress { temporary: true, ..address("eth0", "2a01:db8::beef/64") });
        addresses.push(InterfaceAddress { tentative: true, ..address("eth0", "2a01:db8::dad/64") });
        addresses.push(InterfaceAddress { up: false, ..address("eth9", "192.0.2.1/24") });
        let exclusions = Exclusions {
            ports: vec!["myport".into()],
            interface_prefixes: vec!["docker".into()],
            prefixes: vec!["10.200.0.0/16".parse().unwrap()],
        };
        let chosen: Vec<_> = bindable(&addresses, &exclusions).iter().map(|b| b.ip.to_string()).collect();
        assert_eq!(chosen, ["192.168.1.10", "198.51.100.7", "2a01:db8::10"]);
    }
}
