//! The HTTP routes below `/controller` and `/unstable/controller`, without HTTP: a method, a path and a body come in, a
//! status and JSON go out. Authentication, sockets and `jsonp` are the caller's.
//!
//! Specification: VL2 controller, HTTP API; control API, controller endpoints.

use std::collections::BTreeMap;

use api::{
    AllMembers, AllNetworks, Changed, ControllerStatus, CountedNetwork, Lead, Member, MemberPatch,
    MembersMeta, Network, NetworkMeta, NetworkPatch, NetworksMeta, Problem, TokenId,
};
use protocol::{Address, NetworkId, Span, Time};
use rand::Rng;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::admission::give_default_capabilities;
use crate::controller::{Action, Controller};
use crate::networks::NoSuchNetwork;
use crate::push::was_put_out;
use crate::state::{NetworkState, Saved};
use crate::store::{Change, StoreError};
use crate::time::Moment;
use crate::token::requests;
use crate::tombstone::Tombstone;
use crate::{audit, source, strict, warnings};

/// Attempts at an unused network ID.
const ID_TRIES: u32 = 100_000;
/// What the API says it is.
const API_VERSION: u64 = 4;

/// The answer to one HTTP request.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpReply {
    /// Status code.
    pub status: u16,
    /// JSON to send, or none for an empty body without content type.
    pub body: Option<Value>,
    /// Whether the JSON is to be rendered over several lines, indented with tabs.
    pub pretty: bool,
}

impl HttpReply {
    pub(crate) fn ok(body: &impl Serialize) -> Self {
        Self { status: 200, body: Some(api::json(body)), pretty: false }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, body: None, pretty: false }
    }

    pub(crate) fn error(status: u16, description: impl Into<String>) -> Self {
        Self { body: Some(api::json(&Problem::new(status, description))), ..Self::empty(status) }
    }
}

/// Who asks, as the caller of [`Controller::http_by`] knows it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Origin {
    /// For the log: a user of this machine, an address.
    pub by: String,
    /// Whether that is a program of this machine, which has the same clock.
    pub here: bool,
}

/// What somebody asks for, but for the path.
pub(crate) struct Call<'a> {
    pub(crate) at: Moment,
    pub(crate) body: &'a [u8],
    pub(crate) origin: &'a Origin,
}

/// Answers that end the handling of a request early.
pub(crate) type Outcome = Result<HttpReply, HttpReply>;

impl From<StoreError> for HttpReply {
    fn from(problem: StoreError) -> Self {
        Self::error(500, problem.to_string())
    }
}

impl From<NoSuchNetwork> for HttpReply {
    fn from(NoSuchNetwork: NoSuchNetwork) -> Self {
        Self::empty(404)
    }
}

/// What a path names.
enum Route {
    Status,
    Networks,
    /// A new network under this address.
    NewNetwork(String),
    Network(NetworkId),
    Members(NetworkId),
    Member(NetworkId, Address),
    Tokens(NetworkId),
    Token(NetworkId, TokenId),
    Revocations(NetworkId),
    Revocation(NetworkId, Address),
    Lead(NetworkId),
    AllNetworks,
    AllMembers(NetworkId),
}

