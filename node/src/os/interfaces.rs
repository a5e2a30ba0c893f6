//! Which local addresses get UDP sockets.
//!
//! Specification: node behaviour, "binding". Links that lead into this machine or over other links are left out, and so are our
//! own ports, so that the node never runs over itself.

use std::collections::BTreeSet;
use std::net::IpAddr;

use protocol::inet::{Prefix, Scope, scope};

use super::links::{Leads, Links};
use super::netlink::{InterfaceAddress, Surroundings};

/// At most this many addresses are bound.
pub const MAX_ADDRESSES: usize = 256;

/// An address to bind.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Bindable {
    /// The address.
    pub ip: IpAddr,
    /// Index of the interface that has it and by which is sent; `None` = any.
    pub interface: Option<u32>,
}

/// What the user and our own ports exclude, and what the user takes in.
#[derive(Clone, Debug, Default)]
pub struct Exclusions {
    /// Indices of our own ports.
    pub ports: BTreeSet<u32>,
    /// Interface name prefixes from `interfacePrefixBlacklist`.
    pub interface_prefixes: Vec<String>,
    /// Interface name prefixes from `interfacePrefixAllow`: used whatever they lead to, unless they are excluded.
    pub allowed_prefixes: Vec<String>,
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
    /// How many addresses were left out because there are more than [`MAX_ADDRESSES`].
    pub cut: usize,
}

/// Chooses the addresses to bind.
///
/// A link counts by what it leads to ([`Links::leads`]); what the user names, and what carries the default route, is used in any
/// case. Where no link leads out, those are taken that lead to another namespace: a container has nothing better, and cannot tell
/// its host's cable from those of containers inside of it; those have no subnet, but single addresses. As a last resort cables
/// and bridges that lead nowhere are taken. Tunnels never are.
pub fn choose(found: &Surroundings, links: &Links, exclusions: &Exclusions) -> Choice {
    let mut judged: Vec<(&InterfaceAddress, Option<String>)> =
        found.addresses.iter().map(|a| (a, unusable(a, &found.addresses, exclusions))).collect();
    let named = |a: &InterfaceAddress| {
        found.uplinks.contains(&a.index) || begins(&a.interface, &exclusions.allowed_prefixes)
    };
    let leads: Vec<Leads> = found.addresses.iter().map(|a| links.leads(a.index, &exclusions.ports)).collect();
    let usable = |judged: &[(_, Option<String>)], wanted: &dyn Fn(&InterfaceAddress, Leads) -> bool| {
        let mut all = judged.iter().zip(&leads);
        all.any(|((a, reason), leads): (&(&InterfaceAddress, _), _)| reason.is_none() && wanted(a, *leads))
    };
    let outside = usable(&judged, &|_, leads| leads == Leads::Out);
    let with_subnet: BTreeSet<u32> = found
        .addresses
        .iter()
        .filter(|a| a.prefix.bits < width(a.prefix.ip) && scope(a.prefix.ip) != Scope::LinkLocal)
        .map(|a| a.index)
        .collect();
    let has_neighbours = |a: &InterfaceAddress| with_subnet.contains(&a.index);
    let good = |a: &InterfaceAddress, leads: Leads| {
        named(a)
            || match leads {
                Leads::Out => true,
                Leads::Elsewhere => !outside && has_neighbours(a),
                Leads::Inside | Leads::Tunnel => false,
            }
    };
    let nothing = !usable(&judged, &good);
    let last_resort = ["veth", "netkit", "bridge"]
        .into_iter()
        .find(|kind| nothing && usable(&judged, &|a, _| a.kind == **kind));
    for ((a, reason), leads) in judged.iter_mut().zip(&leads) {
        if reason.is_none() && !good(a, *leads) && last_resort != Some(a.kind.as_str()) {
            *reason = Some(not_out(a, *leads));
        }
    }

    let mut kept: Vec<&InterfaceAddress> =
        judged.iter().filter(|(_, reason)| reason.is_none()).map(|(a, _)| *a).collect();
    kept.sort_by_key(|a| (rank(a, found), a.prefix.ip));
    kept.dedup_by_key(|a| a.prefix.ip);
    let cut = kept.len().saturating_sub(MAX_ADDRESSES);
    kept.truncate(MAX_ADDRESSES);
    let kept: BTreeSet<IpAddr> = kept.iter().map(|a| a.prefix.ip).collect();

    let mut choice = Choice { cut, ..Choice::default() };
    for (a, reason) in judged {
        let reason = reason.or_else(|| {
            (!kept.contains(&a.prefix.ip))
                .then(|| format!("more than {MAX_ADDRESSES} addresses; those of default routes come first"))
        });
        if reason.is_none() {
            choice.bindable.push(Bindable { ip: a.prefix.ip, interface: way_out(a) });
        }
        choice.judge(a, reason);
    }
    choice.bindable.sort_unstable();
    choice.bindable.dedup_by_key(|b| b.ip);
    choice.on_link.sort_unstable();
    choice.on_link.dedup();
    choice
}

