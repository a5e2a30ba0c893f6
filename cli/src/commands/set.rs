//! `set NETWORK PROPERTY=VALUE …`: what a network may do on this machine.

use hyper::Method;
use protocol::permission::{Managed, NAMES as SETTINGS, Permission};
use serde_json::{Map, Value};

use super::Session;
use crate::args::switches::Words;
use crate::failure::{Failure, Io, Outcome};
use crate::text;

/// Runs `set`.
///
/// # Errors
/// Exit code 2 for words that cannot be right; as [`Session::act`].
pub fn run(session: &Session, words: &Words, io: &mut Io<'_>) -> Outcome {
    let program = &session.program;
    if session.reference() {
        return as_reference(session, words, io);
    }
    let body = body(program, words)?;
    let network =
        text::printable(&api::of::<api::JoinedNetwork>(&super::network_of(session, words.first())?).id);
    let without_effect = api::read::<api::JoinedNetwork>(&body).allow_dns;
    send(session, &network, body, io)?;
    if without_effect {
        writeln!(io.err, "{program}: allowDNS is kept, but name servers are not set up yet in this version")?;
    }
    Ok(())
}

/// What the words behind the network ask for. Looked at before anything is asked of the service, and as a whole.
///
/// # Errors
/// Exit code 2 for an assignment that cannot be right.
pub(super) fn body(program: &str, words: &Words) -> Result<Map<String, Value>, Failure> {
    let mut body = Map::new();
    for assignment in words.0.iter().skip(2) {
        let shown = text::printable(assignment);
        let wrong = |what: String| Failure::usage(format!("{program}: set: {what}"));
        let Some((name, value)) = assignment.split_once('=') else {
            return Err(wrong(format!("{shown:?}: write NAME=VALUE, such as allowDefault=1")));
        };
        if !SETTINGS.contains(&name) {
            let remedy = match flowrules::closest(name, SETTINGS.into_iter()) {
                Some(close) => format!("did you mean {close}?"),
                None => format!("set changes {}", SETTINGS.join(", ")),
            };
            return Err(wrong(format!("unknown property {:?}: {remedy}", text::printable(name))));
        }
        let value = value_of(name, value, false).map_err(|why| wrong(text::printable(&why)))?;
        body.insert(name.to_owned(), value);
    }
    Ok(body)
}

/// One assignment; one of an unknown property does nothing.
fn as_reference(session: &Session, words: &Words, io: &mut Io<'_>) -> Outcome {
    let program = &session.program;
    let (id, assignment) = (words.first(), words.second());
    super::node::check_words(id, assignment, "set")?;
    let Some((name, value)) = assignment.split_once('=') else {
        let help = text::help::text(program, "");
        return Err(Failure::usage(help.trim_end())
            .hint(format!("\n{program}: write the property as NAME=VALUE, such as allowDefault=1")));
    };
    if !SETTINGS.contains(&name) {
        return Ok(());
    }
    let value = value_of(name, value, true)
        .map_err(|why| Failure::usage(format!("{program}: set: {}", text::printable(&why))))?;
    send(session, id, Map::from_iter([(name.to_owned(), value)]), io)
}

fn send(session: &Session, network: &str, body: Map<String, Value>, io: &mut Io<'_>) -> Outcome {
    let path = format!("/network/{network}");
    let reply = session.act("set", Method::POST, &path, Some(&Value::Object(body)))?;
    Ok(io.out.write_all(&reply.body)?)
}

/// The value as the service takes it. The reference tool takes whatever begins with `t` or `1` for true and all else for
/// false; under its name what it takes for true stays so, and what people would be surprised to see taken for false is not.
fn value_of(name: &str, text: &str, reference: bool) -> Result<Value, String> {
    match Permission::parse(name, text) {
        Ok(Permission::Managed(Managed::Within(list))) => {
            if let Some(prefix) = list.iter().find(|prefix| prefix.network().ip != prefix.ip) {
                let meant = prefix.network();
                return Err(format!(
                    "{name}: {prefix} has bits set beyond its length; did you mean {meant}?"
                ));
            }
            Ok(Managed::Within(list).to_string().into())
        }
        Ok(Permission::Managed(managed)) => Ok((managed == Managed::Everything).into()),
        Ok(Permission::Global(yes) | Permission::Default(yes) | Permission::Dns(yes)) => Ok(yes.into()),
        Err(_) if reference && text.is_empty() => Ok(false.into()),
        Err(_) if reference && text.starts_with(['t', '1']) && !text.contains('/') => Ok(true.into()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_taken_as_they_are_meant_or_not_at_all() {
        for text in ["1", "true", "yes", "on", "ON", "True"] {
            assert_eq!(value_of("allowGlobal", text, false), Ok(json!(true)), "{text}");
        }
        for text in ["0", "false", "no", "off"] {
            assert_eq!(value_of("allowGlobal", text, false), Ok(json!(false)), "{text}");
        }
        for text in ["", "2", "ja", "tru", "10.0.0.0/8", "1x"] {
            assert!(value_of("allowGlobal", text, false).is_err(), "{text}");
        }
        assert_eq!(value_of("allowGlobal", "tru", true), Ok(json!(true)));
        assert_eq!(value_of("allowGlobal", "", true), Ok(json!(false)));
        assert!(value_of("allowGlobal", "enable", true).is_err());
        assert_eq!(value_of("allowManaged", "10.0.0.0/8, fd00::/8", true), Ok(json!("10.0.0.0/8,fd00::/8")));
        for text in ["10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8,x", "10.0.0.0/8,", "10.0.0.0"] {
            assert!(value_of("allowManaged", text, false).is_err(), "{text}");
        }
    }
}
