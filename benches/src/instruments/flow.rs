//! One flow of numbered UDP datagrams at a chosen rate: what of it is lost, and what overtakes what.
//!
//! iperf3 spends more time on a small datagram than a fast node does, and loses some in its own receive buffer; this one is
//! lean and asks for a large buffer, so that what is lost was lost on the way.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;

use crate::system::{System, tie_thread};

/// Receive buffer, octets. Root may have more than the system's limit.
const BUFFER: usize = 32 << 20;
/// After the last datagram was sent, the flow is over when nothing has come for so long.
const QUIET: Duration = Duration::from_millis(100);
/// Between two looks at the clock of a paced sender.
const TICK: Duration = Duration::from_micros(500);

/// What to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    /// UDP payload of a datagram, octets; at least 8 for its number.
    pub(crate) size: usize,
    /// Datagrams a second; `None`: as many as go.
    pub(crate) rate: Option<f64>,
    /// How many at most.
    pub(crate) packets: u64,
    /// For how long at most.
    pub(crate) length: Duration,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// Datagrams sent.
    pub(crate) sent: u64,
    /// Datagrams that arrived, in whatever order.
    pub(crate) received: u64,
    /// Those that arrived after one with a larger number (or twice).
    pub(crate) late: u64,
    /// How long sending took, seconds.
    pub(crate) seconds: f64,
}

impl Outcome {
    /// The part that did not arrive.
    pub(crate) fn loss(&self) -> f64 {
        1.0 - self.received as f64 / self.sent.max(1) as f64
    }

    /// Arrived a second.
    pub(crate) fn rate(&self) -> f64 {
        self.received as f64 / self.seconds.max(1e-9)
    }
}

/// Sends a flow from the first side to the second.
pub(crate) fn send(system: &System, flow: Flow) -> Result<Outcome> {
    let [from, to] = &system.sides;
    let receiver = to.namespace.inside(|| UdpSocket::bind((to.address, 0)))??;
    setsockopt(&receiver, sockopt::RcvBufForce, &BUFFER).context("a large receive buffer")?;
    receiver.set_read_timeout(Some(QUIET))?;
    let target = receiver.local_addr()?;
    let sender = from.namespace.inside(|| UdpSocket::bind((from.address, 0)))??;
    sender.connect(target)?;
    let cores = [system.core(0)?, system.core(1)?];
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            tie_here(cores[1])?;
            receive(&receiver, &over)
        });
        let sending = scope.spawn(|| {
            let sent = tie_here(cores[0]).and_then(|()| transmit(&sender, flow));
            over.store(true, Ordering::Release);
            sent
        });
        let panicked = |_| anyhow!("a measuring thread panicked");
        let (sent, seconds) = sending.join().map_err(panicked)??;
        let (received, late) = receiving.join().map_err(panicked)??;
        Ok(Outcome { sent, received, late, seconds })
    })
}

fn tie_here(core: Option<usize>) -> Result<()> {
    core.map_or(Ok(()), |core| tie_thread(Pid::from_raw(0), &[core]))
}

/// How many were sent, in how many seconds.
fn transmit(socket: &UdpSocket, flow: Flow) -> Result<(u64, f64)> {
    let mut datagram = vec![0x55; flow.size.max(8)];
    let start = Instant::now();
    let mut sent = 0;
    loop {
        let elapsed = start.elapsed();
        if elapsed >= flow.length || sent >= flow.packets {
            return Ok((sent, elapsed.as_secs_f64()));
        }
        let due = match flow.rate {
            // So many between two looks at the clock.
            None => sent + 64,
            Some(rate) => (elapsed.as_secs_f64() * rate) as u64,
        };
        if due <= sent {
            std::thread::sleep(TICK);
        }
        while sent < due.min(flow.packets) {
            datagram[..8].copy_from_slice(&sent.to_le_bytes());
            match socket.send(&datagram) {
                Ok(_) => {}
                // The queue of the interface is full: a loss like any other.
                Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ENOBUFS as i32) => {}
                Err(error) => return Err(error).context("sending"),
            }
            sent += 1;
        }
    }
}

/// How many arrived, how many of them late.
fn receive(socket: &UdpSocket, over: &AtomicBool) -> Result<(u64, u64)> {
    let mut buffer = [0; 2048];
    let (mut received, mut late, mut next) = (0, 0, 0);
    loop {
        // Looked at before waiting: what was sent before that had its time.
        let ending = over.load(Ordering::Acquire);
        match socket.recv(&mut buffer) {
            Ok(_) => {
                let number = u64::from_le_bytes(buffer[..8].try_into()?);
                received += 1;
                if number < next {
                    late += 1;
                } else {
                    next = number + 1;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if ending {
                    return Ok((received, late));
                }
            }
            Err(error) => return Err(error).context("receiving"),
        }
    }
}
