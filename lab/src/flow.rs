//! Numbered datagrams from one machine to another, one every 10 ms: which arrived, how often, and how long none did.
//!
//! They go from sockets of the machines themselves: what is counted at the far interface is what a program there would have got.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::namespace::Namespace;
use crate::tool;
use anyhow::{Context, Result, ensure};

/// Between two datagrams of a direction.
pub const INTERVAL: Duration = Duration::from_millis(10);
/// The receiving port, the same on both machines.
const PORT: u16 = 5151;
/// UDP payload, octets: a number and what makes it as large as a small packet of voice.
const SIZE: usize = 64;
/// A receiver looks so often whether it shall end.
const LOOK: Duration = Duration::from_millis(100);
/// A direction flows when nothing longer than this was missing for [`STEADY`].
const HICCUP: Duration = Duration::from_millis(200);
const STEADY: Duration = Duration::from_secs(1);

/// One datagram, when and with which number it arrived.
type Arrival = (Instant, u64);

/// One direction.
#[derive(Debug, Default)]
struct Shared {
    arrivals: Mutex<Vec<Arrival>>,
    sent: AtomicU64,
    paused: AtomicBool,
    over: AtomicBool,
}

impl Shared {
    fn arrivals(&self) -> std::sync::MutexGuard<'_, Vec<Arrival>> {
        // A list of arrivals is whole whatever happened to the thread that held it.
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Datagrams from one machine to another, until this value goes.
#[derive(Debug)]
pub struct Direction {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Direction {
    /// Begins to send from one namespace to an address of another.
    ///
    /// # Errors
    /// When the sockets cannot be opened. That nothing arrives is none.
    pub fn start(from: &Namespace, to: &Namespace, address: Ipv4Addr) -> Result<Self> {
        // Of no address: the interface and what it has may go and come back.
        let receiver = to.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)))?.context("receiving")?;
        receiver.set_read_timeout(Some(LOOK))?;
        let sender = from.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?.context("sending")?;
        // The kernel keeps what waits for a neighbour's address, and a sender should not wait with it.
        sender.set_nonblocking(true)?;
        let shared = Arc::new(Shared::default());
        let (sending, receiving) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            std::thread::spawn(move || transmit(&sender, address, &sending)),
            std::thread::spawn(move || receive(&receiver, &receiving)),
        ];
        Ok(Self { shared, threads })
    }

    /// How many have been sent: the number of the next.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Acquire)
    }

    /// Sends nothing for a while, or goes on.
    pub fn pause(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::Release);
    }

    /// Forgets what has arrived so far, but for the last `STEADY`.
    pub fn forget(&self) {
        let now = Instant::now();
        self.shared.arrivals().retain(|(time, _)| now.duration_since(*time) <= 2 * STEADY);
    }

    /// Forgets everything that has arrived so far: it flows again when it has for a while from now on.
    pub fn restart(&self) {
        self.shared.arrivals().clear();
    }

    /// Whether datagrams arrive, and have for a while.
    pub fn flows(&self) -> bool {
        let now = Instant::now();
        let begin = now.checked_sub(STEADY).unwrap_or(now);
        longest_gap(times(&self.shared.arrivals()), begin, now) <= HICCUP
    }

    /// The longest time without an arrival between two moments.
    pub fn gap(&self, begin: Instant, end: Instant) -> Duration {
        longest_gap(times(&self.shared.arrivals()), begin, end)
    }

    /// How many of the datagrams numbered `from` to below `to` have not arrived.
    pub fn lost(&self, from: u64, to: u64) -> u64 {
        let arrivals = self.shared.arrivals();
        let there: HashSet<u64> =
            arrivals.iter().map(|(_, number)| *number).filter(|number| (from..to).contains(number)).collect();
        to.saturating_sub(from) - there.len() as u64
    }

    /// How many have arrived that had arrived before, since [`Direction::forget`].
    pub fn repeated(&self) -> u64 {
        let arrivals = self.shared.arrivals();
        let all: HashSet<u64> = arrivals.iter().map(|(_, number)| *number).collect();
        (arrivals.len() - all.len()) as u64
    }
}

