//! What the parts of the control side share: handles, tokens, and the state that answers to people are made of.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use protocol::NetworkId;
use protocol::inet::Prefix;
use protocol::netconf::NetworkConfig;
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
use super::local_conf::LocalConf;
use super::managed::{NetworkSettings, Refused};
use super::traces::Traces;
use super::waits::Waits;
use crate::dataplane::vnet::Offloads;
use crate::os::interfaces::InterfaceUse;
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
}

/// A configuration that the interface has.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The configuration.
    pub config: Arc<NetworkConfig>,
    /// Those of its addresses that the user allows: they are on the interface.
    pub addresses: Vec<Prefix>,
    /// What of it would take a subnet of this machine away.
    pub refused: Vec<Refused>,
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
        /// Answer: whether the network is joined now; or why not, because that cannot be kept.
        reply: oneshot::Sender<Result<bool, String>>,
    },
    /// Leave a network.
    Leave {
        /// Which.
        network: NetworkId,
        /// Answer: whether it was joined; or why it still is, because its file cannot be removed.
        reply: oneshot::Sender<Result<bool, String>>,
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

/// Changes of a network's settings; `None` = as it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SettingsChange {
    /// See [`NetworkSettings::allow_managed`].
    pub allow_managed: Option<bool>,
    /// See [`NetworkSettings::allow_global`].
    pub allow_global: Option<bool>,
    /// See [`NetworkSettings::allow_default`].
    pub allow_default: Option<bool>,
    /// See [`NetworkSettings::allow_dns`].
    pub allow_dns: Option<bool>,
}

impl SettingsChange {
    /// Reads the truth values of a request body; everything else in it is ignored.
    pub fn from_body(body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let field = |name: &str| body.get(name).and_then(Value::as_bool);
        SettingsChange {
            allow_managed: field("allowManaged"),
            allow_global: field("allowGlobal"),
            allow_default: field("allowDefault"),
            allow_dns: field("allowDNS"),
        }
    }

    /// Applies the changes. Saying `allowManaged` at all replaces a list of prefixes.
    pub fn apply(self, settings: &mut NetworkSettings) {
        if let Some(managed) = self.allow_managed {
            settings.allow_managed = managed;
            settings.managed_within.clear();
        }
        settings.allow_global = self.allow_global.unwrap_or(settings.allow_global);
        settings.allow_default = self.allow_default.unwrap_or(settings.allow_default);
        settings.allow_dns = self.allow_dns.unwrap_or(settings.allow_dns);
    }
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
