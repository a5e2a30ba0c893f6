//! Paths and methods of the control API, and what they do.

use std::sync::Arc;
use std::time::Duration;

use api::{JoinRequest, JoinedNetwork, Moon, Orbit};
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, OriginalUri, Path, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use protocol::{Address, NetworkId};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::answer::{failure, hex, json, nothing, ok, stopped};
use super::auth::{self, Caller, parameter};
use super::{metrics, planet, ready, render, rules, transfer, web};
use crate::core::event::Object;
use crate::core::info::{MoonInfo, NetworkInfo};
use crate::service::clock::Clock;
use crate::service::home::{MAX_JOIN_TOKEN, is_join_token};
use crate::service::network_settings::SettingsChange;
use crate::service::shared::{NotSet, Order, Shared};

/// Octets of a request body.
pub(super) const MAX_BODY: usize = 1 << 20;
/// Longest answer that is wrapped for `jsonp`.
const MAX_WRAPPED: usize = 64 << 20;
/// A request is answered in this time or not at all.
const REQUEST_TIME: Duration = Duration::from_secs(60);

pub(super) type Api = State<Arc<Shared>>;

/// Everything that can be asked.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/health", get(health))
        .route("/metrics", get(prometheus))
        .route("/network", get(networks))
        .route("/network/{id}", get(network).post(join).put(join).delete(leave))
        .route("/network/{id}/ready", get(ready::ready))
        .route("/network/{id}/rules", get(rules::rules))
        .route("/network/{id}/trace", get(rules::trace))
        .route("/peer", get(peers))
        .route("/peer/{address}", get(peer))
        .route("/planet", get(planet::show).post(planet::take).put(planet::take))
        .route("/moon", get(moons))
        .route("/moon/{id}", get(moon).post(orbit).put(orbit).delete(deorbit))
        .route("/bond/show/{address}", get(no_bond))
        .route("/bond/rotate/{address}", post(no_bond).put(no_bond))
        .route("/bond/setmtu/{mtu}/{interface}/{ip}", post(no_bonding).put(no_bonding))
        .route("/config", get(config))
        .route("/config/settings", post(settings).put(settings))
        .route("/controller", any(controller))
        .route("/controller/backup", get(transfer::download).post(transfer::backup).put(transfer::backup))
        .route("/controller/restore", post(transfer::restore).put(transfer::restore))
        .route("/controller/import", post(transfer::import).put(transfer::import))
        .route("/controller/{*rest}", any(controller))
        .route("/unstable/controller/{*rest}", any(controller))
        .route("/app", get(web::file))
        .route("/app/{*rest}", get(web::file))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .layer(middleware::from_fn(finish))
        .layer(middleware::from_fn_with_state(shared.clone(), auth::check))
        .layer(middleware::from_fn(in_time))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(shared)
}

/// What scrapers may have who come by a door of their own: the metrics, with the token for them alone.
pub(super) fn metrics_router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/metrics", get(prometheus))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .layer(middleware::from_fn_with_state(shared.clone(), auth::check_scraper))
        .layer(middleware::from_fn(in_time))
        .layer(DefaultBodyLimit::max(0))
        .with_state(shared)
}

async fn in_time(request: Request, next: Next) -> Response {
    let mut response = match tokio::time::timeout(REQUEST_TIME, next.run(request)).await {
        Ok(response) => response,
        Err(_) => failure(StatusCode::INTERNAL_SERVER_ERROR, "the request took too long"),
    };
    response.headers_mut().insert("keep-alive", HeaderValue::from_static("timeout=5, max=5"));
    response
}

