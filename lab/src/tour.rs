//! The demo: machines in separate clouds, all behind NATs, on one Ethernet.

use std::net::IpAddr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lab::{Access, Cluster, Lab, NatKind, Plan, Seat, registry, tool, traffic};
use nix::sys::signal::{SigSet, Signal};
use serde_json::json;

use crate::booting;
use crate::matrix;
use crate::show::Show;
use crate::tapping::Tapping;

/// The name of the demo's lab.
pub(crate) const NAME: &str = "demo";

/// The promise: from the daemons' start to the first answer between two clouds.
const FIRST_PING_LIMIT: Duration = Duration::from_secs(5);

/// How each cloud's router behaves, in turn.
const KINDS: [NatKind; 4] =
    [NatKind::PortRestricted, NatKind::FullCone, NatKind::Restricted, NatKind::Symmetric];

/// Runs the tour in a lab called `name`.
///
/// # Errors
/// The step that failed, what was expected, and the state and logs of all nodes.
pub(crate) fn run(name: &str, clouds: &[String], seat: Seat, cloud_init: bool, keep: bool) -> Result<()> {
    if clouds.len() < 2 {
        bail!("a tour needs at least two clouds");
    }
    clean_up_on_interrupt(name)?;
    registry::sweep()?;
    if registry::all()?.iter().any(|lab| lab == name) {
        println!("Removing the lab `{name}` of an earlier run");
        registry::down(name)?;
    }
    let mut show = Show::new();
    let mut tour = Tour { cluster: build(&mut show, name, clouds, seat)?, seat, cloud_init, page: None };
    let outcome = tour.chapters(&mut show);
    if let Err(error) = outcome {
        let report = tour.cluster.report();
        return Err(error.context(format!("{report}\nThe tour failed; the states and logs above tell more.")));
    }
    if keep {
        tour.leave_up()?;
        let cloud = &clouds[0];
        let (shell, down) = match name {
            NAME => (format!("make lab-shell CLOUD={cloud}"), "make lab-down".to_owned()),
            other => (format!("ztlab shell --name {other} {cloud}"), format!("ztlab down {other}")),
        };
        show.meaning(&format!(
            "The lab stays up: `{shell}` opens a shell in a cloud, `{down}` removes it all."
        ));
    } else {
        drop(tour);
        show.meaning("The lab is gone again. `make lab KEEP=1` leaves it up.");
    }
    Ok(())
}

/// An interrupted tour leaves nothing behind either.
fn clean_up_on_interrupt(name: &str) -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block()?;
    let name = name.to_owned();
    std::thread::spawn(move || {
        if signals.wait().is_ok() {
            eprintln!("\ninterrupted: removing the lab");
            // The other thread may be making a namespace right now: look again.
            for _ in 0..3 {
                if let Err(error) = registry::down(&name) {
                    eprintln!("{error:#}");
                }
            }
            std::process::exit(130);
        }
    });
    Ok(())
}

fn build(show: &mut Show, name: &str, clouds: &[String], seat: Seat) -> Result<Cluster> {
    println!(
        "ztnode: one Ethernet across clouds. Everything below happens in network namespaces of this machine."
    );
    show.chapter("Clouds");
    show.progress("building the internet, the routers and the machines, making identities …");
    let mut plan = Plan::new().root(seat);
    for (index, cloud) in clouds.iter().enumerate() {
        plan = plan.member(cloud, seat, Access::Nat(KINDS[index % KINDS.len()]));
    }
    plan = plan.member("laptop", seat, Access::Public);
    let cluster = plan.prepare(Lab::named(name)?).context("building the lab")?;
    let mut table =
        format!("{:<8}  {:<13}  {:<15}  {}\n", "machine", "own address", "NAT", "seen from outside as");
    for daemon in cluster.daemons() {
        let host = &daemon.host;
        let own = if host.access == Access::Public { host.public } else { lab::host::INSIDE };
        table.push_str(&format!(
            "{:<8}  {own:<13}  {:<15}  {}\n",
            host.name,
            host.access.name(),
            host.public
        ));
    }
    show.text(&table);
    show.meaning("Every cloud uses the same private subnet, so by themselves none can address another.");
    Ok(cluster)
}

