//! `token …`: what lets nodes into the networks of this node's controller without anybody authorizing them.

use std::io::Read as _;

use api::{ShownToken, TokenRequest};
use hyper::Method;
use protocol::join_token::{JoinToken, Place, Planet};
use protocol::world::{MAX_FILE, World};
use serde::Serialize;
use serde_json::{Value, json};

use super::Session;
use super::controller::{network_id, print, request};
use super::user_data::Plan;
use crate::args::token::{Create, TokenCommand};
use crate::failure::{Failure, Io, Outcome};
use crate::text;

/// Runs one of the token commands.
///
/// # Errors
/// Exit code 2 for input that cannot be right, 1 for what the service says no to.
pub fn run(session: &Session, command: TokenCommand, io: &mut Io<'_>) -> Outcome {
    match command {
        TokenCommand::Create(create) => make(session, &create, io),
        TokenCommand::List { network } => {
            let id = network_id(session, &network)?;
            let tokens = request(session, Method::GET, &format!("/controller/network/{id}/token"), None)?;
            if session.common.json {
                return print(&tokens, io);
            }
            let tokens = tokens.as_array().map_or(&[][..], Vec::as_slice);
            Ok(write!(io.out, "{}", text::token::list(&id, &api::all(tokens), super::now()))?)
        }
        TokenCommand::Revoke { network, id } => {
            let network = network_id(session, &network)?;
            let path = format!("/controller/network/{network}/token/{id}");
            let token = request(session, Method::DELETE, &path, None)?;
            if session.common.json {
                return print(&token, io);
            }
            let members = api::of::<ShownToken>(&token).members.len();
            let stay = match members {
                0 => String::new(),
                1 => "; the member it let in stays".to_owned(),
                many => format!("; the {many} members it let in stay"),
            };
            Ok(writeln!(io.out, "token {id} of {network} revoked{stay}")?)
        }
    }
}

/// A token as it is printed: with the planet that it names.
#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    token: ShownToken,
    #[serde(skip_serializing_if = "Option::is_none")]
    planet: Option<PlanetOf>,
}

/// Which planet that is, and where.
#[derive(Serialize)]
struct PlanetOf {
    sha256: String,
    place: String,
}

fn make(session: &Session, create: &Create, io: &mut Io<'_>) -> Outcome {
    let network = network_id(session, &create.network)?;
    if !create.ip.is_empty() && create.uses != 1 {
        return Err(Failure::usage(format!(
            "{}: --ip goes with one use only, for an address has one holder; leave --ip out and let the network's pools \
             give the addresses, or make a token for each member",
            session.program
        )));
    }
    let planet = planet_of(session, create)?;
    let user_data = &create.user_data;
    if user_data.cloud_init && planet.as_ref().is_some_and(|(_, place)| !place.contains(':')) {
        return Err(Failure::usage(format!(
            "{}: --cloud-init wants the planet at a URL, for no file comes with user-data: --planet-url",
            session.program
        )));
    }
    let plan = Plan::new(session, user_data, &network)?;
    let mut body = TokenRequest {
        uses: Some(json!(create.uses)),
        lifetime: Some(json!(create.expires)),
        name: create.name.clone().map(Value::from),
        ..TokenRequest::default()
    };
    if !create.ip.is_empty() {
        let ips: Vec<_> = create.ip.iter().map(ToString::to_string).collect();
        body.ip_assignments = Some(json!(ips));
    }
    if !create.tag.is_empty() {
        let vocabulary = super::member::vocabulary(session, &network)?;
        let mut tags = Vec::new();
        for (name, value) in &create.tag {
            let (id, value) = super::member::tag(session, &vocabulary, name, value)?;
            tags.push(json!([id, value]));
        }
        body.tags = Some(tags.into());
    }
    let path = format!("/controller/network/{network}/token");
    let answer = request(session, Method::POST, &path, Some(&api::json(&body)))?;
    let mut made = Made { token: api::of(&answer), planet: None };
    if let Some((sha256, place)) = &planet {
        // The controller has no part in it: who joins needs the planet before there is a way to the controller.
        let words = made.token.token.clone().unwrap_or_default();
        let whole =
            JoinToken::parse(&words).ok().zip(Place::parse(place).ok()).map(|(made, place)| JoinToken {
                network: made.network.or(Some(&network)),
                planet: Some(Planet { sha256, place }),
                ..made
            });
        let whole = whole.ok_or_else(|| {
            Failure::error(format!(
                "{}: the controller made a token that no planet can be added to; it can be revoked: ztnode-cli token list {network}",
                session.program
            ))
        })?;
        made.token.token = Some(whole.to_string());
        made.planet = Some(PlanetOf { sha256: sha256.clone(), place: place.clone() });
    }
    if session.common.json {
        return print(&api::json(&made), io);
    }
    let Made { token, planet } = made;
    let words = text::printable(token.token.as_deref().unwrap_or("-"));
    let id = token.record.id.to_string();
    if let Some(plan) = plan {
        let revoke = format!("{} token revoke {network} {id} ends the token", session.program);
        plan.finish(session, &words, &id, &revoke, io)?;
        return Ok(write!(io.err, "{}", text::token::user_data(&network, &token))?);
    }
    // The token first: whoever closes standard error still has it.
    writeln!(io.out, "{words}")?;
    io.out.flush()?;
    Ok(write!(
        io.err,
        "{}",
        text::token::made(&network, &token, planet.as_ref().map(|planet| planet.place.as_str()))
    )?)
}

/// SHA-256 and place of the planet that the token is to name.
fn planet_of(session: &Session, create: &Create) -> Result<Option<(String, String)>, Failure> {
    let program = &session.program;
    let Some(file) = &create.planet else {
        let Some(place) = &create.planet_url else { return Ok(None) };
        let planet = request(session, Method::GET, super::planet::PATH, None)?;
        let planet: api::Planet = api::of(&planet);
        if planet.world.id == format!("{:016x}", protocol::world::PUBLIC_PLANET_ID) {
            return Err(Failure::usage(format!(
                "{program}: --planet-url: this node uses the public planet, which every new node does; --planet names the file \
                 of another"
            )));
        }
        return Ok(Some((text::printable(&planet.sha256), place.clone())));
    };
    let shown = file.display();
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|file| file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| Failure::usage(format!("{program}: cannot read {shown}: {error}")))?;
    World::parse_planet(&bytes).map_err(|error| {
        Failure::usage(format!("{program}: {shown} is not the file of a planet: {error}"))
    })?;
    let place = match &create.planet_url {
        Some(place) => place.clone(),
        None => {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            Place::parse(&name).map(|place| place.to_string()).map_err(|_| {
                Failure::usage(format!(
                    "{program}: {shown}: the file's name cannot stand in a token; call it by letters, digits, '.', '_' and '-', \
                     or say by --planet-url where new nodes find it"
                ))
            })?
        }
    };
    Ok(Some((super::planet::sha256(&bytes), place)))
}
