//! `/network/<id>/ready`: whether a network can be used, and if not, what it waits for. The answer may be held until that changes.

use std::sync::Arc;
use std::time::Duration;

use api::{Ready, WaitingFor};
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use protocol::{Address, NetworkId};
use tokio::time::{Instant, timeout_at};

use super::answer::{failure, hex, json, nothing, ok, stopped};
use super::auth::parameter;
use super::render;
use crate::core::info::{NetworkInfo, NetworkStatus};
use crate::service::managed::{Cause, Refused};
use crate::service::shared::{NetworkView, Shared};
use crate::service::waits::MAX_WAITERS;

/// An answer is held no longer than this, ms; below what a request may take at all.
const LONGEST_WAIT: u64 = 50_000;

/// `GET /network/<id>/ready?wait=<ms>&seen=<what it waits for>`.
pub(super) async fn ready(State(shared): State<Arc<Shared>>, Path(id): Path<String>, uri: Uri) -> Response {
    let Some(network) = hex(&id, 16).map(NetworkId) else { return nothing().await };
    let wait = match parameter(&uri, "wait").map(|text| text.parse::<u64>()) {
        None => 0,
        Some(Ok(wait)) => wait.min(LONGEST_WAIT),
        Some(Err(_)) => {
            return failure(StatusCode::BAD_REQUEST, "wait: a number of milliseconds is expected");
        }
    };
    let seen = parameter(&uri, "seen");
    let until = Instant::now() + Duration::from_millis(wait);
    // Before looking, so that no change falls in between.
    let mut waiter = None;
    if wait > 0 {
        waiter = shared.waits.enter();
        if waiter.is_none() {
            let why = format!("{MAX_WAITERS} wait already; end one of them, or ask without `wait`");
            return failure(StatusCode::SERVICE_UNAVAILABLE, &why);
        }
    }
    loop {
        let asked = shared.engine.call(move |core, _| {
            let info = core.view().networks().into_iter().find(|n| n.network == network);
            (info, core.view().status().online, core.address())
        });
        let (info, online, own) = match asked.await {
            Ok((Some(info), online, own)) => (info, online, own),
            Ok((None, ..)) => return json(StatusCode::NOT_FOUND, &api::Empty {}),
            Err(error) => return stopped(error),
        };
        let view = shared.state().networks.get(&network).cloned().unwrap_or_default();
        let gone = gone(&shared, &view);
        let lacks = lacks(&info, &view, online, gone.is_some());
        let told = lacks.is_some()
            && seen.as_deref().is_none_or(|seen| lacks.as_ref().is_some_and(|lacks| lacks.name() == seen));
        if told
            && let Some(waiter) = &mut waiter
            && timeout_at(until, waiter.change()).await.is_ok()
        {
            continue;
        }
        return ok(&self::render(&shared, &info, &view, lacks, gone, online, own));
    }
}

/// What a network lacks to be used, `None` when it can be.
fn lacks(info: &NetworkInfo, view: &NetworkView, online: bool, gone: bool) -> Option<WaitingFor> {
    match info.status {
        NetworkStatus::RequestingConfiguration if online => Some(WaitingFor::Controller),
        NetworkStatus::RequestingConfiguration => Some(WaitingFor::Online),
        NetworkStatus::AccessDenied if info.has_token => Some(WaitingFor::Token),
        NetworkStatus::AccessDenied => Some(WaitingFor::Authorization),
        NetworkStatus::NotFound => Some(WaitingFor::Network),
        NetworkStatus::PortError => Some(WaitingFor::Port),
        NetworkStatus::AuthenticationRequired => Some(WaitingFor::Login),
        NetworkStatus::Ok if view.device.is_empty() => Some(WaitingFor::Port),
        // The status runs ahead of what is done about a new configuration.
        NetworkStatus::Ok => match (&view.applied, &info.config) {
            (Some(applied), Some(config))
                if applied.config.addresses == config.addresses && applied.config.routes == config.routes =>
            {
                let blocked = applied.refused.iter().any(Refused::blocks);
                let nothing = applied.in_place.addresses.is_empty()
                    && applied.refused.iter().any(|r| r.address && r.cause == Cause::Unavailable);
                (view.problem.is_some() || blocked || nothing || gone).then_some(WaitingFor::Addresses)
            }
            _ => Some(WaitingFor::Addresses),
        },
    }
}

/// What somebody has taken away that the daemon has not noticed yet.
fn gone(shared: &Shared, view: &NetworkView) -> Option<String> {
    let applied = view.applied.as_ref()?;
    let netlink = shared.state().netlink.clone()?;
    netlink.look(|picture| applied.in_place.missing(picture)).map(|what| format!("{what} is not there"))
}

/// Why a managed address or route is not there, for people: first what keeps the network from being used.
fn refused(view: &NetworkView) -> Option<String> {
    let all = || view.applied.iter().flat_map(|a| &a.refused);
    let refused = all().find(|r| r.blocks()).or_else(|| all().find(|r| r.address))?;
    let what = if refused.address { "address" } else { "route" };
    Some(format!("the managed {what} {} is not used: {}", refused.target, refused.reason))
}

fn render(
    shared: &Shared,
    info: &NetworkInfo,
    view: &NetworkView,
    lacks: Option<WaitingFor>,
    gone: Option<String>,
    online: bool,
    own: Address,
) -> Ready {
    let applied = view.applied.iter().flat_map(|applied| &applied.in_place.addresses);
    let ports = shared.state().ports.iter().filter(|port| **port != 0).map(|port| u64::from(*port)).collect();
    Ready {
        network: info.network.to_string(),
        name: info.config.as_ref().map_or("", |config| config.name.as_str()).to_owned(),
        address: own.to_string(),
        controller: info.network.controller().to_string(),
        ready: lacks.is_none(),
        waiting_for: lacks,
        problem: view.problem.clone().or_else(|| refused(view)).or(gone),
        status: render::network_status(info.status),
        online,
        collision: shared.state().collision.seen(),
        port_device_name: view.device.clone(),
        addresses: applied.map(ToString::to_string).collect(),
        authentication_url: info.authentication_url.clone(),
        ports,
    }
}
