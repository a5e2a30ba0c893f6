//! Sending.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};

use socket2::SockAddr;

use super::{BATCH, Control, empty_header};
use crate::dataplane::datagrams::Datagram;
use crate::os::udp::UdpSocket;

/// Datagrams the kernel cuts one message into at most; newer ones allow 128.
const MAX_SEGMENTS: usize = 64;
/// Octets of one message at most: what one IPv4 packet can carry, for before it is cut it is one.
const MAX_OCTETS: usize = 65_507;
/// How often in a row a full socket buffer is waited for.
const PATIENCE: u32 = 3;
/// Destinations remembered that do not take large segments.
const MAX_NARROW: usize = 16;
/// Messages to such a destination until large segments are tried again: paths change.
const NARROW_FOR: u32 = 1024;

/// Arrays for sending.
#[derive(Default)]
pub struct SendBatch {
    messages: Vec<Message>,
    controls: Vec<Control>,
    slices: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    narrow: Vec<Narrow>,
    /// See [`Self::take_broken`].
    broken: bool,
    /// The error with which messages of several datagrams are refused, instead of asking the kernel.
    #[cfg(test)]
    pub(super) refusal: Option<libc::c_int>,
}

/// Datagrams for one destination that go to the kernel as one message.
struct Message {
    to: SocketAddr,
    address: SockAddr,
    /// Its part of `slices`.
    slices: Range<usize>,
    datagrams: usize,
    octets: usize,
    /// Octets of each datagram but the last.
    segment: usize,
    /// ECN bits of each.
    ecn: u8,
    /// Whether more may be added.
    open: bool,
}

/// A destination behind a path whose MTU the segments did not fit.
struct Narrow {
    to: IpAddr,
    /// The smallest size that was refused.
    size: usize,
    left: u32,
}

// SAFETY: the raw pointers in `slices` and `headers` are written before each system call and never read after it; between
// calls they are dead values.
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

/// What is to be learned from the refusal of a message with several datagrams.
#[derive(Debug, Eq, PartialEq)]
enum Lesson {
    /// The socket or its interface cannot do it.
    Never,
    /// Not with segments of this size to this destination.
    Narrow,
    /// Nothing: the datagrams themselves are refused.
    Refused,
}

fn lesson(error: &io::Error) -> Lesson {
    match error.raw_os_error() {
        // Of the interface: no checksum offload, or IPsec. Of the kernel: no such option.
        Some(libc::EIO | libc::ENOPROTOOPT | libc::EOPNOTSUPP) => Lesson::Never,
        // Before Linux 6.14 EINVAL means what EMSGSIZE means since: a segment would have to be fragmented. It can also be
        // the address, which some peer told us, so that it must not decide for all destinations.
        Some(libc::EMSGSIZE | libc::EINVAL) => Lesson::Narrow,
        _ => Lesson::Refused,
    }
}

impl SendBatch {
    /// Sends all datagrams, those for one destination in this order. A full socket buffer is waited for, a few
    /// milliseconds at most; a datagram that the kernel refuses is skipped.
    ///
    /// Consecutive datagrams of one size and ECN to one destination (and a shorter one after them) go to the kernel in one
    /// message. They need not lie next to each other in memory, but it helps a little.
    pub fn send<'a, D: Into<Datagram<'a>>>(
        &mut self,
        socket: &UdpSocket,
        datagrams: impl IntoIterator<Item = D>,
    ) -> Sent {
        self.send_patiently(socket, datagrams, PATIENCE)
    }

    /// Like [`Self::send`], but what finds the socket's buffer full is dropped at once.
    pub fn send_if_room<'a, D: Into<Datagram<'a>>>(
        &mut self,
        socket: &UdpSocket,
        datagrams: impl IntoIterator<Item = D>,
    ) -> Sent {
        self.send_patiently(socket, datagrams, 0)
    }

    /// Whether a socket was found since the last call by which nothing can be sent any more: it is shut, or somebody closed it.
    pub fn take_broken(&mut self) -> bool {
        std::mem::take(&mut self.broken)
    }

