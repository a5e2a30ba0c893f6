//! Who is who in a network, as far as the node here can tell.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::{JoinedNetwork, Member, Network, V6AssignMode};
use flowrules::cases::Vocabulary;
use flowrules::describe::Known;
use flowrules::explain::Party;
use protocol::{Address, Mac, NetworkId, derive};

use super::enforced::{Enforced, capabilities};
use super::test::member_mac;
use super::{Compiled, Session};
use crate::commands::controller::all_members;
use crate::failure::Failure;
use crate::validate::is_hex;

/// Addresses of nodes that are made up: no node has them, for they are reserved.
const MADE_UP: [u64; 2] = [0xff_0000_0001, 0xff_0000_0002];

/// A node.
#[derive(Clone, Debug, Default)]
pub(super) struct Person {
    pub(super) name: Option<String>,
    pub(super) party: Party,
    pub(super) ips: Vec<IpAddr>,
    pub(super) mac: [u8; 6],
    /// Whoever sends to it has seen no tags of it yet.
    pub(super) unmet: bool,
}

impl Person {
    /// What fills in the ends of packets.
    pub(super) fn known(&self) -> Known {
        let mut known = Known { mac: Some(self.mac), ..Known::default() };
        for ip in &self.ips {
            match ip {
                IpAddr::V4(ip) => known.ipv4 = known.ipv4.or(Some(*ip)),
                IpAddr::V6(ip) => known.ipv6 = known.ipv6.or(Some(*ip)),
            }
        }
        known
    }
}

/// Everybody that is known.
#[derive(Default)]
pub(super) struct People {
    pub(super) all: Vec<Person>,
    pub(super) network: Option<u64>,
    pub(super) vocabulary: Vocabulary,
    /// What is known of somebody nobody knows.
    pub(super) stranger: Party,
    /// What was assumed for want of knowledge.
    pub(super) notes: Vec<String>,
    /// From the kernel's table: who has which IPv4 address.
    pub(super) neighbours: Vec<(IpAddr, [u8; 6])>,
}

impl People {
    /// All members that the controller here has let in.
    pub(super) fn of_controller(session: &Session, record: &Network) -> Result<Self, Failure> {
        let network = record.id;
        let lists = capabilities(record);
        let defaults: BTreeMap<u32, u32> =
            record.tags.iter().filter_map(|tag| Some((tag.id, tag.default?))).collect();
        let mut people = Self {
            network: Some(network.0),
            vocabulary: Compiled::of_network(record).map(|one| one.vocabulary).unwrap_or_default(),
            stranger: Party { tags: defaults.clone(), ..Party::default() },
            ..Self::default()
        };
        let members: Vec<Member> = api::all(&all_members(session, &network.to_string())?);
        for member in members.into_iter().filter(|member| member.authorized) {
            let address = member.address.to_u64();
            let mut ips = member.ip_assignments;
            ips.extend(derived(network, address, record.v6_assign_mode));
            let mut party = Party { address, tags: defaults.clone(), owns: ips.clone(), ..Party::default() };
            party.tags.extend(member.tags);
            let held = member.capabilities.iter().filter_map(|id| Some((*id, lists.get(id)?.clone())));
            party.capabilities.extend(held);
            let name = member.name.filter(|name| !name.is_empty()).as_deref().map(crate::text::printable);
            let mac = member_mac(Some(network.0), address);
            people.all.push(Person { name, party, ips, mac, unmet: false });
        }
        Ok(people)
    }