/// What the user's list of addresses (`bind`) means: these, and no others. An address that no interface has is bound all the same
/// when the machine lets us; one of our own ports never is.
pub fn listed(found: &Surroundings, exclusions: &Exclusions, bind: &[IpAddr]) -> Choice {
    let mut choice = Choice::default();
    let is_own = |a: &InterfaceAddress| exclusions.ports.contains(&a.index);
    for ip in bind.iter().take(MAX_ADDRESSES) {
        let holder = found.addresses.iter().find(|a| a.prefix.ip == *ip);
        if holder.is_some_and(is_own) {
            continue;
        }
        choice.bindable.push(Bindable { ip: *ip, interface: holder.and_then(way_out) });
    }
    choice.cut = bind.len().saturating_sub(MAX_ADDRESSES);
    choice.bindable.sort_unstable();
    choice.bindable.dedup_by_key(|b| b.ip);
    for a in &found.addresses {
        let means = |b: &Bindable| {
            b.ip == a.prefix.ip || (b.ip.is_unspecified() && b.ip.is_ipv4() == a.prefix.ip.is_ipv4())
        };
        let reason = if is_own(a) {
            Some("a port of this node".to_owned())
        } else {
            (!choice.bindable.iter().any(means)).then(|| "not in settings.bind".to_owned())
        };
        choice.judge(a, reason);
    }
    choice.on_link.sort_unstable();
    choice.on_link.dedup();
    choice
}

impl Choice {
    /// Notes what becomes of an address.
    fn judge(&mut self, a: &InterfaceAddress, reason: Option<String>) {
        let known = self.interfaces.iter().position(|i| i.name == a.interface);
        let at = known.unwrap_or_else(|| {
            let (name, kind) = (a.interface.clone(), a.kind.clone());
            self.interfaces.push(InterfaceUse { name, kind, bound: Vec::new(), ignored: Vec::new() });
            self.interfaces.len() - 1
        });
        match reason {
            Some(reason) => self.interfaces[at].ignored.push((a.prefix.ip, reason)),
            None => {
                self.interfaces[at].bound.push(a.prefix.ip);
                self.on_link.push(a.prefix.network());
            }
        }
    }
}

/// The interface by which an address is sent from. What stands on `lo` belongs to the machine as a whole.
fn way_out(a: &InterfaceAddress) -> Option<u32> {
    (a.interface != "lo" && a.kind != "dummy").then_some(a.index)
}

/// Why an address is not bound, whatever its link leads to.
fn unusable(a: &InterfaceAddress, all: &[InterfaceAddress], exclusions: &Exclusions) -> Option<String> {
    let own = |ip| all.iter().any(|a| a.prefix.ip == ip && exclusions.ports.contains(&a.index));
    let reaches_others =
        matches!(scope(a.prefix.ip), Scope::Private | Scope::PseudoPrivate | Scope::Shared | Scope::Global);
    let reason = if exclusions.ports.contains(&a.index) || own(a.prefix.ip) {
        "a port of this node"
    } else if begins(&a.interface, &exclusions.interface_prefixes) {
        "interfacePrefixBlacklist"
    } else if a.interface == "lo" && !reaches_others {
        "the loopback interface"
    } else if a.interface == "lo" && !begins(&a.interface, &exclusions.allowed_prefixes) {
        "an address of the machine as a whole (interfacePrefixAllow: [\"lo\"] uses it)"
    } else if exclusions.prefixes.iter().any(|p| p.contains(a.prefix.ip)) {
        "blacklisted in physical"
    } else if !a.up {
        "the interface is down"
    } else if a.temporary {
        "a temporary address"
    } else if a.tentative {
        "not usable yet (duplicate address detection)"
    } else if reaches_others {
        return None;
    } else {
        "reaches no further than its link"
    };
    Some(reason.to_owned())
}

