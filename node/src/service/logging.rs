//! Where logs go: one line an event on stderr, or, when stderr is the journal, entries of the journal with fields.
//!
//! Specification: systemd, "native journal protocol", "journal fields". A journal entry's message repeats the fields as
//! `name=value`, since `journalctl` shows nothing but the message by default.
//!
//! Levels, everywhere in this workspace: ERROR, the node or a part of it does not go on; WARN, somebody must act; INFO, a state
//! that a user sees has changed; DEBUG, why; TRACE, single packets.

use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// The journal's socket.
const SOCKET: &str = "/run/systemd/journal/socket";
/// Tells which file stderr is, if it is the journal: `device:inode`.
const STREAM_VARIABLE: &str = "JOURNAL_STREAM";
/// What the entries are found by.
const IDENTIFIER: &str = "ztnode";
/// Our own fields begin with this, so that none can be taken for a field of the journal.
const PREFIX: &str = "ZTNODE_";
/// Octets of one value; an entry must fit into a datagram.
const MAX_VALUE: usize = 16 << 10;

/// Starts logging. `ZTNODE_LOG`, else `RUST_LOG`, else `info` chooses what.
pub fn start() {
    let wanted = ["ZTNODE_LOG", "RUST_LOG"].into_iter().find_map(|name| std::env::var(name).ok());
    let wanted = wanted.filter(|text| !text.trim().is_empty()).unwrap_or_else(|| "info".into());
    let filter = EnvFilter::try_new(&wanted).unwrap_or_else(|error| {
        eprintln!("ztnode: the log filter {wanted:?} is not understood ({error}); using info");
        EnvFilter::new("info")
    });
    let registry = tracing_subscriber::registry().with(filter);
    match Journal::of_stderr() {
        Some(journal) => registry.with(journal).init(),
        None => {
            let lines = tracing_subscriber::fmt::layer();
            registry.with(lines.with_writer(io::stderr).with_ansi(false).with_target(false)).init();
        }
    }
}

/// Says why the process ends: in the log's own way, whether logging has begun or not.
pub fn fatal(text: &str) {
    if tracing::dispatcher::has_been_set() && Journal::of_stderr().is_some() {
        tracing::error!("fatal error: {text}");
    } else {
        eprintln!("ztnode: fatal error: {text}");
    }
}

/// Sends events to the journal.
struct Journal {
    socket: UnixDatagram,
}

impl Journal {
    /// The journal, if stderr is connected to it and it can be reached.
    fn of_stderr() -> Option<Self> {
        let stream = std::env::var(STREAM_VARIABLE).ok()?;
        let stderr = fs::metadata("/proc/self/fd/2").ok()?;
        if !is_stream(&stream, stderr.dev(), stderr.ino()) {
            return None;
        }
        Self::connect(SOCKET).ok()
    }

    fn connect(path: &str) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        // A full journal must not hold packets up: the entry is lost instead.
        socket.set_nonblocking(true)?;
        Ok(Journal { socket })
    }
}

fn is_stream(stream: &str, device: u64, inode: u64) -> bool {
    let parsed = stream.split_once(':').and_then(|(d, i)| Some((d.parse().ok()?, i.parse().ok()?)));
    parsed == Some((device, inode))
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let entry = entry(event);
        let failed = match self.socket.send(&entry) {
            Ok(_) => return,
            Err(error) => error.kind(),
        };
        // The journal was restarted: connect again, once.
        if matches!(failed, io::ErrorKind::ConnectionRefused | io::ErrorKind::NotConnected)
            && self.socket.connect(SOCKET).is_ok()
        {
            let _ = self.socket.send(&entry);
        }
    }
}

/// One entry in the journal's native form.
fn entry(event: &Event<'_>) -> Vec<u8> {
    let meta = event.metadata();
    let mut parts = Parts::default();
    event.record(&mut parts);
    let mut entry = Vec::with_capacity(512);
    append(&mut entry, "MESSAGE", &format!("{}{}", parts.message, parts.suffix));
    append(&mut entry, "PRIORITY", priority(*meta.level()));
    append(&mut entry, "SYSLOG_IDENTIFIER", IDENTIFIER);
    append(&mut entry, "ZTNODE_MODULE", meta.target());
    for (name, value) in &parts.fields {
        append(&mut entry, &field_name(name), value);
    }
    entry
}

fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

/// Letters, digits and underscores only.
fn field_name(name: &str) -> String {
    let sound = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    PREFIX.chars().chain(sound).take(64).collect()
}

fn append(entry: &mut Vec<u8>, name: &str, value: &str) {
    let value = &value[..value.floor_char_boundary(MAX_VALUE)];
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        // With its length, as text of several lines needs.
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

/// The parts of an event.
#[derive(Default)]
struct Parts {
    message: String,
    /// The fields as text: ` name=value` each.
    suffix: String,
    fields: Vec<(&'static str, String)>,
}

impl Parts {
    fn add(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            let _ = write!(self.suffix, " {}={value}", field.name());
            self.fields.push((field.name(), value));
        }
    }
}

impl Visit for Parts {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stderr_is_the_journal_or_not() {
        assert!(is_stream("8:345", 8, 345));
        for other in ["8:346", "9:345", "8", "", "x:y", ":"] {
            assert!(!is_stream(other, 8, 345), "{other}");
        }
    }

    #[test]
    fn entries_in_the_native_form() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = UnixDatagram::bind(&path).unwrap();
        let layer = Journal::connect(path.to_str().unwrap()).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(network = %"1c33c1ced07ac85d", port.name = "zt0", "PORT_ERROR: no TUN");
            tracing::info!(what = "a\nb", "two lines");
        });
        let mut buffer = [0; 4096];
        let length = journal.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "MESSAGE=PORT_ERROR: no TUN network=1c33c1ced07ac85d port.name=zt0",
                "PRIORITY=4",
                "SYSLOG_IDENTIFIER=ztnode",
                "ZTNODE_MODULE=node::service::logging::tests",
                "ZTNODE_NETWORK=1c33c1ced07ac85d",
                "ZTNODE_PORT_NAME=zt0",
            ]
        );
        let length = journal.recv(&mut buffer).unwrap();
        let expected = b"ZTNODE_WHAT\n\x03\0\0\0\0\0\0\0a\nb\n";
        assert!(buffer[..length].windows(expected.len()).any(|w| w == expected));
    }
}
