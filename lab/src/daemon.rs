//! A node process in a host of the lab: ours or the reference implementation, driven through the same API.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::api::{self, Reply};
use crate::host::{Host, Lab};
use crate::tool::{self, Said};
use crate::{binaries, planet};

/// The port of every node in a lab: UDP for packets, TCP for the API.
pub const PORT: u16 = 9993;

const TOKEN: &str = "labtokenlabtokenlabtoken";
const STEP: Duration = Duration::from_millis(25);

/// Whose program sits there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// `ztnode`
    Ours,
    /// An older `ztnode`, from the folder that `ZTNODE_OLD` names.
    Older,
    /// `zerotier-one`, the binary that `ZEROTIER_ONE` names.
    Reference,
}

impl Seat {
    /// As tables show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ztnode",
            Self::Older => "older ztnode",
            Self::Reference => "zerotier-one",
        }
    }

    /// The program.
    ///
    /// # Errors
    /// It has not been built, or nothing names it.
    pub fn program(self) -> Result<PathBuf> {
        match self {
            Self::Ours => Ok(binaries::ours()?.ztnode.clone()),
            Self::Older => binaries::older().context("ZTNODE_OLD names no folder"),
            Self::Reference => binaries::reference().context("ZEROTIER_ONE names no binary"),
        }
    }

    /// Whether it is a ztnode of any version.
    pub fn is_ztnode(self) -> bool {
        self != Self::Reference
    }
}

/// A node: its home directory and, while it runs, its process. Dropping it kills the process, unless the lab is kept.
#[derive(Debug)]
pub struct Daemon {
    /// Where it runs.
    pub host: Arc<Host>,
    /// Whose program it is.
    pub seat: Seat,
    /// Its 10-digit address.
    pub address: String,
    home: PathBuf,
    log: PathBuf,
    /// Every host is a machine of its own to nodes that look.
    machine_id: PathBuf,
    child: Option<Child>,
    detached: bool,
    environment: Vec<(String, String)>,
}

impl Daemon {
    /// Makes a home with a new identity, a known API token and settings that keep the node on one port. Starts nothing.
    ///
    /// # Errors
    /// When the home cannot be written or the identity tool fails.
    pub fn prepare(lab: &Lab, host: &Arc<Host>, seat: Seat) -> Result<Self> {
        let home = lab.dir().join(&host.name);
        let address = planet::new_identity(&home)?;
        fs::write(home.join("authtoken.secret"), TOKEN)?;
        let settings = serde_json::json!({"settings": {
            "allowSecondaryPort": false, "portMappingEnabled": false, "allowTcpFallbackRelay": false,
            "softwareUpdate": "disable", "profile": "plain"}});
        fs::write(home.join("local.conf"), settings.to_string())?;
        let log = lab.dir().join(format!("{}.log", host.name));
        let machine_id = machine_id(lab.dir(), host);
        fs::write(&machine_id, format!("{:032x}\n", u128::from(u32::from(host.public)) << 64 | 0xab))?;
        Ok(Self {
            host: Arc::clone(host),
            seat,
            address,
            home,
            log,
            machine_id,
            child: None,
            detached: false,
            environment: Vec::new(),
        })
    }

    /// Sets a variable of the process's environment, from its next start on.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Changes one of the settings in the home's `local.conf`. A running node reads the file again by itself.
    ///
    /// # Errors
    /// When the file is not there, or cannot be written.
    pub fn set(&self, key: &str, value: impl Into<Value>) -> Result<()> {
        let path = self.home.join("local.conf");
        let mut conf: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        conf["settings"][key] = value.into();
        fs::write(path, conf.to_string()).context("cannot write local.conf")
    }

    /// The node in a kept lab, found again by its host. It can be asked, not started or stopped.
    ///
    /// # Errors
    /// When the lab has no such home.
    pub fn attach(lab_dir: &Path, host: &Arc<Host>, seat: Seat) -> Result<Self> {
        let home = lab_dir.join(&host.name);
        let address = planet::address(&home)?;
        let log = lab_dir.join(format!("{}.log", host.name));
        let machine_id = machine_id(lab_dir, host);
        Ok(Self {
            host: Arc::clone(host),
            seat,
            address,
            home,
            log,
            machine_id,
            child: None,
            detached: true,
            environment: Vec::new(),
        })
    }

    /// Its home directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The file that says which machine this is.
    pub fn machine_id(&self) -> &Path {
        &self.machine_id
    }

