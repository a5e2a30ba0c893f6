//! Start, run, stop.
//!
//! Specification: local service, "start and stop". Everything that can be wrong is looked at before anything is written; from
//! then on one task owns the ports, the sockets and the files, and reacts to the core, to people, to the kernel and to signals.

mod identity;
mod networks;
mod notices;
mod planet;
mod port_choice;
mod settings;
mod way;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use port_choice::choose_ports;
use protocol::world::World;
use protocol::{Address, NetworkId, SecretIdentity};
use settings::{Stamp, stamp};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::args::Options;
use super::binder::Binder;
use super::bypass::Bypass;
use super::clock::Clock;
use super::clones;
use super::clouds::Profile;
use super::controlling;
use super::engine::{self, EngineEvent, EngineHandle, Sinks, Stopped};
use super::home::{self, Home, METRICS_TOKEN_FILE, SETTINGS_FILE, SOCKET_FILE, StartError, TOKEN_FILE};
use super::http::Server;
use super::identities::{IdentityChecks, VERIFIED_FILE};
use super::local_conf::LocalConf;
use super::machine::{self, Belonging};
use super::ports::Ports;
use super::shared::{ORDER_QUEUE, Order, Shared, State, Tokens};
use super::signals::{Signals, Wish};
use super::supervisor::{Condition, Supervisor};
use super::trial::Trial;
use crate::core::event::{Event, Object};
use crate::core::info::NetworkStatus;
use crate::core::{Core, CoreConfig};
use crate::os::netlink::{Netlink, Noticed};
use crate::os::privileges::may_administer_network;

/// How often ports, addresses and routes are looked after without being asked.
const SYNC: Duration = Duration::from_secs(30);
/// How often the kernel's multicast groups are read.
const GROUP_SCAN: Duration = Duration::from_secs(5);
/// How often the settings file is looked at.
const SETTINGS_CHECK: Duration = Duration::from_secs(10);
/// Peer records that are taken up between two batches of packets.
const RESTORED_AT_ONCE: usize = 64;
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

struct Daemon {
    shared: Arc<Shared>,
    events: mpsc::Receiver<EngineEvent>,
    orders: mpsc::Receiver<Order>,
    server: Option<Server>,
    own: Address,
    ports: Ports,
    binder: Binder,
    bypass: Bypass,
    trial: Trial,
    /// When the roots were asked last on account of a default route, of the node's clock.
    asked: i64,
    begun: Instant,
    netlink: Option<Netlink>,
    settings_seen: Option<Stamp>,
    /// The same of the networks' settings.
    network_settings_seen: BTreeMap<NetworkId, Option<Stamp>>,
    packets: Option<JoinHandle<()>>,
    controlling: Option<JoinHandle<()>>,
    checks: IdentityChecks,
    checking: Option<JoinHandle<()>>,
    /// The identity was made here, and no root accepted it yet.
    new: bool,
    /// The identity was put away: start again with a new one.
    collided: bool,
    /// Another machine has the identity, and we are to stop.
    stop_as_clone: bool,
    /// Hash of this machine's ID, while the identity belongs to another.
    moved_to: Option<[u8; 16]>,
    online_since: Option<Instant>,
    /// When somebody is to be told that no root answers.
    offline_told_at: Option<tokio::time::Instant>,
    /// The metrics could not be written to their file the last time.
    metrics_failed: bool,
    /// That a root was heard could not be noted the last time.
    root_heard_unsaved: bool,
    /// What could not be written, as it should be.
    unsaved: BTreeMap<Object, Vec<u8>>,
    supervisor: Supervisor,
    condition: Condition,
}

