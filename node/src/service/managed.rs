//! Which addresses and routes of a network's configuration are put on its port.
//!
//! Specification: frames, "managed addresses, routes and DNS on the host"; local service, `networks.d/<id>.local.conf`.
//! Pure decisions; the daemon carries them out over netlink.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use protocol::inet::{Prefix, Scope, scope};
use protocol::netconf::NetworkConfig;

use crate::os::netlink::Route;

/// What the user lets a network do to this machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NetworkSettings {
    /// Managed addresses and routes at all.
    pub allow_managed: bool,
    /// When not empty: only inside one of these prefixes.
    pub managed_within: Vec<Prefix>,
    /// Addresses and routes in global address space.
    pub allow_global: bool,
    /// Default routes.
    pub allow_default: bool,
    /// DNS settings.
    pub allow_dns: bool,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        NetworkSettings {
            allow_managed: true,
            managed_within: Vec::new(),
            allow_global: false,
            allow_default: false,
            allow_dns: false,
        }
    }
}

impl NetworkSettings {
    /// Reads the file's text: lines `key=value`; unknown keys and entries that are no prefix are skipped.
    pub fn parse(text: &str) -> Self {
        let mut settings = NetworkSettings::default();
        for (key, value) in text.split(['\n', '\r']).filter_map(|line| line.split_once('=')) {
            let (key, value) = (key.trim(), value.trim());
            let yes = value.starts_with(['1', 't', 'T']);
            match key {
                "allowManaged" if value.len() <= 5 => settings.allow_managed = yes,
                "allowManaged" => {
                    settings.managed_within =
                        value.split(',').filter_map(|p| p.trim().parse().ok()).collect();
                    // A list of which nothing can be understood must not become "everything".
                    settings.allow_managed = !settings.managed_within.is_empty();
                }
                "allowGlobal" => settings.allow_global = yes,
                "allowDefault" => settings.allow_default = yes,
                "allowDNS" => settings.allow_dns = yes,
                _ => {}
            }
        }
        settings
    }

    /// The file's text.
    pub fn format(&self) -> String {
        let managed = if self.allow_managed && !self.managed_within.is_empty() {
            let list: Vec<_> = self.managed_within.iter().map(ToString::to_string).collect();
            list.join(",")
        } else {
            u8::from(self.allow_managed).to_string()
        };
        let [global, default, dns] = [self.allow_global, self.allow_default, self.allow_dns].map(u8::from);
        format!("allowManaged={managed}\nallowGlobal={global}\nallowDefault={default}\nallowDNS={dns}\n")
    }

    /// Whether a managed address or route target may be applied.
    pub fn allows(&self, target: Prefix) -> bool {
        if !self.allow_managed {
            return false;
        }
        let within = |w: &Prefix| w.contains(target.ip) && w.bits <= target.bits;
        if !self.managed_within.is_empty() && !self.managed_within.iter().any(within) {
            return false;
        }
        if target.is_default_route() {
            return self.allow_default;
        }
        match scope(target.ip) {
            Scope::None | Scope::Multicast | Scope::Loopback | Scope::LinkLocal => false,
            Scope::Global => self.allow_global,
            Scope::PseudoPrivate | Scope::Shared | Scope::Private => true,
        }
    }
}

/// A subnet that this machine reaches without us, and by which interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Connected {
    /// The subnet.
    pub subnet: Prefix,
    /// The interface's name.
    pub interface: String,
}

/// Something of a configuration that is not put on the port, because it would take a subnet of this machine away.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// The managed address, or the target of the managed route.
    pub target: Prefix,
    /// Whether it is an address.
    pub address: bool,
    /// Why, for people.
    pub reason: String,
}

/// What should be on a port.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    /// Managed addresses, in the configuration's order.
    pub addresses: Vec<Prefix>,
    /// Managed routes: on-link ones first.
    pub routes: Vec<Route>,
    /// What is left out to keep subnets of this machine reachable.
    pub refused: Vec<Refused>,
}

