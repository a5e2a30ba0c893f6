//! The commands, one file a subject, and the session they share.

pub mod bond;
pub mod capture;
pub mod container;
pub mod controller;
pub mod identity;
pub mod member;
pub mod migrate;
pub mod moon;
pub mod network;
pub mod node;
mod planet;
mod planet_choice;
pub mod root;
pub mod rules;
pub mod set;
mod sure;
pub mod token;
pub mod user_data;
pub mod wait;
mod words;
pub mod world;

use api::JoinedNetwork;
use clap::Parser as _;
use hyper::Method;
use serde_json::Value;

use crate::args::join::{self, Joining};
use crate::args::modern::{Group, Line};
use crate::args::switches::{self, Wanted, Words};
use crate::args::wait::take;
use crate::args::{Common, Personality};
use crate::failure::{Failure, Io, Outcome, code};
use crate::text;
use crate::transport::{Client, Reply, Streaming, Unreachable};

/// Longest piece of a daemon's answer that is repeated in an error line, in characters.
const MAX_QUOTED: usize = 4096;

/// A caller that has found its daemon.
pub struct Session {
    /// The program's name as called, for error lines.
    pub program: String,
    /// The switches.
    pub common: Common,
    client: Client,
}

/// Runs the command line of `ztnode-cli` or `zerotier-cli`, without the program's name.
///
/// # Errors
/// What the command failed with; see [`Failure`].
pub fn run(program: &str, arguments: &[String], io: &mut Io<'_>) -> Outcome {
    let reference = Personality::of(program) == Personality::Reference;
    let first = switches::first_word(arguments, reference).unwrap_or_default();
    if first == crate::complete::COMMAND {
        return crate::complete::run(arguments, io);
    }
    if text::help::GROUPS.iter().any(|(group, _)| *group == first) {
        return grouped(program, arguments, io);
    }
    let usage = |complaint| Failure::usage(format!("{program}: {complaint}"));
    let (arguments, joining) = if first == "join" {
        join::take(arguments, reference).map_err(usage)?
    } else {
        (arguments.to_vec(), Joining::default())
    };
    let waits = matches!(first, "join" | "wait");
    let (arguments, limit) = if waits { take(first, &arguments).map_err(usage)? } else { (arguments, None) };
    match switches::parse(&arguments, reference) {
        Wanted::Version if reference => {
            // Scripts mean to know whether we are recent enough: the version that is spoken. Ours is a line of its own.
            let (major, minor, revision) = protocol::metadata::ANNOUNCED_VERSION;
            writeln!(io.out, "{major}.{minor}.{revision}")?;
            Ok(writeln!(io.err, "ztnode {}", crate::VERSION)?)
        }
        Wanted::Version => Ok(writeln!(io.out, "{}", crate::VERSION)?),
        Wanted::Help(words) => help(program, &words.0, io),
        Wanted::Wrong { complaint, words, .. } if !reference => {
            Err(usage(complaint).hint(see_help(program, words.command())))
        }
        Wanted::Wrong { complaint, code, words } => {
            write!(io.out, "{}", text::help::text(program, words.command()))?;
            // Whoever goes on when we return must not take a mistyped switch for success.
            let ours = limit.is_some() || waits && has_long(&arguments);
            Err(usage(complaint).with_code(if ours { 2 } else { code }))
        }
        Wanted::Run(common, words) => {
            if !reference {
                words::check(program, &words, limit.is_some(), joining.file.is_some())?;
            }
            match limit {
                Some(limit) => wait::run(program, &common, &words, &joining, limit, io),
                None => classic(program, common, &words, &joining, io),
            }
        }
    }
}

/// Whether there are switches that the reference tool does not have.
fn has_long(arguments: &[String]) -> bool {
    arguments.iter().any(|argument| argument.starts_with("--"))
}

/// Where help on a command is found, for the line behind a complaint.
fn see_help(program: &str, command: &str) -> String {
    if text::help::knows(command) {
        format!("See `{program} help {command}`.")
    } else {
        format!("See `{program} help`.")
    }
}

