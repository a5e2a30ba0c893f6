//! What is broken underneath a node and mended after a while: it goes on by itself, nobody has to restart it. Meanwhile it neither
//! keeps a processor busy nor fills the log.
//!
//! How fast exactly is for `ztbench --recovery` to say. `ZTNODE_LONG=1` breaks things for a minute where it is seconds otherwise.

use std::fs;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Access, Cluster, Daemon, Plan, Seat, testing, tool, traffic};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{Shutdown, shutdown};
use nix::unistd::Pid;
use serde_json::Value;

/// How long a pair may take to find each other at first.
const MEETING: Duration = Duration::from_secs(20);
/// How long it may be without traffic after what was broken is mended.
const MENDED: Duration = Duration::from_secs(10);
/// Of a processor's time, what a node may take while something is broken.
const BUSY: f64 = 0.3;
/// What it may say meanwhile, lines.
const TALK: usize = 12;

/// How long something stays broken.
fn broken_for(short: u64) -> Duration {
    Duration::from_secs(if std::env::var_os("ZTNODE_LONG").is_some() { 60 } else { short })
}

/// Two members on the same segment, with a direct path that is in use both ways. `fault` befalls the first of them, and they have to
/// be over it when it returns.
fn gets_over(name: &str, fault: impl FnOnce(&mut Cluster) -> Result<()>) {
    let plan = Plan::new().member("a", Seat::Ours, Access::Public).member("b", Seat::Ours, Access::Public);
    testing::run(name, &plan, |cluster| {
        cluster.ping(0, 1, MEETING)?;
        for (from, to) in [(0, 1), (1, 0)] {
            cluster.members[from].wait_direct(&cluster.members[to].address, MEETING)?;
        }
        fault(cluster)?;
        let mended = Instant::now();
        for (from, to) in [(0, 1), (1, 0)] {
            cluster.ping(from, to, MENDED).context("after")?;
        }
        testing::say(&format!("{name}: {} ms after it was mended", mended.elapsed().as_millis()));
        let (from, to) = (&cluster.members[0].host.namespace, IpAddr::V4(cluster.fixed(1)));
        let received = traffic::pings(from, to, 20, Duration::from_millis(50))?;
        ensure!(received >= 18, "{received} of 20 pings");
        for daemon in cluster.daemons_mut() {
            ensure!(daemon.running(), "{} has ended", daemon.name());
        }
        Ok(())
    });
}

/// Seconds of processor time that a node has used.
fn used(daemon: &Daemon) -> Result<f64> {
    let pid = daemon.pid().context("not running")?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).context("no times");
    // Of a hundred a second, on every Linux.
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

fn lines(daemon: &Daemon) -> usize {
    daemon.log_tail(usize::MAX).lines().count()
}

/// Sends a ping every 20 ms for so long from the first member; how many were answered. The first member has to keep calm meanwhile.
fn keeps_calm(cluster: &Cluster, time: Duration) -> Result<u32> {
    let (member, to) = (&cluster.members[0], IpAddr::V4(cluster.fixed(1)));
    let (begun, before, said) = (Instant::now(), used(member)?, lines(member));
    let mut answered = 0;
    // A tool that gets no answers for a minute falls behind.
    while begun.elapsed() < time {
        answered += traffic::pings(&member.host.namespace, to, 50, Duration::from_millis(20))?;
    }
    let busy = (used(member)? - before) / begun.elapsed().as_secs_f64();
    ensure!(busy < BUSY, "{:.0} % of a processor", busy * 100.0);
    let said = lines(member) - said;
    ensure!(said <= TALK, "{said} lines:\n{}", member.log_tail(said));
    Ok(answered)
}

/// A descriptor of another process, as one of ours.
#[allow(unsafe_code)]
fn taken(pid: u32, number: i32) -> Result<OwnedFd> {
    let failed = || std::io::Error::last_os_error();
    // SAFETY: pidfd_open(2) takes two numbers, and returns a new descriptor or -1.
    let process = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    ensure!(process >= 0, "pidfd_open: {}", failed());
    // SAFETY: the descriptor is new, and nobody else's.
    let process = unsafe { OwnedFd::from_raw_fd(i32::try_from(process)?) };
    // SAFETY: pidfd_getfd(2) takes three numbers, and returns a new descriptor or -1.
    let found = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) };
    ensure!(found >= 0, "pidfd_getfd: {}", failed());
    // SAFETY: as above.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(found)?) })
}

