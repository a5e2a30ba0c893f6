//! The measurement: a stream beside a flood, and beside the same datagrams at a port where nobody listens.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use lab::{Access, Cluster, Daemon, Host, Plan, Seat, binaries, registry, testing, traffic};
use serde_json::{Value, json};

use crate::fire::attacker_at;
use crate::kinds::Kind;

/// The members of the lab's network.
const FRIEND: usize = 0;
const VICTIM: usize = 1;
/// The root's address in the network.
const ROOT_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 250, 1);
const NODE_PORT: u16 = 9_993;
/// Where nobody listens.
const CLOSED_PORT: u16 = 9_994;
const LIMIT: Duration = Duration::from_secs(60);
/// How much of its rate a stream keeps.
const KEPT: f64 = 0.9;
/// How soon the node tells its status, ms.
const INFO_MS: f64 = 100.0;
/// How much the node's memory may grow during all floods of one kind, KiB.
const GROWTH_KIB: u64 = 64 << 10;
/// After ten times the rate everything works again within this time.
const RECOVERY: Duration = Duration::from_secs(10);
/// How long ten times the rate lasts.
const TENFOLD: Duration = Duration::from_secs(5);

/// How to measure.
#[derive(Args, Debug)]
pub(crate) struct Measure {
    /// Which kinds; all if none is named.
    #[arg(long, value_enum, value_delimiter = ',')]
    kinds: Vec<Kind>,
    /// How often each is measured.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Seconds that a stream lasts, about.
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// The processor core of the attacker.
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// Where the results go, as JSON.
    #[arg(long, default_value = "target/floods.json")]
    out: PathBuf,
}

/// What became of one kind.
struct Outcome {
    kind: Kind,
    /// MB/s beside the flood and beside the same datagrams at a closed port.
    beside: f64,
    closed: f64,
    /// The ratio of both, median of the runs.
    kept: f64,
    /// Nine tenths of the questions for the status were answered in this time, ms; the longest.
    info: f64,
    slowest: f64,
    growth: u64,
    /// What was broken ten seconds after ten times the rate.
    broken: Option<String>,
}

impl Outcome {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.kept < KEPT {
            faults.push(format!("the stream keeps {:.0} %", self.kept * 100.0));
        }
        if self.info > INFO_MS {
            faults.push(format!("`info` takes {:.0} ms", self.info));
        }
        if self.growth > GROWTH_KIB {
            faults.push(format!("memory grows by {} KiB", self.growth));
        }
        faults.extend(self.broken.clone());
        faults
    }

    fn row(&self) -> String {
        let state = self.broken.as_deref().unwrap_or("nothing");
        format!(
            "| {} | {} a second | {:.0} MB/s | {:.0} MB/s | {:.0} % | {:.0} ms ({:.0}) | {:.1} MiB | {state} |",
            self.kind.text(),
            self.kind.rate(),
            self.closed,
            self.beside,
            self.kept * 100.0,
            self.info,
            self.slowest,
            self.growth as f64 / 1024.0
        )
    }

    fn json(&self) -> Value {
        json!({
            "kind": format!("{:?}", self.kind), "rate": self.kind.rate(), "besideMBs": self.beside,
            "closedMBs": self.closed, "kept": self.kept, "infoMs": self.info, "infoSlowestMs": self.slowest,
            "growthKiB": self.growth, "broken": self.broken, "faults": self.faults()
        })
    }
}

/// A running attacker; dropping it ends it.
struct Attack(Child);

