//! The configuration of one member: everything the network's record and the member's own say, with addresses
//! assigned and credentials signed.
//!
//! Specification: VL2 controller, building the configuration.

use std::net::IpAddr;

use flowrules::{Rule, rule::Kind};
use protocol::credential::{Capability, Com, Coo, Credential, HeldCapability, Signed, Tag};
use protocol::inet::Prefix;
use protocol::netconf::{self, NetworkConfig, Specialist, Sso};
use protocol::{Address, Identity, SecretIdentity, Time, derive};
use rand::Rng;
use serde_json::Value;

use crate::admission;
use crate::pool::Allocation;
use crate::state::{NetworkState, Wants};
use crate::time::Times;
use api::Member;
use api::lenient;
use api::{MTU_RANGE, Network};

/// The only certificate of ownership a member gets.
const COO_ID: u32 = 1;

/// What a member is given.
pub(crate) struct Grant {
    /// Its configuration.
    pub(crate) config: NetworkConfig,
    /// Its record, with the addresses and tags that it has by this: to be saved before anything is handed out.
    pub(crate) member: Member,
}

/// Builds the configuration of a member that is in.
pub(crate) fn build(
    times: Times,
    signer: &SecretIdentity,
    random: &mut dyn Rng,
    state: &NetworkState,
    member: &Member,
    identity: &Identity,
    wants: Wants,
) -> Grant {
    let mut granted = member.clone();
    let member = &mut granted;
    let network = &state.record;
    let (id, address) = (network.id, member.address);
    let now = times.issue;
    let mut config = NetworkConfig::new(id, address, now);
    config.credential_window = network.window();
    config.revision = network.revision;
    config.public = !network.private;
    config.name = cut(&network.name, netconf::MAX_NAME).to_owned();
    config.mtu = network.mtu.clamp(*MTU_RANGE.start(), *MTU_RANGE.end()) as u16;
    config.multicast_limit = u32::try_from(network.multicast_limit).unwrap_or(u32::MAX);
    if network.enable_broadcast {
        config.flags |= netconf::FLAG_BROADCAST;
    }
    (config.trace_target, config.trace_level) = trace(network, member);
    config.specialists = state
        .bridges()
        .iter()
        .take(netconf::MAX_SPECIALISTS)
        .map(|bridge| Specialist { address: *bridge, roles: netconf::ROLE_ACTIVE_BRIDGE })
        .collect();
    config.dns = dns(network);
    if admission::logs_in(network, member) {
        config.sso =
            sso(network, Some(member.authentication_expiry).filter(|at| *at != 0).map(Time::from_ms));
    }

    if wants.rules_engine == 0 {
        config.rules = vec![Rule::new(Kind::Accept)];
    } else {
        config.rules = network.rules.rules().iter().take(flowrules::MAX_RULES).cloned().collect();
        config.capabilities = capabilities(now, signer, network, member);
        config.tags = tags(now, signer, network, member);
        if wants.rule_lines {
            config.rule_lines = state.lines().clone();
        }
    }

    config.routes = network
        .routes
        .iter()
        .take(netconf::MAX_ROUTES)
        .map(|route| netconf::Route { target: route.target, via: route.via, flags: 0, metric: 0 })
        .collect();
    if addresses(times, &mut config, random, state, member) {
        config.flags |= netconf::FLAG_NDP_EMULATION;
    }
    if !config.addresses.is_empty() {
        let things = config.addresses.iter().map(|prefix| prefix.ip.into());
        config.coos.push(Coo::new(id, now, COO_ID, address, things).sign(signer));
    }
    config.com = Some(Com::new(now, network.window(), id, identity).sign(signer));
    Grant { config, member: granted }
}

/// What a member that must authenticate first is told, and what one that has done so is reminded of.
pub(crate) fn sso(network: &Network, expiry: Option<Time>) -> Sso {
    Sso {
        enabled: true,
        authentication_url: network.authorization_endpoint.clone(),
        authentication_expiry: expiry,
        ..Sso::default()
    }
}

fn trace(network: &Network, member: &Member) -> (Address, u32) {
    let (target, level) = match (&member.remote_trace_target, &network.remote_trace_target) {
        (Some(target), _) => (target, member.remote_trace_level),
        (None, Some(target)) => (target, network.remote_trace_level),
        (None, None) => return (Address::NULL, 0),
    };
    (target.parse().unwrap_or(Address::NULL), u32::try_from(level).unwrap_or(u32::MAX))
}

fn dns(network: &Network) -> netconf::Dns {
    let Some(dns) = &network.dns else { return netconf::Dns::default() };
    let servers = lenient::array(Some(&dns.servers)).unwrap_or_default();
    netconf::Dns {
        domain: cut(dns.domain.as_str().unwrap_or_default(), 127).to_owned(),
        servers: servers
            .iter()
            .filter_map(Value::as_str)
            .filter_map(lenient::ip)
            .take(netconf::MAX_DNS_SERVERS)
            .collect(),
    }
}

fn capabilities(
    now: Time,
    signer: &SecretIdentity,
    network: &Network,
    member: &Member,
) -> Vec<HeldCapability> {
    // Both sides ascend by ID.
    network
        .capabilities
        .iter()
        .filter(|defined| member.capabilities.contains(&defined.id))
        .take(netconf::MAX_CAPABILITIES)
        .map(|defined| {
            Capability::new(network.id, now, defined.id, 1, defined.rules.rules().to_vec())
                .hand_to(signer, member.address)
        })
        .collect()
}

