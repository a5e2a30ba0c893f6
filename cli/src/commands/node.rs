//! What the node itself is asked and told: info, peers, networks, join, leave, get, set, dump, raw paths.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use api::{JoinRequest, JoinedNetwork, Peer, Ready, Status};
use hyper::Method;
use serde_json::{Value, json};

use super::planet::{self, Ask};
use super::{Session, now};
use crate::args::join::{Join, Joining};
use crate::args::switches::Words;
use crate::failure::{Failure, Io, Outcome};
use crate::text;
use crate::text::lack::Lack;
use crate::validate::is_hex;

/// What `dump` writes, in the current directory.
const DUMP_NAME: &str = "zerotier_dump.txt";

/// `info`, `status`.
///
/// # Errors
/// As [`Session::show`].
pub fn info(session: &Session, words: &Words, io: &mut Io<'_>) -> Outcome {
    let status = session.show(words.command(), "/status")?;
    if session.common.json {
        return print_json(&status, io);
    }
    let status: Status = api::of(&status);
    write!(io.out, "{}", text::info::line(&status))?;
    // Scripts cut the one line on standard output.
    for note in text::info::notes(&status) {
        writeln!(io.err, "{}: {note}", session.program)?;
    }
    Ok(())
}

/// `firewall`: the UDP ports of this node and how to let them in.
///
/// # Errors
/// As [`Session::show`].
pub fn firewall(session: &Session, words: &Words, io: &mut Io<'_>) -> Outcome {
    let status = session.show(words.command(), "/status")?;
    let ports = text::firewall::ports(&api::of(&status));
    if session.common.json {
        return print_json(&text::firewall::json(&ports), io);
    }
    Ok(write!(io.out, "{}", text::firewall::advice(&ports))?)
}

/// `doctor`: what is wrong with this node, its networks and its paths, with remedies.
///
/// # Errors
/// Exit code 1 when something should be mended; as [`Session::show`].
pub fn doctor(session: &Session, words: &Words, io: &mut Io<'_>) -> Outcome {
    let status = session.show(words.command(), "/status")?;
    let networks: Vec<JoinedNetwork> = api::all(&session.show_list(words.command(), "/network")?);
    let peers: Vec<Peer> = api::all(&session.show_list(words.command(), "/peer")?);
    let mut lacks = Vec::new();
    for network in &networks {
        let id = text::printable(&network.id);
        let reply = session
            .send(Method::GET, &format!("/network/{id}/ready?wait=0"), None)
            .map_err(|reason| session.unreachable(&reason))?;
        // A node that does not know the request is older than this tool; what it tells in other ways is looked at all the same.
        if reply.status == 200
            && let Ok(state) = serde_json::from_slice::<Ready>(&reply.body)
        {
            lacks.push((id, (!state.ready).then(|| Lack::of(&state))));
        }
    }
    let findings = text::doctor::examine(&api::of(&status), &networks, &peers, &lacks);
    if session.common.json {
        print_json(&text::doctor::json(&findings), io)?;
    } else {
        write!(io.out, "{}", text::doctor::report(&findings))?;
    }
    if findings.iter().any(|finding| finding.level == text::doctor::Level::Bad) {
        return Err(Failure::on_stdout(""));
    }
    Ok(())
}

/// `listpeers`, `peers`.
///
/// # Errors
/// As [`Session::show_list`].
pub fn peers(session: &Session, words: &Words, io: &mut Io<'_>) -> Outcome {
    let peers = session.show_list(words.command(), "/peer")?;
    if session.common.json {
        return print_json(&Value::Array(peers), io);
    }
    let format = if words.command() == "peers" { text::peers::table } else { text::peers::terse };
    Ok(write!(io.out, "{}", format(&api::all(&peers), now()))?)
}

/// `listnetworks`.
///
/// # Errors
/// As [`Session::show_list`].
pub fn networks(session: &Session, words: &Words, io: &mut Io<'_>) -> Outcome {
    let networks = session.show_list(words.command(), "/network")?;
    if session.common.json {
        return print_json(&Value::Array(networks), io);
    }
    Ok(write!(io.out, "{}", text::networks::list(&api::all(&networks), now()))?)
}

