//! What the parts of the control side share: handles, tokens, and the state that answers to people are made of.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use protocol::NetworkId;
use protocol::netconf::NetworkConfig;
use protocol::world::World;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

use super::clock::Clock;
use super::clones;
use super::clouds::Profile;
use super::collision;
use super::controlling::ControllerHandle;
use super::engine::EngineHandle;
use super::home::Home;
use super::in_place::InPlace;
use super::local_conf::LocalConf;
use super::managed::{Overlap, Refused};
use super::network_settings::{NetworkSettings, SettingsChange};
use super::planets::NotTaken;
use super::traces::Traces;
use super::waits::Waits;
use crate::dataplane::vnet::Offloads;
use crate::os::interfaces::InterfaceUse;
use crate::os::netlink::Netlink;
use crate::os::udp::UdpSocket;

/// Orders from people that wait for the daemon.
pub const ORDER_QUEUE: usize = 256;

/// The parts and the state they share.
pub struct Shared {
    /// State on disk.
    pub home: Home,
    /// The node's time.
    pub clock: Clock,
    /// The packet thread.
    pub engine: EngineHandle,
    /// The controller's thread.
    pub controller: ControllerHandle,
    /// Secrets that open the control API.
    pub tokens: Tokens,
    /// Orders for the daemon.
    pub orders: mpsc::Sender<Order>,
    /// Live traces of rule decisions.
    pub traces: Traces,
    /// Those who wait for a network.
    pub waits: Waits,
    state: RwLock<State>,
}

/// Secrets that open the control API.
pub struct Tokens {
    /// Opens everything.
    pub api: Zeroizing<String>,
    /// Opens `/metrics`.
    pub metrics: Zeroizing<String>,
}

/// What answers are made of, beside what the core knows.
#[derive(Debug, Default)]
pub struct State {
    /// The user's settings.
    pub conf: LocalConf,
    /// Bound UDP sockets.
    pub listening: Vec<SocketAddr>,
    /// These sockets: what the kernel granted them, and what it dropped.
    pub sockets: Vec<Arc<UdpSocket>>,
    /// Primary, secondary and tertiary port; 0 = none.
    pub ports: [u16; 3],
    /// How many lanes there are.
    pub lanes: usize,
    /// The profile in force.
    pub profile: Profile,
    /// Whether the identity belongs to this machine, and who else has it.
    pub clones: clones::View,
    /// What roots said of other owners of our address.
    pub collision: collision::View,
    /// This machine's interfaces: which carry our packets, and why others do not.
    pub interfaces: Vec<InterfaceUse>,
    /// Joined networks.
    pub networks: BTreeMap<NetworkId, NetworkView>,
    /// What the kernel says; `None` where it cannot be asked.
    pub netlink: Option<Netlink>,
    /// Files that should have other content, which cannot be written.
    pub unsaved: Vec<Unsaved>,
}

/// A file that cannot be written.
#[derive(Clone, Debug)]
pub struct Unsaved {
    /// Which.
    pub path: PathBuf,
    /// Why not.
    pub error: String,
}

/// One joined network as the daemon keeps it.
#[derive(Clone, Debug, Default)]
pub struct NetworkView {
    /// Interface name; empty without one.
    pub device: String,
    /// What the interface's driver and we leave to each other; `None` without one.
    pub offloads: Option<Offloads>,
    /// What the user allows.
    pub settings: NetworkSettings,
    /// What is in place on the interface; `None` while that is not what the configuration wants.
    pub applied: Option<Applied>,
    /// What went wrong with the interface, its addresses or routes.
    pub problem: Option<String>,
    /// What is wrong with the file of its settings.
    pub settings_problem: Option<String>,
}

/// A configuration that the interface has.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The configuration.
    pub config: Arc<NetworkConfig>,
    /// What of it the user allows, and the machine can have: it is on the interface.
    pub in_place: InPlace,
    /// What of it is not used, and why.
    pub refused: Vec<Refused>,
    /// What of it lies in wider routes of this machine.
    pub overlapping: Vec<Overlap>,
}

/// Something a person wants done, that only the daemon's task may do.
pub enum Order {
    /// Join a network if needed and change its settings.
    Join {
        /// Which.
        network: NetworkId,
        /// Which settings to change.
        changes: SettingsChange,
        /// What the controller is to let us in by.
        token: Option<Zeroizing<String>>,
        /// Answer: whether the network is joined now; or why not.
        reply: oneshot::Sender<Result<bool, NotSet>>,
    },
    /// Leave a network.
    Leave {
        /// Which.
        network: NetworkId,
        /// Answer: whether it was joined; or why it still is, because its file cannot be removed.
        reply: oneshot::Sender<Result<bool, String>>,
    },
    /// Put another planet in force.
    Planet {
        /// Which.
        planet: World,
        /// Answer: why not.
        reply: oneshot::Sender<Result<(), NotTaken>>,
    },
    /// Merge into the section `settings` of the settings file.
    Settings {
        /// What to change.
        changes: Map<String, Value>,
        /// Answer: why not.
        reply: oneshot::Sender<Result<(), NotSet>>,
    },
}

/// Why settings stay as they were.
#[derive(Debug, thiserror::Error)]
pub enum NotSet {
    /// They are not right.
    #[error("{0}")]
    Wrong(String),
    /// They cannot be kept.
    #[error("{0}")]
    NotKept(String),
}

impl Shared {
    /// Puts the parts together.
    pub fn new(
        home: Home,
        engine: EngineHandle,
        controller: ControllerHandle,
        tokens: Tokens,
        orders: mpsc::Sender<Order>,
        state: State,
    ) -> Self {
        let clock = engine.clock();
        let traces = Traces::new(engine.clone());
        let waits = Waits::default();
        Shared { home, clock, engine, controller, tokens, orders, traces, waits, state: RwLock::new(state) }
    }

    /// The state, for a moment.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, to change it.
    pub fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}