/// Lets member `index` in, as the network's owner does it.
pub(crate) fn authorize_by_cli(show: &Show, cluster: &Cluster, index: usize) -> Result<()> {
    let (member, ip) = (&cluster.members[index], cluster.fixed(index).to_string());
    let words = ["member", "authorize", "demo.lab", &member.address, "--name", member.name(), "--ip", &ip];
    let output = cluster.root.cli(&words)?;
    show.command("root", &format!("ztnode-cli {}", words.join(" ")), &output);
    Ok(())
}

struct Tour {
    cluster: Cluster,
    seat: Seat,
    /// The clouds' machines set themselves up by user-data.
    cloud_init: bool,
    page: Option<Child>,
}

impl Tour {
    fn chapters(&mut self, show: &mut Show) -> Result<()> {
        self.planet(show).context("chapter: identities and a planet")?;
        let first = self.network(show).context("chapter: a network")?;
        self.info(show).context("chapter: the nodes")?;
        self.pings(show).context("chapter: everybody pings everybody")?;
        self.ethernet(show).context("chapter: an Ethernet")?;
        self.peers(show).context("chapter: paths")?;
        self.web(show).context("chapter: a page from another cloud")?;
        Tapping { cluster: &self.cluster, seat: self.seat }.chapters(show)?;
        show.chapter("Done");
        println!("first overlay ping: {:.3} s", first.as_secs_f64());
        Ok(())
    }

    fn planet(&self, show: &mut Show) -> Result<()> {
        show.chapter("Identities and a planet");
        let root = &self.cluster.root;
        let identity = root.identity()?;
        show.command("root", "cat identity.public", &format!("{}…", &identity[..60.min(identity.len())]));
        show.meaning(
            "An identity is a key pair; its 10-digit address is computed from the key and cannot be chosen.",
        );
        let line = format!("ztnode-cli root init --endpoint {}/9993", root.host.public);
        show.command("root", &line, &self.cluster.planet);
        show.meaning(
            "The planet file tells a node its roots. Every machine got a copy before its first start.",
        );
        Ok(())
    }

    fn network(&mut self, show: &mut Show) -> Result<Duration> {
        show.chapter("A network");
        self.cluster.started = Instant::now();
        if self.cloud_init {
            self.cluster.root.start()?;
            self.cluster.root.wait_ready()?;
            self.create_by_cli(show)?;
            booting::boot(show, &mut self.cluster)?;
        } else {
            self.start_and_join(show)?;
        }
        let cluster = &mut self.cluster;
        cluster.ping(0, 1, Duration::from_secs(20))?;
        let first = cluster.started.elapsed();
        println!("first overlay ping: {:.3} s", first.as_secs_f64());
        let (a, b) = (cluster.members[0].name(), cluster.members[1].name());
        show.meaning(&format!(
            "That is from the daemons' start to the first answer of {b} to {a}: start, network, joining and NAT included."
        ));
        if self.seat == Seat::Ours && !self.cloud_init && first > FIRST_PING_LIMIT {
            bail!("the first overlay ping must come within {} s", FIRST_PING_LIMIT.as_secs());
        }
        for index in 0..cluster.members.len() {
            cluster.wait_joined(index)?;
        }
        Ok(first)
    }

    fn start_and_join(&mut self, show: &mut Show) -> Result<()> {
        show.progress("starting all daemons at once: the clock runs …");
        for daemon in self.cluster.daemons_mut() {
            daemon.start()?;
        }
        self.cluster.root.wait_ready()?;
        match self.seat {
            Seat::Ours | Seat::Older => {
                self.create_by_cli(show)?;
                for index in 0..self.cluster.members.len() {
                    authorize_by_cli(show, &self.cluster, index)?;
                }
                show.meaning(
                    "A private network: who is not authorized stays out. Addresses are handed out by the controller.",
                );
            }
            Seat::Reference => self.create_by_api(show)?,
        }
        let network = self.cluster.network.clone();
        for member in &mut self.cluster.members {
            member.wait_ready()?;
            if self.seat == Seat::Ours {
                let output = member.cli(&["join", &network])?;
                show.command(member.name(), &format!("ztnode-cli join {network}"), &output);
            } else {
                member.join(&network)?;
            }
        }
        Ok(())
    }

