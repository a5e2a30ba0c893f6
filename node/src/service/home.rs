//! The home directory: what the node keeps between runs, in ZeroTier One's file formats and under its names.
//!
//! Specification: local service, "home directory". Two deliberate differences: files are replaced atomically (temporary
//! name, fsync, rename, fsync of the directory), so that a crash at any moment leaves the old or the new content; and a
//! damaged identity, planet or setting ends the start with one line instead of being replaced.

mod directory;
pub(crate) mod files;
mod moons;
mod networks;
mod own_identity;
mod own_planet;
mod peers;
mod start_error;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use protocol::SecretIdentity;
use protocol::world::World;
use rand::RngExt;
use zeroize::Zeroizing;

use self::directory::Directory;
pub use self::files::{Durability, write_atomically};
pub use self::moons::MoonFiles;
pub use self::networks::{MAX_JOIN_TOKEN, NetworkFiles, is_join_token};
pub use self::own_identity::IdentityFiles;
pub use self::own_planet::PlanetFiles;
pub use self::peers::{MAX_PEER_FILES, PeerFiles};
pub use self::start_error::StartError;
use crate::core::event::Object;

/// Where the home directory is unless the user says otherwise.
pub const DEFAULT_HOME: &str = "/var/lib/zerotier-one";
/// The home that the package makes: used instead where it exists. It is not zerotier-one's, so that both may be installed.
pub const PACKAGED_HOME: &str = "/var/lib/ztnode";
/// Environment variable that names another one.
pub const HOME_VARIABLE: &str = "ZEROTIER_HOME";
/// Decimal primary port; written at every start, kept at exit.
pub const PORT_FILE: &str = "zerotier-one.port";
/// Decimal process ID; removed on orderly exit.
pub const PID_FILE: &str = "zerotier-one.pid";
/// The control API's Unix socket.
pub const SOCKET_FILE: &str = "ztnode.sock";
/// Settings written by the user.
pub const SETTINGS_FILE: &str = "local.conf";
/// Token of the control API.
pub const TOKEN_FILE: &str = "authtoken.secret";
/// Token that only opens `/metrics`.
pub const METRICS_TOKEN_FILE: &str = "metricstoken.secret";
/// The metrics, as text.
pub const METRICS_FILE: &str = "metrics.prom";
/// The controller's folder.
pub const CONTROLLER_FOLDER: &str = "controller.d";

/// From where the next run counts its packets.
const COUNTS: &str = "counts";
const LEGACY_CONTROLLER: &str = "controller.db";

/// Everything that a node keeps in its home.
pub(super) const STATE_NAMES: &[&str] = &[
    own_identity::SECRET,
    own_identity::PUBLIC,
    own_identity::FORMERLY_RETIRED,
    own_identity::NEW,
    own_identity::MACHINE,
    own_planet::PLANET,
    own_planet::HEARD,
    own_planet::REPLACED,
    own_planet::KEY,
    networks::FOLDER,
    networks::DEVICE_MAP,
    moons::FOLDER,
    peers::FOLDER,
    COUNTS,
    PORT_FILE,
    PID_FILE,
    SOCKET_FILE,
    SETTINGS_FILE,
    TOKEN_FILE,
    METRICS_TOKEN_FILE,
    METRICS_FILE,
    CONTROLLER_FOLDER,
    "app",
];

const TOKEN_LENGTH: usize = 24;

/// The home directory to use: the argument, else the environment, else the package's, else zerotier-one's.
pub fn choose(argument: Option<PathBuf>) -> PathBuf {
    let variable = || std::env::var_os(HOME_VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from);
    let packaged = || Some(PathBuf::from(PACKAGED_HOME)).filter(|home| home.is_dir());
    argument.or_else(variable).or_else(packaged).unwrap_or_else(|| PathBuf::from(DEFAULT_HOME))
}

/// The process of a zerotier-one that uses this home: it takes no lock, but says who it is.
fn foreign_process(pid: u32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    pid != std::process::id() && name.trim_end() == "zerotier-one"
}

/// What an existing home directory says. Reading changes nothing.
#[derive(Debug)]
pub struct Contents {
    /// Our identity; `None` = to be made.
    pub identity: Option<SecretIdentity>,
    /// The planet in place of the public one.
    pub planet: Option<World>,
    /// Text of the settings file; `None` = no file.
    pub settings: Option<String>,
}

/// A home directory in use by this process.
#[derive(Debug)]
pub struct Home {
    directory: Directory,
    lock: Option<Flock<File>>,
    /// Our identity.
    pub identity: IdentityFiles,
    /// Our planet.
    pub planet: PlanetFiles,
    /// The joined networks.
    pub networks: NetworkFiles,
    /// The moons.
    pub moons: MoonFiles,
    /// What is known of peers.
    pub peers: PeerFiles,
}

