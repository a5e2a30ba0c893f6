//! transcripts/*.json: whole conversations of the reference, with a core of ours in the place of every node at once.
//!
//! Every datagram of the record goes to our core in its receiver's place, at the recorded time. Packet IDs are random, so an
//! OK of the record answers a request that our core never made: it is rewritten to answer the request of the same kind that
//! our core did make. Everything else goes in untouched, but for one thing: where ours confirms a path by ECHO, which the
//! reference did not ask there, the node of the record answers it. Then ours has to do what the reference did: deliver the same frames
//! and messages, take over the same configurations, and answer what the reference answered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use controller::Action;
use flowrules::rule::{Kind, Rule, Target};
use node::core::Core;
use node::core::event::{Errand, Event, PhysicalNetwork, Settings};
use node::core::info::NetworkStatus;
use node::core::path::SocketId;
use protocol::netconf::{
    FLAG_BROADCAST, MAX_MTU, NetworkConfig, ROLE_ACTIVE_BRIDGE, ROLE_REPLICATOR, Specialist,
};
use protocol::packet::{self, HEADER_LEN, SessionKeys, Split, Suite};
use protocol::verb::Verb;
use protocol::verbs;
use protocol::world::World;
use protocol::{Address, Identity, MulticastGroup, NetworkId, SecretIdentity, Span, Time};

use super::bad_packets::ethernet;
use super::support::{Value, bytes, endpoint, folder, hex, id, list, load, number, text};
use super::{Opened, core, drain, introduce, open, time};

/// One node of the record.
struct Side {
    core: Core,
    secret: SecretIdentity,
    /// Its endpoints; the index is the socket.
    endpoints: Vec<SocketAddr>,
    /// Keys shared with all others.
    keys: BTreeMap<Address, SessionKeys>,
    /// Everything our core has sent.
    sent: Vec<Opened>,
    /// Frames not yet accounted for.
    frames: Vec<Vec<u8>>,
    /// Messages not yet accounted for: sender, type, content.
    messages: Vec<(Address, u64, Vec<u8>)>,
    /// Requests for a configuration that went to our controller.
    requests: Vec<u64>,
    groups: Vec<MulticastGroup>,
    /// Where nodes were heard.
    heard: BTreeSet<(Address, SocketAddr)>,
    /// How many of `sent` have been looked through for ECHOs.
    answered: usize,
}

impl Side {
    /// Takes out what the core has done, and has its ECHOs answered by those who were heard where they went.
    fn collect(&mut self, now: Time) {
        loop {
            super::check_identities(&mut self.core, now, Identity::locally_valid);
            self.take_output();
            let echoes: Vec<Opened> = self.sent[self.answered..]
                .iter()
                .filter(|p| p.verb == Verb::Echo && self.heard.contains(&(p.dest, p.to)))
                .cloned()
                .collect();
            self.answered = self.sent.len();
            if echoes.is_empty() {
                return;
            }
            for echo in echoes {
                let mut answer = Vec::new();
                packet::start(&mut answer, !echo.id, self.secret.address(), echo.dest, Verb::Ok);
                answer.push(Verb::Echo as u8);
                answer.extend_from_slice(&echo.id.to_be_bytes());
                answer.extend_from_slice(&echo.payload);
                self.keys[&echo.dest].armor(&mut answer, Suite::Salsa);
                self.core.datagram(now, echo.socket.unwrap_or(SocketId(0)), echo.to, &mut answer);
            }
        }
    }

    fn take_output(&mut self) {
        let output = drain(&mut self.core);
        self.sent.extend(open(&output.datagrams, &self.keys));
        self.frames.extend(output.frames.into_iter().map(|(_, frame)| frame));
        for errand in output.errands {
            if let Errand::ConfigRequest(request) = errand {
                self.requests.push(request.packet_id);
            }
        }
        for event in output.events {
            if let Event::UserMessage { from, kind, body } = event {
                self.messages.push((from, kind, body));
            }
        }
    }

    fn pass_time(&mut self, now: Time) {
        if self.core.next_deadline() <= now {
            self.core.tick(now);
            self.collect(now);
        }
    }

    fn socket(&self, endpoint: SocketAddr) -> SocketId {
        SocketId(self.endpoints.iter().position(|e| *e == endpoint).unwrap() as u32)
    }

    /// The latest request of a kind that our core made to a node.
    fn request(&self, verb: u8, to: Address) -> Option<u64> {
        self.sent.iter().rev().find(|p| p.verb as u8 == verb && p.dest == to).map(|p| p.id)
    }

