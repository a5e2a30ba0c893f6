//! `controller …`, and what the network and member commands share: requests to the controller and names for IDs.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use api::{
    Changed, ControllerStatus, CountedNetwork, Imported, JoinedNetwork, Listed, Member, Network, NetworkMeta,
    Status,
};
use hyper::Method;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Session, parse, quoted};
use crate::args::controller::ControllerCommand;
use crate::failure::{Failure, Io, Outcome};
use crate::text;
use crate::transport::Reply;
use crate::validate::is_hex;

/// `controller status|backup|restore|import`.
///
/// The tool itself reads and writes the file: it may go where the service, in its sandbox, cannot.
///
/// # Errors
/// An unreachable service, a refusal, a file that cannot be read or written.
pub fn run(session: &Session, command: ControllerCommand, io: &mut Io<'_>) -> Outcome {
    let (done, file) = match command {
        ControllerCommand::Status => return status(session, io),
        ControllerCommand::Import => return import(session, io),
        ControllerCommand::Backup { file } => {
            backup(session, &file)?;
            ("written to", file)
        }
        ControllerCommand::Restore { file, sure } => {
            let shown = text::printable(&file.display().to_string());
            if !sure.confirm(&format!("replace all networks and members with those in {shown}"), io)? {
                return Ok(());
            }
            restore(session, &file)?;
            ("restored from", file)
        }
    };
    if session.common.json {
        return print(&json!({"result": true}), io);
    }
    Ok(writeln!(io.out, "controller {done} {}", text::printable(&file.display().to_string()))?)
}

fn backup(session: &Session, file: &Path) -> Result<(), Failure> {
    let failed = |what: &str, path: &Path| {
        let place = format!("{}: cannot {what} {}", session.program, path.display());
        move |error: std::io::Error| Failure::error(format!("{place}: {error}"))
    };
    // The rename at the end would take the place of whatever has that name.
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let real = |path: &Path| fs::canonicalize(path).ok();
    if let (Some(folder), Some(home)) = (real(folder), real(&session.common.home()))
        && folder.starts_with(&home)
    {
        return Err(Failure::error(format!(
            "{}: {} is in the node's home, where a backup could take the place of one of its files; name a file elsewhere",
            session.program,
            text::printable(&file.display().to_string())
        )));
    }
    let mut answer = session.stream("/controller/backup")?;
    // Whole or not at all, and for nobody else: it says who is let in.
    let part = file.with_added_extension("part");
    let done = (|| {
        // What an interrupted backup left.
        match fs::remove_file(&part) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed("replace", &part)(error));
            }
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut target =
            options.write(true).create_new(true).mode(0o600).open(&part).map_err(failed("write", &part))?;
        while let Some(bytes) = answer.next_bytes().map_err(|reason| {
            Failure::error(format!("{}: the backup broke off: {reason}", session.program))
        })? {
            target.write_all(&bytes).map_err(failed("write", &part))?;
        }
        target.sync_all().map_err(failed("write", &part))?;
        fs::rename(&part, file).map_err(failed("write", file))
    })();
    if done.is_err() {
        // The error that matters is the first one.
        let _ = fs::remove_file(&part);
    }
    done
}

fn restore(session: &Session, file: &Path) -> Result<(), Failure> {
    let program = &session.program;
    let database = fs::read(file)
        .map_err(|error| Failure::error(format!("{program}: cannot read {}: {error}", file.display())))?;
    let path = "/controller/restore";
    let reply = session.client.upload(path, database).map_err(|reason| session.silent(&reason))?;
    accepted(session, path, &reply).map(drop).map_err(|failure| {
        // What the service says is about a copy, by a name of its own.
        let shown = text::printable(&file.display().to_string());
        let said = failure.err.lines().next().unwrap_or_default().to_owned();
        let said = said.strip_prefix(&format!("{program}: ")).unwrap_or(&said).to_owned();
        Failure::error(format!("{program}: {shown} was not restored, and everything is as before: {said}"))
            .with_code(failure.code)
    })
}

