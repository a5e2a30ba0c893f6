//! Whether the node's planet may still be replaced by one that comes with a join token, and replacing it.
//!
//! Only a home that nothing depends on yet may get another planet in this way. A file says that a root was heard once; a home of
//! an earlier version has no such file, but networks or records of peers. What cannot be looked at counts as being there.

use std::fs;
use std::io;

use protocol::world::{World, WorldKind};

use super::directory::Directory;
use super::{StartError, networks, peers};

/// The planet in place of the public one.
pub(super) const PLANET: &str = "planet";
/// Signs later versions of a planet made here.
pub(super) const KEY: &str = "planet.key";
/// A root answered a node of this home.
pub(super) const HEARD: &str = "roots.heard";
/// The planet that one of a join token took the place of.
pub(super) const REPLACED: &str = "planet.replaced";
/// For whoever looks into it.
const HEARD_TEXT: &str =
    "A root has answered this node: a join token does not replace its planet any more.\n";

/// The planet's files.
#[derive(Debug)]
pub struct PlanetFiles {
    directory: Directory,
}

impl PlanetFiles {
    pub(super) fn new(directory: Directory) -> Self {
        PlanetFiles { directory }
    }

    /// The planet in place of the public one.
    ///
    /// # Errors
    /// It is damaged or unreadable.
    pub(super) fn read(&self) -> Result<Option<World>, StartError> {
        let Some(bytes) = self.directory.require(PLANET)? else { return Ok(None) };
        let world = World::parse(&bytes).map_err(|error| {
            let remedy = "copy it anew from the operator of your roots, or remove it to use the public roots";
            self.directory.complain(&format!("the planet is damaged ({error})"), PLANET, remedy)
        })?;
        if world.kind != WorldKind::Planet {
            let remedy = "put a moon into moons.d, and a planet here";
            return Err(self.directory.complain("this is a moon, not a planet", PLANET, remedy));
        }
        Ok(Some(world))
    }

    /// Whether a root was heard in an earlier run, as far as is known.
    pub fn root_was_heard(&self) -> bool {
        let signs = [networks::FOLDER, peers::FOLDER];
        self.directory.may_have(HEARD) || signs.iter().any(|folder| self.directory.may_have_files_in(folder))
    }

    /// Notes for good that a root was heard.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note_root_heard(&self) -> io::Result<()> {
        self.directory.write(HEARD, HEARD_TEXT.as_bytes(), 0o644)
    }

    /// Notes the same of a home that an earlier version used: what tells it may go.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note_former_use(&self) -> io::Result<()> {
        if self.root_was_heard() { self.note_root_heard() } else { Ok(()) }
    }

    /// Whether planets are signed here.
    pub fn is_signed_here(&self) -> bool {
        self.directory.may_have(KEY)
    }

    /// Puts another planet in the place of the one that is there, of which a copy is kept.
    ///
    /// # Errors
    /// It cannot be written; the old one is still there.
    pub fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        match self.directory.read(PLANET)? {
            Some(old) if old != bytes => self.directory.write(REPLACED, &old, 0o644)?,
            Some(_) => {}
            None => self.directory.remove(REPLACED),
        }
        self.directory.write(PLANET, bytes, 0o644)
    }

    /// Undoes [`Self::replace`].
    ///
    /// # Errors
    /// The former planet cannot be put back.
    pub fn restore(&self) -> io::Result<()> {
        match fs::rename(self.directory.path(REPLACED), self.directory.path(PLANET)) {
            // There was none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::remove_file(self.directory.path(PLANET))
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::home::Home;

    fn home(folder: &tempfile::TempDir) -> Home {
        Home::claim(folder.path()).unwrap()
    }

    #[test]
    fn that_a_root_was_heard_is_never_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let fresh = home(&folder);
        fresh.planet.note_former_use().unwrap();
        assert!(!fresh.planet.root_was_heard());
        fresh.planet.note_root_heard().unwrap();
        drop(fresh);
        assert!(home(&folder).planet.root_was_heard());
    }

    #[test]
    fn homes_of_earlier_versions_count_as_used_even_when_the_signs_of_it_go() {
        for sign in ["networks.d/1122334455667788.conf", "peers.d/0123456789.peer"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(sign);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            assert!(!home(&folder).planet.root_was_heard(), "{sign}: an empty folder");
            fs::write(&path, "\n").unwrap();
            home(&folder).planet.note_former_use().unwrap();
            fs::remove_file(&path).unwrap();
            assert!(home(&folder).planet.root_was_heard(), "{sign}");
        }
    }

    #[test]
    fn what_cannot_be_looked_at_counts_as_there() {
        let folder = tempfile::tempdir().unwrap();
        // No folder, so that listing it fails for root, too.
        fs::write(folder.path().join("peers.d"), "").unwrap();
        assert!(home(&folder).planet.root_was_heard());
        assert!(!home(&folder).planet.is_signed_here());
        std::os::unix::fs::symlink("nowhere", folder.path().join(KEY)).unwrap();
        assert!(home(&folder).planet.is_signed_here());
    }

    #[test]
    fn the_replaced_planet_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let home = home(&folder);
        let read = |name: &str| fs::read(folder.path().join(name)).ok();
        home.planet.replace(b"first").unwrap();
        assert_eq!((read(PLANET).unwrap(), read(REPLACED)), (b"first".to_vec(), None));
        home.planet.replace(b"second").unwrap();
        home.planet.replace(b"second").unwrap();
        assert_eq!((read(PLANET).unwrap(), read(REPLACED).unwrap()), (b"second".to_vec(), b"first".to_vec()));
        home.planet.restore().unwrap();
        assert_eq!((read(PLANET).unwrap(), read(REPLACED)), (b"first".to_vec(), None));
        home.planet.restore().unwrap();
        assert_eq!(read(PLANET), None, "there was none before the first");
    }
}