    fn send_patiently<'a, D: Into<Datagram<'a>>>(
        &mut self,
        socket: &UdpSocket,
        datagrams: impl IntoIterator<Item = D>,
        patience: u32,
    ) -> Sent {
        let mut total = Sent::default();
        let v6 = socket.local().is_ipv6();
        self.messages.clear();
        self.slices.clear();
        // The pointers in `slices` are used inside of this function only, so while 'a lasts.
        for datagram in datagrams {
            let datagram = datagram.into();
            if datagram.to.is_ipv6() != v6 {
                total.refused += 1;
            } else if !self.extend(&datagram) {
                if self.messages.len() == BATCH {
                    self.flush(socket, patience, &mut total);
                }
                self.begin(socket, &datagram);
            }
        }
        self.flush(socket, patience, &mut total);
        total
    }

    /// Adds a datagram to the last message, if it may go there.
    fn extend(&mut self, datagram: &Datagram<'_>) -> bool {
        let Datagram { to, data, ecn } = *datagram;
        let Some(message) = self.messages.last_mut() else { return false };
        let fits = message.open
            && message.to == to
            && message.ecn == ecn
            && (1..=message.segment).contains(&data.len())
            && message.datagrams < MAX_SEGMENTS
            && message.octets + data.len() <= MAX_OCTETS;
        if !fits {
            return false;
        }
        // Only the last one may be shorter.
        message.open = data.len() == message.segment;
        message.datagrams += 1;
        message.octets += data.len();
        match self.slices.last_mut() {
            // Right behind the one before it.
            Some(last) if last.iov_base.addr() + last.iov_len == data.as_ptr().addr() => {
                last.iov_len += data.len();
            }
            _ => {
                self.slices.push(slice(data));
                message.slices.end += 1;
            }
        }
        true
    }

    /// Begins a message.
    fn begin(&mut self, socket: &UdpSocket, datagram: &Datagram<'_>) {
        let Datagram { to, data, ecn } = *datagram;
        // Port 0 cannot be sent to, and must not be taken for a path that is narrow.
        let open = socket.segments() && to.port() != 0 && self.is_wide(to.ip(), data.len());
        let at = self.slices.len();
        self.slices.push(slice(data));
        self.messages.push(Message {
            to,
            address: to.into(),
            slices: at..at + 1,
            datagrams: 1,
            octets: data.len(),
            segment: data.len(),
            ecn,
            open,
        });
    }

    /// Whether segments of `size` may be tried.
    fn is_wide(&mut self, to: IpAddr, size: usize) -> bool {
        let Some(at) = self.narrow.iter().position(|n| n.to == to && n.size <= size) else { return true };
        self.narrow[at].left -= 1;
        if self.narrow[at].left == 0 {
            self.narrow.swap_remove(at);
        }
        false
    }

    fn note_narrow(&mut self, to: IpAddr, size: usize) {
        self.narrow.retain(|n| n.to != to);
        if self.narrow.len() == MAX_NARROW {
            self.narrow.remove(0);
        }
        self.narrow.push(Narrow { to, size, left: NARROW_FOR });
    }

