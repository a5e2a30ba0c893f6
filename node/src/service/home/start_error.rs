//! Why the node cannot start, for people.

use std::io;
use std::path::Path;

/// Why the node cannot start: what, where, and what to do, in one line.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {place}: {remedy}")]
pub struct StartError {
    what: String,
    place: String,
    remedy: String,
}

impl StartError {
    /// An error about `place`.
    pub fn new(what: impl Into<String>, place: impl Into<String>, remedy: impl Into<String>) -> Self {
        let one_line = |text: String| text.replace(['\n', '\r'], " ");
        StartError {
            what: one_line(what.into()),
            place: one_line(place.into()),
            remedy: one_line(remedy.into()),
        }
    }

    pub(super) fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "run as the owner of the home directory or as root, or name another with --home"
            }
            io::ErrorKind::StorageFull => "free some space",
            io::ErrorKind::ReadOnlyFilesystem => {
                "make the file system writable, or name another home with --home"
            }
            _ => "check the path, or name another home with --home",
        };
        StartError::new(format!("cannot {doing} ({error})"), path.display().to_string(), remedy)
    }
}
