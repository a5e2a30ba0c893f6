//! `join NETWORK --wait[=SECONDS]` and `wait NETWORK [--timeout SECONDS]`: return when the network can be used.
//!
//! The node holds its answer until something changes; nothing is asked over and over, except for a service that does not
//! answer yet, which has no way to tell.

use std::io;
use std::time::{Duration, Instant};

use api::{CollisionSeen, JoinedNetwork, NetworkStatus, Problem, Ready};
use hyper::Method;
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::planet::{self, Ask};
use super::{parse, quoted};
use crate::args::Common;
use crate::args::join::{Join, Joining, Planet};
use crate::args::switches::Words;
use crate::failure::{Failure, Io, Outcome, code};
use crate::home;
use crate::text;
use crate::text::lack::Lack;
use crate::transport::{Client, Reply};
use crate::validate::is_hex;

/// From here on people are told what is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause before a service that does not answer is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// What an answer may take beyond the time the service was asked to hold it.
const GRACE: Duration = Duration::from_secs(3);
/// The service is asked to hold an answer no longer than this.
const LONGEST_HOLD: Duration = Duration::from_secs(45);

/// How asking ended without an answer that helps.
enum End {
    /// The time is over, or waiting is of no use.
    Lack(Lack),
    /// Neither: no token, a service of another kind …
    Failure(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Failure(error.into())
    }
}

/// One command on its way.
struct Wait<'a> {
    program: &'a str,
    common: &'a Common,
    network: String,
    /// The join token of a `join`.
    token: Option<Zeroizing<String>>,
    /// The planet that it names.
    planet: Option<Planet>,
    begun: Instant,
    limit: Duration,
    /// The last thing people were told is waited for.
    told: String,
    /// And what they were told to do about it.
    told_remedy: String,
    /// The last answer.
    state: Option<Ready>,
}

/// Runs `wait`, or a `join` (with this join token) that waits at most `limit`.
///
/// # Errors
/// The exit codes of the documentation: 2 for bad arguments or without a token, 3 to 10 for what is missing, 1 for all else.
pub fn run(
    program: &str,
    common: &Common,
    words: &Words,
    joining: &Joining,
    limit: Duration,
    io: &mut Io<'_>,
) -> Outcome {
    let command = words.command();
    let Join { network: named, token, planet } = match command {
        "join" => crate::args::join::of_join(words.first(), joining)
            .map_err(|why| Failure::usage(format!("{program}: {why}")))?,
        _ => Join { network: words.first().to_owned(), token: None, planet: None },
    };
    let is_id = is_hex(&named, 16);
    let alone = words.0.len() == 1 && joining.file.is_some();
    if words.0.len() != 2 && !alone || !is_id && command == "join" {
        return Err(Failure::usage(format!(
            "{program}: {command} takes one network ID, 16 hexadecimal digits, such as 37f2b7c94f000001"
        )));
    }
    let mut wait = Wait {
        program,
        common,
        network: if is_id { named.to_ascii_lowercase() } else { named },
        token,
        planet,
        begun: Instant::now(),
        limit,
        told: String::new(),
        told_remedy: String::new(),
        state: None,
    };
    let ended = match command {
        "join" => wait.join(io).and_then(|()| wait.until_ready(io)),
        _ if is_id => wait.until_ready(io),
        _ => wait.find(io).and_then(|()| wait.until_ready(io)),
    };
    match ended {
        Ok(()) => wait.report(None, io),
        Err(End::Failure(failure)) => Err(failure),
        Err(End::Lack(lack)) => {
            wait.report(Some(&lack), io)?;
            // The remedy stands in the line before if that was about the same.
            let known = wait.told == lack.word && wait.told_remedy == lack.remedy;
            let remedy = if known { String::new() } else { format!("; {}", lack.remedy) };
            let gave_up = if known { "gave up waiting: " } else { "" };
            let line = format!("{program}: {}: {gave_up}{}{remedy}", wait.network, lack.what);
            Err(Failure::error(line).with_code(lack.code))
        }
    }
}

