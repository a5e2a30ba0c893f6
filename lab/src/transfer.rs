//! A stream of octets over TCP, as fast as it goes or at a pace, with its SHA-256 at both ends and the moments at which some arrived.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use sha2::{Digest, Sha256};

use crate::flow::longest_gap;
use crate::namespace::Namespace;
use crate::traffic::Pattern;

/// What is written at once.
const BLOCK: usize = 16 * 1024;
/// Both ends look so often whether they shall end.
const LOOK: Duration = Duration::from_millis(200);
/// So much a busy machine may make a sender late.
pub const LATE: Duration = Duration::from_millis(100);

/// What is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// How much, octets: less where [`Transfer::enough`] is called before.
    pub octets: u64,
    /// Whoever connects gets them, in place of sending them.
    pub back: bool,
    /// Octets a second at most; as many as there is room for without it. A delay of more than [`LATE`] is not made up for.
    pub pace: Option<f64>,
    /// What has not arrived after this is given up, connecting included.
    pub limit: Duration,
}

/// What arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    /// How much, octets.
    pub octets: u64,
    /// From before connecting to the last octet.
    pub time: Duration,
    /// The SHA-256 of what was sent is that of what arrived.
    pub right: bool,
}

#[derive(Debug, Default)]
struct Shared {
    /// When octets were read.
    moments: Mutex<Vec<Instant>>,
    enough: AtomicBool,
    over: AtomicBool,
}

impl Shared {
    fn moments(&self) -> std::sync::MutexGuard<'_, Vec<Instant>> {
        // A list of moments is whole whatever happened to the thread that held it.
        self.moments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, deadline: Instant) -> Result<()> {
        ensure!(!self.over.load(Ordering::Acquire), "it was given up");
        ensure!(Instant::now() < deadline, "it takes too long");
        Ok(())
    }
}

/// A stream under way. It is given up when this value goes.
#[derive(Debug)]
pub struct Transfer {
    shared: Arc<Shared>,
    begin: Instant,
    sending: Option<JoinHandle<Result<Passed>>>,
    receiving: Option<JoinHandle<Result<(Instant, Passed)>>>,
}

/// What one end has seen go by.
#[derive(Debug, PartialEq, Eq)]
struct Passed {
    octets: u64,
    sha256: Vec<u8>,
}

impl Transfer {
    /// Connects from one namespace to an address of another, and begins to send.
    ///
    /// # Errors
    /// When nothing can listen there, or it cannot be connected to within the limit.
    pub fn start(from: &Namespace, to: &Namespace, address: IpAddr, order: Order) -> Result<Self> {
        let listener =
            to.inside(|| TcpListener::bind((address, 0)))?.with_context(|| format!("listen on {address}"))?;
        let place = listener.local_addr()?;
        let begin = Instant::now();
        let deadline = begin + order.limit;
        let mut sender = from
            .inside(|| TcpStream::connect_timeout(&place, order.limit))?
            .with_context(|| format!("TCP from {} to {address}", from.name()))?;
        let (mut receiver, _) = listener.accept()?;
        if order.back {
            std::mem::swap(&mut sender, &mut receiver);
        }
        sender.set_write_timeout(Some(LOOK))?;
        receiver.set_read_timeout(Some(LOOK))?;
        let shared = Arc::new(Shared::default());
        let (near, far) = (Arc::clone(&shared), Arc::clone(&shared));
        let sending = std::thread::spawn(move || send(&mut sender, order, deadline, &near));
        let receiving = std::thread::spawn(move || receive(&mut receiver, deadline, &far));
        Ok(Self { shared, begin, sending: Some(sending), receiving: Some(receiving) })
    }

