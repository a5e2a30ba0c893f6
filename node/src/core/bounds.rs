//! Every table of the core in one registry: what it holds, how much of it, how much of that one source may take, and what happens
//! at the limit.
//!
//! `node/tests/bounds.rs` reads the core's sources and refuses a collection that is neither in [`TABLES`] nor, with a reason, in
//! [`NOT_TABLES`]; the table of bounds in SECURITY.md is made from here. `hostile/tests/work.rs` fills every table to its cap and
//! measures what a datagram costs then.

use protocol::Span;
use protocol::credential::membership::{MAX_CAPABILITIES, MAX_COOS, MAX_TAGS, MAX_THRESHOLDS};
use protocol::packet::MAX_PACKET;

use super::switch;
use crate::ground::limits::*;
use crate::link::{candidates, clones, topology, unproven};

/// What somebody else can make the node remember.
pub struct Bound {
    /// What is kept, as people call it.
    pub what: &'static str,
    /// The collections that hold it, each `Struct.field`.
    pub holders: &'static [&'static str],
    /// How many entries there may be in one of the holders.
    pub cap: usize,
    /// What the manual adds to the cap: of what, for how long.
    pub within: &'static str,
    /// How much of that one source can take.
    pub share: &'static str,
    /// What happens at the limit.
    pub at_limit: &'static str,
}

const fn bound(
    what: &'static str,
    holders: &'static [&'static str],
    cap: usize,
    within: &'static str,
    share: &'static str,
    at_limit: &'static str,
) -> Bound {
    Bound { what, holders, cap, within, share, at_limit }
}

