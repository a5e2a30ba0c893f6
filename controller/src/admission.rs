//! Whether a node is let into a network, and by whose word. Nothing is changed here: what follows for the member is a record of
//! its own, which whoever asked saves, or drops.
//!
//! Specification: VL2 controller, authorization.

use api::{AuthorizedBy, Member, Network};
use protocol::{Identity, Time};

use crate::state::NetworkState;
use crate::token::{self, JoinToken, Refused};

/// What a node says of itself when it asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// The identity it proved.
    pub(crate) identity: &'a Identity,
    /// The join token it brought.
    pub(crate) token: Option<&'a str>,
}

/// How it stands with a node that asks.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Its record from now on.
    pub(crate) member: Member,
    /// What it is told.
    pub(crate) standing: Standing,
    /// The join token that let it in just now, as it is after this use.
    pub(crate) used: Option<JoinToken>,
    /// A join token of ours that may have been meant, and why it does not let it in.
    pub(crate) refused: Option<Refused>,
}

/// What a node that asks is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// It is a member.
    In,
    /// Somebody has to log in there first.
    Login,
    /// It is not let in.
    Denied,
}

/// Another node has the address of this member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct NotTheSame;

/// How it stands with `member`, which is known or has just been met, when it claims `claim`.
pub(crate) fn admit(
    now: Time,
    state: &NetworkState,
    member: &Member,
    claim: Claim<'_>,
) -> Result<Admission, NotTheSame> {
    let mut member = member.clone();
    match &member.identity {
        Some(pinned) if !is_same(pinned, claim.identity) => return Err(NotTheSame),
        Some(_) => {}
        None => member.identity = Some(claim.identity.to_string()),
    }
    let (member, used, refused) = match member.authorized {
        true => (member, None, None),
        false => enter(now, state, member, claim.token.filter(|text| !text.is_empty())),
    };
    let standing = if has_to_log_in(now, &state.record, &member) {
        Standing::Login
    } else if member.authorized {
        Standing::In
    } else {
        Standing::Denied
    };
    Ok(Admission { member, standing, used, refused })
}

/// Lets a member in that the network lets in by itself: whoever brings a good join token, everybody if it is public.
fn enter(
    now: Time,
    state: &NetworkState,
    member: Member,
    token: Option<&str>,
) -> (Member, Option<JoinToken>, Option<Refused>) {
    let network = &state.record;
    let ours = token.map(|text| token::admit(now, state, &member, text));
    let (used, mut refused, mut entered) = match ours {
        Some(Ok((entered, used))) => (Some(used), None, Some(entered)),
        Some(Err(refused)) => (None, Some(refused), None),
        None => (None, None, None),
    };
    if entered.is_none() {
        let mut by = |by, credential| {
            let mut member = member.clone();
            member.authorize(now, by, credential);
            entered = Some(member);
        };
        if !network.private {
            by(AuthorizedBy::Public, None);
        } else if let Some(text) = token.filter(|text| network.accepts_token(text, now)) {
            by(AuthorizedBy::Token, Some(text.to_owned()));
            refused = None;
        }
    }
    let Some(mut entered) = entered else { return (member, used, refused) };
    // While it was out, somebody else may have been given an address that its record still has.
    entered.ip_assignments.retain(|ip| state.holder(*ip, entered.address).is_none());
    entered.automatic.retain(|ip| entered.ip_assignments.contains(ip));
    if member.last_authorized == 0 {
        give_default_capabilities(network, &mut entered);
    }
    (entered, used, refused)
}

/// Whether a configuration is pushed to a member. A public network lets everybody in, but not by the very push that follows a
/// deauthorization: that certificate would be as old as the revocation.
pub(crate) fn is_pushed(network: &Network, member: &Member) -> bool {
    member.authorized || !network.private && member.last_deauthorized == 0
}

/// Whether a member's time depends on a log-in.
pub(crate) fn logs_in(network: &Network, member: &Member) -> bool {
    network.sso_enabled && !member.sso_exempt
}

/// Whether a member has to log in first, or again.
pub(crate) fn has_to_log_in(now: Time, network: &Network, member: &Member) -> bool {
    logs_in(network, member) && Time::from_ms(member.authentication_expiry) <= now
}

/// What a member gets at its first authorization.
pub(crate) fn give_default_capabilities(network: &Network, member: &mut Member) {
    member.capabilities.extend(network.capabilities.iter().filter(|c| c.default).map(|c| c.id));
}

/// Whether a stored identity is the one a member proved. An imported record may spell it differently.
fn is_same(pinned: &str, identity: &Identity) -> bool {
    pinned == identity.to_string() || Identity::parse(pinned).is_ok_and(|pinned| pinned == *identity)
}

#[cfg(test)]
mod tests {
    use protocol::{Address, NetworkId};

    use super::*;

    const NETWORK: NetworkId = NetworkId(7);

    fn identity(address: u64) -> Identity {
        Identity { address: Address::from_u64(address), public: [1; 64] }
    }

    fn standing(change: impl Fn(&mut Network, &mut Member), token: Option<&str>) -> (Standing, Member) {
        let mut network = Network::new(NETWORK, Time::EPOCH);
        let mut member = Member::new(NETWORK, Address::from_u64(1), Time::EPOCH);
        change(&mut network, &mut member);
        let claim = Claim { identity: &identity(1), token };
        let admission = admit(Time::from_ms(1000), &NetworkState::new(network), &member, claim).unwrap();
        (admission.standing, admission.member)
    }

    #[test]
    fn who_is_let_in_and_by_whose_word() {
        assert_eq!(standing(|_, _| {}, None).0, Standing::Denied);
        let (known, member) = standing(|_, member| member.authorized = true, None);
        assert_eq!((known, member.authorized_by), (Standing::In, None), "nothing was done about it");
        let (public, member) = standing(|network, _| network.private = false, None);
        assert_eq!((public, member.authorized_by), (Standing::In, Some(AuthorizedBy::Public)));
        let knows = |network: &mut Network, _: &mut Member| {
            network.auth_tokens.insert("T".into(), 0);
        };
        let (token, member) = standing(knows, Some("T"));
        assert_eq!((token, member.authorized_by), (Standing::In, Some(AuthorizedBy::Token)));
        assert_eq!(standing(knows, Some("U")).0, Standing::Denied);
    }

    #[test]
    fn who_has_to_log_in_is_told_so_whether_it_is_a_member_or_not() {
        for authorized in [false, true] {
            let sso = |network: &mut Network, member: &mut Member| {
                network.sso_enabled = true;
                member.authorized = authorized;
            };
            assert_eq!(standing(sso, None).0, Standing::Login);
        }
        let logged_in = |network: &mut Network, member: &mut Member| {
            network.sso_enabled = true;
            (member.authorized, member.authentication_expiry) = (true, 1001);
        };
        assert_eq!(standing(logged_in, None).0, Standing::In);
    }

    #[test]
    fn an_identity_is_pinned() {
        let mut member = Member::new(NETWORK, Address::from_u64(1), Time::EPOCH);
        member.identity = Some(Identity { address: Address::from_u64(1), public: [2; 64] }.to_string());
        let claim = Claim { identity: &identity(1), token: None };
        let state = NetworkState::new(Network::new(NETWORK, Time::EPOCH));
        assert_eq!(admit(Time::from_ms(1000), &state, &member, claim).unwrap_err(), NotTheSame);
    }
}
