//! Snapshots of the node's state, as people and tools see it.
//!
//! The core fills these plain values; the service renders them (HTTP JSON, metrics, command line). They carry no
//! references into the core, so they may cross threads and outlive a change.
//!
//! Specification: local service HTTP API, "node endpoints". All times are milliseconds since the Unix epoch; 0 means never.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use flowrules::{FlowStatistics, Rule};
use protocol::multicast_group::MulticastGroup;
use protocol::netconf::NetworkConfig;
use protocol::world::World;
use protocol::{Address, Identity, Mac, NetworkId, Span, Time};

/// The node itself.
#[derive(Clone, Debug)]
pub struct StatusInfo {
    /// Public half of our identity.
    pub identity: Identity,
    /// Whether an upstream answers (or we are one).
    pub online: bool,
    /// World ID of the planet in force.
    pub planet_id: u64,
    /// Timestamp of the planet in force.
    pub planet_timestamp: u64,
    /// Our own addresses as peers report them, without duplicates.
    pub surface_addresses: Vec<SocketAddr>,
    /// Counters since start.
    pub counters: Counters,
}

/// Traffic counters since start; every one only ever grows.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Packets by verb byte (0..32), received.
    pub packets_in: [u64; 32],
    /// Packets by verb byte (0..32), sent.
    pub packets_out: [u64; 32],
    /// ERRORs by code (0..16), received.
    pub errors_in: [u64; 16],
    /// ERRORs by code (0..16), sent.
    pub errors_out: [u64; 16],
    /// UDP payload bytes received.
    pub bytes_in: u64,
    /// UDP payload bytes sent.
    pub bytes_out: u64,
    /// Packets and fragments forwarded for others.
    pub relayed: u64,
    /// Datagrams dropped (malformed, not authentic, not wanted).
    pub dropped: u64,
    /// Copies of frames that rules ask for (TEE and WATCH).
    pub copies: CopyCounters,
    /// What waited too long, or found no room.
    pub queues: QueueCounters,
}

impl Counters {
    /// Counts an ERROR that is sent.
    pub(crate) fn error_out(&mut self, code: u8) {
        self.errors_out[usize::from(code & 0x0f)] += 1;
    }

    /// Counts a packet that is sent, by its verb.
    pub(crate) fn packet_out(&mut self, verb: u8) {
        self.packets_out[usize::from(verb & 0x1f)] += 1;
    }
}

/// What became of frames and datagrams that waited too long or found no room. Of a super-frame each lost segment counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct QueueCounters {
    /// Frames from ports, marked "congestion experienced" because their flow waited too long for us.
    pub out_marked: u64,
    /// Frames from ports, dropped for the same reason.
    pub out_late: u64,
    /// Frames from ports, dropped because our queue was full.
    pub out_full: u64,
    /// Frames and super-frames for ports, marked because datagrams waited too long in a socket.
    pub in_marked: u64,
    /// Frames for ports, dropped for the same reason.
    pub in_late: u64,
    /// Datagrams that a socket had no room for; not those of copies.
    pub socket_full: u64,
    /// Frames and super-frames that a port did not take.
    pub port_refused: u64,
    /// Frames in either direction for which a lane had no room.
    pub lane_full: u64,
}

/// What became of the copies that rules ask for. They must not hold up what they are copies of, so they are the first to be
/// dropped when room is short.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CopyCounters {
    /// Sent.
    pub sent: u64,
    /// Dropped because neither an identity nor a path of the target was found in time.
    pub unreachable: u64,
    /// Dropped because there were too many at once.
    pub too_many: u64,
    /// Dropped because the packet would have been larger than the path carries.
    pub too_large: u64,
    /// Datagrams of copies counted as sent, that the socket had no room for.
    pub congested: u64,
}

/// The rules a node enforces in one network, and what they have done so far.
#[derive(Clone, Debug)]
pub struct RulesInfo {
    /// The configuration in force: base rules, own capabilities and tags, where the rules stand in their source.
    pub config: Arc<NetworkConfig>,
    /// How often each entry decided.
    pub counters: RuleCounters,
    /// How often the flow cache knew the verdict since the rules last changed.
    pub flows: FlowStatistics,
    /// What other members have presented, as far as it may be used now; the first
    /// [`MAX_SHOWN_MEMBERS`](crate::ground::limits::MAX_SHOWN_MEMBERS) by address of those that presented anything.
    pub members: Vec<MemberRules>,
}

/// How often each entry decided about a frame or made a copy. A multicast is decided about once for itself and once more for
/// each receiver, a frame through the bridge once more for each bridge.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RuleCounters {
    /// The network's own rules, one per entry. They go on over new configurations with the same rules.
    pub base: Vec<u64>,
    /// Capabilities by ID, one per entry: our own and those others presented.
    pub capabilities: BTreeMap<u32, Vec<u64>>,
    /// Frames that no entry decided about, dropped.
    pub nothing_matched: u64,
}

/// What another member has presented.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberRules {
    /// The member.
    pub address: Address,
    /// Its tags: ID and value, by ID.
    pub tags: Vec<(u32, u32)>,
    /// Its capabilities: ID and rules, by ID.
    pub capabilities: Vec<(u32, Vec<Rule>)>,
}

/// What a peer is to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// An ordinary node.
    Leaf,
    /// A root of a moon we orbit.
    Moon,
    /// A root of the planet.
    Planet,
}

impl Role {
    /// The name shown by tools: `LEAF`, `MOON` or `PLANET`.
    pub fn name(self) -> &'static str {
        match self {
            Role::Leaf => "LEAF",
            Role::Moon => "MOON",
            Role::Planet => "PLANET",
        }
    }
}

