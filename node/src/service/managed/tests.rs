//! Plans, without a kernel.

use protocol::netconf::Route as ConfigRoute;
use protocol::{Address, NetworkId, Time};

use super::*;

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn config(addresses: &[&str], routes: &[(&str, Option<&str>)]) -> NetworkConfig {
    let mut config = NetworkConfig::new(NetworkId(1), Address::from_u64(1), Time::EPOCH);
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

fn held(subnet: &str, interface: &str) -> Held {
    let by = Holder::Interface(interface.into());
    Held { subnet: prefix(subnet), by, by_address: true, neighbours: true }
}

/// A plan for a port with these addresses, among those who hold something.
fn planned(settings: &NetworkSettings, config: &NetworkConfig, present: &[Prefix], held: &[Held]) -> Plan {
    let around = |target: Prefix| -> Vec<Held> {
        let mut all: Vec<Held> = held
            .iter()
            .filter(|h| h.subnet.bits <= target.bits && h.subnet.contains(target.ip))
            .cloned()
            .collect();
        all.sort_by_key(|h| std::cmp::Reverse(h.subnet.bits));
        all
    };
    plan(settings, config, &Place { present, holders: &around, online: true, no_ipv6: None, bridge: None })
}

#[test]
fn default_route_only_when_allowed_and_online() {
    let config =
        config(&["10.147.17.61/24"], &[("10.147.17.0/24", None), ("0.0.0.0/0", Some("10.147.17.1"))]);
    let mut settings = NetworkSettings::default();
    assert!(planned(&settings, &config, &[], &[]).routes.is_empty());
    settings.allow_default = true;
    let offline =
        Place { present: &[], holders: &|_| Vec::new(), online: false, no_ipv6: None, bridge: None };
    assert!(plan(&settings, &config, &offline).routes.is_empty());
    let plan = planned(&settings, &config, &[], &[]);
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
    let plan = planned(&NetworkSettings::default(), &config, &[], &[]);
    assert_eq!(shown(&plan), ["10.8.0.0/16", "10.9.0.0/16 via 10.1.0.1", "fd01::/48 via fd00::1"]);
}

#[test]
fn a_route_without_an_address_of_its_family_waits_for_one() {
    let config = config(&[], &[("10.8.0.0/16", None)]);
    let settings = NetworkSettings::default();
    assert!(planned(&settings, &config, &[], &[]).routes.is_empty());
    assert_eq!(shown(&planned(&settings, &config, &[prefix("10.8.1.1/32")], &[])), ["10.8.0.0/16"]);
}

#[test]
fn connected_subnets_are_not_shadowed() {
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
        [held("10.2.0.0/16", "eth0"), held("192.168.1.0/24", "eth1"), held("10.50.0.0/24", "docker0")];
    let with = planned(&settings, &config, &[], &around);
    assert_eq!(with.addresses, [prefix("10.1.0.5/16")]);
    assert_eq!(shown(&with), ["172.16.0.0/12", "10.2.0.0/15 via 10.1.0.1"], "wider routes are harmless");
    let refused: Vec<_> =
        with.refused.iter().map(|r| (r.target.to_string(), r.address, r.blocks())).collect();
    let expected = [
        ("192.168.1.77/16", true, true),
        ("10.50.0.9/24", true, true),
        ("10.2.0.0/24", false, false),
        ("10.2.0.0/16", false, false),
        ("192.168.1.128/25", false, false),
    ];
    assert_eq!(refused, expected.map(|(target, address, blocks)| (target.to_owned(), address, blocks)));
    assert_eq!(with.refused[2].reason, "it would shadow 10.2.0.0/16, which eth0 is connected to");
    assert!(with.overlapping.is_empty());
    // When the subnet goes, they come.
    let without = planned(&settings, &config, &[], &[]);
    assert!(without.refused.is_empty() && without.addresses.len() == 3);
}

#[test]
fn neighbours_are_where_somebody_can_be_asked_for() {
    for (subnet, asks, by_address, neighbours) in [
        ("192.168.1.0/24", true, true, true),
        ("10.0.0.0/8", true, true, true),
        ("10.60.0.0/16", true, false, true),
        ("0.0.0.0/1", true, false, false),
        ("64.0.0.0/2", true, false, false),
        ("2000::/3", true, false, false),
        ("fd00:1::/64", true, false, true),
        ("10.8.0.0/24", false, true, true),
        ("10.0.0.0/8", false, true, false),
        ("10.8.0.0/24", false, false, false),
        ("128.0.0.0/1", false, false, false),
        ("8000::/1", false, false, false),
        ("fd00::/8", false, true, false),
    ] {
        assert_eq!(Held::has_neighbours(prefix(subnet), asks, by_address), neighbours, "{subnet} {asks}");
    }
}

#[test]
fn wide_routes_of_others_take_nothing_away_and_are_told() {
    let config = config(
        &["10.50.0.1/16", "fd0e::1/64"],
        &[("10.50.0.0/16", None), ("10.60.0.0/16", Some("10.50.0.2")), ("fd0f::/48", Some("fd0e::2"))],
    );
    let halves = ["0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"].map(|subnet| Held {
        by_address: false,
        neighbours: false,
        ..held(subnet, "wgx")
    });
    let plan = planned(&NetworkSettings::default(), &config, &[], &halves);
    assert_eq!(plan.addresses.len(), 2);
    assert_eq!(shown(&plan), ["10.60.0.0/16 via 10.50.0.2", "fd0f::/48 via fd0e::2"]);
    assert!(plan.refused.is_empty());
    let told: Vec<String> = plan.overlapping.iter().map(|o| format!("{} {}", o.target, o.with)).collect();
    assert_eq!(
        told,
        ["10.50.0.0/16 0.0.0.0/1", "fd0e::/64 8000::/1", "10.60.0.0/16 0.0.0.0/1", "fd0f::/48 8000::/1"]
    );
    assert!(
        plan.overlapping[0].text().contains("10.50.0.0/16 lies in 0.0.0.0/1")
            && plan.overlapping[0].text().contains("wgx")
    );
}

#[test]
fn the_same_of_another_network_is_taken() {
    let other = || Holder::Network(NetworkId(7), "ztother".into());
    let config = config(
        &["10.1.0.5/16"],
        &[
            ("10.60.0.0/16", Some("10.1.0.1")),
            ("10.61.0.0/24", Some("10.1.0.1")),
            ("0.0.0.0/0", Some("10.1.0.1")),
        ],
    );
    let route =
        |subnet: &str| Held { subnet: prefix(subnet), by: other(), by_address: false, neighbours: false };
    let settings = NetworkSettings { allow_default: true, ..NetworkSettings::default() };
    let around = [route("10.60.0.0/16"), route("10.61.0.0/16"), route("128.0.0.0/1")];
    let plan = planned(&settings, &config, &[], &around);
    assert_eq!(shown(&plan), ["10.61.0.0/24 via 10.1.0.1"]);
    let refused: Vec<_> = plan.refused.iter().map(|r| (r.target.to_string(), r.cause, r.blocks())).collect();
    assert_eq!(
        refused,
        [("10.60.0.0/16".to_owned(), Cause::Taken, true), ("0.0.0.0/0".to_owned(), Cause::Taken, true)]
    );
    assert_eq!(
        plan.refused[0].reason,
        "this node's network 0000000000000007 (ztother) has a route to 10.60.0.0/16 already"
    );
    assert_eq!(plan.overlapping.len(), 1);
    // An administrator's, on a link where neighbours are asked for.
    let by_hand = Held { by_address: false, ..held("10.60.0.0/16", "eth0") };
    assert_eq!(
        planned(&settings, &config, &[], std::slice::from_ref(&by_hand)).refused[0].cause,
        Cause::Taken
    );
    let connected = planned(&settings, &config, &[], &[by_hand, held("10.60.0.0/16", "eth0")]);
    assert_eq!(connected.refused[0].cause, Cause::Shadows, "a LAN that the network leads to from elsewhere");
    // One subnet twice.
    let twice = Held { subnet: prefix("10.1.0.0/16"), by: other(), by_address: true, neighbours: true };
    let plan = planned(&settings, &config, &[], &[twice]);
    assert!(plan.addresses.is_empty() && plan.refused[0].blocks());
    assert!(
        plan.refused[0].reason.contains("which this node's network 0000000000000007 (ztother) has already")
    );
}

#[test]
fn what_the_machine_cannot_have_is_not_waited_for() {
    let config = config(&["10.1.0.5/16", "fd00::5/64"], &[("fd01::/48", Some("fd00::1"))]);
    let place = Place {
        present: &[],
        holders: &|_| Vec::new(),
        online: true,
        no_ipv6: Some("IPv6 is switched off"),
        bridge: None,
    };
    let plan = plan(&NetworkSettings::default(), &config, &place);
    assert_eq!(plan.addresses, [prefix("10.1.0.5/16")]);
    assert!(plan.routes.is_empty() && plan.refused.len() == 2);
    assert!(plan.refused.iter().all(|r| r.cause == Cause::Unavailable && !r.blocks()));
}

#[test]
fn a_bridge_that_is_in_the_network_has_what_the_port_would_get() {
    let config = config(&["10.1.0.5/16", "fd00::5/64"], &[("10.2.0.0/16", Some("10.1.0.1"))]);
    let with = |addresses: &[Prefix]| {
        let bridge = Some(("br0", addresses));
        let place = Place { present: &[], holders: &|_| Vec::new(), online: true, no_ipv6: None, bridge };
        plan(&NetworkSettings::default(), &config, &place)
    };
    let inside = with(&[prefix("fe80::1/64"), prefix("10.1.0.9/16")]);
    assert!(inside.addresses.is_empty() && inside.routes.is_empty() && inside.refused.len() == 3);
    assert!(inside.refused.iter().all(|r| r.cause == Cause::Bridged && !r.blocks()));
    assert!(inside.refused[0].reason.contains("br0") && inside.refused[0].reason.contains("10.1.0.9/16"));
    assert_eq!(with(&[prefix("192.168.1.1/24")]).addresses.len(), 2, "a bridge that is elsewhere");
}

#[test]
fn only_ours_is_removed_and_changed_gateways_are_replaced() {
    let [a, b, c] = ["10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24"].map(prefix);
    let b_wide = prefix("10.0.0.2/16");
    let steps_ = steps(&[a], &[a, b_wide, c], &[b], addresses_clash);
    assert_eq!(steps_, Steps { remove: vec![a, b_wide], add: vec![b] });
    let route =
        |via: &str| Route { target: prefix("10.9.0.0/16"), via: Some(via.parse().unwrap()), source: None };
    let changed = steps(&[route("10.0.0.1")], &[route("10.0.0.1")], &[route("10.0.0.2")], routes_clash);
    assert_eq!(changed, Steps { remove: vec![route("10.0.0.1")], add: vec![route("10.0.0.2")] });
}

#[test]
fn containers_in_the_machines_own_80_do_not_cost_it_its_address() {
    let settings = NetworkSettings::default();
    let address = format!("{}/40", six_plane(NetworkId(1), Address::from_u64(1)));
    let config = config(&[&address], &[]);
    let subnet = Prefix { bits: 80, ..prefix(&address) }.network().to_string();
    assert_eq!(planned(&settings, &config, &[], &[held(&subnet, "docker0")]).addresses, config.addresses);
    // A wider subnet holds other machines.
    let wider = Prefix { bits: 64, ..prefix(&address) }.network().to_string();
    let plan = planned(&settings, &config, &[], &[held(&wider, "eth0")]);
    assert!(plan.addresses.is_empty() && plan.refused[0].reason.contains("eth0"), "{plan:?}");
}
