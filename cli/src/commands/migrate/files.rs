//! Reading files of somebody else's home with care, and putting files into ours so that none is ever there by half.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown, lchown};
use std::path::Path;

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

/// A file's content.
pub(super) struct Content {
    /// All of it; may be secret.
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// Its permissions.
    pub(super) mode: u32,
}

/// Opens a regular file; `None` if there is nothing of this name. Links are not followed: with root's rights they could
/// lead anywhere.
pub(super) fn open_regular(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(Some(file)),
        Ok(_) => Err(io::Error::other("is no regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(_) if is_link(path) => {
            Err(io::Error::other("is a symbolic link; put what it leads to in its place"))
        }
        Err(error) => Err(error),
    }
}

/// Reads a regular file of at most `limit` bytes; `None` if there is nothing of this name.
pub(super) fn read_bounded(path: &Path, limit: u64) -> io::Result<Option<Content>> {
    let Some(file) = open_regular(path)? else { return Ok(None) };
    let mode = file.metadata()?.mode();
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("is larger than {limit} bytes, which no such file is")));
    }
    Ok(Some(Content { bytes, mode }))
}

/// The names in a folder in their order, at most `limit`; empty if there is no such folder.
pub(super) fn names(folder: &Path, limit: usize) -> io::Result<Vec<String>> {
    match fs::symlink_metadata(folder) {
        Ok(meta) if meta.is_dir() => {}
        Ok(meta) if meta.is_symlink() => {
            return Err(io::Error::other("is a symbolic link; put what it leads to in its place"));
        }
        Ok(_) => return Err(io::Error::other("is no folder")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        if names.len() >= limit {
            return Err(io::Error::other(format!("has more than {limit} entries")));
        }
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether this name is a symbolic link.
pub(super) fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink())
}

/// Whether anything has this name.
pub(super) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// To whom new files go: user and group, where that is somebody else than we are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Owner(Option<(u32, u32)>);

impl Owner {
    /// The owner of a folder. Only root can give files away.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let meta = fs::metadata(folder)?;
        let give = nix::unistd::Uid::effective().is_root() && (meta.uid(), meta.gid()) != (0, 0);
        Ok(Self(give.then_some((meta.uid(), meta.gid()))))
    }

    /// Gives an open file away.
    pub(super) fn take_file(self, file: &File) -> io::Result<()> {
        self.0.map_or(Ok(()), |(user, group)| fchown(file, Some(user), Some(group)))
    }

    /// Makes a folder unless it is there.
    pub(super) fn folder(self, path: &Path, mode: u32) -> io::Result<()> {
        match DirBuilder::new().mode(mode).create(path) {
            Ok(()) => self.0.map_or(Ok(()), |(user, group)| lchown(path, Some(user), Some(group))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() && !is_link(path) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Puts a file in place: under another name first, written through to the disk and with its owner, then renamed.
    pub(super) fn put(self, path: &Path, content: &mut dyn io::Read, mode: u32) -> io::Result<()> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(".migrating");
        let temporary = path.with_file_name(temporary);
        // What an interrupted run left.
        let _ = fs::remove_file(&temporary);
        let mut write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
            io::copy(content, &mut file)?;
            file.flush()?;
            self.take_file(&file)?;
            file.sync_all()?;
            fs::rename(&temporary, path)?;
            path.parent().map_or(Ok(()), sync)
        };
        write().inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
    }
}

/// Writes a folder's entries through to the disk.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
