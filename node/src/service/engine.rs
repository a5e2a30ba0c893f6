//! The packet loop: one thread that owns the [`Core`] and moves packets between UDP sockets, TAP devices and the core.
//!
//! Frames of a port wait in a queue of ours rather than the kernel's (`intake`).
//!
//! The control side talks to it through an [`EngineHandle`]: functions that run on the thread between two batches. What the
//! core wants from the control side comes out as [`EngineEvent`]s.

mod intake;
mod moderation;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc as commands;
use std::thread::JoinHandle;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use protocol::{NetworkId, Span, Time};
use tokio::sync::{mpsc, oneshot};

use super::clock::Clock;
use super::identities::IdentityChecks;
use super::lanes::{Endpoints, Lanes};
use crate::core::Core;
use crate::core::event::{Errand, Event};
use crate::core::path::SocketId;
use crate::dataplane::codel::Codel;
use crate::dataplane::lane_queues::LaneQueues;
use crate::dataplane::vnet::Offloads;
use crate::ground::outbox::Carrier;
use crate::os::batch::{ReceiveBatch, SendBatch};
use crate::os::priority;
use crate::os::tap::Tap;
use crate::os::udp::UdpSocket;
use intake::Intake;
use moderation::{Moderation, PAUSE};

/// Events that may wait for the control side in its channel.
pub const EVENT_QUEUE: usize = 1024;
/// Events held back on the thread while the channel is full; requests of strangers are dropped beyond this.
const MAX_BACKLOG: usize = 4096;
/// Batches taken from one socket before others get their turn …
const SOCKET_ROUNDS: usize = 2;
/// … or so many bytes: with what a batch may go beyond, a turn takes about a fifth of a millisecond.
const SOCKET_BYTES: usize = 2 << 16;
/// Bytes of datagrams that are sent off before more frames are read: about one super-frame.
const BURST_OUT: usize = 1 << 16;
/// Bytes of frames that are written before more datagrams are looked at. More than one super-frame, which this would cut short.
const BURST_IN: usize = 4 << 16;
/// The core is asked at least this often.
const MAX_SLEEP: Span = Span::secs(60);

/// Something for the control side.
#[derive(Debug)]
pub enum EngineEvent {
    /// From the core.
    Core(Event),
    /// A TAP device went away under us.
    PortLost(NetworkId),
    /// A socket is of no use any more.
    SocketLost(SocketId),
}

/// What members send to the controller.
#[derive(Debug)]
pub enum ToController {
    /// A configuration is wanted.
    Request(controller::Request),
    /// Revocations are kept.
    Acknowledged(controller::Acknowledgement),
}

/// Takes what members send to the controller from the packet thread; `false` = too busy, the member will send it again.
pub type RequestSink = Box<dyn FnMut(ToController) -> bool + Send>;

/// What the packet thread hands to other threads, past the control side.
pub struct Sinks {
    /// Members' requests to our controller.
    pub requests: RequestSink,
    /// Identities to be checked.
    pub checks: IdentityChecks,
}

/// The packet thread is gone.
#[derive(Debug, thiserror::Error)]
#[error("the packet loop has stopped")]
pub struct Stopped;

type Job = Box<dyn FnOnce(&mut Core, Time) + Send>;

enum Command {
    Run(Job),
    Sockets(Vec<(SocketId, Arc<UdpSocket>)>, oneshot::Sender<()>),
    AddPort(NetworkId, Tap, oneshot::Sender<io::Result<()>>),
    RemovePort(NetworkId, oneshot::Sender<()>),
    Stop,
}

/// Access to the packet thread; clones share it.
#[derive(Clone)]
pub struct EngineHandle {
    commands: commands::Sender<Command>,
    wake: Arc<EventFd>,
    clock: Clock,
}

