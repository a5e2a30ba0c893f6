//! Every number in SECURITY.md's table of bounds is that of a constant in the code.

use std::path::Path;

use syn::{BinOp, Expr, Item, Lit};

const LIMITS: &str = "node/src/ground/limits.rs";
const CLONES: &str = "node/src/link/clones.rs";
const CANDIDATES: &str = "node/src/link/candidates.rs";
const UNPROVEN: &str = "node/src/link/unproven.rs";
const CONFIGURATION: &str = "node/src/core/switch/configuration.rs";
const MEMBERSHIP: &str = "protocol/src/credential/membership.rs";
const PACKET: &str = "protocol/src/packet/header.rs";
const FRAGMENT: &str = "protocol/src/packet/fragment.rs";
const RULES: &str = "flowrules/src/binary.rs";
const SERVER: &str = "node/src/service/http/server.rs";
const CLIENTS: &str = "node/src/service/http/clients.rs";

/// How the manual says a constant.
#[derive(Clone, Copy)]
enum As {
    /// As it is.
    Count,
    Twice,
    /// Milliseconds, as seconds.
    Seconds,
    /// Twice so many.
    TwiceSeconds,
    /// Milliseconds, as minutes.
    Minutes,
    /// The time between two, in milliseconds, as so many a second.
    PerSecond,
    Kib,
    Mib,
}
use As::{Count, Kib, Mib, Minutes, PerSecond, Seconds, Twice, TwiceSeconds};

impl As {
    fn say(self, value: u64) -> u64 {
        match self {
            Count => value,
            Twice => 2 * value,
            Seconds => value / 1_000,
            TwiceSeconds => 2 * value / 1_000,
            Minutes => value / 60_000,
            PerSecond => 1_000 / value,
            Kib => value >> 10,
            Mib => value >> 20,
        }
    }
}

/// A number: the file and the name of its constant, and how it is said.
type Number = (&'static str, &'static str, As);

const fn limit(name: &'static str, said: As) -> Number {
    (LIMITS, name, said)
}

