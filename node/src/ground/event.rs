//! What the core tells the service, and the settings the service gives the core.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use flowrules::{Direction, Verdict};
use protocol::metadata::{PROTOCOL_VERSION, PROTOCOL_VERSION_BEFORE_AES};
use protocol::netconf::NetworkConfig;
use protocol::packet::Suite;
use protocol::{Address, Identity, Mac, NetworkId, Prefix, Time};

/// Something that another thread has to find out or to answer for the core.
#[derive(Debug)]
pub enum Errand {
    /// Find out whether an address belongs to a key ([`Identity::locally_valid`], some 20 ms, or what is known of earlier times)
    /// and tell it by [`Core::identity_checked`](crate::core::Core::identity_checked). The most urgent first; when too many wait
    /// the least urgent may be dropped: whoever needs the answer asks again.
    CheckIdentity {
        /// Address and key.
        identity: Identity,
        /// How urgent it is.
        urgency: Urgency,
    },
    /// A member (or this node itself) asks our controller for a configuration.
    ConfigRequest(controller::Request),
    /// A member keeps what our controller brought it.
    Acknowledged(controller::Acknowledgement),
}

/// Something the service has to do or to know.
#[derive(Debug)]
pub enum Event {
    /// A network was joined: make its virtual port.
    PortUp {
        /// The network.
        network: NetworkId,
    },
    /// A network's configuration changed: apply MTU, addresses, routes and DNS to its port.
    Config {
        /// The network.
        network: NetworkId,
        /// The configuration now in force.
        config: Arc<NetworkConfig>,
    },
    /// A network was left: take its virtual port away.
    PortDown {
        /// The network.
        network: NetworkId,
    },
    /// Keep these bytes under this name.
    Store {
        /// Which state object.
        object: Object,
        /// Its whole new content.
        bytes: Vec<u8>,
    },
    /// Forget a state object.
    Delete {
        /// Which state object.
        object: Object,
    },
    /// Whether an upstream can be reached changed.
    Online(bool),
    /// A network's status changed (see [`crate::core::info::NetworkStatus`]).
    NetworkStatus {
        /// The network.
        network: NetworkId,
        /// Its new status.
        status: crate::core::info::NetworkStatus,
    },
    /// What the socket of this local address sends stays without an answer, though it asks roots. Told again while it lasts.
    Deaf(SocketAddr),
    /// A root answered a HELLO of ours with OK: our address is ours to it. Told once.
    Accepted,
    /// A root says that another node owns our address. It may be true of an identity that no root ever accepted; of any other
    /// it is a mistake or a trick.
    IdentityCollision {
        /// Which root.
        root: Address,
    },
    /// The verdict on a frame of a network that is being traced.
    RuleTrace(Box<RuleTrace>),
    /// Other machines that run with our identity, all there are now; empty: none any more. Repeated while they are heard.
    Clones(Vec<CloneSeen>),
    /// A peer sent an application message.
    UserMessage {
        /// Who sent it.
        from: Address,
        /// Message type.
        kind: u64,
        /// Content.
        body: Vec<u8>,
    },
}

/// How urgent the check of an identity is; the most urgent first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Urgency {
    /// The controller of a network we joined, or somebody our own packets wait for.
    Awaited,
    /// Somebody who said HELLO.
    Newcomer,
    /// Somebody a root told us of.
    Told,
    /// Somebody from the records of an earlier run.
    Restored,
}

/// The machine we run on, as far as clones have to know.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Machine {
    /// A hash that differs from machine to machine; zeros if unknown.
    pub id: [u8; 16],
    /// Whether our identity belongs to this machine: it was made here, or put here on purpose.
    pub at_home: bool,
}

/// Another machine that runs with our identity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CloneSeen {
    /// When it was first heard.
    pub since: Time,
    /// When it was last heard.
    pub last: Time,
    /// When it started, by its own clock.
    pub started: Time,
    /// Whether its machine ID is the same as ours.
    pub same_machine: bool,
    /// Whether it is us who should give way.
    pub give_way: bool,
    /// Where it says it can be found.
    pub endpoints: Vec<SocketAddr>,
}

/// Payload bytes a trace shows at most.
pub const TRACE_HEAD: usize = 128;

/// What the rules said of one frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuleTrace {
    /// The network.
    pub network: NetworkId,
    /// When.
    pub at: Time,
    /// Inbound: the frame came from [`RuleTrace::them`]; outbound: it goes there.
    pub direction: Direction,
    /// The other node; null for a multicast or an unknown address, before its receivers are chosen.
    pub them: Address,
    /// Source MAC.
    pub source: Mac,
    /// Destination MAC.
    pub dest: Mac,
    /// Ethertype.
    pub ethertype: u16,
    /// Length of the payload, bytes.
    pub length: usize,
    /// The first [`TRACE_HEAD`] bytes of the payload at most.
    pub head: Vec<u8>,
    /// The verdict.
    pub verdict: Verdict,
    /// Frames not shown since the last that was, for the sake of the rate.
    pub skipped: u64,
}

/// Names of state objects; the service maps them to files of the home directory.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Object {
    /// The planet (`planet`).
    Planet,
    /// A moon (`moons.d/<16 hex>.moon`).
    Moon(u64),
    /// A network's cached configuration (`networks.d/<16 hex>.conf`).
    Network(NetworkId),
    /// The join token that a network's controller has not accepted yet (`networks.d/<16 hex>.token`), a secret. The core never
    /// hands it out to be stored: whoever gave it keeps it.
    Token(NetworkId),
    /// A network's revocations (`networks.d/<16 hex>.revoked`).
    Revocations(NetworkId),
    /// A peer's cache record (`peers.d/<10 hex>.peer`).
    Peer(Address),
    /// From where the next run has to count its packets (`counts`), so that no number is used again although the clock was set
    /// back.
    Counts,
}

