//! The home directory: what the node keeps between runs, in ZeroTier One's file formats and under its names.
//!
//! Specification: local service, "home directory". Two deliberate differences: files are replaced atomically (temporary
//! name, fsync, rename, fsync of the directory), so that a crash at any moment leaves the old or the new content; and a
//! damaged identity, planet or setting ends the start with one line instead of being replaced.

pub(crate) mod files;
mod own_identity;
mod own_planet;
mod peers;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::fcntl::{Flock, FlockArg};
use protocol::netconf::NetworkConfig;
use protocol::world::{World, WorldKind};
use protocol::{Address, NetworkId, SecretIdentity};
use rand::RngExt;
use zeroize::Zeroizing;

pub use files::{Durability, write_atomically};
pub use peers::MAX_PEER_FILES;

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

const IDENTITY_SECRET: &str = "identity.secret";
const IDENTITY_PUBLIC: &str = "identity.public";
/// The machine the identity belongs to: address and keyed hash.
const MACHINE: &str = "identity.machine";
const PLANET: &str = "planet";
/// Signs later versions of a planet made here.
const PLANET_KEY: &str = "planet.key";
/// From where the next run counts its packets.
const COUNTS: &str = "counts";
const NETWORKS: &str = "networks.d";
const MOONS: &str = "moons.d";
const PEERS: &str = "peers.d";
const DEVICE_MAP: &str = "devicemap";
const LEGACY_CONTROLLER: &str = "controller.db";

/// Everything that a node keeps in its home.
pub(super) const STATE_NAMES: &[&str] = &[
    IDENTITY_SECRET,
    IDENTITY_PUBLIC,
    own_identity::FORMERLY_RETIRED,
    own_identity::NEW,
    MACHINE,
    PLANET,
    own_planet::HEARD,
    own_planet::REPLACED,
    NETWORKS,
    MOONS,
    PEERS,
    COUNTS,
    DEVICE_MAP,
    PORT_FILE,
    PID_FILE,
    SOCKET_FILE,
    SETTINGS_FILE,
    TOKEN_FILE,
    METRICS_TOKEN_FILE,
    METRICS_FILE,
    CONTROLLER_FOLDER,
    PLANET_KEY,
    "app",
];

const TOKEN_LENGTH: usize = 24;

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

    fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
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
    root: PathBuf,
    lock: Option<Flock<File>>,
    peer_files: Mutex<peers::Index>,
}

impl Home {
    /// Takes an existing directory, or one still to be made, for this process. Nothing is changed on disk.
    ///
    /// # Errors
    /// Another node uses it; it is no directory or not readable.
    pub fn claim(root: &Path) -> Result<Self, StartError> {
        let mut home = Home { root: root.to_owned(), lock: None, peer_files: Mutex::default() };
        if root.exists() {
            home.lock()?;
        }
        Ok(home)
    }

