//! Strangers with bad intentions: a million datagrams, random and mutated, at a daemon that has work to do.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::capture::Capture;
use lab::{Access, Cluster, Namespace, NatKind, Plan, Seat, testing, tool, traffic};

const LIMIT: Duration = Duration::from_secs(10);
/// Datagrams sent; `ZTNODE_HOSTILE` overrides it.
const COUNT: usize = 1_000_000;
/// How much the victim's memory may grow, in KiB.
const GROWTH_KIB: u64 = 96 * 1024;

/// xorshift64*: reproducible from the seed that a failure prints.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// One hostile datagram: noise, noise with a plausible header, or a real datagram with damage.
fn datagram(random: &mut Random, real: &[Vec<u8>], victim: [u8; 5]) -> Vec<u8> {
    match random.below(8) {
        0 => {
            let length = random.below(1500);
            random.bytes(length)
        }
        1 | 2 => {
            // A header that gets past the first look: for the victim, any suite, any verb.
            let length = 28 + random.below(1400);
            let mut bytes = random.bytes(length);
            bytes[8..13].copy_from_slice(&victim);
            if random.below(2) == 0 {
                bytes[18] &= 0xc7; // suite 0
                bytes[27] = u8::try_from(1 + random.below(20)).unwrap_or(1);
            }
            bytes
        }
        3 => {
            // A fragment of something.
            let length = 16 + random.below(1400);
            let mut bytes = random.bytes(length);
            bytes[8..13].copy_from_slice(&victim);
            bytes[13] = 0xff;
            bytes
        }
        _ => {
            let mut bytes = real[random.below(real.len())].clone();
            for _ in 0..1 + random.below(4) {
                match random.below(5) {
                    0 => bytes.truncate(random.below(bytes.len() + 1)),
                    1 => {
                        let extra = random.below(200);
                        bytes.extend(random.bytes(extra));
                    }
                    2 => {
                        // The source: a stranger's, or the victim's own.
                        if let Some(source) = bytes.get_mut(13..18) {
                            let new = if random.below(2) == 0 { victim.to_vec() } else { random.bytes(5) };
                            source.copy_from_slice(&new);
                        }
                    }
                    3 => {
                        let at = random.below(40);
                        if let Some(byte) = bytes.get_mut(at) {
                            *byte = random.next().to_le_bytes()[0];
                        }
                    }
                    _ => {
                        let at = random.below(bytes.len());
                        if let Some(byte) = bytes.get_mut(at) {
                            *byte ^= 1 << random.below(8);
                        }
                    }
                }
            }
            bytes
        }
    }
}

/// Bytes waiting in, and datagrams dropped at, the UDP sockets of port 9993.
fn backlog(namespace: &Namespace) -> Result<(u64, u64)> {
    let text = namespace.inside(|| std::fs::read_to_string("/proc/thread-self/net/udp"))??;
    let (mut waiting, mut dropped) = (0, 0);
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if fields.get(1).is_some_and(|local| local.ends_with(":2709")) {
            let queue = fields.get(4).and_then(|q| q.split(':').nth(1)).context("no queues")?;
            waiting += u64::from_str_radix(queue, 16)?;
            dropped += fields.last().context("no drops")?.parse::<u64>()?;
        }
    }
    Ok((waiting, dropped))
}

