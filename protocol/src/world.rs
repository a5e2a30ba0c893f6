//! Signed lists of roots: the planet everybody shares, and moons some orbit. Specification: VL1 behaviour, worlds.
//!
//! | Size | Field |
//! |---|---|
//! | 1 | type: 1 planet, 127 moon |
//! | 8 | world ID |
//! | 8 | timestamp, ms since the Unix epoch, which orders revisions |
//! | 64 | public key that must sign the next revision |
//! | 96 | signature of this revision |
//! | 1 | number of roots, at most 4 |
//! | 71 + 1 + … | each root: identity, number of endpoints (at most 32), endpoints |
//! | 2 + … | moons only: length of a dictionary, and the dictionary (unused) |

use core::net::SocketAddr;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::identity::{self, SIGNATURE_LEN};
use crate::inet::encode_inet;
use crate::public_planet::PUBLIC_PLANET;
use crate::{Identity, Reader, Result};

/// Most roots of a world.
pub const MAX_ROOTS: usize = 4;

/// Most endpoints of a root.
pub const MAX_ENDPOINTS: usize = 32;

/// Longest file of a world that is taken from others, in octets: as many as the reference keeps room for.
pub const MAX_FILE: usize = 8480;

/// World ID of the public planet.
pub const PUBLIC_PLANET_ID: u64 = 149_604_618;

/// What a world is; the discriminant is its type on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum WorldKind {
    /// Nothing yet; can be read, and everything replaces it. Never to be put in force.
    Null = 0,
    /// The roots of a whole network of nodes.
    Planet = 1,
    /// Additional roots of those who orbit it.
    Moon = 127,
}

/// A root: who it is and where it is always found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Root {
    /// The root's identity. Its binding to the address is not checked: the world's signature vouches for it.
    pub identity: Identity,
    /// Its stable endpoints; none means that any address may be its own.
    pub endpoints: Vec<SocketAddr>,
}

/// Why a file is no planet that could be put in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPlanet {
    /// More than [`MAX_FILE`] octets.
    #[error("it has more than {MAX_FILE} octets")]
    TooLong,
    /// No world at all.
    #[error("{0}")]
    Malformed(#[from] crate::Malformed),
    /// A world of another kind, or without an ID, which anybody could replace.
    #[error("it is no planet")]
    Kind,
    /// A planet without roots.
    #[error("it names no root")]
    NoRoots,
    /// Not the octets that the planet is written with: something stands behind it, or in it.
    #[error("there is more in it than a planet")]
    More,
}

/// A planet or moon.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// Planet or moon.
    pub kind: WorldKind,
    /// Tells worlds apart; of a moon by convention the address of its first root.
    pub id: u64,
    /// Revision: ms since the Unix epoch.
    pub timestamp: u64,
    /// Public key (X25519, then Ed25519) that must sign the next revision.
    pub must_sign: [u8; 64],
    /// Signature of this revision.
    pub signature: [u8; SIGNATURE_LEN],
    /// The roots, at most [`MAX_ROOTS`].
    pub roots: Vec<Root>,
}

