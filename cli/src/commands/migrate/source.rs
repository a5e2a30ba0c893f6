//! What is in the old home: what is taken, what is not, and why. Reading changes nothing.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use protocol::identity::SecretIdentity;
use protocol::world::{World, WorldKind};
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::files::{exists, names, read_bounded};
use crate::failure::Failure;
use crate::validate::is_hex;

/// Largest file that is taken, the controller's database apart, in bytes.
pub(super) const MAX_FILE: u64 = 4 << 20;
/// All of them together, the controller's records apart, in bytes.
const MAX_TOTAL: usize = 64 << 20;
/// Most names in one folder.
pub(super) const MAX_NAMES: usize = 1_000_000;

/// The controller's database of a ztnode.
pub(super) const DATABASE: &str = "controller.sqlite";

/// A file that is taken, as it was read.
pub(super) struct Taken {
    /// Its path in either home.
    pub(super) name: String,
    /// Its content.
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// Permissions in the new home.
    pub(super) mode: u32,
}

/// What the old controller keeps.
#[derive(Default)]
pub(super) struct Records {
    /// Files, as paths below `controller.d`; folders come before what is in them.
    pub(super) files: Vec<String>,
    /// How many of them are networks.
    pub(super) networks: usize,
    /// How many of them are members.
    pub(super) members: usize,
}

/// What was found.
pub(super) struct Source {
    /// Where.
    pub(super) home: PathBuf,
    /// Whose home it is.
    pub(super) identity: SecretIdentity,
    /// The files to take. The secret identity is the last.
    pub(super) files: Vec<Taken>,
    /// The controller's.
    pub(super) records: Records,
    /// What is not taken, and why.
    pub(super) left: Vec<(String, String)>,
    /// What somebody has to know or do.
    pub(super) notes: Vec<String>,
}

/// A failure about a file, with what to do.
pub(super) fn broken(path: &Path, what: impl Display, remedy: &str) -> Failure {
    Failure::error(format!("ztnode-cli: {}: {what}", path.display())).hint(remedy)
}

/// A failure of the operating system about a file.
pub(super) fn failed(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    move |error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::PermissionDenied => "Run this as root.",
            std::io::ErrorKind::StorageFull => "Free some space and run this again.",
            _ => "",
        };
        broken(path, error, remedy)
    }
}

/// Reads an identity as the daemon does.
pub(super) fn parse_identity(bytes: &[u8]) -> Option<SecretIdentity> {
    let text = std::str::from_utf8(bytes).ok()?;
    SecretIdentity::parse(text.trim_matches([' ', '\t', '\r', '\n', '\0'])).ok()
}

/// Reads a world of this kind.
pub(super) fn parse_world(bytes: &[u8], kind: WorldKind) -> Option<World> {
    World::parse(bytes).ok().filter(|world| world.kind == kind)
}

/// Looks through a home.
///
/// # Errors
/// Exit code 1: it is damaged or unreadable.
pub(super) fn survey(home: &Path, tokens: bool) -> Result<Source, Failure> {
    let path = home.join("identity.secret");
    let secret = read_bounded(&path, MAX_FILE).map_err(failed(&path))?.ok_or_else(|| {
        broken(
            &path,
            "there is no identity, so there is no node to take over",
            "Name another home with --from.",
        )
    })?;
    let identity = parse_identity(&secret.bytes)
        .filter(|identity| identity.is_consistent() && identity.identity().locally_valid())
        .ok_or_else(|| broken(&path, "the identity is damaged", "Restore it from a backup."))?;
    let mut source = Source {
        home: home.to_owned(),
        identity,
        files: Vec::new(),
        records: Records::default(),
        left: Vec::new(),
        notes: Vec::new(),
    };
    let mut elsewhere = None;
    for name in names(home, MAX_NAMES).map_err(failed(home))? {
        let path = home.join(&name);
        match name.as_str() {
            "identity.secret" | "controller.d" => {}
            "identity.public" => source.public(home)?,
            "planet" => source.planet(home)?,
            "moons.d" => source.moons(home)?,
            "networks.d" => source.networks(home)?,
            "local.conf" => elsewhere = source.settings(home)?,
            "devicemap" => source.plain(home, &name, false)?,
            "planet.key" => source.plain(home, &name, true)?,
            "authtoken.secret" | "metricstoken.secret" if tokens => source.plain(home, &name, true)?,
            _ => source.left.push((name.clone(), why_left(&name, &path))),
        }
    }
    match elsewhere {
        Some(folder) => {
            let folder = crate::text::printable(&folder);
            source.notes.push(format!(
                "local.conf has controllerDbPath {folder}: the controller's data stays there, and the node reads it at \
                 its first start. Give that folder to the node's user, and to its service the right to write there."
            ));
            if exists(&home.join("controller.d")) {
                let why = "not in use: local.conf names another folder (controllerDbPath)";
                source.left.push(("controller.d".to_owned(), why.to_owned()));
            }
        }
        None => source.controller(home)?,
    }
    let bytes: usize = source.files.iter().map(|file| file.bytes.len()).sum();
    if bytes > MAX_TOTAL {
        return Err(broken(
            home,
            format!("its files have more than {MAX_TOTAL} bytes"),
            "Is it a node's home?",
        ));
    }
    source.files.push(Taken { name: "identity.secret".to_owned(), bytes: secret.bytes, mode: 0o600 });
    Ok(source)
}

