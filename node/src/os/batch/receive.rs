//! Receiving.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

use super::{BATCH, Control, DATAGRAM_ROOM, empty_header};
use crate::os::udp::UdpSocket;

/// Room for one message of a socket that merges: no message is longer than IP allows. The line more makes neighbouring
/// buffers begin in different sets of the processor's caches.
const MERGED_ROOM: usize = 65_536 + 64;
/// Messages per call from a socket that merges, while nothing is merged …
const MERGED_BATCH: usize = 32;
/// … and while the messages are large: up to 64 datagrams each are enough for one turn, which takes a fifth of a millisecond.
const LARGE_BATCH: usize = 4;
/// Messages per call while few come: what is laid out for more is work that a lone packet waits for, much of it in memory
/// that has left the processor's caches.
const FEW: usize = 4;

/// No datagram waits so long, in microseconds; the clock was set.
const MAX_WAIT: u64 = 1_000_000;

/// Buffers for receiving: 2 MiB of address space, of which only what was ever written takes memory.
pub struct ReceiveBatch {
    memory: Box<[u8]>,
    received: Vec<Received>,
    /// Whether the last call found merged datagrams.
    large: bool,
    /// Whether the last calls found more than a few messages.
    busy: bool,
    drained: bool,
    addresses: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    slices: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

struct Received {
    /// `None`: nothing of ours.
    from: Option<SocketAddr>,
    start: usize,
    length: usize,
    segment: usize,
    /// When it reached this machine, in microseconds of the wall clock.
    arrived: Option<i64>,
    ecn: u8,
}

// SAFETY: the raw pointers in `slices` and `headers` are written before each system call and never read after it; between
// calls they are dead values.
#[allow(unsafe_code)]
unsafe impl Send for ReceiveBatch {}

impl Default for ReceiveBatch {
    #[allow(unsafe_code)]
    fn default() -> Self {
        // SAFETY: sockaddr_storage is plain C data for which all zeroes is a valid value.
        let address: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        ReceiveBatch {
            memory: vec![0; (MERGED_BATCH * MERGED_ROOM).max(BATCH * DATAGRAM_ROOM)].into(),
            received: Vec::with_capacity(BATCH),
            large: false,
            busy: false,
            drained: true,
            addresses: vec![address; BATCH],
            controls: vec![Control::default(); BATCH],
            slices: Vec::with_capacity(BATCH),
            headers: Vec::with_capacity(BATCH),
        }
    }
}

impl ReceiveBatch {
    /// Receives what is waiting, at most [`BATCH`] messages, without blocking; returns their number (0 = none).
    ///
    /// # Errors
    /// What the kernel says; pending ICMP errors of earlier sends are not reported here.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let (room, limit) = match (socket.merges(), self.large) {
            (true, true) => (MERGED_ROOM, LARGE_BATCH),
            (true, false) => (MERGED_ROOM, MERGED_BATCH),
            (false, _) => (DATAGRAM_ROOM, BATCH),
        };
        let limit = if self.busy { limit } else { limit.min(FEW) };
        self.received.clear();
        self.drained = true;
        self.lay_out(room, limit);
        let count = match receive_headers(socket, &mut self.headers) {
            Ok(count) => count.min(limit),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => 0,
            Err(e) => return Err(e),
        };
        self.drained = count < limit;
        self.busy = count == limit || count > FEW;
        for index in 0..count {
            let message = self.look_at(index, room);
            self.received.push(message);
        }
        if count > 0 {
            self.large = self.received.iter().any(|m| m.segment < m.length);
        }
        Ok(count)
    }

    /// Whether the last [`Self::receive`] took everything that was waiting, so that another one would be in vain.
    pub fn drained(&self) -> bool {
        self.drained
    }

    /// How long the message that came last has waited for the last [`Self::receive`], in microseconds; the others have waited
    /// longer. `None` if there is none, the kernel does not say, or the wall clock was set meanwhile.
    pub fn waited(&self) -> Option<u64> {
        let arrived = self.received.last()?.arrived?;
        let now = microseconds(clock_gettime(ClockId::CLOCK_REALTIME).ok()?);
        u64::try_from(now - arrived).ok().filter(|waited| *waited < MAX_WAIT)
    }

    /// Message `index` of the last [`Self::receive`]: its sender, its octets, and the size of its datagrams, which lie
    /// end to end and of which only the last may be shorter: `octets.chunks_mut(size)` are the datagrams, in the order in
    /// which they arrived. The size is never 0, and that of a single datagram is its length. `None` for what is too large
    /// for any peer, or empty.
    pub fn message(&mut self, index: usize) -> Option<(SocketAddr, &mut [u8], usize)> {
        let Received { from, start, length, segment, .. } = *self.received.get(index)?;
        Some((from?, &mut self.memory[start..start + length], segment))
    }

    /// The two ECN bits with which the datagrams of message `index` arrived, see [`crate::dataplane::ecn`].
    pub fn ecn(&self, index: usize) -> u8 {
        self.received.get(index).map_or(0, |message| message.ecn)
    }

    /// Gives each of `limit` messages its `room` in the memory.
    fn lay_out(&mut self, room: usize, limit: usize) {
        self.slices.clear();
        self.headers.clear();
        let buffers = self.memory.chunks_exact_mut(room).take(limit);
        for buffer in buffers {
            self.slices.push(libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() });
        }
        let rest = self.addresses.iter_mut().zip(&mut self.controls);
        for (slice, (address, control)) in self.slices.iter_mut().zip(rest) {
            let mut header = empty_header();
            header.msg_hdr.msg_name = (&raw mut *address).cast();
            header.msg_hdr.msg_namelen = size_of_val(address) as libc::socklen_t;
            header.msg_hdr.msg_iov = slice;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = (&raw mut *control).cast();
            header.msg_hdr.msg_controllen = size_of_val(control) as _;
            self.headers.push(header);
        }
    }

    /// What the kernel wrote about message `index`.
    fn look_at(&self, index: usize, room: usize) -> Received {
        let header = &self.headers[index];
        let length = (header.msg_len as usize).min(room);
        let Said { size, ecn, arrived } = controls(&header.msg_hdr);
        let segment = size.map_or(length, |size| size.min(length));
        let whole = header.msg_hdr.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) == 0;
        let ours = whole && (1..=DATAGRAM_ROOM).contains(&segment);
        let from = address(&self.addresses[index], header.msg_hdr.msg_namelen).filter(|_| ours);
        Received { from, start: index * room, length, segment, ecn, arrived }
    }
}