    /// Sends what was gathered.
    fn flush(&mut self, socket: &UdpSocket, patience: u32, total: &mut Sent) {
        self.lay_out();
        let mut at = 0;
        let mut left = patience;
        while at < self.messages.len() {
            match self.transmit(socket, at) {
                Ok(n) => {
                    total.sent += count(&self.messages[at..at + n]);
                    at += n;
                    left = patience;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS)) => {
                    if left == 0 || !wait_writable(socket) {
                        total.congested += count(&self.messages[at..]);
                        break;
                    }
                    left -= 1;
                }
                Err(error) => {
                    if self.messages[at].datagrams > 1 && self.learn(socket, at, &error) {
                        continue;
                    }
                    self.broken |=
                        matches!(error.raw_os_error(), Some(libc::EPIPE | libc::EBADF | libc::ENOTSOCK));
                    let Message { to, datagrams, .. } = self.messages[at];
                    tracing::trace!(local = %socket.local(), %to, datagrams, %error, "refused");
                    total.refused += datagrams;
                    at += 1;
                }
            }
        }
        self.messages.clear();
        self.slices.clear();
    }

    /// Hands the messages from `at` on to the kernel; returns how many it took.
    fn transmit(&mut self, socket: &UdpSocket, at: usize) -> io::Result<usize> {
        #[cfg(test)]
        if let Some(number) = self.refusal {
            let single = self.messages[at..].iter().take_while(|m| m.datagrams == 1).count();
            if single == 0 {
                return Err(io::Error::from_raw_os_error(number));
            }
            return send_headers(socket, &mut self.headers[at..at + single]);
        }
        send_headers(socket, &mut self.headers[at..])
    }

    /// Draws the consequence from the refusal of message `at`, which has several datagrams. Returns whether to try again.
    fn learn(&mut self, socket: &UdpSocket, at: usize, error: &io::Error) -> bool {
        let Message { to, segment, .. } = self.messages[at];
        match lesson(error) {
            Lesson::Refused => return false,
            Lesson::Never => {
                tracing::info!(local = %socket.local(), %error, "no segmentation offload for UDP");
                socket.stop_segmenting();
                self.split(at, |_| true);
            }
            Lesson::Narrow => {
                tracing::debug!(%to, segment, %error, "datagrams of this size go one by one");
                self.note_narrow(to.ip(), segment);
                self.split(at, |message| message.to.ip() == to.ip() && message.segment >= segment);
            }
        }
        self.lay_out();
        true
    }

    /// Makes single datagrams of the messages from `at` on that are `chosen`.
    fn split(&mut self, at: usize, chosen: impl Fn(&Message) -> bool) {
        let rest = self.messages.split_off(at);
        let slices = std::mem::take(&mut self.slices);
        // Those before `at` are sent: their slices are not needed any more.
        for message in rest {
            let own = &slices[message.slices.clone()];
            if message.datagrams == 1 || !chosen(&message) {
                let start = self.slices.len();
                self.slices.extend_from_slice(own);
                self.messages.push(Message { slices: start..self.slices.len(), ..message });
                continue;
            }
            for slice in own {
                // Each holds whole datagrams.
                for offset in (0..slice.iov_len).step_by(message.segment) {
                    let octets = message.segment.min(slice.iov_len - offset);
                    let start = self.slices.len();
                    let iov_base = slice.iov_base.wrapping_byte_add(offset);
                    self.slices.push(libc::iovec { iov_base, iov_len: octets });
                    self.messages.push(Message {
                        to: message.to,
                        address: message.address.clone(),
                        slices: start..start + 1,
                        datagrams: 1,
                        octets,
                        segment: octets,
                        ecn: message.ecn,
                        open: false,
                    });
                }
            }
        }
        for message in &mut self.messages[..at] {
            message.slices = 0..0;
        }
    }

    /// Builds the headers from messages and slices.
    fn lay_out(&mut self) {
        self.headers.clear();
        self.controls.clear();
        self.controls.resize(self.messages.len(), Control::default());
        for (message, control) in self.messages.iter().zip(&mut self.controls) {
            let slices = &mut self.slices[message.slices.clone()];
            let mut header = empty_header();
            header.msg_hdr.msg_name = message.address.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = message.address.len();
            header.msg_hdr.msg_iov = slices.as_mut_ptr();
            header.msg_hdr.msg_iovlen = slices.len() as _;
            // No larger than MAX_OCTETS.
            let segment = (message.datagrams > 1).then_some(message.segment as u16);
            let ecn = (message.ecn != 0).then_some((message.ecn, message.to.is_ipv6()));
            if segment.is_some() || ecn.is_some() {
                add_controls(&mut header.msg_hdr, control, segment, ecn);
            }
            self.headers.push(header);
        }
    }
}