/// `join NETWORK`, with this join token.
///
/// # Errors
/// Exit code 2 for an ID of another length; as [`Session::act`]; as for the planet of a token.
pub fn join(session: &Session, words: &Words, joining: &Joining, io: &mut Io<'_>) -> Outcome {
    let Join { network, token, planet } = crate::args::join::of_join(words.first(), joining)
        .map_err(|why| Failure::usage(format!("{}: {why}", session.program)))?;
    if let Some(planet) = planet {
        let ask = |ask: &Ask, _: &mut Io<'_>| {
            let (method, body) = ask.parts();
            let sent = match body {
                Some(bytes) => session.client.upload(planet::PATH, bytes.to_vec()),
                None => session.send(method, planet::PATH, None),
            };
            let reply = sent.map_err(|reason| session.silent(&reason))?;
            if reply.status == 401 { Err(session.refused("join", &reply)) } else { Ok(reply) }
        };
        planet::ensure::<Failure>(&session.program, &session.common.home(), &planet, ask, io)?;
    }
    let body = token.map_or_else(
        || json!({}),
        |token| api::json(&JoinRequest { token: Some(Value::from(token.as_str())) }),
    );
    change_membership(session, "join", &network, Method::POST, Some(&body), io)
}

/// `leave NETWORK`.
///
/// # Errors
/// As [`join`]; exit code 10 for a name that no joined network has.
pub fn leave(session: &Session, words: &Words, io: &mut Io<'_>) -> Outcome {
    let typed = words.first();
    let id = if session.reference() || is_hex(typed, 16) {
        typed.to_owned()
    } else {
        text::printable(&api::of::<JoinedNetwork>(&super::network_of(session, typed)?).id)
    };
    change_membership(session, "leave", &id, Method::DELETE, None, io)
}

fn change_membership(
    session: &Session,
    command: &str,
    id: &str,
    method: Method,
    body: Option<&Value>,
    io: &mut Io<'_>,
) -> Outcome {
    let remedy = "a network ID is 16 hexadecimal digits, such as 37f2b7c94f000001";
    if id.len() != 16 {
        return Err(Failure::on_stdout("invalid network id")
            .with_code(2)
            .hint(format!("{}: {remedy}", session.program)));
    }
    let reply = session.act(command, method, &format!("/network/{id}"), body).map_err(|failure| {
        if is_hex(id, 16) { failure } else { failure.hint(format!("{}: {remedy}", session.program)) }
    })?;
    finish(session, command, &reply.body, io)
}

/// `200 <command> OK`, or with `-j` the raw reply without a newline.
pub(super) fn finish(session: &Session, command: &str, body: &[u8], io: &mut Io<'_>) -> Outcome {
    if session.common.json {
        return Ok(io.out.write_all(body)?);
    }
    Ok(writeln!(io.out, "200 {command} OK")?)
}

/// `get NETWORK PROPERTY`.
///
/// # Errors
/// Exit code 2 for missing or malformed words or an unknown property, 10 for a network that is not joined; as
/// [`Session::show_list`].
pub fn get(session: &Session, words: &Words, io: &mut Io<'_>) -> Outcome {
    let (typed, name) = (words.first(), words.second());
    if session.reference() {
        return get_as_reference(session, typed, name, io);
    }
    let network = super::network_of(session, typed)?;
    if let Some(value) = text::networks::property(&network, name) {
        return Ok(writeln!(io.out, "{value}")?);
    }
    if let Some(items) = network[name].as_array()
        && items.iter().all(|item| item.is_string())
    {
        for item in items.iter().filter_map(Value::as_str) {
            writeln!(io.out, "{}", text::printable(item))?;
        }
        return Ok(());
    }
    let program = &session.program;
    let known = text::networks::properties(&network);
    let shown = text::printable(name);
    let line = match network.get(name) {
        Some(_) => format!("{program}: get: {shown} is no single value; see {program} -j listnetworks"),
        None => match flowrules::closest(name, known.iter().map(String::as_str)) {
            Some(close) => format!("{program}: get: unknown property {shown:?}; did you mean {close}?"),
            None => format!("{program}: get: unknown property {shown:?}"),
        },
    };
    Err(Failure::usage(line).hint(format!("There are {}.", known.join(", "))))
}

/// Exit code 0 for an unknown network or property, which scripts that probe for one rely on.
fn get_as_reference(session: &Session, id: &str, name: &str, io: &mut Io<'_>) -> Outcome {
    check_words(id, name, "get")?;
    let networks = session.show_list("get", "/network")?;
    let network =
        networks.iter().find(|network| api::of::<JoinedNetwork>(network).id.eq_ignore_ascii_case(id));
    let Some(network) = network else {
        return Ok(writeln!(io.err, "unknown network ID, check that you are a member of the network")?);
    };
    match text::networks::property(network, name) {
        Some(value) => Ok(writeln!(io.out, "{value}")?),
        None => Ok(writeln!(io.out, "error, unknown property name")?),
    }
}