/// The commands with the reference tool's grammar.
fn classic(program: &str, common: Common, words: &Words, joining: &Joining, io: &mut Io<'_>) -> Outcome {
    let reference = Personality::of(program) == Personality::Reference;
    let command = words.command();
    if reference && !text::help::knows(command) && command != "help" {
        // Port and token are looked for before the command is looked at.
        Session::open(program, common)?;
        write!(io.err, "{}", text::help::text(program, ""))?;
        if !command.is_empty() {
            writeln!(io.err, "\n{program}: unknown command {}", text::printable(command))?;
        }
        return Ok(());
    }
    match command {
        "" => return Err(Failure::usage(text::help::text(program, "").trim_end())),
        "help" => return help(program, &words.0[1..], io),
        "join" => return node::join(&Session::open(program, common)?, words, joining, io),
        _ => {}
    }
    let run: fn(&Session, &Words, &mut Io<'_>) -> Outcome = match command {
        "info" | "status" => node::info,
        "listpeers" | "peers" => node::peers,
        "listnetworks" => node::networks,
        "firewall" => node::firewall,
        "doctor" => node::doctor,
        "leave" => node::leave,
        "get" => node::get,
        "set" => set::run,
        "dump" => node::dump,
        "listmoons" => moon::list_classic,
        "orbit" => moon::orbit_classic,
        "deorbit" => moon::deorbit_classic,
        "bond" => bond::run,
        "listbonds" => bond::list,
        _ if command.starts_with('/') => node::path,
        _ => return Err(words::unknown(program, command)),
    };
    run(&Session::open(program, common)?, words, io)
}

/// The grouped commands. Exit code 2 with clap's explanation for a malformed line.
fn grouped(program: &str, arguments: &[String], io: &mut Io<'_>) -> Outcome {
    let words = std::iter::once("ztnode-cli").chain(arguments.iter().map(String::as_str));
    let line = match Line::try_parse_from(words) {
        Ok(line) => line,
        Err(error) if error.use_stderr() => return Err(Failure::usage(error.to_string().trim_end())),
        Err(error) if error.kind() == clap::error::ErrorKind::DisplayVersion => {
            return Ok(writeln!(io.out, "{}", crate::VERSION)?);
        }
        Err(error) => return Ok(write!(io.out, "{error}")?),
    };
    let common = Common::from(line.switches);
    let open = |common: Common| Session::open(program, common);
    match line.group {
        Group::Network(command) => network::run(&open(common)?, command, io),
        Group::Member(command) => member::run(&open(common)?, command, io),
        Group::Token(command) => token::run(&open(common)?, command, io),
        Group::Rules(command) => rules::run(program, common, command, io),
        Group::Capture(command) => capture::run(&open(common)?, &command, io),
        Group::Controller(command) => controller::run(&open(common)?, command, io),
        Group::Identity(command) => identity::run(&common, command, io),
        Group::Root(command) => root::run(program, &common, command, io),
        Group::Moon(command) => moon::run(program, common, command, io),
        Group::Migrate(command) => migrate::run(&common, &command, io),
        Group::Container(command) => container::run(program, common, command, io),
    }
}

/// Help on everything, on a command, or on a command of a group.
fn help(program: &str, topic: &[String], io: &mut Io<'_>) -> Outcome {
    let named = topic.first().map_or("", String::as_str);
    if text::help::GROUPS.iter().any(|(group, _)| *group == named) {
        let arguments: Vec<String> = topic.iter().cloned().chain(["--help".to_owned()]).collect();
        return grouped(program, &arguments, io);
    }
    if !named.is_empty()
        && !text::help::knows(named)
        && named != "help"
        && Personality::of(program) == Personality::Own
    {
        return Err(words::unknown(program, named));
    }
    Ok(write!(io.out, "{}", text::help::text(program, named))?)
}

impl Session {
    /// Finds the daemon.
    ///
    /// # Errors
    /// Exit code 2 when there is neither socket nor port and token.
    pub fn open(program: &str, common: Common) -> Result<Self, Failure> {
        let client = Client::find(program, &common)?;
        Ok(Self { program: program.to_owned(), common, client })
    }

    /// Whether streams and exit codes are to be the reference tool's.
    pub fn reference(&self) -> bool {
        Personality::of(&self.program) == Personality::Reference
    }

    /// What is said, and where, when nobody answers.
    fn silent(&self, reason: &Unreachable) -> Failure {
        Failure::error(format!("{}: ztnode does not answer: {reason}", self.program))
            .hint(self.remedy(reason))
            .with_code(code::SERVICE)
    }

    /// Sends a request; any HTTP status is a reply.
    ///
    /// # Errors
    /// [`Unreachable`] when there was no reply.
    pub fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, Unreachable> {
        self.client.request(method, path, body.map(Value::to_string))
    }

