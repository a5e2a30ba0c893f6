//! One network in memory: its record, its members, and the indexes that keep a request from looking at all of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use protocol::metadata::RequestMetadata;
use protocol::netconf::RuleLines;
use protocol::{Address, Identity, NetworkId, Span, Time};

use crate::source;
use crate::store::{Change, Store, StoreError};
use crate::time::Certificates;
use crate::token::{JoinToken, Tokens};
use api::{Member, Network, TokenId};

/// A member counts as online this long after its last accepted request.
pub(crate) const ONLINE_WINDOW: Span = Span::secs(120);
/// A member that has asked nothing for this long is not online, whatever was pushed to it.
const MAX_PUSHED: Span = Span::secs(30 * 60);

/// How long an address that was taken from a member waits for another before the pools may give it.
const FREED: Span = Span::secs(10 * 60);
/// Most such addresses of a network; one more is free at once.
const MAX_FREED: usize = 1024;

/// Most members of a network that nobody but themselves ever said anything about; the oldest is forgotten for a new
/// one. They come back with their next request, so nothing is lost but their place in the list.
pub const MAX_STRANGERS: usize = 10_000;

/// What a member said it can use; pushes need it again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Wants {
    /// Rules engine; 0 = none.
    pub(crate) rules_engine: u64,
    /// Whether it asked for the source lines of the rules.
    pub(crate) rule_lines: bool,
    /// Which run of a node that acknowledges revocations this is; 0 = it does not.
    pub(crate) run: u64,
}

impl From<&RequestMetadata> for Wants {
    fn from(metadata: &RequestMetadata) -> Self {
        Self { rules_engine: metadata.rules_engine, rule_lines: metadata.rule_lines, run: metadata.run }
    }
}

/// What is known about a member only while this process runs.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    /// Time of its last accepted request.
    pub(crate) last_request: Time,
    /// Whom pushes are made for.
    pub(crate) identity: Identity,
    /// What it asked for.
    pub(crate) wants: Wants,
    /// When it last got a configuration.
    pub(crate) configured: Option<Time>,
}

impl Live {
    /// Whether it is worth telling the member of changes. A zerotier-one puts its next request off with every configuration
    /// that is pushed to it, so a series of pushes must not make it count as gone.
    pub(crate) fn is_online(&self, now: Time) -> bool {
        let last = self.configured.map_or(self.last_request, |at| at.max(self.last_request));
        now - last < ONLINE_WINDOW && now - self.last_request < MAX_PUSHED
    }
}

/// What saving a member came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Saved {
    /// Nothing but the revision would have differed.
    Unchanged,
    /// It was not known before.
    Created,
    /// Its record is another one now.
    Changed,
}

#[derive(Debug)]
pub(crate) struct NetworkState {
    pub(crate) record: Network,
    lines: RuleLines,
    members: BTreeMap<Address, Member>,
    live: HashMap<Address, Live>,
    /// Addresses of authorized members: each has one holder.
    held: BTreeSet<(IpAddr, Address)>,
    /// Addresses that are still written in the records of members that are out.
    written: BTreeSet<(IpAddr, Address)>,
    /// Addresses that somebody just took from a member, and when.
    freed: BTreeMap<IpAddr, Time>,
    bridges: BTreeSet<Address>,
    strangers: BTreeSet<(Time, Address)>,
    authorized: usize,
    /// Members that let themselves in and hold addresses of the pools.
    lent: usize,
    /// When idle members were last looked for.
    pub(crate) reclaimed: Option<Time>,
    tokens: Tokens,
    /// What time its certificates have.
    pub(crate) certificates: Certificates,
    /// Members whose log-in was told by somebody with this machine's clock.
    pub(crate) logins_here: BTreeSet<Address>,
}

impl NetworkState {
    pub(crate) fn new(record: Network) -> Self {
        Self {
            lines: source::lines(&record),
            record,
            members: BTreeMap::new(),
            live: HashMap::new(),
            held: BTreeSet::new(),
            written: BTreeSet::new(),
            freed: BTreeMap::new(),
            bridges: BTreeSet::new(),
            strangers: BTreeSet::new(),
            authorized: 0,
            lent: 0,
            reclaimed: None,
            tokens: Tokens::default(),
            certificates: Certificates::default(),
            logins_here: BTreeSet::new(),
        }
    }

    /// Its join tokens.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Takes a join token in without storing it: for loading.
    pub(crate) fn put_token(&mut self, token: JoinToken) {
        self.tokens.put(token);
    }

