//! Capabilities: rules that apply only to members who hold them.
//!
//! Wire form: network u64 · timestamp u64 · id u32 · number of rules u16 · rules · maximum chain length u8 · per custody
//! entry to (5), from (5), signature block (1 + 2 + 96) · five zeros · length of additional fields u16. Every entry's
//! signature covers the same message, which holds no entry. Specification: VL2 credentials, capability.

use flowrules::{MAX_CAPABILITY_RULES, Rule, decode_one, encode};

use super::{Signature, Verification, marked, read_signature, skip_additional, write_signature};
use crate::identity::{Identity, SecretIdentity};
use crate::{Address, NetworkId, Reader, Result};

/// Longest custody chain.
pub const MAX_CUSTODY_CHAIN: u8 = 7;

/// One hand-over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Custody {
    /// Who received it.
    pub to: Address,
    /// Who gave it and signed.
    pub from: Address,
    /// The giver's signature.
    pub signature: Signature,
}

/// A capability.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Capability {
    /// The network it is of.
    pub network: NetworkId,
    /// Time of issue, ms.
    pub timestamp: i64,
    /// Which capability.
    pub id: u32,
    /// At most [`MAX_CAPABILITY_RULES`].
    pub rules: Vec<Rule>,
    /// How often it may be handed over, 1..=[`MAX_CUSTODY_CHAIN`].
    pub max_custody_chain: u8,
    /// The hand-overs, the first one from the controller; at most `max_custody_chain`.
    pub custody: Vec<Custody>,
}

impl Capability {
    /// A capability nobody holds yet. Surplus rules are left out, the chain length is brought into its range.
    #[must_use]
    pub fn new(
        network: NetworkId,
        timestamp: i64,
        id: u32,
        max_custody_chain: u8,
        mut rules: Vec<Rule>,
    ) -> Self {
        rules.truncate(MAX_CAPABILITY_RULES);
        let max_custody_chain = max_custody_chain.clamp(1, MAX_CUSTODY_CHAIN);
        Self { network, timestamp, id, rules, max_custody_chain, custody: Vec::new() }
    }

    /// The present holder, null if there is none.
    #[must_use]
    pub fn issued_to(&self) -> Address {
        self.custody.last().map_or(Address::NULL, |entry| entry.to)
    }

    /// Hands over to `to`, signed by `from`. False, and nothing done, when the chain is full.
    pub fn hand_over(&mut self, from: &SecretIdentity, to: Address) -> bool {
        if self.custody.len() >= usize::from(self.max_custody_chain) {
            return false;
        }
        let signature = from.sign(&self.sign_data());
        self.custody.push(Custody { to, from: from.identity().address, signature });
        true
    }

    fn write_head(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.network.0.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.id.to_be_bytes());
        let rules = &self.rules[..self.rules.len().min(MAX_CAPABILITY_RULES)];
        out.extend_from_slice(&(rules.len() as u16).to_be_bytes());
        out.extend_from_slice(&encode(rules));
        out.push(self.max_custody_chain);
    }

    /// The signed message.
    #[must_use]
    pub fn sign_data(&self) -> Vec<u8> {
        marked(|out| {
            self.write_head(out);
            out.extend_from_slice(&[0, 0]);
        })
    }

    /// Whether the chain begins at the controller of the network, each link signed by the holder before it.
    pub fn verify(&self, lookup: impl Fn(Address) -> Option<Identity>) -> Verification {
        let length = self.max_custody_chain;
        if !(1..=MAX_CUSTODY_CHAIN).contains(&length)
            || self.custody.is_empty()
            || self.custody.len() > length.into()
        {
            return Verification::Invalid;
        }
        let message = self.sign_data();
        let mut holder = self.network.controller();
        for entry in &self.custody {
            if entry.to.is_null() || entry.from != holder || entry.from.is_null() {
                return Verification::Invalid;
            }
            match lookup(entry.from) {
                None => return Verification::UnknownSigner(entry.from),
                Some(giver) if !giver.verify(&message, &entry.signature) => return Verification::Invalid,
                Some(_) => holder = entry.to,
            }
        }
        Verification::Valid
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// [`crate::Malformed`]: more than [`MAX_CAPABILITY_RULES`] rules, a chain length out of range, more entries than it
    /// allows, a malformed rule or signature, or too short.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let network = NetworkId(reader.u64("capability network")?);
        let timestamp = reader.u64("capability timestamp")? as i64;
        let id = reader.u32("capability id")?;
        let refused = reader.fail("number of capability rules");
        let count = usize::from(reader.u16("number of capability rules")?);
        if count > MAX_CAPABILITY_RULES {
            return Err(refused);
        }
        let mut rules = Vec::with_capacity(count);
        for _ in 0..count {
            let (rule, length) = decode_one(reader.rest()).map_err(|_| reader.fail("capability rule"))?;
            reader.bytes(length, "capability rule")?;
            rules.push(rule);
        }
        let refused = reader.fail("custody chain length");
        let max_custody_chain = reader.u8("custody chain length")?;
        if !(1..=MAX_CUSTODY_CHAIN).contains(&max_custody_chain) {
            return Err(refused);
        }
        let mut custody = Vec::new();
        loop {
            let refused = reader.fail("custody chain");
            let to = reader.address("custody chain")?;
            if to.is_null() {
                break;
            }
            if custody.len() >= usize::from(max_custody_chain) {
                return Err(refused);
            }
            let from = reader.address("custody chain")?;
            custody.push(Custody { to, from, signature: read_signature(reader)? });
        }
        skip_additional(reader)?;
        Ok(Self { network, timestamp, id, rules, max_custody_chain, custody })
    }

    /// Appends the wire form.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_head(out);
        for entry in &self.custody {
            out.extend_from_slice(&entry.to.to_bytes());
            out.extend_from_slice(&entry.from.to_bytes());
            write_signature(out, &entry.signature);
        }
        out.extend_from_slice(&Address::NULL.to_bytes());
        out.extend_from_slice(&[0, 0]);
    }
}