#[allow(unsafe_code)]
fn receive_headers(socket: &UdpSocket, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    // SAFETY: called only by `ReceiveBatch::receive`, right after `lay_out`: every header points at an address, a control
    // buffer and an iovec of the batch that are neither moved nor resized until after the call, and every iovec at a
    // distinct part of its memory; the batch is borrowed exclusively meanwhile.
    let count = unsafe {
        libc::recvmmsg(
            socket.as_fd().as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as libc::c_uint,
            libc::MSG_DONTWAIT as _,
            std::ptr::null_mut(),
        )
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// What the kernel says about a message beside its octets.
#[derive(Default)]
struct Said {
    /// The size of the datagrams that were merged into it, if they were.
    size: Option<usize>,
    /// ECN bits of each.
    ecn: u8,
    /// When it (the first of the merged ones) reached this machine, in microseconds of the wall clock.
    arrived: Option<i64>,
}

#[allow(unsafe_code)]
fn controls(header: &libc::msghdr) -> Said {
    let mut said = Said::default();
    // SAFETY: the kernel has set `msg_controllen` to what it wrote into the control buffer, which lives; the macros stay
    // inside of that.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: not null, so it points to a control message inside the control buffer, aligned for its header.
        let found = unsafe { &*message };
        match (found.cmsg_level, found.cmsg_type) {
            (libc::SOL_UDP, libc::UDP_GRO) => {
                // SAFETY: the data of this kind of message is an int; reading it unaligned asks for no alignment.
                let size = unsafe { libc::CMSG_DATA(message).cast::<libc::c_int>().read_unaligned() };
                said.size = usize::try_from(size).ok().filter(|size| *size > 0);
            }
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                // SAFETY: the data of this kind of message is a timespec; reading it unaligned asks for no alignment.
                let time = unsafe { libc::CMSG_DATA(message).cast::<libc::timespec>().read_unaligned() };
                said.arrived = Some(microseconds(time.into()));
            }
            // SAFETY: the data of this kind of message is one octet.
            (libc::IPPROTO_IP, libc::IP_TOS) => said.ecn = unsafe { libc::CMSG_DATA(message).read() } & 3,
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                // SAFETY: the data of this kind of message is an int; reading it unaligned asks for no alignment.
                let class = unsafe { libc::CMSG_DATA(message).cast::<libc::c_int>().read_unaligned() };
                said.ecn = (class & 3) as u8;
            }
            _ => {}
        }
        // SAFETY: as for the first message.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    said
}

fn microseconds(time: TimeSpec) -> i64 {
    time.tv_sec() * 1_000_000 + time.tv_nsec() / 1_000
}

/// Reads an address of `length` octets as the kernel writes it.
#[allow(unsafe_code)]
fn address(storage: &libc::sockaddr_storage, length: libc::socklen_t) -> Option<SocketAddr> {
    let pointer = &raw const *storage;
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET if length as usize >= size_of::<libc::sockaddr_in>() => {
            // SAFETY: the storage is larger than sockaddr_in, aligned for it, and the family says that it is one.
            let v4 = unsafe { &*pointer.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 if length as usize >= size_of::<libc::sockaddr_in6>() => {
            // SAFETY: as above, for sockaddr_in6.
            let v6 = unsafe { &*pointer.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}
