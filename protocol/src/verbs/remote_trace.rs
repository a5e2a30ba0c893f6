//! REMOTE_TRACE: events for a remote observer. Specification: VL1 verbs, REMOTE_TRACE.

/// Longest event that is read.
const MAX_EVENT: usize = 10_000;

/// Dictionaries, each ended by a zero byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteTrace<'a>(pub Vec<&'a [u8]>);

impl<'a> RemoteTrace<'a> {
    /// Reads the payload. Empty and overlong events, and what follows the last zero, are left out.
    #[must_use]
    pub fn parse(payload: &'a [u8]) -> Self {
        let end = payload.iter().rposition(|byte| *byte == 0).unwrap_or(0);
        let events = payload[..end].split(|byte| *byte == 0);
        Self(events.filter(|event| !event.is_empty() && event.len() <= MAX_EVENT).collect())
    }

    /// Appends the payload. Events must not contain zero bytes; a dictionary never does.
    pub fn write(&self, to: &mut Vec<u8>) {
        for event in &self.0 {
            to.extend_from_slice(event);
            to.push(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ended_events_count() {
        assert_eq!(RemoteTrace::parse(b"a=1\0\0b=2\0c=3").0, [&b"a=1"[..], b"b=2"]);
        assert!(RemoteTrace::parse(b"a=1").0.is_empty());
        assert!(RemoteTrace::parse(b"").0.is_empty());
        assert!(RemoteTrace::parse(b"\0").0.is_empty());
    }
}
