//! One network namespace: making it, running things in it, removing it.

use std::fs::File;
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use crate::tool::{self, Said};

/// Every namespace of every lab has a name that starts with this.
pub const PREFIX: &str = "ztlab-";

/// A named network namespace (`ip netns`). Dropping the value leaves it alone: the lab's name is what removes it.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes `ztlab-<lab>-<host>` with its loopback up.
    ///
    /// # Errors
    /// When the namespace exists or `ip` is not permitted.
    pub fn create(lab: &str, host: &str) -> Result<Self> {
        let name = format!("{PREFIX}{lab}-{host}");
        tool::run("ip", &["netns", "add", &name])?;
        let made = Self { name };
        made.ip("link set lo up\n")?;
        Ok(made)
    }

    /// The namespace `name`, which must exist already.
    ///
    /// # Errors
    /// When there is no such namespace.
    pub fn existing(name: &str) -> Result<Self> {
        let path = format!("/run/netns/{name}");
        std::fs::metadata(&path).with_context(|| format!("no namespace {name}"))?;
        Ok(Self { name: name.to_owned() })
    }

    /// Its name for `ip netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run in here. `ip netns exec` replaces itself by the program, so the child's pid is the
    /// program's.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs a tool in here to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn said(&self, program: &str, arguments: &[&str]) -> Result<Said> {
        let mut command = self.command(program);
        command.args(arguments);
        tool::finish(command, None, tool::LIMIT)
    }

    /// Runs a tool in here that must succeed.
    ///
    /// # Errors
    /// When it cannot be started or exits non-zero.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        self.said(program, arguments)?.stdout()
    }

    /// Gives `ip` a batch of its own commands, one a line.
    ///
    /// # Errors
    /// The failing command and `ip`'s message.
    pub fn ip(&self, batch: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name, "-batch", "-"]);
        tool::finish(command, Some(batch), tool::LIMIT)?.stdout().with_context(|| batch.to_owned())?;
        Ok(())
    }

    /// Loads an nft script.
    ///
    /// # Errors
    /// nft's message and the script.
    pub fn nft(&self, script: &str) -> Result<()> {
        let mut command = self.command("nft");
        command.args(["-f", "-"]);
        tool::finish(command, Some(script), tool::LIMIT)?.stdout().with_context(|| script.to_owned())?;
        Ok(())
    }

    /// Calls `work` on a thread that lives in this namespace: sockets it opens belong here, and stay here when handed
    /// out.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or `work` panicked.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let path = format!("/run/netns/{}", self.name);
        let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        std::thread::scope(|scope| {
            scope
                .spawn(move || {
                    setns(&file, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter {path}"))?;
                    Ok(work())
                })
                .join()
                .map_err(|_| anyhow!("a thread inside {} panicked", self.name))?
        })
    }
}