impl Drop for Attack {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lab and who is where in it.
struct Scene {
    cluster: Cluster,
    attacker: std::sync::Arc<Host>,
    core: usize,
}

impl Scene {
    fn new(core: usize) -> Result<Self> {
        let plan = Plan::new().member("friend", Seat::Ours, Access::Public).member(
            "victim",
            Seat::Ours,
            Access::Public,
        );
        let mut cluster = plan.start()?;
        let network = cluster.network.clone();
        let address = cluster.root.address.clone();
        cluster
            .set_member_of(&address, &json!({"authorized": true, "ipAssignments": [ROOT_IP.to_string()]}))?;
        cluster.root.join(&network)?;
        cluster.root.wait_status(&network, "OK", LIMIT)?;
        let attacker = cluster.lab.add("attacker", Access::Public)?;
        for daemon in cluster.daemons() {
            // What goes to forged addresses leaves the machine, as it would on the Internet, and ends at the attacker.
            let route = format!("route add default via {}\n", attacker.public);
            daemon.host.namespace.ip(&route)?;
            for name in ["all", "eth0"] {
                let setting = format!("net.ipv4.conf.{name}.rp_filter=0");
                daemon.host.namespace.run("sysctl", &["-qw", &setting])?;
            }
        }
        let scene = Self { cluster, attacker, core };
        for at_root in [false, true] {
            traffic::first_ping(&scene.friend().host.namespace, scene.target(at_root).1, LIMIT)?;
        }
        Ok(scene)
    }

    fn friend(&self) -> &Daemon {
        &self.cluster.members[FRIEND]
    }

    /// The node that is attacked and its address in the network.
    fn target(&self, at_root: bool) -> (&Daemon, IpAddr) {
        if at_root {
            (&self.cluster.root, IpAddr::V4(ROOT_IP))
        } else {
            (&self.cluster.members[VICTIM], IpAddr::V4(self.cluster.fixed(VICTIM)))
        }
    }

    fn fire(&self, kind: Kind, port: u16, rate: u32, seconds: u32) -> Result<Attack> {
        let (target, _) = self.target(kind.at_root());
        let program = std::env::current_exe()?;
        let name = clap::ValueEnum::to_possible_value(&kind).context("a kind without a name")?;
        let others: Vec<&str> = self.cluster.daemons().map(|d| d.address.as_str()).collect();
        let mut command = self.attacker.namespace.command(&program.to_string_lossy());
        command.args(["fire", "--kind", name.get_name(), "--network", &self.cluster.network]);
        command.args(["--to", &SocketAddrV4::new(target.host.public, port).to_string()]);
        command.args(["--victim", &target.identity()?, "--others", &others.join(",")]);
        command.args(["--from", &attacker_at(self.attacker.public).to_string()]);
        command.args(["--rate", &rate.to_string(), "--seconds", &seconds.to_string()]);
        command.args(["--core", &self.core.to_string()]);
        let mut attack = Attack(command.stdout(Stdio::null()).spawn().context("cannot start the attacker")?);
        // Its introduction takes half a second.
        std::thread::sleep(Duration::from_millis(1_200));
        if let Some(status) = attack.0.try_wait()? {
            bail!("the attacker ended at once: {status}");
        }
        Ok(attack)
    }

    /// MB/s of a stream of so many octets from the friend to the node.
    fn stream(&self, at_root: bool, octets: usize) -> Result<f64> {
        let (target, ip) = self.target(at_root);
        let (from, to) = (&self.friend().host.namespace, &target.host.namespace);
        let took = traffic::tcp(from, to, ip, octets, LIMIT)?;
        Ok(octets as f64 / 1e6 / took.as_secs_f64())
    }

