//! The certificate of membership: proves to other members that a node belongs to a network now.
//!
//! Wire form: version 1 · count u16 · per qualifier id u64, value u64, max delta u64 · signer (5) · signature (96) if the
//! signer is not null. The signed message is the qualifiers alone. Specification: VL2 credentials, certificate of
//! membership.

use super::{Credential, Signature};
use crate::identity::Identity;
use crate::{Address, NetworkId, Reader, Result, Span, Time};

/// Most qualifiers a certificate may carry.
pub const MAX_QUALIFIERS: usize = 8;

/// Number of the qualifier with the time of issue.
const TIMESTAMP: u64 = 0;
/// Number of the qualifier with the network.
const NETWORK: u64 = 1;
/// Number of the qualifier with the member's address.
const MEMBER: u64 = 2;
/// Numbers of the qualifiers with the first four words of the hash of the member's identity.
const IDENTITY_HASH: [u64; 4] = [3, 4, 5, 6];

/// One field of a certificate, and how far the same field of another member's certificate may be from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Qualifier {
    /// Which field.
    pub id: u64,
    /// Its value.
    pub value: u64,
    /// Greatest difference this side accepts.
    pub max_delta: u64,
}

/// A certificate of membership.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Com {
    /// At most [`MAX_QUALIFIERS`], ids not descending.
    pub qualifiers: Vec<Qualifier>,
}

impl Com {
    /// A certificate for `member`, still to be signed.
    #[must_use]
    pub fn new(timestamp: Time, max_delta: Span, network: NetworkId, member: &Identity) -> Self {
        let (value, max_delta) = (timestamp.as_ms().cast_unsigned(), max_delta.as_ms().cast_unsigned());
        let mut qualifiers = vec![
            Qualifier { id: TIMESTAMP, value, max_delta },
            Qualifier { id: NETWORK, value: network.0, max_delta: 0 },
            Qualifier { id: MEMBER, value: member.address.to_u64(), max_delta: u64::MAX },
        ];
        for (id, value) in IDENTITY_HASH.into_iter().zip(hash_words(member)) {
            qualifiers.push(Qualifier { id, value, max_delta: u64::MAX });
        }
        Self { qualifiers }
    }

    /// Time of issue; the epoch if missing.
    #[must_use]
    pub fn timestamp(&self) -> Time {
        self.value(TIMESTAMP).map_or(Time::EPOCH, |ms| Time::from_ms(ms.cast_signed()))
    }

    /// The network; zero if missing.
    #[must_use]
    pub fn network(&self) -> NetworkId {
        NetworkId(self.value(NETWORK).unwrap_or(0))
    }

    /// The member; null if missing.
    #[must_use]
    pub fn issued_to(&self) -> Address {
        Address::from_u64(self.value(MEMBER).unwrap_or(0))
    }

    fn value(&self, id: u64) -> Option<u64> {
        self.qualifiers.iter().find(|q| q.id == id).map(|q| q.value)
    }

    /// Whether a member with the certificate `theirs` and the identity `identity` may be on the network with the holder of
    /// this one. Not symmetric: only this side's deltas count.
    #[must_use]
    pub fn agrees_with(&self, theirs: &Com, identity: &Identity) -> bool {
        if self.qualifiers.is_empty() || theirs.qualifiers.is_empty() {
            return false;
        }
        // Where an id repeats, the last one counts.
        let their_value = |id: u64| theirs.qualifiers.iter().rfind(|q| q.id == id).map(|q| q.value);
        let all_near = self.qualifiers.iter().all(|mine| {
            their_value(mine.id).is_some_and(|value| mine.value.abs_diff(value) <= mine.max_delta)
        });
        if !all_near {
            return false;
        }
        if !self.qualifiers.iter().any(|q| IDENTITY_HASH.contains(&q.id)) {
            return true;
        }
        IDENTITY_HASH.into_iter().zip(hash_words(identity)).all(|(id, word)| their_value(id) == Some(word))
    }

    fn write_qualifiers(&self, out: &mut Vec<u8>) {
        for q in &self.qualifiers {
            out.extend_from_slice(&q.id.to_be_bytes());
            out.extend_from_slice(&q.value.to_be_bytes());
            out.extend_from_slice(&q.max_delta.to_be_bytes());
        }
    }
}

impl Credential for Com {
    fn network(&self) -> NetworkId {
        self.network()
    }

    fn write_fields(&self, signer: Address, out: &mut Vec<u8>) {
        out.push(1);
        out.extend_from_slice(&(self.qualifiers.len() as u16).to_be_bytes());
        self.write_qualifiers(out);
        out.extend_from_slice(&signer.to_bytes());
    }

    fn read_fields(reader: &mut Reader<'_>) -> Result<(Self, Address)> {
        let refused = reader.fail("certificate of membership version");
        if reader.u8("certificate of membership version")? != 1 {
            return Err(refused);
        }
        let refused = reader.fail("number of qualifiers");
        let count = usize::from(reader.u16("number of qualifiers")?);
        if count > MAX_QUALIFIERS {
            return Err(refused);
        }
        let mut qualifiers: Vec<Qualifier> = Vec::with_capacity(count);
        for _ in 0..count {
            let refused = reader.fail("qualifier order");
            let qualifier = Qualifier {
                id: reader.u64("qualifier id")?,
                value: reader.u64("qualifier value")?,
                max_delta: reader.u64("qualifier delta")?,
            };
            if qualifiers.last().is_some_and(|last| last.id > qualifier.id) {
                return Err(refused);
            }
            qualifiers.push(qualifier);
        }
        Ok((Self { qualifiers }, reader.address("signer")?))
    }

    /// The qualifiers, 24 bytes each, and nothing else.
    fn message(&self, _signer: Address) -> Vec<u8> {
        let mut out = Vec::with_capacity(24 * self.qualifiers.len());
        self.write_qualifiers(&mut out);
        out
    }

    fn write_signature(signer: Address, signature: &Signature, out: &mut Vec<u8>) {
        if !signer.is_null() {
            out.extend_from_slice(signature);
        }
    }

    fn read_signature(signer: Address, reader: &mut Reader<'_>) -> Result<Signature> {
        if signer.is_null() { Ok([0; 96]) } else { reader.array("signature") }
    }
}

/// The first four big-endian words of SHA-384 over address and public keys.
fn hash_words(identity: &Identity) -> [u64; 4] {
    let hash = identity.hash384();
    let word = |i: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hash[8 * i..8 * i + 8]);
        u64::from_be_bytes(bytes)
    };
    [word(0), word(1), word(2), word(3)]
}