/// Decides what to put on a port.
///
/// `present` are the port's addresses now, those added by hand included. A default route through a gateway waits until the
/// node is `online`: before that it would cut off the roots.
///
/// Nothing that would draw traffic away from one of the `connected` subnets is taken: the longest prefix wins, so a route inside
/// such a subnet, or to the same one, would, and an address inside it hides the neighbour that has it. A wider route is
/// harmless: the subnet's own wins.
pub fn plan(
    settings: &NetworkSettings,
    config: &NetworkConfig,
    present: &[Prefix],
    connected: &[Connected],
    online: bool,
) -> Plan {
    let mut refused: Vec<Refused> = Vec::new();
    let shadowed = |target: Prefix| {
        let hit = |c: &&Connected| c.subnet.bits <= target.bits && c.subnet.contains(target.ip);
        connected.iter().filter(|c| c.subnet.bits > 0).find(hit)
    };
    let mut addresses: Vec<Prefix> = Vec::new();
    for address in &config.addresses {
        if !settings.allows(*address) || addresses.iter().any(|a| a.ip == address.ip) {
            continue;
        }
        let width = if address.ip.is_ipv4() { 32 } else { 128 };
        match shadowed(Prefix { ip: address.ip, bits: width }) {
            None => addresses.push(*address),
            Some(c) => refused.push(Refused {
                target: *address,
                address: true,
                reason: format!("it lies in {}, which {} is connected to", c.subnet, c.interface),
            }),
        }
    }
    let mut own: Vec<Prefix> = addresses.iter().chain(present).copied().collect();
    own.sort_unstable();
    own.dedup();

    let mut routes: Vec<Route> = Vec::new();
    let mut decided: Vec<Prefix> = Vec::new();
    for route in &config.routes {
        let target = route.target.network();
        let via = route.via.filter(|v| !v.is_unspecified());
        if !settings.allows(target)
            || via.is_some_and(|v| v.is_ipv4() != target.ip.is_ipv4() || own.iter().any(|a| a.ip == v))
            || (target.is_default_route() && via.is_some() && !online)
            || addresses.iter().any(|a| a.bits == target.bits && target.contains(a.ip))
            || decided.contains(&target)
        {
            continue;
        }
        if let Some(c) = shadowed(target) {
            decided.push(target);
            refused.push(Refused {
                target,
                address: false,
                reason: format!("it would shadow {}, which {} is connected to", c.subnet, c.interface),
            });
            continue;
        }
        let Some(source) = source_for(target, &own) else { continue };
        decided.push(target);
        for target in halves(target) {
            routes.push(Route { target, via, source: Some(source) });
        }
    }
    routes.sort_by_key(|r| r.via.is_some());
    Plan { addresses, routes, refused }
}

/// The own address of the target's family that shares the longest prefix with it; of equals the last.
fn source_for(target: Prefix, own: &[Prefix]) -> Option<IpAddr> {
    let usable = own.iter().filter(|a| a.ip.is_ipv4() == target.ip.is_ipv4());
    let usable = usable.filter(|a| scope(a.ip) != Scope::LinkLocal);
    usable.max_by_key(|a| common_bits(a.ip, target.ip)).map(|a| a.ip)
}

fn common_bits(a: IpAddr, b: IpAddr) -> u32 {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => 0,
    }
}

/// A default route becomes two routes of prefix length 1, so that it wins over the system's own without replacing it.
fn halves(target: Prefix) -> Vec<Prefix> {
    if !target.is_default_route() {
        return vec![target];
    }
    let high = match target.ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(128, 0, 0, 0)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x8000, 0, 0, 0, 0, 0, 0, 0)),
    };
    vec![Prefix { ip: target.ip, bits: 1 }, Prefix { ip: high, bits: 1 }]
}

/// Steps from what is there to what should be; to be done in the order of the fields.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Steps<T> {
    /// To be removed.
    pub remove: Vec<T>,
    /// To be added.
    pub add: Vec<T>,
}

/// `ours` is what we put there earlier, `present` what is there now (ours or not), `wanted` what should be. What is not
/// ours is left alone, unless it `clashes` with something wanted.
pub fn steps<T: Clone + PartialEq>(
    ours: &[T],
    present: &[T],
    wanted: &[T],
    clashes: impl Fn(&T, &T) -> bool,
) -> Steps<T> {
    let remove = present
        .iter()
        .filter(|p| !wanted.contains(p) && (ours.contains(p) || wanted.iter().any(|w| clashes(w, p))))
        .cloned()
        .collect();
    Steps { remove, add: wanted.iter().filter(|w| !present.contains(w)).cloned().collect() }
}