impl World {
    /// Reads a world and consumes exactly its bytes.
    ///
    /// The dictionary of a moon is skipped as far as it is there; one that is cut short is accepted, as the
    /// reference accepts it.
    ///
    /// # Errors
    /// [`Malformed`](crate::Malformed) if truncated, of an unknown type, with too many roots or endpoints, or with
    /// an endpoint that is no IP address.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let start = reader.clone();
        let kind = match reader.u8("world type")? {
            0 => WorldKind::Null,
            1 => WorldKind::Planet,
            127 => WorldKind::Moon,
            _ => return Err(start.fail("world type")),
        };
        let id = reader.u64("world ID")?;
        let timestamp = reader.u64("world timestamp")?;
        let must_sign = reader.array("world update key")?;
        let signature = reader.array("world signature")?;
        let before = reader.clone();
        let count = usize::from(reader.u8("number of roots")?);
        if count > MAX_ROOTS {
            return Err(before.fail("number of roots"));
        }
        let mut roots = Vec::with_capacity(count);
        for _ in 0..count {
            let identity = Identity::read(reader)?;
            let before = reader.clone();
            let count = usize::from(reader.u8("number of endpoints")?);
            if count > MAX_ENDPOINTS {
                return Err(before.fail("number of endpoints"));
            }
            let mut endpoints = Vec::with_capacity(count);
            for _ in 0..count {
                let before = reader.clone();
                endpoints.push(
                    reader.inet("endpoint of a root")?.ok_or_else(|| before.fail("endpoint of a root"))?,
                );
            }
            roots.push(Root { identity, endpoints });
        }
        if kind == WorldKind::Moon {
            let length = usize::from(reader.u16("length of a moon's dictionary")?);
            reader.bytes(length.min(reader.remaining()), "dictionary of a moon")?;
        }
        Ok(Self { kind, id, timestamp, must_sign, signature, roots })
    }

    /// Reads a world from the start of `bytes`, as from a file; what follows it is ignored.
    ///
    /// # Errors
    /// As [`World::read`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        Self::read(&mut Reader::new(bytes))
    }

    /// Reads a file that is to be put in force as the planet: exactly one, as [`World::write`] writes it, so that the file's hash
    /// is the planet's as well.
    ///
    /// # Errors
    /// [`NotAPlanet`].
    pub fn parse_planet(bytes: &[u8]) -> core::result::Result<Self, NotAPlanet> {
        if bytes.len() > MAX_FILE {
            return Err(NotAPlanet::TooLong);
        }
        let world = Self::parse(bytes)?;
        if world.kind != WorldKind::Planet || world.is_null() {
            return Err(NotAPlanet::Kind);
        }
        if world.roots.is_empty() {
            return Err(NotAPlanet::NoRoots);
        }
        if world.to_bytes() != bytes {
            return Err(NotAPlanet::More);
        }
        Ok(world)
    }

    /// Reads worlds standing back to back until nothing is left.
    ///
    /// # Errors
    /// As [`World::read`].
    pub fn parse_all(bytes: &[u8]) -> Result<Vec<Self>> {
        let mut reader = Reader::new(bytes);
        let mut worlds = Vec::new();
        while !reader.is_empty() {
            worlds.push(Self::read(&mut reader)?);
        }
        Ok(worlds)
    }

    /// Appends the wire form.
    pub fn write(&self, to: &mut Vec<u8>) {
        self.write_fields(to, true);
    }

    /// The wire form on its own.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
    }

    /// What the signature is made over: the fields without the signature, between eight bytes `7f` and eight `f7`.
    #[must_use]
    pub fn sign_data(&self) -> Vec<u8> {
        let mut bytes = vec![0x7f; 8];
        self.write_fields(&mut bytes, false);
        bytes.extend_from_slice(&[0xf7; 8]);
        bytes
    }

    fn write_fields(&self, to: &mut Vec<u8>, signature: bool) {
        to.push(self.kind as u8);
        to.extend_from_slice(&self.id.to_be_bytes());
        to.extend_from_slice(&self.timestamp.to_be_bytes());
        to.extend_from_slice(&self.must_sign);
        if signature {
            to.extend_from_slice(&self.signature);
        }
        let roots = &self.roots[..self.roots.len().min(MAX_ROOTS)];
        to.push(roots.len() as u8);
        for root in roots {
            root.identity.write(to);
            let endpoints = &root.endpoints[..root.endpoints.len().min(MAX_ENDPOINTS)];
            to.push(endpoints.len() as u8);
            for endpoint in endpoints {
                encode_inet(to, Some(*endpoint));
            }
        }
        if self.kind == WorldKind::Moon {
            to.extend_from_slice(&[0, 0]);
        }
    }

    /// Makes a world signed by `key`, which must sign the next revision too. Roots and endpoints beyond
    /// [`MAX_ROOTS`] and [`MAX_ENDPOINTS`] are left out of the wire form.
    #[must_use]
    pub fn new_signed(kind: WorldKind, id: u64, timestamp: u64, key: &WorldKey, roots: Vec<Root>) -> Self {
        Self::new_signed_by(kind, id, timestamp, key.public, key, roots)
    }

    /// As [`World::new_signed`], but hands the right to sign the next revision to another key.
    #[must_use]
    pub fn new_signed_by(
        kind: WorldKind,
        id: u64,
        timestamp: u64,
        must_sign: [u8; 64],
        signer: &WorldKey,
        roots: Vec<Root>,
    ) -> Self {
        let mut world = Self { kind, id, timestamp, must_sign, signature: [0; SIGNATURE_LEN], roots };
        world.signature = signer.sign(&world.sign_data());
        world
    }

    /// Whether the holder of `key` (X25519, then Ed25519) signed this world.
    #[must_use]
    pub fn is_signed_by(&self, key: &[u8; 64]) -> bool {
        identity::verify(key, &self.sign_data(), &self.signature)
    }

    /// Whether there is nothing in this world that an update would have to be newer than or signed by: it is of
    /// the null kind, or its ID is zero.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.kind == WorldKind::Null || self.id == 0
    }

    /// Whether this world may take the place of `current`: `current` is null; or kind and ID are the same, this one
    /// is newer, and the key named in `current` signed it.
    #[must_use]
    pub fn may_replace(&self, current: &Self) -> bool {
        current.is_null()
            || self.kind == current.kind
                && self.id == current.id
                && self.timestamp > current.timestamp
                && self.is_signed_by(&current.must_sign)
    }

    /// The planet of the public network.
    ///
    /// # Panics
    /// Never: the bytes are a constant, and a test parses them.
    #[must_use]
    pub fn public_planet() -> Self {
        Self::parse(&PUBLIC_PLANET).expect("invariant: the built-in planet is well-formed")
    }
}

