//! `ztprobe`: the ceiling probe. What the offloads of TAP and UDP socket would carry if a node did nothing else: no crypto,
//! no protocol, no rules. It uses the node's own parts for both, so that the distance between a node and this probe is what
//! the node itself costs.
//!
//! Frames of up to 64 KiB come from a TAP, are cut to the MTU, get a header of the size of ours and leave by UDP
//! segmentation offload; the other side joins them and writes one large frame into its TAP. One thread, which sleeps in
//! `poll`. It is good for measuring only: it believes everything that arrives.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use node::dataplane::FrameBatch;
use node::dataplane::segment::{self, Cut};
use node::dataplane::vnet::{self, Gso, SUPER_FRAME_ROOM};
use node::os::batch::{ReceiveBatch, SendBatch};
use node::os::tap::{Backend, Tap};
use node::os::udp::UdpSocket;
use protocol::NetworkId;

/// Octets before each packet: as many as a packet's header, network and message authentication take. The first 14 are
/// the Ethernet header, the rest is zero.
const HEADER: usize = 28 + 16;
/// Destination, source, ethertype.
const ETHERNET: usize = 14;
/// Frames of a turn.
const TURN: usize = 16;

#[derive(Parser)]
#[command(
    about = "Carries frames between a TAP and a UDP socket by the node's offloads, without crypto: for ztbench"
)]
struct Arguments {
    /// Name of the TAP to make. Its MTU has to be 44 octets below what a datagram may carry.
    device: String,
    /// Where to receive.
    local: SocketAddr,
    /// Where to send.
    remote: SocketAddr,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let tap = Tap::open(&arguments.device, Backend::Offload)?;
    let socket =
        UdpSocket::bind(arguments.local, None).with_context(|| format!("cannot bind {}", arguments.local))?;
    ensure!(socket.segments() && socket.merges(), "the kernel has no UDP segmentation offload");
    let mut probe = Probe {
        tap,
        socket,
        remote: arguments.remote,
        frame: vec![0; SUPER_FRAME_ROOM],
        packets: Vec::new(),
        ends: Vec::new(),
        sending: SendBatch::default(),
        receiving: ReceiveBatch::default(),
        frames: FrameBatch::default(),
        network: "0000000000000001".parse()?,
    };
    loop {
        let busy = probe.out()? | probe.back()?;
        if !busy {
            let mut both =
                [probe.tap.as_fd(), probe.socket.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            match poll(&mut both, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error).context("poll"),
            }
        }
    }
}

struct Probe {
    tap: Tap,
    socket: UdpSocket,
    remote: SocketAddr,
    frame: Vec<u8>,
    /// Packets to be sent, end to end.
    packets: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
    sending: SendBatch,
    receiving: ReceiveBatch,
    frames: FrameBatch,
    network: NetworkId,
}

impl Probe {
    /// From the TAP to the socket; whether there was anything.
    fn out(&mut self) -> Result<bool> {
        self.packets.clear();
        self.ends.clear();
        let begin = |packets: &mut Vec<u8>, ethernet: &[u8]| {
            packets.extend_from_slice(ethernet);
            packets.resize(packets.len() + HEADER - ETHERNET, 0);
        };
        for _ in 0..TURN {
            let Some((offload, length)) = self.tap.read(&mut self.frame).context("reading the TAP")? else {
                break;
            };
            let frame = &mut self.frame[vnet::HEADER..][..length];
            if length < ETHERNET {
                continue;
            }
            if offload.gso == Gso::None {
                if segment::complete(offload.checksum, frame).is_ok() {
                    begin(&mut self.packets, &frame[..ETHERNET]);
                    self.packets.extend_from_slice(&frame[ETHERNET..]);
                    self.ends.push(self.packets.len());
                }
            } else if let Ok(cut) = Cut::new(&offload, frame) {
                for index in 0..cut.count() {
                    begin(&mut self.packets, &frame[..ETHERNET]);
                    cut.write(index, &mut self.packets);
                    self.ends.push(self.packets.len());
                }
            }
        }
        let mut start = 0;
        let (packets, remote) = (&self.packets, self.remote);
        let datagrams = self.ends.iter().map(|end| {
            let packet = &packets[start..*end];
            start = *end;
            (remote, packet)
        });
        self.sending.send(&self.socket, datagrams);
        Ok(!self.ends.is_empty())
    }

    /// From the socket to the TAP; whether there was anything.
    fn back(&mut self) -> Result<bool> {
        let count = self.receiving.receive(&self.socket).context("receiving")?;
        for index in 0..count {
            let Some((_, octets, size)) = self.receiving.message(index) else { continue };
            for datagram in octets.chunks(size).filter(|datagram| datagram.len() > HEADER) {
                let (dest, source) = (mac(datagram, 0), mac(datagram, 6));
                let ethertype = u16::from_be_bytes([datagram[12], datagram[13]]);
                let takes = self.tap.offloads();
                self.frames.push_joining(self.network, takes, dest, source, ethertype, &datagram[HEADER..]);
            }
        }
        for delivery in self.frames.deliveries() {
            // Refused while the interface is not up yet, or a frame that makes no sense: lost, as on a wire.
            let _ = self.tap.write(&delivery.offload, delivery.frame);
        }
        self.frames.clear();
        Ok(count > 0)
    }
}

fn mac(datagram: &[u8], at: usize) -> [u8; 6] {
    std::array::from_fn(|index| datagram[at + index])
}
