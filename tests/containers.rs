//! Containers of one machine in a network: 6PLANE gives each machine a /80 of its own, and its members' nodes answer for all of it.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Cluster, Namespace, Plan, testing, traffic};

/// The neighbours of a new address are asked for after a while.
const LIMIT: Duration = Duration::from_secs(60);

/// A bridge for containers on member `index`, as Docker makes it of the machine's /80, and a container at it.
fn container(cluster: &Cluster, index: usize) -> Result<(Namespace, Ipv6Addr)> {
    let member = &cluster.members[index];
    // The words of the manual.
    let prefix = member.cli(&["get", &cluster.network, "ip6prefix"])?.trim().to_owned();
    let subnet: Ipv6Addr = format!("{prefix}::").parse().with_context(|| format!("the prefix {prefix}"))?;
    let machine = format!("{prefix}::1");
    ensure!(cluster.ip6(index)?.contains(&machine.parse()?), "{subnet} is not this member's");
    let container = Namespace::create(cluster.lab.name(), &format!("box{index}"))?;
    member.host.namespace.ip(&format!(
        "link add docker0 type bridge\nlink add veth0 type veth peer name eth0 netns {}\nlink set veth0 master docker0\n\
         link set veth0 up\nlink set docker0 up\naddr add {machine}/80 dev docker0 nodad\n",
        container.name()
    ))?;
    member.host.namespace.run("sysctl", &["-q", "-w", "net.ipv6.conf.all.forwarding=1"])?;
    container.ip(&format!(
        "link set eth0 up\naddr add {prefix}:242:ac11:2/80 dev eth0 nodad\nroute add default via {machine}\n"
    ))?;
    Ok((container, format!("{prefix}:242:ac11:2").parse()?))
}

#[test]
fn a_container_has_an_address_of_its_machines_own() {
    let plan = Plan::new().cloud("aws").cloud("gcp");
    testing::run("a_container_has_an_address_of_its_machines_own", &plan, |cluster| {
        cluster.ping6(0, 1, LIMIT)?;
        let (first, address) = container(cluster, 0)?;
        let gcp = cluster.members[1].host.namespace.clone();
        traffic::first_ping(&gcp, IpAddr::V6(address), LIMIT).context("member to container")?;
        let (second, other) = container(cluster, 1)?;
        traffic::first_ping(&first, IpAddr::V6(other), LIMIT).context("container to container")?;
        traffic::tcp(&second, &first, IpAddr::V6(address), 1 << 20, LIMIT)?;
        Ok(())
    });
}
