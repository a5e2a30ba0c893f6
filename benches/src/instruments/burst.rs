//! Several flows of numbered UDP datagrams at once, as many as arrive: what of them overtakes what.
//!
//! With segmentation offload a system call carries up to 64 datagrams, out and in, so that neither end is what limits the
//! rate. No more is under way than the path holds, so that little is lost: a datagram that does not arrive cannot be late.

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};

use crate::system::System;

/// Receive buffer, octets. Root may have more than the system's limit.
const BUFFER: usize = 32 << 20;
/// Datagrams of one system call.
const BURST: usize = 64;
/// What one system call may carry, octets.
const OCTETS: usize = 60_000;
/// Under way at most, in all flows: messages, less than the queue of an interface holds; and octets, less than the buffer of a
/// node's socket does.
const MESSAGES: u64 = 384;
const UNDER_WAY: u64 = 1 << 20;
/// A look at what has arrived; and for how long nothing arrives before what is under way counts as lost.
const LOOK: Duration = Duration::from_micros(50);
const LOST: Duration = Duration::from_millis(30);
/// Without any arrival for so long the path is broken.
const BROKEN: Duration = Duration::from_secs(10);
/// The part of a datagram's number that counts; the rest is its flow.
const NUMBER: u64 = (1 << 56) - 1;

/// What to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Burst {
    /// UDP payload of a datagram, octets; at least 8 for its number.
    pub(crate) size: usize,
    /// By segmentation offload, or each by itself.
    pub(crate) offload: bool,
    /// Flows, in turn.
    pub(crate) flows: u8,
    /// How many datagrams have to arrive.
    pub(crate) packets: u64,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Arrivals {
    /// Datagrams sent.
    pub(crate) sent: u64,
    /// Datagrams that arrived, in whatever order.
    pub(crate) received: u64,
    /// Those that arrived after a later one of their flow, or twice.
    pub(crate) late: u64,
}

/// Sends from the first side to the second until enough has arrived.
///
/// # Errors
/// When nothing arrives any more, or a socket fails.
pub(crate) fn run(system: &System, burst: Burst) -> Result<Arrivals> {
    let [from, to] = &system.sides;
    let receiver = to.namespace.inside(|| UdpSocket::bind((to.address, 0)))??;
    setsockopt(&receiver, sockopt::RcvBufForce, &BUFFER).context("a large receive buffer")?;
    setsockopt(&receiver, sockopt::UdpGroSegment, &burst.offload).context("UDP GRO")?;
    receiver.set_read_timeout(Some(Duration::from_millis(100)))?;
    let senders = (0..burst.flows)
        .map(|_| -> Result<UdpSocket> {
            let socket = from.namespace.inside(|| UdpSocket::bind((from.address, 0)))??;
            socket.connect(receiver.local_addr()?)?;
            Ok(socket)
        })
        .collect::<Result<Vec<_>>>()?;
    let arrived = AtomicU64::new(0);
    let over = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let receiving = scope.spawn(|| receive(&receiver, burst, &arrived, &over));
        let sent = transmit(&senders, burst, &arrived);
        over.store(1, Ordering::Release);
        let (received, late) = receiving.join().map_err(|_| anyhow!("the receiving thread panicked"))??;
        Ok(Arrivals { sent: sent?, received, late })
    })
}

fn transmit(sockets: &[UdpSocket], burst: Burst, arrived: &AtomicU64) -> Result<u64> {
    let size = burst.size.max(8);
    let count = (OCTETS / size).clamp(1, BURST);
    let segment = u16::try_from(size).context("datagrams are smaller than 64 KiB")?;
    let mut data = vec![0x55; size * count];
    let messages = if burst.offload { MESSAGES * count as u64 } else { MESSAGES };
    let window = messages.min(UNDER_WAY / size as u64);
    let mut next = vec![0u64; sockets.len()];
    // How many of those sent are known not to arrive.
    let (mut sent, mut lost) = (0u64, 0u64);
    let (mut seen, mut since) = (0, Instant::now());
    for flow in (0..sockets.len()).cycle() {
        let now = loop {
            let now = arrived.load(Ordering::Acquire);
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            if now >= burst.packets || sent - lost.min(sent) < now + window {
                break now;
            }
            ensure!(since.elapsed() < BROKEN, "nothing arrives any more, after {now} datagrams");
            if since.elapsed() > LOST {
                lost = sent - now;
            }
            std::thread::sleep(LOOK);
        };
        if now >= burst.packets {
            break;
        }
        for datagram in data.chunks_mut(size) {
            let number = (flow as u64) << 56 | next[flow];
            datagram[..8].copy_from_slice(&number.to_le_bytes());
            next[flow] += 1;
        }
        sent += count as u64;
        let descriptor = sockets[flow].as_raw_fd();
        let send = |data: &[u8], control: &[ControlMessage<'_>]| match sendmsg::<SockaddrIn>(
            descriptor,
            &[IoSlice::new(data)],
            control,
            MsgFlags::empty(),
            None,
        ) {
            // The queue of the interface is full: a loss like any other.
            Ok(_) | Err(Errno::ENOBUFS) => Ok(()),
            Err(error) => Err(error).context("sending"),
        };
        if burst.offload {
            send(&data, &[ControlMessage::UdpGsoSegments(&segment)])?;
        } else {
            data.chunks(size).try_for_each(|datagram| send(datagram, &[]))?;
        }
    }
    Ok(sent)
}

/// How many arrived, how many of them late.
fn receive(socket: &UdpSocket, burst: Burst, arrived: &AtomicU64, over: &AtomicU64) -> Result<(u64, u64)> {
    let mut buffer = vec![0; 1 << 16];
    let mut control = nix::cmsg_space!(i32);
    let mut next = vec![0u64; burst.flows.into()];
    let (mut received, mut late) = (0, 0);
    loop {
        let ending = over.load(Ordering::Acquire) != 0;
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let message =
            recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty());
        let (length, segment) = match message {
            Ok(message) => {
                let segment = message.cmsgs()?.find_map(|control| match control {
                    ControlMessageOwned::UdpGroSegments(size) => usize::try_from(size).ok(),
                    _ => None,
                });
                (message.bytes, segment)
            }
            Err(error) if std::io::Error::from(error).kind() == ErrorKind::WouldBlock => {
                if ending {
                    return Ok((received, late));
                }
                continue;
            }
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error).context("receiving"),
        };
        for datagram in buffer[..length].chunks(segment.unwrap_or(length).max(1)) {
            let head = datagram.get(..8).context("a datagram without a number")?;
            let number = u64::from_le_bytes(head.try_into()?);
            let flow = (number >> 56) as usize;
            let next = next.get_mut(flow).context("a datagram of no flow")?;
            received += 1;
            if number & NUMBER < *next {
                late += 1;
            } else {
                *next = (number & NUMBER) + 1;
            }
        }
        arrived.store(received, Ordering::Release);
    }
}