    /// Gives this node, which must not run, the home of another, as an image made of that machine would.
    ///
    /// # Errors
    /// When the files cannot be copied.
    pub fn become_copy_of(&mut self, other: &Daemon) -> Result<()> {
        fs::remove_dir_all(&self.home)?;
        for folder in ["", "networks.d", "peers.d"] {
            fs::create_dir_all(self.home.join(folder))?;
            if !other.home.join(folder).is_dir() {
                continue;
            }
            for entry in fs::read_dir(other.home.join(folder))? {
                let entry = entry?;
                if entry.file_type()?.is_file() {
                    fs::copy(entry.path(), self.home.join(folder).join(entry.file_name()))?;
                }
            }
        }
        self.address.clone_from(&other.address);
        Ok(())
    }

    /// Its name: that of the host.
    pub fn name(&self) -> &str {
        &self.host.name
    }

    /// Its public identity.
    ///
    /// # Errors
    /// When the file is gone.
    pub fn identity(&self) -> Result<String> {
        Ok(fs::read_to_string(self.home.join("identity.public"))?.trim().to_owned())
    }

    /// Takes the identity out of the home of a node that was not started yet: it will make another, or be given one.
    /// Returns the secret one.
    ///
    /// # Errors
    /// When the files are not there.
    pub fn take_identity(&mut self) -> Result<String> {
        let path = self.home.join("identity.secret");
        let secret = fs::read_to_string(&path)?.trim().to_owned();
        fs::remove_file(path)?;
        fs::remove_file(self.home.join("identity.public"))?;
        self.address.clear();
        Ok(secret)
    }

    /// Learns the address of a running node that made or was given its identity by itself.
    ///
    /// # Errors
    /// When nothing answers.
    pub fn learn_address(&mut self) -> Result<()> {
        self.status()?["address"].as_str().context("no address in the status")?.clone_into(&mut self.address);
        Ok(())
    }

    /// Makes this node the lab's only root: signs a planet that names it, into its home.
    ///
    /// # Errors
    /// When the tool fails.
    pub fn make_planet(&self) -> Result<Said> {
        let said = tool::finish(planet::root_init(&self.home, &self.host.addresses())?, None, tool::LIMIT)?;
        if !said.ok() || !self.home.join("planet").is_file() {
            bail!("`{}` made no planet:\n{}{}", said.command, said.stdout, said.stderr);
        }
        Ok(said)
    }

    /// Adds another root to the planet in this home, whose key is here too.
    ///
    /// # Errors
    /// When the tool fails.
    pub fn add_root(&self, other: &Daemon) -> Result<()> {
        tool::finish(planet::root_add(&self.home, &other.home, &other.host.addresses())?, None, tool::LIMIT)?
            .stdout()?;
        Ok(())
    }

    /// Copies the planet of `root` into this home.
    ///
    /// # Errors
    /// When one of the files cannot be read or written.
    pub fn adopt_planet(&self, root: &Daemon) -> Result<()> {
        fs::copy(root.home.join("planet"), self.home.join("planet")).context("cannot copy the planet")?;
        Ok(())
    }

    /// Sits another program, another home or both on this host: the node is the one of that home from now on.
    ///
    /// # Errors
    /// When it runs, or the home has no identity.
    pub fn seat_on(&mut self, seat: Seat, home: &Path) -> Result<()> {
        if self.child.is_some() {
            bail!("{} runs", self.name());
        }
        self.address = planet::address(home)?;
        self.seat = seat;
        home.clone_into(&mut self.home);
        Ok(())
    }

    /// Starts the process and returns at once.
    ///
    /// # Errors
    /// When it runs already, has no `planet` (no node of a lab may ever use the public one), or cannot be started.
    pub fn start(&mut self) -> Result<()> {
        if self.child.is_some() {
            bail!("{} runs already", self.name());
        }
        if !self.home.join("planet").is_file() {
            bail!("{} has no planet file: it would talk to the public roots", self.name());
        }
        let program = self.seat.program()?;
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = self.host.namespace.command(&program.to_string_lossy());
        if self.seat.is_ztnode() {
            command.arg("--machine-id").arg(&self.machine_id);
        }
        command.arg("-U").arg(&self.home);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(std::process::Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // A terminal's interrupt is for the lab, which then ends its daemons in order.
        command.process_group(0);
        self.child = Some(command.spawn().with_context(|| format!("cannot start {}", program.display()))?);
        Ok(())
    }

    /// Waits until the API answers.
    ///
    /// # Errors
    /// When the process ends or says nothing for 15 s.
    pub fn wait_ready(&mut self) -> Result<()> {
        let name = self.name().to_owned();
        self.wait_running(&format!("the API of {name}"), Duration::from_secs(15), |daemon| {
            let reply = daemon.request("GET", "/status", None)?;
            Ok((reply.status == 200).then_some(()))
        })
    }

    /// Waits until the node says it is online.
    ///
    /// # Errors
    /// After `limit`.
    pub fn wait_online(&mut self, limit: Duration) -> Result<()> {
        let name = self.name().to_owned();
        self.wait_running(&format!("{name} to be online"), limit, |daemon| {
            Ok((daemon.status()?["online"] == true).then_some(()))
        })
    }

    /// Waits for a condition that a dead process cannot fulfil any more.
    fn wait_running<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut attempt: impl FnMut(&Self) -> Result<Option<T>>,
    ) -> Result<T> {
        tool::wait_for(what, limit, STEP, || match self.still_running() {
            Err(ended) => Ok(Some(Err(ended))),
            Ok(()) => Ok(attempt(self)?.map(Ok)),
        })?
    }