impl EngineHandle {
    fn send(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).map_err(|_| Stopped)?;
        // The counter cannot overflow: the thread resets it, and each write adds one.
        let _ = self.wake.write(1);
        Ok(())
    }

    /// The node's clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Runs a function on the packet thread without waiting for it.
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn post(&self, job: impl FnOnce(&mut Core, Time) + Send + 'static) -> Result<(), Stopped> {
        self.send(Command::Run(Box::new(job)))
    }

    /// Runs a function on the packet thread and returns its result.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Core, Time) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        let (reply, result) = oneshot::channel();
        self.post(move |core, now| {
            let _ = reply.send(job(core, now));
        })?;
        result.await.map_err(|_| Stopped)
    }

    /// Uses exactly these sockets from now on.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn set_sockets(&self, sockets: Vec<(SocketId, Arc<UdpSocket>)>) -> Result<(), Stopped> {
        let (reply, done) = oneshot::channel();
        self.send(Command::Sockets(sockets, reply))?;
        done.await.map_err(|_| Stopped)
    }

    /// Moves frames between a TAP and the core from now on.
    ///
    /// # Errors
    /// [`Stopped`], or the TAP cannot be polled.
    pub async fn add_port(&self, network: NetworkId, tap: Tap) -> io::Result<()> {
        let (reply, done) = oneshot::channel();
        self.send(Command::AddPort(network, tap, reply)).map_err(io::Error::other)?;
        done.await.map_err(|_| io::Error::other(Stopped))?
    }

    /// Closes a network's TAP, which removes the interface.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn remove_port(&self, network: NetworkId) -> Result<(), Stopped> {
        let (reply, done) = oneshot::channel();
        self.send(Command::RemovePort(network, reply))?;
        done.await.map_err(|_| Stopped)
    }

    /// Ends the thread; TAPs and sockets are closed.
    pub fn stop(&self) {
        let _ = self.send(Command::Stop);
    }
}

/// What poll tokens mean: a kind in the upper half and an index in the lower.
const WAKE: u64 = 0;
const SOCKET: u64 = 1 << 32;
const PORT: u64 = 2 << 32;

struct Engine {
    core: Core,
    clock: Clock,
    epoll: Epoll,
    wake: Arc<EventFd>,
    commands: commands::Receiver<Command>,
    events: mpsc::Sender<EngineEvent>,
    backlog: VecDeque<EngineEvent>,
    sinks: Sinks,
    sockets: BTreeMap<SocketId, Arc<UdpSocket>>,
    ports: BTreeMap<NetworkId, (u32, Arc<Tap>)>,
    lanes: Option<Lanes>,
    next_port: u32,
    receive: ReceiveBatch,
    /// How long datagrams wait in the sockets where there were more than one batch.
    waits: BTreeMap<SocketId, Codel>,
    /// Whether a stream of this batch is to slow down.
    told: bool,
    send: SendBatch,
    intake: Intake,
    moderation: Moderation,
    stop: bool,
}

