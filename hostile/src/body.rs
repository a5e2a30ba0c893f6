//! What the packets of a hostile peer say: well formed by the protocol's own types, with whatever content; and ways to damage it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use protocol::credential::{
    Capability, Com, Coo, Credential, HeldCapability, Revocation, Signature, Signed, Tag, kind,
};
use protocol::metadata::{ANNOUNCED_VERSION, PROTOCOL_VERSION, RequestMetadata};
use protocol::netconf::NetworkConfig;
use protocol::verb::Verb;
use protocol::verbs::{
    ConfigRequest, Error, ExtFrame, Frame, Gathered, Hello, MulticastFrame, MulticastGather, MulticastLike,
    NetworkCredentials, OkGather, OkHeader, OkHello, OkMulticastFrame, OkWhois, PushDirectPaths, PushedPath,
    Rendezvous, UserMessage, Whois, config_chunk, error_code,
};
use protocol::world::{WorldKey, WorldKind};
use protocol::{
    Address, Identity, Mac, MulticastGroup, NetworkId, Reader, SecretIdentity, Span, Time, World,
};

use crate::cast::{self, ACTORS, Actor};
use crate::choices::Choices;

/// Verbs by number; among them some that do not exist, and more than once those by which most can be done.
pub const VERBS: [u8; 32] = [
    0x02, 0x02, 0x02, 0x03, 0x03, 0x08, 0x0a, 0x0a, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
    0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x1f,
];

/// What a body may be about.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Virtual time, ms.
    pub now: Time,
    /// Who speaks.
    pub actor: Actor,
    /// The node under attack.
    pub victim: Address,
    /// The network with the honest controller.
    pub network: NetworkId,
    /// ID of the packet that the node sent to the actor last, as on the wire.
    pub heard: u64,
    /// The controller of that network, who has signed the member's certificate.
    pub authority: &'a SecretIdentity,
    /// Number of the frame, so that each has a payload of its own.
    pub serial: u64,
}

impl Facts<'_> {
    fn network(&self, choices: &mut Choices<'_>) -> NetworkId {
        match choices.below(5) {
            0..3 => self.network,
            3 => cast::foreign_network(),
            _ => NetworkId(choices.u64()),
        }
    }

    fn address(&self, choices: &mut Choices<'_>) -> Address {
        match choices.below(8) {
            0 => self.actor.address(),
            1 => self.victim,
            2 => cast::secret(cast::FRIEND).address(),
            3 => cast::secret(cast::CONTROLLER).address(),
            4 => cast::secret(cast::ROOT).address(),
            5 => choices.of(&ACTORS).address(),
            6 => Address::from_u64(choices.u64() & 0xff_ffff_ffff),
            _ => choices.of(&[Address::NULL, Address::from_u64(0xff_0000_0000)]),
        }
    }

    /// Times that make a difference: now, never, around windows and thresholds, absurd ones.
    fn time(&self, choices: &mut Choices<'_>) -> Time {
        match choices.below(8) {
            0 => self.now,
            1 => self.now - Span::ms(1),
            2 => self.now + Span::ms(1),
            3 => self.now - Span::secs(7_200),
            4 => self.now + Span::secs(86_400),
            5 => Time::EPOCH,
            6 => Time::LAST,
            _ => Time::from_ms(choices.u64().cast_signed()),
        }
    }

    fn group(&self, choices: &mut Choices<'_>) -> MulticastGroup {
        let mac = match choices.below(3) {
            0 => Mac::BROADCAST,
            1 => Mac([0x33, 0x33, 0, 0, choices.byte(), choices.byte()]),
            _ => Mac([1, 0, 0x5e, choices.byte(), choices.byte(), choices.byte()]),
        };
        MulticastGroup { mac, adi: choices.byte().into() }
    }

    /// An identity: somebody's, or one that pairs an address with another's key.
    fn identity(&self, choices: &mut Choices<'_>) -> Identity {
        let mut identity = match choices.below(4) {
            0 => self.actor.secret().identity().clone(),
            1 => cast::secret(cast::FRIEND).identity().clone(),
            _ => choices.of(&ACTORS).secret().identity().clone(),
        };
        if choices.chance(64) {
            identity.address = self.address(choices);
        }
        identity
    }

    /// Whoever signs: mostly the actor itself, which is right only where it is the controller.
    fn signer(&self, choices: &mut Choices<'_>) -> &'static SecretIdentity {
        match choices.below(4) {
            0..3 => self.actor.secret(),
            _ => choices.of(&ACTORS).secret(),
        }
    }

    /// The certificate that the actor has, or one it made up.
    pub fn com(&self, choices: &mut Choices<'_>) -> Signed<Com> {
        let own = self.actor.secret().identity();
        match (self.actor, choices.below(4)) {
            (Actor::Member, 0..3) => member_com(self.now, self.network, own, self.authority),
            (Actor::Former, 0..3) => member_com(REVOKED, self.network, own, self.authority),
            _ => {
                let subject = self.identity(choices);
                let (time, network) = (self.time(choices), self.network(choices));
                Com::new(time, Span::ms(choices.u64().cast_signed()), network, &subject)
                    .sign(self.signer(choices))
            }
        }
    }

    fn payload(&self, choices: &mut Choices<'_>) -> Vec<u8> {
        let mut payload = b"hostile".to_vec();
        payload.push(self.actor as u8);
        payload.extend_from_slice(&self.serial.to_be_bytes());
        payload.extend(choices.bytes(64));
        if choices.chance(16) {
            payload.resize(2_600, 0x5a);
        }
        payload
    }
}

