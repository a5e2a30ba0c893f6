//! What is taken as it was asked for, but is hardly what was meant: the answer says so in its field `warnings`, which no
//! record has.

use flowrules::language::{self, Options};
use flowrules::lint::{self, Known};
use serde_json::{Map, Value, json};

use crate::coerce;
use crate::member::Member;
use crate::network::{MTU_RANGE, Network};
use crate::state::NetworkState;

/// Adds warnings to an answer, if there are any.
pub(crate) fn attach(answer: &mut Value, warnings: Vec<String>) {
    if !warnings.is_empty() {
        answer["warnings"] = json!(warnings);
    }
}

/// About a network that was made or changed by `body`; `others` have it all.
pub(crate) fn of_network<'a>(
    network: &Network,
    body: &Map<String, Value>,
    made: bool,
    others: impl IntoIterator<Item = &'a Network>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let has = |field: &str| body.contains_key(field);
    if has("name") && !network.name.is_empty() {
        let twin = others.into_iter().find(|other| other.id != network.id && other.name == network.name);
        warnings.extend(twin.map(|twin| {
            format!(
                "network {} has the name {:?} too; commands that are given the name will not know which one is meant",
                twin.id, network.name
            )
        }));
    }
    if let Some(mtu) = body.get("mtu") {
        let asked = coerce::int(Some(mtu), network.mtu);
        if asked != network.mtu {
            let (least, most) = (MTU_RANGE.start(), MTU_RANGE.end());
            warnings.push(format!("mtu: {asked} is not from {least} to {most}; it is {} now", network.mtu));
        }
    }
    warnings.extend(addressing(network, body, made));
    if has("rulesSource") {
        warnings.extend(drops_everything(network));
    }
    warnings
}

/// Why members get no addresses, when the request had to do with that.
fn addressing(network: &Network, body: &Map<String, Value>, made: bool) -> Option<String> {
    let touched = ["routes", "ipAssignmentPools", "v4AssignMode", "v6AssignMode"];
    if !made && !touched.iter().any(|field| body.contains_key(*field)) {
        return None;
    }
    let derived = network.v6.rfc4193 == Some(true) || network.v6.six_plane == Some(true);
    let from_pools = network.v4_zt || network.v6.zt == Some(true);
    if network.routes.is_empty() && network.pools.is_empty() && !derived {
        return made.then(|| {
            "the network has neither routes nor address pools yet: its members get no addresses".to_owned()
        });
    }
    let stray = network.pools.iter().find(|pool| {
        !network.routes.iter().any(|r| r.target.contains(pool.start) || r.target.contains(pool.end))
    });
    if let Some(pool) = stray {
        let (start, end) = (pool.start, pool.end);
        return Some(format!(
            "ipAssignmentPools: {start} to {end} lies in no route of the network, so that no member gets an address of it"
        ));
    }
    if from_pools && network.pools.is_empty() {
        return Some("members are to get addresses from the pools, but there is no pool".to_owned());
    }
    None
}

/// What the rules do, if that is to drop everything: commenting out the last statement does it.
fn drops_everything(network: &Network) -> Option<String> {
    let source = &network.rules_source;
    if source.trim().is_empty() {
        return None;
    }
    let program = language::compile(source, &Options::default()).ok()?;
    let findings = lint::lint(&program, source, &Known::default());
    let finding = findings.into_iter().find(|finding| finding.code == "nothing-accepted")?;
    Some(format!("rulesSource: {}; {}", finding.message, finding.hint))
}

/// About a member that was made or changed by `body`.
pub(crate) fn of_member(state: &NetworkState, member: &Member, body: &Map<String, Value>) -> Vec<String> {
    let mut warnings = Vec::new();
    if body.contains_key("ipAssignments") {
        let routes = &state.record.routes;
        for ip in &member.ip_assignments {
            if !routes.iter().any(|route| route.target.contains(*ip)) {
                warnings.push(format!(
                    "ipAssignments: {ip} is in no route of the network, so that the member cannot use it; its routes: {}",
                    list_routes(routes)
                ));
            }
        }
    }
    if let Some(name) = member.name.as_deref().filter(|name| !name.is_empty())
        && body.contains_key("name")
    {
        let same = |other: &&Member| other.address != member.address && other.name.as_deref() == Some(name);
        warnings.extend(state.members().values().find(same).map(|twin| {
            format!(
                "member {} has the name {name:?} too; commands that are given the name will not know which one is meant",
                twin.address
            )
        }));
    }
    warnings
}

/// The routes of a network for people.
pub(crate) fn list_routes(routes: &[crate::network::Route]) -> String {
    if routes.is_empty() {
        return "none".to_owned();
    }
    routes.iter().map(|route| route.target.to_string()).collect::<Vec<_>>().join(", ")
}