    /// As a person does it.
    fn create_by_cli(&mut self, show: &Show) -> Result<()> {
        let root = &self.cluster.root;
        let line = "network create --name demo.lab --route 10.0.0.0/16 --pool 10.0.0.1-10.0.0.254 \
                    --route fd0e:10::/64 --pool fd0e:10::1-fd0e:10::ffff --v6-zt --rfc4193 --6plane";
        let words: Vec<&str> = line.split_whitespace().collect();
        let output = root.cli(&words)?;
        show.command("root", &format!("ztnode-cli {}", words.join(" ")), &output);
        let listed = root.get("/controller/network")?;
        let id = listed[0].as_str().context("the controller lists no network")?.to_owned();
        self.cluster.network.clone_from(&id);
        Ok(())
    }

    /// The same for a controller that has no command for it.
    fn create_by_api(&mut self, show: &Show) -> Result<()> {
        self.cluster.create_network()?;
        let path = format!("/controller/network/{}", self.cluster.network);
        self.cluster.root.post(&path, &json!({"name": "demo.lab"}))?;
        for index in 0..self.cluster.members.len() {
            self.cluster.authorize(index, true)?;
        }
        show.meaning("The network was made through the JSON API.");
        Ok(())
    }

    fn info(&self, show: &mut Show) -> Result<()> {
        show.chapter("The nodes");
        for daemon in self.cluster.daemons() {
            let output = daemon.cli(&["info"])?;
            show.command(daemon.name(), "ztnode-cli info", &output);
            if !output.contains("ONLINE") {
                bail!("{} should be ONLINE", daemon.name());
            }
        }
        let member = &self.cluster.members[0];
        show.command(member.name(), "ztnode-cli listnetworks", &member.cli(&["listnetworks"])?);
        show.meaning(
            "ONLINE: the node hears its root. OK: it has the network's configuration and its addresses.",
        );
        Ok(())
    }

    fn pings(&self, show: &mut Show) -> Result<()> {
        show.chapter("Everybody pings everybody");
        let cluster = &self.cluster;
        let names: Vec<&str> = cluster.members.iter().map(lab::Daemon::name).collect();
        show.progress("warming up: ARP, NDP, hole punching …");
        let mut tables = vec![
            ("IPv4, 10.0.N.1", Vec::new()),
            ("IPv6, RFC 4193", Vec::new()),
            ("IPv6, 6PLANE", Vec::new()),
        ];
        for index in 0..names.len() {
            let all = cluster.ip6(index)?;
            let rfc4193 = all.iter().find(|ip| ip.segments()[0] >> 8 == 0xfd && ip.segments()[0] != 0xfd0e);
            let six_plane = all.iter().find(|ip| ip.segments()[0] >> 8 == 0xfc);
            tables[0].1.push(IpAddr::V4(cluster.fixed(index)));
            tables[1].1.push(IpAddr::V6(*rfc4193.context("no RFC 4193 address")?));
            tables[2].1.push(IpAddr::V6(*six_plane.context("no 6PLANE address")?));
        }
        for (title, targets) in tables {
            let mut times = vec![vec![String::from("·"); names.len()]; names.len()];
            for (from, row) in times.iter_mut().enumerate() {
                for (to, cell) in row.iter_mut().enumerate().filter(|(to, _)| *to != from) {
                    let namespace = &cluster.members[from].host.namespace;
                    traffic::first_ping(namespace, targets[to], Duration::from_secs(10))
                        .with_context(|| format!("{title}: {} to {}", names[from], names[to]))?;
                    let time = traffic::ping(namespace, targets[to], Duration::from_secs(1))?;
                    *cell = time.map_or_else(|| "lost".to_owned(), |ms| format!("{ms:.2}"));
                }
            }
            println!("\n{title}: milliseconds there and back, rows ping columns");
            show.text(&matrix::render("", &names, |row, column| times[row][column].clone()));
        }
        show.meaning(
            "Three kinds of addresses, no machine configured by hand, no port opened on any router.",
        );
        Ok(())
    }