    /// The node here, and the members it has heard of.
    pub(super) fn of_member(network: &JoinedNetwork, enforced: &Enforced) -> Self {
        let id = u64::from_str_radix(&network.id, 16).ok();
        let ips = network.assigned_addresses.iter();
        let ips: Vec<IpAddr> = ips.filter_map(|ip| ip.split('/').next()?.parse().ok()).collect();
        let own = Person {
            name: None,
            party: Party {
                address: enforced.address,
                tags: enforced.tags.clone(),
                capabilities: enforced.capabilities.clone(),
                owns: ips.clone(),
            },
            ips,
            mac: member_mac(id, enforced.address),
            unmet: false,
        };
        let others = enforced.members.iter().map(|member| Person {
            name: None,
            party: Party {
                address: member.address,
                tags: member.tags.clone(),
                capabilities: member.capabilities.clone(),
                owns: Vec::new(),
            },
            ips: id.map(|id| all_derived(NetworkId(id), member.address).to_vec()).unwrap_or_default(),
            mac: member_mac(id, member.address),
            unmet: false,
        });
        Self {
            all: std::iter::once(own).chain(others).collect(),
            network: id,
            notes: vec![
                "this node is only a member, so it knows other members' tags and capabilities only once they have \
                 presented them, and their IP addresses only if these are derived from their own"
                    .to_owned(),
            ],
            neighbours: std::fs::read_to_string("/proc/net/arp")
                .map(|table| arp(&table, &network.port_device_name))
                .unwrap_or_default(),
            ..Self::default()
        }
    }

    /// By name, or by address after an optional `@`. A well-formed address nobody has heard of is a member, too.
    pub(super) fn find(&self, typed: &str) -> Option<Person> {
        let digits = typed.strip_prefix('@').unwrap_or(typed);
        let address = is_hex(digits, 10).then(|| u64::from_str_radix(digits, 16).ok()).flatten();
        let found = self.all.iter().find(|one| match address {
            Some(address) => one.party.address == address,
            None => one.name.as_deref() == Some(typed),
        });
        found.cloned().or_else(|| address.map(|address| self.unheard_of(address)))
    }

    /// By an IP address: whoever has it, or whose own address it is made of, or whose MAC the kernel knows it by.
    pub(super) fn by_ip(&self, ip: IpAddr) -> Option<Person> {
        if let Some(found) = self.all.iter().find(|one| one.ips.contains(&ip)) {
            return Some(found.clone());
        }
        if let Some(address) = self.embedded(ip) {
            return Some(self.with_address(address, Some(ip)));
        }
        let (_, mac) = self.neighbours.iter().find(|(known, _)| *known == ip)?;
        let member = Mac(*mac).member(NetworkId(self.network?))?;
        Some(self.with_address(member.to_u64(), Some(ip)))
    }

    pub(super) fn by_mac(&self, mac: [u8; 6]) -> Option<Person> {
        if let Some(found) = self.all.iter().find(|one| one.mac == mac) {
            return Some(found.clone());
        }
        Some(self.with_address(Mac(mac).member(NetworkId(self.network?))?.to_u64(), None))
    }

    /// Somebody nobody knows.
    pub(super) fn a_stranger(&self, sends: bool) -> Person {
        let address = MADE_UP[usize::from(!sends)];
        let party = Party { address, ..self.stranger.clone() };
        Person { party, mac: member_mac(self.network, address), ..Person::default() }
    }

    fn with_address(&self, address: u64, ip: Option<IpAddr>) -> Person {
        let known = self.all.iter().find(|one| one.party.address == address).cloned();
        let mut one = known.unwrap_or_else(|| self.unheard_of(address));
        one.ips.splice(0..0, ip);
        one
    }

    fn unheard_of(&self, address: u64) -> Person {
        Person {
            party: Party { address, ..self.stranger.clone() },
            mac: member_mac(self.network, address),
            unmet: true,
            ..Person::default()
        }
    }

    /// The member whose address is part of an IPv6 address.
    fn embedded(&self, ip: IpAddr) -> Option<u64> {
        let (network, IpAddr::V6(ip)) = (NetworkId(self.network?), ip) else { return None };
        let o = ip.octets();
        let address = |at: usize| Address::from_bytes([o[at], o[at + 1], o[at + 2], o[at + 3], o[at + 4]]);
        let (unique, plane) = (address(11), address(5));
        if derive::rfc4193(network, unique) == ip {
            return Some(unique.to_u64());
        }
        let own = derive::six_plane(network, plane);
        (own.octets()[..10] == o[..10]).then(|| plane.to_u64())
    }

