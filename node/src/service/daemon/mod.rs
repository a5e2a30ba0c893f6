//! Start, run, stop.
//!
//! Specification: local service, "start and stop". Everything that can be wrong is looked at before anything is written; from
//! then on one task owns the ports, the sockets and the files, and reacts to the core, to people, to the kernel and to signals.

mod api;
mod host;
mod identity;
mod mending;
mod metrics;
mod networks;
mod notices;
mod orders;
mod planet;
mod port_choice;
mod settings;
mod start;
mod threads;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{Address, NetworkId};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use self::api::Api;
use self::host::Host;
use self::identity::{Over, OwnIdentity};
use self::metrics::MetricsFile;
use self::networks::NetworkTable;
use self::notices::Notices;
use self::planet::OwnPlanet;
use self::settings::SettingsFile;
use self::threads::Threads;
use self::writer::Writer;
use super::args::Options;
use super::engine::{EngineEvent, EngineHandle, Stopped};
use super::home::StartError;
use super::shared::{Order, Shared};
use super::signals::{Signals, Wish};
use super::supervisor::{Condition, Supervisor};
use crate::core::event::Event;
use crate::core::info::NetworkStatus;

/// How often ports, addresses and routes are looked after without being asked.
const SYNC: Duration = Duration::from_secs(30);
/// How often the kernel's multicast groups are read.
const GROUP_SCAN: Duration = Duration::from_secs(5);
/// How often the settings file is looked at.
const SETTINGS_CHECK: Duration = Duration::from_secs(10);
/// What stopping may take before it is cut short.
const STOP_TIME: Duration = Duration::from_millis(1500);

/// Why the daemon ended in an orderly way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// A signal asked for it.
    Stopped,
    /// The address belongs to somebody else, or to another machine as well; start again with a new identity.
    Collided,
}

/// Why the daemon ended otherwise.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The controller's store cannot be used.
    #[error(transparent)]
    Controller(#[from] controller::StoreError),
    /// Another machine has our identity, and the settings say to stop then.
    #[error(
        "another machine runs with this identity ({0}) and settings.clones is \"stop\": remove identity.secret and identity.public here to become another node, or stop the other machine"
    )]
    Cloned(Address),
    /// The packet thread died.
    #[error(transparent)]
    Engine(#[from] Stopped),
}

/// Runs the node until a signal.
///
/// # Errors
/// [`Failure`], in one line.
pub async fn run(options: &Options) -> Result<Ending, Failure> {
    // First of all, so that a signal during the start is not lost.
    let signals = Signals::install()?;
    let mut daemon = Daemon::start(options).await?;
    daemon.show_condition();
    daemon.supervisor.ready();
    let ending = daemon.serve(signals).await;
    if !matches!(ending, Ok(Ending::Collided)) {
        daemon.supervisor.stopping();
    }
    daemon.stop().await;
    ending
}

/// The one task that everything on the control side goes through. What it knows belongs to its parts, which do not know each
/// other; it tells each what concerns it.
struct Daemon {
    shared: Arc<Shared>,
    events: mpsc::Receiver<EngineEvent>,
    orders: mpsc::Receiver<Order>,
    own: Address,
    /// `None` until the node has taken up what earlier runs were about.
    api: Option<Api>,
    host: Host,
    identity: OwnIdentity,
    planet: OwnPlanet,
    networks: NetworkTable,
    settings: SettingsFile,
    writer: Writer,
    notices: Notices,
    metrics: MetricsFile,
    threads: Threads,
    supervisor: Supervisor,
    condition: Condition,
}

impl Daemon {
    /// Shows the service manager how we are, if that has changed.
    fn show_condition(&mut self) {
        let line = self.condition.line(self.own);
        self.supervisor.status(line);
    }

    /// Handles the events of what was just done on the packet thread.
    async fn settle(&mut self) -> Result<(), Stopped> {
        // Events are passed on after a job and before the next one.
        self.shared.engine.call(|_, _| ()).await?;
        while let Ok(event) = self.events.try_recv() {
            self.react(event).await;
        }
        Ok(())
    }

