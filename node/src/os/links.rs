//! What the links of this machine lead to: to other machines, to containers in here, or over other links.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::TryStreamExt;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkInfo};

use super::netlink::{Netlink, NetlinkError};

/// Kinds of links that stand for something within this machine.
const INNER: [&str; 3] = ["dummy", "ifb", "nlmon"];
/// Kinds of links that are one end of a cable whose other end is a link too, here or in another namespace.
const CABLES: [&str; 2] = ["veth", "netkit"];
/// Kinds of links that are a share of another link and lead where that one leads.
const SHARES: [&str; 6] = ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "macsec"];
/// Kinds of links that run over other links.
const TUNNELS: [&str; 22] = [
    "tun",
    "wireguard",
    "ovpn",
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
/// Names that container engines and hypervisors give the bridges that they make.
const ENGINES: [&str; 16] = [
    "docker",
    "podman",
    "cni",
    "cbr",
    "virbr",
    "lxcbr",
    "lxdbr",
    "incusbr",
    "kube-bridge",
    "nerdctl",
    "mpqemubr",
    "waydroid",
    "weave",
    "flannel",
    "cilium",
    "antrea",
];

/// A link of this network namespace.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Interface name.
    pub name: String,
    /// What the kernel calls its kind; empty for hardware.
    pub kind: String,
    /// Whether it is up.
    pub up: bool,
    /// Index of the bridge, bond or VRF that it is a part of.
    pub master: Option<u32>,
    /// Index of the link that this one is a share of, or of the other end of the cable, if that is in this namespace.
    pub other: Option<u32>,
}

/// The links of this network namespace.
#[derive(Clone, Debug, Default)]
pub struct Links {
    all: BTreeMap<u32, Link>,
    /// The parts of each bridge, bond or VRF.
    parts: BTreeMap<u32, Vec<u32>>,
}

/// Where a link leads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Leads {
    /// To other machines.
    Out,
    /// To another namespace: the host around this container, another network, or a container in this machine.
    Elsewhere,
    /// Nowhere but into this machine.
    Inside,
    /// Over other links.
    Tunnel,
}

impl Links {
    /// From a list.
    pub fn new(links: Vec<Link>) -> Self {
        let mut parts: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for link in &links {
            if let Some(master) = link.master {
                parts.entry(master).or_default().push(link.index);
            }
        }
        Links { all: links.into_iter().map(|link| (link.index, link)).collect(), parts }
    }

    /// The link of an index.
    pub fn get(&self, index: u32) -> Option<&Link> {
        self.all.get(&index)
    }

    /// Whether a link is a VRF or belongs to one, whose traffic only sockets get that are tied to it.
    pub fn in_vrf(&self, index: u32) -> bool {
        let link = self.get(index);
        let master = link.and_then(|link| link.master).and_then(|master| self.get(master));
        link.into_iter().chain(master).any(|link| link.kind == "vrf")
    }

    /// Where a link leads. Ports of bridges that are `own` lead nowhere: what runs over us is no way out.
    ///
    /// A bridge leads where the best of its ports leads; a share of a link where that link leads; a cable within this namespace
    /// where the bridge leads that its other end is plugged into.
    pub fn leads(&self, index: u32, own: &BTreeSet<u32>) -> Leads {
        self.follow(index, own, &mut BTreeSet::new())
    }

    fn follow(&self, index: u32, own: &BTreeSet<u32>, seen: &mut BTreeSet<u32>) -> Leads {
        let Some(link) = self.get(index) else { return Leads::Out };
        // Each link once, so that rings end, and what is asked does not grow beyond the number of links.
        if own.contains(&index) || !seen.insert(index) {
            return Leads::Inside;
        }
        match link.kind.as_str() {
            "bridge" => {
                let ports = self.parts.get(&index).map(Vec::as_slice).unwrap_or_default();
                let mut elsewhere = false;
                for port in ports {
                    match self.follow(*port, own, seen) {
                        Leads::Out => return Leads::Out,
                        Leads::Elsewhere => elsewhere = true,
                        Leads::Inside | Leads::Tunnel => {}
                    }
                }
                if elsewhere && !is_of_an_engine(&link.name) { Leads::Elsewhere } else { Leads::Inside }
            }
            kind if CABLES.contains(&kind) => match link.other.and_then(|other| self.get(other)) {
                // Its other end is in another namespace.
                None => Leads::Elsewhere,
                Some(other) => match other.master {
                    Some(master) => self.follow(master, own, seen),
                    None => Leads::Inside,
                },
            },
            kind if SHARES.contains(&kind) => match link.other {
                Some(other) => self.follow(other, own, seen),
                // A share of a link of the host around this container.
                None => Leads::Out,
            },
            kind if INNER.contains(&kind) || link.name == "lo" => Leads::Inside,
            kind if TUNNELS.contains(&kind) => Leads::Tunnel,
            _ => Leads::Out,
        }
    }
}

/// Whether a bridge is called as container engines and hypervisors call theirs.
fn is_of_an_engine(name: &str) -> bool {
    // Docker's further networks: `br-` and twelve hexadecimal digits.
    let docker = name
        .strip_prefix("br-")
        .is_some_and(|id| id.len() == 12 && id.bytes().all(|digit| digit.is_ascii_hexdigit()));
    docker || ENGINES.iter().any(|engine| name.starts_with(engine))
}

