//! `capture …`: the packets of a network's TAP device, as pcapng or as lines.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

use flowrules::Frame;
use flowrules::describe::{describe, mac_text};
use serde_json::json;

use super::Session;
use crate::args::capture::Capture;
use crate::failure::{Failure, Io, Outcome};
use crate::packets::{Packets, Received, Waiter, Woken, now};
use crate::pcapng::{Captured, Way, Writer};
use crate::text;

/// Length of the Ethernet header.
const HEADER: usize = 14;
/// Packets taken between two looks at signals and the clock.
const BATCH: usize = 256;

/// Records until a signal, the count, the time, or nobody reads any more.
///
/// # Errors
/// No such network or device, no privilege, a file that cannot be written.
pub fn run(session: &Session, wanted: &Capture, io: &mut Io<'_>) -> Outcome {
    let device = device(session, &wanted.network)?;
    let program = &session.program;
    let packets = Packets::open(&device).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Failure::error(format!("{program}: no permission to capture on {device}")).hint(
                "It needs CAP_NET_RAW: run it with sudo, or give it to the program: \
                 `setcap cap_net_raw+ep $(command -v ztnode-cli)`.",
            )
        }
        _ => Failure::error(format!("{program}: cannot capture on {device}: {error}"))
            .hint("The node makes the device when the network is OK; see `ztnode-cli listnetworks`."),
    })?;
    let waiter = Waiter::new()
        .map_err(|error| Failure::error(format!("{program}: cannot wait for signals: {error}")))?;
    let to_stdout = wanted.write.as_deref() == Some("-");
    if to_stdout && io::stdout().is_terminal() {
        return Err(Failure::usage(format!(
            "{program}: a capture is not for a terminal; give -w FILE, or pipe it: \
             ztnode-cli capture {} -w - | tshark -r -",
            wanted.network
        )));
    }
    let stdout = io::stdout();
    let file = match wanted.write.as_deref() {
        None | Some("-") => None,
        Some(name) => {
            Some(create(name).map_err(|error| Failure::error(format!("{program}: {name}: {error}")))?)
        }
    };
    writeln!(io.err, "capturing on {device}; Ctrl-C ends it")?;
    let reader = file.as_ref().map_or_else(|| stdout.as_fd(), |file| file.as_fd());
    let mut recording = Recording { packets, waiter, reader, wanted, count: 0 };
    let result = match &file {
        Some(file) => recording.file(file, &device),
        None if to_stdout => recording.file(&mut *io.out, &device),
        None => recording.lines(io.out, session.common.json),
    };
    let (_, dropped) = recording.packets.statistics();
    let summary = format!("{} packets captured, {dropped} dropped by the kernel", recording.count);
    match result {
        // The reader of a pipe has all it wanted.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::error(format!("{program}: the capture ended: {error}")).hint(summary))
        }
        _ => {
            // With the reader of the packets the reader of the complaints may be gone as well.
            let _ = writeln!(io.err, "{summary}");
            Ok(())
        }
    }
}

fn create(name: &str) -> io::Result<File> {
    // What other people's packets say is nobody else's business.
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(name)
}

/// The network's device, from the node here.
fn device(session: &Session, typed: &str) -> Result<String, Failure> {
    let network: api::JoinedNetwork = api::of(&super::network_of(session, typed)?);
    let device = text::printable(&network.port_device_name);
    // A reply that is not to be believed must not name a path or an option.
    if device.len() > 1 && device.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) {
        return Ok(device);
    }
    Err(Failure::error(format!("{}: network {typed} has no device yet", session.program)).hint(format!(
        "Its status is {}; see `ztnode-cli listnetworks`.",
        text::printable(network.status.name())
    )))
}

struct Recording<'a> {
    packets: Packets,
    waiter: Waiter,
    /// Who gets what we write.
    reader: BorrowedFd<'a>,
    wanted: &'a Capture,
    count: u64,
}

impl Recording<'_> {
    fn file(&mut self, out: impl Write, device: &str) -> io::Result<()> {
        let application = format!("ztnode-cli {}", crate::VERSION);
        let mut file = Writer::new(io::BufWriter::new(out), &application, device, self.wanted.snaplen)?;
        file.flush()?;
        let snaplen = self.wanted.snaplen as usize;
        self.each(|packet| match packet {
            Some((received, frame)) => {
                let kept = &frame[..frame.len().min(snaplen)];
                file.packet(&Captured {
                    at: received.at,
                    way: received.way,
                    bytes: kept,
                    length: received.length,
                })
            }
            None => file.flush(),
        })?;
        let (seen, dropped) = self.packets.statistics();
        file.statistics(now(), seen, dropped)
    }

    fn lines(&mut self, out: &mut dyn Write, json: bool) -> io::Result<()> {
        let snaplen = self.wanted.snaplen as usize;
        self.each(|packet| match packet {
            Some((received, frame)) => line(&mut *out, &received, &frame[..frame.len().min(snaplen)], json),
            None => out.flush(),
        })
    }

    /// Gives every packet to `sink`, and `None` whenever there are no more for now.
    fn each(&mut self, mut sink: impl FnMut(Option<(Received, &[u8])>) -> io::Result<()>) -> io::Result<()> {
        let deadline = self.wanted.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        loop {
            match self.waiter.wait(&self.packets, Some(self.reader), deadline)? {
                Woken::Packets => {}
                Woken::Signal | Woken::ReaderGone | Woken::Deadline => return Ok(()),
            }
            let mut batch = 0;
            while let Some(received) = self.packets.receive()? {
                sink(Some((received, self.packets.frame(&received))))?;
                self.count += 1;
                batch += 1;
                if self.wanted.count == Some(self.count) {
                    return sink(None);
                }
                // Now and then a look at signals and the clock, however fast packets come.
                if batch == BATCH {
                    break;
                }
            }
            sink(None)?;
        }
    }
}

/// One packet on one line; `frame` is its beginning, Ethernet header included.
fn line(out: &mut dyn Write, received: &Received, frame: &[u8], json: bool) -> io::Result<()> {
    let mac = |at: usize| -> [u8; 6] {
        frame.get(at..at + 6).and_then(|mac| mac.try_into().ok()).unwrap_or_default()
    };
    let [source, dest] = [mac(6), mac(0)];
    let ethertype = frame.get(12..HEADER).map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]));
    let payload = frame.get(HEADER..).unwrap_or_default();
    let length = received.length.saturating_sub(HEADER);
    let packet = describe(&Frame { source, dest, ethertype, vlan: 0, payload }, length);
    let way = match received.way {
        Way::Inbound => "in",
        Way::Outbound => "out",
    };
    if json {
        let line = json!({
            "at": received.at / 1_000_000, "direction": way, "source": mac_text(source), "dest": mac_text(dest),
            "etherType": ethertype, "length": length, "packet": packet,
        });
        return writeln!(out, "{line}");
    }
    let at = text::time(received.at / 1000);
    writeln!(out, "{at} {way:<3} {} > {}  {packet}", mac_text(source), mac_text(dest))
}
