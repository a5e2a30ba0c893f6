//! Identities and the planet of a lab, made with the product's own tools.

use std::fs;
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::binaries;
use crate::tool;

/// How long an identity may take: its hash is meant to be slow, and how many it takes is chance.
const PATIENCE: Duration = Duration::from_secs(300);

/// Makes `identity.secret` and `identity.public` in `home` and returns the address.
///
/// The tool is called by the name of the reference's identity tool, which ours answers to as well.
///
/// # Errors
/// When the tool fails.
pub fn new_identity(home: &Path) -> Result<String> {
    fs::create_dir_all(home)?;
    let mut command = Command::new(&binaries::ours()?.cli);
    command.arg0("zerotier-idtool").arg("generate");
    command.arg(home.join("identity.secret")).arg(home.join("identity.public"));
    tool::finish(command, None, PATIENCE)?.stdout()?;
    address(home)
}

/// The address of the identity in `home`.
///
/// # Errors
/// When there is no readable identity.
pub fn address(home: &Path) -> Result<String> {
    let path = home.join("identity.public");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let address = text.split(':').next().unwrap_or_default();
    Ok(address.to_owned())
}

/// The command that makes a planet whose only root is the node in `home`, reachable at these addresses, port 9993. It writes
/// `home/planet`.
///
/// # Errors
/// When our programs cannot be found.
pub fn root_init(home: &Path, addresses: &[IpAddr]) -> Result<Command> {
    let mut command = Command::new(&binaries::ours()?.cli);
    command.args(["root", "init", "--endpoint", &endpoints(addresses), "--home"]).arg(home);
    Ok(command)
}

/// The command that adds the node in `other`, reachable at these addresses, port 9993, to the planet in `home`,
/// whose key is there too.
///
/// # Errors
/// When our programs cannot be found.
pub fn root_add(home: &Path, other: &Path, addresses: &[IpAddr]) -> Result<Command> {
    let mut command = Command::new(&binaries::ours()?.cli);
    command.args(["root", "add"]).arg(other.join("identity.public"));
    command.args(["--endpoint", &endpoints(addresses), "--home"]).arg(home);
    Ok(command)
}

fn endpoints(addresses: &[IpAddr]) -> String {
    addresses.iter().map(|address| format!("{address}/9993")).collect::<Vec<_>>().join(",")
}