/// Whether two addresses are the same with different prefix lengths.
pub fn addresses_clash(a: &Prefix, b: &Prefix) -> bool {
    a.ip == b.ip && a.bits != b.bits
}

/// Whether two routes go to the same place by different ways.
pub fn routes_clash(a: &Route, b: &Route) -> bool {
    a.target == b.target && a != b
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::netconf::Route as ConfigRoute;
    use protocol::{Address, NetworkId};

    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn config(addresses: &[&str], routes: &[(&str, Option<&str>)]) -> NetworkConfig {
        let mut config = NetworkConfig::new(NetworkId(1), Address::from_u64(1), 0);
        config.addresses = addresses.iter().map(|a| prefix(a)).collect();
        config.routes = routes
            .iter()
            .map(|(target, via)| ConfigRoute {
                target: prefix(target),
                via: via.map(|v| v.parse().unwrap()),
                flags: 0,
                metric: 0,
            })
            .collect();
        config
    }

    fn shown(plan: &Plan) -> Vec<String> {
        let via = |r: &Route| r.via.map(|v| format!(" via {v}")).unwrap_or_default();
        plan.routes.iter().map(|r| format!("{}{}", r.target, via(r))).collect()
    }

    #[test]
    fn default_route_only_when_allowed_and_online() {
        let config =
            config(&["10.147.17.61/24"], &[("10.147.17.0/24", None), ("0.0.0.0/0", Some("10.147.17.1"))]);
        let mut settings = NetworkSettings::default();
        assert!(plan(&settings, &config, &[], &[], true).routes.is_empty());
        settings.allow_default = true;
        assert!(plan(&settings, &config, &[], &[], false).routes.is_empty());
        let plan = plan(&settings, &config, &[], &[], true);
        assert_eq!(shown(&plan), ["0.0.0.0/1 via 10.147.17.1", "128.0.0.0/1 via 10.147.17.1"]);
        assert!(plan.routes.iter().all(|r| r.source == Some("10.147.17.61".parse().unwrap())));
    }

    #[test]
    fn on_link_first_own_gateways_and_foreign_families_skipped() {
        let config = config(
            &["10.1.0.5/16", "fd00::5/64"],
            &[
                ("10.9.0.0/16", Some("10.1.0.1")),
                ("10.8.0.7/16", None),
                ("10.7.0.0/16", Some("10.1.0.5")),
                ("10.6.0.0/16", Some("fd00::1")),
                ("10.9.0.0/16", Some("10.1.0.2")),
                ("fd01::/48", Some("fd00::1")),
                ("8.8.8.0/24", None),
                ("169.254.0.0/16", None),
                ("10.1.0.0/16", None),
            ],
        );
        let plan = plan(&NetworkSettings::default(), &config, &[], &[], true);
        assert_eq!(shown(&plan), ["10.8.0.0/16", "10.9.0.0/16 via 10.1.0.1", "fd01::/48 via fd00::1"]);
    }

    #[test]
    fn a_route_without_an_address_of_its_family_waits_for_one() {
        let config = config(&[], &[("10.8.0.0/16", None)]);
        let settings = NetworkSettings::default();
        assert!(plan(&settings, &config, &[], &[], true).routes.is_empty());
        assert_eq!(shown(&plan(&settings, &config, &[prefix("10.8.1.1/32")], &[], true)), ["10.8.0.0/16"]);
    }

    #[test]
    fn connected_subnets_are_not_shadowed() {
        let connected = |list: &[(&str, &str)]| -> Vec<Connected> {
            list.iter().map(|(s, i)| Connected { subnet: prefix(s), interface: (*i).into() }).collect()
        };
        let config = config(
            &["10.1.0.5/16", "192.168.1.77/16", "10.50.0.9/24"],
            &[
                ("10.2.0.0/24", Some("10.1.0.1")),
                ("10.2.0.0/16", Some("10.1.0.1")),
                ("10.2.0.0/15", Some("10.1.0.1")),
                ("192.168.1.128/25", None),
                ("172.16.0.0/12", None),
            ],
        );
        let settings = NetworkSettings::default();
        let around =
            connected(&[("10.2.0.0/16", "eth0"), ("192.168.1.0/24", "eth1"), ("10.50.0.0/24", "docker0")]);
        let with = plan(&settings, &config, &[], &around, true);
        assert_eq!(with.addresses, [prefix("10.1.0.5/16")]);
        assert_eq!(shown(&with), ["172.16.0.0/12", "10.2.0.0/15 via 10.1.0.1"], "wider routes are harmless");
        let refused: Vec<_> = with.refused.iter().map(|r| (r.target.to_string(), r.address)).collect();
        let expected = [
            ("192.168.1.77/16", true),
            ("10.50.0.9/24", true),
            ("10.2.0.0/24", false),
            ("10.2.0.0/16", false),
            ("192.168.1.128/25", false),
        ];
        assert_eq!(refused, expected.map(|(target, address)| (target.to_owned(), address)));
        assert_eq!(with.refused[2].reason, "it would shadow 10.2.0.0/16, which eth0 is connected to");
        // When the subnet goes, they come.
        let without = plan(&settings, &config, &[], &[], true);
        assert!(without.refused.is_empty() && without.addresses.len() == 3);
    }

    #[test]
    fn what_is_allowed() {
        let settings = |text: &str| NetworkSettings::parse(text);
        let plain = settings("");
        assert!(plain.allows(prefix("10.0.0.1/8")) && plain.allows(prefix("fd00::1/88")));
        assert!(plain.allows(prefix("25.1.2.3/8")) && plain.allows(prefix("100.64.0.1/10")));
        for refused in
            ["127.0.0.1/8", "224.0.0.1/4", "169.254.1.1/16", "0.0.0.0/0", "::/0", "1.1.1.1/32", "fe80::1/64"]
        {
            assert!(!plain.allows(prefix(refused)), "{refused}");
        }
        assert!(settings("allowGlobal=1").allows(prefix("1.1.1.1/32")));
        assert!(settings("allowDefault=true").allows(prefix("::/0")));
        assert!(!settings("allowManaged=0\nallowGlobal=1").allows(prefix("10.0.0.1/8")));
        let listed = settings("allowManaged=10.0.0.0/8,fd00::/8");
        assert!(listed.allows(prefix("10.5.0.0/16")) && listed.allows(prefix("fd00::1/88")));
        assert!(!listed.allows(prefix("192.168.0.1/24")) && !listed.allows(prefix("10.0.0.0/7")));
        assert!(!settings("allowManaged=rubbish").allows(prefix("10.0.0.1/8")));
    }

    #[test]
    fn only_ours_is_removed_and_changed_gateways_are_replaced() {
        let [a, b, c] = ["10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24"].map(prefix);
        let b_wide = prefix("10.0.0.2/16");
        let steps_ = steps(&[a], &[a, b_wide, c], &[b], addresses_clash);
        assert_eq!(steps_, Steps { remove: vec![a, b_wide], add: vec![b] });
        let route = |via: &str| Route {
            target: prefix("10.9.0.0/16"),
            via: Some(via.parse().unwrap()),
            source: None,
        };
        let changed = steps(&[route("10.0.0.1")], &[route("10.0.0.1")], &[route("10.0.0.2")], routes_clash);
        assert_eq!(changed, Steps { remove: vec![route("10.0.0.1")], add: vec![route("10.0.0.2")] });
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".{0,300}") {
            let _ = NetworkSettings::parse(&text);
        }

        #[test]
        fn text_round_trips(managed: bool, global: bool, default: bool, dns: bool, list: bool) {
            let settings = NetworkSettings {
                allow_managed: managed,
                managed_within: if list && managed { vec![prefix("10.0.0.0/8"), prefix("fd00::/8")] } else { vec![] },
                allow_global: global,
                allow_default: default,
                allow_dns: dns,
            };
            prop_assert_eq!(NetworkSettings::parse(&settings.format()), settings);
        }
    }
}