/// All tables of the core.
pub const TABLES: &[Bound] = &[
    bound(
        "peers",
        &["Topology.peers"],
        MAX_PEERS,
        "silent for 500 s: forgotten",
        "16 new ones at once and 1 a second from one /24 or /48, and of one address that has proven itself; 64 and 20 a second from all",
        "the longest silent one that is no root goes",
    ),
    bound(
        "paths of a peer",
        &["Peer.paths"],
        MAX_PATHS_PER_PEER,
        "243 s without confirmation: forgotten",
        "of one peer",
        "the longest silent one goes",
    ),
    bound(
        "paths of a peer being confirmed",
        &["PeerGates.confirmations"],
        MAX_PATHS_PER_PEER,
        "1 s",
        "of one peer",
        "not confirmed",
    ),
    bound(
        "paths of all peers",
        &["Paths.paths"],
        MAX_PATHS,
        "243 s without anything authentic: forgotten",
        "none",
        "new ones are not remembered",
    ),
    bound(
        "paths whose datagram size is measured",
        &["PathMtus.paths"],
        MAX_MEASURED_PATHS,
        "600 s without a large packet: forgotten",
        "16 of one peer",
        "new ones keep the default",
    ),
    bound(
        "addresses of peers restored from disk",
        &["Link.hints"],
        MAX_PEERS,
        "16 of one peer",
        "only what this node itself wrote",
        "not restored",
    ),
    bound(
        "packets waiting to be sent",
        &["Link.sending"],
        MAX_SEND_QUEUE,
        "5 s",
        "64 for one destination",
        "the oldest of the destination with the most goes",
    ),
    bound(
        "copies made by rules, waiting to be sent",
        &["SendQueue.copies"],
        MAX_WAITING_COPIES,
        "5 s",
        "32 for one destination",
        "dropped",
    ),
    bound(
        "packets waiting for their sender's identity or credentials",
        &["Underlay.parked"],
        MAX_PARKED,
        "5 s",
        "16 from one address",
        "the oldest goes",
    ),
    bound(
        "packets being reassembled",
        &["Underlay.reassembler"],
        REASSEMBLY_SLOTS,
        "5 s, 10,024 octets each",
        "none",
        "the oldest goes",
    ),
    bound(
        "packets being reassembled from where nobody is known",
        &["Underlay.stranger_parts"],
        STRANGER_REASSEMBLY_SLOTS,
        "5 s, 10,024 octets each",
        "none",
        "the oldest goes",
    ),
    bound(
        "answers awaited",
        &["Expected.asked"],
        MAX_EXPECTED,
        "30 s",
        "4,096 of one peer",
        "the peer asked most pays",
    ),
    bound(
        "answers that came, so that each counts once",
        &["Expected.seen"],
        2 * MAX_EXPECTED,
        "60 s",
        "8,192 of one peer, 256 for one request",
        "the peer that answered most pays",
    ),
    bound(
        "reports of our outside address",
        &["Surfaces.reports", "Surfaces.sayings", "Surfaces.believed"],
        MAX_SURFACES,
        "600 s",
        "32 of one /24 or /48; strangers are not asked",
        "members' go before roots', those of the prefix with the most first",
    ),
    bound(
        "pairs remembered for introductions",
        &["Relay.pairs"],
        MAX_PAIRS,
        "30 s",
        "1,024 of one sender",
        "the sender with the most pays",
    ),
    bound(
        "newcomers whose identity is being checked, or who are asked to prove where they are",
        &["Newcomers.waiting"],
        MAX_NEWCOMERS,
        "8 s",
        "256 of one /24 or /48",
        "the prefix with the most pays",
    ),
    bound(
        "rate gates of strangers, of each kind",
        &[
            "Gates.whois",
            "Gates.errors",
            "Credentials.forgeries",
            "Clones.reflecting",
            "Newcomers.octets",
            "Newcomers.agreements_of",
            "Newcomers.unproven_of",
            "Newcomers.proven_of",
        ],
        GATE_BUCKETS,
        "never more, never fewer",
        "one by chance shared with few others",
        "the same for the last as for the first",
    ),
    bound(
        "accounts of endpoints that have not proven themselves, and of their prefixes",
        &["Unproven.endpoints", "Unproven.prefixes"],
        unproven::ACCOUNTS,
        "10 s",
        "one by chance shared with few others",
        "the same for the last as for the first",
    ),
    bound(
        "peers restored from disk, being checked",
        &["Earlier.peers"],
        MAX_PEERS,
        "",
        "only what this node itself wrote",
        "not restored",
    ),
    bound(
        "paths with a probe under way",
        &["Ways.due"],
        MAX_PATHS,
        "until answered; 10 s after the last traffic",
        "16 of one peer",
        "each path of a peer is there once at most",
    ),
    bound(
        "peers to be told that we have moved",
        &["Contacts.to_tell"],
        MAX_PEERS,
        "500 a second",
        "only by changes of this machine's own addresses",
        "not told",
    ),
    bound(
        "candidates told by others, being probed",
        &["Candidates.candidates", "Candidates.by_due"],
        candidates::MAX_CANDIDATES,
        "six times each in 21 s",
        "16 of one peer",
        "not tried",
    ),
    bound(
        "other machines with our identity",
        &["Watch.others"],
        clones::MAX_CLONES,
        "120 s",
        "only who holds our secret",
        "not noted",
    ),
    bound(
        "addresses that wrote to themselves, to find such machines",
        &["Reflections.places"],
        clones::MAX_REFLECTED,
        "4 places each, 60 s",
        "8 at once and 4 a second of one address",
        "not handed on",
    ),
    bound(
        "moons",
        &["Topology.moons", "Topology.seeds"],
        topology::MAX_MOONS,
        "",
        "only what the user orbits",
        "refused",
    ),
    bound(
        "packets of credentials waiting until their receiver takes them",
        &["Spaced.later"],
        MAX_CREDENTIALS_LATER,
        "1 s",
        "only what this node's own controller decides",
        "dropped; what has to arrive is sent again",
    ),
    bound("networks", &["Switch.networks"], MAX_NETWORKS, "", "only what the user joins", "refused"),
    bound(
        "members remembered of a network",
        &["Policy.members"],
        MAX_MEMBERS,
        "as long as the peer, or two hours after the last change",
        "none",
        "those of whom no credentials are known go first, then the one unchanged for longest",
    ),
    bound(
        "revocations of a network in force, also on disk",
        &["Revoked.kept", "Revoked.by_end"],
        MAX_REVOKED,
        "twice the time that certificates can be used",
        "only what the controller signed",
        "the one that ends first goes",
    ),
    bound(
        "configuration requests of those who have not answered anything yet",
        &["Requesters.held"],
        MAX_REQUESTERS,
        "30 s",
        "512 of one /24 or /48, directly or through relays",
        "the prefix with the most pays",
    ),
    bound(
        "subscriptions in the multicast directory",
        &["Directory.subscriptions", "Directory.groups", "Directory.of_member", "Group.members"],
        MAX_SUBSCRIPTIONS,
        "600 s",
        "16,384 of one /24 or /48, 1,024 of one address",
        "strangers' go before members', those of the prefix with the most first",
    ),
    bound(
        "multicasts of a group waiting for receivers",
        &["Group.pending"],
        MAX_PENDING_MULTICASTS,
        "5 s",
        "only our own",
        "the oldest goes",
    ),
    bound(
        "members that may use the directory on our controller's word",
        &["Directory.authorized"],
        MAX_MEMBERS,
        "180 s",
        "one for each network and address",
        "the network with the most pays",
    ),
    bound(
        "own groups of a network",
        &["Groups.port", "Groups.bridged"],
        MAX_OWN_GROUPS,
        "",
        "only this machine's and those behind its bridge",
        "refused",
    ),
    bound(
        "MAC addresses behind bridges, of a network",
        &["BridgeTable.routes"],
        MAX_BRIDGED_MACS,
        "20 min",
        "only active bridges",
        "the bridge with the most pays",
    ),
    bound(
        "configurations being assembled, of a network",
        &["Assembly.updates"],
        switch::ASSEMBLIES,
        "1 MiB each",
        "only what the controller signed",
        "the oldest goes",
    ),
    bound(
        "capabilities of a network whose hits are counted",
        &["Rules.capabilities"],
        MAX_COUNTED_CAPABILITIES,
        "",
        "only what the controller signed",
        "not counted",
    ),
];