    /// An answer that does not end.
    ///
    /// # Errors
    /// Exit code 1: unreachable, or refused.
    pub fn stream(&self, path: &str) -> Result<Streaming, Failure> {
        let program = &self.program;
        let mut stream = self.client.stream(path).map_err(|reason| self.silent(&reason))?;
        match stream.status() {
            200 => Ok(stream),
            401 => {
                let reply = Reply { status: 401, body: Vec::new() };
                Err(self.stranger(&reply))
            }
            503 if path.contains("/trace") => {
                Err(Failure::error(format!("{program}: the node runs as many traces as it can"))
                    .hint("End one of them."))
            }
            status => {
                let said = stream.next_line().ok().flatten().unwrap_or_default();
                Err(Failure::error(format!(
                    "{program}: the node answered {status} to {path}: {}",
                    quoted(&said)
                ))
                .hint(
                    "A node without this request is older than this tool; restart it with the new version.",
                ))
            }
        }
    }

    /// GET for a command that shows something: a JSON reply, or the failure as the reference tool words it.
    ///
    /// # Errors
    /// The page on an unreachable service; `<code> <command> <body>`; a reply that is no JSON.
    pub fn show(&self, command: &str, path: &str) -> Result<Value, Failure> {
        let reply = self.send(Method::GET, path, None).map_err(|reason| self.unreachable(&reason))?;
        if reply.status != 200 {
            return Err(self.refused(command, &reply));
        }
        parse(command, &reply).map_err(|failure| self.worded(failure))
    }

    /// What the reference tool says on standard output, where it belongs under our name.
    fn worded(&self, failure: Failure) -> Failure {
        if self.reference() || failure.out.is_empty() {
            return failure;
        }
        let err = format!("{}: {}{}", self.program, failure.out, failure.err);
        Failure { out: String::new(), err, ..failure }
    }

    /// As [`Session::show`] for a list.
    ///
    /// # Errors
    /// As [`Session::show`]; also a reply that is no array.
    pub fn show_list(&self, command: &str, path: &str) -> Result<Vec<Value>, Failure> {
        match self.show(command, path)? {
            Value::Array(items) => Ok(items),
            other => Err(self.worded(invalid(
                command,
                200,
                &format!("an array is expected, not {}", kind(&other)),
            ))),
        }
    }

    /// A request that changes something, or fetches a raw path: the body of the 200 reply, or the failure as the
    /// reference tool words it.
    ///
    /// # Errors
    /// `0 <command> <reason>` without a reply, `<code> <command> <body>` with another status.
    pub fn act(
        &self,
        command: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Reply, Failure> {
        match self.send(method, path, body) {
            Err(reason) if !self.reference() => Err(self.silent(&reason)),
            Err(reason) => Err(Failure::on_stdout(format!("0 {} {reason}", text::printable(command)))
                .hint(self.remedy(&reason))),
            Ok(reply) if reply.status != 200 => Err(self.refused(command, &reply)),
            Ok(reply) => Ok(reply),
        }
    }

    /// The page the reference tool prints when nobody answers.
    pub fn unreachable(&self, reason: &Unreachable) -> Failure {
        if !self.reference() {
            return self.silent(reason);
        }
        Failure::on_stdout(format!(
            "Error connecting to the ZeroTier service: {reason}\n\n{}",
            self.remedy(reason)
        ))
    }

    fn remedy(&self, reason: &Unreachable) -> String {
        let home = self.common.home();
        let port = self.common.port.or_else(|| crate::home::read_port(&home)).unwrap_or(9993);
        let host = self.common.host.as_deref().unwrap_or("127.0.0.1");
        let home = home.display();
        match reason {
            Unreachable::Refused => format!(
                "Is the service running? Start it with `systemctl start ztnode` or `ztnode {home}`; it then answers \
                 on TCP port {port} of {host}."
            ),
            Unreachable::TimedOut if self.client.by_socket() => format!(
                "Something holds {home}/ztnode.sock but does not answer; restart the service with `systemctl restart \
                 ztnode`."
            ),
            Unreachable::TimedOut => format!(
                "Something holds TCP port {port} of {host} but does not answer. By {home}/ztnode.sock the service answers \
                 whatever happens at that port: try again as root. If it does not, restart it with `systemctl restart \
                 ztnode`."
            ),
            Unreachable::Closed => format!(
                "The service had to make room for other connections to TCP port {port} of {host}: try again, or as root, \
                 by {home}/ztnode.sock."
            ),
            Unreachable::Other(_) => {
                format!(
                    "Check that the service runs and that it is what answers on TCP port {port} of {host}."
                )
            }
        }
    }

    /// Another answer than 200: in one line, or `<code> <command> <body>` as the reference tool has it, with a remedy where
    /// one is known.
    pub fn refused(&self, command: &str, reply: &Reply) -> Failure {
        if reply.status == 401
            && let Some(missing) = self.client.missing()
        {
            return missing.clone();
        }
        let failure = if self.reference() {
            let said = quoted(&reply.text());
            Failure::on_stdout(format!("{} {} {said}", reply.status, text::printable(command)))
        } else if reply.status == 401 {
            Failure { code: 1, out: String::new(), err: String::new() }
        } else {
            let said = match described(reply) {
                said if said.is_empty() => String::new(),
                said => format!(": {said}"),
            };
            let command = text::printable(command);
            Failure::error(format!("{}: {command}: ztnode answered {}{said}", self.program, reply.status))
        };
        match reply.status {
            503 if reply.body.is_empty() => failure.hint(format!(
                "{}: everybody who is connected to the service is busy with it; try again, or as root, by {}/{}",
                self.program,
                self.common.home().display(),
                crate::home::SOCKET_NAME
            )),
            401 => failure.hint(format!(
                "{}: the service does not accept this caller; run it as root, join the group that owns {}/{}, or \
                 give the token of that service with --token",
                self.program,
                self.common.home().display(),
                crate::home::SOCKET_NAME
            )),
            _ => failure,
        }
    }

    /// A 401 for the commands of ours, whose complaints go to standard error under any name.
    fn stranger(&self, reply: &Reply) -> Failure {
        let refused = self.refused("", reply);
        Failure::error(refused.err.trim_end()).with_code(refused.code)
    }
}

/// What an answer that is not 200 says in words: its description, else its body as it is, unless that is an empty object.
fn described(reply: &Reply) -> String {
    let text = reply.text();
    let said = said(&text);
    quoted(said.as_deref().unwrap_or(if text.trim() == "{}" { "" } else { &text }))
}

/// The description in the body of a refusal. zerotier-one calls it the error.
fn said(body: &str) -> Option<String> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Refused {
        #[serde(deserialize_with = "api::lenient::only_text")]
        description: Option<String>,
        #[serde(deserialize_with = "api::lenient::only_text")]
        error: Option<String>,
    }
    let refused: Refused = serde_json::from_str(body).ok()?;
    refused.description.or(refused.error)
}