    async fn serve(&mut self, mut signals: Signals) -> Result<Ending, Failure> {
        let mut sync = interval(SYNC);
        let mut scan = interval(GROUP_SCAN);
        let mut check = interval(SETTINGS_CHECK);
        let mut metrics = interval(metrics::INTERVAL);
        for timer in [&mut sync, &mut scan, &mut check, &mut metrics] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.react(event).await,
                    None => return Err(Failure::Engine(Stopped)),
                },
                Some(order) = self.orders.recv() => self.obey(order).await?,
                news = self.host.news() => self.host.handle(news).await?,
                wish = signals.next() => match wish {
                    Wish::Stop(name) => {
                        tracing::info!(signal = name, "stopping");
                        return Ok(Ending::Stopped);
                    }
                    Wish::Reload => {
                        self.supervisor.reloading();
                        self.reload().await?;
                        self.reload_networks(true).await;
                        self.supervisor.ready();
                    }
                },
                () = self.notices.offline() => self.notices.tell_offline(),
                _ = sync.tick() => {
                    self.writer.try_again();
                    self.planet.try_again();
                    self.host.make_sure().await?;
                    self.identity.settle_in()?;
                }
                _ = metrics.tick() => self.metrics.write().await?,
                _ = scan.tick() => self.host.ports.scan_all_groups(),
                () = self.supervisor.look() => self.supervisor.feed(),
                _ = check.tick() => {
                    if self.settings.has_changed() {
                        self.reload().await?;
                    }
                    self.reload_networks(false).await;
                }
            }
            self.host.keep_way().await?;
            self.show_condition();
            match self.identity.over() {
                Some(Over::PutAway) => return Ok(Ending::Collided),
                Some(Over::Cloned) => return Err(Failure::Cloned(self.own)),
                None => {}
            }
        }
    }

    async fn react(&mut self, event: EngineEvent) {
        let event = match event {
            EngineEvent::Core(event) => event,
            EngineEvent::PortLost(network) => return self.host.ports.lost(network).await,
            EngineEvent::SocketLost(id) => return self.host.socket_broke(id),
        };
        match event {
            Event::PortUp { network } => {
                let status = NetworkStatus::RequestingConfiguration;
                self.condition.networks.entry(network).or_insert(status);
                self.host.ports.up(network).await;
            }
            Event::Config { network, config } => {
                self.shared.traces.reconfigured(&config);
                self.host.ports.configure(network, config).await;
            }
            Event::PortDown { network } => {
                self.condition.networks.remove(&network);
                self.host.ports.down(network).await;
                self.shared.waits.tell();
            }
            Event::Store { object, bytes } => self.writer.store(object, &bytes),
            Event::Delete { object } => self.writer.delete(object),
            Event::Online(online) => self.online_changed(online).await,
            Event::NetworkStatus { network, status } => {
                self.condition.networks.insert(network, status);
                report(network, status);
                self.shared.waits.tell();
            }
            Event::Deaf(local) => {
                if self.host.bind_beside(local).await.is_err() {
                    tracing::debug!("the packet loop has stopped");
                }
            }
            Event::Accepted => self.identity.accepted(),
            Event::IdentityCollision { root } => {
                self.condition.collided |= self.identity.collided(root).await;
            }
            Event::RuleTrace(trace) => self.shared.traces.show(*trace),
            Event::Clones(clones) => {
                self.condition.cloned = !clones.is_empty();
                self.identity.set_clones(clones);
            }
            Event::UserMessage { from, kind, body } => {
                tracing::debug!(%from, kind, octets = body.len(), "application message; nobody asked for it");
            }
        }
    }

    async fn online_changed(&mut self, online: bool) {
        tracing::info!("{}", if online { "ONLINE: a root answers" } else { "OFFLINE: no root answers" });
        self.condition.online = online;
        if online {
            self.planet.note_root_heard();
        }
        self.identity.set_online(online);
        self.notices.set_online(online);
        if self.host.set_online(online).await.is_err() {
            tracing::debug!("the packet loop has stopped");
        }
        self.shared.waits.tell();
    }

    async fn stop(mut self) {
        let begun = Instant::now();
        // No more orders from people.
        self.api = None;
        let saved = tokio::time::timeout(STOP_TIME, self.save_peers()).await;
        if saved.is_err() {
            tracing::debug!("not all peer records were saved in time");
        }
        self.threads.stop(&self.shared);
        self.host.stop().await;
        self.shared.home.remove_pid();
        tracing::info!(milliseconds = begun.elapsed().as_millis() as u64, "stopped");
    }

    async fn save_peers(&mut self) {
        let engine: EngineHandle = self.shared.engine.clone();
        if engine.call(|core, now| core.save_peers(now)).await.is_err() {
            return;
        }
        // More records than the channel holds come in instalments.
        let quiet = Duration::from_millis(60);
        while let Ok(Some(event)) = tokio::time::timeout(quiet, self.events.recv()).await {
            if let EngineEvent::Core(Event::Store { object, bytes }) = event {
                self.writer.store(object, &bytes);
            }
        }
    }
}

fn report(network: NetworkId, status: NetworkStatus) {
    let name = status.name();
    match status {
        NetworkStatus::AccessDenied => {
            tracing::info!(%network, "{name}: the network's owner has to authorize this node's address");
        }
        NetworkStatus::NotFound => {
            tracing::info!(%network, "{name}: its controller does not know this network");
        }
        // The reason was told when the port could not be made.
        NetworkStatus::PortError => tracing::debug!(%network, "{name}"),
        _ => tracing::info!(%network, "{name}"),
    }
}
