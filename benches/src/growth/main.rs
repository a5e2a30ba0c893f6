//! `ztgrowth`: what one ztnode sends with 0, 1, 2 … lanes, when nothing else is in its way.
//!
//! A thread feeds its interface with UDP super-frames of many flows, one system call each; the network drops what comes out of
//! the other end of the cable, where nobody has worked on it yet. So the node is what costs most. Besides Gbit/s the table
//! says what processor time each of the node's threads takes per 10^9 octets: the packet thread's is the bound that lanes
//! cannot move, whatever the number of cores.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;
use lab::{Access, Cluster, Plan, Seat, binaries, registry, testing};
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::json;

/// Flows, so that every lane has some.
const FLOWS: u16 = 32;
/// UDP payload of a datagram, as large as the network takes, and of a super-frame.
const SEGMENT: i32 = 2_772;
const SUPER: usize = 23 * SEGMENT as usize;
/// Octets that may wait for the node: enough to keep it busy, few enough that none are dropped.
const WINDOW: u64 = 4 << 20;
/// How long the feeding thread sleeps when so much waits.
const PAUSE: Duration = Duration::from_micros(100);
/// Before measuring.
const WARM_UP: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(20);
/// Clock ticks a second in `/proc`: fixed by the kernel's interface to user space.
const TICKS: f64 = 100.0;

#[derive(Parser, Debug)]
#[command(about = "What one ztnode sends with so many lanes (as root)")]
struct Arguments {
    /// How many lanes, in turn.
    #[arg(long, value_delimiter = ',', default_value = "0,1,2")]
    lanes: Vec<u8>,
    /// How often each number has its turn.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds that each turn measures.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    testing::possible()?;
    registry::sweep()?;
    binaries::ours()?;
    let plan = Plan::new().member("a", Seat::Ours, Access::Public).member("b", Seat::Ours, Access::Public);
    let mut cluster = plan.start()?;
    let mut results: BTreeMap<u8, Vec<f64>> = BTreeMap::new();
    for _ in 0..arguments.rounds {
        for lanes in &arguments.lanes {
            let result = turn(&mut cluster, *lanes, Duration::from_secs(arguments.seconds.into()))
                .with_context(|| format!("{lanes} lanes"))?;
            println!("{}", result.line(*lanes));
            results.entry(*lanes).or_default().push(result.gigabits);
        }
    }
    println!("\n| lanes | Gbit/s, median (least to greatest) |\n|--:|--:|");
    for (lanes, mut rates) in results {
        rates.sort_by(f64::total_cmp);
        let (least, most) = (rates[0], rates[rates.len() - 1]);
        println!("| {lanes} | {:.2} ({least:.2}–{most:.2}) |", rates[rates.len() / 2]);
    }
    Ok(())
}

/// What one turn gave.
struct Outcome {
    /// Octets the node took from its interface, as 10^9 bits a second.
    gigabits: f64,
    /// Processor seconds by thread per 10^9 octets.
    threads: Vec<(String, f64)>,
}

impl Outcome {
    fn line(&self, lanes: u8) -> String {
        let threads: Vec<String> =
            self.threads.iter().map(|(name, cost)| format!("{name} {cost:.2}")).collect();
        format!("{lanes} lanes: {:.2} Gbit/s; CPU-s per GB: {}", self.gigabits, threads.join(", "))
    }
}