/// The network as the node here sees it, which must have joined it: by ID, or by name.
///
/// # Errors
/// Exit code 10 when it has not joined it, 2 when it has joined several of that name; an unreachable service.
pub(crate) fn network_of(session: &Session, typed: &str) -> Result<Value, Failure> {
    let networks = controller::request(session, Method::GET, "/network", None)?;
    let networks = networks.as_array().map_or(&[][..], Vec::as_slice);
    let by_id = crate::validate::is_hex(typed, 16).then(|| typed.to_ascii_lowercase());
    let mut found = networks.iter().filter(|network| match &by_id {
        Some(id) => api::of::<JoinedNetwork>(network).id == *id,
        None => api::of::<JoinedNetwork>(network).name == typed,
    });
    let (what, code) = match (found.next(), found.next()) {
        (Some(network), None) => return Ok(network.clone()),
        (None, _) => ("has not joined network", code::JOINED),
        (Some(_), Some(_)) => ("has joined more than one network called", 2),
    };
    Err(Failure::error(format!("{}: this node {what} {}", session.program, text::printable(typed)))
        .with_code(code)
        .hint("See `ztnode-cli listnetworks`; the 16-digit ID always works."))
}

/// Reads a reply as JSON.
///
/// # Errors
/// `<code> <command> invalid JSON response (<reason>)`.
pub fn parse(command: &str, reply: &Reply) -> Result<Value, Failure> {
    serde_json::from_slice(&reply.body).map_err(|error| invalid(command, reply.status, &error.to_string()))
}

fn invalid(command: &str, status: u16, reason: &str) -> Failure {
    Failure::on_stdout(format!("{status} {command} invalid JSON response ({reason})"))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A reply's body in an error line: bounded, and unable to move the cursor.
fn quoted(body: &str) -> String {
    let mut quoted: String = body
        .chars()
        .take(MAX_QUOTED)
        .map(|c| if c.is_control() && c != '\n' && c != '\t' { '?' } else { c })
        .collect();
    if body.chars().nth(MAX_QUOTED).is_some() {
        quoted.push('…');
    }
    quoted
}

/// Milliseconds since the Unix epoch; 0 when the clock stands before it.
pub fn now() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
