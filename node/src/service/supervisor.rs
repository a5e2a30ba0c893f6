//! What the service manager hears of us: ready, reloading, stopping, a line of status, and that we are alive.
//!
//! Specification: sd_notify(3), sd_watchdog_enabled(3). Without a service manager all of this does nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::{Address, NetworkId};
use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::controlling::ControllerHandle;
use super::engine::EngineHandle;
use crate::core::info::NetworkStatus;

/// The loops are asked this many times in the time after which the service manager loses patience.
const ASKED: u32 = 4;
/// Networks that are not OK named in the status line; further ones are counted.
const NAMED: usize = 3;

/// A sign of life: a loop beats it, the watchdog looks whether it was beaten.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// The loop goes round.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One loop that has to answer.
struct Watched {
    name: &'static str,
    pulse: Pulse,
    seen: u64,
    /// Makes the loop go round once; `false` = the question could not be put.
    ask: Box<dyn FnMut() -> bool + Send>,
    asked: bool,
    complained: bool,
}

impl Watched {
    /// Whether it went round since the last time, and asks again.
    fn answered(&mut self) -> bool {
        let count = self.pulse.count();
        let answered = count != self.seen;
        self.seen = count;
        // One question at a time: a wedged loop must not collect them.
        if answered || !self.asked {
            self.asked = (self.ask)();
        }
        if !answered && !self.complained {
            tracing::warn!(
                "the {} does not answer; if it stays so, the service manager starts this node anew",
                self.name
            );
        }
        self.complained = !answered;
        answered
    }
}

/// Feeds the service manager's watchdog only while all loops go round. The loop that calls it is the one that needs not be
/// asked.
#[derive(Default)]
pub(super) struct Watchdog {
    watched: Vec<Watched>,
}

impl Watchdog {
    /// Watches another loop, which beats `pulse` at the latest after each question.
    pub(super) fn watch(
        &mut self,
        name: &'static str,
        pulse: Pulse,
        mut ask: impl FnMut() -> bool + Send + 'static,
    ) {
        let seen = pulse.count();
        let asked = ask();
        self.watched.push(Watched { name, pulse, seen, ask: Box::new(ask), asked, complained: false });
    }

    /// Whether everybody answered since the last call.
    fn all_answered(&mut self) -> bool {
        self.watched.iter_mut().map(Watched::answered).fold(true, |all, one| all & one)
    }
}