fn count(messages: &[Message]) -> usize {
    messages.iter().map(|m| m.datagrams).sum()
}

fn slice(data: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() }
}

/// Adds control messages to a header: cut into datagrams of so many octets; these ECN bits, over IPv6 or not.
#[allow(unsafe_code)]
fn add_controls(
    header: &mut libc::msghdr,
    control: &mut Control,
    segment: Option<u16>,
    ecn: Option<(u8, bool)>,
) {
    header.msg_control = (&raw mut *control).cast();
    header.msg_controllen = size_of_val(control) as _;
    let mut used = 0;
    // SAFETY: CMSG_SPACE and CMSG_LEN only calculate. The control buffer is zeroed, aligned, and large enough for two control
    // messages with four octets of data each (checked at compile time), so CMSG_FIRSTHDR and, after a first message of the
    // length written there, CMSG_NXTHDR point inside of it, as do the data of both.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        if let Some(size) = segment {
            (*message).cmsg_level = libc::SOL_UDP;
            (*message).cmsg_type = libc::UDP_SEGMENT;
            (*message).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
            libc::CMSG_DATA(message).cast::<u16>().write_unaligned(size);
            used += libc::CMSG_SPACE(size_of::<u16>() as u32);
            message = libc::CMSG_NXTHDR(header, message);
        }
        if let Some((ecn, ipv6)) = ecn
            && !message.is_null()
        {
            (*message).cmsg_level = if ipv6 { libc::IPPROTO_IPV6 } else { libc::IPPROTO_IP };
            (*message).cmsg_type = if ipv6 { libc::IPV6_TCLASS } else { libc::IP_TOS };
            (*message).cmsg_len = libc::CMSG_LEN(size_of::<libc::c_int>() as u32) as _;
            libc::CMSG_DATA(message).cast::<libc::c_int>().write_unaligned(libc::c_int::from(ecn));
            used += libc::CMSG_SPACE(size_of::<libc::c_int>() as u32);
        }
    }
    header.msg_controllen = used as _;
}

#[allow(unsafe_code)]
fn send_headers(socket: &UdpSocket, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    // The kernel takes 1024 at once; after a split there may be more than BATCH.
    let headers_at_once = headers.len().min(1024);
    // SAFETY: called only while `SendBatch::flush` runs, after `lay_out`, whose headers point at addresses, control buffers,
    // iovecs and data that live until `flush` returns; neighbouring data in one iovec are live slices side by side. The kernel
    // only reads them (and writes `msg_len` of the headers, which we hold exclusively).
    let count = unsafe {
        libc::sendmmsg(
            socket.as_fd().as_raw_fd(),
            headers.as_mut_ptr(),
            headers_at_once as libc::c_uint,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lessons() {
        for (number, expected) in [
            (libc::EIO, Lesson::Never),
            (libc::ENOPROTOOPT, Lesson::Never),
            (libc::EMSGSIZE, Lesson::Narrow),
            (libc::EINVAL, Lesson::Narrow),
            (libc::ENETUNREACH, Lesson::Refused),
            (libc::EPERM, Lesson::Refused),
        ] {
            assert_eq!(lesson(&io::Error::from_raw_os_error(number)), expected, "{number}");
        }
    }

    #[test]
    fn narrow_destinations_are_few_and_forgotten() {
        let mut batch = SendBatch::default();
        let ip = |n: u8| IpAddr::from([10, 0, 0, n]);
        for n in 0..=MAX_NARROW as u8 {
            batch.note_narrow(ip(n), 1400);
        }
        assert_eq!(batch.narrow.len(), MAX_NARROW);
        assert!(batch.is_wide(ip(0), 9000), "the oldest one is forgotten");
        assert!(batch.is_wide(ip(1), 1399));
        for _ in 0..NARROW_FOR {
            assert!(!batch.is_wide(ip(1), 1400));
        }
        assert!(batch.is_wide(ip(1), 1400));
    }
}
