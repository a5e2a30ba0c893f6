//! Join tokens: what lets a node in without anybody having to authorize it, and says what it is called, which tags it carries
//! and which addresses it holds.
//!
//! A token is shown once, when it is made; what is kept is its hash. The node brings it in the metadata of its configuration
//! request (key `a`, `token:…`), where a controller that knows nothing of such tokens passes it over.
//!
//! | module | subject |
//! |---|---|
//! | `record` | one token: its text, its record, whether it is still good |
//! | `requests` | making, listing and revoking tokens through the API |
//! | `complaints` | which refusals are worth a line in the log |

mod complaints;
mod record;
pub(crate) mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use protocol::{Span, Time};

use crate::state::NetworkState;
use api::{AuthorizedBy, Member, TokenId, TokenState};

pub(crate) use complaints::Complaints;
pub(crate) use record::JoinToken;

/// Most tokens of a network, those that are no longer good included.
pub const MAX_TOKENS: usize = 1000;
/// Most nodes a token can let in, when their number is bounded.
pub const MAX_USES: u32 = 1_000_000;
/// How long a token is good when nobody says: an hour.
pub const DEFAULT_LIFETIME: Span = Span::secs(3_600);
/// The longest time that can be asked for: ten years. A token may also be good for ever.
pub const MAX_LIFETIME: Span = Span::secs(3_650 * 86_400);
/// Longest name a token gives, bytes.
pub const MAX_NAME: usize = 128;

/// The tokens of one network.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    by_id: BTreeMap<TokenId, JoinToken>,
    /// Addresses that tokens give, whether they are still good or not.
    addresses: BTreeSet<(IpAddr, TokenId)>,
    /// Those made by this process, and so by its clock.
    fresh: BTreeSet<TokenId>,
}

impl Tokens {
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &JoinToken> {
        self.by_id.values()
    }

    pub(crate) fn get(&self, id: TokenId) -> Option<&JoinToken> {
        self.by_id.get(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether this process made a token.
    pub(crate) fn is_fresh(&self, id: TokenId) -> bool {
        self.fresh.contains(&id)
    }

    /// Notes that this process made a token.
    pub(crate) fn note_fresh(&mut self, id: TokenId) {
        self.fresh.insert(id);
    }

    /// Takes a token in, in place of one of the same ID.
    pub(crate) fn put(&mut self, token: JoinToken) {
        self.forget_addresses(token.id);
        self.addresses.extend(token.ips.iter().map(|ip| (*ip, token.id)));
        self.by_id.insert(token.id, token);
    }

    pub(crate) fn remove(&mut self, id: TokenId) {
        self.forget_addresses(id);
        self.fresh.remove(&id);
    }

    fn forget_addresses(&mut self, id: TokenId) {
        if let Some(old) = self.by_id.remove(&id) {
            for ip in &old.ips {
                self.addresses.remove(&(*ip, id));
            }
        }
    }

    /// The good token that an address is kept for.
    pub(crate) fn keeps(&self, ip: IpAddr, now: Time) -> Option<TokenId> {
        self.addresses
            .range((ip, TokenId(0))..=(ip, TokenId(u32::MAX)))
            .map(|(_, id)| *id)
            .find(|id| self.get(*id).is_some_and(|token| token.state(now) == TokenState::Good))
    }
}

/// Why a token does not let a node in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reason {
    /// No token of this network.
    Unknown,
    /// One that is not good any more.
    Over(TokenState),
    /// The node was deauthorized after the token was made.
    PutOut,
    /// Another member holds an address that the token gives.
    Held(IpAddr),
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => write!(f, "unknown"),
            Self::Over(state) => write!(f, "{}", state.name()),
            Self::PutOut => write!(f, "the member was deauthorized after the token was made"),
            Self::Held(ip) => write!(f, "its address {ip} is held by another member"),
        }
    }
}

/// A token that was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Refused {
    /// Which token it claims to be, if it has the form of one.
    pub(crate) id: Option<TokenId>,
    pub(crate) reason: Reason,
}

/// The member as it is when the token `text` lets it in, with what that gives, and the token as it is after this use. The
/// caller stores both in one step, or neither.
pub(crate) fn admit(
    now: Time,
    state: &NetworkState,
    member: &Member,
    text: &str,
) -> Result<(Member, JoinToken), Refused> {
    let text = &*record::bare(member.network, text);
    let id = record::id_of_text(text);
    let refused = |reason| Refused { id, reason };
    let token = id
        .and_then(|id| state.tokens().get(id))
        .filter(|token| token.is_text(text))
        .ok_or_else(|| refused(Reason::Unknown))?;
    match token.state(now) {
        TokenState::Good => {}
        over => return Err(refused(Reason::Over(over))),
    }
    // Whoever puts a node out does not want it back by a token that lies about. Nothing has to be remembered for this, and
    // a token made afterwards, which can only be meant so, lets it in again.
    if member.last_deauthorized != 0 && member.last_deauthorized >= token.created {
        return Err(refused(Reason::PutOut));
    }
    if let Some(ip) = token.ips.iter().find(|ip| state.holder(**ip, member.address).is_some()) {
        return Err(refused(Reason::Held(*ip)));
    }
    let used = token.used_at(now);
    let mut member = member.clone();
    member.authorize(now, AuthorizedBy::Token, Some(used.id.to_string()));
    if let Some(name) = &used.name {
        let name = if used.uses == 1 { name.clone() } else { numbered(name, used.used, state, &member) };
        member.name = Some(name);
    }
    member.tags.extend(&used.tags);
    if !used.ips.is_empty() {
        member.ip_assignments.clone_from(&used.ips);
        member.automatic.clear();
    }
    Ok((member, used))
}

/// `name-NUMBER`, the number being the first from `from` on that no other member has.
fn numbered(name: &str, from: u64, state: &NetworkState, member: &Member) -> String {
    let others = state.members().values().filter(|other| other.address != member.address);
    let taken: BTreeSet<u64> = others
        .filter_map(|other| other.name.as_deref()?.strip_prefix(name)?.strip_prefix('-')?.parse().ok())
        .collect();
    let number = (from..).find(|number| !taken.contains(number)).unwrap_or(from);
    format!("{name}-{number}")
}
