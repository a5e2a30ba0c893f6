//! Which address a member gets from the pools of its network.
//!
//! First the choice that every controller of this protocol makes (so that a member keeps its address when a network
//! moves here), then, where that choice gives up, the first free address of the pool: a pool is handed out to its last
//! address and never twice.
//!
//! Specification: VL2 controller, managed addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use protocol::Address;
use protocol::inet::Prefix;
use rand::Rng;

use api::{Pool, Route};

/// Candidates looked at in a pool before the free addresses are searched in order.
const TRIES: u32 = 1000;

/// IPv6 addresses searched in order: a pool may lie in a range where everything belongs to somebody.
const SEARCH: usize = 1 << 16;

/// What an allocation depends on.
pub(crate) struct Allocation<'a> {
    pub(crate) member: Address,
    pub(crate) pools: &'a [Pool],
    pub(crate) routes: &'a [Route],
    /// Whether an address may not be given to the member: somebody holds it, or it is in its list already.
    pub(crate) taken: &'a dyn Fn(IpAddr) -> bool,
}

impl Allocation<'_> {
    /// An IPv4 address from the first pool that has one.
    pub(crate) fn v4(&self) -> Option<Prefix> {
        self.pools.iter().find_map(|pool| match (pool.start, pool.end) {
            (IpAddr::V4(start), IpAddr::V4(end)) => self.v4_from(start.to_bits(), end.to_bits()),
            _ => None,
        })
    }

    fn v4_from(&self, start: u32, end: u32) -> Option<Prefix> {
        if start == 0 || end < start {
            return None;
        }
        let length = end - start;
        let mut counter = (self.member.to_u64() & 0xffff_ffff) as u32;
        for _ in 0..length.saturating_add(1).min(TRIES) {
            let candidate = start + counter.checked_rem(length).unwrap_or(0);
            counter = counter.wrapping_add(1);
            if candidate & 0xff != 0xff
                && let Some(prefix) = self.v4_free(candidate)
            {
                return Some(prefix);
            }
        }
        // The walk above never reaches the last address and gives up in a crowded pool.
        self.routes.iter().find_map(|route| {
            let IpAddr::V4(target) = route.target.ip else { return None };
            let (first, last) = v4_range(target.to_bits(), route.target.bits)?;
            (first.max(start)..=last.min(end))
                .filter(|ip| ip & 0xff != 0xff && (route.target.bits >= 31 || (*ip != first && *ip != last)))
                .find_map(|ip| self.v4_free(ip))
        })
    }

    /// The address with the prefix of the route it lies in, if it lies in one and is free.
    fn v4_free(&self, candidate: u32) -> Option<Prefix> {
        let bits = self.routes.iter().find_map(|route| match route.target.ip {
            IpAddr::V4(target) => {
                // A target with host bits contains nothing; a default route is no place to live in.
                let mask = u32::MAX.checked_shl(32 - u32::from(route.target.bits))?;
                (candidate & mask == target.to_bits()).then_some(route.target.bits)
            }
            IpAddr::V6(_) => None,
        })?;
        let ip = IpAddr::V4(Ipv4Addr::from_bits(candidate));
        (!(self.taken)(ip)).then_some(Prefix { ip, bits })
    }

    /// An IPv6 address from the first pool that has one.
    pub(crate) fn v6(&self, random: &mut dyn Rng) -> Option<Prefix> {
        self.pools.iter().find_map(|pool| match (pool.start, pool.end) {
            (IpAddr::V6(start), IpAddr::V6(end)) => self.v6_from(start.to_bits(), end.to_bits(), random),
            _ => None,
        })
    }

    fn v6_from(&self, start: u128, end: u128, random: &mut dyn Rng) -> Option<Prefix> {
        let (start_high, start_low) = halves(start);
        let (end_high, end_low) = halves(end);
        let mut pick = |from: u64, to: u64| {
            // Saturated at zero: a half whose end is not above its start contributes nothing.
            let span = to.saturating_sub(from);
            from.wrapping_add(random.next_u64().checked_rem(span).unwrap_or(0))
        };
        for attempt in 0..TRIES {
            let candidate = if attempt == 0 && end_low > start_low && end_low - start_low >= 0xff_ffff_ffff {
                join(start_high, start_low + self.member.to_u64())
            } else {
                join(pick(start_high, end_high), pick(start_low, end_low))
            };
            if let Some(prefix) = self.v6_free(candidate) {
                return Some(prefix);
            }
        }
        self.routes.iter().filter(|route| route.via.is_none()).find_map(|route| {
            let IpAddr::V6(target) = route.target.ip else { return None };
            let (first, last) = v6_range(target.to_bits(), route.target.bits)?;
            (first.max(start)..=last.min(end))
                .filter(|ip| *ip != first || first == last)
                .take(SEARCH)
                .find_map(|ip| self.v6_free(ip))
        })
    }

    fn v6_free(&self, candidate: u128) -> Option<Prefix> {
        let ip = IpAddr::V6(Ipv6Addr::from_bits(candidate));
        let bits = self
            .routes
            .iter()
            .rev()
            .filter(|route| route.via.is_none() && route.target.ip.is_ipv6() && route.target.bits > 0)
            .find(|route| route.target.contains(ip))?
            .target
            .bits;
        (!(self.taken)(ip)).then_some(Prefix { ip, bits })
    }
}

