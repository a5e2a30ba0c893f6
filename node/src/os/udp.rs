//! UDP sockets: one per local address and port, tied to its interface, with large buffers, with segmentation and merging by
//! the kernel where it can, and without path MTU discovery.
//!
//! What a socket sends leaves by the interface that has its address, whatever the routes of joined networks say. What comes in
//! for the address is taken from any interface but our own ports: a router's address for the internet is reached from its LAN,
//! too.
//!
//! Specification: node behaviour, "sockets, ports, interfaces". Datagrams may be fragmented by IP on the way (DF clear):
//! the datagram size is a convention of both ends, and a lost fragment is better than a black hole.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket as StdUdp};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, getsockopt, sendmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::packet_filter;

/// Socket buffers we ask for, in bytes: some milliseconds at several Gbit/s.
pub const WANTED_BUFFER: usize = 4 << 20;

/// Mark of all that our sockets send (`SO_MARK`), in the bits of [`MARK_MASK`]: by it policy rules and ports know our own
/// packets. Upper bits are left to what uses them: container networks, load balancers and other VPNs.
pub const MARK: u32 = 0x7a;
/// See [`MARK`].
pub const MARK_MASK: u32 = 0xff;

/// How a socket is tied to the interface that has its address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Tie {
    /// What is sent leaves by the interface of this index.
    Sending(u32),
    /// Both ways, by index and name, as a VRF demands: nothing is received by another interface.
    Both(u32, String),
}

/// A bound UDP socket, non-blocking, close-on-exec.
#[derive(Debug)]
pub struct UdpSocket {
    socket: StdUdp,
    local: SocketAddr,
    /// Whether a message may be cut into datagrams. Once refused, for good.
    segments: AtomicBool,
    /// Whether datagrams arrive merged.
    merges: bool,
    buffers: Buffers,
}

/// Room for waiting datagrams that the kernel granted a socket, in bytes; [`WANTED_BUFFER`] was asked for. Without
/// CAP_NET_ADMIN the limits are `net.core.rmem_max` and `net.core.wmem_max`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Buffers {
    /// For datagrams that wait for us.
    pub receive: usize,
    /// For datagrams that wait for the interface.
    pub send: usize,
}

impl Buffers {
    /// The smallest of several sockets; `None` for none.
    pub fn smallest<S: AsRef<UdpSocket>>(sockets: &[S]) -> Option<Self> {
        let all = sockets.iter().map(|socket| socket.as_ref().buffers());
        all.reduce(|a, b| Buffers { receive: a.receive.min(b.receive), send: a.send.min(b.send) })
    }
}

impl UdpSocket {
    /// Binds `local`, and ties it.
    ///
    /// # Errors
    /// What the kernel says: address in use, address gone …
    pub fn bind(local: SocketAddr, tie: Option<&Tie>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
        if local.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        enlarge_buffers(&socket);
        set_path_mtu_discovery(&socket, local.is_ipv6(), libc::IP_PMTUDISC_DONT)?;
        ask_for_ecn(&socket, local.is_ipv6())?;
        socket.set_nonblocking(true)?;
        socket.bind(&local.into())?;
        // Older kernels would take the control message of a send for nothing and send one huge datagram: ask first.
        let segments = AtomicBool::new(getsockopt(&socket, sockopt::UdpGsoSegment).is_ok());
        let merges = setsockopt(&socket, sockopt::UdpGroSegment, &true).is_ok();
        // To know how long a datagram has waited; without it nobody is told to slow down.
        if let Err(error) = setsockopt(&socket, sockopt::ReceiveTimestampns, &true) {
            tracing::debug!(%local, %error, "no times of arrival");
        }
        let buffers = granted(&socket)?;
        let socket = StdUdp::from(socket);
        let local = socket.local_addr()?;
        let bound = UdpSocket { socket, local, segments, merges, buffers };
        bound.tie(tie);
        Ok(bound)
    }

    /// Gives all that is sent from now on the [`MARK`].
    pub fn mark(&self) {
        // A node without CAP_NET_ADMIN may not, but has no ports that could draw its packets in either.
        if let Err(error) = SockRef::from(&self.socket).set_mark(MARK) {
            tracing::debug!(local = %self.local, %error, "packets are not marked");
        }
    }

