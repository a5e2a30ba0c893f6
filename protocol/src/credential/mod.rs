//! Credentials of network members: small objects signed by a network's controller.
//!
//! A credential that is signed is of another type than one that is not: [`Signed`], which only signing or reading octets makes.
//! Specification: VL2 credentials.

pub mod capability;
pub mod com;
pub mod coo;
pub mod membership;
pub mod revocation;
mod signed;
pub mod tag;

pub use capability::{Capability, HeldCapability};
pub use com::Com;
pub use coo::Coo;
pub use membership::Membership;
pub use revocation::Revocation;
pub use signed::{Credential, Signed};
pub use tag::Tag;

use crate::Address;

/// A signature in the form all credentials carry: 64 bytes of Ed25519, 32 bytes of message hash.
pub type Signature = [u8; 96];

/// The number of each kind of credential, as revocations name it.
pub mod kind {
    /// Certificate of membership.
    pub const COM: u8 = 1;
    /// Capability.
    pub const CAPABILITY: u8 = 2;
    /// Tag.
    pub const TAG: u8 = 3;
    /// Certificate of ownership.
    pub const COO: u8 = 4;
    /// Revocation.
    pub const REVOCATION: u8 = 6;
}

/// What looking at a credential's signature gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Signed by the controller of its network.
    Valid,
    /// Not.
    Invalid,
    /// Cannot be told before the identity of this node is known.
    UnknownSigner(Address),
}
