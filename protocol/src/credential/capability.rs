//! Capabilities: rules that apply only to members who hold them.
//!
//! Wire form: network u64 · timestamp u64 · id u32 · number of rules u16 · rules · maximum chain length u8 · per custody
//! entry to (5), from (5), signature block (1 + 2 + 96) · five zeros · length of additional fields u16. Every entry's
//! signature covers the same message, which holds no entry. Specification: VL2 credentials, capability.

use std::ops::Deref;

use flowrules::{MAX_CAPABILITY_RULES, Rule, decode_one, encode};

use super::signed::{
    marked, read_signature_block, skip_additional, verify, write_no_additional, write_signature_block,
};
use super::{Signature, Verification};
use crate::identity::{Identity, SecretIdentity};
use crate::{Address, NetworkId, Reader, Result, Time};

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

/// What a controller gives; nobody holds it yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Capability {
    /// The network it is of.
    pub network: NetworkId,
    /// Time of issue.
    pub timestamp: Time,
    /// Which capability.
    pub id: u32,
    /// At most [`MAX_CAPABILITY_RULES`].
    pub rules: Vec<Rule>,
    /// How often it may be handed over, 1..=[`MAX_CUSTODY_CHAIN`].
    pub max_custody_chain: u8,
}

impl Capability {
    /// A capability nobody holds yet. Surplus rules are left out, the chain length is brought into its range.
    #[must_use]
    pub fn new(
        network: NetworkId,
        timestamp: Time,
        id: u32,
        max_custody_chain: u8,
        mut rules: Vec<Rule>,
    ) -> Self {
        rules.truncate(MAX_CAPABILITY_RULES);
        let max_custody_chain = max_custody_chain.clamp(1, MAX_CUSTODY_CHAIN);
        Self { network, timestamp, id, rules, max_custody_chain }
    }

    /// Hands it over to its first holder, signed by the controller.
    #[must_use]
    pub fn hand_to(self, controller: &SecretIdentity, to: Address) -> HeldCapability {
        let signature = controller.sign(&self.message());
        let custody = vec![Custody { to, from: controller.identity().address, signature }];
        HeldCapability { capability: self, custody }
    }

    fn write_fields(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.network.0.to_be_bytes());
        out.extend_from_slice(&self.timestamp.as_ms().to_be_bytes());
        out.extend_from_slice(&self.id.to_be_bytes());
        let rules = &self.rules[..self.rules.len().min(MAX_CAPABILITY_RULES)];
        out.extend_from_slice(&(rules.len() as u16).to_be_bytes());
        out.extend_from_slice(&encode(rules));
        out.push(self.max_custody_chain);
    }

    fn read_fields(reader: &mut Reader<'_>) -> Result<Self> {
        let network = NetworkId(reader.u64("capability network")?);
        let timestamp = Time::from_ms(reader.u64("capability timestamp")?.cast_signed());
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
        Ok(Self { network, timestamp, id, rules, max_custody_chain })
    }

    /// What every signature covers.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        marked(|out| self.write_fields(out))
    }
}

/// A capability with the signatures by which it came to its holder; those still have to be checked when it came from somebody.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeldCapability {
    capability: Capability,
    custody: Vec<Custody>,
}

impl Deref for HeldCapability {
    type Target = Capability;

    fn deref(&self) -> &Capability {
        &self.capability
    }
}

impl HeldCapability {
    /// The present holder, null if there is none.
    #[must_use]
    pub fn issued_to(&self) -> Address {
        self.custody.last().map_or(Address::NULL, |entry| entry.to)
    }

    /// The hand-overs, the first one from the controller; at most `max_custody_chain`.
    #[must_use]
    pub fn custody(&self) -> &[Custody] {
        &self.custody
    }

    /// Whether the chain begins at the controller of the network, each link signed by the holder before it.
    pub fn verify(&self, lookup: impl Fn(Address) -> Option<Identity>) -> Verification {
        if self.custody.is_empty() {
            return Verification::Invalid;
        }
        let message = self.message();
        let mut holder = self.network.controller();
        for entry in &self.custody {
            if entry.to.is_null() {
                return Verification::Invalid;
            }
            match verify(holder, entry.from, &entry.signature, || &message, &lookup) {
                Verification::Valid => holder = entry.to,
                failed => return failed,
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
        let capability = Capability::read_fields(reader)?;
        let mut custody = Vec::new();
        loop {
            let refused = reader.fail("custody chain");
            let to = reader.address("custody chain")?;
            if to.is_null() {
                break;
            }
            if custody.len() >= usize::from(capability.max_custody_chain) {
                return Err(refused);
            }
            let from = reader.address("custody chain")?;
            custody.push(Custody { to, from, signature: read_signature_block(reader)? });
        }
        skip_additional(reader)?;
        Ok(Self { capability, custody })
    }

    /// Appends the wire form.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.capability.write_fields(out);
        for entry in &self.custody {
            out.extend_from_slice(&entry.to.to_bytes());
            out.extend_from_slice(&entry.from.to_bytes());
            write_signature_block(out, &entry.signature);
        }
        out.extend_from_slice(&Address::NULL.to_bytes());
        write_no_additional(out);
    }
}
