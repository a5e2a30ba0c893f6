//! `root …`: a planet of one's own.

use std::path::{Path, PathBuf};

use protocol::world::{MAX_ROOTS, PUBLIC_PLANET_ID, Root, World, WorldKey, WorldKind};
use sha2::{Digest as _, Sha256};

use super::world;
use crate::args::Common;
use crate::args::world::{Endpoints, RootCommand};
use crate::failure::{Failure, Io, Outcome};

/// Planet IDs that others have claimed (Specification: worlds).
const TAKEN: [u64; 2] = [PUBLIC_PLANET_ID, 227_883_110];

/// Where this command line's planet and its key are.
struct Place<'a> {
    program: &'a str,
    json: bool,
    home: PathBuf,
    planet: PathBuf,
    key: PathBuf,
}

/// Runs one of the root commands. None of them needs a running node.
///
/// # Errors
/// Exit code 2 for input that cannot be right, 1 for files that cannot be read or written.
pub fn run(program: &str, common: &Common, command: RootCommand, io: &mut Io<'_>) -> Outcome {
    let home = common.home();
    let place = |out: Option<PathBuf>| Place {
        program,
        json: common.json,
        planet: out.unwrap_or_else(|| home.join("planet")),
        key: home.join("planet.key"),
        home: home.clone(),
    };
    match command {
        RootCommand::Init { endpoints, out, name, id, force } => {
            let id = match (name, id) {
                (_, Some(id)) if TAKEN.contains(&id) => {
                    return Err(Failure::usage(format!(
                        "{program}: --id {id} is a planet of somebody else; leave --id out for a random one"
                    )));
                }
                (_, Some(id)) => id,
                (Some(name), None) => named_id(&name),
                (None, None) => random_id(),
            };
            init(&place(out), &endpoints, id, force, io)
        }
        RootCommand::Add { identity, endpoints, out } => {
            let added = super::identity::require(&identity)?.identity;
            if !added.locally_valid() {
                return Err(Failure::usage(format!(
                    "{program}: the address {} does not belong to its key",
                    added.address
                )));
            }
            let endpoints = world::endpoints(&endpoints.endpoint)?;
            resign(&place(out), io, |roots| {
                roots.retain(|root| root.identity != added);
                roots.push(Root { identity: added, endpoints });
                Ok(())
            })
        }
        RootCommand::Remove { address, out } => resign(&place(out), io, |roots| {
            let before = roots.len();
            roots.retain(|root| root.identity.address.to_string() != address);
            if roots.len() == before {
                return Err(Failure::usage(format!(
                    "{program}: {address} is no root of this planet; see root show"
                )));
            }
            if roots.is_empty() {
                return Err(Failure::usage(format!(
                    "{program}: {address} is the last root; a planet needs one"
                )));
            }
            Ok(())
        }),
        RootCommand::Sign { endpoint, out } => {
            let endpoints = world::endpoints(&endpoint)?;
            let place = place(out);
            resign(&place, io, |roots| {
                if endpoints.is_empty() {
                    return Ok(());
                }
                let (own, _) = world::own_identity(program, &place.home)?;
                let root =
                    roots.iter_mut().find(|root| root.identity == *own.identity()).ok_or_else(|| {
                        Failure::usage(format!(
                            "{program}: this node ({}) is no root of this planet; use root add",
                            own.address()
                        ))
                    })?;
                root.endpoints = endpoints;
                Ok(())
            })
        }
        RootCommand::Use { planet } => super::planet_choice::put(program, &home, &planet, io),
        RootCommand::Show { file } => {
            let place = place(file);
            let found = world::read(program, &place.planet)?;
            if place.json {
                return super::node::print_json(&world::to_json(&found, Some(&place.planet)), io);
            }
            Ok(write!(io.out, "{}", world::to_text(&found))?)
        }
    }
}

