//! Writing files so that a crash leaves the old or the new content, never a mixture.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Links followed in the name of a file, as many as the kernel does.
const MAX_LINKS: usize = 40;

/// How much a lost write would hurt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Durability {
    /// It must survive a power failure once written.
    Durable,
    /// It can be learned again; only tearing must not happen.
    Cache,
}

/// Replaces `path` by a file with this content and mode (less the umask), unless it has that content already. What a symbolic
/// link leads to is replaced where it is, and the link stays: whoever put it there keeps that file elsewhere.
///
/// # Errors
/// What the operating system says; `path` is then as before.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let path = &follow(path)?;
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return match durability {
            Durability::Durable => Ok(()),
            // How old it is decides what becomes of it.
            Durability::Cache => OpenOptions::new().write(true).open(path)?.set_modified(SystemTime::now()),
        };
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(".tmp");
    let temporary = folder.join(temporary);
    // One left by a crash may have another mode or owner.
    remove(&temporary);
    let written = fill(&temporary, bytes, mode, durability).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        remove(&temporary);
        return Err(error);
    }
    if durability == Durability::Durable {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Where a chain of symbolic links ends; the file itself need not be there.
///
/// # Errors
/// The links go round in a circle, or cannot be read.
pub(super) fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut at = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&at) {
            Ok(to) => at = at.parent().unwrap_or(Path::new("/")).join(to),
            // No link, or nothing.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => {
                return Ok(at);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

fn fill(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    if durability == Durability::Durable {
        file.sync_all()?;
    }
    Ok(())
}

/// Makes a secret readable by its owner only.
pub(super) fn restrict(path: &Path) {
    restrict_to(path, &[0o600]);
}

/// Makes the API token readable by its owner only, unless somebody let our own group read it: its members control the node by
/// the socket anyway.
pub(super) fn restrict_token(path: &Path) {
    let ours = fs::metadata(path).is_ok_and(|meta| meta.gid() == nix::unistd::Gid::effective().as_raw());
    restrict_to(path, if ours { &[0o600, 0o640] } else { &[0o600] });
}

fn restrict_to(path: &Path, modes: &[u32]) {
    let strict = fs::metadata(path).is_ok_and(|m| modes.contains(&(m.permissions().mode() & 0o777)));
    if !strict && let Err(error) = fs::set_permissions(path, Permissions::from_mode(0o600)) {
        tracing::warn!(path = %path.display(), %error, "cannot make the secret private; set its mode to 0600");
    }
}

/// Removes a file that may be absent.
pub(super) fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), error = %e, "cannot remove the file; check its owner and mode");
        }
        _ => {}
    }
}
