//! What can stand next on a command line: the answer to the shells' completions.
//!
//! The scripts of the shells (in `packaging/completions`) know nothing of the commands: they call `ztnode-cli __complete`, which
//! answers with a line for each candidate. So they cannot differ from the commands, and names of networks and members are
//! completed as they are at that moment.

use std::time::Duration;

use api::{JoinedNetwork, Listed, Moon, Peer, ShownToken};
use clap::{Arg, Command, CommandFactory as _, ValueHint};
use hyper::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::args::Common;
use crate::args::modern::Line;
use crate::args::switches::takes_separate_value;
use crate::failure::{Io, Outcome};
use crate::text;
use crate::transport::Client;

/// The command that completions call, which no person types.
pub const COMMAND: &str = "__complete";
/// How long a service is waited for before its names are done without.
const PATIENCE: Duration = Duration::from_secs(2);
/// A line that asks the shell to complete names of files.
const FILES: &str = ":files";

/// One candidate.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Candidate {
    word: String,
    about: String,
}

/// What can stand at the cursor.
#[derive(Debug, Default, Eq, PartialEq)]
struct Candidates {
    words: Vec<Candidate>,
    files: bool,
}

impl Candidates {
    fn add(&mut self, word: impl Into<String>, about: impl AsRef<str>) {
        // One line, whatever a network is called; the shells show the beginning.
        let about = text::printable(about.as_ref());
        self.words.push(Candidate { word: word.into(), about });
    }
}

/// `__complete -- WORD … WORD`: the words behind the program's name up to the cursor, the last one unfinished and possibly
/// empty. Prints `WORD<tab>WHAT IT IS` for each candidate that begins so, and `:files` if a file's name may stand there.
///
/// # Errors
/// The output cannot be written.
pub fn run(arguments: &[String], io: &mut Io<'_>) -> Outcome {
    let words: Vec<&str> =
        arguments.iter().map(String::as_str).skip_while(|word| *word != "--").skip(1).collect();
    let (current, before) = words.split_last().map_or(("", &[][..]), |(last, before)| (*last, before));
    let mut candidates = candidates(before, current);
    candidates.words.retain(|candidate| {
        let printable = !candidate.word.contains(char::is_control);
        printable && !candidate.word.is_empty() && candidate.word.starts_with(current)
    });
    for Candidate { word, about } in &candidates.words {
        writeln!(io.out, "{word}\t{about}")?;
    }
    if candidates.files {
        writeln!(io.out, "{FILES}")?;
    }
    Ok(())
}

fn candidates(before: &[&str], current: &str) -> Candidates {
    let mut found = Candidates::default();
    let mut node = Node { common: Common::default() };
    let mut rest = before.iter();
    // The switches before the command, some of which say where the node is.
    let command = loop {
        let Some(word) = rest.next() else { break None };
        if takes_separate_value(word, false) {
            let Some(value) = rest.next() else {
                found.files = matches!(*word, "-D" | "--home");
                return found;
            };
            node.note(word, value);
        } else if let Some(value) = word.strip_prefix("--home=").or_else(|| word.strip_prefix("-D")) {
            node.note("--home", value);
        } else if !word.starts_with('-') {
            break Some(*word);
        }
    };
    let rest: Vec<&str> = rest.copied().collect();
    match command {
        None if current.starts_with('-') => add_switches(&mut found),
        None => {
            for (name, about) in text::help::commands().chain(text::help::GROUPS) {
                found.add(name, about);
            }
            found.add("help", "help on a command");
        }
        Some("help") => help(&rest, &mut found),
        Some(group) if text::help::GROUPS.iter().any(|(name, _)| *name == group) => {
            let root = Line::command();
            if let Some(group) = root.find_subcommand(group) {
                grouped(group, &rest, current, &mut node, &mut found);
            }
        }
        Some(command) => classic(command, &rest, current, &mut node, &mut found),
    }
    found
}

fn add_switches(found: &mut Candidates) {
    for switch in Line::command().get_arguments().filter(|switch| !switch.is_hide_set()) {
        add_switch(switch, found);
    }
    found.add("--help", "Print help");
}