    /// The same, while the node is asked for its status again and again: how long each answer took, ms.
    fn stream_and_ask(&self, at_root: bool, octets: usize) -> Result<(f64, Vec<f64>)> {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| -> Result<Vec<f64>> {
                let mut times = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    self.target(at_root).0.cli(&["info"])?;
                    times.push(start.elapsed().as_secs_f64() * 1_000.0);
                    std::thread::sleep(Duration::from_millis(200));
                }
                Ok(times)
            });
            let rate = self.stream(at_root, octets);
            over.store(true, Ordering::Relaxed);
            let times = asking.join().map_err(|_| anyhow::anyhow!("the asking thread panicked"))?;
            Ok((rate?, times?))
        })
    }

    /// What does not work any more.
    fn broken(&self, kind: Kind, octets: usize, usual: f64) -> Result<Option<String>> {
        let at_root = kind.at_root();
        let (target, ip) = self.target(at_root);
        let answered = traffic::pings(&self.friend().host.namespace, ip, 20, Duration::from_millis(50))?;
        let rate = self.stream(at_root, octets).unwrap_or(0.0);
        let online = target.status().is_ok_and(|status| status["online"] == true);
        let mut broken = String::new();
        if !online {
            broken.push_str("offline; ");
        }
        if answered < 19 {
            write!(broken, "{answered} of 20 pings; ")?;
        }
        if rate < 0.75 * usual {
            write!(broken, "{rate:.0} of {usual:.0} MB/s; ")?;
        }
        Ok((!broken.is_empty()).then(|| broken.trim_end_matches("; ").to_owned()))
    }

    fn measure(&self, kind: Kind, runs: usize, seconds: u32) -> Result<Outcome> {
        let at_root = kind.at_root();
        let quick = self.stream(at_root, 16 << 20)?;
        let octets = (quick * 1e6 * f64::from(seconds)) as usize;
        let lasting = 20 * seconds;
        let before = self.target(at_root).0.memory_kib()?;
        let (mut besides, mut closeds, mut ratios, mut times) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..runs {
            let closed = {
                let _attack = self.fire(kind, CLOSED_PORT, kind.rate(), lasting)?;
                self.stream_and_ask(at_root, octets)?.0
            };
            let (beside, asked) = {
                let _attack = self.fire(kind, NODE_PORT, kind.rate(), lasting)?;
                self.stream_and_ask(at_root, octets)?
            };
            testing::say(&format!(
                "{}: {beside:.0} beside the flood, {closed:.0} MB/s beside a closed port",
                kind.text()
            ));
            times.extend(asked);
            besides.push(beside);
            closeds.push(closed);
            ratios.push(beside / closed);
        }
        let usual = median(&mut closeds);
        let attack = self.fire(kind, NODE_PORT, 10 * kind.rate(), lasting)?;
        std::thread::sleep(TENFOLD);
        drop(attack);
        std::thread::sleep(RECOVERY);
        let broken = self.broken(kind, octets, usual)?;
        times.sort_by(f64::total_cmp);
        let growth = self.target(at_root).0.memory_kib()?.saturating_sub(before);
        Ok(Outcome {
            kind,
            beside: median(&mut besides),
            closed: usual,
            kept: median(&mut ratios),
            info: times.get(times.len() * 9 / 10).copied().unwrap_or(f64::INFINITY),
            slowest: times.last().copied().unwrap_or(f64::INFINITY),
            growth,
            broken,
        })
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

impl Measure {
    /// Measures, writes the results, and fails where a flood did more than it may.
    ///
    /// # Errors
    /// Without root or the lab's tools; and when a node gave way.
    pub(crate) fn run(self) -> Result<()> {
        testing::possible()?;
        registry::sweep()?;
        binaries::ours()?;
        let kinds = if self.kinds.is_empty() { Kind::ALL.to_vec() } else { self.kinds.clone() };
        let mut outcomes = Vec::new();
        for kind in kinds {
            // Each meets nodes that nobody has attacked yet.
            let scene = Scene::new(self.core)?;
            let outcome = scene.measure(kind, self.runs, self.seconds).with_context(|| kind.text())?;
            println!("{}", outcome.row());
            outcomes.push(outcome);
            let all: Vec<Value> = outcomes.iter().map(Outcome::json).collect();
            std::fs::write(&self.out, serde_json::to_string_pretty(&all)?)
                .with_context(|| format!("cannot write {}", self.out.display()))?;
        }
        println!(
            "\n| flood | rate | stream beside a closed port | beside the flood | kept | `info`, 9 of 10 (slowest) | memory \
             | broken 10 s after ten times the rate |\n|---|--:|--:|--:|--:|--:|--:|---|"
        );
        let mut faults = Vec::new();
        for outcome in &outcomes {
            println!("{}", outcome.row());
            faults.extend(
                outcome.faults().into_iter().map(|fault| format!("{}: {fault}", outcome.kind.text())),
            );
        }
        if !faults.is_empty() {
            bail!("{}", faults.join("\n"));
        }
        Ok(())
    }
}