/// Wraps JSON answers for `?jsonp=`.
async fn finish(request: Request, next: Next) -> Response {
    let function = parameter(request.uri(), "jsonp").filter(|f| is_function_name(f));
    let response = next.run(request).await;
    let Some(function) = function else { return response };
    let (mut parts, body) = response.into_parts();
    let is_json = match parts.headers.get(header::CONTENT_TYPE) {
        None => true,
        Some(kind) => kind == "application/json",
    };
    if !is_json {
        return Response::from_parts(parts, body);
    }
    let Ok(bytes) = axum::body::to_bytes(body, MAX_WRAPPED).await else {
        return failure(StatusCode::INTERNAL_SERVER_ERROR, "the answer is too long to be wrapped");
    };
    let inner = if bytes.is_empty() { "null".into() } else { String::from_utf8_lossy(&bytes) };
    let wrapped = format!("{function}({inner});");
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/javascript"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(wrapped))
}

fn is_function_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'.'))
}

async fn status(State(shared): Api) -> Response {
    match shared.engine.call(|core, _| core.view().status()).await {
        Ok(info) => {
            let home = shared.home.root().display().to_string();
            let facts = shared.controller.facts().await.unwrap_or_default();
            ok(&render::status(&info, &shared.state(), &home, Clock::wall(), facts.leads))
        }
        Err(error) => stopped(error),
    }
}

async fn health(State(shared): Api) -> Response {
    match shared.engine.call(|core, _| core.view().status().online).await {
        Ok(online) => ok(&render::health(online, Clock::wall())),
        Err(error) => stopped(error),
    }
}

