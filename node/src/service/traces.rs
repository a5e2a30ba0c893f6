//! Live traces of rule decisions, on their way from the packet thread to the people who watch.
//!
//! The core counts and shows at most as many decisions a second as the most curious watcher of a network asks for; each watcher
//! then gets no more than it asked for itself. What does not fit is counted, not kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::netconf::NetworkConfig;
use protocol::{NetworkId, Span, Time};
use tokio::sync::mpsc;

use super::engine::{EngineHandle, Stopped};
use crate::core::event::RuleTrace;
use crate::core::limits::MAX_TRACE_RATE;

/// Watchers at once, all networks together.
pub const MAX_WATCHERS: usize = 16;
/// Decisions that wait for a slow watcher.
const QUEUE: usize = 1_024;

/// One decision for one watcher.
#[derive(Debug)]
pub struct Seen {
    /// The decision.
    pub trace: Arc<RuleTrace>,
    /// The configuration it was made under.
    pub config: Arc<NetworkConfig>,
    /// Decisions this watcher was not shown since the last one.
    pub skipped: u64,
}

/// Why nobody else can watch.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// [`MAX_WATCHERS`] are there.
    #[error("{MAX_WATCHERS} traces are running already; end one of them")]
    Full,
    /// The packet thread is gone.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

struct Watcher {
    number: u64,
    rate: u32,
    /// When the present second began.
    second: Option<Time>,
    shown: u32,
    skipped: u64,
    queue: mpsc::Sender<Seen>,
}

impl Watcher {
    fn show(&mut self, trace: &Arc<RuleTrace>, config: &Arc<NetworkConfig>) {
        self.skipped += trace.skipped;
        if self.second.is_none_or(|began| trace.at - began >= Span::secs(1)) {
            (self.second, self.shown) = (Some(trace.at), 0);
        }
        let seen = Seen { trace: Arc::clone(trace), config: Arc::clone(config), skipped: self.skipped };
        if self.shown < self.rate && self.queue.try_send(seen).is_ok() {
            self.shown += 1;
            self.skipped = 0;
        } else {
            self.skipped += 1;
        }
    }
}

/// A network somebody watches.
struct Watched {
    /// The configuration in force as far as events have come. They come in order, so it is that of the next decision.
    config: Arc<NetworkConfig>,
    watchers: Vec<Watcher>,
}

#[derive(Default)]
struct Watchers {
    next: u64,
    by_network: BTreeMap<NetworkId, Watched>,
}

/// Everybody who watches.
#[derive(Clone)]
pub struct Traces {
    watchers: Arc<Mutex<Watchers>>,
    engine: EngineHandle,
}

/// One watcher's end. Dropping it ends the watching.
pub struct Watching {
    network: NetworkId,
    number: u64,
    queue: mpsc::Receiver<Seen>,
    traces: Traces,
}

impl Traces {
    /// Nobody watches yet.
    pub fn new(engine: EngineHandle) -> Self {
        Self { watchers: Arc::default(), engine }
    }

    fn lock(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to watch a network whose configuration is `config`, at most `rate` decisions a second (1 to [`MAX_TRACE_RATE`]).
    ///
    /// # Errors
    /// [`Refused`].
    pub fn watch(&self, config: Arc<NetworkConfig>, rate: u32) -> Result<Watching, Refused> {
        let network = config.network;
        let (sender, queue) = mpsc::channel(QUEUE);
        let mut watchers = self.lock();
        if watchers.by_network.values().map(|w| w.watchers.len()).sum::<usize>() >= MAX_WATCHERS {
            return Err(Refused::Full);
        }
        let number = watchers.next;
        watchers.next += 1;
        let watcher = Watcher {
            number,
            rate: rate.clamp(1, MAX_TRACE_RATE),
            second: None,
            shown: 0,
            skipped: 0,
            queue: sender,
        };
        let watched = watchers.by_network.entry(network);
        watched.or_insert_with(|| Watched { config, watchers: Vec::new() }).watchers.push(watcher);
        let told = self.tell(&watchers, network);
        drop(watchers);
        // The end exists from here on: dropping it takes the watcher away again.
        let watching = Watching { network, number, queue, traces: self.clone() };
        told?;
        Ok(watching)
    }

    /// Tells the packet thread how much is wanted; in the order of changes, so under the lock.
    fn tell(&self, watchers: &Watchers, network: NetworkId) -> Result<(), Stopped> {
        let all = watchers.by_network.get(&network).map(|w| &w.watchers[..]).unwrap_or_default();
        let rate = all.iter().map(|w| w.rate).max().unwrap_or(0);
        self.engine.post(move |core, _| {
            // A network left meanwhile has nothing to trace.
            if let Some(joined) = core.joined(network) {
                joined.set_trace(rate);
            }
        })
    }

    /// A network has a new configuration.
    pub fn reconfigured(&self, config: &Arc<NetworkConfig>) {
        if let Some(watched) = self.lock().by_network.get_mut(&config.network) {
            watched.config = Arc::clone(config);
        }
    }

    /// Hands a decision to those who watch its network.
    pub fn show(&self, trace: RuleTrace) {
        if let Some(watched) = self.lock().by_network.get_mut(&trace.network) {
            let trace = Arc::new(trace);
            for watcher in &mut watched.watchers {
                watcher.show(&trace, &watched.config);
            }
        }
    }
}

impl Watching {
    /// The next decision; `None` when the node stops.
    pub async fn next(&mut self) -> Option<Seen> {
        self.queue.recv().await
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut watchers = self.traces.lock();
        if let Some(watched) = watchers.by_network.get_mut(&self.network) {
            watched.watchers.retain(|w| w.number != self.number);
            if watched.watchers.is_empty() {
                watchers.by_network.remove(&self.network);
            }
        }
        // The node may be stopping: then nothing is traced any more.
        let _ = self.traces.tell(&watchers, self.network);
    }
}
