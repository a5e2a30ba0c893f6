//! The files of a home by their names in it: what every store of the home is built on.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::StartError;
use super::files::{self, Durability, write_atomically};

/// A home directory, by its path.
#[derive(Clone, Debug)]
pub(super) struct Directory(Arc<Path>);

impl Directory {
    pub(super) fn new(root: &Path) -> Self {
        Directory(root.into())
    }

    pub(super) fn root(&self) -> &Path {
        &self.0
    }

    /// The path of a file or folder in it.
    pub(super) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// The content of a file; `None` without one.
    pub(super) fn read(&self, name: impl AsRef<Path>) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The same of a file without which the node does not start when it cannot be read.
    pub(super) fn require(&self, name: &str) -> Result<Option<Vec<u8>>, StartError> {
        self.read(name).map_err(|e| StartError::io("read the file", &self.path(name), &e))
    }

    /// An error about one of its files.
    pub(super) fn complain(&self, what: &str, name: &str, remedy: &str) -> StartError {
        StartError::new(what, self.path(name).display().to_string(), remedy)
    }

    /// Replaces a file without which the node does not start.
    pub(super) fn put(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), StartError> {
        let path = self.path(name);
        write_atomically(&path, bytes, mode, Durability::Durable)
            .map_err(|e| StartError::io("write the file", &path, &e))
    }

    /// Replaces a file so that it survives a power failure; the folder that it belongs into is made.
    pub(super) fn write(&self, name: impl AsRef<Path>, bytes: &[u8], mode: u32) -> io::Result<()> {
        let path = self.path(name);
        if let Some(folder) = path.parent().filter(|folder| *folder != self.root()) {
            fs::create_dir_all(folder)?;
        }
        write_atomically(&path, bytes, mode, Durability::Durable)
    }

    /// Removes a file that may be absent.
    pub(super) fn remove(&self, name: impl AsRef<Path>) {
        files::remove(&self.path(name));
    }

    /// The same, where it matters that it is gone.
    ///
    /// # Errors
    /// It is still there.
    pub(super) fn remove_surely(&self, name: impl AsRef<Path>) -> io::Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether there is something of that name, a link that leads nowhere included.
    pub(super) fn has(&self, name: impl AsRef<Path>) -> bool {
        fs::symlink_metadata(self.path(name)).is_ok()
    }

    /// False only if there is certainly no such file.
    pub(super) fn may_have(&self, name: &str) -> bool {
        !fs::symlink_metadata(self.path(name)).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// False only if there is certainly nothing in this folder.
    pub(super) fn may_have_files_in(&self, folder: &str) -> bool {
        match fs::read_dir(self.path(folder)) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Files of `folder` named by `digits` hex digits and `suffix`: number and file name, in order of the number.
    pub(super) fn list(&self, folder: &str, digits: usize, suffix: &str) -> Vec<(u64, String)> {
        let entries = match fs::read_dir(self.path(folder)) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                tracing::warn!(folder = %self.path(folder).display(), %error, "cannot list the folder; check its owner and mode");
                return Vec::new();
            }
        };
        let mut found: Vec<_> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| Some((hex_name(&name, digits, suffix)?, name)))
            .collect();
        found.sort_unstable();
        found
    }

    /// Names of what lies in the home itself.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let entries = fs::read_dir(self.root()).into_iter().flatten();
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
    }

    /// Renamed and removed names survive a power failure.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(self.root())?.sync_all()
    }
}

/// The number in a file name of `digits` hex digits and `suffix`.
pub(super) fn hex_name(name: &str, digits: usize, suffix: &str) -> Option<u64> {
    let hex = name.strip_suffix(suffix)?;
    let valid = hex.len() == digits && hex.bytes().all(|b| b.is_ascii_hexdigit());
    valid.then(|| u64::from_str_radix(hex, 16).ok()).flatten()
}
