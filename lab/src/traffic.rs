//! What goes over the overlay: pings, streams that are checked byte by byte, multicast and broadcast datagrams.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket,
};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, bind, send, setsockopt, socket, sockopt,
};

use crate::namespace::Namespace;
use crate::tool;

/// One echo request; the round trip in milliseconds, or `None` when nothing came back within `limit` (or there is no
/// route yet).
///
/// # Errors
/// When `ping` cannot be started.
pub fn ping(from: &Namespace, to: IpAddr, limit: Duration) -> Result<Option<f64>> {
    let wait = format!("{:.2}", limit.as_secs_f64());
    let said = from.said("ping", &["-n", "-c", "1", "-W", &wait, &to.to_string()])?;
    Ok(said.stdout.split("time=").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()))
}

/// Pings until the first answer.
///
/// # Errors
/// After `limit` without one.
pub fn first_ping(from: &Namespace, to: IpAddr, limit: Duration) -> Result<f64> {
    let what = format!("an answer of {to} to {}", from.name());
    tool::wait_for(&what, limit, Duration::from_millis(20), || ping(from, to, Duration::from_millis(250)))
}

/// `count` echo requests, one every `interval`; how many came back.
///
/// # Errors
/// When `ping` cannot be run.
pub fn pings(from: &Namespace, to: IpAddr, count: u32, interval: Duration) -> Result<u32> {
    let mut command = from.command("ping");
    command.args(["-n", "-q", "-c", &count.to_string(), "-i", &format!("{:.3}", interval.as_secs_f64())]);
    command.args(["-W", "1", &to.to_string()]);
    let said = tool::finish(command, None, interval * count + tool::LIMIT)?;
    let received =
        said.stdout.split(',').find_map(|part| part.trim().strip_suffix(" received")?.parse().ok());
    received.with_context(|| format!("no statistics in what ping said: {}{}", said.stdout, said.stderr))
}

/// Whether a TCP connection to `address` can be opened within 1.5 s, while something listens there.
///
/// # Errors
/// When nothing can listen there.
pub fn connects(from: &Namespace, to: &Namespace, address: SocketAddr) -> Result<bool> {
    let _listener =
        to.inside(|| TcpListener::bind(address))?.with_context(|| format!("listen on {address}"))?;
    Ok(from.inside(|| TcpStream::connect_timeout(&address, Duration::from_millis(1500)))?.is_ok())
}

/// Sends a frame, Ethernet header and all, as if the machine's own network stack had: for ethertypes it does not speak.
///
/// # Errors
/// When there is no such interface, or the frame does not fit.
pub fn ethernet(from: &Namespace, interface: &str, frame: &[u8]) -> Result<()> {
    from.inside(|| -> Result<()> {
        let card = nix::ifaddrs::getifaddrs()?
            .filter(|entry| entry.interface_name == interface)
            .find_map(|entry| entry.address?.as_link_addr().copied());
        let card = card.with_context(|| format!("no interface {interface}"))?;
        let raw = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        bind(std::os::fd::AsRawFd::as_raw_fd(&raw), &card)?;
        send(std::os::fd::AsRawFd::as_raw_fd(&raw), frame, MsgFlags::empty())?;
        Ok(())
    })?
}

/// A reproducible stream of bytes that no compression and no repeated block can imitate.
pub(crate) struct Pattern(u64);

impl Default for Pattern {
    fn default() -> Self {
        Self(SEED)
    }
}

impl Pattern {
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
        }
    }
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const BLOCK: usize = 64 * 1024;

/// Sends `bytes` (rounded up to whole 64 KiB blocks) over one TCP connection; the receiver compares every byte. Returns
/// the time from connecting to the last byte's arrival.
///
/// # Errors
/// When the connection fails, stalls for `limit`, or a byte is wrong, missing or too many.
pub fn tcp(
    from: &Namespace,
    to: &Namespace,
    address: IpAddr,
    bytes: usize,
    limit: Duration,
) -> Result<Duration> {
    let blocks = bytes.div_ceil(BLOCK);
    let listener =
        to.inside(|| TcpListener::bind((address, 0)))?.with_context(|| format!("listen on {address}"))?;
    let port = listener.local_addr()?.port();
    let start = Instant::now();
    let mut sender = from
        .inside(|| TcpStream::connect_timeout(&(address, port).into(), limit))?
        .with_context(|| format!("TCP from {} to {address}", from.name()))?;
    sender.set_write_timeout(Some(limit))?;
    let (mut receiver, _) = listener.accept()?;
    receiver.set_read_timeout(Some(limit))?;
    let checked = std::thread::spawn(move || -> Result<Instant> {
        let (mut pattern, mut expected, mut got) = (Pattern::default(), vec![0; BLOCK], vec![0; BLOCK]);
        for block in 0..blocks {
            pattern.fill(&mut expected);
            receiver.read_exact(&mut got).with_context(|| format!("in block {block} of {blocks}"))?;
            if got != expected {
                bail!("block {block} of {blocks} arrived damaged");
            }
        }
        let end = Instant::now();
        if receiver.read(&mut got[..1])? != 0 {
            bail!("more bytes than were sent");
        }
        Ok(end)
    });
    let (mut pattern, mut block) = (Pattern::default(), vec![0; BLOCK]);
    let sent = (0..blocks).try_for_each(|number| {
        pattern.fill(&mut block);
        sender.write_all(&block).with_context(|| format!("sending block {number} of {blocks}"))
    });
    // Not closed before everything has arrived: the kernel soon gives up on a stream that nobody holds any more.
    let ended = sender.shutdown(Shutdown::Write);
    // A receiver that gives up breaks the sender's pipe: its reason is the one to tell.
    let Ok(received) = checked.join() else { bail!("the receiving thread panicked") };
    let end = received?;
    sent?;
    ended?;
    Ok(end.duration_since(start))
}

