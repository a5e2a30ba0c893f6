//! A packet's state is its type: [`Sealed`] as it came, [`Authentic`] once its seal was found good. Only [`Sealed::open`] and
//! [`Sealed::open_trusted`] lead from one to the other, for every verb, and whoever holds the octets.

use core::ops::DerefMut;

use super::armor::{SessionKeys, trusted_path_id};
use super::compress::decompress;
use super::header::{HEADER_LEN, VERB_COMPRESSED, VERB_MASK, dest, hops, id, source, suite, verb_byte};
use crate::Address;
use crate::verb::Verb;

/// What may be sent in clear: HELLO, and the two verbs of link bonding. Everything else has to be encrypted.
const CLEAR: [Verb; 3] = [Verb::Hello, Verb::QosMeasurement, Verb::PathNegotiationRequest];

/// A whole packet as it came: its header says what anybody may have written.
pub struct Sealed<O> {
    octets: O,
}

impl<O: DerefMut<Target = [u8]>> Sealed<O> {
    /// A packet from its octets; gives them back if they are too few to be one.
    ///
    /// # Errors
    /// The octets, if they are shorter than a header.
    #[inline]
    pub fn new(octets: O) -> Result<Self, O> {
        if octets.len() < HEADER_LEN { Err(octets) } else { Ok(Self { octets }) }
    }

    /// Who is said to have sent it.
    #[inline]
    pub fn source(&self) -> Address {
        source(&self.octets)
    }

    /// For whom it is.
    pub fn dest(&self) -> Address {
        dest(&self.octets)
    }

    /// Its suite, 0 to 7.
    #[inline]
    pub fn suite(&self) -> u8 {
        suite(&self.octets)
    }

    /// Whether it is a HELLO in clear, which shows who its sender is.
    #[inline]
    pub fn is_clear_hello(&self) -> bool {
        self.suite() == 0 && verb_byte(&self.octets) & VERB_MASK == Verb::Hello as u8
    }

    /// All its octets.
    #[inline]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Its octets, for something else.
    pub fn into_octets(self) -> O {
        self.octets
    }

    /// Verifies it under the keys shared with its sender, and decrypts it in place.
    ///
    /// # Errors
    /// The packet, which may hold garbage then, if it is not authentic, of a suite that seals nothing, or in clear although its verb
    /// must not be.
    #[inline]
    pub fn open(mut self, keys: &SessionKeys) -> Result<Authentic<O>, Self> {
        if self.suite() == 0 {
            let verb = verb_byte(&self.octets) & VERB_MASK;
            if !CLEAR.iter().any(|clear| *clear as u8 == verb) {
                return Err(self);
            }
        }
        match keys.open(&mut self.octets) {
            Some(opened) => Ok(Authentic { octets: self.octets, chosen: opened.chosen }),
            None => Err(self),
        }
    }

    /// Takes it for authentic because it came by a path that the user trusts: `configured` is the ID of that path.
    ///
    /// # Errors
    /// The packet, if it names another path, or there is none.
    pub fn open_trusted(self, configured: Option<u64>) -> Result<Authentic<O>, Self> {
        match trusted_path_id(&self.octets) {
            Some(path) if configured == Some(path) => Ok(Authentic { octets: self.octets, chosen: None }),
            _ => Err(self),
        }
    }
}

/// A packet that its sender has sealed, in clear.
#[derive(Clone)]
pub struct Authentic<O> {
    octets: O,
    chosen: Option<u64>,
}

impl<O: DerefMut<Target = [u8]>> Authentic<O> {
    /// Who sent it.
    #[inline]
    pub fn source(&self) -> Address {
        source(&self.octets)
    }

    /// Its ID, as on the wire.
    #[inline]
    pub fn id(&self) -> u64 {
        id(&self.octets)
    }

    /// How often it was relayed.
    #[inline]
    pub fn hops(&self) -> u8 {
        hops(&self.octets)
    }

    /// The suite it was sealed in.
    #[inline]
    pub fn suite(&self) -> u8 {
        suite(&self.octets)
    }

    /// The number of its verb.
    #[inline]
    pub fn verb_number(&self) -> u8 {
        verb_byte(&self.octets) & VERB_MASK
    }