/// Datagrams in both directions of a pair of members of a network: from the one to the other, and back.
///
/// # Errors
/// When the sockets cannot be opened. That nothing arrives is none.
pub fn both_ways(cluster: &Cluster, pair: [usize; 2]) -> Result<[Direction; 2]> {
    let space = |index: usize| &cluster.members[index].host.namespace;
    let [a, b] = pair;
    let forth = Direction::start(space(a), space(b), cluster.fixed(b))?;
    let back = Direction::start(space(b), space(a), cluster.fixed(a))?;
    Ok([forth, back])
}

/// Waits until datagrams arrive in both directions, and have for a second.
///
/// # Errors
/// After `limit`: in which directions they do.
pub fn wait_both(flows: &[Direction; 2], limit: Duration) -> Result<()> {
    tool::wait_for("datagrams in both directions", limit, LOOK, || {
        let flowing = flows.each_ref().map(Direction::flows);
        ensure!(flowing == [true; 2], "forth and back: {flowing:?}");
        Ok(Some(()))
    })
}

/// Waits until `count` datagrams of each direction were sent from those numbered `first` on, and all of them have arrived.
///
/// # Errors
/// After `limit`: how many of each direction have not.
pub fn wait_all(flows: &[Direction; 2], first: [u64; 2], count: u64, limit: Duration) -> Result<()> {
    tool::wait_for(&format!("{count} datagrams in each direction"), limit, LOOK, || {
        let lost = [0, 1].map(|way: usize| flows[way].lost(first[way], first[way] + count));
        ensure!(lost == [0; 2], "{lost:?} of {count} have not arrived");
        Ok(Some(()))
    })
}

impl Drop for Direction {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

/// The longest part of `begin` to `end` without one of the moments, which are in order.
pub(crate) fn longest_gap(moments: impl Iterator<Item = Instant>, begin: Instant, end: Instant) -> Duration {
    let (mut last, mut longest) = (begin, Duration::ZERO);
    for moment in moments.filter(|moment| (begin..=end).contains(moment)) {
        longest = longest.max(moment.saturating_duration_since(last));
        last = moment;
    }
    longest.max(end.saturating_duration_since(last))
}

fn times(arrivals: &[Arrival]) -> impl Iterator<Item = Instant> {
    arrivals.iter().map(|(time, _)| *time)
}

fn transmit(socket: &UdpSocket, address: Ipv4Addr, shared: &Shared) {
    let mut datagram = [0x55; SIZE];
    let mut due = Instant::now();
    while !shared.over.load(Ordering::Acquire) {
        if !shared.paused.load(Ordering::Acquire) {
            let number = shared.sent.load(Ordering::Acquire);
            datagram[..8].copy_from_slice(&number.to_le_bytes());
            shared.sent.store(number + 1, Ordering::Release);
            // No interface, no route, no neighbour, a full queue: a loss like any other.
            let _ = socket.send_to(&datagram, (address, PORT));
        }
        due += INTERVAL;
        let now = Instant::now();
        if due < now {
            // Nothing is made up for: that would be a burst.
            due = now;
        }
        std::thread::sleep(due - now);
    }
}

fn receive(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = [0; 2048];
    while !shared.over.load(Ordering::Acquire) {
        match socket.recv(&mut buffer) {
            Ok(length) if length == SIZE => {
                let number = buffer[..8].try_into().map_or(u64::MAX, u64::from_le_bytes);
                shared.arrivals().push((Instant::now(), number));
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => std::thread::sleep(INTERVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_counts_from_the_beginning_and_to_the_end() {
        let zero = Instant::now();
        let at = |ms: u64| zero + Duration::from_millis(ms);
        let arrivals = [(at(10), 0), (at(20), 1), (at(420), 2), (at(430), 3)];
        let gap = |begin, end| longest_gap(times(&arrivals), at(begin), at(end)).as_millis();
        assert_eq!(gap(0, 440), 400);
        assert_eq!(gap(100, 440), 320, "what was missing before does not count");
        assert_eq!(gap(15, 430), 400);
        assert_eq!(gap(425, 1000), 570, "nothing after the last one");
        assert_eq!(gap(500, 1000), 500, "nothing at all");
    }
}
