//! What becomes of the node's identity: whether it may be replaced, and where one that was put aside is kept.
//!
//! A file says of an identity that it was made here and that no root ever accepted it. It goes when the first root does: a full
//! disk, an old backup, an identity put here by hand or a home of an earlier version then all mean "keep it".

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::{Address, SecretIdentity};
use zeroize::Zeroizing;

use super::directory::Directory;
use super::{StartError, files};

/// The identity with its secret keys.
pub(super) const SECRET: &str = "identity.secret";
/// The identity as others know it.
pub(super) const PUBLIC: &str = "identity.public";
/// The machine the identity belongs to: address and keyed hash.
pub(super) const MACHINE: &str = "identity.machine";
/// The address of an identity that was made here and that no root accepted yet.
pub(super) const NEW: &str = "identity.new";
/// What an identity that collided was called by zerotier-one and by earlier versions.
pub(super) const FORMERLY_RETIRED: &str = "identity.secret.saved_after_collision";
/// What an identity put aside after a collision is called, with its address and the time behind.
const RETIRED: &str = "identity.secret.saved.";
/// What an identity given up for a clone is called, with its address and the time behind.
const GIVEN_UP: &str = "identity.secret.old-";

/// The identity's files.
#[derive(Debug)]
pub struct IdentityFiles {
    directory: Directory,
}

impl IdentityFiles {
    pub(super) fn new(directory: Directory) -> Self {
        IdentityFiles { directory }
    }

    /// Our identity; `None` = to be made.
    ///
    /// # Errors
    /// It is damaged or unreadable.
    pub(super) fn read(&self) -> Result<Option<SecretIdentity>, StartError> {
        let Some(bytes) = self.directory.require(SECRET)?.map(Zeroizing::new) else { return Ok(None) };
        let damaged = |how: &str| {
            let remedy =
                "restore it from a backup, or move it away to start as a new node with a new address";
            self.directory.complain(&format!("the identity is damaged ({how})"), SECRET, remedy)
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged("no text"))?;
        let identity = SecretIdentity::parse(text.trim_matches([' ', '\t', '\r', '\n', '\0']))
            .map_err(|error| damaged(&error.to_string()))?;
        if !identity.is_consistent() || !identity.identity().locally_valid() {
            return Err(damaged("its keys and address do not belong together"));
        }
        Ok(Some(identity))
    }

    /// Completes the files of the identity that was read; without one, makes one.
    ///
    /// # Errors
    /// A file cannot be written, or another process was faster.
    pub(super) fn complete(&self, read: Option<SecretIdentity>) -> Result<SecretIdentity, StartError> {
        let identity = match read {
            Some(identity) => {
                files::restrict(&self.directory.path(SECRET));
                identity
            }
            None => self.make()?,
        };
        self.directory.put(PUBLIC, identity.identity().to_string().as_bytes(), 0o666)?;
        Ok(identity)
    }

    fn make(&self) -> Result<SecretIdentity, StartError> {
        if self.directory.path(SECRET).exists() {
            return Err(self.directory.complain("the identity appeared just now", SECRET, "start again"));
        }
        let identity = SecretIdentity::generate();
        self.mark_new(identity.address())?;
        self.directory.put(SECRET, identity.to_secret_string().as_bytes(), 0o600)?;
        tracing::info!(address = %identity.address(), "made a new identity");
        Ok(identity)
    }

    /// Notes that the identity of `address` is about to be made. One that replaces another is not noted: replacing it as well
    /// could not help, since two collisions in a row do not happen by chance.
    fn mark_new(&self, address: Address) -> Result<(), StartError> {
        if self.directory.names().any(|name| name.starts_with(RETIRED) || name.starts_with(GIVEN_UP)) {
            self.directory.remove(NEW);
            return Ok(());
        }
        self.directory.put(NEW, format!("{address}\n").as_bytes(), 0o600)
    }

    /// Whether the identity of `address` was made here and no root ever accepted it.
    pub fn is_new(&self, address: Address) -> bool {
        let noted = self.directory.read(NEW).ok().flatten();
        noted.is_some_and(|bytes| String::from_utf8_lossy(&bytes).trim().parse() == Ok(address))
    }

    /// Notes that a root accepted the identity.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn accepted(&self) -> io::Result<()> {
        match fs::remove_file(self.directory.path(NEW)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        self.directory.sync()
    }

    /// Puts the identity away because another node owns its address; the next start makes a new one. Returns where the old
    /// one is.
    ///
    /// # Errors
    /// It cannot be renamed; it is then still in place.
    pub fn retire(&self, address: Address) -> io::Result<PathBuf> {
        self.put_aside(RETIRED, address)
    }

