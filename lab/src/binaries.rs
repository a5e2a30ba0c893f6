//! Finding the programs that the lab starts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

/// The daemon and its command-line tool.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `ztnode`
    pub ztnode: PathBuf,
    /// `ztnode-cli`
    pub cli: PathBuf,
}

/// Our programs: those in the folder that `ZTNODE_BIN_DIR` names, else those of the Cargo profile this program itself
/// was built with. The latter are brought up to date once per process, since `cargo test` of one package does not build
/// the binaries of another.
///
/// # Errors
/// When they cannot be found or built.
pub fn ours() -> Result<&'static Binaries> {
    static FOUND: OnceLock<Result<Binaries, String>> = OnceLock::new();
    match FOUND.get_or_init(|| find().map_err(|error| format!("{error:#}"))) {
        Ok(binaries) => Ok(binaries),
        Err(error) => bail!("{error}"),
    }
}

fn find() -> Result<Binaries> {
    let folder = match std::env::var_os("ZTNODE_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => beside_us()?,
    };
    let binaries = Binaries { ztnode: folder.join("ztnode"), cli: folder.join("ztnode-cli") };
    for path in [&binaries.ztnode, &binaries.cli] {
        if !path.is_file() {
            bail!(
                "no program {}: build it with `cargo build`, or name its folder in ZTNODE_BIN_DIR",
                path.display()
            );
        }
    }
    Ok(binaries)
}

/// `target/<profile>`, with fresh binaries when Cargo started us.
fn beside_us() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let mut folder = program.parent().context("a program lies in a folder")?;
    if folder.ends_with("deps") {
        folder = folder.parent().context("deps lies in the profile's folder")?;
    }
    if let Some(cargo) = std::env::var_os("CARGO") {
        build(Path::new(&cargo), folder)?;
    }
    Ok(folder.to_owned())
}

fn build(cargo: &Path, folder: &Path) -> Result<()> {
    let mut command = Command::new(cargo);
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    command.args(["build", "--quiet", "--package", "node", "--package", "cli", "--bins"]);
    if folder.ends_with("release") {
        command.arg("--release");
    }
    if let Some(target) = folder.parent() {
        command.arg("--target-dir").arg(target);
    }
    let status = command.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo could not build ztnode and ztnode-cli");
    }
    Ok(())
}

/// An older version of our daemon: `ZTNODE_OLD` names the folder of its programs.
pub fn older() -> Option<PathBuf> {
    let folder = std::env::var_os("ZTNODE_OLD").filter(|path| !path.is_empty())?;
    Some(PathBuf::from(folder).join("ztnode"))
}

/// The reference implementation: `ZEROTIER_ONE` names its binary.
pub fn reference() -> Option<PathBuf> {
    std::env::var_os("ZEROTIER_ONE").filter(|path| !path.is_empty()).map(PathBuf::from)
}
