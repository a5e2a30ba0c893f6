//! Lanes: threads that carry out what the core decided. A lane protects, cuts and sends the frames of its flows on their way out,
//! and verifies, joins and writes them on their way in.
//!
//! Lanes share no state with each other or with the packet thread: each has buffers, cipher state and batches of its own, and
//! the sockets and ports, whose calls take no lock of ours. Loads go to a lane and come back empty, with buffers that are used
//! again and again, over queues that hold as many as there are. When all batches of a lane are under way the packet thread waits
//! for it, a few milliseconds at most, as it would wait for a full socket; meanwhile frames stay in the kernel's queues. What
//! finds no load to go with even then is dropped.
//!
//! A small load for a lane that has nothing to do is carried out on the spot: a lone packet wakes nobody, and nothing can
//! overtake it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use protocol::NetworkId;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::core::path::SocketId;
use crate::dataplane::FrameBatch;
use crate::dataplane::datagrams::DatagramBatch;
use crate::dataplane::lane_batch::LaneBatch;
use crate::dataplane::lane_queues::LaneQueues;
use crate::os::batch::SendBatch;
use crate::os::priority;
use crate::os::tap::Tap;
use crate::os::udp::UdpSocket;

/// Loads of one lane that are under way at most.
const BATCHES: usize = 8;
/// How long the packet thread waits for a lane that has all of them.
const PATIENCE: Duration = Duration::from_millis(5);
/// How long it waits for lanes to let go of sockets and ports.
const LETTING_GO: Duration = Duration::from_millis(500);

/// What lanes send to and write into.
#[derive(Clone, Debug, Default)]
pub(super) struct Endpoints {
    pub(super) sockets: BTreeMap<SocketId, Arc<UdpSocket>>,
    pub(super) ports: BTreeMap<NetworkId, Arc<Tap>>,
}

enum Work {
    LaneBatch(LaneBatch),
    /// Use these from now on, and no others.
    Endpoints(Arc<Endpoints>),
}

/// One after the other in the order of the work; a load comes back.
type Done = Option<LaneBatch>;

struct Lane {
    work: Option<SyncSender<Work>>,
    done: Receiver<Done>,
    idle: Vec<LaneBatch>,
    /// Loads made so far.
    made: usize,
    /// What was handed over and is not done yet.
    under_way: usize,
    thread: Option<JoinHandle<()>>,
}

/// All lanes. Dropping them ends the threads; what they have not begun is dropped.
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    /// For what is done on the spot.
    here: Worker,
    ending: Arc<AtomicBool>,
    patience: Duration,
}

impl Lanes {
    /// Starts threads `lane-0`, `lane-1` …
    pub(super) fn start(count: usize) -> io::Result<Self> {
        let ending = Arc::new(AtomicBool::new(false));
        let mut lanes = Vec::with_capacity(count);
        for number in 0..count {
            // Room for all batches and for new endpoints, so that neither side ever waits for the other's queue.
            let (work, orders) = sync_channel(BATCHES + 2);
            let (finished, done) = sync_channel(BATCHES + 2);
            let ending = ending.clone();
            let thread = std::thread::Builder::new()
                .name(format!("lane-{number}"))
                .spawn(move || Worker::new(number).run(&orders, &finished, &ending))?;
            let (idle, thread) = (Vec::with_capacity(BATCHES), Some(thread));
            lanes.push(Lane { work: Some(work), done, idle, made: 0, under_way: 0, thread });
        }
        Ok(Self { lanes, here: Worker::new(usize::MAX), ending, patience: PATIENCE })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.lanes.len()
    }

    /// Makes lanes use these sockets and ports and returns when none of them uses others any more.
    pub(super) fn set_endpoints(&mut self, endpoints: Endpoints, queues: &mut LaneQueues) {
        let endpoints = Arc::new(endpoints);
        let until = Instant::now() + LETTING_GO;
        for lane in &mut self.lanes {
            // There may be no room for this before some load is done.
            lane.collect(queues);
            lane.wait(BATCHES, until, queues);
            lane.hand_over(Work::Endpoints(endpoints.clone()));
        }
        for lane in &mut self.lanes {
            lane.wait(0, until, queues);
        }
        self.here.endpoints = endpoints;
    }

