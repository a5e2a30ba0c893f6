//! What planets and moons have in common here: their descriptions as JSON, keys, files and how they are shown.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use protocol::identity::{Identity, SecretIdentity};
use protocol::inet::{format_endpoint, parse_endpoint};
use protocol::world::{MAX_ENDPOINTS, MAX_ROOTS, Root, World, WorldKey, WorldKind};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::identity::{self, hex, unhex};
use crate::failure::Failure;
use crate::home::write_home;
use crate::validate;

/// This node's identity from the home directory; made and stored there if it has none yet. The flag says whether it
/// is new.
///
/// # Errors
/// An identity file that cannot be read, holds none or holds a damaged one; a directory that cannot be written.
/// Nothing is changed then.
pub(super) fn own_identity(program: &str, home: &Path) -> Result<(SecretIdentity, bool), Failure> {
    let path = home.join("identity.secret");
    let shown = path.display();
    let text = match identity::read_text(&path) {
        Ok(text) if !text.trim().is_empty() => text,
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure::error(format!("{program}: cannot read {shown}: {error}; run this as root")));
        }
        _ => {
            let made = SecretIdentity::generate();
            make_directory(program, home)?;
            write(program, &path, made.to_secret_string().as_bytes(), 0o600)?;
            write(program, &home.join("identity.public"), made.identity().to_string().as_bytes(), 0o644)?;
            return Ok((made, true));
        }
    };
    match SecretIdentity::parse(text.trim()) {
        Ok(secret) if secret.identity().locally_valid() && secret.is_consistent() => Ok((secret, false)),
        _ => Err(Failure::error(format!(
            "{program}: {shown} holds no valid identity; restore it from a backup, or remove it to get a new address"
        ))),
    }
}

/// Creates the home directory if it is missing.
///
/// # Errors
/// Exit code 1 with what the system says.
pub(super) fn make_directory(program: &str, home: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(home).map_err(|error| {
        Failure::error(format!(
            "{program}: cannot create {}: {error}; run this as root, or name another home with --home DIR",
            home.display()
        ))
    })
}

/// Writes a file whole or not at all.
///
/// # Errors
/// Exit code 1 with what the system says.
pub(super) fn write(program: &str, path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    write_home(path, bytes, mode).map_err(|error| {
        Failure::error(format!(
            "{program}: cannot write {}: {error}; run this as root, or write elsewhere",
            path.display()
        ))
    })
}

/// Reads a planet or moon file.
///
/// # Errors
/// Exit code 1: unreadable, or no world.
pub(super) fn read(program: &str, path: &Path) -> Result<World, Failure> {
    let shown = path.display();
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::error(format!("{program}: cannot read {shown}: {error}")))?;
    World::parse(&bytes)
        .map_err(|error| Failure::error(format!("{program}: {shown} is no planet or moon: {error}")))
}

/// The key file of a planet: public and secret half in hexadecimal, a colon between them.
pub(super) fn key_text(key: &WorldKey) -> Zeroizing<String> {
    let secret = Zeroizing::new(hex(key.secret()));
    Zeroizing::new(format!("{}:{}\n", hex(&key.public), secret.as_str()))
}

/// Reads what [`key_text`] wrote.
///
/// # Errors
/// Exit code 1: unreadable, or no key.
pub(super) fn read_key(program: &str, path: &Path) -> Result<WorldKey, Failure> {
    let shown = path.display();
    let text = identity::read_text(path).map_err(|error| {
        Failure::error(format!(
            "{program}: cannot read {shown}: {error}; only the machine that made the planet has the key that signs it"
        ))
    })?;
    let halves = text.trim().split_once(':');
    halves
        .and_then(|(public, secret)| key_of(public, secret))
        .ok_or_else(|| Failure::error(format!("{program}: {shown} holds no key of a planet")))
}

