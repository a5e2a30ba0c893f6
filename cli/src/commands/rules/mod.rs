//! `rules …`: flow rules, from their source to what they do with packets.

mod check;
mod enforced;
mod explain;
mod init;
mod people;
mod set;
mod show;
mod test;
mod trace;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use api::{JoinedNetwork, Network};
use flowrules::Rule;
use flowrules::cases::Vocabulary;
use flowrules::explain::{Book, Rules};
use flowrules::language::{self, Options, Program};
use serde_json::{Value, json};

use super::Session;
use super::controller::{all_networks, request};
use crate::args::Common;
use crate::args::rules::RulesCommand;
use crate::failure::{Failure, Io, Outcome};
use crate::validate::is_hex;

/// Runs one of the rule commands. Those that need no node do not look for one.
///
/// # Errors
/// Exit code 2 for input that cannot be right, 1 for rules that do not compile and for what the service says no to.
pub fn run(program: &str, common: Common, command: RulesCommand, io: &mut Io<'_>) -> Outcome {
    match command {
        RulesCommand::Init { name, allow } => init::run(program, &name, &allow, io),
        RulesCommand::Compile { file, strict } => {
            let source = Source::read(program, &file)?;
            let text = source.compile(strict)?.program.to_json();
            let newline = if text.ends_with('\n') { "" } else { "\n" };
            Ok(write!(io.out, "{text}{newline}")?)
        }
        RulesCommand::Check { file, network, strict } => {
            check::run(program, common, &file, network.as_deref(), strict, io)
        }
        RulesCommand::Set { network, file, dry_run } => {
            set::run(&Session::open(program, common)?, &network, &file, dry_run, io)
        }
        RulesCommand::Show { network, counters, source } => {
            show::run(&Session::open(program, common)?, &network, counters, source, io)
        }
        RulesCommand::Test { file, cases, tap } => test::run(program, &common, &file, &cases, tap, io),
        RulesCommand::Explain(wanted) => explain::run(program, common, &wanted, io),
        RulesCommand::Trace(wanted) => trace::run(&Session::open(program, common)?, &wanted, io),
    }
}

/// A rule file.
struct Source {
    name: String,
    text: String,
}

impl Source {
    fn read(program: &str, file: &Path) -> Result<Self, Failure> {
        let (name, text) = read_text(program, file, language::MAX_SOURCE)?;
        Ok(Self { name, text })
    }

    fn compile(self, strict: bool) -> Result<Compiled, Failure> {
        match language::compile(&self.text, &Options { strict }) {
            Ok(program) => Ok(Compiled::new(self, program)),
            Err(error) => Err(Failure::error(error.render(&self.name, &self.text).trim_end())),
        }
    }
}

/// A rule file that compiles, and what is made of it.
struct Compiled {
    source: Source,
    program: Program,
    capabilities: BTreeMap<u32, Vec<Rule>>,
    book: Book,
    vocabulary: Vocabulary,
}

impl Compiled {
    fn new(source: Source, program: Program) -> Self {
        let capabilities =
            program.capabilities.iter().map(|one| (one.id, one.section.rules.clone())).collect();
        let (book, vocabulary) = (Book::of_program(&program, &source.text), Vocabulary::from(&program));
        Self { source, program, capabilities, book, vocabulary }
    }

    /// The source a controller keeps with a network, if it has one that compiles.
    fn of_network(network: &Network) -> Option<Self> {
        let text = Some(network.rules_source.as_str()).filter(|text| !text.trim().is_empty())?;
        let program = language::compile(text, &Options::default()).ok()?;
        Some(Self::new(Source { name: "rulesSource".to_owned(), text: text.to_owned() }, program))
    }

    fn rules(&self) -> Rules<'_> {
        Rules { base: &self.program.base.rules, capabilities: &self.capabilities }
    }
}

/// The names that the source kept with a network gives to tags and capabilities.
pub(super) fn vocabulary(network: &Network) -> Vocabulary {
    Compiled::of_network(network).map(|compiled| compiled.vocabulary).unwrap_or_default()
}

/// A text file or standard input, and what to call it in messages.
fn read_text(program: &str, file: &Path, limit: usize) -> Result<(String, String), Failure> {
    let stdin = file.as_os_str() == "-";
    let name = if stdin { "standard input".to_owned() } else { file.display().to_string() };
    let wrong = |why: String| Failure::error(format!("{program}: {name}: {why}"));
    let mut bytes = Vec::new();
    // One more than allowed, to tell a file that is too long.
    let most = limit as u64 + 1;
    let read = if stdin {
        std::io::stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    read.map_err(|error| wrong(error.to_string()))?;
    if bytes.len() > limit {
        return Err(wrong(format!("longer than {limit} bytes")));
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| wrong(format!("no UTF-8 text (byte {})", error.utf8_error().valid_up_to())))?;
    Ok((name, text))
}

/// A network as the controller here keeps it, or as the node here has joined it.
enum Found {
    Controller(Box<Network>),
    Member(Box<JoinedNetwork>),
}

/// Looks for a network first on the controller here, then among those the node has joined.
fn find(session: &Session, typed: &str) -> Result<Found, Failure> {
    match on_controller(session, typed)? {
        Some(network) => Ok(Found::Controller(network.into())),
        None => joined(session, typed).map(Found::Member),
    }
}

/// A network that the node has joined.
fn joined(session: &Session, typed: &str) -> Result<Box<JoinedNetwork>, Failure> {
    super::network_of(session, typed).map(|network| Box::new(api::of(&network)))
}

/// The network as the controller here keeps it, or `None`. A node whose controller is out of order has no networks.
fn on_controller(session: &Session, typed: &str) -> Result<Option<Network>, Failure> {
    let networks: Vec<Network> = match all_networks(session) {
        Ok(networks) => api::all(&networks),
        // Whether the service answers at all shows with the next request.
        Err(failure) if failure.code == 1 => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let id = is_hex(typed, 16).then(|| typed.to_ascii_lowercase());
    let known = networks.iter().any(|network| match &id {
        Some(id) => network.id.to_string() == *id,
        None => network.name == typed,
    });
    if !known {
        return Ok(None);
    }
    let id = super::controller::network_id(session, typed)?;
    let record = request(session, hyper::Method::GET, &format!("/controller/network/{id}"), None)?;
    Ok(Some(api::of(&record)))
}

/// Adds a field to an object.
fn put(object: &mut Value, field: &str, value: impl Into<Value>) {
    if let Value::Object(fields) = object {
        fields.insert(field.to_owned(), value.into());
    }
}

/// `line`, `includedAt` and `statement` of an entry, for JSON.
fn place_json(book: &Book, entry: Option<flowrules::Entry>) -> Value {
    let statement = entry.and_then(|entry| book.statement(entry)).cloned().unwrap_or_default();
    json!({
        "capability": entry.and_then(|entry| entry.capability),
        "entry": entry.map(|entry| entry.index),
        "line": statement.line,
        "includedAt": statement.included_at,
        "statement": statement.text,
    })
}
