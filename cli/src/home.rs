//! The home directory: where it is, what a client reads from it, and how files are written there.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Name of the daemon's Unix socket inside the home directory.
pub const SOCKET_NAME: &str = "ztnode.sock";

/// The home of an installed package.
pub const PACKAGED_HOME: &str = "/var/lib/ztnode";

/// The port of a node unless its settings say otherwise.
const USUAL_PORT: u16 = 9993;

/// Longest port or token file worth reading, in bytes.
const SMALL_FILE: u64 = 4096;

/// `$ZEROTIER_HOME`, or the platform's usual place (Specification: home directory).
pub fn default_home() -> PathBuf {
    match std::env::var_os("ZEROTIER_HOME") {
        Some(home) if !home.is_empty() => home.into(),
        _ if cfg!(target_os = "macos") => "/Library/Application Support/ZeroTier/One".into(),
        _ if cfg!(any(target_os = "freebsd", target_os = "openbsd", target_os = "netbsd")) => {
            "/var/db/zerotier-one".into()
        }
        // The home of an installed package; the daemon prefers it in the same way.
        _ if Path::new(PACKAGED_HOME).is_dir() => PACKAGED_HOME.into(),
        _ => "/var/lib/zerotier-one".into(),
    }
}

/// The port the daemon wrote at its last start; `None` when the file is absent or no port. Who may not look into the home, and
/// has a token of his own, is given the usual one.
pub fn read_port(home: &Path) -> Option<u16> {
    let text = match read_small(&home.join("zerotier-one.port")) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Some(USUAL_PORT),
        other => other.ok()?,
    };
    text.trim().parse().ok().filter(|port| *port != 0)
}

/// The API token: `<home>/authtoken.secret`, else the per-user file in `$HOME`. Surrounding white space (which an
/// editor or `echo` leaves behind) is no part of it. A file that cannot be read counts as absent.
pub fn find_token(home: &Path) -> Option<Zeroizing<String>> {
    let user = std::env::var_os("HOME").map(PathBuf::from).map(|home| {
        let name = if cfg!(target_os = "macos") {
            "Library/Application Support/ZeroTier/One/authtoken.secret"
        } else {
            ".zeroTierOneAuthToken"
        };
        home.join(name)
    });
    [Some(home.join("authtoken.secret")), user].into_iter().flatten().find_map(|path| {
        let text = Zeroizing::new(read_small(&path).ok()?);
        let token = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!token.is_empty()).then(|| Zeroizing::new(token.to_owned()))
    })
}

fn read_small(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(SMALL_FILE).read_to_string(&mut text)?;
    Ok(text)
}

/// Replaces `path` with `bytes` so that a reader, or a machine that loses power, sees the old file or the new one
/// and nothing between: written under another name, synced, renamed. `mode` is the file's permissions.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut temporary_name = OsStr::new(".").to_owned();
    temporary_name.push(name);
    temporary_name.push(format!(".{}.tmp", std::process::id()));
    let temporary = directory.join(temporary_name);
    // A leftover of a crashed process with our id would have its own permissions.
    let _ = fs::remove_file(&temporary);
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(directory)?.sync_all()
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// [`write_atomic`] for a file of a home directory: when root writes into the directory of a daemon that has dropped
/// its privileges, the file goes to that directory's owner, who could not read a secret otherwise.
pub fn write_home(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_atomic(path, bytes, mode)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (directory, file) = (fs::metadata(parent)?, fs::metadata(path)?);
    let sticky = directory.mode() & 0o1000 != 0;
    if file.uid() == 0 && directory.uid() != 0 && !sticky {
        std::os::unix::fs::chown(path, Some(directory.uid()), Some(directory.gid()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn an_atomic_write_replaces_and_sets_the_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("planet.key");
        fs::write(&path, "old").unwrap();
        write_atomic(&path, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays behind");
    }

    #[test]
    fn a_failed_write_says_so_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write_atomic(&dir.path().join("absent/planet"), b"x", 0o644).is_err());
    }

    #[test]
    fn the_token_is_trimmed_and_the_port_must_be_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("authtoken.secret"), " abc\r\n\0").unwrap();
        assert_eq!(find_token(dir.path()).unwrap().as_str(), "abc");
        for (text, port) in
            [("9993", Some(9993)), ("9993\n", Some(9993)), ("0", None), ("70000", None), ("x", None)]
        {
            fs::write(dir.path().join("zerotier-one.port"), text).unwrap();
            assert_eq!(read_port(dir.path()), port, "{text}");
        }
    }
}