fn why_left(name: &str, path: &Path) -> String {
    match name {
        "peers.d" | "iddb.d" => "a cache; the node learns it anew in seconds",
        "zerotier-one.port" | "zerotier-one.pid" | "ztnode.sock" => "of a process; each start makes it",
        "metrics.prom" => "figures of a process",
        "authtoken.secret" | "metricstoken.secret" => {
            "the new home has its own; --with-tokens takes it, for programs that keep a copy of it"
        }
        "identity.secret.saved_after_collision" => "an identity that is not in use",
        _ if name.starts_with("identity.secret.saved.") || name.starts_with("identity.secret.old-") => {
            "an identity that is not in use"
        }
        "zerotier-one" | "zerotier-cli" | "zerotier-idtool" => "a program",
        "controller.db" => {
            "a controller database from before 1.4; have a zerotier-one of that time convert it first"
        }
        "trustedpaths" => "ztnode reads trusted paths from local.conf only",
        "app" | "sso-auth.template.html" => "pages to be served; copy them by hand if they are wanted",
        "updates.d" => "updates of another program",
        _ if name.ends_with(".te") || super::files::is_link(path) => "not of a node",
        _ => "not known",
    }
    .to_owned()
}

impl Source {
    fn leave(&mut self, name: &str, why: impl Into<String>) {
        self.left.push((name.to_owned(), why.into()));
    }

    fn take(&mut self, name: String, bytes: Zeroizing<Vec<u8>>, mode: u32) {
        self.files.push(Taken { name, bytes, mode });
    }

    /// A file whose content is nobody's business here.
    fn plain(&mut self, home: &Path, name: &str, secret: bool) -> Result<(), Failure> {
        let path = home.join(name);
        if let Some(content) = read_bounded(&path, MAX_FILE).map_err(failed(&path))? {
            let mode = if secret { 0o600 } else { open_mode(content.mode) };
            self.take(name.to_owned(), content.bytes, mode);
        }
        Ok(())
    }

    fn public(&mut self, home: &Path) -> Result<(), Failure> {
        let path = home.join("identity.public");
        let Some(content) = read_bounded(&path, MAX_FILE).map_err(failed(&path))? else { return Ok(()) };
        if content.bytes.trim_ascii() == self.identity.identity().to_string().as_bytes() {
            self.take("identity.public".to_owned(), content.bytes, open_mode(content.mode));
        } else {
            self.leave("identity.public", "does not belong to identity.secret; the node makes it anew");
        }
        Ok(())
    }

    fn planet(&mut self, home: &Path) -> Result<(), Failure> {
        let path = home.join("planet");
        let Some(content) = read_bounded(&path, MAX_FILE).map_err(failed(&path))? else { return Ok(()) };
        match parse_world(&content.bytes, WorldKind::Planet) {
            Some(_) => self.take("planet".to_owned(), content.bytes, open_mode(content.mode)),
            None => self.leave("planet", "damaged; zerotier-one did not use it either"),
        }
        Ok(())
    }

    fn moons(&mut self, home: &Path) -> Result<(), Failure> {
        let folder = home.join("moons.d");
        for file in names(&folder, MAX_NAMES).map_err(failed(&folder))? {
            let name = format!("moons.d/{file}");
            let Some(id) = hex_of(&file, 16, ".moon") else {
                self.leave(&name, "no moon by its name");
                continue;
            };
            let path = folder.join(&file);
            let Some(content) = read_bounded(&path, MAX_FILE).map_err(failed(&path))? else { continue };
            let moon = parse_world(&content.bytes, WorldKind::Moon);
            if moon.is_some_and(|moon| format!("{:016x}", moon.id) == id) {
                self.take(format!("moons.d/{id}.moon"), content.bytes, open_mode(content.mode));
            } else {
                self.leave(&name, "damaged; copy it anew, or orbit the moon again");
            }
        }
        Ok(())
    }

    fn networks(&mut self, home: &Path) -> Result<(), Failure> {
        let folder = home.join("networks.d");
        let found = names(&folder, MAX_NAMES).map_err(failed(&folder))?;
        let joined: Vec<_> = found.iter().filter_map(|file| hex_of(file, 16, ".conf")).collect();
        for file in &found {
            let name = format!("networks.d/{file}");
            let target = match (hex_of(file, 16, ".conf"), hex_of(file, 16, ".local.conf")) {
                (Some(id), _) => format!("networks.d/{id}.conf"),
                (None, Some(id)) if joined.contains(&id) => format!("networks.d/{id}.local.conf"),
                (None, Some(_)) => {
                    self.leave(&name, "of a network that is not joined");
                    continue;
                }
                (None, None) => {
                    self.leave(&name, "no network by its name");
                    continue;
                }
            };
            let path = folder.join(file);
            let Some(content) = read_bounded(&path, MAX_FILE).map_err(failed(&path))? else { continue };
            self.take(target, content.bytes, open_mode(content.mode));
        }
        Ok(())
    }