/// Starts the sender anew with so many lanes, and measures.
fn turn(cluster: &mut Cluster, lanes: u8, length: Duration) -> Result<Outcome> {
    let internet = cluster.lab.internet().clone();
    // What an earlier turn left. Nothing to delete at the first.
    internet.said("nft", &["delete", "table", "inet", "sink"])?;
    cluster.members[0].stop()?;
    cluster.members[0].set("lanes", lanes)?;
    cluster.members[0].start()?;
    cluster.members[0].wait_ready()?;
    cluster.wait_joined(0)?;
    cluster.ping(0, 1, LIMIT)?;
    cluster.members[0].wait_direct(&cluster.members[1].address, LIMIT)?;
    let shown = cluster.members[0].status()?["config"]["settings"]["lanes"].clone();
    ensure!(shown == json!(lanes), "the node says {shown} lanes");
    internet.run("nft", &["add table inet sink"])?;
    internet.run("nft", &["add chain inet sink in { type filter hook prerouting priority -300 ; }"])?;
    // Control packets pass, so that the path stays alive.
    internet.run("nft", &["add rule inet sink in udp length > 600 drop"])?;
    let pid = cluster.members[0].pid().context("the node is not running")?;
    let device = cluster.members[0].device(&cluster.network)?;
    let (to, stop) = (cluster.fixed(1), AtomicBool::new(false));
    let space = &cluster.members[0].host.namespace;
    std::thread::scope(|scope| {
        let feeding = scope.spawn(|| space.inside(|| feed(to, &device, &stop)));
        let taken = || -> Result<u64> { space.inside(|| taken(&device))? };
        let measured = (|| -> Result<Outcome> {
            std::thread::sleep(WARM_UP);
            let (begun, octets, before) = (Instant::now(), taken()?, threads(pid)?);
            std::thread::sleep(length);
            let (octets, after) = (taken()? - octets, threads(pid)?);
            let seconds = begun.elapsed().as_secs_f64();
            ensure!(octets > 0, "the node took nothing from {device}");
            let cost = |(id, (name, ticks)): (&u32, &(String, f64))| {
                let used = ticks - before.get(id).map_or(0.0, |(_, ticks)| *ticks);
                (name.clone(), used / TICKS / (octets as f64 / 1e9))
            };
            let threads = after.iter().map(cost).filter(|(_, cost)| *cost >= 0.005).collect();
            Ok(Outcome { gigabits: octets as f64 * 8.0 / seconds / 1e9, threads })
        })();
        stop.store(true, Ordering::Relaxed);
        feeding.join().map_err(|_| anyhow!("the feeding thread panicked"))???;
        measured
    })
}

/// Sends super-frames of many flows, as long as not too many wait.
fn feed(to: Ipv4Addr, device: &str, stop: &AtomicBool) -> Result<()> {
    let mut sockets = Vec::new();
    for port in 0..FLOWS {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        setsockopt(&socket, sockopt::UdpGsoSegment, &SEGMENT).context("UDP segmentation")?;
        socket.connect((to, 7_000 + port))?;
        sockets.push(socket);
    }
    let data = vec![0x5a; SUPER];
    let begun = taken(device)?;
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        if sent > taken(device)? - begun + WINDOW {
            std::thread::sleep(PAUSE);
            continue;
        }
        for socket in sockets.iter().cycle().skip((sent / SUPER as u64) as usize % sockets.len()).take(16) {
            if let Err(error) = socket.send(&data) {
                return Err(error).context("sending");
            }
            sent += SUPER as u64;
        }
    }
    Ok(())
}

/// Octets that were taken from an interface of this thread's namespace, by whoever made it.
fn taken(device: &str) -> Result<u64> {
    let table = fs::read_to_string("/proc/thread-self/net/dev")?;
    let line = table.lines().find_map(|line| line.trim().strip_prefix(device)?.strip_prefix(':'));
    let field = line.and_then(|line| line.split_whitespace().nth(8)?.parse().ok());
    field.with_context(|| format!("no interface {device}"))
}

/// Name and processor time in ticks of each thread of a process.
fn threads(pid: u32) -> Result<BTreeMap<u32, (String, f64)>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task")).context("the node is not running")? {
        let entry = entry?;
        let stat = fs::read_to_string(entry.path().join("stat"))?;
        let parsed = stat.rsplit_once(')').and_then(|(head, tail)| {
            let fields: Vec<&str> = tail.split_whitespace().collect();
            let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
            Some((head.split_once('(')?.1.to_owned(), ticks))
        });
        let id = entry.file_name().to_string_lossy().parse()?;
        all.insert(id, parsed.with_context(|| format!("/proc/{pid}/task/{id}/stat reads strangely"))?);
    }
    Ok(all)
}
