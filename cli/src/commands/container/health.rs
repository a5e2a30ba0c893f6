//! `container health`: whether the node answers and its networks can be used.

use hyper::Method;
use serde_json::Value;

use crate::args::Common;
use crate::commands::Session;
use crate::failure::{Failure, Io, Outcome};
use crate::text;
use crate::text::lack::Lack;

/// Checks the networks, or all that are joined. With a line for each that cannot be used.
///
/// # Errors
/// Exit code 1, whatever is wrong: other codes mean other things to those who run health checks.
pub(super) fn run(program: &str, common: Common, networks: &[String], io: &mut Io<'_>) -> Outcome {
    let ill = |failure: Failure| failure.with_code(1);
    let session = Session::open(program, common).map_err(ill)?;
    let joined: Vec<String> = session
        .show_list("health", "/network")
        .map_err(ill)?
        .iter()
        .map(|network| text::printable(&api::of::<api::JoinedNetwork>(network).id))
        .collect();
    let wanted = if networks.is_empty() { &joined } else { networks };
    let mut healthy = true;
    for network in wanted {
        let Some(lack) = lack(&session, network, joined.contains(network)).map_err(ill)? else {
            writeln!(io.out, "{network}: OK")?;
            continue;
        };
        healthy = false;
        writeln!(io.out, "{network}: {}; {}", lack.what, lack.remedy)?;
    }
    if wanted.is_empty() {
        writeln!(io.out, "the node answers; it has joined no network")?;
    }
    if healthy { Ok(()) } else { Err(Failure::on_stdout("")) }
}

/// What the network lacks.
fn lack(session: &Session, network: &str, joined: bool) -> Result<Option<Lack>, Failure> {
    if !joined {
        return Ok(Some(Lack::joined(network)));
    }
    let reply = session
        .send(Method::GET, &format!("/network/{network}/ready?wait=0"), None)
        .map_err(|reason| session.unreachable(&reason))?;
    match reply.status {
        200 => {
            let state: Value = crate::commands::parse("health", &reply)?;
            let state: api::Ready = api::of(&state);
            Ok((!state.ready).then(|| Lack::of(&state)))
        }
        // It was left just now.
        404 => Ok(Some(Lack::joined(network))),
        _ => Err(session.refused("health", &reply)),
    }
}