    /// # Errors
    /// With the log's tail, when the process has ended.
    fn still_running(&mut self) -> Result<()> {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait()?
        {
            self.child = None;
            bail!("{} ended: {status}\n{}", self.name(), self.log_tail(20));
        }
        Ok(())
    }

    /// Whether the process is there.
    pub fn running(&mut self) -> bool {
        self.still_running().is_ok() && self.child.is_some()
    }

    /// Process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Ends the process in order (SIGTERM) and says how long that took.
    ///
    /// # Errors
    /// When it does not end within 10 s (it is killed then), or ends with an error.
    pub fn stop(&mut self) -> Result<Duration> {
        let start = Instant::now();
        let Some(mut child) = self.child.take() else { return Ok(Duration::ZERO) };
        signal(&child, Signal::SIGTERM)?;
        let ended =
            tool::wait_for("the daemon to end", Duration::from_secs(10), STEP, || Ok(child.try_wait()?));
        let Ok(status) = ended else {
            child.kill()?;
            child.wait()?;
            bail!("{} ignored SIGTERM for 10 s\n{}", self.name(), self.log_tail(20));
        };
        // The reference as a controller aborts at the end of an orderly stop.
        if !status.success() && self.seat.is_ztnode() {
            bail!("{} ended with {status}\n{}", self.name(), self.log_tail(20));
        }
        Ok(start.elapsed())
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When the process cannot be signalled.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Lets the process live on when this value goes away.
    pub fn detach(&mut self) {
        self.detached = true;
    }

    /// One request to the API.
    ///
    /// # Errors
    /// When nothing answers.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Reply> {
        self.request_text(method, path, body.map(Value::to_string).as_deref())
    }

    /// The same with a body that need not be JSON.
    ///
    /// # Errors
    /// When nothing answers.
    pub fn request_text(&self, method: &str, path: &str, body: Option<&str>) -> Result<Reply> {
        api::request(&self.host.namespace, PORT, TOKEN, method, path, body, Duration::from_secs(10))
    }

