//! Watching the wire: what the nodes really send, seen where a host meets the internet.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::host::{Host, Lab};

/// A UDP datagram that went by.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Sender.
    pub from: (Ipv4Addr, u16),
    /// Receiver.
    pub to: (Ipv4Addr, u16),
    /// What it carried.
    pub payload: Vec<u8>,
}

impl Datagram {
    /// The cipher suite number (0 to 7) of a packet; `None` for fragments and for what is no packet.
    ///
    /// Specification: packet header (byte 18 holds 2 flag bits, 3 suite bits, 3 hop bits).
    pub fn suite(&self) -> Option<u8> {
        let is_fragment = self.payload.get(13) == Some(&0xff);
        (self.payload.len() >= 28 && !is_fragment).then(|| self.payload[18] >> 3 & 7)
    }
}

/// A running `tcpdump`.
#[derive(Debug)]
pub struct Capture {
    child: Child,
    file: PathBuf,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Capture {
    /// Starts to record all UDP where `host` meets the internet; returns once tcpdump listens.
    ///
    /// From now on no host of the lab sends merged datagrams to the internet: each is seen as it would be on a cable.
    ///
    /// # Errors
    /// When tcpdump cannot be started.
    pub fn start(lab: &Lab, host: &Host) -> Result<Self> {
        let file = lab.dir().join(format!("{}-{}.pcap", host.name, COUNT.fetch_add(1, Ordering::Relaxed)));
        for sender in lab.hosts() {
            sender.border.ip(&format!("link set dev {} gso_max_segs 1\n", sender.outside()))?;
        }
        let mut command = host.border.command("tcpdump");
        command
            .args([
                "-U",
                "--immediate-mode",
                "-B",
                "16384",
                "-n",
                "-s",
                "0",
                "-Z",
                "root",
                "-i",
                host.outside(),
                "-w",
            ])
            .arg(&file)
            .arg("udp");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run tcpdump")?;
        let mut lines = BufReader::new(child.stderr.take().context("tcpdump has a standard error")?);
        let mut said = String::new();
        while !said.contains("listening on") {
            if lines.read_line(&mut said)? == 0 {
                bail!("tcpdump ended: {said}");
            }
        }
        // What it says at its end has to go somewhere, or it would block.
        std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
        Ok(Self { child, file })
    }

    /// Ends the recording.
    ///
    /// # Errors
    /// When the file is no capture of Ethernet frames.
    pub fn finish(mut self) -> Result<Vec<Datagram>> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGINT)?;
        self.child.wait()?;
        parse(&fs::read(&self.file)?)
    }
}

/// Parses a little-endian pcap file of Ethernet frames; anything but whole IPv4/UDP is passed over.
fn parse(file: &[u8]) -> Result<Vec<Datagram>> {
    let word = |at: usize| file.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    if word(0) != Some(0xa1b2_c3d4) || word(20) != Some(1) {
        bail!("no little-endian pcap file of Ethernet frames");
    }
    let mut found = Vec::new();
    let mut at = 24;
    while let Some(length) = word(at + 8) {
        let start = at + 16;
        let end = start + usize::try_from(length)?;
        let Some(frame) = file.get(start..end) else { break };
        found.extend(datagram(frame));
        at = end;
    }
    Ok(found)
}

fn datagram(frame: &[u8]) -> Option<Datagram> {
    let ip = frame.get(14..)?;
    if frame[12..14] != [8, 0] || *ip.get(9)? != 17 {
        return None;
    }
    let header = usize::from(ip[0] & 15) * 4;
    let udp = ip.get(header..)?;
    let pair = |at: usize| Some(u16::from_be_bytes([*udp.get(at)?, *udp.get(at + 1)?]));
    let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(ip.get(at..at + 4)?).ok()?));
    let payload = udp.get(8..usize::from(pair(4)?))?.to_vec();
    Some(Datagram { from: (address(12)?, pair(0)?), to: (address(16)?, pair(2)?), payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_found_in_a_capture() {
        let mut file = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
        file.extend([0; 16]);
        file.extend(1u32.to_le_bytes());
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0, 0, 80, 0, 1, 1, 80, 0, 2, 1]);
        frame.extend([0x27, 0x09, 0x27, 0x0a, 0, 11, 0, 0, 1, 2, 3]);
        file.extend([0; 8]);
        file.extend((frame.len() as u32).to_le_bytes());
        file.extend([0; 4]);
        file.extend(&frame);
        let found = parse(&file).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].from, (Ipv4Addr::new(80, 0, 1, 1), 9993));
        assert_eq!(found[0].to, (Ipv4Addr::new(80, 0, 2, 1), 9994));
        assert_eq!(found[0].payload, [1, 2, 3]);
        assert_eq!(found[0].suite(), None);
        file.truncate(file.len() - 1);
        assert!(parse(&file).unwrap().is_empty());
        assert!(parse(b"something else").is_err());
    }
}