fn add_switch(switch: &Arg, found: &mut Candidates) {
    let about = switch.get_help().map(ToString::to_string).unwrap_or_default();
    if let Some(long) = switch.get_long() {
        found.add(format!("--{long}"), about);
    }
}

fn help(words: &[&str], found: &mut Candidates) {
    let root = Line::command();
    match words {
        [] => {
            for (name, about) in text::help::commands().chain(text::help::GROUPS) {
                found.add(name, about);
            }
        }
        [group] => add_subcommands(root.find_subcommand(group), found),
        _ => {}
    }
}

fn add_subcommands(group: Option<&Command>, found: &mut Candidates) {
    for command in group.into_iter().flat_map(Command::get_subcommands) {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        found.add(command.get_name(), about);
    }
}

/// A command of the node itself. `words`: what stands behind it.
fn classic(command: &str, words: &[&str], current: &str, node: &mut Node, found: &mut Candidates) {
    let switches: &[(&str, &str)] = match command {
        "join" => &[
            ("--wait", "return when the network can be used"),
            ("--token", "let in by this join token"),
            ("--token-file", "the join token is in this file"),
            ("--keep-planet", "do not take the planet of the join token"),
            ("--timeout", "how many seconds to wait"),
        ],
        "wait" => &[("--timeout", "how many seconds to wait")],
        _ => &[],
    };
    let mut plain = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if takes_separate_value(word, false) {
            match rest.next() {
                Some(value) => node.note(word, value),
                None => {
                    found.files = matches!(*word, "-D" | "--home" | "--token-file");
                    return;
                }
            }
        } else if !word.starts_with('-') {
            plain.push(*word);
        }
    }
    if current.starts_with('-') {
        add_switches(found);
        // After `join` it is the join token.
        found.words.retain(|known| switches.iter().all(|(name, _)| *name != known.word));
        for (name, about) in switches {
            found.add(*name, *about);
        }
        return;
    }
    match (command, plain.as_slice()) {
        ("leave" | "wait" | "get" | "set", []) => node.add_joined(found),
        ("get", [network]) => {
            for network in node.joined().iter().filter(|known| is_called(known, network)) {
                for name in text::networks::properties(network) {
                    found.add(name, "");
                }
            }
        }
        ("set", [_, ..]) => {
            for setting in protocol::permission::NAMES {
                let already = plain.iter().any(|word| word.starts_with(&format!("{setting}=")));
                for value in ["1", "0"].iter().filter(|_| !already) {
                    found.add(format!("{setting}={value}"), "");
                }
            }
        }
        ("deorbit", []) => {
            for moon in node.list("/moon") {
                found.add(text::printable(&api::of::<Moon>(&moon).id), "a moon this node orbits");
            }
        }
        ("bond", []) => {
            for (word, about) in [("list", "bonded peers"), ("setmtu", "MTU of a link")] {
                found.add(word, about);
            }
            node.add_peers(found);
        }
        ("bond", [peer]) if !matches!(*peer, "list" | "setmtu") => {
            found.add("show", "its links");
            found.add("rotate", "use another link");
        }
        _ => {}
    }
}

fn is_called(network: &Value, typed: &str) -> bool {
    let network: JoinedNetwork = api::of(network);
    network.id.eq_ignore_ascii_case(typed) || network.name == typed
}

