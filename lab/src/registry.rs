//! Which labs exist, and how they are removed: by name, whoever made them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::namespace::PREFIX;
use crate::tool;

/// Where labs keep their files. `ZTLAB_DIR` overrides it.
pub fn base() -> PathBuf {
    std::env::var_os("ZTLAB_DIR").map_or_else(|| PathBuf::from("/run/ztlab"), PathBuf::from)
}

/// A lab's name goes into namespace names and paths.
///
/// # Errors
/// Anything but 1–12 ASCII letters and digits: a dash would make one lab's prefix match another's namespaces.
pub fn check_name(name: &str) -> Result<()> {
    if (1..=12).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Ok(());
    }
    bail!("`{name}` is no name for a lab: 1 to 12 letters and digits")
}

/// Reserves `name` and makes its directory. The entry names this process as the owner.
///
/// # Errors
/// When the name is bad, or a lab of this name exists.
pub fn enter(name: &str) -> Result<PathBuf> {
    check_name(name)?;
    let dir = base().join(name);
    fs::create_dir_all(base())?;
    fs::create_dir(&dir)
        .with_context(|| format!("lab {name} exists already ({}): `ztlab down {name}`", dir.display()))?;
    fs::write(dir.join("owner"), std::process::id().to_string())?;
    Ok(dir)
}

/// Marks a lab to outlive its owner.
///
/// # Errors
/// When the lab's directory cannot be written.
pub fn keep(name: &str) -> Result<()> {
    Ok(fs::write(base().join(name).join("keep"), "")?)
}

/// The namespaces of lab `name`, or of all labs.
///
/// # Errors
/// When the directory of namespaces cannot be read.
pub fn namespaces(name: Option<&str>) -> Result<Vec<String>> {
    let prefix = name.map_or_else(|| PREFIX.to_owned(), |name| format!("{PREFIX}{name}-"));
    let Ok(entries) = fs::read_dir("/run/netns") else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(&prefix) {
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

/// All labs that left a trace: directories and namespaces.
///
/// # Errors
/// When the trace cannot be read.
pub fn all() -> Result<Vec<String>> {
    let mut labs: Vec<String> = namespaces(None)?
        .iter()
        .filter_map(|ns| ns[PREFIX.len()..].split('-').next().map(str::to_owned))
        .collect();
    if let Ok(entries) = fs::read_dir(base()) {
        for entry in entries {
            labs.push(entry?.file_name().to_string_lossy().into_owned());
        }
    }
    labs.sort();
    labs.dedup();
    Ok(labs)
}

/// Ends a lab: its processes (everything that runs in its namespaces), its namespaces with all interfaces, its files.
///
/// # Errors
/// When something of it is left after that.
pub fn down(name: &str) -> Result<()> {
    check_name(name)?;
    let namespaces = namespaces(Some(name))?;
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut alive = false;
        for namespace in &namespaces {
            for pid in tool::run("ip", &["netns", "pids", namespace])?.split_whitespace() {
                alive = true;
                // It may have ended since; then there is nothing to signal.
                let _ = kill(Pid::from_raw(pid.parse()?), signal);
            }
        }
        if !alive {
            break;
        }
        let _ =
            tool::wait_for("the lab's processes", Duration::from_secs(3), Duration::from_millis(20), || {
                for namespace in &namespaces {
                    // Zombies of a living parent have left their namespace already.
                    if !tool::run("ip", &["netns", "pids", namespace])?.trim().is_empty() {
                        return Ok(None);
                    }
                }
                Ok(Some(()))
            });
    }
    for namespace in &namespaces {
        tool::run("ip", &["netns", "del", namespace])?;
    }
    remove_directory(&base().join(name))?;
    // The parent goes too when this was the last lab.
    let _ = fs::remove_dir(base());
    Ok(())
}

fn remove_directory(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// Removes labs whose owner is gone and which were not meant to stay.
///
/// # Errors
/// When one of them cannot be removed.
pub fn sweep() -> Result<()> {
    let Ok(entries) = fs::read_dir(base()) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let dir = entry.path();
        let Ok(owner) = fs::read_to_string(dir.join("owner")) else { continue };
        let gone = !Path::new("/proc").join(owner.trim()).exists();
        if gone && !dir.join("keep").exists() {
            down(&entry.file_name().to_string_lossy())?;
        }
    }
    Ok(())
}