impl Wait<'_> {
    fn left(&self) -> Duration {
        self.limit.saturating_sub(self.begun.elapsed())
    }

    fn join(&mut self, io: &mut Io<'_>) -> Result<(), End> {
        if let Some(planet) = self.planet.take() {
            let (program, home) = (self.program, self.common.home());
            let ask = |ask: &Ask, io: &mut Io<'_>| {
                let (method, body) = ask.parts();
                self.reach(&method, |_| planet::PATH.to_owned(), body, io)
            };
            planet::ensure(program, &home, &planet, ask, io)?;
        }
        let path = format!("/network/{}", self.network);
        self.reach(&Method::POST, |_| path.clone(), None, io)?;
        if !self.common.json {
            writeln!(io.out, "200 join OK")?;
            io.out.flush()?;
        }
        Ok(())
    }

    /// The ID of the network that was named by its name, which the node knows of those it has joined.
    fn find(&mut self, io: &mut Io<'_>) -> Result<(), End> {
        let reply = self.reach(&Method::GET, |_| "/network".to_owned(), None, io)?;
        let networks =
            parse("wait", &reply).map_err(|failure| End::Failure(Failure::error(failure.out.trim_end())))?;
        let networks: Vec<JoinedNetwork> = api::all(networks.as_array().map_or(&[][..], Vec::as_slice));
        let mut found = networks.iter().filter(|network| network.name == *self.network);
        match (found.next(), found.next()) {
            (Some(network), None) => self.network = text::printable(&network.id),
            (None, _) => {
                let shown = text::printable(&self.network);
                let what = format!("this node has joined no network called {shown:?}");
                let remedy = "see `ztnode-cli listnetworks`, or give the 16-digit ID";
                return Err(End::Lack(Lack::new(code::JOINED, "join", what, remedy)));
            }
            (Some(_), Some(_)) => {
                return Err(End::Failure(Failure::usage(format!(
                    "{}: this node has joined more than one network called {:?}; give the 16-digit ID",
                    self.program,
                    text::printable(&self.network)
                ))));
            }
        }
        Ok(())
    }

    fn until_ready(&mut self, io: &mut Io<'_>) -> Result<(), End> {
        loop {
            let (network, told) = (self.network.clone(), self.told.clone());
            let path = |hold: Duration| {
                let seen = if told.is_empty() { String::new() } else { format!("&seen={told}") };
                format!("/network/{network}/ready?wait={}{seen}", hold.as_millis())
            };
            let reply = self.reach(&Method::GET, path, None, io)?;
            let state = parse("wait", &reply)
                .map_err(|failure| End::Failure(Failure::error(failure.out.trim_end())))?;
            let state: &Ready = self.state.insert(api::of(&state));
            if state.ready {
                return Ok(());
            }
            let lack = Lack::of(state);
            if self.left().is_zero() {
                return Err(End::Lack(lack));
            }
            self.tell(&lack, io)?;
        }
    }

    /// The 200 answer to a request, or any that says something about a planet. A service that does not answer, or cannot now, is tried again as long as there is time.
    /// `path` is given how long the answer may be held, `bytes` a body that is not the join token.
    fn reach(
        &mut self,
        method: &Method,
        path: impl Fn(Duration) -> String,
        bytes: Option<&[u8]>,
        io: &mut Io<'_>,
    ) -> Result<Reply, End> {
        loop {
            // Until people are told, only for as long as they are patient.
            let patience = PATIENCE.saturating_sub(self.begun.elapsed());
            let hold = self.left().min(if patience.is_zero() { LONGEST_HOLD } else { patience });
            let lack = match self.attempt(method, &path(hold), bytes, hold)? {
                Ok(reply) => return Ok(reply),
                Err(lack) => lack,
            };
            if self.left().is_zero() {
                return Err(End::Lack(lack));
            }
            self.tell(&lack, io)?;
            std::thread::sleep(RETRY.min(self.left()));
        }
    }

    /// One attempt: the answer, why it may be tried again, or why not.
    fn attempt(
        &self,
        method: &Method,
        path: &str,
        bytes: Option<&[u8]>,
        hold: Duration,
    ) -> Result<Result<Reply, Lack>, End> {
        // Every time anew: a service that is only just starting has neither socket nor port nor token.
        let client = match Client::find(self.program, self.common) {
            Ok(client) => client.with_timeout(hold + GRACE),
            Err(failure) if self.may_come() => {
                let reason = failure.err.lines().next().unwrap_or_default();
                let reason = reason.strip_prefix(&format!("{}: ", self.program)).unwrap_or(reason);
                return Ok(Err(Lack::service(reason)));
            }
            Err(failure) => return Err(End::Failure(failure)),
        };
        let body = (method == Method::POST).then(|| match &self.token {
            Some(token) => json!({"token": **token}).to_string(),
            None => json!({}).to_string(),
        });
        let sent = match bytes {
            Some(bytes) => client.upload(path, bytes.to_vec()),
            None => client.request(method.clone(), path, body),
        };
        let reply = match sent {
            Ok(reply) => reply,
            Err(reason) => return Ok(Err(Lack::service(&reason.to_string()))),
        };
        let failure = match reply.status {
            200 => return Ok(Ok(reply)),
            400 | 404 | 409 | 500 if path == planet::PATH => return Ok(Ok(reply)),
            401 => client.missing().cloned().unwrap_or_else(|| {
                Failure::error(format!(
                    "{}: the service does not accept this caller; run it as root, or join the group that owns {}/{}",
                    self.program,
                    self.common.home().display(),
                    home::SOCKET_NAME
                ))
            }),
            400 if self.token.is_some() => {
                Failure::usage(format!("{}: {}", self.program, quoted(&said(&reply))))
            }
            404 if !reply.body.is_empty() => return Err(End::Lack(Lack::joined(&self.network))),
            404 => Failure::error(format!(
                "{}: the service that runs is older than this tool and cannot be waited for; restart it: systemctl \
                 restart ztnode",
                self.program
            )),
            status => {
                let said = quoted(&said(&reply));
                let what = format!("the service answers {status} ({said})");
                return Ok(Err(Lack::new(code::OTHER, "service", what, "see the service's log: journalctl -u ztnode")));
            }
        };
        Err(End::Failure(failure))
    }

    /// Whether a service without port and token may be one that has not started yet.
    fn may_come(&self) -> bool {
        let port = self.common.home().join("zerotier-one.port");
        let absent = std::fs::metadata(port).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        absent && self.common.port.is_none() && self.common.host.is_none()
    }

    /// Tells people what is waited for, when it takes long and they have not been told.
    fn tell(&mut self, lack: &Lack, io: &mut Io<'_>) -> Result<(), End> {
        if self.begun.elapsed() >= PATIENCE && self.told != lack.word {
            self.told.clone_from(&lack.word);
            self.told_remedy.clone_from(&lack.remedy);
            let seconds = self.left().as_secs() + 1;
            writeln!(
                io.err,
                "{}: {}: waiting (up to {seconds} s more): {}; {}",
                self.program, self.network, lack.what, lack.remedy
            )?;
            io.err.flush()?;
        }
        Ok(())
    }

    /// The result on standard output: a line when all is well, with `-j` an object in any case.
    fn report(&self, lack: Option<&Lack>, io: &mut Io<'_>) -> Outcome {
        let state = self.state.as_ref();
        let collision = state.and_then(|state| state.collision.as_ref());
        if let Some(note) = collision.and_then(text::info::collision) {
            writeln!(io.err, "{}: {}: {note}", self.program, self.network)?;
        }
        if self.common.json {
            let milliseconds = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            let result = Ended {
                network: &self.network,
                ready: lack.is_none(),
                code: lack.map_or(0, |lack| lack.code),
                waiting_for: lack.map(|lack| &lack.word),
                message: lack.map(|lack| &lack.what),
                remedy: lack.map(|lack| &lack.remedy),
                milliseconds,
                status: state.map(|state| &state.status),
                address: state.map(|state| &state.address),
                port_device_name: state.map(|state| &state.port_device_name),
                addresses: state.map(|state| &state.addresses),
                authentication_url: state.and_then(|state| state.authentication_url.as_ref()),
                collision,
            };
            return super::node::print_json(&api::json(&result), io);
        }
        let Some(state) = state.filter(|_| lack.is_none()) else { return Ok(()) };
        let addresses = &state.addresses;
        let addresses = if addresses.is_empty() { "-".to_owned() } else { addresses.join(",") };
        let device = text::printable(&state.port_device_name);
        Ok(writeln!(io.out, "200 wait OK {device} {}", text::printable(&addresses))?)
    }
}

/// What `-j` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ended<'a> {
    network: &'a str,
    ready: bool,
    code: u8,
    waiting_for: Option<&'a String>,
    message: Option<&'a String>,
    remedy: Option<&'a String>,
    milliseconds: u64,
    status: Option<&'a NetworkStatus>,
    address: Option<&'a String>,
    port_device_name: Option<&'a String>,
    addresses: Option<&'a Vec<String>>,
    #[serde(rename = "authenticationURL")]
    authentication_url: Option<&'a String>,
    collision: Option<&'a CollisionSeen>,
}

/// What the service has to say about an answer that is none.
fn said(reply: &Reply) -> String {
    let problem: Option<Problem> = serde_json::from_slice(&reply.body).ok();
    text::printable(
        problem.map(|problem| problem.description).filter(|said| !said.is_empty()).as_deref().unwrap_or("-"),
    )
}