fn route(path: &str) -> Option<Route> {
    let path = path.split(['?', '#']).next()?;
    let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    Some(match parts.as_slice() {
        ["controller"] => Route::Status,
        ["controller", "network"] => Route::Networks,
        ["controller", "network", id] => match network_id(id) {
            Some(network) => Route::Network(network),
            None => Route::NewNetwork(id.strip_suffix("______").filter(|a| is_hex(a, 10))?.to_owned()),
        },
        ["controller", "network", id, "member"] => Route::Members(network_id(id)?),
        ["controller", "network", id, "member", member] => Route::Member(network_id(id)?, address(member)?),
        ["controller", "network", id, "token"] => Route::Tokens(network_id(id)?),
        ["controller", "network", id, "token", token] => {
            Route::Token(network_id(id)?, token.to_ascii_lowercase().parse().ok()?)
        }
        ["controller", "network", id, "revocation"] => Route::Revocations(network_id(id)?),
        ["controller", "network", id, "revocation", member] => {
            Route::Revocation(network_id(id)?, address(member)?)
        }
        ["controller", "network", id, "lead"] => Route::Lead(network_id(id)?),
        ["unstable", "controller", "network"] => Route::AllNetworks,
        ["unstable", "controller", "network", id, "member"] => Route::AllMembers(network_id(id)?),
        _ => return None,
    })
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn network_id(text: &str) -> Option<NetworkId> {
    is_hex(text, 16).then(|| u64::from_str_radix(text, 16).ok().map(NetworkId)).flatten()
}

fn address(text: &str) -> Option<Address> {
    is_hex(text, 10).then(|| u64::from_str_radix(text, 16).ok().map(Address::from_u64)).flatten()
}

/// The object in a request body. `null` and `[]`, which is how some languages write an empty one, say nothing, as they do to
/// zerotier-one. That answers broken JSON with 500; no tool is known that tells this from 400.
pub(crate) fn object(body: &[u8]) -> Result<Map<String, Value>, HttpReply> {
    let problem = match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => return Ok(object),
        Ok(Value::Null) => return Ok(Map::new()),
        Ok(Value::Array(list)) if list.is_empty() => return Ok(Map::new()),
        Ok(other) => format!("a JSON object is expected, not {}", strict::describe(&other)),
        Err(_) if body.is_empty() => "it is empty; a JSON object is expected, {} at least".to_owned(),
        Err(problem) => format!("it is no JSON: {problem}"),
    };
    Err(HttpReply::error(400, format!("request body: {problem}; nothing was changed")))
}

impl Controller {
    /// One authenticated request. The actions are the pushes and revocations it caused; more pushes may wait for
    /// [`Controller::tick`].
    ///
    /// PUT is POST and HEAD is GET (the caller leaves the body out). What is no route is 404 with an empty body.
    pub fn http(&mut self, now: Time, method: &str, path: &str, body: &[u8]) -> (HttpReply, Vec<Action>) {
        self.http_by(now, method, path, body, Origin::default())
    }

    /// [`Controller::http`] by somebody known: what is changed is logged with who did it.
    pub fn http_by(
        &mut self,
        now: Time,
        method: &str,
        path: &str,
        body: &[u8],
        origin: Origin,
    ) -> (HttpReply, Vec<Action>) {
        let Some(route) = route(path) else { return (HttpReply::empty(404), Vec::new()) };
        let call = Call { at: self.begin(now), body, origin: &origin };
        let mut actions = Vec::new();
        let outcome = match method {
            "GET" | "HEAD" => self.get(call.at, &route),
            "POST" | "PUT" => self.post(&call, &route, &mut actions),
            "DELETE" => self.delete(&call, &route, &mut actions),
            _ => Err(HttpReply::empty(404)),
        };
        actions.extend(self.drain_pushes(call.at));
        actions.extend(self.courier.bring(&self.signer.identity, &self.networks, now));
        (outcome.unwrap_or_else(|early| early), actions)
    }

    fn post(&mut self, call: &Call<'_>, route: &Route, actions: &mut Vec<Action>) -> Outcome {
        match route {
            Route::Networks => self.create(call),
            Route::NewNetwork(owner) if *owner == self.address().to_string() => self.create(call),
            Route::NewNetwork(_) => Err(HttpReply::empty(400)),
            Route::Network(id) => self.post_network(call, *id),
            Route::Member(network, member) => self.post_member(call, *network, *member, actions),
            Route::Tokens(network) => {
                let state = self.networks.find_mut(*network)?;
                requests::create(state, self.store.as_mut(), &mut self.signer.random, call)
            }
            _ => Err(HttpReply::empty(404)),
        }
    }

    fn delete(&mut self, call: &Call<'_>, route: &Route, actions: &mut Vec<Action>) -> Outcome {
        match route {
            Route::Network(id) => self.delete_network(call, *id),
            Route::Lead(id) => self.reset_certificates(call, *id),
            Route::Member(network, member) => self.delete_member(call, *network, *member, actions),
            Route::Token(network, token) => {
                requests::revoke(self.networks.find_mut(*network)?, self.store.as_mut(), *token, call)
            }
            _ => Err(HttpReply::empty(404)),
        }
    }

