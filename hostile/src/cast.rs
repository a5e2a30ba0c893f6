//! Who plays: honest nodes and hostile ones, always with the same identities, since making one takes a memory-hard hash.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::OnceLock;

use protocol::inet::encode_inet;
use protocol::metadata::{ANNOUNCED_VERSION, PROTOCOL_VERSION};
use protocol::packet::SessionKeys;
use protocol::world::{Root, World, WorldKey, WorldKind};
use protocol::{Address, Identity, NetworkId, SecretIdentity};

/// The port everybody uses.
pub const PORT: u16 = 9993;

/// Identities used; each number below names one of them.
const IDENTITIES: usize = 32;
/// The honest root.
pub const ROOT: usize = 0;
/// The honest controller of `network`.
pub const CONTROLLER: usize = 1;
/// An ordinary node: the one under attack, unless that is one of the others.
pub const NODE: usize = 2;
/// An honest member of the network, who talks with the node under attack.
pub const FRIEND: usize = 3;
/// Another.
pub const OTHER_FRIEND: usize = 4;

/// A hostile part.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Actor {
    /// Somebody the node knows, who shares nothing with it.
    Stranger,
    /// Somebody it does not know yet.
    Newcomer,
    /// Another one.
    SecondNewcomer,
    /// A member of the network with a certificate in order.
    Member,
    /// One whose certificate was revoked.
    Former,
    /// The controller of another network that the node has joined.
    Controller,
    /// The second root of the planet.
    Root,
    /// The root of a moon that the node orbits.
    MoonRoot,
    /// The root of a planet the node has nothing to do with, for which it signs.
    OtherRoot,
}

/// All hostile parts.
pub const ACTORS: [Actor; 9] = [
    Actor::Stranger,
    Actor::Newcomer,
    Actor::SecondNewcomer,
    Actor::Member,
    Actor::Former,
    Actor::Controller,
    Actor::Root,
    Actor::MoonRoot,
    Actor::OtherRoot,
];

impl Actor {
    /// Its place among the identities.
    pub fn number(self) -> usize {
        10 + self as usize
    }

    /// Whether it may say where peers can be found: a root.
    pub fn is_root(self) -> bool {
        matches!(self, Self::Root | Self::MoonRoot)
    }

    /// Its secret.
    pub fn secret(self) -> &'static SecretIdentity {
        secret(self.number())
    }

    /// Its address.
    pub fn address(self) -> Address {
        self.secret().address()
    }

    /// An endpoint of its own, at which it hears what is sent to it.
    pub fn endpoint(self, number: usize) -> SocketAddr {
        let (actor, number) = (self as u8, number as u8);
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(81, actor, number / 2, 1 + number % 2)), PORT)
    }
}

/// The identity of that number.
///
/// # Panics
/// If there are not so many.
pub fn secret(number: usize) -> &'static SecretIdentity {
    static ALL: OnceLock<Vec<SecretIdentity>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let text = include_str!("../../node/tests/fixtures/identities.txt");
        let parse = |line| SecretIdentity::parse(line).expect("invariant: the file holds identities");
        text.lines().take(IDENTITIES).map(parse).collect()
    });
    &all[number]
}

/// Whether the address of an identity belongs to its key.
pub fn is_genuine(identity: &Identity) -> bool {
    (0..IDENTITIES).any(|number| secret(number).identity() == identity)
}

/// The keys that two of them share.
///
/// # Panics
/// If there are not so many.
pub fn keys(one: usize, other: usize) -> &'static SessionKeys {
    static ALL: OnceLock<Vec<OnceLock<SessionKeys>>> = OnceLock::new();
    let all = ALL.get_or_init(|| (0..IDENTITIES * IDENTITIES).map(|_| OnceLock::new()).collect());
    all[one * IDENTITIES + other].get_or_init(|| {
        let agreed = secret(one).agree(secret(other).identity());
        SessionKeys::new(&agreed.expect("invariant: the identities of the file agree"))
    })
}

/// Where an honest node lives at first.
pub fn home(number: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(80, 0, 1 + number as u8, 1)), PORT)
}

/// The network of the hostile controller.
pub fn foreign_network() -> NetworkId {
    NetworkId(Actor::Controller.address().to_u64() << 24 | 1)
}

/// ID of the moon of the hostile root.
pub const MOON: u64 = 0x00_6d6f_6f6e;

/// The planet: one honest root, one hostile one.
pub fn planet() -> &'static World {
    static PLANET: OnceLock<World> = OnceLock::new();
    PLANET.get_or_init(|| {
        let root = |number: usize, endpoint| Root {
            identity: secret(number).identity().clone(),
            endpoints: vec![endpoint],
        };
        let roots = vec![root(ROOT, home(ROOT)), root(Actor::Root.number(), Actor::Root.endpoint(0))];
        World::new_signed(WorldKind::Planet, 4711, 1, &world_key(), roots)
    })
}

/// The key that signs planet and moons; no actor has it.
pub fn world_key() -> WorldKey {
    WorldKey::from_secret([7; 64])
}

/// A moon with this root.
pub fn moon(number: usize, endpoint: SocketAddr) -> World {
    let identity = secret(number).identity().clone();
    let root = Root { identity, endpoints: vec![endpoint] };
    World::new_signed(WorldKind::Moon, MOON, 1, &world_key(), vec![root])
}

/// The record of a peer as a node keeps it on disk. Format: node's `peer_cache`.
pub(crate) fn record(number: usize, at: Option<SocketAddr>) -> Vec<u8> {
    let mut bytes = vec![2];
    secret(number).identity().write(&mut bytes);
    let (major, minor, revision) = ANNOUNCED_VERSION;
    for field in [u16::from(PROTOCOL_VERSION), major.into(), minor.into(), revision] {
        bytes.extend_from_slice(&field.to_be_bytes());
    }
    bytes.extend_from_slice(&u16::from(at.is_some()).to_be_bytes());
    if at.is_some() {
        encode_inet(&mut bytes, at);
    }
    bytes
}