/// One known peer.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// Its address.
    pub address: Address,
    /// Software version (major, minor, revision); `None` until a HELLO or OK told it.
    pub version: Option<(u16, u16, u16)>,
    /// Protocol version; 0 while unknown.
    pub protocol: u16,
    /// Round-trip time.
    pub latency: Option<Span>,
    /// All round-trip times that were measured.
    pub latencies: Latencies,
    /// Packets from and to it since it became known.
    pub packets: PeerPackets,
    /// What it is to us.
    pub role: Role,
    /// Physical paths, dead ones included as long as they are remembered.
    pub paths: Vec<PathInfo>,
    /// Whether traffic goes through a TCP relay tunnel.
    pub tunneled: bool,
}

/// Packets of one peer, relayed ones included; every count only ever grows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PeerPackets {
    /// From it, authentic.
    pub received: u64,
    /// To it.
    pub sent: u64,
    /// That claimed to be from it, and were not authentic.
    pub refused: u64,
}

/// Upper ends of the classes in which round-trip times are counted, ms; what is longer has a class of its own.
pub const LATENCY_CLASSES: [u32; 10] = [1, 3, 6, 10, 30, 60, 100, 300, 600, 1000];

/// How often which round-trip time was measured.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Latencies {
    /// By class, each without the shorter ones; the last one has no end.
    pub counts: [u32; 11],
    /// All of them together.
    pub sum: Span,
}

impl Latencies {
    /// Counts one.
    pub fn add(&mut self, rtt: Span) {
        let class = LATENCY_CLASSES.partition_point(|end| Span::ms((*end).into()) < rtt);
        self.counts[class] = self.counts[class].saturating_add(1);
        self.sum += rtt;
    }
}

/// Where a path's datagram size comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MtuSource {
    /// Nothing large enough was sent lately for it to matter.
    Default,
    /// The user's settings.
    Configured,
    /// Probes (which may be under way, or have had no answer).
    Measured,
}

impl MtuSource {
    /// The name shown by tools: `default`, `configured` or `measured`.
    pub fn name(self) -> &'static str {
        match self {
            MtuSource::Default => "default",
            MtuSource::Configured => "configured",
            MtuSource::Measured => "measured",
        }
    }
}

/// One physical path to a peer.
#[derive(Clone, Debug)]
pub struct PathInfo {
    /// Remote endpoint.
    pub address: SocketAddr,
    /// Local socket number; an opaque handle.
    pub socket: u32,
    /// When something was last sent over it.
    pub last_send: Option<Time>,
    /// When something authentic last arrived over it.
    pub last_receive: Option<Time>,
    /// Trusted path ID, 0 for none.
    pub trusted_path_id: u64,
    /// Size of the datagrams sent over it at most, bytes of UDP payload.
    pub mtu: usize,
    /// Where that comes from.
    pub mtu_source: MtuSource,
    /// Whether it is alive (not expired).
    pub active: bool,
    /// Whether it is the one in use.
    pub preferred: bool,
}

/// How a joined network stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NetworkStatus {
    /// No answer from the controller yet.
    RequestingConfiguration,
    /// A configuration is in force and the last request did not fail.
    Ok,
    /// The controller does not let us in.
    AccessDenied,
    /// The controller does not know the network.
    NotFound,
    /// The virtual Ethernet port could not be brought up.
    PortError,
    /// The user has to log in (single sign-on).
    AuthenticationRequired,
}

impl NetworkStatus {
    /// The name shown by tools.
    pub fn name(self) -> &'static str {
        match self {
            NetworkStatus::RequestingConfiguration => "REQUESTING_CONFIGURATION",
            NetworkStatus::Ok => "OK",
            NetworkStatus::AccessDenied => "ACCESS_DENIED",
            NetworkStatus::NotFound => "NOT_FOUND",
            NetworkStatus::PortError => "PORT_ERROR",
            NetworkStatus::AuthenticationRequired => "AUTHENTICATION_REQUIRED",
        }
    }
}

/// One joined network.
#[derive(Clone, Debug)]
pub struct NetworkInfo {
    /// Its ID.
    pub network: NetworkId,
    /// Our Ethernet address in it.
    pub mac: Mac,
    /// Status.
    pub status: NetworkStatus,
    /// The configuration in force (name, MTU, addresses, routes …), `None` until one is known.
    pub config: Option<Arc<NetworkConfig>>,
    /// Groups subscribed by the operating system and by us, sorted.
    pub multicast_groups: Vec<MulticastGroup>,
    /// Error of the virtual Ethernet port, 0 for none (−999: could not be created).
    pub port_error: i32,
    /// Where to log in, when the network wants that.
    pub authentication_url: Option<String>,
    /// Whether a join token waits to be accepted. The token itself is told to nobody but the controller.
    pub has_token: bool,
    /// Frames accepted and dropped since the join.
    pub frames: FrameCounters,
}

/// Frames of one network since it was joined.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameCounters {
    /// From peers, delivered to the port.
    pub in_accepted: u64,
    /// From peers, dropped.
    pub in_dropped: u64,
    /// From the port, sent.
    pub out_accepted: u64,
    /// From the port, dropped.
    pub out_dropped: u64,
}

/// One moon we orbit.
#[derive(Clone, Debug)]
pub struct MoonInfo {
    /// World ID.
    pub id: u64,
    /// Its definition, `None` while waiting for it.
    pub world: Option<World>,
    /// Where to ask for it while waiting.
    pub seed: Option<Address>,
}
