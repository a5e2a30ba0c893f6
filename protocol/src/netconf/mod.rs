//! The configuration of a network as a member sees it: what the controller decided, in the form of a dictionary.
//! Specification: VL2 networks, configuration dictionary.

mod blobs;
mod dictionary_form;
mod lines;
mod sso;

use std::net::IpAddr;

use flowrules::Rule;

use crate::credential::membership::Window;
use crate::credential::{Com, Coo, HeldCapability, Signed, Tag};
use crate::inet::Prefix;
use crate::{Address, NetworkId, Span, Time};

pub use lines::{MAX_RULE_LINES, RuleLines, StatementLine};
pub use sso::Sso;

/// MTU of a network that names none.
pub const DEFAULT_MTU: u16 = 2800;
/// Least MTU of a network.
pub const MIN_MTU: u16 = 1280;
/// Greatest MTU of a network.
pub const MAX_MTU: u16 = 10000;
/// Longest name of a network, bytes.
pub const MAX_NAME: usize = 127;
/// Most routes.
pub const MAX_ROUTES: usize = 128;
/// Most managed addresses of a member.
pub const MAX_ADDRESSES: usize = 32;
/// Most specialists.
pub const MAX_SPECIALISTS: usize = 256;
/// Most capabilities of a member.
pub const MAX_CAPABILITIES: usize = 128;
/// Most tags of a member.
pub const MAX_TAGS: usize = 128;
/// Most certificates of ownership in a configuration.
pub const MAX_COOS: usize = 4;
/// Most DNS servers.
pub const MAX_DNS_SERVERS: usize = 4;

/// Flag: broadcasts are allowed.
pub const FLAG_BROADCAST: u64 = 0x02;
/// Flag: neighbour solicitations for derived IPv6 addresses are answered locally.
pub const FLAG_NDP_EMULATION: u64 = 0x04;
/// Flag: a match this version does not know matches.
pub const FLAG_MATCH_UNKNOWN: u64 = 0x08;
/// Flag: multicast frames are not compressed.
pub const FLAG_NO_MULTICAST_COMPRESSION: u64 = 0x10;

/// Role: may bridge foreign MACs and gets frames for unknown ones.
pub const ROLE_ACTIVE_BRIDGE: u64 = 0x0000_0200_0000_0000;
/// Role: always kept in contact, asked for members of multicast groups.
pub const ROLE_ANCHOR: u64 = 0x0000_0400_0000_0000;
/// Role: replicates multicasts for others.
pub const ROLE_REPLICATOR: u64 = 0x0000_0800_0000_0000;

/// A member with a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Specialist {
    /// The member.
    pub address: Address,
    /// Its roles, the high 24 bits; see `ROLE_…`.
    pub roles: u64,
}

/// A route members should install.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Destination.
    pub target: Prefix,
    /// Gateway; none if the destination is on the network itself.
    pub via: Option<IpAddr>,
    /// Carried, 0.
    pub flags: u16,
    /// Carried, 0.
    pub metric: u16,
}

/// Name resolution members should use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Dns {
    /// The domain the servers are for; empty if there is none. At most 127 bytes are carried.
    pub domain: String,
    /// At most [`MAX_DNS_SERVERS`] are carried.
    pub servers: Vec<IpAddr>,
}

/// A network's configuration for one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// The network.
    pub network: NetworkId,
    /// Time of issue by the controller's clock.
    pub timestamp: Time,
    /// How far the timestamps of two members' credentials may be apart.
    pub credential_window: Span,
    /// Counter of the network's changes.
    pub revision: u64,
    /// The member this is for.
    pub issued_to: Address,
    /// Who gets remote traces; null for nobody.
    pub trace_target: Address,
    /// Which remote traces.
    pub trace_level: u32,
    /// See `FLAG_…`.
    pub flags: u64,
    /// To how many members a multicast is sent; 0 = no multicast.
    pub multicast_limit: u32,
    /// Whether everybody may join.
    pub public: bool,
    /// Name for people, at most [`MAX_NAME`] bytes are carried.
    pub name: String,
    /// [`MIN_MTU`]..=[`MAX_MTU`].
    pub mtu: u16,
    /// The member's certificate of membership.
    pub com: Option<Signed<Com>>,
    /// The member's capabilities, by ascending id.
    pub capabilities: Vec<HeldCapability>,
    /// The member's tags, by ascending id.
    pub tags: Vec<Signed<Tag>>,
    /// The member's certificates of ownership.
    pub coos: Vec<Signed<Coo>>,
    /// Members with roles.
    pub specialists: Vec<Specialist>,
    /// Routes.
    pub routes: Vec<Route>,
    /// The member's managed addresses with the prefix length of their network.
    pub addresses: Vec<Prefix>,
    /// The base rules.
    pub rules: Vec<Rule>,
    /// Where the rules stand in their source; empty if the controller does not say.
    pub rule_lines: RuleLines,
    /// Name resolution.
    pub dns: Dns,
    /// Single sign-on.
    pub sso: Sso,
}