    /// An OK or ERROR of the record as an answer to our own request; `None` if it needs no change or there was no such request.
    fn adapt(&self, plaintext: &[u8], suite: u8, hops: u8) -> Option<Vec<u8>> {
        let for_us = plaintext.len() >= HEADER_LEN + 9 && packet::dest(plaintext) == self.secret.address();
        let verb = for_us.then(|| packet::verb(plaintext)).flatten()?;
        let verb = Some(verb).filter(|v| matches!(v, Verb::Ok | Verb::Error))?;
        let source = packet::source(plaintext);
        let ours = self.request(plaintext[HEADER_LEN], source)?;
        let mut adapted = Vec::new();
        packet::start(&mut adapted, packet::id(plaintext), packet::dest(plaintext), source, verb);
        adapted.push(plaintext[HEADER_LEN]);
        adapted.extend_from_slice(&ours.to_be_bytes());
        adapted.extend_from_slice(&plaintext[HEADER_LEN + 9..]);
        let fragmented = adapted.len() > packet::DEFAULT_MTU;
        packet::set_fragmented(&mut adapted, fragmented);
        self.keys[&source].armor(&mut adapted, if suite == 3 { Suite::AesGmacSiv } else { Suite::Salsa });
        (0..hops).for_each(|_| packet::increment_hops(&mut adapted));
        Some(adapted)
    }
}

struct Replay<'a> {
    file: &'a str,
    record: &'a Value,
    sides: BTreeMap<String, Side>,
    /// Effects compared.
    compared: usize,
    failures: Vec<String>,
}

fn open_sides(record: &Value, now: Time) -> BTreeMap<String, Side> {
    let planet = bytes(record, "planet");
    let secrets: Vec<SecretIdentity> = list(record, "nodes")
        .iter()
        .map(|n| SecretIdentity::parse(text(n, "identity_secret")).unwrap())
        .collect();
    let mut settings = Settings::default();
    if let Some(network) = record["trusted_network"].as_str() {
        let trusted = PhysicalNetwork {
            blacklist: false,
            trusted_path_id: id(record, "trusted_path_id"),
            mtu: number(record, "path_mtu") as usize,
        };
        settings.physical.push((network.parse().unwrap(), trusted));
    }
    let mut sides = BTreeMap::new();
    for (node, secret) in list(record, "nodes").iter().zip(&secrets) {
        let name = text(node, "name");
        let others: Vec<&SecretIdentity> =
            secrets.iter().filter(|s| s.address() != secret.address()).collect();
        let settings = Settings { controller: name == "controller", ..settings.clone() };
        let mut core = core(secret, &planet, settings, now);
        let endpoints: Vec<SocketAddr> =
            ["ipv4", "ipv6"].iter().filter_map(|key| endpoint(node, key)).collect();
        let local = endpoints.iter().enumerate().map(|(i, e)| (SocketId(i as u32), *e)).collect();
        core.set_local_addresses(now, local);
        if name == "moonroot" {
            let moon = World::parse(&bytes(record, "moon_v1")).unwrap();
            core.orbit(now, moon.id, None, Some(moon));
        }
        let keys = super::Other::keys(&others, secret.identity());
        let mut side = Side {
            core,
            secret: secret.clone(),
            endpoints,
            keys,
            sent: Vec::new(),
            frames: Vec::new(),
            messages: Vec::new(),
            requests: Vec::new(),
            groups: Vec::new(),
            heard: BTreeSet::new(),
            answered: 0,
        };
        side.collect(now);
        sides.insert(name.to_owned(), side);
    }
    sides
}