    fn ethernet(&self, show: &mut Show) -> Result<()> {
        show.chapter("An Ethernet");
        let cluster = &self.cluster;
        let member = &cluster.members[0];
        let device = member.device(&cluster.network)?;
        let tool = |line: &str| -> Result<()> {
            let words: Vec<&str> = line.split(' ').collect();
            let mut command = member.host.namespace.command(words[0]);
            command.args(&words[1..]);
            show.run(member.name(), line, command)?;
            Ok(())
        };
        tool(&format!("ip link show dev {device}"))?;
        show.meaning(
            "To the machine it is a network card: its name comes from the network, its MAC from the node.",
        );
        tool(&format!("ip -brief addr show dev {device}"))?;
        tool(&format!("ip -4 neigh show dev {device}"))?;
        show.meaning("The ARP cache holds the other clouds' machines as if they hung on the same switch.");
        for index in 1..cluster.members.len() {
            let wanted = cluster.members[index].mac(&cluster.network)?;
            let found = traffic::neighbour(&member.host.namespace, IpAddr::V4(cluster.fixed(index)))?;
            if found.as_deref() != Some(&wanted) {
                bail!("ARP has {found:?} for {}, whose card is {wanted}", cluster.members[index].name());
            }
        }
        Ok(())
    }

    fn peers(&self, show: &mut Show) -> Result<()> {
        show.chapter("Paths");
        let cluster = &self.cluster;
        show.progress("waiting for direct paths …");
        let count = cluster.members.len();
        for from in 0..count {
            for to in (0..count).filter(|to| *to != from) {
                let (here, there) = (&cluster.members[from], &cluster.members[to]);
                if here.host.access.punches(there.host.access) {
                    here.wait_direct(&there.address, Duration::from_secs(15))?;
                }
            }
        }
        let member = &cluster.members[0];
        show.command(member.name(), "ztnode-cli peers", &member.cli(&["peers"])?);
        let mut lines = String::new();
        for other in &cluster.members[1..] {
            let path = member.path_to(&other.address)?;
            let way =
                path.map_or_else(|| "relayed by the root".to_owned(), |path| format!("direct to {path}"));
            lines.push_str(&format!("{} ({}) {way}, {}\n", other.address, other.name(), nat_words(other)));
        }
        show.text(&lines);
        show.meaning(
            "The root introduced them; since then most packets go from router to router, past the root. Where two \
             routers cannot be got to agree (a symmetric and a port-restricted one), the root relays.",
        );
        let names: Vec<&str> = cluster.members.iter().map(lab::Daemon::name).collect();
        let mut ways = vec![vec!["·"; count]; count];
        for (from, row) in ways.iter_mut().enumerate() {
            for (to, way) in row.iter_mut().enumerate().filter(|(to, _)| *to != from) {
                let path = cluster.members[from].path_to(&cluster.members[to].address)?;
                *way = if path.is_some() { "direct" } else { "relay" };
            }
        }
        show.text(&matrix::render("", &names, |row, column| ways[row][column].to_owned()));
        Ok(())
    }

    fn web(&mut self, show: &mut Show) -> Result<()> {
        show.chapter("A page from another cloud");
        let cluster = &self.cluster;
        let (client, server) = (&cluster.members[0], &cluster.members[1]);
        let address = cluster.fixed(1);
        let program = std::env::current_exe()?;
        let mut command = server.host.namespace.command(&program.to_string_lossy());
        command.args(["page", &format!("{address}:80"), &format!("Hello from {}", server.name())]);
        command.stdin(Stdio::null());
        self.page = Some(command.spawn()?);
        let url = format!("http://{address}/");
        let output = tool::wait_for("the page", Duration::from_secs(5), Duration::from_millis(50), || {
            client.host.namespace.run("curl", &["-sS", "--max-time", "2", &url]).map(Some)
        })?;
        show.command(client.name(), &format!("curl {url}"), &output);
        if !output.contains(&format!("Hello from {}", server.name())) {
            bail!("that is not the page of {}", server.name());
        }
        show.meaning(
            "No tunnel was set up for it, no port forwarded: plain TCP between two private machines.",
        );
        Ok(())
    }

    fn leave_up(mut self) -> Result<()> {
        for daemon in self.cluster.daemons_mut() {
            daemon.detach();
        }
        // The web server stays too: it runs in the lab's namespace, so `down` finds it.
        self.page = None;
        self.cluster.lab.keep()
    }
}

impl Drop for Tour {
    fn drop(&mut self) {
        if let Some(mut page) = self.page.take() {
            // It may have ended; the lab's removal would end it as well.
            let _ = page.kill();
            let _ = page.wait();
        }
    }
}

fn nat_words(daemon: &lab::Daemon) -> String {
    match daemon.host.access {
        Access::Public => "which has no NAT".to_owned(),
        Access::Nat(kind) => format!("through its {} NAT", kind.name()),
    }
}
