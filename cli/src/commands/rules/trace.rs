//! `rules trace`: what the rules do with packets, live.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use api::Trace as Event;
use flowrules::describe::{Who, describe, mac_text, parse};
use flowrules::explain::Book;
use flowrules::{Entry, Frame};
use serde::Serialize;
use serde_json::Value;

use super::enforced::Enforced;
use crate::args::rules::Trace;
use crate::commands::Session;
use crate::failure::{Failure, Io, Outcome};
use crate::text;

/// How soon rules are asked for again when a packet met one that is not known.
const REFRESH: Duration = Duration::from_secs(1);

pub(super) fn run(session: &Session, wanted: &Trace, io: &mut Io<'_>) -> Outcome {
    let filter = Filter::of(session, wanted)?;
    let id = text::printable(&super::joined(session, &wanted.network)?.id);
    let mut known = Known::ask(session, &id)?;
    let program = &session.program;
    let mut stream = session.stream(&format!("/network/{id}/trace?rate={}", wanted.rate))?;
    let mut count = 0;
    if !session.common.json {
        writeln!(io.err, "tracing {id} on this node ({:010x}); Ctrl-C ends it", known.enforced.address)?;
    }
    loop {
        let line = match stream.next_line() {
            Ok(Some(line)) => line,
            Ok(None) => {
                return Err(Failure::error(format!("{program}: the node ended the trace"))
                    .hint("It does when it stops or leaves the network."));
            }
            Err(reason) => {
                return Err(Failure::error(format!("{program}: the trace broke off: {reason}")));
            }
        };
        let Ok(shown) = serde_json::from_str::<Value>(&line) else { continue };
        let event: Event = api::of(&shown);
        let skipped = event.skipped;
        if skipped > 0 && !session.common.json {
            writeln!(io.err, "({skipped} packets not shown: more than --rate {} a second)", wanted.rate)?;
        }
        let seen = Seen::of(&event);
        if !filter.takes(&event, &seen) {
            continue;
        }
        let entry = event.entry.as_ref().and_then(entry);
        if entry.is_some_and(|entry| !known.agrees(entry, &event)) {
            known.refresh(session, &id);
        }
        let shown = if session.common.json {
            let (packet, statement) = (&seen.packet, known.book.text(entry));
            writeln!(io.out, "{}", api::json(&Described { event: shown, packet, statement }))
        } else {
            show(io.out, &event, &seen, entry, &known.book)
        };
        match shown.and_then(|()| io.out.flush()) {
            Ok(()) => {}
            // The reader has all it wanted.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        count += 1;
        if wanted.count == Some(count) {
            return Ok(());
        }
    }
}

/// What `-j` prints: what the node told, and what it means.
#[derive(Serialize)]
struct Described<'a> {
    #[serde(flatten)]
    event: Value,
    packet: &'a str,
    statement: &'a str,
}

/// The rules as last asked for.
struct Known {
    enforced: Enforced,
    book: Book,
    asked: Instant,
}

impl Known {
    fn ask(session: &Session, id: &str) -> Result<Self, Failure> {
        let enforced = Enforced::ask(session, id)?;
        Ok(Self { book: enforced.book(), enforced, asked: Instant::now() })
    }

    /// Whether the entry of a packet can be the one of these rules: they may have changed meanwhile.
    fn agrees(&self, entry: Entry, event: &Event) -> bool {
        // Of other members' capabilities the node tells no lines here.
        self.book.statement(entry).is_some_and(|known| known.line.is_none() || known.line == event.line)
    }

    /// If that fails, the old ones have to do; the stream will end by itself if the node is gone.
    fn refresh(&mut self, session: &Session, id: &str) {
        if self.asked.elapsed() >= REFRESH {
            self.asked = Instant::now();
            if let Ok(fresh) = Self::ask(session, id) {
                *self = fresh;
            }
        }
    }
}

fn entry(told: &api::Entry) -> Option<Entry> {
    Some(Entry { capability: told.capability, index: u16::try_from(told.index).ok()? })
}

/// A packet of the trace.
struct Seen {
    packet: String,
    ips: Vec<IpAddr>,
    ports: Vec<u16>,
    macs: [String; 2],
}

