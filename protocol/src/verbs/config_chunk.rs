//! One signed chunk of a network configuration: the payload of NETWORK_CONFIG and the body of OK(NETWORK_CONFIG_REQUEST).
//!
//! Bytes: network u64 · length u16 · data · flags u8 · update id u64 · total length u32 · offset u32 · signature type u8,
//! length u16, signature (96). The signature covers everything before its type. A chunk that ends after the data is the old
//! unsigned form. Specification: VL2 networks, configuration chunks.

use crate::credential::Signature;
use crate::identity::{Identity, SecretIdentity};
use crate::{NetworkId, Reader, Result};

/// Most bytes of data the reference implementation puts into a chunk.
pub const MAX_DATA: usize = 9740;
/// Flag: pass it on to the other members.
pub const FLAG_FAST_PROPAGATE: u8 = 0x01;

/// A chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigChunk<'a> {
    /// The network.
    pub network: NetworkId,
    /// A piece of the configuration's dictionary.
    pub data: &'a [u8],
    /// See [`FLAG_FAST_PROPAGATE`]; 0 in the unsigned form.
    pub flags: u8,
    /// Which chunks belong together; never 0 in the signed form, 0 in the unsigned one.
    pub update_id: u64,
    /// Length of the whole dictionary.
    pub total: u32,
    /// Where in it the data belongs; `offset + data.len() ≤ total`.
    pub offset: u32,
    /// Absent in the unsigned form.
    pub signature: Option<Signature>,
    bytes: &'a [u8],
    signed: usize,
}

impl<'a> ConfigChunk<'a> {
    /// Reads a chunk.
    ///
    /// # Errors
    /// [`crate::Malformed`]: a field is cut, the data does not fit into the announced total, or the signature is not of the
    /// one known type.
    pub fn parse(payload: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        let network = NetworkId(reader.u64("network ID")?);
        let length = reader.u16("chunk length")?;
        let data = reader.bytes(length.into(), "chunk data")?;
        let mut chunk = Self {
            network,
            data,
            flags: 0,
            update_id: 0,
            total: length.into(),
            offset: 0,
            signature: None,
            bytes: payload,
            signed: reader.at(),
        };
        if reader.is_empty() {
            return Ok(chunk);
        }
        chunk.flags = reader.u8("chunk flags")?;
        let refused = reader.fail("configuration update ID");
        chunk.update_id = reader.u64("configuration update ID")?;
        if chunk.update_id == 0 {
            return Err(refused);
        }
        chunk.total = reader.u32("configuration length")?;
        let refused = reader.fail("chunk offset");
        chunk.offset = reader.u32("chunk offset")?;
        if u64::from(chunk.offset) + u64::from(length) > u64::from(chunk.total) {
            return Err(refused);
        }
        chunk.signed = reader.at();
        let refused = reader.fail("signature type");
        if reader.u8("signature type")? != 1 || reader.u16("signature length")? != 96 {
            return Err(refused);
        }
        chunk.signature = Some(reader.array("signature")?);
        chunk.bytes = &payload[..reader.at()];
        Ok(chunk)
    }

    /// The chunk's own bytes, network ID through signature, to be passed on unchanged.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether it is to be passed on to the other members.
    #[must_use]
    pub fn fast_propagate(&self) -> bool {
        self.flags & FLAG_FAST_PROPAGATE != 0
    }

    /// Whether the node with this identity, which must be the controller of the network, signed.
    #[must_use]
    pub fn verify(&self, controller: &Identity) -> bool {
        controller.address == self.network.controller()
            && self.signature.is_some_and(|s| controller.verify(&self.bytes[..self.signed], &s))
    }
}

/// Makes a signed chunk. `data` must be at most 65535 bytes.
#[must_use]
pub fn sign(
    network: NetworkId,
    data: &[u8],
    flags: u8,
    update_id: u64,
    total: u32,
    offset: u32,
    controller: &SecretIdentity,
) -> Vec<u8> {
    debug_assert!(data.len() <= u16::MAX.into());
    let mut out = Vec::with_capacity(data.len() + 130);
    out.extend_from_slice(&network.0.to_be_bytes());
    out.extend_from_slice(&(data.len() as u16).to_be_bytes());
    out.extend_from_slice(data);
    out.push(flags);
    out.extend_from_slice(&update_id.to_be_bytes());
    out.extend_from_slice(&total.to_be_bytes());
    out.extend_from_slice(&offset.to_be_bytes());
    let signature = controller.sign(&out);
    out.push(1);
    out.extend_from_slice(&(signature.len() as u16).to_be_bytes());
    out.extend_from_slice(&signature);
    out
}

/// Cuts a dictionary into signed chunks of at most [`MAX_DATA`] bytes. `update_id` should be random and must not be 0.
#[must_use]
pub fn cut(
    network: NetworkId,
    dictionary: &[u8],
    flags: u8,
    update_id: u64,
    controller: &SecretIdentity,
) -> Vec<Vec<u8>> {
    debug_assert!(update_id != 0);
    let total = dictionary.len() as u32;
    let chunk = |(i, data)| sign(network, data, flags, update_id, total, (i * MAX_DATA) as u32, controller);
    dictionary.chunks(MAX_DATA).enumerate().map(chunk).collect()
}
