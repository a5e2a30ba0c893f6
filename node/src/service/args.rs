//! The daemon's command line.
//!
//! Specification: command-line tools, "zerotier-one". The old one-letter switches work, values glued to them; the long forms
//! are ours.

use std::ffi::OsString;
use std::path::PathBuf;

/// What `--help` prints.
pub const HELP: &str = "\
ztnode - a node of virtual Ethernet networks, wire-compatible with ZeroTier One

Usage: ztnode [switches] [home directory]

  -p<port>, --port <port>  UDP port, and TCP port of the control API on loopback (9993; 0 = a random one)
  --home <directory>       where identity, networks and settings live (the same as the last argument)
  -d                       run in the background
  --user <name>            started as root: go on as this user (ztnode, if there is one)
  -U, --no-drop-privileges started as root: stay root
  --machine-id <file>      tells machines apart (/etc/machine-id): a home that wakes on another one was moved or copied
  --adopt                  hand the files of the home directory to the user and end (for the systemd unit)
  -q <arguments>           the same as ztnode-cli <arguments>
  -i <arguments>           the same as zerotier-idtool <arguments>
  -v, --version            print the version
  -h, --help               print this

The home directory is what the environment variable ZEROTIER_HOME says, else /var/lib/ztnode if that exists, else
/var/lib/zerotier-one. That of a zerotier-one (stopped!) can be used as it is: identity, networks and settings are taken
over.

What needs privileges: joining a network needs CAP_NET_ADMIN and /dev/net/tun, for its interface zt…, its addresses and
its routes. A controller and a root need none. Started as root, ztnode goes on as user ztnode (where there is one) with
CAP_NET_ADMIN, CAP_NET_RAW and CAP_NET_BIND_SERVICE only.

First steps:
  ztnode &                                  start it (as root, or from the systemd unit)
  ztnode-cli info                           address and state: ONLINE when a root answers
  ztnode-cli join 8056c2e21c000001          join a network; its owner then authorizes this node's address
  ztnode-cli listnetworks                   status OK = you are in

Settings: local.conf in the home directory (JSON); SIGHUP, or saving the file, makes a running node read it again.
Logs go to stderr; ZTNODE_LOG or RUST_LOG choose what (error, warn, info, debug, trace; node::core=trace).
";

/// Default UDP and control port.
pub const DEFAULT_PORT: u16 = 9993;

/// The name under which scripts written for zerotier-one call the daemon.
const OLD_NAME: &str = "zerotier-one";

/// What the command line asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// Run the node.
    Run(Options),
    /// `-q` or `-i`: be the command-line tool or the identity tool, which is a program of its own.
    Tool {
        /// The name it is called by, which decides how it behaves.
        name: String,
        /// Its arguments.
        arguments: Vec<OsString>,
    },
    /// Print the help and end with this status. A complaint goes to stderr first.
    Help {
        /// What was wrong.
        complaint: Option<String>,
        /// Exit status.
        status: u8,
    },
    /// Print the version.
    Version,
}

/// How to run.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Options {
    /// Home directory.
    pub home: Option<PathBuf>,
    /// Primary port; 0 = random. `local.conf` wins.
    pub port: Option<u16>,
    /// Run in the background.
    pub background: bool,
    /// The user to go on as when started as root.
    pub user: Option<String>,
    /// Stay root when started as root.
    pub stay_root: bool,
    /// The file with this machine's ID.
    pub machine_id: Option<PathBuf>,
    /// Only hand the home's files to the user.
    pub adopt: bool,
}

