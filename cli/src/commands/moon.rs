//! Moons: `listmoons`, `orbit` and `deorbit` as the reference tool has them, and the `moon …` group.

use std::path::Path;

use api::{Moon, Orbit};
use hyper::Method;
use protocol::world::World;
use serde_json::Value;

use super::node::{finish, print_json};
use super::world::{self, Undescribed};
use super::{Session, controller};
use crate::args::Common;
use crate::args::switches::Words;
use crate::args::world::MoonCommand;
use crate::failure::{Failure, Io, Outcome};
use crate::text;
use crate::validate::is_hex;

/// `listmoons`: always JSON.
///
/// # Errors
/// As [`Session::show_list`].
pub fn list_classic(session: &Session, _: &Words, io: &mut Io<'_>) -> Outcome {
    let moons = session.show_list("listmoons", "/moon")?;
    print_json(&Value::Array(moons), io)
}

/// `orbit MOON SEED`.
///
/// # Errors
/// Exit code 2 without a moon and a seed; as [`Session::act`].
pub fn orbit_classic(session: &Session, words: &Words, io: &mut Io<'_>) -> Outcome {
    let (id, seed) = (words.first(), words.second());
    let number = |text: &str| u64::from_str_radix(text, 16).is_ok_and(|number| number != 0);
    if !number(id) || !number(seed) {
        if session.reference() {
            return Ok(());
        }
        return Err(Failure::usage(format!(
            "{}: orbit needs the moon's ID and the address of one of its roots: orbit deadbeef00 deadbeef00",
            session.program
        )));
    }
    session.act(
        "orbit",
        Method::POST,
        &path(id),
        Some(&api::json(&Orbit { seed: Some(seed.to_owned()) })),
    )?;
    Ok(writeln!(io.out, "200 orbit OK")?)
}

/// `deorbit MOON`.
///
/// # Errors
/// As [`Session::act`].
pub fn deorbit_classic(session: &Session, words: &Words, io: &mut Io<'_>) -> Outcome {
    let reply = session.act("deorbit", Method::DELETE, &path(words.first()), None)?;
    finish(session, "deorbit", &reply.body, io)
}

/// The API takes 10 digits; tools and file names show 16, of which the first six are zeros by convention.
fn path(id: &str) -> String {
    let short = if is_hex(id, 16) { id.strip_prefix("000000").unwrap_or(id) } else { id };
    format!("/moon/{short}")
}

/// Runs one of the `moon` commands.
///
/// # Errors
/// Exit code 2 for input that cannot be right, 1 for files or the service saying no.
pub fn run(program: &str, common: Common, command: MoonCommand, io: &mut Io<'_>) -> Outcome {
    match command {
        MoonCommand::Init { identity, endpoint, out } => {
            let identity = match identity {
                Some(argument) => super::identity::require(&argument)?.identity,
                None => world::own_identity(program, &common.home())?.0.identity().clone(),
            };
            let description = world::describe(&identity, &world::endpoints(&endpoint)?);
            let Some(out) = out else { return print_json(&description, io) };
            if out.exists() {
                return Err(Failure::usage(format!(
                    "{program}: {} exists, and the key in it cannot be made again; name another file",
                    out.display()
                )));
            }
            world::write(program, &out, format!("{}\n", text::json::dump(&description)).as_bytes(), 0o600)?;
            let shown = out.display();
            Ok(writeln!(io.out, "written: {shown}\nNext: ztnode-cli moon sign {shown}")?)
        }
        MoonCommand::Sign { file, out_dir } => sign(program, &common, &file, &out_dir, io),
        MoonCommand::List => list(&Session::open(program, common)?, io),
        MoonCommand::Orbit { id, seed } => {
            let id = checked(program, &id)?;
            let seed = match seed {
                Some(seed) => crate::validate::address(&seed)
                    .map_err(|why| Failure::usage(format!("{program}: {seed}: {why}")))?,
                None => {
                    crate::validate::address(id.get(id.len() - 10..).unwrap_or_default()).map_err(|_| {
                        Failure::usage(format!("{program}: name the address of one of the moon's roots too"))
                    })?
                }
            };
            let session = Session::open(program, common)?;
            let moon = controller::request(
                &session,
                Method::POST,
                &path(&id),
                Some(&api::json(&Orbit { seed: Some(seed) })),
            )?;
            if session.common.json {
                return print_json(&moon, io);
            }
            let waiting = if api::of::<Moon>(&moon).waiting == Some(true) {
                " (waiting for it to arrive from its root)"
            } else {
                ""
            };
            Ok(writeln!(io.out, "orbiting {id}{waiting}")?)
        }
        MoonCommand::Deorbit { id } => {
            let id = checked(program, &id)?;
            let session = Session::open(program, common)?;
            let result = controller::request(&session, Method::DELETE, &path(&id), None)?;
            if session.common.json {
                return print_json(&result, io);
            }
            Ok(writeln!(io.out, "moon {id} forgotten")?)
        }
    }
}

