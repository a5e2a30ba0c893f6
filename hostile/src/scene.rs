//! The stage: a small internet without delay or loss, honest nodes on it, the node under attack among them, and what is promised
//! about it.
//!
//! The honest ones are whole cores, each with its own identity; a member of the network talks with the node under attack all
//! the time ([`Scene::friends_talk`]). Hostile ones have no core: they are made of what [`crate::step`] seals.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use controller::{Action, Controller, MemoryStore};
use node::core::event::{Errand, Event, Settings};
use node::core::info::NetworkStatus;
use node::core::path::SocketId;
use node::core::{Core, CoreConfig};
use protocol::credential::revocation::FAST_PROPAGATE;
use protocol::credential::{Credential, Revocation, kind};
use protocol::netconf::NetworkConfig;
use protocol::packet;
use protocol::{Address, Mac, NetworkId, Span, Time};

use crate::body::{REVOKED, member_com};
use crate::cast::{self, Actor, CONTROLLER, FRIEND, NODE, OTHER_FRIEND, ROOT};
use crate::ledger::Ledger;
use crate::promise::{Promise, Violation};
use crate::tape::Tape;

/// When the virtual clock starts.
pub const START: Time = Time::from_ms(1_700_000_000_000);
/// The only socket of every node.
pub const SOCKET: SocketId = SocketId(0);
/// Datagrams that one step may cause, all nodes together.
const MAX_COMMOTION: usize = 20_000;
/// Friends hear of each other at least this often: else they would rightly forget each other.
const CHAT: Span = Span::secs(20);
/// A node that moved is reached again within this time.
const FOUND_AGAIN: Span = Span::secs(40);

/// What the node under attack is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// A member of a network.
    Member,
    /// The controller of the network, and a member of it.
    Controller,
    /// A root of the planet: two members that cannot reach each other talk through it.
    Root,
    /// A member, and the root of a moon: it carries traffic of those who orbit that.
    Relay,
}

/// All roles.
pub const ROLES: [Role; 4] = [Role::Member, Role::Controller, Role::Root, Role::Relay];

struct Host {
    number: usize,
    core: Core,
    controller: Option<Controller>,
    at: SocketAddr,
    /// Frames that came out of its port for the network with the honest controller: payloads.
    received: VecDeque<Vec<u8>>,
    status: Option<NetworkStatus>,
    /// Whether a root has accepted its identity.
    accepted: bool,
}

struct Flight {
    from: SocketAddr,
    to: SocketAddr,
    data: Vec<u8>,
}

/// Everything.
pub struct Scene {
    /// Virtual time.
    pub now: Time,
    /// What the node under attack is.
    pub role: Role,
    /// The network with the honest controller.
    pub network: NetworkId,
    /// What was broken so far.
    pub violations: Vec<Violation>,
    hosts: Vec<Host>,
    victim: usize,
    flying: VecDeque<Flight>,
    ledger: Ledger,
    /// Endpoints that have proved themselves, or that the node was told of by its configuration.
    proven: BTreeSet<SocketAddr>,
    /// When an endpoint was last told of.
    told: BTreeMap<SocketAddr, Time>,
    /// What came by, for whoever wants to send it again.
    pub tape: Tape,
    /// Payloads that may come out of its port, and how often.
    expected: BTreeMap<Vec<u8>, u32>,
    came_out: BTreeSet<Vec<u8>>,
    serial: u64,
    moves: u8,
}

impl Scene {
    /// The stage with everybody on it, talking.
    ///
    /// # Panics
    /// If the honest nodes alone do not get along: then there is nothing to attack.
    pub fn new(role: Role) -> Self {
        let numbers: &[usize] = match role {
            Role::Member | Role::Relay => &[ROOT, CONTROLLER, NODE, FRIEND],
            Role::Controller => &[ROOT, CONTROLLER, FRIEND],
            Role::Root => &[ROOT, CONTROLLER, FRIEND, OTHER_FRIEND],
        };
        let victim = match role {
            Role::Member | Role::Relay => 2,
            Role::Controller => 1,
            Role::Root => 0,
        };
        let mut scene = Self {
            now: START,
            role,
            network: NetworkId(0),
            violations: Vec::new(),
            hosts: Vec::new(),
            victim,
            flying: VecDeque::new(),
            ledger: Ledger::default(),
            proven: [Actor::Root.endpoint(0), Actor::MoonRoot.endpoint(0)].into(),
            told: BTreeMap::new(),
            tape: Tape::default(),
            expected: BTreeMap::new(),
            came_out: BTreeSet::new(),
            serial: 0,
            moves: 0,
        };
        for number in numbers {
            scene.enter(*number, numbers);
        }
        scene.found_network();
        scene.begin();
        scene
    }

