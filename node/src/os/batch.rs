//! Many datagrams in one system call: `recvmmsg` and `sendmmsg` over buffers that are used again and again.
//!
//! All of the unsafety of the packet path is in this file. The kernel gets arrays of pointers; each array is rebuilt from
//! live Rust buffers right before the call and not used after it, so moving a batch value is harmless.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use socket2::{SockAddr, SockAddrStorage};

use super::udp::UdpSocket;

/// Datagrams per system call.
pub const BATCH: usize = 64;

/// Room for one datagram: the largest a peer may be configured to send (10 324 octets), rounded up.
pub const DATAGRAM_ROOM: usize = 10_368;

/// How often in a row a full socket buffer is waited for.
const PATIENCE: u32 = 3;

/// Buffers for receiving.
pub struct ReceiveBatch {
    buffers: Vec<Vec<u8>>,
    from: Vec<Option<SocketAddr>>,
    storage: Vec<SockAddrStorage>,
    slices: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

// SAFETY: the raw pointers in `slices` and `headers` are written before each system call and never read after it; between
// calls they are dead values.
#[allow(unsafe_code)]
unsafe impl Send for ReceiveBatch {}

impl Default for ReceiveBatch {
    fn default() -> Self {
        ReceiveBatch {
            buffers: (0..BATCH).map(|_| Vec::with_capacity(DATAGRAM_ROOM)).collect(),
            from: vec![None; BATCH],
            storage: (0..BATCH).map(|_| SockAddrStorage::zeroed()).collect(),
            slices: Vec::with_capacity(BATCH),
            headers: Vec::with_capacity(BATCH),
        }
    }
}

impl ReceiveBatch {
    /// Receives what is waiting, at most [`BATCH`] datagrams, without blocking; returns their number (0 = none).
    ///
    /// # Errors
    /// What the kernel says; pending ICMP errors of earlier sends are not reported here.
    #[allow(unsafe_code)]
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.slices.clear();
        self.headers.clear();
        for buffer in &mut self.buffers {
            buffer.clear();
            buffer.reserve(DATAGRAM_ROOM);
            let spare = buffer.spare_capacity_mut();
            self.slices.push(libc::iovec {
                iov_base: spare.as_mut_ptr().cast(),
                iov_len: spare.len().min(DATAGRAM_ROOM),
            });
        }
        for (slice, storage) in self.slices.iter_mut().zip(&mut self.storage) {
            self.headers.push(libc::mmsghdr {
                msg_hdr: header((&raw mut *storage).cast(), storage.size_of(), slice),
                msg_len: 0,
            });
        }
        // SAFETY: every header points at an address storage and an iovec of `self` that are not moved or resized until
        // after the call, every iovec at spare capacity of a distinct Vec with at least that many octets.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(error),
            };
        }
        let count = usize::try_from(count).unwrap_or(0).min(BATCH);
        for index in 0..count {
            let received = &self.headers[index];
            let whole = received.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            let length = (received.msg_len as usize).min(self.slices[index].iov_len);
            // SAFETY: the kernel wrote `msg_len` octets into the spare capacity, which is at least that large.
            unsafe { self.buffers[index].set_len(length) };
            let storage = std::mem::replace(&mut self.storage[index], SockAddrStorage::zeroed());
            // SAFETY: the kernel filled the storage with an address of `msg_namelen` octets.
            let address = unsafe { SockAddr::new(storage, received.msg_hdr.msg_namelen) };
            // A datagram larger than any peer may send is nothing of ours.
            self.from[index] = if whole { address.as_socket() } else { None };
        }
        Ok(count)
    }

    /// Datagram `index` of the last [`Self::receive`]: its sender and its buffer, which the caller may grow, shrink or
    /// take. `None` for one that was too large.
    pub fn datagram(&mut self, index: usize) -> Option<(SocketAddr, &mut Vec<u8>)> {
        Some(((*self.from.get(index)?)?, &mut self.buffers[index]))
    }
}

/// Arrays for sending.
#[derive(Default)]
pub struct SendBatch {
    addresses: Vec<SockAddr>,
    slices: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

// SAFETY: as for `ReceiveBatch`: pointers are dead between calls.
#[allow(unsafe_code)]
unsafe impl Send for SendBatch {}

/// What became of datagrams given to [`SendBatch::send`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sent {
    /// Handed to the kernel.
    pub sent: usize,
    /// Refused by the kernel (no route, filtered, interface gone); dropped.
    pub refused: usize,
    /// Dropped because the socket's buffer stayed full.
    pub congested: usize,
}

impl SendBatch {
    /// Sends all datagrams in order. A full socket buffer is waited for, a few milliseconds at most; a datagram that the
    /// kernel refuses is skipped.
    pub fn send<'a>(
        &mut self,
        socket: &UdpSocket,
        datagrams: impl IntoIterator<Item = (SocketAddr, &'a [u8])>,
    ) -> Sent {
        self.send_patiently(socket, datagrams, PATIENCE)
    }

    /// Like [`Self::send`], but what finds the socket's buffer full is dropped at once.
    pub fn send_if_room<'a>(
        &mut self,
        socket: &UdpSocket,
        datagrams: impl IntoIterator<Item = (SocketAddr, &'a [u8])>,
    ) -> Sent {
        self.send_patiently(socket, datagrams, 0)
    }

