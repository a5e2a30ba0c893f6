//! What it makes of the packets that arrive.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock};

use protocol::netconf::NetworkConfig;
use protocol::packet::{self, HEADER_LEN, SessionKeys};
use protocol::verb::Verb;
use protocol::verbs::push_direct_paths::FORGET;
use protocol::verbs::{
    ConfigChunk, Error, ExtFrame, Frame, Hello, OkHeader, OkHello, OkWhois, PushDirectPaths, Rendezvous,
    Whois, error_code,
};
use protocol::{Address, Identity, Mac, NetworkId, Result, Span, Time, scope};
use rand::RngExt;

use super::peers::{CREDENTIALS_GATE, ECHO_GATE, PathKey, PeerPath, WHOIS_GATE, gate};
use super::{Double, PROTOCOL, VERSION};

/// Versions below this one are not understood.
const OLDEST: u8 = 4;
/// Of a /24 one stranger is looked at in so long.
const STRANGERS: Span = Span::ms(2_000);
/// One beacon is answered in so long.
const BEACONS: Span = Span::ms(2_500);
/// Record flag of pushed paths: come here, and nowhere else.
const REDIRECT: u8 = 0x02;
/// Addresses of one scope and family that are tried of a push.
const TRIED: usize = 8;
/// Time-to-live of what opens a NAT and is not to arrive.
const PUNCH: u8 = 2;

/// Hashing costs a fifth of a second in tests, and the same few identities are met again and again.
fn is_genuine(identity: &Identity) -> bool {
    static GENUINE: OnceLock<Mutex<BTreeSet<String>>> = OnceLock::new();
    let text = identity.to_string();
    let mut genuine = GENUINE.get_or_init(Mutex::default).lock().expect("nobody panics with it");
    let valid = genuine.contains(&text) || identity.locally_valid();
    if valid {
        genuine.insert(text);
    }
    valid
}

/// An authentic packet.
struct Incoming {
    via: PathKey,
    source: Address,
    id: u64,
    hops: u8,
    octets: Vec<u8>,
}

impl Incoming {
    fn payload(&self) -> &[u8] {
        &self.octets[HEADER_LEN..]
    }
}

/// What became of a packet.
enum Done {
    /// It counts as a sign of life.
    Credit,
    /// The same, of a member of a network.
    Trust,
    /// It does not count.
    Nothing,
    /// To be looked at again.
    Later,
}

impl Double {
    /// Whether a packet is dealt with; else it is to be tried again.
    pub(super) fn decode(&mut self, now: Time, via: PathKey, octets: &[u8]) -> bool {
        let (source, id, hops) = (packet::source(octets), packet::id(octets), packet::hops(octets));
        let clear_hello = packet::suite(octets) == 0 && packet::verb(octets) == Some(Verb::Hello);
        if clear_hello {
            // One that cannot be read is dropped.
            let _ = self.hello(now, via, octets, false);
            return true;
        }
        let Some(peer) = self.peers.get(&source) else {
            self.ask_who(now, source);
            return false;
        };
        let mut octets = octets.to_vec();
        if peer.keys.open(&mut octets).is_none() || packet::decompress(&mut octets).is_err() {
            return true;
        }
        let verb = packet::verb(&octets);
        let incoming = Incoming { via, source, id, hops, octets };
        match self.handle(now, &incoming, verb) {
            Ok(Done::Credit) => self.credit(now, &incoming, verb, false),
            Ok(Done::Trust) => self.credit(now, &incoming, verb, true),
            Ok(Done::Later) => return false,
            Ok(Done::Nothing) | Err(_) => {}
        }
        true
    }

    fn handle(&mut self, now: Time, incoming: &Incoming, verb: Option<Verb>) -> Result<Done> {
        match verb {
            Some(Verb::Hello) => {
                self.hello(now, incoming.via, &incoming.octets, true)?;
                Ok(Done::Nothing)
            }
            Some(Verb::Ok) => self.ok(now, incoming),
            Some(Verb::Whois) => self.whois(now, incoming),
            Some(Verb::Rendezvous) => self.rendezvous(now, incoming),
            Some(Verb::Frame) => self.got_frame(incoming),
            Some(Verb::ExtFrame) => self.got_ext_frame(now, incoming),
            Some(Verb::Echo) => Ok(self.echo(now, incoming)),
            Some(Verb::NetworkCredentials) => {
                let peer = self.peers.get_mut(&incoming.source);
                let open = peer.is_some_and(|peer| gate(&mut peer.credentials, now, CREDENTIALS_GATE));
                self.tally.count(incoming.source, Verb::NetworkCredentials, open);
                Ok(if open { Done::Credit } else { Done::Nothing })
            }
            Some(Verb::PushDirectPaths) => self.pushed(now, incoming),
            // They belong to bonds, of which it has none.
            Some(Verb::Ack | Verb::QosMeasurement | Verb::PathNegotiationRequest) => Ok(Done::Nothing),
            // ERROR, announcements of groups, messages of users: nothing follows of them here.
            _ => Ok(Done::Credit),
        }
    }