/// A command of a group, whose arguments clap knows.
fn grouped(group: &Command, words: &[&str], current: &str, node: &mut Node, found: &mut Candidates) {
    let mut command = group;
    let mut positional = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if let Some((switch, joined)) = switch_of(command, word) {
            let wants_value = switch.get_action().takes_values() && !switch.is_require_equals_set();
            match (joined, wants_value.then(|| rest.next())) {
                (Some(value), _) => node.note(word.split('=').next().unwrap_or(word), value),
                (None, None) => {}
                (None, Some(Some(value))) => node.note(word, value),
                // Its value is what stands at the cursor.
                (None, Some(None)) => return add_values(&switch, &positional, node, found),
            }
        } else if !word.starts_with('-') {
            match command.find_subcommand(word) {
                Some(below) => command = below,
                None => positional.push(*word),
            }
        }
    }
    if let Some((name, _)) = current.split_once('=')
        && let Some((switch, _)) = switch_of(command, name)
    {
        let mut values = Candidates::default();
        add_values(&switch, &positional, node, &mut values);
        for Candidate { word, about } in values.words {
            found.add(format!("{name}={word}"), about);
        }
        return;
    }
    if current.starts_with('-') {
        for switch in
            command.get_arguments().filter(|switch| !switch.is_positional() && !switch.is_hide_set())
        {
            add_switch(switch, found);
        }
        add_switches(found);
        found.words.sort_by(|a, b| a.word.cmp(&b.word));
        found.words.dedup_by(|a, b| a.word == b.word);
        return;
    }
    add_subcommands(Some(command), found);
    let arguments: Vec<&Arg> = command.get_positionals().collect();
    let wanted = arguments.get(positional.len()).or_else(|| {
        arguments.last().filter(|last| last.get_num_args().is_some_and(|count| count.max_values() > 1))
    });
    if let Some(argument) = wanted {
        add_values(argument, &positional, node, found);
    }
}

/// The switch that a word is, of the command or of all, and the value that is joined to it.
fn switch_of<'a>(command: &Command, word: &'a str) -> Option<(Arg, Option<&'a str>)> {
    let (name, joined) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    let root = Line::command();
    let all = command.get_arguments().chain(root.get_arguments());
    let mut letters = name.strip_prefix('-')?.chars();
    let letter = letters.next();
    for switch in all {
        let long = name.strip_prefix("--");
        if long.is_some() && long == switch.get_long() {
            return Some((switch.clone(), joined));
        }
        if long.is_none() && letter.is_some() && letter == switch.get_short() {
            let glued = Some(letters.as_str()).filter(|glued| !glued.is_empty());
            return Some((switch.clone(), glued));
        }
    }
    None
}

/// What an argument can be. `positional`: the words that stand before it.
fn add_values(argument: &Arg, positional: &[&str], node: &mut Node, found: &mut Candidates) {
    for value in argument.get_possible_values() {
        found.add(value.get_name(), value.get_help().map(ToString::to_string).unwrap_or_default());
    }
    let paths =
        matches!(argument.get_value_hint(), ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath);
    match (argument.get_id().as_str(), positional) {
        ("network" | "first", _) => node.add_networks(found),
        ("member", [network, ..]) => node.add_members(network, found),
        ("from" | "to", [network, ..]) => node.add_members(network, found),
        ("id", [network, ..]) => node.add_tokens(network, found),
        ("home", _) => found.files = true,
        _ => found.files |= paths,
    }
}

/// The node that is asked for names; one that does not answer has none.
struct Node {
    common: Common,
}

impl Node {
    /// Takes note of a switch that says where the node is.
    fn note(&mut self, switch: &str, value: &str) {
        match switch {
            "-D" | "--home" => self.common.home = Some(value.to_owned()),
            "-p" | "--port" => self.common.port = value.parse().ok(),
            "-H" | "--host" => self.common.host = Some(value.to_owned()),
            "-T" => self.common.token = Some(value.to_owned()),
            _ => {}
        }
    }

    fn get(&self, path: &str) -> Option<Value> {
        let client = Client::find("ztnode-cli", &self.common).ok()?.with_timeout(PATIENCE);
        let reply = client.request(Method::GET, path, None).ok().filter(|reply| reply.status == 200)?;
        serde_json::from_slice(&reply.body).ok()
    }

    fn list(&self, path: &str) -> Vec<Value> {
        match self.get(path) {
            Some(Value::Array(items)) => items,
            Some(object) => api::of::<Listed<Value, Value>>(&object).data,
            None => Vec::new(),
        }
    }

    fn joined(&self) -> Vec<Value> {
        self.list("/network")
    }

    fn add_joined(&self, found: &mut Candidates) {
        for network in self.joined() {
            add_named(&api::of(&network), "joined", found);
        }
    }

