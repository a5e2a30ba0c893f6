//! The controller: its networks, and what it does when a member asks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use protocol::credential::{Revocation, Signed};
use protocol::metadata::RequestMetadata;
use protocol::verbs::config_chunk;
use protocol::{Address, Identity, NetworkId, SecretIdentity};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tracing::{debug, error, info, warn};

use crate::admission::{self, Claim, NotTheSame, Standing};
use crate::counts::Counts;
use crate::courier::Ledger;
use crate::grant::{self, Grant};
use crate::http::Origin;
use crate::lease::Idle;
use crate::state::{Live, NetworkState, Saved, Wants};
use crate::store::{Store, StoreError};
use crate::time::{StoredNetwork, Times};
use crate::token::{Complaints, JoinToken};
use crate::tombstone::Tombstone;
use api::{Member, Network, Version};

/// A member is heard once in this time, ms; what comes sooner is dropped.
const REQUEST_INTERVAL: i64 = 1000;

/// Senders whose last request is remembered for the rate limit.
const MAX_RATE_ENTRIES: usize = 16_384;

/// ERROR code: no such network, or an internal failure.
pub const CODE_NOT_FOUND: u8 = 0x03;
/// ERROR code: not a member.
pub const CODE_ACCESS_DENIED: u8 = 0x07;
/// ERROR code: authenticate first; the detail says where.
pub const CODE_AUTHENTICATION_REQUIRED: u8 = 0x09;

/// A member's NETWORK_CONFIG_REQUEST.
#[derive(Clone, Debug)]
pub struct Request {
    /// The network it asks about.
    pub network: NetworkId,
    /// The identity it proved on VL1.
    pub member: Identity,
    /// Its metadata dictionary; bytes after the first 1023 are ignored.
    pub metadata: Vec<u8>,
    /// The packet to answer.
    pub packet_id: u64,
    /// Timestamp of the configuration in force there, as it says; 0 for none.
    pub held: i64,
}

/// What the node has to send on the controller's behalf.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A configuration.
    Config {
        /// For whom.
        member: Address,
        /// Of which network.
        network: NetworkId,
        /// The request packet it answers (OK), or none for a push (NETWORK_CONFIG).
        in_re: Option<u64>,
        /// Payloads, each a configuration chunk from the network ID through the signature.
        chunks: Vec<Vec<u8>>,
        /// The same, uncut: for delivery to this very node.
        dictionary: Vec<u8>,
        /// The last one of a deleted network: it makes nobody a member.
        last: bool,
    },
    /// ERROR(NETWORK_CONFIG_REQUEST).
    Refuse {
        /// For whom.
        member: Address,
        /// Of which network.
        network: NetworkId,
        /// The request packet it answers.
        in_re: u64,
        /// [`CODE_NOT_FOUND`], [`CODE_ACCESS_DENIED`] or [`CODE_AUTHENTICATION_REQUIRED`].
        code: u8,
        /// A dictionary with details.
        detail: Option<Vec<u8>>,
    },
    /// A revocation, to be sent to each in a NETWORK_CREDENTIALS packet of its own.
    Revoke {
        /// Everybody online in the network.
        to: Vec<Address>,
        /// What is revoked.
        revocation: Signed<Revocation>,
    },
    /// Revocations that a member may have missed.
    Bring {
        /// For whom.
        member: Address,
        /// Of which network.
        network: NetworkId,
        /// What is revoked; as many as one packet holds. Nobody passes them on.
        revocations: Vec<Signed<Revocation>>,
        /// The number that a node which acknowledges gives back; `None` for one that cannot, which gets them in a
        /// NETWORK_CREDENTIALS packet.
        ask: Option<u64>,
    },
}