    fn get(&self, at: Moment, route: &Route) -> Outcome {
        let networks = &self.networks;
        Ok(match route {
            Route::Status => {
                let status = ControllerStatus {
                    controller: true,
                    api_version: API_VERSION,
                    clock: at.wall.as_ms(),
                    database_ready: true,
                    certificate_lead: networks
                        .leads(at.wall)
                        .into_iter()
                        .map(|(id, by)| (id, by.as_ms()))
                        .collect(),
                };
                HttpReply { pretty: true, ..HttpReply::ok(&status) }
            }
            Route::Networks => HttpReply::ok(&networks.ids().map(|id| id.to_string()).collect::<Vec<_>>()),
            Route::NewNetwork(_) => HttpReply::empty(404),
            Route::Network(id) => HttpReply::ok(&networks.find(*id)?.record),
            Route::Members(id) => {
                let members = networks.find(*id)?.members();
                let revisions: BTreeMap<String, u64> =
                    members.values().map(|m| (m.address.to_string(), m.revision)).collect();
                HttpReply::ok(&revisions)
            }
            Route::Member(network, member) => {
                let member = networks.find(*network)?.member(*member).ok_or_else(|| HttpReply::empty(404))?;
                HttpReply::ok(member)
            }
            Route::Tokens(network) => requests::list(networks.find(*network)?, at.wall),
            Route::Token(network, token) => requests::get(networks.find(*network)?, at.wall, *token)?,
            Route::Lead(id) => {
                networks.find(*id)?;
                let lead = networks.leads(at.wall).get(&id.to_string()).copied().unwrap_or_default();
                HttpReply::ok(&Lead { lead: lead.as_ms(), was: None })
            }
            Route::Revocations(network) => {
                networks.find(*network)?;
                HttpReply::ok(&self.courier.list(networks, *network))
            }
            Route::Revocation(network, member) => {
                let report = self.courier.report(networks, at, *network, *member);
                HttpReply::ok(&report.ok_or_else(|| HttpReply::empty(404))?)
            }
            Route::AllNetworks => {
                let counted = |state: &NetworkState| CountedNetwork {
                    record: state.record.clone(),
                    meta: NetworkMeta {
                        total_member_count: state.members().len(),
                        authorized_member_count: state.authorized(),
                    },
                };
                let data: Vec<_> = networks.iter().map(counted).collect();
                let meta = NetworksMeta { network_count: data.len() };
                HttpReply::ok(&AllNetworks { data, meta })
            }
            Route::AllMembers(id) => {
                let state = networks.find(*id)?;
                let data: Vec<Member> = state.members().values().cloned().collect();
                let meta = MembersMeta { total_count: data.len(), authorized_count: state.authorized() };
                HttpReply::ok(&AllMembers { data, meta })
            }
        })
    }

    fn create(&mut self, call: &Call<'_>) -> Outcome {
        // A body that is no JSON must not use up an ID.
        object(call.body)?;
        let prefix = self.address().to_u64() << 24;
        for _ in 0..ID_TRIES {
            let suffix = u64::from(self.signer.random.next_u32() & 0xff_ffff).max(1);
            let id = NetworkId(prefix | suffix);
            if self.networks.get(id).is_none() && self.tombstones.get(id).is_none() {
                return self.post_network(call, id);
            }
        }
        Err(HttpReply::empty(503))
    }

