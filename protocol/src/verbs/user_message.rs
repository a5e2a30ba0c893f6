//! USER_MESSAGE: a message from application to application. Specification: VL1 verbs, USER_MESSAGE.

use crate::{Reader, Result};

/// A message: type (8), content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserMessage<'a> {
    /// What the content means; values up to 65535 are reserved.
    pub kind: u64,
    /// The content.
    pub body: &'a [u8],
}

impl<'a> UserMessage<'a> {
    /// Reads the payload.
    ///
    /// # Errors
    /// [`Malformed`](crate::Malformed) if shorter than eight bytes.
    pub fn parse(payload: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        let kind = reader.u64("type of a message")?;
        Ok(Self { kind, body: reader.rest() })
    }

    /// Appends the payload.
    pub fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.kind.to_be_bytes());
        to.extend_from_slice(self.body);
    }
}
