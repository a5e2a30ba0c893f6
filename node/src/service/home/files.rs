//! Writing files so that a crash leaves the old or the new content, never a mixture.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::SystemTime;

/// How much a lost write would hurt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Durability {
    /// It must survive a power failure once written.
    Durable,
    /// It can be learned again; only tearing must not happen.
    Cache,
}

/// Replaces `path` by a file with this content and mode (less the umask), unless it has that content already.
///
/// # Errors
/// What the operating system says; `path` is then as before.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
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
    let strict = fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o777 == 0o600);
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
