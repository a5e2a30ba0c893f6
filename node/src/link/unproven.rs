//! How much may be sent to an endpoint that has not shown that it wants anything from us.
//!
//! Anybody can put anybody's address on a datagram. Whatever we answer goes to that address, so what we answer must never be more
//! than what came: else we are somebody's amplifier. An endpoint has *proven* itself when it answered a packet of ours, which it
//! cannot have guessed. Until then it, and its /24 or /48 as a whole, get no more octets of UDP payload than came from there.
//!
//! The smallest exchange of the protocol needs more: an empty ECHO has 28 octets, its answer 37, and a probe of the path in turn 28
//! more. So a short datagram lets three times its octets out, up to [`SHORT_ALLOWANCE`] of them.

use std::hash::Hash;
use std::net::SocketAddr;

use protocol::{Span, Time};

use crate::ground::buckets::Keyed;
use crate::ground::sources::Source;
use crate::ground::work;

/// What a short datagram lets out at most, bytes: longer ones let out what they brought.
pub(crate) const SHORT_ALLOWANCE: usize = 96;
/// Octets owed to one endpoint, and to a prefix, at most.
const MAX_ENDPOINT: u32 = 4_096;
const MAX_PREFIX: u32 = 65_536;
/// What nobody has drawn on for this long is forgotten.
const LIFETIME: Span = Span::secs(10);
/// Accounts for endpoints, and as many for prefixes. Two that share one by chance share what came from both.
pub(crate) const ACCOUNTS: usize = 1 << 15;

/// The accounts of endpoints that have not proven themselves.
#[derive(Debug)]
pub(crate) struct Unproven {
    /// Octets in the upper half, time of the last change (ms, cut off) in the lower.
    endpoints: Vec<u64>,
    prefixes: Vec<u64>,
    hash: Keyed,
}

/// How many octets a datagram of `octets` lets out to an endpoint that has not proven itself.
pub(crate) fn allowance(octets: usize) -> usize {
    octets.max(SHORT_ALLOWANCE.min(3 * octets))
}

impl Unproven {
    /// Empty accounts.
    pub(crate) fn new(hash: Keyed) -> Self {
        Self { endpoints: vec![0; ACCOUNTS], prefixes: vec![0; ACCOUNTS], hash }
    }

    fn place(&self, key: &impl Hash) -> usize {
        (self.hash.of(key) % ACCOUNTS as u64) as usize
    }

    /// A datagram came from an endpoint.
    pub(crate) fn received(&mut self, now: Time, from: SocketAddr, octets: usize) {
        work::step();
        let (endpoint, prefix) = (self.place(&from), self.place(&Source::of(from.ip())));
        let amount = u32::try_from(allowance(octets)).unwrap_or(u32::MAX);
        let put = |account: &mut u64, most: u32| {
            *account = write(now, balance(*account, now).saturating_add(amount).min(most));
        };
        put(&mut self.endpoints[endpoint], MAX_ENDPOINT);
        put(&mut self.prefixes[prefix], MAX_PREFIX);
    }

    /// Whether a datagram of `octets` may go to an endpoint; it is written off then.
    pub(crate) fn spend(&mut self, now: Time, to: SocketAddr, octets: usize) -> bool {
        work::step();
        let (endpoint, prefix) = (self.place(&to), self.place(&Source::of(to.ip())));
        let amount = u32::try_from(octets).unwrap_or(u32::MAX);
        let left = |account: u64| balance(account, now).checked_sub(amount);
        let (Some(of_endpoint), Some(of_prefix)) =
            (left(self.endpoints[endpoint]), left(self.prefixes[prefix]))
        else {
            return false;
        };
        self.endpoints[endpoint] = write(now, of_endpoint);
        self.prefixes[prefix] = write(now, of_prefix);
        true
    }
}

fn write(now: Time, octets: u32) -> u64 {
    u64::from(octets) << 32 | u64::from(now.as_ms() as u32)
}

fn balance(account: u64, now: Time) -> u32 {
    let age = Span::ms((now.as_ms() as u32).wrapping_sub(account as u32).into());
    if age > LIFETIME { 0 } else { (account >> 32) as u32 }
}

#[cfg(feature = "work")]
impl Unproven {
    /// See `filling`.
    pub(crate) fn sizes(&self) -> [usize; 2] {
        [self.endpoints.len(), self.prefixes.len()]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_endpoint_gets_what_came_from_it_and_its_prefix_no_more_either() {
        let mut accounts = Unproven::new(Keyed::new([3, 4]));
        let (x, y) = (at("192.0.2.1:1"), at("192.0.2.1:2"));
        assert!(!accounts.spend(Time::EPOCH, x, 1));
        accounts.received(Time::EPOCH, x, 200);
        assert!(!accounts.spend(Time::EPOCH, y, 1), "another port");
        assert!(
            accounts.spend(Time::EPOCH, x, 150)
                && accounts.spend(Time::EPOCH, x, 50)
                && !accounts.spend(Time::EPOCH, x, 1)
        );
        accounts.received(Time::EPOCH, x, 28);
        assert!(
            accounts.spend(Time::EPOCH, x, 37)
                && accounts.spend(Time::EPOCH, x, 28)
                && !accounts.spend(Time::EPOCH, x, 28)
        );
        accounts.received(Time::EPOCH, x, 200);
        assert!(!accounts.spend(Time::EPOCH + LIFETIME + Span::ms(1), x, 1), "too late");
    }

    proptest! {
        #[test]
        fn never_more_than_the_allowance(
            steps in proptest::collection::vec((any::<bool>(), 0u8..4, 1usize..1_500), 0..200),
        ) {
            let mut accounts = Unproven::new(Keyed::new([5, 6]));
            let mut allowed = 0;
            let mut sent = 0;
            for (now, (comes, port, octets)) in steps.into_iter().enumerate() {
                let now = Time::from_ms(now as i64);
                let endpoint = SocketAddr::new("198.51.100.7".parse().unwrap(), 1_000 + u16::from(port));
                if comes {
                    accounts.received(now, endpoint, octets);
                    allowed += allowance(octets);
                } else if accounts.spend(now, endpoint, octets) {
                    sent += octets;
                }
                prop_assert!(sent <= allowed);
            }
        }
    }
}
