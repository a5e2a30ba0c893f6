//! Nodes with several lanes: everything arrives, nothing is reordered inside a flow, and ports and nodes go away while frames are
//! under way.

use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use lab::namespace::Namespace;
use lab::{Access, Cluster, NatKind, Plan, Seat, testing, traffic};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(20);
const FLOWS: usize = 4;
const DATAGRAMS: u32 = 4_000;
/// Some fit a datagram, some take two, some are fragmented by IP before we see them.
const SIZES: [usize; 5] = [64, 1_300, 2_000, 2_700, 5_000];

fn plan(other: Seat) -> Plan {
    Plan::new()
        .cloud("a")
        .member("b", other, Access::Nat(NatKind::PortRestricted))
        .settings(json!({"lanes": 2}))
}

/// Sends numbered datagrams of several flows as fast as they leave. What arrives is in order.
fn numbered(from: &Namespace, to: &Namespace, address: IpAddr) -> Result<()> {
    let done = Arc::new(AtomicBool::new(false));
    let mut receivers = Vec::new();
    let mut senders = Vec::new();
    for _ in 0..FLOWS {
        let receiver = to.inside(|| UdpSocket::bind((address, 0)))??;
        receiver.set_read_timeout(Some(Duration::from_millis(500)))?;
        let target = receiver.local_addr()?;
        senders.push(from.inside(|| -> std::io::Result<UdpSocket> {
            let sender = UdpSocket::bind("0.0.0.0:0")?;
            sender.connect(target)?;
            Ok(sender)
        })??);
        let done = done.clone();
        receivers.push(std::thread::spawn(move || -> Result<u32> {
            let (mut buffer, mut last, mut count) = ([0; 8_192], None, 0);
            loop {
                match receiver.recv(&mut buffer) {
                    Ok(length) => {
                        ensure!(length >= 4, "a datagram of {length} octets");
                        let number = u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
                        ensure!(last < Some(number), "{number} after {last:?}");
                        (last, count) = (Some(number), count + 1);
                    }
                    // Quiet after the last was sent: what has not come by now is lost.
                    Err(_) if done.load(Ordering::Acquire) => return Ok(count),
                    Err(_) => {}
                }
            }
        }));
    }
    let data = vec![7; 8_192];
    for number in 0..DATAGRAMS {
        let mut datagram = number.to_be_bytes().to_vec();
        datagram.extend_from_slice(&data[..SIZES[number as usize % SIZES.len()]]);
        for sender in &senders {
            // A full queue is no fault of the order.
            let _ = sender.send(&datagram);
        }
    }
    done.store(true, Ordering::Release);
    for (flow, receiver) in receivers.into_iter().enumerate() {
        let count = receiver.join().map_err(|_| anyhow!("a thread panicked"))?;
        let count = count.with_context(|| format!("flow {flow}"))?;
        ensure!(count > 0, "nothing of flow {flow} arrived");
        testing::say(&format!("flow {flow}: {count} of {DATAGRAMS} arrived, all in order"));
    }
    Ok(())
}

fn everything(cluster: &mut Cluster) -> Result<()> {
    let lanes = cluster.members[0].status()?["config"]["settings"]["lanes"].clone();
    ensure!(lanes == json!(2), "the node says {lanes} lanes");
    for (from, to) in [(0, 1), (1, 0)] {
        cluster.ping(from, to, LIMIT).context("IPv4")?;
        cluster.ping6(from, to, LIMIT).context("IPv6")?;
        cluster.tcp(from, to, 10 << 20).context("10 MB over TCP")?;
        let spaces = [from, to].map(|index| &cluster.members[index].host.namespace);
        let address = IpAddr::V4(cluster.fixed(to));
        std::thread::scope(|scope| {
            let streams: Vec<_> = (0..3)
                .map(|_| scope.spawn(|| traffic::tcp(spaces[0], spaces[1], address, 4 << 20, LIMIT)))
                .collect();
            streams.into_iter().try_for_each(|stream| match stream.join() {
                Ok(result) => result.map(drop),
                Err(_) => Err(anyhow!("a thread panicked")),
            })
        })
        .context("three streams at once")?;
        numbered(spaces[0], spaces[1], address).context("numbered datagrams")?;
    }
    Ok(())
}

#[test]
fn two_lanes_carry_everything_in_order() {
    testing::run("two_lanes_carry_everything_in_order", &plan(Seat::Ours), everything);
}

#[test]
fn towards_the_reference() {
    testing::run("towards_the_reference", &plan(Seat::Reference), everything);
}

/// A port, then the whole node, goes away while frames of several flows are on their way in and out.
#[test]
fn ports_and_nodes_go_away_under_load() {
    testing::run("ports_and_nodes_go_away_under_load", &plan(Seat::Ours), |cluster| {
        cluster.ping(0, 1, LIMIT)?;
        let network = cluster.network.clone();
        let (address, name) = (cluster.fixed(1), cluster.members[0].device(&network)?);
        let stop = Arc::new(AtomicBool::new(false));
        let sender = cluster.members[0].host.namespace.inside(|| UdpSocket::bind("0.0.0.0:0"))??;
        let flood = {
            let stop = stop.clone();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    for port in 6_000..6_008 {
                        // While the port is away there is no route.
                        let _ = sender.send_to(&[1; 1_200], (address, port));
                    }
                }
            })
        };
        let outcome = (0..3).try_for_each(|round| -> Result<()> {
            cluster.members[0].request("DELETE", &format!("/network/{network}"), None)?;
            let there = cluster.members[0].host.namespace.said("ip", &["link", "show", &name])?;
            ensure!(there.code != Some(0), "round {round}: {name} is still there");
            cluster.members[0].join(&network)?;
            cluster.wait_joined(0)?;
            cluster.ping(0, 1, LIMIT).map(drop)
        });
        let stopped = cluster.members[0].stop();
        stop.store(true, Ordering::Relaxed);
        let _ = flood.join();
        outcome?;
        let took = stopped?;
        ensure!(took < Duration::from_secs(2), "stopping took {took:?}");
        Ok(())
    });
}