impl Home {
    /// Takes an existing directory, or one still to be made, for this process. Nothing is changed on disk.
    ///
    /// # Errors
    /// Another node uses it; it is no directory or not readable.
    pub fn claim(root: &Path) -> Result<Self, StartError> {
        let directory = Directory::new(root);
        let lock = if root.exists() { lock(&directory)? } else { None };
        Ok(Home {
            lock,
            identity: IdentityFiles::new(directory.clone()),
            planet: PlanetFiles::new(directory.clone()),
            networks: NetworkFiles::new(directory.clone()),
            moons: MoonFiles::new(directory.clone()),
            peers: PeerFiles::new(directory.clone()),
            directory,
        })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        self.directory.root()
    }

    /// The path of a file or folder in it.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path(name)
    }

    /// Reads and checks what must be right before the node may start.
    ///
    /// # Errors
    /// A file is damaged or unreadable.
    pub fn inspect(&self) -> Result<Contents, StartError> {
        if self.path(LEGACY_CONTROLLER).exists() {
            let what = "a controller database of ZeroTier One before 1.4 is not supported";
            let remedy = "convert it with an old ZeroTier One release, or move it away to start with an empty controller";
            return Err(self.directory.complain(what, LEGACY_CONTROLLER, remedy));
        }
        let identity = self.identity.read()?;
        let planet = self.planet.read()?;
        let settings = self.directory.require(SETTINGS_FILE)?.map(String::from_utf8).transpose();
        let settings = settings.map_err(|_| {
            let remedy = "correct or remove the file";
            self.directory.complain("the settings are not UTF-8 text", SETTINGS_FILE, remedy)
        })?;
        Ok(Contents { identity, planet, settings })
    }

    /// Makes the directory if needed, takes the lock, and completes the identity files.
    ///
    /// # Errors
    /// The directory or a file in it cannot be written, or another process was faster.
    pub fn prepare(&mut self, identity: Option<SecretIdentity>) -> Result<SecretIdentity, StartError> {
        if self.lock.is_none() {
            let root = self.root();
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(root)
                .map_err(|e| StartError::io("make the home directory", root, &e))?;
            self.lock = lock(&self.directory)?;
        }
        self.seclude();
        self.identity.complete(identity)
    }

    /// Keeps others out of our own home. A group that may look into it stays: its members may use the control API.
    fn seclude(&self) {
        let Ok(meta) = fs::metadata(self.root()) else { return };
        let mode = meta.permissions().mode() & 0o7777;
        let narrow = if mode & 0o007 != 0 { mode & !0o077 } else { mode & !0o022 };
        if narrow == mode || meta.uid() != nix::unistd::Uid::effective().as_raw() {
            return;
        }
        let home = self.root().display();
        if !self.looks_like_a_home() {
            tracing::warn!(%home, "others may look into the home directory, and it holds more than a node's files; give the node one of its own with --home");
            return;
        }
        match fs::set_permissions(self.root(), fs::Permissions::from_mode(narrow)) {
            Ok(()) => {
                tracing::info!(%home, from = format!("{mode:04o}"), to = format!("{narrow:04o}"), "the home directory was open to others; 0750 lets its group in");
            }
            Err(error) => {
                tracing::warn!(%home, %error, "others may look into the home directory; set its mode to 0700");
            }
        }
    }

    /// Whether the directory is empty or has what a node would have put there: a slip of the keyboard must not lock up one of
    /// the system's directories.
    pub(super) fn looks_like_a_home(&self) -> bool {
        let empty = fs::read_dir(self.root()).is_ok_and(|mut entries| entries.next().is_none());
        empty || STATE_NAMES.iter().any(|name| self.directory.has(name))
    }

    /// Reads a token, or makes one when there is none.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn token(&self, name: &str) -> Result<Zeroizing<String>, StartError> {
        if let Some(bytes) = self.directory.require(name)?.map(Zeroizing::new) {
            files::restrict_token(&self.path(name));
            let text = String::from_utf8_lossy(&bytes);
            let text = text.trim_matches([' ', '\t', '\r', '\n', '\0']);
            if !text.is_empty() {
                return Ok(Zeroizing::new(text.to_owned()));
            }
        }
        const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let mut random = rand::rng();
        let token: String =
            (0..TOKEN_LENGTH).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect();
        let token = Zeroizing::new(token);
        self.directory.put(name, token.as_bytes(), 0o600)?;
        Ok(token)
    }

    /// Writes the port file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_port(&self, port: u16) -> Result<(), StartError> {
        self.directory.put(PORT_FILE, port.to_string().as_bytes(), 0o666)
    }

    /// Writes the pid file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_pid(&self) -> Result<(), StartError> {
        self.directory.put(PID_FILE, std::process::id().to_string().as_bytes(), 0o666)
    }

    /// Removes the pid file.
    pub fn remove_pid(&self) {
        self.directory.remove(PID_FILE);
    }

    /// Replaces the settings file.
    ///
    /// # Errors
    /// It cannot be written; the old content is still there.
    pub fn write_settings(&self, text: &str) -> io::Result<()> {
        self.directory.write(SETTINGS_FILE, text.as_bytes(), 0o666)
    }

    /// Replaces the file with the metrics.
    ///
    /// # Errors
    /// It cannot be written; the old content is still there.
    pub fn write_metrics(&self, text: &str) -> io::Result<()> {
        write_atomically(&self.path(METRICS_FILE), text.as_bytes(), 0o644, Durability::Cache)
    }

    /// Files of `networks.d` and `moons.d` that mean nothing to the node: most likely somebody put them there to be read.
    pub fn ignored_files(&self) -> Vec<PathBuf> {
        let mut ignored = Vec::new();
        for (folder, suffixes) in [(networks::FOLDER, networks::SUFFIXES), (moons::FOLDER, moons::SUFFIXES)] {
            let Ok(entries) = fs::read_dir(self.path(folder)) else { continue };
            let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            let mut names: Vec<String> = names
                .filter(|name| !name.starts_with('.'))
                .filter(|name| !suffixes.iter().any(|suffix| directory::hex_name(name, 16, suffix).is_some()))
                .collect();
            names.sort_unstable();
            ignored.extend(names.iter().map(|name| self.path(folder).join(name)));
        }
        ignored
    }

    /// From where this run counts its packets, as an earlier one kept it.
    pub fn counts(&self) -> Option<Vec<u8>> {
        self.directory.read(COUNTS).ok().flatten()
    }

    /// Where a state object is kept.
    pub fn object_path(&self, object: Object) -> PathBuf {
        self.path(name_of(object))
    }

    /// Keeps a state object; unchanged content is not written again.
    ///
    /// # Errors
    /// It cannot be written; the old content is still there.
    pub fn store(&self, object: Object, bytes: &[u8]) -> io::Result<()> {
        if let Object::Peer(address) = object {
            return self.peers.store(address, bytes);
        }
        let mode = if matches!(object, Object::Token(_)) { 0o600 } else { 0o666 };
        self.directory.write(name_of(object), bytes, mode)?;
        if let Object::Moon(id) = object {
            self.moons.arrived(id);
        }
        Ok(())
    }

    /// Takes away the file that would bring a network or a moon back at the next start.
    ///
    /// # Errors
    /// It is still there.
    pub fn unmark(&self, object: Object) -> io::Result<()> {
        self.directory.remove_surely(name_of(object))?;
        match object {
            Object::Moon(id) => self.directory.remove_surely(moons::seed_name(id)),
            _ => Ok(()),
        }
    }

    /// Removes a state object; with a network its local settings, its join token and its revocations.
    pub fn delete(&self, object: Object) {
        match object {
            Object::Peer(address) => self.peers.delete(address),
            Object::Network(network) => self.networks.delete(network),
            Object::Moon(id) => {
                self.directory.remove(moons::name(id));
                self.moons.arrived(id);
            }
            Object::Planet | Object::Token(_) | Object::Revocations(_) | Object::Counts => {
                self.directory.remove(name_of(object));
            }
        }
    }
}