/// The networks of one identity. Sans I/O but for its [`Store`]: time comes in, packets go out as [`Action`]s.
pub struct Controller {
    pub(crate) identity: SecretIdentity,
    pub(crate) store: Box<dyn Store>,
    pub(crate) networks: BTreeMap<NetworkId, NetworkState>,
    pub(crate) random: StdRng,
    /// Members to be sent their configuration unasked.
    pub(crate) pushes: BTreeSet<(NetworkId, Address)>,
    /// When whose authentication ends.
    pub(crate) expiries: BTreeSet<(i64, NetworkId, Address)>,
    /// Revocations that stand, and who knows of them; also of networks that are gone.
    pub(crate) revoked: BTreeMap<NetworkId, Ledger>,
    /// When whom revocations are to be brought.
    pub(crate) due: BTreeSet<(i64, NetworkId, Address)>,
    /// Networks that were deleted.
    pub(crate) tombstones: BTreeMap<NetworkId, Tombstone>,
    /// When this process was first asked for anything.
    pub(crate) started: Option<i64>,
    /// When was last looked for what may be forgotten.
    pub(crate) pruned: i64,
    /// The wall clock less `now`, ms.
    pub(crate) correction: i64,
    /// When the wall clock was first told.
    pub(crate) clock_began: Option<i64>,
    /// Who asks for what is being done.
    pub(crate) origin: Origin,
    pub(crate) counts: Counts,
    heard: HashMap<(NetworkId, Address), i64>,
    complaints: Complaints,
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller")
            .field("address", &self.address())
            .field("networks", &self.networks.len())
            .finish_non_exhaustive()
    }
}

impl Controller {
    /// Loads all records.
    ///
    /// # Errors
    /// What the store says.
    pub fn open(identity: SecretIdentity, store: Box<dyn Store>) -> Result<Self, StoreError> {
        Self::open_seeded(identity, store, rand::make_rng())
    }

    /// [`Controller::open`] with a chosen source of randomness, for runs that must repeat exactly.
    ///
    /// # Errors
    /// What the store says.
    pub fn open_with_seed(
        identity: SecretIdentity,
        store: Box<dyn Store>,
        seed: [u8; 32],
    ) -> Result<Self, StoreError> {
        Self::open_seeded(identity, store, StdRng::from_seed(seed))
    }

    fn open_seeded(
        identity: SecretIdentity,
        mut store: Box<dyn Store>,
        random: StdRng,
    ) -> Result<Self, StoreError> {
        let records = store.load()?;
        // A record without a creation time is older than all that have one.
        let mut networks: BTreeMap<NetworkId, NetworkState> = records
            .networks
            .iter()
            .map(|(id, record)| {
                let StoredNetwork::<Network> { network, certificate_mark } = api::read(record);
                let mut state = NetworkState::new(network.kept_as(*id));
                state.certificates.not_before(certificate_mark);
                (*id, state)
            })
            .collect();
        for (network, address, record) in &records.members {
            if let Some(state) = networks.get_mut(network) {
                state.put(api::read::<Member>(record).kept_as(*network, *address));
            }
        }
        for (network, id, record) in &records.tokens {
            let token = id.parse().ok().and_then(|id| JoinToken::from_stored(*network, id, record));
            match (token, networks.get_mut(network)) {
                (Some(token), Some(state)) => state.put_token(token),
                _ => warn!(%network, token = id, "the record of a join token is damaged; it lets nobody in"),
            }
        }
        let tombstones =
            records.tombstones.iter().map(|(network, record)| (*network, api::read(record))).collect();
        let mut controller = Self {
            identity,
            store,
            networks,
            random,
            pushes: BTreeSet::new(),
            expiries: BTreeSet::new(),
            revoked: BTreeMap::new(),
            due: BTreeSet::new(),
            tombstones,
            started: None,
            pruned: 0,
            correction: 0,
            clock_began: None,
            origin: Origin::default(),
            counts: Counts::default(),
            heard: HashMap::new(),
            complaints: Complaints::default(),
        };
        for (network, member, record) in &records.revocations {
            let standing = &mut controller.ledger(*network).standing;
            standing.put_stored(*member, record);
            let threshold = standing.get(*member).map_or(0, |revoked| revoked.threshold);
            if let Some(state) = controller.networks.get_mut(network) {
                state.certificates.not_before(threshold.saturating_add(1));
            }
        }
        Ok(controller)
    }

    /// The controller's own address: the first ten digits of its networks' IDs.
    #[must_use]
    pub fn address(&self) -> Address {
        self.identity.identity().address
    }