fn attack(cluster: &mut Cluster) -> Result<()> {
    let count = std::env::var("ZTNODE_HOSTILE").ok().and_then(|n| n.parse().ok()).unwrap_or(COUNT);
    let (aws, victim) = (0, 1);
    cluster.ping(aws, victim, LIMIT)?;
    // Real traffic to mutate: HELLOs, OKs, frames, fragments, configs of a joining member.
    let host = cluster.members[victim].host.clone();
    let capture = Capture::start(&cluster.lab, &host)?;
    let network = cluster.network.clone();
    cluster.members[victim].stop()?;
    cluster.members[victim].start()?;
    cluster.members[victim].wait_ready()?;
    cluster.members[victim].wait_status(&network, "OK", LIMIT)?;
    cluster.wait_joined(victim)?;
    cluster.ping(aws, victim, LIMIT)?;
    cluster.tcp(aws, victim, 1 << 16)?;
    let real: Vec<Vec<u8>> = capture
        .finish()?
        .into_iter()
        .filter(|seen| seen.to.0 == host.public && !seen.payload.is_empty())
        .map(|seen| seen.payload)
        .collect();
    ensure!(real.len() > 20, "only {} datagrams captured", real.len());

    let attacker = cluster.lab.add("attacker", Access::Public)?;
    let mut batch = String::new();
    for number in 0..64 {
        batch.push_str(&format!("addr add 80.0.200.{number}/16 dev eth0\n"));
    }
    attacker.namespace.ip(&batch)?;
    let sockets: Vec<UdpSocket> = attacker.namespace.inside(|| {
        (0..64)
            .map(|number| UdpSocket::bind((Ipv4Addr::new(80, 0, 200, number), 0)))
            .collect::<Result<_, _>>()
    })??;

    let pid = cluster.members[victim].pid();
    let before = cluster.members[victim].memory_kib()?;
    let (_, dropped_before) = backlog(&host.namespace)?;
    let address: u64 = u64::from_str_radix(&cluster.members[victim].address, 16)?;
    let mut bytes = [0; 5];
    bytes.copy_from_slice(&address.to_be_bytes()[3..]);
    let seed = 0x5eed_0000_0000_0001;
    let mut random = Random(seed);
    let over = AtomicBool::new(false);
    let namespace = cluster.members[aws].host.namespace.clone();
    let target = IpAddr::V4(cluster.fixed(victim));
    let (sent, received) = std::thread::scope(|scope| -> Result<(u32, u32)> {
        let pinging = scope.spawn(|| -> Result<(u32, u32)> {
            let (mut sent, mut received) = (0, 0);
            while !over.load(Ordering::Relaxed) {
                received += traffic::pings(&namespace, target, 10, Duration::from_millis(100))?;
                sent += 10;
            }
            Ok((sent, received))
        });
        let attacked = (|| -> Result<()> {
            for number in 0..count {
                let datagram = datagram(&mut random, &real, bytes);
                let socket = &sockets[random.below(sockets.len())];
                // A full socket buffer on our side is no event of interest.
                let _ = socket.send_to(&datagram, (host.public, 9993));
                if number % 64 == 63 {
                    // Not faster than it reads: dropped datagrams test the kernel only.
                    tool::wait_for("the victim to read", LIMIT, Duration::from_micros(50), || {
                        Ok((backlog(&host.namespace)?.0 == 0).then_some(()))
                    })
                    .with_context(|| format!("after {number} datagrams of seed {seed:#x}"))?;
                }
                if number % 100_000 == 99_999 {
                    testing::say(&format!("hostile: {} of {count} datagrams", number + 1));
                }
            }
            Ok(())
        })();
        over.store(true, Ordering::Relaxed);
        let pinged = pinging.join().map_err(|_| anyhow::anyhow!("pinging panicked"))?;
        attacked?;
        pinged
    })?;

    ensure!(cluster.members[victim].running() && cluster.members[victim].pid() == pid, "the daemon died");
    let dropped = backlog(&host.namespace)?.1 - dropped_before;
    ensure!(dropped < count as u64 / 20, "{dropped} of {count} datagrams never reached the daemon");
    let after = cluster.members[victim].memory_kib()?;
    testing::say(&format!(
        "hostile: {count} datagrams ({dropped} dropped by the kernel), {received} of {sent} pings answered meanwhile, \
         memory {before} -> {after} KiB"
    ));
    ensure!(received * 10 >= sent * 9, "only {received} of {sent} pings answered under fire");
    ensure!(after < before + GROWTH_KIB, "memory grew from {before} to {after} KiB");
    let calm = traffic::pings(&namespace, target, 20, Duration::from_millis(50))?;
    ensure!(calm >= 19, "{calm} of 20 pings afterwards");
    cluster.tcp(aws, victim, 1 << 20).context("TCP afterwards")?;
    Ok(())
}

#[test]
fn a_million_datagrams() {
    let plan = Plan::new().member("aws", Seat::Ours, Access::Nat(NatKind::PortRestricted)).member(
        "laptop",
        Seat::Ours,
        Access::Public,
    );
    testing::run("a_million_datagrams", &plan, attack);
}