/// Up to when certificates of the former member are revoked.
pub const REVOKED: Time = Time::from_ms(crate::scene::START.as_ms() - 1_000);

/// A certificate by a controller.
pub fn member_com(
    time: Time,
    network: NetworkId,
    member: &Identity,
    controller: &SecretIdentity,
) -> Signed<Com> {
    Com::new(time, Span::secs(7_200), network, member).sign(controller)
}

/// A credential with a signature that may be anybody's.
///
/// # Panics
/// If the credential has more in it than fits into its form.
pub fn claimed<T: Credential>(credential: &T, signer: Address, signature: &Signature) -> Signed<T> {
    let mut octets = Vec::new();
    credential.write_fields(signer, &mut octets);
    T::write_signature(signer, signature, &mut octets);
    Signed::read(&mut Reader::new(&octets)).expect("the form in which credentials arrive")
}

/// A capability passed on by its holder, or by somebody who is not; as it was when its chain is full.
fn passed_on(held: HeldCapability, giver: &SecretIdentity, to: Address) -> HeldCapability {
    let mut octets = Vec::new();
    held.write(&mut octets);
    // The end of the chain, and the length of additional fields.
    octets.truncate(octets.len() - 7);
    octets.extend_from_slice(&to.to_bytes());
    octets.extend_from_slice(&giver.address().to_bytes());
    octets.extend_from_slice(&[1, 0, 96]);
    octets.extend_from_slice(&giver.sign(&held.message()));
    octets.extend_from_slice(&[0; 7]);
    HeldCapability::read(&mut Reader::new(&octets)).unwrap_or(held)
}

/// Any endpoint somebody may speak of.
pub fn endpoint(choices: &mut Choices<'_>) -> SocketAddr {
    let port = if choices.chance(16) { 0 } else { cast::PORT };
    let b = |choices: &mut Choices<'_>| choices.byte();
    let ip: IpAddr = match choices.below(8) {
        0..3 => Ipv4Addr::new(82, choices.byte() & 3, choices.byte() & 3, b(choices)).into(),
        3 => Ipv4Addr::new(192, 168, 1, b(choices)).into(),
        4 => Ipv6Addr::new(0x2a02, 0, choices.byte().into(), 0, 0, 0, 0, b(choices).into()).into(),
        5 => cast::home(choices.below(5)).ip(),
        6 => Ipv4Addr::new(127, 0, 0, 1).into(),
        _ => Ipv4Addr::from(choices.u32()).into(),
    };
    SocketAddr::new(ip, port)
}

/// A HELLO.
pub fn hello(facts: &Facts<'_>, choices: &mut Choices<'_>) -> Hello {
    let (major, minor, revision) = ANNOUNCED_VERSION;
    let claimed =
        if choices.chance(48) { facts.identity(choices) } else { facts.actor.secret().identity().clone() };
    Hello {
        protocol: if choices.chance(64) { choices.byte() } else { PROTOCOL_VERSION },
        major,
        minor,
        revision,
        timestamp: facts.time(choices).as_ms().cast_unsigned(),
        identity: claimed,
        sent_to: Some(endpoint(choices)),
        planet: Some((cast::planet().id, if choices.chance(128) { 0 } else { cast::planet().timestamp })),
        masked_tail_at: None,
    }
}