/// Records that begin in the middle: everybody knows everybody and is on the network already.
fn skip_the_start(record: &Value, sides: &mut BTreeMap<String, Side>, now: Time) {
    let network: NetworkId = text(record, "network_id").parse().unwrap();
    let identities: Vec<_> = sides.values().map(|s| s.secret.identity().clone()).collect();
    let address = |name: &str| sides.get(name).map(|s| s.secret.address());
    let (bridge, observer) = (address("bridge"), address("observer"));
    let pushed = list(record, "log").iter().any(|e| e["what"] == "controller_pushes_config");
    let hosts: Vec<_> =
        sides.iter().map(|(name, s)| (name.clone(), s.secret.clone(), s.endpoints[0])).collect();
    for (name, side) in sides.iter_mut() {
        for identity in identities.iter().filter(|i| i.address != side.secret.address()) {
            introduce(&mut side.core, now, identity);
        }
        // Everybody is in touch with the root.
        for (_, secret, at) in
            hosts.iter().filter(|(other, ..)| other != name && (other == "root" || name == "root"))
        {
            super::Other::new(secret, side.secret.identity(), *at).meet(&mut side.core, now);
        }
        side.collect(now);
        if side.secret.address() == network.controller() {
            continue;
        }
        let mut config = NetworkConfig::new(network, side.secret.address(), now);
        config.public = true;
        config.mtu = MAX_MTU;
        config.flags = FLAG_BROADCAST;
        config.multicast_limit = 32;
        // What the description of the record says about its network.
        if let (Some(bridge), Some(observer)) = (bridge, observer) {
            config.specialists = vec![
                Specialist { address: bridge, roles: ROLE_ACTIVE_BRIDGE },
                Specialist { address: observer, roles: ROLE_REPLICATOR },
            ];
            let target = Target::new(observer.to_u64());
            config.rules = [
                Kind::Ethertype(34997),
                Kind::Tee(Target { length: 32, ..target }),
                Kind::Ethertype(34998),
                Kind::Watch(target),
                Kind::Ethertype(34999),
                Kind::Redirect(target),
            ]
            .map(Rule::new)
            .to_vec();
        }
        config.rules.push(Rule::new(Kind::Accept));
        let dictionary = config.to_dictionary();
        assert!(side.core.join(now, network, (!pushed).then_some(dictionary.as_bytes())));
        side.collect(now);
    }
}

