//! The controller: its networks, and what it does when a member asks.

use std::collections::BTreeMap;

use api::{Member, Network, Version};
use protocol::credential::{Revocation, Signed};
use protocol::metadata::RequestMetadata;
use protocol::{Address, Identity, NetworkId, SecretIdentity, Span, Time};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tracing::{debug, error, info, warn};

use crate::admission::{self, Claim, NotTheSame, Standing};
use crate::counts::Counts;
use crate::courier::{Acknowledgement, Courier};
use crate::grant::{self, Grant};
use crate::lease::Idle;
use crate::legacy::{KeptRevocation, Legacy};
use crate::login::Logins;
use crate::networks::{Networks, NoSuchNetwork};
use crate::push::Pushes;
use crate::rate::RateLimit;
use crate::signer::Signer;
use crate::state::{Live, NetworkState, Saved, Wants};
use crate::store::{Change, Store, StoreError};
use crate::time::{Clock, Moment, Times};
use crate::token::{Complaints, JoinToken};
use crate::tombstone::Tombstones;

/// How often is looked for what is of no more use.
const PRUNE: Span = Span::secs(600);

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
    /// Timestamp of the configuration in force there, as it says.
    pub held: Option<Time>,
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
    pub(crate) signer: Signer,
    pub(crate) store: Box<dyn Store>,
    pub(crate) networks: Networks,
    /// Networks that were deleted.
    pub(crate) tombstones: Tombstones,
    /// Who is out for good, and who knows of it.
    pub(crate) courier: Courier,
    pub(crate) pushes: Pushes,
    pub(crate) logins: Logins,
    pub(crate) clock: Clock,
    pub(crate) counts: Counts,
    /// When was last looked for what may be forgotten.
    pruned: Option<Time>,
    limit: RateLimit,
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
        let mut signer = Signer { identity, random };
        let mut networks = Networks::load(&records);
        let courier = Courier::load(&mut signer, &records);
        for (network, threshold) in courier.thresholds() {
            networks.issue_after(network, threshold);
        }
        Ok(Self {
            signer,
            store,
            networks,
            tombstones: Tombstones::load(&records),
            courier,
            pushes: Pushes::default(),
            logins: Logins::default(),
            clock: Clock::default(),
            counts: Counts::default(),
            pruned: None,
            limit: RateLimit::default(),
            complaints: Complaints::default(),
        })
    }

    /// The controller's own address: the first ten digits of its networks' IDs.
    #[must_use]
    pub fn address(&self) -> Address {
        self.signer.address()
    }

    /// IDs of all networks, ascending.
    pub fn networks(&self) -> impl Iterator<Item = NetworkId> + '_ {
        self.networks.ids()
    }

    /// Members of a network nobody but themselves ever said anything about; at most [`crate::MAX_STRANGERS`].
    #[must_use]
    pub fn strangers(&self, network: NetworkId) -> usize {
        self.networks.get(network).map_or(0, NetworkState::strangers)
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let members = self.networks.iter().map(|state| state.members().len() as u64).sum();
        Counts { networks: self.networks.len() as u64, members, ..self.counts }
    }

    /// Networks whose certificates run ahead of the wall clock, and by how much.
    #[must_use]
    pub fn leads(&self, now: Time) -> BTreeMap<String, Span> {
        self.networks.leads(self.clock.wall(now))
    }

    /// Says what the wall clock shows at `now`. To be called at the start, often, and before a change:
    /// a clock that was set is noticed here. Until the first call the wall clock is taken to show `now`.
    ///
    /// A step forward is taken at once, and all members get certificates of the new time. After a step back, certificate
    /// time runs on where it was.
    pub fn set_wall(&mut self, now: Time, wall: Time) -> Vec<Action> {
        let Some(step) = self.clock.set(now, wall) else { return Vec::new() };
        let changes = self.networks.clock_set(&step);
        if step.was_wrong() {
            self.logins.follow(&self.networks);
        }
        if !changes.is_empty() {
            let records = changes.len();
            match self.store.commit(&changes) {
                Ok(()) => info!(records, "times that the wrong clock had written were corrected"),
                Err(problem) => {
                    error!("times that the wrong clock had written come back at the next start: {problem}");
                }
            }
        }
        let (seconds, networks) = (step.by.abs() / Span::secs(1), self.networks.len());
        if step.by < Span::ZERO {
            warn!(
                seconds,
                networks,
                "the clock was set back; certificates run on from the time they had, since members drop older ones"
            );
            return Vec::new();
        }
        info!(seconds, networks, "the clock was set forward; all members get new certificates");
        for state in self.networks.iter() {
            self.pushes.put_network(now, state);
        }
        self.tick(now)
    }

    /// Stores exactly how far certificates have come. Without it, after a crash, they stand still for a minute at most.
    ///
    /// # Errors
    /// What the store says.
    pub fn settle(&mut self) -> Result<(), StoreError> {
        let changes = self.networks.settle();
        if changes.is_empty() { Ok(()) } else { self.store.commit(&changes) }
    }

    /// Ends this controller and closes its store.
    #[must_use]
    pub fn into_legacy(self) -> Legacy {
        Legacy {
            revocations: self.courier.legacy(),
            tombstones: self.tombstones.iter().collect(),
            certificates: self.networks.issued().collect(),
            clock: self.clock,
        }
    }

    /// Takes over the revocations, and the deleted networks that are not there again.
    ///
    /// # Errors
    /// What the store says; nothing is taken over then.
    pub fn inherit(&mut self, legacy: &Legacy) -> Result<(), StoreError> {
        let mut news = legacy.revocations.clone();
        news.retain(|kept| self.courier.is_news(kept));
        let mut gone = legacy.tombstones.clone();
        gone.retain(|(network, _)| {
            self.networks.get(*network).is_none() && self.tombstones.get(*network).is_none()
        });
        let revocations = news.iter().map(KeptRevocation::change);
        let tombstones = gone.iter().map(|(network, tombstone)| Change::PutTombstone {
            network: *network,
            record: api::json(tombstone),
        });
        let changes: Vec<Change> = revocations.chain(tombstones).collect();
        for (network, last) in &legacy.certificates {
            self.networks.issued_until(*network, *last);
        }
        self.clock.inherit(legacy.clock);
        if changes.is_empty() {
            return Ok(());
        }
        self.store.commit(&changes)?;
        self.courier.inherit(&mut self.signer, news);
        self.tombstones.inherit(gone);
        Ok(())
    }

    /// The times of a call. Once in a while, what is of no more use is forgotten.
    pub(crate) fn begin(&mut self, now: Time) -> Moment {
        let at = self.clock.begin(now);
        if !self.pruned.is_some_and(|at| (Span::ZERO..PRUNE).contains(&(now - at))) {
            self.pruned = Some(now);
            self.courier.prune(self.store.as_mut(), &self.networks, at.wall);
            self.tombstones.prune(self.store.as_mut(), at.wall);
        }
        at
    }

    /// A member keeps what it was brought.
    pub fn acknowledged(&mut self, now: Time, word: Acknowledgement) {
        self.courier.acknowledged(now, word);
    }

    /// A member's NETWORK_CONFIG_REQUEST, or that of this very node.
    ///
    /// Nothing is answered about networks of other controllers and to requests that come too fast.
    pub fn request(&mut self, now: Time, request: Request) -> Vec<Action> {
        let Request { network, member: identity, metadata, packet_id, held } = request;
        let member = identity.address;
        if !self.signer.owns(network) || !self.limit.admits(now, network, member) {
            return Vec::new();
        }
        self.counts.requests += 1;
        let at = self.begin(now);
        let gone = self.tombstones.answer(&mut self.signer, network, member, packet_id, held);
        if let Some(actions) = gone {
            return actions;
        }
        let metadata = RequestMetadata::from_dictionary(&metadata);
        let asked = Asked { metadata: &metadata };
        match self.decide(at, network, &identity, Some(asked), Wants::from(&metadata)) {
            Ok(config) => {
                let mut actions = vec![self.signer.config(member, network, Some(packet_id), config)];
                self.courier.asked(now, network, member, metadata.run);
                actions.extend(self.courier.bring(&self.signer.identity, &self.networks, now));
                actions
            }
            Err(Refusal { code, detail }) => {
                vec![Action::Refuse { member, network, in_re: packet_id, code, detail }]
            }
        }
    }

    /// Authorization and, if granted, the configuration as a dictionary; the member's record is saved before this
    /// returns. `asked` is what came with a genuine request, `None` for a push.
    pub(crate) fn decide(
        &mut self,
        at: Moment,
        network: NetworkId,
        identity: &Identity,
        asked: Option<Asked<'_>>,
        wants: Wants,
    ) -> Result<Vec<u8>, Refusal> {
        let address = identity.address;
        let Moment { now, wall, .. } = at;
        let state = self.networks.find(network)?;
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
                let granted = self.grant(at, network, &member, identity, wants)?;
                (Some(granted.config), granted.member)
            }
            Standing::Login | Standing::Denied => (None, admission.member),
        };

        self.save_admitted(known.authorized, member, admission.used)?;
        let state = self.networks.find_mut(network)?;
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
            self.logins.note(member);
        }
        // Whatever was waiting to be pushed is in this one.
        self.pushes.done(network, address);
        Ok(config.to_dictionary().into_bytes())
    }

    /// The configuration of a member that is in, and its record with what it is given by this. Addresses of idle members are
    /// taken back when it is time to, or when none is left for this one.
    fn grant(
        &mut self,
        at: Moment,
        network: NetworkId,
        member: &Member,
        identity: &Identity,
        wants: Wants,
    ) -> Result<Grant, Refusal> {
        let Moment { now, wall, started } = at;
        let state = self.networks.find_mut(network)?;
        let idle = Idle { now, started, except: member.address };
        idle.reclaim(state, self.store.as_mut(), false);
        let issue = state.certificate_time(self.store.as_mut(), wall);
        let times = Times { now, wall, issue };
        let Signer { identity: signer, random } = &mut self.signer;
        let mut granted = grant::build(times, signer, random, state, member, identity, wants);
        if grant::lacks_address(&state.record, &granted.member)
            && idle.reclaim(state, self.store.as_mut(), true)
        {
            let member = &granted.member;
            granted = grant::build(times, signer, random, state, member, identity, wants);
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
        let state = self.networks.find_mut(network)?;
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
                let detail = grant::sso(network, None).to_error().into_bytes();
                Self { code: CODE_AUTHENTICATION_REQUIRED, detail: Some(detail) }
            }
            Standing::In | Standing::Denied => Self::code(CODE_ACCESS_DENIED),
        }
    }
}

impl From<NoSuchNetwork> for Refusal {
    fn from(NoSuchNetwork: NoSuchNetwork) -> Self {
        Self::code(CODE_NOT_FOUND)
    }
}