/// Reads the arguments; `program` is the name it was called by. Under the name `zerotier-one` a mistake ends with the status
/// that scripts know from there (0 for most), else with 2.
pub fn parse(program: &str, arguments: impl IntoIterator<Item = OsString>) -> Command {
    let mut options = Options::default();
    let all: Vec<OsString> = arguments.into_iter().collect();
    let mut arguments = all.iter().cloned();
    let old = program.rsplit('/').next().unwrap_or(program).contains(OLD_NAME);
    let wrong = |complaint: String, status: u8| Command::Help {
        complaint: Some(complaint),
        status: if old { status } else { 2 },
    };
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy().into_owned();
        let (name, inline) = match text.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
            _ => (text.clone(), None),
        };
        match name.as_str() {
            "-h" | "-?" | "--help" => return Command::Help { complaint: None, status: 0 },
            "-v" | "--version" => return Command::Version,
            // The tool passes over the -q; the words of -i are those behind it.
            "-q" => return Command::Tool { name: program.to_owned(), arguments: all },
            "-i" => {
                let name = "zerotier-idtool".to_owned();
                return Command::Tool { name, arguments: arguments.collect() };
            }
            "-U" | "--no-drop-privileges" => options.stay_root = true,
            "-d" => options.background = true,
            "--adopt" => options.adopt = true,
            "--user" => {
                let value = inline.or_else(|| arguments.next().map(|a| a.to_string_lossy().into_owned()));
                match value {
                    Some(user) if !user.is_empty() => options.user = Some(user),
                    _ => return wrong("--user needs a name".into(), 1),
                }
            }
            "--home" => match inline.map(Into::into).or_else(|| arguments.next()) {
                Some(home) if options.home.is_none() => options.home = Some(home.into()),
                Some(_) => return wrong("the home directory is named twice".into(), 0),
                None => return wrong("--home needs a directory".into(), 1),
            },
            "--machine-id" => match inline.map(Into::into).or_else(|| arguments.next()) {
                Some(file) => options.machine_id = Some(file.into()),
                None => return wrong("--machine-id needs a file".into(), 1),
            },
            "--port" => {
                let value = inline.or_else(|| arguments.next().map(|a| a.to_string_lossy().into_owned()));
                match value.as_deref().map(str::parse) {
                    Some(Ok(port)) => options.port = Some(port),
                    _ => return wrong("--port needs a number from 0 to 65535".into(), 1),
                }
            }
            switch if switch.starts_with("-p") => match switch[2..].parse() {
                Ok(port) => options.port = Some(port),
                Err(_) => return wrong(format!("{switch}: the port must be 0 to 65535, glued to -p"), 1),
            },
            switch if switch.starts_with('-') => {
                return wrong(format!("{switch}: there is no such switch"), 0);
            }
            _ if options.home.is_none() => options.home = Some(argument.into()),
            _ => return wrong("the home directory is named twice".into(), 0),
        }
    }
    Command::Run(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Command {
        parse("/usr/sbin/zerotier-one", line.split_whitespace().map(Into::into))
    }

    fn options(line: &str) -> Options {
        match run(line) {
            Command::Run(options) => options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn old_and_new_forms() {
        assert_eq!(options(""), Options::default());
        let all =
            Options { home: Some("/tmp/x".into()), port: Some(9000), background: true, ..Options::default() };
        let all = Options { stay_root: true, ..all };
        for line in [
            "-d -U -p9000 /tmp/x",
            "--home /tmp/x --port=9000 -d --no-drop-privileges",
            "-d -U --port 9000 --home=/tmp/x",
        ] {
            assert_eq!(options(line), all, "{line}");
        }
        assert_eq!(options("-p0").port, Some(0));
        assert_eq!(options("--machine-id=/x").machine_id, Some("/x".into()));
        assert_eq!(run("-U -v"), Command::Version);
        for line in ["--user me --adopt", "--adopt --user=me"] {
            let expected = Options { user: Some("me".into()), adopt: true, ..Options::default() };
            assert_eq!(options(line), expected, "{line}");
        }
    }

    #[test]
    fn mistakes_show_help() {
        for (line, status) in [
            ("-h", 0),
            ("-?", 0),
            ("-Z", 0),
            ("/a /b", 0),
            ("-p70000", 1),
            ("-p", 1),
            ("--nope", 0),
            ("--home", 1),
            ("--user", 1),
            ("--machine-id", 1),
            ("--user=", 1),
        ] {
            match run(line) {
                Command::Help { status: got, .. } => assert_eq!(got, status, "{line}"),
                other => panic!("{line}: {other:?}"),
            }
            let own = parse("ztnode", line.split_whitespace().map(Into::into));
            let status = if matches!(line, "-h" | "-?") { 0 } else { 2 };
            assert!(matches!(own, Command::Help { status: got, .. } if got == status), "{line}: {own:?}");
        }
    }

    #[test]
    fn the_other_personalities() {
        let tool = |program: &str, line: &str| match parse(program, line.split_whitespace().map(Into::into)) {
            Command::Tool { name, arguments } => {
                let arguments: Vec<_> =
                    arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
                (name, arguments.join(" "))
            }
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(tool("zerotier-one", "-q join N"), ("zerotier-one".into(), "-q join N".into()));
        assert_eq!(tool("/x/ztnode", "-U -q info"), ("/x/ztnode".into(), "-U -q info".into()));
        assert_eq!(tool("ztnode", "-i generate a b"), ("zerotier-idtool".into(), "generate a b".into()));
    }
}