    fn lock(&mut self) -> Result<(), StartError> {
        let root = &self.root;
        let directory = File::open(root).map_err(|e| StartError::io("open the home directory", root, &e))?;
        if !directory.metadata().is_ok_and(|m| m.is_dir()) {
            let remedy = "name a directory with --home";
            return Err(StartError::new("the home is not a directory", root.display().to_string(), remedy));
        }
        // The directory itself is locked: no lock file is left behind, and the kernel releases it with the process.
        self.lock = match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Some(lock),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                let what = match self.noted_pid() {
                    Some(pid) => format!("another ztnode (process {pid}) uses this home directory"),
                    None => "another ztnode uses this home directory".into(),
                };
                let remedy = "stop it first, or name another home with --home";
                return Err(StartError::new(what, root.display().to_string(), remedy));
            }
            Err((_, error)) => {
                // Some network file systems cannot lock; a second node is then noticed by its port.
                tracing::debug!(%error, "the home directory cannot be locked");
                None
            }
        };
        if let Some(pid) = self.noted_pid().filter(|pid| foreign_process(*pid)) {
            let what = format!("a zerotier-one (process {pid}) uses this home directory");
            let remedy = "stop it first, or name another home with --home";
            return Err(StartError::new(what, self.root.display().to_string(), remedy));
        }
        Ok(())
    }

    /// The process ID that the last one to use this home left.
    fn noted_pid(&self) -> Option<u32> {
        let bytes = self.read(PID_FILE).ok().flatten()?;
        String::from_utf8_lossy(&bytes).trim().parse().ok()
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn peer_files(&self) -> MutexGuard<'_, peers::Index> {
        self.peer_files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The path of a file or folder in it.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    fn read(&self, name: impl AsRef<Path>) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn require(&self, name: &str) -> Result<Option<Vec<u8>>, StartError> {
        self.read(name).map_err(|e| StartError::io("read the file", &self.path(name), &e))
    }

    /// Reads and checks what must be right before the node may start.
    ///
    /// # Errors
    /// A file is damaged or unreadable.
    pub fn inspect(&self) -> Result<Contents, StartError> {
        let damaged = |what: String, name: &str, remedy: &str| {
            StartError::new(what, self.path(name).display().to_string(), remedy)
        };
        if self.path(LEGACY_CONTROLLER).exists() {
            let remedy = "convert it with an old ZeroTier One release, or move it away to start with an empty controller";
            return Err(damaged(
                "a controller database of ZeroTier One before 1.4 is not supported".into(),
                LEGACY_CONTROLLER,
                remedy,
            ));
        }
        let identity = match self.require(IDENTITY_SECRET)?.map(Zeroizing::new) {
            None => None,
            Some(bytes) => {
                let remedy =
                    "restore it from a backup, or move it away to start as a new node with a new address";
                let text = std::str::from_utf8(&bytes).map_err(|_| {
                    damaged("the identity is damaged (no text)".into(), IDENTITY_SECRET, remedy)
                })?;
                let identity = SecretIdentity::parse(text.trim_matches([' ', '\t', '\r', '\n', '\0']))
                    .map_err(|e| {
                        damaged(format!("the identity is damaged ({e})"), IDENTITY_SECRET, remedy)
                    })?;
                if !identity.is_consistent() || !identity.identity().locally_valid() {
                    let what = "the identity is damaged (its keys and address do not belong together)";
                    return Err(damaged(what.into(), IDENTITY_SECRET, remedy));
                }
                Some(identity)
            }
        };
        let planet = match self.require(PLANET)? {
            None => None,
            Some(bytes) => {
                let remedy =
                    "copy it anew from the operator of your roots, or remove it to use the public roots";
                let world = World::parse(&bytes)
                    .map_err(|e| damaged(format!("the planet is damaged ({e})"), PLANET, remedy))?;
                if world.kind != WorldKind::Planet {
                    let remedy = "put a moon into moons.d, and a planet here";
                    return Err(damaged("this is a moon, not a planet".into(), PLANET, remedy));
                }
                Some(world)
            }
        };
        let settings = match self.require(SETTINGS_FILE)? {
            None => None,
            Some(bytes) => Some(String::from_utf8(bytes).map_err(|_| {
                damaged("the settings are not UTF-8 text".into(), SETTINGS_FILE, "correct or remove the file")
            })?),
        };
        Ok(Contents { identity, planet, settings })
    }

    /// Makes the directory if needed, takes the lock, and completes the identity files.
    ///
    /// # Errors
    /// The directory or a file in it cannot be written, or another process was faster.
    pub fn prepare(&mut self, identity: Option<SecretIdentity>) -> Result<SecretIdentity, StartError> {
        if self.lock.is_none() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.root)
                .map_err(|e| StartError::io("make the home directory", &self.root, &e))?;
            self.lock()?;
        }
        self.seclude();
        let identity = match identity {
            Some(identity) => {
                files::restrict(&self.path(IDENTITY_SECRET));
                identity
            }
            None => {
                if self.path(IDENTITY_SECRET).exists() {
                    let place = self.path(IDENTITY_SECRET).display().to_string();
                    return Err(StartError::new("the identity appeared just now", place, "start again"));
                }
                let identity = SecretIdentity::generate();
                self.mark_new(identity.address())?;
                let text = identity.to_secret_string();
                self.put(IDENTITY_SECRET, text.as_bytes(), 0o600)?;
                tracing::info!(address = %identity.address(), "made a new identity");
                identity
            }
        };
        self.put(IDENTITY_PUBLIC, identity.identity().to_string().as_bytes(), 0o666)?;
        Ok(identity)
    }

    /// Keeps others out of our own home. A group that may look into it stays: its members may use the control API.
    fn seclude(&self) {
        let Ok(meta) = fs::metadata(&self.root) else { return };
        let mode = meta.permissions().mode() & 0o7777;
        let narrow = if mode & 0o007 != 0 { mode & !0o077 } else { mode & !0o022 };
        if narrow == mode || meta.uid() != nix::unistd::Uid::effective().as_raw() {
            return;
        }
        let home = self.root.display();
        if !self.looks_like_a_home() {
            tracing::warn!(%home, "others may look into the home directory, and it holds more than a node's files; give the node one of its own with --home");
            return;
        }
        match fs::set_permissions(&self.root, fs::Permissions::from_mode(narrow)) {
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
        let empty = fs::read_dir(&self.root).is_ok_and(|mut entries| entries.next().is_none());
        empty || STATE_NAMES.iter().any(|name| fs::symlink_metadata(self.root.join(name)).is_ok())
    }

    fn put(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), StartError> {
        let path = self.path(name);
        write_atomically(&path, bytes, mode, Durability::Durable)
            .map_err(|e| StartError::io("write the file", &path, &e))
    }

    /// Reads a token, or makes one when there is none.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn token(&self, name: &str) -> Result<Zeroizing<String>, StartError> {
        if let Some(bytes) = self.require(name)?.map(Zeroizing::new) {
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
        self.put(name, token.as_bytes(), 0o600)?;
        Ok(token)
    }

    /// Writes the port file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_port(&self, port: u16) -> Result<(), StartError> {
        self.put(PORT_FILE, port.to_string().as_bytes(), 0o666)
    }

    /// Writes the pid file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_pid(&self) -> Result<(), StartError> {
        self.put(PID_FILE, std::process::id().to_string().as_bytes(), 0o666)
    }

    /// Removes the pid file.
    pub fn remove_pid(&self) {
        files::remove(&self.path(PID_FILE));
    }

    /// Replaces the settings file.
    ///
    /// # Errors
    /// It cannot be written; the old content is still there.
    pub fn write_settings(&self, text: &str) -> io::Result<()> {
        write_atomically(&self.path(SETTINGS_FILE), text.as_bytes(), 0o666, Durability::Durable)
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
        for (folder, digits, suffixes) in [
            (NETWORKS, 16, &[".conf", ".local.conf", ".token", ".revoked"][..]),
            (MOONS, 16, &[".moon", ".seed"][..]),
        ] {
            let Ok(entries) = fs::read_dir(self.path(folder)) else { continue };
            let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            let mut names: Vec<String> = names
                .filter(|name| !name.starts_with('.'))
                .filter(|name| !suffixes.iter().any(|suffix| hex_name(name, digits, suffix).is_some()))
                .collect();
            names.sort_unstable();
            ignored.extend(names.iter().map(|name| self.path(folder).join(name)));
        }
        ignored
    }

    /// The networks to join, with the cached configuration where there is a good one. A damaged one is reported and asked
    /// for again.
    pub fn networks(&self) -> Vec<(NetworkId, Option<Vec<u8>>)> {
        let found = self.list(NETWORKS, 16, ".conf");
        found
            .into_iter()
            .map(|(id, name)| {
                let network = NetworkId(id);
                let path = Path::new(NETWORKS).join(name);
                let bytes = self.read(&path).unwrap_or_else(|error| {
                    tracing::warn!(%network, %error, "cannot read the cached configuration; asking the controller again");
                    None
                });
                let bytes = bytes.filter(|b| b.len() > 1);
                if let Some(Err(error)) = bytes.as_deref().map(NetworkConfig::from_dictionary) {
                    let path = self.path(path);
                    tracing::info!(%network, path = %path.display(), %error, "the cached configuration is damaged; asking the controller again");
                    return (network, None);
                }
                (network, bytes)
            })
            .collect()
    }

    /// What an earlier run kept of a network's revocations.
    pub fn revocations(&self, network: NetworkId) -> Option<Vec<u8>> {
        let path = self.object_path(Object::Revocations(network));
        match fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "cannot read the network's revocations; its controller tells them again");
                }
                None
            }
        }
    }

    /// The join token that a network's controller has not accepted yet.
    pub fn join_token(&self, network: NetworkId) -> Option<Zeroizing<String>> {
        let path = self.object_path(Object::Token(network));
        let token = match fs::read(&path) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|error| error.into_bytes()),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "cannot read the join token; join again with it");
                }
                return None;
            }
        };
        match token {
            Ok(token) if is_join_token(&token) => {
                files::restrict(&path);
                Some(Zeroizing::new(token))
            }
            _ => {
                tracing::warn!(path = %path.display(), "the join token is damaged; join again with it");
                None
            }
        }
    }

    /// The moons to orbit, with their definition where the file is good.
    pub fn moons(&self) -> Vec<(u64, Option<World>)> {
        let found = self.list(MOONS, 16, ".moon");
        found
            .into_iter()
            .map(|(id, name)| {
                let path = Path::new(MOONS).join(name);
                let world = self.read(&path).ok().flatten().and_then(|b| World::parse(&b).ok());
                let world = world.filter(|w| w.kind == WorldKind::Moon && w.id == id);
                if world.is_none() {
                    let path = self.path(path);
                    tracing::warn!(path = %path.display(), "the moon is damaged; copy it anew, or orbit it again with a seed");
                }
                (id, world)
            })
            .collect()
    }

    /// The moons that were ordered and have not come yet: ID, and whom to ask.
    pub fn awaited_moons(&self) -> Vec<(u64, Address)> {
        let found = self.list(MOONS, 16, ".seed");
        found
            .into_iter()
            .filter_map(|(id, name)| {
                let bytes = self.read(Path::new(MOONS).join(name)).ok().flatten()?;
                Some((id, String::from_utf8_lossy(&bytes).trim().parse().ok()?))
            })
            .collect()
    }

    fn seed_path(&self, id: u64) -> PathBuf {
        self.path(format!("{MOONS}/{id:016x}.seed"))
    }

    /// Keeps whom to ask for a moon, until its definition is stored.
    ///
    /// # Errors
    /// It cannot be written; nothing is kept.
    pub fn await_moon(&self, id: u64, seed: Address) -> io::Result<()> {
        fs::create_dir_all(self.path(MOONS))?;
        write_atomically(&self.seed_path(id), format!("{seed}\n").as_bytes(), 0o666, Durability::Durable)
    }

    /// Files of `folder` named by `digits` hex digits and `suffix`: number and file name, in order of the number.
    fn list(&self, folder: &str, digits: usize, suffix: &str) -> Vec<(u64, String)> {
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

    /// From where this run counts its packets, as an earlier one kept it.
    pub fn counts(&self) -> Option<Vec<u8>> {
        self.read(COUNTS).ok().flatten()
    }

    /// The interface name the legacy `devicemap` gives to a network.
    pub fn mapped_device(&self, network: NetworkId) -> Option<String> {
        let bytes = self.read(DEVICE_MAP).ok().flatten()?;
        device_in_map(&String::from_utf8_lossy(&bytes), network)
    }

    /// Where a state object is kept.
    pub fn object_path(&self, object: Object) -> PathBuf {
        self.path(match object {
            Object::Planet => PLANET.into(),
            Object::Moon(id) => format!("{MOONS}/{id:016x}.moon"),
            Object::Network(id) => format!("{NETWORKS}/{id}.conf"),
            Object::Token(id) => format!("{NETWORKS}/{id}.token"),
            Object::Revocations(id) => format!("{NETWORKS}/{id}.revoked"),
            Object::Peer(address) => peer_name(address),
            Object::Counts => COUNTS.into(),
        })
    }

    /// Where a network's local settings are kept.
    pub fn network_settings_path(&self, network: NetworkId) -> PathBuf {
        self.path(format!("{NETWORKS}/{network}.local.conf"))
    }

    /// Keeps a network's local settings.
    ///
    /// # Errors
    /// They cannot be written; the old ones are still there.
    pub fn write_network_settings(&self, network: NetworkId, text: &str) -> io::Result<()> {
        fs::create_dir_all(self.path(NETWORKS))?;
        write_atomically(&self.network_settings_path(network), text.as_bytes(), 0o666, Durability::Durable)
    }

    /// Keeps a state object; unchanged content is not written again.
    ///
    /// # Errors
    /// It cannot be written; the old content is still there.
    pub fn store(&self, object: Object, bytes: &[u8]) -> io::Result<()> {
        let path = self.object_path(object);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        if let Object::Peer(address) = object {
            return self.store_peer(address, bytes);
        }
        let mode = if matches!(object, Object::Token(_)) { 0o600 } else { 0o666 };
        write_atomically(&path, bytes, mode, Durability::Durable)?;
        if let Object::Moon(id) = object {
            files::remove(&self.seed_path(id));
        }
        Ok(())
    }

    /// Marks a network as joined that is not, with its local settings.
    ///
    /// # Errors
    /// Something cannot be written; nothing is kept, a join token included.
    pub fn begin_network(&self, network: NetworkId, settings: &str) -> io::Result<()> {
        if self.is_marked(network) {
            return self.write_network_settings(network, settings);
        }
        let marked = self
            .write_network_settings(network, settings)
            .and_then(|()| self.store(Object::Network(network), b"\n"));
        if marked.is_err() {
            self.delete(Object::Network(network));
        }
        marked
    }

    /// Whether a network is marked as joined.
    pub fn is_marked(&self, network: NetworkId) -> bool {
        fs::symlink_metadata(self.object_path(Object::Network(network))).is_ok()
    }

    /// Takes away the file that would bring a network or a moon back at the next start.
    ///
    /// # Errors
    /// It is still there.
    pub fn unmark(&self, object: Object) -> io::Result<()> {
        let mut paths = vec![self.object_path(object)];
        if let Object::Moon(id) = object {
            paths.push(self.seed_path(id));
        }
        for path in paths {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes a state object; with a network its local settings, its join token and its revocations.
    pub fn delete(&self, object: Object) {
        if let Object::Peer(address) = object {
            self.forget_peer(address);
        }
        files::remove(&self.object_path(object));
        if let Object::Moon(id) = object {
            files::remove(&self.seed_path(id));
        }
        if let Object::Network(network) = object {
            files::remove(&self.network_settings_path(network));
            files::remove(&self.object_path(Object::Token(network)));
            files::remove(&self.object_path(Object::Revocations(network)));
        }
    }
}

/// Longest join token, bytes: it must fit into the metadata of a request.
pub const MAX_JOIN_TOKEN: usize = 256;

/// Whether this may be a join token: which one is good is for the controller to say.
pub fn is_join_token(text: &str) -> bool {
    (1..=MAX_JOIN_TOKEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn peer_name(address: Address) -> String {
    format!("{PEERS}/{address}.peer")
}

/// The number in a file name of `digits` hex digits and `suffix`.
fn hex_name(name: &str, digits: usize, suffix: &str) -> Option<u64> {
    let hex = name.strip_suffix(suffix)?;
    let valid = hex.len() == digits && hex.bytes().all(|b| b.is_ascii_hexdigit());
    valid.then(|| u64::from_str_radix(hex, 16).ok()).flatten()
}

/// Lines `<16 hex>=<device>`; the first that fits counts.
fn device_in_map(text: &str, network: NetworkId) -> Option<String> {
    let valid = |name: &&str| {
        !name.is_empty() && name.len() < 16 && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
    };
    text.split(['\n', '\r'])
        .filter_map(|line| line.split_once('='))
        .find(|(id, _)| id.trim().parse() == Ok(network))
        .map(|(_, device)| device.trim())
        .filter(valid)
        .map(str::to_owned)
}

#[cfg(test)]
mod tests;