/// A key pair from its two halves in hexadecimal, if they belong together.
fn key_of(public: &str, secret: &str) -> Option<WorldKey> {
    let secret = Zeroizing::new(unhex(secret)?);
    let key = WorldKey::from_secret(secret.as_slice().try_into().ok()?);
    (unhex(public)? == key.public).then_some(key)
}

/// The endpoints of `--endpoint`: looked up, sorted as the reference tool sorts them, each once.
///
/// # Errors
/// Exit code 2: one of them is wrong, or there are too many.
pub(super) fn endpoints(typed: &[String]) -> Result<Vec<SocketAddr>, Failure> {
    let mut all = Vec::new();
    for text in typed {
        all.extend(validate::endpoint(text)?);
    }
    sort_endpoints(&mut all);
    all.dedup();
    if all.len() > MAX_ENDPOINTS {
        return Err(Failure::usage(format!(
            "--endpoint: a root has at most {MAX_ENDPOINTS} endpoints, not {}",
            all.len()
        )));
    }
    Ok(all)
}

fn sort_endpoints(endpoints: &mut [SocketAddr]) {
    endpoints.sort_by_key(|endpoint| (endpoint.is_ipv6(), endpoint.port(), endpoint.ip()));
}

/// Sorts roots as the reference tool does: by address, then by key.
pub(super) fn sort_roots(roots: &mut [Root]) {
    roots.sort_by_key(|root| (root.identity.address.to_u64(), root.identity.public));
}

/// A description of a moon whose only root is `identity`, with a new key (Specification: initmoon).
pub fn describe(identity: &Identity, endpoints: &[SocketAddr]) -> Value {
    let key = WorldKey::generate();
    let public = hex(&key.public);
    let endpoints: Vec<String> = endpoints.iter().map(|endpoint| format_endpoint(*endpoint)).collect();
    json!({
        "id": identity.address.to_string(),
        "objtype": "world",
        "roots": [{"identity": identity.to_string(), "stableEndpoints": endpoints}],
        "signingKey": public,
        "signingKey_SECRET": hex(key.secret()),
        "updatesMustBeSignedBy": public,
        "worldType": "moon",
    })
}

/// Why a description makes no world.
pub enum Undescribed {
    /// The ID is missing, zero or no hexadecimal number.
    Id,
    /// The kind is neither moon nor planet.
    Kind,
    /// Something else; the text says what and where.
    Other(String),
}

/// A world before it is signed, as genmoon has it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Description {
    #[serde(deserialize_with = "api::lenient::only_text")]
    id: Option<String>,
    #[serde(deserialize_with = "api::lenient::only_text")]
    world_type: Option<String>,
    #[serde(deserialize_with = "api::lenient::or_default")]
    signing_key: String,
    #[serde(rename = "signingKey_SECRET", deserialize_with = "api::lenient::or_default")]
    signing_key_secret: String,
    #[serde(deserialize_with = "api::lenient::or_default")]
    updates_must_be_signed_by: String,
    #[serde(deserialize_with = "api::lenient::or_default")]
    roots: Option<Vec<Value>>,
}

/// A root of it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DescribedRoot {
    #[serde(deserialize_with = "api::lenient::or_default")]
    identity: String,
    #[serde(deserialize_with = "api::lenient::list")]
    stable_endpoints: Vec<Value>,
}