impl Replay<'_> {
    fn fail(&mut self, entry: &Value, what: &str) {
        let failure = format!("{} entry {}: {what}", self.file, entry["n"]);
        self.failures.push(failure);
    }

    fn datagram(&mut self, entry: &Value, described: &Value, now: Time) {
        let Some(side) = self.sides.get_mut(text(entry, "to")) else { return };
        let (from, to) = (endpoint(entry, "src").unwrap(), endpoint(entry, "dst").unwrap());
        let adapted = described["plaintext"].as_str().and_then(|_| {
            let suite = number(described, "cipher") as u8;
            side.adapt(&bytes(described, "plaintext"), suite, described["hops"].as_u64().unwrap_or(0) as u8)
        });
        let socket = side.socket(to);
        if let Some(source) = described["zt_source"].as_str() {
            side.heard.insert((source.parse().unwrap(), from));
        }
        match adapted {
            Some(packet) => packet::datagrams(&packet, packet::DEFAULT_MTU, Split::Fill, |head, data| {
                side.core.datagram(now, socket, from, &mut [head, data].concat());
            }),
            None => {
                side.core.datagram(now, socket, from, &mut bytes(entry, "raw"));
                1
            }
        };
        side.collect(now);
    }

    /// Lets our controller's node send what the recorded controller decided.
    fn control(&mut self, entry: &Value, described: &Value, now: Time) {
        let side = self.sides.get_mut("controller").filter(|_| entry["from"] == "controller");
        let (Some(side), Some(verb)) = (side, described["verb"].as_str()) else { return };
        let plaintext = bytes(described, "plaintext");
        let (member, payload) = (packet::dest(&plaintext), &plaintext[HEADER_LEN..]);
        let fields = &described["fields"];
        let asked = fields["in_re_verb"] == "NETWORK_CONFIG_REQUEST";
        let action = match verb {
            "OK" if asked => Action::Config {
                member,
                network: text(fields, "network_id").parse().unwrap(),
                in_re: Some(id(fields, "in_re_packet_id")),
                chunks: vec![payload[9..].to_vec()],
                dictionary: Vec::new(),
                last: false,
            },
            "NETWORK_CONFIG" => Action::Config {
                member,
                network: text(fields, "network_id").parse().unwrap(),
                in_re: None,
                chunks: vec![payload.to_vec()],
                dictionary: Vec::new(),
                last: false,
            },
            "ERROR" if asked => {
                let error = verbs::Error::parse(payload).unwrap();
                Action::Refuse {
                    member,
                    network: error.network.unwrap(),
                    in_re: error.in_re_id,
                    code: error.code,
                    detail: error.body.get(2..).map(<[u8]>::to_vec),
                }
            }
            _ => return,
        };
        let requested = match &action {
            Action::Config { in_re: Some(id), .. } | Action::Refuse { in_re: id, .. } => {
                side.requests.contains(id)
            }
            _ => true,
        };
        side.core.controller_action(now, action);
        side.collect(now);
        if !requested {
            self.fail(entry, "the request did not reach the controller");
        }
    }

    /// Whether ours answered what the reference answered here. The request came in untouched, so its ID is the same.
    fn check_answer(&mut self, entry: &Value, described: &Value) {
        let Some(side) = self.sides.get(text(entry, "from")) else { return };
        let verb = described["verb"].as_str().unwrap_or_default();
        let ours_to_send = described["zt_source"].as_str() == Some(&side.secret.address().to_string());
        if !ours_to_send || !matches!(verb, "OK" | "ERROR") {
            return;
        }
        let fields = &described["fields"];
        let in_re = (text(fields, "in_re_verb"), id(fields, "in_re_packet_id"));
        let plaintext = bytes(described, "plaintext");
        // What the answer says is determined by the request, but for the sender's address and what a directory knows.
        let determined = !matches!(in_re.0, "HELLO" | "MULTICAST_GATHER" | "MULTICAST_FRAME");
        let answered = side.sent.iter().any(|p| {
            p.verb.name() == verb
                && p.dest == packet::dest(&plaintext)
                && p.payload.len() >= 9
                && Verb::from_byte(p.payload[0]).is_some_and(|v| v.name() == in_re.0)
                && p.payload[1..9] == in_re.1.to_be_bytes()
                && (!determined || p.payload == plaintext[HEADER_LEN..])
        });
        self.compared += 1;
        if !answered {
            self.fail(entry, &format!("no {verb} to {} {:016x}", in_re.0, in_re.1));
        }
    }

    fn input(&mut self, entry: &Value, now: Time) {
        let Some(side) = self.sides.get_mut(text(entry, "node")) else { panic!("unknown node in {entry}") };
        match text(entry, "what") {
            "join" => {
                assert!(side.core.join(now, text(entry, "network_id").parse().unwrap(), None));
            }
            "orbit" => {
                side.core.orbit(now, id(entry, "world_id"), Some(text(entry, "seed").parse().unwrap()), None);
            }
            "frame_from_tap" => {
                if let Some(joined) = side.core.joined(text(entry, "network_id").parse().unwrap()) {
                    joined.frame(now, &ethernet(entry));
                }
            }
            "multicast_subscribe" => {
                side.groups.push(MulticastGroup {
                    mac: text(entry, "mac").parse().unwrap(),
                    adi: u32::from_str_radix(text(entry, "adi"), 16).unwrap(),
                });
                let network = text(self.record, "network_id").parse().unwrap();
                if let Some(joined) = side.core.joined(network) {
                    joined.set_multicast_groups(now, &side.groups.clone());
                }
            }
            // Sending messages, controlling and making worlds are not the core's; their datagrams follow.
            _ => {}
        }
        side.collect(now);
    }

    fn output(&mut self, entry: &Value) {
        let Some(side) = self.sides.get_mut(text(entry, "node")) else { panic!("unknown node in {entry}") };
        let failure = match (text(entry, "what"), entry["name"].as_str()) {
            ("frame_to_tap", _) => {
                let frame = ethernet(entry);
                match side.frames.iter().position(|f| *f == frame) {
                    Some(index) => {
                        side.frames.remove(index);
                        None
                    }
                    None => Some(format!("this frame was not delivered: {}", hex(&frame))),
                }
            }
            ("event", Some("user_message")) => {
                let message =
                    (text(entry, "origin").parse().unwrap(), id(entry, "type_id"), bytes(entry, "data"));
                match side.messages.iter().position(|m| *m == message) {
                    Some(index) => {
                        side.messages.remove(index);
                        None
                    }
                    None => Some("this message was not delivered".to_owned()),
                }
            }
            ("network_config", _) => check_network(&side.core, entry),
            // Later is another matter: we do not ask a root who it is every five seconds, so recorded answers to that do
            // not keep us online.
            ("event", Some("online")) => (!side.core.view().status().online).then(|| "not online".to_owned()),
            _ => None,
        };
        self.compared += 1;
        if let Some(failure) = failure {
            self.fail(entry, &failure);
        }
    }

    fn check_end(&mut self) {
        let log = list(self.record, "log");
        for (name, side) in &self.sides {
            let mut fail = |what: String| self.failures.push(format!("{} {name}: {what}", self.file));
            if !side.frames.is_empty() {
                fail(format!("frames that the reference did not deliver: {:?}", side.frames));
            }
            if !side.messages.is_empty() {
                fail(format!("messages that the reference did not deliver: {:?}", side.messages));
            }
            let relayed =
                log.iter().any(|e| e["from"] == name.as_str() && e["hops"].as_u64().is_some_and(|h| h > 0));
            if relayed && side.core.view().counters().relayed == 0 {
                fail("nothing relayed".to_owned());
            }
            if name == "a" && !self.record["a_moons"].is_null() {
                let moons: Vec<(u64, u64)> = side
                    .core
                    .view()
                    .moons()
                    .into_iter()
                    .filter_map(|m| Some((m.id, m.world?.timestamp)))
                    .collect();
                let expected: Vec<(u64, u64)> = list(self.record, "a_moons")
                    .iter()
                    .map(|m| (id(m, "id"), number(m, "timestamp")))
                    .collect();
                if moons != expected {
                    fail(format!("moons {moons:?} instead of {expected:?}"));
                }
                let planet = side.core.view().status().planet_timestamp;
                if planet != number(self.record, "a_planet_timestamp") {
                    fail(format!("planet of {planet}"));
                }
            }
        }
    }
}

