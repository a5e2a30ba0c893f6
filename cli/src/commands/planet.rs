//! The planet that a join token names: taken by a node that nothing depends on yet, before it joins.
//!
//! The tool fetches the file, so that the service talks to nobody but nodes; the service decides whether it takes it.

use std::io::Read as _;

use hyper::Method;
use protocol::world::{MAX_FILE, World};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::identity::hex;
use super::{described, world};
use crate::args::join::{Planet, Source};
use crate::failure::{Failure, Io};
use crate::fetch;
use crate::transport::Reply;

/// Path of the control API.
pub(super) const PATH: &str = "/planet";

/// A request about the planet.
pub(super) enum Ask {
    /// Which one is in force?
    Show,
    /// Put this one in force.
    Take(Vec<u8>),
}

impl Ask {
    /// The method, and the body if there is one.
    pub(super) fn parts(&self) -> (Method, Option<&[u8]>) {
        match self {
            Self::Show => (Method::GET, None),
            Self::Take(bytes) => (Method::POST, Some(bytes)),
        }
    }
}

/// Sees to it that the node uses the planet. `ask` carries a request to the service, whatever the answer; `home` is the
/// node's, for people.
///
/// # Errors
/// The planet cannot be had or is another one, the node keeps its own; nothing is changed then.
pub(super) fn ensure<E: From<Failure> + From<std::io::Error>>(
    program: &str,
    home: &std::path::Path,
    planet: &Planet,
    mut ask: impl FnMut(&Ask, &mut Io<'_>) -> Result<Reply, E>,
    io: &mut Io<'_>,
) -> Result<(), E> {
    let reply = ask(&Ask::Show, io)?;
    if reply.status == 404 {
        return Err(Failure::error(format!(
            "{program}: join: the service that runs is older than this tool and takes no planet by a token; restart it: \
             systemctl restart ztnode"
        ))
        .into());
    }
    let shown = answer(program, &reply)?;
    let shown: api::Planet = api::of(&shown);
    if shown.sha256 == planet.sha256 {
        return Ok(());
    }
    if !shown.replaceable {
        let why = match shown.kept_because.as_deref().unwrap_or_default() {
            "joined" => "this node has joined a network",
            "heard" => "a root has answered this node",
            "root" => "this node is a root of its planet",
            "signs" => "this node has the key of a planet (planet.key)",
            _ => "this node keeps its own",
        };
        return Err(kept(program, home, planet, why).into());
    }
    let bytes = obtain(program, planet)?;
    let world = checked(&bytes, planet).map_err(|why| {
        Failure::error(format!("{program}: join: {}: {why}; nothing was changed", planet.source))
    })?;
    // Said before anything is done with it.
    write!(
        io.err,
        "{program}: join: this node takes the planet of {}\n{}",
        planet.source,
        world::to_text(&world)
    )?;
    writeln!(io.err, "  SHA-256 {}", planet.sha256)?;
    io.err.flush()?;
    let reply = ask(&Ask::Take(bytes), io)?;
    if reply.status == 409 {
        // Something happened since it was asked.
        return Err(kept(program, home, planet, &described(&reply)).into());
    }
    answer(program, &reply)?;
    Ok(())
}

/// The object of a 200 answer.
fn answer(program: &str, reply: &Reply) -> Result<Value, Failure> {
    if reply.status != 200 {
        let said = described(reply);
        let status = reply.status;
        return Err(Failure::error(format!(
            "{program}: join: the service answers {status} about the planet: {said}"
        )));
    }
    serde_json::from_slice(&reply.body).map_err(|error| {
        Failure::error(format!("{program}: join: what the service says of the planet is no JSON: {error}"))
    })
}

/// The node keeps its planet: what a person can do about it.
fn kept(program: &str, home: &std::path::Path, planet: &Planet, why: &str) -> Failure {
    let Planet { sha256, source } = planet;
    let (home, new) = (home.display(), home.join("planet.new"));
    let new = new.display();
    let get = match source {
        Source::Url(url) => format!("curl -fo {new} {url}"),
        Source::File(path) => format!("cp {} {new}", path.display()),
    };
    Failure::error(format!(
        "{program}: join: the token's planet was not taken, nor was anything joined: {why}. The planet: {source}, SHA-256 \
         {sha256}"
    ))
    .hint(format!(
        "To change the planet by hand: {get} && echo '{sha256}  {new}' | sha256sum -c && mv {new} {home}/planet && systemctl \
         restart ztnode; then join again."
    ))
    .hint("To join without changing it: the same command with --keep-planet.")
}

/// The file, wherever it is.
fn obtain(program: &str, planet: &Planet) -> Result<Vec<u8>, Failure> {
    let got = match &planet.source {
        Source::Url(url) => fetch::get(url, MAX_FILE),
        Source::File(path) => {
            let mut bytes = Vec::new();
            // One octet more than there may be, to see that there are more.
            std::fs::File::open(path)
                .and_then(|file| file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes))
                .map(|_| bytes)
                .map_err(|error| format!("it cannot be read: {error}"))
        }
    };
    got.map_err(|why| {
        Failure::error(format!(
            "{program}: join: the token's planet cannot be had from {}: {why}; nothing was changed",
            planet.source
        ))
    })
}

/// The planet in these octets, which must be the one that the token names.
fn checked(bytes: &[u8], planet: &Planet) -> Result<World, String> {
    let found = sha256(bytes);
    if found != planet.sha256 {
        return Err(format!(
            "this is not the planet that the token names: its SHA-256 is {found}, not {}; if the planet was signed anew since, \
             a new token is needed",
            planet.sha256
        ));
    }
    World::parse_planet(bytes).map_err(|error| format!("this is not the file of a planet: {error}"))
}

/// SHA-256 in hexadecimal, lower case.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