/// The signed world of a description, as of `now` in milliseconds since the Unix epoch (Specification: genmoon).
///
/// # Errors
/// [`Undescribed`], naming the field.
pub fn build(description: &Value, now: u64) -> Result<World, Undescribed> {
    let other = |what: String| Undescribed::Other(what);
    let described: Description = api::of(description);
    let Description { id, world_type, roots: listed, .. } = &described;
    let id = id.as_deref().and_then(|id| u64::from_str_radix(id, 16).ok()).filter(|id| *id != 0);
    let id = id.ok_or(Undescribed::Id)?;
    let kind = match world_type.as_deref() {
        Some("moon") => WorldKind::Moon,
        Some("planet") => WorldKind::Planet,
        _ => return Err(Undescribed::Kind),
    };
    let key = key_of(&described.signing_key, &described.signing_key_secret).ok_or_else(|| {
        other("signingKey and signingKey_SECRET are no key pair of 2 × 128 hexadecimal digits".into())
    })?;
    let next = unhex(&described.updates_must_be_signed_by).and_then(|bytes| <[u8; 64]>::try_from(bytes).ok());
    let next =
        next.ok_or_else(|| other("updatesMustBeSignedBy is no key of 128 hexadecimal digits".into()))?;
    let listed = listed.as_ref().filter(|roots| (1..=MAX_ROOTS).contains(&roots.len()));
    let listed = listed.ok_or_else(|| other(format!("roots must be a list of 1 to {MAX_ROOTS}")))?;
    let mut roots = Vec::new();
    for (index, root) in listed.iter().enumerate() {
        let root: DescribedRoot = api::of(root);
        let identity = Identity::parse(&root.identity)
            .map_err(|error| other(format!("roots[{index}].identity: {error}")))?;
        let mut endpoints = Vec::new();
        for (number, endpoint) in root.stable_endpoints.iter().enumerate() {
            let endpoint = endpoint.as_str().and_then(|text| parse_endpoint(text).ok()).ok_or_else(|| {
                other(format!("roots[{index}].stableEndpoints[{number}] must be IP/PORT, not {endpoint}"))
            })?;
            endpoints.push(endpoint);
        }
        if endpoints.len() > MAX_ENDPOINTS {
            return Err(other(format!(
                "roots[{index}].stableEndpoints: at most {MAX_ENDPOINTS} are possible"
            )));
        }
        sort_endpoints(&mut endpoints);
        roots.push(Root { identity, endpoints });
    }
    sort_roots(&mut roots);
    Ok(World::new_signed_by(kind, id, now, next, &key, roots))
}

/// The time of a new version: now, but in any case after the version before.
pub(super) fn timestamp(before: Option<u64>) -> u64 {
    let now = u64::try_from(super::now()).unwrap_or(0);
    before.map_or(now, |before| now.max(before.saturating_add(1)))
}

/// A world for `-j`: the fields of the control API's moon object, and more.
pub(super) fn to_json(world: &World, path: Option<&PathBuf>) -> Value {
    let roots: Vec<Value> = world
        .roots
        .iter()
        .map(|root| {
            let endpoints: Vec<String> =
                root.endpoints.iter().map(|endpoint| format_endpoint(*endpoint)).collect();
            json!({"identity": root.identity.to_string(), "stableEndpoints": endpoints})
        })
        .collect();
    let path = path.map(|path| path.display().to_string());
    let mut object = json!({
        "id": format!("{:016x}", world.id),
        "worldId": world.id,
        "worldType": kind(world),
        "timestamp": world.timestamp,
        "updatesMustBeSignedBy": hex(&world.must_sign),
        "signature": hex(&world.signature),
        "roots": roots,
    });
    if let (Value::Object(fields), Some(path)) = (&mut object, path) {
        fields.insert("path".to_owned(), path.into());
    }
    object
}

/// A world for people: one line on it, one on each root.
pub(super) fn to_text(world: &World) -> String {
    let mut text = format!("{} {} ({:016x}), version {}\n", kind(world), world.id, world.id, world.timestamp);
    for root in &world.roots {
        let endpoints: Vec<String> =
            root.endpoints.iter().map(|endpoint| format_endpoint(*endpoint)).collect();
        let endpoints = if endpoints.is_empty() { "no endpoints".to_owned() } else { endpoints.join(", ") };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  root {}  {endpoints}", root.identity.address);
    }
    text
}

/// What kind of world it is, in a word.
pub(super) fn kind(world: &World) -> &'static str {
    match world.kind {
        WorldKind::Planet => "planet",
        WorldKind::Moon => "moon",
        WorldKind::Null => "null",
    }
}
