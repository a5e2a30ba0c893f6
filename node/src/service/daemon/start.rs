//! Starting: what is looked at, written and taken up, in this order.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::world::World;
use protocol::{SecretIdentity, Time};
use tokio::sync::mpsc;

use super::api::Api;
use super::host::Host;
use super::identity::OwnIdentity;
use super::metrics::MetricsFile;
use super::networks::NetworkTable;
use super::notices::Notices;
use super::planet::OwnPlanet;
use super::port_choice::choose_ports;
use super::settings::SettingsFile;
use super::threads::Threads;
use super::writer::Writer;
use super::{Daemon, Failure};
use crate::core::event::Object;
use crate::core::{Core, CoreConfig};
use crate::os::netlink::Netlink;
use crate::os::privileges::may_administer_network;
use crate::service::args::Options;
use crate::service::clock::Clock;
use crate::service::clones;
use crate::service::clouds::Profile;
use crate::service::controlling;
use crate::service::engine::{self, Sinks, Stopped};
use crate::service::home::{self, Home, METRICS_TOKEN_FILE, SETTINGS_FILE, StartError, TOKEN_FILE};
use crate::service::identities::{IdentityChecks, VERIFIED_FILE};
use crate::service::local_conf::LocalConf;
use crate::service::machine::{self, Belonging};
use crate::service::shared::{ORDER_QUEUE, Shared, State, Tokens};
use crate::service::supervisor::{Condition, Supervisor};

/// Peer records that are taken up between two batches of packets.
const RESTORED_AT_ONCE: usize = 64;
/// Networks that are joined before what comes of it is seen to: it has to fit into the queue of events.
const JOINED_AT_ONCE: usize = 32;

impl Daemon {
    /// Looks at everything that can be wrong before anything is written, then starts the parts and takes up what earlier runs were
    /// about.
    pub(super) async fn start(options: &Options) -> Result<Self, Failure> {
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
        let moved_to = (belonging == Belonging::Moved).then_some(machine.id);
        let mut daemon = Daemon {
            own,
            events,
            orders,
            api: None,
            host: Host::new(shared.clone(), netlink, own),
            identity: OwnIdentity::new(shared.clone(), own, moved_to),
            planet: OwnPlanet::new(shared.clone()),
            networks: NetworkTable::new(shared.clone()),
            settings: SettingsFile::new(shared.clone()),
            writer: Writer::new(shared.clone()),
            notices: Notices::new(shared.clone()),
            metrics: MetricsFile::new(shared.clone()),
            threads: Threads { packets, controlling, checking, checks },
            supervisor: Supervisor::of_this_process(),
            condition: Condition::default(),
            shared,
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
        daemon.notices.name_files();
        daemon.take_up().await?;
        // Whoever gets an answer finds the networks joined.
        daemon.api = Some(Api::open(daemon.shared.clone(), primary).await?);
        Ok(daemon)
    }

    /// Binds, and goes on with what earlier runs were about.
    async fn take_up(&mut self) -> Result<(), Stopped> {
        self.host.take_up().await?;
        let shared = self.shared.clone();
        let moons = shared.home.moons.list();
        let awaited = shared.home.moons.awaited();
        shared.engine.post(move |core, now| {
            for (id, world) in moons {
                core.orbit(now, id, None, world);
            }
            for (id, seed) in awaited {
                core.orbit(now, id, Some(seed), None);
            }
        })?;
        for (number, (network, cached)) in shared.home.networks.list().into_iter().enumerate() {
            self.networks.read(network);
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
            if number % JOINED_AT_ONCE == JOINED_AT_ONCE - 1 {
                self.settle().await?;
            }
        }
        let peers = shared.home.peers.list();
        // Whoever is greeted tells at once what it knows of the networks: they have to be joined by now. Their ports are made later, so
        // that their first packets find somebody. Thousands of records: packets are not to wait for all of them.
        for records in peers.chunks(RESTORED_AT_ONCE).map(<[_]>::to_vec) {
            shared.engine.post(move |core, _| {
                for record in records {
                    if let Err(error) = core.restore_peer(&record) {
                        tracing::debug!(%error, "a cached peer record is damaged");
                    }
                }
            })?;
        }
        self.settle().await
    }
}

fn new_core(identity: SecretIdentity, planet: Option<World>, conf: &LocalConf, now: Time) -> Core {
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
