//! What becomes of the node's identity: whether it may be replaced, and where one that was put aside is kept.
//!
//! A file says of an identity that it was made here and that no root ever accepted it. It goes when the first root does: a full
//! disk, an old backup, an identity put here by hand or a home of an earlier version then all mean "keep it".

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::Address;

use super::files::{self, Durability, write_atomically};
use super::{Home, IDENTITY_PUBLIC, IDENTITY_SECRET, NETWORKS, StartError};

/// The address of an identity that was made here and that no root accepted yet.
pub(in crate::service) const NEW: &str = "identity.new";
/// What an identity that collided was called by zerotier-one and by earlier versions.
pub(in crate::service) const FORMERLY_RETIRED: &str = "identity.secret.saved_after_collision";
/// What an identity put aside after a collision is called, with its address and the time behind.
const RETIRED: &str = "identity.secret.saved.";
/// What an identity given up for a clone is called, with its address and the time behind.
const GIVEN_UP: &str = "identity.secret.old-";

impl Home {
    /// Notes that the identity of `address` is about to be made. One that replaces another is not noted: replacing it as well
    /// could not help, since two collisions in a row do not happen by chance.
    pub(super) fn mark_new(&self, address: Address) -> Result<(), StartError> {
        if self.root_names().any(|name| name.starts_with(RETIRED) || name.starts_with(GIVEN_UP)) {
            files::remove(&self.path(NEW));
            return Ok(());
        }
        self.put(NEW, format!("{address}\n").as_bytes(), 0o600)
    }

    /// Whether the identity of `address` was made here and no root ever accepted it.
    pub fn is_new(&self, address: Address) -> bool {
        let noted = self.read(NEW).ok().flatten();
        noted.is_some_and(|bytes| String::from_utf8_lossy(&bytes).trim().parse() == Ok(address))
    }

    /// Notes that a root accepted the identity.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn accepted(&self) -> io::Result<()> {
        match fs::remove_file(self.path(NEW)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        self.sync()
    }

    /// Whether a network is joined, by what is on disk. A folder that cannot be read counts as one with networks.
    pub fn has_networks(&self) -> bool {
        match fs::read_dir(self.path(NETWORKS)) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Puts the identity away because another node owns its address; the next start makes a new one. Returns where the old
    /// one is.
    ///
    /// # Errors
    /// It cannot be renamed; it is then still in place.
    pub fn retire_identity(&self, address: Address) -> io::Result<PathBuf> {
        self.put_aside(RETIRED, address)
    }

    /// Puts the identity away because another machine has it too; the next start makes a new one. Returns where it is.
    ///
    /// # Errors
    /// It cannot be renamed; it is then still in place.
    pub fn give_up_identity(&self, address: Address) -> io::Result<PathBuf> {
        self.put_aside(GIVEN_UP, address)
    }

    /// Renames the secret to a name that nothing has yet: a secret once put aside is never written over.
    fn put_aside(&self, prefix: &str, address: Address) -> io::Result<PathBuf> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let free = (since_epoch.as_secs()..)
            .map(|second| self.path(format!("{prefix}{address}.{second}")))
            .find(|path| fs::symlink_metadata(path).is_err());
        let saved = free.ok_or(io::ErrorKind::AlreadyExists)?;
        files::restrict(&self.path(IDENTITY_SECRET));
        fs::rename(self.path(IDENTITY_SECRET), &saved)?;
        files::remove(&self.path(IDENTITY_PUBLIC));
        self.sync()?;
        Ok(saved)
    }

    /// Addresses given up for clones, in order.
    pub fn former_addresses(&self) -> Vec<Address> {
        let address = |name: String| {
            let rest = name.strip_prefix(GIVEN_UP)?;
            // Earlier versions left the time out.
            rest.split('.').next()?.parse().ok()
        };
        let mut found: Vec<Address> = self.root_names().filter_map(address).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The hash of the machine that the identity of `address` belongs to, if that was noted.
    pub fn bound_machine(&self, address: Address) -> Option<[u8; 16]> {
        let bytes = self.read(super::MACHINE).ok().flatten()?;
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
        write_atomically(&self.path(super::MACHINE), text.as_bytes(), 0o600, Durability::Durable)
    }

    fn root_names(&self) -> impl Iterator<Item = String> {
        let entries = fs::read_dir(self.root()).into_iter().flatten();
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
    }

    /// Renamed and removed names survive a power failure.
    fn sync(&self) -> io::Result<()> {
        File::open(self.root())?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

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
        assert!(made.is_new(address));
        assert!(!made.is_new(Address::from_u64(1)), "another one");
        drop(made);
        let (again, _) = home(&folder);
        assert!(again.is_new(address), "a restart is no acceptance");
        again.accepted().unwrap();
        again.accepted().unwrap();
        assert!(!again.is_new(address));
        drop(again);
        assert!(!home(&folder).0.is_new(address));
    }

    #[test]
    fn an_identity_that_was_put_here_or_replaces_another_is_not_new() {
        let folder = tempfile::tempdir().unwrap();
        let (made, first) = home(&folder);
        let secret = fs::read(made.path(IDENTITY_SECRET)).unwrap();
        drop(made);
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join(IDENTITY_SECRET), &secret).unwrap();
        assert!(!home(&other).0.is_new(first), "put here by hand");

        let (made, _) = home(&folder);
        made.retire_identity(first).unwrap();
        drop(made);
        let (again, second) = home(&folder);
        assert!(second != first && !again.is_new(second));
    }

    #[test]
    fn secrets_put_aside_are_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let (home, address) = home(&folder);
        let mut kept = Vec::new();
        for number in 0..6 {
            let secret = format!("secret {number}");
            fs::write(home.path(IDENTITY_SECRET), &secret).unwrap();
            let put_aside = [Home::retire_identity, Home::give_up_identity][number % 2];
            kept.push((put_aside(&home, address).unwrap(), secret));
        }
        for (path, secret) in &kept {
            assert_eq!(fs::read_to_string(path).unwrap(), *secret);
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(home.path(format!("{GIVEN_UP}0000000012")), "as earlier versions called it").unwrap();
        let mut former = [address, Address::from_u64(0x12)];
        former.sort_unstable();
        assert_eq!(home.former_addresses(), former);
    }
}