fn import(session: &Session, io: &mut Io<'_>) -> Outcome {
    let report = request(session, Method::POST, "/controller/import", Some(&json!({})))?;
    if session.common.json {
        return print(&report, io);
    }
    let Imported { networks, members, skipped } = api::of(&report);
    let [networks, members] = [networks, members].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
    for file in &skipped {
        writeln!(io.err, "{}: {} is no record and was left out", session.program, text::printable(file))?;
    }
    let (networks, members) = (text::count(networks, "network"), text::count(members, "member"));
    Ok(writeln!(io.out, "controller took over {networks} and {members}")?)
}

/// What `status -j` prints: the controller's own words, and what it keeps.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    #[serde(flatten)]
    status: Value,
    network_count: usize,
    total_member_count: usize,
    authorized_member_count: usize,
}

fn status(session: &Session, io: &mut Io<'_>) -> Outcome {
    let shown = request(session, Method::GET, "/controller", None)?;
    let networks: Vec<CountedNetwork> = api::all(&all_networks(session)?);
    let total = |count: fn(&NetworkMeta) -> usize| networks.iter().map(|network| count(&network.meta)).sum();
    let status = Summary {
        network_count: networks.len(),
        total_member_count: total(|meta| meta.total_member_count),
        authorized_member_count: total(|meta| meta.authorized_member_count),
        status: shown,
    };
    if session.common.json {
        return print(&api::json(&status), io);
    }
    let Summary { total_member_count: members, authorized_member_count: authorized, .. } = status;
    let members = i64::try_from(members).unwrap_or(i64::MAX);
    let status: ControllerStatus = api::of(&status.status);
    let ready = if status.database_ready { "ready" } else { "not ready" };
    Ok(writeln!(
        io.out,
        "controller {ready}: {}, {}, {authorized} of them authorized",
        text::count(i64::try_from(networks.len()).unwrap_or(i64::MAX), "network"),
        text::count(members, "member")
    )?)
}

