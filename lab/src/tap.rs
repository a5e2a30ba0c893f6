//! Listening on a machine's interface with tshark, as a person does it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::namespace::Namespace;

/// How long tshark may take to start or to end.
const LIMIT: Duration = Duration::from_secs(15);
/// After the expected frames: how long none may follow.
const QUIET: Duration = Duration::from_millis(400);

/// A running `tshark` that prints a line for each frame.
#[derive(Debug)]
pub struct Tap {
    child: Child,
    lines: Receiver<String>,
    /// The command as a person would type it.
    pub command: String,
}

/// A frame as [`Tap::start_fields`] reports it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Seconds since the Unix epoch.
    pub at: f64,
    /// Source MAC, lower case.
    pub source: String,
    /// Destination MAC, lower case.
    pub destination: String,
    /// Length of the frame with its Ethernet header, bytes.
    pub length: usize,
    /// As tshark's column of that name: `ICMP`, `ARP`, `TCP` …
    pub protocol: String,
    /// As tshark's column of that name.
    pub info: String,
}

/// What [`Tap::start_fields`] has tshark print, in the order of [`Seen`].
const FIELDS: [&str; 6] =
    ["frame.time_epoch", "eth.src", "eth.dst", "frame.len", "_ws.col.Protocol", "_ws.col.Info"];

impl Tap {
    /// Starts tshark on `device` in its usual form, for people; returns once it captures. `filter` is a capture filter.
    ///
    /// # Errors
    /// When tshark cannot be started, or says nothing of capturing.
    pub fn start(namespace: &Namespace, device: &str, filter: &str) -> Result<Self> {
        Self::run(namespace, device, filter, &[])
    }

    /// Starts tshark on `device` for [`Tap::frames`]; returns once it captures. `filter` is a capture filter.
    ///
    /// # Errors
    /// When tshark cannot be started, or says nothing of capturing.
    pub fn start_fields(namespace: &Namespace, device: &str, filter: &str) -> Result<Self> {
        let mut more = vec!["-T", "fields"];
        for field in FIELDS {
            more.extend(["-e", field]);
        }
        Self::run(namespace, device, filter, &more)
    }

    fn run(namespace: &Namespace, device: &str, filter: &str, more: &[&str]) -> Result<Self> {
        let mut command = namespace.command("tshark");
        command.args(["-l", "-n", "-i", device, "-f", filter]).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run tshark: is the package tshark installed?")?;
        let (complaint, said) = channel();
        let stderr = BufReader::new(child.stderr.take().context("tshark has a standard error")?);
        std::thread::spawn(move || {
            // The other side goes away once it has heard what it waited for.
            stderr.lines().map_while(Result::ok).for_each(|line| drop(complaint.send(line)));
        });
        let (send, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().context("tshark has a standard output")?);
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let shown = format!("tshark -l -n -i {device} -f '{filter}'");
        let mut tap = Self { child, lines, command: shown };
        let (start, mut all) = (Instant::now(), String::new());
        while !all.contains("Capture started") {
            match said.recv_timeout(LIMIT.saturating_sub(start.elapsed())) {
                Ok(line) => all.push_str(&format!("{line}\n")),
                Err(_) => {
                    tap.end();
                    bail!("{} does not capture: {all}", tap.command);
                }
            }
        }
        Ok(tap)
    }

    /// Waits for `count` lines, then until none has come for a moment, and ends the capture. All lines that came: more
    /// than `count` if there were more, fewer if they did not come within `limit`.
    ///
    /// # Errors
    /// When tshark cannot be ended.
    pub fn lines(mut self, count: usize, limit: Duration) -> Result<Vec<String>> {
        let (start, mut lines) = (Instant::now(), Vec::new());
        loop {
            let wait =
                if lines.len() < count { limit.saturating_sub(start.elapsed()).max(QUIET) } else { QUIET };
            match self.lines.recv_timeout(wait) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGINT)?;
        // What it still held comes out at its end.
        while let Ok(line) = self.lines.recv_timeout(LIMIT) {
            lines.push(line);
        }
        self.end();
        Ok(lines)
    }

    /// [`Tap::lines`] of a capture begun by [`Tap::start_fields`].
    ///
    /// # Errors
    /// When tshark cannot be ended or prints something else.
    pub fn frames(self, count: usize, limit: Duration) -> Result<Vec<Seen>> {
        self.lines(count, limit)?.iter().map(|line| parse(line)).collect()
    }

    /// Waits for the next frame of a capture begun by [`Tap::start_fields`].
    ///
    /// # Errors
    /// After `limit`, or when tshark prints something else.
    pub fn next(&self, limit: Duration) -> Result<Seen> {
        parse(&self.lines.recv_timeout(limit).context("no frame came")?)
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.end();
    }
}

fn parse(line: &str) -> Result<Seen> {
    let words: Vec<&str> = line.split('\t').collect();
    let [at, source, destination, length, protocol, info] = words.as_slice() else {
        bail!("not a line of tshark's: {line:?}");
    };
    Ok(Seen {
        at: at.parse().with_context(|| format!("the time in {line:?}"))?,
        source: (*source).to_owned(),
        destination: (*destination).to_owned(),
        length: length.parse().with_context(|| format!("the length in {line:?}"))?,
        protocol: (*protocol).to_owned(),
        info: (*info).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_tshark_are_parsed() {
        let line =
            "1700000000.25\taa:00:00:00:00:01\taa:00:00:00:00:02\t98\tICMP\tEcho (ping) request  id=0x1";
        let seen = parse(line).unwrap();
        assert_eq!((seen.at, seen.length, seen.protocol.as_str()), (1_700_000_000.25, 98, "ICMP"));
        assert!(seen.info.starts_with("Echo (ping) request"));
        assert!(parse("something else").is_err());
    }
}
