//! `member …`: who belongs to the networks of this node's controller.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use api::{Changed, Member, Network, Revocation};
use flowrules::cases::Vocabulary;
use hyper::Method;
use protocol::inet::Prefix;
use serde_json::{Map, Value, json};

use super::Session;
use super::controller::{all_members, all_networks, member_address, network_id, print, request, warn};
use crate::args::member::{MemberCommand, MemberSettings, Which};
use crate::failure::{Failure, Io, Outcome};
use crate::text;

/// How long members that acknowledge are waited for, and how often is looked: the controller takes who is silent for 5 s for
/// out of reach.
const ANSWERS: Duration = Duration::from_secs(7);
const LOOK: Duration = Duration::from_millis(100);

/// Runs one of the member commands.
///
/// # Errors
/// Exit code 2 for input that cannot be right, 1 for what the service says no to.
pub fn run(session: &Session, command: MemberCommand, io: &mut Io<'_>) -> Outcome {
    match command {
        MemberCommand::List { network: None } => asking(session, io),
        MemberCommand::List { network: Some(network) } => {
            let id = network_id(session, &network)?;
            let members = all_members(session, &id)?;
            if session.common.json {
                return print(&Value::Array(members), io);
            }
            let record = request(session, Method::GET, &format!("/controller/network/{id}"), None)?;
            Ok(write!(io.out, "{}", text::controller::members(&api::of(&record), &api::all(&members)))?)
        }
        MemberCommand::Show { which } => {
            let (network, path) = locate(session, &which)?;
            let record = request(session, Method::GET, &path, None)?;
            if session.common.json {
                return print(&record, io);
            }
            let vocabulary = vocabulary(session, &network)?;
            Ok(write!(io.out, "{}", text::controller::member(&api::of(&record), &vocabulary))?)
        }
        MemberCommand::Authorize { which, settings } => {
            let mut body = body(session, &which, &settings)?;
            body.insert("authorized".to_owned(), true.into());
            change(session, &which, &body, "authorized on", io)
        }
        MemberCommand::Deauthorize { which } => {
            let body = Map::from_iter([("authorized".to_owned(), Value::from(false))]);
            let (id, path) = locate(session, &which)?;
            let network = request(session, Method::GET, &format!("/controller/network/{id}"), None)?;
            let public = !api::of::<Network>(&network).private;
            let answer = request(session, Method::POST, &path, Some(&Value::Object(body)))?;
            let changed = follow(session, &path, &answer);
            if session.common.json {
                return print(&api::json(&changed), io);
            }
            let revocation = text::controller::revocation(changed.revocation.as_ref());
            let member: Member = api::of(&changed.record);
            write!(io.out, "{}", text::controller::member_line(&member, "deauthorized on"))?;
            if public {
                writeln!(
                    io.err,
                    "warning: {id} is public, so anyone with its ID is authorized by asking; to keep nodes out, make it \
                     private: ztnode-cli network set {id} --private"
                )?;
            }
            Ok(write!(io.out, "{revocation}")?)
        }
        MemberCommand::Set { which, settings, no_ips } => {
            let mut body = body(session, &which, &settings)?;
            if no_ips {
                body.insert("ipAssignments".to_owned(), json!([]));
            }
            if body.is_empty() {
                return Err(Failure::usage(format!(
                    "{}: nothing to set; name what to change, such as --name NAME (see ztnode-cli member set --help)",
                    session.program
                )));
            }
            change(session, &which, &body, "changed on", io)
        }
        MemberCommand::Delete { which, sure } => {
            let (network, path) = locate(session, &which)?;
            let address = path.rsplit('/').next().unwrap_or_default();
            if !sure.confirm(&format!("delete member {address} from {network}"), io)? {
                return Ok(());
            }
            let answer = request(session, Method::DELETE, &path, None)?;
            let changed = follow(session, &path, &answer);
            if session.common.json {
                return print(&api::json(&changed), io);
            }
            writeln!(io.out, "member {address} deleted from {network}")?;
            Ok(write!(io.out, "{}", text::controller::revocation(changed.revocation.as_ref()))?)
        }
    }
}

/// Who asks to be let into any of the networks here.
fn asking(session: &Session, io: &mut Io<'_>) -> Outcome {
    let (mut found, mut as_shown) = (Vec::new(), Vec::new());
    for network in all_networks(session)? {
        let network: Network = api::of(&network);
        for shown in all_members(session, &network.id.to_string())? {
            let member: Member = api::of(&shown);
            if text::controller::asks(&member) {
                as_shown.push(shown);
                found.push((network.clone(), member));
            }
        }
    }
    if session.common.json {
        return print(&Value::Array(as_shown), io);
    }
    Ok(write!(io.out, "{}", text::controller::asking(&found))?)
}

/// Waits a little while members acknowledge the revocation that the answer to a change tells of, and gives the answer with what
/// came of it. A controller that tells of none is let be.
fn follow(session: &Session, member: &str, answer: &Value) -> Changed<Value> {
    let mut changed: Changed<Value> = api::of(answer);
    let path = member.replace("/member/", "/revocation/");
    let end = Instant::now() + ANSWERS;
    let is_waiting = |revocation: &Option<Revocation>| {
        let reach = revocation.as_ref().and_then(|revocation| revocation.reach.as_ref());
        reach.is_some_and(|reach| !reach.waiting.is_empty())
    };
    while is_waiting(&changed.revocation) && Instant::now() < end {
        // The controller has no event for this that a request could wait for.
        std::thread::sleep(LOOK);
        match request(session, Method::GET, &path, None) {
            Ok(seen) => changed.revocation = Some(api::of(&seen)),
            // It is done, whatever becomes of the word of it.
            Err(_) => break,
        }
    }
    changed
}