impl Daemon {
    async fn start(options: &Options) -> Result<Self, Failure> {
        let root = home::choose(options.home.clone());
        let mut home = Home::claim(&root)?;
        let contents = home.inspect()?;
        let settings_path = home.path(SETTINGS_FILE);
        let conf = LocalConf::parse(contents.settings.as_deref().unwrap_or_default(), &settings_path)?;
        let ports = choose_ports(&conf, options.port)?;
        let primary = ports[0];

        let identity = home.prepare(contents.identity)?;
        if let Err(error) = home.planet.note_former_use() {
            tracing::warn!(%error, "cannot note that a root was heard; correct owner and mode of the home directory");
        }
        let tokens = Tokens { api: home.token(TOKEN_FILE)?, metrics: home.token(METRICS_TOKEN_FILE)? };
        let clock = Clock::start();
        let folder = controller_folder(&home, &conf)?;
        let (controller, controlling) = controlling::start(identity.clone(), folder, clock)?;

        let own = identity.address();
        let machine_id = options.machine_id.as_deref().unwrap_or(Path::new(machine::MACHINE_ID));
        let (machine, belonging) = machine::look(&home, own, machine_id);
        if belonging == Belonging::Moved {
            tracing::warn!(address = %own, "this home was moved or copied here from another machine; is the other one still running with this identity? That is looked for now");
        }
        let mut core = new_core(identity, contents.planet, &conf, clock.now());
        core.resume_counting(clock.now(), &home.counts().unwrap_or_default());
        core.watch_for_clones(clock.now(), machine);
        let sink = {
            let controller = controller.clone();
            Box::new(move |message| controller.hand_over(message))
        };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let lanes = conf.typed.settings.lanes.count(processors);
        let no_thread = |e| {
            StartError::new(
                format!("no packet loop ({e})"),
                "this process",
                "raise its limits on threads and descriptors",
            )
        };
        let checks = IdentityChecks::default();
        let sinks = Sinks { requests: sink, checks: checks.clone() };
        let (engine, events, packets) = engine::start(core, clock, sinks, lanes).map_err(no_thread)?;
        let checking = checks.run(&home.path(VERIFIED_FILE), engine.clone()).map_err(no_thread)?;
        controller.connect(engine.clone());

        let (order_sender, orders) = mpsc::channel(ORDER_QUEUE);
        let profile = Profile::choose(conf.typed.settings.profile, Path::new("/"));
        tracing::info!(profile = profile.name(), reason = %profile.reason, "profile");
        let clones = clones::View { belonging, seen: Vec::new(), former: home.identity.former_addresses() };
        let state = State { conf, ports, lanes, profile, clones, ..State::default() };
        let shared = Arc::new(Shared::new(home, engine, controller, tokens, order_sender, state));
        let netlink = Netlink::connect().inspect_err(|error| {
            tracing::warn!(%error, "no netlink: wildcard addresses are bound and no network can be joined");
        });
        let netlink = netlink.ok();
        shared.state_mut().netlink.clone_from(&netlink);
        let mut daemon = Daemon {
            own,
            new: shared.home.identity.is_new(own),
            ports: Ports::new(shared.clone(), netlink.clone(), own),
            binder: Binder::new(netlink.clone()),
            bypass: Bypass::new(netlink.clone()),
            trial: Trial::default(),
            asked: 0,
            begun: Instant::now(),
            netlink,
            settings_seen: stamp(&settings_path),
            network_settings_seen: BTreeMap::new(),
            shared,
            events,
            orders,
            server: None,
            packets: Some(packets),
            controlling: Some(controlling),
            checks,
            checking: Some(checking),
            collided: false,
            stop_as_clone: false,
            moved_to: (belonging == Belonging::Moved).then_some(machine.id),
            online_since: None,
            offline_told_at: Some(notices::offline_deadline()),
            metrics_failed: false,
            root_heard_unsaved: false,
            unsaved: BTreeMap::new(),
            supervisor: Supervisor::of_this_process(),
            condition: Condition::default(),
        };
        daemon.supervisor.status(format!("{own} starting"));
        let (engine, controller) = (daemon.shared.engine.clone(), daemon.shared.controller.clone());
        daemon.supervisor.watch_loops(engine, controller);
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            address = %own,
            home = %root.display(),
            port = primary,
            lanes,
            "ztnode runs"
        );
        if !may_administer_network() {
            tracing::info!(
                "no CAP_NET_ADMIN: this node can be a controller and a root; joining a network will end in PORT_ERROR"
            );
        }
        daemon.tell_of_files();
        daemon.take_up().await?;
        // Whoever gets an answer finds the networks joined.
        daemon.answer_people(primary).await?;
        Ok(daemon)
    }

    /// Opens the control API, and tells tools where it is.
    async fn answer_people(&mut self, primary: u16) -> Result<(), StartError> {
        let shared = self.shared.clone();
        let exposed = !shared.state().conf.typed.settings.allow_management_from.is_empty();
        let mut server = Server::new(shared.clone(), primary);
        server.listen_tcp(exposed).await.map_err(|e| {
            let remedy = "stop the program that uses it, or choose another port with -p or primaryPort";
            StartError::new(
                format!("the control API cannot listen ({e})"),
                format!("TCP port {primary}"),
                remedy,
            )
        })?;
        let socket = shared.home.path(SOCKET_FILE);
        if let Err(error) = server.listen_unix(socket.clone()) {
            // The path may be too long for a socket address; TCP with the token still works.
            tracing::info!(path = %socket.display(), %error, "no Unix socket for the control API; tools use TCP and the token");
        }
        shared.home.write_pid()?;
        shared.home.write_port(primary)?;
        self.server = Some(server);
        self.listen_for_scrapers();
        Ok(())
    }

    /// Shows the service manager how we are, if that has changed.
    fn show_condition(&mut self) {
        let line = self.condition.line(self.own);
        self.supervisor.status(line);
    }

    /// Binds, and goes on with what earlier runs were about.
    async fn take_up(&mut self) -> Result<(), Stopped> {
        self.bypass.clear().await;
        self.binder.refresh(&self.shared, self.ports.indices()).await?;
        let shared = self.shared.clone();
        let peers = shared.home.peers.list();
        let moons = shared.home.moons.list();
        let awaited = shared.home.moons.awaited();
        // Thousands of records: packets are not to wait for all of them.
        for records in peers.chunks(RESTORED_AT_ONCE).map(<[_]>::to_vec) {
            shared.engine.post(move |core, _| {
                for record in records {
                    if let Err(error) = core.restore_peer(&record) {
                        tracing::debug!(%error, "a cached peer record is damaged");
                    }
                }
            })?;
        }
        shared.engine.post(move |core, now| {
            for (id, world) in moons {
                core.orbit(now, id, None, world);
            }
            for (id, seed) in awaited {
                core.orbit(now, id, Some(seed), None);
            }
        })?;
        for (network, cached) in shared.home.networks.list() {
            self.read_network_settings(network);
            let token = shared.home.networks.token(network);
            let revoked = shared.home.networks.revocations(network);
            let (joined, whole) = shared
                .engine
                .call(move |core, now| {
                    let joined = core.join_with(now, network, cached.as_deref(), token);
                    let whole = revoked.is_none_or(|bytes| {
                        core.joined(network).is_none_or(|joined| joined.restore_revocations(now, &bytes))
                    });
                    (joined, whole)
                })
                .await?;
            if !whole {
                let path = shared.home.object_path(Object::Revocations(network));
                tracing::warn!(path = %path.display(), "the network's revocations are damaged; its controller tells them again");
            }
            if !joined {
                tracing::warn!(%network, "not joined: too many networks; remove some of networks.d");
            }
            self.settle().await?;
        }
        Ok(())
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
        let mut metrics = interval(notices::METRICS);
        for timer in [&mut sync, &mut scan, &mut check, &mut metrics] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            let due = self.way_due();
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.react(event).await,
                    None => return Err(Failure::Engine(Stopped)),
                },
                Some(order) = self.orders.recv() => self.obey(order).await?,
                noticed = next_change(self.netlink.as_ref()) => self.host_changed(noticed).await?,
                () = until(self.ports.due()) => self.ports.sync_due().await,
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
                () = notices::at(self.offline_told_at) => self.tell_offline(),
                () = self.bypass.changed() => self.bypass.doubt(),
                () = way::until(due) => self.look_at_way().await?,
                _ = sync.tick() => {
                    self.bypass.doubt();
                    self.save_again();
                    if self.root_heard_unsaved {
                        self.note_root_heard();
                    }
                    self.ports.sync_all().await;
                    self.refresh().await?;
                    self.settle_in()?;
                }
                _ = metrics.tick() => self.write_metrics().await?,
                _ = scan.tick() => self.ports.scan_all_groups(),
                () = self.supervisor.look() => self.supervisor.feed(),
                _ = check.tick() => {
                    if stamp(&self.shared.home.path(SETTINGS_FILE)) != self.settings_seen {
                        self.reload().await?;
                    }
                    self.reload_networks(false).await;
                }
            }
            self.keep_way().await?;
            self.show_condition();
            if self.collided {
                return Ok(Ending::Collided);
            }
            if self.stop_as_clone {
                return Err(Failure::Cloned(self.own));
            }
        }
    }

    async fn host_changed(&mut self, noticed: Noticed) -> Result<(), Stopped> {
        // A subnet that came or went decides which managed routes are refused, and what we set may be gone.
        self.ports.noticed(noticed).await;
        if noticed.links { self.refresh().await } else { Ok(()) }
    }

    /// Binds what there is to bind, and looks which groups the machine listens to.
    async fn refresh(&mut self) -> Result<(), Stopped> {
        self.binder.refresh(&self.shared, self.ports.indices()).await?;
        self.ports.scan_all_groups();
        Ok(())
    }

    async fn react(&mut self, event: EngineEvent) {
        let event = match event {
            EngineEvent::Core(event) => event,
            EngineEvent::PortLost(network) => return self.ports.lost(network).await,
        };
        match event {
            Event::PortUp { network } => {
                let status = NetworkStatus::RequestingConfiguration;
                self.condition.networks.entry(network).or_insert(status);
                self.ports.up(network).await;
            }
            Event::Config { network, config } => {
                self.shared.traces.reconfigured(&config);
                self.ports.configure(network, config).await;
            }
            Event::PortDown { network } => {
                self.condition.networks.remove(&network);
                self.ports.down(network).await;
                self.shared.waits.tell();
            }
            Event::Store { object, bytes } => self.store(object, &bytes),
            Event::Delete { object } => {
                self.forget_unsaved(object);
                self.shared.home.delete(object);
            }
            Event::Online(online) => {
                tracing::info!(
                    "{}",
                    if online { "ONLINE: a root answers" } else { "OFFLINE: no root answers" }
                );
                self.condition.online = online;
                if online {
                    self.note_root_heard();
                }
                self.online_since = online.then(Instant::now);
                self.offline_told_at = (!online).then(notices::offline_deadline);
                if self.online_changed(online).await.is_err() {
                    tracing::debug!("the packet loop has stopped");
                }
                self.shared.waits.tell();
            }
            Event::NetworkStatus { network, status } => {
                self.condition.networks.insert(network, status);
                report(network, status);
                self.shared.waits.tell();
            }
            Event::Accepted => self.accepted(),
            Event::IdentityCollision { root } => self.collided(root).await,
            // The packet thread hands these to others itself.
            Event::ConfigRequest(_) | Event::CheckIdentity { .. } | Event::Acknowledged(_) => {}
            Event::RuleTrace(trace) => self.shared.traces.show(*trace),
            Event::Clones(clones) => self.clones_seen(clones),
            Event::UserMessage { from, kind, body } => {
                tracing::debug!(%from, kind, octets = body.len(), "application message; nobody asked for it");
            }
        }
    }

    async fn obey(&mut self, order: Order) -> Result<(), Stopped> {
        match order {
            Order::Join { network, changes, token, reply } => {
                let joined = self.join(network, changes, token).await?;
                let _ = reply.send(joined);
            }
            Order::Leave { network, reply } => {
                let left = self.leave(network).await?;
                let _ = reply.send(left);
            }
            Order::Planet { planet, reply } => {
                let taken = self.take_planet(planet).await?;
                let _ = reply.send(taken);
            }
            Order::Settings { changes, reply } => {
                let result = self.change_settings(&changes).await?;
                let _ = reply.send(result);
            }
        }
        Ok(())
    }

    async fn stop(&mut self) {
        let begun = Instant::now();
        // No more orders from people.
        self.server = None;
        let saved = tokio::time::timeout(STOP_TIME, self.save_peers()).await;
        if saved.is_err() {
            tracing::debug!("not all peer records were saved in time");
        }
        self.shared.controller.stop();
        self.shared.engine.stop();
        self.checks.stop();
        // The packet thread closes the TAPs, which takes the interfaces away.
        let threads = [self.packets.take(), self.controlling.take(), self.checking.take()];
        for thread in threads.into_iter().flatten() {
            if thread.join().is_err() {
                tracing::error!("a thread of this node had panicked; please report the lines above");
            }
        }
        // Only now: until the end our own packets need them.
        self.bypass.clear().await;
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
                self.store(object, &bytes);
            }
        }
    }
}

async fn next_change(netlink: Option<&Netlink>) -> Noticed {
    match netlink {
        Some(netlink) => netlink.changed().await,
        None => std::future::pending().await,
    }
}

async fn until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
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

fn new_core(identity: SecretIdentity, planet: Option<World>, conf: &LocalConf, now: i64) -> Core {
    let config = CoreConfig {
        identity,
        planet: planet.unwrap_or_else(World::public_planet),
        seed: rand::random(),
        settings: conf.core_settings(),
    };
    Core::new(config, now)
}

/// The controller's folder, made private if it is not there.
fn controller_folder(home: &Home, conf: &LocalConf) -> Result<PathBuf, StartError> {
    let folder = conf.controller_folder(home);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|e| {
        let place = folder.display().to_string();
        StartError::new(format!("cannot make the controller's folder ({e})"), place, "check owner and mode")
    })?;
    Ok(folder)
}