/// One request to the controller. Unlike the reference tool's commands, failures go to standard error.
///
/// # Errors
/// Exit code 1: unreachable, refused (with the reason the service gives), or no JSON.
pub(super) fn request(
    session: &Session,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, Failure> {
    let reply = session.send(method, path, body).map_err(|reason| session.silent(&reason))?;
    accepted(session, path, &reply)
}

/// The object of an answer to a request for `path`, or why it was refused.
fn accepted(session: &Session, path: &str, reply: &Reply) -> Result<Value, Failure> {
    let program = &session.program;
    match reply.status {
        200 if reply.body.is_empty() => Ok(json!({})),
        200 => parse("controller", reply).map_err(|failure| Failure::error(failure.out.trim_end())),
        404 => Err(absent(session, path)),
        401 => Err(session.stranger(reply)),
        status => {
            let text = reply.text();
            let reason = quoted(super::said(&text).as_deref().unwrap_or(&text));
            Err(Failure::error(format!("{program}: the controller answered {status} to {path}: {reason}")))
        }
    }
}

/// What the controller took as it was asked for, but takes for a mistake.
///
/// # Errors
/// The line cannot be written.
pub(super) fn warn(answer: &Value, io: &mut Io<'_>) -> Outcome {
    for warning in api::of::<Changed<Value>>(answer).warnings {
        writeln!(io.err, "warning: {}", text::printable(&warning))?;
    }
    Ok(())
}

/// What is not there, and where it may be: networks belong to the controller whose address their ID begins with.
fn absent(session: &Session, path: &str) -> Failure {
    let program = &session.program;
    let mut parts = path.split('/').skip_while(|part| *part != "network").skip(1);
    let Some(network) = parts.next().filter(|network| is_hex(network, 16)) else {
        return Failure::error(format!("{program}: not found: {path}"));
    };
    if let Some(elsewhere) = elsewhere(session, network) {
        return elsewhere;
    }
    let whole = format!("/controller/network/{network}");
    let known = |path: &str| session.send(Method::GET, path, None).is_ok_and(|reply| reply.status == 200);
    match (parts.next(), parts.next()) {
        (Some(kind @ ("member" | "token")), Some(named)) if known(&whole) => {
            let what = if kind == "token" { "join token" } else { kind };
            Failure::error(format!("{program}: network {network} has no {what} {named}"))
                .hint(format!("See `ztnode-cli {kind} list {network}`."))
        }
        _ => Failure::error(format!("{program}: this controller has no network {network}"))
            .hint("See `ztnode-cli network list`."),
    }
}

/// The complaint about a network that another node controls.
fn elsewhere(session: &Session, network: &str) -> Option<Failure> {
    let reply = session.send(Method::GET, "/status", None).ok().filter(|reply| reply.status == 200)?;
    let status: Status = serde_json::from_slice(&reply.body).ok()?;
    let own = Some(status.address).filter(|address| is_hex(address, 10))?;
    let controller = network.get(..10)?;
    (controller != own).then(|| {
        Failure::error(format!(
            "{}: network {network} belongs to the controller {controller}, and this node is {own}; run the command there",
            session.program
        ))
    })
}

/// An object a command has changed or shows, as JSON.
pub(super) fn print(value: &Value, io: &mut Io<'_>) -> Outcome {
    super::node::print_json(value, io)
}

/// Every network with its member counts, in ascending order of ID.
///
/// # Errors
/// As [`request`].
pub(super) fn all_networks(session: &Session) -> Result<Vec<Value>, Failure> {
    let list = request(session, Method::GET, "/unstable/controller/network", None)?;
    let Listed::<Value, Value> { data: mut networks, .. } = api::of(&list);
    networks.sort_by_key(|network| api::of::<Network>(network).id);
    Ok(networks)
}

/// Every member of a network, in ascending order of address.
///
/// # Errors
/// As [`request`].
pub(super) fn all_members(session: &Session, network: &str) -> Result<Vec<Value>, Failure> {
    let path = format!("/unstable/controller/network/{network}/member");
    let list = request(session, Method::GET, &path, None)?;
    let Listed::<Value, Value> { data: mut members, .. } = api::of(&list);
    members.sort_by_key(|member| api::of::<Member>(member).address);
    Ok(members)
}

/// The ID of a network given by ID or by name.
///
/// # Errors
/// Exit code 2: no network, or several, of that name; as [`request`].
pub(super) fn network_id(session: &Session, typed: &str) -> Result<String, Failure> {
    if is_hex(typed, 16) {
        return Ok(typed.to_ascii_lowercase());
    }
    let networks = all_networks(session)?;
    let remedy = "give the 16-digit ID, see `ztnode-cli network list`";
    let networks =
        api::all(&networks).into_iter().map(|network: Network| (network.id.to_string(), network.name));
    only(session, networks, typed, "network", remedy).map_err(|failure| {
        // Somebody who sits at a member knows the name from there.
        let Ok(joined) = super::network_of(session, typed) else { return failure };
        elsewhere(session, &api::of::<JoinedNetwork>(&joined).id).unwrap_or(failure)
    })
}

/// The address of a member given by address or by name.
///
/// # Errors
/// Exit code 2: no member, or several, of that name; as [`request`].
pub(super) fn member_address(session: &Session, network: &str, typed: &str) -> Result<String, Failure> {
    if is_hex(typed, 10) {
        return crate::validate::address(typed)
            .map_err(|why| Failure::usage(format!("{}: {typed}: {why}", session.program)));
    }
    let members = all_members(session, network)?;
    let remedy = format!("give the 10-digit address, see `ztnode-cli member list {network}`");
    let members = api::all(&members).into_iter();
    let members = members.map(|member: Member| (member.address.to_string(), member.name.unwrap_or_default()));
    only(session, members, typed, "member", &remedy)
}

/// The key of the only item of that name.
fn only(
    session: &Session,
    items: impl Iterator<Item = (String, String)>,
    name: &str,
    what: &str,
    remedy: &str,
) -> Result<String, Failure> {
    let mut found = items.filter(|(_, called)| called == name).map(|(key, _)| key);
    let count = match (found.next(), found.next()) {
        (Some(key), None) => return Ok(key),
        (None, _) => "no",
        (Some(_), Some(_)) => "more than one",
    };
    Err(Failure::usage(format!(
        "{}: {count} {what} is called {}; {remedy}",
        session.program,
        text::printable(name)
    )))
}
