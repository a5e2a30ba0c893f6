//! The network controller on a thread of its own: its signatures and its database must delay neither packets nor people.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use controller::store::{self, SqliteStore};
use controller::{Action, Controller, HttpReply, StoreError};
use protocol::SecretIdentity;
use tokio::sync::oneshot;

use super::clock::Clock;
use super::engine::{EngineHandle, ToController};
use super::supervisor::Pulse;

/// Requests that may wait; a member whose request is dropped asks again.
const QUEUE: usize = 1024;
/// The controller looks at its clock at least this often.
const MAX_SLEEP: Duration = Duration::from_secs(60);

/// Name of the database in the controller's folder.
const DATABASE: &str = "controller.sqlite";

enum Job {
    Engine(EngineHandle),
    Message(ToController),
    Http {
        method: String,
        path: String,
        body: Vec<u8>,
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
    /// Go round once.
    Nudge,
    Stop,
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
        let (reply, result) = oneshot::channel();
        self.submit(Job::Http { method, path, body, reply })?;
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
    let (store, report) = SqliteStore::open_importing(&folder.join(DATABASE), folder)?;
    if let Some(report) = report {
        tracing::info!(?report, folder = %folder.display(), "took over the networks of a ZeroTier One controller");
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
            let now = self.clock.now();
            if let Some(controller) = &mut self.controller
                && controller.next_deadline().is_some_and(|at| at <= now)
            {
                let actions = controller.tick(now);
                self.carry_out(actions);
            }
            match queue.recv_timeout(self.sleep()) {
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(job) => self.handle(job),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn sleep(&self) -> Duration {
        let deadline = self.controller.as_ref().and_then(Controller::next_deadline);
        let wait = deadline.map_or(i64::MAX, |at| at - self.clock.now());
        Duration::from_millis(u64::try_from(wait).unwrap_or(0)).min(MAX_SLEEP)
    }

    fn handle(&mut self, job: Job) {
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
            Job::Http { method, path, body, reply } => {
                let Some(controller) = &mut self.controller else { return };
                let (answer, actions) = controller.http(now, &method, &path, &body);
                let _ = reply.send(answer);
                self.carry_out(actions);
            }
            Job::Backup { to, reply } => {
                let _ = reply.send(store::backup(&self.folder.join(DATABASE), &to));
            }
            Job::Restore { from, reply } => {
                let _ = reply.send(self.restore(&from));
            }
            Job::Nudge | Job::Stop => {}
        }
    }

    fn restore(&mut self, from: &Path) -> Result<(), StoreError> {
        // The database is locked while it is open. Whom it put out stays out.
        let legacy = self.controller.take().map(Controller::into_legacy);
        let replaced = store::restore(from, &self.folder.join(DATABASE));
        match open(&self.identity, &self.folder) {
            Ok(mut controller) => {
                if let Err(error) = controller.inherit(&legacy.unwrap_or_default()) {
                    tracing::error!(%error, "revocations that are younger than the backup are lost");
                }
                self.controller = Some(controller);
            }
            Err(error) => {
                tracing::error!(%error, "the controller's database cannot be opened again");
                return replaced.and(Err(error));
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
