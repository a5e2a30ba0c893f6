//! `/network/<id>/rules` and `/network/<id>/trace`: what this node enforces on a network, and what it decides, live.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use flowrules::evaluate::{Accept, Direction, Entry};
use flowrules::{Rule, to_json};
use protocol::netconf::{NetworkConfig, StatementLine};
use protocol::{Address, NetworkId};
use serde_json::{Value, json};

use super::answer::{failure, hex, json, nothing, stopped};
use super::auth::parameter;
use super::render;
use super::server::Lasting;
use crate::core::event::RuleTrace;
use crate::core::info::{MemberRules, RulesInfo};
use crate::core::limits::MAX_TRACE_RATE;
use crate::service::shared::Shared;
use crate::service::traces::{Refused, Seen, Watching};

/// Decisions a second that are shown when nobody says how many.
const DEFAULT_RATE: u32 = 100;
/// Pause between questions about members whose capability is not known yet, ms.
const MEMBERS_ASKED: i64 = 1_000;

/// `GET /network/<id>/rules`.
pub(super) async fn rules(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let Some(network) = hex(&id, 16).map(NetworkId) else { return nothing().await };
    match shared.engine.call(move |core, _| (core.view().rules(network), core.address())).await {
        Ok((Some(info), own)) => json(StatusCode::OK, &render_rules(&info, own)),
        Ok((None, _)) => json(StatusCode::NOT_FOUND, &json!({})),
        Err(error) => stopped(error),
    }
}

/// `GET /network/<id>/trace?rate=<decisions a second>`.
pub(super) async fn trace(
    State(shared): State<Arc<Shared>>,
    Extension(lasting): Extension<Lasting>,
    Path(id): Path<String>,
    uri: Uri,
) -> Response {
    let Some(network) = hex(&id, 16).map(NetworkId) else { return nothing().await };
    let rate = match parameter(&uri, "rate").map(|text| text.parse()) {
        None => DEFAULT_RATE,
        Some(Ok(rate)) if (1..=MAX_TRACE_RATE).contains(&rate) => rate,
        Some(_) => {
            let why = format!("rate: a number from 1 to {MAX_TRACE_RATE} is expected, decisions a second");
            return failure(StatusCode::BAD_REQUEST, &why);
        }
    };
    let info = match shared.engine.call(move |core, _| core.view().rules(network)).await {
        Ok(Some(info)) => info,
        Ok(None) => return json(StatusCode::NOT_FOUND, &json!({})),
        Err(error) => return stopped(error),
    };
    let watching = match shared.traces.watch(info.config, rate) {
        Ok(watching) => watching,
        Err(Refused::Stopped(error)) => return stopped(error),
        Err(full) => return failure(StatusCode::SERVICE_UNAVAILABLE, &full.to_string()),
    };
    lasting.set();
    let stream = Stream { watching, shared, network, members: info.members, asked: 0 };
    let body = Body::from_stream(futures_util::stream::unfold(stream, |mut stream| async move {
        let seen = stream.watching.next().await?;
        let line = stream.line(&seen).await;
        Some((Ok::<_, std::convert::Infallible>(line), stream))
    }));
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))], body).into_response()
}

/// A trace on its way to one client.
struct Stream {
    watching: Watching,
    shared: Arc<Shared>,
    network: NetworkId,
    /// What others have presented: their capabilities decide, too.
    members: Vec<MemberRules>,
    /// When that was asked last, by the time of the traces.
    asked: i64,
}

impl Stream {
    async fn line(&mut self, seen: &Seen) -> Bytes {
        let trace = &*seen.trace;
        let decided = trace.verdict.by.as_ref().and_then(|entry| entry.capability);
        let unknown = decided.is_some_and(|id| self.capability(&seen.config, trace.them, id).is_none());
        if unknown && trace.at - self.asked >= MEMBERS_ASKED {
            self.asked = trace.at;
            let network = self.network;
            if let Ok(Some(info)) = self.shared.engine.call(move |core, _| core.view().rules(network)).await {
                self.members = info.members;
            }
        }
        let place = |entry: &Entry| {
            let rules = match entry.capability {
                None => &seen.config.rules[..],
                Some(id) => self.capability(&seen.config, trace.them, id)?,
            };
            seen.config.rule_lines.of(entry.capability, rules, usize::from(entry.index))
        };
        let mut text = render_trace(trace, seen.skipped, place).to_string();
        text.push('\n');
        text.into()
    }