    /// GET that must give 200.
    ///
    /// # Errors
    /// When nothing answers, or another status comes back.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.expect_ok("GET", path, None)
    }

    /// POST that must give 200.
    ///
    /// # Errors
    /// When nothing answers, or another status comes back.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.expect_ok("POST", path, Some(body))
    }

    fn expect_ok(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let reply = self.request(method, path, body)?;
        if reply.status != 200 {
            bail!("{method} {path} at {}: HTTP {} {}", self.name(), reply.status, reply.body);
        }
        Ok(reply.body)
    }

    /// The status object.
    ///
    /// # Errors
    /// When nothing answers.
    pub fn status(&self) -> Result<Value> {
        self.get("/status")
    }

    /// The network object, `None` when not joined.
    ///
    /// # Errors
    /// When nothing answers.
    pub fn network(&self, network: &str) -> Result<Option<Value>> {
        let reply = self.request("GET", &format!("/network/{network}"), None)?;
        Ok((reply.status == 200).then_some(reply.body))
    }

    /// Joins, without waiting for an answer of the controller.
    ///
    /// # Errors
    /// When the API refuses.
    pub fn join(&self, network: &str) -> Result<()> {
        self.post(&format!("/network/{network}"), &serde_json::json!({}))?;
        Ok(())
    }

    /// Waits until the network's status is `status`; returns the network object.
    ///
    /// # Errors
    /// After `limit`, with the last status seen.
    pub fn wait_status(&mut self, network: &str, status: &str, limit: Duration) -> Result<Value> {
        let what = format!("network {network} to be {status} at {}", self.name());
        self.wait_running(&what, limit, |daemon| {
            let found = daemon.network(network)?.context("not joined")?;
            if found["status"] == status { Ok(Some(found)) } else { bail!("it is {}", found["status"]) }
        })
    }

    /// The name of the network's interface.
    ///
    /// # Errors
    /// When not joined.
    pub fn device(&self, network: &str) -> Result<String> {
        let found = self.network(network)?.with_context(|| format!("{} has not joined", self.name()))?;
        Ok(found["portDeviceName"].as_str().unwrap_or_default().to_owned())
    }

    /// The hardware address of the network's interface.
    ///
    /// # Errors
    /// When not joined.
    pub fn mac(&self, network: &str) -> Result<String> {
        let found = self.network(network)?.with_context(|| format!("{} has not joined", self.name()))?;
        Ok(found["mac"].as_str().unwrap_or_default().to_owned())
    }

    /// The addresses the controller assigned, in its order.
    ///
    /// # Errors
    /// When not joined.
    pub fn assigned(&self, network: &str) -> Result<Vec<IpAddr>> {
        let found = self.network(network)?.with_context(|| format!("{} has not joined", self.name()))?;
        let list = found["assignedAddresses"].as_array().cloned().unwrap_or_default();
        Ok(list.iter().filter_map(|entry| entry.as_str()?.split('/').next()?.parse().ok()).collect())
    }

    /// The first assigned IPv4 address.
    ///
    /// # Errors
    /// When there is none.
    pub fn ip4(&self, network: &str) -> Result<Ipv4Addr> {
        let mut all = self.assigned(network)?.into_iter();
        let found = all.find_map(|ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None });
        found.with_context(|| format!("{} has no IPv4 address yet", self.name()))
    }

    /// All assigned IPv6 addresses.
    ///
    /// # Errors
    /// When not joined.
    pub fn ip6(&self, network: &str) -> Result<Vec<Ipv6Addr>> {
        let all = self.assigned(network)?.into_iter();
        Ok(all.filter_map(|ip| if let IpAddr::V6(ip) = ip { Some(ip) } else { None }).collect())
    }

    /// Where packets to the node `address` go: the `ip/port` of the preferred path, `None` while they are relayed.
    ///
    /// # Errors
    /// When nothing answers.
    pub fn path_to(&self, address: &str) -> Result<Option<String>> {
        let peer = self.get(&format!("/peer/{address}"))?;
        let paths = peer["paths"].as_array().cloned().unwrap_or_default();
        let live = |path: &&Value| path["active"] == true && path["expired"] != true;
        let best = paths.iter().filter(live).max_by_key(|path| path["preferred"] == true);
        Ok(best.and_then(|path| path["address"].as_str()).map(str::to_owned))
    }

    /// Waits until packets to `address` go directly; returns the path.
    ///
    /// # Errors
    /// After `limit`.
    pub fn wait_direct(&self, address: &str, limit: Duration) -> Result<String> {
        let what = format!("a direct path from {} to {address}", self.name());
        tool::wait_for(&what, limit, Duration::from_millis(100), || self.path_to(address))
    }

    /// Resident memory in KiB.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn memory_kib(&self) -> Result<u64> {
        let pid = self.pid().context("not running")?;
        let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// The command `ztnode-cli -D<home> <words>` in this host.
    ///
    /// # Errors
    /// When our programs cannot be found.
    pub fn cli_command(&self, words: &[&str]) -> Result<Command> {
        let mut command = self.host.namespace.command(&binaries::ours()?.cli.to_string_lossy());
        command.arg(format!("-D{}", self.home.display())).args(words);
        Ok(command)
    }

    /// Runs `ztnode-cli` against this node: it speaks to either implementation.
    ///
    /// # Errors
    /// When it cannot be started or exits non-zero.
    pub fn cli(&self, words: &[&str]) -> Result<String> {
        tool::finish(self.cli_command(words)?, None, tool::LIMIT)?.stdout()
    }

    /// The last `lines` lines of what the process printed.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = fs::read(&self.log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !self.detached {
            // It may have ended by itself; nothing to do about it here.
            let _ = self.kill();
        }
    }
}

fn machine_id(dir: &Path, host: &Host) -> PathBuf {
    dir.join(format!("{}.machine-id", host.name))
}

fn signal(child: &Child, signal: Signal) -> Result<()> {
    let pid = i32::try_from(child.id()).context("a pid fits into pid_t")?;
    kill(Pid::from_raw(pid), signal)?;
    Ok(())
}
