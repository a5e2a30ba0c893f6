//! Findings about single statements.

use std::net::Ipv6Addr;

use super::{Known, Report};
use crate::ethernet::{IPV4, IPV6};
use crate::language::{Place, Section};
use crate::rule::{Kind, Rule};

/// Protocols with ports: TCP, UDP, SCTP, UDP-Lite.
const WITH_PORTS: [u8; 4] = [6, 17, 132, 136];
const TCP_BITS: u64 = 0xfff;
/// Bits of `chr` that can be set at all.
const KNOWN_BITS: u64 = 0xf800_0000_0000_0fff;

/// A statement of a section.
struct Set<'p> {
    matches: &'p [Rule],
    places: &'p [Place],
    action: Option<&'p Rule>,
    action_place: Place,
}

impl Set<'_> {
    /// Whether all matches must hold.
    fn is_conjunction(&self) -> bool {
        self.matches.iter().all(|rule| !rule.or)
    }

    fn entries(&self) -> impl Iterator<Item = (&Rule, Place)> {
        self.matches.iter().zip(self.places.iter().copied())
    }
}

pub(super) fn check(section: &Section, known: &Known<'_>, report: &mut Report<'_>) {
    let mut start = 0;
    for (index, rule) in section.rules.iter().enumerate() {
        if !rule.kind.is_action() {
            continue;
        }
        let set = Set {
            matches: &section.rules[start..index],
            places: &section.words[start..index],
            action: Some(rule),
            action_place: section.words[index],
        };
        start = index + 1;
        target(&set, known, report);
        joints(&set, report);
        values(&set, report);
        ports(&set, report);
        contradiction(&set, report);
    }
}

fn target(set: &Set<'_>, known: &Known<'_>, report: &mut Report<'_>) {
    let (Some(members), Some(rule)) = (known.members, set.action) else { return };
    let (Kind::Tee(target) | Kind::Watch(target) | Kind::Redirect(target)) = rule.kind else { return };
    if members.contains(&target.address) {
        return;
    }
    let what = if matches!(rule.kind, Kind::Redirect(_)) { "frames redirected" } else { "copies sent" };
    report.add(
        set.action_place,
        "target-no-member",
        format!("{:010x} is no member of the network: {what} there are lost", target.address),
        "authorize that member, or correct the address",
    );
}

fn joints(set: &Set<'_>, report: &mut Report<'_>) {
    if let [first, ..] = set.matches
        && first.or
    {
        report.add(
            set.places[0],
            "or-first",
            "`or` before the first match makes it meaningless: there is nothing yet to be combined with, which counts as \
             true"
                .into(),
            "remove the `or`",
        );
    }
    for (index, pair) in set.matches.windows(2).enumerate() {
        let [a, b] = pair else { continue };
        if a.not && b.not && b.or && excludes(&a.kind, &b.kind) {
            report.add(
                set.places[index + 1],
                "always-true",
                "`not … or not …` with two different values holds for every frame".into(),
                "neither of both is `not … and not …`",
            );
        }
    }
}

/// Whether no frame can meet both.
fn excludes(a: &Kind, b: &Kind) -> bool {
    match (a, b) {
        (Kind::Ethertype(a), Kind::Ethertype(b)) => a != b,
        (Kind::IpProtocol(a), Kind::IpProtocol(b)) => a != b,
        (Kind::SourceAddress(a), Kind::SourceAddress(b)) | (Kind::DestAddress(a), Kind::DestAddress(b)) => {
            a != b
        }
        (Kind::MacSource(a), Kind::MacSource(b)) | (Kind::MacDest(a), Kind::MacDest(b)) => a != b,
        _ => false,
    }
}

fn values(set: &Set<'_>, report: &mut Report<'_>) {
    for (rule, place) in set.entries() {
        match &rule.kind {
            Kind::Ipv6Source(ip, bits) | Kind::Ipv6Dest(ip, bits) if has_host_bits(*ip, *bits) => {
                let network = Ipv6Addr::from_bits(ip.to_bits() & prefix_mask(*bits));
                report.add(
                    place,
                    "ipv6-host-bits",
                    format!("{ip}/{bits} matches no address: bits behind the prefix are set"),
                    format!("write {network}/{bits}, or {ip}/128 for the one address"),
                );
            }
            Kind::VlanId(1..) | Kind::VlanPcp(1..) | Kind::VlanDei(1..) => report.add(
                place,
                "vlan-never",
                "VLAN fields of frames always count as 0 here, so this never matches".into(),
                "tagged frames can be recognized by `ethertype 0x8100` only",
            ),
            Kind::Icmp { code: None, .. } if rule.not => report.add(
                place,
                "not-icmp",
                "`not` has no effect on `icmp TYPE -1`: this holds for just the ICMP messages of the type"
                    .into(),
                "decide about that type in a statement of its own before this one",
            ),
            Kind::Characteristics(mask) if mask & KNOWN_BITS == 0 => report.add(
                place,
                "chr-never",
                "none of these characteristics is ever set".into(),
                "bits 0 to 11 are TCP's, 59 to 63 are macauth, ipauth, broadcast, multicast and inbound",
            ),
            _ => {}
        }
    }
}

