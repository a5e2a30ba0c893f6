//! Strangers and members with bad intentions: a million datagrams, random, mutated, and sealed with keys of their own, at each of
//! a member, a root and a controller that have work to do.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use hostile::cast::Actor;
use hostile::live::Attacker;
use lab::capture::Capture;
use lab::{Access, Cluster, Daemon, Host, Namespace, NatKind, Plan, Seat, testing, tool, traffic};
use protocol::{Identity, SecretIdentity, Time};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(10);
/// Datagrams sent to each target at most, in the time there is; `ZTNODE_HOSTILE` overrides both.
const COUNT: usize = 1_000_000;
/// How long one target is attacked.
const TIME: Duration = Duration::from_secs(12);
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

/// Which node is attacked.
#[derive(Clone, Copy, Debug)]
enum Target {
    Member,
    Root,
    Controller,
}

fn daemon(cluster: &mut Cluster, target: Target) -> Result<&mut Daemon> {
    match target {
        Target::Member => Ok(&mut cluster.members[VICTIM]),
        Target::Root => Ok(&mut cluster.root),
        Target::Controller => cluster.controller.as_mut().context("no controller of its own"),
    }
}

/// The member that is attacked, and the one it talks with.
const VICTIM: usize = 1;
const FRIEND: usize = 0;

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Real traffic to a target, to be mutated: HELLOs, OKs, frames, fragments, requests of a joining member.
fn traffic_to(cluster: &mut Cluster, target: Target) -> Result<Vec<Vec<u8>>> {
    let host = daemon(cluster, target)?.host.clone();
    let capture = Capture::start(&cluster.lab, &host)?;
    let network = cluster.network.clone();
    cluster.members[VICTIM].stop()?;
    cluster.members[VICTIM].start()?;
    cluster.members[VICTIM].wait_ready()?;
    cluster.members[VICTIM].wait_status(&network, "OK", LIMIT)?;
    cluster.wait_joined(VICTIM)?;
    cluster.ping(FRIEND, VICTIM, LIMIT)?;
    cluster.tcp(FRIEND, VICTIM, 1 << 16)?;
    let seen = capture.finish()?;
    let to_target = seen.into_iter().filter(|seen| seen.to.0 == host.public && !seen.payload.is_empty());
    let real: Vec<Vec<u8>> = to_target.map(|seen| seen.payload).collect();
    ensure!(real.len() > 5, "only {} datagrams to the {target:?} captured", real.len());
    Ok(real)
}

/// Sockets of one attacking machine with many addresses.
fn attackers(cluster: &mut Cluster) -> Result<Vec<UdpSocket>> {
    let attacker = cluster.lab.add("attacker", Access::Public)?;
    let mut batch = String::new();
    for number in 0..64 {
        batch.push_str(&format!("addr add 80.0.200.{number}/16 dev eth0\n"));
    }
    attacker.namespace.ip(&batch)?;
    Ok(attacker.namespace.inside(|| {
        (0..64)
            .map(|number| UdpSocket::bind((Ipv4Addr::new(80, 0, 200, number), 0)))
            .collect::<Result<_, _>>()
    })??)
}

/// Sends hostile datagrams until there were enough or time is up; how many.
fn fire(
    host: &Host,
    sockets: &[UdpSocket],
    real: &[Vec<u8>],
    victim: [u8; 5],
    keys: &mut [Attacker],
    seed: u64,
) -> Result<usize> {
    let wanted: Option<usize> = std::env::var("ZTNODE_HOSTILE").ok().and_then(|n| n.parse().ok());
    let count = wanted.unwrap_or(COUNT);
    let end = wanted.is_none().then(|| Instant::now() + TIME);
    let mut random = Random(seed);
    let mut number = 0;
    // A full socket buffer on our side is no event of interest.
    let send = |socket: &UdpSocket, data: &[u8]| drop(socket.send_to(data, (host.public, 9993)));
    for (index, attacker) in keys.iter_mut().enumerate() {
        send(&sockets[index], &attacker.hello(now()));
    }
    while number < count && end.is_none_or(|end| Instant::now() < end) {
        for _ in 0..64 {
            let socket = random.below(sockets.len());
            let sealed = random.below(keys.len() + 1);
            match keys.get_mut(sealed) {
                Some(attacker) => {
                    let octets = random.bytes(300);
                    // Mostly from where it said HELLO.
                    let socket = if random.below(4) == 0 { socket } else { sealed };
                    for data in attacker.datagrams(now(), &octets) {
                        send(&sockets[socket], &data);
                        number += 1;
                    }
                }
                None => {
                    send(&sockets[socket], &datagram(&mut random, real, victim));
                    number += 1;
                }
            }
        }
        // Not faster than it reads: dropped datagrams test the kernel only.
        tool::wait_for("the target to read", LIMIT, Duration::from_micros(50), || {
            Ok((backlog(&host.namespace)?.0 == 0).then_some(()))
        })
        .with_context(|| format!("after {number} datagrams of seed {seed:#x}"))?;
    }
    Ok(number)
}

