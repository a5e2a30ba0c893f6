//! `rules init`: rules that let some services through and nothing else, and cases that test them.

use std::fmt::Write as _;
use std::path::Path;

use crate::failure::{Failure, Io, Outcome};
use crate::text;

/// A service: its name, and its ports by protocol.
struct Service {
    name: &'static str,
    ports: &'static [(&'static str, u16)],
}

const fn service(name: &'static str, ports: &'static [(&'static str, u16)]) -> Service {
    Service { name, ports }
}

/// The services that have names here; others are given as `tcp/8080`.
const SERVICES: [Service; 11] = [
    service("web", &[("tcp", 80), ("tcp", 443)]),
    service("http", &[("tcp", 80)]),
    service("https", &[("tcp", 443)]),
    service("ssh", &[("tcp", 22)]),
    service("dns", &[("udp", 53), ("tcp", 53)]),
    service("ntp", &[("udp", 123)]),
    service("smb", &[("tcp", 445)]),
    service("rdp", &[("tcp", 3389), ("udp", 3389)]),
    service("postgres", &[("tcp", 5432)]),
    service("mysql", &[("tcp", 3306)]),
    service("prometheus", &[("tcp", 9100)]),
];

/// Most services in one list.
const MOST: usize = 64;
/// A port that nothing is allowed on, for the case that something is dropped; one of these is not in any list that is short enough.
const OTHERS: std::ops::RangeInclusive<u16> = 23..=1023;

/// A service as it was asked for: what it is called, and its ports.
struct Allowed {
    name: String,
    ports: Vec<(&'static str, u16)>,
}

/// Writes `NAME.rules` and `NAME.cases` into the current directory.
///
/// # Errors
/// Exit code 2 for a service nobody knows; 1 if a file is there already or cannot be written.
pub(super) fn run(program: &str, name: &str, allow: &[String], io: &mut Io<'_>) -> Outcome {
    let wrong = |what: String| Failure::usage(format!("{program}: rules init: {what}"));
    if name.is_empty() || name.starts_with('-') || name.contains('/') || name.chars().any(char::is_control) {
        return Err(wrong(format!("{:?} is no name for files", text::printable(name))));
    }
    if allow.len() > MOST {
        return Err(wrong(format!("at most {MOST} services can be allowed at once")));
    }
    let allowed =
        allow.iter().map(|typed| of(typed).map_err(wrong)).collect::<Result<Vec<Allowed>, Failure>>()?;
    let files = [(format!("{name}.rules"), rules(&allowed)), (format!("{name}.cases"), cases(&allowed))];
    for (file, _) in &files {
        if Path::new(file).symlink_metadata().is_ok() {
            return Err(Failure::error(format!(
                "{program}: {file} is there already, and is left as it is; give another name: ztnode-cli rules init NAME"
            )));
        }
    }
    for (file, content) in &files {
        crate::home::write_atomic(Path::new(file), content.as_bytes(), 0o644)
            .map_err(|error| Failure::error(format!("{program}: cannot write {file}: {error}")))?;
    }
    Ok(writeln!(
        io.out,
        "written: {name}.rules, {name}.cases\nTest them:  ztnode-cli rules test {name}.rules {name}.cases\nUse them:   ztnode-cli \
         rules set NETWORK {name}.rules"
    )?)
}

/// A service by its name, or by protocol and port.
fn of(typed: &str) -> Result<Allowed, String> {
    let lower = typed.trim().to_ascii_lowercase();
    if let Some(service) = SERVICES.iter().find(|service| service.name == lower) {
        return Ok(Allowed { name: lower, ports: service.ports.to_vec() });
    }
    let by_number = lower.split_once('/').and_then(|(protocol, port)| {
        let protocol = ["tcp", "udp"].into_iter().find(|known| *known == protocol)?;
        Some((protocol, port.parse().ok().filter(|port| *port != 0)?))
    });
    if let Some(port) = by_number {
        return Ok(Allowed { name: lower, ports: vec![port] });
    }
    let names = SERVICES.iter().map(|service| service.name);
    let shown = text::printable(typed);
    Err(match flowrules::closest(&lower, names.clone()) {
        Some(close) => format!("unknown service {shown:?}; did you mean {close}?"),
        None => format!(
            "unknown service {shown:?}; write tcp/PORT or udp/PORT, or one of {}",
            names.collect::<Vec<_>>().join(", ")
        ),
    })
}

fn rules(allowed: &[Allowed]) -> String {
    let names: Vec<&str> = allowed.iter().map(|service| service.name.as_str()).collect();
    let list = if names.is_empty() { "nothing but ping".to_owned() } else { names.join(", ") };
    let mut text = format!(
        "# Members may use these services of each other: {list}. All else is dropped.\n\
         #\n\
         # Rules keep no state: requests need a statement, and so do the answers.\n\n\
         # IP, and what members find each other by.\n\
         drop not ethertype ipv4 and not ethertype arp and not ethertype ipv6;\n\
         accept ethertype arp;\n\
         accept ipprotocol icmp6;\n\n\
         # ping, and what networks report by ICMP.\n\
         accept ipprotocol icmp4;\n"
    );
    // Writing to a string cannot fail, here and below.
    if allowed.iter().any(|service| service.ports.iter().any(|(protocol, _)| *protocol == "tcp")) {
        text.push_str("\n# Answers in TCP: every packet of a connection but the first has ACK.\naccept ipprotocol tcp and chr tcp_ack;\n");
    }
    let mut written = Vec::new();
    for Allowed { name, ports } in allowed {
        let new: Vec<_> = ports.iter().filter(|port| !written.contains(*port)).collect();
        if new.is_empty() {
            continue;
        }
        let _ = write!(text, "\n# {name}\n");
        for (protocol, port) in new {
            let _ = writeln!(text, "accept ipprotocol {protocol} and dport {port};");
            if *protocol == "udp" {
                let _ = writeln!(text, "accept ipprotocol udp and sport {port};");
            }
            written.push((protocol, *port));
        }
    }
    text
}

fn cases(allowed: &[Allowed]) -> String {
    let mut text = "# What the rules are to do. Add the cases that matter to you.\n\
                    member client ip 10.0.0.1 fd00::1\nmember server ip 10.0.0.2 fd00::2\n\n\
                    client -> * arp who-has 10.0.0.2 : accept\nclient -> server icmp : accept\n\
                    client -> server icmp6 : accept\n"
        .to_owned();
    for Allowed { name, ports } in allowed {
        let _ = write!(text, "\n# {name}\n");
        for (protocol, port) in ports {
            let (first, answer) = if *protocol == "tcp" { (" syn", " syn ack") } else { ("", "") };
            let _ = writeln!(text, "client -> server {protocol} > {port}{first} : accept");
            let _ = writeln!(text, "server -> client {protocol} {port} > 49152{answer} : accept");
        }
    }
    let used: Vec<u16> = allowed.iter().flat_map(|service| &service.ports).map(|(_, port)| *port).collect();
    if let Some(other) = OTHERS.into_iter().find(|port| !used.contains(port)) {
        let _ = write!(
            text,
            "\n# all else\nclient -> server tcp > {other} syn : drop by default\nclient -> server udp > {other} : drop by \
             default\n"
        );
    }
    text
}
