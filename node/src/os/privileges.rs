//! Giving up what root may do and this program does not need, and handing root's files to the user that goes on.
//!
//! Specification: capabilities(7); local service, "start and stop". Only to be used while the process has one thread: the
//! kernel keeps capabilities per thread.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use caps::{CapSet, Capability, CapsHashSet};
use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{Gid, Uid, User, fchownat, setgroups, setresgid, setresuid};

/// All that a node needs: interfaces, addresses and routes; sockets on one interface; ports below 1024.
pub const KEPT: [Capability; 3] =
    [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW, Capability::CAP_NET_BIND_SERVICE];

/// Folders are entered no deeper than this below the home.
const MAX_DEPTH: usize = 8;

/// A user of this system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// User ID.
    pub uid: u32,
    /// ID of its own group.
    pub gid: u32,
}

impl Account {
    /// The account of this name; `None` = there is none.
    ///
    /// # Errors
    /// The user database cannot be read.
    pub fn find(name: &str) -> io::Result<Option<Self>> {
        let user = User::from_name(name)?;
        Ok(user.map(|user| Account { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }))
    }
}

/// Whether we are root.
pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Whether CAP_NET_ADMIN is in our effective set.
pub fn may_administer_network() -> bool {
    caps::has_cap(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap_or(false)
}

/// Becomes `account` for good, with those of the capabilities in [`KEPT`] that we have, and no way to get others.
/// Returns the ones kept.
///
/// # Errors
/// The kernel refuses. Then parts of it may have happened: the process must end.
pub fn become_user(account: &Account) -> io::Result<Vec<Capability>> {
    let permitted = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
    let kept: Vec<_> = KEPT.into_iter().filter(|c| permitted.contains(c)).collect();
    let set: CapsHashSet = kept.iter().copied().collect();
    // What is not in the bounding set can never be had again. It can only be changed while we are root.
    if permitted.contains(&Capability::CAP_SETPCAP) {
        for capability in caps::all().difference(&set) {
            // The kernel may not know the newest ones.
            if caps::has_cap(None, CapSet::Bounding, *capability).unwrap_or(false) {
                caps::drop(None, CapSet::Bounding, *capability).map_err(io::Error::other)?;
            }
        }
    }
    nix::sys::prctl::set_keepcaps(true)?;
    let gid = Gid::from_raw(account.gid);
    setgroups(&[gid])?;
    setresgid(gid, gid, gid)?;
    let uid = Uid::from_raw(account.uid);
    setresuid(uid, uid, uid)?;
    // Programs that we might start get none.
    let nothing = CapsHashSet::new();
    for (of, set) in [(CapSet::Effective, &set), (CapSet::Permitted, &set), (CapSet::Inheritable, &nothing)] {
        caps::set(None, of, set).map_err(io::Error::other)?;
    }
    nix::sys::prctl::set_no_new_privs()?;
    Ok(kept)
}

/// Makes the directory `root` itself, and those of `names` in it with all they contain, the property of `account`. Symbolic
/// links are not followed, other file systems not entered, and files that have a second name elsewhere are left alone: they
/// may be somebody else's. Returns how many changed hands.
///
/// # Errors
/// The first that the kernel refuses.
pub fn adopt(root: &Path, names: &[impl AsRef<OsStr>], account: &Account) -> io::Result<usize> {
    let folder = File::open(root)?;
    let device = folder.metadata()?.dev();
    let mut changed = usize::from(give(&folder, &fstat(&folder)?, account)?);
    for name in names {
        changed += adopt_below(&folder, name.as_ref(), device, account, MAX_DEPTH)?;
    }
    Ok(changed)
}

fn adopt_below(
    folder: impl AsFd,
    name: &OsStr,
    device: u64,
    account: &Account,
    depth: usize,
) -> io::Result<usize> {
    // The descriptor stands for this very file, whatever happens to its name meanwhile.
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = match openat(&folder, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(nix::errno::Errno::ENOENT) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let stat = fstat(&file)?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    if stat.st_dev != device || (kind != SFlag::S_IFDIR && stat.st_nlink > 1) {
        tracing::debug!(?name, "not adopted: on another file system, or with a second name");
        return Ok(0);
    }
    let mut changed = usize::from(give(&file, &stat, account)?);
    if kind == SFlag::S_IFDIR && depth > 0 {
        for inner in names_in(&file)? {
            changed += adopt_below(&file, &inner, device, account, depth - 1)?;
        }
    }
    Ok(changed)
}

fn names_in(folder: &OwnedFd) -> io::Result<Vec<std::ffi::OsString>> {
    use std::os::unix::ffi::OsStrExt as _;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut names = Vec::new();
    for entry in Dir::from_fd(openat(folder, ".", flags, Mode::empty())?)?.iter() {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn give(file: impl AsFd, stat: &FileStat, account: &Account) -> io::Result<bool> {
    if (stat.st_uid, stat.st_gid) == (account.uid, account.gid) {
        return Ok(false);
    }
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    fchownat(&file, "", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    use super::*;

    fn nobody() -> Account {
        Account { name: "nobody".into(), uid: 65534, gid: 65534 }
    }

    #[test]
    fn accounts_by_name() {
        assert_eq!(Account::find("root").unwrap().map(|a| (a.uid, a.gid)), Some((0, 0)));
        assert_eq!(Account::find("no-such-account").unwrap(), None);
    }

    #[test]
    fn adopts_what_is_named_and_nothing_else() {
        if !is_root() {
            eprintln!("skipped: only root can give files away");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let outside = folder.path().join("outside");
        fs::create_dir_all(home.join("networks.d/deep")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "x").unwrap();
        for name in ["identity.secret", "notes", "networks.d/deep/a.conf"] {
            fs::write(home.join(name), "x").unwrap();
        }
        symlink(&outside, home.join("moons.d")).unwrap();
        fs::hard_link(outside.join("precious"), home.join("planet")).unwrap();
        let names = ["identity.secret", "networks.d", "moons.d", "planet", "absent"];
        assert_eq!(adopt(&home, &names, &nobody()).unwrap(), 6);
        assert_eq!(adopt(&home, &names, &nobody()).unwrap(), 0);
        let owner = |path: &Path| fs::symlink_metadata(path).unwrap().uid();
        for name in
            ["", "identity.secret", "networks.d", "networks.d/deep", "networks.d/deep/a.conf", "moons.d"]
        {
            assert_eq!(owner(&home.join(name)), 65534, "{name}");
        }
        for path in [home.join("notes"), home.join("planet"), outside.clone(), outside.join("precious")] {
            assert_eq!(owner(&path), 0, "{path:?}");
        }
    }

    /// In a process of its own, since it cannot be undone.
    #[test]
    #[allow(unsafe_code)]
    fn keeps_three_capabilities_and_no_way_back() {
        if !is_root() {
            eprintln!("skipped: only root has something to give up");
            return;
        }
        // SAFETY: the child calls what may allocate, which is fine with the allocators of the supported C libraries (they take
        // care of fork), and leaves by `_exit`.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
            }
            ForkResult::Child => {
                let status = i32::from(!matches!(given_up(), Ok(true)));
                // SAFETY: ends this process without running what belongs to the parent.
                unsafe { libc::_exit(status) }
            }
        }
    }

    fn given_up() -> io::Result<bool> {
        let before = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
        let kept = become_user(&nobody())?;
        let expected: CapsHashSet = KEPT.into_iter().filter(|c| before.contains(c)).collect();
        let is = |of, set: &CapsHashSet| caps::read(None, of).is_ok_and(|now| now == *set);
        let bounded = !before.contains(&Capability::CAP_SETPCAP)
            || caps::read(None, CapSet::Bounding).is_ok_and(|now| now.is_subset(&expected));
        Ok(kept.into_iter().collect::<CapsHashSet>() == expected
            && is(CapSet::Effective, &expected)
            && is(CapSet::Permitted, &expected)
            && is(CapSet::Inheritable, &CapsHashSet::new())
            && bounded
            && nix::unistd::getgroups().is_ok_and(|groups| groups == [Gid::from_raw(65534)])
            && Uid::effective().as_raw() == 65534
            && setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_err()
            && nix::sys::prctl::get_no_new_privs().unwrap_or(false))
    }
}