    /// Greetings make it known. `authentic`: the packet has been opened already.
    fn hello(&mut self, now: Time, via: PathKey, octets: &[u8], authentic: bool) -> Result<()> {
        let start = Hello::parse_start(&octets[HEADER_LEN..])?;
        let (source, id, hops) = (packet::source(octets), packet::id(octets), packet::hops(octets));
        if start.protocol < OLDEST || start.identity.address != source {
            return Ok(());
        }
        let known = self.peers.get(&source);
        if !authentic {
            let same = known.map(|peer| peer.identity == start.identity);
            if same != Some(true) && !self.may_look_at_stranger(now, via.remote) {
                self.tally.count(source, Verb::Hello, false);
                return Ok(());
            }
            let agreed = match same {
                Some(true) => None,
                _ => self.secret.agree(&start.identity).map(|agreed| SessionKeys::new(&agreed)),
            };
            let known = self.peers.get(&source).map(|peer| &peer.keys);
            let Some(keys) = agreed.as_ref().or(known) else { return Ok(()) };
            if keys.open(&mut octets.to_vec()).is_none() {
                return Ok(());
            }
            if same == Some(false) {
                let mut packet = self.begin(source, Verb::Error);
                let code = error_code::IDENTITY_COLLISION;
                let in_re_verb = Verb::Hello as u8;
                Error { in_re_verb, in_re_id: id, code, network: None, body: &[] }.write(&mut packet);
                self.reply(now, via, source, packet);
                return Ok(());
            }
            if same.is_none() && !is_genuine(&start.identity) {
                return Ok(());
            }
            self.add_peer(&start.identity);
        }
        let hello = Hello::parse(&octets[HEADER_LEN..])?;
        if let Some(seen_as) = hello.sent_to.filter(|_| hops == 0) {
            self.seen_as(now, source, via, seen_as);
        }
        let newer = hello.planet.is_some_and(|(id, at)| id == self.planet.id && at < self.planet.timestamp);
        let worlds = if newer { self.planet.to_bytes() } else { Vec::new() };
        let mut seen = via.remote;
        if hello.protocol < 5 {
            seen.set_port(0);
        }
        let mut body = Vec::new();
        OkHello {
            timestamp: hello.timestamp,
            protocol: PROTOCOL,
            major: VERSION.0,
            minor: VERSION.1,
            revision: VERSION.2,
            seen_as: Some(seen),
            world_bytes: &worlds,
        }
        .write(&mut body);
        self.answer(now, (via, source, id), Verb::Hello, &body);
        self.tally.count(source, Verb::Hello, true);
        let Some(peer) = self.peers.get_mut(&source) else { return Ok(()) };
        (peer.protocol, peer.software) = (hello.protocol, (hello.major, hello.minor, hello.revision));
        let incoming = Incoming { via, source, id, hops, octets: Vec::new() };
        self.credit(now, &incoming, Some(Verb::Hello), false);
        Ok(())
    }

    fn may_look_at_stranger(&mut self, now: Time, from: SocketAddr) -> bool {
        let std::net::IpAddr::V4(ip) = from.ip() else { return false };
        let [a, b, c, _] = ip.octets();
        let mut last = self.strangers.get(&[a, b, c]).copied();
        let open = gate(&mut last, now, STRANGERS);
        self.strangers.extend(last.map(|at| ([a, b, c], at)));
        open
    }

    fn answer(&mut self, now: Time, (via, to, id): (PathKey, Address, u64), verb: Verb, body: &[u8]) {
        let mut packet = self.begin(to, Verb::Ok);
        OkHeader { in_re_verb: verb as u8, in_re_id: id, body }.write(&mut packet);
        self.reply(now, via, to, packet);
    }

