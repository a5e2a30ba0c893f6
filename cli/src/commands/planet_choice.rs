//! The planet that somebody chose for a node, put in place before the node starts: `root use`, an installation, a container.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use protocol::world::{MAX_FILE, World, WorldKind};

use super::planet::sha256;
use super::world::{self, make_directory};
use crate::failure::{Failure, Io, Outcome};
use crate::fetch;
use crate::text::printable;
use crate::validate::is_hex;

/// What separates a place from the hash of what has to be there.
const HASH: &str = "#sha256=";

/// Puts the planet from `source`, a file with or without `#sha256=HEX` behind it or an https URL with it, into the home directory.
///
/// A newer version of the same planet stays: the node has it from its roots. What is there already is not fetched again, so that a
/// container starts anew without the server that it had its planet from.
///
/// # Errors
/// Exit code 1: it cannot be read or written, is no planet, or not the one of that hash. 2: this node makes planets itself. Nothing
/// is changed then.
pub(super) fn put(program: &str, home: &Path, source: &str, io: &mut Io<'_>) -> Outcome {
    let path = home.join("planet");
    let refused = |why: String| {
        Failure::error(format!("{program}: the planet {}: {why}; nothing was changed", printable(source)))
    };
    let (place, hash) = parts(source).map_err(refused)?;
    let current = match read(&path) {
        Ok(bytes) => {
            let world = World::parse(&bytes).ok().filter(|world| world.kind == WorldKind::Planet);
            if world.is_some() && hash.is_some_and(|hash| hash.eq_ignore_ascii_case(&sha256(&bytes))) {
                return Ok(());
            }
            world
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            let place = path.display();
            return Err(Failure::error(format!("{program}: cannot read {place}: {error}; run this as root")));
        }
    };
    let chosen = obtain(place, hash).map_err(refused)?;
    match &current {
        Some(current) if *current == chosen => return Ok(()),
        Some(current) if current.id == chosen.id && current.timestamp >= chosen.timestamp => {
            return Ok(writeln!(
                io.err,
                "{program}: {} is a newer version of this planet, and stays",
                path.display()
            )?);
        }
        _ => {}
    }
    let key = home.join("planet.key");
    if current.is_some_and(|current| current.id != chosen.id) && key.exists() {
        return Err(Failure::usage(format!(
            "{program}: this node signs a planet of its own ({}); to give that up, move {} and planet away first",
            home.display(),
            key.display()
        )));
    }
    make_directory(program, home)?;
    world::write(program, &path, &chosen.to_bytes(), 0o644)?;
    Ok(write!(
        io.err,
        "{program}: this node starts from the roots of {}\n{}",
        printable(source),
        world::to_text(&chosen)
    )?)
}

/// The place, and the hash of what has to be there: a URL must have one.
fn parts(source: &str) -> Result<(&str, Option<&str>), String> {
    match source.split_once(HASH) {
        Some((place, hash)) if is_hex(hash, 64) => Ok((place, Some(hash))),
        Some(_) => Err("behind #sha256= stand 64 hexadecimal digits, as sha256sum prints them".into()),
        None if source.contains("://") => {
            Err("a URL needs the SHA-256 of the file behind it: URL#sha256=HEX, as sha256sum prints it"
                .into())
        }
        None => Ok((source, None)),
    }
}

/// The planet at a place, which has to be the one of that hash.
fn obtain(place: &str, hash: Option<&str>) -> Result<World, String> {
    let bytes = if place.contains("://") {
        fetch::get(place, MAX_FILE)?
    } else {
        read(Path::new(place)).map_err(|error| {
            // Installers run elsewhere than whoever calls them.
            let full = std::path::absolute(place).unwrap_or_else(|_| place.into());
            format!("{} cannot be read ({error})", full.display())
        })?
    };
    let world = World::parse_planet(&bytes).map_err(|error| error.to_string())?;
    let found = sha256(&bytes);
    if hash.is_some_and(|hash| !hash.eq_ignore_ascii_case(&found)) {
        return Err(format!("its SHA-256 is another: {found}"));
    }
    Ok(world)
}

/// The file, as far as a planet can be long and one octet more.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