    fn post_network(&mut self, call: &Call<'_>, id: NetworkId) -> Outcome {
        let mut body = object(call.body)?;
        strict::network(&mut body)?;
        // Before anything else: a source that is refused leaves all of the request unapplied.
        let mut asked: NetworkPatch = api::read(&body);
        source::compile_into(&mut asked)
            .map_err(|problem| HttpReply { body: Some(api::json(&*problem)), ..HttpReply::empty(400) })?;
        let Moment { now, wall, .. } = call.at;
        let store = self.store.as_mut();
        let before = self.networks.get(id).map(|state| state.record.clone());
        let changed = match self.networks.find_mut(id) {
            Ok(state) => {
                let mut record = state.record.clone();
                record.apply(asked.clone());
                state.save_network(store, record, Vec::new())?
            }
            Err(NoSuchNetwork) => {
                let mut record = Network::new(id, wall);
                record.apply(asked.clone());
                let mut state = NetworkState::new(Network::new(id, wall));
                // What its members had before it was deleted is older than what they get now.
                let deleted = self.tombstones.get(id).map(|tombstone| tombstone.deleted);
                let latest = self.courier.latest(id).into_iter().chain(deleted).max();
                if let Some(latest) = latest {
                    state.certificates.not_before(latest + Span::ms(1));
                }
                let also = deleted.map(|_| Change::DeleteTombstone { network: id }).into_iter().collect();
                let changed = state.save_network(store, record, also)?;
                self.networks.put(state);
                self.tombstones.remove(id);
                changed
            }
        };
        let state = self.networks.find(id)?;
        let record = &state.record;
        if changed {
            self.counts.network_changes += 1;
            self.pushes.put_network(now, state);
            audit::network(call.origin, before.as_ref(), record);
        }
        let others = self.networks.iter().map(|state| &state.record);
        let warnings = warnings::of_network(record, &asked, before.is_none(), others);
        Ok(HttpReply::ok(&Changed { warnings, ..Changed::plain(record) }))
    }

    fn post_member(
        &mut self,
        call: &Call<'_>,
        network: NetworkId,
        address: Address,
        actions: &mut Vec<Action>,
    ) -> Outcome {
        let at = call.at;
        let Moment { now, wall, .. } = at;
        let state = self.networks.find(network)?;
        let mut body = object(call.body)?;
        strict::member(&mut body)?;
        let asked: MemberPatch = api::read(&body);
        let old = state.member(address).cloned();
        let mut member = old.clone().unwrap_or_else(|| Member::new(network, address, wall));
        let never_authorized = !member.authorized && member.last_authorized == 0;
        member.apply(asked.clone(), wall).map_err(|problem| HttpReply::error(400, problem))?;
        if member.authorized && never_authorized && asked.capabilities.is_none() {
            give_default_capabilities(&state.record, &mut member);
        }
        addresses_are_free(wall, state, old.as_ref(), &member)?;
        let put_out = was_put_out(old.as_ref(), &member);
        let also =
            if put_out { self.courier.changes(&self.networks, at, network, &[address]) } else { Vec::new() };
        let store = self.store.as_mut();
        let state = self.networks.find_mut(network)?;
        let changed = state.save_member(store, member, None, also)? != Saved::Unchanged;
        let saved = state.member(address).cloned().ok_or_else(|| HttpReply::empty(404))?;
        let before = old.iter().filter(|old| old.authorized).flat_map(|old| &old.ip_assignments);
        state.note_freed(now, before.filter(|ip| !saved.ip_assignments.contains(ip)).copied());
        if asked.authentication_expiry.is_some() {
            if call.origin.here {
                state.logins_here.insert(address);
            } else {
                state.logins_here.remove(&address);
            }
        }
        let found = warnings::of_member(state, &saved, &asked);
        if changed {
            let was_in = old.as_ref().is_some_and(|old| old.authorized);
            self.counts.member_changes += 1;
            self.counts.authorizations += u64::from(saved.authorized && !was_in);
            self.counts.deauthorizations += u64::from(put_out);
            audit::member(call.origin, old.as_ref(), &saved);
            actions.extend(self.member_changed(at, old.as_ref(), &saved));
        }
        let revocation =
            if put_out { self.courier.report(&self.networks, at, network, address) } else { None };
        Ok(HttpReply::ok(&Changed { record: saved, revocation, warnings: found }))
    }

    fn delete_member(
        &mut self,
        call: &Call<'_>,
        network: NetworkId,
        address: Address,
        actions: &mut Vec<Action>,
    ) -> Outcome {
        let at = call.at;
        let state = self.networks.find(network)?;
        let was_in = state.member(address).is_some_and(|member| member.authorized);
        let also =
            if was_in { self.courier.changes(&self.networks, at, network, &[address]) } else { Vec::new() };
        let store = self.store.as_mut();
        let state = self.networks.find_mut(network)?;
        // The target is told as well, so ask before it is forgotten.
        let online = state.online(at.now);
        let deleted = state.delete_member(store, address, also)?.ok_or_else(|| HttpReply::empty(404))?;
        self.counts.member_changes += 1;
        self.counts.deauthorizations += u64::from(was_in);
        audit::member_deleted(call.origin, &deleted);
        let mut revocation = None;
        if was_in {
            actions.extend(self.put_out(at, network, address, &online));
            revocation = self.courier.report(&self.networks, at, network, address);
        }
        if deleted.active_bridge {
            self.pushes.put_network(at.now, self.networks.find(network)?);
        }
        Ok(HttpReply::ok(&Changed { revocation, ..Changed::plain(deleted) }))
    }

