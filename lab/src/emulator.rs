//! A line of poor quality in front of a host: delay, loss in bursts, reordering and duplication, by a seed.
//!
//! The host's cable is plugged into a bridge of its own, and what goes between that and the internet's bridge passes through this
//! process, frame by frame, by two TAP devices. A TAP takes no checksums on trust and no segments to cut, so the kernel finishes
//! every frame before it comes here. [`Line`] decides alone what becomes of a frame, without a clock: the same frames at the same
//! moments with the same seed have the same fate.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tun_tap::{Iface, Mode};

use crate::namespace::Namespace;

/// Frames under way at most in each direction; more are lost, as in a router's queue.
const CAP: usize = 10_000;
/// Frames that were read and not yet looked at.
const BACKLOG: usize = 256;
/// The largest frame, octets.
const LARGEST: usize = 65_536;
/// Without a frame under way a direction looks so seldom at anything.
const SLEEP: Duration = Duration::from_secs(3600);

/// What a line does to the frames of one direction. The default is a perfect one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// How long every frame takes.
    pub delay: Duration,
    /// By so much more, at most, evenly spread. Frames still arrive in order.
    pub jitter: Duration,
    /// The part of all IP packets that is lost, 0 to 1. Neighbours are found all the same: what is lost is lost further away.
    pub loss: f64,
    /// How many are lost in a row, on average. Up to 1: each by itself.
    pub burst: f64,
    /// The part that is held back by `held` and so overtaken.
    pub reorder: f64,
    /// How long those are held back.
    pub held: Duration,
    /// The part that arrives twice.
    pub duplicate: f64,
}

impl Default for Quality {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            burst: 1.0,
            reorder: 0.0,
            held: Duration::from_millis(10),
            duplicate: 0.0,
        }
    }
}

impl Quality {
    /// A long line that is good otherwise.
    #[must_use]
    pub fn delayed(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }
}

/// Small, reproducible, and good enough to pick frames (splitmix64).
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Evenly from 0 to below 1.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn falls(&mut self, part: f64) -> bool {
        self.part() < part
    }
}

/// One direction of a line: frames in, frames out when their time has come.
#[derive(Debug)]
pub struct Line {
    quality: Quality,
    dice: Dice,
    /// By due time, then in the order they came.
    under_way: BinaryHeap<Reverse<(Duration, u64, Vec<u8>)>>,
    count: u64,
    /// When the last frame is due that was not held back.
    last: Duration,
    /// Within a burst of losses.
    losing: bool,
}

impl Line {
    /// An empty line.
    pub fn new(quality: Quality, seed: u64) -> Self {
        Self {
            quality,
            dice: Dice(seed),
            under_way: BinaryHeap::new(),
            count: 0,
            last: Duration::ZERO,
            losing: false,
        }
    }

    /// Is like this from now on. What is under way stays so.
    pub fn set_quality(&mut self, quality: Quality) {
        self.quality = quality;
    }

    /// A frame comes in. Moments are spans since any beginning.
    pub fn push(&mut self, now: Duration, frame: Vec<u8>) {
        // The dice fall for every frame, whatever becomes of it: one setting does not change what another decides.
        let lost = self.is_lost();
        let late = self.dice.falls(self.quality.reorder);
        let twice = self.dice.falls(self.quality.duplicate);
        let extra = self.quality.jitter.mul_f64(self.dice.part());
        if lost && is_far(&frame) {
            return;
        }
        let mut due = (now + self.quality.delay + extra).max(self.last);
        if late {
            due += self.quality.held;
        } else {
            self.last = due;
        }
        if twice {
            self.add(due, frame.clone());
        }
        self.add(due, frame);
    }

    fn add(&mut self, due: Duration, frame: Vec<u8>) {
        if self.under_way.len() < CAP {
            self.under_way.push(Reverse((due, self.count, frame)));
            self.count += 1;
        }
    }

    /// The model of Gilbert: a line is good or bad, and a bad one loses everything.
    fn is_lost(&mut self) -> bool {
        let Quality { loss, burst, .. } = self.quality;
        let part = self.dice.part();
        self.losing = if burst <= 1.0 || loss >= 1.0 {
            part < loss
        } else if self.losing {
            part >= 1.0 / burst
        } else {
            part < loss / (burst * (1.0 - loss))
        };
        self.losing
    }

    /// The next frame whose time has come.
    pub fn pop(&mut self, now: Duration) -> Option<Vec<u8>> {
        if self.next()? > now {
            return None;
        }
        self.under_way.pop().map(|Reverse((_, _, frame))| frame)
    }

