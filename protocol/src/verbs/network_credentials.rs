//! NETWORK_CREDENTIALS: credentials of any networks and members.
//!
//! Payload: certificates of membership, each beginning with 01 · 00 · and four times a count u16 and as many objects:
//! capabilities, tags, revocations, certificates of ownership. It may end after any section. Specification: VL2
//! credentials, NETWORK_CREDENTIALS.

use crate::credential::{Com, Coo, HeldCapability, Revocation, Signed, Tag};
use crate::{Reader, Result};

/// A set of credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkCredentials {
    /// Certificates of membership.
    pub coms: Vec<Signed<Com>>,
    /// Capabilities.
    pub capabilities: Vec<HeldCapability>,
    /// Tags.
    pub tags: Vec<Signed<Tag>>,
    /// Revocations.
    pub revocations: Vec<Signed<Revocation>>,
    /// Certificates of ownership.
    pub coos: Vec<Signed<Coo>>,
}

impl NetworkCredentials {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.coms.is_empty()
            && self.capabilities.is_empty()
            && self.tags.is_empty()
            && self.revocations.is_empty()
            && self.coos.is_empty()
    }

    /// Reads the payload of a packet.
    ///
    /// # Errors
    /// [`crate::Malformed`] if any credential is, or fewer are there than a section announces.
    pub fn parse(payload: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        let mut coms = Vec::new();
        while reader.rest().first().is_some_and(|first| *first != 0) {
            coms.push(Signed::read(&mut reader)?);
        }
        if !reader.is_empty() {
            reader.u8("end of certificates of membership")?;
        }
        Ok(Self {
            coms,
            capabilities: section(&mut reader, HeldCapability::read)?,
            tags: section(&mut reader, Signed::read)?,
            revocations: section(&mut reader, Signed::read)?,
            coos: section(&mut reader, Signed::read)?,
        })
    }

    /// Appends the payload of a packet, all sections.
    pub fn write(&self, out: &mut Vec<u8>) {
        for com in &self.coms {
            com.write(out);
        }
        out.push(0);
        write_section(&self.capabilities, HeldCapability::write, out);
        write_section(&self.tags, Signed::write, out);
        write_section(&self.revocations, Signed::write, out);
        write_section(&self.coos, Signed::write, out);
    }

    /// The payloads of as many packets as it takes when none may be longer than `most` bytes. An object that does not fit
    /// into a packet of its own is left out; nothing comes out of an empty set.
    #[must_use]
    pub fn packets(&self, most: usize) -> Vec<Vec<u8>> {
        /// The bytes between objects: the end of the first section and four counts.
        const FIXED: usize = 9;
        let mut packets = Vec::new();
        let mut current = Self::default();
        let mut used = FIXED;
        macro_rules! pack {
            ($list:ident) => {
                for item in &self.$list {
                    let mut bytes = Vec::new();
                    item.write(&mut bytes);
                    if FIXED + bytes.len() > most {
                        continue;
                    }
                    if used + bytes.len() > most {
                        let mut packet = Vec::with_capacity(used);
                        std::mem::take(&mut current).write(&mut packet);
                        packets.push(packet);
                        used = FIXED;
                    }
                    used += bytes.len();
                    current.$list.push(item.clone());
                }
            };
        }
        pack!(coms);
        pack!(capabilities);
        pack!(tags);
        pack!(revocations);
        pack!(coos);
        if !current.is_empty() {
            let mut packet = Vec::with_capacity(used);
            current.write(&mut packet);
            packets.push(packet);
        }
        packets
    }
}

fn section<T>(reader: &mut Reader<'_>, read: impl Fn(&mut Reader<'_>) -> Result<T>) -> Result<Vec<T>> {
    if reader.is_empty() {
        return Ok(Vec::new());
    }
    // Grown as they come: a count says nothing about how many there are.
    let mut items = Vec::new();
    for _ in 0..reader.u16("number of credentials")? {
        items.push(read(reader)?);
    }
    Ok(items)
}

fn write_section<T>(items: &[T], write: impl Fn(&T, &mut Vec<u8>), out: &mut Vec<u8>) {
    let items = &items[..items.len().min(u16::MAX.into())];
    out.extend_from_slice(&(items.len() as u16).to_be_bytes());
    for item in items {
        write(item, out);
    }
}