/// Worlds with and without a right to them.
fn worlds(facts: &Facts<'_>, choices: &mut Choices<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    match choices.below(5) {
        0 => {}
        1 => cast::planet().write(&mut bytes),
        2 => {
            // Signed, but not by whom it should be.
            let root = cast::moon(facts.actor.number(), facts.actor.endpoint(0)).roots;
            let key = WorldKey::from_secret([8; 64]);
            World::new_signed(WorldKind::Moon, cast::MOON, choices.u64(), &key, root).write(&mut bytes);
        }
        3 => {
            let mut world: World = cast::planet().clone();
            world.timestamp = choices.u64();
            world.roots[0].identity = facts.actor.secret().identity().clone();
            world.write(&mut bytes);
        }
        _ => bytes = choices.bytes(200),
    }
    bytes
}

fn ok_body(verb: u8, facts: &Facts<'_>, choices: &mut Choices<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    match Verb::from_byte(verb) {
        Some(Verb::Hello) => OkHello {
            timestamp: facts.time(choices).as_ms().cast_unsigned(),
            protocol: if choices.chance(64) { choices.byte() } else { PROTOCOL_VERSION },
            major: 1,
            minor: 14,
            revision: 1,
            seen_as: Some(endpoint(choices)),
            world_bytes: &worlds(facts, choices),
        }
        .write(&mut body),
        Some(Verb::Whois) => {
            let identities = (0..1 + choices.below(3)).map(|_| facts.identity(choices)).collect();
            OkWhois(identities).write(&mut body);
        }
        Some(Verb::NetworkConfigRequest) => body = config(facts, choices),
        Some(Verb::MulticastGather) => OkGather {
            network: facts.network(choices),
            group: facts.group(choices),
            total: choices.u32(),
            members: (0..choices.below(40)).map(|_| facts.address(choices)).collect(),
        }
        .write(&mut body),
        Some(Verb::MulticastFrame) => {
            let members: Vec<Address> = (0..choices.below(20)).map(|_| facts.address(choices)).collect();
            OkMulticastFrame {
                network: facts.network(choices),
                group: facts.group(choices),
                com: choices.chance(64).then(|| facts.com(choices)),
                gathered: Some(Gathered { total: members.len() as u32, members }),
            }
            .write(&mut body);
        }
        _ => body = choices.bytes(80),
    }
    body
}

/// A configuration, or a piece of one.
fn config(facts: &Facts<'_>, choices: &mut Choices<'_>) -> Vec<u8> {
    let network = facts.network(choices);
    let issued_to = if choices.chance(32) { facts.address(choices) } else { facts.victim };
    let mut config = NetworkConfig::new(network, issued_to, facts.time(choices));
    config.revision = choices.byte().into();
    config.public = choices.chance(64);
    config.multicast_limit = choices.byte().into();
    config.mtu = 2800;
    let dictionary = config.to_dictionary().into_bytes();
    let flags = choices.below(2) as u8;
    let signer = facts.signer(choices);
    if choices.chance(64) {
        let piece = choices.bytes(100);
        let (total, offset) = (choices.u32(), choices.u32() >> choices.below(32));
        return config_chunk::sign(network, &piece, flags, choices.u64(), total, offset, signer);
    }
    if choices.chance(64) {
        // The old form without a signature.
        let mut body = network.0.to_be_bytes().to_vec();
        body.extend_from_slice(&(dictionary.len() as u16).to_be_bytes());
        body.extend_from_slice(&dictionary);
        return body;
    }
    let update = choices.u64() | 1;
    config_chunk::cut(network, &dictionary, flags, update, signer).into_iter().next().unwrap_or_default()
}

