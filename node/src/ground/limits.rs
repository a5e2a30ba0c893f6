//! Caps and timers of the core, in one place.
//!
//! Specification: VL1 behaviour, "timers and constants"; deviations say why.

use protocol::Span;

/// Peers kept in memory; when full, the longest silent peer that is no upstream makes room.
pub const MAX_PEERS: usize = 100_000;
/// Physical paths kept for one peer. The reference allows 64; more than a few only cost time per packet.
pub const MAX_PATHS_PER_PEER: usize = 16;
/// Physical paths remembered for all peers together; at the cap new ones are not remembered until old ones expire.
pub const MAX_PATHS: usize = 4 * MAX_PEERS;
/// Paths whose datagram size is measured; further ones keep the default.
pub const MAX_MEASURED_PATHS: usize = 4_096;
/// Packets waiting for a destination's identity or path.
pub const MAX_SEND_QUEUE: usize = 1024;
/// Of these, for one destination.
pub const MAX_SEND_QUEUE_PER_PEER: usize = 64;
/// Copies made by rules waiting for a destination besides.
pub const MAX_WAITING_COPIES: usize = 128;
/// Of these, for one destination.
pub const MAX_WAITING_COPIES_PER_PEER: usize = 32;
/// Packets waiting for their sender's identity or credentials.
pub const MAX_PARKED: usize = 512;
/// Of these, from one sender address.
pub const MAX_PARKED_PER_PEER: usize = 16;
/// How long a packet waits in either queue.
pub const QUEUE_LIFETIME: Span = Span::secs(5);
/// Replies awaited at once.
pub const MAX_EXPECTED: usize = 65_536;
/// Of these, of one peer.
pub const MAX_EXPECTED_PER_PEER: usize = 4_096;
/// How long a reply is awaited.
pub const EXPECTED_LIFETIME: Span = Span::secs(30);
/// Reports of roots that another node owns our address are passed on no more often than this.
pub const COLLISION_PAUSE: Span = Span::secs(10);
/// Answers to one request that count: a large configuration comes in as many pieces.
pub const MAX_ANSWERS: u16 = 256;
/// Octets that the large windows of all peers have together: each is 8 KiB. The one idle for longest gives back first.
pub const MAX_WINDOWS: usize = 4_096 * 8_192;
/// Octets that the tables of packet IDs of all peers have together. The greediest gives back first.
pub const MAX_RECENT: usize = 64 << 20;
/// A large window, or table of packet IDs, of a peer not heard for this long is given back.
pub const REPLAY_IDLE: Span = Span::secs(60);
/// Surface addresses remembered.
pub const MAX_SURFACES: usize = 1_024;
/// Of these, told by one /24 or /48.
pub const MAX_SURFACES_PER_SOURCE: usize = 32;
/// Address pairs remembered by a relay.
pub const MAX_PAIRS: usize = 65_536;
/// Of these, of one source.
pub const MAX_PAIRS_PER_SOURCE: usize = 1_024;
/// Packets being put together from fragments.
pub const REASSEMBLY_SLOTS: usize = 256;
/// The same for datagrams that came by paths on which nobody is known.
pub const STRANGER_REASSEMBLY_SLOTS: usize = 64;
/// Networks joined at once.
pub const MAX_NETWORKS: usize = 256;
/// Membership records of one network.
pub const MAX_MEMBERS: usize = 65_536;
/// Subscriptions in the multicast directory: so many groups of one member of one network each.
pub const MAX_SUBSCRIPTIONS: usize = 262_144;
/// Of these, from one /24 or /48, and of all who were only heard through relays.
pub const MAX_SUBSCRIPTIONS_PER_SOURCE: usize = 16_384;
/// Of these, of one member.
pub const MAX_SUBSCRIPTIONS_PER_MEMBER: usize = 1_024;
/// Groups that frames of our own wait or have waited for.
pub const MAX_SENT_GROUPS: usize = 4_096;
/// Revocations of one network kept on disk.
pub const MAX_REVOKED: usize = 16_384;
/// Packets of credentials that wait because their receiver would drop them now.
pub const MAX_CREDENTIALS_LATER: usize = 1_024;
/// Configuration requests that wait until their sender has answered an ECHO.
pub const MAX_REQUESTERS: usize = 1_024;
/// Of these, directly from one /24 or /48, or through the relays in one.
pub const MAX_REQUESTERS_PER_SOURCE: usize = 512;
/// Own subscriptions of one network.
pub const MAX_OWN_GROUPS: usize = 1_024;
/// Multicasts of one group waiting for more receivers.
pub const MAX_PENDING_MULTICASTS: usize = 32;
/// Members of one network told of by [`crate::core::view::View::rules`].
pub const MAX_SHOWN_MEMBERS: usize = 1_024;
/// Capabilities of one network whose entries' hits are counted.
pub const MAX_COUNTED_CAPABILITIES: usize = 1_024;
/// Frames traced in a second, per network.
pub const MAX_TRACE_RATE: u32 = 1_000;
/// MAC addresses known behind bridges, per network.
pub const MAX_BRIDGED_MACS: usize = 65_536;