    /// When the next frame is due.
    pub fn next(&self) -> Option<Duration> {
        self.under_way.peek().map(|Reverse((due, _, _))| *due)
    }
}

/// Whether a frame is for somebody further away: an IP packet that does not look for neighbours (ICMPv6 does).
fn is_far(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([0x08, 0x00]) => true,
        Some([0x86, 0xdd]) => frame.get(20) != Some(&58),
        _ => false,
    }
}

/// What a direction is told.
enum Told {
    Frame(Instant, Vec<u8>),
    Quality(Quality),
}

/// A line in front of a host, both directions. Ends with this value.
#[derive(Debug)]
pub(crate) struct Emulator {
    internet: Namespace,
    number: usize,
    directions: [SyncSender<Told>; 2],
    threads: Vec<JoinHandle<()>>,
}

impl Emulator {
    /// Puts a perfect line in front of the host number `number`, whose cable ends at `p<number>` of the bridge `br0`.
    ///
    /// # Errors
    /// When the devices cannot be made.
    pub(crate) fn insert(internet: &Namespace, number: usize, seed: u64) -> Result<Self> {
        let open = |name: String| -> Result<Arc<Iface>> {
            let tap = internet.inside(|| Iface::without_packet_info(&name, Mode::Tap))?;
            Ok(Arc::new(tap.with_context(|| format!("cannot make the device {name}"))?))
        };
        let (outer, inner) = (open(outer(number))?, open(format!("f{number}"))?);
        internet.ip(&format!(
            "link add q{number} type bridge\nlink set q{number} up\nlink set p{number} master q{number}\n\
             link set f{number} master q{number}\nlink set f{number} up\n\
             link set e{number} master br0\nlink set e{number} up\n"
        ))?;
        let mut threads = Vec::new();
        let mut direction = |from: &Arc<Iface>, to: &Arc<Iface>, seed: u64| {
            let (sender, receiver) = sync_channel(BACKLOG);
            let (reading, writing, frames) = (Arc::clone(from), Arc::clone(to), sender.clone());
            threads.push(std::thread::spawn(move || read(&reading, &frames)));
            threads.push(std::thread::spawn(move || {
                carry(&writing, &receiver, Line::new(Quality::default(), seed));
            }));
            sender
        };
        let directions = [direction(&inner, &outer, seed), direction(&outer, &inner, !seed)];
        Ok(Self { internet: internet.clone(), number, directions, threads })
    }

    /// What the line does from now on to what the host sends, and to what it gets.
    pub(crate) fn set(&self, out: Quality, back: Quality) {
        for (direction, quality) in self.directions.iter().zip([out, back]) {
            // It ends only when the device is gone, and then there is nothing to be set.
            let _ = direction.send(Told::Quality(quality));
        }
    }
}

/// The device in the internet's bridge.
pub(crate) fn outer(number: usize) -> String {
    format!("e{number}")
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Readers wake up when their device goes, and the others when no reader is left.
        let gone = self.internet.ip(&format!("link del e{0}\nlink del f{0}\n", self.number));
        let (closed, _) = sync_channel(0);
        self.directions = [closed.clone(), closed];
        if gone.is_ok() {
            for thread in self.threads.drain(..) {
                // It has nothing to say.
                let _ = thread.join();
            }
        }
    }
}