fn prefix_mask(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0)
}

/// Whether an IPv6 prefix has bits behind its length, so that it matches nothing.
pub(super) fn has_host_bits(ip: Ipv6Addr, bits: u8) -> bool {
    ip.to_bits() & !prefix_mask(bits) != 0
}

/// Ports without a protocol.
fn ports(set: &Set<'_>, report: &mut Report<'_>) {
    let has_protocol = set.matches.iter().any(|rule| match rule.kind {
        Kind::IpProtocol(_) => true,
        Kind::Characteristics(mask) => mask & TCP_BITS != 0,
        _ => false,
    });
    if has_protocol {
        return;
    }
    let accepts = set.action.is_some_and(|rule| rule.kind == Kind::Accept);
    for (rule, place) in set.entries() {
        if !matches!(rule.kind, Kind::SourcePort(..) | Kind::DestPort(..)) {
            continue;
        }
        if rule.not {
            report.add(
                place,
                "not-port",
                "a port with `not` and without a protocol also holds for IP packets that have no ports, such as ICMP"
                    .into(),
                "add `ipprotocol tcp` or `ipprotocol udp`",
            );
        } else if accepts && set.is_conjunction() {
            report.add(
                place,
                "port-any-protocol",
                "without a protocol this port is accepted for TCP, UDP, SCTP and UDP-Lite alike".into(),
                "add `ipprotocol tcp` or `ipprotocol udp` if one is meant",
            );
        }
    }
}

/// Matches of which no frame can meet all.
fn contradiction(set: &Set<'_>, report: &mut Report<'_>) {
    if !set.is_conjunction() {
        return;
    }
    let mut ethertypes: Option<Vec<u16>> = None;
    let mut protocols: Option<Vec<u8>> = None;
    for (rule, place) in set.entries() {
        // What is said about IP holds only for IP, with or without `not`.
        let wanted: &[u16] = match &rule.kind {
            Kind::Ethertype(value) if !rule.not => std::slice::from_ref(value),
            Kind::Ipv4Source(..) | Kind::Ipv4Dest(..) => &[IPV4],
            Kind::Ipv6Source(..) | Kind::Ipv6Dest(..) => &[IPV6],
            Kind::IpProtocol(_)
            | Kind::IpTos { .. }
            | Kind::Icmp { .. }
            | Kind::SourcePort(..)
            | Kind::DestPort(..) => &[IPV4, IPV6],
            _ => &[],
        };
        let needed: &[u8] = match &rule.kind {
            Kind::IpProtocol(value) if !rule.not => std::slice::from_ref(value),
            Kind::SourcePort(..) | Kind::DestPort(..) if !rule.not => &WITH_PORTS,
            Kind::Icmp { .. } => &[1, 58],
            Kind::Characteristics(mask) if !rule.not && *mask != 0 && mask & !TCP_BITS == 0 => &[6],
            _ => &[],
        };
        if !narrow(&mut ethertypes, wanted) || !narrow(&mut protocols, needed) {
            report.add(
                place,
                "never-matches",
                "no frame can meet this and the matches before it at the same time".into(),
                "matches without `or` must all hold; write `or` between alternatives",
            );
            return;
        }
    }
}

/// Keeps what is also wanted; false if nothing remains. An empty wish excludes nothing.
fn narrow<T: Copy + PartialEq>(left: &mut Option<Vec<T>>, wanted: &[T]) -> bool {
    if wanted.is_empty() {
        return true;
    }
    let remaining = match left.take() {
        None => wanted.to_vec(),
        Some(before) => before.into_iter().filter(|value| wanted.contains(value)).collect(),
    };
    let possible = !remaining.is_empty();
    *left = Some(remaining);
    possible
}
