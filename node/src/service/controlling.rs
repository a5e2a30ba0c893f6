//! The network controller on a thread of its own: its signatures and its database must delay neither packets nor people.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use controller::store::{self, ImportReport, SqliteStore};
use controller::{Action, Controller, Counts, HttpReply, Origin, StoreError};
use protocol::{SecretIdentity, Span};
use tokio::sync::oneshot;

use super::clock::Clock;
use super::engine::{EngineHandle, ToController};
use super::supervisor::Pulse;

/// Requests that may wait; a member whose request is dropped asks again.
const QUEUE: usize = 1024;
/// The controller goes round at least this often.
const MAX_SLEEP: Duration = Duration::from_secs(60);
/// So often the wall clock is looked at while there are networks: one that is set must not be found out by members.
const CLOCK_CHECK: Duration = Duration::from_secs(1);

/// So long others wait for what they only show beside their own.
const FACTS_TIME: Duration = Duration::from_millis(500);

/// Name of the database in the controller's folder.
const DATABASE: &str = "controller.sqlite";

enum Job {
    Engine(EngineHandle),
    Message(ToController),
    Http {
        method: String,
        path: String,
        body: Vec<u8>,
        origin: Origin,
        reply: oneshot::Sender<HttpReply>,
    },
    Backup {
        to: PathBuf,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    Restore {
        from: PathBuf,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    Import {
        by: String,
        reply: oneshot::Sender<Result<ImportReport, StoreError>>,
    },
    Facts(oneshot::Sender<Facts>),
    /// Go round once.
    Nudge,
    Stop,
}

/// What others show of the controller.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What it has done.
    pub counts: Counts,
    /// Networks whose certificates run ahead of the clock, and by how much.
    pub leads: BTreeMap<String, Span>,
}

/// Access to the controller; clones share it.
#[derive(Clone)]
pub struct ControllerHandle {
    jobs: SyncSender<Job>,
    pulse: Pulse,
}

/// The controller is gone or overloaded.
#[derive(Debug, thiserror::Error)]
#[error("the controller is not available")]
pub struct Unavailable;

impl ControllerHandle {
    /// Hands over what a member sent; `false` = the queue is full.
    pub fn hand_over(&self, message: ToController) -> bool {
        self.jobs.try_send(Job::Message(message)).is_ok()
    }

    /// Tells where to send what the controller decides.
    pub fn connect(&self, engine: EngineHandle) {
        let _ = self.jobs.send(Job::Engine(engine));
    }

    fn submit(&self, job: Job) -> Result<(), Unavailable> {
        self.jobs.try_send(job).map_err(|e| match e {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => Unavailable,
        })
    }

    /// One authenticated HTTP request below `/controller` or `/unstable/controller`.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn http(&self, method: String, path: String, body: Vec<u8>) -> Result<HttpReply, Unavailable> {
        self.http_by(method, path, body, Origin::default()).await
    }

    /// [`ControllerHandle::http`] by somebody who is known.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn http_by(
        &self,
        method: String,
        path: String,
        body: Vec<u8>,
        origin: Origin,
    ) -> Result<HttpReply, Unavailable> {
        let (reply, result) = oneshot::channel();
        self.submit(Job::Http { method, path, body, origin, reply })?;
        result.await.map_err(|_| Unavailable)
    }

    /// Copies the database to a new file.
    ///
    /// # Errors
    /// [`Unavailable`]; inside, what the store says.
    pub async fn backup(&self, to: PathBuf) -> Result<Result<(), StoreError>, Unavailable> {
        let (reply, result) = oneshot::channel();
        self.submit(Job::Backup { to, reply })?;
        result.await.map_err(|_| Unavailable)
    }

    /// Puts a backup in place of the database.
    ///
    /// # Errors
    /// [`Unavailable`]; inside, what the store says: the old database is then still in use.
    pub async fn restore(&self, from: PathBuf) -> Result<Result<(), StoreError>, Unavailable> {
        let (reply, result) = oneshot::channel();
        self.submit(Job::Restore { from, reply })?;
        result.await.map_err(|_| Unavailable)
    }

    /// Takes over what a zerotier-one controller's files in our folder have that is newer than the last time.
    ///
    /// # Errors
    /// [`Unavailable`]; inside, what the store says: nothing was taken over then.
    pub async fn import(&self, by: String) -> Result<Result<ImportReport, StoreError>, Unavailable> {
        let (reply, result) = oneshot::channel();
        self.submit(Job::Import { by, reply })?;
        result.await.map_err(|_| Unavailable)
    }

    /// What others show of it; nothing when it has no time.
    pub async fn facts(&self) -> Option<Facts> {
        let (reply, result) = oneshot::channel();
        self.submit(Job::Facts(reply)).ok()?;
        tokio::time::timeout(FACTS_TIME, result).await.ok()?.ok()
    }

    /// Beaten whenever the thread goes round.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Makes the thread go round once; `false` = the queue is full or the thread is gone.
    pub fn nudge(&self) -> bool {
        self.jobs.try_send(Job::Nudge).is_ok()
    }

    /// Ends the thread after what is queued.
    pub fn stop(&self) {
        let _ = self.jobs.send(Job::Stop);
    }
}

fn open(identity: &SecretIdentity, folder: &Path) -> Result<Controller, StoreError> {
    let (mut store, report) = SqliteStore::open_importing(&folder.join(DATABASE), folder)?;
    if let Some(report) = report {
        tracing::info!(?report, folder = %folder.display(), "took over the networks of a ZeroTier One controller");
    }
    let newer = store.newer_records(folder).unwrap_or_else(|error| {
        tracing::warn!("files of a ZeroTier One controller, if there are any, cannot be looked at: {error}");
        Vec::new()
    });
    if let Some(first) = newer.first() {
        tracing::warn!(
            files = newer.len(),
            first = %first.display(),
            "files of a ZeroTier One controller are newer than what was taken over and have no effect; take them over by: ztnode-cli controller import"
        );
    }
    Controller::open(identity.clone(), Box::new(store))
}