    /// Deletes a network. Its members are told by a last configuration, now or when they ask; their certificates stay void
    /// should it be made anew.
    fn delete_network(&mut self, call: &Call<'_>, id: NetworkId) -> Outcome {
        let at = call.at;
        let state = self.networks.find(id)?;
        let members: Vec<Address> = state
            .members()
            .values()
            .filter(|member| member.authorized)
            .map(|member| member.address)
            .collect();
        let mut changes = vec![Change::DeleteNetwork { network: id }];
        let ours = self.signer.owns(id);
        let tombstone = Tombstone::new(state.certificates.time(at.wall), state.record.revision);
        if ours {
            changes.extend(self.tombstones.changes(id, tombstone));
            changes.extend(self.courier.changes(&self.networks, at, id, &members));
        }
        self.store.commit(&changes)?;
        if ours {
            self.courier.note(&mut self.signer, &mut self.networks, at, id, &members);
            self.pushes.put(at.now, id, members);
            self.tombstones.put(id, tombstone);
        }
        let state = self.networks.remove(id)?;
        self.counts.network_changes += 1;
        audit::network_deleted(call.origin, &state.record, state.members().len());
        Ok(HttpReply::ok(&state.record))
    }

    /// Forgets how far a network's certificates have come: they follow the wall clock again, and members that saw later ones
    /// accept none of them until they leave the network and join again.
    fn reset_certificates(&mut self, call: &Call<'_>, network: NetworkId) -> Outcome {
        let Moment { now, wall, .. } = call.at;
        let state = self.networks.find_mut(network)?;
        let lead = state.certificates.time(wall) - wall;
        // Of the time that never was; kept, they would make void what is issued from now on.
        let over = self.courier.ahead(network, wall);
        let gone = over.iter().map(|member| Change::DeleteRevocation { network, member: *member });
        state.restart_certificates(self.store.as_mut(), wall, gone)?;
        self.courier.forget(network, &over);
        self.pushes.put_network(now, state);
        let by = &call.origin.by;
        tracing::info!(%network, seconds = lead / Span::secs(1), by, "certificates follow the clock again; its members have to leave and join again");
        Ok(HttpReply::ok(&Lead { lead: 0, was: Some(lead.as_ms()) }))
    }
}

/// Refuses a member addresses that another authorized member holds, or that are kept for a join token. Its record may go on
/// with what it already had (an old controller allowed two holders); but who was out meanwhile comes back without what
/// somebody else was given.
fn addresses_are_free(
    now: Time,
    state: &NetworkState,
    old: Option<&Member>,
    member: &Member,
) -> Result<(), HttpReply> {
    let conflict = |problem: String| Err(HttpReply::error(409, format!("{problem}; nothing was changed")));
    let had = old.map_or(&[][..], |old| &old.ip_assignments);
    let comes_back = member.authorized && old.is_some_and(|old| !old.authorized);
    for ip in &member.ip_assignments {
        let has = had.contains(ip);
        if (!has || comes_back)
            && let Some(holder) = state.holder(*ip, member.address)
        {
            return conflict(if has {
                format!(
                    "{ip}, which member {} had, is assigned to member {holder} now; say with \"authorized\" which \
                     \"ipAssignments\" this one gets ([] for one of the pools)",
                    member.address
                )
            } else {
                format!("{ip} is already assigned to member {holder}; take it from that member first")
            });
        }
        if !has && let Some(token) = state.tokens().keeps(*ip, now) {
            return conflict(format!("{ip} is kept for the join token {token}; revoke that first"));
        }
    }
    Ok(())
}