/// A key pair that signs worlds. The secret part is overwritten when it is dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct WorldKey {
    /// X25519 public key (unused), then Ed25519 public key.
    #[zeroize(skip)]
    pub public: [u8; 64],
    secret: [u8; 64],
}

impl WorldKey {
    /// A new random pair.
    #[must_use]
    pub fn generate() -> Self {
        let mut secret = [0; 64];
        rand::fill(&mut secret[..]);
        let key = Self::from_secret(secret);
        secret.zeroize();
        key
    }

    /// The pair that belongs to a secret (X25519 scalar, then Ed25519 seed).
    #[must_use]
    pub fn from_secret(secret: [u8; 64]) -> Self {
        Self { public: identity::public_of(&secret), secret }
    }

    /// The secret half, for storing.
    #[must_use]
    pub fn secret(&self) -> &[u8; 64] {
        &self.secret
    }

    /// Signs a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        identity::sign(&self.secret, message)
    }
}

impl core::fmt::Debug for WorldKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("WorldKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_planet() {
        let planet = World::public_planet();
        assert_eq!((planet.kind, planet.id), (WorldKind::Planet, PUBLIC_PLANET_ID));
        assert_eq!(planet.timestamp, 1_644_592_324_813);
        assert_eq!(planet.to_bytes(), PUBLIC_PLANET);
        assert_eq!(planet.roots.len(), 4);
        assert!(
            planet.roots.iter().all(|root| root.endpoints.len() == 2 && !root.identity.address.is_reserved())
        );
    }

    #[test]
    fn what_is_put_in_force_is_a_planet_and_nothing_else() {
        let key = WorldKey::generate();
        let made = |kind, id, roots| World::new_signed(kind, id, 1, &key, roots).to_bytes();
        let roots = || World::public_planet().roots;
        let planet = made(WorldKind::Planet, 7, roots());
        assert_eq!(World::parse_planet(&planet).map(|world| world.id), Ok(7));
        for (bytes, why) in [
            (made(WorldKind::Moon, 7, roots()), NotAPlanet::Kind),
            (made(WorldKind::Null, 7, roots()), NotAPlanet::Kind),
            (made(WorldKind::Planet, 0, roots()), NotAPlanet::Kind),
            (made(WorldKind::Planet, 7, Vec::new()), NotAPlanet::NoRoots),
            ([&planet[..], b"x"].concat(), NotAPlanet::More),
            (vec![1; MAX_FILE + 1], NotAPlanet::TooLong),
        ] {
            assert_eq!(World::parse_planet(&bytes), Err(why));
        }
        assert!(matches!(World::parse_planet(&planet[..100]), Err(NotAPlanet::Malformed(_))));
    }

    #[test]
    fn updates() {
        let (old, new) = (WorldKey::generate(), WorldKey::generate());
        let roots = World::public_planet().roots;
        let first = World::new_signed(WorldKind::Moon, 7, 100, &old, roots.clone());
        assert_eq!(World::parse(&first.to_bytes()).as_ref(), Ok(&first));
        let rotated = World::new_signed_by(WorldKind::Moon, 7, 101, new.public, &old, Vec::new());
        assert!(rotated.may_replace(&first));
        assert!(!first.may_replace(&rotated));
        assert!(World::new_signed(WorldKind::Moon, 7, 102, &new, roots.clone()).may_replace(&rotated));
        assert!(!World::new_signed(WorldKind::Moon, 7, 102, &old, roots.clone()).may_replace(&rotated));
        assert!(!World::new_signed(WorldKind::Planet, 7, 102, &new, roots.clone()).may_replace(&rotated));
        assert!(!World::new_signed(WorldKind::Moon, 8, 102, &new, roots).may_replace(&rotated));
    }
}
