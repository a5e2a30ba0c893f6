//! Networks that a node has joined.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lenient;
use crate::status::CollisionSeen;

/// One element of `GET /network`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JoinedNetwork {
    /// Its ID.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub id: String,
    /// Its ID.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub nwid: String,
    /// The MAC of the node there.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub mac: String,
    /// Its name.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub name: String,
    /// How it stands.
    #[serde(deserialize_with = "lenient::or_default")]
    pub status: NetworkStatus,
    /// `PRIVATE` or `PUBLIC`.
    #[serde(rename = "type", default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub kind: String,
    /// Its MTU, octets.
    #[serde(deserialize_with = "lenient::or_default")]
    pub mtu: u64,
    /// Always false.
    #[serde(deserialize_with = "lenient::or_default")]
    pub dhcp: bool,
    /// Whether the node may bridge.
    #[serde(deserialize_with = "lenient::or_default")]
    pub bridge: bool,
    /// Whether broadcasts go out.
    #[serde(deserialize_with = "lenient::or_default")]
    pub broadcast_enabled: bool,
    /// The system's error number for the interface; 0 for none.
    #[serde(deserialize_with = "lenient::or_default")]
    pub port_error: i64,
    /// Revision of its configuration.
    #[serde(deserialize_with = "lenient::or_default")]
    pub netconf_revision: u64,
    /// Its interface.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub port_device_name: String,
    /// What the kernel does for that.
    #[serde(deserialize_with = "lenient::or_default")]
    pub offloads: Option<Offloads>,
    /// Whether addresses and routes are taken.
    #[serde(deserialize_with = "lenient::or_default")]
    pub allow_managed: bool,
    /// Only those within these prefixes, if there are any.
    #[serde(deserialize_with = "lenient::or_default")]
    pub allow_managed_within: Vec<String>,
    /// What of its settings cannot be understood.
    #[serde(deserialize_with = "lenient::or_default")]
    pub settings_problem: Option<String>,
    /// Whether those of the Internet are.
    #[serde(deserialize_with = "lenient::or_default")]
    pub allow_global: bool,
    /// Whether default routes are.
    #[serde(deserialize_with = "lenient::or_default")]
    pub allow_default: bool,
    /// Whether its name servers are.
    #[serde(rename = "allowDNS", deserialize_with = "lenient::or_default")]
    pub allow_dns: bool,
    /// Addresses with their prefix lengths.
    #[serde(deserialize_with = "lenient::or_default")]
    pub assigned_addresses: Vec<String>,
    /// Its routes.
    #[serde(deserialize_with = "lenient::or_default")]
    pub routes: Vec<JoinedRoute>,
    /// What of it this machine refuses.
    #[serde(deserialize_with = "lenient::or_default")]
    pub refused: Vec<Refused>,
    /// What of it lies in wider routes.
    #[serde(deserialize_with = "lenient::or_default")]
    pub overlapping: Vec<Overlapping>,
    /// What is wrong with its interface.
    #[serde(deserialize_with = "lenient::or_default")]
    pub problem: Option<String>,
    /// Its multicast groups.
    #[serde(deserialize_with = "lenient::or_default")]
    pub multicast_subscriptions: Vec<Subscription>,
    /// Its name servers.
    #[serde(deserialize_with = "lenient::or_default")]
    pub dns: JoinedDns,
    /// Whether somebody has to log in.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub sso_enabled: Option<bool>,
    /// Where.
    #[serde(
        skip_serializing_if = "Option::is_none",
        rename = "authenticationURL",
        deserialize_with = "lenient::or_default"
    )]
    pub authentication_url: Option<String>,
    /// Until when that holds, ms since the epoch.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub authentication_expiry_time: Option<i64>,
}

/// Name servers of a network.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct JoinedDns {
    /// For which names.
    #[serde(deserialize_with = "lenient::or_default")]
    pub domain: String,
    /// Their addresses.
    #[serde(deserialize_with = "lenient::or_default")]
    pub servers: Vec<String>,
}

/// What the kernel does for frames.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Offloads {
    /// It takes and gives TCP super-frames.
    #[serde(deserialize_with = "lenient::or_default")]
    pub tso: bool,
    /// It takes and gives UDP super-frames.
    #[serde(deserialize_with = "lenient::or_default")]
    pub uso: bool,
    /// It leaves checksums to us.
    #[serde(deserialize_with = "lenient::or_default")]
    pub checksum: bool,
}