pub(super) async fn prometheus(State(shared): Api) -> Response {
    match metrics::text(&shared).await {
        Ok(text) => {
            let kind = HeaderValue::from_static("text/plain");
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => stopped(error),
    }
}

fn render_network(shared: &Shared, info: &NetworkInfo, own: Address) -> JoinedNetwork {
    let view = shared.state().networks.get(&info.network).cloned().unwrap_or_default();
    render::network(info, &view, own)
}

async fn networks(State(shared): Api) -> Response {
    match shared.engine.call(|core, _| (core.view().networks(), core.address())).await {
        Ok((list, own)) => {
            ok(&list.iter().map(|info| render_network(&shared, info, own)).collect::<Vec<_>>())
        }
        Err(error) => stopped(error),
    }
}

async fn one_network(shared: &Shared, id: NetworkId) -> Response {
    let found = shared
        .engine
        .call(move |core, _| (core.view().networks().into_iter().find(|n| n.network == id), core.address()));
    match found.await {
        Ok((Some(info), own)) => ok(&render_network(shared, &info, own)),
        Ok((None, _)) => json(StatusCode::NOT_FOUND, &api::Empty {}),
        Err(error) => stopped(error),
    }
}

async fn network(State(shared): Api, Path(id): Path<String>) -> Response {
    match hex(&id, 16) {
        Some(id) => one_network(&shared, NetworkId(id)).await,
        None => nothing().await,
    }
}

/// Hands an order to the daemon and waits for its answer.
pub(super) async fn order<T>(
    shared: &Shared,
    make: impl FnOnce(oneshot::Sender<T>) -> Order,
) -> Result<T, super::super::engine::Stopped> {
    let (reply, result) = oneshot::channel();
    shared.orders.send(make(reply)).await.map_err(|_| super::super::engine::Stopped)?;
    result.await.map_err(|_| super::super::engine::Stopped)
}

async fn join(State(shared): Api, Path(id): Path<String>, body: Bytes) -> Response {
    let Some(id) = hex(&id, 16) else { return nothing().await };
    let network = NetworkId(id);
    let asked = join_body(&body).and_then(|body| Ok((SettingsChange::from_json(&body)?, join_token(body)?)));
    let (changes, token) = match asked {
        Ok(asked) => asked,
        Err(complaint) => return failure(StatusCode::BAD_REQUEST, &complaint),
    };
    match order(&shared, |reply| Order::Join { network, changes, token, reply }).await {
        Ok(Err(NotSet::Wrong(reason))) => failure(StatusCode::BAD_REQUEST, &reason),
        Ok(Err(NotSet::NotKept(reason))) => failure(StatusCode::INTERNAL_SERVER_ERROR, &reason),
        Ok(Ok(true)) => one_network(&shared, network).await,
        Ok(Ok(false)) => failure(StatusCode::CONFLICT, "too many networks are joined; leave one first"),
        Err(error) => stopped(error),
    }
}

/// The body of a join. One that is no JSON object says nothing, as with the reference; but a broken object was meant to.
fn join_body(body: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(body).or_else(|error| {
        if body.trim_ascii_start().starts_with(b"{") {
            Err(format!("the request's body is no JSON ({error}); nothing was changed"))
        } else {
            Ok(Value::Null)
        }
    })
}

/// The join token of a request body, if there is one.
fn join_token(body: Value) -> Result<Option<Zeroizing<String>>, String> {
    match JoinRequest::deserialize(body).unwrap_or_default().token {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if is_join_token(&text) => Ok(Some(Zeroizing::new(text))),
        Some(_) => Err(format!(
            "token: a text of 1 to {MAX_JOIN_TOKEN} visible ASCII characters without spaces is expected"
        )),
    }
}

async fn leave(State(shared): Api, Path(id): Path<String>) -> Response {
    let Some(id) = hex(&id, 16) else { return nothing().await };
    match order(&shared, |reply| Order::Leave { network: NetworkId(id), reply }).await {
        Ok(Ok(true)) => ok(&api::Done { result: true }),
        Ok(Ok(false)) => ok(&api::Empty {}),
        Ok(Err(reason)) => failure(StatusCode::INTERNAL_SERVER_ERROR, &reason),
        Err(error) => stopped(error),
    }
}

async fn peers(State(shared): Api) -> Response {
    match shared.engine.call(|core, now| core.view().peers(now)).await {
        Ok(list) => ok(&list.iter().map(render::peer).collect::<Vec<_>>()),
        Err(error) => stopped(error),
    }
}

async fn peer(State(shared): Api, Path(address): Path<String>) -> Response {
    let Some(address) = hex(&address, 10).map(Address::from_u64) else { return nothing().await };
    let found = shared
        .engine
        .call(move |core, now| core.view().peers(now).into_iter().find(|p| p.address == address));
    match found.await {
        Ok(Some(info)) => ok(&render::peer(&info)),
        Ok(None) => ok(&api::Empty {}),
        Err(error) => stopped(error),
    }
}

/// The moons in force. Those that have not come yet are for who asks for them: programs for ZeroTier One know nothing of these.
async fn moons(State(shared): Api, uri: Uri) -> Response {
    let waiting = super::auth::parameter(&uri, "waiting").is_some_and(|value| value == "true");
    match shared.engine.call(|core, _| core.view().moons()).await {
        Ok(list) => {
            let wanted = list.iter().filter(|moon| waiting || moon.world.is_some());
            ok(&wanted
                .map(|moon| {
                    let seed = moon.seed.filter(|_| moon.world.is_none());
                    Moon { seed: seed.map(|seed| seed.to_string()), ..render::moon(moon) }
                })
                .collect::<Vec<_>>())
        }
        Err(error) => stopped(error),
    }
}

async fn one_moon(shared: &Shared, id: u64) -> Result<Option<MoonInfo>, super::super::engine::Stopped> {
    shared
        .engine
        .call(move |core, _| core.view().moons().into_iter().find(|m| m.id == id && m.world.is_some()))
        .await
}

async fn moon(State(shared): Api, Path(id): Path<String>) -> Response {
    let Some(id) = hex(&id, 10) else { return nothing().await };
    match one_moon(&shared, id).await {
        Ok(Some(info)) => ok(&render::moon(&info)),
        Ok(None) => ok(&api::Empty {}),
        Err(error) => stopped(error),
    }
}

async fn orbit(State(shared): Api, Path(id): Path<String>, body: Bytes) -> Response {
    let Some(id) = hex(&id, 10) else { return nothing().await };
    match one_moon(&shared, id).await {
        Ok(Some(info)) => return ok(&render::moon(&info)),
        Ok(None) => {}
        Err(error) => return stopped(error),
    }
    let asked: Orbit = serde_json::from_slice(&body).unwrap_or_default();
    let seed = asked.seed.and_then(|seed| hex(&seed, 10)).filter(|seed| *seed != 0);
    let Some(seed) = seed.map(Address::from_u64) else { return ok(&api::Empty {}) };
    // Before anything else: whoever was told that it is orbited may restart the machine.
    if let Err(error) = shared.home.moons.expect(id, seed) {
        return failure(StatusCode::INTERNAL_SERVER_ERROR, &format!("cannot keep the moon's seed: {error}"));
    }
    let orbited = shared.engine.call(move |core, now| {
        core.orbit(now, id, Some(seed), None);
        core.view().moons().iter().any(|moon| moon.id == id)
    });
    match orbited.await {
        Ok(true) => ok(&render::moon(&MoonInfo { id, world: None, seed: Some(seed) })),
        Ok(false) => {
            shared.home.delete(Object::Moon(id));
            failure(StatusCode::CONFLICT, "too many moons are waited for; deorbit one first")
        }
        Err(error) => stopped(error),
    }
}

async fn deorbit(State(shared): Api, Path(id): Path<String>) -> Response {
    let Some(id) = hex(&id, 10) else { return nothing().await };
    if let Err(error) = shared.home.unmark(Object::Moon(id)) {
        return failure(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("cannot remove the moon's file: {error}"),
        );
    }
    match shared.engine.call(move |core, now| core.deorbit(now, id)).await {
        Ok(()) => ok(&api::Done { result: true }),
        Err(error) => stopped(error),
    }
}

/// Bonding is off: no peer has a bond.
async fn no_bond(Path(address): Path<String>) -> Response {
    match hex(&address, 10) {
        Some(_) => json(StatusCode::BAD_REQUEST, &api::Empty {}),
        None => nothing().await,
    }
}

async fn no_bonding() -> Response {
    (StatusCode::BAD_REQUEST, "Bonding layer is not active").into_response()
}

async fn config(State(shared): Api) -> Response {
    ok(&shared.state().conf.raw)
}

async fn settings(State(shared): Api, body: Bytes) -> Response {
    let Ok(changes) = serde_json::from_slice::<Map<String, Value>>(&body) else { return ok(&api::Empty {}) };
    match order(&shared, |reply| Order::Settings { changes, reply }).await {
        Ok(Ok(())) => ok(&api::Empty {}),
        Ok(Err(NotSet::Wrong(reason))) => failure(StatusCode::BAD_REQUEST, &reason),
        Ok(Err(NotSet::NotKept(reason))) => failure(StatusCode::INTERNAL_SERVER_ERROR, &reason),
        Err(error) => stopped(error),
    }
}

async fn controller(
    State(shared): Api,
    method: Method,
    OriginalUri(uri): OriginalUri,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    let asked = shared.controller.http_by(method.as_str().to_owned(), path, body.to_vec(), caller.origin());
    let reply = match asked.await {
        Ok(reply) => reply,
        Err(error) => return failure(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    };
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match reply.body {
        None => status.into_response(),
        Some(value) if reply.pretty => {
            let kind = HeaderValue::from_static("application/json");
            (status, [(header::CONTENT_TYPE, kind)], pretty(&value)).into_response()
        }
        Some(value) => json(status, &value),
    }
}

/// Several lines, indented with tabs.
fn pretty(value: &Value) -> String {
    use serde::Serialize;
    let mut text = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    // Writing JSON values into memory cannot fail; the compact form would do if it did.
    match value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, format)) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) => value.to_string(),
    }
}

/// Path of a request as it was sent.
pub(super) fn path(uri: &Uri) -> &str {
    uri.path()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_function_names_wrap() {
        assert!(is_function_name("cb") && is_function_name("$.a_1"));
        assert!(!is_function_name("") && !is_function_name("a;b") && !is_function_name("a("));
    }

    #[test]
    fn pretty_uses_tabs() {
        assert_eq!(pretty(&json!({"b": 1, "a": true})), "{\n\t\"a\": true,\n\t\"b\": 1\n}");
    }
}
