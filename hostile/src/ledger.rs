//! Who was sent how much: a second book beside whatever the core keeps itself.
//!
//! Source addresses of UDP can be forged, so what a node sends to an endpoint that has not proved itself hits whoever lives
//! there. To such an endpoint no more octets of UDP payload may go than came from it, with one exception: a datagram of `n`
//! octets lets 3 `n` through, but no more than [`SMALL`] on that account, since the smallest answers are a little larger than
//! the smallest questions.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Answers to a small datagram may be larger than it, up to this many octets and three times its length.
pub const SMALL: usize = 96;
/// Octets that may go to an endpoint because a root, or a member of a common network, told that a peer can be found there: six
/// candidates, each a HELLO, and the datagram that opens the way. The protocol has no other way to traverse NATs.
pub const TOLD: usize = 6 * 200 + 4;

/// What came from one endpoint, or prefix, and what went there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    /// Octets that came.
    pub came: usize,
    /// Octets that may go, by what came and what was told.
    pub allowed: usize,
    /// Octets that went.
    pub went: usize,
}

/// The book.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    endpoints: BTreeMap<SocketAddr, Account>,
    prefixes: BTreeMap<(bool, [u8; 6]), Account>,
}

/// The /24 or /48 of an address.
fn prefix(ip: IpAddr) -> (bool, [u8; 6]) {
    let mut key = [0; 6];
    match ip {
        IpAddr::V4(ip) => key[..3].copy_from_slice(&ip.octets()[..3]),
        IpAddr::V6(ip) => key.copy_from_slice(&ip.octets()[..6]),
    }
    (ip.is_ipv6(), key)
}

/// What a datagram of so many octets lets through in the other direction.
pub fn allowance(octets: usize) -> usize {
    octets.max((3 * octets).min(SMALL))
}

impl Ledger {
    fn both(&mut self, endpoint: SocketAddr, change: impl Fn(&mut Account)) {
        change(self.endpoints.entry(endpoint).or_default());
        change(self.prefixes.entry(prefix(endpoint.ip())).or_default());
    }

    /// A datagram came from an endpoint that has proved nothing.
    pub fn came(&mut self, from: SocketAddr, octets: usize) {
        self.both(from, |account| {
            account.came += octets;
            account.allowed += allowance(octets);
        });
    }

    /// Somebody told the node to try an endpoint.
    pub fn told(&mut self, endpoint: SocketAddr, octets: usize) {
        self.both(endpoint, |account| account.allowed += octets);
    }

    /// A datagram went to an endpoint that has proved nothing. What is wrong about it, if anything is.
    pub fn went(&mut self, to: SocketAddr, octets: usize) -> Option<String> {
        self.both(to, |account| account.went += octets);
        let account = self.endpoints[&to];
        if account.went > account.allowed {
            return Some(format!("{to}: {account:?} after a datagram of {octets} octets"));
        }
        let account = self.prefixes[&prefix(to.ip())];
        (account.went > account.allowed).then(|| format!("the prefix of {to}: {account:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_questions_may_have_larger_answers_and_large_ones_not() {
        assert_eq!([1, 28, 32, 33, 96, 1_000].map(allowance), [3, 84, 96, 96, 96, 1_000]);
    }

    #[test]
    fn a_prefix_answers_for_its_endpoints() {
        let mut ledger = Ledger::default();
        let [a, b]: [SocketAddr; 2] = ["192.0.2.1:1", "192.0.2.2:1"].map(|e| e.parse().unwrap());
        ledger.came(a, 100);
        assert_eq!(ledger.went(a, 60), None);
        assert!(ledger.went(b, 1).is_some(), "nothing came from there");
        assert!(ledger.went(a, 41).is_some());
    }
}
