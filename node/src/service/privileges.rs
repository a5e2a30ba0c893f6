//! A start as root, without a service manager that took care of it: what is done before anything else.
//!
//! Specification: local service, "start and stop". The home's files go to the user, then the process does, keeping three
//! capabilities. Under systemd the unit does the same and nothing here applies.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::Path;

use super::args::Options;
use super::home::{self, Home, STATE_NAMES, StartError};
use crate::os::priority;
use crate::os::privileges::{self, Account};

/// The user that the package makes.
const USER: &str = "ztnode";
/// What TAP devices are made with.
const TUN: &str = "/dev/net/tun";
/// Its mode where udev runs: whoever uses it needs CAP_NET_ADMIN anyway.
const TUN_MODE: u32 = 0o666;

/// Gives up root's privileges, if we have them and are not told to keep them.
///
/// # Errors
/// The user named by `--user` is not there; the home is not for it; the kernel refuses.
pub fn give_up(options: &Options) -> Result<(), StartError> {
    if !privileges::is_root() {
        return match &options.user {
            Some(user) if !is_me(user) => Err(StartError::new(
                "only root can go on as another user",
                format!("--user {user}"),
                "start as root, or leave the switch out",
            )),
            _ => Ok(()),
        };
    }
    if options.stay_root {
        return Ok(());
    }
    let account = match &options.user {
        Some(user) => Some(named(user)?),
        None => look_up(USER)?,
    };
    let Some(account) = account else {
        tracing::info!(
            "running as root: there is no user {USER} to go on as; make one (useradd --system {USER}), name one with --user, or say -U"
        );
        return Ok(());
    };
    if account.uid == 0 {
        return Ok(());
    }
    let root = home::choose(options.home.clone());
    hand_over(&root, &account)?;
    if let Err(error) = priority::permit() {
        tracing::debug!(%error, "the threads that move packets will not be able to go before others");
    }
    let kept = privileges::become_user(&account).map_err(|error| {
        StartError::new(
            format!("privileges cannot be given up ({error})"),
            format!("user {}", account.name),
            "-U goes on as root",
        )
    })?;
    reachable(&root, &account)?;
    let kept: Vec<_> = kept.iter().map(ToString::to_string).collect();
    tracing::info!(user = account.name, capabilities = kept.join(" "), "gave up root's privileges");
    Ok(())
}

/// Only hands the home's files over.
///
/// # Errors
/// As [`give_up`].
pub fn adopt(options: &Options) -> Result<(), StartError> {
    let name = options.user.as_deref().unwrap_or(USER);
    hand_over(&home::choose(options.home.clone()), &named(name)?)
}

fn is_me(name: &str) -> bool {
    Account::find(name).is_ok_and(|a| a.is_some_and(|a| a.uid == nix::unistd::Uid::effective().as_raw()))
}

/// The account of this name, which has to be there.
fn named(name: &str) -> Result<Account, StartError> {
    look_up(name)?.ok_or_else(|| no_account(name, "there is no such user".into()))
}

fn look_up(name: &str) -> Result<Option<Account>, StartError> {
    Account::find(name).map_err(|e| no_account(name, format!("the user cannot be looked up ({e})")))
}

fn no_account(name: &str, what: String) -> StartError {
    let remedy = format!("make it (useradd --system {name}), or name another with --user");
    StartError::new(what, format!("user {name}"), remedy)
}

/// Makes the home if need be, and makes it the user's.
fn hand_over(root: &Path, account: &Account) -> Result<(), StartError> {
    let failed = |error: io::Error| {
        let place = root.display().to_string();
        let what = format!("the home directory cannot be given to user {} ({error})", account.name);
        StartError::new(what, place, "give it away by hand (chown -R), or go on as root with -U")
    };
    if !root.exists() {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(root).map_err(failed)?;
    }
    // Nobody else's home changes hands while it is in use.
    let home = Home::claim(root)?;
    suitable(&home)?;
    let changed = privileges::adopt(root, STATE_NAMES, account).map_err(failed)?;
    drop(home);
    open_device(Path::new(TUN));
    if changed > 0 {
        tracing::info!(home = %root.display(), user = account.name, files = changed, "the home directory is the user's now");
    }
    Ok(())
}

/// Lets others than root open the device, as udev does. Containers often have no udev.
fn open_device(path: &Path) {
    let Ok(meta) = fs::metadata(path) else { return };
    if meta.file_type().is_char_device() && meta.permissions().mode() & TUN_MODE != TUN_MODE {
        match fs::set_permissions(path, fs::Permissions::from_mode(TUN_MODE)) {
            Ok(()) => {
                tracing::info!(device = %path.display(), "opened to others than root, as udev does; making interfaces still needs CAP_NET_ADMIN");
            }
            Err(error) => {
                tracing::warn!(device = %path.display(), %error, "only root may open it, so no network can be joined; set its mode to 0666");
            }
        }
    }
}

/// Refuses directories that are hardly a home: a slip of the keyboard must not give away a system's directories.
fn suitable(home: &Home) -> Result<(), StartError> {
    let root = home.root();
    let refused = |what: &str| {
        let remedy = "name a directory of the node's own with --home, or go on as root with -U";
        Err(StartError::new(what, root.display().to_string(), remedy))
    };
    let open_to_all = fs::metadata(root).is_ok_and(|m| m.permissions().mode() & 0o002 != 0);
    if open_to_all {
        return refused("the home directory must not be one where everybody may write");
    }
    if !home.looks_like_a_home() {
        return refused("this directory has content, and none that a node would have put there");
    }
    Ok(())
}

/// Whether the user can get at its home: it may own it, and yet not be let through to it.
fn reachable(root: &Path, account: &Account) -> Result<(), StartError> {
    fs::read_dir(root).map(drop).map_err(|error| {
        StartError::new(
            format!("user {} cannot reach the home directory ({error})", account.name),
            root.display().to_string(),
            "put it where the user may go, or go on as root with -U",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_home_changes_hands() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let judge = |path: &Path| suitable(&Home::claim(path).unwrap());
        assert!(judge(root).is_ok(), "empty");
        fs::write(root.join("passwd"), "x").unwrap();
        assert!(judge(root).is_err());
        fs::create_dir(root.join("networks.d")).unwrap();
        assert!(judge(root).is_ok());
        fs::set_permissions(root, fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(judge(root).unwrap_err().to_string().contains("everybody"));
        for system in ["/", "/etc", "/usr", "/tmp"] {
            assert!(judge(Path::new(system)).is_err(), "{system}");
        }
    }

    #[test]
    fn a_named_user_must_exist() {
        let error = named("no-such-account").unwrap_err().to_string();
        assert!(error.contains("no-such-account") && error.contains("useradd"), "{error}");
    }
}