fn init(place: &Place<'_>, endpoints: &Endpoints, id: u64, force: bool, io: &mut Io<'_>) -> Outcome {
    let Place { program, home, planet, key: key_path, .. } = place;
    let endpoints = world::endpoints(&endpoints.endpoint)?;
    if !force {
        refuse_to_replace(place)?;
    }
    let (own, new_identity) = world::own_identity(program, home)?;
    let key = WorldKey::generate();
    let roots = vec![Root { identity: own.identity().clone(), endpoints }];
    let made = World::new_signed(WorldKind::Planet, id, world::timestamp(None), &key, roots);
    // The key first: a planet whose key is lost can never be changed again.
    world::write(program, key_path, world::key_text(&key).as_bytes(), 0o600)?;
    world::write(program, planet, &made.to_bytes(), 0o644)?;
    if place.json {
        return super::node::print_json(&world::to_json(&made, Some(planet)), io);
    }
    write!(io.out, "{}", world::to_text(&made))?;
    if new_identity {
        writeln!(io.out, "  identity made: {}", home.join("identity.secret").display())?;
    }
    writeln!(io.out, "  written: {}", planet.display())?;
    writeln!(io.out, "  its key: {} (back it up: it signs every later version)", key_path.display())?;
    let installed = *planet == home.join("planet");
    writeln!(io.out, "\nThis node becomes the root when it starts with this planet:")?;
    if !installed {
        writeln!(io.out, "  cp {} {}", planet.display(), home.join("planet").display())?;
    }
    writeln!(io.out, "  systemctl restart ztnode")?;
    writeln!(io.out, "Every other node needs the same file as <home>/planet, and a restart:")?;
    writeln!(
        io.out,
        "  scp {} NODE:{}",
        planet.display(),
        crate::home::default_home().join("planet").display()
    )?;
    writeln!(io.out, "  ssh NODE systemctl restart ztnode")?;
    Ok(())
}

/// A planet with its key is worth more than a mistyped command. The public planet, which every node writes to this
/// place at its first start, is not.
fn refuse_to_replace(place: &Place<'_>) -> Outcome {
    let exists = |path: &Path, what: &str| {
        Err(Failure::usage(format!(
            "{}: {} is {what}; add roots to it with root add, sign it anew with root sign, or replace it with --force",
            place.program,
            path.display()
        )))
    };
    if place.key.exists() {
        return exists(&place.key, "the key of a planet made here before");
    }
    if place.planet.exists() && world::read(place.program, &place.planet)?.id != PUBLIC_PLANET_ID {
        return exists(&place.planet, "a planet already");
    }
    Ok(())
}

/// Changes the roots of the planet and signs the result as its next version.
fn resign(
    place: &Place<'_>,
    io: &mut Io<'_>,
    change: impl FnOnce(&mut Vec<Root>) -> Result<(), Failure>,
) -> Outcome {
    let Place { program, planet, key: key_path, .. } = place;
    let current = world::read(program, planet)?;
    let key = world::read_key(program, key_path)?;
    if current.must_sign != key.public {
        return Err(Failure::error(format!(
            "{program}: {} is not the key that must sign the next version of {}",
            key_path.display(),
            planet.display()
        )));
    }
    let mut roots = current.roots.clone();
    change(&mut roots)?;
    if roots.len() > MAX_ROOTS {
        return Err(Failure::usage(format!(
            "{program}: a planet has at most {MAX_ROOTS} roots; remove one first"
        )));
    }
    world::sort_roots(&mut roots);
    let next =
        World::new_signed(current.kind, current.id, world::timestamp(Some(current.timestamp)), &key, roots);
    world::write(program, planet, &next.to_bytes(), 0o644)?;
    if place.json {
        return super::node::print_json(&world::to_json(&next, Some(planet)), io);
    }
    write!(io.out, "{}  written: {}\n\n", world::to_text(&next), planet.display())?;
    Ok(writeln!(
        io.out,
        "Copy it to every root and restart the roots; all other nodes take it over from them by themselves."
    )?)
}

fn named_id(name: &str) -> u64 {
    let digest = Sha256::digest(name.as_bytes());
    let mut id = [0; 8];
    id.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(id).max(1)
}

fn random_id() -> u64 {
    loop {
        // Below 2^53, so that every JSON reader shows it exactly.
        let id = rand::random::<u64>() >> 11;
        if id != 0 && !TAKEN.contains(&id) {
            return id;
        }
    }
}