/// Where a one-to-many datagram goes.
#[derive(Clone, Copy, Debug)]
pub enum Group {
    /// An IPv4 multicast group.
    V4(Ipv4Addr),
    /// An IPv6 multicast group.
    V6(Ipv6Addr),
    /// An IPv4 broadcast address.
    Broadcast(Ipv4Addr),
}

impl Group {
    /// The Ethernet address its frames go to, as the API shows it.
    pub fn mac(self) -> String {
        let octets = match self {
            Self::V4(ip) => {
                let [_, b, c, d] = ip.octets();
                [1, 0, 0x5e, b & 0x7f, c, d]
            }
            Self::V6(ip) => {
                let o = ip.octets();
                [0x33, 0x33, o[12], o[13], o[14], o[15]]
            }
            Self::Broadcast(_) => [0xff; 6],
        };
        octets.map(|octet| format!("{octet:02x}")).join(":")
    }
}

/// Sends datagrams to a group from one host until each of the listeners (namespace and interface) has got one. Between
/// the listeners' joining and the first datagram, `joined` is called: it may wait until the nodes have noticed.
///
/// # Errors
/// After `limit`: which listeners heard nothing.
pub fn one_to_many(
    from: (&Namespace, &str),
    listeners: &[(&Namespace, &str)],
    group: Group,
    limit: Duration,
    joined: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let message = format!("from {} to {group:?}", from.0.name());
    let sender = from.0.inside(|| open_sender(from.1, group))??;
    let mut waiting = Vec::new();
    let mut port = 0;
    for (namespace, interface) in listeners {
        let socket = namespace.inside(|| open_listener(interface, group, port))??;
        port = socket.local_addr()?.port();
        waiting.push((namespace.name(), socket));
    }
    joined()?;
    let target = match group {
        Group::V4(ip) | Group::Broadcast(ip) => SocketAddr::from((ip, port)),
        Group::V6(ip) => SocketAddrV6::new(ip, port, 0, from.0.inside(|| if_nametoindex(from.1))??).into(),
    };
    let start = Instant::now();
    while !waiting.is_empty() {
        if start.elapsed() > limit {
            let deaf: Vec<&str> = waiting.iter().map(|(name, _)| *name).collect();
            bail!("{message}: nothing heard by {}", deaf.join(", "));
        }
        sender.send_to(message.as_bytes(), target).with_context(|| message.clone())?;
        let mut buffer = [0; 512];
        waiting.retain(|(_, socket)| match socket.recv(&mut buffer) {
            Ok(length) => &buffer[..length] != message.as_bytes(),
            Err(_) => true,
        });
    }
    Ok(())
}

fn open_sender(interface: &str, group: Group) -> Result<UdpSocket> {
    let socket = match group {
        Group::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
        _ => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
    };
    setsockopt(&socket, sockopt::BindToDevice, &OsString::from(interface))?;
    socket.set_broadcast(true)?;
    Ok(socket)
}

fn open_listener(interface: &str, group: Group, port: u16) -> Result<UdpSocket> {
    let socket = match group {
        Group::V6(ip) => {
            let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))?;
            socket.join_multicast_v6(&ip, if_nametoindex(interface)?)?;
            socket
        }
        Group::V4(ip) => {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
            socket.join_multicast_v4(&ip, &interface_ip4(interface)?)?;
            socket
        }
        Group::Broadcast(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?,
    };
    setsockopt(&socket, sockopt::BindToDevice, &OsString::from(interface))?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    Ok(socket)
}

fn interface_ip4(interface: &str) -> Result<Ipv4Addr> {
    let found = nix::ifaddrs::getifaddrs()?.find_map(|entry| {
        if entry.interface_name == interface { Some(entry.address?.as_sockaddr_in()?.ip()) } else { None }
    });
    found.with_context(|| format!("{interface} has no IPv4 address"))
}

/// The hardware address that `from`'s neighbour table (ARP or NDP) has for `ip`.
///
/// # Errors
/// When the table cannot be read.
pub fn neighbour(from: &Namespace, ip: IpAddr) -> Result<Option<String>> {
    let table: serde_json::Value =
        serde_json::from_str(&from.run("ip", &["-j", "neigh", "show", "to", &ip.to_string()])?)?;
    Ok(table[0]["lladdr"].as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_ethernet_addresses() {
        assert_eq!(Group::V4(Ipv4Addr::new(239, 129, 2, 3)).mac(), "01:00:5e:01:02:03");
        assert_eq!(Group::V6(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xa, 7)).mac(), "33:33:00:0a:00:07");
        assert_eq!(Group::Broadcast(Ipv4Addr::BROADCAST).mac(), "ff:ff:ff:ff:ff:ff");
    }

    #[test]
    fn the_pattern_is_reproducible_and_does_not_repeat() {
        let (mut a, mut b) = (Pattern::default(), Pattern::default());
        let (mut x, mut y) = ([0; 100], [0; 100]);
        a.fill(&mut x);
        b.fill(&mut y);
        assert_eq!(x, y);
        a.fill(&mut x);
        assert_ne!(x, y);
    }
}