    /// Whether everything has arrived, or it was given up.
    pub fn is_over(&self) -> bool {
        self.receiving.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Nothing more is sent. What was sent has to arrive.
    pub fn enough(&self) {
        self.shared.enough.store(true, Ordering::Release);
    }

    /// The longest time without an octet at the receiver between two moments.
    pub fn gap(&self, begin: Instant, end: Instant) -> Duration {
        longest_gap(self.shared.moments().iter().copied(), begin, end)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When it broke off, took longer than its limit, or more or less arrived than was sent.
    pub fn finish(mut self) -> Result<Arrived> {
        let (Some(sending), Some(receiving)) = (self.sending.take(), self.receiving.take()) else {
            bail!("it has ended already");
        };
        let received = receiving.join().map_err(|_| anyhow!("the receiving thread panicked"))?;
        if received.is_err() {
            self.shared.over.store(true, Ordering::Release);
        }
        let sent = sending.join().map_err(|_| anyhow!("the sending thread panicked"))?;
        // A receiver that gives up breaks the sender's pipe: its reason is the one to tell.
        let (end, received) = received?;
        let sent = sent?;
        ensure!(sent.octets == received.octets, "{} of {} octets arrived", received.octets, sent.octets);
        Ok(Arrived {
            octets: sent.octets,
            time: end.duration_since(self.begin),
            right: sent.sha256 == received.sha256,
        })
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        // What they have to say nobody wants to know any more.
        if let Some(thread) = self.sending.take() {
            let _ = thread.join();
        }
        if let Some(thread) = self.receiving.take() {
            let _ = thread.join();
        }
    }
}

/// Whether an attempt has only to be made again.
fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn send(stream: &mut TcpStream, order: Order, deadline: Instant, shared: &Shared) -> Result<Passed> {
    let (mut pattern, mut block, mut hash) = (Pattern::default(), vec![0; BLOCK], Sha256::new());
    let (mut left, mut due) = (order.octets, Instant::now());
    while left > 0 && !shared.enough.load(Ordering::Acquire) {
        let length = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        pattern.fill(&mut block);
        let mut rest = &block[..length];
        hash.update(rest);
        while !rest.is_empty() {
            shared.check(deadline)?;
            match stream.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if is_passing(error.kind()) => {}
                Err(error) => return Err(error).context("sending"),
            }
        }
        left -= length as u64;
        if let Some(pace) = order.pace {
            let now = Instant::now();
            due = (due + Duration::from_secs_f64(length as f64 / pace))
                .max(now.checked_sub(LATE).unwrap_or(now));
            std::thread::sleep(due.saturating_duration_since(now));
        }
    }
    stream.shutdown(Shutdown::Write)?;
    // Not closed before everything has arrived: the kernel soon gives up on a stream that nobody holds any more.
    stream.set_read_timeout(Some(LOOK))?;
    loop {
        match stream.read(&mut [0]) {
            Err(error) if is_passing(error.kind()) => shared.check(deadline)?,
            // The other end is gone: it says itself whether it has everything.
            _ => return Ok(Passed { octets: order.octets - left, sha256: hash.finalize().to_vec() }),
        }
    }
}

fn receive(stream: &mut TcpStream, deadline: Instant, shared: &Shared) -> Result<(Instant, Passed)> {
    let (mut buffer, mut hash, mut octets, mut end) = (vec![0; 4 * BLOCK], Sha256::new(), 0, Instant::now());
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok((end, Passed { octets, sha256: hash.finalize().to_vec() })),
            Ok(length) => {
                end = Instant::now();
                shared.moments().push(end);
                hash.update(&buffer[..length]);
                octets += length as u64;
            }
            Err(error) if is_passing(error.kind()) => {}
            Err(error) => return Err(error).with_context(|| format!("after {octets} octets")),
        }
        shared.check(deadline).with_context(|| format!("{octets} octets arrived"))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_counts_from_the_beginning_and_to_the_end() {
        let zero = Instant::now();
        let at = |ms: u64| zero + Duration::from_millis(ms);
        let moments = [at(10), at(20), at(420)];
        assert_eq!(longest_gap(moments.into_iter(), at(0), at(430)).as_millis(), 400);
        assert_eq!(longest_gap(moments.into_iter(), at(300), at(430)).as_millis(), 120);
        assert_eq!(longest_gap(moments.into_iter(), at(400), at(1000)).as_millis(), 580);
    }

    /// Both ends of a connection, and what they take part in.
    fn streams() -> (TcpStream, TcpStream, Instant, Shared) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        far.set_read_timeout(Some(LOOK)).unwrap();
        (near, far, Instant::now() + Duration::from_secs(60), Shared::default())
    }

    #[test]
    fn what_arrives_has_the_hash_of_what_was_sent() {
        let (mut near, mut far, deadline, shared) = streams();
        let order = Order { octets: 100_001, back: false, pace: Some(1e7), limit: Duration::from_secs(60) };
        let (sent, received) = std::thread::scope(|scope| {
            let sending = scope.spawn(|| send(&mut near, order, deadline, &shared));
            let received = receive(&mut far, deadline, &shared);
            drop(far);
            (sending.join().unwrap().unwrap(), received.unwrap())
        });
        assert_eq!(sent, received.1);
        assert_eq!(sent.octets, order.octets);
        assert!(!shared.moments().is_empty());
    }

    #[test]
    fn who_takes_too_long_is_given_up() {
        let (_near, mut far, _, shared) = streams();
        let error = receive(&mut far, Instant::now(), &shared).unwrap_err();
        assert!(format!("{error:#}").contains("0 octets arrived: it takes too long"), "{error:#}");
    }
}