fn attack(cluster: &mut Cluster, sockets: &[UdpSocket], target: Target) -> Result<()> {
    cluster.ping(FRIEND, VICTIM, LIMIT)?;
    let real = traffic_to(cluster, target)?;
    let authority = std::fs::read_to_string(cluster.controller().home().join("identity.secret"))?;
    let authority = SecretIdentity::parse(authority.trim()).context("the controller's secret")?;
    let network = cluster.network.parse().context("the network's ID")?;
    // One of the two has a certificate, and may ask for a configuration.
    cluster.set_member_of(&Actor::Member.address().to_string(), &json!({"authorized": true}))?;
    let victim = Identity::parse(&daemon(cluster, target)?.identity()?).context("the target's identity")?;
    let mut keys = [Actor::Stranger, Actor::Member].map(|a| Attacker::new(a, &victim, network, &authority));

    let (host, pid, before) = {
        let daemon = daemon(cluster, target)?;
        (daemon.host.clone(), daemon.pid(), daemon.memory_kib()?)
    };
    let (_, dropped_before) = backlog(&host.namespace)?;
    let over = AtomicBool::new(false);
    let namespace = cluster.members[FRIEND].host.namespace.clone();
    let friend = IpAddr::V4(cluster.fixed(VICTIM));
    let seed = 0x5eed_0000_0000_0001 + target as u64;
    let bytes = victim.address.to_bytes();
    let (count, sent, received) = std::thread::scope(|scope| -> Result<(usize, u32, u32)> {
        let pinging = scope.spawn(|| -> Result<(u32, u32)> {
            let (mut sent, mut received) = (0, 0);
            while !over.load(Ordering::Relaxed) {
                received += traffic::pings(&namespace, friend, 10, Duration::from_millis(100))?;
                sent += 10;
            }
            Ok((sent, received))
        });
        let attacked = fire(&host, sockets, &real, bytes, &mut keys, seed);
        over.store(true, Ordering::Relaxed);
        let pinged = pinging.join().map_err(|_| anyhow::anyhow!("pinging panicked"))?;
        let count = attacked?;
        let (sent, received) = pinged?;
        Ok((count, sent, received))
    })?;

    let dropped = backlog(&host.namespace)?.1 - dropped_before;
    let daemon = daemon(cluster, target)?;
    ensure!(daemon.running() && daemon.pid() == pid, "the {target:?} died");
    ensure!(dropped < count as u64 / 20, "{dropped} of {count} datagrams never reached the {target:?}");
    let after = daemon.memory_kib()?;
    testing::say(&format!(
        "hostile: {count} datagrams at the {target:?} ({dropped} dropped by the kernel), {received} of {sent} pings answered \
         meanwhile, memory {before} -> {after} KiB"
    ));
    let asked = Instant::now();
    ensure!(daemon.status()?["online"] == true, "the {target:?} is offline");
    let waited = asked.elapsed();
    ensure!(waited < Duration::from_millis(500), "the {target:?} took {waited:?} to tell its status");
    ensure!(received * 10 >= sent * 9, "only {received} of {sent} pings answered under fire");
    ensure!(after < before + GROWTH_KIB, "memory of the {target:?} grew from {before} to {after} KiB");
    let calm = traffic::pings(&namespace, friend, 20, Duration::from_millis(50))?;
    ensure!(calm >= 19, "{calm} of 20 pings afterwards");
    cluster.tcp(FRIEND, VICTIM, 1 << 20).context("TCP afterwards")?;
    Ok(())
}

#[test]
fn a_million_datagrams() {
    let plan = Plan::new()
        .controller(Seat::Ours)
        .member("aws", Seat::Ours, Access::Nat(NatKind::PortRestricted))
        .member("laptop", Seat::Ours, Access::Public);
    testing::run("a_million_datagrams", &plan, |cluster| {
        let sockets = attackers(cluster)?;
        for target in [Target::Member, Target::Root, Target::Controller] {
            attack(cluster, &sockets, target).with_context(|| format!("attacking the {target:?}"))?;
        }
        Ok(())
    });
}
