//! How often a member is heard.

use std::collections::HashMap;

use protocol::{Address, NetworkId, Span, Time};

/// A member is heard once in this time; what comes sooner is dropped.
const REQUEST_INTERVAL: Span = Span::secs(1);

/// Senders whose last request is remembered for the rate limit.
const MAX_RATE_ENTRIES: usize = 16_384;

/// When who was last heard.
#[derive(Debug, Default)]
pub(crate) struct RateLimit {
    heard: HashMap<(NetworkId, Address), Time>,
}

impl RateLimit {
    /// Whether a request may be looked at. What is remembered is bounded: senders that are already free to ask again are
    /// forgotten.
    pub(crate) fn admits(&mut self, now: Time, network: NetworkId, member: Address) -> bool {
        let key = (network, member);
        let recent = |at: Time| (Span::ZERO..=REQUEST_INTERVAL).contains(&(now - at));
        if self.heard.get(&key).is_some_and(|at| recent(*at)) {
            return false;
        }
        if self.heard.len() >= MAX_RATE_ENTRIES {
            self.heard.retain(|_, at| recent(*at));
            if self.heard.len() >= MAX_RATE_ENTRIES / 2 {
                self.heard.clear();
            }
        }
        self.heard.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_heard_once_in_a_while_and_a_crowd_does_not_grow_the_table() {
        let mut limit = RateLimit::default();
        let (network, begun) = (NetworkId(1), Time::EPOCH);
        let later = begun + REQUEST_INTERVAL;
        assert!(limit.admits(begun, network, Address::from_u64(1)));
        assert!(!limit.admits(later, network, Address::from_u64(1)));
        assert!(limit.admits(later, NetworkId(2), Address::from_u64(1)), "another network");
        assert!(limit.admits(later + Span::ms(1), network, Address::from_u64(1)));
        for sender in 0..3 * MAX_RATE_ENTRIES as u64 {
            limit.admits(begun + Span::secs(5), network, Address::from_u64(sender));
            assert!(limit.heard.len() <= MAX_RATE_ENTRIES);
        }
    }
}
