//! Numbered datagrams in both directions of a pair, one every 10 ms, and how long none of them arrived.
//!
//! They go through the virtual addresses, from sockets of the machines themselves: what is counted at the far interface is what a
//! program there would have got.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::Namespace;

/// Between two datagrams of a direction.
pub(crate) const INTERVAL: Duration = Duration::from_millis(10);
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
#[derive(Default)]
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
pub(crate) struct Direction {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Direction {
    /// Begins to send from one namespace to an address of another.
    ///
    /// # Errors
    /// When the sockets cannot be opened. That nothing arrives is none.
    pub(crate) fn start(from: &Namespace, to: &Namespace, address: Ipv4Addr) -> Result<Self> {
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
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Acquire)
    }

    /// Sends nothing for a while, or goes on.
    pub(crate) fn pause(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::Release);
    }

    /// Forgets what has arrived so far, but for the last [`STEADY`].
    pub(crate) fn forget(&self) {
        let now = Instant::now();
        self.shared.arrivals().retain(|(time, _)| now.duration_since(*time) <= 2 * STEADY);
    }

    /// Whether datagrams arrive, and have for a while.
    pub(crate) fn flows(&self) -> bool {
        let now = Instant::now();
        let begin = now.checked_sub(STEADY).unwrap_or(now);
        longest_gap(&self.shared.arrivals(), begin, now) <= HICCUP
    }

    /// The longest time without an arrival between two moments.
    pub(crate) fn gap(&self, begin: Instant, end: Instant) -> Duration {
        longest_gap(&self.shared.arrivals(), begin, end)
    }

    /// How many of the datagrams numbered `from` to below `to` have not arrived.
    pub(crate) fn lost(&self, from: u64, to: u64) -> u64 {
        let arrivals = self.shared.arrivals();
        let there: HashSet<u64> =
            arrivals.iter().map(|(_, number)| *number).filter(|number| (from..to).contains(number)).collect();
        to.saturating_sub(from) - there.len() as u64
    }
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

/// The longest part of `begin` to `end` without an arrival.
fn longest_gap(arrivals: &[Arrival], begin: Instant, end: Instant) -> Duration {
    let (mut last, mut longest) = (begin, Duration::ZERO);
    for (time, _) in arrivals.iter().filter(|(time, _)| (begin..=end).contains(time)) {
        longest = longest.max(time.saturating_duration_since(last));
        last = *time;
    }
    longest.max(end.saturating_duration_since(last))
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
        let gap = |begin, end| longest_gap(&arrivals, at(begin), at(end)).as_millis();
        assert_eq!(gap(0, 440), 400);
        assert_eq!(gap(100, 440), 320, "what was missing before does not count");
        assert_eq!(gap(15, 430), 400);
        assert_eq!(gap(425, 1000), 570, "nothing after the last one");
        assert_eq!(gap(500, 1000), 500, "nothing at all");
    }
}
