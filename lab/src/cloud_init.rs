//! Machines that set themselves up at their first boot: the part of cloud-init that our user-data needs.
//!
//! The examples of `packaging/cloud-init` are read as they are, filled in as a person would, and carried out in
//! cloud-init's order: `write_files`, then `packages` (the package starts the service), then `runcmd`, as the shell
//! script that cloud-init makes of it. What a host of the lab has of its own is a namespace and a home: `/var/lib/ztnode`
//! is the host's home, and the script finds the programs in `PATH` and the home in `ZEROTIER_HOME`.
//!
//! Source: cloud-init's manual, "modules": write files, package update upgrade install, runcmd.

use std::fs::{self, File};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::binaries;
use crate::daemon::Daemon;

/// What is installed: the program, and the keys of where it came from.
const PACKAGES: [&str; 2] = ["ztnode", "ztnode-archive-keyring"];

/// Where apt looks for those keys. A lab installs nothing, and leaves it out.
const KEYRING: &str = "/usr/share/keyrings/ztnode-archive-keyring.asc";

/// The home that the packages make.
const HOME: &str = "/var/lib/ztnode/";

/// How a machine becomes a member: one file of user-data each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// It makes an identity, and waits until somebody authorizes it.
    Generated,
    /// Its identity exists beforehand and is authorized already.
    Injected,
    /// It makes an identity and brings a join token.
    Token,
}

impl Way {
    /// All of them, as a tour takes turns.
    pub const ALL: [Self; 3] = [Self::Injected, Self::Token, Self::Generated];

    /// The file's name in `packaging/cloud-init`.
    pub fn file(self) -> &'static str {
        match self {
            Self::Generated => "generated.yaml",
            Self::Injected => "injected.yaml",
            Self::Token => "token.yaml",
        }
    }

    fn example(self) -> &'static str {
        match self {
            Self::Generated => include_str!("../../packaging/cloud-init/generated.yaml"),
            Self::Injected => include_str!("../../packaging/cloud-init/injected.yaml"),
            Self::Token => include_str!("../../packaging/cloud-init/token.yaml"),
        }
    }

    /// The user-data for a network, its place holder (`IDENTITY`, `TOKEN`) replaced by `secret`.
    ///
    /// # Errors
    /// When the example is no user-data that this reader understands.
    pub fn fill_in(self, network: &str, secret: &str) -> Result<UserData> {
        let text = self.example().replace(EXAMPLE_NETWORK, network);
        let text = match self {
            Self::Generated => text,
            Self::Injected => text.replace("IDENTITY", secret),
            // The comment names the word too.
            Self::Token => text.replace("--token TOKEN", &format!("--token {secret}")),
        };
        UserData::parse(text)
    }
}

/// The network of the examples.
const EXAMPLE_NETWORK: &str = "37f2b7c94f000001";

/// A machine's user-data.
#[derive(Clone, Debug)]
pub struct UserData {
    text: String,
    config: Config,
}

#[derive(Clone, Debug, Deserialize)]
struct Config {
    #[serde(default)]
    write_files: Vec<WrittenFile>,
    #[serde(default)]
    packages: Vec<String>,
    #[serde(default)]
    runcmd: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct WrittenFile {
    path: PathBuf,
    #[serde(default)]
    permissions: Option<String>,
    content: String,
}

impl UserData {
    fn parse(text: String) -> Result<Self> {
        ensure!(text.starts_with("#cloud-config\n"), "user-data begins with #cloud-config");
        let config: Config = serde_norway::from_str(&text).context("the user-data is no cloud-config")?;
        ensure!(
            config.packages == PACKAGES,
            "the user-data installs {:?}, not {PACKAGES:?}",
            config.packages
        );
        Ok(Self { text, config })
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The files that are written on a machine of the lab.
    fn files(&self) -> impl Iterator<Item = &WrittenFile> {
        self.config.write_files.iter().filter(|file| file.path != Path::new(KEYRING))
    }

    /// The script that cloud-init makes of `runcmd`.
    pub fn script(&self) -> String {
        let mut script = String::from("#!/bin/sh\n");
        for line in &self.config.runcmd {
            script.push_str(line);
            script.push('\n');
        }
        script
    }
}

/// Carries the user-data out on a machine whose home holds the lab's planet and no more: writes its files, starts the
/// daemon, and begins the script, whose output goes into the file of [`output`]. The script ends by itself.
///
/// # Errors
/// A file outside the home, or the daemon or the script cannot be started.
pub fn boot(daemon: &mut Daemon, user_data: &UserData) -> Result<Child> {
    for file in user_data.files() {
        let Ok(inside) = file.path.strip_prefix(HOME) else {
            bail!("the user-data writes {}, outside {HOME}", file.path.display());
        };
        write(&daemon.home().join(inside), file)?;
    }
    daemon.start()?;
    daemon.wait_ready()?;
    daemon.learn_address()?;
    let script = daemon.home().join("runcmd");
    let output = File::create(output(daemon))?;
    fs::write(&script, user_data.script())?;
    let mut command = daemon.host.namespace.command("/bin/sh");
    command.arg(&script);
    command.env("ZEROTIER_HOME", daemon.home()).env("PATH", search_path()?);
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    command.spawn().with_context(|| format!("cannot start the script of {}", daemon.name()))
}

/// Where the script's output is, as `/var/log/cloud-init-output.log` on a machine.
pub fn output(daemon: &Daemon) -> PathBuf {
    daemon.home().join("cloud-init-output.log")
}

fn write(path: &Path, file: &WrittenFile) -> Result<()> {
    let mode = file.permissions.as_deref().unwrap_or("0644");
    let mode = u32::from_str_radix(mode, 8).with_context(|| format!("permissions {mode}"))?;
    let shown = || format!("cannot write {}", path.display());
    // Secret from the beginning, as the mode asks.
    let made = File::options().write(true).create(true).truncate(true).mode(mode).open(path);
    let mut target = made.with_context(shown)?;
    target.set_permissions(fs::Permissions::from_mode(mode))?;
    std::io::Write::write_all(&mut target, file.content.as_bytes()).with_context(shown)
}

/// Our programs first.
fn search_path() -> Result<std::ffi::OsString> {
    let cli = &binaries::ours()?.cli;
    let ours = cli.parent().context("a program lies in a folder")?.to_owned();
    let rest = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(std::iter::once(ours).chain(std::env::split_paths(&rest)))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_understood_and_joins_without_polling() {
        for way in Way::ALL {
            let data = way.fill_in("0123456789abcdef", "s3cret").unwrap();
            assert!(!data.text().contains(EXAMPLE_NETWORK), "{}", data.text());
            assert_eq!(data.config.runcmd.len(), 1, "{}", data.text());
            let script = data.script();
            assert!(
                script.contains("ztnode-cli join 0123456789abcdef ") && script.contains("--wait"),
                "{script}"
            );
            assert_eq!(script.contains("s3cret"), way == Way::Token);
            let written: Vec<_> = data.files().map(|f| f.content.as_str()).collect();
            assert_eq!(written, if way == Way::Injected { vec!["s3cret"] } else { vec![] });
        }
    }

    #[test]
    fn what_is_no_user_data_is_refused() {
        for text in ["packages: [ztnode]\n", "#cloud-config\npackages: [nginx]\n", "#cloud-config\n[1, 2\n"] {
            assert!(UserData::parse(text.to_owned()).is_err(), "{text}");
        }
    }
}