/// The UDP sockets of a node, as descriptors of ours.
fn sockets(daemon: &Daemon) -> Result<Vec<OwnedFd>> {
    let pid = daemon.pid().context("not running")?;
    let table = fs::read_to_string(format!("/proc/{pid}/net/udp"))?;
    let inodes: Vec<String> = table
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let ours = words.get(1)?.ends_with(&format!(":{:04X}", lab::daemon::PORT));
            ours.then(|| format!("socket:[{}]", words.get(9).copied().unwrap_or_default()))
        })
        .collect();
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let Ok(link) = fs::read_link(entry.path()) else { continue };
        if inodes.iter().any(|inode| link.as_os_str() == inode.as_str()) {
            let number = entry.file_name().to_string_lossy().parse()?;
            found.push(taken(pid, number)?);
        }
    }
    ensure!(!found.is_empty(), "no sockets of {pid} among {inodes:?}");
    Ok(found)
}

/// Datagrams of a node that found no room in a socket.
fn without_room(daemon: &Daemon) -> Result<f64> {
    let page = daemon.request("GET", "/metrics", None)?.text;
    let line = page.lines().find(|line| line.contains("to_socket") && line.contains("\"full\""));
    let value = line.and_then(|line| line.split_whitespace().last()?.parse().ok());
    value.with_context(|| format!("no such count: {page}"))
}

fn json(cluster: &Cluster, words: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&cluster.members[0].host.namespace.run("ip", words)?)?)
}

#[test]
fn sockets_that_are_shut_are_made_anew() {
    for (name, how) in [
        ("sockets_that_are_shut_are_made_anew", Shutdown::Both),
        ("sockets_that_are_shut_are_made_anew: for reading", Shutdown::Read),
        ("sockets_that_are_shut_are_made_anew: for writing", Shutdown::Write),
    ] {
        gets_over(name, |cluster| {
            for socket in sockets(&cluster.members[0])? {
                // It says that there is nobody at the other end, and does it all the same.
                let _ = shutdown(socket.as_raw_fd(), how);
            }
            keeps_calm(cluster, Duration::from_secs(1)).map(drop)
        });
    }
}

/// As `ss -K` and programs that manage a machine's connections do it; kernels need not be able to.
#[test]
fn sockets_that_are_aborted_go_on() {
    gets_over("sockets_that_are_aborted_go_on", |cluster| {
        let kill = ["-K", "-n", "-u", "-a", "sport = :9993"];
        let said = cluster.members[0].host.namespace.run("ss", &kill)?;
        if !said.contains("UNCONN") {
            testing::say("SKIPPED sockets_that_are_aborted_go_on: this kernel closes no sockets for others");
        }
        keeps_calm(cluster, Duration::from_secs(1)).map(drop)
    });
}

#[test]
fn a_firewall_that_lets_nothing_out_is_outlived_quietly() {
    gets_over("a_firewall_that_lets_nothing_out_is_outlived_quietly", |cluster| {
        let namespace = cluster.members[0].host.namespace.clone();
        // The sender is told of this: EPERM.
        namespace.nft(
            "table inet shut {\n  chain output {\n    type filter hook output priority 0; policy accept;\n    \
             oifname \"eth0\" meta l4proto udp drop\n  }\n}\n",
        )?;
        let answered = keeps_calm(cluster, broken_for(4))?;
        ensure!(answered == 0, "{answered} pings passed");
        namespace.nft("delete table inet shut\n")
    });
}

/// The interface takes a datagram now and then: what is sent waits in the socket until that has no more room.
#[test]
fn sockets_without_room_are_outlived_quietly() {
    gets_over("sockets_without_room_are_outlived_quietly", |cluster| {
        let namespace = cluster.members[0].host.namespace.clone();
        // A datagram passes now and then, and what waits is not dropped.
        let slow = "qdisc replace dev eth0 root tbf rate 8kbit burst 4kb limit 100mb";
        let said = namespace.said("tc", &slow.split(' ').collect::<Vec<_>>())?;
        if !said.ok() {
            testing::say(&format!("SKIPPED sockets_without_room_are_outlived_quietly: {}", said.stderr));
            return Ok(());
        }
        let sender = namespace.inside(|| std::net::UdpSocket::bind("0.0.0.0:0"))??;
        let to = (cluster.fixed(1), 7007);
        tool::wait_for("a socket without room", MEETING, Duration::from_millis(10), || {
            for _ in 0..200 {
                // The port may have no room either.
                let _ = sender.send_to(&[7; 1200], to);
            }
            Ok((without_room(&cluster.members[0])? > 0.0).then_some(()))
        })?;
        let answered = keeps_calm(cluster, broken_for(4))?;
        ensure!(answered < 10, "{answered} pings passed");
        namespace.run("tc", &["qdisc", "del", "dev", "eth0", "root"])?;
        Ok(())
    });
}

