//! The HTTP routes below `/controller` and `/unstable/controller`, without HTTP: a method, a path and a body come in, a
//! status and JSON go out. Authentication, sockets and `jsonp` are the caller's.
//!
//! Specification: VL2 controller, HTTP API; control API, controller endpoints.

use std::collections::BTreeMap;

use api::{
    AllMembers, AllNetworks, Changed, ControllerStatus, CountedNetwork, Lead, Member, MemberPatch,
    MembersMeta, Network, NetworkMeta, NetworkPatch, NetworksMeta, Problem, TokenId,
};
use protocol::{Address, NetworkId};
use rand::Rng;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::admission::give_default_capabilities;
use crate::controller::{Action, Controller};
use crate::push::was_put_out;
use crate::state::{NetworkState, Saved};
use crate::store::{Change, StoreError};
use crate::tombstone::{self, Tombstone};
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

/// Answers that end the handling of a request early.
pub(crate) type Outcome = Result<HttpReply, HttpReply>;

impl From<StoreError> for HttpReply {
    fn from(problem: StoreError) -> Self {
        Self::error(500, problem.to_string())
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
    pub fn http(&mut self, now: i64, method: &str, path: &str, body: &[u8]) -> (HttpReply, Vec<Action>) {
        self.http_by(now, method, path, body, Origin::default())
    }

    /// [`Controller::http`] by somebody known: what is changed is logged with who did it.
    pub fn http_by(
        &mut self,
        now: i64,
        method: &str,
        path: &str,
        body: &[u8],
        origin: Origin,
    ) -> (HttpReply, Vec<Action>) {
        self.origin = origin;
        let Some(route) = route(path) else { return (HttpReply::empty(404), Vec::new()) };
        self.prune_revoked(now);
        let mut actions = Vec::new();
        let outcome = match (method, route) {
            ("GET" | "HEAD", route) => self.get(now, &route),
            ("POST" | "PUT", Route::Networks) => self.create(now, body),
            ("POST" | "PUT", Route::NewNetwork(owner)) => {
                if owner == self.address().to_string() {
                    self.create(now, body)
                } else {
                    Err(HttpReply::empty(400))
                }
            }
            ("POST" | "PUT", Route::Network(id)) => self.post_network(now, id, body),
            ("POST" | "PUT", Route::Member(network, member)) => {
                self.post_member(now, network, member, body, &mut actions)
            }
            ("POST" | "PUT", Route::Tokens(network)) => self.create_token(self.wall(now), network, body),
            ("DELETE", Route::Token(network, token)) => self.revoke_token(self.wall(now), network, token),
            ("DELETE", Route::Network(id)) => self.delete_network(now, id),
            ("DELETE", Route::Lead(id)) => self.reset_certificates(now, id),
            ("DELETE", Route::Member(network, member)) => {
                self.delete_member(now, network, member, &mut actions)
            }
            _ => Err(HttpReply::empty(404)),
        };
        actions.extend(self.drain_pushes(now));
        actions.extend(self.bring(now));
        (outcome.unwrap_or_else(|early| early), actions)
    }

    fn get(&self, now: i64, route: &Route) -> Outcome {
        Ok(match route {
            Route::Status => {
                let status = ControllerStatus {
                    controller: true,
                    api_version: API_VERSION,
                    clock: self.wall(now),
                    database_ready: true,
                    certificate_lead: self.leads(now),
                };
                HttpReply { pretty: true, ..HttpReply::ok(&status) }
            }
            Route::Networks => HttpReply::ok(&self.networks().map(|id| id.to_string()).collect::<Vec<_>>()),
            Route::NewNetwork(_) => HttpReply::empty(404),
            Route::Network(id) => HttpReply::ok(&self.state(*id)?.record),
            Route::Members(id) => {
                let members = self.state(*id)?.members();
                let revisions: BTreeMap<String, u64> =
                    members.values().map(|m| (m.address.to_string(), m.revision)).collect();
                HttpReply::ok(&revisions)
            }
            Route::Member(network, member) => {
                let member = self.state(*network)?.member(*member).ok_or_else(|| HttpReply::empty(404))?;
                HttpReply::ok(member)
            }
            Route::Tokens(network) => self.list_tokens(self.wall(now), *network)?,
            Route::Token(network, token) => self.get_token(self.wall(now), *network, *token)?,
            Route::Lead(id) => {
                self.state(*id)?;
                let lead = self.leads(now).get(&id.to_string()).copied().unwrap_or_default();
                HttpReply::ok(&Lead { lead, was: None })
            }
            Route::Revocations(network) => {
                self.state(*network)?;
                HttpReply::ok(&self.revocation_list(*network))
            }
            Route::Revocation(network, member) => {
                let report = self.revocation_report(now, *network, *member);
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
                let data: Vec<_> = self.networks.values().map(counted).collect();
                let meta = NetworksMeta { network_count: data.len() };
                HttpReply::ok(&AllNetworks { data, meta })
            }
            Route::AllMembers(id) => {
                let state = self.state(*id)?;
                let data: Vec<Member> = state.members().values().cloned().collect();
                let meta = MembersMeta { total_count: data.len(), authorized_count: state.authorized() };
                HttpReply::ok(&AllMembers { data, meta })
            }
        })
    }

    pub(crate) fn state(&self, id: NetworkId) -> Result<&NetworkState, HttpReply> {
        self.networks.get(&id).ok_or_else(|| HttpReply::empty(404))
    }

    fn create(&mut self, now: i64, body: &[u8]) -> Outcome {
        // A body that is no JSON must not use up an ID.
        object(body)?;
        let prefix = self.address().to_u64() << 24;
        for _ in 0..ID_TRIES {
            let suffix = u64::from(self.random.next_u32() & 0xff_ffff).max(1);
            let id = NetworkId(prefix | suffix);
            if !self.networks.contains_key(&id) && !self.tombstones.contains_key(&id) {
                return self.post_network(now, id, body);
            }
        }
        Err(HttpReply::empty(503))
    }

    fn post_network(&mut self, now: i64, id: NetworkId, body: &[u8]) -> Outcome {
        let mut body = object(body)?;
        strict::network(&mut body)?;
        // Before anything else: a source that is refused leaves all of the request unapplied.
        let mut asked: NetworkPatch = api::read(&body);
        source::compile_into(&mut asked)
            .map_err(|problem| HttpReply { body: Some(api::json(&*problem)), ..HttpReply::empty(400) })?;
        let wall = self.wall(now);
        let store = self.store.as_mut();
        let before = self.networks.get(&id).map(|state| state.record.clone());
        let changed = match self.networks.get_mut(&id) {
            Some(state) => {
                let mut record = state.record.clone();
                record.apply(asked.clone());
                state.save_network(store, record, Vec::new())?
            }
            None => {
                let mut record = Network::new(id, wall);
                record.apply(asked.clone());
                let mut state = NetworkState::new(Network::new(id, wall));
                // What its members had before it was deleted is older than what they get now.
                let deleted = self.tombstones.get(&id).map(|tombstone| tombstone.deleted);
                let revoked = self.revoked.get(&id).into_iter().flat_map(|ledger| ledger.standing.iter());
                let latest = revoked.map(|(_, revoked)| revoked.threshold).chain(deleted).max();
                state.certificates.not_before(latest.map_or(0, |at| at.saturating_add(1)));
                let also = deleted.map(|_| Change::DeleteTombstone { network: id }).into_iter().collect();
                let changed = state.save_network(store, record, also)?;
                self.networks.insert(id, state);
                self.tombstones.remove(&id);
                changed
            }
        };
        if changed {
            self.counts.network_changes += 1;
            self.push_network(now, id);
        }
        let record = &self.state(id)?.record;
        if changed {
            audit::network(&self.origin, before.as_ref(), record);
        }
        let others = self.networks.values().map(|state| &state.record);
        let warnings = warnings::of_network(record, &asked, before.is_none(), others);
        Ok(HttpReply::ok(&Changed { warnings, ..Changed::plain(record) }))
    }

    fn post_member(
        &mut self,
        now: i64,
        network: NetworkId,
        address: Address,
        body: &[u8],
        actions: &mut Vec<Action>,
    ) -> Outcome {
        let wall = self.wall(now);
        let state = self.networks.get(&network).ok_or_else(|| HttpReply::empty(404))?;
        let mut body = object(body)?;
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
        let also = if put_out { self.revocation_changes(now, network, &[address]) } else { Vec::new() };
        let store = self.store.as_mut();
        let state = self.networks.get_mut(&network).ok_or_else(|| HttpReply::empty(404))?;
        let changed = state.save_member(store, member, None, also)? != Saved::Unchanged;
        let saved = state.member(address).cloned().ok_or_else(|| HttpReply::empty(404))?;
        let before = old.iter().filter(|old| old.authorized).flat_map(|old| &old.ip_assignments);
        state.note_freed(now, before.filter(|ip| !saved.ip_assignments.contains(ip)).copied());
        if asked.authentication_expiry.is_some() {
            if self.origin.here {
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
            audit::member(&self.origin, old.as_ref(), &saved);
            actions.extend(self.member_changed(now, old.as_ref(), &saved));
        }
        let revocation = if put_out { self.revocation_report(now, network, address) } else { None };
        Ok(HttpReply::ok(&Changed { record: saved, revocation, warnings: found }))
    }

    fn delete_member(
        &mut self,
        now: i64,
        network: NetworkId,
        address: Address,
        actions: &mut Vec<Action>,
    ) -> Outcome {
        let state = self.networks.get(&network).ok_or_else(|| HttpReply::empty(404))?;
        let was_in = state.member(address).is_some_and(|member| member.authorized);
        let also = if was_in { self.revocation_changes(now, network, &[address]) } else { Vec::new() };
        let store = self.store.as_mut();
        let state = self.networks.get_mut(&network).ok_or_else(|| HttpReply::empty(404))?;
        // The target is told as well, so ask before it is forgotten.
        let online = state.online(now);
        let deleted = state.delete_member(store, address, also)?.ok_or_else(|| HttpReply::empty(404))?;
        self.counts.member_changes += 1;
        self.counts.deauthorizations += u64::from(was_in);
        audit::member_deleted(&self.origin, &deleted);
        let mut revocation = None;
        if was_in {
            self.note_revoked(now, network, &[address]);
            actions.extend(self.tell_of(now, network, address, &online));
            revocation = self.revocation_report(now, network, address);
        }
        if deleted.active_bridge {
            self.push_network(now, network);
        }
        Ok(HttpReply::ok(&Changed { revocation, ..Changed::plain(deleted) }))
    }

    /// Deletes a network. Its members are told by a last configuration, now or when they ask; their certificates stay void
    /// should it be made anew.
    fn delete_network(&mut self, now: i64, id: NetworkId) -> Outcome {
        let state = self.networks.get(&id).ok_or_else(|| HttpReply::empty(404))?;
        let members: Vec<Address> = state
            .members()
            .values()
            .filter(|member| member.authorized)
            .map(|member| member.address)
            .collect();
        let mut changes = vec![Change::DeleteNetwork { network: id }];
        let ours = id.controller() == self.address();
        let tombstone = Tombstone::new(self.certificate_time(now, id), state.record.revision);
        let crowded = tombstone::crowded_out(&self.tombstones).filter(|_| ours);
        if ours {
            changes.extend(crowded.map(|oldest| Change::DeleteTombstone { network: oldest }));
            changes.push(Change::PutTombstone { network: id, record: api::json(&tombstone) });
            changes.extend(self.revocation_changes(now, id, &members));
        }
        self.store.commit(&changes)?;
        if ours {
            self.note_revoked(now, id, &members);
            self.pushes.extend(members.into_iter().map(|member| (id, member)));
            if let Some(oldest) = crowded {
                self.tombstones.remove(&oldest);
            }
            self.tombstones.insert(id, tombstone);
        }
        let state = self.networks.remove(&id).ok_or_else(|| HttpReply::empty(404))?;
        self.counts.network_changes += 1;
        audit::network_deleted(&self.origin, &state.record, state.members().len());
        Ok(HttpReply::ok(&state.record))
    }
}

/// Refuses a member addresses that another authorized member holds, or that are kept for a join token. Its record may go on
/// with what it already had (an old controller allowed two holders); but who was out meanwhile comes back without what
/// somebody else was given.
fn addresses_are_free(
    now: i64,
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
