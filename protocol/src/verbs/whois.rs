//! WHOIS: asks for the identities of addresses. Specification: VL1 verbs, WHOIS. The reply is
//! [`OkWhois`](super::ok::OkWhois).

use crate::{Address, Reader, Result};

/// Addresses whose identities are wanted, five bytes each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whois(pub Vec<Address>);

impl Whois {
    /// Reads the payload; up to four bytes that are left over are ignored.
    ///
    /// # Errors
    /// [`Malformed`](crate::Malformed) if there is not one address.
    pub fn parse(payload: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        let mut addresses = vec![reader.address("address asked for")?];
        while reader.remaining() >= Address::LEN {
            addresses.push(reader.address("address asked for")?);
        }
        Ok(Self(addresses))
    }

    /// Appends the payload.
    pub fn write(&self, to: &mut Vec<u8>) {
        for address in &self.0 {
            to.extend_from_slice(&address.to_bytes());
        }
    }
}