fn tags(now: Time, signer: &SecretIdentity, network: &Network, member: &mut Member) -> Vec<Signed<Tag>> {
    for defined in &network.tags {
        if let Some(default) = defined.default {
            member.tags.entry(defined.id).or_insert(default);
        }
    }
    member
        .tags
        .iter()
        .take(netconf::MAX_TAGS)
        .map(|(id, value)| Tag::new(network.id, now, *id, *value, member.address).sign(signer))
        .collect()
}

/// Collects the managed addresses, taking new ones from the pools where the member lacks them. Returns whether one of
/// them is derived from the member's address (its neighbours then need no NDP).
fn addresses(
    times: Times,
    config: &mut NetworkConfig,
    random: &mut dyn Rng,
    state: &NetworkState,
    member: &mut Member,
) -> bool {
    let network = &state.record;
    let list = &mut config.addresses;
    let automatic = !member.no_auto_assign_ips;
    let mut derived = false;
    let switches = [
        (network.v6_assign_mode.rfc4193, derive::rfc4193(network.id, member.address), derive::RFC4193_BITS),
        (
            network.v6_assign_mode.six_plane,
            derive::six_plane(network.id, member.address),
            derive::SIX_PLANE_BITS,
        ),
    ];
    for (on, ip, bits) in switches {
        if automatic && on == Some(true) {
            list.push(Prefix { ip: IpAddr::V6(ip), bits });
            derived = true;
        }
    }

    let (mut has_v4, mut has_v6) = (false, false);
    for ip in &member.ip_assignments {
        let routes = network.routes.iter().filter(|route| route.target.contains(*ip));
        if let Some(bits) = routes.map(|route| route.target.bits).max() {
            if list.len() < netconf::MAX_ADDRESSES && !list.iter().any(|given| given.ip == *ip) {
                list.push(Prefix { ip: *ip, bits });
            }
            has_v4 |= ip.is_ipv4();
            has_v6 |= ip.is_ipv6();
        }
    }

    let room = list.len() < netconf::MAX_ADDRESSES;
    let lent = member.came_by_itself();
    let may = !lent || !member.automatic.is_empty() || state.has_auto_assign_room();
    if automatic && room && may && !network.pools.is_empty() {
        let mut found = Vec::new();
        let held = |ip: IpAddr| {
            state.holder(ip, member.address).is_some()
                || member.ip_assignments.contains(&ip)
                || list.iter().any(|given| given.ip == ip)
                || state.tokens().keeps(ip, times.wall).is_some()
                || derived_owner(network, ip).is_some_and(|owner| owner != member.address)
        };
        let routes = &network.routes[..network.routes.len().min(netconf::MAX_ROUTES)];
        let spoken_for = |ip: IpAddr| held(ip) || state.is_spoken_for(times.now, ip, member.address);
        let (mut wants_v4, mut wants_v6) =
            (network.v4_assign_mode.zt && !has_v4, network.v6_assign_mode.zt == Some(true) && !has_v6);
        // What is spoken for goes last.
        let rounds: [&dyn Fn(IpAddr) -> bool; 2] = [&spoken_for, &held];
        for taken in rounds.into_iter().skip(usize::from(!state.has_spoken_for())) {
            let allocation = Allocation { member: member.address, pools: &network.pools, routes, taken };
            if wants_v6 && let Some(prefix) = allocation.v6(random) {
                wants_v6 = false;
                found.push(prefix);
            }
            if wants_v4 && let Some(prefix) = allocation.v4() {
                wants_v4 = false;
                found.push(prefix);
            }
        }
        member.ip_assignments.extend(found.iter().map(|prefix| prefix.ip));
        if lent {
            member.automatic.extend(found.iter().map(|prefix| prefix.ip));
        }
        list.extend(found);
        list.truncate(netconf::MAX_ADDRESSES);
    }
    derived
}

/// Whether a member that should have an address from the pools has none.
pub(crate) fn lacks_address(network: &Network, member: &Member) -> bool {
    let lacks = |on: bool, v4: bool| {
        on && network.pools.iter().any(|pool| pool.start.is_ipv4() == v4)
            && !member.ip_assignments.iter().any(|ip| ip.is_ipv4() == v4)
    };
    !member.no_auto_assign_ips
        && (lacks(network.v4_assign_mode.zt, true) || lacks(network.v6_assign_mode.zt == Some(true), false))
}

/// The member an address belongs to by derivation, if the network derives addresses that way: a pool that overlaps
/// that space must not give it to another.
fn derived_owner(network: &Network, ip: IpAddr) -> Option<Address> {
    let IpAddr::V6(ip) = ip else { return None };
    let bits = ip.to_bits();
    if network.v6_assign_mode.rfc4193 == Some(true) {
        let owner = Address::from_u64(bits as u64);
        if derive::rfc4193(network.id, owner) == ip {
            return Some(owner);
        }
    }
    if network.v6_assign_mode.six_plane == Some(true) {
        // The whole /80 is the member's.
        let owner = Address::from_u64((bits >> 48) as u64);
        if derive::six_plane(network.id, owner).to_bits() >> 48 == bits >> 48 {
            return Some(owner);
        }
    }
    None
}

/// At most `max` bytes of a text, cut between characters.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
