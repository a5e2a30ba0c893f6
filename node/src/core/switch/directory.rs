//! The multicast directory: who listens to which group, on our own networks and, as a root or controller, on everybody's.
//!
//! Specification: VL2 frames, "subscriber table".

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::multicast_group::MulticastGroup;
use protocol::{Address, Mac, NetworkId, Time};

use rand::{Rng, RngExt};

use crate::ground::limits::{
    CONTROLLER_AUTHORIZATION, GATHER, MAX_MEMBERS, MAX_PENDING_MULTICASTS, MAX_SENT_GROUPS,
    MAX_SUBSCRIPTIONS, MAX_SUBSCRIPTIONS_PER_MEMBER, MAX_SUBSCRIPTIONS_PER_SOURCE, MULTICAST_EXPIRY,
    MULTICAST_LIFETIME,
};
use crate::ground::sources::Source;
use crate::ground::table::{Share, Table};
use crate::ground::work;

/// A multicast that still waits for receivers.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// When it was sent first.
    pub(super) since: Time,
    /// Explicit source address, for a bridged frame.
    pub(super) source: Option<Mac>,
    /// Ethernet type.
    pub(super) ethertype: u16,
    /// Payload.
    pub(super) payload: Vec<u8>,
    /// Who has it already.
    pub(super) sent: Vec<Address>,
    /// How many may get it.
    pub(super) limit: usize,
}

/// Who is answerable for subscriptions.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Announcer {
    /// Whether it is not known to be a member of the network. A root does not know whose networks are whose.
    pub(super) stranger: bool,
    /// From where it has proven to be heard.
    pub(super) source: Source,
}

impl Share for Announcer {
    fn rank(&self) -> u8 {
        u8::from(self.stranger)
    }
}

/// One group of one network.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Subscribers by who is answerable for them.
    members: BTreeMap<Announcer, BTreeSet<Address>>,
    count: usize,
    /// Multicasts waiting for more subscribers.
    pub(super) pending: VecDeque<Pending>,
    /// When others were last asked for subscribers.
    pub(super) last_gather: Option<Time>,
}

impl Group {
    /// How many subscribers there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether an address subscribes.
    pub(super) fn contains(&self, member: Address) -> bool {
        self.members.values().inspect(|_| work::step()).any(|members| members.contains(&member))
    }

    /// Appends up to `limit` subscribers, never `except`, chosen so that who has many addresses or identities gets no more than
    /// others: those known as members first, then one of each prefix by turns, beginning anywhere. Costs as much as it finds.
    pub(super) fn sample(&self, limit: usize, except: Address, rng: &mut impl Rng, found: &mut Vec<Address>) {
        let end = found.len() + limit;
        for stranger in [false, true] {
            let first = Announcer { stranger, source: Source::RELAYED };
            let last = Announcer { stranger, source: Source::LAST };
            let from = Announcer { stranger, source: Source::random(rng) };
            let shares = self.members.range(from..=last).chain(self.members.range(first..from));
            let mut turns: VecDeque<_> = shares
                .take(limit)
                .map(|(_, members)| {
                    let at = Address::from_u64(rng.random_range(0..1 << 40));
                    members.range(at..).chain(members.range(..at)).filter(|member| **member != except)
                })
                .collect();
            while found.len() < end
                && let Some(mut share) = turns.pop_front()
            {
                work::step();
                if let Some(member) = share.next() {
                    found.push(*member);
                    turns.push_back(share);
                }
            }
        }
    }

    fn add(&mut self, announcer: Announcer, member: Address) {
        self.count += usize::from(self.members.entry(announcer).or_default().insert(member));
    }

    fn remove(&mut self, announcer: Announcer, member: Address) {
        let Some(members) = self.members.get_mut(&announcer) else { return };
        self.count -= usize::from(members.remove(&member));
        if members.is_empty() {
            self.members.remove(&announcer);
        }
    }
}

type Subscription = (NetworkId, MulticastGroup, Address);

/// All groups, and who may use our directory on our own controller's word.
#[derive(Debug)]
pub(in super::super) struct Directory {
    groups: BTreeMap<(NetworkId, MulticastGroup), Group>,
    /// Every subscription once more, by age, with who is answerable.
    subscriptions: Table<Subscription, Announcer, Announcer>,
    /// How many each address has.
    of_member: BTreeMap<Address, usize>,
    /// Groups that frames of our own wait or have waited for.
    sent: usize,
    authorized: Table<(NetworkId, Address), NetworkId, Time>,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            groups: BTreeMap::new(),
            subscriptions: Table::new(MAX_SUBSCRIPTIONS, MAX_SUBSCRIPTIONS_PER_SOURCE),
            of_member: BTreeMap::new(),
            sent: 0,
            authorized: Table::new(MAX_MEMBERS, MAX_MEMBERS),
        }
    }
}