/// Where notifications go.
type Notify = Box<dyn Fn(&[NotifyState<'_>]) + Send>;

/// Talks to the service manager.
pub(super) struct Supervisor {
    notify: Notify,
    status: String,
    watchdog: Watchdog,
    /// Ticks if the service manager has a watchdog.
    timer: Option<Interval>,
}

impl Supervisor {
    /// The one of this process, if there is one.
    pub(super) fn of_this_process() -> Self {
        let notify = |states: &[NotifyState<'_>]| {
            if let Err(error) = sd_notify::notify(states) {
                tracing::debug!(%error, "the service manager cannot be told");
            }
        };
        Self::new(Box::new(notify), sd_notify::watchdog_enabled())
    }

    fn new(notify: Notify, patience: Option<Duration>) -> Self {
        let timer = patience.filter(|p| !p.is_zero()).map(|patience| {
            let mut timer = interval(patience / ASKED);
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
            // The first tick comes at once, before anybody was asked.
            timer.reset();
            timer
        });
        Supervisor { notify, status: String::new(), watchdog: Watchdog::default(), timer }
    }

    /// Watches the loops that have to go round for this node to be alive, besides the caller's own.
    pub(super) fn watch_loops(&mut self, engine: EngineHandle, controller: ControllerHandle) {
        let pulse = Pulse::default();
        let packets = pulse.clone();
        let ask = move || {
            let packets = packets.clone();
            engine.post(move |_, _| packets.beat()).is_ok()
        };
        self.watchdog.watch("packet loop", pulse, ask);
        self.watchdog.watch("controller's loop", controller.pulse(), move || controller.nudge());
    }

    /// Everything serves.
    pub(super) fn ready(&self) {
        (self.notify)(&[NotifyState::Ready]);
    }

    /// Settings are being read again; [`ready`](Self::ready) ends it.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => (self.notify)(&[NotifyState::Reloading, now]),
            // Without the time a newer service manager would take it for an error.
            Err(error) => tracing::debug!(%error, "no monotonic clock"),
        }
    }

    /// The end has begun.
    pub(super) fn stopping(&self) {
        (self.notify)(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    /// Shows a line of status, if it is another one.
    pub(super) fn status(&mut self, status: String) {
        if status != self.status {
            (self.notify)(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }

    /// Waits for the next look at the loops.
    pub(super) async fn look(&mut self) {
        match &mut self.timer {
            Some(timer) => {
                timer.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    /// Says that we are alive, if all loops are.
    pub(super) fn feed(&mut self) {
        if self.watchdog.all_answered() {
            (self.notify)(&[NotifyState::Watchdog]);
        }
    }
}

/// Tells the service manager why the process ends.
pub fn report_failure(text: &str) {
    // Nobody may be there to hear it.
    let _ = sd_notify::notify(&[NotifyState::Status(text)]);
}

/// What the status line is made of.
#[derive(Debug, Default)]
pub(super) struct Condition {
    /// Whether a root answers.
    pub(super) online: bool,
    /// Whether another machine runs with our identity.
    pub(super) cloned: bool,
    /// Whether a root said that another node owns our address.
    pub(super) collided: bool,
    /// Joined networks.
    pub(super) networks: BTreeMap<NetworkId, NetworkStatus>,
}

impl Condition {
    /// One line: `a11c3411ce ONLINE; 2 networks OK; waiting: 1c33c1ced07ac85d ACCESS_DENIED`.
    pub(super) fn line(&self, own: Address) -> String {
        let mut line = format!("{own} {}", if self.online { "ONLINE" } else { "OFFLINE" });
        if self.cloned {
            line.push_str("; another machine runs with this identity");
        }
        if self.collided {
            line.push_str("; a root says another node owns this address");
        }
        if self.networks.is_empty() {
            line.push_str("; no network joined");
            return line;
        }
        let good = self.networks.values().filter(|s| **s == NetworkStatus::Ok).count();
        let noun = if good == 1 { "network" } else { "networks" };
        let _ = write!(line, "; {good} {noun} OK");
        let mut waiting = self.networks.iter().filter(|(_, s)| **s != NetworkStatus::Ok);
        for (at, (network, status)) in waiting.by_ref().take(NAMED).enumerate() {
            let _ = write!(line, "{} {network} {}", if at == 0 { "; waiting:" } else { "," }, status.name());
        }
        match waiting.count() {
            0 => {}
            more => {
                let _ = write!(line, ", {more} more");
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;

    use protocol::SecretIdentity;
    use protocol::world::World;

    use super::*;
    use crate::core::{Core, CoreConfig};
    use crate::service::clock::Clock;
    use crate::service::engine::Sinks;
    use crate::service::identities::IdentityChecks;
    use crate::service::{controlling, engine};

    fn recorder() -> (Notify, Arc<Mutex<Vec<String>>>) {
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = said.clone();
        let notify = move |states: &[NotifyState<'_>]| {
            log.lock().unwrap().extend(states.iter().map(ToString::to_string));
        };
        (Box::new(notify), said)
    }

    /// A loop on a thread that beats for each question until told to wedge.
    fn looping() -> (Pulse, mpsc::Sender<()>, std::thread::JoinHandle<()>) {
        let pulse = Pulse::default();
        let (ask, questions) = mpsc::channel();
        let own = pulse.clone();
        let thread = std::thread::spawn(move || questions.iter().for_each(|()| own.beat()));
        (pulse, ask, thread)
    }

    /// Until everybody has answered, or the time is over.
    fn wait_for_answers(watchdog: &Watchdog, limit: Duration) {
        let until = std::time::Instant::now() + limit;
        while watchdog.watched.iter().any(|w| w.pulse.count() == w.seen) && std::time::Instant::now() < until
        {
            std::thread::yield_now();
        }
    }

    fn answered_in_time(watchdog: &mut Watchdog) -> bool {
        wait_for_answers(watchdog, Duration::from_secs(10));
        watchdog.all_answered()
    }

    #[test]
    fn one_wedged_loop_is_enough_to_stop_feeding() {
        let mut watchdog = Watchdog::default();
        let (pulse, ask, first) = looping();
        watchdog.watch("first loop", pulse, move || ask.send(()).is_ok());
        // The second loop wedges while `held` is locked.
        let held = Arc::new(Mutex::new(()));
        let (pulse, gate, own) = (Pulse::default(), held.clone(), Pulse::default());
        let (ask, questions) = mpsc::channel();
        let beaten = pulse.clone();
        let second = std::thread::spawn(move || {
            questions.iter().for_each(|()| {
                drop(gate.lock().unwrap());
                beaten.beat();
            });
        });
        let questions = own.clone();
        watchdog.watch("second loop", pulse, move || {
            questions.beat();
            ask.send(()).is_ok()
        });
        assert!(answered_in_time(&mut watchdog));
        assert!(answered_in_time(&mut watchdog));

        let locked = held.lock().unwrap();
        // The question asked before may still be answered.
        wait_for_answers(&watchdog, Duration::from_millis(100));
        let _ = watchdog.all_answered();
        let asked = own.count();
        for _ in 0..100 {
            assert!(!watchdog.all_answered());
        }
        assert!(own.count() <= asked + 1, "a wedged loop collects questions");
        drop(locked);
        assert!(answered_in_time(&mut watchdog), "it goes on");
        drop(watchdog);
        first.join().unwrap();
        second.join().unwrap();
    }

    #[test]
    fn the_real_loops_answer_until_one_is_wedged() {
        let identity = SecretIdentity::generate();
        let clock = Clock::start();
        let folder = tempfile::tempdir().unwrap();
        let (controller, controlling) =
            controlling::start(identity.clone(), folder.path().to_owned(), clock).unwrap();
        let config = CoreConfig {
            identity,
            planet: World::public_planet(),
            seed: [7; 32],
            settings: Default::default(),
        };
        let core = Core::new(config, clock.now());
        let (engine, _events, packets) = engine::start(
            core,
            clock,
            Sinks { requests: Box::new(|_| true), checks: IdentityChecks::default() },
            1,
        )
        .unwrap();

        let (notify, said) = recorder();
        let fed = || said.lock().unwrap().len();
        let mut supervisor = Supervisor::new(notify, None);
        supervisor.watch_loops(engine.clone(), controller.clone());
        for times in 1..4 {
            wait_for_answers(&supervisor.watchdog, Duration::from_secs(10));
            supervisor.feed();
            assert_eq!(fed(), times);
        }
        let (wedge, wedged) = mpsc::channel::<()>();
        let hold = move || {
            // Until the sender is dropped.
            let _ = wedged.recv();
        };
        engine.post(move |_, _| hold()).unwrap();
        // What was asked before is still answered.
        wait_for_answers(&supervisor.watchdog, Duration::from_secs(10));
        supervisor.feed();
        let before = fed();
        for _ in 0..3 {
            wait_for_answers(&supervisor.watchdog, Duration::from_millis(50));
            supervisor.feed();
        }
        assert_eq!(fed(), before);
        drop(wedge);
        controller.stop();
        engine.stop();
        packets.join().unwrap();
        controlling.join().unwrap();
    }

    #[test]
    fn a_full_queue_that_moves_is_alive_and_one_that_stands_is_not() {
        let mut watchdog = Watchdog::default();
        let pulse = Pulse::default();
        watchdog.watch("busy loop", pulse.clone(), || false);
        pulse.beat();
        assert!(watchdog.all_answered());
        assert!(!watchdog.all_answered());
        pulse.beat();
        assert!(watchdog.all_answered());
    }

    #[tokio::test(start_paused = true)]
    async fn feeds_in_time_only_while_alive() {
        let (notify, said) = recorder();
        let mut supervisor = Supervisor::new(notify, Some(Duration::from_secs(20)));
        let pulse = Pulse::default();
        let beaten = pulse.clone();
        let wedged = Arc::new(AtomicU64::new(0));
        let state = wedged.clone();
        supervisor.watchdog.watch("loop", pulse, move || {
            if state.load(Ordering::Relaxed) == 0 {
                beaten.beat();
            }
            true
        });
        let begun = tokio::time::Instant::now();
        for _ in 0..4 {
            supervisor.look().await;
            supervisor.feed();
        }
        assert_eq!(begun.elapsed(), Duration::from_secs(20));
        assert_eq!(said.lock().unwrap().len(), 4);
        wedged.store(1, Ordering::Relaxed);
        // What was asked before the loop wedged is still answered.
        for _ in 0..10 {
            supervisor.look().await;
            supervisor.feed();
        }
        assert_eq!(said.lock().unwrap().len(), 5);
    }

    #[test]
    fn says_things_once_and_with_the_time_of_a_reload() {
        let (notify, said) = recorder();
        let mut supervisor = Supervisor::new(notify, None);
        supervisor.status("a".into());
        supervisor.ready();
        supervisor.status("a".into());
        supervisor.reloading();
        supervisor.ready();
        supervisor.stopping();
        let said = said.lock().unwrap();
        assert_eq!(said[..3], ["STATUS=a", "READY=1", "RELOADING=1"]);
        assert!(said[3].strip_prefix("MONOTONIC_USEC=").unwrap().parse::<u64>().unwrap() > 0);
        assert_eq!(said[4..], ["READY=1", "STOPPING=1", "STATUS=stopping"]);
    }

    #[test]
    fn the_status_line() {
        let own = Address::from_u64(0xa1_1c34_11ce);
        let mut condition = Condition::default();
        assert_eq!(condition.line(own), "a11c3411ce OFFLINE; no network joined");
        condition.online = true;
        condition.networks.insert(NetworkId(0x1c33_c1ce_d07a_c85d), NetworkStatus::Ok);
        assert_eq!(condition.line(own), "a11c3411ce ONLINE; 1 network OK");
        for id in 1..6 {
            condition.networks.insert(NetworkId(id), NetworkStatus::AccessDenied);
        }
        let line = condition.line(own);
        assert!(
            line.starts_with(
                "a11c3411ce ONLINE; 1 network OK; waiting: 0000000000000001 ACCESS_DENIED, 0000"
            ),
            "{line}"
        );
        assert!(line.ends_with(", 2 more"), "{line}");
    }
}