    fn enter(&mut self, number: usize, numbers: &[usize]) {
        let at = cast::home(number);
        self.proven.insert(at);
        let config = CoreConfig {
            identity: cast::secret(number).clone(),
            planet: cast::planet().clone(),
            seed: [number as u8 + 1; 32],
            settings: Settings { controller: number == CONTROLLER, ..Settings::default() },
        };
        let mut core = Core::new(config, self.now);
        core.set_local_addresses(self.now, vec![(SOCKET, at)]);
        for other in numbers.iter().filter(|other| **other != number) {
            core.restore_peer(&cast::record(*other, Some(cast::home(*other)))).expect("a record");
        }
        if self.hosts.len() == self.victim {
            for actor in [Actor::Stranger, Actor::Member, Actor::Former, Actor::Controller] {
                core.restore_peer(&cast::record(actor.number(), None)).expect("a record");
            }
        }
        let controller = (number == CONTROLLER).then(|| {
            let secret = cast::secret(number).clone();
            Controller::open_with_seed(secret, Box::new(MemoryStore::new()), [9; 32]).expect("an empty store")
        });
        self.hosts.push(Host {
            number,
            core,
            controller,
            at,
            received: VecDeque::new(),
            status: None,
            accepted: false,
        });
    }

    fn host(&self, number: usize) -> usize {
        self.hosts.iter().position(|h| h.number == number).expect("a host of this scene")
    }

    /// A request to the controller; what it causes is carried out.
    fn http(&mut self, path: &str, body: &str) -> String {
        let index = self.host(CONTROLLER);
        let now = self.now;
        let controller = self.hosts[index].controller.as_mut().expect("the controller");
        let (reply, actions) = controller.http(now, "POST", path, body.as_bytes());
        assert_eq!(reply.status, 200, "{path}: {:?}", reply.body);
        for action in actions {
            self.hosts[index].core.controller_action(now, action);
        }
        self.settle();
        let body = reply.body.unwrap_or_default();
        body["nwid"].as_str().unwrap_or_default().to_owned()
    }