    fn send_patiently<'a>(
        &mut self,
        socket: &UdpSocket,
        datagrams: impl IntoIterator<Item = (SocketAddr, &'a [u8])>,
        patience: u32,
    ) -> Sent {
        let mut total = Sent::default();
        let mut datagrams = datagrams.into_iter();
        loop {
            let mut chunk = datagrams.by_ref().take(BATCH).peekable();
            if chunk.peek().is_none() {
                return total;
            }
            self.send_chunk(socket, chunk, patience, &mut total);
        }
    }

    fn send_chunk<'a>(
        &mut self,
        socket: &UdpSocket,
        chunk: impl Iterator<Item = (SocketAddr, &'a [u8])>,
        patience: u32,
        total: &mut Sent,
    ) {
        self.addresses.clear();
        self.slices.clear();
        self.headers.clear();
        let v6 = socket.local().is_ipv6();
        for (to, data) in chunk {
            if to.is_ipv6() != v6 {
                total.refused += 1;
                continue;
            }
            self.addresses.push(to.into());
            self.slices.push(libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() });
        }
        for (address, slice) in self.addresses.iter().zip(&mut self.slices) {
            let name = address.as_ptr().cast_mut().cast();
            self.headers.push(libc::mmsghdr { msg_hdr: header(name, address.len(), slice), msg_len: 0 });
        }
        let mut at = 0;
        let mut left = patience;
        while at < self.headers.len() {
            match send_headers(socket, &mut self.headers[at..]) {
                Ok(n) => {
                    total.sent += n;
                    at += n;
                    left = patience;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS)) => {
                    if left == 0 || !wait_writable(socket) {
                        total.congested += self.headers.len() - at;
                        return;
                    }
                    left -= 1;
                }
                Err(error) => {
                    tracing::trace!(local = %socket.local(), %error, "datagram refused");
                    total.refused += 1;
                    at += 1;
                }
            }
        }
    }
}

#[allow(unsafe_code)]
fn send_headers(socket: &UdpSocket, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    // SAFETY: called only by `send_chunk`, whose headers point at addresses, iovecs and data that live until it returns;
    // the kernel only reads them (and writes `msg_len` of the headers, which we hold exclusively).
    let count = unsafe {
        libc::sendmmsg(
            socket.as_fd().as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as libc::c_uint,
            libc::MSG_DONTWAIT as _,
        )
    };
    // At least one was sent, or it is an error.
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

fn wait_writable(socket: &UdpSocket) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    matches!(poll(&mut fds, PollTimeout::from(2u8)), Ok(1))
}

#[allow(unsafe_code)]
fn header(name: *mut libc::c_void, name_length: libc::socklen_t, slice: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: msghdr is plain C data for which all zeroes (null pointers, zero lengths) is a valid value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = name;
    header.msg_namelen = name_length;
    header.msg_iov = slice;
    header.msg_iovlen = 1;
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(address: &str) -> (UdpSocket, UdpSocket) {
        let bind = || UdpSocket::bind(address.parse().unwrap(), None).unwrap();
        (bind(), bind())
    }

    fn drain(socket: &UdpSocket, batch: &mut ReceiveBatch) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut all = Vec::new();
        loop {
            let count = batch.receive(socket).unwrap();
            if count == 0 {
                return all;
            }
            for index in 0..count {
                all.extend(batch.datagram(index).map(|(from, data)| (from, data.clone())));
            }
        }
    }

    #[test]
    fn a_batch_arrives_whole_and_in_order() {
        let (a, b) = pair("127.0.0.1:0");
        let data: Vec<Vec<u8>> = (0..150u8).map(|i| vec![i; 1 + usize::from(i) * 60]).collect();
        let sent = SendBatch::default().send(&a, data.iter().map(|d| (b.local(), &d[..])));
        assert_eq!(sent, Sent { sent: 150, refused: 0, congested: 0 });
        let mut batch = ReceiveBatch::default();
        let received = drain(&b, &mut batch);
        assert_eq!(received.len(), 150);
        for ((from, got), want) in received.iter().zip(&data) {
            assert_eq!((*from, got), (a.local(), want));
        }
    }

    #[test]
    fn a_refused_datagram_does_not_stop_the_others() {
        let (a, b) = pair("127.0.0.1:0");
        let large = vec![0; 70_000];
        let v6: SocketAddr = "[::1]:9".parse().unwrap();
        let list = [(b.local(), &b"one"[..]), (b.local(), &large[..]), (v6, b"lost"), (b.local(), b"two")];
        let sent = SendBatch::default().send(&a, list);
        assert_eq!(sent, Sent { sent: 2, refused: 2, congested: 0 });
        let received = drain(&b, &mut ReceiveBatch::default());
        assert_eq!(received.iter().map(|r| &r.1[..]).collect::<Vec<_>>(), [b"one", b"two"]);
    }

    #[test]
    fn too_large_for_any_peer_is_dropped_and_a_taken_buffer_is_replaced() {
        let (a, b) = pair("127.0.0.1:0");
        let mut batch = ReceiveBatch::default();
        let large = vec![7; DATAGRAM_ROOM + 1];
        SendBatch::default().send(&a, [(b.local(), &large[..]), (b.local(), b"kept")]);
        assert_eq!(batch.receive(&b).unwrap(), 2);
        assert!(batch.datagram(0).is_none());
        let taken = std::mem::take(batch.datagram(1).unwrap().1);
        assert_eq!(taken, b"kept");
        SendBatch::default().send(&a, [(b.local(), &b"1"[..]), (b.local(), &large[..DATAGRAM_ROOM])]);
        assert_eq!(batch.receive(&b).unwrap(), 2);
        assert_eq!(batch.datagram(1).unwrap().1.len(), DATAGRAM_ROOM);
    }
}