impl Seen {
    fn of(event: &Event) -> Self {
        let mac = |text: &str| -> [u8; 6] {
            let digits: String = text.chars().filter(|c| *c != ':' && *c != '-').collect();
            unhex(&digits).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default()
        };
        let payload = unhex(&event.head).unwrap_or_default();
        let (source, dest) = (mac(&event.source), mac(&event.dest));
        let ethertype = event.ether_type;
        let length = usize::try_from(event.length).unwrap_or_default();
        let packet = describe(&Frame { source, dest, ethertype, vlan: 0, payload: &payload }, length);
        let (mut ips, mut ports) = (Vec::new(), Vec::new());
        if let Ok(read) = parse(&packet) {
            for end in [read.source, read.dest] {
                ips.extend(if let Who::Ip(ip) = end.who { Some(ip) } else { None });
                ports.extend(end.port);
            }
        }
        Self { packet, ips, ports, macs: [mac_text(source), mac_text(dest)] }
    }
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.len().is_multiple_of(2).then(|| digits.as_bytes().chunks(2).map(pair).collect())?
}

/// Which packets are shown.
#[derive(Default)]
struct Filter {
    drops: bool,
    /// `in` or `out`.
    way: Option<&'static str>,
    ips: Vec<IpAddr>,
    ports: Vec<u16>,
    /// MACs and addresses of nodes, lower-case.
    others: Vec<String>,
}

impl Filter {
    fn of(session: &Session, wanted: &Trace) -> Result<Self, Failure> {
        let mut filter = Self { drops: wanted.drops, ..Self::default() };
        let wrong = |word: &str| {
            Failure::usage(format!("{}: {} cannot stand in the filter", session.program, text::printable(word)))
                .hint("Write in or out, host IP (or MAC, or 10-digit address of a node), port N: in host 10.0.3.1 port 80")
        };
        let mut words = wanted.filter.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| wrong(word));
            match word.as_str() {
                "in" if filter.way != Some("out") => filter.way = Some("in"),
                "out" if filter.way != Some("in") => filter.way = Some("out"),
                "port" => {
                    let value = value()?;
                    filter.ports.push(value.parse().map_err(|_| wrong(value))?);
                }
                "host" => {
                    let value = value()?;
                    let typed =
                        value.strip_prefix('@').unwrap_or(value).to_ascii_lowercase().replace('-', ":");
                    let is_mac = typed.len() == 17 && unhex(&typed.replace(':', "")).is_some();
                    match value.parse() {
                        Ok(ip) => filter.ips.push(ip),
                        Err(_) if is_mac || crate::validate::is_hex(&typed, 10) => filter.others.push(typed),
                        Err(_) => return Err(wrong(value)),
                    }
                }
                other => return Err(wrong(other)),
            }
        }
        Ok(filter)
    }

    fn takes(&self, event: &Event, seen: &Seen) -> bool {
        (!self.drops || (event.accept == "drop" && event.redirect.is_none()))
            && self.way.is_none_or(|way| event.direction == way)
            && self.ips.iter().all(|ip| seen.ips.contains(ip))
            && self.ports.iter().all(|port| seen.ports.contains(port))
            && self.others.iter().all(|other| seen.macs.contains(other) || event.peer.as_ref() == Some(other))
    }
}

fn show(
    out: &mut dyn Write,
    event: &Event,
    seen: &Seen,
    entry: Option<Entry>,
    book: &Book,
) -> io::Result<()> {
    let at = text::time(u64::try_from(event.at).unwrap_or(0).saturating_mul(1000));
    let way = text::printable(&event.direction);
    let peer = event.peer.as_deref().map_or_else(|| "(many)".to_owned(), text::printable);
    let verdict = match (event.redirect.as_deref(), event.accept.as_str()) {
        (Some(to), _) => format!("redirect to {}", text::printable(to)),
        (None, "") => "?".to_owned(),
        (None, accept) => text::printable(accept),
    };
    let line = |line: Option<u32>, included_at: Option<u32>| match (line, included_at) {
        (Some(line), Some(at)) => Some(format!("line {line}, included at line {at}")),
        (Some(line), None) => Some(format!("line {line}")),
        _ => None,
    };
    let by = line(event.line, event.included_at).unwrap_or_else(|| book.name(entry));
    let statement = book.text(entry);
    write!(out, "{at} {way:<3} {peer:<10}  {}  {verdict} by {by}", seen.packet)?;
    if !statement.is_empty() {
        write!(out, ": {statement}")?;
    }
    let mut between = if statement.ends_with(';') { "" } else { ";" };
    for copy in &event.copies {
        let by = line(copy.line, copy.included_at).unwrap_or_else(|| book.name(self::entry(&copy.entry)));
        let what = if copy.watch { "watched by" } else { "copied to" };
        write!(out, "{between} {what} {} by {by}", text::printable(&copy.to))?;
        between = ";";
    }
    writeln!(out)
}
