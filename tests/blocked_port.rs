//! A port that is dead for a machine: what leaves by it gets no answer, as behind a router with a stuck mapping. A second one beside it
//! is used, unless the user named addresses or port.

use std::time::Duration;

use anyhow::Result;
use lab::{Access, Cluster, Plan, Seat, testing};

const MEETING: Duration = Duration::from_secs(20);
/// A path is alive for nineteen seconds after its last packet; ten more without an answer make a port suspicious.
const LIMIT: Duration = Duration::from_secs(75);

/// Answers to UDP port 9993 are lost at the machine's door.
fn block(cluster: &Cluster, member: usize) -> Result<()> {
    cluster.members[member].host.namespace.nft(
        "table inet blocked {\n chain in {\n  type filter hook input priority 0;\n  udp dport 9993 drop\n }\n}\n",
    )
}

#[test]
fn a_second_port_is_used_beside_a_dead_one() {
    let plan = Plan::new().member("a", Seat::Ours, Access::Public).member("b", Seat::Ours, Access::Public);
    testing::run("a_second_port_is_used_beside_a_dead_one", &plan, |cluster| {
        cluster.ping(0, 1, MEETING)?;
        block(cluster, 0)?;
        for (from, to) in [(0, 1), (1, 0)] {
            cluster.ping(from, to, LIMIT)?;
        }
        Ok(())
    });
}
