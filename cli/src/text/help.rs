//! Help of the commands with the reference tool's grammar. The grouped commands have theirs from their definitions.

use std::fmt::Write as _;

/// One command: its words, what it does, and a line to copy.
struct Command {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    example: &'static str,
}

const fn command(
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    example: &'static str,
) -> Command {
    Command { name, arguments, about, example }
}

const COMMANDS: &[Command] = &[
    command("info", "", "this node's address, version and whether it is online", "info"),
    command("status", "", "the same as info", "status -j"),
    command("firewall", "", "the UDP port to let in, and the rules that do", "firewall"),
    command(
        "doctor",
        "",
        "what is wrong with this node and its networks, and the remedy; exit code 1 if anything is",
        "doctor",
    ),
    command(
        "peers",
        "",
        "the nodes this one talks to, as a table: direct or relayed, and since when",
        "peers",
    ),
    command("listpeers", "", "the same, one peer a line for scripts", "listpeers"),
    command("listnetworks", "", "the networks this node has joined, with their addresses", "listnetworks"),
    command(
        "join",
        "NETWORK|TOKEN [--token TOKEN | --token-file FILE] [--keep-planet] [--wait[=SECONDS]]",
        "join a network by its 16-digit ID, or by a join token; --wait: return when it can be used",
        "join 37f2b7c94f000001 --wait",
    ),
    command(
        "wait",
        "NETWORK [--timeout SECONDS]",
        "return when a joined network can be used, or say what is missing",
        "wait 37f2b7c94f000001 --timeout 60",
    ),
    command("leave", "NETWORK", "leave a network", "leave 37f2b7c94f000001"),
    command(
        "get",
        "NETWORK PROPERTY",
        "one property of a joined network: status, portDeviceName, mtu, ip, ip4, ip6, …",
        "get 37f2b7c94f000001 ip4",
    ),
    command(
        "set",
        "NETWORK PROPERTY=VALUE …",
        "allowManaged (or a list of prefixes), allowGlobal, allowDefault or allowDNS to 1 or 0",
        "set 37f2b7c94f000001 allowDefault=1",
    ),
    command("listmoons", "", "the moons this node orbits, as JSON", "listmoons"),
    command(
        "orbit",
        "MOON SEED",
        "use a moon's roots; the seed is the address of one of them",
        "orbit deadbeef00 deadbeef00",
    ),
    command("deorbit", "MOON", "forget a moon", "deorbit deadbeef00"),
    command("listbonds", "", "bonded peers (the same as bond list)", "listbonds"),
    command(
        "bond",
        "list | PEER show | PEER rotate | setmtu MTU INTERFACE IP",
        "several links to one peer",
        "bond 5aca06ff8e show",
    ),
    command("dump", "", "write zerotier_dump.txt here: all that helps to find a fault", "dump"),
    command("/PATH", "", "fetch a path of the control API and print it as it comes", "/status"),
];

/// What is said of the token of a `join`.
const TOKENS: &str = "
A token may name the planet (the roots) of its network's nodes. A node that has joined no network and was never answered
by a root takes it, after it was printed; any other keeps its own and joins nothing, and the way to change it by hand is
printed. --keep-planet joins without looking at the planet. --token-file reads the token from a file, beside which its
planet may lie, and keeps it out of the list of processes.
";

/// What is said of `wait`, and of `join --wait`, beyond a line. The exit codes are those of `commands::wait`.
const WAITING: &str = "
Returns as soon as the network can be used: authorized, the interface up, its addresses and routes in place. Waits 60
seconds unless told otherwise, at most a day; 0 looks once. Waits longer than a second are reported on standard error,
one line per change of state. With -j the result is a JSON object.

Exit codes:
  0   the network can be used
  1   anything else: no access to the service, a service or node that is too old
  2   bad arguments, or no token
  3   the service on this machine does not run
  4   offline: no root answers, UDP does not get through
  5   a root answers, the network's controller does not
  6   network not found: its controller does not know it
  7   this node is not authorized
  8   authentication required: somebody has to log in
  9   port error: the interface, its addresses or routes cannot be made
  10  this node has not joined the network
";

/// Groups with their own grammar and help: (name, what they are for).
pub const GROUPS: [(&str, &str); 11] = [
    ("network", "networks this node's controller keeps: create, list, show, set, delete"),
    ("member", "their members: list, show, authorize, deauthorize, set, delete"),
    ("token", "join tokens: create, list, revoke"),
    ("rules", "flow rules: init, compile, check, set, show, test, explain, trace"),
    ("capture", "record the packets of a network, for tshark or as lines"),
    ("controller", "the controller itself: status, backup, restore"),
    ("identity", "identities: new, validate, public, sign, verify, vanity"),
    ("root", "a planet of your own: init, add, remove, sign, show, use"),
    ("moon", "moons: init, sign, list, orbit, deorbit"),
    ("migrate", "take over identity, networks and controller of a zerotier-one"),
    ("container", "be the first process of a container; container health: its health check"),
];

