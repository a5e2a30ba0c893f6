//! Certificates of ownership: which addresses a member may use as its own.
//!
//! Wire form: network u64 · timestamp u64 · flags u64 · id u32 · count u16 · per thing type u8, value (16) · issued to (5) ·
//! signer (5) · signature block (1 + 2 + 96) · length of additional fields u16. Specification: VL2 credentials,
//! certificate of ownership.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Credential;
use crate::{Address, Mac, NetworkId, Reader, Result, Time};

/// Most things one certificate may list.
pub const MAX_THINGS: usize = 16;

const MAC: u8 = 1;
const IPV4: u8 = 2;
const IPV6: u8 = 3;

/// Something a member owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thing {
    /// 1 MAC, 2 IPv4, 3 IPv6; others are carried and own nothing.
    pub kind: u8,
    /// Left-aligned, padded with zeros.
    pub value: [u8; 16],
}

impl Thing {
    fn new(kind: u8, bytes: &[u8]) -> Self {
        let mut value = [0; 16];
        value[..bytes.len()].copy_from_slice(bytes);
        Self { kind, value }
    }

    fn is(&self, kind: u8, bytes: &[u8]) -> bool {
        self.kind == kind && self.value.starts_with(bytes)
    }
}

impl From<Mac> for Thing {
    fn from(mac: Mac) -> Self {
        Self::new(MAC, &mac.0)
    }
}

impl From<IpAddr> for Thing {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => ip.into(),
            IpAddr::V6(ip) => ip.into(),
        }
    }
}

impl From<Ipv4Addr> for Thing {
    fn from(ip: Ipv4Addr) -> Self {
        Self::new(IPV4, &ip.octets())
    }
}

impl From<Ipv6Addr> for Thing {
    fn from(ip: Ipv6Addr) -> Self {
        Self::new(IPV6, &ip.octets())
    }
}

/// A certificate of ownership.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Coo {
    /// The network it is of.
    pub network: NetworkId,
    /// Time of issue.
    pub timestamp: Time,
    /// Carried, 0.
    pub flags: u64,
    /// Which certificate of this member.
    pub id: u32,
    /// At most [`MAX_THINGS`].
    pub things: Vec<Thing>,
    /// The owner.
    pub issued_to: Address,
}

impl Coo {
    /// A certificate, still to be signed; things beyond the first [`MAX_THINGS`] are left out.
    #[must_use]
    pub fn new(
        network: NetworkId,
        timestamp: Time,
        id: u32,
        issued_to: Address,
        things: impl IntoIterator<Item = Thing>,
    ) -> Self {
        Self {
            network,
            timestamp,
            flags: 0,
            id,
            things: things.into_iter().take(MAX_THINGS).collect(),
            issued_to,
        }
    }

    /// Whether the certificate covers the address.
    #[must_use]
    pub fn owns_ip(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.owns(IPV4, &ip.octets()),
            IpAddr::V6(ip) => self.owns(IPV6, &ip.octets()),
        }
    }

    /// Whether the certificate covers the MAC.
    #[must_use]
    pub fn owns_mac(&self, mac: Mac) -> bool {
        self.owns(MAC, &mac.0)
    }

    fn owns(&self, kind: u8, bytes: &[u8]) -> bool {
        self.things.iter().any(|thing| thing.is(kind, bytes))
    }
}

impl Credential for Coo {
    fn network(&self) -> NetworkId {
        self.network
    }

    fn write_fields(&self, signer: Address, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.network.0.to_be_bytes());
        out.extend_from_slice(&self.timestamp.as_ms().to_be_bytes());
        out.extend_from_slice(&self.flags.to_be_bytes());
        out.extend_from_slice(&self.id.to_be_bytes());
        let things = &self.things[..self.things.len().min(MAX_THINGS)];
        out.extend_from_slice(&(things.len() as u16).to_be_bytes());
        for thing in things {
            out.push(thing.kind);
            out.extend_from_slice(&thing.value);
        }
        out.extend_from_slice(&self.issued_to.to_bytes());
        out.extend_from_slice(&signer.to_bytes());
    }

    fn read_fields(reader: &mut Reader<'_>) -> Result<(Self, Address)> {
        let network = NetworkId(reader.u64("ownership network")?);
        let timestamp = Time::from_ms(reader.u64("ownership timestamp")?.cast_signed());
        let flags = reader.u64("ownership flags")?;
        let id = reader.u32("ownership id")?;
        let refused = reader.fail("number of owned things");
        let count = usize::from(reader.u16("number of owned things")?);
        if count > MAX_THINGS {
            return Err(refused);
        }
        let mut things = Vec::with_capacity(count);
        for _ in 0..count {
            things.push(Thing { kind: reader.u8("owned thing")?, value: reader.array("owned thing")? });
        }
        let issued_to = reader.address("owner")?;
        let signer = reader.address("signer")?;
        Ok((Self { network, timestamp, flags, id, things, issued_to }, signer))
    }
}
