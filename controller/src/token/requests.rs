//! Join tokens over the API. Unlike the fields of networks and members, which many tools post, these are read strictly: a
//! mistyped word must not make a token that lets more nodes in than it was meant to.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::{ShownToken, Token, TokenId, TokenRequest};
use protocol::netconf;
use protocol::{Span, Time};
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Map, Value};

use super::record::Terms;
use super::{DEFAULT_LIFETIME, JoinToken, MAX_LIFETIME, MAX_NAME, MAX_TOKENS, MAX_USES};
use crate::http::{Call, HttpReply, Outcome, object};
use crate::state::NetworkState;
use crate::store::Store;
use crate::warnings::list_routes;

/// A token that is over is still listed, and told apart from one that never was, for this long: thirty days.
const REMEMBERED: Span = Span::secs(30 * 86_400);

fn wrong(description: impl Into<String>) -> HttpReply {
    HttpReply::error(400, description)
}

/// A network's tokens in order of their making.
pub(crate) fn list(state: &NetworkState, now: Time) -> HttpReply {
    let mut tokens: Vec<&JoinToken> = state.tokens().iter().collect();
    tokens.sort_by_key(|token| (token.created, token.id));
    // One look at the members for all tokens.
    let mut members: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for member in state.members().values() {
        if let Some(token) = member.join_token() {
            members.entry(token).or_default().push(member.address.to_string());
        }
    }
    let shown = tokens.into_iter().map(|token| {
        let members = members.remove(token.id.to_string().as_str()).unwrap_or_default();
        show(now, token, members)
    });
    HttpReply::ok(&shown.collect::<Vec<_>>())
}

/// One token.
pub(crate) fn get(state: &NetworkState, now: Time, id: TokenId) -> Outcome {
    let token = state.tokens().get(id).ok_or_else(|| HttpReply::empty(404))?;
    Ok(HttpReply::ok(&show(now, token, members(state, id))))
}

/// Makes a token. The answer is the only thing that ever has its text.
pub(crate) fn create(
    state: &mut NetworkState,
    store: &mut dyn Store,
    random: &mut StdRng,
    call: &Call<'_>,
) -> Outcome {
    let now = call.at.wall;
    let network = state.record.id;
    let terms = if call.body.is_empty() { Map::new() } else { object(call.body)? };
    let terms = read(now, &api::read(&terms))?;
    check_addresses(now, state, &terms.ips)?;
    let forgotten = make_room(now, state)?;
    let free = |id: &TokenId| state.tokens().get(*id).is_none();
    let mut ids = std::iter::repeat_with(|| TokenId(random.next_u32()));
    let id = ids.find(free).ok_or_else(|| HttpReply::empty(503))?;
    let (token, text) = JoinToken::create(network, id, random, now, terms);
    let mut shown = show(now, &token, Vec::new());
    state.save_token(store, token, &forgotten)?;
    state.note_fresh_token(id);
    shown.token = Some(super::record::naming(network, &text).to_string());
    let by = &call.origin.by;
    tracing::info!(%network, token = %id, by, "join token made");
    Ok(HttpReply::ok(&shown))
}

/// Ends a token; members it let in stay. One that is revoked already stays as it is.
pub(crate) fn revoke(
    state: &mut NetworkState,
    store: &mut dyn Store,
    id: TokenId,
    call: &Call<'_>,
) -> Outcome {
    let (network, now) = (state.record.id, call.at.wall);
    let mut token = state.tokens().get(id).cloned().ok_or_else(|| HttpReply::empty(404))?;
    if token.revoked == 0 {
        token = token.revoked_at(now);
        state.save_token(store, token.clone(), &[])?;
        let by = &call.origin.by;
        tracing::info!(%network, token = %id, by, "join token revoked");
    }
    Ok(HttpReply::ok(&show(now, &token, members(state, id))))
}

fn members(state: &NetworkState, id: TokenId) -> Vec<String> {
    let id = id.to_string();
    let members = state.members().values().filter(|member| member.join_token() == Some(&id));
    members.map(|member| member.address.to_string()).collect()
}

fn show(now: Time, token: &JoinToken, members: Vec<String>) -> ShownToken {
    ShownToken { record: Token::clone(token), state: token.state(now), members, token: None }
}

/// The tokens to be forgotten for one more: those long over, and if that does not help the one that is over for longest.
fn make_room(now: Time, state: &NetworkState) -> Result<Vec<TokenId>, HttpReply> {
    let over = |token: &JoinToken| token.over_since(now).map(|since| (since, token.id));
    let mut over: Vec<(Time, TokenId)> = state.tokens().iter().filter_map(over).collect();
    over.sort_unstable();
    let old = over.iter().filter(|(since, _)| now - *since > REMEMBERED).count();
    let needed = (state.tokens().len() + 1).saturating_sub(MAX_TOKENS);
    if over.len() < needed {
        let network = state.record.id;
        return Err(HttpReply::error(
            409,
            format!(
                "network {network} has {MAX_TOKENS} good join tokens already; revoke some that are not needed"
            ),
        ));
    }
    over.truncate(old.max(needed));
    Ok(over.into_iter().map(|(_, id)| id).collect())
}