fn locate(session: &Session, which: &Which) -> Result<(String, String), Failure> {
    let network = network_id(session, &which.network)?;
    let member = member_address(session, &network, &which.member)?;
    let path = format!("/controller/network/{network}/member/{member}");
    Ok((network, path))
}

fn change(
    session: &Session,
    which: &Which,
    body: &Map<String, Value>,
    done: &str,
    io: &mut Io<'_>,
) -> Outcome {
    let (_, path) = locate(session, which)?;
    let record = request(session, Method::POST, &path, Some(&Value::Object(body.clone())))?;
    warn(&record, io)?;
    if session.common.json {
        return print(&record, io);
    }
    Ok(write!(io.out, "{}", text::controller::member_line(&api::of(&record), done))?)
}

/// The fields to post: those that were named.
fn body(session: &Session, which: &Which, settings: &MemberSettings) -> Result<Map<String, Value>, Failure> {
    let mut body = Map::new();
    let mut put = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(field.to_owned(), value);
        }
    };
    put("name", settings.name.clone().map(Value::from));
    put("activeBridge", settings.bridge.map(Value::from));
    put("noAutoAssignIps", settings.no_auto_assign_ips.map(Value::from));
    if !settings.ip.is_empty() {
        routed(session, &network_id(session, &which.network)?, &settings.ip)?;
    }
    let ips: Vec<String> = settings.ip.iter().map(ToString::to_string).collect();
    put("ipAssignments", (!ips.is_empty()).then(|| ips.into()));
    let MemberSettings { capability, no_capability, tag, no_tag, .. } = settings;
    let (tags, capabilities) =
        (!tag.is_empty() || !no_tag.is_empty(), !capability.is_empty() || !no_capability.is_empty());
    if tags || capabilities {
        let (network, path) = locate(session, which)?;
        let vocabulary = vocabulary(session, &network)?;
        // Lists are posted whole, so what is not named comes from the record. A node nobody has heard of has none yet.
        let known = all_members(session, &network)?;
        let known = known.iter().any(|member| path.ends_with(&api::of::<Member>(member).address.to_string()));
        let current: Member =
            if known { api::of(&request(session, Method::GET, &path, None)?) } else { Member::default() };
        let wrong = |what: String, hint: String| missing(session, &what, hint);
        if tags {
            let mut list = current.tags;
            for (name, value) in tag {
                let (id, value) = self::tag(session, &vocabulary, name, value)?;
                list.insert(id, value);
            }
            for name in no_tag {
                let id = vocabulary.tag(name).map_err(|hint| wrong(format!("tag {name}"), hint))?;
                list.remove(&id);
            }
            put("tags", Some(list.iter().map(|(id, value)| json!([id, value])).collect()));
        }
        if capabilities {
            let id = |name: &String| {
                vocabulary.capability(name).map_err(|hint| wrong(format!("capability {name}"), hint))
            };
            let mut list = current.capabilities;
            for name in capability {
                list.insert(id(name)?);
            }
            for name in no_capability {
                list.remove(&id(name)?);
            }
            put("capabilities", Some(list.into_iter().collect()));
        }
    }
    Ok(body)
}

/// Checks that members can use these addresses: each lies in a route of the network.
fn routed(session: &Session, network: &str, ips: &[IpAddr]) -> Outcome {
    let record = request(session, Method::GET, &format!("/controller/network/{network}"), None)?;
    let routes: Vec<Prefix> = api::of::<Network>(&record).routes.iter().map(|route| route.target).collect();
    let Some(stray) = ips.iter().find(|ip| !routes.iter().any(|route| route.contains(**ip))) else {
        return Ok(());
    };
    let shown: Vec<String> = routes.iter().map(ToString::to_string).collect();
    let (its, first) = match shown.is_empty() {
        true => ("it has none".to_owned(), ""),
        false => (format!("its routes: {}", shown.join(", ")), "--route … for each that there is, and "),
    };
    Err(Failure::usage(format!(
        "{}: --ip {stray} is in no route of the network, so that the member could not use it; {its}",
        session.program
    ))
    .hint(format!(
        "Give another address, or first `ztnode-cli network set {network}` with {first}--route PREFIX."
    )))
}

fn missing(session: &Session, what: &str, hint: String) -> Failure {
    Failure::usage(format!("{}: the network has no {what}", session.program)).hint(hint)
}

/// A tag and its value, by name or by number.
///
/// # Errors
/// Exit code 2: the network's rules have no such tag, or no such value.
pub(super) fn tag(
    session: &Session,
    vocabulary: &Vocabulary,
    name: &str,
    value: &str,
) -> Result<(u32, u32), Failure> {
    let id = vocabulary.tag(name).map_err(|hint| missing(session, &format!("tag {name}"), hint))?;
    let number = vocabulary
        .value(id, value)
        .map_err(|hint| missing(session, &format!("value {value} of tag {name}"), hint))?;
    Ok((id, number))
}

/// The names that a network's rules give to tags and capabilities; none without a source.
///
/// # Errors
/// As [`request`].
pub(super) fn vocabulary(session: &Session, network: &str) -> Result<Vocabulary, Failure> {
    let record = request(session, Method::GET, &format!("/controller/network/{network}"), None)?;
    Ok(super::rules::vocabulary(&api::of(&record)))
}
