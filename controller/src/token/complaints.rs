//! A refused node asks every few seconds, and anybody can ask: the log is told what somebody has to know, once.

use std::collections::HashMap;

use protocol::{Address, NetworkId, Span, Time};
use tracing::warn;

use super::Refused;

/// The same refusal of the same node is told again after this.
const AGAIN: Span = Span::secs(10 * 60);
/// Nodes whose last refusal is remembered.
const MAX_REMEMBERED: usize = 4096;
/// Lines …
const MAX_LINES: u32 = 30;
/// … in this time.
const WINDOW: Span = Span::secs(60);

/// What was told.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    told: HashMap<(NetworkId, Address), (Time, Refused)>,
    /// When the present window began.
    window: Option<Time>,
    lines: u32,
    /// Refusals left out since the last line.
    left_out: u64,
}

impl Complaints {
    /// Writes a line about a refused token, unless it has been said or there are too many. The token's text is not in it.
    pub(crate) fn tell(&mut self, now: Time, network: NetworkId, member: Address, refused: Refused) {
        if let Some(left_out) = self.is_due(now, network, member, refused) {
            let token = refused.id.map_or_else(|| "-".to_owned(), |id| id.to_string());
            warn!(%network, %member, token, reason = %refused.reason, left_out, "join token refused");
        }
    }

    /// Whether a line is due, and how many were left out since the last one.
    fn is_due(&mut self, now: Time, network: NetworkId, member: Address, refused: Refused) -> Option<u64> {
        let key = (network, member);
        let recent = |at: Time| (Span::ZERO..AGAIN).contains(&(now - at));
        if self.told.get(&key).is_some_and(|(at, what)| *what == refused && recent(*at)) {
            return None;
        }
        if !self.window.is_some_and(|began| (Span::ZERO..WINDOW).contains(&(now - began))) {
            (self.window, self.lines) = (Some(now), 0);
        }
        if self.lines >= MAX_LINES {
            self.left_out += 1;
            return None;
        }
        if self.told.len() >= MAX_REMEMBERED {
            self.told.clear();
        }
        self.told.insert(key, (now, refused));
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use api::{TokenId, TokenState};

    use super::super::Reason;
    use super::*;

    const NETWORK: NetworkId = NetworkId(1);

    #[test]
    fn one_line_for_one_refusal() {
        let mut complaints = Complaints::default();
        let mut due = |now, member, reason| {
            let refused = Refused { id: Some(TokenId(1)), reason };
            complaints.is_due(now, NETWORK, Address::from_u64(member), refused)
        };
        let (now, spent) = (Time::from_ms(1_000_000), Reason::Over(TokenState::Spent));
        assert_eq!(due(now, 1, spent), Some(0));
        assert_eq!(due(now + Span::secs(5), 1, spent), None, "the same again");
        assert_eq!(due(now + Span::secs(5), 1, Reason::Unknown), Some(0), "another reason");
        assert_eq!(due(now + Span::secs(5), 2, spent), Some(0), "another member");
        assert_eq!(due(now + AGAIN + Span::secs(5), 2, spent), Some(0), "after a while");
    }

    #[test]
    fn a_crowd_does_not_fill_the_log() {
        let mut complaints = Complaints::default();
        let refused = Refused { id: None, reason: Reason::Unknown };
        let mut lines = 0;
        for member in 0..10_000 {
            let member = Address::from_u64(member);
            lines += usize::from(complaints.is_due(Time::EPOCH, NETWORK, member, refused).is_some());
        }
        assert_eq!(lines, MAX_LINES as usize);
        let next = complaints.is_due(Time::EPOCH + WINDOW, NETWORK, Address::from_u64(99_999), refused);
        assert_eq!(next, Some(10_000 - u64::from(MAX_LINES)));
        assert!(complaints.told.len() <= MAX_REMEMBERED);
    }
}