    /// The folder that the settings give to the controller, if they do.
    fn settings(&mut self, home: &Path) -> Result<Option<String>, Failure> {
        let path = home.join("local.conf");
        let Some(content) = read_bounded(&path, MAX_FILE).map_err(failed(&path))? else { return Ok(None) };
        if content.bytes.trim_ascii().is_empty() {
            self.leave("local.conf", "empty");
            return Ok(None);
        }
        let remedy = "The node would not start with it: correct it or move it away.";
        let value: Value = serde_json::from_slice(&content.bytes)
            .map_err(|error| broken(&path, format!("is no JSON ({error})"), remedy))?;
        let elsewhere = api::of::<LocalConf>(&value).settings.controller_db_path;
        self.take("local.conf".to_owned(), content.bytes, open_mode(content.mode));
        if let Some(place) = elsewhere.as_deref().filter(|place| !place.starts_with('/') && !place.is_empty())
        {
            let place = crate::text::printable(place.split(':').next().unwrap_or_default());
            self.notes.push(format!(
                "local.conf has a controllerDbPath that is no absolute path ({place}…): ztnode does not use it, and \
                 what a controller keeps there is not taken over."
            ));
        }
        Ok(elsewhere.filter(|place| place.starts_with('/')))
    }

    fn controller(&mut self, home: &Path) -> Result<(), Failure> {
        let root = home.join("controller.d");
        for name in names(&root, MAX_NAMES).map_err(failed(&root))? {
            match name.as_str() {
                "network" => self.records_below(&root.join("network"))?,
                // The home of a ztnode: the database is newer than the records beside it.
                DATABASE | "controller.sqlite-wal" => self.records.files.push(name),
                "controller.sqlite-shm" | "controller.sqlite.lock" | "trace" => {}
                _ => self.leave(&format!("controller.d/{name}"), "not known"),
            }
        }
        Ok(())
    }

    fn records_below(&mut self, folder: &Path) -> Result<(), Failure> {
        let found = names(folder, MAX_NAMES).map_err(failed(folder))?;
        for name in &found {
            let shown = format!("controller.d/network/{name}");
            let Some(stem) = name.strip_suffix(".json") else {
                if found.binary_search(&format!("{name}.json")).is_err() {
                    self.leave(&shown, "belongs to no network");
                }
                continue;
            };
            if !is_hex(stem, 16) || !is_record(&folder.join(name), 16)? {
                self.leave(&shown, "no network");
                continue;
            }
            self.records.files.push(format!("network/{name}"));
            self.records.networks += 1;
            let members = folder.join(stem).join("member");
            for member in names(&members, MAX_NAMES).map_err(failed(&members))? {
                let valid = member.strip_suffix(".json").is_some_and(|stem| is_hex(stem, 10));
                if !valid || !is_record(&members.join(&member), 10)? {
                    self.leave(&format!("controller.d/network/{stem}/member/{member}"), "no member");
                    continue;
                }
                self.records.files.push(format!("network/{stem}/member/{member}"));
                self.records.members += 1;
            }
        }
        Ok(())
    }
}

/// What is looked at of a `local.conf`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct LocalConf {
    #[serde(deserialize_with = "api::lenient::or_default")]
    settings: Settings,
}

/// The section `settings` of it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Settings {
    #[serde(deserialize_with = "api::lenient::only_text")]
    controller_db_path: Option<String>,
}

/// What is looked at of a controller's record.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Record {
    #[serde(deserialize_with = "api::lenient::only_text")]
    id: Option<String>,
}

/// Whether the node will import this file. One that is no JSON would keep it from starting.
fn is_record(path: &Path, id_length: usize) -> Result<bool, Failure> {
    let Some(content) = read_bounded(path, MAX_FILE).map_err(failed(path))? else { return Ok(false) };
    let remedy = "Repair the record, or move it away to do without it.";
    let value: Value = serde_json::from_slice(&content.bytes)
        .map_err(|error| broken(path, format!("the controller's record is no JSON ({error})"), remedy))?;
    if !value.is_object() {
        return Err(broken(path, "the controller's record is no JSON object", remedy));
    }
    Ok(api::of::<Record>(&value).id.is_some_and(|id| id.len() == id_length))
}

/// Permissions of a file without secrets: as it had them, but nobody else may write.
fn open_mode(mode: u32) -> u32 {
    mode & 0o644 | 0o600
}

/// The digits of a name that is `digits` hexadecimal digits and `suffix`, in lower case.
fn hex_of(name: &str, digits: usize, suffix: &str) -> Option<String> {
    let hex = name.strip_suffix(suffix)?;
    is_hex(hex, digits).then(|| hex.to_ascii_lowercase())
}
