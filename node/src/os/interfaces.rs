//! Which local addresses get UDP sockets.
//!
//! Specification: node behaviour, "binding". Addresses of virtual interfaces and of our own ports are left out, so that
//! the node never runs over itself.

use std::net::IpAddr;

use protocol::inet::{Prefix, Scope, scope};

use super::netlink::{InterfaceAddress, Surroundings};

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

/// What an interface is used for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InterfaceUse {
    /// Interface name.
    pub name: String,
    /// What the kernel calls its kind; empty for hardware.
    pub kind: String,
    /// Its addresses that are bound.
    pub bound: Vec<IpAddr>,
    /// Its addresses that are not, each with the reason.
    pub ignored: Vec<(IpAddr, String)>,
}

/// What to bind, and why the rest not.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// The addresses to bind, sorted, each once.
    pub bindable: Vec<Bindable>,
    /// Subnets on the links that carry the node's packets.
    pub on_link: Vec<Prefix>,
    /// All interfaces that have an address.
    pub interfaces: Vec<InterfaceUse>,
}

/// Kinds of links that stand for machines within this machine.
const INNER: [&str; 5] = ["veth", "netkit", "bridge", "dummy", "ifb"];
/// Kinds of links that run over other links. Layer-2 shares of a link (VLAN, bond, MACVLAN …) are not among them.
const TUNNELS: [&str; 21] = [
    "tun",
    "wireguard",
    "vxlan",
    "geneve",
    "gre",
    "gretap",
    "ip6gre",
    "ip6gretap",
    "erspan",
    "ip6erspan",
    "ipip",
    "ip6tnl",
    "sit",
    "vti",
    "vti6",
    "xfrm",
    "bareudp",
    "amt",
    "gtp",
    "batadv",
    "pfcp",
];