/// Starts the packet thread, and that many lanes.
///
/// # Errors
/// The kernel refuses an epoll or event descriptor, or a thread.
pub fn start(
    mut core: Core,
    clock: Clock,
    sinks: Sinks,
    lanes: usize,
) -> io::Result<(EngineHandle, mpsc::Receiver<EngineEvent>, JoinHandle<()>)> {
    let lanes = if lanes == 0 { None } else { Some(Lanes::start(lanes)?) };
    if let Some(lanes) = &lanes {
        core.outbox().carrier = Carrier::Lanes(LaneQueues::new(lanes.count(), rand::random()));
    }
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
    epoll.add(&*wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
    let (sender, receiver) = commands::channel();
    let (events, event_receiver) = mpsc::channel(EVENT_QUEUE);
    let handle = EngineHandle { commands: sender, wake: wake.clone(), clock };
    let mut engine = Engine {
        core,
        clock,
        epoll,
        wake,
        commands: receiver,
        events,
        backlog: VecDeque::new(),
        sinks,
        sockets: BTreeMap::new(),
        ports: BTreeMap::new(),
        lanes,
        next_port: 0,
        receive: ReceiveBatch::default(),
        waits: BTreeMap::new(),
        told: false,
        send: SendBatch::default(),
        intake: Intake::default(),
        moderation: Moderation::default(),
        stop: false,
    };
    let thread = std::thread::Builder::new().name("packets".into()).spawn(move || engine.run())?;
    Ok((handle, event_receiver, thread))
}

impl Engine {
    fn run(&mut self) {
        if let Err(error) = priority::go_before_others() {
            tracing::info!(%error, "packets have no priority over other work: give LimitNICE=-10 or CAP_SYS_NICE for a fifth more throughput");
        }
        // Otherwise the kernel makes each pause up to half as long again, to wake several threads at once.
        let _ = nix::sys::prctl::set_timerslack(1_000);
        let mut ready = [EpollEvent::empty(); 64];
        while !self.stop {
            let now = self.clock.now();
            if self.core.next_deadline() <= now {
                self.core.tick(now);
            }
            self.flush();
            let count = match self.epoll.wait(&mut ready, self.timeout()) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => {
                    tracing::error!(%error, "waiting for packets failed");
                    return;
                }
            };
            for event in &ready[..count] {
                let index = event.data() as u32;
                match event.data() & !u64::from(u32::MAX) {
                    SOCKET => self.serve_socket(SocketId(index), event.events()),
                    PORT => self.read_frames(index),
                    _ => self.run_commands(),
                }
            }
            self.send_waiting();
            self.pause_in_floods();
        }
    }

    fn pause_in_floods(&mut self) {
        if self.moderation.end_turn(self.intake.micros()) {
            std::thread::sleep(PAUSE);
            self.moderation.resume(self.intake.micros());
        }
    }

    fn timeout(&self) -> EpollTimeout {
        if !self.intake.is_empty() {
            return EpollTimeout::ZERO;
        }
        // A backlog is offered again soon; the channel has no wake-up of its own.
        let longest = if self.backlog.is_empty() { MAX_SLEEP } else { Span::ms(20) };
        let wait = (self.core.next_deadline() - self.clock.now()).clamp(Span::ZERO, longest);
        EpollTimeout::try_from(wait.as_ms() as i32).unwrap_or(EpollTimeout::ZERO)
    }

    /// Receives from a socket that has something, and gives up one that is shut or fails: it would be ready for ever.
    fn serve_socket(&mut self, id: SocketId, ready: EpollFlags) {
        let works = self.receive(id);
        if !works || ready.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP | EpollFlags::EPOLLRDHUP) {
            self.lose_socket(id);
        }
    }

    /// Lets go of a socket that is of no use any more. Whoever made it makes another.
    fn lose_socket(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.remove(&id) else { return };
        tracing::info!(local = %socket.local(), "the UDP socket was shut or failed; another is bound");
        self.waits.remove(&id);
        let _ = self.epoll.delete(&*socket);
        self.show_endpoints();
        self.backlog.push_back(EngineEvent::SocketLost(id));
        self.pass_events();
    }

    /// Whether the socket works.
    fn receive(&mut self, id: SocketId) -> bool {
        let mut taken = 0;
        for _ in 0..SOCKET_ROUNDS {
            let Some(socket) = self.sockets.get(&id) else { return true };
            let count = match self.receive.receive(socket) {
                Ok(count) => count,
                Err(error) => {
                    tracing::debug!(local = %socket.local(), %error, "receiving failed");
                    return false;
                }
            };
            let now = self.clock.now();
            self.judge_wait(id);
            for index in 0..count {
                let ecn = self.receive.ecn(index);
                let Some((from, octets, size)) = self.receive.message(index) else { continue };
                taken += octets.len();
                self.moderation.count(octets.len().div_ceil(size), octets.len());
                tracing::trace!(%from, octets = octets.len(), size, "datagrams in");
                self.core.marked_datagrams(now, id, from, octets, size, ecn);
                if self.core.outbox().frames.octets() >= BURST_IN || self.core.outbox().is_due() {
                    self.flush();
                }
            }
            self.flush();
            if std::mem::take(&mut self.told) {
                let signalled = self.core.outbox().frames.signalled();
                let counters = self.core.queues_mut();
                (counters.in_marked, counters.in_late) = (signalled.marked, signalled.dropped);
            }
            if self.receive.drained() || taken >= SOCKET_BYTES {
                break;
            }
        }
        true
    }

    /// Looks at how long a batch has waited in its socket. While that stays too long, streams are told to slow down.
    fn judge_wait(&mut self, id: SocketId) {
        if self.receive.drained() {
            if let Some(codel) = self.waits.get_mut(&id) {
                codel.emptied();
            }
        } else if let Some(waited) = self.receive.waited() {
            let now = self.intake.micros();
            if self.waits.entry(id).or_default().judge(&intake::CODEL, now, waited, false) {
                self.core.outbox().frames.signal_congestion();
                self.told = true;
            }
        }
    }

    /// Carries out everything the core wants done.
    fn flush(&mut self) {
        self.send_datagrams();
        let mut refused = 0;
        for delivery in self.core.outbox().frames.deliveries() {
            let network = delivery.network;
            if let Some((_, tap)) = self.ports.get(&network)
                && let Err(error) = tap.write(&delivery.offload, delivery.frame)
            {
                tracing::trace!(%network, %error, "frame not delivered");
                refused += 1;
            }
        }
        self.core.outbox().frames.clear();
        if refused > 0 {
            self.core.queues_mut().port_refused += refused;
        }
        self.hand_over();
        self.pass_events();
    }

    /// Gives lanes their batches. What they had no room for counts as dropped.
    fn hand_over(&mut self) {
        if let (Some(lanes), Some(queues)) = (&mut self.lanes, self.core.outbox().queues()) {
            let dropped = lanes.hand_over(queues);
            if dropped > 0 {
                self.core.queues_mut().lane_full += dropped;
            }
        }
    }

    /// Tells lanes which sockets and ports there are. Afterwards they use no others.
    fn show_endpoints(&mut self) {
        if let (Some(lanes), Some(queues)) = (&mut self.lanes, self.core.outbox().queues()) {
            let ports = self.ports.iter().map(|(network, (_, tap))| (*network, tap.clone())).collect();
            lanes.set_endpoints(Endpoints { sockets: self.sockets.clone(), ports }, queues);
        }
    }

    fn send_datagrams(&mut self) {
        let batch = &self.core.outbox().datagrams;
        if batch.is_empty() {
            return;
        }
        let mut congested = 0;
        let mut lost: Option<SocketId> = None;
        let (segments, buffer) = (batch.segments(), batch.buffer());
        let mut at = 0;
        while let Some(first) = segments.get(at) {
            // A run goes through one socket in the ordinary way.
            let same = segments[at..].iter().take_while(|s| s.socket == first.socket && s.ttl == first.ttl);
            let run = &segments[at..at + same.count()];
            at += run.len();
            let known = first.socket.and_then(|id| self.sockets.get_key_value(&id));
            let every = self.sockets.iter();
            let sockets: &mut dyn Iterator<Item = (&SocketId, &Arc<UdpSocket>)> = match known {
                Some(socket) => &mut std::iter::once(socket),
                None => &mut every.filter(|_| true),
            };
            for (id, socket) in sockets {
                let family = socket.local().is_ipv6();
                let own = run.iter().filter(|s| s.to.is_ipv6() == family);
                if let Some(ttl) = first.ttl {
                    for segment in own {
                        if let Err(error) =
                            socket.send_with_ttl(&buffer[segment.range.clone()], segment.to, ttl)
                        {
                            tracing::trace!(to = %segment.to, %error, "datagram refused");
                        }
                    }
                } else {
                    let sent = self.send.send(socket, own.map(|s| s.datagram(buffer)));
                    congested += sent.congested as u64;
                    if self.send.take_broken() {
                        lost = Some(*id);
                    }
                }
            }
        }
        for segment in batch.whole() {
            if let Some(socket) = segment.socket.and_then(|id| self.sockets.get(&id))
                && let Err(error) = socket.send_whole(&buffer[segment.range.clone()], segment.to)
            {
                tracing::trace!(to = %segment.to, octets = segment.range.len(), %error, "not sent whole");
            }
        }
        let dropped = self.send_copies(congested > 0);
        if congested > 0 {
            self.core.queues_mut().socket_full += congested;
        }
        if dropped > 0 {
            self.core.copies_congested(dropped);
        }
        self.core.outbox().datagrams.clear();
        // Of several the others are found by what is sent next.
        if let Some(id) = lost {
            self.lose_socket(id);
        }
    }

    /// Sends the copies of a batch, whose ordinary datagrams have been sent or, if `congested`, found no room. Copies do not wait for
    /// room. Returns how many datagrams were dropped.
    fn send_copies(&mut self, congested: bool) -> u64 {
        let batch = &self.core.outbox().datagrams;
        let (mut rest, buffer) = (batch.copies(), batch.buffer());
        if congested {
            return rest.len() as u64;
        }
        let mut dropped = 0;
        while let Some(first) = rest.first() {
            let (run, others) = rest.split_at(rest.iter().take_while(|s| s.socket == first.socket).count());
            rest = others;
            if let Some(socket) = first.socket.and_then(|id| self.sockets.get(&id)) {
                let datagrams = run.iter().map(|s| s.datagram(buffer));
                dropped += self.send.send_if_room(socket, datagrams).congested as u64;
            }
        }
        dropped
    }

    fn pass_events(&mut self) {
        while let Some(errand) = self.core.outbox().errands.pop_front() {
            match errand {
                Errand::ConfigRequest(request) => {
                    if !(self.sinks.requests)(ToController::Request(request)) {
                        tracing::debug!("the controller is busy; a configuration request is dropped");
                    }
                }
                Errand::Acknowledged(word) => {
                    if !(self.sinks.requests)(ToController::Acknowledged(word)) {
                        tracing::debug!("the controller is busy; an acknowledgement is dropped");
                    }
                }
                Errand::CheckIdentity { identity, urgency } => self.sinks.checks.check(identity, urgency),
            }
        }
        while let Some(event) = self.core.outbox().events.pop_front() {
            match event {
                Event::UserMessage { .. } | Event::RuleTrace(_) if self.backlog.len() >= MAX_BACKLOG => {}
                event => self.backlog.push_back(EngineEvent::Core(event)),
            }
        }
        while let Some(event) = self.backlog.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
                self.backlog.push_front(event);
                return;
            }
        }
    }

    fn run_commands(&mut self) {
        // Reset before looking, so that a command sent meanwhile wakes us again.
        let _ = self.wake.read();
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Run(job) => {
                    job(&mut self.core, self.clock.now());
                    self.flush();
                }
                Command::Sockets(sockets, reply) => {
                    self.replace_sockets(sockets);
                    let _ = reply.send(());
                }
                Command::AddPort(network, tap, reply) => {
                    let _ = reply.send(self.add_port(network, tap));
                }
                Command::RemovePort(network, reply) => {
                    self.remove_port(network);
                    let _ = reply.send(());
                }
                Command::Stop => {
                    self.stop = true;
                    return;
                }
            }
        }
    }

    fn replace_sockets(&mut self, wanted: Vec<(SocketId, Arc<UdpSocket>)>) {
        let wanted: BTreeMap<_, _> = wanted.into_iter().collect();
        self.sockets.retain(|id, socket| {
            let keep = wanted.get(id).is_some_and(|new| Arc::ptr_eq(new, socket));
            if !keep {
                self.waits.remove(id);
                let _ = self.epoll.delete(&**socket);
            }
            keep
        });
        for (id, socket) in wanted {
            if self.sockets.contains_key(&id) {
                continue;
            }
            let ready = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP;
            match self.epoll.add(&*socket, EpollEvent::new(ready, SOCKET | u64::from(id.0))) {
                Ok(()) => {
                    self.sockets.insert(id, socket);
                }
                Err(error) => {
                    tracing::warn!(local = %socket.local(), %error, "the socket cannot be polled");
                    self.backlog.push_back(EngineEvent::SocketLost(id));
                }
            }
        }
        self.show_endpoints();
        let now = self.clock.now();
        let local = self.sockets.iter().map(|(id, socket)| (*id, socket.local())).collect();
        self.core.set_local_addresses(now, local);
        self.flush();
    }

    fn add_port(&mut self, network: NetworkId, tap: Tap) -> io::Result<()> {
        self.remove_port(network);
        self.next_port = self.next_port.wrapping_add(1);
        self.epoll.add(&tap, EpollEvent::new(EpollFlags::EPOLLIN, PORT | u64::from(self.next_port)))?;
        if let Some(joined) = self.core.joined(network) {
            joined.set_port_offloads(tap.offloads());
        }
        self.ports.insert(network, (self.next_port, Arc::new(tap)));
        self.show_endpoints();
        Ok(())
    }

    fn remove_port(&mut self, network: NetworkId) {
        if let Some((_, tap)) = self.ports.remove(&network) {
            let _ = self.epoll.delete(&*tap);
            self.show_endpoints();
            if let Some(joined) = self.core.joined(network) {
                joined.set_port_offloads(Offloads::default());
            }
        }
    }
}