    fn ok(&mut self, now: Time, incoming: &Incoming) -> Result<Done> {
        let ok = OkHeader::parse(incoming.payload())?;
        if !self.expected.has(ok.in_re_id) {
            return Ok(Done::Nothing);
        }
        match Verb::from_byte(ok.in_re_verb) {
            Some(Verb::Hello) => {
                let hello = OkHello::parse(ok.body)?;
                if hello.protocol < OLDEST {
                    return Ok(Done::Nothing);
                }
                if incoming.hops == 0 {
                    let rtt = now.as_ms() - hello.timestamp as i64;
                    let path = self.paths.entry(incoming.via).or_default();
                    path.latency = Some(path.latency.map_or(rtt, |old| (old + rtt) / 2));
                }
                let Some(peer) = self.peers.get_mut(&incoming.source) else { return Ok(Done::Nothing) };
                peer.protocol = hello.protocol;
                peer.software = (hello.major, hello.minor, hello.revision);
                if let Some(seen_as) = hello.seen_as.filter(|_| incoming.hops == 0) {
                    self.seen_as(now, incoming.source, incoming.via, seen_as);
                }
            }
            Some(Verb::Whois) if self.is_upstream(incoming.source) => {
                if let Some(identity) = OkWhois::parse(ok.body)?.0.first() {
                    self.add_peer(identity);
                    self.asked.remove(&identity.address);
                    self.release(now, identity.address);
                }
            }
            Some(Verb::NetworkConfigRequest) => self.configured(now, incoming.source, ok.body)?,
            _ => {}
        }
        Ok(Done::Credit)
    }

    /// The controller has answered. What comes in several pieces is more than a test's network has.
    fn configured(&mut self, now: Time, from: Address, body: &[u8]) -> Result<()> {
        let chunk = ConfigChunk::parse(body)?;
        let Some(controller) = self.peers.get(&from) else { return Ok(()) };
        let whole = chunk.offset == 0 && chunk.total as usize == chunk.data.len();
        if !whole || !chunk.verify(&controller.identity) {
            return Ok(());
        }
        let config = NetworkConfig::from_dictionary(chunk.data)?;
        if config.issued_to == self.address()
            && let Some(joined) = self.networks.get_mut(&config.network)
        {
            (joined.public, joined.updated) = (Some(config.public), Some(now));
        }
        Ok(())
    }

    fn whois(&mut self, now: Time, incoming: &Incoming) -> Result<Done> {
        let am_root = self.am_root();
        let open = self
            .peers
            .get_mut(&incoming.source)
            .is_some_and(|peer| am_root || gate(&mut peer.whois, now, WHOIS_GATE));
        self.tally.count(incoming.source, Verb::Whois, open);
        if !open {
            return Ok(Done::Nothing);
        }
        let mut found = Vec::new();
        for address in Whois::parse(incoming.payload())?.0 {
            match self.peers.get(&address) {
                _ if address == self.address() => found.push(self.secret.identity().clone()),
                Some(peer) => found.push(peer.identity.clone()),
                None => self.ask_who(now, address),
            }
        }
        if !found.is_empty() {
            let mut body = Vec::new();
            OkWhois(found).write(&mut body);
            self.answer(now, (incoming.via, incoming.source, incoming.id), Verb::Whois, &body);
        }
        Ok(Done::Credit)
    }

    fn echo(&mut self, now: Time, incoming: &Incoming) -> Done {
        let path = self.paths.entry(incoming.via).or_default();
        let open = gate(&mut path.echo, now, ECHO_GATE);
        self.tally.count(incoming.source, Verb::Echo, open);
        if !open {
            return Done::Nothing;
        }
        self.answer(now, (incoming.via, incoming.source, incoming.id), Verb::Echo, incoming.payload());
        Done::Credit
    }

    fn rendezvous(&mut self, now: Time, incoming: &Incoming) -> Result<Done> {
        let rendezvous = Rendezvous::parse(incoming.payload())?;
        let (peer, at) = (rendezvous.peer, rendezvous.endpoint);
        if self.is_upstream(incoming.source)
            && self.peers.contains_key(&peer)
            && at.port() > 0
            && self.path_allowed(peer, at)
        {
            let junk: [u8; 4] = self.rng.random();
            self.put(at, Some(PUNCH), junk.to_vec());
            self.contact(peer, at, now, false);
        }
        Ok(Done::Credit)
    }

    fn pushed(&mut self, now: Time, incoming: &Incoming) -> Result<Done> {
        let source = incoming.source;
        let Some(peer) = self.peers.get_mut(&source) else { return Ok(Done::Nothing) };
        let open = peer.may_push(now);
        self.tally.pushed(source, peer);
        self.tally.count(source, Verb::PushDirectPaths, open);
        if !open {
            return Ok(Done::Credit);
        }
        let mut tried: BTreeMap<_, usize> = BTreeMap::new();
        for path in PushDirectPaths::parse(incoming.payload())?.0 {
            let (at, redirect) = (path.endpoint, path.flags & REDIRECT != 0);
            let known = self.peers.get(&source).is_some_and(|peer| peer.has_path_to(now, at));
            if path.flags & FORGET != 0 || known && !redirect || !self.path_allowed(source, at) {
                continue;
            }
            if redirect {
                self.redirect(now, source, incoming.via, at);
                continue;
            }
            let count = tried.entry((scope(at.ip()), at.is_ipv4())).or_default();
            *count += 1;
            if *count <= TRIED {
                self.contact(source, at, now, false);
            }
        }
        Ok(Done::Credit)
    }