    /// Saves a join token and forgets others, first in the store.
    pub(crate) fn save_token(
        &mut self,
        store: &mut dyn Store,
        token: JoinToken,
        forgotten: &[TokenId],
    ) -> Result<(), StoreError> {
        let network = self.record.id;
        let mut changes: Vec<Change> =
            forgotten.iter().map(|id| Change::DeleteToken { network, token: id.to_string() }).collect();
        changes.push(put_token(network, &token));
        store.commit(&changes)?;
        for id in forgotten {
            self.tokens.remove(*id);
        }
        self.tokens.put(token);
        Ok(())
    }

    /// Notes that this process made a token.
    pub(crate) fn note_fresh_token(&mut self, id: TokenId) {
        self.tokens.note_fresh(id);
    }

    /// Puts tokens in place of those of the same IDs, and gives what has to be stored.
    pub(crate) fn put_tokens(&mut self, changed: Vec<JoinToken>) -> Vec<Change> {
        let network = self.record.id;
        let changes = changed.iter().map(|token| put_token(network, token)).collect();
        for token in changed {
            self.tokens.put(token);
        }
        changes
    }

    /// The source lines of the rules in force, as far as they are known.
    pub(crate) fn lines(&self) -> &RuleLines {
        &self.lines
    }

    pub(crate) fn members(&self) -> &BTreeMap<Address, Member> {
        &self.members
    }

    pub(crate) fn member(&self, address: Address) -> Option<&Member> {
        self.members.get(&address)
    }

    /// Members with `authorized`.
    pub(crate) fn authorized(&self) -> usize {
        self.authorized
    }

    /// Members that let themselves in and hold addresses of the pools.
    pub(crate) fn lent(&self) -> usize {
        self.lent
    }

    /// Members nobody but themselves ever said anything about.
    pub(crate) fn strangers(&self) -> usize {
        self.strangers.len()
    }

    /// Members with `activeBridge`, ascending.
    pub(crate) fn bridges(&self) -> &BTreeSet<Address> {
        &self.bridges
    }

    /// The first other member that holds an address: who is out holds nothing, whatever its record says.
    pub(crate) fn holder(&self, ip: IpAddr, except: Address) -> Option<Address> {
        self.held
            .range((ip, Address::NULL)..)
            .take_while(|(held, _)| *held == ip)
            .map(|(_, member)| *member)
            .find(|member| *member != except)
    }

    /// Whether the pools give an address only when nothing else is left: a member that is out may come back for it, or
    /// somebody is about to give it to another.
    pub(crate) fn is_spoken_for(&self, now: Time, ip: IpAddr, except: Address) -> bool {
        let mut written = self.written.range((ip, Address::NULL)..).take_while(|(written, _)| *written == ip);
        written.any(|(_, member)| *member != except)
            || self.freed.get(&ip).is_some_and(|at| (Span::ZERO..FREED).contains(&(now - *at)))
    }

    /// Whether there is any such address.
    pub(crate) fn has_spoken_for(&self) -> bool {
        !self.written.is_empty() || !self.freed.is_empty()
    }

    /// Notes addresses that were taken from a member on purpose: the pools must not hand them out before whoever did that
    /// has given them to another. Without this, two members could not swap addresses.
    pub(crate) fn note_freed(&mut self, now: Time, ips: impl IntoIterator<Item = IpAddr>) {
        self.freed.retain(|_, at| (Span::ZERO..FREED).contains(&(now - *at)));
        for ip in ips {
            if self.freed.len() < MAX_FREED {
                self.freed.insert(ip, now);
            }
        }
    }

    pub(crate) fn live(&self, member: Address) -> Option<&Live> {
        self.live.get(&member)
    }

    pub(crate) fn live_mut(&mut self, member: Address) -> Option<&mut Live> {
        self.live.get_mut(&member)
    }

    /// Remembers a request of a member that has a record. Keeps what an earlier one left about configurations.
    pub(crate) fn heard(&mut self, member: Address, mut live: Live) {
        if self.members.contains_key(&member) {
            live.configured =
                live.configured.or_else(|| self.live.get(&member).and_then(|old| old.configured));
            self.live.insert(member, live);
        }
    }

    /// Addresses of the online members, ascending.
    pub(crate) fn online(&self, now: Time) -> Vec<Address> {
        let mut online: Vec<Address> =
            self.live.iter().filter(|(_, live)| live.is_online(now)).map(|(address, _)| *address).collect();
        online.sort_unstable();
        online
    }