fn credentials(facts: &Facts<'_>, choices: &mut Choices<'_>) -> NetworkCredentials {
    let mut set = NetworkCredentials::default();
    for _ in 0..1 + choices.below(4) {
        match choices.below(6) {
            0 | 1 => {
                let mut revocation = Revocation {
                    id: choices.u32(),
                    network: facts.network(choices),
                    credential_id: choices.byte().into(),
                    threshold: facts.time(choices),
                    flags: choices.byte().into(),
                    target: facts.address(choices),
                    kind: choices.of(&[kind::COM, kind::TAG, kind::CAPABILITY, kind::COO, 0, 99]),
                };
                let (mut signer, mut signature) = (Address::NULL, [0; 96]);
                if choices.chance(160) {
                    let signed = revocation.clone().sign(facts.signer(choices));
                    (signer, signature) = (signed.signer(), *signed.signature());
                }
                if choices.chance(96) {
                    // As if the controller had signed.
                    signer = revocation.network.controller();
                }
                for _ in 0..=choices.below(4) {
                    revocation.id = revocation.id.wrapping_add(1);
                    set.revocations.push(claimed(&revocation, signer, &signature));
                }
            }
            2 => {
                let tag = Tag::new(
                    facts.network(choices),
                    facts.time(choices),
                    choices.byte().into(),
                    choices.u32(),
                    facts.address(choices),
                );
                set.tags.push(tag.sign(facts.signer(choices)));
            }
            3 => {
                let (network, time) = (facts.network(choices), facts.time(choices));
                let capability =
                    Capability::new(network, time, choices.byte().into(), choices.byte(), Vec::new());
                let further = choices.below(3);
                let to = facts.address(choices);
                let mut held = capability.hand_to(facts.signer(choices), to);
                for _ in 0..further {
                    let to = facts.address(choices);
                    held = passed_on(held, facts.signer(choices), to);
                }
                set.capabilities.push(held);
            }
            4 => {
                let (network, time) = (facts.network(choices), facts.time(choices));
                let to = facts.address(choices);
                let thing = Ipv4Addr::from(choices.u32()).into();
                let coo = Coo::new(network, time, choices.byte().into(), to, [thing]);
                set.coos.push(coo.sign(facts.signer(choices)));
            }
            _ => set.coms.push(facts.com(choices)),
        }
    }
    if choices.chance(64) {
        set.coms.push(facts.com(choices));
    }
    set
}