/// Chooses the addresses to bind.
///
/// Links of containers, bridges and tunnels are left out by their kind, unless they carry the default route: a container's own
/// uplink is a `veth`, that of a host of virtual machines a `bridge`. Where nothing else is left, the `veth` links are taken, or
/// else the bridges: a namespace without a default route has nothing better. Tunnels are never a last resort.
pub fn choose(found: &Surroundings, exclusions: &Exclusions) -> Choice {
    let addresses = &found.addresses;
    let own = |ip| addresses.iter().any(|a| a.prefix.ip == ip && exclusions.ports.contains(&a.interface));
    let reason = |a: &InterfaceAddress| -> Option<&'static str> {
        if a.interface == "lo" {
            return Some("the loopback interface");
        }
        if exclusions.ports.contains(&a.interface) || own(a.prefix.ip) {
            return Some("a port of this node");
        }
        if NEVER.iter().any(|p| a.interface.starts_with(p)) {
            return Some("a virtual interface by its name");
        }
        if exclusions.interface_prefixes.iter().any(|p| a.interface.starts_with(p.as_str())) {
            return Some("interfacePrefixBlacklist");
        }
        if exclusions.prefixes.iter().any(|p| p.contains(a.prefix.ip)) {
            return Some("blacklisted in physical");
        }
        if !a.up {
            return Some("the interface is down");
        }
        if a.temporary {
            return Some("a temporary address");
        }
        if a.tentative {
            return Some("not usable yet (duplicate address detection)");
        }
        match scope(a.prefix.ip) {
            Scope::Private | Scope::PseudoPrivate | Scope::Shared | Scope::Global => None,
            _ => Some("reaches no further than its link"),
        }
    };
    let virtual_kind = |a: &InterfaceAddress| {
        let kind = a.kind.as_str();
        (INNER.contains(&kind) || TUNNELS.contains(&kind)) && !found.uplinks.contains(&a.index)
    };
    let mut judged: Vec<(&InterfaceAddress, Option<String>)> =
        addresses.iter().map(|a| (a, reason(a).map(str::to_owned))).collect();
    let nothing_else = !judged.iter().any(|(a, reason)| reason.is_none() && !virtual_kind(a));
    let left = |kind: &str| judged.iter().any(|(a, reason)| reason.is_none() && a.kind == kind);
    let last_resort = ["veth", "netkit", "bridge"].into_iter().find(|kind| nothing_else && left(kind));
    for (a, reason) in &mut judged {
        if reason.is_none() && virtual_kind(a) && last_resort != Some(a.kind.as_str()) {
            *reason = Some(format!("a {} link that carries no default route", a.kind));
        }
    }

    let mut choice = Choice::default();
    for (a, reason) in judged {
        let known = choice.interfaces.iter().position(|i| i.name == a.interface);
        let at = known.unwrap_or_else(|| {
            let (name, kind) = (a.interface.clone(), a.kind.clone());
            choice.interfaces.push(InterfaceUse { name, kind, bound: Vec::new(), ignored: Vec::new() });
            choice.interfaces.len() - 1
        });
        match reason {
            Some(reason) => choice.interfaces[at].ignored.push((a.prefix.ip, reason)),
            None => {
                choice.interfaces[at].bound.push(a.prefix.ip);
                choice.on_link.push(a.prefix.network());
                let interface = Some((a.interface.clone(), a.index));
                choice.bindable.push(Bindable { ip: a.prefix.ip, interface });
            }
        }
    }
    choice.bindable.sort_unstable();
    choice.bindable.dedup();
    choice.bindable.truncate(MAX_ADDRESSES);
    choice.on_link.sort_unstable();
    choice.on_link.dedup();
    choice
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
            lesser: false,
            up: true,
            kind: String::new(),
        }
    }

    fn of_kind(kind: &str, interface: &str, index: u32, prefix: &str) -> InterfaceAddress {
        InterfaceAddress { kind: kind.into(), index, ..address(interface, prefix) }
    }

    fn chosen(addresses: Vec<InterfaceAddress>, uplinks: &[u32]) -> Vec<String> {
        let found = Surroundings { addresses, uplinks: uplinks.to_vec(), ..Surroundings::default() };
        let choice = choose(&found, &Exclusions::default());
        choice.bindable.iter().map(|b| b.ip.to_string()).collect()
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
        let found = Surroundings { addresses, ..Surroundings::default() };
        let choice = choose(&found, &exclusions);
        let chosen: Vec<_> = choice.bindable.iter().map(|b| b.ip.to_string()).collect();
        assert_eq!(chosen, ["192.168.1.10", "198.51.100.7", "2a01:db8::10"]);
        let docker = choice.interfaces.iter().find(|i| i.name == "docker0").unwrap();
        assert_eq!(docker.ignored[0].1, "interfacePrefixBlacklist");
        assert_eq!(choice.on_link.len(), 3);
    }

    #[test]
    fn a_host_of_containers_uses_its_hardware_alone() {
        let addresses = vec![
            of_kind("", "enp1s0", 2, "192.168.1.10/24"),
            of_kind("bridge", "docker0", 3, "172.17.0.1/16"),
            of_kind("veth", "cali1", 4, "10.244.0.1/32"),
            of_kind("bridge", "cni0", 5, "10.244.1.1/24"),
            of_kind("wireguard", "wg0", 6, "10.9.0.1/24"),
            of_kind("vxlan", "flannel.1", 7, "10.244.2.0/32"),
            of_kind("tun", "myvpn", 8, "10.8.0.2/24"),
            of_kind("dummy", "kube-ipvs0", 9, "10.96.0.1/32"),
            of_kind("vlan", "lan.7", 10, "192.168.7.10/24"),
            of_kind("bond", "uplink", 11, "192.168.8.10/24"),
        ];
        assert_eq!(chosen(addresses, &[2]), ["192.168.1.10", "192.168.7.10", "192.168.8.10"]);
    }

    #[test]
    fn a_container_uses_the_veth_it_has_and_a_hypervisor_its_bridge() {
        let container = vec![
            of_kind("veth", "eth0", 2, "172.17.0.2/16"),
            of_kind("veth", "eth1", 3, "10.1.0.2/16"),
            of_kind("bridge", "docker0", 4, "172.18.0.1/16"),
        ];
        assert_eq!(chosen(container.clone(), &[2]), ["172.17.0.2"]);
        assert_eq!(chosen(container, &[]), ["10.1.0.2", "172.17.0.2"], "without a default route");
        let hypervisor = vec![
            of_kind("bridge", "br0", 2, "192.168.1.10/24"),
            of_kind("bridge", "virbr0", 3, "192.168.122.1/24"),
        ];
        assert_eq!(chosen(hypervisor, &[2]), ["192.168.1.10"]);
        let tunnels = vec![of_kind("wireguard", "wg0", 2, "10.9.0.1/24")];
        assert_eq!(chosen(tunnels.clone(), &[]), [""; 0]);
        assert_eq!(chosen(tunnels, &[2]), ["10.9.0.1"], "all traffic goes that way anyhow");
    }
}
