//! Whether the node's planet may still be replaced by one that comes with a join token, and replacing it.
//!
//! Only a home that nothing depends on yet may get another planet in this way. A file says that a root was heard once; a home of
//! an earlier version has no such file, but networks or records of peers. What cannot be looked at counts as being there.

use std::fs;
use std::io;
use std::path::Path;

use super::files::{self, Durability, write_atomically};
use super::{Home, PEERS, PLANET, PLANET_KEY};

/// A root answered a node of this home.
pub(in crate::service) const HEARD: &str = "roots.heard";
/// The planet that one of a join token took the place of.
pub(in crate::service) const REPLACED: &str = "planet.replaced";
/// For whoever looks into it.
const HEARD_TEXT: &str =
    "A root has answered this node: a join token does not replace its planet any more.\n";

impl Home {
    /// Whether a root was heard in an earlier run, as far as is known.
    pub fn root_was_heard(&self) -> bool {
        may_exist(&self.path(HEARD)) || self.has_networks() || self.has_peers()
    }

    /// Notes for good that a root was heard.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note_root_heard(&self) -> io::Result<()> {
        write_atomically(&self.path(HEARD), HEARD_TEXT.as_bytes(), 0o644, Durability::Durable)
    }

    /// Notes the same of a home that an earlier version used: what tells it may go.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note_former_use(&self) -> io::Result<()> {
        if self.root_was_heard() { self.note_root_heard() } else { Ok(()) }
    }

    fn has_peers(&self) -> bool {
        match fs::read_dir(self.path(PEERS)) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Whether planets are signed here.
    pub fn signs_planets(&self) -> bool {
        may_exist(&self.path(PLANET_KEY))
    }

    /// Puts another planet in the place of the one that is there, of which a copy is kept.
    ///
    /// # Errors
    /// It cannot be written; the old one is still there.
    pub fn replace_planet(&self, bytes: &[u8]) -> io::Result<()> {
        let planet = self.path(PLANET);
        match fs::read(&planet) {
            Ok(old) if old != bytes => {
                write_atomically(&self.path(REPLACED), &old, 0o644, Durability::Durable)?;
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => files::remove(&self.path(REPLACED)),
            Err(error) => return Err(error),
        }
        write_atomically(&planet, bytes, 0o644, Durability::Durable)
    }

    /// Undoes [`Self::replace_planet`].
    ///
    /// # Errors
    /// The former planet cannot be put back.
    pub fn restore_planet(&self) -> io::Result<()> {
        match fs::rename(self.path(REPLACED), self.path(PLANET)) {
            // There was none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_file(self.path(PLANET)),
            other => other,
        }
    }
}

/// False only if there is certainly no such file.
fn may_exist(path: &Path) -> bool {
    !fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(folder: &tempfile::TempDir) -> Home {
        Home::claim(folder.path()).unwrap()
    }

    #[test]
    fn that_a_root_was_heard_is_never_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let fresh = home(&folder);
        fresh.note_former_use().unwrap();
        assert!(!fresh.root_was_heard());
        fresh.note_root_heard().unwrap();
        drop(fresh);
        assert!(home(&folder).root_was_heard());
    }

    #[test]
    fn homes_of_earlier_versions_count_as_used_even_when_the_signs_of_it_go() {
        for sign in ["networks.d/1122334455667788.conf", "peers.d/0123456789.peer"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(sign);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            assert!(!home(&folder).root_was_heard(), "{sign}: an empty folder");
            fs::write(&path, "\n").unwrap();
            home(&folder).note_former_use().unwrap();
            fs::remove_file(&path).unwrap();
            assert!(home(&folder).root_was_heard(), "{sign}");
        }
    }

    #[test]
    fn what_cannot_be_looked_at_counts_as_there() {
        let folder = tempfile::tempdir().unwrap();
        // No folder, so that listing it fails for root, too.
        fs::write(folder.path().join("peers.d"), "").unwrap();
        assert!(home(&folder).root_was_heard());
        assert!(!home(&folder).signs_planets());
        std::os::unix::fs::symlink("nowhere", folder.path().join(PLANET_KEY)).unwrap();
        assert!(home(&folder).signs_planets());
    }

    #[test]
    fn the_replaced_planet_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let home = home(&folder);
        let read = |name: &str| fs::read(folder.path().join(name)).ok();
        home.replace_planet(b"first").unwrap();
        assert_eq!((read(PLANET).unwrap(), read(REPLACED)), (b"first".to_vec(), None));
        home.replace_planet(b"second").unwrap();
        home.replace_planet(b"second").unwrap();
        assert_eq!((read(PLANET).unwrap(), read(REPLACED).unwrap()), (b"second".to_vec(), b"first".to_vec()));
        home.restore_planet().unwrap();
        assert_eq!((read(PLANET).unwrap(), read(REPLACED)), (b"first".to_vec(), None));
        home.restore_planet().unwrap();
        assert_eq!(read(PLANET), None, "there was none before the first");
    }
}