/// Opens the store in `folder`, which exists, and starts the thread.
///
/// # Errors
/// The store is damaged, too new or in use.
pub fn start(
    identity: SecretIdentity,
    folder: PathBuf,
    clock: Clock,
) -> Result<(ControllerHandle, JoinHandle<()>), StoreError> {
    let controller = open(&identity, &folder)?;
    let (jobs, queue) = sync_channel(QUEUE);
    let pulse = Pulse::default();
    let mut thread =
        Thread { identity, folder, clock, controller: Some(controller), engine: None, pulse: pulse.clone() };
    let handle = std::thread::Builder::new()
        .name("controller".into())
        .spawn(move || thread.run(&queue))
        .map_err(|source| StoreError::Io {
            doing: "start a thread for",
            path: PathBuf::from("the controller"),
            source,
        })?;
    Ok((ControllerHandle { jobs, pulse }, handle))
}

struct Thread {
    identity: SecretIdentity,
    folder: PathBuf,
    clock: Clock,
    controller: Option<Controller>,
    engine: Option<EngineHandle>,
    pulse: Pulse,
}

impl Thread {
    fn run(&mut self, queue: &Receiver<Job>) {
        loop {
            self.pulse.beat();
            self.look_at_the_clock();
            let now = self.clock.now();
            if let Some(controller) = &mut self.controller
                && controller.next_deadline().is_some_and(|at| at <= now)
            {
                let actions = controller.tick(now);
                self.carry_out(actions);
            }
            match queue.recv_timeout(self.sleep()) {
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => return self.settle(),
                Ok(job) => self.handle(job),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn sleep(&self) -> Duration {
        let deadline = self.controller.as_ref().and_then(Controller::next_deadline);
        let has_networks = self.controller.as_ref().is_some_and(|c| c.networks().next().is_some());
        let longest = if has_networks { CLOCK_CHECK } else { MAX_SLEEP };
        deadline.map_or(longest, |at| longest.min((at - self.clock.now()).into()))
    }

    fn look_at_the_clock(&mut self) {
        let now = self.clock.now();
        if let Some(controller) = &mut self.controller {
            let actions = controller.set_wall(now, Clock::wall());
            self.carry_out(actions);
        }
    }

    fn settle(&mut self) {
        if let Some(Err(error)) = self.controller.as_mut().map(Controller::settle) {
            tracing::warn!("the time of certificates is not kept exactly: {error}");
        }
    }

    fn handle(&mut self, job: Job) {
        self.look_at_the_clock();
        let now = self.clock.now();
        match job {
            Job::Engine(engine) => self.engine = Some(engine),
            Job::Message(ToController::Request(request)) => {
                let actions = self.controller.as_mut().map(|c| c.request(now, request));
                self.carry_out(actions.unwrap_or_default());
            }
            Job::Message(ToController::Acknowledged(word)) => {
                if let Some(controller) = &mut self.controller {
                    controller.acknowledged(now, word);
                }
            }
            Job::Http { method, path, body, origin, reply } => {
                let Some(controller) = &mut self.controller else { return };
                let (answer, actions) = controller.http_by(now, &method, &path, &body, origin);
                let _ = reply.send(answer);
                self.carry_out(actions);
            }
            Job::Backup { to, reply } => {
                let _ = reply.send(store::backup(&self.folder.join(DATABASE), &to));
            }
            Job::Restore { from, reply } => {
                let _ = reply.send(self.restore(&from));
            }
            Job::Import { by, reply } => {
                let _ = reply.send(self.import(&by));
            }
            Job::Facts(reply) => {
                if let Some(controller) = &self.controller {
                    let facts = Facts { counts: controller.counts(), leads: controller.leads(now) };
                    let _ = reply.send(facts);
                }
            }
            Job::Nudge | Job::Stop => {}
        }
    }

    fn restore(&mut self, from: &Path) -> Result<(), StoreError> {
        let database = self.folder.join(DATABASE);
        self.with_database_closed(|| store::restore(from, &database))
    }

    fn import(&mut self, by: &str) -> Result<ImportReport, StoreError> {
        let folder = self.folder.clone();
        let report =
            self.with_database_closed(|| SqliteStore::open(&folder.join(DATABASE))?.import_newer(&folder))?;
        tracing::info!(?report, folder = %folder.display(), by, "took over newer files of a ZeroTier One controller");
        Ok(report)
    }

    fn with_database_closed<T>(
        &mut self,
        work: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.settle();
        // The database is locked while it is open. Whom it put out stays out.
        let legacy = self.controller.take().map(Controller::into_legacy);
        let replaced = work();
        match open(&self.identity, &self.folder) {
            Ok(mut controller) => {
                if let Err(error) = controller.inherit(&legacy.unwrap_or_default()) {
                    tracing::error!(%error, "revocations that are younger than the backup are lost");
                }
                self.controller = Some(controller);
            }
            Err(error) => {
                tracing::error!(%error, "the controller's database cannot be opened again");
                return replaced.and_then(|_| Err(error));
            }
        }
        replaced
    }

    fn carry_out(&self, actions: Vec<Action>) {
        let Some(engine) = &self.engine else { return };
        if !actions.is_empty() {
            let _ = engine.post(move |core, now| {
                for action in actions {
                    core.controller_action(now, action);
                }
            });
        }
    }
}