/// Compares a network with what the reference told its service about it.
fn check_network(core: &Core, entry: &Value) -> Option<String> {
    let wanted = text(entry, "network_id");
    let Some(network) = core.view().networks().into_iter().find(|n| n.network.to_string() == wanted) else {
        return Some(format!("{wanted} is not joined"));
    };
    let status = match number(entry, "status") {
        0 => NetworkStatus::RequestingConfiguration,
        1 => NetworkStatus::Ok,
        2 => NetworkStatus::AccessDenied,
        3 => NetworkStatus::NotFound,
        6 => NetworkStatus::AuthenticationRequired,
        other => panic!("status {other}"),
    };
    let mut wrong = Vec::new();
    if network.status != status {
        wrong.push(format!("status {:?} instead of {status:?}", network.status));
    }
    if network.mac.to_string() != text(entry, "mac") {
        wrong.push(format!("MAC {}", network.mac));
    }
    if let Some(url) = entry["authentication_url"].as_str()
        && network.authentication_url.as_deref() != Some(url)
    {
        wrong.push(format!("login at {:?}", network.authentication_url));
    }
    if status == NetworkStatus::Ok
        && let Some(config) = &network.config
    {
        let addresses: Vec<String> = config.addresses.iter().map(ToString::to_string).collect();
        let expected: Vec<String> = entry["assigned_addresses"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| a.as_str().unwrap().to_owned())
            .collect();
        let same = config.revision == number(entry, "revision")
            && u64::from(config.mtu) == number(entry, "mtu")
            && config.name == text(entry, "name")
            && u64::from(config.broadcast()) == number(entry, "broadcast")
            && addresses == expected;
        if !same {
            wrong.push(format!("another configuration: {config:?}"));
        }
    }
    (!wrong.is_empty()).then(|| wrong.join(", "))
}

/// The description of the packet that a datagram is or, as the last of its fragments, completes.
fn describe<'a>(record: &'a Value, entry: &'a Value) -> &'a Value {
    let completes = |whole: &&Value| list(whole, "datagrams").last() == Some(&entry["n"]);
    record["reassembled"].as_array().into_iter().flatten().find(completes).unwrap_or(entry)
}

fn replay(file: &str, record: &Value) -> Vec<String> {
    let log = list(record, "log");
    let start = time(&log[0], "t");
    let mut sides = open_sides(record, start);
    let joins = log.iter().any(|e| e["what"] == "join");
    if !joins && !record["network_id"].is_null() {
        skip_the_start(record, &mut sides, start);
    }
    let mut replay = Replay { file, record, sides, compared: 0, failures: Vec::new() };
    let mut now = start;
    for entry in log {
        let at = time(entry, "t");
        assert!(at >= now, "time runs backwards");
        now = at;
        replay.sides.values_mut().for_each(|side| side.pass_time(now));
        match text(entry, "type") {
            "datagram" => {
                let described = describe(record, entry);
                replay.control(entry, described, now);
                replay.check_answer(entry, described);
                replay.datagram(entry, described, now);
            }
            "input" => replay.input(entry, now),
            _ => replay.output(entry),
        }
    }
    replay.check_end();
    assert!(replay.compared > 0, "{file} compares nothing");
    // Nothing that a conversation leaves behind trips us later.
    for side in replay.sides.values_mut() {
        for minute in 1..=20 {
            side.pass_time(now + Span::secs(60) * minute);
        }
    }
    replay.failures
}

#[test]
fn transcript_vectors_have_the_same_effects() {
    let folder = folder().join("transcripts");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .collect();
    names.sort_unstable();
    assert!(!names.is_empty(), "no transcripts");
    let failures: Vec<String> =
        names.iter().flat_map(|name| replay(name, &load(&format!("transcripts/{name}")))).collect();
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}