/// What follows the verb, for the verb of that number. HELLO is not made here: it has a form of its own.
pub fn of(verb: u8, facts: &Facts<'_>, choices: &mut Choices<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    match Verb::from_byte(verb) {
        Some(Verb::Error) => {
            let code = match choices.below(9) {
                0 => choices.byte(),
                n => [
                    error_code::IDENTITY_COLLISION,
                    error_code::ACCESS_DENIED,
                    error_code::OBJECT_NOT_FOUND,
                    error_code::NEED_MEMBERSHIP_CERTIFICATE,
                    error_code::UNSUPPORTED_OPERATION,
                    error_code::UNWANTED_MULTICAST,
                    error_code::AUTHENTICATION_REQUIRED,
                    error_code::ACCESS_DENIED,
                ][n - 1],
            };
            let group = facts.group(choices);
            let mut detail = Vec::new();
            match choices.below(3) {
                0 => group.write(&mut detail),
                1 => {}
                _ => detail = choices.bytes(60),
            }
            Error {
                in_re_verb: choices.of(&[
                    Verb::NetworkConfigRequest as u8,
                    Verb::Hello as u8,
                    Verb::Frame as u8,
                ]),
                in_re_id: facts.heard,
                code,
                network: (code != error_code::IDENTITY_COLLISION).then(|| facts.network(choices)),
                body: &detail,
            }
            .write(&mut body);
        }
        Some(Verb::Ok) => {
            let verb = choices.of(&[0x01, 0x04, 0x08, 0x0b, 0x0d, 0x0e, 0x0c, 0x07]);
            let inner = ok_body(verb, facts, choices);
            let in_re_id = if choices.chance(32) { choices.u64() } else { facts.heard };
            OkHeader { in_re_verb: verb, in_re_id, body: &inner }.write(&mut body);
        }
        Some(Verb::Whois) => {
            let asked = (0..1 + choices.below(24)).map(|_| facts.address(choices)).collect();
            Whois(asked).write(&mut body);
        }
        Some(Verb::Rendezvous) => {
            Rendezvous { peer: facts.address(choices), endpoint: endpoint(choices) }.write(&mut body);
        }
        Some(Verb::Frame) => Frame {
            network: facts.network(choices),
            ethertype: choices.of(&[0x88b5, 0x0800, 0x86dd, 0x0806]),
            payload: &facts.payload(choices),
        }
        .write(&mut body),
        Some(Verb::ExtFrame) => {
            let network = facts.network(choices);
            let macs = [
                Mac::for_member(network, facts.victim),
                Mac::for_member(network, facts.actor.address()),
                Mac::for_member(network, cast::secret(cast::FRIEND).address()),
                Mac::BROADCAST,
                Mac([0; 6]),
                Mac([2, 1, 2, 3, 4, choices.byte()]),
            ];
            ExtFrame {
                network,
                flags: choices.byte(),
                com: choices.chance(96).then(|| facts.com(choices)),
                dest: macs[choices.below(6)],
                source: macs[[1, 1, 0, 2, 4, 5][choices.below(6)]],
                ethertype: 0x88b5,
                payload: &facts.payload(choices),
            }
            .write(&mut body);
        }
        Some(Verb::Echo) => {
            body = choices.bytes(64);
            if choices.chance(24) {
                body.resize(4 * (1 + choices.below(255)), 7);
            }
        }
        Some(Verb::MulticastLike) => {
            for _ in 0..1 + choices.below(30) {
                MulticastLike::write(facts.network(choices), facts.group(choices), &mut body);
            }
        }
        Some(Verb::NetworkCredentials) => credentials(facts, choices).write(&mut body),
        Some(Verb::NetworkConfigRequest) => {
            let metadata = if choices.chance(64) {
                choices.bytes(100)
            } else {
                RequestMetadata::ours("").to_dictionary().into_bytes()
            };
            let network = facts.network(choices);
            ConfigRequest { network, metadata: &metadata, revision: Some(0), timestamp: Some(0) }
                .write(&mut body);
        }
        Some(Verb::NetworkConfig) => body = config(facts, choices),
        Some(Verb::MulticastGather) => MulticastGather {
            network: facts.network(choices),
            group: facts.group(choices),
            limit: choices.u32(),
            com: choices.chance(96).then(|| facts.com(choices)),
        }
        .write(&mut body),
        Some(Verb::MulticastFrame) => MulticastFrame {
            network: facts.network(choices),
            replicate: choices.chance(48),
            com: choices.chance(96).then(|| facts.com(choices)),
            gather_limit: Some(choices.u32()),
            source: choices.chance(64).then(|| Mac([2, 1, 2, 3, 4, choices.byte()])),
            group: facts.group(choices),
            ethertype: 0x88b5,
            payload: &facts.payload(choices),
        }
        .write(&mut body),
        Some(Verb::PushDirectPaths) => {
            let path = |choices: &mut Choices<'_>| PushedPath {
                flags: if choices.chance(32) { choices.byte() } else { 0 },
                endpoint: endpoint(choices),
            };
            let paths = (0..1 + choices.below(20)).map(|_| path(choices)).collect();
            PushDirectPaths(paths).write(&mut body);
        }
        Some(Verb::UserMessage) => {
            // Software updates, clones (a call and the request to hand one on), anything.
            let kind = match choices.below(4) {
                0 => 100,
                1 => 0x7a74_6e6f_6465_5457,
                2 => 0x7a74_6e6f_6465_4341,
                _ => choices.u64(),
            };
            UserMessage { kind, body: &choices.bytes(200) }.write(&mut body);
        }
        _ => body = choices.bytes(120),
    }
    body
}

/// Damages a body a little.
pub fn mutate(body: &mut Vec<u8>, choices: &mut Choices<'_>) {
    for _ in 0..1 + choices.below(3) {
        let at = if body.is_empty() { 0 } else { choices.u32() as usize % body.len() };
        match choices.below(5) {
            0 => body.truncate(at),
            1 => body.extend(choices.bytes(100)),
            2 if !body.is_empty() => body[at] = choices.byte(),
            3 if !body.is_empty() => body[at] ^= 1 << choices.below(8),
            _ => {
                let piece: Vec<u8> = body[..at].to_vec();
                body.extend(piece);
            }
        }
    }
    body.truncate(9_000);
}
