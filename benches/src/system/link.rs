//! The cable: two namespaces joined by a veth pair.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use lab::{Access, Family, Host, Lab, Namespace};

use super::Side;
use crate::arguments::Underlay;

/// The ends of the cable: addresses that nodes take for global ones, in the namespaces only.
pub(super) fn end(side: usize) -> Ipv4Addr {
    Ipv4Addr::new(80, 0, 1, 1 + side as u8)
}

/// The addresses on top of it.
pub(super) fn overlay(side: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 1 + side as u8)
}

/// What lies between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cable {
    /// A veth pair with this MTU.
    Direct(u32),
    /// Two routers with a cable of this MTU between them, which neither end can see.
    Clamped(u32),
}

/// The usual MTU.
pub(crate) const ETHERNET: u32 = 1500;

/// Two hosts with a cable between them, in a lab of their own.
pub(crate) struct Link {
    /// The hosts `a` and `b`.
    pub(crate) hosts: [Arc<Host>; 2],
    /// The lab they belong to. It goes with this value.
    pub(crate) lab: Lab,
    routers: Vec<Namespace>,
}

impl Link {
    /// Makes both namespaces and a cable of the usual kind.
    pub(crate) fn new() -> Result<Self> {
        Self::over(Cable::Direct(ETHERNET))
    }

    /// Makes both namespaces and plugs them together.
    pub(crate) fn over(cable: Cable) -> Result<Self> {
        let lab = Lab::new()?;
        let host = |name: &str, side: usize| -> Result<Arc<Host>> {
            let namespace = Namespace::create(lab.name(), name)?;
            Ok(Arc::new(Host {
                name: name.to_owned(),
                border: namespace.clone(),
                namespace,
                access: Access::Public,
                public: end(side),
                family: Family::V4,
            }))
        };
        let hosts = [host("a", 0)?, host("b", 1)?];
        let ends = [0, 1].map(|side| &hosts[side].namespace);
        let routers = match cable {
            Cable::Direct(mtu) => {
                plug(ends[0], "eth0", ends[1], "eth0", mtu)?;
                for host in &hosts {
                    host.namespace.ip(&format!("addr add {}/24 dev eth0\n", host.public))?;
                }
                Vec::new()
            }
            Cable::Clamped(mtu) => route(&lab, ends, mtu)?,
        };
        Ok(Self { hosts, lab, routers })
    }

    /// Loses so many percent of all UDP packets that arrive at either end. What the cable carries as one packet is lost
    /// as one: without offloads ([`Underlay::Plain`]) a datagram, with them a burst.
    pub(crate) fn lose(&self, percent: u8) -> Result<()> {
        for host in &self.hosts {
            host.namespace.nft(&format!(
                "table ip loss\ndelete table ip loss\ntable ip loss {{\n  chain input {{\n    \
                 type filter hook input priority -190; policy accept;\n    \
                 meta l4proto udp numgen random mod 100 < {percent} drop\n  }}\n}}\n"
            ))?;
        }
        Ok(())
    }

    /// Both ends, by what `of` says of each: address and process.
    pub(super) fn sides(&self, of: impl Fn(usize) -> (Ipv4Addr, Option<u32>)) -> [Side; 2] {
        [0, 1].map(|index| {
            let (address, pid) = of(index);
            Side { namespace: self.hosts[index].namespace.clone(), address, pid }
        })
    }

    /// Switches segmentation of UDP in the veth and GRO on or off, and looks whether it did so.
    ///
    /// # Errors
    /// When the kernel keeps one as it is: then a figure would be called by a wrong name.
    pub(crate) fn set_underlay(&self, underlay: Underlay) -> Result<()> {
        let wanted = match underlay {
            // GRO does nothing on a veth that is handed whole super-packets; off is its default there.
            Underlay::Offloads => [("tx-udp-segmentation", "on"), ("generic-receive-offload", "off")],
            Underlay::Plain => [("tx-udp-segmentation", "off"), ("generic-receive-offload", "off")],
        };
        let hosts = self.hosts.iter().map(|host| (&host.namespace, "eth0"));
        let routers = self.routers.iter().flat_map(|router| [(router, "near"), (router, "far")]);
        for (namespace, interface) in hosts.chain(routers) {
            let mut arguments = vec!["-K", interface];
            for (feature, state) in wanted {
                // The long name is how it is shown, the short one how it is set.
                let feature = if feature == "generic-receive-offload" { "gro" } else { feature };
                arguments.extend([feature, state]);
            }
            namespace.run("ethtool", &arguments).context("is the package ethtool installed?")?;
            let shown = namespace.run("ethtool", &["-k", interface])?;
            for (feature, state) in wanted {
                let line = shown.lines().find_map(|line| line.trim().strip_prefix(&format!("{feature}: ")));
                ensure!(
                    line.is_some_and(|line| line.split(' ').next() == Some(state)),
                    "{interface} of {}: {feature} should be {state}, and is {line:?}",
                    namespace.name()
                );
            }
        }
        Ok(())
    }
}

/// A veth pair between two namespaces, both ends up.
fn plug(a: &Namespace, at_a: &str, b: &Namespace, at_b: &str, mtu: u32) -> Result<()> {
    a.ip(&format!("link add {at_a} mtu {mtu} type veth peer name {at_b} mtu {mtu} netns {}\n", b.name()))?;
    a.ip(&format!("link set {at_a} up\n"))?;
    b.ip(&format!("link set {at_b} up\n"))
}

/// Puts two routers between the ends, with a cable of `mtu` between them, and tells everybody the way.
fn route(lab: &Lab, ends: [&Namespace; 2], mtu: u32) -> Result<Vec<Namespace>> {
    let routers = [Namespace::create(lab.name(), "r")?, Namespace::create(lab.name(), "s")?];
    plug(&routers[0], "far", &routers[1], "far", mtu)?;
    for (side, router) in routers.iter().enumerate() {
        plug(ends[side], "eth0", router, "near", ETHERNET)?;
        let (own, other, gateway) = (end(side), end(1 - side), Ipv4Addr::new(80, 0, 1, 254));
        ends[side].ip(&format!(
            "addr add {own}/32 dev eth0\nroute add {gateway}/32 dev eth0\nroute add default via {gateway} src {own}\n"
        ))?;
        // Addresses of their own between them, for what they have to say about sizes.
        let between = [0, 1].map(|side| Ipv4Addr::new(80, 0, 2, 1 + side));
        router.ip(&format!(
            "addr add {gateway}/32 dev near\nroute add {own}/32 dev near\naddr add {}/24 dev far\n\
             route add {other}/32 via {}\n",
            between[side],
            between[1 - side]
        ))?;
        router.run("sysctl", &["-q", "-w", "net.ipv4.ip_forward=1"])?;
    }
    Ok(routers.into())
}