    /// Hands over what is staged. Returns how many frames were dropped.
    pub(super) fn hand_over(&mut self, queues: &mut LaneQueues) -> u64 {
        let mut dropped = 0;
        for index in 0..self.lanes.len() {
            let lane = &mut self.lanes[index];
            lane.collect(queues);
            let load = &queues.batches()[index];
            if load.is_empty() {
                continue;
            }
            if lane.under_way == 0 && (load.is_small() || lane.is_gone()) {
                self.here.carry_out(load);
            } else if let Some(mut other) = lane.take_empty(self.patience, queues) {
                std::mem::swap(&mut other, &mut queues.batches()[index]);
                lane.hand_over(Work::LaneBatch(other));
                continue;
            } else {
                dropped += queues.batches()[index].frames();
            }
            let mut done = std::mem::take(&mut queues.batches()[index]);
            queues.recycle(&mut done);
            queues.batches()[index] = done;
        }
        dropped
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        for lane in &mut self.lanes {
            lane.work = None;
        }
        for thread in self.lanes.iter_mut().filter_map(|lane| lane.thread.take()) {
            if thread.join().is_err() {
                tracing::error!("a lane of this node had panicked; please report the lines above");
            }
        }
    }
}

impl Lane {
    /// Whether its thread has ended, which only a panic can do.
    fn is_gone(&self) -> bool {
        self.work.is_none()
    }

    fn hand_over(&mut self, work: Work) {
        if self.work.as_ref().is_some_and(|queue| queue.try_send(work).is_ok()) {
            self.under_way += 1;
        } else {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        if self.work.take().is_some() {
            tracing::error!("a lane stands still; the packet thread does its work");
        }
        self.under_way = 0;
    }

    /// Takes back what is done.
    fn collect(&mut self, queues: &mut LaneQueues) {
        while let Ok(done) = self.done.try_recv() {
            self.put_back(done, queues);
        }
    }

    fn put_back(&mut self, done: Done, queues: &mut LaneQueues) {
        self.under_way = self.under_way.saturating_sub(1);
        if let Some(mut load) = done {
            queues.recycle(&mut load);
            self.idle.push(load);
        }
    }

    /// Waits until no more than `rest` are under way.
    fn wait(&mut self, rest: usize, until: Instant, queues: &mut LaneQueues) {
        use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
        while self.under_way > rest {
            match self.done.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(done) => self.put_back(done, queues),
                Err(Timeout) => return,
                Err(Disconnected) => return self.give_up(),
            }
        }
    }

    /// An empty load, if need be after some are done.
    fn take_empty(&mut self, patience: Duration, queues: &mut LaneQueues) -> Option<LaneBatch> {
        if self.idle.is_empty() && self.made < BATCHES {
            self.made += 1;
            return Some(LaneBatch::default());
        }
        if self.idle.is_empty() {
            // Half of them, so that not each one wakes us.
            self.wait(BATCHES / 2, Instant::now() + patience, queues);
        }
        self.idle.pop()
    }
}

/// What carrying out takes.
struct Worker {
    /// Which queue of a port is ours.
    number: usize,
    endpoints: Arc<Endpoints>,
    rng: StdRng,
    datagrams: DatagramBatch,
    frames: FrameBatch,
    send: SendBatch,
}

impl Worker {
    fn new(number: usize) -> Self {
        Self {
            number,
            endpoints: Arc::default(),
            rng: StdRng::from_seed(rand::random()),
            datagrams: DatagramBatch::default(),
            frames: FrameBatch::default(),
            send: SendBatch::default(),
        }
    }

    fn run(mut self, orders: &Receiver<Work>, finished: &SyncSender<Done>, ending: &AtomicBool) {
        // The packet thread has said what it means if this is not permitted.
        let _ = priority::go_before_others();
        while let Ok(work) = orders.recv() {
            if ending.load(Ordering::Relaxed) {
                return;
            }
            let done = match work {
                Work::LaneBatch(mut load) => {
                    self.carry_out(&load);
                    // Keys are not kept longer than needed.
                    load.clear();
                    Some(load)
                }
                Work::Endpoints(endpoints) => {
                    self.endpoints = endpoints;
                    None
                }
            };
            if finished.send(done).is_err() {
                return;
            }
        }
    }

    fn carry_out(&mut self, load: &LaneBatch) {
        let Self { number, endpoints, rng, datagrams, frames, send } = self;
        load.send_all(rng, datagrams, |batch| {
            let mut rest = batch.segments();
            while let Some(first) = rest.first() {
                let same = rest.iter().take_while(|segment| segment.socket == first.socket).count();
                let (run, others) = rest.split_at(same);
                rest = others;
                if let Some(socket) = first.socket.and_then(|id| endpoints.sockets.get(&id)) {
                    send.send(socket, run.iter().map(|s| s.datagram(batch.buffer())));
                }
            }
        });
        load.join_all(frames);
        for delivery in frames.deliveries() {
            if let Some(tap) = endpoints.ports.get(&delivery.network)
                && let Err(error) = tap.write_by(*number, &delivery.offload, delivery.frame)
            {
                tracing::trace!(network = %delivery.network, %error, "frame not delivered");
            }
        }
        frames.clear();
    }
}

#[cfg(test)]
mod tests;