impl Netlink {
    /// All links of this network namespace.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub async fn links(&self) -> Result<Links, NetlinkError> {
        let mut links = Vec::new();
        let mut stream = std::pin::pin!(self.handle.link().get().execute());
        while let Some(message) =
            stream.try_next().await.map_err(|e| NetlinkError::new("list interfaces", &e))?
        {
            let mut link = Link {
                index: message.header.index,
                up: message.header.flags.contains(LinkFlags::Up),
                ..Link::default()
            };
            let mut elsewhere = false;
            for attribute in message.attributes {
                match attribute {
                    LinkAttribute::IfName(name) => link.name = name,
                    LinkAttribute::Controller(master) => link.master = Some(master).filter(|m| *m != 0),
                    LinkAttribute::Link(other) => link.other = Some(other).filter(|o| *o != 0),
                    LinkAttribute::LinkNetNsId(_) => elsewhere = true,
                    LinkAttribute::LinkInfo(infos) => {
                        let kind = infos.into_iter().find_map(|info| match info {
                            LinkInfo::Kind(kind) => Some(kind.to_string()),
                            _ => None,
                        });
                        link.kind = kind.unwrap_or_default();
                    }
                    _ => {}
                }
            }
            if elsewhere {
                link.other = None;
            }
            links.push(link);
        }
        Ok(Links::new(links))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, kind: &str) -> Link {
        Link { index, name: name.into(), kind: kind.into(), up: true, ..Link::default() }
    }

    fn part(master: u32, link: Link) -> Link {
        Link { master: Some(master), ..link }
    }

    fn over(other: u32, link: Link) -> Link {
        Link { other: Some(other), ..link }
    }

    fn leads(links: &Links, name: &str) -> Leads {
        let index = links.all.values().find(|link| link.name == name).unwrap().index;
        links.leads(index, &BTreeSet::new())
    }

    #[test]
    fn a_bridge_leads_where_its_ports_lead() {
        let links = Links::new(vec![
            link(1, "lo", ""),
            link(2, "wan", "dsa"),
            link(3, "br-lan", "bridge"),
            part(3, link(4, "lan1", "dsa")),
            part(3, link(5, "veth1", "veth")),
            link(6, "docker0", "bridge"),
            part(6, link(7, "veth2", "veth")),
            link(8, "br-0123456789ab", "bridge"),
            part(8, link(9, "veth3", "veth")),
            link(10, "virbr0", "bridge"),
            part(10, link(11, "vnet0", "tun")),
            link(12, "empty", "bridge"),
            over(3, link(13, "br-lan.7", "vlan")),
            over(6, link(14, "in-docker", "macvlan")),
            link(15, "of-the-host", "macvlan"),
            link(16, "mine", "bridge"),
            part(16, link(17, "veth4", "veth")),
        ]);
        for (name, expected) in [
            ("wan", Leads::Out),
            ("br-lan", Leads::Out),
            ("docker0", Leads::Inside),
            ("br-0123456789ab", Leads::Inside),
            ("virbr0", Leads::Inside),
            ("empty", Leads::Inside),
            ("br-lan.7", Leads::Out),
            ("in-docker", Leads::Inside),
            ("of-the-host", Leads::Out),
            ("veth4", Leads::Elsewhere),
            ("mine", Leads::Elsewhere),
            ("vnet0", Leads::Tunnel),
        ] {
            assert_eq!(leads(&links, name), expected, "{name}");
        }
    }

    #[test]
    fn a_cable_into_a_bridge_leads_where_the_bridge_leads_and_rings_end() {
        let mut all = vec![
            link(2, "br0", "bridge"),
            over(4, part(2, link(3, "a", "veth"))),
            over(3, link(4, "b", "veth")),
            over(6, link(5, "c", "veth")),
            over(5, link(6, "d", "veth")),
        ];
        let links = Links::new(all.clone());
        assert_eq!([leads(&links, "b"), leads(&links, "c")], [Leads::Inside; 2]);
        all.push(part(2, link(7, "eth0", "")));
        assert_eq!(leads(&Links::new(all.clone()), "b"), Leads::Out);
        // Two bridges plugged into each other.
        let ring = Links::new(vec![
            link(2, "x", "bridge"),
            link(3, "y", "bridge"),
            over(5, part(2, link(4, "xy", "veth"))),
            over(4, part(3, link(5, "yx", "veth"))),
        ]);
        assert_eq!([leads(&ring, "x"), leads(&ring, "y")], [Leads::Inside; 2]);
    }

    #[test]
    fn our_own_port_is_no_way_out() {
        let links =
            Links::new(vec![link(2, "br0", "bridge"), part(2, link(3, "myport", "")), link(4, "lo", "")]);
        assert_eq!(links.leads(2, &BTreeSet::from([3])), Leads::Inside);
        assert_eq!(leads(&links, "br0"), Leads::Out);
        assert_eq!(leads(&links, "lo"), Leads::Inside);
    }

    #[test]
    fn reads_the_links_of_a_namespace() {
        use crate::os::testing::{in_namespace, ip};
        in_namespace(|| {
            ip("link add br0 type bridge");
            ip("link add one type veth peer name two");
            ip("link set one master br0");
            ip("link add lan type veth peer name far netns 1");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let links = runtime.block_on(async { Netlink::connect().unwrap().links().await.unwrap() });
            let get = |name: &str| links.all.values().find(|link| link.name == name).unwrap();
            assert_eq!((get("br0").kind.as_str(), get("one").kind.as_str()), ("bridge", "veth"));
            assert_eq!(get("one").master, Some(get("br0").index));
            assert_eq!(get("two").other, Some(get("one").index));
            assert_eq!(get("lan").other, None);
            assert_eq!(leads(&links, "lan"), Leads::Elsewhere);
        });
    }
}
