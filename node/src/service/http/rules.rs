//! `/network/<id>/rules` and `/network/<id>/trace`: what this node enforces on a network, and what it decides, live.

use std::sync::Arc;

use api::{Copied, Counters, EnforcedRules, HeldCapability, HeldTag, Line, Lists, OtherMember, RuleFlags};
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use flowrules::evaluate::{Accept, Direction, Entry};
use flowrules::{Rule, to_json};
use protocol::netconf::{NetworkConfig, StatementLine};
use protocol::{Address, NetworkId, Span, Time};

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
/// Pause between questions about members whose capability is not known yet.
const MEMBERS_ASKED: Span = Span::secs(1);

/// `GET /network/<id>/rules`.
pub(super) async fn rules(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let Some(network) = hex(&id, 16).map(NetworkId) else { return nothing().await };
    match shared.engine.call(move |core, _| (core.view().rules(network), core.address())).await {
        Ok((Some(info), own)) => json(StatusCode::OK, &render_rules(&info, own)),
        Ok((None, _)) => json(StatusCode::NOT_FOUND, &api::Empty {}),
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
        Ok(None) => return json(StatusCode::NOT_FOUND, &api::Empty {}),
        Err(error) => return stopped(error),
    };
    let watching = match shared.traces.watch(info.config, rate) {
        Ok(watching) => watching,
        Err(Refused::Stopped(error)) => return stopped(error),
        Err(full) => return failure(StatusCode::SERVICE_UNAVAILABLE, &full.to_string()),
    };
    lasting.set();
    let stream = Stream { watching, shared, network, members: info.members, asked: None };
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
    asked: Option<Time>,
}

impl Stream {
    async fn line(&mut self, seen: &Seen) -> Bytes {
        let trace = &*seen.trace;
        let decided = trace.verdict.by.as_ref().and_then(|entry| entry.capability);
        let unknown = decided.is_some_and(|id| self.capability(&seen.config, trace.them, id).is_none());
        if unknown && self.asked.is_none_or(|at| trace.at - at >= MEMBERS_ASKED) {
            self.asked = Some(trace.at);
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
        let mut text = api::json(&render_trace(trace, seen.skipped, place)).to_string();
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

fn render_rules(info: &RulesInfo, own: Address) -> EnforcedRules {
    let config = &*info.config;
    let of_list = |rules: &[Rule]| rules.iter().map(to_json).collect::<Vec<_>>();
    let held = |id: u32, rules: &[Rule]| HeldCapability { id, rules: of_list(rules) };
    let lines = |capability: Option<u32>, rules: &[Rule]| {
        (0..rules.len()).map(|index| config.rule_lines.of(capability, rules, index).map(line)).collect()
    };
    let own_capabilities = || config.capabilities.iter().map(|c| (c.id, &c.rules[..]));
    let counted = info.counters.capabilities.iter();
    let member = |member: &MemberRules| OtherMember {
        address: member.address.to_string(),
        tags: member.tags.iter().map(|(id, value)| HeldTag { id: *id, value: *value }).collect(),
        capabilities: member.capabilities.iter().map(|(id, rules)| held(*id, rules)).collect(),
    };
    EnforcedRules {
        address: own.to_string(),
        network: config.network.to_string(),
        revision: config.revision,
        rules: of_list(&config.rules),
        capabilities: own_capabilities().map(|(id, rules)| held(id, rules)).collect(),
        tags: config.tags.iter().map(|t| HeldTag { id: t.id, value: t.value }).collect(),
        lines: Lists {
            base: lines(None, &config.rules),
            capabilities: own_capabilities()
                .map(|(id, rules)| (id.to_string(), lines(Some(id), rules)))
                .collect(),
        },
        counters: Counters {
            lists: Lists {
                base: info.counters.base.to_vec(),
                capabilities: counted.map(|(id, hits)| (id.to_string(), hits.to_vec())).collect(),
            },
            nothing_matched: info.counters.nothing_matched,
        },
        members: info.members.iter().map(member).collect(),
        flags: RuleFlags { match_unknown: config.match_unknown() },
    }
}

fn line(line: StatementLine) -> Line {
    Line { line: line.line, included_at: line.included_at }
}

fn render_trace(
    trace: &RuleTrace,
    skipped: u64,
    place: impl Fn(&Entry) -> Option<StatementLine>,
) -> api::Trace {
    let verdict = &trace.verdict;
    let entry = |entry: &Entry| api::Entry { capability: entry.capability, index: entry.index.into() };
    let decided = verdict.by.as_ref().and_then(&place);
    let copy = |copy: &flowrules::evaluate::Copy| {
        let at = place(&copy.by);
        Copied {
            to: Address::from_u64(copy.target).to_string(),
            watch: copy.watch,
            length: Some(copy.length as u64),
            entry: entry(&copy.by),
            line: at.map(|at| at.line),
            included_at: at.and_then(|at| at.included_at),
        }
    };
    api::Trace {
        at: trace.at.as_ms(),
        direction: match trace.direction {
            Direction::Inbound => "in",
            Direction::Outbound => "out",
        }
        .to_owned(),
        peer: (trace.them != Address::NULL).then(|| trace.them.to_string()),
        source: trace.source.to_string(),
        dest: trace.dest.to_string(),
        ether_type: trace.ethertype,
        length: trace.length as u64,
        head: render::hex(&trace.head),
        accept: match verdict.accept {
            Accept::Drop => "drop",
            Accept::Accept => "accept",
            Accept::SuperAccept => "super-accept",
        }
        .to_owned(),
        redirect: verdict.redirect.map(|to| Address::from_u64(to).to_string()),
        copies: verdict.copies.iter().map(copy).collect(),
        entry: verdict.by.as_ref().map(entry),
        line: decided.map(|at| at.line),
        included_at: decided.and_then(|at| at.included_at),
        skipped,
    }
}
