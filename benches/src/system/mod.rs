//! What is measured: two namespaces joined by a cable, and what joins them once more on top of it.

mod link;
mod nodes;
pub(crate) mod peers;
mod process;

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use lab::{Daemon, Namespace};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::arguments::Underlay;
use crate::instruments::iperf::Server;
pub(crate) use link::{Cable, ETHERNET, Link};
pub(crate) use nodes::Setup;
use process::Process;

/// How much of it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The main figures.
    Main,
    /// Those, in other conditions too.
    Conditions,
    /// Everything.
    All,
}

/// One end.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    /// Where its processes run.
    pub(crate) namespace: Namespace,
    /// Its address in what is measured.
    pub(crate) address: Ipv4Addr,
    /// Its daemon; `None` for the bare cable.
    pub(crate) pid: Option<u32>,
}

/// One system under test. Fields are dropped in order: processes before their namespaces.
pub(crate) struct System {
    /// As tables show it.
    pub(crate) name: String,
    /// Which version of it.
    pub(crate) version: String,
    /// How much of it is measured.
    pub(crate) scope: Scope,
    /// Streams begin at the first and end at the second.
    pub(crate) sides: [Side; 2],
    /// The nodes, when they are ztnode or zerotier-one; the first is root and controller as well.
    pub(crate) daemons: Vec<Daemon>,
    /// Their network.
    pub(crate) network: String,
    server: Server,
    _processes: Vec<Process>,
    /// The cable.
    pub(crate) link: Link,
    pinned: bool,
}

impl System {
    /// What the cable alone is called.
    pub(crate) const CABLE: &str = "cable, no VPN";

    /// The cable alone.
    pub(crate) fn cable() -> Result<Self> {
        let link = Link::new()?;
        let sides = link.sides(|side| (link::end(side), None));
        let mut system = Self::assemble(Self::CABLE, String::new(), link, sides, Vec::new())?;
        system.scope = Scope::Main;
        Ok(system)
    }

    /// A system whose ends reach each other already.
    fn assemble(
        name: &str,
        version: String,
        link: Link,
        sides: [Side; 2],
        processes: Vec<Process>,
    ) -> Result<Self> {
        let server = Server::start(&sides[1].namespace)?;
        Ok(Self {
            name: name.to_owned(),
            version,
            scope: Scope::All,
            sides,
            daemons: Vec::new(),
            network: String::new(),
            server,
            _processes: processes,
            link,
            pinned: false,
        })
    }

    /// Changes what the cable does.
    pub(crate) fn set_underlay(&self, underlay: Underlay) -> Result<()> {
        self.link.set_underlay(underlay)
    }

    /// Ties all that belongs to a side to one core (the first and the second of those we may use), or lets the scheduler
    /// decide again.
    pub(crate) fn pin(&mut self, pinned: bool) -> Result<()> {
        let cores = cores()?;
        ensure!(!pinned || cores.len() >= 2, "one core a side needs two cores");
        for (index, side) in self.sides.iter().enumerate() {
            let mine = if pinned { &cores[index..=index] } else { &cores[..] };
            let server = (index == 1).then_some(self.server.pid());
            for pid in side.pid.into_iter().chain(server) {
                tie(pid, mine).with_context(|| format!("cannot tie process {pid} to cores {mine:?}"))?;
            }
        }
        self.pinned = pinned;
        Ok(())
    }

    /// The core of the side `index` when sides are tied to cores.
    pub(crate) fn core(&self, index: usize) -> Result<Option<usize>> {
        Ok(if self.pinned { cores()?.get(index).copied() } else { None })
    }
}

/// The cores this program may use.
fn cores() -> Result<Vec<usize>> {
    // Asked of the first thread: measuring threads tie themselves.
    let set = nix::sched::sched_getaffinity(Pid::this())?;
    Ok((0..CpuSet::count()).filter(|core| set.is_set(*core) == Ok(true)).collect())
}

/// Ties all threads of a process to some cores.
fn tie(pid: u32, cores: &[usize]) -> Result<()> {
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = entry?.file_name().to_string_lossy().parse()?;
        tie_thread(Pid::from_raw(thread), cores)?;
    }
    Ok(())
}

/// Ties a thread (0: the calling one) to some cores.
pub(crate) fn tie_thread(thread: Pid, cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core)?;
    }
    Ok(sched_setaffinity(thread, &set)?)
}