impl Directory {
    /// The group, if anybody is known in it or something waits for it.
    pub(super) fn group(&self, network: NetworkId, group: MulticastGroup) -> Option<&Group> {
        work::step();
        self.groups.get(&(network, group))
    }

    /// The group, to send to, made if need be; `None` when frames wait for too many.
    pub(super) fn group_mut(&mut self, network: NetworkId, group: MulticastGroup) -> Option<&mut Group> {
        match self.groups.entry((network, group)) {
            Entry::Vacant(_) if self.sent >= MAX_SENT_GROUPS => None,
            Entry::Vacant(entry) => {
                self.sent += 1;
                Some(entry.insert(Group::default()))
            }
            Entry::Occupied(entry) => Some(entry.into_mut()),
        }
    }

    /// Adds or refreshes a subscriber. True when it is new. When there are too many, those of the greediest prefix go, strangers'
    /// first.
    pub(super) fn add(
        &mut self,
        now: Time,
        network: NetworkId,
        group: MulticastGroup,
        member: Address,
        announcer: Announcer,
    ) -> bool {
        let key = (network, group, member);
        let new = self.forget(&key).is_none();
        let count = self.of_member.entry(member).or_default();
        if *count >= MAX_SUBSCRIPTIONS_PER_MEMBER {
            return false;
        }
        *count += 1;
        self.groups.entry((network, group)).or_default().add(announcer, member);
        if let Some((gone, announcer)) = self.subscriptions.insert(now, announcer, key, announcer) {
            self.forgotten(gone, announcer);
        }
        new
    }

    /// Removes a subscriber.
    pub(super) fn remove(&mut self, network: NetworkId, group: MulticastGroup, member: Address) {
        self.forget(&(network, group, member));
    }

    fn forget(&mut self, key: &Subscription) -> Option<()> {
        let announcer = self.subscriptions.remove(key)?;
        self.forgotten(*key, announcer);
        Some(())
    }

    /// A subscription is no longer in the table.
    fn forgotten(&mut self, (network, group, member): Subscription, announcer: Announcer) {
        if let Some(count) = self.of_member.get_mut(&member) {
            *count -= 1;
            if *count == 0 {
                self.of_member.remove(&member);
            }
        }
        if let Some(entry) = self.groups.get_mut(&(network, group)) {
            entry.remove(announcer, member);
            if entry.is_empty() && entry.pending.is_empty() && entry.last_gather.is_none() {
                self.groups.remove(&(network, group));
            }
        }
    }

    /// Queues a multicast for subscribers yet to come.
    pub(super) fn enqueue(&mut self, network: NetworkId, group: MulticastGroup, pending: Pending) {
        if let Some(group) = self.group_mut(network, group) {
            if group.pending.len() >= MAX_PENDING_MULTICASTS {
                group.pending.pop_front();
            }
            group.pending.push_back(pending);
        }
    }

    /// Our controller has just given `member` a configuration of `network`.
    pub(super) fn authorize(&mut self, now: Time, network: NetworkId, member: Address) {
        self.authorized.insert(now, network, (network, member), now);
    }

    /// Whether our controller has given `member` a configuration of `network` lately.
    pub(super) fn is_authorized(&self, now: Time, network: NetworkId, member: Address) -> bool {
        self.authorized.get(&(network, member)).is_some_and(|at| now - *at < CONTROLLER_AUTHORIZATION)
    }

    /// Forgets subscribers that went silent, multicasts nobody came for, and old authorizations.
    pub(super) fn expire(&mut self, now: Time) {
        for (key, announcer) in self.subscriptions.expire(now - MULTICAST_EXPIRY) {
            self.forgotten(key, announcer);
        }
        self.sent = 0;
        let sent = &mut self.sent;
        self.groups.retain(|_, group| {
            group.pending.retain(|p| now - p.since < MULTICAST_LIFETIME);
            let waited_for =
                !group.pending.is_empty() || group.last_gather.is_some_and(|at| now - at < GATHER);
            if !waited_for {
                group.last_gather = None;
            }
            *sent += usize::from(waited_for);
            !group.is_empty() || waited_for
        });
        self.authorized.expire(now - CONTROLLER_AUTHORIZATION);
    }
}