/// The numbers of each row, from left to right.
const ROWS: &[(&str, &[Number])] = &[
    (
        "peers",
        &[
            limit("MAX_PEERS", Count),
            limit("PEER_TIMEOUT", Seconds),
            limit("HASH_SOURCE_BURST", Count),
            limit("HASH_SOURCE_GATE", PerSecond),
            limit("HASH_BURST", Count),
            limit("HASH_GATE", PerSecond),
        ],
    ),
    ("paths of a peer", &[limit("MAX_PATHS_PER_PEER", Count), limit("PATH_EXPIRY", Seconds)]),
    (
        "paths of a peer being confirmed",
        &[limit("MAX_PATHS_PER_PEER", Count), limit("CONFIRM_GATE", Seconds)],
    ),
    ("paths of all peers", &[limit("MAX_PATHS", Count), limit("PATH_EXPIRY", Seconds)]),
    (
        "paths whose datagram size is measured",
        &[
            limit("MAX_MEASURED_PATHS", Count),
            limit("PATH_MTU_FORGET", Seconds),
            limit("MAX_PATHS_PER_PEER", Count),
        ],
    ),
    (
        "addresses of peers restored from disk",
        &[limit("MAX_PEERS", Count), limit("MAX_PATHS_PER_PEER", Count)],
    ),
    (
        "packets waiting to be sent",
        &[
            limit("MAX_SEND_QUEUE", Count),
            limit("QUEUE_LIFETIME", Seconds),
            limit("MAX_SEND_QUEUE_PER_PEER", Count),
        ],
    ),
    (
        "copies made by rules, waiting to be sent",
        &[
            limit("MAX_WAITING_COPIES", Count),
            limit("QUEUE_LIFETIME", Seconds),
            limit("MAX_WAITING_COPIES_PER_PEER", Count),
        ],
    ),
    (
        "packets waiting for their sender's identity or credentials",
        &[limit("MAX_PARKED", Count), limit("QUEUE_LIFETIME", Seconds), limit("MAX_PARKED_PER_PEER", Count)],
    ),
    (
        "packets being reassembled",
        &[limit("REASSEMBLY_SLOTS", Count), (FRAGMENT, "MAX_AGE", Seconds), (PACKET, "MAX_PACKET", Count)],
    ),
    (
        "packets being reassembled from where nobody is known",
        &[
            limit("STRANGER_REASSEMBLY_SLOTS", Count),
            (FRAGMENT, "MAX_AGE", Seconds),
            (PACKET, "MAX_PACKET", Count),
        ],
    ),
    (
        "answers awaited",
        &[
            limit("MAX_EXPECTED", Count),
            limit("EXPECTED_LIFETIME", Seconds),
            limit("MAX_EXPECTED_PER_PEER", Count),
        ],
    ),
    (
        "answers that came, so that each counts once",
        &[
            limit("MAX_EXPECTED", Twice),
            limit("EXPECTED_LIFETIME", TwiceSeconds),
            limit("MAX_EXPECTED_PER_PEER", Twice),
            limit("MAX_ANSWERS", Count),
        ],
    ),
    (
        "reports of our outside address",
        &[
            limit("MAX_SURFACES", Count),
            limit("SURFACE_EXPIRY", Seconds),
            limit("MAX_SURFACES_PER_SOURCE", Count),
        ],
    ),
    (
        "pairs remembered for introductions",
        &[limit("MAX_PAIRS", Count), limit("INTRODUCE_GATE", Seconds), limit("MAX_PAIRS_PER_SOURCE", Count)],
    ),
    (
        "newcomers whose identity is being checked, or who are asked to prove where they are",
        &[
            limit("MAX_NEWCOMERS", Count),
            limit("NEWCOMER_LIFETIME", Seconds),
            limit("MAX_NEWCOMERS_PER_SOURCE", Count),
        ],
    ),
    ("rate gates of strangers, of each kind", &[limit("GATE_BUCKETS", Count)]),
    (
        "accounts of endpoints that have not proven themselves, and of their prefixes",
        &[(UNPROVEN, "ACCOUNTS", Count), (UNPROVEN, "LIFETIME", Seconds)],
    ),
    ("peers restored from disk, being checked", &[limit("MAX_PEERS", Count)]),
    (
        "paths with a probe under way",
        &[
            (LIMITS, "MAX_PATHS", Count),
            ("node/src/link/liveness.rs", "IDLE", Seconds),
            (LIMITS, "MAX_PATHS_PER_PEER", Count),
        ],
    ),
    (
        "peers to be told that we have moved",
        &[(LIMITS, "MAX_PEERS", Count), ("node/src/link/contact.rs", "TELLING_RATE", Count)],
    ),
    (
        "candidates told by others, being probed",
        &[
            (CANDIDATES, "MAX_CANDIDATES", Count),
            (CANDIDATES, "PAUSES", Seconds),
            (CANDIDATES, "MAX_CANDIDATES_PER_PEER", Count),
        ],
    ),
    ("other machines with our identity", &[(CLONES, "MAX_CLONES", Count), (CLONES, "GONE", Seconds)]),
    (
        "addresses that wrote to themselves, to find such machines",
        &[
            (CLONES, "MAX_REFLECTED", Count),
            (CLONES, "MAX_PLACES", Count),
            (CLONES, "PLACE_LIFE", Seconds),
            (CLONES, "REFLECT_BURST", Count),
            (CLONES, "REFLECT_GATE", PerSecond),
        ],
    ),
    ("moons", &[("node/src/link/topology.rs", "MAX_MOONS", Count)]),
    (
        "packets of credentials waiting until their receiver takes them",
        &[limit("MAX_CREDENTIALS_LATER", Count), limit("CREDENTIALS_SPACING", Seconds)],
    ),
    ("networks", &[limit("MAX_NETWORKS", Count)]),
    ("members remembered of a network", &[limit("MAX_MEMBERS", Count)]),
    ("revocations of a network in force, also on disk", &[limit("MAX_REVOKED", Count)]),
    (
        "configuration requests of those who have not answered anything yet",
        &[
            limit("MAX_REQUESTERS", Count),
            limit("REQUESTER_LIFETIME", Seconds),
            limit("MAX_REQUESTERS_PER_SOURCE", Count),
        ],
    ),
    (
        "subscriptions in the multicast directory",
        &[
            limit("MAX_SUBSCRIPTIONS", Count),
            limit("MULTICAST_EXPIRY", Seconds),
            limit("MAX_SUBSCRIPTIONS_PER_SOURCE", Count),
            limit("MAX_SUBSCRIPTIONS_PER_MEMBER", Count),
        ],
    ),
    (
        "multicasts of a group waiting for receivers",
        &[limit("MAX_PENDING_MULTICASTS", Count), limit("MULTICAST_LIFETIME", Seconds)],
    ),
    (
        "members that may use the directory on our controller's word",
        &[limit("MAX_MEMBERS", Count), limit("CONTROLLER_AUTHORIZATION", Seconds)],
    ),
    ("own groups of a network", &[limit("MAX_OWN_GROUPS", Count)]),
    (
        "MAC addresses behind bridges, of a network",
        &[limit("MAX_BRIDGED_MACS", Count), limit("BRIDGE_EXPIRY", Minutes)],
    ),
    (
        "configurations being assembled, of a network",
        &[(CONFIGURATION, "ASSEMBLIES", Count), (CONFIGURATION, "MAX_CONFIG", Mib)],
    ),
    ("capabilities of a network whose hits are counted", &[limit("MAX_COUNTED_CAPABILITIES", Count)]),
    (
        "tags, capabilities, certificates of ownership, revocations of a member",
        &[
            (MEMBERSHIP, "MAX_TAGS", Count),
            (MEMBERSHIP, "MAX_CAPABILITIES", Count),
            (MEMBERSHIP, "MAX_COOS", Count),
            (MEMBERSHIP, "MAX_THRESHOLDS", Count),
        ],
    ),
    ("octets of a packet", &[(PACKET, "MAX_PACKET", Count)]),
    ("WHOIS from a peer", &[limit("WHOIS_GATE", PerSecond)]),
    ("ECHO from a peer", &[limit("ECHO_BURST", Count), limit("ECHO_GATE", PerSecond)]),
    (
        "credentials that are not genuine",
        &[
            limit("FORGERY_BURST", Count),
            limit("FORGERY_GATE", PerSecond),
            limit("MEMBER_FORGERY_BURST", Count),
            limit("SOURCE_FORGERY_BURST", Count),
            limit("SOURCE_FORGERY_GATE", PerSecond),
        ],
    ),
    ("ERRORs", &[limit("ERROR_GATE", PerSecond)]),
    (
        "octets that remember packets, so that each counts once",
        &[
            limit("MAX_WINDOWS", Mib),
            limit("MAX_RECENT", Mib),
            ("node/src/link/replay/window.rs", "WIDE_OCTETS", Kib),
        ],
    ),
    (
        "octets of HELLOs of newcomers",
        &[limit("NEWCOMER_OCTETS_BURST", Count), limit("NEWCOMER_OCTETS", Count)],
    ),
    (
        "key agreements with newcomers",
        &[
            limit("AGREEMENT_BURST", Count),
            limit("AGREEMENT_GATE", PerSecond),
            limit("AGREEMENT_SOURCE_BURST", Count),
            limit("AGREEMENT_SOURCE_GATE", PerSecond),
        ],
    ),
    (
        "pushed addresses from a peer",
        &[limit("PUSH_BURST", Count), limit("PUSH_GATE", Seconds), limit("PUSH_PER_SCOPE", Count)],
    ),
    (
        "rules of a network, of a capability",
        &[(RULES, "MAX_RULES", Count), (RULES, "MAX_CAPABILITY_RULES", Count)],
    ),
    ("requests waiting for the controller", &[("node/src/service/controlling.rs", "QUEUE", Count)]),
    ("requests to the controller", &[("controller/src/rate.rs", "REQUEST_INTERVAL", PerSecond)]),
    ("unauthorized members recorded, of a network", &[("controller/src/state.rs", "MAX_STRANGERS", Count)]),
    (
        "API connections, by TCP and by the socket",
        &[
            (CLIENTS, "MAX_CLIENTS", Count),
            (SERVER, "CONNECTION_TIME", Seconds),
            (SERVER, "HEAD_TIME", Seconds),
            (CLIENTS, "MAX_PER_SOURCE", Count),
        ],
    ),
    (
        "API request",
        &[
            (SERVER, "MAX_HEAD", Kib),
            (SERVER, "MAX_HEADERS", Count),
            ("node/src/service/http/routes.rs", "MAX_BODY", Mib),
        ],
    ),
    ("physical networks in `local.conf`", &[("node/src/service/local_conf.rs", "MAX_PHYSICAL", Count)]),
];

