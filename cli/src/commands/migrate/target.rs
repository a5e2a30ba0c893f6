//! What of the old home the new one has, what stands in the way, and the copying itself.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use protocol::world::WorldKind;

use super::files::{Owner, exists, names, open_regular, read_bounded, sync};
use super::source::{
    DATABASE, MAX_FILE, MAX_NAMES, Records, Source, Taken, broken, failed, parse_identity, parse_world,
};
use crate::failure::Failure;

/// Largest database of a controller, in bytes.
const MAX_DATABASE: u64 = 1 << 40;
/// All that is one node's and cannot be mixed with another's. The identity is put aside last: as long as it is there, a
/// run after an interruption sees that it has to go on.
const OF_ONE_NODE: [&str; 10] = [
    "planet",
    "moons.d",
    "networks.d",
    "peers.d",
    "controller.d",
    "local.conf",
    "devicemap",
    "identity.secret.saved_after_collision",
    "identity.public",
    "identity.secret",
];
/// What a home may have besides.
const OTHERS: [&str; 10] = [
    "identity.new",
    "roots.heard",
    "planet.replaced",
    "authtoken.secret",
    "metricstoken.secret",
    "planet.key",
    "app",
    "zerotier-one.port",
    "zerotier-one.pid",
    "ztnode.sock",
];

/// What has to happen to a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// It is copied.
    Copy,
    /// The new home has the same.
    Same,
    /// The new home has one that is newer.
    Newer,
}

/// What has to happen.
pub(super) struct Plan {
    /// For each of [`Source::files`].
    pub(super) files: Vec<State>,
    /// For [`Source::records`].
    pub(super) records: State,
    /// The address of the node whose home the new one is; text for people. `None`: no other node's.
    pub(super) other: Option<String>,
    /// What is put aside, in this order.
    pub(super) aside: Vec<String>,
}

/// Whether a directory may become a node's home.
pub(super) fn suitable(home: &Path) -> Result<(), &'static str> {
    let meta = fs::metadata(home).map_err(|_| "cannot be read")?;
    if !meta.is_dir() {
        return Err("is no directory");
    }
    if std::os::unix::fs::MetadataExt::mode(&meta) & 0o002 != 0 {
        return Err("is a directory where everybody may write; no home of a node");
    }
    let mut known = OF_ONE_NODE.iter().chain(&OTHERS);
    let empty = fs::read_dir(home).is_ok_and(|mut entries| entries.next().is_none());
    if !empty && !known.any(|name| exists(&home.join(name))) && !exists(&home.join(STAGE)) {
        return Err("has content, and none that a node would have put there");
    }
    Ok(())
}

/// Compares the new home, which may still be to be made, with the old one.
///
/// # Errors
/// Exit code 1: something there cannot be read.
pub(super) fn compare(source: &Source, to: &Path) -> Result<Plan, Failure> {
    let path = to.join("identity.secret");
    let present = read_bounded(&path, MAX_FILE).map_err(failed(&path))?;
    let other = present.and_then(|content| match parse_identity(&content.bytes) {
        Some(identity) if identity.to_secret_string() == source.identity.to_secret_string() => None,
        Some(identity) => Some(identity.address().to_string()),
        None => Some("with a damaged identity".to_owned()),
    });
    let mut aside = Vec::new();
    if other.is_some() {
        aside.extend(OF_ONE_NODE.iter().filter(|name| exists(&to.join(name))).map(|name| (*name).to_owned()));
    }
    let mut files = Vec::new();
    for taken in &source.files {
        let goes = aside.iter().any(|name| taken.name.split('/').next() == Some(name));
        let state = if goes { Some(State::Copy) } else { state_of(taken, &to.join(&taken.name))? };
        // Before the identity, see above.
        if state.is_none() {
            aside.insert(0, taken.name.clone());
        }
        files.push(state.unwrap_or(State::Copy));
    }
    let records = if source.records.files.is_empty() {
        State::Same
    } else if aside.iter().any(|name| name == "controller.d") {
        State::Copy
    } else {
        match state_of_records(&source.records, &source.home, to)? {
            Some(state) => state,
            None => {
                aside.insert(0, "controller.d".to_owned());
                State::Copy
            }
        }
    };
    Ok(Plan { files, records, other, aside })
}

/// `None`: there is another file that has to go first.
fn state_of(taken: &Taken, path: &Path) -> Result<Option<State>, Failure> {
    let Some(present) = read_bounded(path, MAX_FILE).map_err(failed(path))? else {
        return Ok(Some(State::Copy));
    };
    if *present.bytes == *taken.bytes {
        return Ok(Some(State::Same));
    }
    let name = taken.name.as_str();
    let newer = match name {
        // They were compared as identities; an end of line is no difference.
        "identity.secret" | "identity.public" => return Ok(Some(State::Same)),
        "planet" => {
            let [old, new] = [&taken.bytes, &present.bytes].map(|b| parse_world(b, WorldKind::Planet));
            old.zip(new).is_some_and(|(old, new)| old.id == new.id && old.timestamp <= new.timestamp)
        }
        _ if name.starts_with("moons.d/") => parse_world(&present.bytes, WorldKind::Moon).is_some(),
        // What was cached of a network's configuration is newer where the node has run.
        _ => name.starts_with("networks.d/") && !name.ends_with(".local.conf"),
    };
    Ok(newer.then_some(State::Newer))
}