/// How the node should treat one physical network (`local.conf` → `physical`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PhysicalNetwork {
    /// Never use addresses in it.
    pub blacklist: bool,
    /// Trusted path ID, 0 for none.
    pub trusted_path_id: u64,
    /// Datagram size towards it in bytes of UDP payload; 0: measured, beginning with the default.
    pub mtu: usize,
}

impl PhysicalNetwork {
    /// Datagram size the user wants towards it, in bytes of UDP payload; `None` where that is left to us.
    pub fn datagram_size(&self) -> Option<usize> {
        use protocol::packet::{MAX_MTU, MIN_MTU};
        (self.mtu != 0).then(|| self.mtu.clamp(MIN_MTU, MAX_MTU))
    }

    /// Its trusted path ID, if it has one.
    pub fn trusted_path(&self) -> Option<u64> {
        (self.trusted_path_id != 0).then_some(self.trusted_path_id)
    }
}

/// How the node should treat one peer (`local.conf` → `virtual`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct VirtualPeer {
    /// Where it may be reached when nothing better is known.
    pub hints: Vec<SocketAddr>,
    /// Physical networks never used for it.
    pub blacklist: Vec<Prefix>,
}

/// Which cipher this node sends with, and asks others to send with to it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Cipher {
    /// AES-GMAC-SIV, to and from all who know it; Salsa20/12 and Poly1305 to and from older ones.
    #[default]
    AesGmacSiv,
    /// Salsa20/12 and Poly1305, to and from everybody.
    Salsa20,
}

impl Cipher {
    /// The protocol version to announce: others choose what they send by it.
    pub fn announced(self) -> u8 {
        match self {
            Self::AesGmacSiv => PROTOCOL_VERSION,
            Self::Salsa20 => PROTOCOL_VERSION_BEFORE_AES,
        }
    }

    /// The suite for packets to a peer that announced protocol version `theirs` (0: nothing yet).
    pub fn suite(self, theirs: u8) -> Suite {
        if self == Self::AesGmacSiv && theirs > PROTOCOL_VERSION_BEFORE_AES {
            Suite::AesGmacSiv
        } else {
            Suite::Salsa
        }
    }
}

/// How much may be sent twice while the way to a peer is in doubt, in octets a millisecond. At 0 nothing is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CopyLimits {
    /// To each peer.
    pub peer: i64,
    /// To all of them together by relays.
    pub relayed: i64,
    /// Of that, by roots of whoever else: those of the public planet and of moons.
    pub foreign: i64,
}

impl CopyLimits {
    /// Octets a millisecond in a megabit a second.
    const MEGABIT: i64 = 125;
    /// More megabits a second than any line has.
    const MOST: u64 = 100_000;

    /// Limits in megabits a second; the usual one where none is given.
    pub fn megabits(peer: Option<u64>, relayed: Option<u64>, foreign: Option<u64>) -> Self {
        let rate = |limit: Option<u64>, usual: u64| {
            limit.unwrap_or(usual).min(Self::MOST).cast_signed() * Self::MEGABIT
        };
        Self { peer: rate(peer, 2), relayed: rate(relayed, 20), foreign: rate(foreign, 1) }
    }
}

impl Default for CopyLimits {
    fn default() -> Self {
        Self::megabits(None, None, None)
    }
}

/// Changeable settings of the core.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Physical networks; the longest matching prefix wins.
    pub physical: Vec<(Prefix, PhysicalNetwork)>,
    /// Peers with special treatment.
    pub peers: BTreeMap<Address, VirtualPeer>,
    /// Fewer keepalives and announcements.
    pub low_bandwidth: bool,
    /// Which cipher to use. A change concerns at once what this node sends; what it is sent, when its peers have heard its
    /// next HELLO.
    pub cipher: Cipher,
    /// How much may be sent twice.
    pub copies: CopyLimits,
    /// Whether a controller runs in this process (else requests are answered "unsupported").
    pub controller: bool,
}

impl Settings {
    /// The entry for a physical address: the longest prefix that contains it.
    pub fn physical(&self, ip: IpAddr) -> Option<&PhysicalNetwork> {
        if self.physical.is_empty() {
            return None;
        }
        self.physical.iter().filter(|(p, _)| p.contains(ip)).max_by_key(|(p, _)| p.bits).map(|(_, n)| n)
    }

    /// Datagram size the user wants towards `ip`, in bytes of UDP payload; `None` where that is left to us.
    pub fn configured_mtu(&self, ip: IpAddr) -> Option<usize> {
        self.physical(ip)?.datagram_size()
    }

    /// The trusted path ID towards `ip`, if its network has one.
    pub fn trusted_path(&self, ip: IpAddr) -> Option<u64> {
        self.physical(ip)?.trusted_path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salsa_is_for_those_who_know_nothing_else_and_for_those_who_ask() {
        let suites = |cipher: Cipher| [0, 11, 12, 13].map(|version| cipher.suite(version));
        let [salsa, aes] = [Suite::Salsa, Suite::AesGmacSiv];
        assert_eq!(suites(Cipher::AesGmacSiv), [salsa, salsa, aes, aes]);
        assert_eq!(suites(Cipher::Salsa20), [salsa; 4]);
        // Two nodes agree: what one announces is what makes the other choose.
        assert_eq!(Cipher::AesGmacSiv.suite(Cipher::Salsa20.announced()), salsa);
        assert_eq!(Cipher::AesGmacSiv.suite(Cipher::AesGmacSiv.announced()), aes);
    }
}