pub(super) fn check_words(id: &str, property: &str, verb: &str) -> Outcome {
    if id.len() != 16 {
        return Err(Failure::usage("invalid format: must be a 16-digit (network) ID"));
    }
    if property.is_empty() {
        return Err(Failure::usage(format!("invalid format: include a property name to {verb}")));
    }
    Ok(())
}

/// `/path`: a GET whose body is printed as it comes.
///
/// # Errors
/// As [`Session::act`].
pub fn path(session: &Session, words: &Words, io: &mut Io<'_>) -> Outcome {
    let reply = session.act(words.command(), Method::GET, words.command(), None)?;
    Ok(io.out.write_all(&reply.body)?)
}

/// `dump`: everything that helps to find a fault, in one file in the current directory.
///
/// # Errors
/// An unreachable service, a refusal, a directory that cannot be written.
pub fn dump(session: &Session, _: &Words, io: &mut Io<'_>) -> Outcome {
    let fetch = |path| match session.send(Method::GET, path, None) {
        Err(reason) => Err(session.unreachable(&reason)),
        Ok(reply) if reply.status != 200 => Err(session.refused("dump", &reply)),
        Ok(reply) => Ok(reply.text().into_owned()),
    };
    let platform = if cfg!(target_os = "linux") {
        "Linux"
    } else if cfg!(target_os = "macos") {
        "macOS"
    } else {
        "other unix based OS"
    };
    let status = fetch("/status")?;
    let version = serde_json::from_str::<Status>(&status)
        .map_or_else(|_| crate::VERSION.to_owned(), |status| text::printable(&status.health.version));
    let local = fs::read_to_string(session.common.home().join("local.conf")).unwrap_or_default();
    let local = if local.is_empty() { "None Present".to_owned() } else { local };
    let mut dump = format!("platform: {platform}\nzerotier version: {version}\n\n");
    for (title, body) in [
        ("status", status),
        ("networks", fetch("/network")?),
        ("peers", fetch("/peer")?),
        ("local.conf", local),
    ] {
        let _ = write!(dump, "{title}\n{}\n{body}\n\n", "-".repeat(title.len()));
    }
    dump.push_str("Network Interfaces\n------------------\n\n");
    dump.push_str(&interfaces());
    let directory = std::env::current_dir()
        .map_err(|error| Failure::error(format!("{}: no current directory: {error}", session.program)))?;
    let path = directory.join(DUMP_NAME);
    writeln!(io.out, "Writing dump to: {}", path.display())?;
    fs::write(&path, dump).map_err(|error| {
        Failure::error(format!(
            "Error creating file.\n{}: {}: {error}; change to a directory you may write to",
            session.program,
            path.display()
        ))
    })
}

/// Name, MTU, MAC and addresses of every interface but the loopback ones.
fn interfaces() -> String {
    use nix::net::if_::InterfaceFlags;
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for entry in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        if entry.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            continue;
        }
        let index = found.iter().position(|(name, _)| *name == entry.interface_name).unwrap_or_else(|| {
            found.push((entry.interface_name.clone(), Vec::new()));
            found.len() - 1
        });
        let Some(storage) = entry.address else { continue };
        let address = storage
            .as_sockaddr_in()
            .map(|v4| v4.ip().to_string())
            .or_else(|| storage.as_sockaddr_in6().map(|v6| v6.ip().to_string()));
        found[index].1.extend(address);
    }
    let mut text = String::new();
    for (number, (name, addresses)) in found.iter().enumerate() {
        let attribute = |file| {
            let path = Path::new("/sys/class/net").join(name).join(file);
            fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |value| value.trim().to_owned())
        };
        let (mtu, mac) = (attribute("mtu"), attribute("address"));
        let _ = writeln!(
            text,
            "Interface {number}\n-----------\nName: {name}\nMTU: {mtu}\nMAC: {mac}\nAddresses: "
        );
        for address in addresses {
            let _ = writeln!(text, "{address}");
        }
    }
    text
}

/// A reply for `-j`: one-space indentation, sorted keys, newline.
pub(super) fn print_json(value: &Value, io: &mut Io<'_>) -> Outcome {
    Ok(writeln!(io.out, "{}", text::json::dump(value))?)
}