/// Spacing of background work while something waits in a queue.
pub const BACKGROUND: Span = Span::ms(500);
/// Contact checks.
pub const PING_CHECK: Span = Span::secs(5);
/// Half the pause after the first greeting of the roots; it doubles with each until [`PING_CHECK`].
pub const FIRST_GREETING: Span = Span::ms(100);
/// House-keeping: expiry of tables.
pub const HOUSEKEEPING: Span = Span::secs(30);
/// A path that has brought nothing for this long is not alive.
pub const PATH_ALIVE: Span = Span::secs(19);
/// A path known for less than this gives way to one that is nearly as good.
pub const PATH_SETTLED: Span = Span::secs(2);
/// Copies of packets to a peer whose path is in doubt: octets at once (some 64 packets). What follows is a setting.
pub const COPY_BURST: i64 = 96_000;
/// The same for all peers together by relays.
pub const RELAYED_COPY_BURST: i64 = 960_000;
/// Doubt lasts this long at least before a flow that is too much for copies moves to another way.
pub const MOVE_AFTER: Span = Span::ms(300);
/// Silence after which a used path gets a heartbeat.
pub const PATH_HEARTBEAT: Span = Span::secs(14);
/// The same for peers whose packets may be repetitions, of which only answers count.
pub const PATH_HEARTBEAT_UNNUMBERED: Span = Span::secs(8);
/// A path not confirmed for this long is forgotten.
pub const PATH_EXPIRY: Span = Span::secs(243);
/// Full HELLO to active peers and roots.
pub const FULL_HELLO: Span = Span::secs(60);
/// Time after which an unanswered probe makes us say HELLO again, so that a restarted root learns of us soon.
pub const PROBE_ANSWER: Span = Span::secs(4);
/// How long each try of a probe of a path's datagram size is waited for; with the last one the size has failed.
pub const PATH_MTU_TRIES: [Span; 3] = [Span::secs(1), Span::secs(2), Span::secs(2)];
/// Pause before the next size is tried: receivers answer an ECHO in [`ECHO_GATE`] at most.
pub const PATH_MTU_PAUSE: Span = Span::ms(250);
/// A path in use is asked whether its datagram size still passes …
pub const PATH_MTU_CHECK: Span = Span::secs(60);
/// … sooner, while that is larger than the default.
pub const PATH_MTU_CHECK_LARGE: Span = Span::secs(10);
/// A path in use is asked whether a larger datagram passes.
pub const PATH_MTU_SEARCH: Span = Span::secs(600);
/// What was measured is forgotten when no large packet went out for this long.
pub const PATH_MTU_FORGET: Span = Span::secs(600);
/// Probes sent at once.
pub const PATH_MTU_PROBES: usize = 64;
/// A peer silent for this long is inactive and, unless it is an upstream, forgotten.
pub const PEER_TIMEOUT: Span = Span::secs(500);
/// A node that hears no root for this long calls itself offline. The reference waits 500 s.
pub const ONLINE_TIMEOUT: Span = Span::secs(60);
/// How long trust lasts after an accepted frame or credential.
pub const TRUST: Span = Span::secs(600);
/// WHOIS for one address.
pub const WHOIS_RETRY: Span = Span::ms(500);
/// WHOIS accepted from one peer, unless we are a root.
pub const WHOIS_GATE: Span = Span::ms(100);
/// The same ERROR to one peer about one network.
pub const ERROR_GATE: Span = Span::secs(1);
/// ECHO answered to one peer: sustained spacing …
pub const ECHO_GATE: Span = Span::ms(62);
/// … and at once: after a change of its address a peer asks on each of its up to 64 paths.
pub const ECHO_BURST: i64 = 64;
/// Path confirmation by HELLO, per peer and path.
pub const CONFIRM_GATE: Span = Span::secs(1);
/// Introduction of one pair by a relay.
pub const INTRODUCE_GATE: Span = Span::secs(30);
/// The same where both are ztnodes, which try what they are told again and again: sustained spacing …
pub const INTRODUCE_AGAIN: Span = Span::secs(5);
/// … and in a row.
pub const INTRODUCE_BURST: i64 = 3;
/// Introductions of one source: sustained spacing …
pub const INTRODUCTION_GATE: Span = Span::ms(100);
/// … and at once.
pub const INTRODUCTION_BURST: i64 = 256;
/// HELLO through a root to a peer of unknown version that we send to.
pub const RELAYED_HELLO: Span = Span::secs(5);
/// Trying hints of a peer without a path.
pub const HINT_GATE: Span = Span::secs(30);
/// Pushing our addresses to a peer that reached us by relay.
pub const PUSH_RELAYED: Span = Span::secs(15);
/// Pushing our addresses to a peer that reached us directly.
pub const PUSH_DIRECT: Span = Span::secs(120);
/// How long zerotier-one has to hear no push before it counts them anew, and a second.
pub const PUSH_WINDOW: Span = Span::secs(31);
/// Pushes acted upon, of one peer: sustained spacing …
pub const PUSH_GATE: Span = Span::secs(4);
/// … and at once.
pub const PUSH_BURST: i64 = 8;
/// Pushes to a peer that is no ztnode, each within [`PUSH_WINDOW`] of the one before.
pub const PUSHES_IN_A_ROW: u32 = 7;
/// Addresses tried from one push, per scope and family.
pub const PUSH_PER_SCOPE: usize = 8;
/// A surface address is forgotten after this.
pub const SURFACE_EXPIRY: Span = Span::secs(600);
/// Octets of HELLOs with unknown identities looked at from one /24 or /48, a second …
pub const NEWCOMER_OCTETS: i64 = 16 << 10;
/// … and at once: machines behind one NAT come up together. Sixteen times as much from one /16 or /32.
pub const NEWCOMER_OCTETS_BURST: i64 = 64 << 10;
/// Key agreements with unknown identities: sustained spacing for all together (each takes some 60 µs) …
pub const AGREEMENT_GATE: Span = Span::ms(2);
/// … and at once.
pub const AGREEMENT_BURST: i64 = 256;
/// Key agreements with unknown identities of one /24 or /48: sustained spacing …
pub const AGREEMENT_SOURCE_GATE: Span = Span::ms(20);
/// … and at once.
pub const AGREEMENT_SOURCE_BURST: i64 = 128;
/// Unknown identities whose memory-hard hash is checked: sustained spacing for all together (each takes some 20 ms of another
/// thread) of those who have shown that they are where they say …
pub const HASH_GATE: Span = Span::ms(50);
/// … and at once.
pub const HASH_BURST: i64 = 64;
/// The same for those who have not: proof costs them one round trip, and their hashes must not take a core from anybody …
pub const HASH_UNPROVEN_GATE: Span = Span::ms(500);
/// … and at once, before newcomers have to show first that they are where they say.
pub const HASH_UNPROVEN_BURST: i64 = 32;
/// Unknown identities checked from one /24 or /48 without proof, or from one address with: sustained spacing …
pub const HASH_SOURCE_GATE: Span = Span::secs(1);
/// … and at once.
pub const HASH_SOURCE_BURST: i64 = 16;
/// Newcomers waiting for their answer to ours or for the check of their identity.
pub const MAX_NEWCOMERS: usize = 4_096;
/// Of these, from one /24 or /48.
pub const MAX_NEWCOMERS_PER_SOURCE: usize = 256;
/// How long a newcomer is waited for.
pub const NEWCOMER_LIFETIME: Span = Span::secs(8);
/// A newcomer is asked again whether it is there, at most this often.
pub const NEWCOMER_ASK: Span = Span::ms(500);
/// Buckets of a rate gate with one for each source.
pub const GATE_BUCKETS: usize = 1 << 15;
/// WHOIS caused by packets of unknown senders: sustained spacing for all together.
pub const UNKNOWN_SOURCE_GATE: Span = Span::ms(10);
/// WHOIS caused by packets of unknown senders, in a burst.
pub const UNKNOWN_SOURCE_BURST: i64 = 500;
/// Fetching a fresh network configuration.
pub const CONFIG_REFRESH: Span = Span::secs(60);
/// Credentials of one peer that are forged, outdated or of an unknown signer (each costs up to 60 µs): sustained spacing …
pub const FORGERY_GATE: Span = Span::secs(1);
/// … and at once, of a stranger …
pub const FORGERY_BURST: i64 = 4;
/// … and of a fellow member.
pub const MEMBER_FORGERY_BURST: i64 = 16;
/// The same of all strangers of one /24 or /48: sustained spacing …
pub const SOURCE_FORGERY_GATE: Span = Span::ms(250);
/// … and at once.
pub const SOURCE_FORGERY_BURST: i64 = 32;
/// The same of all strangers that come through relays: sustained spacing …
pub const RELAYED_FORGERY_GATE: Span = Span::ms(10);
/// … and at once.
pub const RELAYED_FORGERY_BURST: i64 = 256;
/// Credentials of one peer that are known already: sustained spacing …
pub const REPEAT_GATE: Span = Span::ms(10);
/// … and at once: who puts out hundreds of revocations at a time has every member pass on every one.
pub const REPEAT_BURST: i64 = 2_048;
/// A controller's packets of credentials to one zerotier-one: it drops what comes within a second of the last.
pub const CREDENTIALS_SPACING: Span = Span::ms(1_100);
/// How long a request waits for its sender's answer to an ECHO.
pub const REQUESTER_LIFETIME: Span = Span::secs(30);
/// Own credentials are pushed again to a peer in use after this, even without change.
pub const CREDENTIALS_PUSH: Span = Span::secs(500);
/// Announcement of multicast groups.
pub const ANNOUNCE: Span = Span::secs(60);
/// Pauses after which groups just announced are announced again: nobody acknowledges an announcement, and a lost one would
/// leave the member unfindable until the next regular one.
pub const ANNOUNCE_REPEATS: [Span; 4] = [Span::secs(1), Span::secs(2), Span::secs(4), Span::secs(8)];
/// Announcement of multicast groups to one that greets us, at most this often.
pub const ANNOUNCE_AGAIN: Span = Span::secs(5);
/// A group subscriber is forgotten after this.
pub const MULTICAST_EXPIRY: Span = Span::secs(600);
/// A multicast waits this long for more receivers.
pub const MULTICAST_LIFETIME: Span = Span::secs(5);
/// Explicit gathers for one group.
pub const GATHER: Span = Span::secs(60);
/// The local controller's word that a member may use our multicast directory.
pub const CONTROLLER_AUTHORIZATION: Span = Span::secs(180);
/// A MAC address behind a bridge is forgotten after this.
pub const BRIDGE_EXPIRY: Span = Span::secs(1_200);