    /// Ties the socket to another interface, or to none: then routes and the [`MARK`] decide. Best effort: without it the socket
    /// works, but routes of a joined network may catch what it sends.
    pub fn tie(&self, tie: Option<&Tie>) {
        let (sending, both) = match tie {
            None => (0, None),
            Some(Tie::Sending(index)) => (*index, None),
            Some(Tie::Both(_, name)) => (0, Some(name.as_bytes())),
        };
        let socket = SockRef::from(&self.socket);
        // An error: the interface it was bound to has gone.
        let by_device = || match (both, socket.device()) {
            // Older kernels let nobody without CAP_NET_RAW say even this.
            (None, Ok(None)) => Ok(()),
            _ => socket.bind_device(both),
        };
        if let Err(error) = by_device().and_then(|()| self.send_by(sending)) {
            tracing::debug!(local = %self.local, ?tie, %error, "the socket is not tied to its interface");
        }
    }

    /// What is sent from now on leaves by the interface of this index; 0 = as routes say. IPv6 takes it for a preference.
    fn send_by(&self, index: u32) -> io::Result<()> {
        let (level, name) = if self.local.is_ipv6() {
            (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_IF)
        } else {
            (libc::IPPROTO_IP, libc::IP_UNICAST_IF)
        };
        set_option(&self.socket, level, name, index.to_be().cast_signed())
    }

    /// Refuses what comes in by our own ports: interfaces with these indices.
    pub fn refuse_from(&self, ports: &BTreeSet<u32>) {
        if let Err(error) = packet_filter::refuse_from(&SockRef::from(&self.socket), ports) {
            tracing::debug!(local = %self.local, %error, "the socket takes what comes by our own ports");
        }
    }

    /// The same socket, but every message is one datagram, in and out, as with a kernel that knows nothing else.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn without_offloads(mut self) -> io::Result<Self> {
        if self.merges {
            setsockopt(&self.socket, sockopt::UdpGroSegment, &false)?;
        }
        self.merges = false;
        self.stop_segmenting();
        Ok(self)
    }

    /// Whether one message may carry several datagrams for the kernel to cut (`UDP_SEGMENT`).
    pub fn segments(&self) -> bool {
        self.segments.load(Ordering::Relaxed)
    }

    /// The kernel or the interface refused to cut: single datagrams from now on.
    pub fn stop_segmenting(&self) {
        self.segments.store(false, Ordering::Relaxed);
    }

    /// Whether a message from the kernel may hold several datagrams (`UDP_GRO`).
    pub fn merges(&self) -> bool {
        self.merges
    }

    /// The buffers the kernel granted.
    pub fn buffers(&self) -> Buffers {
        self.buffers
    }

    /// How many datagrams the kernel dropped on their way into the socket since it was made: there was no room in its buffer,
    /// or they were damaged. `None` from kernels that do not tell (before Linux 4.12).
    #[allow(unsafe_code)]
    pub fn dropped(&self) -> Option<u32> {
        /// Where the count stands among the numbers of `SO_MEMINFO` (`SK_MEMINFO_DROPS`).
        const DROPS: usize = 8;
        let mut numbers = [0u32; DROPS + 1];
        let mut length = size_of_val(&numbers) as libc::socklen_t;
        // SAFETY: the descriptor is open; pointer and length describe a live array, of which the kernel writes at most that
        // many octets, and the length.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                numbers.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        (result == 0 && length as usize == size_of_val(&numbers)).then_some(numbers[DROPS])
    }

    /// The bound address.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends one datagram that dies after `ttl` hops: it opens the NAT on our side without reaching the other end.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn send_with_ttl(&self, data: &[u8], to: SocketAddr, ttl: u8) -> io::Result<()> {
        let ttl = libc::c_int::from(ttl);
        let control =
            if to.is_ipv6() { ControlMessage::Ipv6HopLimit(&ttl) } else { ControlMessage::Ipv4Ttl(&ttl) };
        let to = SockaddrStorage::from(to);
        sendmsg(
            self.socket.as_raw_fd(),
            &[IoSlice::new(data)],
            &[control],
            MsgFlags::MSG_DONTWAIT,
            Some(&to),
        )?;
        Ok(())
    }

    /// Sends one datagram that neither this machine nor a router may fragment, whatever is known about the path: it shows what
    /// the path takes. Datagrams that other threads send at the same moment are treated alike.
    ///
    /// # Errors
    /// What the kernel says; `EMSGSIZE` where our own interface is too narrow.
    pub fn send_whole(&self, data: &[u8], to: SocketAddr) -> io::Result<()> {
        let ipv6 = self.local.is_ipv6();
        set_path_mtu_discovery(&self.socket, ipv6, libc::IP_PMTUDISC_PROBE)?;
        let sent = self.socket.send_to(data, to);
        set_path_mtu_discovery(&self.socket, ipv6, libc::IP_PMTUDISC_DONT)?;
        sent.map(drop)
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn enlarge_buffers(socket: &Socket) {
    // FORCE needs CAP_NET_ADMIN and passes the system's limit; the plain form is cut to it silently.
    if setsockopt(socket, sockopt::RcvBufForce, &WANTED_BUFFER).is_err() {
        let _ = socket.set_recv_buffer_size(WANTED_BUFFER);
    }
    if setsockopt(socket, sockopt::SndBufForce, &WANTED_BUFFER).is_err() {
        let _ = socket.set_send_buffer_size(WANTED_BUFFER);
    }
}

/// What became of the wish. The kernel says twice as much, for its own accounts.
fn granted(socket: &Socket) -> io::Result<Buffers> {
    Ok(Buffers { receive: socket.recv_buffer_size()? / 2, send: socket.send_buffer_size()? / 2 })
}

/// From now on every message tells the ECN bits it arrived with.
fn ask_for_ecn(socket: &Socket, ipv6: bool) -> io::Result<()> {
    if ipv6 { socket.set_recv_tclass_v6(true) } else { socket.set_recv_tos_v4(true) }
}

/// Whether IP may fragment what is sent from now on: `mode` is one of `IP_PMTUDISC_…`, whose numbers IPv6 shares.
fn set_path_mtu_discovery(socket: &impl AsRawFd, ipv6: bool, mode: libc::c_int) -> io::Result<()> {
    let (level, name) = if ipv6 {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER)
    } else {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)
    };
    set_option(socket, level, name, mode)
}