/// Why a link is not used, for people.
fn not_out(a: &InterfaceAddress, leads: Leads) -> String {
    let why = match leads {
        Leads::Tunnel => "runs over other links",
        Leads::Elsewhere => "leads to a container",
        Leads::Out | Leads::Inside => "does not lead out of this machine",
    };
    let kind = if a.kind.is_empty() { "virtual" } else { &a.kind };
    format!("a {kind} link that carries no default route and {why} (interfacePrefixAllow overrides this)")
}

/// Which addresses go first when there are too many: a good source before others, then what is used for a default route, then
/// what has neighbours.
fn rank(a: &InterfaceAddress, found: &Surroundings) -> [bool; 4] {
    let used = |ip: &IpAddr| a.prefix.ip == *ip || (a.prefix.bits > 0 && a.prefix.contains(*ip));
    [
        a.lesser,
        !found.uplinks.contains(&a.index),
        !found.default_ends.iter().any(used),
        a.prefix.bits == width(a.prefix.ip),
    ]
}

fn begins(name: &str, prefixes: &[String]) -> bool {
    prefixes.iter().any(|p| name.starts_with(p.as_str()))
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use super::super::links::Link;
    use super::*;

    /// An address of an interface whose index is made of its name.
    fn address(interface: &str, prefix: &str) -> InterfaceAddress {
        of_kind("", interface, prefix)
    }

    fn of_kind(kind: &str, interface: &str, prefix: &str) -> InterfaceAddress {
        InterfaceAddress {
            interface: interface.into(),
            index: index(interface),
            prefix: prefix.parse().unwrap(),
            temporary: false,
            tentative: false,
            lesser: false,
            up: true,
            kind: kind.into(),
        }
    }

    fn index(interface: &str) -> u32 {
        interface.bytes().fold(7, |sum, octet| sum * 31 % 1_000_003 + u32::from(octet))
    }

    /// The links of these addresses, and further ones.
    fn links(addresses: &[InterfaceAddress], more: Vec<Link>) -> Links {
        let with = addresses.iter().map(|a| Link {
            index: a.index,
            name: a.interface.clone(),
            kind: a.kind.clone(),
            up: a.up,
            ..Link::default()
        });
        Links::new(with.chain(more).collect())
    }

    fn port(master: &str, name: &str, kind: &str) -> Link {
        let (master, index) = (Some(index(master)), index(name));
        Link { index, name: name.into(), kind: kind.into(), up: true, master, other: None }
    }

    fn chosen_with(addresses: Vec<InterfaceAddress>, uplinks: &[&str], more: Vec<Link>) -> Vec<String> {
        let links = links(&addresses, more);
        let uplinks = uplinks.iter().map(|name| index(name)).collect();
        let found = Surroundings { addresses, uplinks, ..Surroundings::default() };
        let choice = choose(&found, &links, &Exclusions::default());
        choice.bindable.iter().map(|b| b.ip.to_string()).collect()
    }

    fn chosen(addresses: Vec<InterfaceAddress>, uplinks: &[&str]) -> Vec<String> {
        chosen_with(addresses, uplinks, Vec::new())
    }

    #[test]
    fn leaves_out_virtual_link_local_and_blacklisted() {
        let mut addresses = vec![
            address("lo", "127.0.0.1/8"),
            address("eth0", "192.168.1.10/24"),
            address("eth0", "fe80::1234/64"),
            address("eth0", "2a01:db8::10/64"),
            of_kind("tun", "zt2lr3wbun", "10.0.0.1/16"),
            of_kind("tun", "tun0", "10.8.0.2/24"),
            of_kind("tun", "tap7", "10.9.0.2/24"),
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
            ports: BTreeSet::from([index("myport")]),
            interface_prefixes: vec!["docker".into()],
            allowed_prefixes: Vec::new(),
            prefixes: vec!["10.200.0.0/16".parse().unwrap()],
        };
        let links = links(&addresses, Vec::new());
        let found = Surroundings { addresses, ..Surroundings::default() };
        let choice = choose(&found, &links, &exclusions);
        let chosen: Vec<_> = choice.bindable.iter().map(|b| b.ip.to_string()).collect();
        assert_eq!(chosen, ["192.168.1.10", "198.51.100.7", "2a01:db8::10"]);
        let docker = choice.interfaces.iter().find(|i| i.name == "docker0").unwrap();
        assert_eq!(docker.ignored[0].1, "interfacePrefixBlacklist");
        assert_eq!(choice.on_link.len(), 3);
    }

    #[test]
    fn a_host_of_containers_uses_its_hardware_alone() {
        let addresses = vec![
            address("enp1s0", "192.168.1.10/24"),
            of_kind("bridge", "docker0", "172.17.0.1/16"),
            of_kind("veth", "cali1", "10.244.0.1/32"),
            of_kind("bridge", "mycontainers", "10.244.1.1/24"),
            of_kind("wireguard", "wg0", "10.9.0.1/24"),
            of_kind("vxlan", "flannel.1", "10.244.2.0/32"),
            of_kind("tun", "myvpn", "10.8.0.2/24"),
            of_kind("dummy", "kube-ipvs0", "10.96.0.1/32"),
            of_kind("vlan", "lan.7", "192.168.7.10/24"),
            of_kind("bond", "uplink", "192.168.8.10/24"),
        ];
        let ports = vec![port("docker0", "veth1", "veth"), port("mycontainers", "veth2", "veth")];
        assert_eq!(
            chosen_with(addresses, &["enp1s0"], ports),
            ["192.168.1.10", "192.168.7.10", "192.168.8.10"]
        );
    }

    #[test]
    fn a_router_uses_the_bridge_of_its_lan() {
        let router = || {
            vec![
                address("wan", "203.0.113.7/24"),
                of_kind("bridge", "br-lan", "192.168.1.1/24"),
                of_kind("bridge", "docker0", "172.17.0.1/16"),
            ]
        };
        let ports = |kind| vec![port("br-lan", "lan1", kind), port("docker0", "veth1", "veth")];
        assert_eq!(chosen_with(router(), &["wan"], ports("dsa")), ["192.168.1.1", "203.0.113.7"]);
        assert_eq!(chosen_with(router(), &["wan"], ports("tun")), ["203.0.113.7"]);
        // A router in a container has nothing but cables.
        let mut virtual_router = router();
        virtual_router[0].kind = "veth".into();
        assert_eq!(chosen_with(virtual_router, &["wan"], ports("veth")), ["192.168.1.1", "203.0.113.7"]);
    }

    #[test]
    fn a_container_uses_the_cables_it_has_and_a_hypervisor_its_bridge() {
        let container = vec![
            of_kind("veth", "eth0", "172.17.0.2/16"),
            of_kind("veth", "eth1", "10.1.0.2/16"),
            of_kind("veth", "cali7", "10.244.0.1/32"),
            of_kind("bridge", "docker0", "172.18.0.1/16"),
        ];
        assert_eq!(chosen(container.clone(), &["eth0"]), ["10.1.0.2", "172.17.0.2"]);
        assert_eq!(chosen(container, &[]), ["10.1.0.2", "172.17.0.2"], "without a default route");
        let hypervisor = vec![
            of_kind("bridge", "br0", "192.168.1.10/24"),
            of_kind("bridge", "virbr0", "192.168.122.1/24"),
        ];
        assert_eq!(chosen(hypervisor.clone(), &["br0"]), ["192.168.1.10"]);
        let uplink = vec![port("br0", "enp1s0", ""), port("virbr0", "vnet0", "tun")];
        assert_eq!(chosen_with(hypervisor.clone(), &[], uplink), ["192.168.1.10"]);
        assert_eq!(chosen(hypervisor, &[]).len(), 2, "nothing else is left");
        let tunnels = vec![of_kind("wireguard", "wg0", "10.9.0.1/24")];
        assert_eq!(chosen(tunnels.clone(), &[]), [""; 0]);
        assert_eq!(chosen(tunnels, &["wg0"]), ["10.9.0.1"], "all traffic goes that way anyhow");
    }

    #[test]
    fn names_decide_nothing_but_what_the_user_says() {
        // Hardware that is called so; the only way out of a rootless container.
        assert_eq!(chosen(vec![address("tap0", "192.0.2.7/24")], &[]), ["192.0.2.7"]);
        assert_eq!(chosen(vec![of_kind("tun", "tap0", "10.0.2.100/24")], &["tap0"]), ["10.0.2.100"]);

        let addresses = vec![
            address("eth0", "192.0.2.7/24"),
            of_kind("wireguard", "wg0", "10.9.0.1/24"),
            of_kind("wireguard", "wg1", "10.9.1.1/24"),
            address("lo", "127.0.0.1/8"),
            address("lo", "198.51.100.1/32"),
        ];
        let links = links(&addresses, Vec::new());
        let found = Surroundings { addresses, ..Surroundings::default() };
        let exclusions = Exclusions {
            allowed_prefixes: vec!["wg".into(), "lo".into()],
            interface_prefixes: vec!["wg1".into()],
            ..Exclusions::default()
        };
        let choice = choose(&found, &links, &exclusions);
        let chosen: Vec<_> = choice.bindable.iter().map(|b| (b.ip.to_string(), b.interface)).collect();
        let expected = [
            ("10.9.0.1".to_owned(), Some(index("wg0"))),
            ("192.0.2.7".to_owned(), Some(index("eth0"))),
            ("198.51.100.1".to_owned(), None),
        ];
        assert_eq!(chosen, expected);
    }

    #[test]
    fn a_list_of_addresses_is_taken_as_it_is() {
        let addresses = vec![
            address("eth0", "192.0.2.7/24"),
            address("eth0", "2001:db8::7/64"),
            of_kind("tun", "tun0", "10.8.0.2/24"),
            address("lo", "198.51.100.1/32"),
            of_kind("tun", "myport", "10.1.2.3/16"),
        ];
        let found = Surroundings { addresses, ..Surroundings::default() };
        let exclusions = Exclusions { ports: BTreeSet::from([index("myport")]), ..Exclusions::default() };
        let list = |bind: &[&str]| {
            let bind: Vec<IpAddr> = bind.iter().map(|ip| ip.parse().unwrap()).collect();
            listed(&found, &exclusions, &bind)
        };
        let choice = list(&["10.8.0.2", "198.51.100.1", "10.1.2.3", "192.0.2.77"]);
        let chosen: Vec<_> = choice.bindable.iter().map(|b| (b.ip.to_string(), b.interface)).collect();
        let expected = [("10.8.0.2", Some(index("tun0"))), ("192.0.2.77", None), ("198.51.100.1", None)];
        assert_eq!(chosen, expected.map(|(ip, interface)| (ip.to_owned(), interface)));
        let eth0 = choice.interfaces.iter().find(|i| i.name == "eth0").unwrap();
        assert_eq!((eth0.bound.len(), eth0.ignored[0].1.as_str()), (0, "not in settings.bind"));
        let wild = list(&["0.0.0.0"]);
        let bound: Vec<_> = wild.interfaces.iter().filter(|i| !i.bound.is_empty()).map(|i| &i.name).collect();
        assert_eq!(bound, ["eth0", "tun0", "lo"]);
        assert_eq!(wild.bindable[0].interface, None);
    }

    #[test]
    fn of_too_many_addresses_the_useful_ones_are_bound() {
        let mut addresses: Vec<_> =
            (0..300u32).map(|n| address("eth1", &format!("10.1.{}.{}/16", n / 250, n % 250 + 1))).collect();
        for a in &mut addresses[1..] {
            a.lesser = true;
        }
        addresses.extend((1..=99u32).map(|n| address("eth0", &format!("192.0.2.{n}/32"))));
        addresses.push(address("eth0", "203.0.113.200/24"));
        let links = links(&addresses, Vec::new());
        let found = Surroundings {
            addresses,
            uplinks: vec![index("eth0")],
            default_ends: vec!["203.0.113.1".parse().unwrap()],
        };
        let choice = choose(&found, &links, &Exclusions::default());
        assert_eq!((choice.bindable.len(), choice.cut), (MAX_ADDRESSES, 400 - MAX_ADDRESSES));
        let is_bound = |ip: &str| choice.bindable.iter().any(|b| b.ip.to_string() == ip);
        assert!(is_bound("203.0.113.200") && is_bound("10.1.0.1") && is_bound("192.0.2.99"));
        let uplink = choice.interfaces.iter().find(|i| i.name == "eth0").unwrap();
        assert_eq!((uplink.bound.len(), uplink.ignored.len()), (100, 0));
        let other = choice.interfaces.iter().find(|i| i.name == "eth1").unwrap();
        assert_eq!((other.bound.len(), other.ignored.len()), (156, 144));
        assert!(other.ignored[0].1.starts_with("more than 256 addresses"), "{}", other.ignored[0].1);
    }
}
