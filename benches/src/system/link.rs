//! The cable: two namespaces joined by a veth pair.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use lab::{Access, Host, Lab, Namespace};

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

/// Two hosts with a veth pair (MTU 1500) between them, in a lab of their own.
pub(crate) struct Link {
    /// The hosts `a` and `b`.
    pub(crate) hosts: [Arc<Host>; 2],
    /// The lab they belong to. It goes with this value.
    pub(crate) lab: Lab,
}

impl Link {
    /// Makes both namespaces and plugs them together.
    pub(crate) fn new() -> Result<Self> {
        let lab = Lab::new()?;
        let host = |name: &str, side: usize| -> Result<Arc<Host>> {
            let namespace = Namespace::create(lab.name(), name)?;
            Ok(Arc::new(Host {
                name: name.to_owned(),
                border: namespace.clone(),
                namespace,
                access: Access::Public,
                public: end(side),
            }))
        };
        let hosts = [host("a", 0)?, host("b", 1)?];
        hosts[0]
            .namespace
            .ip(&format!("link add eth0 type veth peer name eth0 netns {}\n", hosts[1].namespace.name()))?;
        for host in &hosts {
            host.namespace.ip(&format!("addr add {}/24 dev eth0\nlink set eth0 up\n", host.public))?;
        }
        Ok(Self { hosts, lab })
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
        for host in &self.hosts {
            let mut arguments = vec!["-K", "eth0"];
            for (feature, state) in wanted {
                // The long name is how it is shown, the short one how it is set.
                let feature = if feature == "generic-receive-offload" { "gro" } else { feature };
                arguments.extend([feature, state]);
            }
            host.namespace.run("ethtool", &arguments).context("is the package ethtool installed?")?;
            let shown = host.namespace.run("ethtool", &["-k", "eth0"])?;
            for (feature, state) in wanted {
                let line = shown.lines().find_map(|line| line.trim().strip_prefix(&format!("{feature}: ")));
                ensure!(
                    line.is_some_and(|line| line.split(' ').next() == Some(state)),
                    "eth0 of {}: {feature} should be {state}, and is {line:?}",
                    host.name
                );
            }
        }
        Ok(())
    }
}