    /// A peer says that it is elsewhere from now on: that is believed at once.
    fn redirect(&mut self, now: Time, source: Address, from: PathKey, to: SocketAddr) {
        self.contact(source, to, now, true);
        let Some(peer) = self.peers.get_mut(&source) else { return };
        let of = peer.paths.iter().find(|path| path.key == from);
        let priority = of.map_or(1, |path| path.priority) + 2;
        peer.paths.retain(|path| path.priority >= priority && path.key.remote.ip() != to.ip());
        let key = PathKey { socket: from.socket, remote: to };
        peer.paths.push(PeerPath { key, last: Some(now), priority });
    }

    fn got_frame(&mut self, incoming: &Incoming) -> Result<Done> {
        let frame = Frame::parse(incoming.payload())?;
        let network = frame.network;
        if !self.networks.contains_key(&network) {
            return Ok(Done::Credit);
        }
        if !self.is_open(network) {
            return Ok(Done::Later);
        }
        let macs = (Mac::for_member(network, self.address()), Mac::for_member(network, incoming.source));
        self.deliver(network, macs, frame.ethertype, frame.payload);
        Ok(Done::Trust)
    }

    fn got_ext_frame(&mut self, now: Time, incoming: &Incoming) -> Result<Done> {
        let frame = ExtFrame::parse(incoming.payload())?;
        let network = frame.network;
        if !self.networks.contains_key(&network) {
            return Ok(Done::Credit);
        }
        if !self.is_open(network) {
            return Ok(Done::Later);
        }
        let (own, theirs) =
            (Mac::for_member(network, self.address()), Mac::for_member(network, incoming.source));
        // Nothing is bridged here.
        if frame.source == theirs && (frame.dest == own || frame.dest.is_multicast()) {
            self.deliver(network, (frame.dest, frame.source), frame.ethertype, frame.payload);
        }
        if frame.wants_acknowledgement() {
            let body = network.0.to_be_bytes();
            self.answer(now, (incoming.via, incoming.source, incoming.id), Verb::ExtFrame, &body);
        }
        Ok(Done::Trust)
    }

    fn deliver(&mut self, network: NetworkId, (dest, source): (Mac, Mac), ethertype: u16, payload: &[u8]) {
        let frame = [&dest.0[..], &source.0, &ethertype.to_be_bytes(), payload].concat();
        self.received.push((network, frame));
    }

    /// Somebody is there: what is learned of that.
    fn credit(&mut self, now: Time, incoming: &Incoming, verb: Option<Verb>, trust: bool) {
        let &Incoming { via, source, hops, .. } = incoming;
        let Some(peer) = self.peers.get_mut(&source) else { return };
        peer.last_received = Some(now);
        let busy = [
            Verb::Frame,
            Verb::ExtFrame,
            Verb::NetworkConfigRequest,
            Verb::NetworkConfig,
            Verb::MulticastFrame,
        ];
        if verb.is_some_and(|verb| busy.contains(&verb)) {
            peer.last_active = Some(now);
        }
        if trust {
            peer.last_trusted = Some(now);
            self.paths.entry(via).or_default().trusted = Some(now);
        }
        if hops == 0 && !peer.heard_on(now, &self.paths, via) && self.path_allowed(source, via.remote) {
            let Some(peer) = self.peers.get_mut(&source) else { return };
            if verb == Some(Verb::Ok) {
                peer.learn(now, &self.paths, via);
            } else if peer.may_confirm(now, via) {
                self.contact(source, via.remote, now, true);
                self.paths.entry(via).or_default().last_out = Some(now);
            }
        }
        self.push_addresses(now, via, source, hops);
    }

    pub(super) fn answer_beacon(&mut self, now: Time, via: PathKey, data: &[u8]) {
        let Some(of) = data[8..].first_chunk().map(|of| Address::from_bytes(*of)) else { return };
        let known = self.peers.contains_key(&of) && self.path_allowed(of, via.remote);
        if known && gate(&mut self.beacon, now, BEACONS) {
            let packet = self.begin(of, Verb::Nop);
            self.reply(now, via, of, packet);
        }
    }
}