#[cfg(feature = "work")]
impl Directory {
    /// See `filling`: half of the subscriptions are of one group, the others of a group each.
    pub(super) fn fill(&mut self, now: Time, network: NetworkId, peer: impl Fn(u64) -> Address) {
        for number in 0..4 * MAX_SUBSCRIPTIONS as u64 {
            if self.subscriptions.len() >= MAX_SUBSCRIPTIONS {
                break;
            }
            let adi = if number % 2 == 0 { 0 } else { !(number as u32) };
            let group = MulticastGroup { mac: Mac::BROADCAST, adi };
            let ip = std::net::Ipv4Addr::from(0x3200_0000 + (number as u32) * 16);
            let source = Source::of(std::net::IpAddr::V4(ip));
            self.add(now, network, group, peer(number), Announcer { stranger: true, source });
        }
        self.authorized.fill(now, |number| (network, (network, peer(number)), now));
    }

    /// See `filling`: subscriptions, groups, members, most members of one group, most multicasts waiting in one, authorizations.
    pub(super) fn sizes(&self) -> [usize; 6] {
        let members = self.groups.values().map(Group::len).max().unwrap_or(0);
        let pending = self.groups.values().map(|group| group.pending.len()).max().unwrap_or(0);
        let of_member = self.of_member.len();
        [self.subscriptions.len(), self.groups.len(), of_member, members, pending, self.authorized.len()]
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Mac, Span};
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const NETWORK: NetworkId = NetworkId(0x8056_c2e2_1c00_0001);

    fn announcer(stranger: bool, ip: [u8; 4]) -> Announcer {
        Announcer { stranger, source: Source::of(std::net::IpAddr::from(ip)) }
    }

    fn group(n: u32) -> MulticastGroup {
        MulticastGroup { mac: Mac([0xff; 6]), adi: n }
    }

    #[test]
    fn a_thousand_identities_on_one_machine_hide_nobody() {
        let mut directory = Directory::default();
        for n in 0..1_000 {
            directory.add(
                Time::EPOCH,
                NETWORK,
                group(0),
                Address::from_u64(1 + n),
                announcer(true, [192, 0, 2, 1]),
            );
        }
        let late = Address::from_u64(0x99_0000_0001);
        assert!(directory.add(Time::from_ms(1), NETWORK, group(0), late, announcer(true, [198, 51, 100, 1])));
        let member = Address::from_u64(0x11_0000_0001);
        directory.add(Time::from_ms(1), NETWORK, group(0), member, announcer(false, [203, 0, 113, 1]));
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..50 {
            let mut found = Vec::new();
            directory.group(NETWORK, group(0)).unwrap().sample(4, Address::NULL, &mut rng, &mut found);
            assert_eq!((found.len(), found[0]), (4, member), "members first");
            assert!(found.contains(&late), "every prefix has its turn: {found:?}");
        }
    }

    #[test]
    fn one_prefix_fills_its_share_and_pays_for_itself() {
        let mut directory = Directory::default();
        let greedy = announcer(true, [192, 0, 2, 1]);
        for n in 0..2 * MAX_SUBSCRIPTIONS_PER_SOURCE as u32 {
            let member = Address::from_u64(1 + u64::from(n) / 1_000);
            assert!(directory.add(Time::EPOCH, NETWORK, group(n), member, greedy));
        }
        assert_eq!(directory.subscriptions.len(), MAX_SUBSCRIPTIONS_PER_SOURCE);
        assert_eq!(directory.groups.len(), MAX_SUBSCRIPTIONS_PER_SOURCE, "empty groups go");
        let one = Address::from_u64(0x99_0000_0001);
        let accepted = (0..2_000)
            .filter(|n| directory.add(Time::EPOCH, NETWORK, group(*n), one, announcer(true, [10, 0, 0, 1])))
            .count();
        assert_eq!(accepted, MAX_SUBSCRIPTIONS_PER_MEMBER);
        directory.expire(Time::EPOCH + MULTICAST_EXPIRY + Span::ms(1));
        assert!(
            directory.groups.is_empty()
                && directory.of_member.is_empty()
                && directory.subscriptions.is_empty()
        );
    }
}