/// What a token may give depends on the network as it is now.
fn check_addresses(now: Time, state: &NetworkState, ips: &[IpAddr]) -> Result<(), HttpReply> {
    let routes = &state.record.routes;
    for ip in ips {
        if !routes.iter().any(|route| route.target.contains(*ip)) {
            return Err(wrong(format!(
                "ipAssignments: {ip} is in no route of the network, so that no member could use it; its routes: {}",
                list_routes(routes)
            )));
        }
        if let Some(holder) = state.holder(*ip, protocol::Address::NULL) {
            return Err(HttpReply::error(409, format!("{ip} is already assigned to member {holder}")));
        }
        if let Some(token) = state.tokens().keeps(*ip, now) {
            return Err(HttpReply::error(
                409,
                format!("{ip} is kept for the join token {token}; revoke that first"),
            ));
        }
    }
    Ok(())
}

/// What a request asks for.
fn read(now: Time, asked: &TokenRequest) -> Result<Terms, HttpReply> {
    if let Some(other) = asked.unknown.keys().next() {
        let other: String = other.chars().take(64).collect();
        return Err(wrong(format!(
            "{other:?}: a join token has no such field; it has name, uses, lifetime, tags and ipAssignments"
        )));
    }
    let mut terms = Terms { uses: 1, expires: Some(now + DEFAULT_LIFETIME), ..Terms::default() };
    if let Some(value) = &asked.ip_assignments {
        terms.ips = read_addresses(value)?;
    }
    if let Some(value) = &asked.lifetime {
        let most = MAX_LIFETIME.as_ms();
        let lifetime = value.as_i64().filter(|ms| (0..=most).contains(ms)).ok_or_else(|| {
            wrong(format!("lifetime: milliseconds from 1 to {most} are expected, or 0 for ever"))
        })?;
        terms.expires = (lifetime != 0).then_some(now + Span::ms(lifetime));
    }
    if let Some(value) = &asked.name {
        terms.name = Some(read_name(value)?);
    }
    if let Some(value) = &asked.tags {
        terms.tags = read_tags(value)?;
    }
    if let Some(value) = &asked.uses {
        terms.uses = value.as_u64().filter(|uses| *uses <= u64::from(MAX_USES)).ok_or_else(|| {
            wrong(format!("uses: a number from 1 to {MAX_USES} is expected, or 0 for any number of nodes"))
        })?;
    }
    if !terms.ips.is_empty() && terms.uses != 1 {
        return Err(wrong(
            "ipAssignments: an address is held by one member, so that a token that gives one has one use; set uses to 1, \
             or let the network's pools give the addresses",
        ));
    }
    Ok(terms)
}

fn read_name(value: &Value) -> Result<String, HttpReply> {
    value
        .as_str()
        .filter(|name| !name.is_empty() && name.len() <= MAX_NAME && !name.contains(char::is_control))
        .map(str::to_owned)
        .ok_or_else(|| {
            wrong(format!("name: a text of 1 to {MAX_NAME} bytes without control characters is expected"))
        })
}

fn read_tags(value: &Value) -> Result<BTreeMap<u32, u32>, HttpReply> {
    let number = |value: &Value| u32::try_from(value.as_u64()?).ok();
    let pair = |pair: &Value| match pair.as_array()?.as_slice() {
        [id, value] => Some((number(id)?, number(value)?)),
        _ => None,
    };
    let list = value.as_array().filter(|list| list.len() <= netconf::MAX_TAGS);
    list.and_then(|list| list.iter().map(pair).collect()).ok_or_else(|| {
        let most = netconf::MAX_TAGS;
        wrong(format!("tags: a list of [id, value], both numbers of 32 bits, is expected, {most} at most"))
    })
}

fn read_addresses(value: &Value) -> Result<Vec<IpAddr>, HttpReply> {
    let list = value.as_array().filter(|list| list.len() <= netconf::MAX_ADDRESSES).ok_or_else(|| {
        wrong(format!("ipAssignments: a list of {} addresses at most is expected", netconf::MAX_ADDRESSES))
    })?;
    let mut ips = Vec::new();
    for (index, value) in list.iter().enumerate() {
        let ip = value.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
            wrong(format!(
                "ipAssignments[{index}]: an IP address without /bits is expected, such as 10.0.1.1"
            ))
        })?;
        if !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    Ok(ips)
}
