//! How often a member is heard.

use std::collections::HashMap;

use protocol::{Address, NetworkId};

/// A member is heard once in this time, ms; what comes sooner is dropped.
const REQUEST_INTERVAL: i64 = 1000;

/// Senders whose last request is remembered for the rate limit.
const MAX_RATE_ENTRIES: usize = 16_384;

/// When who was last heard.
#[derive(Debug, Default)]
pub(crate) struct RateLimit {
    heard: HashMap<(NetworkId, Address), i64>,
}

impl RateLimit {
    /// Whether a request may be looked at. What is remembered is bounded: senders that are already free to ask again are
    /// forgotten.
    pub(crate) fn admits(&mut self, now: i64, network: NetworkId, member: Address) -> bool {
        let key = (network, member);
        let recent = |at: i64| (0..=REQUEST_INTERVAL).contains(&now.saturating_sub(at));
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
        let network = NetworkId(1);
        assert!(limit.admits(0, network, Address::from_u64(1)));
        assert!(!limit.admits(REQUEST_INTERVAL, network, Address::from_u64(1)));
        assert!(limit.admits(REQUEST_INTERVAL, NetworkId(2), Address::from_u64(1)), "another network");
        assert!(limit.admits(REQUEST_INTERVAL + 1, network, Address::from_u64(1)));
        for sender in 0..3 * MAX_RATE_ENTRIES as u64 {
            limit.admits(5000, network, Address::from_u64(sender));
            assert!(limit.heard.len() <= MAX_RATE_ENTRIES);
        }
    }
}