fn checked(program: &str, id: &str) -> Result<String, Failure> {
    if (is_hex(id, 10) || is_hex(id, 16)) && id.bytes().any(|digit| digit != b'0') {
        return Ok(id.to_ascii_lowercase());
    }
    Err(Failure::usage(format!(
        "{program}: {}: a moon's ID is 10 or 16 hexadecimal digits",
        text::printable(id)
    )))
}

fn list(session: &Session, io: &mut Io<'_>) -> Outcome {
    let moons = controller::request(session, Method::GET, "/moon?waiting=true", None)?;
    if session.common.json {
        return print_json(&moons, io);
    }
    let moons: Vec<Moon> = api::all(moons.as_array().map_or(&[][..], Vec::as_slice));
    if moons.is_empty() {
        return Ok(writeln!(io.out, "This node orbits no moons.")?);
    }
    let mut rows = Vec::new();
    for moon in &moons {
        let id = text::printable(&moon.id);
        if moon.waiting == Some(true) {
            let seed = moon.seed.as_deref().map_or_else(|| "-".to_owned(), text::printable);
            rows.push([id.clone(), seed, "waiting for it to arrive from this root".to_owned()]);
        }
        for root in &moon.roots {
            let identity = text::printable(&root.identity);
            let address = identity.split(':').next().unwrap_or_default().to_owned();
            let endpoints: Vec<String> = root.stable_endpoints.iter().map(|at| text::printable(at)).collect();
            let endpoints = if endpoints.is_empty() { "-".to_owned() } else { endpoints.join(", ") };
            rows.push([id.clone(), address, endpoints]);
        }
    }
    Ok(write!(io.out, "{}", text::table::layout(["MOON", "ROOT", "ENDPOINTS"], &rows))?)
}

fn sign(program: &str, common: &Common, file: &Path, out_dir: &Path, io: &mut Io<'_>) -> Outcome {
    let shown = file.display();
    let made = world_of(file).map_err(|why| Failure::error(format!("{program}: {shown}: {why}")))?;
    let path = out_dir.join(format!("{:016x}.moon", made.id));
    world::write(program, &path, &made.to_bytes(), 0o644)?;
    if common.json {
        return print_json(&world::to_json(&made, Some(&path)), io);
    }
    write!(io.out, "{}  written: {}\n\n", world::to_text(&made), path.display())?;
    let id = made.id;
    writeln!(io.out, "On its roots: copy it to <home>/moons.d/ and restart them.")?;
    if made.roots.is_empty() {
        return Ok(());
    }
    let seed = made.roots[0].identity.address;
    Ok(writeln!(io.out, "On every node that is to use it: ztnode-cli moon orbit {id:010x} {seed}")?)
}

fn world_of(file: &Path) -> Result<World, String> {
    let text = super::identity::read_text(file).map_err(|error| error.to_string())?;
    let description: Value = serde_json::from_str(&text).map_err(|error| format!("no JSON: {error}"))?;
    world::build(&description, world::timestamp(None)).map_err(|why| match why {
        Undescribed::Id => "id must be a hexadecimal number other than 0".to_owned(),
        Undescribed::Kind => "worldType must be moon or planet".to_owned(),
        Undescribed::Other(what) => what,
    })
}