/// The file of a state object.
fn name_of(object: Object) -> String {
    match object {
        Object::Planet => own_planet::PLANET.into(),
        Object::Moon(id) => moons::name(id),
        Object::Network(id) => networks::config_name(id),
        Object::Token(id) => networks::token_name(id),
        Object::Revocations(id) => networks::revocations_name(id),
        Object::Peer(address) => peers::name(address),
        Object::Counts => COUNTS.into(),
    }
}

/// Takes the lock of an existing directory; `None` where the file system has no locks.
fn lock(home: &Directory) -> Result<Option<Flock<File>>, StartError> {
    let root = home.root();
    let directory = File::open(root).map_err(|e| StartError::io("open the home directory", root, &e))?;
    let place = || root.display().to_string();
    if !directory.metadata().is_ok_and(|m| m.is_dir()) {
        return Err(StartError::new("the home is not a directory", place(), "name a directory with --home"));
    }
    let noted_pid = || {
        // The process ID that the last one to use this home left.
        let bytes = home.read(PID_FILE).ok().flatten()?;
        String::from_utf8_lossy(&bytes).trim().parse::<u32>().ok()
    };
    let remedy = "stop it first, or name another home with --home";
    // The directory itself is locked: no lock file is left behind, and the kernel releases it with the process.
    let lock = match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Some(lock),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
            let what = match noted_pid() {
                Some(pid) => format!("another ztnode (process {pid}) uses this home directory"),
                None => "another ztnode uses this home directory".into(),
            };
            return Err(StartError::new(what, place(), remedy));
        }
        Err((_, error)) => {
            // Some network file systems cannot lock; a second node is then noticed by its port.
            tracing::debug!(%error, "the home directory cannot be locked");
            None
        }
    };
    if let Some(pid) = noted_pid().filter(|pid| foreign_process(*pid)) {
        let what = format!("a zerotier-one (process {pid}) uses this home directory");
        return Err(StartError::new(what, place(), remedy));
    }
    Ok(lock)
}

#[cfg(test)]
mod tests;