    /// IDs of all networks, ascending.
    pub fn networks(&self) -> impl Iterator<Item = NetworkId> + '_ {
        self.networks.keys().copied()
    }

    /// Members of a network nobody but themselves ever said anything about; at most [`crate::MAX_STRANGERS`].
    #[must_use]
    pub fn strangers(&self, network: NetworkId) -> usize {
        self.networks.get(&network).map_or(0, NetworkState::strangers)
    }

    /// A member's NETWORK_CONFIG_REQUEST, or that of this very node.
    ///
    /// Nothing is answered about networks of other controllers and to requests that come too fast.
    pub fn request(&mut self, now: i64, request: Request) -> Vec<Action> {
        let Request { network, member: identity, metadata, packet_id, held } = request;
        let member = identity.address;
        if network.controller() != self.address() || !self.admit(now, (network, member)) {
            return Vec::new();
        }
        self.counts.requests += 1;
        self.prune_revoked(now);
        if let Some(actions) = self.answer_of_deleted(network, member, packet_id, held) {
            return actions;
        }
        let metadata = RequestMetadata::from_dictionary(&metadata);
        let answer =
            self.decide(now, network, &identity, Some(Asked { metadata: &metadata }), Wants::from(&metadata));
        match answer {
            Ok(config) => {
                let mut actions = vec![self.config_action(member, network, Some(packet_id), config)];
                self.bring_after_request(now, network, member, metadata.run);
                actions.extend(self.bring(now));
                actions
            }
            Err(Refusal { code, detail }) => {
                vec![Action::Refuse { member, network, in_re: packet_id, code, detail }]
            }
        }
    }

    /// The rate limit. What it remembers is bounded: senders that are already free to ask again are forgotten.
    fn admit(&mut self, now: i64, key: (NetworkId, Address)) -> bool {
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

    /// Authorization and, if granted, the configuration as a dictionary; the member's record is saved before this
    /// returns. `asked` is what came with a genuine request, `None` for a push.
    pub(crate) fn decide(
        &mut self,
        now: i64,
        network: NetworkId,
        identity: &Identity,
        asked: Option<Asked<'_>>,
        wants: Wants,
    ) -> Result<Vec<u8>, Refusal> {
        let address = identity.address;
        let wall = self.wall(now);
        let state = self.networks.get(&network).ok_or(Refusal::code(CODE_NOT_FOUND))?;
        let known = state.member(address).cloned().unwrap_or_else(|| Member::new(network, address, wall));

        let claim = Claim { identity, token: asked.and_then(|asked| asked.token()) };
        let admission = admission::admit(wall, state, &known, claim)
            .map_err(|NotTheSame| Refusal::code(CODE_ACCESS_DENIED))?;
        if let Some(refused) = admission.refused {
            self.complaints.tell(now, network, address, refused);
        }

        let (config, member) = match admission.standing {
            Standing::In => {
                let member = match asked {
                    Some(asked) => asked.told_by(admission.member),
                    None => admission.member,
                };
                let granted = self.grant(now, network, &member, identity, wants)?;
                (Some(granted.config), granted.member)
            }
            Standing::Login | Standing::Denied => (None, admission.member),
        };

        self.save_admitted(known.authorized, member, admission.used)?;
        let state = self.networks.get_mut(&network).ok_or(Refusal::code(CODE_NOT_FOUND))?;
        if asked.is_some() {
            let live = Live { last_request: now, identity: identity.clone(), wants, configured: None };
            state.heard(address, live);
        }

        let Some(config) = config else {
            let refusal = Refusal::of(admission.standing, &state.record);
            debug!(%network, member = %address, code = refusal.code, "refused");
            return Err(refusal);
        };
        if let Some(live) = state.live_mut(address) {
            live.configured = Some(now);
        }
        if let Some(member) = state.member(address).filter(|member| admission::logs_in(&state.record, member))
        {
            self.expiries.insert((member.authentication_expiry, network, address));
        }
        // Whatever was waiting to be pushed is in this one.
        self.pushes.remove(&(network, address));
        Ok(config.to_dictionary().into_bytes())
    }

    /// The configuration of a member that is in, and its record with what it is given by this. Addresses of idle members are
    /// taken back when it is time to, or when none is left for this one.
    fn grant(
        &mut self,
        now: i64,
        network: NetworkId,
        member: &Member,
        identity: &Identity,
        wants: Wants,
    ) -> Result<Grant, Refusal> {
        let wall = self.wall(now);
        let started = *self.started.get_or_insert(now);
        let state = self.networks.get_mut(&network).ok_or(Refusal::code(CODE_NOT_FOUND))?;
        let idle = Idle { now, started, except: member.address };
        idle.reclaim(state, self.store.as_mut(), false);
        let issue = state.certificate_time(self.store.as_mut(), wall);
        let times = Times { now, wall, issue };
        let random = &mut self.random;
        let mut granted = grant::build(times, &self.identity, random, state, member, identity, wants);
        if grant::lacks_address(&state.record, &granted.member)
            && idle.reclaim(state, self.store.as_mut(), true)
        {
            let member = &granted.member;
            granted = grant::build(times, &self.identity, random, state, member, identity, wants);
        }
        Ok(granted)
    }

    /// Saves a member together with the join token that let it in: a use is counted if and only if somebody is in.
    fn save_admitted(
        &mut self,
        was_in: bool,
        member: Member,
        used: Option<JoinToken>,
    ) -> Result<(), Refusal> {
        let (network, address) = (member.network, member.address);
        let state = self.networks.get_mut(&network).ok_or(Refusal::code(CODE_NOT_FOUND))?;
        let let_in = member.authorized && !was_in;
        let by_token =
            used.as_ref().map(|token| (token.id, token.used, member.name.clone().unwrap_or_default()));
        let saved = state.save_member(self.store.as_mut(), member, used, Vec::new()).map_err(|problem| {
            error!(%network, member = %address, "request not answered: {problem}");
            Refusal::code(CODE_NOT_FOUND)
        })?;
        self.counts.member_changes += u64::from(saved != Saved::Unchanged);
        self.counts.authorizations += u64::from(let_in);
        if saved == Saved::Created {
            info!(%network, member = %address, "new member");
        }
        if let Some((token, use_number, name)) = by_token {
            info!(%network, member = %address, %token, use_number, name, "authorized by a join token");
        }
        Ok(())
    }

    /// Cuts and signs a configuration.
    pub(crate) fn config_action(
        &mut self,
        member: Address,
        network: NetworkId,
        in_re: Option<u64>,
        dictionary: Vec<u8>,
    ) -> Action {
        let update_id = self.random.next_u64().max(1);
        let chunks = config_chunk::cut(network, &dictionary, 0, update_id, &self.identity);
        Action::Config { member, network, in_re, chunks, dictionary, last: false }
    }
}

/// What came with a genuine request.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    metadata: &'a RequestMetadata,
}

impl<'a> Asked<'a> {
    /// The join token it brings (metadata key `a`, `token:T`).
    fn token(self) -> Option<&'a str> {
        self.metadata.authorization.strip_prefix("token:")
    }

    /// The member with what its node says that it runs.
    fn told_by(self, member: Member) -> Member {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let version = Version {
            major: number(self.metadata.major),
            minor: number(self.metadata.minor),
            revision: number(self.metadata.revision),
            protocol: number(self.metadata.protocol),
        };
        Member { version, acknowledges: self.metadata.run != 0, ..member }
    }
}

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: u8,
    pub(crate) detail: Option<Vec<u8>>,
}

impl Refusal {
    fn code(code: u8) -> Self {
        Self { code, detail: None }
    }

    /// What a node is told that is not let in, or not yet.
    fn of(standing: Standing, network: &Network) -> Self {
        match standing {
            Standing::Login => {
                let detail = grant::sso(network, 0).to_error().into_bytes();
                Self { code: CODE_AUTHENTICATION_REQUIRED, detail: Some(detail) }
            }
            Standing::In | Standing::Denied => Self::code(CODE_ACCESS_DENIED),
        }
    }
}
