//! What the home keeps of moons: their definitions, and whom to ask for those that have not come yet.

use std::io;
use std::path::Path;

use protocol::Address;
use protocol::world::{World, WorldKind};

use super::directory::Directory;

/// The folder with all of it.
pub(super) const FOLDER: &str = "moons.d";
/// How its files end.
pub(super) const SUFFIXES: &[&str] = &[".moon", ".seed"];

/// The moons' files.
#[derive(Debug)]
pub struct MoonFiles {
    directory: Directory,
}

impl MoonFiles {
    pub(super) fn new(directory: Directory) -> Self {
        MoonFiles { directory }
    }

    /// The moons to orbit, with their definition where the file is good.
    pub fn list(&self) -> Vec<(u64, Option<World>)> {
        let found = self.directory.list(FOLDER, 16, ".moon");
        found
            .into_iter()
            .map(|(id, name)| {
                let path = Path::new(FOLDER).join(name);
                let world = self.directory.read(&path).ok().flatten().and_then(|b| World::parse(&b).ok());
                let world = world.filter(|w| w.kind == WorldKind::Moon && w.id == id);
                if world.is_none() {
                    let path = self.directory.path(path);
                    tracing::warn!(path = %path.display(), "the moon is damaged; copy it anew, or orbit it again with a seed");
                }
                (id, world)
            })
            .collect()
    }

    /// The moons that were ordered and have not come yet: ID, and whom to ask.
    pub fn awaited(&self) -> Vec<(u64, Address)> {
        let found = self.directory.list(FOLDER, 16, ".seed");
        found
            .into_iter()
            .filter_map(|(id, name)| {
                let bytes = self.directory.read(Path::new(FOLDER).join(name)).ok().flatten()?;
                Some((id, String::from_utf8_lossy(&bytes).trim().parse().ok()?))
            })
            .collect()
    }

    /// Keeps whom to ask for a moon, until its definition is stored.
    ///
    /// # Errors
    /// It cannot be written; nothing is kept.
    pub fn expect(&self, id: u64, seed: Address) -> io::Result<()> {
        self.directory.write(seed_name(id), format!("{seed}\n").as_bytes(), 0o666)
    }

    /// A definition came, and nobody has to be asked for it any more.
    pub(super) fn arrived(&self, id: u64) {
        self.directory.remove(seed_name(id));
    }
}

pub(super) fn name(id: u64) -> String {
    format!("{FOLDER}/{id:016x}.moon")
}

pub(super) fn seed_name(id: u64) -> String {
    format!("{FOLDER}/{id:016x}.seed")
}