/// What, at most, share, at the limit.
type Further = (&'static str, fn() -> String, &'static str, &'static str);

/// Tables inside of others, and bounds of other kinds, for the manual: what, at most, share, at the limit.
const FURTHER: &[Further] = &[
    (
        "tags, capabilities, certificates of ownership, revocations of a member",
        || format!("{MAX_TAGS}, {MAX_CAPABILITIES}, {MAX_COOS}, {MAX_THRESHOLDS}"),
        "only what the controller signed",
        "refused; of revocations the lowest goes",
    ),
    ("octets of a packet", || number(MAX_PACKET), "", "refused"),
    ("WHOIS from a peer", || rate(WHOIS_GATE), "of one peer (at a root: no limit)", "dropped"),
    ("ECHO from a peer", || format!("{ECHO_BURST} at once, {}", rate(ECHO_GATE)), "of one peer", "dropped"),
    (
        "credentials that are not genuine",
        || format!("{FORGERY_BURST} packets at once, {}", rate(FORGERY_GATE)),
        "of one stranger; 16 of one member; 32 and 4 a second of one /24 or /48",
        "dropped",
    ),
    ("ERRORs", || rate(ERROR_GATE), "for one receiver, network and code", "not sent"),
    (
        "octets that remember packets, so that each counts once",
        || format!("{} MiB by number, {} MiB by packet ID", MAX_WINDOWS >> 20, MAX_RECENT >> 20),
        "8 KiB by number of one peer; by packet ID the greediest first",
        "the one idle for longest goes back to what every peer has",
    ),
    (
        "octets of HELLOs of newcomers",
        || {
            format!(
                "{} at once, {} a second",
                number(NEWCOMER_OCTETS_BURST as usize),
                number(NEWCOMER_OCTETS as usize)
            )
        },
        "of one /24 or /48; sixteen times that of one /16 or /32",
        "dropped",
    ),
    (
        "key agreements with newcomers",
        || format!("{AGREEMENT_BURST} at once, {}", rate(AGREEMENT_GATE)),
        "128 at once and 50 a second of one /24 or /48",
        "dropped",
    ),
    (
        "pushed addresses from a peer",
        || format!("{PUSH_BURST} pushes at once, then one in {} s", PUSH_GATE / Span::secs(1)),
        "8 addresses for each scope and family",
        "ignored",
    ),
    (
        "rules of a network, of a capability",
        || "1,024, 64".to_owned(),
        "only what the controller signed",
        "refused",
    ),
    ("requests waiting for the controller", || "1,024".to_owned(), "", "dropped; the member asks again"),
    ("requests to the controller", || "1 a second".to_owned(), "of one member", "dropped"),
    ("unauthorized members recorded, of a network", || "10,000".to_owned(), "", "the oldest goes"),
    (
        "API connections, by TCP and by the socket",
        || "64 each, 120 s each, 5 s for a request's head".to_owned(),
        "48 of one address, /64 or user",
        "idle ones go first, then 503",
    ),
    ("API request", || "head 32 KiB, 64 headers, body 1 MiB".to_owned(), "", "refused"),
    ("physical networks in `local.conf`", || "32".to_owned(), "", "refused"),
];

/// Collections that nobody outside can make grow, and what bounds them.
pub const NOT_TABLES: &[(&str, &str)] = &[
    ("Table.slots", "bounded by whoever holds the table, each of which is declared"),
    ("Table.ages", "as many as slots"),
    ("Table.counts", "as many as slots at most"),
    ("Table.greed", "as many as counts"),
    ("Buckets.gates", "bounded by whoever holds the buckets, each of which is declared"),
    ("Newcomer.hello", "one datagram"),
    ("Liveness.open", "eight"),
    ("Deaf.since", "as many as this machine's own sockets"),
    ("Restored.paths", "sixteen"),
    ("OwedWorlds.moons", "one datagram"),
    ("SendQueue.packets", "the queue of the link, which is declared"),
    ("Room.waiting", "bounded by whoever holds the room, each of which is declared"),
    ("Parking.packets", "the parking of the underlay, which is declared"),
    ("Outgoing.packet", "one packet"),
    ("State::Sealed.0", "one packet"),
    ("State::Opened.0", "one packet"),
    ("Budget.holders", "as many as peers"),
    ("Budget.order", "as many as holders"),
    ("Clock.claims", "four"),
    ("Recent.lines", "by the budget of all peers, in the manual's table"),
    ("Recent.before", "by the budget of all peers, in the manual's table"),
    ("Link.controllers", "one for each network"),
    ("Link.virtual_addresses", "those of the networks' configurations"),
    ("Link.on_link", "by the machine's interfaces"),
    ("Link.local", "by the machine's interfaces"),
    ("Link.scratch", "one packet, used again and again"),
    ("Underlay.inflated", "one packet, used again and again"),
    ("Switch.segment", "one frame, used again and again"),
    ("Octets::Own.0", "one packet"),
    ("Arrived.news", "one configuration, handed on at once"),
    ("Brought.revocations", "255, handed on at once"),
    ("Link.outbox", "drained after every call"),
    ("Outbox.errands", "drained after every call"),
    ("Outbox.events", "drained after every call"),
    ("Topology.upstreams", "by planet and moons: four roots each, 32 endpoints a root"),
    ("Try.probes", "three"),
    ("Pending.payload", "one frame"),
    ("Pending.sent", "the network's multicast limit, and one"),
    ("Update.data", "1 MiB"),
    ("Update.pieces", "by the octets of the update: none is empty and none overlaps"),
    ("Member.record", "by the caps of `protocol::credential::membership`, in the manual's table"),
    ("Rules.cache", "by the capacity of `flowrules::FlowCache`"),
    ("Rules.base", "by the network's rules: 1,024"),
    ("Capability.rules", "64"),
    ("Capability.hits", "64"),
    ("Configuration.authentication_url", "2,048 octets"),
    ("Configuration.token", "what the user gave"),
    ("Message.endpoints", "eight"),
    ("Other.endpoints", "eight"),
    ("Settings.physical", "by the user's settings"),
    ("Settings.peers", "by the user's settings"),
    ("VirtualPeer.hints", "by the user's settings"),
    ("VirtualPeer.blacklist", "by the user's settings"),
    ("Event::Store.bytes", "an event on its way out"),
    ("Event::Clones.0", "an event on its way out"),
    ("Event::UserMessage.body", "an event on its way out: one packet"),
    ("CloneSeen.endpoints", "an event on its way out"),
    ("RuleTrace.head", "an event on its way out"),
    ("StatusInfo.surface_addresses", "a snapshot"),
    ("RulesInfo.members", "a snapshot"),
    ("RuleCounters.base", "a snapshot"),
    ("RuleCounters.capabilities", "a snapshot"),
    ("MemberRules.tags", "a snapshot"),
    ("MemberRules.capabilities", "a snapshot"),
    ("PeerInfo.paths", "a snapshot"),
    ("NetworkInfo.multicast_groups", "a snapshot"),
    ("NetworkInfo.authentication_url", "a snapshot"),
];

/// A number with commas.
fn number(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|g| str::from_utf8(g).ok()).collect();
    groups.join(",")
}