fn read(tap: &Iface, frames: &SyncSender<Told>) {
    let mut buffer = vec![0; LARGEST];
    while let Ok(length) = tap.recv(&mut buffer) {
        if frames.send(Told::Frame(Instant::now(), buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}

fn carry(tap: &Iface, told: &Receiver<Told>, mut line: Line) {
    let begin = Instant::now();
    loop {
        let wait = line.next().map_or(SLEEP, |due| due.saturating_sub(begin.elapsed()));
        match told.recv_timeout(wait) {
            Ok(Told::Frame(at, frame)) => line.push(at.duration_since(begin), frame),
            Ok(Told::Quality(quality)) => line.set_quality(quality),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Some(frame) = line.pop(begin.elapsed()) {
            // A device that is down loses it.
            let _ = tap.send(&frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A frame with a number: IPv4 by its type.
    fn frame(number: u32) -> Vec<u8> {
        let mut frame = vec![0; 60];
        frame[12] = 8;
        frame[20..24].copy_from_slice(&number.to_be_bytes());
        frame
    }

    /// Sends `count` frames, one a millisecond; when which of them arrived.
    fn sent(quality: Quality, seed: u64, count: u32) -> Vec<(Duration, u32)> {
        let (mut line, mut arrived) = (Line::new(quality, seed), Vec::new());
        let mut take = |line: &mut Line, now| {
            while let Some(due) = line.next().filter(|due| *due <= now) {
                let frame = line.pop(due).unwrap();
                arrived.push((due, u32::from_be_bytes(frame[20..24].try_into().unwrap())));
            }
        };
        for number in 0..count {
            take(&mut line, number * MS);
            line.push(number * MS, frame(number));
        }
        take(&mut line, Duration::MAX);
        arrived
    }

    fn numbers(arrived: &[(Duration, u32)]) -> Vec<u32> {
        arrived.iter().map(|(_, number)| *number).collect()
    }

    #[test]
    fn a_perfect_line_changes_nothing() {
        let arrived = sent(Quality::default(), 1, 100);
        assert_eq!(arrived, (0..100).map(|number| (number * MS, number)).collect::<Vec<_>>());
    }

    #[test]
    fn delay_and_jitter_keep_the_order() {
        let quality = Quality { jitter: 20 * MS, ..Quality::delayed(30 * MS) };
        let arrived = sent(quality, 7, 1000);
        assert_eq!(numbers(&arrived), (0..1000).collect::<Vec<_>>());
        let took: Vec<Duration> = arrived.iter().map(|(at, number)| *at - *number * MS).collect();
        assert!(took.iter().all(|took| (30 * MS..50 * MS).contains(took)), "{took:?}");
        // Whoever comes after a late one is late as well.
        let (least, most) = (took.iter().min().unwrap(), took.iter().max().unwrap());
        assert!(*least < 40 * MS && *most > 47 * MS, "{least:?} to {most:?}");
    }

    #[test]
    fn the_same_seed_has_the_same_fate() {
        let quality = Quality { loss: 0.2, reorder: 0.1, duplicate: 0.1, jitter: MS, ..Quality::default() };
        assert_eq!(sent(quality, 5, 500), sent(quality, 5, 500));
        assert_ne!(sent(quality, 5, 500), sent(quality, 6, 500));
    }

    #[test]
    fn losses_are_as_many_as_was_said_and_come_in_bursts() {
        for burst in [1.0, 5.0] {
            let quality = Quality { loss: 0.1, burst, ..Quality::default() };
            let there = numbers(&sent(quality, 3, 100_000));
            let lost = 100_000 - there.len();
            assert!((8_500..11_500).contains(&lost), "{lost} lost in bursts of {burst}");
            let bursts = there.windows(2).filter(|pair| pair[1] - pair[0] > 1).count();
            let mean = lost as f64 / bursts as f64;
            // By themselves one in ten follows another by chance.
            let expected = if burst > 1.0 { burst } else { 1.0 / 0.9 };
            assert!((mean / expected - 1.0).abs() < 0.1, "{mean} in a row, not {expected}");
        }
        assert!(sent(Quality { loss: 1.0, ..Quality::default() }, 3, 100).is_empty());
    }

    #[test]
    fn some_are_overtaken_and_some_come_twice() {
        let quality = Quality { reorder: 0.1, held: 5 * MS, duplicate: 0.05, ..Quality::delayed(10 * MS) };
        let there = numbers(&sent(quality, 11, 10_000));
        let twice = there.len() - 10_000;
        assert!((400..600).contains(&twice), "{twice} twice");
        let late = there.windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert!((700..1100).contains(&late), "{late} overtaken");
    }

    #[test]
    fn neighbours_are_found_on_the_worst_of_lines() {
        let mut line = Line::new(Quality { loss: 1.0, ..Quality::default() }, 1);
        for (kind, next, through) in
            [([8, 6], 0, true), ([0x86, 0xdd], 58, true), ([0x86, 0xdd], 17, false), ([8, 0], 17, false)]
        {
            let mut frame = vec![0; 60];
            frame[12..14].copy_from_slice(&kind);
            frame[20] = next;
            line.push(Duration::ZERO, frame);
            assert_eq!(line.pop(Duration::ZERO).is_some(), through, "{kind:?} {next}");
        }
        line.push(Duration::ZERO, Vec::new());
        assert!(line.pop(Duration::ZERO).is_some(), "what is no frame is not looked into");
    }

    #[test]
    fn a_full_line_loses_the_newest() {
        let mut line = Line::new(Quality::delayed(MS), 1);
        (0..20_000).for_each(|number| line.push(Duration::ZERO, frame(number)));
        let there = std::iter::from_fn(|| line.pop(MS)).count();
        assert_eq!(there, CAP);
    }
}
