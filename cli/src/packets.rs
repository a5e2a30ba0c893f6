//! A packet socket on one interface, and the signals that end a capture. Linux: packet(7), signalfd(2).

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{
    self, AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType,
    SockaddrLike as _, sockopt,
};

use crate::pcapng::Way;

/// Room for one frame: more than any TAP device hands out at once.
const FRAME_ROOM: usize = 128 * 1024;
/// Room the kernel keeps for frames not read yet, in bytes.
const KERNEL_ROOM: usize = 8 << 20;

/// A packet socket.
pub struct Packets {
    socket: OwnedFd,
    buffer: Vec<u8>,
    received: u64,
    dropped: u64,
}

/// What a frame comes with.
#[derive(Debug, Clone, Copy)]
pub struct Received {
    /// Nanoseconds since the Unix epoch, by the kernel's clock.
    pub at: u64,
    /// Which way it went.
    pub way: Way,
    /// How many bytes it has.
    pub length: usize,
}

impl Packets {
    /// Opens a socket that sees every frame of the interface.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_NET_RAW; `NotFound` if there is no such interface.
    pub fn open(interface: &str) -> io::Result<Self> {
        let index = nix::net::if_::if_nametoindex(interface)?;
        // No protocol yet: frames of other interfaces must not come in before the socket is bound.
        let socket = socket::socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            None::<SockProtocol>,
        )?;
        socket::setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        // Without the privilege for it the kernel gives what it allows; losses are counted and shown.
        let _ = socket::setsockopt(&socket, sockopt::RcvBufForce, &KERNEL_ROOM)
            .or_else(|_| socket::setsockopt(&socket, sockopt::RcvBuf, &KERNEL_ROOM));
        socket::bind(socket.as_raw_fd(), &every_frame_of(index)?)?;
        Ok(Self { socket, buffer: vec![0; FRAME_ROOM], received: 0, dropped: 0 })
    }

    /// The next frame that is waiting, in [`Packets::frame`]; `None` = no more for now.
    ///
    /// # Errors
    /// What the socket fails with, for example because the interface went away.
    pub fn receive(&mut self) -> io::Result<Option<Received>> {
        let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
        let mut room = [IoSliceMut::new(&mut self.buffer)];
        let fd = self.socket.as_raw_fd();
        let message = match socket::recvmsg::<LinkAddr>(fd, &mut room, Some(&mut control), MsgFlags::empty())
        {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let at = message.cmsgs().ok().and_then(|mut all| {
            all.find_map(|one| match one {
                ControlMessageOwned::ScmTimestampns(at) => {
                    let nanoseconds = i128::from(at.tv_sec()) * 1_000_000_000 + i128::from(at.tv_nsec());
                    u64::try_from(nanoseconds).ok()
                }
                _ => None,
            })
        });
        let outgoing = message.address.is_some_and(|from| from.pkttype() == nix::libc::PACKET_OUTGOING);
        let way = if outgoing { Way::Outbound } else { Way::Inbound };
        let length = message.bytes;
        Ok(Some(Received { at: at.unwrap_or_else(now), way, length }))
    }

    /// The frame [`Packets::receive`] has just received.
    pub fn frame(&self, received: &Received) -> &[u8] {
        &self.buffer[..received.length.min(self.buffer.len())]
    }

    /// How many frames the kernel saw for this socket and how many of them it lost, since it was opened.
    pub fn statistics(&mut self) -> (u64, u64) {
        if let Some((received, dropped)) = statistics(self.socket.as_fd()) {
            // Reading resets the kernel's counters.
            self.received += u64::from(received);
            self.dropped += u64::from(dropped);
        }
        (self.received, self.dropped)
    }
}

/// Nanoseconds since the Unix epoch.
pub fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// The address of a packet socket that takes every protocol of one interface.
#[allow(unsafe_code)] // nix has no constructor for it.
fn every_frame_of(index: u32) -> io::Result<LinkAddr> {
    let address = nix::libc::sockaddr_ll {
        sll_family: nix::libc::AF_PACKET as u16,
        sll_protocol: (nix::libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of_val(&address) as u32;
    // SAFETY: the pointer is to a complete sockaddr_ll, and the length is that of it; it is copied before it ends.
    unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) }
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

/// (frames, losses) since the last call.
#[allow(unsafe_code)] // nix does not know this option.
fn statistics(socket: BorrowedFd<'_>) -> Option<(u32, u32)> {
    let mut counts = nix::libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = size_of_val(&counts) as nix::libc::socklen_t;
    // SAFETY: the option writes at most `length` bytes, the size of the structure the pointer is to.
    let result = unsafe {
        nix::libc::getsockopt(
            socket.as_raw_fd(),
            nix::libc::SOL_PACKET,
            nix::libc::PACKET_STATISTICS,
            (&raw mut counts).cast(),
            &raw mut length,
        )
    };
    // The kernel's count of packets includes the lost ones.
    (result == 0).then_some((counts.tp_packets, counts.tp_drops))
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// There are packets.
    Packets,
    /// SIGINT or SIGTERM.
    Signal,
    /// Whoever reads our output has gone.
    ReaderGone,
    /// The deadline.
    Deadline,
}

/// SIGINT and SIGTERM as something to wait for, so that a capture ends with a complete file.
pub struct Waiter {
    signals: SignalFd,
}

impl Waiter {
    /// From here on the two signals do not end the process by themselves.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn new() -> io::Result<Self> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGINT);
        mask.add(Signal::SIGTERM);
        mask.thread_block()?;
        Ok(Self { signals: SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)? })
    }

    /// Waits for packets, a signal, the end of `reader` (a pipe we write to), or the deadline.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn wait(
        &self,
        packets: &Packets,
        reader: Option<BorrowedFd<'_>>,
        deadline: Option<Instant>,
    ) -> io::Result<Woken> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Woken::Deadline);
            }
            let timeout = match left {
                // Rounded up, so that the last millisecond is not spent spinning.
                Some(left) => PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX),
                None => PollTimeout::NONE,
            };
            let mut waiting = vec![
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(packets.socket.as_fd(), PollFlags::POLLIN),
            ];
            // Nothing is asked for: an error (the other end is closed) is always reported.
            waiting.extend(reader.map(|reader| PollFd::new(reader, PollFlags::empty())));
            match poll(&mut waiting, timeout) {
                Ok(0) | Err(Errno::EINTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            let happened = |at: usize| waiting.get(at).is_some_and(|fd| fd.any().unwrap_or(true));
            if happened(0) {
                return Ok(Woken::Signal);
            }
            if happened(2) {
                return Ok(Woken::ReaderGone);
            }
            if happened(1) {
                return Ok(Woken::Packets);
            }
        }
    }
}