    /// Takes a member in without storing it: for loading.
    pub(crate) fn put(&mut self, member: Member) {
        let address = member.address;
        self.forget_indexes(address);
        let addresses = if member.authorized { &mut self.held } else { &mut self.written };
        addresses.extend(member.ip_assignments.iter().map(|ip| (*ip, address)));
        if member.active_bridge {
            self.bridges.insert(address);
        }
        if member.is_stranger() {
            self.strangers.insert((Time::from_ms(member.creation_time), address));
        }
        self.authorized += usize::from(member.authorized);
        self.lent += usize::from(borrows(&member));
        self.members.insert(address, member);
    }

    fn forget_indexes(&mut self, address: Address) {
        if let Some(old) = self.members.get(&address) {
            for ip in &old.ip_assignments {
                self.held.remove(&(*ip, address));
                self.written.remove(&(*ip, address));
            }
            self.bridges.remove(&address);
            self.strangers.remove(&(Time::from_ms(old.creation_time), address));
            self.authorized -= usize::from(old.authorized);
            self.lent -= usize::from(borrows(old));
        }
    }

    fn remove(&mut self, address: Address) -> Option<Member> {
        self.forget_indexes(address);
        self.live.remove(&address);
        self.logins_here.remove(&address);
        self.members.remove(&address)
    }

    /// Saves a member: first in the store, then here, so that nobody is told what a crash could undo. A `token` that let it
    /// in and what there is in `also` are stored in the same step.
    pub(crate) fn save_member(
        &mut self,
        store: &mut dyn Store,
        mut member: Member,
        token: Option<JoinToken>,
        also: Vec<Change>,
    ) -> Result<Saved, StoreError> {
        let old = self.members.get(&member.address).cloned();
        member.revision = old.as_ref().map_or(0, |old| old.revision);
        if old.as_ref() == Some(&member) {
            return Ok(Saved::Unchanged);
        }
        member.revision += 1;
        let network = self.record.id;
        let mut changes =
            vec![Change::PutMember { network, member: member.address, record: api::json(&member) }];
        changes.extend(token.as_ref().map(|token| put_token(network, token)));
        changes.extend(also);
        let crowded = old.is_none() && member.is_stranger() && self.strangers.len() >= MAX_STRANGERS;
        let evicted = if crowded { self.strangers.first().map(|(_, oldest)| *oldest) } else { None };
        if let Some(oldest) = evicted {
            changes.push(Change::DeleteMember { network, member: oldest });
        }
        store.commit(&changes)?;
        if let Some(oldest) = evicted {
            self.remove(oldest);
        }
        self.put(member);
        if let Some(token) = token {
            self.tokens.put(token);
        }
        Ok(if old.is_some() { Saved::Changed } else { Saved::Created })
    }

    /// Removes a member, first from the store. `also` is stored in the same step.
    pub(crate) fn delete_member(
        &mut self,
        store: &mut dyn Store,
        address: Address,
        also: Vec<Change>,
    ) -> Result<Option<Member>, StoreError> {
        if !self.members.contains_key(&address) {
            return Ok(None);
        }
        let mut changes = vec![Change::DeleteMember { network: self.record.id, member: address }];
        changes.extend(also);
        store.commit(&changes)?;
        Ok(self.remove(address))
    }

    /// Saves the network's own record; false when nothing but the revision differs. `also` is stored in the same step.
    pub(crate) fn save_network(
        &mut self,
        store: &mut dyn Store,
        mut record: Network,
        also: Vec<Change>,
    ) -> Result<bool, StoreError> {
        record.revision = self.record.revision;
        if record == self.record && record.revision > 0 {
            return Ok(false);
        }
        record.revision += 1;
        let mut changes = vec![self.put_record(&record)];
        changes.extend(also);
        store.commit(&changes)?;
        let same_rules = record.rules_source == self.record.rules_source
            && record.rules == self.record.rules
            && record.capabilities == self.record.capabilities;
        if !same_rules {
            self.lines = source::lines(&record);
        }
        self.record = record;
        Ok(true)
    }
}

fn put_token(network: NetworkId, token: &JoinToken) -> Change {
    Change::PutToken { network, token: token.id.to_string(), record: token.stored() }
}

/// Whether a member let itself in and holds addresses of the pools.
fn borrows(member: &Member) -> bool {
    member.came_by_itself() && !member.automatic.is_empty()
}