/// First and last address of a route's target; none for a default route and for a target with host bits.
fn v4_range(target: u32, bits: u8) -> Option<(u32, u32)> {
    let mask = u32::MAX.checked_shl(32 - u32::from(bits))?;
    (target & !mask == 0).then_some((target, target | !mask))
}

fn v6_range(target: u128, bits: u8) -> Option<(u128, u128)> {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits))?;
    Some((target & mask, target | !mask))
}

fn halves(ip: u128) -> (u64, u64) {
    ((ip >> 64) as u64, ip as u64)
}

fn join(high: u64, low: u64) -> u128 {
    (u128::from(high) << 64) | u128::from(low)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn route(target: &str, bits: u8) -> Route {
        Route { target: Prefix { ip: target.parse().unwrap(), bits }, via: None }
    }

    fn pool(start: &str, end: &str) -> Pool {
        Pool { start: start.parse().unwrap(), end: end.parse().unwrap() }
    }

    fn v4(member: u64, pools: &[Pool], routes: &[Route], taken: &BTreeSet<IpAddr>) -> Option<String> {
        let taken = |ip| taken.contains(&ip);
        let prefix = Allocation { member: Address::from_u64(member), pools, routes, taken: &taken }.v4()?;
        Some(format!("{}/{}", prefix.ip, prefix.bits))
    }

    /// The worked example of the specification.
    #[test]
    fn starts_at_the_members_own_place() {
        let pools = [pool("10.147.17.1", "10.147.17.254")];
        let routes = [route("10.147.17.0", 24)];
        let mut taken = BTreeSet::new();
        assert_eq!(v4(0x1e_7e3f_d409, &pools, &routes, &taken).as_deref(), Some("10.147.17.61/24"));
        taken.insert("10.147.17.61".parse().unwrap());
        assert_eq!(v4(0x1e_7e3f_d409, &pools, &routes, &taken).as_deref(), Some("10.147.17.62/24"));
    }

    #[test]
    fn needs_a_route_that_is_not_the_default_one() {
        let pools = [pool("10.0.0.1", "10.0.0.9")];
        let none = BTreeSet::new();
        assert_eq!(v4(7, &pools, &[], &none), None);
        assert_eq!(v4(7, &pools, &[route("0.0.0.0", 0)], &none), None);
        assert_eq!(v4(7, &pools, &[route("10.0.0.3", 8)], &none), None, "host bits contain nothing");
        let routes = [route("0.0.0.0", 0), route("10.0.0.0", 8), route("10.0.0.0", 24)];
        assert!(v4(7, &pools, &routes, &none).unwrap().ends_with("/8"), "the first in order decides");
    }

    #[test]
    fn odd_pools() {
        let routes = [route("10.0.0.0", 24)];
        let none = BTreeSet::new();
        assert_eq!(v4(5, &[pool("10.0.0.9", "10.0.0.1")], &routes, &none), None);
        assert_eq!(v4(5, &[pool("0.0.0.0", "10.0.0.1")], &routes, &none), None);
        assert_eq!(v4(5, &[pool("10.0.0.7", "10.0.0.7")], &routes, &none).as_deref(), Some("10.0.0.7/24"));
        assert_eq!(v4(5, &[pool("10.0.0.255", "10.0.0.255")], &routes, &none), None);
        let whole = [pool("0.0.0.1", "255.255.255.255")];
        assert!(v4(5, &whole, &routes, &none).unwrap().starts_with("10.0.0."), "found although far away");
    }

    #[test]
    fn v6_uses_the_members_address_in_large_pools() {
        let pools = [pool("fd00::", "fd00::ffff:ffff:ffff")];
        let routes = [route("fd00::", 64)];
        let mut random = StdRng::seed_from_u64(1);
        let taken = |_| false;
        let allocation = Allocation {
            member: Address::from_u64(0x1e_7e3f_d409),
            pools: &pools,
            routes: &routes,
            taken: &taken,
        };
        let prefix = allocation.v6(&mut random).unwrap();
        assert_eq!((prefix.ip.to_string().as_str(), prefix.bits), ("fd00::1e:7e3f:d409", 64));
    }

    proptest! {
        /// Small pools are handed out completely, each address once, whatever the members' addresses are.
        #[test]
        fn every_address_of_a_pool_is_given_once(start in 1u32..200, size in 0u32..60, seed: u64) {
            let start = 0x0a00_0000 + start;
            let end = start + size;
            let ip = |bits| IpAddr::V4(Ipv4Addr::from_bits(bits));
            let usable: BTreeSet<IpAddr> = (start..=end).filter(|ip| ip & 0xff != 0xff).map(ip).collect();
            let pools = [Pool { start: ip(start), end: ip(end) }];
            let routes = [route("10.0.0.0", 16)];
            let mut given = BTreeSet::new();
            let mut random = StdRng::seed_from_u64(seed);
            for _ in 0..usable.len() {
                let member = Address::from_u64(random.next_u64());
                let taken = |ip| given.contains(&ip);
                let got = Allocation { member, pools: &pools, routes: &routes, taken: &taken }.v4();
                let got = got.expect("the pool has free addresses").ip;
                prop_assert!(given.insert(got), "{got} twice");
            }
            prop_assert_eq!(&given, &usable);
            let taken = |ip| given.contains(&ip);
            let more = Allocation { member: Address::from_u64(seed), pools: &pools, routes: &routes, taken: &taken };
            prop_assert!(more.v4().is_none());
        }

        #[test]
        fn every_v6_address_of_a_small_pool_is_given_once(start in 1u128..1000, size in 0u128..40, seed: u64) {
            let base = 0xfd00_0000_0000_0000_0000_0000_0000_0000_u128;
            let ip = |bits| IpAddr::V6(Ipv6Addr::from_bits(bits));
            let pools = [Pool { start: ip(base + start), end: ip(base + start + size) }];
            let routes = [route("fd00::", 64)];
            let mut given = BTreeSet::new();
            let mut random = StdRng::seed_from_u64(seed);
            for _ in 0..=size {
                let member = Address::from_u64(random.next_u64());
                let taken = |ip| given.contains(&ip);
                let got = Allocation { member, pools: &pools, routes: &routes, taken: &taken }.v6(&mut random);
                prop_assert!(given.insert(got.expect("the pool has free addresses").ip));
            }
            let taken = |ip| given.contains(&ip);
            let more = Allocation { member: Address::from_u64(seed), pools: &pools, routes: &routes, taken: &taken };
            prop_assert!(more.v6(&mut random).is_none());
        }

        /// No pool, however odd, makes the search panic or run away.
        #[test]
        fn any_pool_is_survived(start: u32, end: u32, bits in 0u8..=32, target: u32, s6: u128, e6: u128, t6: u128, b6 in 0u8..=128, member: u64) {
            let ip4 = |bits| IpAddr::V4(Ipv4Addr::from_bits(bits));
            let ip6 = |bits| IpAddr::V6(Ipv6Addr::from_bits(bits));
            let pools = [Pool { start: ip4(start), end: ip4(end) }, Pool { start: ip6(s6), end: ip6(e6) }];
            let routes = [
                Route { target: Prefix { ip: ip4(target), bits }, via: None },
                Route { target: Prefix { ip: ip6(t6), bits: b6 }, via: None },
            ];
            let taken = |_| false;
            let allocation = Allocation { member: Address::from_u64(member), pools: &pools, routes: &routes, taken: &taken };
            allocation.v4();
            allocation.v6(&mut StdRng::seed_from_u64(member));
        }
    }
}