impl NetworkConfig {
    /// A private network's configuration without anything in it.
    #[must_use]
    pub fn new(network: NetworkId, issued_to: Address, timestamp: Time) -> Self {
        Self {
            network,
            timestamp,
            credential_window: Span::ZERO,
            revision: 0,
            issued_to,
            trace_target: Address::NULL,
            trace_level: 0,
            flags: 0,
            multicast_limit: 0,
            public: false,
            name: String::new(),
            mtu: DEFAULT_MTU,
            com: None,
            capabilities: Vec::new(),
            tags: Vec::new(),
            coos: Vec::new(),
            specialists: Vec::new(),
            routes: Vec::new(),
            addresses: Vec::new(),
            rules: Vec::new(),
            rule_lines: RuleLines::default(),
            dns: Dns::default(),
            sso: Sso::default(),
        }
    }

    /// Whether plain broadcasts are allowed (ARP requests always are).
    #[must_use]
    pub fn broadcast(&self) -> bool {
        self.flags & FLAG_BROADCAST != 0
    }

    /// Whether neighbour solicitations for derived addresses are answered locally.
    #[must_use]
    pub fn ndp_emulation(&self) -> bool {
        self.flags & FLAG_NDP_EMULATION != 0
    }

    /// Whether a match this version does not know matches.
    #[must_use]
    pub fn match_unknown(&self) -> bool {
        self.flags & FLAG_MATCH_UNKNOWN != 0
    }

    /// Whether multicast frames are compressed.
    #[must_use]
    pub fn compress_multicast(&self) -> bool {
        self.flags & FLAG_NO_MULTICAST_COMPRESSION == 0
    }

    /// Which credentials of other members are fresh enough to be used.
    #[must_use]
    pub fn window(&self) -> Window {
        Window { timestamp: self.timestamp, max_delta: self.credential_window }
    }

    /// Whether the member has the role ACTIVE_BRIDGE.
    #[must_use]
    pub fn is_active_bridge(&self, member: Address) -> bool {
        self.active_bridges().any(|bridge| bridge == member)
    }

    /// The members that may bridge.
    pub fn active_bridges(&self) -> impl Iterator<Item = Address> + '_ {
        self.with_role(ROLE_ACTIVE_BRIDGE)
    }

    /// The anchors.
    pub fn anchors(&self) -> impl Iterator<Item = Address> + '_ {
        self.with_role(ROLE_ANCHOR)
    }

    /// The multicast replicators.
    pub fn replicators(&self) -> impl Iterator<Item = Address> + '_ {
        self.with_role(ROLE_REPLICATOR)
    }

    /// The members kept in contact whether or not there is traffic: anchors and replicators.
    pub fn always_contact(&self) -> impl Iterator<Item = Address> + '_ {
        self.with_role(ROLE_ANCHOR | ROLE_REPLICATOR)
    }

    fn with_role(&self, roles: u64) -> impl Iterator<Item = Address> + '_ {
        self.specialists.iter().filter(move |s| s.roles & roles != 0).map(|s| s.address)
    }

    /// The value of the member's own tag.
    #[must_use]
    pub fn tag(&self, id: u32) -> Option<u32> {
        self.tags.binary_search_by_key(&id, |tag| tag.id).ok().map(|at| self.tags[at].value)
    }
}