/// `None`: the new home has another controller's data.
fn state_of_records(records: &Records, from: &Path, to: &Path) -> Result<Option<State>, Failure> {
    let (old, new) = (from.join("controller.d"), to.join("controller.d"));
    if names(&new, MAX_NAMES).map_err(failed(&new))?.is_empty() {
        return Ok(Some(State::Copy));
    }
    let wanted: BTreeSet<&str> = records.files.iter().map(String::as_str).collect();
    for name in records_in(&new).map_err(failed(&new))? {
        if !wanted.contains(name.as_str()) {
            return Ok(None);
        }
    }
    for name in &records.files {
        let path = new.join(name);
        if !same_content(&old.join(name), &path).map_err(failed(&path))? {
            return Ok(None);
        }
    }
    Ok(Some(State::Same))
}

/// The records below a `controller.d`, by their names.
fn records_in(folder: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for name in names(&folder.join("network"), MAX_NAMES)? {
        let Some(stem) = name.strip_suffix(".json") else { continue };
        let members = format!("network/{stem}/member");
        for member in names(&folder.join(&members), MAX_NAMES)? {
            found.push(format!("{members}/{member}"));
        }
        found.push(format!("network/{name}"));
    }
    Ok(found)
}

fn same_content(one: &Path, other: &Path) -> io::Result<bool> {
    let (Some(one), Some(other)) = (open_regular(one)?, open_regular(other)?) else { return Ok(false) };
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let [mut one, mut other] = [one, other].map(io::BufReader::new);
    let (mut left, mut right) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        let length = one.read(&mut left)?;
        if length == 0 {
            return Ok(true);
        }
        match other.read_exact(&mut right[..length]) {
            Ok(()) if left[..length] == right[..length] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// Where the controller's folder is put together before it gets its name.
const STAGE: &str = ".controller.d.migrating";

/// Does what the plan says. Returns the folder with what was put aside.
///
/// # Errors
/// Exit code 1. What was done stays done, each file whole; the same again goes on from there.
pub(super) fn carry_out(
    source: &Source,
    plan: &Plan,
    to: &Path,
    stamp: &str,
) -> Result<Option<PathBuf>, Failure> {
    let owner = Owner::of(to).map_err(failed(to))?;
    let kept = put_aside(&plan.aside, to, stamp, owner)?;
    let (identity, files) = source
        .files
        .split_last()
        .ok_or_else(|| broken(to, "there is nothing to take over", "Name another home with --from."))?;
    let copy = |taken: &Taken, state: &State| {
        if *state != State::Copy {
            return Ok(());
        }
        let path = to.join(&taken.name);
        let folder = path.parent().filter(|folder| *folder != to);
        folder.map_or(Ok(()), |folder| owner.folder(folder, 0o755)).map_err(failed(&path))?;
        owner.put(&path, &mut taken.bytes.as_slice(), taken.mode).map_err(failed(&path))
    };
    for (taken, state) in files.iter().zip(&plan.files) {
        copy(taken, state)?;
    }
    if plan.records == State::Copy {
        copy_records(&source.records, &source.home, to, owner)?;
    }
    // Last: a home with the identity has all the rest.
    copy(identity, plan.files.last().unwrap_or(&State::Copy))?;
    Ok(kept)
}

fn put_aside(aside: &[String], to: &Path, stamp: &str, owner: Owner) -> Result<Option<PathBuf>, Failure> {
    if aside.is_empty() {
        return Ok(None);
    }
    let mut folder = to.join(format!("before-migration-{stamp}"));
    for again in 2..1000 {
        if !exists(&folder) {
            break;
        }
        folder = to.join(format!("before-migration-{stamp}-{again}"));
    }
    owner.folder(&folder, 0o700).map_err(failed(&folder))?;
    for name in aside {
        let path = folder.join(name);
        if let Some(parent) = path.parent().filter(|parent| *parent != folder) {
            owner.folder(parent, 0o700).map_err(failed(parent))?;
        }
        fs::rename(to.join(name), &path).map_err(failed(&path))?;
    }
    sync(&folder).and_then(|()| sync(to)).map_err(failed(&folder))?;
    Ok(Some(folder))
}

/// The controller's folder appears as a whole: the node imports it once, and never what comes later.
fn copy_records(records: &Records, from: &Path, to: &Path, owner: Owner) -> Result<(), Failure> {
    let (old, stage, new) = (from.join("controller.d"), to.join(STAGE), to.join("controller.d"));
    if exists(&stage) {
        // What an interrupted run left.
        fs::remove_dir_all(&stage).map_err(failed(&stage))?;
    }
    owner.folder(&stage, 0o700).map_err(failed(&stage))?;
    let mut made = BTreeSet::new();
    for name in &records.files {
        for (at, _) in name.match_indices('/') {
            if made.insert(&name[..at]) {
                owner.folder(&stage.join(&name[..at]), 0o700).map_err(failed(&stage))?;
            }
        }
        let limit = if name.starts_with(DATABASE) { MAX_DATABASE } else { MAX_FILE };
        copy_record(&old.join(name), &stage.join(name), limit, owner).map_err(failed(&old.join(name)))?;
    }
    let written = fs::File::open(&stage).and_then(|folder| Ok(nix::unistd::syncfs(&folder)?));
    written.and_then(|()| fs::rename(&stage, &new)).and_then(|()| sync(to)).map_err(failed(&new))
}

fn copy_record(from: &Path, to: &Path, limit: u64, owner: Owner) -> io::Result<()> {
    let Some(file) = open_regular(from)? else {
        return Err(io::Error::other("disappeared while it was being copied"));
    };
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    if io::copy(&mut file.take(limit + 1), &mut copy)? > limit {
        return Err(io::Error::other("is too large"));
    }
    owner.take_file(&copy)
}