    /// The rules of a capability: our own, or one that `them` presented.
    fn capability<'a>(&'a self, config: &'a NetworkConfig, them: Address, id: u32) -> Option<&'a [Rule]> {
        let own = config.capabilities.iter().find(|c| c.id == id).map(|c| &c.rules[..]);
        own.or_else(|| {
            let member = self.members.iter().find(|m| m.address == them)?;
            member.capabilities.iter().find(|(known, _)| *known == id).map(|(_, rules)| &rules[..])
        })
    }
}

fn render_rules(info: &RulesInfo, own: Address) -> Value {
    let config = &*info.config;
    let of_list = |rules: &[Rule]| -> Value { rules.iter().map(to_json).collect() };
    let lines = |capability: Option<u32>, rules: &[Rule]| -> Value {
        (0..rules.len())
            .map(|index| config.rule_lines.of(capability, rules, index).map_or(Value::Null, line))
            .collect()
    };
    let own_capabilities = || config.capabilities.iter().map(|c| (c.id, &c.rules[..]));
    let by_id = |lists: BTreeMap<String, Value>| -> Value { lists.into_iter().collect() };
    json!({
        "address": own.to_string(),
        "network": config.network.to_string(),
        "revision": config.revision,
        "rules": of_list(&config.rules),
        "capabilities": own_capabilities()
            .map(|(id, rules)| json!({"id": id, "rules": of_list(rules)}))
            .collect::<Value>(),
        "tags": config.tags.iter().map(|t| json!({"id": t.id, "value": t.value})).collect::<Value>(),
        "lines": {
            "base": lines(None, &config.rules),
            "capabilities": by_id(
                own_capabilities().map(|(id, rules)| (id.to_string(), lines(Some(id), rules))).collect(),
            ),
        },
        "counters": {
            "base": info.counters.base,
            "capabilities": by_id(
                info.counters.capabilities.iter().map(|(id, hits)| (id.to_string(), json!(hits))).collect(),
            ),
            "nothingMatched": info.counters.nothing_matched,
        },
        "members": info.members.iter().map(|member| json!({
            "address": member.address.to_string(),
            "tags": member.tags.iter().map(|(id, value)| json!({"id": id, "value": value})).collect::<Value>(),
            "capabilities": member
                .capabilities
                .iter()
                .map(|(id, rules)| json!({"id": id, "rules": of_list(rules)}))
                .collect::<Value>(),
        })).collect::<Value>(),
        "flags": {"matchUnknown": config.match_unknown()},
    })
}

fn line(line: StatementLine) -> Value {
    json!({"line": line.line, "includedAt": line.included_at})
}

fn render_trace(trace: &RuleTrace, skipped: u64, place: impl Fn(&Entry) -> Option<StatementLine>) -> Value {
    let verdict = &trace.verdict;
    let entry = |entry: &Entry| json!({"capability": entry.capability, "index": entry.index});
    let decided = verdict.by.as_ref().and_then(&place);
    json!({
        "at": trace.at,
        "direction": match trace.direction { Direction::Inbound => "in", Direction::Outbound => "out" },
        "peer": (trace.them != Address::NULL).then(|| trace.them.to_string()),
        "source": trace.source.to_string(),
        "dest": trace.dest.to_string(),
        "etherType": trace.ethertype,
        "length": trace.length,
        "head": render::hex(&trace.head),
        "accept": match verdict.accept {
            Accept::Drop => "drop",
            Accept::Accept => "accept",
            Accept::SuperAccept => "super-accept",
        },
        "redirect": verdict.redirect.map(|to| Address::from_u64(to).to_string()),
        "copies": verdict
            .copies
            .iter()
            .map(|copy| {
                let at = place(&copy.by);
                json!({
                    "to": Address::from_u64(copy.target).to_string(),
                    "watch": copy.watch,
                    "length": copy.length,
                    "entry": entry(&copy.by),
                    "line": at.map(|at| at.line),
                    "includedAt": at.and_then(|at| at.included_at),
                })
            })
            .collect::<Value>(),
        "entry": verdict.by.as_ref().map(entry),
        "line": decided.map(|at| at.line),
        "includedAt": decided.and_then(|at| at.included_at),
        "skipped": skipped,
    })
}