    /// Its verb; `None` for one that nobody knows.
    #[inline]
    pub fn verb(&self) -> Option<Verb> {
        Verb::from_byte(self.verb_number())
    }

    /// What its sender had in the place of the packet ID, if that is for the receiver alone; see [`super::Opened::chosen`].
    #[inline]
    pub fn chosen(&self) -> Option<u64> {
        self.chosen
    }

    /// What follows the header; still compressed, if it was ([`Self::inflate`]).
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.octets[HEADER_LEN..]
    }

    /// All its octets.
    #[inline]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// The same, to unmask the tail of a HELLO.
    pub fn octets_mut(&mut self) -> &mut [u8] {
        &mut self.octets
    }

    /// Its octets, for something else.
    pub fn into_octets(self) -> O {
        self.octets
    }

    /// Whether its payload is compressed.
    #[inline]
    pub fn is_compressed(&self) -> bool {
        verb_byte(&self.octets) & VERB_COMPRESSED != 0
    }

    /// The same packet in other memory, into which it is decompressed.
    ///
    /// # Errors
    /// The memory, if the payload cannot be decompressed.
    pub fn inflate(&self, mut memory: Vec<u8>) -> Result<Authentic<Vec<u8>>, Vec<u8>> {
        memory.clear();
        memory.extend_from_slice(&self.octets);
        match decompress(&mut memory) {
            Ok(()) => Ok(Authentic { octets: memory, chosen: self.chosen }),
            Err(_) => Err(memory),
        }
    }

    /// The same packet in memory of another kind.
    pub fn map<P: DerefMut<Target = [u8]>>(self, other: impl FnOnce(O) -> P) -> Authentic<P> {
        Authentic { octets: other(self.octets), chosen: self.chosen }
    }
}

#[cfg(test)]
mod tests {
    use super::super::armor::{Suite, mark_trusted};
    use super::super::header::start;
    use super::*;

    fn packet(verb: Verb) -> Vec<u8> {
        let mut packet = Vec::new();
        start(&mut packet, 7, Address::from_u64(1), Address::from_u64(2), verb);
        packet.extend_from_slice(b"payload");
        packet
    }

    #[test]
    fn every_verb_is_opened_when_it_is_encrypted_and_three_in_clear() {
        let keys = SessionKeys::new(&[5; 48]);
        for number in 0..32 {
            let Some(verb) = Verb::from_byte(number) else { continue };
            for suite in [Suite::Clear, Suite::Salsa, Suite::AesGmacSiv] {
                let mut octets = packet(verb);
                keys.armor(&mut octets, suite);
                let opened = Sealed::new(octets).ok().unwrap().open(&keys);
                assert_eq!(
                    opened.is_ok(),
                    suite != Suite::Clear || CLEAR.contains(&verb),
                    "{verb:?} {suite:?}"
                );
                if let Ok(opened) = opened {
                    assert_eq!((opened.verb(), opened.payload()), (Some(verb), &b"payload"[..]));
                    assert_eq!(opened.source(), Address::from_u64(2));
                }
            }
        }
    }

    #[test]
    fn a_changed_octet_other_keys_or_another_path_open_nothing() {
        let keys = SessionKeys::new(&[5; 48]);
        let mut sealed = packet(Verb::Frame);
        keys.armor(&mut sealed, Suite::Salsa);
        assert!(Sealed::new(sealed.clone()).ok().unwrap().open(&SessionKeys::new(&[6; 48])).is_err());
        // The hops change on the way, and are not sealed: the lower bits of octet 18.
        for at in (0..sealed.len()).filter(|at| *at != 18) {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(Sealed::new(changed).ok().unwrap().open(&keys).is_err(), "octet {at}");
        }
        let mut trusted = packet(Verb::Frame);
        mark_trusted(&mut trusted, 9);
        for (configured, opens) in [(Some(9), true), (Some(8), false), (None, false)] {
            let sealed = Sealed::new(trusted.clone()).ok().unwrap();
            assert_eq!(sealed.open_trusted(configured).is_ok(), opens);
        }
        assert!(Sealed::new(sealed).ok().unwrap().open_trusted(Some(0)).is_err());
        assert!(Sealed::new(vec![0; HEADER_LEN - 1]).is_err());
    }
}