/// The value of a constant of a file; times in milliseconds, of a list the sum.
fn value_of(file: &str, name: &str) -> u64 {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let parsed = syn::parse_file(&text).unwrap();
    evaluate(&parsed.items, file, name)
}

fn evaluate(items: &[Item], file: &str, name: &str) -> u64 {
    let found = items.iter().find_map(|item| match item {
        Item::Const(item) if item.ident == name => Some(&item.expr),
        _ => None,
    });
    let Some(expression) = found else { panic!("{file} has no constant {name}") };
    calculate(items, file, expression)
}

fn calculate(items: &[Item], file: &str, expression: &Expr) -> u64 {
    let value = |inner: &Expr| calculate(items, file, inner);
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => number.base10_parse().unwrap(),
            _ => panic!("{file}: no number"),
        },
        Expr::Paren(inner) => value(&inner.expr),
        Expr::Cast(cast) => value(&cast.expr),
        Expr::Array(array) => array.elems.iter().map(value).sum(),
        Expr::Binary(binary) => {
            let (left, right) = (value(&binary.left), value(&binary.right));
            match binary.op {
                BinOp::Mul(_) => left * right,
                BinOp::Add(_) => left + right,
                BinOp::Shl(_) => left << right,
                _ => panic!("{file}: an operation that is not known here"),
            }
        }
        Expr::Path(path) => match &*path.path.segments.last().unwrap().ident.to_string() {
            "ZERO" => 0,
            name => evaluate(items, file, name),
        },
        Expr::Call(call) => {
            let Expr::Path(function) = &*call.func else { panic!("{file}: a call that is not known here") };
            let unit = match &*function.path.segments.last().unwrap().ident.to_string() {
                "from_secs" | "secs" => 1_000,
                "from_millis" | "ms" => 1,
                other => panic!("{file}: {other} is not known here"),
            };
            unit * value(&call.args[0])
        }
        _ => panic!("{file}: an expression that is not known here"),
    }
}