#[test]
fn a_port_that_is_deleted_is_made_anew() {
    gets_over("a_port_that_is_deleted_is_made_anew", |cluster| {
        let device = cluster.members[0].device(&cluster.network)?;
        cluster.members[0].host.namespace.ip(&format!("link del {device}\n"))?;
        cluster.wait_joined(0)
    });
}

#[test]
fn a_port_that_is_moved_away_is_made_anew() {
    gets_over("a_port_that_is_moved_away_is_made_anew", |cluster| {
        let device = cluster.members[0].device(&cluster.network)?;
        let other = cluster.root.host.namespace.name().to_owned();
        cluster.members[0].host.namespace.ip(&format!("link set {device} netns {other}\n"))?;
        cluster.wait_joined(0)
    });
}

#[test]
fn an_interface_that_is_deleted_is_used_when_it_is_there_again() {
    gets_over("an_interface_that_is_deleted_is_used_when_it_is_there_again", |cluster| {
        let host = cluster.members[0].host.clone();
        let far = json(cluster, &["-j", "link", "show", "dev", "eth0"])?[0]["link_index"].clone();
        let all: Value = serde_json::from_str(&cluster.lab.internet().run("ip", &["-j", "link"])?)?;
        let far = all.as_array().and_then(|all| all.iter().find(|link| link["ifindex"] == far));
        let far = far.and_then(|link| link["ifname"].as_str()).context("no far end")?.to_owned();
        host.namespace.ip("link del eth0\n")?;
        keeps_calm(cluster, broken_for(3))?;
        let name = host.namespace.name();
        cluster.lab.internet().ip(&format!(
            "link add {far} type veth peer name eth0 netns {name}\nlink set {far} master br0\nlink set {far} up\n"
        ))?;
        host.namespace.ip(&format!("link set eth0 up\naddr add {}/16 dev eth0\n", host.public))
    });
}

#[test]
fn an_interface_that_is_moved_away_is_used_when_it_is_back() {
    gets_over("an_interface_that_is_moved_away_is_used_when_it_is_back", |cluster| {
        let host = cluster.members[0].host.clone();
        let (here, there) = (host.namespace.name(), cluster.lab.internet());
        host.namespace.ip(&format!("link set eth0 netns {}\n", there.name()))?;
        keeps_calm(cluster, broken_for(3))?;
        there.ip(&format!("link set eth0 netns {here}\n"))?;
        host.namespace.ip(&format!("link set eth0 up\naddr add {}/16 dev eth0\n", host.public))
    });
}

#[test]
fn a_node_that_stood_still_goes_on() {
    gets_over("a_node_that_stood_still_goes_on", |cluster| {
        let pid = Pid::from_raw(i32::try_from(cluster.members[0].pid().context("not running")?)?);
        let (other, to) = (&cluster.members[1].host.namespace, IpAddr::V4(cluster.fixed(0)));
        kill(pid, Signal::SIGSTOP)?;
        let (begun, time) = (Instant::now(), broken_for(20));
        let mut answered = Ok(None);
        while begun.elapsed() < time && matches!(answered, Ok(None)) {
            answered = traffic::ping(other, to, Duration::from_millis(100));
        }
        kill(pid, Signal::SIGCONT)?;
        ensure!(answered?.is_none(), "it stood still");
        Ok(())
    });
}

/// A router that holds on to a mapping that leads nowhere, for as long as something is sent from that port.
#[test]
fn a_port_that_leads_nowhere_is_not_the_only_one() {
    const NAME: &str = "a_port_that_leads_nowhere_is_not_the_only_one";
    let plan = Plan::new().member("a", Seat::Ours, Access::Public).member("b", Seat::Ours, Access::Public);
    let plan = plan.settings(serde_json::json!({"allowSecondaryPort": null}));
    testing::run(NAME, &plan, |cluster| {
        cluster.ping(0, 1, MEETING)?;
        cluster.lab.internet().nft(&format!(
            "table bridge nowhere {{\n  chain forward {{\n    type filter hook forward priority 0; policy accept;\n    \
             ip saddr {0} udp sport 9993 drop\n    ip daddr {0} udp dport 9993 drop\n  }}\n}}\n",
            cluster.members[0].host.public
        ))?;
        for (from, to) in [(0, 1), (1, 0)] {
            cluster.ping(from, to, Duration::from_secs(240)).context("by another port")?;
        }
        cluster.members[0].wait_online(MENDED)
    });
}
