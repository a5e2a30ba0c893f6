//! Programs that are neither ours nor zerotier-one.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lab::tool::{self, wait_for};
use lab::{Namespace, traffic};

/// How long each step of a start may take.
const LIMIT: Duration = Duration::from_secs(20);

/// A running program; ends with this value.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it, its output goes to `log`.
    pub(crate) fn start(mut command: Command, log: PathBuf) -> Result<Self> {
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot run `{}`", tool::shown(&command)))?;
        Ok(Self { child, log })
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has made the interface.
    pub(crate) fn wait_interface(&mut self, namespace: &Namespace, name: &str) -> Result<()> {
        let found = wait_for(&format!("interface {name}"), LIMIT, Duration::from_millis(20), || {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(Err(status)));
            }
            Ok(namespace.said("ip", &["link", "show", "dev", name])?.ok().then_some(Ok(())))
        });
        let said = || fs::read_to_string(&self.log).unwrap_or_default();
        match found {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => bail!("it ended with {status}:\n{}", said()),
            Err(error) => Err(error.context(said())),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until both can ping each other.
pub(crate) fn meet(ends: [(&Namespace, Ipv4Addr); 2]) -> Result<()> {
    for (from, to) in [(0, 1), (1, 0)] {
        traffic::first_ping(ends[from].0, IpAddr::V4(ends[to].1), LIMIT)?;
    }
    Ok(())
}

/// The first line a program prints when asked for its version.
pub(crate) fn version(program: &str, switch: &str) -> String {
    let mut command = Command::new(program);
    command.arg(switch);
    let said = tool::finish(command, None, tool::LIMIT);
    let text = said.map(|said| said.stdout + &said.stderr).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// Whether a program of this name can be found.
pub(crate) fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
