//! Frames from ports, and the queue in which they wait for the packet thread.
//!
//! The kernel's own queue behind a TAP knows neither flows nor time, and a TCP sender believes that what lies in it has left:
//! a stream would fill it up to its window, and everybody else wait behind. So as soon as there is more than one burst, we
//! take what is there into a queue that is fair and bounded ([`FairQueue`]), and between two bursts whatever has come since.
//! What comes to an idle thread goes past the queue: nobody pays for what he does not need.
//!
//! Small frames never wait here: reading them is what costs most, so a turn of them makes less than a burst.

use std::io;
use std::time::Instant;

use flowrules::ethernet::HEADER as ETHERNET;
use protocol::NetworkId;

use super::{BURST_OUT, Engine, EngineEvent};
use crate::dataplane::codel::Params;
use crate::dataplane::fair_queue::{FairQueue, Limits};
use crate::dataplane::flow::Flows;
use crate::dataplane::frame_pool::{Frame, FramePool};
use crate::dataplane::vnet::Offload;

/// Frames taken from one TAP before others get their turn …
const TAP_FRAMES: usize = 64;
/// … and bytes: reading so much takes about as long as sending one super-frame.
const TAP_BYTES: usize = 8 << 16;

/// The wait of a good queue is that of some super-frames, so that the processor is not idle while a stream takes a breath. An
/// interval is the round trip of streams whose ends are near: they alone fill a queue whose slow part is a processor, and one
/// from afar does not stand in it for long.
pub(super) const CODEL: Params = Params { target: 1_000, interval: 5_000 };

/// Sixteen super-frames, 1.5 ms of 5 Gbit/s; and the frames that the kernel's queue holds.
const LIMITS: Limits = Limits { octets: 1 << 20, items: 1_000, quantum: BURST_OUT, codel: CODEL };

/// Frames that wait to be sent.
pub(super) struct Intake {
    slots: FramePool,
    queue: FairQueue<Frame>,
    flows: Flows,
    started: Instant,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            slots: FramePool::default(),
            queue: FairQueue::new(LIMITS),
            flows: Flows::new(rand::random()),
            started: Instant::now(),
        }
    }
}

impl Intake {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Microseconds since the thread started.
    pub(super) fn micros(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    /// Looks at the frame that was just read and does not wait: if other fragments of its datagram do, they wait among their flow.
    fn notice(&mut self, length: usize) {
        if let Some((ethertype, payload)) = parts(self.slots.frame(length)) {
            self.flows.notice(ethertype, payload);
        }
    }

    /// Lets the frame that was just read wait.
    fn keep(&mut self, network: NetworkId, offload: Offload, length: usize) {
        let frame = self.slots.keep(network, offload, length);
        let hash = parts(frame.bytes()).map_or(0, |(ethertype, payload)| self.flows.of(ethertype, payload));
        let (now, slots) = (self.micros(), &mut self.slots);
        self.queue.push(now, hash ^ network.0, frame, |dropped| slots.recycle(dropped));
    }
}

/// Ethertype, and what stands behind it.
fn parts(frame: &[u8]) -> Option<(u16, &[u8])> {
    match frame.split_at_checked(ETHERNET) {
        Some(([.., e0, e1], payload)) => Some((u16::from_be_bytes([*e0, *e1]), payload)),
        _ => None,
    }
}

/// What reading a port gave.
enum Read {
    /// A frame, in the room of the slots.
    Frame(Offload, usize),
    /// A frame that made no sense.
    Bad,
    /// There is none now.
    Nothing,
    /// The port went away.
    Lost,
}

impl Engine {
    /// Takes frames from a port: the first burst straight to the core, what is more into the queue.
    pub(super) fn read_frames(&mut self, index: u32) {
        let found = self.ports.iter().find(|(_, (i, _))| *i == index);
        let Some(network) = found.map(|(network, _)| *network) else { return };
        let now = self.clock.now();
        let mut straight = self.intake.is_empty();
        let mut taken = 0;
        for _ in 0..TAP_FRAMES {
            if taken >= TAP_BYTES || self.intake.queue.is_full() {
                break;
            }
            let (offload, length) = match self.read_frame(network) {
                Read::Frame(offload, length) => (offload, length),
                Read::Bad => continue,
                Read::Nothing => break,
                Read::Lost => {
                    self.remove_port(network);
                    self.backlog.push_back(EngineEvent::PortLost(network));
                    break;
                }
            };
            taken += length;
            self.moderation.count(1, length);
            if straight {
                self.intake.notice(length);
                self.core.port_frame(now, network, self.intake.slots.lent(offload, length));
                if self.is_burst() {
                    self.flush();
                    straight = false;
                }
            } else {
                self.intake.keep(network, offload, length);
            }
        }
        self.flush();
    }

    /// Whether what is to be sent should go before more is read.
    fn is_burst(&mut self) -> bool {
        self.core.outbox().is_burst(BURST_OUT)
    }

    fn read_frame(&mut self, network: NetworkId) -> Read {
        let Some((_, tap)) = self.ports.get(&network) else { return Read::Nothing };
        match tap.read(self.intake.slots.room()) {
            Ok(Some((offload, length))) => Read::Frame(offload, length),
            Ok(None) => Read::Nothing,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::debug!(%network, %error, "frame thrown away");
                Read::Bad
            }
            // The interface is down: nothing to read, nothing wrong.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Read::Nothing,
            Err(error) => {
                tracing::info!(%network, port = tap.name(), %error, "the port went away; making it again");
                Read::Lost
            }
        }
    }

    /// Sends about one burst of what waits.
    pub(super) fn send_waiting(&mut self) {
        if self.intake.is_empty() {
            return;
        }
        let now = self.clock.now();
        let micros = self.intake.micros();
        let Intake { slots, queue, .. } = &mut self.intake;
        while let Some(mut frame) = queue.pop(micros, |dropped| slots.recycle(dropped)) {
            self.moderation.count(0, frame.bytes().len());
            self.core.port_frame(now, frame.network, frame.lent());
            slots.recycle(frame);
            if self.core.outbox().is_burst(BURST_OUT) {
                break;
            }
        }
        let losses = queue.losses();
        let counters = self.core.queues_mut();
        (counters.out_marked, counters.out_late, counters.out_full) =
            (losses.marked, losses.late, losses.full);
        self.flush();
    }
}