/// Words that are commands elsewhere, and what does the same here.
const ELSEWHERE: [(&str, &str); 8] = [
    ("networks", "listnetworks"),
    ("list", "listnetworks"),
    ("version", "-v"),
    ("add", "join"),
    ("up", "join"),
    ("down", "leave"),
    ("members", "member"),
    ("check", "doctor"),
];

/// Whether there is help on a command.
pub fn knows(command: &str) -> bool {
    command.starts_with('/') || names().any(|name| name == command)
}

/// All commands and groups, in the order of the help.
pub fn names() -> impl Iterator<Item = &'static str> {
    let commands = COMMANDS.iter().map(|command| command.name).filter(|name| !name.starts_with('/'));
    commands.chain(GROUPS.iter().map(|(name, _)| *name))
}

/// The commands of the node itself and what they do, for completions.
pub fn commands() -> impl Iterator<Item = (&'static str, &'static str)> {
    COMMANDS
        .iter()
        .filter(|command| !command.name.starts_with('/'))
        .map(|command| (command.name, command.about))
}

/// The commands that somebody who typed this may have meant.
pub fn close_to(typed: &str) -> Vec<&'static str> {
    let lower = typed.to_ascii_lowercase();
    let mut close: Vec<&str> =
        ELSEWHERE.iter().filter(|(other, _)| *other == lower).map(|(_, here)| *here).collect();
    close.extend(flowrules::closest(&lower, names()));
    if close.is_empty() && lower.len() >= 4 {
        close.extend(names().filter(|name| name.contains(&lower)));
    }
    close.dedup();
    close
}

/// Help on everything, or on the command the caller named.
pub fn text(program: &str, named: &str) -> String {
    let name = program.rsplit('/').next().unwrap_or(program);
    // Writing to a string cannot fail, here and below.
    let mut text = String::new();
    let wanted = if named.starts_with('/') { "/PATH" } else { named };
    if let Some(Command { name: word, arguments, about, example }) =
        COMMANDS.iter().find(|command| command.name == wanted)
    {
        let _ = writeln!(text, "{name} {word} {arguments}\n  {about}\n\nExample:\n  {name} {example}");
        if matches!(*word, "join" | "wait") {
            text.push_str(if *word == "join" { TOKENS } else { "" });
            text.push_str(WAITING);
        }
        return text;
    }
    let _ =
        writeln!(text, "{name} {}: query and control the ztnode daemon on this machine\n", crate::VERSION);
    let _ = writeln!(text, "Usage: {name} [switches] <command or /path> [arguments]\n\nThis node:");
    for Command { name, arguments, about, .. } in COMMANDS {
        let words = format!("{name} {arguments}");
        if words.len() > 29 {
            let _ = writeln!(text, "  {words}\n  {:30}{about}", "");
        } else {
            let _ = writeln!(text, "  {words:<30}{about}");
        }
    }
    let _ = writeln!(
        text,
        "\nControllers, rules, roots, keys, moving (`{name} GROUP --help` shows each with examples):"
    );
    for (group, about) in GROUPS {
        let _ = writeln!(text, "  {group:<30}{about}");
    }
    text.push_str(
        "\nSwitches:\n\
         \x20 -j, --json                    JSON instead of lines and tables\n\
         \x20 -D<dir>, --home DIR           home directory (default: $ZEROTIER_HOME, else\n\
         \x20                               /var/lib/ztnode if there is one, else /var/lib/zerotier-one)\n\
         \x20 -p<port>, --port PORT         TCP port of the control API, instead of the Unix socket\n\
         \x20 -T<token>, --token TOKEN      token for it, instead of authtoken.secret (--token\n\
         \x20                               after join: the join token)\n\
         \x20 -H<ip>, --host IP             address for it (default: 127.0.0.1)\n\
         \x20 -v, --version                 version\n\
         \x20 -h, --help                    this, or help on one command\n",
    );
    let _ = writeln!(
        text,
        "\nExamples:\n  {name} join 37f2b7c94f000001\n  {name} get 37f2b7c94f000001 ip4\n  \
         {name} network create demo.lab --subnet 10.0.0.0/16\n  \
         {name} member authorize demo.lab 5aca06ff8e --name aws\n  \
         {name} rules set demo.lab my.rules\n  \
         {name} rules explain demo.lab 'tcp 10.0.1.1:5000 > 10.0.3.1:80'"
    );
    text
}