    /// What to do when a name is not known.
    pub(super) fn remedy(&self) -> String {
        let names: Vec<&str> = self.all.iter().filter_map(|one| one.name.as_deref()).take(20).collect();
        if names.is_empty() {
            return "Write the 10-digit address of the node, such as @62f865ae71.".to_owned();
        }
        format!("Known are: {}; the 10-digit address of a node works, too.", names.join(" "))
    }

    /// What a node is called.
    pub(super) fn name_of(&self, address: u64) -> String {
        let name = self.all.iter().find(|one| one.party.address == address).and_then(|one| one.name.as_ref());
        match name {
            Some(name) => format!("{name} ({address:010x})"),
            None if MADE_UP.contains(&address) => "an unknown node".to_owned(),
            None => format!("{address:010x}"),
        }
    }

    /// A node with its tags and capabilities.
    pub(super) fn line(&self, person: &Person) -> String {
        let list = |what: &str, items: Vec<String>| {
            if items.is_empty() { format!("no {what}") } else { format!("{what} {}", items.join(" ")) }
        };
        let party = &person.party;
        let tags = party.tags.iter().map(|(id, value)| self.vocabulary.tag_text(*id, *value)).collect();
        let held = party.capabilities.keys().map(|id| self.vocabulary.capability_text(*id)).collect();
        format!("{}, {}, {}", self.name_of(party.address), list("tags", tags), list("capabilities", held))
    }
}

fn all_derived(network: NetworkId, member: u64) -> [IpAddr; 2] {
    let member = Address::from_u64(member);
    [derive::rfc4193(network, member).into(), derive::six_plane(network, member).into()]
}

/// The derived addresses that a network's `v6AssignMode` gives a member.
fn derived(network: NetworkId, member: u64, modes: V6AssignMode) -> Vec<IpAddr> {
    let wanted = [modes.rfc4193, modes.six_plane].map(|on| on == Some(true));
    let both = all_derived(network, member).into_iter().zip(wanted);
    both.filter_map(|(ip, wanted)| wanted.then_some(ip)).collect()
}

/// The kernel's table of IPv4 neighbours: `IP type flags MAC mask device` under a heading (proc(5)).
fn arp(table: &str, device: &str) -> Vec<(IpAddr, [u8; 6])> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let ip = fields.next()?.parse().ok()?;
            let mac = fields.nth(2)?;
            let mut bytes = [0; 6];
            let mut pairs = mac.split(':');
            for byte in &mut bytes {
                *byte = u8::from_str_radix(pairs.next()?, 16).ok()?;
            }
            (fields.nth(1) == Some(device)).then_some((ip, bytes))
        })
        .filter(|(_, mac)| *mac != [0; 6])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_of_neighbours() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
                     10.0.3.1         0x1         0x2         02:36:18:72:00:72     *        zt0\n\
                     10.0.3.2         0x1         0x0         00:00:00:00:00:00     *        zt0\n\
                     10.0.3.3         0x1         0x2         02:36:18:72:00:73     *        eth0\n\
                     nonsense\n\n";
        assert_eq!(arp(table, "zt0"), [(IpAddr::from([10, 0, 3, 1]), [0x02, 0x36, 0x18, 0x72, 0x00, 0x72])]);
        assert!(arp("", "zt0").is_empty());
    }

    #[test]
    fn members_are_known_by_derived_addresses() {
        let network = 0x37f2_b7c9_4f00_0001;
        let people = People { network: Some(network), ..People::default() };
        for ip in all_derived(NetworkId(network), 0x5a_ca06_ff8e) {
            assert_eq!(people.by_ip(ip).unwrap().party.address, 0x5a_ca06_ff8e, "{ip}");
        }
        let mac = member_mac(Some(network), 0x5a_ca06_ff8e);
        assert_eq!(people.by_mac(mac).unwrap().party.address, 0x5a_ca06_ff8e);
        assert!(people.by_ip("fd00::1".parse().unwrap()).is_none());
        assert!(people.by_ip("10.0.0.1".parse().unwrap()).is_none());
        assert_eq!(people.find("@5aca06ff8e").unwrap().party.address, 0x5a_ca06_ff8e);
        assert!(people.find("aws").is_none());
    }
}
