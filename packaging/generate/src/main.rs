//! Writes what the packages ship besides the programs: man pages, from what the programs themselves say (the tool's
//! definitions, and the daemon's help on standard input), completions for bash, zsh and fish, and for the image certificates.
//!
//! ```text
//! ztnode --help | ztnode-generate DIRECTORY     makes DIRECTORY/share/man, …/doc, …/bash-completion, …/zsh, …/fish,
//!                                               and DIRECTORY/certificates
//! ```

mod certificates;
mod completions;
mod documents;
mod manual;
mod pages;

use std::io::{self, Read as _};
use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, ArgAction, Command, CommandFactory as _};

/// The program that people type.
const PROGRAM: &str = "ztnode-cli";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [directory] = arguments.as_slice() else {
        eprintln!("usage: ztnode --help | ztnode-generate DIRECTORY");
        return ExitCode::from(2);
    };
    let mut help = String::new();
    let read = io::stdin().read_to_string(&mut help);
    match read.and_then(|_| generate(Path::new(directory), &help)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ztnode-generate: {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

/// Writes everything below `directory`; `help` is the daemon's.
fn generate(directory: &Path, help: &str) -> io::Result<()> {
    let command = command();
    manual::write(&command, help, &directory.join("share/man"))?;
    documents::write(&directory.join("share/doc"))?;
    completions::write(&directory.join("share"))?;
    certificates::write(&directory.join("certificates"))
}

/// The whole command line: the groups as they are defined, and the commands of the node itself, which have a grammar
/// that clap does not know, by what the tool's help says of them.
fn command() -> Command {
    let mut command = cli::args::modern::Line::command();
    for Classic { name, arguments, about } in classic(&cli::text::help::text(PROGRAM, "")) {
        let help = cli::text::help::text(PROGRAM, &name);
        let usage = format!("{PROGRAM} {name} {arguments}");
        // clap wants names that last; a few words do until this program ends.
        let name: &'static str = name.leak();
        let mut entry = Command::new(name).about(about).override_usage(usage);
        if let Some((_, example)) = help.split_once("Example:") {
            // What is said besides comes before it.
            let (example, more) = example.trim_end().split_once("\n\n").unwrap_or((example, ""));
            entry =
                entry.after_help(format!("{more}\nExample:{}", example.trim_end()).trim_start().to_owned());
        }
        for switch in SWITCHES.iter().filter(|switch| switch.command == name) {
            let mut arg = Arg::new(switch.name).long(switch.name).help(switch.about);
            if switch.value.is_empty() {
                arg = arg.action(ArgAction::SetTrue);
            } else {
                arg = arg.value_name(switch.value);
            }
            if switch.name == "wait" {
                arg = arg.num_args(0..=1).require_equals(true);
            }
            entry = entry.arg(arg);
        }
        command = command.subcommand(entry);
    }
    command
}

/// A switch of a command of the node itself.
struct Switch {
    command: &'static str,
    name: &'static str,
    value: &'static str,
    about: &'static str,
}

const SWITCHES: [Switch; 5] = [
    Switch {
        command: "join",
        name: "token",
        value: "TOKEN",
        about: "Join token that lets this node in; the token of the control API is given by -T here",
    },
    Switch {
        command: "join",
        name: "token-file",
        value: "FILE",
        about: "File with the join token, beside which the planet may lie that the token names",
    },
    Switch {
        command: "join",
        name: "keep-planet",
        value: "",
        about: "Join without taking the planet that the token names",
    },
    Switch {
        command: "join",
        name: "wait",
        value: "SECONDS",
        about: "Return when the network can be used, or after so many seconds [default: 60]",
    },
    Switch {
        command: "wait",
        name: "timeout",
        value: "SECONDS",
        about: "Wait at most so long [default: 60]",
    },
];

/// A command of the node itself.
#[derive(Debug, PartialEq, Eq)]
struct Classic {
    name: String,
    arguments: String,
    about: String,
}

/// Where the help's second column begins, in characters.
const COLUMN: usize = 32;

/// The commands in the section of the help that lists them: two columns, the second on a line of its own where the
/// first is too long. Paths of the control API are no words to complete.
fn classic(help: &str) -> Vec<Classic> {
    let mut commands = Vec::<Classic>::new();
    let section = help.lines().skip_while(|line| *line != "This node:").skip(1);
    for line in section.take_while(|line| !line.is_empty()) {
        let place = line.char_indices().nth(COLUMN).map_or(line.len(), |(place, _)| place);
        let (words, about) = match line.split_at(place) {
            (words, about) if words.ends_with(' ') => (words.trim(), about.trim()),
            _ => (line.trim(), ""),
        };
        match commands.last_mut() {
            Some(last) if words.is_empty() => last.about.push_str(about),
            _ => {
                let (name, arguments) = words.split_once(' ').unwrap_or((words, ""));
                commands.push(Classic {
                    name: name.into(),
                    arguments: arguments.into(),
                    about: about.into(),
                });
            }
        }
    }
    commands.retain(|command| !command.name.starts_with('/'));
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_is_read_as_it_is_written() {
        let commands = classic(&cli::text::help::text(PROGRAM, ""));
        let find = |name: &str| commands.iter().find(|command| command.name == name).unwrap();
        assert_eq!(find("join").arguments.split(' ').next(), Some("NETWORK|TOKEN"));
        assert_eq!(find("bond").about, "several links to one peer");
        assert!(commands.iter().all(|command| !command.about.is_empty()), "{commands:?}");
        assert!(commands.len() >= 14, "{commands:?}");
    }

    #[test]
    fn everything_the_tool_knows_has_a_page() {
        let directory = tempfile::tempdir().unwrap();
        let help = "ztnode - a node\n\nUsage: ztnode [home directory]\n\n  -d                       run in the background\n\nThe \
                    home directory is\nhere.\n\nSettings: local.conf\n\nFirst steps:\n  ztnode &   start\n";
        generate(directory.path(), help).unwrap();
        let read = |name: &str| std::fs::read_to_string(directory.path().join("share").join(name)).unwrap();
        let manual = read("man/man1/ztnode-cli.1");
        for word in command().get_subcommands().map(Command::get_name) {
            assert!(manual.contains(word), "{word} is not in the manual");
        }
        for shell in [
            "bash-completion/completions/ztnode-cli",
            "zsh/site-functions/_ztnode-cli",
            "fish/vendor_completions.d/ztnode-cli.fish",
        ] {
            assert!(read(shell).contains(cli::complete::COMMAND), "{shell}");
        }
        assert!(read("man/man1/ztnode-cli-network-create.1").contains("pool"));
        let daemon = read("man/man8/ztnode.8");
        for piece in [
            ".SH SYNOPSIS\nztnode [home directory]\n",
            ".SH OPTIONS\n.TP\n\\fB\\-d\\fR\nrun in the background\n",
            ".SH DESCRIPTION\nThe home directory is here.\n",
            ".SH SETTINGS\nlocal.conf\n",
            ".SH \"FIRST STEPS\"\n.nf\nztnode &   start\n.fi\n",
        ] {
            assert!(daemon.contains(piece), "{piece}{daemon}");
        }
        let join = read("man/man1/ztnode-cli-join.1");
        for piece in [
            "Join token that lets this node in",
            ".SH EXAMPLE",
            ".SH \"EXIT CODES\"",
            "this node is not authorized",
        ] {
            assert!(join.contains(piece), "{piece}: {join}");
        }
        assert!(!join.contains("not a join token") && !join.contains(".SH EXTRA"), "{join}");
        let certificates =
            std::fs::read_to_string(directory.path().join("certificates/ca-certificates.crt")).unwrap();
        assert!(certificates.matches("-----BEGIN CERTIFICATE-----\n").count() > 100, "{certificates}");
        assert!(certificates.len() < 300 * 1024, "{} octets in every image", certificates.len());
        assert!(read("man/man5/ztnode-local.conf.5").contains("primaryPort"));
        assert!(read("man/man7/ztnode-rules.7").contains("ethertype"));
    }
}
