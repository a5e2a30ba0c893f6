//! ERROR: a request could not be served. Specification: VL1 verbs, ERROR.
//!
//! | Offset | Size | Field |
//! |---|---|---|
//! | 0 | 1 | verb in question |
//! | 1 | 8 | packet in question |
//! | 9 | 1 | error code |
//! | 10 | … | depends on the code; most begin with a network ID (8) |

use crate::{NetworkId, Reader, Result};

/// The codes.
pub mod error_code {
    /// The object asked for does not exist (a network, at its controller).
    pub const OBJECT_NOT_FOUND: u8 = 0x03;
    /// Another node has the sender's address.
    pub const IDENTITY_COLLISION: u8 = 0x04;
    /// The receiver does not do that (is no controller).
    pub const UNSUPPORTED_OPERATION: u8 = 0x05;
    /// A frame was refused because the sender's credentials are unknown.
    pub const NEED_MEMBERSHIP_CERTIFICATE: u8 = 0x06;
    /// The controller does not let the node in.
    pub const ACCESS_DENIED: u8 = 0x07;
    /// The receiver does not subscribe to that multicast group.
    pub const UNWANTED_MULTICAST: u8 = 0x08;
    /// The controller wants the user to log in.
    pub const AUTHENTICATION_REQUIRED: u8 = 0x09;
}

/// An ERROR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error<'a> {
    /// Number of the verb in question.
    pub in_re_verb: u8,
    /// Packet ID of the request as it was on the wire.
    pub in_re_id: u64,
    /// What is wrong: one of [`error_code`], or something unknown.
    pub code: u8,
    /// The network it is about, for the codes that name one.
    pub network: Option<NetworkId>,
    /// Whatever follows the network ID (or the code, if there is none).
    pub body: &'a [u8],
}

/// Whether the payload of this code begins with a network ID.
const fn names_network(code: u8) -> bool {
    use error_code::{
        ACCESS_DENIED, AUTHENTICATION_REQUIRED, NEED_MEMBERSHIP_CERTIFICATE, OBJECT_NOT_FOUND,
        UNSUPPORTED_OPERATION, UNWANTED_MULTICAST,
    };
    matches!(
        code,
        OBJECT_NOT_FOUND
            | UNSUPPORTED_OPERATION
            | NEED_MEMBERSHIP_CERTIFICATE
            | ACCESS_DENIED
            | UNWANTED_MULTICAST
            | AUTHENTICATION_REQUIRED
    )
}

impl<'a> Error<'a> {
    /// Reads the payload. A missing network ID is not an error, for whether one belongs there depends on the verb in
    /// question.
    ///
    /// # Errors
    /// [`Malformed`](crate::Malformed) if shorter than ten bytes.
    pub fn parse(payload: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        let in_re_verb = reader.u8("verb in question")?;
        let in_re_id = reader.u64("packet in question")?;
        let code = reader.u8("error code")?;
        let network =
            if names_network(code) { reader.u64("network ID of an error").ok().map(NetworkId) } else { None };
        Ok(Self { in_re_verb, in_re_id, code, network, body: reader.rest() })
    }

    /// Appends the payload.
    pub fn write(&self, to: &mut Vec<u8>) {
        to.push(self.in_re_verb);
        to.extend_from_slice(&self.in_re_id.to_be_bytes());
        to.push(self.code);
        if let Some(network) = self.network {
            to.extend_from_slice(&network.0.to_be_bytes());
        }
        to.extend_from_slice(self.body);
    }

    /// Of [`error_code::AUTHENTICATION_REQUIRED`]: the dictionary that says how to log in (a length of two bytes
    /// precedes it), or `None` if the controller gave none.
    ///
    /// # Errors
    /// [`Malformed`](crate::Malformed) if it is cut short; offsets count from the start of `body`.
    pub fn authentication(&self) -> Result<Option<&'a [u8]>> {
        let mut reader = Reader::new(self.body);
        if reader.remaining() < 2 {
            return Ok(None);
        }
        let length = reader.u16("length of authentication information")?;
        reader.bytes(length.into(), "authentication information").map(Some)
    }
}