/// The numbers in a text, but for lengths of prefixes and the status code of HTTP.
fn numbers(text: &str) -> Vec<u64> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let is_prefix = rest[..at].ends_with('/');
        let end = rest[at..].find(|c: char| !c.is_ascii_digit() && c != ',').map_or(rest.len(), |n| at + n);
        let digits = rest[at..end].replace(',', "");
        rest = &rest[end..];
        if !is_prefix && digits != "503" {
            found.push(digits.parse().unwrap());
        }
    }
    found
}

#[test]
fn every_number_in_the_table_of_bounds_is_the_codes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../SECURITY.md");
    let manual = std::fs::read_to_string(path).unwrap();
    let (_, rest) = manual.split_once("<!-- bounds: ").unwrap();
    let (table, _) = rest.split_once("<!-- end of bounds -->").unwrap();
    let mut wrong = Vec::new();
    let mut seen = Vec::new();
    // The first lines are the mark and the head.
    for line in table.lines().skip(3) {
        let (what, cells) = line.trim_start_matches("| ").split_once(" | ").unwrap();
        let Some((_, constants)) = ROWS.iter().find(|(row, _)| *row == what) else {
            wrong.push(format!("{what}: give its constants in node/tests/bounds/numbers.rs"));
            continue;
        };
        seen.push(what);
        let told = numbers(cells);
        let true_ones: Vec<u64> =
            constants.iter().map(|(file, name, said)| said.say(value_of(file, name))).collect();
        if told != true_ones {
            let names: Vec<&str> = constants.iter().map(|(_, name, _)| *name).collect();
            wrong.push(format!(
                "{what}: the manual says {told:?}, the code {true_ones:?} ({})",
                names.join(", ")
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let gone: Vec<&str> = ROWS.iter().map(|(row, _)| *row).filter(|row| !seen.contains(row)).collect();
    assert!(gone.is_empty(), "these rows are not in the manual: {gone:?}");
}

#[test]
fn numbers_are_found_and_constants_calculated() {
    assert_eq!(numbers("16,384 of one /24 or /48, 1 s; then 503"), [16_384, 1]);
    let text = "const A: usize = 2 * B; const B: usize = (1 << 4) as usize; const C: Duration = Duration::from_secs(5);
        const D: [Span; 3] = [Span::ZERO, Span::ms(300), Span::ms(700)];";
    let items = syn::parse_file(text).unwrap().items;
    assert_eq!(["A", "B", "C", "D"].map(|name| evaluate(&items, "x", name)), [32, 16, 5_000, 1_000]);
}
