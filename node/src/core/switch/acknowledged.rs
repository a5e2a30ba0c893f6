//! Revocations that a controller brings a member, and wants to hear that it keeps them.
//!
//! A controller of ours sends revocations to a node that says in its configuration request that it keeps them
//! ([`RequestMetadata::run`](protocol::metadata::RequestMetadata::run)) as an application message until it is answered:
//!
//! | message | content |
//! |---|---|
//! | `ztnodeRV` | form u8 = 1 · network u64 · number u64 · count u8 · revocations as in NETWORK_CREDENTIALS |
//! | `ztnodeRA` | form u8 = 1 · network u64 · number u64 · run u64 |

use protocol::credential::{Revocation, Signed};
use protocol::{NetworkId, Reader, Result};

/// Form of both messages.
const FORM: u8 = 1;

/// What the controller of a network brings.
pub(super) struct Brought {
    pub(super) network: NetworkId,
    /// Which of its messages to us this is.
    pub(super) number: u64,
    pub(super) revocations: Vec<Signed<Revocation>>,
}

impl Brought {
    /// The body of the message; of more than 255 revocations the first.
    pub(super) fn write(network: NetworkId, number: u64, revocations: &[Signed<Revocation>]) -> Vec<u8> {
        let mut body = vec![FORM];
        body.extend_from_slice(&network.0.to_be_bytes());
        body.extend_from_slice(&number.to_be_bytes());
        let count = u8::try_from(revocations.len()).unwrap_or(u8::MAX);
        body.push(count);
        for revocation in revocations.iter().take(usize::from(count)) {
            revocation.write(&mut body);
        }
        body
    }

    /// `None` for a form that is not known yet.
    pub(super) fn read(body: &[u8]) -> Result<Option<Self>> {
        let mut reader = Reader::new(body);
        if reader.u8("form of a message of revocations")? != FORM {
            return Ok(None);
        }
        let network = NetworkId(reader.u64("network of a message of revocations")?);
        let number = reader.u64("number of a message of revocations")?;
        let count = reader.u8("count of revocations")?;
        let revocations = (0..count).map(|_| Signed::read(&mut reader)).collect::<Result<_>>()?;
        Ok(Some(Self { network, number, revocations }))
    }
}

/// A member's word that it keeps what was brought.
pub(super) struct Kept {
    pub(super) network: NetworkId,
    /// The number of the message.
    pub(super) number: u64,
    /// In which run of the member.
    pub(super) run: u64,
}

impl Kept {
    /// The body of the message.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut body = vec![FORM];
        body.extend_from_slice(&self.network.0.to_be_bytes());
        body.extend_from_slice(&self.number.to_be_bytes());
        body.extend_from_slice(&self.run.to_be_bytes());
        body
    }

    /// `None` for a form that is not known yet.
    pub(super) fn read(body: &[u8]) -> Result<Option<Self>> {
        let mut reader = Reader::new(body);
        if reader.u8("form of an acknowledgement")? != FORM {
            return Ok(None);
        }
        let network = NetworkId(reader.u64("network of an acknowledgement")?);
        let number = reader.u64("number of an acknowledgement")?;
        let run = reader.u64("run of an acknowledgement")?;
        Ok(Some(Self { network, number, run }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_word_comes_back_and_anything_is_survived(network: u64, number: u64, run: u64, bytes: Vec<u8>) {
            let body = Kept { network: NetworkId(network), number, run }.write();
            let kept = Kept::read(&body).unwrap().unwrap();
            prop_assert_eq!((kept.network.0, kept.number, kept.run), (network, number, run));
            let _ = (Kept::read(&bytes), Brought::read(&bytes));
        }
    }
}
