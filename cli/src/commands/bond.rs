//! `bond` and `listbonds`.

use hyper::Method;
use serde_json::{Value, json};

use super::Session;
use super::node::{finish, print_json};
use crate::args::switches::Words;
use crate::failure::{Failure, Io, Outcome};
use crate::text;

/// `bond list`, `bond PEER show`, `bond PEER rotate`, `bond setmtu MTU INTERFACE IP`.
///
/// # Errors
/// Exit code 2 for any other words; as [`Session::show`] and [`Session::act`].
pub fn run(session: &Session, words: &Words, io: &mut Io<'_>) -> Outcome {
    let (first, second) = (words.first(), words.second());
    match (first, second) {
        ("list", _) => list(session, words, io),
        ("setmtu", _) => set_mtu(session, words, io),
        (peer, "show") if peer.len() == 10 => {
            let bond = session.show("bond", &format!("/bond/show/{peer}"))?;
            if session.common.json {
                return print_json(&bond, io);
            }
            Ok(write!(io.out, "{}", text::bonds::show(peer, &api::of(&bond)))?)
        }
        (peer, "rotate") if peer.len() == 10 => {
            let reply =
                session.act("bond", Method::POST, &format!("/bond/rotate/{peer}"), Some(&json!({})))?;
            finish(session, "rotate", &reply.body, io)
        }
        _ => Err(missing(
            session,
            "bond list, bond PEER show, bond PEER rotate or bond setmtu MTU INTERFACE IP",
        )),
    }
}

/// `listbonds`, `bond list`.
///
/// # Errors
/// As [`Session::show_list`].
pub fn list(session: &Session, words: &Words, io: &mut Io<'_>) -> Outcome {
    let peers = session.show_list(words.command(), "/peer")?;
    if session.common.json {
        return print_json(&Value::Array(peers), io);
    }
    Ok(write!(io.out, "{}", text::bonds::list(&api::all(&peers)))?)
}

fn set_mtu(session: &Session, words: &Words, io: &mut Io<'_>) -> Outcome {
    let [_, _, mtu, interface, ip] = words.0.as_slice() else {
        return Err(missing(
            session,
            "bond setmtu MTU INTERFACE IP, such as bond setmtu 1400 eth0 192.0.2.1",
        ));
    };
    let path = format!("/bond/setmtu/{mtu}/{interface}/{ip}");
    match session.send(Method::POST, &path, Some(&json!({}))) {
        Ok(reply) if reply.status == 200 => Ok(writeln!(io.out, "200 setmtu OK")?),
        Ok(reply) if session.reference() => Err(Failure::on_stdout(format!(
            "{} Failed to set MTU: {}",
            reply.status,
            super::quoted(&reply.text())
        ))),
        Ok(reply) => Err(session.refused("bond setmtu", &reply)),
        Err(reason) if session.reference() => {
            Err(Failure::on_stdout(format!("0 Failed to set MTU: {reason}")).hint(session.remedy(&reason)))
        }
        Err(reason) => Err(session.unreachable(&reason)),
    }
}

fn missing(session: &Session, wanted: &str) -> Failure {
    let remedy = format!("{}: write {wanted}", session.program);
    if session.reference() {
        Failure::on_stdout("(bond) command is missing required arguments").with_code(2).hint(remedy)
    } else {
        Failure::usage(remedy)
    }
}