#[allow(unsafe_code)]
fn set_option(
    socket: &impl AsRawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the descriptor is open, and pointer and length describe a live c_int that the kernel only reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether `port` is free: UDP and TCP on the IPv4 wildcard, or both on the IPv6 wildcard.
///
/// # Errors
/// The first reason why it is not.
pub fn probe_port(port: u16) -> io::Result<()> {
    fn both(wildcard: SocketAddr) -> io::Result<()> {
        let udp = Socket::new(Domain::for_address(wildcard), Type::DGRAM, Some(Protocol::UDP))?;
        if wildcard.is_ipv6() {
            udp.set_only_v6(true)?;
        }
        udp.bind(&wildcard.into())?;
        super::tcp::bind(wildcard).map(drop)
    }
    let v4 = both(SocketAddr::from(([0, 0, 0, 0], port)));
    if v4.is_ok() {
        return Ok(());
    }
    both(SocketAddr::from(([0u16; 8], port))).or(v4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_noticed() {
        let taken = StdUdp::bind("0.0.0.0:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let v6 = StdUdp::bind(("::", port));
        if v6.is_ok() || !std::path::Path::new("/proc/net/if_inet6").exists() {
            assert!(probe_port(port).is_err());
        }
        drop((taken, v6));
        probe_port(port).unwrap();
    }

    #[test]
    fn counts_what_did_not_fit() {
        let sender = StdUdp::bind("127.0.0.1:0").unwrap();
        let receiver = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), None).unwrap();
        assert_eq!(receiver.dropped(), Some(0));
        setsockopt(&receiver, sockopt::RcvBuf, &4096usize).unwrap();
        for _ in 0..100 {
            sender.send_to(&[0; 1000], receiver.local()).unwrap();
        }
        assert!(receiver.dropped().unwrap() > 50);
    }

    #[test]
    fn whole_or_not_at_all() {
        crate::os::testing::in_namespace(|| {
            crate::os::testing::ip("link set lo mtu 1500");
            for address in ["127.0.0.1:0", "[::1]:0"] {
                let sender = UdpSocket::bind(address.parse().unwrap(), None).unwrap();
                let receiver = StdUdp::bind(address).unwrap();
                let to = receiver.local_addr().unwrap();
                sender.send_whole(&[7; 1432], to).unwrap();
                let refused = sender.send_whole(&[7; 1473], to).unwrap_err();
                assert_eq!(refused.raw_os_error(), Some(libc::EMSGSIZE));
                // And then again as ever.
                sender.socket.send_to(&[8; 3000], to).unwrap();
                let mut buffer = [0; 4000];
                assert_eq!(receiver.recv(&mut buffer).unwrap(), 1432);
                assert_eq!(receiver.recv(&mut buffer).unwrap(), 3000);
            }
        });
    }

    /// Frames that left by an interface.
    fn sent_by(name: &str) -> u64 {
        let words = ["-s", "-j", "link", "show", "dev", name];
        let output = std::process::Command::new("ip").args(words).output().unwrap();
        let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        shown[0]["stats64"]["tx"]["packets"].as_u64().unwrap()
    }

    #[test]
    fn sends_by_its_interface_and_receives_by_any() {
        use crate::dataplane::vnet::Offload;
        use crate::os::tap::{Backend, Tap};
        use crate::os::testing::{in_namespace, ip};
        in_namespace(|| {
            // Nothing else is to be counted, and nothing filtered.
            for (name, value) in [
                ("ipv6/conf/default/disable_ipv6", "1"),
                ("ipv4/conf/all/rp_filter", "0"),
                ("ipv4/conf/default/rp_filter", "0"),
            ] {
                let _ = std::fs::write(format!("/proc/sys/net/{name}"), value);
            }
            for (number, name) in [(1, "one"), (2, "two")] {
                ip(&format!("link add {name} type veth peer name {name}far"));
                ip(&format!("link set {name}far up"));
                ip(&format!("addr add 10.{number}.0.1/24 dev {name}"));
                ip(&format!("link set {name} up"));
                ip(&format!("neigh add 10.{number}.0.9 lladdr 02:00:00:00:00:09 dev {name}"));
            }
            ip("route add default via 10.1.0.9 dev one");
            ip("route add 0.0.0.0/1 via 10.2.0.9 dev two");
            let index = |name: &str| nix::net::if_::if_nametoindex(name).unwrap();
            let one = Tie::Sending(index("one"));
            let socket = UdpSocket::bind("10.1.0.1:0".parse().unwrap(), Some(&one)).unwrap();
            let send = |by: &str| {
                let before = sent_by(by);
                socket.send_with_ttl(b"x", "80.0.1.1:9993".parse().unwrap(), 9).unwrap();
                assert_eq!(sent_by(by), before + 1, "by {by}");
            };
            // Somebody at a third link sends to the address of the first.
            let Ok(side) = Tap::open("side", Backend::Plain) else { return eprintln!("skipped: no TAP") };
            ip("addr add 10.3.0.1/24 dev side");
            ip("link set side up");
            let receives = || {
                let frame = datagram("10.3.0.9:9", socket.local());
                side.write(&Offload::PLAIN, &frame).unwrap();
                let mut buffer = [0; 8];
                // It is there when it was written.
                socket.socket.recv(&mut buffer).is_ok()
            };
            send("one");
            assert!(receives());
            socket.tie(None);
            send("two");
            assert!(receives());
            socket.tie(Some(&Tie::Both(index("one"), "one".into())));
            send("one");
            assert!(!receives(), "both ways");
            socket.tie(Some(&one));
            send("one");
            assert!(receives());
            socket.refuse_from(&BTreeSet::from([index("side")]));
            assert!(!receives(), "by our own port");
        });
    }

    #[test]
    fn is_tied_anew_when_its_interface_was_made_anew() {
        crate::os::testing::in_namespace(|| {
            use crate::os::testing::ip;
            let made = || {
                ip("link add eth0 type veth peer name far");
                Tie::Both(nix::net::if_::if_nametoindex("eth0").unwrap(), "eth0".into())
            };
            let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), Some(&made())).unwrap();
            let device = || SockRef::from(&socket.socket).device();
            assert_eq!(device().unwrap(), Some(b"eth0".to_vec()));
            ip("link del eth0");
            assert!(device().is_err(), "it is bound to what is not there any more");
            socket.tie(Some(&made()));
            assert_eq!(device().unwrap(), Some(b"eth0".to_vec()));
            ip("link del eth0");
            socket.tie(None);
            assert_eq!(device().unwrap(), None);
        });
    }

    /// A frame to everybody on a link, with one octet in a datagram.
    fn datagram(from: &str, to: SocketAddr) -> Vec<u8> {
        let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from.parse().unwrap(), to) else { panic!("IPv4") };
        let mut packet = vec![0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0];
        packet.extend(from.ip().octets());
        packet.extend(to.ip().octets());
        let words = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
        let sum = words.sum::<u32>();
        let checksum = !(((sum >> 16) + (sum & 0xffff)) as u16);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        for word in [from.port(), to.port(), 9, 0] {
            packet.extend(word.to_be_bytes());
        }
        packet.push(b'y');
        [&[0xff; 6][..], &[2, 0, 0, 0, 0, 9, 8, 0], &packet].concat()
    }

    #[test]
    fn sends_with_a_short_life() {
        let receiver = StdUdp::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), None).unwrap();
        sender.send_with_ttl(b"hello", receiver.local_addr().unwrap(), 2).unwrap();
        let mut buffer = [0; 16];
        let (n, from) = receiver.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..n], from), (&b"hello"[..], sender.local()));
    }
}