/// A route of a network.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct JoinedRoute {
    /// Where to.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub target: String,
    /// Through which gateway.
    #[serde(deserialize_with = "lenient::or_default")]
    pub via: Option<String>,
    /// Flags.
    #[serde(deserialize_with = "lenient::or_default")]
    pub flags: u64,
    /// Metric.
    #[serde(deserialize_with = "lenient::or_default")]
    pub metric: u64,
}

/// A multicast group.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Subscription {
    /// Its MAC.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub mac: String,
    /// Its additional distinguishing information.
    #[serde(deserialize_with = "lenient::or_default")]
    pub adi: u64,
}

/// What a network's configuration wants and this machine refuses, or has no use for.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Refused {
    /// Which network, in a list about all.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub network: Option<String>,
    /// The address or route.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub target: String,
    /// `address` or `route`.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub kind: String,
    /// Why, in one word.
    #[serde(deserialize_with = "lenient::or_default")]
    pub cause: String,
    /// Whether the network cannot be used without.
    #[serde(deserialize_with = "lenient::or_default")]
    pub blocking: bool,
    /// Why, for people.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub reason: String,
}

/// What of a network lies in a wider route of this machine.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Overlapping {
    /// Which network, in a list about all.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::or_default")]
    pub network: Option<String>,
    /// Its route.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub target: String,
    /// The wider one.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub with: String,
    /// What follows, for people.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub reason: String,
}

/// `GET /network/…/ready`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ready {
    /// The network.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub network: String,
    /// Its name.
    #[serde(deserialize_with = "lenient::or_default")]
    pub name: String,
    /// The node.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub address: String,
    /// The controller.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub controller: String,
    /// Whether it can be used.
    #[serde(deserialize_with = "lenient::or_default")]
    pub ready: bool,
    /// What it lacks.
    #[serde(deserialize_with = "lenient::or_default")]
    pub waiting_for: Option<WaitingFor>,
    /// What is wrong, for people.
    #[serde(deserialize_with = "lenient::or_default")]
    pub problem: Option<String>,
    /// How it stands.
    #[serde(deserialize_with = "lenient::or_default")]
    pub status: NetworkStatus,
    /// Whether a root answers.
    #[serde(deserialize_with = "lenient::or_default")]
    pub online: bool,
    /// What roots said of the node's address.
    #[serde(deserialize_with = "lenient::or_default")]
    pub collision: Option<CollisionSeen>,
    /// Its interface.
    #[serde(default = "lenient::absent", deserialize_with = "lenient::shown")]
    pub port_device_name: String,
    /// Addresses that are there.
    #[serde(deserialize_with = "lenient::or_default")]
    pub addresses: Vec<String>,
    /// Where to log in.
    #[serde(rename = "authenticationURL", deserialize_with = "lenient::or_default")]
    pub authentication_url: Option<String>,
    /// UDP ports of the node.
    #[serde(deserialize_with = "lenient::or_default")]
    pub ports: Vec<u64>,
}

/// `POST /network/…`, beside what the network may do here.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct JoinRequest {
    /// A join token; the node says what is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::some_value")]
    pub token: Option<Value>,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
        pub enum $name {
            $($(#[$about])* #[serde(rename = $word)] $variant,)*
            /// What another node says.
            #[serde(untagged)]
            Other(String),
        }

        impl $name {
            /// As it is written.
            #[must_use]
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other(word) => word,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

words! {
    /// How a network stands.
    NetworkStatus {
        /// No answer from the controller yet.
        RequestingConfiguration = "REQUESTING_CONFIGURATION",
        /// A configuration is in force and the last request did not fail.
        Ok = "OK",
        /// The controller does not let the node in.
        AccessDenied = "ACCESS_DENIED",
        /// The controller does not know the network.
        NotFound = "NOT_FOUND",
        /// The interface could not be brought up.
        PortError = "PORT_ERROR",
        /// The user has to log in.
        AuthenticationRequired = "AUTHENTICATION_REQUIRED",
    }
}

impl Default for NetworkStatus {
    fn default() -> Self {
        Self::Other("-".to_owned())
    }
}

words! {
    /// What a network lacks to be used.
    WaitingFor {
        /// A root.
        Online = "online",
        /// Its controller.
        Controller = "controller",
        /// A controller that knows it.
        Network = "network",
        /// An authorization.
        Authorization = "authorization",
        /// A token that is good.
        Token = "token",
        /// Somebody to log in.
        Login = "login",
        /// Its interface.
        Port = "port",
        /// Its addresses and routes.
        Addresses = "addresses",
    }
}