    /// Puts the identity away because another machine has it too; the next start makes a new one. Returns where it is.
    ///
    /// # Errors
    /// It cannot be renamed; it is then still in place.
    pub fn give_up(&self, address: Address) -> io::Result<PathBuf> {
        self.put_aside(GIVEN_UP, address)
    }

    /// Renames the secret to a name that nothing has yet: a secret once put aside is never written over.
    fn put_aside(&self, prefix: &str, address: Address) -> io::Result<PathBuf> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let free = (since_epoch.as_secs()..)
            .map(|second| self.directory.path(format!("{prefix}{address}.{second}")))
            .find(|path| fs::symlink_metadata(path).is_err());
        let saved = free.ok_or(io::ErrorKind::AlreadyExists)?;
        files::restrict(&self.directory.path(SECRET));
        fs::rename(self.directory.path(SECRET), &saved)?;
        self.directory.remove(PUBLIC);
        self.directory.sync()?;
        Ok(saved)
    }

    /// Addresses given up for clones, in order.
    pub fn former_addresses(&self) -> Vec<Address> {
        let address = |name: String| {
            let rest = name.strip_prefix(GIVEN_UP)?;
            // Earlier versions left the time out.
            rest.split('.').next()?.parse().ok()
        };
        let mut found: Vec<Address> = self.directory.names().filter_map(address).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The hash of the machine that the identity of `address` belongs to, if that was noted.
    pub fn bound_machine(&self, address: Address) -> Option<[u8; 16]> {
        let bytes = self.directory.read(MACHINE).ok().flatten()?;
        let text = String::from_utf8(bytes).ok()?;
        let (bound, hash) = text.trim().split_once(' ')?;
        let hash = u128::from_str_radix(hash, 16).ok().filter(|_| hash.len() == 32)?;
        (bound.parse() == Ok(address)).then(|| hash.to_be_bytes())
    }

    /// Notes which machine the identity of `address` belongs to.
    ///
    /// # Errors
    /// It cannot be written; the old note is still there.
    pub fn bind_machine(&self, address: Address, hash: [u8; 16]) -> io::Result<()> {
        let text = format!("{address} {:032x}\n", u128::from_be_bytes(hash));
        self.directory.write(MACHINE, text.as_bytes(), 0o600)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::service::home::Home;

    fn home(folder: &tempfile::TempDir) -> (Home, Address) {
        let mut home = Home::claim(folder.path()).unwrap();
        let identity = home.inspect().unwrap().identity;
        let address = home.prepare(identity).unwrap().address();
        (home, address)
    }

    #[test]
    fn an_identity_is_new_until_a_root_accepts_it() {
        let folder = tempfile::tempdir().unwrap();
        let (made, address) = home(&folder);
        assert!(made.identity.is_new(address));
        assert!(!made.identity.is_new(Address::from_u64(1)), "another one");
        drop(made);
        let (again, _) = home(&folder);
        assert!(again.identity.is_new(address), "a restart is no acceptance");
        again.identity.accepted().unwrap();
        again.identity.accepted().unwrap();
        assert!(!again.identity.is_new(address));
        drop(again);
        assert!(!home(&folder).0.identity.is_new(address));
    }

    #[test]
    fn an_identity_that_was_put_here_or_replaces_another_is_not_new() {
        let folder = tempfile::tempdir().unwrap();
        let (made, first) = home(&folder);
        let secret = fs::read(made.path(SECRET)).unwrap();
        drop(made);
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join(SECRET), &secret).unwrap();
        assert!(!home(&other).0.identity.is_new(first), "put here by hand");

        let (made, _) = home(&folder);
        made.identity.retire(first).unwrap();
        drop(made);
        let (again, second) = home(&folder);
        assert!(second != first && !again.identity.is_new(second));
    }

    #[test]
    fn secrets_put_aside_are_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let (home, address) = home(&folder);
        let mut kept = Vec::new();
        for number in 0..6 {
            let secret = format!("secret {number}");
            fs::write(home.path(SECRET), &secret).unwrap();
            let put_aside = [IdentityFiles::retire, IdentityFiles::give_up][number % 2];
            kept.push((put_aside(&home.identity, address).unwrap(), secret));
        }
        for (path, secret) in &kept {
            assert_eq!(fs::read_to_string(path).unwrap(), *secret);
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(home.path(format!("{GIVEN_UP}0000000012")), "as earlier versions called it").unwrap();
        let mut former = [address, Address::from_u64(0x12)];
        former.sort_unstable();
        assert_eq!(home.identity.former_addresses(), former);
    }
}