    fn found_network(&mut self) {
        let body = r#"{"private": true, "multicastLimit": 32, "enableBroadcast": true,
            "rules": [{"type": "ACTION_ACCEPT"}]}"#;
        let id = self.http("/controller/network", body);
        self.network = id.parse().expect("the ID of the new network");
    }

    /// The controller lets the members in.
    fn authorize(&mut self) {
        let id = self.network;
        for number in [CONTROLLER, NODE, FRIEND, OTHER_FRIEND] {
            let member = cast::secret(number).address();
            self.http(&format!("/controller/network/{id}/member/{member}"), r#"{"authorized": true}"#);
        }
    }

    fn begin(&mut self) {
        let (now, network) = (self.now, self.network);
        for index in 0..self.hosts.len() {
            let joins = match self.hosts[index].number {
                ROOT => false,
                CONTROLLER => self.role == Role::Controller,
                _ => true,
            };
            if joins {
                self.hosts[index].core.join(now, network, None);
            }
        }
        let victim = self.victim;
        if self.role == Role::Member {
            let moon = cast::moon(Actor::MoonRoot.number(), Actor::MoonRoot.endpoint(0));
            self.hosts[victim].core.orbit(now, cast::MOON, None, Some(moon));
        }
        if self.role == Role::Relay {
            for host in &mut self.hosts {
                let moon = cast::moon(NODE, cast::home(NODE));
                host.core.orbit(now, cast::MOON, None, Some(moon));
            }
        }
        if self.role != Role::Root {
            // The network of the hostile controller, as if joined in an earlier run.
            let us = cast::secret(self.hosts[victim].number).identity();
            let foreign = cast::foreign_network();
            let mut config = NetworkConfig::new(foreign, us.address, now);
            config.com = Some(member_com(now, foreign, us, Actor::Controller.secret()));
            config.multicast_limit = 32;
            let cached = config.to_dictionary().into_bytes();
            self.hosts[victim].core.join(now, foreign, Some(&cached));
        }
        self.settle();
        // Whoever joins is refused at first, and somebody on the path has recorded that.
        self.pass(2_000);
        let from = cast::home(CONTROLLER);
        self.tape.keep_refusals(from);
        self.authorize();
        let ready = (0..30).any(|_| {
            self.pass(500);
            let tried = self.exchange();
            tried == (true, true)
        });
        assert!(ready, "the honest nodes do not get along: {:?}", self.role);
        let revocation = Revocation {
            id: 1,
            network,
            credential_id: 0,
            threshold: REVOKED,
            flags: FAST_PROPAGATE,
            target: Actor::Former.address(),
            kind: kind::COM,
        };
        let revocation = revocation.sign(cast::secret(CONTROLLER));
        let to = self.hosts.iter().filter(|h| h.number != ROOT).map(|h| h.core.address()).collect();
        let controller = self.host(CONTROLLER);
        self.hosts[controller].core.controller_action(self.now, Action::Revoke { to, revocation });
        self.settle();
        // What the controller said at first was its right.
        self.violations.retain(|violation| violation.promise != Promise::Status);
        assert!(self.violations.is_empty(), "broken before anybody attacked: {:?}", self.violations);
    }

    /// The core under attack.
    pub fn core(&self) -> &Core {
        &self.hosts[self.victim].core
    }

    /// The same, to be handled from outside; [`Scene::follow`] afterwards carries out what it wants done.
    pub fn core_mut(&mut self) -> &mut Core {
        &mut self.hosts[self.victim].core
    }

    /// Carries out what the cores ask for.
    pub fn follow(&mut self) {
        self.settle();
    }

    /// The identity number of the node under attack.
    pub fn victim(&self) -> usize {
        self.hosts[self.victim].number
    }

    /// Its address.
    pub fn victim_address(&self) -> Address {
        cast::secret(self.victim()).address()
    }

    /// Its endpoint.
    pub fn victim_endpoint(&self) -> SocketAddr {
        self.hosts[self.victim].at
    }

    /// Where the friend is now.
    pub fn friend_endpoint(&self) -> SocketAddr {
        self.hosts[self.host(FRIEND)].at
    }

    /// A number that was not given before.
    pub fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Notes a broken promise.
    pub fn broken(&mut self, promise: Promise, what: String) {
        self.violations.push(Violation { promise, what });
    }

    /// Somebody authorized sends a frame with this payload: it may come out.
    pub fn expect_frame(&mut self, payload: &[u8]) {
        *self.expected.entry(payload.to_vec()).or_default() += 1;
    }

    /// An endpoint has answered what the node sent there.
    pub fn prove(&mut self, endpoint: SocketAddr) {
        self.proven.insert(endpoint);
    }

    /// The node is told to try an endpoint; `octets` may go there for it, once in 20 s.
    pub fn tell(&mut self, endpoint: SocketAddr, octets: usize) {
        let last = self.told.insert(endpoint, self.now);
        if last.is_none_or(|at| self.now - at >= CHAT) {
            self.ledger.told(endpoint, octets);
        } else if let Some(at) = last {
            self.told.insert(endpoint, at);
        }
    }

    /// A stranger points at an endpoint with a packet; so many octets may go there for it.
    pub fn point_at(&mut self, endpoint: SocketAddr, octets: usize) {
        self.ledger.told(endpoint, octets);
    }

    /// A hostile datagram reaches the node under attack, and everything that follows from it happens.
    pub fn attack(&mut self, from: SocketAddr, data: &[u8]) {
        self.tape.record(from, data);
        self.flying.push_back(Flight { from, to: self.victim_endpoint(), data: data.to_vec() });
        self.settle();
    }

    /// Time passes; friends say something now and then.
    pub fn pass(&mut self, ms: i64) {
        let end = self.now + Span::ms(ms);
        let mut chat = self.now + CHAT;
        loop {
            let deadline = self.hosts.iter().map(|h| h.core.next_deadline()).min().unwrap_or(end);
            // A deadline in the past would be one that never moves.
            let next = deadline.max(self.now + Span::ms(1)).min(chat);
            if next > end {
                break;
            }
            self.now = next;
            if next == chat {
                chat += CHAT;
                self.exchange();
            }
            for index in 0..self.hosts.len() {
                if self.hosts[index].core.next_deadline() <= self.now {
                    self.hosts[index].core.tick(self.now);
                }
                self.tick_controller(index);
            }
            self.settle();
        }
        self.now = end;
    }

    fn tick_controller(&mut self, index: usize) {
        let (now, host) = (self.now, &mut self.hosts[index]);
        let Some(controller) = &mut host.controller else { return };
        if controller.next_deadline().is_some_and(|at| at <= now) {
            for action in controller.tick(now) {
                host.core.controller_action(now, action);
            }
        }
    }

    /// The two whose frames have to flow.
    fn friends(&self) -> (usize, usize) {
        match self.role {
            Role::Root => (self.host(FRIEND), self.host(OTHER_FRIEND)),
            _ => (self.host(FRIEND), self.victim),
        }
    }

    fn say(&mut self, from: usize, to: usize) -> bool {
        let serial = self.next_serial();
        let payload = format!("frame {serial} of {from}").into_bytes();
        let mac =
            |host: usize| Mac::for_member(self.network, cast::secret(self.hosts[host].number).address());
        let mut frame = mac(to).0.to_vec();
        frame.extend_from_slice(&mac(from).0);
        frame.extend_from_slice(&[0x88, 0xb5]);
        frame.extend_from_slice(&payload);
        if to == self.victim {
            self.expect_frame(&payload);
        }
        let (now, network) = (self.now, self.network);
        if let Some(joined) = self.hosts[from].core.joined(network) {
            joined.frame(now, &frame);
        }
        self.settle();
        let got = self.hosts[to].received.contains(&payload);
        self.hosts[to].received.clear();
        got
    }

    /// A frame in each direction; whether each arrived at once.
    fn exchange(&mut self) -> (bool, bool) {
        let (one, other) = self.friends();
        (self.say(one, other), self.say(other, one))
    }

    /// Friends talk, and have to be understood within three seconds.
    pub fn friends_talk(&mut self) {
        let mut understood = (false, false);
        for _ in 0..4 {
            let now = self.exchange();
            understood = (understood.0 || now.0, understood.1 || now.1);
            if understood == (true, true) {
                return;
            }
            self.pass(1_000);
        }
        let what = format!("frames that arrived, towards the node and back: {understood:?}");
        self.broken(Promise::Service, what);
    }

    /// The friend gets another address, and what it sent before is sent again and again from the old one.
    pub fn friend_moves(&mut self, replayed: bool) {
        let friend = self.host(FRIEND);
        self.exchange();
        let old = self.hosts[friend].at;
        let packet = self.tape.last_from(old);
        self.moves += 1;
        let mut new = cast::home(FRIEND);
        new.set_port(new.port() + u16::from(self.moves));
        if let SocketAddr::V4(new) = &mut new {
            new.set_ip([83, 0, self.moves, 1].into());
        }
        self.hosts[friend].at = new;
        self.proven.insert(new);
        let end = self.now + FOUND_AGAIN;
        while self.now < end {
            if replayed && let Some(packet) = &packet {
                self.flying.push_back(Flight { from: old, to: self.victim_endpoint(), data: packet.clone() });
                self.settle();
            }
            if self.exchange() == (true, true) {
                return;
            }
            self.pass(1_000);
        }
        self.broken(Promise::Path, format!("not reached for {FOUND_AGAIN:?}, replays: {replayed}"));
    }

    /// The last test of a play.
    pub fn finish(&mut self) {
        if self.violations.is_empty() {
            self.friends_talk();
        }
    }

    /// Carries out what the cores ask for until nothing is left to do.
    fn settle(&mut self) {
        let mut commotion = 0;
        loop {
            for index in 0..self.hosts.len() {
                self.take_out(index);
            }
            let Some(flight) = self.flying.pop_front() else { break };
            commotion += 1;
            if commotion > MAX_COMMOTION {
                self.broken(Promise::End, format!("more than {MAX_COMMOTION} datagrams from one step"));
                self.flying.clear();
                break;
            }
            self.arrive(flight);
        }
    }

    fn arrive(&mut self, flight: Flight) {
        let Flight { from, to, mut data } = flight;
        let Some(index) = self.hosts.iter().position(|h| h.at == to) else {
            // Nobody's, or a hostile one's.
            self.tape.hear(to, data);
            return;
        };
        if index == self.victim {
            if self.proven.contains(&from) {
                self.tape.record(from, &data);
            } else {
                self.ledger.came(from, data.len());
            }
        }
        if self.role == Role::Root {
            // The two friends cannot reach each other.
            let ends = [FRIEND, OTHER_FRIEND].map(|number| self.hosts[self.host(number)].at);
            if ends.contains(&from) && ends.contains(&to) {
                return;
            }
        }
        self.hosts[index].core.datagram(self.now, SOCKET, from, &mut data);
    }

    fn take_out(&mut self, index: usize) {
        loop {
            let mut outbox = std::mem::take(self.hosts[index].core.outbox());
            let quiet = outbox.errands.is_empty() && outbox.events.is_empty();
            if quiet && outbox.datagrams.is_empty() && outbox.frames.is_empty() {
                break;
            }
            let from = self.hosts[index].at;
            let whole = outbox.datagrams.whole().iter();
            let whole = whole.map(|s| (s.to, outbox.datagrams.buffer()[s.range.clone()].to_vec(), false));
            let plain = outbox.datagrams.iter().map(|(s, data)| (s.to, data.to_vec(), s.ttl.is_some()));
            let all: Vec<_> = plain.chain(whole).collect();
            for (to, data, dies) in all {
                if index == self.victim
                    && !self.proven.contains(&to)
                    && let Some(what) = self.ledger.went(to, data.len())
                {
                    let what = format!("{what}; {}", self.describe(&data));
                    self.broken(Promise::Amplification, what);
                }
                if !dies {
                    self.flying.push_back(Flight { from, to, data });
                }
            }
            let network = self.network;
            let frames: Vec<Vec<u8>> = outbox
                .frames
                .iter()
                .filter(|(id, _)| *id == network)
                .map(|(_, frame)| frame[14..].to_vec())
                .collect();
            for payload in frames {
                self.frame(index, payload);
            }
            for errand in std::mem::take(&mut outbox.errands) {
                self.run_errand(index, errand);
            }
            for event in std::mem::take(&mut outbox.events) {
                self.event(index, event);
            }
        }
    }

    /// What a datagram of the node says, for whoever has to find out why it was sent.
    fn describe(&self, data: &[u8]) -> String {
        if data.len() < packet::HEADER_LEN {
            return format!("{} octets", data.len());
        }
        let dest = packet::dest(data);
        let suite = packet::suite(data);
        let reader = crate::cast::ACTORS.iter().map(|a| a.number()).chain(0..5);
        let verb = reader.filter(|n| cast::secret(*n).address() == dest).find_map(|number| {
            let mut copy = data.to_vec();
            cast::keys(number, self.victim()).dearmor(&mut copy).then(|| packet::verb(&copy))
        });
        format!("verb {:?} in suite {suite} to {dest}", verb.flatten())
    }

    fn frame(&mut self, index: usize, payload: Vec<u8>) {
        if index == self.victim {
            match self.expected.get_mut(&payload) {
                Some(count) => {
                    *count -= 1;
                    if *count == 0 {
                        self.expected.remove(&payload);
                    }
                    self.came_out.insert(payload.clone());
                }
                None => {
                    let promise =
                        if self.came_out.contains(&payload) { Promise::Once } else { Promise::Authorization };
                    self.broken(promise, format!("{:?}", String::from_utf8_lossy(&payload)));
                }
            }
        }
        let received = &mut self.hosts[index].received;
        if received.len() >= 64 {
            received.pop_front();
        }
        received.push_back(payload);
    }

    fn run_errand(&mut self, index: usize, errand: Errand) {
        let now = self.now;
        match errand {
            Errand::ConfigRequest(request) => {
                if let Some(controller) = &mut self.hosts[index].controller {
                    for action in controller.request(now, request) {
                        self.hosts[index].core.controller_action(now, action);
                    }
                }
            }
            Errand::Acknowledged(word) => {
                if let Some(controller) = &mut self.hosts[index].controller {
                    controller.acknowledged(now, word);
                }
            }
            Errand::CheckIdentity { identity, .. } => {
                // A made-up identity is genuine once in 2^40 cases.
                let genuine = cast::is_genuine(&identity);
                self.hosts[index].core.identity_checked(now, &identity, genuine);
            }
        }
    }

    fn event(&mut self, index: usize, event: Event) {
        match event {
            Event::Accepted => self.hosts[index].accepted = true,
            // Whoever was accepted once, or is a root itself, has nothing to fear from this; see the service.
            Event::IdentityCollision { root }
                if index == self.victim && !self.hosts[index].accepted && self.role != Role::Root =>
            {
                self.broken(Promise::Identity, format!("{root} tells an unaccepted node of a collision"));
            }
            Event::NetworkStatus { network, status } if network == self.network => {
                let before = self.hosts[index].status.replace(status);
                let fine = matches!(status, NetworkStatus::Ok | NetworkStatus::RequestingConfiguration);
                if index == self.victim && !fine {
                    let what = format!("{} after {:?}", status.name(), before.map(NetworkStatus::name));
                    self.broken(Promise::Status, what);
                }
            }
            _ => {}
        }
    }
}