/// One event in such an interval, as a rate.
fn rate(interval: Span) -> String {
    format!("{} a second", Span::secs(1) / interval)
}

/// The table of bounds as it stands in SECURITY.md.
pub fn table_of_bounds() -> String {
    let mut text = "| what | at most | of one source | at the limit |\n|---|---|---|---|\n".to_owned();
    let mut row = |what: &str, at_most: &str, share: &str, limit: &str| {
        text.push_str(&format!("| {what} | {at_most} | {share} | {limit} |\n"));
    };
    for Bound { what, cap, within, share, at_limit, .. } in TABLES {
        let cap = number(*cap);
        let at_most = if within.is_empty() { cap } else { format!("{cap}; {within}") };
        row(what, &at_most, share, at_limit);
    }
    for (what, at_most, share, at_limit) in FURTHER {
        row(what, &at_most(), share, at_limit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas() {
        assert_eq!(
            [0, 999, 1_000, 65_536, 1_000_000].map(number),
            ["0", "999", "1,000", "65,536", "1,000,000"]
        );
    }

    #[test]
    fn every_table_says_what_happens_at_its_limit() {
        for bound in TABLES {
            assert!(bound.cap > 0 && !bound.share.is_empty() && !bound.at_limit.is_empty(), "{}", bound.what);
        }
    }
}