    /// Those of the controller here, and the joined ones.
    fn add_networks(&self, found: &mut Candidates) {
        let own = self.list("/unstable/controller/network");
        for network in &own {
            add_named(&api::of(network), "controlled here", found);
        }
        for network in self.joined() {
            let network: Named = api::of(&network);
            if own.iter().all(|known| api::of::<Named>(known).id != network.id) {
                add_named(&network, "joined", found);
            }
        }
    }

    fn add_members(&self, network: &str, found: &mut Candidates) {
        let Some(id) = self.id_of(network) else { return };
        for member in self.list(&format!("/unstable/controller/network/{id}/member")) {
            add_named(&api::of(&member), "member", found);
        }
    }

    fn add_tokens(&self, network: &str, found: &mut Candidates) {
        let Some(id) = self.id_of(network) else { return };
        for token in self.list(&format!("/controller/network/{id}/token")) {
            let token: ShownToken = api::of(&token);
            let name = token.record.name.as_deref().map_or_else(|| "-".to_owned(), text::printable);
            found.add(token.record.id.to_string(), format!("{} {name}", token.state.name()));
        }
    }

    fn add_peers(&self, found: &mut Candidates) {
        for peer in self.list("/peer") {
            let peer: Peer = api::of(&peer);
            found.add(text::printable(&peer.address), text::printable(&peer.role));
        }
    }

    fn id_of(&self, network: &str) -> Option<String> {
        if crate::validate::is_hex(network, 16) {
            return Some(network.to_ascii_lowercase());
        }
        let own = self.list("/unstable/controller/network");
        let mut own = own.iter().map(api::of::<Named>);
        own.find(|known| known.name.as_deref() == Some(network)).map(|known| text::printable(&known.id))
    }
}

/// What networks and members have in common.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    #[serde(deserialize_with = "api::lenient::shown")]
    id: String,
    #[serde(deserialize_with = "api::lenient::only_text")]
    name: Option<String>,
}

/// A thing by its key and, if it has one, by its name.
fn add_named(item: &Named, what: &str, found: &mut Candidates) {
    let id = text::printable(&item.id);
    match item.name.as_deref() {
        Some(name) if !name.is_empty() => {
            found.add(name, format!("{what}, {id}"));
            found.add(id, format!("{what}, {name}"));
        }
        _ => found.add(id, what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let home = tempfile::tempdir().unwrap();
        let (before, current) = line.rsplit_once(' ').unwrap_or(("", line));
        let at = format!("-D{}", home.path().display());
        let before: Vec<&str> = std::iter::once(at.as_str()).chain(before.split_whitespace()).collect();
        let found = candidates(&before, current);
        let mut words: Vec<String> =
            found.words.into_iter().map(|c| c.word).filter(|word| word.starts_with(current)).collect();
        if found.files {
            words.push(FILES.into());
        }
        words
    }

    #[test]
    fn every_level_of_the_command_line() {
        assert_eq!(words("j"), ["join"]);
        assert_eq!(words("net"), ["network"]);
        assert_eq!(words("network "), ["create", "list", "show", "set", "delete"]);
        assert_eq!(words("network create --mt"), ["--mtu"]);
        assert_eq!(words("network create --broadcast="), ["--broadcast=true", "--broadcast=false"]);
        assert_eq!(words("network create --mtu "), Vec::<String>::new());
        assert_eq!(words("join --w"), ["--wait"]);
        assert_eq!(words("join N --tok"), ["--token", "--token-file"]);
        assert_eq!(words("wait --ti"), ["--timeout"]);
        assert_eq!(words("set N allowGl"), ["allowGlobal=1", "allowGlobal=0"]);
        assert_eq!(words("rules check "), [FILES]);
        assert_eq!(words("rules explain --rules "), [FILES]);
        assert_eq!(words("controller restore "), [FILES]);
        assert_eq!(words("help network s"), ["show", "set"]);
        assert_eq!(words("--js"), ["--json"]);
        assert_eq!(words("info --ho"), ["--home", "--host"]);
        assert!(!words("-").contains(&"-q".to_owned()), "what is not documented is not proposed");
        assert!(words("identity ").contains(&"validate".to_owned()));
    }
}
